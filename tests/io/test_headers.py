import astropy.units as u
import numpy as np
import pytest
from astropy.constants import c
from astropy.coordinates import angular_separation
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from hisatools.errors import InputError, MendWarning, ParameterUnitsError
from hisatools.io.headers import mend_header, sky_wcs
from hisatools.io.mends import MendLog

HI = 1.42040575177e9


def mended(header, **arguments):
    """Axes and mends of a header."""
    mends = MendLog("a file", quiet=True)
    return mend_header(header, mends, **arguments), mends.texts


def velocities(wcs, n_channels=8):
    return wcs.wcs.crval[2] + (np.arange(1, n_channels + 1) - wcs.wcs.crpix[2]) * wcs.wcs.cdelt[2]


def test_clean_header_needs_no_mend(clean_header):
    axes, mends = mended(clean_header)
    assert mends == []
    assert axes.order == (1, 2, 3)
    assert_allclose(velocities(axes.wcs), -6e4 - 1e3 * np.arange(8))


def test_header_of_the_caller_is_not_changed(clean_header):
    clean_header.update({"CTYPE3": "VELO-LSR", "CUNIT3": "KM/S", "CRVAL2": 3.0})
    before = clean_header.copy()
    mended(clean_header)
    assert clean_header == before


@pytest.mark.parametrize(
    ("changes", "text", "first", "step", "frame"),
    [
        ({"CTYPE3": "VELO-LSR", "SPECSYS": None}, "'VELO-LSR' taken as velocity linear", -6e4, -1e3, "LSRK"),
        ({"CTYPE3": "FELO-LSR", "SPECSYS": None}, "'FELO-LSR' taken as velocity linear", -6e4, -1e3, "LSRK"),
        ({"CTYPE3": "VELO-HEL", "SPECSYS": None}, "'VELO-HEL' .* frame BARYCENT", -6e4, -1e3, "BARYCENT"),
        ({"CTYPE3": "VOPT"}, "CTYPE3 'VOPT' taken as velocity linear", -6e4, -1e3, "LSRK"),
        ({"CTYPE3": "VOPT-F2W"}, "CTYPE3 'VOPT-F2W' taken as velocity linear", -6e4, -1e3, "LSRK"),
        ({"CTYPE3": "VELOCITY"}, "CTYPE3 'VELOCITY' taken", -6e4, -1e3, "LSRK"),
        ({"CTYPE3": "VLSR", "SPECSYS": None}, "CTYPE3 'VLSR' taken", -6e4, -1e3, "LSRK"),
        ({"CUNIT3": "M/S"}, "CUNIT3 'M/S' taken as m / s", -6e4, -1e3, "LSRK"),
        ({"CUNIT3": "KM/S", "CRVAL3": -60.0, "CDELT3": -1.0}, "CUNIT3 'KM/S' taken", -6e4, -1e3, "LSRK"),
        ({"CUNIT3": None}, "CUNIT3 is absent: m / s assumed", -6e4, -1e3, "LSRK"),
        ({"CUNIT3": None, "CRVAL3": -60.0, "CDELT3": -1.0}, "CUNIT3 is absent: km / s", -6e4, -1e3, "LSRK"),
        ({"SPECSYS": None}, r"SPECSYS is absent: .*\(LSRK\) assumed", -6e4, -1e3, "LSRK"),
        ({"SPECSYS": None, "VELREF": 258}, "BARYCENT taken from VELREF = 258", -6e4, -1e3, "BARYCENT"),
        ({"SPECSYS": None, "VELREF": "257"}, "LSRK taken from VELREF = 257", -6e4, -1e3, "LSRK"),
        ({"CUNIT1": "DEGREE"}, "CUNIT1 'DEGREE' taken as deg", -6e4, -1e3, "LSRK"),
    ],
)
def test_each_fault_is_one_mend_that_says_what_was_assumed(clean_header, changes, text, first, step, frame):
    for key, value in changes.items():
        clean_header.remove(key, ignore_missing=True)
        if value is not None:
            clean_header[key] = value
    with pytest.warns(MendWarning, match=text) as caught:
        axes = mend_header(clean_header, MendLog("a file"))
    assert len(caught) == 1
    assert_allclose(velocities(axes.wcs), first + step * np.arange(8), rtol=1e-12)
    assert axes.wcs.wcs.ctype[2] == "VRAD"
    assert str(axes.wcs.wcs.cunit[2]) == "m / s"
    assert axes.wcs.wcs.specsys == frame


