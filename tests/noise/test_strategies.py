"""What each strategy measures, against skies whose noise is known."""

import warnings

import astropy.units as u
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from hisatools.errors import HISAWarning, InputError, ParameterError, ParameterUnitsError
from hisatools.noise import (
    LineFreeParameters,
    MeshParameters,
    NoiseEstimator,
    PropagatedParameters,
    RadiometerParameters,
    ThirdsParameters,
)
from hisatools.noise.box_means import mean_share
from hisatools.noise.differences import difference_line_chan, difference_variance
from hisatools.noise.fields import clipped_variance
from hisatools.noise.line_free import line_free_channels
from hisatools.noise.mesh import clipped_share
from hisatools.simulate import correlated_noise
from hisatools.strategies import available

NAMES = ("thirds", "line-free", "mesh", "mad-difference", "weights", "radiometer", "propagated")
MAPS = ("thirds", "line-free", "mad-difference", "weights")
KMS = u.km / u.s
NO_RISE = pytest.mark.filterwarnings("ignore:the noise does not rise:hisatools.errors.HISAWarning")


def spectra(shape, sigma=3.0, seed=1, line=60.0):
    """White noise and a line in the middle half of the band."""
    rng = np.random.default_rng(seed)
    offset = (np.arange(shape[0]) - (shape[0] - 1) / 2) / (shape[0] / 8)
    return (line * np.exp(-(offset**2)))[:, None, None] + rng.normal(0, sigma, shape)


def measure(cube, name, *, mask=None, workers=1):
    weights = {"weights": np.ones(cube.shape[1:])} if name == "weights" else {}
    return NoiseEstimator(name, **weights).estimate(cube, mask=mask, workers=workers)


def test_all_strategies_are_found_by_entry_point():
    assert set(NAMES) <= set(available("noise"))


@pytest.mark.parametrize("name", NAMES)
def test_noise_of_a_sky_with_emission_and_absorption_is_that_put_in(name, sky, measured, benchmark_noise):
    off = np.abs(measured(name).sigma.value / benchmark_noise.TRUTHS[name](sky) - 1)
    assert np.median(off) < 0.05
    assert np.quantile(off, 0.95) < 0.15


def test_automatic_mask_keeps_the_mesh_as_good_with_sources_on_a_twentieth(sky_with_sources, benchmark_noise):
    assert sky_with_sources.sources.mean() >= 0.05
    median, most, _, _ = benchmark_noise.deviation(sky_with_sources, "mesh", "automatic", workers=2)
    assert median < 0.05
    assert most < 0.15
    spoiled = benchmark_noise.deviation(sky_with_sources, "mesh", workers=2)
    assert spoiled[1] > 0.15


@NO_RISE
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(96, 1, 1), (96, 2, 2), (96, 1, 40), (96, 40, 40)])
def test_sky_of_any_size_has_its_noise(name, shape, make_cube):
    result = measure(make_cube(spectra(shape)), name)
    assert result.sigma.unit == u.K
    assert np.isfinite(result.sigma.value).all()
    # One spectrum of 96 channels: its differences tell sigma to about 15 %.
    assert np.median(result.sigma.value) == pytest.approx(3, rel=0.35 if shape[1] < 40 else 0.05)


@NO_RISE
@pytest.mark.parametrize("name", NAMES)
def test_blanks_and_blank_planes_stay_blank_and_break_nothing(name, make_cube):
    kelvin = spectra((96, 40, 40))
    kelvin[np.random.default_rng(5).random(kelvin.shape) < 0.2] = np.nan
    kelvin[7], kelvin[90:], kelvin[:, :5] = np.nan, np.nan, np.nan
    result = measure(make_cube(kelvin), name)
    finite = np.isfinite(kelvin)
    expected = finite if result.sigma.ndim == 3 else finite.any(axis=0)
    assert_array_equal(np.isfinite(result.sigma.value), expected)
    assert np.nanmedian(result.sigma.value) == pytest.approx(3, rel=0.06)


