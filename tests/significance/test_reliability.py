"""Reliability from the mirrored search: counted right, never certain by chance, and said in the result."""

import json
import warnings
from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import norm

from hisatools import ExtractionParameters, HISACube, HISAExtractor, HISAResult
from hisatools.errors import HISAWarning, InputError, ParameterError, ParameterUnitsError
from hisatools.results import MaskBit
from hisatools.significance.reliability import ReliabilityModel, ReliabilityParameters
from hisatools.significance.reliability_points import VoxelNoise, feature_points
from hisatools.significance.selection import select_features
from hisatools.simulate import ModelParameters, simulate_cube

# Of false features of model cubes: scatter of log peak, log sum, log mean.
COVARIANCE = np.array([[0.02, 0.05, 0.01], [0.05, 0.40, 0.02], [0.01, 0.02, 0.01]])
TYPICAL = np.array([0.4, 1.5, 0.25])


def noise_like(n, seed):
    return np.random.default_rng([6010, seed]).multivariate_normal(TYPICAL, COVARIANCE, n)


def strong(n, seed):
    """Features that noise hardly makes: 4 to 8 of its standard deviations above the typical one."""
    rng = np.random.default_rng([6011, seed])
    return TYPICAL + rng.uniform(4, 8, (n, 1)) * np.sqrt(np.diag(COVARIANCE)) * rng.uniform(0.8, 1.2, (n, 3))


def model_of(real, false, **parameters):
    return ReliabilityModel(real, false, None, ReliabilityParameters(**parameters))


@pytest.fixture(scope="module")
def small():
    """A model cube, an extractor that keeps what is faint, and what it finds."""
    model = simulate_cube(ModelParameters(shape=(24, 80, 80), n_pucks=12, n_components=100), seed=6003)
    extractor = HISAExtractor(n_passes=1, parameters=ExtractionParameters(min_significance=0))
    with pytest.warns(HISAWarning, match="over a third"):
        result = extractor.run(model.cube)
    return model, extractor, result


@pytest.fixture(scope="module")
def measured(small):
    model, extractor, result = small
    with pytest.warns(HISAWarning):
        return ReliabilityModel.measure(model.cube, result, extractor)


class TestCounting:
    @pytest.mark.parametrize("n", [60, 300, 1000])
    def test_features_like_the_false_ones_are_not_reliable(self, n):
        for seed in range(3):
            values = model_of(noise_like(n, seed), noise_like(n, 100 + seed)).reliability()
            assert values.mean() < 0.2
            assert values.max() < 0.5

    def test_strong_features_are_reliable_and_the_others_are_not(self):
        real = np.concatenate([strong(30, 0), noise_like(500, 0)])
        values = model_of(real, noise_like(500, 1)).reliability()
        assert np.median(values[:30]) > 0.99
        assert np.count_nonzero(values[:30] > 0.9) > 24
        assert values[30:].mean() < 0.1

    def test_in_the_mean_it_is_the_true_share(self):
        expected, found = [], []
        for seed in range(8):
            n_strong = 40
            real = np.concatenate([strong(n_strong, seed) - 0.3, noise_like(400, seed)])
            expected.append(n_strong / len(real))
            found.append(model_of(real, noise_like(400, 50 + seed)).reliability().mean())
        assert np.mean(found) == pytest.approx(np.mean(expected), abs=0.03)

    def test_twice_as_many_real_as_false_ones_are_half_reliable(self):
        values = model_of(noise_like(2000, 0), noise_like(1000, 1)).reliability()
        assert np.median(values) == pytest.approx(0.5, abs=0.05)

    def test_a_few_beyond_the_rarest_false_one_are_no_proof(self):
        false = noise_like(300, 1)
        rarest = false[np.argmax(model_of(false, false).rarity())]
        real = np.concatenate([[rarest + 0.01, rarest + 0.02], noise_like(300, 0)])
        assert model_of(real, false).reliability()[:2].max() < 0.5

    def test_one_feature_far_beyond_all_is(self):
        real = np.concatenate([strong(1, 0) + 0.5, noise_like(300, 0)])
        values = model_of(real, noise_like(300, 1)).reliability()
        assert values[0] > 0.95
        assert values[1:].max() < 0.5

    def test_what_is_fainter_than_the_false_ones_gains_nothing(self):
        faint = TYPICAL - 6 * np.sqrt(np.diag(COVARIANCE)) * np.ones((50, 1))
        model = model_of(np.concatenate([faint, noise_like(300, 0)]), noise_like(300, 1))
        assert model.reliability(faint).max() < 0.3
        assert_allclose(model.rarity(faint), 0, atol=0.01)

    def test_what_is_stronger_in_all_is_never_less_reliable(self):
        model = model_of(np.concatenate([strong(60, 0) - 0.3, noise_like(300, 0)]), noise_like(300, 1))
        stronger = model.real + np.random.default_rng(6012).uniform(0, 0.5, model.real.shape)
        assert (model.rarity(stronger) >= model.rarity()).all()
        assert (model.reliability(stronger) >= model.reliability()).all()
        assert (np.diff(model.reliability()[np.argsort(model.rarity())]) >= 0).all()

    def test_it_is_within_0_and_1_and_the_same_for_the_same_points(self):
        model = model_of(np.concatenate([strong(20, 0), noise_like(50, 0)]), noise_like(300, 1))
        values = model.reliability()
        assert ((values >= 0) & (values <= 1)).all()
        assert_array_equal(model.reliability(model.real[::-1])[::-1], values)
        assert_array_equal(model.reliability(model.real[:1]), values[:1])

    def test_the_least_rare_of_all_has_that_of_the_lowest_step(self):
        model = model_of(noise_like(1000, 0), noise_like(500, 1))
        assert model.reliability(TYPICAL[None] - 3)[0] == model.reliability().min() > 0.3


