"""T_U across the velocity edges of features, against plain loops over sight lines."""

import itertools
import tracemalloc
from functools import partial
from types import SimpleNamespace

import astropy.units as u
import numpy as np
import pytest
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import ndimage
from scipy.interpolate import make_smoothing_spline

from hisatools import HISACube, UnabsorbedEstimator
from hisatools.errors import HISAWarning, ParameterError, ParameterUnitsError
from hisatools.features import label_features
from hisatools.simulate import ModelParameters, correlated_noise, simulate_cube
from hisatools.unabsorbed import edges
from hisatools.unabsorbed.sky_mean import SkyMean
from hisatools.unabsorbed.spectral_linear import (
    SpectralLinearParameters,
    SpectralLinearStrategy,
    line_weights,
)
from hisatools.unabsorbed.spectral_polynomial import (
    SpectralPolynomialParameters,
    SpectralPolynomialStrategy,
    polynomial_weights,
)
from hisatools.unabsorbed.spectral_spline import (
    SpectralSplineParameters,
    SpectralSplineStrategy,
    spline_weights,
)
from hisatools.unabsorbed.uncertainty import ErrorModel, measure_errors

KMS = u.km / u.s
ARCMIN = u.arcmin
CHANNEL_KMS, PIXEL_ARCMIN = 0.82446, 0.3
RANDOM = settings(deadline=None, derandomize=True, max_examples=40)
STRATEGIES = {
    "linear": (SpectralLinearStrategy, SpectralLinearParameters),
    "polynomial": (SpectralPolynomialStrategy, SpectralPolynomialParameters),
    "spline": (SpectralSplineStrategy, SpectralSplineParameters),
}
ALONE = 0 * ARCMIN
every_strategy = pytest.mark.parametrize("name", STRATEGIES)


def make_cube(kelvin):
    """A CGPS cube: pixels of 18 arcsec, channels of 0.82446 km/s."""
    wcs = WCS(naxis=3)
    wcs.wcs.ctype = ["GLON-CAR", "GLAT-CAR", "VRAD"]
    wcs.wcs.cunit = ["deg", "deg", "m/s"]
    wcs.wcs.cdelt = [-PIXEL_ARCMIN / 60, PIXEL_ARCMIN / 60, -1e3 * CHANNEL_KMS]
    wcs.wcs.crval = [140, 0, -40e3]
    wcs.wcs.crpix = [1, 1, 1]
    wcs.wcs.specsys, wcs.wcs.restfrq = "LSRK", 1.42040575e9
    return HISACube(np.asarray(kelvin, np.float32) * u.K, wcs)


def bare(kelvin):
    """What the strategies see of a cube, also of cubes that are too small or dull for `HISACube`."""
    kelvin = np.array(kelvin, np.float32)
    return SimpleNamespace(
        kelvin=kelvin, shape=kelvin.shape, pixel_scale=PIXEL_ARCMIN * ARCMIN, channel_width=CHANNEL_KMS * KMS
    )


def spectrum(*kelvin):
    return np.array(kelvin, float).reshape(-1, 1, 1)


def make(name, **changes):
    strategy, parameters = STRATEGIES[name]
    return strategy(parameters(**changes))


def channels(n):
    return n * CHANNEL_KMS * KMS


def known_errors(shape=None, scales=(0.9, 2.0), structure=((60.0, 6.0, 20.0), (9.0, 3.0, 50.0))):
    """Noise of 4 K, or rising along the flattened cube."""

    def noise(index):
        return np.full(np.shape(index), 4.0) if shape is None else 2 + 3 * np.asarray(index) / np.prod(shape)

    return ErrorModel(noise, scales, np.array(structure, float).reshape(-1, 3))


