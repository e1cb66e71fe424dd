"""Priors from what is drawn rather than read: regions, features of a catalogue, and functions."""

import inspect
import warnings
from dataclasses import dataclass
from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.table import QTable, Table
from regions import PixelRegion, Regions

from hisatools.errors import HISAWarning, InputError, ParameterError
from hisatools.io.regions import _read_regions
from hisatools.noise.masks import SkyMask
from hisatools.significance.prior_grid import unmasked
from hisatools.significance.prior_maps import say_other_frame

__all__ = ["Discs", "catalog_discs", "function_planes", "n_arguments", "region_plane"]

COLUMNS = {
    "lon": u.deg,
    "lat": u.deg,
    "velocity": u.km / u.s,
    "solid_angle": u.deg**2,
    "velocity_fwhm": u.km / u.s,
}


@dataclass(frozen=True, eq=False)
class Discs:
    """Discs on the sky, each over a range of velocities.

    Parameters
    ----------
    position : `~astropy.coordinates.SkyCoord`, shape (n,)
    radius_deg : `~numpy.ndarray`, shape (n,)
    velocity_kms, width_kms : `~numpy.ndarray`, shape (n,)
        Centre and full width.

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools.datasets import example_model, example_result
    >>> from hisatools.significance.prior_grid import sky_grid
    >>> from hisatools.significance.prior_shapes import catalog_discs
    >>> cube = example_model().cube
    >>> discs, _ = catalog_discs(example_result().catalog, cube)
    >>> (discs.radius_deg * 60).round(1)  # arcmin
    array([1. , 1.4, 1.3, 1.8, 3.1])
    >>> (plane,) = discs.planes(sky_grid(cube), cube, in_velocity=False)
    >>> plane.shape, int(plane.sum())
    ((208, 208), 620)
    """

    position: SkyCoord
    radius_deg: np.ndarray
    velocity_kms: np.ndarray
    width_kms: np.ndarray

    def planes(self, grid, cube, *, in_velocity):
        """1 inside and 0 outside; a plane for each channel, or one alone."""
        places = self.position.transform_to(grid.sky.frame).spherical
        x, y = grid.wcs.wcs_world2pix(places.lon.deg, places.lat.deg, 0)
        radius = self.radius_deg / grid.sample_deg
        n_y, n_x = grid.shape
        on_grid = (x > -0.5 - radius) & (x < n_x - 0.5 + radius)
        on_grid &= (y > -0.5 - radius) & (y < n_y - 0.5 + radius)
        if not in_velocity:
            yield self._plane(np.flatnonzero(on_grid), x, y, radius, grid.shape)
            return
        inside = self._channels(cube) & on_grid
        for channel in inside:
            yield self._plane(np.flatnonzero(channel), x, y, radius, grid.shape)

    def _channels(self, cube):
        """Whether a disc has a channel, shape (n_v, n): those within its width, and that of its centre."""
        offset = np.abs(cube.velocity.to_value(u.km / u.s)[:, None] - self.velocity_kms)
        return offset <= np.fmax(self.width_kms, cube.channel_width.to_value(u.km / u.s)) / 2 * (1 + 1e-6)

    @staticmethod
    def _plane(chosen, x, y, radius, shape):
        plane = np.zeros(shape)
        n_y, n_x = shape
        for disc in chosen:
            at_y, at_x, size = y[disc], x[disc], radius[disc]
            rows = slice(max(int(np.ceil(at_y - size)), 0), min(int(at_y + size) + 1, n_y))
            columns = slice(max(int(np.ceil(at_x - size)), 0), min(int(at_x + size) + 1, n_x))
            dy = np.arange(rows.start, rows.stop)[:, None] - at_y
            dx = np.arange(columns.start, columns.stop) - at_x
            plane[rows, columns][dy**2 + dx**2 <= size**2] = 1
            nearest = int(np.floor(at_y + 0.5)), int(np.floor(at_x + 0.5))
            if 0 <= nearest[0] < n_y and 0 <= nearest[1] < n_x:
                plane[nearest] = 1
        return plane


