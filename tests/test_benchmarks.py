import importlib
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.table import QTable
from numpy.testing import assert_allclose

from hisatools import HISACube, SpatialSearcher, SpectralParameters, SpectralSearcher, strategies
from hisatools.errors import ParameterError
from hisatools.features import label_features
from hisatools.simulate import ModelParameters, simulate_cube

ROOT = Path(__file__).resolve().parents[1]
GROUPS = ("baseline", "extraction", "reading", "spatial", "spectral", "unabsorbed")

# A model that a test can afford is small for the 20 arcmin kernel.
pytestmark = pytest.mark.filterwarnings("ignore:.*over a third of the axis:hisatools.errors.HISAWarning")


def benchmark_module(name):
    return importlib.import_module(f"benchmarks.{name}")


@pytest.fixture(autouse=True)
def project_on_path(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)


@pytest.fixture(scope="module")
def cube():
    return simulate_cube(ModelParameters().scaled((48, 80, 80)), seed=1).cube


# --- the plain loop -----------------------------------------------------------------------------


def assert_same_absorption(plain_kelvin, found, least_kelvin):
    """Equal depths; which voxels are culled may differ where the depth is at the limit."""
    both = (plain_kelvin > 0) & found.mask
    assert both.sum() > 500
    assert_allclose(plain_kelvin[both], found.amplitude.value[both], rtol=0, atol=0.02)
    one = (plain_kelvin > 0) != found.mask
    depth = np.maximum(plain_kelvin, found.amplitude.value)
    assert (depth[one] < least_kelvin + 0.02).all()
    assert one.sum() < 0.01 * both.sum()


def test_plain_loop_over_spectra_finds_what_the_search_finds(cube):
    part = cube.cutout((slice(None), slice(0, 16), slice(0, 16)))
    searcher = SpectralSearcher()
    noise = searcher.measure_noise(part)
    plain = benchmark_module("baseline").search_spectra(part, noise)
    found = searcher.search(part, noise=noise)
    assert_same_absorption(plain, found, searcher.parameters.cull_amplitude.value)


@pytest.mark.parametrize("convolution", ("fftconvolve", "gaussian_filter", "convolve_fft"))
def test_plain_loop_over_maps_finds_what_the_search_finds(cube, convolution):
    part = cube.cutout((slice(22, 24), slice(None), slice(None)))
    searcher = SpatialSearcher()
    noise = searcher.measure_noise(part)
    sigmas = benchmark_module("inputs").map_noise(part, noise)
    plain = benchmark_module("baseline").search_channels(part, *sigmas, convolution)
    found = searcher.search(part, noise=noise)
    assert_same_absorption(plain, found, searcher.parameters.cull_amplitude.value)


def test_every_convolution_of_the_plain_loop_is_tested():
    assert set(benchmark_module("baseline").CONVOLUTIONS) == {
        "fftconvolve",
        "gaussian_filter",
        "convolve_fft",
    }


def test_sight_line_with_continuum_absorption_is_left_out_by_the_plain_loop(cube):
    part = cube.cutout((slice(None), slice(0, 8), slice(0, 8)))
    part.kelvin[10, 3, 3] = -500
    noise = SpectralSearcher().measure_noise(part)
    unjoined = SpectralParameters(join_fwhm=1e-3 * part.pixel_scale)
    assert not benchmark_module("baseline").search_spectra(part, noise, unjoined)[:, 3, 3].any()


@pytest.mark.parametrize(
    ("spectrum", "expected"),
    [
        (np.where(np.arange(21) == 10, 60.0, 100.0), 1.0),
        (np.where(np.arange(21) < 10, 100.0, 60.0), 0.5),
        (np.linspace(100, 60, 21), 0.0),
        (np.where(np.arange(21) == 10, 100.0, 60.0), 0.0),
    ],
    ids=["dip", "step", "slope", "bump"],
)
def test_dip_filter_of_the_plain_loop_knows_the_cases_of_the_paper(spectrum, expected):
    dip_filter = benchmark_module("baseline").dip_filter
    assert dip_filter(spectrum, 10, 2.4, 2.4) == pytest.approx(expected, abs=1e-12)


def test_dip_at_the_end_of_the_band_has_no_shoulder():
    assert benchmark_module("baseline").dip_filter(np.full(21, 100.0), 20, 2.4, 2.4) == 0


