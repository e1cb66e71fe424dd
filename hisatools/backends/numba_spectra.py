"""CLEAN of spectra in machine code.

The loops over a spectrum are written so that the compiler turns each into vector instructions: over
arrays cut to equal length, without branches, and without NaN. A blank channel is -inf in the residual:
it is never the highest, never positive, and stays -inf whatever is taken off.
"""

import numpy as np
from numba import njit, uint64

from hisatools.backends.numba_maps import VECTOR_MATH, keep_top
from hisatools.backends.protocols import StopReason

NOT_CLEANED = int(StopReason.NOT_CLEANED)
FRACTION = int(StopReason.FRACTION)
NOISE = int(StopReason.NOISE)
MAX_ITERATIONS = int(StopReason.MAX_ITERATIONS)
ZERO = np.float32(0)
# The convolution takes this many channels of the kernel at a time; they are written out in `_convolve`.
TAPS = 11
ONE, TWO, THREE, FOUR, FIVE, SIX, SEVEN, EIGHT, NINE, TEN = map(np.uint64, range(1, TAPS))


@njit(cache=True, nogil=True)
def clean_spectra(smoothed, stop, kernel, gain, clip, stop_fraction, max_iterations, peak_rank):
    """See `~hisatools.backends.protocols.CleanBackend.clean_spectra`; all arrays are float32."""
    n, n_v = smoothed.shape
    unabsorbed = np.empty((n, n_v), np.float32)
    sigma_pos = np.empty(n)
    n_iterations = np.empty(n, np.int32)
    reason = np.empty(n, np.int8)
    half = kernel.size // 2
    taps = np.zeros(-(-kernel.size // TAPS) * TAPS, np.float32)
    taps[: kernel.size] = kernel
    whole = _inverse_coverage(np.zeros(n_v, np.float32), kernel)
    residual, exact = np.empty(n_v, np.float32), np.empty(n_v)
    correction = np.zeros(n_v + taps.size, np.float32)
    added = np.empty(n_v, np.float32)
    top = np.empty(peak_rank, np.float32)
    for i in range(n):
        n_finite = _start(smoothed[i], residual)
        if n_finite == 0:
            unabsorbed[i], sigma_pos[i], n_iterations[i], reason[i] = np.nan, np.nan, 0, NOT_CLEANED
            continue
        inverse = whole if n_finite == n_v else _inverse_coverage(residual, kernel)
        sigma_pos[i], n_iterations[i], reason[i] = _clean(
            residual,
            exact,
            stop[i],
            taps,
            half,
            inverse,
            gain,
            clip,
            stop_fraction,
            max_iterations,
            top,
            correction,
            added,
        )
        for k in range(n_v):
            unabsorbed[i, k] = smoothed[i, k] - exact[k]
    return unabsorbed, sigma_pos, n_iterations, reason


@njit(cache=True, nogil=True)
def _start(smoothed, residual):
    """Copy S with blanks turned to -inf; returns how many channels are finite."""
    n_finite = 0
    for k in range(smoothed.size):
        blank = np.isnan(smoothed[k])
        residual[k] = -np.inf if blank else smoothed[k]
        n_finite += not blank
    return n_finite


@njit(cache=True, nogil=True)
def _inverse_coverage(residual, kernel):
    """One over the share of the kernel about each channel that falls on finite channels; 0 where blank."""
    half = kernel.size // 2
    n_v = residual.size
    coverage = np.zeros(n_v)
    for k in range(n_v):
        if residual[k] != -np.inf:
            for other in range(max(k - half, 0), min(k + half + 1, n_v)):
                coverage[other] += kernel[other - k + half]
    inverse = np.zeros(n_v, np.float32)
    for k in range(n_v):
        if residual[k] != -np.inf:
            inverse[k] = 1 / coverage[k]
    return inverse


@njit(cache=True, nogil=True)
def _clean(
    residual,
    exact,
    stop,
    taps,
    half,
    inverse,
    gain,
    clip,
    stop_fraction,
    max_iterations,
    top,
    correction,
    added,
):
    """Turn S into R in place; returns sigma_pos, the loop count and the stop reason."""
    highest, sigma_pos = _measure(residual, top)
    floor = stop_fraction * max(_highest(residual), ZERO)
    exact[:] = residual
    centred = correction[half : half + residual.size]
    for n_iterations in range(max_iterations):
        if highest <= floor:
            return sigma_pos, n_iterations, FRACTION
        _correct(residual, clip * highest, gain, centred)
        added[:] = 0
        _convolve(correction, taps, added)
        _subtract(exact, added, inverse, residual)
        highest, sigma_pos = _measure(residual, top)
        if sigma_pos < stop:
            return sigma_pos, n_iterations + 1, NOISE
    return sigma_pos, max_iterations, MAX_ITERATIONS


@njit(cache=True, nogil=True, fastmath=VECTOR_MATH)
def _correct(residual, level, gain, correction):
    for k in range(residual.size):
        correction[k] = gain * residual[k] if residual[k] > level else ZERO


@njit(cache=True, nogil=True, fastmath=VECTOR_MATH)
def _convolve(correction, taps, added):
    """Add sum_j taps[j] correction[k + j]; `TAPS` terms in one line spare as many loads of the sum."""
    # Places are unsigned: numba asks of signed ones whether they count from the end.
    channels = uint64(added.size)
    for j in range(0, taps.size, TAPS):
        a, b, c, d, e, f, g, h, p, q, r = taps[j : j + TAPS]
        s = correction[j:]
        for channel in range(channels):
            k = uint64(channel)
            low = a * s[k] + b * s[k + ONE] + c * s[k + TWO] + d * s[k + THREE] + e * s[k + FOUR]
            high = f * s[k + FIVE] + g * s[k + SIX] + h * s[k + SEVEN]
            added[k] += low + (high + p * s[k + EIGHT] + q * s[k + NINE] + r * s[k + TEN])


@njit(cache=True, nogil=True, fastmath=VECTOR_MATH)
def _subtract(exact, added, inverse, residual):
    """Take the correction off R, which is kept in float64 lest hundreds of roundings add up."""
    for k in range(residual.size):
        exact[k] -= added[k] * inverse[k]
        residual[k] = exact[k]


@njit(cache=True, nogil=True, fastmath=VECTOR_MATH)
def _measure(residual, top):
    """R_max (if it is not positive: some value that is not) and sigma_pos."""
    n_positive = 0
    squares = ZERO
    for k in range(residual.size):
        positive = max(residual[k], ZERO)
        squares += positive * positive
        n_positive += residual[k] > ZERO
    sigma_pos = np.sqrt(squares / np.float32(n_positive)) if n_positive > 0 else ZERO
    return (_highest(residual) if top.size == 1 else _ranked(residual, top)), sigma_pos


@njit(cache=True, nogil=True)
def _highest(residual):
    """The highest value if it is positive; else some value that is not.

    Positive floats sort as the integers of the same bits do, and the highest of integers is found with
    vector instructions. Negative floats are negative as integers too.
    """
    bits = residual.view(np.int32)
    highest = np.empty(1, np.int32)
    largest = bits[0]
    for k in range(bits.size):
        largest = max(largest, bits[k])
    highest[0] = largest
    return highest.view(np.float32)[0]


@njit(cache=True, nogil=True)
def _ranked(residual, top):
    """The value of rank ``top.size``; the highest where there are fewer."""
    n_top = 0
    for k in range(residual.size):
        if residual[k] > -np.inf:
            n_top = keep_top(top, n_top, residual[k])
    return top[n_top - 1] if n_top == top.size else top[0]
