"""DetectionCurve: which share of features is found, against their depth."""

from dataclasses import dataclass, field

import astropy.units as u
import numpy as np
from astropy.stats import binom_conf_interval
from scipy.optimize import minimize
from scipy.special import log_ndtr, ndtr, ndtri

from hisatools.errors import ParameterError
from hisatools.parameters import check_number

__all__ = ["DetectionCurve"]


@dataclass(frozen=True, eq=False)
class DetectionCurve:
    r"""Which share of features is found, against their depth.

    A trial passes if its largest TS exceeds the threshold. Background alone does so in a share f of all
    trials, and the rest follows a cumulative normal distribution (probit) in the depth d:
    :math:`1 - (1 - f) (1 - \Phi((d - d_0) / w))`, fitted by maximum likelihood.

    Parameters
    ----------
    depth_kelvin : `~numpy.ndarray`, shape (n,)
        abs(dT), rising.
    n_trials, n_detected : `~numpy.ndarray` of int, shape (n,)
        At each depth.
    chance : float
        f: share of background trials above the threshold.
    threshold : float
        In TS.

    Examples
    --------
    Of 50 trials at each depth, so many had a largest TS above the threshold:

    >>> import astropy.units as u
    >>> import numpy as np
    >>> from hisatools.significance import DetectionCurve
    >>> depth = np.array([5.0, 10.0, 15.0, 20.0])
    >>> curve = DetectionCurve(depth, np.full(4, 50), np.array([3, 17, 41, 50]), chance=0.02, threshold=25.0)
    >>> curve.fraction
    array([0.06, 0.34, 0.82, 1.  ])
    >>> curve.delta_t_at(0.5).round(1), round(float(curve.fitted(-12 * u.K)), 2)
    (<Quantity -11.5 K>, 0.56)
    >>> curve.interval().round(2)[:, 1]
    array([0.28, 0.41])
    """

    depth_kelvin: np.ndarray
    n_trials: np.ndarray
    n_detected: np.ndarray
    chance: float
    threshold: float
    _fit: tuple = field(init=False, repr=False)

    def __post_init__(self):
        object.__setattr__(self, "_fit", self._fitted())

    @property
    def delta_t(self):
        """Depth of the features as dT, negative; Quantity, K."""
        return -self.depth_kelvin * u.K

    @property
    def fraction(self):
        """Share of the trials above the threshold."""
        return self.n_detected / self.n_trials

    def interval(self, confidence=0.683):
        """Binomial range of `fraction` (Wilson), shape (2, n)."""
        return binom_conf_interval(self.n_detected, self.n_trials, confidence, interval="wilson")

    def fitted(self, delta_t):
        """The smooth curve at some dT.

        Parameters
        ----------
        delta_t : `~astropy.units.Quantity`, K

        Returns
        -------
        `~numpy.ndarray`
        """
        middle, width = self._fit
        depth = -np.asarray(delta_t.to_value(u.K))
        return 1 - (1 - self.chance) * ndtr(-(depth - middle) / width)

    def delta_t_at(self, fraction):
        """The dT at which the smooth curve reaches a share.

        Parameters
        ----------
        fraction : float
            Above 0 and below 1.

        Returns
        -------
        `~astropy.units.Quantity`
            K; 0 K where background alone reaches the share, NaN where the depths that were tried do not show
            it: where none was tried with at least this share.
        """
        fraction = check_number("fraction", fraction)
        if not fraction < 1:
            raise ParameterError(f"fraction must lie between 0 and 1, got {fraction}")
        if fraction <= self.chance:
            return 0.0 * u.K
        if not self.fraction.max() >= fraction:
            return np.nan * u.K
        middle, width = self._fit
        share = (fraction - self.chance) / (1 - self.chance)
        return -max(float(middle + width * ndtri(share)), 0.0) * u.K

    def _fitted(self):
        """Middle and width of the probit; NaN where all trials pass, or none."""
        detected, missed = self.n_detected, self.n_trials - self.n_detected
        if not detected.any() or not missed.any() or len(self.depth_kelvin) < 2:
            return np.nan, np.nan
        scale = self.depth_kelvin.max()
        depth = self.depth_kelvin / scale

        def unlikely(parameters):
            middle, log_width = parameters
            log_missed = np.log1p(-self.chance) + log_ndtr(-(depth - middle) / np.exp(log_width))
            with np.errstate(divide="ignore"):
                log_found = np.log(-np.expm1(np.minimum(log_missed, -1e-12)))
            return -np.sum(detected * log_found + missed * log_missed)

        # From a grid: the likelihood is flat where all or none pass.
        starts = [(middle, np.log(width)) for middle in np.linspace(0.1, 1, 10) for width in (0.05, 0.2)]
        best = minimize(unlikely, min(starts, key=unlikely), method="Nelder-Mead", bounds=[(-2, 3), (-7, 2)])
        return float(best.x[0] * scale), float(np.exp(best.x[1]) * scale)

    def plot(self, *, ax=None, label=None, color=None):
        """Draw it; see `~hisatools.significance.trial_figures.plot_detection`."""
        from hisatools.significance.trial_figures import plot_detection

        return plot_detection(self, ax=ax, label=label, color=color)
