"""TS of catalogued features: columns that say whether noise could do this."""

from dataclasses import replace

import numpy as np

from hisatools.errors import InputError
from hisatools.io.same_axes import SAME_PLACE, sky_offset_pix, velocity_offset_chan
from hisatools.results import MaskBit, flagged
from hisatools.significance.fits import COLUMNS as FIT_COLUMNS
from hisatools.significance.fits import fit_places
from hisatools.significance.prior_axes import check_same_axes

__all__ = ["assess_features"]

DESCRIPTIONS = {
    "ts": "Largest TS = (A / sigma_A)^2 of a matched template within the feature's voxels",
    "ts_prior": "Largest TS with the prior within them, 2 (ln p - ln p_max) added; ts without a prior",
    "p_local": "Probability that noise gives that ts at one place, in the best of the templates",
    "p_global": "Probability that the largest ts_prior of a whole cube without absorption is as large; "
    "NaN without trials",
}
# Column of the catalogue: that of the fits.
FITTED = {
    "fit_lon": "lon",
    "fit_lat": "lat",
    "fit_velocity": "velocity",
    "fit_delta_t": "delta_t",
    "fit_delta_t_error": "delta_t_error",
    "fit_width": "width",
    "fit_linewidth": "linewidth",
}


def assess_features(result, scan, *, residual=None, prior=None, background=None, reliability=None):
    """Give every feature of a result its TS and its probability in noise.

    Parameters
    ----------
    result : `~hisatools.HISAResult`
    scan : `ScanResult`
        Of the same cube.
    residual : `Residual`, optional
        What was scanned: place, depth and widths of the fits then lie between those of the bank, see
        `fit_places`.
    prior : `SpatialPrior`, optional
        One, or the product of several.
    background : `GlobalChance`, optional
        What trials without absorption gave with this prior.
    reliability : `ReliabilityModel`, optional
        Adds its column ``reliability``.

    Returns
    -------
    `~hisatools.HISAResult`
        With the catalogue columns ``ts``, ``ts_prior``, ``p_local`` and ``p_global``, and where the best
        template lies (``fit_lon``, ``fit_lat``, ``fit_velocity``) and what it is like (``fit_delta_t``,
        ``fit_delta_t_error``, ``fit_width``, ``fit_linewidth``): those of the voxel with the largest TS.
        NaN for a feature about which the scan says nothing. ``meta["significance"]`` tells what was done.

    Raises
    ------
    InputError
        If scan or prior are not on the axes of the result.

    Examples
    --------
    >>> from hisatools import HISAExtractor
    >>> from hisatools.significance import Residual, SignificanceScan
    >>> from hisatools.significance.assessment import assess_features
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> model = simulate_cube(ModelParameters(shape=(32, 96, 96), n_pucks=20, n_components=100), seed=104)
    >>> result = HISAExtractor(n_passes=1).run(model.cube)  # doctest: +IGNORE_WARNINGS
    >>> scan = SignificanceScan().run(Residual.from_result(model.cube, result))
    >>> catalog = assess_features(result, scan).catalog
    >>> bool(catalog["ts"].max() > 25), bool((catalog["p_local"] <= 1).all())
    (True, True)
    """
    _check_scan(result, scan)
    if prior is not None:
        check_same_axes(prior, scan.wcs, scan.signal_to_noise.shape, "the scan")
    feature = result.voxel_rows
    n_features = len(result.catalog)
    ts, with_prior = (result.at_voxels(cube) for cube in (scan.ts, scan.ts_with(prior)))
    hottest = _hottest(ts, feature, n_features)
    found = hottest >= 0
    fits = fit_places(scan, _voxels(result, hottest[found]), residual)
    largest = _spread(_largest(with_prior, feature, n_features)[found], found)
    columns = {"ts": _spread(fits["ts"], found), "ts_prior": largest}
    columns["p_local"] = _spread(fits["p_local"], found)
    columns["p_global"] = np.full(n_features, np.nan) if background is None else background.p_value(largest)
    columns |= {name: _spread(fits[fitted], found) for name, fitted in FITTED.items()}
    catalog = result.catalog.copy()
    for name, values in columns.items():
        catalog[name] = values
        catalog[name].info.description = DESCRIPTIONS.get(name) or FIT_COLUMNS[FITTED[name]][1]
    about = {
        "scan": scan.parameters.to_dict(),
        "residual": scan.meta,
        "prior": None if prior is None else prior.name,
        "trials": background is not None,
    }
    assessed = replace(result, catalog=catalog, meta=result.meta | {"significance": about})
    return assessed if reliability is None else reliability.assess(assessed)


def _check_scan(result, scan):
    """Refuse the scan of another cube."""
    shape = scan.signal_to_noise.shape
    if result.flags.shape != shape:
        raise InputError(
            f"the result has the shape {result.flags.shape}, the scan {shape}; give the scan of the cube "
            "that was extracted"
        )
    off_pix = sky_offset_pix(scan.wcs, result.wcs, shape)
    off_chan = velocity_offset_chan(scan.wcs, result.wcs, shape[0])
    if not max(off_pix, off_chan) < SAME_PLACE:
        raise InputError(
            "the scan is of another part of the sky or of other velocities than the result; give the scan of "
            "the cube that was extracted"
        )


def _largest(values, feature, n_features):
    """Largest of each feature; -inf where all is NaN."""
    largest = np.full(n_features, -np.inf)
    known = ~np.isnan(values)
    np.maximum.at(largest, feature[known], values[known])
    return largest


def _hottest(ts, feature, n_features):
    """Number of the accepted voxel with the largest TS of each feature, the first of several; -1 if none."""
    hottest = np.full(n_features, -1)
    candidates = np.flatnonzero(ts == _largest(ts, feature, n_features)[feature])
    # Backwards: of several the last written stays.
    hottest[feature[candidates[::-1]]] = candidates[::-1]
    return hottest


def _voxels(result, numbers):
    """(v, y, x) of some of the accepted voxels."""
    voxels = np.empty((len(numbers), 3), int)
    first = 0
    for channel, flags in enumerate(result.flags):
        inside = np.flatnonzero(flagged(flags, MaskBit.ACCEPTED))
        (here,) = np.nonzero((numbers >= first) & (numbers < first + inside.size))
        places = np.unravel_index(inside[numbers[here] - first], flags.shape)
        voxels[here] = np.transpose([np.full(len(here), channel), *places])
        first += inside.size
    return voxels


def _spread(values, found):
    """Values of the features that were found, among all of them; NaN for the others."""
    unit = getattr(values, "unit", None)
    column = np.full(len(found), np.nan)
    column[found] = values if unit is None else values.value
    return column if unit is None else column << unit
