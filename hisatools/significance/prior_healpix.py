"""Reading HEALPix maps, of the whole sky or part of it, and their values at positions on the sky."""

from dataclasses import dataclass, replace
from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.coordinates import (
    FK5,
    ICRS,
    BarycentricMeanEcliptic,
    BaseCoordinateFrame,
    Galactic,
    frame_transform_graph,
)
from astropy.io import fits

from hisatools.errors import InputError, ParameterError
from hisatools.io.files import DAMAGE, _listing, opened
from hisatools.io.headers import card_text
from hisatools.io.mends import MendLog
from hisatools.significance.prior_grid import INFINITE, interpolated, needed, unmasked

__all__ = ["HealpixMap", "is_healpix", "read_healpix"]

# What is below stands for "not known"; HEALPix writes -1.6375e30.
UNSEEN_BELOW = -1e30
POSITIONS_PER_BLOCK = 500_000
# So many pixels are averaged at a time.
PIXELS_PER_BLOCK = 4_000_000
# COORDSYS as it is found in files; astropy has no frames of these names.
FRAMES = dict.fromkeys(("c", "cel", "celestial", "equ", "equatorial"), ICRS)
FRAMES |= dict.fromkeys(("e", "ecl", "ecliptic"), BarycentricMeanEcliptic)
FRAMES |= dict.fromkeys(("g", "gal"), Galactic) | {"j2000": FK5}
PIXEL_COLUMNS = ("PIXEL", "PIX", "IPIX", "HPXINDEX")


