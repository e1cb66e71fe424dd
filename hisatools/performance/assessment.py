"""Reliability and completeness of a result: of its voxels and its features (the paper, section 3.5)."""

import warnings
from dataclasses import replace

import astropy.units as u
import numpy as np
from scipy.special import erfinv

from hisatools.errors import HISAWarning, InputError
from hisatools.performance.observables import Voxels
from hisatools.performance.settings import differences

# Relative.
MAX_GRID_DIFFERENCE = 0.05
DESCRIPTIONS = {
    "reliability": "Likelihood that the feature's voxels are real absorption: mean true fraction",
    "completeness": "Share of such absorption that is found, at least: mean throughput at what was measured",
    "assessed": "Share of the voxels that are like voxels of the performance models",
}


def assess(performance, result):
    """See `hisatools.PerformanceModel.assess`."""
    voxels = Voxels.of(result)
    true_fraction = performance.true_fraction.at_points(voxels.values)
    for doubt in _doubts(performance, result, true_fraction):
        warnings.warn(doubt, HISAWarning, stacklevel=3)
    everywhere = np.full(voxels.mask.shape, np.nan, np.float32)
    everywhere[voxels.mask] = true_fraction
    columns = {
        "reliability": true_fraction,
        "completeness": performance.throughput.at_points(voxels.values),
        "assessed": np.isfinite(true_fraction).astype(float),
    }
    about = {name: value for name, value in performance.meta.items() if name != "extractor"}
    # Of a column that is replaced no measurement must be left.
    meta = {name: value for name, value in result.meta.items() if name != "reliability"}
    return replace(
        result,
        catalog=_assessed_catalog(result.catalog, columns, result.voxel_rows),
        true_fraction=everywhere,
        meta=meta | {"performance": {"n_models": len(performance.models), **about}},
    )


def _doubts(performance, result, true_fraction):
    """Why the numbers may not be those of a result, or are no longer what they were."""
    if "reliability" in result.meta:
        yield (
            "the catalogue has a column reliability already, told by the mirrored cube; it is replaced by "
            "that of the performance model"
        )
    own = performance.meta.get("extractor", {}).get("parameters", {})
    differing = differences(own, result.meta.get("parameters", own)) if own else []
    if differing:
        yield (
            f"the performance model is of another extraction ({'; '.join(differing)}): make one with the "
            "parameters of this"
        )
    yield from _other_grid(performance.meta.get("model", {}), result)
    n_assessed = np.count_nonzero(np.isfinite(true_fraction))
    if n_assessed < true_fraction.size / 2:
        yield (
            f"only {100 * n_assessed / true_fraction.size:.0f} % of the accepted voxels are like voxels of "
            "the performance model in dT, T_U and widths, and the others are not assessed: make one of more "
            "models, or put absorption into this cube"
        )


def _other_grid(model, result):
    """Pixels, channels or a beam that are not those of the models."""
    beam = None if result.beam is None else np.sqrt(result.beam.major * result.beam.minor)
    own = {"pixel_scale": result.pixel_scale, "channel_width": result.channel_width, "beam_fwhm": beam}
    for name, value in own.items():
        if name not in model or value is None:
            continue
        theirs = u.Quantity(model[name])
        if abs(value / theirs - 1) > MAX_GRID_DIFFERENCE:
            yield (
                f"the performance model is for {name}={theirs:.4g}, and this result has "
                f"{value.to(theirs.unit):.4g}: make one for such cubes, or put absorption into this one"
            )


def _assessed_catalog(catalog, columns, feature):
    catalog = catalog.copy()
    for name, values in columns.items():
        catalog[name] = _feature_mean(values, feature, len(catalog))
        catalog[name].info.description = DESCRIPTIONS[name]
    return catalog


def _feature_mean(values, feature, n_features):
    """Mean over each feature's finite values; NaN where there is none."""
    finite = np.isfinite(values)
    number = np.bincount(feature[finite], minlength=n_features)
    total = np.bincount(feature[finite], weights=values[finite], minlength=n_features)
    with np.errstate(invalid="ignore"):
        return total / number


def equivalent_sigma(fraction):
    """Gaussian significance with the same reliability: 0.683 is 1 sigma, 0.954 is 2 (figure 14).

    Parameters
    ----------
    fraction : array_like
        True fraction, 0 to 1; NaN stays NaN.

    Returns
    -------
    `~numpy.ndarray`
        Infinite at 1.

    Raises
    ------
    InputError
        If a fraction lies outside 0 to 1.

    Examples
    --------
    >>> from hisatools.performance import equivalent_sigma
    >>> [round(float(value), 2) for value in equivalent_sigma([0.6827, 0.999937])]
    [1.0, 4.0]
    """
    fraction = np.asarray(fraction, float)
    if (fraction < 0).any() or (fraction > 1).any():
        raise InputError("fraction must lie within 0 and 1")
    return np.sqrt(2) * erfinv(fraction)
