"""Sources found and masked round by round, so that they do not count as noise.

In each channel map O - S is compared with its own local noise; what stands out over part of a beam is a
source, and a disk about it is masked. With it gone S and the noise are measured again, and fainter sources
appear, until a round finds no more.
"""

import warnings
from dataclasses import dataclass

import astropy.units as u
import numpy as np
from scipy import ndimage

from hisatools.errors import HISAWarning, InputError
from hisatools.noise.correlation import coarse_noise, expand_noise
from hisatools.noise.fields import beam_of, box_of, scale_pix, source, wide
from hisatools.noise.scales import keep_quantity
from hisatools.parameters import _number, _Parameters, _quantity
from hisatools.search.base import run_blocks

__all__ = ["AutomaticMaskParameters", "MaskRound", "SourceMask", "automatic_mask"]

# Area of a Gaussian beam in units of its FWHM squared.
BEAM_AREA = np.pi / (4 * np.log(2))
# The mean about a source holds some of it; without the pixels that deviate, it is made this often.
MEANS_PER_ROUND = 3


@dataclass(frozen=True, kw_only=True)
class AutomaticMaskParameters(_Parameters):
    """How sources are found and masked.

    Parameters
    ----------
    threshold : float
        A source is where O - S is above this many sigma, in emission or in absorption.
    least_area : float
        In beam areas: what stands out over less is a peak of the noise.
    radius_factor : float
        A source of n pixels is masked to so many times the radius of a disk of n pixels.
    bright : Quantity, temperature
        Sources with a peak above this have wide sidelobes: their disks are twice as large.
    noise_box : Quantity, angle, or None
        Side of the boxes in which the noise is measured; None takes 16 beams.
    stable_rounds : int
        How many rounds in a row must find nothing new.
    max_rounds : int
        When it stops in any case.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools.noise import AutomaticMaskParameters
    >>> parameters = AutomaticMaskParameters(threshold=5, bright=0.5 * u.kK)
    >>> parameters.threshold, parameters.bright
    (5, <Quantity 500. K>)
    """

    _section = "automatic-mask"

    threshold: float = _number(4.0)
    least_area: float = _number(0.5, inclusive=True)
    radius_factor: float = _number(2.0)
    bright: u.Quantity = _quantity(200 * u.K)
    noise_box: u.Quantity | None = None
    stable_rounds: int = _number(1, integer=True)
    max_rounds: int = _number(10, integer=True)

    def __post_init__(self):
        super().__post_init__()
        keep_quantity(self, "noise_box", u.arcmin)


@dataclass(frozen=True)
class MaskRound:
    """What one round found.

    Parameters
    ----------
    number : int
        From 1.
    n_sources, n_bright : int
        New sources of all channels, and how many of them are bright.
    masked_share : float
        Share of the finite voxels that is masked after it.
    sigma_kelvin : float
        Median noise, from the voxels that were not masked before.

    Examples
    --------
    >>> from hisatools.noise.sources import MaskRound
    >>> print(MaskRound(number=1, n_sources=8, n_bright=1, masked_share=0.021, sigma_kelvin=6.1))
    round 1: 8 sources masked, 1 of them bright, 2.1% of the voxels in all (noise 6.1 K)
    """

    number: int
    n_sources: int
    n_bright: int
    masked_share: float
    sigma_kelvin: float

    def __str__(self):
        if self.n_sources == 0:
            return f"round {self.number}: no sources to mask (noise {self.sigma_kelvin:.3g} K)"
        return (
            f"round {self.number}: {self.n_sources} sources masked, {self.n_bright} of them bright, "
            f"{self.masked_share:.1%} of the voxels in all (noise {self.sigma_kelvin:.3g} K)"
        )


