"""The same masker on residuals of T_U: faint absorption that the search did not find."""

from dataclasses import dataclass, field, replace

import astropy.units as u
import numpy as np
from astropy.stats import gaussian_fwhm_to_sigma
from astropy.wcs import WCS
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from hisatools.cube import HISACube
from hisatools.errors import InputError, ParameterError, ParameterUnitsError
from hisatools.io.same_axes import SAME_PLACE, sky_offset_pix, velocity_offset_chan
from hisatools.parameters import _Parameters, _quantity, check_number
from hisatools.residual_mask.gas import channel_shares, checked_range, warn_if_beyond
from hisatools.residual_mask.lower_side import MIN_VALUES
from hisatools.residual_mask.masker import ResidualMasker, ResidualMaskParameters, checked_mask
from hisatools.results import HISAResult, MaskBit, flagged
from hisatools.search.base import row_blocks, run_blocks

__all__ = ["MissedAbsorptionParameters", "ResidualCubeMask", "mask_residuals", "missed_absorption"]

ROWS_PER_BLOCK = 16
# A smoothed value with less than this share of the kernel on known voxels says nothing.
LEAST_SHARE = 0.1
CANDIDATES = ResidualMaskParameters(n_sigma=4.0, start_fraction=1.0, edge_fwhm=0.0, guard_fwhm=0.0)


@dataclass(frozen=True, eq=False)
class ResidualCubeMask:
    """What exceeds the noise in the channels of a residual cube, each channel judged by itself.

    Parameters
    ----------
    mask : `~numpy.ndarray` of bool, shape (n_v, n_y, n_x)
        True where the residual exceeds the noise; False where it is blank.
    residual : `~astropy.units.Quantity`, same shape
        What was judged, an excess positive; NaN where blank or left out.
    mode, sigma : `~astropy.units.Quantity`, shape (n_v,)
        Of the residuals of a channel; NaN where a channel has too few pixels or no scatter.
    converged : `~numpy.ndarray` of bool, shape (n_v,)
    wcs : `~astropy.wcs.WCS` or None
    meta : dict

    Examples
    --------
    Absorption of 12 K in two channels of noise of 2 K:

    >>> import astropy.units as u, numpy as np
    >>> from hisatools.residual_mask import mask_residuals
    >>> noise = np.random.default_rng(6200).normal(0, 2, (4, 64, 64))
    >>> noise[1:3, 20:26, 30:36] -= 12
    >>> found = mask_residuals(noise * u.K, absorption=True)
    >>> found.mask.sum(axis=(1, 2)), found.sigma.round(1)
    (array([ 3, 38, 44,  5]), <Quantity [2. , 2. , 2. , 1.9] K>)
    >>> found.delta_t.min().round()
    <Quantity -16. K>
    """

    mask: np.ndarray
    residual: u.Quantity
    mode: u.Quantity
    sigma: u.Quantity
    converged: np.ndarray
    wcs: WCS | None = None
    meta: dict = field(default_factory=dict)

    @property
    def significance(self):
        """Residual less mode in units of the noise; shape (n_v, n_y, n_x), NaN where not known."""
        return ((self.residual - self.mode[:, None, None]) / self.sigma[:, None, None]).to_value("")

    @property
    def delta_t(self):
        """The masked residuals as absorption: negative in the mask, 0 elsewhere, NaN where blank."""
        excess = np.where(self.mask, -self.residual.value, 0)
        return np.where(np.isnan(self.residual.value), np.nan, excess) << self.residual.unit


@dataclass(frozen=True, kw_only=True)
class MissedAbsorptionParameters(_Parameters):
    """Scales on which faint absorption is looked for.

    Parameters
    ----------
    background_fwhm : Quantity, angle
        T_U is smoothed with this Gaussian on the sky: absorption must be smaller.
    smoothing_fwhm : Quantity, angle
        O - T_U is smoothed with this Gaussian, about the beam; 0 for none.
    velocity_fwhm : Quantity, velocity
        And with this one along velocity; 0 for none.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools.residual_mask import MissedAbsorptionParameters
    >>> parameters = MissedAbsorptionParameters(background_fwhm=0.2 * u.deg, velocity_fwhm=2 * u.km / u.s)
    >>> parameters.background_fwhm, parameters.smoothing_fwhm
    (<Quantity 12. arcmin>, <Quantity 1. arcmin>)
    """

    background_fwhm: u.Quantity = _quantity(6.0 * u.arcmin)
    smoothing_fwhm: u.Quantity = _quantity(1.0 * u.arcmin, inclusive=True)
    velocity_fwhm: u.Quantity = _quantity(3.3 * u.km / u.s, inclusive=True)


