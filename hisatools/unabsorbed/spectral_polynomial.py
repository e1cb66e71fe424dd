"""T_U as a polynomial through the spectrum on either side of a feature."""

from dataclasses import dataclass
from functools import partial

import astropy.units as u
import numpy as np
from numpy.polynomial import legendre

from hisatools.parameters import _number, _Parameters, _quantity
from hisatools.unabsorbed.edges import channels_in, interpolate_runs


@dataclass(frozen=True, kw_only=True)
class SpectralPolynomialParameters(_Parameters):
    """The "spectral-polynomial" estimate of T_U.

    Parameters
    ----------
    order : int
        Of the polynomial, 2 to 6. A cubic is what the level and the slope at both edges determine; what
        goes beyond rests on curvatures at the edges, which noise swamps in wide features.
    margin : Quantity, velocity
        How much of the spectrum on either side is fitted; rounded to whole channels, and widened to
        (order + 1) / 2 of them. Half the width of the narrowest emission lines: over it
        their slope is seen, and a wider range holds more lines than the polynomial can follow.
    smoothing : Quantity, angle
        FWHM of the Gaussian mean of T_OFF over the sky, which lowers the noise. Below a pixel, as with
        0, each sight line is worked on by itself. Two beams of the CGPS by default.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools import UnabsorbedEstimator
    >>> UnabsorbedEstimator("spectral-polynomial", order=4, smoothing=1 * u.arcmin).parameters.smoothing
    <Quantity 1. arcmin>
    """

    _section = "spectral-polynomial"

    order: int = _number(3, above=2, inclusive=True, at_most=6, integer=True)
    margin: u.Quantity = _quantity(4.0 * u.km / u.s)
    smoothing: u.Quantity = _quantity(2.0 * u.arcmin, inclusive=True)


class SpectralPolynomialStrategy:
    """T_U from a polynomial that is fitted to both velocity edges of a feature, in each sight line.

    The fit is one of least squares to T_OFF, the finite channels outside all features that are nearest to
    the run of the feature's channels. Knapp (1974), McCutcheon et al. (1978), Li & Goldsmith (2003)
    and Kavars et al. (2003) used such curves for T_U.

    Parameters
    ----------
    parameters : `SpectralPolynomialParameters`, optional

    Notes
    -----
    Blank channels and those of other features are stepped over, however many they are. An edge with n T_OFF
    determines n terms: the order is lowered to 2 n - 1 for the edge that has fewer. With T_OFF on one
    side only T_U is their mean; with none, T_U is T_ON and its uncertainty infinite. ``n_off`` counts the
    T_OFF in the feature's own sight lines. The uncertainty is analytic; beyond the third order it is
    large in features that are much wider than the margin.

    Examples
    --------
    >>> import astropy.units as u
    >>> import numpy as np
    >>> from hisatools import HISACube, UnabsorbedEstimator
    >>> from hisatools.unabsorbed.spectral_polynomial import SpectralPolynomialParameters
    >>> velocity = np.arange(11) * u.km / u.s
    >>> emission = 90 - (velocity.value - 5) ** 2
    >>> absorption = np.where(abs(velocity.value - 5) < 2, 40, 0)
    >>> cube = HISACube.from_spectrum((emission - absorption) * u.K, velocity)
    >>> parabola = SpectralPolynomialParameters(order=2)
    >>> estimator = UnabsorbedEstimator("spectral-polynomial", parabola)
    >>> found = estimator.estimate(cube, (absorption > 0).reshape(cube.shape), uncertainty=False)
    >>> found.t_unabsorbed[4:7, 0, 0].round(3)
    <Quantity [89., 90., 89.] K>
    """

    Parameters = SpectralPolynomialParameters
    citation = "Knapp 1974, AJ, 79, 527; Kavars et al. 2003, ApJ, 598, 1048"

    def __init__(self, parameters=None):
        self.parameters = SpectralPolynomialParameters() if parameters is None else parameters

    def estimate(self, cube, labels, features, index, *, errors=None, workers=1, progress=False):
        """T_U at some voxels; see `hisatools.unabsorbed.protocols.UnabsorbedStrategy`."""
        order = self.parameters.order
        return interpolate_runs(
            partial(polynomial_weights, order=order),
            cube,
            labels,
            features,
            index,
            n_side=max(channels_in(self.parameters.margin, cube), order // 2 + 1),
            smoothing=self.parameters.smoothing,
            errors=errors,
            workers=workers,
            progress=progress,
        )


def polynomial_weights(sources, targets, n_low, *, order):
    """Weights of T_OFF in a polynomial of least squares.

    Parameters
    ----------
    sources, targets : `~numpy.ndarray`, shape (m, n_off) and (m, n_wanted)
        Channels of T_OFF, ascending, and of the wanted voxels.
    n_low : int
        How many T_OFF lie below the wanted voxels.
    order : int
        Lowered to what the edges determine.

    Returns
    -------
    `~numpy.ndarray`, shape (m, n_wanted, n_off)
    """
    order = min(order, 2 * min(n_low, sources.shape[1] - n_low) - 1)
    # Legendre polynomials between the outermost T_OFF keep the columns of the fit apart.
    first, last = sources[:, :1], sources[:, -1:]
    at_sources, at_targets = (
        legendre.legvander((2 * channels - first - last) / (last - first), order)
        for channels in (sources, targets)
    )
    q, r = np.linalg.qr(at_sources)
    coefficients = np.linalg.solve(r, q.swapaxes(1, 2))
    return at_targets @ coefficients
