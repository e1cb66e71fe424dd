"""Line background from adjacent bins: ranges, fits, templates, and the tutorial's line example."""

import astropy.units as u
import numpy as np
import pytest
from astropy.modeling.models import Gaussian1D, Polynomial1D, PowerLaw1D
from hypothesis import settings
from numpy.testing import assert_allclose, assert_array_equal

from hisatools import HISACube
from hisatools.errors import (
    HISAWarning,
    InputError,
    ParameterError,
    ParameterUnitsError,
)
from hisatools.line_background import LineBackground
from hisatools.line_background.curves import Curve
from hisatools.line_background.simulated import (
    LIMITS,
    NAMES,
    START,
    TRUTH,
    power_law_and_lines,
    simulate_counts,
)
from hisatools.simulate import ModelParameters, simulate_cube

pytest.importorskip("iminuit", reason="fits need iminuit (extra fit)")

KMS = u.km / u.s
RANDOM = settings(deadline=None, derandomize=True, max_examples=30)
SEEDS = (101, 102, 201, 202, 301)
MASK = (1790, 1825) * u.keV
SOURCE = (1805, 1812) * u.keV
SIDES = [(1680, 1710) * u.keV, (1735, 1750) * u.keV, (1820, 1875) * u.keV, (1940, 1990) * u.keV]


def line_example(seed, hidden=0.0):
    simulated = simulate_counts(seed, hidden=hidden)
    background = LineBackground(simulated.counts, simulated.edges, pixel_scale=simulated.pixel_scale)
    background = background.with_mask(MASK)
    return simulated, background, background.fit(power_law_and_lines, start=START, limits=LIMITS)


@pytest.fixture(scope="module")
def example():
    return line_example(101)


def flat_counts(shape=(20, 2, 5, 6), seed=1, mean=30):
    return np.random.default_rng(seed).poisson(mean, shape)


def flat_background(counts=None, **inputs):
    counts = flat_counts() if counts is None else counts
    inputs = {"pixel_scale": 1 * u.deg, **inputs}
    return LineBackground(counts, np.arange(len(counts) + 1.0) * u.keV, **inputs)


def constant(x, level):
    return np.full_like(x, level)


def fit_constant(background):
    return background.fit(constant, start=[10.0])


# The tutorial's line example


@pytest.mark.parametrize("seed", SEEDS)
def test_all_fifteen_parameters_come_back_within_three_sigma(seed):
    _, _, fit = line_example(seed)
    assert fit.is_valid
    assert fit.names == NAMES
    assert (np.abs(fit.values - list(TRUTH.values())) < 3 * fit.errors).all()
    # Determined, not merely within wide errors: each to better than the line's distance to others.
    assert fit["sigma"][1] < 0.02
    assert all(fit[f"mu{i}"][1] < 0.1 for i in range(1, 7))


@pytest.mark.parametrize("seed", SEEDS)
def test_counts_under_the_line_are_predicted_within_three_sigma(seed):
    simulated, background, fit = line_example(seed)
    prediction = background.predict(fit, SOURCE, SIDES)
    observed = simulated.counts_between(*SOURCE).sum()
    assert abs(observed - prediction.expected) < 3 * np.hypot(prediction.expected_sigma, np.sqrt(observed))


def test_a_hidden_line_is_missed_by_its_own_counts():
    simulated, background, fit = line_example(101, hidden=4000)
    prediction = background.predict(fit, SOURCE, SIDES)
    observed = simulated.counts_between(*SOURCE).sum()
    assert 0.10 < observed / prediction.expected - 1 < 0.20
    assert observed - prediction.expected > 10 * np.hypot(prediction.expected_sigma, np.sqrt(observed))
    _, without, fit_without = line_example(101)
    clean = without.predict(fit_without, SOURCE, SIDES)
    assert prediction.expected == pytest.approx(clean.expected, rel=0.01)


