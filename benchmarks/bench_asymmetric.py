"""Asymmetric least squares: the banded solver against a sparse one, and training."""

import numpy as np
import pytest
from scipy import sparse
from scipy.sparse.linalg import spsolve

from hisatools.unabsorbed.asymmetric_baselines import difference_noise, find_baselines
from hisatools.unabsorbed.asymmetric_least_squares import (
    AsymmetricLeastSquaresParameters,
    AsymmetricLeastSquaresStrategy,
)
from hisatools.unabsorbed.smoothing_training import TrainingParameters, train_smoothing
from hisatools.unabsorbed.uncertainty import ErrorModel

N_CHANNELS = 272
N_SPECTRA = 8192
N_SPARSE = 20


@pytest.fixture(scope="module")
def spectra_kelvin():
    """Two broad lines, a narrow dip and noise of 3 K in each; shape (n_v, n)."""
    rng = np.random.default_rng(1)
    v = np.arange(N_CHANNELS)[:, None]

    def lines(height, sigma_chan):
        centre = rng.uniform(0.2, 0.8, N_SPECTRA) * N_CHANNELS
        return height * np.exp(-0.5 * ((v - centre) / sigma_chan) ** 2)

    return lines(70, 25) + lines(40, 12) - lines(30, 2) + rng.normal(0, 3, (N_CHANNELS, N_SPECTRA))


@pytest.fixture(scope="module")
def whole_channel(spectra_cube):
    """A feature that every sight line crosses."""
    labels = np.zeros(spectra_cube.shape, np.int32)
    labels[len(labels) // 2] = np.isfinite(spectra_cube.kelvin[len(labels) // 2])
    return labels


@pytest.mark.parametrize("workers", (1, 2))
def bench_baselines_of_a_cube(timer, spectra_cube, whole_channel, workers):
    index = np.flatnonzero(whole_channel)
    strategy = AsymmetricLeastSquaresStrategy()
    timer(lambda: strategy.estimate(spectra_cube, whole_channel, np.array([1]), index, workers=workers))
    timer.rate(index.size / 1e3, "thousand spectra/s")


def bench_uncertainty_of_a_voxel_in_each(timer, spectra_cube, whole_channel):
    index = np.flatnonzero(whole_channel)[::8]
    errors = ErrorModel(lambda at: np.full(np.shape(at), 3.0), (1.0, 2.0), np.array([[100.0, 10.0, 50.0]]))
    strategy = AsymmetricLeastSquaresStrategy()
    timer(lambda: strategy.estimate(spectra_cube, whole_channel, np.array([1]), index, errors=errors))
    timer.rate(index.size / 1e3, "thousand voxels/s")


def bench_spectra_of_272_channels(timer, spectra_kelvin):
    parameters = AsymmetricLeastSquaresParameters()
    masked = np.zeros(spectra_kelvin.shape, bool)
    found = timer(lambda: find_baselines(spectra_kelvin, masked, (5.0, 2.0), parameters, gate_chan=18.0))
    timer.rate(N_SPECTRA / 1e3, "thousand spectra/s")
    timer.note(stages=float(found.n_stages.mean()))


def bench_sparse_solves_of_as_many_stages(timer, spectra_kelvin):
    """What one process of a program with a sparse matrix for each solve would need."""
    noise = difference_noise(spectra_kelvin[:, :N_SPARSE])
    spectra = spectra_kelvin[:, :N_SPARSE].T
    timer(lambda: [_sparse_baseline(*pair) for pair in zip(spectra, noise, strict=True)], repeats=1)
    timer.rate(N_SPARSE / 1e3, "thousand spectra/s")


def _sparse_baseline(spectrum, sigma):
    last, at_rest = _sparse_smooth(spectrum, 5.0), 0
    while at_rest < 4:
        before = _sparse_smooth(last, 2.0)
        last = _sparse_smooth(before, 2.0)
        at_rest = at_rest + 1 if np.abs(last - before).max() < sigma else 0
    return last


def _sparse_smooth(spectrum, lam, p=0.9):
    n = len(spectrum)
    difference = sparse.diags_array([1.0, -2.0, 1.0], offsets=[0, 1, 2], shape=(n - 2, n))
    penalty, weights = lam * difference.T @ difference, np.ones(n)
    for _ in range(3):
        smooth = spsolve((penalty + sparse.diags_array(weights)).tocsc(), weights * spectrum)
        weights = np.where(spectrum > smooth, p, 1 - p)
    return smooth


def bench_training(timer, spectra_cube):
    training = TrainingParameters(n_spectra=200)
    found = timer(lambda: train_smoothing(spectra_cube, training=training), repeats=1)
    timer.note(gain=found.gain, evaluations=len(found.evaluations))
