"""Where the rows of a table are: positions and velocities under the names that catalogues give them."""

import re
import warnings
from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.table import QTable, Table

from hisatools.errors import HISAWarning, InputError, ParameterError

__all__ = ["as_table", "positions_of", "velocities_needed", "velocities_of"]

KMS = u.km / u.s

OWN = "the catalogue"
# Names of longitude and latitude, and the frame that they are in; None: the one that the table names.
# Looked for as they are and in capitals.
POSITIONS = {
    ("lon", "lat"): None,
    ("glon", "glat"): "galactic",
    ("_glon", "_glat"): "galactic",
    ("gal_lon", "gal_lat"): "galactic",
    ("ra", "dec"): "icrs",
    ("ra_icrs", "de_icrs"): "icrs",
    ("s_ra", "s_dec"): "icrs",
    ("raj2000", "dej2000"): "fk5",
    ("_raj2000", "_dej2000"): "fk5",
    ("raj2000", "decj2000"): "fk5",
    ("ra_j2000", "dec_j2000"): "fk5",
    ("elon", "elat"): "barycentricmeanecliptic",
    ("l", "b"): "galactic",
}
# In capitals these would be a luminosity and a magnitude.
AS_THEY_ARE = {("l", "b")}
MIXED_CASE = {("_glon", "_glat"): ("_Glon", "_Glat")}
EQUATORIAL = {"icrs", "fk5", "fk4"}
ANY_EQUATORIAL = {("ra", "dec")}
# Of degrees; what has blanks, colons or letters is sexagesimal.
PLAIN_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*")
UCD_FRAMES = {"pos.galactic": "galactic", "pos.eq": "icrs", "pos.ecliptic": "barycentricmeanecliptic"}
VELOCITIES = ("velocity", "vlsr", "v_lsr", "vel", "velo", "v", "vcen", "v_cen", "rv", "radial_velocity")
# In capitals a magnitude.
NO_CAPITALS = {"v"}
HELIOCENTRIC = {"rv", "radial_velocity"}


def as_table(table, name="table"):
    """A table as QTable.

    Parameters
    ----------
    table : `~astropy.table.Table`, or path of a file that `~astropy.table.QTable.read` knows
        A folder is one with ``catalog.ecsv``.
    name : str
        Of the argument, for messages.

    Returns
    -------
    `~astropy.table.QTable`

    Raises
    ------
    InputError
        If the file cannot be read as a table.
    ParameterError
        If it is neither.
    """
    if isinstance(table, Table):
        return QTable(table, copy=False)
    if not isinstance(table, str) and not hasattr(table, "__fspath__"):
        raise ParameterError(
            f"{name} must be an astropy Table or the path of one, got {type(table).__name__}; "
            f"write for example {name}=Table.read('clouds.fits')"
        )
    path = Path(table).expanduser()
    path = path / "catalog.ecsv" if path.is_dir() else path
    try:
        with warnings.catch_warnings():
            # What a VOTable or a FITS file is not quite right in does not keep its rows from being read.
            warnings.simplefilter("ignore")
            found = QTable.read(path)
            found.meta = _meta_of_votable(path) | found.meta
            return found
    except Exception as error:  # whatever a damaged file makes a reader stumble over
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path}: cannot be read as a table ({reason:.200}); give an ECSV, FITS, VOTable or CSV file"
        ) from error


def _meta_of_votable(path):
    from hisatools.votable import meta_of_votable

    return meta_of_votable(path)


