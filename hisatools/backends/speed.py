"""How fast each backend is on this machine: what ``hisatools backends`` prints.

The sizes are those of a CGPS mosaic: spectra of 272 channels, and maps of 1024 x 1024 pixels in
which the 20 arcmin kernel is 67 pixels wide. One thread does the work, after a first call that
is not counted, in which a backend may compile or plan.
"""

from importlib import metadata
from time import perf_counter

import numpy as np
from astropy.stats import gaussian_fwhm_to_sigma

from hisatools.backends.protocols import CleanSettings
from hisatools.backends.registry import KINDS, TOLERANCE, available, default_name, get_backend
from hisatools.errors import BackendError
from hisatools.parameters import SpectralParameters

N_CHANNELS = 272
FWHM_CHAN = 9.7
MAP_SHAPE = (1024, 1024)
FWHM_PIX = 66.7
# Of S, and so the level at which the CLEAN of these spectra stops.
NOISE_KELVIN = 1.0
MAX_SPECTRA = 4096
FEW_SPECTRA = 16
TRIAL_SECONDS = 0.25
MAX_TRIALS = 20
BUDGET_SECONDS = 1.0
HEADINGS = ("kind", "name", "default", "package", "tolerance", "speed, one thread")


def measure_speed(kind, backend):
    """Speed of a backend on this machine.

    Parameters
    ----------
    kind : {"clean", "convolution"}
    backend : CleanBackend or ConvolutionBackend
        See `hisatools.backends.protocols`.

    Returns
    -------
    float
        CLEAN: spectra a second. Convolution: ms for a map. Best of a few trials.

    Examples
    --------
    >>> from hisatools.backends import get_backend
    >>> from hisatools.backends.speed import measure_speed
    >>> measure_speed("convolution", get_backend("convolution", "scipy")) > 0
    True
    """
    return _spectra_per_second(backend) if kind == "clean" else _milliseconds_per_map(backend)


def backend_lines():
    """The table of installed backends, line by line, each when its backend has been measured.

    Yields
    ------
    str
        The headings; then for each backend its kind, name, whether it is the default, package and
        version, tolerance and speed; or, for one that cannot be used or measured, the reason.

    Examples
    --------
    >>> from hisatools.backends.speed import backend_lines
    >>> next(backend_lines()).split()[:3]
    ['kind', 'name', 'default']
    """
    rows = [_row(kind, name) for kind in KINDS for name in available(kind)]
    columns = zip(HEADINGS[:-1], *(cells for cells, _ in rows), strict=True)
    widths = [max(map(len, column)) for column in columns]
    yield _aligned(HEADINGS, widths)
    for cells, backend in rows:
        if isinstance(backend, BackendError):
            yield _aligned([*cells[:2], str(backend)], widths)
        else:
            yield _aligned([*cells, _speed_text(cells[0], backend)], widths)


def emission_spectra(n_spectra, *, seed=1):
    """Spectra like those that CLEAN is given: a few lines, and the noise of S.

    Parameters
    ----------
    n_spectra : int
    seed : int
        Of the random numbers.

    Returns
    -------
    array, shape (n_spectra, 272), float32
        K.

    Examples
    --------
    >>> from hisatools.backends.speed import emission_spectra
    >>> spectra = emission_spectra(20)
    >>> spectra.shape, str(spectra.dtype)
    ((20, 272), 'float32')
    """
    rng = np.random.default_rng(seed)
    peak, centre, fwhm = (
        rng.uniform(*limits, (n_spectra, 4, 1)) for limits in ((10, 60), (0, N_CHANNELS), (12, 60))
    )
    offset = (np.arange(N_CHANNELS) - centre) / (fwhm * gaussian_fwhm_to_sigma)
    emission = (peak * np.exp(-0.5 * offset**2)).sum(axis=1)
    return (emission + rng.normal(0, NOISE_KELVIN, emission.shape)).astype(np.float32)


