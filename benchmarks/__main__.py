"""Measure speed and memory of hisatools on this machine, print them and keep them as JSON.

    python -m benchmarks --cube-folder cubes --output benchmarks.json
    python -m benchmarks --only spectral spatial
    python -m benchmarks --quick

Run from the root of the project, with nothing else running. It takes about a quarter of an hour on two cores;
most of that are whole extractions of cubes up to 272 x 1024 x 1024. Needs pytest-benchmark.
"""

import argparse
import json
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.report import printed, summarise
from benchmarks.settings import QUICK, SETTINGS, Settings

HERE = Path(__file__).resolve().parent
GROUPS = tuple(sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py")))


class Given:
    """A pytest plugin that hands the settings to the fixtures."""

    def __init__(self, settings):
        self.settings = settings

    def pytest_configure(self, config):
        """Called by pytest before it collects."""
        config.stash[SETTINGS] = self.settings


def main(argv=None):
    arguments = parse(argv)
    settings = replace(QUICK if arguments.quick else Settings(), **given(arguments))
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as scratch:
        settings_here = replace(settings, cube_folder=settings.cube_folder or Path(scratch))
        raw = Path(scratch) / "raw.json"
        code = run(arguments.only, raw, settings_here)
        if not raw.exists() or not raw.stat().st_size:
            return int(code) or 1
        results = summarise(json.loads(raw.read_text(encoding="utf-8")), settings, load)
    arguments.output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(*printed(results["tables"]), f"Kept in {arguments.output}", sep="\n")
    return int(code)


def run(groups, raw, settings):
    """Run the benchmarks of some groups; pytest-benchmark writes the file ``raw``."""
    files = [str(HERE / f"bench_{group}.py") for group in groups]
    options = ["-c", str(HERE / "pytest.ini"), "-v", "--no-header", "--tb=short", "--benchmark-quiet"]
    return pytest.main([*files, *options, f"--benchmark-json={raw}"], plugins=[Given(settings)])


def given(arguments):
    """Those settings that were given; the others keep their values."""
    names = ("sides", "repeats", "extractions", "cube_folder")
    return {name: value for name in names if (value := getattr(arguments, name)) is not None}


def parse(argv):
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small cubes, once each: to try that all runs")
    parser.add_argument(
        "--output", type=Path, default=Path("benchmarks.json"), help="default benchmarks.json"
    )
    parser.add_argument(
        "--only", nargs="+", choices=GROUPS, default=GROUPS, metavar="NAME", help=listed(GROUPS)
    )
    parser.add_argument(
        "--sizes", dest="sides", type=int, nargs="+", metavar="PIXELS", help="sides of the extracted cubes"
    )
    parser.add_argument("--cube-folder", type=Path, help="keep the model cubes here, or take them from here")
    parser.add_argument("--repeats", type=int, metavar="N", help="of each measurement (default 3)")
    parser.add_argument("--extractions", type=int, metavar="N", help="repeats of whole processes (default 1)")
    return parser.parse_args(argv)


def listed(names):
    return f"any of {', '.join(names)}"


if __name__ == "__main__":
    sys.exit(main())
