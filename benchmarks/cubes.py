"""Model cubes of the paper's section 3.2, made once and kept as files."""

from astropy.io import fits

from hisatools import HISACube
from hisatools.io.writing import write_image, writing_file
from hisatools.simulate import ModelParameters, simulate_cube

SEED = 1
# A step of 0.01 K holds -327 to 327 K: as surveys that are kept as 16-bit integers.
INTEGER_STEP_KELVIN = 0.01


def model_file(folder, shape):
    """Path of the model cube of a shape, float32; it is made if it is not in the folder.

    Parameters
    ----------
    folder : path
    shape : tuple of int
        (n_v, n_y, n_x).
    """
    path = folder / f"model_{'x'.join(map(str, shape))}_seed{SEED}.fits"
    if not path.exists():
        cube = simulate_cube(ModelParameters().scaled(shape), seed=SEED).cube
        with writing_file(path) as part:
            write_image(part, cube.data, cube.header)
    return path


def integer_file(path):
    """The same cube beside it as scaled 16-bit integers; it is made if it is not there."""
    other = path.with_name(f"{path.stem}_int16.fits")
    if not other.exists():
        cube = HISACube.read(path)
        header = cube.header
        header["BUNIT"] = "K"
        image = fits.PrimaryHDU(cube.kelvin, header)
        image.scale("int16", bscale=INTEGER_STEP_KELVIN, bzero=0)
        with writing_file(other) as part:
            image.writeto(part)
    return other


def corner(cube, shape):
    """The part of this shape at the first voxel of a cube."""
    return cube.cutout(tuple(slice(0, size) for size in shape))
