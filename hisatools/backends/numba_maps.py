"""One step of the CLEAN of a map in machine code.

The loops over a tile are written so that the compiler turns each into vector instructions: without
branches, and without NaN. A blank pixel is -inf in S: its residual is never the highest and never
positive. Each pixel is read once a step for U, the statistics and the highest residuals together.
"""

import numpy as np
from numba import njit

# NaN does not occur, sums may be reordered; infinities do occur.
VECTOR_MATH = {"contract", "nnan", "nsz", "reassoc"}
ZERO = np.float32(0)
TILE = 256


@njit(cache=True, nogil=True)
def keep_top(top, n_top, value):
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
def measure_map(smoothed, weights, added, inverse, unabsorbed, level, top):
    """Add to U in place, and measure R = S - U.

    Parameters
    ----------
    smoothed, weights, added, inverse, unabsorbed : arrays of float32, shape (n_y, n_x)
        S, weights of sigma_pos, the convolved correction, one over the coverage, and U.
    level : float32
        Residuals above it are put into ``top``.
    top : array of float32
        Filled with the highest residuals above ``level``, highest first.

    Returns
    -------
    n_top, sigma_pos
        Number of entries of ``top`` that are filled, and the weighted rms of the positive residuals.
    """
    n_top = 0
    total = 0.0
    squares = 0.0
    n_y, n_x = smoothed.shape
    for y in range(n_y):
        for first in range(0, n_x, TILE):
            s, u = smoothed[y, first : first + TILE], unabsorbed[y, first : first + TILE]
            _add(u, added[y, first : first + TILE], inverse[y, first : first + TILE])
            weight, square, above = _measure_tile(s, u, weights[y, first : first + TILE], level)
            total += weight
            squares += square
            if above:
                n_top = _collect(s, u, level, top, n_top)
    return n_top, np.sqrt(squares / total) if total > 0 else 0.0


@njit(cache=True, nogil=True, fastmath=VECTOR_MATH)
def _add(unabsorbed, added, inverse):
    for x in range(unabsorbed.size):
        unabsorbed[x] += added[x] * inverse[x]


@njit(cache=True, nogil=True, fastmath=VECTOR_MATH)
def _measure_tile(smoothed, unabsorbed, weights, level):
    """Sum of the weights and of the weighted squares where R > 0; whether any R is above the level."""
    total = ZERO
    squares = ZERO
    above = 0
    for x in range(smoothed.size):
        residual = smoothed[x] - unabsorbed[x]
        positive = max(residual, ZERO)
        squares += weights[x] * (positive * positive)
        total += weights[x] * np.float32(residual > ZERO)
        above |= residual > level
    return total, squares, above


@njit(cache=True, nogil=True)
def _collect(smoothed, unabsorbed, level, top, n_top):
    for x in range(smoothed.size):
        residual = smoothed[x] - unabsorbed[x]
        if residual > level:
            n_top = keep_top(top, n_top, residual)
    return n_top


@njit(cache=True, nogil=True)
def rank_map(smoothed, unabsorbed, top):
    """Put the highest residuals of all into ``top``; returns how many there are."""
    n_top = 0
    for y in range(smoothed.shape[0]):
        n_top = _collect(smoothed[y], unabsorbed[y], np.float32(-np.inf), top, n_top)
    return n_top


@njit(cache=True, nogil=True, fastmath=VECTOR_MATH)
def correct_map(smoothed, unabsorbed, level, gain, correction):
    """Correction map C: gain x R above the level, 0 elsewhere."""
    for y in range(smoothed.shape[0]):
        s, u, c = smoothed[y], unabsorbed[y], correction[y]
        for x in range(s.size):
            residual = s[x] - u[x]
            c[x] = gain * residual if residual > level else ZERO
