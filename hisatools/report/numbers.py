"""Numbers as JSON and as text."""

import math

import numpy as np


def plain(values, digits=None):
    """Numbers as JSON can hold them: rounded to so many decimals, None where not finite.

    Parameters
    ----------
    values : array_like or number
    digits : int, optional
        Not rounded without it.

    Returns
    -------
    list, number, str or None

    Examples
    --------
    >>> plain([1.234, float("nan")], 2)
    [1.23, None]
    """
    if isinstance(values, np.ndarray | np.generic):
        values = values.tolist()
    if isinstance(values, list | tuple):
        return [plain(value, digits) for value in values]
    if isinstance(values, float):
        if not math.isfinite(values):
            return None
        return values if digits is None else round(values, digits)
    return values if isinstance(values, bool | int | str | type(None)) else str(values)


def text(value, form=".4g"):
    """A number as text, empty where it is not finite or masked; other values as they are printed.

    Examples
    --------
    >>> text(-12.3456, ".1f"), text(float("nan")), text(True)
    ('-12.3', '', 'yes')
    """
    if np.any(getattr(value, "mask", False)):
        return ""
    value = getattr(value, "unmasked", value)
    value = getattr(value, "value", value)
    if isinstance(value, np.ndarray) and not value.ndim:
        value = value[()]
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, float | np.floating):
        return f"{value:{form}}" if math.isfinite(value) else ""
    return str(value)
