"""`PerformanceModel`: how complete, how reliable and how biased an extraction is."""

from dataclasses import dataclass, field, replace
from functools import cached_property, reduce
from operator import add

import numpy as np
from astropy.table import QTable

from hisatools.errors import ParameterError
from hisatools.performance.counts import stack_rows
from hisatools.performance.estimates import (
    FRACTIONS,
    check_measure,
    drift_measures,
    fraction_measure,
    region_value,
)
from hisatools.performance.histograms import Histograms
from hisatools.performance.observables import Voxels, axis_number
from hisatools.performance.settings import check_same_extraction
from hisatools.performance.smoothing import SmoothingParameters


@dataclass(frozen=True, eq=False)
class PerformanceModel:
    """Throughput, true fraction and drifts over (dT, T_U, angular width, velocity width).

    What was put into cubes is compared, voxel by voxel, with what came out (the paper, section 3.3).
    Make one with `run` (model cubes), `inject` (absorption put into a real cube), `from_pairs` (a
    truth of your own), or `read`.

    Parameters
    ----------
    histograms : `~hisatools.performance.Histograms`
    correlated_voxels : float
        Voxels that count as one independent sample.
    smoothing : `~hisatools.performance.SmoothingParameters`
    models : `~astropy.table.QTable`
        One row for each cube that was extracted.
    sample : `~hisatools.performance.Sample` or None
        Slices of the first cube, for figures.
    meta : dict
        How it was made; JSON can hold it.

    Examples
    --------
    What one pass finds in a model cube, compared with the absorption that was put into it:

    >>> import astropy.units as u
    >>> from hisatools import PerformanceModel
    >>> from hisatools.datasets import example_model, example_result
    >>> performance = PerformanceModel.from_pairs([(example_model(), example_result())])
    >>> found = performance.region("throughput", delta_t=(None, -20 * u.K))
    >>> real = performance.region("true_fraction", delta_t=(None, -20 * u.K))
    >>> round(float(found.value), 2), round(float(real.value), 2)
    (0.12, 1.0)
    >>> performance.region("drift_delta_t", delta_t=(None, -20 * u.K)).value.round(1)
    <Quantity 1.7 K>
    """

    histograms: Histograms
    correlated_voxels: float = 1.0
    smoothing: SmoothingParameters = field(default_factory=SmoothingParameters)
    models: QTable = field(default_factory=QTable)
    sample: object = None
    meta: dict = field(default_factory=dict)

    # --- making one ---------------------------------------------------------------------------

    @classmethod
    def run(cls, n_models=8, **settings):
        """Extract model cubes of the paper's section 3.2; see `hisatools.performance.run_models`.

        Examples
        --------
        One cube, smaller than a model of any use, so that it takes a second:

        >>> from hisatools import HISAExtractor, PerformanceModel
        >>> from hisatools.simulate import ModelParameters
        >>> small = ModelParameters(shape=(32, 96, 96), n_pucks=20, n_components=100)
        >>> how = {"seed": 3, "extractor": HISAExtractor(n_passes=1)}
        >>> performance = PerformanceModel.run(1, parameters=small, **how)  # doctest: +IGNORE_WARNINGS
        >>> performance.region("throughput").n_voxels
        17877
        """
        from hisatools.performance.runs import run_models

        return run_models(n_models, **settings)

    @classmethod
    def inject(cls, cube, n_models=4, **settings):
        """Put absorption into a real cube; see `hisatools.performance.run_injections`.

        Examples
        --------
        >>> from hisatools import HISAExtractor, PerformanceModel
        >>> from hisatools.simulate import ModelParameters, simulate_cube
        >>> small = ModelParameters(shape=(16, 72, 72), n_pucks=8, n_components=60)
        >>> cube = simulate_cube(small, seed=3).cube
        >>> how = {"n_pucks": 20, "extractor": HISAExtractor(n_passes=1)}
        >>> performance = PerformanceModel.inject(cube, 1, noise="own", **how)  # doctest: +IGNORE_WARNINGS
        >>> performance.meta["kind"], performance.meta["noise"]
        ('injection', 'own')
        """
        from hisatools.performance.runs import run_injections

        return run_injections(cube, n_models, **settings)

    @classmethod
    def from_pairs(cls, pairs, **settings):
        """Compare results with truths of your own; see `hisatools.performance.compare_pairs`.

        Examples
        --------
        >>> import astropy.units as u
        >>> from hisatools import PerformanceModel
        >>> from hisatools.datasets import example_model, example_result
        >>> pairs = [(example_model(), example_result())]
        >>> performance = PerformanceModel.from_pairs(pairs, correlated_voxels=20)
        >>> deep = performance.region("throughput", delta_t=(None, -20 * u.K))
        >>> round(float(deep.value), 2), round(float(deep.uncertainty), 2)
        (0.12, 0.02)
        """
        from hisatools.performance.pairs import compare_pairs

        return compare_pairs(pairs, **settings)

    @classmethod
    def read(cls, path):
        """Read what `write` wrote; see `hisatools.performance.files.read_performance`.

        Examples
        --------
        >>> from hisatools import PerformanceModel
        >>> from hisatools.datasets import example_model, example_result
        >>> made = PerformanceModel.from_pairs([(example_model(), example_result())])
        >>> performance = PerformanceModel.read(made.write("performance.fits"))
        >>> performance.meta["kind"], performance.region("throughput").n_voxels
        ('pairs', 93620)
        """
        from hisatools.performance.files import read_performance

        return read_performance(path)

    def write(self, path, *, overwrite=False):
        """Write one FITS file; see `hisatools.performance.files.write_performance`.

        Examples
        --------
        >>> from astropy.io import fits
        >>> from hisatools import PerformanceModel
        >>> from hisatools.datasets import example_model, example_result
        >>> performance = PerformanceModel.from_pairs([(example_model(), example_result())])
        >>> path = performance.write("performance.fits")
        >>> with fits.open(path) as hdus:
        ...     print(path, hdus["N_IN_ALL"].shape, int(hdus["N_IN_ALL"].data.sum()))
        ...
        performance.fits (19, 54, 28, 27) 93620
        """
        from hisatools.performance.files import write_performance

        return write_performance(self, path, overwrite=overwrite)

    @classmethod
    def merge(cls, parts):
        """One model of several: counts and sums add up in the order given.

        Parameters
        ----------
        parts : sequence of PerformanceModel

        Returns
        -------
        PerformanceModel
            With the smoothing and the ``meta`` of the first, and the first sample there is.

        Raises
        ------
        ParameterError
            If there is none, or if they are of different kinds or extractions.

        Examples
        --------
        >>> from hisatools import PerformanceModel
        >>> from hisatools.datasets import example_model, example_result
        >>> one = PerformanceModel.from_pairs([(example_model(), example_result())])
        >>> both = PerformanceModel.merge([one, one])
        >>> one.region("throughput").n_voxels, both.region("throughput").n_voxels, len(both.models)
        (93620, 187240, 2)
        """
        parts = list(parts)
        if not parts:
            raise ParameterError("parts must hold at least one PerformanceModel, got none")
        check_same_extraction(parts)
        histograms = reduce(add, (part.histograms for part in parts))
        weights = [max(len(part.models), 1) for part in parts]
        voxels = np.average([part.correlated_voxels for part in parts], weights=weights)
        return replace(
            parts[0],
            histograms=histograms,
            correlated_voxels=float(voxels),
            models=stack_rows([part.models for part in parts]),
            sample=next((part.sample for part in parts if part.sample is not None), None),
        )

    # --- what it says -------------------------------------------------------------------------

    @cached_property
    def throughput(self):
        """Share of the input voxels that were found, as a function of the input; `Measure`."""
        return fraction_measure(self.histograms, "throughput", self.smoothing, self.correlated_voxels)

    @cached_property
    def true_fraction(self):
        """Share of the accepted voxels that are real, as a function of the output; `Measure`."""
        return fraction_measure(self.histograms, "true_fraction", self.smoothing, self.correlated_voxels)

    def drift(self, name):
        """Mean of output minus input, as a function of the input.

        Parameters
        ----------
        name : str
            "delta_t", "t_unabsorbed", "angular_width" or "velocity_width".

        Returns
        -------
        Measure
            In K, arcmin or km/s.

        Examples
        --------
        >>> from hisatools import PerformanceModel
        >>> from hisatools.datasets import example_model, example_result
        >>> performance = PerformanceModel.from_pairs([(example_model(), example_result())])
        >>> drift = performance.drift("t_unabsorbed")
        >>> drift.name, drift.value.shape, str(drift.value.unit)
        ('drift_t_unabsorbed', (19, 54, 28, 27), 'K')
        """
        axis_number(name)
        return self._drifts[name]

    @cached_property
    def _drifts(self):
        return drift_measures(self.histograms, self.smoothing, self.correlated_voxels)

    def measure(self, name):
        """Throughput, true fraction or a drift by its name.

        Parameters
        ----------
        name : str
            ``"throughput"``, ``"true_fraction"``, or ``"drift_"`` and the name of an observable.

        Returns
        -------
        Measure

        Raises
        ------
        ParameterError
            For any other name.

        Examples
        --------
        >>> import numpy as np
        >>> from hisatools import PerformanceModel
        >>> from hisatools.datasets import example_model, example_result
        >>> performance = PerformanceModel.from_pairs([(example_model(), example_result())])
        >>> throughput = performance.measure("throughput")
        >>> throughput.value.shape, int(np.isfinite(throughput.value).sum())
        ((19, 54, 28, 27), 13463)
        """
        check_measure(name)
        return getattr(self, name) if name in FRACTIONS else self.drift(name.removeprefix("drift_"))

    def slice(self, measure, x, y, **at):
        """A plane of a measure; see `hisatools.performance.Measure.slice`.

        Parameters
        ----------
        measure : str
            As for `measure`.
        x, y : str
            The observables along the axes.
        **at : `~astropy.units.Quantity`
            Where the plane cuts the other two axes.

        Returns
        -------
        MeasureSlice

        Examples
        --------
        >>> import astropy.units as u
        >>> from hisatools import PerformanceModel
        >>> from hisatools.datasets import example_model, example_result
        >>> performance = PerformanceModel.from_pairs([(example_model(), example_result())])
        >>> widths = {"angular_width": 2 * u.arcmin, "velocity_width": 2 * u.km / u.s}
        >>> plane = performance.slice("throughput", "t_unabsorbed", "delta_t", **widths)
        >>> plane.value.shape, plane.x[0], plane.y[-1]
        ((19, 54), <Quantity 31.25 K>, <Quantity -1.25 K>)
        """
        return self.measure(measure).slice(x, y, **at)

    def region(self, measure, **ranges):
        """A measure in a part of the parameter space, from the unsmoothed counts.

        Parameters
        ----------
        measure : str
            As for `measure`.
        **ranges : (low, high) of `~astropy.units.Quantity` or None
            For any of the observables; None is no limit. Limits are moved outwards to the edges of bins.

        Returns
        -------
        RegionValue

        Examples
        --------
        >>> import astropy.units as u
        >>> from hisatools import PerformanceModel
        >>> from hisatools.datasets import example_model, example_result
        >>> performance = PerformanceModel.from_pairs([(example_model(), example_result())])
        >>> for low, high in [(-10, 0), (-20, -10), (-40, -20)]:
        ...     found = performance.region("throughput", delta_t=(low * u.K, high * u.K))
        ...     print(low, high, round(float(found.value), 3), found.n_voxels)
        ...
        -10 0 0.003 82860
        -20 -10 0.103 7043
        -40 -20 0.119 3717
        """
        return region_value(self.histograms, measure, ranges, self.correlated_voxels)

    def true_fraction_at(self, result):
        """The likelihood that each accepted voxel of a result is real (the paper, section 3.5).

        Parameters
        ----------
        result : `~hisatools.HISAResult`
            Of a cube like those that this model was made of.

        Returns
        -------
        `~numpy.ndarray` of float32, shape (n_v, n_y, n_x)
            NaN outside accepted voxels, and in those unlike any accepted voxel of the models.

        Examples
        --------
        >>> from hisatools import PerformanceModel
        >>> from hisatools.datasets import example_model, example_result
        >>> result = example_result()
        >>> performance = PerformanceModel.from_pairs([(example_model(), result)])
        >>> likely = performance.true_fraction_at(result)
        >>> likely.shape, round(float(likely[result.mask].mean()), 2)
        ((32, 208, 208), 0.97)
        """
        voxels = Voxels.of(result)
        values = np.full(voxels.mask.shape, np.nan, np.float32)
        values[voxels.mask] = self.true_fraction.at_points(voxels.values)
        return values

    def assess(self, result):
        """The result with the reliability and completeness of its voxels and features.

        Parameters
        ----------
        result : `~hisatools.HISAResult`

        Returns
        -------
        `~hisatools.HISAResult`
            The same but for ``true_fraction``, that of `true_fraction_at`; for what this model is, in
            ``meta["performance"]``; and for three more columns of the catalogue: ``reliability``, mean of
            `true_fraction_at`; ``completeness``, mean throughput of absorption such as was measured in
            the feature's voxels; ``assessed``, share of its voxels that are like accepted voxels of the
            models. The reliability is NaN where that share is 0, and the completeness where no voxel is
            like what was put into the models.

        Warns
        -----
        HISAWarning
            If the result was extracted with other parameters than the models, or if less than half of
            its accepted voxels are like voxels of the models.

        Examples
        --------
        For brevity the model is made of the cube that is assessed; it should be of others like it:

        >>> from hisatools import PerformanceModel
        >>> from hisatools.datasets import example_model, example_result
        >>> result = example_result()
        >>> assessed = PerformanceModel.from_pairs([(example_model(), result)]).assess(result)
        >>> for row in assessed.catalog:
        ...     print(row["id"], row["n_voxels"], f"{row['reliability']:.2f} {row['completeness']:.2f}")
        ...
        1 54 1.00 nan
        2 259 1.00 0.00
        3 208 1.00 0.00
        4 419 1.00 0.00
        5 516 0.92 0.00
        """
        from hisatools.performance.assessment import assess

        return assess(self, result)
