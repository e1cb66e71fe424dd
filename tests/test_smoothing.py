"""Box means against a plain double loop, and the beam that joins flecks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_allclose, assert_array_equal

from hisatools.smoothing import box_mean, join_flecks, odd_pixels

RANDOM = settings(deadline=None, derandomize=True, max_examples=60)
MAPS = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=12),
    elements=st.one_of(st.floats(-100, 200, width=32), st.just(np.nan)),
)
BOXES = st.sampled_from([1, 3, 5, 7, 15])


def slow_box_mean(image, box_pix):
    """Mean of the finite pixels at most half a box away."""
    half = box_pix // 2
    mean = np.full(image.shape, np.nan)
    for (y, x), value in np.ndenumerate(image):
        window = image[max(y - half, 0) : y + half + 1, max(x - half, 0) : x + half + 1]
        if np.isfinite(value):
            mean[y, x] = window[np.isfinite(window)].astype(float).mean()
    return mean


@RANDOM
@given(image=MAPS, box_pix=BOXES)
def test_box_mean_agrees_with_a_plain_loop(image, box_pix):
    found = box_mean(image, box_pix)
    assert found.dtype == np.float32
    assert_allclose(found, slow_box_mean(image, box_pix), rtol=1e-5, atol=1e-4)


@RANDOM
@given(image=MAPS, box_pix=BOXES, data=st.data())
def test_box_mean_of_a_block_with_halo_is_the_same_to_the_bit(image, box_pix, data):
    n_y, n_x = image.shape
    top, left = data.draw(st.integers(0, n_y - 1)), data.draw(st.integers(0, n_x - 1))
    bottom, right = data.draw(st.integers(top + 1, n_y)), data.draw(st.integers(left + 1, n_x))
    half = box_pix // 2
    first_y, first_x = max(top - half, 0), max(left - half, 0)
    block = box_mean(image[first_y : bottom + half, first_x : right + half], box_pix)
    inner = block[top - first_y : bottom - first_y, left - first_x : right - first_x]
    assert_array_equal(inner, box_mean(image, box_pix)[top:bottom, left:right])


@given(image=MAPS)
@RANDOM
def test_box_of_one_pixel_is_a_copy(image):
    found = box_mean(image, 1)
    assert_array_equal(found, image)
    assert not np.shares_memory(found, image)


def test_constant_map_stays_constant_up_to_borders_and_blanks():
    image = np.full((20, 25), 37.5, np.float32)
    image[4:9, 10] = np.nan
    assert_array_equal(box_mean(image, 7), image)


def test_box_mean_leaves_its_input_and_takes_any_layout():
    image = np.random.default_rng(1).normal(size=(9, 14))
    before = image.copy()
    assert_array_equal(box_mean(image.T, 5), box_mean(image.T.copy(), 5))
    assert_array_equal(image, before)


@pytest.mark.parametrize(
    ("size_pix", "expected"),
    [(0, 1), (0.4, 1), (1, 1), (1.9, 1), (2.1, 3), (3, 3), (3.9, 3), (4.1, 5), (7, 7), (15, 15)],
)
def test_odd_pixels_of_plain_cases(size_pix, expected):
    assert odd_pixels(size_pix) == expected


@RANDOM
@given(size_pix=st.floats(0, 1e4))
def test_odd_pixels_are_the_nearest_odd_number(size_pix):
    found = odd_pixels(size_pix)
    assert isinstance(found, int)
    assert found % 2 == 1
    assert abs(found - size_pix) <= 1 or (size_pix < 1 and found == 1)


def fleck(at, shape=(41, 43), height=10.0):
    image = np.zeros(shape, np.float32)
    image[at] = height
    return image


def test_fleck_becomes_a_beam_of_this_width_and_keeps_its_sum():
    joined = join_flecks(fleck((20, 21)), 6)
    assert joined.sum(dtype=float) == pytest.approx(10, rel=1e-3)
    for across in (joined[23, 21], joined[17, 21], joined[20, 24], joined[20, 18]):
        assert across == pytest.approx(joined[20, 21] / 2, rel=0.01)


def test_fleck_at_the_border_loses_what_falls_beyond():
    inside, border = join_flecks(fleck((20, 21)), 6), join_flecks(fleck((0, 21)), 6)
    assert border[0, 21] == pytest.approx(inside[20, 21], rel=1e-5)
    assert 0.5 < border.sum() / inside.sum() < 0.6
    assert border[30:].max() == 0


@pytest.mark.parametrize("fwhm_pix", [0, 0.5, 0.99])
def test_beam_below_a_pixel_does_nothing(fwhm_pix):
    assert_array_equal(join_flecks(fleck((3, 4)), fwhm_pix), fleck((3, 4)))


def test_joining_leaves_its_input_and_stays_float32():
    image = fleck((5, 5))
    assert join_flecks(image, 4).dtype == np.float32
    assert_array_equal(image, fleck((5, 5)))
