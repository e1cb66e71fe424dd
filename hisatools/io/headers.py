"""Mending survey headers: from the cards of a file to a clean three-axis WCS."""

import re
import warnings
from dataclasses import dataclass

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning, WcsError

from hisatools.errors import InputError, ParameterError
from hisatools.io.checks import check_n_channels
from hisatools.io.mends import MendLog
from hisatools.io.sky import mend_sky_axes, straighten_plate_carree
from hisatools.io.spectral import SPECTRAL_TYPES, axis_type, mend_spectral_axis

SKY_PAIRS = {"RA": "DEC", "GLON": "GLAT", "ELON": "ELAT"}
# Only these cards are read: whatever else an old header says about dates, observers and
# velocity definitions cannot then trip the WCS library.
WCS_CARDS = re.compile(
    r"^((CTYPE|CRVAL|CRPIX|CDELT|CUNIT|CROTA)\d|(PC|CD|PV)\d_\d+|PC00\d00\d"
    r"|LONPOLE|LATPOLE|EQUINOX|EPOCH|RADESYS|RADECSYS|SPECSYS|RESTFRQ|RESTFREQ|VELREF|FREQ0|OBSFREQ)$"
)

NUMBER_CARDS = re.compile(r"^((CRVAL|CRPIX|CDELT|CROTA)\d|(PC|CD|PV)\d_\d+|PC00\d00\d|LONPOLE|LATPOLE)$")


@dataclass(frozen=True)
class CubeAxes:
    """Where longitude, latitude and velocity are in a file, and their WCS.

    Parameters
    ----------
    wcs : `~astropy.wcs.WCS`
        Longitude, latitude, velocity; VRAD linear in m/s, with RESTFRQ and SPECSYS.
    order : tuple of int
        FITS axis numbers, from 1, of longitude, latitude and velocity in the file.
    """

    wcs: WCS
    order: tuple


def mend_header(header, mends, *, rest_frequency=None):
    """The clean three-axis WCS of a header, each assumption recorded.

    Parameters
    ----------
    header : `~astropy.io.fits.Header`
        Of an image with longitude, latitude and a spectral axis in any order, and any number of
        other axes of length 1. It is not changed.
    mends : `~hisatools.io.mends.MendLog`
        Takes a record of every assumption; its ``source`` names the input in errors.
    rest_frequency : Quantity, frequency, optional
        Wins over the header's.

    Returns
    -------
    `CubeAxes`

    Raises
    ------
    InputError
        If an axis is missing, too long, coupled to another, or of a kind that is not understood.

    Examples
    --------
    >>> from hisatools.io.mends import MendLog
    >>> cards = {"CTYPE1": "GLON-CAR", "CDELT1": -0.005, "CTYPE2": "GLAT-CAR", "CDELT2": 0.005,
    ...          "CTYPE3": "VRAD", "CUNIT3": "km/s", "CRVAL3": -60.0, "CDELT3": -0.82446,
    ...          "RESTFRQ": 1.42040575177e9, "SPECSYS": "LSRK"}
    >>> mend_header(fits.Header(cards), MendLog("example")).wcs.wcs.crval[2]
    np.float64(-60000.0)
    """
    source = mends.source
    cards = _wcs_cards(header, source)
    order = _find_axes(header, source)
    mend_spectral_axis(cards, order[2], mends, rest_frequency=rest_frequency)
    mend_sky_axes(cards, order[:2], mends)
    wcs = _without_matrix(_build_wcs(cards, order, source), source)
    straighten_plate_carree(wcs, mends)
    return CubeAxes(wcs, order)


def clean_wcs(wcs, shape, mends):
    """A mended copy of a WCS; one that is clean already keeps its numbers to the last bit.

    Parameters
    ----------
    wcs : `~astropy.wcs.WCS`
        Longitude, latitude, velocity or frequency, in this order; axes of length 1 may follow.
    shape : tuple of int
        (n_v, n_y, n_x) of the data.
    mends : `~hisatools.io.mends.MendLog`
        Takes a record of every assumption.

    Returns
    -------
    `~astropy.wcs.WCS`
        As in `CubeAxes`, with ``pixel_shape``.

    Raises
    ------
    ParameterError
        If ``wcs`` is no WCS.
    InputError
        If data or WCS do not have these axes.
    """
    if not isinstance(wcs, WCS):
        raise ParameterError(f"wcs must be an astropy.wcs.WCS, got {type(wcs).__name__}")
    if len(shape) != 3:
        raise InputError(
            f"{mends.source}: the data have {len(shape)} axes; velocity, latitude and longitude are needed"
        )
    header = wcs.to_header()
    header.update({f"NAXIS{axis}": length for axis, length in enumerate(reversed(shape), 1)})
    axes = mend_header(header, mends)
    if axes.order != (1, 2, 3):
        raise InputError(
            f"{mends.source}: the WCS axes are not longitude, latitude, velocity in this order; "
            f"reorder data and WCS, or write a FITS file and use HISACube.read"
        )
    clean = wcs.deepcopy() if _is_clean(wcs) else axes.wcs
    clean.pixel_shape = shape[::-1]
    return clean