def estimate(strategy, kelvin, mask, **how):
    """The estimate as a cube, T_ON outside features; a cube of sigma; n_off."""
    cube = bare(kelvin)
    labels, n_features = label_features(mask & np.isfinite(cube.kelvin))
    index = np.flatnonzero(labels)
    how.setdefault("errors", known_errors())
    found = strategy.estimate(cube, labels, np.arange(1, n_features + 1), index, **how)
    t_unabsorbed, sigma = cube.kelvin.copy(), np.zeros(cube.shape)
    t_unabsorbed.reshape(-1)[index] = found.kelvin
    if found.sigma_kelvin is not None:
        sigma.reshape(-1)[index] = found.sigma_kelvin
    return t_unabsorbed, sigma, found.n_off


def random_field(shape, seed, blank=0.15, flagged=0.35):
    rng = np.random.default_rng(seed)
    kelvin = rng.uniform(40, 120, shape)
    kelvin[rng.uniform(size=shape) < blank] = np.nan
    return kelvin, rng.uniform(size=shape) < flagged


# The slow reference


def slow_t_off(is_free, v, n_side):
    """Nearest free channels below and above one, ascending, walking away from it."""
    low = [k for k in range(v - 1, -1, -1) if is_free[k]][:n_side]
    high = [k for k in range(v + 1, len(is_free)) if is_free[k]][:n_side]
    return low[::-1], high


def slow_line(low, high, t_low, t_high, v):
    return np.interp(v, [np.mean(low), np.mean(high)], [np.mean(t_low), np.mean(t_high)])


def slow_polynomial(low, high, t_low, t_high, v, order=3):
    order = min(order, 2 * min(len(low), len(high)) - 1)
    return np.polyval(np.polyfit(np.array(low + high) - v, np.append(t_low, t_high), order), 0)


def slow_spline(low, high, t_low, t_high, v, scale_chan=2 / CHANNEL_KMS):
    """A basis of polynomials and truncated cubes, minimised by brute force on a fine grid."""
    x, t_off = np.array(low + high, float), np.append(t_low, t_high)
    x0, x1 = x[0], x[-1]
    knots = (x - x0) / (x1 - x0)

    def basis(at, derivative=0):
        power = 3 - derivative
        columns = [np.maximum(at - knot, 0) ** power for knot in knots]
        columns = [c * {0: 1, 2: 6}[derivative] for c in columns]
        lines = [np.ones_like(at), at] if derivative == 0 else [np.zeros_like(at)] * 2
        return np.stack(lines + columns, axis=1)

    # f'' is piecewise linear: Simpson's rule between the knots is exact for its square.
    nodes = np.concatenate([[a, (a + b) / 2, b] for a, b in itertools.pairwise(knots)])
    weights = np.concatenate([(b - a) / 6 * np.array([1, 4, 1]) for a, b in itertools.pairwise(knots)])
    stiffness = scale_chan**4 / (x1 - x0) ** 3
    rough = basis(nodes, 2) * np.sqrt(stiffness * weights)[:, None]
    matrix = np.concatenate([basis(knots), rough])
    fit = np.linalg.lstsq(matrix, np.append(t_off, np.zeros(len(nodes))), rcond=1e-12)[0]
    return (basis(np.array([(v - x0) / (x1 - x0)])) @ fit)[0]


SLOW = {"linear": slow_line, "polynomial": slow_polynomial, "spline": slow_spline}
N_SIDE = {"linear": 2, "polynomial": 5, "spline": 5}


def slow_estimate(name, kelvin, mask):
    mask = mask & np.isfinite(kelvin)
    t_unabsorbed = kelvin.copy()
    used = {}
    labels, n_features = ndimage.label(mask)
    for v, y, x in np.argwhere(mask):
        is_free = ~mask[:, y, x] & np.isfinite(kelvin[:, y, x])
        low, high = slow_t_off(is_free, v, N_SIDE[name])
        used.setdefault(labels[v, y, x], set()).update((k, y, x) for k in low + high)
        t_low, t_high = kelvin[low, y, x], kelvin[high, y, x]
        if low and high:
            t_unabsorbed[v, y, x] = SLOW[name](low, high, t_low, t_high, v)
        elif low or high:
            t_unabsorbed[v, y, x] = np.mean(np.append(t_low, t_high))
    return t_unabsorbed, [len(used[label]) for label in range(1, n_features + 1)]


