"""O - T_U everywhere in a cube, and its noise."""

from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from hisatools import HISACube, HISAExtractor
from hisatools.errors import InputError, ParameterError, ParameterUnitsError
from hisatools.significance import Residual
from hisatools.simulate import ModelParameters, simulate_cube


@pytest.fixture(scope="module")
def model():
    parameters = ModelParameters(shape=(40, 96, 96), n_pucks=30, n_components=80, median_brightness=110 * u.K)
    return simulate_cube(parameters, seed=203)


@pytest.fixture(scope="module")
def result(model):
    with pytest.warns(UserWarning):
        return HISAExtractor(n_passes=1).run(model.cube)


def test_a_residual_is_the_cube_minus_what_is_given(model):
    residual = Residual.of(model.cube, model.t_unabsorbed, known=model.mask)
    assert_array_equal(residual.kelvin, model.cube.kelvin - model.t_unabsorbed.value)
    assert_allclose(residual.sigma_kelvin.mean(), 6, rtol=0.05)
    assert_allclose(residual.correlation.beam_pix, 10 / 3, rtol=0.1)
    assert_allclose(residual.correlation.line_chan, 1.6, rtol=0.1)
    assert_allclose(residual.standardised(), -residual.kelvin / residual.sigma_kelvin)


def test_a_result_gives_its_own_depth_where_it_has_one(model, result):
    residual = Residual.from_result(model.cube, result)
    assert_allclose(residual.kelvin[result.mask], result.voxel_delta_t_kelvin, atol=1e-4)
    assert_array_equal(residual.known, result.mask)
    error = residual.kelvin - (model.cube.kelvin - model.t_unabsorbed.value)
    assert np.sqrt(np.mean(error[~model.mask & ~result.mask] ** 2)) < 2.5


def test_a_cube_alone_loses_some_of_its_broad_absorption(model, result):
    alone = Residual.from_cube(model.cube)
    helped = Residual.from_result(model.cube, result)
    found = result.mask & model.mask
    assert helped.kelvin[found].mean() < alone.kelvin[found].mean() < 0


def test_blank_stays_blank(model):
    kelvin = model.cube.kelvin.copy()
    kelvin[:, :5] = np.nan
    kelvin[7] = np.nan
    cube = HISACube(kelvin * u.K, model.cube.wcs, beam=model.cube.beam)
    residual = Residual.from_cube(cube)
    assert_array_equal(np.isnan(residual.kelvin), np.isnan(kelvin))
    assert not residual.usable[:, :5].any() and not residual.usable[7].any()
    assert (residual.standardised()[7] == 0).all()


def test_told_noise_is_taken(model):
    sigma = np.linspace(3, 6, 96) * np.ones((96, 1))
    residual = Residual.of(model.cube, model.t_unabsorbed, noise=sigma * u.K)
    assert_allclose(residual.sigma_kelvin, sigma, rtol=1e-6)


def test_workers_change_nothing(model):
    one, two = (Residual.from_cube(model.cube, workers=workers) for workers in (1, 2))
    assert_array_equal(one.kelvin, two.kelvin)
    assert one.correlation == two.correlation


def test_the_result_of_another_cube_is_refused(model, result):
    with pytest.raises(InputError, match="has the shape"):
        Residual.from_result(model.cube.cutout((slice(0, 20), slice(None), slice(None))), result)
    for axis, step in ((0, 60.0), (2, 50e3)):
        wcs = result.wcs.deepcopy()
        wcs.wcs.crval[axis] += step
        with pytest.raises(InputError, match="another cube"):
            Residual.from_result(model.cube, replace(result, wcs=wcs))


def test_one_sight_line_needs_to_be_told_t_u():
    v = np.arange(60) * u.km / u.s
    noise = np.random.default_rng(6030).normal(0, 2, 60)
    cube = HISACube.from_spectrum((80 + noise) * u.K, v)
    residual = Residual.of(cube, 80 * u.K)
    assert 1 < float(residual.sigma_kelvin.mean()) < 3
    with pytest.raises(InputError, match="one sight line"):
        Residual.from_cube(cube)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"t_unabsorbed": 80.0}, ParameterUnitsError, "t_unabsorbed needs a unit of K"),
        ({"t_unabsorbed": 80 * u.Jy}, ParameterUnitsError, "t_unabsorbed needs a unit of K"),
        ({"t_unabsorbed": np.ones(3) * u.K}, InputError, "t_unabsorbed has the shape"),
        ({"known": np.ones((40, 96, 96))}, InputError, "known has the shape"),
        ({"known": [[True]]}, InputError, "known has the shape"),
        ({"noise": 3.0}, ParameterUnitsError, "noise needs a unit"),
        ({"noise": 0 * u.K}, ParameterError, "noise must be above 0"),
        ({"workers": 0}, ParameterError, "workers"),
    ],
)
def test_wrong_input_is_refused(model, settings, error, message):
    with pytest.raises(error, match=message):
        Residual.of(model.cube, **{"t_unabsorbed": model.t_unabsorbed, **settings})
