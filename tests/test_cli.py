"""The command: exit codes, one line for each fault, and nothing half-written."""

import json
import os
import shlex
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable
from astropy.wcs import WCS

from hisatools import HISACube, HISAExtractor, HISAResult, PerformanceModel
from hisatools._arguments import build_parser
from hisatools._parameter_changes import parameter_changes, strategy_parameters
from hisatools.catalog import build_catalog
from hisatools.cli import VERBS, main
from hisatools.errors import HISAWarning, InputError
from hisatools.noise import NoiseEstimator, NoiseResult
from hisatools.performance import Truth
from hisatools.performance.report import FIGURES, REPORT_FILES
from hisatools.results import RESULT_FILES
from hisatools.strategies import GROUPS, available


@pytest.fixture
def cube_file(tmp_path):
    """A cube that is read without mending; small, as the extractor is replaced in most tests."""
    wcs = WCS(naxis=3)
    wcs.wcs.ctype = ["GLON-CAR", "GLAT-CAR", "VRAD"]
    wcs.wcs.cunit = ["deg", "deg", "m/s"]
    wcs.wcs.crpix, wcs.wcs.crval = [1, 1, 1], [139.6, 0, -60e3]
    wcs.wcs.cdelt = [-1 / 60, 1 / 60, 1000.0]
    wcs.wcs.restfrq, wcs.wcs.specsys = 1420405751.7667, "LSRK"
    header = wcs.to_header()
    header.update(BUNIT="K", OBJECT="Field", BMAJ=2 / 60, BMIN=2 / 60, BPA=0.0)
    for key in ("CRPIX1", "CRPIX2", "CRPIX3", "CDELT3", "CRVAL2"):
        header.setdefault(key, {"CRVAL2": 0.0, "CDELT3": 1000.0}.get(key, 1.0))
    data = np.random.default_rng(2).normal(90, 2, (40, 24, 24)).astype(np.float32)
    path = tmp_path / "cube.fits"
    fits.writeto(path, data, header)
    return path


@pytest.fixture
def quick(monkeypatch):
    """Replace the search and the picture; returns what `run` was called with."""
    calls = {}

    def run(extractor, cube, *, workers=1, progress=False):
        calls.update(extractor=extractor, cube=cube, workers=workers, progress=progress)
        return fake_result(cube, absorbed=calls.get("absorbed", True))

    monkeypatch.setattr(HISAExtractor, "run", run)
    monkeypatch.setattr("hisatools.summary.plot_summary", lambda _, path, **__: path.write_bytes(b"picture"))
    return calls


def fake_result(cube, *, absorbed):
    labels = np.zeros(cube.shape, np.int32)
    if absorbed:
        labels[3:5, 5, 5] = 1
    unabsorbed_kelvin = cube.kelvin[labels > 0] + np.float32(20)
    first_pass = labels.astype(np.uint8)
    catalog = build_catalog(cube.kelvin, unabsorbed_kelvin, labels, first_pass, cube.wcs)
    return HISAResult(
        t_on=cube.data,
        unabsorbed_kelvin=unabsorbed_kelvin,
        flags=first_pass * np.uint8(7),
        labels=labels,
        first_pass=first_pass,
        catalog=catalog,
        wcs=cube.wcs,
        beam=cube.beam,
        meta={
            "parameters": {"n_passes": 3},
            "passes": [{"pass": 1, "accepted": 2 * absorbed, "new": 2 * absorbed}],
            "remarks": [] if absorbed else ["too faint everywhere"],
        },
    )


def one_error(capsys):
    """The only line on stderr."""
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("hisatools: error: ")
    return lines[0]


# --- extract ----------------------------------------------------------------------------------


def test_extract_writes_the_result_and_says_what_it_found(cube_file, quick, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["extract", str(cube_file), "--output", str(out)]) == 0
    assert {path.name for path in out.iterdir()} == {*RESULT_FILES, "run.toml"}
    said = capsys.readouterr()
    assert said.err == ""
    assert f"Read {cube_file}: 40 channels x 24 x 24 pixels, velocities -60.0 to -21.0 km/s" in said.out
    assert "Pass 1: 2 voxels accepted, 2 of them new" in said.out
    assert "Found 1 feature: 2 voxels accepted, 0.00868 % of the cube" in said.out
    assert said.out.splitlines()[-1] == f"Wrote {out}: {', '.join(sorted([*RESULT_FILES, 'run.toml']))}"


def test_extract_says_why_nothing_was_found(cube_file, quick, tmp_path, capsys):
    quick["absorbed"] = False
    assert main(["extract", str(cube_file), "--output", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "Found no features: 0 voxels accepted" in said
    assert "Remark: too faint everywhere" in said


def test_quiet_says_nothing(cube_file, quick, tmp_path, capsys):
    assert main(["extract", str(cube_file), "--output", str(tmp_path / "out"), "--quiet"]) == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "")


def test_options_reach_the_extractor(cube_file, quick, tmp_path):
    options = "--passes 2 --workers 3 --progress --clean reference --convolution reference"
    options += " --critical-brightness 50 --velocity-range -50.5 -30 --min-reliability 0.9"
    changes = ["--set", "spectral.clean_fwhm=10 km/s", "--set", "spatial.peak_rank=5"]
    output = ["--output", str(tmp_path / "out")]
    assert main(["extract", str(cube_file), *output, *options.split(), *changes]) == 0
    extractor = quick["extractor"]
    assert (extractor.n_passes, quick["workers"], quick["progress"]) == (2, 3, True)
    assert (extractor.parameters.critical_brightness, extractor.min_reliability) == (50 * u.K, 0.9)
    assert extractor.spectral.parameters.clean_fwhm == 10 * u.km / u.s
    assert extractor.spatial.parameters.peak_rank == 5
    assert (extractor.spectral.clean_name, extractor.spatial.convolution_name) == ("reference", "reference")
    np.testing.assert_allclose(quick["cube"].velocity.value[[0, -1]], [-50, -30])


def test_critical_brightness_may_have_a_unit(cube_file, quick, tmp_path):
    output = ["--output", str(tmp_path / "out")]
    assert main(["extract", str(cube_file), *output, "--critical-brightness", "50000 mK"]) == 0
    assert quick["extractor"].parameters.critical_brightness == 50 * u.K


def test_an_older_result_is_replaced_only_on_demand(cube_file, quick, tmp_path, capsys):
    out = tmp_path / "out"
    command = ["extract", str(cube_file), "--output", str(out), "--quiet"]
    assert main(command) == 0
    (out / "notes.txt").write_text("mine")
    quick.clear()
    assert main(command) == 1
    assert "exists already and is not empty; choose another output, or allow" in one_error(capsys)
    assert not quick, "the search must not have started"
    assert main([*command, "--overwrite"]) == 0
    assert (out / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--preset nope", "unknown preset 'nope'; known presets: cgps"),
        ("--clean nope", "unknown clean backend 'nope'; installed: "),
        ("--convolution nope", "unknown convolution backend 'nope'; installed: "),
        ("--critical-brightness -5", "critical_brightness must be finite and at least 0 K, got -5 K"),
        ("--critical-brightness 5arcmin", "critical_brightness needs a unit of K, got 5.0 arcmin"),
        ("--critical-brightness much", "--critical-brightness: 'much' is neither a number nor"),
        ("--min-reliability 1.5", "min_reliability must be at most 1, got 1.5"),
        ("--passes 0", "n_passes must be a whole number from 1 to 255, got 0"),
        ("--workers 0", "workers must be finite and above 0, got 0"),
        ("--set spatial.clean_fwhm=10", "clean_fwhm needs a unit of arcmin, got 10; write for example"),
        ("--set spatial.clean_fwhm=-3arcmin", "clean_fwhm must be finite and above 0 arcmin, got -3"),
        ("--set spatial.nope=1", "unknown parameter spatial.nope in --set; known: smoothing_box"),
        ("--set nope.threshold=1", "unknown section 'nope' in --set; known: spectral, spatial, shell"),
        ("--set threshold", "--set 'threshold' is not SECTION.NAME=VALUE; write"),
    ],
)
def test_bad_argument_is_one_line_and_writes_nothing(arguments, message, cube_file, quick, tmp_path, capsys):
    command = ["extract", str(cube_file), "--output", str(tmp_path / "out"), "--quiet", *arguments.split()]
    assert main(command) == 1
    assert message in one_error(capsys)
    assert not (tmp_path / "out").exists()


