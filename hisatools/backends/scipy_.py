"""Convolution by scipy's FFT in float32."""

import numpy as np
from astropy.stats import gaussian_fwhm_to_sigma
from scipy import fft


class ScipyConvolution:
    """Zero-padded FFT convolution with a circular Gaussian."""

    tolerance = 2e-6

    def gaussian(self, shape, fwhm_pix):
        """See `~hisatools.backends.protocols.ConvolutionBackend.gaussian`."""
        reach = int(np.ceil(6 * fwhm_pix * gaussian_fwhm_to_sigma))
        padded = [fft.next_fast_len(size + min(reach, size), real=True) for size in shape]
        along_y, along_x = (_wrapped_gaussian(size, fwhm_pix, reach) for size in padded)
        spectrum = fft.rfft2(np.outer(along_y, along_x)).astype(np.complex64)

        def convolve(image):
            transformed = fft.rfft2(image, s=padded, overwrite_x=True)
            transformed *= spectrum
            return fft.irfft2(transformed, s=padded, overwrite_x=True)[: shape[0], : shape[1]]

        return convolve


def _wrapped_gaussian(size, fwhm_pix, reach):
    """A Gaussian about element 0 of a periodic axis; unit sum, nothing beyond ``reach``."""
    offset = np.minimum(np.arange(size), size - np.arange(size))
    everywhere = np.arange(-reach, reach + 1) / (fwhm_pix * gaussian_fwhm_to_sigma)
    values = np.exp(-0.5 * (offset / (fwhm_pix * gaussian_fwhm_to_sigma)) ** 2)
    return np.where(offset <= reach, values, 0) / np.exp(-0.5 * everywhere**2).sum()
