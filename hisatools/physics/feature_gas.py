"""Gas of features, summed over their voxels."""

from dataclasses import dataclass
from functools import cached_property

import astropy.units as u
import numpy as np

from hisatools.physics.amounts import hydrogen_mass, max_kinetic_temperature, total_mass, volume_density
from hisatools.physics.clouds import Clouds, CloudSpin
from hisatools.physics.gas import GasFlag, raise_flag
from hisatools.physics.per_feature import FeatureAssumptions
from hisatools.physics.voxels import GasVoxels

__all__ = ["FeatureGas"]

# A sight line that absorbs less than so many of its uncertainties tells little of its own gas.
LEAST_SIGNIFICANCE = 3.0


@dataclass(frozen=True, eq=False)
class FeatureGas:
    """What the spin temperatures of clouds make of the voxels and features.

    Parameters
    ----------
    voxels : `GasVoxels`
    clouds : `Clouds`
    spin : `CloudSpin`
    assumed : `FeatureAssumptions`
    correlated : `~numpy.ndarray`, shape (2, n_features)
        Pixels of the sky, and channels of a sight line, over which the noise is alike; NaN if not known.
    pixel_sr : `~numpy.ndarray`, shape (n_features,)
        Solid angle of a pixel where each feature is; NaN for one spectrum, which has no area on the sky.
    spin_per : {"feature", "sight_line"}
    """

    voxels: GasVoxels
    clouds: Clouds
    spin: CloudSpin
    assumed: FeatureAssumptions
    correlated: np.ndarray
    pixel_sr: np.ndarray
    spin_per: str

    @cached_property
    def tau(self):
        """Optical depth of each voxel; NaN where it is not known."""
        return self.spin.tau_of(self.voxels, self.clouds)

    @cached_property
    def known(self):
        """Whether it is."""
        return np.isfinite(self.tau)

    @cached_property
    def column(self):
        """Column density in cm^-2 of each voxel; 0 where it is not known, so that it can be summed."""
        column = self.voxels.column_per_kelvin * self.spin.of_voxels(self.clouds) * self.tau
        return np.where(self.known, column, 0)

    @cached_property
    def lines(self):
        """Feature and sight line of the lines with a known voxel, and the line of each known voxel."""
        return self.voxels.lines(self.known)

    @property
    def line_feature(self):
        """The feature of each of `lines`."""
        return self.lines[0]

    @cached_property
    def line_column(self):
        """Column density of each of `lines`."""
        return np.bincount(self.lines[2], self.column[self.known], minlength=self.line_feature.size)

    @cached_property
    def n_known(self):
        """How many lines of each feature have a known voxel."""
        return np.bincount(self.line_feature, minlength=self.voxels.n_features)

    @cached_property
    def peak_line(self):
        """The densest line of each feature: its place among `lines`; -1 if none is known."""
        order = np.argsort(self.line_column, kind="stable")
        peak = np.full(self.voxels.n_features, -1)
        peak[self.line_feature[order]] = order  # the last one to be written stays
        return peak

    @cached_property
    def in_peak(self):
        """True for the voxels of their feature's densest line."""
        inside = np.zeros(self.known.size, bool)
        inside[self.known] = self.lines[2] == self.peak_line[self.voxels.feature[self.known]]
        return inside

    @cached_property
    def cloud_column(self):
        """Sums of `column` over the voxels of each cloud."""
        known = self.known
        return np.bincount(self.clouds.of_voxel[known], self.column[known], minlength=self.clouds.n)

    @cached_property
    def cloud_share(self):
        """Share of each cloud in the mean T_S and tau of its feature: that of its column."""
        fine = np.isfinite(self.spin.kelvin)
        column = np.where(fine, self.cloud_column, 0)
        whole = self.of_clouds(column)[self.clouds.feature]
        number = self.of_clouds(fine.astype(float))[self.clouds.feature]
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(fine, np.where(whole > 0, column / whole, 1 / number), 0)

    def of_clouds(self, values):
        """Sums over the clouds of each feature."""
        return np.bincount(self.clouds.feature, values, minlength=self.voxels.n_features)

    def mean_of_clouds(self, values):
        """Means of what clouds have, by `cloud_share`; NaN where no T_S is known."""
        total = self.of_clouds(np.where(self.cloud_share > 0, self.cloud_share * values, 0))
        return np.where(self.of_clouds(self.cloud_share) > 0, total, np.nan)

    @cached_property
    def noisy(self):
        """True for clouds that are sight lines and absorb less than their noise allows to say."""
        if self.spin_per == "feature" or self.voxels.noise is None:
            return np.zeros(self.clouds.n, bool)
        use = self.voxels.use
        cloud, feature = self.clouds.of_voxel[use], self.clouds.feature
        total, variance, of_unabsorbed, number = (
            np.bincount(cloud, part, minlength=self.clouds.n)
            for part in (
                self.voxels.depth[use],
                self.voxels.noise[use] ** 2,
                self.voxels.sigma_unabsorbed[use],
                np.ones(cloud.size),
            )
        )
        noise = variance * np.fmin(number, self.correlated[1][feature])
        return ~(total >= LEAST_SIGNIFICANCE * np.sqrt(noise + of_unabsorbed**2))

    @cached_property
    def cloud_flags(self):
        """Sums of `GasFlag` of each cloud."""
        return self.spin.flags | np.where(self.noisy, np.int16(GasFlag.NOISY), np.int16(0))

    def columns(self):
        """The columns of `GAS_COLUMNS` but for uncertainties, as plain arrays."""
        n_lines = self.n_known
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.bincount(self.line_feature, self.line_column, self.voxels.n_features) / n_lines
        peak = np.where(self.peak_line >= 0, np.append(self.line_column, np.nan)[self.peak_line], np.nan)
        spin = self.mean_of_clouds(self.spin.kelvin)
        without = self.voxels.use & ~self.known & np.isfinite(spin)[self.voxels.feature]
        kinetic = max_kinetic_temperature(self.assumed.linewidth_kms * u.km / u.s).value
        columns = {
            "t_spin": spin,
            "t_spin_max": self._warmest(),
            "t_kinetic_max": kinetic,
            "linewidth_intrinsic": self.assumed.linewidth_kms,
            "tau_peak": self.mean_of_clouds(self.spin.tau),
            "column_density_peak": peak,
            "column_density_mean": mean,
            "path_length": self.assumed.values["path_length"],
            "n_opaque": self.voxels.counted(without),
            "n_left_out": self.voxels.counted(self.voxels.left_out | self.voxels.without_absorption),
            "n_bright": self.voxels.counted(self.voxels.bright),
            "n_noisy": self.of_clouds(self.noisy.astype(float)).astype(int),
            "gas_flags": self._flags(spin, kinetic),
        }
        return columns | self._amounts(mean)

    def _amounts(self, mean):
        """Density and masses; NaN where path length or distance are not known."""
        values = self.assumed.values
        distance_pc = values.get("distance", np.nan)
        area = self.pixel_sr * self.n_known * distance_pc**2 * u.pc**2
        mass = hydrogen_mass(mean * u.cm**-2, area)
        return {
            "volume_density": volume_density(mean * u.cm**-2, values["path_length"] * u.pc).value,
            "mass_hi": mass.value,
            "mass_total": total_mass(mass, values["fraction"]).value,
        }

    def _warmest(self):
        """T_S of opaque gas in the deepest channel of each feature's mean spectrum."""
        clouds = self.clouds
        if self.spin_per != "feature":
            clouds = Clouds.of(self.voxels, "feature")
        warmest = np.full(self.voxels.n_features, np.nan)
        left = (clouds.behind - clouds.depth)[clouds.deepest]
        warmest[clouds.feature] = np.where(left > 0, left, np.nan)
        return warmest

    def _flags(self, spin, kinetic):
        """What is the matter with each feature."""
        clouds, flags = self.cloud_flags, self.assumed.flags.copy()
        # Of sight lines, what holds for all of them; or if none is known, all that is the matter.
        every = np.full(flags.size, -1, np.int16)
        some = np.zeros(flags.size, np.int16)
        np.bitwise_and.at(every, self.clouds.feature, clouds)
        np.bitwise_or.at(some, self.clouds.feature, clouds)
        flags |= np.where(np.isfinite(spin), every, some)
        raise_flag(flags, self.voxels.counted(self.voxels.bright) > 0, GasFlag.BRIGHT_CONTINUUM)
        raise_flag(flags, self.voxels.counted(self.voxels.unknown) > 0, GasFlag.UNKNOWN_BEHIND)
        nothing = self.voxels.counted(self.voxels.use) == 0
        emission = self.voxels.counted(self.voxels.without_absorption) > 0
        raise_flag(flags, nothing & emission, GasFlag.NO_ABSORPTION)
        raise_flag(flags, nothing & ~emission, GasFlag.BLANK)
        with np.errstate(invalid="ignore"):
            raise_flag(flags, spin > kinetic, GasFlag.ABOVE_KINETIC)
        return flags
