r"""Radiative transfer of a cold cloud between warm emission: four components on a sight line.

Emission before the cloud, the cloud, emission behind it, and a continuum source behind everything. All but
the cloud is optically thin, and the continuum is subtracted from the cube. Then (the paper names equation 1
of its companion, Gibson et al. 2005, ApJ 626, 195, which is another than the paper's 626, 214)

.. math::

   \Delta T = (T_\mathrm{S} - p \, T_\mathrm{U} - T_\mathrm{C}) \left( 1 - e^{-\tau} \right)

with :math:`p` the share of :math:`T_\mathrm{U}` that comes from behind. In what follows
:math:`d = -\Delta T` and :math:`B = p \, T_\mathrm{U} + T_\mathrm{C}`. A cloud is possible only where
:math:`0 < d < B - T_\mathrm{S}`; elsewhere the answer is NaN.
"""

import astropy.units as u
import numpy as np

from hisatools.physics.units import plain, plain_fraction, plain_number, same_shape

__all__ = [
    "delta_t",
    "max_spin_temperature",
    "min_background_fraction",
    "min_optical_depth",
    "optical_depth",
    "spin_temperature",
]

NO_CONTINUUM = 0 * u.K


def delta_t(t_spin, tau, t_unabsorbed, *, p=1.0, t_continuum=NO_CONTINUUM):
    """Absorption of a cloud.

    Parameters
    ----------
    t_spin : `~astropy.units.Quantity`, K
        Spin temperature. All arguments may be arrays that go together; NaN stays NaN.
    tau : array_like
        Optical depth.
    t_unabsorbed : `~astropy.units.Quantity`, K
    p : array_like
        Share of T_U from behind the cloud.
    t_continuum : `~astropy.units.Quantity`, K
        Brightness of the continuum, behind everything.

    Returns
    -------
    `~astropy.units.Quantity`, K
        Negative where the cloud is darker than what lies behind it; NaN for a negative T_S or tau.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools.physics import delta_t
    >>> round(delta_t(41.5 * u.K, 0.96, 104 * u.K, t_continuum=5.5 * u.K), 1)
    <Quantity -42. K>
    """
    spin, tau, behind = same_shape(
        t_spin=plain("t_spin", t_spin, u.K),
        tau=plain_number("tau", tau),
        t_unabsorbed=_behind(t_unabsorbed, p, t_continuum),
    )
    possible = (tau >= 0) & (spin >= 0)
    return np.where(possible, (behind - spin) * np.expm1(-np.where(possible, tau, 0)), np.nan) * u.K


def optical_depth(delta_t, t_spin, t_unabsorbed, *, p=1.0, t_continuum=NO_CONTINUUM):
    """Optical depth of a cloud whose spin temperature is known.

    Parameters
    ----------
    delta_t : `~astropy.units.Quantity`, K
        Negative.
    t_spin, t_unabsorbed, p, t_continuum
        As for `delta_t`.

    Returns
    -------
    `~numpy.ndarray`
        NaN where there is no absorption, and where gas so warm cannot absorb so much.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools.physics import optical_depth
    >>> round(float(optical_depth(-42 * u.K, 41.5 * u.K, 104 * u.K, t_continuum=5.5 * u.K)), 2)
    0.96
    """
    depth, spin, behind = _three(delta_t, "t_spin", t_spin, t_unabsorbed, p, t_continuum)
    return tau_of(depth, np.where(spin >= 0, behind - spin, np.nan))


def spin_temperature(delta_t, tau, t_unabsorbed, *, p=1.0, t_continuum=NO_CONTINUUM):
    """Spin temperature of a cloud whose optical depth is known, as from absorption against a bright source.

    Parameters
    ----------
    delta_t, tau, t_unabsorbed, p, t_continuum
        As for `delta_t` and `optical_depth`.

    Returns
    -------
    `~astropy.units.Quantity`, K
        NaN where there is no absorption, and where gas so thin cannot absorb so much, however cold.

    References
    ----------
    Denes et al. (2018) do so for the Riegel-Crutcher cloud.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools.physics import spin_temperature
    >>> round(spin_temperature(-42 * u.K, 0.96, 104 * u.K, t_continuum=5.5 * u.K), 1)
    <Quantity 41.4 K>
    """
    depth, tau, behind = _three(delta_t, "tau", tau, t_unabsorbed, p, t_continuum)
    with np.errstate(divide="ignore", invalid="ignore"):
        spin = behind - depth / -np.expm1(-tau)
    return np.where((depth > 0) & (tau > 0) & (spin > 0), spin, np.nan) * u.K


