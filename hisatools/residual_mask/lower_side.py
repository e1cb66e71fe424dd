"""The Gaussian of the noise, from the side of a histogram that emission in excess does not reach.

Nothing here has a unit: the scale of the histogram is measured from the values.
"""

import numpy as np
from scipy.ndimage import gaussian_filter1d

from hisatools.errors import InputError

__all__ = ["MIN_VALUES", "lower_side_gaussian"]

MIN_VALUES = 10
# Probability below -1 sigma.
BELOW_ONE_SIGMA = 0.15865525393145707
REACH_SIGMA = 6.0
BINS_PER_SIGMA = 40
# Deviations beyond this many sigma on the lower side are faults, not noise; the rms of what remains is
# corrected for the part of a Gaussian that lies there.
CLIP_SIGMA = 4.0
CLIPPED_RMS = 0.999465
N_ROUNDS = 4


def lower_side_gaussian(values):
    """Mode, and standard deviation of the values below it mirrored about it.

    The mode is that of a kernel density estimate with a Gaussian kernel of ``sigma * n**(-1/7)``, the rate
    that is best for a mode; sigma is that of the mirrored values, so that a tail to high values widens
    neither kernel nor Gaussian. Both are found in a few rounds from the median and the 16th percentile.

    Parameters
    ----------
    values : `~numpy.ndarray`, shape (n,)
        Finite, ``n`` at least `MIN_VALUES`.

    Returns
    -------
    mode, sigma : float
        In the unit of the values.

    Raises
    ------
    InputError
        If there are too few values, or they do not scatter.

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools.residual_mask.lower_side import lower_side_gaussian
    >>> rng = np.random.default_rng(6200)
    >>> noise = rng.normal(5, 2, 40_000)
    >>> noise[:8000] += rng.exponential(20, 8000)
    >>> mode, sigma = lower_side_gaussian(noise)
    >>> bool(abs(mode - 5) < 0.2 and abs(sigma - 2) < 0.2)
    True
    """
    if values.size < MIN_VALUES:
        raise InputError(
            f"{values.size} unmasked pixels are too few for a histogram, {MIN_VALUES} are needed; mask fewer "
            "pixels, or give a larger map"
        )
    low, mode = np.quantile(values, [BELOW_ONE_SIGMA, 0.5])
    sigma = mode - low
    for _ in range(N_ROUNDS):
        if not sigma > 0:
            raise InputError(
                f"the residuals of {values.size} pixels do not scatter about {mode:.4g}, so that nothing can "
                "stand out of the noise; is the map quantised, or the model subtracted from itself?"
            )
        mode = _kernel_mode(values, mode, sigma)
        sigma = _mirrored_rms(values, mode, sigma)
    return float(mode), float(sigma)


def _kernel_mode(values, centre, sigma):
    """Highest point of the kernel density estimate within a few sigma of ``centre``."""
    n_bins = int(2 * REACH_SIGMA * BINS_PER_SIGMA)
    low = centre - REACH_SIGMA * sigma
    counts, _ = np.histogram(values, bins=n_bins, range=(low, low + 2 * REACH_SIGMA * sigma))
    density = gaussian_filter1d(
        counts.astype(float), BINS_PER_SIGMA * values.size ** (-1 / 7), mode="constant"
    )
    top = int(np.argmax(density))
    # The crest of a parabola through the highest bin and its neighbours: finer than the bins.
    shift = 0.0
    if 0 < top < n_bins - 1:
        before, here, after = density[top - 1 : top + 2]
        curvature = before - 2 * here + after
        shift = 0.5 * (before - after) / curvature if curvature < 0 else 0.0
    return low + (top + 0.5 + shift) * sigma / BINS_PER_SIGMA


def _mirrored_rms(values, mode, sigma):
    """Rms of the values below the mode, about it, without faults far below."""
    below = mode - values[values < mode]
    if not below.size:
        return 0.0
    # Rounds from far outside inwards: a first sigma that is too small would keep the cut too tight.
    scale = max(sigma, 1.4826 * np.median(below))
    for _ in range(N_ROUNDS):
        kept = below[below <= CLIP_SIGMA * scale]
        scale = np.sqrt(np.mean(kept**2)) / CLIPPED_RMS if kept.size else 0.0
    return scale
