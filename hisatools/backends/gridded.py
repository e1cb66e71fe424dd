"""Gaussian convolution on a coarse grid, between two local interpolations; compiled.

A wide Gaussian hardly changes over a quarter of its width. Each pixel is spread over the nearest
nodes of a grid that is coarser by such a step, the nodes are convolved, and the result is
interpolated back with the same weights. They are those with which the Gaussians at the nodes best
imitate, in the sense of least squares, a Gaussian that lies between them: eight along each axis
leave an error below float32.
"""

from collections import deque

import numpy as np
from astropy.stats import gaussian_fwhm_to_sigma
from numba import njit

from hisatools.backends.protocols import check_shapes

# The sum over them is written out in `_interpolate_rows`.
N_TAPS = 8
STEPS_PER_SIGMA = 4
REACH_SIGMA = 6
TILE = 1024
# Written out in `_spread_rows`.
ROWS_TOGETHER = 4


class GriddedConvolution:
    """Convolution with a circular Gaussian through a coarse grid."""

    package = "numba"
    tolerance = 2e-6
    cost = 0.3

    def gaussian(self, shape, fwhm_pix):
        """See `~hisatools.backends.protocols.ConvolutionBackend.gaussian`."""
        sigma_pix = fwhm_pix * gaussian_fwhm_to_sigma
        step = max(int(sigma_pix / STEPS_PER_SIGMA), 1)
        weights = _tap_weights(step, sigma_pix).astype(np.float32)
        kernel = _node_kernel(step, sigma_pix).astype(np.float32)
        # Arrays to work in, as many as there are calls at a time: new ones would cost as much as the sums.
        idle = deque()

        def convolve(image, out=None):
            out = np.empty(shape, np.float32) if out is None else out
            check_shapes(shape, image, out)
            try:
                rows = idle.pop()
            except IndexError:
                rows = np.empty((_n_nodes(shape[0], step), shape[1]), np.float32)
            _convolve_map(np.ascontiguousarray(image, np.float32), weights, kernel, rows, out)
            idle.append(rows)
            return out

        return convolve


