r"""Uncertainties of the gas of features, to first order.

The noise of voxels is alike over its correlation volume and else independent: over an area of the sky within
a channel, and over some channels. All other errors are common to a feature: T_U of its voxels comes from much
the same T_OFF, and is taken to be off by as many sigma in all of them, as the catalogue takes it for its
integrals; p, T_C and what the user states are off alike as well. An error of T_U is one of dT, too. Each
reaches a column twice: in the optical depth of the voxels,

.. math::

   \delta \tau = \frac{1}{q} \left( \delta d
   + \frac{d}{B - T_\mathrm{S}} (\delta T_\mathrm{S} - \delta B) \right), \qquad q = B - T_\mathrm{S} - d,

and in T_S, which comes of the spectrum of the whole cloud. Where q is below the noise, its slope is no
measure of what noise does, and the noise stands for q.
"""

from dataclasses import dataclass
from functools import cached_property

import astropy.units as u
import numpy as np

from hisatools.physics.feature_gas import FeatureGas
from hisatools.physics.gas import BAD, GasFlag
from hisatools.physics.units import column_values

__all__ = ["FeatureErrors", "correlated_voxels"]

OF_PRESSURE = ("p_over_k", "fraction", "path_length")
# Amounts, and the powers of what they go with beside the mean column.
AMOUNTS = {
    "volume_density": {"path_length": -1},
    "mass_hi": {"distance": 2},
    "mass_total": {"distance": 2, "fraction": None},
}


def correlated_voxels(voxels, catalog, beam_pixels):
    """Pixels of the sky, and channels of a sight line, over which the noise is alike, for each feature.

    The catalogue's uncertainty of the integral holds the volume, which is their product: its square is that
    of T_U's share, and the sum of the voxels' variances times the volume. Noise of a beam is alike over two
    of its areas, and what is left of the volume lies along the velocity. Where the beam is not known, the
    volume is taken to reach as far along all three axes. Features smaller than the volume, and those whose
    uncertainty is not known, have that of the others.

    Parameters
    ----------
    voxels : `GasVoxels`
    catalog : `~astropy.table.QTable`
    beam_pixels : `~numpy.ndarray`, shape (n_features,)
        Area of the beam in pixels; NaN if it is not known.

    Returns
    -------
    `~numpy.ndarray`, shape (2, n_features)
        NaN where it is not known.

    Examples
    --------
    >>> import astropy.units as u
    >>> import numpy as np
    >>> from hisatools.datasets import example_result
    >>> from hisatools.physics.feature_errors import correlated_voxels
    >>> from hisatools.physics.voxels import GasVoxels
    >>> voxels = GasVoxels.of(example_result(), 5.5 * u.K, 0.9, 20 * u.K)
    >>> print(correlated_voxels(voxels, example_result().catalog, np.full(5, 12.6)).round(1))
    [[25.2 25.2 25.2 25.2 25.2]
     [ 2.4  2.4  2.4  2.4  2.4]]
    """
    volume = _correlation_volume(voxels, catalog)
    of_beam = np.where(beam_pixels > 0, np.maximum(2 * beam_pixels, 1), volume ** (2 / 3))
    sky = np.minimum(of_beam, volume)
    return np.array([sky, volume / sky])