class TestDensity:
    def test_rarity_is_minus_the_log_of_the_share_above(self):
        real, false = noise_like(30, 0), noise_like(50, 1)
        values = model_of(real, false, kernel_scale=0.6).rarity()
        for point, value in zip(real, values, strict=True):
            above = [norm.sf((point - other) / (0.6 * false.std(axis=0))).prod() for other in false]
            assert value == pytest.approx(-np.log(np.mean(above)))

    def test_what_lies_far_beyond_all_is_still_told_apart(self):
        model = model_of(noise_like(30, 0), noise_like(50, 1))
        assert (np.diff(model.rarity(TYPICAL + np.arange(3, 30)[:, None])) > 1).all()

    def test_the_ratio_is_that_of_sofia(self):
        real, false = noise_like(60, 0), noise_like(40, 1)
        inverse = np.linalg.inv(np.cov(false.T) * 0.4**2)

        def density(point, points):
            return sum(np.exp(-0.5 * d @ inverse @ d) for d in point - points)

        expected = [max(0, 1 - density(point, false) / density(point, real)) for point in real]
        assert_allclose(model_of(real, false).density_ratio(), expected, atol=1e-9)

    def test_the_ratio_scatters_where_the_counts_do_not(self):
        model = model_of(noise_like(400, 0), noise_like(400, 1))
        assert model.density_ratio().std() > 3 * model.reliability().std()

    @pytest.mark.parametrize("n_false", [1, 2, 3])
    def test_few_false_features_have_a_density(self, n_false):
        model = model_of(noise_like(30, 0), noise_like(n_false, 1))
        assert np.isfinite(model.rarity()).all()
        assert np.isfinite(model.reliability()).all()
        assert np.isfinite(model.density_ratio()).all()

    def test_false_features_on_a_line_have_a_density(self):
        false = TYPICAL + np.linspace(0, 1, 60)[:, None] * [1, 1, 1]
        values = model_of(noise_like(100, 0), false).reliability()
        assert np.isfinite(values).all()

    def test_many_points_are_done_in_parts(self, monkeypatch):
        whole = model_of(noise_like(300, 0), noise_like(200, 1))
        parts = model_of(noise_like(300, 0), noise_like(200, 1))
        values = whole.reliability()
        monkeypatch.setattr("hisatools.significance.reliability_density.PAIRS_PER_BLOCK", 1000)
        assert_array_equal(parts.reliability(), values)


