"""Residual cubes, and absorption that a search left."""

import astropy.units as u
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from hisatools import HISACube, HISAResult
from hisatools.catalog import build_catalog
from hisatools.errors import HISAWarning, InputError, ParameterError, ParameterUnitsError
from hisatools.residual_mask import (
    MissedAbsorptionParameters,
    ResidualMaskParameters,
    mask_residuals,
    missed_absorption,
)
from hisatools.simulate import ModelParameters, model_wcs

KMS = u.km / u.s
SHAPE = (14, 60, 64)
FOUND, MISSED = (slice(4, 8), slice(8, 16), slice(8, 16)), (slice(6, 9), slice(34, 44), slice(30, 40))


@pytest.fixture(scope="module")
def searched():
    """A cube with two features, and a result that has one of them."""
    rng = np.random.default_rng(6200)
    kelvin = (100 + rng.normal(0, 3, SHAPE)).astype(np.float32)
    kelvin[FOUND] -= 40
    kelvin[MISSED] -= 12
    cube = HISACube(kelvin * u.K, model_wcs(ModelParameters(shape=SHAPE, n_pucks=1, n_components=1)))
    labels = np.zeros(SHAPE, np.int32)
    labels[FOUND] = 1
    first_pass = labels.astype(np.uint8)
    unabsorbed = cube.kelvin[labels > 0] + np.float32(40)
    catalog = build_catalog(cube.kelvin, unabsorbed, labels, first_pass, cube.wcs)
    flags = first_pass * np.uint8(7)
    return cube, HISAResult(cube.data, unabsorbed, flags, labels, first_pass, catalog, cube.wcs)


def test_what_the_search_missed_is_masked_and_what_it_found_is_not(searched):
    cube, result = searched
    found = missed_absorption(cube, result)
    assert found.mask[MISSED].mean() > 0.8
    assert not found.mask[FOUND].any()
    elsewhere = np.ones(SHAPE, bool)
    elsewhere[2:13, 25:53, 21:49] = False
    assert found.mask[elsewhere].mean() < 0.003
    assert found.delta_t[found.mask].max() < 0 * u.K
    assert np.isnan(found.residual[FOUND]).all()


def test_integrated_over_velocity_one_map_is_judged(searched):
    cube, result = searched
    ends = cube.velocity[[5, 9]]
    found = missed_absorption(cube, result, velocity_range=ends)
    assert found.mask.shape == SHAPE[1:]
    assert found.mask[MISSED[1:]].mean() > 0.9
    assert found.tracer.unit == u.K * KMS
    beyond = u.Quantity([ends[0], ends[0] + 500 * KMS])
    with pytest.warns(HISAWarning, match="reaches beyond the band"):
        missed_absorption(cube, result, velocity_range=beyond)
    with pytest.raises(InputError, match="outside the cube"):
        missed_absorption(cube, result, velocity_range=[900, 950] * KMS)


def test_workers_and_no_smoothing(searched):
    cube, result = searched
    one, two = (missed_absorption(cube, result, workers=n) for n in (1, 2))
    assert_array_equal(one.mask, two.mask)
    assert_array_equal(one.residual, two.residual)
    bare = MissedAbsorptionParameters(smoothing_fwhm=0 * u.arcmin, velocity_fwhm=0 * KMS)
    sharp = missed_absorption(cube, result, bare)
    assert np.nanmedian(sharp.sigma) > 2 * np.nanmedian(one.sigma)


def test_arguments_that_do_not_fit_are_refused(searched):
    cube, result = searched
    with pytest.raises(ParameterError, match="a HISACube and a HISAResult are needed"):
        missed_absorption(cube, cube)
    part = cube.cutout((slice(0, 9), slice(None), slice(None)))
    with pytest.raises(InputError, match="give the result of this cube"):
        missed_absorption(part, result)


