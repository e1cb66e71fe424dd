"""Noise estimates against Monte Carlo noise of known strength and correlation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.ndimage import gaussian_filter, gaussian_filter1d, uniform_filter

from hisatools.noise import (
    NoiseCorrelation,
    box_noise,
    coarse_noise,
    difference_rms,
    expand_noise,
    mad_sigma,
    noise_correlation,
    third_rms,
    without_features,
)

TO_SIGMA = 1 / np.sqrt(8 * np.log(2))
RANDOM = settings(deadline=None, derandomize=True, max_examples=40)
BEAM_PIX, LINE_CHAN = 3.33, 1.6


def rng(seed=1):
    return np.random.default_rng(seed)


def beam_noise(shape, beam_pix, seed=1):
    """A periodic map of unit variance: white noise convolved with a beam."""
    noise = rng(seed).normal(size=shape)
    noise = gaussian_filter(noise, beam_pix * TO_SIGMA, mode="wrap") if beam_pix else noise
    return noise / noise.std()


def cgps_noise(shape=(24, 110, 110), sigma=3.0, seed=2):
    """Noise of the paper's section 3.2: correlated over a beam and over a line profile."""
    noise = rng(seed).normal(size=shape)
    noise = gaussian_filter(noise, (0, BEAM_PIX * TO_SIGMA, BEAM_PIX * TO_SIGMA), mode="wrap")
    noise = gaussian_filter1d(noise, LINE_CHAN * TO_SIGMA, axis=0, mode="wrap")
    return (sigma * noise / noise.std()).astype(np.float32)


def blobs(shape, share, seed=3):
    """True in round blobs that fill this share of the voxels."""
    field = gaussian_filter(rng(seed).normal(size=shape), (1, 3, 3))
    return field > np.quantile(field, 1 - share)


@pytest.fixture(scope="module")
def correlated():
    return cgps_noise()


@pytest.fixture(scope="module")
def widths(correlated):
    """FWHM of the beam and of the line of that noise, from the correlation of its neighbours.

    The line is so narrow against the channels that it differs from the one it was smoothed with.
    """
    variance = correlated.var()
    on_sky, in_velocity = (
        (one * other).mean() / variance
        for one, other in ((correlated[:, 1:], correlated[:, :-1]), (correlated[1:], correlated[:-1]))
    )
    return [np.sqrt(-2 * np.log(2) / np.log(rho)) for rho in (on_sky, in_velocity)]


# box_noise


@pytest.mark.parametrize("box_pix", [3, 7, 15])
def test_white_noise_divides_by_the_number_of_pixels(box_pix):
    share = box_noise(box_pix, 0)
    n = box_pix**2
    assert share.smoothed == pytest.approx(1 / n)
    assert share.removed == pytest.approx(1 - 1 / n)
    both = box_pix * (box_pix - 1) / n**2
    assert share.neighbour == pytest.approx((both - 2 / n) / (1 - 1 / n))


@pytest.mark.parametrize("beam_pix", [0, 2, 3.33, 6])
@pytest.mark.parametrize("box_pix", [3, 7, 15])
def test_box_noise_agrees_with_monte_carlo(box_pix, beam_pix):
    noise = beam_noise((1000, 1000), beam_pix)
    smoothed = uniform_filter(noise, box_pix, mode="wrap")
    removed = noise - smoothed
    neighbour = (removed * np.roll(removed, 1, axis=1)).mean() / removed.var()
    share = box_noise(box_pix, beam_pix)
    assert share.smoothed == pytest.approx(smoothed.var(), rel=0.05)
    assert share.removed == pytest.approx(removed.var(), rel=0.03)
    assert share.neighbour == pytest.approx(neighbour, abs=0.015)


def test_wider_beams_leave_more_noise_in_the_mean():
    shares = [box_noise(7, beam_pix) for beam_pix in (0, 1, 2, 4, 7)]
    assert np.all(np.diff([share.smoothed for share in shares]) > 0)
    assert np.all(np.diff([share.removed for share in shares]) < 0)


# mad_sigma


def test_mad_sigma_is_the_standard_deviation_of_gaussian_noise():
    assert mad_sigma(rng().normal(50, 4, 100_000)) == pytest.approx(4, rel=0.01)