class TestLimits:
    def test_no_false_features_make_all_reliable(self):
        assert_array_equal(model_of(noise_like(5, 0), np.empty((0, 3))).reliability(), np.ones(5))

    def test_no_features_have_no_reliability(self):
        assert model_of(np.empty((0, 3)), noise_like(5, 0)).reliability().shape == (0,)
        assert model_of(np.empty((0, 3)), np.empty((0, 3))).reliability().shape == (0,)

    def test_unknown_noise_makes_it_nan_and_changes_no_other(self):
        real = noise_like(60, 0)
        values = model_of(real, noise_like(60, 1)).reliability()
        unknown = np.full((2, 3), np.nan)
        model = model_of(np.concatenate([real, unknown]), np.concatenate([unknown, noise_like(60, 1)]))
        assert_array_equal(model.reliability(), [*values, np.nan, np.nan])
        assert np.isnan(model.density_ratio()[-2:]).all()

    @pytest.mark.parametrize("points", [np.zeros(3), np.zeros((2, 2)), 1.0])
    def test_points_of_another_shape_are_refused(self, points):
        with pytest.raises(InputError, match=r"array of shape \(n, 3\)"):
            model_of(noise_like(5, 0), noise_like(5, 1)).reliability(points)

    @pytest.mark.parametrize(
        ("settings", "error", "message"),
        [
            ({"kernel_scale": 0}, ParameterError, "kernel_scale must be finite and above 0"),
            ({"background_fwhm": 20}, ParameterUnitsError, "background_fwhm needs a unit of arcmin"),
            ({"min_false": 2.5}, ParameterError, "min_false must be a whole number"),
        ],
    )
    def test_impossible_parameters_are_named(self, settings, error, message):
        with pytest.raises(error, match=message):
            ReliabilityParameters(**settings)


class TestPoints:
    def test_they_are_peak_sum_and_mean_over_the_noise(self, small):
        model, extractor, result = small
        noise = VoxelNoise.measure(model.cube, extractor.spatial)
        points = feature_points(result, noise)
        for row, point in zip(result.catalog, points, strict=True):
            index = np.flatnonzero(result.labels == row["id"])
            ratio = -result.delta_t.value.reshape(-1)[index] / noise.at(index)
            assert_allclose(10**point, [ratio.max(), ratio.sum(), ratio.mean()], rtol=1e-5)

    def test_the_noise_is_what_was_put_in(self, small):
        model, extractor, _ = small
        noise = VoxelNoise.measure(model.cube, extractor.spatial)
        assert np.median(noise.at(np.arange(0, model.cube.kelvin.size, 97))) == pytest.approx(6, rel=0.1)

    def test_blank_margins_change_nothing(self, small):
        model, extractor, _ = small
        padded = np.pad(model.cube.kelvin, ((1, 0), (2, 3), (0, 4)), constant_values=np.nan)
        wide = HISACube(padded * u.K, model.cube.wcs, beam=model.cube.beam)
        noise, other = (VoxelNoise.measure(cube, extractor.spatial) for cube in (model.cube, wide))
        inside = np.zeros(padded.shape, bool)
        inside[1:, 2:-3, :-4] = True
        assert_array_equal(other.at(np.flatnonzero(inside)), noise.at(np.arange(model.cube.kelvin.size)))

    def test_noise_of_another_cube_is_refused(self, small):
        model, extractor, result = small
        part = model.cube.cutout((slice(0, 12), slice(None), slice(None)))
        with pytest.raises(InputError, match="give the result of that cube"):
            feature_points(result, VoxelNoise.measure(part, extractor.spatial))


