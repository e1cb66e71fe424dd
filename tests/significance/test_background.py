"""A smooth background of channel maps."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from hisatools.significance.background import smooth_background


def smoothed(maps, fwhm_pix, **settings):
    return smooth_background(maps.__getitem__, len(maps), fwhm_pix, **settings)


def written_out(image, fwhm_pix):
    """A plane fitted to the known pixels about each pixel, twice; rows have the root of the weight."""
    known = np.isfinite(image)
    y, x = np.nonzero(known)

    def planes(values):
        fitted = np.full(image.shape, np.nan)
        for j, i in zip(y, x, strict=True):
            root = np.exp(-2 * np.log(2) * ((y - j) ** 2 + (x - i) ** 2) / fwhm_pix**2)
            terms = np.stack([np.ones(y.size), y - j, x - i], axis=1)
            solution = np.linalg.lstsq(root[:, None] * terms, root * values[known], rcond=None)[0]
            fitted[j, i] = solution[0]
        return fitted

    once = planes(image)
    return once + planes(image - once)


@pytest.mark.parametrize("blank", [False, True])
def test_a_map_is_smoothed_as_written_out(blank):
    image = np.random.default_rng(6010).normal(size=(14, 11))
    if blank:
        image[3:6, 2:9] = np.nan
        image[:, 10] = np.nan
    assert_allclose(smoothed(image[None], 4.0)[0], written_out(image, 4.0), atol=2e-5)


def test_a_slope_comes_back_up_to_the_border_and_beside_blanks():
    y, x = np.indices((40, 50))
    image = 30 + 2.0 * y - 0.7 * x
    image[10:30, 20:25] = np.nan
    found = smoothed(image[None].astype(np.float32), 12.0)[0]
    assert_array_equal(np.isnan(found), np.isnan(image))
    assert_allclose(found[np.isfinite(image)], image[np.isfinite(image)], atol=2e-3)


def test_broad_emission_is_kept_and_narrow_absorption_is_not():
    y, x = np.indices((80, 80)) - 40
    broad, narrow = (np.exp(-4 * np.log(2) * (y**2 + x**2) / fwhm**2) for fwhm in (60, 4))
    assert np.abs(smoothed(broad[None], 15.0)[0] - broad).max() < 0.01
    assert smoothed(narrow[None], 15.0)[0].max() < 0.15


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2)])
def test_narrow_maps_are_smoothed_without_a_slope_across(shape):
    found = smoothed(np.full((2, *shape), 7.0, np.float32), 5.0)
    assert_allclose(found, 7)


def test_lone_pixels_and_blank_channels_are_no_trouble():
    maps = np.full((3, 6, 7), np.nan, np.float32)
    maps[1, 2, 3] = 5
    maps[2] = 4
    found = smoothed(maps, 3.0)
    assert np.isnan(found[0]).all()
    assert found[1, 2, 3] == 5 and np.isnan(found[1]).sum() == 41
    assert_allclose(found[2], 4, rtol=1e-5)


def test_workers_change_nothing():
    maps = np.random.default_rng(6011).normal(size=(6, 20, 20)).astype(np.float32)
    assert_array_equal(smoothed(maps, 4.0), smoothed(maps, 4.0, workers=2))
