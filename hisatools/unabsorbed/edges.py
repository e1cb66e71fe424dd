"""Interpolation across the velocity edges of features, one sight line after the other.

A run is a contiguous row of channels of one feature in one sight line. Its T_OFF are the nearest channels
on either side that are finite and in no feature; blank channels and those of other features are stepped
over. What a method does with them is one function, from the channels to the weight of each: every method
here is linear, so that its uncertainty is analytic.

Runs with as many T_OFF on each side and as many wanted voxels are worked on together.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numba import njit

from hisatools.search.base import run_blocks
from hisatools.unabsorbed.protocols import VoxelEstimate
from hisatools.unabsorbed.sky_mean import SkyMean, SkyMeanErrors

VOXELS_PER_BLOCK = 2**15
# Runs are worked on together as long as their matrices, n_off x n_off each, have no more elements: 8 MB.
ELEMENTS_AT_ONCE = 2**20


def channels_in(margin, cube):
    """A velocity in whole channels of the cube, at least one."""
    return max(int(np.floor((margin / cube.channel_width).to_value("") + 0.5)), 1)


def interpolate_runs(
    weigh, cube, labels, features, index, *, n_side, smoothing, errors=None, workers=1, progress=False
):
    """T_U at some voxels as weighted means of the T_OFF at the velocity edges of their runs.

    Where all T_OFF lie on one side, as at the ends of the band, T_U is their mean: a slope that one noisy
    edge seems to have would run away. Where there is none, T_U is T_ON and its uncertainty infinite.

    Parameters
    ----------
    weigh : callable
        From the channels of T_OFF, ascending, shape (m, n_off), those of the wanted voxels, (m, n_wanted),
        and the number of T_OFF below the runs, to weights of shape (m, n_wanted, n_off) that sum to 1. It
        is called where there is T_OFF on either side.
    cube, labels, features, index, errors, workers, progress
        See `~hisatools.unabsorbed.protocols.UnabsorbedStrategy`.
    n_side : int
        Most T_OFF on each side.
    smoothing : `~astropy.units.Quantity`, angle
        FWHM of the Gaussian mean of T_OFF on the sky.

    Returns
    -------
    `~hisatools.unabsorbed.protocols.VoxelEstimate`
        ``n_off`` counts the channels in the feature's own sight lines, each once.
    """
    n_sky = cube.shape[1] * cube.shape[2]
    sky_mean = SkyMean.of_fwhm((smoothing / cube.pixel_scale).to_value(""))
    mean_errors = None if errors is None else SkyMeanErrors(errors, cube.shape, sky_mean)
    order = np.argsort(index % n_sky, kind="stable")
    kelvin = cube.kelvin.reshape(-1)[index]
    sigma_kelvin = None if errors is None else np.full(index.size, np.inf, np.float32)

    def interpolate_block(block):
        wanted = order[block]
        runs = gather_runs(cube.kelvin, labels, index[wanted], n_side)
        for alike, n_low, n_high, n_wanted in runs.alike():
            places = wanted[runs.first[alike, None] + np.arange(n_wanted)]
            sources, targets = _ascending(runs.channels[alike], n_low, n_high), index[places] // n_sky
            weights = _weights(weigh, sources, targets, n_low, n_high)
            sight_lines = runs.sight_lines[alike]
            t_off, shares = sky_mean.of(cube.kelvin, labels, sources, sight_lines)
            kelvin[places] = (weights @ t_off[:, :, None])[:, :, 0]
            if mean_errors is not None:
                variance = mean_errors.variance(weights, shares, sources, targets, sight_lines)
                sigma_kelvin[places] = np.sqrt(variance)
        return runs.labels, runs.n_new

    blocks = _blocks((index % n_sky)[order])
    counts = run_blocks(
        interpolate_block, blocks, workers=workers, progress=progress, description="unabsorbed emission"
    )
    return VoxelEstimate(kelvin=kelvin, n_off=_count(features, counts), sigma_kelvin=sigma_kelvin)


def _blocks(sight_lines):
    """Slices of wanted voxels in whole sight lines; they do not depend on the workers."""
    n = sight_lines.size
    bounds = np.append(np.flatnonzero(np.diff(sight_lines, prepend=-1)), n)
    cuts = bounds[np.searchsorted(bounds, np.arange(0, n, VOXELS_PER_BLOCK))]
    return [slice(*pair) for pair in pairwise(np.unique(np.append(cuts, n)))]


def _ascending(channels, n_low, n_high):
    """T_OFF of runs in the order of their channels, shape (m, n_low + n_high)."""
    return np.concatenate([channels[:, 0, :n_low][:, ::-1], channels[:, 1, :n_high]], axis=1)


def _weights(weigh, sources, targets, n_low, n_high):
    if n_low == 0 or n_high == 0:
        return np.full((*targets.shape, sources.shape[1]), 1 / sources.shape[1])
    return weigh(sources.astype(float), targets.astype(float), n_low)


def _count(features, counts):
    """Number of T_OFF of each feature, from those of the runs of each block."""
    n_off = np.zeros(len(features), np.int64)
    for labels, n_new in counts:
        np.add.at(n_off, np.searchsorted(features, labels), n_new)
    return n_off


@dataclass(frozen=True, eq=False)
class Runs:
    """Runs of some wanted voxels, in the order of the sight lines and, in each, of the channels.

    Parameters
    ----------
    first : `~numpy.ndarray` of int, shape (n + 1,)
        Where the wanted voxels of each run begin; the last is their number.
    labels : `~numpy.ndarray` of int, shape (n,)
        The feature of each run.
    sight_lines : `~numpy.ndarray` of int, shape (n,)
        Place of each run in the flattened sky.
    channels : `~numpy.ndarray` of int, shape (n, 2, n_most)
        T_OFF below and above each run, the nearest first.
    n_side : `~numpy.ndarray` of int, shape (n, 2)
        How many T_OFF there are on each side.
    n_new : `~numpy.ndarray` of int, shape (n,)
        How many of them no earlier run of the feature has.
    """

    first: np.ndarray
    labels: np.ndarray
    sight_lines: np.ndarray
    channels: np.ndarray
    n_side: np.ndarray
    n_new: np.ndarray

    def alike(self):
        """Yield runs that agree in the number of T_OFF on each side and of wanted voxels, some at a time."""
        numbers = np.column_stack([self.n_side, np.diff(self.first)])
        order = np.lexsort(numbers.T[::-1])
        changes = np.flatnonzero((np.diff(numbers[order], axis=0) != 0).any(axis=1)) + 1
        for alike in np.split(order, changes):
            n_low, n_high, n_wanted = numbers[alike[0]]
            n_off = n_low + n_high
            if n_off == 0:
                continue
            size = max(ELEMENTS_AT_ONCE // (n_off * max(n_off, n_wanted)), 1)
            for first in range(0, alike.size, size):
                yield alike[first : first + size], n_low, n_high, n_wanted


def gather_runs(kelvin, labels, index, n_most):
    """Runs of some voxels, and their T_OFF.

    Parameters
    ----------
    kelvin, labels : `~numpy.ndarray`, shape (n_v, n_y, n_x)
    index : `~numpy.ndarray` of int64, shape (n,)
        Wanted voxels, in the order of the sight lines and, in each, of the channels.
    n_most : int
        Most T_OFF on each side.

    Returns
    -------
    `Runs`
    """
    first = np.empty(index.size + 1, np.int64)
    first = first[: _find_runs(labels, index, first) + 1]
    n_runs = first.size - 1
    found = Runs(
        first=first,
        labels=labels.reshape(-1)[index[first[:-1]]],
        sight_lines=index[first[:-1]] % (labels.shape[1] * labels.shape[2]),
        channels=np.zeros((n_runs, 2, n_most), np.int64),
        n_side=np.zeros((n_runs, 2), np.int64),
        n_new=np.zeros(n_runs, np.int64),
    )
    _find_t_off(kelvin, labels, index, first, found.channels, found.n_side)
    _count_new(found.labels, found.sight_lines, found.channels, found.n_side, found.n_new)
    return found


@njit(cache=True, nogil=True)
def _find_runs(labels, index, first):
    """Write where the voxels of each run begin; returns the number of runs."""
    n_sky = labels.shape[1] * labels.shape[2]
    flat = labels.reshape(-1)
    n_runs = 0
    for i in range(len(index)):
        joined = i > 0 and index[i] % n_sky == index[i - 1] % n_sky
        if joined:
            for place in range(index[i - 1], index[i], n_sky):
                joined = joined and flat[place] == flat[index[i]]
        if not joined:
            first[n_runs] = i
            n_runs += 1
    first[n_runs] = len(index)
    return n_runs


@njit(cache=True, nogil=True)
def _find_t_off(kelvin, labels, index, first, channels, n_side):
    """Step away from each run on either side, and note the finite channels outside features."""
    n_v, n_sky = kelvin.shape[0], kelvin.shape[1] * kelvin.shape[2]
    flat_kelvin, flat_labels = kelvin.reshape(-1), labels.reshape(-1)
    for run in range(len(n_side)):
        ends = index[first[run]], index[first[run + 1] - 1]
        for side in range(2):
            step = 2 * side - 1
            v = ends[side] // n_sky + step
            place = ends[side] + step * n_sky
            while 0 <= v < n_v and n_side[run, side] < channels.shape[2]:
                if flat_labels[place] == 0 and np.isfinite(flat_kelvin[place]):
                    channels[run, side, n_side[run, side]] = v
                    n_side[run, side] += 1
                v += step
                place += step * n_sky


@njit(cache=True, nogil=True)
def _count_new(labels, sight_lines, channels, n_side, n_new):
    """Count T_OFF above the highest of the feature's run before, in the same sight line.

    The ones below that are among those of that run, since both take the nearest.
    """
    for run in range(len(labels)):
        earlier = run - 1
        while earlier >= 0 and sight_lines[earlier] == sight_lines[run] and labels[earlier] != labels[run]:
            earlier -= 1
        highest = -1
        if earlier >= 0 and sight_lines[earlier] == sight_lines[run]:
            for side in range(2):
                for i in range(n_side[earlier, side]):
                    highest = max(highest, channels[earlier, side, i])
        for side in range(2):
            for i in range(n_side[run, side]):
                n_new[run] += channels[run, side, i] > highest
