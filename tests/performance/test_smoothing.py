"""Variable smoothing against summing over all pairs of bins (section 3.3.2), and uncertainties."""

import astropy.units as u
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from hisatools.errors import ParameterError, ParameterUnitsError
from hisatools.performance import SmoothingParameters
from hisatools.performance.observables import NAMES, STEPS
from hisatools.performance.smoothing import Smoother, binomial_uncertainty, effective_counts

RANDOM = settings(deadline=None, derandomize=True, max_examples=40)


def paper_fwhm(point):
    """The FWHM of section 3.3.2 at one place (dT, T_U, angular width, velocity width)."""
    delta_t, t_unabsorbed, angular, line = point
    return np.array(
        [
            max(0.5 * abs(delta_t), 6.0),
            max(0.5 * abs(t_unabsorbed - 70), 6.0),
            max(0.5 * angular, 1.0),
            max(0.5 * line, 1.319),
        ]
    )


def slow_smoothing(image, origin, power):
    """For every bin, the sum over all bins within one FWHM along every axis."""
    centres = (np.array(list(np.ndindex(image.shape))) + origin + 0.5) * STEPS
    smoothed = []
    for point in centres:
        distance = (centres - point) / paper_fwhm(point)
        weights = 2.0 ** (-4 * (distance**2).sum(axis=1)) * (np.abs(distance) <= 1).all(axis=1)
        smoothed.append(weights**power @ image.ravel())
    return np.reshape(smoothed, image.shape)


# --- smoothing ------------------------------------------------------------------------------------


@RANDOM
@given(
    seed=st.integers(0, 9999),
    shape=st.tuples(*[st.integers(1, 6)] * 4),
    power=st.sampled_from([1, 2]),
)
def test_smoothing_agrees_with_the_sum_over_all_pairs_of_bins(seed, shape, power):
    rng = np.random.default_rng(seed)
    origin = [rng.integers(-24, -4), rng.integers(10, 60), rng.integers(0, 40), rng.integers(0, 20)]
    image = rng.integers(0, 100, shape) * (rng.uniform(size=shape) < 0.5)
    found = Smoother(tuple(origin), shape, SmoothingParameters()).weighted(image, power)
    assert_allclose(found, slow_smoothing(image, origin, power), rtol=2e-5, atol=1e-4)


@RANDOM
@given(seed=st.integers(0, 9999), shape=st.tuples(*[st.integers(1, 6)] * 4))
def test_support_is_what_lies_within_half_a_fwhm_along_every_axis(seed, shape):
    rng = np.random.default_rng(seed)
    origin = [rng.integers(-24, -4), rng.integers(10, 60), rng.integers(0, 40), rng.integers(0, 20)]
    image = rng.integers(0, 100, shape)
    centres = (np.array(list(np.ndindex(shape))) + origin + 0.5) * STEPS
    near = [(np.abs(centres - point) / paper_fwhm(point) <= 0.5).all(axis=1) for point in centres]
    expected = np.reshape([image.ravel()[one].sum() for one in near], shape)
    found = Smoother(tuple(origin), shape, SmoothingParameters()).nearby(image)
    assert_allclose(found, expected)


@RANDOM
@given(seed=st.integers(0, 9999), shape=st.tuples(*[st.integers(1, 5)] * 4))
def test_surrounded_bins_have_voxels_on_both_sides_along_every_axis(seed, shape):
    rng = np.random.default_rng(seed)
    origin = [rng.integers(-24, -4), rng.integers(10, 60), rng.integers(0, 40), rng.integers(0, 20)]
    image = rng.integers(0, 2, shape) * (rng.uniform(size=shape) < 0.1)
    centres = (np.array(list(np.ndindex(shape))) + origin + 0.5) * STEPS
    occupied = centres[image.ravel() > 0]
    expected = []
    for point in centres:
        near = occupied[(np.abs(occupied - point) / paper_fwhm(point) <= 0.5).all(axis=1)]
        expected.append(len(near) > 0 and ((near >= point).any(axis=0) & (near <= point).any(axis=0)).all())
    found = Smoother(tuple(origin), shape, SmoothingParameters()).surrounded(image)
    assert np.array_equal(found.ravel(), expected)


@pytest.mark.parametrize(
    ("name", "places", "expected"),
    [
        ("delta_t", [-60, -20, -12, -11, -1], [30, 10, 6, 6, 6]),
        ("t_unabsorbed", [30, 60, 70, 81, 82, 130], [20, 6, 6, 6, 6, 30]),
        ("angular_width", [0.25, 2, 10, 60], [1, 1, 5, 30]),
        ("velocity_width", [0.25, 2.638, 8], [1.319, 1.319, 4]),
    ],
)
def test_fwhm_are_those_of_the_paper(name, places, expected):
    assert_allclose(SmoothingParameters().fwhm(name, np.array(places, float)), expected)


@pytest.mark.parametrize("axis", range(4))
def test_a_lone_count_reaches_one_fwhm_and_no_further(axis):
    shape = tuple(40 if k == axis else 1 for k in range(4))
    origin = tuple(-20 if k == axis and NAMES[k] == "delta_t" else 4 for k in range(4))
    smoother = Smoother(origin, shape, SmoothingParameters())
    image = np.zeros(40)
    image[11] = 1
    found = smoother.weighted(image.reshape(shape)).ravel()
    centres = smoother.centres(axis)
    fwhm = SmoothingParameters().fwhm(NAMES[axis], centres)
    reached = np.abs(centres - centres[11]) <= fwhm
    assert 1 < reached.sum() < 40
    assert_array_equal(found > 0, reached)
    assert found[11] == found.max() == 1


