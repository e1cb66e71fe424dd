"""Tables say where their rows are: frames, equinoxes, velocities, and texts."""

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import QTable, Table
from astropy.wcs import WCS
from numpy.testing import assert_allclose

from hisatools import HISACatalog
from hisatools.catalog import build_catalog, sky_frame
from hisatools.catalog.places import positions_of, velocities_of
from hisatools.datasets import example_result
from hisatools.errors import HISAWarning, InputError
from hisatools.votable import to_votable, write_votable

KMS = u.km / u.s
PLACE = SkyCoord([187.5], [12.25], unit="deg")
FRAMES = [
    (("GLON-TAN", "GLAT-TAN"), {}),
    (("ELON-TAN", "ELAT-TAN"), {}),
    (("RA---TAN", "DEC--TAN"), {}),
    (("RA---TAN", "DEC--TAN"), {"equinox": 1950.0}),
    (("RA---TAN", "DEC--TAN"), {"equinox": 1975.0, "radesys": "FK5"}),
    (("RA---TAN", "DEC--TAN"), {"equinox": 1975.0, "radesys": "FK4"}),
]


def built(ctype, cards):
    """A catalogue of one feature, and where it is."""
    wcs = WCS(naxis=3)
    wcs.wcs.ctype, wcs.wcs.cunit = [*ctype, "VRAD"], ["deg", "deg", "m/s"]
    wcs.wcs.crval, wcs.wcs.crpix, wcs.wcs.cdelt = [85, 2, -41e3], [3, 3, 3], [-0.005, 0.005, -824.46]
    wcs.wcs.specsys = "LSRK"
    for name, value in cards.items():
        setattr(wcs.wcs, name, value)
    wcs.wcs.set()
    t_on = np.full((5, 5, 5), 100, np.float32)
    t_on[2, 1:3, 1:4] = 60
    labels = (t_on < 100).astype(np.int32)
    catalog = build_catalog(t_on, np.full(6, 100, np.float32), labels, labels.astype(np.uint8), wcs)
    return catalog, SkyCoord(catalog["lon"], catalog["lat"], frame=sky_frame(wcs)).icrs


@pytest.mark.parametrize(("ctype", "cards"), FRAMES)
@pytest.mark.parametrize("suffix", [None, "ecsv", "fits", "vot"])
def test_a_catalogue_knows_its_places_in_any_frame_and_file(ctype, cards, suffix, tmp_path):
    catalog, place = built(ctype, cards)
    if suffix == "vot":
        catalog = HISACatalog.read(write_votable(catalog, tmp_path / "catalog.vot"))
    elif suffix:
        catalog.write(tmp_path / f"catalog.{suffix}")
        catalog = HISACatalog.read(tmp_path / f"catalog.{suffix}")
    assert catalog.coordinates.icrs.separation(place).max() < 0.01 * u.arcsec
    assert catalog.meta["SPECSYS"] == "LSRK"


def test_the_equinox_stands_in_the_votable():
    (system,) = to_votable(built(*FRAMES[4])[0]).resources[0].coordinate_systems
    assert (system.system, system.equinox) == ("eq_FK5", "J1975")


def test_a_votable_by_others_names_its_frame_too(tmp_path):
    document = to_votable(built(*FRAMES[3])[0])
    document.get_first_table().params.clear()
    document.to_xml(str(tmp_path / "other.vot"))
    again = HISACatalog.read(tmp_path / "other.vot")
    assert again.coordinates.name == "fk4"
    assert str(again.meta["EQUINOX"]) == "B1950"


def test_a_catalogue_of_no_frame_claims_none():
    catalog = example_result().catalog.copy()
    del catalog.meta["FRAME"]
    document = to_votable(catalog)
    assert not list(document.resources[0].coordinate_systems)
    assert {field.ucd for field in document.get_first_table().fields if field.name in ("lon", "lat")} == {
        "pos;meta.main"
    }


