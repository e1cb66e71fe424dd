import astropy.units as u
import numpy as np
import pytest
from astropy.table import Table

from hisatools.datasets import example_model, example_result, load_lab_profiles

LONGITUDES = (5, 10, 20)


def at(table, velocity):
    return int(np.flatnonzero(table["velocity"] == velocity * u.km / u.s)[0])


def test_velocity_is_a_regular_ascending_axis_in_km_s():
    velocity = load_lab_profiles()["velocity"]
    assert velocity.unit == u.km / u.s
    np.testing.assert_array_equal(velocity.value, np.arange(-150, 151))


@pytest.mark.parametrize("longitude", LONGITUDES)
def test_every_profile_is_complete_in_kelvin_and_described(longitude):
    profile = load_lab_profiles()[f"t_l{longitude}"]
    assert profile.unit == u.K
    assert np.isfinite(profile.value).all()
    assert f"l = {longitude} deg" in profile.info.description


@pytest.mark.parametrize(("longitude", "left", "dip", "right"), [(5, 0, 7, 11), (10, 2, 7, 12)])
def test_riegel_crutcher_cloud_is_a_dip_of_more_than_50_k(longitude, left, dip, right):
    table = load_lab_profiles()
    left, dip, right = (table[f"t_l{longitude}"][at(table, v)] for v in (left, dip, right))
    assert min(left, right) - dip > 50 * u.K


def test_says_whom_to_cite():
    assert "Kalberla et al. 2005" in load_lab_profiles().meta["citation"]


def test_numbers_are_those_of_the_survey_file(shared_data):
    path = shared_data / "spectra" / "lab_b0_profiles.csv"
    whole = Table.read(path, format="ascii.csv", comment="#")
    part = whole[np.abs(whole["v_lsr_kms"]) <= 150]
    shipped = load_lab_profiles()
    for longitude in LONGITUDES:
        np.testing.assert_array_equal(shipped[f"t_l{longitude}"].value, part[f"T_l{longitude}_K"])


def test_each_call_returns_a_table_of_its_own():
    load_lab_profiles()["t_l5"][0] = 999 * u.K
    assert load_lab_profiles()["t_l5"][0] < 1 * u.K


def test_the_example_holds_features_that_are_really_there():
    model, result = example_model(), example_result()
    assert len(result.catalog) == 5
    assert (result.mask & model.mask).sum() > 0.9 * result.n_accepted