def catalog_discs(table, cube):
    """The features of a catalogue as discs of their solid angle.

    Parameters
    ----------
    table : path or `~astropy.table.Table`
        With the columns ``lon``, ``lat``, ``velocity``, ``solid_angle``, ``velocity_fwhm``; a path is that of
        ``catalog.ecsv`` or of the folder that holds it.
    cube : `~hisatools.HISACube`
        For messages about its frame.

    Returns
    -------
    `Discs`, str
        And the name of the catalogue.

    Raises
    ------
    InputError
        If the table is not such a catalogue or is empty.
    ParameterError
        If it is no table and no path.

    Examples
    --------
    >>> from hisatools.datasets import example_model, example_result
    >>> from hisatools.significance.prior_shapes import catalog_discs
    >>> discs, name = catalog_discs(example_result().catalog, example_model().cube)
    >>> discs.position.shape, discs.velocity_kms.round(), name
    ((5,), array([-30., -40., -39., -40., -45.]), 'the catalogue')
    """
    if not isinstance(table, Table | str | Path):
        raise ParameterError(
            f"table must be a catalogue or the path of one, got {type(table).__name__}; give result.catalog"
        )
    source = "the catalogue" if isinstance(table, Table) else str(table)
    table = table if isinstance(table, Table) else _read_catalog(table)
    missing = [name for name in COLUMNS if name not in table.colnames]
    if missing:
        raise InputError(
            f"{source}: has no column {', '.join(missing)}; give a catalogue that hisatools wrote"
        )
    lon, lat, velocity, area, width = (_column(table, name, unit, source) for name, unit in COLUMNS.items())
    known = np.isfinite(lon) & np.isfinite(lat) & np.isfinite(velocity) & (area > 0)
    if not known.any():
        raise InputError(
            f"{source}: holds no feature with a place and a size; give a catalogue with features"
        )
    if not known.all():
        warnings.warn(
            f"{source}: {np.count_nonzero(~known)} features without place or size are left out",
            HISAWarning,
            stacklevel=3,
        )
    frame = table.meta.get("FRAME")
    if not isinstance(frame, str):
        raise InputError(f"{source}: does not name its frame; set meta['FRAME'], for example to 'galactic'")
    years = table.meta.get("EQUINOX")
    equinox = {"equinox": str(years)} if years and frame in ("fk4", "fk5") else {}
    say_other_frame(source, table.meta.get("SPECSYS"), cube)
    try:
        position = SkyCoord(lon[known], lat[known], unit="deg", frame=frame, **equinox)
    except ValueError as exc:
        raise InputError(f"{source}: its frame {frame!r} and positions are not understood ({exc})") from None
    return Discs(position, np.sqrt(area[known] / np.pi), velocity[known], np.nan_to_num(width[known])), source


def region_plane(regions, grid, cube, inside, outside):
    """A plane of samples with one value inside regions and another outside.

    Parameters
    ----------
    regions : path, region, or list of regions
        A path is a DS9 region file; regions marked as excluded are taken out of the others.
    grid : `~hisatools.significance.prior_grid.SkyGrid`
    cube : `~hisatools.HISACube`
        To whose pixels regions in pixel coordinates refer.
    inside, outside : float

    Returns
    -------
    `~numpy.ndarray`, shape ``grid.shape``

    Raises
    ------
    InputError
        If no sample lies inside.

    Examples
    --------
    >>> import astropy.units as u
    >>> from astropy.coordinates import SkyCoord
    >>> from regions import CircleSkyRegion
    >>> from hisatools.datasets import example_model
    >>> from hisatools.significance.prior_grid import sky_grid
    >>> from hisatools.significance.prior_shapes import region_plane
    >>> cube = example_model().cube
    >>> cloud = CircleSkyRegion(SkyCoord("140d 0d", frame="galactic"), 6 * u.arcmin)
    >>> plane = region_plane(cloud, sky_grid(cube), cube, 1.0, 0.1)
    >>> int((plane == 1).sum())  # pixels of 0.3 arcmin
    1264
    """
    found = list(_read_regions(Path(regions))) if isinstance(regions, str | Path) else regions
    found = list(found) if isinstance(found, Regions | list | tuple) else [found]
    celestial = cube.wcs.celestial
    if grid.shape != grid.field:
        found = [one.to_sky(celestial) if isinstance(one, PixelRegion) else one for one in found]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*no pixel centre of the map", HISAWarning)
        covered = SkyMask(np.zeros(grid.shape, bool), grid.wcs).region(found).inside
    if not covered.any():
        raise InputError(
            "no pixel of the field lies in the regions; compare their places and frame with the cube's"
        )
    return np.where(covered, float(inside), float(outside))


