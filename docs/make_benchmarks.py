"""Put the tables of ``python -m benchmarks`` and a figure into the documentation.

Usage: python docs/make_benchmarks.py BENCHMARKS.json
"""

import json
import sys
from pathlib import Path

from astropy.table import Table
from matplotlib.figure import Figure

DOCS = Path(__file__).resolve().parent
UNITS = {
    "shares": {"iteration": "ms", "convolution": "ms"},
    "extraction": {
        "time": "s",
        "time_per_voxel": "ns",
        "processor_time": "s",
        "peak_memory": "GB",
        "memory_per_voxel": "byte",
        "reading": "s",
    },
}


def make_benchmarks(results, docs=DOCS):
    """Write every table of the results, and time and memory against size as a figure."""
    tables = json.loads(Path(results).read_text(encoding="utf-8"))["tables"]
    folder = docs / "benchmarks"
    folder.mkdir(exist_ok=True)
    for name, rows in tables.items():
        table = Table(rows=rows)
        for column, unit in units_of(name, table.colnames).items():
            table[column].unit = unit
        table.write(folder / f"{name}.ecsv", overwrite=True)
    figure = draw_growth(tables["extraction"])
    figure.savefig(docs / "_static" / "benchmarks_size.png", dpi=100)


def units_of(name, columns):
    """Units of a table's columns; the stages have one column a size, all in seconds."""
    return dict.fromkeys(columns[1:], "s") if name == "stages" else UNITS.get(name, {})


def draw_growth(rows):
    """Time and peak memory against the number of voxels, with a straight line through the largest."""
    voxels = [row["million_voxels"] for row in rows]
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.subplots(1, 2)
    for ax, column, label in zip(
        axes, ("time", "peak_memory"), ("Time (s)", "Peak resident memory (GB)"), strict=True
    ):
        values = [row[column] for row in rows]
        ax.loglog(voxels, values, "o-", label="hisatools extract")
        linear = [values[-1] * n / voxels[-1] for n in voxels]
        ax.loglog(voxels, linear, "--", color="0.6", label="in proportion to the largest")
        for axis, ticks in ((ax.xaxis, voxels), (ax.yaxis, values)):
            axis.set_ticks(ticks, [f"{tick:.3g}" for tick in ticks])
            axis.set_ticks([], minor=True)
        ax.set(xlabel="Voxels (millions)", ylabel=label)
        ax.legend(frameon=False)
    return figure


if __name__ == "__main__":
    make_benchmarks(*sys.argv[1:])