@every_strategy
@RANDOM
@given(
    shape=st.tuples(st.integers(1, 14), st.integers(1, 3), st.integers(1, 3)),
    seed=st.integers(0, 10**6),
    blank=st.sampled_from([0, 0.3]),
    flagged=st.sampled_from([0.2, 0.5, 0.9]),
)
def test_agrees_with_the_loops_over_sight_lines(name, shape, seed, blank, flagged):
    kelvin, mask = random_field(shape, seed, blank, flagged)
    found, sigma, n_off = estimate(make(name, smoothing=ALONE), kelvin, mask)
    expected, n_expected = slow_estimate(name, np.float32(kelvin).astype(float), mask)
    assert_allclose(found, expected, rtol=1e-5, atol=2e-3)
    assert_array_equal(n_off, n_expected)
    mask &= np.isfinite(kelvin)
    assert not np.isnan(sigma).any()
    assert (sigma[mask] > 0).all()


def test_spline_is_that_of_scipy():
    rng = np.random.default_rng(3)
    sources = np.array([[2.0, 3, 4, 6, 15, 16, 17, 19]])
    targets, t_off = np.arange(7.0, 15)[None], rng.uniform(60, 90, 8)
    weights = spline_weights(sources, targets, 4, scale_chan=2.3)
    expected = make_smoothing_spline(sources[0], t_off, lam=2.3**4)(targets[0])
    assert_allclose(weights[0] @ t_off, expected, rtol=1e-8)


# What each method promises


@every_strategy
def test_emission_that_is_a_straight_line_comes_back(name):
    kelvin = np.linspace(60, 120, 30)[:, None, None] + np.zeros((30, 2, 2))
    mask = np.zeros(kelvin.shape, bool)
    mask[9:20] = True
    observed = np.where(mask, kelvin - 35, kelvin)
    found, _, n_off = estimate(make(name), observed, mask)
    assert_allclose(found, kelvin, atol=1e-3)
    assert_array_equal(n_off, [4 * 2 * N_SIDE[name]])


@pytest.mark.parametrize("order", range(2, 7))
def test_polynomial_emission_of_the_order_comes_back(order):
    v = np.linspace(-1, 1, 24)
    emission = spectrum(*(80 + 10 * np.polynomial.legendre.Legendre.basis(order)(v)))
    mask = np.zeros(emission.shape, bool)
    mask[9:15] = True
    observed = np.where(mask, emission - 30, emission)
    found, _, _ = estimate(make("polynomial", order=order, margin=channels(5)), observed, mask)
    assert_allclose(found, emission, atol=1e-2)
    if order > 2:
        lower, _, _ = estimate(make("polynomial", order=order - 1, margin=channels(5)), observed, mask)
        assert abs(lower - emission)[mask].max() > 0.1


@pytest.mark.parametrize("n_side", [(1, 6), (6, 1)])
def test_order_is_lowered_to_what_the_poorer_edge_determines(n_side):
    n_low, n_high = n_side
    sources = np.append(np.arange(n_low), np.arange(n_high) + n_low + 5.0)[None]
    targets = np.arange(n_low, n_low + 5.0)[None]
    weights = polynomial_weights(sources, targets, n_low, order=6)
    assert_allclose(weights @ sources[0], targets, atol=1e-9)
    assert abs(weights).max() < 2


def test_polynomial_margin_is_widened_to_what_the_order_needs():
    kelvin, mask = random_field((20, 1, 1), 4, blank=0, flagged=0)
    mask[8:12] = True
    _, _, n_off = estimate(make("polynomial", order=6, margin=channels(1)), kelvin, mask)
    assert_array_equal(n_off, [8])


