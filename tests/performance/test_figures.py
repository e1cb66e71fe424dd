"""Figures of performance: the panels, words and marks promised. How they look is for eyes to judge."""

from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
from astropy.table import QTable
from astropy.wcs import WCS
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text
from numpy.testing import assert_allclose

from hisatools.errors import OutputError, ParameterError, ParameterUnitsError
from hisatools.performance import OBSERVABLES, Histograms, PerformanceModel, Sample, figures
from hisatools.performance.figures import (
    plot_calibration,
    plot_drifts,
    plot_fractions,
    plot_projections,
    plot_reliability,
    plot_sample,
    write_figures,
)
from hisatools.performance.maps import LEVELS
from hisatools.performance.slices import UNSUPPORTED

KMS = u.km / u.s
DELTA_T, T_U, ANGLE, VELOCITY = (observable.label for observable in OBSERVABLES)
PAIRS = [(T_U, DELTA_T), (ANGLE, DELTA_T), (VELOCITY, DELTA_T), (VELOCITY, ANGLE)]
PAIRS_TOO = [(ANGLE, T_U), (VELOCITY, T_U)]
EMPTY = PerformanceModel(Histograms.empty())


def make_performance(found=True):
    """Input at -30 to 0 K, 85 to 105 K, 2 to 10 arcmin, 1 to 4 km/s: half is found where deep, with drift.

    A single feature stands apart at 40 arcmin.
    """
    bins = np.stack(np.meshgrid(range(-12, 0), range(34, 42), range(4, 20, 3), range(2, 8)), axis=-1)
    bins = np.vstack([bins.reshape(-1, 4), [[-1, 34, 80, 2]]]).astype(np.int32)
    counts = np.zeros((len(bins), 4), np.int64)
    counts[:, 0] = 200
    if found:
        counts[:, 1] = counts[:, 3] = np.where(bins[:, 0] < -6, 190, 20)
        counts[:, 2] = 200
    # From -12 K at the deep end to +10 K at the shallow one.
    drift = (bins[:, :1] + 6.0) * np.array([2, -1, 1, 0.1])
    return PerformanceModel(
        Histograms(bins, counts, drift * counts[:, 1:2], drift**2 * counts[:, 1:2])._grouped()
    )


def make_sample(sky=("GLON-CAR", "GLAT-CAR"), step=-824.46, absorbed=True):
    """A feature of 8 x 10 pixels, the lowest row unlike anything in the models, and one of 2 x 2."""
    wcs = WCS(naxis=3)
    wcs.wcs.ctype = [*sky, "VRAD"]
    wcs.wcs.cunit = ["deg", "deg", "m/s"]
    wcs.wcs.crval = [140, 0 if sky[0].startswith("GLON") else 30, -40e3]
    wcs.wcs.crpix = [20, 15, 8]
    wcs.wcs.cdelt = [-0.005, 0.005, step]
    wcs.wcs.set()
    channel = {name: np.zeros((30, 40), np.float32) for name in ("delta_t_in", "delta_t_out")}
    if absorbed:
        channel["delta_t_in"][9:19, 8:20] = -25
        channel["delta_t_out"][10:18, 9:19] = np.linspace(-29, -1, 10)
        channel["delta_t_out"][25:27, 35:37] = -30
    channel["t_on"] = np.full((30, 40), 95, np.float32)
    channel["t_unabsorbed_out"] = np.full((30, 40), 95, np.float32)
    channel["t_unabsorbed_out"][10] = 200
    channel["angular_width_out"] = np.full((30, 40), 5.2, np.float32)
    channel["velocity_width_out"] = np.full((30, 40), 2.2, np.float32)
    row = {name: np.repeat(image[14:15], 16, axis=0) for name, image in channel.items()}
    return Sample(channel, row, 3, 14, wcs)


@pytest.fixture(scope="module")
def performance():
    return replace(make_performance(), sample=make_sample())


@pytest.fixture(scope="module")
def projections(performance):
    return plot_projections(performance)


@pytest.fixture(scope="module")
def fractions(performance):
    return plot_fractions(performance)


@pytest.fixture(scope="module")
def drifts(performance):
    return plot_drifts(performance)


