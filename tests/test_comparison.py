"""Strategies side by side: what is held out, what is counted, and what is written."""

import json
from types import SimpleNamespace

import astropy.units as u
import numpy as np
import pytest
from astropy.table import QTable
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from hisatools import HISACube, ShellParameters, UnabsorbedEstimator
from hisatools._messages import comparison_lines
from hisatools.comparison import compare_unabsorbed, usable_strategies
from hisatools.comparison_figures import central_voxel, strategy_styles
from hisatools.errors import HISAWarning, InputError, OutputError, ParameterError, ParameterUnitsError
from hisatools.features import label_features
from hisatools.hold_out import agreement, grow
from hisatools.simulate import ModelParameters, simulate_cube
from hisatools.unabsorbed.protocols import VoxelEstimate

RANDOM = settings(deadline=None, derandomize=True, max_examples=40)
NUMBERS = ("t_unabsorbed", "sigma", "outside_bias", "outside_scatter", "outside_chi2")


def make_cube(kelvin):
    """A CGPS cube: pixels of 18 arcsec, channels of 0.82446 km/s."""
    wcs = WCS(naxis=3)
    wcs.wcs.ctype = ["GLON-CAR", "GLAT-CAR", "VRAD"]
    wcs.wcs.cunit = ["deg", "deg", "m/s"]
    wcs.wcs.cdelt = [-0.005, 0.005, -824.46]
    wcs.wcs.crval = [140, 0, -40e3]
    wcs.wcs.crpix = [1, 1, 1]
    wcs.wcs.specsys, wcs.wcs.restfrq = "LSRK", 1.42040575e9
    kelvin = np.asarray(kelvin, np.float32)
    # A cube has three channels or more; a part of one may have less.
    padding = [(0, max(3 - len(kelvin), 0)), (0, 0), (0, 0)]
    cube = HISACube(np.pad(kelvin, padding) * u.K, wcs)
    return cube.cutout(np.s_[: len(kelvin), :, :])


class Offset:
    """Says T_ON plus a constant, uncertain by 2 K; where a voxel's place is in `silent`, nothing."""

    citation = "nobody"
    parameters = ShellParameters()

    def __init__(self, kelvin, silent=()):
        self.kelvin, self.silent, self.calls = kelvin, silent, []

    def estimate(self, cube, labels, features, index, *, errors=None, workers=1, progress=False):
        self.calls.append(SimpleNamespace(labels=labels, features=features, index=index))
        said = ~np.isin(index, self.silent)
        t_on = cube.kelvin.reshape(-1)[index]
        return VoxelEstimate(
            np.where(said, t_on + self.kelvin, t_on).astype(np.float32),
            np.full(len(features), 7),
            np.where(said, np.float32(2), np.float32(np.inf)),
        )


def estimator_of(strategy, name="offset"):
    estimator = UnabsorbedEstimator("shell")
    estimator.strategy, estimator.interpolator = name, strategy
    return estimator


@pytest.fixture(scope="module")
def model():
    return simulate_cube(ModelParameters().scaled((32, 48, 48), n_pucks=8), seed=201)


@pytest.fixture(scope="module")
def compared(model):
    pair = "shell", ShellParameters(min_fwhm_angle=3 * u.arcmin)
    return compare_unabsorbed(model.cube, model.mask, ["shell", pair, "spectral-linear"], truth=model)


@pytest.fixture
def two_boxes():
    """Noise of 1 K on 80 K with two masked boxes, 5 K deep."""
    kelvin = np.random.default_rng(201).normal(80, 1, (12, 20, 24))
    mask = np.zeros(kelvin.shape, bool)
    mask[4:7, 5:9, 4:9] = mask[5:8, 12:16, 15:19] = True
    kelvin[mask] -= 5
    return make_cube(kelvin), mask


# --- measures ---------------------------------------------------------------------------------


def test_agreement_is_that_of_the_definitions_group_by_group():
    difference = np.array([1.0, -3.0, 0.5, 9.0, 4.0])
    sigma = np.array([2.0, 2.0, 1.0, np.inf, 1.0])
    found = agreement(difference, sigma, np.array([0, 0, 2, 2, 2]), 3)
    assert_array_equal(found["n_voxels"], [2, 0, 3])
    assert_allclose(found["known"], [1, np.nan, 2 / 3])
    assert_allclose(found["bias"], [-1, np.nan, 2.25])
    assert_allclose(found["scatter"], [2, np.nan, 1.75])
    assert_allclose(found["chi2"], [(0.25 + 2.25) / 2, np.nan, (0.25 + 16) / 2])
    assert_allclose(found["within_1_sigma"], [0.5, np.nan, 0.5])
    assert_allclose(found["within_2_sigma"], [1, np.nan, 0.5])


