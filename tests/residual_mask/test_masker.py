"""Masks of simulated dust: what is found, what is left, and what may not change it."""

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from numpy.testing import assert_allclose, assert_array_equal

from hisatools.errors import HISAWarning, InputError, OutputError, ParameterError, ParameterUnitsError
from hisatools.residual_mask import (
    COLUMN_UNIT,
    ResidualMasker,
    ResidualMaskParameters,
    ResidualMaskResult,
)
from hisatools.residual_mask.fit import fit_line
from hisatools.residual_mask.lower_side import lower_side_gaussian
from hisatools.residual_mask.simulated import DustModelParameters, map_wcs, simulate_dust
from hisatools.residual_mask.standing_out import Surroundings

QUICK = ResidualMaskParameters(growth=0.05)


@pytest.fixture(scope="module")
def model():
    return simulate_dust(DustModelParameters(shape=(140, 130)), seed=6200)


@pytest.fixture(scope="module")
def result(model):
    wcs = map_wcs(model.tracer.shape)
    return ResidualMasker(QUICK).run(model.tracer, model.gas, error=model.error, wcs=wcs)


@pytest.mark.parametrize("changes", [{}, {"clumps": "plateau"}, {"follows_gas": True}, {"peak_high": 6.0}])
def test_ratio_and_mask_keep_what_is_promised(changes):
    model = simulate_dust(DustModelParameters(**changes), seed=6201)
    found = ResidualMasker(QUICK).run(model.tracer, model.gas, error=model.error)
    excess = model.significance > 3
    assert found.converged
    assert abs(found.ratio / model.ratio - 1) < 0.03
    assert found.mask[excess].mean() > (0.95 if not changes.get("peak_high") else 0.9)
    assert found.mask[~excess].mean() < 0.02


def test_without_extra_dust_only_the_tail_of_the_noise_is_masked():
    model = simulate_dust(DustModelParameters(extra_share=0), seed=6202)
    found = ResidualMasker(QUICK).run(model.tracer, model.gas)
    assert found.mask.mean() < 0.003
    assert abs(found.sigma.value / model.parameters.noise - 1) < 0.03
    pull = (found.ratio - model.ratio) / found.sigma_ratio
    assert abs(pull) < 4


def test_guard_keeps_dust_that_follows_the_gas_out_of_the_ratio():
    model = simulate_dust(DustModelParameters(follows_gas=True, peak_high=6.0), seed=6203)
    errors = []
    for guard_fwhm in (6.0, 0.0):
        masker = ResidualMasker(ResidualMaskParameters(growth=0.05, guard_fwhm=guard_fwhm))
        errors.append(abs(float(masker.run(model.tracer, model.gas).ratio / model.ratio - 1)))
    assert errors[0] < 0.02 < errors[1]


@pytest.mark.parametrize(("factor", "unit"), [(1e3, u.mmag), (1.0, u.K), (1e-9, u.mag)])
def test_units_and_scale_change_no_pixel(model, result, factor, unit):
    tracer, error = (values.value * factor << unit for values in (model.tracer, model.error))
    found = ResidualMasker(QUICK).run(tracer, model.gas, error=error)
    assert_array_equal(found.mask, result.mask)
    assert found.ratio.unit == unit / COLUMN_UNIT
    assert_allclose(found.ratio.value, result.ratio.value * factor, rtol=1e-6)


def test_workers_change_no_bit(model, result):
    found = ResidualMasker(QUICK).run(model.tracer, model.gas, error=model.error, workers=2)
    assert_array_equal(found.mask, result.mask)
    assert found.ratio == result.ratio
    assert np.all(found.history["sigma"] == result.history["sigma"])


def test_flipped_maps_give_the_flipped_mask(model, result):
    found = ResidualMasker(QUICK).run(model.tracer[:, ::-1], model.gas[:, ::-1], error=model.error)
    assert np.mean(found.mask[:, ::-1] != result.mask) < 1e-3


def test_blank_and_excluded_pixels_stay_out(model):
    tracer, gas = model.tracer.copy(), model.gas.copy()
    tracer[:9], gas[:, :5] = np.nan * u.mag, np.nan * COLUMN_UNIT
    mask = np.zeros(tracer.shape, bool)
    mask[100:] = True
    found = ResidualMasker(QUICK).run(tracer, gas, mask=mask)
    assert not found.mask[mask | np.isnan(tracer) | np.isnan(gas)].any()
    assert np.isnan(found.residual[:9]).all() and np.isnan(found.residual[:, :5]).all()
    assert found.unfitted[mask].all()
    assert abs(found.ratio / model.ratio - 1) < 0.03


