"""Counterparts of features: those that a plain loop finds, in any frame, and none where nothing is known."""

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import MaskedColumn, QTable, Table
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from hisatools import HISACatalog
from hisatools.errors import HISAWarning, InputError, ParameterError, ParameterUnitsError

KMS = u.km / u.s


def catalog_of(lon, lat, velocity, frame="galactic"):
    table = {"name": [f"F{n}" for n in range(len(lon))], "lon": lon * u.deg, "lat": lat * u.deg}
    return HISACatalog(table | {"velocity": velocity * KMS}, meta={"FRAME": frame, "SPECSYS": "LSRK"})


@pytest.fixture
def catalog():
    return catalog_of(np.array([140.0, 140.1, 359.99]), np.array([0.0, 0.0, 1.0]), np.array([-40.0, -20, 5]))


@pytest.fixture
def clouds():
    """One at each feature, another nearer to the first at an odd velocity, and one far away."""
    return QTable(
        {
            "l": [140.02, 140.1, 0.01, 140.01, 20.0] * u.deg,
            "b": [0.0, 0.01, 1.0, 0.0, 0.0] * u.deg,
            "vlsr": [-41.0, -20.5, 5.5, 30.0, 0.0] * KMS,
            "t_peak": [5.0, 6.0, 7.0, 8.0, 9.0] * u.K,
            "number": [10, 20, 30, 40, 50],
            "cloud": ["a", "b", "c", "d", "e"],
        }
    )


def test_the_nearest_on_the_sky_is_the_counterpart(catalog, clouds):
    found = catalog.crossmatch(clouds, max_separation=3 * u.arcmin)
    assert type(found) is HISACatalog
    assert_array_equal(found["match_row"], [3, 1, 2])
    assert_allclose(
        found["match_separation"].to_value(u.arcmin), [0.6, 0.6, 1.2 * np.cos(np.radians(1))], rtol=1e-4
    )
    assert_allclose(found["match_velocity_difference"].to_value(KMS), [70, -0.5, 0.5])
    assert_array_equal(found["match_n_candidates"], [2, 1, 1])


def test_velocities_decide_where_a_limit_is_given(catalog, clouds):
    limits = {"max_separation": 3 * u.arcmin, "max_velocity_difference": 2000 * u.m / u.s}
    found = catalog.crossmatch(clouds, **limits)
    assert_array_equal(found["match_row"], [0, 1, 2])
    assert_array_equal(found["match_n_candidates"], [1, 1, 1])
    found = catalog.crossmatch(clouds, max_separation=3 * u.arcmin, max_velocity_difference=0.7 * KMS)
    assert_array_equal(found["match_row"], [-1, 1, 2])
    assert np.isnan(found["match_separation"][0]) and np.isnan(found["match_velocity_difference"][0])


def test_columns_of_the_counterpart_come_along(catalog, clouds):
    limits = {"max_separation": 3 * u.arcmin, "max_velocity_difference": 0.7 * KMS}
    found = catalog.crossmatch(clouds, columns=["t_peak", "number", "cloud"], prefix="co", **limits)
    assert_array_equal(found["co_t_peak"].to_value(u.K), [np.nan, 6, 7])
    assert found["co_number"].tolist() == [None, 20, 30]
    assert found["co_cloud"].tolist() == [None, "b", "c"]
    assert all(found[name].info.description for name in found.colnames if name.startswith("co_"))
    every = catalog.crossmatch(clouds, columns="all", **limits)
    assert {f"match_{name}" for name in clouds.colnames} <= set(every.colnames)


def test_the_catalogue_is_left_as_it_was(catalog, clouds):
    before = catalog.colnames
    catalog.crossmatch(clouds, max_separation=1 * u.deg)
    assert catalog.colnames == before


def named(clouds, kind):
    """The clouds in another frame, under other names, in other units."""
    sky = SkyCoord(clouds["l"], clouds["b"], frame="galactic")
    table = QTable({"VLSR": clouds["vlsr"].to(u.m / u.s)})
    if kind == "mixin":
        table["place"] = sky.fk5
    elif kind == "icrs":
        table["RA"], table["DEC"] = sky.icrs.ra.to(u.rad), sky.icrs.dec.to(u.arcmin)
    elif kind == "vizier":
        table["RAJ2000"] = sky.fk5.ra.to_string(u.hourangle, sep=" ", precision=4)
        table["DEJ2000"] = sky.fk5.dec.to_string(sep=" ", precision=3)
    elif kind == "lon":
        table["lon"], table["lat"] = sky.icrs.ra, sky.icrs.dec
        table.meta["FRAME"] = "icrs"
    elif kind == "_Glon":
        table["_Glon"], table["_Glat"] = sky.l, sky.b
    elif kind == "Table":
        table["GLON"], table["GLAT"] = sky.l, sky.b
        table = Table(table)
    return table


