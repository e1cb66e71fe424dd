"""The axes of a single spectrum that is to be searched as a cube of one pixel."""

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

from hisatools.errors import InputError, ParameterError
from hisatools.io.checks import check_n_channels
from hisatools.io.spectral import HI_REST_FREQUENCY

# Velocities may stray from even spacing by this fraction of a channel: rounding, not structure.
MAX_UNEVENNESS = 0.05
PIXEL_DEG = 1 / 60


def one_pixel_wcs(velocity, position=None):
    """The WCS of a cube of one pixel.

    Parameters
    ----------
    velocity : `~numpy.ndarray`, shape (n_v,), m/s
        Ascending or descending.
    position : `~astropy.coordinates.SkyCoord`, optional
        Of the pixel; without it l = b = 0.

    Returns
    -------
    `~astropy.wcs.WCS`
        Galactic longitude and latitude, with a pixel of 1 arcmin, and VRAD in the LSR.

    Raises
    ------
    InputError
        If the velocities are too few or not evenly spaced.
    ParameterError
        If the position is no SkyCoord.
    """
    if not isinstance(position, SkyCoord | None):
        raise ParameterError(
            f"position must be an astropy SkyCoord, got {position!r}; "
            f"write for example position=SkyCoord(l=10 * u.deg, b=0 * u.deg, frame='galactic')"
        )
    first, step = _even_steps(velocity)
    here = SkyCoord(0, 0, unit="deg", frame="galactic") if position is None else position.galactic
    sky = {
        "CTYPE1": "GLON-CAR", "CRVAL1": here.l.deg, "CDELT1": -PIXEL_DEG, "CRPIX1": 1.0, "CUNIT1": "deg",
        "CTYPE2": "GLAT-CAR", "CRVAL2": 0.0, "CDELT2": PIXEL_DEG, "CRPIX2": 1 - here.b.deg / PIXEL_DEG,
        "CUNIT2": "deg",
    }  # fmt: skip
    line = {"CTYPE3": "VRAD", "CRVAL3": first, "CDELT3": step, "CRPIX3": 1.0, "CUNIT3": "m/s"}
    frame = {"RESTFRQ": HI_REST_FREQUENCY.value, "SPECSYS": "LSRK"}
    return WCS(fits.Header({**sky, **line, **frame}))


def _even_steps(velocity):
    """First value and step of evenly spaced velocities."""
    n_channels = len(velocity)
    check_n_channels(n_channels, "the spectrum")
    step = (velocity[-1] - velocity[0]) / (n_channels - 1)
    straight = velocity[0] + step * np.arange(n_channels)
    if not np.all(np.abs(velocity - straight) <= MAX_UNEVENNESS * abs(step)) or step == 0:
        raise InputError(
            "the spectrum: the velocities are not evenly spaced; resample it first, for example with "
            "np.interp onto np.linspace(v.min(), v.max(), v.size)"
        )
    return velocity[0], step
