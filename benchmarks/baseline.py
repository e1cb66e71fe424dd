"""Both searches as a plain loop over spectra and over channels: what hisatools is compared with.

Sections 2.2 and 2.3 of Gibson et al. (2005) as an astronomer would write them down with numpy and scipy:
one spectrum or map after the other, whole-array expressions inside, `~scipy.optimize.curve_fit` for the
Gaussians, and double precision wherever numpy chooses it. No step is left out and none is made slow on
purpose; nothing is compiled, and no blank voxels are expected. The noise is given, as it is to the search
that it is timed against.
"""

import warnings

import astropy.units as u
import numpy as np
from astropy.convolution import Gaussian2DKernel, convolve_fft
from astropy.stats import gaussian_fwhm_to_sigma
from scipy.ndimage import find_objects, gaussian_filter, label, uniform_filter
from scipy.optimize import OptimizeWarning, curve_fit
from scipy.signal import fftconvolve, find_peaks

from hisatools.parameters import SpatialParameters, SpectralParameters

REACH_SIGMA = 5


def search_spectra(cube, noise, parameters=None):
    """The spectral search, spectrum by spectrum.

    Parameters
    ----------
    cube : `~hisatools.HISACube`
        Without blank voxels.
    noise : `~hisatools.search.spectral.SpectralNoise`
        Noise of each sight line.
    parameters : `~hisatools.SpectralParameters`, optional

    Returns
    -------
    `~numpy.ndarray`, shape (n_v, n_y, n_x)
        Depth of the absorption in K, 0 elsewhere.
    """
    p = SpectralParameters() if parameters is None else parameters
    half_box = round(_pixels(p.smoothing_box, cube)) // 2
    kernel = gaussian_kernel(_channels(p.clean_fwhm, cube))
    amplitude = np.zeros(cube.shape)
    for y, x in np.ndindex(cube.shape[1:]):
        rows, columns = (slice(max(i - half_box, 0), i + half_box + 1) for i in (y, x))
        observed = cube.kelvin[:, y, x].astype(float)
        smoothed = cube.kelvin[:, rows, columns].mean(axis=(1, 2), dtype=float)
        if (observed < -p.continuum_veto * noise.observed_kelvin[y, x]).any():
            continue
        unabsorbed, sigma_pos = clean_spectrum(smoothed, noise.smoothed_kelvin[y, x], kernel, p)
        amplitude[:, y, x] = find_dips(observed, smoothed, unabsorbed, sigma_pos, cube, p)
    return np.array([_joined(channel, cube, p) for channel in amplitude])


def clean_spectrum(smoothed, noise, kernel, p):
    """The CLEAN loop of section 2.2; returns U and sigma_pos, K."""
    unabsorbed = np.zeros_like(smoothed)
    residual = smoothed.copy()
    coverage = np.convolve(np.ones_like(smoothed), kernel, mode="same")
    sigma_pos = _sigma_pos(residual)
    for _ in range(p.max_iterations):
        peak = residual.max()
        if peak <= p.stop_fraction * smoothed.max():
            break
        correction = np.where(residual > p.clean_clip * peak, p.clean_gain * residual, 0)
        unabsorbed += np.convolve(correction, kernel, mode="same") / coverage
        residual = smoothed - unabsorbed
        sigma_pos = _sigma_pos(residual)
        if sigma_pos < noise:
            break
    return unabsorbed, sigma_pos


def find_dips(observed, smoothed, unabsorbed, sigma_pos, cube, p):
    """Depth of the accepted dips of one spectrum: the largest of the fitted Gaussians in each channel."""
    residual = smoothed - unabsorbed
    level = p.threshold * sigma_pos
    flagged = residual < -level
    widths = [max(_channels(fwhm, cube), 2) for fwhm in (p.narrow_fwhm, p.broad_fwhm)]
    minima, _ = find_peaks(-residual, height=level, distance=max(round(widths[0]), 1))
    segments, _ = label(flagged)
    extents = find_objects(segments)
    depth = np.zeros_like(residual)
    for k in minima:
        if smoothed[k] < -2 * level or unabsorbed[k] < p.critical_brightness.value:
            continue
        (segment,) = extents[segments[k] - 1]
        for fwhm in widths:
            if dip_filter(observed, k, fwhm, widths[0]) < p.dip_threshold:
                continue
            channels = _with_base(segment, flagged, fwhm)
            fitted, sigma_fit = fit_gaussian(channels, -residual[channels], k, fwhm)
            if fitted >= p.fit_significance * max(sigma_fit, sigma_pos):
                shape = _gaussian(np.arange(depth.size), k, fwhm)
                depth = np.maximum(depth, np.where(shape > p.profile_cut, fitted * shape, 0))
    return depth


def dip_filter(observed, k, fwhm, narrow):
    """1 for a dip between equal shoulders, 0.5 for a step, 0 for a slope (section 2.2)."""
    core, offset, width = int(narrow / 4), int(np.ceil(fwhm / 2)), int(np.ceil(narrow))
    left = observed[max(k - offset - width + 1, 0) : max(k - offset + 1, 0)]
    right = observed[k + offset : k + offset + width]
    if min(left.size, right.size) < 2:
        return 0.0
    bottom = observed[max(k - core, 0) : k + core + 1].mean()
    a, b = left.mean() - bottom, right.mean() - bottom
    return float(np.clip((a + b) / (2 * max(abs(a), abs(b))), 0, 1)) if max(a, b) > 0 else 0.0