@pytest.mark.parametrize("kind", ["mixin", "icrs", "vizier", "lon", "_Glon", "Table"])
def test_other_names_frames_and_units_say_the_same(catalog, clouds, kind):
    limits = {"max_separation": 3 * u.arcmin, "max_velocity_difference": 2 * KMS}
    expected, found = (catalog.crossmatch(one, **limits) for one in (clouds, named(clouds, kind)))
    assert_array_equal(found["match_row"], expected["match_row"])
    assert_allclose(found["match_separation"].value, expected["match_separation"].value, atol=1e-3)
    assert_allclose(found["match_velocity_difference"].value, expected["match_velocity_difference"].value)


def test_names_can_be_given(catalog, clouds):
    clouds.rename_columns(["l", "b", "vlsr"], ["x", "y", "z"])
    limits = {"max_separation": 3 * u.arcmin, "max_velocity_difference": 2 * KMS}
    found = catalog.crossmatch(clouds, position=("x", "y"), velocity="z", frame="galactic", **limits)
    assert_array_equal(found["match_row"], [0, 1, 2])


def test_a_catalogue_in_right_ascension_matches_galactic_clouds(catalog, clouds):
    sky = catalog.coordinates.icrs
    other = catalog_of(sky.ra.deg, sky.dec.deg, catalog["velocity"].value, frame="icrs")
    assert_array_equal(other.crossmatch(clouds, max_separation=3 * u.arcmin)["match_row"], [3, 1, 2])


def test_what_is_masked_or_nan_matches_nothing(catalog, clouds):
    table = Table(clouds, masked=True)
    table["l"].mask[3] = True
    table["vlsr"].mask[1] = True
    table["b"][2] = np.nan
    found = catalog.crossmatch(table, max_separation=3 * u.arcmin)
    assert_array_equal(found["match_row"], [0, 1, -1])
    found = catalog.crossmatch(table, max_separation=3 * u.arcmin, max_velocity_difference=5 * KMS)
    assert_array_equal(found["match_row"], [0, -1, -1])
    catalog["lon"][0] = np.nan
    assert_array_equal(catalog.crossmatch(table, max_separation=3 * u.arcmin)["match_row"], [-1, 1, -1])


def test_a_masked_value_of_a_counterpart_stays_masked(catalog, clouds):
    clouds["t_peak"] = MaskedColumn([1.0, 2, 3, 4, 5], mask=[False, True, False, False, False], unit=u.K)
    clouds["number"] = MaskedColumn(clouds["number"], mask=[False, False, True, False, False])
    found = catalog.crossmatch(clouds, max_separation=3 * u.arcmin, columns=["t_peak", "number"])
    assert_array_equal(u.Quantity(found["match_t_peak"]).value, [4, np.nan, 3])
    assert found["match_number"].tolist() == [40, 20, None]


@pytest.mark.parametrize("which", ["table", "catalogue", "both"])
def test_no_rows_match_nothing(catalog, clouds, which):
    own = catalog[:0] if which != "table" else catalog
    other = clouds[:0] if which != "catalogue" else clouds
    found = own.crossmatch(other, max_separation=1 * u.deg, columns="all", max_velocity_difference=1 * KMS)
    assert len(found) == len(own)
    assert (found["match_row"] == -1).all() and np.isnan(found["match_t_peak"]).all()
    full = catalog.crossmatch(
        clouds, max_separation=1 * u.deg, columns="all", max_velocity_difference=1 * KMS
    )
    assert found.colnames == full.colnames
    assert [found[name].info.unit for name in full.colnames] == [
        full[name].info.unit for name in full.colnames
    ]


def test_each_feature_may_have_a_limit_of_its_own(catalog, clouds):
    limit = [0.5, 1.0, np.nan] * u.arcmin
    assert_array_equal(catalog.crossmatch(clouds, max_separation=limit)["match_row"], [-1, 1, -1])


def test_one_to_one_gives_a_row_to_the_nearest_only():
    catalog = catalog_of(np.array([10.0, 10.03, 10.2]), np.zeros(3), np.zeros(3))
    clouds = QTable({"l": [10.02, 10.06] * u.deg, "b": [0.0, 0.0] * u.deg})
    limits = {"max_separation": 5 * u.arcmin}
    assert_array_equal(catalog.crossmatch(clouds, **limits)["match_row"], [0, 0, -1])
    single = catalog.crossmatch(clouds, one_to_one=True, **limits)
    assert_array_equal(single["match_row"], [1, 0, -1])
    assert_array_equal(single["match_n_candidates"], [2, 2, 0])


