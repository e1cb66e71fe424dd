"""A single-dish cube on the grid of a cube with higher resolution, and what any second cube must fulfil."""

import astropy.units as u
import numpy as np
from astropy.stats import gaussian_fwhm_to_sigma

from hisatools.errors import InputError, ParameterError
from hisatools.io.sky import pixels_of_places, places_of_pixels

# A pixel or channel whose centre is this far beyond the outermost centre still counts as covered.
MARGIN = 0.5
# A corner of a smaller weight takes no part in the interpolation.
LEAST_WEIGHT = 1e-6


class LowResolution:
    """Brightness of a single-dish cube at the pixels and channels of another cube.

    Interpolation is linear between pixels on the sky, and linear in velocity.

    Parameters
    ----------
    low : `~hisatools.HISACube`
        The single-dish cube, with its beam.
    cube : `~hisatools.HISACube`
        Whose grid it is put on.
    index : `~numpy.ndarray` of int64, shape (n,), n > 0
        Places in the flattened ``cube`` where it is wanted.
    noise : `~astropy.units.Quantity`, temperature
        Rms of the noise; 0 has it measured.

    Raises
    ------
    InputError
        If a place is not covered, or the beam, the frame of the velocities or the position is not known.

    Attributes
    ----------
    scale_pix : float
        sigma of its beam, in pixels of ``cube``.
    noise_kelvin : float
    """

    def __init__(self, low, cube, index, noise):
        check_frames("low_resolution", low, cube)
        check_position("low_resolution", low, cube)
        check_beam(low)
        fwhm = np.sqrt(low.beam.major * low.beam.minor)
        self.scale_pix = float((fwhm / cube.pixel_scale).to_value("") * gaussian_fwhm_to_sigma)
        self.noise_kelvin = noise.to_value(u.K) or second_difference_rms(low.kelvin)
        self._kelvin = low.kelvin
        n_y, n_x = cube.shape[1:]
        self._n_x = n_x
        channel, sky = np.divmod(index, n_y * n_x)
        self._channels = _channel_positions(low, cube, np.unique(channel))
        self._sky = np.unique(sky)
        self._corners = _corners(*_sky_positions(low, cube, np.divmod(self._sky, n_x)), low.shape[1:])

    def at(self, channel, pixels):
        """Brightness at pixels of a channel of the other cube.

        Parameters
        ----------
        channel : int
            One that ``index`` has a place in.
        pixels : tuple of `~numpy.ndarray` of int
            (y, x), among those of ``index``.

        Returns
        -------
        `~numpy.ndarray`, shape of y
            K; NaN where the single-dish cube is blank.
        """
        position = self._channels[channel]
        lower = int(position)
        share = position - lower
        values = self._interpolated(lower)
        if share > LEAST_WEIGHT:
            values = (1 - share) * values + share * self._interpolated(lower + 1)
        return values[np.searchsorted(self._sky, pixels[0] * self._n_x + pixels[1])]

    def _interpolated(self, channel):
        total = np.zeros(self._sky.size)
        for y, x, weight in self._corners:
            total += np.where(weight > LEAST_WEIGHT, weight * self._kelvin[channel, y, x], 0)
        return total


def second_difference_rms(kelvin):
    """Rms of the noise from second differences between channels, robust; 0 if there are fewer than three.

    Parameters
    ----------
    kelvin : `~numpy.ndarray`, shape (n_v, n_y, n_x)
        NaN is left out.

    Returns
    -------
    float
        Right for noise that is independent between channels; too small where it is not.
    """
    second = kelvin[2:] - 2 * kelvin[1:-1] + kelvin[:-2]
    second = second[np.isfinite(second)]
    return float(1.4826 * np.median(np.abs(second)) / np.sqrt(6)) if second.size else 0.0


def check_is_cube(name, value):
    """Return a further input that is a cube or None, or say what to type instead: `ParameterError`."""
    from hisatools.cube import HISACube

    if value is not None and not isinstance(value, HISACube):
        raise ParameterError(
            f"{name} must be a HISACube, got {value!r}; write {name}=HISACube.read('{name}.fits')"
        )
    return value


def check_beam(low):
    """Raise `~hisatools.errors.InputError` if the beam of a single-dish cube is not known."""
    if low.beam is None:
        raise InputError(
            "low_resolution: the beam of the single-dish cube is not known; read it with "
            "HISACube.read(path, beam=Beam(9.4 * u.arcmin))"
        )


