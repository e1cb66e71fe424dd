"""The features of a cube and of its mirror image, side by side."""

import numpy as np

from hisatools.plotting.style import new_figure
from hisatools.significance.reliability_points import AXES

__all__ = ["plot_diagram", "plot_reliability"]

FALSE_COLOR, REAL_MAP, REFERENCE_COLOR = "#D55E00", "viridis", "0.5"
PEAK, SUM = 0, 1


def plot_reliability(model, ax=None):
    """Scatter of both populations in log sum and log peak, the real cube's coloured by reliability.

    Parameters
    ----------
    model : `~hisatools.significance.ReliabilityModel`
    ax : `~matplotlib.axes.Axes`, optional
        Where to draw; by default in a new figure.

    Returns
    -------
    `~matplotlib.axes.Axes`
        Its ``figure`` can be shown and saved.

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools.significance import ReliabilityModel
    >>> from hisatools.significance.reliability_figures import plot_reliability
    >>> rng = np.random.default_rng(1)
    >>> real, false = rng.normal(1, 0.4, (60, 3)), rng.normal(0.6, 0.2, (80, 3))
    >>> ax = plot_reliability(ReliabilityModel(real, false, noise=None))
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['mirrored cube (80)', 'cube (60)']
    """
    if ax is None:
        ax = new_figure(7.2, 5.4).add_subplot()
    false = model.false
    ax.scatter(
        false[:, SUM],
        false[:, PEAK],
        s=9,
        marker="x",
        linewidth=0.6,
        color=FALSE_COLOR,
        # Above the features of the cube, which are many where neither is reliable.
        zorder=3,
        label=f"mirrored cube ({len(false)})",
    )
    reliability = model.reliability()
    # The most reliable on top; those of unknown reliability have no place to be drawn at.
    order = np.argsort(reliability)
    drawn = ax.scatter(
        model.real[order, SUM],
        model.real[order, PEAK],
        c=reliability[order],
        vmin=0,
        vmax=1,
        s=16,
        cmap=REAL_MAP,
        edgecolor="w",
        linewidth=0.2,
        label=f"cube ({len(reliability)})",
    )
    ax.set(xlabel=AXES[SUM], ylabel=AXES[PEAK])
    ax.legend(loc="upper left")
    ax.figure.colorbar(drawn, ax=ax, label="reliability")
    return ax


def plot_diagram(diagram, ax=None):
    """Reliability diagram: the true fraction of features against the reliability they were given.

    Parameters
    ----------
    diagram : `~astropy.table.Table`
        Columns ``reliability``, ``true_fraction``, ``true_fraction_error`` and ``n_features``; a row a bin.
    ax : `~matplotlib.axes.Axes`, optional

    Returns
    -------
    `~matplotlib.axes.Axes`

    Examples
    --------
    >>> from astropy.table import Table
    >>> from hisatools.significance.reliability_figures import plot_diagram
    >>> diagram = Table()
    >>> diagram["reliability"], diagram["true_fraction"] = [0.2, 0.9], [0.25, 0.88]
    >>> diagram["true_fraction_error"], diagram["n_features"] = [0.05, 0.03], [80, 120]
    >>> plot_diagram(diagram).get_ylabel()
    'true fraction, mean of the bin'
    """
    if ax is None:
        ax = new_figure(5.6, 5.4).add_subplot()
    ax.fill_between([0, 1], [-0.1, 0.9], [0.1, 1.1], color=REFERENCE_COLOR, alpha=0.25, label="within 0.1")
    ax.plot([0, 1], [0, 1], color=REFERENCE_COLOR)
    ax.errorbar(
        diagram["reliability"],
        diagram["true_fraction"],
        diagram["true_fraction_error"],
        fmt="o",
        color="#0072B2",
    )
    for row in diagram:
        ax.annotate(
            f"{row['n_features']}",
            (row["reliability"], row["true_fraction"]),
            xytext=(6, -10),
            textcoords="offset points",
        )
    ax.set(xlabel="reliability, mean of the bin", ylabel="true fraction, mean of the bin")
    ax.set(xlim=(-0.03, 1.09), ylim=(-0.03, 1.05))
    ax.legend(loc="upper left")
    return ax
