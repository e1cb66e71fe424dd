"""T_OFF about the features of a channel map, and T_U as a weighted sum of it.

A channel map is cut into parts: the pixels of one feature that lie in one patch of flagged pixels
(corners connect). A feature that has several parts in a channel has T_OFF about each of them, so that
far ends of a large feature do not share one background. T_OFF of a part are the finite pixels outside
all features whose distance from its nearest pixel is above the gap and at most gap plus width.

T_U of a part is linear: basis(x) @ coefficients @ T_OFF. Its error variance (`linear_variance`) is then
a small matrix for each part and one convolution for each Gaussian of the covariances, all exact.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from hisatools.search.base import run_blocks
from hisatools.unabsorbed.protocols import VoxelEstimate

CORNERS = np.ones((3, 3), bool)
# Distances that are equal but for rounding count as equal, in pixels.
ROUNDING = 1e-6


@dataclass(frozen=True, eq=False)
class Part:
    """Pixels of a channel that share their T_OFF.

    Parameters
    ----------
    labels : sequence of int
        The features that it belongs to.
    corner, shape : tuple of int
        First pixel (y, x) and size of a box that holds body and T_OFF.
    body, off : `~numpy.ndarray` of int, shape (n, 2)
        Pixels (y, x) of the features and of T_OFF, counted from the corner.
    """

    labels: object
    corner: tuple
    shape: tuple
    body: np.ndarray
    off: np.ndarray


@dataclass(frozen=True, eq=False)
class ChannelMap:
    """One channel of a cube, in plain arrays of shape (n_y, n_x).

    Parameters
    ----------
    kelvin : `~numpy.ndarray`
    labels : `~numpy.ndarray` of int
    usable : `~numpy.ndarray` of bool
        True where T_OFF may be taken from.
    weights : `~numpy.ndarray` or None
        Mosaic weights; None for equal ones.
    sigma_kelvin : `~numpy.ndarray` or None
        Noise, if an uncertainty is wanted.
    """

    kelvin: np.ndarray
    labels: np.ndarray
    usable: np.ndarray
    weights: np.ndarray | None = None
    sigma_kelvin: np.ndarray | None = None


def channel_map(cube, labels, channel, errors=None):
    """The `ChannelMap` of a channel; sight lines of no weight are not usable."""
    kelvin, plane = cube.kelvin[channel], labels[channel]
    usable = (plane == 0) & np.isfinite(kelvin)
    if cube.weights is not None:
        usable &= cube.weights > 0
    sigma = None
    if errors is not None:
        first = channel * plane.size
        sigma = errors.sigma_kelvin(np.arange(first, first + plane.size)).reshape(plane.shape)
    return ChannelMap(kelvin, plane, usable, cube.weights, sigma)


def ring_parts(channel, features, gap_pix, width_pix):
    """The parts of a channel, each with the T_OFF in a ring about it.

    Parameters
    ----------
    channel : `ChannelMap`
    features : `~numpy.ndarray` of int
        Ascending labels.
    gap_pix, width_pix : float
        Between the part and the ring, and of the ring, which is at least one pixel wide.

    Yields
    ------
    `Part`
    """
    outer = gap_pix + max(width_pix, 1.0)
    margin = int(outer + ROUNDING) + 1
    for label, pixels in _patches(channel.labels, features):
        corner = np.maximum(pixels.min(axis=0) - margin, 0)
        stop = np.minimum(pixels.max(axis=0) + margin + 1, channel.labels.shape)
        box = tuple(slice(*ends) for ends in zip(corner, stop, strict=True))
        body = pixels - corner
        beyond = np.ones(stop - corner, bool)
        beyond[tuple(body.T)] = False
        distance = ndimage.distance_transform_edt(beyond)
        ring = (distance > gap_pix + ROUNDING) & (distance <= outer + ROUNDING)
        off = np.argwhere(ring & channel.usable[box])
        yield Part((label,), tuple(corner), beyond.shape, body, off)


def _patches(labels, features):
    """Label and pixels (y, x) of each feature in each patch of flagged pixels."""
    patch, n_patches = ndimage.label(labels > 0, CORNERS)
    pixels = np.argwhere(patch)
    pixels = pixels[np.isin(labels[tuple(pixels.T)], features)]
    label = labels[tuple(pixels.T)].astype(np.int64)
    key = label * (n_patches + 1) + patch[tuple(pixels.T)]
    order = np.argsort(key, kind="stable")
    starts = np.flatnonzero(np.diff(key[order], prepend=-1))
    for part in np.split(order, starts[1:]) if order.size else ():
        yield int(label[part[0]]), pixels[part]


def estimate_parts(cube, labels, features, index, parts_of, weigh, *, errors, workers, progress):
    """T_U by one weighted sum of T_OFF for each part of each channel.

    Parameters
    ----------
    cube, labels, features, index, errors, workers, progress
        As `hisatools.unabsorbed.protocols.UnabsorbedStrategy.estimate` is given them.
    parts_of : callable
        From a `ChannelMap` to its parts.
    weigh : callable
        From a `Part` and the weights of its T_OFF (mean 1) to the coefficients, shape (p, n_off), and the
        basis, shape (n_body, p): T_U = basis @ coefficients @ T_OFF, for any p.

    Returns
    -------
    `~hisatools.unabsorbed.protocols.VoxelEstimate`
    """
    kelvin = cube.kelvin.reshape(-1)[index]
    sigma = None if errors is None else np.full(index.size, np.inf, np.float32)

    def estimate_channel(number):
        if not labels[number].any():
            return {}
        channel = channel_map(cube, labels, number, errors)
        place = places(index, number, channel.labels.shape)
        used = {}
        for part in parts_of(channel):
            if not len(part.off):
                continue
            _estimate_part(part, channel, weigh, place, kelvin, sigma, errors)
            flat = np.ravel_multi_index(tuple((part.off + part.corner).T), channel.labels.shape)
            for label in part.labels:
                used.setdefault(label, []).append(flat)
        return {label: _count(flats) for label, flats in used.items()}

    counts = run_blocks(
        estimate_channel,
        range(len(labels)),
        workers=workers,
        progress=progress,
        description="unabsorbed emission",
    )
    return VoxelEstimate(kelvin, total_counts(features, counts), sigma)


def places(index, channel, shape):
    """Where the pixels of a channel stand in ``index``: a map, -1 where they are not wanted."""
    size = shape[0] * shape[1]
    first, stop = np.searchsorted(index, (channel * size, (channel + 1) * size))
    place = np.full(size, -1, np.int64)
    place[index[first:stop] - channel * size] = np.arange(first, stop)
    return place.reshape(shape)


def total_counts(features, counts):
    """Sum of the counts by label of all channels, for each feature."""
    n_off = np.zeros(len(features), np.int64)
    for count in counts:
        labels = np.fromiter(count.keys(), np.int64, len(count))
        n_off[np.searchsorted(features, labels)] += np.fromiter(count.values(), np.int64, len(count))
    return n_off


def _count(flats):
    return flats[0].size if len(flats) == 1 else np.unique(np.concatenate(flats)).size


def _estimate_part(part, channel, weigh, place, kelvin, sigma, errors):
    body, off = tuple((part.body + part.corner).T), tuple((part.off + part.corner).T)
    weights = np.ones(len(part.off)) if channel.weights is None else channel.weights[off].astype(float)
    coefficients, basis = weigh(part, weights / weights.mean())
    chosen = place[body] >= 0
    where = place[body][chosen]
    kelvin[where] = basis[chosen] @ (coefficients @ channel.kelvin[off].astype(float))
    if errors is not None:
        noise = channel.sigma_kelvin[off]
        sigma[where] = np.sqrt(linear_variance(part, coefficients, basis[chosen], chosen, noise, errors))


def linear_variance(part, coefficients, basis, chosen, sigma_kelvin, errors):
    """Error variance of basis @ coefficients @ T_OFF, exactly as `ErrorModel.variance` has it.

    Parameters
    ----------
    part : `Part`
    coefficients : `~numpy.ndarray`, shape (p, n_off)
    basis : `~numpy.ndarray`, shape (n, p)
        ``basis @ coefficients`` has rows that sum to 1.
    chosen : `~numpy.ndarray` of bool, shape (n_body,)
        The n pixels of the body that the basis is for.
    sigma_kelvin : `~numpy.ndarray`, shape (n_off,)
        Noise of T_OFF.
    errors : `~hisatools.unabsorbed.uncertainty.ErrorModel`

    Returns
    -------
    `~numpy.ndarray`, shape (n,)
        In K^2.
    """
    off, target = tuple(part.off.T), tuple(part.body[chosen].T)
    noisy = np.zeros((len(coefficients), *part.shape))
    noisy[:, *off] = coefficients * sigma_kelvin
    noise = _product(noisy, spread(noisy, errors.noise_scales[1]))
    maps = np.zeros_like(noisy)
    maps[:, *off] = coefficients
    missed = np.zeros(len(basis))
    for variance, _, scale_pix in errors.structure:
        near = spread(maps, scale_pix)
        across = np.einsum("tp,pt->t", basis, near[:, *target])
        missed += variance * (1 - 2 * across + _quadratic(basis, _product(maps, near)))
    return np.maximum(_quadratic(basis, noise), 0) + np.maximum(missed, 0)


def _product(maps, others):
    return maps.reshape(len(maps), -1) @ others.reshape(len(others), -1).T


def _quadratic(basis, matrix):
    return np.einsum("tp,tp->t", basis @ matrix, basis)


def spread(maps, scale_pix, reach_pix=np.inf):
    """Sums of Gaussians of peak 1 about the pixels of maps, times their values.

    Parameters
    ----------
    maps : `~numpy.ndarray`, shape (..., n_y, n_x)
        Finite.
    scale_pix : float
        sigma of the Gaussians; 0 returns the maps.
    reach_pix : float
        Along each axis the Gaussians are 0 beyond it.

    Returns
    -------
    `~numpy.ndarray`, same shape
    """
    if scale_pix == 0:
        return maps
    along_y, along_x = (_gaussians(size, scale_pix, reach_pix) for size in maps.shape[-2:])
    return along_y @ maps @ along_x


def _gaussians(size, scale_pix, reach_pix):
    offset = np.arange(size)
    fall = np.where(offset <= reach_pix, np.exp(-0.5 * (offset / scale_pix) ** 2), 0)
    return fall[np.abs(np.subtract.outer(offset, offset))]
