"""Cuts through a result: along one axis of the sky in a channel, and longitude against velocity."""

import astropy.units as u
import numpy as np
from astropy.wcs.utils import proj_plane_pixel_scales

from hisatools.errors import ParameterError, ParameterUnitsError
from hisatools.plotting.chosen import check_cube, check_map, chosen_channel, chosen_pixel, deepest_sight_line
from hisatools.plotting.maps import draw_map, label_coordinate
from hisatools.plotting.spectra import draw_profile
from hisatools.plotting.style import (
    LABELS,
    SKY_AXES,
    color_limits,
    new_axes,
    position_text,
    sky_kind,
    velocity_label,
    velocity_text,
)
from hisatools.results import MaskBit, flagged

__all__ = ["plot_longitude_velocity", "plot_slice"]

AXES = {"longitude": 0, "latitude": 1}


def plot_slice(result, velocity=None, position=None, *, along="latitude", ax=None, stages=None):
    """Draw T_ON, T_U and dT of one channel along latitude or longitude, the absorption shaded.

    Parameters
    ----------
    result : `~hisatools.HISAResult`
        What to draw.
    velocity : `~astropy.units.Quantity`, scalar, velocity, optional
        The nearest channel is drawn; by default the one with most absorption, or that of ``stages``.
    position : `~astropy.coordinates.SkyCoord` or (int, int), optional
        Where the cut goes through, and its offset is 0: a position on the sky or a pixel (y, x), from 0; by
        default the deepest voxel of the channel.
    along : {"latitude", "longitude"}
        The axis of the cut: of whatever sky coordinates the cube has.
    ax : `~matplotlib.axes.Axes`, optional
        Where to draw; by default in a new figure.
    stages : `~hisatools.search.stages.SpatialStages`, optional
        What `hisatools.SpatialSearcher.stages` gives in this channel: its steps are drawn instead
        (Gibson et al. 2005, figure 3), and below them dT of the result.

    Returns
    -------
    `~matplotlib.axes.Axes`
        Its ``figure`` can be shown and saved. Longitude grows as on the maps.

    Raises
    ------
    ParameterError
        If the position or the velocity is not in the cube, ``along`` is not known, or ``stages`` are of
        another channel.
    InputError
        If the result is of a single spectrum.

    Examples
    --------
    >>> from hisatools.datasets import example_result
    >>> from hisatools.plotting import plot_slice
    >>> ax = plot_slice(example_result(), along="longitude")
    >>> ax.get_xlabel()
    'Galactic longitude offset (arcmin)'
    """
    check_map(result)
    if stages is not None:
        from hisatools.plotting.stages import plot_spatial_stages

        return plot_spatial_stages(stages, position, along=along, ax=ax, result=result, velocity=velocity)
    channel = chosen_channel(result, velocity)
    y, x = chosen_pixel(result, position, channel)
    edges, cut = sky_cut(result.wcs, result.flags.shape, (y, x), along)
    accepted = flagged(result.flags[channel], MaskBit.ACCEPTED)
    t_on, t_unabsorbed = (result.plane_kelvin(name, channel) for name in ("t_on", "t_unabsorbed"))
    sigma = np.zeros_like(t_on)
    if result.sigma_unabsorbed_kelvin is not None:
        sigma = result.plane_kelvin("sigma_t_unabsorbed", channel)
    ax = new_axes(8, 4) if ax is None else ax
    draw_profile(ax, edges, *(values[cut] for values in (t_on, t_unabsorbed, accepted, sigma)))
    ax.set_xlabel(offset_label(result.wcs, along))
    ax.set_title(f"{position_text(result, y, x)}, {velocity_text(result, channel)}")
    return ax


