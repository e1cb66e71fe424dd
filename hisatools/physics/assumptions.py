"""What is assumed of the gas of a catalogue, and the columns that come of it."""

from dataclasses import dataclass, fields

import astropy.units as u
import numpy as np

from hisatools.errors import ParameterError
from hisatools.parameters import _number, _Parameters, _quantity, check_number, check_quantity
from hisatools.physics.constants import T_CMB
from hisatools.physics.pressure import PRESSURE
from hisatools.physics.units import plain, plain_number

__all__ = ["ERRORS", "GAS_COLUMNS", "PER_FEATURE", "GasParameters"]

# name: (unit, description)
GAS_COLUMNS = {
    "t_spin": (
        u.K,
        "Spin temperature T_S of the gas, one for the feature; mean weighted by column if of sight lines",
    ),
    "t_spin_error": (u.K, "1-sigma uncertainty of t_spin: noise, T_U and what is stated; NaN if not known"),
    "t_spin_max": (
        u.K,
        "T_S that opaque gas would have in the deepest channel of the feature's mean spectrum",
    ),
    "t_kinetic_max": (u.K, "Kinetic temperature that linewidth_intrinsic allows, if all of it were heat"),
    "linewidth_intrinsic": (
        u.km / u.s,
        "velocity_fwhm without what the channel adds; NaN if narrower than 1.5 channels",
    ),
    "tau_peak": (
        None,
        "Optical depth of the feature's deepest channel; mean weighted by column if T_S is of sight lines",
    ),
    "tau_peak_error": (None, "1-sigma uncertainty of tau_peak, as that of t_spin"),
    "column_density_peak": (
        u.cm**-2,
        "Column density of cold H I of the densest sight line; of many, noise makes it too large",
    ),
    "column_density_peak_error": (u.cm**-2, "1-sigma uncertainty of column_density_peak, likewise"),
    "column_density_mean": (u.cm**-2, "Column density of cold H I, mean of the feature's known sight lines"),
    "column_density_mean_error": (u.cm**-2, "1-sigma uncertainty of column_density_mean, likewise"),
    "path_length": (
        u.pc,
        "Path length through the gas, as given or from the FWHM across, of which a threshold cuts 0.3 to 0.4",
    ),
    "volume_density": (u.cm**-3, "Number density of cold H I: mean column density over the path length"),
    "volume_density_error": (
        u.cm**-3,
        "1-sigma uncertainty of volume_density, likewise; without that of a width on the sky",
    ),
    "mass_hi": (u.solMass, "Mass of cold H I of the known sight lines, without helium"),
    "mass_hi_error": (u.solMass, "1-sigma uncertainty of mass_hi, likewise"),
    "mass_total": (u.solMass, "Mass of all hydrogen, if cold atoms are the given share of its particles"),
    "mass_total_error": (u.solMass, "1-sigma uncertainty of mass_total, likewise"),
    "n_opaque": (None, "Voxels deeper than gas of their T_S can make them: not in the columns and masses"),
    "n_left_out": (
        None,
        "Voxels with too much continuum behind them, with what lies behind not known, or without absorption",
    ),
    "n_bright": (None, "Those of n_left_out with too much continuum behind them"),
    "n_noisy": (None, "Sight lines that absorb less than 3 of their uncertainties, if T_S is of sight lines"),
    "gas_flags": (None, "What is the matter with the gas: a sum of hisatools.physics.GasFlag"),
}
# What each feature may have a value of its own of, and the unit it is kept in.
PER_FEATURE = {
    "t_spin": u.K,
    "tau": u.dimensionless_unscaled,
    "p_over_k": PRESSURE,
    "path_length": u.pc,
    "distance": u.pc,
}
ERRORS = {f"{name}_error": unit for name, unit in PER_FEATURE.items()}
ONE_ERROR = ("p_error", "fraction_error")
CLOSURES = ("t_spin", "tau", "p_over_k")
CHOICES = {"spin_per": ("feature", "sight_line"), "line": ("profile", "gaussian")}


