"""A convolution backend for hisatools in a package of its own."""

import numpy as np
from scipy.ndimage import gaussian_filter

from hisatools.backends.protocols import check_shapes

FWHM_PER_SIGMA = np.sqrt(8 * np.log(2))


class ExampleConvolution:
    """Convolution with a circular Gaussian by `scipy.ndimage`: one axis after the other, pixel by pixel."""

    package = "scipy"
    tolerance = 2e-6
    cost = 50.0

    def gaussian(self, shape, fwhm_pix):
        """Function that convolves float32 maps of ``shape``; see hisatools.backends.protocols."""

        def convolve(image, out=None):
            out = np.empty(shape, np.float32) if out is None else out
            check_shapes(shape, image, out)
            # Zeros beyond the borders, and the Gaussian out to where float32 no longer sees it.
            gaussian_filter(image, fwhm_pix / FWHM_PER_SIGMA, output=out, mode="constant", truncate=6)
            return out

        return convolve
