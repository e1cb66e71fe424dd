"""The sample slices of a performance model as maps (the paper, figures 9 and 14)."""

import astropy.units as u
import numpy as np
from scipy import ndimage

from hisatools.errors import ParameterError
from hisatools.performance.assessment import equivalent_sigma
from hisatools.performance.slices import AMOUNT_MAP
from hisatools.plotting.maps import draw_map, draw_overlay, label_sky
from hisatools.plotting.style import BLANK, LABELS, SKY_AXES, color_limits, new_figure, velocity_label

__all__ = ["plot_reliability", "plot_sample"]

# Image of a sample: title, kind of brightness.
PANELS = {
    "delta_t_in": ("Absorption put in", "delta_t"),
    "t_on": ("Observed brightness", "t_on"),
    "delta_t_out": ("Absorption found", "delta_t"),
}
# Of the contours of reliability: the chance that a Gaussian deviate lies within 1, 2, 3 and 4 sigma.
LEVELS = (0.682690, 0.954500, 0.997300, 0.999937)
COLORS = ("black", "#D55E00", "#CC79A7", "white")
NO_FRACTION = "0.6"


def plot_sample(performance):
    """Draw slices of what was put in, observed and found: figure 9 of the paper.

    Parameters
    ----------
    performance : `~hisatools.PerformanceModel`
        With a ``sample``.

    Returns
    -------
    `~matplotlib.figure.Figure`
        A channel map above and a longitude-velocity slice below. White is no absorption, the darker
        the deeper; grey is no data.

    Raises
    ------
    ParameterError
        If there is no sample.

    Examples
    --------
    >>> from hisatools import PerformanceModel
    >>> from hisatools.performance.figures import plot_sample
    >>> plot_sample(PerformanceModel.read("performance.fits")).savefig("sample.png")  # doctest: +SKIP
    """
    sample = _sample_of(performance)
    figure = new_figure(11, 8.2)
    figure.get_layout_engine().set(h_pad=0.1)
    figure.suptitle(f"Channel at {_velocity_text(sample)}, and the slice at {_row_text(sample)} (triangles)")
    grid = figure.add_gridspec(2, 3, height_ratios=(3, 2))
    for column, (name, (title, what)) in enumerate(PANELS.items()):
        channel = figure.add_subplot(grid[0, column], projection=sample.wcs.celestial)
        slices = ("x", sample.row_number, "y")
        row = figure.add_subplot(grid[1, column], projection=sample.wcs, slices=slices)
        planes = sample.channel[name], sample.row[name]
        limits = _limits(what, *planes)
        images = [_draw(ax, plane, what, limits) for ax, plane in zip((channel, row), planes, strict=True)]
        channel.set_title(title)
        label_sky(channel, sample.wcs, lat=column == 0)
        channel.coords[0].set_ticks(number=3)
        _label_velocity(row, sample, shown=column == 0)
        _mark_row(channel, sample.row_number)
        _mark_row(row, sample.channel_number)
        bar = {"location": "bottom", "extend": {"delta_t": "min", "t_on": "both"}[what], "aspect": 30}
        figure.colorbar(images[0], ax=[channel, row], label=LABELS[what], **bar)
    return figure


def plot_reliability(performance):
    """Draw the largest feature of the sample channel with contours of its reliability: figure 14.

    Parameters
    ----------
    performance : `~hisatools.PerformanceModel`
        With a ``sample``.

    Returns
    -------
    `~matplotlib.figure.Figure`
        dT found, with the true fraction at 1, 2, 3 and 4 sigma (see
        `~hisatools.performance.equivalent_sigma`). Dark grey are found voxels without a true fraction,
        light grey is no data.

    Raises
    ------
    ParameterError
        If there is no sample.

    Examples
    --------
    >>> from hisatools import PerformanceModel
    >>> from hisatools.performance.figures import plot_reliability
    >>> figure = plot_reliability(PerformanceModel.read("performance.fits"))  # doctest: +SKIP
    """
    sample = _sample_of(performance)
    found = sample.found_voxels()
    delta_t, mask = sample.channel["delta_t_out"], found.mask[0]
    true_fraction = np.full(mask.shape, np.nan)
    true_fraction[mask] = performance.true_fraction.at_points(found.values)
    cut = _around_largest(mask)
    n_y, n_x = mask[cut].shape
    figure = new_figure(6.6, min(max(4.8 * n_y / n_x, 2.5), 9) + 1.8)
    ax = figure.add_subplot(projection=sample.wcs.celestial[cut])
    image = _draw(ax, delta_t[cut], "delta_t", color_limits("delta_t", delta_t[cut]))
    draw_overlay(ax, mask[cut] & np.isnan(true_fraction[cut]), NO_FRACTION)
    _draw_reliability(ax, true_fraction[cut])
    label_sky(ax, sample.wcs)
    ax.set_title(f"Absorption found at {_velocity_text(sample)}\n{_largest_text(true_fraction[cut])}")
    figure.colorbar(image, ax=ax, label=LABELS["delta_t"])
    return figure