@pytest.mark.parametrize(("margin", "n_side"), [(0.1, 1), (1.4, 1), (1.6, 2), (3, 3)])
def test_margin_is_rounded_to_whole_channels(margin, n_side):
    assert edges.channels_in(channels(margin), bare(spectrum(1, 2, 3))) == n_side


def test_spline_of_no_stiffness_runs_through_t_off_and_a_stiff_one_is_a_line():
    rng = np.random.default_rng(5)
    sources, t_off = np.append(np.arange(5.0), np.arange(11.0, 16))[None], rng.uniform(60, 90, 10)
    free = spline_weights(sources, sources, 5, scale_chan=0)
    assert_allclose(free[0], np.eye(10), atol=1e-9)
    stiff = spline_weights(sources, np.arange(5.0, 11)[None], 5, scale_chan=1e3)
    line = np.polyval(np.polyfit(sources[0], t_off, 1), np.arange(5, 11))
    assert_allclose(stiff[0] @ t_off, line, atol=1e-3)


@pytest.mark.parametrize("scale_chan", [2.0, 4.0])
def test_spline_halves_a_wave_of_two_pi_scales(scale_chan):
    v = np.arange(401.0)
    wave = np.cos((v - 200) / scale_chan)
    smoothed = spline_weights(v[None], np.array([[200.0]]), 200, scale_chan=scale_chan)[0] @ wave
    assert smoothed[0] == pytest.approx(0.5, abs=0.02)


# T_OFF


@every_strategy
def test_one_edge_gives_its_mean(name):
    kelvin = spectrum(*np.linspace(60, 90, 14))
    mask = np.zeros(kelvin.shape, bool)
    mask[10:] = True
    found, sigma, n_off = estimate(make(name), kelvin - 30 * mask, mask)
    n = N_SIDE[name]
    assert_allclose(found[10:, 0, 0], kelvin[10 - n : 10].mean(), rtol=1e-5)
    assert (np.diff(sigma[10:, 0, 0]) > 0).all()
    assert_array_equal(n_off, [n])


@every_strategy
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 4, 5), (9, 1, 1), (6, 4, 5)])
def test_without_t_off_nothing_is_said(name, shape):
    kelvin, _ = random_field(shape, 6, blank=0)
    found, sigma, n_off = estimate(make(name), kelvin, np.ones(shape, bool))
    assert_array_equal(found, np.float32(kelvin))
    assert np.isinf(sigma).all()
    assert_array_equal(n_off, [0])


@every_strategy
def test_a_feature_keeps_t_on_only_in_sight_lines_without_t_off(name):
    kelvin, mask = np.full((7, 1, 2), 80.0), np.zeros((7, 1, 2), bool)
    mask[2:5], mask[:, 0, 1] = True, True
    found, sigma, n_off = estimate(make(name), np.where(mask, 50, kelvin), mask)
    assert_allclose(found[:, 0, 0], 80)
    assert_allclose(found[:, 0, 1], 50)
    assert np.isinf(sigma[:, 0, 1]).all()
    assert np.isfinite(sigma[:, 0, 0]).all()
    assert_array_equal(n_off, [4])


@every_strategy
def test_blank_channels_and_other_features_are_stepped_over(name):
    kelvin = spectrum(*[80] * 6, 40, 80, 80, np.nan, 30, 35, np.nan, *[90] * 6)
    mask = kelvin < 70
    assert label_features(mask)[1] == 2
    found, _, n_off = estimate(make(name, smoothing=ALONE), kelvin, mask)
    if name == "linear":
        assert_allclose(found[6, 0, 0], 80)
        assert_allclose(found[10:12, 0, 0], 80 + 10 * np.array([2.5, 3.5]) / 6, rtol=1e-5)
    assert found[~np.isnan(kelvin)].min() > 78
    n = N_SIDE[name]
    assert_array_equal(n_off, [2 * n, 2 * n])


