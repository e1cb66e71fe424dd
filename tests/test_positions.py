"""Pixels and channels: the nearest ones, and one clear error for what is none."""

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord

from hisatools.datasets import example_model, example_result
from hisatools.errors import ParameterError
from hisatools.plotting import plot_longitude_velocity
from hisatools.positions import nearest_channel, sky_pixel, sky_position


@pytest.fixture
def cube():
    return example_model().cube


@pytest.mark.parametrize("position", [(11.7, 3.2), (11.5, 2.5), np.array([12, 3]), (12.49, 3.49)])
def test_a_pixel_given_as_floats_is_the_nearest(cube, position):
    assert sky_pixel(cube.wcs, cube.shape, position) == (12, 3)


def test_a_place_on_the_sky_and_its_pixel_are_the_same(cube):
    place = SkyCoord(139.6137, 0.1132, unit="deg", frame="galactic")
    x, y = cube.wcs.celestial.world_to_pixel(place)
    assert (y % 1 > 0.5) or (x % 1 > 0.5)
    assert sky_pixel(cube.wcs, cube.shape, place) == sky_pixel(cube.wcs, cube.shape, (y, x))


def test_the_edge_of_the_outermost_pixels_belongs_to_the_cube(cube):
    _, n_y, n_x = cube.shape
    assert sky_pixel(cube.wcs, cube.shape, (-0.5, n_x - 0.51)) == (0, n_x - 1)
    for outside in ((-0.51, 0), (0, n_x - 0.5), (n_y, 0)):
        with pytest.raises(ParameterError, match="is not in the cube of 208 x 208 pixels"):
            sky_pixel(cube.wcs, cube.shape, outside)


@pytest.mark.parametrize(
    ("position", "message"),
    [
        (
            SkyCoord([140, 140.1], [0, 0], unit="deg", frame="galactic"),
            r"one place, got a SkyCoord of shape \(2,\)",
        ),
        ((1, 2, 3), "a SkyCoord or a pixel"),
        (([1, 2], [3, 4]), "a SkyCoord or a pixel"),
        ((np.nan, 3), "a SkyCoord or a pixel"),
        ((np.inf, 3), "a SkyCoord or a pixel"),
        (7, "a SkyCoord or a pixel"),
        ("ab", "a SkyCoord or a pixel"),
    ],
)
def test_what_is_no_place_is_refused(cube, position, message):
    with pytest.raises(ParameterError, match=message):
        sky_pixel(cube.wcs, cube.shape, position)


def test_only_one_velocity_and_one_latitude_are_taken(cube):
    with pytest.raises(ParameterError, match=r"velocity must be one value, got an array of shape \(2,\)"):
        nearest_channel(cube.velocity, [-41, -42] * u.km / u.s)
    with pytest.raises(ParameterError, match="velocity needs a unit"):
        nearest_channel(cube.velocity, -41)
    with pytest.raises(ParameterError, match="velocity nan km / s is not in the cube"):
        nearest_channel(cube.velocity, np.nan * u.km / u.s)
    with pytest.raises(ParameterError, match=r"latitude must be one value, got an array of shape \(2,\)"):
        plot_longitude_velocity(example_result(), [0, 0.1] * u.deg)


def test_the_centre_of_a_pixel_is_in_it(cube):
    assert sky_pixel(cube.wcs, cube.shape, sky_position(cube.wcs, 124, 184)) == (124, 184)
