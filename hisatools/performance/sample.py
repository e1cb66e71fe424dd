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


@dataclass(frozen=True, eq=False)
class Sample:
    """A channel map and a longitude-velocity slice of what was put in and what came out.

    Parameters
    ----------
    channel, row : dict of `~numpy.ndarray`
        The images of `IMAGES` in one channel, shape (n_y, n_x), and in one row, shape (n_v, n_x).
    channel_number, row_number : int
    wcs : `~astropy.wcs.WCS`
        Of the whole cube.
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

        def cut(at):
            images = {
                "delta_t_in": delta_t_in_kelvin[at],
                "t_on": result.t_on.to_value(u.K)[at],
                "delta_t_out": result.delta_t.to_value(u.K)[at],
                "t_unabsorbed_out": result.t_unabsorbed.to_value(u.K)[at],
            }
            cube = np.zeros(found.mask.shape, np.float32)
            for column, name in ((2, "angular_width_out"), (3, "velocity_width_out")):
                cube[found.mask] = found.values[:, column]
                images[name] = cube[at].copy()
            return {name: np.array(image, np.float32) for name, image in images.items()}

        return cls(cut((channel,)), cut((slice(None), row)), channel, row, result.wcs)

    def found_voxels(self):
        """The accepted voxels of the channel map, as `Voxels` of a cube of one channel."""
        images = self.channel
        mask = images["delta_t_out"][None] < 0
        columns = ("delta_t_out", "t_unabsorbed_out", "angular_width_out", "velocity_width_out")
        return Voxels(mask, np.stack([images[name][mask[0]] for name in columns], axis=1))
