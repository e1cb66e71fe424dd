"""Significance: the scan of a cube, its peaks, its trials and what they say of features, together."""

import logging
import time
from dataclasses import dataclass, field
from importlib.metadata import version

import numpy as np
from astropy.table import QTable
from astropy.wcs import WCS

from hisatools.errors import InputError
from hisatools.parameters import check_number
from hisatools.significance.assessment import DESCRIPTIONS, assess_features
from hisatools.significance.peaks import MIN_TS, find_peaks
from hisatools.significance.prior_axes import check_same_axes
from hisatools.significance.scan import SignificanceScan

__all__ = ["Significance", "measure_significance"]

logger = logging.getLogger(__name__)

N_PEAKS = 500


@dataclass(frozen=True, eq=False)
class Significance:
    """What could noise do, and what not: all that `measure_significance` found in a cube.

    Parameters
    ----------
    ts : `~numpy.ndarray` of float32, shape (n_v, n_y, n_x)
        (A / sigma_A)^2 of the best template; NaN where not scanned.
    ts_prior : `~numpy.ndarray` of float32, same shape
        With the prior; the same array without one.
    delta_t_kelvin : `~numpy.ndarray` of float32, same shape, K
        Fitted dT of the best template, negative in absorption.
    template : `~numpy.ndarray` of uint8, same shape
        Number of the best template, see ``meta["templates"]``.
    wcs : `~astropy.wcs.WCS`
    peaks : `~astropy.table.QTable`
        Local maxima, see `find_peaks`; with ``p_global``, and ``feature``, the ``id`` of the feature of
        the result that the maximum lies in, or 0.
    trials : `~astropy.table.QTable` or None
        One row a trial without absorption.
    catalog : `~astropy.table.QTable` or None
        That of the result, with the columns of `assess_features`.
    meta : dict
        Provenance; JSON can hold it.
    prior : `SpatialPrior` or None
        Not read back from files.

    Examples
    --------
    >>> from hisatools.significance import Residual, Significance, measure_significance
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> model = simulate_cube(ModelParameters(shape=(24, 32, 32), n_pucks=4, n_components=60), seed=104)
    >>> residual = Residual.of(model.cube, model.t_unabsorbed, known=model.mask)
    >>> found = measure_significance(residual, n_trials=10)
    >>> found.peaks.colnames[:4], len(found.trials)
    (['ts', 'ts_prior', 'signal_to_noise', 'p_local'], 10)
    >>> again = Significance.read(found.write("significant"))
    >>> again.ts.shape, again.prior
    ((24, 32, 32), None)
    """

    ts: np.ndarray
    ts_prior: np.ndarray
    delta_t_kelvin: np.ndarray
    template: np.ndarray
    wcs: WCS
    peaks: QTable
    trials: QTable | None = None
    catalog: QTable | None = None
    meta: dict = field(default_factory=dict)
    prior: object = None

    def plot(self, path=None):
        """Draw TS before and after the prior, the hottest place, and what trials gave.

        Parameters
        ----------
        path : str or path, optional
            Where to save it.

        Returns
        -------
        `~matplotlib.figure.Figure`
        """
        from hisatools.significance.figures import plot_significance

        figure = plot_significance(self)
        if path is not None:
            figure.savefig(path, dpi=120)
        return figure

    def write(self, folder, *, overwrite=False):
        """Write everything to a folder, completely or not at all.

        Parameters
        ----------
        folder : str or path
            Gets ``ts.fits``, ``fitted_delta_t.fits``, ``template.fits``, ``peaks.ecsv``,
            ``significance.png`` and ``provenance.json``; with a prior ``ts_prior.fits`` and
            ``prior.fits``, with trials ``trials.ecsv``, with a result ``catalog.ecsv``.
        overwrite : bool
            Whether the files of an older run may be replaced. Files of other names stay.

        Returns
        -------
        pathlib.Path
            The folder.

        Raises
        ------
        OutputError
            If the folder holds files and ``overwrite`` is False, or cannot be written.
        """
        from hisatools.significance.files import write_significance

        return write_significance(self, folder, overwrite=overwrite)

    @classmethod
    def read(cls, folder):
        """Read what `write` wrote.

        Parameters
        ----------
        folder : str or path

        Returns
        -------
        Significance

        Raises
        ------
        InputError
            If a file is missing or damaged.
        """
        from hisatools.significance.files import read_significance

        return cls(**read_significance(folder))


