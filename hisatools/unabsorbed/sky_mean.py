"""Mean of T_OFF over the sky about a sight line, and the error of T_U that is made from such means.

The places of the mean are a coarse grid: noise is nearly the same at places closer than the beam, so
that a finer one would cost time and gain little. It makes the sums over all pairs of places exact and cheap.
"""

from dataclasses import dataclass

import numpy as np
from astropy.stats import gaussian_fwhm_to_sigma
from numba import njit

# Places along an axis, from the middle, and their distance as a fraction of the FWHM.
STENCIL_REACH = 2
STENCIL_STEP = 0.5


@dataclass(frozen=True, eq=False)
class SkyMean:
    """Places and weights of a Gaussian mean over the sky.

    Parameters
    ----------
    offsets : `~numpy.ndarray` of int, shape (n, 2)
        Pixels from the sight line along (y, x); the sight line itself is one of the places.
    falls : `~numpy.ndarray`, shape (n,)
        Weights; 1 for the sight line.
    """

    offsets: np.ndarray
    falls: np.ndarray

    @classmethod
    def of_fwhm(cls, fwhm_pix):
        """The mean of a FWHM in pixels; of the sight line alone where that is below a pixel."""
        if fwhm_pix < 1:
            return cls(np.zeros((1, 2), np.int64), np.ones(1))
        reach = np.arange(-STENCIL_REACH, STENCIL_REACH + 1)
        # Rounded away from 0 on both sides, so that a mirrored cube has a mirrored mean.
        along = np.unique(np.sign(reach) * np.floor(np.abs(reach) * STENCIL_STEP * fwhm_pix + 0.5))
        y, x = (axis.ravel() for axis in np.meshgrid(along, along, indexing="ij"))
        inside = np.hypot(y, x) <= (STENCIL_REACH + 0.5) * STENCIL_STEP * fwhm_pix
        offsets = np.column_stack([y, x])[inside]
        sigma_pix = fwhm_pix * gaussian_fwhm_to_sigma
        return cls(offsets.astype(np.int64), np.exp(-0.5 * (offsets**2).sum(axis=1) / sigma_pix**2))

    def of(self, kelvin, labels, channels, sight_lines):
        """Mean brightness of the finite voxels outside features about some voxels, which are such themselves.

        Parameters
        ----------
        kelvin, labels : `~numpy.ndarray`, shape (n_v, n_y, n_x)
        channels : `~numpy.ndarray` of int, shape (m, n)
        sight_lines : `~numpy.ndarray` of int, shape (m,)
            Places in the flattened sky.

        Returns
        -------
        t_off_kelvin : `~numpy.ndarray`, shape (m, n)
        shares : `~numpy.ndarray`, shape (m, n, n_places)
            What each place has in the mean; their sum is 1.
        """
        t_off_kelvin = np.empty(channels.shape)
        shares = np.zeros((*channels.shape, len(self.falls)))
        _mean(kelvin, labels, channels, sight_lines, self.offsets, self.falls, t_off_kelvin, shares)
        return t_off_kelvin, shares

    def between(self, scale_pix):
        """Gaussian correlation between the places, shape (n, n)."""
        apart = self.offsets[:, None] - self.offsets
        return _gaussian(np.sqrt((apart**2).sum(axis=2)), scale_pix)

    def to_sight_line(self, scale_pix):
        """Gaussian correlation between each place and the sight line, shape (n,)."""
        return _gaussian(np.sqrt((self.offsets**2).sum(axis=1)), scale_pix)


@njit(cache=True, nogil=True)
def _mean(kelvin, labels, channels, sight_lines, offsets, falls, t_off_kelvin, shares):
    _, n_y, n_x = kelvin.shape
    for run in range(channels.shape[0]):
        for i in range(channels.shape[1]):
            v = channels[run, i]
            total = weighted = 0.0
            for place in range(len(falls)):
                y = sight_lines[run] // n_x + offsets[place, 0]
                x = sight_lines[run] % n_x + offsets[place, 1]
                if not (0 <= y < n_y and 0 <= x < n_x):
                    continue
                if labels[v, y, x] == 0 and np.isfinite(kelvin[v, y, x]):
                    shares[run, i, place] = falls[place]
                    total += falls[place]
                    weighted += falls[place] * kelvin[v, y, x]
            t_off_kelvin[run, i] = weighted / total
            shares[run, i] /= total


