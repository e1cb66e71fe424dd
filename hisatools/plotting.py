"""Channel maps and spectra of a result, on sky coordinates, and the pieces they are made of.

Figures are made without pyplot, so that nothing here depends on a display or changes a setting of
the user. Matplotlib is imported when something is drawn.
"""

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord

from hisatools.catalog import sky_frame
from hisatools.errors import ParameterError
from hisatools.results import MaskBit, flagged

__all__ = ["plot_channel", "plot_spectrum"]

# Colours that remain distinct for colour-blind readers (Okabe and Ito).
SPECTRAL, SPATIAL, ACCEPTED, REJECTED = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
UNABSORBED = "#882255"
EMISSION_MAP, ABSORPTION_MAP, BLANK = "inferno", "viridis", "0.8"
LABELS = {
    "delta_t": r"$\Delta T$ (K)",
    "t_unabsorbed": r"$T_\mathrm{U}$ (K)",
    "t_on": r"$T_\mathrm{ON}$ (K)",
}
SKY_AXES = {
    "GLON": ("Galactic longitude", "Galactic latitude"),
    "RA": ("Right ascension", "Declination"),
    "ELON": ("Ecliptic longitude", "Ecliptic latitude"),
}
VELOCITY_FRAMES = {"LSRK": "LSR velocity", "LSRD": "LSR velocity", "BARYCENT": "Barycentric velocity"}


def plot_channel(result, velocity=None, *, ax=None, what="delta_t"):
    """Draw one channel map with a colour bar.

    Parameters
    ----------
    result : HISAResult
        What to draw.
    velocity : `~astropy.units.Quantity`, scalar, velocity, optional
        The nearest channel is drawn; by default the one with most absorption.
    ax : `~astropy.visualization.wcsaxes.WCSAxes`, optional
        Where to draw, with ``result.wcs.celestial``; by default in a new figure.
    what : {"delta_t", "t_unabsorbed", "t_on"}
        The brightness to draw. In "delta_t", white is outside features; blank voxels are grey.

    Returns
    -------
    `~astropy.visualization.wcsaxes.WCSAxes`
        Its ``figure`` can be shown and saved.

    Raises
    ------
    ParameterError
        If the velocity has no unit or lies outside the cube, or ``what`` is not known.

    Examples
    --------
    >>> ax = plot_channel(result, -41 * u.km / u.s)  # doctest: +SKIP
    >>> ax.figure.savefig("channel.png")  # doctest: +SKIP
    """
    if what not in LABELS:
        raise ParameterError(f"unknown cube {what!r}; known: {', '.join(LABELS)}")
    channel = deepest_channel(result) if velocity is None else _nearest_channel(result, velocity)
    if ax is None:
        figure = new_figure(6.4, 5.4)
        ax = figure.add_subplot(projection=result.wcs.celestial)
    data = result.plane_kelvin(what, channel)
    image = draw_map(ax, data, what, color_limits(what, data))
    ax.figure.colorbar(image, ax=ax, label=LABELS[what])
    label_sky(ax, result.wcs)
    ax.set_title(velocity_text(result, channel))
    return ax


def plot_spectrum(result, position=None, *, ax=None):
    """Draw T_ON, T_U and dT of one sight line, the absorption shaded.

    Parameters
    ----------
    result : HISAResult
        What to draw.
    position : `~astropy.coordinates.SkyCoord` or (int, int), optional
        A position on the sky or a pixel (y, x), from 0; by default that of the deepest voxel.
    ax : `~matplotlib.axes.Axes`, optional
        Where to draw; by default in a new figure.

    Returns
    -------
    `~matplotlib.axes.Axes`
        Its ``figure`` can be shown and saved.

    Raises
    ------
    ParameterError
        If the position lies outside the cube.
    """
    y, x = deepest_sight_line(result) if position is None else _pixel(result, position)
    if ax is None:
        ax = new_figure(8, 4).add_subplot()
    draw_spectrum(ax, result, y, x)
    ax.set_xlabel(velocity_label(result))
    if result.meta.get("input", {}).get("position") != "not known":
        ax.set_title(position_text(result, y, x))
    return ax