@NO_RISE
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 2, 3), (3, 1, 1), (1, 40, 40), (3, 40, 40)])
def test_too_little_data_is_an_error_and_never_a_silent_blank(name, shape, make_cube):
    try:
        sigma = measure(make_cube(spectra(shape)), name).sigma.value
    except InputError as error:
        assert "channels" in str(error) or "voxels" in str(error)
    else:
        assert shape[1] == 40
        assert_allclose(sigma, 3, rtol=0.35)


@pytest.mark.parametrize("name", NAMES)
def test_blank_cube_is_an_error_that_says_so(name, make_cube):
    with pytest.raises(InputError, match="channels"):
        measure(make_cube(np.full((96, 40, 40), np.nan)), name)


@pytest.mark.parametrize("name", NAMES)
def test_mask_of_everything_is_an_error(name, make_cube):
    with pytest.raises(InputError, match=r"mask|channels are free"):
        measure(make_cube(spectra((96, 40, 40))), name, mask=np.ones((40, 40), bool))


@NO_RISE
@pytest.mark.parametrize("name", NAMES)
def test_number_of_workers_changes_no_bit(name, make_cube):
    cube = make_cube(spectra((48, 70, 40)))
    one, three = (measure(cube, name, workers=workers).sigma.value for workers in (1, 3))
    assert_array_equal(one, three)


@NO_RISE
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(96, 40, 40), (96, 1, 1)])
def test_reversed_velocity_reverses_the_noise(name, shape, make_cube):
    kelvin = spectra(shape, seed=6)
    forward, backward = (measure(make_cube(values), name).sigma.value for values in (kelvin, kelvin[::-1]))
    assert_allclose(backward, forward[::-1] if forward.ndim == 3 else forward, rtol=1e-3)


@NO_RISE
@pytest.mark.parametrize("name", NAMES)
def test_masked_voxels_are_not_used_and_have_the_noise_of_their_surroundings(name, make_cube):
    kelvin = spectra((96, 50, 50))
    mask = np.zeros((50, 50), bool)
    mask[10:16, 20:26] = True
    clean = measure(make_cube(kelvin), name, mask=mask).sigma.value
    kelvin[:, mask] += np.random.default_rng(7).normal(0, 200, (96, 36))
    spoiled = measure(make_cube(kelvin), name, mask=mask).sigma.value
    if name in MAPS or name == "mesh":
        assert_array_equal(clean, spoiled)
    assert_allclose(np.median(spoiled[..., mask]), 3, rtol=0.1)


@given(scale=st.floats(0.01, 100), name=st.sampled_from(("thirds", "mad-difference", "radiometer")))
@settings(deadline=None, derandomize=True, max_examples=8)
@NO_RISE
def test_noise_scales_with_the_brightness_of_the_cube(scale, name):
    kelvin = spectra((32, 24, 24), line=0.0)
    one, other = (measure(_cube(values), name).sigma.value for values in (kelvin, scale * kelvin))
    assert_allclose(other, scale * one, rtol=2e-2)


def _cube(kelvin):
    from hisatools import HISACube
    from hisatools.simulate import ModelParameters, model_wcs

    parameters = ModelParameters(shape=kelvin.shape)
    return HISACube(kelvin.astype(np.float32) * u.K, model_wcs(parameters))


# What they are made of


@pytest.mark.parametrize("clip", [2.5, 3, 5, 50])
def test_clipped_variance_of_gaussian_noise_is_its_variance(clip):
    field = np.random.default_rng(2).normal(0, 3, (4000, 5, 5)).astype(np.float32)
    assert_allclose(clipped_variance(field, 2.0, clip), 9, rtol=0.03)


def test_clipped_variance_passes_over_a_tenth_of_outliers():
    field = np.random.default_rng(2).normal(0, 3, (3000, 4, 4)).astype(np.float32)
    field[:300] -= 60
    assert_allclose(clipped_variance(field, 0, 3.0), 9, rtol=0.2)


