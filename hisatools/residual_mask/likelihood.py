"""Likelihood of velocity width, ratio and intercept on a grid, from five sums for each width."""

import warnings
from dataclasses import dataclass

import astropy.units as u
import numpy as np
from numba import njit

from hisatools.errors import HISAWarning, InputError, ParameterError, ParameterUnitsError
from hisatools.parameters import check_number
from hisatools.residual_mask.gas import COLUMN_UNIT, END_TOLERANCE, planes_of
from hisatools.residual_mask.masker import check_map, checked_error, checked_mask
from hisatools.residual_mask.posterior import AXES, WidthLikelihood
from hisatools.residual_mask.width_sums import plan_channels, width_sums
from hisatools.search.base import row_blocks, run_blocks

__all__ = ["width_likelihood"]

# Of ratios and intercepts where they are not given: how many, and how far they reach.
N_AUTOMATIC = 121
REACH_SIGMA = 5.0
# Widths whose best chi^2 lies further above the least do not stretch the automatic axes.
LIKELY_DELTA_CHI2 = 30.0
# Widths, or channels, that a thread takes at a time.
PER_TASK = 8
# An axis resolves its likelihood if this many points are within a factor of 100 of the best.
LEAST_POINTS, UNLIKELY = 3, np.log(100)


@dataclass(frozen=True, eq=False)
class _Sums:
    """Weighted sums over the pixels: plain numbers, and arrays with one entry a width.

    Those with the tracer are of tracer less ``level``, its mean: no digits are lost to a large offset.
    """

    level: float
    one: float
    tracer: float
    tracer2: float
    gas: np.ndarray
    gas2: np.ndarray
    mixed: np.ndarray
    n_pixels: int
    pixels_per_beam: float

    def best(self):
        """Ratio, intercept and chi^2 of the best line of each width."""
        variation = self.gas2 - self.gas**2 / self.one
        ratio = (self.mixed - self.gas * self.tracer / self.one) / variation
        intercept = self.level + (self.tracer - ratio * self.gas) / self.one
        chi2 = self.tracer2 - self.tracer**2 / self.one - ratio**2 * variation
        return ratio, intercept, chi2 / self.pixels_per_beam

    def fixed(self, intercept):
        """As `best`, of lines through a given intercept."""
        above = intercept - self.level
        ratio = (self.mixed - above * self.gas) / self.gas2
        chi2 = self.tracer2 - 2 * above * self.tracer + above**2 * self.one - ratio**2 * self.gas2
        return ratio, np.full_like(ratio, intercept), chi2 / self.pixels_per_beam


def width_likelihood(
    source,
    tracer,
    *,
    centre,
    widths,
    ratios=None,
    intercepts=None,
    error=None,
    mask=None,
    pixels_per_beam=1.0,
    workers=1,
):
    """Likelihood of ``tracer = ratio * N(HI; width) + intercept`` on a grid.

    The deviations are taken for Gaussian and independent, with the stated errors first and then, in a second
    round, with the scatter about the best point: ``sqrt(chi2 / (n - 3))`` times the error. All points of the
    grid are equally likely beforehand. Noise of N(HI) itself is not counted; it makes ratios too low by
    about its share of the variance of N(HI).

    Parameters
    ----------
    source : `~hisatools.HISAResult` or `~hisatools.HISACube`
        What N(HI) is taken from; see `gas_column`.
    tracer : `~astropy.units.Quantity`, shape (n_y, n_x)
        Dust or extinction; NaN is blank.
    centre : `~astropy.units.Quantity`, velocity
        All ranges lie about it.
    widths : `~astropy.units.Quantity`, shape (n_w,), velocity
        Ascending.
    ratios, intercepts : `~astropy.units.Quantity`, shapes (n_r,) and (n_c,), optional
        Ascending; a single intercept is a given one. Without them 121 values each, which reach 5 sigma
        beyond the best lines of all likely widths.
    error : `~astropy.units.Quantity`, shape (n_y, n_x) or scalar, unit of the tracer, optional
        Standard deviation of the tracer, above 0. Only its variation matters, its level is measured.
    mask : `~numpy.ndarray` of bool, shape (n_y, n_x), optional
        True in pixels that are left out, such as the mask of `ResidualMasker`.
    pixels_per_beam : float
        Pixels that share their noise; chi^2 is divided by it.
    workers : int
        Threads; they change no bit of the result.

    Returns
    -------
    WidthLikelihood

    Raises
    ------
    ParameterError
        If an axis is not ascending or has no unit that fits.
    InputError
        If the widest range leaves the band, shapes differ, or too few pixels are left.

    Warns
    -----
    HISAWarning
        If the most likely point lies at the end of an axis, or the widths are too coarse.

    Examples
    --------
    >>> import astropy.units as u, numpy as np
    >>> from hisatools.residual_mask import width_likelihood
    >>> from hisatools.residual_mask.simulated import DustModelParameters, simulate_dust
    >>> small = DustModelParameters(shape=(32, 32), extra_share=0)
    >>> model = simulate_dust(small, seed=6200, velocity_width=18 * u.km / u.s, n_channels=40)
    >>> widths = np.arange(10, 30.2, 0.25) * u.km / u.s
    >>> found = width_likelihood(model.cube, model.tracer, centre=0 * u.km / u.s, widths=widths)
    >>> low, high = found.interval("width", 0.95)
    >>> bool(low < 18 * u.km / u.s < high)
    True
    """
    workers = check_number("workers", workers, integer=True)
    pixels_per_beam = check_number("pixels_per_beam", pixels_per_beam, above=1, inclusive=True)
    kms = u.km / u.s
    check_map("tracer", tracer)
    width_kms = checked_widths(widths)
    centre_kms = checked_centre(centre)
    sums = _all_sums(source, tracer, centre_kms, width_kms, error, mask, pixels_per_beam, workers)
    axes = _axes(sums, width_kms, ratios, intercepts, tracer.unit)
    logarithm, scale, profiles = _grid(sums, axes, workers)
    result = WidthLikelihood(
        widths=axes[0] << kms,
        ratios=axes[1] << tracer.unit / COLUMN_UNIT,
        intercepts=axes[2] << tracer.unit,
        log_likelihood=logarithm,
        error=scale * tracer.unit,
        n_pixels=sums.n_pixels,
        centre=centre_kms * kms,
        meta={"pixels_per_beam": pixels_per_beam},
    )
    _remark(axes, profiles)
    return result


