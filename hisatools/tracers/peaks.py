"""Lines of a spectrum: the one nearest to a velocity, how bright and how wide it is."""

from dataclasses import dataclass

import numpy as np
from astropy.stats import sigma_clipped_stats
from scipy.signal import find_peaks

__all__ = ["Line", "nearest_line", "spectrum_noise"]

# Fewer differences do not show the noise.
LEAST_DIFFERENCES = 8


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
    """Noise of each spectrum, from how far channels lie beside the mean of those two before and two after.

    That takes lines out that are wider, and makes no use of neighbours, which are often correlated (Stoehr
    et al. 2008, ASP Conference Series 394, 505). What stands out by 3 sigma, as narrow lines do, is left out.

    Parameters
    ----------
    kelvin : `~numpy.ndarray`, shape (n_rows, n_v)

    Returns
    -------
    `~numpy.ndarray`, shape (n_rows,)
        1 sigma; NaN where there are fewer than eight differences.
    """
    differences = np.ma.masked_invalid(2 * kelvin[:, 2:-2] - kelvin[:, :-4] - kelvin[:, 4:])
    noise = np.full(len(kelvin), np.nan)
    enough = differences.count(axis=1) >= LEAST_DIFFERENCES
    if enough.any():
        *_, spread = sigma_clipped_stats(
            differences[enough], sigma=3, maxiters=None, stdfunc="mad_std", axis=1
        )
        noise[enough] = spread / np.sqrt(6)
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