def test_fwhm_is_that_of_the_place_not_of_the_count():
    """At 10 arcmin the FWHM is 5, at 4 it is 2: a count at 6.5 is seen from the one and not the other."""
    smoother = Smoother((-1, 28, 0, 4), (1, 1, 40, 1), SmoothingParameters())
    image = np.zeros((1, 1, 40, 1))
    image[0, 0, 13] = 1
    found = smoother.weighted(image).ravel()
    assert found[20] > 0
    assert found[8] == 0


def test_centres_are_those_of_the_lattice():
    smoother = Smoother((-3, 28, 0, 4), (3, 1, 2, 1), SmoothingParameters())
    assert_allclose(smoother.centres(0), [-6.25, -3.75, -1.25])
    assert_allclose(smoother.centres(1), [71.25])
    assert_allclose(smoother.centres(2), [0.25, 0.75])
    assert_allclose(smoother.centres(3), [2.25])


def test_without_a_fraction_the_least_fwhm_is_used_everywhere():
    parameters = SmoothingParameters(fraction=0, min_fwhm_delta_t=3000 * u.mK)
    assert_allclose(parameters.fwhm("delta_t", np.array([-40.0, -1.0])), 3)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"fraction": -0.1}, ParameterError, "fraction must be finite and at least 0"),
        ({"min_samples": 0}, ParameterError, "min_samples must be finite and above 0, got 0"),
        ({"min_fwhm_delta_t": 6}, ParameterUnitsError, "min_fwhm_delta_t needs a unit of K, got 6"),
        ({"min_fwhm_angular_width": 0 * u.arcmin}, ParameterError, "must be finite and above 0 arcmin"),
        ({"min_fwhm_velocity_width": 1 * u.K}, ParameterUnitsError, "needs a unit of km / s, got 1.0 K"),
    ],
)
def test_impossible_smoothing_is_refused(settings, error, message):
    with pytest.raises(error, match=message):
        SmoothingParameters(**settings)


# --- what a ratio is worth ------------------------------------------------------------------------


def test_equal_weights_are_worth_their_number():
    weights = np.full(40, 0.3)
    assert effective_counts(weights.sum(), (weights**2).sum(), 1.0) == pytest.approx(40)
    assert effective_counts(weights.sum(), (weights**2).sum(), 8.0) == pytest.approx(5)


@RANDOM
@given(seed=st.integers(0, 9999))
def test_effective_counts_are_at_most_the_voxels_and_at_least_their_weight(seed):
    rng = np.random.default_rng(seed)
    weights = rng.uniform(0, 1, rng.integers(1, 30))
    counts = effective_counts(weights.sum(), (weights**2).sum(), 1.0)
    assert weights.sum() - 1e-9 <= counts <= weights.size + 1e-9


def test_nothing_is_worth_nothing():
    assert effective_counts(np.zeros(1), np.zeros(1), 3.0) == 0


def test_effective_counts_predict_the_scatter_of_a_weighted_fraction():
    rng = np.random.default_rng(1)
    weights, share = rng.uniform(0, 1, 300) ** 3, 0.3
    fractions = (rng.uniform(size=(4000, 300)) < share) @ weights / weights.sum()
    counts = effective_counts(weights.sum(), (weights**2).sum(), 1.0)
    assert fractions.std() == pytest.approx(np.sqrt(share * (1 - share) / counts), rel=0.05)


@pytest.mark.parametrize(("share", "n"), [(0.5, 20), (0.3, 60), (0.1, 200), (0.97, 500)])
def test_uncertainty_is_the_scatter_of_binomials(share, n):
    fractions = np.random.default_rng(2).binomial(n, share, 20_000) / n
    assert np.mean(binomial_uncertainty(fractions, n)) == pytest.approx(fractions.std(), rel=0.06)


@pytest.mark.parametrize(("share", "n"), [(0.5, 30), (0.9, 50), (0.98, 100)])
def test_wilson_intervals_hold_the_truth_in_two_thirds_of_cases(share, n):
    fractions = np.random.default_rng(3).binomial(n, share, 20_000) / n
    centres = (fractions + 1 / (2 * n)) / (1 + 1 / n)
    held = np.abs(centres - share) <= binomial_uncertainty(fractions, n)
    assert held.mean() == pytest.approx(0.683, abs=0.09)


@RANDOM
@given(fraction=st.floats(0, 1), counts=st.floats(1e-3, 1e9), factor=st.floats(1.1, 100))
def test_uncertainty_is_never_zero_and_falls_with_counts(fraction, counts, factor):
    few, many = binomial_uncertainty(np.float64(fraction), np.array([counts, factor * counts]))
    assert 0 < many < few <= 0.5


@pytest.mark.parametrize(("fraction", "counts"), [(np.nan, 10.0), (0.5, 0.0), (1.0, 0.0), (np.nan, 0.0)])
def test_uncertainty_of_nothing_is_nan(fraction, counts):
    assert np.isnan(binomial_uncertainty(np.array(fraction), np.array(counts)))
