"""Every convolution backend against a sum over all pairs of pixels."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from hisatools.backends.reference import ReferenceConvolution

FLOAT32 = 1e-6  # rounding of the result itself, relative to the peak


def gaussian(offset, fwhm_pix):
    """One axis of the kernel: unit sum on an endless grid."""
    grid = np.arange(-200, 201)
    shape = np.exp(-4 * np.log(2) * (grid / fwhm_pix) ** 2)
    return np.exp(-4 * np.log(2) * (offset / fwhm_pix) ** 2) / shape.sum()


def slow_convolution(image, fwhm_pix):
    """Each pixel spreads its value over the map; what falls beyond the borders is lost."""
    y, x = np.indices(image.shape)
    total = np.zeros(image.shape)
    for (at_y, at_x), value in np.ndenumerate(image):
        total += float(value) * gaussian(y - at_y, fwhm_pix) * gaussian(x - at_x, fwhm_pix)
    return total


def assert_agrees(backend, image, fwhm_pix):
    expected = slow_convolution(image, fwhm_pix)
    found = backend.gaussian(image.shape, fwhm_pix)(image)
    assert_allclose(found, expected, rtol=0, atol=(backend.tolerance + FLOAT32) * np.abs(expected).max())


def random_map(shape, *, low=0, seed=1):
    return np.random.default_rng(seed).uniform(low, 1, shape).astype(np.float32)


@pytest.mark.parametrize("fwhm_pix", [2, 4.7, 12])
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (8, 1), (16, 16), (17, 24), (25, 13)])
def test_agrees_with_the_sum_over_all_pixels(convolution_backend, shape, fwhm_pix):
    assert_agrees(convolution_backend, random_map(shape), fwhm_pix)


@pytest.mark.parametrize("shape", [(1, 5), (4, 6), (9, 3)])
def test_agrees_where_the_kernel_is_larger_than_the_map(convolution_backend, shape):
    assert_agrees(convolution_backend, random_map(shape), 40)


@settings(deadline=None, derandomize=True, max_examples=20)
@given(
    shape=st.tuples(st.integers(1, 18), st.integers(1, 18)),
    fwhm_pix=st.floats(1, 30),
    seed=st.integers(0, 999),
)
def test_agrees_for_any_shape_and_width(convolution_backend, shape, fwhm_pix, seed):
    assert_agrees(convolution_backend, random_map(shape, seed=seed), fwhm_pix)


def test_agrees_for_sparse_corrections_as_clean_makes_them(convolution_backend):
    image = random_map((24, 24))
    image[image < 0.98] = 0
    assert_agrees(convolution_backend, image, 6)


def test_error_stays_within_tolerance_of_the_reference_on_a_large_map(convolution_backend):
    image = random_map((200, 230))
    along = [gaussian(np.subtract.outer(np.arange(n), np.arange(n)), 66) for n in image.shape]
    expected = along[0] @ image.astype(float) @ along[1]
    found = convolution_backend.gaussian(image.shape, 66)(image)
    atol = (convolution_backend.tolerance + FLOAT32) * expected.max()
    assert_allclose(found, expected, rtol=0, atol=atol)


@pytest.fixture(scope="module")
def mosaic_maps():
    """Maps of a mosaic's size such as CLEAN makes, each with what the reference makes of it."""
    rng = np.random.default_rng(2)
    noise = rng.normal(0, 4, (1024, 1024))
    maps = {"point": np.zeros(noise.shape), "all": np.ones(noise.shape)}
    maps["point"][3, 1000] = 30
    maps["few"] = np.where(noise > 17, noise, 0)
    maps["many"] = np.where(noise > 4, noise, 0)
    convolve = ReferenceConvolution().gaussian(noise.shape, 66.7)
    maps = {name: image.astype(np.float32) for name, image in maps.items()}
    return {name: (image, convolve(image)) for name, image in maps.items()}


@pytest.mark.parametrize("name", ["point", "few", "many", "all"])
def test_tolerance_holds_for_the_maps_of_a_mosaic(convolution_backend, mosaic_maps, name):
    image, expected = mosaic_maps[name]
    found = convolution_backend.gaussian(image.shape, 66.7)(image)
    assert_allclose(found, expected, rtol=0, atol=convolution_backend.tolerance * expected.max())


def test_a_point_in_the_middle_keeps_its_sum(convolution_backend):
    image = np.zeros((61, 64), np.float32)
    image[30, 32] = 8
    spread = convolution_backend.gaussian(image.shape, 6)(image)
    assert spread.sum(dtype=float) == pytest.approx(8, rel=1e-5)
    assert spread[33, 32] == pytest.approx(spread[30, 32] / 2, rel=1e-4)


