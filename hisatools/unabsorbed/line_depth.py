"""The optical depth for which the emission behind a cold cloud is smoothest, in one spectrum."""

from dataclasses import dataclass

import astropy.units as u
import numpy as np
from astropy.stats import gaussian_fwhm_to_sigma

from hisatools.noise import mad_sigma
from hisatools.unabsorbed.pentadiagonal import machine

KERNEL_REACH_SIGMA = 3.0
# The trial depths are 0, and from here to the largest in even steps of the logarithm.
LEAST_TAU = 1e-3
N_GRID = 24
N_GOLDEN = 24
GOLDEN = (5**0.5 - 1) / 2
# Of a Gaussian, this share deviates by less than a standard deviation.
ONE_SIGMA = 0.6827
# Fewer second derivatives do not show a line.
LEAST_POINTS = 3
# Fewer of them beside the features do not show their noise.
LEAST_DERIVATIVES = 12


@dataclass(frozen=True, eq=False)
class LineFit:
    """One line of one spectrum: the smoothest T_U, and what it came from. Without ``n_off`` there is none."""

    n_off: int
    tau: float = 0.0
    kelvin: np.ndarray | None = None
    spectrum: np.ndarray | None = None
    profile: np.ndarray | None = None
    usable: np.ndarray | None = None
    derivative_variance: float = 0.0


class LineFitter:
    """Fits of one line in one spectrum after the other.

    Parameters
    ----------
    cube : `~hisatools.HISACube`
    parameters : `~hisatools.unabsorbed.second_derivative.SecondDerivativeParameters`
    errors : `~hisatools.unabsorbed.uncertainty.ErrorModel`, optional
    """

    def __init__(self, cube, parameters, errors=None):
        self.parameters, self.errors = parameters, errors
        self.shape = cube.shape
        self.velocity_kms = cube.velocity.to_value(u.km / u.s)
        # Random numbers are drawn upwards in velocity, whichever way the cube runs.
        self.upwards = slice(None, None, -1 if self.velocity_kms[-1] < self.velocity_kms[0] else 1)
        self.kernel = _kernel((parameters.smoothing / cube.channel_width).to_value(u.one))
        cold = (parameters.spin_temperature - parameters.continuum).to_value(u.K)
        self.transfer = np.array([parameters.background_fraction, cold])
        voxels = np.zeros((cube.shape[0], 3))
        voxels[:, 0] = np.arange(cube.shape[0])
        if errors is not None:
            self.noise_root = _root(errors.noise_correlation(voxels, voxels))
            self.structure_root = _root(errors.covariance(voxels, voxels))

    def fit(self, spectrum, usable, is_off, line, noise_kelvin):
        """The optical depth for which a spectrum is smoothest.

        Parameters
        ----------
        spectrum : `~numpy.ndarray`, shape (n_v,), K
        usable : `~numpy.ndarray` of bool, shape (n_v,)
            Finite, and free of other features.
        is_off : `~numpy.ndarray` of bool, shape (n_v,)
            Free of all features.
        line : pair of float, or None
            Centre and FWHM in km/s.
        noise_kelvin : float
            Rms of the spectrum, NaN if not known; used where too few second derivatives show it.

        Returns
        -------
        `LineFit`
        """
        if line is None:
            return LineFit(0)
        centre, fwhm = line
        offset = self.velocity_kms - centre
        profile = np.exp(-0.5 * (offset / (fwhm * gaussian_fwhm_to_sigma)) ** 2)
        usable = usable & (np.abs(offset) <= self.parameters.window * fwhm)
        n_off = int((usable & is_off).sum())
        if n_off == 0 or n_second_derivatives(usable, self.kernel.size) < LEAST_POINTS:
            return LineFit(0)
        variance = self._derivative_variance(spectrum, is_off, noise_kelvin)
        tau = self._tau(spectrum, profile, usable, variance)
        if self.amplification(tau) > self.parameters.max_amplification:
            return LineFit(0)
        kelvin = recover(spectrum, tau, profile, self.transfer)
        return LineFit(n_off, tau, kelvin, spectrum, profile, usable, variance)

    def _tau(self, spectrum, profile, usable, variance):
        return smoothest_tau(
            spectrum, profile, usable, self.transfer, self.kernel, variance, self.parameters.max_tau
        )

    def amplification(self, tau):
        """By how much a change of T_ON at the centre of the line changes T_U there."""
        return 1 / (1 - self.transfer[0] * (1 - np.exp(-tau)))

    def _derivative_variance(self, spectrum, is_off, noise_kelvin):
        """Variance of the second derivatives beside the features, whatever the noise's correlation; K^2."""
        is_known = is_off & np.isfinite(spectrum)
        size = len(self.kernel)
        if len(spectrum) >= size:
            derivative = np.convolve(np.where(is_known, spectrum, 0), self.kernel, "valid")
            is_whole = np.convolve(is_known, np.ones(size), "valid") > size - 0.5
            sigma = mad_sigma(derivative[is_whole], n_least=LEAST_DERIVATIVES)
            if np.isfinite(sigma):
                return sigma**2
        return noise_kelvin**2 * np.sum(self.kernel**2) if noise_kelvin > 0 else 0.0

    def sigma(self, fit, pixel):
        """Uncertainty of a fit's T_U from fits of spectra like it, shape (n_v,), K.

        Emission is added behind and in front of the cloud as the radiative transfer has it, noise to what is
        observed; the random numbers depend on the sight line alone. It is the deviation that 68.3 % of the
        fits stay within: a few of them saturate, and would rule a mean of squares.
        """
        parameters = self.parameters
        rng = np.random.default_rng([parameters.seed, int(pixel)])
        n_v = self.shape[0]
        white = rng.standard_normal((2, n_v, parameters.n_resamples))[:, self.upwards]
        voxels = np.arange(n_v) * (self.shape[1] * self.shape[2]) + pixel
        noise = self.errors.sigma_kelvin(voxels)[:, None] * (self.noise_root @ white[0])
        structure = self.structure_root @ white[1]
        passed = 1 - self.transfer[0] * (1 - np.exp(-fit.tau * fit.profile))
        deviations = np.empty((parameters.n_resamples, n_v))
        for i, (one_noise, one_structure) in enumerate(zip(noise.T, structure.T, strict=True)):
            spectrum = fit.spectrum + passed * one_structure + one_noise
            tau = self._tau(spectrum, fit.profile, fit.usable, 2 * fit.derivative_variance)
            found = recover(spectrum, tau, fit.profile, self.transfer)
            deviations[i] = np.abs(found - fit.kelvin - one_structure)
        return np.quantile(deviations, ONE_SIGMA, axis=0)


