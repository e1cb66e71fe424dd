"""Gas properties of what was extracted: of each feature, each sight line and each voxel."""

from dataclasses import replace

import astropy.units as u
import numpy as np

from hisatools.physics.assumptions import CLOSURES, GAS_COLUMNS
from hisatools.physics.clouds import Clouds
from hisatools.physics.feature_errors import FeatureErrors, correlated_voxels
from hisatools.physics.feature_gas import FeatureGas
from hisatools.physics.gas import GasFlag, raise_flag
from hisatools.physics.maps import GasMaps, gas_maps
from hisatools.physics.per_feature import FeatureAssumptions
from hisatools.physics.transfer import NO_CONTINUUM
from hisatools.physics.units import column_values
from hisatools.physics.voxels import GasVoxels

__all__ = ["GasMaps", "measure_gas"]


def measure_gas(result, parameters, *, t_continuum=NO_CONTINUUM, p=None):
    """Add the properties of the gas to a catalogue.

    A feature is one cloud of one spin temperature. T_S is given, or found from the feature's mean spectrum:
    from the optical depth of its deepest channel, or by pressure from the whole line. It then tells the
    optical depth of all voxels of the feature, and that the columns. The mean, as the deepest of many voxels
    owes its depth to noise. With ``spin_per="sight_line"`` each sight line of a feature is such a cloud; an
    optical depth is then that of the feature's deepest channel, or of the nearest that a sight line has.

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
        If a map or an array has not the shape of the result, or the catalogue no such column.
    ParameterError
        If the pressure has no path length, and no distance for widths to be lengths.

    Notes
    -----
    A path length that is not given is the feature's FWHM across at its distance: ``minor_deconvolved``, or
    where the beam is not known ``minor_fwhm``. Features have none, NaN with `GasFlag.UNRESOLVED`, where the
    former is below the FWHM of the beam, or the latter not above that of a box of two pixels. The widths of
    features that are cut at a threshold are 0.6 to 0.7 of the FWHM even where they are resolved: give the
    length where it is known.

    Uncertainties are of first order. They hold the noise and the error of
    T_U, so that they are NaN where the result has none, and the errors that ``parameters`` states; not that
    of a width on the sky.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools.datasets import example_result
    >>> from hisatools.physics import GasParameters, measure_gas
    >>> parameters = GasParameters(t_spin=20 * u.K, t_spin_error=5 * u.K, distance=2 * u.kpc)
    >>> result, maps = measure_gas(example_result(), parameters, t_continuum=5.5 * u.K)
    >>> row = result.catalog[1]
    >>> print(f"{row['column_density_mean'].value:.1e} +- {row['column_density_mean_error']:.0e}")
    1.6e+19 +- 7e+18 1 / cm2
    """
    catalog = result.catalog
    voxels = GasVoxels.of(result, t_continuum, parameters.p if p is None else p, parameters.max_continuum)
    pixel_sr = column_values(catalog, "solid_angle", u.sr) / np.maximum(voxels.count_sight_lines(), 1)
    assumed = FeatureAssumptions.of(parameters, result, np.sqrt(pixel_sr))
    clouds = Clouds.of(voxels, parameters.spin_per)
    beam_pixels = (np.nan if result.beam is None else result.beam.sr.to_value(u.sr)) / pixel_sr
    gas = FeatureGas(
        voxels=voxels,
        clouds=clouds,
        spin=clouds.solve(parameters, assumed, voxels.channel_kms),
        assumed=assumed,
        correlated=correlated_voxels(voxels, catalog, beam_pixels),
        # One spectrum has no area on the sky: what it covers is made up.
        pixel_sr=pixel_sr if voxels.n_sight_lines > 1 else np.full(pixel_sr.shape, np.nan),
        spin_per=parameters.spin_per,
    )
    columns = gas.columns()
    closure = next(name for name in CLOSURES if getattr(parameters, name) is not None)
    errors = FeatureErrors(gas, columns, closure)
    columns |= errors.columns()
    raise_flag(columns["gas_flags"], errors.saturated(), GasFlag.SATURATED)
    about = parameters.to_dict() | {"t_continuum": _described(t_continuum, "K")} | assumed.about
    about |= {} if p is None else {"p": _described(p, "")}
    found = replace(result, catalog=_with_columns(catalog, columns), meta=result.meta | {"gas": about})
    return found, gas_maps(gas, result.wcs.celestial, result.flags.shape[1:])


def _with_columns(catalog, columns):
    catalog = catalog.copy()
    for name, (unit, description) in GAS_COLUMNS.items():
        catalog[name] = columns[name] if unit is None else columns[name] * unit
        catalog[name].info.description = description
    return catalog


def _described(values, unit):
    """A number, or the range of a map or cube, in words for the provenance."""
    values = np.asarray(getattr(values, "value", values), float)
    if values.ndim == 0:
        return f"{values:g} {unit}".strip()
    if not np.isfinite(values).any():
        return "a map without values"
    kind = "map" if values.ndim == 2 else "cube"
    return f"a {kind}, {np.nanmin(values):g} to {np.nanmax(values):g} {unit}".strip()
