"""T_U from the same channel: means, polynomials and beams, each against a plain slow version."""

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from radio_beam import Beam
from regions import CirclePixelRegion, CircleSkyRegion, PixCoord, PointSkyRegion, Regions
from scipy import ndimage

from hisatools import HISACube
from hisatools.errors import InputError, ParameterError
from hisatools.features import label_features
from hisatools.simulate import ModelParameters, simulate_cube
from hisatools.unabsorbed.beam import BeamParameters, BeamStrategy, beam_pixels
from hisatools.unabsorbed.beam_variance import noise_variance, structure_variance
from hisatools.unabsorbed.low_resolution import second_difference_rms
from hisatools.unabsorbed.spatial_mean import SpatialMeanParameters, SpatialMeanStrategy
from hisatools.unabsorbed.spatial_polynomial import (
    SpatialPolynomialParameters,
    SpatialPolynomialStrategy,
    correlated_pixels,
    polynomial,
)
from hisatools.unabsorbed.surroundings import Part, channel_map, ring_parts
from hisatools.unabsorbed.uncertainty import ErrorModel, measure_errors

KMS = u.km / u.s
PIXEL = 0.3 * u.arcmin
RANDOM = settings(deadline=None, derandomize=True, max_examples=30)
STRATEGIES = {
    "spatial-mean": SpatialMeanStrategy(SpatialMeanParameters(gap=0.3 * u.arcmin, width=0.9 * u.arcmin)),
    "spatial-polynomial": SpatialPolynomialStrategy(
        SpatialPolynomialParameters(gap=0.3 * u.arcmin, width=1.2 * u.arcmin, max_noise=1e3)
    ),
    "beam": BeamStrategy(BeamParameters(fwhm=1.5 * u.arcmin, min_share=1e-3)),
}
EACH = pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES.keys())
STRUCTURE = np.array([[30.0, 3.0, 4.0], [200.0, 6.0, 15.0]])


def make_cube(kelvin, **attributes):
    """A CGPS cube: pixels of 18 arcsec, channels of 0.82446 km/s; cut from one that has more channels."""
    kelvin = np.asarray(kelvin, np.float32)
    others = np.arange(3 * kelvin[0].size, dtype=np.float32).reshape(3, *kelvin.shape[1:])
    wcs = WCS(naxis=3)
    wcs.wcs.ctype = ["GLON-CAR", "GLAT-CAR", "VRAD"]
    wcs.wcs.cunit = ["deg", "deg", "m/s"]
    wcs.wcs.cdelt = [-0.005, 0.005, -824.46]
    wcs.wcs.crval = [140, 0, -40e3]
    wcs.wcs.crpix = [1, 1, 1]
    wcs.wcs.specsys, wcs.wcs.restfrq = "LSRK", 1.42040575e9
    cube = HISACube(np.concatenate([kelvin, others]) * u.K, wcs, **attributes)
    return cube.cutout(np.s_[: len(kelvin), :, :])


def random_kelvin(shape, seed=1, blank=0.0):
    rng = np.random.default_rng(seed)
    kelvin = rng.uniform(40, 120, shape)
    kelvin[rng.uniform(size=shape) < blank] = np.nan
    return kelvin


def flat_errors(structure=STRUCTURE, scales=(0.5, 1.2)):
    """Noise that differs from voxel to voxel, and structure of two scales."""
    return ErrorModel(lambda index: 2 + 0.1 * (np.asarray(index) % 7), scales, structure)


def estimate(strategy, cube, mask, *, errors=None, workers=1):
    """T_U and its uncertainty in the shape of the cube (NaN outside features), and n_off."""
    labels, n = label_features(mask & np.isfinite(cube.kelvin))
    index = np.flatnonzero(labels)
    found = strategy.estimate(cube, labels, np.arange(1, n + 1), index, errors=errors, workers=workers)
    assert found.kelvin.dtype == np.float32
    assert np.isfinite(found.kelvin).all()
    t_unabsorbed, sigma = np.full((2, *cube.shape), np.nan)
    t_unabsorbed.reshape(-1)[index] = found.kelvin
    if errors is not None:
        assert found.sigma_kelvin.dtype == np.float32
        assert not np.isnan(found.sigma_kelvin).any()
        assert (found.sigma_kelvin > 0).all()
        sigma.reshape(-1)[index] = found.sigma_kelvin
    return t_unabsorbed, sigma, found.n_off


def bar(shape, box):
    mask = np.zeros(shape, bool)
    mask[box] = True
    return mask


# Against a slow version


def slow_ring(mask, usable, gap_pix, width_pix):
    """T_OFF of each connected patch of a channel's mask, by distances to all of its pixels."""
    patches, n = ndimage.label(mask, np.ones((3, 3)))
    for patch in range(1, n + 1):
        body = np.argwhere(patches == patch)
        off = [
            pixel
            for pixel in np.argwhere(usable)
            if gap_pix < np.sqrt(((body - pixel) ** 2).sum(axis=1).min()) <= gap_pix + width_pix
        ]
        yield body, np.array(off).reshape(-1, 2)


