r"""The ideal gas law as a closure: a cloud in pressure with its surroundings.

With :math:`n_\mathrm{HISA} T_\mathrm{S} = f_n P/k` and :math:`n_\mathrm{HISA} = N / \Delta s`, the column
density ties spin temperature and optical depth:

.. math::

   T_\mathrm{S}^2 \, \tau_0 = A = \frac{f_n (P/k) \, \Delta s}{C' \, \Delta v}

(Gibson et al. 2000, equations 6 and 9). Together with the equation of transfer it has exactly one root for
every :math:`0 < d < B`.
"""

from dataclasses import dataclass

import astropy.units as u
import numpy as np
from numba import njit

from hisatools.errors import ParameterError
from hisatools.physics.constants import COLUMN_PER_KELVIN_KMS, GAUSSIAN_AREA, PARSEC_CM
from hisatools.physics.units import plain, plain_fraction, same_shape

__all__ = ["LINES", "PRESSURE", "Pressure"]

PRESSURE = u.K / u.cm**3
# Area of a line over its peak and its width.
LINES = {"gaussian": GAUSSIAN_AREA, "channel": 1.0}
TOLERANCE, MAX_STEPS, SMALL_TAU = 1e-12, 200, 1e-3
# Of a step of Newton's: the error that is left is its square, but for a factor that is no more than some tau.
LAST_STEP = 1e-8


@dataclass(frozen=True, kw_only=True)
class Pressure:
    """A cloud in pressure with its surroundings, of known length and linewidth.

    Parameters
    ----------
    path_length : `~astropy.units.Quantity`, length
        Through the cloud. All may be arrays that go together, and with what is solved for.
    linewidth : `~astropy.units.Quantity`, velocity
        FWHM of the optical depth, or the width of a channel for ``line="channel"``.
    p_over_k : `~astropy.units.Quantity`, K / cm^3
        Thermal pressure over Boltzmann's constant.
    fraction : array_like
        f_n, the share of the particles that are the cold atoms.
    line : {"gaussian", "channel"}
        Shape of the line that ``linewidth`` is of.

    Raises
    ------
    ParameterUnitsError
        If a unit is missing or wrong.
    ParameterError
        If a number is not above 0, or ``line`` is unknown.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools.physics import Pressure
    >>> globule = Pressure(path_length=0.65 * u.pc, linewidth=2.5 * u.km / u.s)
    >>> round(float(globule.density(41.5 * u.K).value), 1)  # of cold atoms, per cubic centimetre
    96.4
    """

    path_length: u.Quantity
    linewidth: u.Quantity
    p_over_k: u.Quantity = 4000 * PRESSURE
    fraction: float = 1.0
    line: str = "gaussian"

    def __post_init__(self):
        for name, unit in (("path_length", u.pc), ("linewidth", u.km / u.s), ("p_over_k", PRESSURE)):
            _positive(name, plain(name, getattr(self, name), unit), unit)
        plain_fraction("fraction", self.fraction)
        if self.line not in LINES:
            raise ParameterError(f"unknown line {self.line!r}; known: {', '.join(map(repr, LINES))}")

    @property
    def squared_kelvin(self):
        """A, what T_S^2 times the optical depth at the line's centre is, in K^2.

        Examples
        --------
        >>> import astropy.units as u
        >>> from hisatools.physics import Pressure
        >>> globule = Pressure(path_length=0.65 * u.pc, linewidth=2.5 * u.km / u.s)
        >>> round(float(globule.squared_kelvin))
        1654
        """
        pressure, fraction, length_pc, width_kms = same_shape(
            p_over_k=plain("p_over_k", self.p_over_k, PRESSURE),
            fraction=plain_fraction("fraction", self.fraction),
            path_length=plain("path_length", self.path_length, u.pc),
            linewidth=plain("linewidth", self.linewidth, u.km / u.s),
        )
        column = pressure * fraction * length_pc * PARSEC_CM
        return column / (COLUMN_PER_KELVIN_KMS * LINES[self.line] * width_kms)

    def density(self, t_spin):
        """Number density of the cold atoms.

        Parameters
        ----------
        t_spin : `~astropy.units.Quantity`, K

        Returns
        -------
        `~astropy.units.Quantity`, cm^-3

        Examples
        --------
        >>> import astropy.units as u
        >>> from hisatools.physics import Pressure
        >>> globule = Pressure(path_length=0.65 * u.pc, linewidth=2.5 * u.km / u.s, fraction=0.5)
        >>> print(globule.density(40 * u.K))
        50.0 1 / cm3
        """
        spin = plain("t_spin", t_spin, u.K)
        return plain_fraction("fraction", self.fraction) * self.p_over_k.to(PRESSURE) / (spin * u.K)


def _positive(name, values, unit):
    bad = ~np.isnan(values) & ~((values > 0) & (values < np.inf))
    if bad.any():
        raise ParameterError(f"{name} must be finite and above 0 {unit}, got {values[bad].flat[0]:g} {unit}")


def spin_at_pressure(depth, behind, squared):
    """Spin temperature of a cloud in pressure; NaN where none is possible.

    Parameters
    ----------
    depth, behind : `~numpy.ndarray` of float64
        d and B in K.
    squared : `~numpy.ndarray` of float64
        A in K^2, see `Pressure`. All of one shape.

    Returns
    -------
    `~numpy.ndarray` of float64, K
    """
    found = np.empty(depth.shape)
    parts = (np.ascontiguousarray(part, float).reshape(-1) for part in (depth, behind, squared))
    _solve_all(*parts, found.reshape(-1))
    return found


@njit(cache=True, nogil=True, error_model="numpy")
def _solve_all(depth, behind, squared, found):
    for number in range(depth.size):
        found[number] = _solve(depth[number], behind[number], squared[number])


@njit(cache=True, nogil=True, error_model="numpy")
def _solve(depth, behind, squared):
    """Root in T_S of (B - T_S) (1 - exp(-A / T_S^2)) - d, which falls, by Newton's steps in a bracket."""
    if not (0 < depth < behind and squared > 0):
        return np.nan
    # No warmer than opaque gas, nor than gas of the least optical depth.
    low, high = 0.0, min(behind - depth, np.sqrt(squared / -np.log1p(-depth / behind)))
    spin = high
    for _ in range(MAX_STEPS):
        tau = squared / (spin * spin)
        absorbed = _absorbed(tau)
        excess = (behind - spin) * absorbed - depth
        if excess > 0:
            low = spin
        else:
            high = spin
        step = spin + excess / (absorbed + (behind - spin) * (1 - absorbed) * 2 * tau / spin)
        enough = LAST_STEP
        if not low <= step <= high:
            step, enough = 0.5 * (low + high), TOLERANCE
        if abs(step - spin) <= enough * spin:
            return step
        spin = step
    return spin


@njit(cache=True, nogil=True, error_model="numpy")
def _absorbed(tau):
    """1 - exp(-tau), to rounding: three times as fast as expm1 here."""
    if tau < SMALL_TAU:
        return tau * (1 - tau * (1 / 2 - tau * (1 / 6 - tau / 24)))
    return 1 - np.exp(-tau)
