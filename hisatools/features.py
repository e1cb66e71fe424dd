"""Features of a mask: 3-D grouping, and the velocity and angular width at every voxel.

The widths are those of the paper, section 3.3.1. Plain arrays in pixels and channels.
"""

import numpy as np
from numba import njit, prange
from scipy import ndimage


def label_features(mask):
    """Group voxels that share a face (6-connectivity) into features.

    Parameters
    ----------
    mask : `~numpy.ndarray` of bool, shape (n_v, n_y, n_x)

    Returns
    -------
    labels : `~numpy.ndarray` of int32, same shape
        0 outside, then 1, 2, ... in the order of the array.
    n_features : int
    """
    labels = np.empty(mask.shape, np.int32)
    n_features = ndimage.label(mask, output=labels)
    return labels, n_features


def feature_significance(depth_kelvin, sigma_kelvin, feature, n_features, correlated_voxels):
    """How far each feature's summed absorption stands above noise, in standard deviations.

    Parameters
    ----------
    depth_kelvin, sigma_kelvin : `~numpy.ndarray`, shape (n,)
        Depths, -dT, and the noise of the features' voxels.
    feature : `~numpy.ndarray` of int, shape (n,)
        Index of the feature, from 0.
    n_features : int
    correlated_voxels : float
        Volume over which the noise is correlated, in voxels.

    Returns
    -------
    `~numpy.ndarray`, shape (n_features,)
        Sum of the depths over the standard deviation of that sum, taking the voxels of each correlation
        volume as fully correlated. Voxels are chosen for being dark, so noise alone reaches 2 to 3.
    """
    total = np.bincount(feature, weights=depth_kelvin, minlength=n_features)
    variance = np.bincount(feature, weights=sigma_kelvin.astype(float) ** 2, minlength=n_features)
    n_voxels = np.bincount(feature, minlength=n_features)
    with np.errstate(divide="ignore"):
        return total / np.sqrt(variance * np.minimum(n_voxels, correlated_voxels))


def velocity_widths(depth_kelvin, mask):
    """FWHM of the absorption line each voxel belongs to, in channels.

    Parameters
    ----------
    depth_kelvin : `~numpy.ndarray`, shape (n_v, n_y, n_x)
        Depths, -dT; used inside ``mask`` only.
    mask : `~numpy.ndarray` of bool, same shape

    Returns
    -------
    `~numpy.ndarray` of float32, same shape
        The FWHM of the contiguous run of masked channels, from linear interpolation at half of
        its maximum (the absorption is 0 outside the run); 0 outside ``mask``.
    """
    return _velocity_widths(np.ascontiguousarray(depth_kelvin), np.ascontiguousarray(mask))


@njit(cache=True, parallel=True)
def _velocity_widths(depth, mask):
    n_v, n_y, n_x = depth.shape
    widths = np.zeros(depth.shape, np.float32)
    for y in prange(n_y):
        for x in range(n_x):
            first = 0
            while first < n_v:
                if not mask[first, y, x]:
                    first += 1
                    continue
                stop = first
                while stop < n_v and mask[stop, y, x]:
                    stop += 1
                width = _run_fwhm(depth[first:stop, y, x])
                for k in range(first, stop):
                    widths[k, y, x] = width
                first = stop
    return widths


@njit(cache=True)
def _run_fwhm(run):
    """FWHM of one run in channels, with 0 on both sides of it; 0 where nothing is positive."""
    peak = np.argmax(run)
    half = 0.5 * run[peak]
    if not half > 0:
        return 0.0
    reach = 0.0
    for step in (-1, 1):
        k = peak
        inner = run[peak]
        outer = inner
        while outer > half:
            inner = outer
            k += step
            outer = run[k] if 0 <= k < run.size else 0.0
        reach += abs(k - peak) - (half - outer) / (inner - outer)
    return reach


def angular_widths(mask):
    """Diameter, in pixels, of the largest disc of masked pixels that holds each pixel of a channel.

    The disc about a pixel reaches to the nearest unmasked pixel; what lies beyond the map counts
    as unmasked.

    Parameters
    ----------
    mask : `~numpy.ndarray` of bool, shape (n_v, n_y, n_x)

    Returns
    -------
    `~numpy.ndarray` of float32, same shape
        0 outside ``mask``.
    """
    widths = np.zeros(mask.shape, np.float32)
    for channel, width in zip(mask, widths, strict=True):
        if channel.any():
            _channel_angular_widths(channel, width)
    return widths


def _channel_angular_widths(mask, widths):
    distance = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    y, x = np.nonzero(mask)
    squared = np.rint(distance[y, x] ** 2).astype(np.int64)
    order = np.argsort(-squared, kind="stable")
    _paint_discs(y[order], x[order], squared[order], widths)
    widths[~mask] = 0


@njit(cache=True)
def _paint_discs(y, x, squared, widths):
    """Paint discs from the largest down; each pixel is painted once and skipped ever after."""
    n_y, n_x = widths.shape
    unpainted = np.empty((n_y, n_x + 1), np.int32)
    for row in range(n_y):
        for column in range(n_x + 1):
            unpainted[row, column] = column
    for i in range(y.size):
        radius = np.sqrt(squared[i])
        for row in range(max(y[i] - int(radius), 0), min(y[i] + int(radius), n_y - 1) + 1):
            half = int(np.sqrt(squared[i] - (row - y[i]) ** 2))
            last = min(x[i] + half, n_x - 1)
            column = _next_unpainted(unpainted[row], max(x[i] - half, 0))
            while column <= last:
                widths[row, column] = 2 * radius
                unpainted[row, column] = column + 1
                column = _next_unpainted(unpainted[row], column)


@njit(cache=True)
def _next_unpainted(row, column):
    """First unpainted column at or after ``column``; shortens the path it walks."""
    end = column
    while row[end] != end:
        end = row[end]
    while row[column] != end:
        row[column], column = end, row[column]
    return end
