"""Convolution by scipy's FFT in single precision."""

import numpy as np
from astropy.stats import gaussian_fwhm_to_sigma
from scipy import fft

from hisatools.backends.protocols import check_shapes

REACH_SIGMA = 6
# A wide Gaussian has few frequencies; those with less of it than this are below any rounding.
NEGLIGIBLE = 1e-9


class ScipyConvolution:
    """Zero-padded FFT convolution with a circular Gaussian."""

    package = "scipy"
    tolerance = 2e-6
    cost = 1.0

    def gaussian(self, shape, fwhm_pix):
        """See `~hisatools.backends.protocols.ConvolutionBackend.gaussian`."""
        n_y, n_x = shape
        (padded_y, padded_x), spectrum = gaussian_spectrum(shape, fwhm_pix)
        n_kept = spectrum.shape[1]

        def convolve(image, out=None):
            out = np.empty(shape, np.float32) if out is None else out
            check_shapes(shape, image, out)
            columns = fft.fft(fft.rfft(image, padded_x)[:, :n_kept], padded_y, axis=0)
            columns *= spectrum
            columns = fft.ifft(columns, axis=0, overwrite_x=True)
            # irfft puts zeros where frequencies were left out.
            out[...] = fft.irfft(columns[:n_y], padded_x)[:, :n_x]
            return out

        return convolve


def gaussian_spectrum(shape, fwhm_pix):
    """The Gaussian's transform, for maps of ``shape`` with zeros added that keep it from wrapping.

    Parameters
    ----------
    shape : (int, int)
        (n_y, n_x) of the map.
    fwhm_pix : float

    Returns
    -------
    padded : list of int
        Lengths of the axes with the zeros, fast to transform.
    spectrum : array, shape (padded[0], n_kept), float32
        Real, as the kernel is even. The lowest ``n_kept`` frequencies along x, above which there is
        nothing of the Gaussian.
    """
    reach = int(np.ceil(REACH_SIGMA * fwhm_pix * gaussian_fwhm_to_sigma))
    padded = [_fast_length(size + min(reach, size)) for size in shape]
    along_y, along_x = (fft.fft(_wrapped_gaussian(size, fwhm_pix, reach)).real for size in padded)
    along_x = along_x[: padded[1] // 2 + 1]
    n_kept = np.flatnonzero(np.abs(along_x) > NEGLIGIBLE)[-1] + 1
    return padded, np.outer(along_y, along_x[:n_kept]).astype(np.float32)


def _fast_length(least):
    """A length rich in twos, which both scipy and FFTW transform faster than its shorter neighbours."""
    return 32 * fft.next_fast_len(-(-least // 32), real=True)


def _wrapped_gaussian(size, fwhm_pix, reach):
    """A Gaussian about element 0 of a periodic axis; unit sum, nothing beyond ``reach``."""
    offset = np.minimum(np.arange(size), size - np.arange(size))
    everywhere = np.arange(-reach, reach + 1) / (fwhm_pix * gaussian_fwhm_to_sigma)
    values = np.exp(-0.5 * (offset / (fwhm_pix * gaussian_fwhm_to_sigma)) ** 2)
    return np.where(offset <= reach, values, 0) / np.exp(-0.5 * everywhere**2).sum()
