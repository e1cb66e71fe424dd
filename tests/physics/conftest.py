"""Clouds of known gas, as results."""

import astropy.units as u
import numpy as np
import pytest
from astropy.wcs import WCS

from hisatools import HISAResult
from hisatools.catalog import VoxelErrors, build_catalog
from hisatools.results import MaskBit

CHANNEL_KMS = 0.82446


def _axes(n_x, n_v, pixel_deg=0.005):
    wcs = WCS(naxis=3)
    wcs.wcs.ctype = ["GLON-CAR", "GLAT-CAR", "VRAD"]
    wcs.wcs.cunit = ["deg", "deg", "m/s"]
    wcs.wcs.crval = [139.6, 0, -41e3]
    wcs.wcs.cdelt = [-pixel_deg, pixel_deg, -1000 * CHANNEL_KMS]
    wcs.wcs.crpix = [n_x / 2, n_x / 2, n_v / 2]
    return wcs


@pytest.fixture(scope="session")
def gas_result():
    """A function that makes a result of dT and labels; 100 K all about."""

    def make(
        delta_t, labels, *, noise=None, sigma_unabsorbed=0.0, correlated=1.0, beam=None, unabsorbed=100.0
    ):
        labels = np.asarray(labels, np.int32)
        wcs = _axes(labels.shape[2], labels.shape[0])
        inside = labels > 0
        above = np.broadcast_to(np.asarray(unabsorbed, np.float32), labels.shape)[inside]
        t_on = np.full(labels.shape, 100, np.float32)
        t_on[inside] = above + delta_t[inside]
        errors, sigmas = None, {}
        if noise is not None:
            ones = np.ones(above.size, np.float32)
            errors = VoxelErrors(noise * ones, sigma_unabsorbed * ones, correlated)
            sigmas["sigma_unabsorbed_kelvin"] = sigma_unabsorbed * ones
            sigmas["sigma_delta_kelvin"] = np.hypot(noise, sigma_unabsorbed) * ones
        first = inside.astype(np.uint8)
        catalog = build_catalog(t_on, above, labels, first, wcs, beam=beam, errors=errors)
        flags = first * np.uint8(MaskBit.ACCEPTED)
        return HISAResult(t_on * u.K, above, flags, labels, first, catalog, wcs, beam, **sigmas)

    return make


@pytest.fixture(scope="session")
def blocks():
    """A function that tiles square features of some pixels: depths of a line, and labels."""

    def tile(profile, side, n):
        profile = np.asarray(profile, float)
        step = side + 1
        labels = np.zeros((profile.size, n * step, n * step), np.int32)
        for number in range(n * n):
            y, x = divmod(number, n)
            labels[:, y * step : y * step + side, x * step : x * step + side] = number + 1
        return np.where(labels > 0, profile[:, None, None], 0.0), labels

    return tile
