"""Box means and beams on channel maps; sums in a fixed order, so that blocks change no bit."""

import numpy as np
from astropy.stats import gaussian_fwhm_to_sigma
from numba import njit

# The beam is cut off here.
JOIN_REACH_SIGMA = 4


def odd_pixels(size_pix):
    """The odd whole number nearest to ``size_pix``, at least 1."""
    return 2 * int(max(size_pix - 1, 0) / 2 + 0.5) + 1


def box_mean(image, box_pix):
    """Mean over a square box; blank pixels and what lies beyond the borders are left out.

    Parameters
    ----------
    image : `~numpy.ndarray`, shape (n_y, n_x)
        NaN is blank.
    box_pix : int
        Odd side of the box; 1 returns a copy.

    Returns
    -------
    `~numpy.ndarray` of float32, same shape
        NaN where ``image`` is blank.
    """
    return _box_mean(np.ascontiguousarray(image, np.float32), box_pix // 2)


@njit(cache=True, nogil=True)
def _box_mean(image, half):
    n_y, n_x = image.shape
    # Sums along x of the rows that the box reaches from where it stands, and no others: they stay in cache.
    depth = 2 * half + 1
    sums, counts = np.empty((depth, n_x)), np.empty((depth, n_x), np.float32)
    values, finite = np.zeros(n_x + 2 * half), np.zeros(n_x + 2 * half, np.float32)
    total, number = np.empty(n_x), np.empty(n_x, np.float32)
    mean = np.empty((n_y, n_x), np.float32)
    n_summed = 0
    for y in range(n_y):
        while n_summed < min(y + half + 1, n_y):
            _split(image[n_summed], values[half:], finite[half:])
            place = n_summed % depth
            sums[place] = 0
            counts[place] = 0
            for shift in range(depth):
                _add(sums[place], values[shift:])
                _add(counts[place], finite[shift:])
            n_summed += 1
        total[:] = 0
        number[:] = 0
        for other in range(max(y - half, 0), n_summed):
            _add(total, sums[other % depth])
            _add(number, counts[other % depth])
        _divide(image[y], total, number, mean[y])
    return mean


@njit(cache=True, nogil=True)
def _split(row, values, finite):
    """A row with zeros for what is blank, and a row of ones and zeros."""
    for x in range(row.size):
        blank = np.isnan(row[x])
        values[x] = 0.0 if blank else row[x]
        finite[x] = np.float32(0) if blank else np.float32(1)


@njit(cache=True, nogil=True)
def _add(total, row):
    """Add the beginning of a row; one that the compiler turns into vector instructions."""
    for x in range(total.size):
        total[x] += row[x]


@njit(cache=True, nogil=True)
def _divide(row, total, number, mean):
    for x in range(row.size):
        mean[x] = np.float32(np.nan) if np.isnan(row[x]) else total[x] / number[x]


def join_reach(fwhm_pix):
    """How many pixels away `join_flecks` with a beam of this FWHM carries an amplitude."""
    return int(JOIN_REACH_SIGMA * fwhm_pix * gaussian_fwhm_to_sigma + 0.5) if fwhm_pix >= 1 else 0


def join_flecks(amplitude_kelvin, fwhm_pix):
    """Smooth a map of amplitudes with a beam, zeros beyond the borders (sections 2.2 and 2.3).

    Parameters
    ----------
    amplitude_kelvin : `~numpy.ndarray` of float32, shape (n_y, n_x)
        0 where nothing is suspected; no NaN.
    fwhm_pix : float
        FWHM of the beam; below a pixel nothing is done.
    """
    if fwhm_pix < 1:
        return amplitude_kelvin
    reach = join_reach(fwhm_pix)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / (fwhm_pix * gaussian_fwhm_to_sigma)) ** 2)
    return _join(np.ascontiguousarray(amplitude_kelvin), (kernel / kernel.sum()).astype(np.float32))


@njit(cache=True, nogil=True)
def _join(amplitude, kernel):
    """Along x only from where there is something, which is in few places; then along y."""
    n_y, n_x = amplitude.shape
    half = kernel.size // 2
    spread = np.zeros((n_y, n_x + 2 * half), np.float32)
    occupied = np.zeros(n_y, np.bool_)
    for y in range(n_y):
        for x in range(n_x):
            if amplitude[y, x] != 0:
                occupied[y] = True
                _add_scaled(spread[y, x : x + kernel.size], kernel, amplitude[y, x])
    joined = np.zeros((n_y, n_x), np.float32)
    for y in range(n_y):
        for other in range(max(y - half, 0), min(y + half + 1, n_y)):
            if occupied[other]:
                _add_scaled(joined[y], spread[other, half : half + n_x], kernel[other - y + half])
    return joined


@njit(cache=True, nogil=True)
def _add_scaled(total, row, factor):
    for x in range(total.size):
        total[x] += factor * row[x]
