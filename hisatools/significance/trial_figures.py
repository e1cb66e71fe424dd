"""Figures of trials: the distribution of the largest TS, and which share of features is found."""

import astropy.units as u
import numpy as np

from hisatools.plotting.style import ACCEPTED, SPATIAL, SPECTRAL, new_figure

__all__ = ["plot_chance", "plot_detection", "plot_sensitivity"]

# Distinct for colour-blind readers (Okabe and Ito).
COLORS = (SPECTRAL, SPATIAL, ACCEPTED, "#CC79A7", "#E69F00", "#56B4E9")


def plot_chance(chance, ts=None, *, ax=None):
    """Draw how often background reaches a TS: the trials, their tail, and what was found.

    Parameters
    ----------
    chance : `~hisatools.significance.global_chance.GlobalChance`
    ts : float, optional
        Of the data, drawn as a line with its global p-value.
    ax : `~matplotlib.axes.Axes`, optional
        Where to draw; by default in a new figure.

    Returns
    -------
    `~matplotlib.axes.Axes`

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools.significance import GlobalChance
    >>> from hisatools.significance.trial_figures import plot_chance
    >>> chance = GlobalChance(18 + np.random.default_rng(6300).gumbel(scale=2, size=999))
    >>> ax = plot_chance(chance, ts=30.0)
    >>> [line.get_label() for line in ax.get_lines()][-1]
    'TS = 30.0: p = 0.003 (counted)'
    """
    if ax is None:
        ax = new_figure(6.4, 4.4).add_subplot()
    share = np.arange(chance.n_trials, 0, -1) / chance.n_trials
    ax.step(chance.ts, share, where="pre", color="black", label=f"{chance.n_trials} trials")
    last = chance.ts[-1] if ts is None or not np.isfinite(ts) else max(chance.ts[-1], ts)
    beyond = np.linspace(chance.ts[0], last + 2, 400)
    tail = chance.tail_p_value(beyond)
    if np.isfinite(tail).any():
        ax.plot(beyond, tail, "--", color=SPATIAL, label=f"tail, scale {chance.scale:.2f}")
    if ts is not None and np.isfinite(ts):
        p, is_extrapolated = (one.item() for one in chance.p_global(ts))
        words = "extrapolated" if is_extrapolated else "counted"
        ax.axvline(ts, color=SPECTRAL, label=f"TS = {ts:.1f}: p = {p:.2g} ({words})")
    ax.set_yscale("log")
    ax.set_xlabel("Largest TS of a scan")
    ax.set_ylabel("Share of background at or above it")
    ax.legend(fontsize="small")
    _ticks(ax)
    return ax


def plot_detection(curve, *, ax=None, label=None, color=None):
    """Draw which share of features passes, with binomial errors, and the smooth curve.

    Parameters
    ----------
    curve : `~hisatools.significance.detection.DetectionCurve`
    ax : `~matplotlib.axes.Axes`, optional
        Where to draw; by default in a new figure.
    label, color : str, optional

    Returns
    -------
    `~matplotlib.axes.Axes`

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools.significance import DetectionCurve
    >>> from hisatools.significance.trial_figures import plot_detection
    >>> depth = np.array([5.0, 10.0, 15.0, 20.0])
    >>> curve = DetectionCurve(depth, np.full(4, 50), np.array([3, 17, 41, 50]), chance=0.02, threshold=25.0)
    >>> plot_detection(curve, label="TS above 25").get_ylabel()
    'Share of trials above the threshold'
    """
    if ax is None:
        ax = new_figure(6.4, 4.4).add_subplot()
    color = COLORS[len(ax.containers) % len(COLORS)] if color is None else color
    low, high = curve.interval()
    # Rounding may put an end of the interval on the wrong side of 0 or 1.
    errors = np.maximum([curve.fraction - low, high - curve.fraction], 0)
    ax.errorbar(
        curve.depth_kelvin, curve.fraction, errors, fmt="o", color=color, capsize=2, markersize=4, label=label
    )
    depth = np.linspace(0, curve.depth_kelvin.max() * 1.02, 300)
    ax.plot(depth, curve.fitted(-depth * u.K), color=color)
    ax.set_xlim(0, None)
    ax.set_ylim(-0.03, 1.03)
    ax.set_xlabel(r"Depth $-\Delta T$ of the feature (K)")
    ax.set_ylabel("Share of trials above the threshold")
    if label is not None:
        ax.legend(fontsize="small", loc="lower right")
    _ticks(ax)
    return ax


def plot_sensitivity(sensitivity, *, p=0.00135, ax=None, label=None):
    """Draw the curves for the median of the background and for a discovery.

    Parameters
    ----------
    sensitivity : `~hisatools.significance.sensitivity.Sensitivity`
    p : float
        Global p-value of a discovery.
    ax : `~matplotlib.axes.Axes`, optional
    label : str, optional
        Stands before what the curves are.

    Returns
    -------
    `~matplotlib.axes.Axes`

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools.significance import GlobalChance, Sensitivity
    >>> from hisatools.significance.trial_figures import plot_sensitivity
    >>> rng = np.random.default_rng(6300)
    >>> depth = np.array([5.0, 10.0, 20.0])
    >>> ts = np.maximum(14.0, depth[:, None] / 2.5 + rng.normal(size=(3, 50))) ** 2
    >>> limits = Sensitivity(depth, ts, GlobalChance(14 + rng.gumbel(scale=2, size=200)))
    >>> plot_sensitivity(limits, p=0.01).figure.savefig("sensitivity.png")
    """
    before = "" if label is None else f"{label}, "
    threshold, is_extrapolated = sensitivity.background.ts_at(p)
    words = " (extrapolated)" if is_extrapolated else ""
    median = sensitivity.curve(np.median(sensitivity.background.ts))
    ax = plot_detection(median, ax=ax, label=f"{before}above the median of the background")
    curve = sensitivity.curve(threshold)
    plot_detection(curve, ax=ax, label=f"{before}global p below {p:.2g}{words}")
    for share, depth in ((0.9, sensitivity.sensitivity), (0.5, sensitivity.discovery(p))):
        if np.isfinite(depth):
            ax.plot([0, -depth.value, -depth.value], [share, share, 0], ":", color="0.5", linewidth=1)
    return ax


def _ticks(ax):
    ax.tick_params(which="both", direction="in", top=True, right=True)
    ax.minorticks_on()