def test_agreement_of_right_uncertainties_is_that_of_a_gaussian():
    rng = np.random.default_rng(201)
    sigma = rng.uniform(1, 5, 40_000)
    found = agreement(rng.normal(0, sigma), sigma)
    assert found["within_1_sigma"][0] == pytest.approx(0.683, abs=0.01)
    assert found["within_2_sigma"][0] == pytest.approx(0.954, abs=0.005)
    assert found["chi2"][0] == pytest.approx(1, abs=0.03)


def test_no_voxels_agree_in_nothing_and_no_noise_is_no_deviation():
    assert np.isnan(agreement(np.empty(0), np.empty(0))["bias"][0])
    assert agreement(np.zeros(3), np.zeros(3))["chi2"][0] == 0


@given(st.integers(0, 2**32 - 1), st.integers(1, 3))
@RANDOM
def test_grown_features_keep_what_is_theirs_and_take_what_is_free(seed, rim):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 7, 3))
    labels, n_features = label_features(rng.uniform(size=shape) < 0.15)
    finite = (rng.uniform(size=shape) < 0.8) | (labels > 0)
    features = np.flatnonzero(rng.uniform(size=n_features) < 0.6) + 1
    grown = grow(labels, features, finite, rim)
    assert_array_equal(grown[labels > 0], labels[labels > 0])
    added = (grown > 0) & (labels == 0)
    assert finite[added].all()
    assert np.isin(grown[added], features).all()
    # Reached step by step over free voxels, corners counted.
    expected = np.isin(labels, features)
    for _ in range(rim):
        wider = np.pad(expected, 1)
        reached = np.zeros_like(expected)
        for dv, dy, dx in np.ndindex(3, 3, 3):
            part = tuple(slice(d, d + n) for d, n in zip((dv, dy, dx), shape, strict=True))
            reached |= wider[part]
        expected |= reached & finite & (labels == 0)
    assert_array_equal(added, expected & (labels == 0))


# --- the hold-out test ------------------------------------------------------------------------


def test_constant_error_is_the_bias_outside_and_inside(two_boxes):
    cube, mask = two_boxes
    truth = cube.data + 3 * u.K
    row = compare_unabsorbed(cube, mask, [estimator_of(Offset(4.0))], truth=truth, noise=1.5 * u.K).table[0]
    assert row["outside_bias"].value == pytest.approx(4, abs=1e-4)
    assert row["outside_scatter"].value == pytest.approx(0, abs=1e-4)
    assert row["outside_chi2"] == pytest.approx(16 / (2**2 + 1.5**2), rel=1e-4)
    assert row["inside_bias"].value == pytest.approx(1, abs=1e-4)
    assert (row["inside_within_1_sigma"], row["inside_within_2_sigma"]) == (1, 1)
    assert row["delta_t"].value == pytest.approx(-4, abs=1e-4)
    assert (row["n_features"], row["n_voxels"], row["known"]) == (2, mask.sum(), 1)


@pytest.mark.parametrize("rim", (1, 3))
def test_strategy_is_shown_grown_features_and_asked_for_their_rim(two_boxes, rim):
    cube, mask = two_boxes
    strategy = Offset(0.0)
    table = compare_unabsorbed(cube, mask, [estimator_of(strategy)], rim=rim).table
    inside, outside = strategy.calls
    assert_array_equal(inside.index, np.flatnonzero(mask))
    asked = np.zeros(mask.shape, bool)
    asked.reshape(-1)[outside.index] = True
    assert not (asked & mask).any()
    assert_array_equal((outside.labels > 0), asked | mask)
    box = np.zeros(mask.shape, bool)
    box[4 - rim : 7 + rim, 5 - rim : 9 + rim, 4 - rim : 9 + rim] = True
    box[5 - rim : 8 + rim, 12 - rim : 16 + rim, 15 - rim : 19 + rim] = True
    assert_array_equal(asked, box & ~mask)
    assert table["outside_n_voxels"][0] == asked.sum()


