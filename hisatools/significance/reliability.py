"""How likely a feature is real, from the cube itself: no simulation, no truth.

The search is done once more, on the cube mirrored about its emission (`hisatools.significance.mirror`):
all it finds there is false. As in Serra, Jurek & Floeer (2012, PASA 29, 296) and SoFiA-2 (Westmeier et al.
2021, MNRAS 506, 3962), both populations are points of (log peak, log sum, log mean) over the noise, with
a kernel density in the place of the points, and the reliability is (P - N) / P, with P features of the
cube and N of the mirrored one.

There both are densities at the feature. Where most of what is found is false, they are nearly equal, and
(P - N) / P scatters by as much as it is. Here the density of the false ones is first summed over all that is
stronger than the feature, in peak, sum and mean: its rarity. P and N are then counted along this one
quantity, in steps that rise (isotonic regression) where they are certain to, and N of the rarest is what
the tail of the mirrored ones lets expect. So a feature that is stronger in all three is never less
reliable, and noise alone is not reliable however few features there are.
"""

import copy
import logging
import warnings
from dataclasses import dataclass, field, replace
from functools import cached_property

import astropy.units as u
import numpy as np

from hisatools.errors import HISAWarning, InputError
from hisatools.features import catalog_rows
from hisatools.parameters import _number, _Parameters, _quantity, check_number
from hisatools.performance.settings import differences
from hisatools.results import HISAResult
from hisatools.significance.mirror import (
    BACKGROUND_FWHM,
    BACKGROUND_LINEWIDTH,
    FILL_SIGNIFICANCE,
    filling,
    mirrored,
)
from hisatools.significance.reliability_density import (
    LEAST_SCATTER,
    log_density,
    log_share_above,
    whitening,
)
from hisatools.significance.reliability_points import VoxelNoise, feature_points
from hisatools.significance.reliability_steps import rising_steps
from hisatools.significance.selection import select_features

__all__ = ["ReliabilityModel", "ReliabilityParameters"]

logger = logging.getLogger(__name__)

METHOD = "mirrored search"
DESCRIPTION = (
    "Likelihood that the feature is real: (P - N) / P by the same search on the mirrored cube (data-driven)"
)


@dataclass(frozen=True, kw_only=True)
class ReliabilityParameters(_Parameters):
    """How the reliability of features is measured from the data.

    Parameters
    ----------
    kernel_scale : float
        Size of the kernel along each axis, in units of the scatter of the false features.
    background_fwhm : Quantity, angle
    background_linewidth : Quantity, velocity
    fill_significance : float
        See `hisatools.significance.mirrored`.
    min_false : int
        With fewer features in the mirrored cube than this it is said that the reliability is uncertain.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools.significance import ReliabilityParameters
    >>> parameters = ReliabilityParameters(kernel_scale=0.5, background_fwhm=0.5 * u.deg)
    >>> parameters.background_fwhm, parameters.min_false
    (<Quantity 30. arcmin>, 50)
    """

    _section = "reliability"

    kernel_scale: float = _number(1.0)
    background_fwhm: u.Quantity = _quantity(BACKGROUND_FWHM)
    background_linewidth: u.Quantity = _quantity(BACKGROUND_LINEWIDTH, inclusive=True)
    fill_significance: float = _number(FILL_SIGNIFICANCE, inclusive=True)
    min_false: int = _number(50, inclusive=True, integer=True)


