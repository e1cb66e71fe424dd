"""`NoiseEstimator`: from a cube to its noise, with the strategy chosen by name."""

import logging
import time
from pathlib import Path

import astropy.units as u
import numpy as np

from hisatools import strategies
from hisatools.errors import InputError, ParameterError
from hisatools.noise.fields import source
from hisatools.noise.masks import SkyMask
from hisatools.noise.protocols import NoiseMeasurement
from hisatools.noise.result import NoiseResult
from hisatools.noise.sources import SourceMask, automatic_mask
from hisatools.parameters import check_number
from hisatools.search.base import run_blocks

__all__ = ["NoiseEstimator", "estimate_many"]

logger = logging.getLogger(__name__)


class NoiseEstimator:
    """Measure the noise of a cube.

    Parameters
    ----------
    strategy : str
        ``"thirds"``, ``"line-free"``, ``"mesh"``, ``"mad-difference"``, ``"weights"``, ``"radiometer"``,
        ``"propagated"``, or one that a package of yours adds; see `hisatools.strategies.available`. The
        default, ``"mad-difference"``, hangs least on sources and on the size of the sky.
    parameters : optional
        Of the strategy's ``Parameters``; its defaults if not given.
    **inputs
        What the strategy can be given beside them, such as ``weights`` for ``"weights"``.

    Raises
    ------
    ParameterError
        If the strategy is unknown, needs a package that is missing, or takes no such input.

    Examples
    --------
    >>> from hisatools import NoiseEstimator
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> model = simulate_cube(ModelParameters(shape=(48, 40, 40), n_pucks=3, n_components=50), seed=101)
    >>> noise = NoiseEstimator("mad-difference").estimate(model.cube)
    >>> noise.sigma.shape, noise.sigma.mean().round(1)  # 6 K were put in
    ((40, 40), <Quantity 6. K>)
    >>> NoiseEstimator("thirds").parameters.smoothing_beams
    6.0
    """

    def __init__(self, strategy="mad-difference", parameters=None, **inputs):
        kind = strategies.load("noise", strategy)
        wanted = getattr(kind, "Parameters", None)
        if parameters is not None and wanted is not None and not isinstance(parameters, wanted):
            raise ParameterError(
                f"strategy {strategy!r} needs parameters of {wanted.__name__}, got {parameters!r}; "
                f"write for example {wanted.__name__}()"
            )
        try:
            self.measurer = kind(parameters, **inputs)
        except TypeError as exc:
            raise ParameterError(
                f"strategy {strategy!r} takes no such input: {exc}; given were: {', '.join(inputs) or 'none'}"
            ) from exc
        self.strategy = strategy

    @property
    def parameters(self):
        """Parameters of the strategy."""
        return self.measurer.parameters

    def estimate(self, cube, *, mask=None, workers=1, progress=False):
        """Measure the noise of one cube.

        Parameters
        ----------
        cube : `~hisatools.HISACube`
            NaN is blank and never used.
        mask : `~numpy.ndarray` of bool, `SkyMask`, `SourceMask` or ``"automatic"``, optional
            True where a voxel, or a sight line of a 2-D mask, is not used. The noise there is taken from what
            lies about it. ``"automatic"`` looks for sources, see `automatic_mask`.
        workers : int
            Number of threads; never changes the result.
        progress : bool
            Whether to show a progress bar.

        Returns
        -------
        `NoiseResult`

        Raises
        ------
        InputError
            If the mask does not fit, or too little of the cube is left to measure noise. Where there is
            just enough, a `~hisatools.errors.HISAWarning` says how uncertain the noise is.
        ParameterError
            If ``workers`` is no whole number above 0, or the mask's name is unknown.

        Examples
        --------
        Without a continuum source, which is found and masked:

        >>> from hisatools.noise import NoiseEstimator
        >>> from hisatools.simulate import ModelParameters, simulate_cube
        >>> model = simulate_cube(ModelParameters(shape=(48, 40, 40), n_pucks=3, n_components=50), seed=101)
        >>> kelvin = model.cube.kelvin.copy()
        >>> kelvin[:, 20:24, 30:34] += 150
        >>> cube = model.cube.with_brightness(kelvin)
        >>> noise = NoiseEstimator("mad-difference").estimate(cube, mask="automatic")
        >>> noise.sigma.shape, noise.sigma.mean().round(1)  # 6 K were put in
        ((40, 40), <Quantity 6.1 K>)
        """
        workers = check_number("workers", workers, integer=True)
        rounds = None
        if isinstance(mask, str):
            if mask != "automatic":
                raise ParameterError(f"unknown mask {mask!r}; give an array, a SkyMask, or 'automatic'")
            mask = automatic_mask(cube, workers=workers, progress=progress)
        if isinstance(mask, SourceMask):
            mask, rounds = mask.mask, [str(one) for one in mask.rounds]
        mask = _plain_mask(mask, cube)
        start = time.perf_counter()
        measured = self.measurer.estimate(cube, mask, workers, progress)
        logger.info("noise by %s: %.2f s", self.strategy, time.perf_counter() - start)
        if not isinstance(measured, NoiseMeasurement):
            measured = NoiseMeasurement(np.asarray(measured))
        meta = {
            "parameters": self.parameters.to_dict() if hasattr(self.parameters, "to_dict") else {},
            "citation": getattr(self.measurer, "citation", ""),
            **measured.meta,
        }
        if rounds is not None:
            meta["rounds"] = rounds
        return self._result(measured.sigma_kelvin, cube, meta)

    def _result(self, sigma_kelvin, cube, meta):
        """The result, blank where the cube is; an error if nothing is known at all."""
        if sigma_kelvin.shape not in (cube.shape, cube.shape[1:]):
            raise InputError(
                f"strategy {self.strategy!r} gave noise of shape {sigma_kelvin.shape} for a cube of shape "
                f"{cube.shape}; it must give (n_y, n_x) or (n_v, n_y, n_x)"
            )
        finite = np.isfinite(cube.kelvin)
        filled = finite if sigma_kelvin.ndim == 3 else finite.any(axis=0)
        known = filled & np.isfinite(sigma_kelvin) & (sigma_kelvin > 0)
        if not known.any():
            raise InputError(
                f"{source(cube)}: strategy {self.strategy!r} finds no noise in the usable voxels; give a "
                "cube with more channels or pixels, or a smaller mask"
            )
        sigma = np.where(known, sigma_kelvin, np.nan).astype(np.float32)
        wcs = cube.wcs if sigma.ndim == 3 else cube.wcs.celestial
        return NoiseResult(sigma << u.K, self.strategy, wcs, meta)

    def __repr__(self):
        return f"<NoiseEstimator {self.strategy!r} with {self.parameters!r}>"


