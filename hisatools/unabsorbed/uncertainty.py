"""How far an interpolated T_U is off: noise that the mean keeps, and structure that it misses.

Every linear estimate T_U(x) = sum w_i T_OFF(i), sum w_i = 1, has the error variance

    sum w_i w_j sigma_i sigma_j rho(i - j)  +  C(0) - 2 sum w_i C(x - i) + sum w_i w_j C(i - j)

The first term is noise, correlated over the beam and the line profile. The others are the variance of
kriging (Matheron 1963, Economic Geology 58, 1246): C is the covariance of the emission, here a sum of
Gaussians that is fitted to the variogram of the voxels about the features.
"""

import warnings
from dataclasses import dataclass

import astropy.units as u
import numpy as np
from numba import njit
from scipy.optimize import nnls

from hisatools.errors import HISAWarning, InputError, ParameterError, ParameterUnitsError
from hisatools.noise import NoiseCorrelation, difference_rms
from hisatools.search.spatial import SpatialNoise, SpatialSearcher

# A Gaussian beam of this FWHM makes noise whose correlation is a Gaussian of sigma = FWHM / this.
FWHM_PER_SCALE = 2 * np.sqrt(np.log(2))
N_SAMPLES = 40_000
SEED = 20_050_101
# Of an axis: further apart, too few voxels are far enough from both ends.
LARGEST_LAG = 0.2
LAGS = np.array([0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128])
# Structure narrower than this, in scales of the noise, cannot be told from noise.
LEAST_SCALE = 2.5
SCALE_STEP = 1.6
# Voxels about the features, from which the structure of the emission is learnt.
REACH_ARCMIN = 20.0
REACH_KMS = 8.0
LEAST_ROWS = 8


@dataclass(frozen=True, eq=False)
class ErrorModel:
    """Noise and emission of a cube as fields with Gaussian covariances.

    Parameters
    ----------
    noise : callable
        From places in the flattened cube to the rms of the noise in K.
    noise_scales : tuple of float
        (scale_chan, scale_pix): the noise's correlation is exp(-dv^2 / 2 scale_chan^2 - (dy^2 + dx^2) / 2
        scale_pix^2), in channels and pixels; 0 for white noise along an axis.
    structure : `~numpy.ndarray`, shape (n, 3)
        Variance in K^2, scale in channels and in pixels of each Gaussian that C is the sum of.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools.features import label_features
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> from hisatools.unabsorbed.uncertainty import measure_errors
    >>> model = simulate_cube(ModelParameters(shape=(32, 48, 48), n_pucks=5, n_components=50), seed=35)
    >>> labels, _ = label_features(model.delta_t < -2 * u.K)
    >>> errors = measure_errors(model.cube, labels, noise=6 * u.K)
    >>> [round(float(scale), 1) for scale in errors.noise_scales], errors.structure.shape[1]
    ([0.9, 2.0], 3)
    """

    noise: object
    noise_scales: tuple
    structure: np.ndarray

    def sigma_kelvin(self, index):
        """Rms of the noise at places in the flattened cube; K, finite."""
        return self.noise(index)

    def noise_correlation(self, one, other):
        """Rho between voxels, (n, 3) and (m, 3) coordinates (v, y, x): shape (n, m)."""
        scale_chan, scale_pix = self.noise_scales
        return _gaussian(one, other, scale_chan, scale_pix)

    def covariance(self, one, other):
        """C between voxels, (n, 3) and (m, 3) coordinates (v, y, x): shape (n, m), K^2."""
        total = np.zeros((len(one), len(other)))
        for variance, scale_chan, scale_pix in self.structure:
            total += variance * _gaussian(one, other, scale_chan, scale_pix)
        return total

    def variance(self, weights, sources, targets, sigma_kelvin):
        """Error variance of linear estimates; the formula at the head of this module.

        Parameters
        ----------
        weights : `~numpy.ndarray`, shape (n_t, n_s)
            Of each source in the estimate at each target; each row sums to 1.
        sources, targets : `~numpy.ndarray`, shape (n_s, 3) and (n_t, 3)
            Coordinates (v, y, x) of the voxels.
        sigma_kelvin : `~numpy.ndarray`, shape (n_s,)
            Noise of the sources.

        Returns
        -------
        `~numpy.ndarray`, shape (n_t,)
            In K^2.
        """
        noisy = weights * sigma_kelvin
        kept = np.einsum("ts,ts->t", noisy @ self.noise_correlation(sources, sources), noisy)
        between = self.covariance(sources, sources)
        missed = self.structure[:, 0].sum() - 2 * np.einsum(
            "ts,ts->t", weights, self.covariance(targets, sources)
        )
        missed += np.einsum("ts,ts->t", weights @ between, weights)
        return kept + np.maximum(missed, 0)