def plot_longitude_velocity(result, latitude=None, *, ax=None, what="delta_t"):
    """Draw one row of the maps against velocity, with a colour bar.

    Parameters
    ----------
    result : `~hisatools.HISAResult`
        What to draw.
    latitude : `~astropy.units.Quantity`, scalar, angle, optional
        Latitude (or declination) at the middle of the row: the nearest row is drawn; by default that of the
        deepest voxel.
    ax : `~astropy.visualization.wcsaxes.WCSAxes`, optional
        Where to draw, with ``result.wcs`` and ``slices=("x", row, "y")``; by default in a new figure.
    what : {"delta_t", "t_unabsorbed", "t_on"}
        The brightness to draw. In "delta_t", white is outside features; blank voxels are grey.

    Returns
    -------
    `~astropy.visualization.wcsaxes.WCSAxes`
        Its ``figure`` can be shown and saved. Velocity grows upwards.

    Raises
    ------
    ParameterError
        If the latitude has no unit or is not in the cube, or ``what`` is not known.
    InputError
        If the result is of a single spectrum.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools.datasets import example_result
    >>> from hisatools.plotting import plot_longitude_velocity
    >>> ax = plot_longitude_velocity(example_result(), -0.35 * u.deg)
    >>> ax.get_title()
    '$b$ = \u22120.348°'
    """
    check_map(result)
    check_cube(what)
    row = deepest_sight_line(result)[0] if latitude is None else _nearest_row(result, latitude)
    ax = new_axes(6.8, 4.6, projection=result.wcs, slices=("x", row, "y")) if ax is None else ax
    data = np.array([result.plane_kelvin(what, k)[row] for k in range(result.flags.shape[0])])
    image = draw_map(ax, data, what, color_limits(what, data))
    # Channels are drawn much larger than pixels: nothing is gained by blending them.
    image.set_interpolation("nearest")
    ax.set_aspect("auto")
    ax.figure.colorbar(image, ax=ax, label=LABELS[what])
    _label_longitude_velocity(ax, result)
    ax.set_title(_row_text(result, row))
    return ax


def _label_longitude_velocity(ax, result):
    kind = sky_kind(result.wcs)
    lon, lat, velocity = ax.coords
    label_coordinate(lon, SKY_AXES[kind][0], kind)
    lat.set_ticks_visible(False)
    lat.set_ticklabel_visible(False)
    lat.set_axislabel(" ")
    velocity.set_format_unit(u.km / u.s)
    velocity.set_axislabel(velocity_label(result), minpad=0.6)
    velocity.display_minor_ticks(True)
    if result.wcs.wcs.cdelt[2] < 0:
        ax.set_ylim(result.flags.shape[0] - 0.5, -0.5)


def _row_latitudes(result):
    """Latitude of the middle of each row, deg."""
    _, n_y, n_x = result.flags.shape
    middle = np.full(n_y, (n_x - 1) / 2)
    return result.wcs.celestial.wcs_pix2world(middle, np.arange(n_y), 0)[1]


def _nearest_row(result, latitude):
    try:
        wanted = u.Quantity(latitude).to_value(u.deg)
    except (u.UnitConversionError, TypeError):
        raise ParameterUnitsError(f"latitude needs a unit, got {latitude}; write 1.2 * u.deg") from None
    if np.ndim(wanted):
        raise ParameterError(f"latitude must be one value, got an array of shape {np.shape(wanted)}")
    latitudes = _row_latitudes(result)
    offset = np.abs(latitudes - wanted)
    if not offset.min() <= proj_plane_pixel_scales(result.wcs.celestial)[1]:
        raise ParameterError(
            f"latitude {wanted:g} deg is not in the cube ({latitudes.min():.4g} to {latitudes.max():.4g} deg)"
        )
    return int(np.argmin(offset))


def _row_text(result, row):
    symbol = {"GLON": "$b$", "RA": "Dec", "ELON": r"$\beta$"}[sky_kind(result.wcs)]
    return f"{symbol} = {_row_latitudes(result)[row]:+.3f}\u00b0".replace("-", "\u2212")


# --- cuts through one channel -----------------------------------------------------------------


def sky_cut(wcs, shape, pixel, along):
    """Edges of the pixels along an axis, in arcmin from ``pixel``, and what cuts them out of a map."""
    if along not in AXES:
        raise ParameterError(f"unknown axis along={along!r}; known: {', '.join(AXES)}")
    axis, (y, x) = AXES[along], pixel
    n, centre = (shape[-1], x) if axis == 0 else (shape[-2], y)
    step = proj_plane_pixel_scales(wcs.celestial)[axis] * 60 * np.sign(wcs.pixel_scale_matrix[axis, axis])
    cut = (y, slice(None)) if axis == 0 else (slice(None), x)
    return (np.arange(n + 1) - 0.5 - centre) * step, cut


def offset_label(wcs, along):
    """The label of the axis of a cut."""
    return f"{SKY_AXES[sky_kind(wcs)][AXES[along]]} offset (arcmin)"