def measure_significance(
    residual,
    *,
    result=None,
    scan=None,
    prior=None,
    within=None,
    n_trials=200,
    background="noise",
    seed=1,
    min_ts=MIN_TS,
    n_peaks=N_PEAKS,
    reliability=None,
    workers=1,
    progress=False,
    folder=None,
    resume=False,
    report=None,
):
    """Scan a residual, make trials of it, and say how likely noise is what was found.

    Parameters
    ----------
    residual : `Residual`
    result : `~hisatools.HISAResult`, optional
        Of the same cube: its features are assessed.
    scan : `SignificanceScan`, optional
        With the templates.
    prior : `SpatialPrior`, optional
        One, or the product of several.
    within : `~numpy.ndarray` of bool, shape (n_y, n_x) or (n_v, n_y, n_x), optional
        True where the scan is wanted.
    n_trials : int
        Cubes without absorption that are scanned as the data are; 0 for none.
    background : {"noise", "sign-flip", "shuffle"} or `TrialParameters`
        What trials are made of.
    seed : int
        Of the first trial.
    min_ts : float
        Least TS of a peak, with the prior.
    n_peaks : int
        How many peaks at most.
    reliability : `ReliabilityModel`, optional
        Adds the catalogue column ``reliability``.
    workers : int
        Number of threads; never changes the result.
    progress : bool
    folder : str or path, optional
        For trials that are done, see `TrialRunner.get_many_fits`.
    resume : bool
        Whether trials that ``folder`` holds are taken from it.
    report : callable, optional
        Called with a line of text when the scan is done.

    Returns
    -------
    `Significance`

    Raises
    ------
    InputError
        If result, prior or ``within`` are not on the axes of the residual, or nothing can be scanned.
    ParameterError
        If a number is impossible.

    Examples
    --------
    >>> from hisatools.significance import Residual
    >>> from hisatools.significance.outcome import measure_significance
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> model = simulate_cube(ModelParameters(shape=(32, 64, 64), n_pucks=8, n_components=60), seed=104)
    >>> residual = Residual.of(model.cube, model.t_unabsorbed, known=model.mask)
    >>> found = measure_significance(residual, n_trials=20)
    >>> round(float(found.peaks["p_global"][0]), 3)
    0.048
    """
    from hisatools.significance.global_chance import GlobalChance
    from hisatools.significance.trials import TrialParameters, TrialRunner

    n_trials = check_number("n_trials", n_trials, inclusive=True, integer=True)
    parameters = (
        background if isinstance(background, TrialParameters) else TrialParameters(background=background)
    )
    scanner = SignificanceScan() if scan is None else scan
    if prior is not None:
        check_same_axes(prior, residual.wcs, residual.shape, "the residual")
    runner = TrialRunner(residual, scan=scanner, prior=prior, within=within, parameters=parameters)
    scanned, seconds = _timed(runner.scan, workers=workers, progress=progress)
    if not np.isfinite(scanned.signal_to_noise).any():
        raise InputError(
            "no place holds enough of any template: too many voxels are blank, or the map is too small; give "
            "smaller widths, or a lower min_coverage"
        )
    logger.info("scanned with all templates: %.2f s", seconds)
    if report is not None:
        report(f"Scanned in {_text(seconds)}")
    trials = chance = None
    if n_trials:
        # One trial more than is kept: what all will take can be said before they are made.
        if report is not None:
            _, seconds = _timed(runner.get_one_fit, 0, seed)
            total = _text(seconds * n_trials / workers)
            threads = f" on {workers} threads" if workers > 1 else ""
            report(f"Each trial takes about {_text(seconds)}, all {n_trials}{threads} about {total}")
        trials = runner.get_many_fits(
            n_trials, seed=seed, workers=workers, progress=progress, folder=folder, resume=resume
        )
        chance = GlobalChance.of(trials)
    peaks = _peaks(scanned, residual, prior, chance, result, min_ts, n_peaks)
    assessed = (
        None
        if result is None
        else assess_features(
            result, scanned, residual=residual, prior=prior, background=chance, reliability=reliability
        )
    )
    return Significance(
        ts=scanned.ts,
        ts_prior=scanned.ts_with(prior),
        delta_t_kelvin=scanned.amplitude.value,
        template=scanned.template,
        wcs=residual.wcs,
        peaks=peaks,
        trials=trials,
        catalog=None if assessed is None else assessed.catalog,
        meta=_provenance(scanned, residual, prior, parameters, n_trials, seed, min_ts),
        prior=prior,
    )


def _timed(function, *arguments, **settings):
    """What a function returns, and the seconds it took."""
    started = time.perf_counter()
    found = function(*arguments, **settings)
    return found, time.perf_counter() - started


def _text(seconds):
    if seconds < 100:
        return f"{seconds:.2g} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"


def _peaks(scanned, residual, prior, chance, result, min_ts, n_peaks):
    peaks = find_peaks(scanned, residual=residual, min_ts=min_ts, prior=prior, n_max=n_peaks)
    p_global = np.full(len(peaks), np.nan) if chance is None else chance.p_value(peaks["ts_prior"])
    peaks.add_column(p_global, name="p_global", index=peaks.index_column("p_local") + 1)
    peaks["p_global"].info.description = DESCRIPTIONS["p_global"]
    if result is not None:
        peaks["feature"] = result.labels[peaks["v"], peaks["y"], peaks["x"]]
        peaks["feature"].info.description = "id of the feature of the result that the voxel lies in, or 0"
    return peaks


def _provenance(scanned, residual, prior, parameters, n_trials, seed, min_ts):
    correlation = residual.correlation
    noise = residual.sigma_kelvin[residual.sigma_kelvin > 0]
    return {
        "hisatools": version("hisatools"),
        "scan": scanned.parameters.to_dict(),
        "templates": [f"{width:g}, {linewidth:g}" for width, linewidth in scanned.parameters.templates],
        "factors": scanned.factors,
        "residual": scanned.meta,
        "noise": {
            "median_kelvin": float(np.median(noise)) if noise.size else None,
            "beam_pix": correlation.beam_pix,
            "line_chan": correlation.line_chan,
        },
        "prior": None if prior is None else {"name": prior.name, **prior.meta},
        "trials": {"number": n_trials, "seed": seed, **parameters.to_dict()} if n_trials else None,
        "min_ts": min_ts,
    }
