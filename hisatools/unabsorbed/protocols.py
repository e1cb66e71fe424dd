"""What every way of estimating T_U has in common: what it is given, and what it gives back."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True, eq=False)
class VoxelEstimate:
    """T_U at some voxels.

    Parameters
    ----------
    kelvin : `~numpy.ndarray` of float32, shape (n,)
        T_U; T_ON where nothing can be said.
    n_off : `~numpy.ndarray` of int64
        Number of T_OFF voxels that each feature had; 0 where nothing can be said.
    sigma_kelvin : `~numpy.ndarray` of float32, shape (n,), optional
        1-sigma uncertainty of T_U, infinite where nothing can be said and never NaN; None where it was
        not asked for.

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools.unabsorbed.protocols import VoxelEstimate
    >>> estimate = VoxelEstimate(np.array([96.0, 98.5], np.float32), np.array([210]))
    >>> estimate.kelvin, estimate.sigma_kelvin
    (array([96. , 98.5], dtype=float32), None)
    """

    kelvin: np.ndarray
    n_off: np.ndarray
    sigma_kelvin: np.ndarray | None = None


class UnabsorbedStrategy(Protocol):
    """A way of estimating T_U; one entry point in the group ``hisatools.unabsorbed``.

    The class is called with the parameters, or with nothing for the defaults, and with further input
    that this way needs by keyword.

    Examples
    --------
    Every strategy that is installed is one:

    >>> from hisatools.strategies import available
    >>> sorted(available("unabsorbed"))[:3]
    ['adjacent-channels', 'asymmetric-least-squares', 'beam']
    """

    Parameters: type
    """Frozen dataclass of the parameters."""

    citation: str
    """Where the method was published."""

    parameters: object
    """The parameters in use."""

    def estimate(self, cube, labels, features, index, *, errors=None, workers=1, progress=False):
        """T_U at some voxels of labelled features.

        Parameters
        ----------
        cube : `~hisatools.HISACube`
        labels : `~numpy.ndarray` of int32, shape (n_v, n_y, n_x)
            0 outside features, and only there may T_OFF be taken from; no labelled voxel is blank. Two
            ways look at the labelled voxels too, since absorption is what they tell apart from emission:
            "second-derivative", which restores T_ON of the line, and "asymmetric-least-squares", unless
            its ``use_mask`` is set. ``n_off`` counts unlabelled voxels with these as well.
        features : `~numpy.ndarray` of int
            Labels of the features that are worked on, ascending.
        index : `~numpy.ndarray` of int64, shape (n,)
            Voxels of these features for which T_U is wanted: places in the flattened cube, ascending.
        errors : `~hisatools.unabsorbed.uncertainty.ErrorModel`, optional
            Without it no uncertainty is wanted.
        workers : int
            Number of threads; never changes the result.
        progress : bool

        Returns
        -------
        `VoxelEstimate`

        Notes
        -----
        A strategy with further inputs may have a method ``check(cube)`` that raises at once what `estimate`
        would raise of these for any features of the cube: it is called before a search that may be long.
        """
