"""T_U as a broad beam sees it: the cube convolved to low resolution, or a single-dish cube.

With f the share of the beam that falls on absorption, a beam at the feature sees

    T_low(x) = sum g(x - i) T_ON(i) = (1 - f) <T_OFF> + f <T_ON>

with the means over what is not absorbed and what is. To take T_low for T_U is to suppose that f is
small ("dilution"; van der Werf et al. 1988). Where the absorption is known, this need not be supposed:
<T_OFF> is what remains when the flagged voxels are left out.
"""

from dataclasses import dataclass

import astropy.units as u
import numpy as np
from astropy.stats import gaussian_fwhm_to_sigma

from hisatools.errors import ParameterError
from hisatools.parameters import _number, _Parameters, _quantity
from hisatools.search.base import run_blocks
from hisatools.unabsorbed.beam_variance import REACH_SIGMA, noise_variance, structure_variance
from hisatools.unabsorbed.low_resolution import (
    LowResolution,
    check_beam,
    check_frames,
    check_is_cube,
    check_overlap,
    check_position,
)
from hisatools.unabsorbed.protocols import VoxelEstimate
from hisatools.unabsorbed.surroundings import channel_map, places, spread, total_counts

# Share of the beam on T_OFF below which the uncertainty that dilution brings is no longer told apart.
LEAST_SHARE = 1e-3


@dataclass(frozen=True, kw_only=True)
class BeamParameters(_Parameters):
    """The "beam" estimate of T_U.

    Parameters
    ----------
    fwhm : Quantity, angle
        Of the round Gaussian beam: wider than most features, and well below the 20 arcmin and more on which
        the emission changes. A broader beam fills larger features, and misses more structure. Where a
        single-dish cube is given, its own beam is meant and this has no effect.
    min_share : float
        Least share of the beam that must fall on T_OFF; below it nothing is said.
    correct_dilution : bool
        For a single-dish cube: whether the absorption in its beam, as the mask has it, is taken out.
        False supposes that it is diluted, as van der Werf et al. (1988) do.
    low_resolution_noise : Quantity, temperature
        Rms of the noise of a single-dish cube; 0 has it measured, from second differences of its channels.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools import UnabsorbedEstimator
    >>> UnabsorbedEstimator("beam", fwhm=0.15 * u.deg).parameters.fwhm
    <Quantity 9. arcmin>
    """

    _section = "beam"

    fwhm: u.Quantity = _quantity(6.0 * u.arcmin)
    min_share: float = _number(0.01, at_most=1)
    correct_dilution: bool = True
    low_resolution_noise: u.Quantity = _quantity(0.0 * u.K, inclusive=True)

    def __post_init__(self):
        super().__post_init__()
        if not isinstance(self.correct_dilution, bool | np.bool_):
            raise ParameterError(f"correct_dilution must be True or False, got {self.correct_dilution!r}")