def test_stated_errors_of_the_prediction_are_those_of_many_draws():
    edges = np.arange(41.0)
    expected = 200 * np.exp(-edges[:-1] / 60)
    rng = np.random.default_rng(101)
    off = []
    for _ in range(120):
        background = flat_background(rng.poisson(expected)).with_mask((15, 25) * u.keV)
        fit = background.fit(Polynomial1D(1, c0=200, c1=-2))
        found = background.predict(fit, (18, 22) * u.keV, [(10, 15) * u.keV, (25, 30) * u.keV])
        model = np.polynomial.Polynomial(
            np.polyfit(edges[:-1] + 0.5, expected, 1, w=1 / np.sqrt(expected))[::-1]
        )
        off.append((found.expected - model(20.0) * 4) / found.expected_sigma)
    assert 0.8 < np.std(off) < 1.25


def test_an_astropy_model_with_tied_widths_gives_the_same_fit(example):
    _, background, fit = example
    model = PowerLaw1D(5000, x_0=1800, alpha=1.0, fixed={"x_0": True})
    for i in range(1, 7):
        low, high = {**LIMITS, "mu1": (1600, 1620)}[f"mu{i}"]
        area, mean = START[f"a{i}"], START[f"mu{i}"]
        model = model + Gaussian1D(
            area / 2.5, mean, 1.0, bounds={"mean": (low, high), "amplitude": (0, None)}
        )
    for i in range(2, 7):
        getattr(model, f"stddev_{i}").tied = lambda m: m.stddev_1
    model.stddev_1.bounds = (0.1, 10)
    found = background.fit(model)
    assert found.is_valid
    assert found.n_free == 15
    assert found["mean_3"][0] == pytest.approx(fit["mu3"][0], abs=0.01 * fit["mu3"][1])
    assert found["mean_3"][1] == pytest.approx(fit["mu3"][1], rel=0.02)
    assert found["stddev_1"][0] == pytest.approx(fit["sigma"][0], abs=0.05 * fit["sigma"][1])
    assert found.statistic == pytest.approx(fit.statistic, rel=1e-9)
    assert found.model.stddev_6.value == found["stddev_1"][0]


def test_a_tied_parameter_may_use_all_of_the_model():
    counts = np.random.default_rng(101).poisson(50 + 3 * np.arange(20))
    background = flat_background(counts)
    fits = []
    for rule in (lambda m: 2 * m.c0_1, lambda m: 2 * m[1].c0.value):
        model = Polynomial1D(1, c0=20.0, c1=1.0) + Polynomial1D(0, c0=10.0)
        model.c0_0.tied = rule
        fits.append(background.fit(model))
    assert fits[0].names == ("c1_0", "c0_1")
    assert fits[0].model.c0_0 == 2 * fits[0].model.c0_1
    assert_allclose(fits[0].values, fits[1].values, rtol=1e-9)


# Likelihood and quadrature


def test_a_line_narrower_than_a_bin_gets_a_finer_quadrature():
    edges = np.arange(1600, 1661.0, 4) * u.keV
    rng = np.random.default_rng(101)

    def line(x, level, area, mean):
        return level + area / 0.2 / np.sqrt(2 * np.pi) * np.exp(-0.5 * ((x - mean) / 0.2) ** 2)

    curve = Curve(line, ("level", "area", "mean"), ())
    expected = curve.over_bins(edges.value[:-1], edges.value[1:], (500, 60000, 1628.05), 64)
    fit = LineBackground(rng.poisson(expected), edges).fit(
        line, start=[400, 5e4, 1627.9], limits={"mean": (1625, 1632), "area": (0, None)}
    )
    assert fit.n_pieces > 1
    assert abs(fit["area"][0] - 60000) < 3 * fit["area"][1]
    assert abs(fit["mean"][0] - 1628.05) < 3 * fit["mean"][1]


def test_the_statistic_is_that_of_poisson(example):
    _, background, fit = example
    used = background.unmasked
    mu = fit.expected(background.edges[:-1][used], background.edges[1:][used])
    n = background.spectrum[used]
    assert fit.statistic == pytest.approx(np.sum(mu - n * np.log(mu)), rel=1e-12)
    assert fit.n_bins == used.sum()


def test_a_constant_fits_as_the_mean_with_the_error_of_the_mean():
    counts = flat_counts()
    fit = fit_constant(flat_background(counts))
    total = counts.sum()
    assert fit["level"][0] == pytest.approx(total / 20, rel=1e-5)
    assert fit["level"][1] == pytest.approx(np.sqrt(total) / 20, rel=1e-3)