def positions_of(table, *, position=None, frame=None, name="the table"):
    """Positions of the rows of a table.

    Parameters
    ----------
    table : `~astropy.table.QTable`
    position : str or pair of str, optional
        Column with a SkyCoord, or columns with longitude and latitude. By default the first SkyCoord column,
        then the first known pair of names: ``lon, lat`` (frame of ``meta["FRAME"]`` or of the UCD),
        ``GLON, GLAT``, ``RA, DEC``, ``RAJ2000, DEJ2000`` and their like.
    frame : str, optional
        Of a pair; by default what the names mean.
    name : str
        Of the table, for messages.

    Returns
    -------
    `~astropy.coordinates.SkyCoord`, shape (n,)
        NaN where masked.

    Raises
    ------
    InputError
        If the table has no such columns, or the frame is not known.

    Warns
    -----
    HISAWarning
        If a column has no unit: degrees are assumed.

    Examples
    --------
    >>> import astropy.units as u
    >>> from astropy.table import QTable
    >>> from hisatools.catalog.places import positions_of
    >>> clouds = QTable({"GLON": [139.6] * u.deg, "GLAT": [1.2] * u.deg})
    >>> positions_of(clouds).name
    'galactic'
    """
    if position is None or isinstance(position, str):
        mixins = [position] if position else [key for key in table.colnames if _is_sky(table[key])]
        for key in mixins:
            return _masked_as_nan(_column(table, key, name))
    pair, own_frame = _pair(table, name) if position is None else (tuple(position), None)
    frame, equinox = _frame(table, pair, frame, own_frame, name)
    if frame is None:
        raise InputError(
            f"{name}: the columns {pair[0]} and {pair[1]} do not say in which frame they are; "
            "set meta['FRAME'] of the table, or give frame, for example frame='galactic'"
        )
    hours = frame not in ("galactic", "barycentricmeanecliptic")
    lon, lat = (
        _degrees(table, key, name, u.hourangle if hours and n == 0 else u.deg) for n, key in enumerate(pair)
    )
    try:
        return SkyCoord(lon, lat, unit="deg", frame=frame, **equinox)
    except ValueError as error:
        raise InputError(f"{name}: positions that cannot be ({error}); correct frame or columns") from error


def velocities_of(table, *, velocity=None, name="the table"):
    """Velocities of the rows of a table.

    Parameters
    ----------
    table : `~astropy.table.QTable`
    velocity : str, optional
        Name of the column; by default the first known name (``velocity``, ``VLSR``, ``v`` and their like) of
        a column that can be one.
    name : str
        Of the table, for messages.

    Returns
    -------
    `~numpy.ndarray`, shape (n,), km/s, or None
        NaN where masked; None where no name was given and none is known.

    Raises
    ------
    InputError
        If the named column does not exist or is no velocity.

    Warns
    -----
    HISAWarning
        If the column has no unit: km/s is assumed; if by its name it is heliocentric, and ``meta["SPECSYS"]``
        does not say otherwise.
    """
    if velocity is None:
        velocity = next((key for key in _names_of_velocities(table) if _may_be(table[key], KMS)), None)
        if velocity is None:
            return None
        if velocity.lower() in HELIOCENTRIC and not table.meta.get("SPECSYS"):
            warnings.warn(
                f"{name}: velocities of the name {velocity} are heliocentric as a rule, and are taken as "
                "they are; set meta['SPECSYS'] of the table, for example to 'LSRK', or name another column",
                HISAWarning,
                stacklevel=3,
            )
    return _numbers(table, velocity, KMS, name)


def velocities_needed(catalog):
    """Velocities of the features of a catalogue in km/s; NaN where masked, InputError where it has none."""
    found = velocities_of(catalog, velocity="velocity" if "velocity" in catalog.colnames else None, name=OWN)
    if found is None:
        raise InputError(f"{OWN} has no velocities; take along its column velocity")
    return found


def _names_of_velocities(table):
    for low in VELOCITIES:
        for key in (low,) if low in NO_CAPITALS else (low, low.upper(), low.capitalize()):
            if key in table.colnames:
                yield key


def _is_sky(column):
    return isinstance(column, SkyCoord)


def _may_be(column, unit):
    own = getattr(column, "unit", None)
    return u.Unit(own).is_equivalent(unit) if own is not None else np.asarray(column).dtype.kind in "fiu"


def _pair(table, name):
    """The first pair of columns with known names."""
    for pair, frame in POSITIONS.items():
        spellings = [pair, MIXED_CASE.get(pair, pair)]
        spellings += [] if pair in AS_THEY_ARE else [tuple(key.upper() for key in pair)]
        for spelling in spellings:
            if set(spelling) <= set(table.colnames):
                return spelling, frame
    raise InputError(
        f"{name}: no columns of a position are known among {', '.join(table.colnames[:12])}; "
        "say which they are, for example position=('l_deg', 'b_deg'), frame='galactic'"
    )


