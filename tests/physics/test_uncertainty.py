"""Uncertainties against written-out derivatives, and against draws."""

from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
from numpy.testing import assert_allclose

from hisatools.errors import ParameterError, ParameterUnitsError
from hisatools.physics import GasFlag, GasModel, GasSigmas, Pressure, draw_gas, propagate

SKY = {"delta_t": -42 * u.K, "t_unabsorbed": 104 * u.K, "t_continuum": 5.5 * u.K}
PRESSURE = Pressure(path_length=0.65 * u.pc, linewidth=2.5 * u.km / u.s)
DEPTH, SPIN = 42.0, 40.0
BEHIND = 0.9 * 104 + 5.5
LEFT = BEHIND - SPIN - DEPTH


def of(sigmas, model=None, **others):
    model = GasModel(t_spin=SPIN * u.K, p=0.9) if model is None else model
    return propagate(model, sigmas=sigmas, **(SKY | others))


@pytest.mark.parametrize(
    ("sigmas", "expected"),
    [
        (GasSigmas(delta_t=2 * u.K), 2 / LEFT),
        (GasSigmas(t_spin=2 * u.K), 2 * DEPTH / ((BEHIND - SPIN) * LEFT)),
        (GasSigmas(t_continuum=2 * u.K), 2 * DEPTH / ((BEHIND - SPIN) * LEFT)),
        (GasSigmas(p=0.02), 0.02 * 104 * DEPTH / ((BEHIND - SPIN) * LEFT)),
        # T_U up by 1: d up by 1, and B by p.
        (GasSigmas(t_unabsorbed=2 * u.K), 2 * abs(1 - 0.9 * DEPTH / (BEHIND - SPIN)) / LEFT),
        # All of dT's is that of T_U.
        (
            GasSigmas(t_unabsorbed=2 * u.K, delta_t=2 * u.K),
            2 * abs(1 - 0.9 * DEPTH / (BEHIND - SPIN)) / LEFT,
        ),
        (
            GasSigmas(delta_t=2000 * u.mK, t_spin=2 * u.K),
            np.hypot(2, 2 * DEPTH / (BEHIND - SPIN)) / LEFT,
        ),
    ],
)
def test_first_order_is_the_written_out_derivative(sigmas, expected):
    assert_allclose(of(sigmas).tau, expected, rtol=1e-4)


def test_a_known_cloud_has_no_uncertainty():
    errors = of(GasSigmas(), linewidth=2 * u.km / u.s)
    assert errors.tau == 0 and errors.t_spin == 0 and errors.column_density == 0


def test_a_share_of_1_is_uncertain_below():
    at_1, below = (of(GasSigmas(p=0.02), GasModel(t_spin=SPIN * u.K, p=p)).tau for p in (1.0, 0.999))
    assert_allclose(at_1, below, rtol=0.02)


@pytest.mark.parametrize(
    "model",
    [
        GasModel(t_spin=30 * u.K, p=0.9),
        GasModel(tau=1.0, p=0.9),
        GasModel(pressure=PRESSURE, p=0.9),
        GasModel(pressure=PRESSURE, t_spin=30 * u.K),
    ],
)
def test_small_errors_drawn_are_those_of_first_order(model):
    sigmas = {"delta_t": 0.5 * u.K, "t_unabsorbed": 0.3 * u.K, "t_continuum": 0.3 * u.K}
    own = {"p": 0.005, "t_spin": 0.4 * u.K, "tau": 0.01}
    sigmas |= {name: own[name] for name in model.given if name in own}
    if model.pressure is not None:
        sigmas |= {"p_over_k": 40 * u.K / u.cm**3, "path_length": 0.005 * u.pc}
    known = GasSigmas(**sigmas)
    width = 2.5 * u.km / u.s if model.pressure is None else None
    first = propagate(model, sigmas=known, **SKY, linewidth=width)
    drawn = draw_gas(model, sigmas=known, **SKY, linewidth=width, n_draws=6000, seed=6400)
    for name in ("t_spin", "tau", "p", "column_density"):
        one, other = (u.Quantity(getattr(errors, name)).value for errors in (first, drawn))
        assert_allclose(other, one, rtol=0.05, atol=1e-12)
    assert drawn.share_possible == 1


def test_draws_tell_how_often_a_cloud_is_possible():
    """Half of the noise takes a cloud that is nearly opaque beyond what gas of 40 K can do."""
    model = GasModel(t_spin=40 * u.K)
    errors = draw_gas(model, -59.5 * u.K, 100 * u.K, GasSigmas(delta_t=5 * u.K), n_draws=4000, seed=1)
    assert 0.45 < errors.share_possible < 0.62
    assert errors.gas.flagged(GasFlag.SATURATED)
    assert np.isfinite(errors.tau)


def test_the_same_seed_draws_the_same_and_arrays_are_drawn_each_by_itself():
    model, sigmas = GasModel(t_spin=40 * u.K), GasSigmas(delta_t=[2, 2, 0] * u.K)
    one, other = (
        draw_gas(model, [-40, -40, -40] * u.K, 100 * u.K, sigmas, n_draws=200, seed=3) for _ in range(2)
    )
    assert_allclose(one.tau, other.tau)
    assert one.tau[0] != one.tau[1]
    assert_allclose(one.tau[2], 0, atol=1e-12)


