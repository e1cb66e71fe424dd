"""ResidualMasker: fit, look at what stands out, mask it, let in brighter pixels, until nothing changes.

The scheme is that of Bernstein-Cooper's notes on faint residual masking (2015, after Lee et al. 2012), with
the gas taken from T_U. See the documentation, "Residual masks", for what was changed and why.
"""

import warnings
from dataclasses import dataclass

import astropy.units as u
import numpy as np

from hisatools.errors import HISAWarning, InputError, ParameterError, ParameterUnitsError
from hisatools.parameters import _number, _Parameters, check_number
from hisatools.residual_mask.fit import fit_line, halfway
from hisatools.residual_mask.gas import COLUMN_UNIT
from hisatools.residual_mask.lower_side import MIN_VALUES, lower_side_gaussian
from hisatools.residual_mask.result import ResidualMaskResult, Round, history_table
from hisatools.residual_mask.standing_out import Surroundings, stands_out

__all__ = ["ResidualMaskParameters", "ResidualMasker"]

# A place that is masked for more than noise: there the mean over the wide kernel stands out by this much.
CORE_SIGMA = 5.0


@dataclass(frozen=True, kw_only=True)
class ResidualMaskParameters(_Parameters):
    """How the mask is found.

    Parameters
    ----------
    n_sigma : float
        A pixel is masked if its residual exceeds the mode by this many standard deviations of the noise.
    edge_fraction, edge_least : float
        A pixel is masked as well if the mean about it exceeds ``edge_fraction * n_sigma`` and it does itself
        exceed ``edge_least * n_sigma``: noise pushes every second pixel of ``n_sigma`` below the threshold,
        and its neighbours tell.
    edge_fwhm : float
        FWHM of the Gaussian of that mean, pixels; 0 to look at each pixel alone.
    guard_fwhm, guard_sigma : float
        The fit leaves out the faint wings of what is masked: pixels no further than this FWHM (pixels) from a
        masked place where the mean over it exceeds the noise of such means ``guard_sigma`` times. 0 turns it
        off.
    start_fraction : float
        Share of the pixels, the faintest, in the first fit; 10 pixels at least.
    growth : float
        Share of the pixels by which each round goes further up, to brighter ones.
    n_stable : int
        Rounds in a row without change that end the search. All pixels have been reached by then.
    tolerance : float
        A ratio or an intercept is without change if it moves by less than this part of its uncertainty. (One
        pixel of 3 sigma moves them by 3 / sqrt(n) of it.)
    stable_share : float
        A mask is without change if no more than this share of the pixels went in or out: a few sit on the
        threshold.
    max_rounds : int
        The search ends here at the latest, with a warning.
    pixels_per_beam : float
        Pixels that share their noise; the uncertainties grow with its root.
    weighted : bool
        Whether pixels count by ``1 / error**2`` in the fit, where an error map is given.

    Examples
    --------
    >>> from hisatools.residual_mask import ResidualMasker, ResidualMaskParameters
    >>> masker = ResidualMasker(ResidualMaskParameters(n_sigma=4, edge_fwhm=0))
    >>> masker.parameters.n_sigma, masker.parameters.growth
    (4, 0.01)
    """

    n_sigma: float = _number(3.0)
    edge_fraction: float = _number(0.9, at_most=1)
    edge_least: float = _number(0.45, inclusive=True, at_most=1)
    edge_fwhm: float = _number(2.0, inclusive=True)
    guard_fwhm: float = _number(6.0, inclusive=True)
    guard_sigma: float = _number(2.0, inclusive=True)
    start_fraction: float = _number(0.1, at_most=1)
    growth: float = _number(0.01, at_most=1)
    n_stable: int = _number(3, integer=True)
    tolerance: float = _number(0.05, inclusive=True)
    stable_share: float = _number(5e-4, inclusive=True, at_most=1)
    max_rounds: int = _number(500, integer=True)
    pixels_per_beam: float = _number(1.0, inclusive=True, above=1.0)
    weighted: bool = True


