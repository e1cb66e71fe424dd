"""Uncertainties of gas properties: to first order, or by drawing what is uncertain many times."""

from dataclasses import dataclass, fields, replace

import astropy.units as u
import numpy as np
from scipy.stats import truncnorm

from hisatools.errors import ParameterError
from hisatools.parameters import check_number
from hisatools.physics.gas import BAD, Gas, GasFlag, column_density, raise_flag
from hisatools.physics.pressure import PRESSURE
from hisatools.physics.transfer import NO_CONTINUUM
from hisatools.physics.units import plain

__all__ = ["GasErrors", "GasSigmas", "draw_gas", "propagate"]

# Of the differences that stand for derivatives, in sigmas.
STEP = 1e-3
MAX_DRAWN = 10_000_000
UNITS = {
    "delta_t": u.K,
    "t_unabsorbed": u.K,
    "t_continuum": u.K,
    "p": u.dimensionless_unscaled,
    "t_spin": u.K,
    "tau": u.dimensionless_unscaled,
    "p_over_k": PRESSURE,
    "path_length": u.pc,
    "linewidth": u.km / u.s,
}
OF_PRESSURE = ("p_over_k", "path_length", "linewidth")
QUANTITIES = ("t_spin", "tau", "p", "column_density")


@dataclass(frozen=True, kw_only=True)
class GasSigmas:
    """1-sigma uncertainties of what gas properties are worked out from; None is none.

    Parameters
    ----------
    delta_t, t_unabsorbed, t_continuum, t_spin : `~astropy.units.Quantity`, K, optional
        That of dT holds that of T_U: where T_U is too high, dT is too deep by as much. Both are moved
        together, and what is left of dT's is the noise of the observed brightness.
    p, tau : array_like, optional
    p_over_k : `~astropy.units.Quantity`, K / cm^3, optional
    path_length : `~astropy.units.Quantity`, length, optional
    linewidth : `~astropy.units.Quantity`, velocity, optional

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools.physics import GasSigmas
    >>> sorted(GasSigmas(delta_t=3 * u.K, p=0.1).given)
    ['delta_t', 'p']
    """

    delta_t: u.Quantity | None = None
    t_unabsorbed: u.Quantity | None = None
    t_continuum: u.Quantity | None = None
    p: float | None = None
    t_spin: u.Quantity | None = None
    tau: float | None = None
    p_over_k: u.Quantity | None = None
    path_length: u.Quantity | None = None
    linewidth: u.Quantity | None = None

    def __post_init__(self):
        for name, sigma in self.given.items():
            values = plain(f"sigma of {name}", sigma, UNITS[name])
            if (values < 0).any():
                raise ParameterError(f"sigma of {name} must not be negative, got {values.min():g}")

    @property
    def given(self):
        """Those that are known, as Quantities by name."""
        all_of_them = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: u.Quantity(sigma) for name, sigma in all_of_them.items() if sigma is not None}


@dataclass(frozen=True, eq=False)
class GasErrors:
    """Uncertainties beside a `Gas`.

    Parameters
    ----------
    gas : `Gas`
        With `GasFlag.SATURATED` where tau is but a lower limit.
    t_spin, tau, p, column_density
        1-sigma uncertainties; from draws, half of the range that holds 68 % of them. NaN as the values are.
    share_possible : `~numpy.ndarray` or None
        Share of the draws in which such a cloud is possible.
    """

    gas: Gas
    t_spin: u.Quantity
    tau: np.ndarray
    p: np.ndarray
    column_density: u.Quantity
    share_possible: np.ndarray | None = None


