"""Gas of a result as a folder of files: the catalogue, a map, a figure and where it all came from."""

from pathlib import Path

import astropy.units as u
import numpy as np

from hisatools.io.writing import image_header, write_image, write_json, writing_folder

__all__ = ["write_gas"]

MAP, FIGURE = "column_density.fits", "column_density.png"


def write_gas(found, maps, folder, *, overwrite=False):
    """Write what `measure_gas` gives.

    Parameters
    ----------
    found : `~hisatools.HISAResult`
        Whose catalogue has the columns of the gas.
    maps : `GasMaps`
    folder : str or path
        For ``catalog.ecsv``, ``column_density.fits``, ``column_density.png`` and ``provenance.json``, which
        appear together or not at all.
    overwrite : bool
        Whether older ones may be replaced.

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
    >>> from hisatools import HISAExtractor
    >>> from hisatools.physics import GasParameters, measure_gas, write_gas
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> model = simulate_cube(ModelParameters(shape=(32, 96, 96), n_pucks=20, n_components=100), seed=3)
    >>> result = HISAExtractor(n_passes=1).run(model.cube)  # doctest: +IGNORE_WARNINGS
    >>> folder = write_gas(*measure_gas(result, GasParameters(t_spin=20 * u.K)), "gas")
    >>> sorted(path.name for path in folder.iterdir())
    ['catalog.ecsv', 'column_density.fits', 'column_density.png', 'provenance.json']
    """
    comment = "Cold H I of all features of a sight line; NaN where there is none or not all known"
    header = image_header(maps.wcs, unit=u.cm**-2, comments=[comment])
    header["BTYPE"] = "column_density"
    with writing_folder(folder, overwrite=overwrite, names=[]) as part:
        found.catalog.write(part / "catalog.ecsv")
        write_image(part / MAP, maps.column_density.value.astype(np.float32), header)
        write_json(part / "provenance.json", found.meta)
        _draw(maps, part / FIGURE)
    return Path(folder).expanduser()


def _draw(maps, path):
    from hisatools.plotting import label_sky, new_figure

    figure = new_figure(7, 5.5)
    ax = figure.add_subplot(projection=maps.wcs)
    drawn = ax.imshow(maps.column_density.value / 1e20, origin="lower", cmap="viridis", interpolation="none")
    figure.colorbar(drawn, ax=ax, label=r"N of cold H I ($10^{20}$ cm$^{-2}$)")
    label_sky(ax, maps.wcs)
    ax.set_title("Column density of the absorbing gas")
    figure.savefig(path, dpi=150)
