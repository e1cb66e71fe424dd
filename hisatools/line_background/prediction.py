"""What is expected under a line: a template from side ranges, scaled by a fitted spectrum."""

from dataclasses import dataclass

import astropy.units as u
import numpy as np

from hisatools.errors import InputError, ParameterError
from hisatools.line_background import template
from hisatools.line_background.ranges import check_range, snap_range, touched_bins
from hisatools.parameters import check_number, check_quantity


@dataclass(frozen=True, eq=False)
class LinePrediction:
    """What is expected under a line.

    Parameters
    ----------
    values : `~numpy.ndarray`, shape (...), or Quantity in K, shape (n_source, n_y, n_x)
        Expected counts of each cell in the source range; or brightness of each source channel, NaN where
        no side channel is known.
    template : `~numpy.ndarray` or Quantity in K, shape (...)
        Counts in the side ranges, or their mean brightness, filtered if that was asked for.
    expected, expected_sigma : float, or Quantity in K, shape (n_source,)
        The same summed over all cells, or as mean over the sight lines, before any filter; its error comes
        from what is in the side ranges and in the fitted bins, which are in part the same.
    source_range : Quantity, shape (2,)
    side_ranges : list of Quantity, shape (2,)
        As they were used, snapped to whole bins.
    remarks : tuple of str
        What was changed about the ranges.
    wcs : `~astropy.wcs.WCS`, optional
        Of the sky axes.

    Examples
    --------
    >>> import numpy as np
    >>> import astropy.units as u
    >>> from astropy.modeling.models import Polynomial1D
    >>> from hisatools import LineBackground
    >>> edges = np.linspace(0, 50, 51) * u.keV
    >>> counts = np.random.default_rng(1).poisson(40, (50, 3, 4))
    >>> background = LineBackground(counts, edges).with_mask((20, 30) * u.keV)
    >>> fit = background.fit(Polynomial1D(1, c0=400.0))
    >>> prediction = background.predict(fit, (24, 26) * u.keV, [(10, 20) * u.keV, (30, 40) * u.keV])
    >>> prediction.values.shape, prediction.template.shape
    ((3, 4), (3, 4))
    >>> round(prediction.expected), round(prediction.expected_sigma)  # 2 keV x 12 cells x 40 counts
    (956, 10)
    """

    values: object
    template: object
    expected: object
    expected_sigma: object
    source_range: u.Quantity
    side_ranges: list
    remarks: tuple
    wcs: object = None

    def plot_template(self, *, ax=None):
        """Draw the template as a map; see `hisatools.line_background.figures.plot_template`."""
        from hisatools.line_background.figures import plot_template

        return plot_template(self, ax=ax)


def predict(background, fit, source_range, side_ranges, *, spatial_filter, rebin):
    """The prediction; `hisatools.line_background.LineBackground.predict` describes it.

    Parameters
    ----------
    background : `~hisatools.line_background.LineBackground`
    fit : `~hisatools.line_background.LineFit`
    source_range, side_ranges
    spatial_filter : callable or None
        From `chosen_filter`.
    rebin : int or None

    Returns
    -------
    `LinePrediction`
    """
    low, high, limits = _source_bins(background, source_range)
    used, remarks, snapped = _side_bins(background, side_ranges, limits)
    over_source = fit.expected(low, high) / background.per_bin(low, high)
    side_low, side_high = background.edges[:-1][used], background.edges[1:][used]
    over_sides = fit.expected(side_low, side_high) / background.per_bin(side_low, side_high)
    if not over_sides.sum() > 0:
        raise InputError("the fitted model is not positive in the side ranges, so nothing can be scaled")
    scale = _side_scale(background, used, over_sides)
    expected, sigma = _expected(background, fit, used, (low, high), over_source, *scale)
    common = {
        "source_range": limits * background.x_unit,
        "side_ranges": [np.array(pair) * background.x_unit for pair in snapped],
        "remarks": remarks,
        "wcs": background.wcs,
    }
    if background.is_counts:
        counts = _count_template(background.values[used], spatial_filter, rebin)
        values = counts * over_source[0] / over_sides.sum()
        return LinePrediction(values, counts, float(expected[0]), float(sigma[0]), **common)
    mean = _mean_template(background.values[used], over_sides, spatial_filter)
    values = mean * (over_source / over_sides.mean()).reshape(-1, *np.ones(mean.ndim, int))
    by_channel = [background.as_given(each) * background.value_unit for each in (values, expected, sigma)]
    return LinePrediction(by_channel[0], mean * background.value_unit, *by_channel[1:], **common)


def chosen_filter(background, rebin, given):
    """The spatial filter that is asked for, or None.

    Parameters
    ----------
    background : `~hisatools.line_background.LineBackground`
    rebin : int or None
    given : dict
        "smoothing_fwhm", "l_cut" and "angular_scale" to their value or None.

    Raises
    ------
    ParameterError
        If several are given, or there is no sky to filter, or no bins to join.
    """
    asked = {name: value for name, value in given.items() if value is not None}
    if len(asked) > 1:
        raise ParameterError(f"{' and '.join(asked)} are given; choose one filter")
    shape = background.values.shape
    if asked and (len(shape) < 3 or background.pixel_scale is None):
        raise ParameterError(
            f"{next(iter(asked))} needs a sky: values of shape (n_bins, ..., n_y, n_x), here {shape}, and "
            "pixel_scale=..."
        )
    if rebin is not None:
        check_number("rebin", rebin, integer=True)
        if not asked or len(shape) < 4 or not background.is_counts:
            raise ParameterError(
                "rebin shares a filtered pattern between bins of an axis before the sky: it needs a filter, "
                f"and counts of shape (n_bins, n_phi, n_y, n_x); here they are of shape {shape}"
            )
    return _filter(background.pixel_scale, **given) if asked else None


