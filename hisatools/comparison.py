"""Several estimates of T_U side by side: where they differ, and how well each predicts known emission.

Inside a feature the unabsorbed emission is not known, but about it the emission is seen. Therefore the
features are grown by a rim of voxels, T_U is estimated across the grown features, and is compared with what
was observed in the rim: the hold-out test of cross-validation (Stone 1974, J. R. Stat. Soc. B 36, 111).
"""

import warnings
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.table import QTable

from hisatools.cube import HISACube
from hisatools.errors import HISAWarning, InputError, ParameterError
from hisatools.features import label_features
from hisatools.hold_out import HoldOut
from hisatools.io.writing import write_json, writing_folder
from hisatools.parameters import check_number
from hisatools.strategies import available, load
from hisatools.unabsorbed.base import UnabsorbedEstimator

__all__ = ["UnabsorbedComparison", "compare_unabsorbed"]

TABLES = ("comparison.ecsv", "features.ecsv")


@dataclass(frozen=True, eq=False)
class UnabsorbedComparison:
    """Estimates of T_U by several strategies, and how they compare.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        One row a strategy; the columns are described by `compare_unabsorbed`.
    features : `~astropy.table.QTable`
        The same for each strategy and feature.
    estimates : dict
        Name of the strategy to `~hisatools.unabsorbed.protocols.VoxelEstimate` at ``index``.
    index : `~numpy.ndarray` of int64, shape (n,)
        Voxels that were compared: places in the flattened cube, ascending.
    labels : `~numpy.ndarray` of int32, shape (n_v, n_y, n_x)
        0 outside the mask, then 1, 2, ...
    cube : `~hisatools.HISACube`
        The observed brightness.
    truth_kelvin : `~numpy.ndarray` of shape (n_v, n_y, n_x), or None
        The true T_U, where it is known.
    meta : dict
        Strategies with their parameters and citations; JSON can hold it.

    Examples
    --------
    >>> from hisatools import compare_unabsorbed
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> model = simulate_cube(ModelParameters(shape=(32, 48, 48), n_pucks=5, n_components=50), seed=101)
    >>> comparison = compare_unabsorbed(model.cube, model.mask, ["spectral-linear"], truth=model)
    >>> comparison.largest_features(2)
    [1, 2]
    >>> comparison.t_unabsorbed("spectral-linear")[model.mask].mean().round()
    <Quantity 72. K>
    """

    table: QTable
    features: QTable
    estimates: dict
    index: np.ndarray
    labels: np.ndarray
    cube: HISACube
    truth_kelvin: np.ndarray | None = None
    meta: dict = field(default_factory=dict)

    def largest_features(self, n_features):
        """Labels of the features of which most voxels were compared, the largest first.

        Parameters
        ----------
        n_features : int
            How many at most.

        Returns
        -------
        list of int
        """
        label, size = np.unique(self.labels.reshape(-1)[self.index], return_counts=True)
        return label[np.argsort(-size, kind="stable")][:n_features].tolist()

    def t_unabsorbed(self, strategy):
        """T_U of one strategy inside the features that were compared, T_ON elsewhere.

        Parameters
        ----------
        strategy : str
            One of ``table["strategy"]``.

        Returns
        -------
        `~astropy.units.Quantity`, shape (n_v, n_y, n_x), K
            NaN where the cube is blank.

        Raises
        ------
        ParameterError
            If the strategy was not compared.
        """
        if strategy not in self.estimates:
            raise ParameterError(
                f"strategy {strategy!r} was not compared; known: {', '.join(self.estimates)}"
            )
        kelvin = self.cube.kelvin.copy()
        kelvin.reshape(-1)[self.index] = self.estimates[strategy].kelvin
        return u.Quantity(kelvin, u.K, copy=False)

    def plot_feature(self, feature):
        """Draw all T_U of one feature; see `hisatools.comparison_figures.plot_feature`."""
        from hisatools.comparison_figures import plot_feature

        return plot_feature(self, feature)

    def write(self, folder, *, n_features=8, overwrite=False):
        """Write tables, pictures and provenance, completely or not at all.

        Parameters
        ----------
        folder : str or path
            Gets ``comparison.ecsv`` (a row for each strategy), ``features.ecsv`` (for each strategy and
            feature), ``feature_00001.png`` and so on, and ``provenance.json``.
        n_features : int
            How many features are drawn, the largest first.
        overwrite : bool
            Whether the files of an older comparison may be replaced.

        Returns
        -------
        pathlib.Path
            The folder.

        Raises
        ------
        OutputError
            If the folder cannot be written, or holds files and ``overwrite`` is False.

        Examples
        --------
        >>> from hisatools import compare_unabsorbed
        >>> from hisatools.simulate import ModelParameters, simulate_cube
        >>> model = simulate_cube(ModelParameters(shape=(32, 48, 48), n_pucks=5, n_components=50), seed=101)
        >>> comparison = compare_unabsorbed(model.cube, model.mask, ["spectral-linear"], truth=model)
        >>> folder = comparison.write("compared", n_features=1)
        >>> sorted(path.name for path in folder.iterdir())
        ['comparison.ecsv', 'feature_00001.png', 'features.ecsv', 'provenance.json']
        """
        check_number("n_features", n_features, inclusive=True, integer=True)
        folder = Path(folder).expanduser()
        older = [path.name for path in folder.glob("feature_*.png")]
        with writing_folder(folder, overwrite=overwrite, names=(*TABLES, "provenance.json", *older)) as part:
            for name, table in zip(TABLES, (self.table, self.features), strict=True):
                table.write(part / name)
            for feature in self.largest_features(n_features):
                self.plot_feature(feature).savefig(part / f"feature_{feature:05d}.png", dpi=120)
            write_json(part / "provenance.json", self.meta)
        return folder


