"""Dips in one spectrum: segments, fits with fixed centre and width, and the dip filter.

Pure functions of arrays in K and channels (the paper, section 2.2; formulas derived in the
documentation, page "Method"). Compiled with numba; the tests hold them to slow versions.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

FWHM_EXPONENT = 4 * np.log(2)


class DipRules(NamedTuple):
    """What a dip must satisfy, in channels and K; see `~hisatools.SpectralParameters`."""

    narrow_chan: float
    broad_chan: float
    threshold: float
    critical_kelvin: float
    fit_significance: float
    dip_threshold: float
    profile_cut: float


@njit(cache=True, nogil=True)
def dip_filter(spectrum, k_min, half_core, offset, n_shoulder):
    """1 for a dip between equal shoulders, 0.5 for a step, 0 for a slope or a bump.

    Parameters
    ----------
    spectrum : array, shape (n_v,)
        O(k) in K; NaN is ignored.
    k_min : int
        Channel of the suspected dip.
    half_core : int
        The bottom is the mean over ``k_min`` +- this.
    offset : int
        The shoulders begin this many channels from ``k_min``.
    n_shoulder : int
        Number of channels in each shoulder.

    Returns
    -------
    float
        Between 0 and 1; 0 where a shoulder has fewer than 2 finite channels in the band, or the
        bottom has none.
    """
    bottom = _mean(spectrum, k_min - half_core, k_min + half_core + 1, 1)
    a = _mean(spectrum, k_min - offset - n_shoulder + 1, k_min - offset + 1, 2) - bottom
    b = _mean(spectrum, k_min + offset, k_min + offset + n_shoulder, 2) - bottom
    if np.isnan(a) or np.isnan(b) or (a <= 0 and b <= 0):
        return 0.0
    largest = max(abs(a), abs(b))
    return min(max((a + b) / (2 * largest), 0.0), 1.0)


@njit(cache=True, nogil=True)
def line_dip(spectrum, k_min, fwhm_chan, narrow_chan):
    """`dip_filter` for a line of ``fwhm_chan``: shoulders beyond its core, a narrow line wide.

    The bottom is the mean of half a narrow line: one channel in the CGPS.
    """
    offset = int(np.ceil(fwhm_chan / 2))
    return dip_filter(spectrum, k_min, int(narrow_chan / 4), offset, int(np.ceil(narrow_chan)))


@njit(cache=True, nogil=True)
def _mean(spectrum, first, stop, n_least):
    """Mean of the finite channels in [first, stop); NaN if fewer than ``n_least``."""
    total = 0.0
    n = 0
    for k in range(max(first, 0), min(stop, spectrum.size)):
        if np.isfinite(spectrum[k]):
            total += spectrum[k]
            n += 1
    return total / n if n >= n_least else np.nan


@njit(cache=True, nogil=True)
def fit_gaussian(depth, k_centre, fwhm_chan):
    """Fit A exp(-4 ln2 (k - k_centre)^2 / W^2) + a + b k to ``depth``.

    With centre and width fixed the fit is linear: A is the projection of the data on the Gaussian
    from which its own constant and slope have been taken.

    Parameters
    ----------
    depth : array, shape (n,)
        -R(k) of the window's channels in K; NaN is ignored.
    k_centre, fwhm_chan : float
        Centre and FWHM of the Gaussian, in channels.

    Returns
    -------
    amplitude, sigma_fit : float
        In K; both NaN where fewer than 5 channels are finite or the Gaussian is not constrained.
    """
    n = 0
    mean_x = 0.0
    mean_g = 0.0
    mean_y = 0.0
    for k in range(depth.size):
        if np.isfinite(depth[k]):
            n += 1
            mean_x += k
            mean_g += np.exp(-FWHM_EXPONENT * ((k - k_centre) / fwhm_chan) ** 2)
            mean_y += depth[k]
    if n < 5:
        return np.nan, np.nan
    mean_x /= n
    mean_g /= n
    mean_y /= n
    xx = 0.0
    xg = 0.0
    xy = 0.0
    gg = 0.0
    gy = 0.0
    yy = 0.0
    for k in range(depth.size):
        if np.isfinite(depth[k]):
            x = k - mean_x
            g = np.exp(-FWHM_EXPONENT * ((k - k_centre) / fwhm_chan) ** 2) - mean_g
            y = depth[k] - mean_y
            xx += x * x
            xg += x * g
            xy += x * y
            gg += g * g
            gy += g * y
            yy += y * y
    g_variance = gg - xg * xg / xx
    if g_variance < 1e-6:
        return np.nan, np.nan
    amplitude = (gy - xg * xy / xx) / g_variance
    left_over = yy - xy * xy / xx - amplitude * amplitude * g_variance
    return amplitude, np.sqrt(max(left_over, 0.0) / (n - 3))


@njit(cache=True, nogil=True)
def next_segment(residual, level, start):
    """First run of channels at or after ``start`` with residual < ``level``: (first, stop).

    (n_v, n_v) if there is none. NaN ends a run.
    """
    first = start
    while first < residual.size and not residual[first] < level:
        first += 1
    stop = first
    while stop < residual.size and residual[stop] < level:
        stop += 1
    return first, stop


@njit(cache=True, nogil=True)
def _is_minimum(residual, first, stop, k, separation):
    """Whether ``k`` is the lowest channel of its segment within ``separation`` channels."""
    for other in range(max(first, k - separation + 1), min(stop, k + separation)):
        lower = residual[other] < residual[k]
        if lower or (residual[other] == residual[k] and other < k):
            return False
    return True


@njit(cache=True, nogil=True)
def find_dips(observed, smoothed, unabsorbed, sigma_pos, rules, profile):
    """Write the depth of the accepted dips of one spectrum into ``profile``.

    Parameters
    ----------
    observed, smoothed, unabsorbed : array, shape (n_v,)
        O, S and U in K.
    sigma_pos : float
        Rms of the positive residuals, K.
    rules : `DipRules`
    profile : array, shape (n_v,)
        Raised to the channel-wise maximum of the accepted Gaussians; K.
    """
    find_dips_of_each_width(observed, smoothed, unabsorbed, sigma_pos, rules, profile, profile)


@njit(cache=True, nogil=True)
def find_dips_of_each_width(observed, smoothed, unabsorbed, sigma_pos, rules, narrow, broad):
    """`find_dips` with a profile for the narrow and one for the broad Gaussians; they may be one array."""
    residual = smoothed - unabsorbed
    level = -rules.threshold * sigma_pos
    separation = max(round(rules.narrow_chan), 1)
    first, stop = next_segment(residual, level, 0)
    while first < residual.size:
        for k in range(first, stop):
            if not _is_minimum(residual, first, stop, k, separation):
                continue
            if smoothed[k] < 2 * level or unabsorbed[k] < rules.critical_kelvin:
                continue
            for fwhm_chan, profile in ((rules.narrow_chan, narrow), (rules.broad_chan, broad)):
                if line_dip(observed, k, fwhm_chan, rules.narrow_chan) < rules.dip_threshold:
                    continue
                amplitude, sigma_fit = _fit_segment(residual, first, stop, level, k, fwhm_chan)
                if amplitude >= rules.fit_significance * max(sigma_fit, sigma_pos):
                    _add_profile(profile, amplitude, k, fwhm_chan, rules.profile_cut)
        first, stop = next_segment(residual, level, stop)


@njit(cache=True, nogil=True)
def _fit_segment(residual, first, stop, level, k_centre, fwhm_chan):
    """`fit_gaussian` of a segment and, for the base, a line width on each side, at least 3 channels.

    Another segment ends the window: its absorption is no base.
    """
    margin = max(3, round(fwhm_chan))
    lowest = max(first - margin, 0)
    highest = min(stop + margin, residual.size)
    while first > lowest and not residual[first - 1] < level:
        first -= 1
    while stop < highest and not residual[stop] < level:
        stop += 1
    return fit_gaussian(-residual[first:stop], k_centre - first, fwhm_chan)


@njit(cache=True, nogil=True)
def _add_profile(profile, amplitude, k_centre, fwhm_chan, cut):
    """Channel-wise maximum with a Gaussian, where it exceeds ``cut`` of its amplitude."""
    reach = int(np.ceil(fwhm_chan * np.sqrt(-np.log(cut) / FWHM_EXPONENT)))
    for k in range(max(k_centre - reach, 0), min(k_centre + reach + 1, profile.size)):
        shape = np.exp(-FWHM_EXPONENT * ((k - k_centre) / fwhm_chan) ** 2)
        if shape > cut:
            profile[k] = max(profile[k], amplitude * shape)


@njit(cache=True, nogil=True)
def find_dips_in_spectra(observed, smoothed, unabsorbed, sigma_pos, rules):
    """`find_dips` for every row; arrays (n, n_v) and (n,). Returns the depths (n, n_v), K."""
    profiles = np.zeros(smoothed.shape, np.float32)
    for i in range(smoothed.shape[0]):
        if np.isfinite(sigma_pos[i]):
            find_dips(observed[i], smoothed[i], unabsorbed[i], sigma_pos[i], rules, profiles[i])
    return profiles
