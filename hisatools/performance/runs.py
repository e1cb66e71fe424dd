"""Making performance models: cubes with known absorption are extracted, one after the other.

Each cube becomes one file where a folder is given, so that a run can be interrupted, resumed and
added to.
"""

import hashlib
import logging
import time
import warnings
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import astropy.units as u
import numpy as np
from tqdm import tqdm

from hisatools.errors import HISAWarning, OutputError, ParameterError
from hisatools.extraction import HISAExtractor
from hisatools.noise import NoiseCorrelation
from hisatools.parameters import check_number
from hisatools.performance.counts import model_row
from hisatools.performance.files import DamagedFileError, read_performance, write_performance
from hisatools.performance.histograms import Histograms
from hisatools.performance.injection import measure_sky
from hisatools.performance.model import PerformanceModel
from hisatools.performance.observables import Voxels
from hisatools.performance.sample import Sample
from hisatools.simulate import ModelParameters, simulate_cube

logger = logging.getLogger(__name__)


def run_models(
    n_models=8,
    *,
    shape=None,
    seed=1,
    extractor=None,
    workers=1,
    parameters=None,
    folder=None,
    resume=False,
    progress=False,
    report=None,
):
    """Extract model cubes of the paper's section 3.2 and compare them with their truth.

    Parameters
    ----------
    n_models : int
        Number of cubes; their seeds are ``seed``, ``seed + 1`` and so on.
    shape : (n_v, n_y, n_x), optional
        With as many pucks and emission components per voxel as the paper; its 128 x 512 x 512 by
        default.
    seed : int
        Of the first cube.
    extractor : `~hisatools.HISAExtractor`, optional
        The preset "cgps" by default.
    workers : int
        Number of threads; never changes the result.
    parameters : `~hisatools.simulate.ModelParameters`, optional
        Instead of ``shape``, for other models.
    folder : str or path, optional
        For one file a cube; made if it does not exist.
    resume : bool
        Whether cubes that have a whole file in ``folder`` are taken from it, all of them, also those
        that are not asked for again. Cubes with half-written files are extracted again.
    progress : bool
        Whether to show progress bars.
    report : callable, optional
        Called with the `PerformanceModel` of each cube as soon as there is one.

    Returns
    -------
    `~hisatools.PerformanceModel`

    Raises
    ------
    ParameterError
        If both ``shape`` and ``parameters`` are given, or the files are of another run.
    OutputError
        If ``folder`` holds files of an earlier run and ``resume`` is False.

    Examples
    --------
    One cube, smaller than a model of any use, so that it takes a second:

    >>> from hisatools import HISAExtractor
    >>> from hisatools.performance import run_models
    >>> from hisatools.simulate import ModelParameters
    >>> small = ModelParameters(shape=(32, 96, 96), n_pucks=20, n_components=100)
    >>> how = {"seed": 3, "extractor": HISAExtractor(n_passes=1)}
    >>> performance = run_models(1, parameters=small, **how)  # doctest: +IGNORE_WARNINGS
    >>> len(performance.models), performance.region("true_fraction").n_voxels
    (1, 409)
    """
    if shape is not None and parameters is not None:
        raise ParameterError(f"give shape={shape} or parameters, not both; parameters hold a shape")
    if parameters is None:
        parameters = ModelParameters() if shape is None else ModelParameters().scaled(_three(shape))
    beam_pix = (parameters.beam_fwhm / parameters.pixel_scale).to_value("")
    line_chan = (parameters.noise_linewidth / parameters.channel_width).to_value("")
    source = _Source(
        make=lambda number: simulate_cube(parameters, seed=number),
        about={"kind": "models", "model": parameters.to_dict() | {"shape": list(parameters.shape)}},
        correlated_voxels=NoiseCorrelation(beam_pix, line_chan).n_voxels,
    )
    run = _Run(source, extractor, workers, progress, folder, resume, report)
    return run.collect(n_models, seed)


def _three(shape):
    try:
        n_v, n_y, n_x = shape
    except (TypeError, ValueError):
        raise ParameterError(
            f"shape must be three whole numbers (n_v, n_y, n_x), got {shape!r}; for example (64, 256, 256)"
        ) from None
    return n_v, n_y, n_x


def run_injections(
    cube,
    n_models=4,
    *,
    seed=1,
    extractor=None,
    n_pucks=None,
    noise="drawn",
    workers=1,
    folder=None,
    resume=False,
    progress=False,
    report=None,
):
    """Put absorption into a real cube, and see how much of it is found.

    The cube is extracted first. Absorption that is found is replaced by T_U, and no puck is put there:
    the sky that is left is taken as free of absorption. See `hisatools.performance.injection`.

    Parameters
    ----------
    cube : `~hisatools.HISACube`
    n_models : int
        How often pucks are put in; their seeds are ``seed``, ``seed + 1`` and so on.
    seed : int
    extractor : `~hisatools.HISAExtractor`, optional
        The preset "cgps" by default.
    n_pucks : int, optional
        As many as in the paper's models for the same area and velocity range by default.
    noise : {"drawn", "own"}
        "drawn": noise below the scale of the spectral search's box mean is drawn anew with the measured
        level and correlation, so that noise that looks like absorption counts as false. "own": the
        cube's noise stays; what it looks like absorption in has been taken away with the real
        absorption, so that true fractions are upper limits.
    workers, folder, resume, progress, report
        As for `run_models`.

    Returns
    -------
    `~hisatools.PerformanceModel`

    Raises
    ------
    ParameterError
        If an argument is impossible, or the files in ``folder`` are of another run.
    OutputError
        If ``folder`` holds files of an earlier run and ``resume`` is False.

    Examples
    --------
    >>> from hisatools import HISAExtractor
    >>> from hisatools.performance import run_injections
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> small = ModelParameters(shape=(16, 72, 72), n_pucks=8, n_components=60)
    >>> cube = simulate_cube(small, seed=3).cube
    >>> how = {"n_pucks": 20, "extractor": HISAExtractor(n_passes=1)}
    >>> performance = run_injections(cube, 1, **how)  # doctest: +IGNORE_WARNINGS
    >>> performance.meta["kind"], performance.region("throughput").n_voxels
    ('injection', 10087)
    """
    extractor = HISAExtractor() if extractor is None else extractor
    # Before the long extraction that comes first.
    _check_start(n_models, seed, folder, resume)
    sky = measure_sky(cube, extractor, n_pucks=n_pucks, noise=noise, workers=workers, progress=progress)
    pucks = sky.parameters.to_dict() | {"shape": list(sky.parameters.shape)}
    source = _Source(
        make=sky.inject,
        about={"kind": "injection", "noise": noise, "model": pucks, "cube": _identity(cube)},
        correlated_voxels=sky.correlation.n_voxels,
    )
    run = _Run(source, extractor, workers, progress, folder, resume, report)
    return run.collect(n_models, seed)


