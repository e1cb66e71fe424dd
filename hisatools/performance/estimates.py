"""Estimates from histograms: smoothed over the parameter space, or in a region of it as they are."""

import numpy as np

from hisatools.errors import ParameterError
from hisatools.performance.histograms import COUNTS
from hisatools.performance.measures import Measure
from hisatools.performance.observables import NAMES, OBSERVABLES, axis_number
from hisatools.performance.regions import RegionValue, bins_inside
from hisatools.performance.smoothing import Smoother, binomial_uncertainty, effective_counts

# Measure: (part, whole)
FRACTIONS = {"throughput": ("n_in_det", "n_in_all"), "true_fraction": ("n_out_true", "n_out_all")}
MEASURES = (*FRACTIONS, *(f"drift_{name}" for name in NAMES))


def check_measure(name):
    """Refuse what is no measure, and list those there are."""
    if name not in MEASURES:
        raise ParameterError(f"unknown measure {name!r}; write one of {', '.join(MEASURES)}")


def fraction_measure(histograms, name, smoothing, correlated_voxels):
    """Throughput or true fraction over the parameter space.

    Parameters
    ----------
    histograms : `~hisatools.performance.Histograms`
    name : str
        One of `FRACTIONS`.
    smoothing : `~hisatools.performance.SmoothingParameters`
    correlated_voxels : float
        Voxels that count as one independent sample.

    Returns
    -------
    `~hisatools.performance.Measure`
    """
    part, whole = FRACTIONS[name]
    smoother = _smoother(histograms, smoothing)
    weighted, counts, supported = _weights(histograms, whole, smoother, correlated_voxels)
    some = smoother.weighted(histograms.image(part, np.float32))
    value = np.full(weighted.shape, np.nan, np.float32)
    # Rounding of the sums may carry a fraction past its limits by 1e-7.
    value[supported] = np.clip(some[supported] / weighted[supported], 0, 1)
    return Measure(name, value, binomial_uncertainty(value, counts), counts, smoother.origin)


def drift_measures(histograms, smoothing, correlated_voxels):
    """The drifts over the parameter space.

    Parameters
    ----------
    histograms, smoothing, correlated_voxels
        As for `fraction_measure`.

    Returns
    -------
    dict of `~hisatools.performance.Measure`
        By the names of the observables.
    """
    smoother = _smoother(histograms, smoothing)
    weighted, counts, supported = _weights(histograms, "n_in_det", smoother, correlated_voxels)
    found = {}
    for observable in OBSERVABLES:
        sums = (
            smoother.weighted(histograms.image(f"{kind}_{observable.name}", np.float32))
            for kind in ("drift_sum", "drift_square")
        )
        parts = _mean_drift(*sums, np.where(supported, weighted, np.nan), counts)
        mean, spread = (part.astype(np.float32) * observable.unit for part in parts)
        found[observable.name] = Measure(f"drift_{observable.name}", mean, spread, counts, smoother.origin)
    return found


def region_value(histograms, measure, ranges, correlated_voxels):
    """A measure in a region, from the unsmoothed counts.

    Parameters
    ----------
    histograms, correlated_voxels
        As for `fraction_measure`.
    measure : str
        One of `MEASURES`.
    ranges : dict
        As for `~hisatools.performance.regions.bins_inside`.

    Returns
    -------
    `~hisatools.performance.RegionValue`
    """
    check_measure(measure)
    inside, bounds = bins_inside(histograms.bins, ranges)
    total = {name: int(histograms.column(name)[inside].sum()) for name in COUNTS}
    if measure in FRACTIONS:
        part, whole = (total[name] for name in FRACTIONS[measure])
        value = part / whole if whole else np.nan
        spread = binomial_uncertainty(value, np.float64(whole / correlated_voxels))
        return RegionValue(measure, value, float(spread), whole, bounds)
    name, whole = measure.removeprefix("drift_"), total["n_in_det"]
    sums = (histograms.column(f"{kind}_{name}")[inside].sum() for kind in ("drift_sum", "drift_square"))
    mean, spread = _mean_drift(*sums, np.float64(whole), whole / correlated_voxels)
    unit = OBSERVABLES[axis_number(name)].unit
    return RegionValue(measure, mean * unit, spread * unit, whole, bounds)


def _smoother(histograms, smoothing):
    return Smoother(tuple(histograms.origin), histograms.shape, smoothing)


def _weights(histograms, whole, smoother, correlated_voxels):
    """Weighted counts, what they are worth, and where they are enough."""
    counts = histograms.image(whole, np.float32)
    weighted = smoother.weighted(counts)
    worth = effective_counts(weighted, smoother.weighted(counts, 2), correlated_voxels)
    supported = smoother.nearby(counts) >= smoother.parameters.min_samples * correlated_voxels
    return weighted, worth, supported & smoother.surrounded(counts)


def _mean_drift(total, total_square, weight, counts):
    """Mean and its standard error, from sums."""
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = total / weight
        variance = np.maximum(total_square / weight - mean**2, 0)
        # One independent voxel tells nothing of the scatter; beside 1 only rounding is left.
        return mean, np.sqrt(variance / np.where(counts > 1.001, counts - 1, np.nan))
