"""One step of the CLEAN of a map in machine code.

The loops over a tile are written so that the compiler turns each into vector instructions: without
branches, and without NaN. A blank pixel is -inf in R: never the highest, never positive, and -inf
whatever is taken off. Each pixel is read once a step for R, the statistics and the highest together.
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
def measure_map(residual, weights, added, inverse, inverse_y, level, top):
    """Take the convolved correction off R in place, and measure R.

    Parameters
    ----------
    residual, weights, added : arrays of float32, shape (n_y, n_x)
        R, the weights of sigma_pos, and the convolved correction.
    inverse : array of float32, shape (n_y, n_x) or (1, n_x)
        One over the coverage but for the factor ``inverse_y`` of each row, shape (n_y,).
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
    for y in range(len(residual)):
        along_x = inverse[y % len(inverse)]
        for first in range(0, residual.shape[1], TILE):
            tile = residual[y, first : first + TILE]
            _subtract(tile, added[y, first : first + TILE], along_x[first : first + TILE], inverse_y[y])
            weight, square, above = _measure_tile(tile, weights[y, first : first + TILE], level)
            total += weight
            squares += square
            if above:
                n_top = _collect(tile, level, top, n_top)
    return n_top, np.sqrt(squares / total) if total > 0 else 0.0


@njit(cache=True, nogil=True, fastmath=VECTOR_MATH)
def _subtract(residual, added, inverse, factor):
    for x in range(residual.size):
        residual[x] -= added[x] * (inverse[x] * factor)


@njit(cache=True, nogil=True, fastmath=VECTOR_MATH)
def _measure_tile(residual, weights, level):
    """Sum of the weights and of the weighted squares where R > 0; whether any R is above the level."""
    total = ZERO
    squares = ZERO
    above = 0
    for x in range(residual.size):
        positive = max(residual[x], ZERO)
        squares += weights[x] * (positive * positive)
        total += weights[x] * np.float32(residual[x] > ZERO)
        above |= residual[x] > level
    return total, squares, above


@njit(cache=True, nogil=True)
def _collect(residual, level, top, n_top):
    for x in range(residual.size):
        if residual[x] > level:
            n_top = keep_top(top, n_top, residual[x])
    return n_top


@njit(cache=True, nogil=True)
def rank_map(residual, top):
    """Put the highest residuals of all into ``top``; returns how many there are."""
    n_top = 0
    for y in range(len(residual)):
        n_top = _collect(residual[y], np.float32(-np.inf), top, n_top)
    return n_top


@njit(cache=True, nogil=True, fastmath=VECTOR_MATH)
def correct_map(residual, level, gain, correction):
    """Correction map C: gain x R above the level, 0 elsewhere."""
    for y in range(len(residual)):
        r, c = residual[y], correction[y]
        for x in range(r.size):
            c[x] = gain * r[x] if r[x] > level else ZERO
