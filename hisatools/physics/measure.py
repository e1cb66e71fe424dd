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
        Of all features of a sight line; NaN where there is none, or where one of them is not known.
    wcs : `~astropy.wcs.WCS`
        Of the map.
    """

    tau: np.ndarray
    column_density: u.Quantity
    wcs: object


def measure_gas(result, parameters, *, t_continuum=NO_CONTINUUM, p=None):
    """Add the properties of the gas to a catalogue.

    A feature is one cloud of one spin temperature. T_S is given, or found from the feature's mean spectrum:
    from the optical depth of its deepest channel, or by pressure from the whole line. It then tells the
    optical depth of all voxels of the feature, and that the columns. The mean, as the deepest of many voxels
    owes its depth to noise.

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
    length_pc = _length_pc(result.catalog["angular_width_max"].to_value(u.rad), parameters)
    spin, tau_peak, flags = _spin(voxels, parameters, length_pc)
    tau, column = voxels.solved(spin)
    columns = {"t_spin": spin, "tau_peak": tau_peak, "path_length": length_pc, "gas_flags": flags}
    columns |= _feature_columns(voxels, tau, column, columns, result.catalog, parameters)
    catalog = result.catalog.copy()
    for name, (unit, description) in GAS_COLUMNS.items():
        catalog[name] = columns[name] if unit is None else columns[name] * unit
        catalog[name].info.description = description
    about = parameters.to_dict() | {"t_continuum": _described(t_continuum, "K")}
    about |= {} if p is None else {"p": _described(p, "")}
    found = replace(result, catalog=catalog, meta=result.meta | {"gas": about})
    unknown = voxels.left_out | ~np.isfinite(spin)[voxels.feature]
    map_ = voxels.map_of(column, unknown).reshape(result.flags.shape[1:])
    return found, GasMaps(tau, map_ * u.cm**-2, result.wcs.celestial)


def _described(values, unit):
    """A number, or the range of a map or cube, in words for the provenance."""
    values = np.asarray(getattr(values, "value", values), float)
    if values.ndim == 0:
        return f"{values:g} {unit}".strip()
    if not np.isfinite(values).any():
        return "a map without values"
    kind = "map" if values.ndim == 2 else "cube"
    return f"a {kind}, {np.nanmin(values):g} to {np.nanmax(values):g} {unit}".strip()


def _feature_columns(voxels, tau, column, known, catalog, parameters):
    """Columns that are summed over the voxels of each feature."""
    peak, mean, n_known = voxels.of_sight_lines(tau, column)
    has_spin = np.isfinite(known["t_spin"])[voxels.feature]
    columns = {
        "column_density_peak": peak,
        "column_density_mean": mean,
        "path_length": known["path_length"],
        "n_opaque": voxels.counted(voxels.use & ~np.isfinite(tau) & has_spin),
        "n_left_out": voxels.counted(voxels.left_out),
    }
    # One spectrum has no area on the sky: what it covers is made up.
    whole_sr = np.nan if voxels.n_sight_lines == 1 else catalog["solid_angle"].to_value(u.sr)
    known_sr = whole_sr * n_known / np.maximum(voxels.count_sight_lines(), 1)
    return columns | _amounts(columns, known_sr, parameters)


def _length_pc(width_rad, parameters):
    """Path length through each feature in pc; NaN where it is not known."""
    if parameters.path_length is not None:
        return np.full(width_rad.shape, parameters.path_length.value)
    if parameters.distance is None:
        return np.full(width_rad.shape, np.nan)
    return width_rad * parameters.distance.value


def _spin(voxels, parameters, length_pc):
    """T_S of each feature in K, tau where its mean spectrum is deepest, and what is the matter with them."""
    depth, unabsorbed, p, continuum = voxels.profiles()
    some = np.isfinite(depth).any(axis=0)
    spin, tau = np.full(voxels.n_features, np.nan), np.full(voxels.n_features, np.nan)
    flags = np.full(voxels.n_features, GasFlag.BLANK, np.uint8)
    sky = [-depth[:, some] * u.K, unabsorbed[:, some] * u.K]
    share = np.where(np.isfinite(p[:, some]), np.clip(p[:, some], None, 1), np.nan)
    if not some.any():
        return spin, tau, flags
    if parameters.p_over_k is not None:
        pressure = Pressure(
            path_length=length_pc[some] * u.pc,
            linewidth=voxels.channel_kms * u.km / u.s,
            p_over_k=parameters.p_over_k,
            fraction=parameters.fraction,
            line="channel",
        )
        model = GasModel(p=share, pressure=pressure, floor=parameters.floor)
        gas = solve_profiles(model, *sky, t_continuum=continuum[:, some] * u.K)
    else:
        model = GasModel(p=share, t_spin=parameters.t_spin, tau=parameters.tau, floor=parameters.floor)
        gas = model.solve(*sky, t_continuum=continuum[:, some] * u.K)
    deepest = np.nanargmax(depth[:, some], axis=0), np.arange(np.count_nonzero(some))
    spin[some], tau[some], flags[some] = (part[deepest] for part in (gas.t_spin.value, gas.tau, gas.flags))
    return spin, tau, flags


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
