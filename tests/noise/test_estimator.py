"""The user's call: names, masks, files, and several cubes at once."""

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from numpy.testing import assert_array_equal

from hisatools import HISACube
from hisatools.errors import InputError, OutputError, ParameterError, ParameterUnitsError
from hisatools.io.writing import write_image
from hisatools.noise import (
    LineFreeParameters,
    MeshParameters,
    NoiseEstimator,
    NoiseResult,
    SkyMask,
    ThirdsParameters,
    estimate_many,
)
from hisatools.simulate import ModelParameters, simulate_cube


@pytest.fixture
def cube(make_cube):
    return make_cube(np.random.default_rng(8).normal(20, 3, (40, 30, 36)))


@pytest.mark.parametrize("name", ["thirds", "mesh"])
def test_file_gives_back_what_was_written(name, cube, tmp_path):
    result = NoiseEstimator(name).estimate(cube, mask="automatic")
    path = tmp_path / "noise.fits"
    result.write(path)
    again = NoiseResult.read(path)
    assert_array_equal(again.sigma, result.sigma)
    assert again.sigma.unit == u.K
    assert again.strategy == name
    assert again.meta["parameters"]["clip"] == "3.0"
    assert again.meta["rounds"] == result.meta["rounds"]
    again.check_axes(cube)
    assert again.wcs.naxis == result.sigma.ndim
    header = fits.getheader(path)
    assert (header["BUNIT"], header["STRATEGY"]) == ("K", name)
    assert header["CTYPE1"] == "GLON-CAR"


def test_long_lines_come_back_whole_from_a_file(cube, tmp_path):
    rounds = ["round 1: " + "12345 sources masked, " * 8 + "end", "round 2: " + "x" * 64, "round 3: no"]
    meta = {"rounds": rounds, "note": "k=v, " * 30 + "\u03c3", "parameters": {"name": "y" * 200}}
    NoiseResult(np.ones((30, 36)) * u.K, "thirds", cube.wcs.celestial, meta).write(tmp_path / "noise.fits")
    again = NoiseResult.read(tmp_path / "noise.fits").meta
    assert again["rounds"] == rounds
    assert again["note"] == "k=v, " * 30 + "\\u03c3"
    assert again["parameters"] == meta["parameters"]


def test_rounds_that_found_sources_come_back_from_a_file(cube, tmp_path):
    kelvin = cube.kelvin.copy()
    kelvin[:, 10:14, 10:14] += 300
    result = NoiseEstimator("thirds").estimate(cube.with_brightness(kelvin), mask="automatic")
    assert len(result.meta["rounds"][0]) > 72
    result.write(tmp_path / "noise.fits")
    assert NoiseResult.read(tmp_path / "noise.fits").meta["rounds"] == result.meta["rounds"]


def test_ranges_are_kept_as_text_that_can_be_read(cube, tmp_path):
    v = cube.velocity
    ranges = (u.Quantity([v[0], v[12]]), u.Quantity([v[-12], v[-1]]).to(u.m / u.s))
    result = NoiseEstimator("line-free", LineFreeParameters(ranges=ranges)).estimate(cube)
    result.write(tmp_path / "noise.fits")
    text = NoiseResult.read(tmp_path / "noise.fits").meta["parameters"]["ranges"]
    found = [float(end) for pair in text.replace(" km/s", "").split(", ") for end in pair.split("..")]
    np.testing.assert_allclose(found, v[[0, 12, -12, -1]].value, rtol=1e-6)
    with pytest.raises(ParameterUnitsError, match="ranges needs a unit of km / s"):
        LineFreeParameters(ranges=((1, 2) * u.K,))


@pytest.mark.parametrize("strategy", ["thirds", "mesh"])
def test_noise_of_another_field_or_axis_is_told_from_that_of_the_cube(strategy, cube, make_cube):
    noise = NoiseEstimator(strategy).estimate(cube)
    noise.check_axes(cube)

    def moved(axis, value, step=None):
        wcs = cube.wcs.deepcopy()
        wcs.wcs.crval[axis] += value
        if step is not None:
            wcs.wcs.cdelt[axis] *= step
        return HISACube(cube.kelvin * u.K, wcs, beam=cube.beam)

    # 0.3 arcmin and 0.82 km/s.
    noise.check_axes(moved(0, 1e-6))
    noise.check_axes(moved(2, 1.0))
    with pytest.raises(InputError, match="another part of the sky"):
        noise.check_axes(moved(0, 0.005))
    with pytest.raises(InputError, match="does not fit a cube"):
        noise.check_axes(make_cube(np.ones((40, 30, 30))))
    others = [moved(2, 800.0), moved(2, 0.0, -1), moved(2, 0.0, 1.01)]
    for other in others:
        if strategy == "mesh":
            with pytest.raises(InputError, match="other velocities"):
                noise.check_axes(other)
        else:
            noise.check_axes(other)


def test_noise_without_axes_on_the_sky_fits_no_cube(cube):
    with pytest.raises(InputError, match="another part of the sky"):
        NoiseResult(np.ones((30, 36)) * u.K, "thirds", WCS(naxis=2)).check_axes(cube)


def test_numbers_of_workers_that_are_none_are_refused(cube):
    for workers in (0, -1, 1.5, None):
        with pytest.raises(ParameterError, match="workers"):
            NoiseEstimator("thirds").estimate(cube, workers=workers)
        with pytest.raises(ParameterError, match="workers"):
            estimate_many([cube], NoiseEstimator("thirds"), workers=workers)


