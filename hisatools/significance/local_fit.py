"""The likelihood about one peak, for widths and places between those of the bank.

In a box about the peak the noise's covariance is that of three axes multiplied with each other, and the
eigenvectors of each make it diagonal. Weights, response and variance are those of
`hisatools.significance.filters`, without cutting the filters off.
"""

from dataclasses import dataclass

import numpy as np
from astropy.stats import gaussian_fwhm_to_sigma
from scipy.ndimage import map_coordinates
from scipy.optimize import minimize

from hisatools.noise.correlation import correlation_at
from hisatools.significance.filters import LEAST_BEAM_PIX, LEAST_WIDTH_PIX, REACH_BEAMS
from hisatools.simulate import blurred_disc, channel_average

# How far the place may move from the voxel, along each axis.
MAX_SHIFT = 1.5
# Steps of derivatives, in voxels and in logarithms of widths.
STEP = 0.02
N_RADII = 96
# Width and linewidth are those of the bank unless TS gains more: Akaike's criterion for two parameters.
FREE_WIDTHS = 4.0


@dataclass(frozen=True)
class LocalFit:
    """The template that fits best about a peak.

    Parameters
    ----------
    place : `~numpy.ndarray`, shape (3,)
        (v, y, x) of its centre.
    width_pix, linewidth_chan : float
    amplitude, sigma : float
        Its depth over the rms of the noise, and the 1-sigma uncertainty of that at the same place with
        the same widths.
    total_sigma : float
        The uncertainty with that of place and widths; NaN if it cannot be worked out.
    errors : `~numpy.ndarray`, shape (5,)
        1-sigma uncertainties of v, y, x (voxels) and of the logarithms of width and linewidth; NaN for
        what was not free, or ended at its limit.
    """

    place: np.ndarray
    width_pix: float
    linewidth_chan: float
    amplitude: float
    sigma: float
    total_sigma: float
    errors: np.ndarray


