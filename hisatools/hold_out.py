"""What a comparison of T_U estimates measures: agreement with the truth, and with emission held out."""

import time
import warnings

import astropy.units as u
import numpy as np
from scipy import ndimage

from hisatools.errors import HISAError, HISAWarning
from hisatools.unabsorbed.uncertainty import measure_errors

# Name of each measure of agreement to its unit.
MEASURES = {
    "n_voxels": None,
    "known": None,
    "bias": u.K,
    "scatter": u.K,
    "chi2": None,
    "within_1_sigma": None,
    "within_2_sigma": None,
}
OUTSIDE = ("n_voxels", "known", "bias", "scatter", "chi2")
INSIDE = ("bias", "scatter", "chi2", "within_1_sigma", "within_2_sigma")


def agreement(difference_kelvin, sigma_kelvin, group=None, n_groups=1):
    """How far estimates are off, and whether their uncertainties say so.

    Parameters
    ----------
    difference_kelvin : `~numpy.ndarray`, shape (n,)
        Estimate minus what is true.
    sigma_kelvin : `~numpy.ndarray`, shape (n,)
        1-sigma uncertainty of the difference; infinite where nothing is said. Such voxels are counted, and
        enter no other number.
    group : `~numpy.ndarray` of int, shape (n,), optional
        Which group each voxel belongs to, from 0; by default all are one.
    n_groups : int

    Returns
    -------
    dict
        Name to array of shape (n_groups,): ``n_voxels``; ``known``, the share that something is said about;
        ``bias`` (mean) and ``scatter`` (standard deviation), K; ``chi2``, the mean of the squared difference
        over sigma^2; ``within_1_sigma`` and ``within_2_sigma``, shares. NaN for a group without voxels.

    Examples
    --------
    >>> found = agreement(np.array([1.0, -3.0, 7.0]), np.array([2.0, 2.0, np.inf]))
    >>> [float(found[name][0]) for name in ("bias", "scatter", "chi2", "within_1_sigma")]
    [-1.0, 2.0, 1.25, 0.5]
    """
    group = np.zeros(difference_kelvin.size, np.intp) if group is None else group
    known = np.isfinite(sigma_kelvin)
    total = np.bincount(group, minlength=n_groups)
    difference, sigma, group = difference_kelvin[known].astype(float), sigma_kelvin[known], group[known]
    count = np.bincount(group, minlength=n_groups)

    def mean(values):
        with np.errstate(invalid="ignore"):
            return np.bincount(group, weights=values, minlength=n_groups) / count

    with np.errstate(divide="ignore", invalid="ignore"):
        # A difference of 0 is no deviation, whatever sigma.
        deviation = np.where(difference == 0, 0, np.abs(difference) / sigma)
        share = count / total
    bias = mean(difference)
    return {
        "n_voxels": total,
        "known": share,
        "bias": bias,
        "scatter": np.sqrt(mean((difference - bias[group]) ** 2)),
        "chi2": mean(deviation**2),
        "within_1_sigma": mean(deviation < 1),
        "within_2_sigma": mean(deviation < 2),
    }


