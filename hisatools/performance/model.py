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
    The absorption of a model cube, taken as what was found in it, is found completely:

    >>> import astropy.units as u
    >>> from hisatools import PerformanceModel
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> model = simulate_cube(ModelParameters(shape=(32, 48, 48), n_pucks=5, n_components=50), seed=1)
    >>> perfect = PerformanceModel.from_pairs([(model, model)])
    >>> perfect.region("throughput", delta_t=(None, -2 * u.K)).value
    1.0
    >>> perfect.drift("delta_t").value.unit
    Unit("K")
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
        """Extract model cubes of the paper's section 3.2; see `hisatools.performance.run_models`."""
        from hisatools.performance.runs import run_models

        return run_models(n_models, **settings)

    @classmethod
    def inject(cls, cube, n_models=4, **settings):
        """Put absorption into a real cube; see `hisatools.performance.run_injections`."""
        from hisatools.performance.runs import run_injections

        return run_injections(cube, n_models, **settings)

    @classmethod
    def from_pairs(cls, pairs, **settings):
        """Compare results with truths of your own; see `hisatools.performance.compare_pairs`."""
        from hisatools.performance.pairs import compare_pairs

        return compare_pairs(pairs, **settings)

    @classmethod
    def read(cls, path):
        """Read what `write` wrote; see `hisatools.performance.files.read_performance`."""
        from hisatools.performance.files import read_performance

        return read_performance(path)

    def write(self, path, *, overwrite=False):
        """Write one FITS file; see `hisatools.performance.files.write_performance`."""
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
        >>> from hisatools.performance import Histograms, PerformanceModel
        >>> nothing = PerformanceModel(Histograms.empty())
        >>> nothing.region("throughput", delta_t=(None, -20 * u.K)).n_voxels
        0
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
        """
        from hisatools.performance.assessment import assess

        return assess(self, result)