@given(
    st.integers(0, 10**6), st.floats(0.02, 0.5), st.sampled_from([0.0, 1.0, 2.5]), st.sampled_from([1.0, 3.0])
)
@RANDOM
def test_mean_is_that_of_t_off_in_the_annulus(seed, share, gap_pix, width_pix):
    rng = np.random.default_rng(seed)
    kelvin = random_kelvin((1, 9, 12), seed, blank=0.1).astype(np.float32)
    mask = (rng.uniform(size=kelvin.shape) < share) & np.isfinite(kelvin)
    # One label for all: the pixels of a feature that touch by a corner are one part.
    labels = mask.astype(np.int32)
    index = np.flatnonzero(labels)
    parameters = SpatialMeanParameters(gap=gap_pix * PIXEL, width=width_pix * PIXEL)
    found = SpatialMeanStrategy(parameters).estimate(make_cube(kelvin), labels, np.array([1]), index)
    expected, used = kelvin.copy(), set()
    for body, off in slow_ring(mask[0], ~mask[0] & np.isfinite(kelvin[0]), gap_pix, width_pix):
        if len(off):
            expected[0][tuple(body.T)] = kelvin[0][tuple(off.T)].mean(dtype=float)
            used |= {tuple(pixel) for pixel in off}
    assert_allclose(found.kelvin, expected.reshape(-1)[index], rtol=1e-6)
    assert_array_equal(found.n_off, [len(used)])


def slow_polynomial(body, off, t_off, order):
    powers = [(i, j) for i in range(order + 1) for j in range(order + 1) if i + j <= order]

    def terms(pixels):
        return np.stack([pixels[:, 0] ** i * pixels[:, 1] ** j for i, j in powers], axis=1).astype(float)

    return terms(body) @ np.linalg.lstsq(terms(off), t_off, rcond=None)[0]


@pytest.mark.parametrize("order", [1, 2, 3])
def test_polynomial_is_the_least_squares_fit_to_the_rim(order):
    kelvin = random_kelvin((2, 14, 15), order)
    mask = bar(kelvin.shape, np.s_[:, 5:9, 6:9])
    parameters = SpatialPolynomialParameters(
        order=order, gap=0.3 * u.arcmin, width=0.9 * u.arcmin, max_noise=1e3
    )
    found, _, n_off = estimate(SpatialPolynomialStrategy(parameters), make_cube(kelvin), mask)
    ((body, off),) = slow_ring(mask[0], ~mask[0], 1.0, 3.0)
    for channel in range(2):
        expected = slow_polynomial(body, off, kelvin[channel][tuple(off.T)], order)
        assert_allclose(found[channel][mask[channel]], expected, rtol=1e-5)
    assert_array_equal(n_off, [2 * len(off)])


def slow_beam(kelvin, usable, scale_pix):
    y, x = np.indices(kelvin.shape)
    result = np.empty(kelvin.shape)
    for pixel in np.ndindex(kelvin.shape):
        gaussian = np.exp(-0.5 * ((y - pixel[0]) ** 2 + (x - pixel[1]) ** 2) / scale_pix**2)
        gaussian[np.maximum(abs(y - pixel[0]), abs(x - pixel[1])) > 4 * scale_pix] = 0
        result[pixel] = (gaussian * usable * np.nan_to_num(kelvin)).sum() / (gaussian * usable).sum()
    return result


def test_beam_is_the_normalised_convolution_of_t_off():
    kelvin = random_kelvin((1, 20, 24), 5, blank=0.1)
    mask = bar(kelvin.shape, np.s_[:, 8:11, 0:5]) & np.isfinite(kelvin)
    found, _, _ = estimate(STRATEGIES["beam"], make_cube(kelvin), mask)
    usable = ~mask[0] & np.isfinite(kelvin[0])
    expected = slow_beam(kelvin[0], usable, 5 / np.sqrt(8 * np.log(2)))
    assert_allclose(found[mask], expected[mask[0]], rtol=1e-6)


# The uncertainty


def dense_variance(strategy, cube, mask, errors):
    """`ErrorModel.variance` with weights found by putting 1 K at each T_OFF in turn; one channel."""
    targets = np.argwhere(mask)
    sources = np.argwhere(~mask & np.isfinite(cube.kelvin))
    weights = np.empty((len(targets), len(sources)))
    for i, source in enumerate(sources):
        kelvin = np.where(np.isnan(cube.kelvin), np.nan, 0)
        kelvin[tuple(source)] = 1
        found, _, _ = estimate(strategy, cube.with_brightness(kelvin), mask)
        weights[:, i] = found[mask]
    assert_allclose(weights.sum(axis=1), 1, rtol=1e-5)
    sigma = errors.sigma_kelvin(np.ravel_multi_index(tuple(sources.T), cube.shape))
    return errors.variance(weights / weights.sum(axis=1, keepdims=True), sources, targets, sigma)


@pytest.mark.parametrize(
    ("name", "rtol"), [("spatial-mean", 1e-3), ("spatial-polynomial", 1e-3), ("beam", 0.05)]
)
@pytest.mark.parametrize("scales", [(0.5, 1.2), (0, 0)], ids=["correlated", "white"])
def test_uncertainty_is_that_of_the_error_model(name, rtol, scales):
    kelvin = random_kelvin((1, 18, 20), 6, blank=0.1)
    mask = bar(kelvin.shape, np.s_[:, 7:11, 5:9]) & np.isfinite(kelvin)
    cube, errors = make_cube(kelvin), flat_errors(scales=scales)
    _, sigma, _ = estimate(STRATEGIES[name], cube, mask, errors=errors)
    expected = np.sqrt(dense_variance(STRATEGIES[name], cube, mask, errors))
    assert_allclose(sigma[mask], expected, rtol=rtol)


