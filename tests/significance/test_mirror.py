"""The mirrored cube: noise and small structure turned, emission kept, absorption gone."""

from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from hisatools import HISACube, HISAResult
from hisatools.catalog import build_catalog
from hisatools.errors import InputError, ParameterError, ParameterUnitsError
from hisatools.features import label_features
from hisatools.results import MaskBit
from hisatools.significance.mirror import mirrored

SHAPE = (6, 60, 64)
BACKGROUND = 6.0 * u.arcmin


def result_of(cube, absorption_kelvin):
    """A result in which just this absorption (negative) was found, and T_U is right."""
    found = absorption_kelvin < 0
    labels, _ = label_features(found)
    first_pass = found.astype(np.uint8)
    unabsorbed = (cube.kelvin - absorption_kelvin)[found].astype(np.float32)
    catalog = build_catalog(cube.kelvin, unabsorbed, labels, first_pass, cube.wcs)
    flags = np.where(found, MaskBit.SPECTRAL | MaskBit.SPATIAL | MaskBit.ACCEPTED, 0).astype(np.uint8)
    return HISAResult(cube.data, unabsorbed, flags, labels, first_pass, catalog, cube.wcs)


def dip(shape=SHAPE, depth_kelvin=40.0, half=3):
    absorption = np.zeros(shape, np.float32)
    v, y, x = (n // 2 for n in shape)
    absorption[v - 1 : v + 2, y - half : y + half + 1, x - half : x + half + 1] = -depth_kelvin
    return absorption


@pytest.fixture
def noisy(empty_cube):
    rng = np.random.default_rng(6001)
    return empty_cube(100 + rng.normal(0, 3, SHAPE))


def test_noise_is_turned_and_emission_is_kept(noisy):
    turned = mirrored(noisy, result_of(noisy, np.zeros(SHAPE)), background_fwhm=BACKGROUND).kelvin
    assert_allclose(turned - 100, 100 - noisy.kelvin, atol=1.5)
    assert abs(turned.mean() - noisy.kelvin.mean()) < 0.1
    assert turned.std() == pytest.approx(noisy.kelvin.std(), rel=0.02)


def test_wide_emission_is_kept(empty_cube):
    y, x = np.indices(SHAPE[1:])
    emission = 80 + 30 * np.sin(2 * np.pi * (x + y) / 240) + np.zeros(SHAPE)
    cube = empty_cube(emission)
    turned = mirrored(cube, result_of(cube, np.zeros(SHAPE)), background_fwhm=BACKGROUND).kelvin
    inner = (slice(None), slice(20, 40), slice(20, 44))
    assert_allclose(turned[inner], emission[inner], atol=2)


def test_absorption_that_was_found_leaves_nothing(empty_cube):
    cube = empty_cube(100 + dip())
    assert_allclose(mirrored(cube, result_of(cube, dip())).kelvin, 100, rtol=1e-5)


def test_absorption_that_was_missed_becomes_emission(empty_cube):
    cube = empty_cube(100 + dip(half=1))
    turned = mirrored(cube, result_of(cube, np.zeros(SHAPE)), background_fwhm=10 * u.arcmin).kelvin
    assert turned[3, 30, 32] > 130


def test_faint_features_are_left_as_the_noise_they_are(noisy):
    faint = dip(depth_kelvin=3.0, half=0)
    cube = noisy.with_brightness(noisy.kelvin + faint)
    result, nothing = result_of(cube, faint), result_of(cube, np.zeros(SHAPE))
    assert_array_equal(mirrored(cube, result).kelvin, mirrored(cube, nothing).kelvin)
    filled = mirrored(cube, result, fill_significance=0.0).kelvin
    assert (filled != mirrored(cube, nothing).kelvin).any()


def test_features_of_unknown_noise_are_filled_in(empty_cube):
    # Without any noise the significance of a feature is infinite or not known.
    cube = empty_cube(100 + dip(depth_kelvin=0.5, half=0))
    assert_allclose(mirrored(cube, result_of(cube, dip(depth_kelvin=0.5, half=0))).kelvin, 100, rtol=1e-5)


def test_blank_voxels_stay_blank_and_pull_nothing_down(noisy):
    kelvin = np.full(SHAPE, 100.0)
    kelvin[:, :, :9] = np.nan
    kelvin[2] = np.nan
    cube = noisy.with_brightness(kelvin)
    assert_allclose(mirrored(cube, result_of(cube, np.zeros(SHAPE))).kelvin, kelvin, rtol=1e-5)


def averaging(coordinates, sigmas):
    """Weights of a normalised Gaussian between all points, slow and obvious."""
    squared = sum(((x[:, None] - x) / sigma) ** 2 for x, sigma in zip(coordinates, sigmas, strict=True))
    weights = np.exp(-0.5 * squared)
    return weights / weights.sum(axis=1, keepdims=True)


def test_it_is_the_smoothing_it_says(noisy):
    cube = noisy.cutout((slice(None), slice(0, 16), slice(0, 18)))
    linewidth = 3 * u.km / u.s
    turned = mirrored(
        cube,
        result_of(cube, np.zeros(cube.shape)),
        background_fwhm=BACKGROUND,
        background_linewidth=linewidth,
    ).kelvin
    fwhm_pix = (BACKGROUND / cube.pixel_scale).to_value("")
    fwhm_chan = (linewidth / cube.channel_width).to_value("")
    sky = averaging([x.ravel() for x in np.indices(cube.shape[1:])], [fwhm_pix / np.sqrt(8 * np.log(2))] * 2)
    velocity = averaging([np.arange(cube.shape[0])], [fwhm_chan / np.sqrt(8 * np.log(2))])
    observed = cube.kelvin.reshape(cube.shape[0], -1).astype(float)
    emission = observed @ (2 * sky - sky @ sky).T
    emission = (2 * velocity - velocity @ velocity) @ emission
    assert_allclose(turned.reshape(observed.shape), 2 * emission - observed, atol=0.02)


def test_absorption_as_wide_as_the_emission_is_turned_for_its_line(empty_cube):
    kelvin = np.full((25, 60, 64), 100.0)
    kelvin[12] = 60
    cube = empty_cube(kelvin)
    nothing = result_of(cube, np.zeros(kelvin.shape))
    assert mirrored(cube, nothing).kelvin[12].min() > 100
    kept = mirrored(cube, nothing, background_linewidth=0 * u.km / u.s).kelvin
    assert_allclose(kept, kelvin, rtol=1e-5)


def test_workers_and_units_and_the_velocity_axis_change_nothing(noisy):
    cube = noisy.with_brightness(noisy.kelvin + dip())
    result = result_of(cube, dip())
    turned = mirrored(cube, result).kelvin
    assert_array_equal(mirrored(cube, result, workers=3).kelvin, turned)
    milli = HISACube((cube.kelvin * np.float32(1000)) * u.mK, cube.wcs, beam=cube.beam)
    assert_allclose(mirrored(milli, result).kelvin, turned, rtol=1e-5)
    back = cube.with_brightness(cube.kelvin[::-1].copy())
    assert_allclose(mirrored(back, result_of(back, dip()[::-1])).kelvin[::-1], turned, rtol=1e-6)


def test_weights_and_beam_stay(noisy):
    cube = HISACube(noisy.data, noisy.wcs, beam=noisy.beam, weights=np.ones(SHAPE[1:]))
    turned = mirrored(cube, result_of(cube, np.zeros(SHAPE)))
    assert turned.beam == cube.beam
    assert_array_equal(turned.weights, cube.weights)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"background_fwhm": 20}, ParameterUnitsError, "background_fwhm needs a unit of arcmin"),
        ({"background_fwhm": 0.2 * u.arcmin}, ParameterError, "0.67 pixels of 0.3 arcmin"),
        ({"background_linewidth": 4}, ParameterUnitsError, "background_linewidth needs a unit of km / s"),
        ({"fill_significance": -1}, ParameterError, "fill_significance must be"),
        ({"workers": 0}, ParameterError, "workers must be"),
    ],
)
def test_impossible_arguments_are_named(noisy, settings, error, message):
    with pytest.raises(error, match=message):
        mirrored(noisy, result_of(noisy, np.zeros(SHAPE)), **settings)


def test_a_result_of_another_cube_is_refused(noisy):
    part = noisy.cutout((slice(0, 3), slice(None), slice(None)))
    with pytest.raises(InputError, match="give the result of this cube"):
        mirrored(part, result_of(noisy, np.zeros(SHAPE)))


def test_one_sight_line_is_refused():
    cube = HISACube.from_spectrum(np.linspace(80, 90, 40) * u.K, np.arange(40) * u.km / u.s)
    with pytest.raises(InputError, match="this is one sight line"):
        mirrored(cube, result_of(cube, np.zeros(cube.shape)))


def test_a_result_is_not_changed(noisy):
    result = result_of(noisy, dip())
    before = replace(result, unabsorbed_kelvin=result.unabsorbed_kelvin.copy())
    kelvin = noisy.kelvin.copy()
    mirrored(noisy, result)
    assert_array_equal(noisy.kelvin, kelvin)
    assert_array_equal(result.unabsorbed_kelvin, before.unabsorbed_kelvin)