def _filter(pixel_scale, smoothing_fwhm, l_cut, angular_scale):
    if smoothing_fwhm is not None:
        fwhm_pix = (check_quantity("smoothing_fwhm", smoothing_fwhm, u.deg) / pixel_scale).to_value("")
        return lambda maps: template.smooth(maps, fwhm_pix)
    if l_cut is not None:
        angular_scale = 180 * u.deg / check_number("l_cut", l_cut)
    scale_pix = (check_quantity("angular_scale", angular_scale, u.deg) / pixel_scale).to_value("")
    return lambda maps: template.low_pass(maps, 2 * scale_pix)


def _source_bins(background, source_range):
    """Edges of what is predicted, and the limits of all."""
    if background.is_counts:
        low, high = check_range("source_range", source_range, background.x_unit)
        return np.array([low]), np.array([high]), np.array([low, high])
    snapped = snap_range("source_range", source_range, background.edges, background.x_unit)
    ends = background.edges[snapped.bins.start : snapped.bins.stop + 1]
    return ends[:-1], ends[1:], np.array(snapped.snapped)


def _side_bins(background, side_ranges, source):
    """Bins of the template, what there is to say about them, and the ranges as they are used."""
    used, remarks, snapped = np.zeros(len(background.spectrum), bool), [], []
    under_source = touched_bins(source, background.edges)
    for i, pair in enumerate(side_ranges):
        name = f"side range {i + 1}"
        found = snap_range(name, pair, background.edges, background.x_unit)
        if found.is_modified:
            remarks.append(
                f"{name} {_text(found.asked)} is modified to {_text(found.snapped)} {background.x_unit}"
            )
        bins = np.zeros(len(used), bool)
        bins[found.bins] = True
        for what, wrong in (("masked", background.mask), ("in the source range", under_source)):
            if n_wrong := np.count_nonzero(bins & wrong):
                remarks.append(f"{name}: {n_wrong} of its bins {what}, left out")
            bins &= ~wrong
        if not bins.any():
            raise InputError(
                f"{name} {_text(found.asked)} {background.x_unit} holds no bin outside mask and source "
                "range; choose another"
            )
        used |= bins
        snapped.append(found.snapped)
    if not snapped:
        raise ParameterError("side_ranges is empty; give at least one (low, high) pair")
    return used, tuple(remarks), snapped


def _text(pair):
    return f"[{pair[0]:g}, {pair[1]:g}]"


def _count_template(sides, spatial_filter, rebin):
    """Sum of the side bins, filtered; each map of counts keeps its total, NaN stays NaN."""
    counts = sides.sum(axis=0, dtype=float)
    if spatial_filter is None:
        return counts
    if rebin is not None:
        return template.rebinned_filter(counts, rebin, spatial_filter)
    return template.filter_counts(counts, spatial_filter)


def _mean_template(sides, over_sides, spatial_filter):
    """Mean of the side channels, each sight line scaled by the model over the channels that it has."""
    known = np.isfinite(sides)
    total = np.where(known, sides, 0).sum(axis=0, dtype=float)
    model = np.tensordot(over_sides, known, axes=1)
    some = known.any(axis=0) & (model > 0)
    mean = np.where(some, total / np.where(some, model, 1), np.nan) * over_sides.mean()
    return mean if spatial_filter is None else np.where(some, spatial_filter(mean), np.nan)


def _side_scale(background, used, over_sides):
    """What the side bins hold over what the model says, and its derivative to the spectrum there.

    Of brightness it is the mean of that ratio over the sight lines, each with the channels that it has, as in
    `_mean_template`: what is expected is then the mean of what is predicted.
    """
    if background.is_counts:
        expected = over_sides.sum()
        return background.spectrum[used].sum() / expected, np.full(len(over_sides), 1 / expected)
    sides = background.values[used].reshape(len(over_sides), -1)
    known = np.isfinite(sides)
    model = over_sides @ known
    some = model > 0
    if not some.any():
        raise InputError("no sight line has a side channel where the fitted model is positive")
    ratio = np.where(known, sides, 0).sum(axis=0, dtype=float)[some] / model[some]
    return ratio.mean(), np.mean(known[:, some] / model[some], axis=1)


def _expected(background, fit, used, source, over_source, ratio, share):
    """Source times observed sides over expected sides, and its error, to first order in the data.

    The bins of the sides serve twice, as they are and in the fit, so their errors are followed
    through both; ``ratio`` and ``share`` are those of `_side_scale`.
    """
    low, high = background.edges[:-1], background.edges[1:]
    per_bin = background.per_bin(low, high)
    slope = fit.derivatives(low, high) / per_bin
    slope_source = fit.derivatives(*source) / background.per_bin(*source)
    to_parameters = slope_source - np.outer(slope[:, used] @ share, over_source)
    mu = fit.expected(low, high) / per_bin
    variance = np.maximum(mu, 0) if background.is_counts else background.sigma**2
    fitted = ~background.mask & (variance > 0)
    by_bin = np.zeros((len(over_source), len(low)))
    by_bin[:, fitted] = ratio * to_parameters.T @ fit.covariance @ (slope[:, fitted] / variance[fitted])
    by_bin[:, used] += np.outer(over_source, share)
    counted = ~background.mask | used
    return over_source * ratio, np.sqrt(by_bin[:, counted] ** 2 @ variance[counted])
