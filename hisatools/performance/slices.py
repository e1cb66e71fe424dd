"""Slices through the parameter space: throughput, true fraction and drifts (the paper, figures 12, 13)."""

import numpy as np

from hisatools.parameters import check_number
from hisatools.performance.measures import _plain
from hisatools.performance.observables import NAMES, OBSERVABLES, STEPS, axis_number, lattice_bins
from hisatools.plotting.style import new_figure

__all__ = ["plot_drifts", "plot_fractions"]

# Light to dark, and blue to red by way of white: both keep their order for colour-blind readers.
AMOUNT_MAP, SIGN_MAP = "YlGnBu", "RdBu_r"
MARK = "#D55E00"
UNSUPPORTED = {"facecolor": "0.88", "edgecolor": "0.68", "hatch": "////", "linewidth": 0}
# (horizontal, vertical) axes; the first four are those of figure 11.
PAIRS = (
    ("t_unabsorbed", "delta_t"),
    ("angular_width", "delta_t"),
    ("velocity_width", "delta_t"),
    ("velocity_width", "angular_width"),
    ("angular_width", "t_unabsorbed"),
    ("velocity_width", "t_unabsorbed"),
)
# Where slices meet, in the units of OBSERVABLES: absorption that is well found, and a doubtful find.
FOUND_WELL, DOUBTFUL = (-20.0, 100.0, 8.0, 2.5), (-15.0, 90.0, 3.0, 2.0)
# Name, words, where the slices meet.
FRACTIONS = (
    ("throughput", r"Throughput $f_\mathrm{det}$", "of what was put in", FOUND_WELL),
    ("true_fraction", r"True fraction $f_\mathrm{true}$", "of what was found", DOUBTFUL),
)
FRACTION_LINES = {
    level: {"color": "black" if level < 0.6 else "white", "linewidth": 1.0}
    for level in (0.1, 0.3, 0.5, 0.7, 0.9)
}
# Greatest drift shown, up to where its colours are linear, and the contours on either side of 0. Widths
# drift by less than a bin or by tens of arcmin, hence the logarithmic part.
DRIFTS = {
    "delta_t": (10, 10, (5,)),
    "angular_width": (50, 1, (1, 2, 5, 10, 20)),
    "velocity_width": (20, 0.5, (0.5, 1, 2, 5, 10)),
}


def plot_fractions(performance, at=None):
    """Draw slices of the throughput (top) and of the true fraction (bottom): figure 12 of the paper.

    Parameters
    ----------
    performance : `~hisatools.PerformanceModel`
    at : dict, optional
        Where the slices meet: ``{"delta_t": -20 * u.K, ...}`` for any of the observables. What is not
        given is -20 K, 100 K, 8 arcmin, 2.5 km/s for the throughput and -15 K, 90 K, 3 arcmin, 2 km/s
        for the true fraction. The nearest bin with support is taken; the figure says which.

    Returns
    -------
    `~matplotlib.figure.Figure`
        Hatched grey is where a measure is NaN; the axes end where no slice has support any more.

    Raises
    ------
    ParameterError
        If ``at`` has another name, or a value without its unit.

    Examples
    --------
    >>> from hisatools.performance import Histograms, PerformanceModel
    >>> from hisatools.performance.slices import plot_fractions
    >>> figure = plot_fractions(PerformanceModel(Histograms.empty()))
    >>> figure.axes[0].texts[0].get_text()
    'no voxels'
    """
    from matplotlib.colors import Normalize

    figure = new_figure(11, 13.4)
    parts = figure.subfigures(2, 1, hspace=0.03)
    for part, (name, words, domain, usual) in zip(parts, FRACTIONS, strict=True):
        measure = performance.measure(name)
        point = _nearest_supported(measure, performance.smoothing, _point(at, usual))
        axes, colors = part.subplots(2, 3), {"cmap": AMOUNT_MAP, "norm": Normalize(0, 1)}
        _draw_slices(axes, PAIRS, measure, point, FRACTION_LINES, **colors)
        part.suptitle(f"{words} as a function {domain}\n{_point_text(point)}")
        _add_bar(part, axes, words, FRACTION_LINES, [0, *FRACTION_LINES, 1])
    _explain(figure, {})
    return figure


