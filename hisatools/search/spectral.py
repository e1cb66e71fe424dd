"""The spectral search (Gibson et al. 2005, section 2.2)."""

from dataclasses import dataclass

import astropy.units as u
import numpy as np
from astropy.stats import gaussian_fwhm_to_sigma

from hisatools.backends import get_backend, resolve
from hisatools.backends.protocols import CleanSettings
from hisatools.noise import box_noise, difference_rms, noise_correlation, third_rms
from hisatools.parameters import SpectralParameters
from hisatools.positions import known_position, sky_pixel
from hisatools.results import SearchResult
from hisatools.search.base import (
    clean_scale,
    line_scale,
    row_blocks,
    run_blocks,
    smoothing_scale,
)
from hisatools.search.dips import DipRules, find_dips_in_spectra
from hisatools.search.stages import SpectralStages, fitted_dips, segments_below
from hisatools.smoothing import box_mean, join_flecks, join_reach, odd_pixels

VOXELS_PER_BLOCK = 2**21
KERNEL_REACH_SIGMA = 5


@dataclass(frozen=True)
class SpectralNoise:
    """Noise of each sight line.

    Parameters
    ----------
    observed_kelvin, smoothed_kelvin : `~numpy.ndarray`, shape (n_y, n_x)
        sigma_obs of O and the noise of its N x N mean S; NaN where blank.

    Examples
    --------
    What a mean over 7 x 7 pixels keeps of noise that is correlated over 3.3:

    >>> from hisatools import SpectralSearcher
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> model = simulate_cube(ModelParameters(shape=(64, 32, 32), n_pucks=3, n_components=50), seed=2)
    >>> noise = SpectralSearcher().measure_noise(model.cube)
    >>> round(float((noise.smoothed_kelvin / noise.observed_kelvin).mean()), 1)
    0.5
    """

    observed_kelvin: np.ndarray
    smoothed_kelvin: np.ndarray


