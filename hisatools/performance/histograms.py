"""4-D histograms of voxels over the observables (the paper, section 3.3.2).

Most of the parameter space is empty, so only the occupied bins are held, as a sorted list; images of
all bins are made for files and for smoothing.
"""

from dataclasses import dataclass

import numpy as np

from hisatools.errors import InputError
from hisatools.performance.observables import NAMES, lattice_bins

COUNTS = ("n_in_all", "n_in_det", "n_out_all", "n_out_true")
DRIFT_SUMS = tuple(f"drift_sum_{name}" for name in NAMES)
DRIFT_SQUARES = tuple(f"drift_square_{name}" for name in NAMES)
# Bins are numbered along each axis from -2**15, so that one integer holds all four.
KEY_BITS, KEY_OFFSET = 16, 2**15


@dataclass(frozen=True, eq=False)
class Histograms:
    """Voxel counts and sums of drifts in the occupied bins.

    Histograms of several models add up with ``+``. Sums are in double precision and always in the
    order of the terms, so that the same models in the same order give the same bits.

    Parameters
    ----------
    bins : `~numpy.ndarray` of int32, shape (n, 4)
        Lattice numbers of the occupied bins, see `~hisatools.performance.observables.lattice_bins`;
        sorted, each once.
    counts : `~numpy.ndarray` of int64, shape (n, 4)
        N_in,all, N_in,det, N_out,all and N_out,true.
    drift_sums, drift_squares : `~numpy.ndarray` of float64, shape (n, 4)
        Sum of output minus input, and of its square, over the N_in,det voxels.

    Examples
    --------
    >>> from hisatools.performance import Histograms, Voxels
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> model = simulate_cube(ModelParameters(shape=(32, 48, 48), n_pucks=5, n_components=50), seed=1)
    >>> truth = Voxels.of(model)
    >>> found = truth.only(model.cube.kelvin > 70)  # as if nothing else had been found
    >>> histograms = Histograms.compare(truth, found)
    >>> int(histograms.column("n_in_all").sum()), int(histograms.column("n_in_det").sum())
    (2140, 1283)
    >>> histograms.shape == histograms.image("n_in_det").shape, len((histograms + histograms).bins)
    (True, 176)
    """

    bins: np.ndarray
    counts: np.ndarray
    drift_sums: np.ndarray
    drift_squares: np.ndarray

    @classmethod
    def empty(cls):
        """Histograms without a voxel."""
        return cls(np.empty((0, 4), np.int32), *_blank_columns(0))

    @classmethod
    def compare(cls, truth, found):
        """Histograms of one model: what was put in, and what came out.

        Parameters
        ----------
        truth, found : `~hisatools.performance.observables.Voxels`
            On the same grid.

        Returns
        -------
        Histograms

        Raises
        ------
        InputError
            If the two differ in shape.
        """
        if truth.mask.shape != found.mask.shape:
            raise InputError(
                f"truth and result must be on one grid, got {truth.mask.shape} and {found.mask.shape}"
            )
        detected, true = found.mask[truth.mask], truth.mask[found.mask]
        in_bins, out_bins = lattice_bins(truth.values), lattice_bins(found.values)
        drift = found.values[true].astype(float) - truth.values[detected]
        parts = []
        for column, bins in enumerate((in_bins, in_bins[detected], out_bins, out_bins[true])):
            counts, sums, squares = _blank_columns(len(bins))
            counts[:, column] = 1
            if column == COUNTS.index("n_in_det"):
                sums, squares = drift, drift**2
            parts.append(cls(bins, counts, sums, squares)._grouped())
        return parts[0] + parts[1] + parts[2] + parts[3]

    def __add__(self, other):
        """Both together."""
        columns = ("bins", "counts", "drift_sums", "drift_squares")
        joined = (np.concatenate([getattr(self, name), getattr(other, name)]) for name in columns)
        return Histograms(*joined)._grouped()

    def __len__(self):
        return len(self.bins)

    def column(self, name):
        """The values of one histogram in the occupied bins.

        Parameters
        ----------
        name : str
            ``n_in_all``, ``n_in_det``, ``n_out_all`` or ``n_out_true``; or ``drift_sum_`` or
            ``drift_square_`` and the name of an observable.

        Returns
        -------
        `~numpy.ndarray`, shape (n,)
        """
        for names, columns in (
            (COUNTS, self.counts),
            (DRIFT_SUMS, self.drift_sums),
            (DRIFT_SQUARES, self.drift_squares),
        ):
            if name in names:
                return columns[:, names.index(name)]
        raise KeyError(name)

    @property
    def origin(self):
        """Lattice numbers of the first bin of `image` along each axis; int array of 4."""
        return self.bins.min(axis=0) if len(self) else np.zeros(4, np.int32)

    @property
    def shape(self):
        """Shape of `image`: the smallest box that holds all occupied bins."""
        return tuple((self.bins.max(axis=0) - self.origin + 1).tolist()) if len(self) else (1, 1, 1, 1)

    def image(self, name, dtype=None):
        """One histogram as a 4-D array over the box that holds all occupied bins.

        Parameters
        ----------
        name : str
            As for `column`.
        dtype : dtype, optional
            That of the column by default.

        Returns
        -------
        `~numpy.ndarray`, shape `shape`
            0 in empty bins.
        """
        values = self.column(name)
        image = np.zeros(self.shape, values.dtype if dtype is None else dtype)
        image[tuple((self.bins - self.origin).T)] = values
        return image

    @classmethod
    def from_images(cls, images, origin):
        """The inverse of `image`.

        Parameters
        ----------
        images : dict of `~numpy.ndarray`
            All names that `column` takes, of one 4-D shape.
        origin : sequence of 4 int
            Lattice numbers of the first bin.

        Returns
        -------
        Histograms
        """
        occupied = np.zeros(images[COUNTS[0]].shape, bool)
        for name in COUNTS:
            occupied |= images[name] > 0
        where = np.nonzero(occupied)
        bins = np.stack(where, axis=1).astype(np.int32) + np.asarray(origin, np.int32)
        counts, sums, squares = (
            np.stack([images[name][where] for name in names], axis=1)
            for names in (COUNTS, DRIFT_SUMS, DRIFT_SQUARES)
        )
        return cls(bins, counts.astype(np.int64), sums.astype(float), squares.astype(float))

    def _grouped(self):
        """The same with each bin once, in order."""
        if len(self) and np.abs(self.bins).max() >= KEY_OFFSET:
            raise InputError(
                f"an observable is beyond {KEY_OFFSET} bins; check the units of dT, T_U and the widths"
            )
        key = np.zeros(len(self), np.int64)
        for axis in range(4):
            key = (key << KEY_BITS) + self.bins[:, axis] + KEY_OFFSET
        _, first, group = np.unique(key, return_index=True, return_inverse=True)

        def total(columns):
            sums = [np.bincount(group, weights=column, minlength=first.size) for column in columns.T]
            return np.stack(sums, axis=1).astype(columns.dtype)

        return Histograms(
            self.bins[first], total(self.counts), total(self.drift_sums), total(self.drift_squares)
        )


def _blank_columns(n):
    return np.zeros((n, 4), np.int64), np.zeros((n, 4)), np.zeros((n, 4))
