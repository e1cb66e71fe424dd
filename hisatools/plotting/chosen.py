"""Which channel and which sight line of a result is drawn: the one asked for, or the deepest."""

import numpy as np

from hisatools.errors import InputError, ParameterError
from hisatools.plotting.style import LABELS
from hisatools.positions import nearest_channel, sky_pixel
from hisatools.results import MaskBit, flagged


def deepest_channel(result):
    """The channel with most absorption, or the brightest one if there is none."""
    depth = [plane.sum(dtype=float) for plane in _absorption(result)]
    if min(depth) < 0:
        return int(np.argmin(depth))
    brightness = [np.fmax.reduce(plane, axis=None, initial=-np.inf) for plane in result.t_on.value]
    return int(np.argmax(brightness))


def deepest_sight_line(result, channel=None):
    """Pixel (y, x) of the deepest voxel (of a channel), or of the brightest if there is no absorption."""
    deepest = channel
    if channel is None:
        deepest = int(np.argmin([plane.min(initial=0) for plane in _absorption(result)]))
    plane = result.plane_kelvin("delta_t", deepest)
    if not np.any(plane < 0):
        brightest = deepest_channel(result) if channel is None else channel
        plane = -result.plane_kelvin("t_unabsorbed", brightest)
    place = np.argmin(np.where(np.isnan(plane), np.inf, plane))
    return tuple(int(pixel) for pixel in np.unravel_index(place, plane.shape))


def chosen_channel(result, velocity):
    """The channel nearest to a velocity; without one, that with most absorption."""
    return deepest_channel(result) if velocity is None else nearest_channel(result.velocity, velocity)


def chosen_pixel(result, position, channel=None):
    """The pixel (y, x) of a position; without one, that of the deepest voxel (of a channel)."""
    if position is None:
        return deepest_sight_line(result, channel)
    return sky_pixel(result.wcs, result.flags.shape, position)


def check_map(result):
    """Refuse a result of one sight line, of which there is no map."""
    if result.flags[0].size == 1:
        raise InputError("the result is of a single spectrum, which has no map; use plot_spectrum")


def check_cube(what):
    """Refuse a brightness that is not known."""
    if what not in LABELS:
        raise ParameterError(f"unknown cube {what!r}; known: {', '.join(LABELS)}")


def _absorption(result):
    """The dT of the accepted voxels, K, of one channel after the other."""
    for channel, plane in enumerate(result.flags):
        yield result.plane_kelvin("delta_t", channel)[flagged(plane, MaskBit.ACCEPTED)]
