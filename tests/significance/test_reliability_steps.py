"""Steps of reliability: they rise where the counts prove it, and the tail is the one that was drawn."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from hisatools.significance.reliability_steps import Tail, rising_steps


def draw(n, seed, *, shape=0.0, scale=1.0):
    """Rarities with an exponential or a Pareto tail."""
    share = np.random.default_rng([6030, seed]).random(n)
    return scale * (-np.log(share) if shape == 0 else (share**-shape - 1) / shape)


def heights(of_real, of_false):
    first, height = rising_steps(of_real, of_false)
    return height[np.searchsorted(first, of_real, side="right") - 1]


class TestTail:
    @pytest.mark.parametrize(("shape", "scale"), [(0.0, 1.0), (0.0, 3.0), (0.3, 1.0)])
    def test_it_tells_how_many_are_beyond(self, shape, scale):
        rarity = draw(20_000, 1, shape=shape, scale=scale)
        tail = Tail.fit(rarity)
        assert tail.n == 2000
        assert tail.shape == pytest.approx(shape, abs=0.07)
        for count in (1000, 200, 50):
            assert tail.n_above(np.sort(rarity)[-count - 1]) == pytest.approx(count, rel=0.2)

    def test_a_light_tail_is_taken_for_an_exponential(self):
        tail = Tail.fit(np.random.default_rng(6031).random(2000))
        assert tail.shape == 0
        assert tail.n_above(1.2) > 0

    @pytest.mark.parametrize("rarity", [[], [1.0], np.arange(10.0), np.ones(500)])
    def test_few_or_all_alike_have_none(self, rarity):
        tail = Tail.fit(np.array(rarity, float))
        assert tail.n == 0
        assert tail.start == np.inf

    def test_many_alike_beyond_the_others_have_a_scale(self):
        tail = Tail.fit(np.concatenate([np.zeros(500), np.full(50, 1e-9)]))
        assert 0 < tail.n_above(0.1) < 50


class TestSteps:
    def test_the_same_populations_are_not_reliable(self):
        for seed in range(20):
            assert heights(draw(400, seed), draw(400, 100 + seed)).max() < 0.5

    def test_what_is_far_beyond_is_reliable_however_few_they_are(self):
        values = heights(np.append(draw(400, 0), 25.0), draw(400, 1))
        assert values[-1] > 0.99
        assert values[:-1].max() < 0.3

    def test_in_the_mean_it_is_the_true_share(self):
        found, true = [], []
        for seed in range(40):
            real = np.concatenate([draw(500, seed), 4 + draw(25, 200 + seed, scale=3.0)])
            values = heights(real, draw(500, 100 + seed))
            is_true = np.arange(real.size) >= 500
            found.append(values)
            true.append(is_true)
        found, true = np.concatenate(found), np.concatenate(true)
        # Where a step begins is chosen by where it is high: in the middle that is too high by some 0.1.
        for low, high, within in ((0, 0.2, 0.02), (0.5, 0.9, 0.15), (0.9, 1.01, 0.1)):
            inside = (found >= low) & (found < high)
            assert inside.sum() > 50
            assert found[inside].mean() == pytest.approx(true[inside].mean(), abs=within)

    def test_they_rise(self):
        real = np.concatenate([draw(500, 0), 3 + draw(60, 1, scale=3.0)])
        first, height = rising_steps(real, draw(500, 2))
        assert (np.diff(first) > 0).all()
        assert (np.diff(height) > 0).all()
        assert first[0] == -np.inf
        assert (height[0] >= 0) & (height[-1] <= 1)

    def test_few_false_features_make_one_step(self):
        first, height = rising_steps(draw(40, 0), draw(8, 1))
        assert_array_equal(first, [-np.inf])
        assert_allclose(height, 1 - 8 / 40)

    def test_what_is_not_known_is_counted_as_not_rare(self):
        _, height = rising_steps(draw(40, 0), np.append(draw(7, 1), np.inf))
        assert_allclose(height, 1 - 8 / 40)

    def test_more_false_than_real_ones_are_no_less_than_0(self):
        assert_array_equal(rising_steps(draw(5, 0), draw(9, 1))[1], [0.0])

    def test_no_real_ones_have_a_step_too(self):
        assert_array_equal(rising_steps(np.empty(0), draw(100, 1))[1], [0.0])

    def test_real_ones_that_are_all_rare_leave_a_first_step_of_0(self):
        first, height = rising_steps(30 + draw(10, 0), draw(400, 1))
        assert height[0] == 0
        assert height[-1] > 0.99
        assert first.size == height.size == 2

    def test_features_of_the_same_rarity_are_on_one_step(self):
        real = np.concatenate([draw(300, 0), np.full(6, 9.0)])
        assert np.unique(heights(real, draw(300, 1))[-6:]).size == 1
