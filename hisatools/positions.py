"""Which pixel and which channel is meant: positions on the sky and velocities turned into indices."""

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord

from hisatools.catalog import sky_frame
from hisatools.errors import ParameterError

__all__ = ["known_position", "nearest_channel", "sky_pixel", "sky_position"]


def sky_pixel(wcs, shape, position):
    """The pixel that a position falls on.

    Parameters
    ----------
    wcs : `~astropy.wcs.WCS`
        With the two sky axes first.
    shape : tuple of int
        Of the cube, (n_v, n_y, n_x).
    position : `~astropy.coordinates.SkyCoord` or (float, float) or None
        A position on the sky or a pixel (y, x), from 0 at the centre of the first; the nearest one is taken.
        None is the only pixel of a single spectrum.

    Returns
    -------
    (int, int)
        (y, x).

    Raises
    ------
    ParameterError
        If the position lies outside the cube, or is neither of the two, or is more than one.

    Examples
    --------
    >>> from astropy.coordinates import SkyCoord
    >>> from hisatools.datasets import example_model
    >>> from hisatools.positions import sky_pixel
    >>> cube = example_model().cube
    >>> sky_pixel(cube.wcs, cube.shape, SkyCoord(139.6, 0.1, unit="deg", frame="galactic"))
    (124, 184)
    """
    n_y, n_x = shape[-2:]
    if position is None:
        if (n_y, n_x) != (1, 1):
            raise ParameterError(
                f"which of the {n_y} x {n_x} sight lines is meant? Give position=(y, x) or a SkyCoord"
            )
        return 0, 0
    y, x = nearest_pixel(wcs, position)
    if not (0 <= y < n_y and 0 <= x < n_x):
        raise ParameterError(f"position ({y}, {x}) is not in the cube of {n_y} x {n_x} pixels (y, x)")
    return y, x


def nearest_pixel(wcs, position):
    """The pixel (y, x) of a position, also outside of a cube; otherwise as `sky_pixel`."""
    if isinstance(position, SkyCoord):
        if not position.isscalar:
            raise ParameterError(
                f"position must be one place, got a SkyCoord of shape {position.shape}; write position[0]"
            )
        sky = position.transform_to(sky_frame(wcs)).spherical
        x, y = wcs.celestial.wcs_world2pix(sky.lon.deg, sky.lat.deg, 0)
        position = (float(y), float(x))
    try:
        y, x = (np.floor(float(pixel) + 0.5) for pixel in position)
        return int(y), int(x)
    except (TypeError, ValueError, OverflowError):
        raise ParameterError(f"position must be a SkyCoord or a pixel (y, x), got {position!r}") from None


def sky_position(wcs, y, x):
    """The centre of a pixel.

    Parameters
    ----------
    wcs : `~astropy.wcs.WCS`
        With the two sky axes first.
    y, x : float
        Pixel, from 0.

    Returns
    -------
    `~astropy.coordinates.SkyCoord`
        In the frame of the axes.

    Examples
    --------
    >>> from hisatools.datasets import example_model
    >>> from hisatools.positions import sky_position
    >>> place = sky_position(example_model().cube.wcs, 124, 184)
    >>> place.name, place.to_string(precision=4)
    ('galactic', '139.5975 0.1025')
    """
    lon, lat = wcs.celestial.wcs_pix2world([[x, y]], 0)[0]
    return SkyCoord(lon, lat, unit="deg", frame=sky_frame(wcs))


def known_position(cube, y, x):
    """`sky_position` of a pixel of a cube; None for a spectrum that was given without its position.

    Examples
    --------
    >>> from astropy.coordinates import SkyCoord
    >>> from hisatools import HISACube
    >>> from hisatools.datasets import load_lab_profiles
    >>> from hisatools.positions import known_position
    >>> lab = load_lab_profiles()
    >>> print(known_position(HISACube.from_spectrum(lab["t_l10"], lab["velocity"]), 0, 0))
    None
    >>> position = SkyCoord("10d 0d", frame="galactic")
    >>> spectrum = HISACube.from_spectrum(lab["t_l10"], lab["velocity"], position=position)
    >>> known_position(spectrum, 0, 0).to_string()
    '10 0'
    """
    return None if cube.meta.get("position") == "not known" else sky_position(cube.wcs, y, x)


def nearest_channel(speeds, velocity):
    """The channel nearest to a velocity.

    Parameters
    ----------
    speeds : `~astropy.units.Quantity`, shape (n_v,), velocity
        Of the channels, in file order.
    velocity : `~astropy.units.Quantity`, scalar, velocity

    Returns
    -------
    int

    Raises
    ------
    ParameterError
        If the velocity has no unit, is not one, or lies more than a channel outside the cube.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools.datasets import example_model
    >>> from hisatools.positions import nearest_channel
    >>> speeds = example_model().cube.velocity
    >>> channel = nearest_channel(speeds, -41 * u.km / u.s)
    >>> print(channel, speeds[channel].round(2))
    17 -41.24 km / s
    """
    wanted = one_velocity(velocity).to(speeds.unit)
    offset = np.abs(speeds - wanted)
    width = np.abs(speeds[-1] - speeds[0]) / max(speeds.size - 1, 1)
    # A single channel tells no width: it stands for velocities within 1 km/s.
    if not offset.min() <= max(width, (speeds.size == 1) * u.km / u.s):
        raise ParameterError(
            f"velocity {wanted:.1f} is not in the cube ({speeds.min():.1f} to {speeds.max():.1f})"
        )
    return int(np.argmin(offset))


def one_velocity(velocity):
    """A velocity as a scalar Quantity in km/s; ParameterError if it is none."""
    try:
        wanted = u.Quantity(velocity).to(u.km / u.s)
    except (u.UnitConversionError, TypeError):
        raise ParameterError(f"velocity needs a unit, got {velocity}; write -41 * u.km / u.s") from None
    if not wanted.isscalar:
        raise ParameterError(f"velocity must be one value, got an array of shape {wanted.shape}")
    return wanted
