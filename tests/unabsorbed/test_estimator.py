"""T_U by equations (1) and (2) of the paper, against a plain double loop over voxels."""

import itertools
import tracemalloc

import astropy.units as u
import numpy as np
import pytest
from astropy.wcs import WCS
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import ndimage

from hisatools import HISACube, ShellParameters, UnabsorbedEstimator
from hisatools.errors import InputError, ParameterError
from hisatools.unabsorbed import shell

KMS = u.km / u.s
pytestmark = pytest.mark.filterwarnings("ignore:.*have no T_OFF:hisatools.errors.HISAWarning")
RANDOM = settings(deadline=None, derandomize=True, max_examples=40)
NEIGHBOURS = [step for step in itertools.product((-1, 0, 1), repeat=3) if any(step)]
# What a multiple of the cost has to be for the sum to be done in one way or the other.
PATHS = {"direct": 0, "separable": np.inf}
LIMITS = {
    "paper": {},
    "no upper": {"max_fwhm_angle": 1 * u.deg, "max_fwhm_velocity": 100 * KMS},
    "no lower": {"min_fwhm_angle": 0.3 * u.arcmin, "min_fwhm_velocity": 0.9 * KMS},
    "fixed": {
        "min_fwhm_angle": 0.7 * u.arcmin,
        "max_fwhm_angle": 0.7 * u.arcmin,
        "min_fwhm_velocity": 2 * KMS,
        "max_fwhm_velocity": 2 * KMS,
    },
}


def make_cube(kelvin):
    """A CGPS cube: pixels of 18 arcsec, channels of 0.82446 km/s."""
    wcs = WCS(naxis=3)
    wcs.wcs.ctype = ["GLON-CAR", "GLAT-CAR", "VRAD"]
    wcs.wcs.cunit = ["deg", "deg", "m/s"]
    wcs.wcs.cdelt = [-0.005, 0.005, -824.46]
    wcs.wcs.crval = [140, 0, -40e3]
    wcs.wcs.crpix = [1, 1, 1]
    wcs.wcs.specsys, wcs.wcs.restfrq = "LSRK", 1.42040575e9
    return HISACube(np.asarray(kelvin, np.float32) * u.K, wcs)


def random_kelvin(shape, seed=1, blank=0.0):
    rng = np.random.default_rng(seed)
    kelvin = rng.uniform(40, 120, shape)
    kelvin[rng.uniform(size=shape) < blank] = np.nan
    return kelvin


def estimate(kelvin, mask, *, workers=1, **limits):
    estimator = UnabsorbedEstimator("shell", ShellParameters(**limits))
    return estimator.estimate(make_cube(kelvin), mask, uncertainty=False, workers=workers)


def t_off_voxels(mask, finite, body):
    """Finite voxels outside the mask that touch the body by a face, an edge or a corner."""
    found = set()
    for voxel in body:
        for step in NEIGHBOURS:
            other = tuple(np.add(voxel, step))
            is_inside = all(0 <= i < n for i, n in zip(other, mask.shape, strict=True))
            if is_inside and finite[other] and not mask[other]:
                found.add(other)
    return sorted(found)


def longest_row(body, axis):
    """The largest number of voxels that follow each other along one axis."""
    body, longest = set(body), 0
    step = tuple(int(axis == i) for i in range(3))
    for voxel in body:
        length = 0
        while voxel in body:
            voxel, length = tuple(np.add(voxel, step)), length + 1
        longest = max(longest, length)
    return longest


def fwhm_pix(body, parameters):
    """Half of the longest row along (v, y, x), within the limits."""
    velocity = parameters.min_fwhm_velocity.value, parameters.max_fwhm_velocity.value
    angle = parameters.min_fwhm_angle.value, parameters.max_fwhm_angle.value
    limits = np.array([velocity, angle, angle]) / np.array([[0.82446], [0.3], [0.3]])
    return np.clip([longest_row(body, axis) / 2 for axis in range(3)], limits[:, 0], limits[:, 1])


def slow_t_unabsorbed(kelvin, mask, parameters):
    finite = np.isfinite(kelvin)
    mask = mask & finite
    t_unabsorbed, counts = np.array(kelvin, float), []
    labels, n_features = ndimage.label(mask)
    for label in range(1, n_features + 1):
        body = [tuple(map(int, voxel)) for voxel in np.argwhere(labels == label)]
        off = t_off_voxels(mask, finite, body)
        counts.append(len(off))
        sigma = fwhm_pix(body, parameters) / np.sqrt(8 * np.log(2))
        for voxel in body if off else ():
            weights = [np.exp(-0.5 * (np.subtract(other, voxel) ** 2 / sigma**2).sum()) for other in off]
            t_off = [kelvin[other] for other in off]
            t_unabsorbed[voxel] = np.dot(weights, t_off) / np.sum(weights)
    return t_unabsorbed, counts


