"""Predicted true fractions against what came true."""

import numpy as np
import pytest

from hisatools.errors import ParameterError
from hisatools.performance import Histograms, PerformanceModel, Voxels
from hisatools.performance.calibration import cross_validate


def models(true_share, n_models=4, n_voxels=20_000, seed=0):
    """Accepted voxels of one kind, of which a share is real; the share may depend on the depth."""
    rng = np.random.default_rng(seed)
    parts = []
    for _ in range(n_models):
        values = np.empty((n_voxels, 4), np.float32)
        values[:, 0] = rng.uniform(-40, -0.1, n_voxels)
        values[:, 1:] = 92, 4.2, 2.2
        real = rng.random(n_voxels) < true_share(values[:, 0])
        found = Voxels(np.ones((1, 1, n_voxels), bool), values)
        truth = Voxels(real[None, None], values[real])
        parts.append(PerformanceModel(Histograms.compare(truth, found)))
    return parts


def test_predictions_of_a_law_that_holds_come_true():
    table = cross_validate(models(lambda delta_t: np.clip(-delta_t / 40, 0, 1)))
    # Without the ends of the range, where the smoothing has voxels on one side only.
    table = table[1:7]
    assert (table["n_voxels"] > 1000).all()
    assert (abs(table["true_fraction"] - table["predicted"]) < 0.03).all()
    assert ((table["predicted"] >= table["low"]) & (table["predicted"] <= table["high"])).all()


def test_predictions_that_fail_are_seen_to_fail():
    # Each half predicts the other, and they contradict each other.
    reliable, doubtful = models(lambda _: 0.95, 1), models(lambda _: 0.55, 1)
    table = cross_validate(reliable + doubtful)
    assert table["true_fraction"][9] == pytest.approx(0.55, abs=0.02)
    assert table["true_fraction"][5] == pytest.approx(0.95, abs=0.02)


def test_every_voxel_that_has_a_prediction_is_in_one_tenth():
    parts = models(lambda _: 0.8, 3)
    table = cross_validate(parts)
    n_accepted = sum(part.histograms.column("n_out_all").sum() for part in parts)
    assert 0 < table["n_voxels"].sum() <= n_accepted
    assert np.isnan(table["true_fraction"][table["n_voxels"] == 0]).all()


def test_certainty_is_in_the_last_tenth():
    table = cross_validate(models(lambda _: 1.0, 2))
    assert table["n_voxels"][9] == table["n_voxels"].sum() > 0
    assert table["true_fraction"][9] == table["predicted"][9] == 1


@pytest.mark.parametrize("n_models", [0, 1])
def test_one_model_has_no_others(n_models):
    with pytest.raises(ParameterError, match=f"at least two models.*got {n_models}"):
        cross_validate(models(lambda _: 0.5, n_models, 10))