def _identity(cube):
    """What tells a cube from others: its data, not where its file lies or how the path was typed."""
    digest = hashlib.sha256(np.ascontiguousarray(cube.kelvin))
    if cube.weights is not None:
        digest.update(np.ascontiguousarray(cube.weights))
    path, name = cube.meta.get("path"), cube.meta.get("object")
    return {
        "file": None if path is None else Path(path).name,
        "object": None if name is None else str(name),
        "data_sha256": digest.hexdigest(),
    }


@dataclass(frozen=True)
class _Source:
    """Where cubes with known absorption come from.

    ``make(seed)`` returns an object with ``cube`` and with what `Voxels.of` wants.
    """

    make: object
    about: dict
    correlated_voxels: float


class _Run:
    """One run over cubes of a source."""

    def __init__(self, source, extractor, workers, progress, folder, resume, report):
        self.source = source
        self.extractor = HISAExtractor() if extractor is None else extractor
        self.workers, self.progress, self.resume = workers, progress, resume
        self.report = report
        self.folder = None if folder is None else Path(folder).expanduser()
        self.meta = source.about | {"hisatools": version("hisatools"), "extractor": self.extractor.settings()}

    def collect(self, n_models, seed):
        """All cubes, merged in the order of their seeds."""
        _check_start(n_models, seed, self.folder, self.resume)
        self._prepare_folder()
        seeds = sorted({*range(seed, seed + n_models), *self._seeds_in_folder()})
        bar = tqdm(seeds, desc="models", unit="model", disable=not self.progress)
        parts = []
        for number in bar:
            logger.info("performance: cube of seed %d, %d of %d", number, len(parts) + 1, len(seeds))
            parts.append(self._one(number, sampled=number == seeds[0]))
            if self.report is not None:
                self.report(parts[-1])
        return PerformanceModel.merge(parts)

    def _seeds_in_folder(self):
        """Seeds of the cubes that are there already: they belong to the run, asked for again or not."""
        paths = [] if self.folder is None else self.folder.glob("seed_*.fits")
        return {int(path.stem.removeprefix("seed_")) for path in paths if path.stem[5:].isdecimal()}

    def _prepare_folder(self):
        if self.folder is None:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            # What a killed run left under a temporary name.
            for path in self.folder.glob(".seed_*.part.fits"):
                path.unlink()
        except OSError as error:
            raise OutputError(f"cannot write {self.folder}: {error.strerror or error}") from error

    def _one(self, seed, *, sampled):
        """One cube: from its file where that is whole, else extracted."""
        path = None if self.folder is None else model_path(self.folder, seed)
        if path is not None and path.exists():
            with_file = self._read(path)
            if with_file is not None:
                return with_file
        performance = self._extract(seed, sampled)
        if path is not None:
            write_performance(performance, path, overwrite=True)
        return performance

    def _read(self, path):
        try:
            performance = read_performance(path)
        except DamagedFileError as error:
            warnings.warn(f"{error}; this cube is extracted again", HISAWarning, stacklevel=4)
            return None
        if performance.meta != self.meta:
            differing = sorted(
                name
                for name in performance.meta.keys() | self.meta.keys()
                if performance.meta.get(name) != self.meta.get(name)
            )
            raise ParameterError(
                f"{path} is of a run with other settings ({', '.join(differing)}); choose another folder, or "
                "give the same settings"
            )
        return performance

    def _extract(self, seed, sampled):
        model = self.source.make(seed)
        start = time.perf_counter()
        result = self.extractor.run(model.cube, workers=self.workers)
        seconds = time.perf_counter() - start
        truth, found = Voxels.of(model), Voxels.of(result)
        sample = Sample.take(truth, model.delta_t.to_value(u.K), found, result) if sampled else None
        return PerformanceModel(
            Histograms.compare(truth, found),
            self.source.correlated_voxels,
            models=model_row(seed, truth, found, result.first_pass, seconds),
            sample=sample,
            meta=self.meta,
        )


def model_path(folder, seed):
    """The file of one cube of a run.

    Parameters
    ----------
    folder : `~pathlib.Path`
    seed : int

    Returns
    -------
    `~pathlib.Path`
    """
    return folder / f"seed_{seed:05d}.fits"


def _check_start(n_models, seed, folder, resume):
    """Say at once what would be wrong later."""
    check_number("n_models", n_models, integer=True)
    check_number("seed", seed, inclusive=True, integer=True)
    if folder is not None and not resume and any(Path(folder).expanduser().glob("seed_*.fits")):
        raise OutputError(
            f"{folder} holds models of an earlier run; go on with it (--resume, resume=True) or choose "
            "another folder"
        )
