"""Which part of a file to read: a velocity range and a region of the sky."""

from pathlib import Path

import astropy.units as u
import numpy as np
from regions import PixelRegion, Regions, SkyRegion

from hisatools.errors import InputError, ParameterError
from hisatools.parameters import check_quantity

# A channel whose centre is this close to a limit, in channels, lies on it.
ROUNDING = 1e-6


def velocity_slice(velocity_range, velocity, source):
    """The channels whose centres lie in a velocity range, ends included.

    Parameters
    ----------
    velocity_range : pair of Quantity, velocity
        The two ends, in either order.
    velocity : Quantity, shape (n_v,), velocity
        Of the channels, ascending or descending.
    source : str
        The name of the input, for messages.

    Returns
    -------
    slice
        Of the velocity axis; not empty.

    Raises
    ------
    ParameterError
        If the range is not two velocities with units.
    InputError
        If no channel lies inside.

    Examples
    --------
    >>> velocity_slice((-1.5 * u.km / u.s, 0 * u.km / u.s), [2, 1, 0, -1, -2] * u.km / u.s, "example")
    slice(2, 4, None)
    """
    try:
        first, second = velocity_range
    except (TypeError, ValueError):
        raise ParameterError(
            f"velocity_range must be two velocities, got {velocity_range!r}; "
            f"write for example velocity_range=(-60, 20) * u.km / u.s"
        ) from None
    unit = u.km / u.s
    ends = [check_quantity("velocity_range", one, unit, above=-np.inf).value for one in (first, second)]
    low, high = sorted(ends)
    v = velocity.to_value(unit)
    slack = ROUNDING * abs(v[-1] - v[0]) / max(len(v) - 1, 1)
    (inside,) = np.nonzero((v >= low - slack) & (v <= high + slack))
    if inside.size == 0:
        raise InputError(
            f"{source}: no channel lies in velocity_range {low:g} to {high:g} km/s; "
            f"the file covers {v.min():.2f} to {v.max():.2f} km/s"
        )
    return slice(int(inside[0]), int(inside[-1]) + 1)


def sky_cut(region, celestial, shape, source):
    """The bounding box of a sky region in a map, and what of it lies inside.

    Parameters
    ----------
    region : `~regions.SkyRegion`, `~regions.Regions` or path
        A path is a DS9 region file in sky coordinates; several regions are united, those marked
        as excluded are taken out.
    celestial : `~astropy.wcs.WCS`
        Of the map.
    shape : tuple of int
        (n_y, n_x) of the map.
    source : str
        The name of the input, for messages.

    Returns
    -------
    box : tuple of slice
        Rows and columns of the smallest box that holds the region.
    inside : `~numpy.ndarray` of bool, shape of the box
        True where a pixel centre lies in the region.

    Raises
    ------
    InputError
        If the file holds no usable region, or the region covers no pixel.
    """
    inside, excluded, n_included = np.zeros(shape, bool), np.zeros(shape, bool), 0
    for one in _sky_regions(region, source):
        if one.meta.get("include", True) in (False, 0, "-"):
            excluded |= _pixels_in(one, celestial, shape, source)
        else:
            inside |= _pixels_in(one, celestial, shape, source)
            n_included += 1
    if n_included == 0:
        inside[:] = True
    inside &= ~excluded
    if not inside.any():
        raise InputError(
            f"{source}: the region covers no pixel of the field, whose centre is "
            f"{_centre(celestial, shape)}; check its coordinates and frame"
        )
    box = tuple(_extent(inside.any(axis=axis)) for axis in (1, 0))
    return box, inside[box]


def _sky_regions(region, source):
    """A list of sky regions, from whatever the caller gave."""
    if isinstance(region, str | Path):
        found = _read_regions(Path(region))
    else:
        found = list(region) if isinstance(region, Regions) else [region]
    if any(isinstance(one, PixelRegion) for one in found):
        raise InputError(
            f"{source}: the region is in pixel coordinates; give it in sky coordinates "
            f"(in DS9, save it in 'fk5' or 'galactic')"
        )
    if not all(isinstance(one, SkyRegion) for one in found):
        raise ParameterError(
            f"region must be a regions.SkyRegion or the path of a DS9 region file, got {region!r}"
        )
    return found


def _read_regions(path):
    if not path.is_file():
        raise InputError(f"{path}: no such region file; check the path")
    try:
        found = list(Regions.read(path, format="ds9"))
    except Exception as exc:  # the parser has no common base class for its errors
        raise InputError(f"{path}: cannot be read as a DS9 region file ({_first_line(exc)})") from exc
    if not found:
        raise InputError(f"{path}: holds no region; save one in DS9 format")
    return found


def _pixels_in(region, celestial, shape, source):
    """Map of the pixels whose centres lie in one region."""
    try:
        image = region.to_pixel(celestial).to_mask(mode="center").to_image(shape)
    except NotImplementedError:
        raise InputError(
            f"{source}: a {type(region).__name__} covers no area; give a circle, ellipse, box or polygon"
        ) from None
    return np.zeros(shape, bool) if image is None else image > 0


def _extent(used):
    (where,) = np.nonzero(used)
    return slice(int(where[0]), int(where[-1]) + 1)


def _centre(celestial, shape):
    lon, lat = celestial.pixel_to_world_values((shape[1] - 1) / 2, (shape[0] - 1) / 2)
    return f"{celestial.wcs.lngtyp} {lon:.3f}, {celestial.wcs.lattyp} {lat:.3f} deg"


def _first_line(exc):
    return (str(exc) or type(exc).__name__).splitlines()[0]
