"""The likelihood of widths: against maps made anew, and against the truth."""

import astropy.units as u
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from hisatools import HISACube
from hisatools.errors import HISAWarning, InputError, ParameterError, ParameterUnitsError
from hisatools.residual_mask import (
    ResidualMaskParameters,
    WidthLikelihood,
    fit_velocity_width,
    gas_column,
    width_likelihood,
)
from hisatools.residual_mask.simulated import DustModelParameters, simulate_dust
from hisatools.residual_mask.width_sums import PIXELS_PER_BLOCK, plan_channels, width_sums

KMS = u.km / u.s
CENTRE = 0 * KMS
WIDTHS = np.arange(8, 30.1, 0.2) * KMS


def sky(seed=6200, shape=(40, 42), **changes):
    parameters = DustModelParameters(shape=shape, **{"extra_share": 0.0, "noise": 0.06, **changes})
    return simulate_dust(parameters, seed=seed, velocity_width=18.3 * KMS, n_channels=40)


@pytest.fixture(scope="module")
def model():
    return sky()


@pytest.fixture(scope="module")
def found(model):
    return width_likelihood(model.cube, model.tracer, centre=CENTRE, widths=WIDTHS)


@pytest.mark.parametrize("centre", [0.0, 0.37, -2.5])
def test_running_sums_are_those_of_maps_made_anew(model, centre):
    widths = np.array([0.4, 1.0, 3.3, 17.0, 33.9])
    velocity = model.cube.velocity.value
    index = np.flatnonzero(np.arange(40 * 42) % 3)
    assert index.size > PIXELS_PER_BLOCK
    rng = np.random.default_rng(6200)
    tracer, weights = rng.normal(size=index.size), rng.uniform(1, 2, index.size)
    plan = plan_channels(velocity, 1.0, centre, widths)
    sums = width_sums(model.cube.kelvin, 1.0, plan, index, tracer, weights)
    for width, row in zip(widths, sums, strict=True):
        column = gas_column(model.cube, [centre - width / 2, centre + width / 2] * KMS).value.ravel()[index]
        expected = [(weights * column**power * other).sum() for power, other in ((1, 1), (2, 1), (1, tracer))]
        assert_allclose(row, expected, rtol=1e-10)


@pytest.mark.filterwarnings("ignore::hisatools.errors.HISAWarning")  # the grid is coarse
def test_grid_is_that_of_maps_made_anew(model):
    widths, ratios = [10, 18.3, 25] * KMS, [0.045, 0.05, 0.056] * model.ratio.unit
    intercepts = [0.05, 0.1, 0.13] * u.mag
    grid = width_likelihood(
        model.cube, model.tracer, centre=CENTRE, widths=widths, ratios=ratios, intercepts=intercepts
    )
    chi2 = np.empty((3, 3, 3))
    for one, width in enumerate(widths):
        column = gas_column(model.cube, u.Quantity([-width / 2, width / 2]))
        for two, ratio in enumerate(ratios):
            for three, intercept in enumerate(intercepts):
                chi2[one, two, three] = ((model.tracer - ratio * column - intercept).value ** 2).sum()
    variance = chi2.min() / (model.tracer.size - 3)
    assert_allclose(grid.log_likelihood, -(chi2 - chi2.min()) / (2 * variance), rtol=1e-8, atol=1e-8)
    assert_allclose(grid.error.value, np.sqrt(variance))


def test_most_likely_point_is_the_truth(model, found):
    for name, truth in (("width", 18.3 * KMS), ("ratio", model.ratio), ("intercept", model.intercept)):
        low, high = found.interval(name, 0.95)
        assert low < truth < high
    assert abs(found.error.value / model.parameters.noise - 1) < 0.05
    assert_allclose(found.velocity_range.value, np.array([-0.5, 0.5]) * found.best["width"].value)


def test_intervals_cover_the_truth_as_often_as_they_say():
    # Of 20 skies 13.6 are expected within 68 %, with a scatter of 2.1.
    inside = 0
    for seed in range(6210, 6230):
        model = sky(seed, shape=(24, 24), noise=0.1)
        found = width_likelihood(model.cube, model.tracer, centre=CENTRE, widths=np.arange(6, 38, 0.5) * KMS)
        low, high = found.interval("width", 0.68)
        inside += bool(low < 18.3 * KMS < high)
    assert 8 <= inside <= 18


