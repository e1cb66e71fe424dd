"""T_U from adjacent channels against sums in plain loops, and what the scheme promises."""

import warnings
from functools import cache
from importlib.util import find_spec
from types import SimpleNamespace

import astropy.units as u
import numpy as np
import pytest
from astropy.modeling.models import Gaussian1D, Polynomial1D
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import ndimage

from hisatools import HISACube
from hisatools.errors import HISAWarning, ParameterError, ParameterUnitsError
from hisatools.features import label_features
from hisatools.unabsorbed.adjacent_channels import AdjacentChannelsParameters, AdjacentChannelsStrategy
from hisatools.unabsorbed.uncertainty import ErrorModel

KMS = u.km / u.s
RANDOM = settings(deadline=None, derandomize=True, max_examples=25)
RAW = {"smoothing_fwhm": 0 * u.arcmin}
NARROW = {"side_width": 2 * KMS, "fit_width": 4 * KMS, "order": 1, **RAW}
# Noise alone along one axis, and structure of two scales.
ERRORS = {
    "white": ((0.0, 0.0), np.empty((0, 3))),
    "noise": ((0.8, 1.5), np.empty((0, 3))),
    "structure": ((0.0, 0.0), np.array([[60.0, 5.0, 4.0], [200.0, 9.0, 20.0]])),
    "both": ((0.7, 0.0), np.array([[100.0, 6.0, 5.0]])),
}


@cache
def empty_cube(n_v, n_y, n_x):
    """Pixels of 18 arcsec, channels of 1 km/s."""
    wcs = WCS(naxis=3)
    wcs.wcs.ctype = ["GLON-CAR", "GLAT-CAR", "VRAD"]
    wcs.wcs.cunit = ["deg", "deg", "m/s"]
    wcs.wcs.cdelt = [-0.005, 0.005, -1000.0]
    wcs.wcs.crval = [140, 0, -40e3]
    wcs.wcs.crpix = [1, 1, 1]
    wcs.wcs.specsys, wcs.wcs.restfrq = "LSRK", 1.42040575e9
    # Fewer channels than three can come from a cut alone.
    kelvin = np.broadcast_to(np.arange(1.0, n_v + 3)[:, None, None], (n_v + 2, n_y, n_x))
    return HISACube(kelvin * u.K, wcs).cutout((slice(n_v), slice(None), slice(None)))


def make_cube(kelvin):
    return empty_cube(*kelvin.shape).with_brightness(np.asarray(kelvin, np.float32))


def make_errors(name, sigma_kelvin=3.0):
    return ErrorModel(lambda index: np.full(len(index), sigma_kelvin), *ERRORS[name])


def estimate(kelvin, mask, *, errors=None, workers=1, model=None, **parameters):
    """The cube of T_U, that of its error, and the number of T_OFF."""
    cube = make_cube(kelvin)
    labels, n = label_features(mask & np.isfinite(cube.kelvin))
    index = np.flatnonzero(labels)
    strategy = AdjacentChannelsStrategy(AdjacentChannelsParameters(**parameters), model=model)
    found = strategy.estimate(cube, labels, np.arange(1, n + 1), index, errors=errors, workers=workers)
    t_unabsorbed, sigma = cube.kelvin.copy(), np.zeros(cube.shape, np.float32)
    t_unabsorbed.reshape(-1)[index] = found.kelvin
    if errors is not None:
        sigma.reshape(-1)[index] = found.sigma_kelvin
        assert not np.isnan(found.sigma_kelvin).any()
    assert np.isfinite(found.kelvin).all()
    return SimpleNamespace(t_unabsorbed=t_unabsorbed, sigma=sigma, n_off=found.n_off)


def random_kelvin(shape, seed=1, blank=0.0):
    rng = np.random.default_rng(seed)
    kelvin = rng.uniform(60, 100, shape)
    kelvin[rng.uniform(size=shape) < blank] = np.nan
    return kelvin


def box(shape, *slices):
    mask = np.zeros(shape, bool)
    mask[slices] = True
    return mask


def slow_means(kelvin):
    """Mean spectrum times levels with the margins of what is known, by turns for each."""
    known = np.isfinite(kelvin)
    kelvin, known = kelvin[:, known.any(axis=0)], known[:, known.any(axis=0)]
    levels = np.ones(kelvin.shape[1])
    for _ in range(1000):
        means = np.nansum(kelvin, axis=1) / (known @ levels)
        levels = np.nansum(kelvin, axis=0) / (means @ known)
        levels *= len(levels) / levels.sum()
    return means


