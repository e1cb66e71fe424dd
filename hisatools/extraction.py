"""`HISAExtractor`: both searches, the estimate of T_U and the filters, in passes (section 2.4)."""

import logging
import time
import warnings
from contextlib import contextmanager
from importlib.metadata import version
from numbers import Integral

import astropy.units as u
import numpy as np

from hisatools.catalog import VoxelErrors, build_catalog
from hisatools.errors import HISAWarning, InputError, ParameterError
from hisatools.features import feature_significance, label_features, label_voxels
from hisatools.filling import FilledCube, VoxelValues
from hisatools.parameters import (
    ExtractionParameters,
    ShellParameters,
    SpatialParameters,
    SpectralParameters,
    check_number,
)
from hisatools.results import HISAResult, MaskBit, flagged
from hisatools.search.spatial import SpatialSearcher
from hisatools.search.spectral import SpectralSearcher
from hisatools.search_record import SearchRecord
from hisatools.surveys import warn_outside_survey
from hisatools.unabsorbed import UnabsorbedEstimator
from hisatools.unabsorbed.uncertainty import measure_errors

logger = logging.getLogger(__name__)

RECORDED_PACKAGES = ("hisatools", "numpy", "scipy", "numba", "astropy", "spectral-cube", "radio-beam")


class HISAExtractor:
    """Extract self-absorption: search, interpolate, filter, and search again in what is left.

    Parameters
    ----------
    spectral : `~hisatools.SpectralSearcher`, optional
    spatial : `~hisatools.SpatialSearcher`, optional
        Not used on a single sight line.
    unabsorbed : `~hisatools.UnabsorbedEstimator`, optional
    parameters : `~hisatools.ExtractionParameters`, optional
    n_passes : int
        How often the search is done; from the second on in T_U of the pass before.
    min_reliability : float, optional
        Features less likely to be real than this, 0 to 1, are dropped. It is measured by the same search on
        the mirrored cube, which doubles the time; see `hisatools.significance.ReliabilityModel`. Without it
        none is dropped.

    Examples
    --------
    >>> from hisatools import HISAExtractor
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> model = simulate_cube(ModelParameters(shape=(32, 96, 96), n_pucks=20, n_components=100), seed=3)
    >>> result = HISAExtractor(n_passes=1).run(model.cube)  # doctest: +IGNORE_WARNINGS
    >>> len(result.catalog), result.delta_t.min().round(-1)
    (1, <Quantity -20. K>)
    """

    def __init__(
        self,
        *,
        spectral=None,
        spatial=None,
        unabsorbed=None,
        parameters=None,
        n_passes=3,
        min_reliability=None,
    ):
        if isinstance(n_passes, bool) or not isinstance(n_passes, Integral) or not 1 <= n_passes <= 255:
            raise ParameterError(f"n_passes must be a whole number from 1 to 255, got {n_passes!r}")
        self.spectral = SpectralSearcher() if spectral is None else spectral
        self.spatial = SpatialSearcher() if spatial is None else spatial
        self.unabsorbed = UnabsorbedEstimator() if unabsorbed is None else unabsorbed
        self.parameters = ExtractionParameters() if parameters is None else parameters
        self.n_passes = int(n_passes)
        self.min_reliability = (
            None
            if min_reliability is None
            else check_number("min_reliability", min_reliability, inclusive=True, at_most=1)
        )

    @classmethod
    def preset(cls, name, *, clean=None, convolution=None, n_passes=3, min_reliability=None):
        """An extractor with a survey's parameters, and backends chosen by name or the fastest ones.

        Examples
        --------
        >>> from hisatools import HISAExtractor
        >>> extractor = HISAExtractor.preset("cgps", clean="numba", n_passes=2)
        >>> extractor.spatial.parameters.clean_fwhm, extractor.n_passes
        (<Quantity 20. arcmin>, 2)
        """
        return cls(
            spectral=SpectralSearcher(SpectralParameters.preset(name), clean=clean),
            spatial=SpatialSearcher(SpatialParameters.preset(name), clean=clean, convolution=convolution),
            unabsorbed=UnabsorbedEstimator("shell", ShellParameters.preset(name)),
            parameters=ExtractionParameters.preset(name),
            n_passes=n_passes,
            min_reliability=min_reliability,
        )

    def settings(self):
        """Parameters, strategies and backends as a dict that JSON can hold.

        Examples
        --------
        >>> from hisatools import HISAExtractor
        >>> settings = HISAExtractor(n_passes=1).settings()
        >>> list(settings["parameters"])
        ['spectral', 'spatial', 'shell', 'extraction', 'n_passes']
        >>> settings["parameters"]["shell"]["max_fwhm_angle"], settings["strategies"]
        ('20.0 arcmin', {'unabsorbed': 'shell'})
        """
        parameters = {
            "spectral": self.spectral.parameters,
            "spatial": self.spatial.parameters,
            self.unabsorbed.strategy: self.unabsorbed.parameters,
            "extraction": self.parameters,
        }
        limit = {} if self.min_reliability is None else {"min_reliability": self.min_reliability}
        return {
            "parameters": {name: values.to_dict() for name, values in parameters.items()}
            | {"n_passes": self.n_passes}
            | limit,
            "strategies": {"unabsorbed": self.unabsorbed.strategy},
            "backends": {
                "clean": self.spectral.clean_name,
                "clean (spatial)": self.spatial.clean_name,
                "convolution": self.spatial.convolution_name,
            },
        }

    def run(self, cube, *, workers=1, progress=False):
        """Extract the absorption of a cube.

        Parameters
        ----------
        cube : `~hisatools.HISACube`
            NaN is blank and stays NaN in the result.
        workers : int
            Number of threads; never changes the result.
        progress : bool
            Whether to show progress bars.

        Returns
        -------
        `~hisatools.HISAResult`

        Raises
        ------
        InputError
            If a CLEAN kernel does not fit the cube, or ``min_reliability`` is asked of one sight line.

        Examples
        --------
        One spectrum is enough for the spectral search. The Riegel-Crutcher cloud, at about 7 km/s, is an
        absorption of the Galactic plane near l = 10 deg:

        >>> from hisatools import HISACube, HISAExtractor
        >>> from hisatools.datasets import load_lab_profiles
        >>> lab = load_lab_profiles()
        >>> cube = HISACube.from_spectrum(lab["t_l10"], lab["velocity"])
        >>> result = HISAExtractor().run(cube)
        >>> result.velocity[result.mask[:, 0, 0]]
        <Quantity [ 4.,  5.,  6.,  7.,  8.,  9., 16., 17., 18., 19.] km / s>
        >>> result.delta_t.min().round()
        <Quantity -56. K>
        """
        check_number("workers", workers, integer=True)
        if self.min_reliability is not None and cube.is_spectrum:
            raise InputError(
                f"{cube.meta.get('path', 'the cube')}: min_reliability needs a map, and this is one sight "
                "line; leave it out"
            )
        result = self._extract(cube, workers, progress)
        if self.min_reliability is None:
            return result
        from hisatools.significance.reliability import keep_reliable

        return keep_reliable(cube, result, self, workers=workers, progress=progress)

    def _extract(self, cube, workers, progress):
        """All passes, and everything that they find."""
        # Without its blank margins, so that they change nothing, not even a grid of noise boxes.
        box = cube.filled_box()
        filled = cube.cutout(box)
        logger.info("extraction: %d x %d x %d voxels, threads: %d", *filled.shape, workers)
        self.spectral.check(filled)
        if not filled.is_spectrum:
            self.spatial.check(filled)
        extraction = _Extraction(self, filled, workers, progress)
        for number in range(1, self.n_passes + 1):
            if not extraction.search(number):
                logger.debug("pass %d changes nothing that another could go on from", number)
                break
        return extraction.result(cube, box)


