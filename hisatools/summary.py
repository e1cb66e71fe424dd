"""The picture of a whole result: the steps of the search, after Gibson et al. (2005), figures 4 and 6."""

import textwrap
from functools import partial

import astropy.units as u
import numpy as np
from astropy.wcs.utils import proj_plane_pixel_scales

from hisatools.io.writing import writing_file
from hisatools.plotting.chosen import deepest_channel, deepest_sight_line
from hisatools.plotting.maps import draw_map, draw_overlay, draw_pale_map, label_sky
from hisatools.plotting.spectra import draw_spectrum, velocity_bins
from hisatools.plotting.style import (
    ACCEPTED,
    BLANK,
    LABELS,
    REJECTED,
    SPATIAL,
    SPECTRAL,
    color_limits,
    new_figure,
    position_text,
    velocity_label,
    velocity_text,
)
from hisatools.results import MaskBit, flagged

__all__ = ["plot_summary"]


def plot_summary(result, path=None, *, overwrite=False):
    """Draw the search step by step in the channel with most absorption, and its deepest spectrum.

    Parameters
    ----------
    result : HISAResult
        What to draw. Without absorption, the brightest channel and sight line are drawn; of a single
        spectrum, only the spectrum.
    path : str or path, optional
        Picture to write (PNG, PDF or what else matplotlib knows).
    overwrite : bool
        Whether an existing picture may be replaced.

    Returns
    -------
    `~matplotlib.figure.Figure`

    Raises
    ------
    OutputError
        If ``path`` exists and ``overwrite`` is False, or if it cannot be written.

    Examples
    --------
    >>> from hisatools.datasets import example_result
    >>> from hisatools.summary import plot_summary
    >>> figure = plot_summary(example_result(), "summary.png")
    >>> len(figure.axes)
    11
    """
    figure = _summary_of_spectrum(result) if result.flags[0].size == 1 else _summary_of_cube(result)
    if path is not None:
        with writing_file(path, overwrite=overwrite) as part:
            figure.savefig(part, dpi=150)
    return figure


def _heading(result):
    """First line of a summary, and the remark if nothing was found."""
    name = result.meta.get("input", {}).get("object") or "H I self-absorption"
    n_features, n_voxels = len(result.catalog), result.n_accepted
    if n_voxels:
        return f"{name}: {n_voxels} voxels of absorption accepted, number of features: {n_features}"
    remarks = "; ".join(result.meta.get("remarks", [])) or "no absorption accepted"
    return textwrap.fill(f"{name}: {remarks}", 110)


def _summary_of_spectrum(result):
    figure = new_figure(9, 5.5)
    figure.suptitle(_heading(result), fontsize="medium")
    _draw_spectrum_panels(figure, figure.add_gridspec(2, 1, height_ratios=(5, 1)), result, 0, 0)
    return figure


def _summary_of_cube(result):
    channel = deepest_channel(result)
    y, x = deepest_sight_line(result, channel)
    n_rows, n_columns, width, height = _arrangement(*result.flags.shape[1:])
    maps_height, spectrum_height = n_rows * height, 4.2
    figure = new_figure(n_columns * width, maps_height + spectrum_height + 0.5)
    figure.suptitle(f"{_heading(result)}\nMaps at {velocity_text(result, channel)}", fontsize="medium")
    above, below = figure.subfigures(2, 1, height_ratios=(maps_height, spectrum_height))
    axes = above.subplots(n_rows, n_columns, squeeze=False, subplot_kw={"projection": result.wcs.celestial})
    for number, (ax, (title, draw)) in enumerate(
        zip(axes.flat, _panels(result, channel).items(), strict=True)
    ):
        draw(ax)
        ax.autoscale(False)
        ax.set_title(f"({'abcdef'[number]}) {title}", fontsize="medium", loc="left")
        label_sky(ax, result.wcs, lon=number >= 6 - n_columns, lat=number % n_columns == 0)
        _mark(ax, y, x)
    _draw_beam(axes.flat[0], result)
    _add_legend(above)
    upper = _draw_spectrum_panels(below, below.add_gridspec(2, 1, height_ratios=(5, 1)), result, y, x)
    upper.axvline(result.velocity[channel].to_value(u.km / u.s), color="0.5", linestyle=":", linewidth=1)
    upper.set_title(f"(g) Spectrum at {position_text(result, y, x)} (circle)", fontsize="medium", loc="left")
    return figure


def _arrangement(n_y, n_x):
    """Rows and columns of the six maps and the size of one, inches, for maps of this shape."""
    aspect = n_y / n_x
    n_rows = 2 if 0.4 <= aspect <= 2 else (6 if aspect < 0.15 else 3 if aspect < 0.4 else 1)
    n_columns = 6 // n_rows
    width = {1: 2.4, 2: 4.4, 3: 6.5, 6: 11.0}[n_rows]
    return n_rows, n_columns, width, min(max(width * aspect * 0.85, 1.2), 9.0) + 0.4