def test_workers_change_no_bit(model, found):
    other = width_likelihood(model.cube, model.tracer, centre=CENTRE, widths=WIDTHS, workers=2)
    assert_array_equal(other.log_likelihood, found.log_likelihood)
    assert_array_equal(other.ratios, found.ratios)


def test_reversed_axis_and_other_unit_give_the_same(model, found):
    wcs = model.cube.wcs.deepcopy()
    wcs.wcs.cdelt = [*wcs.wcs.cdelt[:2], -wcs.wcs.cdelt[2]]
    flipped = HISACube(model.cube.data[::-1], wcs)
    assert_allclose(flipped.velocity.value, model.cube.velocity.value[::-1])
    other = width_likelihood(flipped, model.tracer.to(u.mmag), centre=CENTRE, widths=WIDTHS.to(u.m / u.s))
    assert_allclose(other.log_likelihood, found.log_likelihood, rtol=1e-6, atol=1e-6)
    assert_allclose(other.ratios.to_value(found.ratios.unit), found.ratios.value, rtol=1e-8)


def test_blank_and_masked_pixels_are_left_out(model):
    kelvin, tracer = model.cube.kelvin.copy(), model.tracer.copy()
    kelvin[20, :4], tracer[:, :3] = np.nan, np.nan * u.mag
    mask = np.zeros(tracer.shape, bool)
    mask[-5:] = True
    tracer[-5:] = 50 * u.mag
    found = width_likelihood(
        model.cube.with_brightness(kelvin), tracer, centre=CENTRE, widths=WIDTHS, mask=mask
    )
    assert found.n_pixels == (40 - 4 - 5) * (42 - 3)
    low, high = found.interval("width", 0.997)
    assert low < 18.3 * KMS < high


def test_errors_weigh(model):
    rng = np.random.default_rng(6201)
    error = np.where(np.arange(42) < 21, 0.06, 1.0) * u.mag * np.ones((40, 1))
    clean = model.ratio * model.gas + model.intercept
    tracer = clean + rng.normal(size=error.shape) * error
    weighted, plain = (
        width_likelihood(model.cube, tracer, centre=CENTRE, widths=WIDTHS, error=given).interval("width")
        for given in (error, None)
    )
    assert np.ptp(weighted) < np.ptp(plain) / 3
    assert weighted[0] - 1 * KMS < 18.3 * KMS < weighted[1] + 1 * KMS


def test_pixels_that_share_noise_widen_intervals(model, found):
    wide = width_likelihood(model.cube, model.tracer, centre=CENTRE, widths=WIDTHS, pixels_per_beam=9)
    ratio = np.ptp(wide.interval("ratio")) / np.ptp(found.interval("ratio"))
    assert 2 < ratio < 4


def test_a_single_intercept_is_given(model):
    found = width_likelihood(model.cube, model.tracer, centre=CENTRE, widths=WIDTHS, intercepts=[0.1] * u.mag)
    assert found.interval("intercept")[0] == found.interval("intercept")[1] == 0.1 * u.mag
    low, high = found.interval("ratio", 0.997)
    assert low < model.ratio < high
    assert found.plot_corner()


def test_marginals_are_normalised_and_consistent(found):
    assert found.probability.sum() == pytest.approx(1)
    for name in ("width", "ratio", "intercept"):
        values, density = found.marginal(name)
        assert (density * np.gradient(values.value)).sum() == pytest.approx(1)
        low, high = found.interval(name, 0.68)
        lower, higher = found.interval(name, 0.95)
        assert lower <= low < found.mean(name) < high <= higher
    pair = found.marginal_2d("width", "ratio")
    assert pair.shape == (found.ratios.size, found.widths.size)
    assert_array_equal(pair, found.marginal_2d("ratio", "width").T)


def test_interval_of_a_gaussian_is_one_sigma():
    grid = np.linspace(-6, 6, 61)
    ones = [1.0]
    gaussian = WidthLikelihood(
        widths=grid * KMS,
        ratios=ones * u.one,
        intercepts=ones * u.mag,
        log_likelihood=-0.5 * grid[:, None, None] ** 2,
        error=1 * u.mag,
        n_pixels=9,
        centre=CENTRE,
    )
    assert_allclose(gaussian.interval("width", 0.6827).value, [-1, 1], atol=0.03)
    assert_allclose(gaussian.interval("width", 0.9545).value, [-2, 2], atol=0.06)


