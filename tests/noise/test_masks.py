"""Masks by hand, and sources that are found."""

from contextlib import nullcontext

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from regions import CirclePixelRegion, CircleSkyRegion, PixCoord, PointSkyRegion, Regions

from hisatools.errors import HISAWarning, InputError, ParameterError, ParameterUnitsError
from hisatools.noise import AutomaticMaskParameters, SkyMask, automatic_mask

CENTRE = SkyCoord("140d 0d", frame="galactic")
N = 41


@pytest.fixture
def cube(make_cube):
    return make_cube(np.random.default_rng(8).normal(20, 3, (4, N, N)))


def inside_circle(x, y, radius_pix):
    rows, columns = np.indices((N, N))
    return (rows - y) ** 2 + (columns - x) ** 2 < radius_pix**2


def test_circle_on_the_sky_and_in_pixels_are_the_same(cube):
    # The field's centre is pixel 20 of 0.3 arcmin.
    on_sky = SkyMask.of(cube).circle(CENTRE, 1.6 * u.arcmin)
    in_pixels = SkyMask.of(cube).circle((20, 20), 1.6 / 0.3)
    assert_array_equal(on_sky.inside, in_pixels.inside)
    assert_array_equal(on_sky.inside, inside_circle(20, 20, 1.6 / 0.3))


def test_position_in_another_frame_is_the_same_place(cube):
    expected = SkyMask.of(cube).circle(CENTRE, 96 * u.arcsec).inside
    assert_array_equal(SkyMask.of(cube).circle(CENTRE.icrs, 1.6 * u.arcmin).inside, expected)


@given(st.lists(st.tuples(st.floats(-5, 45), st.floats(-5, 45), st.floats(0.6, 12)), max_size=4))
@settings(deadline=None, derandomize=True, max_examples=30)
def test_masks_add_up_call_by_call(circles):
    from astropy.wcs import WCS

    mask, expected = SkyMask(np.zeros((N, N), bool), WCS(naxis=2)), np.zeros((N, N), bool)
    for x, y, radius in circles:
        added = inside_circle(x, y, radius)
        with nullcontext() if added.any() else pytest.warns(HISAWarning, match="nothing is added"):
            mask = mask.circle((x, y), radius)
        expected |= added
    assert_array_equal(mask.inside, expected)
    assert len(mask.parts) == len(circles)


def test_earlier_mask_is_not_changed(cube):
    empty = SkyMask.of(cube)
    empty.circle((20, 20), 5)
    assert not empty.inside.any()


def test_ellipse_and_polygon_cover_their_areas(cube):
    ellipse = SkyMask.of(cube).ellipse((20, 20), 30, 10, 90 * u.deg).inside
    assert ellipse.sum() == pytest.approx(np.pi * 15 * 5, rel=0.05)
    assert ellipse.any(axis=1).sum() > ellipse.any(axis=0).sum()
    square = SkyMask.of(cube).polygon([(9.5, 9.5), (19.5, 9.5), (19.5, 24.5), (9.5, 24.5)]).inside
    assert_array_equal(np.argwhere(square)[[0, -1]], [[10, 10], [24, 19]])
    corners = SkyCoord(
        [140.02, 139.98, 139.98, 140.02], [-0.03, -0.03, 0.03, 0.03], unit="deg", frame="galactic"
    )
    assert SkyMask.of(cube).polygon(corners).inside.sum() == pytest.approx(8 * 12, rel=0.25)
    sky = SkyMask.of(cube).ellipse(CENTRE, 6 * u.arcmin, 3 * u.arcmin)
    assert sky.inside.sum() == pytest.approx(np.pi * 10 * 5, rel=0.05)


def test_regions_and_ds9_files_are_added_and_excluded_ones_taken_out(cube, tmp_path):
    path = tmp_path / "mask.reg"
    path.write_text('galactic\ncircle(140,0,120")\n-circle(140,0,60")\n', encoding="utf-8")
    ring = SkyMask.of(cube).region(path)
    expected = inside_circle(20, 20, 2 / 0.3) & ~inside_circle(20, 20, 1 / 0.3)
    assert_array_equal(ring.inside, expected)
    assert ring.parts == (f"mask.reg: {expected.sum()} pixels",)
    both = Regions([CircleSkyRegion(CENTRE, 1 * u.arcmin), CirclePixelRegion(PixCoord(3, 4), 2)])
    added = ring.region(both)
    assert_array_equal(added.inside, expected | inside_circle(20, 20, 1 / 0.3) | inside_circle(3, 4, 2))


