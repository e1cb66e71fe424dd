"""The spatial search: dark structure in channel maps, smaller than the emission."""

from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
from radio_beam import Beam
from scipy.ndimage import gaussian_filter

from hisatools import HISACube, SpatialParameters, SpatialSearcher
from hisatools.backends import default_name
from hisatools.backends.protocols import CleanSettings
from hisatools.errors import HISAWarning, InputError
from hisatools.results import StopReason
from hisatools.simulate import ModelParameters, model_wcs, simulate_cube
from hisatools.smoothing import box_mean

SHAPE = (6, 72, 72)
CENTRE = (36, 36)
BEAM_PIX = 2.0
NOISE_KELVIN = 2.0


def make_cube(kelvin, *, pixel=1 * u.arcmin, unit=u.K):
    wcs = model_wcs(ModelParameters(shape=kelvin.shape, pixel_scale=pixel))
    return HISACube(np.float32(kelvin) * unit, wcs, beam=Beam(BEAM_PIX * pixel))


def make_sky(shape=SHAPE):
    """Emission of 80 to 100 K that varies over the whole field."""
    k, y, x = np.indices(shape)
    return 80 + 10 * np.sin(np.pi * x / shape[2]) + 8 * np.cos(2 * y / shape[1]) + k


def make_cloud(shape=SHAPE, centre=CENTRE, radius=3.5, depth=30.0):
    """A round cloud in all channels but the last."""
    k, y, x = np.indices(shape)
    inside = np.hypot(y - centre[0], x - centre[1]) <= radius
    return -depth * inside * (k < shape[0] - 1)


def make_noise(shape=SHAPE, seed=1):
    noise = np.random.default_rng(seed).standard_normal(shape)
    noise = gaussian_filter(noise, (0, BEAM_PIX / 2.3548, BEAM_PIX / 2.3548), mode="wrap")
    return noise * NOISE_KELVIN / noise.std()


def same(found, other):
    """Equal to the bit."""
    np.testing.assert_array_equal(found.mask, other.mask)
    np.testing.assert_array_equal(found.amplitude, other.amplitude)
    np.testing.assert_array_equal(found.n_iterations, other.n_iterations)
    np.testing.assert_array_equal(found.stop_reason, other.stop_reason)


@pytest.fixture(scope="module")
def searcher():
    return SpatialSearcher()


@pytest.fixture(scope="module")
def cube():
    return make_cube(make_sky() + make_cloud() + make_noise())


@pytest.fixture(scope="module")
def found(searcher, cube):
    return searcher.search(cube)


def test_cloud_is_found_at_its_depth(found):
    core = make_cloud(radius=2.5) < 0
    assert found.mask[core].all()
    inner = make_cloud(radius=1.5) < 0
    assert found.amplitude.value[inner].mean() == pytest.approx(30, abs=3)


def test_cloud_in_one_channel_is_not_found_in_the_next(found):
    assert found.mask[-2][CENTRE]
    assert not found.mask[-1, 33:40, 33:40].all()


def test_elsewhere_little_is_found(found):
    far = np.hypot(*np.indices(SHAPE[1:]) - 36) > 8
    assert found.mask[:, far].mean() < 0.05


def test_structure_wider_than_g_char_is_emission(searcher):
    y, x = np.indices((3, 100, 100))[1:]
    hollow = 90 - 30 * np.exp(-4 * np.log(2) * ((y - 50) ** 2 + (x - 50) ** 2) / 60**2)
    wide = searcher.search(make_cube(hollow + 0.3 * make_noise(hollow.shape)))
    assert not wide.mask[0, 45:56, 45:56].any()


def test_feature_wider_than_g_char_is_found_once_it_is_filled_for_the_fit(searcher):
    shape = (3, 110, 110)
    wide = make_cloud(shape, centre=(55, 55), radius=22, depth=12)
    cube = make_cube(make_sky(shape) + wide + make_noise(shape))
    inside = wide[0] < 0
    plain = searcher.search(cube)
    filled = searcher.search(cube, fitted=cube.with_brightness(cube.kelvin - wide))
    assert plain.mask[0][inside].mean() < 0.5
    assert filled.mask[0][inside].mean() > 0.9
    assert filled.amplitude.value[0][inside].mean() == pytest.approx(12, abs=2)
    assert filled.mask[0][~inside].mean() < 0.1