def test_clipped_share_is_what_repeated_clipping_leaves():
    from astropy.stats import sigma_clipped_stats

    values = np.random.default_rng(3).normal(size=400_000)
    assert clipped_share(3.0) == pytest.approx(sigma_clipped_stats(values, sigma=3, maxiters=50)[2], rel=3e-3)


@pytest.mark.parametrize("line_chan", [0, 1.6, 3.0])
def test_differences_tell_how_much_the_correlation_takes_from_them(line_chan):
    noise = correlated_noise((200, 60, 60), 0, line_chan, np.random.default_rng(4))
    difference = noise[6:] - 3 * noise[4:-2] + 3 * noise[2:-4] - noise[:-6]
    found = difference_line_chan(noise)
    assert difference_variance(2, found).item() == pytest.approx(difference.var(), rel=0.03)
    if line_chan:
        assert found == pytest.approx(line_chan, abs=0.15)


def test_line_free_channels_are_found_between_the_lines(sky):
    found = line_free_channels(sky.cube.kelvin, 0.25)
    assert found[sky.line_free].mean() > 0.8
    brightest = np.abs(sky.brightness_kelvin).max(axis=(1, 2))
    assert brightest[found].max() < 3


def test_cube_without_line_free_channels_says_what_to_do(make_cube):
    cube = make_cube(spectra((96, 30, 30), line=0.0) + 70)
    with pytest.raises(InputError, match="give ranges"):
        NoiseEstimator("line-free").estimate(cube)


def test_given_ranges_are_used_and_reported(sky):
    v = sky.cube.velocity
    parameters = LineFreeParameters(ranges=((v[0], v[8]), (v[-8], v[-1])))
    result = NoiseEstimator("line-free", parameters).estimate(sky.cube)
    assert result.meta["channels"] == "0-8, 64-71"
    assert_allclose(np.median(result.sigma.value / sky.sigma0_kelvin), 1, rtol=0.02)


@pytest.mark.parametrize("ranges", [3, (3, 4), ((1 * KMS,),), ((1, 2),)])
def test_ranges_that_are_none_are_refused(ranges):
    with pytest.raises(ParameterError, match="pairs of velocities"):
        LineFreeParameters(ranges=ranges)


def test_weights_follow_the_map_and_blank_where_there_is_none(sky, make_cube):
    weights = sky.cube.weights.copy()
    weights[:3], weights[5] = 0, np.nan
    sigma = NoiseEstimator("weights", weights=weights).estimate(sky.cube).sigma.value
    assert np.isnan(sigma[[0, 1, 2, 5]]).all()
    assert_allclose(sigma[10] / sigma[10, 0], sky.sigma0_kelvin[10] / sky.sigma0_kelvin[10, 0], rtol=1e-5)


def test_weights_are_needed_by_weights(make_cube):
    with pytest.raises(InputError, match="no map of weights"):
        NoiseEstimator("weights").estimate(make_cube(spectra((64, 30, 30))))


def test_system_temperature_is_measured(measured):
    assert measured("radiometer").meta["t_sys_kelvin"] == pytest.approx(100, rel=0.1)


def test_radiometer_with_everything_given_is_the_formula(sky):
    parameters = RadiometerParameters(t_sys=50 * u.K)
    sigma = NoiseEstimator("radiometer", parameters, sigma0=2000 * u.mK).estimate(sky.cube).sigma.value
    expected = 2 * (1 + np.maximum(sky.brightness_kelvin, 0) / 50)
    assert_allclose(np.median(sigma / expected), 1, rtol=0.01)
    assert sigma.min() >= 2


def test_noise_that_does_not_rise_is_said(make_cube):
    with pytest.warns(HISAWarning, match="T_sys cannot be measured"):
        result = NoiseEstimator("radiometer").estimate(make_cube(spectra((64, 1, 1))))
    assert result.meta["t_sys_kelvin"] == np.inf


