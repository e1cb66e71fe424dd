"""Names of features, from where they are."""

import astropy.units as u
import numpy as np
from astropy.coordinates import Galactic

__all__ = ["feature_names"]

KMS = u.km / u.s


def feature_names(coordinates, velocity):
    """Names from positions, unique within the list.

    Parameters
    ----------
    coordinates : `~astropy.coordinates.SkyCoord`, shape (n,)
        Galactic positions give ``GHISA lll.ll+b.bb+vvv``, as in the paper's section 2.4; any other
        frame gives ``HISA Jhhmmss.s+ddmmss+vvv`` (ICRS, cut off and not rounded, as the IAU asks).
    velocity : `~astropy.units.Quantity`, shape (n,), velocity
        Rounded to km/s.

    Returns
    -------
    list of str
        Where a name comes up again, the second gets ``a``, the third ``b`` and so on.

    Examples
    --------
    >>> import astropy.units as u
    >>> from astropy.coordinates import SkyCoord
    >>> globule = SkyCoord([139.636] * u.deg, [1.186] * u.deg, frame="galactic")
    >>> feature_names(globule, [-41.04] * u.km / u.s)
    ['GHISA 139.64+1.19-041']
    """
    speeds = [_signed(value, 3, 0) for value in np.atleast_1d(velocity.to_value(KMS))]
    if isinstance(coordinates.frame, Galactic):
        places = [
            f"GHISA {round(lon, 2) % 360:06.2f}{_signed(lat, 4, 2)}"
            for lon, lat in zip(coordinates.l.deg.tolist(), coordinates.b.deg.tolist(), strict=True)
        ]
    else:
        icrs = coordinates.icrs
        places = [
            f"HISA J{_sexagesimal(lon / 15, 1)}{'-' if lat < 0 else '+'}{_sexagesimal(abs(lat), 0)}"
            for lon, lat in zip(icrs.ra.deg.tolist(), icrs.dec.deg.tolist(), strict=True)
        ]
    return _unique([place + speed for place, speed in zip(places, speeds, strict=True)])


def _signed(value, width, digits):
    """A number with its sign and leading zeros; what rounds to 0 is positive."""
    return f"{round(float(value), digits) + 0.0:+0{width + 1}.{digits}f}"


def _sexagesimal(value, digits):
    """Hours or degrees as hhmmss(.s), cut off."""
    # The small number keeps 12:34:56 from being cut to 12:34:55.9 by a last binary digit.
    steps = int(value * 3600 * 10**digits + 1e-6)
    seconds, rest = divmod(steps, 10**digits)
    text = f"{seconds // 3600:02d}{seconds // 60 % 60:02d}{seconds % 60:02d}"
    return text + (f".{rest}" if digits else "")


def _unique(names):
    """Append a, b, ... (then aa, ab, ...) to every name that came before."""
    seen = {}
    result = []
    for name in names:
        result.append(name + _letters(seen.get(name, 0)))
        seen[name] = seen.get(name, 0) + 1
    return result


def _letters(number):
    text = ""
    while number:
        number, digit = divmod(number - 1, 26)
        text = chr(ord("a") + digit) + text
    return text
