"""T_U from the shell of voxels about a feature (Gibson et al. 2005, equations 1 and 2).

T_OFF are the finite, unflagged voxels among the 26 neighbours of the feature's voxels. At each
voxel of the feature T_U is their mean with Gaussian weights, whose FWHM along each axis is half of
the feature's longest contiguous row, within limits. The sum is exact: done directly for small
features, and as three matrix products, one an axis, for large ones.
"""

import numpy as np
from astropy.stats import gaussian_fwhm_to_sigma
from numba import njit
from scipy import ndimage

from hisatools.parameters import ShellParameters
from hisatools.search.base import run_blocks

# Below it a sum of weights has lost digits.
LEAST_WEIGHT = 1e-250
FEATURES_PER_BLOCK = 256
# Measured: one weight of the direct sum costs as much as some ten products of the matrix form.
DIRECT_COST = 10


class ShellStrategy:
    """Equations (1) and (2) on each feature's bounding box.

    Parameters
    ----------
    parameters : `~hisatools.ShellParameters`, optional
    """

    def __init__(self, parameters=None):
        self.parameters = ShellParameters() if parameters is None else parameters

    def fill(self, t_unabsorbed, labels, n_features, cube, *, workers, progress):
        """Write T_U into ``t_unabsorbed`` (K) where ``labels`` > 0; returns T_OFF counts by feature.

        A feature without T_OFF keeps what is there.
        """
        limits = self._limits(cube)
        boxes = ndimage.find_objects(labels, n_features)
        blocks = [
            range(first, min(first + FEATURES_PER_BLOCK, n_features))
            for first in range(0, n_features, FEATURES_PER_BLOCK)
        ]

        def fill_block(indices):
            return [
                _fill_feature(t_unabsorbed, cube.kelvin, labels, index + 1, boxes[index], limits)
                for index in indices
            ]

        counts = run_blocks(
            fill_block, blocks, workers=workers, progress=progress, description="unabsorbed emission"
        )
        return np.array([count for block in counts for count in block], np.int64)

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


def _fill_feature(t_unabsorbed, kelvin, labels, label, box, limits):
    """T_U of one feature; returns the number of T_OFF voxels."""
    box = tuple(slice(max(s.start - 1, 0), s.stop + 1) for s in box)
    body, shell, runs = _body_and_shell(labels[box], kelvin[box], label)
    n_body, n_off = len(body), len(shell)
    if n_off == 0:
        return 0
    sigma = np.clip(0.5 * runs, limits[:, 0], limits[:, 1]) * gaussian_fwhm_to_sigma
    shape = labels[box].shape
    weights = [_weights(size, s) for size, s in zip(shape, sigma, strict=True)]
    t_off = kelvin[box][tuple(shell.T)].astype(np.float64)
    cheaper = _direct if DIRECT_COST * n_body * n_off <= 2 * np.prod(shape) * sum(shape) else _separable
    total, weighted = cheaper(body, shell, t_off, weights)
    far = total < LEAST_WEIGHT
    values = weighted / np.where(far, 1, total)
    values[far] = _distant(body[far], shell, t_off, sigma)
    t_unabsorbed[box][tuple(body.T)] = values
    return n_off


def _weights(size, sigma_pix):
    """Gaussian weights between all pairs of pixels along an axis."""
    offset = np.subtract.outer(np.arange(size), np.arange(size)) / sigma_pix
    return np.exp(-0.5 * offset**2)


@njit(cache=True, nogil=True)
def _body_and_shell(labels, kelvin, label):
    """Voxels of a feature, voxels of its shell, and its longest run along each axis."""
    n_v, n_y, n_x = labels.shape
    in_shell = np.zeros(labels.shape, np.bool_)
    body = []
    for v in range(n_v):
        for y in range(n_y):
            for x in range(n_x):
                if labels[v, y, x] == label:
                    body.append((v, y, x))
                    for i in range(max(v - 1, 0), min(v + 2, n_v)):
                        for j in range(max(y - 1, 0), min(y + 2, n_y)):
                            for k in range(max(x - 1, 0), min(x + 2, n_x)):
                                if labels[i, j, k] == 0 and not np.isnan(kelvin[i, j, k]):
                                    in_shell[i, j, k] = True
    shell = np.argwhere(in_shell)
    runs = np.array([_longest_run(labels, label, axis) for axis in range(3)], np.float64)
    return np.array(body), shell, runs


@njit(cache=True, nogil=True)
def _longest_run(labels, label, axis):
    """Length of the longest contiguous row of a feature along one axis."""
    if axis == 0:
        rows = labels.transpose(1, 2, 0)
    elif axis == 1:
        rows = labels.transpose(0, 2, 1)
    else:
        rows = labels.transpose(0, 1, 2)
    longest = 0
    for i in range(rows.shape[0]):
        for j in range(rows.shape[1]):
            run = 0
            for k in range(rows.shape[2]):
                run = run + 1 if rows[i, j, k] == label else 0
                longest = max(longest, run)
    return longest


def _direct(body, shell, t_off, weights):
    """Equation (1) as it stands: sums of the weights, and of the weights times T_OFF."""
    return _direct_sums(body, shell, t_off, *weights)


@njit(cache=True, nogil=True)
def _direct_sums(body, shell, t_off, along_v, along_y, along_x):
    total = np.zeros(len(body))
    weighted = np.zeros(len(body))
    for i in range(len(body)):
        v, y, x = body[i]
        for j in range(len(shell)):
            weight = along_v[v, shell[j, 0]] * along_y[y, shell[j, 1]] * along_x[x, shell[j, 2]]
            total[i] += weight
            weighted[i] += weight * t_off[j]
    return total, weighted


def _separable(body, shell, t_off, weights):
    """The same sums, as Gaussians spread over the box."""
    at = tuple(body.T)
    return _spread(shell, np.ones(len(shell)), weights)[at], _spread(shell, t_off, weights)[at]


def _distant(body, shell, t_off, sigma):
    """Equation (1) where all weights are below the least float: relative to the largest of them."""
    values = np.empty(len(body))
    for i, voxel in enumerate(body):
        exponent = -0.5 * (((shell - voxel) / sigma) ** 2).sum(axis=1)
        values[i] = np.average(t_off, weights=np.exp(exponent - exponent.max()))
    return values


def _spread(shell, values, weights):
    """Sum of the Gaussians about the shell's voxels, at every voxel of the box."""
    along_v, along_y, along_x = weights
    box = np.zeros([len(along) for along in weights])
    box[tuple(shell.T)] = values
    box = along_y @ (box @ along_x)
    return np.tensordot(along_v, box, axes=1)
