"""The rms of channels without emission or absorption, given or found."""

from dataclasses import dataclass

import astropy.units as u
import numpy as np

from hisatools.errors import InputError, ParameterError
from hisatools.io.regions import velocity_slice
from hisatools.noise.certainty import gathered_values, warn_if_few
from hisatools.noise.correlation import difference_rms
from hisatools.noise.differences import MIN_CHANNELS, OUTER_DEVIATION
from hisatools.noise.fields import (
    beam_of,
    clipped_variance,
    running_mean,
    scale_pix,
    source,
    unmasked,
)
from hisatools.noise.protocols import NoiseMeasurement
from hisatools.noise.scales import SkyParameters
from hisatools.parameters import _number, check_quantity

__all__ = ["LineFreeParameters", "LineFreeStrategy", "line_free_channels"]

MEAN_CHANNELS = 5
CELLS_ALONG_AXIS = 4
MIN_RUN = 3
OUTER_SIGMA = 3.0
MEAN_ROUNDS = 5


@dataclass(frozen=True, kw_only=True)
class LineFreeParameters(SkyParameters):
    """Which channels are free of lines; see also `hisatools.noise.scales.SkyParameters`.

    Parameters
    ----------
    ranges : sequence of pairs of Quantity, velocity
        Such as ``((-150, -120) * u.km / u.s, (60, 80) * u.km / u.s)``; without any they are found.
    level : float
        Where they are looked for: the median brightness of every part of the field is within this many
        times the noise of 0 K. Emission of a quarter of a noise of 4 K raises that noise by a hundredth.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools.noise import LineFreeParameters
    >>> LineFreeParameters(ranges=[(-60, -50) * u.km / u.s, (60, 80) * u.km / u.s]).to_dict()["ranges"]
    '-60..-50 km/s, 60..80 km/s'
    """

    _section = "line-free"

    ranges: tuple = ()
    level: float = _number(0.25)

    def __post_init__(self):
        super().__post_init__()
        try:
            ranges = tuple(tuple(pair) for pair in self.ranges)
        except TypeError:
            ranges = ((),)
        if any(len(pair) != 2 or not all(isinstance(end, u.Quantity) for end in pair) for pair in ranges):
            raise ParameterError(
                f"ranges must be pairs of velocities, got {self.ranges!r}; "
                "write for example ranges=((-150, -120) * u.km / u.s,)"
            )
        object.__setattr__(self, "ranges", tuple(tuple(map(_velocity, pair)) for pair in ranges))

    def to_dict(self):
        """Field names and values, ranges as a text such as "-60..-50 km/s, 60..80 km/s"."""
        text = ", ".join(f"{low.value:.8g}..{high.value:.8g} km/s" for low, high in self.ranges)
        return {**super().to_dict(), "ranges": text}


def _velocity(end):
    return check_quantity("ranges", end, u.km / u.s, above=-np.inf)


class LineFreeStrategy:
    """Rms about the mean of the line-free channels of each sight line, gathered over six beams.

    The mean that each sight line loses is put back by the number of independent channels, which follows
    from their correlation. It measures the noise of the empty receiver, sigma0(l, b): where
    there is emission the noise is higher, see `hisatools.noise.radiometer.RadiometerStrategy`.

    Parameters
    ----------
    parameters : `LineFreeParameters`, optional

    References
    ----------
    Taylor, A. R., et al. 2003, AJ 125, 3145, section 3.

    Examples
    --------
    >>> import astropy.units as u, numpy as np
    >>> from hisatools import HISACube
    >>> from hisatools.noise import LineFreeParameters, NoiseEstimator
    >>> v = np.arange(-100, 100) * u.km / u.s
    >>> noise = np.random.default_rng(1).normal(0, 2, 200)
    >>> cube = HISACube.from_spectrum((80 * np.exp(-((v.value / 20) ** 2)) + noise) * u.K, v)
    >>> ranges = ((-100, -60) * u.km / u.s, (60, 100) * u.km / u.s)
    >>> result = NoiseEstimator("line-free", LineFreeParameters(ranges=ranges)).estimate(cube)
    >>> 1.7 < float(result.sigma[0, 0].value) < 2.3
    True
    """

    Parameters = LineFreeParameters
    citation = "Taylor et al. 2003, AJ 125, 3145, section 3"

    def __init__(self, parameters=None):
        self.parameters = LineFreeParameters() if parameters is None else parameters

    def estimate(self, cube, mask, workers, progress):
        """Noise without emission: shape (n_y, n_x); see `~hisatools.noise.protocols.NoiseStrategy`."""
        parameters = self.parameters
        kelvin = unmasked(cube, mask)
        if parameters.ranges:
            channels = given_channels(cube, parameters.ranges)
            need_values(kelvin, channels, source(cube))
        else:
            channels = line_free_channels(kelvin, parameters.level)
            need_channels(kelvin, channels, source(cube))
        field, per_value = quiet_field(kelvin, channels)
        fwhm_pix = scale_pix("smoothing", parameters.smoothing, parameters.smoothing_beams, cube)
        count = np.isfinite(field).sum(axis=0)
        warn_if_few(gathered_values(count, fwhm_pix, beam_of(cube), per_value), source(cube))
        sigma_kelvin = np.sqrt(clipped_variance(field, fwhm_pix, parameters.clip, workers=workers))
        return NoiseMeasurement(sigma_kelvin, {"channels": channel_text(channels)})


def given_channels(cube, ranges):
    """True for the channels inside any of some velocity ranges, shape (n_v,)."""
    channels = np.zeros(cube.shape[0], bool)
    for pair in ranges:
        channels[velocity_slice(pair, cube.velocity, source(cube))] = True
    return channels


