"""Mending the spectral axis: whatever the file has becomes radio velocity in m/s."""

import re

import astropy.units as u
from astropy.constants import c

from hisatools.errors import InputError
from hisatools.io.units import axis_unit
from hisatools.parameters import check_quantity

HI_REST_FREQUENCY = 1.42040575177e9 * u.Hz

VELOCITY_TYPES = {"VRAD", "VELO", "VOPT", "FELO", "VELOCITY", "VEL", "VLSR"}
OTHER_TYPES = {"WAVE", "AWAV", "WAVN", "ENER", "ZOPT", "BETA"}
SPECTRAL_TYPES = VELOCITY_TYPES | OTHER_TYPES | {"FREQ"}

# Reference frames by the suffix of an AIPS or GIPSY axis type, and by the AIPS number.
FRAME_BY_SUFFIX = {
    "LSR": "LSRK",
    "LSD": "LSRD",
    "HEL": "BARYCENT",
    "BAR": "BARYCENT",
    "GEO": "GEOCENTR",
    "TOP": "TOPOCENT",
    "OBS": "TOPOCENT",
    "GAL": "GALACTOC",
}
FRAME_BY_VELREF = {1: "LSRK", 2: "BARYCENT", 3: "TOPOCENT", 4: "LSRD", 5: "GEOCENTR"}
ALGORITHM_CODE = re.compile(r"^[A-Z]2[A-Z]$")
# In m/s no H I channel is so narrow, in km/s none is so broad: below it CDELT must be in km/s.
LEAST_CDELT_IN_M_S = 20.0


def axis_type(ctype):
    """The part of a CTYPE before the first hyphen, upper-cased."""
    return str(ctype).strip().upper().split("-")[0].strip()


def mend_spectral_axis(header, axis, mends, *, rest_frequency=None):
    """Rewrite, in place, the cards of the spectral axis as VRAD in m/s with RESTFRQ and SPECSYS.

    Frequencies become radio velocities, which is exact. Velocities of any convention keep the
    header's linear formula, ``v = CRVAL + (pixel - CRPIX) CDELT``.

    Parameters
    ----------
    header : `~astropy.io.fits.Header`
        Changed in place.
    axis : int
        FITS number of the spectral axis, from 1.
    mends : `~hisatools.io.mends.MendLog`
        Takes a record of every assumption.
    rest_frequency : Quantity, frequency, optional
        Wins over the header's.

    Raises
    ------
    InputError
        If the axis is neither velocity nor frequency, its unit is wrong, or a frequency
        axis has no rest frequency.
    """
    ctype = str(header[f"CTYPE{axis}"]).strip().upper()
    kind, suffix = axis_type(ctype), ctype.partition("-")[2].strip("-")
    _refuse_other_types(ctype, kind, suffix, axis, mends.source)
    unit = _unit(header, axis, kind, mends)
    rest = _rest_frequency(header, kind, rest_frequency, mends)
    header["SPECSYS"] = _frame(header, "LSR" if kind == "VLSR" else suffix, mends)
    header["RESTFRQ"] = rest.to_value(u.Hz)
    if kind == "FREQ":
        _rescale(header, axis, -(c / rest * unit).to_value(u.m / u.s), offset=c.value)
        if ctype != "FREQ":
            mends.add(f"CTYPE{axis} {ctype!r} taken as frequency, frame {header['SPECSYS']}")
    else:
        _rescale(header, axis, unit.to(u.m / u.s))
        if ctype != "VRAD":
            mends.add(
                f"CTYPE{axis} {ctype!r} taken as velocity linear in channel number, "
                f"frame {header['SPECSYS']}, and kept so (as VRAD)"
            )
    header[f"CTYPE{axis}"], header[f"CUNIT{axis}"] = "VRAD", "m/s"


