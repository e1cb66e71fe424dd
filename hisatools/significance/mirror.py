"""A cube mirrored about its emission: noise and small structure with their signs turned.

Whatever a search finds in it is false, and the better the mirror the more it is like what the
same search finds falsely in the cube itself. So the found absorption is filled in with T_U first, and the
mirror is the emission on scales that the search does not look for.
"""

import astropy.units as u
import numpy as np
from astropy.stats import gaussian_fwhm_to_sigma
from scipy.ndimage import gaussian_filter1d

from hisatools.backends import get_backend, resolve
from hisatools.errors import InputError, ParameterError
from hisatools.filling import FilledCube, VoxelValues
from hisatools.parameters import check_number, check_quantity
from hisatools.search.base import MIN_STEPS, row_blocks, run_blocks
from hisatools.significance.reliability_points import VoxelNoise, _voxels, significances

__all__ = ["BACKGROUND_FWHM", "BACKGROUND_LINEWIDTH", "FILL_SIGNIFICANCE", "mirrored"]

# That of the spatial search's CLEAN kernel: what is wider is emission to it.
BACKGROUND_FWHM = 20.0 * u.arcmin
# That of the broader line which the spectral search fits: absorption that is wide on the sky is narrow here.
BACKGROUND_LINEWIDTH = 4.0 * u.km / u.s
# What `ExtractionParameters` keeps by default: hardly ever noise alone.
FILL_SIGNIFICANCE = 4.0
ROWS_PER_BLOCK = 32


def mirrored(
    cube,
    result,
    *,
    background_fwhm=BACKGROUND_FWHM,
    background_linewidth=BACKGROUND_LINEWIDTH,
    fill_significance=FILL_SIGNIFICANCE,
    noise=None,
    convolution=None,
    workers=1,
):
    """A cube in which every dip below its emission is a bump, and every bump a dip.

    With O_f the cube in which significant absorption is replaced by T_U, it is O' = 2 B - O_f. The emission B
    is O_f smoothed with 2 G - G * G on the sky and then along velocity, where G is a Gaussian: what is much
    wider than G in both stays as it is, and all else is turned.

    Parameters
    ----------
    cube : `~hisatools.HISACube`
        A map; NaN is blank.
    result : `~hisatools.HISAResult`
        What was found in it.
    background_fwhm : `~astropy.units.Quantity`, angle
        FWHM of G on the sky. Structure between turned and kept is weakened, so that a narrow one would leave
        too little noise to be found.
    background_linewidth : `~astropy.units.Quantity`, velocity
        FWHM of G along velocity. Absorption that is as wide as the emission on the sky is narrower in
        velocity; so it is not kept where the search misses it. Below a channel nothing is done.
    fill_significance : float
        Features of at least this significance (see `~hisatools.features.feature_significance`), or of unknown
        noise, are replaced by T_U. Fainter ones are left, as most are noise: without its dips the noise
        would be mirrored to noise without its bumps, and fewer false features would be found.
    noise : `~hisatools.significance.reliability_points.VoxelNoise`, optional
        Of the cube; measured if not given.
    convolution : str, optional
        Name of the backend; by default the fastest one.
    workers : int
        Number of threads; never changes the result.

    Returns
    -------
    `~hisatools.HISACube`
        On the same axes, with weights and beam; NaN where the cube is.

    Raises
    ------
    InputError
        If the cube is one sight line, or the result is of another shape.
    ParameterError
        If a parameter is impossible.

    Examples
    --------
    >>> from hisatools import HISAExtractor
    >>> from hisatools.significance.mirror import mirrored
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> model = simulate_cube(ModelParameters(shape=(32, 96, 96), n_pucks=20, n_components=100), seed=3)
    >>> result = HISAExtractor(n_passes=1).run(model.cube)  # doctest: +IGNORE_WARNINGS
    >>> mirrored(model.cube, result).shape
    (32, 96, 96)
    """
    check_number("fill_significance", fill_significance, inclusive=True)
    check_number("workers", workers, integer=True)
    if result.flags.shape != cube.shape:
        raise InputError(
            f"the result has the shape {result.flags.shape}, and the cube {cube.shape}; give the result of "
            "this cube"
        )
    noise = VoxelNoise.measure(cube, workers=workers) if noise is None else noise
    fwhm_pix = _fwhm_pix(background_fwhm, cube)
    line_chan = check_quantity("background_linewidth", background_linewidth, u.km / u.s, inclusive=True)
    line_chan = float((line_chan / cube.channel_width).to_value(""))
    filled = FilledCube(cube, filling(result, noise, fill_significance))
    smooth = get_backend("convolution", resolve("convolution", convolution)).gaussian(
        cube.shape[1:], fwhm_pix
    )

    def on_sky(channel):
        return _low_pass(filled.block(channel), smooth)

    emission = np.array(run_blocks(on_sky, range(cube.shape[0]), workers=workers))

    def mirror(rows):
        box = (slice(None), rows)
        part = _low_pass(emission[box], lambda values: _along_velocity(values, line_chan))
        emission[box] = 2 * part - filled.block(box)

    run_blocks(mirror, row_blocks(cube.shape[1], ROWS_PER_BLOCK), workers=workers)
    return cube.with_brightness(emission)


def filling(result, noise, fill_significance):
    """T_U of the features that are filled in, as `~hisatools.filling.VoxelValues`; see `mirrored`."""
    index, _, feature = _voxels(result, noise)
    chosen = ~(significances(result, noise) < fill_significance)
    return VoxelValues(index, result.unabsorbed_kelvin).only(chosen[feature])


def _fwhm_pix(background_fwhm, cube):
    """FWHM of G in pixels; a narrow one would keep everything as it is."""
    fwhm = check_quantity("background_fwhm", background_fwhm, u.arcmin)
    fwhm_pix = float((fwhm / cube.pixel_scale).to_value(""))
    if fwhm_pix < MIN_STEPS:
        raise ParameterError(
            f"background_fwhm={fwhm:g} is {fwhm_pix:.2g} pixels of {cube.pixel_scale:.3g}, and only what is "
            "smaller is turned; write something wider than the absorption, for example "
            f"background_fwhm={BACKGROUND_FWHM.value:g} * u.arcmin"
        )
    return fwhm_pix


def _low_pass(values, smooth):
    """What 2 G - G * G leaves of an array, by its known part alone; NaN where that is blank."""
    known = np.isfinite(values)
    share = smooth(known.astype(np.float32))

    def mean(part):
        total = smooth(np.where(known, part, np.float32(0)))
        return np.divide(total, share, out=np.full_like(total, np.nan), where=known)

    first = mean(values)
    return first + mean(values - first)


def _along_velocity(values, fwhm_chan):
    """Convolve with a Gaussian along the first axis, zeros beyond its ends; a narrow one does nothing."""
    if fwhm_chan < 1:
        return values
    return gaussian_filter1d(values, fwhm_chan * gaussian_fwhm_to_sigma, axis=0, mode="constant")
