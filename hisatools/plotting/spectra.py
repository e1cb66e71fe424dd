"""The spectra of one sight line: observed, unabsorbed, and the absorption between them."""

import astropy.units as u
import numpy as np

from hisatools.plotting.chosen import chosen_pixel
from hisatools.plotting.style import (
    ACCEPTED,
    BRIGHTNESS,
    LABELS,
    UNABSORBED,
    dress,
    new_axes,
    position_text,
    velocity_label,
)
from hisatools.results import MaskBit, flagged

__all__ = ["plot_spectrum"]


def plot_spectrum(result, position=None, *, ax=None, stages=None):
    """Draw T_ON, T_U and dT of one sight line, the absorption shaded.

    Parameters
    ----------
    result : `~hisatools.HISAResult`
        What to draw.
    position : `~astropy.coordinates.SkyCoord` or (int, int), optional
        A position on the sky or a pixel (y, x), from 0; by default that of the deepest voxel, or of
        ``stages``.
    ax : `~matplotlib.axes.Axes`, optional
        Where to draw; by default in a new figure.
    stages : `~hisatools.search.stages.SpectralStages`, optional
        What `hisatools.SpectralSearcher.stages` gives at this sight line: its steps are drawn instead
        (Gibson et al. 2005, figure 2), and below them dT of the result.

    Returns
    -------
    `~matplotlib.axes.Axes`
        Its ``figure`` can be shown and saved. T_U has a band of its 1-sigma uncertainty where known.

    Raises
    ------
    ParameterError
        If the position lies outside the cube, or ``stages`` are of another sight line.

    Examples
    --------
    >>> from hisatools.datasets import example_result
    >>> from hisatools.plotting import plot_spectrum
    >>> ax = plot_spectrum(example_result(), (33, 145))
    >>> ax.get_ylabel()
    'Brightness temperature (K)'
    """
    if stages is not None:
        from hisatools.plotting.stages import plot_spectral_stages

        return plot_spectral_stages(stages, ax=ax, result=result, position=position)
    y, x = chosen_pixel(result, position)
    ax = new_axes(8, 4) if ax is None else ax
    draw_spectrum(ax, result, y, x)
    ax.set_xlabel(velocity_label(result))
    if result.meta.get("input", {}).get("position") != "not known":
        ax.set_title(position_text(result, y, x))
    return ax


def draw_spectrum(ax, result, y, x):
    """T_ON, T_U and dT of a pixel, without the label of the velocity axis."""
    edges, order = velocity_bins(result)
    draw_profile(ax, edges, *(values[order] for values in sight_line(result, y, x)))


def draw_profile(ax, edges, t_on, t_unabsorbed, accepted, sigma):
    """T_ON, T_U and dT along one axis, K, in bins between ``edges``; each of shape (n,)."""
    delta_t = t_on - t_unabsorbed
    ax.axhline(0, color="0.6", linewidth=0.8)
    for top, base in ((np.where(accepted, t_unabsorbed, t_on), t_on), (delta_t, np.zeros_like(t_on))):
        ax.stairs(
            np.nan_to_num(top), edges, baseline=np.nan_to_num(base), fill=True, color=ACCEPTED, alpha=0.35
        )
    ax.stairs(t_on, edges, baseline=None, color="black", linewidth=1, label=_name("t_on"))
    if accepted.any():
        # T_U with its 1-sigma uncertainty, where that is known.
        band = {"baseline": t_unabsorbed - sigma, "fill": True, "color": UNABSORBED, "alpha": 0.25}
        ax.stairs(t_unabsorbed + sigma, edges, **band)
        for values, color, name in (
            (t_unabsorbed, UNABSORBED, "t_unabsorbed"),
            (delta_t, ACCEPTED, "delta_t"),
        ):
            shown = np.where(accepted, values, np.nan)
            ax.stairs(shown, edges, baseline=None, color=color, linewidth=1.5, label=_name(name))
    ax.set_xlim(edges[0], edges[-1])
    ax.margins(y=0.08)
    ax.set_ylabel(BRIGHTNESS)
    ax.legend(loc="upper right", fontsize="small")
    dress(ax)


def _name(what):
    return LABELS[what].removesuffix(" (K)")


def sight_line(result, y, x):
    """T_ON and T_U of a pixel, K, where it was accepted, and T_U's uncertainty; each of shape (n_v,)."""
    accepted = flagged(result.flags[:, y, x], MaskBit.ACCEPTED)
    t_on = result.t_on[:, y, x].to_value(u.K)
    t_unabsorbed, sigma = t_on.copy(), np.zeros_like(t_on)
    for channel in np.flatnonzero(accepted):
        t_unabsorbed[channel] = result.plane_kelvin("t_unabsorbed", channel)[y, x]
        if result.sigma_unabsorbed_kelvin is not None:
            sigma[channel] = result.plane_kelvin("sigma_t_unabsorbed", channel)[y, x]
    return t_on, t_unabsorbed, accepted, sigma


def velocity_bins(result):
    """Edges of the channels in km/s, rising, and the order that sorts the channels so."""
    velocity = result.velocity.to_value(u.km / u.s)
    order = np.argsort(velocity)
    velocity = velocity[order]
    width = np.diff(velocity).mean() if velocity.size > 1 else 1.0
    return np.append(velocity - width / 2, velocity[-1] + width / 2), order
