"""Clouds: features, or the sight lines of features, each with a spectrum and one spin temperature.

A cloud's spectrum is laid out as cells, one for each channel in which it absorbs, those of a cloud side by
side. All slopes that first-order uncertainties need are kept beside T_S.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import astropy.units as u
import numpy as np

from hisatools.physics.gas import GasFlag, GasModel, raise_flag
from hisatools.physics.pressure import Pressure
from hisatools.physics.profiles import solve_spectra
from hisatools.physics.transfer import tau_of

__all__ = ["CloudSpin", "Clouds"]


@dataclass(frozen=True, eq=False)
class Clouds:
    """The spectra that tell spin temperatures.

    Parameters
    ----------
    feature : `~numpy.ndarray` of int, shape (n_clouds,)
    n_lines : `~numpy.ndarray`, shape (n_clouds,)
        Sight lines that each spectrum is the mean of.
    of_voxel : `~numpy.ndarray` of int, shape (n_voxels,)
        The cloud of each voxel; -1 for those that are not used.
    cell_of_voxel : `~numpy.ndarray` of int, shape (n_used,)
        The cell of each voxel that is used.
    depth, behind : `~numpy.ndarray`, shape (n_cells,), K
        Mean -dT of all the sight lines, those without absorption in a channel with 0, so that no few voxels
        at the ends of a line count for more than they are; and mean B of the voxels.
    start : `~numpy.ndarray` of int, shape (n_clouds + 1,)
        Where the cells of each cloud start.
    channel : `~numpy.ndarray` of int, shape (n_cells,)
    centre : `~numpy.ndarray` of int, shape (n_clouds,)
        The deepest channel of the mean spectrum of each cloud's feature.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools.datasets import example_result
    >>> from hisatools.physics.clouds import Clouds
    >>> from hisatools.physics.voxels import GasVoxels
    >>> voxels = GasVoxels.of(example_result(), 5.5 * u.K, 0.9, 20 * u.K)
    >>> Clouds.of(voxels, "feature").n, Clouds.of(voxels, "sight_line").n
    (5, 619)
    """

    feature: np.ndarray
    n_lines: np.ndarray
    of_voxel: np.ndarray
    cell_of_voxel: np.ndarray
    depth: np.ndarray
    behind: np.ndarray
    start: np.ndarray
    channel: np.ndarray
    centre: np.ndarray

    @classmethod
    def of(cls, voxels, spin_per):
        """Features as clouds, or with ``spin_per="sight_line"`` their sight lines."""
        use = voxels.use
        if spin_per == "feature":
            number = voxels.counted(use)
            feature, used = np.flatnonzero(number), (np.cumsum(number > 0) - 1)[voxels.feature[use]]
            n_lines = voxels.count_sight_lines(use)[feature]
            cell, owner, channel = _shared_cells(used, voxels.channel[use], voxels.n_channels)
        else:
            feature, _, used = voxels.lines(use)
            n_lines = np.ones(feature.size)
            # Each voxel is a cell, and those of a sight line are in the order of the channels already.
            order = np.argsort(used, kind="stable")
            cell, owner = np.empty_like(order), used[order]
            cell[order] = np.arange(order.size)
            channel = voxels.channel[use][order]
        of_voxel = np.full(use.size, -1)
        of_voxel[use] = used
        depth, behind = (
            np.bincount(cell, part[use], minlength=owner.size) for part in (voxels.depth, voxels.behind)
        )
        found = cls(
            feature=feature,
            n_lines=n_lines,
            of_voxel=of_voxel,
            cell_of_voxel=cell,
            depth=depth / n_lines[owner],
            behind=behind / np.bincount(cell, minlength=owner.size),
            start=np.searchsorted(owner, np.arange(feature.size + 1)),
            channel=channel,
            centre=np.zeros(feature.size, int),
        )
        if spin_per == "feature":
            return replace(found, centre=channel[found.deepest])
        whole = cls.of(voxels, "feature")
        return replace(found, centre=whole.centre[np.searchsorted(whole.feature, feature)])

    @property
    def n(self):
        """How many there are."""
        return self.feature.size

    @cached_property
    def of_cell(self):
        """The cloud of each cell."""
        return np.repeat(np.arange(self.n), np.diff(self.start))

    @cached_property
    def n_voxels(self):
        """How many voxels each cell is the mean of."""
        return np.bincount(self.cell_of_voxel, minlength=self.depth.size)

    @cached_property
    def deepest(self):
        """The deepest cell of each cloud; of several as deep, the first."""
        if not self.n:
            return np.zeros(0, np.intp)
        top = np.maximum.reduceat(self.depth, self.start[:-1])
        found = np.flatnonzero(self.depth == top[self.of_cell])[::-1]
        deepest = np.empty(self.n, np.intp)
        deepest[self.of_cell[found]] = found  # the last one to be written stays
        return deepest

    @cached_property
    def central(self):
        """The cell of each cloud in the deepest channel of its feature, or next to it.

        That of a sight line by itself is as deep as it is for its noise, and T_S would come out too cold.
        """
        if not self.n:
            return np.zeros(0, np.intp)
        away = np.abs(self.channel - self.centre[self.of_cell])
        found = np.flatnonzero(away == np.minimum.reduceat(away, self.start[:-1])[self.of_cell])[::-1]
        central = np.empty(self.n, np.intp)
        central[self.of_cell[found]] = found  # the last one to be written stays
        return central

    def cell_changes(self, depth, behind):
        """Changes of the cells' d and B where those of the used voxels change."""
        n = self.depth.size
        of_depth = np.bincount(self.cell_of_voxel, depth, minlength=n) / self.n_lines[self.of_cell]
        return of_depth, np.bincount(self.cell_of_voxel, behind, minlength=n) / self.n_voxels

    def total(self, values):
        """Sums over the cells of each cloud."""
        return np.bincount(self.of_cell, values, minlength=self.n)

    def solve(self, parameters, assumed, channel_kms):
        """T_S of all clouds: see `hisatools.physics.measure_gas`."""
        own = {name: values[self.feature] for name, values in assumed.values.items()}
        if parameters.p_over_k is not None and parameters.line == "profile":
            return self._in_pressure(own, parameters.floor.to_value(u.K), channel_kms)
        depth, behind = self.depth[self.central], self.behind[self.central]
        known = {}
        if parameters.p_over_k is not None:
            known["pressure"] = _pressure(own, assumed.linewidth_kms[self.feature], "gaussian")
        elif parameters.tau is not None:
            known["tau"] = own["tau"]
        else:
            known["t_spin"] = own["t_spin"] * u.K
        gas = GasModel(p=1.0, floor=parameters.floor, **known).solve(-depth * u.K, behind * u.K)
        spin, tau = gas.t_spin.value, gas.tau
        of_depth, of_behind, of_known = _slopes(depth, behind, spin, tau, known)
        fixed = (gas.flags & int(GasFlag.FLOOR)) != 0
        slopes = [np.zeros(self.depth.size) for _ in range(2)]
        for slope, values in zip(slopes, (of_depth, of_behind), strict=True):
            slope[self.central] = np.where(fixed, 0, values)
        return CloudSpin(spin, tau, gas.flags, *slopes, np.where(fixed, 0, of_known), self.central)

    def _in_pressure(self, own, floor, channel_kms):
        squared = _pressure(own, np.full(self.n, channel_kms), "channel").squared_kelvin
        flags = np.zeros(self.depth.size, np.int16)
        raise_flag(flags, ~np.isfinite(squared[self.of_cell]), GasFlag.BLANK)
        raise_flag(flags, (flags == 0) & ~(self.depth < self.behind - floor), GasFlag.TOO_DEEP)
        part = flags == 0
        spin, tau, flags = solve_spectra(self.depth, self.behind, flags, self.start, squared, floor)
        each = spin[self.of_cell]
        with np.errstate(divide="ignore", invalid="ignore"):
            left = self.behind - each - self.depth
            by_spin = np.where(part, self.depth / ((self.behind - each) * left), 0)
            rise = 2 * spin * self.total(np.where(part, tau, 0)) + spin**2 * self.total(by_spin)
            of_depth = np.where(part, -(each**2) / (left * rise[self.of_cell]), 0)
            of_behind = each**2 * by_spin / rise[self.of_cell]
            of_known = squared / rise
        flags = flags[self.deepest]
        fixed = (flags & int(GasFlag.FLOOR)) != 0
        # A cloud whose deepest channel no gas can make is none.
        spin = np.where((flags & int(GasFlag.TOO_DEEP)) == 0, spin, np.nan)
        of_depth, of_behind = (np.where(fixed[self.of_cell], 0, one) for one in (of_depth, of_behind))
        tau = np.where(np.isfinite(spin), tau[self.deepest], np.nan)
        of_known = np.where(fixed, 0, of_known)
        return CloudSpin(spin, tau, flags, of_depth, of_behind, of_known, self.deepest)


