"""Channels at the edges of the band that hold no sky: artefacts named by the file, or zeros."""

import re
import warnings

import numpy as np

from hisatools.errors import HISAWarning

# "Channels 1-18 and 272 are contaminated by mosaicing artifacts and/or are blank channels."
NAMED_CHANNELS = re.compile(r"\bchannels?\s+(\d[\d\s,and-]*?)\s+are\s+(?:contaminated|blank)", re.I)


def blank_edge_channels(kelvin, header, channels, n_channels, mends):
    """Blank, in place, the edge channels that the HISTORY calls bad and those that are all zero.

    The HISTORY of the CGPS says which channels are contaminated or blank. It is believed only if
    those channels form the edges of the file's band: in a file that was cut or resampled the
    numbers mean other channels.

    Parameters
    ----------
    kelvin : `~numpy.ndarray`, shape (n_v, n_y, n_x)
        Brightness of the channels that were read; changed in place.
    header : `~astropy.io.fits.Header`
        Of the file.
    channels : slice
        Which channels of the file were read.
    n_channels : int
        In the file.
    mends : `~hisatools.io.mends.MendLog`
        Takes a record of what was blanked.
    """
    _blank_named(kelvin, header, channels, n_channels, mends)
    _blank_zeros(kelvin, channels, mends)


def named_bad_channels(header):
    """FITS numbers, from 1, of the channels that the HISTORY calls contaminated or blank.

    Examples
    --------
    >>> from astropy.io import fits
    >>> header = fits.Header()
    >>> header.add_history("Channels 1-3 and 9 are contaminated by mosaicing")
    >>> named_bad_channels(header)
    [1, 2, 3, 9]
    """
    text = " ".join(" ".join(header["HISTORY"]).split()) if "HISTORY" in header else ""
    found = NAMED_CHANNELS.search(text)
    numbers = set()
    for first, last in re.findall(r"(\d+)(?:\s*-\s*(\d+))?", found.group(1) if found else ""):
        numbers.update(range(int(first), int(last or first) + 1))
    return sorted(numbers)


def _blank_named(kelvin, header, channels, n_channels, mends):
    named = named_bad_channels(header)
    if not named:
        return
    good = sorted(set(range(1, n_channels + 1)) - set(named))
    if named[-1] > n_channels or not good or good[-1] - good[0] + 1 != len(good):
        warnings.warn(
            f"{mends.source}: HISTORY calls {_channels(named)} bad, but these are not the edges of the "
            f"{n_channels} channels here, so none is blanked; cut bad ones off with velocity_range",
            HISAWarning,
            stacklevel=4,
        )
        return
    bad = [number - 1 - channels.start for number in named if channels.start < number <= channels.stop]
    if bad:
        kelvin[bad] = np.nan
        mends.add(f"{_channels(named)} blanked: contaminated or blank, says the HISTORY")


def _blank_zeros(kelvin, channels, mends):
    """Blank runs of all-zero channels at either end, unless that is the whole cube.

    In a single spectrum a zero is a value like any other.
    """
    if kelvin[0].size == 1:
        return
    empty = np.array([not np.any(np.nan_to_num(channel)) for channel in kelvin])
    if empty.all():
        return
    first, last = np.argmin(empty), len(empty) - np.argmin(empty[::-1])
    edge = [*range(first), *range(last, len(empty))]
    zero = [number for number in edge if not np.isnan(kelvin[number]).all()]
    if zero:
        kelvin[zero] = np.nan
        numbers = [number + channels.start + 1 for number in zero]
        mends.add(f"{_channels(numbers)} blanked: 0 everywhere, at the edge of the band")


def _channels(numbers):
    """Ascending channel numbers, in words: channels 1-18, 272."""
    runs = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    words = ", ".join(f"{first}-{last}" if last > first else f"{first}" for first, last in runs)
    return f"channel{'s' if len(numbers) > 1 else ''} {words}"
