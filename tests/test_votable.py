"""The catalogue as a VOTable: nothing is lost, and others can read it."""

from io import StringIO
from xml.etree import ElementTree

import astropy.units as u
import numpy as np
import pytest
from astropy.io.votable import parse, ucd, validate
from astropy.table import QTable
from numpy.testing import assert_array_equal

from hisatools import HISAExtractor, PerformanceModel
from hisatools.catalog import COLUMNS, HISACatalog
from hisatools.datasets import example_model, example_result
from hisatools.distances.columns import DISTANCE_COLUMNS
from hisatools.errors import InputError, OutputError
from hisatools.parameters import ExtractionParameters
from hisatools.performance.assessment import DESCRIPTIONS
from hisatools.physics import GasParameters, measure_gas
from hisatools.physics.assumptions import GAS_COLUMNS
from hisatools.significance.assessment import DESCRIPTIONS as SIGNIFICANCE_COLUMNS
from hisatools.significance.assessment import FITTED
from hisatools.simulate import ModelParameters, simulate_cube
from hisatools.tracers import CO_COLUMNS, add_co
from hisatools.votable import to_votable, ucd_of, write_votable

NAMESPACE = "{http://www.ivoa.net/xml/VOTable/v1.3}"

# Far more than a survey would take.
MANY = ExtractionParameters(critical_brightness=20 * u.K, min_significance=0)


@pytest.fixture(scope="module")
def catalog():
    """Of a model run, with the columns of the gas."""
    model = simulate_cube(ModelParameters(shape=(40, 128, 128), n_pucks=60, n_components=150), seed=101)
    with pytest.warns(UserWarning, match="over a third of the axis"):
        result = HISAExtractor(n_passes=1, parameters=MANY).run(model.cube)
    assert len(result.catalog) > 3
    return measure_gas(result, GasParameters(t_spin=30 * u.K))[0].catalog


@pytest.fixture(scope="module")
def path(catalog, tmp_path_factory):
    return write_votable(catalog, tmp_path_factory.mktemp("votable") / "catalog.vot")


def test_astropy_reads_back_what_was_written(catalog, path):
    again = QTable.read(path, format="votable")
    assert again.colnames == catalog.colnames
    for name in catalog.colnames:
        if getattr(catalog[name], "unit", None) is not None:
            assert again[name].unit == catalog[name].unit
            assert_array_equal(again[name].value, catalog[name].value)
        else:
            assert_array_equal(np.asarray(again[name]), np.asarray(catalog[name]), err_msg=name)
        # Lines may have been broken anew.
        assert again[name].info.description.split() == catalog[name].info.description.split()


def test_a_plain_parser_of_xml_reads_the_same(catalog, path):
    root = ElementTree.parse(path).getroot()
    fields = [field.get("name") for field in root.iter(f"{NAMESPACE}FIELD")]
    assert fields == catalog.colnames
    rows = [[cell.text or "" for cell in row] for row in root.iter(f"{NAMESPACE}TR")]
    assert len(rows) == len(catalog)
    for name, texts in zip(fields, zip(*rows, strict=True), strict=True):
        values = np.asarray(getattr(catalog[name], "value", catalog[name]))
        if values.dtype.kind == "U":
            assert list(texts) == values.tolist()
        elif values.dtype.kind == "b":
            assert [text.lower() in ("t", "true", "1") for text in texts] == values.tolist()
        else:
            found = np.array([float(text) if text else np.nan for text in texts]).astype(values.dtype)
            assert_array_equal(found, values, err_msg=name)


def test_every_column_has_a_ucd_of_the_vocabulary(catalog):
    known = {field.name: field.ucd for field in to_votable(catalog).get_first_table().fields}
    assert all(known.values()), [name for name, one in known.items() if not one]
    for one in known.values():
        ucd.parse_ucd(one, check_controlled_vocabulary=True)
    others = [*SIGNIFICANCE_COLUMNS, *FITTED, *DISTANCE_COLUMNS]
    for name in [*COLUMNS, *DESCRIPTIONS, *GAS_COLUMNS, *others]:
        ucd.parse_ucd(ucd_of(name), check_controlled_vocabulary=True)


def test_errors_are_told_by_what_they_are_of():
    assert ucd_of("column_density_peak_error") == "stat.error;phys.columnDensity"
    assert ucd_of("none_error") is None and ucd_of("error") is None
    for name in [*COLUMNS, *GAS_COLUMNS]:
        if ucd_of(f"{name}_error") and not name.endswith("_error"):
            ucd.parse_ucd(ucd_of(f"{name}_error"), check_controlled_vocabulary=True)


@pytest.fixture(scope="module")
def full():
    """With the columns of all that can be added to a catalogue."""
    model, result = example_model(), example_result()
    result = PerformanceModel.from_pairs([(model, result)]).assess(result)
    result = add_co(result, model.cube, min_brightness=1 * u.K)
    catalog = result.catalog.with_distances()
    clouds = QTable({"GLON": catalog["lon"], "GLAT": catalog["lat"], "name": ["a", "b", "c", "d", "e"]})
    return catalog.crossmatch(clouds[1:], max_separation=1 * u.arcsec, columns=["name"])


