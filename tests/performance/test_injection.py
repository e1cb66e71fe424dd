"""Absorption put into a real cube: only where the sky is free, in noise like the cube's own."""

import astropy.units as u
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from radio_beam import Beam
from scipy.ndimage import uniform_filter

from hisatools import HISACube
from hisatools.errors import InputError, OutputError, ParameterError
from hisatools.noise import noise_correlation
from hisatools.performance import PerformanceModel, Voxels, run_injections
from hisatools.performance.injection import measure_sky
from hisatools.simulate import ModelParameters, simulate_cube
from hisatools.smoothing import box_mean

ARCMIN = 1 * u.arcmin


def observed(*, shape=(20, 44, 40), pixel=1.0, n_pucks=8, seed=31, noise=3.0):
    """A cube that stands for an observation: its truth is never looked at."""
    parameters = ModelParameters(
        shape=shape, pixel_scale=pixel * u.arcmin, n_pucks=n_pucks, n_components=15, noise=noise * u.K
    )
    return simulate_cube(parameters, seed=seed).cube


def with_holes(cube):
    """The same with a blank channel, a blank corner, a lone blank pixel and a blank margin."""
    kelvin = cube.kelvin.copy()
    kelvin[5] = kelvin[:, :9, :11] = kelvin[:, 30, 20] = kelvin[:3] = kelvin[:, :, -2:] = np.nan
    return cube.with_brightness(kelvin)


@pytest.fixture(scope="module")
def cube():
    return observed()


@pytest.fixture(scope="module")
def sky(cube, stub):
    """Without the absorption that was found, with room for thirty pucks."""
    return measure_sky(cube, stub(), n_pucks=30)


@pytest.fixture(scope="module")
def own_sky(cube, stub):
    return measure_sky(cube, stub(), n_pucks=30, noise="own")


# --- pucks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_pucks_are_put_where_no_absorption_was_found(seed, sky, cube, stub):
    injected = sky.inject(seed)
    assert injected.mask.sum() > 100
    assert sky.occupied.sum() > 30
    assert_array_equal(sky.occupied, stub().run(cube).mask)
    assert not (injected.mask & sky.occupied).any()
    assert (injected.delta_t.value <= 0).all()
    assert not injected.delta_t.value[~injected.mask].any()


def test_the_sky_is_not_changed_by_putting_pucks_in(sky):
    before = sky.occupied.copy(), sky.smooth_kelvin.copy(), sky.cube.kelvin.copy()
    sky.inject(1)
    for array, old in zip((sky.occupied, sky.smooth_kelvin, sky.cube.kelvin), before, strict=True):
        assert_array_equal(array, old)


@pytest.mark.parametrize("kind", ["sky", "own_sky"])
def test_one_seed_is_one_cube(kind, request):
    sky = request.getfixturevalue(kind)
    one, again, other = (sky.inject(seed) for seed in (4, 4, 5))
    assert_array_equal(one.cube.kelvin, again.cube.kelvin)
    assert_array_equal(one.delta_t, again.delta_t)
    assert (one.delta_t != other.delta_t).any()
    assert (one.cube.kelvin != other.cube.kelvin).any()


def test_pucks_that_find_no_room_are_left_out(cube, stub):
    sky = measure_sky(cube, stub(), n_pucks=30)
    sky.occupied[:, :, 3:] = True
    injected = sky.inject(1)
    assert not injected.mask[:, :, 3:].any()
    sky.occupied[:] = True
    nothing = sky.inject(1)
    assert not nothing.mask.any()
    assert len(Voxels.of(nothing)) == 0


def test_number_of_pucks_follows_area_and_velocity_range(stub):
    paper = 128 * 512 * 512 * 0.3**2 * 0.82446 / 2048
    for shape, pixel in (((20, 44, 40), 1.0), ((40, 44, 40), 1.0), ((20, 44, 40), 1.6)):
        sky = measure_sky(observed(shape=shape, pixel=pixel), stub())
        expected = np.prod(shape) * pixel**2 * 0.82446 / paper
        assert sky.parameters.n_pucks == pytest.approx(expected, abs=0.51)
    assert sky.parameters.shape == (20, 44, 40)
    assert sky.parameters.pixel_scale.to_value(u.arcmin) == pytest.approx(1.6)


