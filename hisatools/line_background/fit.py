"""Maximum-likelihood fits of binned spectra with MIGRAD and HESSE (James & Roos 1975)."""

import warnings
from dataclasses import dataclass

import astropy.units as u
import numpy as np

from hisatools.errors import BackendUnavailableError, HISAWarning, InputError
from hisatools.line_background.curves import Curve

# Least expected value of a bin: its logarithm must exist.
LEAST_EXPECTED = 1e-12
MAX_PIECES = 64
# Part of a bin's own error by which the quadrature may be wrong.
QUADRATURE_TOLERANCE = 1e-3
# Stands for infinity, which MIGRAD cannot step away from.
NOT_A_MODEL = 1e30
CALLS_PER_PARAMETER = 2000


@dataclass(frozen=True, eq=False)
class LineFit:
    """A fitted model of a spectrum.

    Parameters
    ----------
    curve : `~hisatools.line_background.curves.Curve`
        The model.
    values, errors : `~numpy.ndarray`, shape (n,)
        Of each parameter that is not tied; the error of a fixed one is 0.
    covariance : `~numpy.ndarray`, shape (n, n)
        Rows and columns of fixed parameters are 0.
    is_valid : bool
        Whether MIGRAD converged and HESSE gave a covariance.
    at_limit : tuple of str
        Parameters that ended at a limit.
    message : str
        What is wrong with the fit; empty where nothing is.
    statistic : float
        ``sum(mu - n ln mu)``, or half of chi squared, over the bins that were fitted.
    n_bins, n_calls, n_pieces : int
        Bins that were fitted, calls of the likelihood, parts of a bin in the quadrature.
    x_unit, y_unit : `~astropy.units.Unit`
        Of the axis, and of the model's value.

    Examples
    --------
    Counts with a falling continuum of 400 to 300 in each keV:

    >>> import numpy as np
    >>> import astropy.units as u
    >>> from astropy.modeling.models import Polynomial1D
    >>> from hisatools import LineBackground
    >>> edges = np.linspace(0, 50, 51) * u.keV
    >>> counts = np.random.default_rng(1).poisson(np.linspace(400, 300, 50))
    >>> fit = LineBackground(counts, edges).fit(Polynomial1D(1, c0=300.0))
    >>> fit.is_valid, fit.names, fit.n_free
    (True, ('c0', 'c1'), 2)
    >>> slope, error = fit["c1"]
    >>> round(slope, 1), round(error, 1)
    (-1.9, 0.2)
    >>> fit.integral(20 * u.keV, 30 * u.keV).round(-1), fit(25 * u.keV).round(-1)
    (<Quantity 3520.>, <Quantity 350. 1 / keV>)
    """

    curve: Curve
    values: np.ndarray
    errors: np.ndarray
    covariance: np.ndarray
    is_valid: bool
    at_limit: tuple
    message: str
    statistic: float
    n_bins: int
    n_calls: int
    n_pieces: int
    x_unit: u.UnitBase
    y_unit: u.UnitBase

    @property
    def names(self):
        """Names of the parameters, in the order of ``values``."""
        return self.curve.names

    @property
    def n_free(self):
        """Number of parameters that were fitted."""
        return len(self.names) - len(self.curve.fixed)

    @property
    def model(self):
        """The astropy model with the fitted values, units as in the one that was given; else None."""
        return None if self.curve.to_model is None else self.curve.to_model(self.values)

    @property
    def table(self):
        """Name, value, error and limits of each parameter, as an `~astropy.table.Table`."""
        from astropy.table import Table

        limits = [self.curve.limits.get(name, (None, None)) for name in self.names]
        low, high = np.array([[np.nan if v is None else v for v in pair] for pair in limits], float).T
        fixed = [name in self.curve.fixed for name in self.names]
        columns = [list(self.names), self.values, self.errors, low, high, fixed]
        return Table(columns, names=["name", "value", "error", "low", "high", "fixed"])

    def __getitem__(self, name):
        """Value and error of one parameter."""
        place = self.names.index(name)
        return float(self.values[place]), float(self.errors[place])

    def __call__(self, x):
        """The model at some places along the axis.

        Parameters
        ----------
        x : Quantity

        Returns
        -------
        `~astropy.units.Quantity`, same shape
        """
        x = np.asarray(u.Quantity(x).to_value(self.x_unit), float)
        return (
            np.broadcast_to(self.curve.function(x.ravel(), *self.values), x.size).reshape(x.shape)
            * self.y_unit
        )

    def integral(self, low, high):
        """Integral of the model between two places along the axis; scalar Quantity."""
        ends = [u.Quantity(end).to_value(self.x_unit) for end in (low, high)]
        value = self.curve.over_bins(*np.reshape(ends, (2, 1)), self.values, MAX_PIECES)[0]
        return value * (self.x_unit * self.y_unit)

    def expected(self, low, high, values=None):
        """Integral over bins, plain arrays; at other parameters where these are given."""
        return self.curve.over_bins(low, high, self.values if values is None else values, self.n_pieces)

    def derivatives(self, low, high):
        """Derivative of `expected` to each parameter, shape (n, n_bins); 0 for those that are fixed."""
        found = np.zeros((len(self.names), len(low)))
        for i in np.flatnonzero(self.errors > 0):
            step = np.zeros(len(self.names))
            step[i] = 0.05 * self.errors[i]
            up, down = (self.expected(low, high, self.values + sign * step) for sign in (1, -1))
            found[i] = (up - down) / (2 * step[i])
        return found


