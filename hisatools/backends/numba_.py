"""CLEAN compiled with numba; it releases the interpreter lock, so blocks of sight lines run in parallel."""

import numpy as np
from numba import njit

from hisatools.backends.protocols import MIN_COVERAGE, CleanedChannel, CleanedSpectra
from hisatools.results import StopReason

NOT_CLEANED = int(StopReason.NOT_CLEANED)
FRACTION = int(StopReason.FRACTION)
NOISE = int(StopReason.NOISE)
MAX_ITERATIONS = int(StopReason.MAX_ITERATIONS)


class NumbaClean:
    """SDI CLEAN in machine code; spectra in float64, maps in float32 with sums in float64."""

    tolerance_kelvin = 0.02

    def clean_spectra(self, smoothed_kelvin, stop_kelvin, kernel, settings):
        """See `~hisatools.backends.protocols.CleanBackend.clean_spectra`."""
        return CleanedSpectra(
            *_clean_spectra(
                np.ascontiguousarray(smoothed_kelvin, np.float32),
                np.asarray(stop_kelvin, np.float64),
                np.asarray(kernel, np.float64),
                settings.gain,
                settings.clip,
                settings.stop_fraction,
                settings.max_iterations,
                settings.peak_rank,
            )
        )

    def clean_channel(self, smoothed_kelvin, stop_kelvin, weights, convolve, settings):
        """See `~hisatools.backends.protocols.CleanBackend.clean_channel`."""
        smoothed = np.ascontiguousarray(smoothed_kelvin, np.float32)
        weights = np.ascontiguousarray(weights, np.float32)
        unabsorbed = np.zeros_like(smoothed)
        coverage = convolve(np.isfinite(smoothed).astype(np.float32))
        coverage[coverage < MIN_COVERAGE] = np.nan
        correction = np.zeros_like(smoothed)
        top = np.empty(settings.peak_rank, np.float32)
        highest, sigma_pos = _measure_map(smoothed, weights, correction, coverage, unabsorbed, top)
        if np.isnan(highest):
            return CleanedChannel(np.full_like(smoothed, np.nan), np.nan, 0, NOT_CLEANED)
        floor = settings.stop_fraction * max(float(np.nanmax(smoothed)), 0.0)
        for n_iterations in range(settings.max_iterations):
            if highest <= floor:
                return CleanedChannel(unabsorbed, sigma_pos, n_iterations, FRACTION)
            _correct_map(smoothed, unabsorbed, settings.clip * highest, settings.gain, correction)
            added = convolve(correction)
            highest, sigma_pos = _measure_map(smoothed, weights, added, coverage, unabsorbed, top)
            if sigma_pos < stop_kelvin:
                return CleanedChannel(unabsorbed, sigma_pos, n_iterations + 1, NOISE)
        return CleanedChannel(unabsorbed, sigma_pos, settings.max_iterations, MAX_ITERATIONS)


@njit(cache=True, nogil=True)
def _keep_top(top, n_top, value):
    """Put ``value`` among the highest seen so far, highest first; returns how many there are."""
    if n_top == top.size and value <= top[n_top - 1]:
        return n_top
    place = n_top if n_top < top.size else n_top - 1
    while place > 0 and top[place - 1] < value:
        top[place] = top[place - 1]
        place -= 1
    top[place] = value
    return min(n_top + 1, top.size)


@njit(cache=True, nogil=True)
def _measure_map(smoothed, weights, added, coverage, unabsorbed, top):
    """Add to U in place; return R_max (NaN if all is blank) and the weighted sigma_pos of R."""
    n_top = 0
    total = 0.0
    squares = 0.0
    for y in range(smoothed.shape[0]):
        for x in range(smoothed.shape[1]):
            unabsorbed[y, x] += added[y, x] / coverage[y, x]
            residual = smoothed[y, x] - unabsorbed[y, x]
            if np.isnan(residual):
                continue
            n_top = _keep_top(top, n_top, residual)
            if residual > 0:
                total += weights[y, x]
                squares += weights[y, x] * residual * residual
    if n_top == 0:
        return np.nan, np.nan
    highest = top[n_top - 1] if n_top == top.size else top[0]
    return float(highest), np.sqrt(squares / total) if total > 0 else 0.0


