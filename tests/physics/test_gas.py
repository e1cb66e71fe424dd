"""Clouds from any two things that are known, what cannot be, and table 1 of the paper."""

from itertools import combinations

import astropy.units as u
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import brentq

from hisatools.errors import ParameterError, ParameterUnitsError
from hisatools.physics import (
    GasFlag,
    GasModel,
    Pressure,
    column_density,
    delta_t,
    hydrogen_mass,
    intrinsic_linewidth,
    max_kinetic_temperature,
    total_mass,
    volume_density,
)

RANDOM = settings(deadline=None, derandomize=True, max_examples=60)
SKY = {"t_unabsorbed": 104 * u.K, "t_continuum": 5.5 * u.K}


def pressure(length=0.65, width=2.5, **others):
    return Pressure(path_length=length * u.pc, linewidth=width * u.km / u.s, **others)


# --- two of four ----------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [(), ("p",), ("p", "t_spin", "tau"), ("t_spin", "tau", "pressure")])
def test_too_little_or_too_much_is_refused(names):
    known = {"p": 0.8, "t_spin": 40 * u.K, "tau": 1.0, "pressure": pressure()}
    with pytest.raises(ParameterError, match="two of p, t_spin, tau, pressure must be known, got"):
        GasModel(**{name: known[name] for name in names})


@RANDOM
@given(
    spin=st.floats(3, 60),
    tau=st.floats(1e-3, 8),
    p=st.floats(0.7, 1),
    continuum=st.floats(0, 30),
)
def test_any_two_give_back_the_others(spin, tau, p, continuum):
    sky = {"t_unabsorbed": 120 * u.K, "t_continuum": continuum * u.K}
    absorbed = delta_t(spin * u.K, tau, p=p, **sky)
    # A length that makes the pressure right for this cloud.
    length = spin**2 * tau / pressure(1.0).squared_kelvin
    known = {"p": p, "t_spin": spin * u.K, "tau": tau, "pressure": pressure(length)}
    for first, second in combinations(known, 2):
        gas = GasModel(**{first: known[first], second: known[second]}).solve(absorbed, **sky)
        assert gas.flags == 0, (first, second)
        assert_allclose([gas.t_spin.value, gas.tau, gas.p], [spin, tau, p], rtol=1e-6)


@RANDOM
@given(
    depth=st.floats(0.01, 99),
    squared=st.floats(1e-2, 1e6),
)
def test_pressure_has_the_root_that_a_plain_solver_finds(depth, squared):
    """By bisection in ln tau, on the equation as it is written down."""

    def excess(log_tau):
        tau = np.exp(log_tau)
        return (100 - np.sqrt(squared / tau)) * -np.expm1(-tau) - depth

    low = np.log(max(squared / 100**2, -np.log1p(-depth / 100)))
    expected = np.exp(brentq(excess, low - 1e-9, 60, xtol=1e-14, rtol=1e-14))
    length = squared / pressure(1.0).squared_kelvin
    gas = GasModel(pressure=pressure(length), floor=0 * u.K).solve(-depth * u.K, 100 * u.K)
    assert_allclose(gas.tau, expected, rtol=1e-6)
    assert_allclose(gas.t_spin.value, np.sqrt(squared / expected), rtol=1e-6)


# --- what cannot be -------------------------------------------------------------------------------


def test_flags_say_which_bound_failed_and_nothing_is_ever_0():
    depth = np.array([np.nan, 3, 0, -104.0, -106.9, -70, -20]) * u.K
    gas = GasModel(t_spin=40 * u.K).solve(depth, **SKY)
    expected = ["BLANK", "NO_ABSORPTION", "NO_ABSORPTION", "TOO_WARM", "TOO_DEEP", "TOO_WARM"]
    assert [GasFlag(int(flag)).name for flag in gas.flags[:-1]] == expected
    assert gas.flags[-1] == 0 and gas.tau[-1] > 0
    for values in (gas.t_spin.value, gas.tau, gas.p):
        assert np.isnan(values[:-1]).all()
    assert np.isnan(gas.column_density(2 * u.km / u.s)[:-1]).all()


def test_the_floor_is_kept_and_what_was_dropped_is_flagged():
    thin = GasModel(tau=0.45).solve(-42 * u.K, **SKY)
    assert thin.flagged(GasFlag.FLOOR)
    assert thin.t_spin == 2.7 * u.K
    assert_allclose(delta_t(thin.t_spin, thin.tau, **SKY).value, -42, rtol=1e-12)
    sparse = GasModel(pressure=pressure(fraction=1e-3)).solve(-42 * u.K, **SKY)
    assert sparse.flagged(GasFlag.FLOOR) and sparse.t_spin == 2.7 * u.K


