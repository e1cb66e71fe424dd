"""Whole processes of ``hisatools extract``: time and peak memory against the size of the cube."""

import json
import shutil
import time

import pytest

from benchmarks.cubes import model_file
from benchmarks.process import HISATOOLS, run_process
from benchmarks.settings import QUICK
from hisatools import HISACube

WORKERS = 2


@pytest.fixture(scope="module")
def compiled(cube_folder, tmp_path_factory):
    """Compile what is not yet compiled: here every process counts as a second one."""
    cube = model_file(cube_folder, QUICK.model)
    run_process([*HISATOOLS, "extract", cube, "--output", tmp_path_factory.mktemp("first") / "out"])


@pytest.mark.usefixtures("compiled")
def bench_extract(timer, settings, cube_folder, tmp_path, side):
    path = model_file(cube_folder, (settings.n_channels, side, side))
    output = tmp_path / "out"
    command = [*HISATOOLS, "extract", path, "--output", output, "--overwrite", "--workers", str(WORKERS)]
    runs = []
    timer(lambda: runs.append(run_process(command)), repeats=settings.extractions, warm_up=False)
    provenance = json.loads((output / "provenance.json").read_text(encoding="utf-8"))
    shutil.rmtree(output)
    timer.note(
        shape=[settings.n_channels, side, side],
        workers=WORKERS,
        peak_bytes=max(run["peak_bytes"] for run in runs),
        cpu_seconds=sorted(run["cpu_seconds"] for run in runs)[len(runs) // 2],
        reading_seconds=_reading_seconds(path),
        stages=provenance["timings"],
        passes=provenance["passes"],
    )


def _reading_seconds(path):
    start = time.perf_counter()
    HISACube.read(path)
    return time.perf_counter() - start