@pytest.mark.parametrize(
    ("cards", "frequency", "text"),
    [
        ({}, HI, "the H I line assumed, 1420.40575177 MHz"),
        ({"OBSFREQ": 1.420406e9}, HI, "the H I line assumed"),
        ({"OBSFREQ": 1.15e11}, 1.15e11, "OBSFREQ = 1.15e[+]11 Hz taken"),
        ({"FREQ0": 1.42e9}, 1.42e9, "FREQ0 = 1420000000.0 Hz taken"),
    ],
)
def test_absent_rest_frequency_is_mended(clean_header, cards, frequency, text):
    del clean_header["RESTFRQ"]
    clean_header.update(cards)
    with pytest.warns(MendWarning, match=f"RESTFRQ is absent: {text}"):
        axes = mend_header(clean_header, MendLog("a file"))
    assert axes.wcs.wcs.restfrq == frequency


def test_old_spelling_and_argument_give_the_rest_frequency(clean_header):
    clean_header.rename_keyword("RESTFRQ", "RESTFREQ")
    axes, mends = mended(clean_header)
    assert mends == [] and axes.wcs.wcs.restfrq == HI
    axes, mends = mended(clean_header, rest_frequency=1.4 * u.GHz)
    assert mends == [] and axes.wcs.wcs.restfrq == 1.4e9


def test_rest_frequency_without_unit_is_refused(clean_header):
    with pytest.raises(ParameterUnitsError, match="rest_frequency needs a unit of Hz"):
        mended(clean_header, rest_frequency=1420.4)


@given(
    reference=st.floats(1.415e9, 1.425e9),
    step=st.floats(1e2, 1e5).flatmap(lambda x: st.sampled_from([x, -x])),
    pixel=st.floats(-500, 500),
    unit=st.sampled_from(["Hz", "HZ", "MHz", "GHZ"]),
)
def test_frequency_becomes_radio_velocity_exactly(reference, step, pixel, unit):
    header = fits.Header({"CTYPE1": "GLON-CAR", "CDELT1": -1.0, "CTYPE2": "GLAT-CAR", "CDELT2": 1.0})
    scale = {"HZ": 1.0, "MHZ": 1e6, "GHZ": 1e9}[unit.upper()]
    header.update({"CTYPE3": "FREQ", "CUNIT3": unit, "RESTFRQ": HI, "SPECSYS": "LSRK"})
    header.update({"CRVAL3": reference / scale, "CDELT3": step / scale, "CRPIX3": pixel})
    frequency = reference + (np.arange(1, 9) - pixel) * step
    axes, _ = mended(header)
    assert_allclose(velocities(axes.wcs), c.value * (1 - frequency / HI), rtol=1e-9, atol=1e-2)


@pytest.mark.parametrize("latitude", [-1.0, 3.0])
def test_cgps_grid_is_the_plain_one(survey_header, latitude):
    header = survey_header("CGPS_MA1_HI_line_image", CRVAL2=latitude, NAXIS1=1024, NAXIS2=1024)
    axes, mends = mended(header)
    assert any(f"CRVAL2 = {latitude:g} deg taken as a plain grid" in text for text in mends)
    x, y = (grid.ravel() for grid in np.meshgrid([0, 511.5, 1023], [0, 511.5, 1023]))
    lon, lat = axes.wcs.celestial.pixel_to_world_values(x, y)
    assert_allclose(lon, header["CRVAL1"] + (x + 1 - 513) * header["CDELT1"], rtol=0, atol=1e-9)
    assert_allclose(lat, latitude + (y + 1 - 513) * header["CDELT2"], rtol=0, atol=1e-9)


