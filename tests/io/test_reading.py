import gzip
import hashlib
import json

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from radio_beam import Beam
from regions import CircleSkyRegion

from hisatools.cube import HISACube
from hisatools.errors import HISAWarning, InputError, MendWarning, ParameterError
from hisatools.io.edges import named_bad_channels

KMS = u.km / u.s
BEAM = Beam(58 * u.arcsec)


def circle(lon, lat, radius):
    return CircleSkyRegion(SkyCoord(lon, lat, unit="deg", frame="galactic"), radius * u.deg)


# What is read -----------------------------------------------------------------------------


def test_clean_file_is_read_as_it_is(write_fits, brightness):
    path = write_fits(brightness)
    cube = HISACube.read(str(path))  # warnings are errors: nothing is mended
    assert_array_equal(cube.kelvin, brightness)
    assert cube.kelvin.dtype == np.float32 and cube.kelvin.flags["C_CONTIGUOUS"]
    assert cube.mends == ()
    assert_allclose(cube.velocity.to_value(KMS), -60 - np.arange(8))
    assert cube.meta["path"] == str(path)
    assert cube.meta["object"] == "test field"
    assert cube.meta["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    json.dumps(cube.meta)


@pytest.mark.parametrize("kind", ["float64", "int16", "int32", "uint8"])
def test_every_number_format_gives_the_same_brightness(write_fits, brightness, kind):
    assert_array_equal(HISACube.read(write_fits(brightness.astype(kind))).kelvin, brightness)


def test_compressed_files_are_read(write_fits, brightness, tmp_path):
    plain = write_fits(brightness)
    zipped = tmp_path / "cube.fits.gz"
    zipped.write_bytes(gzip.compress(plain.read_bytes()))
    assert_array_equal(HISACube.read(zipped).kelvin, brightness)
    tiled = tmp_path / "tiled.fits"
    header = fits.getheader(plain)
    fits.CompImageHDU(brightness.astype("i4"), header, compression_type="RICE_1").writeto(tiled)
    part = HISACube.read(tiled, velocity_range=(-64, -61) * KMS)
    assert_array_equal(part.kelvin, brightness[1:5])


def test_axes_in_any_order_and_axes_of_length_one(write_fits, brightness):
    data = brightness.transpose(1, 2, 0)[:, None]  # FITS order: velocity, longitude, Stokes, latitude
    cards = {}
    for new, old in ((1, 3), (2, 1), (4, 2)):
        clean = fits.getheader(write_fits(brightness, name="straight.fits"))
        for key in ("CTYPE", "CRVAL", "CRPIX", "CDELT", "CUNIT"):
            cards[f"{key}{new}"] = clean[f"{key}{old}"]
    stokes = {"CTYPE3": "STOKES", "CRVAL3": 1.0, "CRPIX3": 1.0, "CDELT3": 1.0, "CUNIT3": None}
    cube = HISACube.read(write_fits(data, **cards, **stokes))
    assert_array_equal(cube.kelvin, brightness)
    assert cube.kelvin.flags["C_CONTIGUOUS"]
    part = HISACube.read(write_fits(data, **cards, **stokes), velocity_range=(-63, -61) * KMS)
    assert_array_equal(part.kelvin, brightness[1:4])
    assert list(cube.wcs.wcs.ctype) == ["GLON-CAR", "GLAT-CAR", "VRAD"]


def test_first_image_of_three_axes_is_read_or_the_one_asked_for(brightness, write_fits, tmp_path):
    header = fits.getheader(write_fits(brightness))
    hdus = [
        fits.PrimaryHDU(),
        fits.ImageHDU(np.zeros((5, 6)), name="MAP"),
        fits.ImageHDU(brightness, header, name="SMOOTH"),
        fits.ImageHDU(2 * brightness, header, name="SHARP"),
    ]
    path = tmp_path / "several.fits"
    fits.HDUList(hdus).writeto(path)
    assert HISACube.read(path).kelvin[0, 0, 0] == 1
    assert HISACube.read(path, hdu="sharp").kelvin[0, 0, 0] == 2
    assert HISACube.read(path, hdu=3).meta["hdu"] == 3
    with pytest.raises(
        InputError, match=r"several.fits: has no HDU 7; it has 0 PRIMARY .*, 3 SHARP \(8 x 5 x 6\)"
    ):
        HISACube.read(path, hdu=7)
    with pytest.raises(InputError, match="has no HDU 'BLUNT'"):
        HISACube.read(path, hdu="BLUNT")
    with pytest.raises(InputError, match=r"is a 2-D image \(5 x 6\), 3 axes are needed"):
        HISACube.read(path, hdu="MAP")


def test_velocity_reversed_file_gives_the_reversed_cube(write_fits, brightness):
    falling = HISACube.read(write_fits(brightness))
    rising = HISACube.read(write_fits(brightness[::-1], CRVAL3=-67000.0, CDELT3=1000.0))
    assert_array_equal(rising.kelvin, falling.kelvin[::-1])
    assert_allclose(rising.velocity, falling.velocity[::-1])
    assert rising.channel_width == falling.channel_width == 1 * KMS


def test_one_pixel_file_is_read_and_its_zeros_are_values(write_fits):
    cube = HISACube.read(write_fits(np.arange(9.0).reshape(9, 1, 1)))
    assert cube.is_spectrum and cube.kelvin[0, 0, 0] == 0


# Units ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unit", "scale", "mend"),
    [
        ("K (Tb)", 1, r"BUNIT 'K (Tb)' taken as K"),
        ("mK(Ta*)", 1e-3, r"BUNIT 'mK(Ta*)' taken as mK"),
        ("KELVIN", 1, "BUNIT 'KELVIN' taken as K"),
        (None, 1, "BUNIT is absent: brightness temperature in K assumed; give unit= (--unit) if it is not"),
    ],
)
def test_odd_or_absent_temperature_unit_is_mended(write_fits, brightness, read_mended, unit, scale, mend):
    cube = read_mended(write_fits(brightness, BUNIT=unit))
    assert_allclose(cube.kelvin, scale * brightness, rtol=1e-6)
    assert cube.mends == (mend,)


