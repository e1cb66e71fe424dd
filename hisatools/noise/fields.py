"""What the strategies share: a field that holds the noise and little else, and robust maps of its rms.

The emission is taken out of a cube by the mean over a box of some beams, O - S; a sky smaller than
that box is left with differences of its channels. Both are scaled so that their variance is that of the
noise of O.
"""

from dataclasses import dataclass

import numpy as np
from astropy.stats import gaussian_fwhm_to_sigma
from scipy.ndimage import gaussian_filter1d
from scipy.stats import norm

from hisatools.errors import InputError
from hisatools.noise.certainty import (
    difference_correlation,
    gathered_values,
    profile_correlation,
    warn_of_white,
)
from hisatools.noise.correlation import DIFFERENCE_LAG, MAD_TO_SIGMA, box_noise, noise_correlation
from hisatools.noise.differences import (
    MIN_CHANNELS,
    MIN_CORRELATION_CHANNELS,
    difference_line_chan,
    difference_variance,
    third_difference,
)
from hisatools.parameters import check_quantity
from hisatools.search.base import row_blocks, run_blocks
from hisatools.smoothing import box_mean, odd_pixels

# Wide enough that the mean keeps 9 % of the variance, narrow against the scales of the emission.
BOX_BEAMS = 5.0
# Where neither the header nor the noise tells of a beam: what surveys sample a beam with.
USUAL_BEAM_PIX = 3.0
ROWS_PER_BLOCK = 32
# Rounds of clipping; each takes what is left of an outlier down by more than half.
CLIP_ROUNDS = 6


@dataclass(frozen=True, eq=False)
class NoiseField:
    """Deviations of a cube that are mostly noise.

    Parameters
    ----------
    kelvin : `~numpy.ndarray` of float32, shape (n_v, n_y, n_x)
        Of the variance of the noise of O; NaN where blank or masked.
    smooth_kelvin : `~numpy.ndarray` of float32, same shape
        The emission that was taken out; NaN where blank or masked.
    beam_pix : float
        FWHM of the beam over which the noise is correlated: measured, or the header's where the sky is
        smaller than the box.
    line_chan : float
        FWHM of the profile over which the noise of neighbouring channels is correlated.
    channels_per_value : float
        Channels that count as one independent value.
    """

    kelvin: np.ndarray
    smooth_kelvin: np.ndarray
    beam_pix: float
    line_chan: float
    channels_per_value: float

    def n_values(self, fwhm_pix, *, n_parts=1):
        """Independent values that tell the noise of a typical sight line, or of one part of its band."""
        count = np.isfinite(self.kelvin).sum(axis=0) // n_parts
        return gathered_values(count, fwhm_pix, self.beam_pix, self.channels_per_value)


def noise_field(cube, mask=None, *, workers=1):
    """Take the emission out of a cube; see `NoiseField`.

    Parameters
    ----------
    cube : `~hisatools.HISACube`
    mask : `~numpy.ndarray` of bool, shape (n_v, n_y, n_x) or (n_y, n_x), optional
        True where a voxel is not to be used.
    workers : int

    Returns
    -------
    `NoiseField`

    Raises
    ------
    InputError
        If the sky is smaller than the box and the spectra are too short for differences.
    """
    kelvin = unmasked(cube, mask)
    box_pix = box_of(cube)
    if not wide(cube):
        return _channel_field(kelvin, beam_of(cube), source(cube))
    correlation = noise_correlation(kelvin, box_pix, workers=workers)
    share = box_noise(box_pix, correlation.beam_pix)
    smooth = np.array(run_blocks(lambda channel: box_mean(channel, box_pix), kelvin, workers=workers))
    field = (kelvin - smooth) / np.float32(np.sqrt(share.removed))
    check_enough(field, source(cube))
    line_chan = correlation.line_chan
    return NoiseField(field, smooth, correlation.beam_pix, line_chan, profile_correlation(line_chan))


def _channel_field(kelvin, beam_pix, source_name):
    """Third differences of the channels, each at the middle of the channels that it is made of."""
    line_chan = difference_line_chan(kelvin)
    # An even lag: the difference has a middle channel, and a reversed spectrum has the same.
    difference = third_difference(kelvin, DIFFERENCE_LAG)
    field = np.full(kelvin.shape, np.nan, np.float32)
    first = 3 * DIFFERENCE_LAG // 2
    field[first : first + len(difference)] = difference / np.sqrt(
        difference_variance(DIFFERENCE_LAG, line_chan)
    )
    check_enough(field, source_name)
    if len(kelvin) < MIN_CORRELATION_CHANNELS:
        warn_of_white(source_name, len(kelvin), MIN_CORRELATION_CHANNELS)
    smooth = running_mean(kelvin, 5)
    return NoiseField(field, smooth, beam_pix, line_chan, difference_correlation(line_chan))


