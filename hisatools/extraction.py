"""`HISAExtractor`: both searches, the estimate of T_U and the filters, in passes (section 2.4)."""

import time
import warnings
from contextlib import contextmanager
from importlib.metadata import version
from numbers import Integral

import astropy.units as u
import numpy as np

from hisatools.catalog import build_catalog
from hisatools.errors import HISAWarning, ParameterError
from hisatools.features import feature_significance, label_features
from hisatools.parameters import (
    ExtractionParameters,
    ShellParameters,
    SpatialParameters,
    SpectralParameters,
    check_number,
)
from hisatools.results import HISAResult, MaskBit
from hisatools.search.spatial import SpatialSearcher
from hisatools.search.spectral import SpectralSearcher
from hisatools.unabsorbed import UnabsorbedEstimator

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

    Examples
    --------
    >>> from hisatools import HISAExtractor
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> model = simulate_cube(ModelParameters(shape=(32, 96, 96), n_pucks=20, n_components=100), seed=3)
    >>> result = HISAExtractor(n_passes=1).run(model.cube)  # doctest: +IGNORE_WARNINGS
    >>> bool((result.delta_t[result.mask].value < 0).all())
    True
    """

    def __init__(self, *, spectral=None, spatial=None, unabsorbed=None, parameters=None, n_passes=3):
        if isinstance(n_passes, bool) or not isinstance(n_passes, Integral) or not 1 <= n_passes <= 255:
            raise ParameterError(f"n_passes must be a whole number from 1 to 255, got {n_passes!r}")
        self.spectral = SpectralSearcher() if spectral is None else spectral
        self.spatial = SpatialSearcher() if spatial is None else spatial
        self.unabsorbed = UnabsorbedEstimator() if unabsorbed is None else unabsorbed
        self.parameters = ExtractionParameters() if parameters is None else parameters
        self.n_passes = int(n_passes)

    @classmethod
    def preset(cls, name, *, clean="numba", convolution="scipy", n_passes=3):
        """An extractor with a survey's parameters and backends chosen by name."""
        return cls(
            spectral=SpectralSearcher(SpectralParameters.preset(name), clean=clean),
            spatial=SpatialSearcher(SpatialParameters.preset(name), clean=clean, convolution=convolution),
            unabsorbed=UnabsorbedEstimator("shell", ShellParameters.preset(name)),
            parameters=ExtractionParameters.preset(name),
            n_passes=n_passes,
        )

    def settings(self):
        """Parameters, strategies and backends as a dict that JSON can hold."""
        parameters = {
            "spectral": self.spectral.parameters,
            "spatial": self.spatial.parameters,
            "shell": self.unabsorbed.parameters,
            "extraction": self.parameters,
        }
        return {
            "parameters": {name: values.to_dict() for name, values in parameters.items()}
            | {"n_passes": self.n_passes},
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
            If a CLEAN kernel does not fit the cube.
        """
        check_number("workers", workers, integer=True)
        # Without its blank margins, so that they change nothing, not even a grid of noise boxes.
        box = cube.filled_box()
        filled = cube.cutout(box)
        self.spectral.check(filled)
        if not filled.is_spectrum:
            self.spatial.check(filled)
        extraction = _Extraction(self, filled, workers, progress)
        for number in range(1, self.n_passes + 1):
            if not extraction.search(number):
                break
        return extraction.result(cube, box)


class _Extraction:
    """The state of one run: flags of all passes, and T_U as it stands."""

    def __init__(self, extractor, cube, workers, progress):
        self.extractor, self.cube = extractor, cube
        self.how = {"workers": workers, "progress": progress}
        self.timings = {}
        self.passes = []
        self.flags = np.zeros(cube.shape, np.uint8)
        self.first_pass = np.zeros(cube.shape, np.uint8)
        self.accepted = np.zeros(cube.shape, bool)
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
        yield
        self.timings[stage] = round(self.timings.get(stage, 0) + time.perf_counter() - start, 3)

    def search(self, number):
        """One pass: flag, interpolate over the union of all flags, accept.

        Returns whether another pass could find anything else.
        """
        flags, accepted = self.flags.copy(), self.accepted
        with self._timed("spectral search"):
            found = self.extractor.spectral.search(self.searched, noise=self.spectral_noise, **self.how)
            self.flags |= found.mask * np.uint8(MaskBit.SPECTRAL)
        del found
        self._search_maps()
        estimate = self._estimate()
        if number == 1 and self.spatial_noise is not None and self.accepted.any():
            # U has sunk into what is as large as the CLEAN kernel: once more, now that it is known.
            self.fitted = self._filled(self._known_absorption(), estimate)
            self._search_maps()
            estimate = self._estimate()
        self._record(number)
        self.searched = self._filled(self.accepted, estimate)
        self.fitted = self._filled(self._known_absorption(), estimate)
        unchanged = np.array_equal(flags, self.flags) and np.array_equal(accepted, self.accepted)
        return self.accepted.any() and not unchanged

    def _search_maps(self):
        """Flag what the spatial search finds in the cube, with U fitted to what is left of it.

        In every pass it is the cube itself that is searched: filled in, the neighbours of a voxel that
        is not yet found would raise the mean S that it is judged by.
        """
        if self.spatial_noise is None:
            return
        with self._timed("spatial search"):
            found = self.extractor.spatial.search(
                self.cube, noise=self.spatial_noise, fitted=self.fitted, **self.how
            )
            self.flags |= found.mask * np.uint8(MaskBit.SPATIAL)

    def _estimate(self):
        """T_U across the union of all flags, and what is accepted with it."""
        with self._timed("unabsorbed emission"):
            estimate = self.extractor.unabsorbed.estimate(self.cube, self.flags > 0, **self.how)
        with self._timed("filters"):
            self.accepted = self._accept(estimate)
        return estimate

    def _filled(self, mask, estimate):
        """The cube with T_U in place of the absorption of a mask."""
        return self.cube.with_brightness(np.where(mask, estimate.t_unabsorbed.value, self.cube.kelvin))

    def _accept(self, estimate):
        """The intersection filter and those applied with it (section 2.4.2), then significance."""
        parameters = self.extractor.parameters
        needed = MaskBit.SPECTRAL if self.spatial_noise is None else MaskBit.SPECTRAL | MaskBit.SPATIAL
        accepted = (self.flags & needed) == needed
        accepted &= estimate.delta_t.value < 0
        accepted &= estimate.t_unabsorbed.value >= parameters.critical_brightness.value
        if self.cube.weights is not None:
            accepted &= self.cube.weights >= parameters.min_weight
        if parameters.min_significance > 0 and accepted.any():
            self._drop_insignificant(accepted, -estimate.delta_t.value)
        return accepted

    def _known_absorption(self):
        """Accepted voxels, and what the spectral search flagged in one piece with them.

        The spatial search of the next pass fits T_U there. Fitted to the absorption, its U would
        sink into what is larger than the CLEAN kernel, and the search would find but the rim.
        """
        labels, n_features = label_features((self.flags & MaskBit.SPECTRAL) != 0)
        holds_accepted = np.zeros(n_features + 1, bool)
        holds_accepted[labels[self.accepted]] = True
        return holds_accepted[labels]

    def _drop_insignificant(self, accepted, depth_kelvin):
        """Unflag, in place, features that noise could have made."""
        labels, n_features = label_features(accepted)
        voxels = np.nonzero(accepted)
        significance = feature_significance(
            depth_kelvin[voxels],
            self._sigma_kelvin(voxels),
            labels[voxels] - 1,
            n_features,
            1.0 if self.spatial_noise is None else self.spatial_noise.correlation.n_voxels,
        )
        # Written so that a feature of unknown noise is kept.
        dropped = significance < self.extractor.parameters.min_significance
        accepted[voxels] = ~dropped[labels[voxels] - 1]

    def _sigma_kelvin(self, voxels):
        """Noise of O at some voxels."""
        if self.spatial_noise is None:
            return self.spectral_noise.observed_kelvin[voxels[1:]]
        return self.spatial_noise.at(voxels, self.cube.shape)

    def _record(self, number):
        """Note which voxels are new in this pass, and count."""
        new = self.accepted & (self.first_pass == 0)
        self.first_pass[new] = number
        counts = {
            "spectral": self.flags & MaskBit.SPECTRAL,
            "spatial": self.flags & MaskBit.SPATIAL,
            "union": self.flags,
            "accepted": self.accepted,
            "new": new,
        }
        self.passes.append(
            {"pass": number} | {name: int(np.count_nonzero(voxels)) for name, voxels in counts.items()}
        )

    def result(self, cube, box):
        """What was accepted in the last pass, on the axes of the whole cube."""
        t_unabsorbed = cube.kelvin.copy()
        t_unabsorbed[box] = self.searched.kelvin
        delta_t = cube.kelvin - t_unabsorbed
        first_pass, flags = np.zeros(cube.shape, np.uint8), np.zeros(cube.shape, np.uint8)
        first_pass[box] = np.where(self.accepted, self.first_pass, 0)
        flags[box] = self.flags | self.accepted * np.uint8(MaskBit.ACCEPTED)
        with self._timed("catalogue"):
            labels, _ = label_features(first_pass > 0)
            catalog = build_catalog(delta_t, t_unabsorbed, labels, first_pass, cube.wcs, beam=cube.beam)
        return HISAResult(
            delta_t=u.Quantity(delta_t, u.K, copy=False),
            t_unabsorbed=u.Quantity(t_unabsorbed, u.K, copy=False),
            flags=flags,
            labels=labels,
            first_pass=first_pass,
            catalog=catalog,
            wcs=cube.wcs,
            beam=cube.beam,
            meta=self._provenance(),
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
        if not self.accepted.any():
            remarks.append(self._why_nothing())
        return remarks

    def _why_nothing(self):
        critical = self.extractor.parameters.critical_brightness
        brightest = float(np.nanmax(self.searched.kelvin))
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
