"""`PerformanceModel`: its measures against slow versions, and what it must and must not say."""

import astropy.units as u
import numpy as np
import pytest
from astropy.table import QTable
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from hisatools.errors import ParameterError, ParameterUnitsError
from hisatools.performance import (
    OBSERVABLES,
    Histograms,
    PerformanceModel,
    SmoothingParameters,
)
from hisatools.performance.estimates import MEASURES
from hisatools.performance.observables import NAMES, STEPS, lattice_bins

RANDOM = settings(deadline=None, derandomize=True, max_examples=25)
KMS = u.km / u.s
TYPICAL = np.array([-21.0, 91.0, 4.2, 3.3])
MISSED = np.full(4, np.nan)
DRIFTS = tuple(f"drift_{name}" for name in NAMES)


def plain(values):
    return np.asarray(getattr(values, "value", values))


def warmer(kelvin):
    """The typical point with so much less absorption."""
    return TYPICAL + np.array([kelvin, 0, 0, 0])


def random_points(seed, n=40):
    """Points that went in and that came out; NaN where one of the two is missing."""
    rng = np.random.default_rng(seed)
    inside = TYPICAL + rng.normal(size=(n, 4)) * (6, 9, 1.2, 0.9)
    outside = inside + rng.normal(size=(n, 4)) * (3, 3, 0.6, 0.4)
    for points in (inside, outside):
        points[:, 0] = np.minimum(points[:, 0], -1)
        points[:, 2:] = np.maximum(points[:, 2:], 0.3)
    fate = rng.uniform(size=n)
    outside[fate < 0.4] = np.nan
    inside[fate > 0.8] = np.nan
    return inside, outside


def weights(centre, points):
    """Weight of every point (by the centre of its bin) in the smoothing at ``centre``, and their support."""
    centres = (lattice_bins(points) + 0.5) * STEPS
    delta_t, t_unabsorbed, angular, line = centre
    fwhm = np.maximum([abs(delta_t) / 2, abs(t_unabsorbed - 70) / 2, angular / 2, line / 2], [6, 6, 1, 1.319])
    offset = (centres - centre) / fwhm
    distance = np.abs(offset)
    weight = 2.0 ** (-4 * (distance**2).sum(axis=1)) * (distance <= 1).all(axis=1)
    near = offset[(distance <= 0.5).all(axis=1)]
    surrounded = ((near >= 0).any(axis=0) & (near <= 0).any(axis=0)).all()
    return weight, len(near) if surrounded else 0


def all_centres(measure):
    numbers = np.array(list(np.ndindex(measure.value.shape)))
    return (numbers + measure.origin + 0.5) * STEPS


# --- measures against slow versions ---------------------------------------------------------------


@RANDOM
@given(seed=st.integers(0, 9999), correlated=st.sampled_from([1.0, 3.0]))
def test_fractions_agree_with_weighing_every_voxel(seed, correlated, points_model):
    inside, outside = random_points(seed)
    model = points_model(inside, outside, correlated_voxels=correlated)
    put_in, found = (np.isfinite(points).all(axis=1) for points in (inside, outside))
    for measure, points, part in (
        (model.throughput, inside[put_in], found[put_in]),
        (model.true_fraction, outside[found], put_in[found]),
    ):
        for k, centre in enumerate(all_centres(measure)[::97]):
            where = np.unravel_index(97 * k, measure.value.shape)
            weight, n_near = weights(centre, points)
            counts = weight.sum() ** 2 / max((weight**2).sum(), 1e-30) / correlated
            assert measure.counts[where] == pytest.approx(counts, rel=1e-4, abs=1e-6)
            if n_near < correlated:
                assert np.isnan(measure.value[where])
                assert np.isnan(measure.uncertainty[where])
            else:
                share = weight[part].sum() / weight.sum()
                assert measure.value[where] == pytest.approx(share, rel=1e-4, abs=1e-6)
                spread = np.sqrt(share * (1 - share) / counts + 1 / (4 * counts**2)) / (1 + 1 / counts)
                assert measure.uncertainty[where] == pytest.approx(spread, rel=1e-3)


