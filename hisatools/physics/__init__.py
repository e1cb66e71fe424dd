"""From absorption to gas: spin temperature, optical depth, column density and mass."""

from hisatools.physics.amounts import (
    hydrogen_mass,
    intrinsic_linewidth,
    max_kinetic_temperature,
    total_mass,
    volume_density,
)
from hisatools.physics.assumptions import GasParameters
from hisatools.physics.continuum import read_continuum
from hisatools.physics.files import write_gas
from hisatools.physics.gas import Gas, GasFlag, GasModel, column_density
from hisatools.physics.grid import GasGrid, gas_grid
from hisatools.physics.measure import GasMaps, measure_gas
from hisatools.physics.pressure import Pressure
from hisatools.physics.profiles import solve_profiles
from hisatools.physics.slope import ContinuumSlope, fit_continuum_slope
from hisatools.physics.transfer import (
    delta_t,
    max_spin_temperature,
    min_background_fraction,
    min_optical_depth,
    optical_depth,
    spin_temperature,
)
from hisatools.physics.uncertainty import GasErrors, GasSigmas, draw_gas, propagate

__all__ = [
    "ContinuumSlope",
    "Gas",
    "GasErrors",
    "GasFlag",
    "GasGrid",
    "GasMaps",
    "GasModel",
    "GasParameters",
    "GasSigmas",
    "Pressure",
    "column_density",
    "delta_t",
    "draw_gas",
    "fit_continuum_slope",
    "gas_grid",
    "hydrogen_mass",
    "intrinsic_linewidth",
    "max_kinetic_temperature",
    "max_spin_temperature",
    "measure_gas",
    "min_background_fraction",
    "min_optical_depth",
    "optical_depth",
    "propagate",
    "read_continuum",
    "solve_profiles",
    "spin_temperature",
    "total_mass",
    "volume_density",
    "write_gas",
]