def test_millikelvin_and_kelvin_are_one_cube(write_fits, brightness):
    kelvin = HISACube.read(write_fits(brightness))
    milli = HISACube.read(write_fits(1000 * brightness, BUNIT="mK"))
    assert_allclose(milli.kelvin, kelvin.kelvin, rtol=1e-6)


def test_unit_argument_wins(write_fits, brightness):
    path = write_fits(brightness, BUNIT="W.U.")
    assert_allclose(HISACube.read(path, unit="mK").kelvin, brightness / 1000, rtol=1e-6)
    assert_allclose(HISACube.read(path, unit=u.K).kelvin, brightness)


@pytest.mark.parametrize("unit", ["W.U.", "Undefined", "K km/s", "MJY/BEAM", "Jy/pixel"])
def test_unknown_unit_lists_what_is_understood(write_fits, brightness, unit):
    message = f"cube.fits: BUNIT '{unit}' .*K, mK, Jy/beam, mJy/beam, MJy/sr.*; give .* unit='K'"
    with pytest.raises(InputError, match=message):
        HISACube.read(write_fits(brightness, BUNIT=unit))
    with pytest.raises(InputError, match="unit 'K km/s' is no brightness unit"):
        HISACube.read(write_fits(brightness), unit="K km/s")


@pytest.mark.parametrize(("unit", "scale"), [("Jy/beam", 1), ("mJy/beam", 1e-3), ("JY/BEAM", 1)])
@pytest.mark.filterwarnings("ignore:.*BUNIT 'JY/BEAM' taken:hisatools.errors.MendWarning")
def test_flux_per_beam_becomes_kelvin_at_each_channels_frequency(write_fits, brightness, unit, scale):
    path = write_fits(brightness, BUNIT=unit, CDELT3=-3e6)  # wide steps: the frequency matters
    cube = HISACube.read(path, beam=BEAM)
    lines = 1.42040575177e9 * (1 - cube.velocity.to_value(KMS) / 299792.458) * u.Hz
    for channel, line in enumerate(lines):
        expected = scale * BEAM.jtok(line).value * brightness[channel]
        assert_allclose(cube.kelvin[channel], expected, rtol=1e-6)