@pytest.mark.parametrize("strategy", ("shell", "spectral-linear"))
def test_prediction_of_the_rim_does_not_know_the_rim(two_boxes, strategy):
    cube, mask = two_boxes
    other = cube.kelvin.copy()
    rim = (grow(label_features(mask)[0], np.array([1, 2]), np.ones(mask.shape, bool), 2) > 0) & ~mask
    other[rim] += 30
    known = {"noise": 1 * u.K}
    one, two = (
        compare_unabsorbed(part, mask, [strategy], **known).table["outside_bias"][0].value
        for part in (cube, make_cube(other))
    )
    assert two == pytest.approx(one - 30, abs=1e-3)


def test_silence_is_counted_and_enters_no_number(two_boxes):
    cube, mask = two_boxes
    silent = np.flatnonzero(mask)[:30]
    strategies = [estimator_of(Offset(4.0, silent))]
    comparison = compare_unabsorbed(cube, mask, strategies, truth=cube.data)
    row = comparison.table[0]
    assert row["known"] == pytest.approx(1 - 30 / mask.sum())
    assert row["sigma"] == 2 * u.K
    assert row["inside_bias"].value == pytest.approx(4, abs=1e-4)


def test_features_have_rows_of_their_own_that_add_up(compared):
    for name in compared.table["strategy"]:
        whole = compared.table[compared.table["strategy"] == name][0]
        rows = compared.features[compared.features["strategy"] == name]
        assert_array_equal(rows["feature"], np.arange(1, whole["n_features"] + 1))
        assert rows["n_voxels"].sum() == whole["n_voxels"]
        for column, count, known in (
            ("outside_bias", "outside_n_voxels", "outside_known"),
            ("inside_bias", "n_voxels", "known"),
        ):
            number = rows[count] * rows[known]
            assert number.sum() == pytest.approx(whole[count] * whole[known])
            mean = np.sum(rows[column] * number) / number.sum()
            assert mean.value == pytest.approx(whole[column].value, rel=1e-3, abs=1e-3)


def test_silence_in_the_rim_is_a_share_of_its_own(two_boxes):
    cube, mask = two_boxes
    rim = (grow(label_features(mask)[0], np.array([1, 2]), np.ones(mask.shape, bool), 2) > 0) & ~mask
    spoken_of = np.flatnonzero(rim)[:12]
    silent = np.setdiff1d(np.flatnonzero(rim), spoken_of)
    shy, open_ = Offset(3.0, silent), Offset(4.0)
    comparison = compare_unabsorbed(
        cube, mask, [estimator_of(shy, "shy"), estimator_of(open_, "open")], noise=1.5 * u.K
    )
    one, other = comparison.table
    assert one["known"] == other["known"] == other["outside_known"] == 1
    assert one["outside_n_voxels"] == other["outside_n_voxels"] == rim.sum()
    assert one["outside_known"] == pytest.approx(12 / rim.sum())
    assert one["outside_bias"].value == pytest.approx(3, abs=1e-4)
    assert one["outside_chi2"] == pytest.approx(9 / (2**2 + 1.5**2), rel=1e-4)
    rows = comparison.features[comparison.features["strategy"] == "shy"]
    # All of the twelve are about the first box.
    assert_allclose(rows["outside_known"], [12 / rows["outside_n_voxels"][0], 0])
    assert np.isnan(rows["outside_bias"][1])
    *_, line, _ = comparison_lines(comparison)
    assert line.split()[:4] == ["shy", "100", "2.00", f"{100 * 12 / rim.sum():.3g}"]


def test_features_are_where_their_voxels_are(two_boxes):
    cube, mask = two_boxes
    row = compare_unabsorbed(cube, mask, ["shell"]).features[0]
    lon, lat = cube.wcs.celestial.wcs_pix2world(6.0, 6.5, 0)
    assert row["lon"].value == pytest.approx(float(lon) % 360)
    assert row["lat"].value == pytest.approx(float(lat))
    assert row["velocity"] == cube.velocity[5]


def test_uncertainties_on_a_model_sky_fit_the_rim(compared):
    for row in compared.table:
        assert 0.3 < row["outside_chi2"] < 2, row["strategy"]


def test_within_takes_part_of_the_mask_and_never_lets_the_rest_be_t_off(two_boxes):
    cube, mask = two_boxes
    within = np.zeros(mask.shape, bool)
    within[4:7, 5, 4:9] = True
    strategy = Offset(1.0)
    comparison = compare_unabsorbed(cube, mask, [estimator_of(strategy)], within=within)
    assert_array_equal(comparison.index, np.flatnonzero(within))
    assert comparison.table["n_voxels"][0] == within.sum()
    assert_array_equal(comparison.features["feature"], [1])
    for call in strategy.calls:
        assert_array_equal(call.features, [1])
        assert (call.labels[mask] > 0).all()
    assert comparison.largest_features(5) == [1]


