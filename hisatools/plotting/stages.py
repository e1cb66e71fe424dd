"""The steps of the searches, one below the other as in figures 2 and 3 of Gibson et al. (2005)."""

import astropy.units as u
import numpy as np

from hisatools.errors import ParameterError
from hisatools.io.same_axes import SAME_PLACE, sky_offset_pix, velocity_offset_chan
from hisatools.plotting.chosen import chosen_pixel
from hisatools.plotting.slices import offset_label, sky_cut
from hisatools.plotting.spectra import velocity_bins
from hisatools.plotting.style import (
    ACCEPTED,
    BRIGHTNESS,
    REJECTED,
    SPATIAL,
    SPECTRAL,
    UNABSORBED,
    dress,
    new_axes,
    position_text,
    sky_text,
    speed_text,
    velocity_label,
)
from hisatools.positions import nearest_pixel, one_velocity, sky_pixel

__all__ = ["plot_spatial_stages", "plot_spectral_stages"]

# Between two steps, as a share of the range of the first.
GAP = 0.08
# Between two lines of text.
LINE_POINTS = 11
AFTER = "smoothed, culled"
ONE_CUBE = "make both of one cube"


def plot_spectral_stages(stages, *, ax=None, result=None, position=None):
    """Draw the steps of the spectral search of one sight line (Gibson et al. 2005, figure 2).

    From above: U and S; the residual S - U, with the level below which absorption is suspected (dashed)
    and the numbered segments where it is, filled where a fit was accepted; the accepted narrow and
    broad fits; what is detected, and what smoothing and culling make of it.

    Parameters
    ----------
    stages : `~hisatools.search.stages.SpectralStages`
        What to draw.
    ax : `~matplotlib.axes.Axes`, optional
        Where to draw; by default in a new figure.
    result : `~hisatools.HISAResult`, optional
        Of the same cube: its dT is drawn below.
    position : `~astropy.coordinates.SkyCoord` or (int, int), optional
        Must be that of ``stages``, if given.

    Returns
    -------
    `~matplotlib.axes.Axes`
        All steps share one scale; each has a zero level of its own, which is written beside it.

    Raises
    ------
    ParameterError
        If the result is of other axes, or the position another one.

    Examples
    --------
    >>> from hisatools import SpectralSearcher
    >>> from hisatools.datasets import example_model
    >>> from hisatools.plotting import plot_spectral_stages
    >>> ax = plot_spectral_stages(SpectralSearcher().stages(example_model().cube, (35, 137)))
    >>> ax.figure.savefig("stages.png")  # doctest: +SKIP
    """
    _check_sight_line(stages, result, position)
    edges, order = velocity_bins(stages)
    steps = Steps(ax or new_axes(8, 6.4), edges)

    def kelvin(values):
        return values.to_value(u.K)[order]

    steps.add({"$S$": (kelvin(stages.smoothed), "black"), "$U$": (kelvin(stages.unabsorbed), UNABSORBED)})
    zero = steps.add({"$S - U$": (kelvin(stages.residual), SPECTRAL)}, level=stages.level.value)
    _draw_segments(steps, stages, zero, order)
    steps.add({"narrow fits": (-kelvin(stages.narrow), SPECTRAL)})
    steps.add({"broad fits": (-kelvin(stages.broad), SPECTRAL)})
    steps.add(
        {"detected": (-kelvin(stages.detected), ACCEPTED), AFTER: (-kelvin(stages.amplitude), UNABSORBED)}
    )
    if result is not None:
        y, x = stages.pixel
        delta_t = [result.plane_kelvin("delta_t", k)[y, x] for k in range(stages.velocity.size)]
        steps.add({r"accepted $\Delta T$": (np.array(delta_t)[order], ACCEPTED)})
    steps.finish(velocity_label(stages))
    if stages.position is not None:
        steps.ax.set_title(sky_text(stages.position))
    return steps.ax