def test_brightness_is_fitted_as_weighted_least_squares():
    rng = np.random.default_rng(101)
    v = np.arange(30.0)
    sigma = rng.uniform(0.5, 2, 30)
    kelvin = 50 + 0.4 * v + rng.normal(0, sigma)
    background = LineBackground(kelvin * u.K, (np.arange(31) - 0.5) * KMS, sigma=sigma * u.K)
    fit = background.fit(Polynomial1D(1, c0=40.0))
    coefficients, covariance = np.polyfit(v, kelvin, 1, w=1 / sigma, cov="unscaled")
    assert_allclose(fit.values, coefficients[::-1], rtol=1e-4)
    assert_allclose(fit.covariance, covariance[::-1, ::-1], rtol=1e-3)


def test_an_integral_that_is_known_is_used():
    def never(x, level):
        raise AssertionError

    background = flat_background()
    fit = background.fit(never, start=[10.0], integral=lambda low, high, level: level * (high - low))
    assert fit["level"][0] == pytest.approx(fit_constant(background)["level"][0], rel=1e-6)


def test_fixed_parameters_stay_and_have_no_error():
    fit = flat_background().fit(lambda x, a, b: a + b * x, start={"a": 100.0, "b": 0.0}, fixed=["b"])
    assert fit["b"] == (0.0, 0.0)
    assert fit["a"][1] > 0
    assert fit.n_free == 1
    assert_array_equal(fit.covariance[1], 0)


def test_limits_can_be_told_by_place_as_in_the_tutorial(example):
    _, background, fit = example
    limits = {NAMES.index(name): pair for name, pair in LIMITS.items()}
    again = background.fit(power_law_and_lines, start=list(START.values()), limits=limits)
    assert_array_equal(again.values, fit.values)


def test_a_parameter_at_its_limit_is_named():
    fit = flat_background().fit(constant, start=[10.0], limits={"level": (0, 20)})
    assert fit.at_limit == ("level",)
    assert fit["level"][0] == pytest.approx(20, rel=1e-3)


def test_undetermined_parameters_are_a_warning_and_an_invalid_fit():
    with pytest.warns(HISAWarning, match="did not converge: .*give other start values or fix some"):
        fit = flat_background().fit(lambda x, a, b: a + b + 0 * x, start=[10.0, 10.0])
    assert not fit.is_valid
    assert fit.message


def test_the_fit_has_units():
    edges = np.arange(21.0) * u.keV
    background = LineBackground(flat_counts((20,)), edges)
    fit = background.fit(Polynomial1D(1, c0=20 / u.keV, c1=0 / u.keV**2))
    assert fit.model.c0.unit == 1 / u.keV
    assert fit(5000 * u.eV).unit == 1 / u.keV
    assert fit.integral(0 * u.keV, 20000 * u.eV).to_value("") == pytest.approx(
        background.spectrum.sum(), rel=1e-4
    )
    assert fit.table.colnames == ["name", "value", "error", "low", "high", "fixed"]


# Masks and ranges


def test_masked_bins_do_not_count_in_the_fit():
    counts = flat_counts()
    wrong = counts.copy()
    wrong[8:11] *= 50
    one, other = (fit_constant(flat_background(c).with_mask((8, 11) * u.keV)) for c in (counts, wrong))
    assert_array_equal(one.values, other.values)


def test_side_ranges_snap_to_whole_bins_inside_and_that_is_reported():
    background = flat_background()
    prediction = background.predict(
        fit_constant(background), (10, 11) * u.keV, [(2.5, 6.2) * u.keV, (15, 17) * u.keV]
    )
    assert_array_equal(prediction.side_ranges[0].value, [3, 6])
    assert_array_equal(prediction.side_ranges[1].value, [15, 17])
    assert prediction.remarks == ("side range 1 [2.5, 6.2] is modified to [3, 6] keV",)
    assert_array_equal(prediction.template, background.values[[3, 4, 5, 15, 16]].sum(axis=0))