def _tap_weights(step, sigma_pix):
    """Weights of the `N_TAPS` nodes about each of ``step`` pixels, shape (step, N_TAPS)."""
    nodes = (np.arange(N_TAPS) - N_TAPS // 2 + 1) * step
    pixels = np.arange(step)
    reach = REACH_SIGMA * sigma_pix + N_TAPS * step
    at = np.linspace(-reach, reach, 1 + 16 * N_TAPS)

    def gaussians(centres):
        return np.exp(-0.5 * (np.subtract.outer(at, centres) / sigma_pix) ** 2)

    return np.linalg.lstsq(gaussians(nodes), gaussians(pixels), rcond=None)[0].T


def _node_kernel(step, sigma_pix):
    """The Gaussian between nodes up to `REACH_SIGMA`, with unit sum over all pixels."""
    reach = int(np.ceil(REACH_SIGMA * sigma_pix / step))
    everywhere = np.arange(-reach * step, reach * step + 1) / sigma_pix
    nodes = np.arange(-reach, reach + 1) * step / sigma_pix
    return np.exp(-0.5 * nodes**2) / np.exp(-0.5 * everywhere**2).sum()


@njit(cache=True, nogil=True, fastmath={"contract", "reassoc"})
def _convolve_map(image, weights, kernel, rows, out):
    rows[:] = 0
    _spread_rows(image, weights, rows)
    nodes = np.zeros((len(rows), _n_nodes(image.shape[1], len(weights))), np.float32)
    for j in range(len(rows)):
        _spread_row(rows[j], weights, nodes[j])
    nodes = _convolve_rows(np.ascontiguousarray(_convolve_rows(nodes, kernel).T), kernel).T
    for j in range(len(rows)):
        _interpolate_row(np.ascontiguousarray(nodes[j]), weights, rows[j])
    _interpolate_rows(rows, weights, out)


@njit(cache=True, nogil=True)
def _n_nodes(n, step):
    return -(-n // step) + N_TAPS - 1


@njit(cache=True, nogil=True, fastmath={"contract", "reassoc"})
def _spread_rows(image, weights, rows):
    """From pixels to nodes along y, `ROWS_TOGETHER` rows between the same nodes in one line.

    Tiles of zeros, most of a correction map, are passed over.
    """
    n_y, n_x = image.shape
    step = len(weights)
    padded = np.zeros((step + ROWS_TOGETHER, N_TAPS), np.float32)
    padded[:step] = weights
    for start in range(0, n_y, step):
        stop = min(start + step, n_y)
        for y in range(start, stop, ROWS_TOGETHER):
            # Beyond the last row a weight of 0 makes good that it is read again.
            factors = padded[y - start : y - start + ROWS_TOGETHER].copy()
            factors[stop - y :] = 0
            for first in range(0, n_x, TILE):
                a = image[y, first : first + TILE]
                b = image[min(y + 1, stop - 1), first : first + TILE]
                c = image[min(y + 2, stop - 1), first : first + TILE]
                d = image[min(y + 3, stop - 1), first : first + TILE]
                if not (_any(a) or _any(b) or _any(c) or _any(d)):
                    continue
                for tap in range(N_TAPS):
                    p, q, r, s = factors[:, tap]
                    row = rows[start // step + tap, first : first + TILE]
                    for x in range(row.size):
                        row[x] += p * a[x] + q * b[x] + r * c[x] + s * d[x]


@njit(cache=True, nogil=True)
def _any(values):
    found = 0
    for x in range(values.size):
        found |= values[x] != 0
    return found != 0


@njit(cache=True, nogil=True, fastmath={"contract", "reassoc"})
def _spread_row(row, weights, nodes):
    """From pixels to nodes along x."""
    step = len(weights)
    picked = np.empty(-(-row.size // step), np.float32)
    for phase in range(step):
        n = 0
        for x in range(phase, row.size, step):
            picked[n] = row[x]
            n += 1
        for tap in range(N_TAPS):
            weight = weights[phase, tap]
            target = nodes[tap : tap + n]
            for i in range(n):
                target[i] += weight * picked[i]


@njit(cache=True, nogil=True, fastmath={"contract", "reassoc"})
def _convolve_rows(nodes, kernel):
    """Each row convolved with the kernel, zeros beyond its ends."""
    half = kernel.size // 2
    n = nodes.shape[1]
    out = np.zeros(nodes.shape, np.float32)
    for j in range(nodes.shape[0]):
        for shift in range(-min(half, n - 1), min(half, n - 1) + 1):
            weight = kernel[shift + half]
            first = max(-shift, 0)
            source = nodes[j, first : n - max(shift, 0)]
            target = out[j, first + shift : first + shift + source.size]
            for i in range(source.size):
                target[i] += weight * source[i]
    return out


@njit(cache=True, nogil=True, fastmath={"contract", "reassoc"})
def _interpolate_row(nodes, weights, row):
    """From nodes to pixels along x."""
    step = len(weights)
    picked = np.empty(-(-row.size // step), np.float32)
    for phase in range(step):
        n = (row.size - phase + step - 1) // step
        picked[:] = 0
        for tap in range(N_TAPS):
            weight = weights[phase, tap]
            source = nodes[tap : tap + n]
            for i in range(n):
                picked[i] += weight * source[i]
        for i in range(n):
            row[phase + i * step] = picked[i]


@njit(cache=True, nogil=True, fastmath={"contract", "reassoc"})
def _interpolate_rows(rows, weights, out):
    """From nodes to pixels along y; the sum over the `N_TAPS` nodes stands in one line to be vectorised."""
    step = len(weights)
    for y in range(out.shape[0]):
        node = y // step
        a, b, c, d, e, f, g, h = weights[y % step]
        row = out[y]
        r0, r1, r2, r3 = rows[node], rows[node + 1], rows[node + 2], rows[node + 3]
        r4, r5, r6, r7 = rows[node + 4], rows[node + 5], rows[node + 6], rows[node + 7]
        for x in range(row.size):
            near = d * r3[x] + e * r4[x] + c * r2[x] + f * r5[x]
            row[x] = near + (b * r1[x] + g * r6[x] + a * r0[x] + h * r7[x])
