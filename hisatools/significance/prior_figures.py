"""Figures of priors and of TS on the sky: before the prior, the prior, and after it."""

import numpy as np

from hisatools.errors import InputError, ParameterError
from hisatools.io.reading import channel_velocity
from hisatools.plotting.maps import label_sky
from hisatools.plotting.style import BLANK, new_figure
from hisatools.significance.places import hottest

__all__ = ["plot_prior", "plot_prior_effect", "plot_ts"]

TS_MAP, PRIOR_MAP = "inferno", "viridis"
MARK = "#56B4E9"
# The colours of a prior end here; what is less likely is drawn like this.
LEAST_SHOWN = 1e-6


def plot_prior(prior, channel=None, *, log=True, ax=None):
    """Draw a prior on the sky, in units of its largest value; grey where it is 0.

    Parameters
    ----------
    prior : `~hisatools.significance.prior.SpatialPrior`
    channel : int, optional
        Of a prior with channels, from 0 in file order; by default the largest over the channels.
    log : bool
        Whether the colours are logarithmic; they end at a millionth.
    ax : `~astropy.visualization.wcsaxes.WCSAxes`, optional
        Where to draw; by default in a new figure.

    Returns
    -------
    `~astropy.visualization.wcsaxes.WCSAxes`
        Its ``figure`` can be shown and saved.

    Raises
    ------
    ParameterError
        If there is no such channel.

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools.significance import SpatialPrior
    >>> from hisatools.significance.prior_figures import plot_prior
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> cube = simulate_cube(ModelParameters(shape=(8, 30, 40), n_pucks=1, n_components=50), seed=101).cube
    >>> prior = SpatialPrior.from_function(lambda sky: np.exp(-abs(sky.b.deg) / 0.02), cube, name="plane")
    >>> plot_prior(prior).get_title()
    'plane'
    """
    from matplotlib.colors import LogNorm, Normalize

    values = prior.probability
    top = values.max()
    plane = _plane(values, channel) / (top or 1.0)
    shown = np.where(plane > 0, plane, np.nan)
    low = np.fmin.reduce(shown, axis=None, initial=1.0)
    # A decade at least, so that the scale has numbers.
    norm = LogNorm(max(min(low, 0.1), LEAST_SHOWN), 1) if log else Normalize(0, 1)
    ax = _sky_axes(prior.wcs) if ax is None else ax
    ax.set_facecolor(BLANK)
    image = ax.imshow(shown, cmap=PRIOR_MAP, norm=norm, origin="lower")
    extend = "min" if log and low < LEAST_SHOWN else "neither"
    ax.figure.colorbar(image, ax=ax, label="Prior / its largest value", extend=extend)
    label_sky(ax, prior.wcs)
    ax.set_title(prior.name + _channel_text(prior.wcs, channel), fontsize="medium")
    return ax


def plot_ts(ts, wcs, *, channel=None, ax=None, limits=None, mark=True):
    """Draw TS on the sky with its hottest place.

    Parameters
    ----------
    ts : array_like, shape (n_v, n_y, n_x) or (n_y, n_x)
        NaN where blank, which is grey.
    wcs : `~astropy.wcs.WCS`
        Of the cube, or of its sky for a map.
    channel : int, optional
        From 0 in file order; by default the largest over the channels.
    ax : `~astropy.visualization.wcsaxes.WCSAxes`, optional
        Where to draw; by default in a new figure.
    limits : pair of float, optional
        Of the colours; by default from 0 to the largest TS.
    mark : bool
        Whether the hottest place of what is drawn is circled, and its TS written beside the colours.

    Returns
    -------
    `~astropy.visualization.wcsaxes.WCSAxes`
        Its ``figure`` can be shown and saved.

    Raises
    ------
    ParameterError
        If there is no such channel.
    InputError
        If TS is no map and no cube.

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools.significance.prior_figures import plot_ts
    >>> from hisatools.simulate import ModelParameters, model_wcs
    >>> ts = np.random.default_rng(6000).chisquare(1, (4, 30, 40))
    >>> ax = plot_ts(ts, model_wcs(ModelParameters(shape=ts.shape)))
    >>> ax.figure.savefig("ts.png")
    """
    ts = np.asarray(ts)
    if ts.ndim not in (2, 3) or wcs.naxis < ts.ndim:
        raise InputError(f"TS of shape {ts.shape} cannot be drawn; give a cube or a map, and its WCS")
    plane = _plane(ts, channel)
    low, high = limits or (0.0, max(float(np.fmax.reduce(plane, axis=None, initial=0)), 1.0))
    ax = _sky_axes(wcs) if ax is None else ax
    ax.set_facecolor(BLANK)
    image = ax.imshow(plane, cmap=TS_MAP, vmin=low, vmax=high, origin="lower")
    ax.figure.colorbar(image, ax=ax, label="TS")
    label_sky(ax, wcs)
    title = _channel_text(wcs, channel).removeprefix(", ")
    place = hottest(ts if channel is None else plane, wcs) if mark else None
    if place is not None:
        _circle(ax, place)
        speed = f", {_kms_text(place.velocity)}" if place.velocity is not None else ""
        title = f"{title}{', ' if title else ''}hottest: {place.value:.1f}{speed}"
    elif mark:
        title = f"{title}{', ' if title else ''}nothing above 0"
    ax.set_title(title, fontsize="medium")
    return ax


