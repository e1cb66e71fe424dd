"""Features and their widths, against slow versions of the paper's definitions (section 3.3.1)."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_allclose, assert_array_equal

from hisatools.features import (
    angular_widths,
    feature_significance,
    label_features,
    label_voxels,
    velocity_widths,
    voxel_angular_widths,
    voxel_velocity_widths,
)

RANDOM = settings(deadline=None, derandomize=True, max_examples=80)
CUBES = hnp.array_shapes(min_dims=3, max_dims=3, max_side=6)


def mask_of(shape, *voxels):
    mask = np.zeros(shape, bool)
    for voxel in voxels:
        mask[voxel] = True
    return mask


# Grouping


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_voxels_that_share_a_face_are_one_feature(axis):
    step = np.eye(3, dtype=int)[axis]
    labels, n_features = label_features(mask_of((3, 3, 3), (1, 1, 1), tuple(1 + step)))
    assert n_features == 1
    assert labels.max() == 1


@pytest.mark.parametrize("step", [(0, 1, 1), (1, 0, 1), (1, 1, 0), (1, 1, 1), (0, 1, -1)])
def test_voxels_that_share_an_edge_or_a_corner_are_two(step):
    assert label_features(mask_of((3, 3, 3), (1, 1, 1), tuple(np.add(1, step))))[1] == 2


def test_labels_count_from_one_in_the_order_of_the_array():
    labels, n_features = label_features(mask_of((2, 2, 5), (0, 0, 0), (0, 0, 4), (1, 1, 2)))
    assert n_features == 3
    assert labels.dtype == np.int32
    assert (labels[0, 0, 0], labels[0, 0, 4], labels[1, 1, 2]) == (1, 2, 3)
    assert np.count_nonzero(labels) == 3


def test_empty_mask_has_no_features():
    labels, n_features = label_features(np.zeros((2, 3, 4), bool))
    assert n_features == 0
    assert not labels.any()


@RANDOM
@given(mask=hnp.arrays(bool, CUBES))
def test_labels_cover_the_mask_and_faces_share_them(mask):
    labels, n_features = label_features(mask)
    assert_array_equal(labels > 0, mask)
    assert set(np.unique(labels[mask])) == set(range(1, n_features + 1))
    for axis in range(3):
        one, other = (np.moveaxis(labels, axis, 0)[part] for part in (np.s_[:-1], np.s_[1:]))
        both = (one > 0) & (other > 0)
        assert_array_equal(one[both], other[both])


# Significance


def test_significance_is_the_sum_over_its_standard_deviation():
    depth = np.array([10.0, 20, 30, 5])
    sigma = np.array([2.0, 2, 4, 3])
    found = feature_significance(depth, sigma, np.array([0, 0, 0, 1]), 2, correlated_voxels=2.0)
    # Three voxels, two by two fully correlated; a lone voxel is one sample.
    assert_allclose(found, [60 / np.sqrt((4 + 4 + 16) * 2), 5 / 3])


def test_significance_of_independent_voxels_grows_with_their_root():
    few, many = (
        feature_significance(np.full(n, 6.0), np.full(n, 2.0), np.zeros(n, int), 1, 1)[0] for n in (4, 100)
    )
    assert few == pytest.approx(3 * 2)
    assert many == pytest.approx(5 * few)


def test_significance_of_fully_correlated_voxels_is_that_of_one():
    found = feature_significance(np.full(9, 6.0), np.full(9, 2.0), np.zeros(9, int), 1, 1e6)
    assert found[0] == pytest.approx(3)


@RANDOM
@given(seed=st.integers(0, 999), factor=st.sampled_from([0.001, 1000]))
def test_significance_has_no_unit(seed, factor):
    rng = np.random.default_rng(seed)
    depth, sigma, feature = rng.uniform(1, 30, 40), rng.uniform(1, 5, 40), rng.integers(0, 3, 40)
    expected = feature_significance(depth, sigma, feature, 3, 7.3)
    assert_allclose(feature_significance(factor * depth, factor * sigma, feature, 3, 7.3), expected)


# Velocity widths


def slow_velocity_width(run):
    """FWHM of one run with a channel of zero on either side."""
    depth = np.concatenate([[0.0], run, [0.0]])
    peak = int(np.argmax(depth))
    half = depth[peak] / 2
    if half <= 0:
        return 0.0
    crossings = []
    for step in (-1, 1):
        k = peak
        while depth[k] > half:
            k += step
        # Between k and the channel before it.
        crossings.append(k - step * (half - depth[k]) / (depth[k - step] - depth[k]))
    return crossings[1] - crossings[0]


def slow_velocity_widths(depth, mask):
    widths = np.zeros(mask.shape)
    for y, x in np.ndindex(mask.shape[1:]):
        inside = np.flatnonzero(mask[:, y, x])
        for channels in np.split(inside, np.flatnonzero(np.diff(inside) > 1) + 1):
            if channels.size:
                widths[channels, y, x] = slow_velocity_width(depth[channels, y, x])
    return widths


@RANDOM
@given(
    shape=st.tuples(st.integers(1, 20), st.integers(1, 3), st.integers(1, 3)),
    share=st.sampled_from([0.2, 0.7, 1.0]),
    seed=st.integers(0, 9999),
)
def test_velocity_widths_agree_with_the_slow_version(shape, share, seed):
    rng = np.random.default_rng(seed)
    depth, mask = rng.uniform(0, 50, shape), rng.uniform(size=shape) < share
    assert_allclose(velocity_widths(depth, mask), slow_velocity_widths(depth, mask), rtol=1e-5, atol=1e-5)


# Two channels that share the peak of a narrow line would cut it off.
@pytest.mark.parametrize(("centre", "fwhm_chan"), [(40, 3), (40, 5.5), (40, 12), (40.5, 5.5), (40.3, 12)])
def test_velocity_width_of_a_gaussian_line_is_its_fwhm(centre, fwhm_chan):
    depth = 30 * np.exp(-4 * np.log(2) * ((np.arange(81) - centre) / fwhm_chan) ** 2)
    found = velocity_widths(depth[:, None, None], (depth > 0.1)[:, None, None])
    assert found[40, 0, 0] == pytest.approx(fwhm_chan, rel=0.05)


@pytest.mark.parametrize(
    ("run", "expected"),
    [([20.0], 1), ([20.0, 20], 2), ([10.0, 20, 10], 2), ([5.0, 20, 5], 4 / 3), ([20.0, 8], 0.5 + 5 / 6)],
)
def test_velocity_width_of_runs_worked_out_by_hand(run, expected):
    for place in (0, 4, 10 - len(run)):
        depth = np.full((10, 1, 1), 99.0)
        depth[place : place + len(run), 0, 0] = run
        mask = np.zeros((10, 1, 1), bool)
        mask[place : place + len(run)] = True
        found = velocity_widths(depth, mask)
        assert_allclose(found[mask], expected, rtol=1e-6)
        assert not found[~mask].any()


def test_all_voxels_of_a_run_share_its_width_and_runs_have_their_own():
    depth = np.zeros((12, 1, 1))
    depth[1:4, 0, 0], depth[6:11, 0, 0] = [10, 20, 10], [20, 20, 20, 20, 20]
    assert_allclose(velocity_widths(depth, depth > 0)[:, 0, 0], [0, 2, 2, 2, 0, 0, 5, 5, 5, 5, 5, 0])


def test_depth_outside_the_mask_is_never_used():
    rng = np.random.default_rng(1)
    depth, mask = rng.uniform(1, 30, (15, 2, 2)), rng.uniform(size=(15, 2, 2)) < 0.5
    changed = np.where(mask, depth, np.nan)
    assert_array_equal(velocity_widths(changed, mask), velocity_widths(depth, mask))


def test_run_without_absorption_has_no_width():
    assert not velocity_widths(np.zeros((4, 1, 1)), np.ones((4, 1, 1), bool)).any()


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_widths_of_voxels_are_those_of_the_cube(share):
    rng = np.random.default_rng(4)
    mask = rng.uniform(size=(9, 8, 7)) < share
    depth = rng.uniform(1, 30, mask.shape).astype(np.float32)
    found = voxel_velocity_widths(depth[mask], np.flatnonzero(mask), mask.shape)
    assert_array_equal(found, velocity_widths(depth, mask)[mask])
    assert_array_equal(voxel_angular_widths(channel for channel in mask), angular_widths(mask)[mask])
    assert found.dtype == voxel_angular_widths(mask).dtype == np.float32


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_byte_order_changes_no_width(dtype):
    rng = np.random.default_rng(5)
    depth, mask = rng.uniform(1, 30, (9, 3, 4)), rng.uniform(size=(9, 3, 4)) < 0.6
    expected = velocity_widths(depth.astype(dtype), mask)
    for order in "<>":
        assert_array_equal(velocity_widths(depth.astype(order + dtype), mask), expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_mask_of_numbers_is_where_they_are_not_zero(dtype):
    rng = np.random.default_rng(6)
    depth, mask = rng.uniform(1, 30, (5, 6, 7)), rng.uniform(size=(5, 6, 7)) < 0.6
    numbers = mask * rng.integers(1, 9, mask.shape).astype(dtype)
    assert_array_equal(velocity_widths(depth, numbers), velocity_widths(depth, mask))
    assert_array_equal(voxel_angular_widths(numbers), voxel_angular_widths(mask))


# Angular widths


def slow_angular_widths(mask):
    """For each pixel the widest disc, about any masked pixel, that holds it.

    A disc about a pixel has for radius the distance to the nearest pixel outside the mask or the map.
    """
    outside = np.argwhere(~np.pad(mask, 1)) - 1
    inside = np.argwhere(mask)
    widths = np.zeros(mask.shape)
    for centre in inside:
        squared = ((outside - centre) ** 2).sum(axis=1).min()
        for pixel in inside:
            if ((pixel - centre) ** 2).sum() <= squared:
                widths[tuple(pixel)] = max(widths[tuple(pixel)], 2 * np.sqrt(squared))
    return widths


MAPS = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.booleans())
FULL_MAPS = st.tuples(st.integers(1, 14), st.integers(1, 14), st.integers(0, 9999)).map(
    lambda item: np.random.default_rng(item[2]).uniform(size=item[:2]) < 0.95
)


@RANDOM
@given(mask=st.one_of(MAPS, FULL_MAPS))
def test_angular_widths_are_those_of_the_widest_disc_that_holds_a_pixel(mask):
    found = angular_widths(mask[None])[0]
    assert_allclose(found[mask], slow_angular_widths(mask)[mask], rtol=1e-6)


@RANDOM
@given(mask=st.one_of(MAPS, FULL_MAPS))
def test_angular_widths_are_zero_outside_the_mask(mask):
    assert not angular_widths(mask[None])[0][~mask].any()


@pytest.mark.parametrize("at", [(0, 0), (3, 4), (6, 8)])
def test_single_pixel_is_two_pixels_wide_from_edge_to_edge(at):
    # From the centre of one pixel outside to that of the other.
    mask = mask_of((1, 7, 9), (0, *at))
    assert_array_equal(angular_widths(mask)[mask], 2)


def test_round_feature_has_its_diameter_everywhere():
    y, x = np.indices((41, 41)) - 20
    mask = (y**2 + x**2 < 144)[None]
    assert_allclose(angular_widths(mask)[mask], 24, atol=0.1)


def test_filament_beside_a_round_feature_keeps_its_own_width():
    y, x = np.indices((41, 60)) - 20
    mask = ((y**2 + x**2 < 100) | ((np.abs(y) < 1) & (x > 0)))[None]
    widths = angular_widths(mask)[0]
    assert widths[20, 20] == pytest.approx(20, abs=0.1)
    assert widths[20, 50] == 2


def test_channels_do_not_see_each_other():
    mask = np.random.default_rng(2).uniform(size=(4, 20, 20)) < 0.8
    mask[2] = False
    together = angular_widths(mask)
    alone = [angular_widths(channel[None])[0] for channel in mask]
    assert_array_equal(together, alone)
    assert not together[2].any()


def test_turned_masks_have_turned_widths():
    mask = np.random.default_rng(3).uniform(size=(1, 23, 31)) < 0.93
    expected = np.where(mask, angular_widths(mask), 0)
    for turn in (np.s_[:, ::-1], np.s_[:, :, ::-1]):
        turned = mask[turn]
        assert_array_equal(np.where(turned, angular_widths(turned), 0)[turn], expected)


# Labels of voxels alone


@pytest.mark.parametrize("share", [0, 0.02, 0.3, 0.6, 1])
@pytest.mark.parametrize("shape", [(5, 7, 9), (1, 1, 6), (4, 1, 1), (1, 8, 8)])
def test_voxels_alone_are_grouped_as_in_their_mask(shape, share):
    mask = np.random.default_rng(3).uniform(size=shape) < share
    labels, n_features = label_features(mask)
    feature, n_found = label_voxels(np.flatnonzero(mask), shape)
    assert n_found == n_features
    # The same groups, whatever their numbers.
    assert len(set(zip(labels[mask].tolist(), feature.tolist(), strict=True))) == n_features