def test_reading_the_cgps_grid_by_the_letter_would_be_arcseconds_off(survey_header):
    header = survey_header("CGPS_MC2_CO_line_image", NAXIS1=1024, NAXIS2=1024)
    keys = [key + axis for key in ("CTYPE", "CRVAL", "CRPIX", "CDELT") for axis in "12"]
    letter = WCS(fits.Header({key: header[key] for key in keys}))
    axes, _ = mended(header)
    x, y = np.array([0, 1023, 0, 1023]), np.array([0, 0, 1023, 1023])
    first, second = (np.radians(w.pixel_to_world_values(x, y)) for w in (letter, axes.wcs.celestial))
    assert 30 < np.degrees(angular_separation(*first, *second)).max() * 3600 < 40


def test_plain_names_are_a_plain_grid(clean_header):
    clean_header.update({"CTYPE1": "GLON", "CTYPE2": "GLAT", "CRVAL2": 1.0})
    axes, mends = mended(clean_header)
    assert sum("names no projection" in text for text in mends) == 2
    assert_allclose(axes.wcs.celestial.pixel_to_world_values(0, 0), (120.01, 0.995))


@pytest.mark.parametrize("equinox", [0.0, 20000.0])
def test_impossible_equinox_is_dropped(clean_header, equinox):
    clean_header.update({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "EQUINOX": equinox})
    axes, mends = mended(clean_header)
    assert mends == [f"EQUINOX = {equinox} is no year: ICRS assumed"]
    assert axes.wcs.wcs.radesys.strip() in ("", "ICRS")


def test_epoch_counts_as_equinox(clean_header):
    clean_header.update({"CTYPE1": "RA---NCP", "CTYPE2": "DEC--NCP", "CRVAL2": 40.0, "EPOCH": 1950.0})
    axes, mends = mended(clean_header)
    assert mends == [] and axes.wcs.wcs.equinox == 1950


def test_other_orders_of_axes_are_found(clean_header):
    swapped = clean_header.copy()
    for key in ("CTYPE", "CRVAL", "CRPIX", "CDELT", "CUNIT"):
        for new, old in ((1, 3), (2, 1), (3, 2)):
            swapped[f"{key}{new}"] = clean_header[f"{key}{old}"]
    swapped.update({"NAXIS1": 8, "NAXIS2": 6, "NAXIS3": 5})
    axes, mends = mended(swapped)
    straight, _ = mended(clean_header)
    assert axes.order == (2, 3, 1) and mends == []
    assert axes.wcs.wcs.compare(straight.wcs.wcs)


@pytest.mark.parametrize("form", ["PC", "CD", "CROTA"])
def test_steps_are_understood_in_every_form(clean_header, form):
    angle = np.radians(0.3)
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    steps = np.array([clean_header["CDELT1"], clean_header["CDELT2"]])
    if form == "CROTA":
        matrix[0, 1] *= steps[1] / steps[0]
        matrix[1, 0] *= steps[0] / steps[1]
        clean_header["CROTA2"] = 0.3
    cd = steps[:, None] * matrix
    for i, j in np.ndindex(2, 2):
        if form == "PC":
            clean_header[f"PC{i + 1}_{j + 1}"] = matrix[i, j]
        elif form == "CD":
            clean_header[f"CD{i + 1}_{j + 1}"] = cd[i, j]
    if form == "CD":
        clean_header["CD3_3"] = clean_header["CDELT3"]
        for axis in "123":
            del clean_header[f"CDELT{axis}"]
    axes, mends = mended(clean_header)
    assert mends == []
    assert_allclose(velocities(axes.wcs), -6e4 - 1e3 * np.arange(8))
    again = WCS(axes.wcs.to_header())
    assert_allclose(again.pixel_scale_matrix[:2, :2], cd, rtol=1e-9)
    assert again.wcs.cdelt[2] == -1000


def test_quoted_numbers_and_empty_cards_are_read(clean_header):
    clean_header["CDELT3"] = "-1000.0"
    clean_header["CUNIT3"] = None
    clean_header["SPECSYS"] = None
    axes, mends = mended(clean_header)
    assert axes.wcs.wcs.cdelt[2] == -1000
    assert [text.split()[0] for text in mends] == ["CUNIT3", "SPECSYS"]


