"""What a run leaves in its folder: histograms, tables and figures."""

import warnings
from pathlib import Path

from hisatools.errors import HISAWarning
from hisatools.io.writing import writing_folder
from hisatools.performance.calibration import cross_validate
from hisatools.performance.files import write_performance
from hisatools.performance.statements import region_table

FIGURES = ("sample", "projections", "fractions", "drifts", "reliability", "calibration")
TABLES = ("models", "regions", "calibration")
REPORT_FILES = (
    "histograms.fits",
    *(f"{name}.ecsv" for name in TABLES),
    *(f"{name}.png" for name in FIGURES),
)


def write_report(performance, folder, *, parts=()):
    """Write a performance model with its tables and figures, completely or not at all.

    Parameters
    ----------
    performance : `~hisatools.PerformanceModel`
    folder : str or path
        Files of an older report in it are replaced, others stay.
    parts : sequence of `~hisatools.PerformanceModel`
        The models that it was merged from, for `~hisatools.performance.calibration.cross_validate`; with
        fewer than two there is no calibration.

    Returns
    -------
    dict of `~astropy.table.QTable`
        The tables by their names: ``models``, ``regions`` and ``calibration``.

    Raises
    ------
    OutputError
        If the folder cannot be written.

    Warns
    -----
    HISAWarning
        If a figure cannot be drawn; the other files are written nevertheless.

    Examples
    --------
    >>> from hisatools.performance import Histograms, PerformanceModel
    >>> from hisatools.performance.report import write_report
    >>> tables = write_report(PerformanceModel(Histograms.empty()), "report")  # doctest: +IGNORE_WARNINGS
    >>> sorted(tables)
    ['models', 'regions']
    """
    parts = list(parts)
    tables = {"models": performance.models, "regions": region_table(performance)}
    if len(parts) > 1:
        tables["calibration"] = cross_validate(parts)
    with writing_folder(folder, overwrite=True, names=REPORT_FILES) as part:
        write_performance(performance, part / "histograms.fits")
        for name, table in tables.items():
            table.write(part / f"{name}.ecsv")
        _draw(performance, tables.get("calibration"), part)
    return tables


def read_parts(folder, seeds):
    """The models of a run, one for each cube.

    Parameters
    ----------
    folder : str or path
        The ``folder`` of the run.
    seeds : iterable of int

    Returns
    -------
    list of `~hisatools.PerformanceModel`

    Examples
    --------
    >>> from hisatools import HISAExtractor
    >>> from hisatools.performance import run_models
    >>> from hisatools.performance.report import read_parts
    >>> from hisatools.simulate import ModelParameters
    >>> small = ModelParameters(shape=(16, 72, 72), n_pucks=8, n_components=60)
    >>> how = {"parameters": small, "seed": 3, "extractor": HISAExtractor(n_passes=1), "folder": "models"}
    >>> performance = run_models(1, **how)  # doctest: +IGNORE_WARNINGS
    >>> len(read_parts("models", [3]))
    1
    """
    from hisatools.performance.files import read_performance
    from hisatools.performance.runs import model_path

    return [read_performance(model_path(Path(folder), int(seed))) for seed in seeds]


def _draw(performance, calibration, folder):
    """A figure that cannot be drawn must not cost the user the numbers."""
    from hisatools.performance.figures import plot_calibration, write_figures

    try:
        write_figures(performance, folder)
        if calibration is not None:
            plot_calibration(calibration).savefig(folder / "calibration.png", dpi=150)
    except (OSError, MemoryError):
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        warnings.warn(f"not all figures could be drawn ({reason})", HISAWarning, stacklevel=2)