def panels(figure):
    """The axes that are no colour bars, those of subfigures included."""
    found = figure.findobj(lambda artist: hasattr(artist, "get_xlabel") and hasattr(artist, "images"))
    return [ax for ax in dict.fromkeys(found) if not hasattr(ax, "_colorbar")]


def labels(axes):
    return [(ax.get_xlabel(), ax.get_ylabel()) for ax in axes]


def words(figure):
    return [text.get_text() for text in figure.findobj(Text)]


def crosses(ax):
    return [line.get_xydata()[0] for line in ax.lines if line.get_marker() == "+"]


def overhang(figure):
    """By how many inches the drawing reaches beyond the page."""
    figure.draw_without_rendering()
    box = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    return max(-box.x0, -box.y0, box.x1 - width, box.y1 - height)


# --- slices -----------------------------------------------------------------------------------


def test_fractions_have_a_slice_for_every_pair_of_observables(fractions):
    upper, lower = fractions.subfigs
    assert labels(panels(upper)) == labels(panels(lower)) == PAIRS + PAIRS_TOO
    assert "Throughput" in upper.get_suptitle()
    assert "True fraction" in lower.get_suptitle()
    for ax in panels(fractions):
        assert ax.images[0].get_clim() == (0, 1)


def test_drifts_have_a_row_for_each_of_three(drifts):
    assert [part.get_suptitle() for part in drifts.subfigs] == [
        r"Drift of $\Delta T$",
        r"Drift of $\Delta\theta$",
        r"Drift of $\Delta v$",
    ]
    for part, greatest in zip(drifts.subfigs, (10, 50, 20), strict=True):
        assert labels(panels(part)) == PAIRS
        for ax in panels(part):
            norm = ax.images[0].norm
            assert (norm.vmin, norm.vmax) == (-greatest, greatest)
            assert float(norm(0)) == 0.5


def test_cross_marks_where_the_slices_meet(fractions):
    upper, lower = fractions.subfigs
    for part, point in ((upper, (-18.75, 101.25, 8.25, 2.75)), (lower, (-13.75, 91.25, 3.75, 2.25))):
        place = dict(zip((DELTA_T, T_U, ANGLE, VELOCITY), point, strict=True))
        for ax in panels(part):
            assert len(crosses(ax)) == 2
            assert_allclose(crosses(ax), [[place[ax.get_xlabel()], place[ax.get_ylabel()]]] * 2)
        for value in point:
            assert f"= {value:g} ".replace("-", "\u2212") in part.get_suptitle()


def test_slices_show_the_measure_at_the_cross(performance, fractions):
    expected = performance.slice(
        "throughput", "angular_width", "delta_t", t_unabsorbed=101.25 * u.K, velocity_width=2.75 * KMS
    )
    image = panels(fractions.subfigs[0])[1].images[0]
    assert_allclose(image.get_array().filled(np.nan), expected.value)
    left, right, bottom, top = image.get_extent()
    assert (left, right) == (expected.x[0].value - 0.25, expected.x[-1].value + 0.25)
    assert (bottom, top) == (expected.y[0].value - 1.25, expected.y[-1].value + 1.25)


@pytest.mark.parametrize("plot", [plot_fractions, plot_drifts])
def test_place_of_the_slices_can_be_chosen(performance, plot):
    figure = plot(performance, at={"delta_t": -12 * u.K, "angular_width": 300 * u.arcsec})
    for ax in panels(figure):
        place = dict(zip((ax.get_xlabel(), ax.get_ylabel()), crosses(ax)[0], strict=True))
        assert place.get(DELTA_T, -11.25) == -11.25
        assert place.get(ANGLE, 5.25) == 5.25


def test_point_without_support_is_moved_to_the_nearest_that_has_it(performance):
    figure = plot_fractions(performance, at={"delta_t": -80 * u.K})
    for part, name in zip(figure.subfigs, ("throughput", "true_fraction"), strict=True):
        measure = performance.measure(name)
        rows = np.isfinite(measure.value).any(axis=(1, 2, 3))
        assert crosses(panels(part)[0])[0][1] == measure.centres("delta_t")[rows][0].value


