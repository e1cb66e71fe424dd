"""Backgrounds of trials: what a residual could look like without absorption; arrays only.

All are in units of the rms of the noise. Noise drawn anew has exactly the correlation that the matched
filters reckon with, in cubes of any size. The other two are made of the residual itself, so that they hold
what no model of the noise knows: emission that was not taken away, artefacts, scales beyond the beam.

A cube that is only flipped or shuffled still holds its own highest maximum, in half of the trials or in all
of them, and a trial would compare it with itself. So each trial is a sum of several copies, each made anew
and all over the root of their number: the copies keep variance and correlation, and no maximum of the
residual comes back higher than that root leaves of it.
"""

from functools import cache
from itertools import pairwise

import numpy as np
from scipy.linalg import convolution_matrix

from hisatools.noise.correlation import correlation_at
from hisatools.search.base import one_blas_thread

# A kernel that is cut off where it is below this share of its peak gives the correlation to 1e-5.
KERNEL_LIMIT = 1e-5
ROWS_PER_BLOCK = 32
VALUES_AT_A_TIME = 128


@cache
def noise_kernel(fwhm):
    """What white noise is convolved with so that its correlation is `correlation_at`, to the bit symmetric.

    A sampled Gaussian would do for wide beams; for profiles of about a channel it is some per cent off.

    Parameters
    ----------
    fwhm : float
        Of the beam or line profile that the noise is correlated over, in pixels or channels; 0 for none.

    Returns
    -------
    `~numpy.ndarray`, shape (2 r + 1,)
        Its squares add up to 1, so that the variance stays 1.
    """
    half = int(np.ceil(6 * fwhm)) + 32
    offset = np.fft.fftfreq(2 * half + 1, 1 / (2 * half + 1))
    power = np.fft.fft(correlation_at(offset, fwhm)).real
    kernel = np.fft.fftshift(np.fft.ifft(np.sqrt(np.maximum(power, 0))).real)
    kernel = (kernel + kernel[::-1]) / 2
    reach = np.max(np.abs(np.flatnonzero(np.abs(kernel) > KERNEL_LIMIT * kernel.max()) - half))
    kernel = kernel[half - reach : half + reach + 1]
    return kernel / np.sqrt(np.sum(kernel**2))


def draw_noise(shape, correlation, rng):
    """Normal noise of unit variance with the correlation of a cube's noise.

    It is drawn for more pixels and channels than are wanted, as far as the kernels reach: no border differs
    from the middle, and opposite borders know nothing of each other.

    Parameters
    ----------
    shape : tuple of int
        (n_v, n_y, n_x).
    correlation : `~hisatools.noise.NoiseCorrelation`
    rng : `~numpy.random.Generator`

    Returns
    -------
    `~numpy.ndarray` of float32, shape ``shape``
    """
    fwhm = (correlation.line_chan, correlation.beam_pix, correlation.beam_pix)
    # Along an axis of length 1 no correlation is to be seen.
    bands = [_band(one if n > 1 else 0.0, n) for one, n in zip(fwhm, shape, strict=True)]
    n_v, n_y, n_x = (n + _excess(band) for n, band in zip(shape, bands, strict=True))
    noise = np.empty((n_v, *shape[1:]), np.float32)
    # The number of threads of BLAS must not change a bit.
    with one_blas_thread():
        for channel in noise:
            white = rng.standard_normal((n_y, n_x), dtype=np.float32)
            channel[:] = _inner(_inner(white.T, bands[2]).T, bands[1])
        if n_v > shape[0]:
            # In place, some rows at a time: a cube may fill half of the memory.
            for first in range(0, shape[1], ROWS_PER_BLOCK):
                rows = noise[:, first : first + ROWS_PER_BLOCK]
                rows[: shape[0]] = _inner(rows.reshape(n_v, -1), bands[0]).reshape(-1, *rows.shape[1:])
    return noise[: shape[0]]


