"""GlobalChance: how often a scan of pure background holds a TS as large as one that was found."""

from dataclasses import dataclass, field

import numpy as np
from astropy.stats import binom_conf_interval
from astropy.table import Table

from hisatools.errors import InputError, ParameterError
from hisatools.parameters import check_number

__all__ = ["GlobalChance", "post_trial"]

# The tail is fitted to what lies above this quantile of the trials, and not to fewer than this many.
TAIL_QUANTILE = 0.7
MIN_TAIL_TRIALS = 20


@dataclass(frozen=True, eq=False)
class GlobalChance:
    r"""The distribution of the largest TS of a scan of background, from trials.

    With N trials, of which k reach a TS, its global p-value is (1 + k) / (1 + N): the data count as one of
    the trials, so that p is never 0 and not too small on average. Where no trial reaches TS, an
    exponential tail goes on: the maximum of squared normal noise falls off nearly as exp(-TS / 2), and
    the scale is fitted to the upper trials. Such values are marked: they are extrapolated.

    Parameters
    ----------
    ts : `~numpy.ndarray`, shape (N,)
        Largest TS of each trial, with the prior if there is one; sorted when made.

    Raises
    ------
    InputError
        If there are no trials, or a value is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools.significance.global_chance import GlobalChance
    >>> chance = GlobalChance(18 + np.random.default_rng(6300).gumbel(scale=2, size=999))
    >>> chance.n_trials, round(float(chance.p_value(24)), 3)
    (999, 0.046)
    >>> p, is_extrapolated = chance.p_global([24, 50])
    >>> is_extrapolated.tolist(), bool(1e-8 < p[1] < 1e-6)
    ([False, True], True)
    """

    ts: np.ndarray
    _tail: tuple = field(init=False, repr=False)

    def __post_init__(self):
        ts = np.sort(np.asarray(self.ts, float).reshape(-1))
        if ts.size == 0 or not np.isfinite(ts).all():
            raise InputError(
                f"trials must hold one finite TS or more, got {ts.size} of which "
                f"{int(np.count_nonzero(~np.isfinite(ts)))} are not finite"
            )
        object.__setattr__(self, "ts", ts)
        object.__setattr__(self, "_tail", _fitted_tail(ts))

    @classmethod
    def of(cls, fits, column="ts_prior"):
        """From the fits of background trials.

        Parameters
        ----------
        fits : `~astropy.table.QTable` or array_like
            Of `TrialRunner.get_many_fits` with n = 0; or the largest TS of each trial.
        column : str
            "ts_prior", or "max_ts" for what a scan without the prior would have found.

        Returns
        -------
        GlobalChance

        Raises
        ------
        ParameterError
            If features were put into the trials, or there is no such column.
        """
        if not isinstance(fits, Table):
            return cls(fits)
        if column not in fits.colnames:
            raise ParameterError(f"unknown column {column!r}; the fits have {', '.join(fits.colnames)}")
        if "n" in fits.colnames and np.any(np.asarray(fits["n"]) > 0):
            raise ParameterError("background_fits must be of trials with n=0; features were put into these")
        return cls(np.asarray(fits[column], float))

    @property
    def n_trials(self):
        """N."""
        return self.ts.size

    @property
    def scale(self):
        """Scale of the exponential tail in TS, near 2 for normal noise; NaN where it could not be fitted."""
        return self._tail[1]

    def p_value(self, ts):
        """(1 + k) / (1 + N), with the number k of trials that reach ``ts``.

        Parameters
        ----------
        ts : array_like
            NaN stays NaN.

        Returns
        -------
        `~numpy.ndarray`
            Never below 1 / (1 + N).
        """
        ts = np.asarray(ts, float)
        return np.where(np.isnan(ts), np.nan, (1 + self._n_above(ts)) / (1 + self.n_trials))

    def tail_p_value(self, ts):
        """What the exponential tail gives; NaN below its start, or where it could not be fitted."""
        start, scale, share = self._tail
        ts = np.asarray(ts, float)
        with np.errstate(invalid="ignore", over="ignore"):
            return np.where(ts >= start, share * np.exp(-(ts - start) / scale), np.nan)

    def p_global(self, ts):
        """Global p-values, from the tail where no trial reaches TS.

        Parameters
        ----------
        ts : array_like
            For example of all features of a catalogue; NaN stays NaN.

        Returns
        -------
        p : `~numpy.ndarray`
            The tail never gives more than 1 / (1 + N). With fewer than about 70 trials it is not fitted, and
            1 / (1 + N) stands for all that lies beyond the last trial.
        is_extrapolated : `~numpy.ndarray` of bool
            True where no trial reaches TS.
        """
        ts = np.asarray(ts, float)
        counted, is_extrapolated = self.p_value(ts), ts > self.ts[-1]
        tail = np.fmin(self.tail_p_value(ts), 1 / (1 + self.n_trials))
        return np.where(is_extrapolated, tail, counted), is_extrapolated

    def p_interval(self, ts, confidence=0.683):
        """Range of p that the number of trials leaves open (binomial, Wilson), shape (2, ...)."""
        ts = np.asarray(ts, float)
        check_number("confidence", confidence, at_most=1)
        interval = binom_conf_interval(self._n_above(ts), self.n_trials, confidence, interval="wilson")
        return np.where(np.isnan(ts), np.nan, interval)

    def ts_at(self, p):
        """The TS that background reaches with a probability.

        Parameters
        ----------
        p : float
            Above 0, at most 1.

        Returns
        -------
        ts : float
            The quantile of the trials, or of the tail where p is below 1 / (1 + N). NaN if that is not
            known.
        is_extrapolated : bool
        """
        p = check_number("p", p, at_most=1)
        if p * (1 + self.n_trials) >= 1:
            return float(np.quantile(self.ts, 1 - p)), False
        start, scale, share = self._tail
        return max(float(start - scale * np.log(p / share)), float(self.ts[-1])), True

    def _n_above(self, ts):
        return self.n_trials - np.searchsorted(self.ts, ts, side="left")

    def plot(self, ts=None, *, ax=None):
        """Draw the distribution and its tail; see `~hisatools.significance.trial_figures.plot_chance`."""
        from hisatools.significance.trial_figures import plot_chance

        return plot_chance(self, ts, ax=ax)


def _fitted_tail(ts):
    """Start, scale and share of the trials of the exponential tail: the scale is the mean excess."""
    above = ts[round(TAIL_QUANTILE * ts.size) :]
    if above.size < MIN_TAIL_TRIALS or not above[-1] > above[0]:
        return np.nan, np.nan, np.nan
    # The start is one of the values: the excesses of the others are independent and exponential.
    return float(above[0]), float(np.mean(above[1:] - above[0])), (above.size - 1) / ts.size


def post_trial(p, n_looks):
    """The probability that the smallest of several independent p-values is that small.

    For a result that was chosen among several: cubes, priors or masks.

    Parameters
    ----------
    p : array_like
        Global p-values of one look.
    n_looks : int
        How many independent looks there were; priors and cubes that have much in common count as fewer.

    Returns
    -------
    `~numpy.ndarray`
        1 - (1 - p)^n.

    Examples
    --------
    >>> from hisatools.significance.global_chance import post_trial
    >>> float(post_trial(0.01, 3).round(4))
    0.0297
    """
    n_looks = check_number("n_looks", n_looks, integer=True)
    return -np.expm1(n_looks * np.log1p(-np.asarray(p, float)))