def test_surface_brightness_needs_no_beam(write_fits, brightness):
    cube = HISACube.read(write_fits(brightness, BUNIT="MJy/sr"))
    expected = (1 * u.MJy / u.sr).to_value(u.K, u.brightness_temperature(1.42040575177 * u.GHz))
    assert_allclose(cube.kelvin / brightness, expected, rtol=1e-3)


def test_flux_per_beam_without_beam_says_how_to_give_one(write_fits, brightness):
    with pytest.raises(
        InputError, match=r"in Jy / beam but no beam is known; pass beam=Beam\(58 \* u.arcsec\)"
    ):
        HISACube.read(write_fits(brightness, BUNIT="Jy/beam", BMAJ=-1.0))


# Beams ------------------------------------------------------------------------------------


def test_beam_is_found_in_the_header(write_fits, brightness):
    cube = HISACube.read(write_fits(brightness, BMAJ=0.02, BMIN=0.01, BPA=30.0))
    assert cube.beam == Beam(0.02 * u.deg, 0.01 * u.deg, 30 * u.deg)
    assert HISACube.read(write_fits(brightness, BMAJ=0.02)).beam == Beam(0.02 * u.deg)
    for nothing in ({}, {"BMAJ": -1.0}, {"BMAJ": 0.0, "BMIN": 0.0}):
        assert HISACube.read(write_fits(brightness, **nothing)).beam is None


def test_beam_argument_wins_and_must_be_a_beam(write_fits, brightness):
    path = write_fits(brightness, BMAJ=0.02)
    assert HISACube.read(path, beam=BEAM).beam == BEAM
    with pytest.raises(ParameterError, match=r"beam must be a radio_beam.Beam, got <Quantity 58"):
        HISACube.read(path, beam=58 * u.arcsec)


@pytest.mark.parametrize(
    ("history", "size"),
    [
        ("AIPS   CLEAN BMAJ=  1.4498E-01 BMIN=  1.2E-01 BPA=   5.00", (0.14498, 0.12)),
        ("AIPS   CLEAN BMAJ is not known", None),
        ("nothing of interest", None),
    ],
)
def test_beam_is_found_in_the_history(write_fits, brightness, read_mended, history, size):
    cube = read_mended(write_fits(brightness, HISTORY=history))
    if size is None:
        assert cube.beam is None and cube.mends == ()
    else:
        assert_allclose([cube.beam.major.to_value(u.deg), cube.beam.minor.to_value(u.deg)], size)
        assert len(cube.mends) == 1 and "taken from HISTORY" in cube.mends[0]


def beams_table(majors):
    n = len(majors)
    columns = [
        fits.Column("BMAJ", "1E", unit="arcsec", array=majors),
        fits.Column("BMIN", "1E", unit="arcsec", array=majors),
        fits.Column("BPA", "1E", unit="deg", array=np.zeros(n)),
        fits.Column("CHAN", "1J", array=np.arange(n)[::-1]),
        fits.Column("POL", "1J", array=np.zeros(n)),
    ]
    return fits.BinTableHDU.from_columns(columns, name="BEAMS")


