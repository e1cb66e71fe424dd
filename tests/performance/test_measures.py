"""Interpolation and slices of a measure: right where there is support, NaN elsewhere."""

from itertools import permutations, product

import astropy.units as u
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.interpolate import RegularGridInterpolator

from hisatools.errors import ParameterError, ParameterUnitsError
from hisatools.performance import OBSERVABLES
from hisatools.performance.measures import Measure
from hisatools.performance.observables import NAMES, STEPS

RANDOM = settings(deadline=None, derandomize=True, max_examples=40)
SHAPE, ORIGIN = (5, 4, 6, 3), (-7, 28, 2, 1)
PLACE = {
    "delta_t": -10 * u.K,
    "t_unabsorbed": 75 * u.K,
    "angular_width": 2.2 * u.arcmin,
    "velocity_width": 1.2 * u.km / u.s,
}


def measure(seed=1, *, shape=SHAPE, origin=ORIGIN, empty=0.0, unit=None):
    rng = np.random.default_rng(seed)
    value = rng.uniform(0, 1, shape).astype(np.float32)
    value[rng.uniform(size=shape) < empty] = np.nan
    uncertainty = rng.uniform(0, 0.1, shape).astype(np.float32)
    if unit is not None:
        value, uncertainty = value * unit, uncertainty * unit
    return Measure("throughput", value, uncertainty, rng.uniform(1, 9, shape), origin)


def random_points(rng, n=200, *, shape=SHAPE, origin=ORIGIN, margin=0.0):
    """Points in the box of bins, or up to ``margin`` bins beyond it."""
    low, high = -np.full(4, margin), np.array(shape) + margin
    return (rng.uniform(low, high, (n, 4)) + origin) * STEPS


def centre(*index, origin=ORIGIN):
    return (np.array(index) + origin + 0.5) * STEPS


def keywords(points):
    columns = np.moveaxis(np.asarray(points, float), -1, 0)
    return {one.name: column * one.unit for one, column in zip(OBSERVABLES, columns, strict=True)}


def slow_interpolation(values, origin, point):
    """Mean of the supported ones among the 16 nodes, weighted by nearness; NaN in an unsupported bin."""
    place = point / STEPS - origin
    number = np.floor(place).astype(int)
    if (number < 0).any() or (number >= values.shape).any() or np.isnan(values[tuple(number)]):
        return np.nan
    place = np.clip(place - 0.5, 0, np.array(values.shape) - 1)
    total = weight = 0.0
    for step in product((0, 1), repeat=4):
        node = np.floor(place).astype(int) + step
        share = np.prod(np.clip(1 - np.abs(place - node), 0, 1))
        if share > 0 and np.isfinite(values[tuple(node)]):
            total += share * values[tuple(node)]
            weight += share
    return total / weight


# --- interpolation --------------------------------------------------------------------------------


@RANDOM
@given(seed=st.integers(0, 9999), shape=st.tuples(*[st.integers(2, 5)] * 4))
def test_interpolation_is_linear_between_centres(seed, shape):
    found = measure(seed, shape=shape)
    points = random_points(np.random.default_rng(seed), shape=shape)
    centres = [found.centres(name).value for name in NAMES]
    # In the outer half of an outermost bin its centre stands for it.
    held = np.clip(points, [axis[0] for axis in centres], [axis[-1] for axis in centres])
    expected = RegularGridInterpolator(centres, found.value.astype(float))(held)
    assert_allclose(found.at_points(points), expected, rtol=1e-5, atol=1e-6)


@RANDOM
@given(
    seed=st.integers(0, 9999),
    shape=st.tuples(*[st.integers(1, 4)] * 4),
    empty=st.sampled_from([0.0, 0.3, 0.8, 1.0]),
)
def test_interpolation_agrees_with_the_slow_version_where_nodes_are_missing(seed, shape, empty):
    found = measure(seed, shape=shape, empty=empty)
    points = random_points(np.random.default_rng(seed), 60, shape=shape, margin=0.7)
    expected = [slow_interpolation(found.value, ORIGIN, point) for point in points]
    assert_allclose(found.at_points(points), expected, rtol=1e-4, atol=1e-5)


def test_centres_of_bins_have_their_own_values():
    found = measure(2, empty=0.4)
    numbers = np.array(list(np.ndindex(SHAPE)))
    expected = found.value.ravel()
    assert np.isnan(expected).any()
    assert_allclose(found.at_points((numbers + ORIGIN + 0.5) * STEPS), expected, rtol=1e-5)


