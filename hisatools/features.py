"""Features of a mask: 3-D grouping, and the velocity and angular width at every voxel.

The widths are those of the paper, section 3.3.1. Plain arrays in pixels and channels.
"""

import numpy as np
from numba import njit
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from hisatools.errors import InputError


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

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools.features import label_features
    >>> mask = np.zeros((1, 3, 4), bool)
    >>> mask[0, 0, :2] = mask[0, 1, 1] = True
    >>> mask[0, 2, 2] = True  # touches the others with a corner only
    >>> label_features(mask)
    (array([[[1, 1, 0, 0],
            [0, 1, 0, 0],
            [0, 0, 2, 0]]], dtype=int32), 2)
    """
    labels = np.empty(mask.shape, np.int32)
    n_features = ndimage.label(mask, output=labels)
    return labels, n_features


def label_voxels(index, shape):
    """Group voxels that share a face, from their places alone.

    Parameters
    ----------
    index : `~numpy.ndarray` of int64, shape (n,)
        Places in the flattened cube, ascending.
    shape : tuple of int
        (n_v, n_y, n_x) of the cube.

    Returns
    -------
    feature : `~numpy.ndarray` of int32, shape (n,)
        Which feature each voxel belongs to, from 0.
    n_features : int

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools.features import label_voxels
    >>> label_voxels(np.array([0, 1, 5, 10]), (1, 3, 4))
    (array([0, 0, 0, 1], dtype=int32), 2)
    """
    pairs = []
    for axis, length in enumerate(shape):
        stride = int(np.prod(shape[axis + 1 :], dtype=np.int64))
        place = np.searchsorted(index, index + stride)
        follows = np.take(index, place, mode="clip") == index + stride if index.size else place > 0
        # The next voxel along x of a row's last is the first of the next row.
        follows &= index // stride % length < length - 1
        pairs.append((np.flatnonzero(follows), place[follows]))
    one, other = (np.concatenate(ends) for ends in zip(*pairs, strict=True))
    graph = coo_array((np.ones(one.size, bool), (one, other)), shape=(index.size, index.size))
    n_features, feature = connected_components(graph, directed=False)
    return feature, n_features


def catalog_rows(labels, ids):
    """Row of the catalogue that each labelled voxel belongs to, whatever the order of the rows.

    Parameters
    ----------
    labels : `~numpy.ndarray` of int, shape (n,)
        Labels of voxels, from 1.
    ids : array_like of int, shape (n_rows,)
        Column ``id`` of the catalogue.

    Returns
    -------
    `~numpy.ndarray` of int, shape (n,)
        From 0.

    Raises
    ------
    InputError
        If a voxel belongs to no row, as with a catalogue of which rows were taken out.

    Examples
    --------
    >>> from hisatools.features import catalog_rows
    >>> catalog_rows([1, 1, 3], [3, 2, 1])
    array([2, 2, 0])
    """
    labels, ids = np.asarray(labels, np.int32), np.asarray(ids, np.intp)
    row_of = np.full(max(labels.max(initial=0), ids.max(initial=0)) + 1, -1)
    row_of[ids] = np.arange(ids.size)
    rows = row_of[labels]
    if (rows < 0).any():
        raise InputError(
            f"the result has voxels of features that are not in its catalogue (label {labels[rows < 0][0]}); "
            "give both whole, or choose features with hisatools.significance.selection"
        )
    return rows


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

    Examples
    --------
    Two features in noise of 6 K, correlated over 13 voxels:

    >>> import numpy as np
    >>> from hisatools.features import feature_significance
    >>> depth = np.r_[np.full(50, 15.0), np.full(20, 8.0)]
    >>> feature = np.r_[np.zeros(50, int), np.ones(20, int)]
    >>> feature_significance(depth, np.full(70, 6.0), feature, 2, 13.0).round(1)
    array([4.9, 1.7])
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
        Of numbers, what is not 0 is masked.

    Returns
    -------
    `~numpy.ndarray` of float32, same shape
        The FWHM of the contiguous run of masked channels, from linear interpolation at half of
        its maximum (the absorption is 0 outside the run); 0 outside ``mask``.

    Examples
    --------
    A Gaussian line with an FWHM of 3 channels:

    >>> import numpy as np
    >>> from hisatools.features import velocity_widths
    >>> depth = 20 * np.exp(-4 * np.log(2) * (np.arange(-4, 5) / 3) ** 2)[:, None, None]
    >>> velocity_widths(depth, depth > 1)[:, 0, 0].round(1)
    array([0. , 3.1, 3.1, 3.1, 3.1, 3.1, 3.1, 3.1, 0. ], dtype=float32)
    """
    mask = mask.astype(bool, copy=False)
    widths = np.zeros(mask.shape, np.float32)
    widths[mask] = voxel_velocity_widths(depth_kelvin[mask], np.flatnonzero(mask), mask.shape)
    return widths