@settings(RANDOM, max_examples=10)
@given(seed=st.integers(0, 9999), correlated=st.sampled_from([1.0, 3.0]))
def test_drifts_agree_with_weighing_every_voxel(seed, correlated, points_model):
    inside, outside = random_points(seed)
    model = points_model(inside, outside, correlated_voxels=correlated)
    found = np.isfinite(outside - inside).all(axis=1)
    drift = (outside - inside)[found]
    measures = [model.drift(name) for name in NAMES]
    assert [measure.value.unit for measure in measures] == [one.unit for one in OBSERVABLES]
    values, spreads = (
        np.stack([getattr(measure, part).value for measure in measures], axis=-1).reshape(-1, 4)
        for part in ("value", "uncertainty")
    )
    for k, centre in enumerate(all_centres(measures[0])[::311]):
        value, spread = values[311 * k], spreads[311 * k]
        weight, n_near = weights(centre, inside[found])
        if n_near < correlated:
            assert np.isnan([value, spread]).all()
        else:
            mean = np.average(drift, axis=0, weights=weight)
            assert_allclose(value, mean, rtol=1e-3, atol=1e-3)
            counts = weight.sum() ** 2 / (weight**2).sum() / correlated
            if counts > 1.01:
                variance = np.average((drift - mean) ** 2, axis=0, weights=weight)
                assert_allclose(spread, np.sqrt(variance / (counts - 1)), rtol=0.02, atol=2e-3)


def test_support_counts_independent_voxels(points_model):
    """Three voxels in one bin are support if they are independent, and not if ten count as one."""
    points = [TYPICAL] * 3
    assert points_model(points).throughput.at_points(TYPICAL[None]) == 1
    assert points_model(points, correlated_voxels=3.0).throughput.at_points(TYPICAL[None]) == 1
    assert np.isnan(points_model(points, correlated_voxels=10.0).throughput.at_points(TYPICAL[None]))
    strict = points_model(points, smoothing=SmoothingParameters(min_samples=4))
    assert np.isnan(strict.throughput.at_points(TYPICAL[None]))


def test_a_drift_needs_voxels_that_were_found(points_model):
    model = points_model([TYPICAL] * 5, [MISSED] * 5)
    assert model.throughput.at_points(TYPICAL[None]) == 0
    assert np.isnan(model.drift("delta_t").value).all()
    assert np.isnan(model.true_fraction.value).all()


# --- a truth found as it is -----------------------------------------------------------------------


def test_a_truth_found_as_it_is_has_throughput_and_true_fraction_one(perfect):
    for measure in (perfect.throughput, perfect.true_fraction):
        supported = np.isfinite(measure.value)
        assert 0.02 < supported.mean() < 1
        assert (measure.value[supported] == 1).all()
        assert_array_equal(np.isfinite(measure.uncertainty), supported)
        assert ((measure.uncertainty[supported] > 0) & (measure.uncertainty[supported] <= 0.5)).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_truth_found_as_it_is_does_not_drift(name, perfect):
    drift = perfect.drift(name)
    supported = np.isfinite(drift.value)
    assert_array_equal(supported, np.isfinite(perfect.throughput.value))
    assert (drift.value[supported] == 0).all()
    assert not (drift.uncertainty.value > 0).any()


@pytest.mark.parametrize("measure", MEASURES)
def test_every_region_of_a_truth_found_as_it_is_is_perfect(measure, perfect):
    expected = 0 if measure in DRIFTS else 1
    for ranges in ({}, {"delta_t": (None, -20 * u.K)}, {"angular_width": (None, 1 * u.arcmin)}):
        region = perfect.region(measure, **ranges)
        assert region.n_voxels > 0
        assert plain(region.value) == expected


def test_points_beyond_half_a_fwhm_of_every_voxel_have_no_value(points_model):
    """Two clumps: the smoothed box reaches over the gap between them, and nothing is said there."""
    far = np.array([-21.0, 91.0, 14.2, 3.3])
    model = points_model([TYPICAL] * 9 + [far] * 9)
    between = np.linspace(TYPICAL, far, 41)
    for measure in (model.throughput, model.true_fraction, model.drift("delta_t")):
        values = measure.at_points(between)
        assert np.isfinite(values[[0, -1]]).all()
        width = (lattice_bins(between)[:, 2] + 0.5) * 0.5
        half = np.maximum(width / 2, 1) / 2
        reached = (width - 4.25 <= half) | (14.25 - width <= half)
        assert not reached.all()
        assert np.isnan(values[~reached]).all()


@pytest.mark.parametrize("name", MEASURES)
def test_every_value_has_support_and_an_uncertainty(name, model):
    measure = model.measure(name)
    known = np.isfinite(plain(measure.value))
    assert (measure.counts[known] > 0).all()
    uncertainty = plain(measure.uncertainty)
    assert np.isnan(uncertainty[~known]).all()
    settled = known & (measure.counts > 1.01)
    assert 100 < settled.sum() < known.size
    # Voxels that drift by one and the same have no scatter; a fraction is never certain.
    certain = uncertainty[settled] == 0
    assert certain.mean() < 0.01 if name.startswith("drift") else not certain.any()


