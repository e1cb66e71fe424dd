"""Gas of a result as a folder of files: the catalogue, maps, a figure and where it all came from."""

from pathlib import Path

import numpy as np

from hisatools.io.planes import write_planes
from hisatools.io.writing import image_header, write_image, write_json, writing_folder
from hisatools.physics.maps import MAP_COLUMNS, VOXEL_COLUMNS
from hisatools.results import MaskBit, flagged

__all__ = ["write_gas"]

FIGURE = "column_density.png"
FLAGS = ("gas_flags.fits", "Sums of hisatools.physics.GasFlag of the gas of each sight line")


def write_gas(found, maps, folder, *, cubes=False, overwrite=False):
    """Write what `measure_gas` gives.

    Parameters
    ----------
    found : `~hisatools.HISAResult`
        Whose catalogue has the columns of the gas.
    maps : `GasMaps`
    folder : str or path
        For ``catalog.ecsv``, ``column_density.fits`` (cm^-2), ``t_spin.fits`` (K), ``gas_flags.fits``,
        ``column_density.png`` and ``provenance.json``, and where path lengths and distances are known
        ``volume_density.fits`` (cm^-3), ``mass_hi.fits`` and ``mass_total.fits`` (solMass). They appear
        together or not at all.
    cubes : bool
        Whether ``tau.fits``, ``voxel_column_density.fits`` and ``voxel_volume_density.fits`` are written as
        well, on the axes of the result.
    overwrite : bool
        Whether older ones may be replaced; those that are not written again go.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    OutputError
        If the folder holds files and ``overwrite`` is False, or cannot be written.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools.datasets import example_result
    >>> from hisatools.physics import GasParameters, measure_gas, write_gas
    >>> parameters = GasParameters(t_spin=20 * u.K, distance=2 * u.kpc)
    >>> folder = write_gas(*measure_gas(example_result(), parameters), "gas")
    >>> sorted(path.name for path in folder.glob("*.fits"))  # doctest: +NORMALIZE_WHITESPACE
    ['column_density.fits', 'gas_flags.fits', 'mass_hi.fits', 'mass_total.fits', 't_spin.fits',
     'volume_density.fits']
    """
    names = [f"{name}.fits" for name in (*MAP_COLUMNS, *VOXEL_COLUMNS)]
    with writing_folder(folder, overwrite=overwrite, names=names) as part:
        found.catalog.write(part / "catalog.ecsv")
        for name, comment in MAP_COLUMNS.items():
            values = getattr(maps, name)
            if name == "column_density" or np.isfinite(values.value).any():
                header = _header(found, maps.wcs, name, values.unit, comment)
                write_image(part / f"{name}.fits", values.value.astype(np.float32), header)
        name, comment = FLAGS
        header = _header(found, maps.wcs, "gas_flags", None, comment)
        write_image(part / name, maps.flags, header)
        if cubes:
            _write_cubes(found, maps, part)
        write_json(part / "provenance.json", found.meta)
        _draw(maps, part / FIGURE)
    return Path(folder).expanduser()


def _header(found, wcs, name, unit, comment):
    header = image_header(wcs, unit=unit, beam=found.beam, comments=[comment])
    header["BTYPE"] = name
    return header


def _write_cubes(found, maps, folder):
    """What voxels have, on the axes of the result: NaN outside features."""
    for name, comment in VOXEL_COLUMNS.items():
        values = getattr(maps, name)
        plain = np.asarray(getattr(values, "value", values), np.float32)
        if np.isfinite(plain).any():
            header = _header(found, found.wcs, name, getattr(values, "unit", None), comment)
            write_planes(
                folder / f"{name}.fits", _planes(found, plain), found.flags.shape, np.dtype("float32"), header
            )


def _planes(found, values):
    start = 0
    for flags in found.flags:
        inside = flagged(flags, MaskBit.ACCEPTED)
        plane = np.full(inside.shape, np.nan, np.float32)
        stop = start + np.count_nonzero(inside)
        plane[inside] = values[start:stop]
        start = stop
        yield plane


def _draw(maps, path):
    from hisatools.plotting.maps import label_sky
    from hisatools.plotting.style import new_figure

    figure = new_figure(7, 5.5)
    ax = figure.add_subplot(projection=maps.wcs)
    # Much gas is dark, as deep absorption is in the other figures.
    style = {"origin": "lower", "cmap": "viridis_r", "interpolation": "none"}
    drawn = ax.imshow(maps.column_density.value / 1e20, **style)
    figure.colorbar(drawn, ax=ax, label=r"N of cold H I ($10^{20}$ cm$^{-2}$)")
    label_sky(ax, maps.wcs)
    ax.set_title("Column density of the absorbing gas")
    figure.savefig(path, dpi=150)
