"""Figures beside those that were looked at and found good, in ``tests/baseline``.

Letters are left out: releases of matplotlib draw them differently. After a change that is meant, make
them anew with ``pytest tests/plotting/test_figures.py --mpl-generate-path=tests/baseline``, and look at them.
"""

import numpy as np
import pytest
from matplotlib.legend import Legend
from matplotlib.text import Text

from hisatools.plotting import plot_catalog
from hisatools.summary import plot_summary

# Rms over the picture, of 255: more than what releases of matplotlib differ by, less than one wrong curve.
as_before = pytest.mark.mpl_image_compare(
    baseline_dir="../baseline", style="default", tolerance=6, savefig_kwargs={"dpi": 60}
)


@pytest.fixture(scope="module")
def result(make_result):
    """Smooth, for releases of matplotlib differ by a pixel in where they put the edge of a voxel."""
    return make_result(smooth=True)


def wordless(drawn):
    """The figure without its words and legends, and nothing laid out by their size."""
    figure = getattr(drawn, "figure", drawn)
    figure.set_layout_engine("none")
    for artist in (*figure.findobj(Text), *figure.findobj(Legend)):
        artist.set_visible(False)
    for ax in figure.findobj(lambda artist: hasattr(artist, "coords")):
        for coordinate in ax.coords:
            coordinate.set_ticklabel_visible(False)
            coordinate.set_axislabel(" ")
    return figure


@as_before
def test_channel(result):
    return wordless(result.plot_channel())


@as_before
def test_channel_with_outlines(result):
    return wordless(result.plot_channel(what="t_on", outlines=True))


@as_before
def test_passes(make_result):
    result = make_result(smooth=True)
    result.first_pass[3, 4, 6] = 2
    return wordless(result.plot_passes())


@as_before
def test_spectrum(result):
    return wordless(result.plot_spectrum())


@as_before
def test_spectral_stages(spectral_stages):
    return wordless(spectral_stages.plot())


@as_before
def test_slice(result):
    return wordless(result.plot_slice(along="longitude"))


@as_before
def test_spatial_stages(spatial_stages):
    return wordless(spatial_stages.plot())


@as_before
def test_longitude_velocity(result):
    return wordless(result.plot_longitude_velocity(what="t_on"))


@as_before
def test_catalog(result):
    table = result.catalog[np.zeros(4, int)]
    table["velocity"] += np.arange(4) * table["velocity"].unit
    table["n_voxels"] = [9, 20, 40, 80]
    return wordless(plot_catalog(table, color="velocity", size="n_voxels"))


@as_before
def test_summary(result):
    return wordless(plot_summary(result))