@dataclass(frozen=True, eq=False)
class SourceMask:
    """Voxels of sources, and how they were found.

    Parameters
    ----------
    mask : `~numpy.ndarray` of bool, shape (n_v, n_y, n_x)
        True where there is a source; with the mask that was given.
    rounds : tuple of `MaskRound`
    stable : bool
        Whether the last rounds found nothing, so that more would not either.

    Examples
    --------
    A continuum source of 150 K in every channel:

    >>> from hisatools.noise import automatic_mask
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> empty = ModelParameters(shape=(8, 64, 64), n_pucks=0, n_components=50)
    >>> cube = simulate_cube(empty, seed=101).cube
    >>> kelvin = cube.kelvin.copy()
    >>> kelvin[:, 20:24, 30:34] += 150
    >>> found = automatic_mask(cube.with_brightness(kelvin))
    >>> print(found.report())
    round 1: 8 sources masked, 0 of them bright, 1.5% of the voxels in all (noise 6.11 K)
    round 2: no sources to mask (noise 6.01 K)
    >>> round(float(found.mask.mean()), 3), found.stable
    (0.015, True)
    """

    mask: np.ndarray
    rounds: tuple
    stable: bool

    def report(self):
        """One line for each round."""
        return "\n".join(str(one) for one in self.rounds)


def automatic_mask(cube, *, mask=None, parameters=None, workers=1, progress=False):
    """Mask the sources of every channel, round by round until no more appear.

    Parameters
    ----------
    cube : `~hisatools.HISACube`
        NaN is blank. A sky smaller than five beams has no background to find sources on: its mask is
        what was given, and a warning says so.
    mask : `~numpy.ndarray` of bool, `SkyMask` or `SourceMask`, optional
        Masked already; shape (n_y, n_x) or that of the cube. It is kept, and what was found is added.
    parameters : `AutomaticMaskParameters`, optional
    workers : int
        Number of threads; never changes the result.
    progress : bool
        Whether to show a progress bar for each round.

    Returns
    -------
    `SourceMask`

    Raises
    ------
    InputError
        If the mask does not fit the cube.

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools.noise import automatic_mask
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> empty = ModelParameters(shape=(8, 64, 64), n_pucks=0, n_components=50)
    >>> cube = simulate_cube(empty, seed=101).cube
    >>> kelvin = cube.kelvin.copy()
    >>> kelvin[:, 20:24, 30:34] += 150
    >>> found = automatic_mask(cube.with_brightness(kelvin))
    >>> bool(found.mask[:, 20:24, 30:34].all()), found.stable
    (True, True)
    >>> print(found.report().splitlines()[-1].split(" (")[0])
    round 2: no sources to mask
    """
    parameters = AutomaticMaskParameters() if parameters is None else parameters
    masked = _given(mask, cube)
    if not wide(cube):
        warnings.warn(
            f"{source(cube)}: a sky of {cube.shape[2]} x {cube.shape[1]} pixels is smaller than five beams "
            f"({box_of(cube)} pixels), and sources cannot be told from it: none were looked for",
            HISAWarning,
            stacklevel=2,
        )
        return SourceMask(masked, (), True)
    finder = _Finder(cube, box_of(cube), parameters)
    rounds, n_quiet = [], 0
    n_finite = max(int(np.isfinite(cube.kelvin).sum()), 1)
    while len(rounds) < parameters.max_rounds and n_quiet < parameters.stable_rounds:
        found = run_blocks(
            lambda k: finder.mask_channel(cube.kelvin[k], masked[k]),
            range(cube.shape[0]),
            workers=workers,
            progress=progress,
            description=f"sources, round {len(rounds) + 1}",
        )
        n_sources, n_bright = (sum(one[i] for one in found) for i in (0, 1))
        share = int((masked & np.isfinite(cube.kelvin)).sum()) / n_finite
        sigma = [one[2] for one in found if np.isfinite(one[2])]
        sigma_kelvin = float(np.median(sigma)) if sigma else np.nan
        rounds.append(MaskRound(len(rounds) + 1, n_sources, n_bright, share, sigma_kelvin))
        n_quiet = n_quiet + 1 if n_sources == 0 else 0
    return SourceMask(masked, tuple(rounds), n_quiet >= parameters.stable_rounds)