def test_t_off_between_two_runs_of_a_feature_count_once():
    mask = np.zeros((15, 1, 2), bool)
    mask[4:9, 0, 1] = mask[4:6, 0, 0] = mask[8, 0, 0] = True
    _, _, n_off = estimate(make("linear", margin=channels(3)), np.full(mask.shape, 80.0), mask)
    assert_array_equal(n_off, [3 + 3 + 3 + 2 + 3])


@every_strategy
def test_blank_plane_and_one_channel_and_one_sight_line(name):
    kelvin, mask = random_field((12, 5, 6), 7)
    kelvin[4] = np.nan
    for box in (np.s_[:], np.s_[:1], np.s_[4:5], np.s_[:, :1, :1]):
        found, sigma, n_off = estimate(make(name), kelvin[box], mask[box])
        assert_array_equal(np.isnan(found), np.isnan(kelvin[box]))
        assert not np.isnan(sigma).any()
        assert (n_off >= 0).all()


@every_strategy
def test_feature_at_the_border_is_interpolated_as_any(name):
    kelvin = np.linspace(70, 90, 16)[:, None, None] + np.zeros((16, 4, 4))
    mask = np.zeros(kelvin.shape, bool)
    mask[5:9, 0, :2] = True
    found, sigma, _ = estimate(make(name), kelvin - 20 * mask, mask)
    assert_allclose(found, kelvin, atol=1e-3)
    assert np.isfinite(sigma).all()


@every_strategy
def test_no_wanted_voxel_is_no_work(name):
    found, _, n_off = estimate(make(name), np.full((5, 3, 3), 80.0), np.zeros((5, 3, 3), bool))
    assert_array_equal(found, np.float32(80))
    assert n_off.size == 0


@every_strategy
def test_some_voxels_of_some_features_are_as_all_of_them(name):
    kelvin, mask = random_field((12, 6, 6), 8)
    cube = bare(kelvin)
    labels, n_features = label_features(mask & np.isfinite(kelvin))
    index, errors = np.flatnonzero(labels), known_errors(cube.shape)
    everything = make(name).estimate(cube, labels, np.arange(1, n_features + 1), index, errors=errors)
    features = np.arange(2, n_features + 1, 3)
    chosen = np.isin(labels.reshape(-1)[index], features) & (np.arange(index.size) % 4 > 0)
    some = make(name).estimate(cube, labels, features, index[chosen], errors=errors)
    assert_allclose(some.kelvin, everything.kelvin[chosen], rtol=1e-5)
    assert_allclose(some.sigma_kelvin, everything.sigma_kelvin[chosen], rtol=1e-5)


# The mean over the sky


def test_sky_mean_of_less_than_a_pixel_is_the_sight_line():
    assert_array_equal(SkyMean.of_fwhm(0.99).offsets, [[0, 0]])
    assert_array_equal(SkyMean.of_fwhm(0).falls, [1])


@pytest.mark.parametrize("fwhm_pix", [1.0, 2.0, 6.7, 20.0])
def test_sky_mean_is_symmetric_and_falls_to_half_at_half_its_width(fwhm_pix):
    mean = SkyMean.of_fwhm(fwhm_pix)
    places = {tuple(offset) for offset in mean.offsets}
    assert len(places) == len(mean.offsets)
    assert {(-y, x) for y, x in places} == {(x, y) for y, x in places} == places
    distance = np.hypot(*mean.offsets.T)
    assert_allclose(mean.falls, 0.5 ** ((2 * distance / fwhm_pix) ** 2))


@every_strategy
def test_smoothing_leaves_a_sky_that_is_a_plane_and_lowers_the_noise(name):
    v, y, x = np.indices((20, 24, 24))
    emission = 80 + 0.5 * v + 0.3 * y - 0.2 * x
    mask = np.zeros(emission.shape, bool)
    mask[8:12] = True
    inner = np.s_[8:12, 8:-8, 8:-8]
    smooth, alone = make(name, smoothing=2 * ARCMIN), make(name, smoothing=ALONE)
    assert_allclose(estimate(smooth, emission - 30 * mask, mask)[0][inner], emission[inner], atol=2e-3)
    noise = 5 * np.random.default_rng(9).standard_normal(emission.shape)
    (t_alone, _, _), (t_smooth, _, _) = (estimate(s, emission + noise, mask) for s in (alone, smooth))
    assert (t_smooth - emission)[inner].std() < 0.6 * (t_alone - emission)[inner].std()


