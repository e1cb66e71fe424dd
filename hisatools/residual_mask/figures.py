"""Figures of masks and likelihoods: convergence, histograms, maps, corner."""

import numpy as np

from hisatools.plotting.maps import draw_overlay, label_sky
from hisatools.plotting.style import ACCEPTED, BLANK, REJECTED, SPATIAL, SPECTRAL, color_limits, new_figure
from hisatools.residual_mask.posterior import AXES

__all__ = ["plot_convergence", "plot_corner", "plot_histogram", "plot_map"]

HISTOGRAM_REACH = 10.0
BINS_PER_SIGMA = 4
RESIDUAL_MAP = "viridis"
SHARES = 0.68, 0.95
LABELS = {"width": "Velocity width", "ratio": "Ratio", "intercept": "Intercept"}


def plot_convergence(result, *, figure=None):
    """Draw ratio, intercept, and the number of pixels in and out, over the rounds.

    Parameters
    ----------
    result : `~hisatools.residual_mask.ResidualMaskResult`
    figure : `~matplotlib.figure.Figure`, optional
        An empty one to draw in; by default a new one.

    Returns
    -------
    `~matplotlib.figure.Figure`

    Examples
    --------
    >>> from hisatools.residual_mask import ResidualMasker
    >>> from hisatools.residual_mask.figures import plot_convergence
    >>> from hisatools.residual_mask.simulated import DustModelParameters, simulate_dust
    >>> model = simulate_dust(DustModelParameters(shape=(64, 64)), seed=6200)
    >>> figure = plot_convergence(ResidualMasker().run(model.tracer, model.gas))
    >>> figure.savefig("convergence.png")
    >>> figure.axes[0].get_title()
    '93 rounds, stable; dashed: all pixels reached'
    """
    history, has_gas = result.history, result.gas is not None
    figure = new_figure(7, 7 if has_gas else 5.2) if figure is None else figure
    panels = list(figure.subplots(3 + has_gas, 1, sharex=True))
    rounds = np.asarray(history["round"])
    complete = rounds[np.asarray(history["n_reached"]) == history["n_reached"][-1]][0]
    names = ["ratio", "intercept"] if has_gas else ["intercept"]
    for name in names:
        _draw_track(panels.pop(0), history, name)
    counts, changes = panels
    for name, color, label in (
        ("n_reached", "0.4", "reached"),
        ("n_masked", SPATIAL, "masked"),
    ):
        counts.plot(rounds, history[name], color=color, label=label)
    counts.set_ylabel("Pixels")
    counts.legend(fontsize="small")
    changes.plot(rounds, np.maximum(history["n_changed"], 0.5), ".-", color=SPECTRAL, linewidth=0.8)
    changes.set_yscale("log")
    changes.set_ylabel("Pixels in or out")
    changes.set_xlabel("Round")
    for ax in figure.axes:
        ax.axvline(complete, color=REJECTED, linestyle="--", linewidth=1)
        ax.tick_params(which="both", direction="in", top=True, right=True)
    end = "stable" if result.converged else "not stable"
    figure.axes[0].set_title(f"{len(rounds)} rounds, {end}; dashed: all pixels reached", fontsize="medium")
    return figure


def _draw_track(ax, history, name):
    """One of the fitted numbers with its uncertainty, on the scale of where it ends."""
    values, spread = history[name], history[f"sigma_{name}"]
    rounds = np.asarray(history["round"])
    low, high = (values - spread).value, (values + spread).value
    ax.fill_between(rounds, low, high, color=ACCEPTED, alpha=0.3, linewidth=0)
    ax.plot(rounds, values.value, color=ACCEPTED)
    ax.set_ylabel(f"{name.capitalize()}\n({values.unit.to_string('latex_inline')})")


