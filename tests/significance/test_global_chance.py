"""Global p-values: the formula, the tail and its mark, and that they are calibrated."""

import numpy as np
import pytest
from astropy.table import QTable
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from hisatools.errors import InputError, ParameterError
from hisatools.significance.global_chance import GlobalChance, post_trial

RANDOM = settings(deadline=None, derandomize=True, max_examples=60)
TS = st.floats(0, 100, allow_nan=False, width=32)


def maxima(n, seed=6300, n_values=3000):
    """Largest squares of many normal values: what a scan of noise gives."""
    return np.max(np.random.default_rng(seed).standard_normal((n, n_values)) ** 2, axis=1)


@given(st.lists(TS, min_size=1, max_size=150), st.lists(TS, min_size=1, max_size=10))
@RANDOM
def test_p_is_one_more_than_the_trials_at_or_above_over_one_more_than_all(trials, found):
    chance = GlobalChance(np.array(trials))
    expected = [(1 + sum(one >= ts for one in trials)) / (1 + len(trials)) for ts in found]
    assert_allclose(chance.p_value(np.array(found)), expected)
    p, is_extrapolated = chance.p_global(found)
    assert_array_equal(is_extrapolated, np.array(found) > max(trials))
    assert_allclose(p[~is_extrapolated], np.array(expected)[~is_extrapolated])
    assert (p[is_extrapolated] <= 1 / (1 + len(trials))).all()
    assert (p > 0).all()


@given(st.lists(TS, min_size=1, max_size=150))
@RANDOM
def test_larger_ts_never_has_larger_p(trials):
    chance = GlobalChance(np.array(trials))
    p, _ = chance.p_global(np.linspace(0, 150, 300))
    assert (np.diff(p) <= 1e-15).all()


def test_tail_goes_on_as_squared_noise_does():
    chance = GlobalChance(maxima(1500, n_values=300))
    assert chance.scale == pytest.approx(2.1, abs=0.35)
    # Ten times as many trials know what the tail of these says.
    many = GlobalChance(maxima(15000, seed=6301, n_values=300))
    for ts in (15.0, 18.0, 21.0):
        assert float(chance.tail_p_value(ts)) == pytest.approx(float(many.p_value(ts)), rel=0.5)
    p, is_extrapolated = chance.p_global(36.0)
    assert is_extrapolated
    assert 1e-8 < p < 1e-5


def test_too_few_trials_have_no_tail_and_say_so():
    chance = GlobalChance(maxima(20))
    assert np.isnan(chance.scale)
    p, is_extrapolated = chance.p_global([50.0, np.nan])
    assert_allclose(p, [1 / 21, np.nan])
    assert is_extrapolated.tolist() == [True, False]
    assert np.isnan(chance.ts_at(1e-3)[0])


def test_trials_that_are_all_alike_have_no_tail():
    chance = GlobalChance(np.zeros(500))
    assert np.isnan(chance.scale)
    assert chance.p_global(0.0) == (1.0, False)


@pytest.mark.parametrize("p", [0.5, 0.1, 0.02])
def test_ts_at_is_the_quantile_of_the_trials(p):
    chance = GlobalChance(maxima(999))
    ts, is_extrapolated = chance.ts_at(p)
    assert not is_extrapolated
    assert float(chance.p_value(ts)) == pytest.approx(p, abs=0.002)


def test_ts_at_beyond_the_trials_is_that_of_the_tail():
    chance = GlobalChance(maxima(999))
    ts, is_extrapolated = chance.ts_at(1e-5)
    assert is_extrapolated
    assert float(chance.p_global(ts)[0]) == pytest.approx(1e-5)


def test_the_range_of_p_shrinks_with_the_trials():
    few, many = (GlobalChance(maxima(n)) for n in (100, 2000))
    assert np.ptp(few.p_interval(20.0)) > 3 * np.ptp(many.p_interval(20.0))
    low, high = many.p_interval(20.0)
    assert low < many.p_value(20.0) < high
    assert np.isnan(many.p_interval(np.nan)).all()


def test_noise_has_uniform_p_values():
    data = maxima(200, seed=6302, n_values=200)
    p = np.array(
        [
            float(GlobalChance(maxima(99, seed=7000 + i, n_values=200)).p_value(ts))
            for i, ts in enumerate(data)
        ]
    )
    for level in (0.05, 0.3, 0.6):
        assert np.mean(p <= level) == pytest.approx(level, abs=3 * np.sqrt(level * (1 - level) / len(p)))


def test_of_a_table_of_fits():
    fits = QTable({"ts_prior": [1.0, 3.0], "max_ts": [5.0, 4.0], "n": [0, 0]})
    assert_array_equal(GlobalChance.of(fits).ts, [1, 3])
    assert_array_equal(GlobalChance.of(fits, "max_ts").ts, [4, 5])
    assert_array_equal(GlobalChance.of(fits["ts_prior"]).ts, [1, 3])
    with pytest.raises(ParameterError, match="unknown column 'ts'; the fits have ts_prior"):
        GlobalChance.of(fits, "ts")
    fits["n"] = [0, 1]
    with pytest.raises(ParameterError, match="features were put into these"):
        GlobalChance.of(fits)


@pytest.mark.parametrize("wrong", [[], [1.0, np.nan], [np.inf]])
def test_trials_must_be_finite(wrong):
    with pytest.raises(InputError, match="trials must hold"):
        GlobalChance(np.array(wrong))


def test_post_trial_of_several_looks():
    assert post_trial(0.3, 1) == pytest.approx(0.3)
    assert_allclose(post_trial([1e-9, 0.5], 2), [2e-9, 0.75], rtol=1e-6)
    with pytest.raises(ParameterError, match="n_looks"):
        post_trial(0.1, 0)


def test_figure_marks_what_is_extrapolated():
    chance = GlobalChance(maxima(300))
    texts = [text.get_text() for text in chance.plot(60.0).get_legend().get_texts()]
    assert texts[0] == "300 trials"
    assert "extrapolated" in texts[2]
    assert "counted" in chance.plot(15.0).get_legend().get_texts()[2].get_text()
    assert len(GlobalChance([1.0, 2.0]).plot().get_lines()) == 1
