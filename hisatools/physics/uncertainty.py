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
from hisatools.physics.units import plain, same_shape, with_unit

__all__ = ["GasErrors", "GasSigmas", "draw_gas", "propagate"]

# Of the differences that stand for derivatives: in sigmas, and at most as a share of what must be positive.
STEP, MAX_SHARE = 1e-5, 0.5
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
    "fraction": u.dimensionless_unscaled,
}
OF_PRESSURE = ("p_over_k", "path_length", "linewidth", "fraction")
SHARES = ("p", "fraction")
QUANTITIES = ("t_spin", "tau", "p", "column_density")


@dataclass(frozen=True, kw_only=True)
class GasSigmas:
    """1-sigma uncertainties of what gas properties are worked out from; None is none.

    Parameters
    ----------
    delta_t, t_unabsorbed, t_continuum, t_spin : `~astropy.units.Quantity`, K, optional
        That of dT holds that of T_U: where T_U is too high, dT is too deep by as much. Both are moved
        together, and what is left of dT's is the noise of the observed brightness.
    p, tau, fraction : array_like, optional
        The last is f_n of the pressure.
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
    fraction: float | None = None

    def __post_init__(self):
        for name, sigma in self.given.items():
            if (sigma < 0).any():
                raise ParameterError(f"sigma of {name} must not be negative, got {sigma.min():g}")
        if {"delta_t", "t_unabsorbed"} <= set(self.given):
            of_delta, of_unabsorbed = same_shape(
                delta_t=self.given["delta_t"], t_unabsorbed=self.given["t_unabsorbed"]
            )
            if (of_delta < of_unabsorbed).any():
                raise ParameterError(
                    "sigma of delta_t is below that of t_unabsorbed, which it holds, as dT = T_ON - T_U; "
                    "add the noise of T_ON in quadrature"
                )

    @property
    def given(self):
        """Those that are known, by name: arrays in K, km/s, pc and K / cm^3.

        Examples
        --------
        >>> import astropy.units as u
        >>> from hisatools.physics import GasSigmas
        >>> GasSigmas(delta_t=300 * u.mK).given
        {'delta_t': array(0.3)}
        """
        known = {one.name: getattr(self, one.name) for one in fields(self)}
        return {
            name: plain(f"sigma of {name}", with_unit(sigma, UNITS[name]), UNITS[name])
            for name, sigma in known.items()
            if sigma is not None
        }


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

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools.physics import GasModel, GasSigmas, propagate
    >>> errors = propagate(GasModel(tau=1.0), -42 * u.K, 104 * u.K, GasSigmas(delta_t=3 * u.K))
    >>> print(f"{errors.gas.t_spin:.1f} +- {errors.t_spin:.1f}")
    37.6 K +- 4.7 K
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
        Where no more of its sigmas than this are left between the absorption and an opaque cloud,
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
    inputs, known = _inputs(model, delta_t, t_unabsorbed, t_continuum, linewidth, sigmas)
    gas, values = _solved(model, inputs)
    squares = [0.0] * len(QUANTITIES)
    for moved in _directions(known):
        changes = _changes(model, inputs, moved, values)
        squares = [one + change**2 for one, change in zip(squares, changes, strict=True)]
    found = [
        np.where(np.isfinite(values[0]) & np.isfinite(value), np.sqrt(one), np.nan)
        for value, one in zip(values, squares, strict=True)
    ]
    return GasErrors(_saturated(gas, inputs, known, n_sigma_left), *_with_units(found))


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
    seed = check_number("seed", seed, inclusive=True, integer=True)
    inputs, known = _inputs(model, delta_t, t_unabsorbed, t_continuum, linewidth, sigmas)
    gas, values = _solved(model, inputs)
    if values[0].size * n_draws > MAX_DRAWN:
        raise ParameterError(
            f"n_draws={n_draws} draws of {values[0].size} clouds are too many at a time; draw fewer, or use "
            "propagate"
        )
    rng = np.random.default_rng(seed)
    shape = (n_draws, *values[0].shape)
    _, drawn = _solved(model, _moved(inputs, _drawn(inputs, known, shape, rng)))
    drawn = [np.broadcast_to(one, shape) for one in drawn]
    possible = np.isfinite(drawn[0]).mean(axis=0)
    low, middle, high = zip(*(_percentiles(one) for one in drawn), strict=True)
    t_spin, tau, p, _ = _with_units([np.where(np.isfinite(values[0]), one, np.nan) for one in middle])
    gas = replace(gas, t_spin=t_spin, tau=tau, p=p)
    halves = [np.where(np.isfinite(values[0]), (b - a) / 2, np.nan) for a, b in zip(low, high, strict=True)]
    return GasErrors(_saturated(gas, inputs, known, n_sigma_left), *_with_units(halves), possible[()])


def _percentiles(drawn):
    """Those that bound and halve 68 % of the finite draws; NaN where there are none."""
    found = np.full((3, *drawn.shape[1:]), np.nan)
    some = np.isfinite(drawn).any(axis=0)
    found[:, some] = np.nanpercentile(drawn[:, some], [15.866, 50, 84.134], axis=0)
    return found


def _inputs(model, delta_t, t_unabsorbed, t_continuum, linewidth, sigmas):
    """All that may be uncertain, and its sigmas: plain arrays of one shape by name."""
    inputs = {"delta_t": delta_t, "t_unabsorbed": t_unabsorbed, "t_continuum": t_continuum}
    inputs |= {name: getattr(model, name) for name in ("p", "t_spin", "tau") if name in model.given}
    if model.pressure is not None:
        inputs |= {name: getattr(model.pressure, name) for name in OF_PRESSURE}
    if linewidth is not None:
        if "linewidth" in inputs:
            raise ParameterError("linewidth is that of the model's pressure; leave it out")
        inputs["linewidth"] = linewidth
    unknown = [name for name in sigmas.given if name not in inputs]
    if unknown:
        raise ParameterError(
            f"sigma of {unknown[0]} is given, and the model does not know {unknown[0]}; known: "
            f"{', '.join(inputs)}"
        )
    arrays = {name: plain(name, with_unit(value, UNITS[name]), UNITS[name]) for name, value in inputs.items()}
    both = same_shape(**arrays, **{f"sigma of {name}": sigma for name, sigma in sigmas.given.items()})
    known = dict(zip(sigmas.given, both[len(arrays) :], strict=True))
    return dict(zip(arrays, both[: len(arrays)], strict=True)), known


def _solved(model, inputs):
    """The gas, and its `QUANTITIES` as plain arrays of one shape."""
    units = {name: values if UNITS[name] == "" else values * UNITS[name] for name, values in inputs.items()}
    known = {name: units[name] for name in ("p", "t_spin", "tau") if name in model.given}
    if model.pressure is not None:
        known["pressure"] = replace(model.pressure, **{name: units[name] for name in OF_PRESSURE})
    gas = replace(model, **known).solve(
        units["delta_t"], units["t_unabsorbed"], t_continuum=units["t_continuum"]
    )
    line = "gaussian" if model.pressure is None else model.pressure.line
    column = np.full(np.shape(gas.tau), np.nan)
    if "linewidth" in units:
        column = column_density(gas.t_spin, gas.tau, units["linewidth"], line=line).value
    return gas, np.broadcast_arrays(gas.t_spin.value, gas.tau, gas.p, column)


def _changes(model, inputs, moved, values):
    """By how much the `QUANTITIES` change where something moves by one sigma, to first order."""
    step = np.full(values[0].shape, STEP)
    for name, sigma in moved.items():
        if name not in ("delta_t", "t_unabsorbed"):
            with np.errstate(divide="ignore", invalid="ignore"):
                step = np.fmin(step, np.where(sigma > 0, MAX_SHARE * inputs[name] / sigma, STEP))
    down = _solved(model, _moved(inputs, {name: -step * by for name, by in moved.items()}))[1]
    # Above 1 there is no share.
    only_down = np.any([inputs[name] == 1 for name in moved if name in SHARES], axis=0)
    up_by = {name: np.where(only_down, 0, step * by) for name, by in moved.items()}
    up = _solved(model, _moved(inputs, up_by))[1]
    changes = []
    for value, above, below in zip(values, up, down, strict=True):
        # Where one side is no cloud, the other tells.
        above, below = (np.where(np.isfinite(one), one, value) for one in (above, below))
        sides = 2.0 - (only_down | (above == value) | (below == value))
        changes.append((above - below) / (sides * step))
    return changes


def _directions(sigmas):
    """What moves together, by one sigma."""
    given = dict(sigmas)
    of_noise, of_unabsorbed = given.pop("delta_t", None), given.pop("t_unabsorbed", None)
    if of_unabsorbed is not None:
        yield {"t_unabsorbed": of_unabsorbed, "delta_t": -of_unabsorbed}
    if of_noise is not None:
        yield {"delta_t": _of_noise(of_noise, of_unabsorbed)}
    for name, sigma in given.items():
        yield {name: sigma}


def _of_noise(of_delta, of_unabsorbed):
    """What dT's uncertainty holds beside that of T_U."""
    return of_delta if of_unabsorbed is None else np.sqrt(of_delta**2 - of_unabsorbed**2)