def test_mad_sigma_passes_over_a_tenth_of_strong_absorption():
    noise = rng().normal(0, 2, 20_000)
    noise[:2000] -= 100
    assert mad_sigma(noise) == pytest.approx(2, rel=0.2)
    assert noise.std() > 20


def test_mad_sigma_ignores_blanks_and_needs_thirty_values():
    values = rng().normal(size=30)
    assert mad_sigma(np.append(values, np.full(50, np.nan))) == mad_sigma(values)
    assert np.isnan(mad_sigma(np.append(values[:29], np.nan)))


# noise_correlation


def assert_widths(found, widths, rel):
    assert found.beam_pix == pytest.approx(widths[0], rel=rel)
    assert found.line_chan == pytest.approx(widths[1], rel=rel)


def test_widths_of_the_noise_are_near_those_it_was_made_with(widths):
    assert_allclose(widths, [BEAM_PIX, LINE_CHAN], rtol=0.05)


@pytest.mark.parametrize("box_pix", [7, 15])
def test_beam_and_line_width_of_the_noise_are_found(correlated, widths, box_pix):
    assert_widths(noise_correlation(correlated, box_pix), widths, 0.03)


def test_smooth_emission_does_not_count_as_correlation(correlated, widths):
    v, y, x = np.indices(correlated.shape)
    emission = 80 + 20 * np.sin(x / 40) * np.cos(y / 50) + v
    assert_widths(noise_correlation((correlated + emission).astype(np.float32), 7), widths, 0.04)


def test_correlation_survives_a_tenth_of_strong_absorption(correlated, widths):
    # Ten sigma deep: with a plain variance the beam would come out at the width of the box.
    absorbed = np.where(blobs(correlated.shape, 0.1), correlated - 30, correlated)
    assert_widths(noise_correlation(absorbed, 7), widths, 0.25)


def test_correlation_survives_blanks(correlated, widths):
    blank = correlated.copy()
    blank[blobs(correlated.shape, 0.3)] = np.nan
    blank[5], blank[:, :, :20] = np.nan, np.nan
    assert_widths(noise_correlation(blank, 7), widths, 0.06)


def test_white_noise_has_independent_voxels():
    found = noise_correlation(rng().normal(size=(12, 100, 100)).astype(np.float32), 7)
    assert found.n_voxels == 1
    assert found.beam_pix < 0.8
    assert found.line_chan < 0.8


def test_correlation_has_no_unit(correlated):
    found, scaled = noise_correlation(correlated, 7), noise_correlation(1000 * correlated, 7)
    assert scaled.beam_pix == pytest.approx(found.beam_pix, rel=1e-4)
    assert scaled.line_chan == pytest.approx(found.line_chan, rel=1e-4)


def test_correlation_of_a_reversed_cube_is_the_same(correlated):
    for n_channels in (2, 9, 16, 24):
        part = correlated[:n_channels]
        assert noise_correlation(part[::-1], 7) == noise_correlation(part, 7)


def test_both_axes_of_the_sky_count_alike():
    noise = gaussian_filter(rng().normal(size=(6, 90, 90)), (0, 1, 2.2), mode="wrap").astype(np.float32)
    upright, lying = (noise_correlation(cube, 7).beam_pix for cube in (noise, noise.transpose(0, 2, 1)))
    assert lying == pytest.approx(upright, rel=1e-3)
    assert 1 / TO_SIGMA < upright < 2.2 / TO_SIGMA


def test_workers_do_not_change_the_correlation(correlated):
    assert noise_correlation(correlated, 7, workers=4) == noise_correlation(correlated, 7)


def test_one_channel_has_a_beam_and_no_line_width(correlated):
    found = noise_correlation(correlated[:1], 7)
    assert found.beam_pix == pytest.approx(BEAM_PIX, rel=0.1)
    assert found.line_chan == 0


@pytest.mark.parametrize("value", [np.nan, 5.0])
def test_where_there_is_no_noise_there_is_no_correlation(value):
    assert noise_correlation(np.full((5, 20, 20), value, np.float32), 7) == NoiseCorrelation(0, 0)


def test_no_beam_wider_than_the_box_is_found():
    smooth = gaussian_filter(rng().normal(size=(4, 80, 80)), (0, 8, 8)).astype(np.float32)
    assert noise_correlation(smooth, 7).beam_pix <= 7


