"""GasModel: spin temperature, optical depth and share behind, from any two things that are known."""

from dataclasses import dataclass
from enum import IntFlag

import astropy.units as u
import numpy as np

from hisatools.errors import ParameterError
from hisatools.parameters import check_quantity
from hisatools.physics.constants import COLUMN_PER_KELVIN_KMS, T_CMB
from hisatools.physics.pressure import LINES, Pressure, spin_at_pressure
from hisatools.physics.transfer import NO_CONTINUUM, tau_of
from hisatools.physics.units import plain, plain_fraction, plain_number, plain_positive, same_shape, with_unit

__all__ = ["Gas", "GasFlag", "GasModel"]

ROUNDING = 1e-9
KNOWN = ("p", "t_spin", "tau", "pressure")


class GasFlag(IntFlag):
    """What is the matter with a number; 0 for nothing.

    BLANK, NO_ABSORPTION, TOO_DEEP, TOO_WARM, BEHIND and UNPHYSICAL leave NaN. The others are remarks, except
    that what follows from a path length that is UNRESOLVED is NaN, and that a feature of which all is left
    out has no T_S.

    Examples
    --------
    >>> from hisatools.physics import GasFlag
    >>> GasFlag(GasFlag.TOO_WARM | GasFlag.FLOOR).name
    'TOO_WARM|FLOOR'
    """

    BLANK = 1
    """An input is not finite, or of a feature all is left out."""
    NO_ABSORPTION = 2
    """dT is not negative; of a feature, that of none of the voxels that are not left out."""
    TOO_DEEP = 4
    """No gas at the floor or above can absorb so much: -dT is not below p T_U + T_C - floor."""
    TOO_WARM = 8
    """Gas of the given T_S cannot absorb so much: -dT is not below p T_U + T_C - T_S."""
    BEHIND = 16
    """The share of T_U behind the cloud comes out at 0 or below, or above 1."""
    FLOOR = 32
    """T_S came out below the floor: it was set to it, and tau or the pressure that was given was dropped."""
    SATURATED = 64
    """The contrast that is left is below its uncertainty: tau is a lower limit."""
    UNPHYSICAL = 128
    """What is known cannot be: tau or T_U not above 0, T_C below 0, T_S below the floor, or a column of the
    catalogue with a number that is not above 0."""
    BRIGHT_CONTINUUM = 256
    """Sight lines of the feature are left out: the continuum behind them is brighter than the limit."""
    UNKNOWN_BEHIND = 512
    """Sight lines of the feature are left out: T_C or p of them is not known."""
    UNRESOLVED = 1024
    """Less what the beam adds, the feature is narrower than the beam, or it is no wider than two pixels: its
    width tells no path length."""
    NOISY = 2048
    """The sight line absorbs less than three times its uncertainty: its own T_S is mostly noise."""
    ABOVE_KINETIC = 4096
    """T_S is above what the linewidth allows: gas so warm would have a broader line."""
    NARROW_LINE = 8192
    """The line is narrower than 1.5 channels, or its width is not known: it tells no linewidth."""


BAD = (
    GasFlag.BLANK
    | GasFlag.NO_ABSORPTION
    | GasFlag.TOO_DEEP
    | GasFlag.TOO_WARM
    | GasFlag.BEHIND
    | GasFlag.UNPHYSICAL
)