@dataclass(frozen=True, eq=False)
class ReliabilityModel:
    """Features of a cube and of its mirror image, and how likely the former are real.

    Parameters
    ----------
    real, false : `~numpy.ndarray`, shape (n, 3)
        Log10 of peak, sum and mean depth over the noise, of the features of the cube and of the mirrored one;
        NaN where the noise is not known.
    noise : `~hisatools.significance.reliability_points.VoxelNoise`
        Of the cube.
    parameters : `ReliabilityParameters`
    meta : dict
        Provenance; JSON can hold it.

    Examples
    --------
    >>> from hisatools import ExtractionParameters, HISAExtractor
    >>> from hisatools.significance.reliability import ReliabilityModel
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> model = simulate_cube(ModelParameters(shape=(32, 96, 96), n_pucks=20, n_components=100), seed=3)
    >>> extractor = HISAExtractor(n_passes=1, parameters=ExtractionParameters(min_significance=0))
    >>> result = extractor.run(model.cube)  # doctest: +IGNORE_WARNINGS
    >>> reliability = ReliabilityModel.measure(model.cube, result, extractor)  # doctest: +IGNORE_WARNINGS
    >>> result = reliability.assess(result)
    >>> bool(result.catalog["reliability"].max() > result.catalog["reliability"].min())
    True
    """

    real: np.ndarray
    false: np.ndarray
    noise: VoxelNoise
    parameters: ReliabilityParameters = field(default_factory=ReliabilityParameters)
    meta: dict = field(default_factory=dict)

    @classmethod
    def measure(cls, cube, result, extractor=None, *, parameters=None, workers=1, progress=False):
        """Search the mirrored cube; this takes as long as the extraction itself.

        Parameters
        ----------
        cube : `~hisatools.HISACube`
            A map.
        result : `~hisatools.HISAResult`
            What ``extractor`` found in it.
        extractor : `~hisatools.HISAExtractor`, optional
            The one that made the result; by default one with default parameters.
        parameters : `ReliabilityParameters`, optional
        workers : int
            Number of threads; never changes the result.
        progress : bool
            Whether to show progress bars.

        Returns
        -------
        ReliabilityModel

        Raises
        ------
        InputError
            If the cube is one sight line, or the result is of another shape.

        Warns
        -----
        HISAWarning
            If few or no false features are found, or the result is of another extraction.
        """
        parameters = ReliabilityParameters() if parameters is None else parameters
        extractor = _without_limit(extractor)
        check_number("workers", workers, integer=True)
        _check_extractor(extractor, result)
        noise = VoxelNoise.measure(cube, extractor.spatial, workers=workers)
        mirror = mirrored(
            cube,
            result,
            background_fwhm=parameters.background_fwhm,
            background_linewidth=parameters.background_linewidth,
            fill_significance=parameters.fill_significance,
            noise=noise,
            convolution=extractor.spatial.convolution_name,
            workers=workers,
        )
        logger.info("the mirrored cube is searched; what is found there is false")
        found = extractor.run(mirror, workers=workers, progress=progress)
        filled = filling(result, noise, parameters.fill_significance).index
        found = select_features(found, ~_touching(found, filled))
        real, false = feature_points(result, noise), feature_points(found, noise)
        n_real, n_false = (int(np.isfinite(points).all(axis=1).sum()) for points in (real, false))
        _warn_of_few(n_false, parameters.min_false)
        meta = {
            "method": METHOD,
            "parameters": parameters.to_dict(),
            "n_features": n_real,
            "n_mirrored": n_false,
            "passes": found.meta["passes"],
        }
        return cls(real, false, noise, parameters, meta)

    def reliability(self, what=None):
        """How likely features are real.

        Parameters
        ----------
        what : `~hisatools.HISAResult` or array_like, shape (n, 3), optional
            The features of a result of the same cube, or points as ``real``; by default ``real``.

        Returns
        -------
        `~numpy.ndarray`, shape (n,)
            0 to 1; NaN where the noise is not known. 1 for all if the mirrored search found nothing.

        Raises
        ------
        InputError
            If the points are not of shape (n, 3), or the result is of another shape than the cube.

        Notes
        -----
        Features no rarer than nine tenths of the mirrored ones have one reliability in common: what the
        counts of both differ by. See `hisatools.significance.reliability_steps`.
        """
        points = self._points(what)
        known = np.isfinite(points).all(axis=1)
        values = np.full(len(points), np.nan)
        if not len(self._false):
            values[known] = 1.0
            return values
        first, height = self._steps
        values[known] = height[np.searchsorted(first, self.rarity(points[known]), side="right") - 1]
        return values

    def rarity(self, what=None):
        """How rare features are that strong among the false ones.

        Parameters
        ----------
        what : optional
            As for `reliability`.

        Returns
        -------
        `~numpy.ndarray`, shape (n,)
            -ln of the share of the false features, each in the shape of the kernel, that is stronger in peak,
            sum and mean; NaN where the noise is not known.
        """
        return -log_share_above(self._points(what), self._false, self._kernel)

    def density_ratio(self, what=None, *, kernel_scale=0.4):
        """Reliability as in SoFiA: (P - N) / P with P and N the kernel densities at the feature, at least 0.

        For comparison: the populations are finite, and the scatter of this ratio raises it where it is small.

        Parameters
        ----------
        what : optional
            As for `reliability`.
        kernel_scale : float
            Size of the kernel, in units of the scatter of the false features.

        Returns
        -------
        `~numpy.ndarray`, shape (n,)
            0 to 1; NaN where the noise is not known.
        """
        shape = whitening(self._false, check_number("kernel_scale", kernel_scale))
        at, real, false = (points @ shape for points in (self._points(what), self._real, self._false))
        with np.errstate(invalid="ignore", over="ignore"):
            return np.clip(1 - np.exp(log_density(at, false) - log_density(at, real)), 0, 1)

    def assess(self, result):
        """Add the column ``reliability`` to the catalogue of a result of the same cube.

        It is the quantity of that name which `hisatools.PerformanceModel.assess` writes, measured in another
        way; the column's description and ``meta["reliability"]`` say in which.

        Parameters
        ----------
        result : `~hisatools.HISAResult`

        Returns
        -------
        `~hisatools.HISAResult`
            A new one; the old one is as it was.

        Raises
        ------
        InputError
            If the result is of another shape than the cube.

        Warns
        -----
        HISAWarning
            If a column of that name is replaced.
        """
        values = self.reliability(result)
        if "reliability" in result.catalog.colnames:
            warnings.warn(
                f"the catalogue has a column reliability already; it is replaced by that of the {METHOD}",
                HISAWarning,
                stacklevel=2,
            )
        catalog = result.catalog.copy()
        catalog["reliability"] = values
        catalog["reliability"].info.description = DESCRIPTION
        return replace(result, catalog=catalog, meta=result.meta | {"reliability": self.meta})

    def plot(self, ax=None):
        """Draw both populations; see `hisatools.significance.reliability_figures.plot_reliability`."""
        from hisatools.significance.reliability_figures import plot_reliability

        return plot_reliability(self, ax=ax)

    def _points(self, what):
        if what is None:
            return self.real
        if isinstance(what, HISAResult):
            return feature_points(what, self.noise)
        points = np.asarray(what, float)
        if points.ndim != 2 or points.shape[1] != 3:
            raise InputError(
                f"the points have the shape {points.shape}; give a result, or an array of shape (n, 3) with "
                "log10 of peak, sum and mean"
            )
        return points

    @cached_property
    def _real(self):
        return self.real[np.isfinite(self.real).all(axis=1)]

    @cached_property
    def _false(self):
        return self.false[np.isfinite(self.false).all(axis=1)]

    @cached_property
    def _kernel(self):
        """Standard deviation of the kernel along each axis; shape (3,)."""
        scatter = self._false.std(axis=0) if len(self._false) else np.zeros(3)
        return self.parameters.kernel_scale * np.maximum(scatter, LEAST_SCATTER)

    @cached_property
    def _steps(self):
        """Rarity from which on a reliability holds, and that reliability; see `rising_steps`.

        A false feature is compared with the others: it would always seem less rare for being there itself.
        """
        of_false = -log_share_above(self._false, self._false, self._kernel, leave_out_itself=True)
        return rising_steps(self.rarity(self._real), of_false)


