"""What a strategy for the noise is, and what it hands back."""

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

__all__ = ["NoiseMeasurement", "NoiseStrategy"]


@dataclass(frozen=True, eq=False)
class NoiseMeasurement:
    """What a strategy measured.

    Parameters
    ----------
    sigma_kelvin : `~numpy.ndarray`, shape (n_y, n_x) or (n_v, n_y, n_x)
        NaN where nothing can be said.
    meta : dict
        What was found on the way, such as T_sys or the line-free channels; it is kept in the result.
    """

    sigma_kelvin: np.ndarray
    meta: dict = field(default_factory=dict)


class NoiseStrategy(Protocol):
    """A way to measure the noise, found by the entry points of the group ``hisatools.noise``.

    It is made as ``Strategy(parameters, **inputs)``; ``parameters`` may be None, which stands for
    ``Strategy.Parameters()``.
    """

    Parameters: type
    citation: str
    parameters: Any

    def estimate(self, cube, mask, workers, progress):
        """Measure the noise.

        Parameters
        ----------
        cube : `~hisatools.HISACube`
        mask : `~numpy.ndarray` of bool, shape (n_v, n_y, n_x) or (n_y, n_x), or None
            True where a voxel must not be used.
        workers : int
            Number of threads; never changes the result.
        progress : bool

        Returns
        -------
        `NoiseMeasurement`, or the array alone
        """
        ...
