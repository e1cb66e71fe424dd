"""Priors from maps of all kinds, catalogues, regions and functions: the right value at each place."""

import functools
import gzip
import sys
import warnings

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import FK5, ICRS, BarycentricMeanEcliptic, Galactic, SkyCoord
from astropy.io import fits
from astropy.table import QTable, Table
from astropy.utils.masked import Masked
from astropy.wcs import WCS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from regions import CirclePixelRegion, CircleSkyRegion, PixCoord, PointSkyRegion, Regions

from hisatools import HISACube
from hisatools.errors import HISAWarning, InputError, MendWarning, ParameterError, ParameterUnitsError
from hisatools.significance.prior import SpatialPrior
from hisatools.significance.prior_sources import kind_of_file

UNSEEN = -1.6375e30
KMS = u.km / u.s
QUICK = settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(autouse=True)
def healpix():
    return pytest.importorskip("astropy_healpix")


def make_wcs(shape, kind="GLON", projection="CAR", step=0.05, centre=(140.0, 0.0), channel=-824.46):
    n_v, n_y, n_x = shape
    lat = {"GLON": "GLAT", "RA--": "DEC-", "ELON": "ELAT"}[kind]
    wcs = WCS(naxis=3)
    wcs.wcs.ctype = f"{kind}-{projection}", f"{lat}-{projection}", "VRAD"
    wcs.wcs.cunit = "deg", "deg", "m/s"
    wcs.wcs.crval = *centre, -40e3
    wcs.wcs.crpix = (n_x + 1) / 2, (n_y + 1) / 2, (n_v + 1) / 2
    wcs.wcs.cdelt = -step, step, channel
    wcs.wcs.specsys, wcs.wcs.restfrq = "LSRK", 1420405751.77
    wcs.wcs.set()
    return wcs


def make_cube(shape=(4, 12, 15), **axes):
    kelvin = np.random.default_rng(6020).random(shape).astype(np.float32)
    return HISACube(kelvin * u.K, make_wcs(shape, **axes))


def sky_of(cube):
    """Positions of the pixels, written out; wcs_pix2world knows all frames that the package knows."""
    frame = {"GLON": Galactic(), "RA": ICRS(), "ELON": BarycentricMeanEcliptic()}
    y, x = np.indices(cube.shape[1:])
    lon, lat = cube.wcs.celestial.wcs_pix2world(x.ravel(), y.ravel(), 0)
    sky = SkyCoord(lon, lat, unit="deg", frame=frame[cube.wcs.wcs.ctype[0].split("-")[0]])
    return sky.reshape(cube.shape[1:])


def smooth_sky(lon_deg, lat_deg):
    """A smooth function on the whole sky, positive."""
    lon, lat = np.radians(lon_deg), np.radians(lat_deg)
    return 2 + np.cos(lat) * np.cos(lon - 1) + 0.5 * np.sin(2 * lat)


CUBES = {
    "galactic": {},
    "equatorial": {"kind": "RA--", "projection": "TAN", "centre": (83.0, 22.0)},
    "ecliptic": {"kind": "ELON", "centre": (83.0, 0.0)},
    "seam": {"centre": (0.0, 0.0)},
    "pole": {"kind": "RA--", "projection": "TAN", "centre": (10.0, 89.9)},
}
FRAMES = {"galactic": Galactic(), "icrs": ICRS(), "ecliptic": BarycentricMeanEcliptic()}


# --- HEALPix ----------------------------------------------------------------------------------


@functools.cache
def healpix_values(healpix, nside, order):
    lon, lat = healpix.healpix_to_lonlat(np.arange(12 * nside**2), nside, order=order)
    return smooth_sky(lon.deg, lat.deg)


def write_healpix(path, columns, **cards):
    columns = [fits.Column(name, format, array=array) for name, format, array in columns]
    table = fits.BinTableHDU.from_columns(columns)
    table.header.update({name: value for name, value in cards.items() if value is not None})
    table.writeto(path)
    return path


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("name", CUBES)
def test_an_array_gives_the_function_that_was_put_in(healpix, name, frame):
    cube = make_cube(**CUBES[name])
    places = sky_of(cube).transform_to(FRAMES[frame]).spherical
    expected = smooth_sky(places.lon.deg, places.lat.deg)
    for nside, tolerance in ((32, 4e-3), (128, 3e-4)):
        values = healpix_values(healpix, nside, "ring")
        prior = SpatialPrior.from_healpix(values, cube, frame=frame)
        # At the pole itself four pixels are all there is to interpolate between.
        assert_allclose(prior.probability, expected, rtol=tolerance * (20 if name == "pole" else 1))


@pytest.mark.parametrize("nside", [1, 4, 128])
@pytest.mark.parametrize("order", ["ring", "nested"])
def test_ring_and_nested_are_interpolated_as_astropy_healpix_does(healpix, nside, order):
    cube = make_cube(**CUBES["equatorial"])
    values = np.random.default_rng(6021).random(12 * nside**2)
    places = sky_of(cube).galactic
    expected = healpix.interpolate_bilinear_lonlat(places.l, places.b, values, order=order)
    prior = SpatialPrior.from_healpix(values, cube, nested=order == "nested", frame="galactic")
    assert_allclose(prior.probability, expected, rtol=1e-12)
    assert prior.meta["nside"] == nside
    assert prior.wcs.naxis == 2


@pytest.mark.parametrize(
    ("ordering", "system", "frame"),
    [
        ("RING", "G", Galactic()),
        ("NESTED", "G", Galactic()),
        ("RING", "EQU", ICRS()),
        ("NESTED", "E", BarycentricMeanEcliptic()),
        ("RING", "J2000", FK5()),
        ("NESTED", "FK5", FK5()),
    ],
)
def test_a_file_says_its_order_and_frame(healpix, tmp_path, ordering, system, frame):
    cube = make_cube(**CUBES["equatorial"])
    values = healpix_values(healpix, 64, ordering.lower())
    path = write_healpix(
        tmp_path / "dust.fits",
        [("OTHER", "E", 0 * values), ("TAU", "E", values)],
        PIXTYPE="HEALPIX",
        ORDERING=ordering,
        COORDSYS=system,
        NSIDE=64,
    )
    places = sky_of(cube).transform_to(frame).spherical
    for column in ("tau", 1):
        prior = SpatialPrior.from_healpix(path, cube, column=column)
        assert_allclose(prior.probability, smooth_sky(places.lon.deg, places.lat.deg), rtol=2e-3)
    assert prior.name == "dust.fits"
    assert not SpatialPrior.read(path, cube).probability.any()


