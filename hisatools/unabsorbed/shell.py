"""T_U from the shell of voxels about a feature (Gibson et al. 2005, equations 1 and 2).

T_OFF are the finite, unflagged voxels among the 26 neighbours of the feature's voxels. At each
voxel of the feature T_U is their mean with Gaussian weights, whose FWHM along each axis is half of
the feature's longest contiguous row, within limits. The sum is exact: done directly for small
features, and as three matrix products, one an axis, for large ones. So is the noise of the mean; the
structure that it misses is summed over part of the shell.
"""

import numpy as np
from scipy import ndimage

from hisatools.parameters import ShellParameters
from hisatools.search.base import run_blocks
from hisatools.unabsorbed.protocols import VoxelEstimate
from hisatools.unabsorbed.shell_sums import (
    LEAST_WEIGHT,
    distant_mean,
    gather_feature,
    sigma_pix,
    sum_small_features,
)
from hisatools.unabsorbed.shell_variance import correlated_neighbours, distant_share, shell_variances

FEATURES_PER_BLOCK = 256
# Boxes of more voxels are gone through plane by plane, which takes longer and less memory.
LARGEST_BOX = 2**21
# Measured: one weight of the direct sum costs as much as one product of the matrix form.
DIRECT_COST = 1.0


class ShellStrategy:
    """Equations (1) and (2) on each feature's bounding box.

    Parameters
    ----------
    parameters : `~hisatools.ShellParameters`, optional

    Notes
    -----
    The uncertainty is that of `hisatools.unabsorbed.uncertainty`. The noise is summed once over the
    shell, with the number of voxels that share the noise of each; the structure that is missed is summed
    twice, over at most 256 voxels of the shell.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools import ShellParameters, UnabsorbedEstimator
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> model = simulate_cube(ModelParameters(shape=(32, 48, 48), n_pucks=5, n_components=50), seed=35)
    >>> mask = model.delta_t < -2 * u.K
    >>> estimator = UnabsorbedEstimator("shell", ShellParameters(max_fwhm_angle=10 * u.arcmin))
    >>> estimate = estimator.estimate(model.cube, mask, noise=6 * u.K)
    >>> estimate.t_unabsorbed[mask].mean().round(), model.t_unabsorbed[mask].mean().round()
    (<Quantity 74. K>, <Quantity 79. K>)
    """

    Parameters = ShellParameters
    citation = "Gibson et al. 2005, ApJ 626, 214, section 2.4.1"

    def __init__(self, parameters=None):
        self.parameters = ShellParameters() if parameters is None else parameters

    def estimate(self, cube, labels, features, index, *, errors=None, workers=1, progress=False):
        """T_U at some voxels: see `hisatools.unabsorbed.protocols.UnabsorbedStrategy`."""
        values = cube.kelvin.reshape(-1)[index]
        boxes, limits = _boxes(labels, features), self._limits(cube)
        n_off = np.zeros(len(features), np.int64)
        variance = None if errors is None else _Variance(cube, labels, errors, limits, index)

        def estimate_block(block):
            large = sum_small_features(
                cube.kelvin,
                labels,
                features[block],
                boxes[block],
                limits,
                DIRECT_COST,
                index,
                values,
                n_off[block],
            )
            for i in np.flatnonzero(large) + block.start:
                _sum_large_feature(cube.kelvin, labels, features[i], boxes[i], limits, index, values)
            if variance is not None:
                variance.add(features[block], boxes[block])

        starts = range(0, len(features), FEATURES_PER_BLOCK)
        blocks = [slice(first, min(first + FEATURES_PER_BLOCK, len(features))) for first in starts]
        run_blocks(
            estimate_block, blocks, workers=workers, progress=progress, description="unabsorbed emission"
        )
        return VoxelEstimate(values, n_off, None if variance is None else variance.sigma_kelvin())

    def _limits(self, cube):
        """Least and largest FWHM along (v, y, x), in channels and pixels, shape (3, 2)."""
        parameters = self.parameters
        angle = [
            (fwhm / cube.pixel_scale).to_value("")
            for fwhm in (parameters.min_fwhm_angle, parameters.max_fwhm_angle)
        ]
        velocity = [
            (fwhm / cube.channel_width).to_value("")
            for fwhm in (parameters.min_fwhm_velocity, parameters.max_fwhm_velocity)
        ]
        return np.array([velocity, angle, angle])


