"""``hisatools export``: what it writes and what it refuses."""

import astropy.units as u
import pytest
from astropy.io import fits
from astropy.table import QTable
from regions import Regions

from hisatools import HISACatalog, HISAExtractor
from hisatools.cli import main
from hisatools.parameters import ExtractionParameters
from hisatools.simulate import ModelParameters, simulate_cube


@pytest.fixture(scope="module")
def extracted(tmp_path_factory):
    """A result with some features, as a folder."""
    model = simulate_cube(ModelParameters(shape=(32, 96, 96), n_pucks=20, n_components=100), seed=3)
    many = ExtractionParameters(critical_brightness=20 * u.K, min_significance=0)
    with pytest.warns(UserWarning, match="over a third of the axis"):
        result = HISAExtractor(n_passes=1, parameters=many).run(model.cube)
    assert len(result.catalog) > 1
    return result.write(tmp_path_factory.mktemp("result") / "out")


def test_catalogue_and_outlines_are_written_for_other_programs(extracted, tmp_path, capsys):
    out = tmp_path / "export"
    assert main(["export", str(extracted), "--output", str(out)]) == 0
    assert "catalog.ecsv, catalog.vot, feature_mask.fits, outlines.reg" in capsys.readouterr().out
    table = QTable.read(out / "catalog.vot", format="votable")
    own = QTable.read(extracted / "catalog.ecsv")
    assert list(table["name"]) == list(own["name"])
    texts = {region.meta["text"] for region in Regions.read(out / "outlines.reg", format="ds9")}
    assert texts == set(own["name"])
    assert (fits.getdata(out / "feature_mask.fits") > 0).sum() == own["n_voxels"].sum()


def test_distances_co_and_counterparts_are_added(extracted, tmp_path, capsys):
    out, clouds = tmp_path / "export", tmp_path / "clouds.ecsv"
    own = QTable.read(extracted / "catalog.ecsv")
    QTable(
        {"GLON": own["lon"][:1], "GLAT": own["lat"][:1], "VLSR": own["velocity"][:1], "t": [5] * u.K}
    ).write(clouds)
    command = ["export", str(extracted), "--output", str(out), "--rotation-curve", "flat", "--side", "far"]
    command += [
        "--dispersion",
        "5",
        "--co",
        str(extracted / "t_unabsorbed.fits"),
        "--crossmatch",
        str(clouds),
    ]
    assert (
        main([*command, "--max-separation", "1", "--max-velocity-difference", "1km/s", "--columns", "t"]) == 0
    )
    printed = capsys.readouterr().out
    assert "features have a kinematic distance" in printed and "features have CO in" in printed
    assert f"1 of {len(own)} features have a counterpart" in printed
    for name in ("catalog.vot", "catalog.ecsv"):
        table = HISACatalog.read(out / name)
        assert (table["distance"] > 1 * u.kpc).any()
        assert table["match_row"][0] == 0 and (table["match_row"][1:] == -1).all()
        assert table["match_t"][0] == 5 * u.K and "co_velocity" in table.colnames
    assert "dispersion 5 km / s" in table.meta["DISTANCE"] and "flat" in table.meta["DISTANCE"]


def test_a_distance_can_be_given(extracted, tmp_path):
    out = tmp_path / "export"
    assert main(["export", str(extracted), "--output", str(out), "--distance", "2kpc", "--quiet"]) == 0
    assert (QTable.read(out / "catalog.ecsv")["distance"] == 2 * u.kpc).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--side", "near"], "--side goes with --rotation-curve"),
        (["--columns", "t"], "--columns goes with --crossmatch"),
        (["--crossmatch", "none.ecsv"], "--crossmatch needs --max-separation"),
        (["--crossmatch", "none.ecsv", "--max-separation", "1"], "none.ecsv: cannot be read as a table"),
        (["--co", "none.fits"], "none.fits"),
        (["--distance", "far"], "--distance: 'far' is neither a number"),
    ],
)
def test_what_cannot_be_added_is_named_and_nothing_written(extracted, tmp_path, capsys, options, message):
    assert main(["export", str(extracted), "--output", str(tmp_path / "export"), *options]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "export").exists()


def test_columns_of_other_verbs_come_along(extracted, tmp_path):
    gas, out = tmp_path / "gas", tmp_path / "export"
    assert main(["gas", str(extracted), "--t-spin", "10", "--output", str(gas), "--quiet"]) == 0
    command = ["export", str(extracted), "--catalog", str(gas), "--output", str(out), "--quiet"]
    assert main(command) == 0
    assert "column_density_peak" in QTable.read(out / "catalog.vot", format="votable").colnames


def test_a_catalogue_of_other_features_is_refused(extracted, tmp_path, capsys):
    other = QTable.read(extracted / "catalog.ecsv")[:1]
    other.write(tmp_path / "other.ecsv")
    other["lon", "lat"].write(tmp_path / "bare.ecsv")
    for path, message in {
        "other.ecsv": "is of other features",
        "none.ecsv": "is no catalogue",
        "bare.ecsv": "no column 'name'",
    }.items():
        command = ["export", str(extracted), "--catalog", str(tmp_path / path)]
        assert main([*command, "--output", str(tmp_path / "export")]) == 1
        assert message in capsys.readouterr().err
        assert not (tmp_path / "export").exists()


def test_an_older_export_is_replaced_only_on_demand(extracted, tmp_path, capsys):
    command = ["export", str(extracted), "--output", str(tmp_path / "export"), "--quiet"]
    assert main(command) == 0
    assert main(command) == 1
    assert "exists already" in capsys.readouterr().err
    assert main([*command, "--overwrite"]) == 0


@pytest.mark.parametrize("distance", ["nan kpc", "inf kpc", "0 kpc", "-2 kpc"])
def test_a_distance_is_a_number_above_zero(extracted, tmp_path, capsys, distance):
    command = ["export", str(extracted), "--output", str(tmp_path / "export"), f"--distance={distance}"]
    assert main(command) == 1
    assert "distance" in capsys.readouterr().err
    assert not (tmp_path / "export").exists()