def keep_reliable(cube, result, extractor, *, workers=1, progress=False):
    """The features of a result that are likely enough real, for `~hisatools.HISAExtractor`.

    Features of unknown reliability are kept.

    Parameters
    ----------
    cube : `~hisatools.HISACube`
    result : `~hisatools.HISAResult`
    extractor : `~hisatools.HISAExtractor`
        The one that made it, with its ``min_reliability``.
    workers : int
    progress : bool

    Returns
    -------
    `~hisatools.HISAResult`
        With the column ``reliability``; a remark says how many features were dropped.
    """
    if not len(result.catalog):
        return result
    model = ReliabilityModel.measure(cube, result, extractor, workers=workers, progress=progress)
    result = model.assess(result)
    keep = ~(np.asarray(result.catalog["reliability"]) < extractor.min_reliability)
    n_dropped = int(np.count_nonzero(~keep))
    remark = (
        f"{n_dropped} of {keep.size} features dropped: reliability below {extractor.min_reliability:g} "
        f"({METHOD}, {model.meta['n_mirrored']} features in the mirrored cube)"
    )
    meta = result.meta | {"remarks": [*result.meta["remarks"], remark]}
    return replace(select_features(result, keep), meta=meta)


def _without_limit(extractor):
    """An extractor that does not ask for the reliability of what it finds."""
    from hisatools.extraction import HISAExtractor

    if extractor is None:
        return HISAExtractor()
    plain = copy.copy(extractor)
    plain.min_reliability = None
    return plain


def _check_extractor(extractor, result):
    own = extractor.settings()["parameters"]
    theirs = {name: value for name, value in result.meta.get("parameters", own).items() if name in own}
    if differing := differences(own, theirs):
        warnings.warn(
            f"the result is of another extraction ({'; '.join(differing)}): its false features differ; give "
            "the extractor that made it",
            HISAWarning,
            stacklevel=3,
        )


def _touching(result, index):
    """Whether features hold any of some places in the flattened cube; shape (n,).

    Where T_U is filled in there is no noise, and what was missed about it stands up as a bump: a dip there is
    the rest of real absorption.
    """
    labels = result.labels.reshape(-1)[index]
    touches = np.zeros(len(result.catalog), bool)
    touches[catalog_rows(labels[labels > 0], result.catalog["id"])] = True
    return touches


def _warn_of_few(n_false, min_false):
    if n_false >= min_false:
        return
    cure = "lower min_significance, or use a larger cube"
    if n_false == 0:
        text = f"the mirrored search found nothing, so that all features have a reliability of 1; {cure}"
    else:
        text = f"only {n_false} features in the mirrored cube: the reliability is uncertain; {cure}"
    warnings.warn(text, HISAWarning, stacklevel=3)