@dataclass(frozen=True, eq=False)
class Gas:
    """What `GasModel.solve` finds; arrays of one shape, NaN where ``flags`` say why.

    Parameters
    ----------
    t_spin : `~astropy.units.Quantity`, K
    tau : `~numpy.ndarray`
        At the centre of the line, or of the voxel.
    p : `~numpy.ndarray`
        Share of T_U from behind the cloud.
    flags : `~numpy.ndarray` of int16
        Sums of `GasFlag`.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools.physics import GasModel
    >>> gas = GasModel(t_spin=40 * u.K).solve([-42, -90] * u.K, 104 * u.K)
    >>> print(gas.t_spin, gas.tau.round(2), gas.flags)
    [40. nan] K [1.07  nan] [0 8]
    """

    t_spin: u.Quantity
    tau: np.ndarray
    p: np.ndarray
    flags: np.ndarray

    def flagged(self, flag):
        """Where a `GasFlag` is set.

        Parameters
        ----------
        flag : `GasFlag`

        Returns
        -------
        `~numpy.ndarray` of bool

        Examples
        --------
        >>> import astropy.units as u
        >>> from hisatools.physics import GasFlag, GasModel
        >>> gas = GasModel(t_spin=40 * u.K).solve([-42, -90] * u.K, 104 * u.K)
        >>> gas.flagged(GasFlag.TOO_WARM)
        array([False,  True])
        """
        return (self.flags & int(flag)) != 0

    def column_density(self, linewidth, *, line="gaussian"):
        """Column density of the cold atoms; see `hisatools.physics.column_density`.

        Parameters
        ----------
        linewidth : `~astropy.units.Quantity`, velocity
        line : {"gaussian", "channel"}

        Returns
        -------
        `~astropy.units.Quantity`, cm^-2

        Examples
        --------
        >>> import astropy.units as u
        >>> from hisatools.physics import GasModel
        >>> gas = GasModel(t_spin=40 * u.K).solve(-42 * u.K, 104 * u.K)
        >>> print(f"{gas.column_density(2.5 * u.km / u.s):.2g}")
        2.1e+20 1 / cm2
        """
        return column_density(self.t_spin, self.tau, linewidth, line=line)


