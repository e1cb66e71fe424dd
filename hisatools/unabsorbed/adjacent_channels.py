"""T_U from the channels beside a feature: the sky from there, the level from a fitted mean spectrum.

The line-background scheme of gamma-ray astronomy (Yoneda & Mittal, cosipy tutorial "Line background
estimation using adjacent energy bins") with velocity for energy: the template is the mean of the side
channels in each sight line, and it is scaled into the channels of the feature by a model of the mean
spectrum of the feature's sight lines, fitted with the feature's channels left out.
"""

import warnings
from dataclasses import dataclass, replace
from functools import cached_property

import astropy.units as u
import numpy as np
from scipy import ndimage

from hisatools.errors import HISAWarning, ParameterError
from hisatools.line_background.levels import level_spectrum
from hisatools.line_background.mean_spectra import fit_model, fit_polynomial
from hisatools.line_background.propagation import Estimate, error_variance
from hisatools.line_background.template import LEAST_WEIGHT, gaussian_weights
from hisatools.parameters import _number, _Parameters, _quantity
from hisatools.search.base import run_blocks
from hisatools.unabsorbed.protocols import VoxelEstimate

# A channel counts for the mean spectrum if this share of the best channel's sight lines is known in it.
LEAST_SHARE = 0.5
# Most by which the spectrum may rise or fall from the side channels to the feature and still scale the
# template; beyond, as about 0 K, the difference is added.
MOST_SCALING = 4.0
# Beyond this the smoothing Gaussian is left out.
REACH_FWHM = 2.0


@dataclass(frozen=True, kw_only=True)
class AdjacentChannelsParameters(_Parameters):
    """The "adjacent-channels" estimate of T_U.

    Parameters
    ----------
    gap : Quantity, velocity
        Between the feature and the side channels: absorption below the level of the mask is there.
    side_width : Quantity, velocity
        Of the side channels that make the template, on each side; at least a channel.
    fit_width : Quantity, velocity
        Of the channels on each side that the mean spectrum is fitted in; at least ``side_width``.
    order : int
        Of the polynomial that is fitted; less where there are too few channels, and 0 where they all
        lie on one side.
    smoothing_fwhm : Quantity, angle
        FWHM of the Gaussian that smooths the template; 0 leaves it as it is.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools import UnabsorbedEstimator
    >>> estimator = UnabsorbedEstimator("adjacent-channels", side_width=3 * u.km / u.s, order=2)
    >>> estimator.parameters.side_width, estimator.parameters.fit_width
    (<Quantity 3. km / s>, <Quantity 8. km / s>)
    """

    _section = "adjacent-channels"

    gap: u.Quantity = _quantity(0.0 * u.km / u.s, inclusive=True)
    side_width: u.Quantity = _quantity(2.5 * u.km / u.s)
    fit_width: u.Quantity = _quantity(8.0 * u.km / u.s)
    order: int = _number(3, inclusive=True, at_most=6, integer=True)
    smoothing_fwhm: u.Quantity = _quantity(3.0 * u.arcmin, inclusive=True)

    def __post_init__(self):
        super().__post_init__()
        if self.side_width > self.fit_width:
            raise ParameterError(
                f"side_width ({self.side_width}) must not exceed fit_width ({self.fit_width})"
            )