def _gaussian(one, other, scale_chan, scale_pix):
    """Gaussian of the distance between voxels; a scale of 0 is a delta function."""
    squared = np.zeros((len(one), len(other)))
    same = np.ones_like(squared, dtype=bool)
    for axis, scale in enumerate((scale_chan, scale_pix, scale_pix)):
        offset = np.subtract.outer(one[:, axis], other[:, axis]).astype(float)
        if scale > 0:
            squared += (offset / scale) ** 2
        else:
            same &= offset == 0
    return np.where(same, np.exp(-0.5 * squared), 0)


def measure_errors(cube, labels, *, noise=None, workers=1):
    """Learn noise and structure from the voxels outside features.

    Parameters
    ----------
    cube : `~hisatools.HISACube`
    labels : `~numpy.ndarray` of int, shape (n_v, n_y, n_x)
        0 outside features; the structure is learnt there, within 20 arcmin and 8 km/s of features.
    noise : optional
        `~hisatools.noise.NoiseResult`, a Quantity (one value, a map or a cube), or
        `~hisatools.search.spatial.SpatialNoise`; measured if not given.
    workers : int

    Returns
    -------
    `ErrorModel`

    Raises
    ------
    InputError
        If a map or cube of noise does not fit the cube.
    ParameterError
        If noise is no temperature, or nowhere positive.

    Examples
    --------
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> model = simulate_cube(ModelParameters(shape=(32, 64, 64), n_pucks=5, n_components=50), seed=101)
    >>> errors = measure_errors(model.cube, model.mask)
    >>> bool(5 < errors.sigma_kelvin([0])[0] < 7)
    True
    """
    measured = noise if isinstance(noise, SpatialNoise) else _measure_noise(cube, workers)
    scales = noise_scales(measured.correlation)
    differences = _differences(cube, labels)
    if differences.size:
        structure = _fit_structure(differences, scales, cube.shape)
    else:
        structure = _least_known(cube, labels, scales)
    return ErrorModel(_noise_at(cube, noise, measured), scales, structure)


def noise_scales(correlation):
    """Scales of the noise's correlation from the FWHM of beam and line profile.

    Examples
    --------
    >>> from hisatools.noise import NoiseCorrelation
    >>> from hisatools.unabsorbed.uncertainty import noise_scales
    >>> [round(float(scale), 2) for scale in noise_scales(NoiseCorrelation(beam_pix=3.33, line_chan=1.6))]
    [0.96, 2.0]
    """
    return correlation.line_chan / FWHM_PER_SCALE, correlation.beam_pix / FWHM_PER_SCALE


def _measure_noise(cube, workers):
    """Noise of each channel map, or of the spectra where the maps are too small for it."""
    measured = SpatialSearcher().measure_noise(cube, workers=workers)
    if np.isfinite(measured.coarse_kelvin).any():
        return measured
    sigma = difference_rms(cube.kelvin)
    sigma = np.median(sigma[np.isfinite(sigma)]) if np.isfinite(sigma).any() else _largest_noise(cube)
    return SpatialNoise(np.full((cube.shape[0], 1, 1), sigma), 1.0, NoiseCorrelation(0.0, 0.0))


def _largest_noise(cube):
    """An upper limit: the scatter of neighbouring channels, or of all there is; with a warning."""
    for values in (
        np.diff(cube.kelvin, axis=0) / np.sqrt(2),
        cube.kelvin - np.nanmean(cube.kelvin),
        cube.kelvin,
    ):
        squares = values[np.isfinite(values)].astype(float) ** 2
        if squares.size and squares.any():
            break
    sigma = np.sqrt(squares.mean())
    warnings.warn(
        f"the noise cannot be measured on so few voxels: {sigma:.3g} K is taken, an upper limit; give noise=",
        HISAWarning,
        stacklevel=5,
    )
    return sigma