def test_amplitude_is_zero_or_above_the_cull_and_marks_the_mask(found):
    amplitude = found.amplitude.to_value(u.K)
    assert amplitude.dtype == np.float32
    np.testing.assert_array_equal(amplitude > 0, found.mask)
    assert amplitude[found.mask].min() >= 2


def test_loops_and_stops_are_kept_for_each_channel(found):
    assert found.n_iterations.shape == found.stop_reason.shape == SHAPE[:1]
    assert (found.n_iterations > 1).all()
    assert set(found.stop_reason) <= {StopReason.FRACTION, StopReason.NOISE}
    assert (found.meta["search"], found.meta["clean"]) == ("spatial", default_name("clean"))
    assert found.meta["convolution"] == default_name("convolution")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"max_iterations": 2, "stop_fraction": 0}, StopReason.MAX_ITERATIONS),
        ({"stop_fraction": 0.5}, StopReason.FRACTION),
        ({"stop_fraction": 0}, StopReason.NOISE),
    ],
)
def test_each_stop_can_end_the_loop(changes, reason, cube):
    found = SpatialSearcher(SpatialParameters(**changes)).search(cube)
    assert (found.stop_reason == reason).all()
    if reason == StopReason.MAX_ITERATIONS:
        assert (found.n_iterations == 2).all()


def test_millikelvin_are_kelvin(searcher, cube, found):
    other = searcher.search(make_cube(cube.kelvin.astype(float) * 1000, unit=u.mK))
    np.testing.assert_array_equal(other.mask, found.mask)
    np.testing.assert_allclose(other.amplitude.value, found.amplitude.value, atol=1e-3)


def test_reversed_velocities_give_the_reversed_result(searcher, cube, found):
    other = searcher.search(make_cube(cube.kelvin[::-1]))
    np.testing.assert_array_equal(other.amplitude[::-1], found.amplitude)
    np.testing.assert_array_equal(other.n_iterations[::-1], found.n_iterations)


def test_turned_sky_gives_the_turned_result(searcher, cube, found):
    other = searcher.search(make_cube(cube.kelvin.transpose(0, 2, 1)[:, ::-1]))
    np.testing.assert_allclose(
        other.amplitude.value, found.amplitude.value.transpose(0, 2, 1)[:, ::-1], atol=0.01
    )


def test_workers_change_no_bit(searcher, cube, found):
    same(searcher.search(cube, workers=3), found)


def test_channels_do_not_see_each_other(searcher, cube, found):
    noise = searcher.measure_noise(cube)
    same(searcher.search(cube, noise=noise), found)
    part = cube.cutout((slice(2, 3), slice(None), slice(None)))
    alone = searcher.search(part, noise=replace(noise, coarse_kelvin=noise.coarse_kelvin[2:3]))
    np.testing.assert_array_equal(alone.amplitude[0], found.amplitude[2])


# --- noise -------------------------------------------------------------------------------------


def test_noise_of_a_channel_map_is_that_of_the_cube(searcher, cube):
    noise = searcher.measure_noise(cube)
    assert np.median(noise.coarse_kelvin) == pytest.approx(NOISE_KELVIN, rel=0.1)
    assert noise.correlation.beam_pix == pytest.approx(BEAM_PIX, rel=0.15)
    # What the box of 5 x 5 pixels leaves of noise correlated over 2 pixels.
    smoothed = np.std([box_mean(plane, 5) for plane in make_noise((20, 72, 72))])
    assert noise.smoothed_share == pytest.approx(smoothed / NOISE_KELVIN, rel=0.1)


def test_noise_follows_the_sky_and_the_channel(searcher):
    steps = np.where(np.arange(72) < 36, 1, 3) * np.array([1, 1.5, 2])[:, None, None]
    noise = searcher.measure_noise(make_cube(make_sky((3, 72, 72)) + steps * make_noise((3, 72, 72))))
    levels = noise.coarse_kelvin / NOISE_KELVIN
    np.testing.assert_allclose(np.median(levels[..., 0], axis=1), [1, 1.5, 2], rtol=0.15)
    np.testing.assert_allclose(np.median(levels[..., -1], axis=1), [3, 4.5, 6], rtol=0.15)