# --- what must change nothing -----------------------------------------------------------------


def test_workers_change_nothing(model):
    one, two = (
        compare_unabsorbed(model.cube, model.mask, ["shell", "spectral-linear"], workers=workers)
        for workers in (1, 2)
    )
    for name in NUMBERS:
        assert_array_equal(one.table[name], two.table[name])
    for name, estimate in one.estimates.items():
        assert_array_equal(estimate.kelvin, two.estimates[name].kelvin)


def test_reversed_velocity_axis_gives_the_same_numbers(two_boxes):
    cube, mask = two_boxes
    wcs = cube.wcs.deepcopy()
    wcs.wcs.crval[2] = cube.velocity[-1].to_value(u.m / u.s)
    wcs.wcs.cdelt[2] *= -1
    reverse = HISACube(cube.data[::-1], wcs)
    there = compare_unabsorbed(cube, mask, ["shell"], noise=1 * u.K).table[0]
    back = compare_unabsorbed(reverse, mask[::-1], ["shell"], noise=1 * u.K).table[0]
    for name in ("t_unabsorbed", "delta_t", "outside_bias", "outside_scatter"):
        assert_allclose(back[name].value, there[name].value, rtol=1e-4, atol=1e-4)


def test_mask_and_cube_are_left_alone(two_boxes):
    cube, mask = two_boxes
    kelvin, before = cube.kelvin.copy(), mask.copy()
    compare_unabsorbed(cube, mask, ["shell"])
    assert_array_equal(cube.kelvin, kelvin)
    assert_array_equal(mask, before)


# --- odd input --------------------------------------------------------------------------------

ODD = {
    "one sight line": ((30, 1, 1), np.s_[12:16]),
    "one channel": ((1, 14, 15), np.s_[:, 4:8, 5:9]),
    "one voxel": ((1, 1, 1), np.s_[:]),
    "border": ((10, 12, 12), np.s_[:4, :5, :5]),
    "everything": ((5, 6, 7), np.s_[:]),
    "nothing": ((5, 6, 7), np.s_[:0]),
}


@pytest.mark.parametrize("case", ODD)
@pytest.mark.parametrize("blank", (False, True))
@pytest.mark.filterwarnings("ignore::hisatools.errors.HISAWarning")
def test_odd_cubes_and_masks_are_compared_without_a_crash(case, blank, tmp_path):
    shape, where = ODD[case]
    rng = np.random.default_rng(201)
    kelvin = rng.normal(80, 2, shape)
    if blank and kelvin.size > 1:
        kelvin[rng.uniform(size=shape) < 0.3] = np.nan
        kelvin[-1] = np.nan if shape[0] > 1 else kelvin[-1]
        kelvin[0, 0, 0] = 80
    mask = np.zeros(shape, bool)
    mask[where] = True
    comparison = compare_unabsorbed(make_cube(kelvin), mask, ["shell", estimator_of(Offset(1.0))])
    assert_array_equal(comparison.index, np.flatnonzero(mask & np.isfinite(kelvin)))
    row = comparison.table[1]
    assert (row["known"] == 1) or comparison.index.size == 0
    assert np.isfinite(row["outside_bias"]) == (row["outside_n_voxels"] > 0)
    for estimate in comparison.estimates.values():
        assert np.isfinite(estimate.kelvin).all()
        assert not np.isnan(estimate.sigma_kelvin).any()
    comparison.write(tmp_path / "out", n_features=1)
    n_pictures = len(list((tmp_path / "out").glob("*.png")))
    assert n_pictures == min(len(comparison.largest_features(1)), 1)


def test_blank_voxels_are_never_compared(two_boxes):
    cube, mask = two_boxes
    kelvin = cube.kelvin.copy()
    kelvin[5, 4:7] = np.nan
    strategy = Offset(0.0)
    compare_unabsorbed(make_cube(kelvin), mask, [estimator_of(strategy)])
    for call in strategy.calls:
        assert np.isfinite(kelvin.reshape(-1)[call.index]).all()


@pytest.mark.parametrize("kind", (np.float32, np.float64))
def test_nan_in_a_mask_is_no_mask(two_boxes, kind):
    cube, mask = two_boxes
    numbers = mask.astype(kind)
    numbers[:, :, 20:] = np.nan
    for masks in ({"mask": numbers}, {"mask": mask, "within": numbers}):
        comparison = compare_unabsorbed(cube, strategies=[estimator_of(Offset(1.0))], **masks)
        assert_array_equal(comparison.labels > 0, mask)
        assert_array_equal(comparison.index, np.flatnonzero(mask))