def _noise_at(cube, noise, measured):
    """The noise as a function of the place; where it is not known, the median of what is."""
    if noise is None or isinstance(noise, SpatialNoise):
        typical = _median(measured.coarse_kelvin)

        def at(index):
            sigma = measured.at(np.unravel_index(index, cube.shape), cube.shape)
            return np.where(sigma > 0, sigma, typical)

        return at
    sigma = told_noise(cube, noise)
    typical, flat = _median(sigma), sigma.reshape(-1)

    def given_at(index):
        found = flat[np.asarray(index) % flat.size]
        return np.where((found > 0) & np.isfinite(found), found, typical)

    return given_at


def told_noise(cube, noise):
    """Noise that a user gives, as an array on axes of the cube.

    Parameters
    ----------
    cube : `~hisatools.HISACube`
    noise : `~hisatools.noise.NoiseResult` or `~astropy.units.Quantity`
        One value, a map or a cube; K.

    Returns
    -------
    `~numpy.ndarray`, shape (), (n_y, n_x) or (n_v, n_y, n_x), K

    Raises
    ------
    InputError
        If a map or cube does not fit.
    ParameterError
        If it is no temperature, or nowhere positive.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools.datasets import example_model
    >>> from hisatools.unabsorbed.uncertainty import told_noise
    >>> cube = example_model().cube
    >>> float(told_noise(cube, 6000 * u.mK))
    6.0
    >>> told_noise(cube, [6, 6] * u.K)
    Traceback (most recent call last):
        ...
    hisatools.errors.InputError: noise has the shape (2,), which is neither the ...
    """
    if hasattr(noise, "check_axes"):
        noise.check_axes(cube)
        return noise.sigma.to_value(u.K).astype(float)
    if not isinstance(noise, u.Quantity) or not noise.unit.is_equivalent(u.K):
        raise ParameterUnitsError(
            f"noise needs a unit of K, got {getattr(noise, 'unit', repr(noise))}; write for example 3 * u.K, "
            "or give a NoiseResult"
        )
    sigma = np.asarray(noise.to_value(u.K), float)
    if sigma.shape not in ((), cube.shape[1:], cube.shape):
        raise InputError(
            f"noise has the shape {sigma.shape}, which is neither the cube's {cube.shape} nor that of its "
            f"sky {cube.shape[1:]}; give one value, a map or a cube on the same axes"
        )
    if not (sigma > 0).any():
        raise ParameterError(f"noise must be above 0 K somewhere, got {sigma.ravel()[0]:g} K")
    return sigma


def _median(sigma):
    """Median of the positive values; 0 if the noise is not known at all."""
    known = sigma[np.isfinite(sigma) & (sigma > 0)]
    return float(np.median(known)) if known.size else 0.0


def _differences(cube, labels):
    """Mean squared differences of voxels outside features, by their distance.

    Of three voxels in a row, the middle one is compared with the mean of the outer two, and these with
    each other: slopes cancel in the first as they do in an interpolation, and not in the second.

    Returns
    -------
    `~numpy.ndarray`, shape (n, 4)
        Distance of neighbours in channels and pixels, mean square of the middle one's difference, half
        the mean square of that between the outer ones; K^2.
    """
    lags = [LAGS[LARGEST_LAG * size >= LAGS] for size in cube.shape]
    centres = _sample(cube, labels)
    rows = []
    for lag_v in lags[0]:
        for lag in max(lags[1:], key=len):
            steps = {(v, *sky) for v in (lag_v, -lag_v) for sky in ((0, lag), (lag, 0))}
            steps = [step for step in steps if any(step) and _fits(step, lags)]
            sums = sum((_squares(cube.kelvin, labels, centres, *step) for step in steps), np.zeros(3))
            if sums[0] >= LEAST_ROWS:
                rows.append((lag_v, lag, *(sums[1:] / sums[0])))
    return np.array(rows, float).reshape(-1, 4)


def _fits(step, lags):
    return all(abs(along) <= allowed[-1] for along, allowed in zip(step, lags, strict=True))