def compare_unabsorbed(
    cube, mask, strategies=None, *, within=None, truth=None, noise=None, rim=2, workers=1, progress=False
):
    """Estimate T_U in several ways and measure how well each does.

    Two things are measured. "Outside": every feature is grown by a rim of ``rim`` voxels, where the
    emission is seen; T_U is estimated across the grown feature, and compared with T_ON in the rim. This
    needs no truth. T_U minus T_ON is above 0 there if the mask leaves out absorption that the rim then holds,
    and this is the same for all strategies; chi^2 is a little below 1 even where all uncertainties are
    right, because noise that is correlated over the beam is partly common to T_U and T_ON. Strategies that
    start from the masked voxels themselves, as asymmetric least squares do, have seen the rim, and
    come out too well. Voxels of the rim about which a strategy says nothing enter none of its numbers, so
    that strategies can be ranked only if they say something about nearly the same share of it. "Inside":
    T_U minus the truth, where that is given.

    Parameters
    ----------
    cube : `~hisatools.HISACube`
        The original brightness. NaN is blank: never compared, never T_OFF.
    mask : array_like of bool, shape (n_v, n_y, n_x)
        Voxels that may be absorbed; none of them serves as T_OFF. Voxels that touch by a face are one
        feature. Numbers are taken as "not 0", and NaN as False.
    strategies : sequence, optional
        Names, pairs of a name and its parameters, or `~hisatools.UnabsorbedEstimator`; by default all that
        are installed and need no further input.
    within : array_like of bool, shape of ``mask``, optional
        Only these voxels are compared, and features that have none are left out: for example what an
        extraction accepted of all that it flagged.
    truth : `~astropy.units.Quantity`, shape of ``mask``, or `~hisatools.simulate.ModelCube`, optional
        The true T_U.
    noise : optional
        As for `~hisatools.unabsorbed.uncertainty.measure_errors`; measured if not given.
    rim : int
        Voxels by which the features are grown.
    workers : int
        Number of threads; never changes the result.
    progress : bool
        Whether to show progress bars.

    Returns
    -------
    `UnabsorbedComparison`
        Its ``table`` has for each strategy: ``n_features`` and their ``n_voxels``; ``known``, the
        share of them for which the strategy can say something; the mean ``t_unabsorbed``, ``delta_t`` and
        1-sigma uncertainty ``sigma`` of T_U of these; ``outside_n_voxels``, the size of the rim, and
        ``outside_known``, the share of it about which the strategy says something; of this share
        ``outside_bias`` (mean of T_U - T_ON), ``outside_scatter`` (standard deviation) and ``outside_chi2``
        (mean of the squared difference over the variances of T_U and of the noise); with a truth
        ``inside_bias``, ``inside_scatter``, ``inside_chi2`` and the shares ``inside_within_1_sigma`` and
        ``inside_within_2_sigma``; and ``seconds``. What is measured on no voxel is NaN.

    Raises
    ------
    InputError
        If a shape differs from the cube's, or no strategy can be used on the cube.
    ParameterError
        If a strategy is not known, or the noise is nowhere above 0.
    ParameterUnitsError
        If the noise is no temperature.

    Warns
    -----
    HISAWarning
        If a strategy cannot be used on the cube; the others are compared. If no voxel is to be compared.

    Examples
    --------
    >>> from hisatools import compare_unabsorbed
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> model = simulate_cube(ModelParameters(shape=(32, 48, 48), n_pucks=5, n_components=50), seed=101)
    >>> comparison = compare_unabsorbed(model.cube, model.mask, ["shell", "spectral-linear"], truth=model)
    >>> for row in comparison.table:
    ...     print(row["strategy"], row["inside_bias"].round(1), row["inside_scatter"].round(1))
    ...
    shell -0.3 K 3.3 K
    spectral-linear -0.1 K 4.9 K
    """
    check_number("rim", rim, integer=True)
    estimators = _estimators(strategies)
    check_number("workers", workers, integer=True)
    labels, features, index = _features(cube, mask, within)
    truth_kelvin = _truth_kelvin(truth, cube)
    job = HoldOut(cube, labels, features, index, truth_kelvin, {"workers": workers, "progress": progress})
    job.prepare(noise, rim)
    results = {name: result for name, one in estimators.items() if (result := job.run(name, one)) is not None}
    if not results:
        raise InputError(
            f"none of the strategies {', '.join(estimators)} can be used on this cube; the warnings say why"
        )
    return UnabsorbedComparison(
        table=_table([row for _, row, _ in results.values()]),
        features=_table([row for _, _, rows in results.values() for row in rows]),
        estimates={name: estimate for name, (estimate, _, _) in results.items()},
        index=index,
        labels=labels,
        cube=cube,
        truth_kelvin=truth_kelvin,
        meta=_provenance(cube, {name: estimators[name] for name in results}, rim),
    )