@dataclass(frozen=True, kw_only=True)
class GasModel:
    """What is assumed or known of a cloud: two of the share behind, T_S, tau and pressure.

    The equation of transfer has three unknowns, T_S, tau and p, so that two things must be known. The
    others follow.

    Parameters
    ----------
    p : array_like, optional
        Share of T_U from behind the cloud. If only one of the others is given, it is 1.
    t_spin : `~astropy.units.Quantity`, K, optional
        Spin temperature, as of CO.
    tau : array_like, optional
        Optical depth, as from absorption against a bright source.
    pressure : `Pressure`, optional
    floor : `~astropy.units.Quantity`, K
        Nothing is colder. Where T_S comes out below, it is set to the floor, what was given (tau or the
        pressure) is dropped, and `GasFlag.FLOOR` says so.

    Raises
    ------
    ParameterError
        If too little or too much is given.

    Examples
    --------
    The Perseus globule, in pressure:

    >>> import astropy.units as u
    >>> from hisatools.physics import GasModel, Pressure
    >>> pressure = Pressure(path_length=0.6 * u.pc, linewidth=2.5 * u.km / u.s)
    >>> gas = GasModel(pressure=pressure).solve(-42 * u.K, 104 * u.K, t_continuum=5.5 * u.K)
    >>> print(f"{gas.t_spin:.1f}, tau {gas.tau:.2f}")
    40.4 K, tau 0.94

    Its share of emission behind, if the gas is as cold as can be:

    >>> import dataclasses
    >>> mixed = dataclasses.replace(pressure, path_length=0.71 * u.pc, fraction=0.01)
    >>> coldest = GasModel(t_spin=2.7 * u.K, pressure=mixed)
    >>> print(f"{coldest.solve(-42 * u.K, 104 * u.K, t_continuum=5.5 * u.K).p:.2f}")
    0.41
    """

    p: np.ndarray | float | None = None
    t_spin: u.Quantity | None = None
    tau: np.ndarray | float | None = None
    pressure: Pressure | None = None
    floor: u.Quantity = T_CMB

    def __post_init__(self):
        given = [name for name in KNOWN if getattr(self, name) is not None]
        if given in ([], ["p"]) or len(given) > 2:
            raise ParameterError(
                f"two of {', '.join(KNOWN)} must be known, got {' and '.join(given) or 'none'}; give one of "
                "t_spin, tau and pressure (p is then 1), or two of the four"
            )
        if len(given) == 1:
            object.__setattr__(self, "p", 1.0)
        check_quantity("floor", self.floor, u.K, inclusive=True)
        if self.pressure is not None and not isinstance(self.pressure, Pressure):
            raise ParameterError(
                f"pressure must be a Pressure, got {self.pressure!r:.60}; give Pressure(p_over_k=..., "
                "path_length=..., linewidth=...)"
            )
        for name, check in (("p", plain_fraction), ("tau", plain_number), ("t_spin", _kelvin)):
            if getattr(self, name) is not None:
                check(name, getattr(self, name))

    @property
    def given(self):
        """Names of the two that are known.

        Examples
        --------
        >>> from hisatools.physics import GasModel
        >>> GasModel(tau=1.0).given
        ('p', 'tau')
        """
        return tuple(name for name in KNOWN if getattr(self, name) is not None)

    def solve(self, delta_t, t_unabsorbed, *, t_continuum=NO_CONTINUUM):
        """The cloud that makes an absorption.

        Parameters
        ----------
        delta_t : `~astropy.units.Quantity`, K
            Negative. All may be arrays that go together, and with what is known.
        t_unabsorbed, t_continuum : `~astropy.units.Quantity`, K

        Returns
        -------
        `Gas`

        Raises
        ------
        ParameterError
            If shapes do not go together.
        ParameterUnitsError
            If a unit is missing or wrong.

        Examples
        --------
        >>> import astropy.units as u
        >>> from hisatools.physics import GasModel
        >>> gas = GasModel(tau=1.0, p=0.9).solve(-42 * u.K, 104 * u.K, t_continuum=5.5 * u.K)
        >>> print(f"{gas.t_spin:.1f}")
        32.7 K
        """
        numbers, shape = self._numbers(delta_t, t_unabsorbed, t_continuum)
        finite = np.all([np.isfinite(values) for values in numbers.values()], axis=0)
        flags = np.zeros(finite.shape, np.int16)
        raise_flag(flags, ~finite, GasFlag.BLANK)
        raise_flag(flags, finite & self._unphysical(numbers), GasFlag.UNPHYSICAL)
        raise_flag(flags, (flags == 0) & ~(numbers["delta_t"] < 0), GasFlag.NO_ABSORPTION)
        spin, tau, p = self._known_p(numbers, flags) if "p" in numbers else self._free_p(numbers, flags)
        bad = (flags & int(BAD)) != 0
        for values in (spin, tau, p):
            values[bad] = np.nan
        spin, tau, p, flags = (values.reshape(shape)[()] for values in (spin, tau, p, flags))
        return Gas(spin * u.K, tau, p, flags)

    def _unphysical(self, numbers):
        """Where what is known cannot be."""
        wrong = ~(numbers["t_unabsorbed"] > 0) | (numbers["t_continuum"] < 0)
        if "tau" in numbers:
            wrong |= ~(numbers["tau"] > 0)
        if "t_spin" in numbers:
            wrong |= numbers["t_spin"] < self.floor.to_value(u.K)
        return wrong

    def _numbers(self, delta_t, t_unabsorbed, t_continuum):
        """All that is known as plain arrays of one shape, at least one value long, and the shape wanted."""
        known = {
            "p": lambda: plain_fraction("p", self.p),
            "t_spin": lambda: _kelvin("t_spin", self.t_spin),
            "tau": lambda: plain_number("tau", self.tau),
            "pressure": lambda: self.pressure.squared_kelvin,
        }
        numbers = {
            "delta_t": _kelvin("delta_t", delta_t),
            "t_unabsorbed": _kelvin("t_unabsorbed", t_unabsorbed),
            "t_continuum": _kelvin("t_continuum", t_continuum),
        } | {name: known[name]() for name in self.given}
        arrays = same_shape(**numbers)
        return dict(zip(numbers, np.atleast_1d(*arrays), strict=True)), arrays[0].shape

    def _known_p(self, numbers, flags):
        depth, floor = -numbers["delta_t"], self.floor.to_value(u.K)
        behind = numbers["p"] * numbers["t_unabsorbed"] + numbers["t_continuum"]
        raise_flag(flags, (flags == 0) & ~(depth < behind - floor), GasFlag.TOO_DEEP)
        if "t_spin" in numbers:
            spin = numbers["t_spin"].copy()
            raise_flag(flags, (flags == 0) & ~(depth < behind - spin), GasFlag.TOO_WARM)
            return spin, tau_of(depth, behind - spin), numbers["p"].copy()
        with np.errstate(divide="ignore", invalid="ignore"):
            if "tau" in numbers:
                tau = numbers["tau"].copy()
                spin = behind - depth / -np.expm1(-tau)
            else:
                spin = spin_at_pressure(depth, behind, numbers["pressure"])
                # And not from the depth: next to nothing is left of it where the cloud is opaque.
                tau = numbers["pressure"] / spin**2
        cold = (flags == 0) & ~(spin >= floor)
        raise_flag(flags, cold, GasFlag.FLOOR)
        spin[cold] = floor
        tau[cold] = tau_of(depth[cold], behind[cold] - floor)
        return spin, tau, numbers["p"].copy()

    def _free_p(self, numbers, flags):
        with np.errstate(divide="ignore", invalid="ignore"):
            if "pressure" not in numbers:
                spin, tau = numbers["t_spin"].copy(), numbers["tau"].copy()
            elif "t_spin" in numbers:
                spin = numbers["t_spin"].copy()
                tau = numbers["pressure"] / spin**2
            else:
                tau = numbers["tau"].copy()
                spin = np.sqrt(numbers["pressure"] / tau)
            needed = numbers["delta_t"] / np.expm1(-tau) + spin - numbers["t_continuum"]
            p = needed / numbers["t_unabsorbed"]
        p[(p > 1) & (p < 1 + ROUNDING)] = 1
        raise_flag(flags, (flags == 0) & ~(spin >= self.floor.to_value(u.K)), GasFlag.UNPHYSICAL)
        raise_flag(flags, (flags == 0) & ~((p > 0) & (p <= 1)), GasFlag.BEHIND)
        return spin, tau, p