def test_correlated_voxels_are_the_sum_of_the_correlation():
    v, y, x = np.mgrid[-20:21, -20:21, -20:21]
    correlation = np.exp(-2 * np.log(2) * ((y**2 + x**2) / BEAM_PIX**2 + v**2 / LINE_CHAN**2))
    assert NoiseCorrelation(BEAM_PIX, LINE_CHAN).n_voxels == pytest.approx(correlation.sum(), rel=0.01)
    assert NoiseCorrelation(0, 0).n_voxels == 1
    assert NoiseCorrelation(0, LINE_CHAN).n_voxels == NoiseCorrelation(0.1, LINE_CHAN).n_voxels


# third_rms


@pytest.mark.parametrize("quiet", [0, 1, 2])
def test_third_rms_is_that_of_the_quiet_third(quiet):
    spectra = rng().normal(0, 5, (300, 4, 5))
    part = slice(100 * quiet, 100 * (quiet + 1))
    spectra[part] /= 5
    assert_allclose(third_rms(spectra), np.sqrt((spectra[part] ** 2).mean(axis=0)))


@RANDOM
@given(n_v=st.integers(24, 60), gaps=st.sampled_from([0, 0.3, 0.7]), seed=st.integers(0, 999))
def test_third_rms_of_a_reversed_cube_is_the_same(n_v, gaps, seed):
    spectra = rng(seed).normal(size=(n_v, 3, 4)) * np.linspace(1, 3, n_v)[:, None, None]
    spectra[rng(seed + 1).uniform(size=spectra.shape) < gaps] = np.nan
    assert_allclose(third_rms(spectra[::-1]), third_rms(spectra), rtol=1e-12)


@pytest.mark.parametrize("n_v", [30, 31, 32])
def test_every_channel_is_in_a_third(n_v):
    spectra = np.full((n_v, 1, 1), 10.0)
    baseline = third_rms(spectra)[0, 0]
    for k in range(n_v):
        quieter = spectra.copy()
        quieter[k] = 0
        assert third_rms(quieter)[0, 0] < baseline, k


def test_thirds_with_fewer_than_eight_channels_do_not_count():
    spectra = np.full((30, 1, 3), 2.0)
    spectra[:10] = 1
    spectra[:3, 0, 1] = np.nan
    spectra[:, 0, 2] = np.nan
    assert_array_equal(third_rms(spectra), [[1, 2, np.nan]])


def test_spectrum_of_fewer_than_24_channels_is_one_part():
    spectra = rng().normal(size=(23, 2, 2))
    assert_allclose(third_rms(spectra), np.sqrt((spectra**2).mean(axis=0)))


def test_third_rms_has_the_unit_of_its_input():
    spectra = rng().normal(size=(40, 2, 2))
    assert_allclose(third_rms(1000 * spectra), 1000 * third_rms(spectra))


def test_third_rms_of_too_short_spectra_is_blank():
    assert np.isnan(third_rms(np.ones((7, 2, 2)))).all()


# difference_rms


def test_difference_rms_is_the_noise_of_each_spectrum():
    sigma = np.array([[1.0, 2.0, 8.0]])
    spectra = rng().normal(size=(3000, 1, 3)) * sigma
    assert_allclose(difference_rms(spectra), sigma, rtol=0.07)


def test_difference_rms_passes_over_the_line():
    velocity = np.arange(1000)
    line = 100 * np.exp(-(((velocity - 500) / 100) ** 2)) - 40 * np.exp(-(((velocity - 480) / 2) ** 2))
    spectrum = (line + rng().normal(0, 2, 1000))[:, None, None]
    assert difference_rms(spectrum)[0, 0] == pytest.approx(2, rel=0.25)


def test_difference_rms_is_nearly_free_of_the_correlation_of_neighbouring_channels():
    noise = gaussian_filter1d(rng().normal(size=20_000), LINE_CHAN * TO_SIGMA)
    assert difference_rms(noise[:, None, None])[0, 0] == pytest.approx(noise.std(), rel=0.1)


def test_difference_rms_of_a_parabola_is_zero():
    k = np.arange(60.0)
    parabolas = np.stack([np.full(60, 80.0), 80 - 3 * k, 0.2 * (k - 30) ** 2], axis=1)
    assert_allclose(difference_rms(parabolas[:, None]), 0, atol=1e-10)


