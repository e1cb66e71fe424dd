"""A result with some of its features, the others dropped."""

from dataclasses import replace

import numpy as np

from hisatools.errors import InputError
from hisatools.results import MaskBit

__all__ = ["select_features"]


def select_features(result, keep):
    """Drop features from a result.

    Their voxels are no longer accepted, and have neither label nor pass; what the searches flagged stays
    flagged. The features that stay are numbered anew from 1, in the order of the rows, and keep their names.

    Parameters
    ----------
    result : `~hisatools.HISAResult`
    keep : array_like of bool, shape (n,)
        One for each row of the catalogue.

    Returns
    -------
    `~hisatools.HISAResult`
        A new one; the old one is as it was.

    Raises
    ------
    InputError
        If there is not one bool for each row.

    Examples
    --------
    >>> from hisatools.datasets import example_result
    >>> from hisatools.significance.selection import select_features
    >>> result = example_result()
    >>> large = select_features(result, result.catalog["n_voxels"] > 250)
    >>> len(result.catalog), len(large.catalog), large.n_accepted
    (5, 3, 1194)
    """
    keep = np.asarray(keep)
    if keep.dtype != bool or keep.shape != (len(result.catalog),):
        raise InputError(
            f"keep is of the type {keep.dtype} and the shape {keep.shape}; give one bool for each of the "
            f"{len(result.catalog)} rows of the catalogue"
        )
    ids = np.asarray(result.catalog["id"])
    number = np.zeros(ids.max(initial=0) + 1, np.int32)
    number[ids] = np.where(keep, np.cumsum(keep), 0)
    voxels = keep[result.voxel_rows]
    labels = number[result.labels]
    dropped = (result.labels > 0) & (labels == 0)
    flags, first_pass = result.flags.copy(), result.first_pass.copy()
    flags[dropped] &= np.uint8(~MaskBit.ACCEPTED & 0xFF)
    first_pass[dropped] = 0
    true_fraction = result.true_fraction
    if true_fraction is not None:
        true_fraction = np.where(dropped, np.float32(np.nan), true_fraction)
    catalog = result.catalog[keep]
    catalog["id"] = np.arange(1, len(catalog) + 1, dtype=catalog["id"].dtype)
    catalog["id"].info.description = result.catalog["id"].info.description
    sigmas = {
        name: None if getattr(result, name) is None else getattr(result, name)[voxels]
        for name in ("sigma_unabsorbed_kelvin", "sigma_delta_kelvin")
    }
    return replace(
        result,
        unabsorbed_kelvin=result.unabsorbed_kelvin[voxels],
        flags=flags,
        labels=labels,
        first_pass=first_pass,
        catalog=catalog,
        true_fraction=true_fraction,
        **sigmas,
    )
