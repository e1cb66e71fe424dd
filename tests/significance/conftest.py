"""Cubes of noise whose rms and correlation are known, not measured."""

import astropy.units as u
import numpy as np
import pytest
from astropy.stats import gaussian_fwhm_to_sigma
from radio_beam import Beam
from scipy.ndimage import convolve1d, gaussian_filter1d

from hisatools import HISACube
from hisatools.noise import NoiseCorrelation
from hisatools.significance import Residual
from hisatools.simulate import ModelParameters, model_wcs

BEAM_PIX, LINE_CHAN = 3.0, 1.6
MARGIN = 6


def _unit_noise(shape, seed):
    """Of rms 1 on average over all cubes, not in each; as in nature, nothing wraps around."""
    white = np.random.default_rng(seed).standard_normal([n + 2 * MARGIN for n in shape])
    for axis, fwhm in enumerate((LINE_CHAN, BEAM_PIX, BEAM_PIX)):
        line = np.zeros(2 * MARGIN + 1)
        line[MARGIN] = 1
        line = gaussian_filter1d(line, fwhm * gaussian_fwhm_to_sigma, truncate=6)
        white = convolve1d(white, line / np.linalg.norm(line), axis=axis)
    return white[(slice(MARGIN, -MARGIN),) * 3]


@pytest.fixture(scope="session")
def empty_cube():
    """From an array in K to a cube with the axes of the models, pixels of 0.3 arcmin and a beam of three."""

    def make(kelvin, **settings):
        parameters = ModelParameters(shape=kelvin.shape, n_pucks=0, n_components=1)
        beam = Beam(BEAM_PIX * parameters.pixel_scale)
        return HISACube(np.float32(kelvin) * u.K, model_wcs(parameters), beam=beam, **settings)

    return make


@pytest.fixture(scope="session")
def noise_residual(empty_cube):
    """From a shape and a seed to a residual of pure noise, with the noise that it is said to have."""

    def make(shape, seed, *, sigma_kelvin=5.0, known=None):
        cube = empty_cube(sigma_kelvin * _unit_noise(shape, seed))
        return Residual(
            kelvin=cube.kelvin,
            sigma_kelvin=np.float32(sigma_kelvin),
            correlation=NoiseCorrelation(BEAM_PIX, LINE_CHAN),
            wcs=cube.wcs,
            beam_pix=BEAM_PIX,
            known=known,
        )

    return make