def test_masks_of_one_field_can_be_joined(cube, make_cube):
    one, other = (SkyMask.of(cube).circle((x, 10), 3) for x in (5, 30))
    assert_array_equal((one | other).inside, one.inside | other.inside)
    with pytest.raises(InputError, match="cannot be joined"):
        one | SkyMask.of(make_cube(np.ones((3, 5, 5))))


def test_shapes_that_cannot_be_are_refused(cube, tmp_path):
    mask = SkyMask.of(cube)
    with pytest.raises(ParameterUnitsError, match="unit of angle"):
        mask.circle(CENTRE, 3)
    with pytest.raises(ParameterUnitsError, match="number of pixels"):
        mask.circle((3, 4), 3 * u.arcmin)
    with pytest.raises(ParameterError, match="above 0"):
        mask.circle((3, 4), 0)
    with pytest.raises(ParameterError, match="three or more"):
        mask.polygon([(1, 1), (2, 2)])
    with pytest.raises(InputError, match="no area"):
        mask.region(PointSkyRegion(CENTRE))
    with pytest.raises(ParameterError, match="region must be"):
        mask.region(3)
    with pytest.raises(InputError, match="no such region file"):
        mask.region(tmp_path / "none.reg")


BAD_SHAPES = {
    "angle without unit": lambda mask: mask.ellipse((20, 20), 8, 5, 30),
    "angle that is none": lambda mask: mask.ellipse((20, 20), 8, 5, 30 * u.K),
    "text for a centre": lambda mask: mask.circle("ab", 2),
    "three numbers for a centre": lambda mask: mask.circle((1, 2, 3), 2),
    "centre that is nowhere": lambda mask: mask.circle((np.nan, 2), 2),
    "several radii": lambda mask: mask.circle((3, 4), [1, 2]),
    "text for a radius": lambda mask: mask.circle((3, 4), "2"),
    "several angles": lambda mask: mask.circle(CENTRE, [1, 2] * u.arcmin),
    "radius that is no number": lambda mask: mask.circle(CENTRE, np.nan * u.arcmin),
    "several centres": lambda mask: mask.circle(SkyCoord([CENTRE, CENTRE]), 2 * u.arcmin),
    "one corner": lambda mask: mask.polygon(CENTRE),
    "corner that is nowhere": lambda mask: mask.polygon([(1, 1), (9, 1), (5, np.nan)]),
    "corners of three numbers": lambda mask: mask.polygon([(1, 1, 1), (9, 1, 1), (5, 5, 1)]),
    "text for corners": lambda mask: mask.polygon("abc"),
    "number for corners": lambda mask: mask.polygon(3),
    "array for a mask": lambda mask: mask | mask.inside,
    "mask on an array": lambda mask: mask.inside | mask,
}


@pytest.mark.parametrize("shape", BAD_SHAPES.values(), ids=BAD_SHAPES)
def test_nonsense_for_a_shape_is_a_parameter_error(shape, cube):
    with pytest.raises(ParameterError, match=r"must be|needs a unit|only"):
        shape(SkyMask.of(cube))


def test_corners_may_come_from_an_iterator(cube):
    corners = [(9.5, 9.5), (19.5, 9.5), (19.5, 24.5)]
    expected = SkyMask.of(cube).polygon(corners).inside
    assert_array_equal(SkyMask.of(cube).polygon(iter(corners)).inside, expected)


def test_shape_off_the_map_is_said(cube):
    elsewhere = SkyCoord("150d 0d", frame="galactic")
    with pytest.warns(HISAWarning, match=r"circle: .*nothing is added"):
        mask = SkyMask.of(cube).circle(elsewhere, 5 * u.arcmin)
    assert mask.parts == ("circle: 0 pixels",)


# Sources that are found