def test_side_bins_under_mask_or_source_are_left_out_and_that_is_reported():
    background = flat_background().with_mask((3, 4) * u.keV)
    prediction = background.predict(fit_constant(background), (10.5, 11) * u.keV, [(2, 12) * u.keV])
    assert_array_equal(prediction.template, background.values[[2, 4, 5, 6, 7, 8, 9, 11]].sum(axis=0))
    assert prediction.remarks == (
        "side range 1: 1 of its bins masked, left out",
        "side range 1: 1 of its bins in the source range, left out",
    )


@pytest.mark.parametrize(
    ("sides", "error", "text"),
    [
        ([(2.2, 2.9) * u.keV], InputError, "side range 1 of 2.2 to 2.9 keV holds no whole bin"),
        ([(50, 60) * u.keV], InputError, "the axis runs from 0 to 20 keV"),
        ([(10, 11) * u.keV], InputError, "holds no bin outside mask and source range"),
        ([], ParameterError, "side_ranges is empty"),
        ([(1, 3)], ParameterUnitsError, "side range 1 needs a unit of keV"),
        ([(1, 2, 3) * u.keV], ParameterError, "must be a .low, high. pair"),
        ([(3, np.nan) * u.keV], ParameterError, "must be two different finite values"),
    ],
)
def test_side_ranges_that_cannot_be_used_are_errors(sides, error, text):
    background = flat_background()
    with pytest.raises(error, match=text):
        background.predict(fit_constant(background), (10, 11) * u.keV, sides)


# Template


def test_the_raw_template_is_scaled_by_the_ratio_of_the_integrals():
    background = flat_background()
    fit = background.fit(lambda x, a, b: a + b * x, start=[100.0, 0.1])
    prediction = background.predict(fit, (10, 12.5) * u.keV, [(2, 5) * u.keV, (15, 18) * u.keV])
    a, b = fit.values
    source = a * 2.5 + b * (12.5**2 - 10**2) / 2
    sides = a * 6 + b * (5**2 - 2**2 + 18**2 - 15**2) / 2
    assert_allclose(
        prediction.values, background.values[[2, 3, 4, 15, 16, 17]].sum(axis=0) * source / sides, rtol=1e-9
    )
    assert prediction.values.sum() == pytest.approx(prediction.expected, rel=1e-12)


FILTERS = {
    "smooth": {"smoothing_fwhm": 2 * u.deg},
    "l_cut": {"l_cut": 60},
    "scale": {"angular_scale": 3 * u.deg},
}


@pytest.mark.parametrize("rebin", [None, 2, 3])
@pytest.mark.parametrize("name", FILTERS)
def test_filters_keep_totals_and_are_not_negative(name, rebin):
    counts = np.random.default_rng(4).poisson(0.4, (20, 4, 8, 9))
    background = flat_background(counts)
    fit = fit_constant(background)
    raw = background.predict(fit, (10, 12) * u.keV, [(2, 8) * u.keV])
    found = background.predict(fit, (10, 12) * u.keV, [(2, 8) * u.keV], rebin=rebin, **FILTERS[name])
    assert (found.template >= 0).all()
    assert found.template.std() < raw.template.std()
    assert_allclose(found.template.sum(axis=(1, 2)), raw.template.sum(axis=(1, 2)), rtol=1e-9)
    assert found.expected == raw.expected


def test_rebinned_bins_share_the_pattern_of_their_group():
    background = flat_background(flat_counts((20, 5, 6, 6), mean=3))
    prediction = background.predict(
        fit_constant(background), (10, 12) * u.keV, [(2, 8) * u.keV], smoothing_fwhm=2 * u.deg, rebin=2
    )
    shares = prediction.template / prediction.template.sum(axis=(1, 2), keepdims=True)
    assert_allclose(shares[0], shares[1])
    assert_allclose(shares[2], shares[3])
    assert np.abs(shares[1] - shares[2]).max() > 1e-4


