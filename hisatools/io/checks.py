"""What a cube must be before it can be searched; each fault is one line with its cure."""

import astropy.units as u
import numpy as np
from astropy.coordinates import angular_separation

from hisatools.errors import InputError

MIN_CHANNELS = 3
MAX_ROTATION_DEG = 0.5
MAX_PIXEL_RATIO = 1.05


def check_brightness(kelvin, source):
    """Refuse a cube with too few channels, infinities, or nothing in it.

    Parameters
    ----------
    kelvin : `~numpy.ndarray`, shape (n_v, n_y, n_x)
        Brightness temperature in K; NaN where blank.
    source : str
        The name of the input, for messages.

    Raises
    ------
    InputError
        If there are fewer than three channels, any value is infinite, all are NaN, or all
        finite ones are equal.
    """
    if kelvin.ndim != 3:
        raise InputError(
            f"{source}: the data have {kelvin.ndim} axes; velocity, latitude and longitude are needed"
        )
    check_n_channels(kelvin.shape[0], source)
    _check_infinite(kelvin, source)
    low, high = _range(kelvin)
    if low > high:
        raise InputError(f"{source}: all voxels are blank (NaN); check the file, or the part that was cut")
    if low == high and kelvin.size > 1:
        raise InputError(
            f"{source}: all voxels have the same value ({low:g} K), there is no emission; check the file"
        )


def check_n_channels(n_channels, source):
    """Refuse a spectral axis on which no line can be told from its surroundings."""
    if n_channels < MIN_CHANNELS:
        raise InputError(
            f"{source}: {n_channels} channel{'s' if n_channels != 1 else ''}; the search needs "
            f"{MIN_CHANNELS} or more, give a cube with more of the line"
        )


def check_sky(wcs, shape, source):
    """Refuse a sky that is rotated against the pixels, or pixels far from square.

    Parameters
    ----------
    wcs : `~astropy.wcs.WCS`
        Longitude, latitude, velocity.
    shape : tuple of int
        (n_v, n_y, n_x).
    source : str
        The name of the input, for messages.

    Returns
    -------
    Quantity, scalar, arcmin
        Side of a pixel at the centre of the field, mean of both axes.

    Raises
    ------
    InputError
        If the rotation exceeds 0.5 degrees or the sides differ by more than 5 %.
    """
    matrix = wcs.pixel_scale_matrix[:2, :2]
    off, along = np.abs([matrix[0, 1], matrix[1, 0]]), np.abs(np.diag(matrix))
    rotation = np.degrees(np.arctan2(off, along)).max()
    if rotation > MAX_ROTATION_DEG:
        raise InputError(
            f"{source}: the sky axes are rotated by {rotation:.1f} deg against the pixels (CROTA, PC or CD); "
            f"reproject the cube to axes along longitude and latitude, for example with the reproject package"
        )
    sides = pixel_sides(wcs, shape)
    if not np.all(np.isfinite(sides)) or np.min(sides) <= 0:
        raise InputError(
            f"{source}: the centre of the field is not on the sky; correct CRPIX and CDELT in the header"
        )
    if np.max(sides) > MAX_PIXEL_RATIO * np.min(sides):
        raise InputError(
            f"{source}: pixels of {sides[0]:.4g} x {sides[1]:.4g} arcmin on the sky are not square; "
            f"reproject the cube to square pixels, for example with the reproject package"
        )
    return np.mean(sides) * u.arcmin


def check_weights(weights, shape, source):
    """The weights as float64, one a sight line; NaN means none.

    Parameters
    ----------
    weights : array_like, shape (n_y, n_x)
        Mosaic weight of each sight line.
    shape : tuple of int
        (n_y, n_x) of the cube.
    source : str
        The name of the input, for messages.

    Returns
    -------
    `~numpy.ndarray` of float64, shape (n_y, n_x)

    Raises
    ------
    InputError
        If the shape differs, or a weight is negative or infinite, or none is positive.
    """
    weights = np.array(weights, dtype=float)
    if weights.shape != tuple(shape):
        raise InputError(
            f"{source}: weights of shape {weights.shape} do not fit maps of shape {tuple(shape)} (n_y, n_x); "
            f"give one weight a sight line"
        )
    if np.any(weights < 0) or np.any(np.isinf(weights)):
        raise InputError(
            f"{source}: weights must be 0 or above and finite, got {np.nanmin(weights):g} to "
            f"{np.nanmax(weights):g}; is it the map of weights?"
        )
    if not np.any(weights > 0):
        raise InputError(f"{source}: no weight is above 0; is it the map of weights?")
    return weights


def _check_infinite(kelvin, source):
    """Count infinities one channel at a time: no mask of the whole cube is made."""
    counts = [int(np.isinf(channel).sum()) for channel in kelvin]
    if not any(counts):
        return
    first = next(number for number, count in enumerate(counts) if count)
    y, x = np.argwhere(np.isinf(kelvin[first]))[0]
    raise InputError(
        f"{source}: {sum(counts)} infinite voxel{'s' if sum(counts) > 1 else ''}, the first at array index "
        f"[{first}, {y}, {x}] (channel, row, column); set them to NaN if they are blank"
    )


def _range(kelvin):
    """Least and greatest value, NaN ignored; (inf, -inf) where there is none."""
    low = min(float(np.fmin.reduce(channel, axis=None, initial=np.inf)) for channel in kelvin)
    high = max(float(np.fmax.reduce(channel, axis=None, initial=-np.inf)) for channel in kelvin)
    return low, high


def pixel_sides(wcs, shape):
    """Width and height on the sky of the pixel at the centre of the field.

    Parameters
    ----------
    wcs : `~astropy.wcs.WCS`
        Longitude, latitude, velocity.
    shape : tuple of int
        (n_v, n_y, n_x).

    Returns
    -------
    `~numpy.ndarray`, shape (2,), arcmin
    """
    x, y = (shape[2] - 1) / 2, (shape[1] - 1) / 2
    xs, ys = np.array([x - 0.5, x + 0.5, x, x]), np.array([y, y, y - 0.5, y + 0.5])
    lon, lat = np.radians(wcs.celestial.pixel_to_world_values(xs, ys))
    return np.degrees(angular_separation(lon[::2], lat[::2], lon[1::2], lat[1::2])) * 60.0