def test_errors_weigh_and_scale_the_threshold():
    model = simulate_dust(DustModelParameters(extra_share=0), seed=6204)
    rng = np.random.default_rng(6204)
    error = np.where(np.arange(160) < 80, 1.0, 4.0) * model.error
    noise = rng.normal(size=error.shape) * error
    tracer = model.ratio * model.gas + model.intercept + noise
    for weighted in (True, False):
        parameters = ResidualMaskParameters(growth=0.05, weighted=weighted)
        with_error = ResidualMasker(parameters).run(tracer, model.gas, error=error)
        assert with_error.mask[:, 80:].mean() < 0.004
        assert with_error.mask[:, :80].mean() < 0.004
    without = ResidualMasker(QUICK).run(tracer, model.gas)
    assert without.mask[:, 80:].mean() > 0.01


def test_given_intercept_is_kept(model):
    found = ResidualMasker(QUICK).run(model.tracer, model.gas, intercept=100 * u.mmag)
    assert found.intercept == 0.1 * u.mag
    assert found.sigma_intercept == 0
    assert abs(found.ratio / model.ratio - 1) < 0.03


def test_a_constant_model_needs_no_gas(model):
    noise = np.random.default_rng(6205).normal(5, 2, (60, 60))
    noise[20:30, 20:30] += 20
    found = ResidualMasker(ResidualMaskParameters(start_fraction=1.0)).run(noise * u.mK)
    assert found.mask[20:30, 20:30].all()
    assert found.mask.sum() < 115
    assert np.isnan(found.ratio) and abs(found.intercept.value + found.mode.value - 5) < 0.3


# --- convergence ------------------------------------------------------------------------------


def test_all_pixels_are_reached_before_it_ends(model, result):
    reached = np.asarray(result.history["n_reached"])
    assert reached[-1] == model.tracer.size
    assert np.count_nonzero(reached == reached[-1]) > QUICK.n_stable


@pytest.mark.parametrize("n_stable", [1, 4])
def test_stable_means_so_many_rounds_in_a_row(model, n_stable):
    parameters = ResidualMaskParameters(growth=0.05, n_stable=n_stable)
    found = ResidualMasker(parameters).run(model.tracer, model.gas)
    changed = np.asarray(found.history["n_changed"])
    limit = parameters.stable_share * model.tracer.size
    assert np.all(changed[-n_stable:] <= limit)
    ratio, spread = found.history["ratio"].value, found.history["sigma_ratio"].value[-1]
    assert np.all(np.abs(np.diff(ratio[-n_stable:])) <= parameters.tolerance * spread)


def test_more_stable_rounds_only_add_rounds(model):
    short, long = (
        ResidualMasker(ResidualMaskParameters(growth=0.05, n_stable=n)).run(model.tracer, model.gas)
        for n in (1, 5)
    )
    assert len(long.history) >= len(short.history) + 4
    n = len(short.history)
    assert np.all(short.history["ratio"] == long.history["ratio"][:n])


def test_a_limit_of_rounds_warns(model):
    masker = ResidualMasker(ResidualMaskParameters(max_rounds=3))
    with pytest.warns(HISAWarning, match="did not settle within 3 rounds"):
        found = masker.run(model.tracer, model.gas)
    assert not found.converged
    assert len(found.history) == 3


def test_start_and_growth_do_not_matter_for_the_end(model, result):
    found = ResidualMasker(ResidualMaskParameters(start_fraction=0.5, growth=0.02)).run(
        model.tracer, model.gas, error=model.error
    )
    assert np.mean(found.mask != result.mask) < 1e-3
    assert abs(found.ratio - result.ratio) < 0.1 * result.sigma_ratio


def test_history_makes_every_mask_again(result):
    assert_array_equal(result.mask_of_round(-1), result.mask)
    for number in (1, 7):
        assert result.mask_of_round(number).sum() == result.history["n_masked"][number - 1]
        assert result.reached_in_round(number).sum() == result.history["n_reached"][number - 1]
    with pytest.raises(ParameterError, match="round must be 1 to"):
        result.mask_of_round(0)


def test_masked_pixels_exceed_the_model(result):
    significance = result.significance
    assert np.all(significance[result.mask] > 0.45 * 3)
    assert np.all(result.mask[significance > 3])
    assert_allclose((result.model + result.residual).value, result.tracer.value)


# --- what cannot be done ----------------------------------------------------------------------


def test_constant_gas_is_refused(model):
    with pytest.raises(InputError, match="the gas is the same in all"):
        ResidualMasker().run(model.tracer, np.full(model.gas.shape, 3.0) * COLUMN_UNIT)


