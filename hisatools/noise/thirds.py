"""The rms of the quietest third of each spectrum (Gibson et al. 2005, section 2.2)."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from hisatools.noise.certainty import warn_if_few
from hisatools.noise.correlation import MIN_CHANNELS_IN_THIRD
from hisatools.noise.fields import clipped_variance, noise_field, scale_pix, source
from hisatools.noise.protocols import NoiseMeasurement
from hisatools.noise.scales import SkyParameters

__all__ = ["ThirdsParameters", "ThirdsStrategy"]

# The least of three values of a Gaussian lies so many of its sigma below the mean.
LEAST_OF_THREE = 0.846


@dataclass(frozen=True, kw_only=True)
class ThirdsParameters(SkyParameters):
    """How the rms of thirds becomes a map; see `hisatools.noise.scales.SkyParameters`.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools.noise import ThirdsParameters
    >>> ThirdsParameters(smoothing=0.25 * u.deg).smoothing
    <Quantity 15. arcmin>
    """

    _section = "thirds"


class ThirdsStrategy:
    """Smallest rms of O - S over three equal parts of the band, as a map.

    The emission is taken out by the mean S over five beams, and the part of the noise that goes with
    it is put back. In a single spectrum the rms of forty channels is uncertain by a sixth, and the
    smallest of three is low by as much: the squares are gathered over six beams on the sky before the
    smallest third is chosen. It measures the rms noise of the third of the band that is quietest at a sight
    line, which in most fields has the least emission.

    Parameters
    ----------
    parameters : `ThirdsParameters`, optional

    References
    ----------
    Gibson, S. J., et al. 2005, ApJ 626, 214, section 2.2.

    Examples
    --------
    >>> from hisatools.noise import NoiseEstimator
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> model = simulate_cube(ModelParameters(shape=(64, 48, 48), n_pucks=3, n_components=50), seed=101)
    >>> NoiseEstimator("thirds").estimate(model.cube).sigma.shape
    (48, 48)
    """

    Parameters = ThirdsParameters
    citation = "Gibson et al. 2005, ApJ 626, 214, section 2.2"

    def __init__(self, parameters=None):
        self.parameters = ThirdsParameters() if parameters is None else parameters

    def estimate(self, cube, mask, workers, progress):
        """Rms of the quietest third: shape (n_y, n_x); see `~hisatools.noise.protocols.NoiseStrategy`."""
        field = noise_field(cube, mask, workers=workers)
        fwhm_pix = scale_pix("smoothing", self.parameters.smoothing, self.parameters.smoothing_beams, cube)
        parts = thirds(field.kelvin)
        n_values = field.n_values(fwhm_pix, n_parts=len(parts))
        warn_if_few(n_values, source(cube), note=_low(n_values) if len(parts) > 1 else "")
        variances = [
            clipped_variance(part, fwhm_pix, self.parameters.clip, workers=workers) for part in parts
        ]
        sigma_kelvin = np.sqrt(np.fmin.reduce(variances))
        return NoiseMeasurement(sigma_kelvin, {"smoothing": f"{fwhm_pix * cube.pixel_scale:.4g}"})


def _low(n_values):
    """How much lower than the noise the least of three uncertain thirds is, as a part of a sentence."""
    low = LEAST_OF_THREE / np.sqrt(2 * max(n_values, 1.0))
    return f" in each third, and the least of three thirds comes out {100 * low:.0f} % low"


def thirds(field):
    """Three equal parts of the channels that have values, or one part if they are few.

    Rounded, the parts of a reversed spectrum are the same.
    """
    (known,) = np.nonzero(np.isfinite(field).any(axis=(1, 2)))
    n_parts = 3 if len(known) >= 3 * MIN_CHANNELS_IN_THIRD else 1
    edges = [round(len(known) * part / n_parts) for part in range(n_parts + 1)]
    return [field[known[first:stop]] for first, stop in pairwise(edges)]