@njit(cache=True, nogil=True)
def _correct_map(smoothed, unabsorbed, level, gain, correction):
    """Correction map C: gain x R above the level, 0 elsewhere and where blank."""
    for y in range(smoothed.shape[0]):
        for x in range(smoothed.shape[1]):
            residual = smoothed[y, x] - unabsorbed[y, x]
            correction[y, x] = gain * residual if residual > level else 0.0


@njit(cache=True, nogil=True)
def _measure_spectrum(residual, top):
    """R_max (NaN if all is blank) and sigma_pos."""
    n_top = 0
    n_positive = 0
    squares = 0.0
    for value in residual:
        if np.isnan(value):
            continue
        n_top = _keep_top(top, n_top, value)
        if value > 0:
            n_positive += 1
            squares += value * value
    if n_top == 0:
        return np.nan, np.nan
    highest = top[n_top - 1] if n_top == top.size else top[0]
    return highest, np.sqrt(squares / n_positive) if n_positive > 0 else 0.0


@njit(cache=True, nogil=True)
def _subtract_component(residual, channel, height, kernel, coverage):
    """Take ``height`` x kernel / coverage, centred on ``channel``, off the residual."""
    half = kernel.size // 2
    first = max(channel - half, 0)
    last = min(channel + half + 1, residual.size)
    for k in range(first, last):
        residual[k] -= height * kernel[k - channel + half] / coverage[k]


@njit(cache=True, nogil=True)
def _kernel_coverage(spectrum, kernel):
    """Share of the kernel about each channel that falls on finite channels."""
    half = kernel.size // 2
    coverage = np.zeros(spectrum.size)
    for k in range(spectrum.size):
        if not np.isnan(spectrum[k]):
            for other in range(max(k - half, 0), min(k + half + 1, spectrum.size)):
                coverage[other] += kernel[other - k + half]
    return coverage


@njit(cache=True, nogil=True)
def _clean_spectrum(residual, stop, kernel, gain, clip, stop_fraction, max_iterations, top, correction):
    """Turn S into R in place; returns sigma_pos, the loop count and the stop reason."""
    highest, sigma_pos = _measure_spectrum(residual, top)
    if np.isnan(highest):
        return np.nan, 0, NOT_CLEANED
    floor = stop_fraction * max(np.nanmax(residual), 0.0)
    coverage = _kernel_coverage(residual, kernel)
    for n_iterations in range(max_iterations):
        if highest <= floor:
            return sigma_pos, n_iterations, FRACTION
        for k in range(residual.size):
            correction[k] = gain * residual[k] if residual[k] > clip * highest else 0.0
        for k in range(residual.size):
            if correction[k] != 0:
                _subtract_component(residual, k, correction[k], kernel, coverage)
        highest, sigma_pos = _measure_spectrum(residual, top)
        if sigma_pos < stop:
            return sigma_pos, n_iterations + 1, NOISE
    return sigma_pos, max_iterations, MAX_ITERATIONS


@njit(cache=True, nogil=True)
def _clean_spectra(smoothed, stop, kernel, gain, clip, stop_fraction, max_iterations, peak_rank):
    n, n_v = smoothed.shape
    unabsorbed = np.empty((n, n_v), np.float32)
    sigma_pos = np.empty(n)
    n_iterations = np.empty(n, np.int32)
    reason = np.empty(n, np.int8)
    for i in range(n):
        residual = smoothed[i].astype(np.float64)
        top = np.empty(peak_rank)
        correction = np.empty(n_v)
        sigma_pos[i], n_iterations[i], reason[i] = _clean_spectrum(
            residual, stop[i], kernel, gain, clip, stop_fraction, max_iterations, top, correction
        )
        for k in range(n_v):
            unabsorbed[i, k] = smoothed[i, k] - residual[k]
    return unabsorbed, sigma_pos, n_iterations, reason
