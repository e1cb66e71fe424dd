"""What the ``hisatools`` command says about cubes, results and performance models: lines of text."""

import os
import sys

N_GAS = 10
# Bits of gas_flags in words, as the gas of features has them.
GAS_FLAGS = {
    "BLANK": "nothing to tell T_S from",
    "NO_ABSORPTION": "no absorption in the mean spectrum",
    "TOO_DEEP": "no gas can absorb so much",
    "TOO_WARM": "gas of this T_S cannot absorb so much",
    "BEHIND": "no share of emission behind would do",
    "FLOOR": "T_S would be below the floor, and was set to it",
    "SATURATED": "next to opaque, tau is a lower limit",
    "UNPHYSICAL": "what is known cannot be",
    "BRIGHT_CONTINUUM": "some sight lines left out, their continuum is too bright",
    "UNKNOWN_BEHIND": "some sight lines left out, what lies behind them is not known",
    "UNRESOLVED": "narrower than the beam or two pixels, so that the width is no path length",
    "NOISY": "all of the sight lines are noisy",
    "ABOVE_KINETIC": "T_S above what the linewidth allows",
    "NARROW_LINE": "narrower than 1.5 channels, so that the line has no width to tell",
}


def tell(*lines):
    """Print what a verb has to say: the one way to stdout."""
    print(*lines, sep="\n", flush=True)


def complain(kind, text):
    """Print an error or a warning as one line: the one way to stderr."""
    print(f"hisatools: {kind}: {' '.join(text.split())}", file=sys.stderr)


def dimensions(shape):
    """The size of a cube in words."""
    return f"{shape[0]} channels x {shape[1]} x {shape[2]} pixels"


def reading(cube, path):
    """What was read."""
    speeds = cube.velocity.value
    return f"Read {path}: {dimensions(cube.shape)}, velocities {speeds[0]:+.1f} to {speeds[-1]:+.1f} km/s"


def written(folder):
    """Where the output is, and what it is."""
    return f"Wrote {folder}: {listing(folder)}"


def listing(folder):
    """The names in a folder, but for hidden ones."""
    return ", ".join(sorted(entry.name for entry in os.scandir(folder) if not entry.name.startswith(".")))


def extraction_lines(result):
    """What an extraction found, and remarks."""
    import numpy as np

    for counts in result.meta.get("passes", []):
        yield f"Pass {counts['pass']}: {counts['accepted']} voxels accepted, {counts['new']} of them new"
    n_accepted = result.n_accepted
    n_searched = sum(int(np.count_nonzero(np.isfinite(plane))) for plane in result.t_on.value)
    fraction = 100 * n_accepted / max(n_searched, 1)
    number = f"{len(result.catalog) or 'no'} feature{'s' * (len(result.catalog) != 1)}"
    yield f"Found {number}: {n_accepted} voxels accepted, {fraction:.3g} % of the cube"
    if result.true_fraction is not None and n_accepted:
        yield _assessment(result.at_voxels(result.true_fraction))
    for remark in result.meta.get("remarks", []):
        yield f"Remark: {remark}"


def _assessment(true_fraction):
    import numpy as np

    known = true_fraction[np.isfinite(true_fraction)]
    mean = f"; {100 * known.mean():.0f} % of these are likely to be real" if known.size else ""
    return f"Assessed {100 * known.size / true_fraction.size:.0f} % of the accepted voxels{mean}"


def model_line(model):
    """How one cube of a performance model was extracted."""
    accepted, true = int(model["n_out_all"]), int(model["n_out_true"])
    what = f"{accepted} accepted, {100 * true / accepted:.3g} % of them true" if accepted else "none accepted"
    return (
        f"Seed {model['seed']}: {model['n_in_all']} voxels put in, {model['n_in_det']} of them found; "
        f"{what}; {model['seconds'].to_value('s'):.0f} s"
    )


def region_lines(regions):
    """The numbers of a performance model beside the paper's."""
    yield "What the paper says, by section: the value here, what is wanted, and whether it is met"
    for row in regions:
        value = f"{row['value']:.3g} +- {row['uncertainty']:.1g} {row['unit']}" if row["n_voxels"] else "-"
        what = f"{row['measure']}: {row['statement']}"
        yield f"  {row['section']:6}{value:24}{row['wanted']:18}{row['met']:11}{what}"


