"""Catalogue plots: the columns asked for, words and units, and rows without values."""

from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import Column, MaskedColumn, QTable, Table
from astropy.time import Time
from astropy.utils.masked import Masked
from numpy.testing import assert_allclose

from hisatools.errors import InputError, ParameterError
from hisatools.plotting import plot_catalog


def make_table(**columns):
    table = QTable(
        {
            "name": ["a", "b", "c"],
            "lon": [359.9, 0.1, 0.3] * u.deg,
            "lat": [60.0, 60.1, 60.2] * u.deg,
            "velocity": [-40.0, -41.0, -45.0] * u.km / u.s,
            "delta_t_peak": [-20.0, -30.0, -40.0] * u.K,
            "n_voxels": [3, 4, 12],
            **columns,
        }
    )
    table.meta = {"FRAME": "galactic", "SPECSYS": "LSRK"}
    return table


def points(ax):
    return next(
        artist for artist in ax.collections if artist.get_offsets().shape[1] == 2 and artist.get_zorder() == 2
    )


def test_columns_have_words_and_units():
    ax = plot_catalog(make_table())
    assert_allclose(points(ax).get_offsets(), [[-40, -20], [-41, -30], [-45, -40]])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("LSR velocity (km s$^{-1}$)", r"Deepest $\Delta T$ (K)")
    other = plot_catalog(make_table(rate=[1, 2, 3] / u.s, mass_hi=[1, 2, 3] * u.solMass), "rate", "mass_hi")
    assert other.get_xlabel() == "Rate (s$^{-1}$)"
    assert other.get_ylabel() == r"Mass of cold H I (M$_\odot$)"
    assert plot_catalog(make_table(), y="n_voxels").get_ylabel() == "Number of voxels"


def test_a_result_is_its_catalogue(result):
    assert_allclose(
        points(result.plot_catalog()).get_offsets()[0, 1], result.catalog["delta_t_peak"][0].value
    )


def test_colour_and_size_are_columns(words):
    ax = plot_catalog(make_table(), color="lat", size="n_voxels")
    assert_allclose(points(ax).get_array(), [60.0, 60.1, 60.2])
    areas = points(ax).get_sizes()
    assert_allclose((areas[2] - areas[0]) / (areas[1] - areas[0]), 9)
    assert "Galactic latitude (deg)" in words(ax.figure)
    assert ax.get_legend().get_title().get_text() == "Number of voxels"


@pytest.mark.parametrize(
    "depth",
    [
        [-20.0, np.nan, -40.0] * u.K,
        Masked([-20.0, -30.0, -40.0] * u.K, mask=[False, True, False]),
        MaskedColumn([-20.0, -30.0, -40.0], mask=[False, True, False], unit="K"),
        Column([-20.0, np.inf, -40.0], unit="K"),
    ],
    ids=["NaN", "masked", "masked column", "infinite"],
)
def test_rows_without_a_value_are_left_out_and_counted(words, depth):
    table = make_table()
    table = Table(table) if isinstance(depth, Column) else table
    table["delta_t_peak"] = depth
    ax = plot_catalog(table)
    assert_allclose(points(ax).get_offsets(), [[-40, -20], [-45, -40]])
    assert ax.get_ylabel() == r"Deepest $\Delta T$ (K)"
    assert "1 of 3 features have no value" in words(ax.figure)


def test_features_without_a_colour_are_drawn_nevertheless():
    ax = plot_catalog(make_table(ts=[25.0, np.nan, 36.0]), color="ts")
    ax.figure.draw_without_rendering()
    assert len(points(ax).get_offsets()) == 3
    assert_allclose(points(ax).get_facecolors()[1, :3], 0.85)


def test_uncertainties_are_bars():
    ax = plot_catalog(make_table(delta_t_peak_error=[1.0, 2.0, np.nan] * u.K))
    assert_allclose(bar_lengths(ax), [2, 4, 0])


def bar_lengths(ax):
    bars = next(artist for artist in ax.collections if hasattr(artist, "get_segments"))
    return [np.ptp(segment[:, 1]) for segment in bars.get_segments()]