def test_sky_mean_takes_only_free_finite_voxels():
    kelvin, mask = random_field((6, 7, 8), 10)
    cube, labels = bare(kelvin), mask.astype(np.int32)
    mean = SkyMean.of_fwhm(2.0)
    v, y, x = (int(i) for i in np.argwhere(~mask & np.isfinite(kelvin))[50])
    t_off, shares = mean.of(cube.kelvin, labels, np.array([[v]]), np.array([y * 8 + x]))
    places = [(y + dy, x + dx) for dy, dx in mean.offsets]
    free = [
        0 <= a < 7 and 0 <= b < 8 and not mask[v, a, b] and bool(np.isfinite(kelvin[v, a, b]))
        for a, b in places
    ]
    falls = mean.falls * free
    expected = sum(fall * kelvin[v, a, b] for fall, (a, b) in zip(falls, places, strict=True) if fall)
    assert_allclose(shares[0, 0], falls / falls.sum())
    assert_allclose(t_off, expected / falls.sum(), rtol=1e-6)


# Uncertainty

WEIGH = {
    "linear": line_weights,
    "polynomial": partial(polynomial_weights, order=3),
    "spline": partial(spline_weights, scale_chan=2 / CHANNEL_KMS),
}


def dense_variance(strategy_weights, errors, cube, labels, voxel, n_side, mean):
    """`ErrorModel.variance` of one voxel, with each place of the sky means as a source."""
    v, y, x = voxel
    is_free = (labels == 0) & np.isfinite(cube.kelvin)
    low, high = slow_t_off(is_free[:, y, x], v, n_side)
    over_v = strategy_weights(np.array([low + high], float), np.array([[float(v)]]), len(low))[0, 0]
    sources, weights, sigma = [], [], []
    for channel, weight in zip(low + high, over_v, strict=True):
        places = [
            (channel, y + dy, x + dx, fall) for (dy, dx), fall in zip(mean.offsets, mean.falls, strict=True)
        ]
        places = [
            p for p in places if 0 <= p[1] < cube.shape[1] and 0 <= p[2] < cube.shape[2] and is_free[p[:3]]
        ]
        total = sum(p[3] for p in places)
        sources += [p[:3] for p in places]
        weights += [weight * p[3] / total for p in places]
        sigma += [errors.sigma_kelvin([np.ravel_multi_index((channel, y, x), cube.shape)])[0]] * len(places)
    return errors.variance(np.array([weights]), np.array(sources), np.array([voxel]), np.array(sigma))[0]


@every_strategy
@pytest.mark.parametrize("smoothing", [0, 2])
@pytest.mark.parametrize("scales", [(0.9, 2.0), (0.0, 0.0)])
def test_uncertainty_is_that_of_the_error_model(name, smoothing, scales):
    kelvin, mask = random_field((24, 9, 10), 11, blank=0.05, flagged=0.03)
    mask[8:14, 2:6, 3:7] = True
    mask &= np.isfinite(kelvin)
    cube = bare(kelvin)
    errors = known_errors(cube.shape, scales)
    strategy = make(name, smoothing=smoothing * ARCMIN)
    _, sigma, _ = estimate(strategy, kelvin, mask, errors=errors)
    labels = mask.astype(np.int32)
    mean = SkyMean.of_fwhm(smoothing / PIXEL_ARCMIN)
    for voxel in [(9, 3, 4), (11, 5, 6), (13, 2, 3)]:
        expected = dense_variance(WEIGH[name], errors, cube, labels, voxel, N_SIDE[name], mean)
        assert sigma[voxel] == pytest.approx(np.sqrt(expected), rel=1e-5)


