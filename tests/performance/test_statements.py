"""The paper's statements as data: measured where they say, judged as they say."""

import astropy.units as u
import numpy as np
import pytest
from astropy.table import QTable, vstack
from numpy.testing import assert_allclose

from hisatools.performance import Histograms, PerformanceModel, RegionValue
from hisatools.performance.statements import STATEMENTS, Statement, region_table

NOTHING = [np.nan] * 4
# dT, T_U, angular width, linewidth; met by the conditions of "deep, wide, narrow-lined, bright sky".
EASY = [-26.0, 101.0, 8.1, 2.1]


def row_of(performance, statement):
    table = region_table(performance)
    (row,) = table[table["statement"] == statement]
    return row


def models_table(first_found, n_out_all):
    return QTable({"first_found": first_found, "n_out_all": n_out_all})


# --- the table --------------------------------------------------------------------------------


def test_every_statement_has_a_row_with_its_number(model):
    table = region_table(model)
    assert len(table) == len(STATEMENTS) > 20
    assert set(table["met"]) <= {"yes", "no", "no voxels", "too few"}
    counted = table["n_voxels"] > 0
    assert counted.sum() > 15
    assert np.isfinite(table["value"][counted]).all()
    assert (table["met"][~counted] == "no voxels").all()


def test_rows_agree_with_the_regions_of_the_model(model):
    row = row_of(model, "deep and wide: real")
    found = model.region("true_fraction", delta_t=(None, -20 * u.K), angular_width=(3 * u.arcmin, None))
    assert (row["value"], row["uncertainty"], row["n_voxels"]) == (
        found.value,
        found.uncertainty,
        found.n_voxels,
    )
    assert (row["section"], row["measure"], row["unit"]) == ("3.4.3", "true_fraction", "")


def test_a_region_is_measured_as_by_hand(points_model):
    found = [[EASY[0] + 3, EASY[1] - 3, 7.1, 1.6]] * 4 + [NOTHING] + [[-12.0, 75.0, 1.6, 1.1]]
    performance = points_model([EASY] * 5 + [NOTHING], found)
    assert_allclose(row_of(performance, "deep, wide, narrow-lined, bright sky: found")["value"], 4 / 5)
    row = row_of(performance, "easily found: |dT| a few K too small")
    assert_allclose((row["value"], row["n_voxels"]), (3, 4), rtol=1e-6)
    assert (row["unit"], row["wanted"], row["met"]) == ("K", "0 to 5 K", "yes")
    assert_allclose(row_of(performance, "deep: real")["value"], 1)
    row = row_of(performance, "none of these: a fifth real at worst")
    assert (row["value"], row["n_voxels"], row["met"]) == (0, 1, "too few")


def test_regions_are_told_as_they_were_used(model):
    assert row_of(model, "in the noise: lost")["region"] == "dT >= -2.5 K"
    text = "dT < -7.5 K, T_U >= 80 K, width >= 2 arcmin"
    assert row_of(model, "above the noise: |dT| too small")["region"] == text
    assert row_of(model, "everywhere: T_U drifts as -dT")["region"] == "everywhere"


def test_no_voxels_is_neither_yes_nor_no():
    table = region_table(PerformanceModel(Histograms.empty()))
    assert set(table["met"]) == {"no voxels"}
    assert np.isnan(table["value"]).all()
    assert not table["n_voxels"].any()


def test_truth_fed_back_drifts_nowhere(perfect):
    table = region_table(perfect)
    drifts = table[[measure.startswith("drift") for measure in table["measure"]]]
    some = drifts[drifts["n_voxels"] > 0]
    assert len(some) > 8
    assert_allclose(some["value"], 0, atol=1e-6)
    # Nothing is too small and nothing too large; that T_U balances dT remains true.
    assert all((row["met"] == "yes") == (row["measure"] == "drift_balance") for row in some)
    assert row_of(perfect, "at its best nearly all is found")["value"] == 1


def test_table_survives_a_file(model, tmp_path):
    table = region_table(model)
    table.write(tmp_path / "regions.ecsv")
    back = QTable.read(tmp_path / "regions.ecsv")
    assert back.colnames == table.colnames
    for name in table.colnames:
        np.testing.assert_array_equal(back[name], table[name])
        assert back[name].info.description == table[name].info.description


# --- measures of their own --------------------------------------------------------------------