def test_rows_of_many_pixels_are_one_map(healpix, tmp_path):
    values = healpix_values(healpix, 32, "ring")
    path = write_healpix(
        tmp_path / "rows.fits", [("T", "1024E", values.reshape(-1, 1024))], ORDERING="RING", COORDSYS="G"
    )
    cube = make_cube()
    expected = SpatialPrior.from_healpix(values, cube).probability
    assert_allclose(SpatialPrior.from_healpix(path, cube).probability, expected, rtol=1e-6)


@pytest.mark.parametrize("order", ["ring", "nested"])
def test_a_part_of_the_sky_is_as_good_as_the_whole_where_it_is(healpix, tmp_path, order):
    cube = make_cube()
    values = np.random.default_rng(6022).random(12 * 64**2)
    pixels = healpix.HEALPix(64, order).cone_search_lonlat(140 * u.deg, 0 * u.deg, 4 * u.deg)
    pixels = np.random.default_rng(1).permutation(pixels)
    path = write_healpix(
        tmp_path / "part.fits",
        [("PIXEL", "J", pixels), ("P", "D", values[pixels])],
        ORDERING=order.upper(),
        COORDSYS="G",
        NSIDE=64,
        INDXSCHM="EXPLICIT",
        OBJECT="PARTIAL",
    )
    prior = SpatialPrior.read(path, cube)
    expected = SpatialPrior.from_healpix(values, cube, nested=order == "nested").probability
    assert_allclose(prior.probability, expected, rtol=1e-12)
    with pytest.raises(InputError, match="says nothing about the field, whose centre is GLON 300"):
        SpatialPrior.read(path, make_cube(centre=(300.0, 0.0)))


@pytest.mark.parametrize("nside", [4, 4.0, "4", " 4 "])
@pytest.mark.parametrize("whole", [True, False])
def test_nside_may_be_written_as_another_kind_of_number(tmp_path, nside, whole):
    values = np.random.default_rng(6050).random(192)
    columns = [("T", "D", values)] if whole else [("PIXEL", "J", np.arange(192)), ("T", "D", values)]
    path = write_healpix(tmp_path / "dust.fits", columns, ORDERING="RING", COORDSYS="G", NSIDE=nside)
    expected = SpatialPrior.from_healpix(values, make_cube()).probability
    assert_array_equal(SpatialPrior.read(path, make_cube()).probability, expected)


def test_pixels_of_a_masked_array_are_not_known():
    values = np.random.default_rng(6051).random(12 * 64**2)
    hidden = values > 0.8
    plain = np.where(hidden, np.nan, values)
    expected = SpatialPrior.from_healpix(plain, make_cube(), floor=0.1).probability
    for masked in (np.ma.array(values, mask=hidden), Masked(values * u.K, mask=hidden)):
        found = SpatialPrior.from_healpix(masked, make_cube(), floor=0.1).probability
        assert_array_equal(found, expected)
    with pytest.raises(InputError, match="says nothing about the field"):
        SpatialPrior.from_healpix(np.ma.array(values, mask=True), make_cube())


@pytest.mark.filterwarnings("ignore:.*not covered or blank")
@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("part", [True, False])
def test_finer_healpix_pixels_are_averaged_over_those_that_are_known(healpix, tmp_path, nested, part):
    """Pixels of nside 256 (14 arcmin), four by four as large as those of nside 64 (55 arcmin)."""
    cube = make_cube((4, 6, 7), step=1.0)
    rng = np.random.default_rng(6052)
    fine = rng.random((12 * 64**2, 16))
    fine[rng.random(fine.shape) < 0.3] = UNSEEN
    fine[::50] = np.nan
    known = fine >= 0
    with np.errstate(invalid="ignore"):
        means = np.sum(fine, axis=1, where=known) / known.sum(axis=1)
    expected = SpatialPrior.from_healpix(means, cube, nested=True, floor=0.1).probability
    values, pixels = fine.ravel(), np.arange(fine.size)
    if not nested:
        pixels = healpix.HEALPix(256).nested_to_ring(pixels)
        values = values[np.argsort(pixels)]
    source = values
    if part:
        # All pixels within a few coarser ones of the field.
        lon, lat = healpix.healpix_to_lonlat(np.arange(means.size), 64, order="nested")
        near = SkyCoord(lon, lat, frame="galactic").separation(SkyCoord("140d 0d", frame="galactic")).deg < 9
        pixels = np.sort(pixels.reshape(-1, 16)[near].ravel())
        columns = [("PIXEL", "J", pixels), ("P", "D", values[pixels])]
        order = "NESTED" if nested else "RING"
        source = write_healpix(tmp_path / "p.fits", columns, ORDERING=order, COORDSYS="G", NSIDE=256)
    prior = SpatialPrior.from_healpix(source, cube, nested=nested, floor=0.1)
    assert_allclose(prior.probability, expected, rtol=1e-12)
    assert prior.meta["nside"] == 256


def test_noise_of_finer_healpix_pixels_averages_out(monkeypatch):
    """With 19 pixels of nside 512 in one of the cube, the scatter is at most that of their mean."""
    from hisatools.significance import prior_healpix

    cube = make_cube((4, 30, 40), step=0.5)
    values = np.random.default_rng(6053).random(12 * 512**2)
    found = SpatialPrior.from_healpix(values, cube).probability
    assert found.mean() == pytest.approx(0.5, abs=0.01)
    assert 0.03 < found.std() < 1 / np.sqrt(12 * 16)
    # Neither blocks nor a map finer than any pixel change a value.
    monkeypatch.setattr(prior_healpix, "PIXELS_PER_BLOCK", 1000)
    assert_array_equal(SpatialPrior.from_healpix(values, cube).probability, found)


def test_a_healpix_map_finer_than_the_pixels_only_in_the_mean_is_left_as_it_is(healpix):
    cube = make_cube((4, 6, 7), step=0.5)
    values = np.random.default_rng(6054).random(12 * 128**2)
    places = sky_of(cube)
    expected = healpix.interpolate_bilinear_lonlat(places.l, places.b, values, order="ring")
    assert_allclose(SpatialPrior.from_healpix(values, cube).probability, expected, rtol=1e-12)


@pytest.mark.parametrize("unknown", [np.nan, np.float32(UNSEEN)])
def test_what_is_unseen_is_not_known_and_is_said(healpix, unknown):
    cube = make_cube()
    lon, _ = healpix.healpix_to_lonlat(np.arange(12 * 128**2), 128)
    values = np.where(lon.deg > 140, unknown, 1.0)
    with pytest.warns(HISAWarning, match=r"36\.7% of the field is not covered or blank; the prior is 0, so"):
        prior = SpatialPrior.from_healpix(values, cube)
    assert set(np.unique(prior.probability)) == {0.0, 1.0}
    away = np.abs(sky_of(cube).l.deg - 140) > 0.31
    assert_array_equal(prior.probability[away] == 1, (sky_of(cube).l.deg < 140)[away])
    with pytest.warns(HISAWarning, match="the prior is 0.1 of the largest value there"):
        assert SpatialPrior.from_healpix(values, cube, floor=0.1).probability.min() == 0.1


