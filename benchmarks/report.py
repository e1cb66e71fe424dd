"""From what pytest-benchmark measured to the results that are stored, and to tables."""

import os
import platform
import re
from collections import defaultdict
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version

import numpy as np
from astropy.table import Table

PACKAGES = ("hisatools", "numpy", "scipy", "numba", "llvmlite", "astropy", "pyfftw", "pytest-benchmark")
GROWING = {"time": "s", "processor_time": "s", "peak_memory": "GB"}
SIZES = {
    "spectra": "spectral search",
    "maps": "spatial search, backends on maps",
    "model": "unabsorbed emission, labels, widths, reading",
    "baseline_spectra": "plain loop over spectra, backends on spectra",
    "baseline_maps": "plain loop over maps",
}
STATISTICS = {"value": "median", "low": "min", "high": "max"}


def summarise(raw, settings, load):
    """Everything that is kept of one run.

    Parameters
    ----------
    raw : dict
        The JSON of pytest-benchmark.
    settings : `~benchmarks.settings.Settings`
    load : float
        Processes that were running before the measurements.

    Returns
    -------
    dict
        ``machine``, ``versions``, ``commit``, ``date``, ``settings``, ``measurements`` (every one with its
        seconds and what they mean) and ``tables`` (name: rows).
    """
    measurements = [_measurement(entry) for entry in raw["benchmarks"]]
    commit = raw["commit_info"]
    results = {
        "machine": machine(raw["machine_info"], load),
        "versions": {name: _version(name) for name in PACKAGES},
        "commit": f"{commit['id']}{' and changes' if commit['dirty'] else ''}",
        "date": raw["datetime"],
        "settings": asdict(settings) | {"cube_folder": None},
        "measurements": measurements,
    }
    return results | {"tables": _tables(results)}


def machine(info, load):
    """The machine, without its name."""
    return {
        "processor": info["cpu"].get("brand_raw", platform.processor()),
        "cores": _n_cores(),
        "memory in GB": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "Python": platform.python_version(),
        "load before the run": round(load, 2),
    }


def _n_cores():
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _version(name):
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _measurement(entry):
    """One benchmark: ``bench_spectral.py::bench_search[1]`` is "search" of the group "spectral"."""
    group, name = re.match(r"bench_(\w+)\.py::bench_(\w+)", entry["fullname"].split("/")[-1]).groups()
    notes = dict(entry["extra_info"])
    seconds = {statistic: entry["stats"][statistic] for statistic in STATISTICS.values()}
    speeds = [{"unit": "s", "factor": 1.0, "power": 1}, *notes.pop("speeds")]
    return {
        "group": group,
        "name": name.replace("_", " "),
        "parameters": entry["params"] or {},
        "repeats": entry["stats"]["rounds"],
        "speeds": {speed["unit"]: _speed(seconds, speed) for speed in speeds},
        "notes": notes,
    }


def _speed(seconds, speed):
    """Median, least and largest of what the seconds mean."""
    values = {statistic: speed["factor"] * s ** speed["power"] for statistic, s in seconds.items()}
    if speed["power"] < 0:  # the shortest time is the highest rate
        values["min"], values["max"] = values["max"], values["min"]
    return values


# --- tables -----------------------------------------------------------------------------------


def _tables(results):
    """Name of each table to its rows; only those there is something for."""
    measurements = results["measurements"]
    tables = {"machine": _machine_rows(results), "sizes": _size_rows(results["settings"])}
    for measurement in measurements:
        if measurement["group"] != "extraction":
            tables.setdefault(measurement["group"], []).extend(_speed_rows(measurement))
    extractions = [m for m in measurements if m["group"] == "extraction"]
    tables |= {
        "workers": _worker_rows(measurements),
        "shares": _share_rows(measurements),
        "ratios": _ratio_rows(measurements),
        "whole_ratios": _whole_ratio_rows(measurements),
        "extraction": [_extraction_row(m) for m in extractions],
        "stages": _stage_rows(extractions),
        "growth": _growth_rows(extractions),
    }
    return {name: rows for name, rows in tables.items() if rows}


def _machine_rows(results):
    facts = results["machine"] | results["versions"] | {"commit": results["commit"], "date": results["date"]}
    return [{"item": item, "value": str(value)} for item, value in facts.items()]


def _size_rows(settings):
    """What each group of measurements was made on."""
    rows = [
        {"measured": measured, "on": " x ".join(map(str, settings[name])), "repeats": settings["repeats"]}
        for name, measured in SIZES.items()
    ]
    channels, sides = settings["n_channels"], ", ".join(map(str, settings["sides"]))
    whole = {"measured": "whole extractions", "on": f"{channels} channels, {sides} pixels a side"}
    return [*rows, whole | {"repeats": settings["extractions"]}]


def _speed_rows(measurement):
    """A row for the seconds and for each speed that follows from them."""
    notes = {name: measurement["notes"].get(name, "") for name in ("difference", "tolerance", "other_loops")}
    for unit, speed in measurement["speeds"].items():
        yield {
            "measure": measurement["name"],
            "case": _case(measurement),
            **{column: speed[statistic] for column, statistic in STATISTICS.items()},
            "unit": unit,
            "repeats": measurement["repeats"],
            **(notes if measurement["group"] == "backends" else {}),
        }


def _case(measurement):
    """Text of what was varied: ``2 workers``, or a name."""
    parameters = dict(measurement["parameters"])
    workers = parameters.pop("workers", None)
    words = [] if workers is None else [f"{workers} worker{'s' if workers > 1 else ''}"]
    return ", ".join([*words, *map(str, parameters.values())])