class TestMeasuring:
    def test_both_searches_find_noise(self, small, measured):
        _, _, result = small
        assert len(measured.real) == len(result.catalog) == measured.meta["n_features"]
        # The same search in noise of the other sign: as many, but for chance and what is real.
        assert 0.5 < len(measured.false) / len(measured.real) < 1.5
        assert measured.meta["method"] == "mirrored search"
        json.dumps(measured.meta)

    def test_workers_change_nothing(self, small, measured):
        model, extractor, result = small
        with pytest.warns(HISAWarning):
            again = ReliabilityModel.measure(model.cube, result, extractor, workers=3)
        assert_array_equal(again.false, measured.false)
        assert_array_equal(again.reliability(), measured.reliability())

    def test_it_goes_into_the_catalogue_with_its_method(self, small, measured):
        _, _, result = small
        assessed = measured.assess(result)
        assert_array_equal(assessed.catalog["reliability"], measured.reliability())
        assert "mirrored cube (data-driven)" in assessed.catalog["reliability"].info.description
        assert assessed.meta["reliability"] == measured.meta
        assert "reliability" not in result.catalog.colnames
        with pytest.warns(HISAWarning, match="has a column reliability already; it is replaced"):
            measured.assess(assessed)

    def test_what_touches_absorption_that_was_filled_in_is_not_counted(self, small, monkeypatch):
        model, extractor, result = small
        monkeypatch.setattr(HISAExtractor, "run", lambda self, cube, **how: result)
        counts = {}
        for fill in (1e6, 4.0, 0.0):
            parameters = ReliabilityParameters(fill_significance=fill, min_false=0)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", HISAWarning)
                found = ReliabilityModel.measure(model.cube, result, extractor, parameters=parameters)
            counts[fill] = len(found.false)
        assert counts[1e6] == len(result.catalog) > counts[4.0] > counts[0.0] == 0

    def test_a_result_of_another_extraction_is_doubtful(self, small, monkeypatch):
        model, _, result = small
        other = HISAExtractor(n_passes=2)
        monkeypatch.setattr(HISAExtractor, "run", lambda self, cube, **how: result)
        with pytest.warns(HISAWarning, match=r"n_passes 2 instead of 1"):
            ReliabilityModel.measure(model.cube, result, other, parameters=ReliabilityParameters(min_false=0))

    def test_few_or_no_false_features_are_said(self, small, monkeypatch):
        model, extractor, result = small
        nothing = select_features(result, np.zeros(len(result.catalog), bool))
        monkeypatch.setattr(HISAExtractor, "run", lambda self, cube, **how: nothing)
        with pytest.warns(HISAWarning, match="the mirrored search found nothing, so that all"):
            found = ReliabilityModel.measure(model.cube, result, extractor)
        assert (found.reliability() == 1).all()
        monkeypatch.setattr(HISAExtractor, "run", lambda self, cube, **how: result)
        limit = ReliabilityParameters(min_false=len(result.catalog) + 1, fill_significance=1e6)
        with pytest.warns(HISAWarning, match=f"only {len(result.catalog)} features in the mirrored cube"):
            ReliabilityModel.measure(model.cube, result, extractor, parameters=limit)

    def test_the_extractor_is_the_default_one(self, small, monkeypatch):
        model, _, result = small
        used = []
        monkeypatch.setattr(HISAExtractor, "run", lambda self, cube, **how: used.append(self) or result)
        limit = ReliabilityParameters(min_false=0)
        ReliabilityModel.measure(model.cube, replace(result, meta={}), parameters=limit)
        assert used[0].settings() == HISAExtractor().settings()

    def test_one_sight_line_is_refused(self, small):
        _, extractor, result = small
        cube = HISACube.from_spectrum(np.linspace(80, 90, 40) * u.K, np.arange(40) * u.km / u.s)
        with pytest.raises(InputError, match="this is one sight line"):
            ReliabilityModel.measure(cube, result, extractor)


class TestSelection:
    def test_dropped_features_leave_no_trace_but_flags(self, small):
        _, _, result = small
        keep = np.arange(len(result.catalog)) % 3 == 1
        chosen = select_features(result, keep)
        old = np.flatnonzero(keep) + 1
        assert_array_equal(chosen.catalog["id"], np.arange(1, keep.sum() + 1))
        assert_array_equal(chosen.catalog["name"], result.catalog["name"][keep])
        assert_array_equal(chosen.labels > 0, np.isin(result.labels, old))
        assert_array_equal(chosen.mask, chosen.labels > 0)
        assert_array_equal(chosen.first_pass > 0, chosen.mask)
        assert_array_equal(chosen.union, result.union)
        assert_array_equal(chosen.delta_t.value, np.where(chosen.mask, result.delta_t.value, 0))
        assert_array_equal(chosen.sigma_delta_t.value, np.where(chosen.mask, result.sigma_delta_t.value, 0))
        for row, number in zip(chosen.catalog, old, strict=True):
            assert_array_equal(chosen.labels == row["id"], result.labels == number)
        assert chosen.catalog["id"].info.description == result.catalog["id"].info.description

    def test_all_or_none(self, small):
        _, _, result = small
        n = len(result.catalog)
        whole, nothing = (select_features(result, np.full(n, choice)) for choice in (True, False))
        assert_array_equal(whole.flags, result.flags)
        assert_array_equal(whole.unabsorbed_kelvin, result.unabsorbed_kelvin)
        assert not nothing.mask.any()
        assert len(nothing.catalog) == nothing.n_accepted == 0
        assert nothing.catalog.colnames == result.catalog.colnames

    def test_the_true_fraction_is_known_of_what_stays(self, small):
        _, _, result = small
        known = replace(result, true_fraction=np.where(result.mask, 0.5, np.nan).astype(np.float32))
        chosen = select_features(known, np.arange(len(result.catalog)) > 0)
        assert_array_equal(np.isfinite(chosen.true_fraction), chosen.mask)

    @pytest.mark.parametrize("keep", [[1, 0], [True], np.ones((1, 2), bool)])
    def test_anything_but_a_bool_for_each_row_is_refused(self, small, keep):
        with pytest.raises(InputError, match="give one bool for each of the"):
            select_features(small[2], keep)


