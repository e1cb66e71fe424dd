"""Gas of sight lines and voxels, on the axes of a result."""

from dataclasses import dataclass

import astropy.units as u
import numpy as np

from hisatools.physics.amounts import hydrogen_mass, total_mass
from hisatools.physics.constants import PARSEC_CM
from hisatools.physics.gas import GasFlag

__all__ = ["MAP_COLUMNS", "VOXEL_COLUMNS", "GasMaps", "gas_maps"]

# Attribute: what it is, for the header of its file.
MAP_COLUMNS = {
    "column_density": "Cold H I of all features of a sight line; NaN where there is none or not all known",
    "volume_density": "Column density over the path length through the features of a sight line",
    "mass_hi": "Mass of cold H I in the pixel, without helium",
    "mass_total": "Mass of all hydrogen in the pixel, if cold atoms are the given share of its particles",
    "t_spin": "Spin temperature T_S, column-weighted mean of the features of a sight line",
}
VOXEL_COLUMNS = {
    "tau": "Optical depth of the voxel; NaN outside features and where not known",
    "voxel_column_density": "Column density of cold H I in the voxel's channel; NaN likewise",
    "voxel_volume_density": "Column density of the voxel over its feature's path length; NaN likewise",
}


@dataclass(frozen=True, eq=False)
class GasMaps:
    """Gas of the accepted voxels, and of the sight lines.

    Maps are NaN where there is no absorption, and where one of the features of a sight line is not known: all
    of the line is left out, or has no T_S. Density and masses are NaN as well where path length or distance
    are not known.

    Parameters
    ----------
    tau : `~numpy.ndarray`, shape (n,)
        Optical depth of each accepted voxel, in the order of the array; NaN where it is not known.
    voxel_column_density : `~astropy.units.Quantity`, shape (n,), cm^-2
        That of the voxel's channel; their sum along a sight line is the map's.
    voxel_volume_density : `~astropy.units.Quantity`, shape (n,), cm^-3
        The same over its feature's path length: the density of the atoms at the voxel's velocity.
    column_density : `~astropy.units.Quantity`, shape (n_y, n_x), cm^-2
        Of all features of a sight line.
    volume_density : `~astropy.units.Quantity`, shape (n_y, n_x), cm^-3
        The same over the sum of their path lengths.
    mass_hi, mass_total : `~astropy.units.Quantity`, shape (n_y, n_x), solMass
        In the solid angle of a pixel: of cold H I, and of all hydrogen. Where all is known, they add up to
        the masses of the catalogue.
    t_spin : `~astropy.units.Quantity`, shape (n_y, n_x), K
        Column-weighted mean of the features.
    flags : `~numpy.ndarray` of int16, shape (n_y, n_x)
        Sums of `GasFlag` of what solved T_S there.
    wcs : `~astropy.wcs.WCS`
        Of the maps.

    Examples
    --------
    >>> import astropy.units as u
    >>> import numpy as np
    >>> from hisatools.datasets import example_result
    >>> from hisatools.physics import GasParameters, measure_gas
    >>> found, maps = measure_gas(example_result(), GasParameters(t_spin=20 * u.K, distance=2 * u.kpc))
    >>> print(maps.column_density.unit, maps.mass_hi.unit, maps.mass_hi.shape)
    1 / cm2 solMass (208, 208)
    >>> bool(np.isclose(np.nansum(maps.mass_hi), found.catalog["mass_hi"].sum()))
    True
    """

    tau: np.ndarray
    voxel_column_density: u.Quantity
    voxel_volume_density: u.Quantity
    column_density: u.Quantity
    volume_density: u.Quantity
    mass_hi: u.Quantity
    mass_total: u.Quantity
    t_spin: u.Quantity
    flags: np.ndarray
    wcs: object


