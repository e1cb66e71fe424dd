"""Optical depth from how absorption deepens with the continuum behind it (Kavars et al. 2003)."""

from dataclasses import dataclass

import astropy.units as u
import numpy as np

from hisatools.errors import InputError
from hisatools.physics.units import plain, plain_fraction, same_shape

__all__ = ["ContinuumSlope", "fit_continuum_slope"]

MIN_SIGHT_LINES = 3
ROUNDING = 1e-9


@dataclass(frozen=True)
class ContinuumSlope:
    """What `fit_continuum_slope` finds.

    Parameters
    ----------
    tau, sigma_tau : float
        NaN if the slope is not between -1 and 0.
    offset, sigma_offset : `~astropy.units.Quantity`, K
        T_S - p T_U.
    n_sight_lines : int

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools.physics import fit_continuum_slope
    >>> fit = fit_continuum_slope([-40, -42, -45, -51] * u.K, [5, 9, 16, 27] * u.K)
    >>> print(f"{fit.tau:.2f} +- {fit.sigma_tau:.2f}, {fit.offset:.0f}")
    0.69 +- 0.04, -75 K
    """

    tau: float
    sigma_tau: float
    offset: u.Quantity
    sigma_offset: u.Quantity
    n_sight_lines: int

    def t_spin(self, t_unabsorbed, *, p=1.0):
        """Spin temperature for a mean T_U.

        Parameters
        ----------
        t_unabsorbed : `~astropy.units.Quantity`, K
        p : float
            Share of T_U from behind the cloud.

        Returns
        -------
        `~astropy.units.Quantity`, K
            NaN where it comes out below 0.

        Examples
        --------
        >>> import astropy.units as u
        >>> from hisatools.physics import fit_continuum_slope
        >>> fit = fit_continuum_slope([-40, -42, -45, -51] * u.K, [5, 9, 16, 27] * u.K)
        >>> print(f"{fit.t_spin(110 * u.K, p=0.9):.0f}")
        24 K
        """
        spin = self.offset.to_value(u.K) + plain_fraction("p", p) * plain("t_unabsorbed", t_unabsorbed, u.K)
        return np.where(spin >= 0, spin, np.nan)[()] * u.K


def fit_continuum_slope(delta_t, t_continuum, *, sigma_delta_t=None):
    r"""Fit the straight line that absorption follows where one cloud crosses a varying continuum.

    .. math::

       \Delta T = \left( 1 - e^{-\tau} \right) (T_\mathrm{S} - p \, T_\mathrm{U})
       - \left( 1 - e^{-\tau} \right) T_\mathrm{C}

    so that the slope tells :math:`\tau`, and the value at no continuum :math:`T_\mathrm{S} - p T_\mathrm{U}`.
    The cloud and the emission about it are taken to be the same on all sight lines.

    Parameters
    ----------
    delta_t, t_continuum : `~astropy.units.Quantity`, K
        Of sight lines through one cloud, at one velocity; NaN is left out.
    sigma_delta_t : `~astropy.units.Quantity`, K, optional
        1-sigma uncertainties. Without them all count alike, and the scatter about the line tells the
        uncertainty.

    Returns
    -------
    `ContinuumSlope`

    Raises
    ------
    InputError
        If fewer than three sight lines are left, or all have one continuum.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools.physics import delta_t, fit_continuum_slope
    >>> continuum = [2, 5, 12, 20, 33] * u.K
    >>> absorption = delta_t(40 * u.K, 0.9, 100 * u.K, t_continuum=continuum)
    >>> slope = fit_continuum_slope(absorption, continuum)
    >>> print(f"tau {slope.tau:.2f}, T_S {slope.t_spin(100 * u.K):.1f}")
    tau 0.90, T_S 40.0 K
    """
    sigma = 1 * u.K if sigma_delta_t is None else sigma_delta_t
    depth, continuum, sigma = same_shape(
        delta_t=plain("delta_t", delta_t, u.K),
        t_continuum=plain("t_continuum", t_continuum, u.K),
        sigma_delta_t=plain("sigma_delta_t", sigma, u.K),
    )
    use = np.isfinite(depth) & np.isfinite(continuum) & (sigma > 0) & np.isfinite(sigma)
    depth, continuum, sigma = depth[use], continuum[use], sigma[use]
    if depth.size < MIN_SIGHT_LINES or not np.ptp(continuum) > 0:
        raise InputError(
            f"t_continuum: a slope needs {MIN_SIGHT_LINES} sight lines or more that differ in it, and "
            f"{np.unique(continuum).size} different values are left of {use.size}"
        )
    design = np.stack([np.ones(depth.size), continuum], axis=1) / sigma[:, None]
    covariance = np.linalg.inv(design.T @ design)
    value, slope = covariance @ design.T @ (depth / sigma)
    if sigma_delta_t is None:
        covariance *= np.sum((depth - value - slope * continuum) ** 2) / (depth.size - 2)
    # A slope of rounding alone is none.
    possible = -1 < slope < 0 and -slope * np.ptp(continuum) > ROUNDING * np.abs(depth).max()
    gradient = np.array([-1 / slope, value / slope**2]) if slope else np.full(2, np.nan)
    return ContinuumSlope(
        tau=float(-np.log1p(slope)) if possible else np.nan,
        sigma_tau=float(np.sqrt(covariance[1, 1]) / (1 + slope)) if possible else np.nan,
        offset=(-value / slope if possible else np.nan) * u.K,
        sigma_offset=(np.sqrt(gradient @ covariance @ gradient) if possible else np.nan) * u.K,
        n_sight_lines=depth.size,
    )