def _kelvin(name, value):
    return plain(name, value, u.K)


def raise_flag(flags, where, flag):
    """Add a `GasFlag` to some of the flags, in place."""
    flags[where] |= np.int16(flag)


def column_density(t_spin, tau, linewidth, *, line="gaussian"):
    """Column density of cold atoms.

    Parameters
    ----------
    t_spin : `~astropy.units.Quantity`, K
        All may be arrays that go together; NaN stays NaN.
    tau : array_like
        Optical depth at the centre of the line, or of a channel.
    linewidth : `~astropy.units.Quantity`, velocity
        FWHM of the optical depth, or the width of the channel for ``line="channel"``.
    line : {"gaussian", "channel"}

    Returns
    -------
    `~astropy.units.Quantity`, cm^-2

    Raises
    ------
    ParameterError
        If a T_S, tau or width is below 0, or ``line`` is not known.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools.physics import column_density
    >>> print(f"{column_density(40.4 * u.K, 0.936, 2.5 * u.km / u.s):.3g}")
    1.83e+20 1 / cm2
    """
    if line not in LINES:
        raise ParameterError(f"unknown line {line!r}; known: {', '.join(map(repr, LINES))}")
    spin, tau, width_kms = same_shape(
        t_spin=plain_positive("t_spin", t_spin, u.K),
        tau=plain_positive("tau", with_unit(tau, u.dimensionless_unscaled), u.dimensionless_unscaled),
        linewidth=plain_positive("linewidth", linewidth, u.km / u.s),
    )
    return COLUMN_PER_KELVIN_KMS * LINES[line] * spin * tau * width_kms * u.cm**-2