def plot_drifts(performance, at=None):
    """Draw slices of the drifts of dT, angular width and velocity width: figure 13 of the paper.

    Parameters
    ----------
    performance : `~hisatools.PerformanceModel`
    at : dict, optional
        As in `plot_fractions`; what is not given is -20 K, 100 K, 8 arcmin and 2.5 km/s.

    Returns
    -------
    `~matplotlib.figure.Figure`
        Hatched grey is where a drift is NaN. Colours are linear in the drift of dT, and logarithmic in
        those of the widths beyond 1 arcmin and 0.5 km/s.

    Raises
    ------
    ParameterError
        If ``at`` has another name, or a value without its unit.

    Examples
    --------
    >>> from hisatools.performance import Histograms, PerformanceModel
    >>> from hisatools.performance.slices import plot_drifts
    >>> len(plot_drifts(PerformanceModel(Histograms.empty())).subfigs)
    3
    """
    from matplotlib.colors import SymLogNorm

    figure = new_figure(12.5, 10.4)
    parts = figure.subfigures(3, 1, hspace=0.03)
    for part, (name, (greatest, linear, levels)) in zip(parts, DRIFTS.items(), strict=True):
        measure = performance.drift(name)
        point = _nearest_supported(measure, performance.smoothing, _point(at, FOUND_WELL))
        lines = {sign * level: _drift_line(sign * level) for level in (0, *levels) for sign in (-1, 1)}
        norm = SymLogNorm(linear, linscale=0.5, vmin=-greatest, vmax=greatest)
        axes = part.subplots(1, 4)
        _draw_slices(axes, PAIRS[:4], measure, point, lines, cmap=SIGN_MAP, norm=norm)
        symbol, unit = _symbol_and_unit(OBSERVABLES[axis_number(name)])
        part.suptitle(f"Drift of {symbol}")
        ticks = sorted({*lines, -greatest, greatest})
        _add_bar(part, axes, f"{symbol}: out \u2212 in ({unit})", lines, ticks)
    # All drifts have support in the same bins, so that their slices meet in the same.
    figure.suptitle(f"Drifts as functions of what was put in\n{_point_text(point)}")
    _explain(figure, {"no drift": 0, "positive drift": 1, "negative drift": -1})
    return figure


def _drift_line(level):
    style = {"color": "black", "linewidth": 2.2 if level == 0 else 0.8}
    return style | {"linestyle": "--" if level < 0 else "-"}


# --- where slices meet ------------------------------------------------------------------------


def _point(at, usual):
    """A place in the parameter space: what is given, and what is usual; array of 4."""
    point = dict(zip(NAMES, usual, strict=True))
    for name, value in (at or {}).items():
        point[name] = float(_plain(OBSERVABLES[axis_number(name)], value))
        check_number(f"at: {name}", abs(point[name]), inclusive=True)
    return np.array(list(point.values()))


def _nearest_supported(measure, smoothing, point):
    """Centre of the nearest bin with support, in widths of the smoothing; None if there is none."""
    supported = np.isfinite(np.asarray(measure.value))
    if not supported.any():
        return None
    # First to the centre of its own bin, so that no other is as near.
    point = (lattice_bins(point) + 0.5) * STEPS
    distance = 0.0
    for axis, name in enumerate(NAMES):
        fwhm = smoothing.fwhm(name, point[axis])
        offset = (measure.centres(name).value - point[axis]) / fwhm
        distance = distance + np.square(offset).reshape([-1 if number == axis else 1 for number in range(4)])
    nearest = np.unravel_index(np.where(supported, distance, np.inf).argmin(), supported.shape)
    return {name: measure.centres(name)[place] for name, place in zip(NAMES, nearest, strict=True)}


def _symbol_and_unit(observable):
    return observable.label.rstrip(")").rsplit(" (", 1)


def _point_text(point):
    if point is None:
        return "no voxels"
    parts = []
    for observable in OBSERVABLES:
        symbol, unit = _symbol_and_unit(observable)
        parts.append(f"{symbol} = {point[observable.name].value:g} {unit}".replace("-", "\u2212"))
    return f"slices meet at {', '.join(parts)} (cross)"