@pytest.mark.parametrize("axis", range(4))
@pytest.mark.parametrize("side", ["below", "above"])
def test_beyond_the_outermost_bin_nothing_is_known(axis, side):
    found = measure()
    inner, outer = centre(1, 1, 1, 1), centre(1, 1, 1, 1)
    edge = (ORIGIN[axis] + (0 if side == "below" else SHAPE[axis])) * STEPS[axis]
    inward = 0.01 if side == "below" else -0.01
    inner[axis], outer[axis] = edge + inward, edge - inward
    assert np.isfinite(found.at_points(inner[None]))
    assert np.isnan(found.at_points(outer[None]))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300, -1e300, 1e12])
@pytest.mark.parametrize("axis", range(4))
def test_impossible_points_have_no_value(axis, value):
    points = np.stack([centre(1, 1, 1, 1)] * 2)
    points[0, axis] = value
    values = measure().at_points(points)
    assert np.isnan(values[0])
    assert np.isfinite(values[1])


def test_a_bin_without_support_has_no_value_whatever_its_neighbours_are():
    found = measure()
    found.value[2, 2, 2, 1] = np.nan
    inside = (np.random.default_rng(1).uniform(0.01, 0.99, (100, 4)) + ORIGIN + (2, 2, 2, 1)) * STEPS
    assert np.isnan(found.at_points(inside)).all()


def test_values_between_supported_bins_stay_within_theirs():
    found = measure(3, empty=0.5)
    values = found.at_points(random_points(np.random.default_rng(1), 2000))
    assert 0 < np.isnan(values).mean() < 1
    assert np.nanmin(values) >= np.nanmin(found.value)
    assert np.nanmax(values) <= np.nanmax(found.value) * (1 + 1e-6)


def test_a_width_on_the_edge_belongs_to_the_bin_above_though_rounded():
    found = measure(shape=(1, 1, 2, 1), origin=(-1, 28, 5, 4))
    found.value[0, 0, 1, 0] = np.nan
    point = centre(0, 0, 0, 0, origin=found.origin)
    point[2] = np.nextafter(np.float32(3), np.float32(0))
    assert np.isnan(found.at_points(point[None]))


def test_blocks_of_points_change_nothing(monkeypatch):
    found, points = measure(empty=0.3), random_points(np.random.default_rng(2), 100)
    expected = found.at_points(points)
    monkeypatch.setattr("hisatools.performance.measures.POINTS_PER_BLOCK", 7)
    assert_array_equal(found.at_points(points), expected)


def test_no_points_have_no_values():
    assert measure().at_points(np.empty((0, 4))).shape == (0,)


def test_quantities_of_any_unit_are_broadcast():
    found, points = measure(), random_points(np.random.default_rng(3), 6)
    given = keywords(points)
    given["delta_t"] = given["delta_t"].to(u.mK)
    given["velocity_width"] = given["velocity_width"].to(u.m / u.s)
    given["angular_width"] = given["angular_width"].to(u.deg)
    assert_allclose(found.at(**given), found.at_points(points), rtol=1e-4)
    given["t_unabsorbed"] = np.array([[72.0], [76.0]]) * u.K
    values = found.at(**given)
    assert values.shape == (2, 6)
    expected = points.copy()
    expected[:, 1] = 76
    assert_allclose(values[1], found.at_points(expected), rtol=1e-4)


def test_one_point_is_a_scalar():
    assert measure().at(**PLACE).shape == ()
    drift = measure(unit=u.arcmin).at(**PLACE)
    assert drift.unit == u.arcmin
    assert drift.shape == ()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [5.0, 5 * u.kg, [1, 2], "wide"])
def test_points_without_their_unit_are_refused(name, value):
    unit = OBSERVABLES[NAMES.index(name)].unit
    with pytest.raises(
        ParameterUnitsError, match=f"{name} needs a unit of {unit}, got .*; write for example"
    ):
        measure().at(**PLACE | {name: value})


