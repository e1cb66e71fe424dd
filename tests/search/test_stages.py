"""The stages are those of the search itself, to the bit."""

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from numpy.testing import assert_array_equal

from hisatools import HISACube, SpatialParameters, SpatialSearcher, SpectralParameters, SpectralSearcher
from hisatools.datasets import load_lab_profiles
from hisatools.errors import InputError, ParameterError
from hisatools.simulate import ModelParameters, simulate_cube

KMS = u.km / u.s
ABSORBED = (20, 40)
SPATIAL = SpatialSearcher(SpatialParameters(clean_fwhm=7 * u.arcmin))


@pytest.fixture(scope="module")
def cube():
    """A small field with a cloud about one sight line, and a blank corner."""
    model = simulate_cube(ModelParameters(shape=(32, 72, 72), n_pucks=0, n_components=60), seed=7)
    v, y, x = np.ogrid[:32, :72, :72]
    off = ((v - 16) / 1.3) ** 2 + ((y - ABSORBED[0]) / 3) ** 2 + ((x - ABSORBED[1]) / 3) ** 2
    kelvin = model.cube.kelvin + np.float32(60) - 30 * np.exp(-0.5 * off).astype(np.float32)
    kelvin[:, :4, :4] = np.nan
    return model.cube.with_brightness(kelvin)


@pytest.fixture(scope="module")
def spectral():
    return SpectralSearcher(SpectralParameters(join_fwhm=1.5 * u.arcmin))


@pytest.fixture(scope="module")
def noise(spectral, cube):
    return spectral.measure_noise(cube)


@pytest.fixture(scope="module")
def found(spectral, cube, noise):
    return spectral.search(cube, noise=noise)


@pytest.mark.parametrize("pixel", [ABSORBED, (0, 40), (71, 71), (30, 5)])
def test_amplitude_is_that_of_the_spectral_search(spectral, cube, noise, found, pixel):
    stages = spectral.stages(cube, pixel, noise=noise)
    assert_array_equal(stages.amplitude, found.amplitude[:, pixel[0], pixel[1]])


def test_detected_is_that_of_a_search_without_smoothing_and_culling(cube, noise):
    plain = SpectralSearcher(SpectralParameters(join_fwhm=0 * u.arcmin, cull_amplitude=0 * u.K))
    whole = plain.search(cube, noise=noise).amplitude[:, ABSORBED[0], ABSORBED[1]]
    stages = SpectralSearcher().stages(cube, ABSORBED, noise=noise)
    assert whole.max() > 15 * u.K
    assert_array_equal(stages.detected, whole)
    assert_array_equal(stages.detected, np.maximum(stages.narrow, stages.broad))


def test_segments_are_where_the_residual_is_below_the_level(spectral, cube, noise):
    stages = spectral.stages(cube, ABSORBED, noise=noise)
    below = np.zeros(32, bool)
    for first, stop in stages.segments:
        below[first:stop] = True
    assert_array_equal(below, stages.residual < stages.level)
    assert below[16]
    assert stages.level == -2 * stages.sigma_pos


def test_pixel_and_position_are_one(spectral, cube, noise):
    by_pixel = spectral.stages(cube, ABSORBED, noise=noise)
    by_sky = spectral.stages(cube, SkyCoord(by_pixel.position).icrs, noise=noise)
    assert by_sky.pixel == by_pixel.pixel == ABSORBED
    assert_array_equal(by_sky.observed, cube.data[:, ABSORBED[0], ABSORBED[1]])


def test_a_blank_sight_line_has_no_stages_but_no_error(spectral, cube, noise):
    stages = spectral.stages(cube, (0, 0), noise=noise)
    assert stages.segments == ()
    assert not stages.detected.value.any()
    assert np.isnan(stages.unabsorbed).all()


def test_a_spectrum_needs_no_position():
    lab = load_lab_profiles()
    cube = HISACube.from_spectrum(lab["t_l5"], lab["velocity"])
    stages = SpectralSearcher().stages(cube)
    assert stages.position is None
    assert_array_equal(stages.amplitude, SpectralSearcher().search(cube).amplitude[:, 0, 0])


def test_a_map_needs_a_position_that_is_in_it(spectral, cube, noise):
    with pytest.raises(ParameterError, match=r"which of the 72 x 72 sight lines is meant"):
        spectral.stages(cube, noise=noise)
    with pytest.raises(ParameterError, match=r"position \(72, 0\) is not in the cube of 72 x 72 pixels"):
        spectral.stages(cube, (72, 0), noise=noise)


# --- the spatial search -----------------------------------------------------------------------


@pytest.mark.parametrize("channel", [3, 16])
def test_amplitude_is_that_of_the_spatial_search(cube, channel):
    spatial = SPATIAL
    noise = spatial.measure_noise(cube)
    whole = spatial.search(cube, noise=noise)
    stages = spatial.stages(cube, cube.velocity[channel] + 0.3 * KMS, noise=noise)
    assert stages.channel == channel
    assert_array_equal(stages.amplitude, whole.amplitude[channel])


def test_what_is_suspected_stands_out_from_either_level(cube):
    stages = SPATIAL.stages(cube, cube.velocity[16])
    suspected = stages.suspected > 0
    below = stages.smoothed - stages.unabsorbed < stages.smoothed_level
    below |= stages.observed - stages.unabsorbed < stages.observed_level
    assert suspected[ABSORBED]
    assert not (suspected & ~below).any()
    assert_array_equal(stages.suspected[suspected], (stages.unabsorbed - stages.observed)[suspected])


def test_a_blank_channel_has_no_stages(cube):
    kelvin = cube.kelvin.copy()
    kelvin[5] = np.nan
    with pytest.raises(InputError, match=r"channel 5 at .* is blank; name another velocity"):
        SPATIAL.stages(cube.with_brightness(kelvin), cube.velocity[5])