def slow_t_unabsorbed(kelvin, mask, *, side, fit, order, gap=0):
    """The estimate of raw templates, in loops over sight lines."""
    labels, n_features = ndimage.label(mask & np.isfinite(kelvin))
    usable = np.isfinite(kelvin) & (labels == 0)
    t_unabsorbed = kelvin.copy()
    for label in range(1, n_features + 1):
        v, y, x = np.nonzero(labels == label)
        sight_lines = sorted(set(zip(y.tolist(), x.tolist(), strict=True)))
        low, high = v.min() - gap, v.max() + 1 + gap
        channels = [c for c in (*range(low - fit, low), *range(high, high + fit)) if 0 <= c < len(kelvin)]
        counts = {c: sum(usable[c, y, x] for y, x in sight_lines) for c in channels}
        channels = [c for c in channels if counts[c] > 0 and counts[c] >= 0.5 * max(counts.values())]
        sides = [c for c in channels if low - side <= c < high + side]
        if not sides:
            continue
        y, x = np.transpose(sight_lines)
        means = slow_means(np.where(usable, kelvin, np.nan)[channels][:, y, x])
        is_between = min(channels) < low and max(channels) >= high
        power = min(order, len(channels) - 1) if is_between else 0
        weights = np.sqrt([counts[c] for c in channels])
        fitted = np.poly1d(np.polyfit(np.array(channels) - v.mean(), means, power, w=weights))
        for y, x in sight_lines:
            here = [c for c in sides if usable[c, y, x]]
            for c in range(v.min(), v.max() + 1):
                if here and labels[c, y, x] == label:
                    level = sum(fitted(i - v.mean()) for i in here)
                    t_off = sum(kelvin[i, y, x] for i in here)
                    t_unabsorbed[c, y, x] = fitted(c - v.mean()) * t_off / level
    return t_unabsorbed


# The estimate


@RANDOM
@given(
    shape=st.tuples(st.integers(4, 16), st.integers(1, 4), st.integers(1, 4)),
    share=st.sampled_from([0.2, 0.05]),
    blank=st.sampled_from([0.2, 0]),
    order=st.sampled_from([1, 2, 0]),
    gap=st.integers(0, 1),
    seed=st.integers(0, 9999),
)
def test_agrees_with_loops_over_sight_lines(shape, share, blank, order, gap, seed):
    kelvin = random_kelvin(shape, seed, blank).astype(np.float32).astype(float)
    kelvin[0, 0, 0] = 80
    mask = np.random.default_rng(seed + 1).uniform(size=shape) < share
    expected = slow_t_unabsorbed(kelvin, mask, side=2, fit=4, order=order, gap=gap)
    found = estimate(kelvin, mask, **{**NARROW, "order": order}, gap=gap * KMS)
    assert_allclose(found.t_unabsorbed, expected, rtol=1e-4)


@pytest.mark.parametrize("seed", range(6))
def test_agrees_with_loops_where_a_fifth_is_blank(seed):
    kelvin = random_kelvin((14, 4, 4), seed, 0.2).astype(np.float32).astype(float)
    mask = np.random.default_rng(seed + 50).uniform(size=kelvin.shape) < 0.15
    expected = slow_t_unabsorbed(kelvin, mask, side=2, fit=4, order=1)
    assert_allclose(estimate(kelvin, mask, **NARROW).t_unabsorbed, expected, rtol=1e-3)


@pytest.mark.parametrize("smoothing_arcmin", [0, 1])
@pytest.mark.parametrize("offset_kelvin", [0, -190])
def test_sight_lines_that_are_blank_in_some_side_channels_do_not_shift_the_level(
    smoothing_arcmin, offset_kelvin
):
    """Blank below the feature in the bright half, and another feature above it in a part of the other."""
    x = np.indices((30, 16, 16))[2]
    background = 60.0 + 8 * (x > 7) + offset_kelvin
    mask = box(x.shape, slice(12, 16), slice(4, 12), slice(4, 12))
    neighbour = box(x.shape, slice(17, 20), slice(4, 12), slice(4, 6))
    kelvin = background - 30.0 * (mask | neighbour)
    kelvin[8:12, :, 8:] = np.nan
    found = estimate(kelvin, mask | neighbour, smoothing_fwhm=smoothing_arcmin * u.arcmin)
    wanted = mask if not smoothing_arcmin else mask & ((x < 6) | (x > 9))
    assert_allclose(found.t_unabsorbed[wanted], background[wanted], atol=0.05 if not smoothing_arcmin else 1)