# --- slices ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("x", "y"), list(permutations(NAMES, 2)))
def test_x_runs_along_the_columns_of_a_slice(x, y):
    found = measure(5, empty=0.2)
    index = [2, 1, 3, 2]
    at = {name: centre(*index)[k] * OBSERVABLES[k].unit for k, name in enumerate(NAMES) if name not in (x, y)}
    plane = found.slice(x, y, **at)
    kx, ky = NAMES.index(x), NAMES.index(y)
    assert (plane.x_name, plane.y_name) == (x, y)
    assert plane.value.shape == (SHAPE[ky], SHAPE[kx]) == (plane.y.size, plane.x.size)
    for i, j in product(range(SHAPE[kx]), range(SHAPE[ky])):
        index[kx], index[ky] = i, j
        for part in ("value", "uncertainty", "counts"):
            assert_array_equal(getattr(plane, part)[j, i], getattr(found, part)[tuple(index)])
        assert plane.x[i].value == pytest.approx(centre(*index)[kx])
        assert plane.y[j].value == pytest.approx(centre(*index)[ky])


def test_a_slice_is_what_interpolation_gives_at_its_centres():
    found = measure(6)
    plane = found.slice(
        "angular_width", "delta_t", t_unabsorbed=71.25 * u.K, velocity_width=0.75 * u.km / u.s
    )
    values = found.at(
        delta_t=plane.y[:, None],
        t_unabsorbed=71.25 * u.K,
        angular_width=plane.x,
        velocity_width=0.75 * u.km / u.s,
    )
    assert_allclose(plane.value, values, rtol=1e-5)


@pytest.mark.parametrize(
    ("width", "number"), [(2.99, 5), (np.nextafter(3.0, 0), 6), (3.0, 6), (3.2, 6), (3.5, 7)]
)
def test_a_slice_takes_the_bin_that_holds_the_place(width, number):
    found = measure()
    plane = found.slice(
        "t_unabsorbed", "delta_t", angular_width=width * u.arcmin, velocity_width=1.2 * u.km / u.s
    )
    assert_array_equal(plane.value, found.value[:, :, number - ORIGIN[2], 1])


def test_slices_of_drifts_have_a_unit():
    plane = measure(unit=u.K).slice(
        "delta_t", "t_unabsorbed", angular_width=2 * u.arcmin, velocity_width=1 * u.km / u.s
    )
    assert plane.value.unit == plane.uncertainty.unit == u.K
    assert plane.x.unit == u.K


@pytest.mark.parametrize(
    ("x", "y", "at"),
    [
        ("delta_t", "delta_t", ("t_unabsorbed", "angular_width")),
        ("delta_t", "t_unabsorbed", ("angular_width",)),
        ("delta_t", "t_unabsorbed", ("angular_width", "delta_t")),
        ("delta_t", "t_unabsorbed", ("angular_width", "velocity_width", "delta_t")),
    ],
)
def test_a_slice_needs_each_observable_once(x, y, at):
    with pytest.raises(
        ParameterError, match="must name delta_t, t_unabsorbed, angular_width, velocity_width, each once"
    ):
        measure().slice(x, y, **{name: PLACE[name] for name in at})


def test_unknown_axes_are_named():
    at = {"angular_width": 2 * u.arcmin, "velocity_width": 1 * u.km / u.s}
    with pytest.raises(ParameterError, match="unknown observable 'dT'"):
        measure().slice("dT", "t_unabsorbed", **at)
    with pytest.raises(ParameterError, match="unknown observable 'width'"):
        measure().slice("delta_t", "t_unabsorbed", width=2 * u.arcmin, velocity_width=1 * u.km / u.s)


@pytest.mark.parametrize("place", [0.9 * u.arcmin, 4.01 * u.arcmin, -3 * u.arcmin, np.nan * u.arcmin])
def test_a_slice_outside_is_refused(place):
    with pytest.raises(ParameterError, match=r"angular_width=.* lies outside 1 arcmin \.\.\. 4 arcmin"):
        measure().slice("delta_t", "t_unabsorbed", angular_width=place, velocity_width=1 * u.km / u.s)


def test_a_slice_at_several_places_is_refused():
    with pytest.raises(ParameterError, match=r"angular_width must be one place, got \[2. 3.\]"):
        measure().slice(
            "delta_t", "t_unabsorbed", angular_width=[2, 3] * u.arcmin, velocity_width=1 * u.km / u.s
        )


def test_points_that_do_not_broadcast_are_named():
    with pytest.raises(ParameterError, match=r"must broadcast .*delta_t \(2,\), t_unabsorbed \(3,\)"):
        measure().at(
            delta_t=[-1, -2] * u.K,
            t_unabsorbed=[80, 90, 100] * u.K,
            angular_width=1 * u.arcmin,
            velocity_width=1 * u.km / u.s,
        )