def n_arguments(function):
    """How many positional arguments a prior's function gets: 1, or 2 with velocity.

    Parameters
    ----------
    function : callable

    Returns
    -------
    int

    Raises
    ------
    ParameterError
        If it cannot be called, or not with these.

    Examples
    --------
    >>> from hisatools.significance.prior_shapes import n_arguments
    >>> n_arguments(lambda sky: abs(sky.b.deg)), n_arguments(lambda sky, velocity: sky.l.deg)
    (1, 2)
    """
    if not callable(function):
        raise ParameterError(f"function must be callable with a SkyCoord, got {type(function).__name__}")
    try:
        arguments = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # written in C, so that nobody can tell
        return 1
    needed = [one.name for one in arguments if one.kind is one.KEYWORD_ONLY and one.default is one.empty]
    if needed:
        raise ParameterError(
            f"function needs the keyword {needed[0]!r}, which nothing gives; give it a default, "
            f"or write for example lambda sky: function(sky, {needed[0]}=1)"
        )
    takes_any = any(one.kind is one.VAR_POSITIONAL for one in arguments)
    places = [one for one in arguments if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    required = [one for one in places if one.default is one.empty]
    if len(required) > 2 or not (places or takes_any):
        raise ParameterError(
            "function must take a SkyCoord, or a SkyCoord and a velocity, "
            f"but needs {len(required)} arguments"
        )
    return max(len(required), 1)


def function_planes(function, grid, cube):
    """What a function says of the samples: one plane, or one for each channel.

    Parameters
    ----------
    function : callable
        Of a SkyCoord of shape (n_y, n_x), or of that and a scalar velocity; see `n_arguments`.
    grid : `~hisatools.significance.prior_grid.SkyGrid`
    cube : `~hisatools.HISACube`

    Yields
    ------
    `~numpy.ndarray` of float64, shape ``grid.shape``

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools.datasets import example_model
    >>> from hisatools.significance.prior_grid import sky_grid
    >>> from hisatools.significance.prior_shapes import function_planes
    >>> cube = example_model().cube
    >>> planes = list(function_planes(lambda sky, v: np.exp(sky.b.deg + 0.1 * v.value), sky_grid(cube), cube))
    >>> len(planes), planes[0].shape
    (32, (208, 208))
    """
    sky = grid.sky
    if n_arguments(function) == 1:
        yield _checked_values(function(sky), grid.shape)
        return
    for velocity in cube.velocity:
        yield _checked_values(function(sky, velocity), grid.shape)


def _checked_values(values, shape):
    try:
        values = u.Quantity(unmasked(values), u.dimensionless_unscaled).value
        plane = np.broadcast_to(np.asarray(values, float), shape)
    except (TypeError, ValueError, u.UnitsError):
        raise ParameterError(
            f"function must return plain numbers of the shape of its SkyCoord, {shape}, "
            f"got {type(values).__name__} of shape {np.shape(values)}"
        ) from None
    if np.any(plane < 0):
        raise ParameterError(f"function must return probabilities of 0 or above, got {np.nanmin(plane):g}")
    return plane


def _read_catalog(path):
    path = Path(path)
    path = path / "catalog.ecsv" if path.is_dir() else path
    if not path.is_file():
        raise InputError(f"{path}: no such file; give the path of a catalog.ecsv")
    try:
        return QTable.read(path, format="ascii.ecsv")
    except Exception as exc:  # the reader has no common base class for its errors
        reason = (str(exc) or type(exc).__name__).splitlines()[0]
        raise InputError(f"{path}: cannot be read as a catalogue in ECSV format ({reason})") from exc


def _column(table, name, unit, source):
    values = table[name]
    values = values.filled(np.nan) if hasattr(values, "filled") else values
    try:
        return np.asarray(u.Quantity(values).to_value(unit), float)
    except (u.UnitsError, TypeError):
        raise InputError(f"{source}: the column {name} needs a unit of {unit}; set it in the table") from None
