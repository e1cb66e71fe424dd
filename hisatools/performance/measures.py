"""A performance measure over the parameter space: values, uncertainties, and interpolation."""

from dataclasses import dataclass
from functools import cached_property
from itertools import product

import astropy.units as u
import numpy as np

from hisatools.errors import ParameterError, ParameterUnitsError
from hisatools.performance.observables import EDGE_TOLERANCE, NAMES, OBSERVABLES, STEPS, axis_number

POINTS_PER_BLOCK = 1_000_000


@dataclass(frozen=True, eq=False)
class Measure:
    """Throughput, true fraction or a drift as a function of the four observables.

    Parameters
    ----------
    name : str
    value : `~numpy.ndarray` or `~astropy.units.Quantity`, 4-D
        At the centres of the bins, over (delta_t, t_unabsorbed, angular_width, velocity_width); NaN
        where there is no support.
    uncertainty : same as ``value``
        1 sigma; NaN where there is no support, and for a drift where a single voxel is all of it.
    counts : `~numpy.ndarray`, same shape
        Effective number of independent voxels behind each value.
    origin : sequence of 4 int
        Lattice numbers of the first bin along each axis.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools import PerformanceModel
    >>> from hisatools.datasets import example_model, example_result
    >>> throughput = PerformanceModel.from_pairs([(example_model(), example_result())]).throughput
    >>> throughput.centres("velocity_width")[:3]
    <Quantity [0.75, 1.25, 1.75] km / s>
    >>> at = {"t_unabsorbed": 69 * u.K, "angular_width": 6 * u.arcmin, "velocity_width": 0.8 * u.km / u.s}
    >>> throughput.at(delta_t=[-10, -2, -80] * u.K, **at).round(1)  # nothing was as deep as 80 K
    array([0.9, 0.3, nan], dtype=float32)
    """

    name: str
    value: np.ndarray
    uncertainty: np.ndarray
    counts: np.ndarray
    origin: tuple

    def centres(self, name):
        """Centres of the bins along one axis; Quantity.

        Parameters
        ----------
        name : str
            Of the observable.
        """
        axis = axis_number(name)
        observable = OBSERVABLES[axis]
        return (
            (self.origin[axis] + np.arange(self.value.shape[axis]) + 0.5) * observable.step * observable.unit
        )

    def at(self, *, delta_t, t_unabsorbed, angular_width, velocity_width):
        """Interpolate to any points, linearly between the centres of the bins.

        Parameters
        ----------
        delta_t, t_unabsorbed, angular_width, velocity_width : `~astropy.units.Quantity`
            Broadcast against each other.

        Returns
        -------
        `~numpy.ndarray` or `~astropy.units.Quantity`
            NaN where the bin that holds the point has no support: nothing is extrapolated.

        Raises
        ------
        ParameterUnitsError
            If one has no unit or a wrong one.
        ParameterError
            If their shapes do not fit.
        """
        given = delta_t, t_unabsorbed, angular_width, velocity_width
        values = [_plain(one, value) for one, value in zip(OBSERVABLES, given, strict=True)]
        try:
            points = np.broadcast_arrays(*values)
        except ValueError:
            shapes = ", ".join(f"{name} {np.shape(value)}" for name, value in zip(NAMES, values, strict=True))
            raise ParameterError(f"the points must broadcast against each other, got {shapes}") from None
        flat = np.stack([np.ravel(values) for values in points], axis=1)
        values = self.at_points(flat).reshape(points[0].shape)
        return values * self.value.unit if isinstance(self.value, u.Quantity) else values

    def at_points(self, points):
        """The same for plain numbers.

        Parameters
        ----------
        points : `~numpy.ndarray`, shape (n, 4)
            In the units of `OBSERVABLES`.

        Returns
        -------
        `~numpy.ndarray` of float32, shape (n,)
        """
        blocks = range(0, len(points), POINTS_PER_BLOCK)
        values = [self._at_block(points[start : start + POINTS_PER_BLOCK]) for start in blocks]
        return np.concatenate(values) if values else np.empty(0, np.float32)

    def slice(self, x, y, **at):
        """A plane through the parameter space.

        Parameters
        ----------
        x, y : str
            The observables along the two axes.
        **at : `~astropy.units.Quantity`
            Where the plane cuts the other two axes; the bin that holds the place is taken.

        Returns
        -------
        MeasureSlice

        Raises
        ------
        ParameterError
            If the names are not the four observables, each once, or a place lies outside.

        Examples
        --------
        >>> import astropy.units as u
        >>> from hisatools import PerformanceModel
        >>> from hisatools.simulate import ModelParameters, simulate_cube
        >>> model = simulate_cube(ModelParameters(shape=(32, 48, 48), n_pucks=5, n_components=50), seed=1)
        >>> throughput = PerformanceModel.from_pairs([(model, model)]).throughput
        >>> t_unabsorbed, velocity_width = 67 * u.K, 1.2 * u.km / u.s
        >>> plane = throughput.slice(
        ...     "angular_width", "delta_t", t_unabsorbed=t_unabsorbed, velocity_width=velocity_width
        ... )
        >>> plane.value.shape == (plane.y.size, plane.x.size)
        True
        """
        axes = axis_number(x), axis_number(y)
        if len({x, y, *at}) != 4 or len(at) != 2:
            raise ParameterError(
                f"x, y and two places must name {', '.join(NAMES)}, each once; got {x}, {y}, {at}"
            )
        index = [slice(None)] * 4
        for name, place in at.items():
            index[axis_number(name)] = self._bin(name, place)
        order = (lambda plane: plane.T) if axes[0] < axes[1] else (lambda plane: plane)
        parts = (order(part[tuple(index)]) for part in (self.value, self.uncertainty, self.counts))
        return MeasureSlice(self.name, x, y, self.centres(x), self.centres(y), *parts, at)

    def _bin(self, name, place):
        axis = axis_number(name)
        value = _plain(OBSERVABLES[axis], place)
        if np.ndim(value):
            raise ParameterError(f"{name} must be one place, got {place}")
        number = np.floor(float(value) / STEPS[axis] + EDGE_TOLERANCE[axis]) - self.origin[axis]
        if not 0 <= number < self.value.shape[axis]:
            low, high = np.array([0, self.value.shape[axis]]) + self.origin[axis]
            step = OBSERVABLES[axis].step * OBSERVABLES[axis].unit
            raise ParameterError(f"{name}={place} lies outside {low * step:g} ... {high * step:g}")
        return int(number)

    @cached_property
    def _plain_value(self):
        return np.asarray(getattr(self.value, "value", self.value), np.float32)

    def _at_block(self, points):
        """Mean of the 16 nodes around each point, those without support left out."""
        values, shape = self._plain_value, np.array(self.value.shape)
        place = points / STEPS - np.asarray(self.origin)
        holder = np.floor(place + EDGE_TOLERANCE)
        inside = ((holder >= 0) & (holder < shape)).all(axis=1)
        # NaN and infinities become numbers, for what is not inside has no value anyhow.
        place[~inside] = 0
        # Within the outer half of an outermost bin its centre stands for the bin.
        place = np.clip(place - 0.5, 0, shape - 1)
        low = np.minimum(place.astype(int), np.maximum(shape - 2, 0))
        part = place - low
        total, weight = np.zeros(len(points)), np.zeros(len(points))
        for corner in product((0, 1), repeat=4):
            node = np.minimum(low + corner, shape - 1)
            share = np.where(corner, part, 1 - part).prod(axis=1)
            known = values[tuple(node.T)]
            share[np.isnan(known)] = 0
            total += share * np.nan_to_num(known)
            weight += share
        supported = np.zeros(len(points), bool)
        supported[inside] = np.isfinite(values[tuple(holder[inside].astype(int).T)])
        with np.errstate(invalid="ignore"):
            return np.where(supported, total / weight, np.nan).astype(np.float32)