def test_what_the_levels_of_blank_sight_lines_may_miss_is_in_sigma():
    """Half of the footprint is blank on one side; its emission waves, and that of the rest does not."""
    v, _, x = np.indices((24, 8, 8), float)
    mask = box(v.shape, slice(10, 13), slice(2, 6), slice(2, 6))
    noise = np.random.default_rng(5).normal(0, 0.3, v.shape)
    noise[4:10, :, 4:] = np.nan
    sigma = [
        estimate(
            80 + waves_kelvin * np.cos(v) * (x > 3) + noise, mask, errors=make_errors("white", 0.3), **RAW
        )
        .sigma[11, 3, 3]
        .item()
        for waves_kelvin in (0, 6)
    ]
    assert sigma[1] > 1.5 * sigma[0]


@pytest.mark.parametrize("smoothing_arcmin", [0, 1, 3])
def test_a_spectrum_times_a_map_comes_back(smoothing_arcmin):
    v, y, x = np.indices((30, 12, 14), float)
    spectrum = 80 + 1.5 * (v - 15) - 0.1 * (v - 15) ** 2
    background = spectrum if smoothing_arcmin else spectrum * (1 + 0.02 * y - 0.01 * x)
    mask = box(v.shape, slice(13, 18), slice(3, 9), slice(4, 10))
    found = estimate(background - 30 * mask, mask, order=2, smoothing_fwhm=smoothing_arcmin * u.arcmin)
    assert_allclose(found.t_unabsorbed, background, rtol=1e-5)


def test_smoothing_fills_sight_lines_without_side_channels_and_nothing_else_does():
    kelvin = np.full((11, 9, 9), 80.0)
    mask = box(kelvin.shape, slice(4, 7), slice(2, 7), slice(2, 7))
    kelvin[mask] = 50
    kelvin[[*range(4), *range(7, 11)], 4, 4] = np.nan
    raw = estimate(kelvin, mask, errors=make_errors("both"), **RAW)
    assert_array_equal(raw.t_unabsorbed[4:7, 4, 4], 50)
    assert np.isinf(raw.sigma[4:7, 4, 4]).all()
    assert np.isfinite(raw.sigma[mask]).sum() == mask.sum() - 3
    smoothed = estimate(kelvin, mask, errors=make_errors("both"), smoothing_fwhm=1 * u.arcmin)
    assert_allclose(smoothed.t_unabsorbed[mask], 80, rtol=1e-5)
    assert np.isfinite(smoothed.sigma[mask]).all()


def test_about_zero_brightness_the_difference_is_added_not_scaled():
    v = np.arange(-10.0, 11)[:, None, None]
    pattern = np.array([[0.5, -0.5]])
    background = v + pattern
    mask = box(background.shape, slice(9, 12))
    found = estimate(np.where(mask, -40, background), mask, **NARROW)
    assert_allclose(found.t_unabsorbed, background, atol=1e-5)


def test_other_features_are_never_t_off():
    kelvin = np.full((12, 3, 3), 80.0)
    mask = box(kelvin.shape, slice(5, 7)) | box(kelvin.shape, slice(8, 9), 1, 1)
    kelvin[mask] = 10
    assert_allclose(estimate(kelvin, mask, **NARROW).t_unabsorbed, 80, rtol=1e-5)


def test_with_side_channels_on_one_side_only_t_u_is_their_level():
    kelvin = np.broadcast_to(np.arange(50.0, 70)[:, None, None], (20, 2, 2)).copy()
    found = estimate(kelvin, box(kelvin.shape, slice(15, 20)), **NARROW)
    assert_allclose(found.t_unabsorbed[15:], 63.5, rtol=1e-6)


# A model of the spectrum, fitted with iminuit


needs_iminuit = pytest.mark.skipif(find_spec("iminuit") is None, reason="needs iminuit (extra fit)")