def test_terms_add_in_quadrature_and_keep_their_names(make_cube):
    cube = make_cube(np.full((20, 30, 30), 50.0) + np.arange(20)[:, None, None])
    continuum = np.full((30, 30), 4.0)
    continuum[0] = np.nan
    estimator = NoiseEstimator(
        "propagated",
        PropagatedParameters(calibration=0.1),
        radiometer=3 * u.K,
        continuum=continuum * u.K,
        unabsorbed=np.full(cube.shape, 12000.0) * u.mK,
        ripple=1 * u.K,
    )
    result = estimator.estimate(cube)
    assert list(result.meta["terms"]) == ["radiometer", "continuum", "unabsorbed", "ripple", "calibration"]
    expected = np.sqrt(9 + 16 + 144 + 1 + (0.1 * cube.kelvin[10]) ** 2)
    assert_allclose(result.sigma.value[10, 1:], expected[1:], rtol=1e-4)
    assert_allclose(result.sigma.value[10, 0] ** 2, expected[0] ** 2 - 16, rtol=1e-3)


def test_terms_are_optional_but_one_is_needed(make_cube):
    with pytest.raises(InputError, match="no term"):
        NoiseEstimator("propagated", PropagatedParameters(measure_radiometer=False)).estimate(
            make_cube(spectra((20, 30, 30)))
        )


@pytest.mark.parametrize(
    ("value", "text"),
    [(3.0, "unit"), (3 * u.km, "unit"), (np.ones((4, 4)) * u.K, "does not fit"), (-1 * u.K, "0 K")],
)
def test_terms_that_cannot_be_added_are_refused(value, text, make_cube):
    with pytest.raises(InputError, match=text):
        NoiseEstimator("propagated", radiometer=value).estimate(make_cube(spectra((20, 30, 30))))


def test_calibration_named_twice_is_refused():
    with pytest.raises(ParameterError, match="two terms are called calibration"):
        NoiseEstimator("propagated", PropagatedParameters(calibration=0.05), calibration=50 * u.K)


def test_calibration_named_once_counts(make_cube):
    cube = make_cube(spectra((20, 30, 30)))
    result = NoiseEstimator("propagated", radiometer=3 * u.K, calibration=4 * u.K).estimate(cube)
    assert_allclose(result.sigma.value, 5, rtol=1e-6)


def test_where_the_radiometers_noise_is_unknown_so_is_the_sum(make_cube):
    radiometer = np.full((30, 30), 3.0)
    radiometer[4, 5] = np.nan
    cube = make_cube(spectra((20, 30, 30)))
    sigma = NoiseEstimator("propagated", radiometer=radiometer * u.K, continuum=4 * u.K).estimate(cube).sigma
    assert_array_equal(np.isnan(sigma.value), np.broadcast_to(np.isnan(radiometer), cube.shape))
    assert np.nanmax(sigma.value) == pytest.approx(5)


def test_noise_for_parameters_of_the_radiometer_is_refused():
    with pytest.raises(ParameterError, match="RadiometerParameters or None"):
        PropagatedParameters(radiometer=3 * u.K)
    inner = PropagatedParameters(radiometer=RadiometerParameters(t_sys=50 * u.K)).to_dict()
    assert inner["radiometer.t_sys"] == "50.0 K"


def test_term_measured_on_another_field_is_refused(make_cube):
    cube = make_cube(spectra((48, 31, 30)))
    one, other = (cube.cutout((slice(None), slice(first, first + 30), slice(None))) for first in (0, 1))
    noise = NoiseEstimator("thirds").estimate(one)
    NoiseEstimator("propagated", radiometer=noise).estimate(one)
    with pytest.raises(InputError, match="another part of the sky than the cube, 1 pixels off"):
        NoiseEstimator("propagated", radiometer=noise).estimate(other)


@pytest.mark.parametrize("length", [(96,), (40,), (1, 40), (96, 40, 40)])
def test_sigma0_is_one_value_or_a_map(length, make_cube):
    estimator = NoiseEstimator(
        "radiometer", RadiometerParameters(t_sys=90 * u.K), sigma0=np.ones(length) * u.K
    )
    with pytest.raises(InputError, match=r"sigma0 of shape .* does not fit; .*\(40, 40\)"):
        estimator.estimate(make_cube(spectra((96, 40, 40))))