def field_with_sources(make_cube, peaks, n=96, n_v=3, seed=1):
    """Noise of 3 K over a beam of 3.33 pixels, and one source of the beam's shape for each peak."""
    from hisatools.simulate import correlated_noise

    kelvin = 3 * correlated_noise((n_v, n, n), 10 / 3, 0, np.random.default_rng(seed)) + 30
    y, x = np.indices((n, n))
    places = np.linspace(15, n - 15, len(peaks))
    for place, peak in zip(places, peaks, strict=True):
        kelvin += peak * np.exp(-4 * np.log(2) * ((y - place) ** 2 + (x - place) ** 2) / (10 / 3) ** 2)
    return make_cube(kelvin), places.round().astype(int)


def test_sources_in_emission_and_absorption_are_found_and_little_else(make_cube):
    cube, places = field_with_sources(make_cube, [60, -60, 150, -40])
    found = automatic_mask(cube)
    assert found.mask[:, places, places].all()
    assert found.stable
    assert found.rounds[0].n_sources == 4 * 3
    assert found.rounds[-1].n_sources == 0
    assert found.mask.mean() < 0.06
    assert found.report().splitlines()[0].startswith("round 1: 12 sources masked, 0 of them bright")
    assert "no sources to mask" in found.report().splitlines()[-1]


def test_disks_grow_with_the_factor_and_twice_for_bright_sources(make_cube):
    cube, _ = field_with_sources(make_cube, [100])
    sizes = [
        automatic_mask(cube, parameters=AutomaticMaskParameters(**change)).mask.sum()
        for change in ({"radius_factor": 1.5}, {}, {"bright": 50 * u.K})
    ]
    assert sizes[1] / sizes[0] == pytest.approx((2 / 1.5) ** 2, rel=0.15)
    assert sizes[2] / sizes[1] == pytest.approx(4, rel=0.15)


def test_noise_alone_is_hardly_masked(make_cube):
    cube, _ = field_with_sources(make_cube, [], n=160, n_v=8)
    assert automatic_mask(cube).mask.mean() < 2e-3


def test_a_given_mask_is_kept_and_not_found_again(make_cube):
    cube, places = field_with_sources(make_cube, [100, 100])
    by_hand = SkyMask.of(cube).circle((places[0], places[0]), 8)
    found = automatic_mask(cube, mask=by_hand)
    assert found.mask[:, by_hand.inside].all()
    assert found.rounds[0].n_sources == 3
    again = automatic_mask(cube, mask=found)
    assert again.rounds[0].n_sources == 0
    assert_array_equal(again.mask, found.mask)


def test_it_stops_when_several_rounds_find_nothing_or_at_the_last(make_cube):
    cube, _ = field_with_sources(make_cube, [100])
    patient = automatic_mask(cube, parameters=AutomaticMaskParameters(stable_rounds=3))
    assert [one.n_sources for one in patient.rounds[-3:]] == [0, 0, 0]
    hasty = automatic_mask(cube, parameters=AutomaticMaskParameters(max_rounds=1))
    assert len(hasty.rounds) == 1
    assert not hasty.stable


def test_workers_and_blank_channels_change_nothing_elsewhere(make_cube):
    cube, _ = field_with_sources(make_cube, [100, -50])
    expected = automatic_mask(cube).mask
    assert_array_equal(automatic_mask(cube, workers=3).mask, expected)
    kelvin = cube.kelvin.copy()
    kelvin[1] = np.nan
    found = automatic_mask(cube.with_brightness(kelvin)).mask
    assert_array_equal(found[[0, 2]], expected[[0, 2]])
    assert not found[1].any()


@pytest.mark.parametrize("shape", [(1, 1, 1), (30, 1, 1), (1, 40, 40), (3, 2, 50)])
def test_any_shape_has_a_mask_of_that_shape(shape, make_cube):
    kelvin = np.random.default_rng(3).normal(size=shape)
    for values in (kelvin, np.full(shape, np.nan)):
        # A sky of less than five beams, where nothing can be found, is said.
        small = pytest.warns(HISAWarning, match="none were looked for")
        with nullcontext() if shape[1] == 40 else small:
            found = automatic_mask(make_cube(values))
        assert found.mask.shape == shape
        assert found.mask.mean() < (0.05 if values is kelvin else 1e-9)
