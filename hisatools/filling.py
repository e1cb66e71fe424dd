"""A cube with T_U in the place of some absorption, made block by block.

Absorption fills a small part of a cube: what is put in its place is kept as a list, and no second
cube is held.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class VoxelValues:
    """Values at some voxels of a cube.

    Parameters
    ----------
    index : `~numpy.ndarray` of int64, shape (n,)
        Places in the flattened cube, ascending.
    kelvin : `~numpy.ndarray` of float32, shape (n,), K

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools.filling import VoxelValues
    >>> values = VoxelValues(np.array([3, 7, 20]), np.array([90, 95, 80], np.float32))
    >>> values.at([7, 20]), values.only([True, False, True]).index
    (array([95., 80.], dtype=float32), array([ 3, 20]))
    """

    index: np.ndarray
    kelvin: np.ndarray

    def only(self, chosen):
        """Those for which ``chosen`` (bool, shape (n,)) is True."""
        return VoxelValues(self.index[chosen], self.kelvin[chosen])

    def at(self, index):
        """The values at ``index``, ascending places that are all there."""
        return self.kelvin[np.searchsorted(self.index, index)]


class FilledCube:
    """A cube in which some voxels have other values, as the searches see it.

    Parameters
    ----------
    cube : `~hisatools.HISACube`
    values : `VoxelValues`

    Examples
    --------
    A cube without the absorption that was found in it, as the second pass of a search sees it:

    >>> import numpy as np
    >>> from hisatools.datasets import example_model, example_result
    >>> from hisatools.filling import FilledCube, VoxelValues
    >>> cube, result = example_model().cube, example_result()
    >>> values = VoxelValues(np.flatnonzero(result.mask), result.unabsorbed_kelvin)
    >>> filled = FilledCube(cube, values)
    >>> difference = filled.block(16) - cube.block(16)
    >>> int((difference > 0).sum()), round(float(difference.max()))
    (208, 25)
    """

    def __init__(self, cube, values):
        self.cube, self.values = cube, values

    shape = property(lambda self: self.cube.shape)
    wcs = property(lambda self: self.cube.wcs)
    meta = property(lambda self: self.cube.meta)
    is_spectrum = property(lambda self: self.cube.is_spectrum)
    pixel_scale = property(lambda self: self.cube.pixel_scale)
    channel_width = property(lambda self: self.cube.channel_width)

    def block(self, box):
        """Brightness of a box of whole rows; see `hisatools.HISACube.block`."""
        block = self.cube.block(box).copy()
        channels, rows = box if isinstance(box, tuple) else (slice(box, box + 1), slice(None))
        n_v, n_y, n_x = self.shape
        first, stop, _ = rows.indices(n_y)
        planes = block.reshape(-1, (stop - first) * n_x)
        for plane, channel in zip(planes, range(*channels.indices(n_v)), strict=True):
            start = (channel * n_y + first) * n_x
            inside = slice(*np.searchsorted(self.values.index, (start, start + plane.size)))
            plane[self.values.index[inside] - start] = self.values.kelvin[inside]
        return block