def test_output_that_cannot_be_written_is_said_before_the_search(cube_file, quick, capsys):
    assert main(["extract", str(cube_file), "--output", str(cube_file / "out")]) == 1
    assert "out: Not a directory; choose an output you may write to" in one_error(capsys)
    assert main(["extract", str(cube_file), "--output", str(cube_file), "--overwrite"]) == 1
    assert "cube.fits is a file, and a folder is needed" in one_error(capsys)
    assert not quick


def test_input_that_is_absent(tmp_path, capsys):
    assert main(["extract", str(tmp_path / "no.fits"), "--output", str(tmp_path / "out")]) == 1
    assert "no.fits: no such file" in one_error(capsys)
    assert not any(tmp_path.iterdir())


# --- extract with a performance model ---------------------------------------------------------


@pytest.fixture
def known_sky(cube_file, tmp_path):
    """Where a performance model lies that has seen just what `fake_result` finds, and half of it real."""
    found = fake_result(HISACube.read(cube_file), absorbed=True)
    delta_t = found.delta_t.copy()
    delta_t[3] = 0 * u.K
    truth = Truth(delta_t, found.t_unabsorbed, found.pixel_scale, found.channel_width)
    return PerformanceModel.from_pairs([(truth, found)]).write(tmp_path / "histograms.fits")


def extract_with(performance, cube_file, out):
    return main(["extract", str(cube_file), "--output", str(out), "--performance", str(performance)])


def test_a_performance_model_says_how_likely_the_result_is(cube_file, known_sky, quick, tmp_path, capsys):
    out = tmp_path / "out"
    assert extract_with(tmp_path, cube_file, out) == 0  # the folder will do
    said = capsys.readouterr()
    assert said.err == ""
    assert "Assessed 100 % of the accepted voxels; " in said.out
    result = HISAResult.read(out)
    likely = PerformanceModel.read(known_sky).true_fraction_at(result)
    assert 0 < np.nanmin(likely) < np.nanmax(likely) < 1
    np.testing.assert_array_equal(result.true_fraction, likely)
    assert result.catalog["reliability"][0] == pytest.approx(np.nanmean(likely))
    assert result.catalog["assessed"][0] == 1
    assert json.loads((out / "provenance.json").read_text())["performance"] == {
        "kind": "pairs",
        "n_models": 1,
    }


def test_a_performance_model_of_another_extraction_is_a_warning(
    cube_file, known_sky, quick, tmp_path, capsys
):
    performance = PerformanceModel.read(known_sky)
    other = replace(performance, meta={"extractor": {"parameters": {"n_passes": 2}}})
    assert extract_with(other.write(known_sky, overwrite=True), cube_file, tmp_path / "out") == 0
    message = "hisatools: warning: the performance model is of another extraction (n_passes 2 instead of 3)"
    assert message in capsys.readouterr().err


def test_few_assessed_voxels_are_a_warning(cube_file, known_sky, quick, tmp_path, capsys, monkeypatch):
    def elsewhere(cube, *, absorbed):
        result = fake_result(cube, absorbed=absorbed)
        return replace(result, unabsorbed_kelvin=result.unabsorbed_kelvin + 60)

    monkeypatch.setattr(
        HISAExtractor, "run", lambda _, cube, **__: elsewhere(cube, absorbed=quick.get("absorbed", True))
    )
    assert extract_with(known_sky, cube_file, tmp_path / "out") == 0
    said = capsys.readouterr()
    assert "warning: only 0 % of the accepted voxels are like voxels of the performance model" in said.err
    assert "Assessed 0 % of the accepted voxels\n" in said.out
    quick["absorbed"] = False
    assert extract_with(known_sky, cube_file, tmp_path / "nothing") == 0
    assert capsys.readouterr().err == ""


def test_a_bad_performance_model_is_said_before_the_search(cube_file, quick, tmp_path, capsys):
    assert extract_with(tmp_path / "no", cube_file, tmp_path / "out") == 1
    assert "no: no such file; write one with `hisatools performance`" in one_error(capsys)
    assert extract_with(cube_file, cube_file, tmp_path / "out") == 1
    assert "cube.fits: not a performance model" in one_error(capsys)
    assert not quick


# --- what goes wrong on the way ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KeyboardInterrupt(), 130, "interrupted; nothing of the result was written"),
        (MemoryError(), 1, "not enough memory for this cube; cut it with --velocity-range or --region"),
        (OSError(5, "Input/output error", "disk"), 1, "disk: Input/output error; check the path"),
        (ZeroDivisionError("by\nzero"), 1, "unexpected ZeroDivisionError: by zero; please report it"),
    ],
)
def test_what_goes_wrong_is_one_line(error, code, message, cube_file, tmp_path, capsys, monkeypatch):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(HISAExtractor, "run", fail)
    command = ["extract", str(cube_file), "--output", str(tmp_path / "out"), "--quiet"]
    assert main(command) == code
    assert message in one_error(capsys)
    assert not (tmp_path / "out").exists()