def test_each_channel_is_converted_with_its_own_beam(write_fits, brightness, read_mended):
    path = write_fits(brightness, BUNIT="Jy/beam")
    sizes = np.array([60, 61, 62, 63, 64, 65, 66, 120.0])
    with fits.open(path, mode="append") as hdus:
        hdus.append(beams_table(sizes[::-1]))  # rows are out of order, CHAN puts them right
    cube = read_mended(path, velocity_range=(-67, -62) * KMS)
    assert cube.mends[0].startswith("BEAMS table: each channel has its own beam")
    assert cube.beam.major.to_value(u.arcsec) == 120
    for channel, size, velocity in zip(range(6), sizes[2:], cube.velocity, strict=True):
        line = 1.42040575177e9 * (1 - velocity.to_value(KMS) / 299792.458) * u.Hz
        expected = Beam(size * u.arcsec).jtok(line).value * brightness[channel + 2]
        assert_allclose(cube.kelvin[channel], expected, rtol=1e-5)


def test_beam_table_of_another_length_is_left_out(write_fits, brightness, read_mended):
    path = write_fits(brightness)
    with fits.open(path, mode="append") as hdus:
        hdus.append(beams_table([60.0, 61.0]))
    cube = read_mended(path)
    assert cube.beam is None
    assert cube.mends == ("BEAMS table with 2 rows for 8 channels: left out",)


# Cuts and weights -------------------------------------------------------------------------


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=st.integers(0, 5), n_channels=st.integers(3, 8), column=st.integers(0, 5), row=st.integers(0, 4))
def test_cut_at_reading_is_the_cut_of_the_whole(write_fits, brightness, first, n_channels, column, row):
    path = write_fits(brightness)
    whole = HISACube.read(path)
    channels = slice(first, min(first + n_channels, 8))
    wanted = whole.velocity[channels][[0, -1]]
    lon, lat = whole.wcs.celestial.pixel_to_world_values(column, row)
    part = HISACube.read(path, velocity_range=wanted, region=circle(lon, lat, 0.006))
    y, x = np.mgrid[max(row - 1, 0) : min(row + 2, 5), max(column - 1, 0) : min(column + 2, 6)]
    expected = np.where(np.abs(y - row) + np.abs(x - column) <= 1, brightness[channels][:, y, x], np.nan)
    assert_array_equal(part.kelvin, expected)
    assert_allclose(part.velocity, whole.velocity[channels])
    assert_allclose(part.wcs.celestial.pixel_to_world_values(column - x.min(), row - y.min()), (lon, lat))
    assert part.wcs.pixel_shape == part.shape[::-1]


def test_cut_is_recorded(write_fits, brightness, tmp_path):
    region = tmp_path / "field.reg"
    region.write_text("galactic\ncircle(120,0,0.008)\n")
    cube = HISACube.read(write_fits(brightness), velocity_range=(-61, -65) * KMS, region=region)
    assert cube.meta["velocity_range"] == [-65.0, -61.0]
    assert cube.meta["region"] == str(region)
    assert cube.meta["file_shape"] == [8, 5, 6]
    json.dumps(cube.meta)


def test_weights_are_cut_along(write_fits, brightness):
    weights = np.linspace(0, 1, 30).reshape(5, 6)
    path = write_fits(brightness)
    map_path = write_fits(weights[None, None], name="weights.fits", CTYPE3="UNDEFINED", BUNIT=None)
    for given_weights in (weights, map_path, str(map_path)):
        whole = HISACube.read(path, weights=given_weights)
        assert_allclose(whole.weights, weights, rtol=1e-6)
        part = HISACube.read(path, weights=given_weights, region=circle(120, 0, 0.006))
        assert_allclose(part.weights, weights[0:3, 1:4], rtol=1e-6)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones((3, 6)), r"cube.fits: weights of shape \(3, 6\) do not fit maps of shape \(5, 6\)"),
        (-np.ones((5, 6)), "weights must be 0 or above and finite, got -1 to -1"),
        (np.full((5, 6), np.inf), "weights must be 0 or above and finite"),
        (np.zeros((5, 6)), "no weight is above 0"),
    ],
)
def test_wrong_weights_are_refused(write_fits, brightness, weights, message):
    with pytest.raises(InputError, match=message):
        HISACube.read(write_fits(brightness), weights=weights)


