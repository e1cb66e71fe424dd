"""The uncertainty of T_U: the formula against a plain double sum, what is learnt from cubes, and coverage."""

from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.ndimage import binary_erosion, gaussian_filter

from hisatools import HISACube, ShellParameters, UnabsorbedEstimator
from hisatools.errors import HISAWarning, InputError, ParameterError
from hisatools.noise import NoiseEstimator
from hisatools.simulate import ModelParameters, correlated_noise, simulate_cube
from hisatools.unabsorbed.uncertainty import ErrorModel, measure_errors

KMS = u.km / u.s
RANDOM = settings(deadline=None, derandomize=True, max_examples=30)


def make_cube(kelvin):
    wcs = WCS(naxis=3)
    wcs.wcs.ctype = ["GLON-CAR", "GLAT-CAR", "VRAD"]
    wcs.wcs.cunit = ["deg", "deg", "m/s"]
    wcs.wcs.cdelt = [-0.005, 0.005, -824.46]
    wcs.wcs.crval = [140, 0, -40e3]
    wcs.wcs.crpix = [1, 1, 1]
    wcs.wcs.specsys, wcs.wcs.restfrq = "LSRK", 1.42040575e9
    return HISACube(np.asarray(kelvin, np.float32) * u.K, wcs)


def error_model(noise_scales=(0.9, 2.0), structure=((50.0, 6.0, 20.0),), sigma=3.0):
    return ErrorModel(
        lambda index: np.full(np.size(index), sigma),
        noise_scales,
        np.reshape(structure, (-1, 3)).astype(float),
    )


def puck(shape, centre, radius, half_width):
    v, y, x = np.ogrid[tuple(slice(n) for n in shape)]
    disc = (y - centre[1]) ** 2 + (x - centre[2]) ** 2 <= radius**2
    return disc & (abs(v - centre[0]) <= half_width)


# The formula


@RANDOM
@given(
    n_sources=st.integers(1, 6),
    scales=st.tuples(st.sampled_from([0.0, 0.7, 2.0]), st.sampled_from([0.0, 1.5])),
    seed=st.integers(0, 99),
)
def test_variance_agrees_with_the_double_sum(n_sources, scales, seed):
    rng = np.random.default_rng(seed)
    sources, targets = rng.integers(0, 9, (n_sources, 3)), rng.integers(0, 9, (2, 3))
    weights = rng.uniform(0.1, 1, (2, n_sources))
    weights /= weights.sum(axis=1, keepdims=True)
    sigma = rng.uniform(1, 4, n_sources)
    components = [(20.0, 3.0, 5.0), (7.0, 1.5, 9.0)]
    errors = error_model(scales, components)

    def gaussian(one, other, along_v, on_sky):
        offset = np.abs(np.subtract(one, other)).astype(float)
        value = 1.0
        for distance, scale in zip(offset, (along_v, on_sky, on_sky), strict=True):
            value *= float(distance == 0) if scale == 0 else np.exp(-0.5 * (distance / scale) ** 2)
        return value

    def c(one, other):
        return sum(a * gaussian(one, other, *between) for a, *between in components)

    for target, row, found in zip(
        targets, weights, errors.variance(weights, sources, targets, sigma), strict=True
    ):
        expected = c(target, target)
        for i in range(n_sources):
            expected -= 2 * row[i] * c(target, sources[i])
            for j in range(n_sources):
                noise = sigma[i] * sigma[j] * gaussian(sources[i], sources[j], *scales)
                expected += row[i] * row[j] * (noise + c(sources[i], sources[j]))
        assert found == pytest.approx(expected, abs=1e-9)


def test_a_source_at_the_target_leaves_its_noise_alone():
    errors, here = error_model(), np.array([[3, 4, 5]])
    assert errors.variance(np.ones((1, 1)), here, here, np.array([3.0])) == pytest.approx(9)


# What is learnt from a cube


@pytest.fixture(scope="module")
def model():
    return simulate_cube(ModelParameters().scaled((48, 128, 128)), seed=101)


def test_noise_is_measured_where_it_is_not_told(model):
    errors = measure_errors(model.cube, model.mask)
    assert np.median(errors.sigma_kelvin(np.arange(0, model.cube.kelvin.size, 997))) == pytest.approx(
        6, rel=0.05
    )
    scale_chan, scale_pix = errors.noise_scales
    assert scale_pix == pytest.approx(1 / 0.3 / (2 * np.sqrt(np.log(2))), rel=0.1)
    assert scale_chan == pytest.approx(1.319 / 0.82446 / (2 * np.sqrt(np.log(2))), rel=0.15)