def test_debug_shows_where_an_unexpected_error_is(cube_file, tmp_path, monkeypatch):
    monkeypatch.setattr(HISAExtractor, "run", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["extract", str(cube_file), "--output", str(tmp_path / "out"), "--debug"])


def test_a_warning_is_one_line_and_said_once(cube_file, quick, tmp_path, capsys, monkeypatch):
    run = HISAExtractor.run

    def run_with_warnings(*arguments, **options):
        for _ in range(2):
            warnings.warn("the beam is\nassumed", HISAWarning, stacklevel=1)
        return run(*arguments, **options)

    monkeypatch.setattr(HISAExtractor, "run", run_with_warnings)
    assert main(["extract", str(cube_file), "--output", str(tmp_path / "out"), "--quiet"]) == 0
    assert capsys.readouterr().err == "hisatools: warning: the beam is assumed\n"


def test_a_reader_that_goes_away_is_no_fault(capfd, monkeypatch):
    def gone(*_, **__):
        raise BrokenPipeError

    saved = os.dup(1)
    monkeypatch.setattr("builtins.print", gone)
    try:
        assert main(["backends"]) == 1
    finally:
        os.dup2(saved, 1)
        os.close(saved)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "arguments", ["", "nope", "extract", "extract cube.fits", "extract c --output o --passes x"]
)
def test_wrong_usage_is_code_2(arguments, capsys):
    assert main(arguments.split()) == 2
    assert "usage: hisatools" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", ["--help", "--version", "extract --help", "demo --help"])
def test_help_is_code_0(arguments, capsys):
    assert main(arguments.split()) == 0
    assert "hisatools" in capsys.readouterr().out


# --- performance ------------------------------------------------------------------------------


@pytest.fixture
def measured(monkeypatch):
    """Replace the runs and the figures; returns what the runs were called with."""
    calls = {}
    truth = Truth(
        np.full((3, 4, 4), -30.0) * u.K, np.full((3, 4, 4), 90.0) * u.K, 1 * u.arcmin, 1 * u.km / u.s
    )

    def run(*cubes, folder, seed, n_models=2, **settings):
        calls.update(settings, cubes=cubes, folder=folder, seed=seed, n_models=n_models)
        folder.mkdir(parents=True, exist_ok=True)
        if "error" in calls:
            raise calls["error"]
        parts = []
        for number in range(seed, seed + n_models):
            part = PerformanceModel.from_pairs([(truth, truth)])
            part.models["seed"] = number
            part.write(folder / f"seed_{number:05d}.fits", overwrite=True)
            parts.append(part)
            settings["report"](part)
        if "late_error" in calls:
            raise calls["late_error"]
        return PerformanceModel.merge(parts)

    def write_figures(_, folder):
        for name in FIGURES[:-1]:
            (folder / f"{name}.png").write_bytes(b"picture")

    monkeypatch.setattr(PerformanceModel, "run", run)
    monkeypatch.setattr(PerformanceModel, "inject", run)
    monkeypatch.setattr("hisatools.performance.figures.write_figures", write_figures)
    return calls


def names_in(folder):
    return {path.name for path in folder.iterdir()}


ALL_OUTPUT = {"models", "run.toml", *REPORT_FILES}


def test_performance_writes_numbers_and_figures_and_says_what_they_are(measured, tmp_path, capsys):
    out = tmp_path / "perf"
    assert main(["performance", "--output", str(out)]) == 0
    assert names_in(out) == ALL_OUTPUT
    assert names_in(out / "models") == {"seed_00001.fits", "seed_00002.fits"}
    assert PerformanceModel.read(out).throughput.value.max() == 1
    said = capsys.readouterr()
    assert said.err == ""
    assert "Seed 2: 48 voxels put in, 48 of them found; 48 accepted, 100 % of them true; 0 s" in said.out
    (line,) = [line for line in said.out.splitlines() if "throughput_max" in line]
    assert line.split()[:2] + line.split()[4:7] == ["3.4.3", "1", ">=", "0.95", "yes"]
    assert said.out.splitlines()[-1] == f"Wrote {out}: {', '.join(sorted(ALL_OUTPUT))}"


def test_one_model_has_no_others_to_be_judged_by(measured, tmp_path, capsys):
    out = tmp_path / "perf"
    assert main(["performance", "--output", str(out), "--models", "1", "--quiet"]) == 0
    assert ALL_OUTPUT - names_in(out) == {"calibration.ecsv", "calibration.png"}
    assert capsys.readouterr().out == ""


def test_options_reach_the_models(measured, tmp_path):
    out = tmp_path / "perf"
    options = "--models 3 --seed 7 --shape 48 208 208 --workers 3 --progress --passes 2 --clean reference"
    assert main(["performance", "--output", str(out), *options.split(), "--critical-brightness", "50"]) == 0
    assert (measured["n_models"], measured["seed"], measured["shape"]) == (3, 7, [48, 208, 208])
    assert (measured["workers"], measured["progress"], measured["resume"]) == (3, True, False)
    assert (measured["cubes"], measured["folder"]) == ((), out / "models")
    extractor = measured["extractor"]
    assert (extractor.n_passes, extractor.spectral.clean_name) == (2, "reference")
    assert extractor.parameters.critical_brightness == 50 * u.K


def test_options_reach_the_injection(cube_file, measured, tmp_path, capsys):
    options = "--n-pucks 9 --noise own --velocity-range -50.5 -30 --set extraction.min_weight=0.5"
    command = ["performance", str(cube_file), "--output", str(tmp_path / "perf"), *options.split()]
    assert main(command) == 0
    assert (measured["n_pucks"], measured["noise"]) == (9, "own")
    (cube,) = measured["cubes"]
    np.testing.assert_allclose(cube.velocity.value[[0, -1]], [-50, -30])
    assert measured["extractor"].parameters.min_weight == 0.5
    assert f"Read {cube_file}: 21 channels" in capsys.readouterr().out