def test_weights_of_another_field_are_refused(write_fits, brightness):
    path = write_fits(brightness)
    elsewhere = write_fits(np.ones((5, 6)), name="weights.fits", CRVAL1=125.0)
    with pytest.raises(
        InputError, match=r"weights.fits: the map of weights lies 5 deg from the field of .*cube.fits"
    ):
        HISACube.read(path, weights=elsewhere)
    planes = write_fits(np.ones((2, 5, 6)), name="weights.fits")
    with pytest.raises(InputError, match=r"weights.fits: weights of shape \(2, 5, 6\) are no map"):
        HISACube.read(path, weights=planes)
    with pytest.raises(InputError, match=r"nowhere.fits: no such file"):
        HISACube.read(path, weights="nowhere.fits")


# Edges of the band ------------------------------------------------------------------------


def test_zero_channels_at_the_edges_are_blank(write_fits, brightness, read_mended):
    brightness[[0, 1, 4, 7]] = 0
    brightness[0] = np.nan
    cube = read_mended(write_fits(brightness))
    blank = np.isnan(cube.kelvin).all(axis=(1, 2))
    assert_array_equal(np.flatnonzero(blank), [0, 1, 7])  # a zero channel inside the band stays
    assert cube.mends == ("channels 2, 8 blanked: 0 everywhere, at the edge of the band",)


def test_blank_channels_stay_blank(write_fits, brightness):
    brightness[[0, 5]] = np.nan
    assert_array_equal(HISACube.read(write_fits(brightness)).kelvin, brightness)


def test_channels_that_the_history_calls_bad_are_blanked(write_fits, brightness, read_mended):
    path = write_fits(brightness, HISTORY="Channels 1-2 and 8 are contaminated by mosaicing")
    cube = read_mended(path)
    assert_array_equal(np.flatnonzero(np.isnan(cube.kelvin).all(axis=(1, 2))), [0, 1, 7])
    assert cube.mends == ("channels 1-2, 8 blanked: contaminated or blank, says the HISTORY",)
    inner = read_mended(path, velocity_range=(-66, -62) * KMS)
    assert np.isfinite(inner.kelvin).all() and inner.mends == ()
    outer = read_mended(path, velocity_range=(-64, -61) * KMS)
    assert_array_equal(np.flatnonzero(np.isnan(outer.kelvin).all(axis=(1, 2))), [0])


@pytest.mark.parametrize("numbers", ["1-18 and 272", "4", "1-8"])
def test_history_of_another_band_is_not_believed(write_fits, brightness, numbers):
    path = write_fits(brightness, HISTORY=f"Channels {numbers} are contaminated by mosaicing")
    with pytest.warns(HISAWarning, match="are not the edges of the 8 channels here, so none is blanked"):
        cube = HISACube.read(path)
    assert np.isfinite(cube.kelvin).all() and cube.mends == ()


@pytest.mark.parametrize(
    ("history", "numbers"),
    [
        ("Channel 7 is fine", []),
        ("channels 1, 3-4 and 9 are blank", [1, 3, 4, 9]),
        ("Channels are blank", []),
    ],
)
def test_bad_channels_are_read_from_words(history, numbers):
    header = fits.Header()
    header.add_history(history)
    assert named_bad_channels(header) == numbers


# Files that cannot be used ----------------------------------------------------------------


def refused(path, message, **arguments):
    """The whole error is one line that starts with the file and matches ``message``."""
    with pytest.raises(InputError, match=message) as caught:
        HISACube.read(path, **arguments)
    text = str(caught.value)
    assert text.startswith(f"{path}: ") and "\n" not in text


def test_missing_file_and_folder_are_refused(tmp_path):
    refused(tmp_path / "nowhere.fits", "no such file; give the path")
    refused(tmp_path, "is a folder; give the path")


@pytest.mark.parametrize(
    "content", [b"", b"hello, this is no FITS file at all\n" * 200, b"SIMPLE  =", b"\x1f\x8b\x08junk"]
)
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "cube.fits"
    path.write_bytes(content)
    refused(path, "not a FITS file, or cut off within its first header; give a FITS cube")