def test_nonsense_on_a_dropped_axis_does_no_harm(clean_header):
    straight, _ = mended(clean_header)
    clean_header.update({"CTYPE4": "UNDEFINED", "CUNIT4": "W.U.", "CRVAL4": 1.0, "NAXIS4": 1})
    axes, mends = mended(clean_header)
    assert mends == [] and axes.wcs.wcs.compare(straight.wcs.wcs)


@pytest.mark.parametrize("projection", ["CAR", "TAN", "SIN", "SFL", "GLS", "NCP", "ARC", "AIT"])
def test_mended_wcs_survives_a_header(clean_header, projection):
    lon, lat = ("RA---", "DEC--") if projection in ("NCP", "GLS") else ("GLON-", "GLAT-")
    clean_header.update({"CTYPE1": lon + projection, "CTYPE2": lat + projection, "CRVAL2": 40.0})
    axes, _ = mended(clean_header)
    again, mends = mended(axes.wcs.to_header())
    assert mends == []
    pixels = np.array([[0.0, 0, 0], [5, 4, 7]])
    assert_allclose(again.wcs.wcs_pix2world(pixels, 0), axes.wcs.wcs_pix2world(pixels, 0), rtol=1e-11)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"CTYPE1": "LINEAR"}, "a file: no pair of celestial axes among 'LINEAR', 'GLAT', 'VRAD'; CTYPE1"),
        ({"CTYPE3": "TIME"}, "no velocity or frequency axis among 'GLON', 'GLAT', 'TIME'; describe"),
        ({"CTYPE3": "WAVE"}, "the spectral axis is 'WAVE' .* resample it to velocity first"),
        ({"CTYPE3": "FREQ-OHE"}, "'FREQ-OHE' .* resample it to velocity first"),
        ({"CTYPE3": "FREQ"}, "CUNIT3 'm/s' does not fit CTYPE3 'FREQ'; a unit of Hz is needed"),
        ({"CUNIT3": "furlong"}, "CUNIT3 'furlong' is no unit that is understood; correct it"),
        ({"CUNIT1": "grade"}, "CUNIT1 'grade' is no unit that is understood"),
        ({"CTYPE1": "GLON-XXX", "CTYPE2": "GLAT-XXX"}, "axes cannot be understood .*XXX.*; correct CTYPE"),
        ({"CTYPE4": "STOKES", "NAXIS4": 4, "WCSAXES": 4}, "4 Stokes planes; write the total intensity alone"),
        ({"CTYPE4": "BEAM", "NAXIS4": 7, "WCSAXES": 4}, r"7 planes along axis 4 \(BEAM\); write"),
        ({"PC3_1": 0.5}, "velocity axis is coupled to the sky axes .* reproject"),
        ({"CDELT3": 0.0}, "velocity axis has no step|axes cannot be understood"),
        ({"CRVAL3": "far"}, "a file: CRVAL3 holds no number; correct the header"),
        ({"NAXIS3": 2}, "a file: 2 channels; the search needs 3 or more"),
    ],
)
def test_what_cannot_be_mended_is_one_line_with_a_cure(clean_header, changes, message):
    clean_header.update(changes)
    with pytest.raises(InputError, match=message) as caught:
        mended(clean_header)
    assert "\n" not in str(caught.value)


def test_frequency_without_rest_frequency_is_refused(clean_header):
    clean_header.update({"CTYPE3": "FREQ", "CUNIT3": "Hz"})
    del clean_header["RESTFRQ"]
    message = r"add RESTFRQ to the header or pass rest_frequency=1420.40575177 \* u.MHz"
    with pytest.raises(InputError, match=message):
        mended(clean_header)


def test_map_header_gives_its_sky_without_a_word(survey_header):
    wcs = sky_wcs(survey_header("CGPS_MC2_HI_line_wght"), "weights")
    assert_allclose(wcs.pixel_to_world_values(512, 512), (120.75, 3.0))
    assert sky_wcs(fits.Header({"CTYPE1": "X", "CTYPE2": "Y"}), "weights") is None
