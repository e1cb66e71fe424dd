"""Matched filters for discs and lines in noise that is correlated over the beam and the line profile.

The amplitude of a template T in data d is A = sum W d / sum W T, whatever the weights W; its variance
is W' C W / (sum W T)^2 with the noise's covariance C. The best weights are W = C^-1 T. Noise that went
through a beam has next to no power at scales below it, where C^-1 would amplify whatever the model of
the noise does not know: a floor is added to the power (not to C in the variance, which stays exact).

Template, noise and filter are products of a part on the sky and one along velocity. Along velocity
the weights are solved for each channel with the channels there are, so that the ends of the band are
exact. On the sky the filter is the same everywhere; at borders and blanks what is left of it is
normalised anew.
"""

from dataclasses import dataclass

import numpy as np
from astropy.stats import gaussian_fwhm_to_sigma
from scipy.fft import irfft2, next_fast_len, rfft2

from hisatools.noise.correlation import correlation_at
from hisatools.simulate import blurred_disc, channel_average

# The filter is cut off this many FWHM of the noise's beam beyond the disc.
REACH_BEAMS = 3
# A disc far below the pixel is a point.
LEAST_WIDTH_PIX = 0.01
LEAST_BEAM_PIX = 0.3


@dataclass(frozen=True, eq=False)
class SkyFilter:
    """Filter for a disc on the sky.

    Parameters
    ----------
    weights, template : `~numpy.ndarray`, shape (2 r + 1, 2 r + 1)
        The filter, and the disc in the beam that it looks for, of peak height 1 without the beam.
    noise : float
        Rms of the filtered map for noise of rms 1.
    response : float
        Sum of ``weights`` times ``template``.

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools.significance.filters import SkyFilter
    >>> mean_of_nine = SkyFilter(np.full((3, 3), 1 / 9), np.ones((3, 3)), noise=1 / 3, response=1.0)
    >>> mean_of_nine.reach, round(6 * mean_of_nine.sigma, 2)  # K, for white noise of 6 K
    (1, 2.0)
    """

    weights: np.ndarray
    template: np.ndarray
    noise: float
    response: float

    @property
    def reach(self):
        """Pixels from the centre to the filter's end."""
        return len(self.weights) // 2

    @property
    def sigma(self):
        """Rms of the amplitude for noise of rms 1, where nothing is blank."""
        return self.noise / self.response


def point_filter():
    """The filter of a single sight line, whose depth is that of what fills the beam."""
    one = np.ones((1, 1))
    return SkyFilter(one, one, 1.0, 1.0)


def sky_filter(width_pix, beam_pix, correlation_pix, floor):
    """The filter for a disc of one width.

    Parameters
    ----------
    width_pix : float
        Diameter of the disc.
    beam_pix : float
        FWHM of the beam that the disc is seen with.
    correlation_pix : float
        FWHM of the beam that the noise is correlated over; 0 for white noise.
    floor : float
        Least power of the noise that the weights believe in, relative to the largest.

    Returns
    -------
    `SkyFilter`
    """
    reach = int(np.ceil(width_pix / 2 + REACH_BEAMS * max(beam_pix, correlation_pix, 1.0)))
    # Room for the filter to fall off before it meets itself.
    size = next_fast_len(4 * reach + 1, real=True)
    offset = np.fft.fftfreq(size, 1 / size)
    radius = np.hypot(offset[:, None], offset)
    template = _disc(radius, width_pix, beam_pix)
    power = rfft2(correlation_at(radius, correlation_pix)).real
    weights = irfft2(rfft2(template).real / (np.maximum(power, 0) + floor * power.max()), (size, size))
    weights, template = (np.fft.fftshift(part)[_middle(size, reach)] for part in (weights, template))
    noise = np.sqrt(covariance_with_noise(weights[None], correlation_pix)[0, 0])
    return SkyFilter(weights, template, float(noise), float(np.sum(weights * template)))


def _middle(size, reach):
    centre = size // 2
    return (slice(centre - reach, centre + reach + 1),) * 2


def _disc(radius, width_pix, beam_pix):
    sigma = max(beam_pix, LEAST_BEAM_PIX) * gaussian_fwhm_to_sigma
    return blurred_disc(radius, max(width_pix, LEAST_WIDTH_PIX) / 2, sigma)


