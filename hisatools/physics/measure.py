"""Gas properties of what was extracted: of each feature, each sight line and each voxel."""

from dataclasses import dataclass, replace

import astropy.units as u
import numpy as np

from hisatools.physics.amounts import hydrogen_mass, total_mass, volume_density
from hisatools.physics.assumptions import GAS_COLUMNS
from hisatools.physics.gas import GasFlag, GasModel
from hisatools.physics.pressure import Pressure
from hisatools.physics.profiles import solve_profiles
from hisatools.physics.transfer import NO_CONTINUUM
from hisatools.physics.voxels import GasVoxels

__all__ = ["GasMaps", "measure_gas"]


@dataclass(frozen=True, eq=False)
class GasMaps:
    """Gas of the accepted voxels.

    Parameters
    ----------
    tau : `~numpy.ndarray`, shape (n,)
        Of each, in the order of the array; NaN where it is not known.
    column_density : `~astropy.units.Quantity`, shape (n_y, n_x), cm^-2
        Of all features of a sight line; NaN where there is none.
    wcs : `~astropy.wcs.WCS`
        Of the map.
    """

    tau: np.ndarray
    column_density: u.Quantity
    wcs: object


def measure_gas(result, parameters, *, t_continuum=NO_CONTINUUM, p=None):
    """Add the properties of the gas to a catalogue.

    A feature is one cloud of one spin temperature. T_S is given, or found where the absorption is deepest:
    from the optical depth there, or by pressure from the whole line there. It then tells the optical depth
    of all voxels of the feature, and that the columns.

    Parameters
    ----------
    result : `~hisatools.HISAResult`
    parameters : `GasParameters`
    t_continuum : `~astropy.units.Quantity`, K
        A number, or a map as `read_continuum` gives it; NaN there leaves the sight line out.
    p : array_like, optional
        In place of that of ``parameters``: a map or a cube.

    Returns
    -------
    result : `~hisatools.HISAResult`
        With the columns `GAS_COLUMNS`: NaN where they are not known.
    maps : `GasMaps`

    Raises
    ------
    InputError
        If a map has not the shape of the result.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools import HISAExtractor
    >>> from hisatools.physics import GasParameters, measure_gas
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> model = simulate_cube(ModelParameters(shape=(32, 96, 96), n_pucks=20, n_components=100), seed=3)
    >>> result = HISAExtractor(n_passes=1).run(model.cube)  # doctest: +IGNORE_WARNINGS
    >>> result, maps = measure_gas(result, GasParameters(t_spin=20 * u.K, distance=2 * u.kpc))
    >>> bool((result.catalog["column_density_peak"] > 1e18 / u.cm**2).all())
    True
    """
    voxels = GasVoxels.of(result, t_continuum, parameters.p if p is None else p, parameters.max_continuum)
    columns = _feature_columns(voxels, result.catalog, parameters)
    catalog = result.catalog.copy()
    for name, (unit, description) in GAS_COLUMNS.items():
        catalog[name] = columns[name] if unit is None else columns[name] * unit
        catalog[name].info.description = description
    found = replace(result, catalog=catalog, meta=result.meta | {"gas": parameters.to_dict()})
    tau, column = voxels.solved(columns["t_spin"])
    total = np.bincount(voxels.sight_line, column, minlength=voxels.n_sight_lines)
    known = np.bincount(voxels.sight_line, np.isfinite(tau), minlength=voxels.n_sight_lines) > 0
    total = np.where(known, total, np.nan).reshape(result.flags.shape[1:])
    return found, GasMaps(tau, total * u.cm**-2, result.wcs.celestial)


def _feature_columns(voxels, catalog, parameters):
    length_pc = _length_pc(catalog["angular_width_max"].to_value(u.rad), parameters)
    spin, flags = _spin(voxels, parameters, length_pc)
    tau, column = voxels.solved(spin)
    known = np.isfinite(spin)
    opaque = voxels.use & ~np.isfinite(tau) & known[voxels.feature]
    peak, mean = voxels.of_sight_lines(column)
    columns = {
        "t_spin": spin,
        "tau_peak": np.where(known, tau[voxels.deepest], np.nan),
        "column_density_peak": np.where(known, peak, np.nan),
        "column_density_mean": np.where(known, mean, np.nan),
        "path_length": length_pc,
        "n_opaque": voxels.counted(opaque),
        "n_bright": voxels.counted(voxels.bright),
        "gas_flags": flags,
    }
    return columns | _amounts(columns, catalog["solid_angle"].to_value(u.sr), parameters)


def _length_pc(width_rad, parameters):
    """Path length through each feature in pc; NaN where it is not known."""
    if parameters.path_length is not None:
        return np.full(width_rad.shape, parameters.path_length.value)
    if parameters.distance is None:
        return np.full(width_rad.shape, np.nan)
    return width_rad * parameters.distance.value


def _spin(voxels, parameters, length_pc):
    """T_S of each feature in K, found where it is deepest, and what is the matter with it."""
    spin = np.full(voxels.n_features, np.nan)
    flags = np.full(voxels.n_features, GasFlag.BLANK, np.uint8)
    some = np.flatnonzero(voxels.deepest >= 0)
    if parameters.p_over_k is None:
        at = voxels.deepest[some]
        model = GasModel(p=voxels.p[at], t_spin=parameters.t_spin, tau=parameters.tau, floor=parameters.floor)
        gas = model.solve(*voxels.sky(at), t_continuum=voxels.continuum[at] * u.K)
        spin[some], flags[some] = gas.t_spin.value, gas.flags
        return spin, flags
    for number in some:
        line = voxels.line(number)
        pressure = Pressure(
            path_length=length_pc[number] * u.pc,
            linewidth=voxels.channel_kms * u.km / u.s,
            p_over_k=parameters.p_over_k,
            fraction=parameters.fraction,
            line="channel",
        )
        model = GasModel(p=voxels.p[line], pressure=pressure, floor=parameters.floor)
        gas = solve_profiles(model, *voxels.sky(line), t_continuum=voxels.continuum[line] * u.K)
        deepest = np.flatnonzero(line == voxels.deepest[number])[0]
        spin[number], flags[number] = gas.t_spin[deepest].value, gas.flags[deepest]
    return spin, flags


def _amounts(columns, solid_angle_sr, parameters):
    """Density and masses; NaN where path length or distance are not known."""
    distance_pc = np.nan if parameters.distance is None else parameters.distance.value
    mean = columns["column_density_mean"] * u.cm**-2
    mass = hydrogen_mass(mean, solid_angle_sr * distance_pc**2 * u.pc**2)
    return {
        "volume_density": volume_density(mean, columns["path_length"] * u.pc).value,
        "mass_hi": mass.value,
        "mass_total": total_mass(mass, parameters.fraction).value,
    }
