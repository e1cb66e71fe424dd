"""How far each estimate of T_U is from the truth in model cubes, and whether its uncertainty says so.

The complete mask of the absorption is given, so that the estimate alone is judged::

    python -m benchmarks.unabsorbed --seeds 101 102 --shape 64 192 192
    python -m benchmarks.unabsorbed --seeds 101 --strategies shell spectral-linear --output out

Counted are the voxels inside features (the mask eroded by one voxel); ``features_within_1_sigma`` is the
mean over the features of the share of each. Prints bias, scatter and coverage of each strategy, and bias
and scatter as functions of the width and the linewidth of the feature; with ``--output`` also written as
tables (ECSV) and as a figure, as they stand in the documentation.
"""

import argparse
import io
import sys
import time
from itertools import pairwise
from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.table import QTable, vstack
from scipy import ndimage

from hisatools.errors import HISAError
from hisatools.features import label_features
from hisatools.hold_out import agreement, with_unit
from hisatools.simulate import ModelParameters, correlated_noise, simulate_cube
from hisatools.strategies import available, load
from hisatools.unabsorbed.uncertainty import measure_errors

WIDTH_EDGES = np.array([0.1, 2, 5, 10, 20, 60]) * u.arcmin
LINEWIDTH_EDGES = np.array([0.355, 1, 2, 4, 8, 16]) * u.km / u.s
# More than a model has features: tells those of several models apart.
LABELS_PER_SEED = 10_000_000
TRACER_NOISE_KELVIN = 0.3
TRACER_KELVIN_PER_KELVIN = 0.2


def measure(names, seeds, shape, *, workers=1, report=lambda line: None):
    """Estimates and truth at the voxels inside features.

    Parameters
    ----------
    names : sequence of str
    seeds : sequence of int
    shape : tuple of int
        Of the model cubes.
    workers : int
    report : callable
        Called with a line of text after each estimate.

    Returns
    -------
    dict
        Name to a `~astropy.table.QTable` of voxels: ``difference`` (T_U minus truth), ``sigma``, ``width``
        and ``linewidth`` of the feature, and a number for it. What cannot be used on a model is reported,
        and left out.
    """
    parts = {name: [] for name in names}
    for seed in seeds:
        model = simulate_cube(ModelParameters().scaled(tuple(shape)), seed=seed)
        labels, n_features = label_features(model.mask)
        index = np.flatnonzero(labels)
        errors = measure_errors(model.cube, labels, workers=workers)
        inside = ndimage.binary_erosion(model.mask).reshape(-1)[index]
        feature = labels.reshape(-1)[index[inside]]
        widths = [values[feature] for values in puck_widths(model, labels)]
        truth_kelvin = model.t_unabsorbed.value.reshape(-1)[index]
        for name in names:
            start = time.perf_counter()
            try:
                estimate = make_strategy(name, model).estimate(
                    model.cube, labels, np.arange(1, n_features + 1), index, errors=errors, workers=workers
                )
            except HISAError as error:
                report(f"seed {seed}, {name}: {error}")
                continue
            seconds = time.perf_counter() - start
            part = voxel_table(
                (estimate.kelvin - truth_kelvin)[inside], estimate.sigma_kelvin[inside], *widths
            )
            part["feature"] = seed * LABELS_PER_SEED + feature.astype(np.int64)
            part.meta = {"estimated": index.size, "seconds": seconds}
            parts[name].append(part)
            report(f"seed {seed}, {name}: {index.size} voxels in {seconds:.2f} s")
    return {name: _stacked(tables) for name, tables in parts.items() if tables}


def voxel_table(difference_kelvin, sigma_kelvin, width, linewidth):
    return QTable(
        {
            "difference": difference_kelvin * u.K,
            "sigma": sigma_kelvin * u.K,
            "width": width,
            "linewidth": linewidth,
        }
    )


def _stacked(tables):
    """One table of the voxels of all cubes; voxels and seconds of the estimates add up."""
    stacked = vstack(tables, metadata_conflicts="silent")
    stacked.meta = {name: sum(table.meta[name] for table in tables) for name in ("estimated", "seconds")}
    return stacked


def make_strategy(name, model):
    """The strategy with its defaults, and with a molecular cube where it needs one."""
    inputs = {"tracer": molecular_cube(model)} if name == "second-derivative" else {}
    return load("unabsorbed", name)(**inputs)


def molecular_cube(model):
    """What a molecular line at the place of the absorption, with its profile, would look like."""
    rng = np.random.default_rng(model.seed)
    beam_pix = float(model.parameters.beam_fwhm / model.pixel_scale)
    noise_kelvin = TRACER_NOISE_KELVIN * correlated_noise(model.cube.shape, beam_pix, 0, rng)
    return model.cube.with_brightness(noise_kelvin - TRACER_KELVIN_PER_KELVIN * model.delta_t.value)


def puck_widths(model, labels):
    """Width and linewidth of the puck that each label belongs to, NaN for none; index 0 is no label."""
    pucks, n_labels = model.pucks, int(labels.max(initial=0))
    places = [
        np.clip(np.rint(pucks[f"{axis}_pixel"]).astype(int), 0, size - 1)
        for axis, size in zip("vyx", labels.shape, strict=True)
    ]
    label = labels[tuple(places)]
    found = []
    for name in ("width", "linewidth"):
        values = np.full(n_labels + 1, np.nan) * pucks[name].unit
        values[label] = pucks[name]
        values[0] = np.nan
        found.append(values)
    return found


