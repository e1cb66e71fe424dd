"""N(HI) of a velocity range, from T_U of a result or from a cube as it is."""

import warnings

import astropy.units as u
import numpy as np

from hisatools.cube import HISACube
from hisatools.errors import HISAWarning, InputError, ParameterError, ParameterUnitsError
from hisatools.results import HISAResult

__all__ = ["COLUMN_UNIT", "gas_column"]

COLUMN_UNIT = u.Unit("1e20 cm-2")
# N(HI) of optically thin gas, 1e20 cm^-2 for each K km/s.
COLUMN_PER_K_KMS = 1.823e-2
# Ranges that end this far, in channels, beyond the band end with it: rounding.
END_TOLERANCE = 1e-6


def gas_column(source, velocity_range):
    """N(HI) of the gas within a velocity range, taken for optically thin.

    The channels at the ends of the range count by the part of them that lies within, so that N(HI) is a
    continuous function of the range.

    Parameters
    ----------
    source : `~hisatools.HISAResult` or `~hisatools.HISACube`
        Of a result T_U is integrated, so that cold gas in front takes nothing away; of a cube its brightness.
    velocity_range : `~astropy.units.Quantity`, shape (2,), velocity
        Both ends, in any order.

    Returns
    -------
    `~astropy.units.Quantity`, shape (n_y, n_x), 1e20 cm^-2
        ``1.823e18 cm^-2`` times the integral of the brightness temperature in K km/s. NaN where a channel of
        the range is blank.

    Raises
    ------
    ParameterError
        If ``velocity_range`` is not two different velocities, or ``source`` is neither cube nor result.
    InputError
        If the range lies outside the band.

    Warns
    -----
    HISAWarning
        If part of the range lies outside the band: there is no gas there as far as N(HI) goes.

    Examples
    --------
    >>> import astropy.units as u, numpy as np
    >>> from hisatools import HISACube
    >>> from hisatools.residual_mask import gas_column
    >>> spectrum = HISACube.from_spectrum([50, 60, 50, 40] * u.K, np.arange(4) * u.km / u.s)
    >>> gas_column(spectrum, [0, 1.5] * u.km / u.s)
    <Quantity [[1.54955]] 1e+20 / cm2>
    """
    return column_of(source, velocity_range) << COLUMN_UNIT


def column_of(source, velocity_range):
    """As `gas_column`, a plain array in 1e20 cm^-2."""
    planes, velocity, width = planes_of(source)
    low, high = checked_range(velocity_range)
    share = channel_shares(velocity, width, low, high)
    reached = share.sum() * width
    if reached <= 0:
        raise InputError(
            f"velocity_range {low:g} to {high:g} km/s lies outside the band, "
            f"{velocity.min() - width / 2:g} to "
            f"{velocity.max() + width / 2:g} km/s; choose a range within it"
        )
    warn_if_beyond(low, high, reached, width, stacklevel=4)
    column = 0.0
    for channel in np.flatnonzero(share):
        column = column + share[channel] * planes(int(channel)).astype(float)
    return COLUMN_PER_K_KMS * width * column


def warn_if_beyond(low, high, reached, width, *, stacklevel):
    """Say it if only a part of a range, ``reached``, lies within the band; all in km/s."""
    if reached < high - low - END_TOLERANCE * width:
        warnings.warn(
            f"velocity_range {low:g} to {high:g} km/s reaches beyond the band: {reached:g} km/s of it are "
            "used",
            HISAWarning,
            stacklevel=stacklevel,
        )


def planes_of(source):
    """What gives a channel in K by its number, the velocities and the channel width in km/s."""
    if isinstance(source, HISAResult):

        def planes(channel):
            return source.plane_kelvin("t_unabsorbed", channel)
    elif isinstance(source, HISACube):
        planes = source.block
    else:
        raise ParameterError(
            f"source must be a HISACube or a HISAResult, got {type(source).__name__}; read one, for example "
            "with HISACube.read('cube.fits')"
        )
    kms = u.km / u.s
    return planes, source.velocity.to_value(kms), float(source.channel_width.to_value(kms))


def checked_range(velocity_range):
    """(low, high) in km/s of two velocities in any order."""
    example = "write for example velocity_range=[-20, 15] * u.km / u.s"
    try:
        pair = u.Quantity(velocity_range)
        values = pair.to_value(u.km / u.s)
    except (TypeError, ValueError, u.UnitConversionError):
        raise ParameterUnitsError(
            f"velocity_range needs two velocities with a unit, got {velocity_range!r}; {example}"
        ) from None
    if values.shape != (2,) or not np.all(np.isfinite(values)) or values[0] == values[1]:
        raise ParameterError(f"velocity_range must be two different velocities, got {pair}; {example}")
    return float(values.min()), float(values.max())


def channel_shares(velocity, width, low, high):
    """The share of each channel that lies between two velocities, 0 to 1; all in km/s."""
    above = np.minimum(velocity + width / 2, high)
    below = np.maximum(velocity - width / 2, low)
    return np.clip((above - below) / width, 0, 1)