def test_fit_of_the_plain_loop_recovers_a_gaussian_on_a_slope():
    channels = np.arange(30, 45)
    depth = 12 * np.exp(-4 * np.log(2) * ((channels - 37) / 4) ** 2) + 3 - 0.5 * channels
    amplitude, scatter = benchmark_module("baseline").fit_gaussian(channels, depth, 37, 4)
    assert amplitude == pytest.approx(12)
    assert scatter == pytest.approx(0, abs=1e-6)


# --- estimates of T_U against the truth ---------------------------------------------------------


@pytest.fixture(scope="module")
def unabsorbed_run(tmp_path_factory):
    """The printed text and the folder of one small run."""
    output = tmp_path_factory.mktemp("unabsorbed") / "out"
    command = [
        sys.executable,
        "-m",
        "benchmarks.unabsorbed",
        "--seeds",
        "101",
        "102",
        "--shape",
        "24",
        "40",
        "40",
    ]
    command += ["--strategies", "shell", "spectral-linear", "--output", str(output), "--form", "rst"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, output


def test_run_over_strategies_has_tables_by_width_and_linewidth_and_a_figure(unabsorbed_run):
    printed, output = unabsorbed_run
    assert {path.name for path in output.iterdir()} == {
        "strategies.ecsv",
        "widths.ecsv",
        "linewidths.ecsv",
        "unabsorbed.png",
    }
    overall = QTable.read(output / "strategies.ecsv")
    assert list(overall["strategy"]) == ["shell", "spectral-linear"]
    assert (overall["voxels_per_second"] > 0).all()
    assert "within_1_sigma" in printed
    for name, unit in (("widths", "arcmin"), ("linewidths", "km / s")):
        table = QTable.read(output / f"{name}.ecsv")
        assert table["low"].unit == unit
        for row in overall:
            bins = table[table["strategy"] == row["strategy"]]
            # Of the voxels of all bins together, but for features that are no puck's.
            assert 0 < bins["n_voxels"].sum() <= row["n_voxels"]


def test_voxels_belong_to_the_puck_that_is_there():
    module = benchmark_module("unabsorbed")
    model = simulate_cube(ModelParameters().scaled((24, 40, 40), n_pucks=6), seed=103)
    labels, _ = label_features(model.mask)
    width, linewidth = module.puck_widths(model, labels)
    assert np.isnan(width[0]) and np.isnan(linewidth[0])
    puck = model.pucks[0]  # the largest, which no other can hide
    place = tuple(
        min(round(puck[f"{axis}_pixel"]), size - 1) for axis, size in zip("vyx", labels.shape, strict=True)
    )
    assert labels[place] > 0
    assert (width[labels[place]], linewidth[labels[place]]) == (puck["width"], puck["linewidth"])


def test_strategy_that_fails_is_reported_and_the_others_are_measured(monkeypatch):
    module = benchmark_module("unabsorbed")

    def load(group, name):
        if name == "broken":
            raise ParameterError("it needs a tracer")
        return strategies.load(group, name)

    monkeypatch.setattr(module, "load", load)
    said = []
    found = module.measure(["broken", "shell"], [101], (24, 32, 32), report=said.append)
    assert list(found) == ["shell"]
    assert said[0] == "seed 101, broken: it needs a tracer"
    assert len(found["shell"]) < found["shell"].meta["estimated"]


def test_run_in_which_nothing_can_be_measured_fails(capsys):
    arguments = ["--seeds", "101", "--shape", "24", "32", "32", "--strategies", "nope"]
    assert benchmark_module("unabsorbed").main(arguments) == 1
    assert "unknown strategy for the unabsorbed emission: 'nope'" in capsys.readouterr().out


# --- cubes and processes ------------------------------------------------------------------------


def test_model_cube_is_made_once_and_kept(tmp_path):
    cubes = benchmark_module("cubes")
    path = cubes.model_file(tmp_path, (8, 12, 12))
    made = path.stat().st_mtime_ns
    assert cubes.model_file(tmp_path, (8, 12, 12)) == path
    assert path.stat().st_mtime_ns == made
    expected = simulate_cube(ModelParameters().scaled((8, 12, 12)), seed=cubes.SEED).cube
    np.testing.assert_array_equal(HISACube.read(path).kelvin, expected.kelvin)


def test_integers_hold_the_same_cube_to_half_a_step(tmp_path):
    cubes = benchmark_module("cubes")
    path = cubes.model_file(tmp_path, (8, 12, 12))
    integers = cubes.integer_file(path)
    assert integers.stat().st_size < path.stat().st_size
    half = 0.5 * cubes.INTEGER_STEP_KELVIN
    assert_allclose(HISACube.read(integers).kelvin, HISACube.read(path).kelvin, rtol=0, atol=half + 1e-4)


def test_memory_is_that_of_the_command_and_not_of_who_starts_it(monkeypatch):
    monkeypatch.chdir(ROOT)
    ours = np.ones(60_000_000)  # 480 MB
    measured = benchmark_module("process").run_process([sys.executable, "-c", "held = b'x' * 150_000_000"])
    assert ours.nbytes > measured["peak_bytes"] > 150_000_000
    assert measured["seconds"] > 0
    assert measured["cpu_seconds"] > 0


def test_command_that_fails_is_an_error_with_its_own_words(monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(RuntimeError, match="failed: no such cube"):
        benchmark_module("process").run_process([sys.executable, "-c", "raise SystemExit('no such cube')"])


# --- what the seconds mean ----------------------------------------------------------------------


def entry(name, seconds, *, params=None, speeds=(), **notes):
    low, median, high = seconds
    return {
        "fullname": f"benchmarks/{name}",
        "params": params,
        "stats": {"median": median, "min": low, "max": high, "rounds": 3},
        "extra_info": {"speeds": list(speeds), **notes},
    }


def extraction(side, seconds, peak_bytes):
    return entry(
        f"bench_extraction.py::bench_extract[{side}]",
        (seconds, seconds, seconds),
        params={"side": side},
        shape=[10, side, side],
        peak_bytes=peak_bytes,
        cpu_seconds=2 * seconds,
        reading_seconds=0.1 * seconds,
        stages={"spectral search": 0.3 * seconds, "spatial search": 0.5 * seconds},
        passes=[{"accepted": 1}, {"accepted": 7}],
    )


@pytest.fixture
def results():
    entries = [
        entry(
            "bench_spectral.py::bench_search_with_noise[1]",
            (1.0, 2.0, 4.0),
            params={"workers": 1},
            speeds=[{"unit": "spectra/s", "factor": 80.0, "power": -1}],
            voxels=4000,
        ),
        entry(
            "bench_spectral.py::bench_search_with_noise[2]",
            (1.0, 1.0, 1.0),
            params={"workers": 2},
            voxels=4000,
        ),
        entry(
            "bench_spatial.py::bench_clean_of_one_map",
            (2.0, 2.0, 2.0),
            speeds=[{"unit": "ms per iteration", "factor": 2.0, "power": 1}],
            iterations=500.0,
            convolution_ms=1.0,
        ),
        entry("bench_baseline.py::bench_plain_spectra", (80.0, 100.0, 120.0), flagged=9, voxels=200),
        entry(
            "bench_baseline.py::bench_hisatools_spectra[1]",
            (0.5, 1.0, 2.0),
            params={"workers": 1},
            flagged=9,
        ),
        extraction(100, 10.0, 4e8),
        extraction(200, 40.0, 8e8),
    ]
    raw = {
        "benchmarks": entries,
        "commit_info": {"id": "abc", "dirty": True},
        "datetime": "2026-01-01",
        "machine_info": {"cpu": {"brand_raw": "a processor"}, "node": "name-of-a-host"},
    }
    settings = benchmark_module("settings").QUICK
    return benchmark_module("report").summarise(raw, settings, load=0.25)


def test_rates_and_costs_follow_from_the_seconds_in_the_right_order(results):
    searches = [m for m in results["measurements"] if m["name"] == "search with noise"]
    assert searches[0]["speeds"]["spectra/s"] == {"median": 40, "min": 20, "max": 80}
    assert searches[0]["speeds"]["s"] == {"median": 2, "min": 1, "max": 4}


def test_ratio_to_the_plain_loop_has_the_extremes_of_both_sides(results):
    (row,) = results["tables"]["ratios"]
    assert (row["low"], row["ratio"], row["high"]) == (40, 100, 240)
    assert row["plain_loop_with"] == "numpy.convolve"
    assert row["hisatools_with"] == "1 worker"


def test_ratio_to_a_search_of_the_whole_cube_is_voxel_for_voxel(results):
    one, two = results["tables"]["whole_ratios"]
    assert (one["low"], one["ratio"], one["high"]) == pytest.approx((400, 1000, 2400))
    assert two["ratio"] == pytest.approx(2000)


def test_second_worker_and_share_of_the_convolution(results):
    (workers,) = results["tables"]["workers"]
    assert workers["ratio"] == 2
    (share,) = results["tables"]["shares"]
    assert (share["iteration"], share["convolution"], share["share"]) == (4, 1, 0.25)


def test_growth_is_a_power_of_the_number_of_voxels(results):
    growth = {row["quantity"]: row for row in results["tables"]["growth"]}
    assert growth["time"]["exponent"] == pytest.approx(1)
    assert growth["time"]["per_million_voxels"] == pytest.approx(100)
    assert growth["peak memory"]["exponent"] == pytest.approx(0.5)


def test_stages_add_up_to_the_whole_time(results):
    stages = {row.pop("stage"): row for row in results["tables"]["stages"]}
    assert stages["everything else"]["10 x 200 x 200"] == pytest.approx(8)
    assert sum(stage["10 x 200 x 200"] for stage in stages.values()) == pytest.approx(40)


def test_machine_is_described_without_its_name(results):
    assert results["machine"]["processor"] == "a processor"
    assert results["machine"]["load before the run"] == 0.25
    assert results["versions"]["numpy"] == np.__version__
    assert "name-of-a-host" not in json.dumps(results)


# --- the command --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def quick_run(tmp_path_factory):
    """Results and printed text of one small run."""
    pytest.importorskip("pytest_benchmark")
    output = tmp_path_factory.mktemp("benchmarks") / "benchmarks.json"
    command = [sys.executable, "-m", "benchmarks", "--quick", "--output", output, "--only", *GROUPS]
    # As from a shell: nothing is timed in a worker of pytest-xdist.
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(command, cwd=ROOT, env=own, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return output, done.stdout


def test_quick_run_measures_every_group(quick_run):
    results = json.loads(quick_run[0].read_text(encoding="utf-8"))
    assert {measurement["group"] for measurement in results["measurements"]} == set(GROUPS)
    for measurement in results["measurements"]:
        for speed in measurement["speeds"].values():
            assert 0 < speed["min"] <= speed["median"] <= speed["max"]
    units = {unit for measurement in results["measurements"] for unit in measurement["speeds"]}
    assert {
        "thousand spectra/s",
        "ns per spectrum, channel and iteration",
        "ms per iteration",
        "million voxels/s",
        "million flagged voxels/s",
    } < units


def test_quick_run_compares_equal_answers(quick_run):
    results = json.loads(quick_run[0].read_text(encoding="utf-8"))
    ratios = results["tables"]["ratios"]
    assert {(row["search"], row["hisatools_with"]) for row in ratios} == {
        (search, workers) for search in ("spectral", "spatial") for workers in ("1 worker", "2 workers")
    }
    for row in ratios:
        assert row["flagged_by_loop"] == pytest.approx(row["flagged_by_hisatools"], rel=0.02)


def test_quick_run_has_a_row_for_every_size_and_stage(quick_run):
    tables = json.loads(quick_run[0].read_text(encoding="utf-8"))["tables"]
    sizes = [row["size"] for row in tables["extraction"]]
    assert sizes == ["32 x 80 x 80", "32 x 112 x 112"]
    assert {"spectral search", "spatial search", "everything else"} < {
        row["stage"] for row in tables["stages"]
    }
    assert [row["quantity"] for row in tables["growth"]] == ["time", "processor time", "peak memory"]


def test_quick_run_prints_its_tables(quick_run):
    output, printed = quick_run
    for heading in ("== machine", "== ratios", "== extraction", "== growth", f"Kept in {output}"):
        assert heading in printed


def test_documentation_is_made_from_a_run(quick_run, tmp_path):
    (tmp_path / "_static").mkdir()
    make = runpy.run_path(str(ROOT / "docs" / "make_benchmarks.py"))["make_benchmarks"]
    make(quick_run[0], docs=tmp_path)
    tables = json.loads(quick_run[0].read_text(encoding="utf-8"))["tables"]
    assert {path.stem for path in (tmp_path / "benchmarks").iterdir()} == set(tables)
    extraction = QTable.read(tmp_path / "benchmarks" / "extraction.ecsv")
    assert extraction["peak_memory"].unit == "GB"
    assert (tmp_path / "_static" / "benchmarks_size.png").stat().st_size > 5000


def test_every_table_of_the_page_is_made():
    page = (ROOT / "docs" / "benchmarks.rst").read_text(encoding="utf-8")
    shown = {
        line.split("/")[-1].removesuffix(".ecsv") for line in page.splitlines() if "table-file::" in line
    }
    groups = {path.stem.removeprefix("bench_") for path in (ROOT / "benchmarks").glob("bench_*.py")}
    derived = {"machine", "sizes", "workers", "shares", "ratios", "whole_ratios", "stages", "growth"}
    assert shown == groups | derived