class SpectralSearcher:
    """Find dips that are narrower than the emission in each spectrum.

    Parameters
    ----------
    parameters : `~hisatools.SpectralParameters`, optional
    clean : str, optional
        Name of the CLEAN backend; by default the fastest one, see `hisatools.backends.default_name`.

    Examples
    --------
    >>> from hisatools import SpectralSearcher
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> model = simulate_cube(ModelParameters(shape=(64, 32, 32), n_pucks=3, n_components=50), seed=2)
    >>> found = SpectralSearcher().search(model.cube)
    >>> found.mask.shape
    (64, 32, 32)
    """

    def __init__(self, parameters=None, *, clean=None):
        self.parameters = SpectralParameters() if parameters is None else parameters
        self.clean_name = resolve("clean", clean)
        self.clean = get_backend("clean", self.clean_name)

    def measure_noise(self, cube, *, correlation=None, workers=1):
        """Noise of the cube, to be given to `search` for later passes.

        The noise is the smallest rms of O - S in three equal thirds of the spectrum, corrected for
        the noise that S keeps; where S is O (a single sight line, or a box of one pixel) it comes
        from channel differences.

        Parameters
        ----------
        cube : `~hisatools.HISACube`
        correlation : `~hisatools.noise.NoiseCorrelation`, optional
            Measured on the cube if not given.
        workers : int

        Returns
        -------
        `SpectralNoise`

        Examples
        --------
        6 K were put in; the smallest of three thirds of 21 channels comes out a little lower:

        >>> from hisatools import SpectralSearcher
        >>> from hisatools.simulate import ModelParameters, simulate_cube
        >>> model = simulate_cube(ModelParameters(shape=(64, 32, 32), n_pucks=3, n_components=50), seed=2)
        >>> noise = SpectralSearcher().measure_noise(model.cube)
        >>> noise.observed_kelvin.shape, round(float(noise.observed_kelvin.mean()), 1)
        ((32, 32), 4.9)
        """
        box = self._box_pix(cube)
        if box == 1:
            rows = [cube.block((slice(None), rows)) for rows in self._blocks(cube)]
            observed = np.concatenate(run_blocks(difference_rms, rows, workers=workers))
            return SpectralNoise(observed, observed)
        if correlation is None:
            correlation = noise_correlation(cube.kelvin, box, workers=workers)
        share = box_noise(box, correlation.beam_pix)

        def measure(rows):
            observed, smoothed = _with_box_mean(cube, rows, box)
            return third_rms(observed - smoothed)

        removed = np.concatenate(run_blocks(measure, self._blocks(cube), workers=workers))
        observed = removed / np.sqrt(share.removed)
        return SpectralNoise(observed, observed * np.sqrt(share.smoothed))

    def search(self, cube, *, noise=None, workers=1, progress=False):
        """Search every sight line.

        Parameters
        ----------
        cube : `~hisatools.HISACube` or `~hisatools.filling.FilledCube`
            NaN is blank: never flagged.
        noise : `SpectralNoise`, optional
            Measured on the cube if not given, which a filled cube needs to be.
        workers : int
            Number of threads; never changes the result.
        progress : bool
            Whether to show a progress bar.

        Returns
        -------
        `~hisatools.SearchResult`

        Raises
        ------
        InputError
            If W_char is not resolved by the channels or exceeds the band.

        Examples
        --------
        A search for narrower lines only, with the noise measured once and given to it:

        >>> import astropy.units as u
        >>> from hisatools import SpectralParameters, SpectralSearcher
        >>> from hisatools.simulate import ModelParameters, simulate_cube
        >>> model = simulate_cube(ModelParameters(shape=(64, 32, 32), n_pucks=3, n_components=50), seed=2)
        >>> searcher = SpectralSearcher(SpectralParameters(threshold=3, cull_amplitude=4 * u.K))
        >>> found = searcher.search(model.cube, noise=searcher.measure_noise(model.cube))
        >>> int(found.mask.sum()), int(SpectralSearcher().search(model.cube).mask.sum())
        (331, 3226)
        """
        kernel, rules = self._kernel(cube), self._rules(cube)
        noise = self.measure_noise(cube, workers=workers) if noise is None else noise
        _, n_y, n_x = cube.shape
        amplitude = np.zeros(cube.shape, np.float32)
        n_iterations = np.zeros((n_y, n_x), np.int32)
        stop_reason = np.zeros((n_y, n_x), np.int8)

        def search_rows(rows):
            block = self._search_rows(cube, rows, noise, kernel, rules)
            amplitude[:, rows], n_iterations[rows], stop_reason[rows] = block

        run_blocks(
            search_rows, self._blocks(cube), workers=workers, progress=progress, description="spectral search"
        )
        self._join(amplitude, cube, self._join_pix(cube), workers=workers)
        return SearchResult(
            amplitude=u.Quantity(amplitude, u.K, copy=False),
            n_iterations=n_iterations,
            stop_reason=stop_reason,
            wcs=cube.wcs,
            meta={"search": "spectral", "clean": self.clean_name, "parameters": self.parameters.to_dict()},
        )

    def stages(self, cube, position=None, *, noise=None):
        """Search one sight line as `search` does, and keep what it comes by on the way.

        Parameters
        ----------
        cube : `~hisatools.HISACube`
            NaN is blank.
        position : `~astropy.coordinates.SkyCoord` or (int, int), optional
            A position on the sky or a pixel (y, x), from 0; not needed for a single spectrum.
        noise : `SpectralNoise`, optional
            Measured on the cube if not given.

        Returns
        -------
        `~hisatools.search.stages.SpectralStages`
            Its ``plot()`` draws figure 2 of the paper.

        Raises
        ------
        ParameterError
            If the position is missing or lies outside the cube.
        InputError
            If W_char is not resolved by the channels or exceeds the band.

        Examples
        --------
        >>> from hisatools import SpectralSearcher
        >>> from hisatools.datasets import example_model
        >>> stages = SpectralSearcher().stages(example_model().cube, (35, 137))
        >>> len(stages.segments)
        3
        >>> ax = stages.plot()
        """
        y, x = sky_pixel(cube.wcs, cube.shape, position)
        kernel, rules, join_pix = self._kernel(cube), self._rules(cube), self._join_pix(cube)
        noise = self.measure_noise(cube) if noise is None else noise
        spectra = self._clean_rows(cube, slice(y, y + 1), noise, kernel)
        observed, smoothed, unabsorbed = (rows[x] for rows in (*spectra[:2], spectra[2].unabsorbed_kelvin))
        sigma_pos = spectra[2].sigma_pos_kelvin[x]
        narrow, broad = fitted_dips(observed, smoothed, unabsorbed, sigma_pos, rules)
        # The rows that smoothing brings together with this one.
        rows = slice(max(y - join_reach(join_pix), 0), y + join_reach(join_pix) + 1)
        amplitude = self._search_rows(cube, rows, noise, kernel, rules)[0]
        detected = amplitude[:, y - rows.start, x].copy()
        self._join(amplitude, cube, join_pix, rows=rows)
        return SpectralStages(
            *(values << u.K for values in (observed, smoothed, unabsorbed, narrow, broad, detected)),
            amplitude=amplitude[:, y - rows.start, x] << u.K,
            sigma_pos=float(sigma_pos) * u.K,
            level=-rules.threshold * float(sigma_pos) * u.K,
            segments=segments_below(smoothed - unabsorbed, -rules.threshold * sigma_pos),
            velocity=cube.velocity,
            pixel=(y, x),
            position=known_position(cube, y, x),
            wcs=cube.wcs,
        )

    def check(self, cube):
        """Raise the error that `search` would raise on this cube, before anything is computed.

        Examples
        --------
        >>> from hisatools import SpectralSearcher
        >>> from hisatools.simulate import ModelParameters, simulate_cube
        >>> model = simulate_cube(ModelParameters(shape=(8, 32, 32), n_pucks=3, n_components=50), seed=2)
        >>> SpectralSearcher().check(model.cube)
        Traceback (most recent call last):
            ...
        hisatools.errors.InputError: the cube: spectral.clean_fwhm=8 km / s is 10 ...
        """
        self._kernel(cube)

    def _box_pix(self, cube):
        if cube.is_spectrum:
            return 1
        return odd_pixels((self.parameters.smoothing_box / cube.pixel_scale).to_value(""))

    def _blocks(self, cube):
        n_v, n_y, n_x = cube.shape
        return row_blocks(n_y, max(VOXELS_PER_BLOCK // (n_v * n_x), 1))

    def _kernel(self, cube):
        fwhm_chan = clean_scale("spectral.clean_fwhm", self.parameters.clean_fwhm, cube)
        sigma_chan = fwhm_chan * gaussian_fwhm_to_sigma
        reach = int(np.ceil(KERNEL_REACH_SIGMA * sigma_chan))
        kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma_chan) ** 2)
        return kernel / kernel.sum()

    def _rules(self, cube):
        parameters = self.parameters
        return DipRules(
            line_scale("spectral.narrow_fwhm", parameters.narrow_fwhm, cube),
            line_scale("spectral.broad_fwhm", parameters.broad_fwhm, cube),
            threshold=parameters.threshold,
            critical_kelvin=parameters.critical_brightness.value,
            fit_significance=parameters.fit_significance,
            dip_threshold=parameters.dip_threshold,
            profile_cut=parameters.profile_cut,
        )

    def _settings(self):
        parameters = self.parameters
        return CleanSettings(
            gain=parameters.clean_gain,
            clip=parameters.clean_clip,
            stop_fraction=parameters.stop_fraction,
            max_iterations=parameters.max_iterations,
        )

    def _search_rows(self, cube, rows, noise, kernel, rules):
        """Amplitude (n_v, n_rows, n_x), loop counts and stop reasons of some rows."""
        observed, smoothed, cleaned = self._clean_rows(cube, rows, noise, kernel)
        shape = noise.observed_kelvin[rows].shape
        sigma_obs = noise.observed_kelvin[rows].ravel()
        profiles = find_dips_in_spectra(
            observed, smoothed, cleaned.unabsorbed_kelvin, cleaned.sigma_pos_kelvin, rules
        )
        profiles[self._vetoed(observed, sigma_obs)] = 0
        if cube.is_spectrum:
            # No spatial search will look at the wings of the fits, so the spectrum itself must.
            profiles[smoothed >= cleaned.unabsorbed_kelvin] = 0
        return (
            profiles.T.reshape(-1, *shape),
            cleaned.n_iterations.reshape(shape),
            cleaned.stop_reason.reshape(shape),
        )

    def _clean_rows(self, cube, rows, noise, kernel):
        """O and S of some rows as spectra (n_rows * n_x, n_v), K, and the CLEAN of S."""
        observed, smoothed = map(_as_spectra, _with_box_mean(cube, rows, self._box_pix(cube)))
        stop_kelvin = noise.smoothed_kelvin[rows].ravel()
        return observed, smoothed, self.clean.clean_spectra(smoothed, stop_kelvin, kernel, self._settings())

    def _vetoed(self, observed, sigma_obs):
        """Sight lines with continuum absorption; those without noise are not vetoed."""
        limit = np.where(np.isfinite(sigma_obs), -self.parameters.continuum_veto * sigma_obs, -np.inf)
        return (observed < limit[:, None]).any(axis=1)

    def _join_pix(self, cube):
        if cube.is_spectrum:
            return 0.0
        return smoothing_scale("spectral.join_fwhm", self.parameters.join_fwhm, cube)

    def _join(self, amplitude, cube, fwhm_pix, *, rows=slice(None), workers=1):
        """Smooth each channel's amplitudes of some rows in place, and drop the faint ones."""
        least = self.parameters.cull_amplitude.value

        def join(k):
            joined = join_flecks(amplitude[k], fwhm_pix)
            joined[(joined < least) | np.isnan(cube.block(k)[rows])] = 0
            amplitude[k] = joined

        run_blocks(join, range(len(amplitude)), workers=workers)


def _with_box_mean(cube, rows, box_pix):
    """O and S of some rows, K; the box reaches into the rows beside them."""
    half = box_pix // 2
    first = max(rows.start - half, 0)
    inner = slice(rows.start - first, rows.stop - first)
    with_halo = cube.block((slice(None), slice(first, rows.stop + half)))
    return with_halo[:, inner], np.stack([box_mean(channel, box_pix)[inner] for channel in with_halo])


def _as_spectra(block):
    """(n_v, n_y, n_x) to contiguous rows (n_y * n_x, n_v)."""
    return np.ascontiguousarray(block.reshape(block.shape[0], -1).T)