def gas_maps(gas, wcs, shape):
    """The maps of a `FeatureGas`.

    Parameters
    ----------
    gas : `FeatureGas`
    wcs : `~astropy.wcs.WCS`
        Of the sky.
    shape : tuple of int
        (n_y, n_x)

    Returns
    -------
    `GasMaps`

    Examples
    --------
    `hisatools.physics.measure_gas` does this, step by step. Without a distance there is no mass:

    >>> import astropy.units as u
    >>> import numpy as np
    >>> from hisatools.datasets import example_result
    >>> from hisatools.physics import GasParameters
    >>> from hisatools.physics.clouds import Clouds
    >>> from hisatools.physics.feature_gas import FeatureGas
    >>> from hisatools.physics.maps import gas_maps
    >>> from hisatools.physics.per_feature import FeatureAssumptions
    >>> from hisatools.physics.voxels import GasVoxels
    >>> result, parameters = example_result(), GasParameters(t_spin=20 * u.K)
    >>> voxels = GasVoxels.of(result, 0 * u.K, parameters.p, parameters.max_continuum)
    >>> clouds = Clouds.of(voxels, "feature")
    >>> pixel_rad = np.full(voxels.n_features, (0.3 * u.arcmin).to_value(u.rad))
    >>> assumed = FeatureAssumptions.of(parameters, result, pixel_rad)
    >>> spin = clouds.solve(parameters, assumed, voxels.channel_kms)
    >>> alone = np.ones((2, voxels.n_features))
    >>> gas = FeatureGas(voxels, clouds, spin, assumed, alone, pixel_rad**2, "feature")
    >>> maps = gas_maps(gas, result.wcs.celestial, result.flags.shape[1:])
    >>> print(f"{np.nanmax(maps.column_density):.1e}", np.nanmax(maps.t_spin).round(1))
    8.0e+19 1 / cm2 20.0 K
    >>> print(np.isfinite(maps.mass_hi).sum(), "pixels of known mass")
    0 pixels of known mass
    """
    voxels, values = gas.voxels, gas.assumed.values
    feature = voxels.feature
    place = gas.lines[1]

    def total(weights):
        return np.bincount(place, weights, minlength=voxels.n_sight_lines)

    spin = np.where(gas.known, gas.spin.of_voxels(gas.clouds), 0)
    column, length_pc = gas.line_column, values["path_length"][gas.line_feature]
    area = (gas.pixel_sr * values.get("distance", np.nan) ** 2)[gas.line_feature] * u.pc**2
    mass = hydrogen_mass(column * u.cm**-2, area)
    known = _known(gas)
    whole = np.where(known, total(column), np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        maps = {
            "column_density": whole * u.cm**-2,
            "volume_density": whole / (total(length_pc) * PARSEC_CM) * u.cm**-3,
            "mass_hi": np.where(known, total(mass.value), np.nan) * u.solMass,
            "mass_total": np.where(
                known, total(total_mass(mass, values["fraction"][gas.line_feature]).value), np.nan
            )
            * u.solMass,
            "t_spin": np.bincount(voxels.sight_line, gas.column * spin, minlength=known.size) / whole * u.K,
        }
        density = gas.column / (values["path_length"] * PARSEC_CM)[feature]
    return GasMaps(
        tau=gas.tau,
        voxel_column_density=np.where(gas.known, gas.column, np.nan) * u.cm**-2,
        voxel_volume_density=np.where(gas.known, density, np.nan) * u.cm**-3,
        **{name: one.reshape(shape) for name, one in maps.items()},
        flags=_flags(gas).reshape(shape),
        wcs=wcs,
    )


def _known(gas):
    """Sight lines with some gas, and none that is left out or has no T_S."""
    voxels = gas.voxels
    lost = voxels.left_out | (voxels.use & ~np.isfinite(gas.spin.of_voxels(gas.clouds)))
    known = np.zeros(voxels.n_sight_lines, bool)
    known[voxels.sight_line[gas.known]] = True
    known[voxels.sight_line[lost]] = False
    return known


def _flags(gas):
    """Flags of the clouds of each sight line, and of what is left out there."""
    voxels, use = gas.voxels, gas.voxels.use
    own = np.zeros(use.size, np.int16)
    own[use] = gas.cloud_flags[gas.clouds.of_voxel[use]]
    own |= np.where(voxels.bright, np.int16(GasFlag.BRIGHT_CONTINUUM), np.int16(0))
    own |= np.where(voxels.unknown, np.int16(GasFlag.UNKNOWN_BEHIND), np.int16(0))
    flags = np.zeros(voxels.n_sight_lines, np.int16)
    np.bitwise_or.at(flags, voxels.sight_line, own)
    return flags