def card_text(header, key):
    """The value of a card as text; empty where the card is absent or has no value."""
    value = header.get(key)
    return "" if value is None or isinstance(value, fits.card.Undefined) else str(value).strip()


def sky_wcs(header, source):
    """The celestial WCS of a map, mended without a word; None where the header gives none."""
    mends = MendLog(source, quiet=True)
    try:
        cards = _wcs_cards(header, source)
        lon, lat = _find_sky_axes(_axis_types(header), source)
        mend_sky_axes(cards, (lon, lat), mends)
        wcs = _build_wcs(cards, (lon, lat), source)
    except InputError:
        return None
    straighten_plate_carree(wcs, mends)
    return wcs


def _wcs_cards(header, source):
    """The cards that matter, numbers being numbers even if the writer quoted them."""
    cards = fits.Header()
    for key in filter(WCS_CARDS.match, header):
        try:
            value = header[key]
            if value is not None and not isinstance(value, fits.card.Undefined):
                cards[key] = float(value) if NUMBER_CARDS.match(key) else value
        except (fits.VerifyError, ValueError):
            raise InputError(f"{source}: {key} holds no number; correct the header") from None
    return cards


def _axis_types(header):
    """Axis types in FITS order."""
    n_axes = max([int(header.get(key, 0)) for key in ("NAXIS", "WCSAXES")] + [3])
    return [axis_type(card_text(header, f"CTYPE{axis}")) for axis in range(1, n_axes + 1)]


def _find_sky_axes(types, source):
    for lon, lat in SKY_PAIRS.items():
        if lon in types and lat in types:
            return types.index(lon) + 1, types.index(lat) + 1
    raise InputError(
        f"{source}: no pair of celestial axes among {_listed(types)}; CTYPE1 and CTYPE2 must be "
        f"RA and DEC or GLON and GLAT with a projection, for example 'GLON-CAR' and 'GLAT-CAR'"
    )


def _find_axes(header, source):
    """FITS numbers of longitude, latitude and spectral axis; the others must have length 1."""
    types = _axis_types(header)
    lon, lat = _find_sky_axes(types, source)
    spectral = [number for number, kind in enumerate(types, 1) if kind in SPECTRAL_TYPES]
    if not spectral:
        raise InputError(
            f"{source}: no velocity or frequency axis among {_listed(types)}; "
            f"describe it in the header, for example CTYPE3 = 'VRAD', CUNIT3 = 'm/s'"
        )
    order = (lon, lat, spectral[0])
    for number, kind in enumerate(types, 1):
        length = int(header.get(f"NAXIS{number}", 1))
        if number not in order and length > 1:
            other = f"planes along axis {number} ({kind or 'no CTYPE'})"
            what = "Stokes planes" if kind == "STOKES" else other
            raise InputError(
                f"{source}: {length} {what}; write the total intensity alone to a file of its own"
            )
    if f"NAXIS{order[2]}" in header:
        check_n_channels(header[f"NAXIS{order[2]}"], source)
    return order


def _listed(types):
    return ", ".join(repr(kind) for kind in types)


def _build_wcs(cards, order, source):
    """The WCS of the chosen axes; NCP and GLS become SIN and SFL, which is exact."""
    for axis in set(range(1, 10)) - set(order):  # may be nonsense, and does not matter
        cards.remove(f"CTYPE{axis}", ignore_missing=True)
        cards.remove(f"CUNIT{axis}", ignore_missing=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FITSFixedWarning)
            return WCS(cards).sub(list(order))
    except (WcsError, ValueError) as exc:
        reason = " ".join(str(exc).split("\n", 1)[-1].split()).rstrip(". ")
        raise InputError(
            f"{source}: the axes cannot be understood ({reason}); "
            f"correct CTYPE, CRVAL and CDELT in the header"
        ) from exc


def _without_matrix(wcs, source):
    """Write the steps as CDELT and what remains of rotation as PC; velocity must stand alone."""
    matrix = wcs.pixel_scale_matrix
    if np.any(matrix[2, :2]) or np.any(matrix[:2, 2]):
        raise InputError(
            f"{source}: the velocity axis is coupled to the sky axes by the PC or CD matrix; "
            f"reproject the cube to separate axes, for example with the reproject package"
        )
    steps = np.diag(matrix)
    if not np.all(np.isfinite(steps)) or steps[2] == 0:
        raise InputError(f"{source}: the velocity axis has no step; correct CDELT3 in the header")
    # On the sky the diagonal may vanish (a rotation by 90 degrees, refused later on).
    steps = np.where(steps == 0, np.abs(matrix).max(axis=1), steps)
    if wcs.wcs.has_cd():
        del wcs.wcs.cd
    wcs.wcs.cdelt, wcs.wcs.pc = steps, matrix / steps[:, None]
    wcs.wcs.set()
    return wcs


def _is_clean(wcs):
    cards = wcs.wcs
    return (
        wcs.naxis == 3
        and cards.ctype[2] == "VRAD"
        and str(cards.cunit[2]) == "m / s"
        and cards.restfrq > 0
        and bool(cards.specsys)
        and not cards.has_cd()
        and cards.get_pc()[2, 2] == 1
        and not (cards.ctype[0].endswith("-CAR") and cards.crval[1] != 0)
    )
