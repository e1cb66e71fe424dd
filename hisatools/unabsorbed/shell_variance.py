"""Variance of the weighted mean over a shell, in machine code; see `hisatools.unabsorbed.uncertainty`."""

import numpy as np
from numba import njit

from hisatools.unabsorbed.shell_sums import LEAST_WEIGHT, falls, gather_feature, sigma_pix

# The structure that the mean misses is smooth: this many voxels stand for a shell, and fewer for a
# large one, whose body has many voxels.
MOST_SOURCES = 256
LARGE_SHELL, MOST_SOURCES_OF_LARGE = 4096, 128
# Weights below this part of the largest do not matter.
LEAST_SHARE = 1e-3
# Correlations beyond this many scales of the noise do not matter.
REACH_SCALES = 3.0


@njit(cache=True, nogil=True)
def shell_variances(
    kelvin,
    labels,
    features,
    boxes,
    fwhm_limits,
    direct_cost,
    noise_scales,
    structure,
    index,
    share,
    missed,
):
    """Write the variance of T_U into ``share`` and ``missed``.

    Parameters
    ----------
    kelvin, labels, features, boxes, fwhm_limits, direct_cost, index
        As for `hisatools.unabsorbed.shell_sums.sum_small_features`.
    noise_scales : array, shape (2,)
        Scales of the noise's correlation in channels and pixels.
    structure : array, shape (k, 3)
        Gaussian covariances of the emission, as in `~hisatools.unabsorbed.uncertainty.ErrorModel`.
    share : array, shape (m,)
        Variance of the noise of T_U over that of one voxel; infinite without a shell.
    missed : array, shape (m,)
        Variance of the structure that T_U misses, K^2.

    Returns
    -------
    array of bool, shape (n,)
        True for features whose ``share`` is left out, since the matrix form is cheaper.
    """
    large = np.zeros(len(features), np.bool_)
    for i in range(len(features)):
        body, places, shell, _, runs = gather_feature(kelvin, labels, features[i], boxes[i], index)
        if len(shell) == 0:
            for j in range(len(places)):
                share[places[j]] = np.inf
            continue
        sigma = sigma_pix(runs, fwhm_limits)
        n_v, n_y, n_x = boxes[i, :, 1] - boxes[i, :, 0]
        _missed_structure(body, places, shell, (n_v, max(n_y, n_x)), sigma, structure, missed)
        if direct_cost * len(body) * len(shell) > 2.0 * n_v * n_y * n_x * (n_v + n_y + n_x):
            large[i] = True
            continue
        neighbours = correlated_neighbours(shell, (n_v, n_y, n_x), sigma, noise_scales)
        along_v, along_y, along_x = falls(n_v, sigma[0]), falls(n_y, sigma[1]), falls(n_x, sigma[2])
        for j in range(len(body)):
            share[places[j]] = _noise_share(body[j], shell, along_v, along_y, along_x, sigma, neighbours)
    return large


@njit(cache=True, nogil=True)
def correlated_neighbours(shell, shape, sigma, noise_scales):
    """How many voxels of a shell share the noise of each: sum w_i w_j rho_ij is sum w_i^2 of these.

    Exactly so would be sum_j rho_ij w_j / w_i. Between Gaussian weights of scale s and a correlation of
    scale r, the double integral along an axis is that of w^2 times the integral of rho, divided by
    sqrt(1 + r^2 / 2 s^2); two of the three axes lie in the shell.
    """
    n_v, n_y, n_x = shape
    wider = 1.0
    for axis in range(3):
        wider *= 1 + 0.5 * (noise_scales[min(axis, 1)] / sigma[axis]) ** 2
    fewer = wider ** (-1 / 3)
    in_shell = np.zeros((n_v, n_y, n_x), np.uint8)
    for j in range(len(shell)):
        in_shell[shell[j, 0], shell[j, 1], shell[j, 2]] = 1
    along_v, along_sky = _correlation(noise_scales[0]), _correlation(noise_scales[1])
    reach_v, reach = len(along_v) - 1, len(along_sky) - 1
    neighbours = np.zeros(len(shell))
    for j in range(len(shell)):
        v, y, x = shell[j]
        for k in range(max(v - reach_v, 0), min(v + reach_v + 1, n_v)):
            for row in range(max(y - reach, 0), min(y + reach + 1, n_y)):
                fall = along_v[abs(k - v)] * along_sky[abs(row - y)]
                for column in range(max(x - reach, 0), min(x + reach + 1, n_x)):
                    if in_shell[k, row, column]:
                        neighbours[j] += fall * along_sky[abs(column - x)]
        neighbours[j] = max(neighbours[j] * fewer, 1.0)
    return neighbours