def test_noise_at_voxels_lies_between_the_nodes(searcher, cube):
    noise = searcher.measure_noise(cube)
    voxels = tuple(np.array(axis) for axis in ([0, 5], [0, 71], [0, 71]))
    corners = noise.coarse_kelvin[[0, -1], [0, -1], [0, -1]]
    np.testing.assert_allclose(noise.at(voxels, cube.shape), corners, rtol=1e-6)


def test_noise_beside_a_blank_channel_is_known(searcher, cube):
    kelvin = cube.kelvin.copy()
    kelvin[2] = np.nan
    noise = searcher.measure_noise(make_cube(kelvin))
    beside = noise.at(tuple(np.full(3, place) for place in (1, 20, 30)), SHAPE)
    assert np.isfinite(beside).all()
    assert np.isnan(noise.at((np.array([2]), np.array([20]), np.array([30])), SHAPE)).all()


def test_a_channel_without_noise_is_searched_in_silence(searcher, cube):
    kelvin = cube.kelvin.copy()
    kelvin[1] = 80
    assert not searcher.search(make_cube(kelvin)).mask[1].any()


def test_a_cloud_hardly_raises_the_noise(searcher):
    """Its rim stands 7 times above the noise, and fills a fifth of the boxes about it."""
    quiet = searcher.measure_noise(make_cube(make_sky() + make_noise())).coarse_kelvin
    cloudy = searcher.measure_noise(make_cube(make_sky() + make_noise() + make_cloud())).coarse_kelvin
    ratio = cloudy / quiet
    assert np.median(ratio) == pytest.approx(1, abs=0.02)
    assert ratio.max() < 1.6


@pytest.mark.parametrize("pixel", [0.3, 0.5])
def test_cleaning_stops_at_the_mean_of_the_sky(pixel):
    """Stopped too late, U climbs to the upper envelope of the noise; too early, it stays below."""
    shape = (3, 210, 210) if pixel == 0.3 else (3, 130, 130)
    parameters = ModelParameters(shape=shape, pixel_scale=pixel * u.arcmin, n_pucks=0, n_components=150)
    model = simulate_cube(parameters, seed=6)
    bias = []
    for k in range(len(model.cube.kelvin)):
        searched, cleaned = clean_channel(model.cube, k)
        assert searched.stop_reason[k] == cleaned.stop_reason
        bias.append(np.mean(cleaned.unabsorbed_kelvin - model.t_unabsorbed.value[k]))
    assert np.mean(bias) == pytest.approx(0, abs=1)


def clean_channel(cube, k):
    """The result of the search, and the CLEAN of one channel with the same noise and settings."""
    searcher = SpatialSearcher()
    noise, parameters = searcher.measure_noise(cube), searcher.parameters
    pixel = cube.pixel_scale.value
    settings = CleanSettings(
        gain=parameters.clean_gain,
        clip=parameters.clean_clip,
        stop_fraction=parameters.stop_fraction,
        max_iterations=parameters.max_iterations,
        peak_rank=parameters.peak_rank,
    )
    box = 15 if pixel < 0.4 else 9
    convolve = searcher.convolution.gaussian(cube.shape[1:], 20 / pixel)
    level = float(np.mean(noise.coarse_kelvin[k]))
    cleaned = searcher.clean.clean_channel(
        box_mean(cube.kelvin[k], box),
        level * noise.smoothed_share,
        np.ones(cube.shape[1:], np.float32),
        convolve,
        settings,
    )
    return searcher.search(cube, noise=noise), cleaned


def test_survey_noise_alone_is_flagged_at_its_gaussian_tail():
    parameters = ModelParameters(shape=(4, 220, 220), n_pucks=0, n_components=150)
    sky = simulate_cube(parameters, seed=7)
    searcher = SpatialSearcher(SpatialParameters(join_fwhm=0 * u.arcmin))
    found = searcher.search(sky.cube)
    beyond = found.amplitude.value > 2 * np.mean(searcher.measure_noise(sky.cube).coarse_kelvin)
    assert np.mean(beyond) == pytest.approx(0.0228, rel=0.3)
    assert found.mask.mean() < 0.05


# --- blank voxels and borders ------------------------------------------------------------------


def test_blank_voxels_are_never_found_and_the_cloud_beside_them_is(searcher, cube):
    kelvin = cube.kelvin.copy()
    kelvin[:, 35:38, 35:38] = np.nan
    kelvin[:, :, :6] = np.nan
    holed = searcher.search(make_cube(kelvin))
    assert not holed.mask[np.isnan(kelvin)].any()
    assert not np.isnan(holed.amplitude).any()
    assert holed.mask[0, 36, 39]
    assert holed.mask[0, 33, 36]


