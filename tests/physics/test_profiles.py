"""One spin temperature for all channels of a cloud."""

import astropy.units as u
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import brentq

from hisatools.errors import ParameterError
from hisatools.physics import (
    GasFlag,
    GasModel,
    Pressure,
    column_density,
    delta_t,
    solve_profiles,
    volume_density,
)

CHANNEL = 0.4 * u.km / u.s
VELOCITY = np.arange(-20, 21) * 0.4


def model(length=0.65, **others):
    pressure = Pressure(path_length=length * u.pc, linewidth=CHANNEL, line="channel")
    return GasModel(pressure=pressure, **others)


def line(tau, fwhm=2.5):
    return tau * np.exp(-4 * np.log(2) * (VELOCITY / fwhm) ** 2)


def test_a_gaussian_line_has_the_temperature_that_its_peak_has():
    """The sum over a Gaussian of optical depth is that of its peak and FWHM."""
    peak = Pressure(path_length=0.65 * u.pc, linewidth=2.5 * u.km / u.s)
    alone = GasModel(pressure=peak).solve(-42 * u.K, 104 * u.K)
    absorbed = delta_t(alone.t_spin, line(alone.tau), 104 * u.K)
    whole = solve_profiles(model(), absorbed, 104 * u.K)
    assert_allclose(whole.t_spin[20].value, alone.t_spin.value, rtol=1e-4)
    assert_allclose(whole.tau, line(alone.tau), rtol=1e-3)


def test_each_sight_line_has_the_root_that_a_plain_solver_finds():
    rng = np.random.default_rng(6400)
    depth = rng.uniform(-3, 50, (9, 4, 5))
    depth[rng.random(depth.shape) < 0.1] = np.nan
    unabsorbed = rng.uniform(70, 130, (9, 1, 5))
    lengths = rng.uniform(0.02, 0.3, (4, 5))
    p = rng.uniform(0.8, 1, (4, 5))
    found = solve_profiles(model(lengths, p=p), -depth * u.K, unabsorbed * u.K, t_continuum=4 * u.K)
    squared = Pressure(path_length=1 * u.pc, linewidth=CHANNEL, line="channel").squared_kelvin
    for y, x in np.ndindex(4, 5):
        use = depth[:, y, x] > 0
        d, behind = depth[use, y, x], p[y, x] * unabsorbed[use, 0, x] + 4

        def excess(spin, d=d, behind=behind, a=squared * lengths[y, x]):
            return spin**2 * np.sum(-np.log1p(-d / (behind - spin))) - a

        expected = brentq(excess, 1e-6, np.min(behind - d) - 1e-9)
        assert_allclose(found.t_spin[use, y, x].value, expected, rtol=1e-6)


def test_voxels_that_are_no_part_of_the_cloud_are_flagged_and_change_nothing():
    absorbed = delta_t(40 * u.K, line(0.8), 104 * u.K)
    plain = solve_profiles(model(), absorbed, 104 * u.K)
    more = np.concatenate([absorbed.value, [3.0, np.nan, -102.0]]) * u.K
    found = solve_profiles(model(), more, 104 * u.K)
    assert_array_equal(found.flags[-3:], [GasFlag.NO_ABSORPTION, GasFlag.BLANK, GasFlag.TOO_DEEP])
    assert np.isnan(found.tau[-3:]).all() and np.isnan(found.t_spin[-3:]).all()
    assert_allclose(found.tau[:-3], plain.tau, rtol=1e-9)


def test_a_sight_line_without_absorption_is_nan():
    found = solve_profiles(model(), np.full((5, 2), 1.0) * u.K, 104 * u.K)
    assert np.isnan(found.t_spin).all()


def test_the_floor_holds_for_the_whole_line():
    found = solve_profiles(model(1e-4), delta_t(40 * u.K, line(0.8), 104 * u.K), 104 * u.K)
    assert (found.t_spin == 2.7 * u.K).all()
    assert found.flagged(GasFlag.FLOOR).all()


def test_channels_in_reversed_order_give_the_same():
    absorbed = delta_t(40 * u.K, line(0.8), 104 * u.K)
    there, back = (solve_profiles(model(), one, 104 * u.K) for one in (absorbed, absorbed[::-1]))
    assert_allclose(back.t_spin[::-1], there.t_spin)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (GasModel(t_spin=40 * u.K), 'model must know p and pressure with line="channel"'),
        (
            GasModel(pressure=Pressure(path_length=1 * u.pc, linewidth=CHANNEL)),
            'model must know p and pressure with line="channel"',
        ),
        (model(np.linspace(1, 2, 41)), "pressure differs along the first axis"),
    ],
)
def test_a_model_of_other_things_is_refused(wrong, message):
    with pytest.raises(ParameterError, match=message):
        solve_profiles(wrong, delta_t(40 * u.K, line(0.8), 104 * u.K), 104 * u.K)


def test_one_number_is_no_profile():
    with pytest.raises(ParameterError, match="delta_t is one number"):
        solve_profiles(model(), -42 * u.K, 104 * u.K)


@pytest.mark.parametrize("length", [1, 10, 100])
def test_an_opaque_cloud_keeps_its_pressure(length):
    """n T_S is what was asked for, however little is left of the contrast."""
    opaque = [-10, -40, -65, -40, -10] * u.K
    found = solve_profiles(model(length), opaque, 100 * u.K, t_continuum=5 * u.K)
    column = column_density(found.t_spin, found.tau, CHANNEL, line="channel").sum()
    density = volume_density(column, length * u.pc)
    assert_allclose((density * found.t_spin[0]).value, 4000, rtol=1e-6)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0,)])
def test_nothing_gives_nothing(shape):
    assert solve_profiles(model(), np.zeros(shape) * u.K, 100 * u.K).tau.shape == shape


def test_p_may_be_in_per_cent_and_is_checked():
    absorbed = delta_t(40 * u.K, line(0.8), 104 * u.K)
    one, other = (solve_profiles(model(p=p), absorbed, 104 * u.K) for p in (0.9, 90 * u.percent))
    assert_allclose(one.tau, other.tau)
    with pytest.raises(ParameterError, match="p must be above 0 and at most 1, got 2"):
        model(p=2.0)
