"""Sizes, elongation and position angle of features on the sky."""

import astropy.units as u
import numpy as np
import pytest
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from radio_beam import Beam

from hisatools.catalog import build_catalog

RANDOM = settings(deadline=None, derandomize=True, max_examples=30)
PIXEL = 0.3


def axes(flip=-1, latitude=0.0, frame="GLON"):
    wcs = WCS(naxis=3)
    wcs.wcs.ctype = [f"{frame}-CAR" if frame == "GLON" else "RA---TAN", "GLAT-CAR", "VRAD"]
    if frame != "GLON":
        wcs.wcs.ctype = ["RA---TAN", "DEC--TAN", "VRAD"]
    wcs.wcs.cunit = ["deg", "deg", "m/s"]
    wcs.wcs.crval = [140, latitude, -40e3]
    wcs.wcs.crpix = [41, 41, 1]
    wcs.wcs.cdelt = [flip * PIXEL / 60, PIXEL / 60, -824.46]
    return wcs


def row_of(depth, wcs, beam=None):
    """The catalogue's row for one feature of this depth in K, in one channel of three."""
    absorbed = np.zeros((3, *depth.shape), np.float32)
    absorbed[1] = depth
    labels = (absorbed > 1e-3 * depth.max()).astype(np.int32)
    t_on = 200 - np.where(labels, absorbed, 0).astype(np.float32)
    unabsorbed = np.full(np.count_nonzero(labels), 200, np.float32)
    return build_catalog(t_on, unabsorbed, labels, labels.astype(np.uint8), wcs, beam=beam)[0]


def gaussian(major, minor, angle, wcs, centre=(40, 40)):
    """An elliptical Gaussian on the sky; FWHM in arcmin, angle from north to east in degrees."""
    y, x = np.indices((81, 81))
    lon, lat = wcs.celestial.wcs_pix2world(x, y, 0)
    lon_0, lat_0 = wcs.celestial.wcs_pix2world(*centre[::-1], 0)
    east = 60 * (lon - lon_0) * np.cos(np.radians(lat_0))
    north = 60 * (lat - lat_0)
    turned = np.radians(angle)
    along = east * np.sin(turned) + north * np.cos(turned)
    across = east * np.cos(turned) - north * np.sin(turned)
    return 50 * np.exp(-4 * np.log(2) * ((along / major) ** 2 + (across / minor) ** 2))


@RANDOM
@given(major=st.floats(3, 6), share=st.floats(0.4, 0.9), angle=st.floats(0, 179.9))
def test_an_ellipse_comes_back(major, share, angle):
    row = row_of(gaussian(major, share * major, angle, axes()), axes())
    # Cut off at a thousandth of its peak, and seen by pixels.
    assert_allclose(row["major_fwhm"].value, major, rtol=0.02)
    assert_allclose(row["minor_fwhm"].value, share * major, rtol=0.02)
    off = (row["position_angle"].value - angle + 90) % 180 - 90
    assert abs(off) < 1
    assert_allclose(row["elongation"], 1 / share, rtol=0.03)


@pytest.mark.parametrize(
    "wcs", [axes(flip=1), axes(latitude=60.0, frame="RA")], ids=["flipped", "declination 60"]
)
def test_angles_are_of_the_sky_and_not_of_the_pixels(wcs):
    row = row_of(gaussian(6, 3, 30, wcs), wcs)
    assert_allclose(row["position_angle"].value, 30, atol=1)
    assert_allclose(row["major_fwhm"].value, 6, rtol=0.02)


def test_the_beam_is_taken_away():
    wide = np.hypot(5, 2), np.hypot(3, 1)
    row = row_of(gaussian(*wide, 40, axes()), axes(), Beam(2 * u.arcmin, 1 * u.arcmin, 40 * u.deg))
    assert_allclose(row["major_deconvolved"].value, 5, rtol=0.02)
    assert_allclose(row["minor_deconvolved"].value, 3, rtol=0.02)


def test_a_feature_no_wider_than_the_beam_has_no_width():
    row = row_of(gaussian(5, 2, 40, axes()), axes(), Beam(3 * u.arcmin))
    assert row["major_deconvolved"].value > 3
    assert np.isnan(row["minor_deconvolved"])


def test_without_a_beam_nothing_is_taken_away():
    row = row_of(gaussian(5, 2, 40, axes()), axes())
    assert np.isnan(row["major_deconvolved"]) and np.isnan(row["minor_deconvolved"])


def test_a_pixel_is_as_large_as_a_pixel():
    depth = np.zeros((81, 81))
    depth[40, 40] = 50
    row = row_of(depth, axes())
    expected = PIXEL / np.sqrt(12) * 2.3548
    assert_allclose([row["major_fwhm"].value, row["minor_fwhm"].value], expected, rtol=1e-3)
    assert_allclose(row["elongation"], 1, rtol=1e-3)


def test_one_sight_line_has_no_size():
    wcs = axes()
    t_on = np.full((5, 1, 1), 100, np.float32)
    t_on[2] = 60
    labels = (t_on < 100).astype(np.int32)
    row = build_catalog(t_on, np.array([100], np.float32), labels, labels.astype(np.uint8), wcs)[0]
    for name in ("major_fwhm", "minor_fwhm", "position_angle", "elongation"):
        assert np.isnan(row[name])


@pytest.mark.parametrize("beam", [None, Beam(0.2 * u.arcmin)])
def test_a_huge_feature_changes_nothing_of_a_small_one(beam):
    labels = np.zeros((3, 1100, 1100), np.int32)
    labels[1, 2, 5:15] = 1
    found = []
    for huge in (False, True):
        if huge:
            labels[1, 20:1090, 20:1090] = 2
        t_on = np.where(labels, 60, 100).astype(np.float32)
        unabsorbed = np.full(np.count_nonzero(labels), 100, np.float32)
        found.append(build_catalog(t_on, unabsorbed, labels, labels.astype(np.uint8), axes(), beam=beam)[0])
    for name in ("major_fwhm", "minor_fwhm", "elongation", "position_angle", "major_deconvolved"):
        assert_allclose(found[1][name], found[0][name], err_msg=name)
    assert found[1]["minor_fwhm"] > 0


def test_a_long_thin_feature_has_a_width():
    labels = np.zeros((3, 5, 1500), np.int32)
    labels[1, 2, 5:1495] = 1
    t_on = np.where(labels, 60, 100).astype(np.float32)
    unabsorbed = np.full(np.count_nonzero(labels), 100, np.float32)
    row = build_catalog(t_on, unabsorbed, labels, labels.astype(np.uint8), axes())[0]
    assert_allclose(row["minor_fwhm"].value, PIXEL * np.sqrt(8 * np.log(2) / 12), rtol=0.01)