def plot_prior_effect(ts, prior, *, channel=None, allowed=None, wcs=None):
    """Draw TS before the prior, the prior, and TS after it, side by side.

    Parameters
    ----------
    ts : array_like, shape (n_v, n_y, n_x) or (n_y, n_x)
        Before the prior; NaN where blank.
    prior : `~hisatools.significance.prior.SpatialPrior`
    channel : int, optional
        From 0 in file order; by default the largest over the channels.
    allowed : array_like of bool, optional
        As `~hisatools.significance.prior.SpatialPrior.apply` takes it.
    wcs : `~astropy.wcs.WCS`, optional
        Of the cube; with it the velocity of the hottest place can be told where the prior has no channels.

    Returns
    -------
    `~matplotlib.figure.Figure`
        The hottest place is circled before and after; TS has one scale of colours in both.

    Raises
    ------
    ParameterError
        If there is no such channel, or the prior is 0 everywhere.
    InputError
        If a shape does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools.significance import SpatialPrior
    >>> from hisatools.significance.prior_figures import plot_prior_effect
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> cube = simulate_cube(ModelParameters(shape=(8, 30, 40), n_pucks=1, n_components=50), seed=101).cube
    >>> prior = SpatialPrior.from_function(lambda sky: np.exp(-abs(sky.b.deg) / 0.02), cube, name="plane")
    >>> ts = np.random.default_rng(6000).chisquare(1, cube.shape)
    >>> figure = plot_prior_effect(ts, prior, wcs=cube.wcs)
    >>> figure.savefig("prior.png")
    """
    ts = np.asarray(ts)
    after = prior.apply(ts, allowed)
    wcs = prior.wcs if wcs is None else wcs
    if ts.ndim == 3 and wcs.naxis < 3:
        ts, after = (_plane(values, channel) for values in (ts, after))
        of_prior, channel = channel if prior.probability.ndim == 3 else None, None
    else:
        of_prior = channel if prior.probability.ndim == 3 else None
    top = max(float(np.fmax.reduce(_plane(ts, channel), axis=None, initial=0)), 1.0)
    n_y, n_x = ts.shape[-2:]
    # As high as three maps side by side need.
    figure = new_figure(15, float(np.clip(3.9 * n_y / n_x + 1, 2.6, 10)))
    axes = [figure.add_subplot(1, 3, place, projection=prior.wcs.celestial) for place in (1, 2, 3)]
    plot_ts(ts, wcs, channel=channel, ax=axes[0], limits=(0, top))
    plot_prior(prior, of_prior, ax=axes[1])
    plot_ts(after, wcs, channel=channel, ax=axes[2], limits=(0, top))
    for ax, text in ((axes[0], "before"), (axes[2], "after")):
        ax.set_title(f"TS {text} the prior; {ax.get_title()}", fontsize="medium")
    axes[1].set_title(f"Prior: {axes[1].get_title()}", fontsize="medium")
    for ax in axes[1:]:
        label_sky(ax, prior.wcs, lat=False)
    return figure


def _plane(values, channel):
    """One channel, or the largest value over the channels; NaN where all are."""
    if values.ndim == 2:
        if channel is not None:
            raise ParameterError(f"channel={channel!r} of a map, which has none; leave it out")
        return values
    if channel is None:
        return np.fmax.reduce(values, axis=0)
    is_number = isinstance(channel, int | np.integer) and not isinstance(channel, bool)
    if not is_number or not 0 <= channel < len(values):
        raise ParameterError(f"channel must be a number from 0 to {len(values) - 1}, got {channel!r}")
    return values[channel]


def _sky_axes(wcs):
    return new_figure(6.4, 5.4).add_subplot(projection=wcs.celestial)


def _circle(ax, place):
    """A ring about the hottest place; its size is on the paper, not on the sky."""
    y, x = place.voxel[-2:]
    limits = ax.get_xlim(), ax.get_ylim()
    for width, color in ((3.5, "black"), (1.8, MARK)):
        ax.plot(x, y, "o", markersize=14, fillstyle="none", color=color, markeredgewidth=width, clip_on=False)
    ax.set_xlim(limits[0])
    ax.set_ylim(limits[1])


def _channel_text(wcs, channel):
    """The velocity of a channel, for titles."""
    if channel is None or wcs.naxis < 3:
        return ""
    return f", {_kms_text(channel_velocity(wcs, channel + 1)[channel])}"


def _kms_text(velocity):
    number = f"{velocity.to_value('km/s'):+.1f}".replace("-", "\u2212")
    return f"$v$ = {number} km s$^{{-1}}$"
