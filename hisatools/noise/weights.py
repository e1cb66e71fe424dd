"""sigma from a map of mosaic weights, with a measured scale."""

from dataclasses import dataclass

import numpy as np

from hisatools.errors import InputError
from hisatools.io.checks import check_weights
from hisatools.noise.certainty import gathered_values, warn_if_few
from hisatools.noise.differences import MIN_CHANNELS
from hisatools.noise.fields import beam_of, clipped_variance, noise_field, scale_pix, source, unmasked
from hisatools.noise.line_free import (
    LineFreeParameters,
    channel_text,
    given_channels,
    line_free_channels,
    need_values,
    quiet_field,
)
from hisatools.noise.protocols import NoiseMeasurement

__all__ = ["WeightsParameters", "WeightsStrategy"]


@dataclass(frozen=True, kw_only=True)
class WeightsParameters(LineFreeParameters):
    """Where the scale is measured; see `hisatools.noise.line_free.LineFreeParameters`.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools.noise import WeightsParameters
    >>> WeightsParameters(ranges=[(60, 80) * u.km / u.s]).to_dict()["ranges"]
    '60..80 km/s'
    """

    _section = "weights"


class WeightsStrategy:
    """sigma(l, b) proportional to the weight to the power -1/2.

    A mosaic weights its fields by their sensitivity, so the weights know the noise better than any
    measurement in a small part does. One number, the scale, is measured over the whole field: on the
    line-free channels that are given or found, and on O - S of all channels where there are none. It
    measures the noise of these channels; the result says which they were.

    Parameters
    ----------
    parameters : `WeightsParameters`, optional
    weights : array_like, shape (n_y, n_x), optional
        Those of the cube if not given; 0 and NaN mean none, and sigma is NaN there.

    References
    ----------
    Taylor, A. R., et al. 2003, AJ 125, 3145, section 3.

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools.noise import NoiseEstimator
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> model = simulate_cube(ModelParameters(shape=(32, 64, 64), n_pucks=3, n_components=50), seed=101)
    >>> result = NoiseEstimator("weights", weights=np.ones((64, 64))).estimate(model.cube)
    >>> 5.4 < float(result.sigma[0, 0].value) < 6.6
    True
    """

    Parameters = WeightsParameters
    citation = "Taylor et al. 2003, AJ 125, 3145, section 3"

    def __init__(self, parameters=None, *, weights=None):
        self.parameters = WeightsParameters() if parameters is None else parameters
        self.weights = weights

    def estimate(self, cube, mask, workers, progress):
        """Noise by weight: shape (n_y, n_x); see `~hisatools.noise.protocols.NoiseStrategy`."""
        weights = cube.weights if self.weights is None else self.weights
        if weights is None:
            raise InputError(
                f"{source(cube)}: no map of weights; read the cube with weights=..., or give "
                "NoiseEstimator('weights', weights=...)"
            )
        weights = check_weights(_numbers(weights), cube.shape[1:], source(cube))
        weights = np.where(weights > 0, weights / np.nanmedian(weights[weights > 0]), np.nan)
        field, where, per_value = self._field(cube, mask, workers)
        scaled = (field * np.sqrt(weights)).astype(np.float32)
        fwhm_pix = scale_pix("smoothing", self.parameters.smoothing, self.parameters.smoothing_beams, cube)
        local = clipped_variance(scaled, fwhm_pix, self.parameters.clip, workers=workers)
        with_data = np.isfinite(local) & np.isfinite(scaled).any(axis=0)
        if not with_data.any():
            raise InputError(f"{source(cube)}: no usable sight line has a weight; is it the map of weights?")
        count = np.isfinite(scaled).sum(axis=0)
        # The scale is one number for the whole sky.
        warn_if_few(gathered_values(count, np.inf, beam_of(cube), per_value), source(cube))
        scale_kelvin = float(np.sqrt(np.median(local[with_data])))
        meta = {"channels": where, "scale_kelvin": round(scale_kelvin, 4)}
        return NoiseMeasurement(scale_kelvin / np.sqrt(weights), meta)

    def _field(self, cube, mask, workers):
        """Deviations that tell the scale, their channels as text, and channels per value."""
        kelvin = unmasked(cube, mask)
        if self.parameters.ranges:
            channels = given_channels(cube, self.parameters.ranges)
            need_values(kelvin, channels, source(cube))
        else:
            channels = line_free_channels(kelvin, self.parameters.level)
        if channels.sum() < MIN_CHANNELS or np.isfinite(kelvin[channels]).sum(axis=0).max() < MIN_CHANNELS:
            field = noise_field(cube, mask, workers=workers)
            return field.kelvin, "all", field.channels_per_value
        field, per_value = quiet_field(kelvin, channels)
        return field, channel_text(channels), per_value


def _numbers(weights):
    """The weights as an array of numbers."""
    try:
        return np.asarray(weights, float)
    except (TypeError, ValueError):
        raise InputError(
            f"weights must be an array of numbers, one a sight line, got {weights!r}; read a file with "
            "astropy.io.fits.getdata('weights.fits')"
        ) from None
