"""Distances as columns of a catalogue."""

import warnings

import astropy.units as u
import numpy as np

from hisatools.catalog.columns import set_column
from hisatools.catalog.places import velocities_needed
from hisatools.distances.kinematic import DISPERSION, SIDES, DistanceFlag, kinematic_distance
from hisatools.errors import HISAWarning, InputError, ParameterError
from hisatools.physics.units import plain

__all__ = ["DISTANCE_COLUMNS", "with_distances"]

KMS = u.km / u.s

# Nearer than this is rounding.
HERE_KPC = 1e-9

# name: description
DISTANCE_COLUMNS = {
    "distance": "Distance from the Sun; how it was found stands in distance_method and in meta['DISTANCE']",
    "distance_error": "1-sigma uncertainty of distance; if kinematic, from the dispersion of velocities",
    "distance_flags": "Sum of hisatools.distances.DistanceFlag; 0 where the distance was given",
    "distance_method": "given; or kinematic: near, far, tangent, outer (one solution), local; or none",
}


def with_distances(
    catalog, distance=None, *, distance_error=None, curve="reid19", side="near", dispersion=DISPERSION
):
    """See `hisatools.HISACatalog.with_distances`."""
    if distance is None and distance_error is not None:
        raise ParameterError(
            "distance_error is that of a given distance, and none is given; give distance, or of a kinematic "
            "one the dispersion of velocities"
        )
    if side not in SIDES:
        raise ParameterError(f"side must be 'near' or 'far', got {side!r}")
    columns, about = (
        _kinematic(catalog, curve, side, dispersion)
        if distance is None
        else _given(catalog, distance, distance_error)
    )
    found = catalog.copy()
    for (name, description), values in zip(DISTANCE_COLUMNS.items(), columns, strict=True):
        set_column(found, name, values, description)
    found.meta["DISTANCE"] = about
    return found


def _given(catalog, distance, error):
    kpc = _lengths(catalog, "distance", distance)
    error_kpc = np.full(len(catalog), np.nan)
    if error is not None:
        error_kpc = _lengths(catalog, "distance_error", error)
    if (kpc < 0).any() or (error_kpc < 0).any():
        raise ParameterError("distance and distance_error must be 0 or above")
    one = not isinstance(distance, str) and np.ndim(distance) == 0
    if one and not 0 < plain("distance", distance, u.kpc) < np.inf:
        raise ParameterError(f"distance must be finite and above 0, got {distance}")
    method = np.where(np.isfinite(kpc), "given", "none")
    about = f"given: column {distance}" if isinstance(distance, str) else "given"
    return (kpc << u.kpc, error_kpc << u.kpc, np.zeros(len(catalog), np.int16), method), about


def _lengths(catalog, name, value):
    """One length for each row, in kpc."""
    if isinstance(value, str):
        if value not in catalog.colnames:
            raise InputError(f"{name}: the catalogue has no column {value!r}; name one, or give a Quantity")
        value = u.Quantity(catalog[value]) if getattr(catalog[value], "unit", None) else catalog[value]
    kpc = plain(name, value, u.kpc)
    if kpc.shape not in ((), (len(catalog),)):
        raise ParameterError(
            f"{name} has the shape {kpc.shape}; give one, or one for each of the {len(catalog)} rows"
        )
    return np.array(np.broadcast_to(kpc, (len(catalog),)))


def _kinematic(catalog, curve, side, dispersion):
    _check_lsr(catalog)
    sky = catalog.coordinates.galactic
    found = kinematic_distance(
        sky.l, sky.b, velocities_needed(catalog) << KMS, curve=curve, dispersion=dispersion
    )
    distance, error = found.of_side(side)
    method = np.select(
        [
            np.isnan(distance.value),
            found.has(DistanceFlag.TANGENT),
            found.has(DistanceFlag.TWO_FOLD),
            found.has(DistanceFlag.LOCAL) & (distance.value <= HERE_KPC),
        ],
        ["none", "tangent", side, "local"],
        "outer",
    )
    about = (
        f"kinematic, {side} side; rotation curve {found.curve.described()}; dispersion {found.dispersion:g}"
    )
    return (distance, error, found.flags, method), about


def _check_lsr(catalog):
    frame = str(catalog.meta.get("SPECSYS", "") or "").strip()
    if not frame:
        warnings.warn(
            "the catalogue does not say in which frame its velocities are: the LSR assumed; set "
            "meta['SPECSYS'], for example to 'LSRK'",
            HISAWarning,
            stacklevel=5,
        )
    elif frame != "LSRK":
        raise InputError(
            f"the velocities are in the frame {frame}, and rotation is told by those in the LSR (LSRK); "
            "resample the cube to it, or give distances"
        )
