"""Sums over the shells of many small features, in machine code."""

import numpy as np
from astropy.stats import gaussian_fwhm_to_sigma
from numba import njit

# Below it a sum of weights has lost digits.
LEAST_WEIGHT = 1e-250


@njit(cache=True, nogil=True)
def sum_small_features(kelvin, labels, features, boxes, fwhm_limits, direct_cost, index, values, n_off):
    """Write T_U of small features into ``values``, and the number of T_OFF of all into ``n_off``.

    Parameters
    ----------
    kelvin, labels : arrays, shape (n_v, n_y, n_x)
    features : array of int, shape (n,)
        Labels.
    boxes : array of int, shape (n, 3, 2)
        What holds each feature and its shell: start and stop along (v, y, x).
    fwhm_limits : array, shape (3, 2)
        Least and largest FWHM along each axis, in channels and pixels.
    direct_cost : float
        Cost of a weight of the direct sum over that of a product of the matrix form.
    index, values : arrays, shape (m,)
        Flat places of the wanted voxels, ascending, and their T_U.
    n_off : array of int, shape (n,)

    Returns
    -------
    array of bool, shape (n,)
        True for features that are left out, since the matrix form is cheaper.
    """
    large = np.zeros(len(features), np.bool_)
    for i in range(len(features)):
        body, places, shell, t_off, runs = gather_feature(kelvin, labels, features[i], boxes[i], index)
        n_off[i] = len(shell)
        if len(shell) == 0:
            continue
        n_v, n_y, n_x = boxes[i, :, 1] - boxes[i, :, 0]
        if direct_cost * len(body) * len(shell) > 2.0 * n_v * n_y * n_x * (n_v + n_y + n_x):
            large[i] = True
            continue
        sigma = sigma_pix(runs, fwhm_limits)
        along_v, along_y, along_x = (
            falls(n_v, sigma[0]),
            falls(n_y, sigma[1]),
            falls(n_x, sigma[2]),
        )
        for j in range(len(body)):
            value = _mean(body[j], shell, t_off, along_v, along_y, along_x)
            values[places[j]] = distant_mean(body[j], shell, t_off, sigma) if np.isnan(value) else value
    return large


@njit(cache=True, nogil=True)
def sigma_pix(runs, fwhm_limits):
    """Equation (2): the FWHM is half the longest run, within limits; returned as sigma."""
    sigma = np.empty(3)
    for axis in range(3):
        fwhm = min(max(0.5 * runs[axis], fwhm_limits[axis, 0]), fwhm_limits[axis, 1])
        sigma[axis] = fwhm * gaussian_fwhm_to_sigma
    return sigma


@njit(cache=True, nogil=True)
def falls(size, sigma):
    """The Gaussian at each distance along an axis."""
    falls = np.empty(size)
    for distance in range(size):
        falls[distance] = np.exp(-0.5 * (distance / sigma) ** 2)
    return falls


@njit(cache=True, nogil=True)
def _mean(voxel, shell, t_off, along_v, along_y, along_x):
    """Equation (1) as it stands; NaN where the weights are too small for floats."""
    total = 0.0
    weighted = 0.0
    for j in range(len(shell)):
        weight = along_v[abs(voxel[0] - shell[j, 0])] * along_y[abs(voxel[1] - shell[j, 1])]
        weight *= along_x[abs(voxel[2] - shell[j, 2])]
        total += weight
        weighted += weight * t_off[j]
    return weighted / total if total >= LEAST_WEIGHT else np.nan


@njit(cache=True, nogil=True)
def distant_mean(voxel, shell, t_off, sigma):
    """Equation (1) where all weights are below the least float: relative to the largest of them."""
    exponent = np.zeros(len(shell))
    for j in range(len(shell)):
        for axis in range(3):
            exponent[j] -= 0.5 * ((shell[j, axis] - voxel[axis]) / sigma[axis]) ** 2
    highest = exponent.max()
    total = 0.0
    weighted = 0.0
    for j in range(len(shell)):
        weight = np.exp(exponent[j] - highest)
        total += weight
        weighted += weight * t_off[j]
    return weighted / total


