"""Grids over spin temperature and share behind."""

import astropy.units as u
import numpy as np
import pytest
from numpy.testing import assert_allclose

from hisatools.errors import ParameterError
from hisatools.physics import GasModel, column_density, gas_grid

WIDTH = 2.5 * u.km / u.s
SPIN, SHARE = np.linspace(5, 90, 40) * u.K, np.linspace(0.3, 1, 30)


def grid(depth=-42, **changes):
    known = {"t_spin": SPIN, "p": SHARE, "t_continuum": 5.5 * u.K} | changes
    return gas_grid(depth * u.K, 104 * u.K, WIDTH, **known)


def test_each_point_is_the_gas_of_its_own():
    whole = grid()
    for i, k in [(29, 0), (20, 10), (29, 20), (5, 39)]:
        alone = GasModel(t_spin=SPIN[k], p=SHARE[i]).solve(-42 * u.K, 104 * u.K, t_continuum=5.5 * u.K)
        assert_allclose(whole.gas.tau[i, k], alone.tau)
        expected = column_density(SPIN[k], alone.tau, WIDTH)
        assert_allclose(whole.column_density[i, k].value, expected.value)


def test_warmer_gas_and_less_behind_need_more_depth_until_none_is_possible():
    tau = grid().gas.tau
    assert np.isnan(tau).any() and np.isfinite(tau).any()
    for along in (np.diff(tau, axis=1), -np.diff(tau, axis=0)):
        assert (along[np.isfinite(along)] > 0).all()


def test_the_picture_shows_both_and_where_nothing_is_possible():
    ax = grid().plot()
    assert ax.get_xlabel() and ax.get_ylabel()
    (mesh,) = ax.collections[:1]
    assert np.ma.getmaskarray(np.ma.masked_invalid(mesh.get_array())).any()
    assert "no gas can make this absorption" in grid(depth=-300).plot().texts[0].get_text()


def test_thin_gas_and_small_grids_are_drawn_too():
    assert grid(depth=-0.01).plot().collections
    assert grid(t_spin=[20, 30] * u.K, p=[0.9, 1]).plot().collections


@pytest.mark.parametrize("changes", [{"p": [0.9]}, {"p": [1, 0.5]}, {"t_spin": [[10, 20]] * u.K}])
def test_a_grid_needs_ascending_values(changes):
    with pytest.raises(ParameterError, match="must be two ascending values or more"):
        grid(**changes)
