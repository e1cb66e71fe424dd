"""Lines of a spectrum: the one nearest to a velocity, how bright and how wide it is."""

from dataclasses import dataclass

import numpy as np
from astropy.stats import sigma_clip, sigma_clipped_stats
from scipy.ndimage import binary_dilation
from scipy.signal import find_peaks

__all__ = ["Line", "nearest_line", "spectrum_noise"]

# Fewer differences do not show the noise.
LEAST_DIFFERENCES = 8
# In channels, how far apart they are compared; a spectrum is as long as so many of the longest.
SHORTEST_LAG, LONGEST_LAG = 2, 10
CHANNELS_PER_LAG = 8
# Of the largest noise that any lag shows: from here on it no longer grows.
FULL_GROWTH = 0.95
# So many spectra show it.
ROWS_FOR_LAG = 200
# Channels on each side of what stands out, for the wings of lines.
BESIDE_LINE = 2


@dataclass(frozen=True)
class Line:
    """A line of a spectrum.

    Parameters
    ----------
    velocity, brightness : float, km/s and K
        Of its peak.
    linewidth : float, km/s
        FWHM; NaN where the spectrum does not fall to half of the peak on both sides of it before it is blank,
        ends, or rises above the peak.
    """

    velocity: float = np.nan
    brightness: float = np.nan
    linewidth: float = np.nan


def spectrum_noise(kelvin):
    """Noise of each spectrum, from how far channels lie beside the mean of one before and one after them.

    Those are so far off that the noise is no longer correlated: neighbours often are, and where channels
    are finer than the resolution those beyond them, too, so that the differences of near channels come out
    too small (Stoehr et al. 2008, ASP Conference Series 394, 505). The distance is the shortest at which the
    differences are about as large as they become, the same for all spectra. What stands out by 3 sigma, as
    lines do, is left out with the channels beside it.

    Parameters
    ----------
    kelvin : `~numpy.ndarray`, shape (n_rows, n_v)

    Returns
    -------
    `~numpy.ndarray`, shape (n_rows,)
        1 sigma; NaN where there are fewer than eight differences, or they are 0: a spectrum that was masked
        to 0 outside its lines shows no noise.
    """
    quiet = _without_lines(kelvin)
    every = max(len(kelvin) // ROWS_FOR_LAG, 1)
    noise = _noise_at(kelvin, quiet, _full_lag(kelvin[::every], quiet[::every]))
    return np.where(noise > 0, noise, np.nan)


def _full_lag(kelvin, quiet):
    """The least number of channels apart at which the noise is as large as farther apart."""
    longest = max(min(LONGEST_LAG, kelvin.shape[1] // CHANNELS_PER_LAG), SHORTEST_LAG)
    lags = range(SHORTEST_LAG, longest + 1)
    noise = np.array([_noise_at(kelvin, quiet, lag) for lag in lags])
    known = (noise > 0).all(axis=0)
    if not known.any():
        return SHORTEST_LAG
    typical = np.median(noise[:, known] / noise[:, known].max(axis=0), axis=1)
    return lags[int(np.argmax(typical >= FULL_GROWTH * typical.max()))]


def _without_lines(kelvin):
    """The spectra with channels masked that stand out, and those beside them."""
    known = np.ma.array(np.nan_to_num(kelvin), mask=~np.isfinite(kelvin))
    if known.mask.all():
        return known
    outside = np.ma.getmaskarray(sigma_clip(known, sigma=3, maxiters=None, stdfunc="mad_std", axis=1))
    outside &= np.isfinite(kelvin)
    beside = binary_dilation(outside, structure=np.ones((1, 2 * BESIDE_LINE + 1), bool))
    return np.ma.array(known, mask=np.ma.getmaskarray(known) | beside)


def _noise_at(kelvin, quiet, lag):
    """Noise of each spectrum from channels that lie so many apart."""
    noise = np.full(len(kelvin), np.nan)
    # Where lines are all over the spectrum they have to be taken along.
    for spectra in (quiet, np.ma.masked_invalid(kelvin)):
        differences = 2 * spectra[:, lag:-lag] - spectra[:, : -2 * lag] - spectra[:, 2 * lag :]
        wanted = np.isnan(noise) & (differences.count(axis=1) >= LEAST_DIFFERENCES)
        if wanted.any():
            *_, spread = sigma_clipped_stats(
                differences[wanted], sigma=3, maxiters=None, stdfunc="mad_std", axis=1
            )
            noise[wanted] = spread / np.sqrt(6)
    return noise


def nearest_line(velocity_kms, kelvin, at_kms, *, least_kelvin, least_rise_kelvin):
    """The line whose peak is nearest to a velocity.

    Parameters
    ----------
    velocity_kms, kelvin : `~numpy.ndarray`, shape (n_v,)
        In even steps, either way; NaN where blank.
    at_kms : float
    least_kelvin : float
        Fainter peaks are none.
    least_rise_kelvin : float
        How far a peak must rise above the valleys that part it from brighter ones.

    Returns
    -------
    `Line`
        All NaN if there is none.
    """
    known = np.isfinite(kelvin)
    if not known.any() or not np.isfinite(at_kms):
        return Line()
    filled = np.where(known, kelvin, kelvin[known].min())
    peaks, _ = find_peaks(filled, height=least_kelvin, prominence=least_rise_kelvin)
    peaks = peaks[(filled[peaks] > 0) & known[peaks]]
    if not peaks.size:
        return Line()
    tops = [_top(kelvin, peak) for peak in peaks]
    step = velocity_kms[1] - velocity_kms[0]
    velocities = np.array([velocity_kms[0] + place * step for place, _ in tops])
    n = int(np.argmin(np.abs(velocities - at_kms)))
    return Line(float(velocities[n]), float(tops[n][1]), _fwhm(kelvin, peaks[n]) * abs(step))


def _top(kelvin, peak):
    """Place, in channels, and height of the parabola through a peak and its neighbours."""
    before, top, after = kelvin[peak - 1 : peak + 2]
    bend = before - 2 * top + after
    if not bend < 0:  # flat, or a neighbour is blank
        return float(peak), top
    offset = 0.5 * (before - after) / bend
    return peak + offset, top - 0.25 * (before - after) * offset


def _fwhm(kelvin, peak):
    """FWHM in channels; NaN if the line does not fall to half on both sides."""
    half, reach = kelvin[peak] / 2, 0.0
    for side in (kelvin[peak:], kelvin[peak::-1]):
        (ends,) = np.nonzero(~(side > half))  # NaN ends a line, too
        if not ends.size or np.isnan(side[ends[0]]) or side[: ends[0]].max() > side[0]:
            return np.nan
        outer = ends[0]
        reach += outer - (half - side[outer]) / (side[outer - 1] - side[outer])
    return reach
