"""Dust-to-gas ratio and intercept: a straight line by weighted linear least squares, in closed form."""

from dataclasses import dataclass, replace

import numpy as np

from hisatools.errors import InputError

__all__ = ["LineFitSums", "fit_line", "halfway"]

# Gas that varies by less than this share of its mean, rms, is constant but for rounding.
LEAST_VARIATION = 1e-9


@dataclass(frozen=True)
class LineFitSums:
    """A straight line, ``tracer = ratio * gas + intercept``, in plain numbers.

    Parameters
    ----------
    ratio, intercept : float
        The ratio is NaN where there is no gas map.
    sigma_ratio, sigma_intercept : float
        1-sigma uncertainties from the scatter about the line; 0 for an intercept that is given.
    covariance : float
        Of the two.
    n_pixels : int
        How many were fitted.

    Examples
    --------
    >>> from hisatools.residual_mask.fit import LineFitSums
    >>> line = LineFitSums(0.05, 0.1, 0.001, 0.01, -8e-6, 4000)  # mag per 1e20 cm^-2, and mag
    >>> line.model(8.0)
    0.5
    """

    ratio: float
    intercept: float
    sigma_ratio: float
    sigma_intercept: float
    covariance: float
    n_pixels: int

    def model(self, gas):
        """The tracer that the gas accounts for; a number where there is no gas map."""
        return self.intercept if gas is None else self.ratio * gas + self.intercept


def halfway(before, after):
    """``after`` with ratio and intercept in the middle between both fits.

    Where a few pixels flip back and forth, whole steps would do so for ever.

    Examples
    --------
    >>> from hisatools.residual_mask.fit import LineFitSums, halfway
    >>> before = LineFitSums(0.04, 0.1, 0.001, 0.01, -8e-6, 4000)
    >>> halfway(before, LineFitSums(0.06, 0.1, 0.001, 0.01, -8e-6, 4100)).ratio
    0.05
    """
    return replace(
        after, ratio=(before.ratio + after.ratio) / 2, intercept=(before.intercept + after.intercept) / 2
    )


def fit_line(tracer, gas, weights=None, *, intercept=None, pixels_per_beam=1.0):
    """Fit ratio and intercept.

    Parameters
    ----------
    tracer, gas : `~numpy.ndarray`, shape (n,)
        Finite values; ``gas`` is None for a model that is constant.
    weights : `~numpy.ndarray`, shape (n,), optional
        1 / variance, up to a factor; without them all pixels count alike.
    intercept : float, optional
        Given, and not fitted.
    pixels_per_beam : float
        Pixels that share their noise; the uncertainties grow with its root.

    Returns
    -------
    LineFitSums

    Raises
    ------
    InputError
        If there are too few pixels, or the gas is the same in all of them and no intercept is given.

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools.residual_mask.fit import fit_line
    >>> rng = np.random.default_rng(6200)
    >>> gas = rng.uniform(4, 12, 1000)  # 1e20 cm^-2
    >>> dust = 0.05 * gas + 0.1 + rng.normal(0, 0.03, 1000)  # mag
    >>> line = fit_line(dust, gas)
    >>> print(f"{line.ratio:.4f} +- {line.sigma_ratio:.4f}")
    0.0499 +- 0.0004
    >>> print(f"{line.intercept:.3f} +- {line.sigma_intercept:.3f}")
    0.102 +- 0.003
    """
    n_free = (gas is not None) + (intercept is None)
    if tracer.size <= n_free:
        raise InputError(
            f"{tracer.size} unmasked pixels are too few to fit {n_free} numbers; mask fewer pixels, or give "
            "maps that overlap"
        )
    weights = np.ones_like(tracer) if weights is None else weights
    total = weights.sum()
    mean_gas = 0.0 if gas is None else _sum(weights, gas) / total
    mean_tracer = _sum(weights, tracer) / total
    if gas is None:
        return _level(tracer, weights, mean_tracer, intercept, pixels_per_beam)
    offset = gas - mean_gas
    variation = _sum(weights, offset**2)
    squares = _sum(weights, gas**2)
    if intercept is None:
        if not variation > LEAST_VARIATION**2 * squares:
            raise InputError(
                f"the gas is the same in all {gas.size} unmasked pixels ({gas[0]:.4g}), so that ratio and "
                "intercept cannot be told apart; give a map with structure, or the intercept"
            )
        ratio = _sum(weights, offset * (tracer - mean_tracer)) / variation
        level = mean_tracer - ratio * mean_gas
    else:
        if not squares > 0:
            raise InputError(
                f"there is no gas in any of the {gas.size} unmasked pixels, so that there is no ratio; give "
                "another map"
            )
        ratio, level = _sum(weights, gas * (tracer - intercept)) / squares, intercept
    residual = tracer - ratio * gas - level
    scale = pixels_per_beam * _sum(weights, residual**2) / (tracer.size - n_free)
    if intercept is not None:
        return LineFitSums(ratio, level, np.sqrt(scale / squares), 0.0, 0.0, tracer.size)
    var_ratio = scale / variation
    return LineFitSums(
        ratio=float(ratio),
        intercept=float(level),
        sigma_ratio=float(np.sqrt(var_ratio)),
        sigma_intercept=float(np.sqrt(scale / total + var_ratio * mean_gas**2)),
        covariance=float(-var_ratio * mean_gas),
        n_pixels=tracer.size,
    )


def _sum(weights, values):
    # Not weights @ values: there BLAS starts threads, and the order of its sum hangs on their number.
    return float(np.sum(weights * values))


def _level(tracer, weights, mean_tracer, intercept, pixels_per_beam):
    """A constant model: there is no gas map."""
    level = mean_tracer if intercept is None else intercept
    n_free = intercept is None
    scale = pixels_per_beam * _sum(weights, (tracer - level) ** 2) / (tracer.size - n_free)
    sigma = np.sqrt(scale / weights.sum()) if n_free else 0.0
    return LineFitSums(np.nan, float(level), np.nan, float(sigma), 0.0, tracer.size)