def _given(mask, cube):
    """A new array of the cube's shape that starts from what was given."""
    for attribute in ("mask", "inside"):
        mask = getattr(mask, attribute, mask) if not isinstance(mask, np.ndarray) else mask
    mask = np.zeros(cube.shape, bool) if mask is None else np.asarray(mask)
    if mask.shape not in (cube.shape, cube.shape[1:]) or mask.dtype != bool:
        raise InputError(
            f"mask of shape {mask.shape} and type {mask.dtype} does not fit the cube of shape {cube.shape}; "
            "give True and False for each voxel, or for each sight line"
        )
    return np.broadcast_to(mask, cube.shape).copy()


class _Finder:
    """Scales of a cube in pixels, and the search of one channel."""

    def __init__(self, cube, box_pix, parameters):
        self.parameters = parameters
        self.box_pix = box_pix
        self.noise_box_pix = max(scale_pix("noise_box", parameters.noise_box, 16, cube), box_pix)
        self.least_pix = max(parameters.least_area * BEAM_AREA * beam_of(cube) ** 2, 1)

    def mask_channel(self, channel, masked):
        """Add new sources to a channel's mask, in place; numbers of all and of bright ones, and the noise."""
        blank = masked | np.isnan(channel)
        if blank.all():
            return 0, 0, np.nan
        deviation = channel - _mean_without(channel, blank, self.box_pix)
        coarse = coarse_noise(np.where(blank, np.nan, deviation), self.noise_box_pix)
        level = self.parameters.threshold * expand_noise(coarse, channel.shape)
        for _ in range(MEANS_PER_ROUND):
            outlier = blank | ~(np.abs(deviation) <= level)
            deviation = channel - _mean_without(channel, outlier, self.box_pix)
        n_sources = n_bright = 0
        for sign in (1, -1):
            counts = self._mask_segments(sign * deviation, (sign * deviation > level) & ~blank, masked)
            n_sources, n_bright = n_sources + counts[0], n_bright + counts[1]
        return n_sources, n_bright, float(np.median(coarse))

    def _mask_segments(self, height, above, masked):
        labels, n = ndimage.label(above)
        if n == 0:
            return 0, 0
        numbers = np.arange(1, n + 1)
        areas = np.bincount(labels.reshape(-1), minlength=n + 1)[1:]
        peaks = ndimage.maximum(height, labels, numbers)
        large = areas >= self.least_pix
        masked |= np.concatenate([[False], large])[labels]
        bright = large & (peaks > self.parameters.bright.value)
        centres = np.array(ndimage.center_of_mass(above, labels, numbers))
        radii = self.parameters.radius_factor * np.sqrt(areas / np.pi) * np.where(bright, 2, 1)
        for centre, radius in zip(centres[large], radii[large], strict=True):
            _mask_disk(masked, centre, radius)
        return int(large.sum()), int(bright.sum())


def _mean_without(channel, out, box_pix):
    """Box mean of what is not out, at every pixel; NaN where a box holds nothing."""
    total = ndimage.uniform_filter(np.where(out, 0, channel).astype(float), box_pix, mode="constant")
    number = ndimage.uniform_filter((~out).astype(float), box_pix, mode="constant")
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(number > 0.5 / box_pix**2, total / number, np.nan)


def _mask_disk(masked, centre, radius):
    low = [max(int(np.ceil(c - radius)), 0) for c in centre]
    high = [min(int(c + radius) + 1, n) for c, n in zip(centre, masked.shape, strict=True)]
    y, x = np.ogrid[low[0] : high[0], low[1] : high[1]]
    disk = (y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2
    masked[low[0] : high[0], low[1] : high[1]] |= disk