def test_structure_predicts_how_far_the_middle_is_from_its_neighbours(model):
    truth = model.t_unabsorbed.value.astype(float)
    errors = measure_errors(model.cube, model.mask)
    for step in (4, 8):
        bend = truth[step:-step] - 0.5 * (truth[2 * step :] + truth[: -2 * step])
        sources, target = np.array([[0, 0, 0], [2 * step, 0, 0]]), np.array([[step, 0, 0]])
        variance = errors.variance(np.full((1, 2), 0.5), sources, target, np.zeros(2))
        assert variance[0] == pytest.approx(np.mean(bend**2), rel=0.6)


def test_noise_alone_has_no_structure_to_speak_of():
    rng = np.random.default_rng(1)
    cube = make_cube(80 + 3 * correlated_noise((40, 80, 80), 3.3, 1.6, rng))
    errors = measure_errors(cube, np.zeros(cube.shape, bool))
    assert errors.structure[:, 0].sum() < 0.5


def test_absorption_is_no_structure():
    rng = np.random.default_rng(2)
    kelvin = 80 + correlated_noise((40, 80, 80), 3.3, 1.6, rng)
    mask = puck(kelvin.shape, (20, 40, 40), 12, 3)
    kelvin[mask] -= 40
    without = measure_errors(make_cube(kelvin), mask, noise=1 * u.K)
    assert without.structure[:, 0].sum() < 0.3
    assert measure_errors(make_cube(kelvin), mask & False, noise=1 * u.K).structure[:, 0].sum() > 5


@pytest.mark.parametrize("shape", [(), (6, 7), (5, 6, 7)])
def test_told_noise_is_taken_as_it_is(shape):
    sigma = np.random.default_rng(3).uniform(1, 2, shape)
    cube = make_cube(np.random.default_rng(4).uniform(50, 60, (5, 6, 7)))
    errors = measure_errors(cube, np.zeros(cube.shape, bool), noise=1e3 * sigma * u.mK)
    expected = np.broadcast_to(sigma, cube.shape).ravel()
    assert_allclose(errors.sigma_kelvin(np.arange(cube.kelvin.size)), expected)


def test_unknown_noise_of_a_pixel_is_the_median():
    sigma = np.full((6, 7), 2.0)
    sigma[0] = np.nan, 0, np.inf, -1, 2, 2, 2
    cube = make_cube(np.random.default_rng(4).uniform(50, 60, (5, 6, 7)))
    errors = measure_errors(cube, np.zeros(cube.shape, bool), noise=sigma * u.K)
    assert_array_equal(errors.sigma_kelvin(np.arange(7)), 2)


def test_noise_on_other_axes_is_refused():
    cube = make_cube(np.random.default_rng(4).uniform(50, 60, (5, 6, 7)))
    with pytest.raises(InputError, match=r"noise has the shape \(7, 6\), .* cube's \(5, 6, 7\)"):
        measure_errors(cube, np.zeros(cube.shape, bool), noise=np.ones((7, 6)) * u.K)


@pytest.mark.parametrize(
    ("noise", "said"),
    [
        (3, r"noise needs a unit of K, got 3; write for example 3 \* u\.K"),
        (3 * u.m, "noise needs a unit of K, got m"),
        ("noise.fits", "noise needs a unit of K, got 'noise.fits'"),
        (np.nan * u.K, "noise must be above 0 K somewhere, got nan K"),
        (-3 * u.K, "noise must be above 0 K somewhere, got -3 K"),
    ],
)
def test_noise_that_is_none_is_refused(noise, said):
    cube = make_cube(np.random.default_rng(4).uniform(50, 60, (5, 6, 7)))
    with pytest.raises(ParameterError, match=said):
        measure_errors(cube, np.zeros(cube.shape, bool), noise=noise)


def test_noise_of_another_field_is_refused():
    cube = make_cube(np.random.default_rng(4).uniform(50, 60, (40, 12, 12)))
    noise = NoiseEstimator("mad-difference").estimate(cube)
    elsewhere = cube.wcs.deepcopy()
    elsewhere.wcs.crval = [143, 0, -40e3]
    with pytest.raises(InputError):
        measure_errors(cube, np.zeros(cube.shape, bool), noise=replace(noise, wcs=elsewhere.celestial))
    measure_errors(cube, np.zeros(cube.shape, bool), noise=noise)


