"""Figures of a performance model, with the content of figures 9 and 11 to 14 of the paper."""

from pathlib import Path

import numpy as np

from hisatools.errors import ParameterError
from hisatools.io.writing import writing_file
from hisatools.performance.maps import plot_reliability, plot_sample
from hisatools.performance.observables import STEPS, axis_number
from hisatools.performance.slices import (
    AMOUNT_MAP,
    PAIRS,
    draw_contour,
    draw_plane,
    label_axes,
    plot_drifts,
    plot_fractions,
    say_empty,
)
from hisatools.plotting.style import SPECTRAL, new_figure

__all__ = [
    "plot_calibration",
    "plot_drifts",
    "plot_fractions",
    "plot_projections",
    "plot_reliability",
    "plot_sample",
    "write_figures",
]

COUNT_LINES = {level: "black" if level < 1e4 else "white" for level in (1e3, 1e4, 1e5, 1e6, 1e7)}


def plot_projections(performance):
    """Draw the voxel counts of input and output over pairs of observables: figure 11 of the paper.

    Parameters
    ----------
    performance : `~hisatools.PerformanceModel`

    Returns
    -------
    `~matplotlib.figure.Figure`
        Unsmoothed counts, summed along the other two observables; white where there is no voxel.
        Contours at 1e3 to 1e7, from 1e5 in the input over the angular width.

    Examples
    --------
    >>> from hisatools.performance import Histograms, PerformanceModel
    >>> from hisatools.performance.figures import plot_projections
    >>> figure = plot_projections(PerformanceModel(Histograms.empty()))
    >>> [ax.get_title(loc="left") for ax in figure.axes[:5:4]]
    ['Put in: 0 voxels', 'Found: 0 voxels']
    """
    from matplotlib.colors import LogNorm

    histograms = performance.histograms
    figure, pairs = new_figure(12.5, 6.6), PAIRS[:4]
    axes = figure.subplots(2, len(pairs), sharex="col", sharey="col")
    norm = LogNorm(1, 1e6)
    for row, (name, words) in zip(axes, (("n_in_all", "Put in"), ("n_out_all", "Found")), strict=True):
        for ax, (x, y) in zip(row, pairs, strict=True):
            image = _draw_projection(ax, histograms, name, x, y, norm)
        row[0].set_title(f"{words}: {histograms.column(name).sum():,} voxels", loc="left")
    for ax in axes[0]:
        ax.set_xlabel("")
    bar = figure.colorbar(image, ax=axes, label="Voxels in a bin of the projection", extend="max", pad=0.02)
    for level, color in COUNT_LINES.items():
        bar.ax.axhline(level, color=color, linewidth=1)
    return figure


def plot_calibration(table):
    """Draw how often what was predicted to be real is real: the reliability diagram.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        One row for each tenth of the predicted true fraction, with the columns ``predicted`` (mean),
        ``true_fraction``, ``uncertainty`` (1 sigma) and ``n_voxels``. Rows with NaN are left out.

    Returns
    -------
    `~matplotlib.figure.Figure`
        The boxes hold the points of tenths in which as many are real as was predicted.

    Raises
    ------
    ParameterError
        If a column is missing.

    Examples
    --------
    >>> from astropy.table import QTable
    >>> from hisatools.performance.figures import plot_calibration
    >>> table = QTable({"predicted": [0.95], "true_fraction": [0.97], "uncertainty": [0.01],
    ...                 "n_voxels": [5000]})
    >>> plot_calibration(table).axes[0].get_ylabel()
    'Measured true fraction'
    """
    missing = {"predicted", "true_fraction", "uncertainty", "n_voxels"} - set(table.colnames)
    if missing:
        raise ParameterError(f"table lacks the column {sorted(missing)[0]!r}; it has {table.colnames}")
    table = table[np.isfinite(table["predicted"]) & np.isfinite(table["true_fraction"])]
    figure = new_figure(5.6, 7.2)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    _draw_calibration(upper, table)
    lower.bar(table["predicted"], table["n_voxels"], width=0.05, color=SPECTRAL)
    lower.set(ylabel="Voxels", xlabel="Predicted true fraction")
    if len(table):
        lower.set(yscale="log", ylim=(0.5, None))
    else:
        lower.set_yticks([])
    return figure