@pytest.mark.parametrize("beam", [Beam(3 * u.arcmin, 2 * u.arcmin, 30 * u.deg), None])
def test_pucks_are_blurred_by_the_beam_or_by_what_the_noise_tells_of_it(beam, cube, stub):
    cube = HISACube(cube.data, cube.wcs, beam=beam)
    sky = measure_sky(cube, stub(), n_pucks=5)
    if beam is None:
        expected = sky.correlation.beam_pix
        assert 0.5 < expected < 1.5
    else:
        expected = np.sqrt(6)
    assert sky.parameters.beam_fwhm.to_value(u.arcmin) == pytest.approx(expected, rel=1e-4)


# --- what is left of the cube ---------------------------------------------------------------------


def test_own_noise_leaves_the_cube_as_it_is_outside_pucks_and_known_absorption(own_sky, cube, stub):
    injected = own_sky.inject(1)
    same = (injected.delta_t.value == 0) & ~own_sky.occupied
    assert same.mean() > 0.5
    assert_array_equal(injected.cube.kelvin[same], cube.kelvin[same])
    known = own_sky.occupied
    assert_array_equal(injected.cube.kelvin[known], stub().run(cube).t_unabsorbed.value[known])
    pucks = injected.mask
    assert_allclose((injected.cube.kelvin - cube.kelvin)[pucks], injected.delta_t.value[pucks], atol=1e-4)


def test_truth_of_the_emission_is_the_box_mean_of_the_sky_that_is_left(sky, cube):
    injected = sky.inject(1)
    free = np.where(sky.occupied, sky.cube.kelvin, cube.kelvin)
    expected = np.stack([box_mean(channel, 3) for channel in free])
    assert sky.box_pix == 3
    assert_allclose(injected.t_unabsorbed.value, expected, rtol=1e-6)


def test_scales_are_those_of_the_cube(sky, cube):
    injected = sky.inject(1)
    assert injected.pixel_scale == cube.pixel_scale
    assert injected.channel_width == cube.channel_width
    assert injected.cube.shape == injected.delta_t.shape == injected.t_unabsorbed.shape == cube.shape


@pytest.mark.parametrize("noise", ["drawn", "own"])
def test_blank_voxels_stay_blank_and_are_not_counted(noise, cube, stub):
    holes = with_holes(cube)
    sky = measure_sky(holes, stub(), n_pucks=40, noise=noise)
    injected = sky.inject(2)
    # Cut to what is not blank: the first channels and the last columns are gone.
    expected = holes.cutout(holes.filled_box())
    assert expected.shape == injected.cube.shape == (17, 44, 38)
    blank = np.isnan(expected.kelvin)
    assert_array_equal(np.isnan(injected.cube.kelvin), blank)
    assert_array_equal(np.isnan(injected.t_unabsorbed.value), blank)
    assert (injected.delta_t.value[blank] < 0).any()
    assert not (injected.mask & blank).any()
    assert len(Voxels.of(injected)) == injected.mask.sum() > 0


def test_a_channel_with_few_pixels_stays_what_it_is(cube, stub):
    """Too few to measure its noise: that of the other channels is drawn."""
    kelvin = cube.kelvin.copy()
    kelvin[7, 4:] = np.nan
    kelvin[7, :, 5:] = np.nan
    injected = measure_sky(cube.with_brightness(kelvin), stub(), n_pucks=1).inject(1)
    assert_array_equal(np.isnan(injected.cube.kelvin), np.isnan(kelvin))


# --- noise ----------------------------------------------------------------------------------------


def noise_parts(kelvin, smooth, box):
    """Rms of the noise, of its box mean, and of what the box mean takes away."""
    noise = kelvin - smooth
    mean = uniform_filter(noise, (0, box, box))
    inner = np.s_[:, box:-box, box:-box]
    return [part[inner].std() for part in (noise, mean, noise - mean)]


