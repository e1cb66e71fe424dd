"""The summary: the panels of the paper, one colour scale, and nothing cut off."""

import astropy.units as u
import numpy as np
import pytest
from matplotlib.figure import Figure

from hisatools.errors import OutputError
from hisatools.plotting import plot_spectrum
from hisatools.summary import plot_summary


@pytest.mark.parametrize("absorbed", [True, False])
def test_blank_channels_are_passed_over(absorbed, make_result, overhang):
    result = make_result(absorbed=absorbed)
    result.t_on[0] = np.nan * u.K
    drawn = next(patch for patch in plot_spectrum(result).patches if "ON" in str(patch.get_label()))
    assert np.isfinite(drawn.get_data()[0][:-1]).all()
    assert overhang(plot_summary(result)) < 0.02


SHAPES = {"square": (9, 12, 14), "wide": (9, 8, 60), "strip": (9, 2, 60), "tall": (9, 40, 10)}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_nothing_is_cut_off(shape, make_result, overhang):
    assert overhang(plot_summary(make_result(shape))) < 0.02


def test_summary_has_the_panels_of_the_paper(result, words):
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


def test_summary_without_absorption_says_why(make_result, words):
    remark = "no absorption: the brightest voxel is 2.63 K, so T_U is below T_crit = 70 K everywhere"
    result = make_result(absorbed=False, meta={"input": {"object": "DFN"}, "remarks": [remark]})
    figure = plot_summary(result)
    assert f"DFN: {remark}" in words(figure)
    assert "none" in words(figure)


@pytest.mark.parametrize("absorbed", [True, False])
def test_summary_of_a_spectrum_is_the_spectrum(absorbed, make_result, overhang, words):
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
