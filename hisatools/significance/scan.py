"""SignificanceScan: the test statistic of absorption at every voxel."""

import warnings
from dataclasses import dataclass, field
from functools import cached_property

import astropy.units as u
import numpy as np
from astropy.wcs import WCS

from hisatools.errors import HISAWarning, InputError, ParameterError
from hisatools.parameters import check_number
from hisatools.significance.chance import BestOfBank
from hisatools.significance.parameters import ScanParameters
from hisatools.significance.places import hottest
from hisatools.significance.prepared import PreparedScan
from hisatools.significance.prior_axes import check_same_axes

__all__ = ["ScanResult", "SignificanceScan"]


class SignificanceScan:
    """Scan a residual with a bank of matched templates.

    At each voxel, and for each template of unit depth T (a disc in the beam, times a line), the depth
    that fits best is A = sum W (T_U - O) / sum W T with weights W that know the noise's correlation. Its
    test statistic is TS = (A / sigma_A)^2, and that of the voxel belongs to the template with the
    largest A / sigma_A. Emission (A < 0) has TS = 0. The noise may vary across the cube, but is taken as
    constant over a template: where it jumps, A is that of a feature whose depth jumps with it.

    Parameters
    ----------
    parameters : `ScanParameters`, optional

    Examples
    --------
    >>> from hisatools.significance import Residual, SignificanceScan
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> model = simulate_cube(ModelParameters(shape=(32, 64, 64), n_pucks=8, n_components=60), seed=104)
    >>> scan = SignificanceScan().run(Residual.of(model.cube, model.t_unabsorbed, known=model.mask))
    >>> scan.ts.shape, bool(model.mask[scan.hottest().voxel])
    ((32, 64, 64), True)
    """

    def __init__(self, parameters=None):
        self.parameters = ScanParameters() if parameters is None else parameters

    def prepare(self, residual):
        """Make filters ready for all cubes with the axes, the blanks and the noise of this one.

        Parameters
        ----------
        residual : `Residual`

        Returns
        -------
        `~hisatools.significance.prepared.PreparedScan`
        """
        return PreparedScan.of(self.parameters, residual)

    def factors(self, residual, prepared, *, workers=1):
        """What each template's signal to noise is divided by: its scatter, or 1 without ``calibrate``.

        Parameters
        ----------
        residual : `Residual`
        prepared : `~hisatools.significance.prepared.PreparedScan`
            Of `prepare`.
        workers : int

        Returns
        -------
        `~numpy.ndarray`, shape (n,)
            One for each of ``parameters.templates``.
        """
        if not self.parameters.calibrate:
            return np.ones(len(self.parameters.templates))
        return prepared.scatter(residual.standardised(), residual.known, workers=workers)

    def run(self, residual, *, prepared=None, factors=None, within=None, workers=1, progress=False):
        """Scan one residual.

        Parameters
        ----------
        residual : `Residual`
        prepared : `~hisatools.significance.prepared.PreparedScan`, optional
            Of `prepare`; made if not given.
        factors : sequence of float, optional
            What each template's signal to noise is divided by; measured, or 1 without ``calibrate``, if not
            given.
        within : `~numpy.ndarray` of bool, shape (n_y, n_x) or (n_v, n_y, n_x), optional
            True where the scan is wanted; NaN elsewhere in the result.
        workers : int
            Number of threads; never changes the result.
        progress : bool

        Returns
        -------
        `ScanResult`

        Raises
        ------
        InputError
            If ``within`` or ``prepared`` is not on the residual's axes, or all is blank.
        ParameterError
            If ``factors`` are not one positive number for each template.

        Warns
        -----
        HISAWarning
            If too little of every template lies on the map.
        """
        workers = check_number("workers", workers, integer=True)
        allowed = _allowed(within, residual)
        prepared = self.prepare(residual) if prepared is None else self._checked(prepared, residual)
        standardised = residual.standardised()
        if factors is None:
            factors = self.factors(residual, prepared, workers=workers)
        factors = _checked_factors(factors, len(self.parameters.templates))
        found, template, sigma = prepared.best(standardised, factors, workers=workers, progress=progress)
        found[~allowed] = np.nan
        _warn_if_unknown(found, self.parameters)
        sigma[np.isnan(found)] = np.nan
        sigma *= residual.sigma_kelvin
        return ScanResult(
            signal_to_noise=found,
            template=template,
            sigma_kelvin=sigma,
            wcs=residual.wcs,
            parameters=self.parameters,
            chance=prepared.chance,
            factors=factors,
            meta=dict(residual.meta),
        )

    def _checked(self, prepared, residual):
        """What was prepared, if for such a residual and these parameters."""
        if prepared.shape != residual.shape or prepared.parameters is not self.parameters:
            raise InputError(
                f"prepared is for the shape {prepared.shape}, the residual has {residual.shape}; prepare "
                "this scan for this residual, or leave it out"
            )
        return prepared


def _one(prior):
    """The product of several priors, or the one there is."""
    if hasattr(prior, "apply"):
        return prior
    first, *others = prior
    return first.product(first, *others)


