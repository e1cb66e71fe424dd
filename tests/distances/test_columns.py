"""Distances in a catalogue: given ones, kinematic ones, and which velocities they may be told by."""

import astropy.units as u
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from hisatools import HISACatalog
from hisatools.distances import DistanceFlag, kinematic_distance
from hisatools.distances.columns import DISTANCE_COLUMNS
from hisatools.errors import HISAWarning, InputError, ParameterError, ParameterUnitsError

KMS = u.km / u.s


@pytest.fixture
def catalog():
    columns = {"lon": [30.0, 30, 139.6, 30, 140, 30] * u.deg, "lat": [0.0, 0.5, 1.2, 0, 0, 0] * u.deg}
    columns["velocity"] = [50.0, 112, -41, 300, -30, -1] * KMS
    return HISACatalog(columns, meta={"FRAME": "galactic", "SPECSYS": "LSRK"})


def test_kinematic_distances_are_columns(catalog):
    found = catalog.with_distances(curve="flat")
    expected = kinematic_distance(catalog["lon"], catalog["lat"], catalog["velocity"], curve="flat")
    assert type(found) is HISACatalog
    assert_allclose(found["distance"].to_value(u.kpc), expected.near.value)
    assert_allclose(found["distance_error"].to_value(u.kpc), expected.near_error.value)
    assert_array_equal(found["distance_flags"], expected.flags)
    assert list(found["distance_method"]) == ["near", "tangent", "outer", "none", "outer", "local"]
    assert "flat" in found.meta["DISTANCE"] and "7 km / s" in found.meta["DISTANCE"]
    assert "distance" not in catalog.colnames and "DISTANCE" not in catalog.meta


def test_the_far_side_is_chosen(catalog):
    found = catalog.with_distances(curve="flat", side="far")
    assert found["distance"][0] > 11 * u.kpc
    assert list(found["distance_method"]) == ["far", "tangent", "outer", "none", "outer", "outer"]
    near = catalog.with_distances(curve="flat")
    assert_allclose(found["distance"][2].value, near["distance"][2].value)


def test_other_frames_are_turned_to_the_galactic(catalog):
    sky = catalog.coordinates.fk5
    other = catalog.copy()
    other["lon"], other["lat"], other.meta["FRAME"] = sky.ra, sky.dec, "fk5"
    for name in ("distance", "distance_error"):
        assert_allclose(other.with_distances()[name].value, catalog.with_distances()[name].value, rtol=1e-6)


@pytest.mark.parametrize("frame", ["BARYCENT", "HELIOCEN", "LSRD", "TOPOCENT"])
def test_velocities_of_other_frames_are_refused(catalog, frame):
    catalog.meta["SPECSYS"] = frame
    with pytest.raises(InputError, match=f"velocities are in the frame {frame}, and rotation is told"):
        catalog.with_distances()
    assert_allclose(catalog.with_distances(2 * u.kpc)["distance"].value, 2)


@pytest.mark.parametrize("meta", [{}, {"SPECSYS": ""}, {"SPECSYS": None}])
def test_velocities_of_an_unknown_frame_are_doubted(catalog, meta):
    catalog.meta = {"FRAME": "galactic"} | meta
    with pytest.warns(HISAWarning, match="the LSR assumed"):
        catalog.with_distances()


def test_given_distances_win(catalog):
    found = catalog.with_distances(2000 * u.pc, distance_error=0.1 * u.kpc)
    assert_allclose(found["distance"].to_value(u.kpc), 2)
    assert_allclose(found["distance_error"].to_value(u.kpc), 0.1)
    assert set(found["distance_method"]) == {"given"} and not found["distance_flags"].any()
    assert found.meta["DISTANCE"] == "given"
    each = catalog.with_distances([1, 2, np.nan, 4, 5, 6] * u.kpc)
    assert list(each["distance_method"][:3]) == ["given", "given", "none"]
    assert np.isnan(each["distance_error"]).all()


def test_a_column_can_hold_the_distance(catalog):
    catalog["d_co"], catalog["e_co"] = np.arange(1.0, 7) * u.kpc, np.full(6, 300.0) * u.pc
    found = catalog.with_distances("d_co", distance_error="e_co")
    assert_allclose(found["distance"].value, np.arange(1, 7))
    assert_allclose(found["distance_error"].value, 0.3)
    assert found.meta["DISTANCE"] == "given: column d_co"


def test_distances_are_replaced_by_better_ones(catalog):
    twice = catalog.with_distances(curve="flat").with_distances(1 * u.kpc)
    assert_allclose(twice["distance"].value, 1)
    assert twice.colnames.count("distance") == 1 and twice.meta["DISTANCE"] == "given"


def test_no_rows_have_the_columns(catalog):
    for found in (catalog[:0].with_distances(), catalog[:0].with_distances(1 * u.kpc)):
        assert len(found) == 0 and set(DISTANCE_COLUMNS) <= set(found.colnames)
        assert found["distance"].unit == u.kpc


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"distance": 2}, ParameterUnitsError, "distance needs a unit of kpc"),
        ({"distance": -2 * u.kpc}, ParameterError, "must be 0 or above"),
        ({"distance": np.nan * u.kpc}, ParameterError, "must be finite and above 0, got nan kpc"),
        ({"distance": np.inf * u.kpc}, ParameterError, "must be finite and above 0"),
        ({"distance": 0 * u.kpc}, ParameterError, "must be finite and above 0"),
        ({"distance": [1, 2] * u.kpc}, ParameterError, "one for each of the 6 rows"),
        ({"distance": "none"}, InputError, "has no column 'none'"),
        ({"distance": "velocity"}, ParameterUnitsError, "distance needs a unit of kpc"),
        ({"distance_error": 1 * u.kpc}, ParameterError, "none is given"),
        ({"side": "both"}, ParameterError, "side must be"),
    ],
)
def test_bad_arguments_are_named(catalog, arguments, error, message):
    with pytest.raises(error, match=message):
        catalog.with_distances(**arguments)


def test_flags_survive_a_file(catalog, tmp_path):
    catalog.with_distances().write(tmp_path / "catalog.ecsv")
    again = HISACatalog.read(tmp_path / "catalog.ecsv")
    assert again["distance_flags"][0] == DistanceFlag.TWO_FOLD
    assert list(again["distance_method"]) == list(catalog.with_distances()["distance_method"])