class _Extraction:
    """The state of one run: flags of all passes, what is accepted, and T_U as it stands.

    Accepted voxels are few, and kept as their places in the flattened cube.
    """

    def __init__(self, extractor, cube, workers, progress):
        self.extractor, self.cube = extractor, cube
        self.how = {"workers": workers, "progress": progress}
        self.timings = {}
        self.passes = []
        self.flags = np.zeros(cube.shape, np.uint8)
        self.n_flagged = 0
        self.accepted = np.zeros(0, np.int64)
        self.new = []
        self.loops = {"spectral": [], "spatial": []}
        self.estimate = VoxelValues(self.accepted, np.zeros(0, np.float32))
        self.searched = cube
        self.fitted = cube
        self.spatial_noise = None
        with self._timed("noise"):
            correlation = None
            if not cube.is_spectrum:
                self.spatial_noise = extractor.spatial.measure_noise(cube, workers=workers)
                correlation = self.spatial_noise.correlation
            self.spectral_noise = extractor.spectral.measure_noise(
                cube, correlation=correlation, workers=workers
            )
        self._check_noise()
        self._check_preset()
        self._log_noise()

    def _check_preset(self):
        """Say so where the scales are those of another survey."""
        extractor, sigma = self.extractor, self.spectral_noise.observed_kelvin
        known = sigma[np.isfinite(sigma)]
        warn_outside_survey(
            [extractor.spectral.parameters, extractor.spatial.parameters, extractor.unabsorbed.parameters],
            self.cube,
            noise=np.median(known) * u.K if known.size else None,
        )

    def _log_noise(self):
        measured = {"spectra": self.spectral_noise.observed_kelvin}
        if self.spatial_noise is not None:
            measured["smoothed channel maps"] = self.spatial_noise.coarse_kelvin
            logger.debug("a correlated volume of noise: %.3g voxels", self._correlated_voxels())
        for name, sigma in measured.items():
            known = sigma[np.isfinite(sigma)]
            logger.info("noise of %s: median %.3g K", name, np.median(known) if known.size else np.nan)

    def _check_noise(self):
        """Say so where the noise cannot be measured: CLEAN then stops at its other two limits."""
        measured = {"spectra": self.spectral_noise.observed_kelvin}
        if self.spatial_noise is not None:
            measured["channel maps"] = self.spatial_noise.coarse_kelvin
        for name, sigma in measured.items():
            if not np.isfinite(sigma).any():
                warnings.warn(
                    f"the noise of the {name} cannot be measured (too few channels or pixels): thresholds "
                    "that need it are off; use a larger cube",
                    HISAWarning,
                    stacklevel=4,
                )

    @contextmanager
    def _timed(self, stage):
        start = time.perf_counter()
        logger.debug("%s: begins", stage)
        yield
        seconds = time.perf_counter() - start
        self.timings[stage] = round(self.timings.get(stage, 0) + seconds, 3)
        logger.info("%s: %.2f s", stage, seconds)

    @property
    def needed(self):
        """What must have flagged a voxel that is accepted."""
        return MaskBit.SPECTRAL if self.spatial_noise is None else MaskBit.SPECTRAL | MaskBit.SPATIAL

    def search(self, number):
        """One pass: flag, interpolate over the union of all flags, accept.

        Returns whether another pass could find anything else.
        """
        n_flagged, accepted = self.n_flagged, self.accepted
        with self._timed("spectral search"):
            found = self.extractor.spectral.search(self.searched, noise=self.spectral_noise, **self.how)
            self._flag(found.amplitude.value, MaskBit.SPECTRAL)
        self.loops["spectral"].append((found.n_iterations, found.stop_reason))
        del found
        self._search_maps()
        self._interpolate()
        if number == 1 and self.spatial_noise is not None and self.accepted.size:
            # U has sunk into what is as large as the CLEAN kernel: once more, now that it is known.
            self.fitted = FilledCube(self.cube, self._known_absorption())
            self.loops["spatial"].pop()
            self._search_maps()
            self._interpolate()
        self._record(number)
        self.searched = FilledCube(self.cube, self._accepted_values())
        self.fitted = FilledCube(self.cube, self._known_absorption())
        unchanged = n_flagged == self.n_flagged and np.array_equal(accepted, self.accepted)
        return self.accepted.size > 0 and not unchanged

    def _search_maps(self):
        """Flag what the spatial search finds in the cube, with U fitted to what is left of it.

        In every pass it is the cube itself that is searched: filled in, the neighbours of a voxel that
        is not yet found would raise the mean S that it is judged by.
        """
        if self.spatial_noise is None:
            none = np.zeros(len(self.flags), np.int32)
            self.loops["spatial"].append((none, none))
            return
        with self._timed("spatial search"):
            found = self.extractor.spatial.search(
                self.cube, noise=self.spatial_noise, fitted=self.fitted, **self.how
            )
            self._flag(found.amplitude.value, MaskBit.SPATIAL)
        self.loops["spatial"].append((found.n_iterations, found.stop_reason))

    def _flag(self, amplitude, bit):
        """Add what a search found to the flags, and count those that are new."""
        for flags, channel in zip(self.flags, amplitude, strict=True):
            found = channel > 0
            self.n_flagged += int(np.count_nonzero(found & ~flagged(flags, bit)))
            flags |= found * np.uint8(bit)

    def _interpolate(self):
        """T_U across the union of all flags, where it is needed, and what is accepted with it."""
        with self._timed("unabsorbed emission"):
            labels, n_features = label_features(self.flags > 0)
            features, index = self._candidates(labels, n_features)
            found = self.extractor.unabsorbed.at_voxels(self.cube, labels, features, index, **self.how)
            self.estimate = VoxelValues(index, found.kelvin)
        del labels
        with self._timed("filters"):
            self.accepted = self._accept()

    def _candidates(self, labels, n_features):
        """Features in which a voxel may be accepted, and those of their voxels that may be filled in.

        A voxel that only the spatial search saw is neither accepted nor filled in.
        """
        chosen = np.zeros(n_features + 1, bool)
        for channel, flags in zip(labels, self.flags, strict=True):
            chosen[channel[flagged(flags, self.needed)]] = True
        places = [
            np.flatnonzero(chosen[channel] & flagged(flags, MaskBit.SPECTRAL)) + k * flags.size
            for k, (channel, flags) in enumerate(zip(labels, self.flags, strict=True))
        ]
        return np.flatnonzero(chosen), np.concatenate(places)

    def _accept(self):
        """Places that pass the intersection filter and those applied with it (section 2.4.2)."""
        parameters = self.extractor.parameters
        index, t_unabsorbed = self.estimate.index, self.estimate.kelvin
        depth_kelvin = t_unabsorbed - self.cube.kelvin.reshape(-1)[index]
        accepted = flagged(self.flags.reshape(-1)[index], self.needed)
        accepted &= depth_kelvin > 0
        accepted &= t_unabsorbed >= parameters.critical_brightness.value
        if self.cube.weights is not None:
            weights = self.cube.weights.reshape(-1)
            accepted &= weights[index % weights.size] >= parameters.min_weight
        index, depth_kelvin = index[accepted], depth_kelvin[accepted]
        if parameters.min_significance > 0 and index.size:
            return index[self._significant(index, depth_kelvin)]
        return index

    def _accepted_values(self):
        return VoxelValues(self.accepted, self.estimate.at(self.accepted))

    def _known_absorption(self):
        """T_U of the accepted voxels, and of what the spectral search flagged in one piece with them.

        The spatial search of the next pass fits T_U there. Fitted to the absorption, its U would
        sink into what is larger than the CLEAN kernel, and the search would find but the rim.
        """
        labels, n_features = label_features(flagged(self.flags, MaskBit.SPECTRAL))
        labels = labels.reshape(-1)
        holds_accepted = np.zeros(n_features + 1, bool)
        holds_accepted[labels[self.accepted]] = True
        return self.estimate.only(holds_accepted[labels[self.estimate.index]])

    def _significant(self, index, depth_kelvin):
        """Whether the voxels are in features that noise could not have made."""
        feature, n_features = label_voxels(index, self.cube.shape)
        significance = feature_significance(
            depth_kelvin,
            self._sigma_kelvin(np.unravel_index(index, self.cube.shape)),
            feature,
            n_features,
            self._correlated_voxels(),
        )
        # Written so that a feature of unknown noise is kept.
        dropped = significance < self.extractor.parameters.min_significance
        return ~dropped[feature]

    def _correlated_voxels(self):
        return 1.0 if self.spatial_noise is None else self.spatial_noise.correlation.n_voxels

    def _sigma_kelvin(self, voxels):
        """Noise of O at some voxels."""
        if self.spatial_noise is None:
            return self.spectral_noise.observed_kelvin[voxels[1:]]
        return self.spatial_noise.at(voxels, self.cube.shape)

    def _record(self, number):
        """Note which voxels are new in this pass, and count."""
        known = np.concatenate([self.accepted[:0], *self.new])
        self.new.append(np.setdiff1d(self.accepted, known, assume_unique=True))
        counts = {
            "spectral": _count(self.flags, MaskBit.SPECTRAL),
            "spatial": _count(self.flags, MaskBit.SPATIAL),
            "union": int(np.count_nonzero(self.flags)),
            "accepted": self.accepted.size,
            "new": self.new[-1].size,
        }
        self.passes.append({"pass": number} | counts)
        logger.info(
            "pass %d: %d voxels flagged by the spectral search, %d by the spatial one; %d accepted, %d new",
            number,
            *(counts[name] for name in ("spectral", "spatial", "accepted", "new")),
        )

    def result(self, cube, box):
        """What was accepted in the last pass, on the axes of the whole cube."""
        first_pass = np.zeros(self.cube.shape, np.uint8)
        for number, index in enumerate(self.new, start=1):
            first_pass.reshape(-1)[np.intersect1d(index, self.accepted, assume_unique=True)] = number
        errors = self._errors()
        self.flags.reshape(-1)[self.accepted] |= np.uint8(MaskBit.ACCEPTED)
        first_pass, flags = (_on_axes(part, cube.shape, box) for part in (first_pass, self.flags))
        unabsorbed_kelvin = self._accepted_values().kelvin
        with self._timed("catalogue"):
            labels, _ = label_features(first_pass > 0)
            catalog = build_catalog(
                cube.kelvin, unabsorbed_kelvin, labels, first_pass, cube.wcs, beam=cube.beam, errors=errors
            )
        logger.info("found: %d features in %.1f s", len(catalog), sum(self.timings.values()))
        return HISAResult(
            t_on=cube.data,
            unabsorbed_kelvin=unabsorbed_kelvin,
            flags=flags,
            labels=labels,
            first_pass=first_pass,
            catalog=catalog,
            wcs=cube.wcs,
            beam=cube.beam,
            meta=self._provenance(),
            sigma_unabsorbed_kelvin=errors.unabsorbed_kelvin,
            sigma_delta_kelvin=errors.delta_kelvin.astype(np.float32),
            searches=self._search_record(cube.shape, box),
        )

    def _search_record(self, shape, box):
        """Loops, stops and noise, on the axes of the whole cube."""
        channels, *sky = box
        on_sky = (slice(None), *sky)
        loops, stops = (np.stack(part) for part in zip(*self.loops["spectral"], strict=True))
        map_loops, map_stops = (np.stack(part) for part in zip(*self.loops["spatial"], strict=True))
        n_passes, n_v = len(loops), shape[0]
        noise = np.full(shape[1:], np.nan, np.float32)
        noise[tuple(sky)] = self.spectral_noise.observed_kelvin
        map_noise = np.full(n_v, np.nan, np.float32)
        if self.spatial_noise is not None:
            map_noise[channels] = [_mean(coarse) for coarse in self.spatial_noise.coarse_kelvin]
        return SearchRecord(
            spectral_loops=_on_axes(loops, (n_passes, *shape[1:]), on_sky),
            spectral_stop=_on_axes(stops.astype(np.int16), (n_passes, *shape[1:]), on_sky),
            spectral_noise_kelvin=noise,
            spatial_loops=_on_axes(map_loops, (n_passes, n_v), (slice(None), channels)),
            spatial_stop=_on_axes(map_stops.astype(np.int16), (n_passes, n_v), (slice(None), channels)),
            spatial_noise_kelvin=map_noise,
        )

    def _errors(self):
        """Uncertainties of the accepted voxels, with T_OFF as in the last pass."""
        with self._timed("uncertainty"):
            labels, _ = label_features(self.flags > 0)
            features = np.unique(labels.reshape(-1)[self.accepted])
            noise = self.spatial_noise
            if noise is None and np.isfinite(self.spectral_noise.observed_kelvin).any():
                noise = self.spectral_noise.observed_kelvin * u.K
            errors = measure_errors(self.cube, labels, noise=noise, workers=self.how["workers"])
            found = self.extractor.unabsorbed.at_voxels(
                self.cube, labels, features, self.accepted, errors=errors, **self.how
            )
        return VoxelErrors(
            noise_kelvin=errors.sigma_kelvin(self.accepted).astype(np.float32),
            unabsorbed_kelvin=found.sigma_kelvin,
            correlated_voxels=self._correlated_voxels(),
        )

    def _provenance(self):
        cube = self.cube
        return {
            "hisatools": version("hisatools"),
            "versions": {name: version(name) for name in RECORDED_PACKAGES},
            **self.extractor.settings(),
            "input": {name: value for name, value in cube.meta.items() if name != "mends"},
            "mends": list(cube.mends),
            "timings": self.timings,
            "passes": self.passes,
            "remarks": self._remarks(),
        }

    def _remarks(self):
        """Why nothing was found, and what was left out."""
        remarks = []
        if self.spatial_noise is None:
            remarks.append("one sight line: spectral search only")
        if not self.accepted.size:
            remarks.append(self._why_nothing())
        return remarks

    def _why_nothing(self):
        critical = self.extractor.parameters.critical_brightness
        brightest = float(np.nanmax(self.cube.kelvin))
        if brightest < critical.value:
            return (
                f"no absorption: the brightest voxel is {brightest:.3g} K, so T_U is below T_crit = "
                f"{critical.value:g} K everywhere"
            )
        if not self.flags.any():
            return "no absorption: neither search found a dip above its threshold"
        return (
            "no absorption: what the searches found was not found by both, was fainter than "
            f"T_crit = {critical.value:g} K, or did not stand out from the noise"
        )


def _count(flags, bit):
    """How many voxels have a bit, counted by channel lest a mask of the cube be made."""
    return sum(int(np.count_nonzero(flagged(channel, bit))) for channel in flags)


def _mean(values):
    """The mean of the finite values; NaN where there is none."""
    known = values[np.isfinite(values)]
    return known.mean() if known.size else np.nan


def _on_axes(part, shape, box):
    """A cube of zeros with a part put into its box; the part itself where it is the whole."""
    if part.shape == shape:
        return part
    whole = np.zeros(shape, part.dtype)
    whole[box] = part
    return whole
