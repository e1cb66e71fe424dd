"""The points that features are judged by: their peak, sum and mean dT in units of the noise."""

from dataclasses import dataclass

import numpy as np

from hisatools.errors import InputError
from hisatools.features import feature_significance
from hisatools.search.spatial import SpatialNoise, SpatialSearcher

__all__ = ["AXES", "VoxelNoise", "feature_points"]

# Columns of the points, as axes of a figure call them.
AXES = (
    r"$\log_{10}$ peak $(|\Delta T| / \sigma)$",
    r"$\log_{10}$ sum $(|\Delta T| / \sigma)$",
    r"$\log_{10}$ mean $(|\Delta T| / \sigma)$",
)


@dataclass(frozen=True, eq=False)
class VoxelNoise:
    """The noise of T_ON at any voxel of a cube, as the spatial search measures it.

    Parameters
    ----------
    spatial : `~hisatools.search.spatial.SpatialNoise`
        Of the cube without its blank margins.
    box : tuple of slice
        Where that part lies in the cube.
    shape : tuple of int
        (n_v, n_y, n_x) of the cube.

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools.significance.reliability_points import VoxelNoise
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> model = simulate_cube(ModelParameters(shape=(32, 96, 96), n_pucks=20, n_components=100), seed=3)
    >>> noise = VoxelNoise.measure(model.cube)
    >>> noise.at(np.array([0, 100_000])).round()  # K; 6 K were put in
    array([6., 6.])
    >>> round(float(noise.correlated_voxels))
    60
    """

    spatial: SpatialNoise
    box: tuple
    shape: tuple

    @classmethod
    def measure(cls, cube, searcher=None, *, workers=1):
        """Measure it on a map that is large enough for the spatial search.

        Parameters
        ----------
        cube : `~hisatools.HISACube`
        searcher : `~hisatools.SpatialSearcher`, optional
        workers : int

        Raises
        ------
        InputError
            If the cube is one sight line.
        """
        if cube.is_spectrum:
            raise InputError(
                f"{cube.meta.get('path', 'the cube')}: the reliability of features is measured on a map, and "
                "this is one sight line; give a cube, or ask for no reliability"
            )
        searcher = SpatialSearcher() if searcher is None else searcher
        box = cube.filled_box()
        return cls(searcher.measure_noise(cube.cutout(box), workers=workers), box, cube.shape)

    @property
    def correlated_voxels(self):
        """Volume over which the noise is correlated, in voxels."""
        return self.spatial.correlation.n_voxels

    def at(self, index):
        """Standard deviation at places in the flattened cube; shape (n,), K, NaN where not known."""
        voxels = np.unravel_index(index, self.shape)
        inside = tuple(place - part.start for place, part in zip(voxels, self.box, strict=True))
        return self.spatial.at(inside, tuple(part.stop - part.start for part in self.box))


def feature_points(result, noise):
    """Log10 of peak, sum and mean of the depth of each feature over the local noise.

    These are the three axes of Serra, Jurek & Floeer (2012, PASA 29, 296), for absorption.

    Parameters
    ----------
    result : `~hisatools.HISAResult`
    noise : `VoxelNoise`
        Of the cube that was searched.

    Returns
    -------
    `~numpy.ndarray`, shape (n, 3)
        A row for each row of the catalogue; NaN for a feature of which a voxel's noise is not known.

    Raises
    ------
    InputError
        If the noise is of a cube of another shape.

    Examples
    --------
    >>> from hisatools import HISAExtractor
    >>> from hisatools.significance.reliability_points import VoxelNoise, feature_points
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> model = simulate_cube(ModelParameters(shape=(32, 96, 96), n_pucks=20, n_components=100), seed=3)
    >>> result = HISAExtractor(n_passes=1).run(model.cube)  # doctest: +IGNORE_WARNINGS
    >>> points = feature_points(result, VoxelNoise.measure(model.cube))
    >>> points.shape == (len(result.catalog), 3)
    True
    """
    ratio, feature = _depth_over_noise(result, noise)
    n_features = len(result.catalog)
    peak = np.full(n_features, -np.inf)
    np.maximum.at(peak, feature, ratio)
    total = np.bincount(feature, weights=ratio, minlength=n_features)
    mean = total / np.bincount(feature, minlength=n_features)
    return np.log10(np.stack([peak, total, mean], axis=1))


def significances(result, noise):
    """Significance of each feature, as the extraction judges it; see `feature_significance`."""
    _, sigma_kelvin, feature = _voxels(result, noise)
    return feature_significance(
        -result.voxel_delta_t_kelvin, sigma_kelvin, feature, len(result.catalog), noise.correlated_voxels
    )


def _depth_over_noise(result, noise):
    """Depth of the accepted voxels over their noise, and the catalogue row of each."""
    _, sigma_kelvin, feature = _voxels(result, noise)
    known = np.where(sigma_kelvin > 0, sigma_kelvin, np.nan)
    return -result.voxel_delta_t_kelvin / known, feature


def _voxels(result, noise):
    """Places, noise and catalogue rows of the accepted voxels."""
    if result.flags.shape != noise.shape:
        raise InputError(
            f"the result has the shape {result.flags.shape}, and the noise is of a cube of {noise.shape}; "
            "give the result of that cube"
        )
    index = np.concatenate(
        [np.flatnonzero(channel) + k * channel.size for k, channel in enumerate(result.labels)]
    )
    return index, noise.at(index), result.voxel_rows