def plot_spatial_stages(stages, position=None, *, along="latitude", ax=None, result=None, velocity=None):
    """Draw the steps of the spatial search along a cut through a channel (Gibson et al. 2005, figure 3).

    From above: O; S and U; S - U and O - U, each with the level below which absorption is suspected
    (dashed); what is suspected, and what smoothing and culling make of it.

    Parameters
    ----------
    stages : `~hisatools.search.stages.SpatialStages`
        What to draw.
    position : `~astropy.coordinates.SkyCoord` or (int, int), optional
        Where the cut goes through, and its offset is 0: a position on the sky or a pixel (y, x), from 0; by
        default where most is suspected, or the deepest voxel of the result in this channel.
    along : {"latitude", "longitude"}
        The axis of the cut: of whatever sky coordinates the cube has.
    ax : `~matplotlib.axes.Axes`, optional
        Where to draw; by default in a new figure.
    result : `~hisatools.HISAResult`, optional
        Of the same cube: its dT is drawn below.
    velocity : `~astropy.units.Quantity`, scalar, velocity, optional
        Must be that of ``stages``, if given.

    Returns
    -------
    `~matplotlib.axes.Axes`
        All steps share one scale; each has a zero level of its own, which is written beside it.

    Raises
    ------
    ParameterError
        If the result is of other axes, the velocity another one, or the position outside the map.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools import SpatialSearcher
    >>> from hisatools.datasets import example_model
    >>> from hisatools.plotting import plot_spatial_stages
    >>> stages = SpatialSearcher().stages(example_model().cube, -40 * u.km / u.s)
    >>> ax = plot_spatial_stages(stages, along="longitude")
    >>> ax.figure.savefig("stages.png")  # doctest: +SKIP
    """
    _check_channel(stages, result, velocity)
    y, x = _place(stages, result, position)
    edges, cut = sky_cut(stages.wcs, stages.observed.shape, (y, x), along)
    steps = Steps(ax or new_axes(8, 6.4), edges)

    def kelvin(name):
        return getattr(stages, name).to_value(u.K)[cut]

    observed, smoothed, unabsorbed = (kelvin(name) for name in ("observed", "smoothed", "unabsorbed"))
    steps.add({"$O$": (observed, "black")})
    steps.add({"$S$": (smoothed, "black"), "$U$": (unabsorbed, UNABSORBED)})
    steps.add({"$S - U$": (smoothed - unabsorbed, SPATIAL)}, level=kelvin("smoothed_level"))
    steps.add({"$O - U$": (observed - unabsorbed, SPATIAL)}, level=kelvin("observed_level"))
    steps.add({"suspected": (-kelvin("suspected"), REJECTED), AFTER: (-kelvin("amplitude"), UNABSORBED)})
    if result is not None:
        delta_t = result.plane_kelvin("delta_t", stages.channel)[cut]
        steps.add({r"accepted $\Delta T$": (delta_t, ACCEPTED)})
    steps.finish(offset_label(stages.wcs, along))
    steps.ax.set_title(f"{position_text(stages, y, x)}, {speed_text(stages.velocity)}")
    return steps.ax


# --- what is drawn where ----------------------------------------------------------------------


def _check_sight_line(stages, result, position):
    wanted = stages.pixel if position is None else nearest_pixel(stages.wcs, position)
    if wanted != stages.pixel:
        raise ParameterError(f"stages are of the pixel {stages.pixel}, not {wanted}; leave position out")
    if result is None:
        return
    if result.flags.shape[0] != stages.velocity.size:
        raise ParameterError(
            f"stages have {stages.velocity.size} channels, and the result {result.flags.shape[0]}; {ONE_CUBE}"
        )
    sky_pixel(result.wcs, result.flags.shape, stages.pixel)
    known = stages.position is not None and result.meta.get("input", {}).get("position") != "not known"
    _check_same_axes(stages, result, on_sky=known)


def _check_channel(stages, result, velocity):
    if velocity is not None:
        wanted = one_velocity(velocity)
        width = abs(stages.wcs.wcs.cdelt[2]) * u.Unit(stages.wcs.wcs.cunit[2])
        # The nearest channel is meant, as with a result.
        if not abs(stages.velocity - wanted) <= 0.5001 * width:
            raise ParameterError(f"stages are at {stages.velocity:.1f}, not {wanted:.1f}; leave velocity out")
    if result is None:
        return
    if result.flags.shape[1:] != stages.observed.shape or stages.channel >= result.flags.shape[0]:
        raise ParameterError(
            f"stages are of channel {stages.channel} with {stages.observed.shape} pixels, and the result has "
            f"the shape {result.flags.shape}; {ONE_CUBE}"
        )
    _check_same_axes(stages, result)


def _check_same_axes(stages, result, *, on_sky=True):
    shape = result.flags.shape
    off_pix = sky_offset_pix(stages.wcs, result.wcs, shape) if on_sky else 0.0
    off_chan = velocity_offset_chan(stages.wcs, result.wcs, shape[0])
    if not max(off_pix, off_chan) < SAME_PLACE:
        raise ParameterError(
            f"stages lie {off_pix:.3g} pixels and {off_chan:.3g} channels off the result; {ONE_CUBE}"
        )