def test_what_is_not_asked_for_is_left_to_the_defaults_of_the_run(cube_file, measured, tmp_path):
    assert main(["performance", "--output", str(tmp_path / "models")]) == 0
    assert not {"shape", "n_pucks", "noise"} & measured.keys()
    assert main(["performance", str(cube_file), "--output", str(tmp_path / "cube")]) == 0
    assert not {"shape", "n_pucks", "noise"} & measured.keys()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--noise own", "--noise is for a cube that absorption is put into; give CUBE.fits, or leave"),
        ("--n-pucks 5", "--n-pucks is for a cube that absorption is put into"),
        ("--velocity-range -50 3", "--velocity-range is for a cube"),
        ("--region field.reg", "--region is for a cube"),
        ("CUBE --shape 48 208 208", "--shape is for model cubes, and a cube is given"),
        ("CUBE --n-pucks 0", "n_pucks must be finite and above 0, got 0"),
        ("--models 0", "models must be finite and above 0, got 0"),
        ("--seed -1", "seed must be finite and at least 0, got -1"),
        ("--workers 0", "workers must be finite and above 0, got 0"),
        ("--passes 0", "n_passes must be a whole number from 1 to 255, got 0"),
        ("--preset nope", "unknown preset 'nope'; known presets: cgps"),
        ("no.fits", "no.fits: no such file"),
    ],
)
def test_bad_argument_of_a_performance_run_is_one_line(
    arguments, message, cube_file, measured, tmp_path, capsys
):
    given = [str(cube_file) if word == "CUBE" else word for word in arguments.split()]
    assert main(["performance", *given, "--output", str(tmp_path / "perf"), "--quiet"]) == 1
    assert message in one_error(capsys)
    assert not measured
    assert names_in(tmp_path) == {"cube.fits"}


def test_an_older_run_is_gone_on_with_only_on_demand(measured, tmp_path, capsys):
    out = tmp_path / "perf"
    command = ["performance", "--output", str(out), "--quiet"]
    assert main(command) == 0
    (out / "notes.txt").write_text("mine")
    measured.clear()
    assert main(command) == 1
    assert "holds a run already; go on with it (--resume) or" in one_error(capsys)
    assert not measured, "no model must have been made"
    assert main([*command, "--resume", "--models", "1"]) == 0
    assert measured["resume"] is True
    assert names_in(out) == ALL_OUTPUT - {"calibration.ecsv", "calibration.png"} | {"notes.txt"}


def test_an_interrupted_run_keeps_its_models_and_says_so(measured, tmp_path, capsys):
    out = tmp_path / "perf"
    measured["late_error"] = KeyboardInterrupt()
    assert main(["performance", "--output", str(out), "--quiet"]) == 130
    assert "interrupted; the models that were finished are kept, the same command with --resume" in one_error(
        capsys
    )
    assert names_in(out) == {"models"}
    assert len(names_in(out / "models")) == 2


@pytest.mark.parametrize(
    ("error", "code"), [(KeyboardInterrupt(), 130), (MemoryError(), 1), (ValueError("odd"), 1)]
)
def test_a_run_that_ends_before_its_first_model_leaves_no_folder(error, code, measured, tmp_path):
    measured["error"] = error
    assert main(["performance", "--output", str(tmp_path / "perf"), "--quiet"]) == code
    assert measured["folder"] == tmp_path / "perf" / "models"
    assert not any(tmp_path.iterdir())


def test_numbers_and_figures_appear_together_or_not_at_all(measured, tmp_path, capsys, monkeypatch):
    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hisatools.performance.figures.write_figures", full_disk)
    out = tmp_path / "perf"
    assert main(["performance", "--output", str(out), "--quiet"]) == 1
    assert "cannot write" in (message := one_error(capsys)) and "No space left" in message
    assert names_in(out) == {"models"}


