"""The voxels of features as plain arrays: what they absorb, and what lies behind them."""

from dataclasses import dataclass
from functools import cached_property

import astropy.units as u
import numpy as np

from hisatools.errors import InputError
from hisatools.physics.constants import COLUMN_PER_KELVIN_KMS
from hisatools.physics.transfer import tau_of
from hisatools.physics.units import plain, plain_fraction

__all__ = ["GasVoxels"]


@dataclass(frozen=True, eq=False)
class GasVoxels:
    """Accepted voxels of a result, in the order of the array.

    Parameters
    ----------
    depth, unabsorbed, continuum : `~numpy.ndarray`, shape (n,), K
        -dT, T_U and T_C.
    p : `~numpy.ndarray`, shape (n,)
    feature : `~numpy.ndarray` of int, shape (n,)
        Row of the catalogue.
    sight_line : `~numpy.ndarray` of int, shape (n,)
        In C order.
    bright : `~numpy.ndarray` of bool, shape (n,)
        True where there is too much continuum, or it is not known.
    n_features, n_sight_lines : int
    channel_kms : float
    """

    depth: np.ndarray
    unabsorbed: np.ndarray
    continuum: np.ndarray
    p: np.ndarray
    feature: np.ndarray
    sight_line: np.ndarray
    bright: np.ndarray
    n_features: int
    n_sight_lines: int
    channel_kms: float

    @classmethod
    def of(cls, result, t_continuum, p, max_continuum):
        """Those of a result; see `hisatools.physics.measure_gas`."""
        index, shape = np.flatnonzero(result.mask), result.flags.shape
        continuum = _at(index, "t_continuum", plain("t_continuum", t_continuum, u.K), shape)
        return cls(
            depth=-result.voxel_delta_t_kelvin.astype(float),
            unabsorbed=result.unabsorbed_kelvin.astype(float),
            continuum=continuum,
            p=_at(index, "p", plain_fraction("p", p), shape),
            feature=result.at_voxels(result.labels) - 1,
            sight_line=index % (shape[1] * shape[2]),
            bright=~(continuum <= max_continuum.to_value(u.K)),
            n_features=len(result.catalog),
            n_sight_lines=shape[1] * shape[2],
            channel_kms=result.channel_width.to_value(u.km / u.s),
        )

    @cached_property
    def behind(self):
        """B = p T_U + T_C, K."""
        return self.p * self.unabsorbed + self.continuum

    @cached_property
    def use(self):
        """True where there is absorption and no bright continuum."""
        return ~self.bright & (self.depth > 0) & np.isfinite(self.behind)

    @cached_property
    def deepest(self):
        """Number of each feature's deepest voxel among those that are used; -1 where there is none."""
        used = np.flatnonzero(self.use)
        used = used[np.lexsort((-self.depth[used], self.feature[used]))]
        features, first = np.unique(self.feature[used], return_index=True)
        found = np.full(self.n_features, -1)
        found[features] = used[first]
        return found

    @cached_property
    def _lines(self):
        """Voxels in the order of feature and sight line, and what they are ordered by."""
        key = self.feature * np.int64(self.n_sight_lines) + self.sight_line
        order = np.argsort(key, kind="stable")
        return order, key[order]

    def line(self, number):
        """Used voxels of a feature on the sight line of its deepest."""
        order, key = self._lines
        wanted = number * np.int64(self.n_sight_lines) + self.sight_line[self.deepest[number]]
        voxels = order[slice(*np.searchsorted(key, [wanted, wanted + 1]))]
        return voxels[self.use[voxels]]

    def sky(self, at):
        """DT and T_U of some voxels; Quantities in K."""
        return -self.depth[at] * u.K, self.unabsorbed[at] * u.K

    def solved(self, spin_kelvin):
        """Optical depth, and column density in cm^-2, of each voxel.

        Parameters
        ----------
        spin_kelvin : `~numpy.ndarray`, shape (n_features,)

        Returns
        -------
        tau : `~numpy.ndarray`, shape (n,)
            NaN where it is not known.
        column : `~numpy.ndarray`, shape (n,)
            0 there, so that it can be summed.
        """
        spin = spin_kelvin[self.feature]
        tau = np.where(self.use, tau_of(self.depth, self.behind - spin), np.nan)
        column = COLUMN_PER_KELVIN_KMS * self.channel_kms * spin * tau
        return tau, np.where(np.isfinite(column), column, 0)

    def of_sight_lines(self, column):
        """Largest and mean column density of each feature's sight lines."""
        order, key = self._lines
        first = np.flatnonzero(np.diff(key, prepend=-1))
        total = np.add.reduceat(column[order], first) if first.size else np.zeros(0)
        feature = self.feature[order][first]
        largest = np.zeros(self.n_features)
        np.maximum.at(largest, feature, total)
        number = np.bincount(feature, minlength=self.n_features)
        return largest, np.bincount(feature, total, minlength=self.n_features) / np.maximum(number, 1)

    def counted(self, which):
        """How many voxels of each feature are True."""
        return np.bincount(self.feature[which], minlength=self.n_features)


def _at(index, name, values, shape):
    """Values of a number, a map or a cube at the voxels."""
    if values.shape not in ((), shape[1:], shape):
        raise InputError(
            f"{name} has the shape {values.shape}, the result {shape}; give a number, a map of shape "
            f"{shape[1:]} or a cube"
        )
    return np.broadcast_to(values, shape).reshape(-1)[index] if values.ndim else np.full(index.size, values)