@pytest.mark.parametrize(
    "known",
    [
        {"tau": -1.0},
        {"tau": 0.0},
        {"t_spin": -20 * u.K},
        {"t_spin": 1 * u.K},
        {"t_spin": 0 * u.K, "pressure": pressure()},
        {"tau": 1e3, "pressure": pressure()},
    ],
)
def test_gas_that_cannot_be_is_flagged(known):
    gas = GasModel(**known).solve(-42 * u.K, **SKY)
    assert gas.flags == GasFlag.UNPHYSICAL
    assert np.isnan([gas.t_spin.value, gas.tau, gas.p]).all()


def test_a_sky_that_cannot_be_is_flagged():
    gas = GasModel(t_spin=40 * u.K).solve(-42 * u.K, [-50, 104] * u.K, t_continuum=[200, -3] * u.K)
    assert (gas.flags == GasFlag.UNPHYSICAL).all()


def test_what_is_masked_is_not_known():
    from astropy.utils.masked import Masked

    absorbed = Masked([-42, -42] * u.K, mask=[False, True])
    gas = GasModel(t_spin=40 * u.K).solve(absorbed, **SKY)
    assert gas.flags[0] == 0 and gas.flags[1] == GasFlag.BLANK


@pytest.mark.parametrize(
    ("known", "message"),
    [
        ({"pressure": 4000 * u.K / u.cm**3}, "pressure must be a Pressure, got"),
        ({"tau": 5 * u.K}, "tau needs a unit of"),
        ({"t_spin": 40}, "t_spin needs a unit of K, got 40"),
        ({"t_spin": 40 * u.K, "p": 2}, "p must be above 0 and at most 1, got 2"),
        ({"t_spin": 40 * u.K, "floor": -5 * u.K}, "floor must be finite and at least 0 K, got -5 K"),
    ],
)
def test_what_cannot_be_known_is_refused_when_it_is_said(known, message):
    with pytest.raises(ParameterError, match=message):
        GasModel(**known)


@pytest.mark.parametrize("spin", [10, 100])
def test_a_share_behind_that_cannot_be_is_flagged(spin):
    gas = GasModel(t_spin=spin * u.K, tau=1.0).solve([-42, -3] * u.K, 60 * u.K, t_continuum=[0, 30] * u.K)
    expected = {10: [GasFlag.BEHIND, GasFlag.BEHIND], 100: [GasFlag.BEHIND] * 2}[spin]
    assert_array_equal(gas.flags, expected)
    assert np.isnan(gas.p).all()


def test_p_may_be_a_map_and_pressure_another():
    p = np.array([[0.8, 0.9, 1.0]])
    lengths = [[0.5], [0.7]] * u.pc
    model = GasModel(p=p, pressure=Pressure(path_length=lengths, linewidth=2.5 * u.km / u.s))
    gas = model.solve(np.full((4, 2, 3), -30.0) * u.K, **SKY)
    assert gas.tau.shape == (4, 2, 3)
    alone = GasModel(p=0.9, pressure=pressure(0.7)).solve(-30 * u.K, **SKY)
    assert_allclose(gas.tau[2, 1, 1], alone.tau)
    assert gas.t_spin[0, 0, 0] < gas.t_spin[0, 0, 2], "more behind, warmer gas"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"path_length": 0 * u.pc}, "path_length must be finite and above 0 pc, got 0 pc"),
        ({"linewidth": np.inf * u.km / u.s}, "linewidth must be finite and above 0 km / s"),
        ({"p_over_k": -1 * u.K / u.cm**3}, "p_over_k must be finite and above 0"),
        ({"fraction": 1.5}, "fraction must be above 0 and at most 1, got 1.5"),
        ({"line": "box"}, "unknown line 'box'; known: 'gaussian', 'channel'"),
    ],
)
def test_a_pressure_that_cannot_be_is_refused(changes, message):
    with pytest.raises(ParameterError, match=message):
        Pressure(**{"path_length": 1 * u.pc, "linewidth": 2 * u.km / u.s} | changes)


def test_units_are_needed():
    with pytest.raises(ParameterUnitsError, match="path_length needs a unit of pc, got"):
        Pressure(path_length=0.6, linewidth=2 * u.km / u.s)
    with pytest.raises(ParameterUnitsError, match="t_unabsorbed needs a unit of K"):
        GasModel(t_spin=40 * u.K).solve(-42 * u.K, 104)