def test_a_figure_that_fails_does_not_cost_the_numbers(measured, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("hisatools.performance.figures.write_figures", lambda *_: 1 / 0)
    out = tmp_path / "perf"
    assert main(["performance", "--output", str(out), "--quiet"]) == 0
    assert "warning: not all figures could be drawn (ZeroDivisionError:" in capsys.readouterr().err
    assert names_in(out) == {name for name in ALL_OUTPUT if not name.endswith(".png")}


def test_an_input_in_the_output_folder_is_left_alone(cube_file, measured, capsys):
    command = ["performance", str(cube_file), "--output", str(cube_file.parent), "--resume"]
    assert main(command) == 1
    assert "the input lies in the output folder" in one_error(capsys)
    assert not measured


def test_a_small_run_measures_what_is_really_found(tmp_path, capsys, monkeypatch):
    # Figures are drawn, but not put into pixels.
    monkeypatch.setattr(
        "matplotlib.figure.Figure.savefig", lambda _, path, **__: path.write_bytes(b"picture")
    )
    out = tmp_path / "perf"
    command = "performance --shape 32 72 72 --passes 1 --models 1 --seed 101 --output"
    assert main([*command.split(), str(out)]) == 0
    assert ALL_OUTPUT - names_in(out) == {"calibration.ecsv", "calibration.png"}
    performance = PerformanceModel.read(out)
    assert performance.models["n_out_true"][0] > 100
    assert f"Seed 101: {performance.models['n_in_all'][0]} voxels put in" in capsys.readouterr().out
    assert PerformanceModel.read(out / "models" / "seed_00101.fits").meta == performance.meta


# --- strategies: compare, noise, list ---------------------------------------------------------


@pytest.fixture
def mask_file(cube_file, tmp_path):
    """A mask for the cube with one box and, as another program might write it, NaN beside it."""
    data = np.zeros((40, 24, 24), np.float32)
    data[18:22, 10:14, 10:14] = 1
    data[:, :, 23] = np.nan
    path = tmp_path / "mask" / "wanted.fits"
    path.parent.mkdir()
    fits.writeto(path, data, fits.getheader(cube_file))
    return path


@pytest.fixture
def pictures(monkeypatch):
    """Figures are drawn, but not put into pixels."""
    monkeypatch.setattr(
        "matplotlib.figure.Figure.savefig", lambda _, path, **__: path.write_bytes(b"picture")
    )


def test_compare_writes_tables_and_pictures_and_says_how_well_each_does(
    cube_file, mask_file, pictures, tmp_path, capsys
):
    out = tmp_path / "out"
    options = "--strategies shell spectral-linear --workers 1 --set spectral-linear.margin=4km/s"
    command = ["compare", str(cube_file), "--mask", str(mask_file), "--output", str(out), *options.split()]
    assert main(command) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert names_in(out) == {
        *("comparison.ecsv", "features.ecsv", "provenance.json", "run.toml", "feature_00001.png")
    }
    table = QTable.read(out / "comparison.ecsv")
    assert list(table["strategy"]) == ["shell", "spectral-linear"]
    assert list(table["n_voxels"]) == [64, 64]
    recorded = json.loads((out / "provenance.json").read_text())["strategies"]["spectral-linear"]
    assert recorded["parameters"]["margin"] == "4.0 km / s"
    assert "T_U at 64 voxels in 1 feature, and the emission predicted in the rim about them." in said.out
    (line,) = [line for line in said.out.splitlines() if line.startswith("  shell")]
    share, bias = line.split()[3:5]
    assert (share, bias) == ("100", f"{table['outside_bias'][0].value:.2f}")


def test_compare_takes_what_an_extraction_accepted_and_flagged(cube_file, quick, pictures, tmp_path):
    out = tmp_path / "out"
    assert main(["extract", str(cube_file), "--output", str(out), "--quiet"]) == 0
    with fits.open(out / "mask.fits", mode="update") as hdus:
        hdus[0].data[5, 5, 5] = 1  # suspected only, in one piece with what was accepted
        hdus[0].data[30:33, 10, 10] = 2
    compared = tmp_path / "compared"
    command = ["compare", str(cube_file), "--mask", str(out), "--output", str(compared), "--features", "0"]
    assert main([*command, "--strategies", "shell", "--quiet", "--rim", "1"]) == 0
    row = QTable.read(compared / "comparison.ecsv")[0]
    assert (row["n_features"], row["n_voxels"]) == (1, 2)
    assert row["outside_n_voxels"] == 5 * 3 * 3 - 3
    row = QTable.read(compared / "features.ecsv")[0]
    assert (row["feature"], row["catalog_id"], row["n_catalog"]) == (1, 1, 1)
    assert main([*command[:3], str(out), "--output", str(out), "--overwrite", "--quiet"]) == 1
    assert (out / "catalog.ecsv").exists()


def test_features_of_a_comparison_name_the_largest_they_hold_of_the_catalogue(
    cube_file, quick, pictures, tmp_path
):
    out, compared = tmp_path / "out", tmp_path / "compared"
    assert main(["extract", str(cube_file), "--output", str(out), "--quiet"]) == 0
    images = (fits.open(out / f"{name}.fits", mode="update") for name in ("mask", "labels"))
    with next(images) as flags, next(images) as ids:
        # One piece that holds three voxels of one, and two of another that comes later in the cube.
        flags[0].data[:], ids[0].data[:] = 0, 0
        flags[0].data[3:9, 5, 5] = [7, 7, 7, 1, 7, 7]
        ids[0].data[3:9, 5, 5] = [2, 2, 2, 0, 9, 9]
        flags[0].data[20:22, 15, 15], ids[0].data[20:22, 15, 15] = 7, 4
    command = ["compare", str(cube_file), "--mask", str(out), "--output", str(compared), "--features", "0"]
    assert main([*command, "--strategies", "shell", "--quiet"]) == 0
    rows = QTable.read(compared / "features.ecsv")
    assert list(zip(rows["feature"], rows["catalog_id"], rows["n_catalog"], strict=True)) == [
        (1, 2, 2),
        (2, 4, 1),
    ]


def test_nothing_to_compare_is_said_with_the_reason(cube_file, quick, tmp_path, capsys):
    quick["absorbed"] = False
    out, compared = tmp_path / "out", tmp_path / "compared"
    assert main(["extract", str(cube_file), "--output", str(out), "--quiet"]) == 0
    command = ["compare", str(cube_file), "--mask", str(out), "--output", str(compared), "--quiet"]
    assert main([*command, "--strategies", "shell"]) == 0
    assert "there are 0 features to compare: no voxel of the mask is set" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--mask no.fits", "no.fits: no such file"),
        (
            "--mask MASK --strategies shell second-derivative",
            "the strategy second-derivative cannot do without tracer: give --tracer",
        ),
        ("--mask MASK --off-regions no.reg", "--off-regions: no.reg: no such region file"),
        ("--mask MASK --off-regions CUBE", "cube.fits: cannot be read as a DS9 region file"),
        ("--mask MASK --low-resolution NOWHERE", "--low-resolution: nowhere.fits: no such file"),
        ("--mask MASK --off-regions FAR", "--off-regions: far.reg: the region covers no pixel of the field"),
        (
            "--mask MASK --velocity-range -50 -30",
            "the mask has the shape (40, 24, 24), the cube (21, 24, 24)",
        ),
        ("--mask MASK --strategies nope", "unknown strategy for the unabsorbed emission: 'nope'"),
        (
            "--mask MASK --strategies shell --tracer CUBE",
            "--tracer is for a strategy that takes it, and shell",
        ),
        (
            "--mask MASK --strategies shell --set spatial.x=1",
            "unknown section 'spatial' in --set; known: shell",
        ),
        (
            "--mask MASK --strategies shell --set shell.x=1",
            "unknown parameter shell.x in --set; known: min_fwhm",
        ),
        ("--mask MASK --rim 0", "rim must be finite and above 0"),
        ("--mask MASK --features -1", "features must be finite and at least 0"),
        ("--mask MASK --noise CUBE", "holds no noise that hisatools wrote"),
        ("--mask CUBE --output .", "the input lies in the output folder"),
    ],
)
def test_bad_argument_of_a_comparison_is_one_line(
    arguments, message, cube_file, mask_file, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    files = {"CUBE": str(cube_file), "MASK": str(mask_file), "FAR": str(mask_file.with_name("far.reg"))}
    files["NOWHERE"] = "nowhere.fits"
    mask_file.with_name("far.reg").write_text("galactic\ncircle(20, 5, 0.1)\n")
    given = [files.get(word, word) for word in arguments.split()]
    output = [] if "--output" in given else ["--output", str(tmp_path / "out")]
    assert main(["compare", str(cube_file), *given, *output, "--quiet", "--overwrite"]) == 1
    assert message in one_error(capsys)
    assert names_in(tmp_path) == {"cube.fits", "mask"}


def test_mask_of_another_place_is_refused(cube_file, mask_file, tmp_path, capsys):
    with fits.open(mask_file, mode="update") as hdus:
        hdus[0].header["CRVAL3"] = -58e3
    command = ["compare", str(cube_file), "--mask", str(mask_file), "--output", str(tmp_path / "out")]
    assert main([*command, "--quiet"]) == 1
    assert "the mask is of another part of the sky or of other velocities than the cube" in one_error(capsys)


def test_strategy_of_an_extraction_is_chosen_by_name(cube_file, quick, tmp_path):
    output = ["--output", str(tmp_path / "out"), "--unabsorbed", "spatial-mean"]
    changes = ["--set", "spatial-mean.width=4 arcmin", "--set", "spatial.peak_rank=5"]
    assert main(["extract", str(cube_file), *output, *changes]) == 0
    extractor = quick["extractor"]
    assert extractor.unabsorbed.strategy == "spatial-mean"
    assert extractor.unabsorbed.parameters.width == 4 * u.arcmin
    assert extractor.spatial.parameters.peak_rank == 5


def test_single_dish_cube_reaches_the_strategy(cube_file, quick, tmp_path, capsys):
    command = ["extract", str(cube_file), "--low-resolution", str(cube_file), "--quiet", "--output"]
    assert main([*command, str(tmp_path / "out"), "--unabsorbed", "beam"]) == 0
    given = quick["extractor"].unabsorbed.interpolator.low_resolution
    assert given.shape == (40, 24, 24)
    assert main([*command, str(tmp_path / "other")]) == 1
    assert "--low-resolution is for a strategy that takes it, and shell does not" in one_error(capsys)


@pytest.fixture
def far_file(cube_file, tmp_path):
    """A function that writes the cube with a changed header: another field, other velocities, no beam."""

    def write(name, **changes):
        header = fits.getheader(cube_file)
        header.update({key: value for key, value in changes.items() if value is not None})
        for key in [key for key, value in changes.items() if value is None]:
            del header[key]
        fits.writeto(tmp_path / name, fits.getdata(cube_file), header)
        return tmp_path / name

    return write


@pytest.mark.parametrize(
    ("strategy", "given", "changes", "message"),
    [
        ("second-derivative", None, {}, "second-derivative cannot do without tracer: give --tracer"),
        ("second-derivative", "--tracer", {"CRVAL1": 100.0}, "far.fits: is of another part of the sky"),
        ("beam", "--low-resolution", {"CRVAL1": 100.0}, "far.fits: is of another part of the sky"),
        ("beam", "--low-resolution", {"CRVAL3": 60e3}, "far.fits: covers 60.00 to 99.00 km/s"),
        ("beam", "--low-resolution", {"BMAJ": None}, "far.fits: the beam of the single-dish cube is"),
    ],
)
def test_input_a_strategy_cannot_use_is_said_before_the_search(
    strategy, given, changes, message, cube_file, far_file, quick, tmp_path, capsys
):
    options = [] if given is None else [given, str(far_file("far.fits", **changes))]
    command = ["extract", str(cube_file), "--unabsorbed", strategy, "--output", str(tmp_path / "out")]
    assert main([*command, *options, "--quiet"]) == 1
    error = one_error(capsys)
    assert message in error
    assert given is None or given in error
    assert not quick
    assert not (tmp_path / "out").exists()


def test_single_dish_cube_may_be_smaller_than_its_own_pixel(cube_file, far_file, quick, tmp_path):
    # The whole field is within the first of its 24 x 24 pixels of a degree.
    low = far_file("low.fits", CDELT1=-1.0, CDELT2=1.0, BMAJ=2.0, BMIN=2.0)
    command = ["extract", str(cube_file), "--unabsorbed", "beam", "--output", str(tmp_path / "out")]
    assert main([*command, "--low-resolution", str(low), "--quiet"]) == 0


def test_strategy_is_asked_before_the_search_whether_it_fits_the_cube(
    cube_file, quick, tmp_path, capsys, monkeypatch
):
    from hisatools.unabsorbed.beam import BeamStrategy

    def check(strategy, cube):
        assert cube.shape == (40, 24, 24)
        raise InputError("low_resolution: covers half of it")

    monkeypatch.setattr(BeamStrategy, "check", check, raising=False)
    command = ["extract", str(cube_file), "--unabsorbed", "beam", "--output", str(tmp_path / "out")]
    assert main([*command, "--low-resolution", str(cube_file), "--quiet"]) == 1
    assert f"error: --low-resolution {cube_file}: covers half of it" in one_error(capsys)
    assert not quick


def test_performance_names_another_strategy_where_it_has_no_option(measured, tmp_path, capsys):
    command = ["performance", "--output", str(tmp_path / "out"), "--unabsorbed", "second-derivative"]
    assert main(command) == 1
    assert "this command has no --tracer; name another strategy" in one_error(capsys)


def test_parameters_of_other_strategies_are_refused(cube_file, quick, tmp_path, capsys):
    command = ["extract", str(cube_file), "--output", str(tmp_path / "out"), "--unabsorbed", "spatial-mean"]
    assert main([*command, "--set", "shell.min_fwhm_angle=2arcmin"]) == 1
    assert "unknown section 'shell' in --set; known: spectral, spatial, spatial-mean" in one_error(capsys)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("2.5", 2.5),
        ("2 km/s", 2 * u.km / u.s),
        ("true", True),
        ("None", None),
        ("absolute", "absolute"),
        ("-60, -50", "-60, -50"),
    ],
)
def test_changes_are_numbers_quantities_words_or_texts(text, value):
    arguments = SimpleNamespace(set=[f"some-strategy.name = {text}"])
    assert parameter_changes(arguments) == {"some-strategy": {"name": value}}


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("-60 -50 km/s", [(-60, -50)]),
        ("60 80.5 km/s", [(60, 80.5)]),
        ("-1.5e2 -120 km/s , 60 80 km/s", [(-150, -120), (60, 80)]),
        ("-60e3 -50e3 m/s;+6 8 km / s", [(-60, -50), (6, 8)]),
    ],
)
def test_velocity_ranges_can_be_given(text, ends):
    arguments = SimpleNamespace(set=[f"line-free.ranges={text}"])
    ranges = parameter_changes(arguments)["line-free"]["ranges"]
    assert [tuple(pair.to_value("km/s")) for pair in ranges] == ends