def two_lines(v_kms):
    return 60 + 40 * np.exp(-0.5 * ((v_kms + 50) / 4) ** 2)


@needs_iminuit
def test_an_astropy_model_recovers_a_peak_that_no_polynomial_follows():
    cube = make_cube(random_kelvin((40, 3, 3)))
    background = np.broadcast_to(two_lines(cube.velocity.value)[:, None, None], cube.shape)
    mask = box(cube.shape, slice(7, 14))
    model = Polynomial1D(0, c0=50.0) + Gaussian1D(20.0, -48.0, 3.0)
    parameters = {"fit_width": 20 * KMS, "order": 2, **RAW}
    found = estimate(
        np.where(mask, 20, background), mask, model=model, errors=make_errors("noise"), **parameters
    )
    assert_allclose(found.t_unabsorbed, background, rtol=3e-3)
    polynomial = estimate(np.where(mask, 20, background), mask, **parameters)
    assert np.abs(polynomial.t_unabsorbed - background).max() > 5
    assert np.isfinite(found.sigma[mask]).all()


@needs_iminuit
def test_a_model_that_is_a_polynomial_gives_what_least_squares_give():
    kelvin = random_kelvin((24, 3, 3))
    mask = box(kelvin.shape, slice(10, 14), slice(0, 2))
    parameters = {**NARROW, "errors": make_errors("both")}
    closed = estimate(kelvin, mask, **parameters)
    fitted = estimate(kelvin, mask, model=Polynomial1D(1, c0=70.0), **parameters)
    assert_allclose(fitted.t_unabsorbed, closed.t_unabsorbed, rtol=1e-3)
    assert_allclose(fitted.sigma, closed.sigma, rtol=1e-3)


@needs_iminuit
def test_a_fit_that_fails_says_so_and_the_polynomial_stands():
    kelvin = random_kelvin((12, 3, 3))
    mask = box(kelvin.shape, slice(5, 8), 1, 1)
    undetermined = Polynomial1D(0, c0=70.0) + Polynomial1D(0, c0=1.0)
    with pytest.warns(HISAWarning, match="did not converge in 1 of 1 features"):
        found = estimate(kelvin, mask, model=undetermined, **NARROW)
    assert_allclose(found.t_unabsorbed, estimate(kelvin, mask, **NARROW).t_unabsorbed)


@needs_iminuit
@pytest.mark.parametrize("workers", [1, 3])
def test_fits_leave_the_warning_filters_of_the_process_alone(workers, monkeypatch):
    """Threads share the filters: what one of them sets and another puts back stays for good."""

    def refuse(*args, **inputs):
        raise AssertionError("a fit touches the warning filters")

    kelvin = random_kelvin((12, 8, 8))
    mask = box(kelvin.shape, slice(5, 7), slice(None, None, 2), slice(None, None, 2))
    make_cube(kelvin)
    before = list(warnings.filters)
    with monkeypatch.context() as patched:
        patched.setattr(warnings, "catch_warnings", refuse)
        estimate(kelvin, mask, model=Polynomial1D(1, c0=80.0), workers=workers, **NARROW)
    assert warnings.filters == before


@needs_iminuit
def test_the_bins_of_a_model_are_channels_whatever_the_gap():
    v = np.arange(21.0)[:, None, None] * np.ones((1, 2, 2))
    line = Gaussian1D(50.0, -50.0, 1.2)
    line.amplitude.fixed = line.mean.fixed = line.stddev.fixed = True
    background = 10 + 50 * np.exp(-0.5 * ((v - 10) / 1.2) ** 2)
    mask = box(v.shape, slice(10, 11))
    parameters = {"gap": 1 * KMS, "side_width": 1 * KMS, "fit_width": 1 * KMS, **RAW}
    found = estimate(np.where(mask, 20, background), mask, model=line + Polynomial1D(0, c0=9), **parameters)
    half = estimate(
        np.where(mask, 20, background),
        mask,
        model=line + Polynomial1D(0, c0=9),
        **{**parameters, "fit_width": 2 * KMS},
    )
    assert_allclose(found.t_unabsorbed[10], background[10], rtol=0.08)
    assert_allclose(half.t_unabsorbed[10], found.t_unabsorbed[10], rtol=0.08)


# Its uncertainty


