"""The catalogue as a VOTable: with a UCD for every column, for TOPCAT and the like."""

import warnings
from pathlib import Path

import numpy as np
from astropy.io.votable import from_table, is_votable, parse, writeto
from astropy.io.votable.tree import CooSys, Param
from astropy.table import QTable

from hisatools.errors import InputError
from hisatools.io.writing import writing_file

__all__ = ["UCDS", "to_votable", "ucd_of", "write_votable"]

# Words of the UCD1+ vocabulary. Places are given by frame.
UCDS = {
    "id": "meta.id",
    "name": "meta.id;meta.main",
    "velocity": "spect.dopplerVeloc",
    "velocity_peak": "spect.dopplerVeloc",
    **{
        f"{axis}_{end}": f"pos.cartesian.{word};stat.{end}"
        for axis, word in zip("xyv", "xyz", strict=True)
        for end in ("min", "max")
    },
    "n_voxels": "meta.number",
    "solid_angle": "phys.angArea",
    "velocity_fwhm": "spect.line.width",
    "angular_width_max": "phys.angSize;stat.max",
    "angular_width_mean": "phys.angSize;stat.mean",
    "velocity_width_mean": "spect.line.width;stat.mean",
    "major_fwhm": "phys.angSize.smajAxis",
    "minor_fwhm": "phys.angSize.sminAxis",
    "position_angle": "pos.posAng",
    "elongation": "src.morph.param",
    "major_deconvolved": "phys.angSize.smajAxis",
    "minor_deconvolved": "phys.angSize.sminAxis",
    "delta_t_peak": "phot.antennaTemp;stat.min",
    "delta_t_peak_error": "stat.error;phot.antennaTemp",
    "delta_t_mean": "phot.antennaTemp;stat.mean",
    "t_unabsorbed_mean": "phot.antennaTemp;stat.mean",
    "t_on_mean": "phot.antennaTemp;stat.mean",
    "absorption_integral": "spect.line.intensity",
    "absorption_integral_error": "stat.error;spect.line.intensity",
    "absorption_sr": "spect.line.intensity",
    "absorption_sr_error": "stat.error;spect.line.intensity",
    "first_pass": "meta.number",
    "edge": "meta.code.qual",
    "reliability": "stat.probability",
    "completeness": "stat.probability",
    "assessed": "stat.probability",
    "ts": "stat.value",
    "ts_prior": "stat.value",
    "p_local": "stat.probability",
    "p_global": "stat.probability",
    "t_spin": "phys.temperature",
    "tau_peak": "phys.absorption.opticalDepth;stat.max",
    "column_density_peak": "phys.columnDensity;stat.max",
    "column_density_mean": "phys.columnDensity;stat.mean",
    "path_length": "phys.size",
    "volume_density": "phys.density",
    "mass_hi": "phys.mass",
    "mass_total": "phys.mass",
    "n_opaque": "meta.number",
    "n_left_out": "meta.number",
    "gas_flags": "meta.code.qual",
    "fit_velocity": "spect.dopplerVeloc",
    "fit_delta_t": "phot.antennaTemp",
    "fit_delta_t_error": "stat.error;phot.antennaTemp",
    "fit_width": "phys.angSize",
    "fit_linewidth": "spect.line.width",
    "distance": "pos.distance",
    "distance_error": "stat.error;pos.distance",
    "distance_flags": "meta.code.qual",
    "distance_method": "meta.note",
    "t_spin_max": "phys.temperature;stat.max",
    "t_kinetic_max": "phys.temperature;stat.max",
    "linewidth_intrinsic": "spect.line.width",
    "n_bright": "meta.number",
    "n_noisy": "meta.number",
}
PLACES = {"lon": 0, "lat": 1, "lon_peak": 0, "lat_peak": 1, "fit_lon": 0, "fit_lat": 1}
AXES = {
    "galactic": ("pos.galactic.lon", "pos.galactic.lat"),
    "barycentricmeanecliptic": ("pos.ecliptic.lon", "pos.ecliptic.lat"),
    **dict.fromkeys(("icrs", "fk5", "fk4"), ("pos.eq.ra", "pos.eq.dec")),
}
ANYWHERE = ("pos", "pos")
# What reading a VOTable leaves in meta beside the parameters.
OF_THE_TABLE = {"ID", "name", "description"}
# Frame to the name and the equinox that a VOTable gives it.
SYSTEMS = {
    "galactic": ("galactic", None),
    "icrs": ("ICRS", None),
    "fk5": ("eq_FK5", "J2000"),
    "fk4": ("eq_FK4", "B1950"),
    "barycentricmeanecliptic": ("ecl_FK5", "J2000"),
}


