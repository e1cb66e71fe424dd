"""T_U from the shell of voxels about a feature (Gibson et al. 2005, equations 1 and 2).

T_OFF are the finite, unflagged voxels among the 26 neighbours of the feature's voxels. At each
voxel of the feature T_U is their mean with Gaussian weights, whose FWHM along each axis is half of
the feature's longest contiguous row, within limits. The sum is exact: done directly for small
features, and as three matrix products, one an axis, for large ones.
"""

import numpy as np
from scipy import ndimage

from hisatools.parameters import ShellParameters
from hisatools.search.base import run_blocks
from hisatools.unabsorbed.shell_sums import (
    LEAST_WEIGHT,
    distant_mean,
    gather_feature,
    sigma_pix,
    sum_small_features,
)

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
    """

    def __init__(self, parameters=None):
        self.parameters = ShellParameters() if parameters is None else parameters

    def estimate(self, cube, labels, features, index, *, workers, progress):
        """T_U at some voxels.

        Parameters
        ----------
        cube : `~hisatools.HISACube`
        labels : `~numpy.ndarray` of int32, shape (n_v, n_y, n_x)
            0 outside features, where T_OFF is taken from.
        features : `~numpy.ndarray` of int
            Labels of the features that are worked on, ascending.
        index : `~numpy.ndarray` of int64, shape (n,)
            Voxels of these features for which T_U is wanted: places in the flattened cube, ascending.
        workers : int
        progress : bool

        Returns
        -------
        t_unabsorbed_kelvin : `~numpy.ndarray` of float32, shape (n,)
            T_ON where a feature has no T_OFF.
        n_off : `~numpy.ndarray` of int64
            Number of T_OFF voxels of each feature.
        """
        values = cube.kelvin.reshape(-1)[index]
        boxes = _boxes(labels, features)
        limits = self._limits(cube)
        n_off = np.zeros(len(features), np.int64)

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

        starts = range(0, len(features), FEATURES_PER_BLOCK)
        blocks = [slice(first, min(first + FEATURES_PER_BLOCK, len(features))) for first in starts]
        run_blocks(
            estimate_block, blocks, workers=workers, progress=progress, description="unabsorbed emission"
        )
        return values, n_off

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


def _boxes(labels, features):
    """Start and stop of what holds each feature and its shell along (v, y, x), shape (n, 3, 2)."""
    slices = ndimage.find_objects(labels)
    boxes = np.array([[(s.start - 1, s.stop + 1) for s in slices[label - 1]] for label in features], np.int64)
    return np.clip(boxes.reshape(-1, 3, 2), 0, np.array(labels.shape)[:, None])


def _sum_large_feature(kelvin, labels, label, box, limits, index, values):
    """The same sums as Gaussians spread over the box, one axis after the other."""
    body, places, shell, t_off, runs = gather_feature(kelvin, labels, label, box, index)
    sigma = sigma_pix(runs, limits)
    weights = [_weights(size, s) for size, s in zip(box[:, 1] - box[:, 0], sigma, strict=True)]
    total = _spread(body, shell, np.ones(len(shell)), weights)
    weighted = _spread(body, shell, t_off, weights)
    far = total < LEAST_WEIGHT
    result = weighted / np.where(far, 1, total)
    for i in np.flatnonzero(far):
        result[i] = distant_mean(body[i], shell, t_off, sigma)
    values[places] = result


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
