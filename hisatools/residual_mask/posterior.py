"""WidthLikelihood: a likelihood on a grid with its marginals, intervals and figure."""

from dataclasses import dataclass, field
from functools import cached_property

import astropy.units as u
import numpy as np

from hisatools.errors import ParameterError
from hisatools.parameters import check_number

__all__ = ["AXES", "WidthLikelihood"]

AXES = ("width", "ratio", "intercept")
# A marginal is taken as linear between the points of the grid, in this many steps.
STEPS = 64


@dataclass(frozen=True, eq=False)
class WidthLikelihood:
    """Likelihood of velocity width, ratio and intercept.

    Parameters
    ----------
    widths : `~astropy.units.Quantity`, shape (n_w,), km/s
    ratios : `~astropy.units.Quantity`, shape (n_r,), tracer per 1e20 cm^-2
    intercepts : `~astropy.units.Quantity`, shape (n_c,), unit of the tracer
    log_likelihood : `~numpy.ndarray`, shape (n_w, n_r, n_c)
        Natural logarithm, 0 at the best point.
    error : `~astropy.units.Quantity`, scalar
        Standard deviation of the tracer about the best point; with an error map, that at its median.
    n_pixels : int
        How many were used.
    centre : `~astropy.units.Quantity`, scalar, km/s
        Middle of the velocity ranges.
    meta : dict

    Examples
    --------
    >>> import astropy.units as u, numpy as np
    >>> from hisatools.residual_mask import width_likelihood
    >>> from hisatools.residual_mask.simulated import DustModelParameters, simulate_dust
    >>> small = DustModelParameters(shape=(32, 32), extra_share=0)
    >>> model = simulate_dust(small, seed=6200, velocity_width=18 * u.km / u.s, n_channels=40)
    >>> widths = np.arange(10, 30.2, 0.5) * u.km / u.s
    >>> found = width_likelihood(model.cube, model.tracer, centre=0 * u.km / u.s, widths=widths)
    >>> found.best["width"], found.mean("width").round(1)  # 18 km/s were put in
    (<Quantity 18. km / s>, <Quantity 17.9 km / s>)
    >>> found.interval("width", 0.68).round(1)
    <Quantity [17.7, 18.3] km / s>
    >>> found.log_likelihood.shape[0], round(float(found.probability.sum()), 6)
    (41, 1.0)
    """

    widths: u.Quantity
    ratios: u.Quantity
    intercepts: u.Quantity
    log_likelihood: np.ndarray
    error: u.Quantity
    n_pixels: int
    centre: u.Quantity
    meta: dict = field(default_factory=dict)

    @cached_property
    def probability(self):
        """Share of each point of the grid, shape (n_w, n_r, n_c); their sum is 1."""
        weights = [_cells(values.value) for values in self._values.values()]
        shares = np.exp(self.log_likelihood - self.log_likelihood.max())
        shares *= weights[0][:, None, None] * weights[1][:, None] * weights[2]
        return shares / shares.sum()

    @property
    def best(self):
        """The most likely point: width, ratio and intercept, scalar Quantities by name."""
        place = np.unravel_index(np.argmax(self.log_likelihood), self.log_likelihood.shape)
        return {
            name: values[index] for (name, values), index in zip(self._values.items(), place, strict=True)
        }

    @property
    def velocity_range(self):
        """Ends of the most likely range; Quantity, shape (2,), km/s."""
        half = self.best["width"] / 2
        return u.Quantity([self.centre - half, self.centre + half])

    def marginal(self, name):
        """Likelihood of one of the three, the others summed over.

        Parameters
        ----------
        name : {"width", "ratio", "intercept"}

        Returns
        -------
        values : `~astropy.units.Quantity`, shape (n,)
        density : `~numpy.ndarray`, shape (n,)
            Its integral over the values is 1; for a single value it is 1.
        """
        axis = self._axis(name)
        others = tuple(number for number in range(3) if number != axis)
        values = self._values[name]
        return values, self.probability.sum(axis=others) / _cells(values.value)

    def marginal_2d(self, first, second):
        """Likelihood of two of the three, the third summed over.

        Parameters
        ----------
        first, second : {"width", "ratio", "intercept"}

        Returns
        -------
        `~numpy.ndarray`, shape (n of ``second``, n of ``first``)
            Shares of the points, as an image with ``first`` along x.
        """
        along_x, along_y = self._axis(first), self._axis(second)
        if along_x == along_y:
            raise ParameterError(f"two different parameters are needed, got {first!r} twice")
        (third,) = {0, 1, 2} - {along_x, along_y}
        image = self.probability.sum(axis=third)
        return image if along_y < along_x else image.T

    def mean(self, name):
        """Mean of the marginal of one of the three; scalar Quantity."""
        values, _ = self.marginal(name)
        shares = self.probability.sum(axis=tuple(number for number in range(3) if number != self._axis(name)))
        return (shares * values).sum()

    def interval(self, name, share=0.68):
        """Credible interval of highest density.

        The marginal is taken as linear between the points of the grid. Where it has several peaks, the
        outermost ends are given.

        Parameters
        ----------
        name : {"width", "ratio", "intercept"}
        share : float
            Of the probability, above 0 and at most 1.

        Returns
        -------
        `~astropy.units.Quantity`, shape (2,)
            Lower and upper end.

        Raises
        ------
        ParameterError
            If ``name`` is not known or ``share`` is no share.
        """
        share = check_number("share", share, at_most=1)
        values, density = self.marginal(name)
        if values.size == 1:
            return u.Quantity([values[0], values[0]])
        fine, height = _linear(values.value, density)
        step = np.gradient(fine)
        order = np.argsort(-height, kind="stable")
        mass = np.cumsum((height * step)[order])
        inside = fine[order[: int(np.searchsorted(mass, share * mass[-1])) + 1]]
        return [inside.min(), inside.max()] * values.unit

    def plot_corner(self, *, figure=None):
        """Draw marginals of one and of two; see `hisatools.residual_mask.figures.plot_corner`."""
        from hisatools.residual_mask.figures import plot_corner

        return plot_corner(self, figure=figure)

    def write(self, folder, *, overwrite=False):
        """Write the grid and its figure; see `hisatools.residual_mask.files.write_likelihood`."""
        from hisatools.residual_mask.files import write_likelihood

        return write_likelihood(self, folder, overwrite=overwrite)

    @classmethod
    def read(cls, folder):
        """Read what `write` wrote."""
        from hisatools.residual_mask.files import read_likelihood

        return cls(**read_likelihood(folder))

    @property
    def _values(self):
        return dict(zip(AXES, (self.widths, self.ratios, self.intercepts), strict=True))

    def _axis(self, name):
        if name not in AXES:
            raise ParameterError(f"unknown parameter {name!r}; known: {', '.join(AXES)}")
        return AXES.index(name)


def _cells(values):
    """Length of the axis that each point stands for; 1 for a single one."""
    return np.gradient(values) if values.size > 1 else np.ones(1)


def _linear(values, density):
    """Many points along straight lines between the given ones."""
    place = np.linspace(0, values.size - 1, (values.size - 1) * STEPS + 1)
    points = np.arange(values.size)
    return np.interp(place, points, values), np.interp(place, points, density)