@dataclass(frozen=True, eq=False)
class CloudSpin:
    """T_S of clouds and how it changes with what it is found from.

    Parameters
    ----------
    kelvin, tau : `~numpy.ndarray`, shape (n_clouds,)
        T_S and the optical depth of ``cell``; NaN where ``flags`` say why.
    flags : `~numpy.ndarray` of int16, shape (n_clouds,)
    by_depth, by_behind : `~numpy.ndarray`, shape (n_cells,)
        Slopes of T_S.
    by_known : `~numpy.ndarray`, shape (n_clouds,)
        Slope with what is given: T_S, tau, or the logarithm of pressure times fraction times length.
    cell : `~numpy.ndarray` of int, shape (n_clouds,)
        The cell that tells T_S where one does; else the deepest.
    """

    kelvin: np.ndarray
    tau: np.ndarray
    flags: np.ndarray
    by_depth: np.ndarray
    by_behind: np.ndarray
    by_known: np.ndarray
    cell: np.ndarray

    def tau_of(self, voxels, clouds):
        """Optical depth of each voxel; NaN where it is not known."""
        spin = self.of_voxels(clouds)
        return np.where(voxels.use, tau_of(voxels.depth, voxels.behind - spin), np.nan)

    def of_voxels(self, clouds):
        """T_S of each voxel in K; NaN where it is not used."""
        return np.append(self.kelvin, np.nan)[clouds.of_voxel]


def _shared_cells(cloud, channel, n_channels):
    """The cell of each voxel, and cloud and channel of each cell; clouds have many voxels in a channel."""
    place = cloud * np.int64(n_channels) + channel
    some = np.bincount(place) > 0
    return (np.cumsum(some) - 1)[place], *np.divmod(np.flatnonzero(some), n_channels)


def _pressure(own, width_kms, line):
    return Pressure(
        p_over_k=own["p_over_k"] * u.K / u.cm**3,
        path_length=own["path_length"] * u.pc,
        fraction=own["fraction"],
        linewidth=width_kms * u.km / u.s,
        line=line,
    )


def _slopes(depth, behind, spin, tau, known):
    """Of T_S with the depth and what lies behind of the deepest cell, and with what is known."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if "t_spin" in known:
            return 0, 0, 1
        if "tau" in known:
            opaque = -np.expm1(-tau)
            return -1 / opaque, 1, depth * np.exp(-tau) / opaque**2
        left = behind - spin - depth
        by_spin = depth / ((behind - spin) * left)
        rise = 2 * spin * tau + spin**2 * by_spin
        return -(spin**2) / (left * rise), spin**2 * by_spin / rise, spin**2 * tau / rise
