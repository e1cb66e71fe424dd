"""Slices of one extraction with its truth, kept for figures 9, 10 and 14."""

from dataclasses import dataclass

import astropy.units as u
import numpy as np
from astropy.wcs import WCS

from hisatools.performance.observables import Voxels

# Name of each image: its unit.
IMAGES = {
    "delta_t_in": "K",
    "t_on": "K",
    "delta_t_out": "K",
    "t_unabsorbed_out": "K",
    "angular_width_out": "arcmin",
    "velocity_width_out": "km / s",
}
# Those of the accepted voxels, in the order of the observables.
FOUND = ("delta_t_out", "t_unabsorbed_out", "angular_width_out", "velocity_width_out")


@dataclass(frozen=True, eq=False)
class Sample:
    """A channel map and a longitude-velocity slice of what was put in and what came out.

    Parameters
    ----------
    channel, row : dict of `~numpy.ndarray`
        The images ``delta_t_in``, ``t_on``, ``delta_t_out``, ``t_unabsorbed_out``, ``angular_width_out`` and
        ``velocity_width_out``, in K, arcmin and km/s: in one channel, shape (n_y, n_x), and in one row,
        shape (n_v, n_x).
    channel_number, row_number : int
    wcs : `~astropy.wcs.WCS`
        Of the whole cube.

    Examples
    --------
    >>> from hisatools.datasets import example_model, example_result
    >>> from hisatools.performance import Sample, Voxels
    >>> model, result = example_model(), example_result()
    >>> sample = Sample.take(Voxels.of(model), model.delta_t.value, Voxels.of(result), result)
    >>> sample.channel_number, sample.row_number
    (15, 115)
    >>> sample.channel["delta_t_in"].shape, sample.row["delta_t_out"].shape
    ((208, 208), (32, 208))
    """

    channel: dict
    row: dict
    channel_number: int
    row_number: int
    wcs: WCS

    @classmethod
    def take(cls, truth, delta_t_in_kelvin, found, result):
        """The slices with most absorption found again; where nothing was found, with most put in.

        Parameters
        ----------
        truth, found : `~hisatools.performance.observables.Voxels`
        delta_t_in_kelvin : `~numpy.ndarray`, shape (n_v, n_y, n_x), K
        result : `~hisatools.HISAResult`

        Returns
        -------
        Sample
        """
        both = truth.mask & found.mask
        depth = np.where(both if both.any() else truth.mask, -delta_t_in_kelvin, 0)
        channel, row = (int(depth.sum(axis=axes).argmax()) for axes in ((1, 2), (0, 2)))

        t_on = result.t_on.to_value(u.K)
        v, y, x = np.nonzero(found.mask)
        inside = v == channel, y == row
        places = (y[inside[0]], x[inside[0]]), (v[inside[1]], x[inside[1]])
        slices = (
            _images(delta_t_in_kelvin[at], t_on[at], found.values[chosen], place)
            for at, chosen, place in zip((np.s_[channel], np.s_[:, row]), inside, places, strict=True)
        )
        return cls(*slices, channel, row, result.wcs)

    def found_voxels(self):
        """The accepted voxels of the channel map, as `Voxels` of a cube of one channel."""
        images = self.channel
        mask = images["delta_t_out"][None] < 0
        return Voxels(mask, np.stack([images[name][mask[0]] for name in FOUND], axis=1))


def _images(delta_t_in, t_on, values, place):
    """The images of a slice; ``values`` are the observables of its accepted voxels, found at ``place``."""
    zero, no_absorption = np.zeros_like(t_on), t_on - t_on  # the second is NaN where blank
    images = dict(zip(IMAGES, (delta_t_in, t_on, no_absorption, t_on, zero, zero), strict=True))
    images = {name: np.array(image, np.float32) for name, image in images.items()}
    for name, observable in zip(FOUND, values.T, strict=True):
        images[name][place] = observable
    return images