def test_blank_channel_is_not_cleaned_and_spoils_no_other(searcher, cube, found):
    kelvin = cube.kelvin.copy()
    kelvin[2] = np.nan
    noise = searcher.measure_noise(cube)
    coarse = noise.coarse_kelvin.copy()
    coarse[2] = np.nan
    holed = searcher.search(make_cube(kelvin), noise=replace(noise, coarse_kelvin=coarse))
    assert holed.stop_reason[2] == StopReason.NOT_CLEANED
    assert holed.n_iterations[2] == 0
    assert not holed.mask[2].any()
    others = np.arange(6) != 2
    np.testing.assert_array_equal(holed.amplitude[others], found.amplitude[others])


def test_blank_sky_beyond_the_reach_of_the_kernel_does_no_harm(searcher, cube):
    kelvin = np.full((6, 72, 200), np.nan)
    kelvin[:, :, :72] = cube.kelvin
    wide = searcher.search(make_cube(kelvin))
    assert not wide.mask[:, :, 72:].any()
    assert wide.mask[:-1, 35:38, 35:38].all()


def test_a_border_is_not_joined_to_the_opposite_one(searcher):
    sky = make_sky() + 0.2 * make_noise() + make_cloud(centre=(36, 0), radius=4)
    found = searcher.search(make_cube(sky))
    assert found.mask[0, 36, :3].all()
    assert not found.mask[0, 33:40, -5:].any()


# --- what is rejected --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"critical_brightness": 150 * u.K},
        {"min_amplitude": 60 * u.K},
        {"cull_amplitude": 60 * u.K},
        {"threshold": 100.0},
    ],
)
def test_each_limit_can_reject_everything(changes, cube):
    assert not SpatialSearcher(SpatialParameters(**changes)).search(cube).mask.any()


def test_faint_sky_is_left_alone(searcher):
    faint = 0.25 * make_sky() + 0.5 * make_cloud() + 0.3 * make_noise()
    assert not searcher.search(make_cube(faint)).mask.any()


def test_kernel_that_is_not_resolved_is_refused(searcher):
    with pytest.raises(InputError, match=r"clean_fwhm=20 arcmin is 1.7 pixels of 12 arcmin, .* at least 2"):
        searcher.search(make_cube(make_sky(), pixel=12 * u.arcmin))


def test_field_smaller_than_the_kernel_is_refused(searcher):
    with pytest.raises(
        InputError,
        match=r"clean_fwhm=20 arcmin is 20 pixels but the axis has only 12 \(12 arcmin\), too small",
    ):
        searcher.search(make_cube(make_sky((3, 60, 12))))


def test_kernel_above_a_third_of_the_field_is_a_warning(searcher):
    small = make_sky((3, 40, 70)) + make_noise((3, 40, 70))
    with pytest.warns(HISAWarning, match=r"clean_fwhm=20 arcmin is over a third of the axis \(40 arcm"):
        searcher.search(make_cube(small))


def test_join_below_a_pixel_does_nothing_and_says_so(searcher):
    coarse = make_cube(make_sky((3, 40, 40)) + make_noise((3, 40, 40)), pixel=2 * u.arcmin)
    with pytest.warns(
        HISAWarning, match=r"join_fwhm=1.5 arcmin is below the pixel of 2 arcmin: it does noth"
    ):
        searcher.search(coarse)


# --- backends ----------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [("reference", "scipy"), ("numba", "reference")])
def test_backends_find_the_same(names, cube):
    part = make_cube(cube.kelvin[:3, 24:48, 24:48])
    parameters = SpatialParameters(clean_fwhm=7 * u.arcmin)
    default = SpatialSearcher(parameters).search(part)
    other = SpatialSearcher(parameters, clean=names[0], convolution=names[1]).search(part)
    assert (other.meta["clean"], other.meta["convolution"]) == names
    assert default.mask.any()
    np.testing.assert_array_equal(other.mask, default.mask)
    np.testing.assert_array_equal(other.n_iterations, default.n_iterations)
    np.testing.assert_allclose(other.amplitude.value, default.amplitude.value, atol=1e-2)
