"""How much of the noise in O - S goes with the mean of a box, for noise that is correlated over the beam."""

import numpy as np

from hisatools.noise.correlation import correlation_at


def mean_share(boxes, smooth_pix, beam_pix):
    """Share of the variance of O - S that goes with the mean of a box, which its rms does not see.

    Parameters
    ----------
    boxes : pair of int
        Sides of the box.
    smooth_pix : int
        Odd side of the box whose mean is S.
    beam_pix : float
        FWHM over which the noise is correlated.
    """

    def along_axis(side):
        """Covariances of the means of O with O, of O with S and of S with S, along one axis."""
        weights, offset = _pairs(side)
        inner, apart = (np.arange(n) for n in (smooth_pix, 2 * smooth_pix - 1))
        with_itself = correlation_at(offset, beam_pix)
        with_mean = correlation_at(np.add.outer(offset, inner - smooth_pix // 2), beam_pix).mean(axis=1)
        of_means = (
            correlation_at(np.add.outer(offset, apart - smooth_pix + 1), beam_pix) @ _pairs(smooth_pix)[0]
        )
        return weights @ np.array([with_itself, with_mean, of_means]).T

    of_box = along_axis(boxes[0]) * along_axis(boxes[1]) @ [1, -2, 1]
    return float(of_box / (along_axis(1) ** 2 @ [1, -2, 1]))


def _pairs(side):
    """Share of the pairs of pixels along a side that are so far apart, and how far."""
    offset = np.arange(1 - side, side)
    return (side - np.abs(offset)) / side**2, offset
