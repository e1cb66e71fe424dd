"""Spatial filters for templates: Gaussian smoothing, a low pass, and rebinning that keeps totals.

All work on the last two axes, a flat sky, and see blank pixels as missing, not as zero.
"""

import numpy as np
from astropy.stats import gaussian_fwhm_to_sigma
from scipy.fft import dctn, idctn

# Beyond it the smoothing Gaussian is cut off.
REACH_SIGMA = 5
# Blank pixels are filled by repeated low passes, this often at most and to this share of the scatter.
FILL_ROUNDS = 200
FILL_TOLERANCE = 1e-4
# Below this weight no known pixel is near enough to say anything.
LEAST_WEIGHT = 1e-6


def gaussian_weights(size, fwhm_pix):
    """Gaussian weights between all pairs of pixels along an axis, shape (size, size)."""
    offset = np.subtract.outer(np.arange(size), np.arange(size))
    if fwhm_pix <= 0:
        return (offset == 0).astype(float)
    offset = offset / (fwhm_pix * gaussian_fwhm_to_sigma)
    return np.where(np.abs(offset) <= REACH_SIGMA, np.exp(-0.5 * offset**2), 0)


def smooth(maps, fwhm_pix):
    """Gaussian mean about each pixel over the known pixels.

    Parameters
    ----------
    maps : `~numpy.ndarray`, shape (..., n_y, n_x)
        NaN is blank.
    fwhm_pix : float

    Returns
    -------
    `~numpy.ndarray`, same shape
        Blank pixels are filled from their neighbours; NaN where none is within five sigma.
    """
    known = np.isfinite(maps)
    along_y, along_x = (gaussian_weights(size, fwhm_pix) for size in maps.shape[-2:])
    weight = along_y @ known.astype(float) @ along_x
    total = along_y @ np.where(known, maps, 0.0) @ along_x
    return np.where(weight > LEAST_WEIGHT, total / np.maximum(weight, LEAST_WEIGHT), np.nan)


def low_pass(maps, shortest_pix):
    """Leave out of maps all waves shorter than a wavelength.

    The waves are those of the cosine transform: the Fourier waves of a map that is mirrored at its
    borders, so that nothing wraps round. Blank pixels start at the mean and take the filtered value
    again and again until that changes no more, which fits the long waves to the known pixels.

    Parameters
    ----------
    maps : `~numpy.ndarray`, shape (..., n_y, n_x)
        NaN is blank.
    shortest_pix : float
        The shortest wavelength that is kept.

    Returns
    -------
    `~numpy.ndarray`, same shape
        Blank pixels are filled; NaN where a whole map is blank.
    """
    maps = np.asarray(maps, float)
    flat = maps.reshape(-1, *maps.shape[-2:])
    # Wave k of n pixels has a length of 2 n / k.
    waves = np.hypot(*np.ix_(*(np.arange(n) / (2 * n) for n in maps.shape[-2:])))
    kept = waves <= (1 + 1e-9) / shortest_pix
    return np.array([_low_pass_map(image, kept) for image in flat]).reshape(maps.shape)


def _low_pass_map(image, kept):
    known = np.isfinite(image)
    if not known.any():
        return image.copy()
    scatter = image[known].std()
    filled = np.where(known, image, image[known].mean())
    for _ in range(1 if known.all() else FILL_ROUNDS):
        passed = idctn(dctn(filled, norm="ortho") * kept, norm="ortho")
        change = np.max(np.abs(passed - filled)[~known], initial=0.0)
        filled[~known] = passed[~known]
        if change <= FILL_TOLERANCE * scatter:
            break
    return passed


def filter_counts(counts, apply):
    """A filtered map of counts: not negative, and each map keeps its total.

    Parameters
    ----------
    counts : `~numpy.ndarray`, shape (..., n_y, n_x)
        NaN is blank, and stays so.
    apply : callable
        The filter; it sees the NaN.
    """
    return _with_totals(np.maximum(apply(counts), 0), counts)


def rebinned_filter(counts, n_joined, apply):
    """Filter sums of neighbouring bins and give each bin the pattern of its group.

    Few counts make a poor pattern: bins along the axis before the sky are joined, filtered, and parted
    again, each fine bin with the total it had. A cell that is blank in some bins of a group counts with
    its share of the others.

    Parameters
    ----------
    counts : `~numpy.ndarray`, shape (..., n_bins, n_y, n_x)
        NaN is blank, and stays so.
    n_joined : int
        Bins in a group; the last group may be smaller.
    apply : callable
        The filter; it sees NaN where a cell is blank in all bins of a group.

    Returns
    -------
    `~numpy.ndarray`, same shape
    """
    starts = np.arange(0, counts.shape[-3], n_joined)
    known = np.isfinite(counts)
    totals = np.nansum(counts, axis=(-2, -1), keepdims=True)
    summed, told, whole = (
        np.add.reduceat(each, starts, axis=-3)
        for each in (np.where(known, counts, 0), known * totals, totals)
    )
    some = np.logical_or.reduceat(known, starts, axis=-3)
    joined = np.where(some, summed * _ratio(np.broadcast_to(whole, told.shape), told), np.nan)
    pattern = np.maximum(apply(joined), 0)
    group = np.arange(counts.shape[-3]) // n_joined
    return _with_totals(pattern[..., group, :, :], counts)


def _with_totals(pattern, counts):
    """A pattern in the known cells, scaled to the total of each map of counts."""
    known = np.isfinite(counts)
    # Outside the known cells nothing may be left of the total.
    pattern = np.where(known, pattern, 0)
    totals = np.nansum(counts, axis=(-2, -1))
    return np.where(known, pattern * _ratio(totals, pattern.sum(axis=(-2, -1)))[..., None, None], np.nan)


def _ratio(upper, lower):
    return np.divide(upper, lower, out=np.zeros(np.shape(upper)), where=np.asarray(lower) > 0)
