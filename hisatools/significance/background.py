"""A smooth estimate of the emission of a whole cube, for what lies outside features.

Each channel map is smoothed by local linear regression (Cleveland 1979, J. Am. Stat. Assoc. 74, 829): at
each pixel a plane is fitted to what lies about it, with Gaussian weights. Unlike a weighted mean it
follows a slope up to borders and blanks. What it leaves is smoothed once more and added ("twicing", Tukey
1977), which makes good the curvature that the first smoothing took away.
"""

import numpy as np
from astropy.stats import gaussian_fwhm_to_sigma

from hisatools.search.base import run_blocks

# Of the squared scale of the weights: too few pixels lie about for a slope to be known below it.
LEAST_SPREAD = 1e-3


def smooth_background(block, n_channels, fwhm_pix, *, workers=1):
    """Smooth each channel map.

    Parameters
    ----------
    block : callable
        From the number of a channel to its map (n_y, n_x) in K; NaN is blank.
    n_channels : int
    fwhm_pix : float
        FWHM of the Gaussian weights.
    workers : int
        Number of threads; never changes the result.

    Returns
    -------
    `~numpy.ndarray` of float32, shape (n_v, n_y, n_x), K
        NaN where blank.

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools.datasets import example_model
    >>> from hisatools.significance.background import smooth_background
    >>> cube = example_model().cube
    >>> smooth = smooth_background(cube.block, 2, fwhm_pix=60)
    >>> smooth.shape, round(float(np.std(cube.kelvin[:2])), 1), round(float(np.std(smooth)), 1)
    ((2, 208, 208), 17.8, 16.4)
    """
    sigma_pix = fwhm_pix * gaussian_fwhm_to_sigma
    weights = [_Weights(n, sigma_pix) for n in block(0).shape]

    def smooth(channel):
        image = block(channel)
        known = np.isfinite(image)
        plane = _LocalPlane(known, *weights)
        smoothed = plane.fit(np.where(known, image, 0))
        smoothed += plane.fit(np.where(known, image - smoothed, 0))
        return np.where(known, smoothed, np.float32(np.nan))

    return np.array(run_blocks(smooth, range(n_channels), workers=workers))


class _Weights:
    """Gaussian weights between all places of an axis, times the offset to the power 0, 1 and 2."""

    def __init__(self, n, sigma_pix):
        offset = np.subtract.outer(np.arange(n), np.arange(n)).T / sigma_pix
        gaussian = np.exp(-0.5 * offset**2)
        self.powers = [(gaussian * offset**power).T.astype(np.float32) for power in range(3)]


class _LocalPlane:
    """Planes fitted about each pixel of a map.

    Offsets are those of the sources from the pixel, in sigma of the weights.
    """

    def __init__(self, known, along_y, along_x):
        self.along_y, self.along_x = along_y.powers, along_x.powers
        number = known.astype(np.float32)
        moment = {(j, i): self._sum(number, j, i) for j in range(3) for i in range(3) if i + j <= 2}
        self.weight = np.maximum(moment[0, 0], np.finfo(np.float32).tiny)
        self.mean_y, self.mean_x = moment[1, 0] / self.weight, moment[0, 1] / self.weight
        yy = moment[2, 0] / self.weight - self.mean_y**2
        xx = moment[0, 2] / self.weight - self.mean_x**2
        yx = moment[1, 1] / self.weight - self.mean_y * self.mean_x
        determinant = yy * xx - yx**2
        # One row or column of pixels, or a few beside blanks: no plane, but a mean.
        spread = determinant > LEAST_SPREAD * np.maximum(yy, xx)
        self.inverse = [
            np.where(spread, part / np.where(spread, determinant, 1), 0) for part in (xx, -yx, yy)
        ]

    def _sum(self, image, j, i):
        return self.along_y[j] @ image @ self.along_x[i].T

    def fit(self, image):
        """The fitted planes at their pixels; ``image`` is 0 where it is not known."""
        mean, of_y, of_x = (self._sum(image, j, i) / self.weight for j, i in ((0, 0), (1, 0), (0, 1)))
        of_y, of_x = of_y - self.mean_y * mean, of_x - self.mean_x * mean
        xx, yx, yy = self.inverse
        return mean - (xx * of_y + yx * of_x) * self.mean_y - (yx * of_y + yy * of_x) * self.mean_x