def test_a_header_that_says_little_is_taken_as_galactic_and_ring_with_a_word(healpix, tmp_path):
    values = healpix_values(healpix, 16, "ring")
    path = write_healpix(tmp_path / "bare.fits", [("T", "D", values)])
    cube = make_cube()
    with pytest.warns(MendWarning) as said:
        prior = SpatialPrior.read(path, cube)
    assert {"ORDERING", "COORDSYS"} == {str(one.message).split(": ")[1].split()[0] for one in said}
    assert_allclose(prior.probability, SpatialPrior.from_healpix(values, cube).probability)
    assert_allclose(
        SpatialPrior.read(path, cube, nested=True, frame="icrs").probability,
        SpatialPrior.from_healpix(values, cube, nested=True, frame=ICRS()).probability,
    )


@pytest.mark.parametrize(
    ("cards", "column", "message"),
    [
        ({"ORDERING": "SPIRAL", "COORDSYS": "G"}, None, "ORDERING 'SPIRAL' is not understood"),
        ({"ORDERING": "RING", "COORDSYS": "X"}, None, "COORDSYS 'X' is not understood"),
        ({"ORDERING": "RING", "COORDSYS": "G", "NSIDE": 8}, None, "NSIDE is 8, but 192 pixels make nside 4"),
        ({"ORDERING": "RING", "COORDSYS": "G"}, "CO", "no column 'CO'; it has T, NAME"),
        ({"ORDERING": "RING", "COORDSYS": "G"}, 2, "no column 2"),
        ({"ORDERING": "RING", "COORDSYS": "G"}, True, "no column True"),
        ({"ORDERING": "RING", "COORDSYS": "G"}, "name", "does not hold one number for each pixel"),
        ({"ORDERING": "RING", "COORDSYS": "G", "INDXSCHM": "EXPLICIT"}, "name", "does not hold one number"),
    ],
)
def test_files_that_are_not_understood_say_why(tmp_path, cards, column, message):
    columns = [("T", "D", np.ones(192)), ("NAME", "4A", ["a"] * 192)]
    path = write_healpix(tmp_path / "bad.fits", columns, **cards)
    with pytest.raises((InputError, ParameterError), match=message):
        SpatialPrior.from_healpix(path, make_cube(), column=column)


@pytest.mark.parametrize(
    ("columns", "nside", "message"),
    [
        ([("PIXEL", "J", [0, 200]), ("T", "D", [1, 1])], 4, "pixel numbers do not fit NSIDE = 4"),
        ([("PIXEL", "J", [0, 2]), ("T", "D", [1, 1])], None, "nside None is no power of two"),
        ([("PIXEL", "J", [0, 2]), ("T", "D", [1, 1])], 6, "nside 6 is no power of two"),
        (
            [("PIXEL", "J", [0, 2]), ("T", "2D", [[1, 1], [1, 1]])],
            4,
            "does not hold one number for each pixel",
        ),
        ([("UNIQ", "J", [4, 5]), ("T", "D", [1, 1])], 4, "several resolutions"),
        ([("T", "D", np.ones(100))], None, "12 nside\\^2 pixels"),
        ([("T", "D", np.ones(12 * 9))], None, "nside 3 is no power of two"),
    ],
)
def test_pixel_numbers_must_make_sense(tmp_path, columns, nside, message):
    path = write_healpix(tmp_path / "bad.fits", columns, ORDERING="RING", COORDSYS="G", NSIDE=nside)
    with pytest.raises(InputError, match=message):
        SpatialPrior.from_healpix(path, make_cube())


@pytest.mark.parametrize(
    ("source", "settings", "message"),
    [
        (np.ones((3, 4)), {}, "has the shape"),
        (np.ones(48), {"frame": "atlantis"}, "frame 'atlantis' is not known"),
        (np.ones(48), {"nested": "yes"}, "nested must be True, False or None, got 'yes'"),
        (np.ones(48), {"column": 1}, "column=1 is for files"),
        (np.ones(48), {"floor": 1}, "must be below 1, got 1"),
        (np.ones(48), {"floor": -0.1}, "floor must be finite and at least 0"),
        (np.ones(48), {"smoothing": 3}, "smoothing needs a unit of deg"),
        (np.ones(48), {"smoothing": 3 * KMS}, "smoothing needs a unit of deg"),
        (object(), {}, "source must be the path of a HEALPix file or an array of numbers"),
        (np.full(48, np.inf), {}, "holds infinite values"),
        (np.full(48, np.nan), {}, "says nothing about the field"),
    ],
)
def test_arguments_that_cannot_be_are_named(source, settings, message):
    with pytest.raises((InputError, ParameterError), match=message):
        SpatialPrior.from_healpix(source, make_cube(), **settings)


def test_a_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "astropy_healpix", None)
    with pytest.raises(ParameterError, match=r'pip install "hisatools\[significance\]"'):
        SpatialPrior.from_healpix(np.ones(48), make_cube())


def test_a_spectrum_without_a_position_has_no_prior_on_the_sky():
    temperature, velocity = np.arange(5.0) * u.K, np.arange(5) * KMS
    with pytest.raises(InputError, match="the spectrum has no position"):
        SpatialPrior.from_healpix(np.ones(48), HISACube.from_spectrum(temperature, velocity))
    here = SkyCoord("140d 0d", frame="galactic")
    spectrum = HISACube.from_spectrum(temperature, velocity, position=here)
    assert SpatialPrior.from_healpix(np.ones(48), spectrum, smoothing=1 * u.deg).probability.shape == (1, 1)


def test_a_file_without_a_table_or_cut_off_is_no_healpix_map(tmp_path):
    fits.PrimaryHDU(np.ones((3, 3))).writeto(tmp_path / "image.fits")
    with pytest.raises(InputError, match="holds no table, so no HEALPix map"):
        SpatialPrior.from_healpix(tmp_path / "image.fits", make_cube())
    path = write_healpix(
        tmp_path / "whole.fits", [("T", "D", np.ones(12 * 64**2))], ORDERING="RING", COORDSYS="G"
    )
    (tmp_path / "cut.fits").write_bytes(path.read_bytes()[:20000])
    with pytest.raises(InputError, match="truncated or damaged"):
        SpatialPrior.from_healpix(tmp_path / "cut.fits", make_cube())


