"""Speeds are those of the work alone, and the table says of each backend what there is to know."""

import sys

import numpy as np
import pytest

from hisatools.backends import available, default_name, speed
from hisatools.backends.registry import KINDS
from hisatools.backends.speed import (
    MAX_SPECTRA,
    backend_lines,
    correction_map,
    emission_spectra,
    measure_speed,
)
from hisatools.errors import BackendError
from hisatools.results import StopReason


class Clock:
    """Stands still but for what the work below says it takes."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(speed, "perf_counter", made)
    return made


class TimedConvolution:
    """Takes as many seconds as it is told to, call by call; then always the last."""

    def __init__(self, clock, *seconds):
        self.clock, self.seconds, self.images = clock, list(seconds), []

    def gaussian(self, shape, fwhm_pix):
        def convolve(image, out=None):
            self.images.append(image)
            self.clock.now += self.seconds.pop(0) if len(self.seconds) > 1 else self.seconds[0]
            return out

        return convolve


class TimedClean:
    """Takes a time for each call and a time for each spectrum."""

    def __init__(self, clock, per_call, per_spectrum):
        self.clock, self.per_call, self.per_spectrum = clock, per_call, per_spectrum
        self.shapes = []

    def clean_spectra(self, smoothed_kelvin, stop_kelvin, kernel, settings):
        assert kernel.sum() == pytest.approx(1) and kernel.size % 2 == 1
        self.shapes.append(smoothed_kelvin.shape)
        self.clock.now += self.per_call + self.per_spectrum * len(smoothed_kelvin)


def test_speed_of_a_convolution_is_that_of_the_best_call_but_the_first(clock):
    backend = TimedConvolution(clock, 1e-6, 0.05, 0.004, 0.03, 0.02)
    assert measure_speed("convolution", backend) == pytest.approx(4)
    assert {image.shape for image in backend.images} == {(1024, 1024)}


def test_compilation_is_not_counted(clock):
    assert measure_speed("convolution", TimedConvolution(clock, 100, 0.002)) == pytest.approx(2)


def test_a_slow_backend_is_called_twice_at_most(clock):
    backend = TimedConvolution(clock, 30)
    assert measure_speed("convolution", backend) == pytest.approx(30_000)
    assert len(backend.images) == 2


def test_speed_of_a_clean_is_not_that_of_its_calls(clock):
    backend = TimedClean(clock, 1e-3, 1e-5)
    assert measure_speed("clean", backend) == pytest.approx(1e5, rel=0.05)
    n_spectra, n_channels = backend.shapes[-1]
    assert 1000 < n_spectra <= MAX_SPECTRA
    assert n_channels == 272


def test_a_slow_clean_is_given_few_spectra(clock):
    backend = TimedClean(clock, 0, 0.5)
    assert measure_speed("clean", backend) == pytest.approx(2)
    assert max(backend.shapes)[0] < 20


def test_every_clean_backend_has_a_speed(clean_backend, monkeypatch):
    monkeypatch.setattr(speed, "BUDGET_SECONDS", 0)
    monkeypatch.setattr(speed, "MAX_SPECTRA", 32)
    assert 0 < measure_speed("clean", clean_backend) < np.inf


def test_every_convolution_backend_has_a_speed(convolution_backend, monkeypatch):
    monkeypatch.setattr(speed, "BUDGET_SECONDS", 0)
    assert 0 < measure_speed("convolution", convolution_backend) < np.inf


def test_spectra_are_such_that_clean_has_work_to_do(clean_backend):
    spectra = emission_spectra(24)
    assert (spectra.shape, spectra.dtype) == ((24, 272), np.float32)
    cleaned = speed._clean(clean_backend, spectra)
    assert np.median(cleaned.n_iterations) > 20
    assert set(cleaned.stop_reason) <= {StopReason.FRACTION, StopReason.NOISE}


def test_a_share_of_the_pixels_is_corrected():
    image = correction_map((300, 200), share=0.2)
    assert (image.shape, image.dtype) == ((300, 200), np.float32)
    assert (image > 0).mean() == pytest.approx(0.2, abs=0.01)
    assert image.min() == 0


# The table


@pytest.fixture
def quick(monkeypatch):
    """Replace the measuring; the default is looked for anew."""
    monkeypatch.setattr(speed, "measure_speed", lambda kind, backend: 1234.5)
    default_name.cache_clear()
    yield
    default_name.cache_clear()


def table():
    """Kind and name to the line."""
    _, *lines = backend_lines()
    return {tuple(line.split()[:2]): line for line in lines}


def test_all_installed_backends_are_in_the_table(quick):
    assert list(table()) == [(kind, name) for kind in KINDS for name in available(kind)]


def test_a_row_holds_package_version_tolerance_and_speed(quick):
    lines = table()
    assert lines["clean", "reference"].split("  ")[-1] == "1,234 spectra/s"
    assert f"numpy {np.__version__}" in lines["clean", "reference"]
    assert " 0 K " in lines["clean", "reference"]
    assert lines["convolution", "scipy"].endswith("2e-06 of the peak  1234.5 ms a map")


def test_one_backend_of_each_kind_is_marked_as_the_default(quick):
    marked = [key for key, line in table().items() if line.split()[2] == "yes"]
    assert marked == [(kind, default_name(kind)) for kind in KINDS]


def test_columns_stand_below_their_headings(quick):
    heading, *lines = backend_lines()
    at = heading.index("tolerance")
    usable = [line for line in lines if "needs the package" not in line]
    assert len(usable) >= len(KINDS)
    assert all(line[at - 1] == " " != line[at] for line in usable)


def test_the_headings_come_before_anything_is_measured(monkeypatch):
    monkeypatch.setattr(speed, "measure_speed", lambda *_: 1 / 0)
    assert next(backend_lines()).startswith("kind ")


def test_a_missing_package_is_a_row_with_what_to_install(quick, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyfftw", None)
    monkeypatch.delitem(sys.modules, "hisatools.backends.pyfftw_", raising=False)
    lines = table()
    assert 'install it with: pip install "hisatools[fftw]"' in lines["convolution", "pyfftw"]
    assert lines["convolution", "scipy"].endswith("ms a map")


def test_a_broken_backend_hides_no_other(quick, monkeypatch):
    def get_backend(kind, name):
        if name in ("scipy", None):
            raise BackendError("the backend is broken")
        return genuine(kind, name)

    genuine = speed.get_backend
    monkeypatch.setattr(speed, "get_backend", get_backend)
    monkeypatch.setattr(speed, "default_name", lambda kind: get_backend(kind, None))
    lines = table()
    assert lines["convolution", "scipy"].endswith("the backend is broken")
    assert lines["convolution", "reference"].endswith("ms a map")


def test_a_package_without_metadata_has_no_version(quick, monkeypatch):
    monkeypatch.setattr("hisatools.backends.scipy_.ScipyConvolution.package", "no-such-package")
    assert "  no-such-package  " in table()["convolution", "scipy"]


def test_a_backend_that_cannot_be_measured_says_why_in_its_row(quick, monkeypatch):
    def measure_speed(kind, backend):
        if backend.package == "scipy":
            raise RuntimeError("no device\nfound")
        return 1234.5

    monkeypatch.setattr(speed, "measure_speed", measure_speed)
    lines = table()
    assert list(lines) == [(kind, name) for kind in KINDS for name in available(kind)]
    assert lines["convolution", "scipy"].endswith("2e-06 of the peak  broken: RuntimeError: no device found")
    assert lines["convolution", "reference"].endswith("1234.5 ms a map")