def test_one_pixel_and_no_scatter_are_refused():
    one = np.ones((1, 1))
    with pytest.raises(InputError, match="too few"):
        ResidualMasker().run(one * u.mag, one * COLUMN_UNIT)
    with pytest.raises(InputError, match="do not scatter"):
        ResidualMasker().run(np.ones((12, 12)) * u.mag)


def test_nothing_left_is_refused(model):
    with pytest.raises(InputError, match="no pixel of 18200 is left"):
        ResidualMasker().run(model.tracer, model.gas, mask=np.ones(model.tracer.shape, bool))
    with pytest.raises(InputError, match="no pixel"):
        ResidualMasker().run(model.tracer * np.nan, model.gas)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"tracer": np.ones((3, 3))}, ParameterUnitsError, "tracer needs a unit"),
        ({"gas": np.ones((3, 3))}, ParameterUnitsError, "gas needs a unit"),
        ({"tracer": np.ones(3) * u.mag}, InputError, "must be a map"),
        ({"gas": np.ones((3, 3)) * COLUMN_UNIT}, InputError, "reproject"),
        ({"error": np.ones((140, 130)) * u.K}, ParameterUnitsError, "error needs the unit"),
        ({"error": np.zeros((140, 130)) * u.mag}, InputError, "error must be above 0"),
        ({"error": np.ones((3, 3)) * u.mag}, InputError, "error has the shape"),
        ({"mask": np.ones((3, 3), bool)}, InputError, "mask has the shape"),
        ({"mask": np.ones((140, 130))}, ParameterError, "array of bool"),
        ({"intercept": 0.1}, ParameterUnitsError, "intercept needs the unit"),
        ({"intercept": np.nan * u.mag}, ParameterError, "intercept must be one finite number"),
        ({"workers": 0}, ParameterError, "workers"),
    ],
)
def test_bad_arguments_are_named(model, changes, error, message):
    given = {"tracer": model.tracer, "gas": model.gas, **changes}
    with pytest.raises(error, match=message):
        ResidualMasker().run(given.pop("tracer"), given.pop("gas"), **given)


# --- parts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("intercept", [None, 0.3])
def test_line_fit_is_that_of_the_design_matrix(intercept):
    rng = np.random.default_rng(6206)
    gas, weights = rng.normal(8, 2, 200), rng.uniform(0.5, 2, 200)
    tracer = 0.2 * gas + 0.3 + rng.normal(0, 1, 200) / np.sqrt(weights)
    found = fit_line(tracer, gas, weights, intercept=intercept, pixels_per_beam=4)
    columns = [gas] if intercept else [gas, np.ones(200)]
    design = np.stack(columns, axis=1)
    target = tracer - (intercept or 0)
    matrix = np.linalg.inv(design.T @ (weights[:, None] * design))
    best = matrix @ design.T @ (weights * target)
    variance = (weights * (target - design @ best) ** 2).sum() / (200 - len(columns))
    assert_allclose([found.ratio, found.intercept][: len(columns)], best)
    errors = np.sqrt(4 * variance * np.diag(matrix))
    assert_allclose([found.sigma_ratio, found.sigma_intercept][: len(columns)], errors)


def test_uncertainty_of_the_ratio_covers_the_truth():
    pulls = []
    for seed in range(6210, 6230):
        model = simulate_dust(DustModelParameters(shape=(48, 48), extra_share=0), seed=seed)
        found = ResidualMasker(ResidualMaskParameters(start_fraction=0.5, growth=0.5)).run(
            model.tracer, model.gas
        )
        pulls.append(float((found.ratio - model.ratio) / found.sigma_ratio))
    assert 0.5 < np.std(pulls) < 1.6
    assert abs(np.mean(pulls)) < 0.7


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e9])
def test_lower_side_ignores_a_tail_on_any_scale(scale):
    rng = np.random.default_rng(6207)
    values = np.append(rng.normal(4, 1.5, 20_000), rng.normal(4, 1.5, 5000) + rng.exponential(15, 5000))
    mode, sigma = lower_side_gaussian(scale * values)
    assert abs(mode / scale - 4) < 0.15
    assert abs(sigma / scale / 1.5 - 1) < 0.05
    assert sigma / scale < np.std(values) / 3


def test_lower_side_of_truncated_noise_is_that_of_all_of_it():
    values = np.random.default_rng(6208).normal(0, 1, 40_000)
    _, whole = lower_side_gaussian(values)
    _, cut = lower_side_gaussian(values[values < 2.5])
    assert abs(cut / whole - 1) < 0.01


def test_surroundings_are_a_mean_of_the_pixels_in_use():
    used = np.random.default_rng(6209).random((300, 20)) > 0.3
    surroundings = Surroundings(used, 3.0)
    assert_allclose(surroundings.mean(np.full(used.sum(), 7.0)), 7.0)
    values = np.arange(used.sum(), dtype=float)
    assert_array_equal(surroundings.mean(values), Surroundings(used, 3.0).mean(values, workers=2))