@pytest.mark.parametrize("shape", [(3, 1, 1), (40, 1, 1), (3, 20, 20), (3, 2, 2), (3, 1, 30)])
@pytest.mark.parametrize("blank", [0, 0.3, 1])
@pytest.mark.filterwarnings("ignore:the noise cannot be measured")
def test_any_shape_gives_finite_errors(shape, blank):
    rng = np.random.default_rng(5)
    kelvin = rng.normal(80, 3, shape)
    kelvin[rng.random(shape) < blank] = np.nan
    kelvin.flat[:2] = 80, 81  # a cube of nothing, or of one value, is refused
    labels = np.isfinite(kelvin) & (rng.random(shape) < 0.2)
    errors = measure_errors(make_cube(kelvin), labels)
    sigma = errors.sigma_kelvin(np.arange(kelvin.size))
    assert np.isfinite(sigma).all() and (sigma > 0).all()
    assert np.isfinite(errors.structure).all()


def test_noise_of_a_few_channels_is_a_limit_and_that_is_said():
    kelvin = 80 + 3 * np.random.default_rng(6).standard_normal((8, 1, 1))
    with pytest.warns(HISAWarning, match=r"the noise cannot be measured on so few voxels: .* an upper limit"):
        errors = measure_errors(make_cube(kelvin), np.zeros(kelvin.shape, bool))
    assert 1.5 < errors.sigma_kelvin([0])[0] < 6


def test_structure_that_cannot_be_seen_is_not_taken_for_none():
    kelvin = 80 + 20 * gaussian_filter(np.random.default_rng(7).standard_normal((20, 12, 12)), 2) * 30
    labels = np.ones(kelvin.shape, bool)
    labels[::5, ::4, ::4] = False
    errors = measure_errors(make_cube(kelvin), labels, noise=1 * u.K)
    assert np.sqrt(errors.structure[:, 0].sum()) == pytest.approx(kelvin[~labels].std(), rel=0.01)


@pytest.mark.parametrize("kind", [np.uint8, np.int64, float, list])
def test_masks_of_numbers_are_those_that_are_not_zero(kind):
    cube = make_cube(np.random.default_rng(4).uniform(50, 60, (5, 6, 7)))
    mask = np.zeros(cube.shape, bool)
    mask[2, 3, 3:5] = True
    numbers = 6.0 * mask
    if kind is float:
        numbers[0, 0, 0] = np.nan
    numbers = numbers.astype(int).tolist() if kind is list else numbers.astype(kind)
    found = UnabsorbedEstimator().estimate(cube, numbers, uncertainty=False)
    assert_array_equal(found.labels > 0, mask)


# The shell


def brute_force_sigma(kelvin, mask, errors, limits):
    """The formula with equation (2)'s weights, from all pairs of shell voxels."""
    estimator = UnabsorbedEstimator("shell", limits)
    body = np.argwhere(mask)
    grown = np.zeros(mask.shape, bool)
    for v, y, x in body:
        grown[max(v - 1, 0) : v + 2, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2] = True
    shell = np.argwhere(grown & ~mask & np.isfinite(kelvin))
    fwhm = np.array(
        [limits.min_fwhm_velocity / (0.82446 * KMS), *[limits.min_fwhm_angle / (0.3 * u.arcmin)] * 2]
    )
    assert (fwhm > 0).all() and estimator.parameters is limits
    offset = (body[:, None] - shell[None]) / (fwhm / np.sqrt(8 * np.log(2)))
    weights = np.exp(-0.5 * (offset**2).sum(axis=2))
    weights /= weights.sum(axis=1, keepdims=True)
    return np.sqrt(errors.variance(weights, shell, body, np.full(len(shell), 3.0)))


@pytest.mark.parametrize("width", [2.4, 6.0])
@pytest.mark.parametrize("structure", [(), ((80.0, 6.0, 15.0), (5.0, 3.0, 8.0))])
def test_shell_agrees_with_all_pairs_of_its_voxels(width, structure):
    shape = (9, 21, 21)
    kelvin = np.random.default_rng(6).uniform(60, 100, shape)
    kelvin[:, 3] = np.nan
    mask = puck(shape, (4, 10, 11), 5, 1)
    # The same width whatever the runs, so that the reference need not know of them.
    limits = ShellParameters(
        min_fwhm_angle=width * u.arcmin,
        max_fwhm_angle=width * u.arcmin,
        min_fwhm_velocity=6 * KMS,
        max_fwhm_velocity=6 * KMS,
    )
    errors = error_model((0.9, 2.0), structure)
    estimator = UnabsorbedEstimator("shell", limits)
    labels, index = mask.astype(np.int32), np.flatnonzero(mask)
    found = estimator.at_voxels(make_cube(kelvin), labels, np.array([1]), index, errors=errors)
    expected = brute_force_sigma(kelvin, mask, errors, limits)
    # The noise of neighbours is summed approximately, and the structure over part of a large shell.
    assert_allclose(found.sigma_kelvin, expected, rtol=0.3)
    assert np.median(found.sigma_kelvin / expected) == pytest.approx(1, rel=0.08)


