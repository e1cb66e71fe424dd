"""How likely noise gives a signal to noise as high in the best of several templates at one place.

Templates at the same place see much of the same noise. With Z normal, of unit variance and of known
correlations, and N the number of templates above z,

    P(max Z > z) = P(Z > z) sum_i E(1 / N given Z_i > z)

which can be drawn as well for 10 sigma as for 2, since only the expectation is drawn (Adler, Blanchet &
Liu 2008, Proc. Winter Simulation Conference, 328). Their sum is the effective number of templates.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from hisatools.significance.filters import covariance_with_noise

N_DRAWS = 1000
SEED = 20_050_201
# Beyond its upper end a normal distribution has no float64 left.
Z_GRID = np.concatenate([np.arange(-8, -3), np.arange(-3, 8, 0.5), [8, 10, 13, 18, 25, 37]])


@dataclass(frozen=True, eq=False)
class BestOfBank:
    """The distribution of the largest of several normal variables of unit variance.

    Parameters
    ----------
    n_effective : `~numpy.ndarray`
        P(max Z > z) / P(Z > z) at 33 places z from -8 to 37.

    Examples
    --------
    Of two templates that are alike, and of two that have nothing in common:

    >>> import numpy as np
    >>> from hisatools.significance.chance import BestOfBank
    >>> alike = BestOfBank.of(np.ones((2, 2)))
    >>> apart = BestOfBank.of(np.eye(2))
    >>> round(float(alike.n_effective[15]), 1), round(float(apart.n_effective[-10]), 1)
    (1.0, 2.0)
    """

    n_effective: np.ndarray

    @classmethod
    def of(cls, correlations):
        """From the correlations between templates.

        Parameters
        ----------
        correlations : `~numpy.ndarray`, shape (n, n)
        """
        rng = np.random.default_rng(SEED)
        total = np.zeros(Z_GRID.size)
        for row in correlations:
            rest = _root(correlations - np.outer(row, row))
            others = rng.standard_normal((N_DRAWS, len(row))) @ rest.T
            share = (np.arange(N_DRAWS) + rng.random(N_DRAWS)) / N_DRAWS
            for i, z in enumerate(Z_GRID):
                chosen = norm.isf(share * norm.sf(z))
                n_above = np.count_nonzero(others + chosen[:, None] * row > z, axis=1)
                total[i] += np.mean(1 / np.maximum(n_above, 1))
        return cls(total)

    def p_value(self, signal_to_noise):
        """P(max Z > z).

        Parameters
        ----------
        signal_to_noise : array_like
            z; NaN stays NaN.

        Returns
        -------
        `~numpy.ndarray`
            At most 1.
        """
        z = np.asarray(signal_to_noise, float)
        n_effective = np.interp(z, Z_GRID, self.n_effective)
        return np.where(np.isnan(z), np.nan, np.minimum(norm.sf(z) * n_effective, 1))


def _root(covariance):
    """A matrix A with A A' = covariance, which may be singular."""
    values, vectors = np.linalg.eigh(covariance)
    return vectors * np.sqrt(np.maximum(values, 0))


def bank_correlations(sky, lines, correlation):
    """Correlations between the signal to noise of all templates at one place.

    Parameters
    ----------
    sky : sequence of `~hisatools.significance.filters.SkyFilter`
    lines : sequence of `~hisatools.significance.filters.LineFilter`
    correlation : `~hisatools.noise.NoiseCorrelation`

    Returns
    -------
    `~numpy.ndarray`, shape (n, n)
        In the order of the bank.

    Examples
    --------
    >>> from hisatools.significance import Residual, SignificanceScan
    >>> from hisatools.significance.chance import bank_correlations
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> model = simulate_cube(ModelParameters(shape=(24, 32, 32), n_pucks=2, n_components=60), seed=104)
    >>> residual = Residual.of(model.cube, model.t_unabsorbed, known=model.mask)
    >>> prepared = SignificanceScan().prepare(residual)
    >>> found = bank_correlations(prepared.sky, prepared.lines, prepared.correlation)
    >>> found.shape, round(float(found[0, 0]), 3), round(float(found[0, 1]), 1)
    ((12, 12), 1.0, 0.9)
    """
    reach = max(one.reach for one in sky)
    discs = np.array([np.pad(one.weights, reach - one.reach) for one in sky])
    on_sky = _normalised(covariance_with_noise(discs, correlation.beam_pix))
    usable = np.flatnonzero(np.isfinite(lines[0].sigma))
    middle = usable[usable.size // 2] if usable.size else 0
    profiles = np.array([one.weights[middle] for one in lines], float)
    in_velocity = _normalised(covariance_with_noise(profiles, correlation.line_chan))
    return np.kron(on_sky, in_velocity)


def _normalised(covariance):
    scale = np.sqrt(np.maximum(np.diag(covariance), np.finfo(float).tiny))
    return covariance / np.outer(scale, scale)