def numerical_weights(kelvin, mask, targets, parameters):
    """Derivatives of T_U at some voxels to every T_OFF, and the coordinates of these."""
    places = np.argwhere(~mask)
    weights = np.empty((len(targets), len(places)))
    for i, place in enumerate(places):
        changed = np.array([kelvin, kelvin])
        changed[(slice(None), *place)] += [-8.0, 8.0]
        low, high = (estimate(cube, mask, **parameters).t_unabsorbed for cube in changed)
        weights[:, i] = (high - low)[tuple(targets.T)] / 16
    return weights, places


@pytest.mark.parametrize("smoothing_arcmin", [0, 0.9])
def test_sigma_is_that_of_the_linear_estimate(smoothing_arcmin):
    v = np.indices((7, 5, 4))[0]
    kelvin = 500 + 8 * v + np.random.default_rng(3).normal(0, 3, v.shape)
    mask = box(kelvin.shape, slice(2, 5), slice(1, 3), slice(1, 3))
    targets = np.array([(2, 1, 1), (3, 2, 1)])
    parameters = {**NARROW, "smoothing_fwhm": smoothing_arcmin * u.arcmin}
    weights, places = numerical_weights(kelvin, mask, targets, parameters)
    for name in ERRORS:
        errors = make_errors(name)
        found = estimate(kelvin, mask, errors=errors, **parameters)
        expected = errors.variance(weights, places, targets, np.full(len(places), 3.0))
        assert_allclose(found.sigma[tuple(targets.T)], np.sqrt(expected), rtol=0.01, err_msg=name)


def test_without_an_error_model_there_is_no_sigma():
    cube = make_cube(random_kelvin((9, 2, 2)))
    labels = box(cube.shape, slice(4, 5)).astype(np.int32)
    found = AdjacentChannelsStrategy().estimate(cube, labels, np.array([1]), np.flatnonzero(labels))
    assert found.sigma_kelvin is None


@pytest.mark.parametrize("half_is_blank", [False, True])
def test_stated_errors_are_those_of_many_draws(half_is_blank):
    """Emission and noise are drawn from the very fields that the errors are worked out for."""
    rng = np.random.default_rng(101)
    shape, (variance, scale_chan, scale_pix), noise_scales = (14, 7, 7), (60.0, 4.0, 5.0), (0.8, 1.2)
    errors = ErrorModel(
        lambda index: np.full(len(index), 3.0), noise_scales, np.array([[variance, scale_chan, scale_pix]])
    )
    places = np.argwhere(np.ones(shape, bool))
    roots = [_root(errors.covariance(places, places)), 3 * _root(errors.noise_correlation(places, places))]
    mask = box(shape, slice(5, 9), slice(2, 6), slice(1, 5))
    ratio = []
    for _ in range(40):
        emission, noise = ((root @ rng.standard_normal(len(places))).reshape(shape) for root in roots)
        kelvin = 400 + emission + noise
        if half_is_blank:
            kelvin[1:5, :, 3:] = np.nan
        smoothing = 0 if half_is_blank else 1
        found = estimate(kelvin, mask, errors=errors, smoothing_fwhm=smoothing * u.arcmin, order=2)
        ratio.append((found.t_unabsorbed - 400 - emission)[mask] / found.sigma[mask])
    assert np.sqrt(np.mean(np.square(ratio))) == pytest.approx(1, abs=0.15 if half_is_blank else 0.12)


def _root(covariance):
    values, vectors = np.linalg.eigh(covariance)
    return vectors * np.sqrt(np.maximum(values, 0))


# Odd input


@pytest.mark.parametrize(
    "kelvin",
    [
        random_kelvin((12, 6, 6), blank=0.4),
        np.where(np.arange(12)[:, None, None] == 4, np.nan, random_kelvin((12, 6, 6))),
        random_kelvin((20, 1, 1)),
        random_kelvin((1, 6, 6)),
        random_kelvin((1, 1, 1)),
        random_kelvin((2, 3, 3)),
    ],
    ids=["ridden with NaN", "blank plane", "one spectrum", "one channel", "one voxel", "two channels"],
)
def test_odd_cubes_give_a_value_everywhere(kelvin):
    mask = np.random.default_rng(5).uniform(size=kelvin.shape) < 0.3
    mask[0, 0, 0] = np.isfinite(kelvin[0, 0, 0])
    found = estimate(kelvin, mask, errors=make_errors("both"))
    assert_array_equal(np.isnan(found.t_unabsorbed), np.isnan(kelvin))
    nothing = np.isinf(found.sigma)
    assert_array_equal(found.t_unabsorbed[nothing], kelvin.astype(np.float32)[nothing])


