"""Results compared with truths of the user's own, and what is noted of every comparison."""

from dataclasses import dataclass

import astropy.units as u

from hisatools.errors import InputError, ParameterError, ParameterUnitsError
from hisatools.parameters import check_number, check_quantity
from hisatools.performance.counts import model_row
from hisatools.performance.histograms import Histograms
from hisatools.performance.model import PerformanceModel
from hisatools.performance.observables import Voxels
from hisatools.simulate import TRUTH_LEVEL_KELVIN

# Relative, between the pixels or channels of a truth and of a result on one grid.
MAX_SCALE_DIFFERENCE = 1e-3


def compare_pairs(pairs, *, correlated_voxels=1.0):
    """Compare results with truths of your own.

    Parameters
    ----------
    pairs : iterable of (truth, found)
        Each with ``mask``, ``delta_t``, ``t_unabsorbed``, ``pixel_scale`` and ``channel_width``, on one
        grid: a `~hisatools.HISAResult`, a `~hisatools.simulate.ModelCube` or a
        `~hisatools.performance.Truth`.
    correlated_voxels : float
        Voxels that count as one independent sample, for the uncertainties.

    Returns
    -------
    `~hisatools.PerformanceModel`

    Raises
    ------
    ParameterError
        If there is no pair.
    InputError
        If a pair is not on one grid.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools.datasets import example_model, example_result
    >>> from hisatools.performance import compare_pairs
    >>> performance = compare_pairs([(example_model(), example_result())])
    >>> found = performance.region("throughput", delta_t=(None, -20 * u.K))
    >>> round(float(found.value), 2), found.n_voxels  # share that is found of what is deeper than 20 K
    (0.12, 3717)
    """
    check_number("correlated_voxels", correlated_voxels)
    parts = []
    for number, pair in enumerate(pairs):
        truth, found = _checked_pair(pair, number)
        given, measured = Voxels.of(truth), Voxels.of(found)
        histograms = Histograms.compare(given, measured)
        models = model_row(number, given, measured, getattr(found, "first_pass", None))
        parts.append(PerformanceModel(histograms, correlated_voxels, models=models, meta={"kind": "pairs"}))
    if not parts:
        raise ParameterError("pairs must hold at least one (truth, found), got none")
    return PerformanceModel.merge(parts)


def _checked_pair(pair, number):
    """Both of a pair, if they can be of one grid."""
    try:
        truth, found = pair
    except (TypeError, ValueError):
        raise ParameterError(
            f"pairs[{number}] is no pair but a {type(pair).__name__}; write [(truth, found), ...]"
        ) from None
    for name in ("pixel_scale", "channel_width"):
        ours, theirs = getattr(truth, name), getattr(found, name)
        if not u.isclose(ours, theirs, rtol=MAX_SCALE_DIFFERENCE):
            raise InputError(
                f"pairs[{number}]: {name} is {ours:.6g} in the truth and {theirs:.6g} in what was found; "
                "bring both to one grid"
            )
    return truth, found


@dataclass(frozen=True, eq=False)
class Truth:
    """Known absorption on the grid of a cube, to be compared with a result.

    Parameters
    ----------
    delta_t : `~astropy.units.Quantity`, shape (n_v, n_y, n_x), temperature
        The absorption, negative; 0 or NaN where there is none.
    t_unabsorbed : `~astropy.units.Quantity`, same shape, temperature
        The emission without it.
    pixel_scale : `~astropy.units.Quantity`, angle
    channel_width : `~astropy.units.Quantity`, velocity
    level : `~astropy.units.Quantity`, temperature
        Absorption deeper than this counts; the paper's 0.005 K by default.

    Raises
    ------
    ParameterUnitsError
        If one has no unit or a wrong one.
    ParameterError
        If a scale is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> import astropy.units as u
    >>> from hisatools.performance import Truth, Voxels
    >>> delta_t = np.zeros((4, 8, 8)) * u.K
    >>> delta_t[1:3, 2:6, 2:6] = -20 * u.K
    >>> truth = Truth(delta_t, np.full((4, 8, 8), 90) * u.K, 0.3 * u.arcmin, 0.82 * u.km / u.s)
    >>> int(truth.mask.sum()), len(Voxels.of(truth))
    (32, 32)
    """

    delta_t: u.Quantity
    t_unabsorbed: u.Quantity
    pixel_scale: u.Quantity
    channel_width: u.Quantity
    level: u.Quantity = TRUTH_LEVEL_KELVIN * u.K

    def __post_init__(self):
        for name in ("delta_t", "t_unabsorbed"):
            value = getattr(self, name)
            if not isinstance(value, u.Quantity) or not value.unit.is_equivalent(u.K):
                given = getattr(value, "unit", type(value).__name__)
                raise ParameterUnitsError(
                    f"{name} needs a unit of K, got {given}; write for example {name} * u.K"
                )
        check_quantity("pixel_scale", self.pixel_scale, u.arcmin)
        check_quantity("channel_width", self.channel_width, u.km / u.s)
        check_quantity("level", self.level, u.K, inclusive=True)

    @property
    def mask(self):
        """True where there is absorption."""
        return self.delta_t < -self.level
