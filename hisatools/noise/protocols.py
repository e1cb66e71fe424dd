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

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools.noise.protocols import NoiseMeasurement
    >>> measured = NoiseMeasurement(np.full((40, 40), 6.0), {"t_sys_kelvin": 100.0})
    >>> measured.sigma_kelvin.shape, measured.meta
    ((40, 40), {'t_sys_kelvin': 100.0})
    """

    sigma_kelvin: np.ndarray
    meta: dict = field(default_factory=dict)


class NoiseStrategy(Protocol):
    """A way to measure the noise, found by the entry points of the group ``hisatools.noise``.

    It is made as ``Strategy(parameters, **inputs)``; ``parameters`` may be None, which stands for
    ``Strategy.Parameters()``.

    Examples
    --------
    A strategy of one's own, which takes the scatter of each spectrum:

    >>> import numpy as np
    >>> from dataclasses import dataclass
    >>> from hisatools.datasets import example_model
    >>> from hisatools.noise.protocols import NoiseMeasurement
    >>> @dataclass(frozen=True)
    ... class ScatterParameters:
    ...     factor: float = 1.0
    ...
    >>> class ScatterStrategy:
    ...     Parameters = ScatterParameters
    ...     citation = "none"
    ...     def __init__(self, parameters=None):
    ...         self.parameters = ScatterParameters() if parameters is None else parameters
    ...     def estimate(self, cube, mask, workers, progress):
    ...         return NoiseMeasurement(self.parameters.factor * np.nanstd(cube.kelvin, axis=0))
    ...
    >>> ScatterStrategy().estimate(example_model().cube, None, 1, False).sigma_kelvin.shape
    (208, 208)
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
