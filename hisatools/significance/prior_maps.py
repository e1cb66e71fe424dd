"""Reading maps and cubes with a WCS, and their values on the samples of a prior."""

import warnings
from dataclasses import dataclass, field
from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.io import fits
from astropy.nddata import block_reduce
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_area

from hisatools.catalog import sky_frame
from hisatools.cube import HISACube
from hisatools.errors import HISAWarning, InputError, ParameterError
from hisatools.io.files import DAMAGE, choose_image, opened, read_box
from hisatools.io.headers import _axis_types, _build_wcs, _find_sky_axes, _wcs_cards, mend_header
from hisatools.io.mends import MendLog
from hisatools.io.reading import channel_velocity
from hisatools.io.sky import mend_sky_axes, straighten_plate_carree
from hisatools.io.spectral import SPECTRAL_TYPES
from hisatools.significance.prior_grid import INFINITE, LEAST_KNOWN, interpolated, unmasked

__all__ = ["SkyMap", "read_map", "say_other_frame"]

# Projections whose rows are circles of latitude, complete in themselves: x may be a whole turn off.
CYLINDRICAL = ("CAR", "CEA", "MER", "CYP")
# Of a pixel or a channel: nearer than this to its centre is on it, as a WCS says only up to rounding.
ON_CENTRE = 1e-6
# A map goes all around the sky if its last pixel ends so near to its first one, in pixels.
SEAM_PIX = 0.01


@dataclass(frozen=True, eq=False)
class SkyMap:
    """A map or a cube with a WCS.

    Parameters
    ----------
    values : `~numpy.ndarray`, shape (n_y, n_x) or (n_v, n_y, n_x)
        NaN where not known.
    wcs : `~astropy.wcs.WCS`
        Longitude and latitude, and for a cube VRAD in m/s.
    source : str
        Its name, for messages.
    mends : tuple of str
        What was assumed about it.

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools.significance.prior_maps import SkyMap
    >>> from hisatools.residual_mask.simulated import map_wcs
    >>> dust = SkyMap(np.ones((30, 40)), map_wcs((30, 40)), "dust")
    >>> round(dust.pixel_deg * 60, 3), dust.binned(2 / 60).values.shape
    (1.0, (15, 20))
    """

    values: np.ndarray
    wcs: WCS
    source: str
    mends: tuple = field(default=())

    @property
    def pixel_deg(self):
        """Side of a pixel."""
        return float(np.sqrt(proj_plane_pixel_area(self.wcs.celestial)))

    def binned(self, sample_deg):
        """The map averaged over as many of its pixels as fit between two samples."""
        factor = int(sample_deg / self.pixel_deg * (1 + 1e-6))
        if factor < 2:
            return self
        n_y, n_x = self.values.shape[-2:]
        margins = [(0, 0)] * (self.values.ndim - 2) + [(0, -n_y % factor), (0, -n_x % factor)]
        values = np.pad(self.values, margins, constant_values=np.nan)
        sizes = (1,) * (values.ndim - 2) + (factor, factor)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)
            values = block_reduce(values, sizes, func=np.nanmean)
        view = (slice(None, None, factor),) * 2
        wcs = self.wcs[(slice(None), *view)] if self.wcs.naxis == 3 else self.wcs[view]
        return SkyMap(values, wcs, self.source, self.mends)

    def planes(self, grid, cube):
        """The map on the samples, once or for each channel of the cube; NaN where it is not known."""
        pixels, weights = self._nearest(grid.sky)
        if self.values.ndim == 2:
            yield interpolated(self.values.ravel()[pixels], weights).reshape(grid.shape)
            return
        say_other_frame(self.source, self.wcs.wcs.specsys, cube)
        for shares in self._channel_shares(cube):
            yield interpolated(self._mean(shares).ravel()[pixels], weights).reshape(grid.shape)

    def _nearest(self, sky):
        """Numbers and bilinear weights, shape (4, n), of the pixels about positions; weights of 0 outside."""
        n_y, n_x = self.values.shape[-2:]
        celestial = self.wcs.celestial
        places = sky.transform_to(sky_frame(self.wcs)).spherical
        x, y = celestial.wcs_world2pix(np.ravel(places.lon.deg), np.ravel(places.lat.deg), 0)
        wraps = False
        if celestial.wcs.ctype[0].endswith(CYLINDRICAL):
            turn = 360 / abs(celestial.wcs.get_cdelt()[0])
            wraps = abs(turn - n_x) < SEAM_PIX
            x = np.where(x < -0.5, x + turn, np.where(x > n_x - 0.5, x - turn, x))
        inside = (x >= -0.5) & (x <= n_x - 0.5) & (y >= -0.5) & (y <= n_y - 0.5)
        x0, x1, to_x = _split(np.where(inside, x, 0), n_x, wraps=wraps)
        y0, y1, to_y = _split(np.where(inside, y, 0), n_y)
        pixels = np.stack([y0 * n_x + x0, y0 * n_x + x1, y1 * n_x + x0, y1 * n_x + x1])
        weights = np.stack([(1 - to_y) * (1 - to_x), (1 - to_y) * to_x, to_y * (1 - to_x), to_y * to_x])
        return pixels, weights * inside

    def _channel_shares(self, cube):
        """Weight of each channel of the map in each channel of the cube, shape (n_v of the cube, n_v)."""
        own = channel_velocity(self.wcs, self.values.shape[0]).to_value(u.km / u.s)
        wanted = cube.velocity.to_value(u.km / u.s)
        width, wanted_width = abs(self.wcs.wcs.cdelt[2]) / 1e3, cube.channel_width.to_value(u.km / u.s)
        if width < wanted_width * (1 - 1e-6):
            offset = np.abs(wanted[:, None] - own)
            return _snapped(((width + wanted_width) / 2 - offset) / width).clip(0, 1) * width / wanted_width
        # The outer half of the first and last channel belongs to them.
        clipped = np.clip(wanted, own.min(), own.max())
        shares = _snapped(1 - np.abs(clipped[:, None] - own) / width).clip(0, 1)
        shares[np.abs(clipped - wanted) > width / 2 * (1 + 1e-6)] = 0
        return shares

    def _mean(self, shares):
        """Mean of the channels with these weights; NaN where less than half the weight is known."""
        total, weight = np.zeros((2, *self.values.shape[1:]))
        for channel in np.flatnonzero(shares):
            plane, share = self.values[channel], shares[channel]
            known = ~np.isnan(plane)
            total += np.where(known, share * plane, 0.0)
            weight += share * known
        return np.divide(total, weight, out=np.full(total.shape, np.nan), where=weight >= LEAST_KNOWN)


