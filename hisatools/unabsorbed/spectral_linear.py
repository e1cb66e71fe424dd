"""T_U as a straight line across the velocity edges of a feature (Hasegawa et al. 1983)."""

from dataclasses import dataclass

import astropy.units as u
import numpy as np

from hisatools.parameters import _Parameters, _quantity
from hisatools.unabsorbed.edges import channels_in, interpolate_runs


@dataclass(frozen=True, kw_only=True)
class SpectralLinearParameters(_Parameters):
    """The "spectral-linear" estimate of T_U.

    Parameters
    ----------
    margin : Quantity, velocity
        How much of the spectrum on either side makes the level of an edge; rounded to whole channels, at
        least one. A little over the width over which noise is correlated: more of it rounds the
        emission off, since the edges of a feature lie on the slopes of lines.
    smoothing : Quantity, angle
        FWHM of the Gaussian mean of T_OFF over the sky, which lowers the noise. Below a pixel, as with
        0, each sight line is worked on by itself, as published. Two beams of the CGPS by default.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools import UnabsorbedEstimator
    >>> UnabsorbedEstimator("spectral-linear", margin=3 * u.km / u.s).parameters.margin
    <Quantity 3. km / s>
    """

    _section = "spectral-linear"

    margin: u.Quantity = _quantity(2.0 * u.km / u.s)
    smoothing: u.Quantity = _quantity(2.0 * u.arcmin, inclusive=True)


class SpectralLinearStrategy:
    """T_U from a straight line between the two velocity edges of a feature, in each sight line.

    The level of an edge is the mean of T_OFF, the finite channels outside all features that are nearest to
    the run of the feature's channels; the line joins the levels at the mean velocities of these channels,
    as Hasegawa et al. (1983) and Montgomery et al. (1995) drew it.

    Parameters
    ----------
    parameters : `SpectralLinearParameters`, optional

    Notes
    -----
    Blank channels and those of other features are stepped over, however many they are. With T_OFF on one
    side only T_U is their mean; with none, T_U is T_ON and its uncertainty infinite. ``n_off`` counts the
    T_OFF in the feature's own sight lines. The uncertainty is analytic; it grows with the width of the
    feature, since a line knows nothing of emission lines that peak within it.

    Examples
    --------
    >>> import astropy.units as u
    >>> import numpy as np
    >>> from hisatools import HISACube, UnabsorbedEstimator
    >>> velocity = np.arange(9) * u.km / u.s
    >>> cube = HISACube.from_spectrum([80, 82, 84, 60, 40, 60, 92, 94, 96] * u.K, velocity)
    >>> mask = cube.data < 70 * u.K
    >>> found = UnabsorbedEstimator("spectral-linear").estimate(cube, mask, uncertainty=False)
    >>> found.t_unabsorbed[3:6, 0, 0].round(3)
    <Quantity [86., 88., 90.] K>
    """

    Parameters = SpectralLinearParameters
    citation = "Hasegawa et al. 1983, AJ, 88, 658"

    def __init__(self, parameters=None):
        self.parameters = SpectralLinearParameters() if parameters is None else parameters

    def estimate(self, cube, labels, features, index, *, errors=None, workers=1, progress=False):
        """T_U at some voxels; see `hisatools.unabsorbed.protocols.UnabsorbedStrategy`."""
        return interpolate_runs(
            line_weights,
            cube,
            labels,
            features,
            index,
            n_side=channels_in(self.parameters.margin, cube),
            smoothing=self.parameters.smoothing,
            errors=errors,
            workers=workers,
            progress=progress,
        )


def line_weights(sources, targets, n_low):
    """Weights of T_OFF in the straight line through the levels of two edges.

    Parameters
    ----------
    sources, targets : `~numpy.ndarray`, shape (m, n_off) and (m, n_wanted)
        Channels of T_OFF, ascending, and of the wanted voxels.
    n_low : int
        How many T_OFF belong to the lower edge.

    Returns
    -------
    `~numpy.ndarray`, shape (m, n_wanted, n_off)
    """
    n_high = sources.shape[1] - n_low
    low = sources[:, :n_low].mean(axis=1, keepdims=True)
    high = sources[:, n_low:].mean(axis=1, keepdims=True)
    along = ((targets - low) / (high - low))[:, :, None]
    return np.concatenate(
        [np.repeat((1 - along) / n_low, n_low, axis=2), np.repeat(along / n_high, n_high, axis=2)], axis=2
    )