@pytest.mark.parametrize("cost", [0, np.inf])
def test_small_and_large_features_are_summed_alike(monkeypatch, cost):
    from hisatools.unabsorbed import shell

    shape = (12, 40, 40)
    kelvin = np.random.default_rng(6).uniform(60, 100, shape)
    mask = puck(shape, (5, 20, 18), 9, 2)
    labels, index = mask.astype(np.int32), np.flatnonzero(mask)
    arguments = make_cube(kelvin), labels, np.array([1]), index
    expected = UnabsorbedEstimator().at_voxels(*arguments, errors=error_model())
    monkeypatch.setattr(shell, "DIRECT_COST", cost)
    found = UnabsorbedEstimator().at_voxels(*arguments, errors=error_model())
    assert_allclose(found.sigma_kelvin, expected.sigma_kelvin, rtol=1e-5)


def test_coverage_of_the_shell_on_a_model_cube():
    within = []
    for seed in (101, 102, 103, 104):
        model = simulate_cube(ModelParameters().scaled((48, 128, 128)), seed=seed)
        found = UnabsorbedEstimator("shell").estimate(model.cube, model.mask)
        interior = binary_erosion(model.mask)
        error = (found.t_unabsorbed - model.t_unabsorbed)[interior]
        within.append(np.abs((error / found.sigma_t_unabsorbed[interior]).value))
    within = np.concatenate(within)
    assert 0.60 < np.mean(within < 1) < 0.76
    assert 0.90 < np.mean(within < 2) < 0.985


def test_twice_the_noise_doubles_the_uncertainty_of_smooth_emission():
    rng = np.random.default_rng(7)
    noise = correlated_noise((24, 48, 48), 3.3, 1.6, rng)
    mask = puck(noise.shape, (12, 24, 24), 6, 2)
    one, two = (
        UnabsorbedEstimator().estimate(make_cube(90 + sigma * noise), mask).sigma_t_unabsorbed[mask].value
        for sigma in (2, 4)
    )
    assert np.median(two / one) == pytest.approx(2, rel=0.1)


def test_uncertainty_is_zero_outside_nan_where_blank_and_infinite_without_off():
    kelvin = np.random.default_rng(8).uniform(60, 100, (6, 12, 12))
    kelvin[:, :, 4] = np.nan
    mask = np.zeros(kelvin.shape, bool)
    mask[:, :, :4] = True
    mask[3, 8, 8] = True
    with pytest.warns(HISAWarning, match="1 of 2 features have no T_OFF"):
        found = UnabsorbedEstimator().estimate(make_cube(kelvin), mask)
    sigma = found.sigma_t_unabsorbed.value
    assert_array_equal(np.isnan(sigma), np.isnan(kelvin))
    assert np.isinf(sigma[:, :, :4]).all()
    assert 0 < sigma[3, 8, 8] < 30
    assert (sigma[np.isfinite(kelvin) & ~mask] == 0).all()
    assert_array_equal(found.t_unabsorbed[:, :, :4].value, make_cube(kelvin).kelvin[:, :, :4])


def test_workers_change_nothing():
    rng = np.random.default_rng(9)
    kelvin = 80 + gaussian_filter(rng.normal(size=(30, 60, 60)), 5) * 100 + rng.normal(size=(30, 60, 60))
    mask = rng.random(kelvin.shape) < 0.02
    one, two = (UnabsorbedEstimator().estimate(make_cube(kelvin), mask, workers=n) for n in (1, 3))
    assert_array_equal(one.sigma_t_unabsorbed, two.sigma_t_unabsorbed)


def test_no_uncertainty_where_it_is_not_wanted(model):
    found = UnabsorbedEstimator().estimate(model.cube, model.mask, uncertainty=False)
    assert found.sigma_t_unabsorbed is None