@pytest.mark.parametrize("text", ["-60 -50", "-60 km/s", "60 80 K", "all", "5", "none"])
def test_text_that_is_no_velocity_range_is_named_with_one_that_is(text, cube_file, tmp_path, capsys):
    command = ["noise", str(cube_file), "--strategy", "line-free", "--output", str(tmp_path / "out.fits")]
    assert main([*command, "--set", f"line-free.ranges={text}"]) == 1
    error = one_error(capsys)
    assert "--set line-free.ranges needs velocity ranges" in error
    assert "write '-150 -120 km/s, 60 80 km/s'" in error


def test_noise_is_measured_in_the_ranges_that_are_given(cube_file, tmp_path):
    with fits.open(cube_file, mode="update") as hdus:
        rng = np.random.default_rng(201)
        hdus[0].data[:] = rng.normal(0, 2, hdus[0].data.shape)
        hdus[0].data[20:] *= 5
    out = tmp_path / "out.fits"
    command = ["noise", str(cube_file), "--strategy", "line-free", "--output", str(out), "--quiet"]
    assert main([*command, "--set", "line-free.ranges=-60 -51 km/s, -50 -41 km/s"]) == 0
    noise = NoiseResult.read(out)
    assert np.nanmedian(noise.sigma.value) == pytest.approx(2, rel=0.1)
    assert "-60" in noise.meta["parameters"]["ranges"]