# --- files and figures ------------------------------------------------------------------------


def test_what_is_written_is_read(result, tmp_path):
    result.write(tmp_path / "out")
    again = ResidualMaskResult.read(tmp_path / "out")
    assert_array_equal(again.mask, result.mask)
    assert_array_equal(again.guarded, result.guarded)
    assert_array_equal(again.residual.value, result.residual.value)
    assert again.ratio == result.ratio and again.parameters == result.parameters
    assert again.wcs.wcs.ctype[0] == "GLON-CAR"
    assert_array_equal(again.mask_of_round(9), result.mask_of_round(9))
    header = fits.getheader(tmp_path / "out" / "mask.fits")
    assert header["RATIO"] == pytest.approx(result.ratio.value)
    assert header["SIGMA"] == pytest.approx(result.sigma.value)
    assert header["CONVERGD"] is True
    with pytest.raises(OutputError, match="not empty"):
        result.write(tmp_path / "out")
    (tmp_path / "out" / "parameters.json").write_text("{")
    with pytest.raises(InputError, match="damaged"):
        ResidualMaskResult.read(tmp_path / "out")


def test_without_gas_and_axes_it_is_written_as_well(tmp_path):
    noise = np.random.default_rng(6210).normal(5, 2, (30, 30)) * u.mK
    found = ResidualMasker(ResidualMaskParameters(start_fraction=1.0)).run(noise)
    found.write(tmp_path / "out")
    again = ResidualMaskResult.read(tmp_path / "out")
    assert again.gas is None and again.wcs is None and np.isnan(again.ratio)
    assert_array_equal(again.mask, found.mask)


@pytest.mark.parametrize("number", [1, -1])
def test_figures_show_the_round(result, number):
    ax = result.plot_map(number)
    row = result.row_of(number)
    assert f"{result.history['n_masked'][row]} pixels masked" in ax.get_title()
    ax = result.plot_histogram(number)
    assert f"Round {row + 1} of" in ax.get_title()
    assert len(result.plot_convergence().axes) == 4


def test_constant_gas_gives_a_ratio_where_the_intercept_is_given():
    rng = np.random.default_rng(6210)
    gas, tracer = np.full(500, 4.0), 0.1 + 0.5 * 4.0 + rng.normal(0, 0.01, 500)
    fit = fit_line(tracer, gas, intercept=0.1)
    assert abs(fit.ratio - 0.5) < 4 * fit.sigma_ratio < 0.01
    with pytest.raises(InputError, match="or the intercept"):
        fit_line(tracer, gas)
    with pytest.raises(InputError, match="there is no gas"):
        fit_line(tracer, 0 * gas, intercept=0.1)


def test_uncertainties_of_a_line_are_the_scatter_of_many_fits():
    rng = np.random.default_rng(6211)
    gas, weights = rng.uniform(5, 9, 60), rng.uniform(0.2, 2, 60)
    noise = rng.normal(size=(2000, 60)) / np.sqrt(weights)
    fits_made = [fit_line(0.3 * gas + 1 + row, gas, weights) for row in noise]
    for name, truth in (("ratio", 0.3), ("intercept", 1.0)):
        pull = [(getattr(fit, name) - truth) / getattr(fit, f"sigma_{name}") for fit in fits_made]
        assert abs(np.std(pull) - 1) < 0.08


def test_errors_of_0_matter_only_where_they_are_used(model):
    tracer, error = model.tracer.copy(), np.ones(model.tracer.shape) * model.error
    error[:3] = 0 * u.mag
    with pytest.raises(InputError, match="in 390 pixels"):
        ResidualMasker(QUICK).run(tracer, model.gas, error=error)
    tracer[:2] = np.nan * u.mag
    mask = np.zeros(tracer.shape, bool)
    mask[2] = True
    found = ResidualMasker(QUICK).run(tracer, model.gas, error=error, mask=mask)
    assert not found.used[:3].any() and found.used[3:].all()


def test_intercept_is_one_number(model):
    with pytest.raises(ParameterError, match="one finite number"):
        ResidualMasker(QUICK).run(model.tracer, model.gas, intercept=[1, 2] * u.mag)


def test_a_small_map_starts_with_enough_pixels_for_a_histogram():
    found = simulate_dust(DustModelParameters(shape=(20, 20), extra_share=0), seed=6212)
    quick = ResidualMaskParameters(growth=0.05, start_fraction=0.001, guard_fwhm=0)
    result = ResidualMasker(quick).run(found.tracer[:9, :9], found.gas[:9, :9])
    assert result.history["n_reached"][0] == 10
