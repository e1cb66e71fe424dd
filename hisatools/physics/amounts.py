"""From columns to densities and masses; and what a line's width tells: less the channel's, of the heat.

Columns, lengths, areas and masses below 0 are refused: a column that is negative by noise is no column, and a
mass made of it would be wrong without a word. Those who have such numbers set them to NaN, or sum before they
convert.
"""

import astropy.units as u
import numpy as np

from hisatools.physics.constants import ATOM_MASS, KELVIN_PER_KMS2
from hisatools.physics.units import plain_fraction, plain_positive, same_shape

__all__ = [
    "hydrogen_mass",
    "intrinsic_linewidth",
    "max_kinetic_temperature",
    "total_mass",
    "volume_density",
]


def volume_density(column, path_length):
    """Mean number density along a path.

    Parameters
    ----------
    column : `~astropy.units.Quantity`, cm^-2
    path_length : `~astropy.units.Quantity`, length

    Returns
    -------
    `~astropy.units.Quantity`, cm^-3
        NaN where the path has no length.

    Raises
    ------
    ParameterError
        If a column or a length is below 0.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools.physics import volume_density
    >>> print(f"{volume_density(1.83e20 / u.cm**2, 0.6 * u.pc):.0f}")
    99 1 / cm3
    """
    column, length_cm = same_shape(
        column=plain_positive("column", column, u.cm**-2),
        path_length=plain_positive("path_length", path_length, u.cm),
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(length_cm > 0, column / length_cm, np.nan) * u.cm**-3


def hydrogen_mass(column, area):
    """Mass of the cold atoms, without helium.

    Parameters
    ----------
    column : `~astropy.units.Quantity`, cm^-2
        Mean over the area.
    area : `~astropy.units.Quantity`, area

    Returns
    -------
    `~astropy.units.Quantity`, solMass

    Raises
    ------
    ParameterError
        If a column or an area is below 0.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools.physics import hydrogen_mass
    >>> print(f"{hydrogen_mass(1.83e20 / u.cm**2, 0.36 * u.pc**2):.2f}")
    0.53 solMass
    """
    column, area_cm2 = same_shape(
        column=plain_positive("column", column, u.cm**-2), area=plain_positive("area", area, u.cm**2)
    )
    return (column * area_cm2 * ATOM_MASS).to(u.solMass)


def total_mass(mass, fraction):
    """Mass of all hydrogen, where only some particles are cold atoms and the others are molecules.

    ``fraction`` counts particles, and a molecule has two atoms: of M there is M (2 - f_n) / f_n in all.

    Parameters
    ----------
    mass : `~astropy.units.Quantity`, mass
        Of the cold atoms.
    fraction : array_like
        f_n.

    Returns
    -------
    `~astropy.units.Quantity`, solMass

    Raises
    ------
    ParameterError
        If a mass is below 0, or a fraction is not above 0 and at most 1.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools.physics import total_mass
    >>> print(total_mass(25 * u.solMass, 0.01))
    4975.0 solMass
    """
    fraction = plain_fraction("fraction", fraction)
    return plain_positive("mass", mass, u.solMass) * (2 - fraction) / fraction * u.solMass


def intrinsic_linewidth(observed, channel_width):
    """FWHM of a line without what the channel adds.

    A channel is a box; to second order it widens as a Gaussian of the same variance does, whose FWHM is
    sqrt(8 ln 2 / 12) channels.

    Parameters
    ----------
    observed, channel_width : `~astropy.units.Quantity`, velocity

    Returns
    -------
    `~astropy.units.Quantity`
        NaN where the observed line is no wider than a channel makes it.

    Raises
    ------
    ParameterError
        If a width is below 0.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools.physics import intrinsic_linewidth
    >>> print(f"{intrinsic_linewidth(2 * u.km / u.s, 0.82 * u.km / u.s):.2f}")
    1.92 km / s
    """
    width, channel = same_shape(
        observed=plain_positive("observed", observed, u.km / u.s),
        channel_width=plain_positive("channel_width", channel_width, u.km / u.s),
    )
    squared = np.where(width > 0, width**2, np.nan) - 8 * np.log(2) / 12 * channel**2
    with np.errstate(invalid="ignore"):
        return np.where(squared > 0, np.sqrt(squared), np.nan) * u.km / u.s


def max_kinetic_temperature(linewidth):
    r"""The warmest that atoms can be whose line is no wider.

    .. math::

       T_\mathrm{k} \le m_\mathrm{H} \Delta v^2 / (8 \ln 2 \, k)
       = 21.9 \, \mathrm{K} \, (\Delta v / \mathrm{km \, s^{-1}})^2

    Turbulence, rotation and optical depth widen lines, so that most gas is far colder. In cold gas collisions
    keep the spin temperature at the kinetic one, which this then limits too.

    Parameters
    ----------
    linewidth : `~astropy.units.Quantity`, velocity
        FWHM, without what the channel adds: see `intrinsic_linewidth`.

    Returns
    -------
    `~astropy.units.Quantity`, K

    Raises
    ------
    ParameterError
        If a width is below 0.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools.physics import max_kinetic_temperature
    >>> print(f"{max_kinetic_temperature(2.5 * u.km / u.s):.0f}")
    137 K
    """
    return KELVIN_PER_KMS2 * plain_positive("linewidth", linewidth, u.km / u.s) ** 2 * u.K