class BeamStrategy:
    """T_U from a beam so broad that the absorption is a small part of it.

    Without further input the cube itself is convolved with a Gaussian, channel by channel, and flagged and
    blank voxels are left out (normalised convolution). With a single-dish cube, T_U is its
    spectrum at the position of the feature, as in van der Werf et al. (1988), interpolated linearly between
    its pixels and its channels. A single dish sees the absorption as well; unless told otherwise this is
    put right with the cube and the mask: T_U = (T_low - sum_flagged g T_ON) / (1 - sum_flagged g).

    Parameters
    ----------
    parameters : `BeamParameters`, optional
    low_resolution : `~hisatools.HISACube`, optional
        A single-dish cube that covers the features on the sky and in velocity, with its beam.

    Notes
    -----
    Where less than ``min_share`` of the beam falls on T_OFF, or the single-dish cube is blank, T_U = T_ON
    and the uncertainty is infinite. ``n_off`` counts the T_OFF under the beams about the feature, or with a
    single-dish cube the feature's voxels that have a value. The uncertainty holds noise and the structure
    within the beam; without the correction also the dilution, as a standard deviation of its size. It knows
    nothing of differences in calibration, stray radiation or error beams.

    Raises
    ------
    ParameterError
        If ``low_resolution`` is no `~hisatools.HISACube`.
    InputError
        From ``estimate``, if the single-dish cube does not cover the features, or has no beam.

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools import UnabsorbedEstimator
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> model = simulate_cube(ModelParameters(shape=(32, 48, 48), n_pucks=5, n_components=50), seed=101)
    >>> estimator = UnabsorbedEstimator("beam", BeamParameters(fwhm=5 * u.arcmin))
    >>> found = estimator.estimate(model.cube, model.mask)
    >>> error = (found.t_unabsorbed - model.t_unabsorbed)[model.mask]
    >>> bool(np.mean(abs(error) < 2 * found.sigma_t_unabsorbed[model.mask]) > 0.9)
    True
    """

    Parameters = BeamParameters
    citation = "van der Werf, Goss & Vanden Bout 1988, A&A, 201, 311"

    def __init__(self, parameters=None, *, low_resolution=None):
        self.parameters = BeamParameters() if parameters is None else parameters
        self.low_resolution = check_is_cube("low_resolution", low_resolution)

    def check(self, cube):
        """Raise at once what `estimate` would raise of a single-dish cube that can be of no use to a cube."""
        if self.low_resolution is not None:
            check_frames("low_resolution", self.low_resolution, cube)
            check_position("low_resolution", self.low_resolution, cube)
            check_beam(self.low_resolution)
            check_overlap("low_resolution", self.low_resolution, cube)

    def estimate(self, cube, labels, features, index, *, errors=None, workers=1, progress=False):
        """T_U at some voxels; see `hisatools.unabsorbed.protocols.UnabsorbedStrategy`."""
        kelvin = cube.kelvin.reshape(-1)[index]
        sigma = None if errors is None else np.full(index.size, np.inf, np.float32)
        if self.low_resolution is None:
            look = _OwnBeam(self.parameters, cube, features, errors)
        elif index.size:
            look = _SingleDish(self.parameters, cube, self.low_resolution, index, errors)

        def estimate_channel(number):
            place = places(index, number, cube.shape[1:])
            wanted = np.nonzero(place >= 0)
            if not wanted[0].size:
                return {}
            channel = channel_map(cube, labels, number, errors)
            values, variance, counts = look(number, channel, wanted)
            said = np.isfinite(values)
            where = place[wanted][said]
            kelvin[where] = values[said]
            if errors is not None:
                sigma[where] = np.sqrt(variance[said])
            return counts

        counts = run_blocks(
            estimate_channel,
            range(len(labels)),
            workers=workers,
            progress=progress,
            description="unabsorbed emission",
        )
        return VoxelEstimate(kelvin, total_counts(features, counts), sigma)


class _OwnBeam:
    """The cube itself seen with a beam: T_U, its variance and the number of T_OFF in a channel."""

    def __init__(self, parameters, cube, features, errors):
        self.scale_pix = float((parameters.fwhm / cube.pixel_scale).to_value("") * gaussian_fwhm_to_sigma)
        self.reach_pix = REACH_SIGMA * self.scale_pix
        self.min_share, self.features, self.errors = parameters.min_share, features, errors

    def __call__(self, _, channel, wanted):
        usable = channel.usable.astype(float)
        weights = usable if channel.weights is None else np.where(channel.usable, channel.weights, 0.0)
        seen = self._spread(usable) / beam_pixels(self.scale_pix) >= self.min_share
        total = np.where(seen, self._spread(weights), 1.0)[wanted]
        weighted = self._spread(weights * np.nan_to_num(channel.kelvin))[wanted]
        values = np.where(seen[wanted], weighted / total, np.nan)
        variance = None if self.errors is None else self._variance(weights, total, channel, wanted)
        return values, variance, count_off(channel, self.features, seen, self.reach_pix)

    def _spread(self, maps):
        return spread(maps, self.scale_pix, self.reach_pix)

    def _variance(self, weights, total, channel, wanted):
        noise = noise_variance(weights, channel.sigma_kelvin, self.scale_pix, self.errors.noise_scales[1])
        missed = structure_variance(weights, self.scale_pix, wanted, self.errors.structure)
        return noise[wanted] / total**2 + missed


