"""Units as surveys write them, and brightness in kelvin."""

import re

import astropy.units as u
import numpy as np
from astropy.constants import c

from hisatools.errors import InputError

# Spellings that the FITS standard does not know, upper-cased; each use is a mend.
AXIS_ALIASES = {
    "DEG": u.deg,
    "DEGREE": u.deg,
    "DEGREES": u.deg,
    "M/S": u.m / u.s,
    "M/SEC": u.m / u.s,
    "M S-1": u.m / u.s,
    "KM/S": u.km / u.s,
    "KM/SEC": u.km / u.s,
    "KM S-1": u.km / u.s,
    "HZ": u.Hz,
    "KHZ": u.kHz,
    "MHZ": u.MHz,
    "GHZ": u.GHz,
}
# "MJY/BEAM" is left out on purpose: it may be milli or mega.
BRIGHTNESS_ALIASES = {
    "KELVIN": u.K,
    "KELVINS": u.K,
    "JY/BEAM": u.Jy / u.beam,
    "JY/BM": u.Jy / u.beam,
    "JY BEAM-1": u.Jy / u.beam,
    "JY BEAM^-1": u.Jy / u.beam,
}
# A temperature and a remark on its scale: "K (Tb)", "mK [T_MB]", "K(Ta*)".
KELVIN_REMARK = re.compile(r"^(m?K)\s*[(\[].*$")
UNDERSTOOD = "K, mK, Jy/beam, mJy/beam, MJy/sr and other units of temperature or surface brightness"


def axis_unit(text, key, mends):
    """The unit of an axis, however it is spelled.

    Parameters
    ----------
    text : str
        The value of the CUNIT card.
    key : str
        Its keyword, for messages.
    mends : `~hisatools.io.mends.MendLog`
        Takes a record where the spelling is not the standard's.

    Returns
    -------
    `~astropy.units.Unit`

    Raises
    ------
    InputError
        If the unit is not known.
    """
    try:
        return u.Unit(text, format="fits")
    except ValueError:
        pass
    unit = AXIS_ALIASES.get(" ".join(text.split()).upper())
    if unit is None:
        raise InputError(
            f"{mends.source}: {key} {text!r} is no unit that is understood; correct it in the header, "
            f"for example to 'deg', 'm/s' or 'Hz'"
        )
    mends.add(f"{key} {text!r} taken as {unit}")
    return unit


def brightness_unit(given, text, mends):
    """The unit of the brightness: the caller's, else the header's, else K.

    Parameters
    ----------
    given : str, `~astropy.units.Unit` or None
        The caller's; wins over the header.
    text : str or None
        The value of BUNIT.
    mends : `~hisatools.io.mends.MendLog`
        Takes a record where BUNIT is absent or not the standard's.

    Returns
    -------
    `~astropy.units.Unit`
        Convertible to K or to a surface brightness.

    Raises
    ------
    InputError
        If the unit is not known or is not a brightness.
    """
    if given is not None:
        return _checked(_parse(given), given, "unit", mends.source)
    text = str(text or "").strip()
    if not text:
        mends.add("BUNIT is absent: brightness temperature in K assumed; give unit= (--unit) if it is not")
        return u.K
    unit = _parse(text)
    if unit is None:
        unit = _parse_loosely(text)
        _checked(unit, text, "BUNIT", mends.source)
        mends.add(f"BUNIT {text!r} taken as {unit}")
    return _checked(unit, text, "BUNIT", mends.source)


def kelvin_per_unit(unit, velocity, rest_frequency, solid_angle, source):
    """What one unit of brightness is in kelvin (Rayleigh-Jeans), channel by channel.

    Parameters
    ----------
    unit : `~astropy.units.Unit`
        As `brightness_unit` returns it.
    velocity : Quantity, shape (n_v,), velocity
        Radio velocity of each channel, for its frequency.
    rest_frequency : Quantity, frequency
        Of the line.
    solid_angle : Quantity, scalar or shape (n_v,), or None
        Of the beam; needed for units of flux per beam. NaN where a channel has no beam.
    source : str
        The name of the input, for messages.

    Returns
    -------
    float or `~numpy.ndarray` of float64, shape (n_v,)
        NaN where a channel has no beam.

    Raises
    ------
    InputError
        If a beam is needed and there is none.
    """
    if unit.is_equivalent(u.K):
        return float(unit.to(u.K))
    scale = 1.0 / u.sr
    if unit.is_equivalent(u.Jy / u.beam):
        if solid_angle is None:
            raise InputError(
                f"{source}: the brightness is in {unit} but no beam is known; "
                f"pass beam=Beam(58 * u.arcsec) (--beam 58), or set BMAJ, BMIN and BPA in the header"
            )
        scale, unit = 1.0 / solid_angle, unit * u.beam
    else:
        unit = unit * u.sr
    surface = (np.ones(len(velocity)) * unit * scale).to(u.Jy / u.sr)
    frequency = rest_frequency * (1 - (velocity / c).to_value(u.one))
    return surface.to_value(u.K, u.brightness_temperature(frequency))


def _parse(text):
    """The unit, or None where astropy does not know it."""
    try:
        return u.Unit(text)
    except (ValueError, TypeError):
        return None


def _parse_loosely(text):
    remark = KELVIN_REMARK.match(text)
    if remark:
        return u.Unit(remark.group(1))
    return BRIGHTNESS_ALIASES.get(" ".join(text.split()).upper())


def _checked(unit, text, key, source):
    """Pass ``unit`` on if it is a brightness."""
    wanted = (u.K, u.Jy / u.beam, u.Jy / u.sr)
    if unit is None or not any(unit.is_equivalent(one) for one in wanted):
        raise InputError(
            f"{source}: {key} {str(text)!r} is no brightness unit that is understood ({UNDERSTOOD}); "
            f"give the true one, for example unit='K' (--unit K)"
        )
    return unit
