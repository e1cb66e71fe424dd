"""The voxels of features as plain arrays: what they absorb, and what lies behind them."""

from dataclasses import dataclass
from functools import cached_property

import astropy.units as u
import numpy as np

from hisatools.errors import InputError
from hisatools.physics.constants import COLUMN_PER_KELVIN_KMS
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
    noise, sigma_unabsorbed : `~numpy.ndarray`, shape (n,), K, or None
        1-sigma uncertainties: of T_ON, and of T_U.
    feature : `~numpy.ndarray` of int, shape (n,)
        Row of the catalogue.
    channel, sight_line : `~numpy.ndarray` of int, shape (n,)
        The latter in C order.
    bright, unknown : `~numpy.ndarray` of bool, shape (n,)
        True where there is too much continuum, and where what lies behind is not known.
    n_features, n_channels, n_sight_lines : int
    channel_kms : float

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools.datasets import example_result
    >>> from hisatools.physics.voxels import GasVoxels
    >>> voxels = GasVoxels.of(example_result(), 5.5 * u.K, 0.9, 20 * u.K)
    >>> int(voxels.use.sum()) == example_result().n_accepted
    True
    """

    depth: np.ndarray
    unabsorbed: np.ndarray
    continuum: np.ndarray
    p: np.ndarray
    noise: np.ndarray | None
    sigma_unabsorbed: np.ndarray | None
    feature: np.ndarray
    channel: np.ndarray
    sight_line: np.ndarray
    bright: np.ndarray
    unknown: np.ndarray
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
        unabsorbed = result.unabsorbed_kelvin.astype(float)
        bright = continuum > max_continuum.to_value(u.K)
        # A negative continuum is none; where a map is blank, some hold zeros: `read_continuum` sees to that.
        known = np.isfinite(p) & (continuum >= 0) & (unabsorbed > 0)
        noise, sigma_unabsorbed = _sigmas(result)
        return cls(
            depth=-result.voxel_delta_t_kelvin.astype(float),
            unabsorbed=unabsorbed,
            continuum=continuum,
            p=p,
            noise=noise,
            sigma_unabsorbed=sigma_unabsorbed,
            feature=result.voxel_rows,
            channel=index // (shape[1] * shape[2]),
            sight_line=index % (shape[1] * shape[2]),
            bright=bright,
            unknown=~known & ~bright,
            n_features=len(result.catalog),
            n_channels=shape[0],
            n_sight_lines=shape[1] * shape[2],
            channel_kms=result.channel_width.to_value(u.km / u.s),
        )

    @property
    def left_out(self):
        """True where nothing can be said of the gas for what lies behind it."""
        return self.bright | self.unknown

    @cached_property
    def without_absorption(self):
        """True where what lies behind is known, and dT is not negative, or not known."""
        return ~self.left_out & ~(self.depth > 0)

    @property
    def column_per_kelvin(self):
        """Column density in cm^-2 of a channel for T_S tau of 1 K."""
        return COLUMN_PER_KELVIN_KMS * self.channel_kms

    @cached_property
    def behind(self):
        """B = p T_U + T_C, K."""
        return self.p * self.unabsorbed + self.continuum

    @cached_property
    def use(self):
        """True where there is absorption and what lies behind it is known."""
        return ~self.left_out & (self.depth > 0) & np.isfinite(self.behind)

    @cached_property
    def _lines(self):
        """Numbers of the lines, which tell feature and sight line, and the place of each voxel's."""
        line = self.feature * np.int64(self.n_sight_lines) + self.sight_line
        return np.unique(line, return_inverse=True)

    def lines(self, which):
        """The lines of some voxels: one sight line of one feature each, in the order of the features.

        Parameters
        ----------
        which : `~numpy.ndarray` of bool, or slice

        Returns
        -------
        feature, sight_line : `~numpy.ndarray` of int, shape (n_lines,)
        line : `~numpy.ndarray` of int
            The line of each of these voxels.
        """
        numbers, place = self._lines
        seen = np.zeros(numbers.size, bool)
        seen[place[which]] = True
        line = (np.cumsum(seen) - 1)[place[which]]
        return *np.divmod(numbers[seen], self.n_sight_lines), line

    def count_sight_lines(self, which=slice(None)):
        """How many sight lines of each feature have a voxel that is True; all of them by default."""
        return np.bincount(self.lines(which)[0], minlength=self.n_features)

    def counted(self, which):
        """How many voxels of each feature are True."""
        return np.bincount(self.feature[which], minlength=self.n_features)

    def totals(self, values):
        """Sums over the voxels of each feature."""
        return np.bincount(self.feature, values, minlength=self.n_features)


def _sigmas(result):
    """1-sigma uncertainties of T_ON and of T_U, whose squares add up to that of dT; None if not known."""
    of_delta, of_unabsorbed = result.sigma_delta_kelvin, result.sigma_unabsorbed_kelvin
    if of_delta is None or of_unabsorbed is None:
        return None, None
    of_delta, of_unabsorbed = of_delta.astype(float), of_unabsorbed.astype(float)
    with np.errstate(invalid="ignore"):
        return np.sqrt(np.maximum(of_delta**2 - of_unabsorbed**2, 0)), of_unabsorbed


def _at(index, name, values, shape):
    """Values of a number, a map or a cube at the voxels."""
    if values.shape not in ((), shape[1:], shape):
        raise InputError(
            f"{name} has the shape {values.shape}, the result {shape}; give a number, a map of shape "
            f"{shape[1:]} or a cube"
        )
    return np.broadcast_to(values, shape).reshape(-1)[index] if values.ndim else np.full(index.size, values)
