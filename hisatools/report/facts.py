"""What a page says in words and tables: the input, the parameters, the passes and the reliability."""

import re
import warnings
from pathlib import Path

import numpy as np

from hisatools.cube import HISACube
from hisatools.errors import InputError, MendWarning
from hisatools.inspection import cube_facts
from hisatools.plotting.catalog import numbers
from hisatools.results import MaskBit, flagged

N_BINS = 10
HIGH_RELIABILITY = 0.9


def observed_cube(result):
    """The observed cube of a result, with what is recorded of its input."""
    about = result.meta.get("input", {})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MendWarning)
        return HISACube(
            result.t_on,
            result.wcs,
            beam=result.beam,
            meta=about | {"mends": list(result.meta.get("mends", []))},
        )


def check_cube(cube, result):
    """Refuse a cube that is not the one a result was made of.

    Raises
    ------
    InputError
        If it has another shape or other brightness.
    """
    source = cube.meta.get("path", "the cube")
    if cube.shape != result.flags.shape:
        raise InputError(
            f"{source}: the cube has the shape {cube.shape} and the result {result.flags.shape}; give the "
            "cube that was searched, read with the velocity range and region of the search, or leave it out"
        )
    channel = int(np.argmax([np.isfinite(plane).sum() for plane in cube.kelvin]))
    if not np.allclose(
        cube.kelvin[channel], result.plane_kelvin("t_on", channel), rtol=1e-3, atol=0.01, equal_nan=True
    ):
        raise InputError(
            f"{source}: its brightness is not that of the result; give the cube that was searched, or "
            "leave it out"
        )


def title(result):
    """The object or file that the page is about."""
    about = result.meta.get("input", {})
    name = Path(str(about.get("path") or "")).name
    return str(about.get("object") or name or "H I self-absorption")


def input_facts(result, cube):
    """Rows of the cube and of its record, and what was mended."""
    rows = {
        name: value if name in ("File", "Object") else minus_signs(value)
        for name, value in cube_facts(cube).items()
    }
    more = {
        name.replace("_", " ").capitalize(): value
        for name, value in result.meta.get("input", {}).items()
        if name not in ("path", "object", "mends")
    }
    return {
        # What the cube itself says comes first, and wins.
        "rows": rows | {name: value for name, value in more.items() if name not in rows},
        "mends": list(cube.mends),
        "recorded": "input" in result.meta,
    }


def minus_signs(text):
    """A text whose negative numbers have a minus sign in place of a hyphen."""
    return re.sub(r"(?<![\w.-])-(?=[\d.])", "\N{MINUS SIGN}", text)


def counts(result):
    """How many voxels, sight lines and features there are of which kind."""
    bits = dict.fromkeys(("spectral", "spatial", "both", "accepted", "finite"), 0)
    for channel, flags in enumerate(result.flags):
        spectral, spatial, accepted = (flagged(flags, bit) for bit in MaskBit)
        bits["spectral"] += int(np.count_nonzero(spectral & ~spatial & ~accepted))
        bits["spatial"] += int(np.count_nonzero(spatial & ~spectral & ~accepted))
        bits["both"] += int(np.count_nonzero(spectral & spatial & ~accepted))
        bits["accepted"] += int(np.count_nonzero(accepted))
        bits["finite"] += int(np.count_nonzero(np.isfinite(result.t_on.value[channel])))
    return bits | {"features": len(result.catalog)}


def passes(result):
    """Rows of the table of passes: voxels found by one search only, by both, accepted and new."""
    return [_pass(counted) for counted in result.meta.get("passes", [])]


def _pass(counted):
    row = {name: counted.get(name) for name in ("pass", "spectral", "spatial", "union", "accepted", "new")}
    if None in (row["spectral"], row["spatial"], row["union"], row["accepted"]):
        return row | {"parts": None}
    both = row["spectral"] + row["spatial"] - row["union"]
    # A single sight line has no spatial search: there one is enough to be accepted.
    alone = row["accepted"] if row["spatial"] == 0 else 0
    return row | {
        "both": both,
        "parts": {
            "spectral": row["spectral"] - both - alone,
            "both": max(both - row["accepted"], 0),
            "accepted": row["accepted"],
            "spatial": row["spatial"] - both,
        },
    }


def parameters(result):
    """Sections of parameters: name to value; those outside a section come first, under ''."""
    given = result.meta.get("parameters", {})
    sections = {"": {name: value for name, value in given.items() if not isinstance(value, dict)}}
    return sections | {name: value for name, value in given.items() if isinstance(value, dict)}


def software(result):
    """Strategies, backends, versions and times, as far as they are recorded."""
    titles = {
        "strategies": "Strategies",
        "backends": "Backends",
        "versions": "Versions",
        "timings": "Seconds",
    }
    return {text: result.meta[name] for name, text in titles.items() if result.meta.get(name)}


def reliability(result):
    """What is known of how reliable and complete the features are."""
    catalog = result.catalog
    return {
        "columns": {
            name: _column(numbers(catalog, name))
            for name in ("reliability", "completeness")
            if name in catalog.colnames and len(catalog)
        },
        "method": _method(result),
        "true_fraction": _true_fraction(result),
        "n_features": len(catalog),
    }


def _column(values):
    known = values[np.isfinite(values)]
    return {
        "n_known": known.size,
        "median": float(np.median(known)) if known.size else None,
        "n_high": int((known >= HIGH_RELIABILITY).sum()),
        "bins": np.histogram(known, N_BINS, (0, 1))[0].tolist(),
    }


def _method(result):
    """How the reliability was measured, in words."""
    if "reliability" in result.meta:
        about = result.meta["reliability"]
        method = about.get("method", "the cube itself")
        n_false, n_real = about.get("n_mirrored", "?"), about.get("n_features", "?")
        return f"{method}: {n_false} features in the mirrored cube, {n_real} in the cube"
    if "performance" in result.meta:
        n_models = result.meta["performance"].get("n_models", "?")
        return f"performance model of {n_models} cube{'s' * (n_models != 1)} with known absorption"
    return "not recorded"


def _true_fraction(result):
    if result.true_fraction is None:
        return None
    values = result.at_voxels(result.true_fraction)
    known = values[np.isfinite(values)]
    return {
        "n_known": known.size,
        "n_all": values.size,
        "mean": float(known.mean()) if known.size else None,
        "bins": np.histogram(known, N_BINS, (0, 1))[0].tolist(),
    }
