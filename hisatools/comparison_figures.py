"""All estimates of T_U of one feature: along its spectrum, and across it on the sky."""

import numpy as np

from hisatools.errors import ParameterError
from hisatools.plotting.spectra import velocity_bins
from hisatools.plotting.style import SKY_AXES, new_figure, position_text, velocity_label, velocity_text

__all__ = ["plot_feature", "strategy_styles"]

# Distinct for colour-blind readers (Okabe and Ito; black is T_ON's); a second round is dashed.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255", "#999933")
LINESTYLES = ("solid", "dashed", "dotted")
# What is shown about a feature, in lengths of the feature, and at least so many channels or pixels.
MARGIN, LEAST_MARGIN = 0.5, 12


def strategy_styles(names):
    """Colour and line of each strategy, as matplotlib takes them.

    Parameters
    ----------
    names : iterable of str

    Returns
    -------
    dict
        Name to a dictionary with ``color`` and ``linestyle``, different for up to 24 names.

    Examples
    --------
    >>> strategy_styles(["shell"])
    {'shell': {'color': '#0072B2', 'linestyle': 'solid'}}
    """
    n_colors = len(COLORS)
    return {
        name: {"color": COLORS[i % n_colors], "linestyle": LINESTYLES[i // n_colors % len(LINESTYLES)]}
        for i, name in enumerate(names)
    }


def plot_feature(comparison, feature):
    """Draw T_ON and every T_U of one feature, each with its 1-sigma uncertainty.

    The spectrum is that of the sight line with most absorption, the cut along longitude goes through
    its deepest channel. What is compared of the feature is shaded, all else that is masked is shaded lightly;
    where a strategy can say nothing, its curve has a gap.

    Parameters
    ----------
    comparison : `~hisatools.comparison.UnabsorbedComparison`
    feature : int
        A label of ``comparison.labels`` that was compared.

    Returns
    -------
    `~matplotlib.figure.Figure`
        The cut is left out for a cube of one pixel a row.

    Raises
    ------
    ParameterError
        If the feature was not compared.

    Examples
    --------
    >>> from hisatools import compare_unabsorbed
    >>> from hisatools.comparison_figures import plot_feature
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> model = simulate_cube(ModelParameters(shape=(32, 48, 48), n_pucks=5, n_components=50), seed=101)
    >>> comparison = compare_unabsorbed(model.cube, model.mask, ["spectral-linear"], truth=model)
    >>> plot_feature(comparison, comparison.largest_features(1)[0]).savefig("feature.png")
    """
    v, y, x = central_voxel(comparison, feature)
    cube = comparison.cube
    has_cut = cube.shape[2] > 1
    figure = new_figure(9, 8 if has_cut else 4.6)
    axes = figure.subplots(2 if has_cut else 1, 1, squeeze=False)[:, 0]
    edges, order = velocity_bins(cube)
    _draw_curves(axes[0], comparison, (order, y, x), edges, feature)
    axes[0].set_xlabel(velocity_label(cube))
    # A cube of one spectrum may have no position.
    place = "" if cube.meta.get("position") == "not known" else f" at {position_text(cube, y, x)}"
    n_voxels = int(np.count_nonzero(comparison.labels.reshape(-1)[comparison.index] == feature))
    axes[0].set_title(
        f"Feature {feature} ({n_voxels} voxels): spectrum{place}", fontsize="medium", loc="left"
    )
    if has_cut:
        pixels = np.arange(cube.shape[2])
        _draw_curves(axes[1], comparison, (v, y, pixels), np.arange(cube.shape[2] + 1) - 0.5, feature)
        _label_longitude(axes[1], cube, y)
        axes[1].set_title(f"Cut through it at {velocity_text(cube, v)}", fontsize="medium", loc="left")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize="small")
    return figure


def central_voxel(comparison, feature):
    """The deepest voxel of the sight line of a feature that has most absorption.

    Depths are those by the median of the strategies that can say something.

    Parameters
    ----------
    comparison : `~hisatools.comparison.UnabsorbedComparison`
    feature : int

    Returns
    -------
    tuple of int
        (v, y, x).

    Raises
    ------
    ParameterError
        If the feature was not compared.
    """
    inside = comparison.labels.reshape(-1)[comparison.index] == feature
    if not inside.any():
        raise ParameterError(
            f"feature {feature!r} was not compared; the labels that were are in features['feature']"
        )
    index = comparison.index[inside]
    t_unabsorbed = np.median([one.kelvin[inside] for one in comparison.estimates.values()], axis=0)
    depth = t_unabsorbed - comparison.cube.kelvin.reshape(-1)[index]
    n_pixels = comparison.labels[0].size
    sight_line, member = np.unique(index % n_pixels, return_inverse=True)
    deepest = sight_line[np.argmax(np.bincount(member, weights=depth))]
    on_it = index % n_pixels == deepest
    place = np.unravel_index(index[on_it][np.argmax(depth[on_it])], comparison.labels.shape)
    return tuple(int(number) for number in place)


def _draw_curves(ax, comparison, line, edges, feature):
    """T_ON, T_U of all strategies and the truth along a row of voxels."""
    flat = np.ravel_multi_index(np.broadcast_arrays(*line), comparison.labels.shape)
    t_on, labels = comparison.cube.kelvin[line], comparison.labels[line]
    compared = (labels == feature) & np.isin(flat, comparison.index)
    centres = (edges[:-1] + edges[1:]) / 2
    shown = _window(compared)
    for color, masked in (("0.93", (labels > 0) & ~compared), ("0.82", compared)):
        # Over the whole height, whatever the limits will be.
        ax.fill_between(
            np.repeat(edges, 2)[1:-1],
            0,
            1,
            where=np.repeat(masked, 2),
            color=color,
            linewidth=0,
            transform=ax.get_xaxis_transform(),
        )
    ax.stairs(t_on, edges, baseline=None, color="black", linewidth=1, label=r"$T_\mathrm{ON}$")
    heights = [t_on[shown]]
    for name, style in strategy_styles(comparison.estimates).items():
        kelvin, sigma = _along(comparison, name, flat)
        ax.plot(centres, kelvin, marker=".", markersize=4, linewidth=1.3, label=name, **style)
        ax.fill_between(
            centres, kelvin - sigma, kelvin + sigma, color=style["color"], alpha=0.13, linewidth=0
        )
        heights.append(kelvin[shown])
    if comparison.truth_kelvin is not None:
        truth = comparison.truth_kelvin[line]
        ax.plot(
            centres, truth, color="black", linestyle="dashed", linewidth=1.2, label=r"true $T_\mathrm{U}$"
        )
        heights.append(truth[shown])
    ax.set_xlim(edges[shown.start], edges[shown.stop])
    ax.set_ylim(*_limits(np.concatenate(heights)))
    ax.set_ylabel("Brightness temperature (K)")
    ax.tick_params(which="both", direction="in", top=True, right=True)


def _along(comparison, name, flat):
    """T_U and its uncertainty at places in the cube, K; NaN outside what was compared or is known."""
    estimate = comparison.estimates[name]
    place = np.searchsorted(comparison.index, flat).clip(max=comparison.index.size - 1)
    known = (comparison.index[place] == flat) & np.isfinite(estimate.sigma_kelvin[place])
    return (np.where(known, values[place], np.nan) for values in (estimate.kelvin, estimate.sigma_kelvin))


def _window(inside):
    """The part of a row that is shown: what was compared, and its surroundings."""
    where = np.flatnonzero(inside)
    margin = max(int(MARGIN * (where[-1] - where[0] + 1)), LEAST_MARGIN)
    return slice(max(int(where[0]) - margin, 0), min(int(where[-1]) + margin + 1, inside.size))


def _limits(kelvin):
    """Limits that hold all finite values; bands may reach beyond them."""
    finite = kelvin[np.isfinite(kelvin)]
    low, high = float(finite.min()), float(finite.max())
    margin = 0.08 * (high - low) or 1.0
    return low - margin, high + margin


def _label_longitude(ax, cube, y):
    """Longitudes in place of pixel numbers."""
    from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator

    pixels = np.arange(cube.shape[2])
    lon, _ = cube.wcs.celestial.wcs_pix2world(pixels, np.full(pixels.size, y), 0)
    lon = np.unwrap(lon, period=360)
    order = np.argsort(lon)
    shown = np.interp(ax.get_xlim(), pixels, lon)
    ticks = MaxNLocator(6, steps=[1, 2, 5, 10]).tick_values(shown.min(), shown.max())
    ticks = ticks[(ticks >= shown.min()) & (ticks <= shown.max())]
    digits = max(-int(np.floor(np.log10(np.diff(ticks).min()))), 0) if ticks.size > 1 else 3
    ax.xaxis.set_major_locator(FixedLocator(np.interp(ticks, lon[order], pixels[order])))
    ax.xaxis.set_major_formatter(FixedFormatter([f"{tick % 360:.{digits}f}\u00b0" for tick in ticks]))
    ax.set_xlabel(SKY_AXES[cube.wcs.wcs.ctype[0].split("-")[0]][0])
