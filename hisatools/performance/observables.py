"""The four observables of a voxel of absorption (the paper, section 3.3.1), on their lattice of bins."""

from dataclasses import dataclass

import astropy.units as u
import numpy as np

from hisatools.errors import InputError, ParameterError
from hisatools.features import voxel_angular_widths, voxel_velocity_widths
from hisatools.results import HISAResult

# In bins. Widths are small whole numbers of pixels times a scale, and rounding must not move them across
# an edge; dT and T_U are no such numbers, and the faintest dT must stay below 0.
EDGE_TOLERANCE = np.array([0.0, 0.0, 1e-5, 1e-5])


@dataclass(frozen=True)
class Observable:
    """One axis of the 4-D parameter space.

    Parameters
    ----------
    name : str
        As an argument and a column.
    unit : `~astropy.units.Unit`
    step : float
        Width of a bin; the edges are whole multiples of it.
    label : str
        For the axes of figures.

    Examples
    --------
    >>> from hisatools.performance import OBSERVABLES
    >>> for observable in OBSERVABLES:
    ...     print(observable.name, observable.step * observable.unit)
    ...
    delta_t 2.5 K
    t_unabsorbed 2.5 K
    angular_width 0.5 arcmin
    velocity_width 0.5 km / s
    """

    name: str
    unit: u.Unit
    step: float
    label: str


#: The four axes of the parameter space, in their order: name, unit, width of a bin and label of each.
OBSERVABLES = (
    Observable("delta_t", u.K, 2.5, r"$\Delta T$ (K)"),
    Observable("t_unabsorbed", u.K, 2.5, r"$T_\mathrm{U}$ (K)"),
    Observable("angular_width", u.arcmin, 0.5, r"$\Delta\theta$ (arcmin)"),
    Observable("velocity_width", u.km / u.s, 0.5, r"$\Delta v$ (km/s)"),
)
NAMES = tuple(observable.name for observable in OBSERVABLES)
STEPS = np.array([observable.step for observable in OBSERVABLES])


def axis_number(name):
    """Which axis of the parameter space has this name.

    Parameters
    ----------
    name : str

    Returns
    -------
    int

    Raises
    ------
    ParameterError
        If none has; the message lists those there are.
    """
    if name not in NAMES:
        raise ParameterError(f"unknown observable {name!r}; write one of {', '.join(NAMES)}")
    return NAMES.index(name)


def lattice_bins(values):
    """Bin numbers of points: bin ``k`` of an axis holds ``k * step`` up to ``(k + 1) * step``.

    Parameters
    ----------
    values : `~numpy.ndarray`, shape (n, 4)
        In the order and the units of `OBSERVABLES`.

    Returns
    -------
    `~numpy.ndarray` of int32, same shape

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools.performance.observables import lattice_bins
    >>> lattice_bins(np.array([[-21.0, 96.0, 3.2, 2.4]]))  # bins of 2.5 K, 2.5 K, 0.5 arcmin and 0.5 km/s
    array([[-9, 38,  6,  4]], dtype=int32)
    """
    return np.floor(values / STEPS + EDGE_TOLERANCE).astype(np.int32)


@dataclass(frozen=True, eq=False)
class Voxels:
    """The voxels of a mask and what is observed at each.

    Parameters
    ----------
    mask : `~numpy.ndarray` of bool, shape (n_v, n_y, n_x)
    values : `~numpy.ndarray` of float32, shape (n, 4)
        One row for each True voxel in the order of the array, in the units of `OBSERVABLES`.

    Examples
    --------
    >>> from hisatools.datasets import example_result
    >>> from hisatools.performance import Voxels
    >>> voxels = Voxels.of(example_result())
    >>> len(voxels), voxels.values.shape
    (1456, (1456, 4))
    >>> voxels.values.mean(axis=0).round()  # dT and T_U in K, widths in arcmin and km/s
    array([-16., 121.,   2.,   2.], dtype=float32)
    """

    mask: np.ndarray
    values: np.ndarray

    @classmethod
    def measure(cls, mask, delta_t_kelvin, t_unabsorbed_kelvin, pixel_arcmin, channel_kms):
        """Measure the widths, and gather all four observables.

        Parameters
        ----------
        mask : `~numpy.ndarray` of bool, shape (n_v, n_y, n_x)
            Voxels of absorption.
        delta_t_kelvin, t_unabsorbed_kelvin : `~numpy.ndarray`, same shape, K
            dT (negative) and T_U; used in the mask only, where they must be finite.
        pixel_arcmin, channel_kms : float
            Size of a pixel and of a channel.

        Returns
        -------
        Voxels

        Raises
        ------
        InputError
            If the arrays differ in shape or are no cubes, or a voxel of the mask has NaN or no absorption.
        """
        mask = np.ascontiguousarray(mask, dtype=bool)
        _check_shapes(mask, delta_t_kelvin, t_unabsorbed_kelvin)
        brightness = delta_t_kelvin[mask], t_unabsorbed_kelvin[mask]
        return cls._with_widths(mask, *brightness, pixel_arcmin, channel_kms)

    @classmethod
    def of(cls, source):
        """The absorption of a result, or of a known truth.

        Parameters
        ----------
        source : `~hisatools.HISAResult`, `~hisatools.simulate.ModelCube`, `~hisatools.performance.Truth`
        """
        scales = source.pixel_scale.to_value(u.arcmin), source.channel_width.to_value(u.km / u.s)
        if isinstance(source, HISAResult):  # which has the brightness of the voxels without the cubes
            brightness = source.voxel_delta_t_kelvin, source.unabsorbed_kelvin
            return cls._with_widths(source.mask, *brightness, *scales)
        brightness = source.delta_t.to_value(u.K), source.t_unabsorbed.to_value(u.K)
        return cls.measure(source.mask, *brightness, *scales)

    @classmethod
    def _with_widths(cls, mask, delta_t, t_unabsorbed, pixel_arcmin, channel_kms):
        """From the brightness of the voxels, K, each of shape (n,)."""
        values = np.empty((delta_t.size, len(OBSERVABLES)), np.float32)
        values[:, 0], values[:, 1] = delta_t, t_unabsorbed
        if not (np.isfinite(values[:, :2]).all() and (values[:, 0] < 0).all()):
            raise InputError(
                "every voxel of absorption needs a finite T_U and a dT below 0 K; check the mask"
            )
        values[:, 2] = voxel_angular_widths(mask) * pixel_arcmin
        values[:, 3] = voxel_velocity_widths(-delta_t, np.flatnonzero(mask), mask.shape) * channel_kms
        return cls(mask, values)

    def __len__(self):
        return len(self.values)

    def only(self, chosen):
        """Those voxels of the mask that are also in ``chosen``, with the observables they have.

        Parameters
        ----------
        chosen : `~numpy.ndarray` of bool, shape (n_v, n_y, n_x)
        """
        return Voxels(self.mask & chosen, self.values[chosen[self.mask]])


def _check_shapes(mask, *arrays):
    if mask.ndim != 3:
        raise InputError(f"mask, dT and T_U must have three axes (n_v, n_y, n_x), got shape {mask.shape}")
    for array in arrays:
        if array.shape != mask.shape:
            raise InputError(
                f"mask, dT and T_U must have one shape, got {mask.shape} and {array.shape}; "
                "take all of them from the same cube"
            )