@pytest.mark.parametrize("weights", ["w.fits", [[1, 2], [3]], {"a": 1}])
def test_weights_that_are_no_numbers_are_refused(weights, make_cube):
    with pytest.raises(InputError, match="array of numbers"):
        NoiseEstimator("weights", weights=weights).estimate(make_cube(spectra((64, 30, 30))))


# Noise that is correlated, or little of it


@pytest.mark.parametrize("n_v", [16, 24, 31, 32, 48])
def test_differences_of_few_channels_know_the_correlation(n_v, make_cube):
    noise = 6 * correlated_noise((n_v, 64, 64), 10 / 3, 1.6, np.random.default_rng(101))
    result = NoiseEstimator("mad-difference").estimate(make_cube(noise))
    assert result.meta["line_channels"] == pytest.approx(1.6, abs=0.15)
    assert np.median(result.sigma.value) == pytest.approx(6, rel=0.04)


@pytest.mark.parametrize("name", ["mad-difference", "thirds", "mesh", "radiometer"])
def test_correlation_that_cannot_be_measured_is_said(name, make_cube):
    # White noise counts well enough on four beams: only the missing correlation is left to say.
    few, enough = (make_cube(spectra((n, 16, 16), line=0.0)) for n in (31, 32))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        measure(few, name)
    assert any("31 channels" in str(one.message) and "white" in str(one.message) for one in caught)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        measure(enough, name)
    assert not any("white" in str(one.message) for one in caught)


def said(name, shape, make_cube):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        measure(make_cube(spectra(shape, line=0.0)), name)
    (text,) = [str(one.message) for one in caught if "independent values" in str(one.message)] or [""]
    return text


@pytest.mark.parametrize(
    ("name", "percent"),
    [("thirds", 38), ("mesh", 38), ("radiometer", 38), ("mad-difference", 51), ("weights", 19)],
)
def test_spectrum_of_few_channels_says_how_uncertain_its_noise_is(name, percent, make_cube):
    text = said(name, (14, 1, 1), make_cube)
    if percent > 20:
        assert f"uncertain by {percent} %" in text
    for shape in ((96, 1, 1), (48, 40, 40)):
        assert not said(name, shape, make_cube)


def test_least_of_three_short_thirds_is_said_to_be_low(make_cube):
    assert "the least of three thirds comes out 24 % low" in said("thirds", (48, 1, 1), make_cube)


@pytest.mark.parametrize(("name", "n_v"), [("thirds", 14), ("mad-difference", 48), ("mesh", 20)])
def test_stated_uncertainty_is_the_scatter_of_many_spectra(name, n_v, make_cube):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = [
            np.median(measure(make_cube(spectra((n_v, 1, 1), seed=seed, line=0.0)), name).sigma.value) / 3
            for seed in range(100, 180)
        ]
    texts = [str(one.message) for one in caught if "uncertain by" in str(one.message)]
    stated = np.median([float(text.split("uncertain by ")[1].split(" %")[0]) for text in texts]) / 100
    assert stated == pytest.approx(np.std(found), rel=0.25)


def test_mesh_of_tiny_boxes_takes_larger_ones_and_says_so(make_cube):
    rise = np.linspace(3, 6, 64)
    cube = make_cube(rise * correlated_noise((16, 64, 64), 10 / 3, 1.6, np.random.default_rng(101)))
    with pytest.warns(HISAWarning) as caught:
        result = NoiseEstimator("mesh", MeshParameters(box_size=1 * u.arcmin)).estimate(cube)
    assert any("give box_size=2.4 * u.arcmin or more" in str(one.message) for one in caught)
    assert result.meta["box_size"] == "2.4 arcmin x 2.4 arcmin"
    ends = [np.median(result.sigma.value[..., part]) for part in (slice(0, 12), slice(-12, None))]
    assert_allclose(ends, [3.3, 5.7], rtol=0.12)


