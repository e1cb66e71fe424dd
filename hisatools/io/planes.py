"""FITS images written plane by plane, so that no second copy of a cube is ever held.

astropy makes the header. The checksum keywords are those of the FITS standard (version 4.0, section
4.4.2.7 and appendix J): ones' complement sums of big-endian 32-bit words, which need one plane at a time.
"""

from datetime import datetime

import numpy as np

__all__ = ["write_planes"]

FITS_BLOCK = 2880
WORD = 0xFFFFFFFF
TYPES = ("uint8", "int16", "int32", "int64", "float32", "float64")


def write_planes(path, planes, shape, dtype, header):
    """Write an image plane by plane as the primary image of a new FITS file, with checksums.

    Parameters
    ----------
    path : path
        The file; it must not exist.
    planes : iterable of `~numpy.ndarray`
        What the first axis of the image counts, in order; NaN where blank.
    shape : tuple of int
        Of the whole image, in numpy order.
    dtype : `~numpy.dtype`
        One that FITS has, in any byte order: uint8, int16, int32, int64, float32 or float64.
    header : `~astropy.io.fits.Header`
        See `hisatools.io.writing.image_header`; it is not changed.

    Raises
    ------
    ValueError
        If FITS does not have the type, a plane has another shape, or the planes do not fill the image.

    Examples
    --------
    >>> from astropy.io import fits
    >>> planes = (np.full((2, 3), channel, np.float32) for channel in range(4))
    >>> write_planes("steps.fits", planes, (4, 2, 3), np.float32, fits.Header())
    >>> fits.getdata("steps.fits").shape
    (4, 2, 3)
    """
    header = _complete_header(shape, dtype, header)
    with open(path, "xb") as file:
        file.write(_to_bytes(header))
        total, n_bytes = _write_data(file, planes, shape[1:], np.dtype(dtype).newbyteorder(">"))
        if n_bytes != np.prod(shape, dtype=np.int64) * np.dtype(dtype).itemsize:
            raise ValueError(f"the planes hold {n_bytes} bytes, which do not fill an image of shape {shape}")
        file.write(b"\0" * (-n_bytes % FITS_BLOCK))
        # No card changes its length, so the header still fits in its place.
        header["DATASUM"] = str(total)
        header["CHECKSUM"] = _as_text(_word_sum(_to_bytes(header), total))
        file.seek(0)
        file.write(_to_bytes(header))


def _complete_header(shape, dtype, header):
    """The header with the cards that describe the data, and room for the checksums."""
    from astropy.io import fits

    if np.dtype(dtype).name not in TYPES:
        raise ValueError(f"FITS has no images of {np.dtype(dtype)}; convert it to one of: {', '.join(TYPES)}")
    # A stand-in for the data, which takes no memory.
    complete = fits.PrimaryHDU(np.broadcast_to(np.zeros((), dtype), shape), header).header.copy()
    now = datetime.now().isoformat(timespec="seconds")
    complete["CHECKSUM"] = ("0" * 16, f"HDU checksum updated {now}")
    complete["DATASUM"] = ("0", f"data unit checksum updated {now}")
    return complete


def _to_bytes(header):
    return header.tostring().encode("ascii")


def _write_data(file, planes, shape, dtype):
    """Write the planes as they follow each other; returns their sum and the number of bytes."""
    total, n_bytes, rest = 0, 0, b""
    for number, plane in enumerate(planes):
        if plane.shape != tuple(shape):
            raise ValueError(
                f"plane {number} has the shape {plane.shape}, and those of the image have {shape}"
            )
        content = np.ascontiguousarray(plane, dtype).tobytes()
        file.write(content)
        n_bytes += len(content)
        # A plane of single bytes may end within a word, which the next plane completes.
        content = rest + content
        whole = len(content) - len(content) % 4
        total, rest = _word_sum(content[:whole], total), content[whole:]
    return _word_sum(rest.ljust(-(-len(rest) // 4) * 4, b"\0"), total), n_bytes


def _word_sum(content, total=0):
    """Add big-endian words to a sum, carrying what overflows to its low end."""
    total += int(np.frombuffer(content, ">u4").sum(dtype=np.uint64))
    while total > WORD:
        total = (total & WORD) + (total >> 32)
    return total


def _as_text(total):
    """The text in CHECKSUM that brings the sum of the whole HDU, ``total`` without it, to zero."""
    columns = [_four_characters(byte) for byte in (WORD - total).to_bytes(4, "big")]
    text = "".join(chr(column[row]) for row in range(4) for column in columns)
    # The value of a card starts one byte behind a word.
    return text[-1] + text[:-1]


def _four_characters(byte):
    """Codes of four letters or digits that stand for a byte: their sum, less that of four zeros."""
    quarter, rest = divmod(byte, 4)
    codes = [ord("0") + quarter + rest, *[ord("0") + quarter] * 3]
    for one in (0, 2):
        while not (chr(codes[one]).isalnum() and chr(codes[one + 1]).isalnum()):
            codes[one] += 1
            codes[one + 1] -= 1
    return codes
