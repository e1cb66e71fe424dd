"""What both searches share: scales in pixels, blocks run side by side."""

import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import astropy.units as u
from threadpoolctl import ThreadpoolController
from tqdm import tqdm

from hisatools.errors import HISAWarning, InputError

MIN_STEPS = 2
LARGE_KERNEL = 1 / 3


def clean_scale(name, fwhm, cube):
    """FWHM of a CLEAN kernel in pixels or channels, if the cube can carry it.

    Parameters
    ----------
    name : str
        The parameter, for messages.
    fwhm : `~astropy.units.Quantity`
        An angle or a velocity.
    cube : `~hisatools.HISACube`

    Returns
    -------
    float

    Raises
    ------
    InputError
        If the kernel is not resolved (below `MIN_STEPS`) or does not fit (above the axis).
    """
    step, n = _axis(fwhm, cube)
    size = (fwhm / step).to_value("")
    source = cube.meta.get("path", "the cube")
    unit = "channels" if step.unit.is_equivalent(u.km / u.s) else "pixels"
    if size < MIN_STEPS:
        raise InputError(
            f"{source}: {name}={fwhm:g} is {size:.2g} {unit} of {step:.3g}, and a CLEAN kernel needs at "
            f"least {MIN_STEPS}; set {name} to {MIN_STEPS * step:.3g} or more, or use a finer cube"
        )
    if size > n:
        raise InputError(
            f"{source}: {name}={fwhm:g} is {size:.0f} {unit} but the axis has only {n} ({n * step:.3g}), too "
            f"small for this kernel; use a larger cube or a smaller {name}"
        )
    if size > n * LARGE_KERNEL * (1 + 1e-6):
        _warn(f"{name}={fwhm:g} is over a third of the axis ({n * step:.3g}): U is less certain")
    return float(size)


def smoothing_scale(name, size, cube):
    """A smoothing scale in pixels; below one pixel it does nothing, and that is said."""
    step, _ = _axis(size, cube)
    pixels = float((size / step).to_value(""))
    if 0 < pixels < 1:
        _warn(f"{name}={size:g} is below the pixel of {step:.3g}: it does nothing")
    return pixels


def line_scale(name, fwhm, cube):
    """A line width in channels, at least `MIN_STEPS`; widened with a warning."""
    step, _ = _axis(fwhm, cube)
    channels = float((fwhm / step).to_value(""))
    if channels < MIN_STEPS:
        _warn(f"{name}={fwhm:g} is below two channels of {step:.3g}: {MIN_STEPS * step:.3g} is used")
    return max(channels, float(MIN_STEPS))


def _axis(scale, cube):
    """Step and length of the axis that a scale belongs to."""
    if scale.unit.is_equivalent(u.km / u.s):
        return cube.channel_width, cube.shape[0]
    return cube.pixel_scale, min(cube.shape[1:])


def _warn(message):
    warnings.warn(message, HISAWarning, stacklevel=4)


def run_blocks(function, blocks, *, workers=1, progress=False, description=""):
    """Call ``function`` on each block in threads; results come in the order of the blocks.

    Parameters
    ----------
    function : callable
        Must release the interpreter lock to gain from threads; must not depend on other blocks.
    blocks : sequence
    workers : int
        Number of threads; never changes a result.
    progress : bool
        Whether to show a progress bar.
    description : str
        Stands beside the bar.

    Returns
    -------
    list
    """
    # Each block has a thread of its own: those that BLAS would add wait in a loop, on the same processors.
    with one_blas_thread(), ThreadPoolExecutor(workers) as pool:
        results = pool.map(function, blocks)
        return list(tqdm(results, total=len(blocks), desc=description, disable=not progress))


def one_blas_thread():
    """Context in which BLAS takes no threads of its own."""
    return _blas().limit(limits=1, user_api="blas")


@cache
def _blas():
    return ThreadpoolController()


def row_blocks(n_y, rows_per_block):
    """Slices of rows that cover ``n_y``."""
    return [slice(first, min(first + rows_per_block, n_y)) for first in range(0, n_y, rows_per_block)]