def test_coarse_and_short_axes_are_said(model):
    with pytest.warns(HISAWarning, match="extend the axis"):
        width_likelihood(model.cube, model.tracer, centre=CENTRE, widths=np.arange(2, 10, 0.2) * KMS)
    with pytest.warns(HISAWarning, match="take finer ones"):
        width_likelihood(model.cube, model.tracer, centre=CENTRE, widths=[8, 18.3, 30] * KMS)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"widths": [3, 2] * KMS}, ParameterError, "ascending"),
        ({"widths": [3.0, 4.0]}, ParameterUnitsError, "widths needs a unit"),
        ({"widths": [0, 4] * KMS}, ParameterError, "above 0"),
        ({"widths": [3, 99] * KMS}, InputError, "leaves the band"),
        ({"mask": np.ones((40, 42), bool)}, InputError, "0 pixels are left"),
        ({"tracer": np.ones((3, 3)) * u.mag}, InputError, "the maps of the cube"),
        ({"ratios": [1, 2] * u.mag}, ParameterUnitsError, "ratios needs a unit"),
    ],
)
def test_bad_arguments_are_named(model, changes, error, message):
    given = {"tracer": model.tracer, "centre": CENTRE, "widths": WIDTHS, **changes}
    with pytest.raises(error, match=message):
        width_likelihood(model.cube, given.pop("tracer"), **given)


def test_gas_without_structure_is_refused(model):
    flat = HISACube(np.ones(model.cube.shape) * np.arange(40)[:, None, None] * u.K, model.cube.wcs)
    with pytest.raises(InputError, match="the same in all pixels"):
        width_likelihood(flat, model.tracer, centre=CENTRE, widths=WIDTHS)


def test_what_is_written_is_read(found, tmp_path):
    found.write(tmp_path / "like")
    again = WidthLikelihood.read(tmp_path / "like")
    assert_array_equal(again.log_likelihood, found.log_likelihood)
    assert again.interval("ratio")[0] == found.interval("ratio")[0]
    assert (tmp_path / "like" / "corner.png").stat().st_size > 10_000


def test_mask_and_width_find_each_other():
    model = sky(6204, shape=(72, 72), extra_share=0.2)
    widths = np.arange(8, 38, 0.25) * KMS
    quick = ResidualMaskParameters(growth=0.1)
    fit = fit_velocity_width(model.cube, model.tracer, centre=CENTRE, widths=widths, parameters=quick)
    assert fit.converged and len(fit.rounds) > 1
    assert abs(fit.likelihood.best["width"] - 18.3 * KMS) < 1 * KMS
    assert abs(fit.mask.ratio / model.ratio - 1) < 0.05
    with pytest.warns(HISAWarning, match="did not settle within 1 rounds"):
        fit_velocity_width(
            model.cube, model.tracer, centre=CENTRE, widths=widths, parameters=quick, max_rounds=1
        )


@pytest.mark.parametrize("offset", [-1e4, 1e8])
def test_a_large_offset_of_the_tracer_changes_nothing(model, found, offset):
    moved = width_likelihood(model.cube, model.tracer + offset * u.mag, centre=CENTRE, widths=WIDTHS)
    assert_allclose(moved.error, found.error, rtol=1e-6)
    assert_allclose(moved.interval("width"), found.interval("width"), rtol=1e-4)
    given = width_likelihood(
        model.cube,
        model.tracer + offset * u.mag,
        centre=CENTRE,
        widths=WIDTHS,
        intercepts=(offset + 0.1) * u.mag,
    )
    plain = width_likelihood(model.cube, model.tracer, centre=CENTRE, widths=WIDTHS, intercepts=0.1 * u.mag)
    assert_allclose(given.error, plain.error, rtol=1e-6)


def test_a_tracer_without_scatter_is_refused(model):
    exact = gas_column(model.cube, [-9, 9] * KMS).value * u.mag
    with pytest.raises(InputError, match="without any scatter"):
        width_likelihood(model.cube, 0 * exact, centre=CENTRE, widths=WIDTHS)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"widths": [8, 9, 10]}, ParameterUnitsError, "widths needs a unit"),
        ({"widths": [0, 9] * KMS}, ParameterError, "above 0"),
        ({"centre": 0}, ParameterUnitsError, "centre needs a unit"),
        ({"centre": [0, 1] * KMS}, ParameterError, "one velocity"),
        ({"source": np.ones((3, 4, 5))}, ParameterError, "source must be"),
    ],
)
def test_mask_and_width_name_bad_arguments(model, changes, error, message):
    given = {"source": model.cube, "tracer": model.tracer, "centre": CENTRE, "widths": WIDTHS} | changes
    with pytest.raises(error, match=message):
        fit_velocity_width(**given)