@pytest.mark.parametrize(
    ("at", "error", "message"),
    [
        ({"depth": 3 * u.K}, ParameterError, "unknown observable 'depth'; write one of delta_t"),
        ({"delta_t": -20}, ParameterUnitsError, "delta_t needs a unit of K, got -20"),
        ({"delta_t": np.nan * u.K}, ParameterError, "at: delta_t must be finite"),
    ],
)
def test_places_that_are_none(performance, at, error, message):
    with pytest.raises(error, match=message):
        plot_drifts(performance, at=at)


def test_where_there_is_no_support_the_hatched_grey_shows(performance, fractions):
    ax = panels(fractions.subfigs[0])[1]
    shown = ax.images[0].get_array()
    assert np.ma.count_masked(shown) > 0
    assert ax.images[0].get_cmap()(np.ma.masked) == (0, 0, 0, 0)
    assert ax.patch.get_facecolor() == to_rgba(UNSUPPORTED["facecolor"])
    assert ax.patch.get_hatch() == UNSUPPORTED["hatch"]
    assert "too few voxels for a value" in words(fractions)


def test_axes_end_where_support_ends(performance, fractions):
    known = np.isfinite(performance.throughput.value)
    centres = performance.throughput.centres("delta_t").value
    low = centres[known.any(axis=(1, 2, 3))][0] - 1.25
    ax = panels(fractions.subfigs[0])[0]
    assert ax.get_ylim() == (low, 0)
    # The lone bin at 40 arcmin is far from the slices, and so are 20 arcmin and more.
    assert performance.throughput.centres("angular_width")[-1] > 40 * u.arcmin
    assert panels(fractions.subfigs[0])[1].get_xlim()[1] < 20


def contours(ax):
    """Level: width and colour of each contour."""
    lines = [artist for artist in ax.collections if hasattr(artist, "levels")]
    return {line.levels[0]: (line.get_linewidth()[0], tuple(line.get_edgecolor()[0])) for line in lines}


def test_contours_of_fractions_are_black_below_and_white_above(fractions):
    drawn = contours(panels(fractions.subfigs[0])[0])
    assert {0.3, 0.5, 0.7} <= set(drawn)
    for level, (_, color) in drawn.items():
        assert color == to_rgba("black" if level < 0.6 else "white")


def test_zero_contour_of_drifts_is_thick(drifts):
    drawn = contours(panels(drifts.subfigs[0])[0])
    assert drawn.keys() == {-5, 0, 5}
    assert drawn[0][0] > 2 * drawn[-5][0] == 2 * drawn[5][0]


# --- projections ------------------------------------------------------------------------------


def test_projections_hold_all_voxels_of_input_and_output(performance, projections):
    axes = panels(projections)
    assert [ax.get_ylabel() for ax in axes] == [y for _, y in PAIRS] * 2
    assert [ax.get_xlabel() for ax in axes[4:]] == [x for x, _ in PAIRS]
    totals = performance.histograms.counts.sum(axis=0)
    for ax, total in zip(axes, [totals[0]] * 4 + [totals[2]] * 4, strict=True):
        assert ax.images[0].get_array().sum() == total
        assert ax.images[0].get_clim() == (1, 1e6)
    assert axes[0].get_title(loc="left") == f"Put in: {totals[0]:,} voxels"


def test_projections_count_what_lies_in_a_bin(projections):
    ax = panels(projections)[3]
    left, right, bottom, top = ax.images[0].get_extent()
    counts = ax.images[0].get_array()
    assert counts.shape == (round((top - bottom) / 0.5), round((right - left) / 0.5))
    x, y = round((1.0 - left) / 0.5), round((2.0 - bottom) / 0.5)
    # 12 bins of dT and 8 of T_U, 200 voxels each.
    assert counts[y, x] == 12 * 8 * 200
    assert counts[y + 1, x] is np.ma.masked


def test_projections_show_the_whole_angular_width(projections):
    for ax in panels(projections):
        for label, (low, high) in ((ax.get_xlabel(), ax.get_xlim()), (ax.get_ylabel(), ax.get_ylim())):
            if label == ANGLE:
                assert low <= 2
                assert high >= 40.5


# --- maps -------------------------------------------------------------------------------------


