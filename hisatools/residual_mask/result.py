"""ResidualMaskResult: the model, the mask, and how they were arrived at."""

from dataclasses import dataclass, field
from functools import cached_property

import astropy.units as u
import numpy as np
from astropy.table import QTable
from astropy.wcs import WCS

from hisatools.errors import ParameterError
from hisatools.residual_mask.fit import LineFitSums
from hisatools.residual_mask.standing_out import Surroundings, stands_out

__all__ = ["ResidualMaskResult"]


@dataclass(frozen=True, eq=False)
class Round:
    """One round of the loop, of the pixels in use and in plain numbers.

    Parameters
    ----------
    n_reached : int
        How many pixels, from the faintest, were looked at.
    fit : `~hisatools.residual_mask.fit.LineFitSums`
        The model that the residuals are taken from.
    mode, sigma : float
        Of the residuals.
    masked, guarded : `~numpy.ndarray` of bool, shape (n,)
    n_changed : int
        Pixels that were masked in one of this round and the one before, but not in both.
    """

    n_reached: int
    fit: LineFitSums
    mode: float
    sigma: float
    masked: np.ndarray
    guarded: np.ndarray
    n_changed: int


def history_table(rounds, tracer_sorted, unit, gas_unit):
    """One row a round.

    Parameters
    ----------
    rounds : sequence of `Round`
    tracer_sorted : `~numpy.ndarray`, shape (n,)
        The pixels in use, from the faintest to the brightest.
    unit, gas_unit : `~astropy.units.Unit`
        ``gas_unit`` is None where there is no gas.

    Returns
    -------
    `~astropy.table.QTable`
    """
    ratio_unit = unit if gas_unit is None else unit / gas_unit
    reached = np.array([one.n_reached for one in rounds])
    n_masked = np.array([np.count_nonzero(one.masked) for one in rounds])
    columns = {
        "round": np.arange(1, len(rounds) + 1),
        "threshold": tracer_sorted[reached - 1] * unit,
        "n_reached": reached,
        "n_unmasked": reached - n_masked,
        "n_masked": n_masked,
        "n_changed": np.array([one.n_changed for one in rounds]),
        "ratio": [one.fit.ratio for one in rounds] * ratio_unit,
        "sigma_ratio": [one.fit.sigma_ratio for one in rounds] * ratio_unit,
        "intercept": [one.fit.intercept for one in rounds] * unit,
        "sigma_intercept": [one.fit.sigma_intercept for one in rounds] * unit,
        "mode": [one.mode for one in rounds] * unit,
        "sigma": [one.sigma for one in rounds] * unit,
    }
    return QTable(columns)