def test_l_cut_is_the_angular_scale_of_180_degrees_over_it():
    background = flat_background()
    one, other = (
        background.predict(fit_constant(background), (10, 12) * u.keV, [(2, 8) * u.keV], **choice).template
        for choice in ({"l_cut": 60}, {"angular_scale": 3 * u.deg})
    )
    assert_allclose(one, other)


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        ({"smoothing_fwhm": 1 * u.deg, "l_cut": 4}, "smoothing_fwhm and l_cut are given; choose one"),
        ({"l_cut": 4, "angular_scale": 3 * u.deg}, "l_cut and angular_scale are given; choose one"),
        ({"rebin": 2}, "it needs a filter"),
        ({"smoothing_fwhm": 2}, "smoothing_fwhm needs a unit"),
        ({"l_cut": -1}, "l_cut must be finite and above 0"),
        ({"l_cut": 4, "rebin": 0}, "rebin must be finite and above 0"),
    ],
)
def test_filters_that_cannot_be_are_errors(inputs, text):
    background = flat_background()
    with pytest.raises(ParameterError, match=text):
        background.predict(fit_constant(background), (10, 12) * u.keV, [(2, 8) * u.keV], **inputs)


@pytest.mark.parametrize("inputs", [{"l_cut": 4}, {"smoothing_fwhm": 1 * u.deg}, {"l_cut": 4, "rebin": 2}])
def test_filters_without_a_sky_are_errors(inputs):
    background = flat_background(flat_counts((20,)))
    with pytest.raises(ParameterError, match=r"l_cut needs a sky|smoothing_fwhm needs a sky"):
        background.predict(fit_constant(background), (10, 12) * u.keV, [(2, 8) * u.keV], **inputs)


# Cubes


@pytest.fixture(scope="module")
def model():
    return simulate_cube(ModelParameters().scaled((64, 24, 24)), seed=101)


def test_a_cube_is_predicted_channel_by_channel_within_its_noise():
    v = np.arange(40.0)[:, None, None]
    y, x = np.indices((8, 9))
    truth = (60 + 0.5 * v) * (1 + 0.02 * y - 0.01 * x)
    kelvin = truth + np.random.default_rng(101).normal(0, 0.5, truth.shape)
    cube = HISACube.from_spectrum(np.arange(40.0) * u.K, np.arange(40) * KMS)
    background = LineBackground(kelvin * u.K, (np.arange(41) - 0.5) * KMS, sigma=0.5 / np.sqrt(72) * u.K)
    background = background.with_mask((14, 26) * KMS)
    fit = background.fit(Polynomial1D(1, c0=60))
    found = background.predict(fit, (17.5, 21.5) * KMS, [(7.5, 14.5) * KMS, (25.5, 32.5) * KMS])
    assert found.values.shape == (4, 8, 9)
    assert cube.shape == (40, 1, 1)
    off = found.values.to_value(u.K) - truth[18:22]
    assert off.std() == pytest.approx(0.5 / np.sqrt(13), rel=0.3)
    assert (
        np.abs(found.expected.value - truth[18:22].mean(axis=(1, 2))) < 4 * found.expected_sigma.value
    ).all()


@pytest.mark.parametrize("inputs", [{}, {"smoothing_fwhm": 3 * u.arcmin}, {"angular_scale": 3 * u.arcmin}])
def test_a_cube_with_reversed_velocities_gives_the_reversed_answer(model, inputs):
    cube = model.cube
    mirrored = HISACube(cube.kelvin[::-1].copy() * u.K, reversed_wcs(cube), beam=cube.beam)
    results = []
    for each, exclude in ((cube, model.mask), (mirrored, model.mask[::-1])):
        background = LineBackground.from_cube(each, exclude=exclude, sigma=0.3 * u.K).with_mask(
            (-45, -35) * KMS
        )
        fit = background.fit(Polynomial1D(2, c0=70.0, domain=(-70, -10)))
        sides = [(-51, -45) * KMS, (-35, -30) * KMS]
        results.append((background, background.predict(fit, (-42, -38) * KMS, sides, **inputs)))
    (one, found), (other, backward) = results
    assert_allclose(backward.values[::-1].value, found.values.value, rtol=1e-5)
    assert_allclose(backward.expected[::-1].value, found.expected.value, rtol=1e-5)
    assert_array_equal(other.unmasked[::-1], one.unmasked)