def test_one_cube_or_mask_in_place_of_several_is_refused(cube):
    with pytest.raises(ParameterError, match="masks must be a sequence"):
        estimate_many([cube, cube], NoiseEstimator("thirds"), masks=SkyMask.of(cube))
    for one in (cube, "cube.fits"):
        with pytest.raises(ParameterError, match="cubes must be a sequence"):
            estimate_many(one, NoiseEstimator("thirds"))


def test_default_of_the_class_is_that_of_the_command():
    from hisatools._arguments import build_parser
    from hisatools.cli import VERBS

    command = build_parser(VERBS).parse_args(["noise", "cube.fits", "--output", "noise.fits"])
    assert NoiseEstimator().strategy == command.strategy


def test_file_is_not_replaced_unasked_and_nothing_is_left_behind(cube, tmp_path):
    result = NoiseEstimator("thirds").estimate(cube)
    path = tmp_path / "noise.fits"
    result.write(path)
    with pytest.raises(OutputError, match="exists"):
        result.write(path)
    result.write(path, overwrite=True)
    assert [one.name for one in tmp_path.iterdir()] == ["noise.fits"]


def test_file_without_noise_is_refused(cube, tmp_path):
    write_image(tmp_path / "cube.fits", cube.data, cube.header)
    with pytest.raises(InputError, match="STRATEGY"):
        NoiseResult.read(tmp_path / "cube.fits")
    with pytest.raises(InputError, match=r"none\.fits"):
        NoiseResult.read(tmp_path / "none.fits")


def test_noise_of_thirds_and_mesh_at_places_of_the_cube(cube):
    index = np.array([0, 5, 30 * 36, 12345])
    flat = NoiseEstimator("thirds").estimate(cube)
    assert_array_equal(flat.at(index, cube.shape), flat.sigma.value.ravel()[index % (30 * 36)].astype(float))
    full = NoiseEstimator("mesh").estimate(cube)
    assert_array_equal(full.at(index, cube.shape), full.sigma.value.ravel()[index])
    with pytest.raises(InputError, match="does not fit"):
        full.at(index, (41, 30, 36))


def test_parameters_and_citation_are_kept(cube):
    result = NoiseEstimator("thirds", ThirdsParameters(smoothing=4 * u.arcmin)).estimate(cube)
    assert result.meta["parameters"] == {"smoothing": "4.0 arcmin", "smoothing_beams": 6.0, "clip": 3.0}
    assert "Gibson" in result.meta["citation"]


def test_unknown_names_and_inputs_say_what_is_known():
    with pytest.raises(ParameterError, match="mad-difference"):
        NoiseEstimator("median")
    with pytest.raises(ParameterError, match="weights"):
        NoiseEstimator("thirds", weights=np.ones((3, 3)))
    with pytest.raises(ParameterError, match="ThirdsParameters"):
        NoiseEstimator("thirds", MeshParameters())


@pytest.mark.parametrize("mask", [np.zeros((3, 3), bool), np.zeros((30, 36)), np.zeros((1, 30, 36), bool)])
def test_mask_that_does_not_fit_is_refused(mask, cube):
    with pytest.raises(InputError, match="does not fit"):
        NoiseEstimator("thirds").estimate(cube, mask=mask)


def test_mask_of_an_unknown_name_is_refused(cube):
    with pytest.raises(ParameterError, match="automatic"):
        NoiseEstimator("thirds").estimate(cube, mask="auto")


def test_several_cubes_and_files_give_what_each_gives_alone(cube, make_cube, tmp_path, capsys):
    other = make_cube(np.random.default_rng(9).normal(20, 6, (40, 30, 30)))
    write_image(tmp_path / "cube.fits", cube.data, cube.header)
    estimator = NoiseEstimator("thirds")
    results = estimate_many([tmp_path / "cube.fits", other], estimator, workers=2, progress=True)
    assert_array_equal(results[0].sigma, estimator.estimate(cube).sigma)
    assert_array_equal(results[1].sigma, estimator.estimate(other).sigma)
    assert "2/2" in capsys.readouterr().err


def test_masks_of_several_cubes_go_with_their_cubes(cube):
    mask = np.zeros((30, 36), bool)
    mask[:, :10] = True
    estimator = NoiseEstimator("thirds")
    free, masked = estimate_many([cube, cube], estimator, masks=[None, mask])
    assert_array_equal(masked.sigma, estimator.estimate(cube, mask=mask).sigma)
    assert (free.sigma != masked.sigma).any()
    with pytest.raises(InputError, match="1 masks for 2"):
        estimate_many([cube, cube], estimator, masks=[mask])


def test_array_alone_from_a_strategy_of_a_stranger_is_enough(cube):
    class Constant:
        parameters = None

        def estimate(self, cube, mask, workers, progress):
            return np.full(cube.shape[1:], 2.5)

    estimator = NoiseEstimator("thirds")
    estimator.measurer = Constant()
    assert (estimator.estimate(cube).sigma == 2.5 * u.K).all()


@pytest.mark.parametrize("strategy", ["thirds", "mesh"])
def test_maps_and_cubes_of_noise_can_be_drawn(strategy):
    model = simulate_cube(ModelParameters(shape=(32, 40, 40), n_pucks=3, n_components=50), seed=101)
    noise = NoiseEstimator(strategy).estimate(model.cube)
    ax = noise.plot()
    (image,) = [artist for artist in ax.images if artist.get_array().ndim == 2]
    assert 4 < np.nanmedian(np.ma.filled(image.get_array(), np.nan)) < 8
    if noise.sigma.ndim == 3:
        (image,) = [artist for artist in noise.plot(3).images if artist.get_array().ndim == 2]
        np.testing.assert_array_equal(image.get_array(), noise.sigma[3].value)