def test_columns_that_are_added_have_units_descriptions_and_ucds(full, tmp_path):
    added = full.colnames[len(COLUMNS) :]
    assert len(added) == len(DESCRIPTIONS) + len(CO_COLUMNS) + len(DISTANCE_COLUMNS) + 5
    plain = {"co_coverage", "co_flags", "distance_flags", "distance_method"} | set(DESCRIPTIONS)
    plain |= {"match_row", "match_n_candidates", "match_name"}
    assert {name for name in added if full[name].info.unit is None} == plain
    assert all(full[name].info.description for name in added)
    document = parse(write_votable(full, tmp_path / "full.vot"), verify="exception")
    fields = {field.name: field for field in document.get_first_table().fields}
    for name in set(added) - {"match_name"}:
        ucd.parse_ucd(fields[name].ucd, check_controlled_vocabulary=True)
        assert (fields[name].unit is None) == (name in plain)
    again = HISACatalog.read(tmp_path / "full.vot", format="votable")
    assert again["match_name"].tolist() == ["", "b", "c", "d", "e"]
    assert list(again["distance_method"]) == list(full["distance_method"])
    assert_array_equal(again["match_row"], [-1, 0, 1, 2, 3])


def test_added_columns_keep_their_ucds_through_ecsv(full, tmp_path):
    full.write(tmp_path / "full.ecsv")
    again = HISACatalog.read(tmp_path / "full.ecsv")
    expected, found = (
        [field.ucd for field in to_votable(one).get_first_table().fields] for one in (full, again)
    )
    assert found == expected


def test_the_document_is_valid_for_the_validator(full, tmp_path):
    path = write_votable(full, tmp_path / "full.vot")
    report = StringIO()
    assert validate(str(path), output=report), report.getvalue()


@pytest.mark.parametrize(
    ("frame", "system"),
    [("galactic", "galactic"), ("icrs", "ICRS"), ("fk5", "eq_FK5"), ("barycentricmeanecliptic", "ecl_FK5")],
)
def test_places_refer_to_their_coordinate_system(frame, system, tmp_path):
    table = HISACatalog({"lon": [10.0] * u.deg, "lat": [1.0] * u.deg, "n": [1]}, meta={"FRAME": frame})
    document = parse(write_votable(table, tmp_path / "one.vot"), verify="exception")
    (coosys,) = document.resources[0].coordinate_systems
    assert coosys.system == system
    assert [field.ref for field in document.get_first_table().fields] == [coosys.ID, coosys.ID, None]


def test_frames_and_beam_are_parameters_of_the_table(full):
    params = {param.name: param.value for param in to_votable(full).get_first_table().params}
    assert params["FRAME"] == "galactic" and params["SPECSYS"] == "LSRK"
    assert params["DISTANCE"].startswith("kinematic, near side")


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        ("galactic", "pos.galactic.lon;meta.main"),
        ("icrs", "pos.eq.ra;meta.main"),
        ("fk5", "pos.eq.ra;meta.main"),
        ("barycentricmeanecliptic", "pos.ecliptic.lon;meta.main"),
    ],
)
def test_places_are_named_by_their_frame(frame, expected):
    table = QTable({"lon": [10.0] * u.deg})
    table.meta["FRAME"] = frame
    (field,) = to_votable(table).get_first_table().fields
    assert field.ucd == expected


def test_the_document_is_valid_and_names_the_frame(path):
    document = parse(path, verify="exception")
    assert "FRAME galactic" in document.get_first_table().description


def test_the_catalogue_is_left_as_it_was(catalog):
    before = catalog["lon"].info.meta
    to_votable(catalog)
    assert catalog["lon"].info.meta == before


def test_no_features_are_a_table_of_no_rows(catalog, tmp_path):
    again = QTable.read(write_votable(catalog[:0], tmp_path / "none.vot"), format="votable")
    assert len(again) == 0 and again.colnames == catalog.colnames


def test_an_older_file_is_replaced_only_on_demand(catalog, path):
    with pytest.raises(OutputError, match="exists"):
        write_votable(catalog, path)
    write_votable(catalog, path, overwrite=True)


def test_a_catalogue_that_is_read_knows_its_frame(full, tmp_path):
    again = HISACatalog.read(write_votable(full, tmp_path / "full.vot"), format="votable")
    assert again.coordinates.frame.name == "galactic"
    assert again.coordinates.separation(full.coordinates).max() < 1 * u.arcsec


def test_a_column_of_objects_is_named(tmp_path):
    catalog = example_result().catalog.copy()
    catalog["notes"] = np.array([None, {}, "a", 1, 2], object)
    with pytest.raises(InputError, match="the column 'notes' holds objects"):
        write_votable(catalog, tmp_path / "catalog.vot")
    assert not (tmp_path / "catalog.vot").exists()


def test_what_was_read_can_be_written_again(full, tmp_path):
    path = write_votable(full, tmp_path / "once.vot")
    again = write_votable(HISACatalog.read(path), tmp_path / "twice.vot")
    once, twice = (HISACatalog.read(one) for one in (path, again))
    assert {**once.meta, "description": ""} == {**twice.meta, "description": ""}
    assert once.colnames == twice.colnames
    assert list(once["name"]) == list(twice["name"]) == list(full["name"])