def score_lines(model, result):
    """Voxel by voxel against the truth, as in the paper's section 3.3."""
    import astropy.units as u

    from hisatools import PerformanceModel

    performance = PerformanceModel.from_pairs([(model, result)])
    detectable = {
        "delta_t": (None, -20 * u.K),
        "t_unabsorbed": (80 * u.K, None),
        "angular_width": (3 * u.arcmin, None),
        "velocity_width": (None, 3.5 * u.km / u.s),
    }
    parts = (
        ("of the true absorption (deeper than 0.005 K) was found", "throughput", {}),
        (
            "of it where dT <= -20 K, T_U >= 80 K, 3' wide or more, 3.5 km/s or narrower",
            "throughput",
            detectable,
        ),
        ("of what was accepted is true absorption", "true_fraction", {}),
        ("of it where the measured dT <= -20 K", "true_fraction", {"delta_t": (None, -20 * u.K)}),
    )
    n_true = performance.region("throughput").n_voxels
    yield f"Against the known truth, {n_true} voxels in {len(model.pucks)} features:"
    for text, measure, ranges in parts:
        found = performance.region(measure, **ranges)
        yield f"  {f'{100 * found.value:5.1f} %' if found.n_voxels else '   none'} {text}"


def comparison_lines(comparison):
    """How well each strategy predicts the emission about the features, and how uncertain its T_U is."""
    n_features, n_voxels = (int(comparison.table[name][0]) for name in ("n_features", "n_voxels"))
    what = f"{n_voxels} voxels in {n_features} feature{'s' * (n_features != 1)}"
    yield f"T_U at {what}, and the emission predicted in the rim about them. Bias, scatter and chi^2 are of"
    yield "the part of the rim about which a strategy says something, and compare only where that is alike:"
    width = max(len(name) for name in comparison.table["strategy"])
    heading = ("said (%)", "sigma (K)", "rim said (%)", "bias (K)", "scatter (K)", "chi^2", "time (s)")
    yield f"  {'strategy':{width}}" + "".join(f"{text:>13}" for text in heading)
    for row in comparison.table:
        values = (
            f"{100 * row['known']:.0f}",
            f"{row['sigma'].value:.2f}",
            f"{100 * row['outside_known']:.3g}",
            *(f"{row[name].value:.2f}" for name in ("outside_bias", "outside_scatter")),
            f"{row['outside_chi2']:.2f}",
            f"{row['seconds'].value:.1f}",
        )
        yield f"  {row['strategy']:{width}}" + "".join(f"{text:>13}" for text in values)


def significance_lines(found, n_shown=8):
    """The hottest place, how likely noise is there, and the first of what was found."""
    from hisatools.significance.places import hottest

    place = hottest(found.ts_prior, found.wcs)
    if place is None:
        yield "TS is 0 everywhere: nothing that could be absorption"
        return
    yield f"Hottest place: {_place_text(place, found)}"
    if found.trials is not None:
        largest = found.trials["ts_prior"]
        n_above = int((largest >= place.value).sum())
        p_value = (1 + n_above) / (1 + len(largest))
        yield f"In {n_above} of {len(largest)} trials without absorption a place is as hot: p = {p_value:.2g}"
    n_peaks, least = len(found.peaks), found.meta["min_ts"]
    inside = f", {int((found.peaks['feature'] > 0).sum())} of them in features" if found.catalog else ""
    yield f"{n_peaks or 'No'} peak{'s' * (n_peaks != 1)} with TS of {least:g} and more{inside}"
    if found.catalog is not None:
        hidden = ["ts_prior"] * (found.ts_prior is found.ts) + ["p_global"] * (found.trials is None)
        yield from _feature_lines(found.catalog, n_shown, hidden)


def _place_text(place, found):
    from hisatools.plotting.style import SKY_AXES

    names = {"GLON": ("l", "b"), "RA": ("RA", "Dec")}
    kind = found.wcs.wcs.ctype[0].split("-")[0]
    lon, lat = names.get(kind, SKY_AXES[kind])
    sky = place.position.spherical
    text = f"{lon} = {sky.lon.deg:.4f}, {lat} = {sky.lat.deg:+.4f} deg, {place.velocity.value:+.1f} km/s"
    prior = f" with the prior, {found.ts[place.voxel]:.1f} without" if found.ts_prior is not found.ts else ""
    return f"{text}: TS = {place.value:.1f}{prior}"


def _feature_lines(catalog, n_shown, hidden):
    """A table of the features with the largest TS."""
    import numpy as np

    if not len(catalog):
        yield "The result has no features"
        return
    if "p_global" not in hidden:
        n_sure = int((catalog["p_global"] < 0.05).sum())
        yield f"{n_sure} of {len(catalog)} features with p_global < 0.05"
    rows = catalog[np.argsort(-np.nan_to_num(catalog["ts_prior"]), kind="stable")[:n_shown]]
    shown = {
        "ts": ("TS", ".1f"),
        "ts_prior": ("with prior", ".1f"),
        "p_local": ("p_local", ".1e"),
        "p_global": ("p_global", ".2g"),
        "fit_delta_t": ("dT (K)", ".1f"),
        "fit_width": ("width (')", ".1f"),
        "fit_linewidth": ("FWHM (km/s)", ".1f"),
        "reliability": ("reliability", ".2f"),
    }
    shown = {name: about for name, about in shown.items() if name in catalog.colnames and name not in hidden}
    yield from _rows(rows, shown, len(catalog))