def fit_gaussian(channels, depth, k, fwhm):
    """Amplitude over a sloping base at fixed centre and width, and the scatter about the fit, K."""
    if channels.size < 5:
        return 0.0, np.inf

    def model(channel, amplitude, base, slope):
        return amplitude * _gaussian(channel, k, fwhm) + base + slope * (channel - k)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OptimizeWarning)
        best, _ = curve_fit(model, channels, depth, p0=(depth.max(), 0, 0))
    left_over = depth - model(channels, *best)
    return best[0], np.sqrt((left_over**2).sum() / (channels.size - 3))


def search_channels(cube, sigma_obs, sigma_smoothed, convolution="fftconvolve", parameters=None):
    """The spatial search, channel by channel.

    Parameters
    ----------
    cube : `~hisatools.HISACube`
        Without blank voxels.
    sigma_obs : `~numpy.ndarray`, shape (n_v, n_y, n_x), K
        Noise of the cube.
    sigma_smoothed : `~numpy.ndarray`, shape (n_v,), K
        Mean noise of the box mean of each channel.
    convolution : str
        One of `CONVOLUTIONS`.
    parameters : `~hisatools.SpatialParameters`, optional

    Returns
    -------
    `~numpy.ndarray`, shape (n_v, n_y, n_x)
        Depth of the absorption in K, 0 elsewhere.
    """
    p = SpatialParameters() if parameters is None else parameters
    convolve = CONVOLUTIONS[convolution](_pixels(p.clean_fwhm, cube) * gaussian_fwhm_to_sigma)
    box = round(_pixels(p.smoothing_box, cube)) // 2 * 2 + 1
    amplitude = np.zeros(cube.shape)
    for k, observed in enumerate(cube.kelvin.astype(float)):
        inside = uniform_filter(np.ones_like(observed), box, mode="constant")
        smoothed = uniform_filter(observed, box, mode="constant") / inside
        weight = (sigma_obs[k] / sigma_obs[k].mean()) ** -2
        unabsorbed, sigma_pos = clean_channel(smoothed, sigma_smoothed[k], weight, convolve, p)
        depth = unabsorbed - observed
        dark = smoothed - unabsorbed < -p.threshold * sigma_pos / np.sqrt(weight)
        dark |= depth > p.threshold * sigma_obs[k]
        dark &= (depth >= p.min_amplitude.value) & (unabsorbed >= p.critical_brightness.value)
        amplitude[k] = _joined(np.where(dark, depth, 0), cube, p)
    return amplitude


def clean_channel(smoothed, noise, weight, convolve, p):
    """The CLEAN loop of section 2.3; returns U and sigma_pos, K."""
    unabsorbed = np.zeros_like(smoothed)
    residual = smoothed.copy()
    coverage = convolve(np.ones_like(smoothed))
    sigma_pos = _sigma_pos(residual, weight)
    for _ in range(p.max_iterations):
        peak = np.sort(residual, axis=None)[-p.peak_rank]
        if peak <= p.stop_fraction * smoothed.max():
            break
        correction = np.where(residual > p.clean_clip * peak, p.clean_gain * residual, 0)
        unabsorbed += convolve(correction) / coverage
        residual = smoothed - unabsorbed
        sigma_pos = _sigma_pos(residual, weight)
        if sigma_pos < noise:
            break
    return unabsorbed, sigma_pos


def _by_fftconvolve(sigma_pix):
    """The kernel as an image, and scipy's FFT of both."""
    along = gaussian_kernel(sigma_pix / gaussian_fwhm_to_sigma)
    kernel = np.outer(along, along)
    return lambda image: fftconvolve(image, kernel, mode="same")


def _by_gaussian_filter(sigma_pix):
    """Direct sums along one axis after the other."""
    return lambda image: gaussian_filter(image, sigma_pix, mode="constant")


def _by_convolve_fft(sigma_pix):
    """What astropy has for it."""
    kernel = Gaussian2DKernel(sigma_pix)
    return lambda image: convolve_fft(image, kernel, boundary="fill")


# The usual choices; which is fastest depends on the size of the map.
CONVOLUTIONS = {
    "fftconvolve": _by_fftconvolve,
    "gaussian_filter": _by_gaussian_filter,
    "convolve_fft": _by_convolve_fft,
}


def _sigma_pos(residual, weight=None):
    """Weighted rms of the positive residuals; 0 where none is positive."""
    positive = residual > 0
    if not positive.any():
        return 0.0
    squares = residual[positive] ** 2
    return np.sqrt(squares.mean() if weight is None else np.average(squares, weights=weight[positive]))


def _with_base(segment, flagged, fwhm):
    """Channels of a segment and, for the base, some on each side; another segment ends them."""
    margin = max(3, round(fwhm))
    (before,), (after,) = flagged[: segment.start].nonzero(), flagged[segment.stop :].nonzero()
    lowest = before[-1] + 1 if before.size else 0
    highest = segment.stop + after[0] if after.size else flagged.size
    return np.arange(max(segment.start - margin, lowest), min(segment.stop + margin, highest))


def _joined(channel, cube, p):
    """Flecks smoothed with a beam into features; the faint ones dropped."""
    smoothed = gaussian_filter(channel, _pixels(p.join_fwhm, cube) * gaussian_fwhm_to_sigma, mode="constant")
    return np.where(smoothed >= p.cull_amplitude.value, smoothed, 0)


def gaussian_kernel(fwhm):
    """A Gaussian of unit sum on an odd number of pixels."""
    reach = int(np.ceil(REACH_SIGMA * fwhm * gaussian_fwhm_to_sigma))
    kernel = _gaussian(np.arange(-reach, reach + 1), 0, fwhm)
    return kernel / kernel.sum()


def _gaussian(k, centre, fwhm):
    return np.exp(-4 * np.log(2) * ((k - centre) / fwhm) ** 2)


def _pixels(angle, cube):
    return (angle / cube.pixel_scale).to_value(u.one)


def _channels(velocity, cube):
    return (velocity / cube.channel_width).to_value(u.one)