# --- floor and smoothing ----------------------------------------------------------------------


def test_a_constant_stays_constant_under_smoothing_also_at_borders_and_blanks():
    cube = make_cube()

    def patchy(sky):
        return np.where((sky.l.deg * 7).astype(int) % 3 == 0, np.nan, 0.7)

    with pytest.warns(HISAWarning, match="of the field is not covered"):
        found = SpatialPrior.from_function(patchy, cube, smoothing=10 * u.arcmin).probability
    assert_allclose(found[found > 0], 0.7, rtol=1e-12)
    assert_array_equal(found == 0, np.isnan(patchy(sky_of(cube))))


@pytest.mark.parametrize("fwhm", [9, 30, 600] * u.arcmin)
def test_smoothing_is_that_of_a_gaussian_on_the_sky(fwhm):
    """A Gaussian smoothed with a Gaussian is a wider one, within the field and beside it."""
    cube = make_cube((4, 21, 25))
    centre, sigma_deg = (140.4, 0.2), 0.25
    sky = sky_of(cube)

    def blob(lon_deg, lat_deg, sigma):
        return np.exp(-((lon_deg - centre[0]) ** 2 + (lat_deg - centre[1]) ** 2) / (2 * sigma**2))

    found = SpatialPrior.from_function(
        lambda sky: blob(sky.l.deg, sky.b.deg, sigma_deg), cube, smoothing=fwhm
    )
    wide = np.hypot(sigma_deg, fwhm.to_value(u.deg) / np.sqrt(8 * np.log(2)))
    expected = (sigma_deg / wide) ** 2 * blob(sky.l.deg, sky.b.deg, wide)
    assert_allclose(found.probability, expected, rtol=2e-3, atol=2e-3 * expected.max())


def test_smoothing_uses_what_lies_outside_the_field(healpix):
    small, large = make_cube((4, 8, 8)), make_cube((4, 60, 60))
    values = np.random.default_rng(6023).random(12 * 128**2)
    inner, outer = (
        SpatialPrior.from_healpix(values, cube, smoothing=20 * u.arcmin).probability
        for cube in (small, large)
    )
    assert_allclose(inner, outer[26:34, 26:34], rtol=1e-9)


def test_wide_smoothing_samples_coarsely_and_changes_little(healpix, monkeypatch):
    from hisatools.significance import prior_grid

    cube = make_cube()
    values = healpix_values(healpix, 64, "ring") * np.random.default_rng(6024).random(12 * 64**2)
    coarse = SpatialPrior.from_healpix(values, cube, smoothing=3 * u.deg).probability
    monkeypatch.setattr(prior_grid, "_step", lambda *_: 1)
    fine = SpatialPrior.from_healpix(values, cube, smoothing=3 * u.deg).probability
    assert_allclose(coarse, fine, rtol=1e-2)


def test_there_are_never_too_many_samples(monkeypatch):
    from hisatools.significance import prior_grid

    monkeypatch.setattr(prior_grid, "MAX_SAMPLES", 20_000)
    grid = prior_grid.sky_grid(make_cube(), 5 * u.deg)
    assert np.prod(grid.shape) <= 21_000
    assert grid.step <= grid.sigma_pix / 4


def test_smoothing_below_a_pixel_does_nothing_and_says_so(healpix):
    values, cube = np.random.default_rng(6025).random(12 * 64**2), make_cube()
    with pytest.warns(HISAWarning, match=r"smoothing=1.0 arcmin is below a pixel of 3 arcmin"):
        prior = SpatialPrior.from_healpix(values, cube, smoothing=1 * u.arcmin)
    assert_array_equal(prior.probability, SpatialPrior.from_healpix(values, cube).probability)


def test_far_from_a_region_zero_stays_zero():
    cube = make_cube((4, 40, 40))
    circle = CirclePixelRegion(PixCoord(5, 5), 2)
    prior = SpatialPrior.from_regions(circle, cube, smoothing=9 * u.arcmin)
    assert prior.probability[30:, 30:].max() == 0
    assert 0 < prior.probability[5, 10] < prior.probability[5, 5]


@QUICK
@given(st.integers(0, 2**32), st.floats(0, 0.9), st.sampled_from([None, 4 * u.arcmin, 20 * u.arcmin]))
def test_floor_and_smoothing_keep_the_prior_within_its_bounds(seed, floor, smoothing):
    values = np.random.default_rng(seed).random((14, 17)) ** 4
    cube = make_cube()
    axes = make_wcs((3, 14, 17)).celestial
    plain = SpatialPrior.from_map((values, axes), cube, smoothing=smoothing).probability
    found = SpatialPrior.from_map((values, axes), cube, smoothing=smoothing, floor=floor).probability
    assert plain.min() >= 0
    assert plain.max() <= values.max() * (1 + 1e-9)
    assert_array_equal(found, np.maximum(plain, floor * plain.max()))


# --- maps and cubes with a WCS ----------------------------------------------------------------


def map_of(function, wcs, shape):
    y, x = np.indices(shape)
    lon, lat = wcs.wcs_pix2world(x.ravel(), y.ravel(), 0)
    return function(lon, lat).reshape(shape)


@pytest.mark.parametrize(
    ("name", "flipped"), [("galactic", False), ("galactic", True), ("equatorial", True), ("ecliptic", False)]
)
@pytest.mark.parametrize("kind", ["GLON", "RA--", "ELON"])
def test_a_map_in_any_frame_gives_the_function_that_was_put_in(name, kind, flipped):
    cube = make_cube(**CUBES[name])
    frame = {"GLON": Galactic(), "RA--": ICRS(), "ELON": BarycentricMeanEcliptic()}[kind]
    places = sky_of(cube).transform_to(frame).spherical
    centre = places[6, 7]
    wcs = make_wcs((3, 70, 70), kind, "TAN", 0.02, (centre.lon.deg, centre.lat.deg)).celestial
    if flipped:
        wcs.wcs.cdelt = -wcs.wcs.cdelt
        wcs.wcs.set()
    values = map_of(smooth_sky, wcs, (70, 70))
    found = SpatialPrior.from_map((values, wcs), cube).probability
    assert_allclose(found, smooth_sky(places.lon.deg, places.lat.deg), rtol=1e-6)