def test_mesh_of_a_small_sky_is_one_box_whatever_the_size_of_the_boxes(make_cube):
    cube = make_cube(spectra((96, 9, 9)))
    expected = NoiseEstimator("mesh").estimate(cube)
    with pytest.warns(HISAWarning, match="smaller than five beams is one"):
        result = NoiseEstimator("mesh", MeshParameters(box_size=1 * u.arcmin)).estimate(cube)
    assert_array_equal(result.sigma, expected.sigma)
    assert np.ptp(result.sigma.value, axis=(1, 2)).max() < 1e-5


@pytest.mark.parametrize("side", [6, 10, 22])
def test_share_of_a_box_mean_is_that_of_simulated_noise(side):
    noise = correlated_noise((60, 11 * side, 11 * side), 10 / 3, 0, np.random.default_rng(102))
    from hisatools.smoothing import box_mean

    removed = np.array([channel - box_mean(channel, 17) for channel in noise])
    means = removed.reshape(60, 11, side, 11, side).mean(axis=(2, 4))[:, 1:-1, 1:-1]
    expected = means.var() / removed.var()
    assert mean_share((side, side), 17, 10 / 3) == pytest.approx(expected, rel=0.1)


def test_mesh_without_photutils_names_the_extra(make_cube, monkeypatch):
    monkeypatch.setattr("hisatools.noise.mesh.find_spec", lambda name: None)
    with pytest.raises(ParameterError, match=r"hisatools\[mesh\]"):
        NoiseEstimator("mesh").estimate(make_cube(spectra((20, 30, 30))))


def test_mesh_of_all_channels_is_one_map(sky):
    sigma = NoiseEstimator("mesh", MeshParameters(per_channel=False)).estimate(sky.cube).sigma.value
    rms = np.sqrt((sky.sigma_kelvin.astype(float) ** 2).mean(axis=0))
    assert np.quantile(np.abs(sigma / rms - 1), 0.95) < 0.15


def test_mesh_scales_are_taken_from_the_beam_or_from_the_user(measured, make_cube):
    meta = measured("mesh").meta
    assert meta["box_size"] == "8.4 arcmin x 8.4 arcmin"
    assert (meta["filter_boxes"], meta["box_channels"]) == (3, 5)
    given = MeshParameters(box_size=5 * u.arcmin, filter_size=24 * u.arcmin, box_velocity=0 * KMS)
    meta = NoiseEstimator("mesh", given).estimate(make_cube(spectra((3, 112, 112)))).meta
    assert meta["box_size"] == "4.8 arcmin x 4.8 arcmin"
    assert (meta["filter_boxes"], meta["box_channels"]) == (5, 1)


def test_thirds_with_no_clipping_and_no_smoothing_are_the_rms_of_the_paper(make_cube):
    from hisatools.noise import box_noise, noise_correlation, third_rms
    from hisatools.smoothing import box_mean

    kelvin = spectra((96, 40, 40), line=0.0).astype(np.float32)
    parameters = ThirdsParameters(smoothing=0.001 * u.arcmin, clip=1e3)
    sigma = NoiseEstimator("thirds", parameters).estimate(make_cube(kelvin)).sigma.value
    removed = kelvin - np.array([box_mean(channel, 17) for channel in kelvin])
    share = box_noise(17, noise_correlation(kelvin, 17).beam_pix)
    assert_allclose(sigma, third_rms(removed) / np.sqrt(share.removed), rtol=1e-4)


@pytest.mark.parametrize(
    ("kind", "change"),
    [(ThirdsParameters, {"smoothing": 3}), (MeshParameters, {"box_size": 3 * u.K}),
     (RadiometerParameters, {"t_sys": 100.0})],
)  # fmt: skip
def test_parameters_need_units(kind, change):
    with pytest.raises(ParameterUnitsError, match=next(iter(change))):
        kind(**change)