@njit(cache=True, nogil=True)
def _squares(kelvin, labels, centres, step_v, step_y, step_x):
    """Number of usable rows of three voxels, and the sums of both squares."""
    n_v, n_y, n_x = kelvin.shape
    number, bends, slopes = 0, 0.0, 0.0
    for i in range(len(centres)):
        v, y, x = centres[i]
        v0, y0, x0, v1, y1, x1 = v - step_v, y - step_y, x - step_x, v + step_v, y + step_y, x + step_x
        if min(v0, v1, y0, y1, x0, x1) < 0 or max(v0, v1) >= n_v or max(y0, y1) >= n_y or max(x0, x1) >= n_x:
            continue
        if labels[v, y, x] or labels[v0, y0, x0] or labels[v1, y1, x1]:
            continue
        before, after = kelvin[v0, y0, x0], kelvin[v1, y1, x1]
        bend = kelvin[v, y, x] - 0.5 * (before + after)
        if not np.isnan(bend):
            number += 1
            bends += bend**2
            slopes += 0.5 * (after - before) ** 2
    return np.array([number, bends, slopes])


def _sample(cube, labels):
    """Voxels about the features, or anywhere if there are none; all of a small cube; shape (n, 3)."""
    shape = np.array(cube.shape)
    if cube.kelvin.size <= N_SAMPLES:
        return np.indices(cube.shape).reshape(3, -1).T
    rng = np.random.default_rng(SEED)
    inside = np.flatnonzero(labels)
    if not inside.size:
        return rng.integers(0, shape, (N_SAMPLES, 3))
    centre = np.stack(np.unravel_index(rng.choice(inside, N_SAMPLES), cube.shape), axis=1)
    reach = np.array([REACH_KMS / cube.channel_width.value, *[REACH_ARCMIN / cube.pixel_scale.value] * 2])
    reach = np.ceil(reach).astype(int)
    near = rng.integers(np.maximum(centre - reach, 0), np.minimum(centre + reach + 1, shape))
    # In the order of the array they are found faster.
    return near[np.lexsort(near.T[::-1])]


def _fit_structure(differences, scales, shape):
    """Gaussians that, with the noise, make these differences: least squares with positive variances."""
    lags, values = differences[:, :2], differences[:, 2:]
    if not values.size or not values.min() > 0:
        return np.empty((0, 3))
    trial = [
        (scale_chan, scale_pix)
        for scale_chan in _scale_grid(scales[0], shape[0])
        for scale_pix in _scale_grid(scales[1], max(shape[1:]))
    ]
    columns = [_expected(lags, *pair).ravel() for pair in (scales, *trial)]
    variances, _ = nnls(np.stack(columns, axis=1) / values.reshape(-1, 1), np.ones(values.size))
    kept = np.flatnonzero(variances[1:] > 0)
    return np.array([(variances[1:][i], *trial[i]) for i in kept]).reshape(-1, 3)


def _least_known(cube, labels, scales):
    """Where no voxels are near each other: what is known is how much the emission varies in all."""
    outside = cube.kelvin[(labels == 0) & np.isfinite(cube.kelvin)]
    if outside.size < 2:
        return np.empty((0, 3))
    shortest = (_scale_grid(scale, size)[0] for scale, size in zip(scales, cube.shape[:2], strict=True))
    return np.array([[outside.var(dtype=float), *shortest]])


def _scale_grid(noise_scale, size):
    """Scales of structure along an axis, from the least that is not noise to twice the axis."""
    if size == 1:
        return [1.0]
    first = LEAST_SCALE * max(noise_scale, 1.0)
    n_steps = max(int(np.log(2 * size / first) / np.log(SCALE_STEP)), 0)
    return [first * SCALE_STEP**step for step in range(n_steps + 1)]


def _expected(lags, scale_chan, scale_pix):
    """`_differences` of a field of variance 1 with Gaussian covariance, shape (n, 2)."""
    near, far = (
        _gaussian(np.insert(step * lags, 2, 0, axis=1), np.zeros((1, 3)), scale_chan, scale_pix)[:, 0]
        for step in (1, 2)
    )
    return np.stack([1.5 - 2 * near + 0.5 * far, 1 - far], axis=1)