@pytest.mark.parametrize("velocity_range", [None, (-62, -60) * KMS])
def test_truncated_file_is_refused_whatever_part_is_wanted(write_fits, brightness, velocity_range):
    path = write_fits(brightness)
    path.write_bytes(path.read_bytes()[:-2800])
    refused(
        path,
        r"truncated: \d+ bytes where the image needs \d+; get the file again",
        velocity_range=velocity_range,
    )


def test_truncated_compressed_file_is_refused(write_fits, tmp_path):
    noise = np.random.default_rng(1).normal(size=(20, 30, 30)).astype("f4")
    zipped = tmp_path / "cube.fits.gz"
    zipped.write_bytes(gzip.compress(write_fits(noise).read_bytes())[:-5000])
    refused(zipped, "truncated or damaged; get the file again|cut off")


def test_missing_padding_does_no_harm(write_fits, brightness):
    path = write_fits(brightness)
    content = path.read_bytes()
    path.write_bytes(content[: 2880 * (len(content) // 2880 - 1) + brightness.nbytes])
    assert_array_equal(HISACube.read(path).kelvin, brightness)


def test_images_without_a_velocity_axis_are_refused(tmp_path, write_fits):
    refused(write_fits(np.ones((5, 6))), r"is a 2-D image \(5 x 6\), 3 axes are needed; give a cube")
    refused(write_fits(np.ones(9)), r"is a 1-D spectrum \(9\).*HISACube.from_spectrum")
    table = tmp_path / "table.fits"
    fits.BinTableHDU.from_columns([fits.Column("A", "1E", array=[1.0])], name="LIST").writeto(table)
    refused(table, r"holds no image where one is needed; it has 0 PRIMARY \(\), 1 LIST \(table\)")


def test_two_channels_are_refused(write_fits, brightness):
    refused(write_fits(brightness[:2]), "2 channels; the search needs 3 or more")
    refused(write_fits(brightness), "2 channels; the search needs 3", velocity_range=(-60, -61.5) * KMS)
    refused(
        write_fits(brightness), "no channel lies in velocity_range 10 to 20", velocity_range=(10, 20) * KMS
    )


def test_contents_without_a_signal_are_refused(write_fits, brightness):
    refused(write_fits(np.full_like(brightness, np.nan)), r"all voxels are blank \(NaN\)")
    refused(write_fits(np.full_like(brightness, 3)), r"all voxels have the same value \(3 K\)")
    refused(write_fits(np.zeros_like(brightness)), r"all voxels have the same value \(0 K\)")


@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e300])
def test_infinities_are_counted_and_located(write_fits, brightness, value):
    data = brightness.astype("f8")
    data[2, 3, 4] = data[5, 0, 0] = value
    refused(write_fits(data), r"2 infinite voxels, the first at array index \[2, 3, 4\] .* set them to NaN")


def test_sky_that_is_not_a_square_grid_is_refused(write_fits, brightness):
    refused(write_fits(brightness, CROTA2=10.0), "sky axes are rotated by 10.0 deg .* reproject the cube")
    refused(write_fits(brightness, CDELT1=-0.0053), r"pixels of 0.318 x 0.3 arcmin .* not square; reproject")
    refused(write_fits(brightness, CRPIX2=-3999.0), "not square; reproject")  # a plain grid at b = 20 deg
    refused(write_fits(brightness, CTYPE1="LINEAR"), "no pair of celestial axes")
    refused(write_fits(brightness, CTYPE1="GLON-SIN", CTYPE2="GLAT-SIN", CRPIX1=1e6), "not on the sky")
    HISACube.read(write_fits(brightness, CROTA2=0.4, CDELT1=-0.0052))


# Real files -------------------------------------------------------------------------------


def test_ghigls(shared_data, read_mended):
    cube = read_mended(shared_data / "cubes" / "GHIGLS_DFN_Tb.fits")
    assert cube.shape == (490, 35, 35)
    assert_allclose(cube.velocity.to_value(KMS)[[0, -1]], [214.7, -290.1], atol=0.05)
    assert_allclose([cube.kelvin.min(), cube.kelvin.max()], [-0.4496441, 2.631845])
    assert_allclose(cube.pixel_scale.to_value(u.arcmin), 3.5, rtol=1e-6)
    assert_allclose(cube.beam.major.to_value(u.arcmin), 8.7, rtol=1e-3)
    assert len(cube.mends) == 3
    for mend, start in zip(cube.mends, ("CUNIT3 'M/S'", "CTYPE3 'FELO-LSR'", "BMAJ is absent"), strict=True):
        assert mend.startswith(start)
    lon, lat = cube.wcs.celestial.pixel_to_world_values(17, 17)
    assert_allclose([lon, lat], [189.2065, 62.2], atol=0.01)


@pytest.mark.parametrize(
    ("name", "shape", "ends", "pixel", "beam", "peak", "n_blank", "n_mends"),
    [
        ("NGC_2903_HI", (113, 89, 70), (326.2, 788.8), 0.3333, 57.4, 28.437, 2, 4),
        ("ngc6946_HI", (101, 100, 100), (-154.8, 265.2), 0.4300, 65.6, 22.813, 1, 5),
        ("l1448_13co", (53, 105, 105), (2.53, 5.98), 0.3836, None, 4.0023, 0, 4),
        ("iras2a_example_cube", (7, 4, 3), (14.94, 14.32), 0.0020, 1.248, 0.37592, 0, 2),
        ("alma_perplanebeam", (11, 21, 20), (3078.5, 3079.5), 0.0130, 6.085, 0.25845, 2101, 1),
    ],
)
def test_real_cubes(shared_data, read_mended, name, shape, ends, pixel, beam, peak, n_blank, n_mends):
    cube = read_mended(shared_data / "cubes" / f"{name}.fits")
    assert cube.shape == shape
    assert_allclose(cube.velocity.to_value(KMS)[[0, -1]], ends, atol=0.06)
    assert_allclose(cube.pixel_scale.to_value(u.arcmin), pixel, rtol=1e-3)
    assert (cube.beam is None) if beam is None else abs(cube.beam.major.to_value(u.arcsec) / beam - 1) < 1e-3
    assert_allclose(np.nanmax(cube.kelvin), peak, rtol=1e-4)
    assert np.isnan(cube.kelvin).sum() == n_blank
    assert len(cube.mends) == n_mends


def test_flux_of_a_real_galaxy_agrees_with_the_textbook(shared_data, read_mended):
    path = shared_data / "cubes" / "NGC_2903_HI.fits"
    cube = read_mended(path)
    data, header = fits.getdata(path, header=True)
    factor = 6.07e5 / (header["BMMAJ"] * header["BMMIN"])  # K per Jy/beam at 1420 MHz, arcsec
    assert_allclose(np.nanmax(cube.kelvin), factor * np.nanmax(data), rtol=0.01)


def test_real_flat_image_is_refused(shared_data):
    refused(shared_data / "cubes" / "blankset16.fits", r"is a 2-D image \(20 x 20\)")


def cgps_pixels(header):
    """Stored numbers between -3000 and 3000; one of them is the header's BLANK."""
    raw = np.random.default_rng(1).integers(-3000, 3000, (header["NAXIS3"], 3, 4))
    raw[100, 1, 2] = header["BLANK"]
    return raw


def test_cgps_hydrogen_cube(survey_header, behind_header, read_mended):
    header = survey_header("CGPS_MA1_HI_line_image")
    raw = cgps_pixels(header)
    cube = read_mended(behind_header(header, raw))
    assert cube.shape == (272, 3, 4)
    assert_allclose(cube.velocity.to_value(KMS)[[0, 144, -1]], [58.7, -60.0, -164.7], atol=0.05)
    expected = raw * header["BSCALE"] + header["BZERO"]
    expected[100, 1, 2] = np.nan
    expected[[*range(18), 271]] = np.nan
    assert_allclose(cube.kelvin, expected, rtol=1e-5, atol=1e-5)
    assert cube.beam is None
    assert (cube.wcs.wcs.restfrq, cube.wcs.wcs.specsys) == (1.42040575177e9, "LSRK")
    starts = (
        "CUNIT3 is absent",
        "RESTFRQ is absent",
        "CTYPE3 'VELO-LSR'",
        "CAR projection",
        "BUNIT 'K (Tb)'",
        "channels 1-18, 272",
    )
    assert all(mend.startswith(start) for mend, start in zip(cube.mends, starts, strict=True))
    assert_allclose(cube.wcs.celestial.pixel_to_world_values(512, 512), (128.7499990027, -0.9999999922536))


def test_cgps_cube_cut_to_few_channels_keeps_them(survey_header, behind_header):
    header = survey_header("CGPS_MA1_HI_line_image", NAXIS3=5)
    path = behind_header(header, np.arange(60).reshape(5, 3, 4))
    with pytest.warns(HISAWarning) as caught:
        cube = HISACube.read(path)
    assert any("calls channels 1-18, 272 bad" in str(one.message) for one in caught)
    assert np.isfinite(cube.kelvin).all()


def test_cgps_field_at_three_degrees_with_its_weights(survey_header, behind_header, read_mended):
    header = survey_header("CGPS_MC2_CO_line_image")
    weights_header = survey_header("CGPS_MC2_HI_line_wght")
    weights = behind_header(weights_header, np.linspace(0, 1, 12), name="weights.fits")
    cube = read_mended(behind_header(header, cgps_pixels(header)), weights=weights)
    assert_allclose(cube.weights.ravel(), np.linspace(0, 1, 12), rtol=1e-6)
    assert cube.wcs.wcs.restfrq == 1.15304792e11  # carbon monoxide, as OBSFREQ says
    other = survey_header("CGPS_MA1_HI_line_image")
    with (
        pytest.warns(MendWarning),
        pytest.raises(InputError, match=r"weights.fits: the map of weights lies 8.9.* deg from the field"),
    ):
        HISACube.read(behind_header(other, cgps_pixels(other)), weights=weights)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("CGPS_MC2_1420_MHz_I_image", "1 channel; the search needs 3 or more"),
        ("CGPS_MC2_HI_line_wght", "1 channel; the search needs 3 or more"),
        ("CGPS_MC2_HI_line_beams", "1 channel; the search needs 3 or more"),
        ("CGPS_MC2_HI_line_rescb", "no velocity or frequency axis among 'GLON', 'GLAT', 'RESOL. PARMS'"),
    ],
)
def test_other_cgps_products_are_refused(survey_header, behind_header, name, message):
    header = survey_header(name)
    refused(behind_header(header, np.arange(12 * header["NAXIS3"])), message)


@pytest.mark.parametrize(
    ("name", "ends", "lon_lat", "beam", "n_mends"),
    [
        ("GRS_13CO_cube", (-5.0, 134.9), (15.994, -1.05), None, 4),
        ("W51_H2CO_GBT_cube", (-48.0, 152.0), (49.847, -0.698), 500.0, 1),
    ],
)
def test_other_surveys(survey_header, behind_header, read_mended, name, ends, lon_lat, beam, n_mends):
    header = survey_header(name)
    raw = np.random.default_rng(2).normal(size=(header["NAXIS3"], 3, 4))
    cube = read_mended(behind_header(header, raw))
    assert_allclose(cube.kelvin, raw, rtol=1e-6)
    assert_allclose(cube.velocity.to_value(KMS)[[0, -1]], ends, atol=0.1)
    assert_allclose(cube.wcs.celestial.pixel_to_world_values(0, 0), lon_lat, atol=0.01)
    assert (cube.beam is None) if beam is None else round(cube.beam.major.to_value(u.arcsec)) == beam
    assert len(cube.mends) == n_mends