def _panels(result, channel):
    """Title of each map, and what draws it: the steps of the paper's figure 4."""
    t_on, t_unabsorbed, delta_t = (
        result.plane_kelvin(name, channel) for name in ("t_on", "t_unabsorbed", "delta_t")
    )
    flags = result.flags[channel]
    spectral, spatial, accepted = (flagged(flags, bit) for bit in MaskBit)
    limits = color_limits("t_on", t_on, t_unabsorbed)
    intersection = [(accepted, ACCEPTED), (spectral & spatial & ~accepted, REJECTED)]

    def brightness(ax, data, what, limits):
        image = draw_map(ax, data, what, limits)
        ax.figure.colorbar(image, ax=ax, label=LABELS[what], shrink=0.9)

    suspected = partial(_draw_flags, observed=t_on, limits=limits)
    return {
        "H I, observed": partial(brightness, data=t_on, what="t_on", limits=limits),
        "Spectral search": partial(suspected, layers=[(spectral, SPECTRAL)]),
        "Spatial search": partial(suspected, layers=[(spatial, SPATIAL)]),
        "Both searches": partial(suspected, layers=intersection),
        "Absorption": partial(
            brightness, data=delta_t, what="delta_t", limits=color_limits("delta_t", delta_t)
        ),
        "H I, unabsorbed": partial(brightness, data=t_unabsorbed, what="t_unabsorbed", limits=limits),
    }


def _draw_spectrum_panels(figure, grid, result, y, x):
    upper = figure.add_subplot(grid[0])
    lower = figure.add_subplot(grid[1], sharex=upper)
    draw_spectrum(upper, result, y, x)
    _draw_lanes(lower, result, y, x)
    upper.tick_params(labelbottom=False)
    return upper


def _draw_flags(ax, observed, limits, layers):
    """Coloured flags on a pale channel map."""
    draw_pale_map(ax, observed, limits)
    for where, color in layers:
        draw_overlay(ax, where, color)


def _mark(ax, y, x):
    """A ring around a pixel that shows on dark and on light."""
    ring = {"marker": "o", "markersize": 10, "markerfacecolor": "none", "clip_on": False}
    for color, width in (("black", 2.6), ("white", 1.2)):
        ax.plot(x, y, markeredgecolor=color, markeredgewidth=width, **ring)


def _draw_beam(ax, result):
    """The beam in the lower right corner, where the pixels resolve it and the field is large enough."""
    from matplotlib.patches import Ellipse

    scale = proj_plane_pixel_scales(result.wcs.celestial)[1] * u.deg
    n_y, n_x = result.flags.shape[1:]
    if result.beam is None:
        return
    major, minor = (float(axis / scale) for axis in (result.beam.major, result.beam.minor))
    if not 1.5 <= major <= min(n_y, n_x) / 4:
        return
    # From north through east, whichever way the axes of the image run.
    east, north = np.sign(result.wcs.wcs.cdelt[:2])
    turn = np.degrees(np.arctan2(north * np.cos(result.beam.pa), east * np.sin(result.beam.pa)).value) - 90
    place = (n_x - 1 - 0.8 * major, 0.8 * major)
    ax.add_patch(Ellipse(place, minor, major, angle=turn, facecolor="white", edgecolor="black"))


def _add_legend(figure):
    from matplotlib.patches import Patch

    names = {
        "suspected, spectral search": SPECTRAL,
        "suspected, spatial search": SPATIAL,
        "both, accepted": ACCEPTED,
        "both, rejected by the filters": REJECTED,
        "no data": BLANK,
    }
    handles = [Patch(color=color, label=name) for name, color in names.items()]
    figure.legend(
        handles=handles, loc="outside lower center", ncols=len(handles), fontsize="small", frameon=False
    )


def _draw_lanes(ax, result, y, x):
    """Which channels of a spectrum each search suspects, and which were accepted."""
    edges, order = velocity_bins(result)
    flags = result.flags[:, y, x][order]
    lanes = (("accepted", MaskBit.ACCEPTED, ACCEPTED), ("spatial", MaskBit.SPATIAL, SPATIAL))
    lanes += (("spectral", MaskBit.SPECTRAL, SPECTRAL),)
    for height, (_, bit, color) in enumerate(lanes):
        top = height + 0.8 * flagged(flags, bit)
        ax.stairs(top, edges, baseline=np.full(len(top), height), fill=True, color=color)
    ax.set_yticks([height + 0.4 for height in range(3)], [name for name, _, _ in lanes], fontsize="small")
    ax.set_ylim(-0.2, 3)
    ax.set_xlim(edges[0], edges[-1])
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel(velocity_label(result))
