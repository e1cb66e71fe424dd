"""Spectra to baselines: what is noise and what signal, the two-phase fit, its residual and offset."""

from dataclasses import dataclass

import numpy as np

from hisatools.noise.correlation import (
    DIFFERENCE_LAG,
    DIFFERENCE_WEIGHTS,
    MAD_TO_SIGMA,
    MIN_CHANNELS_IN_THIRD,
)
from hisatools.unabsorbed.pentadiagonal import (
    BLANK,
    FIRST_COMPARED,
    NOISE,
    SIGNAL,
    asymmetric_baselines,
    baseline_weights,
    machine,
)

LONGEST_RUN = 30


@dataclass(frozen=True, eq=False)
class Baselines:
    """What asymmetric least squares finds in some spectra.

    Parameters
    ----------
    kelvin : `~numpy.ndarray`, shape (n_v, n)
        T_U in all channels; the spectrum itself where ``is_found`` is False. NaN nowhere that the spectrum
        is finite.
    is_found : `~numpy.ndarray` of bool, shape (n,)
        False for spectra without the signal that the gate asks for, and with fewer than 2 channels.
    is_stable : `~numpy.ndarray` of bool, shape (n,)
        False where the largest number of loops came first.
    n_stages : `~numpy.ndarray` of int, shape (n,)
        Number of baselines that were made.
    weights : callable
        From arrays of channels and spectra, shape (m,) each, to how much each channel of its spectrum counts
        in T_U there, shape (m, n_v). None if not asked for.
    """

    kelvin: np.ndarray
    is_found: np.ndarray
    is_stable: np.ndarray
    n_stages: np.ndarray
    weights: object = None


def find_baselines(spectra_kelvin, masked, lam, parameters, *, gate_chan, sigma_kelvin=None, weights=False):
    """Two-phase baselines of spectra.

    Parameters
    ----------
    spectra_kelvin : `~numpy.ndarray`, shape (n_v, n)
        NaN is blank: such channels are bridged.
    masked : `~numpy.ndarray` of bool, shape (n_v, n)
        Where absorption is known to be.
    lam : pair of float
        ``parameters.lam(channel_width)``.
    parameters : `~hisatools.unabsorbed.asymmetric_least_squares.AsymmetricLeastSquaresParameters`
    gate_chan : float
        ``gate_width`` in channels.
    sigma_kelvin : `~numpy.ndarray`, shape (n,), optional
        Noise of each spectrum; measured from its third differences if not given.
    weights : bool
        Whether `Baselines.weights` is wanted.

    Returns
    -------
    `Baselines`
    """
    spectra = np.asarray(spectra_kelvin, float)
    finite = np.isfinite(spectra)
    sigma = difference_noise(spectra) if sigma_kelvin is None else sigma_kelvin
    sigma = np.where(sigma > 0, sigma, 0.0)
    least_run = longest_run_of_noise(len(spectra), parameters.run_probability)
    kinds = channel_kinds(spectra, least_run, parameters.run_margin)
    is_noise = kinds == NOISE
    if parameters.use_mask:
        kinds[masked] = BLANK
    kinds[:, ~has_signal(spectra, parameters.gate_sigma * sigma, gate_chan)] = BLANK
    filled = np.where(finite, spectra, 0)
    n_stages_kept = parameters.n_major + FIRST_COMPARED if weights else 0
    stages = np.zeros((spectra.shape[1], n_stages_kept, len(spectra)), np.float32)
    first, last, n_stages, is_stable = asymmetric_baselines(
        filled,
        kinds,
        lam,
        parameters.asymmetry,
        parameters.convergence * sigma,
        parameters.n_minor,
        parameters.n_major,
        parameters.n_stable,
        stages,
    )
    is_found = n_stages > 0
    sign = _residual_sign(last - first, parameters.residual)
    kelvin = last + sign * (last - first)
    kelvin -= _offset(kelvin, spectra, is_noise, finite & ~masked, parameters.offset)
    kelvin[:, ~is_found] = spectra[:, ~is_found]

    def weights_at(channels, members):
        at = np.zeros((len(spectra), len(channels)))
        at[channels, np.arange(len(channels))] = 1
        of_residual = at * sign[:, members]
        return baseline_weights(stages, n_stages, lam, members, at + of_residual, -of_residual)

    return Baselines(kelvin, is_found, is_stable, n_stages, weights_at if weights else None)