def overall_table(voxels):
    """One row a strategy."""
    rows = []
    for name, table in voxels.items():
        (row,) = agreement_rows(table, np.zeros(len(table), np.intp), 1)
        rows.append({"strategy": name} | row | by_feature(table) | speed_of(table))
    return QTable(rows=rows)


def by_feature(table):
    """Coverage with every feature counting alike: of the voxels, half may lie in a few large ones."""
    _, group = np.unique(table["feature"], return_inverse=True)
    found = agreement(table["difference"].value, table["sigma"].value, group, int(group.max(initial=-1)) + 1)
    return {f"features_{name}": np.nanmean(found[name]) for name in ("within_1_sigma", "within_2_sigma")}


def binned_table(voxels, column, edges):
    """One row for each strategy and bin of ``column``; features that are no puck's are left out."""
    rows = []
    for name, table in voxels.items():
        number = np.digitize(table[column].to_value(edges.unit), edges.value) - 1
        inside = (number >= 0) & (number < edges.size - 1)
        found = agreement_rows(table[inside], number[inside], edges.size - 1)
        for (low, high), row in zip(pairwise(edges), found, strict=True):
            rows.append({"strategy": name, "low": low, "high": high} | row)
    return QTable(rows=rows)


def agreement_rows(table, group, n_groups):
    """Measures of agreement by group, with the median of the uncertainties that are stated."""
    sigma = table["sigma"].value
    found = agreement(table["difference"].value, sigma, group, n_groups)
    rows = []
    for number in range(n_groups):
        row = {name: with_unit(name, values[number]) for name, values in found.items()}
        known = sigma[(group == number) & np.isfinite(sigma)]
        rows.append(row | {"median_sigma": (np.median(known) if known.size else np.nan) * u.K})
    return rows


def speed_of(table):
    """Voxels of features, the outer ones included, for which T_U and its uncertainty come in a second."""
    return {"voxels_per_second": table.meta["estimated"] / table.meta["seconds"]}


def draw(tables):
    """Bias, scatter and coverage of each strategy against width and linewidth."""
    from hisatools.comparison_figures import strategy_styles
    from hisatools.plotting.style import new_figure

    figure = new_figure(10, 9)
    panels = (("bias", "Bias (K)"), ("scatter", "Scatter (K)"), ("within_1_sigma", "Within 1 sigma"))
    axes = figure.subplots(len(panels), len(tables), sharex="col", sharey="row", squeeze=False)
    for column, (label, table) in zip(axes.T, tables.items(), strict=True):
        styles = strategy_styles(dict.fromkeys(table["strategy"]))
        middle = np.sqrt(table["low"].value * table["high"].value)
        for ax, (name, text) in zip(column, panels, strict=True):
            for strategy, style in styles.items():
                chosen = table["strategy"] == strategy
                values = np.asarray(getattr(table[name], "value", table[name]))
                ax.plot(middle[chosen], values[chosen], marker="o", markersize=4, label=strategy, **style)
            ax.set_xscale("log")
            if ax in axes[:, 0]:
                ax.set_ylabel(text)
        # Linear where most are, so that one that fails does not hide the others.
        column[0].set_yscale("symlog", linthresh=10)
        column[0].axhline(0, color="0.6", linewidth=0.8)
        column[1].set_yscale("log")
        column[-1].axhspan(0.60, 0.76, color="0.9")
        column[-1].set(xlabel=f"{label} ({table['low'].unit})", ylim=(0, 1))
        ticks = np.append(table["low"].value, table["high"].value[-1:])
        column[-1].set_xticks(np.unique(ticks), [f"{tick:g}" for tick in np.unique(ticks)])
        column[-1].set_xticks([], minor=True)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    return figure


def write(folder, tables):
    """Tables as ECSV, and the figure."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        table.write(folder / f"{name}.ecsv", overwrite=True)
    draw({"Width": tables["widths"], "Linewidth": tables["linewidths"]}).savefig(
        folder / "unabsorbed.png", dpi=100
    )


def printed(table, form):
    """The lines of a table whose numbers have the digits that count; plain, or as reStructuredText."""
    shown = table.copy()
    for name in shown.colnames:
        if shown[name].dtype.kind == "f":
            shown[name].info.format = "{:.3g}"
    if form == "plain":
        return shown.pformat(max_width=-1, max_lines=-1)
    text = io.StringIO()
    shown.write(text, format="ascii.rst")
    return text.getvalue().splitlines()


def parse(argv):
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.unabsorbed",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[101, 102], metavar="N")
    parser.add_argument("--shape", type=int, nargs=3, default=(64, 192, 192), metavar=("NV", "NY", "NX"))
    parser.add_argument("--strategies", nargs="+", metavar="NAME", help="default: all that are installed")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--form", choices=("plain", "rst"), default="plain", help="of the printed tables")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="write tables and the figure here")
    return parser.parse_args(argv)


def main(argv=None):
    arguments = parse(argv)
    names = arguments.strategies or list(available("unabsorbed"))
    voxels = measure(
        names,
        arguments.seeds,
        arguments.shape,
        workers=arguments.workers,
        report=lambda line: print(line, flush=True),
    )
    if not voxels:
        return 1
    tables = {
        "strategies": overall_table(voxels),
        "widths": binned_table(voxels, "width", WIDTH_EDGES),
        "linewidths": binned_table(voxels, "linewidth", LINEWIDTH_EDGES),
    }
    for name, table in tables.items():
        print(f"\n== {name}", *printed(table, arguments.form), sep="\n")
    if arguments.output is not None:
        write(arguments.output, tables)
        print(f"\nWrote {arguments.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