def read_map(source, *, hdu=None, rest_frequency=None):
    """A map or a cube from a file, an HDU, a cube, or an array with its WCS.

    Parameters
    ----------
    source : path, image HDU, `~hisatools.HISACube`, or pair of array and `~astropy.wcs.WCS`
        Axes may be in any order; axes of length 1 are dropped. Units do not matter.
    hdu : int or str, optional
        Of a file; by default the first image with two axes or more.
    rest_frequency : Quantity, frequency, optional
        Of a cube in frequency; wins over RESTFRQ.

    Returns
    -------
    `SkyMap`

    Raises
    ------
    InputError
        If it cannot be read or has no place on the sky.
    ParameterError
        If an argument is not of the kind that is needed.

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools.residual_mask.simulated import map_wcs
    >>> from hisatools.significance.prior_maps import read_map
    >>> read_map((np.ones((30, 40)), map_wcs((30, 40)))).values.shape
    (30, 40)
    """
    if hdu is not None and not isinstance(source, str | Path):
        raise ParameterError(f"hdu={hdu!r} is for files; give the HDU itself as source")
    if isinstance(source, HISACube):
        return SkyMap(source.kelvin, source.wcs, str(source.meta.get("path", "the cube")))
    if isinstance(source, str | Path):
        path = Path(source)
        with opened(path) as hdus:
            image = hdus[choose_image(hdus, hdu, path, n_axes=2)]
            values = read_box(image, (slice(None),) * len(image.shape), path)
            return _with_axes(values, image.header, str(path), rest_frequency)
    if isinstance(source, fits.PrimaryHDU | fits.ImageHDU | fits.CompImageHDU):
        return _of_hdu(source, rest_frequency)
    values, header = _of_pair(source)
    return _with_axes(values, header, "the map", rest_frequency)