@every_strategy
@pytest.mark.parametrize("smoothing", [0, 2])
def test_uncertainty_is_the_scatter_that_noise_makes(name, smoothing):
    rng = np.random.default_rng(12)
    line_chan, beam_pix = 1.6, 3.33
    noise = 4 * correlated_noise((24, 96, 96), beam_pix, line_chan, rng)
    mask = np.zeros(noise.shape, bool)
    mask[8:14] = True
    scales = line_chan / (2 * np.sqrt(np.log(2))), beam_pix / (2 * np.sqrt(np.log(2)))
    errors = known_errors(scales=scales, structure=())
    found, sigma, _ = estimate(make(name, smoothing=smoothing * ARCMIN), noise + 80, mask, errors=errors)
    scatter = np.sqrt(((found - 80) ** 2).mean(axis=(1, 2)))[8:14]
    assert_allclose(sigma.mean(axis=(1, 2))[8:14], scatter, rtol=0.1)


def test_higher_orders_are_less_certain_in_wide_features():
    kelvin, mask = np.full((60, 1, 1), 80.0), np.zeros((60, 1, 1), bool)
    mask[15:45] = True
    sigma = [estimate(make("polynomial", order=order), kelvin, mask)[1].max() for order in (3, 4, 6)]
    assert sigma[0] < 0.5 * sigma[1] < 0.25 * sigma[2]


@every_strategy
def test_uncertainty_grows_from_the_edges_inwards(name):
    kelvin, mask = np.full((40, 1, 1), 80.0), np.zeros((40, 1, 1), bool)
    mask[14:27] = True
    _, sigma, _ = estimate(make(name), kelvin, mask)
    inside = sigma[14:27, 0, 0]
    assert_allclose(inside, inside[::-1], rtol=1e-5)
    assert inside[6] == inside.max() > 1.2 * inside[0]


def test_estimate_does_not_depend_on_whether_its_uncertainty_is_wanted():
    kelvin, mask = random_field((12, 8, 8), 13)
    with_errors, _, _ = estimate(make("spline"), kelvin, mask)
    without, sigma, _ = estimate(make("spline"), kelvin, mask, errors=None)
    assert_array_equal(with_errors, without)
    assert not sigma.any()


@pytest.fixture(scope="module")
def models():
    found = []
    for seed in (102, 202, 204):
        model = simulate_cube(ModelParameters().scaled((64, 96, 96)), seed=seed)
        labels, n_features = label_features(model.mask)
        found.append((model, labels, n_features, measure_errors(model.cube, labels)))
    return found


@every_strategy
def test_truth_lies_within_the_stated_uncertainty(name, models):
    deviations = []
    for model, labels, n_features, errors in models:
        index = np.flatnonzero(labels)
        found = make(name).estimate(model.cube, labels, np.arange(1, n_features + 1), index, errors=errors)
        inner = ndimage.binary_erosion(model.mask).reshape(-1)[index]
        error = found.kelvin - model.t_unabsorbed.value.reshape(-1)[index]
        deviations.append((abs(error) / found.sigma_kelvin)[inner])
    deviations = np.concatenate(deviations)
    assert 0.55 < np.mean(deviations < 1) < 0.85
    assert 0.9 < np.mean(deviations < 2) < 0.995


# Independence


@every_strategy
def test_workers_change_nothing_to_the_bit(name, monkeypatch):
    monkeypatch.setattr(edges, "VOXELS_PER_BLOCK", 200)
    kelvin, mask = random_field((12, 24, 24), 14)
    alone, together = (estimate(make(name), kelvin, mask, workers=n) for n in (1, 4))
    for one, other in zip(alone, together, strict=True):
        assert_array_equal(one, other)


@every_strategy
def test_blocks_do_not_cut_sight_lines(name, monkeypatch):
    kelvin, mask = random_field((12, 8, 8), 15)
    whole = estimate(make(name), kelvin, mask)
    monkeypatch.setattr(edges, "VOXELS_PER_BLOCK", 3)
    cut = estimate(make(name), kelvin, mask)
    for one, other in zip(whole, cut, strict=True):
        assert_allclose(one, other, rtol=1e-5)


