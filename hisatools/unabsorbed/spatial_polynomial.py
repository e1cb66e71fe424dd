"""T_U from a polynomial of the sky position, fitted to the rim of a feature at the same velocity."""

from dataclasses import dataclass

import astropy.units as u
import numpy as np
from astropy.stats import gaussian_fwhm_to_sigma
from scipy.linalg import solve_triangular

from hisatools.parameters import _number, _Parameters, _quantity
from hisatools.unabsorbed.surroundings import estimate_parts, ring_parts

# A column of the design matrix that keeps less than this of its length is a sum of the others.
LEAST_INDEPENDENT = 1e-6


@dataclass(frozen=True, kw_only=True)
class SpatialPolynomialParameters(_Parameters):
    """The "spatial-polynomial" estimate of T_U.

    Parameters
    ----------
    gap : Quantity, angle
        Pixels this close to the feature are left out of the fit: absorption below the level of the
        mask, blurred by the beam, would draw T_U down.
    width : Quantity, angle
        Of the rim that the polynomial is fitted to, at least a pixel.
    order : int
        Of the polynomial, 1 to 3; it falls where the rim does not determine it (see ``max_noise``).
    max_noise : float
        Largest noise of T_U that the fit may leave, in units of the noise of one pixel. Where it would be
        exceeded anywhere in the part of the feature, the order is lowered for that part, at last
        to 0: the mean of the rim.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools import UnabsorbedEstimator
    >>> UnabsorbedEstimator("spatial-polynomial", order=1, width=3 * u.arcmin).parameters.order
    1
    """

    _section = "spatial-polynomial"

    gap: u.Quantity = _quantity(0.6 * u.arcmin, inclusive=True)
    width: u.Quantity = _quantity(4.0 * u.arcmin)
    order: int = _number(2, at_most=3, integer=True)
    max_noise: float = _number(0.5)


class SpatialPolynomialStrategy:
    """T_U fitted across each feature from its rim, channel by channel.

    In each channel a polynomial in y and x is fitted by least squares to the T_OFF in a rim about each part
    of a feature, and evaluated inside. This is the spatial fit across the feature with
    its surroundings as anchor points of Feldt (1993) and Kavars et al. (2003), for maps
    instead of cuts. Where the cube has mosaic weights, these are the weights of the fit.

    The order falls, for one part of a feature at a time, where there are fewer T_OFF than terms, where T_OFF
    lie on a curve on which the terms are not independent, and where T_U would be too noisy: T_OFF
    on one side only, or a narrow rim about a wide feature. Whether a term along y or x is there at all
    depends on whether the T_OFF extend along this axis.

    Parameters
    ----------
    parameters : `SpatialPolynomialParameters`, optional

    Notes
    -----
    Blank and flagged voxels are never T_OFF. A channel in which a part has none keeps T_U = T_ON
    and has an infinite uncertainty; so has a cube of one sight line. Parts are as
    ``hisatools.unabsorbed.surroundings`` makes them.

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools import UnabsorbedEstimator
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> model = simulate_cube(ModelParameters(shape=(32, 48, 48), n_pucks=5, n_components=50), seed=101)
    >>> parameters = SpatialPolynomialParameters(order=1)
    >>> found = UnabsorbedEstimator("spatial-polynomial", parameters).estimate(model.cube, model.mask)
    >>> error = (found.t_unabsorbed - model.t_unabsorbed)[model.mask]
    >>> bool(np.mean(abs(error) < 2 * found.sigma_t_unabsorbed[model.mask]) > 0.9)
    True
    """

    Parameters = SpatialPolynomialParameters
    citation = "Feldt 1993, A&A, 276, 531; Kavars et al. 2003, ApJ, 598, 1048"

    def __init__(self, parameters=None):
        self.parameters = SpatialPolynomialParameters() if parameters is None else parameters

    def estimate(self, cube, labels, features, index, *, errors=None, workers=1, progress=False):
        """T_U at some voxels; see `hisatools.unabsorbed.protocols.UnabsorbedStrategy`."""
        parameters = self.parameters
        gap_pix = (parameters.gap / cube.pixel_scale).to_value("")
        width_pix = (parameters.width / cube.pixel_scale).to_value("")
        largest_gain = parameters.max_noise**2 / correlated_pixels(cube)

        def parts_of(channel):
            return ring_parts(channel, features, gap_pix, width_pix)

        def weigh(part, weights):
            return polynomial(part, weights, parameters.order, largest_gain)

        return estimate_parts(
            cube,
            labels,
            features,
            index,
            parts_of,
            weigh,
            errors=errors,
            workers=workers,
            progress=progress,
        )


