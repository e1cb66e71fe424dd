"""Every CLEAN backend against the paper's list of steps and against the reference."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from hisatools.backends.protocols import CleanSettings
from hisatools.backends.reference import ReferenceClean, ReferenceConvolution
from hisatools.results import StopReason

RANDOM = settings(deadline=None, derandomize=True, max_examples=40)
SPECTRAL = {"gain": 0.25, "clip": 0.8, "stop_fraction": 0.03, "max_iterations": 1000}
SPATIAL = {**SPECTRAL, "clip": 0.5, "peak_rank": 10}


def gaussian_kernel(fwhm_chan):
    reach = int(np.ceil(2.2 * fwhm_chan))
    kernel = np.exp(-4 * np.log(2) * (np.arange(-reach, reach + 1) / fwhm_chan) ** 2)
    return kernel / kernel.sum()


def clean_spectra(backend, spectra, stop=0.0, *, fwhm_chan=8, **changes):
    spectra = np.atleast_2d(np.asarray(spectra, np.float32))
    stop = np.broadcast_to(stop, len(spectra)).astype(float)
    return backend.clean_spectra(
        spectra, stop, gaussian_kernel(fwhm_chan), CleanSettings(**{**SPECTRAL, **changes})
    )


def clean_map(backend, image, stop=0.0, *, weights=None, fwhm_pix=8, **changes):
    image = np.asarray(image, np.float32)
    weights = np.ones_like(image) if weights is None else weights
    convolve = ReferenceConvolution().gaussian(image.shape, fwhm_pix)
    return backend.clean_channel(image, stop, weights, convolve, CleanSettings(**{**SPATIAL, **changes}))


def hill(n_v=100, *, peak=100.0, fwhm=40.0):
    return peak * np.exp(-4 * np.log(2) * ((np.arange(n_v) - n_v / 2 + 0.5) / fwhm) ** 2)


def hill_map(n=48, *, peak=100.0, fwhm=50.0):
    return np.outer(hill(n, peak=peak, fwhm=fwhm), hill(n, peak=1, fwhm=fwhm))


def sigma_pos(residual, weights=1.0):
    """Weighted rms of the positive residuals, from its definition."""
    weights = np.broadcast_to(weights, residual.shape)
    positive = residual > 0
    return np.sqrt((weights * residual**2)[positive].sum() / weights[positive].sum())


def with_gaps(values, rng, share):
    return np.where(rng.uniform(size=values.shape) < share, np.nan, values).astype(np.float32)


def random_spectra(seed, n_v, gaps):
    rng = np.random.default_rng(seed)
    centres, widths = rng.uniform(0, n_v, (5, 3, 1)), rng.uniform(3, 40, (5, 3, 1))
    lines = rng.uniform(5, 60, (5, 3, 1)) * np.exp(-(((np.arange(n_v) - centres) / widths) ** 2))
    return with_gaps(lines.sum(axis=1) + rng.normal(0, 3, (5, n_v)), rng, gaps)


def random_map(seed, shape, gaps):
    rng = np.random.default_rng(seed)
    y, x = np.indices(shape)
    image = rng.normal(0, 2, shape) + 30
    for _ in range(4):
        at_y, at_x, width = rng.uniform(0, shape[0]), rng.uniform(0, shape[1]), rng.uniform(4, 20)
        image += rng.uniform(-20, 60) * np.exp(-((y - at_y) ** 2 + (x - at_x) ** 2) / width**2)
    return with_gaps(image, rng, gaps)


def assert_same(found, expected, tolerance_kelvin):
    """The same loops, stops and blanks; U and sigma_pos within tolerance."""
    assert_array_equal(found.n_iterations, expected.n_iterations)
    assert_array_equal(found.stop_reason, expected.stop_reason)
    assert_allclose(found.unabsorbed_kelvin, expected.unabsorbed_kelvin, rtol=0, atol=tolerance_kelvin)
    assert_allclose(found.sigma_pos_kelvin, expected.sigma_pos_kelvin, rtol=0, atol=tolerance_kelvin)


# Against the reference


@RANDOM
@given(
    seed=st.integers(0, 9999),
    n_v=st.integers(1, 80),
    gaps=st.sampled_from([0, 0.1, 0.6]),
    fwhm_chan=st.floats(2, 20),
    stop=st.sampled_from([0, 1.5, 3, 20]),
    peak_rank=st.integers(1, 6),
    max_iterations=st.sampled_from([1, 17, 300]),
)
def test_spectra_agree_with_the_reference(
    compared_clean, seed, n_v, gaps, fwhm_chan, stop, peak_rank, max_iterations
):
    spectra = random_spectra(seed, n_v, gaps)
    options = {"fwhm_chan": fwhm_chan, "peak_rank": peak_rank, "max_iterations": max_iterations}
    expected = clean_spectra(ReferenceClean(), spectra, stop, **options)
    assert_same(
        clean_spectra(compared_clean, spectra, stop, **options), expected, compared_clean.tolerance_kelvin
    )


@RANDOM
@given(
    seed=st.integers(0, 9999),
    shape=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    gaps=st.sampled_from([0, 0.1, 0.6]),
    fwhm_pix=st.floats(2, 20),
    stop=st.sampled_from([0, 1, 2, 10]),
    peak_rank=st.sampled_from([1, 2, 10]),
    max_iterations=st.sampled_from([1, 17, 200]),
)
def test_maps_agree_with_the_reference(
    compared_clean, seed, shape, gaps, fwhm_pix, stop, peak_rank, max_iterations
):
    image = random_map(seed, shape, gaps)
    weights = np.random.default_rng(seed).uniform(0.2, 2, shape).astype(np.float32)
    options = {"fwhm_pix": fwhm_pix, "peak_rank": peak_rank, "max_iterations": max_iterations}
    expected = clean_map(ReferenceClean(), image, stop, weights=weights, **options)
    found = clean_map(compared_clean, image, stop, weights=weights, **options)
    assert_same(found, expected, compared_clean.tolerance_kelvin)


def test_stop_levels_are_those_of_each_spectrum(compared_clean):
    spectra = random_spectra(3, 90, 0)
    stops = [0, 1, 5, np.nan, 50]
    expected = clean_spectra(ReferenceClean(), spectra, stops)
    assert len(set(expected.n_iterations)) > 3
    assert_same(clean_spectra(compared_clean, spectra, stops), expected, compared_clean.tolerance_kelvin)


# One step, by hand


def test_first_correction_of_a_spectrum_is_gain_times_what_exceeds_the_clip(clean_backend):
    spectrum = np.zeros(61)
    spectrum[[20, 40, 30]] = 10, 9, 7.9
    kernel = gaussian_kernel(4)
    middle = kernel.size // 2
    expected = np.zeros(61)
    for channel, height in ((20, 10), (40, 9)):
        expected[channel - middle : channel + middle + 1] += 0.25 * height * kernel
    found = clean_spectra(clean_backend, spectrum, fwhm_chan=4, max_iterations=1)
    assert_allclose(found.unabsorbed_kelvin[0], expected, rtol=0, atol=1e-5)
    assert_allclose(found.sigma_pos_kelvin[0], sigma_pos(spectrum - expected), rtol=1e-5)


def test_first_correction_of_a_map_is_gain_times_what_exceeds_the_clip(clean_backend):
    image = np.zeros((41, 41))
    image[20, 15], image[20, 25], image[12, 20] = 10, 6, 4.9
    corrected = np.where(image > 5, 0.25 * image, 0).astype(np.float32)
    expected = ReferenceConvolution().gaussian(image.shape, 4)(corrected)
    found = clean_map(clean_backend, image, fwhm_pix=4, max_iterations=1, peak_rank=1)
    # The share of the kernel that lies on the map is 1 this far from the borders.
    assert_allclose(found.unabsorbed_kelvin[8:-8, 8:-8], expected[8:-8, 8:-8], rtol=0, atol=1e-5)
    assert expected[20, 15] > 0.1


def test_correction_near_a_border_is_divided_by_the_share_of_the_kernel_on_the_band(clean_backend):
    spectrum = np.full(30, -1.0)
    spectrum[0] = 10
    kernel = gaussian_kernel(4)
    middle = kernel.size // 2
    share = np.array([kernel[max(middle - k, 0) :].sum() for k in range(30)])
    expected = np.zeros(30)
    expected[: middle + 1] = 0.25 * 10 * kernel[middle:]
    found = clean_spectra(clean_backend, spectrum, fwhm_chan=4, max_iterations=1)
    assert_allclose(found.unabsorbed_kelvin[0], expected / share, rtol=0, atol=1e-5)


def test_peak_rank_keeps_one_noisy_pixel_from_steering_the_clean(clean_backend):
    image = np.full((30, 30), 10.0)
    image[15, 15] = 100
    steered = clean_map(clean_backend, image, max_iterations=1, peak_rank=1).unabsorbed_kelvin
    ranked = clean_map(clean_backend, image, max_iterations=1, peak_rank=2).unabsorbed_kelvin
    assert steered[0, 0] == pytest.approx(0, abs=0.01)
    assert ranked[0, 0] == pytest.approx(2.5, abs=0.01)


def test_highest_counts_where_fewer_values_than_peak_rank_are_finite(clean_backend):
    image = np.full((20, 20), np.nan)
    image[10, 8:12] = 10, 11, 12, 40
    few = clean_map(clean_backend, image, max_iterations=1, peak_rank=10)
    highest = clean_map(clean_backend, image, max_iterations=1, peak_rank=1)
    assert_array_equal(few.unabsorbed_kelvin, highest.unabsorbed_kelvin)
    assert highest.unabsorbed_kelvin[10, 11] > 1


def test_weights_count_in_sigma_pos(clean_backend):
    image = random_map(4, (32, 32), 0.1)
    weights = np.random.default_rng(5).uniform(0.1, 3, image.shape).astype(np.float32)
    found = clean_map(clean_backend, image, weights=weights, max_iterations=8)
    expected = sigma_pos(image - found.unabsorbed_kelvin, weights)
    assert found.sigma_pos_kelvin == pytest.approx(expected, rel=1e-4)
    assert found.sigma_pos_kelvin != pytest.approx(sigma_pos(image - found.unabsorbed_kelvin), rel=1e-3)


def test_noisy_pixels_of_no_weight_do_not_delay_the_noise_stop(clean_backend):
    image = hill_map()
    image[:, :10] += np.random.default_rng(6).normal(0, 30, (48, 10))
    weights = np.ones(image.shape, np.float32)
    weights[:, :10] = 1e-6
    weighted = clean_map(clean_backend, image, 3, weights=weights)
    assert weighted.stop_reason == StopReason.NOISE
    assert weighted.n_iterations < clean_map(clean_backend, image, 3).n_iterations


# The three stops


def test_spectrum_stops_at_the_fraction_of_the_peak(clean_backend):
    spectrum = hill()
    found = clean_spectra(clean_backend, spectrum)
    assert found.stop_reason[0] == StopReason.FRACTION
    assert (spectrum - found.unabsorbed_kelvin[0]).max() <= 0.03 * spectrum.max() + 1e-4
    earlier = clean_spectra(clean_backend, spectrum, max_iterations=found.n_iterations[0] - 1)
    assert earlier.stop_reason[0] == StopReason.MAX_ITERATIONS
    assert (spectrum - earlier.unabsorbed_kelvin[0]).max() > 0.03 * spectrum.max()


def test_map_stops_when_the_ranked_residual_is_below_the_fraction_of_the_peak(clean_backend):
    image = hill_map()
    image[3, 3] += 50
    found = clean_map(clean_backend, image, peak_rank=5)
    assert found.stop_reason == StopReason.FRACTION
    earlier = clean_map(clean_backend, image, peak_rank=5, max_iterations=found.n_iterations - 1)
    fifth, fifth_before = (np.sort((image - end.unabsorbed_kelvin).ravel())[-5] for end in (found, earlier))
    assert fifth <= 0.03 * image.max() + 1e-3 < fifth_before


def test_deep_absorption_does_not_raise_the_fraction_at_which_clean_stops(clean_backend):
    spectrum, image = hill(), hill_map()
    spectrum[50], image[24, 24] = -2000, -2000
    found = clean_spectra(clean_backend, spectrum).unabsorbed_kelvin[0]
    assert (spectrum - found).max() <= 0.03 * spectrum.max() + 1e-3
    found = clean_map(clean_backend, image, peak_rank=1).unabsorbed_kelvin
    assert (image - found).max() <= 0.03 * image.max() + 1e-3


def test_spectrum_stops_in_the_first_loop_whose_sigma_pos_is_below_the_noise(clean_backend):
    spectrum = hill() + np.random.default_rng(7).normal(0, 3, 100)
    found = clean_spectra(clean_backend, spectrum, 4)
    assert found.stop_reason[0] == StopReason.NOISE
    assert found.sigma_pos_kelvin[0] < 4
    earlier = clean_spectra(clean_backend, spectrum, 4, max_iterations=found.n_iterations[0] - 1)
    assert earlier.sigma_pos_kelvin[0] >= 4


def test_map_stops_in_the_first_loop_whose_sigma_pos_is_below_the_noise(clean_backend):
    image = hill_map() + np.random.default_rng(8).normal(0, 3, (48, 48))
    found = clean_map(clean_backend, image, 5)
    assert (found.stop_reason, found.sigma_pos_kelvin < 5) == (StopReason.NOISE, True)
    earlier = clean_map(clean_backend, image, 5, max_iterations=found.n_iterations - 1)
    assert earlier.sigma_pos_kelvin >= 5


@pytest.mark.parametrize("n_loops", [1, 7])
def test_stops_after_the_largest_number_of_loops(clean_backend, n_loops):
    spectra = clean_spectra(clean_backend, hill(), max_iterations=n_loops)
    channel = clean_map(clean_backend, hill_map(), max_iterations=n_loops)
    assert (spectra.n_iterations[0], spectra.stop_reason[0]) == (n_loops, StopReason.MAX_ITERATIONS)
    assert (channel.n_iterations, channel.stop_reason) == (n_loops, StopReason.MAX_ITERATIONS)


def test_noise_is_compared_after_a_loop_never_before(clean_backend):
    spectra = clean_spectra(clean_backend, hill(), 1e6)
    channel = clean_map(clean_backend, hill_map(), 1e6)
    assert (spectra.n_iterations[0], spectra.stop_reason[0]) == (1, StopReason.NOISE)
    assert (channel.n_iterations, channel.stop_reason) == (1, StopReason.NOISE)


@pytest.mark.parametrize("value", [-5.0, 0.0])
def test_nothing_positive_is_left_alone(clean_backend, value):
    spectra = clean_spectra(clean_backend, np.full(50, value), 1)
    channel = clean_map(clean_backend, np.full((20, 20), value), 1)
    for found in (spectra, channel):
        assert_array_equal(found.unabsorbed_kelvin, 0)
        assert_array_equal(found.n_iterations, 0)
        assert_array_equal(found.stop_reason, StopReason.FRACTION)
        assert_array_equal(found.sigma_pos_kelvin, 0)


# Blanks


def test_all_blank_is_not_cleaned_and_stays_blank(clean_backend):
    spectra = clean_spectra(clean_backend, np.vstack([np.full(100, np.nan), hill()]))
    assert_array_equal(spectra.stop_reason, [StopReason.NOT_CLEANED, StopReason.FRACTION])
    assert np.isnan(spectra.unabsorbed_kelvin[0]).all()
    assert np.isnan(spectra.sigma_pos_kelvin[0])
    channel = clean_map(clean_backend, np.full((20, 20), np.nan))
    assert (channel.stop_reason, channel.n_iterations) == (StopReason.NOT_CLEANED, 0)
    assert np.isnan(channel.unabsorbed_kelvin).all()
    assert np.isnan(channel.sigma_pos_kelvin)


def test_blank_channels_and_only_those_are_blank_in_the_result(clean_backend):
    spectra = random_spectra(9, 70, 0.3)
    unabsorbed = clean_spectra(clean_backend, spectra).unabsorbed_kelvin
    assert_array_equal(np.isnan(unabsorbed), np.isnan(spectra))


def test_blank_pixels_and_only_those_are_blank_in_the_result(clean_backend):
    image = np.full((20, 60), 50.0, np.float32)
    image[5:15, 20:40] = np.nan
    unabsorbed = clean_map(clean_backend, image).unabsorbed_kelvin
    assert_array_equal(np.isnan(unabsorbed), np.isnan(image))
    assert_allclose(unabsorbed[np.isfinite(image)], 50.0, atol=2)


def test_pixels_that_the_kernel_hardly_covers_are_blank(clean_backend):
    image = np.full((400, 60), np.nan, np.float32)
    image[:5], image[300, 30] = -5, -5
    found = clean_map(clean_backend, image, fwhm_pix=110)
    assert found.stop_reason == StopReason.FRACTION
    assert np.isfinite(found.unabsorbed_kelvin[:5]).all()
    assert np.isnan(found.unabsorbed_kelvin[5:]).all()
    alone = np.full((40, 30), np.nan, np.float32)
    alone[20, 15] = 50
    assert clean_map(clean_backend, alone, fwhm_pix=120).stop_reason == StopReason.NOT_CLEANED


def test_blank_region_far_wider_than_the_kernel_is_only_a_border(clean_backend):
    filled = random_map(10, (12, 20), 0)
    image = np.full((12, 300), np.nan, np.float32)
    image[:, :20] = filled
    expected = clean_map(clean_backend, filled, 2, fwhm_pix=3)
    found = clean_map(clean_backend, image, 2, fwhm_pix=3)
    assert found.n_iterations == expected.n_iterations > 3
    assert_allclose(found.unabsorbed_kelvin[:, :20], expected.unabsorbed_kelvin, rtol=0, atol=1e-3)


def test_blank_channels_far_more_than_the_kernel_are_only_a_border(clean_backend):
    spectrum = np.full(400, np.nan)
    spectrum[:100] = hill()
    found = clean_spectra(clean_backend, spectrum, fwhm_chan=4).unabsorbed_kelvin[0, :100]
    expected = clean_spectra(clean_backend, hill(), fwhm_chan=4).unabsorbed_kelvin[0]
    assert_allclose(found, expected, rtol=0, atol=1e-4)


# What U promises


def blanked(values, *gaps):
    values = np.array(values)
    for gap in gaps:
        values[gap] = np.nan
    return values


@pytest.mark.parametrize("gaps", [(), (slice(0, 6), slice(30, 34), 50)])
def test_constant_spectrum_gives_a_flat_spectrum_up_to_the_borders(clean_backend, gaps):
    unabsorbed = clean_spectra(clean_backend, blanked(np.full(80, 50.0), *gaps)).unabsorbed_kelvin
    assert np.nanmax(unabsorbed) - np.nanmin(unabsorbed) < 0.01
    assert 48.5 <= np.nanmin(unabsorbed) <= np.nanmax(unabsorbed) <= 50


@pytest.mark.parametrize("gaps", [(), (np.s_[:7, :], np.s_[20:25, 10:30], np.s_[33, 33])])
def test_constant_map_gives_a_flat_map_up_to_the_borders(clean_backend, gaps):
    unabsorbed = clean_map(clean_backend, blanked(np.full((40, 44), 50.0), *gaps)).unabsorbed_kelvin
    assert np.nanmax(unabsorbed) - np.nanmin(unabsorbed) < 0.01
    assert 48.5 <= np.nanmin(unabsorbed) <= np.nanmax(unabsorbed) <= 50


def test_unabsorbed_spectrum_runs_through_the_middle_of_the_noise(clean_backend):
    truth = np.tile(hill(128, fwhm=60), (150, 1))
    observed = truth + np.random.default_rng(11).normal(0, 3, truth.shape)
    found = clean_spectra(clean_backend, observed, 3)
    assert (found.stop_reason == StopReason.NOISE).mean() > 0.9
    assert abs((found.unabsorbed_kelvin - truth).mean()) < 1


def test_unabsorbed_map_runs_through_the_middle_of_the_noise(clean_backend):
    truth = hill_map(96, fwhm=100)
    observed = truth + np.random.default_rng(12).normal(0, 2, truth.shape)
    found = clean_map(clean_backend, observed, 2, fwhm_pix=16)
    assert found.stop_reason == StopReason.NOISE
    assert abs((found.unabsorbed_kelvin - truth).mean()) < 1


def test_narrow_absorption_does_not_pull_the_unabsorbed_spectrum_down(clean_backend):
    dip = np.where(np.abs(np.arange(100) - 49.5) < 2, -40.0, 0)
    unabsorbed = clean_spectra(clean_backend, hill() + dip, 1, fwhm_chan=10).unabsorbed_kelvin[0]
    assert_allclose(unabsorbed[45:55], hill()[45:55], atol=8)


def test_twice_the_brightness_gives_twice_the_unabsorbed_emission(clean_backend):
    spectra, image = random_spectra(13, 90, 0.05), random_map(13, (36, 30), 0.05)
    for clean, data in ((clean_spectra, spectra), (clean_map, image)):
        once, twice = clean(clean_backend, data, 2.5), clean(clean_backend, 2 * data, 5)
        assert_array_equal(twice.n_iterations, once.n_iterations)
        assert_allclose(
            twice.unabsorbed_kelvin,
            2 * once.unabsorbed_kelvin,
            rtol=0,
            atol=2 * clean_backend.tolerance_kelvin + 1e-4,
        )


def test_reversed_spectrum_gives_the_reversed_unabsorbed_spectrum(clean_backend):
    spectra = random_spectra(14, 91, 0.1)
    forth, back = clean_spectra(clean_backend, spectra, 2), clean_spectra(clean_backend, spectra[:, ::-1], 2)
    assert_array_equal(back.n_iterations, forth.n_iterations)
    assert_allclose(back.unabsorbed_kelvin[:, ::-1], forth.unabsorbed_kelvin, rtol=0, atol=1e-3)


def test_turned_map_gives_the_turned_unabsorbed_map(clean_backend):
    image = random_map(15, (34, 27), 0.1)
    forth, turned = clean_map(clean_backend, image, 2), clean_map(clean_backend, image.T[::-1], 2)
    assert turned.n_iterations == forth.n_iterations
    assert_allclose(turned.unabsorbed_kelvin[::-1].T, forth.unabsorbed_kelvin, rtol=0, atol=0.01)


def test_a_spectrum_does_not_depend_on_those_cleaned_with_it(clean_backend):
    spectra = random_spectra(16, 60, 0.1)
    together = clean_spectra(clean_backend, spectra, 2).unabsorbed_kelvin
    alone = [clean_spectra(clean_backend, spectrum, 2).unabsorbed_kelvin[0] for spectrum in spectra]
    assert_array_equal(together, alone)


def test_leaves_its_input_as_it_was(clean_backend):
    spectra, image = random_spectra(17, 60, 0.1), random_map(17, (20, 24), 0.1)
    weights = np.full(image.shape, 0.5, np.float32)
    before = spectra.copy(), image.copy(), weights.copy()
    clean_spectra(clean_backend, spectra)
    clean_map(clean_backend, image, weights=weights)
    for now, then in zip((spectra, image, weights), before, strict=True):
        assert_array_equal(now, then)


def test_results_have_the_stated_shapes(clean_backend):
    spectra = clean_spectra(clean_backend, random_spectra(18, 40, 0), 1)
    assert spectra.unabsorbed_kelvin.shape == (5, 40)
    assert [len(item) for item in spectra[1:]] == [5, 5, 5]
    assert clean_map(clean_backend, random_map(18, (7, 9), 0), 1).unabsorbed_kelvin.shape == (7, 9)