def say_other_frame(source, specsys, cube):
    """Warn where velocities count from elsewhere than the cube's.

    Examples
    --------
    >>> import warnings
    >>> from hisatools.datasets import example_model
    >>> from hisatools.significance.prior_maps import say_other_frame
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     say_other_frame("co.fits", "BARYCENT", example_model().cube)
    ...
    >>> str(caught[0].message)
    "co.fits: its velocities are in the frame BARYCENT and the cube's in LSRK; they are taken as they are"
    """
    own = cube.wcs.wcs.specsys
    if specsys and own and specsys != own:
        warnings.warn(
            f"{source}: its velocities are in the frame {specsys} and the cube's in {own}; "
            "they are taken as they are",
            HISAWarning,
            stacklevel=3,
        )


def _of_hdu(hdu, rest_frequency):
    name = f"the HDU {hdu.name or 'without a name'}"
    try:
        with np.errstate(over="ignore"):
            values = None if hdu.data is None else np.asarray(hdu.data, np.float32)
    except DAMAGE as exc:
        raise InputError(f"{name}: the data are truncated or damaged; get the file again") from exc
    if values is None or values.ndim < 2:
        raise InputError(f"{name}: holds no map; give an image with longitude and latitude")
    return _with_axes(values, hdu.header, name, rest_frequency)


def _of_pair(source):
    """Array and header."""
    try:
        values, wcs = source
    except (TypeError, ValueError):
        values = wcs = None
    if not isinstance(wcs, WCS):
        raise ParameterError(
            "source must be the path of a FITS file, an image HDU, a HISACube or a pair (array, WCS), "
            f"got {type(source).__name__}"
        )
    values = np.asarray(unmasked(values.value if isinstance(values, u.Quantity) else values))
    if values.dtype.kind not in "fiub" or values.ndim not in (2, 3) or values.ndim != wcs.naxis:
        raise ParameterError(
            f"the array of a map must hold numbers on the {wcs.naxis} axes of its WCS, "
            f"got shape {values.shape} and type {values.dtype}; write for example (array, wcs.celestial)"
        )
    header = wcs.to_header()
    header.update({f"NAXIS{axis}": length for axis, length in enumerate(reversed(values.shape), 1)})
    return values if values.dtype.kind == "f" else values.astype(float), header


def _with_axes(values, header, source, rest_frequency):
    """The map or cube, its axes brought to (velocity,) latitude, longitude."""
    mends, n_axes = MendLog(source), values.ndim
    types = _axis_types(header)[:n_axes]
    lengths = dict(enumerate(reversed(values.shape), 1))
    order = _find_sky_axes(types, source)
    spectral = [axis for axis, kind in enumerate(types, 1) if kind in SPECTRAL_TYPES and lengths[axis] > 1]
    if spectral:
        axes = mend_header(header, mends, rest_frequency=rest_frequency)
        order, wcs = axes.order, axes.wcs
    else:
        wcs = _map_wcs(header, order, mends)
    others = [axis for axis in lengths if axis not in order]
    long = [axis for axis in others if lengths[axis] > 1]
    if long:
        raise InputError(
            f"{source}: {lengths[long[0]]} planes along axis {long[0]} ({types[long[0] - 1] or 'no CTYPE'}); "
            "write the one that is meant to a file of its own"
        )
    if np.isinf(values).any():
        raise InputError(f"{source}: {INFINITE}")
    values = values.transpose([n_axes - axis for axis in (*others, *reversed(order))])
    return SkyMap(values.reshape(values.shape[len(others) :]), wcs, source, tuple(mends.texts))


def _map_wcs(header, order, mends):
    """Longitude and latitude of a map, mended as those of a cube."""
    cards = _wcs_cards(header, mends.source)
    mend_sky_axes(cards, order, mends)
    wcs = _build_wcs(cards, order, mends.source)
    straighten_plate_carree(wcs, mends)
    return wcs


def _split(place, n, *, wraps=False):
    """Pixels before and after a place, and how far it is from the first.

    The outer half of the border belongs to its pixel, but in a map all around the sky the first pixel
    follows the last.
    """
    place = _snapped(place)
    if not wraps:
        place = np.clip(place, 0, n - 1)
    before = np.floor(place).astype(int)
    beyond = place - before
    if wraps:
        return before % n, (before + 1) % n, beyond
    return before, np.minimum(before + 1, n - 1), beyond


def _snapped(values):
    """Whole numbers where only rounding keeps them from it, so that no neighbour leaks into what is 0."""
    nearest = np.rint(values)
    return np.where(np.abs(values - nearest) < ON_CENTRE, nearest, values)