def _sample_of(performance):
    if performance.sample is None:
        raise ParameterError(
            "performance has no sample slices; runs of model cubes and injections have them, pairs have not"
        )
    return performance.sample


def _sky_kind(sample):
    return sample.wcs.wcs.ctype[0].split("-")[0]


# --- words ------------------------------------------------------------------------------------


def _velocity_text(sample):
    speed = sample.wcs.spectral.pixel_to_world_values(sample.channel_number) / 1e3
    return f"$v$ = {speed:+.1f} km s$^{{-1}}$".replace("= -", "= \u2212")


def _row_text(sample):
    """The latitude or declination in the middle of the row."""
    middle = (sample.channel["t_on"].shape[1] - 1) / 2
    latitude = sample.wcs.celestial.pixel_to_world_values(middle, sample.row_number)[1]
    kind = _sky_kind(sample)
    symbol = "$b$" if kind == "GLON" else SKY_AXES[kind][1].lower()
    return f"{symbol} = {latitude:+.2f}\u00b0".replace("= -", "= \u2212")


def _largest_text(true_fraction):
    if not np.isfinite(true_fraction).any():
        return "no voxels with a true fraction"
    largest = np.nanmax(true_fraction)
    if largest == 1:
        return r"largest $f_\mathrm{true}$: 1 (no false voxel in the models was like it)"
    return rf"largest $f_\mathrm{{true}}$: {largest:.6f} ({equivalent_sigma(largest):.2f} $\sigma$)"


# --- drawing ----------------------------------------------------------------------------------


def _limits(what, *planes):
    """The paper's limits of the colour scale, K, further up where the sky is brighter."""
    return (-40.0, 0.0) if what == "delta_t" else (0.0, max(120.0, color_limits(what, *planes)[1]))


def _draw(ax, data, what, limits):
    """A map in which absorption is the darker the deeper; returns the image."""
    image = draw_map(ax, data, what, limits)
    if what == "delta_t":
        image.set_cmap(f"{AMOUNT_MAP}_r")
    return image


def _label_velocity(ax, sample, *, shown):
    """Name the axes of a longitude-velocity slice, velocity rising upwards."""
    longitude, latitude, velocity = ax.coords
    kind = _sky_kind(sample)
    longitude.set_axislabel(SKY_AXES[kind][0])
    if kind == "GLON":
        longitude.set_major_formatter("d.dd")
    longitude.set_ticks(number=3)
    # The latitude is that of the row, but for the little by which a projection bends it.
    latitude.set_ticks_visible(False)
    latitude.set_ticklabel_visible(False)
    latitude.set_axislabel("")
    velocity.set_format_unit(u.km / u.s)
    velocity.set_axislabel(velocity_label(sample) if shown else " ")
    velocity.set_ticklabel_visible(shown)
    ax.set_aspect("auto")
    if sample.wcs.wcs.cdelt[2] < 0:
        ax.invert_yaxis()


def _mark_row(ax, row):
    """Triangles at both sides, where the other slice cuts."""
    for side, marker in ((0, ">"), (1, "<")):
        style = {"color": "black", "markersize": 7, "clip_on": False}
        ax.plot(side, row, marker, transform=ax.get_yaxis_transform(), **style)


def _around_largest(mask):
    """Slices (y, x) about the largest connected group of pixels, with a margin; all if there is none."""
    labels, n_features = ndimage.label(mask)
    if not n_features:
        return (slice(0, mask.shape[0]), slice(0, mask.shape[1]))
    largest = np.bincount(labels.ravel())[1:].argmax()
    box = ndimage.find_objects(labels)[largest]
    margin = max(4, max(side.stop - side.start for side in box) // 6)
    return tuple(
        slice(max(side.start - margin, 0), min(side.stop + margin, size))
        for side, size in zip(box, mask.shape, strict=True)
    )


def _draw_reliability(ax, true_fraction):
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    # Unreliable outside features, so that contours close at their edge.
    values = np.nan_to_num(true_fraction)
    handles = []
    for number, (level, color) in enumerate(zip(LEVELS, COLORS, strict=True), start=1):
        if min(values.shape) > 1 and values.max() > level:
            ax.contour(values, [level], colors=color, linewidths=1.2)
        handles.append(Line2D([], [], color=color, label=rf"{number}$\sigma$ ({level:g})"))
    handles.append(Patch(color=NO_FRACTION, label="too few voxels"))
    legend = ax.figure.legend(handles=handles, loc="outside lower center", ncols=3)
    # Dark enough for a white line.
    legend.get_frame().set(facecolor=BLANK)
