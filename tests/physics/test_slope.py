"""Optical depth from a varying continuum."""

import astropy.units as u
import numpy as np
import pytest

from hisatools.errors import InputError
from hisatools.physics import delta_t, fit_continuum_slope

CONTINUUM = np.linspace(3, 30, 25)


def noisy(seed, sigma=2.0):
    truth = delta_t(35 * u.K, 0.8, 100 * u.K, p=0.7, t_continuum=CONTINUUM * u.K)
    return truth + np.random.default_rng(seed).normal(0, sigma, CONTINUUM.size) * u.K


@pytest.mark.parametrize("told", [True, False])
def test_uncertainties_are_those_of_many_fits(told):
    sigma = 2 * u.K if told else None
    fits = [fit_continuum_slope(noisy(seed), CONTINUUM * u.K, sigma_delta_t=sigma) for seed in range(400)]
    for name, truth in (("tau", 0.8), ("offset", 35 - 70.0)):
        values = np.array([u.Quantity(getattr(one, name)).value for one in fits])
        stated = np.median([u.Quantity(getattr(one, f"sigma_{name}")).value for one in fits])
        assert abs(np.median(values) - truth) < 3 * stated / np.sqrt(400) + 0.02 * abs(truth)
        assert 0.85 < stated / (np.subtract(*np.percentile(values, [84.1, 15.9])) / 2) < 1.15


def test_uncertain_sight_lines_count_little():
    wrong = noisy(1, sigma=0.01)
    wrong[-1] += 30 * u.K
    sigma = np.full(CONTINUUM.size, 0.01)
    sigma[-1] = 100
    assert abs(fit_continuum_slope(wrong, CONTINUUM * u.K, sigma_delta_t=sigma * u.K).tau - 0.8) < 0.01


def test_blank_sight_lines_are_left_out():
    absorbed = noisy(1)
    absorbed[3] = np.nan
    found = fit_continuum_slope(absorbed, CONTINUUM * u.K)
    assert found.n_sight_lines == CONTINUUM.size - 1
    assert found.tau == fit_continuum_slope(np.delete(absorbed, 3), np.delete(CONTINUUM, 3) * u.K).tau


@pytest.mark.parametrize("slope", [0.1, -1.2, 0.0])
def test_a_slope_that_no_cloud_makes_is_nan(slope):
    found = fit_continuum_slope((-20 + slope * CONTINUUM) * u.K, CONTINUUM * u.K)
    assert np.isnan(found.tau) and np.isnan(found.offset) and np.isnan(found.sigma_tau)


def test_no_slope_but_rounding_is_no_slope():
    assert np.isnan(fit_continuum_slope([-50, -50, -50] * u.K, [1, 10, 20] * u.K).tau)


def test_a_temperature_below_0_is_not_known():
    slope = fit_continuum_slope(
        delta_t(40 * u.K, 0.9, 100 * u.K, t_continuum=CONTINUUM * u.K), CONTINUUM * u.K
    )
    assert np.isnan(slope.t_spin(50 * u.K)) and abs(slope.t_spin(100 * u.K).value - 40) < 1e-6


@pytest.mark.parametrize("continuum", [[5, 5, 5], [5, np.nan, 6], [np.nan] * 3])
def test_a_slope_needs_sight_lines_that_differ(continuum):
    with pytest.raises(InputError, match=r"t_continuum: a slope needs 3 sight lines or more that differ"):
        fit_continuum_slope([-20, -25, -30] * u.K, continuum * u.K)
