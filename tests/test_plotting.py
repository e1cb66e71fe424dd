"""Pictures: right axes and words, and nothing cut off. How they look is for eyes to judge."""

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS
from matplotlib.figure import Figure
from numpy.testing import assert_allclose
from radio_beam import Beam

from hisatools.catalog import build_catalog
from hisatools.errors import OutputError, ParameterError
from hisatools.plotting import plot_channel, plot_spectrum
from hisatools.results import HISAResult
from hisatools.summary import plot_summary

KMS = u.km / u.s
GALACTIC = ("GLON-CAR", "GLAT-CAR")


def make_result(shape=(9, 12, 14), *, sky=GALACTIC, absorbed=True, step=-1000.0, meta=None):
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


@pytest.fixture(scope="module")
def result():
    return make_result()


def words(figure):
    """All text of a figure and its subfigures, titles included."""
    found = [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))]
    return "\n".join(found)


def overhang(figure):
    """By how many inches the drawing reaches beyond the page."""
    figure.draw_without_rendering()
    box = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    return max(-box.x0, -box.y0, box.x1 - width, box.y1 - height)


# --- channel maps -----------------------------------------------------------------------------


def test_channel_with_most_absorption_is_the_default(result):
    ax = plot_channel(result)
    assert "\u221243.0 km" in ax.get_title()
    image = ax.images[-1].get_array()
    assert image.min() == -30
    assert np.ma.count(image) == 3


@pytest.mark.parametrize(("what", "label"), [("t_on", "ON"), ("t_unabsorbed", "U"), ("delta_t", "Delta")])
def test_channel_is_the_nearest_one_and_the_colour_bar_has_its_unit(result, what, label):
    ax = plot_channel(result, -45_300 * u.m / u.s, what=what)
    assert "\u221245.0 km" in ax.get_title()
    (bar,) = (other for other in ax.figure.axes if other is not ax)
    assert label in bar.get_ylabel()
    assert bar.get_ylabel().endswith("(K)")


def test_positive_velocities_have_a_plus_sign():
    ax = plot_channel(make_result(step=30_000.0))
    assert "+50.0 km" in ax.get_title()


def test_axes_are_those_of_the_sky(result):
    ax = plot_channel(result)
    ax.figure.draw_without_rendering()
    assert [coordinate.get_axislabel() for coordinate in ax.coords] == [
        "Galactic longitude",
        "Galactic latitude",
    ]
    other = plot_channel(make_result(sky=("RA---SIN", "DEC--SIN")))
    assert [coordinate.get_axislabel() for coordinate in other.coords] == ["Right ascension", "Declination"]
    ecliptic = plot_channel(make_result(sky=("ELON-CAR", "ELAT-CAR")))
    ecliptic.figure.draw_without_rendering()
    assert ecliptic.coords[0].get_axislabel() == "Ecliptic longitude"


def test_drawing_into_axes_of_the_user(result):
    ax = Figure().add_subplot(projection=result.wcs.celestial)
    assert result.plot_channel(ax=ax) is ax
    plain = Figure().add_subplot()
    assert result.plot_spectrum(ax=plain) is plain


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"what": "flags"}, "unknown cube 'flags'; known: delta_t, t_unabsorbed, t_on"),
        ({"velocity": -41}, r"velocity needs a unit, got -41; write -41 \* u.km / u.s"),
        (
            {"velocity": 100 * KMS},
            r"velocity 100.0 km / s is not in the cube \(-48.0 km / s to -40.0 km / s\)",
        ),
    ],
)
def test_channels_that_cannot_be_drawn(result, arguments, message):
    with pytest.raises(ParameterError, match=message):
        plot_channel(result, **arguments)


# --- spectra ----------------------------------------------------------------------------------


def drawn_spectrum(ax):
    return next(patch for patch in ax.patches if "ON" in str(patch.get_label()))


@pytest.mark.parametrize("step", [-1000.0, 1000.0])
def test_spectrum_runs_through_the_deepest_voxel_with_velocity_rising(step):
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


@pytest.mark.parametrize("absorbed", [True, False])
def test_blank_channels_are_passed_over(absorbed):
    result = make_result(absorbed=absorbed)
    result.t_on[0] = np.nan * u.K
    assert np.isfinite(drawn_spectrum(plot_spectrum(result)).get_data()[0][:-1]).all()
    assert overhang(plot_summary(result)) < 0.02


# --- the summary ------------------------------------------------------------------------------

SHAPES = {"square": (9, 12, 14), "wide": (9, 8, 60), "strip": (9, 2, 60), "tall": (9, 40, 10)}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_nothing_is_cut_off(shape):
    assert overhang(plot_summary(make_result(shape))) < 0.02


def test_summary_has_the_panels_of_the_paper(result):
    text = words(plot_summary(result))
    for title in ("(a) H I, observed", "(b) Spectral search", "(c) Spatial search", "(d) Both searches"):
        assert title in text
    for title in ("(e) Absorption", "(f) H I, unabsorbed", "(g) Spectrum at $l$ = 139.570\u00b0"):
        assert title in text
    assert "MA1: 9 voxels of absorption accepted, number of features: 1" in text


def test_observed_and_unabsorbed_share_a_colour_scale(result):
    figure = plot_summary(result)
    limits = {}
    for ax in figure.findobj(lambda artist: hasattr(artist, "images") and hasattr(artist, "get_title")):
        title = ax.get_title(loc="left")
        if "H I" in title:
            limits[title] = ax.images[-1].get_clim()
    assert len(limits) == 2
    assert len(set(limits.values())) == 1


def test_summary_without_absorption_says_why():
    remark = "no absorption: the brightest voxel is 2.63 K, so T_U is below T_crit = 70 K everywhere"
    result = make_result(absorbed=False, meta={"input": {"object": "DFN"}, "remarks": [remark]})
    figure = plot_summary(result)
    assert f"DFN: {remark}" in words(figure)
    assert "none" in words(figure)


@pytest.mark.parametrize("absorbed", [True, False])
def test_summary_of_a_spectrum_is_the_spectrum(absorbed):
    result = make_result((9, 1, 1), absorbed=absorbed, meta={"input": {"position": "not known"}})
    figure = plot_summary(result)
    assert len(figure.axes) == 2
    assert "Brightness temperature (K)" in words(figure)
    assert overhang(figure) < 0.02
    assert result.plot_spectrum().get_title() == ""


def test_picture_is_written_once(result, tmp_path):
    path = tmp_path / "summary.pdf"
    figure = result.plot_summary(path)
    assert isinstance(figure, Figure)
    assert path.read_bytes().startswith(b"%PDF")
    with pytest.raises(OutputError, match=r"summary.pdf exists already"):
        result.plot_summary(path)
    result.plot_summary(path, overwrite=True)