def _root(covariance):
    """Symmetric square root, by which white noise gets this covariance."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


def _kernel(fwhm_chan):
    """Second difference of a Gaussian average, symmetric, of odd length."""
    sigma = fwhm_chan * gaussian_fwhm_to_sigma
    reach = int(np.ceil(KERNEL_REACH_SIGMA * sigma)) if sigma > 0 else 0
    offset = np.arange(-reach, reach + 1)
    average = np.exp(-0.5 * (offset / sigma) ** 2) if sigma > 0 else np.ones(1)
    return np.convolve(average / average.sum(), [1.0, -2.0, 1.0])


@machine
def recover(spectrum, tau, profile, transfer):
    """T_U from T_ON and an optical depth: the radiative transfer backward; K.

    T_ON = T_U + (T_S - T_C - p T_U) (1 - exp(-tau)), with ``transfer`` = (p, T_S - T_C).
    """
    recovered = np.empty(spectrum.size)
    for k in range(spectrum.size):
        share = 1 - np.exp(-tau * profile[k])
        recovered[k] = (spectrum[k] - transfer[1] * share) / (1 - transfer[0] * share)
    return recovered


@machine
def n_second_derivatives(usable, size):
    """At how many channels a kernel of this length finds all that it needs."""
    return np.sum(whole_windows(usable, size))


@machine
def whole_windows(usable, size):
    """Where a kernel that begins at a channel finds all that it needs; shape (n_v,)."""
    whole = np.zeros(usable.size, np.bool_)
    for k in range(usable.size - size + 1):
        whole[k] = np.all(usable[k : k + size])
    return whole


@machine
def roughness(tau, spectrum, profile, whole, transfer, kernel, variance):
    """Sum of the squared second derivatives of T_U, less what noise adds on the average; K^2.

    The noise of T_U grows with tau: left in, it would pull tau down. ``variance`` is that of the second
    derivatives of the observed spectrum.
    """
    share = 1 - np.exp(-tau * profile)
    gain = 1 / (1 - transfer[0] * share)
    recovered = (spectrum - transfer[1] * share) * gain
    size, total = kernel.size, 0.0
    squared = variance / np.sum(kernel**2) * kernel**2
    for k in range(spectrum.size - size + 1):
        if not whole[k]:
            continue
        derivative = 0.0
        for i in range(size):
            derivative += kernel[i] * recovered[k + i]
            total -= squared[i] * gain[k + i] ** 2
        total += derivative**2
    return total


@machine
def smoothest_tau(spectrum, profile, usable, transfer, kernel, variance, max_tau):
    """The tau at which `roughness` is least: the best of a grid, and a golden section about it."""
    used = np.flatnonzero(usable)
    some = slice(used[0], used[-1] + 1)
    spectrum, profile, whole = spectrum[some], profile[some], whole_windows(usable[some], kernel.size)
    grid = np.zeros(N_GRID)
    for i in range(1, N_GRID):
        grid[i] = LEAST_TAU * (max_tau / LEAST_TAU) ** ((i - 1) / (N_GRID - 2))
    best, least = 0, np.inf
    for i in range(N_GRID):
        rough = roughness(grid[i], spectrum, profile, whole, transfer, kernel, variance)
        if rough < least:
            best, least = i, rough
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, N_GRID - 1)]
    one, other = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    rough_one = roughness(one, spectrum, profile, whole, transfer, kernel, variance)
    rough_other = roughness(other, spectrum, profile, whole, transfer, kernel, variance)
    for _ in range(N_GOLDEN):
        if rough_one <= rough_other:
            high, other, rough_other = other, one, rough_one
            one = high - GOLDEN * (high - low)
            rough_one = roughness(one, spectrum, profile, whole, transfer, kernel, variance)
        else:
            low, one, rough_one = one, other, rough_other
            other = low + GOLDEN * (high - low)
            rough_other = roughness(other, spectrum, profile, whole, transfer, kernel, variance)
    middle = 0.5 * (low + high)
    rough = roughness(middle, spectrum, profile, whole, transfer, kernel, variance)
    return middle if rough < least else grid[best]