def max_spin_temperature(delta_t, t_unabsorbed, *, p=1.0, t_continuum=NO_CONTINUUM):
    """The warmest that a cloud can be, if it were opaque.

    Parameters
    ----------
    delta_t, t_unabsorbed, p, t_continuum
        As for `optical_depth`.

    Returns
    -------
    `~astropy.units.Quantity`, K
        NaN where there is no absorption, and where no cloud, however cold, can absorb so much.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools.physics import max_spin_temperature
    >>> max_spin_temperature(-42 * u.K, 104 * u.K, t_continuum=5.5 * u.K)
    <Quantity 67.5 K>
    """
    depth, behind = same_shape(
        delta_t=-plain("delta_t", delta_t, u.K), t_unabsorbed=_behind(t_unabsorbed, p, t_continuum)
    )
    return np.where((depth > 0) & (depth < behind), behind - depth, np.nan) * u.K


def min_optical_depth(delta_t, t_unabsorbed, *, p=1.0, t_continuum=NO_CONTINUUM):
    """The least optical depth of a cloud, if it were at 0 K.

    Parameters
    ----------
    delta_t, t_unabsorbed, p, t_continuum
        As for `optical_depth`.

    Returns
    -------
    `~numpy.ndarray`
        NaN as for `max_spin_temperature`.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools.physics import min_optical_depth
    >>> round(float(min_optical_depth(-42 * u.K, 104 * u.K, t_continuum=5.5 * u.K)), 3)
    0.484
    """
    return optical_depth(delta_t, 0 * u.K, t_unabsorbed, p=p, t_continuum=t_continuum)


def min_background_fraction(delta_t, t_spin, t_unabsorbed, *, t_continuum=NO_CONTINUUM):
    """The least share of T_U that must lie behind a cloud, if it were opaque.

    Parameters
    ----------
    delta_t, t_spin, t_unabsorbed, t_continuum
        As for `optical_depth`.

    Returns
    -------
    `~numpy.ndarray`
        0 where the continuum alone is enough; NaN where there is no absorption, and where all of T_U behind
        the cloud would not do.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools.physics import min_background_fraction
    >>> round(float(min_background_fraction(-42 * u.K, 20 * u.K, 104 * u.K, t_continuum=5.5 * u.K)), 3)
    0.543
    """
    depth, spin, unabsorbed, continuum = same_shape(
        delta_t=-plain("delta_t", delta_t, u.K),
        t_spin=plain("t_spin", t_spin, u.K),
        t_unabsorbed=plain("t_unabsorbed", t_unabsorbed, u.K),
        t_continuum=plain("t_continuum", t_continuum, u.K),
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        p = np.where(depth + spin <= continuum, 0, (depth + spin - continuum) / unabsorbed)
    return np.where((depth > 0) & (spin >= 0) & (unabsorbed >= 0) & (p <= 1), p, np.nan)


def tau_of(depth, contrast):
    """Optical depth for a depth d and a contrast B - T_S, both in K; NaN where there is none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        share = depth / contrast
        return -np.log1p(-np.where((depth > 0) & (contrast > 0) & (share < 1), share, np.nan))


def _behind(t_unabsorbed, p, t_continuum):
    """B, in K."""
    unabsorbed, p, continuum = same_shape(
        t_unabsorbed=plain("t_unabsorbed", t_unabsorbed, u.K),
        p=plain_fraction("p", p),
        t_continuum=plain("t_continuum", t_continuum, u.K),
    )
    return p * unabsorbed + continuum


def _three(delta_t, name, value, t_unabsorbed, p, t_continuum):
    """d, what is known of the cloud, and B."""
    known = plain(name, value, u.K) if name == "t_spin" else plain_number(name, value)
    return same_shape(
        delta_t=-plain("delta_t", delta_t, u.K),
        **{name: known},
        t_unabsorbed=_behind(t_unabsorbed, p, t_continuum),
    )