# --- which channel, which sight line ----------------------------------------------------------


def deepest_channel(result):
    """The channel with most absorption, or the brightest one if there is none."""
    depth = [plane.sum(dtype=float) for plane in _absorption(result)]
    if min(depth) < 0:
        return int(np.argmin(depth))
    brightness = [np.fmax.reduce(plane, axis=None, initial=-np.inf) for plane in result.t_on.value]
    return int(np.argmax(brightness))


def deepest_sight_line(result, channel=None):
    """Pixel (y, x) of the deepest voxel, or of the brightest if there is no absorption."""
    if channel is None:
        channel = int(np.argmin([plane.min(initial=0) for plane in _absorption(result)]))
    plane = result.plane_kelvin("delta_t", channel)
    if not np.any(plane < 0):
        plane = -result.plane_kelvin("t_unabsorbed", deepest_channel(result))
    place = np.argmin(np.where(np.isnan(plane), np.inf, plane))
    return tuple(int(pixel) for pixel in np.unravel_index(place, plane.shape))


def _absorption(result):
    """The dT of the accepted voxels, K, of one channel after the other."""
    for channel, plane in enumerate(result.flags):
        yield result.plane_kelvin("delta_t", channel)[flagged(plane, MaskBit.ACCEPTED)]


def _nearest_channel(result, velocity):
    speeds = result.velocity
    try:
        wanted = u.Quantity(velocity).to(speeds.unit)
    except u.UnitConversionError:
        raise ParameterError(f"velocity needs a unit, got {velocity}; write -41 * u.km / u.s") from None
    offset = np.abs(speeds - wanted)
    width = np.abs(speeds[-1] - speeds[0]) / max(speeds.size - 1, 1)
    if offset.min() > width:
        raise ParameterError(
            f"velocity {wanted:.1f} is not in the cube ({speeds.min():.1f} to {speeds.max():.1f})"
        )
    return int(np.argmin(offset))


def _pixel(result, position):
    if isinstance(position, SkyCoord):
        sky = position.transform_to(sky_frame(result.wcs)).spherical
        x, y = result.wcs.celestial.wcs_world2pix(sky.lon.deg, sky.lat.deg, 0)
        position = (np.round(float(y)), np.round(float(x)))
    n_y, n_x = result.flags.shape[1:]
    y, x = position
    if not (0 <= y < n_y and 0 <= x < n_x):
        raise ParameterError(f"position ({y}, {x}) is not in the cube of {n_y} x {n_x} pixels (y, x)")
    return int(y), int(x)


# --- words ------------------------------------------------------------------------------------


def velocity_text(result, channel):
    """The velocity of a channel, for titles."""
    number = f"{result.velocity[channel].to_value(u.km / u.s):+.1f}".replace("-", "\u2212")
    return f"$v$ = {number} km s$^{{-1}}$"


def velocity_label(result):
    """The label of a velocity axis."""
    frame = VELOCITY_FRAMES.get(result.wcs.wcs.specsys.strip(), "Velocity")
    return f"{frame} (km s$^{{-1}}$)"


def position_text(result, y, x):
    """The position of a pixel, for titles; in RA and Dec (ICRS) where not Galactic."""
    lon, lat = result.wcs.celestial.wcs_pix2world([[x, y]], 0)[0]
    frame = sky_frame(result.wcs)
    if frame.name == "galactic":
        return f"$l$ = {lon % 360:.3f}\u00b0, $b$ = {lat:+.3f}\u00b0".replace("-", "\u2212")
    sky = SkyCoord(lon, lat, unit="deg", frame=frame).icrs
    ra, dec = sky.ra.to_string(u.hour, precision=1, pad=True), sky.dec.to_string(precision=0, alwayssign=True)
    return f"RA {ra}, Dec {dec}".replace("-", "\u2212")