@pytest.mark.parametrize("structure_pix", [2.0, 5.0, 15.0, 200.0])
def test_beam_variance_by_cells_and_by_products_is_that_of_double_sums(structure_pix):
    rng = np.random.default_rng(7)
    shape, scale_pix = (30, 30), 5.0
    weights = (rng.uniform(size=shape) < 0.9).astype(float)
    weights[11:17, 13:19] = 0
    y, x = np.indices(shape).reshape(2, -1)
    # Centres of the cells of two pixels, where the variance by cells is meant.
    targets = np.array([[12, 14, 10], [14, 16, 20]])
    structure = np.array([[100.0, 1.0, structure_pix]])
    squared = np.subtract.outer(y, y) ** 2 + np.subtract.outer(x, x) ** 2
    covariance = 100 * np.exp(-0.5 * squared / structure_pix**2)
    found = structure_variance(weights, scale_pix, tuple(targets), structure)
    for target, value in zip(targets.T, found, strict=True):
        offset = target + (0.5 if structure_pix > 2 else 0)
        distance = (y - offset[0]) ** 2 + (x - offset[1]) ** 2
        w = np.exp(-0.5 * distance / scale_pix**2) * weights.reshape(-1)
        w /= w.sum()
        across = 100 * np.exp(-0.5 * distance / structure_pix**2)
        expected = 100 - 2 * w @ across + w @ covariance @ w
        assert value == pytest.approx(expected, rel=0.12)


def test_beam_noise_is_that_of_double_sums():
    rng = np.random.default_rng(8)
    shape, scale_pix, noise_pix = (24, 24), 4.0, 1.5
    weights, sigma = rng.uniform(0.2, 1, shape), rng.uniform(1, 3, shape)
    weights[10:14, 10:14] = 0
    y, x = np.indices(shape).reshape(2, -1)
    rho = np.exp(-0.5 * (np.subtract.outer(y, y) ** 2 + np.subtract.outer(x, x) ** 2) / noise_pix**2)
    found = noise_variance(weights, sigma, scale_pix, noise_pix)
    for target in ((12, 12), (0, 5), (11, 9)):
        g = np.exp(-0.5 * ((y - target[0]) ** 2 + (x - target[1]) ** 2) / scale_pix**2)
        w = g * (weights * sigma).reshape(-1)
        assert found[target] == pytest.approx(w @ rho @ w, rel=0.03)


@pytest.fixture(scope="module")
def models():
    """Model cubes with their labels and errors."""
    pairs = []
    for seed in (302, 303):
        model = simulate_cube(ModelParameters().scaled((16, 72, 72)), seed=seed)
        pairs.append((model, measure_errors(model.cube, label_features(model.mask)[0])))
    return pairs


@pytest.mark.parametrize("kind", [SpatialMeanStrategy, SpatialPolynomialStrategy, BeamStrategy])
def test_uncertainty_covers_the_errors_on_a_model(models, kind):
    normalised = []
    for model, errors in models:
        found, sigma, _ = estimate(kind(), model.cube, model.mask, errors=errors)
        normalised.append(((found - model.t_unabsorbed.value) / sigma)[model.mask & np.isfinite(sigma)])
    normalised = np.abs(np.concatenate(normalised))
    assert 0.4 < (normalised < 1).mean() < 0.95
    assert (normalised < 2).mean() > 0.8


@EACH
def test_uncertainty_changes_no_value(strategy):
    kelvin = random_kelvin((3, 16, 16), 9, blank=0.1)
    mask = np.random.default_rng(9).uniform(size=kelvin.shape) < 0.1
    plain, _, n_off = estimate(strategy, make_cube(kelvin), mask)
    found, _, n_off_too = estimate(strategy, make_cube(kelvin), mask, errors=flat_errors())
    assert_array_equal(found, plain)
    assert_array_equal(n_off_too, n_off)


@EACH
def test_uncertainty_grows_with_noise_and_structure(strategy):
    kelvin = random_kelvin((1, 20, 20), 10)
    mask = bar(kelvin.shape, np.s_[0, 8:12, 8:12])
    quiet = ErrorModel(lambda index: np.full(len(index), 1.0), (0.5, 1.2), STRUCTURE)
    loud = ErrorModel(lambda index: np.full(len(index), 5.0), (0.5, 1.2), STRUCTURE)
    rough = ErrorModel(quiet.noise, (0.5, 1.2), STRUCTURE * [9, 1, 1])
    least, *more = (
        estimate(strategy, make_cube(kelvin), mask, errors=e)[1][mask] for e in (quiet, loud, rough)
    )
    for sigma in more:
        assert (sigma > least).all()


# What T_U promises


