"""4-D histograms against counting voxel by voxel, and their sums."""

from collections import Counter, defaultdict
from functools import reduce
from operator import add

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from hisatools.errors import InputError
from hisatools.performance import Histograms, Voxels
from hisatools.performance.histograms import COUNTS, DRIFT_SQUARES, DRIFT_SUMS
from hisatools.performance.observables import NAMES, STEPS

RANDOM = settings(deadline=None, derandomize=True, max_examples=60)
COLUMNS = ("bins", "counts", "drift_sums", "drift_squares")


def voxels(mask, rng, spread=5):
    """Voxels far from the edges of bins, where rounding decides; dT negative."""
    numbers = rng.integers(0, spread, (np.count_nonzero(mask), 4)) - np.array([spread, 0, 0, 0])
    return Voxels(mask, ((numbers + rng.uniform(0.05, 0.95, numbers.shape)) * STEPS).astype(np.float32))


def random_pair(seed, *, shape=(6, 5, 4), shares=(0.6, 0.5), spread=5):
    rng = np.random.default_rng(seed)
    return [voxels(rng.uniform(size=shape) < share, rng, spread) for share in shares]


def assert_same(one, other):
    for name in COLUMNS:
        assert_array_equal(getattr(one, name), getattr(other, name))


def counted(truth, found):
    """Counts and drifts of every bin, voxel by voxel."""
    counts, drifts = {name: Counter() for name in COUNTS}, defaultdict(list)
    inside, outside = (
        dict(zip(zip(*np.nonzero(part.mask), strict=True), part.values.astype(float), strict=True))
        for part in (truth, found)
    )
    for voxel, values in inside.items():
        where = tuple(np.floor(values / STEPS).astype(int).tolist())
        counts["n_in_all"][where] += 1
        if voxel in outside:
            counts["n_in_det"][where] += 1
            drifts[where].append(outside[voxel] - values)
    for voxel, values in outside.items():
        where = tuple(np.floor(values / STEPS).astype(int).tolist())
        counts["n_out_all"][where] += 1
        counts["n_out_true"][where] += voxel in inside
    return counts, drifts


# --- what is counted ------------------------------------------------------------------------------


@RANDOM
@given(seed=st.integers(0, 9999), spread=st.sampled_from([1, 3, 20]))
def test_histograms_agree_with_counting_voxel_by_voxel(seed, spread):
    truth, found = random_pair(seed, spread=spread)
    histograms = Histograms.compare(truth, found)
    counts, drifts = counted(truth, found)
    occupied = {where for counter in counts.values() for where in counter}
    assert {tuple(where) for where in histograms.bins.tolist()} == occupied
    for k, where in enumerate(map(tuple, histograms.bins.tolist())):
        assert histograms.counts[k].tolist() == [counts[name][where] for name in COUNTS]
        drift = np.array(drifts[where]).reshape(-1, 4)
        assert_allclose(histograms.drift_sums[k], drift.sum(axis=0), rtol=1e-6, atol=1e-5)
        assert_allclose(histograms.drift_squares[k], (drift**2).sum(axis=0), rtol=1e-6, atol=1e-4)


def test_images_agree_with_numpy_histograms():
    truth, found = random_pair(7, shape=(12, 10, 9))
    histograms = Histograms.compare(truth, found)
    edges = [
        (first + np.arange(size + 1)) * step
        for first, size, step in zip(histograms.origin, histograms.shape, STEPS, strict=True)
    ]
    both = truth.mask & found.mask
    expected = {
        "n_in_all": truth.values,
        "n_in_det": truth.values[both[truth.mask]],
        "n_out_all": found.values,
        "n_out_true": found.values[both[found.mask]],
    }
    for name, points in expected.items():
        counts, _ = np.histogramdd(points, edges)
        assert counts.sum() == len(points) > 50
        assert_array_equal(histograms.image(name), counts)
    drift = found.values[both[found.mask]].astype(float) - expected["n_in_det"]
    for axis, name in enumerate(NAMES):
        for kind, power in (("drift_sum", 1), ("drift_square", 2)):
            sums, _ = np.histogramdd(expected["n_in_det"], edges, weights=drift[:, axis] ** power)
            assert_allclose(histograms.image(f"{kind}_{name}"), sums, rtol=1e-6, atol=1e-6)


def test_each_bin_is_there_once_and_in_order():
    bins = Histograms.compare(*random_pair(3, shape=(12, 10, 9), spread=9)).bins
    assert bins.dtype == np.int32
    assert [tuple(row) for row in bins.tolist()] == sorted({tuple(row) for row in bins.tolist()})


def test_drifts_are_output_minus_input():
    mask = np.ones((1, 1, 1), bool)
    truth = Voxels(mask, np.array([[-30, 90, 6, 3]], np.float32))
    found = Voxels(mask, np.array([[-26, 86.5, 4.75, 2]], np.float32))
    histograms = Histograms.compare(truth, found)
    row = histograms.bins.tolist().index([-12, 36, 12, 6])
    assert_allclose(histograms.drift_sums[row], [4, -3.5, -1.25, -1])
    assert_allclose(histograms.drift_squares[row], [16, 12.25, 1.5625, 1])
    assert histograms.counts[row].tolist() == [1, 1, 0, 0]
    assert not np.delete(histograms.drift_sums, row, axis=0).any()