def test_examples_in_the_help_are_parameters_that_exist(cube_file, tmp_path):
    for verb, group in (("noise", "noise"), ("compare", "unabsorbed")):
        required = ["--mask", "mask"] if verb == "compare" else []
        arguments = build_parser(VERBS).parse_args([verb, "cube.fits", "--output", "out", *required])
        arguments.set = [arguments.set_example]
        ((name, values),) = parameter_changes(arguments).items()
        strategy_parameters(group, [name], "cgps", {name: values})


@pytest.mark.parametrize("name", ["README.md", "docs/command.rst", "docs/unabsorbed.rst"])
def test_commands_in_the_documentation_are_understood(name):
    text = (Path(__file__).parents[1] / name).read_text(encoding="utf-8")
    starts = tuple(f"hisatools {verb} " for verb in VERBS)
    commands = [line for line in text.splitlines() if line.lstrip().startswith(starts)]
    commands = [line for line in commands if "--config" not in line]  # these are in test_config.py
    assert commands
    for command in commands:
        typed, _, _ = command.partition(" > ")
        build_parser(VERBS).parse_args(shlex.split(typed, comments=True)[1:])


def test_strategy_of_the_command_is_that_of_the_estimator():
    arguments = build_parser(VERBS).parse_args(["noise", "cube.fits", "--output", "out"])
    assert arguments.strategy == NoiseEstimator().strategy


def test_noise_of_a_cube_is_written_and_said(cube_file, tmp_path, capsys):
    out = tmp_path / "sigma.fits"
    command = [
        "noise",
        str(cube_file),
        "--strategy",
        "mad-difference",
        "--output",
        str(out),
        "--workers",
        "1",
    ]
    assert main(command) == 0
    noise = NoiseResult.read(out)
    assert noise.strategy == "mad-difference"
    median = np.nanmedian(noise.sigma.value)
    assert 1.5 < median < 2.5
    said = capsys.readouterr()
    assert f"{cube_file}: {median:.3g} K (" in said.out
    assert said.out.endswith(f"wrote {out}\n")
    assert main(command) == 1
    assert "exists already; choose another output, or allow overwriting" in one_error(capsys)
    assert main([*command, "--overwrite", "--quiet"]) == 0


def with_records(*stems):
    """Each file, and beside it the record of its run."""
    return {f"{stem}.{ending}" for stem in stems for ending in ("fits", "run.toml")}


def test_noise_of_several_cubes_goes_to_a_folder(cube_file, tmp_path, capsys):
    other = tmp_path / "other.fits"
    fits.writeto(other, 3 * fits.getdata(cube_file), fits.getheader(cube_file))
    out = tmp_path / "noise"
    command = ["noise", str(cube_file), str(other), "--output", str(out)]
    assert main([*command, "--workers", "2"]) == 0
    assert names_in(out) == with_records("cube_noise", "other_noise")
    one, three = (
        np.nanmedian(NoiseResult.read(out / f"{name}_noise.fits").sigma.value) for name in ("cube", "other")
    )
    assert three == pytest.approx(3 * one, rel=1e-4)
    assert len(capsys.readouterr().out.splitlines()) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--output CUBE --overwrite", "cube.fits is the cube itself; choose another --output"),
        ("--output out.fits --strategy nope", "unknown strategy for the noise: 'nope'; known: "),
        ("--output out.fits --set mesh.x=1", "unknown section 'mesh' in --set; known: mad-difference"),
        ("--output out.fits --set mesh", "is not SECTION.NAME=VALUE; write 'mesh.box_size=20 arcmin'"),
        ("--output out.fits --strategy weights", "without a map of weights: give --weights"),
        ("--output w.fits --overwrite --weights w.fits", "w.fits is the file of --weights; choose another"),
        ("--output r.reg --overwrite --region ./r.reg", "r.reg is the file of --region; choose another"),
        ("no.fits --output out", "no.fits: no such file"),
        ("r.reg --output out", "r.reg: not a FITS file"),
        ("twin/cube.fits --output out", "two cubes have one name"),
        ("--output nowhere/out.fits", "cannot write nowhere/out.fits"),
    ],
)
def test_bad_argument_of_a_noise_measurement_is_one_line(
    arguments, message, cube_file, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    fits.writeto("w.fits", np.ones((24, 24)))
    (tmp_path / "r.reg").write_text("galactic\ncircle(139.5, 0.1, 0.1)\n")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    given = [str(cube_file) if word == "CUBE" else word for word in arguments.split()]
    assert main(["noise", str(cube_file), *given, "--quiet"]) == 1
    assert message in one_error(capsys)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_noise_never_replaces_a_cube_that_is_read(cube_file, tmp_path, capsys):
    other = tmp_path / "cube_noise.fits"
    other.write_bytes(cube_file.read_bytes())
    command = ["noise", str(cube_file), str(other), "--output", str(tmp_path), "--overwrite"]
    assert main(command) == 1
    assert "cube_noise.fits is one of the cubes; choose another --output" in one_error(capsys)
    assert other.read_bytes() == cube_file.read_bytes()


def test_noise_of_what_is_finished_is_said_and_kept(cube_file, tmp_path, capsys):
    bad = tmp_path / "bad.fits"
    fits.writeto(bad, np.full((40, 24, 24), np.nan, np.float32), fits.getheader(cube_file))
    out = tmp_path / "noise"
    command = ["noise", str(cube_file), str(bad), "--output", str(out), "--workers", "1"]
    assert main(command) == 1
    said = capsys.readouterr()
    assert said.out.endswith(f"wrote {out / 'cube_noise.fits'}\n")
    assert "bad.fits" in said.err
    assert names_in(out) == with_records("cube_noise")
    assert main([*command[:2], *command[3:5], "--quiet", "--overwrite"]) == 1  # a folder is no file
    assert main([*command, "--overwrite", "--quiet"]) == 1
    bad.write_bytes(cube_file.read_bytes())
    assert main([*command, "--overwrite", "--quiet"]) == 0
    assert names_in(out) == with_records("cube_noise", "bad_noise")


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KeyboardInterrupt(), 130, "interrupted; the files that were finished are kept"),
        (MemoryError(), 1, "--velocity-range or --region, or hold fewer cubes at a time (--workers 1)"),
    ],
)
def test_what_stops_a_noise_measurement_is_one_line(
    error, code, message, cube_file, tmp_path, capsys, monkeypatch
):
    other = tmp_path / "other.fits"
    other.write_bytes(cube_file.read_bytes())
    measure = NoiseEstimator.estimate

    def fail(estimator, cube, **how):
        if cube.meta["path"].endswith("other.fits"):
            raise error
        return measure(estimator, cube, **how)

    monkeypatch.setattr(NoiseEstimator, "estimate", fail)
    command = ["noise", str(cube_file), str(other), "--output", str(tmp_path / "noise"), "--workers", "1"]
    assert main([*command, "--quiet"]) == code
    assert message in one_error(capsys)
    assert names_in(tmp_path / "noise") == with_records("cube_noise")