@pytest.fixture(params=PATHS)
def path(request, monkeypatch):
    """Run the test with the sum done directly, and as matrix products."""
    monkeypatch.setattr(shell, "DIRECT_COST", PATHS[request.param])
    return request.param


# Equations (1) and (2)


@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize("share", [0.1, 0.3, 0.7])
def test_agrees_with_the_double_loop(path, limits, share):
    kelvin = random_kelvin((7, 8, 9), blank=0.1)
    mask = np.random.default_rng(2).uniform(size=kelvin.shape) < share
    expected, counts = slow_t_unabsorbed(kelvin, mask, ShellParameters(**LIMITS[limits]))
    found = estimate(kelvin, mask, **LIMITS[limits])
    assert_allclose(found.t_unabsorbed.value, expected, rtol=1e-5)
    assert_array_equal(found.n_off, counts)


@RANDOM
@given(
    shape=st.tuples(st.integers(3, 7), st.integers(1, 6), st.integers(1, 6)),
    share=st.sampled_from([0.15, 0.5, 0.9]),
    blank=st.sampled_from([0, 0.3]),
    cost=st.sampled_from(sorted(PATHS.values())),
    seed=st.integers(0, 9999),
)
def test_agrees_with_the_double_loop_for_any_shape(shape, share, blank, cost, seed):
    kelvin = random_kelvin(shape, seed, blank)
    assume(np.isfinite(kelvin).sum() > 1)
    mask = np.random.default_rng(seed + 1).uniform(size=shape) < share
    expected, counts = slow_t_unabsorbed(kelvin, mask, ShellParameters(**LIMITS["no lower"]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shell, "DIRECT_COST", cost)
        found = estimate(kelvin, mask, **LIMITS["no lower"])
    assert_allclose(found.t_unabsorbed.value, expected, rtol=1e-5)
    assert_array_equal(found.n_off, counts)


def test_a_box_too_large_to_hold_gives_the_same_plane_by_plane(monkeypatch):
    kelvin = random_kelvin((12, 20, 22), blank=0.05)
    mask = np.random.default_rng(5).uniform(size=kelvin.shape) < 0.5
    monkeypatch.setattr(shell, "DIRECT_COST", PATHS["separable"])
    whole = estimate(kelvin, mask).t_unabsorbed.value
    monkeypatch.setattr(shell, "LARGEST_BOX", 0)
    assert_allclose(estimate(kelvin, mask).t_unabsorbed.value, whole, rtol=1e-6)


def test_a_feature_that_spans_the_cube_takes_little_memory(monkeypatch):
    monkeypatch.setattr(shell, "DIRECT_COST", PATHS["separable"])
    monkeypatch.setattr(shell, "LARGEST_BOX", 2**20)
    shape = (40, 200, 200)
    mask = np.zeros(shape, bool)
    mask[:, ::10, 3], mask[20, 5, :], mask[20, :, 3] = True, True, True
    cube = make_cube(random_kelvin(shape))
    labels, n_features = ndimage.label(mask)
    assert n_features == 1
    index = np.flatnonzero(mask)
    estimator = UnabsorbedEstimator()
    estimator.at_voxels(cube, labels, np.array([1]), index)
    tracemalloc.start()
    estimator.at_voxels(cube, labels, np.array([1]), index)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.5 * cube.kelvin.nbytes


def bar(shape, box):
    mask = np.zeros(shape, bool)
    mask[box] = True
    return mask


@pytest.mark.parametrize(
    ("n_x", "expected_arcmin"), [(4, 1.2), (30, 0.5 * 30 * 0.3), (150, 20.0)], ids=["lower", "half", "upper"]
)
def test_fwhm_is_half_of_the_longest_row_within_the_limits(path, n_x, expected_arcmin):
    # T_OFF only beside the two ends of a row: how T_U goes from one to the other shows the FWHM.
    kelvin = np.full((3, 2, n_x), np.nan)
    kelvin[1, 0] = 50
    kelvin[1, 1, [0, -1]] = 60, 100
    mask = bar(kelvin.shape, np.s_[1, 0])
    sigma = expected_arcmin / 0.3 / np.sqrt(8 * np.log(2))
    x = np.arange(n_x)
    near, far = np.exp(-0.5 * (x / sigma) ** 2), np.exp(-0.5 * ((n_x - 1 - x) / sigma) ** 2)
    found = estimate(kelvin, mask).t_unabsorbed.value[1, 0]
    assert_allclose(found, (60 * near + 100 * far) / (near + far), rtol=1e-5)


# What is T_OFF


def test_only_the_26_neighbours_count():
    kelvin = np.full((5, 5, 5), 1000.0)
    kelvin[1:4, 1:4, 1:4] = 90
    kelvin[2, 2, 2] = 50
    found = estimate(kelvin, bar(kelvin.shape, (2, 2, 2)))
    assert found.t_unabsorbed.value[2, 2, 2] == pytest.approx(90)
    assert_array_equal(found.n_off, [26])


def test_corner_neighbours_count(path):
    kelvin = np.full((3, 3, 3), np.nan)
    kelvin[1, 1, 1], kelvin[2, 2, 0] = 50, 75
    found = estimate(kelvin, bar(kelvin.shape, (1, 1, 1)))
    assert found.t_unabsorbed.value[1, 1, 1] == pytest.approx(75)
    assert found.delta_t.value[1, 1, 1] == pytest.approx(-25)


def test_voxels_of_other_features_and_blanks_never_count():
    kelvin = np.full((3, 3, 5), np.nan)
    kelvin[1] = 90
    kelvin[1, 1, 1], kelvin[1, 2, 2], kelvin[1, 0, 0] = 50, 10, np.nan
    mask = bar(kelvin.shape, (1, 1, 1)) | bar(kelvin.shape, (1, 2, 2))
    found = estimate(kelvin, mask)
    assert found.labels.max() == 2
    assert found.t_unabsorbed.value[1, 1, 1] == pytest.approx(90)
    assert_array_equal(found.n_off, [6, 4])


def test_masked_blanks_are_neither_feature_nor_t_off():
    kelvin = random_kelvin((3, 4, 4))
    kelvin[1, 1, 1] = np.nan
    mask = bar(kelvin.shape, np.s_[1, 1, 1:3])
    found = estimate(kelvin, mask)
    assert found.labels[1, 1, 1] == 0
    assert found.labels[1, 1, 2] == 1
    assert_array_equal(found.n_off, [25])
    assert np.isnan(found.t_unabsorbed.value[1, 1, 1])
    assert np.isnan(found.delta_t.value[1, 1, 1])


# What T_U promises


@pytest.mark.parametrize("share", [0.2, 0.8])
def test_constant_background_comes_back_exactly(path, share):
    rng = np.random.default_rng(3)
    mask = rng.uniform(size=(8, 10, 12)) < share
    kelvin = np.where(mask, rng.uniform(0, 80, mask.shape), 93.5)
    found = estimate(kelvin, mask)
    filled = (found.n_off > 0)[found.labels - 1] & (found.labels > 0)
    assert filled.any()
    assert_allclose(found.t_unabsorbed.value[filled], 93.5, rtol=1e-6)


def test_linear_background_nearly_comes_back(path):
    v, y, x = np.indices((11, 21, 21))
    background = 80 + 2.0 * v + 1.0 * y - 0.5 * x
    body = (v - 5) ** 2 / 9 + (y - 10) ** 2 / 25 + (x - 10) ** 2 / 25 <= 1
    found = estimate(np.where(body, background - 40, background), body)
    assert found.t_unabsorbed.value[5, 10, 10] == pytest.approx(background[5, 10, 10], rel=1e-5)
    assert_allclose(found.t_unabsorbed.value[body], background[body], atol=4)
    assert_allclose(found.delta_t.value[body], -40, atol=4)


def test_t_unabsorbed_lies_between_the_lowest_and_the_highest_t_off(path):
    kelvin = random_kelvin((6, 9, 9), 5)
    mask = bar(kelvin.shape, np.s_[1:5, 2:7, 2:7])
    off = ndimage.binary_dilation(mask, np.ones((3, 3, 3))) & ~mask
    found = estimate(kelvin, mask).t_unabsorbed.value[mask]
    assert kelvin[off].min() <= found.min() <= found.max() <= kelvin[off].max()


def test_outside_features_t_unabsorbed_is_what_was_observed():
    kelvin = random_kelvin((5, 8, 8), blank=0.1).astype(np.float32)
    mask = np.random.default_rng(4).uniform(size=kelvin.shape) < 0.3
    found = estimate(kelvin, mask)
    outside = ~mask | np.isnan(kelvin)
    assert_array_equal(found.t_unabsorbed.value[outside], kelvin[outside])
    assert_array_equal(found.delta_t.value[outside], np.where(np.isnan(kelvin), np.nan, 0)[outside])
    assert_array_equal(found.labels > 0, ~outside)


def test_delta_t_is_observed_minus_unabsorbed():
    kelvin = random_kelvin((5, 8, 8), 6, blank=0.1).astype(np.float32)
    found = estimate(kelvin, np.random.default_rng(4).uniform(size=kelvin.shape) < 0.3)
    assert_array_equal(found.delta_t.value, kelvin - found.t_unabsorbed.value)
    assert found.delta_t.unit == found.t_unabsorbed.unit == u.K


def test_feature_without_t_off_keeps_what_was_observed(path):
    kelvin = random_kelvin((3, 4, 5)).astype(np.float32)
    found = estimate(kelvin, np.ones(kelvin.shape, bool))
    assert_array_equal(found.n_off, [0])
    assert_array_equal(found.t_unabsorbed.value, kelvin)
    assert_array_equal(found.delta_t.value, 0)


def test_empty_mask_changes_nothing():
    kelvin = random_kelvin((3, 4, 5)).astype(np.float32)
    found = estimate(kelvin, np.zeros(kelvin.shape, bool))
    assert found.n_off.size == 0
    assert_array_equal(found.t_unabsorbed.value, kelvin)


@pytest.mark.parametrize(
    ("shape", "row"), [((9, 1, 1), np.s_[:, 0, 0]), ((3, 1, 9), np.s_[1, 0]), ((3, 9, 1), np.s_[1, :, 0])]
)
def test_single_row_is_interpolated_along_it(path, shape, row):
    kelvin = np.full(shape, np.nan)
    kelvin[row] = [90, 90, 90, 90, 40, 110, 90, 90, 90]
    mask = np.zeros(shape, bool)
    mask[row][4] = True
    assert estimate(kelvin, mask).t_unabsorbed.value[row][4] == pytest.approx(100)


def test_voxels_far_from_all_t_off_take_the_nearest(path):
    # The weights of all T_OFF are smaller than the least float.
    kelvin = np.full((500, 1, 1), 50.0)
    kelvin[0], kelvin[-1] = 80, 100
    found = estimate(kelvin, bar(kelvin.shape, np.s_[1:-1])).t_unabsorbed.value
    assert_allclose(found[1:250], 80, rtol=1e-5)
    assert_allclose(found[250:-1], 100, rtol=1e-5)


# Independence


def test_workers_change_nothing_to_the_bit(path):
    kelvin = random_kelvin((10, 24, 24), 7, blank=0.05)
    mask = np.random.default_rng(8).uniform(size=kelvin.shape) < 0.15
    alone, together = estimate(kelvin, mask), estimate(kelvin, mask, workers=4)
    assert alone.labels.max() > shell.FEATURES_PER_BLOCK
    assert_array_equal(together.t_unabsorbed.value, alone.t_unabsorbed.value)
    assert_array_equal(together.n_off, alone.n_off)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_reversed_cube_gives_the_reversed_result(path, axis):
    kelvin = random_kelvin((6, 9, 8), 9, blank=0.1)
    mask = np.random.default_rng(10).uniform(size=kelvin.shape) < 0.4
    found = estimate(np.flip(kelvin, axis), np.flip(mask, axis))
    expected = estimate(kelvin, mask)
    assert_allclose(np.flip(found.t_unabsorbed.value, axis), expected.t_unabsorbed.value, rtol=1e-6)


def test_cube_and_mask_stay_as_they_were():
    kelvin = random_kelvin((4, 6, 6), blank=0.2)
    cube, mask = make_cube(kelvin), np.random.default_rng(11).uniform(size=kelvin.shape) < 0.3
    before, mask_before = cube.kelvin.copy(), mask.copy()
    UnabsorbedEstimator().estimate(cube, mask)
    assert_array_equal(cube.kelvin, before)
    assert_array_equal(mask, mask_before)


# Arguments


def test_unknown_strategy_lists_those_known():
    with pytest.raises(ParameterError, match=r"unknown strategy for .* emission: 'spline'; known: .*shell"):
        UnabsorbedEstimator("spline")


def test_mask_of_another_shape_is_refused():
    cube = make_cube(random_kelvin((3, 4, 5)))
    with pytest.raises(InputError, match=r"mask has the shape \(3, 5, 4\), the cube \(3, 4, 5\)"):
        UnabsorbedEstimator().estimate(cube, np.zeros((3, 5, 4), bool))


def test_parameters_are_those_given_or_the_defaults():
    mine = ShellParameters(min_fwhm_angle=2 * u.arcmin)
    assert UnabsorbedEstimator("shell", mine).parameters is mine
    assert UnabsorbedEstimator().parameters == ShellParameters()