class _SingleDish:
    """A single-dish cube at the features: T_U, its variance and the number of voxels in a channel."""

    def __init__(self, parameters, cube, low_resolution, index, errors):
        self.low = LowResolution(low_resolution, cube, index, parameters.low_resolution_noise)
        self.parameters, self.errors = parameters, errors

    def __call__(self, number, channel, wanted):
        scale_pix = self.low.scale_pix
        flagged = channel.labels > 0
        maps = np.stack([flagged, np.where(flagged, channel.kelvin, 0)]).astype(float)
        on_share, absorbed = spread(maps, scale_pix, REACH_SIGMA * scale_pix)[:, *wanted]
        off_share = 1 - on_share / beam_pixels(scale_pix)
        seen = self.low.at(number, wanted)
        corrected = (seen - absorbed / beam_pixels(scale_pix)) / np.maximum(off_share, LEAST_SHARE)
        found = seen
        if self.parameters.correct_dilution:
            found = np.where(off_share >= self.parameters.min_share, corrected, np.nan)
        variance = None
        if self.errors is not None:
            variance = self._variance(channel, flagged.astype(float), wanted, off_share, seen - corrected)
        return found, variance, _count_said(channel.labels[wanted], np.isfinite(found))

    def _variance(self, channel, flagged, wanted, off_share, dilution):
        scale_pix, structure = self.low.scale_pix, self.errors.structure
        if not self.parameters.correct_dilution:
            missed = structure_variance(np.ones_like(flagged), scale_pix, wanted, structure, 1.0)
            return self.low.noise_kelvin**2 + dilution**2 + missed
        noise = noise_variance(flagged, channel.sigma_kelvin, scale_pix, self.errors.noise_scales[1])[wanted]
        noise = self.low.noise_kelvin**2 + noise / beam_pixels(scale_pix) ** 2
        missed = structure_variance(1 - flagged, scale_pix, wanted, structure, 1.0)
        return noise / np.maximum(off_share, LEAST_SHARE) ** 2 + missed


def beam_pixels(scale_pix):
    """Sum of a Gaussian beam of peak 1 over an endless map."""
    offset = np.arange(1, int(REACH_SIGMA * scale_pix) + 1)
    return (1 + 2 * np.exp(-0.5 * (offset / scale_pix) ** 2).sum()) ** 2


def count_off(channel, features, seen, reach_pix):
    """Number of T_OFF in the box about each feature that its beams reach: a dictionary by label.

    Parameters
    ----------
    channel : `~hisatools.unabsorbed.surroundings.ChannelMap`
    features : `~numpy.ndarray` of int
        Ascending labels.
    seen : `~numpy.ndarray` of bool, shape (n_y, n_x)
        Where T_U is known; features that are nowhere seen are left out.
    reach_pix : float
    """
    pixels = np.argwhere(seen & (channel.labels > 0))
    label = channel.labels[tuple(pixels.T)]
    kept = np.isin(label, features)
    order = np.argsort(label[kept], kind="stable")
    pixels, label = pixels[kept][order], label[kept][order]
    if not label.size:
        return {}
    starts = np.flatnonzero(np.diff(label, prepend=0))
    low = np.maximum(np.minimum.reduceat(pixels, starts) - int(reach_pix), 0)
    high = np.minimum(np.maximum.reduceat(pixels, starts) + int(reach_pix) + 1, channel.usable.shape)
    sums = np.pad(channel.usable.astype(np.int64), ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    (y0, x0), (y1, x1) = low.T, high.T
    number = sums[y1, x1] - sums[y0, x1] - sums[y1, x0] + sums[y0, x0]
    return dict(zip(label[starts].tolist(), number.tolist(), strict=True))


def _count_said(labels, said):
    found, number = np.unique(labels[said], return_counts=True)
    return dict(zip(found.tolist(), number.tolist(), strict=True))
