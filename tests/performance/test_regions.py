"""Regions of the parameter space, snapped outwards to bins."""

import astropy.units as u
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from hisatools.errors import ParameterError, ParameterUnitsError
from hisatools.performance.observables import NAMES, OBSERVABLES, STEPS, axis_number
from hisatools.performance.regions import bins_inside

RANDOM = settings(deadline=None, derandomize=True, max_examples=100)
KMS = u.km / u.s
BINS = np.random.default_rng(1).integers((-24, 10, 0, 0), (0, 60, 60, 30), (4000, 4))


@pytest.mark.parametrize(
    ("name", "given_limits", "edges"),
    [
        ("delta_t", (-2 * u.K, None), (-2.5, None)),
        ("delta_t", (None, -2 * u.K), (None, 0)),
        ("delta_t", (None, -20 * u.K), (None, -20)),
        ("delta_t", (-20 * u.K, -10 * u.K), (-20, -10)),
        ("delta_t", (-20_000 * u.mK, -10_000 * u.mK), (-20, -10)),
        ("t_unabsorbed", (79 * u.K, 81 * u.K), (77.5, 82.5)),
        ("angular_width", (5 * u.arcmin, None), (5, None)),
        ("angular_width", (300 * u.arcsec, 1 / 6 * u.deg), (5, 10)),
        ("angular_width", (0.1 * u.arcmin, 0.2 * u.arcmin), (0, 0.5)),
        ("velocity_width", (None, 3.5 * KMS), (None, 3.5)),
        ("velocity_width", (800 * u.m / u.s, 8000 * u.m / u.s), (0.5, 8)),
        ("velocity_width", (None, None), (None, None)),
    ],
)
def test_limits_are_moved_outwards_to_edges(name, given_limits, edges):
    inside, bounds = bins_inside(BINS, {name: given_limits})
    step, unit = STEPS[axis_number(name)], OBSERVABLES[axis_number(name)].unit
    assert [None if one is None else one.to_value(unit) for one in bounds[name]] == list(edges)
    numbers = BINS[:, axis_number(name)]
    low, high = (extreme if one is None else one for one, extreme in zip(edges, (-1e9, 1e9), strict=True))
    assert_array_equal(inside, (numbers * step >= low) & (numbers * step < high))


@RANDOM
@given(name=st.sampled_from(NAMES), low=st.floats(-40, 40), width=st.floats(0.01, 50))
def test_a_region_holds_every_bin_that_it_touches(name, low, width):
    step, unit = STEPS[axis_number(name)], OBSERVABLES[axis_number(name)].unit
    bins = np.zeros((200, 4), int)
    bins[:, axis_number(name)] = np.arange(-100, 100)
    inside, bounds = bins_inside(bins, {name: (low * unit, (low + width) * unit)})
    numbers = bins[:, axis_number(name)]
    tolerance = 1e-5 * step
    touched = ((numbers + 1) * step > low + tolerance) & (numbers * step < low + width - tolerance)
    assert not (touched & ~inside).any()
    # At most the two bins more whose edges are the limits but for rounding.
    assert (inside & ~touched).sum() <= 2
    assert bounds[name][0].value <= low + tolerance
    assert bounds[name][1].value >= low + width - tolerance


def test_ranges_of_several_observables_hold_together():
    ranges = {"delta_t": (None, -20 * u.K), "angular_width": (5 * u.arcmin, None)}
    both, bounds = bins_inside(BINS, ranges)
    alone = [bins_inside(BINS, {name: limits})[0] for name, limits in ranges.items()]
    assert_array_equal(both, alone[0] & alone[1])
    assert 0 < both.sum() < BINS.shape[0]
    assert list(bounds) == list(ranges)


def test_without_ranges_everything_is_inside():
    inside, bounds = bins_inside(BINS, {})
    assert inside.all()
    assert bounds == {}


def test_infinity_is_no_limit():
    inside, bounds = bins_inside(BINS, {"delta_t": (-np.inf * u.K, -20 * u.K)})
    assert_array_equal(inside, bins_inside(BINS, {"delta_t": (None, -20 * u.K)})[0])
    assert bounds["delta_t"][0] is None
    assert (
        bins_inside(BINS, {"angular_width": (5 * u.arcmin, np.inf * u.arcmin)})[1]["angular_width"][1] is None
    )


@pytest.mark.parametrize("limit", [80, "eighty", 80 * u.arcmin])
def test_limits_without_their_unit_are_refused(limit):
    with pytest.raises(ParameterUnitsError, match="t_unabsorbed needs limits with a unit of K, got "):
        bins_inside(BINS, {"t_unabsorbed": (limit, None)})


@pytest.mark.parametrize("limits", [80 * u.K, (80 * u.K,), (1, 2, 3) * u.K, None, 80])
def test_a_range_is_a_pair(limits):
    with pytest.raises(
        ParameterError, match=r"t_unabsorbed must be a pair \(low, high\), got .*None is no limit"
    ):
        bins_inside(BINS, {"t_unabsorbed": limits})


@pytest.mark.parametrize("limits", [(-10, -20), (-20, -20), (0, -1)])
def test_an_empty_range_is_refused(limits):
    with pytest.raises(ParameterError, match=r"delta_t: the range .* is empty; write \(low, high\)"):
        bins_inside(BINS, {"delta_t": limits * u.K})


@pytest.mark.parametrize("limit", [np.nan * u.K, [1, 2] * u.K])
def test_a_limit_is_one_number(limit):
    with pytest.raises(ParameterError, match="t_unabsorbed: a limit must be one number, got "):
        bins_inside(BINS, {"t_unabsorbed": (limit, None)})


def test_unknown_observable_is_named():
    with pytest.raises(ParameterError, match="unknown observable 'width'; write one of delta_t"):
        bins_inside(BINS, {"width": (1 * u.arcmin, None)})