def plot_histogram(result, round=-1, *, ax=None):
    """Draw the residuals of a round: those left, those masked, the Gaussian of the noise, and the threshold.

    Parameters
    ----------
    result : `~hisatools.residual_mask.ResidualMaskResult`
    round : int
        From 1; -1 is the last one.
    ax : `~matplotlib.axes.Axes`, optional
        By default in a new figure.

    Returns
    -------
    `~matplotlib.axes.Axes`

    Examples
    --------
    >>> from hisatools.residual_mask import ResidualMasker
    >>> from hisatools.residual_mask.figures import plot_histogram
    >>> from hisatools.residual_mask.simulated import DustModelParameters, simulate_dust
    >>> model = simulate_dust(DustModelParameters(shape=(64, 64)), seed=6200)
    >>> ax = plot_histogram(ResidualMasker().run(model.tracer, model.gas))
    >>> ax.get_title(), ax.get_ylabel()
    ('Round 93 of 93', 'Pixels')
    """
    row = result.row_of(round)
    mode, sigma = (result.history[name][row].value for name in ("mode", "sigma"))
    reached, mask = result.reached_in_round(round), result.mask_of_round(round)
    values = mode + sigma * result.significance_of_round(round)
    edges = mode + sigma * np.arange(-6, HISTOGRAM_REACH + 1e-9, 1 / BINS_PER_SIGMA)
    ax = new_figure(6.4, 4.4).add_subplot() if ax is None else ax
    kinds = (
        ("not masked", values[reached & ~mask], SPECTRAL),
        ("masked", values[reached & mask], SPATIAL),
    )
    base = np.zeros(edges.size - 1)
    for name, chosen, color in kinds:
        # What lies beyond the axis stands in its last bins.
        top = base + np.histogram(np.clip(chosen, edges[0], edges[-1]), edges)[0]
        ax.stairs(top, edges, baseline=base, fill=True, color=color, alpha=0.6, label=name)
        base = top
    below = np.count_nonzero(values[reached] < mode)
    grid = np.linspace(edges[0], edges[-1], 400)
    noise = 2 * below * np.exp(-0.5 * ((grid - mode) / sigma) ** 2) / np.sqrt(2 * np.pi) / BINS_PER_SIGMA
    ax.plot(grid, noise, color="black", label="lower side, mirrored: Gaussian")
    threshold = result.parameters.n_sigma
    ax.axvline(mode + threshold * sigma, color="black", linestyle=":", label=rf"{threshold:g} $\sigma$")
    ax.set_yscale("log")
    ax.set_ylim(0.5, 2 * max(base.max(), 1))
    ax.set_xlim(edges[0], edges[-1])
    ax.set_xlabel(f"Residual ({_unit(result.tracer.unit)})")
    ax.set_ylabel("Pixels")
    ax.set_title(f"Round {row + 1} of {len(result.history)}", fontsize="medium")
    ax.legend(fontsize="small")
    ax.tick_params(which="both", direction="in", top=True, right=True)
    return ax


def plot_map(result, round=-1, *, ax=None):
    """Draw the residuals of a round on the sky, its mask outlined; grey is not in use, or not yet reached.

    Parameters
    ----------
    result : `~hisatools.residual_mask.ResidualMaskResult`
    round : int
        From 1; -1 is the last one.
    ax : `~matplotlib.axes.Axes`, optional
        By default in a new figure, on sky coordinates where the result has a WCS.

    Returns
    -------
    `~matplotlib.axes.Axes`

    Examples
    --------
    >>> from hisatools.residual_mask import ResidualMasker
    >>> from hisatools.residual_mask.figures import plot_map
    >>> from hisatools.residual_mask.simulated import DustModelParameters, map_wcs, simulate_dust
    >>> model = simulate_dust(DustModelParameters(shape=(64, 64)), seed=6200)
    >>> result = ResidualMasker().run(model.tracer, model.gas, wcs=map_wcs((64, 64)))
    >>> plot_map(result).get_title()
    'Round 93 of 93: 368 pixels masked'
    """
    row = result.row_of(round)
    if ax is None:
        settings = {} if result.wcs is None else {"projection": result.wcs}
        ax = new_figure(6.4, 5.4).add_subplot(**settings)
    mode, sigma = (result.history[name][row].value for name in ("mode", "sigma"))
    reached, mask = result.reached_in_round(round), result.mask_of_round(round)
    values = mode + sigma * result.significance_of_round(round)
    shown = np.where(reached, values, np.nan)
    low, high = color_limits("residual", shown)
    ax.set_facecolor(BLANK)
    image = ax.imshow(shown, origin="lower", cmap=RESIDUAL_MAP, vmin=low, vmax=high, interpolation="nearest")
    ax.figure.colorbar(image, ax=ax, label=f"Residual ({_unit(result.tracer.unit)})")
    if mask.any() and min(mask.shape) > 1:
        ax.contour(mask.astype(float), levels=[0.5], colors=[SPATIAL], linewidths=0.8)
    elif mask.any():
        draw_overlay(ax, mask, SPATIAL)
    if result.wcs is None:
        ax.set_xlabel("x (pixels)")
        ax.set_ylabel("y (pixels)")
    else:
        label_sky(ax, result.wcs)
    ax.set_title(
        f"Round {row + 1} of {len(result.history)}: {int(mask.sum())} pixels masked", fontsize="medium"
    )
    return ax


