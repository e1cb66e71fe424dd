"""What a backend must offer. A backend never changes an answer beyond its stated tolerance."""

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple, Protocol

import numpy as np

MIN_COVERAGE = 1e-4


class StopReason(IntEnum):
    """Which of the three stops ended a CLEAN (the paper, sections 2.2 and 2.3).

    Examples
    --------
    >>> from hisatools import SpectralSearcher, StopReason
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> model = simulate_cube(ModelParameters(shape=(64, 32, 32), n_pucks=3, n_components=50), seed=2)
    >>> found = SpectralSearcher().search(model.cube)
    >>> print(StopReason(found.stop_reason[16, 16]).name)
    NOISE
    >>> {reason.name: int((found.stop_reason == reason).sum()) for reason in StopReason}
    {'NOT_CLEANED': 0, 'FRACTION': 85, 'NOISE': 939, 'MAX_ITERATIONS': 0}
    """

    NOT_CLEANED = 0  #: There is no finite value.
    FRACTION = 1  #: R_max fell below a fraction of the peak.
    NOISE = 2  #: The positive residuals fell to the noise.
    MAX_ITERATIONS = 3  #: The largest number of loops was done.


@dataclass(frozen=True, kw_only=True)
class CleanSettings:
    """Numbers that steer the SDI CLEAN of the paper, sections 2.2 and 2.3.

    Parameters
    ----------
    gain, clip : float
        A channel or pixel above ``clip`` x R_max is corrected by ``gain`` x R.
    stop_fraction : float
        CLEAN stops when R_max is below this fraction of the peak of S.
    max_iterations : int
    peak_rank : int
        R_max is the ``peak_rank``-th highest residual (1: the highest).

    Examples
    --------
    >>> from hisatools.backends.protocols import CleanSettings
    >>> CleanSettings(gain=0.25, clip=0.8, stop_fraction=0.03, max_iterations=1000).peak_rank
    1
    """

    gain: float
    clip: float
    stop_fraction: float
    max_iterations: int
    peak_rank: int = 1


class CleanedSpectra(NamedTuple):
    """CLEAN of n spectra: ``unabsorbed_kelvin`` (n, n_v); the other arrays have shape (n,).

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools.backends.protocols import CleanedSpectra
    >>> cleaned = CleanedSpectra(np.full((10, 272), 80.0), np.full(10, 1.2), np.full(10, 57), np.full(10, 2))
    >>> cleaned.unabsorbed_kelvin.shape, cleaned.n_iterations.shape
    ((10, 272), (10,))
    """

    unabsorbed_kelvin: np.ndarray
    sigma_pos_kelvin: np.ndarray
    n_iterations: np.ndarray
    stop_reason: np.ndarray


class CleanedChannel(NamedTuple):
    """CLEAN of one channel map: ``unabsorbed_kelvin`` (n_y, n_x) and three scalars.

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools.backends.protocols import CleanedChannel, StopReason
    >>> cleaned = CleanedChannel(np.full((40, 40), 80.0), 1.2, 57, StopReason.NOISE)
    >>> cleaned.unabsorbed_kelvin.shape, cleaned.stop_reason.name
    ((40, 40), 'NOISE')
    """

    unabsorbed_kelvin: np.ndarray
    sigma_pos_kelvin: float
    n_iterations: int
    stop_reason: int