def poisson_cost(observed, expected):
    """``sum(mu - n ln mu)`` less the same for ``mu = n``, which keeps its digits."""
    expected = np.maximum(expected, LEAST_EXPECTED)
    some = observed > 0
    log_ratio = np.log(observed[some] / expected[some])
    return float(np.sum(expected - observed) + observed[some] @ log_ratio)


def poisson_statistic(observed, expected):
    """``sum(mu - n ln mu)``, what is minimised, as it is usually quoted."""
    expected = np.maximum(expected, LEAST_EXPECTED)
    return float(np.sum(expected - observed * np.log(expected)))


def gaussian_cost(observed, expected, sigma):
    """Half of chi squared."""
    return float(0.5 * np.sum(((observed - expected) / sigma) ** 2))


def fit_spectrum(curve, low, high, observed, sigma, *, x_unit, y_unit, quiet=False):
    """Fit a model to the bins of a spectrum.

    Parameters
    ----------
    curve : `~hisatools.line_background.curves.Curve`
    low, high : `~numpy.ndarray`, shape (n_bins,)
        Edges of the bins that count.
    observed : `~numpy.ndarray`, shape (n_bins,)
        Counts; or means over the bin, where ``sigma`` is given.
    sigma : `~numpy.ndarray`, shape (n_bins,), or None
        Gaussian error of each bin; None for counts, with the Poisson likelihood.
    x_unit, y_unit : `~astropy.units.Unit`
    quiet : bool
        Do not warn of a fit that did not converge; ``LineFit.is_valid`` tells all the same. For fits in
        threads, which must not touch the warning filters: these belong to the whole process.

    Returns
    -------
    `LineFit`

    Raises
    ------
    InputError
        If there are fewer bins than free parameters, or the model is not finite where it starts.

    Warns
    -----
    HISAWarning
        If the fit did not converge.
    """
    minuit_class = _minuit()
    n_free = len(curve.names) - len(curve.fixed)
    if len(observed) < max(n_free, 1):
        raise InputError(
            f"{len(observed)} bins are left to fit {n_free} parameters; mask less or fix some parameters"
        )
    problem = _Problem(curve, low, high, observed, sigma)
    n_pieces, n_calls, start = problem.pieces_needed(curve.start, 1), 0, curve.start
    while True:
        minuit = _migrad(minuit_class, curve, problem, start, n_pieces)
        n_calls += minuit.nfcn
        needed = problem.pieces_needed(minuit.values, n_pieces)
        if needed == n_pieces:
            break
        n_pieces, start = needed, tuple(minuit.values)
    fit = _result(minuit, problem, n_pieces, n_calls, x_unit, y_unit)
    if fit.message and not quiet:
        warnings.warn(fit.message, HISAWarning, stacklevel=3)
    return fit