# --- amounts --------------------------------------------------------------------------------------


def test_a_column_is_the_sum_over_its_channels():
    """A Gaussian of optical depth, summed over narrow channels."""
    width, step = 3.0, 0.01
    offset = np.arange(-12, 12, step)
    tau = 0.8 * np.exp(-4 * np.log(2) * (offset / width) ** 2)
    channels = column_density(40 * u.K, tau, step * u.km / u.s, line="channel").sum()
    line = column_density(40 * u.K, 0.8, width * u.km / u.s)
    assert_allclose(channels.value, line.value, rtol=1e-6)
    with pytest.raises(ParameterError, match="unknown line 'box'"):
        column_density(40 * u.K, 0.8, width * u.km / u.s, line="box")


def test_a_column_over_its_length_is_the_density_of_the_pressure():
    gas = GasModel(pressure=pressure()).solve(-42 * u.K, **SKY)
    column = gas.column_density(2.5 * u.km / u.s)
    density = volume_density(column, 0.65 * u.pc)
    assert_allclose(density.value, pressure().density(gas.t_spin).value, rtol=1e-9)
    assert_allclose((density * gas.t_spin).value, 4000, rtol=1e-9)


def test_a_line_as_narrow_as_its_channel_has_no_width():
    channel = 0.82 * u.km / u.s
    widths = intrinsic_linewidth([0.5, 0.9, 8] * u.km / u.s, channel).value
    assert np.isnan(widths[0])
    assert 0 < widths[1] < 0.9 and 7.9 < widths[2] < 8


@pytest.mark.parametrize("fwhm", [1.5, 2.5, 5.0])
def test_a_gaussian_seen_through_channels_has_its_own_width_back(fwhm):
    fine = np.arange(-20, 20, 0.01)
    line = np.exp(-4 * np.log(2) * (fine / fwhm) ** 2)
    seen = np.convolve(line, np.ones(82) / 82, "same")
    above = fine[seen >= seen.max() / 2]
    found = intrinsic_linewidth((above[-1] - above[0]) * u.km / u.s, 0.82 * u.km / u.s)
    assert_allclose(found.value, fwhm, rtol=0.012)


def test_the_kinetic_temperature_of_a_linewidth_is_that_of_its_standard_deviation():
    """m sigma^2 = k T: 121 K for 1 km/s."""
    fwhm = np.sqrt(8 * np.log(2)) * u.km / u.s
    assert_allclose(max_kinetic_temperature(fwhm).value, 121.2, rtol=1e-3)
    assert_allclose(max_kinetic_temperature([1000, 2000] * u.m / u.s).value, [21.86, 87.44], rtol=1e-3)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: column_density(-20 * u.K, 1.0, 2 * u.km / u.s), "t_spin"),
        (lambda: column_density(20 * u.K, [1.0, -0.1], 2 * u.km / u.s), "tau"),
        (lambda: column_density(20 * u.K, 1.0, -2 * u.km / u.s), "linewidth"),
        (lambda: volume_density([1e20, -1e18] / u.cm**2, 1 * u.pc), "column"),
        (lambda: volume_density(1e20 / u.cm**2, -1 * u.pc), "path_length"),
        (lambda: hydrogen_mass(-1e18 / u.cm**2, 1 * u.pc**2), "column"),
        (lambda: hydrogen_mass(1e18 / u.cm**2, -1 * u.pc**2), "area"),
        (lambda: total_mass(-1 * u.solMass, 0.5), "mass"),
        (lambda: intrinsic_linewidth(-2 * u.km / u.s, 0.8 * u.km / u.s), "observed"),
        (lambda: max_kinetic_temperature(-2 * u.km / u.s), "linewidth"),
    ],
)
def test_amounts_below_0_are_refused_by_name(call, name):
    with pytest.raises(ParameterError, match=f"^{name} must not be negative, got -"):
        call()


@pytest.mark.parametrize(
    "call",
    [
        lambda: column_density(20 * u.cm, 1.0, 2 * u.km / u.s),
        lambda: column_density(20 * u.K, 1.0, 2 * u.K * u.km / u.s),
        lambda: volume_density(1e20 * u.K * u.km / u.s, 1 * u.pc),
        lambda: volume_density(1e20 / u.cm**2, 1 * u.arcmin),
        lambda: hydrogen_mass(1e20 / u.cm**2, 1 * u.arcmin**2),
        lambda: total_mass(3.0, 0.5),
    ],
)
def test_amounts_need_their_units(call):
    with pytest.raises(ParameterUnitsError, match="needs a unit of"):
        call()


