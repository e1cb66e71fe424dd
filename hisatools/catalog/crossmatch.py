"""Counterparts of features in another table: nearest on the sky, within limits of place and velocity."""

import warnings
from dataclasses import dataclass

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord, search_around_sky
from astropy.table import Column, MaskedColumn
from astropy.utils.masked import Masked

from hisatools.catalog.columns import set_column
from hisatools.catalog.places import as_table, positions_of, velocities_needed, velocities_of
from hisatools.errors import HISAWarning, InputError, ParameterError
from hisatools.physics.units import plain

__all__ = ["crossmatch", "features_at"]

KMS = u.km / u.s


@dataclass(frozen=True, eq=False)
class Pairs:
    """Rows of two tables that are near each other, sorted by how near.

    Parameters
    ----------
    own, other : `~numpy.ndarray` of int, shape (n,)
        Rows of the catalogue and of the other table.
    separation_arcmin, difference_kms : `~numpy.ndarray`, shape (n,)
        The latter is that of the other minus the own velocity; NaN where one is not known.
    """

    own: np.ndarray
    other: np.ndarray
    separation_arcmin: np.ndarray
    difference_kms: np.ndarray

    def __getitem__(self, which):
        return Pairs(*(part[which] for part in vars(self).values()))

    def nearest(self):
        """The first pair of each row."""
        _, first = np.unique(self.own, return_index=True)
        return self[first]

    def one_to_one(self):
        """Pairs in the order of nearness, no row of either table twice."""
        used_own, used_other, kept = set(), set(), []
        for n, (own, other) in enumerate(zip(self.own.tolist(), self.other.tolist(), strict=True)):
            if own not in used_own and other not in used_other:
                used_own.add(own)
                used_other.add(other)
                kept.append(n)
        return self[np.array(kept, int)]


def crossmatch(
    catalog,
    table,
    *,
    max_separation,
    max_velocity_difference=None,
    columns=(),
    one_to_one=False,
    prefix="match",
    position=None,
    velocity=None,
    frame=None,
):
    """See `hisatools.HISACatalog.crossmatch`."""
    other = as_table(table)
    columns = _chosen(columns, other)
    added = [
        f"{prefix}_{key}" for key in ("row", "separation", "velocity_difference", "n_candidates", *columns)
    ]
    if taken := [name for name in added if name in catalog.colnames or added.count(name) > 1]:
        raise ParameterError(
            f"the catalogue would have the column {taken[0]!r} twice; give another prefix than {prefix!r}"
        )
    limit = _limit("max_separation", max_separation, u.arcmin, len(catalog))
    pairs = _near(catalog, other, limit, position=position, velocity=velocity, frame=frame)
    if max_velocity_difference is not None:
        limit = _limit("max_velocity_difference", max_velocity_difference, KMS, len(catalog))
        if velocities_of(other, velocity=velocity, name="table") is None:
            raise InputError(
                "table: no column of velocities is known; say which it is, for example velocity='v_co', or "
                "leave out max_velocity_difference"
            )
        pairs = pairs[np.abs(pairs.difference_kms) <= limit[pairs.own]]
    chosen = pairs.one_to_one() if one_to_one else pairs.nearest()
    n_candidates = np.bincount(pairs.own, minlength=len(catalog))
    return _with_pairs(catalog, other, columns, prefix, chosen, n_candidates)


def features_at(catalog, position, radius, velocity, max_velocity_difference):
    """See `hisatools.HISACatalog.features_at`."""
    if not isinstance(position, SkyCoord) or not position.isscalar:
        raise ParameterError(
            "position must be one SkyCoord; write for example SkyCoord(140, 1, unit='deg', frame='galactic')"
        )
    if (velocity is None) != (max_velocity_difference is None):
        raise ParameterError("velocity and max_velocity_difference go together; give both, or neither")
    separation = catalog.coordinates.separation(position).to_value(u.arcmin)
    near = separation <= _limit("radius", radius, u.arcmin, len(catalog))
    if velocity is not None:
        own_kms = velocities_needed(catalog)
        difference = np.abs(own_kms - plain("velocity", velocity, KMS))
        near &= difference <= _limit("max_velocity_difference", max_velocity_difference, KMS, len(catalog))
    rows = np.flatnonzero(near)
    return catalog[rows[np.argsort(separation[rows], kind="stable")]]


