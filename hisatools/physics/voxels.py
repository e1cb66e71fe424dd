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
    channel, sight_line : `~numpy.ndarray` of int, shape (n,)
        The latter in C order.
    left_out : `~numpy.ndarray` of bool, shape (n,)
        True where there is too much continuum, or what lies behind is not known.
    n_features, n_channels, n_sight_lines : int
    channel_kms : float
    """

    depth: np.ndarray
    unabsorbed: np.ndarray
    continuum: np.ndarray
    p: np.ndarray
    feature: np.ndarray
    channel: np.ndarray
    sight_line: np.ndarray
    left_out: np.ndarray
    n_features: int
    n_channels: int
    n_sight_lines: int
    channel_kms: float

    @classmethod
    def of(cls, result, t_continuum, p, max_continuum):
        """Those of a result; see `hisatools.physics.measure_gas`."""
        index, shape = np.flatnonzero(result.mask), result.flags.shape
        continuum = _at(index, "t_continuum", plain("t_continuum", t_continuum, u.K), shape)
        p = _at(index, "p", plain_fraction("p", p), shape)
        # A negative continuum is none; where a map is blank, some hold zeros: `read_continuum` sees to that.
        known = np.isfinite(p) & (continuum >= 0) & (continuum <= max_continuum.to_value(u.K))
        return cls(
            depth=-result.voxel_delta_t_kelvin.astype(float),
            unabsorbed=result.unabsorbed_kelvin.astype(float),
            continuum=continuum,
            p=p,
            feature=result.voxel_rows,
            channel=index // (shape[1] * shape[2]),
            sight_line=index % (shape[1] * shape[2]),
            left_out=~known,
            n_features=len(result.catalog),
            n_channels=shape[0],
            n_sight_lines=shape[1] * shape[2],
            channel_kms=result.channel_width.to_value(u.km / u.s),
        )

    @cached_property
    def behind(self):
        """B = p T_U + T_C, K."""
        return self.p * self.unabsorbed + self.continuum

    @cached_property
    def use(self):
        """True where there is absorption and what lies behind it is known."""
        return ~self.left_out & (self.depth > 0) & np.isfinite(self.behind)

    @cached_property
    def _line(self):
        """A number for the feature and the sight line of each voxel."""
        return self.feature * np.int64(self.n_sight_lines) + self.sight_line

    def count_sight_lines(self, which=slice(None)):
        """How many sight lines of each feature have a voxel that is True; all of them by default."""
        return np.bincount(np.unique(self._line[which]) // self.n_sight_lines, minlength=self.n_features)

    def profiles(self):
        """Mean spectra of the features: -dT, T_U, p and T_C, each of shape (n_v, n_features).

        The mean of -dT is that over all of a feature's sight lines that are used, those without absorption
        in a channel with 0, so that no few voxels at the ends of a line count for more than they are. Of the
        others it is that of the voxels that are used. NaN where there are none.
        """
        feature, channel = self.feature[self.use], self.channel[self.use]
        place, shape = channel * self.n_features + feature, (self.n_channels, self.n_features)

        def total(values):
            return np.bincount(place, values, minlength=shape[0] * shape[1]).reshape(shape)

        n_lines = self.count_sight_lines(self.use)
        number = total(np.ones(place.size))
        with np.errstate(invalid="ignore", divide="ignore"):
            depth = np.where(number > 0, total(self.depth[self.use]) / n_lines, np.nan)
            others = [total(part[self.use]) / number for part in (self.unabsorbed, self.p, self.continuum)]
        return depth, *others

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

    def of_sight_lines(self, tau, column):
        """Largest and mean column density of each feature's sight lines, and how many of these are known.

        Sight lines without a known voxel are no part of the mean.
        """
        known = np.isfinite(tau)
        lines, line = np.unique(self._line[known], return_inverse=True)
        total = np.bincount(line, column[known], minlength=lines.size)
        feature = lines // self.n_sight_lines
        largest = np.zeros(self.n_features)
        np.maximum.at(largest, feature, total)
        number = np.bincount(feature, minlength=self.n_features)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.bincount(feature, total, minlength=self.n_features) / number
        return np.where(number > 0, largest, np.nan), mean, number

    def map_of(self, column, unknown):
        """Column density of each sight line; NaN where there is none, or some of it is not known."""
        total = np.bincount(self.sight_line, column, minlength=self.n_sight_lines)
        some = np.bincount(self.sight_line[column > 0], minlength=self.n_sight_lines) > 0
        some &= np.bincount(self.sight_line[unknown], minlength=self.n_sight_lines) == 0
        return np.where(some, total, np.nan)

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