def _moved(inputs, by):
    return inputs | {name: inputs[name] + change for name, change in by.items()}


def _drawn(inputs, sigmas, shape, rng):
    """How far everything is moved in each draw."""
    by = {}
    for moved in _directions(sigmas):
        (first, sigma), *_ = moved.items()
        if first in ("delta_t", "t_unabsorbed"):
            normal = rng.standard_normal(shape)
        else:
            # What is not known stays so, whatever is drawn.
            value = np.where(np.isfinite(inputs[first]), inputs[first], 0.5)
            width = np.where((sigma > 0) & np.isfinite(sigma), sigma, 1.0)
            top = (1 - value) / width if first in SHARES else np.inf
            normal = truncnorm.rvs(-value / width, top, size=shape, random_state=rng)
        for name, one in moved.items():
            by[name] = by.get(name, 0.0) + normal * one
    return by


def _saturated(gas, inputs, sigmas, n_sigma_left):
    """The gas, with a flag where next to nothing is left between the absorption and an opaque cloud."""
    left = gas.p * inputs["t_unabsorbed"] + inputs["t_continuum"] - gas.t_spin.value + inputs["delta_t"]
    of_unabsorbed = sigmas.get("t_unabsorbed", 0.0)
    squared = (_of_noise(sigmas["delta_t"], of_unabsorbed) ** 2 if "delta_t" in sigmas else 0.0) + (
        (1 - gas.p) * of_unabsorbed
    ) ** 2
    for name, slope in (("p", inputs["t_unabsorbed"]), ("t_continuum", 1.0), ("t_spin", 1.0)):
        squared = squared + (slope * sigmas.get(name, 0.0)) ** 2
    flags = np.atleast_1d(np.array(gas.flags))
    few = np.atleast_1d(left < n_sigma_left * np.sqrt(squared)) & ((flags & int(BAD)) == 0)
    raise_flag(flags, few, GasFlag.SATURATED)
    return replace(gas, flags=flags.reshape(np.shape(gas.flags))[()])


def _with_units(values):
    units = (u.K, None, None, u.cm**-2)
    return [one[()] if unit is None else one[()] * unit for one, unit in zip(values, units, strict=True)]