class LocalLikelihood:
    """A box about a voxel, and how templates fit there.

    Parameters
    ----------
    standardised : `~numpy.ndarray`, shape (n_v, n_y, n_x)
        Depth over the rms of the noise; 0 where blank.
    usable : `~numpy.ndarray` of bool, same shape
    voxel : tuple of int
    beam_pix : float
        FWHM of the beam that discs are seen with.
    correlation : `~hisatools.noise.NoiseCorrelation`
    floor : float
        As `ScanParameters.noise_floor`.
    max_width_pix, max_linewidth_chan : float
        The largest that will be asked for.
    """

    def __init__(
        self, standardised, usable, voxel, beam_pix, correlation, floor, max_width_pix, max_linewidth_chan
    ):
        on_sky = max_width_pix / 2 + REACH_BEAMS * max(beam_pix, correlation.beam_pix, 1.0) + MAX_SHIFT
        in_velocity = 1.5 * max_linewidth_chan + 3 * max(correlation.line_chan, 1.0) + MAX_SHIFT
        reach = np.ceil([in_velocity, on_sky, on_sky]).astype(int)
        box = tuple(
            slice(max(at - far, 0), min(at + far + 1, n))
            for at, far, n in zip(voxel, reach, usable.shape, strict=True)
        )
        self.start = np.array([part.start for part in box])
        self.voxel, self.beam_pix = np.asarray(voxel), max(beam_pix, LEAST_BEAM_PIX)
        self.data, self.usable = standardised[box].astype(float), usable[box]
        self.whole = bool(self.usable.all())
        n_v, n_y, n_x = self.data.shape
        self.vectors, values = zip(
            _eigen(n_v, correlation.line_chan),
            _eigen(n_y, correlation.beam_pix),
            _eigen(n_x, correlation.beam_pix),
            strict=True,
        )
        in_velocity, on_sky = values[0], np.outer(values[1], values[2])
        self.power = in_velocity, on_sky
        self.believed = tuple(power + floor * power.max() for power in self.power)
        data = np.where(self.usable, self.data, 0)
        diagonal = _turned(data, self.vectors) / self.believed[0][:, None, None] / self.believed[1]
        self.diagonal = diagonal.reshape(n_v, -1)

    def fit_of(self, parameters):
        """Depth, its uncertainty, and twice the logarithm of the likelihood ratio.

        Parameters
        ----------
        parameters : sequence of float
            (v, y, x) from the voxel, and logarithms of width and linewidth.

        Returns
        -------
        amplitude, sigma, ts : float
            TS is that in noise of the power that the weights believe in, so that in a cube without noise
            it is largest for the true template.
        """
        line, disc = self._template(parameters)
        turned = self.vectors[0].T @ line, self.vectors[1].T @ disc @ self.vectors[2]
        total = np.sum((turned[0] @ self.diagonal).reshape(disc.shape) * turned[1])
        weights = [part / power for part, power in zip(turned, self.believed, strict=True)]
        variance = response = 1.0
        for weight, part, power in zip(weights, turned, self.power, strict=True):
            variance *= np.sum(weight**2 * power)
            response *= np.sum(weight * part)
        if not self.whole:
            response, variance = self._without_blanks(weights, line, disc, variance)
        if not (response > 0 and variance > 0):
            return 0.0, np.inf, 0.0
        return total / response, np.sqrt(variance) / response, max(total, 0) ** 2 / response

    def _template(self, parameters):
        v, y, x, log_width, log_linewidth = parameters
        centre = self.voxel - self.start + (v, y, x)
        n_v, n_y, n_x = self.data.shape
        sigma_chan = np.exp(log_linewidth) * gaussian_fwhm_to_sigma
        line = channel_average(np.arange(n_v) - centre[0], sigma_chan)
        radius = np.hypot((np.arange(n_y) - centre[1])[:, None], np.arange(n_x) - centre[2])
        # A spline along the radius: the disc itself takes ten times as long.
        step = radius.max() / (N_RADII - 1) or 1.0
        half = max(np.exp(log_width), LEAST_WIDTH_PIX) / 2
        profile = blurred_disc(step * np.arange(N_RADII), half, self.beam_pix * gaussian_fwhm_to_sigma)
        return line, map_coordinates(profile, [radius / step], order=3, mode="mirror")

    def _without_blanks(self, weights, line, disc, variance):
        """Response of what is not blank; of the variance the share of the squared weights."""
        on_line = self.vectors[0] @ weights[0]
        on_sky = self.vectors[1] @ weights[1] @ self.vectors[2].T
        response = np.einsum("v,vyx,yx->", on_line * line, self.usable, on_sky * disc, optimize=True)
        kept = np.einsum("v,vyx,yx->", on_line**2, self.usable, on_sky**2, optimize=True)
        return response, variance * kept / (np.sum(on_line**2) * np.sum(on_sky**2))

    def best(self, width_limits_pix, linewidth_limits_chan, start):
        """The template that fits best.

        Parameters
        ----------
        width_limits_pix, linewidth_limits_chan : tuple of float
            Smallest and largest; two equal ones leave no choice.
        start : tuple of float
            Width and linewidth to begin with.

        Returns
        -------
        `LocalFit`
        """
        limits = [(-MAX_SHIFT, MAX_SHIFT) if n > 1 else (0, 0) for n in self.usable.shape]
        start = tuple(np.log(start))
        own = [(one, one) for one in start]
        between = [tuple(np.log(pair)) for pair in (width_limits_pix, linewidth_limits_chan)]
        found, ts = self._maximum((0, 0, 0, *start), limits + own)
        freer, freer_ts = self._maximum(found, limits + between)
        if freer_ts - ts > FREE_WIDTHS:
            found, own = freer, between
        amplitude, sigma, _ = self.fit_of(found)
        errors, total = self._errors(found, limits + own, sigma)
        return LocalFit(
            self.voxel + found[:3], *np.exp(found[3:]), float(amplitude), float(sigma), total, errors
        )

    def _cost(self, parameters):
        return -self.fit_of(parameters)[2] / 2

    def _depth_and_cost(self, parameters):
        amplitude, _, ts = self.fit_of(parameters)
        return amplitude, -ts / 2

    def _maximum(self, start, limits):
        """Where TS is largest within limits, and how large."""
        options = {"eps": 1e-4, "maxiter": 40, "ftol": 1e-7}
        found = minimize(self._cost, start, method="L-BFGS-B", bounds=limits, options=options)
        return found.x, -2 * found.fun

    def _errors(self, found, limits, sigma):
        """Of what was free and lies within its limits, by second differences of the likelihood."""
        errors = np.full(5, np.nan)
        low, high = np.transpose(limits)
        free = np.flatnonzero((found - low > STEP) & (high - found > STEP))
        steps = STEP * np.eye(5)[free]
        values = {+1: [self._depth_and_cost(found + one) for one in steps]}
        values[-1] = [self._depth_and_cost(found - one) for one in steps]
        middle = self._cost(found)
        curvature = np.empty((len(free), len(free)))
        for i, one in enumerate(steps):
            curvature[i, i] = values[1][i][1] + values[-1][i][1] - 2 * middle
            for k, other in enumerate(steps[:i]):
                mixed = self._cost(found + one + other) + self._cost(found - one - other)
                mixed -= self._cost(found + one - other) + self._cost(found - one + other)
                curvature[i, k] = curvature[k, i] = mixed / 4
        curvature /= STEP**2
        slope = np.array([after[0] - before[0] for after, before in zip(values[1], values[-1], strict=True)])
        slope /= 2 * STEP
        if len(free) and np.linalg.eigvalsh(curvature).min() <= 0:
            return errors, np.nan
        covariance = np.linalg.inv(curvature)
        errors[free] = np.sqrt(np.diag(covariance))
        return errors, float(np.sqrt(sigma**2 + slope @ covariance @ slope))


def _eigen(n, correlation_fwhm):
    """Eigenvectors and eigenvalues of the noise's correlation along an axis."""
    places = np.arange(n)
    values, vectors = np.linalg.eigh(correlation_at(np.subtract.outer(places, places), correlation_fwhm))
    return vectors, np.maximum(values, 0)


def _turned(data, vectors):
    """Data in the basis of the eigenvectors of the three axes."""
    for axis, turn in enumerate(vectors):
        data = np.moveaxis(np.tensordot(turn.T, data, axes=(1, axis)), 0, axis)
    return data
