"""Cuts along the sky and longitude against velocity: the row asked for, axes the right way round."""

import astropy.units as u
import numpy as np
import pytest
from numpy.testing import assert_allclose

from hisatools.errors import ParameterError, ParameterUnitsError
from hisatools.plotting import plot_longitude_velocity, plot_slice

KMS = u.km / u.s


def drawn(ax, name):
    """Values and edges of a curve."""
    curve = next(patch for patch in ax.patches if name in str(patch.get_label()))
    return curve.get_data()[:2]


def test_slice_goes_along_latitude_through_the_deepest_voxel(result):
    ax = plot_slice(result)
    values, edges = drawn(ax, "ON")
    assert_allclose(values, result.t_on[3, :, 6].value)
    # Pixels of 0.3 arcmin; that of the deepest voxel, 5, is about 0.
    assert_allclose(edges, (np.arange(13) - 5.5) * 0.3)
    assert ax.get_xlabel() == "Galactic latitude offset (arcmin)"
    assert "$b$ = +0.025\u00b0" in ax.get_title()
    assert "\u221243.0 km" in ax.get_title()


def test_longitude_grows_to_the_left_as_on_the_map(result):
    ax = plot_slice(result, -42 * KMS, (4, 3), along="longitude")
    values, edges = drawn(ax, "ON")
    assert_allclose(values, result.t_on[2, 4].value)
    assert_allclose(edges, -(np.arange(15) - 3.5) * 0.3)
    left, right = ax.get_xlim()
    assert left > right


def test_slice_shows_what_was_absorbed(result):
    values, _ = drawn(plot_slice(result), "Delta")
    assert_allclose(values[4:7], [-10, -30, -10], atol=1e-4)
    assert np.isnan(np.delete(values, [4, 5, 6])).all()


def test_axis_of_a_slice_that_is_not_known(result):
    with pytest.raises(ParameterError, match="along='velocity'; known: longitude, latitude"):
        plot_slice(result, along="velocity")


# --- longitude against velocity ---------------------------------------------------------------


def test_row_is_that_of_the_deepest_voxel(result):
    ax = plot_longitude_velocity(result)
    image = ax.images[-1].get_array()
    assert image.min() == -30
    assert np.ma.count(image) == 3
    assert ax.get_title() == "$b$ = +0.025\u00b0"


def test_row_is_the_nearest_one(result):
    ax = plot_longitude_velocity(result, 0.6 * u.arcmin, what="t_on")
    assert_allclose(ax.images[-1].get_array(), result.t_on[:, 2].value)


@pytest.mark.parametrize("step", [-1000.0, 1000.0])
def test_velocity_grows_upwards_in_km_per_s(make_result, step):
    result = make_result(step=step)
    ax = plot_longitude_velocity(result)
    ax.figure.draw_without_rendering()
    bottom, top = ax.get_ylim()
    speeds = result.wcs.sub([3]).wcs_pix2world([bottom, top], 0)[0]
    assert speeds[0] < speeds[1]
    assert ax.coords[2].get_format_unit() == u.km / u.s
    assert ax.coords[2].get_axislabel() == "LSR velocity (km s$^{-1}$)"
    assert ax.coords[0].get_axislabel() == "Galactic longitude"
    left, right = ax.get_xlim()
    assert left < right


@pytest.mark.parametrize(
    ("latitude", "error", "message"),
    [
        (1.2, ParameterUnitsError, r"latitude needs a unit, got 1.2; write 1.2 \* u.deg"),
        (5 * u.deg, ParameterError, r"latitude 5 deg is not in the cube \(0 to 0.055 deg\)"),
    ],
)
def test_rows_that_cannot_be_drawn(result, latitude, error, message):
    with pytest.raises(error, match=message):
        plot_longitude_velocity(result, latitude)


def test_without_absorption_the_cut_goes_through_the_brightest_pixel_of_its_channel(result):
    channel = 8
    assert not result.mask[channel].any()
    kelvin = result.t_on.value[channel]
    y, x = np.unravel_index(np.nanargmax(kelvin), kelvin.shape)
    ax = plot_slice(result, result.velocity[channel])
    assert ax.get_title() == plot_slice(result, result.velocity[channel], (y, x)).get_title()
