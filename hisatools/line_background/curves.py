"""Models of a spectrum in one form, whether astropy models or plain functions, and their integrals."""

import inspect
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np

from hisatools.errors import ParameterError

N_NODES = 8
NODES, WEIGHTS = np.polynomial.legendre.leggauss(N_NODES)


@dataclass(frozen=True, eq=False)
class Curve:
    """A model f(x; parameters) with start values, limits and fixed parameters, without units.

    Parameters
    ----------
    function : callable
        ``function(x, *values)``.
    names : tuple of str
    start : tuple of float
    limits : dict
        Name to (low, high), where None is no limit.
    fixed : frozenset of str
    steps : dict
        Name to the size of the first step of the fit.
    integral : callable, optional
        ``integral(low, high, *values)``, exact; without it the integrals are done by quadrature.
    to_model : callable, optional
        From values to an astropy model.

    Examples
    --------
    >>> from hisatools.line_background.curves import Curve
    >>> line = Curve(lambda x, a, b: a + b * x, names=("a", "b"), start=(300.0, 0.0))
    >>> line.over_bins([0.0, 1.0], [1.0, 2.0], (400.0, -2.0)).round(3)
    array([399., 397.])
    """

    function: object
    names: tuple
    start: tuple
    limits: dict = field(default_factory=dict)
    fixed: frozenset = frozenset()
    steps: dict = field(default_factory=dict)
    integral: object = None
    to_model: object = None

    def over_bins(self, low, high, values, n_pieces=1):
        """Integral over each bin from ``low`` to ``high``; arrays of shape (n_bins,).

        By Gauss-Legendre quadrature with 8 nodes in each of ``n_pieces`` parts of a bin, all bins at
        once, unless the model knows its integral.
        """
        low, high = np.asarray(low, float), np.asarray(high, float)
        with np.errstate(all="ignore"):
            if self.integral is not None:
                return np.asarray(self.integral(low, high, *values), float)
            ends = np.linspace(0, 1, n_pieces + 1)
            half = 0.5 / n_pieces
            places = (ends[:-1, None] + half * (1 + NODES)).ravel()
            x = low[:, None] + (high - low)[:, None] * places
            f = np.broadcast_to(self.function(x.ravel(), *values), x.size).reshape(x.shape)
            return (high - low) * half * (f @ np.tile(WEIGHTS, n_pieces))


def as_curve(model, *, x_unit, y_unit, start=None, limits=None, fixed=None, steps=None, integral=None):
    """A `Curve` from an astropy model or from a plain function.

    Raises
    ------
    ParameterError
        If start values are missing or a parameter is not known.

    Examples
    --------
    >>> import astropy.units as u
    >>> from astropy.modeling.models import Polynomial1D
    >>> from hisatools.line_background.curves import as_curve
    >>> as_curve(Polynomial1D(1, c0=300.0), x_unit=u.keV, y_unit=1 / u.keV).start
    (300.0, 0.0)
    """
    from astropy.modeling import Model

    if isinstance(model, Model):
        if start is not None or limits is not None or fixed is not None:
            raise ParameterError(
                "start, limits and fixed belong to plain functions; an astropy model has its own: set "
                "model.bounds, model.fixed and model.tied"
            )
        return _astropy_curve(model, x_unit, y_unit, steps, integral)
    if not callable(model):
        raise ParameterError(f"model must be an astropy model or a function f(x, a, b, ...), got {model!r}")
    return _function_curve(model, start, limits, fixed, steps, integral)


def _function_curve(function, start, limits, fixed, steps, integral):
    names = _argument_names(function, start)
    if isinstance(start, dict):
        missing = [name for name in names if name not in start]
        start = [start.get(name) for name in names]
    else:
        start = [] if start is None else list(start)
        missing = names[len(start) :]
    if missing or len(start) != len(names):
        raise ParameterError(
            f"start needs a value for each of {', '.join(names)}; got {len(start) - len(missing)} of "
            f"{len(names)}"
            if missing
            else f"start has {len(start)} values, the model {len(names)} parameters: {', '.join(names)}"
        )
    limits = _by_name("limits", limits or {}, names)
    fixed = frozenset(_by_name("fixed", dict.fromkeys(fixed or ()), names))
    steps = _by_name("steps", steps or {}, names)
    values = tuple(float(value) for value in start)
    _check_start(names, values, limits)
    return Curve(function, names, values, limits, fixed, steps, integral)