def _frame(table, pair, given, of_names, name):
    """Name of the frame of a pair of columns, or None, and its equinox as a keyword."""
    if given:
        return str(given).lower(), {}
    own = str(table.meta.get("FRAME") or "").lower()
    # RA and DEC are ICRS unless the table says in which equatorial frame they are.
    if of_names and not (own in EQUATORIAL and tuple(key.lower() for key in pair) in ANY_EQUATORIAL):
        return of_names, {}
    if not own:
        return _frame_of_ucd(_column(table, pair[0], name), name), {}
    equinox = table.meta.get("EQUINOX")
    if not equinox or own not in ("fk4", "fk5"):
        return own, {}
    years = str(equinox).strip()
    return own, {"equinox": years if years[:1] in "BJ" else f"{'B' if own == 'fk4' else 'J'}{years}"}


def _frame_of_ucd(column, name):
    """What a VOTable says of a column, for tables whose meta got lost on the way; None if nothing."""
    ucd = str((column.info.meta or {}).get("ucd", "")).lower()
    frame = next((frame for start, frame in UCD_FRAMES.items() if ucd.startswith(start)), None)
    if frame == "icrs":
        warnings.warn(
            f"{name}: the UCD says that positions are equatorial, and not in which frame: ICRS assumed; set "
            "meta['FRAME'] of the table, for example to 'fk5'",
            HISAWarning,
            stacklevel=4,
        )
    return frame


def _column(table, key, name):
    if key not in table.colnames:
        raise InputError(f"{name}: no column {key!r}; it has {', '.join(table.colnames[:12])}")
    return table[key]


def _masked_as_nan(sky):
    """A SkyCoord without mask; NaN where it was masked."""
    if not _is_sky(sky):
        raise InputError("position must name a column with a SkyCoord, or two with longitude and latitude")
    mask = np.asarray(getattr(sky, "mask", False)) | np.zeros(sky.shape, bool)
    lon, lat = (np.asarray(getattr(axis.deg, "unmasked", axis.deg), float) for axis in _axes(sky))
    frame = sky.frame.replicate_without_data()
    return SkyCoord(np.where(mask, np.nan, lon), np.where(mask, np.nan, lat), unit="deg", frame=frame)


def _axes(sky):
    return sky.spherical.lon, sky.spherical.lat


def _degrees(table, key, name, text_unit):
    """A column of angles in degrees; texts may be sexagesimal."""
    column = _column(table, key, name)
    if np.asarray(column).dtype.kind in "US":
        return _of_texts(column, text_unit, f"{name}: column {key}")
    return _numbers(table, key, u.deg, name)


def _of_texts(column, unit, name):
    from astropy.coordinates import Angle

    texts = np.ma.filled(np.ma.asarray(column), "").astype(str)
    known = np.char.strip(texts) != ""
    degrees = np.full(texts.shape, np.nan)
    own = _angle_unit(getattr(column, "unit", None))
    plain = known & np.array([PLAIN_NUMBER.fullmatch(text) is not None for text in texts.flat], bool)
    try:
        for which, meant in ((plain, own or u.deg), (known & ~plain, own or unit)):
            degrees[which] = Angle(texts[which], unit=meant).deg if which.any() else ()
    except ValueError as error:
        raise InputError(f"{name}: {error}; give degrees, or texts as 12:34:56.7") from error
    return degrees


def _angle_unit(unit):
    """The unit if it is one of angles, or None; that of sexagesimal texts may be any text."""
    known = u.Unit(unit, parse_strict="silent") if unit is not None else u.one
    return known if known.is_equivalent(u.deg) else None


def _numbers(table, key, unit, name):
    """A column in a unit; NaN where masked."""
    column = _column(table, key, name)
    own = getattr(column, "unit", None)
    if np.asarray(column).dtype.kind not in "fiu" or not _may_be(column, unit):
        raise InputError(f"{name}: the column {key} (unit {own}) does not convert to {unit}")
    if own is None:
        if len(table):
            warnings.warn(f"{name}: the column {key} has no unit: {unit} assumed", HISAWarning, stacklevel=4)
        own = unit
    mask = np.asarray(getattr(column, "mask", False))
    values = getattr(column, "unmasked", column)
    values = (
        np.ma.getdata(values) if isinstance(values, np.ma.MaskedArray) else getattr(values, "value", values)
    )
    return np.where(mask, np.nan, np.asarray(values, float) * u.Unit(own).to(unit))
