"""Spatial filters of templates against slow sums."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal

from hisatools.line_background.template import filter_counts, low_pass, rebinned_filter, smooth

RANDOM = settings(deadline=None, derandomize=True, max_examples=40)
MAPS = arrays(float, st.tuples(st.integers(1, 7), st.integers(1, 7)), elements=st.integers(0, 9).map(float))


def slow_smooth(image, fwhm_pix):
    sigma = fwhm_pix / np.sqrt(8 * np.log(2))
    result = np.full(image.shape, np.nan)
    for y, x in np.ndindex(image.shape):
        total = weight = 0.0
        for j, i in np.ndindex(image.shape):
            if np.isfinite(image[j, i]) and max(abs(j - y), abs(i - x)) <= 5 * sigma:
                fall = np.exp(-0.5 * ((j - y) ** 2 + (i - x) ** 2) / sigma**2)
                total, weight = total + fall * image[j, i], weight + fall
        if weight > 1e-6:
            result[y, x] = total / weight
    return result


@RANDOM
@given(image=MAPS, fwhm=st.sampled_from([1.0, 2.5]), seed=st.integers(0, 99))
def test_smoothing_is_a_mean_over_known_pixels(image, fwhm, seed):
    image = np.where(np.random.default_rng(seed).uniform(size=image.shape) < 0.3, np.nan, image)
    assert_allclose(smooth(image, fwhm), slow_smooth(image, fwhm), atol=1e-9)


def test_smoothing_by_nothing_changes_nothing():
    image = np.array([[1.0, np.nan], [3, 4]])
    assert_array_equal(smooth(image, 0), image)


def slow_low_pass(image, shortest_pix):
    """A least-squares fit of the long cosine waves to the known pixels."""
    n_y, n_x = image.shape
    y, x = np.indices(image.shape)
    waves = [
        np.cos(np.pi * k * (y + 0.5) / n_y) * np.cos(np.pi * m * (x + 0.5) / n_x)
        for k in range(n_y)
        for m in range(n_x)
        if np.hypot(k / (2 * n_y), m / (2 * n_x)) <= 1 / shortest_pix
    ]
    known = np.isfinite(image)
    matrix = np.array([wave[known] for wave in waves]).T
    amplitude = np.linalg.lstsq(matrix, image[known], rcond=None)[0]
    return np.tensordot(amplitude, waves, axes=1)


@RANDOM
@given(image=MAPS, shortest=st.sampled_from([2.5, 4.0, 9.0]))
def test_low_pass_keeps_the_long_waves_alone(image, shortest):
    assert_allclose(low_pass(image, shortest), slow_low_pass(image, shortest), atol=1e-8)


def test_low_pass_over_blank_pixels_fits_the_waves_to_the_known_ones():
    rng = np.random.default_rng(3)
    y, x = np.indices((20, 24))
    image = 5 + np.cos(np.pi * (y + 0.5) / 20) + 0.5 * np.cos(2 * np.pi * (x + 0.5) / 24)
    holes = np.where(rng.uniform(size=image.shape) < 0.2, np.nan, image)
    found = low_pass(holes, 16.0)
    assert_allclose(found, slow_low_pass(holes, 16.0), atol=2e-3)
    assert_allclose(found, image, atol=2e-3)


def test_low_pass_does_not_wrap_round():
    image = np.zeros((1, 40))
    image[0, :4] = 1
    assert np.abs(low_pass(image, 12.0)[0, -4:]).max() < 0.1


def test_a_blank_map_stays_blank():
    blank = np.full((2, 3, 3), np.nan)
    assert np.isnan(low_pass(blank, 3.0)).all()
    assert np.isnan(smooth(blank, 3.0)).all()


@RANDOM
@given(counts=arrays(float, (5, 4, 4), elements=st.integers(0, 3).map(float)), n=st.integers(1, 6))
def test_rebinning_keeps_the_total_of_every_fine_bin(counts, n):
    found = rebinned_filter(counts, n, lambda maps: low_pass(maps, 5.0))
    assert_allclose(found.sum(axis=(1, 2)), counts.sum(axis=(1, 2)), atol=1e-9)
    assert (found >= 0).all()


def test_rebinning_by_one_is_filtering():
    counts = np.random.default_rng(1).poisson(3, (4, 6, 6)).astype(float)
    both = [f(counts) for f in (lambda c: rebinned_filter(c, 1, flat), lambda c: filter_counts(c, flat))]
    assert_allclose(*both)


def flat(maps):
    return smooth(maps, 3.0)


def test_rebinning_with_blank_cells_keeps_totals_and_what_is_blank():
    counts = np.random.default_rng(3).poisson(5.0, (5, 6, 7)).astype(float)
    counts[:, 1:3, 2:4] = np.nan
    counts[1, 4, 4] = np.nan
    counts[4, 0] = np.nan
    found = rebinned_filter(counts, 2, lambda maps: smooth(maps, 2.0))
    assert_array_equal(np.isnan(found), np.isnan(counts))
    assert_allclose(np.nansum(found, axis=(1, 2)), np.nansum(counts, axis=(1, 2)), rtol=1e-12)


def test_rebinning_a_flat_sky_stays_flat_where_a_bin_is_blank():
    counts = np.ones((2, 5, 5)) * np.array([1.0, 3.0])[:, None, None]
    counts[1, 2, 2] = np.nan
    found = rebinned_filter(counts, 2, lambda maps: smooth(maps, 2.0))
    assert np.nanstd(found[1]) < 0.02 * 3