def _checked_factors(factors, n_templates):
    factors = np.asarray(factors, float)
    if factors.shape != (n_templates,) or not np.all(np.isfinite(factors) & (factors > 0)):
        raise ParameterError(
            f"factors must be {n_templates} numbers above 0, one for each template, got {factors}"
        )
    return factors


def _warn_if_unknown(signal_to_noise, parameters):
    if not np.isfinite(signal_to_noise).any():
        warnings.warn(
            f"no template has a share of {parameters.min_coverage:g} on the map anywhere, and nothing is "
            "known: give narrower widths, or lower min_coverage",
            HISAWarning,
            stacklevel=3,
        )


def _allowed(within, residual):
    """Where the scan is wanted and possible, as an array of the cube's shape."""
    allowed = residual.usable
    if within is not None:
        within = np.asarray(within)
        if within.shape not in (residual.shape, residual.shape[1:]) or within.dtype != bool:
            raise InputError(
                f"within has the shape {within.shape} and the type {within.dtype}; give True and False for "
                f"each voxel or sight line of {residual.shape}"
            )
        allowed = allowed & within
    if not allowed.any():
        raise InputError("nothing is left to scan: all is blank or outside within; check the mask")
    return allowed


@dataclass(frozen=True, eq=False)
class ScanResult:
    """What a scan found at each voxel.

    Parameters
    ----------
    signal_to_noise : `~numpy.ndarray` of float32, shape (n_v, n_y, n_x)
        A / sigma_A of the best template, positive for absorption; NaN where blank or not scanned.
    template : `~numpy.ndarray` of uint8, same shape
        Number of the best template in ``parameters.templates``.
    sigma_kelvin : `~numpy.ndarray` of float32, same shape, K
        sigma_A.
    wcs : `~astropy.wcs.WCS`
    parameters : `ScanParameters`
    chance : `~hisatools.significance.chance.BestOfBank`
    factors : `~numpy.ndarray`, shape (n,)
        By how much each template's signal to noise was scattered wider than the noise, and was divided.
    meta : dict
        Provenance.

    Examples
    --------
    >>> from hisatools.significance import Residual, SignificanceScan
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> model = simulate_cube(ModelParameters(shape=(32, 64, 64), n_pucks=8, n_components=60), seed=104)
    >>> scan = SignificanceScan().run(Residual.of(model.cube, model.t_unabsorbed, known=model.mask))
    >>> voxel = scan.hottest().voxel
    >>> round(float(scan.ts[voxel]), -1), scan.amplitude[voxel].round()
    (190.0, <Quantity -19. K>)
    >>> scan.width[voxel], scan.linewidth[voxel], model.delta_t[voxel].round()
    (<Quantity 8. arcmin>, <Quantity 3. km / s>, <Quantity -17. K>)
    """

    signal_to_noise: np.ndarray
    template: np.ndarray
    sigma_kelvin: np.ndarray
    wcs: WCS
    parameters: ScanParameters
    chance: BestOfBank
    factors: np.ndarray
    meta: dict = field(default_factory=dict)

    @cached_property
    def ts(self):
        """(A / sigma_A)^2, 0 in emission, NaN where not scanned; float32, shape (n_v, n_y, n_x)."""
        return np.square(np.maximum(self.signal_to_noise, 0))

    @cached_property
    def amplitude(self):
        """Fitted dT of the best template: negative in absorption; Quantity, K, NaN where not scanned."""
        return (-self.signal_to_noise * self.sigma_kelvin) << u.K

    @cached_property
    def p_local(self):
        """Probability that noise gives so high a signal to noise at one place, in the best template.

        An upper limit where borders or blanks leave too little of some templates: fewer can be the best.
        float32, shape (n_v, n_y, n_x); NaN where not scanned.
        """
        p = np.empty_like(self.signal_to_noise)
        for channel, values in zip(p, self.signal_to_noise, strict=True):
            channel[:] = self.chance.p_value(values)
        return p

    @property
    def width(self):
        """Width of the best template; Quantity, arcmin."""
        return self.parameters.widths[self.template // len(self.parameters.linewidths)]

    @property
    def linewidth(self):
        """Linewidth of the best template; Quantity, km/s."""
        return self.parameters.linewidths[self.template % len(self.parameters.linewidths)]

    def ts_with(self, prior=None):
        """TS with one prior, the product of several, or none.

        Parameters
        ----------
        prior : `SpatialPrior` or sequence of them, optional

        Returns
        -------
        `~numpy.ndarray` of float32, shape (n_v, n_y, n_x)
            0 where it would be negative; NaN where not scanned.

        Raises
        ------
        InputError
            If the prior is not on the scan's axes.
        """
        if prior is None:
            return self.ts
        prior = _one(prior)
        check_same_axes(prior, self.wcs, self.ts.shape, "the scan")
        return prior.apply(self.ts, np.isfinite(self.ts))

    def hottest(self, prior=None):
        """The voxel with the largest TS, the first in the array of several.

        Parameters
        ----------
        prior : `SpatialPrior` or sequence of them, optional

        Returns
        -------
        `~hisatools.significance.places.HotPlace` or None
            None where nothing is above 0.
        """
        return hottest(self.ts_with(prior), self.wcs)