def test_sample_has_three_maps_above_and_three_below(performance):
    figure = plot_sample(performance)
    figure.draw_without_rendering()
    axes = panels(figure)
    assert [ax.get_title() for ax in axes[::2]] == [
        "Absorption put in",
        "Observed brightness",
        "Absorption found",
    ]
    names = ("delta_t_in", "t_on", "delta_t_out")
    for (channel, row), name in zip(zip(axes[::2], axes[1::2], strict=True), names, strict=True):
        assert channel.coords[0].get_axislabel() == row.coords[0].get_axislabel() == "Galactic longitude"
        limits = (0, 120) if name == "t_on" else (-40, 0)
        for ax, image in ((channel, performance.sample.channel), (row, performance.sample.row)):
            assert ax.images[-1].get_clim() == limits
            shown = ax.images[-1].get_array()
            expected = image[name] if name == "t_on" else np.where(image[name] < 0, image[name], np.nan)
            assert_allclose(np.ma.filled(shown.astype(float), np.nan), expected)
    assert axes[0].coords[1].get_axislabel() == "Galactic latitude"
    assert axes[1].coords[2].get_axislabel() == "Velocity (km s$^{-1}$)"
    assert "at $v$ = \u221236.7 km s$^{-1}$" in figure.get_suptitle()
    assert "at $b$ = +0.00\u00b0" in figure.get_suptitle()


def test_deeper_absorption_is_darker(performance):
    image = panels(plot_sample(performance))[0].images[-1]
    deep, shallow = (sum(image.cmap(image.norm(value))[:3]) for value in (-40, -2))
    assert deep < shallow / 2


def test_colours_reach_as_far_up_as_the_sky():
    sample = make_sample()
    for images in (sample.channel, sample.row):
        images["t_on"][:] = 180
    axes = panels(plot_sample(replace(EMPTY, sample=sample)))
    assert axes[2].images[-1].get_clim() == (0, pytest.approx(181))


@pytest.mark.parametrize("step", [-1000.0, 1000.0])
def test_velocity_rises_upwards(step):
    sample = make_sample(("RA---SIN", "DEC--SIN"), step)
    figure = plot_sample(replace(EMPTY, sample=sample))
    bottom, top = panels(figure)[1].get_ylim()
    assert (top - bottom) * step > 0
    assert "declination = +30.00\u00b0" in figure.get_suptitle()


def test_triangles_mark_where_the_slices_cut(performance):
    channel, row = panels(plot_sample(performance))[:2]
    for ax, place in ((channel, 14), (row, 3)):
        assert [line.get_marker() for line in ax.lines] == [">", "<"]
        assert [line.get_ydata()[0] for line in ax.lines] == [place, place]


def test_reliability_is_drawn_around_the_largest_feature(performance):
    figure = plot_reliability(performance)
    ax = panels(figure)[0]
    shown = ax.images[1].get_array()
    assert shown.shape == (16, 18)
    assert np.ma.filled(shown, 0).min() == -29
    sky = ax.wcs.pixel_to_world_values(4, 4)
    assert_allclose(sky, performance.sample.wcs.celestial.pixel_to_world_values(9, 10))
    largest = performance.true_fraction.at_points(performance.sample.found_voxels().values)
    assert f"{np.nanmax(largest):.6f} (" in ax.get_title()
    assert r"$\sigma$)" in ax.get_title()


def test_reliability_has_the_contours_of_1_to_4_sigma(performance):
    perfect = replace(performance.histograms, counts=performance.histograms.counts.copy())
    perfect.counts[:, 3] = perfect.counts[:, 2]
    figure = plot_reliability(replace(performance, histograms=perfect))
    ax = panels(figure)[0]
    assert list(contours(ax)) == list(LEVELS)
    assert "1 (no false voxel in the models was like it)" in ax.get_title()
    for number in range(1, 5):
        assert any(text.startswith(rf"{number}$\sigma$") for text in words(figure))


def test_found_voxels_without_a_true_fraction_are_grey(performance):
    overlay = panels(plot_reliability(performance))[0].images[-1].get_array()
    assert (overlay[4, 4:14] == np.round(255 * np.array(to_rgba("0.6")))).all()
    assert (overlay[5:] == 0).all()