class CleanBackend(Protocol):
    """An SDI CLEAN of spectra and of channel maps: a class that is made without arguments.

    The convolved correction is divided by the share of the kernel that falls on finite values, so
    that U neither sags nor overshoots at borders and about blank regions.

    NaN is blank: never corrected and in no statistic. U is NaN where S is blank, and in a map also where
    less than 1e-4 of the kernel falls on finite pixels. Where there is no finite value the
    stop reason is `StopReason.NOT_CLEANED`.

    Attributes
    ----------
    package : str
        The distribution that does the work, e.g. "numba"; its version is listed.
    tolerance_kelvin : float
        Largest difference from the reference's unabsorbed emission after as many loops. Where sigma_pos
        comes within rounding of its stop level, one loop more or less may be done: some hundredths
        of a kelvin to some tenths, in a few spectra of ten thousand.
    cost : float
        Time for spectra of 272 channels relative to the others of this kind (numba: 1). A number
        from the benchmarks, fixed, so that the default is the same on every machine.

    Examples
    --------
    A narrow dip of 30 K in a broad line is not followed by U:

    >>> import numpy as np
    >>> from hisatools.backends.protocols import CleanSettings
    >>> from hisatools.backends.registry import get_backend
    >>> velocity = np.arange(-60.0, 61.0)
    >>> spectrum = 90 * np.exp(-((velocity / 40) ** 2)) - 30 * np.exp(-((velocity / 2) ** 2))
    >>> kernel = np.exp(-0.5 * (np.arange(-17, 18) / 3.4) ** 2)
    >>> settings = CleanSettings(gain=0.25, clip=0.8, stop_fraction=0.03, max_iterations=1000)
    >>> clean = get_backend("clean", "reference")
    >>> found = clean.clean_spectra(spectrum[None], np.array([0.5]), kernel / kernel.sum(), settings)
    >>> round(float(spectrum[60])), round(float(found.unabsorbed_kelvin[0, 60]), -1)
    (60, 80.0)
    """

    package: str
    tolerance_kelvin: float
    cost: float

    def clean_spectra(self, smoothed_kelvin, stop_kelvin, kernel, settings):
        """CLEAN each row of ``smoothed_kelvin`` (n, n_v) until sigma_pos < ``stop_kelvin`` (n,).

        There is at least one row; ``kernel`` is symmetric, of odd length and unit sum. Returns
        `CleanedSpectra`.
        """

    def clean_channel(self, smoothed_kelvin, stop_kelvin, weights, convolve, settings):
        """CLEAN a map (n_y, n_x) until sigma_pos < ``stop_kelvin``, with finite ``weights`` in sigma_pos.

        ``convolve`` is what `ConvolutionBackend.gaussian` returns. Returns `CleanedChannel`.
        """


class ConvolutionBackend(Protocol):
    """Same-size, zero-padded convolution of maps with a circular Gaussian of unit sum.

    A class that is made without arguments.

    Attributes
    ----------
    package : str
        The distribution that does the work, e.g. "scipy"; its version is listed.
    tolerance : float
        Largest error relative to the peak of the reference's result, for maps without negative values.
    cost : float
        Time for a map of 1024 x 1024 pixels and an FWHM of 67 pixels relative to the others of this
        kind (scipy: 1). A number from the benchmarks, fixed, so that the default is the same on every
        machine.

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools.backends.registry import get_backend
    >>> convolve = get_backend("convolution", "scipy").gaussian((64, 64), 5.0)
    >>> image = np.zeros((64, 64), np.float32)
    >>> image[32, 32] = 100
    >>> smooth = convolve(image)
    >>> round(float(smooth.sum())), round(float(smooth[32, 32]), 2)  # 100 x 0.883 / 5^2 at the peak
    (100, 3.53)
    """

    package: str
    tolerance: float
    cost: float

    def gaussian(self, shape, fwhm_pix):
        """A function ``convolve(image, out=None)`` for maps of ``shape`` (n_y, n_x).

        ``image`` is a float32 map without NaN, and is left as it was. The result is a float32 map:
        ``out``, a C-contiguous float32 array of the same shape, where it is given, and else a new
        one. ``out`` may hold anything before. It may be ``image`` itself, which is then replaced, but
        no other array that shares memory with it. Safe to call from several threads at a time.

        Raises
        ------
        ValueError
            If ``image`` or ``out`` has another shape; see `check_shapes`.
        """


def check_shapes(shape, image, out):
    """Refuse maps of another shape than a convolution was made for; for use by backends.

    Parameters
    ----------
    shape : (int, int)
    image, out : `~numpy.ndarray`

    Raises
    ------
    ValueError

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools.backends.protocols import check_shapes
    >>> check_shapes((64, 64), np.zeros((64, 60)), np.zeros((64, 64)))
    Traceback (most recent call last):
        ...
    ValueError: image has the shape (64, 60), and the convolution is for (64, 64)
    """
    for name, array in (("image", image), ("out", out)):
        if array.shape != tuple(shape):
            raise ValueError(f"{name} has the shape {array.shape}, and the convolution is for {tuple(shape)}")