def covariance_with_noise(weights, correlation_fwhm):
    """Covariances of sums over noise of unit rms with several sets of weights.

    Parameters
    ----------
    weights : `~numpy.ndarray`, shape (n, n_x) or (n, n_y, n_x)
    correlation_fwhm : float
        FWHM of the beam, or of the line profile, that the noise is correlated over; 0 for white noise.

    Returns
    -------
    `~numpy.ndarray`, shape (n, n)
    """
    filtered = weights
    for axis in range(1, weights.ndim):
        places = np.arange(weights.shape[axis])
        along = correlation_at(np.abs(np.subtract.outer(places, places)), correlation_fwhm)
        filtered = np.moveaxis(np.tensordot(along, filtered, axes=(1, axis)), 0, axis)
    n = len(weights)
    return weights.reshape(n, -1) @ filtered.reshape(n, -1).T


@dataclass(frozen=True, eq=False)
class LineFilter:
    """Filters for a line centred on each channel.

    Parameters
    ----------
    weights : `~numpy.ndarray` of float32, shape (n_v, n_v)
        A row for each centre; the filtered noise of rms 1 has rms 1. Rows and columns of channels that
        are blank everywhere are 0.
    sigma : `~numpy.ndarray`, shape (n_v,)
        Rms of the amplitude for noise of rms 1; infinite in blank channels.
    responses : `~numpy.ndarray` of float32, shape (n_v, n_v)
        What each channel adds to the response to the line.

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools.significance.filters import line_filter
    >>> found = line_filter(4.0, 1.6, np.ones(32, bool), 0.0)
    >>> found.weights.shape, round(float(found.sigma[16]), 2)  # of noise of 1 K, in the middle of the band
    ((32, 32), 0.86)
    """

    weights: np.ndarray
    sigma: np.ndarray
    responses: np.ndarray


def line_filter(linewidth_chan, correlation_chan, usable, floor):
    """The filters for a line of one width.

    Parameters
    ----------
    linewidth_chan : float
        FWHM.
    correlation_chan : float
        FWHM of the profile that the noise is correlated over; 0 for white noise.
    usable : `~numpy.ndarray` of bool, shape (n_v,)
        False for channels that are blank everywhere.
    floor : float
        As in `sky_filter`.

    Returns
    -------
    `LineFilter`
    """
    n = usable.size
    offset = np.subtract.outer(np.arange(n), np.arange(n)).astype(float)
    line = channel_average(offset, linewidth_chan * gaussian_fwhm_to_sigma)
    covariance = correlation_at(np.abs(offset), correlation_chan)
    both = np.ix_(usable, usable)
    weights, sigma = np.zeros((n, n)), np.full(n, np.inf)
    if usable.any():
        inside = covariance[both]
        largest = inside.sum(axis=1).max()
        solved = np.linalg.solve(inside + floor * largest * np.eye(len(inside)), line[both]).T
        noise = np.sqrt(np.einsum("ck,kl,cl->c", solved, inside, solved, optimize=True))
        weights[both] = solved / noise[:, None]
        sigma[usable] = 1 / np.einsum("ck,ck->c", weights[both], line[both].T)
    return LineFilter(weights.astype(np.float32), sigma, (weights * line.T).astype(np.float32))


class PlaneConvolver:
    """Correlate maps with filters, with 0 beyond the borders.

    Parameters
    ----------
    shape : tuple of int
        (n_y, n_x) of the maps.
    filters : sequence of `~numpy.ndarray`, shape (2 r + 1, 2 r + 1)
        Symmetric.
    """

    def __init__(self, shape, filters):
        self.shape = shape
        reach = max(len(one) // 2 for one in filters)
        self.padded = tuple(next_fast_len(n + reach, real=True) for n in shape)
        self.transforms = [rfft2(self._embedded(one)).real.astype(np.float32) for one in filters]

    def _embedded(self, weights):
        """The filter with its centre at the origin, wrapped around."""
        reach = len(weights) // 2
        plane = np.zeros(self.padded)
        places = np.arange(-reach, reach + 1)
        # += and not =: on a map smaller than the filter several weights share a place.
        np.add.at(plane, (places[:, None] % self.padded[0], places % self.padded[1]), weights)
        return plane

    def transform(self, maps):
        """Of maps (..., n_y, n_x), to be given to `filtered`."""
        return rfft2(maps.astype(np.float32, copy=False), self.padded)

    def filtered(self, transformed, number):
        """The maps, correlated with one of the filters; float32."""
        planes = irfft2(transformed * self.transforms[number], self.padded, overwrite_x=True)
        return planes[..., : self.shape[0], : self.shape[1]]