def test_bars_are_in_the_unit_of_their_column():
    depth = ([-20, -30, -40] * u.K).to(u.mK)
    ax = plot_catalog(make_table(delta_t_peak=depth, delta_t_peak_error=[1.0, 2.0, 3.0] * u.K))
    assert_allclose(bar_lengths(ax), [2000, 4000, 6000])
    with pytest.raises(
        ParameterError, match="column 'delta_t_peak_error' is in km, which is no K; convert it"
    ):
        plot_catalog(make_table(delta_t_peak_error=[1.0, 2.0, 3.0] * u.km))


def test_an_uncertainty_that_cannot_be_one_has_no_bar():
    ax = plot_catalog(make_table(delta_t_peak_error=[-1.0, 2.0, np.inf] * u.K))
    assert_allclose(bar_lengths(ax), [0, 4, 0])


def test_positions_in_other_units_are_drawn_where_they_are(result):
    table = make_table()
    ax = plot_catalog(make_table(lon=table["lon"].to(u.rad), lat=table["lat"].to(u.arcmin)), "lon", "lat")
    assert_allclose(points(ax).get_offsets()[:, 0], [-0.1, 0.1, 0.3], atol=1e-9)
    assert_allclose(points(ax).get_offsets()[:, 1], [60, 60.1, 60.2])
    assert ax.get_ylabel() == "Galactic latitude (deg)"
    catalog = result.catalog.copy()
    catalog["lon"] = catalog["lon"].to(u.hourangle)
    ax = plot_catalog(replace(result, catalog=catalog), "lon", "lat")
    assert_allclose(points(ax).get_offsets(), [[6, 5]], atol=1e-3)


def test_columns_that_are_no_numbers_are_in_nobodys_way():
    table = make_table()
    table["sky"] = SkyCoord(table["lon"], table["lat"], frame="galactic")
    table["when"] = Time(["2000-01-01", "2000-01-02", "2000-01-03"])
    assert len(points(plot_catalog(table)).get_offsets()) == 3
    with pytest.raises(ParameterError, match="column 'sky' has no numbers; columns with numbers: lon, lat"):
        plot_catalog(table, "sky")


def test_sky_of_a_catalogue_is_not_torn_at_longitude_zero():
    ax = plot_catalog(make_table(), "lon", "lat")
    assert_allclose(points(ax).get_offsets()[:, 0], [-0.1, 0.1, 0.3], atol=1e-9)
    left, right = ax.get_xlim()
    assert left > right
    assert ax.get_aspect() == pytest.approx(1 / np.cos(np.radians(60.1)))
    assert ax.get_xlabel() == "Galactic longitude (deg)"


def test_sky_of_a_result_is_its_field(result):
    ax = result.plot_catalog("lon", "lat")
    # All of the feature lies about its deepest voxel, (5, 6).
    assert_allclose(points(ax).get_offsets(), [[6, 5]], atol=1e-3)
    assert ax.get_xlim() == (-0.5, 13.5)
    assert ax.coords[0].get_axislabel() == "Galactic longitude"


@pytest.mark.parametrize("where", [("velocity", "delta_t_peak"), ("lon", "lat")])
def test_an_empty_catalogue_can_be_drawn(make_result, words, overhang, where):
    empty = make_result(absorbed=False)
    for catalog in (empty, empty.catalog):
        ax = plot_catalog(catalog, *where, color="velocity", size="n_voxels")
        assert "none" in words(ax.figure)
        assert overhang(ax.figure) < 0.02


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("speed",), "column 'speed' is not in the catalogue; columns with numbers: lon, lat, velocity"),
        (("velocity", "name"), "column 'name' has no numbers; columns with numbers: lon"),
    ],
)
def test_columns_that_cannot_be_drawn(arguments, message):
    with pytest.raises(ParameterError, match=message):
        plot_catalog(make_table(), *arguments)


def test_what_is_no_catalogue_is_refused(make_result):
    with pytest.raises(ParameterError, match="catalog must be a HISAResult or a Table, got list"):
        plot_catalog([1, 2])
    with pytest.raises(InputError, match="a single spectrum, which has no map"):
        make_result((9, 1, 1)).plot_catalog("lon", "lat")