@pytest.mark.parametrize(
    ("case", "reason"),
    [("mask", "no voxel of the mask is set"), ("blank", "the cube is blank"), ("within", "was accepted")],
)
def test_nothing_to_compare_is_said_with_the_reason(two_boxes, case, reason):
    cube, mask = two_boxes
    masks = {"mask": mask}
    if case == "blank":
        cube = make_cube(np.where(mask, np.nan, cube.kelvin))
    else:
        masks[case] = np.zeros_like(mask)
    with pytest.warns(HISAWarning, match=f"there are 0 features to compare: .*{reason}"):
        comparison = compare_unabsorbed(cube, strategies=["shell"], **masks)
    assert comparison.table["n_features"][0] == 0


# --- arguments --------------------------------------------------------------------------------


def test_strategies_come_by_name_with_parameters_or_made(compared):
    assert list(compared.table["strategy"]) == ["shell", "shell (2)", "spectral-linear"]
    recorded = compared.meta["strategies"]
    assert recorded["shell (2)"]["strategy"] == "shell"
    assert recorded["shell (2)"]["parameters"]["min_fwhm_angle"] == "3.0 arcmin"
    assert "Gibson" in recorded["shell"]["citation"]


def test_by_default_all_are_compared_that_need_no_further_input(monkeypatch):
    kinds = {"shell": SimpleNamespace(), "guided": SimpleNamespace(required_inputs=("tracer",))}
    monkeypatch.setattr("hisatools.comparison.available", lambda group: kinds)
    monkeypatch.setattr("hisatools.comparison.load", lambda group, name: kinds[name])
    assert usable_strategies() == ["shell"]
    assert usable_strategies(["tracer", "other"]) == ["shell", "guided"]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"strategies": ["nope"]}, ParameterError, "unknown strategy for the unabsorbed emission: 'nope'"),
        ({"strategies": "shell"}, ParameterError, "strategies must be a list, got 'shell'"),
        ({"strategies": []}, ParameterError, "no strategies are given"),
        ({"strategies": [3]}, ParameterError, "by \\(name, parameters\\) or as UnabsorbedEstimator, got 3"),
        ({"mask": np.ones((2, 2), bool)}, InputError, "mask has the shape \\(2, 2\\), the cube"),
        ({"within": np.ones((2, 2), bool)}, InputError, "within has the shape \\(2, 2\\), the cube"),
        ({"truth": np.ones(3)}, InputError, "truth must be a Quantity of the cube's shape"),
        ({"rim": 0}, ParameterError, "rim must be finite and above 0"),
        ({"noise": 3}, ParameterUnitsError, "noise needs a unit of K, got 3"),
        ({"noise": 3 * u.m}, ParameterUnitsError, "noise needs a unit of K, got m"),
        ({"noise": "file"}, ParameterUnitsError, "noise needs a unit of K, got 'file'"),
        ({"noise": -3 * u.K}, ParameterError, "noise must be above 0 K somewhere, got .*-3 K"),
        ({"noise": np.ones((2, 2)) * u.K}, InputError, "noise has the shape \\(2, 2\\)"),
        ({"workers": 0}, ParameterError, "workers must be finite and above 0"),
    ],
)
def test_impossible_arguments_are_named(changes, error, message, two_boxes):
    cube, mask = two_boxes
    with pytest.raises(error, match=message):
        compare_unabsorbed(cube, **{"mask": mask, "strategies": ["shell"], **changes})


class Unusable(Offset):
    def estimate(self, *args, **kwargs):
        raise InputError("it needs a larger sky")


def test_strategy_that_cannot_be_used_costs_the_others_nothing(two_boxes):
    with pytest.warns(HISAWarning, match="the strategy offset is left out: it needs a larger sky"):
        comparison = compare_unabsorbed(*two_boxes, [estimator_of(Unusable(0)), "shell"])
    assert list(comparison.table["strategy"]) == ["shell"]
    assert list(comparison.meta["strategies"]) == ["shell"]
    with (
        pytest.warns(HISAWarning, match="left out"),
        pytest.raises(InputError, match="none of the strategies offset can be used"),
    ):
        compare_unabsorbed(*two_boxes, [estimator_of(Unusable(0))])


# --- files and figures ------------------------------------------------------------------------