def mask_residuals(
    residual, *, model=None, absorption=False, mask=None, parameters=None, wcs=None, workers=1
):
    """Mask what exceeds the noise in a map, or in each channel of a cube, without a gas map.

    Parameters
    ----------
    residual : `~astropy.units.Quantity`, shape (n_y, n_x) or (n_v, n_y, n_x)
        Any unit: the noise is measured. NaN is blank.
    model : `~astropy.units.Quantity`, same shape, optional
        Taken away first. A constant level is found in any case.
    absorption : bool
        Whether what is looked for is negative, as it is in T_ON - T_U. In T_U - T_ON it is positive.
    mask : `~numpy.ndarray` of bool, same shape, optional
        True where pixels are left out.
    parameters : `ResidualMaskParameters`, optional
        By default all pixels are let in from the start: there is no slope to protect.
    wcs : `~astropy.wcs.WCS`, optional
    workers : int
        Threads, which share out the channels; they never change a result.

    Returns
    -------
    ResidualMaskResult or ResidualCubeMask
        For a map or for a cube.

    Raises
    ------
    InputError
        If shapes differ, or a map has too few pixels or no scatter. Channels of a cube of which that is true
        are left unmasked, with a sigma of NaN.
    ParameterUnitsError
        If there is no unit, or not that of the residual.

    Examples
    --------
    >>> import astropy.units as u, numpy as np
    >>> from hisatools.residual_mask import mask_residuals
    >>> noise = np.random.default_rng(6200).normal(0, 2, (64, 64))
    >>> noise[20:26, 30:36] -= 12
    >>> found = mask_residuals(noise * u.K, absorption=True)
    >>> int(found.mask[20:26, 30:36].sum())
    36
    """
    workers = check_number("workers", workers, integer=True)
    if not isinstance(residual, u.Quantity):
        raise ParameterUnitsError(
            f"residual needs a unit, got {type(residual).__name__}; write for example residual * u.K"
        )
    if model is not None:
        residual = residual - _like(model, residual)
    residual = -residual if absorption else residual
    parameters = ResidualMaskParameters(start_fraction=1.0) if parameters is None else parameters
    if residual.ndim not in (2, 3) or 0 in residual.shape:
        raise InputError(
            f"residual must be a map or a cube, of shape (n_y, n_x) or (n_v, n_y, n_x), got {residual.shape}"
        )
    if residual.ndim == 2:
        return ResidualMasker(parameters).run(residual, mask=mask, wcs=wcs, workers=workers)
    left_out = (
        np.zeros(residual.shape, bool) if mask is None else checked_mask(mask, residual.shape, "residual")
    )
    masker = ResidualMasker(parameters)

    def work(channel):
        return _channel(masker, residual[channel], left_out[channel])

    found = run_blocks(work, range(len(residual)), workers=workers)
    masks, modes, sigmas, converged = zip(*found, strict=True)
    return ResidualCubeMask(
        mask=np.stack(masks),
        residual=np.where(left_out | ~np.isfinite(residual.value), np.nan, residual.value) << residual.unit,
        mode=np.array(modes) << residual.unit,
        sigma=np.array(sigmas) << residual.unit,
        converged=np.array(converged),
        wcs=wcs,
        meta={"parameters": parameters.to_dict()},
    )


def _channel(masker, plane, left_out):
    """Mask, mode, sigma and whether it converged, of one channel."""
    known = np.isfinite(plane.value) & ~left_out
    nothing = np.zeros(plane.shape, bool), np.nan, np.nan, False
    if np.count_nonzero(known) < MIN_VALUES:
        return nothing
    try:
        found = masker.run(plane, mask=left_out)
    except InputError:  # all of one value, as channels beyond the line may be in a model
        return nothing
    level = found.intercept + found.mode
    return found.mask, level.value, found.sigma.value, found.converged


def _like(model, residual):
    if not isinstance(model, u.Quantity) or not model.unit.is_equivalent(residual.unit):
        raise ParameterUnitsError(
            f"model needs the unit of the residual, {residual.unit}, got {getattr(model, 'unit', 'none')}"
        )
    if model.shape not in ((), residual.shape):
        raise InputError(f"model has the shape {model.shape}, the residual {residual.shape}")
    return model.to(residual.unit)


