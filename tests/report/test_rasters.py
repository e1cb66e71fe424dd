"""Maps of fewer pixels and levels."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal

from hisatools.report.rasters import BLANK, Scale, block_factor, block_max, block_mean, block_or

PLANES = st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(
    lambda shape: arrays(np.float32, shape, elements=st.floats(-100, 100, width=32) | st.just(np.nan))
)


def blocks_of(plane, factor):
    n_y, n_x = plane.shape
    return [
        [plane[y : y + factor, x : x + factor] for x in range(0, n_x, factor)] for y in range(0, n_y, factor)
    ]


@settings(deadline=None, derandomize=True)
@given(PLANES, st.integers(1, 4))
def test_means_are_of_the_finite_pixels_of_each_block(plane, factor):
    expected = [
        [
            np.float32(np.mean(block[np.isfinite(block)], dtype=float))
            if np.isfinite(block).any()
            else np.nan
            for block in row
        ]
        for row in blocks_of(plane, factor)
    ]
    assert_allclose(block_mean(plane, factor), expected, rtol=1e-5, atol=1e-4)


@settings(deadline=None, derandomize=True)
@given(arrays(np.uint8, (5, 7), elements=st.integers(0, 7)), st.integers(1, 4))
def test_bits_and_largest_values_of_blocks_are_those_of_any_pixel(flags, factor):
    blocks = blocks_of(flags, factor)
    assert_array_equal(
        block_or(flags, factor), [[np.bitwise_or.reduce(block, axis=None) for block in row] for row in blocks]
    )
    assert_array_equal(block_max(flags, factor), [[block.max() for block in row] for row in blocks])


@settings(deadline=None, derandomize=True)
@given(PLANES, st.integers(2, 255))
def test_levels_are_within_half_a_step(plane, levels):
    scale = Scale.of(plane, levels)
    level = scale.encode(plane)
    assert_array_equal(level == BLANK, np.isnan(plane))
    assert level.max() <= levels
    known = np.isfinite(plane)
    value = scale.low + (level[known].astype(float) - 1) * scale.step
    assert_allclose(value, plane[known], atol=0.5 * scale.step * (1 + 1e-6))


def test_no_side_is_longer_than_is_wanted():
    assert [block_factor(shape, 512) for shape in ((512, 100), (513, 1), (1024, 1024), (1, 1))] == [
        1,
        2,
        2,
        1,
    ]