def _plain_mask(mask, cube):
    """The mask as an array of bool that fits the cube; None for none."""
    if mask is None:
        return None
    if isinstance(mask, SkyMask):
        mask = mask.inside
    mask = np.asarray(mask)
    if mask.shape not in (cube.shape, cube.shape[1:]) or mask.dtype != bool:
        raise InputError(
            f"mask of shape {mask.shape} and type {mask.dtype} does not fit the cube of shape {cube.shape}; "
            "give True and False for each voxel, or for each sight line"
        )
    return mask if mask.any() else None


def estimate_many(cubes, estimator, *, masks=None, workers=1, progress=False):
    """Measure the noise of several cubes side by side.

    Parameters
    ----------
    cubes : sequence of `~hisatools.HISACube` or path
        A path is read when its turn comes, so that no more than ``workers`` of them are held at a time.
    estimator : `NoiseEstimator`
    masks : sequence, optional
        A mask for each cube, or one text for all, as `NoiseEstimator.estimate` takes it.
    workers : int
        Number of cubes at a time; never changes a result.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    list of `NoiseResult`
        In the order of ``cubes``.

    Raises
    ------
    InputError
        If a cube cannot be read or measured; the message names it.
    ParameterError
        If ``workers`` is no whole number above 0, or one cube or one mask is given in place of a sequence.

    Examples
    --------
    >>> from hisatools.noise import NoiseEstimator, estimate_many
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> small = ModelParameters(shape=(48, 40, 40), n_pucks=3, n_components=50)
    >>> cubes = [simulate_cube(small, seed=seed).cube for seed in (101, 102)]
    >>> len(estimate_many(cubes, NoiseEstimator("thirds"), workers=2))
    2
    """
    workers = check_number("workers", workers, integer=True)
    cubes = _several("cubes", cubes)
    if masks is not None and not isinstance(masks, str):
        masks = _several("masks", masks)
    masks = [masks] * len(cubes) if masks is None or isinstance(masks, str) else masks
    if len(masks) != len(cubes):
        raise InputError(f"{len(masks)} masks for {len(cubes)} cubes; give one for each, or None")

    def measure(pair):
        cube, mask = pair
        return estimator.estimate(_opened(cube), mask=mask)

    pairs = list(zip(cubes, masks, strict=True))
    return run_blocks(measure, pairs, workers=workers, progress=progress, description="noise")


def _several(name, values):
    """A list of what was given as a sequence; one thing alone is none."""
    try:
        if isinstance(values, str | Path):
            raise TypeError
        return list(values)
    except TypeError:
        raise ParameterError(
            f"{name} must be a sequence with one for each cube, got {type(values).__name__}; "
            f"write for example {name}=[one, other]"
        ) from None


def _opened(cube):
    from hisatools.cube import HISACube

    return HISACube.read(cube) if isinstance(cube, str | Path) else cube
