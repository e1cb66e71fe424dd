"""Spectra over all cells of a histogram, or over the sight lines of a cube, and their errors."""

import warnings

import astropy.units as u
import numpy as np

from hisatools.errors import HISAWarning, InputError
from hisatools.line_background.levels import level_means


def count_spectrum(values):
    """Counts in each bin over the cells that are known in all bins.

    Parameters
    ----------
    values : `~numpy.ndarray`, shape (n_bins, ...)
        NaN is blank.

    Returns
    -------
    values : `~numpy.ndarray`, same shape
        NaN in cells that are left out.
    spectrum : `~numpy.ndarray`, shape (n_bins,)
    known : `~numpy.ndarray` of bool, shape (n_bins,)
        False for bins that are blank in all cells; they blank no cell.

    Raises
    ------
    InputError
        If counts are negative or infinite, or no cell is left.

    Warns
    -----
    HISAWarning
        If cells are left out.
    """
    cells = values.reshape(len(values), -1)
    if np.isinf(cells).any() or (cells < 0).any():
        raise InputError("counts must be finite and not negative; for brightness give sigma as well")
    known = np.isfinite(cells).any(axis=1)
    whole = np.isfinite(cells[known]).all(axis=0)
    if not known.any() or not whole.any():
        raise InputError("no cell of the histogram is known in all bins; nothing can be summed")
    if not whole.all():
        warnings.warn(
            f"{np.count_nonzero(~whole)} of {whole.size} cells are NaN in some bin and left out of all",
            HISAWarning,
            stacklevel=3,
        )
        values = np.where(whole.reshape(values.shape[1:]), values, np.nan)
    return values, np.nansum(values.reshape(len(values), -1), axis=1, dtype=float), known


def mean_spectrum(values, counted=None):
    """Mean of each channel over the sight lines, K.

    Parameters
    ----------
    values : `~numpy.ndarray`, shape (n_bins, ...)
        NaN is blank.
    counted : `~numpy.ndarray` of bool, shape (n_bins,), optional
        Channels that tell how bright a sight line is that is not known in all channels; by default all. See
        `hisatools.line_background.levels`.

    Returns
    -------
    spectrum : `~numpy.ndarray`, shape (n_bins,)
        NaN where a channel is blank.
    known : `~numpy.ndarray` of bool, shape (n_bins,)
    """
    cells = values.reshape(len(values), -1)
    known = np.isfinite(cells).any(axis=1)
    spectrum = level_means(cells, known if counted is None else counted)
    return spectrum, known


def checked_sigma(sigma, known, unit):
    """The error of each channel as a plain array, in the order in which it was given.

    Raises
    ------
    InputError
        If there is not one for each channel, or one is not above 0.
    """
    plain = np.asarray(sigma.to_value(unit) if isinstance(sigma, u.Quantity) else sigma, float)
    if plain.ndim > 1 or (plain.ndim == 1 and len(plain) != len(known)):
        raise InputError(f"sigma has the shape {plain.shape}; give one value, or one for each channel")
    plain = np.broadcast_to(plain, len(known))
    if not (np.isfinite(plain[known]).all() and (plain[known] > 0).all()):
        raise InputError("sigma must be finite and above 0 in every channel that is not blank")
    return plain


def measured_sigma(kelvin):
    """Error of the mean spectrum of a cube from the third differences of that spectrum, K.

    Raises
    ------
    InputError
        If there are too few channels for it.
    """
    from hisatools.noise import difference_rms

    spectrum, known = mean_spectrum(kelvin)
    sigma = float(difference_rms(spectrum[:, None, None])[0, 0])
    if not sigma > 0:
        raise InputError(
            f"the noise of the mean spectrum cannot be measured on {np.count_nonzero(known)} channels; give "
            "sigma, its 1-sigma error, such as sigma=0.5 * u.K"
        )
    return sigma


def channel_edges(cube):
    """Edges of the channels of a cube: Quantity, shape (n_v + 1,), in file order."""
    velocity, half = cube.velocity, cube.channel_width / 2
    step = half if velocity[-1] >= velocity[0] else -half
    return np.append(velocity - step, velocity[-1] + step)