def _worker_rows(measurements):
    """How many times faster each measure is with all workers than with one."""
    seconds = defaultdict(dict)
    for m in measurements:
        if "workers" in m["parameters"]:
            seconds[m["group"], m["name"]][m["parameters"]["workers"]] = m["speeds"]["s"]
    return [
        {"group": group, "measure": name, "workers": max(by_workers), **_ratio(by_workers[1], last)}
        for (group, name), by_workers in seconds.items()
        if (last := by_workers[max(by_workers)]) is not by_workers.get(1, last)
    ]


def _ratio(slow, fast):
    """How many times longer the first takes: of the medians, and at least and at most."""
    return {
        "ratio": slow["median"] / fast["median"],
        "low": slow["min"] / fast["max"],
        "high": slow["max"] / fast["min"],
    }


def _share_rows(measurements):
    """Share of the convolution in one iteration of the spatial CLEAN, by one worker."""
    spatial = [m for m in measurements if m["group"] == "spatial"]
    convolution = [m["notes"]["convolution_ms"] for m in spatial if "convolution_ms" in m["notes"]]
    return [
        {
            "measure": m["name"],
            "iterations": m["notes"]["iterations"],
            "iteration": (whole := m["speeds"]["ms per iteration"]["median"]),
            "convolution": convolution[0],
            "share": convolution[0] / whole,
        }
        for m in spatial
        if convolution and m["parameters"].get("workers", 1) == 1
    ]


def _ratio_rows(measurements):
    """How many times longer the plain loops take, on the same data."""
    baseline = [m for m in measurements if m["group"] == "baseline"]
    return [
        {
            "search": {"spectra": "spectral", "maps": "spatial"}[kind],
            "plain_loop_with": _case(plain) or "numpy.convolve",
            "hisatools_with": _case(ours),
            **_ratio(plain["speeds"]["s"], ours["speeds"]["s"]),
            "flagged_by_loop": plain["notes"]["flagged"],
            "flagged_by_hisatools": ours["notes"]["flagged"],
        }
        for kind in ("spectra", "maps")
        for plain in baseline
        for ours in baseline
        if (plain["name"], ours["name"]) == (f"plain {kind}", f"hisatools {kind}")
    ]


def _whole_ratio_rows(measurements):
    """The same, voxel for voxel, against a search of the whole cube that the part was cut from."""
    return [
        {
            "search": search,
            "plain_loop_with": _case(plain) or "numpy.convolve",
            "hisatools_with": _case(ours),
            **_ratio(_per_voxel(plain), _per_voxel(ours)),
        }
        for search, kind in (("spectral", "spectra"), ("spatial", "maps"))
        for plain in measurements
        for ours in measurements
        if (plain["group"], plain["name"]) == ("baseline", f"plain {kind}")
        and (ours["group"], ours["name"]) == (search, "search with noise")
    ]


def _per_voxel(measurement):
    seconds, n_voxels = measurement["speeds"]["s"], measurement["notes"]["voxels"]
    return {statistic: value / n_voxels for statistic, value in seconds.items()}


def _extraction_row(measurement):
    notes, seconds = measurement["notes"], measurement["speeds"]["s"]["median"]
    n_voxels = int(np.prod(notes["shape"]))
    return {
        "size": _size(notes),
        "million_voxels": n_voxels / 1e6,
        "time": seconds,
        "time_per_voxel": 1e9 * seconds / n_voxels,
        "processor_time": notes["cpu_seconds"],
        "peak_memory": notes["peak_bytes"] / 1e9,
        "memory_per_voxel": notes["peak_bytes"] / n_voxels,
        "reading": notes["reading_seconds"],
        "reading_share": notes["reading_seconds"] / seconds,
        "passes": len(notes["passes"]),
        "accepted": notes["passes"][-1]["accepted"],
    }


def _size(notes):
    return " x ".join(map(str, notes["shape"]))


def _stage_rows(extractions):
    """Seconds of each stage, a column a size; what no stage accounts for is start, reading and writing."""
    rows = defaultdict(dict)
    for measurement in extractions:
        notes, total = measurement["notes"], measurement["speeds"]["s"]["median"]
        stages = notes["stages"]
        for stage, seconds in {**stages, "everything else": total - sum(stages.values())}.items():
            rows[stage][_size(notes)] = seconds
    sizes = [_size(measurement["notes"]) for measurement in extractions]
    return [{"stage": stage} | {size: row.get(size, 0.0) for size in sizes} for stage, row in rows.items()]


def _growth_rows(extractions):
    """Power of the number of voxels with which time and memory grow; 1 is linear."""
    rows = [_extraction_row(measurement) for measurement in extractions]
    if len(rows) < 2:
        return []
    voxels = np.array([row["million_voxels"] for row in rows])
    measured = {name: np.array([row[name] for row in rows]) for name in GROWING}
    return [
        {
            "quantity": name.replace("_", " "),
            "exponent": _slope(np.log(voxels), np.log(values)),
            "per_million_voxels": _slope(voxels, values),
            "unit": GROWING[name],
        }
        for name, values in measured.items()
    ]


def _slope(x, y):
    return float(np.polyfit(x, y, 1)[0])


def printed(tables):
    """All tables as text."""
    for name, rows in tables.items():
        table = Table(rows=rows)
        for column in table.itercols():
            if column.dtype.kind == "f":
                column.format = ".3g"
        yield "\n".join([f"== {name}", *table.pformat(max_lines=-1, max_width=-1, align="<"), ""])
