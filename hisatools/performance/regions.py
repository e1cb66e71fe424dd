"""Parts of the parameter space: ranges of observables, snapped to bins."""

from dataclasses import dataclass

import astropy.units as u
import numpy as np

from hisatools.errors import ParameterError, ParameterUnitsError
from hisatools.performance.observables import OBSERVABLES, axis_number


@dataclass(frozen=True)
class RegionValue:
    """A measure in a region.

    Parameters
    ----------
    measure : str
    value : float or `~astropy.units.Quantity`
        NaN where there is no voxel.
    uncertainty : same as ``value``
        1 sigma; voxels whose noise is correlated count as one. NaN where there is no voxel, and for
        a drift where there is no more than one independent voxel.
    n_voxels : int
        Voxels behind the value.
    bounds : dict
        Name of each limited observable: (low, high), on edges of bins; None where there is no limit.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools import PerformanceModel
    >>> from hisatools.datasets import example_model, example_result
    >>> performance = PerformanceModel.from_pairs([(example_model(), example_result())])
    >>> deep = performance.region("true_fraction", delta_t=(None, -20 * u.K))
    >>> round(float(deep.value), 2), deep.n_voxels, deep.bounds["delta_t"][1]
    (1.0, 352, <Quantity -20. K>)
    """

    measure: str
    value: object
    uncertainty: object
    n_voxels: int
    bounds: dict


def bins_inside(bins, ranges):
    """Which bins lie in a region, and the region's limits as used.

    Parameters
    ----------
    bins : `~numpy.ndarray` of int, shape (n, 4)
    ranges : dict
        Name of an observable: (low, high), Quantities or None.

    Returns
    -------
    inside : `~numpy.ndarray` of bool, shape (n,)
    bounds : dict
        As ``ranges``, moved outwards to the edges of bins.

    Raises
    ------
    ParameterError
        If a range is not a pair of numbers or is empty.
    ParameterUnitsError
        If a limit has no unit or a wrong one.
    """
    inside, bounds = np.ones(len(bins), bool), {}
    for name, limits in ranges.items():
        axis = axis_number(name)
        low, high = _edges(OBSERVABLES[axis], limits)
        if low is not None:
            inside &= bins[:, axis] >= low
        if high is not None:
            inside &= bins[:, axis] < high
        step = OBSERVABLES[axis].step * OBSERVABLES[axis].unit
        bounds[name] = tuple(None if edge is None else edge * step for edge in (low, high))
    return inside, bounds


def _edges(observable, limits):
    """Lattice numbers of the first bin inside and of the first beyond."""
    try:
        low, high = limits
    except (TypeError, ValueError):
        raise ParameterError(
            f"{observable.name} must be a pair (low, high), got {limits!r}; None is no limit"
        ) from None
    low = -np.inf if low is None else np.floor(_steps(observable, low) + 1e-6)
    high = np.inf if high is None else np.ceil(_steps(observable, high) - 1e-6)
    if low >= high:
        raise ParameterError(f"{observable.name}: the range {limits} is empty; write (low, high)")
    return tuple(int(edge) if np.isfinite(edge) else None for edge in (low, high))


def _steps(observable, limit):
    try:
        steps = u.Quantity(limit).to_value(observable.unit) / observable.step
    except (u.UnitConversionError, TypeError):
        raise ParameterUnitsError(
            f"{observable.name} needs limits with a unit of {observable.unit}, got {limit!r}; "
            f"write for example 2 * u.Unit('{observable.unit}')"
        ) from None
    if np.ndim(steps) or np.isnan(steps):
        raise ParameterError(f"{observable.name}: a limit must be one number, got {limit}")
    return steps