def _rows(rows, shown, n_features):
    """Some rows of a catalogue of more."""
    width = max(len(name) for name in rows["name"])
    yield f"  {'id':>5}  {'name':{width}}" + "".join(f"{title:>13}" for title, _ in shown.values())
    for row in rows:
        cells = [_cell(row[name], form) for name, (_, form) in shown.items()]
        yield f"  {row['id']:>5}  {row['name']:{width}}" + "".join(f"{cell:>13}" for cell in cells)
    if n_features > len(rows):
        yield f"  and {n_features - len(rows)} more in catalog.ecsv"


def _cell(value, form):
    number = float(getattr(value, "value", value))
    return "-" if number != number else f"{number:{form}}"


def gas_lines(found):
    """The gas of the catalogue in words, and the features with the largest columns."""
    import numpy as np

    from hisatools.physics import GasFlag

    catalog = found.catalog
    if not len(catalog):
        yield "The result has no features"
        return
    known = np.isfinite(catalog["column_density_peak"].value)
    yield f"Gas of {int(known.sum())} of {len(catalog)} features"
    yield from _gas_sources(found.meta["gas"])
    for flag in GasFlag:
        n_flagged = int(((catalog["gas_flags"] & int(flag)) != 0).sum())
        if n_flagged:
            yield f"  {n_flagged} with gas_flags {int(flag)}: {GAS_FLAGS[flag.name]}"
    yield from _gas_lost(catalog)
    if not known.any():
        return
    mass = catalog["mass_hi"][known]
    if np.isfinite(mass.value).any():
        yield f"Cold H I: {np.nansum(mass.value):.3g} solar masses in all"
    order = np.argsort(-np.nan_to_num(catalog["column_density_peak"].value), kind="stable")
    shown = {
        "t_spin": ("T_S (K)", ".1f"),
        "t_spin_error": ("+-", ".1f"),
        "tau_peak": ("tau", ".2f"),
        "column_density_peak": ("N (cm^-2)", ".2e"),
        "column_density_peak_error": ("+-", ".1e"),
        "volume_density": ("n (cm^-3)", ".3g"),
        "mass_hi": ("M (M_sun)", ".3g"),
    }
    yield from _rows(catalog[order[:N_GAS]], shown, len(catalog))


def _gas_sources(about):
    """What was taken from the catalogue, and what was not known of the continuum."""
    for name in ("distance", "distance_error", "path_length"):
        text = str(about.get(name))
        if "catalogue" in text or "at the distance" in text:
            yield f"  {name.replace('_', ' ')}: {text}"
    if about["t_continuum"] == "0 K":
        yield "  no continuum: none is left out as too bright; give --continuum"
    else:
        yield f"  sight lines with a continuum above {about['max_continuum']} are left out"


def _gas_lost(catalog):
    """Voxels and sight lines that do not count, or count for little."""
    n_voxels, n_bright = int(catalog["n_voxels"].sum()), int(catalog["n_bright"].sum())
    for n_lost, why in (
        (int(catalog["n_opaque"].sum()), "deeper than gas of this T_S can make them"),
        (n_bright, "too much continuum behind them"),
        (int(catalog["n_left_out"].sum()) - n_bright, "no absorption, or what lies behind not known"),
    ):
        if n_lost:
            yield f"  {n_lost} of {n_voxels} voxels left out: {why}; columns and masses are lower limits"
    n_noisy = int(catalog["n_noisy"].sum())
    if n_noisy:
        yield f"  {n_noisy} sight lines absorb less than 3 of their uncertainties: their T_S are mostly noise"


def noise_line(result, path, target):
    """The noise of one cube."""
    import numpy as np

    low, median, high = np.nanpercentile(result.sigma.value, [5, 50, 95])
    kind = "map" if result.sigma.ndim == 2 else "cube"
    rounds = "".join(f"; {text}" for text in result.meta.get("rounds", ()))
    return f"{path}: {median:.3g} K ({low:.3g} to {high:.3g} K in 90 % of the {kind}){rounds}; wrote {target}"


def strategy_lines():
    """Installed strategies with what they are made after; or what one lacks, in its place."""
    from hisatools.errors import HISAError
    from hisatools.strategies import GROUPS, available, load

    rows = []
    for group in GROUPS:
        for name in available(group):
            try:
                about = getattr(load(group, name), "citation", "")
            except HISAError as error:
                about = str(error)
            rows.append((group, name, " ".join(about.split())))
    widths = [max(len(cell) for cell in column) for column in list(zip(*rows, strict=True))[:2]]
    for row in [("kind", "name", "after"), *rows]:
        yield "  ".join([f"{cell:{width}}" for cell, width in zip(row, widths, strict=False)] + [row[2]])
