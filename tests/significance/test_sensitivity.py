"""Sensitivity: detection curves, limits that follow from them, and the column density of a dT."""

from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import norm

from hisatools.errors import ParameterError, ParameterUnitsError
from hisatools.significance import ScanParameters, SignificanceScan
from hisatools.significance.column_limit import column_density_limit
from hisatools.significance.detection import DetectionCurve
from hisatools.significance.global_chance import GlobalChance
from hisatools.significance.injected import Signal
from hisatools.significance.prior import SpatialPrior
from hisatools.significance.sensitivity import Sensitivity, measure_sensitivity
from hisatools.significance.trials import TrialRunner

SHAPE = (12, 18, 20)
BANK = SignificanceScan(ScanParameters(widths=1 * u.arcmin, linewidths=2 * u.km / u.s))
SIGNAL = Signal(width=1 * u.arcmin, linewidth=2 * u.km / u.s, n_sigma=5)
KMS = u.km / u.s


def curve(middle=20.0, width=4.0, chance=0.1, n=400, seed=6300):
    """Trials drawn from a known curve."""
    depth = np.linspace(5, 40, 8)
    share = 1 - (1 - chance) * norm.sf((depth - middle) / width)
    detected = np.random.default_rng(seed).binomial(n, share)
    return DetectionCurve(depth, np.full(8, n), detected, chance, threshold=25.0)


class TestCurve:
    def test_fit_finds_the_curve_that_trials_were_drawn_from(self):
        drawn = curve()
        # Half of all: 4/9 of those that noise does not carry over the threshold.
        assert drawn.delta_t_at(0.5).value == pytest.approx(-(20 + 4 * norm.ppf(4 / 9)), abs=0.6)
        assert drawn.delta_t_at(0.9).value == pytest.approx(-(20 + 4 * norm.ppf(8 / 9)), abs=0.8)
        share = drawn.fitted([0, -200] * u.K)
        assert_allclose(share, [0.1, 1.0], atol=1e-3)
        assert_allclose(drawn.fitted(drawn.delta_t_at(0.7)), 0.7)

    def test_smooth_curve_lies_within_binomial_errors(self):
        drawn = curve()
        low, high = drawn.interval(0.997)
        fitted = drawn.fitted(drawn.delta_t)
        assert ((fitted > low) & (fitted < high)).all()

    def test_shares_that_were_not_reached_are_not_known(self):
        shallow = DetectionCurve(np.array([1.0, 2.0]), np.full(2, 50), np.array([1, 4]), 0.02, 25.0)
        assert np.isnan(shallow.delta_t_at(0.5))

    def test_shares_that_background_reaches_need_no_feature(self):
        assert curve(chance=0.5).delta_t_at(0.4) == 0 * u.K

    @pytest.mark.parametrize("detected", [(0, 0), (50, 50)])
    def test_all_or_none_found_shows_no_curve(self, detected):
        flat = DetectionCurve(np.array([1.0, 2.0]), np.full(2, 50), np.array(detected), 0.02, 25.0)
        assert np.isnan(flat.delta_t_at(0.5))

    @pytest.mark.parametrize("fraction", [0, 1, -0.1])
    def test_shares_lie_between_nothing_and_all(self, fraction):
        with pytest.raises(ParameterError, match="fraction"):
            curve().delta_t_at(fraction)

    def test_figure(self):
        ax = curve().plot(label="drawn")
        curve(middle=10).plot(ax=ax, label="easier")
        assert [text.get_text() for text in ax.get_legend().get_texts()] == ["drawn", "easier"]
        first, second = (container.lines[0].get_color() for container in ax.containers)
        assert first != second


@pytest.fixture(scope="module")
def runner(noise_residual):
    return TrialRunner(noise_residual(SHAPE, 6300), scan=BANK, signal=SIGNAL)


@pytest.fixture(scope="module")
def found(runner):
    return measure_sensitivity(runner, n_trials=20, n_background=80, seed=6300)


