"""What the searches hand to CLEAN and to the plain loops, made with public functions."""

from dataclasses import dataclass

import astropy.units as u
import numpy as np

from benchmarks.baseline import gaussian_kernel
from hisatools import SpatialParameters, SpatialSearcher, SpectralParameters, SpectralSearcher
from hisatools.backends.protocols import CleanSettings
from hisatools.noise import expand_noise
from hisatools.smoothing import box_mean, odd_pixels


@dataclass(frozen=True)
class SpectraToClean:
    """Arguments of ``clean_spectra``, in its order."""

    smoothed_kelvin: np.ndarray
    stop_kelvin: np.ndarray
    kernel: np.ndarray
    settings: CleanSettings

    @classmethod
    def of(cls, cube):
        """Every sight line of a cube."""
        parameters = SpectralParameters()
        smoothed = np.array([box_mean(channel, _box(parameters, cube)) for channel in cube.kelvin])
        return cls(
            np.ascontiguousarray(smoothed.reshape(len(smoothed), -1).T),
            SpectralSearcher().measure_noise(cube).smoothed_kelvin.ravel(),
            gaussian_kernel((parameters.clean_fwhm / cube.channel_width).to_value(u.one)),
            _settings(parameters),
        )

    def clean(self, backend):
        """`~hisatools.backends.protocols.CleanedSpectra` by one backend."""
        return backend.clean_spectra(self.smoothed_kelvin, self.stop_kelvin, self.kernel, self.settings)


@dataclass(frozen=True)
class MapToClean:
    """Arguments of ``clean_channel``, and the FWHM of the convolution."""

    smoothed_kelvin: np.ndarray
    stop_kelvin: float
    weights: np.ndarray
    settings: CleanSettings
    fwhm_pix: float

    @classmethod
    def of(cls, cube, *, n_loops=None):
        """The first channel of a cube; with ``n_loops`` exactly so many, whatever the noise."""
        parameters = SpatialParameters()
        sigma_obs, sigma_smoothed = map_noise(cube)
        stopping = {} if n_loops is None else {"max_iterations": n_loops, "stop_fraction": 0.0}
        return cls(
            box_mean(cube.kelvin[0], _box(parameters, cube)),
            float(sigma_smoothed[0]) if n_loops is None else 0.0,
            (sigma_obs[0] / sigma_obs[0].mean()) ** -2,
            _settings(parameters, peak_rank=parameters.peak_rank, **stopping),
            (parameters.clean_fwhm / cube.pixel_scale).to_value(u.one),
        )

    def clean(self, backend, convolution):
        """`~hisatools.backends.protocols.CleanedChannel` by a CLEAN and a convolution backend."""
        convolve = convolution.gaussian(self.smoothed_kelvin.shape, self.fwhm_pix)
        return backend.clean_channel(
            self.smoothed_kelvin, self.stop_kelvin, self.weights, convolve, self.settings
        )

    def correction(self):
        """The map that the first loop convolves."""
        highest = np.partition(self.smoothed_kelvin, -self.settings.peak_rank, axis=None)
        bright = self.smoothed_kelvin > self.settings.clip * highest[-self.settings.peak_rank]
        return np.where(bright, np.float32(self.settings.gain) * self.smoothed_kelvin, np.float32(0))


def map_noise(cube, noise=None):
    """Noise of O, shape (n_v, n_y, n_x), and the mean noise of S, shape (n_v,), K."""
    noise = SpatialSearcher().measure_noise(cube) if noise is None else noise
    sigma_obs = np.array([expand_noise(coarse, cube.shape[1:]) for coarse in noise.coarse_kelvin])
    return sigma_obs, sigma_obs.mean(axis=(1, 2)) * noise.smoothed_share


def _box(parameters, cube):
    return odd_pixels((parameters.smoothing_box / cube.pixel_scale).to_value(u.one))


def _settings(parameters, **others):
    return CleanSettings(
        **{
            "gain": parameters.clean_gain,
            "clip": parameters.clean_clip,
            "stop_fraction": parameters.stop_fraction,
            "max_iterations": parameters.max_iterations,
            **others,
        }
    )
