"""Mending the sky axes: units, projections, equinoxes, and the plain grid that surveys call CAR."""

import astropy.units as u
import numpy as np
from astropy.coordinates import BarycentricMeanEcliptic, SkyCoord, angular_separation
from astropy.wcs.utils import wcs_to_celestial_frame

from hisatools.io.units import axis_unit


def sky_frame(wcs):
    """The celestial frame of a cube.

    Parameters
    ----------
    wcs : `~astropy.wcs.WCS`
        With the two sky axes first.

    Returns
    -------
    `~astropy.coordinates.BaseCoordinateFrame`

    Examples
    --------
    >>> from astropy.wcs import WCS
    >>> from hisatools.catalog import sky_frame
    >>> from hisatools.datasets import example_model
    >>> sky_frame(example_model().cube.wcs).name
    'galactic'
    >>> wcs = WCS(naxis=2)
    >>> wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    >>> wcs.wcs.equinox = 1950
    >>> sky_frame(wcs).name
    'fk4'
    """
    if wcs.wcs.ctype[0].startswith("ELON"):  # which astropy does not tell from the WCS
        return BarycentricMeanEcliptic()
    return wcs_to_celestial_frame(wcs.celestial)


def places_of_pixels(wcs, x, y):
    """Places of pixels on the sky; ``pixel_to_world`` takes ecliptic coordinates for ICRS.

    Parameters
    ----------
    wcs : `~astropy.wcs.WCS`
        With the two sky axes first.
    x, y : array_like
        Counted from 0.

    Returns
    -------
    `~astropy.coordinates.SkyCoord`
        In `sky_frame`; NaN off the sky.
    """
    return SkyCoord(*wcs.celestial.wcs_pix2world(x, y, 0), unit="deg", frame=sky_frame(wcs))


def pixels_of_places(wcs, sky):
    """Pixels (x, y), counted from 0, of places on the sky in any frame; see `places_of_pixels`."""
    places = sky.transform_to(sky_frame(wcs)).spherical
    return wcs.celestial.wcs_world2pix(places.lon.deg, places.lat.deg, 0)


def mend_sky_axes(cards, pair, mends):
    """Bring unit, projection and equinox of the sky axes to the standard's spelling, in place.

    Parameters
    ----------
    cards : `~astropy.io.fits.Header`
        Changed in place.
    pair : tuple of int
        FITS numbers, from 1, of the longitude and latitude axes.
    mends : `~hisatools.io.mends.MendLog`
        Takes a record of every assumption.

    Raises
    ------
    InputError
        If a unit is not known.
    """
    for axis in pair:
        key = f"CUNIT{axis}"
        text = str(cards.get(key, "")).strip()
        cards[key] = axis_unit(text, key, mends).to_string("fits") if text else "deg"
        name = str(cards[f"CTYPE{axis}"]).strip().upper()
        if "-" not in name:
            mends.add(f"CTYPE{axis} {name!r} names no projection: a plain grid (CAR) assumed")
            name = f"{name:-<5}CAR"
        cards[f"CTYPE{axis}"] = name
    _mend_equinox(cards, str(cards[f"CTYPE{pair[0]}"]), mends)


def straighten_plate_carree(wcs, mends):
    """Read a CAR projection with CRVAL2 != 0 as the plain grid that surveys mean, in place.

    By the letter of the standard such a header is an oblique projection: 34 arcsec off at the
    corners of a CGPS mosaic at b = 3 degrees. With the reference moved to the equator, the
    projection is the plain grid ``b = CRVAL2 + (pixel - CRPIX2) CDELT2``.

    Parameters
    ----------
    wcs : `~astropy.wcs.WCS`
        Longitude, latitude and any third axis, without CD matrix; changed in place.
    mends : `~hisatools.io.mends.MendLog`
        Takes a record of the shift.
    """
    crval = wcs.wcs.crval
    if not wcs.wcs.ctype[0].endswith("-CAR") or crval[1] == 0:
        return
    before = wcs.celestial
    latitude = crval[1]
    matrix = wcs.pixel_scale_matrix[:2, :2]
    shift = np.linalg.solve(matrix, [0.0, latitude])
    wcs.wcs.crpix = [*(wcs.wcs.crpix[:2] - shift), *wcs.wcs.crpix[2:]]
    wcs.wcs.crval = [crval[0], 0.0, *crval[2:]]
    wcs.wcs.lonpole, wcs.wcs.latpole = 0.0, 90.0
    wcs.wcs.set_pv([])
    wcs.wcs.set()
    mends.add(
        f"CAR projection with CRVAL2 = {latitude:.6g} deg taken as a plain grid in longitude and latitude, "
        f"not an oblique one (a difference of {_shift_at_corner(before, wcs.celestial):.1f} arcsec "
        f"512 pixels from the reference)"
    )


def _mend_equinox(cards, lon_type, mends):
    """Drop an equinox that is meaningless: of Galactic coordinates, or out of this world."""
    if lon_type.startswith("GLON"):
        for key in ("EQUINOX", "EPOCH", "RADESYS", "RADECSYS"):
            cards.remove(key, ignore_missing=True)
        return
    for key in ("EQUINOX", "EPOCH"):
        if key not in cards:
            continue
        try:
            usable = 1800 < float(cards[key]) < 2200
        except (TypeError, ValueError):
            usable = False
        if not usable:
            frame = "the frame of RADESYS" if "RADESYS" in cards else "ICRS"
            mends.add(f"{key} = {cards[key]!r} is no year: {frame} assumed")
            del cards[key]


def _shift_at_corner(before, after):
    """Angle in arcsec between two WCS at 512 x 512 pixels from the first one's reference."""
    offsets = np.array([[-512, -512], [512, -512], [-512, 512], [512, 512]])
    x, y = (before.wcs.crpix + offsets - 1).T
    pairs = [np.radians(wcs.pixel_to_world_values(x, y)) for wcs in (before, after)]
    return np.degrees(np.nanmax(angular_separation(*pairs[0], *pairs[1]))) * u.deg.to(u.arcsec)