def correlated_pixels(cube):
    """Number of pixels over which the noise is as good as the same: 2.27 FWHM^2, 1 if no beam is known."""
    if cube.beam is None:
        return 1.0
    area = cube.beam.major * cube.beam.minor / cube.pixel_scale**2
    return max(float(4 * np.pi * gaussian_fwhm_to_sigma**2 * area.to_value("")), 1.0)


def polynomial(part, weights, order, largest_gain):
    """Coefficients and basis of a weighted least-squares polynomial, for `estimate_parts`.

    Parameters
    ----------
    part : `~hisatools.unabsorbed.surroundings.Part`
    weights : `~numpy.ndarray`, shape (n_off,)
        Of T_OFF, mean 1.
    order : int
        The highest that is tried.
    largest_gain : float
        Largest variance of T_U over that of a pixel, with white noise.

    Returns
    -------
    coefficients : `~numpy.ndarray`, shape (p, n_off)
    basis : `~numpy.ndarray`, shape (n_body, p)
    """
    centre = part.off.mean(axis=0)
    scale = np.maximum(np.ptp(part.off, axis=0) / 2, 1)
    powers = _powers(order, np.ptp(part.off, axis=0) > 0)
    root = np.sqrt(weights)
    # Columns rise in degree: the first of the QR factors are those of the lower orders.
    orthogonal, triangle = np.linalg.qr(_terms((part.off - centre) / scale, powers) * root[:, None])
    n_terms = _independent(triangle, powers, len(root))
    inside = _terms((part.body - centre) / scale, powers[:n_terms])
    basis = solve_triangular(triangle[:n_terms, :n_terms], inside.T, trans="T").T
    gain = np.cumsum(basis**2, axis=1).max(axis=0)
    ends = _ends(powers[:n_terms])
    n_terms = max([end for end in ends if gain[end - 1] <= largest_gain], default=1)
    return orthogonal[:, :n_terms].T * root, basis[:, :n_terms]


def _powers(order, extended):
    """Powers of (y, x) of the terms, by rising degree; without an axis that T_OFF do not extend along."""
    pairs = [(degree - i, i) for degree in range(order + 1) for i in range(degree + 1)]
    allowed = [pair for pair in pairs if (extended[0] or not pair[0]) and (extended[1] or not pair[1])]
    return np.array(allowed)


def _terms(position, powers):
    """Powers of the positions (y, x), shape (n, 2), in columns."""
    raised = np.ones((powers.max() + 1, *position.shape))
    for degree in range(1, len(raised)):
        raised[degree] = raised[degree - 1] * position
    return (raised[powers[:, 0], :, 0] * raised[powers[:, 1], :, 1]).T


def _ends(powers):
    """Numbers of terms at which a degree is complete."""
    return np.flatnonzero(np.diff(powers.sum(axis=1), append=np.inf)) + 1


def _independent(triangle, powers, n_off):
    """Number of terms of the highest order whose terms are all independent on T_OFF."""
    own = np.abs(np.diag(triangle)) > LEAST_INDEPENDENT * np.linalg.norm(triangle, axis=0)[: len(triangle)]
    n_own = int(np.argmin(own)) if not own.all() else own.size
    ends = [end for end in _ends(powers) if end <= min(n_own, n_off)]
    return max(ends)
