"""The observables of a voxel, and the lattice of bins (section 3.3)."""

from fractions import Fraction
from math import floor

import astropy.units as u
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from hisatools.errors import InputError, ParameterError
from hisatools.features import angular_widths, velocity_widths
from hisatools.performance import OBSERVABLES, Truth, Voxels
from hisatools.performance.observables import NAMES, STEPS, axis_number, lattice_bins

RANDOM = settings(deadline=None, derandomize=True, max_examples=100)
TYPICAL = (-20.0, 90.0, 4.0, 3.0)


def bin_of(name, value):
    point = np.array([TYPICAL], np.float32)
    point[0, axis_number(name)] = value
    return lattice_bins(point)[0, axis_number(name)]


# --- bins -----------------------------------------------------------------------------------------


def test_bins_are_those_of_the_paper():
    assert NAMES == ("delta_t", "t_unabsorbed", "angular_width", "velocity_width")
    assert_array_equal(STEPS, [2.5, 2.5, 0.5, 0.5])
    assert [observable.unit for observable in OBSERVABLES] == [u.K, u.K, u.arcmin, u.km / u.s]


@RANDOM
@given(
    axis=st.integers(0, 3),
    number=st.integers(-200, 200),
    part=st.floats(0.01, 0.99),
)
def test_a_value_is_in_the_bin_whose_edges_hold_it(axis, number, part):
    assert bin_of(NAMES[axis], (number + part) * STEPS[axis]) == number


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("number", [-24, -1, 0, 1, 30])
def test_an_edge_belongs_to_the_bin_above(name, number):
    step = STEPS[axis_number(name)]
    assert bin_of(name, number * step) == number
    assert bin_of(name, (number - 0.001) * step) == number - 1


def test_ten_pixels_of_a_third_of_an_arcminute_are_not_below_three_arcminutes():
    for width in (np.float32(0.3) * np.float32(10), 0.1 + 0.2 + 2.7, np.nextafter(np.float32(3), 0)):
        assert bin_of("angular_width", width) == 6


@pytest.mark.parametrize("pixel", [Fraction(3, 10), Fraction(1, 10), Fraction(1, 4), Fraction(1, 3)])
def test_whole_numbers_of_pixels_are_in_their_bin_though_rounded(pixel):
    numbers = np.arange(1, 201)
    points = np.tile(np.float32(TYPICAL), (numbers.size, 1))
    points[:, 2] = numbers.astype(np.float32) * float(pixel)
    assert_array_equal(lattice_bins(points)[:, 2], [floor(2 * pixel * int(n)) for n in numbers])


@pytest.mark.parametrize("kelvin", [-1e-6, -7.6e-6, -2.4e-5, -0.004])
def test_the_faintest_absorption_is_in_the_bin_below_zero(kelvin):
    assert bin_of("delta_t", kelvin) == -1


def test_unknown_observable_lists_the_known_ones():
    with pytest.raises(ParameterError, match="unknown observable 'dT'; write one of delta_t, t_unabsorbed,"):
        axis_number("dT")


# --- voxels ---------------------------------------------------------------------------------------


def test_every_voxel_has_its_row_in_the_order_of_the_array():
    rng = np.random.default_rng(5)
    mask = rng.uniform(size=(9, 8, 7)) < 0.6
    delta_t, t_unabsorbed = -rng.uniform(1, 40, mask.shape), rng.uniform(50, 120, mask.shape)
    voxels = Voxels.measure(mask, delta_t, t_unabsorbed, 0.3, 0.8)
    angular, line = angular_widths(mask) * 0.3, velocity_widths(-delta_t, mask) * 0.8
    rows = [
        (delta_t[v, y, x], t_unabsorbed[v, y, x], angular[v, y, x], line[v, y, x])
        for v, y, x in np.ndindex(mask.shape)
        if mask[v, y, x]
    ]
    assert len(voxels) == len(rows) > 100
    assert voxels.values.dtype == np.float32
    assert_allclose(voxels.values, rows, rtol=1e-6)


