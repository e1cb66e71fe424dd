"""Third differences of channels, and what they tell of the noise's correlation between channels."""

import numpy as np

from hisatools.noise.correlation import DIFFERENCE_LAG, DIFFERENCE_WEIGHTS

MIN_CHANNELS = 8
# Fewer tell nothing of the correlation by their differences alone.
MIN_CORRELATION_CHANNELS = 4 * MIN_CHANNELS
LARGEST_LINE_CHAN = 6.0
MANY_SIGHT_LINES = 256
# Enough to measure one number for the whole cube.
MAX_VOXELS = 2_000_000
# In median deviations, 4.7 sigma: beyond is no noise.
OUTER_DEVIATION = 7.0


def third_difference(kelvin, lag):
    """Differences of the channels that know no parabola, shape (n_v - 3 lag, ...); empty if too short."""
    n = max(len(kelvin) - 3 * lag, 0)
    return sum(weight * kelvin[step * lag :][:n] for step, weight in enumerate(DIFFERENCE_WEIGHTS))


def difference_variance(lag, line_chan):
    """Variance of third differences of unit noise that is correlated over a Gaussian line profile."""
    products = np.convolve(DIFFERENCE_WEIGHTS, DIFFERENCE_WEIGHTS[::-1])
    offset = lag * np.arange(-3, 4)
    line_chan = np.asarray(line_chan, float)[..., None]
    with np.errstate(divide="ignore", invalid="ignore"):
        rho = np.where(offset == 0, 1.0, np.exp(-2 * np.log(2) * (offset / line_chan) ** 2))
    return rho @ products


def difference_line_chan(kelvin, *, lag=None):
    """Width in channels over which the noise is correlated, from differences at two lags.

    The ratio of the scatter of third differences at a short lag to that at lag 3 falls as the correlation
    grows.

    Parameters
    ----------
    kelvin : `~numpy.ndarray`, shape (n_v, n_y, n_x), K
        NaN is left out.
    lag : int, optional
        The short lag. By default that of `difference_rms`, for which the answer hangs least on the shape
        of the profile; a few spectra are too uncertain for it, and tell more at lag 1.

    Returns
    -------
    float
        FWHM of the Gaussian line profile; 0 for white noise, or where it cannot be told.
    """
    if len(kelvin) < MIN_CORRELATION_CHANNELS:
        return 0.0
    if lag is None:
        lag = DIFFERENCE_LAG if kelvin[0].size >= MANY_SIGHT_LINES else 1
    step = max(int(np.ceil(np.sqrt(kelvin.size / MAX_VOXELS))), 1)
    thinned = kelvin[:, ::step, ::step]
    near, far = (_mean_square(third_difference(thinned, one)) for one in (lag, 3))
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = near / far
    trial = np.linspace(0, LARGEST_LINE_CHAN, 121)
    expected = difference_variance(lag, trial) / difference_variance(3, trial)
    if not np.isfinite(ratio):
        return 0.0
    return float(np.interp(-ratio, -expected, trial))


def _mean_square(values):
    """Mean square of what is within a few times the median deviation; noise of several sigma counts right."""
    square = np.square(values[np.isfinite(values)])
    if square.size == 0:
        return np.float64(np.nan)
    return square[square <= OUTER_DEVIATION**2 * np.median(square)].mean(dtype=float)
