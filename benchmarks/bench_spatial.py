"""The spatial search."""

import time

import numpy as np
import pytest

from benchmarks.inputs import MapToClean
from hisatools import SpatialSearcher


@pytest.mark.parametrize("workers", (1, 2))
def bench_search_with_noise(timer, maps_cube, workers):
    searcher = SpatialSearcher()
    found = timer(lambda: searcher.search(maps_cube, workers=workers))
    _note_iterations(timer, found.n_iterations)
    timer.note(voxels=maps_cube.kelvin.size)


@pytest.mark.parametrize("workers", (1, 2))
def bench_search(timer, maps_cube, workers):
    searcher = SpatialSearcher()
    noise = searcher.measure_noise(maps_cube, workers=workers)
    found = timer(lambda: searcher.search(maps_cube, noise=noise, workers=workers))
    _note_iterations(timer, found.n_iterations)


def bench_clean_of_one_map(timer, maps_cube):
    searcher, channel = SpatialSearcher(), MapToClean.of(maps_cube)
    cleaned = timer(lambda: channel.clean(searcher.clean, searcher.convolution))
    _note_iterations(timer, np.array([cleaned.n_iterations]))
    timed = TimedConvolution(searcher.convolution)
    channel.clean(searcher.clean, timed)
    timer.note(convolution_ms=1e3 * timed.seconds / timed.n_calls)


class TimedConvolution:
    """A convolution backend that keeps account of the time spent in it, by one thread."""

    def __init__(self, backend):
        self.backend = backend
        self.seconds, self.n_calls = 0.0, 0

    def gaussian(self, shape, fwhm_pix):
        """See `~hisatools.backends.protocols.ConvolutionBackend.gaussian`."""
        convolve = self.backend.gaussian(shape, fwhm_pix)

        def timed(image, out=None):
            start = time.perf_counter()
            convolved = convolve(image, out=out)
            self.seconds += time.perf_counter() - start
            self.n_calls += 1
            return convolved

        return timed


def _note_iterations(timer, n_iterations):
    timer.cost(int(n_iterations.sum()), "ms per iteration", 1e3)
    timer.note(iterations=float(n_iterations.mean()))
