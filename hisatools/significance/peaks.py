"""Local maxima of TS: candidates for absorption, also where nothing was extracted."""

from itertools import product

import numpy as np

from hisatools.parameters import check_number
from hisatools.significance.fits import bank_of, chosen, fit_places

__all__ = ["find_peaks"]

MIN_TS = 25.0


def find_peaks(scan, *, residual=None, min_ts=MIN_TS, prior=None, n_max=None):
    """Local maxima of TS, each further from larger ones than its template reaches.

    Parameters
    ----------
    scan : `ScanResult`
    residual : `Residual`, optional
        As for `fit_places`.
    min_ts : float
        Least TS, with the prior if there is one. By default 25: 5 sigma.
    prior : `SpatialPrior`, optional
    n_max : int, optional
        How many at most, the largest first.

    Returns
    -------
    `~astropy.table.QTable`
        One row a maximum, that with the largest TS first. The columns are those of `fit_places` and
        ``ts_prior``, TS with the prior, which is ``ts`` without one. A maximum is left out if it lies within
        the ellipsoid about one with larger TS that has width and linewidth as semi-axes, of both templates
        the larger.

    Raises
    ------
    ParameterError
        If ``min_ts`` is not above 0, or ``n_max`` no number above 0.

    Examples
    --------
    >>> from hisatools.significance import Residual, SignificanceScan
    >>> from hisatools.significance.peaks import find_peaks
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> model = simulate_cube(ModelParameters(shape=(32, 64, 64), n_pucks=8, n_components=60), seed=104)
    >>> scan = SignificanceScan().run(Residual.of(model.cube, model.t_unabsorbed, known=model.mask))
    >>> peaks = find_peaks(scan, n_max=3)
    >>> bool(peaks["ts"][0] >= peaks["ts"][1] >= 25)
    True
    """
    check_number("min_ts", min_ts)
    if n_max is not None:
        check_number("n_max", n_max, integer=True)
    ts = scan.ts_with(prior)
    voxels = _maxima(ts, min_ts)
    height = ts[*voxels.T]
    order = np.argsort(-height, kind="stable")
    voxels = voxels[order]
    kept = voxels[_separate(scan, voxels, n_max)]
    table = fit_places(scan, kept, residual)
    table.add_column(ts[*kept.T].astype(float), name="ts_prior", index=1)
    table["ts_prior"].info.description = "TS with the prior, 2 (ln p - ln p_max) added; ts without one"
    return table


def _maxima(ts, least):
    """Voxels (v, y, x) that no neighbour exceeds; of equal neighbours the first in the array."""
    voxels = np.argwhere(ts >= least)
    height = ts[*voxels.T]
    largest = np.ones(len(voxels), bool)
    for step in product((-1, 0, 1), repeat=3):
        if step == (0, 0, 0):
            continue
        beside = voxels + step
        inside = np.all((beside >= 0) & (beside < ts.shape), axis=1)
        value = np.full(len(voxels), -np.inf)
        value[inside] = ts[*beside[inside].T]
        # NaN compares as False: a blank neighbour is not larger.
        largest &= ~((value > height) | ((value == height) & (step < (0, 0, 0))))
    return voxels[largest]


def _separate(scan, voxels, n_max):
    """Numbers of those that lie outside the templates of all before them."""
    width_pix, line_chan = (
        numbers[part] for numbers, part in zip(bank_of(scan), chosen(scan, voxels), strict=True)
    )
    kept, free = [], np.ones(len(voxels), bool)
    while free.any() and (n_max is None or len(kept) < n_max):
        best = int(np.argmax(free))
        kept.append(best)
        away = voxels - voxels[best]
        on_sky = np.hypot(away[:, 1], away[:, 2]) / np.maximum(width_pix, width_pix[best])
        in_velocity = away[:, 0] / np.maximum(line_chan, line_chan[best])
        free &= np.hypot(on_sky, in_velocity) >= 1
        free[best] = False
    return kept
