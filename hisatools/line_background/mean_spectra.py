"""Fits of the mean spectrum beside a feature, with the weight that each channel has in them."""

from dataclasses import dataclass

import astropy.units as u
import numpy as np

from hisatools.errors import InputError


@dataclass(frozen=True, eq=False)
class FittedSpectrum:
    """A fitted mean spectrum: at the source and at the fitted channels, and how it hangs on the means.

    Each ``weights`` holds the derivatives to the means of the fitted channels, shape (.., n_fit).
    """

    source_kelvin: np.ndarray
    fit_kelvin: np.ndarray
    source_weights: np.ndarray
    fit_weights: np.ndarray


def fit_polynomial(order, mean, count, fitted, source):
    """Weighted least squares in closed form, about the middle of the source range."""
    some = count > 0
    is_below = fitted < source[0]
    one_sided = not (np.any(some & is_below) and np.any(some & ~is_below))
    order = 0 if one_sided else min(order, np.count_nonzero(some) - 1)
    middle = 0.5 * (source[0] + source[-1])
    reach = max(np.abs(fitted - middle).max(), 1)
    at_fitted, at_source = (np.vander((c - middle) / reach, order + 1) for c in (fitted, source))
    root = np.sqrt(count)
    solve = np.linalg.pinv(at_fitted * root[:, None]) * root
    source_weights, fit_weights = at_source @ solve, at_fitted @ solve
    return FittedSpectrum(source_weights @ mean, fit_weights @ mean, source_weights, fit_weights)


def fit_model(model, mean, count, velocity_fitted, velocity_source, width):
    """The same with an astropy model and iminuit; None where the fit does not converge.

    ``width`` is that of a channel; velocities are in km/s.
    """
    from hisatools.line_background.curves import as_curve
    from hisatools.line_background.fit import fit_spectrum

    some = count > 0
    bins = [(v - width / 2, v + width / 2) for v in (velocity_fitted[some], velocity_source, velocity_fitted)]
    error = 1 / np.sqrt(count[some])
    units = {"x_unit": u.km / u.s, "y_unit": u.K}
    curve = as_curve(model, **units)
    try:
        fit = fit_spectrum(curve, *bins[0], mean[some], error, quiet=True, **units)
    except InputError:
        return None
    if not fit.is_valid:
        return None
    at_fitted, *others = (fit.derivatives(*ends) / width for ends in bins)
    weights = []
    for slope in others:
        full = np.zeros((slope.shape[1], len(count)))
        full[:, some] = slope.T @ fit.covariance @ (at_fitted / error**2)
        weights.append(full)
    levels = [fit.expected(*ends) / width for ends in bins[1:]]
    return FittedSpectrum(*levels, *weights)