def reversed_wcs(cube):
    wcs = cube.wcs.deepcopy()
    wcs.wcs.crval[2] = cube.velocity[-1].to_value(u.m / u.s)
    wcs.wcs.crpix[2] = 1
    wcs.wcs.cdelt[2] *= -1
    return wcs


def test_a_histogram_with_falling_edges_gives_the_same_sum():
    counts = flat_counts()
    edges = np.arange(21.0) * u.keV
    one, other = LineBackground(counts, edges), LineBackground(counts[::-1], edges[::-1])
    found = [b.predict(fit_constant(b), (10, 12) * u.keV, [(2, 8) * u.keV]) for b in (one, other)]
    assert_array_equal(found[0].values, found[1].values)


def test_blank_voxels_and_planes_are_left_out_of_cubes(model):
    kelvin = model.cube.kelvin.copy()
    kelvin[np.random.default_rng(1).uniform(size=kelvin.shape) < 0.05] = np.nan
    kelvin[20] = np.nan
    kelvin[:, 3, 3] = np.nan
    background = LineBackground.from_cube(model.cube.with_brightness(kelvin), sigma=0.5 * u.K)
    assert not background.unmasked[20]
    fit = background.fit(Polynomial1D(4, c0=70.0, domain=(-70, -10)))
    found = background.predict(fit, (-42, -38) * KMS, [(-55, -45) * KMS], smoothing_fwhm=2 * u.arcmin)
    assert np.isnan(found.values.value[:, 3, 3]).all()
    assert np.isfinite(found.values.value).sum() == found.values.size - len(found.values)
    assert np.isfinite(found.expected_sigma.value).all()


def test_blank_cells_of_a_histogram_are_left_out_of_all_bins_and_that_is_said():
    counts = flat_counts().astype(float)
    counts[4, 0, 2, 3] = np.nan
    counts[7] = np.nan
    with pytest.warns(HISAWarning, match="1 of 60 cells are NaN in some bin"):
        background = flat_background(counts)
    assert not background.unmasked[7]
    known = np.delete(counts, 7, axis=0)
    whole = np.isfinite(known).all(axis=0)
    assert_allclose(np.delete(background.spectrum, 7), known[:, whole].sum(axis=1))
    found = background.predict(
        fit_constant(background), (10, 12) * u.keV, [(2, 7) * u.keV], smoothing_fwhm=2 * u.deg
    )
    assert np.isnan(found.values).sum() == 1
    assert np.nansum(found.values) == pytest.approx(found.expected)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 4, 4), (3, 1, 1)])
def test_too_few_bins_or_channels_are_a_clear_error(shape):
    background = flat_background(flat_counts(shape))
    with pytest.raises(InputError, match="bins are left to fit 4 parameters"):
        background.fit(Polynomial1D(3))
    cube = HISACube.from_spectrum(np.arange(5.0) * u.K, np.arange(5) * KMS)
    with pytest.raises(InputError, match="cannot be measured on 5 channels; give sigma"):
        LineBackground.from_cube(cube)


def test_one_spectrum_works():
    cube = HISACube.from_spectrum((60 + np.arange(30.0)) * u.K, np.arange(30) * KMS)
    background = LineBackground.from_cube(cube, sigma=1 * u.K).with_mask((12, 18) * KMS)
    found = background.predict(
        background.fit(Polynomial1D(1, c0=50)), (14, 16) * KMS, [(8, 12) * KMS, (18, 22) * KMS]
    )
    assert_allclose(found.values.value[:, 0, 0], [75], rtol=1e-3)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"start": [1.0, 2.0]}, "start has 2 values, the model 1 parameters: level"),
        ({}, "start needs a value for each of level"),
        (
            {"start": [30.0], "limits": {"height": (0, 1)}},
            "limits: no parameter 'height'; the model has level",
        ),
        (
            {"start": [30.0], "limits": {"level": (0, 1)}},
            "start value of level, 30, is not finite or not within",
        ),
        ({"start": [30.0], "fixed": [4]}, "fixed: no parameter 4"),
    ],
)
def test_parameters_that_do_not_fit_the_model_are_errors(arguments, text):
    with pytest.raises(ParameterError, match=text):
        flat_background().fit(constant, **arguments)