def to_votable(catalog):
    """A catalogue as astropy's VOTable document.

    Parameters
    ----------
    catalog : `~astropy.table.QTable`
        Of a `~hisatools.HISAResult`.

    Returns
    -------
    `~astropy.io.votable.tree.VOTableFile`
        Columns have their units, descriptions, and UCDs where one is known, by the name or in the column's
        own ``info.meta["ucd"]``. Places refer to the coordinate system (COOSYS) of their frame, where
        ``meta`` names it. What ``meta``
        holds, as frames and beam, are parameters of the table, and its description.

    Raises
    ------
    InputError
        If a column holds objects.

    Examples
    --------
    >>> import astropy.units as u
    >>> from astropy.table import QTable
    >>> from hisatools.votable import to_votable
    >>> catalog = QTable({"lon": [139.6] * u.deg, "delta_t_peak": [-42.0] * u.K})
    >>> catalog.meta["FRAME"] = "galactic"
    >>> [field.ucd for field in to_votable(catalog).get_first_table().fields]
    ['pos.galactic.lon;meta.main', 'phot.antennaTemp;stat.min']
    """
    table = QTable(catalog, copy=True)
    frame = str(catalog.meta.get("FRAME") or "").lower() or None
    for name in table.colnames:
        ucd = ucd_of(name, frame)
        if ucd:
            table[name].info.meta = {"ucd": ucd}
    _refuse_objects(table)
    document = from_table(table, table_id="features")
    features = document.get_first_table()
    meta = {
        key: value
        for key, value in catalog.meta.items()
        if isinstance(value, (str, int, float)) and key not in OF_THE_TABLE
    }
    tracers = catalog.meta.get("TRACERS")
    if isinstance(tracers, dict):
        meta["TRACERS"] = ", ".join(f"{prefix}: {about['cube']}" for prefix, about in tracers.items())
    features.description = "; ".join(f"{key} {value}" for key, value in meta.items())
    for key, value in meta.items():
        features.params.append(
            Param(document, name=str(key), datatype="char", arraysize="*", value=str(value))
        )
    _refer_to_frame(document, frame, catalog.meta.get("EQUINOX"))
    return document


def _refuse_objects(table):
    """Refuse columns of objects, but for texts, which come so from files."""
    for name in table.colnames:
        column = table[name]
        if getattr(column, "dtype", np.dtype(float)).kind == "O" and not all(
            isinstance(one, str) or one is np.ma.masked for one in column
        ):
            raise InputError(
                f"the column {name!r} holds objects, which no VOTable has; leave it out, or make it one of "
                f"texts, for example catalog[{name!r}] = catalog[{name!r}].astype(str)"
            )


def ucd_of(name, frame="galactic"):
    """The UCD of a column.

    Parameters
    ----------
    name : str
    frame : str or None
        That of the places, as astropy calls it; None if it is not known.

    Returns
    -------
    str or None
        None if it is not known. That of an error is told by what it is the error of.

    Examples
    --------
    >>> from hisatools.votable import ucd_of
    >>> ucd_of("lat_peak", "icrs"), ucd_of("tau_peak_error")
    ('pos.eq.dec', 'stat.error;phys.absorption.opticalDepth')
    """
    if name in PLACES:
        ucd = AXES.get(frame, ANYWHERE)[PLACES[name]]
        return f"{ucd};meta.main" if name in ("lon", "lat") else ucd
    measured = UCDS.get(name.removesuffix("_error"), "meta")
    if name not in UCDS and not measured.startswith("meta"):
        return f"stat.error;{measured.split(';')[0]}"
    return UCDS.get(name)


def _refer_to_frame(document, frame, equinox):
    """Say of the places in which coordinate system they are."""
    if frame not in SYSTEMS:
        return
    system, standard = SYSTEMS[frame]
    equinox = str(equinox) if equinox and frame in ("fk4", "fk5") else standard
    document.resources[0].coordinate_systems.append(CooSys(ID="sky", system=system, equinox=equinox))
    for field in document.get_first_table().fields:
        if field.name in PLACES:
            field.ref = "sky"


def meta_of_votable(path):
    """What a VOTable says of its first table beside the columns, as ``meta`` of a catalogue.

    Parameters
    ----------
    path : str or path
        Of any file.

    Returns
    -------
    dict of str
        The parameters (PARAM) by their names, as `write_votable` writes them. Without ``FRAME`` among them it
        is that of the coordinate system (COOSYS), with ``EQUINOX``. Empty if the file is no VOTable.

    Examples
    --------
    >>> from hisatools.datasets import example_result
    >>> from hisatools.votable import meta_of_votable, write_votable
    >>> path = write_votable(example_result().catalog, "features.vot")
    >>> meta_of_votable(path)["FRAME"], meta_of_votable(path)["SPECSYS"]
    ('galactic', 'LSRK')
    """
    if not Path(path).expanduser().is_file() or not is_votable(str(Path(path).expanduser())):
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is not quite right in it
        document = parse(str(Path(path).expanduser()))
    found = {str(param.name): str(param.value) for param in document.get_first_table().params}
    systems = [system for resource in document.resources for system in resource.coordinate_systems]
    frames = {system: frame for frame, (system, _) in SYSTEMS.items()}
    if "FRAME" in found or len(systems) != 1 or systems[0].system not in frames:
        return found
    found["FRAME"] = frames[systems[0].system]
    if systems[0].equinox and found["FRAME"] in ("fk4", "fk5"):
        found["EQUINOX"] = str(systems[0].equinox)
    return found


def write_votable(catalog, path, *, overwrite=False):
    """Write a catalogue as a VOTable (XML), which TOPCAT and others open.

    Parameters
    ----------
    catalog : `~astropy.table.QTable`
    path : str or path
    overwrite : bool
        Whether an older file may be replaced.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    OutputError
        If the file exists and ``overwrite`` is False, or cannot be written.

    Examples
    --------
    >>> import astropy.units as u
    >>> from astropy.table import QTable
    >>> from hisatools.votable import write_votable
    >>> path = write_votable(QTable({"velocity": [-41.0] * u.km / u.s}), "catalog.vot")
    >>> print(QTable.read(path, format="votable")["velocity"][0])
    -41.0 km / s
    """
    document = to_votable(catalog)
    with writing_file(path, overwrite=overwrite) as part:
        writeto(document, str(part), tabledata_format="tabledata")
    return Path(path).expanduser()
