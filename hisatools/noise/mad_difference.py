"""The median absolute deviation of channel differences, for cubes of any sky."""

from dataclasses import dataclass

import numpy as np

from hisatools.errors import InputError
from hisatools.noise.certainty import (
    difference_correlation,
    gathered_values,
    warn_if_few,
    warn_of_white,
)
from hisatools.noise.correlation import DIFFERENCE_LAG, difference_rms
from hisatools.noise.differences import (
    MIN_CORRELATION_CHANNELS,
    difference_line_chan,
    difference_variance,
)
from hisatools.noise.fields import (
    beam_of,
    filled,
    noise_field,
    scale_pix,
    smooth_map,
    source,
    unmasked,
    wide,
)
from hisatools.noise.protocols import NoiseMeasurement
from hisatools.noise.scales import SkyParameters
from hisatools.search.base import row_blocks, run_blocks

__all__ = ["MadDifferenceParameters", "MadDifferenceStrategy"]

ROWS_PER_BLOCK = 32
MIN_NUMBER = 14
# Uncertainty of a median deviation of differences in units of that of their rms, from simulated noise.
MEDIAN_SCATTER = 1.35


@dataclass(frozen=True, kw_only=True)
class MadDifferenceParameters(SkyParameters):
    """Over what the deviations are gathered; see `hisatools.noise.scales.SkyParameters`.

    ``clip`` is not used: the median passes over outliers by itself.

    Examples
    --------
    >>> from hisatools.noise import MadDifferenceParameters, NoiseEstimator
    >>> wide = MadDifferenceParameters(smoothing_beams=8)
    >>> NoiseEstimator("mad-difference", wide).parameters.smoothing_beams
    8
    """

    _section = "mad-difference"


class MadDifferenceStrategy:
    """1.4826 times the median absolute deviation of third differences of channels, as a map.

    Third differences over seven channels know nothing of emission that is a parabola there; the median
    passes over narrow absorption. Steep edges of a line they do see: where the sky holds five beams, the
    differences are those of O - S, and the part of the noise that S takes along is put back.

    Noise that is correlated between channels gives smaller differences: the correlation is measured by
    comparing differences of near channels with those of channels three apart, or on the maps where there
    are fewer than 32 channels, and taken into account. It
    needs no neighbours on the sky, but where there are some, the deviations are averaged over six beams. It
    measures the noise of the typical stretch of seven channels, the median
    deviation of all of them, which lies between the noise of empty and of bright channels.

    Parameters
    ----------
    parameters : `MadDifferenceParameters`, optional

    References
    ----------
    The correction is derived in the documentation, "Noise".

    Examples
    --------
    >>> import astropy.units as u, numpy as np
    >>> from hisatools import HISACube
    >>> from hisatools.noise import NoiseEstimator
    >>> v = np.arange(300) * u.km / u.s
    >>> noise = np.random.default_rng(2).normal(0, 2, 300)
    >>> cube = HISACube.from_spectrum((80 * np.exp(-((v.value - 150) / 40) ** 2) + noise) * u.K, v)
    >>> result = NoiseEstimator("mad-difference").estimate(cube)
    >>> 1.6 < float(result.sigma[0, 0].value) < 2.4
    True
    """

    Parameters = MadDifferenceParameters
    citation = "third differences: hisatools documentation, Noise"

    def __init__(self, parameters=None):
        self.parameters = MadDifferenceParameters() if parameters is None else parameters

    def estimate(self, cube, mask, workers, progress):
        """Noise of the typical channel: shape (n_y, n_x); see `~hisatools.noise.protocols.NoiseStrategy`."""
        on_maps = noise_field(cube, mask, workers=workers) if wide(cube) else None
        field = unmasked(cube, mask) if on_maps is None else on_maps.kelvin
        rows = row_blocks(cube.shape[1], ROWS_PER_BLOCK)
        blocks = run_blocks(
            lambda block: difference_rms(field[:, block]), rows, workers=workers, progress=progress
        )
        white = np.concatenate(blocks)
        if not np.isfinite(white).any():
            raise InputError(
                f"{source(cube)}: no sight line has the {MIN_NUMBER} usable channels in a row that "
                "differences need; give a cube with more channels, or a smaller mask"
            )
        line_chan = self._line_chan(field, on_maps, source(cube))
        share = difference_variance(DIFFERENCE_LAG, line_chan) / difference_variance(DIFFERENCE_LAG, 0)
        fwhm_pix = scale_pix("smoothing", self.parameters.smoothing, self.parameters.smoothing_beams, cube)
        # Not the squares: those of few, uncertain values are too large on average.
        number = np.isfinite(field).sum(axis=0)
        beam_pix = beam_of(cube) if on_maps is None else on_maps.beam_pix
        n_differences = np.maximum(number - 3 * DIFFERENCE_LAG, 0)
        per_value = difference_correlation(line_chan)
        n_values = gathered_values(n_differences, fwhm_pix, beam_pix, per_value)
        warn_if_few(n_values, source(cube), scatter=MEDIAN_SCATTER)
        sigma_kelvin = filled(smooth_map(white / np.sqrt(share), fwhm_pix, number))
        return NoiseMeasurement(sigma_kelvin, {"line_channels": round(line_chan, 3)})

    def _line_chan(self, field, on_maps, source_name):
        """FWHM over which channels are correlated: by differences, on the maps, or none, with a warning."""
        if len(field) >= MIN_CORRELATION_CHANNELS:
            return difference_line_chan(field)
        if on_maps is None:
            warn_of_white(source_name, len(field), MIN_CORRELATION_CHANNELS)
            return 0.0
        return on_maps.line_chan
