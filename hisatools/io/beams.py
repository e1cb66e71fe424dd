"""The beam of a cube, wherever the file keeps it."""

import math

import astropy.units as u
import numpy as np
from radio_beam import Beam, Beams

from hisatools.errors import ParameterError


def checked_beam(beam):
    """Pass on a `~radio_beam.Beam` or None; anything else is an error."""
    if beam is not None and not isinstance(beam, Beam):
        raise ParameterError(
            f"beam must be a radio_beam.Beam, got {beam!r}; write for example beam=Beam(58 * u.arcsec)"
        )
    return beam


def find_beam(header, mends):
    """The beam of a header: BMAJ, BMIN and BPA, else the HISTORY of AIPS or CASA.

    Parameters
    ----------
    header : `~astropy.io.fits.Header`
        Of the image.
    mends : `~hisatools.io.mends.MendLog`
        Takes a record where the beam is from the HISTORY.

    Returns
    -------
    `~radio_beam.Beam` or None
        None where no beam is given, or as a number that means none (BMAJ = -1).
    """
    if "BMAJ" in header:
        major = _size(header, "BMAJ")
        if major is None:
            return None
        minor = _size(header, "BMIN") or major
        return Beam(max(major, minor) * u.deg, min(major, minor) * u.deg, _angle(header) * u.deg)
    try:
        beam = Beam.from_fits_history(header)
    except (ValueError, IndexError):  # the words are there, the numbers are not
        return None
    if beam is None or not beam.isfinite:
        return None
    mends.add(f"BMAJ is absent: {describe(beam)} taken from HISTORY")
    return beam


def find_channel_beams(hdus, n_channels, mends):
    """The beams of the channels, from a CASA BEAMS table.

    Parameters
    ----------
    hdus : `~astropy.io.fits.HDUList`
        The open file.
    n_channels : int
        Of the cube.
    mends : `~hisatools.io.mends.MendLog`
        Takes a record of how the table was used.

    Returns
    -------
    `~radio_beam.Beams` or None
        One a channel, in file order; None where the file has no table of that length.
    """
    if "BEAMS" not in hdus:
        return None
    table = hdus["BEAMS"]
    beams, rows = Beams.from_fits_bintable(table), table.data
    keep = np.arange(len(rows))
    if "POL" in rows.names:
        keep = keep[rows["POL"] == rows["POL"].min()]
    if "CHAN" in rows.names:
        keep = keep[np.argsort(rows["CHAN"][keep], kind="stable")]
    beams = Beams(major=beams.major[keep], minor=beams.minor[keep], pa=beams.pa[keep])
    if len(keep) != n_channels or not np.any(beams.isfinite):
        mends.add(f"BEAMS table with {len(keep)} rows for {n_channels} channels: left out")
        return None
    mends.add(
        f"BEAMS table: each channel has its own beam for the conversion to K, and the largest, "
        f"{describe(beams.largest_beam())}, stands for the cube"
    )
    return beams


def solid_angle(beam):
    """Solid angle of a beam, or of each of several; NaN where there is none, None for None."""
    if beam is None:
        return None
    angle = u.Quantity(beam.sr)
    return np.where(angle > 0, angle, np.nan * u.sr)


def describe(beam):
    """Size and position angle of a beam, in words."""
    major, minor = (side.to_value(u.arcsec) for side in (beam.major, beam.minor))
    return f"a beam of {major:.4g} x {minor:.4g} arcsec at {beam.pa.to_value(u.deg):.3g} deg"


def _size(header, key):
    """A beam axis in degrees, or None where it is no positive number."""
    try:
        size = float(header.get(key))
    except (TypeError, ValueError):
        return None
    return size if size > 0 and math.isfinite(size) else None


def _angle(header):
    try:
        return float(header.get("BPA", 0.0))
    except (TypeError, ValueError):
        return 0.0