@every_strategy
def test_how_many_runs_are_worked_on_at_once_changes_nothing_to_the_bit(name, monkeypatch):
    kelvin, mask = random_field((14, 9, 10), 15)
    errors = known_errors(kelvin.shape)
    whole = estimate(make(name), kelvin, mask, errors=errors)
    for elements in (1, 100, 1000):
        monkeypatch.setattr(edges, "ELEMENTS_AT_ONCE", elements)
        some = estimate(make(name), kelvin, mask, errors=errors)
        for one, other in zip(whole, some, strict=True):
            assert_array_equal(one, other)


@every_strategy
def test_matrices_of_narrow_channels_stay_small(name, monkeypatch):
    monkeypatch.setattr(edges, "ELEMENTS_AT_ONCE", 50_000)
    kelvin, mask = np.full((61, 24, 24), 80.0), np.zeros((61, 24, 24), bool)
    mask[30, 1:-1, 1:-1] = True
    strategy = make(name, margin=channels(25))
    estimate(strategy, kelvin, mask)
    tracemalloc.start()
    estimate(strategy, kelvin, mask)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # All runs at once would need 10 MB for each of several arrays of 484 x 50 x 50.
    assert peak < 10e6


@every_strategy
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_reversed_cube_gives_the_reversed_result(name, axis):
    kelvin, mask = random_field((12, 7, 8), 16)
    found, sigma, _ = estimate(make(name), np.flip(kelvin, axis), np.flip(mask, axis))
    expected, expected_sigma, _ = estimate(make(name), kelvin, mask)
    assert_allclose(np.flip(found, axis), expected, rtol=1e-4)
    assert_allclose(np.flip(sigma, axis), expected_sigma, rtol=1e-4)


@every_strategy
def test_input_stays_as_it_was(name):
    kelvin, mask = random_field((8, 6, 6), 17)
    cube = bare(kelvin)
    labels, n_features = label_features(mask & np.isfinite(kelvin))
    before = cube.kelvin.copy(), labels.copy()
    index = np.flatnonzero(labels)
    make(name).estimate(cube, labels, np.arange(1, n_features + 1), index, errors=known_errors())
    assert_array_equal(cube.kelvin, before[0])
    assert_array_equal(labels, before[1])


# Arguments


@every_strategy
def test_found_by_name(name):
    kelvin, mask = spectrum(*[80] * 8, 50, *[80] * 8), np.zeros((17, 1, 1), bool)
    mask[8] = True
    estimator = UnabsorbedEstimator(f"spectral-{name}")
    assert estimator.parameters == STRATEGIES[name][1]()
    found = estimator.estimate(make_cube(kelvin), mask, noise=2 * u.K)
    assert found.t_unabsorbed.value[8, 0, 0] == pytest.approx(80)
    assert 0 < found.sigma_t_unabsorbed.value[8, 0, 0] < 10


def test_features_without_t_off_are_reported():
    with pytest.warns(HISAWarning, match="1 of 1 features have no T_OFF that 'spectral-linear' could use"):
        UnabsorbedEstimator("spectral-linear").estimate(
            make_cube(spectrum(80, 70, 80)), np.ones((3, 1, 1), bool), uncertainty=False
        )


@pytest.mark.parametrize("order", [1, 7])
def test_orders_that_are_not_offered_are_refused(order):
    with pytest.raises(ParameterError, match="order must be"):
        SpectralPolynomialParameters(order=order)


@every_strategy
def test_margin_needs_a_velocity_above_zero(name):
    with pytest.raises(ParameterUnitsError, match="margin needs a unit of km / s"):
        STRATEGIES[name][1](margin=3 * u.arcmin)
    with pytest.raises(ParameterError, match="margin must be finite and above 0 km / s"):
        STRATEGIES[name][1](margin=0 * KMS)
