"""Spectra of a sight line: the one asked for, velocity rising."""

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from numpy.testing import assert_allclose

from hisatools.errors import ParameterError
from hisatools.plotting import plot_spectrum


def drawn_spectrum(ax):
    return next(patch for patch in ax.patches if "ON" in str(patch.get_label()))


@pytest.mark.parametrize("step", [-1000.0, 1000.0])
def test_spectrum_runs_through_the_deepest_voxel_with_velocity_rising(make_result, step):
    result = make_result(step=step)
    ax = plot_spectrum(result)
    values, edges, _ = drawn_spectrum(ax).get_data()
    order = np.argsort(result.velocity.value)
    assert_allclose(values, result.t_on[:, 5, 6].value[order])
    assert_allclose(np.diff(edges), 1.0)
    assert_allclose(edges[0] + 0.5, result.velocity.value.min())
    assert ax.get_xlabel() == "LSR velocity (km s$^{-1}$)"


def test_spectrum_of_a_pixel_and_of_a_position_agree(result):
    lon, lat = result.wcs.celestial.wcs_pix2world([[3, 2]], 0)[0]
    sky = SkyCoord(lon, lat, unit="deg", frame="galactic").icrs
    by_pixel, by_sky = (drawn_spectrum(plot_spectrum(result, place)).get_data()[0] for place in ((2, 3), sky))
    assert_allclose(by_pixel, result.t_on[::-1, 2, 3].value)
    assert_allclose(by_sky, by_pixel)


@pytest.mark.parametrize("position", [(12, 0), (-1, 0), SkyCoord(0, 80, unit="deg")])
def test_position_outside_the_cube(result, position):
    with pytest.raises(ParameterError, match=r"is not in the cube of 12 x 14 pixels \(y, x\)"):
        plot_spectrum(result, position)


def test_what_is_no_position_is_refused(result):
    with pytest.raises(ParameterError, match=r"must be a SkyCoord or a pixel \(y, x\), got 'here'"):
        plot_spectrum(result, "here")


def test_a_single_channel_can_be_drawn(make_result, overhang):
    assert overhang(plot_spectrum(make_result((1, 4, 4), absorbed=False)).figure) < 0.02