def missed_absorption(cube, result, parameters=None, *, masking=None, velocity_range=None, workers=1):
    """Look for absorption that an extraction did not accept.

    The residual is a smooth background less the observed brightness, outside the accepted mask: T_U smoothed
    over ``background_fwhm``, less O, smoothed over the beam and the width of a line. Absorption is an excess
    of it. What is masked is a list of candidates; the documentation says how many of them are real on model
    cubes.

    Parameters
    ----------
    cube : `~hisatools.HISACube`
        What was searched.
    result : `~hisatools.HISAResult`
        What was found in it.
    parameters : `MissedAbsorptionParameters`, optional
    masking : `ResidualMaskParameters`, optional
        By default 4 sigma, and each pixel by itself: the residual is smoothed already.
    velocity_range : `~astropy.units.Quantity`, shape (2,), velocity, optional
        Judge the residual integrated over this range, one map, in place of each channel. Sight lines with
        accepted absorption in it are left out.
    workers : int
        Threads; they never change a result.

    Returns
    -------
    ResidualCubeMask, or with a velocity range ResidualMaskResult
        The mask is False in accepted voxels.

    Raises
    ------
    ParameterError
        If an argument is not of its kind.
    InputError
        If cube and result have different shapes, or are of other places or velocities.

    Warns
    -----
    HISAWarning
        If part of the range lies outside the band.

    Examples
    --------
    What an extraction left between -42 and -40 km/s, as one map:

    >>> import astropy.units as u
    >>> from hisatools.datasets import example_model, example_result
    >>> from hisatools.residual_mask import missed_absorption
    >>> model, result = example_model(), example_result()
    >>> found = missed_absorption(model.cube, result, velocity_range=(-42, -40) * u.km / u.s)
    >>> found.mask.shape, found.residual.unit
    ((208, 208), Unit("K km / s"))
    """
    if not isinstance(cube, HISACube) or not isinstance(result, HISAResult):
        raise ParameterError(
            f"a HISACube and a HISAResult are needed, got {type(cube).__name__} and {type(result).__name__}"
        )
    if cube.shape != result.flags.shape:
        raise InputError(
            f"the cube has the shape {cube.shape}, the result {result.flags.shape}; give the result of "
            "this cube"
        )
    off_pix = sky_offset_pix(result.wcs, cube.wcs, cube.shape)
    off_chan = velocity_offset_chan(result.wcs, cube.wcs, cube.shape[0])
    if not max(off_pix, off_chan) < SAME_PLACE:
        raise InputError(
            f"the result is of another part of the sky or of other velocities than the cube, {off_pix:.3g} "
            f"pixels and {off_chan:.3g} channels off; give the result of this cube"
        )
    parameters = MissedAbsorptionParameters() if parameters is None else parameters
    residual = _residual_cube(cube, result, parameters, check_number("workers", workers, integer=True))
    masking = CANDIDATES if masking is None else masking
    settings = {"parameters": masking, "workers": workers}
    if velocity_range is not None:
        return mask_residuals(_integral(residual, cube, velocity_range), wcs=cube.wcs.celestial, **settings)
    found = mask_residuals(residual << u.K, wcs=cube.wcs, **settings)
    return replace(found, meta={**found.meta, "missed": parameters.to_dict()})


def _residual_cube(cube, result, parameters, workers):
    """Smooth background less O, K, NaN in accepted voxels and where blank; smoothed."""
    pixel, channel_width = cube.pixel_scale, cube.channel_width
    wide, narrow = (
        (fwhm / pixel).to_value("") * gaussian_fwhm_to_sigma
        for fwhm in (parameters.background_fwhm, parameters.smoothing_fwhm)
    )
    along_v = (parameters.velocity_fwhm / channel_width).to_value("") * gaussian_fwhm_to_sigma
    residual = np.empty(cube.shape, np.float32)

    def on_sky(channel):
        background = _smooth(result.plane_kelvin("t_unabsorbed", channel), wide)
        plane = background - cube.block(channel)
        plane[flagged(result.flags[channel], MaskBit.ACCEPTED)] = np.nan
        residual[channel] = _smooth(plane, narrow)

    def in_velocity(rows):
        block = residual[:, rows]
        residual[:, rows] = _smooth(block, along_v, smooth=_along_velocity)

    run_blocks(on_sky, range(cube.shape[0]), workers=workers)
    run_blocks(in_velocity, row_blocks(cube.shape[1], ROWS_PER_BLOCK), workers=workers)
    return residual


def _smooth(values, sigma, smooth=gaussian_filter):
    """Mean weighted with a Gaussian, of the values that are known; NaN where ``values`` are."""
    if sigma == 0:
        return values
    known = np.isfinite(values)
    total = smooth(np.where(known, values, 0).astype(np.float32), sigma, mode="constant")
    share = smooth(known.astype(np.float32), sigma, mode="constant")
    enough = known & (share > LEAST_SHARE)
    return np.divide(total, share, out=np.full_like(total, np.nan), where=enough)


def _along_velocity(values, sigma, mode):
    return gaussian_filter1d(values, sigma, axis=0, mode=mode)


def _integral(residual, cube, velocity_range):
    """Residual integrated over velocity, K km/s; NaN where a channel of the range is."""
    width = cube.channel_width.to_value(u.km / u.s)
    low, high = checked_range(velocity_range)
    shares = channel_shares(cube.velocity.to_value(u.km / u.s), width, low, high)
    chosen = np.flatnonzero(shares)
    if not chosen.size:
        raise InputError(
            f"velocity_range {low:g} to {high:g} km/s lies outside the cube; choose one within it"
        )
    warn_if_beyond(low, high, shares.sum() * width, width, stacklevel=4)
    total = sum(shares[channel] * residual[channel].astype(float) for channel in chosen)
    return total * width * u.K * u.km / u.s