def _correlation_volume(voxels, catalog):
    """In voxels, at least 1, for each feature; NaN where neither it nor another one tells."""
    unknown = np.full(voxels.n_features, np.nan)
    if voxels.noise is None or "absorption_integral_error" not in catalog.colnames:
        return unknown
    error = column_values(catalog, "absorption_integral_error", u.K * u.km / u.s)
    total = error * voxels.count_sight_lines() / voxels.channel_kms
    fine = np.isfinite(voxels.noise) & np.isfinite(voxels.sigma_unabsorbed)
    variance, common, number = (
        voxels.totals(np.where(fine, one, 0)) for one in (voxels.noise**2, voxels.sigma_unabsorbed, 1)
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        volume = np.maximum((total**2 - common**2) / variance, 1)
    # Where there is no noise, how far it is alike does not matter.
    volume[np.isfinite(total) & (variance == 0) & (number > 0)] = 1
    own = np.isfinite(volume)
    if not own.any():
        return unknown
    too_small = ~own | (volume > 0.999 * number)
    return np.where(too_small, np.fmax(volume, volume[own].max()), volume)


@dataclass(frozen=True, eq=False)
class FeatureErrors:
    """1-sigma uncertainties beside a `FeatureGas`.

    Parameters
    ----------
    gas : `FeatureGas`
    found : dict
        Its columns.
    closure : {"t_spin", "tau", "p_over_k"}

    Examples
    --------
    `measure_gas` makes one:

    >>> import astropy.units as u
    >>> from hisatools.datasets import example_result
    >>> from hisatools.physics import GasParameters, measure_gas
    >>> found, _ = measure_gas(example_result(), GasParameters(tau=0.5, tau_error=0.1))
    >>> print(found.catalog["t_spin_error"].round(1))
    [ nan 14.3 15.3 11.5  8.3] K
    """

    gas: FeatureGas
    found: dict
    closure: str

    @cached_property
    def _slopes(self):
        """Of each used voxel's column with d, B and T_S; of tau in the cells that tell it with the same."""
        voxels, spin, use = self.gas.voxels, self.gas.spin, self.gas.voxels.use
        kelvin = spin.of_voxels(self.gas.clouds)[use]
        scale = np.where(self.gas.known[use], voxels.column_per_kelvin, 0)
        depth, behind, tau = voxels.depth[use], voxels.behind[use], self.gas.tau[use]
        by_depth, by_spin = _tau_slopes(depth, behind, kelvin, voxels.noise[use])
        by_spin_too = scale * (tau + kelvin * by_spin)
        found = [scale * kelvin * by_depth, -scale * kelvin * by_spin, by_spin_too]
        clouds = self.gas.clouds
        cells = _tau_slopes(clouds.depth[spin.cell], clouds.behind[spin.cell], spin.kelvin, 0)
        return [np.where(np.isfinite(one), one, 0) for one in (*found, *cells)]

    @cached_property
    def _cloud(self):
        """The cloud of each used voxel."""
        return self.gas.clouds.of_voxel[self.gas.voxels.use]

    @cached_property
    def _by_spin(self):
        """Slopes with T_S of the columns of clouds, and of the densest lines in each cloud."""
        by_spin, n = self._slopes[2], self.gas.clouds.n
        of_peak = np.where(self.gas.in_peak[self.gas.voxels.use], by_spin, 0)
        return np.bincount(self._cloud, by_spin, minlength=n), np.bincount(self._cloud, of_peak, minlength=n)

    @cached_property
    def _shift(self):
        """How the mean T_S and tau of features follow the column of each cloud, for each cm^-2."""
        gas = self.gas
        whole = gas.of_clouds(gas.cloud_column)[gas.clouds.feature]
        found = []
        for name, values in (("t_spin", gas.spin.kelvin), ("tau_peak", gas.spin.tau)):
            with np.errstate(invalid="ignore", divide="ignore"):
                one = (values - self.found[name][gas.clouds.feature]) / whole
            found.append(np.where(np.isfinite(one) & (gas.cloud_share > 0), one, 0))
        return found

    def common(self, depth=0.0, behind=0.0, known=0.0):
        """Changes of T_S, tau, mean and peak column of features where all of their voxels change.

        Parameters
        ----------
        depth, behind : `~numpy.ndarray`, shape (n_used,), K, or 0
            Of the voxels.
        known : `~numpy.ndarray`, shape (n_features,), or 0
            What is given for the T_S of clouds, see `CloudSpin`.

        Returns
        -------
        list of `~numpy.ndarray`, shape (n_features,)
        """
        gas, clouds, (by_depth, by_behind, _, tau_by_depth, tau_by_spin) = (
            self.gas,
            self.gas.clouds,
            self._slopes,
        )
        depth, behind = (np.broadcast_to(one, self._cloud.shape) for one in (depth, behind))
        known = np.broadcast_to(known, gas.voxels.n_features)[clouds.feature]
        of_depth, of_behind = clouds.cell_changes(depth, behind)
        spin = clouds.total(gas.spin.by_depth * of_depth + gas.spin.by_behind * of_behind)
        spin = spin + gas.spin.by_known * known
        first = gas.spin.cell
        tau = tau_by_depth * of_depth[first] + tau_by_spin * (spin - of_behind[first])
        own = by_depth * depth + by_behind * behind
        column = np.bincount(self._cloud, own, minlength=clouds.n) + self._by_spin[0] * spin
        own = np.where(gas.in_peak[gas.voxels.use], own, 0)
        peak = np.bincount(self._cloud, own, minlength=clouds.n) + self._by_spin[1] * spin
        share, shift = gas.cloud_share, self._shift
        return [
            gas.of_clouds(_product(share, spin) + shift[0] * column),
            gas.of_clouds(_product(share, tau) + shift[1] * column),
            gas.of_clouds(column) / np.maximum(gas.n_known, 1),
            gas.of_clouds(peak),
        ]

    def noise(self):
        """Variances of the same that noise makes."""
        gas, clouds, cloud = self.gas, self.gas.clouds, self._cloud
        by_depth, _, _, tau_by_depth, tau_by_spin = self._slopes
        cell = clouds.cell_of_voxel
        weight = 1 / clouds.n_lines[cloud]
        spin = gas.spin.by_depth[cell] * weight
        tau = tau_by_spin[cloud] * spin
        tau += np.where(cell == gas.spin.cell[cloud], tau_by_depth[cloud] * weight, 0)
        column = by_depth + self._by_spin[0][cloud] * spin
        in_peak = gas.in_peak[gas.voxels.use]
        share, shift = gas.cloud_share[cloud], [one[cloud] for one in self._shift]
        feature = clouds.feature[cloud]
        slopes = [
            _product(share, spin) + shift[0] * column,
            _product(share, tau) + shift[1] * column,
            column / np.maximum(gas.n_known, 1)[feature],
        ]
        variance = gas.voxels.noise[gas.voxels.use] ** 2
        cells = _Cells.of(feature, gas.voxels.channel[gas.voxels.use], gas.voxels.n_features)
        peak = np.where(in_peak, by_depth, 0) + self._by_spin[1][cloud] * spin
        # Of the sky one sight line has one pixel, over which the noise is alike.
        slopes += [np.where(in_peak, peak, 0), np.where(in_peak, 0, peak)]
        *found, of_line, of_others = (cells.variance(slope, variance, gas.correlated) for slope in slopes)
        return [*found, of_line + of_others]

    def _directions(self):
        """What moves by one sigma: voxels and what is known; and relative changes of what is given."""
        voxels, values, errors = self.gas.voxels, self.gas.assumed.values, self.gas.assumed.errors
        use, feature = voxels.use, voxels.feature[voxels.use]
        sigma = voxels.sigma_unabsorbed[use]
        yield {"depth": sigma, "behind": voxels.p[use] * sigma}, {}
        for name, error in errors.items():
            relative = error / values[name] if name in values else error
            moved, others = {}, {}
            if name == "p":
                moved["behind"] = voxels.unabsorbed[use] * error[feature]
            elif name == "t_continuum":
                moved["behind"] = error[feature]
            elif name == self.closure and name != "p_over_k":
                moved["known"] = error
            else:
                others[name] = relative
                if name == "distance" and self.gas.assumed.length_of_distance:
                    others["path_length"] = relative
                if self.closure == "p_over_k":
                    moved["known"] = sum(others.get(one, 0.0) for one in OF_PRESSURE)
            yield moved, others

    def columns(self):
        """Columns of uncertainties; NaN where not known."""
        names = ("t_spin", "tau_peak", "column_density_mean", "column_density_peak")
        if self.gas.voxels.noise is None:
            unknown = np.full(self.gas.voxels.n_features, np.nan)
            return {f"{name}_error": unknown for name in (*names, *AMOUNTS)}
        squares = dict(zip(names, self.noise(), strict=True))
        mean = self.found["column_density_mean"]
        with np.errstate(invalid="ignore", divide="ignore"):
            squares |= {name: squares["column_density_mean"] / mean**2 for name in AMOUNTS}
            for moved, others in self._directions():
                changes = dict(zip(names, self.common(**moved), strict=True))
                relative = changes["column_density_mean"] / mean
                for name, powers in AMOUNTS.items():
                    changes[name] = relative + sum(
                        self._power(one, power) * others[one]
                        for one, power in powers.items()
                        if one in others
                    )
                squares = {name: one + changes[name] ** 2 for name, one in squares.items()}
            for name in AMOUNTS:
                squares[name] = squares[name] * self.found[name] ** 2
            found = {f"{name}_error": np.sqrt(one) for name, one in squares.items()}
        return {name: self._known(name, one) for name, one in found.items()}

    def _power(self, name, power):
        """Exponent with which an amount goes with something; that of f_n depends on f_n."""
        fraction = self.gas.assumed.values["fraction"]
        return -2 / (2 - fraction) if name == "fraction" else power

    def _known(self, name, values):
        """NaN where the value is, and for what is given without an uncertainty."""
        of = name.removesuffix("_error")
        given = {"t_spin": "t_spin", "tau": "tau_peak"}.get(self.closure)
        if of == given and self.closure not in self.gas.assumed.errors:
            return np.full(values.shape, np.nan)
        fine = np.isfinite(self.found[of])
        if of == "t_spin":  # of the floor nothing is known to be off
            fine &= (self.found["gas_flags"] & int(GasFlag.FLOOR)) == 0
        return np.where(fine, values, np.nan)

    def saturated(self):
        """True for features whose deepest cells keep less than their uncertainty from an opaque cloud."""
        gas, clouds = self.gas, self.gas.clouds
        if gas.voxels.noise is None:
            return np.zeros(gas.voxels.n_features, bool)
        use, n = gas.voxels.use, clouds.depth.size
        sigma = gas.voxels.sigma_unabsorbed[use]
        variance, number = (
            np.bincount(clouds.cell_of_voxel, one, minlength=n)
            for one in (gas.voxels.noise[use] ** 2, np.ones(sigma.size))
        )
        # The noise of one channel is alike over the sky only.
        alike = np.fmin(number, gas.correlated[0][clouds.feature[clouds.of_cell]])
        common = np.subtract(*clouds.cell_changes(sigma, gas.voxels.p[use] * sigma))
        error = np.sqrt(alike * variance / clouds.n_lines[clouds.of_cell] ** 2 + common**2)
        first = gas.spin.cell
        left = clouds.behind[first] - clouds.depth[first] - gas.spin.kelvin
        few = (left < error[first]) & ((gas.spin.flags & int(BAD)) == 0)
        number = gas.of_clouds(np.ones(clouds.n))
        return (number > 0) & (gas.of_clouds(few.astype(float)) == number)


@dataclass(frozen=True, eq=False)
class _Cells:
    """Channels of features, in order: what each voxel belongs to, and of each cell feature and channel."""

    of_voxel: np.ndarray
    feature: np.ndarray
    channel: np.ndarray
    n_features: int

    @classmethod
    def of(cls, feature, channel, n_features):
        n_channels = int(channel.max(initial=0)) + 1
        place = feature * np.int64(n_channels) + channel
        some = np.bincount(place) > 0
        return cls((np.cumsum(some) - 1)[place], *np.divmod(np.flatnonzero(some), n_channels), n_features)

    def variance(self, slope, variance, correlated):
        """Of the sums over features of slope times noise.

        Within a channel the noise is alike over the sky's part of its volume. From channel to channel it is
        alike as a Gaussian over the number of channels that its correlation adds up to.
        """
        n = self.feature.size
        number, square, total = (
            np.bincount(self.of_voxel, one, minlength=n)
            for one in (slope != 0, np.where(slope == 0, 0, slope**2 * variance), slope)
        )
        alike = np.minimum(np.maximum(number, 1), correlated[0][self.feature])
        sigma = np.sign(total) * np.sqrt(alike * square)
        length = correlated[1]
        found = np.bincount(self.feature, sigma**2, minlength=self.n_features)
        reach = int(np.ceil(1.7 * np.nanmax(length, initial=1)))  # less than 1e-4 beyond
        lags = np.arange(1, min(reach, int(np.ptp(self.channel)) if n else 0) + 1)
        falls = np.exp(-np.pi * (np.arange(1, reach + 1)[:, None] / length) ** 2)
        falls *= (length - 1) / (2 * falls.sum(axis=0))
        place = self.feature * np.int64(self.channel.max(initial=0) + reach + 1) + self.channel
        for lag in lags:
            other = np.minimum(np.searchsorted(place, place + lag), n - 1)
            product = np.where(place[other] == place + lag, sigma * sigma[other], 0)
            found += 2 * falls[lag - 1] * np.bincount(self.feature, product, minlength=self.n_features)
        return found


def _tau_slopes(depth, behind, spin, least_left):
    """Slopes of the optical depth with d and with T_S; that with B is the latter's, with the other sign."""
    with np.errstate(invalid="ignore", divide="ignore"):
        left = np.maximum(behind - spin - depth, least_left)
        return 1 / left, depth / ((behind - spin) * left)


def _product(share, values):
    """Of what has no share, nothing, though it be NaN."""
    return np.where(share > 0, share * values, 0)