def test_sign_is_what_is_said():
    rng = np.random.default_rng(6201)
    residual = rng.normal(0, 2, (3, 40, 40))
    residual[1, 10:20, 10:20] -= 15
    dips = mask_residuals(residual * u.mK, absorption=True)
    assert dips.mask[1, 10:20, 10:20].all()
    assert dips.mask[[0, 2]].mean() < 0.01
    bumps = mask_residuals(residual * u.mK)
    assert not bumps.mask[1, 12:18, 12:18].any()
    again = mask_residuals(-residual * 1e-3 * u.K)
    assert_array_equal(again.mask, dips.mask)
    assert_allclose(again.sigma.to_value(u.mK), dips.sigma.value, rtol=1e-3)
    assert_allclose(dips.sigma.value, 2, rtol=0.15)
    assert np.nanmax(dips.significance) > 5


def test_channels_without_noise_are_left_unmasked():
    rng = np.random.default_rng(6202)
    residual = rng.normal(0, 2, (4, 30, 30))
    residual[1], residual[2] = np.nan, 0.0
    found = mask_residuals(residual * u.K)
    assert not found.mask[1:3].any()
    assert_array_equal(np.isnan(found.sigma), [False, True, True, False])
    assert_array_equal(found.converged, [True, False, False, True])


def test_model_and_mask_are_taken_away():
    rng = np.random.default_rng(6203)
    slope = np.linspace(0, 50, 40) * np.ones((40, 1))
    residual = slope + rng.normal(0, 1, (40, 40))
    residual[5:9, 5:9] += 20
    mask = np.zeros((40, 40), bool)
    mask[20:] = True
    found = mask_residuals(residual * u.K, model=slope * u.K, mask=mask)
    assert found.mask[5:9, 5:9].all()
    assert found.mask.sum() < 30
    with pytest.raises(ParameterUnitsError, match="model needs the unit"):
        mask_residuals(residual * u.K, model=slope)
    with pytest.raises(InputError, match="model has the shape"):
        mask_residuals(residual * u.K, model=slope[:3] * u.K)
    with pytest.raises(ParameterUnitsError, match="residual needs a unit"):
        mask_residuals(residual)
    with pytest.raises(InputError, match=r"the residual .*one value a voxel"):
        mask_residuals(residual[None] * u.K, mask=mask)


def test_threshold_is_a_parameter():
    noise = np.random.default_rng(6204).normal(0, 1, (100, 100)) * u.K
    counts = [
        int(
            mask_residuals(noise, parameters=ResidualMaskParameters(start_fraction=1.0, n_sigma=n)).mask.sum()
        )
        for n in (2, 3, 4)
    ]
    assert 150 < counts[0] < 350 and counts[1] < 30 and counts[2] < 4


def test_the_result_of_another_cube_is_refused(searched):
    cube, result = searched
    wcs = cube.wcs.deepcopy()
    wcs.wcs.crval[0] += 1
    with pytest.raises(InputError, match="another part of the sky"):
        missed_absorption(HISACube(cube.data, wcs), result)


def test_what_is_left_out_of_a_cube_is_blank():
    residual = np.random.default_rng(6213).normal(size=(2, 30, 30))
    residual[0, 3, 3], mask = np.inf, np.zeros(residual.shape, bool)
    mask[:, :5, :5] = True
    found = mask_residuals(residual * u.mK, mask=mask)
    assert np.isnan(found.residual[mask]).all() and np.isnan(found.delta_t[mask]).all()
    assert np.isfinite(found.residual[~mask]).all()


@pytest.mark.parametrize("shape", [(5,), (0, 4, 4), (1, 2, 3, 4)])
def test_what_is_no_map_or_cube_is_named(shape):
    with pytest.raises(InputError, match="residual must be a map or a cube"):
        mask_residuals(np.zeros(shape) * u.K)


def test_mask_of_a_cube_must_be_bool():
    with pytest.raises(ParameterError, match="array of bool"):
        mask_residuals(np.zeros((2, 9, 9)) * u.K, mask=np.full((2, 9, 9), np.nan))