@pytest.mark.parametrize("crpix", [0.5, 180.5, 100.5, 360.5])
def test_an_all_sky_map_has_no_seam(crpix):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.cunit = ("GLON-CAR", "GLAT-CAR"), ("deg", "deg")
    wcs.wcs.crval, wcs.wcs.crpix, wcs.wcs.cdelt = (180, 0), (crpix, 90.5), (-1, 1)
    # Written out: the library knows no place more than half a turn from the reference.
    lat, lon = np.arange(180)[:, None] - 89.5, 180 - (np.arange(360) + 1 - crpix)
    values = smooth_sky(lon, lat)
    seam = 180.5 - 0.5 + crpix - 0.5
    for lon in (0, 181, 300, seam % 360):
        cube = make_cube(centre=(lon, 0.0))
        sky = sky_of(cube)
        found = SpatialPrior.from_map((values, wcs), cube).probability
        assert_allclose(found, smooth_sky(sky.l.deg, sky.b.deg), rtol=1e-4)


def test_the_other_side_of_the_sky_is_not_in_a_map():
    wcs = make_wcs((3, 40, 40), projection="TAN").celestial
    with pytest.raises(InputError, match="says nothing about the field"):
        SpatialPrior.from_map((np.ones((40, 40)), wcs), make_cube(centre=(320.0, 0.0)))


def test_the_map_of_the_cube_itself_is_unchanged():
    cube = make_cube()
    values = np.random.default_rng(6026).random(cube.shape[1:])
    found = SpatialPrior.from_map((values, cube.wcs.celestial), cube).probability
    assert_allclose(found, values, rtol=1e-9)
    assert_allclose(SpatialPrior.from_map(cube, cube).probability, cube.kelvin, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("shape", [(30, 40), (6, 30, 40)])
@pytest.mark.parametrize("flipped", [False, True])
def test_zero_excludes_on_the_same_pixels_whatever_the_rounding_of_the_wcs(shape, flipped):
    cube = make_cube((6, 30, 40), step=1 / 60)
    values = np.zeros(shape)
    values[..., 10:20, 10:20] = 1
    axes = make_wcs((6, 30, 40), step=1 / 60)
    if values.ndim == 3:
        values[[0, 2, 3]] = 0
    if flipped:
        axes.wcs.crpix = 41 - axes.wcs.crpix[0], *axes.wcs.crpix[1:]
        axes.wcs.cdelt = axes.wcs.cdelt * [-1, 1, 1]
    axes = axes if values.ndim == 3 else axes.celestial
    prior = SpatialPrior.from_map((values[..., ::-1] if flipped else values, axes), cube)
    assert_array_equal(prior.probability, values)
    assert_array_equal(prior.apply(np.full(cube.shape, 150.0)) > 0, np.broadcast_to(values > 0, cube.shape))


def test_zero_excludes_in_channels_averaged_from_finer_ones():
    cube = make_cube((4, 3, 3), channel=-700.3)
    values = np.zeros((28, 3, 3))
    values[7:14] = 1
    found = SpatialPrior.from_map((values, make_wcs((28, 3, 3), channel=-100.042857142857)), cube).probability
    assert_array_equal(found[[0, 2, 3]], np.zeros((3, 3, 3)))
    assert_allclose(found[1], 1)


def test_what_is_masked_in_a_map_is_not_known():
    cube = make_cube((4, 10, 10))
    values = np.random.default_rng(6055).random((10, 10)).astype(np.float32)
    values[:, :5] = 1e6
    masked = np.ma.array(values, mask=values > 1)
    for source in (masked, Masked(values, mask=values > 1), Masked(values * u.K, mask=values > 1)):
        with pytest.warns(HISAWarning, match=r"50\.0% of the field is not covered or blank"):
            prior = SpatialPrior.from_map((source, cube.wcs.celestial), cube)
        assert_allclose(prior.probability, np.where(values > 1, 0, values))
    counts = np.ma.array(np.arange(100).reshape(10, 10), mask=False)
    counts[5:] = np.ma.masked
    with pytest.warns(HISAWarning, match=r"50\.0% of the field"):
        prior = SpatialPrior.from_map((counts, cube.wcs.celestial), cube)
    assert_array_equal(prior.probability[5:], np.zeros((5, 10)))


def test_finer_pixels_are_averaged_and_blanks_among_them_left_out():
    cube = make_cube((4, 6, 7))
    rng = np.random.default_rng(6027)
    fine = rng.random((6, 4, 7, 4))
    fine[rng.random(fine.shape) < 0.2] = np.nan
    wcs = make_wcs((3, 24, 28), step=0.05 / 4).celestial
    found = SpatialPrior.from_map((fine.reshape(24, 28), wcs), cube).probability
    assert_allclose(found, np.nanmean(fine, axis=(1, 3)), rtol=1e-9)
    # Rows and columns that are left over belong to a pixel that is partly there.
    part = SpatialPrior.from_map((fine.reshape(24, 28)[:23, :25], wcs), cube).probability
    assert_allclose(part[:5, :6], np.nanmean(fine, axis=(1, 3))[:5, :6], rtol=1e-9)
    assert (part > 0).all()


def test_a_map_of_part_of_the_field_is_unknown_beside_it():
    cube = make_cube((4, 10, 10))
    wcs = cube.wcs.celestial[:, 5:]
    with pytest.warns(HISAWarning, match=r"50\.0% of the field is not covered or blank; the prior is 0, so"):
        prior = SpatialPrior.from_map((np.ones((10, 5)), wcs), cube)
    assert_array_equal(prior.probability, np.repeat([[0] * 5 + [1] * 5], 10, axis=0))
    assert prior.meta["unknown"] == 0.5
    with pytest.raises(InputError, match="compare the frames"):
        SpatialPrior.from_map((np.ones((10, 5)), wcs), make_cube(centre=(20.0, 0.0)))


def test_negative_noise_becomes_zero_after_smoothing_and_is_said():
    cube = make_cube((4, 30, 30))
    values = np.random.default_rng(6028).normal(0.5, 1, (30, 30))
    pair = values, cube.wcs.celestial
    with pytest.warns(HISAWarning, match=r"3\d\.\d% of the values are negative and become 0"):
        prior = SpatialPrior.from_map(pair, cube)
    assert_allclose(prior.probability, np.maximum(values, 0), atol=1e-9)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        smoothed = SpatialPrior.from_map(pair, cube, smoothing=30 * u.arcmin)
    assert smoothed.probability.mean() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(
    ("order", "spectral"),
    [
        *(("vyx", one) for one in ("falling", "rising", "km/s", "frequency", "finer", "coarser")),
        *((order, one) for order in ("xyv", "yxv", "vyx1") for one in ("rising", "frequency")),
    ],
)
def test_a_cube_is_read_in_any_order_and_with_any_velocity_axis(tmp_path, order, spectral):
    cube = make_cube((6, 8, 9))
    path = tmp_path / "co.fits"
    header, velocity = spectral_header(spectral)
    y, x = np.indices((8, 9))
    # Linear along each axis, so that neither interpolation nor averages change it.
    values = 3 + 0.1 * (velocity[:, None, None] + 40) + 0.05 * y - 0.02 * x
    write_cube(path, values.astype(np.float32), cube.wcs.celestial, header, order)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MendWarning)
        prior = SpatialPrior.read(path, cube)
    expected = 3 + 0.1 * (cube.velocity.value[:, None, None] + 40) + 0.05 * y - 0.02 * x
    # Channels that lie in part in one of the cube's count in part, as if they were constant.
    assert_allclose(prior.probability, expected, atol=1e-3 if spectral == "finer" else 1e-4)
    prior.check_axes(cube)