def _all_sums(source, tracer, centre, widths, error, mask, pixels_per_beam, workers):
    """What the grid needs of cube and tracer; a pixel of median error has the weight 1."""
    planes, velocity, channel_width = planes_of(source)
    low, high = velocity.min() - channel_width / 2, velocity.max() + channel_width / 2
    slack = END_TOLERANCE * channel_width
    if centre - widths[-1] / 2 < low - slack or centre + widths[-1] / 2 > high + slack:
        raise InputError(
            f"the widest range, {centre - widths[-1] / 2:g} to {centre + widths[-1] / 2:g} km/s, leaves "
            "the band of "
            f"{low:g} to {high:g} km/s; take narrower widths or another centre"
        )
    plan = plan_channels(velocity, channel_width, centre, widths)
    kelvin = _kelvin(source, planes, velocity.size, workers)
    if kelvin.shape[1:] != tracer.shape:
        raise InputError(
            f"tracer has the shape {tracer.shape}, the maps of the cube {kelvin.shape[1:]}; reproject the "
            "tracer, "
            "for example with the reproject package"
        )
    values = tracer.value.astype(float)
    used = np.isfinite(values)
    if mask is not None:
        used &= ~checked_mask(mask, tracer.shape)
    sigma = None
    if error is not None:
        sigma = checked_error(error, tracer.unit, tracer.shape, used=used)
        used &= np.isfinite(sigma)
    channels = plan.channels

    def finite(part):
        return np.logical_and.reduce([np.isfinite(kelvin[channel]) for channel in channels[part]])

    for known in run_blocks(finite, row_blocks(channels.size, PER_TASK), workers=workers):
        used &= known
    n = int(used.sum())
    if n <= len(AXES):
        raise InputError(
            f"{n} pixels are left that are neither blank nor masked; more than {len(AXES)} are needed for "
            f"{len(AXES)} numbers"
        )
    weights = np.ones(n) if sigma is None else (np.median(sigma[used]) / sigma[used]) ** 2
    level = float(values[used].mean())
    index, chosen = np.flatnonzero(used), values[used] - level
    columns = width_sums(kelvin, channel_width, plan, index, chosen, weights, workers=workers)
    sums = _Sums(
        level=level,
        one=float(weights.sum()),
        tracer=float((weights * chosen).sum()),
        tracer2=float((weights * chosen**2).sum()),
        gas=columns[:, 0],
        gas2=columns[:, 1],
        mixed=columns[:, 2],
        n_pixels=n,
        pixels_per_beam=pixels_per_beam,
    )
    if not np.all(sums.gas2 - sums.gas**2 / sums.one > 1e-12 * sums.gas2):
        raise InputError(
            "N(HI) is the same in all pixels, so that ratio and intercept cannot be told apart; give a "
            "cube with "
            "structure on the sky"
        )
    return sums


def _kelvin(source, planes, n_channels, workers):
    """All channels as one array; that of a cube itself is used as it is."""
    if hasattr(source, "kelvin"):
        return source.kelvin
    return np.stack(run_blocks(planes, range(n_channels), workers=workers))


def _axes(sums, widths, ratios, intercepts, unit):
    """Plain numbers along the three axes; those not given follow from the best line of each width."""
    given = None if intercepts is None else _axis("intercepts", intercepts, unit)
    is_fixed = given is not None and given.size == 1
    ratio, intercept, chi2 = sums.fixed(given[0]) if is_fixed else sums.best()
    _check_scatter(chi2.min(), sums)
    error2 = chi2.min() / max(sums.n_pixels / sums.pixels_per_beam - len(AXES), 1)
    likely = chi2 < chi2.min() + LIKELY_DELTA_CHI2 * error2
    information = sums.gas2 if is_fixed else sums.gas2 - sums.gas**2 / sums.one
    spread = np.sqrt(error2 * sums.pixels_per_beam / information)
    level = spread * np.sqrt(sums.gas2 / sums.one)
    along_ratio = (
        _reach(ratio, spread, likely) if ratios is None else _axis("ratios", ratios, unit / COLUMN_UNIT)
    )
    along_intercept = _reach(intercept, level, likely) if given is None else given
    return widths, along_ratio, along_intercept