@dataclass(frozen=True, eq=False)
class _Maps:
    """Flat arrays of the pixels in use, in plain numbers, and where they lie."""

    tracer: np.ndarray
    gas: np.ndarray | None
    weights: np.ndarray | None
    # Median error / error: residuals are multiplied by it, so that one sigma fits all pixels.
    scale: np.ndarray | None
    used: np.ndarray
    rank: np.ndarray


class ResidualMasker:
    """Masks what stands out of a model that is linear in the gas.

    Parameters
    ----------
    parameters : `ResidualMaskParameters`, optional

    Examples
    --------
    >>> from hisatools.residual_mask import ResidualMasker
    >>> from hisatools.residual_mask.simulated import simulate_dust
    >>> model = simulate_dust(seed=6200)
    >>> result = ResidualMasker().run(model.tracer, model.gas, error=model.error)
    >>> bool(abs(result.ratio / model.ratio - 1) < 0.03)
    True
    >>> bool(result.mask[model.significance > 5].mean() > 0.99)
    True
    """

    def __init__(self, parameters=None):
        self.parameters = ResidualMaskParameters() if parameters is None else parameters

    def run(self, tracer, gas=None, *, error=None, mask=None, intercept=None, wcs=None, workers=1):
        """Fit ratio and intercept, and mask what exceeds the model.

        Parameters
        ----------
        tracer : `~astropy.units.Quantity`, shape (n_y, n_x)
            Dust, extinction, or any map that may exceed what the gas accounts for. NaN is blank.
        gas : `~astropy.units.Quantity`, same shape, optional
            N(HI), see `gas_column`; NaN is blank. Without it the model is a constant.
        error : `~astropy.units.Quantity`, same shape or scalar, unit of the tracer, optional
            Standard deviation of the tracer. Only its variation over the map matters: its level is measured.
            Pixels where it is NaN are blank.
        mask : `~numpy.ndarray` of bool, same shape, optional
            True in pixels that are to be left out from the start.
        intercept : `~astropy.units.Quantity`, scalar, unit of the tracer, optional
            Given, and not fitted.
        wcs : `~astropy.wcs.WCS`, optional
            Of the maps, for figures and files.
        workers : int
            Threads; they never change a result.

        Returns
        -------
        ResidualMaskResult

        Raises
        ------
        InputError
            If shapes differ, too few pixels are left, or ratio and intercept cannot be told apart.
        ParameterUnitsError
            If a map has no unit, or ``error`` or ``intercept`` not that of the tracer.

        Warns
        -----
        HISAWarning
            If ``max_rounds`` end the search.
        """
        workers = check_number("workers", workers, integer=True)
        maps, fixed, blank, left_out = self._checked(tracer, gas, error, mask, intercept)
        rounds, converged = self._loop(maps, tracer.shape, fixed, workers)
        if not converged:
            warnings.warn(
                f"the mask did not settle within {len(rounds)} rounds, {rounds[-1].n_changed} pixels "
                "changed in the "
                "last one; set max_rounds higher or growth larger, and look at plot_convergence()",
                HISAWarning,
                stacklevel=2,
            )
        last = rounds[-1]
        masked, guarded = np.zeros(tracer.shape, bool), np.zeros(tracer.shape, bool)
        masked[maps.used] = last.masked
        guarded[maps.used] = last.guarded & ~last.masked
        gas_unit = None if gas is None else gas.unit
        return ResidualMaskResult(
            tracer=tracer,
            gas=gas,
            error=None if error is None else np.broadcast_to(error.to(tracer.unit), tracer.shape, subok=True),
            mask=masked,
            guarded=guarded,
            excluded=left_out,
            fit=last.fit,
            history=history_table(rounds, np.sort(maps.tracer), tracer.unit, gas_unit),
            converged=converged,
            parameters=self.parameters,
            wcs=wcs,
            meta={"intercept": "given" if fixed is not None else "fitted", "n_blank": int(blank.sum())},
        )

    # --- before the loop ----------------------------------------------------------------------

    def _checked(self, tracer, gas, error, mask, intercept):
        check_map("tracer", tracer)
        unit, shape = tracer.unit, tracer.shape
        values = tracer.value.astype(float)
        blank = ~np.isfinite(values)
        gas_values = scale = weights = None
        if gas is not None:
            check_map("gas", gas, shape=shape)
            gas_values = gas.value.astype(float)
            blank |= ~np.isfinite(gas_values)
        left_out = np.zeros(shape, bool) if mask is None else checked_mask(mask, shape)
        if error is not None:
            sigma = checked_error(error, unit, shape, used=~blank & ~left_out)
            blank |= ~np.isfinite(sigma)
        used = ~blank & ~left_out
        if not used.any():
            raise InputError(
                f"no pixel of {used.size} is left: {int(blank.sum())} are blank in a map and "
                f"{int(left_out.sum())} "
                "are masked; give maps that overlap, or mask fewer pixels"
            )
        if error is not None:
            scale = np.median(sigma[used]) / sigma[used]
            weights = scale**2 if self.parameters.weighted else None
        tracer_used = values[used]
        rank = np.empty(tracer_used.size, np.int64)
        rank[np.argsort(tracer_used, kind="stable")] = np.arange(tracer_used.size)
        gas_used = None if gas is None else gas_values[used]
        fixed = None if intercept is None else _checked_intercept(intercept, unit)
        return _Maps(tracer_used, gas_used, weights, scale, used, rank), fixed, blank, left_out

    # --- the loop -----------------------------------------------------------------------------

    def _loop(self, maps, shape, fixed, workers):
        """All rounds, and whether the last ones were stable."""
        settings, n = self.parameters, maps.tracer.size
        near = Surroundings(maps.used, settings.edge_fwhm)
        wide = Surroundings(maps.used, settings.guard_fwhm)
        share = settings.start_fraction
        fit = self._fit(maps, maps.rank < _count(share, n), fixed)
        masked = np.zeros(n, bool)
        rounds, n_quiet = [], 0
        while len(rounds) < settings.max_rounds:
            was_complete = share >= 1
            share = min(share + settings.growth, 1.0)
            reached = maps.rank < _count(share, n)
            excess = maps.tracer - fit.model(maps.gas)
            if maps.scale is not None:
                excess *= maps.scale
            guarded = self._guarded(excess, reached, masked, wide, workers)
            noise = lower_side_gaussian(excess[reached & ~guarded])
            if rounds and was_complete:
                noise = _between(noise, (rounds[-1].mode, rounds[-1].sigma))
            mode, sigma = noise
            new = reached & stands_out((excess - mode) / sigma, near, settings, workers=workers)
            changed = int(np.count_nonzero(new != masked))
            rounds.append(Round(_count(share, n), fit, mode, sigma, new, guarded, changed))
            before, masked = fit, new
            fit = self._fit(maps, reached & ~(masked | guarded), fixed)
            if was_complete:
                fit = halfway(before, fit)
            quiet = was_complete and changed <= settings.stable_share * n and self._same(before, fit)
            n_quiet = n_quiet + 1 if quiet else 0
            if n_quiet == settings.n_stable:
                return rounds, True
        return rounds, False

    def _guarded(self, excess, reached, masked, wide, workers):
        """Where the mean over a wide kernel stands out, near a masked place where it stands out well.

        Only near such places: what the model misses on large scales would else leave the fit, and the fit
        would be made to the part of the map that it suits already.
        """
        settings = self.parameters
        if settings.guard_fwhm == 0:
            return np.zeros(excess.size, bool)
        mean = wide.mean(excess, workers=workers)
        mode, sigma = lower_side_gaussian(mean[reached])
        core = masked & (mean > mode + CORE_SIGMA * sigma)
        near = wide.near(core, int(np.ceil(settings.guard_fwhm)))
        return near & (mean > mode + settings.guard_sigma * sigma)

    def _fit(self, maps, chosen, fixed):
        def pick(values):
            return None if values is None else values[chosen]

        return fit_line(
            maps.tracer[chosen],
            pick(maps.gas),
            pick(maps.weights),
            intercept=fixed,
            pixels_per_beam=self.parameters.pixels_per_beam,
        )

    def _same(self, before, after):
        """Whether ratio and intercept stayed where they were, within a part of their uncertainties."""
        part = self.parameters.tolerance
        level = abs(after.intercept - before.intercept) <= part * after.sigma_intercept
        ratio = np.isnan(after.ratio) or abs(after.ratio - before.ratio) <= part * after.sigma_ratio
        return bool(level and ratio)