@dataclass(frozen=True, eq=False)
class ResidualMaskResult:
    """A mask of what exceeds the model, with the model and the history of both.

    Parameters
    ----------
    tracer, gas, error : `~astropy.units.Quantity`, shape (n_y, n_x)
        What went in; ``gas`` and ``error`` may be None.
    mask : `~numpy.ndarray` of bool, same shape
        True where the tracer exceeds the model; False where it is blank or was left out.
    guarded : `~numpy.ndarray` of bool, same shape
        True in pixels that are not masked, but that the fit left out as well; see ``guard_fwhm``.
    excluded : `~numpy.ndarray` of bool, same shape
        True in pixels that were left out from the start.
    fit : `~hisatools.residual_mask.fit.LineFitSums`
        The final model, in plain numbers.
    history : `~astropy.table.QTable`
        One row a round; the last one is the result.
    converged : bool
        Whether ratio, intercept and mask were stable for ``n_stable`` rounds in a row.
    parameters : `~hisatools.residual_mask.ResidualMaskParameters`
    wcs : `~astropy.wcs.WCS` or None
    meta : dict

    Examples
    --------
    >>> from hisatools.residual_mask import ResidualMasker
    >>> from hisatools.residual_mask.simulated import DustModelParameters, simulate_dust
    >>> model = simulate_dust(DustModelParameters(shape=(64, 64)), seed=6200)
    >>> result = ResidualMasker().run(model.tracer, model.gas, error=model.error)
    >>> int(result.mask.sum()), len(result.history), result.converged
    (368, 93, True)
    >>> result.sigma.round(3), result.intercept.round(2)  # 0.03 mag and 0.1 mag were put in
    (<Quantity 0.03 mag>, <Quantity 0.1 mag>)
    >>> result.residual[result.mask].mean().round(2), result.residual[~result.mask].mean().round(2)
    (<Quantity 0.19 mag>, <Quantity 0. mag>)
    """

    tracer: u.Quantity
    gas: u.Quantity | None
    error: u.Quantity | None
    mask: np.ndarray
    guarded: np.ndarray
    excluded: np.ndarray
    fit: LineFitSums
    history: QTable
    converged: bool
    parameters: object
    wcs: WCS | None = None
    meta: dict = field(default_factory=dict)

    @property
    def ratio(self):
        """Tracer per gas, scalar Quantity; NaN without a gas map."""
        return self.fit.ratio * self._ratio_unit

    @property
    def sigma_ratio(self):
        """1-sigma uncertainty of `ratio`."""
        return self.fit.sigma_ratio * self._ratio_unit

    @property
    def intercept(self):
        """Tracer without gas, scalar Quantity."""
        return self.fit.intercept * self.tracer.unit

    @property
    def sigma_intercept(self):
        """1-sigma uncertainty of `intercept`; 0 where it was given."""
        return self.fit.sigma_intercept * self.tracer.unit

    @property
    def mode(self):
        """Where the residuals are densest, scalar Quantity; the threshold counts from it."""
        return self.history["mode"][-1]

    @property
    def sigma(self):
        """Standard deviation of the noise, scalar Quantity; with an error map, that at its median."""
        return self.history["sigma"][-1]

    @cached_property
    def used(self):
        """True in pixels that are neither blank nor left out; bool, shape (n_y, n_x)."""
        given = [values for values in (self.tracer, self.gas, self.error) if values is not None]
        return np.logical_and.reduce([np.isfinite(values.value) for values in given]) & ~self.excluded

    @property
    def unfitted(self):
        """True in pixels that the fit did not use, for whatever reason; bool, shape (n_y, n_x).

        The mask for whatever else is to see only the gas, such as `width_likelihood`.
        """
        return self.mask | self.guarded | ~self.used

    @property
    def model(self):
        """The tracer that the gas accounts for; Quantity, shape (n_y, n_x), NaN where the gas is blank."""
        gas = np.zeros(self.tracer.shape) if self.gas is None else self.gas.value
        return self._line(gas, -1) << self.tracer.unit

    @property
    def residual(self):
        """Tracer less model; Quantity, shape (n_y, n_x), NaN where either is blank."""
        return self.tracer - self.model

    @property
    def significance(self):
        """Residual less mode in units of the noise, shape (n_y, n_x); NaN where a map is blank."""
        return self.significance_of_round(-1)

    def significance_of_round(self, number):
        """As `significance`, in an earlier round.

        Parameters
        ----------
        number : int
            From 1; negative numbers count from the last one, -1.

        Returns
        -------
        `~numpy.ndarray`, shape (n_y, n_x)
        """
        row = self.row_of(number)
        gas = np.zeros(self.tracer.shape) if self.gas is None else self.gas.value
        excess = (self.tracer.value - self._line(gas, row)) * self._scale
        return (excess - self.history["mode"][row].value) / self.history["sigma"][row].value

    def reached_in_round(self, number):
        """Which pixels a round looked at: those in use, up to its threshold.

        Parameters
        ----------
        number : int
            From 1; negative numbers count from the last one, -1.

        Returns
        -------
        `~numpy.ndarray` of bool, shape (n_y, n_x)
        """
        order = np.argsort(self.tracer.value[self.used], kind="stable")
        chosen = np.zeros(order.size, bool)
        chosen[order[: self.history["n_reached"][self.row_of(number)]]] = True
        reached = np.zeros(self.used.shape, bool)
        reached[self.used] = chosen
        return reached

    def mask_of_round(self, number):
        """The mask of an earlier round, made again from its ratio, intercept, mode and sigma.

        Parameters
        ----------
        number : int
            From 1; negative numbers count from the last one, -1.

        Returns
        -------
        `~numpy.ndarray` of bool, shape (n_y, n_x)
        """
        mask = np.zeros(self.used.shape, bool)
        surroundings = Surroundings(self.used, self.parameters.edge_fwhm)
        mask[self.used] = stands_out(
            self.significance_of_round(number)[self.used], surroundings, self.parameters
        )
        return mask & self.reached_in_round(number)

    def row_of(self, number):
        """Index in ``history`` of a round; refuses what is none."""
        n_rounds = len(self.history)
        fine = isinstance(number, int | np.integer) and (1 <= number <= n_rounds or -n_rounds <= number <= -1)
        if not fine:
            raise ParameterError(f"round must be 1 to {n_rounds}, or -1 for the last one, got {number!r}")
        return int(number) - 1 if number > 0 else n_rounds + int(number)

    def plot_convergence(self, *, figure=None):
        """Draw ratio, intercept and mask over the rounds; see `hisatools.residual_mask.figures`."""
        from hisatools.residual_mask.figures import plot_convergence

        return plot_convergence(self, figure=figure)

    def plot_histogram(self, round=-1, *, ax=None):
        """Draw the residuals of a round with the Gaussian of the noise."""
        from hisatools.residual_mask.figures import plot_histogram

        return plot_histogram(self, round, ax=ax)

    def plot_map(self, round=-1, *, ax=None):
        """Draw the residuals of a round on the sky, and outline its mask."""
        from hisatools.residual_mask.figures import plot_map

        return plot_map(self, round, ax=ax)

    def write(self, folder, *, overwrite=False):
        """Write maps, history and figures to a folder; see `hisatools.residual_mask.files.write_mask`."""
        from hisatools.residual_mask.files import write_mask

        return write_mask(self, folder, overwrite=overwrite)

    @classmethod
    def read(cls, folder):
        """Read what `write` wrote; see `hisatools.residual_mask.files.read_mask`."""
        from hisatools.residual_mask.files import read_mask

        return cls(**read_mask(folder))

    @property
    def _ratio_unit(self):
        return self.tracer.unit if self.gas is None else self.tracer.unit / self.gas.unit

    def _line(self, gas, row):
        intercept = self.history["intercept"][row].value
        return intercept + (0.0 if self.gas is None else self.history["ratio"][row].value * gas)

    @cached_property
    def _scale(self):
        """Median error / error: what makes one sigma fit all pixels."""
        if self.error is None:
            return 1.0
        return np.median(self.error.value[self.used]) / self.error.value
