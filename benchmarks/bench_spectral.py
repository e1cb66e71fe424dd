"""The spectral search."""

import pytest

from benchmarks.inputs import SpectraToClean
from hisatools import SpectralSearcher


@pytest.mark.parametrize("workers", (1, 2))
def bench_search_with_noise(timer, spectra_cube, workers):
    searcher = SpectralSearcher()
    found = timer(lambda: searcher.search(spectra_cube, workers=workers))
    _note_speeds(timer, found.n_iterations, len(spectra_cube.kelvin))
    timer.note(voxels=spectra_cube.kelvin.size)


@pytest.mark.parametrize("workers", (1, 2))
def bench_search(timer, spectra_cube, workers):
    searcher = SpectralSearcher()
    noise = searcher.measure_noise(spectra_cube, workers=workers)
    found = timer(lambda: searcher.search(spectra_cube, noise=noise, workers=workers))
    _note_speeds(timer, found.n_iterations, len(spectra_cube.kelvin))


def bench_clean_alone(timer, spectra_cube):
    spectra = SpectraToClean.of(spectra_cube)
    backend = SpectralSearcher().clean
    cleaned = timer(lambda: spectra.clean(backend))
    _note_speeds(timer, cleaned.n_iterations, len(spectra_cube.kelvin))


@pytest.mark.parametrize("workers", (1, 2))
def bench_noise_alone(timer, spectra_cube, workers):
    searcher = SpectralSearcher()
    noise = timer(lambda: searcher.measure_noise(spectra_cube, workers=workers))
    timer.rate(noise.observed_kelvin.size / 1e3, "thousand spectra/s")


def _note_speeds(timer, n_iterations, n_channels):
    timer.rate(n_iterations.size / 1e3, "thousand spectra/s")
    timer.cost(int(n_iterations.sum()) * n_channels, "ns per spectrum, channel and iteration", 1e9)
    timer.note(iterations=float(n_iterations.mean()))
