"""The plain loops of `benchmarks.baseline` and hisatools, on the same data and with the same noise."""

import pytest

from benchmarks import baseline
from benchmarks.inputs import map_noise
from hisatools import SpatialSearcher, SpectralSearcher


@pytest.fixture(scope="module")
def spectral_noise(few_spectra):
    return SpectralSearcher().measure_noise(few_spectra)


@pytest.fixture(scope="module")
def spatial_noise(few_maps):
    return SpatialSearcher().measure_noise(few_maps)


def bench_plain_spectra(timer, few_spectra, spectral_noise):
    amplitude = timer(lambda: baseline.search_spectra(few_spectra, spectral_noise), warm_up=False)
    timer.rate(amplitude[0].size, "spectra/s")
    timer.note(voxels=few_spectra.kelvin.size, flagged=int((amplitude > 0).sum()))


@pytest.mark.parametrize("workers", (1, 2))
def bench_hisatools_spectra(timer, few_spectra, spectral_noise, workers):
    searcher = SpectralSearcher()
    found = timer(lambda: searcher.search(few_spectra, noise=spectral_noise, workers=workers))
    timer.rate(found.n_iterations.size, "spectra/s")
    timer.note(voxels=few_spectra.kelvin.size, flagged=int(found.mask.sum()))


@pytest.mark.parametrize("convolution", baseline.CONVOLUTIONS)
def bench_plain_maps(timer, few_maps, spatial_noise, convolution):
    noise = map_noise(few_maps, spatial_noise)
    amplitude = timer(lambda: baseline.search_channels(few_maps, *noise, convolution), warm_up=False)
    timer.cost(len(amplitude), "s per channel", 1)
    timer.note(voxels=few_maps.kelvin.size, flagged=int((amplitude > 0).sum()))


@pytest.mark.parametrize("workers", (1, 2))
def bench_hisatools_maps(timer, few_maps, spatial_noise, workers):
    searcher = SpatialSearcher()
    found = timer(lambda: searcher.search(few_maps, noise=spatial_noise, workers=workers))
    timer.cost(found.n_iterations.size, "s per channel", 1)
    timer.note(voxels=few_maps.kelvin.size, flagged=int(found.mask.sum()))