def _between(one, other):
    """Mean of pairs: where a few pixels flip back and forth, whole steps would go on for ever."""
    return tuple((first + second) / 2 for first, second in zip(one, other, strict=True))


def _count(share, n):
    """How many pixels a share is, enough for a histogram; rounding must not miss the last one."""
    return min(max(int(np.ceil(share * n - 1e-9)), MIN_VALUES), n)


# --- checks -----------------------------------------------------------------------------------


def check_map(name, values, *, shape=None):
    """Refuse what is no map with a unit, or of another shape.

    Parameters
    ----------
    name : str
        The argument, for messages.
    values : `~astropy.units.Quantity`, shape (n_y, n_x)
    shape : tuple of int, optional
        What is needed.

    Raises
    ------
    ParameterUnitsError
        If there is no unit.
    InputError
        If the shape is wrong.
    """
    if not isinstance(values, u.Quantity):
        example = COLUMN_UNIT if name == "gas" else "mag"
        raise ParameterUnitsError(
            f"{name} needs a unit, got {type(values).__name__}; write for example {name} * "
            f"u.Unit('{example}')"
        )
    if values.ndim != 2 or 0 in values.shape:
        raise InputError(f"{name} must be a map of shape (n_y, n_x), got the shape {values.shape}")
    if shape is not None and values.shape != shape:
        raise InputError(
            f"{name} has the shape {values.shape}, the tracer {shape}; reproject one of them, for example "
            "with "
            "the reproject package"
        )


