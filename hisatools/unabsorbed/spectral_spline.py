"""T_U as a cubic smoothing spline across the velocity edges of a feature."""

from dataclasses import dataclass
from functools import partial

import astropy.units as u
import numpy as np

from hisatools.parameters import _Parameters, _quantity
from hisatools.unabsorbed.edges import channels_in, interpolate_runs


@dataclass(frozen=True, kw_only=True)
class SpectralSplineParameters(_Parameters):
    """The "spectral-spline" estimate of T_U.

    Parameters
    ----------
    scale : Quantity, velocity
        How stiff the spline is: in a long row of T_OFF a wave of length 2 pi ``scale`` keeps half of its
        amplitude, a shorter one less. Beyond the noise's correlation, short of the emission lines. With 0
        the spline runs through every T_OFF, and noise is carried into the feature.
    margin : Quantity, velocity
        How much of the spectrum on either side is fitted; rounded to whole channels, at least one. Two
        ``scale`` hold nearly all T_OFF that the stiffness lets have a say.
    smoothing : Quantity, angle
        FWHM of the Gaussian mean of T_OFF over the sky, which lowers the noise. Below a pixel, as with
        0, each sight line is worked on by itself. Two beams of the CGPS by default.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools import UnabsorbedEstimator
    >>> UnabsorbedEstimator("spectral-spline", scale=3 * u.km / u.s).parameters.scale
    <Quantity 3. km / s>
    """

    _section = "spectral-spline"

    scale: u.Quantity = _quantity(2.0 * u.km / u.s, inclusive=True)
    margin: u.Quantity = _quantity(4.0 * u.km / u.s)
    smoothing: u.Quantity = _quantity(2.0 * u.arcmin, inclusive=True)


class SpectralSplineStrategy:
    """T_U from a smoothing spline through both velocity edges of a feature, in each sight line.

    The natural cubic spline f that minimises sum (T_OFF - f)^2 + scale^4 integral f''^2, in channels
    (Reinsch 1967): the smoothest curve that agrees with T_OFF, the finite channels outside all
    features that are nearest to the run of the feature's channels. Across the run it is one cubic. It
    acts like a kernel of width ``scale`` (Silverman 1984).

    Parameters
    ----------
    parameters : `SpectralSplineParameters`, optional

    Notes
    -----
    Blank channels and those of other features are stepped over, however many they are. With T_OFF on one
    side only T_U is their mean; with none, T_U is T_ON and its uncertainty infinite. ``n_off`` counts the
    T_OFF in the feature's own sight lines. The uncertainty is analytic: for a given ``scale`` the spline
    is linear in T_OFF.

    Examples
    --------
    >>> import astropy.units as u
    >>> import numpy as np
    >>> from hisatools import HISACube, UnabsorbedEstimator
    >>> velocity = np.arange(15) * u.km / u.s
    >>> emission = 80 * np.exp(-0.5 * ((velocity.value - 7) / 10) ** 2)
    >>> absorption = np.where(abs(velocity.value - 6) < 2, 40, 0)
    >>> cube = HISACube.from_spectrum((emission - absorption) * u.K, velocity)
    >>> mask = (absorption > 0).reshape(cube.shape)
    >>> found = UnabsorbedEstimator("spectral-spline").estimate(cube, mask, uncertainty=False)
    >>> bool(abs(found.t_unabsorbed[:, 0, 0].value - emission).max() < 3)
    True
    """

    Parameters = SpectralSplineParameters
    citation = "Reinsch 1967, Numerische Mathematik, 10, 177; Silverman 1984, Annals of Statistics, 12, 898"

    def __init__(self, parameters=None):
        self.parameters = SpectralSplineParameters() if parameters is None else parameters

    def estimate(self, cube, labels, features, index, *, errors=None, workers=1, progress=False):
        """T_U at some voxels; see `hisatools.unabsorbed.protocols.UnabsorbedStrategy`."""
        return interpolate_runs(
            partial(spline_weights, scale_chan=(self.parameters.scale / cube.channel_width).to_value("")),
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


def spline_weights(sources, targets, n_low, *, scale_chan):
    """Weights of T_OFF in a natural cubic smoothing spline.

    The spline is a straight line plus a sum of c_i |v - v_i|^3 / 12 whose c_i are orthogonal to straight
    lines; then the penalty is scale^4 c'Kc, and the equations are linear (Green & Silverman 1994,
    chapter 7).

    Parameters
    ----------
    sources, targets : `~numpy.ndarray`, shape (m, n_off) and (m, n_wanted)
        Channels of T_OFF, ascending, and of the wanted voxels.
    n_low : int
        Of no effect.
    scale_chan : float

    Returns
    -------
    `~numpy.ndarray`, shape (m, n_wanted, n_off)
    """
    # From -1 to 1, so that cubes of large distances do not drown the straight line.
    middle, half = ((sources[:, -1:] + sign * sources[:, :1]) / 2 for sign in (1, -1))
    at_sources, at_targets = (sources - middle) / half, (targets - middle) / half
    n_off = sources.shape[1]
    system = np.zeros((len(sources), n_off + 2, n_off + 2))
    system[:, :n_off, :n_off] = _cubes(at_sources, at_sources)
    system[:, :n_off, :n_off] += (scale_chan**4 / half**3)[:, :, None] * np.eye(n_off)
    system[:, :n_off, n_off:] = _lines(at_sources)
    system[:, n_off:, :n_off] = _lines(at_sources).swapaxes(1, 2)
    wanted = np.concatenate([_cubes(at_sources, at_targets), _lines(at_targets).swapaxes(1, 2)], axis=1)
    return np.linalg.solve(system, wanted)[:, :n_off].swapaxes(1, 2)


def _cubes(one, other):
    return np.abs(one[:, :, None] - other[:, None, :]) ** 3 / 12


def _lines(channels):
    """Constant and slope at the channels, shape (m, n, 2)."""
    return np.stack([np.ones_like(channels), channels], axis=2)
