"""What a process needs before it computes: start, import, and compiling on the first call."""

import os
import subprocess
import sys

import pytest

from benchmarks.cubes import model_file
from benchmarks.process import HISATOOLS
from benchmarks.settings import QUICK


def bench_help(timer):
    timer(lambda: _run([*HISATOOLS, "--help"]))


def bench_import(timer):
    timer(lambda: _run([sys.executable, "-c", "import hisatools"]))


@pytest.mark.parametrize("call", ("first", "second"))
def bench_extraction_of_a_small_cube(timer, cube_folder, numba_cache, tmp_path, call):
    """The difference of the two is what is compiled once, after installation."""
    path = model_file(cube_folder, QUICK.model)
    command = [*HISATOOLS, "extract", path, "--output", tmp_path / "out"]
    timer(lambda: _run(command, env=numba_cache), repeats=1, warm_up=False)


def _run(command, **settings):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, **settings)


@pytest.fixture(scope="module")
def numba_cache(tmp_path_factory):
    """An environment in which nothing is compiled yet."""
    return {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path_factory.mktemp("numba"))}
