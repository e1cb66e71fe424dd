"""Convolution by FFTW in single precision, a few rows at a time."""

from collections import deque
from functools import partial

import numpy as np
import pyfftw

from hisatools.backends.scipy_ import gaussian_spectrum

# So few that they stay in the processor's cache between one step and the next.
ROWS_PER_BLOCK = 32


class PyfftwConvolution:
    """Zero-padded FFT convolution with a circular Gaussian, in buffers that are used again."""

    package = "pyfftw"
    tolerance = 2e-6
    cost = 0.8

    def gaussian(self, shape, fwhm_pix):
        """See `~hisatools.backends.protocols.ConvolutionBackend.gaussian`."""
        padded, spectrum = gaussian_spectrum(shape, fwhm_pix)
        spectrum /= np.prod(padded)  # FFTW leaves that to its callers
        # As many as there are calls at a time: each takes one and puts it back, whatever its thread.
        idle = deque()

        def convolve(image, out=None):
            out = np.empty(shape, np.float32) if out is None else out
            try:
                transforms = idle.pop()
            except IndexError:
                transforms = _Transforms(shape, padded[1], spectrum)
            transforms.convolve(image, out)
            idle.append(transforms)
            return out

        return convolve


class _Transforms:
    """Buffers, and the plans bound to them, for one map at a time.

    Rows of zeros are not transformed along x, nor along y the frequencies that ``spectrum`` lacks.
    Plans are estimated, not measured: else a clock would choose the order of the sums, and with it
    the last bit of a result. Each has one thread, as channels run side by side already. pyfftw
    itself locks FFTW's planner.
    """

    def __init__(self, shape, padded_x, spectrum):
        n_rows = min(ROWS_PER_BLOCK, shape[0])
        n_frequencies = padded_x // 2 + 1
        self.shape, self.spectrum = shape, spectrum
        # Plans leave their inputs as they are, so that what is 0 here stays 0.
        self.rows = pyfftw.zeros_aligned((n_rows, padded_x), np.float32)
        self.row_spectra = pyfftw.zeros_aligned((n_rows, n_frequencies), np.complex64)
        self.cut_spectra = pyfftw.zeros_aligned((n_rows, n_frequencies), np.complex64)
        self.new_rows = pyfftw.zeros_aligned((n_rows, padded_x), np.float32)
        self.columns = pyfftw.zeros_aligned(spectrum.shape, np.complex64)
        plan = partial(pyfftw.FFTW, flags=("FFTW_ESTIMATE",), threads=1)
        self.along_x = plan(self.rows, self.row_spectra)
        self.along_y = plan(self.columns, self.columns, axes=(0,))
        self.back_along_y = plan(self.columns, self.columns, axes=(0,), direction="FFTW_BACKWARD")
        self.back_along_x = plan(self.cut_spectra, self.new_rows, direction="FFTW_BACKWARD")

    def convolve(self, image, out):
        (n_y, n_x), n_kept = self.shape, self.spectrum.shape[1]
        blocks = [(first, min(len(self.rows), n_y - first)) for first in range(0, n_y, len(self.rows))]
        for first, n in blocks:
            self.rows[:n, :n_x] = image[first : first + n]
            self.along_x.execute()
            self.columns[first : first + n] = self.row_spectra[:n, :n_kept]
        self.columns[n_y:] = 0
        self.along_y.execute()
        np.multiply(self.columns, self.spectrum, out=self.columns)
        self.back_along_y.execute()
        for first, n in blocks:
            self.cut_spectra[:n, :n_kept] = self.columns[first : first + n]
            self.back_along_x.execute()
            out[first : first + n] = self.new_rows[:n, :n_x]