class AdjacentChannelsStrategy:
    """T_U from the channels beside each feature.

    In a sight line s and a channel v of a feature,

        T_U(v, s) = f(v) * sum T_OFF(i, s) / sum f(i)

    with sums over the side channels i of the sight line, and f the spectrum that is fitted to the mean over
    the sight lines of the feature. Both sums are smoothed on the sky with the same Gaussian. The channels of
    the feature are left out in all its sight lines; of the side channels, finite voxels in no feature
    are used.

    Parameters
    ----------
    parameters : `AdjacentChannelsParameters`, optional
    model : `~astropy.modeling.Model`, optional
        Of the mean spectrum in K against velocity in km/s, instead of the polynomial, with start values,
        bounds, fixed and tied parameters. It is fitted with iminuit (extra ``fit``) for each feature.

    Notes
    -----
    As in gamma rays, what changes from the side channels to the feature in one sight line alone is not
    seen: emission lines are a few channels wide, so this estimate is good for narrow features and
    poor for broad ones, and its uncertainty says so. Features whose channels leave no side
    channel in the cube keep T_U = T_ON.

    The uncertainty follows the estimate to first order in T_OFF, through template and fit, with noise
    and structure of the emission as Gaussian fields. Where a channel of the fit is not known in some sight
    lines, its mean is over all of them all the same, by levels that are fitted to the channels that each
    is known in; what these may miss is added to the uncertainty. About 0 K, where the spectrum cannot
    scale anything, and where it would scale by more than 4, the difference of the spectrum is added instead.

    Examples
    --------
    >>> from hisatools import UnabsorbedEstimator
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> model = simulate_cube(ModelParameters(shape=(48, 32, 32), n_pucks=3, n_components=50), seed=101)
    >>> estimate = UnabsorbedEstimator("adjacent-channels").estimate(model.cube, model.mask)
    >>> bool((estimate.delta_t.value[~model.mask] == 0).all())
    True
    """

    Parameters = AdjacentChannelsParameters
    citation = "Yoneda & Mittal, cosipy: line background estimation using adjacent energy bins"

    def __init__(self, parameters=None, *, model=None):
        self.parameters = AdjacentChannelsParameters() if parameters is None else parameters
        self.model = model

    def _check_model(self):
        from astropy.modeling import Model

        if self.model is None:
            return
        if not isinstance(self.model, Model):
            raise ParameterError(
                f"model must be an astropy model, such as Polynomial1D(3, c0=80), got {self.model!r}"
            )
        if (self.model.n_inputs, self.model.n_outputs) != (1, 1):
            raise ParameterError("model must have one input, the velocity, and one output")

    def estimate(self, cube, labels, features, index, *, errors=None, workers=1, progress=False):
        """T_U at some voxels; see `hisatools.unabsorbed.protocols.UnabsorbedStrategy`."""
        self._check_model()
        kelvin = cube.kelvin.reshape(-1)[index]
        sigma = None if errors is None else np.full(index.size, np.inf, np.float32)
        scales = _Scales.of(self.parameters, cube)
        boxes = ndimage.find_objects(labels)
        velocity = cube.velocity.to_value(u.km / u.s)
        width = cube.channel_width.to_value(u.km / u.s)
        groups = _by_feature(labels, features, index)

        def estimate_feature(i):
            places = groups[i]
            box = boxes[features[i] - 1]
            part = _Part.cut(cube, labels, features[i], box, scales)
            if part is None:
                return 0, True
            spectrum, converged = part.fit(self.parameters.order, self.model, velocity, width)
            v, y, x = np.unravel_index(index[places], cube.shape)
            wanted = v - box[0].start, y - box[1].start, x - box[2].start
            found = part.scale(spectrum)
            values = found.kelvin[wanted]
            known = np.isfinite(values)
            kelvin[places[known]] = values[known]
            if errors is not None:
                noise_kelvin = part.noise(errors, cube.shape)
                variance = error_variance(found, errors, noise_kelvin)[wanted]
                sigma[places[known]] = np.sqrt(variance[known])
            return part.n_off, converged

        results = run_blocks(
            estimate_feature,
            range(len(features)),
            workers=workers,
            progress=progress,
            description="unabsorbed emission",
        )
        _warn_of_fits([converged for _, converged in results])
        return VoxelEstimate(kelvin, np.array([n for n, _ in results], np.int64), sigma)


@dataclass(frozen=True)
class _Scales:
    """Parameters in channels and pixels."""

    gap_chan: int
    side_chan: int
    fit_chan: int
    fwhm_pix: float

    @classmethod
    def of(cls, parameters, cube):
        gap, side, fit = (
            int(np.floor((width / cube.channel_width).to_value("") + 0.5))
            for width in (parameters.gap, parameters.side_width, parameters.fit_width)
        )
        fwhm = float((parameters.smoothing_fwhm / cube.pixel_scale).to_value(""))
        return cls(gap, max(side, 1), max(fit, side, 1), fwhm if fwhm >= 1 else 0.0)

    def channels(self, source, n_channels):
        """Channels of the fit about a source range, and which of them make the template."""
        below = source.start - self.gap_chan - 1 - np.arange(self.fit_chan)[::-1]
        above = source.stop + self.gap_chan + np.arange(self.fit_chan)
        near = np.arange(self.fit_chan) < self.side_chan
        channels, is_side = np.concatenate([below, above]), np.concatenate([near[::-1], near])
        inside = (channels >= 0) & (channels < n_channels)
        return channels[inside], is_side[inside]


