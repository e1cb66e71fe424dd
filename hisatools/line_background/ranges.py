"""Ranges along a spectral axis: which bins they hold whole, and which they touch."""

from dataclasses import dataclass

import astropy.units as u
import numpy as np

from hisatools.errors import InputError, ParameterError, ParameterUnitsError

# Share of a bin by which an edge may miss a limit and still count as on it.
EDGE_TOLERANCE = 1e-6


@dataclass(frozen=True)
class BinRange:
    """A range snapped to whole bins.

    Parameters
    ----------
    asked, snapped : tuple of float
        (low, high) as given and as used, in the unit of the axis.
    bins : slice
        The bins that lie in it whole, of an ascending axis.
    """

    asked: tuple
    snapped: tuple
    bins: slice

    @property
    def is_modified(self):
        """Whether snapping has changed the limits."""
        return not np.allclose(self.asked, self.snapped, rtol=0, atol=1e-9 * abs(self.snapped[1]))


def check_edges(edges):
    """Bin edges as an ascending plain array, their unit, and whether they were reversed.

    Raises
    ------
    ParameterUnitsError
        If the edges carry no unit.
    InputError
        If they are not at least two, finite and strictly monotonic.
    """
    if not isinstance(edges, u.Quantity):
        raise ParameterUnitsError(
            f"edges needs a unit, got {type(edges).__name__}; write for example edges * u.keV"
        )
    values = np.asarray(edges.value, float)
    steps = np.diff(values) if values.ndim == 1 else np.zeros(0)
    if not (steps.size and np.isfinite(values).all() and ((steps > 0).all() or (steps < 0).all())):
        raise InputError(
            f"edges of shape {values.shape} must be one row of at least two finite values that only rise "
            "or only fall; write for example np.linspace(1600, 2000, 101) * u.keV"
        )
    return (values[::-1], edges.unit, True) if steps[0] < 0 else (values, edges.unit, False)


def check_range(name, limits, unit):
    """A (low, high) pair of Quantities as two plain numbers in ``unit``, the lower first.

    Raises
    ------
    ParameterUnitsError
        If there is no unit or one that does not fit.
    ParameterError
        If it is not two different finite values.
    """
    try:
        values = u.Quantity(limits)
        low, high = sorted(values.to_value(unit).tolist())
    except u.UnitConversionError:
        raise ParameterUnitsError(
            f"{name} needs a unit of {unit}, got {limits}; write for example (low, high) * u.Unit('{unit}')"
        ) from None
    except (TypeError, ValueError):
        raise ParameterError(f"{name} must be a (low, high) pair, got {limits!r}") from None
    if not (np.isfinite([low, high]).all() and low < high):
        raise ParameterError(f"{name} must be two different finite values, got {limits}")
    return low, high


def snap_range(name, limits, edges, unit):
    """The whole bins inside a range.

    Parameters
    ----------
    name : str
        The argument, for messages.
    limits : pair of Quantity
    edges : `~numpy.ndarray`, shape (n_bins + 1,)
        Ascending, in ``unit``.
    unit : `~astropy.units.Unit`

    Returns
    -------
    `BinRange`

    Raises
    ------
    InputError
        If no bin lies in the range whole.
    """
    low, high = check_range(name, limits, unit)
    slack = EDGE_TOLERANCE * np.diff(edges)
    whole = np.flatnonzero((edges[:-1] >= low - slack) & (edges[1:] <= high + slack))
    if not whole.size:
        raise InputError(
            f"{name} of {low:g} to {high:g} {unit} holds no whole bin; the axis runs from {edges[0]:g} to "
            f"{edges[-1]:g} {unit} in bins of about {np.median(np.diff(edges)):.3g}: widen the range"
        )
    bins = slice(int(whole[0]), int(whole[-1]) + 1)
    return BinRange((low, high), (float(edges[bins.start]), float(edges[bins.stop])), bins)


def touched_bins(limits, edges):
    """Bins of which any part lies between ``low`` and ``high``; bool, shape (n_bins,)."""
    low, high = limits
    slack = EDGE_TOLERANCE * np.diff(edges)
    return (edges[1:] > low + slack) & (edges[:-1] < high - slack)
