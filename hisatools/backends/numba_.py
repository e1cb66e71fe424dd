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
        if cleaning.n_finite == 0:
            blank = np.full(cleaning.smoothed.shape, np.nan, np.float32)
            return CleanedChannel(blank, np.nan, 0, StopReason.NOT_CLEANED)
        n_iterations, reason = cleaning.run(float(_known(stop_kelvin)))
        return CleanedChannel(cleaning.result(), cleaning.sigma_pos, n_iterations, reason)


def _known(stop_kelvin):
    """Stop levels; one that is not known (NaN) is never reached."""
    return np.nan_to_num(np.asarray(stop_kelvin, np.float32), nan=-1.0)


class _MapCleaning:
    """The state of one map's CLEAN: S and U, and what was last measured of R = S - U."""

    def __init__(self, smoothed_kelvin, weights, convolve, settings):
        self.smoothed = np.array(smoothed_kelvin, np.float32, order="C")
        self.weights = np.ascontiguousarray(weights, np.float32)
        self.convolve, self.settings = convolve, settings
        finite = np.isfinite(self.smoothed)
        coverage = convolve(finite.astype(np.float32))
        self.covered = coverage >= MIN_COVERAGE
        self.inverse = np.divide(1, coverage, out=np.zeros_like(coverage), where=self.covered)
        finite &= self.covered
        self.n_finite = np.count_nonzero(finite)
        self.smoothed[~finite] = -np.inf
        self.unabsorbed = np.zeros_like(self.smoothed)
        self.correction, self.added = np.zeros_like(self.smoothed), np.zeros_like(self.smoothed)
        self.top = np.empty(settings.peak_rank, np.float32)
        self.highest, self.drop, self.sigma_pos = np.inf, 0.0, np.nan

    def run(self, stop_kelvin):
        """Clean until one of the three stops; returns the loop count and the stop reason."""
        settings = self.settings
        self._measure()
        floor = settings.stop_fraction * max(float(self.smoothed.max()), 0.0)
        for n_iterations in range(settings.max_iterations):
            if self.highest <= floor:
                return n_iterations, StopReason.FRACTION
            level = np.float32(settings.clip * self.highest)
            correct_map(self.smoothed, self.unabsorbed, level, np.float32(settings.gain), self.correction)
            self.convolve(self.correction, self.added)
            self._measure()
            if self.sigma_pos < stop_kelvin:
                return n_iterations + 1, StopReason.NOISE
        return settings.max_iterations, StopReason.MAX_ITERATIONS

    def _measure(self):
        """R_max and sigma_pos, after what is in ``added`` has been added to U.

        The highest residuals are looked for among those above a level that foresees by how much they
        fall; where that was too high, among all.
        """
        level = np.float32(self.highest * (1 - 1.5 * self.drop)) if self.drop < 0.5 else -np.inf
        n_top, self.sigma_pos = measure_map(
            self.smoothed, self.weights, self.added, self.inverse, self.unabsorbed, level, self.top
        )
        rank = self.top.size
        if n_top < min(rank, self.n_finite):
            n_top = rank_map(self.smoothed, self.unabsorbed, self.top)
        highest = float(self.top[n_top - 1] if n_top == rank else self.top[0])
        self.drop = max(1 - highest / self.highest, 0.01) if 0 < highest < self.highest < np.inf else 0.3
        self.highest = highest

    def result(self):
        """U, NaN where it is not known."""
        return np.where(self.covered, self.unabsorbed, np.float32(np.nan))