def spectral_header(kind):
    """Cards of the spectral axis and its velocities in km/s; all reach beyond the cube."""
    step = {"rising": 0.82446, "finer": -0.25, "coarser": -2.0}.get(kind, -0.82446)
    offset = np.arange(41) - 20.0
    velocity = -40 + step * offset
    cards = {"CTYPE": "VRAD", "CUNIT": "m/s", "CRVAL": -40e3, "CDELT": step * 1e3, "CRPIX": 21}
    if kind == "km/s":
        cards |= {"CUNIT": "km/s", "CRVAL": -40.0, "CDELT": step}
    if kind == "frequency":
        rest, light = 115.271202e9, 299792.458
        cards |= {
            "CTYPE": "FREQ",
            "CUNIT": "Hz",
            "CRVAL": rest * (1 + 40 / light),
            "CDELT": -rest * step / light,
        }
    return cards, velocity


def write_cube(path, values, celestial, spectral, order):
    axes = {"v": 0, "y": 1, "x": 2}
    values = values.transpose([axes[name] for name in order if name != "1"])
    sky = celestial.to_header()
    header = fits.Header({"RESTFRQ": 115.271202e9, "SPECSYS": "LSRK", "BUNIT": "cm-3"})
    for axis, name in enumerate(reversed(order.rstrip("1")), 1):
        if name == "v":
            header.update({f"{card}{axis}": value for card, value in spectral.items()})
        else:
            own = {"x": 1, "y": 2}[name]
            for card in ("CTYPE", "CUNIT", "CRVAL", "CRPIX", "CDELT"):
                default = 1.0 if card == "CDELT" else 0.0
                header[f"{card}{axis}"] = sky.get(f"{card}{own}", default)
    if order.endswith("1"):
        values = values[None]
        header["CTYPE4"] = "STOKES"
    fits.PrimaryHDU(values, header).writeto(path)


def test_beyond_the_velocities_of_a_cube_nothing_is_known():
    cube = make_cube((6, 4, 4))
    part = cube.cutout((slice(0, 3), slice(None), slice(None)))
    with pytest.warns(HISAWarning, match="50.0% of the field is not covered"):
        prior = SpatialPrior.from_map(part, cube)
    assert_array_equal(prior.probability[3:], np.zeros((3, 4, 4)))
    assert_allclose(prior.probability[:3], part.kelvin, rtol=1e-5)


def test_a_blank_channel_among_finer_ones_is_left_out():
    cube = make_cube((4, 3, 3), channel=-2000.0)
    wcs = make_wcs((16, 3, 3), channel=-500.0)
    values = np.repeat(np.arange(1.0, 5.0), 4)[:, None, None] * np.ones((16, 3, 3))
    values[5, 1, 1] = np.nan
    assert_allclose(SpatialPrior.from_map((values, wcs), cube).probability, values[::4], rtol=1e-9)


def test_velocities_of_another_frame_are_said():
    cube = make_cube()
    wcs = make_wcs(cube.shape)
    wcs.wcs.specsys = "BARYCENT"
    with pytest.warns(HISAWarning, match="in the frame BARYCENT and the cube's in LSRK"):
        SpatialPrior.from_map((np.ones(cube.shape), wcs), cube)


def test_a_frequency_axis_needs_its_rest_frequency(tmp_path):
    cube = make_cube()
    header, _ = spectral_header("frequency")
    write_cube(tmp_path / "co.fits", np.ones((41, 12, 15), np.float32), cube.wcs.celestial, header, "vyx")
    fits.delval(tmp_path / "co.fits", "RESTFRQ")
    with pytest.raises(InputError, match="there is no rest frequency"):
        SpatialPrior.from_map(tmp_path / "co.fits", cube)
    prior = SpatialPrior.from_map(tmp_path / "co.fits", cube, rest_frequency=115.271202 * u.GHz)
    assert_array_equal(prior.probability, np.ones(cube.shape))


def test_a_cube_is_smoothed_channel_by_channel():
    cube = make_cube((4, 20, 20))
    prior = SpatialPrior.from_map(cube, cube, smoothing=9 * u.arcmin)
    one = SpatialPrior.from_map((cube.kelvin[2], cube.wcs.celestial), cube, smoothing=9 * u.arcmin)
    assert_allclose(prior.probability[2], one.probability, rtol=1e-6)


def test_an_hdu_and_a_compressed_file_are_read_like_a_file(tmp_path):
    cube = make_cube()
    values = np.random.default_rng(6029).random(cube.shape[1:]).astype(np.float32)
    header = cube.wcs.celestial.to_header()
    image = fits.ImageHDU(values, header, name="CO")
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.ones((3, 3))), image]).writeto(tmp_path / "a.fits")
    (tmp_path / "b.fits.gz").write_bytes(gzip.compress((tmp_path / "a.fits").read_bytes()))
    fits.CompImageHDU(values, header).writeto(tmp_path / "c.fits")
    for prior in (
        SpatialPrior.from_map(image, cube),
        SpatialPrior.read(tmp_path / "a.fits", cube, hdu="CO"),
        SpatialPrior.read(tmp_path / "b.fits.gz", cube, hdu=2),
    ):
        assert_allclose(prior.probability, values, rtol=1e-5)
    assert_allclose(SpatialPrior.read(tmp_path / "c.fits", cube).probability, values, atol=0.1)


@pytest.mark.parametrize(
    ("source", "settings", "message"),
    [
        (np.ones((3, 3)), {}, "source must be the path of a FITS file"),
        (3, {}, "source must be the path of a FITS file"),
        ((np.ones((3, 3)), None), {}, "source must be the path"),
        ((np.ones((3, 3)), make_wcs((3, 3, 3))), {}, "must hold numbers on the 3 axes of its WCS"),
        ((np.array([["a"]]), make_wcs((3, 1, 1)).celestial), {}, "must hold numbers"),
        ((np.full((12, 15), np.inf), make_wcs((3, 12, 15)).celestial), {}, "infinite"),
        ((np.ones((12, 15)), WCS(naxis=2)), {}, "no pair of celestial axes"),
        ((np.ones((12, 15)), make_wcs((3, 12, 15)).celestial), {"hdu": 1}, "hdu=1 is for files"),
        (fits.PrimaryHDU(), {}, "holds no map"),
    ],
)
def test_what_is_no_map_is_refused(source, settings, message):
    with pytest.raises((InputError, ParameterError), match=message):
        SpatialPrior.from_map(source, make_cube(), **settings)