class _Variance:
    """Variances of T_U as they come in, feature by feature."""

    def __init__(self, cube, labels, errors, limits, index):
        self.kelvin, self.labels, self.errors = cube.kelvin, labels, errors
        self.limits, self.index = limits, index
        self.noise_scales = np.array(errors.noise_scales, float)
        self.share, self.missed = np.zeros((2, index.size))

    def add(self, features, boxes):
        """Work out some features."""
        structure = np.ascontiguousarray(self.errors.structure)
        large = shell_variances(
            self.kelvin,
            self.labels,
            features,
            boxes,
            self.limits,
            DIRECT_COST,
            self.noise_scales,
            structure,
            self.index,
            self.share,
            self.missed,
        )
        for i in np.flatnonzero(large):
            self._add_large_share(features[i], boxes[i])

    def _add_large_share(self, label, box):
        """The noise as sums of Gaussians spread over the box: the square of one is a narrower one."""
        body, places, shell, _, runs = gather_feature(self.kelvin, self.labels, label, box, self.index)
        sigma, shape = sigma_pix(runs, self.limits), box[:, 1] - box[:, 0]
        neighbours = correlated_neighbours(shell, tuple(shape), sigma, self.noise_scales)
        total = _spread(body, shell, np.ones(len(shell)), _all_weights(shape, sigma))
        squares = _spread(body, shell, neighbours, _all_weights(shape, sigma / np.sqrt(2)))
        far = squares < LEAST_WEIGHT
        share = squares / np.where(far, 1, total) ** 2
        for i in np.flatnonzero(far):
            share[i] = distant_share(body[i], shell, sigma, neighbours)
        self.share[places] = np.minimum(share, 1)

    def sigma_kelvin(self):
        """1-sigma uncertainty at all voxels; infinite where there is no shell."""
        noise_kelvin = self.errors.sigma_kelvin(self.index)
        variance = np.full(self.index.size, np.inf)
        known = np.isfinite(self.share)
        variance[known] = noise_kelvin[known] ** 2 * self.share[known] + self.missed[known]
        return np.sqrt(variance).astype(np.float32)


def _boxes(labels, features):
    """Start and stop of what holds each feature and its shell along (v, y, x), shape (n, 3, 2)."""
    slices = ndimage.find_objects(labels)
    boxes = np.array([[(s.start - 1, s.stop + 1) for s in slices[label - 1]] for label in features], np.int64)
    return np.clip(boxes.reshape(-1, 3, 2), 0, np.array(labels.shape)[:, None])


def _sum_large_feature(kelvin, labels, label, box, limits, index, values):
    """The same sums as Gaussians spread over the box, one axis after the other."""
    body, places, shell, t_off, runs = gather_feature(kelvin, labels, label, box, index)
    sigma = sigma_pix(runs, limits)
    weights = _all_weights(box[:, 1] - box[:, 0], sigma)
    total = _spread(body, shell, np.ones(len(shell)), weights)
    weighted = _spread(body, shell, t_off, weights)
    far = total < LEAST_WEIGHT
    result = weighted / np.where(far, 1, total)
    for i in np.flatnonzero(far):
        result[i] = distant_mean(body[i], shell, t_off, sigma)
    values[places] = result


def _all_weights(shape, sigma):
    return [_weights(size, along) for size, along in zip(shape, sigma, strict=True)]


def _weights(size, sigma):
    """Gaussian weights between all pairs of pixels along an axis."""
    offset = np.subtract.outer(np.arange(size), np.arange(size)) / sigma
    return np.exp(-0.5 * offset**2)


def _spread(body, shell, values, weights):
    """Sum of the Gaussians about the shell's voxels, at the body's voxels."""
    if np.prod([len(along) for along in weights]) > LARGEST_BOX:
        return _spread_by_plane(body, shell, values, weights)
    along_v, along_y, along_x = weights
    box = np.zeros([len(along) for along in weights])
    box[tuple(shell.T)] = values
    box = along_y @ (box @ along_x)
    return np.tensordot(along_v, box, axes=1)[tuple(body.T)]


def _spread_by_plane(body, shell, values, weights):
    """The same without a box: each channel of the shell is spread and added to the body at once."""
    along_v, along_y, along_x = weights
    total = np.zeros(len(body))
    ends = np.searchsorted(shell[:, 0], np.arange(len(along_v) + 1))
    for channel in np.flatnonzero(np.diff(ends)):
        voxels = slice(*ends[channel : channel + 2])
        plane = np.zeros((len(along_y), len(along_x)))
        plane[shell[voxels, 1], shell[voxels, 2]] = values[voxels]
        plane = along_y @ plane @ along_x
        total += along_v[channel, body[:, 0]] * plane[body[:, 1], body[:, 2]]
    return total
