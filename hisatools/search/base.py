"""What both searches share: scales in pixels, blocks run side by side."""

import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from tqdm import tqdm

from hisatools.errors import HISAWarning, InputError

FWHM_TO_SIGMA = 1 / np.sqrt(8 * np.log(2))


def clean_scale(name, fwhm, step, n):
    """FWHM of a CLEAN kernel in pixels or channels, if the axis can carry it.

    Parameters
    ----------
    name : str
        The parameter, for messages.
    fwhm, step : `~astropy.units.Quantity`
        FWHM and the width of a pixel or channel.
    n : int
        Length of the axis.

    Raises
    ------
    InputError
        If the kernel is not resolved (below 2) or does not fit (above ``n``).
    """
    size = float((fwhm / step).to_value(""))
    unit = "channels" if fwhm.unit.is_equivalent("km/s") else "pixels"
    if size < 2:
        raise InputError(
            f"{name}={fwhm:g} is {size:.2g} {unit} of {step:.3g}: a CLEAN kernel needs at least 2; "
            f"ask for {name} of {2 * step:.3g} or more, or use a finer cube"
        )
    if size > n:
        raise InputError(
            f"{name}={fwhm:g} is {size:.0f} {unit} but the axis has only {n} ({n * step:.3g}): too small "
            f"for this kernel; use a larger cube or a smaller {name}"
        )
    if size > n / 3:
        warnings.warn(
            f"{name}={fwhm:g} is more than a third of the axis ({n * step:.3g}): large features near the "
            "borders may be lost",
            HISAWarning,
            stacklevel=3,
        )
    return size


def smoothing_scale(name, size, step):
    """A smoothing scale in pixels; below one pixel it does nothing, and that is said."""
    pixels = float((size / step).to_value(""))
    if 0 < pixels < 1:
        warnings.warn(
            f"{name}={size:g} is below the pixel of {step:.3g}: it does nothing",
            HISAWarning,
            stacklevel=3,
        )
    return pixels


def line_scale(name, fwhm, step):
    """A line width in channels, at least 2; widened with a warning."""
    channels = float((fwhm / step).to_value(""))
    if channels < 2:
        warnings.warn(
            f"{name}={fwhm:g} is below two channels of {step:.3g}: {2 * step:.3g} is used",
            HISAWarning,
            stacklevel=3,
        )
    return max(channels, 2.0)


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
    with ThreadPoolExecutor(workers) as pool:
        results = pool.map(function, blocks)
        return list(tqdm(results, total=len(blocks), desc=description, disable=not progress))


def row_blocks(n_y, rows_per_block):
    """Slices of rows that cover ``n_y``."""
    return [slice(first, min(first + rows_per_block, n_y)) for first in range(0, n_y, rows_per_block)]
