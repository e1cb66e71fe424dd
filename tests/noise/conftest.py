"""Cubes on which the noise is known."""

import functools
import importlib
from importlib.util import find_spec
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from radio_beam import Beam

from hisatools import HISACube
from hisatools.simulate import ModelParameters, model_wcs

ROOT = Path(__file__).resolve().parents[2]
SHAPE = (72, 112, 112)


def pytest_collection_modifyitems(items):
    """Without photutils, what is called after the mesh is skipped."""
    if find_spec("photutils") is None:
        for item in items:
            if "noise" in item.path.parts and "mesh" in item.name:
                item.add_marker(pytest.mark.skip(reason="the extra mesh is not installed"))


@pytest.fixture(scope="session")
def benchmark_noise():
    """The module that makes the model sky."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT)
        yield importlib.import_module("benchmarks.noise")


@pytest.fixture(scope="session")
def sky(benchmark_noise):
    """Emission and absorption, and noise that rises from 3 to 6 K and with the brightness."""
    return benchmark_noise.model_sky(SHAPE, seed=403)


@pytest.fixture(scope="session")
def sky_with_sources(benchmark_noise):
    """The same kind of sky with bright compact sources on a twentieth of it."""
    return benchmark_noise.model_sky(SHAPE, seed=403, source_share=0.05)


@pytest.fixture(scope="session")
def measured(sky, benchmark_noise):
    """What a strategy measures on the sky without sources, by its name; each is made once."""
    return functools.cache(lambda name: benchmark_noise.estimator(name).estimate(sky.cube, workers=2))


@pytest.fixture
def make_cube():
    """Make a cube of any shape, also of one that has too few channels for a search."""

    def make(kelvin, weights=None):
        kelvin = np.asarray(kelvin, np.float32)
        shape = (max(kelvin.shape[0], 3), *kelvin.shape[1:])
        stand_in = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
        wcs = model_wcs(ModelParameters(shape=shape))
        cube = HISACube(stand_in * u.K, wcs, beam=Beam(1 * u.arcmin), weights=weights)
        return cube.cutout((slice(0, len(kelvin)), slice(None), slice(None))).with_brightness(kelvin)

    return make