def propagate(
    model, delta_t, t_unabsorbed, sigmas, *, t_continuum=NO_CONTINUUM, linewidth=None, n_sigma_left=1.0
):
    """Uncertainties to first order.

    Parameters
    ----------
    model : `GasModel`
    delta_t, t_unabsorbed, t_continuum : `~astropy.units.Quantity`, K
        As for `GasModel.solve`.
    sigmas : `GasSigmas`
    linewidth : `~astropy.units.Quantity`, velocity, optional
        For the column density; by default that of the model's pressure.
    n_sigma_left : float
        Where fewer sigmas of dT than this are left between the absorption and an opaque cloud,
        `GasFlag.SATURATED` is set.

    Returns
    -------
    `GasErrors`

    Raises
    ------
    ParameterError
        If something is uncertain that the model does not know.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools.physics import GasModel, GasSigmas, propagate
    >>> sigmas = GasSigmas(delta_t=3 * u.K)
    >>> errors = propagate(GasModel(t_spin=40 * u.K), -42 * u.K, 104 * u.K, sigmas)
    >>> print(f"{errors.gas.tau:.2f} +- {errors.tau:.2f}")
    1.07 +- 0.14
    """
    inputs = _inputs(model, delta_t, t_unabsorbed, t_continuum, linewidth, sigmas)
    gas, values = _solved(model, inputs)
    squares = [0.0] * len(QUANTITIES)
    for moved in _directions(sigmas):
        changes = _changes(model, inputs, moved, values)
        squares = [one + change**2 for one, change in zip(squares, changes, strict=True)]
    known = np.isfinite(values[0])
    found = [
        np.where(known & np.isfinite(value), np.sqrt(one), np.nan)
        for value, one in zip(values, squares, strict=True)
    ]
    return GasErrors(_saturated(gas, inputs, sigmas, n_sigma_left), *_with_units(found))


def draw_gas(
    model,
    delta_t,
    t_unabsorbed,
    sigmas,
    *,
    t_continuum=NO_CONTINUUM,
    linewidth=None,
    n_draws=1000,
    seed=0,
    n_sigma_left=1.0,
):
    """Uncertainties by drawing what is uncertain from normal distributions.

    For errors so large that first order does not do, as near saturation. What cannot be negative is drawn
    from the part above 0, and p from that between 0 and 1. Draws in which no cloud is possible are left
    out, and counted.

    Parameters
    ----------
    model, delta_t, t_unabsorbed, sigmas, t_continuum, linewidth, n_sigma_left
        As for `propagate`.
    n_draws : int
    seed : int

    Returns
    -------
    `GasErrors`
        Whose ``gas`` holds the medians of the draws.

    Raises
    ------
    ParameterError
        As `propagate`, and if the draws would not fit into the memory.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools.physics import GasModel, GasSigmas, draw_gas
    >>> sigmas = GasSigmas(delta_t=3 * u.K)
    >>> errors = draw_gas(GasModel(t_spin=40 * u.K), -42 * u.K, 104 * u.K, sigmas, seed=1)
    >>> print(f"{errors.tau:.2f}, possible {errors.share_possible:.2f}")
    0.14, possible 1.00
    """
    n_draws = check_number("n_draws", n_draws, integer=True)
    inputs = _inputs(model, delta_t, t_unabsorbed, t_continuum, linewidth, sigmas)
    gas, values = _solved(model, inputs)
    if values[0].size * n_draws > MAX_DRAWN:
        raise ParameterError(
            f"n_draws={n_draws} draws of {values[0].size} clouds are too many at a time; draw fewer, or use "
            "propagate"
        )
    rng = np.random.default_rng(seed)
    shape = (n_draws, *values[0].shape)
    _, drawn = _solved(model, _moved(inputs, _drawn(inputs, sigmas, shape, rng)))
    drawn = [np.broadcast_to(one, shape) for one in drawn]
    possible = np.isfinite(drawn[0]).mean(axis=0)
    low, middle, high = zip(*(_percentiles(one) for one in drawn), strict=True)
    t_spin, tau, p, _ = _with_units([np.where(np.isfinite(values[0]), one, np.nan) for one in middle])
    gas = replace(gas, t_spin=t_spin, tau=tau, p=p)
    halves = [np.where(np.isfinite(values[0]), (b - a) / 2, np.nan) for a, b in zip(low, high, strict=True)]
    return GasErrors(_saturated(gas, inputs, sigmas, n_sigma_left), *_with_units(halves), possible[()])


def _percentiles(drawn):
    """Those that bound and halve 68 % of the finite draws; NaN where there are none."""
    found = np.full((3, *drawn.shape[1:]), np.nan)
    some = np.isfinite(drawn).any(axis=0)
    found[:, some] = np.nanpercentile(drawn[:, some], [15.866, 50, 84.134], axis=0)
    return found


def _inputs(model, delta_t, t_unabsorbed, t_continuum, linewidth, sigmas):
    """All that may be uncertain, as Quantities by name."""
    inputs = {"delta_t": delta_t, "t_unabsorbed": t_unabsorbed, "t_continuum": t_continuum}
    inputs |= {name: getattr(model, name) for name in ("p", "t_spin", "tau") if name in model.given}
    if model.pressure is not None:
        inputs |= {name: getattr(model.pressure, name) for name in OF_PRESSURE}
    if linewidth is not None:
        inputs["linewidth"] = linewidth
    for name in sigmas.given:
        if name not in inputs:
            raise ParameterError(
                f"sigma of {name} is given, and the model does not know {name}; known: {', '.join(inputs)}"
            )
    return {
        name: u.Quantity(plain(name, u.Quantity(value), UNITS[name]), UNITS[name])
        for name, value in inputs.items()
    }