@settings(deadline=None, derandomize=True, max_examples=25)
@given(seed=st.integers(0, 10_000), limit=st.floats(0.1, 200), reach=st.floats(0.1, 30))
def test_a_plain_loop_finds_the_same(seed, limit, reach):
    rng = np.random.default_rng(seed)
    places = [rng.uniform(-2, 2, (n, 2)) for n in (7, 11)]
    catalog = catalog_of(places[0][:, 0] % 360, places[0][:, 1], rng.uniform(-20, 20, 7))
    clouds = QTable({"l": places[1][:, 0] * u.deg, "b": places[1][:, 1] * u.deg})
    clouds["v"] = rng.uniform(-20, 20, 11) * KMS
    found = catalog.crossmatch(clouds, max_separation=limit * u.arcmin, max_velocity_difference=reach * KMS)
    sky = SkyCoord(clouds["l"], clouds["b"], frame="galactic")
    for row, place in zip(found, catalog.coordinates, strict=True):
        separation = place.separation(sky).to_value(u.arcmin)
        separation[np.abs(clouds["v"] - row["velocity"]) > reach * KMS] = np.inf
        separation[separation > limit] = np.inf
        assert row["match_n_candidates"] == np.isfinite(separation).sum()
        expected = int(np.argmin(separation)) if np.isfinite(separation).any() else -1
        assert row["match_row"] == expected


def test_a_column_without_unit_is_taken_for_degrees(catalog, clouds):
    clouds["l"] = clouds["l"].value
    with pytest.warns(HISAWarning, match="column l has no unit: deg assumed"):
        found = catalog.crossmatch(clouds, max_separation=3 * u.arcmin)
    assert_array_equal(found["match_row"], [3, 1, 2])


def test_other_frames_of_velocity_are_told(catalog, clouds):
    clouds.meta["SPECSYS"] = "BARYCENT"
    with pytest.warns(HISAWarning, match="in the frame BARYCENT"):
        catalog.crossmatch(clouds, max_separation=3 * u.arcmin)


def test_files_can_be_given(catalog, clouds, tmp_path):
    clouds.write(tmp_path / "clouds.ecsv")
    found = catalog.crossmatch(tmp_path / "clouds.ecsv", max_separation=3 * u.arcmin)
    assert_array_equal(found["match_row"], [3, 1, 2])
    with pytest.raises(InputError, match=r"none.ecsv: cannot be read as a table"):
        catalog.crossmatch(tmp_path / "none.ecsv", max_separation=3 * u.arcmin)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"max_separation": 3}, ParameterUnitsError, "max_separation needs a unit of arcmin"),
        ({"max_separation": -3 * u.arcmin}, ParameterError, "max_separation must be 0 or above"),
        ({"max_separation": [1, 2] * u.arcmin}, ParameterError, "one for each of the 3 rows"),
        ({"max_velocity_difference": 3 * u.K}, ParameterUnitsError, "max_velocity_difference needs a unit"),
        ({"columns": ["none"]}, InputError, "no column 'none'; it has l, b"),
        ({"position": ("none", "b"), "frame": "icrs"}, InputError, "no column 'none'"),
        ({"position": ("l", "b")}, InputError, "do not say in which frame"),
        ({"position": "l"}, InputError, "must name a column with a SkyCoord"),
        ({"velocity": "t_peak"}, InputError, r"column t_peak \(unit K\) does not convert to km / s"),
        ({"table": [1, 2]}, ParameterError, "table must be an astropy Table"),
        ({"table": QTable({"x": [1]})}, InputError, "no columns of a position are known among x"),
    ],
)
def test_bad_arguments_are_named(catalog, clouds, change, error, message):
    arguments = {"table": clouds, "max_separation": 3 * u.arcmin} | change
    with pytest.raises(error, match=message):
        catalog.crossmatch(arguments.pop("table"), **arguments)


def test_a_second_table_needs_another_prefix(catalog, clouds):
    once = catalog.crossmatch(clouds, max_separation=3 * u.arcmin)
    with pytest.raises(ParameterError, match="'match_row' twice; give another prefix than 'match'"):
        once.crossmatch(clouds, max_separation=3 * u.arcmin)
    assert "other_row" in once.crossmatch(clouds, max_separation=3 * u.arcmin, prefix="other").colnames


def test_a_limit_of_velocity_needs_velocities(catalog, clouds):
    del clouds["vlsr"]
    with pytest.raises(InputError, match="no column of velocities is known"):
        catalog.crossmatch(clouds, max_separation=3 * u.arcmin, max_velocity_difference=3 * KMS)
    found = catalog.crossmatch(clouds, max_separation=3 * u.arcmin)
    assert np.isnan(found["match_velocity_difference"]).all()