def line_free_channels(kelvin, level):
    """Channels in which no part of the field departs from 0 K; shape (n_v,), none may be True.

    Parameters
    ----------
    kelvin : `~numpy.ndarray`, shape (n_v, n_y, n_x), K
        NaN is blank.
    level : float
        In units of the noise; the uncertainty of the parts' medians is allowed for.

    Examples
    --------
    Noise of 2 K, and a line in twenty of sixty channels:

    >>> import numpy as np
    >>> from hisatools.noise.line_free import line_free_channels
    >>> kelvin = np.random.default_rng(1).normal(0, 2, (60, 20, 20))
    >>> kelvin[20:40] += 30
    >>> free = line_free_channels(kelvin, 0.25)
    >>> int(free.sum()), int(free[20:40].sum())
    (36, 0)
    """
    n_v = len(kelvin)
    free = np.isfinite(kelvin).any(axis=(1, 2))
    noise_kelvin = np.sqrt(_median(difference_rms(_thinned(kelvin)) ** 2))
    if not np.isfinite(noise_kelvin):
        return np.zeros(n_v, bool)
    for part in _cells(kelvin):
        median = _channel_medians(part)
        scatter = difference_rms(median[:, None, None]).item()
        if not np.isfinite(scatter):
            continue
        mean = running_mean(median[:, None, None], MEAN_CHANNELS)[:, 0, 0]
        allowed = level * noise_kelvin + OUTER_SIGMA * scatter / np.sqrt(MEAN_CHANNELS / 2)
        free &= ~(np.abs(mean) > allowed)
    return _long_runs(free)


def _thinned(kelvin):
    """Not more than some thousand sight lines."""
    step = max(round(np.sqrt(kelvin[0].size / 4000)), 1)
    return kelvin[:, ::step, ::step]


def _cells(kelvin):
    """Parts of the sky, at most 4 x 4."""
    edges = [
        np.unique(np.linspace(0, n, min(CELLS_ALONG_AXIS, n) + 1).round().astype(int))
        for n in kelvin.shape[1:]
    ]
    for y in zip(edges[0][:-1], edges[0][1:], strict=True):
        for x in zip(edges[1][:-1], edges[1][1:], strict=True):
            yield kelvin[:, slice(*y), slice(*x)]


def _channel_medians(part):
    flat = part.reshape(len(part), -1)
    known = np.isfinite(flat).any(axis=1)
    median = np.full(len(part), np.nan)
    if known.any():
        median[known] = np.nanmedian(flat[known], axis=1)
    return median


def _long_runs(free):
    """Drop runs that are too short to be more than chance."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], free.astype(int), [0]])))
    kept = np.zeros(len(free), bool)
    for first, stop in zip(edges[::2], edges[1::2], strict=True):
        kept[first:stop] = stop - first >= MIN_RUN
    return kept


def need_channels(kelvin, channels, source_name):
    """Refuse a cube in which too few channels are free of lines."""
    if channels.sum() < MIN_CHANNELS:
        raise InputError(
            f"{source_name}: {channels.sum()} of {len(channels)} channels are free of lines, and the noise "
            f"needs {MIN_CHANNELS} or more; give ranges=((low, high), ...), or use the strategy 'thirds', "
            "'mad-difference' or 'mesh'"
        )
    need_values(kelvin, channels, source_name)


def need_values(kelvin, channels, source_name):
    """Refuse channels in which too few voxels are left."""
    if np.isfinite(kelvin[channels]).sum(axis=0).max() < MIN_CHANNELS:
        raise InputError(
            f"{source_name}: no sight line has {MIN_CHANNELS} or more usable values in the "
            f"{channels.sum()} line-free channels; give wider ranges, or a smaller mask"
        )


def quiet_field(kelvin, channels):
    """Deviations of the line-free channels from their mean, of the noise's variance; channels per value."""
    part = kelvin[channels]
    count = np.isfinite(part).sum(axis=0)
    usable = count >= MIN_CHANNELS
    mean = np.where(usable, np.nansum(part, axis=0, dtype=float) / np.maximum(count, 1), np.nan)
    part = part - mean
    correlated = _correlated_channels(part, np.diff(np.flatnonzero(channels)) == 1, count[usable])
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.where(count > correlated, 1 / np.sqrt(1 - correlated / count), np.nan)
    return (part * scale).astype(np.float32), correlated


def _correlated_channels(part, adjacent, count):
    """How many neighbouring channels count as one independent value, at least 1.

    From the products of neighbours, which the loss of the mean lowers as it does the squares; both are
    put right together.
    """
    if count.size == 0:
        return 1.0
    level = OUTER_DEVIATION * _median(np.abs(part))
    inner = np.where(np.abs(part) <= level, part, np.nan)
    square, product = np.nanmean(inner**2), inner[:-1][adjacent] * inner[1:][adjacent]
    if not np.isfinite(product).any() or not square > 0:
        return 1.0
    neighbour, correlated = np.nanmean(product) / square, 1.0
    for _ in range(MEAN_ROUNDS):
        lost = min(correlated / np.median(count), 0.5)
        rho = np.clip(neighbour * (1 - lost) + lost, 1e-9, 0.9)
        correlated = max(float(np.sqrt(np.pi / -np.log(rho))), 1.0)
    return correlated


def channel_text(channels):
    """Runs of channels as text, such as "0-15, 112-127"."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], channels.astype(int), [0]])))
    return ", ".join(f"{a}-{b - 1}" for a, b in zip(edges[::2], edges[1::2], strict=True))


def _median(values):
    values = values[np.isfinite(values)]
    return np.median(values) if values.size else np.nan
