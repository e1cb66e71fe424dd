"""The reference: plain numpy in float64, slow and obvious. Other backends are held to it."""

import numpy as np
from astropy.stats import gaussian_fwhm_to_sigma

from hisatools.backends.protocols import MIN_COVERAGE, CleanedChannel, CleanedSpectra, StopReason


class ReferenceClean:
    """SDI CLEAN as the paper's list of steps, sections 2.2 and 2.3."""

    package = "numpy"
    tolerance_kelvin = 0.0
    cost = 40.0

    def clean_spectra(self, smoothed_kelvin, stop_kelvin, kernel, settings):
        """See `~hisatools.backends.protocols.CleanBackend.clean_spectra`."""
        kernel = np.asarray(kernel, float)

        def convolve(correction):
            return np.convolve(correction, kernel)[kernel.size // 2 :][: correction.size]

        cleaned = [
            _clean(spectrum, stop, np.ones_like(spectrum), convolve, settings)
            for spectrum, stop in zip(np.asarray(smoothed_kelvin, float), stop_kelvin, strict=True)
        ]
        unabsorbed, sigma_pos, n_iterations, reason = zip(*cleaned, strict=True)
        return CleanedSpectra(
            np.where(np.isfinite(smoothed_kelvin), unabsorbed, np.nan).astype(np.float32),
            np.array(sigma_pos),
            np.array(n_iterations, np.int32),
            np.array(reason, np.int8),
        )

    def clean_channel(self, smoothed_kelvin, stop_kelvin, weights, convolve, settings):
        """See `~hisatools.backends.protocols.CleanBackend.clean_channel`."""

        def convolve_float32(correction):
            return convolve(correction.astype(np.float32))

        smoothed = np.asarray(smoothed_kelvin, float)
        unabsorbed, *rest = _clean(smoothed, stop_kelvin, weights, convolve_float32, settings)
        return CleanedChannel(unabsorbed.astype(np.float32), *rest)


def _clean(smoothed, stop, weights, convolve, settings):
    """Steps 1 to 5; NaN is blank."""
    finite = np.isfinite(smoothed)
    unabsorbed = np.zeros(smoothed.shape)
    if not finite.any():
        return np.full(smoothed.shape, np.nan), np.nan, 0, StopReason.NOT_CLEANED
    coverage = convolve(finite.astype(float))
    coverage = np.where(coverage < MIN_COVERAGE, np.nan, coverage)
    finite &= np.isfinite(coverage)
    if not finite.any():
        return np.full(smoothed.shape, np.nan), np.nan, 0, StopReason.NOT_CLEANED
    unabsorbed[~finite] = np.nan
    residual = np.where(finite, smoothed, -np.inf)
    peak = residual.max()
    for n_iterations in range(settings.max_iterations):
        highest = _ranked(residual[finite], settings.peak_rank)
        if highest <= settings.stop_fraction * max(peak, 0):
            return unabsorbed, _sigma_pos(residual, weights), n_iterations, StopReason.FRACTION
        correction = np.where(residual > settings.clip * highest, settings.gain * residual, 0)
        unabsorbed = unabsorbed + convolve(correction) / coverage
        residual = np.where(finite, smoothed - unabsorbed, -np.inf)
        if _sigma_pos(residual, weights) < stop:
            return unabsorbed, _sigma_pos(residual, weights), n_iterations + 1, StopReason.NOISE
    return unabsorbed, _sigma_pos(residual, weights), settings.max_iterations, StopReason.MAX_ITERATIONS


def _ranked(values, rank):
    """The rank-th highest value; the highest where there are fewer."""
    return np.sort(values)[-rank] if values.size >= rank else values.max()


def _sigma_pos(residual, weights):
    """Weighted rms of the positive residuals; 0 where none is positive."""
    positive = residual > 0
    total = weights[positive].sum()
    return np.sqrt((weights[positive] * residual[positive] ** 2).sum() / total) if total > 0 else 0.0


class ReferenceConvolution:
    """Convolution by direct sums along each axis; a circular Gaussian is separable."""

    package = "numpy"
    tolerance = 0.0
    cost = 20.0

    def gaussian(self, shape, fwhm_pix):
        """See `~hisatools.backends.protocols.ConvolutionBackend.gaussian`."""
        along_y, along_x = (_gaussian_matrix(size, fwhm_pix) for size in shape)

        def convolve(image, out=None):
            out = np.empty(shape, np.float32) if out is None else out
            out[...] = along_y @ image.astype(float) @ along_x
            return out

        return convolve


def _gaussian_matrix(size, fwhm_pix):
    """Symmetric matrix whose rows are the Gaussian about each pixel, cut at the borders."""
    sigma_pix = fwhm_pix * gaussian_fwhm_to_sigma
    offset = np.subtract.outer(np.arange(size), np.arange(size)) / sigma_pix
    # Unit sum on an endless grid, so that a border loses what falls beyond it.
    everywhere = np.arange(-int(10 * fwhm_pix) - 1, int(10 * fwhm_pix) + 2) / sigma_pix
    return np.exp(-0.5 * offset**2) / np.exp(-0.5 * everywhere**2).sum()