def test_difference_rms_of_reversed_and_scaled_spectra():
    spectra = rng().normal(size=(100, 2, 3))
    assert_allclose(difference_rms(spectra[::-1]), difference_rms(spectra))
    assert_allclose(difference_rms(1000 * spectra), 1000 * difference_rms(spectra))


def test_difference_rms_ignores_blanks():
    spectra = rng().normal(size=(1500, 1, 2))
    spectra[rng().uniform(size=spectra.shape) < 0.3] = np.nan
    spectra[:, 0, 1] = np.nan
    found = difference_rms(spectra)
    assert found[0, 0] == pytest.approx(1, rel=0.1)
    assert np.isnan(found[0, 1])


@pytest.mark.parametrize(("n_v", "is_known"), [(3, False), (6, False), (13, False), (14, True)])
def test_difference_rms_needs_eight_differences(n_v, is_known):
    assert_array_equal(np.isfinite(difference_rms(rng().normal(size=(n_v, 2, 3)))), np.full((2, 3), is_known))


# coarse_noise and expand_noise


def test_gradient_of_the_noise_is_recovered():
    sigma = np.tile(np.linspace(2, 6, 240), (200, 1))
    found = expand_noise(coarse_noise(sigma * rng().normal(size=sigma.shape), 60), sigma.shape)
    assert_allclose(found, sigma, rtol=0.2)
    assert np.median(np.abs(found / sigma - 1)) < 0.04


def test_noise_of_a_map_passes_over_a_tenth_of_strong_absorption():
    noise = rng().normal(0, 2, (120, 120))
    noise[blobs((*noise.shape, 1), 0.1)[..., 0]] -= 60
    assert_allclose(expand_noise(coarse_noise(noise, 60), noise.shape), 2, rtol=0.45)
    assert np.median(coarse_noise(noise, 60)) == pytest.approx(2, rel=0.2)


def test_boxes_with_too_few_values_take_the_median_of_the_others():
    noise = rng().normal(0, 2, (100, 100))
    noise[:, 40:] = np.nan
    coarse = coarse_noise(noise, 20)
    assert np.isfinite(coarse).all()
    measured = coarse[:, :5]
    assert_allclose(coarse[:, 6:], np.median(measured), rtol=0.05)
    assert len(np.unique(measured)) > 20


def test_blank_map_has_blank_noise_and_says_nothing():
    coarse = coarse_noise(np.full((40, 50), np.nan), 20)
    assert np.isnan(coarse).all()
    assert np.isnan(expand_noise(coarse, (40, 50))).all()


@pytest.mark.parametrize("flip", [np.s_[::-1, :], np.s_[:, ::-1]])
def test_noise_of_a_flipped_map_is_flipped(flip):
    noise = rng().normal(size=(70, 83)) * np.linspace(1, 3, 83)
    assert_allclose(coarse_noise(noise[flip], 25), coarse_noise(noise, 25)[flip])


def test_noise_of_a_map_has_the_unit_of_its_input():
    noise = rng().normal(size=(60, 60))
    assert_allclose(coarse_noise(1000 * noise, 20), 1000 * coarse_noise(noise, 20))


@pytest.mark.parametrize("shape", [(1, 1), (1, 60), (9, 7), (64, 65)])
def test_map_of_any_shape_has_noise_of_that_shape(shape):
    noise = rng().normal(size=shape)
    assert expand_noise(coarse_noise(noise, 20), shape).shape == shape


def test_expanded_noise_is_bilinear_and_reaches_the_corners():
    coarse = np.add.outer(10 * np.arange(3.0), np.arange(4.0))
    expected = np.add.outer(np.linspace(0, 20, 41), np.linspace(0, 3, 31))
    found = expand_noise(coarse, (41, 31))
    assert found.dtype == np.float32
    assert_allclose(found, expected, atol=1e-5)


def test_feature_that_fills_its_box_does_not_pass_for_noise():
    coarse = np.full((9, 4, 5), 2.0)
    coarse[4, 1, 1] = 40.0
    coarse[7, 0, 0] = 2.5
    coarse[2] = np.nan
    limited = without_features(coarse)
    assert limited[4, 1, 1] == 4
    assert limited[7, 0, 0] == 2.5
    assert np.isnan(limited[2]).all()
