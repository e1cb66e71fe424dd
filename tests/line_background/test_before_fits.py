"""What `LineBackground` does before it fits, which needs no iminuit."""

from itertools import pairwise

import astropy.units as u
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from scipy.integrate import quad

from hisatools import HISACube
from hisatools.errors import BackendUnavailableError, InputError, ParameterUnitsError
from hisatools.line_background import LineBackground
from hisatools.line_background.curves import Curve

KMS = u.km / u.s
RANDOM = settings(deadline=None, derandomize=True, max_examples=30)


def flat_background():
    counts = np.random.default_rng(1).poisson(30, (20, 2, 5, 6))
    return LineBackground(counts, np.arange(21.0) * u.keV)


@RANDOM
@given(sigma=st.floats(0.15, 30), mean=st.floats(1600, 1650))
def test_quadrature_over_bins_is_exact_for_narrow_and_wide_lines(sigma, mean):
    curve = Curve(
        lambda x, m, s: np.exp(-0.5 * ((x - m) / s) ** 2) / s / np.sqrt(2 * np.pi), ("m", "s"), (0, 0)
    )
    edges = np.linspace(1600, 1650, 14)
    found = curve.over_bins(edges[:-1], edges[1:], (mean, sigma), 64)
    for low, high, value in zip(edges[:-1], edges[1:], found, strict=True):
        points = sorted({low, high, float(np.clip(mean, low, high))})
        exact = sum(
            quad(curve.function, a, b, args=(mean, sigma), epsabs=1e-12)[0] for a, b in pairwise(points)
        )
        assert value == pytest.approx(exact, abs=1e-7)


def test_without_iminuit_the_message_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "iminuit", None)
    with pytest.raises(BackendUnavailableError, match=r"pip install 'hisatools\[fit\]'"):
        flat_background().fit(lambda x, level: level + 0 * x, start=[10.0])


@pytest.mark.parametrize(
    ("values", "edges", "inputs", "error", "text"),
    [
        (np.ones(4), np.arange(5.0), {}, ParameterUnitsError, "edges needs a unit"),
        (np.ones(4), np.arange(4.0) * u.keV, {}, InputError, r"values of shape \(4,\) need 5 edges"),
        (np.ones(4), [0, 1, 1, 2, 3] * u.keV, {}, InputError, "only rise or only fall"),
        (-np.ones(4), np.arange(5.0) * u.keV, {}, InputError, "counts must be finite and not negative"),
        (np.full(4, np.nan), np.arange(5.0) * u.keV, {}, InputError, "no cell of the histogram"),
        (
            np.full(4, np.nan),
            np.arange(5.0) * KMS,
            {"sigma": 1.0},
            InputError,
            "no channel has a finite value",
        ),
        (np.ones(4), np.arange(5.0) * KMS, {"sigma": 0.0}, InputError, "sigma must be finite and above 0"),
        (np.ones(4), np.arange(5.0) * KMS, {"sigma": [1.0, 2]}, InputError, "one for each channel"),
    ],
)
def test_input_that_cannot_be_used_is_an_error(values, edges, inputs, error, text):
    with pytest.raises(error, match=text):
        LineBackground(values, edges, **inputs)


def test_a_bin_that_a_mask_touches_at_all_is_masked_and_a_later_mask_replaces_it():
    background = flat_background().with_mask((2.5, 3.1) * u.keV, (9, 10) * u.keV)
    assert_array_equal(np.flatnonzero(~background.unmasked), [2, 3, 9])
    again = background.with_mask((14000, 15500) * u.eV)
    assert_array_equal(np.flatnonzero(~again.unmasked), [14, 15])
    assert_array_equal(np.flatnonzero(~background.unmasked), [2, 3, 9])


def test_the_noise_of_a_mean_spectrum_is_measured():
    kelvin = 80 + np.random.default_rng(101).normal(0, 2, (64, 10, 10))
    cube = HISACube(kelvin * u.K, HISACube.from_spectrum(np.arange(64.0) * u.K, np.arange(64) * KMS).wcs)
    assert LineBackground.from_cube(cube).sigma[0] == pytest.approx(0.2, rel=0.3)
