"""Error of a template that is scaled by a fitted mean spectrum, for emission and noise as Gaussian fields.

T_OFF enters twice, through its own sight line and through the mean spectrum of all. So the error of T_U is
a sum over three things: the voxel itself (structure only), the side channels of its sight line with the
weight ``own`` each, and the mean spectrum with weights along velocity. As each covariance is a product of
a Gaussian in velocity and one on the sky, the sums over pairs of voxels are products of two small sums.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Estimate:
    """T_U in a box, and what it is made of.

    Parameters
    ----------
    kelvin : `~numpy.ndarray`, shape (n_source, n_y, n_x)
        T_U; NaN where nothing can be said.
    own : `~numpy.ndarray`, same shape
        Weight of each side channel of the sight line.
    pull : `~numpy.ndarray`, shape (n_y, n_x)
        Ratio of the sight line to the mean spectrum, by which errors of the latter count.
    known : `~numpy.ndarray`, shape (n_side, n_y, n_x)
        Weight of each side channel under the smoothing Gaussian, which is what is known in it; all side
        channels of a sight line that has any sum to their number.
    side, fitted, source : `~numpy.ndarray` of int
        Channels of the template, of the fit, and of the feature.
    source_weights, side_weights : `~numpy.ndarray`, shape (n_source, n_fitted) and (n_side, n_fitted)
        Derivatives of the fitted spectrum to the mean spectrum.
    mean_covariance : `~numpy.ndarray`, shape (n_fitted, n_fitted)
        K^2; what else the mean spectrum may be off by, for want of sight lines.
    footprint : `~numpy.ndarray` of bool
        Sight lines of the mean spectrum, in a sky that reaches as far as smoothing does.
    inner : tuple of slice
        The rows and columns of that sky that all arrays above are of.
    along : list of `~numpy.ndarray`
        Smoothing weights between pixels along y and along x, of peak 1.
    """

    kelvin: np.ndarray
    own: np.ndarray
    pull: np.ndarray
    known: np.ndarray
    side: np.ndarray
    fitted: np.ndarray
    source: np.ndarray
    source_weights: np.ndarray
    side_weights: np.ndarray
    mean_covariance: np.ndarray
    footprint: np.ndarray
    inner: tuple
    along: list


def error_variance(estimate, errors, noise_kelvin):
    """Variance of T_U about the truth, K^2.

    Parameters
    ----------
    estimate : `Estimate`
    errors : `~hisatools.unabsorbed.uncertainty.ErrorModel`
    noise_kelvin : `~numpy.ndarray`, shape (n_y, n_x)
        Noise of each sight line.

    Returns
    -------
    `~numpy.ndarray`, shape of ``estimate.kelvin``
        NaN where that is.
    """
    total = np.maximum(_noise_variance(estimate, errors.noise_scales, noise_kelvin), 0)
    missed = np.zeros_like(total)
    if estimate.mean_covariance.any():
        missed += _mean_variance(estimate, estimate.mean_covariance)
    for variance, scale_chan, scale_pix in errors.structure:
        missed += variance * _structure_variance(estimate, scale_chan, scale_pix)
    return total + np.maximum(missed, 0)


def _noise_variance(estimate, scales, noise_kelvin):
    scale_chan, scale_pix = scales
    sky = _Sky(estimate, scale_pix)
    # The noise hardly changes within a smoothing Gaussian, so it stays outside of the sums there.
    mean_square = np.mean(noise_kelvin[estimate.footprint[estimate.inner]] ** 2)
    pairs = _Pairs(estimate, scale_chan)
    return (
        noise_kelvin**2 * sky.own_own * pairs.own_own
        + 2 * noise_kelvin * np.sqrt(mean_square) * sky.own_mean * pairs.own_mean
        + mean_square * sky.mean_mean * pairs.mean_mean
    )


def _structure_variance(estimate, scale_chan, scale_pix):
    """The same of emission of variance 1, and against the voxel itself."""
    sky, pairs = _Sky(estimate, scale_pix), _Pairs(estimate, scale_chan)
    kept = sky.own_own * pairs.own_own + 2 * sky.own_mean * pairs.own_mean + sky.mean_mean * pairs.mean_mean
    return 1 - 2 * (sky.voxel_own * pairs.voxel_own + sky.voxel_mean * pairs.voxel_mean) + kept


class _Sky:
    """Correlation on the sky between the voxel, its smoothed sight line and the mean over the footprint."""

    def __init__(self, estimate, scale_pix):
        footprint = estimate.footprint / np.count_nonzero(estimate.footprint)
        along = [_gaussian(np.arange(n), np.arange(n), scale_pix) for n in footprint.shape]
        near = along[0] @ footprint @ along[1]
        smoothing = [rows / rows.sum(axis=1, keepdims=True) for rows in estimate.along]
        once = [np.einsum("ij,ij->i", *pair) for pair in zip(smoothing, along, strict=True)]
        twice = [np.einsum("ij,ij->i", k @ g, k) for k, g in zip(smoothing, along, strict=True)]
        inner = estimate.inner
        self.voxel_own, self.own_own = np.outer(*once)[inner], np.outer(*twice)[inner]
        self.voxel_mean, self.own_mean = near[inner], (smoothing[0] @ near @ smoothing[1].T)[inner]
        self.mean_mean = float(np.sum(footprint * near))


class _Pairs:
    """Sums along velocity over pairs of channels with their weights, shape (n_source, n_y, n_x)."""

    def __init__(self, estimate, scale_chan):
        e = estimate
        own, pull = e.own, e.pull
        side_side = _gaussian(e.side, e.side, scale_chan)
        side_fit = _gaussian(e.side, e.fitted, scale_chan)
        fit_fit = _gaussian(e.fitted, e.fitted, scale_chan)
        drop = _drop(e)
        self.own_own = own**2 * np.sum(_apply(side_side, e.known) * e.known, axis=0)
        first = _apply(e.source_weights @ side_fit.T, e.known)
        second = np.sum(e.known * _apply(side_fit, drop), axis=0)
        self.own_mean = own * pull * (first - own * second)
        self.mean_mean = _mean_variance(e, fit_fit)
        self.voxel_own = own * _apply(_gaussian(e.source, e.side, scale_chan), e.known)
        to_fit = _gaussian(e.source, e.fitted, scale_chan)
        first = np.sum(to_fit * e.source_weights, axis=1)[:, None, None]
        self.voxel_mean = pull * (first - own * _apply(to_fit, drop))


def _drop(estimate):
    """What the side channels take off the weights of the mean: pull * (source_weights - own * this)."""
    return np.tensordot(estimate.side_weights, estimate.known, axes=(0, 0))


def _mean_variance(estimate, covariance):
    """Variance of T_U from a covariance of the mean spectrum's channels, shape (n_source, n_y, n_x)."""
    e, drop = estimate, _drop(estimate)
    first = np.einsum("vi,ij,vj->v", e.source_weights, covariance, e.source_weights)[:, None, None]
    second = _apply(e.source_weights @ covariance, drop)
    third = np.sum(drop * _apply(covariance, drop), axis=0)
    return e.pull**2 * (first - 2 * e.own * second + e.own**2 * third)


def _apply(matrix, maps):
    return np.tensordot(matrix, maps, axes=1)


def _gaussian(one, other, scale):
    """Gaussian of the distance between places along an axis; a scale of 0 is a delta function."""
    offset = np.subtract.outer(one, other)
    return np.exp(-0.5 * (offset / scale) ** 2) if scale > 0 else (offset == 0).astype(float)