def test_a_model_that_is_not_finite_where_it_starts_is_an_error():
    with pytest.raises(InputError, match="the model is not finite in 20 of 20 bins at"):
        flat_background().fit(lambda x, a: np.log(-x - a**2), start=[1.0])


def test_start_values_of_an_astropy_model_are_its_own():
    with pytest.raises(ParameterError, match=r"set model.bounds, model.fixed"):
        flat_background().fit(Polynomial1D(1), start=[1.0, 2.0])


@pytest.mark.parametrize("smoothing", [{}, {"smoothing_fwhm": 2 * u.deg}])
def test_sight_lines_blank_in_one_side_range_shift_neither_prediction_nor_expectation(smoothing):
    x = np.arange(12)
    truth = np.full((50, 12, 12), 50.0) + 5 * x
    kelvin = truth + np.random.default_rng(101).normal(0, 1, truth.shape)
    kelvin[10:20, :, 6:] = np.nan
    kelvin[22:28, :, 6:] = 0  # absorbed, and masked below: no part of the level
    background = LineBackground(
        kelvin * u.K, np.arange(51) * KMS, sigma=0.1 * u.K, pixel_scale=1 * u.deg
    ).with_mask((20, 30) * KMS)
    fit = background.fit(Polynomial1D(1, c0=50.0))
    sides = [(10, 20) * KMS, (30, 40) * KMS]
    found = background.predict(fit, (24, 26) * KMS, sides, **smoothing)
    assert_allclose(found.expected.value, truth[0].mean(), atol=0.3)
    if not smoothing:
        assert_allclose(found.expected.value, found.values.value.mean(axis=(1, 2)), rtol=1e-9)
    assert np.isfinite(found.expected_sigma.value).all()


@pytest.mark.parametrize("rebin", [None, 2, 3])
@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.filterwarnings("ignore:.* cells are NaN in some bin")
def test_filters_keep_totals_where_cells_are_blank(name, rebin):
    counts = flat_counts((20, 4, 12, 12), mean=10).astype(float)
    counts[:, :, 3:6, 3:6] = np.nan
    counts[:, 1, 9] = np.nan
    background = flat_background(counts)
    fit = fit_constant(background)
    found = background.predict(fit, (10, 12) * u.keV, [(2, 8) * u.keV], rebin=rebin, **FILTERS[name])
    assert np.nansum(found.values) == pytest.approx(found.expected, rel=1e-9)
    assert_array_equal(np.isnan(found.values), np.isnan(counts[0]))


# Figures


def test_figures_show_spectrum_ranges_and_map(example, model, tmp_path):
    _, background, fit = example
    prediction = background.predict(fit, SOURCE, SIDES, smoothing_fwhm=20 * u.deg)
    ax = background.plot_spectrum(fit, prediction)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["mask", "side ranges", "source range", "observed", "model"]
    assert len(ax.patches) >= 6
    assert len(ax.figure.axes) == 2
    ax.figure.savefig(tmp_path / "spectrum.png")
    map_ax = prediction.plot_template()
    assert_allclose(map_ax.images[0].get_array(), prediction.template.sum(axis=0))


def test_the_template_of_a_cube_is_drawn_on_the_sky(model, tmp_path):
    background = LineBackground.from_cube(model.cube, exclude=model.mask, sigma=0.3 * u.K)
    fit = background.fit(Polynomial1D(4, c0=70.0, domain=(-70, -10)))
    ax = background.predict(fit, (-42, -38) * KMS, [(-51, -45) * KMS]).plot_template()
    assert ax.coords[0].get_axislabel() == "Galactic longitude"
    ax.figure.savefig(tmp_path / "template.png")
    assert background.plot_spectrum().get_xlabel().startswith("Velocity")


def test_a_template_without_a_sky_cannot_be_drawn():
    background = flat_background(flat_counts((20,)))
    prediction = background.predict(fit_constant(background), (10, 12) * u.keV, [(2, 8) * u.keV])
    with pytest.raises(ParameterError, match="there is no map to draw"):
        prediction.plot_template()