def test_fractions_lie_within_zero_and_one(model):
    for measure in (model.throughput, model.true_fraction):
        known = measure.value[np.isfinite(measure.value)]
        assert known.size > 1000
        assert known.min() >= 0
        assert known.max() <= 1
        assert known.std() > 0.05


def test_more_models_of_the_same_kind_lower_the_uncertainty(points_model):
    inside, outside = random_points(5, 400)
    one = points_model(inside, outside)
    four = PerformanceModel.merge([one] * 4)
    supported = np.isfinite(one.throughput.value)
    assert_allclose(four.throughput.value[supported], one.throughput.value[supported], rtol=1e-5)
    assert (four.throughput.uncertainty[supported] < one.throughput.uncertainty[supported]).all()
    few, many = one.drift("delta_t"), four.drift("delta_t")
    settled = np.isfinite(few.uncertainty) & (few.counts > 15)
    assert settled.any()
    assert_allclose(many.uncertainty[settled] / few.uncertainty[settled], 0.5, atol=0.03)


# --- regions --------------------------------------------------------------------------------------


def test_a_region_counts_its_voxels(points_model):
    deep, faint = TYPICAL, warmer(16)
    outside = [warmer(2), warmer(4), *[MISSED] * 4, faint]
    model = points_model([deep] * 3 + [faint] * 4, outside)
    assert model.region("throughput").value == pytest.approx(3 / 7)
    assert model.region("throughput").n_voxels == 7
    region = model.region("throughput", delta_t=(None, -20 * u.K))
    assert (region.measure, region.value, region.n_voxels) == ("throughput", pytest.approx(2 / 3), 3)
    assert region.bounds == {"delta_t": (None, -20 * u.K)}
    # -19 and -17 K came out.
    assert model.region("true_fraction", delta_t=(None, -20 * u.K)).n_voxels == 0
    assert model.region("true_fraction", delta_t=(-20 * u.K, -15 * u.K)).n_voxels == 2
    drift = model.region("drift_delta_t", delta_t=(None, -20 * u.K))
    assert drift.n_voxels == 2
    assert u.isclose(drift.value, 3 * u.K)
    # Of 2 and 4 K: scatter 1 K about the mean, of two.
    assert u.isclose(drift.uncertainty, 1 * u.K)


@pytest.mark.parametrize("measure", MEASURES)
def test_a_region_without_voxels_has_no_value(measure, model):
    region = model.region(measure, delta_t=(None, -500 * u.K))
    assert region.n_voxels == 0
    assert np.isnan(plain(region.value))
    assert np.isnan(plain(region.uncertainty))


def test_a_single_voxel_says_nothing_of_the_scatter(points_model):
    drift = points_model([TYPICAL], [warmer(2)]).region("drift_delta_t")
    assert u.isclose(drift.value, 2 * u.K, rtol=1e-5)
    assert np.isnan(drift.uncertainty)
    correlated = points_model([TYPICAL] * 5, [warmer(2)] * 5, correlated_voxels=5.0)
    assert np.isnan(correlated.region("drift_delta_t").uncertainty)
    assert np.isnan(correlated.drift("delta_t").uncertainty).all()


def test_uncertainties_of_regions_are_the_scatter_of_simulations(points_model):
    """Voxels come in groups of eight that share their fate, as a beam's do."""
    rng, values = np.random.default_rng(1), {"throughput": [], "drift_delta_t": []}
    stated = {name: [] for name in values}
    for _ in range(400):
        outside = np.tile(TYPICAL, (40, 1))
        outside[:, 0] += rng.normal(1, 3, 40)
        outside[rng.uniform(size=40) > 0.7] = np.nan
        model = points_model([TYPICAL] * 320, np.repeat(outside, 8, axis=0), correlated_voxels=8.0)
        for name in values:
            region = model.region(name)
            values[name].append(plain(region.value))
            stated[name].append(plain(region.uncertainty))
    for name, found in values.items():
        assert np.mean(stated[name]) == pytest.approx(np.std(found), rel=0.1)
    assert np.mean(values["throughput"]) == pytest.approx(0.7, abs=0.02)
    assert np.mean(values["drift_delta_t"]) == pytest.approx(1, abs=0.1)


def test_regions_add_up_to_the_whole(model):
    for measure in MEASURES:
        whole = model.region(measure)
        parts = [
            model.region(measure, t_unabsorbed=limits) for limits in ((None, 80 * u.K), (80 * u.K, None))
        ]
        assert sum(part.n_voxels for part in parts) == whole.n_voxels > 1000
        mean = sum(part.n_voxels * part.value for part in parts) / whole.n_voxels
        assert u.allclose(mean, whole.value, rtol=1e-9)


# --- names and arguments --------------------------------------------------------------------------