def test_amounts_of_what_is_not_known_are_not_known():
    columns = np.array([np.nan, 0, 1e20]) / u.cm**2
    assert_allclose(np.isnan(volume_density(columns, 1 * u.pc)), [True, False, False])
    assert np.isnan(volume_density(columns, 0 * u.pc)).all()
    assert np.isnan(hydrogen_mass(columns, 1 * u.pc**2)[0])


# --- table 1 of the paper -------------------------------------------------------------------------

# Path lengths at both ends of the range, areas and linewidths are those that the table implies: they are
# not printed. T_C = 5.5 K, P/k = 4000 K cm^-3. Columns: T_S [K], tau, N [1e20 cm^-2], n [cm^-3], M [Msun],
# as printed, with one unit of their last digit.
TABLE = {
    "Complex, Paper I": (
        -38,
        107,
        4.45,
        (1.17, 12.1),
        (3.60, 19.2),
        [(45, 0.83, 3.2, 89, 31), (61, 1.37, 7.3, 65, 111)],
    ),
    "Complex, revised": (
        -28,
        99,
        4.45,
        (1.21, 13.2),
        (3.54, 19.2),
        [(49, 0.71, 3.0, 81, 32), (65, 1.22, 6.8, 62, 106)],
    ),
    "Globule, Paper I": (
        -65,
        112,
        2.5,
        (0.58, 0.3364),
        (0.73, 0.5329),
        [(32, 1.43, 2.2, 124, 0.60), (35, 1.54, 2.6, 115, 1.09)],
    ),
    "Globule, revised": (
        -42,
        104,
        2.5,
        (0.60, 0.36),
        (0.70, 0.49),
        [(41, 0.94, 1.8, 99, 0.53), (43, 0.99, 2.0, 94, 0.80)],
    ),
}
LAST_DIGIT = (1, 0.01, 0.1, 1)
# tau, N [1e20], n, M, N_tot [1e20], n_tot, M_tot for f_n = 0.01.
MAXIMUM = {
    "Complex, Paper I": (7.0, 1.7, 15, 26, 170, 1500, 5200),
    "Complex, revised": (6.9, 1.6, 15, 25, 160, 1500, 5000),
    "Globule, Paper I": (2.5, 0.33, 15, 0.14, 33, 1500, 28),
    "Globule, revised": (2.4, 0.32, 15, 0.12, 32, 1500, 25),
}


@pytest.mark.parametrize("name", TABLE)
@pytest.mark.parametrize("end", [0, 1], ids=["short", "long"])
def test_table_1_of_the_paper(name, end):
    depth, unabsorbed, width, *ends, printed = TABLE[name]
    length, area = ends[end]
    gas = GasModel(p=1, pressure=pressure(length, width)).solve(
        depth * u.K, unabsorbed * u.K, t_continuum=5.5 * u.K
    )
    column = gas.column_density(width * u.km / u.s)
    found = [gas.t_spin.value, gas.tau, column.value / 1e20, volume_density(column, length * u.pc).value]
    for value, expected, digit in zip(found, printed[end], LAST_DIGIT, strict=False):
        assert abs(value - expected) <= digit, (value, expected)
    assert_allclose(hydrogen_mass(column, area * u.pc**2).value, printed[end][4], rtol=0.05)


@pytest.mark.parametrize("name", TABLE)
def test_table_1_of_the_paper_for_the_largest_mass(name):
    """T_S at the floor, f_n = 0.01: the share behind is what comes out."""
    depth, unabsorbed, width, _, (length, area), _ = TABLE[name]
    mixed = pressure(length, width, fraction=0.01)
    gas = GasModel(t_spin=2.7 * u.K, pressure=mixed).solve(
        depth * u.K, unabsorbed * u.K, t_continuum=5.5 * u.K
    )
    assert 0 < gas.p < 1
    column = gas.column_density(width * u.km / u.s)
    density = volume_density(column, length * u.pc).value
    tau, n_20, n, mass, total_20, total_n, total = MAXIMUM[name]
    digits = 0.01 if n_20 < 1 else 0.1
    assert abs(gas.tau - tau) <= 0.1
    assert abs(column.value / 1e20 - n_20) <= digits
    assert abs(column.value / 1e18 - total_20) <= 100 * digits
    assert abs(density - n) <= 1 and abs(100 * density - total_n) <= 100
    own = hydrogen_mass(column, area * u.pc**2)
    assert_allclose(own.value, mass, rtol=0.05)
    assert_allclose(total_mass(own, 0.01).value, total, rtol=0.05)
