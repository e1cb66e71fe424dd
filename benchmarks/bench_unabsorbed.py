"""The unabsorbed emission across the union of both searches' masks, labels and widths."""

import pytest

from hisatools import HISACube, SpatialSearcher, SpectralSearcher, UnabsorbedEstimator
from hisatools.features import angular_widths, label_features, velocity_widths


@pytest.fixture(scope="module")
def cube(model_path):
    return HISACube.read(model_path)


@pytest.fixture(scope="module")
def union(cube):
    searchers = SpectralSearcher(), SpatialSearcher()
    spectral, spatial = (searcher.search(cube, workers=2).mask for searcher in searchers)
    return spectral | spatial


@pytest.mark.parametrize("workers", (1, 2))
def bench_estimate(timer, cube, union, workers):
    _time_estimate(timer, cube, union, workers, uncertainty=False)


@pytest.mark.parametrize("workers", (1, 2))
def bench_estimate_with_its_uncertainty(timer, cube, union, workers):
    _time_estimate(timer, cube, union, workers, uncertainty=True)


def _time_estimate(timer, cube, union, workers, uncertainty):
    estimator = UnabsorbedEstimator()
    estimate = timer(lambda: estimator.estimate(cube, union, uncertainty=uncertainty, workers=workers))
    n_flagged = int(union.sum())
    timer.rate(n_flagged / 1e6, "million flagged voxels/s")
    timer.note(flagged=n_flagged, features=int(estimate.n_off.size))


def bench_labels(timer, union):
    timer(lambda: label_features(union))
    timer.rate(union.size / 1e6, "million voxels/s")


def bench_angular_widths(timer, union):
    timer(lambda: angular_widths(union))
    timer.rate(union.size / 1e6, "million voxels/s")


def bench_velocity_widths(timer, cube, union):
    depth_kelvin = -UnabsorbedEstimator().estimate(cube, union, uncertainty=False, workers=2).delta_t.value
    timer(lambda: velocity_widths(depth_kelvin, union))
    timer.rate(union.size / 1e6, "million voxels/s")
