"""A small result, made by hand."""

import astropy.units as u
import numpy as np
import pytest
from astropy.wcs import WCS
from radio_beam import Beam

from hisatools.catalog import build_catalog
from hisatools.positions import sky_position
from hisatools.results import HISAResult
from hisatools.search.stages import SpatialStages, SpectralStages

GALACTIC = ("GLON-CAR", "GLAT-CAR")


def _make_result(shape=(9, 12, 14), *, sky=GALACTIC, absorbed=True, step=-1000.0, meta=None, smooth=False):
    """T_U = 90 K, with 30 K of absorption in channel 3, pixel (5, 6), and 10 K about it."""
    wcs = WCS(naxis=3)
    wcs.wcs.ctype = [*sky, "VRAD"]
    wcs.wcs.cunit = ["deg", "deg", "m/s"]
    wcs.wcs.crval = [139.6, 0 if sky == GALACTIC else 30, -40e3]
    wcs.wcs.crpix = [1, 1, 1]
    wcs.wcs.cdelt = [-0.005, 0.005, step]
    wcs.wcs.specsys = "LSRK"
    wcs.wcs.set()
    depth = np.zeros(shape, np.float32)
    if absorbed:
        y, x = min(5, shape[1] - 1), min(6, shape[2] - 1)
        depth[2:5, max(y - 1, 0) : y + 2, x] = 10
        depth[3, y, x] = 30
    labels = (depth > 0).astype(np.int32)
    t_unabsorbed = np.random.default_rng(1).normal(90, 3, shape).astype(np.float32)
    if smooth:
        v, y, x = np.indices(shape, np.float32)
        t_unabsorbed = 84 + x + 0.5 * y + 0.2 * v
    t_unabsorbed[depth > 0] = 90
    unabsorbed_kelvin = t_unabsorbed[depth > 0]
    t_on = t_unabsorbed - depth
    if depth[0].size > 1:
        t_on[:, 0, 0] = np.nan
    flags = labels.astype(np.uint8) * 7
    first_pass = labels.astype(np.uint8)
    catalog = build_catalog(t_on, unabsorbed_kelvin, labels, first_pass, wcs)
    data = (t_on * u.K, unabsorbed_kelvin, flags, labels, first_pass)
    return HISAResult(*data, catalog, wcs, Beam(1 * u.arcmin), meta or {"input": {"object": "MA1"}})


@pytest.fixture(scope="session")
def make_result():
    """Makes results of other shapes and axes."""
    return _make_result


@pytest.fixture(scope="module")
def result():
    return _make_result()


@pytest.fixture(scope="session")
def overhang():
    """By how many inches a drawing reaches beyond the page."""

    def measure(figure):
        figure.draw_without_rendering()
        box = figure.get_tightbbox()
        width, height = figure.get_size_inches()
        return max(-box.x0, -box.y0, box.x1 - width, box.y1 - height)

    return measure


@pytest.fixture(scope="session")
def words():
    """All text of a figure and its subfigures, titles included."""

    def read(figure):
        found = figure.findobj(lambda artist: hasattr(artist, "get_text"))
        return "\n".join(text.get_text() for text in found)

    return read


@pytest.fixture(scope="module")
def spectral_stages(result):
    """Of the deepest sight line; no search made them."""
    unabsorbed = np.full(9, 90.0)
    narrow = np.where(np.abs(np.arange(9) - 3) < 2, 25.0, 0.0)
    observed = result.t_on[:, 5, 6]
    return SpectralStages(
        observed=observed,
        smoothed=observed,
        unabsorbed=unabsorbed << u.K,
        narrow=narrow << u.K,
        broad=0.5 * narrow << u.K,
        detected=narrow << u.K,
        amplitude=0.8 * narrow << u.K,
        sigma_pos=2 * u.K,
        level=-5 * u.K,
        segments=((2, 5),),
        velocity=result.velocity,
        pixel=(5, 6),
        position=sky_position(result.wcs, 5, 6),
        wcs=result.wcs,
    )


@pytest.fixture(scope="module")
def spatial_stages(result):
    """Of the deepest channel; no search made them."""
    observed = result.t_on[3].value
    smoothed, unabsorbed = 0.5 * (observed + 90), np.full_like(observed, 90)
    suspected = np.where(unabsorbed - observed > 8, unabsorbed - observed, 0)
    levels = np.full((2, *observed.shape), [[[-4.0]], [[-8.0]]])
    maps = (observed, smoothed, unabsorbed, *levels, suspected, 0.8 * suspected)
    return SpatialStages(
        *(values << u.K for values in maps), channel=3, velocity=result.velocity[3], wcs=result.wcs
    )
