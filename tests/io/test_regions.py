import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS
from hypothesis import given
from hypothesis import strategies as st
from regions import CirclePixelRegion, CircleSkyRegion, PixCoord, PointSkyRegion, RectangleSkyRegion, Regions

from hisatools.errors import InputError, ParameterError, ParameterUnitsError
from hisatools.io.regions import sky_cut, velocity_slice

KMS = u.km / u.s
SHAPE = (20, 30)


@pytest.fixture
def celestial():
    """A Galactic plain grid of 0.1 degree pixels; pixel (column 10, row 10) is at l = 120, b = 0."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["GLON-CAR", "GLAT-CAR"]
    wcs.wcs.crval, wcs.wcs.crpix, wcs.wcs.cdelt = [120, 0], [11, 11], [-0.1, 0.1]
    return wcs


def circle(lon, lat, radius):
    return CircleSkyRegion(SkyCoord(lon, lat, unit="deg", frame="galactic"), radius * u.deg)


@given(
    ends=st.tuples(st.floats(-300, 300), st.floats(-300, 300)),
    start=st.floats(-250, 250),
    step=st.floats(0.05, 5).flatmap(lambda x: st.sampled_from([x, -x])),
    n_channels=st.integers(3, 300),
)
def test_velocity_cut_takes_precisely_the_channels_inside(ends, start, step, n_channels):
    velocity = start + step * np.arange(n_channels)
    inside = (velocity >= min(ends)) & (velocity <= max(ends))
    doubtful = np.abs(velocity[:, None] - np.array(ends)).min(axis=1) <= 2e-6 * abs(step)
    try:
        part = velocity_slice(ends * KMS, velocity * KMS, "a file")
    except InputError:
        assert not inside[~doubtful].any()
        return
    taken = np.zeros(n_channels, bool)
    taken[part] = True
    np.testing.assert_array_equal(taken[~doubtful], inside[~doubtful])


def test_velocity_ends_are_included_in_spite_of_rounding():
    velocity = (58.7 - 0.82446002 * np.arange(272)) * KMS
    assert velocity_slice((velocity[40], velocity[30]), velocity, "a file") == slice(30, 41)
    in_metres = (velocity[30].to(u.m / u.s), velocity[40].to(u.m / u.s))
    assert velocity_slice(in_metres, velocity, "a file") == slice(30, 41)


def test_velocity_range_outside_the_file_names_what_there_is():
    message = "a file: no channel lies in velocity_range 200 to 300 km/s; the file covers -5.00 to 5.00 km/s"
    with pytest.raises(InputError, match=message):
        velocity_slice((300, 200) * KMS, np.linspace(5, -5, 11) * KMS, "a file")


@pytest.mark.parametrize(
    ("velocity_range", "error", "message"),
    [
        (7 * KMS, ParameterError, "velocity_range must be two velocities"),
        ((1, 2, 3) * KMS, ParameterError, "velocity_range must be two velocities"),
        ((-60, 20), ParameterUnitsError, "velocity_range needs a unit of km / s, got -60"),
        ((1, 2) * u.K, ParameterUnitsError, "velocity_range needs a unit of km / s"),
        ((np.nan, 2) * KMS, ParameterError, "velocity_range must be finite"),
    ],
)
def test_velocity_range_of_the_wrong_kind_is_refused(velocity_range, error, message):
    with pytest.raises(error, match=message):
        velocity_slice(velocity_range, np.arange(5) * KMS, "a file")


def test_circle_is_cut_to_its_bounding_box(celestial):
    (rows, columns), inside = sky_cut(circle(119.5, 0.2, 0.25), celestial, SHAPE, "a file")
    assert (rows, columns) == (slice(10, 15), slice(13, 18))
    row, column = np.mgrid[10:15, 13:18]
    np.testing.assert_array_equal(inside, np.hypot(row - 12, column - 15) < 2.5)


def test_region_over_the_border_is_cut_at_the_border(celestial):
    (rows, columns), inside = sky_cut(circle(121, -1, 0.25), celestial, SHAPE, "a file")
    assert (rows, columns) == (slice(0, 3), slice(0, 3))
    assert inside[0, 0] and not inside[2, 2]


def test_frame_of_the_region_may_differ(celestial):
    region = circle(119.5, 0.2, 0.25)
    other = CircleSkyRegion(region.center.icrs, region.radius)
    box, inside = sky_cut(region, celestial, SHAPE, "a file")
    other_box, other_inside = sky_cut(other, celestial, SHAPE, "a file")
    assert box == other_box
    np.testing.assert_array_equal(inside, other_inside)


def test_several_regions_are_united(celestial):
    both = Regions([circle(120, 0, 0.15), circle(119, 0, 0.15)])
    (rows, columns), inside = sky_cut(both, celestial, SHAPE, "a file")
    assert (rows, columns) == (slice(9, 12), slice(9, 22))
    assert inside[1, 1] and inside[1, 11] and not inside[1, 6]


def test_ds9_file_with_an_excluded_part(celestial, tmp_path):
    path = tmp_path / "field.reg"
    path.write_text("galactic\nbox(119.5,0,0.92,0.52,0)\n-circle(119.5,0,0.05)\n")
    rectangle = RectangleSkyRegion(
        SkyCoord(119.5, 0, unit="deg", frame="galactic"), 0.92 * u.deg, 0.52 * u.deg
    )
    box, whole = sky_cut(rectangle, celestial, SHAPE, "a file")
    for given_path in (path, str(path)):
        file_box, inside = sky_cut(given_path, celestial, SHAPE, "a file")
        assert file_box == box
        assert whole.sum() - inside.sum() == 1 and not inside[2, 4]


def test_file_of_excluded_parts_alone_keeps_the_rest(celestial, tmp_path):
    path = tmp_path / "stars.reg"
    path.write_text("galactic\n-circle(120,0,0.05)\n")
    (rows, columns), inside = sky_cut(path, celestial, SHAPE, "a file")
    assert (rows, columns) == (slice(0, 20), slice(0, 30))
    assert inside.sum() == 599 and not inside[10, 10]


@pytest.mark.parametrize(
    ("region", "error", "message"),
    [
        (circle(80, 0, 0.2), InputError, "region covers no pixel of the field, whose centre is GLON 119.550"),
        (circle(120.05, 0.05, 0.01), InputError, "a file: the region covers no pixel of the field"),
        (
            CirclePixelRegion(PixCoord(5, 5), 2),
            InputError,
            "in pixel coordinates; give it in sky coordinates",
        ),
        (
            PointSkyRegion(SkyCoord(120, 0, unit="deg")),
            InputError,
            "PointSkyRegion covers no area; give a circle",
        ),
        (42, ParameterError, "region must be a regions.SkyRegion or the path of a DS9 region file, got 42"),
        ("nowhere.reg", InputError, "nowhere.reg: no such region file"),
    ],
)
def test_unusable_region_is_refused(celestial, region, error, message):
    with pytest.raises(error, match=message):
        sky_cut(region, celestial, SHAPE, "a file")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no region; save one in DS9 format"),
        ("galactic\ncircle(1,2\n", "holds no region|cannot be read as a DS9 region file"),
        ("image\ncircle(5,5,2)\n", "in pixel coordinates"),
    ],
)
def test_unusable_region_file_is_refused(celestial, tmp_path, text, message):
    path = tmp_path / "field.reg"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        sky_cut(path, celestial, SHAPE, "a file")


def test_binary_file_is_no_region_file(celestial, tmp_path):
    path = tmp_path / "field.reg"
    path.write_bytes(bytes(range(256)))
    with pytest.raises(InputError, match=r"field.reg: cannot be read as a DS9 region file"):
        sky_cut(path, celestial, SHAPE, "a file")