@pytest.mark.parametrize(("pixel", "box"), [(0.3, 7), (0.5, 5), (1.0, 3), (2.0, 3)])
def test_drawn_noise_is_that_of_the_cube_on_all_scales(pixel, box, stub):
    parameters = ModelParameters(
        shape=(12, 90, 90), pixel_scale=pixel * u.arcmin, n_pucks=0, n_components=15, noise=3 * u.K
    )
    model = simulate_cube(parameters, seed=41)
    sky = measure_sky(model.cube, stub(depth_kelvin=1e3), n_pucks=1)
    assert sky.box_pix == box
    injected = sky.inject(1)
    kelvin = injected.cube.kelvin - injected.delta_t.value
    emission = model.t_unabsorbed.value
    for size in (3, box, 7):
        found, expected = (noise_parts(one, emission, size) for one in (kelvin, model.cube.kelvin))
        assert_allclose(found, expected, rtol=0.06)
    found, expected = (noise_correlation(one, 7) for one in (kelvin, model.cube.kelvin))
    assert found.beam_pix == pytest.approx(expected.beam_pix, abs=0.16)
    assert found.line_chan == pytest.approx(expected.line_chan, rel=0.1)


def test_drawn_noise_is_drawn_anew_each_time(sky):
    one, other = (
        injected.cube.kelvin - injected.delta_t.value for injected in (sky.inject(1), sky.inject(2))
    )
    fine = [kelvin - sky.smooth_kelvin for kelvin in (one, other)]
    assert abs(np.corrcoef(fine[0].ravel(), fine[1].ravel())[0, 1]) < 0.03


def test_drawn_noise_follows_its_level_over_the_map_and_from_channel_to_channel(stub):
    parameters = ModelParameters(
        shape=(12, 160, 60), pixel_scale=ARCMIN, n_pucks=0, n_components=15, noise=2 * u.K
    )
    model = simulate_cube(parameters, seed=41)
    noise = model.cube.kelvin - model.t_unabsorbed.value
    noise *= np.where(np.arange(160) < 80, 1.0, 2.0)[:, None]
    noise[6:] *= 1.4
    cube = model.cube.with_brightness(model.t_unabsorbed.value + noise)
    sky = measure_sky(cube, stub(depth_kelvin=1e3), n_pucks=1)
    injected = sky.inject(1)
    found = injected.cube.kelvin - injected.delta_t.value - model.t_unabsorbed.value
    for part in (np.s_[:6, :50], np.s_[:6, -50:], np.s_[6:, :50], np.s_[6:, -50:]):
        assert found[part].std() == pytest.approx(noise[part].std(), rel=0.1)


def test_noise_that_cannot_be_measured_cannot_be_drawn(stub):
    few = observed(shape=(8, 5, 5), pixel=8.0, n_pucks=0)
    with pytest.raises(
        InputError, match=r"noise of the cube cannot be measured .* give a larger cube, or noise"
    ):
        measure_sky(few, stub(), n_pucks=1)
    injected = measure_sky(few, stub(), n_pucks=1, noise="own").inject(1)
    assert np.isfinite(injected.cube.kelvin).all()


# --- runs -----------------------------------------------------------------------------------------


def test_a_run_compares_what_was_put_in_with_what_came_out(sky, cube, stub):
    extractor = stub()
    made = run_injections(cube, 2, seed=7, n_pucks=30, extractor=extractor)
    # The cube itself comes first.
    assert_array_equal(extractor.cubes[0].kelvin, cube.kelvin)
    for searched, seed in zip(extractor.cubes[1:], (7, 8), strict=True):
        assert_array_equal(searched.kelvin, sky.inject(seed).cube.kelvin)
    assert made.models["seed"].tolist() == [7, 8]
    assert made.models["n_in_all"].tolist() == [sky.inject(seed).mask.sum() for seed in (7, 8)]
    assert made.models["n_in_det"].sum() > 20
    assert made.correlated_voxels == sky.correlation.n_voxels
    assert made.meta["kind"] == "injection"
    assert (
        PerformanceModel.inject(cube, 1, seed=7, n_pucks=30, extractor=stub()).models["n_in_det"][0]
        == (made.models["n_in_det"][0])
    )


