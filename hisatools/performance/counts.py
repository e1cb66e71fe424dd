"""The table of models: voxel counts of every cube that was extracted, one row each."""

import astropy.units as u
import numpy as np
from astropy.table import QTable, vstack


def model_row(seed, truth, found, first_pass=None, seconds=0.0):
    """A table of one row.

    Parameters
    ----------
    seed : int
        Of the cube, or its number.
    truth, found : `~hisatools.performance.Voxels`
    first_pass : `~numpy.ndarray` of int, shape (n_v, n_y, n_x), optional
        The pass in which each accepted voxel was first accepted.
    seconds : float
        What the extraction took.

    Returns
    -------
    `~astropy.table.QTable`
        ``n_in_all``, ``n_in_det``, ``n_out_all``, ``n_out_true``: voxels put in, of them found,
        accepted, of them true; ``first_found``: accepted voxels by pass.
    """
    both = int(np.count_nonzero(truth.mask & found.mask))
    passes = np.zeros(1, int) if first_pass is None else np.bincount(first_pass[found.mask], minlength=2)[1:]
    return QTable(
        {
            "seed": [seed],
            "n_in_all": [len(truth)],
            "n_in_det": [both],
            "n_out_all": [len(found)],
            "n_out_true": [both],
            "first_found": [passes],
            "seconds": [seconds] * u.s,
        }
    )


def stack_rows(tables):
    """All rows in one table; passes in which nothing new was found count as 0.

    Parameters
    ----------
    tables : sequence of `~astropy.table.QTable`

    Returns
    -------
    `~astropy.table.QTable`
    """
    tables = [table.copy() for table in tables if len(table)]
    if not tables:
        return QTable()
    with_passes = [table for table in tables if "first_found" in table.colnames]
    most = max((table["first_found"].shape[1] for table in with_passes), default=0)
    for table in with_passes:
        passes = table["first_found"]
        table["first_found"] = np.pad(passes, ((0, 0), (0, most - passes.shape[1])))
    return vstack(tables, metadata_conflicts="silent")
