"""Opening FITS files: which HDU, whether it is whole, and the part that is wanted."""

import contextlib
import hashlib
import warnings
import zlib

import numpy as np
from astropy.io import fits
from astropy.io.fits.verify import VerifyWarning
from astropy.utils.exceptions import AstropyUserWarning

from hisatools.errors import InputError

# What reading the data of a damaged file raises, plain or compressed.
DAMAGE = (OSError, ValueError, TypeError, EOFError, zlib.error)


@contextlib.contextmanager
def opened(path):
    """The open file; harmless complaints about its cards are not passed on.

    Parameters
    ----------
    path : `~pathlib.Path`
        Of a FITS file, which may be compressed.

    Yields
    ------
    `~astropy.io.fits.HDUList`

    Raises
    ------
    InputError
        If there is no such file, it may not be read, or it is not FITS.
    """
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "no such file"
        raise InputError(f"{path}: {what}; give the path of a FITS file")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VerifyWarning)
        # A truncated image is an error here, see `read_box`; a cut-off trailing table is not.
        warnings.filterwarnings("ignore", ".*truncated", AstropyUserWarning)
        try:
            # Not memory-mapped: astropy cannot scale integers in a map, and `read_box` holds no
            # more than a plane anyway.
            hdus = fits.open(path, memmap=False)
        except PermissionError:
            raise InputError(f"{path}: may not be read; change its permissions") from None
        except DAMAGE as exc:
            raise InputError(
                f"{path}: not a FITS file, or cut off within its first header; give a FITS cube"
            ) from exc
        with hdus:
            yield hdus


def choose_image(hdus, wanted, path, *, n_axes):
    """Number of the first image with at least ``n_axes`` axes, or of the HDU asked for.

    Parameters
    ----------
    hdus : `~astropy.io.fits.HDUList`
    wanted : int, str or None
        Number or name of an HDU.
    path : `~pathlib.Path`
        Of the file, for messages.
    n_axes : int
        The least number of axes, those of length 1 included.

    Returns
    -------
    int

    Raises
    ------
    InputError
        If there is none; the message says what there is.
    """
    numbers = range(len(hdus))
    if wanted is not None:
        try:
            numbers = [hdus.index_of(wanted)]
            hdus[numbers[0]]
        except (KeyError, IndexError, TypeError):
            raise InputError(f"{path}: has no HDU {wanted!r}; it has {_listing(hdus)}") from None
    images = [number for number in numbers if hdus[number].is_image and hdus[number].shape]
    for number in images:
        if len(hdus[number].shape) >= n_axes:
            return number
    if not images:
        raise InputError(f"{path}: holds no image where one is needed; it has {_listing(hdus)}")
    shape = hdus[images[0]].shape
    kind, cure = {1: ("1-D spectrum", "read its columns and use HISACube.from_spectrum")}.get(
        len(shape), (f"{len(shape)}-D image", "give a cube with longitude, latitude and velocity")
    )
    raise InputError(f"{path}: is a {kind} ({' x '.join(map(str, shape))}), {n_axes} axes are needed; {cure}")


def read_box(image, index, path):
    """The part of an image that ``index`` selects, read one plane at a time.

    Parameters
    ----------
    image : image HDU
    index : tuple of int and slice
        One entry an axis, in numpy order; at least one slice.
    path : `~pathlib.Path`
        Of the file, for messages.

    Returns
    -------
    `~numpy.ndarray` of float32, C-contiguous
        BSCALE, BZERO and BLANK applied, blank integers being NaN. What float32 cannot hold
        becomes infinite.

    Raises
    ------
    InputError
        If the file ends before the image does, even where the part asked for is there.
    """
    lengths = [
        len(range(*part.indices(n))) for part, n in zip(index, image.shape, strict=True) if _is_slice(part)
    ]
    values = np.empty(lengths, dtype=np.float32)
    outer = next(axis for axis, part in enumerate(index) if _is_slice(part))
    try:
        _check_length(image, path)
        with np.errstate(over="ignore"):
            for number, plane in enumerate(range(*index[outer].indices(image.shape[outer]))):
                values[number] = image.section[(*index[:outer], plane)][index[outer + 1 :]]
    except InputError:
        raise
    except DAMAGE as exc:
        raise InputError(f"{path}: the data are truncated or damaged; get the file again") from exc
    return values


def sha256(path):
    """Checksum of a file, as 64 hexadecimal digits; read in small pieces."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _is_slice(part):
    return isinstance(part, slice)


def _check_length(image, path):
    with open(path, "rb") as stream:
        plain = stream.read(6) == b"SIMPLE"
    if not plain or isinstance(image, fits.CompImageHDU):
        return  # decompressing tells
    needed, length = image.fileinfo()["datLoc"] + image.size, path.stat().st_size
    if length < needed:
        raise InputError(
            f"{path}: truncated: {length} bytes where the image needs {needed}; get the file again"
        )


def _listing(hdus):
    return ", ".join(
        f"{number} {one.name or 'unnamed'} ({' x '.join(map(str, one.shape)) if one.is_image else 'table'})"
        for number, one in enumerate(hdus)
    )