def checked_error(error, unit, shape, *, used):
    """Standard deviations in the unit of the tracer, one a pixel, above 0 or NaN where ``used`` is True."""
    if not isinstance(error, u.Quantity) or not error.unit.is_equivalent(unit):
        raise ParameterUnitsError(
            f"error needs the unit of the tracer, {unit}, got {getattr(error, 'unit', 'none')}; write for "
            f"example error * u.Unit('{unit}')"
        )
    if error.shape not in ((), shape):
        raise InputError(f"error has the shape {error.shape}, the tracer {shape}; give one value a pixel")
    values = np.broadcast_to(error.to_value(unit), shape).astype(float)
    wrong = used & (values <= 0)
    if wrong.any():
        raise InputError(
            f"error must be above 0, got {values[wrong].min():g} {unit} in {np.count_nonzero(wrong)} pixels "
            "that are neither blank nor masked; set pixels without a known error to NaN"
        )
    return values


def checked_mask(mask, shape, what="tracer"):
    """A copy of a mask of bool that has the shape of the tracer, or of something else."""
    mask = np.asarray(mask)
    if mask.shape != shape:
        each = "a pixel" if len(shape) == 2 else "a voxel"
        raise InputError(f"mask has the shape {mask.shape}, the {what} {shape}; give one value {each}")
    if mask.dtype != bool:
        raise ParameterError(f"mask must be an array of bool, got {mask.dtype}; write for example mask > 0")
    return mask.copy()


def _checked_intercept(intercept, unit):
    if not isinstance(intercept, u.Quantity) or not intercept.unit.is_equivalent(unit):
        raise ParameterUnitsError(
            f"intercept needs the unit of the tracer, {unit}, got {intercept!r}; write for example "
            f"intercept=0 * u.Unit('{unit}')"
        )
    value = intercept.to_value(unit)
    if np.ndim(value) or not np.isfinite(value):
        raise ParameterError(f"intercept must be one finite number, got {intercept}")
    return float(value)
