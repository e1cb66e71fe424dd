"""What a run leaves in its folder."""

import pytest
from astropy.table import QTable

from hisatools import PerformanceModel
from hisatools.errors import HISAWarning
from hisatools.performance.report import REPORT_FILES, read_parts, write_report
from hisatools.performance.runs import model_path


@pytest.fixture
def parts(known):
    truths = known(1), known(2)
    return [PerformanceModel.from_pairs([(truth, truth)]) for truth in truths]


@pytest.fixture(autouse=True)
def no_pixels(monkeypatch):
    """Figures are drawn, but not put into pixels."""
    monkeypatch.setattr(
        "matplotlib.figure.Figure.savefig", lambda _, path, **__: path.write_bytes(b"picture")
    )


def names_in(folder):
    return {path.name for path in folder.iterdir()}


def test_report_has_all_its_files_but_those_of_the_sample(parts, tmp_path):
    tables = write_report(PerformanceModel.merge(parts), tmp_path / "perf", parts=parts)
    assert names_in(tmp_path / "perf") == set(REPORT_FILES) - {"sample.png", "reliability.png"}
    assert set(tables) == {"models", "regions", "calibration"}
    assert len(QTable.read(tmp_path / "perf" / "regions.ecsv")) == len(tables["regions"])


def test_report_of_one_model_has_no_calibration_and_removes_an_older_one(parts, tmp_path):
    write_report(PerformanceModel.merge(parts), tmp_path / "perf", parts=parts)
    tables = write_report(parts[0], tmp_path / "perf", parts=parts[:1])
    assert "calibration" not in tables
    assert not {"calibration.ecsv", "calibration.png"} & names_in(tmp_path / "perf")


def test_report_leaves_other_files_alone(parts, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    write_report(parts[0], tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_figure_that_fails_is_a_warning(parts, tmp_path, monkeypatch):
    monkeypatch.setattr("hisatools.performance.figures.write_figures", lambda *_: 1 / 0)
    with pytest.warns(HISAWarning, match="not all figures could be drawn .*ZeroDivisionError"):
        write_report(parts[0], tmp_path / "perf")
    assert "histograms.fits" in names_in(tmp_path / "perf")


def test_parts_are_read_in_the_order_asked_for(parts, tmp_path):
    for seed, part in enumerate(parts, start=3):
        part.write(model_path(tmp_path, seed))
    second, first = read_parts(tmp_path, [4, 3])
    assert len(first.histograms) == len(parts[0].histograms)
    assert len(second.histograms) == len(parts[1].histograms)
    assert len(parts[0].histograms) != len(parts[1].histograms)