def _place(stages, result, position):
    if result is not None:
        return chosen_pixel(result, position, stages.channel)
    if position is None:
        depth = np.nan_to_num(stages.suspected.value)
        return tuple(int(pixel) for pixel in np.unravel_index(np.argmax(depth), depth.shape))
    return sky_pixel(stages.wcs, stages.observed.shape, position)


def _draw_segments(steps, stages, zero, order):
    """Fill the segments below the level, those with an accepted fit in full, and number them."""
    residual, level, n = stages.residual.value, stages.level.value, stages.velocity.size
    fitted = np.maximum(stages.narrow, stages.broad) > 0
    turned = order[0] > order[-1]
    segments = sorted((n - stop, n - first) if turned else (first, stop) for first, stop in stages.segments)
    for number, (first, stop) in enumerate(segments, 1):
        channels = order[first:stop]
        edges = steps.edges[first : stop + 1]
        color = ACCEPTED if fitted[channels].any() else REJECTED
        steps.ax.stairs(
            zero + residual[channels], edges, baseline=zero + level, fill=True, color=color, alpha=0.6
        )
        place = (edges.mean(), zero + residual[channels].min())
        steps.ax.annotate(
            str(number), place, (0, -3), textcoords="offset points", ha="center", va="top", fontsize="x-small"
        )


class Steps:
    """Curves below each other on one scale, each group with a zero level of its own.

    Parameters
    ----------
    ax : `~matplotlib.axes.Axes`
        Where to draw.
    edges : `~numpy.ndarray`, shape (n + 1,)
        Of the bins of all curves.
    """

    def __init__(self, ax, edges):
        self.ax, self.edges = ax, edges
        self.top = self.bottom = self.gap = self.round = None

    def add(self, curves, *, level=None):
        """Draw a group of curves, K, below the last one; returns its zero level.

        ``curves`` are {name: (values, color)}; ``level`` is drawn dashed.
        """
        lines = [values for values, _ in curves.values()]
        dashed = [] if level is None else [np.broadcast_to(level, lines[0].shape)]
        finite = np.concatenate([np.zeros(1), *lines, *dashed])
        finite = finite[np.isfinite(finite)]
        zero = self._next_zero(finite.min(), finite.max())
        self.ax.axhline(zero, color="0.7", linewidth=0.6)
        style = {"baseline": None, "linewidth": 1.1}
        for values in dashed:
            self.ax.stairs(zero + values, self.edges, color="0.3", linestyle="dashed", **style)
        for values, color in curves.values():
            self.ax.stairs(zero + values, self.edges, color=color, **style)
        self._name(curves, zero)
        return zero

    def finish(self, label):
        """Limits and labels, when all is drawn."""
        self.ax.set_xlim(self.edges[0], self.edges[-1])
        self.ax.set_ylim(self.bottom - self.gap, self.top + self.gap)
        self.ax.set_xlabel(label)
        self.ax.set_ylabel(BRIGHTNESS)
        dress(self.ax)

    def _next_zero(self, low, high):
        """The highest round zero level at which values between ``low`` and ``high`` have room."""
        if self.bottom is None:
            span = max(high - low, 1e-6)
            self.round, self.gap = 10 ** np.floor(np.log10(span)) / 10, GAP * span
            self.top, self.bottom = high, low
            return 0.0
        zero = float(np.floor((self.bottom - self.gap - high) / self.round) * self.round)
        self.bottom = zero + low
        return zero

    def _name(self, curves, zero):
        """On the right, the names of the curves from the end of the first one down, and where zero is."""
        values = next(iter(curves.values()))[0]
        end = np.nan_to_num(values[np.isfinite(values)][-1:].mean()) if np.isfinite(values).any() else 0.0
        away = abs(end) > 3 * self.gap
        number = f"0 at {zero:.4g} K".replace("-", "\u2212")
        for line, (name, (_, color)) in enumerate(curves.items()):
            text = name if away or line or not zero else f"{name} ({number})"
            self._write(text, zero + end * away, line, color)
        if away and zero:
            self._write(number, zero, 0, "0.4")

    def _write(self, text, y, line, color):
        self.ax.annotate(
            text,
            (1, y),
            (6, -LINE_POINTS * line),
            xycoords=self.ax.get_yaxis_transform(),
            textcoords="offset points",
            va="center",
            fontsize="small",
            color=color,
            annotation_clip=False,
        )