@dataclass(frozen=True, eq=False)
class MeasureSlice:
    """A plane of a `Measure`.

    Parameters
    ----------
    name : str
        Of the measure.
    x_name, y_name : str
        The observables along the axes.
    x, y : `~astropy.units.Quantity`, 1-D
        Centres of the bins.
    value, uncertainty, counts : arrays of shape (y.size, x.size)
        As in `Measure`.
    at : dict
        Where the plane cuts the other two axes.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools import PerformanceModel
    >>> from hisatools.datasets import example_model, example_result
    >>> performance = PerformanceModel.from_pairs([(example_model(), example_result())])
    >>> at = {"angular_width": 6 * u.arcmin, "velocity_width": 0.8 * u.km / u.s}
    >>> plane = performance.slice("throughput", "t_unabsorbed", "delta_t", **at)
    >>> plane.x_name, plane.y_name, plane.value.shape
    ('t_unabsorbed', 'delta_t', (19, 54))
    >>> plane.x[15], plane.y[-4], round(float(plane.value[-4, 15]), 1)
    (<Quantity 68.75 K>, <Quantity -8.75 K>, 0.9)
    """

    name: str
    x_name: str
    y_name: str
    x: u.Quantity
    y: u.Quantity
    value: np.ndarray
    uncertainty: np.ndarray
    counts: np.ndarray
    at: dict


def _plain(observable, value):
    """Values in the observable's unit, or say what to type."""
    try:
        return u.Quantity(value).to_value(observable.unit)
    except (u.UnitConversionError, TypeError):
        raise ParameterUnitsError(
            f"{observable.name} needs a unit of {observable.unit}, got {value!r}; "
            f"write for example {observable.name}=2 * u.Unit('{observable.unit}')"
        ) from None