def plot_corner(likelihood, *, figure=None):
    """Draw the marginals of width, ratio and intercept, alone and in pairs.

    Contours hold 68 and 95 percent of the probability; shaded are the intervals of highest density of 68
    percent, and dashed lines mark the most likely point.

    Parameters
    ----------
    likelihood : `~hisatools.residual_mask.WidthLikelihood`
    figure : `~matplotlib.figure.Figure`, optional
        An empty one to draw in; by default a new one.

    Returns
    -------
    `~matplotlib.figure.Figure`

    Examples
    --------
    >>> import astropy.units as u, numpy as np
    >>> from hisatools.residual_mask import width_likelihood
    >>> from hisatools.residual_mask.figures import plot_corner
    >>> from hisatools.residual_mask.simulated import DustModelParameters, simulate_dust
    >>> small = DustModelParameters(shape=(32, 32), extra_share=0)
    >>> model = simulate_dust(small, seed=6200, velocity_width=18 * u.km / u.s, n_channels=40)
    >>> widths = np.arange(10, 30.2, 0.5) * u.km / u.s
    >>> found = width_likelihood(model.cube, model.tracer, centre=0 * u.km / u.s, widths=widths)
    >>> len(plot_corner(found).axes)
    9
    """
    figure = new_figure(7.5, 7.0) if figure is None else figure
    panels = figure.subplots(3, 3, sharex="col")
    for row, first in enumerate(AXES):
        for column, second in enumerate(AXES):
            ax = panels[row, column]
            if column > row:
                ax.set_axis_off()
            elif column == row:
                _draw_marginal(ax, likelihood, first)
            else:
                _draw_pair(ax, likelihood, second, first)
            if column == 0 and row > 0:
                ax.set_ylabel(_axis_label(likelihood, first))
            elif column <= row:
                ax.set_yticklabels([])
            if row == 2 and column <= row:
                ax.set_xlabel(_axis_label(likelihood, second))
                ax.tick_params(axis="x", labelrotation=30)
            ax.tick_params(which="both", direction="in", top=True, right=True)
    return figure


def _draw_marginal(ax, likelihood, name):
    values, density = likelihood.marginal(name)
    low, high = likelihood.interval(name).value
    if values.size == 1:
        ax.axvline(values.value[0], color=SPECTRAL)
    else:
        ax.plot(values.value, density, color=SPECTRAL)
    ax.axvspan(low, high, color=SPECTRAL, alpha=0.25, linewidth=0)
    ax.axvline(likelihood.best[name].value, color="black", linestyle="--", linewidth=0.8)
    ax.set_ylim(0, None)
    ax.set_xlim(*_reach(values.value, density))
    # Digits down to a tenth of the interval.
    digits = max(int(np.ceil(-np.log10(max((high - low) / 20, 1e-12)))), 0)
    ax.set_title(f"{low:.{digits}f} to {high:.{digits}f}", fontsize="medium")


def _draw_pair(ax, likelihood, along_x, along_y):
    image = likelihood.marginal_2d(along_x, along_y)
    (x, x_density), (y, y_density) = likelihood.marginal(along_x), likelihood.marginal(along_y)
    if min(image.shape) > 1:
        ranked = np.sort(image, axis=None)[::-1]
        mass = np.cumsum(ranked)
        levels = sorted({float(ranked[min(np.searchsorted(mass, share), mass.size - 1)]) for share in SHARES})
        ax.contourf(x.value, y.value, image, levels=[*levels, np.inf], colors=[SPECTRAL], alpha=0.3)
        ax.contour(x.value, y.value, image, levels=levels, colors=[SPECTRAL], linewidths=1)
    best = likelihood.best
    ax.axvline(best[along_x].value, color="black", linestyle="--", linewidth=0.8)
    ax.axhline(best[along_y].value, color="black", linestyle="--", linewidth=0.8)
    ax.set_xlim(*_reach(x.value, x_density))
    ax.set_ylim(*_reach(y.value, y_density))


def _reach(values, density):
    """The part of an axis where anything is likely, with some room."""
    if values.size == 1:
        return values[0] - 0.5, values[0] + 0.5
    likely = np.flatnonzero(density > 1e-4 * density.max())
    low, high = values[max(likely[0] - 1, 0)], values[min(likely[-1] + 1, values.size - 1)]
    return low, high


def _axis_label(likelihood, name):
    values, _ = likelihood.marginal(name)
    return f"{LABELS[name]}\n({_unit(values.unit)})"


def _unit(unit):
    return unit.to_string("latex_inline")
