"""Lines of spectra: the nearest one, its width, and none in noise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.ndimage import gaussian_filter1d

from hisatools.tracers.peaks import nearest_line, spectrum_noise

VELOCITY = np.arange(-30, 30, 0.5)
FWHM = np.sqrt(8 * np.log(2))


def gaussian(centre, sigma, height, velocity=VELOCITY):
    return height * np.exp(-0.5 * ((velocity - centre) / sigma) ** 2)


def line(kelvin, at, velocity=VELOCITY, least=0.5, rise=0.5):
    return nearest_line(velocity, kelvin, at, least_kelvin=least, least_rise_kelvin=rise)


@settings(deadline=None, derandomize=True)
@given(centre=st.floats(-15, 15), sigma=st.floats(1, 4), height=st.floats(1, 30))
def test_a_gaussian_comes_back(centre, sigma, height):
    found = line(gaussian(centre, sigma, height), 0)
    assert_allclose(found.velocity, centre, atol=0.02)
    assert_allclose(found.brightness, height, rtol=0.01)
    assert_allclose(found.linewidth, FWHM * sigma, rtol=0.03)


def test_the_nearest_is_chosen_and_not_the_brightest():
    kelvin = gaussian(-10, 1, 2) + gaussian(8, 1, 20)
    assert_allclose(line(kelvin, -3).velocity, -10, atol=0.01)
    assert_allclose(line(kelvin, 3).velocity, 8, atol=0.01)


def test_a_reversed_axis_changes_nothing():
    kelvin = gaussian(-10, 1, 2) + gaussian(8, 1.5, 20)
    one, other = line(kelvin, -3), line(kelvin[::-1], -3, VELOCITY[::-1])
    assert_allclose([other.velocity, other.linewidth], [one.velocity, one.linewidth])


def test_peaks_that_are_faint_or_hardly_part_of_another_are_none():
    assert np.isnan(line(gaussian(0, 1, 0.4), 0).velocity)
    shoulder = gaussian(0, 3, 10) + gaussian(6, 0.7, 3)
    assert_allclose(line(shoulder, 6, rise=2).velocity, 0, atol=0.05)
    assert_allclose(line(shoulder, 6, rise=0.1).velocity, 6, atol=0.5)


def test_blended_lines_have_no_width():
    kelvin = gaussian(-1.5, 1, 10) + gaussian(1.3, 1, 12)
    found = line(kelvin, -5)
    assert_allclose(found.velocity, -1.5, atol=0.15)
    assert np.isnan(found.linewidth)
    assert np.isfinite(line(gaussian(-5, 1, 10) + gaussian(5, 1, 12), -5).linewidth)


def test_a_line_beside_blank_channels_has_no_width():
    kelvin = gaussian(0, 2, 10)
    kelvin[VELOCITY > 1.5] = np.nan
    found = line(kelvin, 0)
    assert_allclose(found.velocity, 0, atol=0.01)
    assert np.isnan(found.linewidth)


@pytest.mark.parametrize("kelvin", [np.full(120, np.nan), np.zeros(120), -gaussian(0, 2, 10)])
def test_nothing_is_found_in_nothing(kelvin):
    assert np.isnan(line(kelvin, 0).velocity)


def test_no_velocity_has_no_nearest_line():
    assert np.isnan(line(gaussian(0, 1, 5), np.nan).velocity)


def test_noise_is_measured_beside_lines():
    kelvin = np.random.default_rng(1).normal(0, 0.3, (200, VELOCITY.size)) + gaussian(0, 2, 10)
    kelvin[3, :20] = np.nan
    assert_allclose(np.median(spectrum_noise(kelvin)), 0.3, rtol=0.15)
    assert np.isfinite(spectrum_noise(kelvin)).all()


def test_noise_of_few_channels_is_not_known():
    kelvin = np.full((2, 20), np.nan)
    kelvin[1, :12] = np.arange(12) % 3
    assert np.isfinite(spectrum_noise(kelvin)).tolist() == [False, True]
    assert spectrum_noise(np.zeros((0, 20))).shape == (0,)


@pytest.mark.parametrize("fwhm", [1, 2, 3, 4, 5])
def test_noise_has_no_lines_however_fine_the_channels(fwhm):
    """Where channels are finer than the resolution noise is correlated over several of them."""
    kelvin = gaussian_filter1d(np.random.default_rng(3).normal(0, 1, (300, 300)), fwhm / 2.3548, axis=1)
    kelvin = kelvin[:, 20:-20] / kelvin.std()
    velocity = np.arange(kelvin.shape[1]) * 0.2
    noise = spectrum_noise(kelvin)
    assert_allclose(np.median(noise), 1, rtol=0.12)
    limits = [5 * sigma for sigma in noise]
    found = [line(one, 20, velocity, least, least) for one, least in zip(kelvin, limits, strict=True)]
    assert np.mean(np.isfinite([one.velocity for one in found])) < 0.02


@pytest.mark.parametrize("width", [1, 2, 5])
def test_bright_lines_are_no_noise(width):
    kelvin = np.random.default_rng(4).normal(0, 0.1, (20, VELOCITY.size)) + gaussian(0, width, 20)
    assert_allclose(np.median(spectrum_noise(kelvin)), 0.1, rtol=0.25)


def test_what_was_masked_to_zero_shows_no_noise():
    kelvin = np.where(np.abs(VELOCITY) < 3, gaussian(0, 1, 5), 0)[None]
    assert np.isnan(spectrum_noise(kelvin)).all()
