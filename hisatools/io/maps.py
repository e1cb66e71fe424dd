"""Maps from FITS files, and onto the grid of another."""

from dataclasses import dataclass
from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_scales

from hisatools.errors import InputError, ParameterError
from hisatools.io.files import choose_image, opened, read_box
from hisatools.io.headers import sky_wcs
from hisatools.io.sky import places_of_pixels, sky_frame

__all__ = ["SkyMap", "onto_grid", "read_map"]

# In pixels: rounding in a header is far below, another grid far above.
SAME_PLACE = 0.01


@dataclass(frozen=True, eq=False)
class SkyMap:
    """A map with a unit and its place on the sky.

    Parameters
    ----------
    values : `~astropy.units.Quantity`, shape (n_y, n_x)
        NaN where blank.
    wcs : `~astropy.wcs.WCS` or None
        Longitude and latitude; None where the header gives none.
    name : str
        For messages.

    Examples
    --------
    >>> import astropy.units as u, numpy as np
    >>> from hisatools.io.maps import SkyMap
    >>> from hisatools.residual_mask.simulated import map_wcs
    >>> SkyMap(np.ones((30, 40)) * u.mag, map_wcs((30, 40)), "dust").values.shape
    (30, 40)
    """

    values: u.Quantity
    wcs: WCS | None
    name: str


def read_map(path, *, unit=None):
    """Read a FITS map.

    Parameters
    ----------
    path : path-like
        Its first image with two axes or more; further axes must have length 1.
    unit : str, `~astropy.units.Unit` or callable, optional
        Wins over BUNIT; a callable gets the text of BUNIT and gives the unit.

    Returns
    -------
    SkyMap

    Raises
    ------
    InputError
        If the file cannot be read, is no map, or its unit is not known.

    Examples
    --------
    >>> import astropy.units as u, numpy as np
    >>> from hisatools.io.maps import read_map
    >>> from hisatools.io.writing import image_header, write_image
    >>> from hisatools.residual_mask.simulated import map_wcs
    >>> write_image("dust.fits", np.ones((30, 40)) * u.mag, image_header(map_wcs((30, 40))))
    >>> found = read_map("dust.fits")
    >>> found.values.shape, found.values.unit, found.name
    ((30, 40), Unit("mag"), 'dust.fits')
    """
    path = Path(path).expanduser()
    with opened(path) as hdus:
        image = hdus[choose_image(hdus, None, path, n_axes=2)]
        if any(length > 1 for length in image.shape[:-2]):
            raise InputError(f"{path}: an image of shape {image.shape} is no map; give one with two axes")
        index = (0,) * (len(image.shape) - 2) + (slice(None), slice(None))
        values, header = read_box(image, index, path), image.header
        wcs = sky_wcs(header, str(path))
    values[np.isinf(values)] = np.nan
    return SkyMap(values << _unit(unit, header, path), wcs, str(path))


def _unit(unit, header, path):
    if callable(unit) and not isinstance(unit, u.UnitBase):
        return unit(header.get("BUNIT"))
    text = str(header.get("BUNIT", "")).strip() if unit is None else unit
    if text == "":
        raise InputError(f"{path}: the header has no BUNIT; say what the unit is, for example mag")
    try:
        return u.Unit(text)
    except ValueError:
        raise InputError(f"{path}: the unit {text!r} is not known; say what it is, for example mag") from None


def onto_grid(source, wcs, shape):
    """A map on another grid.

    Parameters
    ----------
    source : `SkyMap`
    wcs : `~astropy.wcs.WCS` or None
        Of the grid that is wanted.
    shape : tuple of int
        (n_y, n_x).

    Returns
    -------
    values : `~astropy.units.Quantity`, shape (n_y, n_x)
        NaN beyond the map.
    reprojected : bool
        Whether the grids differ.

    Raises
    ------
    InputError
        If the grids differ in shape and a WCS is missing, the map does not reach the grid, or one of them
        alone is in ecliptic coordinates.
    ParameterError
        If the package reproject is needed and missing.

    Examples
    --------
    A map of 2 arcmin pixels on the inner part of a grid of 1 arcmin pixels:

    >>> import astropy.units as u, numpy as np
    >>> from hisatools.io.maps import SkyMap, onto_grid
    >>> from hisatools.residual_mask.simulated import map_wcs
    >>> coarse = SkyMap(np.full((30, 40), 0.7) * u.mag, map_wcs((30, 40), pixel_deg=2 / 60), "dust")
    >>> values, reprojected = onto_grid(coarse, map_wcs((20, 20)), (20, 20))
    >>> values.shape, values.mean().round(2), reprojected
    ((20, 20), <Quantity 0.7 mag>, True)
    """
    if source.wcs is None or wcs is None:
        if source.values.shape == tuple(shape):
            return source.values, False
        raise InputError(
            f"{source.name}: a map of shape {source.values.shape} without sky axes cannot be brought onto "
            f"a grid of shape {tuple(shape)}; give maps with a WCS"
        )
    if source.values.shape == tuple(shape) and _offset_pix(source.wcs, wcs, shape) < SAME_PLACE:
        return source.values, False
    values = _reproject(source, wcs, shape)
    if not np.isfinite(values).any():
        raise InputError(f"{source.name}: the map does not reach the field; give one that does")
    return values << source.values.unit, True


def _reproject(source, wcs, shape):
    try:
        from reproject import reproject_interp
    except ImportError as exc:
        raise ParameterError(
            f"{source.name} is on another grid, and bringing it onto that of the gas needs the package "
            f'{exc.name!r}; install it with: pip install "hisatools[significance]", or give maps on one grid'
        ) from exc
    if _is_ecliptic(source.wcs) != _is_ecliptic(wcs):
        raise InputError(
            f"{source.name}: the map or the field is in ecliptic coordinates (ELON) and the other is not, "
            "and they cannot be brought together; give the map on the grid of the gas"
        )
    values, _ = reproject_interp((source.values.value, source.wcs), wcs, shape_out=tuple(shape))
    return values


def _is_ecliptic(wcs):
    return sky_frame(wcs).name == "barycentricmeanecliptic"


def _offset_pix(one, other, shape):
    """Largest distance on the sky between corners and centre of two grids, in pixels."""
    y, x = np.array([[0, 0], [0, 1], [1, 0], [1, 1], [0.5, 0.5]]).T * (np.array(shape)[:, None] - 1)
    first, second = (places_of_pixels(wcs, x, y) for wcs in (one, other))
    pixel = np.sqrt(np.prod(proj_plane_pixel_scales(other.celestial)))
    off = first.separation(second).deg / pixel
    return float(np.max(off)) if np.all(np.isfinite(off)) else np.inf
