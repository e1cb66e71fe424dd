"""Whole searches of a model cube: every backend, block size and input type against the reference."""

import astropy.units as u
import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from hisatools import HISACube, SpatialParameters, SpatialSearcher, SpectralParameters, SpectralSearcher
from hisatools.backends import get_backend
from hisatools.simulate import ModelParameters, simulate_cube

SHAPE = (48, 72, 72)
PIXEL = 1 * u.arcmin
# How far the thresholds are moved to tell which voxels lie within tolerance of one.
SHARE = 1e-3
# Amplitudes are differences of U, or fits to them.
AMPLITUDE_TOLERANCE = 2


@pytest.fixture(scope="module")
def cube():
    parameters = ModelParameters(shape=SHAPE, pixel_scale=PIXEL, n_pucks=60, n_components=300)
    return simulate_cube(parameters, seed=401).cube


@pytest.fixture(scope="module")
def few_channels(cube):
    return cube.cutout((slice(20, 24), slice(None), slice(None)))


@pytest.fixture(scope="module")
def reference_spectral(cube):
    return SpectralSearcher(clean="reference").search(cube)


def reference_spatial(cube, parameters):
    return SpatialSearcher(parameters, clean="reference", convolution="reference").search(cube)


@pytest.fixture(scope="module")
def spatial_limits(few_channels):
    """The reference's result, and those with every threshold a little higher and a little lower."""
    default = SpatialParameters()
    moved = []
    for sign in (1, -1):
        shift = sign * get_backend("clean", "numba").tolerance_kelvin * u.K
        moved.append(
            SpatialParameters(
                threshold=default.threshold * (1 + sign * SHARE),
                min_amplitude=default.min_amplitude + shift,
                critical_brightness=default.critical_brightness + shift,
                cull_amplitude=default.cull_amplitude + shift,
            )
        )
    return [reference_spatial(few_channels, parameters) for parameters in (default, *moved)]


def agree_in_space(found, limits, tolerance_kelvin):
    """Masks differ at most where a threshold is near, amplitudes by their tolerance at most."""
    expected, stricter, laxer = limits
    np.testing.assert_array_equal(found.n_iterations, expected.n_iterations)
    np.testing.assert_array_equal(found.stop_reason, expected.stop_reason)
    assert not (stricter.mask & ~found.mask).any()
    assert not (found.mask & ~laxer.mask).any()
    certain = stricter.mask == laxer.mask
    # A voxel near a threshold is seen by its neighbours through the joining beam.
    sure = ~np.array([binary_dilation(~channel, iterations=6) for channel in certain])
    assert sure.mean() > 0.5
    np.testing.assert_allclose(
        found.amplitude.value[sure],
        expected.amplitude.value[sure],
        rtol=0,
        atol=AMPLITUDE_TOLERANCE * tolerance_kelvin,
    )


def agree_in_velocity(found, expected, tolerance_kelvin):
    """The same, but for a few sight lines where a decision is within rounding of its threshold.

    To do one more loop, to fit one more channel: the joining beam makes what differs a few pixels wide.
    """
    loops = np.abs(found.n_iterations - expected.n_iterations)
    assert loops.max() <= 1
    assert (loops > 0).mean() < 2e-3
    difference = np.abs(found.amplitude.value - expected.amplitude.value)
    near_threshold = (difference > AMPLITUDE_TOLERANCE * tolerance_kelvin).any(axis=0)
    assert near_threshold.mean() < 2e-3
    np.testing.assert_array_equal(found.mask[:, ~near_threshold], expected.mask[:, ~near_threshold])


def test_the_model_has_what_both_searches_find(reference_spectral, spatial_limits):
    assert reference_spectral.mask.sum() > 100
    assert spatial_limits[0].mask.sum() > 100


def test_spectral_search_agrees_with_the_reference(compared_clean_name, cube, reference_spectral):
    found = SpectralSearcher(clean=compared_clean_name).search(cube, workers=2)
    assert found.meta["clean"] == compared_clean_name
    tolerance_kelvin = get_backend("clean", compared_clean_name).tolerance_kelvin
    agree_in_velocity(found, reference_spectral, tolerance_kelvin)


def test_spatial_search_agrees_with_the_reference_for_every_clean(
    compared_clean_name, few_channels, spatial_limits
):
    searcher = SpatialSearcher(clean=compared_clean_name, convolution="reference")
    found = searcher.search(few_channels, workers=2)
    agree_in_space(found, spatial_limits, get_backend("clean", compared_clean_name).tolerance_kelvin)


def test_spatial_search_agrees_with_the_reference_for_every_convolution(
    compared_convolution_name, few_channels, spatial_limits
):
    searcher = SpatialSearcher(clean="numba", convolution=compared_convolution_name)
    found = searcher.search(few_channels, workers=2)
    assert found.meta["convolution"] == compared_convolution_name
    agree_in_space(found, spatial_limits, get_backend("clean", "numba").tolerance_kelvin)


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("voxels", [1, 5 * SHAPE[0] * SHAPE[2], 2**24])
def test_no_block_and_no_worker_changes_a_bit_of_the_spectral_search(
    compared_clean_name, voxels, workers, cube, monkeypatch
):
    searcher = SpectralSearcher(SpectralParameters(), clean=compared_clean_name)
    part = cube.cutout((slice(None), slice(0, 18), slice(0, 30)))
    expected = searcher.search(part)
    monkeypatch.setattr("hisatools.search.spectral.VOXELS_PER_BLOCK", voxels)
    found = searcher.search(part, workers=workers)
    np.testing.assert_array_equal(found.amplitude.value, expected.amplitude.value)
    np.testing.assert_array_equal(found.n_iterations, expected.n_iterations)


@pytest.mark.parametrize("workers", [2, 5])
def test_no_worker_changes_a_bit_of_the_spatial_search(compared_convolution_name, workers, few_channels):
    searcher = SpatialSearcher(convolution=compared_convolution_name)
    expected = searcher.search(few_channels)
    found = searcher.search(few_channels, workers=workers)
    np.testing.assert_array_equal(found.amplitude.value, expected.amplitude.value)
    np.testing.assert_array_equal(found.n_iterations, expected.n_iterations)


@pytest.mark.parametrize("dtype", ["float64", ">f4", ">f8"])
def test_the_type_of_the_input_changes_no_bit(dtype, cube):
    other = HISACube(cube.kelvin.astype(dtype) * u.K, cube.wcs, beam=cube.beam)
    for searcher in (SpatialSearcher(), SpectralSearcher()):
        found, expected = (searcher.search(part).amplitude.value for part in (other, cube))
        assert expected.any()
        np.testing.assert_array_equal(found, expected)