def test_a_part_of_the_voxels_keeps_what_was_measured_with_all(known):
    voxels = Voxels.of(known(3))
    chosen = np.random.default_rng(1).uniform(size=voxels.mask.shape) < 0.3
    part = voxels.only(chosen)
    assert_array_equal(part.mask, voxels.mask & chosen)
    cubes = [np.full(voxels.mask.shape, np.nan, np.float32) for _ in range(4)]
    for cube, column in zip(cubes, voxels.values.T, strict=True):
        cube[voxels.mask] = column
    assert_array_equal(part.values, np.stack([cube[part.mask] for cube in cubes], axis=1))
    assert 0 < len(part) < len(voxels)


def test_units_of_the_source_do_not_matter(known):
    truth = known(2)
    other = Truth(
        truth.delta_t.astype(float).to(u.mK),
        truth.t_unabsorbed.astype(float).to(u.mK),
        truth.pixel_scale.to(u.deg),
        truth.channel_width.to(u.m / u.s),
        level=5 * u.mK,
    )
    assert_array_equal(other.mask, truth.mask)
    assert_allclose(Voxels.of(other).values, Voxels.of(truth).values, rtol=1e-6)


def test_nan_outside_the_mask_is_never_looked_at(known):
    truth = known(4)
    blank = ~truth.mask & (np.random.default_rng(1).uniform(size=truth.mask.shape) < 0.5)
    holes = [
        u.Quantity(np.where(blank, np.nan, cube.value), u.K) for cube in (truth.delta_t, truth.t_unabsorbed)
    ]
    found = Voxels.of(Truth(*holes, truth.pixel_scale, truth.channel_width))
    assert_array_equal(found.mask, truth.mask)
    assert_array_equal(found.values, Voxels.of(truth).values)


def test_a_mask_without_voxels_has_no_rows():
    voxels = Voxels.measure(np.zeros((4, 3, 2), bool), *np.zeros((2, 4, 3, 2)), 0.3, 0.8)
    assert len(voxels) == 0
    assert voxels.values.shape == (0, 4)


def test_one_sight_line_is_two_pixels_wide_and_has_its_line_width():
    delta_t = -np.array([0, 10, 20, 10, 0.0])[:, None, None]
    voxels = Voxels.measure(delta_t < 0, delta_t, np.full((5, 1, 1), 90.0), 0.5, 1.5)
    assert_allclose(voxels.values, [(-10, 90, 1, 3), (-20, 90, 1, 3), (-10, 90, 1, 3)])


@pytest.mark.parametrize("part", ["delta_t", "t_unabsorbed"])
@pytest.mark.parametrize("shape", [(4, 3, 3), (4, 3), (3, 2, 4)])
def test_arrays_of_different_shapes_are_refused(part, shape):
    arrays = {"delta_t": -np.ones((4, 3, 2)), "t_unabsorbed": np.ones((4, 3, 2))} | {part: -np.ones(shape)}
    with pytest.raises(
        InputError, match=r"must have one shape, got \(4, 3, 2\) and \(.*take all of them from"
    ):
        Voxels.measure(np.ones((4, 3, 2), bool), *arrays.values(), 0.3, 0.8)


def test_maps_are_refused():
    with pytest.raises(InputError, match=r"must have three axes .* got shape \(4, 3\)"):
        Voxels.measure(np.ones((4, 3), bool), -np.ones((4, 3)), np.ones((4, 3)), 0.3, 0.8)


@pytest.mark.parametrize(
    ("delta_t", "t_unabsorbed"), [(np.nan, 90), (-20, np.nan), (0, 90), (5, 90), (-np.inf, 90)]
)
def test_a_voxel_of_the_mask_without_absorption_is_refused(delta_t, t_unabsorbed):
    cubes = np.full((3, 2, 2), -10.0), np.full((3, 2, 2), 90.0)
    cubes[0][1, 1, 1], cubes[1][1, 1, 1] = delta_t, t_unabsorbed
    with pytest.raises(InputError, match="needs a finite T_U and a dT below 0 K; check the mask"):
        Voxels.measure(np.ones((3, 2, 2), bool), *cubes, 0.3, 0.8)
