"""Checks of the physics' arguments, which may be arrays: units go in at the door, plain numbers go on."""

import astropy.units as u
import numpy as np

from hisatools.errors import InputError, ParameterError, ParameterUnitsError

__all__ = [
    "column_values",
    "plain",
    "plain_fraction",
    "plain_number",
    "plain_positive",
    "same_shape",
    "with_unit",
]


def plain(name, value, unit):
    """The numbers of a Quantity in a unit.

    Parameters
    ----------
    name : str
        How the user knows the argument.
    value : `~astropy.units.Quantity`
        Of any shape; NaN stays NaN, and what is masked becomes NaN.
    unit : `~astropy.units.Unit`

    Returns
    -------
    `~numpy.ndarray` of float64

    Raises
    ------
    ParameterUnitsError
        If ``value`` has no unit, or one that cannot be converted.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools.physics.units import plain
    >>> plain("t_spin", [40000, 50000] * u.mK, u.K)
    array([40., 50.])
    """
    if not isinstance(value, u.Quantity) or not value.unit.is_equivalent(unit):
        in_one_line = " ".join(repr(value).split())
        raise ParameterUnitsError(
            f"{name} needs a unit of {unit}, got {in_one_line:.60}; write for example "
            f"{name}=2 * u.Unit('{unit}')"
        )
    return _unmasked(value.to_value(unit))


def column_values(catalog, name, unit, *, parameter=None):
    """The numbers of a column of a catalogue in a unit; what is masked is NaN, as VOTable masks NaN.

    Parameters
    ----------
    catalog : `~astropy.table.QTable`
    name : str
    unit : `~astropy.units.Unit`
    parameter : str, optional
        The one that names the column, for messages.

    Returns
    -------
    `~numpy.ndarray` of float64, shape (n_rows,)

    Raises
    ------
    InputError
        If there is no such column, or it has not one number a row.
    ParameterUnitsError
        If it has no unit, or one that cannot be converted.

    Examples
    --------
    >>> import astropy.units as u
    >>> from astropy.table import MaskedColumn, QTable
    >>> from hisatools.physics.units import column_values
    >>> widths = MaskedColumn([2.0, 3.0], mask=[False, True], unit=u.arcmin)
    >>> column_values(QTable({"minor_fwhm": widths}), "minor_fwhm", u.arcsec)
    array([120.,  nan])
    """
    before = "" if parameter in (None, name) else f"{parameter}={name!r}: "
    if name not in catalog.colnames:
        known = ", ".join(catalog.colnames)
        raise InputError(f"{before}the catalogue has no column {name!r}; it has {known}")
    column, what = catalog[name], f"{before}the column {name!r} of the catalogue"
    if not np.issubdtype(column.dtype, np.number):
        raise InputError(f"{what} holds no numbers; name another one, or give numbers")
    if column.ndim != 1:
        raise InputError(f"{what} has the shape {column.shape}; give one number a row")
    own = getattr(column, "unit", None) or u.dimensionless_unscaled
    if own.is_equivalent(unit):
        return _unmasked(column) * own.to(unit)
    if own == u.dimensionless_unscaled:
        typical = "kpc" if (parameter or name).startswith("distance") else unit.to_string()
        raise ParameterUnitsError(f"{what} has no unit; set catalog[{name!r}].unit = {typical!r}")
    raise ParameterUnitsError(f"{what} needs a unit of {unit or '1'}, and has {own}")


def plain_number(name, value):
    """A number without a unit, of any shape; per cent and the like are converted, what is masked is NaN.

    Parameters
    ----------
    name : str
    value : array_like

    Returns
    -------
    `~numpy.ndarray` of float64

    Raises
    ------
    ParameterUnitsError
        If it has a unit.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools.physics.units import plain_number
    >>> plain_number("tau", 90 * u.percent).item()
    0.9
    """
    return plain(name, with_unit(value, u.dimensionless_unscaled), u.dimensionless_unscaled)


def plain_positive(name, value, unit):
    """The numbers of a Quantity that cannot be negative; see `plain`.

    Parameters
    ----------
    name : str
    value : `~astropy.units.Quantity`
        NaN is let pass.
    unit : `~astropy.units.Unit`

    Returns
    -------
    `~numpy.ndarray` of float64

    Raises
    ------
    ParameterError
        If a number is below 0.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools.physics.units import plain_positive
    >>> plain_positive("area", 4 * u.pc**2, u.pc**2).item()
    4.0
    """
    numbers = plain(name, value, unit)
    if (numbers < 0).any():
        raise ParameterError(
            f"{name} must not be negative, got {numbers[numbers < 0].flat[0]:g} {unit}; set what noise took "
            "below 0 to NaN"
        )
    return numbers


def with_unit(value, unit):
    """The value, as a Quantity where no unit is needed; masks stay.

    Parameters
    ----------
    value : `~astropy.units.Quantity` or array_like
    unit : `~astropy.units.Unit`

    Returns
    -------
    `~astropy.units.Quantity`, or ``value`` where a unit is missing

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools.physics.units import with_unit
    >>> with_unit(0.9, u.dimensionless_unscaled)
    <Quantity 0.9>
    """
    if isinstance(value, u.Quantity) or unit != u.dimensionless_unscaled:
        return value
    return u.Quantity(_unmasked(value))


def _unmasked(values):
    mask = getattr(values, "mask", None)
    if mask is None or isinstance(values, memoryview):
        return np.asarray(values, float)
    bare = getattr(values, "unmasked", getattr(values, "data", values))
    return np.where(mask, np.nan, np.asarray(bare, float))


def plain_fraction(name, value):
    """A share of any shape, from above 0 to 1, or NaN where it is not known.

    Parameters
    ----------
    name : str
    value : array_like

    Returns
    -------
    `~numpy.ndarray` of float64

    Raises
    ------
    ParameterError
        If a value lies outside.

    Examples
    --------
    >>> from hisatools.physics.units import plain_fraction
    >>> plain_fraction("p", 0.8).item()
    0.8
    """
    fraction = plain_number(name, value)
    outside = ~np.isnan(fraction) & ~((fraction > 0) & (fraction <= 1))
    if outside.any():
        raise ParameterError(f"{name} must be above 0 and at most 1, got {fraction[outside].flat[0]:g}")
    return fraction


def same_shape(**arrays):
    """Arrays broadcast against each other.

    Parameters
    ----------
    **arrays : `~numpy.ndarray`
        By the names that the user knows them by.

    Returns
    -------
    list of `~numpy.ndarray`
        Views that must not be written to.

    Raises
    ------
    ParameterError
        If the shapes do not go together.

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools.physics.units import same_shape
    >>> [one.shape for one in same_shape(p=np.array(1.0), t_unabsorbed=np.ones((2, 3)))]
    [(2, 3), (2, 3)]
    """
    try:
        return list(np.broadcast_arrays(*arrays.values()))
    except ValueError as exc:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise ParameterError(
            f"shapes that do not go together: {shapes}; give scalars, or arrays on the same axes"
        ) from exc
