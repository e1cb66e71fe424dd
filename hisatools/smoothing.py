"""Box means and beams on channel maps; sums in a fixed order, so that blocks change no bit."""

import numpy as np
from astropy.stats import gaussian_fwhm_to_sigma
from numba import njit
from scipy.ndimage import gaussian_filter


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
    sums = np.zeros((n_y, n_x))
    counts = np.zeros((n_y, n_x), np.int32)
    for y in range(n_y):
        for x in range(n_x):
            for other in range(max(x - half, 0), min(x + half + 1, n_x)):
                if not np.isnan(image[y, other]):
                    sums[y, x] += image[y, other]
                    counts[y, x] += 1
    mean = np.empty((n_y, n_x), np.float32)
    for y in range(n_y):
        for x in range(n_x):
            total = 0.0
            n = 0
            for other in range(max(y - half, 0), min(y + half + 1, n_y)):
                total += sums[other, x]
                n += counts[other, x]
            mean[y, x] = np.nan if np.isnan(image[y, x]) else total / n
    return mean


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
    return gaussian_filter(amplitude_kelvin, fwhm_pix * gaussian_fwhm_to_sigma, mode="constant")