def test_a_resumed_run_gives_the_same_bits(cube, stub, tmp_path):
    settings = {"seed": 7, "n_pucks": 30}
    whole = run_injections(cube, 3, extractor=stub(), **settings)
    with pytest.raises(KeyboardInterrupt):
        run_injections(cube, 3, extractor=stub(fail_at=2), folder=tmp_path, **settings)
    extractor = stub()
    resumed = run_injections(cube, 3, extractor=extractor, folder=tmp_path, resume=True, **settings)
    assert len(extractor.cubes) == 3, "the cube itself, and two with pucks"
    for name in ("bins", "counts", "drift_sums", "drift_squares"):
        one, other = (getattr(part.histograms, name) for part in (whole, resumed))
        assert one.tobytes() == other.tobytes()
    assert resumed.meta == whole.meta


def test_files_of_another_cube_or_noise_are_refused(cube, stub, tmp_path):
    settings = {"seed": 7, "n_pucks": 30, "folder": tmp_path, "resume": True}
    run_injections(cube, 1, extractor=stub(), **settings)
    # The same field, the same names, other channels.
    shifted = cube.with_brightness(np.roll(cube.kelvin, 1, axis=0))
    with pytest.raises(ParameterError, match=r"is of a run with other settings \(cube\)"):
        run_injections(shifted, 1, extractor=stub(), **settings)
    with pytest.raises(ParameterError, match=r"is of a run with other settings \(noise\)"):
        run_injections(cube, 1, extractor=stub(), noise="own", **settings)
    with pytest.raises(ParameterError, match=r"is of a run with other settings \(model\)"):
        run_injections(cube, 1, extractor=stub(), **settings | {"n_pucks": 5})


def test_a_cube_may_be_moved_between_runs(cube, stub, tmp_path):
    settings = {"n_pucks": 30, "folder": tmp_path / "models", "resume": True}
    for folder, n_extracted in (("one", 2), ("other", 1)):
        extractor = stub()
        moved = HISACube(cube.data, cube.wcs, beam=cube.beam, meta={"path": tmp_path / folder / "cube.fits"})
        made = run_injections(moved, 1, extractor=extractor, **settings)
        assert len(extractor.cubes) == n_extracted
        assert made.meta["cube"]["file"] == "cube.fits"


def test_blank_margins_change_nothing(cube, stub):
    kelvin = np.pad(cube.kelvin, ((2, 1), (3, 3), (4, 4)), constant_values=np.nan)
    wcs = cube.wcs.deepcopy()
    wcs.wcs.crpix += [4, 3, 2]
    wide = HISACube(kelvin * u.K, wcs, beam=cube.beam)
    one, other = (run_injections(each, 1, n_pucks=20, extractor=stub()) for each in (cube, wide))
    assert_array_equal(one.histograms.bins, other.histograms.bins)
    assert_array_equal(one.histograms.counts, other.histograms.counts)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"noise": "white"}, ParameterError, "noise must be one of drawn, own, got 'white'"),
        ({"n_pucks": 0}, ParameterError, "n_pucks must be finite and above 0, got 0"),
        ({"n_pucks": 2.5}, ParameterError, "n_pucks must be a whole number, got 2.5"),
        ({"n_models": 0}, ParameterError, "n_models must be finite and above 0, got 0"),
        ({"seed": -3}, ParameterError, "seed must be finite and at least 0, got -3"),
    ],
)
def test_impossible_arguments_are_refused_before_the_cube_is_extracted(settings, error, message, cube, stub):
    extractor = stub()
    with pytest.raises(error, match=message):
        run_injections(cube, extractor=extractor, **settings)
    assert extractor.cubes == []


def test_an_earlier_run_is_refused_before_the_cube_is_extracted(cube, stub, tmp_path):
    run_injections(cube, 1, n_pucks=5, extractor=stub(), folder=tmp_path)
    extractor = stub()
    with pytest.raises(OutputError, match="holds models of an earlier run"):
        run_injections(cube, 1, n_pucks=5, extractor=extractor, folder=tmp_path)
    assert extractor.cubes == []


def test_one_sight_line_is_refused(cube, stub):
    spectrum = HISACube.from_spectrum(cube.data[:, 3, 3], cube.velocity)
    lone = cube.with_brightness(np.where(np.indices(cube.shape[1:]).sum(axis=0) == 0, cube.kelvin, np.nan))
    for one in (spectrum, lone):
        extractor = stub()
        with pytest.raises(
            InputError, match="one sight line is too little for a performance model; give a cube"
        ):
            run_injections(one, extractor=extractor)
        assert extractor.cubes == []