class SkyMeanErrors:
    """Error variance of T_U that is linear in sky means of T_OFF of its own sight line.

    The same sums as in `hisatools.unabsorbed.uncertainty.ErrorModel.variance`. All covariances there are
    products of one along the spectrum and one over the sky; the latter is summed over the places of the
    mean first. The noise of a place is taken to be that of the sight line.

    Parameters
    ----------
    errors : `~hisatools.unabsorbed.uncertainty.ErrorModel`
    shape : tuple of int
        (n_v, n_y, n_x) of the cube.
    sky_mean : `SkyMean`
    """

    def __init__(self, errors, shape, sky_mean):
        self.sigma_kelvin = errors.sigma_kelvin
        self.n_sky = shape[1] * shape[2]
        distance = np.arange(shape[0], dtype=float)
        scale_chan, scale_pix = errors.noise_scales
        self.noise = _gaussian(distance, scale_chan), sky_mean.between(scale_pix)
        self.structure = [
            (variance * _gaussian(distance, chan), sky_mean.between(pix), sky_mean.to_sight_line(pix))
            for variance, chan, pix in errors.structure
        ]

    def variance(self, weights, shares, sources, targets, sight_lines):
        """Variance of T_U in K^2, shape (m, n_wanted).

        Parameters
        ----------
        weights : `~numpy.ndarray`, shape (m, n_wanted, n_off)
        shares : `~numpy.ndarray`, shape (m, n_off, n_places)
        sources, targets : `~numpy.ndarray` of int, shape (m, n_off) and (m, n_wanted)
            Channels of T_OFF and of the wanted voxels.
        sight_lines : `~numpy.ndarray` of int, shape (m,)
        """
        apart = _distances(sources, sources)
        sigma_kelvin = self.sigma_kelvin((sources * self.n_sky + sight_lines[:, None]).ravel())
        noisy = weights * sigma_kelvin.reshape(len(sources), 1, -1)
        falls, between = self.noise
        kept = _quadratic(noisy, falls[apart] * _shared(shares, between))
        missed = self._missed(weights, shares, sources, targets, apart)
        # Rounding may take a sum that is 0 below it.
        return np.maximum(kept, 0) + np.maximum(missed, 0)

    def _missed(self, weights, shares, sources, targets, apart):
        """Structure that T_U does not follow: the variance of kriging."""
        if not self.structure:
            return 0.0
        away = _distances(targets, sources)
        among = towards = total = 0.0
        for falls, between, to_sight_line in self.structure:
            among = among + falls[apart] * _shared(shares, between)
            towards = towards + falls[away] * (shares @ to_sight_line)[:, None]
            total += falls[0]
        return total - 2 * np.einsum("mts,mts->mt", weights, towards) + _quadratic(weights, among)


def _distances(one, other):
    """Channels between those of each run: shape (m, n, n_other), or (1, n, n_other) if all runs agree."""
    pattern = np.concatenate([one, other], axis=1) - other[:, :1]
    if (pattern == pattern[0]).all():
        one, other = one[:1], other[:1]
    return np.abs(one[:, :, None] - other[:, None, :])


def _shared(shares, correlation):
    """Correlation of the means of each pair of channels, shape (m, n_off, n_off)."""
    return (shares @ correlation) @ shares.swapaxes(1, 2)


def _quadratic(weights, covariance):
    return np.einsum("mts,mts->mt", weights @ covariance, weights)


def _gaussian(distance, scale):
    """Gaussian of a distance; a scale of 0 is a delta function."""
    return np.exp(-0.5 * (distance / scale) ** 2) if scale > 0 else (distance == 0).astype(float)