@njit(cache=True, nogil=True)
def _correlation(scale):
    """The noise's correlation at each distance along an axis."""
    if scale <= 0:
        return np.ones(1)
    return falls(int(REACH_SCALES * scale) + 1, scale)


@njit(cache=True, nogil=True)
def _noise_share(voxel, shell, along_v, along_y, along_x, sigma, neighbours):
    """Variance of the weighted mean over that of one voxel."""
    total = 0.0
    squares = 0.0
    for j in range(len(shell)):
        weight = along_v[abs(voxel[0] - shell[j, 0])] * along_y[abs(voxel[1] - shell[j, 1])]
        weight *= along_x[abs(voxel[2] - shell[j, 2])]
        total += weight
        squares += weight**2 * neighbours[j]
    if squares < LEAST_WEIGHT:
        return distant_share(voxel, shell, sigma, neighbours)
    return min(squares / total**2, 1.0)


@njit(cache=True, nogil=True)
def distant_share(voxel, shell, sigma, neighbours):
    """The same where all weights are below the least float: relative to the largest of them."""
    weights = np.empty(len(shell))
    _relative_weights(voxel, shell, 1, sigma, weights)
    total = 0.0
    squares = 0.0
    for j in range(len(shell)):
        total += weights[j]
        squares += weights[j] ** 2 * neighbours[j]
    return min(squares / total**2, 1.0)


@njit(cache=True, nogil=True)
def _relative_weights(voxel, shell, step, sigma, weights):
    """Write the weights of every ``step``-th voxel of a shell, of which the largest is 1."""
    highest = -np.inf
    for j in range(len(weights)):
        exponent = 0.0
        for axis in range(3):
            exponent -= 0.5 * ((shell[j * step, axis] - voxel[axis]) / sigma[axis]) ** 2
        weights[j] = exponent
        highest = max(highest, exponent)
    for j in range(len(weights)):
        weights[j] = np.exp(weights[j] - highest)


@njit(cache=True, nogil=True)
def _missed_structure(body, places, shell, reach, sigma, structure, missed):
    """Kriging variance of the mean over some of the shell's voxels, at each voxel of the body."""
    if len(structure) == 0:
        return
    most = MOST_SOURCES if len(shell) <= LARGE_SHELL else MOST_SOURCES_OF_LARGE
    step = (len(shell) - 1) // most + 1
    n = (len(shell) - 1) // step + 1
    along_v, on_sky = _component_falls(structure, 1, reach[0]), _component_falls(structure, 2, reach[1])
    for k in range(len(structure)):
        for j in range(reach[0]):
            along_v[j, k] *= structure[k, 0]
    between = np.empty((n, n))
    for j in range(n):
        for k in range(j, n):
            covariance = _covariance(shell[j * step], shell[k * step], along_v, on_sky)
            between[j, k] = between[k, j] = covariance
    chosen, weights = np.empty(n, np.int64), np.empty(n)
    for i in range(len(body)):
        _relative_weights(body[i], shell, step, sigma, weights)
        n_chosen = _keep_largest(weights, chosen)
        variance = between[0, 0]
        for j in range(n_chosen):
            inner = 0.5 * weights[j] * between[0, 0]
            for k in range(j):
                inner += weights[k] * between[chosen[j], chosen[k]]
            inner -= _covariance(body[i], shell[chosen[j] * step], along_v, on_sky)
            variance += 2.0 * weights[j] * inner
        missed[places[i]] = max(variance, 0.0)


@njit(cache=True, nogil=True)
def _component_falls(structure, column, size):
    """Each Gaussian of the structure at each distance along an axis, shape (size, k)."""
    found = np.empty((size, len(structure)))
    for k in range(len(structure)):
        for distance in range(size):
            found[distance, k] = np.exp(-0.5 * (distance / structure[k, column]) ** 2)
    return found


@njit(cache=True, nogil=True)
def _covariance(one, other, along_v, on_sky):
    """C of the emission between two voxels, K^2."""
    v, y, x = abs(one[0] - other[0]), abs(one[1] - other[1]), abs(one[2] - other[2])
    total = 0.0
    for k in range(along_v.shape[1]):
        total += along_v[v, k] * on_sky[y, k] * on_sky[x, k]
    return total


@njit(cache=True, nogil=True)
def _keep_largest(weights, chosen):
    """Move the weights that matter to the front, make their sum 1, and note where they were."""
    n, total = 0, 0.0
    for j in range(len(weights)):
        if weights[j] >= LEAST_SHARE:
            chosen[n], weights[n] = j, weights[j]
            total += weights[n]
            n += 1
    for j in range(n):
        weights[j] /= total
    return n
