"""The spatial search (Gibson et al. 2005, section 2.3)."""

from dataclasses import dataclass

import astropy.units as u
import numpy as np

from hisatools.backends import get_backend, resolve
from hisatools.backends.protocols import CleanSettings
from hisatools.errors import InputError
from hisatools.noise import (
    NoiseCorrelation,
    box_noise,
    coarse_noise,
    expand_noise,
    noise_correlation,
    without_features,
)
from hisatools.parameters import SpatialParameters
from hisatools.positions import nearest_channel
from hisatools.results import SearchResult, StopReason
from hisatools.search.base import clean_scale, run_blocks, smoothing_scale
from hisatools.search.stages import SpatialStages
from hisatools.smoothing import box_mean, join_flecks, odd_pixels

# A smaller box would not reach beyond the beam.
MIN_MEASURING_BOX = 5
# A smaller one would hold too few pixels for a median absolute deviation.
MIN_NOISE_BOX = 9


@dataclass(frozen=True)
class SpatialNoise:
    """Noise of each channel map.

    Parameters
    ----------
    coarse_kelvin : `~numpy.ndarray`, shape (n_v, g_y, g_x)
        sigma_obs of O on a coarse grid; NaN where a channel is blank.
    smoothed_share : float
        Noise of the N x N mean S over that of O.
    correlation : `~hisatools.noise.NoiseCorrelation`

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools.noise import NoiseCorrelation
    >>> from hisatools.search.spatial import SpatialNoise
    >>> noise = SpatialNoise(np.array([[[6.0, 6.0], [6.0, 12.0]]]), 0.4, NoiseCorrelation(3.3, 1.6))
    >>> noise.at((np.array([0, 0]), np.array([0, 40]), np.array([0, 40])), (1, 41, 41))
    array([ 6., 12.])
    """

    coarse_kelvin: np.ndarray
    smoothed_share: float
    correlation: NoiseCorrelation

    def at(self, voxels, shape):
        """sigma_obs at the voxels (v, y, x), each an array of indices into ``shape``."""
        v, *sky = voxels
        total = np.zeros(len(v))
        for y, weight_y in _nodes_about(sky[0], shape[1], self.coarse_kelvin.shape[1]):
            for x, weight_x in _nodes_about(sky[1], shape[2], self.coarse_kelvin.shape[2]):
                total += weight_y * weight_x * self.coarse_kelvin[v, y, x]
        return total


def _nodes_about(pixel, n_pixels, n_nodes):
    """The two nodes about each pixel along an axis, with the weights of linear interpolation."""
    position = pixel * (n_nodes - 1) / max(n_pixels - 1, 1)
    lower = np.minimum(position.astype(np.intp), max(n_nodes - 2, 0))
    upper = np.minimum(lower + 1, n_nodes - 1)
    return (lower, 1 - (position - lower)), (upper, position - lower)