def test_measures_have_their_names(model):
    for name in MEASURES:
        assert model.measure(name).name == name
    assert model.measure("throughput") is model.throughput
    assert model.measure("drift_delta_t") is model.drift("delta_t")


@pytest.mark.parametrize("call", ["measure", "region"])
def test_unknown_measure_lists_the_known_ones(call, model):
    with pytest.raises(
        ParameterError, match="unknown measure 'f_det'; write one of throughput, true_fraction, drift_"
    ):
        getattr(model, call)("f_det")


def test_unknown_drift_lists_the_observables(model):
    with pytest.raises(ParameterError, match="unknown observable 'dT'; write one of delta_t"):
        model.drift("dT")


def test_faults_in_regions_are_told(model):
    with pytest.raises(ParameterUnitsError, match="delta_t needs limits with a unit of K, got -20"):
        model.region("throughput", delta_t=(None, -20))
    with pytest.raises(ParameterError, match="is empty"):
        model.region("throughput", delta_t=(-10 * u.K, -20 * u.K))
    with pytest.raises(ParameterError, match="unknown observable 'width'"):
        model.region("throughput", width=(1 * u.arcmin, None))


def test_slice_is_that_of_the_measure(model):
    at = {"angular_width": 2.2 * u.arcmin, "velocity_width": 3 * KMS}
    plane = model.slice("true_fraction", "delta_t", "t_unabsorbed", **at)
    expected = model.true_fraction.slice("delta_t", "t_unabsorbed", **at)
    assert_array_equal(plane.value, expected.value)
    assert np.isfinite(plane.value).any()


def test_nothing_known_is_nan_everywhere():
    nothing = PerformanceModel(Histograms.empty())
    for name in MEASURES:
        measure = nothing.measure(name)
        assert measure.value.shape == (1, 1, 1, 1)
        assert np.isnan(plain(measure.at_points(TYPICAL[None])))


# --- merging --------------------------------------------------------------------------------------


def test_merging_adds_models_and_counts(pairs):
    parts = [PerformanceModel.from_pairs([pair], correlated_voxels=2.0) for pair in pairs(3)]
    merged = PerformanceModel.merge(parts)
    together = PerformanceModel.from_pairs(pairs(3), correlated_voxels=2.0)
    assert_array_equal(merged.histograms.bins, together.histograms.bins)
    assert_array_equal(merged.histograms.counts, together.histograms.counts)
    assert_array_equal(merged.histograms.drift_sums, together.histograms.drift_sums)
    assert len(merged.models) == 3
    assert merged.models["n_in_all"].sum() == merged.histograms.column("n_in_all").sum()


def test_merging_keeps_the_smoothing_and_the_sample_of_the_first(points_model):
    smoothing = SmoothingParameters(fraction=0.3)
    one = points_model([TYPICAL], smoothing=smoothing, sample="a sample", meta={"name": "one"})
    merged = PerformanceModel.merge(iter([one, points_model([TYPICAL], meta={"name": "other"})]))
    assert merged.smoothing == smoothing
    assert merged.sample == "a sample"
    assert merged.meta == {"name": "one"}
    assert merged.histograms.counts.sum() == 2 * one.histograms.counts.sum()


def test_a_sample_is_kept_wherever_it_comes_from(points_model):
    parts = [points_model([TYPICAL]), points_model([TYPICAL], sample="a sample")]
    assert PerformanceModel.merge(parts).sample == "a sample"


def test_correlated_voxels_are_the_mean_over_the_models(points_model):
    table = QTable({"seed": [1, 2, 3]})
    parts = [
        points_model([TYPICAL], correlated_voxels=10.0, models=table),
        points_model([TYPICAL], correlated_voxels=2.0),
    ]
    assert PerformanceModel.merge(parts).correlated_voxels == pytest.approx(8)


def test_models_of_different_extractions_are_not_merged(points_model):
    parts = [points_model([TYPICAL], meta={"extractor": {"parameters": {"n_passes": n}}}) for n in (3, 3, 1)]
    assert len(PerformanceModel.merge(parts[:2]).histograms) == 1
    with pytest.raises(
        ParameterError, match=r"parts\[0\] and parts\[2\] differ in .*n_passes 3 instead of 1"
    ):
        PerformanceModel.merge(parts)


def test_models_and_injections_are_not_merged(points_model):
    parts = [points_model([TYPICAL], meta={"kind": kind}) for kind in ("models", "injection")]
    with pytest.raises(ParameterError, match=r"parts\[1\] differ in kind models instead of injection"):
        PerformanceModel.merge(parts)


def test_merging_nothing_is_refused():
    with pytest.raises(ParameterError, match="parts must hold at least one PerformanceModel, got none"):
        PerformanceModel.merge([])
