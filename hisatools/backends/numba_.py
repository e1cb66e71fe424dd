"""CLEAN compiled with numba; it releases the interpreter lock, so blocks run side by side in threads."""

import numpy as np

from hisatools.backends.numba_maps import correct_map, measure_map, rank_map
from hisatools.backends.numba_spectra import clean_spectra
from hisatools.backends.protocols import MIN_COVERAGE, CleanedChannel, CleanedSpectra, StopReason


class NumbaClean:
    """SDI CLEAN in machine code and float32; sums over a whole map in float64."""

    package = "numba"
    tolerance_kelvin = 0.02
    cost = 1.0

    def clean_spectra(self, smoothed_kelvin, stop_kelvin, kernel, settings):
        """See `~hisatools.backends.protocols.CleanBackend.clean_spectra`."""
        return CleanedSpectra(
            *clean_spectra(
                np.ascontiguousarray(smoothed_kelvin, np.float32),
                _known(stop_kelvin),
                np.asarray(kernel, np.float32),
                np.float32(settings.gain),
                np.float32(settings.clip),
                np.float32(settings.stop_fraction),
                settings.max_iterations,
                settings.peak_rank,
            )
        )

    def clean_channel(self, smoothed_kelvin, stop_kelvin, weights, convolve, settings):
        """See `~hisatools.backends.protocols.CleanBackend.clean_channel`."""
        cleaning = _MapCleaning(smoothed_kelvin, weights, convolve, settings)
        n_iterations, reason = cleaning.run(float(_known(stop_kelvin)))
        return CleanedChannel(cleaning.unabsorbed(), cleaning.sigma_pos, n_iterations, reason)


def _known(stop_kelvin):
    """Stop levels; one that is not known (NaN) is never reached."""
    return np.nan_to_num(np.asarray(stop_kelvin, np.float32), nan=-1.0)


class _MapCleaning:
    """The state of one map's CLEAN: R = S - U, and what was last measured of it.

    R, the weights and the correction are all that a loop goes through: less than caches hold.
    """

    def __init__(self, smoothed_kelvin, weights, convolve, settings):
        self.smoothed = np.array(smoothed_kelvin, np.float32, order="C")
        self.weights = np.ascontiguousarray(weights, np.float32)
        self.convolve, self.settings = convolve, settings
        finite = np.isfinite(self.smoothed)
        self.correction = finite.astype(np.float32)
        self.inverse, self.inverse_y = _inverse_coverage(convolve(self.correction), finite)
        self.smoothed[~finite] = -np.inf
        self.residual = self.smoothed.copy()
        self.correction[:] = 0
        self.n_finite = np.count_nonzero(finite)
        self.top = np.empty(settings.peak_rank, np.float32)
        self.highest, self.drop, self.sigma_pos = np.inf, 1.0, np.nan

    def run(self, stop_kelvin):
        """Clean until one of the three stops; returns the loop count and the stop reason."""
        settings = self.settings
        if self.n_finite == 0:
            return 0, StopReason.NOT_CLEANED
        self._subtract()
        floor = settings.stop_fraction * max(float(self.smoothed.max()), 0.0)
        for n_iterations in range(settings.max_iterations):
            if self.highest <= floor:
                return n_iterations, StopReason.FRACTION
            level = np.float32(settings.clip * self.highest)
            correct_map(self.residual, level, np.float32(settings.gain), self.correction)
            self.convolve(self.correction, out=self.correction)
            self._subtract()
            if self.sigma_pos < stop_kelvin:
                return n_iterations + 1, StopReason.NOISE
        return settings.max_iterations, StopReason.MAX_ITERATIONS

    def _subtract(self):
        """Take the convolved correction off R, and measure R_max and sigma_pos.

        The highest residuals are looked for among those above a level that foresees by how much they
        fall; where that was too high, among all.
        """
        level = np.float32(self.highest * (1 - 1.5 * self.drop) if self.drop < 0.5 else -np.inf)
        n_top, self.sigma_pos = measure_map(
            self.residual, self.weights, self.correction, self.inverse, self.inverse_y, level, self.top
        )
        rank = self.top.size
        if n_top < min(rank, self.n_finite):
            n_top = rank_map(self.residual, self.top)
        highest = float(self.top[n_top - 1] if n_top == rank else self.top[0])
        self.drop = max(1 - highest / self.highest, 0.01) if 0 < highest < self.highest < np.inf else 0.3
        self.highest = highest

    def unabsorbed(self):
        """U = S - R, NaN where it is not known."""
        with np.errstate(invalid="ignore"):  # -inf less -inf where blank
            return self.smoothed - self.residual


def _inverse_coverage(coverage, finite):
    """One over the share of the kernel on finite pixels.

    ``finite`` is changed: what is too little covered counts as blank.

    Returns
    -------
    inverse : array of float32, shape (n_y, n_x) or (1, n_x)
        0 where blank. A map without blanks needs but one row, as the kernel is separable.
    inverse_y : array of float32, shape (n_y,)
        What each row is to be multiplied with.
    """
    finite &= coverage >= MIN_COVERAGE
    if finite.all():
        y, x = (size // 2 for size in coverage.shape)
        return 1 / coverage[y : y + 1], coverage[y, x] / coverage[:, x]
    inverse = np.divide(1, coverage, out=np.zeros_like(coverage), where=finite)
    return inverse, np.ones(len(coverage), np.float32)
