"""Error variance of a normalised convolution with a Gaussian beam.

T_U(x) = sum g(x - i) a(i) T(i) / sum g(x - i) a(i) has other weights at every pixel, so that the double
sums of `hisatools.unabsorbed.uncertainty` cannot be done once for a feature. Two properties of Gaussians
help. The product g(x - i) g(x - j) is a Gaussian of the distance from x to the middle of i and j, times
one of i - j: covariances much narrower than the beam give two convolutions. And covariances as wide as
the beam or wider do not need every pixel: sums over cells of half the beam's sigma will do.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from hisatools.unabsorbed.surroundings import spread

# The beam is cut off here.
REACH_SIGMA = 4.0
CELLS_PER_SIGMA = 2
CELLS_AT_ONCE = 4096


def noise_variance(weights, sigma_kelvin, scale_pix, noise_scale_pix):
    """Variance of sum g(x - i) a(i) n(i), n being noise; not divided by the sum of the weights.

    Parameters
    ----------
    weights, sigma_kelvin : `~numpy.ndarray`, shape (n_y, n_x)
        a, and the rms of the noise.
    scale_pix : float
        sigma of the beam g.
    noise_scale_pix : float
        Scale of the noise's correlation, to be narrower than the beam; 0 for none.

    Returns
    -------
    `~numpy.ndarray`, same shape
    """
    noisy = weights * sigma_kelvin
    near = noisy
    if noise_scale_pix > 0:
        near = spread(noisy, (noise_scale_pix**-2 + 0.5 * scale_pix**-2) ** -0.5)
    return spread(noisy * near, scale_pix / np.sqrt(2), REACH_SIGMA * scale_pix)


def structure_variance(weights, scale_pix, targets, structure, outside=0.0):
    """Variance of the structure that the beam misses.

    Parameters
    ----------
    weights : `~numpy.ndarray`, shape (n_y, n_x)
    scale_pix : float
        sigma of the beam.
    targets : tuple of `~numpy.ndarray` of int
        Pixels (y, x).
    structure : `~numpy.ndarray`, shape (k, 3)
        As `hisatools.unabsorbed.uncertainty.ErrorModel` has it.
    outside : float
        Weight of what lies beyond the borders.

    Returns
    -------
    `~numpy.ndarray`, shape of a target
        In K^2; that at the centre of the cell of half the beam's sigma in which the target lies.
    """
    side = max(int(scale_pix / CELLS_PER_SIGMA), 1)
    wide = structure[:, 2] >= side
    missed = _narrow_variance(weights, scale_pix, targets, structure[~wide], outside)
    reach = int(np.ceil(REACH_SIGMA * scale_pix / side))
    cells = np.pad(_cell_sums(weights, side, outside), reach, constant_values=outside * side**2)
    windows = sliding_window_view(cells, (2 * reach + 1, 2 * reach + 1))
    n_x = windows.shape[1]
    cell, where = np.unique(targets[0] // side * n_x + targets[1] // side, return_inverse=True)
    offset = np.arange(-reach, reach + 1) * side
    variances = [
        _wide_variance(windows[chosen // n_x, chosen % n_x], offset, scale_pix, structure[wide])
        for chosen in np.split(cell, range(CELLS_AT_ONCE, cell.size, CELLS_AT_ONCE))
    ]
    return np.maximum(missed + np.concatenate(variances)[where], 0)


def _cell_sums(weights, side, outside):
    padding = [(0, -size % side) for size in weights.shape]
    padded = np.pad(weights, padding, constant_values=outside)
    n_y, n_x = (size // side for size in padded.shape)
    return padded.reshape(n_y, side, n_x, side).sum(axis=(1, 3))


def _wide_variance(windows, offset, scale_pix, structure):
    """C(0) - 2 sum w C(x - i) + sum w w C(i - j) over the cells about each target, shape (n, m, m)."""
    fall = np.exp(-0.5 * (offset / scale_pix) ** 2)
    beams = windows * np.outer(fall, fall)
    total = beams.sum(axis=(1, 2), keepdims=True)
    beams /= np.where(total > 0, total, 1)
    missed = np.zeros(len(beams))
    for variance, _, structure_pix in structure:
        between = np.exp(-0.5 * (np.subtract.outer(offset, offset) / structure_pix) ** 2)
        along = between[len(offset) // 2]
        across = np.einsum("nij,i,j->n", beams, along, along)
        among = np.einsum("nij,nij->n", beams, between @ beams @ between)
        missed += variance * (1 - 2 * across + among)
    return missed


def _narrow_variance(weights, scale_pix, targets, structure, outside):
    """The same for covariances that are narrow beside the beam, which act as noise does."""
    missed = np.zeros(targets[0].shape)
    if not len(structure):
        return missed
    margin = int(REACH_SIGMA * scale_pix) if outside else 0
    weights = np.pad(weights, margin, constant_values=outside)
    targets = tuple(place + margin for place in targets)
    total = spread(weights, scale_pix, REACH_SIGMA * scale_pix)[targets]
    total = np.where(total > 0, total, 1)
    for variance, _, structure_pix in structure:
        among = noise_variance(weights, 1.0, scale_pix, structure_pix)[targets] / total**2
        across = spread(weights, (scale_pix**-2 + structure_pix**-2) ** -0.5)[targets] / total
        missed += variance * (1 - 2 * across + among)
    return missed
