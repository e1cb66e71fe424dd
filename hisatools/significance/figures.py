"""One figure of a `Significance`: TS on the sky, what the prior makes of it, and what noise gives."""

import numpy as np
from scipy.stats import norm

from hisatools.plotting.style import new_figure
from hisatools.significance.prior_figures import plot_prior, plot_ts

__all__ = ["plot_significance"]

DATA, TRIALS, FEATURES = "#D55E00", "0.75", "#0072B2"
LEAST_P = 1e-20


def plot_significance(found):
    """Draw TS before and after the prior, p_local of features or peaks, and the largest TS of trials.

    Parameters
    ----------
    found : `~hisatools.significance.Significance`

    Returns
    -------
    `~matplotlib.figure.Figure`
        The prior and TS with it are left out if there is none.

    Examples
    --------
    >>> from hisatools.significance import Residual, measure_significance
    >>> from hisatools.significance.figures import plot_significance
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> model = simulate_cube(ModelParameters(shape=(24, 32, 32), n_pucks=4, n_components=60), seed=104)
    >>> residual = Residual.of(model.cube, model.t_unabsorbed, known=model.mask)
    >>> figure = plot_significance(measure_significance(residual, n_trials=10))
    >>> figure.savefig("significance.png")
    """
    has_prior = found.ts_prior is not found.ts
    figure = new_figure(14 if has_prior else 9.6, 9)
    upper, lower = figure.subfigures(2, 1, height_ratios=(1.15, 1))
    sky = found.wcs.celestial
    n_maps = (3 if found.prior is not None else 2) if has_prior else 1
    axes = [upper.add_subplot(1, n_maps, i + 1, projection=sky) for i in range(n_maps)]
    plot_ts(found.ts, found.wcs, ax=axes[0])
    _above(axes[0], "TS, largest over channels")
    if has_prior:
        if found.prior is not None:
            plot_prior(found.prior, ax=axes[1])
            _above(axes[1], "Prior")
        plot_ts(found.ts_prior, found.wcs, ax=axes[-1])
        _above(axes[-1], "TS with the prior")
    left, right = lower.subplots(1, 2)
    _draw_local(left, found)
    _draw_trials(right, found)
    return figure


def _above(ax, text):
    """A title over the one that is there."""
    ax.set_title(f"{text}\n{ax.get_title()}", fontsize="medium")


def _draw_local(ax, found):
    """How many features, or peaks, noise would give at their place with a probability below each value."""
    table = found.peaks if found.catalog is None else found.catalog
    what = "peaks" if found.catalog is None else "features"
    values = np.asarray(table["p_local"], float)
    values = values[np.isfinite(values)].clip(LEAST_P, 1)
    bins = np.linspace(min(np.floor(np.log10(values.min(initial=1))), -8), 0, 41)
    ax.hist(np.log10(values), bins, color=FEATURES, label=f"{values.size} {what}")
    for sigma in (3, 5):
        place = np.log10(norm.sf(sigma))
        ax.axvline(place, color="0.4", linewidth=0.9, linestyle="dashed")
        ax.text(
            place,
            1.0,
            rf"${sigma}\,\sigma$",
            transform=ax.get_xaxis_transform(),
            ha="center",
            va="bottom",
            fontsize="small",
            color="0.3",
        )
    least = np.log10(LEAST_P)
    note = rf" ($10^{{{least:.0f}}}$ and less in the first bin)" if bins[0] <= least else ""
    ax.set_xlabel(r"$\log_{10}\,p_\mathrm{local}$" + note)
    ax.set_ylabel(f"Number of {what}")
    ax.yaxis.get_major_locator().set_params(integer=True)
    _finish(ax, "upper left")


def _draw_trials(ax, found):
    """The largest TS of each trial, and that of the data."""
    observed = float(np.fmax.reduce(found.ts_prior, axis=None, initial=0))
    if found.trials is None:
        ax.text(0.5, 0.5, "no trials", ha="center", transform=ax.transAxes)
        ax.set_axis_off()
        return
    largest = np.asarray(found.trials["ts_prior"], float)
    # What is much larger than all trials would leave them one bin: the line is then at the border.
    end = max(1.6 * largest.max(), 1.0)
    ax.hist(largest, np.linspace(0, end, 41), color=TRIALS, label=f"{largest.size} trials without absorption")
    beyond = observed > end
    ax.axvline(
        min(observed, end),
        color=DATA,
        linewidth=2,
        label=f"the data: {observed:.1f}" + (r" $\rightarrow$" if beyond else ""),
    )
    rows = found.peaks if found.catalog is None else found.catalog
    inside = np.asarray(rows["ts_prior"], float)
    ax.plot(
        inside[(inside < end)],
        np.full(np.count_nonzero(inside < end), 0.03),
        "|",
        color=FEATURES,
        transform=ax.get_xaxis_transform(),
        label="peaks" if found.catalog is None else "features",
    )
    ax.set_xlim(0, end)
    ax.set_xlabel("Largest TS of a cube" + (" with the prior" if found.ts_prior is not found.ts else ""))
    ax.set_ylabel("Number of trials")
    _finish(ax, "upper left")


def _finish(ax, place):
    """Ticks, and a legend in room above the bars."""
    ax.tick_params(which="both", direction="in", top=True, right=True)
    ax.set_ylim(0, 1.3 * ax.get_ylim()[1])
    ax.legend(loc=place, frameon=False)