def _argument_names(function, start):
    parameters = list(inspect.signature(function).parameters.values())[1:]
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return tuple(start) if isinstance(start, dict) else tuple(f"x{i}" for i in range(len(start or ())))
    return tuple(p.name for p in parameters if p.kind is not p.KEYWORD_ONLY)


def _by_name(argument, given, names):
    """A dictionary with names for keys; places, counted from 0, are understood as well."""
    found = {}
    for key, value in given.items():
        is_place = isinstance(key, (int, np.integer)) and 0 <= key < len(names)
        name = names[key] if is_place else key
        if name not in names:
            raise ParameterError(f"{argument}: no parameter {key!r}; the model has {', '.join(names)}")
        found[name] = value
    return found


def _check_start(names, values, limits):
    for name, value in zip(names, values, strict=True):
        low, high = (limit if limit is not None else np.nan for limit in limits.get(name, (None, None)))
        if not np.isfinite(value) or value < low or value > high:
            raise ParameterError(f"start value of {name}, {value:g}, is not finite or not within its limits")


def _astropy_curve(model, x_unit, y_unit, steps, integral):
    if model.n_inputs != 1 or model.n_outputs != 1 or len(model) != 1:
        raise ParameterError(f"model must have one input and one output, got {model.__class__.__name__}")
    plain = _without_units(model, x_unit, y_unit)
    tied = {name: rule for name, rule in plain.tied.items() if rule}
    names = tuple(name for name in plain.param_names if name not in tied)
    place = [plain.param_names.index(name) for name in names]
    limits = {
        name: tuple(plain.bounds[name]) for name in names if any(_is_limit(b) for b in plain.bounds[name])
    }
    values = tuple(float(plain.parameters[i]) for i in place)
    _check_start(names, values, limits)

    def filled(values):
        """A model with these values, tied parameters included."""
        other = plain.copy()
        parameters = other.parameters.copy()
        parameters[place] = values
        other.parameters = parameters
        for name, rule in tied.items():
            setattr(other, name, rule(other))
        return other

    all_values = _all_values(plain, place, tied, filled)

    def function(x, *values):
        return plain.evaluate(x, *all_values(values))

    def to_model(values):
        other = filled(values)
        return other.with_units_from_data(**_examples(model, x_unit, y_unit)) if _has_units(model) else other

    fixed = frozenset(name for name in names if plain.fixed[name])
    steps = _by_name("steps", steps or {}, names)
    return Curve(function, names, values, limits, fixed, steps, integral, to_model)


class _Value(float):
    """A parameter as a rule for a tied one sees it."""

    value = property(float)


def _all_values(model, place, tied, filled):
    """A function from the values of parameters that are not tied to those of all.

    Rules are given the bare values, since a copy of the model for each call would make fits fifty
    times slower; and a copy all the same where a rule wants more of the model than that.
    """
    names = model.param_names
    tied = [(names.index(name), name, rule) for name, rule in tied.items()]

    def light(values):
        full = np.zeros(len(names))
        full[place] = values
        seen = SimpleNamespace(**{names[i]: _Value(full[i]) for i in place})
        for i, name, rule in tied:
            full[i] = rule(seen)
            setattr(seen, name, _Value(full[i]))
        return full

    def heavy(values):
        return filled(values).parameters

    start = model.parameters[place]
    try:
        is_enough = np.array_equal(light(start), heavy(start))
    except (AttributeError, TypeError):
        is_enough = False
    return light if is_enough else heavy


def _is_limit(bound):
    return bound is not None and np.isfinite(bound)


def _has_units(model):
    return any(getattr(model, name).unit is not None for name in model.param_names)


def _examples(model, x_unit, y_unit):
    return {model.inputs[0]: 1.0 * x_unit, model.outputs[0]: 1.0 * y_unit}


def _without_units(model, x_unit, y_unit):
    if not _has_units(model):
        return model.copy()
    try:
        return model.without_units_for_data(**_examples(model, x_unit, y_unit))
    except (NotImplementedError, AttributeError, ValueError) as error:
        raise ParameterError(
            f"the units of the model do not fit an axis in {x_unit} and values in {y_unit} ({error}); write "
            "the model without units, in these"
        ) from None
