"""Each installed backend beside the others, on the same data, and its difference from the reference."""

import numpy as np
import pytest

from benchmarks.inputs import MapToClean, SpectraToClean
from hisatools import SpatialSearcher
from hisatools.backends import available, get_backend
from hisatools.errors import BackendUnavailableError


@pytest.fixture(scope="module")
def spectra(few_spectra):
    return SpectraToClean.of(few_spectra)


@pytest.fixture(scope="module")
def channel(maps_cube, settings):
    return MapToClean.of(maps_cube, n_loops=settings.n_clean_loops)


@pytest.fixture(scope="module")
def reference_spectra(spectra):
    return spectra.clean(get_backend("clean", "reference"))


@pytest.fixture(scope="module")
def reference_channel(channel):
    reference = channel.clean(get_backend("clean", "reference"), SpatialSearcher().convolution)
    return reference.unabsorbed_kelvin


@pytest.mark.parametrize("name", available("clean"))
def bench_clean_of_spectra(timer, spectra, reference_spectra, name):
    backend = _backend("clean", name)
    cleaned = timer(lambda: spectra.clean(backend))
    timer.rate(len(spectra.smoothed_kelvin) / 1e3, "thousand spectra/s")
    same_loops = cleaned.n_iterations == reference_spectra.n_iterations
    difference = np.abs(cleaned.unabsorbed_kelvin - reference_spectra.unabsorbed_kelvin)[same_loops].max()
    timer.note(other_loops=float(1 - same_loops.mean()))
    timer.note(difference=float(difference), tolerance=backend.tolerance_kelvin)


@pytest.mark.parametrize("name", available("clean"))
def bench_clean_of_a_map(timer, channel, reference_channel, name):
    backend, convolution = _backend("clean", name), SpatialSearcher().convolution
    cleaned = timer(lambda: channel.clean(backend, convolution))
    timer.cost(cleaned.n_iterations, "ms per iteration", 1e3)
    difference = np.abs(cleaned.unabsorbed_kelvin - reference_channel).max()
    timer.note(difference=float(difference), tolerance=backend.tolerance_kelvin)


@pytest.mark.parametrize("name", available("convolution"))
def bench_convolution(timer, channel, name):
    backend, correction = _backend("convolution", name), channel.correction()
    convolve = backend.gaussian(correction.shape, channel.fwhm_pix)
    out = np.empty_like(correction)
    timer(lambda: convolve(correction, out=out))
    timer.cost(1, "ms", 1e3)
    reference = get_backend("convolution", "reference").gaussian(correction.shape, channel.fwhm_pix)
    expected = reference(correction)
    difference = np.abs(out - expected).max() / expected.max()
    timer.note(difference=float(difference), tolerance=backend.tolerance)


def _backend(kind, name):
    """The backend; one whose package is not installed is left out, and that is shown."""
    try:
        return get_backend(kind, name)
    except BackendUnavailableError as error:
        pytest.skip(str(error))
