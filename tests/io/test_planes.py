"""Images written plane by plane are, to the byte, those that astropy writes at once."""

import numpy as np
import pytest
from astropy.io import fits

from hisatools.io.planes import write_planes

TYPES = ["uint8", "int16", "int32", "int64", "float32", "float64"]
# Planes of 35 single bytes end within a word of four; 720 words are one block of a file.
SHAPES = [(6, 5, 7), (1, 1, 1), (720, 1, 1), (4, 30, 24), (5, 3), (2, 3, 4, 5)]


def random_image(shape, dtype, seed=1):
    rng = np.random.default_rng(seed)
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if np.dtype(dtype).kind == "f":
        image = rng.normal(0, 1e3, shape).astype(dtype)
        image.flat[0] = np.nan
        return image
    return np.frombuffer(rng.bytes(size), dtype).reshape(shape)


def as_astropy_writes_it(path, image, header, checksum_comment, datasum_comment):
    hdu = fits.PrimaryHDU(image, header)
    hdu.add_datasum(when=datasum_comment)
    hdu.add_checksum(when=checksum_comment, override_datasum=True)
    hdu.writeto(path)
    return path.read_bytes()


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_files_are_those_of_astropy(shape, dtype, tmp_path):
    header = fits.Header({"OBJECT": "MA1", "BUNIT": "K"})
    header.add_history("of a test")
    for seed in range(3):
        image = random_image(shape, dtype, seed)
        path = tmp_path / f"{seed}.fits"
        write_planes(path, iter(image), shape, image.dtype, header)
        comments = fits.getheader(path).comments
        words = comments["CHECKSUM"], comments["DATASUM"]
        assert path.read_bytes() == as_astropy_writes_it(tmp_path / f"a{seed}.fits", image, header, *words)
        with fits.open(path, checksum=True) as (hdu,):  # a wrong sum is a warning
            np.testing.assert_array_equal(hdu.data, image)
    assert list(header) == ["OBJECT", "BUNIT", "HISTORY"]


@pytest.mark.parametrize("value", [0, 1, 0x3A3A3A3A, 0xFFFFFFFF, 0x80000000])
def test_checksum_of_words_that_carry_or_spell_punctuation(value, tmp_path):
    image = np.full((3, 8, 8), value, np.uint32).view(np.int32)
    write_planes(tmp_path / "a.fits", image, image.shape, image.dtype, fits.Header())
    with fits.open(tmp_path / "a.fits", checksum=True) as (hdu,):
        assert hdu.header["CHECKSUM"].isalnum()
        assert hdu.verify_checksum() == hdu.verify_datasum() == 1


def test_any_byte_order_is_stored_as_fits_has_it(tmp_path):
    image = random_image((3, 4, 5), "float32")
    for order in "<>":
        path = tmp_path / f"{order}.fits"
        write_planes(path, image.astype(f"{order}f4"), image.shape, f"{order}f4", fits.Header())
        np.testing.assert_array_equal(fits.getdata(path), image)


@pytest.mark.parametrize("n_planes", [2, 4])
def test_planes_must_fill_the_image(n_planes, tmp_path):
    planes = np.zeros((n_planes, 4, 5), np.float32)
    with pytest.raises(ValueError, match=r"do not fill an image of shape \(3, 4, 5\)"):
        write_planes(tmp_path / "a.fits", planes, (3, 4, 5), planes.dtype, fits.Header())


@pytest.mark.parametrize("shape", [(5, 4), (20,), (4, 5, 1)], ids=str)
def test_each_plane_has_the_shape_of_the_image(shape, tmp_path):
    planes = [np.zeros(plane, np.float32) for plane in ((4, 5), shape, (4, 5))]
    with pytest.raises(ValueError, match=r"plane 1 has the shape .*, and those of the image have \(4, 5\)"):
        write_planes(tmp_path / "a.fits", planes, (3, 4, 5), np.float32, fits.Header())


@pytest.mark.parametrize("dtype", ["bool", "float16", "int8", "uint16", "complex64"])
def test_types_that_fits_does_not_have_are_refused(dtype, tmp_path):
    planes = np.zeros((3, 4, 5), dtype)
    with pytest.raises(
        ValueError, match=f"FITS has no images of {dtype}; convert it to one of: uint8, int16"
    ):
        write_planes(tmp_path / "a.fits", planes, planes.shape, planes.dtype, fits.Header())
    assert not any(tmp_path.iterdir())


def test_an_existing_file_is_not_touched(tmp_path):
    (tmp_path / "a.fits").write_text("mine")
    planes = np.zeros((3, 4, 5), np.float32)
    with pytest.raises(FileExistsError):
        write_planes(tmp_path / "a.fits", planes, planes.shape, planes.dtype, fits.Header())
    assert (tmp_path / "a.fits").read_text() == "mine"