def test_a_feature_that_fills_everything_keeps_t_on():
    kelvin = random_kelvin((6, 4, 4)).astype(np.float32)
    found = estimate(kelvin, np.ones(kelvin.shape, bool), errors=make_errors("both"))
    assert_array_equal(found.n_off, [0])
    assert_array_equal(found.t_unabsorbed, kelvin)
    assert np.isinf(found.sigma).all()


@pytest.mark.parametrize("corner", [slice(0, 3), slice(9, 12)])
def test_a_feature_at_the_border_is_estimated_from_the_other_side(corner):
    kelvin = np.full((12, 12, 12), 80.0)
    mask = box(kelvin.shape, corner, corner, corner)
    kelvin[mask] = 40
    found = estimate(kelvin, mask, errors=make_errors("both"))
    assert_allclose(found.t_unabsorbed, 80, rtol=1e-5)
    assert np.isfinite(found.sigma[mask]).all()


def test_n_off_counts_the_voxels_of_the_feature_sight_lines():
    kelvin = random_kelvin((20, 5, 5))
    kelvin[7, 2, 2] = np.nan
    found = estimate(kelvin, box(kelvin.shape, slice(9, 11), slice(1, 4), slice(1, 3)), **NARROW)
    assert_array_equal(found.n_off, [6 * 8 - 1])


def test_reversed_velocity_gives_the_reversed_answer():
    kelvin = random_kelvin((20, 6, 6), blank=0.1)
    mask = np.random.default_rng(7).uniform(size=kelvin.shape) < 0.1
    errors = make_errors("both")
    one, other = estimate(kelvin, mask, errors=errors), estimate(kelvin[::-1], mask[::-1], errors=errors)
    assert_allclose(other.t_unabsorbed[::-1], one.t_unabsorbed, rtol=1e-4)
    assert_allclose(other.sigma[::-1], one.sigma, rtol=1e-4)


def test_workers_change_nothing_to_the_bit():
    kelvin = random_kelvin((16, 20, 20), blank=0.1)
    mask = np.random.default_rng(8).uniform(size=kelvin.shape) < 0.1
    errors = make_errors("both")
    one, other = (estimate(kelvin, mask, errors=errors, workers=n) for n in (1, 3))
    assert_array_equal(other.t_unabsorbed, one.t_unabsorbed)
    assert_array_equal(other.sigma, one.sigma)
    assert_array_equal(other.n_off, one.n_off)


def test_some_features_alone_give_what_they_give_together():
    cube = make_cube(random_kelvin((14, 12, 12)))
    labels, n = label_features(np.random.default_rng(9).uniform(size=cube.shape) < 0.1)
    strategy, index = AdjacentChannelsStrategy(), np.flatnonzero(labels)
    whole = strategy.estimate(cube, labels, np.arange(1, n + 1), index)
    wanted = index[(labels.reshape(-1)[index] % 3 == 1)][::2]
    features = np.unique(labels.reshape(-1)[wanted])
    part = strategy.estimate(cube, labels, features, wanted)
    assert_array_equal(part.kelvin, whole.kelvin[np.searchsorted(index, wanted)])
    assert_array_equal(part.n_off, whole.n_off[features - 1])


# Parameters


def test_parameters_that_cannot_be_are_refused():
    with pytest.raises(ParameterError, match=r"side_width \(9.0 km / s\) must not exceed fit_width"):
        AdjacentChannelsParameters(side_width=9 * KMS)
    with pytest.raises(ParameterUnitsError, match="gap needs a unit of km / s"):
        AdjacentChannelsParameters(gap=1)
    with pytest.raises(ParameterError, match="order must be at most 6"):
        AdjacentChannelsParameters(order=7)


@pytest.mark.parametrize("model", [5, abs, "polynomial"])
def test_a_model_that_is_none_is_refused(model):
    kelvin = random_kelvin((9, 2, 2))
    with pytest.raises(ParameterError, match="model must be an astropy model, such as"):
        estimate(kelvin, box(kelvin.shape, slice(4, 5)), model=model)