def _refuse_other_types(ctype, kind, suffix, axis, source):
    if kind in OTHER_TYPES or (kind == "FREQ" and suffix and suffix not in FRAME_BY_SUFFIX):
        raise InputError(
            f"{source}: the spectral axis is {ctype!r} (CTYPE{axis}), not linear in velocity or frequency; "
            f"resample it to velocity first, for example with spectral-cube's with_spectral_unit and "
            f"spectral_interpolate"
        )


def _unit(header, axis, kind, mends):
    """The unit of the axis: as written, or what the convention of its type implies."""
    key = f"CUNIT{axis}"
    text = str(header.get(key, "")).strip()
    wanted = u.Hz if kind == "FREQ" else u.m / u.s
    if text:
        unit = axis_unit(text, key, mends)
        if not unit.is_equivalent(wanted):
            raise InputError(
                f"{mends.source}: {key} {text!r} does not fit CTYPE{axis} {header[f'CTYPE{axis}']!r}; "
                f"a unit of {wanted} is needed, correct the header"
            )
        return unit
    if kind == "FREQ":  # the standard's default
        return u.Hz
    step = abs(float(header.get(f"CDELT{axis}", header.get(f"CD{axis}_{axis}", 1.0))))
    unit = u.km / u.s if step < LEAST_CDELT_IN_M_S else u.m / u.s
    mends.add(f"{key} is absent: {unit} assumed (the step is {step:g})")
    return unit


def _rest_frequency(header, kind, given, mends):
    if given is not None:
        return check_quantity("rest_frequency", given, u.Hz)
    for key in ("RESTFRQ", "RESTFREQ"):
        if _number(header.get(key)) > 0:
            return _number(header[key]) * u.Hz
    if _number(header.get("FREQ0")) > 0:
        mends.add(f"RESTFRQ is absent: FREQ0 = {header['FREQ0']} Hz taken as rest frequency")
        return _number(header["FREQ0"]) * u.Hz
    if kind == "FREQ":
        raise InputError(
            f"{mends.source}: the spectral axis is frequency and there is no rest frequency; add RESTFRQ "
            f"to the header or pass rest_frequency={HI_REST_FREQUENCY.to_value(u.MHz):.12g} * u.MHz "
            "(--rest-frequency)"
        )
    observed = _number(header.get("OBSFREQ")) * u.Hz
    if observed > 0 and abs(observed / HI_REST_FREQUENCY - 1) > 0.01:
        mends.add(f"RESTFRQ is absent: OBSFREQ = {observed.value:g} Hz taken as rest frequency")
        return observed
    mends.add(f"RESTFRQ is absent: the H I line assumed, {HI_REST_FREQUENCY.to_value(u.MHz):.12g} MHz")
    return HI_REST_FREQUENCY


def _frame(header, suffix, mends):
    """The reference frame: SPECSYS, else the axis type, else VELREF, else the LSR."""
    text = str(header.get("SPECSYS", "")).strip().upper()
    if text:
        return text
    if suffix and not ALGORITHM_CODE.match(suffix) and suffix in FRAME_BY_SUFFIX:
        return FRAME_BY_SUFFIX[suffix]  # the mend of CTYPE names it
    velref = _number(header.get("VELREF"))
    if velref > 0 and int(velref) % 256 in FRAME_BY_VELREF:
        frame = FRAME_BY_VELREF[int(velref) % 256]
        mends.add(f"SPECSYS is absent: {frame} taken from VELREF = {int(velref)}")
        return frame
    mends.add("SPECSYS is absent: velocities relative to the local standard of rest (LSRK) assumed")
    return "LSRK"


def _number(value):
    """A card's value as float; 0 where it is absent or no number (some writers quote numbers)."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return 0.0


def _rescale(header, axis, factor, *, offset=0.0):
    """Replace the axis' value x by ``offset + factor x``, in whichever form its step is written."""
    header[f"CRVAL{axis}"] = offset + factor * float(header.get(f"CRVAL{axis}", 0.0))
    matrix = [key for key in header if re.match(rf"CD{axis}_\d+$", key)]
    for key in matrix or [f"CDELT{axis}"]:
        header[key] = factor * float(header.get(key, 1.0))