def _band(fwhm, n):
    """Matrix that convolves with a `noise_kernel`, for at most ``n`` values of the result."""
    return convolution_matrix(noise_kernel(fwhm), min(n, VALUES_AT_A_TIME)).T.astype(np.float32)


def _excess(band):
    """How many values are lost to a kernel's reach."""
    return band.shape[1] - band.shape[0]


def _inner(values, band):
    """Values convolved along their first axis, where all of the kernel lies on them.

    In parts, and as products with a matrix: for kernels of a few pixels no other way is as fast.
    """
    found = np.empty((len(values) - _excess(band), values.shape[1]), np.float32)
    for first in range(0, len(found), len(band)):
        part = found[first : first + len(band)]
        reach = len(part) + _excess(band)
        np.matmul(band[: len(part), :reach], values[first : first + reach], out=part)
    return found


def resample(standardised, block, n_copies, rng, *, flip):
    """A sum of copies of a cube, each divided into blocks that are turned about.

    Each copy has its own grid of blocks, shifted at random, so that the seams are everywhere alike.

    Parameters
    ----------
    standardised : `~numpy.ndarray` of float32, shape (n_v, n_y, n_x)
        In units of the rms of the noise; without blanks.
    block : tuple of int
        (v, y, x): largest sides of a block.
    n_copies : int
    rng : `~numpy.random.Generator`
    flip : bool
        True: blocks stay where they are, each turned about its centre and with a sign at random. False:
        blocks change places, each mirrored along each axis or not, and their signs stay.

    Returns
    -------
    `~numpy.ndarray` of float32, same shape
    """
    total = np.zeros_like(standardised)
    for _ in range(n_copies):
        if flip:
            _add_flipped(total, standardised, block, rng)
        else:
            _add_shuffled(total, standardised, block, rng)
    total /= np.float32(np.sqrt(n_copies))
    return total


def _add_flipped(total, values, block, rng):
    # Turned about in all axes, whose centre is another one in each copy: were blocks left as they are in
    # some copies, these would add up to more than the root of their number.
    places = _blocks(values.shape, [rng.integers(side) for side in block], block)
    for place, sign in zip(places, rng.choice(np.float32([-1, 1]), size=len(places)), strict=True):
        total[place] += sign * values[place][::-1, ::-1, ::-1]


def _add_shuffled(total, values, block, rng):
    # Blocks of one size, so that each fits into the place of each: what the grid leaves over at the ends
    # of an axis is taken from its other end.
    n_blocks = [-(-n // side) for n, side in zip(values.shape, block, strict=True)]
    sides = [-(-n // number) for n, number in zip(values.shape, n_blocks, strict=True)]
    shift = [int(rng.integers(n)) for n in values.shape]
    sources = _covering(values.shape, sides, shift)
    targets = _blocks(values.shape, [0, 0, 0], sides)
    order = rng.permutation(len(sources))
    mirrors = rng.integers(2, size=(len(sources), 3))
    for target, number, mirror in zip(targets, order, mirrors, strict=True):
        content = _mirrored(values[np.ix_(*sources[number])], mirror)
        there = total[target]
        there += content[tuple(slice(n) for n in there.shape)]


def _covering(shape, sides, shift):
    """Index arrays of blocks of equal sides that cover a cube that goes on at its other end."""
    along = [
        [(first + far + np.arange(side)) % n for first in range(0, n, side)]
        for n, side, far in zip(shape, sides, shift, strict=True)
    ]
    return [(v, y, x) for v in along[0] for y in along[1] for x in along[2]]


def _blocks(shape, first, sides):
    """Slices of blocks that cover a cube; the first ends at ``first`` along each axis."""
    along = []
    for n, start, side in zip(shape, first, sides, strict=True):
        edges = sorted({0, n, *range(int(start), n, side)})
        along.append([slice(low, high) for low, high in pairwise(edges)])
    return [(v, y, x) for v in along[0] for y in along[1] for x in along[2]]


def _mirrored(values, mirror):
    return values[tuple(slice(None, None, -1 if turned else 1) for turned in mirror)]
