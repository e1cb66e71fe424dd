"""How many independent values tell a noise, and what is said where they are few.

The rms of n independent values is uncertain by 1 / sqrt(2 n). Values that are correlated by rho count as
the sum of rho squared fewer, since their squares are correlated by rho squared.
"""

import warnings

import numpy as np
from astropy.stats import gaussian_fwhm_to_sigma

from hisatools.errors import HISAWarning
from hisatools.noise.correlation import DIFFERENCE_LAG, DIFFERENCE_WEIGHTS

# Beyond it the user is told.
LARGEST_UNCERTAINTY = 0.2
# Lags over which correlations are summed; no noise is correlated over so many.
FARTHEST = 64


def profile_correlation(line_chan):
    """Channels that count as one value, for noise correlated over a Gaussian profile; at least 1."""
    return float(np.sum(_rho(np.arange(-FARTHEST, FARTHEST + 1), line_chan) ** 2))


def difference_correlation(line_chan):
    """Third differences that count as one value: 2.3 for white noise, since neighbours share channels."""
    products = np.convolve(DIFFERENCE_WEIGHTS, DIFFERENCE_WEIGHTS[::-1])
    apart = np.arange(-FARTHEST, FARTHEST + 1)
    covariance = sum(
        product * _rho(apart + DIFFERENCE_LAG * step, line_chan)
        for step, product in enumerate(products, start=-(len(products) // 2))
    )
    return float(np.sum((covariance / covariance[FARTHEST]) ** 2))


def _rho(offset, fwhm):
    if fwhm <= 0:
        return (offset == 0).astype(float)
    return np.exp(-2 * np.log(2) * (offset / fwhm) ** 2)


def box_values(sides, beam_pix):
    """Independent values in a box on the sky of these sides in pixels, at least 1."""
    length = profile_correlation(beam_pix)
    return float(np.prod([max(side / length, 1.0) for side in sides]))


def gathered_values(count, fwhm_pix, beam_pix, channels_per_value):
    """Independent values that tell the noise of a typical sight line.

    Parameters
    ----------
    count : `~numpy.ndarray` of int, shape (n_y, n_x)
        Usable channels of each sight line.
    fwhm_pix : float
        FWHM of the Gaussian on the sky over which squares are gathered; infinite for the whole sky.
    beam_pix : float
        FWHM of the beam over which the noise is correlated.
    channels_per_value : float
        See `profile_correlation` and `difference_correlation`.
    """
    used = count > 0
    if not used.any():
        return 0.0
    # A Gaussian averages as well as a box of this side does.
    side = max(2 * np.sqrt(np.pi) * gaussian_fwhm_to_sigma * fwhm_pix, 1.0)
    on_sky = box_values([min(side, n) for n in count.shape], beam_pix)
    on_sky = min(on_sky, max(used.sum() / profile_correlation(beam_pix) ** 2, 1.0))
    return on_sky * max(float(np.median(count[used])) / channels_per_value, 1.0)


def warn_if_few(n_values, source_name, *, scatter=1.0, note=""):
    """Say how uncertain a noise is that rests on few independent values.

    Parameters
    ----------
    n_values : float
    source_name : str
    scatter : float
        Uncertainty of the estimate in units of that of the rms.
    note : str
        What else there is to say, after the percentage.
    """
    uncertainty = 1 / np.sqrt(2 * max(n_values, 1.0))
    if scatter * uncertainty <= LARGEST_UNCERTAINTY:
        return
    warnings.warn(
        f"{source_name}: the noise of a sight line rests on about {n_values:.0f} independent values and is "
        f"uncertain by {100 * scatter * uncertainty:.0f} %{note}; give a cube with more channels or "
        "pixels, or take it as a rough value",
        HISAWarning,
        stacklevel=4,
    )


def warn_of_white(source_name, n_channels, n_needed):
    """Say that the correlation of channels is taken as none, because they are too few to measure it."""
    warnings.warn(
        f"{source_name}: {n_channels} channels on a sky of less than five beams are too few to measure how "
        f"the noise of neighbouring channels is correlated ({n_needed} are needed): it is taken as white. "
        "Noise correlated over 1.6 channels, as in the CGPS, comes out 9 % low",
        HISAWarning,
        stacklevel=5,
    )
