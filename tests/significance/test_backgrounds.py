"""Backgrounds of trials: variance, correlation and maxima of what is drawn and of what is resampled."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from hisatools.noise import NoiseCorrelation
from hisatools.noise.correlation import correlation_at
from hisatools.significance.backgrounds import _blocks, draw_noise, noise_kernel, resample

CGPS = NoiseCorrelation(3.33, 1.6)
RANDOM = settings(deadline=None, derandomize=True, max_examples=30)


def rng(seed=6300):
    return np.random.default_rng(seed)


def lagged(noise, axis, lag):
    """Covariance of values a lag apart, for values of known mean 0."""
    n = noise.shape[axis]
    first, second = (np.take(noise, np.arange(start, n - lag + start), axis) for start in (0, lag))
    return float(np.mean(first.astype(float) * second))


class TestKernel:
    @pytest.mark.parametrize("fwhm", [0.0, 0.4, 1.0, 1.6, 3.33, 12.0])
    def test_correlation_is_that_of_the_filters(self, fwhm):
        kernel = noise_kernel(fwhm)
        lags = np.arange(len(kernel))
        found = np.correlate(kernel, kernel, "full")[len(kernel) - 1 :]
        assert_allclose(found, correlation_at(lags, fwhm), atol=2e-5)

    def test_white_noise_needs_no_kernel(self):
        assert_array_equal(noise_kernel(0.0), [1.0])

    @given(st.floats(0.05, 30))
    @RANDOM
    def test_symmetric_and_of_unit_variance(self, fwhm):
        kernel = noise_kernel(fwhm)
        assert_array_equal(kernel, kernel[::-1])
        assert np.sum(kernel**2) == pytest.approx(1)


@pytest.fixture(scope="module")
def noise():
    return draw_noise((48, 120, 120), CGPS, rng())


class TestDrawnNoise:
    def test_variance_is_that_of_the_process_not_of_each_cube(self, noise):
        assert noise.dtype == np.float32
        assert np.var(noise, dtype=float) == pytest.approx(1, abs=0.02)
        # A small cube has its own variance, unlike one divided by its own rms.
        small = [draw_noise((6, 8, 8), CGPS, rng(seed)).std() for seed in range(6300, 6340)]
        assert np.std(small) > 0.02

    @pytest.mark.parametrize(("axis", "fwhm"), [(0, 1.6), (1, 3.33), (2, 3.33)])
    @pytest.mark.parametrize("lag", [1, 2, 4])
    def test_correlation(self, noise, axis, fwhm, lag):
        assert lagged(noise, axis, lag) == pytest.approx(float(correlation_at(np.array(lag), fwhm)), abs=0.02)

    @pytest.mark.parametrize("axis", [0, 1, 2])
    def test_borders_are_like_the_middle_and_do_not_know_each_other(self, noise, axis):
        # About 400 to 1500 independent values at a border.
        ends = np.take(noise, [0, -1], axis).astype(float)
        assert np.mean(ends**2) == pytest.approx(1, abs=0.1)
        assert abs(np.mean(np.take(ends, 0, axis) * np.take(ends, 1, axis))) < 0.1

    @pytest.mark.parametrize("shape", [(1, 1, 1), (40, 1, 1), (1, 20, 1), (5, 3, 40)])
    def test_any_shape(self, shape):
        noise = draw_noise(shape, CGPS, rng())
        assert noise.shape == shape
        assert np.isfinite(noise).all()

    def test_one_pixel_has_unit_variance(self):
        values = [draw_noise((1, 1, 1), CGPS, rng(seed)).item() for seed in range(6300, 6900)]
        assert np.std(values) == pytest.approx(1, abs=0.1)

    def test_rows_at_a_time_make_no_seams(self):
        tall = draw_noise((8, 100, 9), NoiseCorrelation(0.0, 1.6), rng())
        white = rng().standard_normal((8 + 2 * (len(noise_kernel(1.6)) // 2), 100, 9), dtype=np.float32)
        expected = np.apply_along_axis(lambda one: np.convolve(one, noise_kernel(1.6), "valid"), 0, white)
        assert_allclose(tall, expected, atol=1e-5)


class TestResampled:
    @pytest.mark.parametrize("flip", [True, False])
    def test_keeps_the_power_of_every_value(self, flip):
        # Each copy holds each value once, if blocks fit: the mean square is kept but for cross terms.
        values = rng().standard_normal((12, 30, 30), dtype=np.float32)
        one = resample(values, (4, 10, 10), 1, rng(1), flip=flip)
        assert_array_equal(np.sort(np.abs(one).ravel()), np.sort(np.abs(values).ravel()))

    def test_shuffle_keeps_signs_and_flip_does_not(self):
        values = np.ones((12, 30, 30), np.float32)
        assert (resample(values, (4, 10, 10), 1, rng(1), flip=False) == 1).all()
        flipped = resample(values, (4, 10, 10), 1, rng(1), flip=True)
        assert set(np.unique(flipped)) == {-1.0, 1.0}

    @pytest.mark.parametrize("flip", [True, False])
    def test_variance_and_correlation_of_noise(self, flip):
        noise = draw_noise((40, 96, 96), CGPS, rng())
        trials = [resample(noise, (20, 48, 48), 8, rng(seed), flip=flip) for seed in range(6)]
        assert np.mean([np.mean(one**2) for one in trials]) == pytest.approx(np.mean(noise**2), rel=0.04)
        for axis in range(3):
            found = np.mean([lagged(one, axis, 1) for one in trials])
            # Seams take at most what the share of neighbours that they part has of it.
            assert found == pytest.approx(lagged(noise, axis, 1), rel=0.08)

    @pytest.mark.parametrize("flip", [True, False])
    def test_a_feature_comes_back_no_higher_than_the_root_of_copies_leaves_of_it(self, flip):
        values = np.zeros((24, 40, 40), np.float32)
        values[11:13, 20:22, 20:22] = 16
        highest = [resample(values, (12, 20, 20), 16, rng(seed), flip=flip).max() for seed in range(20)]
        # Two copies may meet now and then, three hardly ever.
        assert np.median(highest) == pytest.approx(4)
        assert max(highest) <= 12

    def test_blocks_larger_than_the_cube_and_single_sight_lines(self):
        values = rng().standard_normal((20, 1, 1), dtype=np.float32)
        for flip in (True, False):
            assert resample(values, (10, 1, 1), 8, rng(1), flip=flip).shape == (20, 1, 1)

    @given(st.tuples(*[st.integers(1, 9)] * 3), st.tuples(*[st.integers(1, 5)] * 3), st.integers(0, 1000))
    @RANDOM
    def test_blocks_cover_each_voxel_once(self, shape, sides, seed):
        first = [int(rng(seed).integers(side)) for side in sides]
        count = np.zeros(shape, int)
        for place in _blocks(shape, first, sides):
            count[place] += 1
            assert all(part.stop - part.start <= side for part, side in zip(place, sides, strict=True))
        assert (count == 1).all()

    @given(st.tuples(*[st.integers(1, 9)] * 3), st.tuples(*[st.integers(1, 5)] * 3), st.integers(0, 1000))
    @RANDOM
    def test_shuffled_holds_only_what_was_there(self, shape, sides, seed):
        values = np.arange(1, 1 + np.prod(shape), dtype=np.float32).reshape(shape)
        sides = tuple(min(side, n) for side, n in zip(sides, shape, strict=True))
        shuffled = resample(values, sides, 1, rng(seed), flip=False)
        assert np.isin(shuffled, values).all()

    @pytest.mark.parametrize("flip", [True, False])
    def test_same_seed_same_cube(self, flip):
        values = draw_noise((10, 20, 20), CGPS, rng())
        one, two = (resample(values, (5, 10, 10), 4, rng(7), flip=flip) for _ in range(2))
        assert_array_equal(one, two)