def test_written_tables_pictures_and_provenance_can_be_read(compared, tmp_path):
    folder = compared.write(tmp_path / "out", n_features=2)
    names = {f"feature_{label:05d}.png" for label in compared.largest_features(2)}
    assert {path.name for path in folder.iterdir()} == {
        "comparison.ecsv",
        "features.ecsv",
        "provenance.json",
        *names,
    }
    table = QTable.read(folder / "comparison.ecsv")
    assert_allclose(table["outside_bias"].to_value(u.K), compared.table["outside_bias"].to_value(u.K))
    assert json.loads((folder / "provenance.json").read_text())["rim"] == 2
    assert all((folder / name).stat().st_size > 5000 for name in names)


def test_older_comparison_is_replaced_whole_and_only_on_demand(compared, tmp_path):
    folder = compared.write(tmp_path / "out", n_features=2)
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        compared.write(folder)
    compared.write(folder, n_features=0, overwrite=True)
    assert {path.name for path in folder.iterdir()} == {
        "comparison.ecsv",
        "features.ecsv",
        "provenance.json",
        "notes.txt",
    }


def test_picture_that_fails_leaves_no_half_of_a_result(compared, tmp_path, monkeypatch):
    monkeypatch.setattr("hisatools.comparison_figures.plot_feature", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        compared.write(tmp_path / "out")
    assert not any(tmp_path.iterdir())


def test_cube_of_one_strategy_is_t_on_outside_and_its_t_u_inside(compared, model):
    t_unabsorbed = compared.t_unabsorbed("shell").value
    assert_array_equal(t_unabsorbed[model.mask], compared.estimates["shell"].kelvin)
    assert_array_equal(t_unabsorbed[~model.mask], model.cube.kelvin[~model.mask])
    with pytest.raises(ParameterError, match="'nope' was not compared; known: shell, shell"):
        compared.t_unabsorbed("nope")


def test_figure_shows_every_estimate_with_its_band_and_the_truth(compared):
    (feature,) = compared.largest_features(1)
    _, y, x = central_voxel(compared, feature)
    spectrum, cut = compared.plot_feature(feature).axes
    lines = {line.get_label(): line for line in spectrum.lines}
    assert {"shell", "shell (2)", "spectral-linear", r"true $T_\mathrm{U}$"} <= lines.keys()
    for name in compared.estimates:
        shown = np.asarray(lines[name].get_ydata())
        inside = compared.labels[:, y, x] > 0
        expected = compared.t_unabsorbed(name)[:, y, x].value
        # The velocity of the model falls along its axis.
        assert_array_equal(np.isfinite(shown[::-1]), inside)
        assert_allclose(shown[::-1][inside], expected[inside])
    truth = np.asarray(lines[r"true $T_\mathrm{U}$"].get_ydata())[::-1]
    assert_allclose(truth, compared.truth_kelvin[:, y, x])
    bands = [patch for patch in spectrum.collections if (patch.get_alpha() or 1) < 1]
    assert len(bands) == len(compared.estimates)
    assert cut.get_xlabel() == "Galactic longitude"


def test_figure_goes_through_the_deepest_voxel(two_boxes):
    cube, mask = two_boxes
    kelvin = cube.kelvin.copy()
    kelvin[5, 13, 17] = kelvin[6, 13, 17] = 40
    kelvin[6, 13, 17] = 20
    comparison = compare_unabsorbed(make_cube(kelvin), mask, ["shell"])
    assert central_voxel(comparison, 2) == (6, 13, 17)
    with pytest.raises(ParameterError, match="feature 3 was not compared"):
        comparison.plot_feature(3)


def test_longitudes_are_round_and_where_they_belong(two_boxes):
    cube, mask = two_boxes
    _, cut = compare_unabsorbed(cube, mask, ["shell"]).plot_feature(1).axes
    texts = [float(label.get_text().rstrip("\u00b0")) for label in cut.get_xticklabels()]
    lon, _ = cube.wcs.celestial.wcs_pix2world(cut.get_xticks(), np.full(len(texts), 6), 0)
    assert len(texts) > 2
    assert_allclose(texts, lon, atol=1e-3)


def test_spectrum_has_no_cut():
    kelvin = np.full((30, 1, 1), 80.0)
    kelvin[12:15] = 60
    mask = kelvin < 70
    figure = compare_unabsorbed(make_cube(kelvin), mask, ["spectral-linear"]).plot_feature(1)
    assert len(figure.axes) == 1


def test_styles_differ():
    styles = strategy_styles([str(number) for number in range(24)])
    assert len({tuple(style.values()) for style in styles.values()}) == 24