def test_strategies_are_listed_with_what_they_are_made_after(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "hisatools.unabsorbed.beam", None)
    assert main(["strategies"]) == 0
    heading, *lines = capsys.readouterr().out.splitlines()
    assert heading.split() == ["kind", "name", "after"]
    said = {tuple(line.split()[:2]): line for line in lines}
    for group in GROUPS:
        assert {name for kind, name in said if kind == group} == set(available(group))
    assert "Gibson et al. 2005" in said["unabsorbed", "shell"]
    assert "cannot be imported" in said["unabsorbed", "beam"] or "needs" in said["unabsorbed", "beam"]


# --- the other verbs --------------------------------------------------------------------------


def test_inspect_says_what_was_read_and_whether_the_preset_fits(cube_file, capsys):
    assert main(["inspect", str(cube_file)]) == 0
    said = capsys.readouterr().out
    assert "40 channels x 24 x 24 pixels" in said
    assert "-60.0 to -21.0 km/s, 1 km/s a channel, LSRK" in said
    assert "0.4 x 0.4 deg in pixels of 1 arcmin" in said
    assert "2 x 2 arcmin" in said
    assert "Preset cgps: fits, with remarks" in said
    assert "large for an axis of 24" in said


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"CDELT1": -1.0, "CDELT2": 1.0}, "NOT RESOLVED: a CLEAN kernel needs 2"),
        ({"CDELT1": -1e-3, "CDELT2": 1e-3}, "DOES NOT FIT: the cube has 24"),
        ({"CDELT3": 6000.0}, "NOT RESOLVED: a CLEAN kernel needs 2"),
        ({"CDELT3": 1500.0}, "widened to 2 channels"),
    ],
)
def test_inspect_names_scales_that_do_not_fit(change, message, cube_file, capsys):
    with fits.open(cube_file, mode="update") as hdus:
        hdus[0].header.update(change)
    assert main(["inspect", str(cube_file)]) == 0
    assert message in capsys.readouterr().out


def test_inspect_passes_over_blank_channels(cube_file, capsys):
    with fits.open(cube_file, mode="update") as hdus:
        hdus[0].data[:10] = np.nan
        hdus[0].data[20, 3, 3] = 130.5
        hdus[0].data[21, 3, 3] = -7.5
    assert main(["inspect", str(cube_file)]) == 0
    assert "-7.5 to 130.5 K, median 90" in capsys.readouterr().out


def test_inspect_lists_what_was_mended(cube_file, capsys):
    with fits.open(cube_file, mode="update") as hdus:
        hdus[0].header["BUNIT"] = "K (Tb)"
    assert main(["inspect", str(cube_file)]) == 0
    said = capsys.readouterr()
    assert "Mended:     1 time" in said.out
    assert "  - " in said.out
    assert said.err == ""


def test_inspect_knows_its_presets(cube_file, capsys):
    assert main(["inspect", str(cube_file), "--preset", "nope"]) == 1
    assert "unknown preset 'nope'; known presets: cgps" in one_error(capsys)


def test_backends_are_listed_with_what_they_need_and_give(capsys, monkeypatch):
    monkeypatch.setattr("hisatools.backends.speed.measure_speed", lambda kind, backend: 42.0)
    monkeypatch.setitem(sys.modules, "pyfftw", None)
    monkeypatch.delitem(sys.modules, "hisatools.backends.pyfftw_", raising=False)
    assert main(["backends"]) == 0
    heading, *lines = capsys.readouterr().out.splitlines()
    assert heading.split()[:5] == ["kind", "name", "default", "package", "tolerance"]
    said = {tuple(line.split()[:2]): line for line in lines}
    assert {("clean", "numba"), ("convolution", "scipy")} <= said.keys()
    assert said["clean", "numba"].endswith("42 spectra/s")
    assert said["convolution", "scipy"].endswith("42.0 ms a map")
    assert 'pip install "hisatools[fftw]"' in said["convolution", "pyfftw"]


@pytest.mark.parametrize("verb", ["extract cube.fits", "performance"])
def test_backends_are_left_to_the_default_unless_named(verb):
    arguments = build_parser(VERBS).parse_args([*verb.split(), "--output", "out"])
    assert (arguments.clean, arguments.convolution) == (None, None)
    named = "--clean reference --convolution pyfftw"
    arguments = build_parser(VERBS).parse_args([*verb.split(), "--output", "out", *named.split()])
    assert (arguments.clean, arguments.convolution) == ("reference", "pyfftw")


def test_simulate_writes_a_model_that_can_be_inspected(tmp_path, capsys):
    out = tmp_path / "model"
    command = ["simulate", "--output", str(out), "--shape", "32", "48", "48", "--seed", "3"]
    assert main(command) == 0
    assert (
        f"and its truth to {out}: cube.fits, pucks.ecsv, run.toml, truth_delta_t" in capsys.readouterr().out
    )
    assert main(["inspect", str(out / "cube.fits")]) == 0
    assert "32 channels x 48 x 48 pixels" in capsys.readouterr().out
    assert main(command) == 1
    assert "exists already and is not empty" in one_error(capsys)


def test_simulate_names_a_shape_that_cannot_be(tmp_path, capsys):
    assert main(["simulate", "--output", str(tmp_path / "model"), "--shape", "32", "-48", "48"]) == 1
    assert "shape must be three whole numbers (n_v, n_y, n_x)" in one_error(capsys)
    assert not any(tmp_path.iterdir())


def test_demo_ends_with_what_it_wrote_and_found(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("hisatools.cli.DEMO_SHAPE", (32, 72, 72))
    out = tmp_path / "demo"
    assert main(["demo", "--output", str(out)]) == 0
    assert {path.name for path in out.iterdir()} == {"model", "result"}
    said = capsys.readouterr().out
    assert f"Wrote {out / 'result'}: catalog.ecsv" in said
    assert "Against the known truth, " in said
    assert "of what was accepted is true absorption" in said
    assert HISAResult.read(out / "result").flags.shape == (32, 72, 72)