def _solved(model, inputs):
    """The gas, and its `QUANTITIES` as plain arrays of one shape."""
    known = {name: inputs[name] for name in ("p", "t_spin", "tau") if name in model.given}
    known |= {name: known[name].value for name in ("p", "tau") if name in known}
    if model.pressure is not None:
        known["pressure"] = replace(model.pressure, **{name: inputs[name] for name in OF_PRESSURE})
    gas = replace(model, **known).solve(
        inputs["delta_t"], inputs["t_unabsorbed"], t_continuum=inputs["t_continuum"]
    )
    line = "gaussian" if model.pressure is None else model.pressure.line
    column = (
        column_density(gas.t_spin, gas.tau, inputs["linewidth"], line=line).value
        if "linewidth" in inputs
        else np.full(np.shape(gas.tau), np.nan)
    )
    return gas, np.broadcast_arrays(gas.t_spin.value, gas.tau, gas.p, column)


def _changes(model, inputs, moved, values):
    """By how much the `QUANTITIES` change where something moves by one sigma, to first order."""
    down = _solved(model, _moved(inputs, {name: -STEP * by for name, by in moved.items()}))[1]
    if "p" in moved:
        # Above 1 there is nothing.
        return [(value - below) / STEP for value, below in zip(values, down, strict=True)]
    up = _solved(model, _moved(inputs, {name: STEP * by for name, by in moved.items()}))[1]
    return [(above - below) / (2 * STEP) for above, below in zip(up, down, strict=True)]


def _directions(sigmas):
    """What moves together, by one sigma."""
    given = dict(sigmas.given)
    of_noise, of_unabsorbed = given.pop("delta_t", None), given.pop("t_unabsorbed", None)
    if of_unabsorbed is not None:
        yield {"t_unabsorbed": of_unabsorbed, "delta_t": -of_unabsorbed}
    if of_noise is not None:
        yield {"delta_t": _of_noise(of_noise, of_unabsorbed)}
    for name, sigma in given.items():
        yield {name: sigma}


def _of_noise(of_delta, of_unabsorbed):
    """What dT's uncertainty holds beside that of T_U."""
    if of_unabsorbed is None:
        return of_delta
    return np.sqrt(np.maximum(of_delta**2 - of_unabsorbed**2, 0 * u.K**2))


def _moved(inputs, by):
    return inputs | {name: inputs[name] + change for name, change in by.items()}


def _drawn(inputs, sigmas, shape, rng):
    """How far everything is moved in one draw."""
    by = {}
    for moved in _directions(sigmas):
        (first, sigma), *_ = moved.items()
        if first in ("delta_t", "t_unabsorbed"):
            normal = rng.standard_normal(shape)
        else:
            value, sigma = inputs[first].value, sigma.to_value(UNITS[first])
            width = np.where(sigma > 0, sigma, 1.0)
            top = (1 - value) / width if first == "p" else np.inf
            normal = truncnorm.rvs(-value / width, top, size=shape, random_state=rng)
        for name, one in moved.items():
            by[name] = by.get(name, 0 * UNITS[name]) + normal * one
    return by


def _saturated(gas, inputs, sigmas, n_sigma_left):
    """The gas, with a flag where next to nothing is left between the absorption and an opaque cloud."""
    of_delta = sigmas.given.get("delta_t", 0 * u.K)
    behind = gas.p * inputs["t_unabsorbed"] + inputs["t_continuum"]
    left = (behind - gas.t_spin + inputs["delta_t"]).to_value(u.K)
    flags = np.atleast_1d(np.array(gas.flags))
    few = np.atleast_1d(left < n_sigma_left * of_delta.to_value(u.K)) & ((flags & int(BAD)) == 0)
    raise_flag(flags, few, GasFlag.SATURATED)
    return replace(gas, flags=flags.reshape(np.shape(gas.flags))[()])


def _with_units(values):
    units = (u.K, None, None, u.cm**-2)
    return [one[()] if unit is None else one[()] * unit for one, unit in zip(values, units, strict=True)]