def correction_map(shape=MAP_SHAPE, *, share=0.05, seed=1):
    """A map like those that CLEAN convolves: 0 but for a share of the pixels, here and there.

    Parameters
    ----------
    shape : (int, int)
    share : float
        Of the pixels that are above 0.
    seed : int
        Of the random numbers.

    Returns
    -------
    array, shape ``shape``, float32
        K.

    Examples
    --------
    >>> from hisatools.backends.speed import correction_map
    >>> image = correction_map((200, 200), share=0.05)
    >>> image.shape, round(float((image > 0).mean()), 2)
    ((200, 200), 0.05)
    """
    rng = np.random.default_rng(seed)
    return np.where(rng.uniform(size=shape) < share, rng.uniform(1, 10, shape), 0).astype(np.float32)


def _row(kind, name):
    """The cells that are known beforehand, and the backend; or the error in its place."""
    try:
        backend = get_backend(kind, name)
    except BackendError as error:
        return [kind, name, "", "", ""], error
    tolerance = f"{getattr(backend, TOLERANCE[kind]):g} " + ("K" if kind == "clean" else "of the peak")
    return [kind, name, "yes" if _is_default(kind, name) else "", _package(backend), tolerance], backend


def _is_default(kind, name):
    try:
        return name == default_name(kind)
    except BackendError:  # there is none; the row of the backend at fault says why
        return False


def _package(backend):
    try:
        return f"{backend.package} {metadata.version(backend.package)}"
    except metadata.PackageNotFoundError:
        return backend.package


def _speed_text(kind, backend):
    """The speed; or why there is none, so that a broken backend hides no other."""
    try:
        speed = measure_speed(kind, backend)
        return f"{speed:,.0f} spectra/s" if kind == "clean" else f"{speed:.1f} ms a map"
    except Exception as error:
        return " ".join(f"broken: {type(error).__name__}: {error}".split())


def _aligned(cells, widths):
    return "  ".join(f"{cell:{width}}" for cell, width in zip(cells, [*widths, 0], strict=False)).rstrip()


def _spectra_per_second(backend):
    spectra = emission_spectra(MAX_SPECTRA)
    few = _best_seconds(lambda: _clean(backend, spectra[:FEW_SPECTRA]))
    # The faster a backend, the more spectra it takes for its speed not to be that of the call.
    n_spectra = int(np.clip(FEW_SPECTRA * TRIAL_SECONDS / few, FEW_SPECTRA, MAX_SPECTRA))
    return n_spectra / _best_seconds(lambda: _clean(backend, spectra[:n_spectra]))


def _clean(backend, spectra):
    parameters = SpectralParameters()
    settings = CleanSettings(
        gain=parameters.clean_gain,
        clip=parameters.clean_clip,
        stop_fraction=parameters.stop_fraction,
        max_iterations=parameters.max_iterations,
    )
    offset = np.arange(-round(3 * FWHM_CHAN), round(3 * FWHM_CHAN) + 1) / (FWHM_CHAN * gaussian_fwhm_to_sigma)
    kernel = np.exp(-0.5 * offset**2)
    stop_kelvin = np.full(len(spectra), NOISE_KELVIN)
    return backend.clean_spectra(spectra, stop_kelvin, kernel / kernel.sum(), settings)


def _milliseconds_per_map(backend):
    image = correction_map()
    out = np.empty_like(image)
    convolve = backend.gaussian(image.shape, FWHM_PIX)
    return 1e3 * _best_seconds(lambda: convolve(image, out=out))


def _best_seconds(function):
    """Least time of a few calls: what else the machine does can only lengthen them."""
    function()
    end = perf_counter() + BUDGET_SECONDS
    seconds = []
    while not seconds or (len(seconds) < MAX_TRIALS and perf_counter() < end):
        start = perf_counter()
        function()
        seconds.append(perf_counter() - start)
    return min(seconds)