def voxel_velocity_widths(depth_kelvin, index, shape):
    """As `velocity_widths`, of the voxels alone: absorption is a small part of a cube.

    Parameters
    ----------
    depth_kelvin : `~numpy.ndarray`, shape (n,)
        Depths, -dT, of the voxels.
    index : `~numpy.ndarray` of int, shape (n,)
        Where they are in the flattened cube, rising.
    shape : tuple of int
        (n_v, n_y, n_x) of the cube.

    Returns
    -------
    `~numpy.ndarray` of float32, shape (n,)
        In channels.

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools.features import voxel_velocity_widths
    >>> voxel_velocity_widths(np.array([5.0, 10.0, 5.0]), np.array([1, 2, 3]), (5, 1, 1))
    array([2., 2., 2.], dtype=float32)
    """
    # numba has no arrays of the other byte order, in which FITS files have theirs.
    depth_kelvin, index = (
        array.astype(array.dtype.newbyteorder("="), copy=False) for array in (depth_kelvin, index)
    )
    return _voxel_velocity_widths(depth_kelvin, index, shape[0], shape[1] * shape[2])


@njit(cache=True)
def _voxel_velocity_widths(depth, index, n_v, n_pixels):
    # From each voxel on to that in the next channel of its sight line, where there is one.
    following = np.full(index.size, -1, np.int32)
    first = np.ones(index.size, np.bool_)
    latest = np.full(n_pixels, -1, np.int32)
    for i in range(index.size):
        pixel = index[i] % n_pixels
        before = latest[pixel]
        if before >= 0 and index[i] - index[before] == n_pixels:
            following[before] = i
            first[i] = False
        latest[pixel] = i
    widths = np.empty(index.size, np.float32)
    run = np.empty(n_v, depth.dtype)
    for i in range(index.size):
        if first[i]:
            _measure_run(i, following, depth, run, widths)
    return widths


@njit(cache=True)
def _measure_run(start, following, depth, run, widths):
    """The width of the run that starts at a voxel, given to all its voxels."""
    length, i = 0, start
    while i >= 0:
        run[length] = depth[i]
        length += 1
        i = following[i]
    width = _run_fwhm(run[:length])
    i = start
    while i >= 0:
        widths[i] = width
        i = following[i]


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

    Examples
    --------
    A strip of 5 pixels has 6 from the unmasked pixels on one side to those on the other:

    >>> import numpy as np
    >>> from hisatools.features import angular_widths
    >>> mask = np.zeros((1, 7, 12), bool)
    >>> mask[0, 1:6, 1:11] = True
    >>> angular_widths(mask)[0, 3]
    array([0., 6., 6., 6., 6., 6., 6., 6., 6., 6., 6., 0.], dtype=float32)
    """
    widths = np.zeros(mask.shape, np.float32)
    for channel, width in zip(mask, widths, strict=True):
        if channel.any():
            _channel_angular_widths(channel, width)
    return widths


def voxel_angular_widths(channels):
    """As `angular_widths`, of the masked voxels alone.

    Parameters
    ----------
    channels : iterable of `~numpy.ndarray` of bool, shape (n_y, n_x)
        The channels of a mask, in order: a cube, or what makes them one at a time. Of numbers, what
        is not 0 is masked.

    Returns
    -------
    `~numpy.ndarray` of float32, shape (n,)
        In pixels, one for each masked voxel in the order of the array.

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools.features import voxel_angular_widths
    >>> mask = np.zeros((1, 7, 12), bool)
    >>> mask[0, 2:5, 1:11] = True
    >>> voxel_angular_widths(mask).shape
    (30,)
    """
    masks = (channel.astype(bool, copy=False) for channel in channels)
    widths = [angular_widths(mask[None])[0][mask] for mask in masks]
    return np.concatenate(widths) if widths else np.empty(0, np.float32)


def _channel_angular_widths(mask, widths):
    y, x = np.nonzero(mask)
    squared = _squared_distances(np.ascontiguousarray(mask), y, x)
    order = np.argsort(-squared, kind="stable")
    _paint_discs(y[order], x[order], squared[order], widths)
    widths[~mask] = 0


@njit(cache=True)
def _squared_distances(mask, y, x):
    """Squared distance from each masked pixel to the nearest one unmasked or beyond the map."""
    n_y, n_x = mask.shape
    # Along the column first; then only as far along the row as something nearer can be.
    along_column = np.zeros((n_y + 2, n_x + 2), np.int32)
    for row in range(1, n_y + 1):
        for column in range(1, n_x + 1):
            if mask[row - 1, column - 1]:
                along_column[row, column] = along_column[row - 1, column] + 1
    for row in range(n_y, 0, -1):
        for column in range(1, n_x + 1):
            along_column[row, column] = min(along_column[row, column], along_column[row + 1, column] + 1)
    squared = np.empty(y.size, np.int64)
    for i in range(y.size):
        rows = along_column[y[i] + 1]
        nearest = rows[x[i] + 1] ** 2
        step = 1
        while step**2 < nearest:  # which the rim of zeros ends at the latest
            side = min(rows[x[i] + 1 - step], rows[x[i] + 1 + step])
            nearest = min(nearest, step**2 + side**2)
            step += 1
        squared[i] = nearest
    return squared


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
