"""Whether two things lie on the same pixels and channels."""

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.wcs.utils import proj_plane_pixel_area

from hisatools.io.reading import channel_velocity
from hisatools.io.sky import sky_frame

__all__ = ["SAME_PLACE", "sky_offset_pix", "velocity_offset_chan"]

# In pixels and channels: rounding in a header is far below, another grid far above.
SAME_PLACE = 0.01
# Corners and centre, as shares of the map along y and along x.
SKY_PLACES = (0, 0, 1, 1, 0.5), (0, 1, 0, 1, 0.5)


def sky_offset_pix(one, other, shape):
    """How far the corners and the centre of a map lie apart in two coordinate systems.

    Parameters
    ----------
    one, other : `~astropy.wcs.WCS`
        With sky axes.
    shape : tuple of int
        (..., n_y, n_x).

    Returns
    -------
    float
        The largest distance in pixels of ``other``; infinite if one of them has no sky.

    Examples
    --------
    >>> from hisatools.io.same_axes import sky_offset_pix
    >>> from hisatools.simulate import ModelParameters, model_wcs
    >>> one = model_wcs(ModelParameters(shape=(8, 40, 40)))
    >>> other = one.deepcopy()
    >>> other.wcs.crpix[0] += 3
    >>> round(sky_offset_pix(one, other, (8, 40, 40)), 3)
    3.0
    """
    if not (one.has_celestial and other.has_celestial):
        return np.inf
    y, x = ((n - 1) * np.array(share) for n, share in zip(shape[-2:], SKY_PLACES, strict=True))
    places = [
        SkyCoord(*wcs.celestial.wcs_pix2world(x, y, 0), unit="deg", frame=sky_frame(wcs))
        for wcs in (one, other)
    ]
    on_sky = np.isfinite(places[0].spherical.lon) | np.isfinite(places[1].spherical.lon)
    off = places[1][on_sky].separation(places[0][on_sky]).deg
    return float(np.max(off, initial=0.0) / np.sqrt(proj_plane_pixel_area(other.celestial)))


def velocity_offset_chan(one, other, n_channels):
    """How far the ends of a velocity axis lie apart in two coordinate systems.

    Parameters
    ----------
    one, other : `~astropy.wcs.WCS`
        With velocity as the third axis.
    n_channels : int

    Returns
    -------
    float
        The larger distance in channels of ``other``; infinite if one of them has no velocity axis.

    Examples
    --------
    >>> from hisatools.io.same_axes import velocity_offset_chan
    >>> from hisatools.simulate import ModelParameters, model_wcs
    >>> one = model_wcs(ModelParameters(shape=(8, 40, 40)))
    >>> other = one.deepcopy()
    >>> other.wcs.crval[2] += 0.5 * other.wcs.cdelt[2]
    >>> round(velocity_offset_chan(one, other, 8), 3)
    0.5
    """
    if any(wcs.naxis != 3 or not wcs.wcs.ctype[2].startswith("VRAD") for wcs in (one, other)):
        return np.inf
    ends = [0, n_channels - 1]
    mine, theirs = (channel_velocity(wcs, n_channels)[ends] for wcs in (one, other))
    step = abs(other.wcs.cdelt[2]) * u.Unit(other.wcs.cunit[2])
    return float(np.max(np.abs((mine - theirs) / step).to_value("")))