def test_shares_are_of_all_voxels(points_model):
    outside = [[-44.0, 90.0, 5.0, 2.0], [-9.0, 66.0, 5.0, 2.0], [-9.0, 90.0, 5.0, 2.0], NOTHING]
    performance = points_model([EASY, [-22.0, 90.0, 1.2, 2.0], NOTHING, EASY], outside)
    row = row_of(performance, "accepted: about 2 % deeper than 40 K")
    assert_allclose((row["value"], row["n_voxels"]), (1 / 3, 3))
    row = row_of(performance, "accepted: T_U ends at 70 K")
    assert (row["value"], row["met"]) == (1 / 3, "no")
    assert_allclose(row_of(performance, "input: nothing deep is small")["value"], 1 / 3)


def test_peak_of_depth_is_the_fullest_bin(points_model):
    outside = [[-9.0, 90.0, 5.0, 2.0]] * 3 + [[-21.0, 90.0, 5.0, 2.0]] * 2
    row = row_of(points_model([EASY] * 5, outside), "accepted: dT peaks near -10 K")
    assert (row["value"], row["uncertainty"], row["n_voxels"], row["met"]) == (-8.75, 1.25, 3, "yes")


def test_largest_throughput_is_not_that_of_a_lucky_voxel(points_model):
    often, lucky = [EASY] * 2000, [[-8.0, 130.0, 30.0, 12.0]]
    performance = points_model(often + lucky, [EASY] * 1800 + [NOTHING] * 200 + lucky)
    assert performance.throughput.value[np.isfinite(performance.throughput.value)].max() == 1
    row = row_of(performance, "at its best nearly all is found")
    assert_allclose(row["value"], 0.9, atol=1e-4)
    assert "25 <= dT < -22.5 K" in row["region"] or "27.5 <= dT < -25 K" in row["region"]


def test_first_pass_share_is_of_all_that_was_accepted(perfect):
    tables = models_table([[6, 3, 1]], [10]), models_table([[10, 0, 0]], [10])
    performance = PerformanceModel(perfect.histograms, models=vstack(tables))
    row = row_of(performance, "most is found in the first pass")
    assert_allclose((row["value"], row["n_voxels"]), (0.8, 20))
    assert row["met"] == "yes"


@pytest.mark.parametrize("models", [QTable(), models_table([[0]], [10])])
def test_first_pass_share_is_nan_where_passes_are_not_known(models, perfect):
    performance = PerformanceModel(perfect.histograms, models=models)
    assert np.isnan(row_of(performance, "most is found in the first pass")["value"])


def test_balance_is_drift_of_depth_plus_drift_of_background(points_model):
    performance = points_model([EASY] * 3, [[-24.0, 98.0, 8.1, 2.1]] * 3)
    row = row_of(performance, "easily found: T_U drifts as -dT")
    assert_allclose(row["value"], 2 - 3, atol=1e-5)
    assert (row["wanted"], row["met"]) == ("0 within 2 sigma", "no")


# --- verdicts ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "value", "verdict", "text"),
    [
        ((0.8, None), 0.8, "yes", ">= 0.8"),
        ((0.8, None), 0.79, "no", ">= 0.8"),
        ((None, 0.05), 0.05, "yes", "<= 0.05"),
        ((None, 0.05), 0.06, "no", "<= 0.05"),
        ((0.7, 0.9), 0.95, "no", "0.7 to 0.9"),
        ((0, None), 0.0, "no", "> 0"),
        ((0, None), 1e-3, "yes", "> 0"),
        ((None, 0), 0.0, "no", "< 0"),
        ((None, 0), -1e-3, "yes", "< 0"),
        ((0, 5), 5.0, "yes", "0 to 5"),
        ((0, 5), 0.0, "no", "0 to 5"),
        ((0, 0), 0.0, "yes", "0"),
        ((0, 0), 1e-9, "no", "0"),
        ((0, 0), np.nan, "no voxels", "0"),
        (None, 0.3, "", ""),
    ],
)
def test_limits_are_included_but_for_zero(wanted, value, verdict, text):
    statement = Statement("3.4", "so it is", "throughput", {}, wanted)
    assert statement.verdict(RegionValue("throughput", value, 0.1, 10, {})) == verdict
    assert statement.wanted_text() == text


@pytest.mark.parametrize(("total", "verdict"), [(0.9, "yes"), (-1.1, "no")])
def test_a_balance_may_differ_from_zero_by_its_uncertainty(total, verdict):
    statement = Statement("3.4", "so it is", "drift_balance", {}, (0, 0))
    found = RegionValue("drift_balance", total * u.K, 0.5 * u.K, 10, {})
    assert statement.verdict(found) == verdict


def test_wanted_has_its_unit():
    assert Statement("3.4", "so it is", "drift_delta_t", {}, (None, 0)).wanted_text("K") == "< 0 K"
