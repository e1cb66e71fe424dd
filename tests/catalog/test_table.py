"""HISACatalog is a QTable, and stays one of its kind whatever is done to it."""

import copy
import pickle

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import QTable, Table, hstack, join, vstack
from numpy.testing import assert_allclose, assert_array_equal

import hisatools
from hisatools import HISACatalog, HISAResult
from hisatools.datasets import example_result
from hisatools.errors import InputError, ParameterError, ParameterUnitsError


@pytest.fixture(scope="module")
def catalog():
    return example_result().catalog


def sorted_by_depth(catalog):
    catalog = catalog.copy()
    catalog.sort("delta_t_peak")
    return catalog


KEPT = {
    "slice": lambda catalog: catalog[1:3],
    "mask": lambda catalog: catalog[catalog["n_voxels"] > 100],
    "rows": lambda catalog: catalog[[3, 1]],
    "columns": lambda catalog: catalog["name", "lon", "lat"],
    "none": lambda catalog: catalog[:0],
    "copy": lambda catalog: catalog.copy(),
    "deepcopy": copy.deepcopy,
    "pickle": lambda catalog: pickle.loads(pickle.dumps(catalog)),
    "sort": sorted_by_depth,
    "vstack": lambda catalog: vstack([catalog[:2], catalog[2:]]),
    "hstack": lambda catalog: hstack([catalog, QTable({"extra": np.arange(len(catalog))})]),
    "join": lambda catalog: join(catalog, QTable({"id": [1, 2], "extra": [3, 4]}), keys="id"),
    "group": lambda catalog: catalog.group_by("edge"),
    "of a table": lambda catalog: HISACatalog(QTable(catalog)),
}


@pytest.mark.parametrize("what", KEPT)
def test_what_is_made_of_a_catalogue_is_one_with_its_meta(catalog, what):
    made = KEPT[what](catalog)
    assert type(made) is HISACatalog
    assert made.meta == catalog.meta
    assert isinstance(made["lon"], u.Quantity)
    assert made["lon"].info.description == catalog["lon"].info.description
    assert isinstance(made, QTable)


def test_it_is_public_and_of_a_result(catalog):
    assert "HISACatalog" in hisatools.__all__
    assert type(catalog) is HISACatalog


def test_files_give_a_catalogue(catalog, tmp_path):
    example_result().write(tmp_path / "out")
    again = HISAResult.read(tmp_path / "out").catalog
    assert type(again) is type(HISACatalog.read(tmp_path / "out" / "catalog.ecsv")) is HISACatalog
    assert again.meta == catalog.meta
    assert_array_equal(again["lon"], catalog["lon"])


def test_coordinates_are_those_of_the_columns(catalog):
    sky = catalog.coordinates
    assert sky.frame.name == "galactic"
    assert_allclose(sky.l.deg, catalog["lon"].value)
    assert_allclose(sky.b.deg, catalog["lat"].value)


def test_coordinates_need_a_frame(catalog):
    bare = catalog.copy()
    del bare.meta["FRAME"]
    with pytest.raises(InputError, match=r"set meta\['FRAME'\]"):
        assert bare.coordinates


def test_features_about_a_place_come_nearest_first(catalog):
    place = catalog.coordinates[2].fk5
    near = catalog.features_at(place, 10 * u.arcmin)
    separation = near.coordinates.separation(place)
    assert near["name"][0] == catalog["name"][2]
    assert 1 < len(near) < len(catalog)
    assert (np.diff(separation) > 0).all()
    assert separation.max() < 10 * u.arcmin
    assert len(near) == (catalog.coordinates.separation(place) < 10 * u.arcmin).sum()


def test_features_about_a_place_may_be_those_of_a_velocity(catalog):
    place, velocity = catalog.coordinates[0], catalog["velocity"][0]
    found = catalog.features_at(place, 2 * u.deg, velocity=velocity, max_velocity_difference=2 * u.km / u.s)
    assert list(found["name"]) == [catalog["name"][0]]
    assert len(catalog.features_at(SkyCoord(0, 0, unit="deg", frame="galactic"), 1 * u.deg)) == 0


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (((140, 0), 1 * u.deg), ParameterError, "position must be one SkyCoord"),
        ((SkyCoord([1], [2], unit="deg"), 1 * u.deg), ParameterError, "position must be one SkyCoord"),
        ((SkyCoord(1, 2, unit="deg"), 1), ParameterUnitsError, "radius needs a unit of arcmin"),
        ((SkyCoord(1, 2, unit="deg"), -1 * u.deg), ParameterError, "radius must be 0 or above"),
    ],
)
def test_places_are_checked(catalog, arguments, error, message):
    with pytest.raises(error, match=message):
        catalog.features_at(*arguments)
    with pytest.raises(ParameterError, match="go together"):
        catalog.features_at(catalog.coordinates[0], 1 * u.deg, velocity=3 * u.km / u.s)


def test_a_plain_table_can_be_made_of_it(catalog):
    assert type(Table(catalog)) is Table