@pytest.mark.parametrize("plot", [plot_sample, plot_reliability])
def test_figures_of_a_sample_want_one(plot):
    with pytest.raises(ParameterError, match="performance has no sample slices; runs of model cubes"):
        plot(EMPTY)


# --- the reliability diagram ------------------------------------------------------------------


@pytest.fixture
def table():
    return QTable(
        {
            "predicted": [np.nan, 0.56, 0.97],
            "true_fraction": [np.nan, 0.61, 0.96],
            "uncertainty": [np.nan, 0.05, 0.01],
            "n_voxels": [0, 40, 90_000],
        }
    )


def test_calibration_shows_the_tenths_that_have_voxels(table):
    upper, lower = plot_calibration(table).axes
    (points,) = upper.containers
    assert_allclose(points.lines[0].get_xydata(), [[0.56, 0.61], [0.97, 0.96]])
    assert_allclose(points.lines[2][0].get_segments()[0], [[0.56, 0.56], [0.56, 0.66]])
    assert [bar.get_height() for bar in lower.containers[0]] == [40, 90_000]
    assert (upper.get_ylabel(), lower.get_ylabel()) == ("Measured true fraction", "Voxels")


def test_calibration_has_a_box_for_each_tenth_and_the_diagonal(table):
    upper = plot_calibration(table).axes[0]
    corners = [box.get_bbox().extents for box in upper.patches]
    assert_allclose(corners, [[low / 10, low / 10, (low + 1) / 10, (low + 1) / 10] for low in range(10)])
    assert any(np.array_equal(line.get_xydata(), [[0, 0], [1, 1]]) for line in upper.lines)


def test_calibration_without_voxels(table):
    assert "no voxels" in words(plot_calibration(table[:1]))


def test_calibration_names_the_missing_column(table):
    table.remove_column("uncertainty")
    with pytest.raises(ParameterError, match="table lacks the column 'uncertainty'; it has"):
        plot_calibration(table)


# --- all of them ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plot", "n_panels"), [(plot_projections, 8), (plot_fractions, 12), (plot_drifts, 12)]
)
def test_empty_model_says_so_in_every_panel(plot, n_panels):
    figure = plot(EMPTY)
    assert words(figure).count("no voxels") >= n_panels
    assert len(panels(figure)) == n_panels


def test_model_in_which_nothing_was_found():
    figure = plot_fractions(make_performance(found=False))
    upper, lower = (words(part).count("no voxels") for part in figure.subfigs)
    assert (upper, lower) == (0, 6)
    nothing = replace(make_performance(found=False), sample=make_sample(absorbed=False))
    assert "none" in words(plot_reliability(nothing))


@pytest.mark.parametrize("plot", [plot_sample, plot_reliability])
def test_nothing_is_cut_off(performance, plot):
    assert overhang(plot(performance)) < 0.02


def test_nothing_of_projections_and_slices_is_cut_off(projections, fractions, drifts):
    assert max(overhang(figure) for figure in (projections, fractions, drifts)) < 0.02


def test_all_figures_are_written(performance, tmp_path, monkeypatch):
    names = ["sample", "projections", "fractions", "drifts", "reliability"]
    for number, name in enumerate(names, start=1):
        # Drawing itself is tested above; here, which figure goes into which file.
        monkeypatch.setattr(figures, f"plot_{name}", lambda _, width=number: Figure((width, 1)))
    paths = write_figures(performance, tmp_path)
    assert [path.name for path in paths] == [f"{name}.png" for name in names]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"{name}.png" for name in names)
    assert [imread(path).shape[:2] for path in paths] == [(150, 150 * width) for width in range(1, 6)]


def test_without_a_sample_three_are_written_and_only_if_allowed_over_others(tmp_path):
    (tmp_path / "projections.png").write_text("old")
    with pytest.raises(OutputError, match=r"projections\.png exists already"):
        write_figures(EMPTY, tmp_path)
    paths = write_figures(EMPTY, tmp_path, overwrite=True)
    assert [path.name for path in paths] == ["projections.png", "fractions.png", "drifts.png"]
    assert paths[0].read_bytes().startswith(b"\x89PNG")