@dataclass(frozen=True, eq=False)
class _Part:
    """T_OFF about one feature: the channels of the fit, the sky of the feature and what smoothing reaches.

    Parameters
    ----------
    source : slice
        Channels of the feature.
    channels : array of int, shape (n_fit,)
    is_side : array of bool, shape (n_fit,)
    t_off : array, shape (n_fit, n_y, n_x)
        K; NaN where it may not be used.
    footprint : array of bool, shape (n_y, n_x)
        Sight lines of the feature.
    sky : tuple of slice
        Rows and columns of the cube.
    inner : tuple of slice
        Those of them that hold the feature, counted from the first.
    count : array of int, shape (n_fit,)
        Sight lines of the feature that are known in each channel; 0 where too few are.
    fwhm_pix : float
    """

    source: slice
    channels: np.ndarray
    is_side: np.ndarray
    t_off: np.ndarray
    footprint: np.ndarray
    sky: tuple
    inner: tuple
    count: np.ndarray
    fwhm_pix: float

    @classmethod
    def cut(cls, cube, labels, label, box, scales):
        """The part about one feature; None where it has no T_OFF to work with."""
        channels, is_side = scales.channels(box[0], cube.shape[0])
        margin = int(np.ceil(REACH_FWHM * scales.fwhm_pix))
        sky = tuple(
            slice(max(s.start - margin, 0), min(s.stop + margin, n))
            for s, n in zip(box[1:], cube.shape[1:], strict=True)
        )
        footprint = (labels[(box[0], *sky)] == label).any(axis=0)
        where = (channels, *sky)
        t_off = np.where(labels[where] == 0, cube.kelvin[where], np.nan).astype(float)
        count = np.isfinite(t_off[:, footprint]).sum(axis=1)
        count = np.where(count >= LEAST_SHARE * count.max(initial=0), count, 0)
        if not np.any(count[is_side]):
            return None
        inner = tuple(slice(s.start - o.start, s.stop - o.start) for s, o in zip(box[1:], sky, strict=True))
        return cls(box[0], channels, is_side, t_off, footprint, sky, inner, count, scales.fwhm_pix)

    @property
    def n_off(self):
        """T_OFF in the sight lines of the feature."""
        return int(self.count.sum())

    @cached_property
    def mean(self):
        """Mean spectrum of the feature's sight lines, 0 in channels that do not count."""
        found = level_spectrum(self.t_off[:, self.footprint], self.count > 0)
        return replace(found, kelvin=np.where(self.count > 0, found.kelvin, 0))

    def fit(self, order, model, velocity, width):
        """The fitted `FittedSpectrum`, and whether the fit converged."""
        mean = self.mean.kelvin
        source = np.arange(self.source.start, self.source.stop)
        if model is not None:
            found = fit_model(model, mean, self.count, velocity[self.channels], velocity[source], width)
            if found is not None:
                return found, True
        return fit_polynomial(order, mean, self.count, self.channels, source), model is None

    def scale(self, spectrum):
        """T_U in the feature's box, and the weights that made it."""
        used = self.is_side & (self.count > 0)
        known = np.isfinite(self.t_off[used])
        # Each sight line weighs the same, whether known in many side channels or few.
        share = known * (len(known) / np.maximum(known.sum(axis=0), 1))
        along = [gaussian_weights(n, self.fwhm_pix) for n in self.footprint.shape]
        rows = along[0][self.inner[0]], along[1][:, self.inner[1]]
        total = rows[0] @ (share * np.where(known, self.t_off[used], 0)).sum(axis=0) @ rows[1]
        known = rows[0] @ share @ rows[1]
        own, pull, offset = self._weights(spectrum, used, known, total)
        return Estimate(
            kelvin=own * total + offset,
            own=own,
            pull=pull,
            known=known,
            side=self.channels[used],
            fitted=self.channels,
            source=np.arange(self.source.start, self.source.stop),
            source_weights=spectrum.source_weights,
            side_weights=spectrum.fit_weights[used],
            mean_covariance=self.mean.covariance,
            footprint=self.footprint,
            inner=self.inner,
            along=along,
        )

    def _weights(self, spectrum, used, known, total):
        """Weight of each side channel, of the mean spectrum's errors, and what is added (K)."""
        number = known.sum(axis=0)
        number = np.where(number > LEAST_WEIGHT, number, np.nan)
        level = np.tensordot(spectrum.fit_kelvin[used], known, axes=1)
        level = np.where(level != 0, level, np.nan)
        source_kelvin = spectrum.source_kelvin[:, None, None]
        ratio = source_kelvin * number / level
        scales = (ratio > 1 / MOST_SCALING) & (ratio < MOST_SCALING)
        # One rule for all of a feature: T_U shall not jump within it.
        if np.all(scales, where=self.footprint[self.inner] & np.isfinite(number)):
            return source_kelvin / level, total / level, 0.0
        own = np.broadcast_to(1 / number, ratio.shape)
        return own, np.ones_like(total), source_kelvin - level / number

    def noise(self, errors, shape):
        """Noise of the side channels in the feature's box, rms over them, K; shape (n_y, n_x)."""
        y, x = (np.arange(s.start, s.stop)[i] for s, i in zip(self.sky, self.inner, strict=True))
        used = self.channels[self.is_side & (self.count > 0)]
        places = np.ravel_multi_index(np.ix_(used, y, x), shape)
        squares = errors.sigma_kelvin(places.ravel()).reshape(places.shape) ** 2
        return np.sqrt(squares.mean(axis=0))


def _by_feature(labels, features, index):
    """Places in ``index`` of the voxels of each feature."""
    of_voxel = labels.reshape(-1)[index]
    order = np.argsort(of_voxel, kind="stable")
    ends = (
        np.searchsorted(of_voxel[order], features, side="left"),
        np.searchsorted(of_voxel[order], features, side="right"),
    )
    return [order[first:stop] for first, stop in zip(*ends, strict=True)]


def _warn_of_fits(converged):
    n_failed = converged.count(False)
    if n_failed:
        warnings.warn(
            f"the fit of the model did not converge in {n_failed} of {len(converged)} features; the "
            "polynomial was used there: give other start values or bounds",
            HISAWarning,
            stacklevel=5,
        )