# --- what is compared -------------------------------------------------------------------------


def usable_strategies(inputs=()):
    """Installed strategies that need nothing but the cube, or no more than some inputs.

    Parameters
    ----------
    inputs : sequence of str
        Names of inputs that can be given, such as "tracer".

    Returns
    -------
    list of str
        Sorted. A strategy says in ``required_inputs`` what it cannot do without.
    """
    found = []
    for name in available("unabsorbed"):
        try:
            needed = getattr(load("unabsorbed", name), "required_inputs", ())
        except ParameterError:  # its package is not installed
            continue
        if set(needed) <= set(inputs):
            found.append(name)
    return found


def _estimators(strategies):
    """Name of each estimator to the estimator; a name that comes up again gets a number."""
    strategies = usable_strategies() if strategies is None else strategies
    if isinstance(strategies, str):
        raise ParameterError(f"strategies must be a list, got {strategies!r}; write [{strategies!r}]")
    found = {}
    for item in strategies:
        estimator = _estimator(item)
        name, number = estimator.strategy, 1
        while name in found:
            number += 1
            name = f"{estimator.strategy} ({number})"
        found[name] = estimator
    if not found:
        raise ParameterError("no strategies are given; name one, for example ['shell', 'spectral-linear']")
    return found


def _estimator(item):
    if isinstance(item, UnabsorbedEstimator):
        return item
    if isinstance(item, str):
        return UnabsorbedEstimator(item)
    if isinstance(item, tuple) and len(item) == 2:
        return UnabsorbedEstimator(*item)
    raise ParameterError(
        f"a strategy is given by its name, by (name, parameters) or as UnabsorbedEstimator, got {item!r}"
    )


def _features(cube, mask, within):
    """Labels of the mask, those of them that are compared, and which of their voxels."""
    mask = _mask_of(cube, mask, "mask")
    labels, n_features = label_features(mask & np.isfinite(cube.kelvin))
    if within is None:
        features, index = np.arange(1, n_features + 1), np.flatnonzero(labels)
    else:
        index = np.flatnonzero((labels > 0) & _mask_of(cube, within, "within"))
        features = np.unique(labels.reshape(-1)[index])
    if not index.size:
        _warn_of_nothing(mask, n_features)
    return labels, features, index


def _warn_of_nothing(mask, n_features):
    if n_features:
        why = "none of the mask's voxels was accepted (within=)"
    elif mask.any():
        why = "the cube is blank (NaN) wherever the mask is set"
    else:
        why = "no voxel of the mask is set"
    warnings.warn(
        f"there are 0 features to compare: {why}; give a mask of the absorption in this cube",
        HISAWarning,
        stacklevel=4,
    )


def _mask_of(cube, mask, name):
    mask = np.asarray(mask)
    if mask.dtype.kind == "f":
        mask = np.where(np.isnan(mask), 0, mask)  # NaN as a bool is True
    mask = mask.astype(bool, copy=False)
    if mask.shape != cube.shape:
        raise InputError(
            f"{name} has the shape {mask.shape}, the cube {cube.shape}; pass one made for this cube"
        )
    return mask


def _truth_kelvin(truth, cube):
    if truth is None:
        return None
    truth = getattr(truth, "t_unabsorbed", truth)
    if not isinstance(truth, u.Quantity) or truth.shape != cube.shape:
        raise InputError(
            f"truth must be a Quantity of the cube's shape {cube.shape}, got {type(truth).__name__} of shape "
            f"{np.shape(truth)}"
        )
    return truth.to_value(u.K)


def _table(rows):
    return QTable(rows=rows) if rows else QTable()


def _provenance(cube, estimators, rim):
    return {
        "hisatools": version("hisatools"),
        "strategies": {
            name: {
                "strategy": estimator.strategy,
                "citation": getattr(estimator.interpolator, "citation", ""),
                "parameters": estimator.parameters.to_dict(),
            }
            for name, estimator in estimators.items()
        },
        "rim": rim,
        "input": {name: value for name, value in cube.meta.items() if name != "mends"},
        "mends": list(cube.mends),
    }
