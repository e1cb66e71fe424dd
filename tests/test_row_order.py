"""A catalogue in another order says the same of each feature: rows are found by their id."""

from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from hisatools import PerformanceModel
from hisatools.datasets import example_model, example_result
from hisatools.errors import InputError
from hisatools.features import catalog_rows
from hisatools.physics import GasParameters, measure_gas
from hisatools.significance import Residual, ScanParameters, SignificanceScan
from hisatools.significance.assessment import assess_features
from hisatools.significance.reliability import _touching
from hisatools.significance.reliability_points import VoxelNoise, feature_points, significances
from hisatools.significance.selection import select_features


@pytest.fixture(scope="module")
def reversed_result():
    result = example_result()
    return replace(result, catalog=result.catalog[::-1])


def assert_same_rows(found, expected, names):
    """The same numbers for each feature, and not the same for all of them."""
    for name in names:
        values = np.asarray(expected[name])
        assert len(set(values.tolist())) > 1, name
        assert_array_equal(np.asarray(found[name])[::-1], values, err_msg=name)


def test_rows_are_found_by_id():
    assert_array_equal(catalog_rows([5, 2, 2, 9], [9, 2, 5]), [2, 1, 1, 0])
    assert catalog_rows([], []).shape == (0,)


@pytest.mark.parametrize("ids", [[1, 3], [], [1]])
def test_a_voxel_of_no_row_is_refused(ids):
    with pytest.raises(InputError, match=r"not in its catalogue \(label 2\)"):
        catalog_rows([1, 2] if len(ids) else [2], ids)


def test_rows_of_voxels_have_the_number_of_voxels_of_their_feature(reversed_result):
    count = np.bincount(reversed_result.voxel_rows)
    assert_array_equal(count, reversed_result.catalog["n_voxels"])


def test_a_cut_catalogue_is_refused(reversed_result):
    with pytest.raises(InputError, match="give both whole"):
        assert replace(reversed_result, catalog=reversed_result.catalog[1:]).voxel_rows.size


def test_performance_follows_the_rows(reversed_result):
    result = example_result()
    performance = PerformanceModel.from_pairs([(example_model(), result)])
    found, expected = (performance.assess(one).catalog for one in (reversed_result, result))
    assert_same_rows(found, expected, ["reliability", "completeness"])


def test_gas_follows_the_rows(reversed_result):
    found, expected = (
        measure_gas(one, GasParameters(t_spin=20 * u.K))[0].catalog
        for one in (reversed_result, example_result())
    )
    assert_same_rows(found, expected, ["column_density_peak", "tau_peak"])


def test_significance_follows_the_rows(reversed_result):
    residual = Residual.from_result(example_model().cube, example_result())
    bank = ScanParameters(widths=[2] * u.arcmin, linewidths=[2] * u.km / u.s, calibrate=False)
    scan = SignificanceScan(bank).run(residual)
    found, expected = (assess_features(one, scan).catalog for one in (reversed_result, example_result()))
    assert_same_rows(found, expected, ["ts", "fit_delta_t", "fit_lon"])


def test_points_of_reliability_follow_the_rows(reversed_result):
    noise = VoxelNoise.measure(example_model().cube)
    for measure in (feature_points, significances):
        assert_array_equal(measure(reversed_result, noise)[::-1], measure(example_result(), noise))


def test_what_is_touched_follows_the_rows(reversed_result):
    index = np.flatnonzero(reversed_result.labels == 1)[:3]
    assert_array_equal(_touching(reversed_result, index), [False] * 4 + [True])


def test_selection_follows_the_rows(reversed_result):
    chosen = reversed_result.catalog["name"][1]
    kept = select_features(reversed_result, reversed_result.catalog["name"] == chosen)
    assert list(kept.catalog["name"]) == [chosen]
    expected = reversed_result.labels == reversed_result.catalog["id"][1]
    assert_array_equal(kept.labels == kept.catalog["id"][0], expected)
    assert kept.n_accepted == expected.sum()


def test_selection_numbers_rows_in_their_order(reversed_result):
    kept = select_features(reversed_result, np.ones(5, bool))
    assert_array_equal(kept.catalog["id"], [1, 2, 3, 4, 5])
    assert_array_equal(np.bincount(kept.voxel_rows), kept.catalog["n_voxels"])