@EACH
def test_constant_background_comes_back_exactly(strategy):
    rng = np.random.default_rng(3)
    mask = rng.uniform(size=(4, 16, 18)) < 0.15
    kelvin = np.where(mask, rng.uniform(0, 80, mask.shape), 93.5)
    found, sigma, _ = estimate(strategy, make_cube(kelvin), mask, errors=flat_errors())
    known = np.isfinite(sigma)
    assert known.sum() > 0.9 * mask.sum()
    assert_allclose(found[known], 93.5, rtol=1e-6)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_polynomial_background_comes_back_exactly(order):
    y, x = np.indices((30, 30)) / 10
    background = (80 + 5 * y - 3 * x + (order > 1) * (2 * y * x - y**2) + (order > 2) * x**3)[None]
    mask = bar(background.shape, np.s_[0, 11:18, 12:17])
    kelvin = np.where(mask, background - 40, background)
    parameters = SpatialPolynomialParameters(order=order, max_noise=100)
    found, _, _ = estimate(SpatialPolynomialStrategy(parameters), make_cube(kelvin), mask)
    assert_allclose(found[mask], background[mask], rtol=1e-6)


@EACH
def test_symmetric_surroundings_take_slopes_away(strategy):
    y, x = np.indices((25, 25))
    background = (90 + 1.0 * y - 0.7 * x)[None]
    mask = bar(background.shape, np.s_[0, 11:14, 11:14])
    found, _, _ = estimate(strategy, make_cube(np.where(mask, 10, background)), mask)
    assert found[0, 12, 12] == pytest.approx(background[0, 12, 12], rel=1e-5)


@EACH
def test_channels_do_not_mix(strategy):
    kelvin = np.repeat([80.0, 100.0, 60.0], 144).reshape(3, 12, 12)
    mask = bar(kelvin.shape, np.s_[:, 5:7, 5:7])
    found, _, _ = estimate(strategy, make_cube(np.where(mask, 5, kelvin)), mask)
    assert_allclose(found[mask], kelvin[mask], rtol=1e-6)


@EACH
def test_voxels_of_other_features_and_blanks_never_count(strategy):
    kelvin = np.full((1, 21, 21), 90.0)
    mask = bar(kelvin.shape, np.s_[0, 9:12, 9:12]) | bar(kelvin.shape, np.s_[0, 6:15, 13:18])
    kelvin[mask] = 10
    kelvin[0, 5:8, 5:8] = np.nan
    found, _, _ = estimate(strategy, make_cube(kelvin), mask)
    assert_allclose(found[mask], 90, rtol=1e-6)


@EACH
def test_wanted_voxels_do_not_depend_on_which_are_wanted(strategy):
    kelvin = random_kelvin((3, 16, 16), 11, blank=0.05)
    mask = np.random.default_rng(12).uniform(size=kelvin.shape) < 0.2
    cube, errors = make_cube(kelvin), flat_errors()
    labels, n = label_features(mask & np.isfinite(cube.kelvin))
    index = np.flatnonzero(labels)
    whole = strategy.estimate(cube, labels, np.arange(1, n + 1), index, errors=errors)
    chosen = np.arange(2, n + 1, 3)
    some = np.flatnonzero(np.isin(labels.reshape(-1)[index], chosen))[::2]
    part = strategy.estimate(cube, labels, chosen, index[some], errors=errors)
    assert_allclose(part.kelvin, whole.kelvin[some], rtol=1e-6)
    assert_allclose(part.sigma_kelvin, whole.sigma_kelvin[some], rtol=1e-5)


def test_parts_of_a_feature_have_their_own_t_off():
    # Two towers joined in the first channel, on levels of their own in the second.
    kelvin = np.full((2, 9, 40), 100.0)
    kelvin[1, :, :20], kelvin[1, :, 20:] = 70, 110
    mask = bar(kelvin.shape, np.s_[0, 4, 5:35]) | bar(kelvin.shape, np.s_[1, 4, [5, 34]])
    found, _, _ = estimate(STRATEGIES["spatial-mean"], make_cube(kelvin), mask)
    assert_allclose(found[1, 4, [5, 34]], [70, 110])


# Awkward input


@EACH
def test_nan_ridden_input(strategy):
    kelvin = random_kelvin((4, 15, 15), 13, blank=0.7)
    mask = np.random.default_rng(14).uniform(size=kelvin.shape) < 0.3
    found, sigma, _ = estimate(strategy, make_cube(kelvin), mask, errors=flat_errors())
    inside = mask & np.isfinite(kelvin)
    assert_array_equal(np.isfinite(found), inside)
    silent = np.isinf(sigma)
    assert_array_equal(found[silent], kelvin.astype(np.float32)[silent])


@EACH
def test_blank_plane_is_passed_over(strategy):
    kelvin = random_kelvin((3, 12, 12), 15)
    mask = bar(kelvin.shape, np.s_[:, 5:7, 5:7])
    whole, sigma, _ = estimate(strategy, make_cube(kelvin), mask, errors=flat_errors())
    kelvin[1] = np.nan
    found, sigma_too, _ = estimate(strategy, make_cube(kelvin), mask, errors=flat_errors())
    assert np.isnan(found[1]).all()
    assert_array_equal(found[[0, 2]], whole[[0, 2]])
    assert_array_equal(sigma_too[[0, 2]], sigma[[0, 2]])


