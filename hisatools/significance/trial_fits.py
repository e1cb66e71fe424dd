"""Fits of trials: the hottest place of each, and the places of what was put in."""

import astropy.units as u
import numpy as np
from astropy.coordinates import angular_separation
from astropy.table import QTable, vstack

from hisatools.errors import InputError
from hisatools.significance import fits
from hisatools.significance.windows import Window

KMS = u.km / u.s
# Whether a maximum is that of a feature: within half a beam (FWHM) and one channel.
RECOVERED_BEAMS, RECOVERED_CHANNELS = 0.5, 1.0
# Sight lines beside the maximum that a fit looks at.
NEIGHBOURS = 1
OFFSETS = {
    "separation": (u.arcmin, "On the sky from the nearest feature that was put in; NaN without one"),
    "velocity_offset": (KMS, "Velocity minus that of the same feature"),
}
# name: (unit, description)
COLUMNS = {
    "seed": (None, "Of the trial"),
    "n": (None, "Number of features that were put in"),
    "ts_prior": (None, "Largest TS with the prior; the largest TS if there is none"),
    "max_ts": (None, "Largest TS without the prior, wherever it is"),
    **fits.COLUMNS,
    **OFFSETS,
}
WHOLE = ("seed", "n", "v", "y", "x")


def fit_hottest(runner, residual, trial=None):
    """Fit the hottest place of a residual.

    Parameters
    ----------
    runner : `TrialRunner`
    residual : `Residual`
    trial : `Trial`, optional
        Whose residual it is.

    Returns
    -------
    dict
        A number for each of `COLUMNS`, in its unit.
    """
    standardised = residual.standardised()
    if runner.scanner.parameters.calibrate:
        # As the data are: what their own scatter takes from them, it takes from a trial.
        found, factors = runner.prepared.calibrated(standardised, residual.known)
    else:
        factors = np.ones(len(runner.scanner.parameters.templates))
        found = runner.prepared.largest(standardised)
    ts_prior, max_ts, voxel = _hottest(found, runner.allowed, runner.term)
    window = Window(runner.prepared, voxel, NEIGHBOURS)
    scan = window.scan(residual, standardised, factors)
    row = _plain(fits.fit_places(scan, [window.local(voxel)]))
    separation, velocity_offset = np.nan, np.nan
    if trial is not None and len(trial.features):
        separations, offsets = _offsets(row, trial.features)
        nearest = _nearest(separations, offsets, residual)
        separation, velocity_offset = separations[nearest], offsets[nearest]
    return {
        **row,
        "v": int(voxel[0]),
        "y": int(voxel[1]),
        "x": int(voxel[2]),
        "seed": -1 if trial is None else trial.seed,
        "n": 0 if trial is None else trial.n,
        "ts_prior": ts_prior,
        "max_ts": max_ts,
        "separation": float(separation),
        "velocity_offset": float(velocity_offset),
    }


def _hottest(signal_to_noise, allowed, term):
    """Largest TS with and without a prior, and the voxel of the first; the place is never one of p = 0."""
    if not allowed.any():
        raise InputError(
            "nothing is left to scan: no template has enough of itself on voxels that are not blank; lower "
            "min_coverage, or give smaller widths"
        )
    ts = np.square(np.maximum(signal_to_noise, 0))
    ts[~allowed] = -np.inf
    max_ts = float(ts.max())
    if term is not None:
        ts += term
    place = int(np.argmax(ts))
    voxel = np.unravel_index(place, ts.shape)
    return max(float(ts[voxel]), 0.0), max_ts, voxel


def _plain(table):
    """The one row of a table of fits as numbers."""
    return {
        name: (table[name][0].to_value(unit) if unit is not None else table[name][0]).item()
        for name, (unit, _) in fits.COLUMNS.items()
    }


def _offsets(row, features):
    """Distance in arcmin and velocity in km/s of a fitted place from each of the features."""
    lon, lat = (np.radians(row[name]) for name in ("lon", "lat"))
    others = (features[name].to_value(u.rad) for name in ("lon", "lat"))
    separation = np.degrees(angular_separation(lon, lat, *others)) * 60
    return separation, row["velocity"] - features["velocity"].to_value(KMS)


def _nearest(separation_arcmin, offset_kms, residual):
    """Which of several features is nearest, in beams and channels."""
    beam, channel = _resolution(residual)
    return int(np.argmin(np.hypot(separation_arcmin / beam, offset_kms / channel)))


def _resolution(residual):
    """FWHM of the beam (at least a pixel) in arcmin, and a channel in km/s."""
    beam = max(residual.beam_pix, 1.0) * residual.pixel_scale
    return beam.to_value(u.arcmin), residual.channel_width.to_value(KMS)


def fit_table(rows):
    """A table of what `fit_hottest` gave, with units and descriptions."""
    table = QTable()
    for name, (unit, description) in COLUMNS.items():
        values = np.array([row[name] for row in rows], int if name in WHOLE else float)
        table[name] = values if unit is None else values * unit
        table[name].info.description = description
    return table


def fit_features(runner, trial):
    """Fit the local maxima of TS about the features of a trial; see `TrialRunner.fit_features`."""
    residual = trial.residual
    standardised = residual.standardised()
    factors = runner.scanner.factors(residual, runner.prepared)
    beam, channel = _resolution(residual)
    parts = [_feature_fit(runner, residual, standardised, factors, one) for one in trial.features]
    table = vstack(parts, metadata_conflicts="silent") if parts else QTable()
    if parts:
        table["recovered"] = (table["separation"].value <= RECOVERED_BEAMS * beam) & (
            np.abs(table["velocity_offset"].value) <= RECOVERED_CHANNELS * channel
        )
        table["recovered"].info.description = "Within half a beam and one channel of the truth"
    return table


def _feature_fit(runner, residual, standardised, factors, feature):
    """One row: the local maximum of TS within the template about one feature."""
    place = np.array([feature[name] for name in "vyx"])
    voxel = np.clip(np.rint(place).astype(int), 0, np.array(residual.shape) - 1)
    width = float((feature["width"] / residual.pixel_scale).to_value(""))
    length = float((feature["linewidth"] / residual.channel_width).to_value(""))
    reach_pix = (width + max(residual.beam_pix, 1.0)) / 2
    window = Window(runner.prepared, voxel, int(np.ceil(reach_pix)) + NEIGHBOURS)
    scan = window.scan(residual, standardised, factors)
    local = window.local(voxel)
    found = fits.local_maximum(scan.signal_to_noise, local, (max(length, 1.0), reach_pix, reach_pix))
    row = fits.fit_places(scan, [local if found is None else found], window.cut(residual))
    row["y"] += window.outer[1].start
    row["x"] += window.outer[2].start
    features = QTable(feature)
    separation, offset = _offsets(_plain(row), features)
    row["separation"], row["velocity_offset"] = separation * u.arcmin, offset * KMS
    row["true_delta_t"] = features["delta_t"]
    row["true_n_sigma"] = features["n_sigma"]
    descriptions = OFFSETS | {
        "true_delta_t": (u.K, "dT that was put in"),
        "true_n_sigma": (None, "-true_delta_t over the rms of a fitted amplitude of its width and linewidth"),
    }
    for name, (_, description) in descriptions.items():
        row[name].info.description = description
    return row
