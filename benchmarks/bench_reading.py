"""Reading a cube that the operating system has in memory: decoding and checking, not the disk."""

import pytest

from benchmarks.cubes import integer_file
from hisatools import HISACube


@pytest.mark.parametrize("kind", ("float32", "scaled int16"))
def bench_read(timer, model_path, kind):
    path = model_path if kind == "float32" else integer_file(model_path)
    cube = timer(lambda: HISACube.read(path))
    timer.rate(cube.kelvin.size / 1e6, "million voxels/s")