# --- drawing ----------------------------------------------------------------------------------


def _draw_slices(axes, pairs, measure, point, lines, **colors):
    """Slices through a point; without one, empty panels."""
    slices = []
    for ax, (x, y) in zip(axes.flat, pairs, strict=True):
        label_axes(ax, x, y)
        if point is None:
            say_empty(ax)
            ax.set(xticks=[], yticks=[])
            ax.imshow([[np.nan]], **colors)
            continue
        others = {name: place for name, place in point.items() if name not in (x, y)}
        slices.append(measure.slice(x, y, **others))
        _draw_slice(ax, slices[-1], lines, colors)
        for color, width in (("white", 4), (MARK, 2)):
            ax.plot(point[x].value, point[y].value, "+", color=color, markersize=11 + width / 2, mew=width)
    _limit_axes(axes, pairs, slices)


def _draw_slice(ax, plane, lines, colors):
    values = np.ma.masked_invalid(np.asarray(plane.value))
    x, y = plane.x.value, plane.y.value
    ax.patch.set(**UNSUPPORTED)
    draw_plane(ax, plane.x_name, plane.y_name, x, y, values, **colors)
    for level, style in lines.items():
        draw_contour(ax, x, y, values, level, **style)


def draw_plane(ax, x_name, y_name, x, y, values, **colors):
    """Values at centres of bins as an image that fills the panel; returns the image."""
    half_x, half_y = (STEPS[axis_number(name)] / 2 for name in (x_name, y_name))
    extent = (x[0] - half_x, x[-1] + half_x, y[0] - half_y, y[-1] + half_y)
    style = {"origin": "lower", "aspect": "auto", "interpolation": "nearest"}
    return ax.imshow(values, extent=extent, **style, **colors)


def draw_contour(ax, x, y, values, level, *, color, linewidth=1.0, linestyle="-"):
    """One contour, where values lie on both of its sides."""
    if min(values.shape) > 1 and values.min() < level < values.max():
        ax.contour(x, y, values, [level], colors=color, linewidths=linewidth, linestyles=linestyle)


def label_axes(ax, x, y):
    """Name both axes after their observables."""
    ax.set_xlabel(OBSERVABLES[axis_number(x)].label)
    ax.set_ylabel(OBSERVABLES[axis_number(y)].label)
    ax.tick_params(which="both", direction="in", top=True, right=True)


def say_empty(ax):
    """Say in a panel that there is nothing to draw."""
    ax.text(0.5, 0.5, "no voxels", ha="center", va="center", transform=ax.transAxes)


def _limit_axes(axes, pairs, slices):
    """End every axis where no slice has support any more: the same for one observable in all panels."""
    limits = {}
    for plane in slices:
        known = np.isfinite(np.asarray(plane.value))
        for name, centres, some in (
            (plane.x_name, plane.x, known.any(0)),
            (plane.y_name, plane.y, known.any(1)),
        ):
            reach, half = centres.value[some], STEPS[axis_number(name)] / 2
            low, high = limits.get(name, (np.inf, -np.inf))
            limits[name] = (min(low, reach.min() - half), max(high, reach.max() + half))
    for ax, (x, y) in zip(axes.flat, pairs, strict=True):
        if limits:
            ax.set(xlim=limits[x], ylim=limits[y])


def _add_bar(part, axes, label, lines, ticks):
    """The colour bar of all panels, with the contours drawn on it."""
    bar = part.colorbar(axes.flat[0].images[0], ax=axes, label=label, ticks=ticks, pad=0.02)
    bar.ax.set_yticks(ticks, [f"{tick:g}".replace("-", "\u2212") for tick in ticks])
    for level, style in lines.items():
        bar.ax.axhline(level, **style)
    bar.ax.minorticks_off()


def _explain(figure, lines):
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles = [Patch(**UNSUPPORTED, label="too few voxels for a value")]
    handles += [Line2D([], [], label=name, **_drift_line(level)) for name, level in lines.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
