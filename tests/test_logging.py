"""The library logs and never prints; the command shows the log where it is asked to."""

import ast
import logging
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from astropy.io import fits

import hisatools
from hisatools import HISACube, HISAExtractor
from hisatools.cli import main
from hisatools.errors import HISAWarning
from hisatools.simulate import ModelParameters, simulate_cube

PACKAGE = Path(hisatools.__path__[0])
# The one module that prints: what the command says.
SPEAKING = {"_messages.py"}


@pytest.fixture(scope="module")
def model():
    parameters = ModelParameters(shape=(16, 72, 72), n_pucks=4, n_components=30)
    return simulate_cube(parameters, seed=1)


@pytest.fixture(scope="module")
def cube_file(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "model"
    model.write(folder)
    return folder / "cube.fits"


def test_nothing_but_the_voice_of_the_command_prints():
    calls = {
        path.name
        for path in PACKAGE.rglob("*.py")
        if "print(" in (text := path.read_text(encoding="utf-8"))
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "print"
    }
    assert calls == SPEAKING


def test_every_logger_is_below_that_of_the_package():
    named = re.compile(r"getLogger\((.*?)\)")
    names = {name for path in PACKAGE.rglob("*.py") for name in named.findall(path.read_text("utf-8"))}
    assert names == {"__name__", '"hisatools"'}


@pytest.mark.filterwarnings("ignore:spatial.clean_fwhm", "ignore:spectral.clean_fwhm")
def test_the_steps_of_an_extraction_are_logged(model, caplog):
    caplog.set_level(logging.DEBUG, "hisatools")
    result = HISAExtractor(n_passes=1).run(model.cube)
    info = [record.getMessage() for record in caplog.records if record.levelno == logging.INFO]
    assert info[0] == "extraction: 16 x 72 x 72 voxels, threads: 1"
    assert any(re.fullmatch(r"spectral search: \d+\.\d\d s", line) for line in info)
    (line,) = [line for line in info if line.startswith("pass 1: ")]
    counts = result.meta["passes"][0]
    assert line == (
        f"pass 1: {counts['spectral']} voxels flagged by the spectral search, {counts['spatial']} by the "
        f"spatial one; {counts['accepted']} accepted, {counts['new']} new"
    )
    assert any(line.startswith(f"found: {len(result.catalog)} features in ") for line in info)
    assert any(record.levelno == logging.DEBUG for record in caplog.records)


def test_reading_and_noise_are_logged(cube_file, caplog):
    caplog.set_level(logging.INFO, "hisatools")
    cube = HISACube.read(cube_file)
    hisatools.NoiseEstimator("mad-difference").estimate(cube)
    said = [(record.name, record.getMessage()) for record in caplog.records]
    assert ("hisatools.io.reading", f"read {cube_file}: 16 x 72 x 72 voxels, 0 mends") in said
    assert any(name == "hisatools.noise.estimator" for name, _ in said)


def test_without_a_handler_nothing_is_shown():
    code = "import hisatools, logging; logging.getLogger('hisatools.extraction').warning('heard')"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("", "")


def noise(cube_file, tmp_path, *options):
    return main(["noise", str(cube_file), "--output", str(tmp_path / "s.fits"), "--overwrite", *options])


def test_the_command_shows_the_log_only_where_it_is_asked_to(cube_file, tmp_path, capsys):
    assert noise(cube_file, tmp_path) == 0
    assert capsys.readouterr().err == ""
    assert noise(cube_file, tmp_path, "--verbose", "--quiet") == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert re.search(r"^\d\d:\d\d:\d\d hisatools\.io\.reading: read .*cube\.fits: ", said.err, re.MULTILINE)
    assert noise(cube_file, tmp_path) == 0
    assert capsys.readouterr().err == "", "the handler must be gone"


def test_details_are_shown_on_demand(cube_file, tmp_path, capsys):
    path = tmp_path / "mended.fits"
    with fits.open(cube_file) as hdus:
        hdus[0].header["BUNIT"] = "K (Tb)"
        hdus.writeto(path)
    mended = "hisatools.io.reading: mended: BUNIT"
    assert noise(path, tmp_path, "-v") == 0
    assert mended not in capsys.readouterr().err
    assert noise(path, tmp_path, "-vv") == 0
    assert mended in capsys.readouterr().err


def test_a_log_file_keeps_details_and_warnings_of_all_runs(cube_file, tmp_path, capsys, monkeypatch):
    def warn(*_, **__):
        warnings.warn("the sky is falling", HISAWarning, stacklevel=1)

    monkeypatch.setattr("hisatools.noise.NoiseEstimator._result", warn)
    monkeypatch.setattr("hisatools.noise.NoiseResult.write", lambda *_, **__: None)
    log = tmp_path / "run.log"
    for _ in range(2):
        noise(cube_file, tmp_path, "--log", str(log), "-v")
    text = log.read_text()
    assert text.count("INFO    hisatools.io.reading: read ") == 2
    assert text.count("WARNING hisatools.cli: the sky is falling") == 2
    assert capsys.readouterr().err.count("the sky is falling") == 2, "shown once a run, as a warning"


def test_a_log_that_cannot_be_written_is_one_line(cube_file, tmp_path, capsys):
    assert noise(cube_file, tmp_path, "--log", str(tmp_path / "no" / "run.log")) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "run.log: No such file or directory; choose a file you may write to" in line
    assert not (tmp_path / "s.fits").exists()


def test_a_log_file_says_why_a_run_failed(tmp_path, capsys):
    log, cube = tmp_path / "run.log", tmp_path / "none.fits"
    for shown in ((), ("-vv",)):
        assert noise(cube, tmp_path, "--log", str(log), *shown) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("hisatools: error: ")
    lines = log.read_text().splitlines()
    assert len(lines) == 2
    assert all(f"ERROR   hisatools.cli: {line.removeprefix('hisatools: error: ')}" in said for said in lines)


@pytest.mark.parametrize(
    "error", [ValueError("a fault of ours"), OSError(28, "No space left"), MemoryError()]
)
def test_whatever_ends_a_run_is_in_the_log(cube_file, tmp_path, capsys, monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("hisatools.noise.NoiseEstimator.estimate", fail)
    log = tmp_path / "run.log"
    assert noise(cube_file, tmp_path, "--log", str(log)) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.removeprefix("hisatools: error: ") in log.read_text()
    assert ("Traceback" in log.read_text()) == isinstance(error, ValueError)