def write_figures(performance, folder, *, overwrite=False):
    """Write ``projections.png``, ``fractions.png`` and ``drifts.png``, and of a sample two more.

    Parameters
    ----------
    performance : `~hisatools.PerformanceModel`
        With a ``sample``, ``sample.png`` and ``reliability.png`` are written, too.
    folder : str or path
        It must exist.
    overwrite : bool
        Whether existing pictures may be replaced.

    Returns
    -------
    list of pathlib.Path

    Raises
    ------
    OutputError
        If a picture exists and ``overwrite`` is False, or cannot be written.

    Examples
    --------
    >>> from hisatools import PerformanceModel
    >>> from hisatools.performance.figures import write_figures
    >>> performance = PerformanceModel.read("performance.fits")  # doctest: +SKIP
    >>> write_figures(performance, "out")  # doctest: +SKIP
    """
    plots = {"projections": plot_projections, "fractions": plot_fractions, "drifts": plot_drifts}
    if performance.sample is not None:
        plots = {"sample": plot_sample} | plots | {"reliability": plot_reliability}
    paths = [Path(folder).expanduser() / f"{name}.png" for name in plots]
    for path, plot in zip(paths, plots.values(), strict=True):
        with writing_file(path, overwrite=overwrite) as part:
            plot(performance).savefig(part, dpi=150)
    return paths


# --- projections ------------------------------------------------------------------------------


def _draw_projection(ax, histograms, name, x, y, norm):
    """Counts over two observables; returns the image."""
    label_axes(ax, x, y)
    counts, x_centres, y_centres = _project(histograms, name, x, y)
    shown = np.ma.masked_equal(counts, 0)
    image = draw_plane(ax, x, y, x_centres, y_centres, shown, cmap=AMOUNT_MAP, norm=norm)
    if not counts.any():
        say_empty(ax)
    if not len(histograms):
        ax.set(xticks=[], yticks=[])
    # In the logarithm, as the colours are.
    logarithm = np.log10(np.maximum(counts, 0.1))
    # As in the paper: low contours round every single puck would hide the colours.
    lowest = 1e5 if name == "n_in_all" and "angular_width" in (x, y) else 1e3
    for level, color in COUNT_LINES.items():
        if level >= lowest:
            draw_contour(ax, x_centres, y_centres, logarithm, np.log10(level), color=color)
    return image


def _project(histograms, name, x, y):
    """Counts over two observables, (y, x), and the centres of their bins."""
    axes = [axis_number(y), axis_number(x)]
    # The box of all histograms, so that input and output have the same axes, and a margin of one bin,
    # so that contours close.
    origin = histograms.origin[axes] - 1
    counts = np.zeros(np.array(histograms.shape)[axes] + 2)
    np.add.at(counts, tuple((histograms.bins[:, axes] - origin).T), histograms.column(name))
    y_centres, x_centres = (
        (start + np.arange(size) + 0.5) * STEPS[axis]
        for start, size, axis in zip(origin, counts.shape, axes, strict=True)
    )
    return counts, x_centres, y_centres


# --- reliability diagram ----------------------------------------------------------------------


def _draw_calibration(ax, table):
    from matplotlib.patches import Rectangle

    for tenth in range(10):
        style = {"facecolor": "0.9", "edgecolor": "0.7", "linewidth": 0.8}
        box = ax.add_patch(Rectangle((tenth / 10, tenth / 10), 0.1, 0.1, **style))
    box.set_label("within the tenth predicted")
    ax.plot([0, 1], [0, 1], color="black", linewidth=0.8, label="as predicted")
    ax.legend(loc="upper left", frameon=False)
    if not len(table):
        say_empty(ax)
    style = {"fmt": "o", "color": SPECTRAL, "markersize": 5, "capsize": 3}
    ax.errorbar(table["predicted"], table["true_fraction"], table["uncertainty"], **style)
    ax.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", ylabel="Measured true fraction")
    ax.set_xticks(np.arange(11) / 10)
    ax.set_yticks(np.arange(11) / 10)
    ax.tick_params(direction="in", top=True, right=True)
