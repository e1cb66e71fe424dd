"""A smooth estimate of the emission of a whole cube, for what lies outside features."""

import numpy as np
from astropy.stats import gaussian_fwhm_to_sigma
from scipy.ndimage import gaussian_filter

from hisatools.search.base import run_blocks


def smooth_background(blocks, n_channels, fwhm_pix, *, workers=1):
    """Smooth each channel map with a Gaussian of fourth order.

    The kernel is 2 G - G * G: unlike G it keeps slopes and curvature, so that emission some times larger
    than it comes out unchanged. It is normalised at borders and blanks.

    Parameters
    ----------
    blocks : callable
        From the number of a channel to its map (n_y, n_x) in K; NaN is blank.
    n_channels : int
    fwhm_pix : float
        FWHM of G.
    workers : int
        Number of threads; never changes the result.

    Returns
    -------
    `~numpy.ndarray` of float32, shape (n_v, n_y, n_x), K
        NaN where blank.
    """
    sigma_pix = fwhm_pix * gaussian_fwhm_to_sigma
    maps = run_blocks(lambda k: _fourth_order(blocks(k), sigma_pix), range(n_channels), workers=workers)
    return np.array(maps)


def _fourth_order(image, sigma_pix):
    once = _smooth(image, sigma_pix)
    return np.where(np.isnan(image), np.float32(np.nan), 2 * once - _smooth(once, sigma_pix))


def _smooth(image, sigma_pix):
    """Gaussian mean of what is not blank; NaN where blank."""
    known = np.isfinite(image)
    if not known.any():
        return image
    total = gaussian_filter(np.where(known, image, 0), sigma_pix, mode="constant", output=np.float32)
    number = gaussian_filter(known.astype(np.float32), sigma_pix, mode="constant")
    return np.where(known, total / np.maximum(number, np.finfo(np.float32).tiny), np.float32(np.nan))
