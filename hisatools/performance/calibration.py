"""Whether predicted true fractions come true: each model judged by all the others."""

import numpy as np
from astropy.table import QTable

from hisatools.errors import ParameterError
from hisatools.performance.model import PerformanceModel
from hisatools.performance.observables import STEPS
from hisatools.performance.smoothing import binomial_uncertainty

N_RANGES = 10
DESCRIPTIONS = {
    "low": "Least predicted true fraction of the range",
    "high": "Largest predicted true fraction of the range",
    "predicted": "Mean predicted true fraction of the accepted voxels in the range",
    "true_fraction": "Share of them that are real; NaN where there is none",
    "uncertainty": "Of true_fraction, 1 sigma; voxels whose noise is correlated count as one",
    "n_voxels": "Number of accepted voxels in the range",
}


def cross_validate(parts):
    """Predict the true fraction of every model's accepted voxels from the other models.

    Parameters
    ----------
    parts : sequence of `~hisatools.PerformanceModel`
        One for each cube, at least two; as ``hisatools performance`` leaves them in ``models/``.

    Returns
    -------
    `~astropy.table.QTable`
        One row for each tenth of predicted true fraction, and the mean prediction and the outcome
        in it. A voxel counts with the prediction at the centre of its bin; voxels unlike any in the
        other models have none and are left out.

    Raises
    ------
    ParameterError
        If there are fewer than two.

    Examples
    --------
    Two models that are the same, for brevity; with real ones predictions and outcomes differ:

    >>> from hisatools.datasets import example_model, example_result
    >>> from hisatools.performance import PerformanceModel
    >>> from hisatools.performance.calibration import cross_validate
    >>> one = PerformanceModel.from_pairs([(example_model(), example_result())])
    >>> table = cross_validate([one, one])
    >>> table.colnames[2:]
    ['predicted', 'true_fraction', 'uncertainty', 'n_voxels']
    >>> round(float(table["predicted"][-1]), 1), round(float(table["true_fraction"][-1]), 1)
    (1.0, 1.0)
    """
    parts = list(parts)
    if len(parts) < 2:
        raise ParameterError(
            f"parts must hold at least two models to judge each by the others, got {len(parts)}"
        )
    totals = np.zeros((3, N_RANGES))
    for number, part in enumerate(parts):
        others = PerformanceModel.merge(parts[:number] + parts[number + 1 :])
        totals += _tally(others, part.histograms)
    correlated_voxels = np.mean([part.correlated_voxels for part in parts])
    return _table(*totals, correlated_voxels)


def _tally(performance, histograms):
    """Accepted voxels, true ones, and sum of predictions, by tenths of the prediction."""
    predicted = performance.true_fraction.at_points((histograms.bins + 0.5) * STEPS)
    known = np.isfinite(predicted)
    n_all, n_true = (histograms.column(name)[known] for name in ("n_out_all", "n_out_true"))
    predicted = predicted[known].astype(float)
    tenth = np.minimum((predicted * N_RANGES).astype(int), N_RANGES - 1)
    weights = (n_all, n_true, n_all * predicted)
    return np.stack([np.bincount(tenth, weights=weight, minlength=N_RANGES) for weight in weights])


def _table(n_all, n_true, predicted, correlated_voxels):
    edges = np.arange(N_RANGES + 1) / N_RANGES
    with np.errstate(invalid="ignore"):
        fraction, mean = n_true / n_all, predicted / n_all
    table = QTable(
        {
            "low": edges[:-1],
            "high": edges[1:],
            "predicted": mean,
            "true_fraction": fraction,
            "uncertainty": binomial_uncertainty(fraction, n_all / correlated_voxels),
            "n_voxels": n_all.astype(int),
        }
    )
    for name, text in DESCRIPTIONS.items():
        table[name].info.description = text
    return table