def _residual_sign(residual, kind):
    if kind == "none":
        return np.zeros_like(residual)
    return np.ones_like(residual) if kind == "signed" else np.sign(residual)


def _offset(baseline, spectra, is_noise, unmasked, kind):
    """What is taken off each baseline, shape (n,); 0 where there is no channel to measure it in."""
    if kind == "none":
        return 0.0
    if kind == "noise":
        return mean_excess(baseline, np.zeros_like(spectra), is_noise)
    return mean_excess(baseline, spectra, unmasked)


@machine
def mean_excess(baseline, spectra, channels):
    """Mean of baseline less spectrum over some channels, in their order; shape (n,), 0 without any."""
    excess = np.zeros(baseline.shape[1])
    for i in range(excess.size):
        count = 0
        for k in range(baseline.shape[0]):
            if channels[k, i]:
                excess[i] += baseline[k, i] - spectra[k, i]
                count += 1
        excess[i] /= max(count, 1)
    return excess


def longest_run_of_noise(n_channels, probability):
    """Shortest run of one sign that ``n_channels`` of noise have with less than ``probability``.

    A chain whose state is the length of the run at hand, after as many steps as there are channels, as in
    GaussPy+ (Riener et al. 2019, A&A 628, A78).
    """
    for length in range(2, LONGEST_RUN):
        steps = np.zeros((length, length))
        steps[np.arange(length - 1), 0] = steps[np.arange(length - 1), np.arange(1, length)] = 0.5
        steps[-1, -1] = 1
        if np.linalg.matrix_power(steps, max(n_channels - 1, 0))[0, -1] < probability:
            return length
    return LONGEST_RUN


@machine
def channel_kinds(spectra, least_run, margin):
    """BLANK, NOISE or SIGNAL for each channel, shape (n_v, n); blank channels do not end a run."""
    n_channels, n = spectra.shape
    kinds = np.full((n_channels, n), NOISE, np.uint8)
    for i in range(n):
        for sign in (1, -1):
            start, length = 0, 0
            for k in range(n_channels + 1):
                if k < n_channels and (np.isnan(spectra[k, i])):
                    continue
                if k < n_channels and sign * spectra[k, i] >= 0:
                    start = k if length == 0 else start
                    length += 1
                    end = k + 1
                else:
                    if length >= least_run:
                        kinds[max(start - margin, 0) : end + margin, i] = SIGNAL
                    length = 0
        for k in range(n_channels):
            if np.isnan(spectra[k, i]):
                kinds[k, i] = BLANK
    return kinds


@machine
def has_signal(spectra, level, n_least):
    """Whether more than ``n_least`` channels in a row are above a level, shape (n,); level 0 asks nothing."""
    n_channels, n = spectra.shape
    found = level == 0
    for i in range(n):
        length = 0
        for k in range(n_channels):
            if not np.isnan(spectra[k, i]):
                length = length + 1 if spectra[k, i] > level[i] else 0
                found[i] = found[i] or length > n_least
    return found


@machine
def difference_noise(spectra):
    """`~hisatools.noise.difference_rms` of each spectrum, without its arrays; shape (n,), NaN if unknown."""
    n_channels, n = spectra.shape
    difference, noise = np.empty(n_channels), np.full(n, np.nan)
    one, three, norm = DIFFERENCE_WEIGHTS[0], DIFFERENCE_WEIGHTS[2], 20**0.5
    for i in range(n):
        size = 0
        for k in range(n_channels - 3 * DIFFERENCE_LAG):
            value = one * (spectra[k, i] - spectra[k + 3 * DIFFERENCE_LAG, i]) + three * (
                spectra[k + 2 * DIFFERENCE_LAG, i] - spectra[k + DIFFERENCE_LAG, i]
            )
            if np.isfinite(value):
                difference[size] = value
                size += 1
        if size >= MIN_CHANNELS_IN_THIRD:
            values = difference[:size]
            noise[i] = MAD_TO_SIGMA * np.median(np.abs(values - np.median(values))) / norm
    return noise
