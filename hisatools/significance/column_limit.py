"""The column density of cold gas that absorbs as much as an upper limit."""

import astropy.units as u
import numpy as np
from astropy.stats import gaussian_fwhm_to_sigma

from hisatools.parameters import check_quantity
from hisatools.physics.constants import COLUMN_PER_KELVIN_KMS
from hisatools.physics.units import plain

__all__ = ["column_density_limit"]

SUMMED_FWHM, STEPS_PER_FWHM = 4, 50


def column_density_limit(delta_t, linewidth, *, spin_temperature, t_unabsorbed):
    r"""Column density of cold gas that absorbs this much.

    .. math::

       N = 1.823 \times 10^{18} \, \mathrm{cm^{-2}} \; \frac{T_\mathrm{S}}{\mathrm{K}}
       \int \tau \, \frac{\mathrm{d}v}{\mathrm{km \, s^{-1}}}, \qquad
       \tau(v) = -\ln \left( 1 - \frac{\Delta T(v)}{T_\mathrm{S} - T_\mathrm{U}} \right)

    for a Gaussian :math:`\Delta T(v)`, with all emission behind the gas (p = 1) and no continuum.

    Parameters
    ----------
    delta_t : `~astropy.units.Quantity`, K
        At the line's centre, negative; for example of `Sensitivity.upper_limit`.
    linewidth : `~astropy.units.Quantity`, velocity
        FWHM of dT.
    spin_temperature : `~astropy.units.Quantity`, K
        T_S, assumed.
    t_unabsorbed : `~astropy.units.Quantity`, K
        T_U at the place; a scalar or of the shape of ``delta_t``.

    Returns
    -------
    `~astropy.units.Quantity`
        cm^-2. NaN where gas of T_S cannot absorb so much: where dT is not above T_S - T_U.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools.significance.column_limit import column_density_limit
    >>> limit = column_density_limit(
    ...     -10 * u.K, 3 * u.km / u.s, spin_temperature=40 * u.K, t_unabsorbed=100 * u.K
    ... )
    >>> print(f"{limit:.2e}")
    4.13e+19 1 / cm2
    """
    spin = check_quantity("spin_temperature", spin_temperature, u.K).value
    fwhm = check_quantity("linewidth", linewidth, u.km / u.s).value
    depth, unabsorbed = (
        plain(name, value, u.K) for name, value in (("delta_t", delta_t), ("t_unabsorbed", t_unabsorbed))
    )
    offset = np.linspace(-SUMMED_FWHM, SUMMED_FWHM, 2 * SUMMED_FWHM * STEPS_PER_FWHM + 1)
    line = np.exp(-0.5 * (offset / gaussian_fwhm_to_sigma) ** 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(unabsorbed > spin, depth / (spin - unabsorbed), np.nan)
        tau = -np.log1p(-np.where((share >= 0) & (share < 1), share, np.nan)[..., None] * line)
    return COLUMN_PER_KELVIN_KMS * spin * tau.sum(axis=-1) * fwhm / STEPS_PER_FWHM * u.cm**-2