class _Problem:
    """What is minimised, with bins as arrays."""

    def __init__(self, curve, low, high, observed, sigma):
        self.curve, self.low, self.high, self.observed, self.sigma = curve, low, high, observed, sigma
        self.per_bin = 1.0 if sigma is None else 1 / (high - low)

    def expected(self, values, n_pieces):
        return self.curve.over_bins(self.low, self.high, values, n_pieces) * self.per_bin

    def cost(self, values, n_pieces):
        expected = self.expected(values, n_pieces)
        if not np.isfinite(expected).all():
            return NOT_A_MODEL
        if self.sigma is None:
            return poisson_cost(self.observed, expected)
        return gaussian_cost(self.observed, expected, self.sigma)

    def pieces_needed(self, values, n_pieces):
        """Parts of each bin with which the quadrature is exact to a small part of the errors."""
        if self.curve.integral is not None:
            return n_pieces
        error = np.sqrt(np.maximum(self.observed, 1)) if self.sigma is None else self.sigma
        rough = self.expected(values, n_pieces)
        if not np.isfinite(rough).all():
            at = ", ".join(f"{name}={value:g}" for name, value in zip(self.curve.names, values, strict=True))
            raise InputError(
                f"the model is not finite in {np.count_nonzero(~np.isfinite(rough))} of {len(rough)} bins at "
                f"{at}; give other start values or limits"
            )
        while n_pieces < MAX_PIECES:
            fine = self.expected(values, 2 * n_pieces)
            if np.all(np.abs(fine - rough) <= QUADRATURE_TOLERANCE * error):
                break
            rough, n_pieces = fine, 2 * n_pieces
        return n_pieces


def _minuit():
    try:
        from iminuit import Minuit
    except ImportError:
        raise BackendUnavailableError(
            "fitting a spectrum needs iminuit, which is not installed; install the extra: "
            "pip install 'hisatools[fit]'"
        ) from None
    return Minuit


def _migrad(minuit_class, curve, problem, start, n_pieces):
    """MIGRAD, again from where SIMPLEX leads if it fails, then HESSE."""
    minuit = minuit_class(lambda values: problem.cost(values, n_pieces), np.array(start), name=curve.names)
    minuit.errordef = minuit_class.LIKELIHOOD
    for name in curve.names:
        low, high = curve.limits.get(name, (None, None))
        minuit.limits[name] = (low, high)
        minuit.fixed[name] = name in curve.fixed
        if name in curve.steps:
            minuit.errors[name] = curve.steps[name]
        elif low is not None and high is not None:
            minuit.errors[name] = min(minuit.errors[name], 0.05 * (high - low))
    # HESSE warns where nothing is free; the result is right all the same.
    if all(minuit.fixed):
        return minuit
    ncall = CALLS_PER_PARAMETER * minuit.nfit
    minuit.migrad(ncall=ncall)
    if not minuit.valid:
        minuit.strategy = 2
        minuit.simplex(ncall=ncall).migrad(ncall=ncall)
    minuit.hesse()
    return minuit


def _result(minuit, problem, n_pieces, n_calls, x_unit, y_unit):
    curve, n = problem.curve, len(problem.curve.names)
    values, free = np.array(minuit.values), ~np.array(minuit.fixed)
    covariance = np.zeros((n, n))
    if free.any() and minuit.covariance is not None:
        covariance = np.array(minuit.covariance).reshape(n, n)
        covariance[~free] = covariance[:, ~free] = 0
    is_valid = not free.any() or bool(minuit.valid and minuit.covariance is not None and minuit.accurate)
    at_limit = tuple(name for name in curve.names if _is_at_limit(minuit, curve, name))
    message = "" if is_valid else _complaint(minuit, at_limit)
    expected = problem.expected(values, n_pieces)
    statistic = problem.cost(values, n_pieces)
    if problem.sigma is None:
        statistic = poisson_statistic(problem.observed, expected)
    return LineFit(
        curve=curve,
        values=values,
        errors=np.sqrt(np.maximum(np.diag(covariance), 0)),
        covariance=covariance,
        is_valid=is_valid,
        at_limit=at_limit,
        message=message,
        statistic=statistic,
        n_bins=len(problem.observed),
        n_calls=n_calls,
        n_pieces=n_pieces,
        x_unit=x_unit,
        y_unit=y_unit,
    )


def _is_at_limit(minuit, curve, name):
    """Whether a free parameter lies within a hundredth of its error of a limit."""
    if name in curve.fixed:
        return False
    value, reach = minuit.values[name], 0.01 * minuit.errors[name]
    return any(limit is not None and abs(value - limit) <= reach for limit in curve.limits.get(name, ()))


def _complaint(minuit, at_limit):
    if minuit.fmin.has_reached_call_limit:
        reason = f"no minimum after {minuit.fmin.nfcn} calls"
    elif not minuit.valid:
        reason = f"the distance to the minimum is still {minuit.fmin.edm:.2g}"
    else:
        reason = "the covariance is not positive definite, so some parameters are not determined"
    where = f"; at a limit: {', '.join(at_limit)}" if at_limit else ""
    return f"the fit of the spectrum did not converge: {reason}{where}; give other start values or fix some"