@EACH
@pytest.mark.parametrize("shape", [(9, 1, 1), (1, 1, 1)], ids=["spectrum", "voxel"])
def test_one_sight_line_says_nothing(strategy, shape):
    kelvin = random_kelvin(shape, 16)
    mask = bar(shape, np.s_[shape[0] // 2])
    found, sigma, n_off = estimate(strategy, make_cube(kelvin), mask, errors=flat_errors())
    assert_array_equal(found[mask], kelvin.astype(np.float32)[mask])
    assert np.isinf(sigma[mask]).all()
    assert_array_equal(n_off, [0])


@EACH
def test_one_channel(strategy):
    kelvin = np.where(mask := bar((1, 12, 12), np.s_[0, 5:8, 5:8]), 20.0, 85.0)
    found, sigma, n_off = estimate(strategy, make_cube(kelvin), mask, errors=flat_errors())
    assert_allclose(found[mask], 85, rtol=1e-6)
    assert np.isfinite(sigma[mask]).all()
    assert n_off[0] > 0


@EACH
@pytest.mark.parametrize("shape", [(2, 1, 20), (2, 20, 1)], ids=["row", "column"])
def test_one_row_or_column(strategy, shape):
    kelvin = (80 + np.arange(20.0)).reshape(1, *shape[1:]).repeat(2, axis=0)
    box = np.s_[:, :, 9:12] if shape[1] == 1 else np.s_[:, 9:12]
    mask = bar(shape, box)
    found, sigma, _ = estimate(strategy, make_cube(np.where(mask, 0, kelvin)), mask, errors=flat_errors())
    assert np.isfinite(sigma[mask]).all()
    assert_allclose(found[mask].mean(), 90, rtol=1e-5)


@EACH
def test_feature_at_the_border(strategy):
    kelvin = np.full((2, 14, 14), 77.0)
    mask = bar(kelvin.shape, np.s_[:, :3, 11:])
    kelvin[mask] = 0
    found, sigma, _ = estimate(strategy, make_cube(kelvin), mask, errors=flat_errors())
    assert_allclose(found[mask], 77, rtol=1e-6)
    # The corner of the field is the farthest from T_OFF.
    assert sigma[0, 0, 13] == pytest.approx(np.nanmax(sigma[0]), rel=1e-5)


@EACH
def test_feature_that_fills_everything_keeps_what_was_observed(strategy):
    kelvin = random_kelvin((3, 6, 6), 17)
    found, sigma, n_off = estimate(
        strategy, make_cube(kelvin), np.ones(kelvin.shape, bool), errors=flat_errors()
    )
    assert_array_equal(found, kelvin.astype(np.float32))
    assert np.isinf(sigma).all()
    assert_array_equal(n_off, [0])


@EACH
def test_no_features(strategy):
    cube = make_cube(random_kelvin((2, 5, 5)))
    _, _, n_off = estimate(strategy, cube, np.zeros(cube.shape, bool), errors=flat_errors())
    assert n_off.size == 0


@EACH
def test_full_channel_is_silent_and_the_others_are_not(strategy):
    kelvin = random_kelvin((2, 10, 10), 18)
    mask = bar(kelvin.shape, np.s_[0]) | bar(kelvin.shape, np.s_[1, 4:6, 4:6])
    _, sigma, n_off = estimate(strategy, make_cube(kelvin), mask, errors=flat_errors())
    assert np.isinf(sigma[0]).all()
    assert np.isfinite(sigma[1][mask[1]]).all()
    assert n_off[0] > 0


# Independence


@EACH
def test_workers_change_nothing_to_the_bit(strategy):
    kelvin = random_kelvin((6, 20, 20), 19, blank=0.05)
    mask = np.random.default_rng(20).uniform(size=kelvin.shape) < 0.15
    cube = make_cube(kelvin)
    alone = estimate(strategy, cube, mask, errors=flat_errors())
    together = estimate(strategy, cube, mask, errors=flat_errors(), workers=3)
    for one, other in zip(alone, together, strict=True):
        assert_array_equal(one, other)


@EACH
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_reversed_axis_gives_the_reversed_answer(strategy, axis):
    kelvin = random_kelvin((4, 13, 12), 21, blank=0.1)
    mask = np.random.default_rng(22).uniform(size=kelvin.shape) < 0.2
    errors = ErrorModel(lambda index: np.full(len(index), 3.0), (0.5, 1.2), STRUCTURE)
    found, sigma, _ = estimate(strategy, make_cube(kelvin), mask, errors=errors)
    flipped = estimate(strategy, make_cube(np.flip(kelvin, axis)), np.flip(mask, axis), errors=errors)
    assert_allclose(np.flip(flipped[0], axis), found, rtol=1e-5)
    # Of a beam it is that at the centre of a cell, and cells are counted from one end of the map.
    rtol = 0.1 if strategy is STRATEGIES["beam"] else 1e-5
    assert_allclose(np.flip(flipped[1], axis), sigma, rtol=rtol)


@EACH
def test_mosaic_weights_are_the_weights_of_t_off(strategy):
    kelvin = np.full((1, 15, 15), 60.0)
    kelvin[0, :, 8:] = 100
    mask = bar(kelvin.shape, np.s_[0, 7, 7])
    weights = np.ones(kelvin.shape[1:])
    weights[:, 8:] = 0
    found, _, _ = estimate(strategy, make_cube(kelvin, weights=weights), mask)
    assert found[0, 7, 7] == pytest.approx(60)
    weights[:, 8:] = 1e-3
    found, _, _ = estimate(strategy, make_cube(kelvin, weights=weights), mask)
    assert 60 < found[0, 7, 7] < 62


@EACH
def test_cube_and_labels_stay_as_they_were(strategy):
    kelvin = random_kelvin((3, 9, 9), 23, blank=0.2)
    cube, mask = make_cube(kelvin), np.random.default_rng(24).uniform(size=kelvin.shape) < 0.2
    labels, n = label_features(mask & np.isfinite(kelvin))
    before, labels_before = cube.kelvin.copy(), labels.copy()
    strategy.estimate(cube, labels, np.arange(1, n + 1), np.flatnonzero(labels), errors=flat_errors())
    assert_array_equal(cube.kelvin, before)
    assert_array_equal(labels, labels_before)


# OFF regions


def off_forms(cube):
    """The circle of three pixels about (y, x) = (4, 16) in every form that is taken."""
    centre = cube.wcs.celestial.pixel_to_world(16, 4)
    y, x = np.indices(cube.shape[1:])
    return {
        "sky": CircleSkyRegion(centre, 0.95 * u.arcmin),
        "regions": Regions([CircleSkyRegion(centre, 0.95 * u.arcmin)]),
        "pixels": CirclePixelRegion(PixCoord(16, 4), 3.17),
        "map": (y - 4) ** 2 + (x - 16) ** 2 <= 10,
    }


@pytest.mark.parametrize("form", ["sky", "regions", "pixels", "map", "file"])
def test_off_regions_in_every_form(form, tmp_path):
    kelvin = random_kelvin((2, 20, 20), 25, blank=0.05)
    mask = bar(kelvin.shape, np.s_[:, 10:13, 3:6]) | bar(kelvin.shape, np.s_[:, 4, 16])
    cube = make_cube(kelvin)
    forms = off_forms(cube)
    if form == "file":
        forms["file"] = str(tmp_path / "off.reg")
        forms["regions"].write(forms["file"], format="ds9")
    strategy = SpatialMeanStrategy(off_regions=forms[form])
    found, _, n_off = estimate(strategy, cube, mask)
    off = forms["map"] & ~mask & np.isfinite(kelvin)
    for channel in range(2):
        here = mask[channel] & np.isfinite(kelvin[channel])
        assert_allclose(found[channel][here], kelvin[channel][off[channel]].mean(), rtol=1e-6)
    assert_array_equal(n_off, [off.sum()] * 2)


def test_several_off_boxes_are_one_mean():
    kelvin = random_kelvin((1, 20, 20), 26)
    mask = bar(kelvin.shape, np.s_[:, 9:12, 9:12])
    strategy = SpatialMeanStrategy(off_regions=[np.s_[:3, :], np.s_[-2:, 4:9]])
    found, sigma, _ = estimate(strategy, make_cube(kelvin), mask, errors=flat_errors())
    expected = np.concatenate([kelvin[0, :3].ravel(), kelvin[0, -2:, 4:9].ravel()]).mean()
    assert_allclose(found[mask], expected, rtol=1e-6)
    expected = np.sqrt(dense_variance(strategy, make_cube(kelvin), mask, flat_errors()))
    assert_allclose(sigma[mask], expected, rtol=1e-3)


@pytest.mark.parametrize(
    ("off_regions", "error", "match"),
    [
        (np.s_[50:60, :], InputError, "off_regions cover no pixel"),
        (np.ones((3, 3), bool), InputError, r"map of shape \(3, 3\) does not fit the field of \(8, 9\)"),
        ((1, 2), ParameterError, r"write for example off_regions=np.s_\[10:20, 30:60\]"),
        (7, ParameterError, "off_regions must be regions"),
        ("missing.reg", InputError, "missing.reg: no such region file"),
        (CircleSkyRegion(SkyCoord(0, 80, unit="deg"), 1 * u.arcmin), InputError, "covers no pixel"),
        (PointSkyRegion(SkyCoord(140, 0, unit="deg", frame="galactic")), InputError, "covers no area"),
    ],
    ids=["outside", "shape", "numbers", "number", "file", "far", "point"],
)
def test_bad_off_regions_are_refused(off_regions, error, match):
    cube = make_cube(random_kelvin((1, 8, 9)))
    with pytest.raises(error, match=match):
        estimate(SpatialMeanStrategy(off_regions=off_regions), cube, bar(cube.shape, np.s_[0, 4, 4]))


# The order of the polynomial


def ring_part(radius, width, keep=lambda y, x: True):
    """A disc with T_OFF in a ring about it."""
    size = radius + width + 1
    y, x = np.mgrid[-size : size + 1, -size : size + 1]
    distance = np.hypot(y, x)
    off = (distance > radius) & (distance <= radius + width) & np.broadcast_to(keep(y, x), y.shape)
    body = np.argwhere(distance <= radius)
    return Part((1,), (0, 0), y.shape, body, np.argwhere(off))


@pytest.mark.parametrize(
    ("part", "n_terms"),
    [
        (ring_part(6, 6), 6),
        (ring_part(20, 1), 3),
        (ring_part(6, 6, lambda y, x: x > 10), 1),
        (ring_part(6, 6, lambda y, x: (x == 8) & (y == 0)), 1),
    ],
    ids=["broad rim", "narrow rim", "far side only", "one pixel"],
)
def test_order_falls_where_the_rim_does_not_determine_it(part, n_terms):
    coefficients, basis = polynomial(part, np.ones(len(part.off)), 2, 0.25)
    assert len(coefficients) == basis.shape[1] == n_terms
    assert_allclose((basis @ coefficients).sum(axis=1), 1, rtol=1e-9)


def test_order_falls_on_collinear_t_off():
    part = ring_part(3, 5, lambda y, x: y == x)
    coefficients, _ = polynomial(part, np.ones(len(part.off)), 3, 1e6)
    assert len(coefficients) == 1


def test_noise_of_t_u_stays_below_the_limit():
    kelvin = random_kelvin((1, 40, 40), 27)
    mask = bar(kelvin.shape, np.s_[0, :20, :25])
    cube = make_cube(kelvin, beam=Beam(0.6 * u.arcmin))
    assert correlated_pixels(cube) == pytest.approx(2.266 * 4, rel=1e-3)
    assert correlated_pixels(make_cube(kelvin)) == 1
    for max_noise in (0.2, 0.6):
        part = next(ring_parts(channel_map(cube, mask.astype(np.int32), 0), np.array([1]), 1, 4))
        coefficients, basis = polynomial(
            part, np.ones(len(part.off)), 3, max_noise**2 / correlated_pixels(cube)
        )
        noise = np.sqrt(((basis @ coefficients) ** 2).sum(axis=1) * correlated_pixels(cube))
        assert len(coefficients) == 1 or noise.max() <= max_noise


@pytest.mark.parametrize("order", [0, 4, 1.5])
def test_order_is_one_to_three(order):
    with pytest.raises(ParameterError, match="order must be"):
        SpatialPolynomialParameters(order=order)


# A single-dish cube


def low_cube(cube, kelvin_at, *, step_pix=5, n=8, margin=2, channel_step=2, **attributes):
    """A cube on coarser pixels and channels that start before those of ``cube``."""
    wcs = cube.wcs.deepcopy()
    wcs.wcs.cdelt = wcs.wcs.cdelt * [step_pix, step_pix, channel_step]
    wcs.wcs.crpix = [1 + margin, 1 + margin, 2]
    n_v = (cube.shape[0] - 1) // channel_step + 3
    v, y, x = np.indices((n_v, n, n))
    kelvin = kelvin_at((v - 1) * channel_step, (y - margin) * step_pix, (x - margin) * step_pix)
    attributes.setdefault("beam", Beam(3 * u.arcmin))
    return HISACube(kelvin.astype(np.float32) * u.K, wcs, **attributes)


def plane_at(v, y, x):
    return 90 + 0.5 * v + 0.3 * y - 0.2 * x


@pytest.mark.parametrize("flip", [False, True], ids=["same way", "velocity reversed"])
def test_single_dish_is_interpolated_on_the_sky_and_in_velocity(flip):
    background = plane_at(*np.indices((5, 20, 20)))
    mask = bar(background.shape, np.s_[1:4, 8:12, 9:13])
    cube = make_cube(np.where(mask, background - 30, background))
    low = low_cube(cube, plane_at)
    if flip:
        wcs = low.wcs.deepcopy()
        wcs.wcs.cdelt = wcs.wcs.cdelt * [1, 1, -1]
        wcs.wcs.crpix = [*wcs.wcs.crpix[:2], low.shape[0] + 1 - wcs.wcs.crpix[2]]
        low = HISACube(low.kelvin[::-1] * u.K, wcs, beam=low.beam)
    strategy = BeamStrategy(BeamParameters(correct_dilution=False), low_resolution=low)
    found, sigma, n_off = estimate(strategy, cube, mask, errors=flat_errors())
    assert_allclose(found[mask], background[mask], rtol=1e-5)
    assert np.isfinite(sigma[mask]).all()
    assert_array_equal(n_off, [mask.sum()])


def test_absorption_in_the_beam_of_the_dish_is_taken_out():
    background, depth = 100.0, 40.0
    mask = bar((3, 60, 60), np.s_[:, 26:34, 25:35])
    cube = make_cube(np.where(mask, background - depth, background))
    scale_pix = 10 / np.sqrt(8 * np.log(2))
    seen = ndimage.gaussian_filter(cube.kelvin[0].astype(float), scale_pix, truncate=4)
    low = HISACube(
        np.repeat(seen[None], 3, axis=0).astype(np.float32) * u.K, cube.wcs, beam=Beam(3 * u.arcmin)
    )
    plain = BeamStrategy(BeamParameters(correct_dilution=False), low_resolution=low)
    diluted, sigma, _ = estimate(plain, cube, mask, errors=flat_errors())
    assert diluted[1, 30, 30] == pytest.approx(seen[30, 30], rel=1e-5)
    assert diluted[1, 30, 30] < background - 5
    # The uncertainty owns up to it.
    assert (sigma[mask] >= 0.99 * (background - diluted[mask])).all()
    corrected, _, _ = estimate(BeamStrategy(low_resolution=low), cube, mask, errors=flat_errors())
    assert_allclose(corrected[mask], background, rtol=5e-3)


def test_single_dish_serves_a_single_spectrum():
    kelvin = np.full((5, 1, 1), 60.0)
    cube = make_cube(kelvin)
    low = low_cube(cube, plane_at)
    mask = bar(kelvin.shape, np.s_[2])
    found, sigma, _ = estimate(
        BeamStrategy(BeamParameters(correct_dilution=False), low_resolution=low),
        cube,
        mask,
        errors=flat_errors(),
    )
    assert found[2, 0, 0] == pytest.approx(plane_at(2, 0, 0))
    assert np.isfinite(sigma[2, 0, 0])


def test_blank_single_dish_pixels_say_nothing():
    kelvin = np.full((3, 20, 20), 80.0)
    mask = bar(kelvin.shape, np.s_[:, 8:12, 8:12])
    cube = make_cube(kelvin)
    low = low_cube(cube, lambda v, y, x: np.where(v == 0, np.nan, 100.0 + v), channel_step=1)
    found, sigma, _ = estimate(BeamStrategy(low_resolution=low), cube, mask, errors=flat_errors())
    assert_allclose(found[0][mask[0]], 80)
    assert np.isinf(sigma[0][mask[0]]).all()
    assert np.isfinite(sigma[1:][mask[1:]]).all()


def bad_low_cubes():
    cube = make_cube(np.full((5, 20, 20), 80.0))
    far = low_cube(cube, plane_at)
    wcs = far.wcs.deepcopy()
    wcs.wcs.crval = [141, *wcs.wcs.crval[1:]]
    fast = far.wcs.deepcopy()
    fast.wcs.crval = [*fast.wcs.crval[:2], 90e3]
    bary = far.wcs.deepcopy()
    bary.wcs.specsys = "BARYCENT"
    return cube, {
        "sky": (HISACube(far.data, wcs, beam=far.beam), "does not cover 4 of the 4 pixels"),
        "velocity": (HISACube(far.data, fast, beam=far.beam), "but there is absorption at -4"),
        "beam": (low_cube(cube, plane_at, beam=None), "beam of the single-dish cube is not known"),
        "frame": (HISACube(far.data, bary, beam=far.beam), "velocities are BARYCENT, those of the cube LSRK"),
    }


@pytest.mark.parametrize("fault", ["sky", "velocity", "beam", "frame"])
def test_single_dish_that_does_not_fit_is_refused(fault):
    cube, cases = bad_low_cubes()
    low, match = cases[fault]
    with pytest.raises(InputError, match=match):
        estimate(BeamStrategy(low_resolution=low), cube, bar(cube.shape, np.s_[2, 8:10, 8:10]))


@pytest.mark.parametrize("fault", ["sky", "velocity", "beam", "frame"])
def test_single_dish_of_no_use_is_refused_before_there_are_features(fault):
    cube, cases = bad_low_cubes()
    match = {"sky": "low_resolution: is of another part of the sky", "velocity": "low_resolution: covers 8"}
    if fault == "sky":
        wcs = cases[fault][0].wcs.deepcopy()
        wcs.wcs.crval = [150, *wcs.wcs.crval[1:]]
        cases[fault] = HISACube(cases[fault][0].data, wcs, beam=cases[fault][0].beam), ""
    with pytest.raises(InputError, match=match.get(fault, cases[fault][1])):
        BeamStrategy(low_resolution=cases[fault][0]).check(cube)


def test_single_dish_that_fits_passes_the_check():
    cube = make_cube(np.full((5, 20, 20), 80.0))
    BeamStrategy(low_resolution=low_cube(cube, plane_at)).check(cube)
    BeamStrategy().check(cube)


def test_what_is_no_cube_is_refused():
    with pytest.raises(ParameterError, match=r"low_resolution must be a HISACube, got 5; write low_res"):
        BeamStrategy(low_resolution=5)


@pytest.mark.parametrize("value", ["no", 1, None])
def test_correct_dilution_is_true_or_false(value):
    with pytest.raises(ParameterError, match="correct_dilution must be True or False, got"):
        BeamParameters(correct_dilution=value)


def test_spectrum_without_position_is_refused():
    cube = make_cube(np.full((5, 20, 20), 80.0))
    spectrum = HISACube.from_spectrum(np.arange(5.0) * u.K, cube.velocity)
    with pytest.raises(InputError, match="position of the spectrum is not known"):
        estimate(BeamStrategy(low_resolution=low_cube(cube, plane_at)), spectrum, bar((5, 1, 1), np.s_[2]))


def test_noise_of_a_single_dish_cube_is_measured():
    noise = np.random.default_rng(28).normal(0, 0.7, (40, 20, 20))
    noise += 30 * np.exp(-0.5 * ((np.arange(40) - 20) / 8) ** 2)[:, None, None]
    assert second_difference_rms(noise) == pytest.approx(0.7, rel=0.03)
    assert second_difference_rms(noise[:2]) == 0


def test_beam_that_sees_too_little_says_nothing():
    kelvin = np.full((1, 41, 41), 50.0)
    mask = bar(kelvin.shape, np.s_[0, 3:38, 3:38])
    strategy = BeamStrategy(BeamParameters(fwhm=1.5 * u.arcmin, min_share=0.01))
    _, sigma, _ = estimate(strategy, make_cube(kelvin), mask, errors=flat_errors())
    assert np.isinf(sigma[0, 20, 20])
    assert np.isfinite(sigma[0, 3, 20])


def test_beam_counts_its_pixels():
    assert beam_pixels(5.0) == pytest.approx(2 * np.pi * 25, rel=1e-3)