def test_a_point_at_the_border_loses_what_falls_beyond_and_nothing_wraps(convolution_backend):
    image = np.zeros((40, 40), np.float32)
    image[0, 20] = 1
    spread = convolution_backend.gaussian(image.shape, 8)(image)
    assert spread.sum(dtype=float) == pytest.approx((1 + gaussian(0, 8)) / 2, rel=1e-5)
    noise = (convolution_backend.tolerance + FLOAT32) * spread.max()
    assert np.abs(spread[30:]).max() <= noise


def test_a_constant_stays_in_the_middle_and_halves_at_the_borders(convolution_backend):
    spread = convolution_backend.gaussian((60, 60), 5)(np.full((60, 60), 100, np.float32))
    assert_allclose(spread[20:40, 20:40], 100, rtol=1e-5)
    assert_allclose(spread[0, 20:40], 100 * (1 + gaussian(0, 5)) / 2, rtol=1e-5)


@pytest.mark.parametrize("shape", [(12, 12), (15, 10), (1, 8)])
def test_returns_float32_of_the_same_shape(convolution_backend, shape):
    spread = convolution_backend.gaussian(shape, 3)(random_map(shape))
    assert (spread.dtype, spread.shape) == (np.float32, shape)


def test_leaves_the_input_as_it_was(convolution_backend):
    image = random_map((32, 32))
    before = image.copy()
    convolution_backend.gaussian(image.shape, 4)(image)
    assert_array_equal(image, before)


def test_earlier_results_are_not_overwritten_by_later_calls(convolution_backend):
    convolve = convolution_backend.gaussian((20, 20), 4)
    first = convolve(random_map((20, 20)))
    kept = first.copy()
    convolve(random_map((20, 20), seed=2))
    assert_array_equal(first, kept)


def test_four_threads_give_what_one_gives(convolution_backend):
    convolve = convolution_backend.gaussian((64, 70), 9)
    images = [random_map((64, 70), seed=seed) for seed in range(24)]
    alone = [convolve(image) for image in images]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(convolve, images))
    assert_array_equal(together, alone)


@pytest.mark.parametrize("shape", [(1, 1), (40, 33), (70, 64)])
def test_result_is_written_to_out_whatever_it_held(convolution_backend, shape):
    convolve = convolution_backend.gaussian(shape, 6)
    out = np.full(shape, np.nan, np.float32)
    assert convolve(random_map(shape), out=out) is out
    assert_array_equal(out, convolve(random_map(shape)))


@pytest.mark.parametrize("shape", [(30, 41), (1, 9), (64, 64)])
def test_image_itself_may_be_out(convolution_backend, shape):
    convolve = convolution_backend.gaussian(shape, 6)
    image = random_map(shape)
    expected = convolve(image)
    assert convolve(image, out=image) is image
    assert_array_equal(image, expected)


@pytest.mark.parametrize("other", [(8, 9), (21, 36), (40, 70)])
def test_maps_of_another_shape_are_refused(convolution_backend, other):
    convolve = convolution_backend.gaussian((21, 35), 12)
    with pytest.raises(ValueError):
        convolve(random_map(other))
    with pytest.raises(ValueError):
        convolve(random_map((21, 35)), out=np.empty(other, np.float32))


def test_nothing_beside_out_is_touched(convolution_backend):
    planes = np.full((3, 21, 35), 7, np.float32)
    convolution_backend.gaussian((21, 35), 5)(random_map((21, 35)), out=planes[1])
    assert_array_equal(planes[[0, 2]], 7)
    assert planes[1].max() < 1


def test_input_is_left_as_it_was_where_out_is_given(convolution_backend):
    image = random_map((32, 30))
    before = image.copy()
    convolution_backend.gaussian(image.shape, 4)(image, out=np.empty_like(image))
    assert_array_equal(image, before)


def test_a_result_does_not_depend_on_the_maps_before_it(convolution_backend):
    shape = (45, 52)
    convolve = convolution_backend.gaussian(shape, 7)
    convolve(np.full(shape, 1e6, np.float32))
    convolution_backend.gaussian((90, 20), 3)(random_map((90, 20)))
    alone = convolution_backend.gaussian(shape, 7)(random_map(shape))
    assert_array_equal(convolve(random_map(shape)), alone)


def test_four_threads_write_each_to_its_own_out(convolution_backend):
    convolve = convolution_backend.gaussian((64, 70), 9)
    images = np.array([random_map((64, 70), seed=seed) for seed in range(24)])
    together = np.zeros_like(images)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda k: convolve(images[k], out=together[k]), range(24)))
    assert_array_equal(together, [convolve(image) for image in images])