def test_several_planes_without_velocity_are_refused(tmp_path):
    header = make_wcs((3, 12, 15)).celestial.to_header()
    fits.PrimaryHDU(np.ones((2, 12, 15), np.float32), header).writeto(tmp_path / "planes.fits")
    with pytest.raises(InputError, match="2 planes along axis 3"):
        SpatialPrior.read(tmp_path / "planes.fits", make_cube())


# --- catalogues -------------------------------------------------------------------------------


def make_catalog(frame="galactic", **changes):
    columns = {
        "lon": [140.0, 140.2] * u.deg,
        "lat": [0.1, -0.11] * u.deg,
        "velocity": [-40.0, -41.2] * KMS,
        "solid_angle": [np.pi * 9**2, 0.1] * u.arcmin**2,
        "velocity_fwhm": [1.7, np.nan] * KMS,
    }
    return QTable(columns | changes, meta={"FRAME": frame, "SPECSYS": "LSRK"})


def test_a_catalogue_marks_discs_and_velocities():
    cube = make_cube((6, 12, 15))
    catalog = make_catalog()
    prior = SpatialPrior.from_catalog(catalog, cube)
    sky, expected = sky_of(cube), np.zeros(cube.shape)
    first = sky.separation(SkyCoord("140d 0.1d", frame="galactic")) <= 9 * u.arcmin
    expected[np.abs(cube.velocity.value + 40) <= 0.85] += first
    v, y, x = (int(np.rint(float(at))) for at in cube.wcs.wcs_world2pix(140.2, -0.11, -41.2e3, 0)[::-1])
    expected[v, y, x] = 1
    assert_array_equal(prior.probability, expected)
    assert prior.meta["features"] == 2
    flat = SpatialPrior.from_catalog(catalog, cube, in_velocity=False)
    assert_array_equal(flat.probability, expected.max(axis=0))


def test_a_catalogue_of_another_frame_and_from_a_folder_gives_the_same(tmp_path):
    cube, catalog = make_cube(), make_catalog()
    places = SkyCoord(catalog["lon"], catalog["lat"], frame="galactic").icrs
    other = make_catalog("icrs", lon=places.ra, lat=places.dec)
    expected = SpatialPrior.from_catalog(catalog, cube).probability
    other.write(tmp_path / "catalog.ecsv")
    for path in (tmp_path, tmp_path / "catalog.ecsv"):
        assert_array_equal(SpatialPrior.read(path, cube).probability, expected)


def test_smoothed_features_reach_into_the_field_from_beside_it():
    cube = make_cube((4, 12, 15))
    catalog = make_catalog(lon=[140.5, 150] * u.deg, velocity_fwhm=[9.0, 9.0] * KMS)
    with pytest.raises(InputError, match="none of its 2 features lies in the cube"):
        SpatialPrior.from_catalog(catalog, cube)
    prior = SpatialPrior.from_catalog(catalog, cube, smoothing=20 * u.arcmin)
    assert prior.probability[:, 8, 0].min() > prior.probability[:, 8, 8].max() >= 0


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (make_catalog()[:0], "holds no feature with a place and a size"),
        (QTable({"lon": [1.0] * u.deg}), "has no column lat, velocity, solid_angle, velocity_fwhm"),
        (make_catalog(lon=[1.0, 2.0]), "the column lon needs a unit of deg"),
        (make_catalog(lon=["a", "b"]), "the column lon needs a unit of deg"),
        (make_catalog(None), "does not name its frame"),
        (make_catalog("atlantis"), "its frame 'atlantis' and positions are not understood"),
        (make_catalog(velocity=[200, 200] * KMS), "none of its 2 features"),
    ],
)
def test_what_is_no_catalogue_is_refused(table, message):
    with pytest.raises(InputError, match=message):
        SpatialPrior.from_catalog(table, make_cube())


def test_features_without_a_place_are_left_out_with_a_word():
    with pytest.warns(HISAWarning, match="1 features without place or size"):
        SpatialPrior.from_catalog(make_catalog(lon=[140.0, np.nan] * u.deg), make_cube())


def test_a_masked_table_is_a_catalogue_too():
    table = Table(make_catalog(), masked=True)
    table["velocity_fwhm"].mask = [False, True]
    expected = SpatialPrior.from_catalog(make_catalog(), make_cube()).probability
    assert_array_equal(SpatialPrior.from_catalog(table, make_cube()).probability, expected)


def test_a_catalogue_that_cannot_be_read_says_so(tmp_path):
    with pytest.raises(ParameterError, match="table must be a catalogue or the path of one, got int"):
        SpatialPrior.from_catalog(3, make_cube())
    (tmp_path / "bad.ecsv").write_text("# %ECSV 1.0\n# nonsense\n")
    with pytest.raises(InputError, match="cannot be read as a catalogue"):
        SpatialPrior.read(tmp_path / "bad.ecsv", make_cube())
    with pytest.raises(InputError, match=r"catalog\.ecsv: no such file"):
        SpatialPrior.read(tmp_path, make_cube())


# --- regions ----------------------------------------------------------------------------------


def test_regions_have_one_value_inside_and_one_outside(tmp_path):
    cube = make_cube()
    place = SkyCoord("140.1d 0.05d", frame="galactic")
    circle = CircleSkyRegion(place.icrs, 9 * u.arcmin)
    inside = sky_of(cube).separation(place) <= 9 * u.arcmin
    Regions([circle]).write(tmp_path / "clouds.reg", format="ds9")
    for source in (circle, [circle], Regions([circle]), tmp_path / "clouds.reg"):
        prior = SpatialPrior.from_regions(source, cube, inside=4, outside=0.5)
        assert_array_equal(prior.probability, np.where(inside, 4, 0.5))
    assert SpatialPrior.read(tmp_path / "clouds.reg", cube, outside=0.1).meta["outside"] == 0.1


def test_a_region_in_pixels_stays_where_it_is_when_smoothed():
    cube = make_cube((4, 31, 31))
    circle = CirclePixelRegion(PixCoord(10, 20), 3)
    plain = SpatialPrior.from_regions(circle, cube).probability
    smoothed = SpatialPrior.from_regions(circle, cube, smoothing=7 * u.arcmin).probability
    for values in (plain, smoothed):
        y, x = np.indices(values.shape)
        assert_allclose([np.average(y, weights=values), np.average(x, weights=values)], [20, 10], atol=0.01)


