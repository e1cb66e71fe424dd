"""Maps of one channel: its brightness, and the pass in which absorption was accepted."""

import numpy as np

from hisatools.plotting.chosen import check_cube, check_map, chosen_channel
from hisatools.plotting.style import (
    ABSORPTION_MAP,
    BLANK,
    EMISSION_MAP,
    LABELS,
    PASSES,
    SKY_AXES,
    color_limits,
    new_axes,
    sky_kind,
    velocity_text,
)
from hisatools.results import MaskBit, flagged

__all__ = ["plot_channel", "plot_passes"]

# The wide range keeps a pale map pale, so that what is drawn on it stands out.
PALE_RANGE = 2.5


def plot_channel(result, velocity=None, *, ax=None, what="delta_t", outlines=False):
    """Draw one channel map with a colour bar.

    Parameters
    ----------
    result : `~hisatools.HISAResult`
        What to draw.
    velocity : `~astropy.units.Quantity`, scalar, velocity, optional
        The nearest channel is drawn; by default the one with most absorption.
    ax : `~astropy.visualization.wcsaxes.WCSAxes`, optional
        Where to draw, with ``result.wcs.celestial``; by default in a new figure.
    what : {"delta_t", "t_unabsorbed", "t_on"}
        The brightness to draw. In "delta_t", white is outside features; blank voxels are grey.
    outlines : bool
        Whether to outline what was accepted in this channel, which shows on "t_on" what was taken
        for absorption.

    Returns
    -------
    `~astropy.visualization.wcsaxes.WCSAxes`
        Its ``figure`` can be shown and saved.

    Raises
    ------
    ParameterError
        If the velocity has no unit or lies outside the cube, or ``what`` is not known.
    InputError
        If the result is of a single spectrum.

    Examples
    --------
    >>> from hisatools.datasets import example_result
    >>> from hisatools.plotting import plot_channel
    >>> ax = plot_channel(example_result(), what="t_on", outlines=True)
    >>> ax.figure.savefig("channel.png")  # doctest: +SKIP
    """
    check_map(result)
    check_cube(what)
    channel = chosen_channel(result, velocity)
    ax = new_axes(6.4, 5.4, projection=result.wcs.celestial) if ax is None else ax
    data = result.plane_kelvin(what, channel)
    image = draw_map(ax, data, what, color_limits(what, data))
    ax.figure.colorbar(image, ax=ax, label=LABELS[what])
    if outlines:
        draw_outlines(ax, flagged(result.flags[channel], MaskBit.ACCEPTED))
    label_sky(ax, result.wcs)
    ax.set_title(velocity_text(result, channel))
    return ax


def plot_passes(result, velocity=None, *, ax=None):
    """Draw in which pass each voxel of a channel was first accepted, on a pale map of T_ON.

    Large features grow from pass to pass (Gibson et al. 2005, section 2.5 and figure 7).

    Parameters
    ----------
    result : `~hisatools.HISAResult`
        What to draw.
    velocity : `~astropy.units.Quantity`, scalar, velocity, optional
        The nearest channel is drawn; by default the one with most absorption.
    ax : `~astropy.visualization.wcsaxes.WCSAxes`, optional
        Where to draw, with ``result.wcs.celestial``; by default in a new figure.

    Returns
    -------
    `~astropy.visualization.wcsaxes.WCSAxes`
        Its ``figure`` can be shown and saved. The legend counts the voxels of this channel.

    Raises
    ------
    ParameterError
        If the velocity has no unit or lies outside the cube.
    InputError
        If the result is of a single spectrum.

    Examples
    --------
    >>> from hisatools.datasets import example_result
    >>> from hisatools.plotting import plot_passes
    >>> ax = plot_passes(example_result())
    >>> ax.figure.savefig("passes.png")  # doctest: +SKIP
    """
    check_map(result)
    channel = chosen_channel(result, velocity)
    ax = new_axes(6.0, 5.8, projection=result.wcs.celestial) if ax is None else ax
    t_on = result.plane_kelvin("t_on", channel)
    draw_pale_map(ax, t_on, color_limits("t_on", t_on))
    _draw_passes(ax, result.first_pass[channel], n_passes=int(result.first_pass.max(initial=0)))
    label_sky(ax, result.wcs)
    ax.set_title(velocity_text(result, channel))
    return ax