def test_where_no_cloud_is_possible_uncertainties_are_nan():
    errors = of(GasSigmas(delta_t=2 * u.K), delta_t=[-42, -80, 3] * u.K, linewidth=2 * u.km / u.s)
    assert np.isfinite(errors.tau[0]) and np.isnan(errors.tau[1:]).all()
    assert np.isnan(errors.column_density[1:]).all()


def test_a_column_needs_a_linewidth_and_pressure_has_one():
    assert np.isnan(of(GasSigmas(delta_t=2 * u.K)).column_density)
    errors = of(GasSigmas(delta_t=2 * u.K), GasModel(pressure=PRESSURE))
    assert errors.column_density > 0


def test_saturation_is_flagged_by_the_sigmas_that_are_left():
    model = GasModel(t_spin=40 * u.K)
    absorbed = [-50, -58] * u.K
    errors = propagate(model, absorbed, 100 * u.K, GasSigmas(delta_t=3 * u.K))
    assert list(errors.gas.flagged(GasFlag.SATURATED)) == [False, True]
    errors = propagate(model, absorbed, 100 * u.K, GasSigmas(delta_t=3 * u.K), n_sigma_left=5)
    assert errors.gas.flagged(GasFlag.SATURATED).all()


def test_what_the_model_does_not_know_cannot_be_uncertain():
    with pytest.raises(ParameterError, match="sigma of path_length is given, and the model does not know"):
        of(GasSigmas(path_length=0.1 * u.pc))
    with pytest.raises(ParameterError, match="sigma of tau must not be negative, got -1"):
        GasSigmas(tau=-1)
    with pytest.raises(ParameterUnitsError, match="sigma of delta_t needs a unit of K"):
        GasSigmas(delta_t=2)
    with pytest.raises(ParameterError, match="n_draws=1000000 draws of 100 clouds are too many"):
        draw_gas(
            GasModel(tau=1.0), np.full(100, -40) * u.K, 100 * u.K, replace(GasSigmas()), n_draws=1_000_000
        )


def test_sigmas_may_have_another_shape_than_the_values():
    model, sigmas = GasModel(t_spin=40 * u.K), GasSigmas(delta_t=[1, 2, 3] * u.K)
    first, drawn = (work(model, -42 * u.K, 104 * u.K, sigmas) for work in (propagate, draw_gas))
    assert first.tau.shape == drawn.tau.shape == first.gas.tau.shape == (3,)
    assert_allclose(first.tau / first.tau[0], [1, 2, 3], rtol=1e-4)
    with pytest.raises(ParameterError, match="shapes that do not go together"):
        propagate(model, [-42, -40] * u.K, 104 * u.K, sigmas)


def test_unknown_inputs_leave_unknown_uncertainties():
    model = GasModel(p=np.array([0.9, np.nan]), t_spin=40 * u.K)
    for work in (propagate, draw_gas):
        errors = work(model, [-42, -42] * u.K, 104 * u.K, GasSigmas(p=0.05))
        assert np.isfinite(errors.tau[0]) and np.isnan(errors.tau[1])


def test_a_cloud_that_is_nearly_opaque_has_a_large_and_finite_error():
    errors = of(GasSigmas(delta_t=3 * u.K), GasModel(t_spin=67.4999 * u.K))
    assert_allclose(errors.tau, 3e4, rtol=0.05)
    assert errors.gas.flagged(GasFlag.SATURATED)


@pytest.mark.parametrize(
    ("model", "sigmas"),
    [
        (GasModel(t_spin=67.4 * u.K), GasSigmas(t_spin=10 * u.K, delta_t=0.01 * u.K)),
        (GasModel(p=0.5, t_spin=14 * u.K), GasSigmas(t_unabsorbed=10 * u.K)),
        (GasModel(p=0.5, t_spin=14 * u.K), GasSigmas(p=0.1)),
    ],
)
def test_saturation_knows_of_all_that_is_uncertain(model, sigmas):
    assert of(sigmas, model).gas.flagged(GasFlag.SATURATED)


def test_small_shares_and_depths_have_errors_too():
    errors = propagate(
        GasModel(p=1e-5, t_spin=3 * u.K), -42 * u.K, 104 * u.K, GasSigmas(p=0.1), t_continuum=80 * u.K
    )
    assert_allclose(errors.tau, 0.1 * 104 * 42 / (77 * 35), rtol=1e-3)


def test_the_share_of_cold_atoms_may_be_uncertain():
    model = GasModel(pressure=replace(PRESSURE, fraction=0.5))
    of_fraction = of(GasSigmas(fraction=0.05), model)
    of_pressure = of(GasSigmas(p_over_k=400 * u.K / u.cm**3), model)
    assert_allclose(of_fraction.t_spin.value, of_pressure.t_spin.value, rtol=1e-3)


def test_what_contradicts_itself_is_refused():
    with pytest.raises(ParameterError, match="sigma of delta_t is below that of t_unabsorbed"):
        GasSigmas(delta_t=1 * u.K, t_unabsorbed=3 * u.K)
    with pytest.raises(ParameterError, match="linewidth is that of the model's pressure; leave it out"):
        of(GasSigmas(delta_t=1 * u.K), GasModel(pressure=PRESSURE), linewidth=5 * u.km / u.s)
    with pytest.raises(ParameterError, match="seed must be finite and at least 0, got -1"):
        draw_gas(GasModel(tau=1.0), -42 * u.K, 104 * u.K, GasSigmas(), seed=-1)