def _near(catalog, other, limit_arcmin, *, position, velocity, frame):
    """Pairs within the limit on the sky."""
    own_sky, own_kms = catalog.coordinates, velocities_of(catalog, name="the catalogue")
    sky = positions_of(other, position=position, frame=frame, name="table")
    kms = velocities_of(other, velocity=velocity, name="table")
    _check_frames(catalog, other, kms)
    empty = np.zeros(0, int), np.zeros(0, int), np.zeros(0) * u.deg
    rows, others = (np.flatnonzero(_finite(one)) for one in (own_sky, sky))
    rows = rows[limit_arcmin[rows] >= 0]
    own, theirs, separation = empty
    if rows.size and others.size:
        sky = sky.transform_to(own_sky.frame.replicate_without_data())
        reach = limit_arcmin[rows].max() * u.arcmin
        own, theirs, separation, _ = search_around_sky(own_sky[rows], sky[others], reach)
        own, theirs = rows[own], others[theirs]
    difference = np.full(own.size, np.nan)
    if own_kms is not None and kms is not None:
        difference = kms[theirs] - own_kms[own]
    found = Pairs(own, theirs, separation.to_value(u.arcmin), difference)
    found = found[found.separation_arcmin <= limit_arcmin[own]]
    return found[np.lexsort((found.other, np.abs(found.difference_kms), found.separation_arcmin))]


def _check_frames(catalog, other, kms):
    own, theirs = (str(one.meta.get("SPECSYS") or "").strip() for one in (catalog, other))
    # Of tables that do not say so the LSR is supposed.
    if kms is not None and (own or "LSRK") != (theirs or "LSRK"):
        warnings.warn(
            f"table: its velocities are in {_in_words(theirs)} and the own ones in {_in_words(own)}; "
            "they are taken as they are",
            HISAWarning,
            stacklevel=5,
        )


def _in_words(frame):
    return f"the frame {frame}" if frame else "a frame that is not named"


def _finite(sky):
    return np.isfinite(sky.spherical.lon.deg) & np.isfinite(sky.spherical.lat.deg)


def _limit(name, value, unit, n_rows):
    """A limit for each row; where it is NaN or negative nothing matches."""
    limit = plain(name, value, unit)
    if limit.shape not in ((), (n_rows,)):
        raise ParameterError(
            f"{name} has the shape {limit.shape}; give one number, or one for each of the {n_rows} rows"
        )
    if limit.ndim == 0 and not limit >= 0:
        raise ParameterError(f"{name} must be 0 or above, got {limit:g} {unit}")
    return np.broadcast_to(limit, (n_rows,))


def _chosen(columns, other):
    if isinstance(columns, str):
        columns = other.colnames if columns == "all" else [columns]
    if unknown := [key for key in columns if key not in other.colnames]:
        raise InputError(f"table: no column {unknown[0]!r}; it has {', '.join(other.colnames[:12])}")
    return list(columns)


def _with_pairs(catalog, other, columns, prefix, pairs, n_candidates):
    found = catalog.copy()
    n_rows = len(catalog)
    row = np.full(n_rows, -1)
    row[pairs.own] = pairs.other
    separation, difference = np.full((2, n_rows), np.nan)
    separation[pairs.own], difference[pairs.own] = pairs.separation_arcmin, pairs.difference_kms
    for key, values, description, ucd in (
        (
            "row",
            row,
            "Row of the counterpart in the other table, from 0; -1 where there is none",
            "meta.record",
        ),
        ("separation", separation << u.arcmin, "Distance of the counterpart on the sky", "pos.angDistance"),
        (
            "velocity_difference",
            difference << KMS,
            "Velocity of the counterpart minus that of the feature; NaN where not known",
            "spect.dopplerVeloc;arith.diff",
        ),
        ("n_candidates", n_candidates, "Rows of the other table within the limits", "meta.number"),
    ):
        set_column(found, f"{prefix}_{key}", values, description, ucd)
    for key in columns:
        column = other[key]
        about = column.info.description or f"Column {key} of the counterpart"
        ucd = (column.info.meta or {}).get("ucd")
        set_column(found, f"{prefix}_{key}", _taken(column, row), about, ucd)
    return found


def _taken(column, row):
    """Values of a column at some rows; NaN, or masked where there is no NaN, where the row is -1."""
    if not isinstance(column, u.Quantity | Column | Masked):
        raise InputError(
            f"the column {column.info.name!r} holds a {type(column).__name__}, which cannot "
            "be taken along; name others in columns"
        )
    none, unit = row < 0, getattr(column, "unit", None)
    values = (column if len(column) else _blank(column))[np.where(none, 0, row)]
    mask = np.array(np.broadcast_to(getattr(values, "mask", False), values.shape))
    mask[none] = True
    bare = np.ma.getdata(getattr(values, "unmasked", values))
    bare = np.array(getattr(bare, "value", bare))
    if bare.dtype.kind != "f":
        return MaskedColumn(bare, mask=mask, unit=unit)
    bare[mask] = np.nan
    return bare if unit is None else bare << unit


def _blank(column):
    """One row of the kind of an empty column."""
    return np.zeros((1, *column.shape[1:]), column.dtype)