@dataclass(frozen=True, eq=False)
class HealpixMap:
    """A HEALPix map.

    Parameters
    ----------
    values : `~numpy.ndarray`, shape (n,)
        NaN, or below -1e30 (UNSEEN), where not known.
    nside : int
        A power of two.
    nested : bool
        The order of the pixels: nested or ring.
    frame : `~astropy.coordinates.BaseCoordinateFrame`
    pixels : `~numpy.ndarray` of int, shape (n,), or None
        Ascending numbers of the pixels that are there; None for the whole sky.
    coarser : int
        How often nside is halved: values are means of 4, 16, ... pixels.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.coordinates import Galactic, SkyCoord
    >>> from hisatools.significance.prior_healpix import HealpixMap
    >>> healpix = HealpixMap(np.arange(12 * 64**2, dtype=float), 64, False, Galactic())
    >>> round(healpix.pixel_deg, 2)
    0.92
    >>> round(float(healpix.at(SkyCoord([[140.0]], [[0.0]], unit="deg", frame="galactic"))[0, 0]))
    24547
    """

    values: np.ndarray
    nside: int
    nested: bool
    frame: BaseCoordinateFrame
    pixels: np.ndarray = None
    coarser: int = 0

    @property
    def pixel_deg(self):
        """Side of a pixel of the map as it is given."""
        return float(np.degrees(np.sqrt(np.pi / 3) / self.nside))

    def binned(self, sample_deg):
        """The map averaged over pixels as large as fit between two samples; nothing is computed yet."""
        times = int(np.log2(max(sample_deg / self.pixel_deg, 1)) + 1e-6)
        return replace(self, coarser=min(times, self.nside.bit_length() - 1))

    def at(self, sky):
        """Values at positions, interpolated between the centres of the four nearest pixels.

        Parameters
        ----------
        sky : `~astropy.coordinates.SkyCoord`
            NaN off the sky.

        Returns
        -------
        `~numpy.ndarray` of float64, shape of ``sky``
            NaN where the pixels that are known have less than half the weight.
        """
        places = sky.transform_to(self.frame).spherical
        lon, lat = (np.ravel(angle.to_value(u.rad)) for angle in (places.lon, places.lat))
        found = np.full(lon.size, np.nan)
        on_sky = np.flatnonzero(np.isfinite(lon) & np.isfinite(lat))
        for start in range(0, on_sky.size, POSITIONS_PER_BLOCK):
            block = on_sky[start : start + POSITIONS_PER_BLOCK]
            found[block] = self._interpolated(lon[block] * u.rad, lat[block] * u.rad)
        return found.reshape(sky.shape)

    def _interpolated(self, lon, lat):
        order = "nested" if self.nested or self.coarser else "ring"
        pixels, weights = needed("astropy_healpix").bilinear_interpolation_weights(
            lon, lat, self.nside >> self.coarser, order
        )
        return interpolated(self._means(pixels) if self.coarser else self._values(pixels), weights)

    def _means(self, pixels):
        """Means over what is known of coarser pixels, whose numbers are nested; NaN where nothing is."""
        distinct, place = np.unique(pixels, return_inverse=True)
        n_parts = 4**self.coarser
        n_blocks = -(-distinct.size * n_parts // PIXELS_PER_BLOCK)
        means = [self._mean_of_parts(block, n_parts) for block in np.array_split(distinct, n_blocks)]
        return np.concatenate(means)[place].reshape(pixels.shape)

    def _mean_of_parts(self, block, n_parts):
        parts = block[:, None] * n_parts + np.arange(n_parts)
        if not self.nested:
            parts = needed("astropy_healpix").HEALPix(self.nside).nested_to_ring(parts)
        values = self._values(parts)
        known = ~np.isnan(values)
        total, n_known = np.sum(values, axis=1, where=known), known.sum(axis=1)
        return np.divide(total, n_known, out=np.full(len(block), np.nan), where=n_known > 0)

    def _values(self, pixels):
        """Values of pixels as they are given; NaN where not known."""
        if self.pixels is None:
            values = self.values[pixels].astype(float)
        else:
            place = np.searchsorted(self.pixels, pixels).clip(max=self.pixels.size - 1)
            values = np.where(self.pixels[place] == pixels, self.values[place], np.nan)
        values[values < UNSEEN_BELOW] = np.nan
        if np.isinf(values).any():
            raise InputError(f"the HEALPix map {INFINITE}")
        return values


def read_healpix(source, *, nested=None, frame=None, column=None):
    """A HEALPix map from a file or an array.

    Parameters
    ----------
    source : path, or array_like, shape (12 nside^2,)
        A path is a FITS file with the whole sky, or with numbered pixels in its first column.
    nested : bool, optional
        The order of the pixels; wins over ORDERING. An array is in ring order if it is not given.
    frame : str or frame, optional
        Such as "galactic", "icrs" or "ecliptic"; wins over COORDSYS. An array is Galactic if it is not given.
    column : int or str, optional
        Of the table, without that of the pixel numbers; by default the first.

    Returns
    -------
    `HealpixMap`

    Raises
    ------
    InputError
        If the file or the array is no HEALPix map.
    ParameterError
        If an argument is not of the kind that is needed.

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools.significance.prior_healpix import read_healpix
    >>> healpix = read_healpix(np.ones(12 * 64**2), nested=True, frame="icrs")
    >>> healpix.nside, healpix.nested, healpix.frame.name
    (64, True, 'icrs')
    """
    if not isinstance(nested, bool | np.bool_ | None):
        raise ParameterError(f"nested must be True, False or None, got {nested!r}")
    frame = None if frame is None else _frame(frame)
    if isinstance(source, str | Path):
        return _from_file(Path(source), nested, frame, column)
    try:
        values = np.asarray(unmasked(source.value if isinstance(source, u.Quantity) else source), float)
    except (TypeError, ValueError):
        raise ParameterError(
            f"source must be the path of a HEALPix file or an array of numbers, got {type(source).__name__}"
        ) from None
    if column is not None:
        raise ParameterError(f"column={column!r} is for files; give the array of one column")
    frame = Galactic() if frame is None else frame
    return HealpixMap(values, _nside(values.shape, "the HEALPix array"), bool(nested), frame)


def is_healpix(hdu):
    """Whether the header of a table says that it is a HEALPix map.

    Examples
    --------
    >>> from astropy.io import fits
    >>> from hisatools.significance.prior_healpix import is_healpix
    >>> table = fits.BinTableHDU.from_columns([fits.Column("TAU353", "E", array=[0.0] * 12)])
    >>> table.header["PIXTYPE"] = "HEALPIX"
    >>> is_healpix(table), is_healpix(fits.PrimaryHDU())
    (True, False)
    """
    header = hdu.header
    return isinstance(hdu, fits.BinTableHDU) and (
        card_text(header, "PIXTYPE").upper() == "HEALPIX" or "ORDERING" in header or "NSIDE" in header
    )


def _from_file(path, nested, frame, column):
    mends = MendLog(path)
    with opened(path) as hdus:
        tables = [hdu for hdu in hdus if isinstance(hdu, fits.BinTableHDU) and not hdu.is_image]
        hdu = next(filter(is_healpix, tables), tables[0] if tables else None)
        if hdu is None:
            raise InputError(f"{path}: holds no table, so no HEALPix map; it has {_listing(hdus)}")
        header = hdu.header
        pixels, values = _columns(hdu, column, path)
    nested = _is_nested(header, mends) if nested is None else bool(nested)
    frame = _file_frame(header, mends) if frame is None else frame
    if pixels is None:
        nside = _nside(values.shape, path)
        if _nside_card(header, nside) != nside:
            raise InputError(
                f"{path}: NSIDE is {header['NSIDE']}, but {values.size} pixels make nside {nside}; "
                "correct the header"
            )
        return HealpixMap(values, nside, nested, frame)
    nside = _checked_nside(_nside_card(header, None), path)
    if pixels.size == 0 or pixels.min() < 0 or pixels.max() >= 12 * nside**2:
        raise InputError(f"{path}: the pixel numbers do not fit NSIDE = {nside}, or there are none")
    order = np.argsort(pixels, kind="stable")
    return HealpixMap(values[order], nside, nested, frame, pixels[order])


def _columns(hdu, column, path):
    """Pixel numbers, or None for the whole sky, and values."""
    names = hdu.columns.names
    explicit = card_text(hdu.header, "INDXSCHM").upper() == "EXPLICIT" or names[0].upper() in PIXEL_COLUMNS
    if "UNIQ" in (name.upper() for name in names):
        raise InputError(f"{path}: a map of several resolutions (UNIQ); bring it to one nside first")
    offered = names[1:] if explicit else names
    chosen = _chosen(offered, 0 if column is None else column, path)
    try:
        values = _native(hdu.data[chosen])
        pixels = _native(hdu.data[names[0]]).astype(np.int64) if explicit else None
    except DAMAGE as exc:
        raise InputError(f"{path}: the data are truncated or damaged; get the file again") from exc
    if values.dtype.kind not in "fiu" or (explicit and values.size != pixels.size):
        raise InputError(
            f"{path}: column {chosen!r} does not hold one number for each pixel; choose another one"
        )
    return pixels, values


def _chosen(offered, column, path):
    lower = [name.lower() for name in offered]
    if isinstance(column, str) and column.lower() in lower:
        return offered[lower.index(column.lower())]
    is_number = isinstance(column, int | np.integer) and not isinstance(column, bool)
    if is_number and 0 <= column < len(offered):
        return offered[column]
    raise ParameterError(
        f"{path}: no column {column!r}; it has {', '.join(offered)}, give a name or a number from 0"
    )


def _native(values):
    values = np.ravel(values)
    return values.astype(values.dtype.newbyteorder("="))


def _nside_card(header, otherwise):
    """NSIDE as a whole number, which some write as 4.0 or '4'; anything else as it stands."""
    value = header.get("NSIDE", otherwise)
    try:
        number = float(value)
    except (TypeError, ValueError):
        return value
    return int(number) if number.is_integer() and not isinstance(value, bool) else value


def _is_nested(header, mends):
    ordering = card_text(header, "ORDERING").upper()
    if ordering.startswith("NEST"):
        return True
    if not ordering:
        mends.add("ORDERING is absent: pixels in ring order assumed; give nested=True if they are not")
    elif ordering != "RING":
        raise InputError(
            f"{mends.source}: ORDERING {ordering!r} is not understood; give nested=True or False"
        )
    return False


def _file_frame(header, mends):
    text = card_text(header, "COORDSYS")
    if not text:
        mends.add("COORDSYS is absent: Galactic coordinates assumed; give frame= if they are not")
        return Galactic()
    try:
        return _frame(text)
    except ParameterError:
        raise InputError(
            f"{mends.source}: COORDSYS {text!r} is not understood; give frame='galactic' or 'icrs'"
        ) from None


def _frame(frame):
    if isinstance(frame, BaseCoordinateFrame):
        return frame
    name = str(frame).lower()
    kind = FRAMES.get(name) or frame_transform_graph.lookup_name(name)
    if kind is None:
        raise ParameterError(
            f"frame {frame!r} is not known; give for example 'galactic', 'icrs' or 'ecliptic'"
        )
    return kind()


def _nside(shape, source):
    """The nside of a map of the whole sky."""
    nside = round((shape[0] / 12) ** 0.5) if len(shape) == 1 else 0
    if len(shape) != 1 or 12 * nside**2 != shape[0]:
        raise InputError(
            f"{source}: has the shape {shape}, and a map of the whole sky has 12 nside^2 pixels; "
            "a part of the sky needs a file with pixel numbers"
        )
    return _checked_nside(nside, source)


def _checked_nside(nside, source):
    if not isinstance(nside, int) or nside < 1 or nside & (nside - 1):
        raise InputError(f"{source}: nside {nside!r} is no power of two; bring the map to such a one")
    return nside
