"""Masks by hand: circles, ellipses, polygons and regions on the sky or in pixels, added call by call."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS
from regions import (
    CirclePixelRegion,
    CircleSkyRegion,
    EllipsePixelRegion,
    EllipseSkyRegion,
    PixCoord,
    PixelRegion,
    PolygonPixelRegion,
    PolygonSkyRegion,
    Regions,
    SkyRegion,
)

from hisatools.errors import HISAWarning, InputError, ParameterError, ParameterUnitsError
from hisatools.io.regions import _read_regions
from hisatools.parameters import check_number, check_quantity

__all__ = ["SkyMask"]


@dataclass(frozen=True, eq=False)
class SkyMask:
    """Sight lines that are left out of a measurement; each call returns a larger mask.

    What holds no pixel of the map adds nothing, and a `~hisatools.errors.HISAWarning` says so.

    Parameters
    ----------
    inside : `~numpy.ndarray` of bool, shape (n_y, n_x)
        True where a sight line is left out.
    wcs : `~astropy.wcs.WCS`
        Longitude and latitude of the map.
    parts : tuple of str
        What was added, with the number of pixels of each.

    Examples
    --------
    >>> import astropy.units as u
    >>> from astropy.coordinates import SkyCoord
    >>> from hisatools.noise import SkyMask
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> cube = simulate_cube(ModelParameters(shape=(8, 40, 40), n_pucks=1, n_components=50), seed=101).cube
    >>> mask = SkyMask.of(cube).circle(SkyCoord("140d 0d", frame="galactic"), 1.5 * u.arcmin)
    >>> mask = mask.circle((3, 4), 2)
    >>> print(*mask.parts, sep="; ")
    circle: 80 pixels; circle: 9 pixels
    """

    inside: np.ndarray
    wcs: WCS
    parts: tuple = ()
    # With None, numpy leaves ``array | mask`` to this class, which refuses it.
    __array_ufunc__ = None

    @classmethod
    def of(cls, cube):
        """An empty mask for a cube.

        Parameters
        ----------
        cube : `~hisatools.HISACube`
        """
        return cls(np.zeros(cube.shape[1:], bool), cube.wcs.celestial)

    def circle(self, centre, radius):
        """Add a circle.

        Parameters
        ----------
        centre : `~astropy.coordinates.SkyCoord`, or pair of float
            On the sky, or (x, y) in pixels counted from 0.
        radius : Quantity, angle, or float
            An angle with a position on the sky, a number of pixels with one in pixels.

        Returns
        -------
        SkyMask

        Raises
        ------
        ParameterError
            If the position is not one place, or the radius no size above 0 that goes with it.
        """
        on_sky = _on_sky(centre, radius=radius)
        kind = CircleSkyRegion if on_sky else CirclePixelRegion
        return self._with("circle", kind(_position(centre), radius))

    def ellipse(self, centre, width, height, angle=0 * u.deg):
        """Add an ellipse.

        Parameters
        ----------
        centre : `~astropy.coordinates.SkyCoord`, or pair of float
            As in `circle`.
        width, height : Quantity, angle, or float
            Whole axes: along longitude and latitude, or along x and y, before it is turned.
        angle : Quantity, angle
            Turned so far counter-clockwise from the longitude axis, as in DS9.

        Returns
        -------
        SkyMask

        Raises
        ------
        ParameterError
            As `circle`, or if the angle has no unit.
        """
        on_sky = _on_sky(centre, width=width, height=height)
        check_quantity("angle", angle, u.deg, above=-np.inf)
        kind = EllipseSkyRegion if on_sky else EllipsePixelRegion
        return self._with("ellipse", kind(_position(centre), width, height, angle))

    def polygon(self, vertices):
        """Add a polygon.

        Parameters
        ----------
        vertices : `~astropy.coordinates.SkyCoord`, shape (n,), or sequence of (x, y)
            At least three corners.

        Returns
        -------
        SkyMask

        Raises
        ------
        ParameterError
            If the corners are fewer, not finite, or no positions.
        """
        vertices = _corners(vertices)
        if isinstance(vertices, SkyCoord):
            return self._with("polygon", PolygonSkyRegion(vertices))
        return self._with("polygon", PolygonPixelRegion(PixCoord(*vertices.T)))

    def region(self, region):
        """Add what DS9 or the regions package describes.

        Parameters
        ----------
        region : `~regions.SkyRegion`, `~regions.PixelRegion`, `~regions.Regions`, or path
            A path is a DS9 region file. Regions marked as excluded are taken out of those given with them.

        Returns
        -------
        SkyMask
        """
        if isinstance(region, str | Path):
            found, name = list(_read_regions(Path(region))), Path(region).name
        else:
            found = list(region) if isinstance(region, Regions | list | tuple) else [region]
            name = "region"
        if not found or not all(isinstance(one, SkyRegion | PixelRegion) for one in found):
            raise ParameterError(
                f"region must be of the regions package or the path of a DS9 file, got {region!r}"
            )
        return self._with(name, *found)

    def __or__(self, other):
        """What either mask leaves out."""
        if not isinstance(other, SkyMask):
            raise ParameterError(
                f"a SkyMask can be joined with a SkyMask only, got {type(other).__name__}; write for example "
                "mask | SkyMask(array, mask.wcs)"
            )
        if other.inside.shape != self.inside.shape:
            raise InputError(
                f"masks of shape {self.inside.shape} and {other.inside.shape} cannot be joined; "
                "make both for one cube"
            )
        return SkyMask(self.inside | other.inside, self.wcs, (*self.parts, *other.parts))

    __ror__ = __or__

    def _with(self, name, *regions):
        added, excluded = (np.zeros(self.inside.shape, bool) for _ in range(2))
        for region in regions:
            is_out = region.meta.get("include", True) in (False, 0, "-")
            target = excluded if is_out else added
            target |= self._pixels(region)
        added &= ~excluded
        part = f"{name}: {int(added.sum())} pixels"
        if not added.any():
            n_y, n_x = added.shape
            warnings.warn(
                f"{name}: no pixel centre of the map of {n_x} x {n_y} pixels lies in it, nothing is added; "
                "compare its place and size with those of the map",
                HISAWarning,
                stacklevel=3,
            )
        return SkyMask(self.inside | added, self.wcs, (*self.parts, part))

    def _pixels(self, region):
        """Map of the pixels whose centres lie in one region."""
        try:
            in_pixels = region.to_pixel(self.wcs) if isinstance(region, SkyRegion) else region
            image = in_pixels.to_mask(mode="center").to_image(self.inside.shape)
        except NotImplementedError:
            raise InputError(
                f"a {type(region).__name__} covers no area; give a circle, ellipse, box or polygon"
            ) from None
        return np.zeros(self.inside.shape, bool) if image is None else image > 0


def _on_sky(centre, **sizes):
    """Whether a position is on the sky; its sizes must be angles then, and plain numbers otherwise."""
    on_sky = isinstance(centre, SkyCoord)
    for name, size in sizes.items():
        if on_sky and not (isinstance(size, u.Quantity) and size.unit.is_equivalent(u.deg)):
            raise ParameterUnitsError(
                f"{name} needs a unit of angle with a position on the sky, got {size!r}; "
                f"write for example {name}=5 * u.arcmin"
            )
        if not on_sky and isinstance(size, u.Quantity):
            raise ParameterUnitsError(
                f"{name} must be a number of pixels with a position in pixels, got {size!r}; "
                f"write for example {name}=12, or give a SkyCoord"
            )
        if on_sky:
            check_quantity(name, size, u.arcmin)
        else:
            check_number(name, size)
    return on_sky


def _position(centre):
    if isinstance(centre, SkyCoord):
        if centre.isscalar and _finite(centre):
            return centre
    else:
        pair = _numbers(centre)
        if pair is not None and pair.shape == (2,) and np.isfinite(pair).all():
            return PixCoord(*map(float, pair))
    raise ParameterError(
        f"centre must be one position, a SkyCoord or (x, y) in pixels, got {centre!r}; "
        "write for example (12, 30)"
    )


def _corners(vertices):
    """The corners of a polygon: SkyCoord of shape (n,), or array of shape (n, 2)."""
    corners = vertices if isinstance(vertices, SkyCoord) else _numbers(vertices)
    if isinstance(vertices, SkyCoord):
        fine = vertices.ndim == 1 and _finite(vertices)
    else:
        fine = corners is not None and corners.ndim == 2 and corners.shape[1] == 2
        fine = fine and np.isfinite(corners).all()
    if not fine:
        raise ParameterError(
            f"vertices must be finite corners, one SkyCoord of shape (n,) or pairs (x, y), got {vertices!r}; "
            "write for example [(3, 3), (9, 3), (6, 8)]"
        )
    if len(corners) < 3:
        raise ParameterError(f"vertices must be three or more, got {len(corners)}")
    return corners


def _numbers(values):
    """An array of numbers, also from an iterator; None for what is none."""
    try:
        return np.asarray(values if isinstance(values, str | np.ndarray) else list(values), float)
    except (TypeError, ValueError):
        return None


def _finite(position):
    return bool(np.isfinite(position.spherical.lon).all() and np.isfinite(position.spherical.lat).all())