def test_excluded_regions_are_taken_out():
    cube = make_cube()
    all_of_it = CirclePixelRegion(PixCoord(7, 6), 30)
    hole = CirclePixelRegion(PixCoord(7, 6), 1.2, meta={"include": False})
    prior = SpatialPrior.from_regions([all_of_it, hole], cube)
    assert prior.probability.sum() == cube.kelvin[0].size - 5


@pytest.mark.parametrize(
    ("regions", "settings", "message"),
    [
        (CirclePixelRegion(PixCoord(100, 100), 2), {}, "no pixel of the field lies in the regions"),
        (CirclePixelRegion(PixCoord(1, 1), 2), {"outside": -1}, "outside must be finite and at least 0"),
        (CirclePixelRegion(PixCoord(1, 1), 2), {"inside": "a"}, "inside must be a plain number"),
        (PointSkyRegion(SkyCoord("140d 0d", frame="galactic")), {}, "covers no area"),
        (3, {}, "region must be of the regions package"),
        ("nowhere.reg", {}, "no such region file"),
    ],
)
def test_what_is_no_region_is_refused(regions, settings, message):
    with pytest.raises((InputError, ParameterError), match=message):
        SpatialPrior.from_regions(regions, make_cube(), **settings)


# --- functions --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CUBES)
def test_a_function_sees_the_positions_of_the_pixels(name):
    cube = make_cube(**CUBES[name])
    prior = SpatialPrior.from_function(lambda sky: 1 + np.sin(sky.icrs.dec.rad), cube)
    assert_allclose(prior.probability, 1 + np.sin(sky_of(cube).icrs.dec.rad), rtol=1e-12)


def test_a_function_of_velocity_gives_channels():
    cube = make_cube()

    def line(sky, velocity):
        return np.exp(-abs((velocity + 40 * KMS).to_value(KMS))) * np.cos(sky.b)

    prior = SpatialPrior.from_function(line, cube, floor=0.01)
    expected = np.exp(-np.abs(cube.velocity.value + 40))[:, None, None] * np.cos(sky_of(cube).b).value
    assert_allclose(prior.probability, np.maximum(expected, 0.01 * expected.max()), rtol=1e-12)
    prior.check_axes(cube)


def test_a_number_is_a_prior_for_the_whole_field():
    assert_array_equal(
        SpatialPrior.from_function(lambda sky, power=2: 3.0, make_cube()).probability, np.full((12, 15), 3)
    )


def test_a_function_of_any_arguments_gets_the_positions():
    for function in (lambda *of: of[0].b.deg + len(of), lambda sky, *rest: sky.b.deg + 1):
        prior = SpatialPrior.from_function(function, make_cube())
        assert_allclose(prior.probability, sky_of(make_cube()).b.deg + 1, rtol=1e-9)
    assert SpatialPrior.from_function(lambda sky, v, *rest, k=2: 1.0, make_cube()).probability.ndim == 3


@pytest.mark.parametrize("kind", [np.ma.array, Masked])
def test_what_a_function_masks_is_not_known(kind):
    def masked(sky):
        return kind(np.where(sky.b > 0, 1.0, 1e6), mask=np.asarray(sky.b < 0))

    with pytest.warns(HISAWarning, match=r"50\.0% of the field"):
        prior = SpatialPrior.from_function(masked, make_cube())
    assert_array_equal(prior.probability, sky_of(make_cube()).b > 0)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (3, "function must be callable"),
        (lambda sky, *, k: 1, "needs the keyword 'k', which nothing gives"),
        (lambda: 1, "needs 0 arguments"),
        (lambda a, b, c: 1, "needs 3 arguments"),
        (lambda sky: sky.l, "must return plain numbers"),
        (lambda sky: np.ones((2, 2)), "must return plain numbers of the shape"),
        (lambda sky: "dust", "must return plain numbers"),
        (lambda sky: -1.0, "probabilities of 0 or above, got -1"),
        (lambda sky: np.inf, "infinite"),
        (lambda sky: np.nan, "says nothing about the field"),
    ],
)
def test_functions_that_are_no_prior_are_refused(function, message):
    with pytest.raises((InputError, ParameterError), match=message):
        SpatialPrior.from_function(function, make_cube())


# --- files by their content -------------------------------------------------------------------


def test_the_content_tells_the_kind_of_a_file(tmp_path):
    write_healpix(tmp_path / "a", [("T", "D", np.ones(192))], ORDERING="RING")
    fits.PrimaryHDU(np.ones((3, 3))).writeto(tmp_path / "b")
    make_catalog().write(tmp_path / "catalog.ecsv")
    (tmp_path / "d").write_text("galactic\ncircle(140, 0, 0.1)\n")
    kinds = [kind_of_file(tmp_path / name) for name in ("a", "b", "catalog.ecsv", "", "d")]
    assert kinds == ["healpix", "map", "catalog", "catalog", "regions"]


def test_files_of_no_kind_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"prior\.fits: no such file"):
        SpatialPrior.read(tmp_path / "prior.fits", make_cube())
    (tmp_path / "notes.txt").write_text("nothing of interest\n")
    with pytest.raises(InputError, match="DS9 region file"):
        SpatialPrior.read(tmp_path / "notes.txt", make_cube())
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(InputError, match=r"DS9|holds no region"):
        SpatialPrior.read(tmp_path / "empty", make_cube())


def test_settings_of_another_kind_are_named(tmp_path):
    (tmp_path / "a.reg").write_text("galactic\ncircle(140, 0, 0.1)\n")
    with pytest.raises(ParameterError, match="a prior by from_regions does not take nested; it takes inside"):
        SpatialPrior.read(tmp_path / "a.reg", make_cube(), nested=True)


@pytest.mark.parametrize("shape", [(3, 1, 1), (3, 1, 7), (3, 7, 1)])
def test_fields_of_one_pixel_a_side_have_priors(shape):
    cube = make_cube(shape)
    for smoothing in (None, 10 * u.arcmin):
        prior = SpatialPrior.from_healpix(np.arange(1.0, 49.0), cube, smoothing=smoothing)
        assert prior.probability.shape == shape[1:]
        assert prior.term().max() == 0
    values = np.full(shape[1:], 2.0)
    found = SpatialPrior.from_map((values, cube.wcs.celestial), cube, smoothing=10 * u.arcmin)
    assert_allclose(found.probability, 2)


def test_units_of_smoothing_are_checked():
    with pytest.raises(ParameterUnitsError, match="smoothing"):
        SpatialPrior.from_function(lambda sky: 1.0, make_cube(), smoothing=5)
