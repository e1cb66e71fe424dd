"""Whether the reliability that is measured from the data is the true fraction, on model cubes.

    python -m benchmarks.reliability --seeds 401 402 --min-significance 0
    python -m benchmarks.reliability --seeds 6100 --shape 96 256 256 --output out

Each model is searched, and its mirror image (`hisatools.significance.ReliabilityModel`). The true fraction
of a feature is the share of its voxels in which absorption deeper than 0.005 K was put in. Features of all
models are sorted into bins of reliability, and the diagram lists in each the mean of both. They should agree
within 0.1 in every bin that holds 50 features or more. For comparison the same is shown for the ratio of
densities at the feature, as SoFiA takes it.
"""

import argparse
import sys
import time
import warnings

import numpy as np
from astropy.table import QTable, vstack

from hisatools import ExtractionParameters, HISAExtractor
from hisatools.errors import HISAWarning, OutputError
from hisatools.io.writing import check_output, writing_folder
from hisatools.significance.reliability import ReliabilityModel, ReliabilityParameters
from hisatools.simulate import ModelParameters, simulate_cube

WITHIN = 0.1
LEAST_FEATURES = 50


def true_fraction(result, truth):
    """Share of each feature's voxels in which there is absorption; shape (n,)."""
    feature = result.at_voxels(result.labels) - 1
    n_features = len(result.catalog)
    true = np.bincount(feature, weights=result.at_voxels(truth), minlength=n_features)
    return true / np.bincount(feature, minlength=n_features)


def assessed_features(seed, shape, extractor, parameters, workers):
    """One model's features, with what they were given and what they are, and its reliability model."""
    model = simulate_cube(ModelParameters().scaled(shape), seed=seed)
    result = extractor.run(model.cube, workers=workers)
    reliability = ReliabilityModel.measure(
        model.cube, result, extractor, parameters=parameters, workers=workers
    )
    features = QTable(
        {
            "seed": np.full(len(result.catalog), seed),
            "id": result.catalog["id"],
            "reliability": reliability.reliability(),
            "density_ratio": reliability.density_ratio(),
            "true_fraction": true_fraction(result, model.mask),
            "log_peak": reliability.real[:, 0],
            "log_sum": reliability.real[:, 1],
            "log_mean": reliability.real[:, 2],
        }
    )
    return features, reliability


def diagram_of(reliability, true, n_bins):
    """Means of both in bins of reliability; bins without features are left out.

    Parameters
    ----------
    reliability, true : `~numpy.ndarray`, shape (n,)
        NaN in the reliability is left out.
    n_bins : int
        Bins of equal width from 0 to 1.

    Returns
    -------
    `~astropy.table.QTable`
    """
    known = np.isfinite(reliability)
    reliability, true = reliability[known], true[known]
    place = np.minimum((reliability * n_bins).astype(int), n_bins - 1)
    rows = []
    for number in np.unique(place):
        inside = place == number
        n, mean, share = int(inside.sum()), reliability[inside].mean(), true[inside].mean()
        error = true[inside].std(ddof=1) / np.sqrt(n) if n > 1 else np.nan
        rows.append((number / n_bins, (number + 1) / n_bins, n, mean, share, error, mean - share))
    names = ("low", "high", "n_features", "reliability", "true_fraction", "true_fraction_error", "difference")
    return QTable(rows=rows, names=names) if rows else QTable(names=names)


def print_diagram(title, diagram):
    """Print the bins, and whether those that count agree."""
    print(title)
    for row in diagram:
        counts = row["n_features"] >= LEAST_FEATURES
        verdict = ("agrees" if abs(row["difference"]) <= WITHIN else "is off") if counts else "too few"
        print(
            f"  {row['low']:.1f} to {row['high']:.1f}: {row['n_features']:5d} features, "
            f"R {row['reliability']:.3f}, true {row['true_fraction']:.3f} +- "
            f"{row['true_fraction_error']:.3f}, difference {row['difference']:+.3f}  {verdict}"
        )


def write(folder, features, diagram, model, *, overwrite):
    """Write the features, the diagram and two figures."""
    from hisatools.significance.reliability_figures import plot_diagram

    with writing_folder(folder, overwrite=overwrite) as partial:
        features.write(partial / "features.ecsv")
        diagram.write(partial / "diagram.ecsv")
        plot_diagram(diagram).figure.savefig(partial / "diagram.png", dpi=100)
        model.plot().figure.savefig(partial / "populations.png", dpi=100)


def parse(argv):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[401, 402])
    parser.add_argument("--shape", type=int, nargs=3, default=(128, 512, 512), metavar=("NV", "NY", "NX"))
    parser.add_argument("--min-significance", type=float, default=0.0)
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--kernel-scale", type=float, default=ReliabilityParameters().kernel_scale)
    parser.add_argument("--bins", type=int, default=10)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--output", metavar="FOLDER", help="where tables and figures are written")
    parser.add_argument("--overwrite", action="store_true")
    return parser.parse_args(argv)


def main(argv=None):
    """Print the diagram; 0 if every bin that counts agrees."""
    arguments = parse(argv)
    if arguments.output:
        try:
            check_output(arguments.output, overwrite=arguments.overwrite)
        except OutputError as error:
            print(error, file=sys.stderr)
            return 1
    # Few false features, or a field that is small for the kernel, are no news here.
    warnings.simplefilter("ignore", HISAWarning)
    extractor = HISAExtractor(
        parameters=ExtractionParameters(min_significance=arguments.min_significance),
        n_passes=arguments.passes,
    )
    parameters = ReliabilityParameters(kernel_scale=arguments.kernel_scale)
    tables = []
    for seed in arguments.seeds:
        start = time.perf_counter()
        features, model = assessed_features(
            seed, tuple(arguments.shape), extractor, parameters, arguments.workers
        )
        n_false = int((features["true_fraction"] < 0.5).sum())
        print(
            f"seed {seed}: {len(features)} features, {n_false} of them mostly false; {len(model.false)} in "
            f"the mirrored cube; {time.perf_counter() - start:.0f} s",
            flush=True,
        )
        tables.append(features)
    features = vstack(tables)
    diagram, ratio = (
        diagram_of(features[name], features["true_fraction"], arguments.bins)
        for name in ("reliability", "density_ratio")
    )
    print_diagram("reliability", diagram)
    print_diagram("ratio of densities at the feature, for comparison", ratio)
    if arguments.output:
        write(arguments.output, features, diagram, model, overwrite=arguments.overwrite)
    counting = diagram[diagram["n_features"] >= LEAST_FEATURES]
    return int((np.abs(counting["difference"]) > WITHIN).any())


if __name__ == "__main__":
    sys.exit(main())