@njit(cache=True, nogil=True)
def gather_feature(kelvin, labels, label, box, index):
    """Wanted voxels of a feature, its shell, and its longest run along each axis.

    Returns
    -------
    body, places
        (v, y, x) of the wanted voxels, counted from the corner of the box, and their places in ``index``.
    shell, t_off
        (v, y, x) and brightness in K of the shell's voxels.
    runs : array, shape (3,)
        Length of the longest contiguous row along each axis.
    """
    in_shell = np.zeros((box[0, 1] - box[0, 0], box[1, 1] - box[1, 0], box[2, 1] - box[2, 0]), np.uint8)
    n_voxels, runs = _mark_shell(kelvin, labels, label, box, in_shell)
    body, places = _wanted(labels, label, box, index, n_voxels)
    shell, t_off = _shell(kelvin, box, in_shell)
    return body, places, shell, t_off, runs


@njit(cache=True, nogil=True)
def _mark_shell(kelvin, labels, label, box, in_shell):
    """Mark T_OFF in the box; returns the number of the feature's voxels and its longest runs."""
    (v0, v1), (y0, y1), (x0, x1) = box
    n_voxels = 0
    runs = np.zeros(3)
    run_v, run_y = np.zeros((y1 - y0, x1 - x0)), np.zeros(x1 - x0)
    for v in range(v0, v1):
        run_y[:] = 0
        for y in range(y0, y1):
            run_x = 0.0
            for x in range(x0, x1):
                if labels[v, y, x] != label:
                    run_v[y - y0, x - x0] = run_y[x - x0] = run_x = 0.0
                    continue
                n_voxels += 1
                run_x += 1
                run_y[x - x0] += 1
                run_v[y - y0, x - x0] += 1
                runs[0] = max(runs[0], run_v[y - y0, x - x0])
                runs[1] = max(runs[1], run_y[x - x0])
                runs[2] = max(runs[2], run_x)
                for i in range(max(v - 1, v0), min(v + 2, v1)):
                    for j in range(max(y - 1, y0), min(y + 2, y1)):
                        for k in range(max(x - 1, x0), min(x + 2, x1)):
                            if labels[i, j, k] == 0 and not np.isnan(kelvin[i, j, k]):
                                in_shell[i - v0, j - y0, k - x0] = 1
    return n_voxels, runs


@njit(cache=True, nogil=True)
def _shell(kelvin, box, in_shell):
    """Places in the box and brightness of the voxels that are marked, in the order of the array."""
    shell, t_off = np.empty((np.sum(in_shell), 3), np.int32), np.empty(np.sum(in_shell))
    n = 0
    for v in range(in_shell.shape[0]):
        for y in range(in_shell.shape[1]):
            for x in range(in_shell.shape[2]):
                if in_shell[v, y, x]:
                    shell[n, 0], shell[n, 1], shell[n, 2] = v, y, x
                    t_off[n] = kelvin[box[0, 0] + v, box[1, 0] + y, box[2, 0] + x]
                    n += 1
    return shell, t_off


@njit(cache=True, nogil=True)
def _wanted(labels, label, box, index, n_voxels):
    """Those of the feature's voxels that are in ``index``, and where."""
    _, n_y, n_x = labels.shape
    body, places = np.empty((n_voxels, 3), np.int32), np.empty(n_voxels, np.int64)
    n = 0
    for v in range(box[0, 0], box[0, 1]):
        for y in range(box[1, 0], box[1, 1]):
            row = (v * n_y + y) * n_x
            place = np.searchsorted(index, row + box[2, 0])
            while place < index.size and index[place] < row + box[2, 1]:
                x = index[place] - row
                if labels[v, y, x] == label:
                    body[n, 0], body[n, 1], body[n, 2] = v - box[0, 0], y - box[1, 0], x - box[2, 0]
                    places[n] = place
                    n += 1
                place += 1
    return body[:n], places[:n]