class SpatialSearcher:
    """Find dark structure that is smaller than the emission in each channel map.

    Parameters
    ----------
    parameters : `~hisatools.SpatialParameters`, optional
    clean, convolution : str, optional
        Names of the backends; by default the fastest ones, see `hisatools.backends.default_name`.

    Examples
    --------
    >>> from hisatools import SpatialSearcher
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> model = simulate_cube(ModelParameters(shape=(4, 210, 210), n_pucks=3, n_components=50), seed=2)
    >>> found = SpatialSearcher().search(model.cube)
    >>> found.n_iterations.shape
    (4,)
    """

    def __init__(self, parameters=None, *, clean=None, convolution=None):
        self.parameters = SpatialParameters() if parameters is None else parameters
        self.clean_name = resolve("clean", clean)
        self.convolution_name = resolve("convolution", convolution)
        self.clean = get_backend("clean", self.clean_name)
        self.convolution = get_backend("convolution", self.convolution_name)

    def measure_noise(self, cube, *, workers=1):
        """Noise of every channel map, to be given to `search` for later passes.

        The noise is the scatter of O - S on the scale ``noise_scale``, robust against absorption,
        corrected for the noise that S keeps.

        Parameters
        ----------
        cube : `~hisatools.HISACube`
        workers : int

        Returns
        -------
        `SpatialNoise`

        Examples
        --------
        6 K were put in, correlated over a beam of 3.3 pixels:

        >>> from hisatools import SpatialSearcher
        >>> from hisatools.simulate import ModelParameters, simulate_cube
        >>> model = simulate_cube(ModelParameters(shape=(4, 210, 210), n_pucks=3, n_components=50), seed=2)
        >>> noise = SpatialSearcher().measure_noise(model.cube)
        >>> noise.coarse_kelvin.shape, round(float(noise.coarse_kelvin.mean()), 1)
        ((4, 7, 7), 6.0)
        >>> round(noise.correlation.beam_pix, 1)
        3.3
        """
        box = self._box_pix(cube)
        measuring_box = max(box, MIN_MEASURING_BOX)
        correlation = noise_correlation(cube.kelvin, measuring_box, workers=workers)
        share = box_noise(measuring_box, correlation.beam_pix)
        scale_pix = max((self.parameters.noise_scale / cube.pixel_scale).to_value(""), MIN_NOISE_BOX)

        def measure(channel):
            return coarse_noise(channel - box_mean(channel, measuring_box), scale_pix)

        coarse = np.array(run_blocks(measure, list(cube.kelvin), workers=workers))
        smoothed_share = 1.0 if box == 1 else np.sqrt(share.smoothed)
        coarse = without_features(coarse)
        return SpatialNoise(coarse / np.sqrt(share.removed), float(smoothed_share), correlation)

    def search(self, cube, *, noise=None, fitted=None, workers=1, progress=False):
        """Search every channel map.

        Parameters
        ----------
        cube : `~hisatools.HISACube`
            NaN is blank: never flagged.
        noise : `SpatialNoise`, optional
            Measured on the cube if not given.
        fitted : `~hisatools.HISACube` or `~hisatools.filling.FilledCube`, optional
            What U is fitted to, if not ``cube``: the same with known absorption filled in. Without
            it U sinks into features larger than G_char.
        workers : int
            Number of threads; never changes the result.
        progress : bool
            Whether to show a progress bar.

        Returns
        -------
        `~hisatools.SearchResult`

        Raises
        ------
        InputError
            If G_char is not resolved by the pixels or exceeds the field.

        Examples
        --------
        >>> import astropy.units as u
        >>> from hisatools import SpatialParameters, SpatialSearcher
        >>> from hisatools.simulate import ModelParameters, simulate_cube
        >>> model = simulate_cube(ModelParameters(shape=(4, 210, 210), n_pucks=40, n_components=50), seed=2)
        >>> searcher = SpatialSearcher(SpatialParameters(min_amplitude=8 * u.K))
        >>> found = searcher.search(model.cube)
        >>> found.amplitude.shape, found.amplitude.max().round()
        ((4, 210, 210), <Quantity 14. K>)
        >>> found.n_iterations.shape
        (4,)
        """
        n_v, *map_shape = cube.shape
        fwhm_pix = clean_scale("spatial.clean_fwhm", self.parameters.clean_fwhm, cube)
        join_pix = smoothing_scale("spatial.join_fwhm", self.parameters.join_fwhm, cube)
        noise = self.measure_noise(cube, workers=workers) if noise is None else noise
        fitted = cube if fitted is None else fitted
        convolve = self.convolution.gaussian(tuple(map_shape), fwhm_pix)
        box = self._box_pix(cube)
        amplitude = np.zeros(cube.shape, np.float32)

        def search_channel(k):
            observed = cube.block(k)
            amplitude[k], n_iterations, reason = self._search_channel(
                observed,
                observed if fitted is cube else fitted.block(k),
                noise.coarse_kelvin[k],
                noise.smoothed_share,
                box,
                join_pix,
                convolve,
            )
            return n_iterations, reason

        ends = run_blocks(
            search_channel, range(n_v), workers=workers, progress=progress, description="spatial search"
        )
        n_iterations, stop_reason = zip(*ends, strict=True)
        return SearchResult(
            amplitude=u.Quantity(amplitude, u.K, copy=False),
            n_iterations=np.array(n_iterations, np.int32),
            stop_reason=np.array(stop_reason, np.int8),
            wcs=cube.wcs,
            meta={
                "search": "spatial",
                "clean": self.clean_name,
                "convolution": self.convolution_name,
                "parameters": self.parameters.to_dict(),
            },
        )

    def stages(self, cube, velocity, *, noise=None):
        """Search one channel map as `search` does, and keep what it comes by on the way.

        Parameters
        ----------
        cube : `~hisatools.HISACube`
            NaN is blank.
        velocity : `~astropy.units.Quantity`, scalar, velocity
            The nearest channel is searched.
        noise : `SpatialNoise`, optional
            Measured on the cube if not given.

        Returns
        -------
        `~hisatools.search.stages.SpatialStages`
            Its ``plot()`` draws figure 3 of the paper.

        Raises
        ------
        ParameterError
            If the velocity has no unit or lies outside the cube.
        InputError
            If G_char is not resolved by the pixels or exceeds the field, or the channel is blank.

        Examples
        --------
        >>> import astropy.units as u
        >>> from hisatools import SpatialSearcher
        >>> from hisatools.datasets import example_model
        >>> stages = SpatialSearcher().stages(example_model().cube, -40 * u.km / u.s)
        >>> stages.amplitude.shape
        (208, 208)
        """
        fwhm_pix = clean_scale("spatial.clean_fwhm", self.parameters.clean_fwhm, cube)
        join_pix = smoothing_scale("spatial.join_fwhm", self.parameters.join_fwhm, cube)
        channel = nearest_channel(cube.velocity, velocity)
        noise = self.measure_noise(cube) if noise is None else noise
        observed = cube.block(channel)
        smoothed, cleaned, levels = self._clean_map(
            observed,
            observed,
            noise.coarse_kelvin[channel],
            noise.smoothed_share,
            self._box_pix(cube),
            self.convolution.gaussian(cube.shape[1:], fwhm_pix),
        )
        if cleaned.stop_reason == StopReason.NOT_CLEANED:
            raise InputError(
                f"channel {channel} at {cube.velocity[channel]:.1f} is blank; name another velocity"
            )
        suspected = self._suspected(observed, smoothed, cleaned, levels)
        amplitude = self._joined(suspected.copy(), observed, join_pix)
        maps = (observed, smoothed, cleaned.unabsorbed_kelvin, *levels, suspected, amplitude)
        return SpatialStages(
            *(np.asarray(values, np.float32) << u.K for values in maps),
            channel=channel,
            velocity=cube.velocity[channel],
            wcs=cube.wcs,
        )

    def check(self, cube):
        """Raise the error that `search` would raise on this cube, before anything is computed.

        Examples
        --------
        >>> from hisatools import SpatialSearcher
        >>> from hisatools.simulate import ModelParameters, simulate_cube
        >>> model = simulate_cube(ModelParameters(shape=(4, 40, 40), n_pucks=3, n_components=50), seed=2)
        >>> SpatialSearcher().check(model.cube)
        Traceback (most recent call last):
            ...
        hisatools.errors.InputError: the cube: spatial.clean_fwhm=20 arcmin is 67 pixels ...
        """
        clean_scale("spatial.clean_fwhm", self.parameters.clean_fwhm, cube)

    def _box_pix(self, cube):
        return odd_pixels((self.parameters.smoothing_box / cube.pixel_scale).to_value(""))

    def _settings(self):
        parameters = self.parameters
        return CleanSettings(
            gain=parameters.clean_gain,
            clip=parameters.clean_clip,
            stop_fraction=parameters.stop_fraction,
            max_iterations=parameters.max_iterations,
            peak_rank=parameters.peak_rank,
        )

    def _search_channel(self, observed, fitted, coarse, smoothed_share, box, join_pix, convolve):
        """Amplitude (n_y, n_x), loop count and stop reason of one map; U is fitted to ``fitted``."""
        smoothed, cleaned, levels = self._clean_map(observed, fitted, coarse, smoothed_share, box, convolve)
        if cleaned.stop_reason == StopReason.NOT_CLEANED:
            return np.float32(0), cleaned.n_iterations, cleaned.stop_reason
        suspected = self._suspected(observed, smoothed, cleaned, levels)
        return self._joined(suspected, observed, join_pix), cleaned.n_iterations, cleaned.stop_reason

    def _clean_map(self, observed, fitted, coarse, smoothed_share, box, convolve):
        """S of one map, the CLEAN, and the levels of S - U and O - U below which absorption is suspected."""
        sigma_obs = expand_noise(coarse, observed.shape)
        level = float(np.nanmean(sigma_obs)) if np.isfinite(coarse).any() else np.nan
        relative = np.ones_like(sigma_obs)
        np.divide(sigma_obs, np.float32(level), out=relative, where=sigma_obs > 0)
        smoothed = box_mean(observed, box)
        cleaned = self.clean.clean_channel(
            smoothed if fitted is observed else box_mean(fitted, box),
            level * smoothed_share,
            1 / relative**2,
            convolve,
            self._settings(),
        )
        threshold = self.parameters.threshold
        return smoothed, cleaned, (-threshold * cleaned.sigma_pos_kelvin * relative, -threshold * sigma_obs)

    def _suspected(self, observed, smoothed, cleaned, levels):
        """U - O where it stands out from the noise of S or of O, 0 elsewhere."""
        parameters = self.parameters
        unabsorbed = cleaned.unabsorbed_kelvin
        depth = unabsorbed - observed
        smoothed_level, observed_level = levels
        # NaN compares as False: blank pixels and unknown noise never count.
        flagged = smoothed - unabsorbed < smoothed_level
        flagged |= depth > -observed_level
        flagged &= depth >= parameters.min_amplitude.value
        flagged &= unabsorbed >= parameters.critical_brightness.value
        return np.where(flagged, depth, np.float32(0))

    def _joined(self, suspected, observed, join_pix):
        """Amplitudes smoothed, the faint ones dropped."""
        amplitude = join_flecks(suspected, join_pix)
        amplitude[~(amplitude >= self.parameters.cull_amplitude.value) | np.isnan(observed)] = 0
        return amplitude