def _draw_passes(ax, first_pass, n_passes):
    """Colour the voxels of each pass, and say below how many there are."""
    from matplotlib.patches import Patch

    if not n_passes:
        write_none(ax)
        return
    handles = []
    for number in range(1, n_passes + 1):
        accepted, color = first_pass == number, PASSES[(number - 1) % len(PASSES)]
        draw_overlay(ax, accepted, color)
        handles.append(Patch(color=color, label=f"pass {number} ({np.count_nonzero(accepted)} voxels)"))
    ax.legend(
        handles=handles,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.1),
        ncols=min(n_passes, 3),
        fontsize="small",
        frameon=False,
    )


# --- pieces -----------------------------------------------------------------------------------


def draw_map(ax, data, what, limits):
    """A channel map in the colours of its kind; returns the image, for a colour bar."""
    from matplotlib import colormaps

    shown = data
    ax.set_facecolor(BLANK)
    if what == "delta_t":
        # White where there is no absorption, grey where there are no data.
        draw_overlay(ax, np.isfinite(data), "white")
        shown = np.where(data < 0, data, np.nan)
        if not np.any(data < 0):
            write_none(ax)
    name = ABSORPTION_MAP if what == "delta_t" else EMISSION_MAP
    low, high = limits
    return ax.imshow(shown, cmap=colormaps[name], vmin=low, vmax=high, origin="lower")


def draw_pale_map(ax, observed, limits):
    """A channel map in pale grey, for what is drawn on it."""
    low, high = limits
    ax.set_facecolor(BLANK)
    ax.imshow(observed, cmap="Greys", vmin=low, vmax=low + PALE_RANGE * (high - low), origin="lower")


def draw_overlay(ax, where, color):
    """Fill the pixels that are True."""
    from matplotlib.colors import to_rgba

    # Whole numbers: what matplotlib makes of a picture of floats takes eight times the memory.
    image = np.zeros((*where.shape, 4), np.uint8)
    image[where] = np.rint(255 * np.array(to_rgba(color)))
    ax.imshow(image, origin="lower")


def draw_outlines(ax, where):
    """Draw the edges of what is True between pixels, in white that shows on light too."""
    from matplotlib.collections import LineCollection

    # With a margin, so that outlines close at the border of the map.
    padded = np.pad(where, 1)
    below, left = np.argwhere(padded[1:] != padded[:-1]), np.argwhere(padded[:, 1:] != padded[:, :-1])
    # From (y, x) to (x, y), and without the margin; an edge begins half a pixel before a centre.
    starts = np.concatenate([below[:, ::-1] + [-1.5, -0.5], left[:, ::-1] + [-0.5, -1.5]])
    ways = np.repeat([[1, 0], [0, 1]], [len(below), len(left)], axis=0)
    segments = np.stack([starts, starts + ways], axis=1)
    for color, width in (("black", 2.4), ("white", 1.1)):
        lines = LineCollection(segments, colors=color, linewidths=width, capstyle="projecting")
        ax.add_collection(lines, autolim=False)


def write_none(ax):
    """Say in the middle of an empty map that it is empty."""
    ax.text(0.5, 0.5, "none", ha="center", transform=ax.transAxes)


def label_sky(ax, wcs, *, lon=True, lat=True):
    """Name the sky axes, or leave numbers and name away; few ticks, Galactic ones in decimal degrees."""
    kind = sky_kind(wcs)
    for coordinate, name, shown in zip(ax.coords, SKY_AXES[kind], (lon, lat), strict=True):
        label_coordinate(coordinate, name if shown else " ", kind)
        coordinate.set_ticklabel_visible(shown)


def label_coordinate(coordinate, name, kind):
    """Name one sky axis of a kind of `SKY_AXES`."""
    coordinate.set_axislabel(name, minpad=0.6)
    if kind == "GLON":
        coordinate.set_major_formatter("d.dd")
    coordinate.set_ticks(number=4)
    coordinate.set_ticklabel(exclude_overlapping=True)
    coordinate.display_minor_ticks(True)