# eq=False: arrays have no single truth value, so that == would fail.
@dataclass(frozen=True, kw_only=True, eq=False)
class GasParameters(_Parameters):
    """What is assumed of the gas of a catalogue.

    Exactly one of ``t_spin``, ``tau`` and ``p_over_k`` is needed. These, ``path_length``, ``distance`` and
    the errors of all five, are one number for all features, or an array with one for each row of the
    catalogue, or the name of a column of the catalogue.

    Parameters
    ----------
    p : float
        Share of T_U from behind the gas.
    t_spin : `~astropy.units.Quantity` (K) or str, optional
        Spin temperature.
    tau : float, array_like or str, optional
        Optical depth in the deepest channel of the feature's mean spectrum.
    p_over_k : `~astropy.units.Quantity` (K / cm^3) or str, optional
        Pressure over Boltzmann's constant; about 4000 in the plane of the Galaxy.
    fraction : float
        f_n, the share of the particles that are cold atoms.
    path_length : `~astropy.units.Quantity` (length) or str, optional
        Through the features. By default it is the FWHM on the sky, which is too small for a
        feature that is cut at a threshold: see `measure_gas`.
    distance : `~astropy.units.Quantity` (length) or str, optional
        Needed for masses, and for path lengths where none is given. By default the column ``distance`` of the
        catalogue with ``distance_error``, if there is one.
    spin_per : {"feature", "sight_line"}
        Whether T_S is that of a feature's mean spectrum, or of each of its sight lines by itself.
    line : {"profile", "gaussian"}
        Whether the pressure is that of the whole line as it is seen, or of a Gaussian through its deepest
        channel with the catalogue's ``velocity_fwhm`` less what the channel adds, as in the paper's table 1.
    floor : `~astropy.units.Quantity`, K
        Nothing is colder.
    max_continuum : `~astropy.units.Quantity`, K
        Sight lines with more continuum are left out: absorption of the continuum cannot be told from that
        of emission there. The paper's limit.
    p_error, fraction_error : float, optional
        1-sigma uncertainties, alike for all; what is not stated is taken as exact.
    t_spin_error, t_continuum_error, p_over_k_error, path_length_error, distance_error, tau_error
        Likewise, with the units of what they are the errors of; that of T_C is one number.

    Raises
    ------
    ParameterError
        If a number cannot be, none or more than one of the three is given, or an error of what is not.
    ParameterUnitsError
        If a unit is missing or wrong.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools.physics import GasParameters
    >>> GasParameters(t_spin=40 * u.K, distance=2 * u.kpc).p
    1.0
    >>> GasParameters(tau=0.9, distance="distance", distance_error=300 * u.pc).distance
    'distance'
    """

    p: float = _number(1.0, at_most=1)
    t_spin: u.Quantity | str | None = None
    tau: np.ndarray | float | str | None = None
    p_over_k: u.Quantity | str | None = None
    fraction: float = _number(1.0, at_most=1)
    path_length: u.Quantity | str | None = None
    distance: u.Quantity | str | None = None
    spin_per: str = "feature"
    line: str = "profile"
    floor: u.Quantity = _quantity(T_CMB, inclusive=True)
    max_continuum: u.Quantity = _quantity(20 * u.K, inclusive=True)
    p_error: float | None = None
    fraction_error: float | None = None
    t_continuum_error: u.Quantity | None = None
    t_spin_error: u.Quantity | str | None = None
    tau_error: np.ndarray | float | str | None = None
    p_over_k_error: u.Quantity | str | None = None
    path_length_error: u.Quantity | str | None = None
    distance_error: u.Quantity | str | None = None

    def __post_init__(self):
        super().__post_init__()
        for name, unit in (PER_FEATURE | ERRORS).items():
            checked = _checked(name, getattr(self, name), unit, may_be_0=name in ERRORS)
            object.__setattr__(self, name, checked)
        for name in ONE_ERROR:
            if getattr(self, name) is not None:
                check_number(name, getattr(self, name), inclusive=True)
        if self.t_continuum_error is not None:
            error = check_quantity("t_continuum_error", self.t_continuum_error, u.K, inclusive=True)
            object.__setattr__(self, "t_continuum_error", error)
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise ParameterError(
                    f"unknown {name} {getattr(self, name)!r}; known: {', '.join(map(repr, known))}"
                )
        self._check_together()

    def _check_together(self):
        given = [name for name in CLOSURES if getattr(self, name) is not None]
        if len(given) != 1:
            raise ParameterError(
                f"one of t_spin, tau and p_over_k must be known, got {' and '.join(given) or 'none'}; give "
                "for example t_spin=40 * u.K"
            )
        for name in (*CLOSURES, "path_length"):
            if getattr(self, f"{name}_error") is not None and getattr(self, name) is None:
                raise ParameterError(f"{name}_error is given without {name}; give both, or leave it out")
        if self.spin_per == "sight_line" and self.t_spin is not None:
            raise ParameterError(
                'spin_per="sight_line" finds T_S, and t_spin gives it; leave one of them out, or give tau or '
                "p_over_k"
            )
        if self.line == "gaussian" and (self.p_over_k is None or self.spin_per == "sight_line"):
            raise ParameterError(
                'line="gaussian" is of the pressure of a whole feature; give p_over_k and spin_per="feature"'
                ", or leave line out"
            )

    def to_dict(self):
        """Field names and values in words, for the provenance; what is not given is None.

        Returns
        -------
        dict

        Examples
        --------
        >>> import astropy.units as u
        >>> from hisatools.physics import GasParameters
        >>> GasParameters(t_spin=[20, 30] * u.K).to_dict()["t_spin"]
        'one a feature, 20 to 30 K'
        """
        return {one.name: _in_words(getattr(self, one.name)) for one in fields(self)}


def _checked(name, value, unit, *, may_be_0):
    """One number, an array or the name of a column, in the unit it is kept in; None stays."""
    if value is None or isinstance(value, str):
        return value
    plain_numbers = unit == u.dimensionless_unscaled
    if np.ndim(value) == 0:
        if plain_numbers and isinstance(value, u.Quantity):
            value = plain_number(name, value).item()
        check = check_number if plain_numbers else check_quantity
        return check(name, value, *(() if plain_numbers else (unit,)), inclusive=may_be_0)
    numbers = plain_number(name, value) if plain_numbers else plain(name, value, unit)
    if numbers.ndim != 1:
        raise ParameterError(f"{name} has {numbers.ndim} axes; give one number a feature, or one for all")
    bad = (numbers < 0) | np.isinf(numbers) | ((numbers == 0) & (not may_be_0))
    if bad.any():
        raise ParameterError(f"{name} must be finite and above 0 {unit}, got {numbers[bad][0]:g}")
    return numbers if plain_numbers else numbers * unit


def _in_words(value):
    if not isinstance(value, np.ndarray):
        return value
    if value.ndim == 0:
        return str(value)
    unit, numbers = getattr(value, "unit", ""), np.asarray(getattr(value, "value", value))
    known = numbers[np.isfinite(numbers)]
    span = f"{known.min():g} to {known.max():g} {unit}".strip() if known.size else "none known"
    return f"one a feature, {span}"
