"""From a FITS file to a brightness temperature in K with its WCS: mend, cut, decode, convert."""

import logging
from dataclasses import dataclass, field
from pathlib import Path

import astropy.units as u
import numpy as np

from hisatools.io.beams import checked_beam, find_beam, find_channel_beams, solid_angle
from hisatools.io.edges import blank_edge_channels
from hisatools.io.files import choose_image, opened, read_box, sha256
from hisatools.io.headers import card_text, mend_header
from hisatools.io.mends import MendLog
from hisatools.io.regions import sky_cut, velocity_slice
from hisatools.io.units import brightness_unit, kelvin_per_unit
from hisatools.io.weights import read_weights

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Image:
    """What `read_image` finds in a file.

    Parameters
    ----------
    kelvin : `~numpy.ndarray` of float32, shape (n_v, n_y, n_x), C-contiguous
        Brightness temperature in K; NaN where blank.
    wcs : `~astropy.wcs.WCS`
        Longitude, latitude, radio velocity in m/s.
    beam : `~radio_beam.Beam` or None
    weights : `~numpy.ndarray` of float64, shape (n_y, n_x), or None
    meta : dict
        ``path``, ``sha256``, ``hdu``, ``object``, ``unit``, ``file_shape``, ``mends`` and, where
        given, ``velocity_range`` (km/s) and ``region``; JSON can hold it.
    """

    kelvin: np.ndarray
    wcs: object
    beam: object = None
    weights: np.ndarray = None
    meta: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Cut:
    """Which part of a file to read.

    Parameters
    ----------
    box : tuple of slice
        Channels, rows and columns.
    inside : `~numpy.ndarray` of bool, shape of rows and columns, or None
        False where a pixel of the box lies outside the region.
    """

    box: tuple
    inside: np.ndarray = None


def read_image(
    path,
    *,
    velocity_range=None,
    region=None,
    weights=None,
    beam=None,
    unit=None,
    hdu=None,
    rest_frequency=None,
):
    """Read, mend and cut a FITS cube; the parameters are those of `hisatools.cube.HISACube.read`.

    Returns
    -------
    `Image`
        Not yet checked: `hisatools.cube.HISACube` does that when it is made.

    Raises
    ------
    InputError
        If the file, its header, or the part asked for cannot be used.
    """
    path = Path(path)
    mends, source = MendLog(path), str(path)
    with opened(path) as hdus:
        number = choose_image(hdus, hdu, path, n_axes=3)
        header = hdus[number].header
        axes = mend_header(header, mends, rest_frequency=rest_frequency)
        shape = tuple(hdus[number].shape[-axis] for axis in reversed(axes.order))
        cut = _cut(velocity_range, region, axes.wcs, shape, source)
        unit = brightness_unit(unit, card_text(header, "BUNIT"), mends)
        beam, omega = _beam(checked_beam(beam), hdus, header, (shape[0], cut.box[0]), mends)
        kelvin = _decode(hdus[number], axes.order, cut.box, path)
    wcs = cut_wcs(axes.wcs, cut.box)
    to_kelvin(kelvin, unit, wcs, omega, source)
    blank_edge_channels(kelvin, header, cut.box[0], shape[0], mends)
    if cut.inside is not None:
        kelvin[:, ~cut.inside] = np.nan
    weights_source = str(weights) if isinstance(weights, str | Path) else None
    if weights is not None:
        weights = read_weights(weights, shape[1:], axes.wcs.celestial, source)[cut.box[1:]]
    meta = {
        "path": source,
        "sha256": sha256(path),
        "hdu": number,
        "object": card_text(header, "OBJECT"),
        "unit": str(unit),
        "weights": weights_source,
        "file_shape": list(shape),
        **_cut_meta(velocity_range, region),
        "mends": mends.texts,
    }
    logger.info("read %s: %d x %d x %d voxels, %d mends", source, *kelvin.shape, len(mends.texts))
    for mend in mends.texts:
        logger.debug("mended: %s", mend)
    return Image(kelvin, wcs, beam, weights, meta)


def channel_velocity(wcs, n_channels):
    """Velocities of the channels of a clean WCS: Quantity, shape (n_v,), km/s, in file order."""
    offset = np.arange(1, n_channels + 1) - wcs.wcs.crpix[2]
    return (wcs.wcs.crval[2] + offset * wcs.wcs.cdelt[2]) / 1e3 * u.km / u.s


def to_kelvin(values, unit, wcs, omega, source):
    """Turn brightness into K, in place.

    Parameters
    ----------
    values : `~numpy.ndarray` of float32, shape (n_v, n_y, n_x)
        Brightness in ``unit``; changed. NaN stays.
    unit : `~astropy.units.Unit`
        A temperature, a surface brightness or a flux per beam.
    wcs : `~astropy.wcs.WCS`
        Clean, of these voxels.
    omega : Quantity, solid angle, scalar or shape (n_v,), or None
        Of the beam.
    source : str
        The name of the input, for messages.
    """
    velocity = channel_velocity(wcs, values.shape[0])
    factor = kelvin_per_unit(unit, velocity, wcs.wcs.restfrq * u.Hz, omega, source)
    if np.ndim(factor):
        values *= factor.astype(np.float32)[:, None, None]
    elif factor != 1:
        values *= np.float32(factor)


def as_float32(values):
    """The values as C-contiguous float32 in native byte order, copied only where needed."""
    with np.errstate(over="ignore"):  # what overflows becomes infinite, and that is refused
        return np.ascontiguousarray(values, dtype=np.float32)


def cut_wcs(wcs, box):
    """The WCS of a box of slices (channels, rows, columns)."""
    cut = wcs.deepcopy()
    cut.wcs.crpix = wcs.wcs.crpix - [one.start for one in reversed(box)]
    cut.wcs.set()
    cut.pixel_shape = [one.stop - one.start for one in reversed(box)]
    return cut


def _cut(velocity_range, region, wcs, shape, source):
    channels, rows, columns = (slice(0, length) for length in shape)
    inside = None
    if velocity_range is not None:
        channels = velocity_slice(velocity_range, channel_velocity(wcs, shape[0]), source)
    if region is not None:
        (rows, columns), inside = sky_cut(region, wcs.celestial, shape[1:], source)
    return Cut((channels, rows, columns), inside)


def _cut_meta(velocity_range, region):
    meta = {}
    if velocity_range is not None:
        meta["velocity_range"] = sorted(float(one.to_value(u.km / u.s)) for one in velocity_range)
    if region is not None:
        meta["region"] = str(region)
    return meta


def _beam(given, hdus, header, channels, mends):
    """The beam that stands for the cube, and the solid angle for the conversion to K."""
    if given is not None:
        return given, solid_angle(given)
    n_channels, part = channels
    several = find_channel_beams(hdus, n_channels, mends)
    if several is not None:
        return several.largest_beam(), solid_angle(several)[part]
    beam = find_beam(header, mends)
    return beam, solid_angle(beam)


def _decode(image, order, box, path):
    """The voxels of the box as float32, axes brought to velocity, latitude, longitude."""
    n_axes = len(image.shape)
    index = [0] * n_axes
    for axis, part in zip(reversed(order), box, strict=True):
        index[n_axes - axis] = part
    values = read_box(image, tuple(index), path)
    kept = sorted(order, reverse=True)  # numpy order of the axes that are left
    return np.ascontiguousarray(values.transpose([kept.index(axis) for axis in reversed(order)]))
