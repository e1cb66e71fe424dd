"""Small FITS files: a clean Galactic H I header, and any survey header with few pixels behind it."""

import warnings

import numpy as np
import pytest
from astropy.io import fits

from hisatools.cube import HISACube
from hisatools.errors import MendWarning

CLEAN_CARDS = {
    "CTYPE1": "GLON-CAR", "CRVAL1": 120.0, "CRPIX1": 3.0, "CDELT1": -0.005, "CUNIT1": "deg",
    "CTYPE2": "GLAT-CAR", "CRVAL2": 0.0, "CRPIX2": 2.0, "CDELT2": 0.005, "CUNIT2": "deg",
    "CTYPE3": "VRAD", "CRVAL3": -60000.0, "CRPIX3": 1.0, "CDELT3": -1000.0, "CUNIT3": "m/s",
    "RESTFRQ": 1.42040575177e9, "SPECSYS": "LSRK", "BUNIT": "K", "OBJECT": "test field",
}  # fmt: skip
SHAPE = (8, 5, 6)


@pytest.fixture
def clean_header():
    """A header that needs no mending, for data of shape (8, 5, 6)."""
    header = fits.Header(CLEAN_CARDS)
    header.update({f"NAXIS{axis}": length for axis, length in enumerate(reversed(SHAPE), 1)})
    return header


@pytest.fixture
def brightness():
    """Distinct values that float32 holds exactly, shape (8, 5, 6)."""
    return np.arange(1, 1 + np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)


@pytest.fixture
def write_fits(tmp_path):
    """Write data behind CLEAN_CARDS with changes (None removes a card); returns the path."""

    def write(data, name="cube.fits", **changes):
        hdu = fits.PrimaryHDU(np.asarray(data))
        for key, value in {**CLEAN_CARDS, **changes}.items():
            if value is not None:
                hdu.header[key] = value
        hdu.writeto(tmp_path / name, overwrite=True)
        return tmp_path / name

    return write


@pytest.fixture
def survey_header(shared_data):
    """Read the header text of a survey file, with few pixels on the sky."""

    def read(name, **changes):
        text = (shared_data / "headers" / f"{name}.hdr").read_text()
        header = fits.Header.fromstring(text, sep="\n")
        for key in ("CHECKSUM", "DATASUM"):
            header.remove(key, ignore_missing=True)
        header.update({"NAXIS1": 4, "NAXIS2": 3, **changes})
        return header

    return read


@pytest.fixture
def behind_header(tmp_path):
    """Write raw pixels behind a header, whatever it says; returns the path."""

    def write(header, raw, name="survey.fits"):
        kind = {16: ">i2", -32: ">f4", -64: ">f8"}[header["BITPIX"]]
        data = np.asarray(raw).astype(kind).tobytes()
        text = header.tostring(padding=True).encode()
        (tmp_path / name).write_bytes(text + data + bytes(-len(data) % 2880))
        return tmp_path / name

    return write


@pytest.fixture
def read_mended():
    """Read a cube and hold every MendWarning against `HISACube.mends`: one each, nothing else."""

    def read(path, **arguments):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", MendWarning)
            cube = HISACube.read(path, **arguments)
        assert [str(one.message) for one in caught] == [f"{path}: {text}" for text in cube.mends]
        return cube

    return read