def _reach(best, spread, likely):
    low = np.min((best - REACH_SIGMA * spread)[likely])
    high = np.max((best + REACH_SIGMA * spread)[likely])
    return np.linspace(low, high, N_AUTOMATIC)


def _grid(sums, axes, workers):
    """Logarithm of the likelihood, its highest value 0; the scatter; and its maxima along each axis."""
    widths, ratios, intercepts = axes
    best_ratio, best_intercept, best_chi2 = sums.best()
    chi2 = np.empty((widths.size, ratios.size, intercepts.size))

    def fill(part):
        for width in range(part.start, part.stop):
            _chi2_of_width(
                ratios - best_ratio[width],
                intercepts - best_intercept[width],
                sums.gas2[width] / sums.pixels_per_beam,
                sums.gas[width] / sums.pixels_per_beam,
                sums.one / sums.pixels_per_beam,
                best_chi2[width],
                chi2[width],
            )
        return chi2[part].min()

    parts = row_blocks(widths.size, PER_TASK)
    # The first round, with the errors as given, serves to find the best point and the scatter about it.
    least = min(run_blocks(fill, parts, workers=workers))
    n_samples = sums.n_pixels / sums.pixels_per_beam
    variance = least / (n_samples - len(AXES))

    def scale(part):
        planes = chi2[part]
        planes -= least
        planes /= -2 * variance
        return planes.max(axis=2), planes.max(axis=1)

    of_ratio, of_intercept = zip(*run_blocks(scale, parts, workers=workers), strict=True)
    of_ratio, of_intercept = np.concatenate(of_ratio), np.concatenate(of_intercept)
    profiles = of_ratio.max(axis=1), of_ratio.max(axis=0), of_intercept.max(axis=0)
    return chi2, float(np.sqrt(variance)), profiles


def _check_scatter(least, sums):
    """Refuse what no error can be measured of."""
    if not least > 0 or sums.n_pixels / sums.pixels_per_beam <= len(AXES):
        raise InputError(
            "the tracer follows the gas without any scatter, or the pixels are too few, so that no error can "
            "be measured; give measured maps"
        )


@njit(cache=True, nogil=True)
def _chi2_of_width(ratio, intercept, gas2, gas, one, least, chi2):
    """A parabola about the best line: no digits are lost to differences of large sums."""
    for row in range(ratio.size):
        here = least + ratio[row] * ratio[row] * gas2
        slope = 2 * ratio[row] * gas
        for column in range(intercept.size):
            chi2[row, column] = here + intercept[column] * (slope + intercept[column] * one)


def checked_centre(centre):
    """One velocity as a plain number in km/s."""
    centre_kms = _axis("centre", centre, u.km / u.s)
    if centre_kms.size != 1:
        raise ParameterError(f"centre must be one velocity, got {centre}")
    return float(centre_kms[0])


def checked_widths(widths):
    """Ascending widths above 0 as plain numbers in km/s."""
    width_kms = _axis("widths", widths, u.km / u.s)
    if width_kms[0] <= 0:
        raise ParameterError(f"widths must be above 0, got {width_kms[0]:g} km/s")
    return width_kms


def _axis(name, values, unit):
    """Plain numbers of an axis; refuses what has no unit, is empty, not finite or not ascending."""
    if not isinstance(values, u.Quantity) or not values.unit.is_equivalent(unit):
        raise ParameterUnitsError(
            f"{name} needs a unit of {unit}, got {getattr(values, 'unit', 'none')}; write for example "
            f"{name} * u.Unit('{unit}')"
        )
    numbers = np.atleast_1d(values.to_value(unit)).astype(float)
    if (
        numbers.ndim != 1
        or not numbers.size
        or not np.all(np.isfinite(numbers))
        or np.any(np.diff(numbers) <= 0)
    ):
        raise ParameterError(f"{name} must be finite and ascending, got {values}")
    return numbers


def _remark(axes, profiles):
    """Warn where the grid, and not the data, decides."""
    for name, values, height in zip(AXES, axes, profiles, strict=True):
        if values.size < 2:
            continue
        top = int(np.argmax(height))
        if top in (0, values.size - 1):
            warnings.warn(
                f"the most likely {name}, {values[top]:.4g}, is the last one of its axis; extend the axis",
                HISAWarning,
                stacklevel=3,
            )
        elif np.count_nonzero(height > height[top] - UNLIKELY) < LEAST_POINTS:
            warnings.warn(
                f"the steps of the {name} are wider than its likelihood: intervals are those of the steps; "
                f"take finer ones about {values[top]:.4g}",
                HISAWarning,
                stacklevel=3,
            )