@pytest.mark.parametrize("shares", [(0, 0), (0, 1), (1, 0)])
def test_nothing_put_in_or_nothing_found_is_no_fault(shares):
    truth, found = random_pair(1, shares=shares)
    histograms = Histograms.compare(truth, found)
    n_in, n_det, n_out, n_true = histograms.counts.sum(axis=0).tolist()
    assert (n_in, n_out) == (len(truth), len(found))
    assert n_det == n_true == 0
    assert not histograms.drift_sums.any()


def test_cubes_of_different_shapes_are_refused():
    (truth, _), (_, found) = random_pair(1), random_pair(1, shape=(6, 4, 5))
    with pytest.raises(InputError, match=r"must be on one grid, got \(6, 5, 4\) and \(6, 4, 5\)"):
        Histograms.compare(truth, found)


# --- sums -----------------------------------------------------------------------------------------


@RANDOM
@given(seeds=st.lists(st.integers(0, 99), min_size=2, max_size=5), shuffler=st.randoms(use_true_random=False))
def test_counts_of_a_sum_do_not_depend_on_the_order(seeds, shuffler):
    parts = [Histograms.compare(*random_pair(seed)) for seed in seeds]
    shuffled = shuffler.sample(parts, len(parts))
    one, other = reduce(add, parts), reduce(add, shuffled)
    assert_array_equal(one.bins, other.bins)
    assert_array_equal(one.counts, other.counts)
    assert_allclose(one.drift_sums, other.drift_sums, rtol=1e-9, atol=1e-9)
    assert_allclose(one.drift_squares, other.drift_squares, rtol=1e-9)


@RANDOM
@given(seeds=st.tuples(*[st.integers(0, 99)] * 3))
def test_sums_are_associative_and_keep_every_count(seeds):
    a, b, c = (Histograms.compare(*random_pair(seed)) for seed in seeds)
    left, right = (a + b) + c, a + (b + c)
    assert_array_equal(left.bins, right.bins)
    assert_array_equal(left.counts, right.counts)
    assert_allclose(left.drift_sums, right.drift_sums, rtol=1e-9, atol=1e-9)
    assert_array_equal(left.counts.sum(axis=0), sum(part.counts.sum(axis=0) for part in (a, b, c)))
    for name in ("drift_sums", "drift_squares"):
        totals = sum(getattr(part, name).sum(axis=0) for part in (a, b, c))
        assert_allclose(getattr(left, name).sum(axis=0), totals, rtol=1e-9, atol=1e-9)


def test_the_same_sum_has_the_same_bits():
    parts = [Histograms.compare(*random_pair(seed)) for seed in range(4)]
    assert_same(reduce(add, parts), reduce(add, parts))


def test_nothing_added_changes_no_bit():
    histograms = Histograms.compare(*random_pair(2))
    for total in (histograms + Histograms.empty(), Histograms.empty() + histograms):
        assert_same(total, histograms)
    assert len(Histograms.empty() + Histograms.empty()) == 0


def test_a_model_counted_twice_has_all_its_sums_twice():
    histograms = Histograms.compare(*random_pair(2))
    twice = histograms + histograms
    assert_array_equal(twice.bins, histograms.bins)
    for name in COLUMNS[1:]:
        assert_array_equal(getattr(twice, name), 2 * getattr(histograms, name))


# --- images ---------------------------------------------------------------------------------------


@RANDOM
@given(seed=st.integers(0, 9999), spread=st.sampled_from([1, 4, 12]))
def test_images_hold_everything(seed, spread):
    histograms = Histograms.compare(*random_pair(seed, spread=spread))
    images = {name: histograms.image(name) for name in (*COUNTS, *DRIFT_SUMS, *DRIFT_SQUARES)}
    assert_same(Histograms.from_images(images, histograms.origin), histograms)


def test_image_has_the_bin_at_its_place():
    histograms = Histograms.compare(*random_pair(4))
    image = histograms.image("n_out_all")
    assert image.shape == histograms.shape
    for where, counts in zip(histograms.bins, histograms.counts, strict=True):
        assert image[tuple(where - histograms.origin)] == counts[COUNTS.index("n_out_all")]
    assert image.sum() == histograms.counts[:, 2].sum()


def test_empty_histograms_have_one_empty_bin():
    nothing = Histograms.empty()
    assert len(nothing) == 0
    assert nothing.shape == (1, 1, 1, 1)
    assert nothing.image("n_in_all").tolist() == [[[[0]]]]
    assert (
        len(
            Histograms.from_images(
                {name: nothing.image(name) for name in (*COUNTS, *DRIFT_SUMS, *DRIFT_SQUARES)}, nothing.origin
            )
        )
        == 0
    )


def test_unknown_histogram_is_a_key_error():
    with pytest.raises(KeyError, match="n_in"):
        Histograms.empty().column("n_in")