class TestMeasured:
    def test_deeper_features_are_found_more_often(self, found):
        assert (np.diff(found.ts.mean(axis=1)) > 0).all()
        assert found.discovery(0.02) < found.discovery(0.02, 0.1) < 0 * u.K
        assert found.discovery(1e-3) < found.discovery(0.02)
        assert found.meta["prior"] is None
        assert "n_sigma" not in found.meta["signal"]

    def test_half_are_found_where_their_height_is_that_of_the_threshold(self, runner, found):
        threshold = found.background.ts_at(0.02)[0]
        trial = runner.with_signal(replace(SIGNAL, n_sigma=1)).get_one_trial(20, 6300)
        sigma = np.median(-trial.features["delta_t"])
        # The maximum about a feature is a little higher than its own height.
        assert float(-found.discovery(0.02) / sigma) == pytest.approx(np.sqrt(threshold - 2), rel=0.15)

    def test_upper_limits_follow_what_was_observed_and_are_never_below_the_sensitivity(self, found):
        assert found.upper_limit(0.0) == found.sensitivity
        assert found.upper_limit(25.0) < found.upper_limit(18.0) <= found.sensitivity < 0 * u.K

    def test_workers_and_folder_change_nothing_and_what_is_done_is_kept(self, runner, tmp_path, monkeypatch):
        depths = [-20, -40] * u.K
        settings = {"n_trials": 10, "n_background": 20, "seed": 6300, "folder": tmp_path}
        one = measure_sensitivity(runner, depths, **settings)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["background", "depth_20_K", "depth_40_K"]
        monkeypatch.setattr(TrialRunner, "_fit_seed", None)
        two = measure_sensitivity(runner, depths, resume=True, workers=2, **settings)
        assert_array_equal(one.ts, two.ts)
        assert_array_equal(one.background.ts, two.background.ts)

    def test_mk_are_k(self, runner):
        chance = GlobalChance(np.arange(10.0))
        settings = {"n_trials": 2, "background": chance, "seed": 6300}
        one, two = (
            measure_sensitivity(runner, depths, **settings)
            for depths in ([-20, -40] * u.K, [-40e3, -20e3] * u.mK)
        )
        assert_array_equal(one.ts, two.ts)
        assert_allclose(one.depth_kelvin, [20, 40])

    def test_a_right_prior_makes_features_easier_to_find(self, noise_residual):
        residual = noise_residual(SHAPE, 6300)
        probability = np.full(SHAPE[1:], 1e-3)
        probability[8:12, 8:12] = 1
        prior = SpatialPrior(probability, residual.wcs)
        depths = [-25, -50, -75, -100] * u.K
        sky = residual.wcs.celestial.pixel_to_world([9.6, 10.2, 9.1], [9.2, 10.4, 10.9])
        signal = replace(SIGNAL, positions=sky, velocities=residual.velocity[6])
        half = {}
        for name, judge in (("none", None), ("right", prior)):
            runner = TrialRunner(residual, scan=BANK, prior=judge, signal=signal)
            half[name] = measure_sensitivity(runner, depths, n_trials=20, n_background=50).discovery(0.03)
        assert half["right"] > half["none"]

    def test_impossible_arguments(self, runner):
        with pytest.raises(ParameterUnitsError, match="depths needs a unit of K"):
            measure_sensitivity(runner, [-20, -40])
        with pytest.raises(ParameterError, match="two or more values"):
            measure_sensitivity(runner, [20, 40] * u.K)
        with pytest.raises(ParameterError, match="no signal"):
            measure_sensitivity(TrialRunner(runner.residual))

    def test_figure(self):
        rng = np.random.default_rng(6300)
        depth = np.linspace(5, 50, 6)
        ts = np.square(np.maximum(depth[:, None] / 6 + rng.standard_normal((6, 100)), 0))
        found = Sensitivity(depth, ts, GlobalChance(15 + rng.gumbel(scale=2, size=200)))
        texts = [text.get_text() for text in found.plot(label="Blank sky").get_legend().get_texts()]
        assert texts == [
            "Blank sky, above the median of the background",
            "Blank sky, global p below 0.0014 (extrapolated)",
        ]


class TestColumn:
    def limit(self, delta_t, *, linewidth=3 * KMS, spin=40 * u.K, unabsorbed=100 * u.K):
        return column_density_limit(delta_t, linewidth, spin_temperature=spin, t_unabsorbed=unabsorbed)

    def test_thin_gas_has_the_column_of_a_gaussian_line(self):
        # tau = dT / (T_S - T_U) = 0.001; N = 1.823e18 * 1.0645 * T_S tau dv
        found = self.limit(-0.06 * u.K)
        assert found.to_value(u.cm**-2) == pytest.approx(1.823e18 * 1.064467 * 40 * 0.001 * 3, rel=1e-3)

    def test_thick_gas_has_more(self):
        assert self.limit(-54 * u.K) > 1.3 * 900 * self.limit(-0.06 * u.K)

    def test_what_the_gas_cannot_absorb_is_not_known(self):
        found = self.limit([-60, -70, 5, np.nan, 0] * u.K)
        assert np.isnan(found[:4]).all()
        assert found[4] == 0
        assert np.isnan(self.limit(-5 * u.K, unabsorbed=30 * u.K))

    def test_an_array_of_places(self):
        found = self.limit([-5, -10] * u.K, unabsorbed=[80, 120] * u.K)
        assert_allclose(found[1], self.limit(-10 * u.K, unabsorbed=120 * u.K))

    def test_units(self):
        assert_allclose(self.limit(-5000 * u.mK), self.limit(-5 * u.K))
        assert_allclose(self.limit(-5 * u.K, linewidth=3000 * u.m / u.s), self.limit(-5 * u.K))
        for wrong in ({"linewidth": 3}, {"spin": 40}, {"unabsorbed": 100}):
            with pytest.raises(ParameterUnitsError):
                self.limit(-5 * u.K, **wrong)
        with pytest.raises(ParameterUnitsError, match="delta_t needs a unit of K"):
            self.limit(-5)