def running_mean(kelvin, n_channels):
    """Mean over some channels, blank ones left out; NaN where blank."""
    finite = np.isfinite(kelvin)
    padded = np.cumsum(np.pad(np.where(finite, kelvin, 0), ((1, 0), (0, 0), (0, 0))), axis=0, dtype=float)
    counts = np.cumsum(np.pad(finite, ((1, 0), (0, 0), (0, 0))), axis=0)
    at = np.arange(len(kelvin))
    low, high = np.maximum(at - n_channels // 2, 0), np.minimum(at + n_channels // 2 + 1, len(kelvin))
    with np.errstate(invalid="ignore"):
        mean = (padded[high] - padded[low]) / (counts[high] - counts[low])
    return np.where(finite, mean, np.nan).astype(np.float32)


def unmasked(cube, mask):
    """Brightness with NaN where a mask is True; the cube's own array if there is no mask."""
    if mask is None:
        return cube.kelvin
    return np.where(mask, np.float32(np.nan), cube.kelvin)


def source(cube):
    """How a cube is called in messages."""
    return cube.meta.get("path", "the cube")


def check_enough(field, source_name):
    """Refuse a field in which too few voxels are left to measure noise."""
    n = int(np.isfinite(field).sum())
    if n < MIN_CHANNELS:
        raise InputError(
            f"{source_name}: only {n} usable voxels are left of {field.size}, and the noise needs "
            f"{MIN_CHANNELS} or more; give a cube with more channels or pixels, or a smaller mask"
        )


def beam_of(cube):
    """FWHM of the beam in pixels: the header's, or what surveys usually have."""
    if cube.beam is None:
        return USUAL_BEAM_PIX
    return float((np.sqrt(cube.beam.major * cube.beam.minor) / cube.pixel_scale).to_value(""))


def box_of(cube):
    """Odd side in pixels of the box whose mean is S."""
    return max(odd_pixels(BOX_BEAMS * beam_of(cube)), 3)


def wide(cube):
    """Whether the sky holds the box whose mean is S."""
    return min(cube.shape[1:]) >= box_of(cube)


def scale_pix(name, size, beams, cube):
    """An angle in pixels, or a number of beams where it is None.

    Parameters
    ----------
    name : str
        Of the parameter, for messages.
    size : `~astropy.units.Quantity` or None
    beams : float
    cube : `~hisatools.HISACube`
    """
    if size is None:
        return beams * beam_of(cube)
    return float((check_quantity(name, size, "arcmin") / cube.pixel_scale).to_value(""))


def clipped_variance(field, fwhm_pix, clip, *, workers=1):
    """Mean square of each sight line about 0, smoothed on the sky, without what lies beyond a few sigma.

    The first level is the median of the squares; each round takes the mean of those squares that lie
    within ``clip`` sigma of the round before and corrects it for the tails of a Gaussian that are cut off.

    Parameters
    ----------
    field : `~numpy.ndarray`, shape (n, n_y, n_x), K
        NaN is left out.
    fwhm_pix : float
        FWHM of the Gaussian on the sky over which squares are gathered; 0 for none.
    clip : float
        In sigma.
    workers : int

    Returns
    -------
    `~numpy.ndarray`, shape (n_y, n_x), K^2
        Sight lines with nothing of their own take what lies about them; NaN if nothing is known at all.
    """
    rows = row_blocks(field.shape[1], ROWS_PER_BLOCK)
    medians = run_blocks(lambda block: _median_square(field[:, block]), rows, workers=workers)
    variance = filled(smooth_map(np.concatenate(medians), fwhm_pix))
    cut = 2 * clip * norm.pdf(clip) / (norm.cdf(clip) - norm.cdf(-clip))
    for _ in range(CLIP_ROUNDS):
        level = (clip**2 * variance).astype(np.float32)
        parts = run_blocks(
            lambda block, level=level: _sum_below(field[:, block], level[block]), rows, workers=workers
        )
        total, number = (np.concatenate(part) for part in zip(*parts, strict=True))
        variance = filled(_ratio(smooth(total, fwhm_pix), smooth(number, fwhm_pix))) / (1 - cut)
    return variance


def _sum_below(field, level):
    """Sum and number of the squares of each sight line that are not above its level."""
    square = np.square(field)
    kept = square <= level
    return np.where(kept, square, 0).sum(axis=0, dtype=float), kept.sum(axis=0, dtype=float)


def _median_square(field):
    """Variance of each sight line from the median of its squares, float64; NaN where all are NaN."""
    variance = np.full(field.shape[1:], np.nan)
    known = np.isfinite(field).any(axis=0)
    if known.any():
        variance[known] = np.square(MAD_TO_SIGMA * np.nanmedian(np.abs(field[:, known]), axis=0))
    return variance


def _ratio(total, number):
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(number > 1e-6, total / number, np.nan)


def filled(image):
    """What is not known takes the median of what is."""
    known = np.isfinite(image)
    return image if known.all() or not known.any() else np.where(known, image, np.median(image[known]))


def smooth(image, fwhm_pix):
    """Convolve a map with a Gaussian of unit sum; zeros lie beyond the borders."""
    if fwhm_pix <= 0:
        return image
    for axis, size in enumerate(image.shape):
        if size > 1:
            image = gaussian_filter1d(image, fwhm_pix * gaussian_fwhm_to_sigma, axis=axis, mode="constant")
    return image


def smooth_map(image, fwhm_pix, number=1):
    """Gaussian mean of the known pixels of a map, each with its number of values; NaN where none is near."""
    number = np.where(np.isfinite(image), number, 0).astype(float)
    return _ratio(smooth(np.where(number > 0, image, 0) * number, fwhm_pix), smooth(number, fwhm_pix))


def brightness(cube, *, workers=1):
    """Brightness from which most of the noise is averaged away, at least 0; NaN where blank.

    The mean over five beams, or over five channels where the sky is smaller, and over three channels.
    """
    box_pix = box_of(cube)
    if not wide(cube):
        smooth_kelvin = running_mean(cube.kelvin, 5)
    else:
        channels = run_blocks(lambda channel: box_mean(channel, box_pix), cube.kelvin, workers=workers)
        smooth_kelvin = np.array(channels)
    rows = row_blocks(cube.shape[1], ROWS_PER_BLOCK)
    parts = run_blocks(lambda block: running_mean(smooth_kelvin[:, block], 3), rows, workers=workers)
    return np.maximum(np.concatenate(parts, axis=1), np.float32(0))