def check_frames(name, other, cube):
    """Raise `~hisatools.errors.InputError` if the velocities of two cubes are of different frames."""
    frames = {one.wcs.wcs.specsys for one in (other, cube)} - {""}
    if len(frames) > 1:
        raise InputError(
            f"{name}: its velocities are {other.wcs.wcs.specsys}, those of the cube "
            f"{cube.wcs.wcs.specsys}; convert one of them"
        )


def check_position(name, other, cube):
    """Raise `~hisatools.errors.InputError` if the position of either cube, a spectrum, is not known."""
    for one, whose in ((other, "its position"), (cube, "the position of the spectrum")):
        if one.meta.get("position") == "not known":
            raise InputError(
                f"{name}: {whose} is not known; give HISACube.from_spectrum(..., position=SkyCoord(...))"
            )


def check_overlap(name, other, cube):
    """Raise `~hisatools.errors.InputError` if a cube has no channel or no pixel of another.

    Parameters
    ----------
    name : str
        How the user knows ``other``.
    other, cube : `~hisatools.HISACube`
        Of the same frame, both with positions.
    """
    own, wanted = other.velocity.value, cube.velocity.value
    reach = MARGIN * (other.channel_width.value + cube.channel_width.value)
    if own.min() > wanted.max() + reach or own.max() < wanted.min() - reach:
        raise InputError(
            f"{name}: covers {own.min():.2f} to {own.max():.2f} km/s, the cube {wanted.min():.2f} to "
            f"{wanted.max():.2f} km/s; take one that covers the same velocities"
        )
    y, x = np.indices(cube.shape[1:]).reshape(2, -1)
    if not _inside(*_sky_pixels(other, cube, (y, x)), other.shape[1:]).any():
        raise InputError(f"{name}: is of another part of the sky than the cube; take one of the same field")


def _channel_positions(low, cube, channels):
    """Places of the wanted channels on the velocity axis of the single-dish cube: a dictionary."""
    own, wanted = low.velocity.value, cube.velocity.value[channels]
    step = low.channel_width.value * (-1 if own[-1] < own[0] else 1)
    position = (wanted - own[0]) / step
    missing = (position < -MARGIN) | (position > own.size - 1 + MARGIN)
    if missing.any():
        raise InputError(
            f"low_resolution: covers {own.min():.2f} to {own.max():.2f} km/s, but there is absorption at "
            f"{wanted[missing].min():.2f} to {wanted[missing].max():.2f} km/s beyond; take a cube that "
            "covers it, or leave these channels out of the mask"
        )
    return dict(zip(channels.tolist(), np.clip(position, 0, own.size - 1).tolist(), strict=True))


def _sky_positions(low, cube, pixels):
    """Pixels (y, x) of the single-dish cube at pixels (y, x) of the cube."""
    y, x = _sky_pixels(low, cube, pixels)
    missing = ~_inside(y, x, low.shape[1:])
    if missing.any():
        where = places_of_pixels(cube.wcs, pixels[1][missing][0], pixels[0][missing][0])
        first = where.to_string(precision=3)
        raise InputError(
            f"low_resolution: does not cover {np.count_nonzero(missing)} of the {missing.size} pixels that "
            f"have absorption, the first at {first} deg; take a cube that covers them"
        )
    return y, x


def _sky_pixels(other, cube, pixels):
    """Where pixels (y, x) of a cube lie in another cube, (y, x), whether or not within it."""
    x, y = pixels_of_places(other.wcs, places_of_pixels(cube.wcs, pixels[1], pixels[0]))
    return np.asarray(y), np.asarray(x)


def _inside(y, x, shape):
    y_inside, x_inside = (
        (place >= -MARGIN) & (place <= size - 1 + MARGIN) for place, size in zip((y, x), shape, strict=True)
    )
    return y_inside & x_inside


def _corners(y, x, shape):
    """The four pixels about each position and their weights in linear interpolation."""
    nodes = []
    for place, size in zip((y, x), shape, strict=True):
        place = np.clip(place, 0, size - 1)
        lower = np.minimum(place.astype(int), max(size - 2, 0))
        upper = np.minimum(lower + 1, size - 1)
        nodes.append(((lower, 1 - (place - lower)), (upper, place - lower)))
    return [(iy, ix, wy * wx) for iy, wy in nodes[0] for ix, wx in nodes[1]]
