"""Radiative transfer there and back, and where no cloud is possible."""

import astropy.units as u
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from hisatools.errors import ParameterError, ParameterUnitsError
from hisatools.physics import (
    delta_t,
    max_spin_temperature,
    min_background_fraction,
    min_optical_depth,
    optical_depth,
    spin_temperature,
)

RANDOM = settings(deadline=None, derandomize=True, max_examples=60)
clouds = given(
    spin=st.floats(1, 60),
    tau=st.floats(1e-6, 12),
    unabsorbed=st.floats(62, 200),
    continuum=st.floats(0, 50),
)


@RANDOM
@clouds
def test_absorption_gives_back_the_cloud_that_made_it(spin, tau, unabsorbed, continuum):
    sky = {"t_unabsorbed": unabsorbed * u.K, "t_continuum": continuum * u.K}
    absorbed = delta_t(spin * u.K, tau, **sky)
    assert absorbed < 0
    assert_allclose(optical_depth(absorbed, spin * u.K, **sky), tau, rtol=1e-8)
    assert_allclose(spin_temperature(absorbed, tau, **sky).value, spin, rtol=1e-8)


def test_layers_added_up_one_by_one_give_the_same_absorption():
    """Foreground, cloud, background and continuum; the cube is continuum-subtracted."""
    foreground, behind, continuum, spin, tau = 30.0, 70.0, 8.0, 40.0, 0.7
    on = foreground + spin * (1 - np.exp(-tau)) + (behind + continuum) * np.exp(-tau) - continuum
    off = foreground + behind
    found = delta_t(spin * u.K, tau, off * u.K, p=behind / off, t_continuum=continuum * u.K)
    assert_allclose(found.value, on - off, rtol=1e-12)


@RANDOM
@clouds
def test_limits_bound_the_cloud(spin, tau, unabsorbed, continuum):
    sky = {"t_unabsorbed": unabsorbed * u.K, "t_continuum": continuum * u.K}
    absorbed = delta_t(spin * u.K, tau, **sky)
    assert max_spin_temperature(absorbed, **sky).value >= spin - 1e-9
    assert min_optical_depth(absorbed, **sky) <= tau * (1 + 1e-9)
    assert min_background_fraction(absorbed, spin * u.K, **sky) <= 1


def test_an_opaque_cloud_is_at_its_limits():
    sky = {"t_unabsorbed": 100 * u.K, "t_continuum": 5 * u.K}
    absorbed = delta_t(30 * u.K, 40, p=0.8, **sky)
    assert_allclose(max_spin_temperature(absorbed, p=0.8, **sky).value, 30, rtol=1e-12)
    assert_allclose(min_background_fraction(absorbed, 30 * u.K, **sky), 0.8, rtol=1e-12)


@pytest.mark.parametrize(
    ("absorbed", "why"),
    [(0, "no absorption"), (5, "emission"), (-60, "opaque"), (-80, "too deep"), (np.nan, "blank")],
)
def test_what_no_cloud_can_make_is_nan(absorbed, why):
    """Behind lies 100 K, and the cloud has 40 K."""
    assert np.isnan(optical_depth(absorbed * u.K, 40 * u.K, 100 * u.K)), why


def test_too_thin_a_cloud_cannot_absorb_much():
    assert np.isnan(spin_temperature(-50 * u.K, 0.1, 100 * u.K))
    assert np.isnan(spin_temperature(-50 * u.K, 0.0, 100 * u.K))
    assert np.isnan(spin_temperature(-50 * u.K, -1.0, 100 * u.K))


def test_continuum_alone_may_be_enough():
    assert min_background_fraction(-20 * u.K, 10 * u.K, 100 * u.K, t_continuum=40 * u.K) == 0


def test_millikelvin_are_kelvin_and_shapes_go_together():
    absorbed = np.full((4, 1, 1), -20.0) * u.K
    spin = np.array([[20, 30, 40]]) * u.K
    found = optical_depth(absorbed.to(u.mK), spin.to(u.mK), 1e5 * u.mK, p=np.full((2, 1), 0.9))
    assert found.shape == (4, 2, 3)
    assert_allclose(found[0], optical_depth(-20 * u.K, spin, 100 * u.K, p=0.9) * np.ones((2, 1)))


@pytest.mark.parametrize("value", [-42, -42 * u.km, [1, 2]])
def test_a_missing_unit_is_named(value):
    with pytest.raises(ParameterUnitsError, match=r"delta_t needs a unit of K, got .*; write for example"):
        optical_depth(value, 40 * u.K, 100 * u.K)


@pytest.mark.parametrize("p", [0, -0.1, 1.01, np.inf])
def test_a_share_is_above_0_and_at_most_1(p):
    with pytest.raises(ParameterError, match="p must be above 0 and at most 1, got"):
        optical_depth(-20 * u.K, 40 * u.K, 100 * u.K, p=p)


def test_shapes_that_do_not_go_together_are_shown():
    with pytest.raises(ParameterError, match=r"delta_t \(3,\), t_spin \(2,\)"):
        optical_depth([-20] * 3 * u.K, [40, 50] * u.K, 100 * u.K)
