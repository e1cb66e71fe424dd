"""What is assumed of the gas of a catalogue, and the columns that come of it."""

from dataclasses import dataclass

import astropy.units as u

from hisatools.errors import ParameterError
from hisatools.parameters import _number, _Parameters, _quantity, check_number, check_quantity
from hisatools.physics.constants import T_CMB
from hisatools.physics.pressure import PRESSURE

__all__ = ["GAS_COLUMNS", "GasParameters"]

# name: (unit, description)
GAS_COLUMNS = {
    "t_spin": (u.K, "Spin temperature T_S of the gas, one for the feature"),
    "tau_peak": (None, "Optical depth of the deepest channel of the feature's mean spectrum"),
    "column_density_peak": (u.cm**-2, "Column density of cold H I of the densest sight line"),
    "column_density_mean": (u.cm**-2, "Column density of cold H I, mean of the feature's known sight lines"),
    "path_length": (u.pc, "Path length through the gas, as given or from the largest angular width"),
    "volume_density": (u.cm**-3, "Number density of cold H I: mean column density over the path length"),
    "mass_hi": (u.solMass, "Mass of cold H I of the known sight lines, without helium"),
    "mass_total": (u.solMass, "Mass of all hydrogen, if cold atoms are the given share of its particles"),
    "n_opaque": (None, "Voxels deeper than gas of this T_S can make them: not in the columns and masses"),
    "n_left_out": (None, "Voxels with too much continuum behind them, or with what lies behind not known"),
    "gas_flags": (
        None,
        "What the matter with T_S is: a sum of hisatools.physics.GasFlag; 1 if all is left out",
    ),
}


@dataclass(frozen=True, kw_only=True)
class GasParameters(_Parameters):
    """What is assumed of the gas of a catalogue.

    Exactly one of ``t_spin``, ``tau`` and ``p_over_k`` is needed.

    Parameters
    ----------
    p : float
        Share of T_U from behind the gas.
    t_spin : `~astropy.units.Quantity`, K, optional
        Spin temperature of all features.
    tau : float, optional
        Optical depth of each, in the deepest channel of its mean spectrum.
    p_over_k : `~astropy.units.Quantity`, K / cm^3, optional
        Pressure over Boltzmann's constant; about 4000 in the plane of the Galaxy.
    fraction : float
        f_n, the share of the particles that are cold atoms.
    path_length : `~astropy.units.Quantity`, length, optional
        Through all features. By default each is as long as its largest local angular width.
    distance : `~astropy.units.Quantity`, length, optional
        Needed for masses, and for path lengths where none is given.
    floor : `~astropy.units.Quantity`, K
        Nothing is colder.
    max_continuum : `~astropy.units.Quantity`, K
        Sight lines with more continuum are left out: absorption of the continuum cannot be told from that
        of emission there. The paper's limit.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools.physics import GasParameters
    >>> GasParameters(t_spin=40 * u.K, distance=2 * u.kpc).p
    1.0
    """

    p: float = _number(1.0, at_most=1)
    t_spin: u.Quantity | None = None
    tau: float | None = None
    p_over_k: u.Quantity | None = None
    fraction: float = _number(1.0, at_most=1)
    path_length: u.Quantity | None = None
    distance: u.Quantity | None = None
    floor: u.Quantity = _quantity(T_CMB, inclusive=True)
    max_continuum: u.Quantity = _quantity(20 * u.K, inclusive=True)

    def __post_init__(self):
        super().__post_init__()
        units = {"t_spin": u.K, "p_over_k": PRESSURE, "path_length": u.pc, "distance": u.pc}
        for name, unit in units.items():
            if getattr(self, name) is not None:
                object.__setattr__(self, name, check_quantity(name, getattr(self, name), unit))
        if self.tau is not None:
            check_number("tau", self.tau)
        known = [name for name in ("t_spin", "tau", "p_over_k") if getattr(self, name) is not None]
        if len(known) != 1:
            raise ParameterError(
                f"one of t_spin, tau and p_over_k must be known, got {' and '.join(known) or 'none'}; give "
                "for example t_spin=40 * u.K"
            )
        if self.p_over_k is not None and self.path_length is None and self.distance is None:
            raise ParameterError("p_over_k needs path_length, or a distance for the width to be a length")