# --- drawing ----------------------------------------------------------------------------------


def new_figure(width, height):
    """An empty figure of this size in inches, which keeps its parts from overlapping."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08)
    return figure


def color_limits(what, *planes):
    """Limits of the colour scale: all but the most extreme half per cent, or dT down to its deepest."""
    values = np.concatenate([plane[np.isfinite(plane)] for plane in planes])
    if what == "delta_t":
        return (min(float(values.min(initial=0)), -1.0), 0.0)
    if not values.size:
        return (0.0, 1.0)
    low, high = np.percentile(values, [0.5, 99.5])
    return (float(low), float(high) if high > low else float(low) + 1)


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
            ax.text(0.5, 0.5, "none", ha="center", transform=ax.transAxes)
    name = ABSORPTION_MAP if what == "delta_t" else EMISSION_MAP
    low, high = limits
    return ax.imshow(shown, cmap=colormaps[name], vmin=low, vmax=high, origin="lower")


def draw_overlay(ax, where, color):
    """Fill the pixels that are True."""
    from matplotlib.colors import to_rgba

    # Whole numbers: what matplotlib makes of a picture of floats takes eight times the memory.
    image = np.zeros((*where.shape, 4), np.uint8)
    image[where] = np.rint(255 * np.array(to_rgba(color)))
    ax.imshow(image, origin="lower")


def label_sky(ax, wcs, *, lon=True, lat=True):
    """Name the sky axes, or leave numbers and name away; few ticks, Galactic ones in decimal degrees."""
    kind = wcs.wcs.ctype[0].split("-")[0]
    galactic, names = kind == "GLON", SKY_AXES[kind]
    for coordinate, name, shown in zip(ax.coords, names, (lon, lat), strict=True):
        coordinate.set_axislabel(name if shown else " ", minpad=0.6)
        coordinate.set_ticklabel_visible(shown)
        if galactic:
            coordinate.set_major_formatter("d.dd")
        coordinate.set_ticks(number=4)
        coordinate.set_ticklabel(exclude_overlapping=True)
        coordinate.display_minor_ticks(True)


def draw_spectrum(ax, result, y, x):
    """T_ON, T_U and dT of a pixel, without the label of the velocity axis."""
    edges, order = velocity_bins(result)
    t_on, t_unabsorbed, accepted, sigma = (values[order] for values in _sight_line(result, y, x))
    delta_t = t_on - t_unabsorbed
    ax.axhline(0, color="0.6", linewidth=0.8)
    for top, base in ((np.where(accepted, t_unabsorbed, t_on), t_on), (delta_t, np.zeros_like(t_on))):
        ax.stairs(
            np.nan_to_num(top), edges, baseline=np.nan_to_num(base), fill=True, color=ACCEPTED, alpha=0.35
        )
    ax.stairs(t_on, edges, baseline=None, color="black", linewidth=1, label=r"$T_\mathrm{ON}$")
    if accepted.any():
        # T_U with its 1-sigma uncertainty, where that is known.
        ax.stairs(
            t_unabsorbed + sigma,
            edges,
            baseline=t_unabsorbed - sigma,
            fill=True,
            color=UNABSORBED,
            alpha=0.25,
        )
        for values, color, name in (
            (t_unabsorbed, UNABSORBED, r"$T_\mathrm{U}$"),
            (delta_t, ACCEPTED, r"$\Delta T$"),
        ):
            shown = np.where(accepted, values, np.nan)
            ax.stairs(shown, edges, baseline=None, color=color, linewidth=1.5, label=name)
    ax.set_xlim(edges[0], edges[-1])
    ax.margins(y=0.08)
    ax.set_ylabel("Brightness temperature (K)")
    ax.legend(loc="upper right", fontsize="small")
    ax.tick_params(which="both", direction="in", top=True, right=True)
    ax.minorticks_on()


def _sight_line(result, y, x):
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