class TestExtractor:
    def limited(self, min_reliability):
        parameters = ExtractionParameters(min_significance=0)
        return HISAExtractor(n_passes=1, parameters=parameters, min_reliability=min_reliability)

    def fixed(self, monkeypatch, values):
        """An assessment that gives these reliabilities."""
        monkeypatch.setattr(ReliabilityModel, "reliability", lambda self, what=None: np.array(values))

    @pytest.mark.filterwarnings("ignore::hisatools.errors.HISAWarning")
    def test_without_a_limit_all_is_as_before(self, small):
        model, _, result = small
        again = self.limited(None).run(model.cube)
        assert_array_equal(again.flags, result.flags)
        assert "min_reliability" not in again.meta["parameters"]
        assert "reliability" not in again.catalog.colnames

    @pytest.mark.filterwarnings("ignore::hisatools.errors.HISAWarning")
    def test_features_below_the_limit_are_dropped(self, small, measured, monkeypatch, tmp_path):
        model, _, result = small
        values = np.linspace(0, 1, len(result.catalog))
        values[3] = np.nan
        self.fixed(monkeypatch, values)
        chosen = self.limited(0.8).run(model.cube)
        keep = ~(values < 0.8)
        assert keep[3]
        assert_array_equal(chosen.catalog["reliability"], values[keep])
        assert_array_equal(chosen.labels > 0, np.isin(result.labels, np.flatnonzero(keep) + 1))
        assert chosen.meta["parameters"]["min_reliability"] == 0.8
        assert chosen.meta["reliability"]["n_mirrored"] == len(measured.false)
        assert any(
            f"{np.sum(~keep)} of {keep.size} features dropped: reliability below 0.8" in remark
            for remark in chosen.meta["remarks"]
        )
        again = HISAResult.read(chosen.write(tmp_path / "out"))
        assert_array_equal(again.labels, chosen.labels)
        assert_array_equal(again.mask, (again.flags & MaskBit.ACCEPTED) > 0)
        assert_array_equal(again.catalog["reliability"], chosen.catalog["reliability"])
        assert again.meta["reliability"] == chosen.meta["reliability"]

    @pytest.mark.filterwarnings("ignore::hisatools.errors.HISAWarning")
    def test_nothing_found_is_no_reason_to_search_again(self, small):
        model, _, _ = small
        dark = model.cube.with_brightness(model.cube.kelvin * np.float32(0.1))
        result = self.limited(0.9).run(dark)
        assert len(result.catalog) == 0
        assert result.meta["remarks"] == [result.meta["remarks"][0]]
        assert "reliability" not in result.meta

    def test_a_preset_takes_a_limit(self):
        assert HISAExtractor.preset("cgps", min_reliability=0.5).min_reliability == 0.5

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            (1.1, "must be at most 1"),
            (-0.1, "at least 0"),
            ("0.9", "must be a plain number"),
            (np.nan, "finite"),
        ],
    )
    def test_an_impossible_limit_is_named(self, value, message):
        with pytest.raises(ParameterError, match=f"min_reliability.*{message}"):
            HISAExtractor(min_reliability=value)

    def test_a_limit_needs_a_map(self):
        cube = HISACube.from_spectrum(np.linspace(80, 90, 60) * u.K, np.arange(60) * u.km / u.s)
        with pytest.raises(InputError, match="min_reliability needs a map, and this is one sight line"):
            HISAExtractor(min_reliability=0.5).run(cube)
