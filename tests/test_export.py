"""``hisatools export``: what it writes and what it refuses."""

import astropy.units as u
import pytest
from astropy.table import QTable
from regions import Regions

from hisatools import HISAExtractor
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
    assert "catalog.vot, outlines.reg" in capsys.readouterr().out
    table = QTable.read(out / "catalog.vot", format="votable")
    own = QTable.read(extracted / "catalog.ecsv")
    assert list(table["name"]) == list(own["name"])
    texts = {region.meta["text"] for region in Regions.read(out / "outlines.reg", format="ds9")}
    assert texts == set(own["name"])


def test_columns_of_other_verbs_come_along(extracted, tmp_path):
    gas, out = tmp_path / "gas", tmp_path / "export"
    assert main(["gas", str(extracted), "--t-spin", "10", "--output", str(gas), "--quiet"]) == 0
    command = ["export", str(extracted), "--catalog", str(gas), "--output", str(out), "--quiet"]
    assert main(command) == 0
    assert "column_density_peak" in QTable.read(out / "catalog.vot", format="votable").colnames


def test_a_catalogue_of_other_features_is_refused(extracted, tmp_path, capsys):
    other = QTable.read(extracted / "catalog.ecsv")[:1]
    other.write(tmp_path / "other.ecsv")
    for path, message in {"other.ecsv": "is of other features", "none.ecsv": "is no catalogue"}.items():
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
