"""Which pixels stand out: alone, or together with those about them."""

import numpy as np
from astropy.stats import gaussian_fwhm_to_sigma
from scipy.ndimage import gaussian_filter, maximum_filter

from hisatools.search.base import row_blocks, run_blocks

__all__ = ["Surroundings", "stands_out"]

ROWS_PER_BLOCK = 128
# Beyond this many sigma the kernel of the mean is cut off.
REACH_SIGMA = 4.0


def stands_out(significance, surroundings, parameters, *, workers=1):
    """Which pixels are masked.

    Parameters
    ----------
    significance : `~numpy.ndarray`, shape (n,)
        Residual less the mode, in units of sigma.
    surroundings : `Surroundings`
        Of these n pixels.
    parameters : `~hisatools.residual_mask.ResidualMaskParameters`
    workers : int

    Returns
    -------
    `~numpy.ndarray` of bool, shape (n,)

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools.residual_mask import ResidualMaskParameters
    >>> from hisatools.residual_mask.standing_out import Surroundings, stands_out
    >>> significance = np.zeros((9, 9))
    >>> significance[3:6, 3:6] = 5
    >>> significance[4, 2] = 2.5  # below the threshold of 3, and beside what is above it
    >>> about = Surroundings(np.ones((9, 9), bool), fwhm_pix=2)
    >>> masked = stands_out(significance.ravel(), about, ResidualMaskParameters())
    >>> masked.reshape(9, 9)[2:7, 1:8].astype(int)
    array([[0, 0, 0, 0, 0, 0, 0],
           [0, 0, 1, 1, 1, 0, 0],
           [0, 0, 1, 1, 1, 0, 0],
           [0, 0, 1, 1, 1, 0, 0],
           [0, 0, 0, 0, 0, 0, 0]])
    """
    masked = significance > parameters.n_sigma
    if parameters.edge_fwhm > 0:
        near = significance > parameters.edge_least * parameters.n_sigma
        mean = surroundings.mean(significance, workers=workers)
        masked |= near & (mean > parameters.edge_fraction * parameters.n_sigma)
    return masked


class Surroundings:
    """Mean about each pixel in use, weighted with a Gaussian; the other pixels are left out.

    Parameters
    ----------
    used : `~numpy.ndarray` of bool, shape (n_y, n_x)
    fwhm_pix : float
        Of the Gaussian.

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools.residual_mask.standing_out import Surroundings
    >>> values = np.zeros((5, 5))
    >>> values[2, 2] = 1
    >>> about = Surroundings(np.ones((5, 5), bool), fwhm_pix=2)
    >>> about.mean(values.ravel()).reshape(5, 5)[2].round(3)
    array([0.019, 0.114, 0.221, 0.114, 0.019])
    >>> int(about.near(values.ravel() > 0, 1).sum())
    9
    """

    def __init__(self, used, fwhm_pix):
        self.used, self.sigma_pix = used, fwhm_pix * gaussian_fwhm_to_sigma
        self._share = None

    def mean(self, values, *, workers=1):
        """Values of shape (n,), one a pixel in use, to their means."""
        if self._share is None:
            self._share = self._convolve(self.used.astype(float), workers)
        image = np.zeros(self.used.shape)
        image[self.used] = values
        return self._convolve(image, workers) / self._share

    def near(self, chosen, reach_pix):
        """Pixels in use that are no further from a chosen one than this along either axis."""
        image = np.zeros(self.used.shape, np.uint8)
        image[self.used] = chosen
        return maximum_filter(image, size=2 * reach_pix + 1, mode="constant")[self.used] > 0

    def _convolve(self, image, workers):
        """In blocks of rows, each with the rows beside it that the kernel reaches."""
        halo = int(REACH_SIGMA * self.sigma_pix + 0.5)
        n_y = image.shape[0]

        def convolve(rows):
            first = max(rows.start - halo, 0)
            part = image[first : min(rows.stop + halo, n_y)]
            smoothed = gaussian_filter(part, self.sigma_pix, mode="constant", truncate=REACH_SIGMA)
            return smoothed[rows.start - first : rows.stop - first]

        blocks = row_blocks(n_y, ROWS_PER_BLOCK)
        # Threads take longer to start than a small map to convolve.
        parts = run_blocks(convolve, blocks, workers=workers) if workers > 1 else map(convolve, blocks)
        return np.concatenate(list(parts))[self.used]