def test_equatorial_ucds_alone_are_doubted():
    table = QTable({"lon": PLACE.ra, "lat": PLACE.dec})
    table["lon"].info.meta = {"ucd": "pos.eq.ra;meta.main"}
    with pytest.warns(HISAWarning, match="equatorial, and not in which frame: ICRS assumed"):
        assert positions_of(table).name == "icrs"


def test_the_frame_of_the_table_is_that_of_ra_and_dec():
    fk4 = PLACE.fk4
    table = QTable({"RA": fk4.ra, "DEC": fk4.dec}, meta={"FRAME": "fk4"})
    assert positions_of(table).icrs.separation(PLACE).max() < 0.01 * u.arcsec
    # That of a catalogue with lon and lat is not that of columns of another name.
    table = QTable({"RA": PLACE.ra, "DEC": PLACE.dec}, meta={"FRAME": "galactic"})
    assert positions_of(table).name == "icrs"


@pytest.mark.parametrize(
    "ra", ["187.5", "+187.50", "1.875e2", "12:30:00", "12 30 00", "12h30m00s", "187d30m"]
)
def test_texts_are_degrees_unless_they_are_sexagesimal(ra):
    table = Table({"RA": [ra], "DEC": ["12.25" if ra[-1] == "5" else "12:15:00"]})
    assert_allclose(positions_of(table).ra.deg, 187.5)


def test_a_declared_unit_of_texts_wins():
    table = Table({"RA": ["12.5"], "DEC": ["12.25"]})
    table["RA"].unit = "hourangle"
    assert_allclose(positions_of(table).ra.deg, 187.5)


def test_a_magnitude_is_no_velocity():
    assert velocities_of(QTable({"V": [12.3]})) is None
    assert_allclose(velocities_of(QTable({"v": [12.3] * KMS})), 12.3)


@pytest.mark.parametrize("name", ["RV", "rv", "radial_velocity"])
def test_names_of_heliocentric_velocities_are_doubted(name):
    table = QTable({name: [12.3] * KMS})
    with pytest.warns(HISAWarning, match="heliocentric as a rule"):
        assert_allclose(velocities_of(table), 12.3)
    table.meta["SPECSYS"] = "LSRK"
    assert_allclose(velocities_of(table), 12.3)


@pytest.mark.parametrize("bare", ["catalogue", "table"])
def test_frames_of_velocities_that_one_side_names_alone_are_doubted(bare):
    own, other = example_result().catalog.copy(), example_result().catalog.copy()
    unnamed, named = (own, other) if bare == "catalogue" else (other, own)
    del unnamed.meta["SPECSYS"]
    own.crossmatch(other, max_separation=1 * u.arcmin)
    named.meta["SPECSYS"] = "BARYCENT"
    with pytest.warns(HISAWarning, match="frame BARYCENT"):
        own.crossmatch(other, max_separation=1 * u.arcmin)


def test_a_catalogue_read_from_any_file_is_searched_by_velocity(tmp_path):
    catalog = example_result().catalog
    limits = {"velocity": catalog["velocity"][1], "max_velocity_difference": 1 * KMS}
    again = HISACatalog.read(write_votable(catalog, tmp_path / "catalog.vot"))
    assert list(again.features_at(catalog.coordinates[1], 1 * u.arcmin, **limits)["id"]) == [2]
    assert_allclose(again.with_distances()["distance"], catalog.with_distances()["distance"])
    catalog.write(tmp_path / "catalog.csv")
    again = HISACatalog.read(tmp_path / "catalog.csv")
    again.meta["FRAME"] = "galactic"
    with pytest.warns(HISAWarning, match="has no unit"):
        assert list(again.features_at(catalog.coordinates[1], 1 * u.arcmin, **limits)["id"]) == [2]


def test_a_catalogue_without_velocities_says_so():
    catalog = example_result().catalog["name", "lon", "lat"]
    with pytest.raises(InputError, match="the catalogue has no velocities"):
        catalog.with_distances()
    with pytest.raises(InputError, match="the catalogue has no velocities"):
        catalog.features_at(
            catalog.coordinates[0], 1 * u.deg, velocity=0 * KMS, max_velocity_difference=1 * KMS
        )
