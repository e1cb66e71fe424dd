"""Fixtures of the measurements: model cubes, and a timer that records what its seconds mean."""

import pytest

from benchmarks.cubes import corner, model_file
from benchmarks.settings import SETTINGS, Settings
from hisatools import HISACube


class Timer:
    """Times a function with pytest-benchmark and notes speeds that follow from its seconds."""

    def __init__(self, benchmark, repeats):
        self._benchmark = benchmark
        self._repeats = repeats
        self._speeds = benchmark.extra_info["speeds"] = []

    def __call__(self, function, *, repeats=None, warm_up=True):
        """Result of a function; its first call, which may compile, is not timed."""
        return self._benchmark.pedantic(
            function, rounds=self._repeats if repeats is None else repeats, warmup_rounds=int(warm_up)
        )

    def rate(self, count, unit):
        """Note ``count`` things done: things per second."""
        self._speeds.append({"unit": unit, "factor": float(count), "power": -1})

    def cost(self, count, unit, per_second):
        """Note ``count`` things done: time for one, in units of which a second has ``per_second``."""
        self._speeds.append({"unit": unit, "factor": float(per_second / count), "power": 1})

    def note(self, **values):
        """Keep other numbers beside the seconds."""
        self._benchmark.extra_info.update(values)


def pytest_generate_tests(metafunc):
    if "side" in metafunc.fixturenames:
        metafunc.parametrize("side", _settings(metafunc.config).sides)


def _settings(config):
    return config.stash.get(SETTINGS, Settings())


@pytest.fixture(scope="session")
def settings(pytestconfig):
    return _settings(pytestconfig)


@pytest.fixture
def timer(benchmark, settings):
    return Timer(benchmark, settings.repeats)


@pytest.fixture(scope="session")
def cube_folder(settings, tmp_path_factory):
    if settings.cube_folder is None:
        return tmp_path_factory.mktemp("cubes")
    settings.cube_folder.mkdir(parents=True, exist_ok=True)
    return settings.cube_folder


@pytest.fixture(scope="module")
def spectra_cube(settings, cube_folder):
    return HISACube.read(model_file(cube_folder, settings.spectra))


@pytest.fixture(scope="module")
def maps_cube(settings, cube_folder):
    return HISACube.read(model_file(cube_folder, settings.maps))


@pytest.fixture(scope="module")
def model_path(settings, cube_folder):
    return model_file(cube_folder, settings.model)


@pytest.fixture(scope="module")
def few_spectra(settings, spectra_cube):
    return corner(spectra_cube, settings.baseline_spectra)


@pytest.fixture(scope="module")
def few_maps(settings, maps_cube):
    return corner(maps_cube, settings.baseline_maps)
