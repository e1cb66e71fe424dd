"""Variable smoothing of the 4-D histograms (the paper, section 3.3.2), and what it is worth.

The FWHM along an axis depends on the place along that axis alone, so that the smoothing is exactly a
product of four small matrices, one an axis.
"""

from dataclasses import dataclass

import astropy.units as u
import numpy as np

from hisatools.parameters import _number, _Parameters, _quantity
from hisatools.performance.observables import NAMES, OBSERVABLES


@dataclass(frozen=True, kw_only=True)
class SmoothingParameters(_Parameters):
    """How histograms are smoothed before ratios are taken.

    Parameters
    ----------
    fraction : float
        FWHM over the absolute values of dT and of T_U less t_unabsorbed_centre, and over both widths.
    t_unabsorbed_centre : Quantity, temperature
        Where the smoothing along T_U is least.
    min_fwhm_delta_t, min_fwhm_t_unabsorbed : Quantity, temperature
        Least FWHM along dT and along T_U.
    min_fwhm_angular_width : Quantity, angle
    min_fwhm_velocity_width : Quantity, velocity
    min_samples : float
        A point has support if there are as many independent voxels within half a FWHM of it along every
        axis, and some on both sides of it.

    Examples
    --------
    >>> import numpy as np
    >>> import astropy.units as u
    >>> from hisatools.performance import SmoothingParameters
    >>> smoothing = SmoothingParameters(fraction=0.3, min_fwhm_delta_t=3 * u.K)
    >>> smoothing.fwhm("delta_t", np.array([-2.0, -20.0, -60.0]))
    array([ 3.,  6., 18.])
    """

    fraction: float = _number(0.5, inclusive=True)
    t_unabsorbed_centre: u.Quantity = _quantity(70.0 * u.K, inclusive=True)
    min_fwhm_delta_t: u.Quantity = _quantity(6.0 * u.K)
    min_fwhm_t_unabsorbed: u.Quantity = _quantity(6.0 * u.K)
    min_fwhm_angular_width: u.Quantity = _quantity(1.0 * u.arcmin)
    min_fwhm_velocity_width: u.Quantity = _quantity(1.319 * u.km / u.s)
    min_samples: float = _number(1.0)

    def fwhm(self, name, points):
        """FWHM of the smoothing along one axis.

        Parameters
        ----------
        name : str
            Of the observable.
        points : `~numpy.ndarray`
            Places on its axis, in its unit.

        Returns
        -------
        `~numpy.ndarray`
            In the same unit.
        """
        centre = self.t_unabsorbed_centre.value if name == "t_unabsorbed" else 0.0
        return np.maximum(self.fraction * np.abs(points - centre), getattr(self, f"min_fwhm_{name}").value)


@dataclass(frozen=True, eq=False)
class Smoother:
    """Smooths images of one box of the lattice.

    Parameters
    ----------
    origin : sequence of 4 int
        Lattice numbers of the first bin.
    shape : tuple of 4 int
    parameters : `SmoothingParameters`
    """

    origin: tuple
    shape: tuple
    parameters: SmoothingParameters

    def centres(self, axis):
        """Centres of the bins along one axis, in the unit of its observable."""
        return (self.origin[axis] + np.arange(self.shape[axis]) + 0.5) * OBSERVABLES[axis].step

    def weighted(self, image, power=1):
        """Sum of the bins around every bin, each with its weight.

        Parameters
        ----------
        image : `~numpy.ndarray`, shape ``shape``
        power : int
            Of the weights; 2 for the variance of a weighted sum.

        Returns
        -------
        `~numpy.ndarray` of float32, same shape
        """
        return self._summed(image, [self._weights(axis) ** power for axis in range(4)])

    def surrounded(self, image):
        """Whether a bin has voxels within half a FWHM on both sides along every axis, its own row included.

        Beyond the outermost voxels it is False, however many are near: a value there is extrapolated.

        Parameters
        ----------
        image : `~numpy.ndarray`, shape ``shape``

        Returns
        -------
        `~numpy.ndarray` of bool, same shape
        """
        distances = [self._distance(axis) for axis in range(4)]
        near = [np.float32(np.abs(distance) <= 0.5) for distance in distances]
        found = np.ones(self.shape, bool)
        for axis, distance in enumerate(distances):
            for side in (distance >= 0, distance <= 0):
                kernels = [*near[:axis], near[axis] * side, *near[axis + 1 :]]
                found &= self._summed(image, kernels) > 0.5
        return found

    def nearby(self, image):
        """Sum of the bins within half a FWHM of every bin along every axis: what supports a value there.

        Parameters
        ----------
        image : `~numpy.ndarray`, shape ``shape``

        Returns
        -------
        `~numpy.ndarray` of float32, same shape
        """
        return self._summed(image, [np.float32(np.abs(self._distance(axis)) <= 0.5) for axis in range(4)])

    def _summed(self, image, kernels):
        image = np.asarray(image, np.float32)
        for kernel in kernels:
            # The axis that was first goes last: after four products the order is the old one.
            image = np.tensordot(image, kernel, axes=(0, 1))
        return image

    def _weights(self, axis):
        """1 at the point itself, and 0 beyond one FWHM: nothing is drawn from afar."""
        distance = self._distance(axis)
        weights = np.exp(-4 * np.log(2) * distance**2)
        return np.where(np.abs(distance) <= 1, weights, 0).astype(np.float32)

    def _distance(self, axis):
        """From every bin (rows) to every other, in FWHM of the former."""
        points = self.centres(axis)
        fwhm = self.parameters.fwhm(NAMES[axis], points)[:, None]
        return (points[None, :] - points[:, None]) / fwhm


def effective_counts(weighted, weighted_squares, correlated_voxels):
    """Independent voxels that a weighted count is worth.

    Parameters
    ----------
    weighted, weighted_squares : `~numpy.ndarray`
        Counts summed with the weights, and with their squares.
    correlated_voxels : float
        Voxels that count as one, their noise being correlated.

    Returns
    -------
    `~numpy.ndarray`
        (sum w n)^2 / (sum w^2 n) over ``correlated_voxels``; 0 where there is nothing.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.nan_to_num(weighted**2 / (weighted_squares * correlated_voxels), nan=0.0)


def binomial_uncertainty(fraction, counts):
    """Half the width of the 68 % Wilson interval of a fraction.

    Unlike sqrt(f (1 - f) / n) it does not vanish at 0 and 1.

    Parameters
    ----------
    fraction : `~numpy.ndarray`
        0 to 1, or NaN.
    counts : `~numpy.ndarray`
        Effective number of trials.

    Returns
    -------
    `~numpy.ndarray`
        NaN where the fraction is NaN or nothing was tried.

    Examples
    --------
    >>> from hisatools.performance.smoothing import binomial_uncertainty
    >>> round(float(binomial_uncertainty(0.5, 99.0)), 3)
    0.05
    >>> round(float(binomial_uncertainty(1.0, 9.0)), 3)
    0.05
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = np.sqrt(fraction * (1 - fraction) / counts + 1 / (4 * counts**2))
        return spread / (1 + 1 / counts)
