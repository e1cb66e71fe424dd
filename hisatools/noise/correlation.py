"""Measure the noise of a cube: its correlation on the sky, and its rms per sight line and per map.

Noise in a map is correlated over the beam, so a box mean keeps part of it. All estimates here look
at O - S, the part that a box mean S takes away, and are corrected for the part it leaves; the
correction follows from the correlation length, which is measured on the same maps. The level at
which the spatial CLEAN stops hangs on this: 20 % too low and U climbs to the upper envelope of the
noise, 60 % too high and faint absorption is lost.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from hisatools.smoothing import box_mean

MAD_TO_SIGMA = 1.4826022185056018
MIN_SAMPLES = 30
MIN_CHANNELS_IN_THIRD = 8
# Third differences know no constant, slope or curvature; at this lag noise of the CGPS is nearly white.
DIFFERENCE_LAG = 2
DIFFERENCE_WEIGHTS = (1, -3, 3, -1)
# Noise varies by less from channel to channel; more is absorption that fills the box.
MAX_NOISE_RATIO = 2.0
CORRELATION_GRID = np.linspace(0, 1, 81)
CHANNELS_PER_BLOCK = 8
MAX_SAMPLES = 50_000


@dataclass(frozen=True)
class BoxNoise:
    """How noise of unit variance divides between a box mean S and the rest, O - S.

    Parameters
    ----------
    smoothed, removed : float
        Variance of S and of O - S.
    neighbour : float
        Correlation of O - S between neighbouring pixels.

    Examples
    --------
    >>> from hisatools.noise import BoxNoise
    >>> share = BoxNoise(smoothed=0.111, removed=0.889, neighbour=-0.167)  # white noise, 3 x 3 pixels
    >>> round((6**2 * share.removed) ** 0.5, 2)  # of noise of 6 K, what O - S has
    5.66
    """

    smoothed: float
    removed: float
    neighbour: float


def box_noise(box_pix, correlation_pix):
    """`BoxNoise` for white noise convolved with a Gaussian beam.

    Parameters
    ----------
    box_pix : int
        Odd side of the box, at least 3.
    correlation_pix : float
        FWHM of the beam in pixels; 0 for white noise.

    Examples
    --------
    White noise, and noise of a beam of 3.3 pixels, of which a mean over 7 x 7 pixels keeps more:

    >>> from hisatools.noise import box_noise
    >>> round(box_noise(7, 0).smoothed, 3), round(box_noise(7, 0).removed, 3)
    (0.02, 0.98)
    >>> round(box_noise(7, 3.3).smoothed, 3), round(box_noise(7, 3.3).neighbour, 2)
    (0.306, 0.78)
    """
    offset = np.arange(-box_pix, box_pix + 1)
    box = np.where(np.abs(offset) <= box_pix // 2, 1 / box_pix, 0)
    box_of_box = np.maximum(box_pix - np.abs(offset), 0) / box_pix**2

    def along_axis(lag):
        """Covariances along one axis of O with O, of O with S and of S with S."""
        correlation = correlation_at(offset + lag, correlation_pix)
        return np.array(
            [correlation_at(np.array(lag), correlation_pix), box @ correlation, box_of_box @ correlation]
        )

    here, beside = along_axis(0) ** 2, along_axis(0) * along_axis(1)
    removed, neighbour = (both @ [1, -2, 1] for both in (here, beside))
    return BoxNoise(float(here[2]), float(removed), float(neighbour / removed))


def correlation_at(offset, fwhm_pix):
    """Correlation of white noise convolved with a Gaussian beam, or along one axis with a line profile.

    Parameters
    ----------
    offset : `~numpy.ndarray`
        Distances, in pixels or channels.
    fwhm_pix : float
        FWHM of the beam in the same unit; 0 for white noise.

    Returns
    -------
    `~numpy.ndarray`
        Of the shape of ``offset``.

    Examples
    --------
    Half a beam away 71 % are left, and a whole beam away 25 %:

    >>> import numpy as np
    >>> from hisatools.noise.correlation import correlation_at
    >>> correlation_at(np.array([0.0, 1.65, 3.3]), 3.3).round(2)
    array([1.  , 0.71, 0.25])
    """
    if fwhm_pix <= 0:
        return (offset == 0).astype(float)
    return np.exp(-2 * np.log(2) * offset**2 / fwhm_pix**2)


def mad_sigma(values, *, n_least=MIN_SAMPLES):
    """Standard deviation of a Gaussian from the median absolute deviation.

    NaN is ignored; NaN is returned for fewer than ``n_least`` values.

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools.noise import mad_sigma
    >>> values = np.random.default_rng(1).normal(0, 6, 10_000)
    >>> values[:500] -= 60  # absorption
    >>> round(float(mad_sigma(values)), 1), round(float(values.std()), 1)
    (6.5, 14.4)
    """
    values = values[np.isfinite(values)]
    if values.size < n_least:
        return np.nan
    return MAD_TO_SIGMA * np.median(np.abs(values - np.median(values)))


@dataclass(frozen=True)
class NoiseCorrelation:
    """FWHM of the beam and of the line profile over which the noise is correlated.

    Parameters
    ----------
    beam_pix, line_chan : float
        In pixels and channels; 0 where the noise is white or could not be measured.

    Examples
    --------
    A beam of 1 arcmin in pixels of 0.3 arcmin covers 12.6 pixels, and the line profile more than one
    channel:

    >>> from hisatools.noise import NoiseCorrelation
    >>> correlation = NoiseCorrelation(beam_pix=3.33, line_chan=1.6)
    >>> round(float(correlation.n_voxels))
    61
    """

    beam_pix: float
    line_chan: float

    @property
    def n_voxels(self):
        """Voxels that count as one independent sample: the integral of the correlation, at least 1."""
        area = np.pi / (2 * np.log(2)) * self.beam_pix**2
        length = np.sqrt(np.pi / (2 * np.log(2))) * self.line_chan
        return max(area, 1.0) * max(length, 1.0)


def noise_correlation(kelvin, box_pix, *, workers=1):
    """Measure how the noise of a cube is correlated.

    The correlation of O - S between neighbours is found from the scatter of O - S and of its
    differences, both robust against absorption; `box_noise` turns it into a beam.

    Parameters
    ----------
    kelvin : `~numpy.ndarray`, shape (n_v, n_y, n_x), K
        NaN is blank.
    box_pix : int
        Odd side of the box mean, at least 3.
    workers : int
        Number of threads.

    Returns
    -------
    `NoiseCorrelation`
        From the medians over the channels.

    Examples
    --------
    A model cube has a beam of 3.3 pixels and a line profile of 1.6 channels:

    >>> from hisatools.noise import noise_correlation
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> model = simulate_cube(ModelParameters(shape=(32, 64, 64), n_pucks=3, n_components=50), seed=101)
    >>> found = noise_correlation(model.cube.kelvin, 7)
    >>> round(found.beam_pix, 1), round(found.line_chan, 1)
    (3.3, 1.6)
    """
    starts = range(0, len(kelvin), CHANNELS_PER_BLOCK)
    with ThreadPoolExecutor(workers) as pool:
        measured = pool.map(lambda k: _correlations(kelvin[k : k + CHANNELS_PER_BLOCK + 1], box_pix), starts)
        blocks = list(measured)
    on_sky, in_velocity = (np.concatenate([block[i] for block in blocks]) for i in (0, 1))
    # No beam wider than the box can be told apart from structure of the sky.
    trial = CORRELATION_GRID * box_pix
    expected = np.array([box_noise(box_pix, fwhm).neighbour for fwhm in trial])
    return NoiseCorrelation(
        beam_pix=float(np.interp(_finite_median(on_sky), expected, trial, left=0.0)),
        line_chan=_line_fwhm(_finite_median(in_velocity)),
    )


def _correlations(channels, box_pix):
    """Correlation of O - S with the next pixel, and with the next channel; NaN if not measurable.

    A value for each channel and for each pair: a reversed cube gives the same values.
    """
    removed = [channel - box_mean(channel, box_pix) for channel in channels]
    variance = np.array([_variance(channel) for channel in removed])
    on_sky = [np.mean([_variance(np.diff(channel, axis=axis)) for axis in (0, 1)]) for channel in removed]
    in_velocity = [_variance(other - one) for one, other in pairwise(removed)]
    variance[~(variance > 0)] = np.nan
    on_sky = 1 - on_sky / (2 * variance)
    in_velocity = 1 - in_velocity / (variance[1:] + variance[:-1])
    return on_sky[:CHANNELS_PER_BLOCK], in_velocity


def _variance(values):
    """Robust variance of the finite values, of which some are left out where they are many."""
    values = values[np.isfinite(values)]
    return mad_sigma(values[:: max(values.size // MAX_SAMPLES, 1)]) ** 2


def _finite_median(values):
    """The median; -1, as if there were no correlation at all, where nothing is finite."""
    values = values[np.isfinite(values)]
    return float(np.median(values)) if values.size else -1.0


def _line_fwhm(correlation):
    """FWHM in channels of the Gaussian that gives this correlation between neighbouring channels."""
    if correlation <= 0:
        return 0.0
    return float(np.sqrt(-2 * np.log(2) / np.log(min(correlation, 0.99))))


def third_rms(removed):
    """Smallest rms over three equal parts of each spectrum (the paper, section 2.2).

    Parameters
    ----------
    removed : `~numpy.ndarray`, shape (n_v, n_y, n_x), K
        O - S; NaN is blank.

    Returns
    -------
    `~numpy.ndarray`, shape (n_y, n_x)
        Parts with fewer than 8 finite channels do not count; NaN where none is left. A spectrum
        of less than 24 channels is one part.

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools.noise import third_rms
    >>> removed = np.random.default_rng(1).normal(0, 6, (300, 20, 20))
    >>> removed[:100] *= 3  # a third with structure of the emission does not count
    >>> third_rms(removed).shape, round(float(third_rms(removed).mean()), 1)
    ((20, 20), 5.7)
    """
    # Rounded, the parts of a reversed spectrum are the same.
    n_parts = 3 if len(removed) >= 3 * MIN_CHANNELS_IN_THIRD else 1
    edges = [round(len(removed) * part / n_parts) for part in range(n_parts + 1)]
    thirds = [removed[first:stop] for first, stop in pairwise(edges)]
    counts = [np.isfinite(part).sum(axis=0) for part in thirds]
    squares = [np.nansum(part**2, axis=0, dtype=float) for part in thirds]
    with np.errstate(invalid="ignore", divide="ignore"):
        rms = [
            np.where(count >= MIN_CHANNELS_IN_THIRD, np.sqrt(square / count), np.inf)
            for count, square in zip(counts, squares, strict=True)
        ]
    smallest = np.min(rms, axis=0)
    return np.where(np.isfinite(smallest), smallest, np.nan)


def difference_rms(spectra):
    """Noise of each spectrum from third differences of its channels.

    For spectra without neighbours, where O - S is empty. The differences take the emission away as
    far as it is a parabola over six channels; the median absolute deviation passes over narrow
    lines.

    Parameters
    ----------
    spectra : `~numpy.ndarray`, shape (n_v, n_y, n_x), K
        NaN is blank.

    Returns
    -------
    `~numpy.ndarray`, shape (n_y, n_x)
        NaN for fewer than 8 differences.

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools.noise import difference_rms
    >>> velocity = np.linspace(-100, 100, 301)
    >>> emission = 80 * np.exp(-((velocity / 40) ** 2))
    >>> spectrum = emission + np.random.default_rng(1).normal(0, 2, 301)
    >>> difference_rms(spectrum[:, None, None]).round(1)
    array([[2.]])
    """
    n = max(len(spectra) - 3 * DIFFERENCE_LAG, 0)
    difference = sum(
        weight * spectra[step * DIFFERENCE_LAG :][:n] for step, weight in enumerate(DIFFERENCE_WEIGHTS)
    )
    measurable = np.isfinite(difference).sum(axis=0) >= MIN_CHANNELS_IN_THIRD
    scatter = np.full(measurable.shape, np.nan)
    difference = difference[:, measurable]
    scatter[measurable] = np.nanmedian(np.abs(difference - np.nanmedian(difference, axis=0)), axis=0)
    return MAD_TO_SIGMA * scatter / np.linalg.norm(DIFFERENCE_WEIGHTS)


def without_features(coarse):
    """Noise grids of all channels, limited where a feature that fills its box passes for noise.

    Parameters
    ----------
    coarse : `~numpy.ndarray`, shape (n_v, g_y, g_x)
        `coarse_noise` of each channel; NaN where a channel is blank.

    Returns
    -------
    `~numpy.ndarray`, same shape
        At most twice the median over the channels.

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools.noise import without_features
    >>> coarse = np.full((5, 2, 2), 6.0)
    >>> coarse[2, 0, 0] = 30  # a feature that fills its box in one channel
    >>> without_features(coarse)[2]
    array([[12.,  6.],
           [ 6.,  6.]])
    """
    known = np.isfinite(coarse).all(axis=(1, 2))
    if not known.any():
        return coarse
    return np.minimum(coarse, MAX_NOISE_RATIO * np.median(coarse[known], axis=0))


def coarse_noise(image, scale_pix):
    """Robust noise of a map in boxes of ``scale_pix``, on a coarse grid of half that step.

    Parameters
    ----------
    image : `~numpy.ndarray`, shape (n_y, n_x)
        O - S; NaN is blank.
    scale_pix : float
        Side of the boxes.

    Returns
    -------
    `~numpy.ndarray`, shape (g_y, g_x)
        Boxes with too few values take the median of the others; all NaN if there are none.

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools.noise import coarse_noise
    >>> image = np.random.default_rng(1).normal(0, 6, (60, 90))
    >>> image[:, 45:] *= 2
    >>> coarse_noise(image, 40).round(1)
    array([[ 5.9,  6.1,  8.1, 12.6, 12.4],
           [ 5.8,  6. ,  8.4, 12. , 12. ],
           [ 5.5,  5.9,  8.6, 11.8, 12.2],
           [ 5.2,  5.8,  8.3, 12.2, 12.7]])
    """
    nodes = [_grid(size, scale_pix / 2) for size in image.shape]
    coarse = np.array([[mad_sigma(_window(image, y, x, scale_pix / 2)) for x in nodes[1]] for y in nodes[0]])
    if np.isfinite(coarse).any():
        coarse[~np.isfinite(coarse)] = np.nanmedian(coarse)
    return coarse


def expand_noise(coarse, shape):
    """Interpolate a `coarse_noise` grid to a map of ``shape`` (n_y, n_x).

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools.noise import expand_noise
    >>> expand_noise(np.array([[6.0, 6.0], [6.0, 12.0]]), (3, 5))
    array([[ 6.  ,  6.  ,  6.  ,  6.  ,  6.  ],
           [ 6.  ,  6.75,  7.5 ,  8.25,  9.  ],
           [ 6.  ,  7.5 ,  9.  , 10.5 , 12.  ]], dtype=float32)
    """
    along_y, along_x = (_between(nodes, size) for nodes, size in zip(coarse.shape, shape, strict=True))
    return along_y @ coarse.astype(np.float32) @ along_x.T


def _between(n_nodes, size):
    """Weights of linear interpolation from nodes to ``size`` pixels, shape (size, n_nodes)."""
    position = np.linspace(0, n_nodes - 1, size)
    distance = np.abs(np.subtract.outer(position, np.arange(n_nodes)))
    return np.maximum(1 - distance, 0).astype(np.float32)


def _grid(size, step):
    """Nodes from the first to the last pixel, about ``step`` apart."""
    return np.linspace(0, size - 1, max(round((size - 1) / step), 1) + 1)


def _window(image, y, x, half):
    rows = slice(max(int(np.ceil(y - half)), 0), int(y + half) + 1)
    columns = slice(max(int(np.ceil(x - half)), 0), int(x + half) + 1)
    return image[rows, columns]
