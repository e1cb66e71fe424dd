"""The labelled voxels of a cube, and where they are."""

import astropy.units as u
import numpy as np

__all__ = ["LabelledVoxels", "velocity_kms"]

KMS = u.km / u.s


class LabelledVoxels:
    """The labelled voxels of a cube in the order of the array, and what features have of them.

    What is kept is small, 4 bytes a voxel but for the place: there may be ten million voxels.
    """

    def __init__(self, t_on_kelvin, unabsorbed_kelvin, labels, wcs):
        self.shape = labels.shape
        self.index = np.flatnonzero(labels)
        if unabsorbed_kelvin.shape != self.index.shape:
            raise ValueError(
                f"unabsorbed_kelvin has the shape {unabsorbed_kelvin.shape}, and {self.index.size} voxels "
                "are labelled; give one value for each, in the order of the array"
            )
        self.feature = labels.ravel()[self.index] - 1
        self.depth = unabsorbed_kelvin - t_on_kelvin.ravel()[self.index]
        self.n = int(self.feature.max(initial=-1)) + 1
        self.count = np.bincount(self.feature, minlength=self.n)
        if self.n and self.count.min() == 0:
            raise ValueError(f"labels must run from 1 to {self.n} without gaps")
        self.weight = np.abs(self.depth)
        if not np.all(self.total(self.weight) > 0):
            raise ValueError("every label needs a voxel with dT other than 0 and none with NaN")
        self.deepest = self._deepest()
        self.channel_width_kms = float(np.abs(np.diff(velocity_kms(wcs, np.arange(2)))[0]))

    def place(self, axis):
        """Pixel or channel of each voxel along an axis of the cube."""
        following = int(np.prod(self.shape[axis + 1 :], dtype=np.intp))
        return self.index // following % self.shape[axis]

    def total(self, values):
        """Sum over each feature's voxels."""
        return np.bincount(self.feature, weights=values, minlength=self.n)

    def mean(self, values):
        """Mean of each feature's voxels."""
        return self.total(values) / self.count

    def smallest(self, values):
        """Smallest of each feature's voxels."""
        return self._extreme(np.minimum, values)

    def largest(self, values):
        """Largest of each feature's voxels."""
        return self._extreme(np.maximum, values)

    def _extreme(self, function, values):
        # Any voxel of the feature will do to start from.
        found = np.empty(self.n, values.dtype)
        found[self.feature] = values
        function.at(found, self.feature, values)
        return found

    def _deepest(self):
        """The deepest voxel of each feature; of several as deep, the first in the array."""
        candidates = np.flatnonzero(self.depth == self.largest(self.depth)[self.feature])[::-1]
        deepest = np.empty(self.n, np.intp)
        deepest[self.feature[candidates]] = candidates  # the last one to be written stays
        return deepest


def velocity_kms(wcs, v):
    """Velocity of channels, counted from 0."""
    axis = wcs.sub([3])
    (value,) = axis.wcs_pix2world(np.asarray(v, float), 0)
    return value * axis.wcs.cunit[0].to(KMS)