class HoldOut:
    """What all strategies are given, and what is measured of each."""

    def __init__(self, cube, labels, features, index, truth_kelvin, how):
        self.cube, self.labels, self.features, self.index = cube, labels, features, index
        self.truth_kelvin, self.how = truth_kelvin, how

    def prepare(self, noise, rim):
        """Measure noise and structure once for all, and grow the features."""
        self.errors = measure_errors(self.cube, self.labels, noise=noise, workers=self.how["workers"])
        self.grown = grow(self.labels, self.features, np.isfinite(self.cube.kelvin), rim)
        self.rim = np.flatnonzero(self.grown != self.labels)
        self.places = _places(self.cube, self.index, self._groups(self.labels, self.index, self.features))

    def run(self, name, estimator):
        """The estimate, its row of the table and one row a feature; None if it cannot be used."""
        start = time.perf_counter()
        try:
            inside = self._estimate(estimator, self.labels, self.index)
            outside = self._estimate(estimator, self.grown, self.rim)
        except HISAError as error:
            warnings.warn(f"the strategy {name} is left out: {error}", HISAWarning, stacklevel=4)
            return None
        seconds = time.perf_counter() - start
        everything = self._measure(inside, outside, None)
        row = {"strategy": name, "n_features": self.features.size} | {
            key: values[0] for key, values in everything.items()
        }
        row["seconds"] = seconds * u.s
        each = self._measure(inside, outside, self.features)
        rows = [
            {"strategy": name, "feature": int(label)}
            | {key: values[i] for key, values in self.places.items()}
            | {"n_off": int(inside.n_off[i])}
            | {key: values[i] for key, values in each.items()}
            for i, label in enumerate(self.features)
        ]
        return inside, row, rows

    def _estimate(self, estimator, labels, index):
        return estimator.at_voxels(self.cube, labels, self.features, index, errors=self.errors, **self.how)

    def _measure(self, inside, outside, features):
        """Columns of a table: of all features together, or of each."""
        n_groups = 1 if features is None else features.size
        group = self._groups(self.labels, self.index, features)
        kelvin, t_on = self.cube.kelvin.reshape(-1), self.cube.kelvin.reshape(-1)[self.index]
        columns = _means(inside, t_on, group, n_groups)
        difference = outside.kelvin - kelvin[self.rim]
        sigma = np.hypot(outside.sigma_kelvin, self.errors.sigma_kelvin(self.rim))
        found = agreement(difference, sigma, self._groups(self.grown, self.rim, features), n_groups)
        columns |= {f"outside_{name}": with_unit(name, found[name]) for name in OUTSIDE}
        if self.truth_kelvin is not None:
            difference = inside.kelvin - self.truth_kelvin.reshape(-1)[self.index]
            found = agreement(difference, inside.sigma_kelvin, group, n_groups)
            columns |= {f"inside_{name}": with_unit(name, found[name]) for name in INSIDE}
        return columns

    def _groups(self, labels, index, features):
        if features is None:
            return np.zeros(index.size, np.intp)
        return np.searchsorted(features, labels.reshape(-1)[index])


def grow(labels, features, finite, rim):
    """Give voxels about some features to them, never those of another and never blank ones.

    Parameters
    ----------
    labels : `~numpy.ndarray` of int32, shape (n_v, n_y, n_x)
        0 outside features.
    features : `~numpy.ndarray` of int
        Labels of those that grow.
    finite : `~numpy.ndarray` of bool, shape of ``labels``
    rim : int
        By how many voxels, corners counted. A voxel that two features reach at once goes to the
        higher label.

    Returns
    -------
    `~numpy.ndarray` of int32, shape of ``labels``
    """
    chosen = np.zeros(int(labels.max(initial=0)) + 1, labels.dtype)
    chosen[features] = features
    free = (labels == 0) & finite
    grown = chosen[labels]
    for _ in range(rim):
        wider = ndimage.maximum_filter(grown, size=3, mode="constant")
        grown = np.where(free & (grown == 0), wider, grown)
    return np.where(grown > 0, grown, labels)


def _places(cube, index, group):
    """Mean position of each feature, on the sky and in velocity."""
    count = np.bincount(group)
    v, y, x = (np.bincount(group, weights=place) / count for place in np.unravel_index(index, cube.shape))
    lon, lat = cube.wcs.celestial.wcs_pix2world(x, y, 0)
    velocity = np.interp(v, np.arange(cube.shape[0]), cube.velocity.value) * cube.velocity.unit
    return {"lon": lon % 360 * u.deg, "lat": lat * u.deg, "velocity": velocity}


def _means(estimate, t_on_kelvin, group, n_groups):
    known = np.isfinite(estimate.sigma_kelvin)
    total = np.bincount(group, minlength=n_groups)
    count = np.bincount(group[known], minlength=n_groups)

    def mean(values):
        with np.errstate(invalid="ignore"):
            return np.bincount(group[known], weights=values[known], minlength=n_groups) / count * u.K

    with np.errstate(invalid="ignore"):
        share = count / total
    return {
        "n_voxels": total,
        "known": share,
        "t_unabsorbed": mean(estimate.kelvin),
        "delta_t": mean(t_on_kelvin - estimate.kelvin),
        "sigma": mean(estimate.sigma_kelvin),
    }


def with_unit(name, values):
    """Values of a measure of `agreement`, with its unit."""
    return values if MEASURES[name] is None else values * MEASURES[name]
