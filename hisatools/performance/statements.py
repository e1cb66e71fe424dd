"""What the paper says of its own search in numbers (section 3.4), as data, to be put beside one's own."""

from dataclasses import dataclass

import astropy.units as u
import numpy as np
from astropy.table import QTable

from hisatools.performance.estimates import MEASURES
from hisatools.performance.observables import OBSERVABLES, axis_number
from hisatools.performance.regions import RegionValue, bins_inside
from hisatools.performance.smoothing import binomial_uncertainty

K, ARCMIN, KMS = u.K, u.arcmin, u.km / u.s
SYMBOLS = {"delta_t": "dT", "t_unabsorbed": "T_U", "angular_width": "width", "velocity_width": "linewidth"}
# For sums that should cancel: standard deviations that they may differ from 0.
MAX_SIGMA = 2.0
# Independent ones, for a verdict.
MIN_SAMPLES = 2
COLUMNS = {
    "section": "Of the paper",
    "statement": "In short",
    "region": "Part of the parameter space, on edges of bins",
    "measure": "What is measured there, from the unsmoothed counts except for throughput_max",
    "value": "In the unit of the column unit; NaN where there is no voxel",
    "unit": "Empty for shares",
    "uncertainty": "1 sigma; NaN where there is none",
    "n_voxels": "Voxels behind the value",
    "wanted": "What the paper's statement asks for",
    "met": "yes, no, no voxels, or too few of them for a verdict",
}


@dataclass(frozen=True)
class Statement:
    """One statement of the paper that can be measured.

    Parameters
    ----------
    section : str
        Of the paper.
    text : str
        The statement in short.
    measure : str
        A measure of `~hisatools.PerformanceModel.region`, or one that only statements have,
        such as ``accepted_share``.
    ranges : dict
        Part of the parameter space, as for `~hisatools.PerformanceModel.region`.
    wanted : (low, high) or None
        Where the value has to lie, in the measure's own unit; None as a limit is no limit. Limits are
        included but for 0, which has a meaning of its own: (0, high) and (0, None) ask for more than
        0, (None, 0) for less, and (0, 0) for nothing but 0 (of a ``drift_balance``: 0 within 2 sigma).
        None wants nothing.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools.performance.statements import Statement
    >>> deep = {"delta_t": (None, -20 * u.K)}
    >>> Statement("3.4.1", "deep absorption is found", "throughput", deep, (0.5, None)).measure
    'throughput'
    """

    section: str
    text: str
    measure: str
    ranges: dict
    wanted: tuple | None

    def value_in(self, performance):
        """What a performance model says.

        Parameters
        ----------
        performance : `~hisatools.PerformanceModel`

        Returns
        -------
        `~hisatools.performance.RegionValue`
        """
        if self.measure in MEASURES:
            return performance.region(self.measure, **self.ranges)
        return SPECIAL[self.measure](performance, self.ranges)

    def verdict(self, found, correlated_voxels=1.0):
        """Whether a value is what is wanted.

        Parameters
        ----------
        found : `~hisatools.performance.RegionValue`
        correlated_voxels : float
            Voxels that count as one independent sample.

        Returns
        -------
        str
            "yes", "no", "no voxels", "too few" (less than two independent samples), or "" where nothing
            is wanted.
        """
        value, spread = _number(found.value), _number(found.uncertainty)
        if self.wanted is None:
            return ""
        if not np.isfinite(value):
            return "no voxels"
        if found.n_voxels < MIN_SAMPLES * correlated_voxels or not np.isfinite(spread):
            return "too few"
        if self.wanted == (0, 0):
            return _yes(abs(value) <= (MAX_SIGMA * spread if self.measure == "drift_balance" else 0))
        low, high = self.wanted
        above = low is None or (value > 0 if low == 0 else value >= low)
        below = high is None or (value < 0 if high == 0 else value <= high)
        return _yes(above and below)

    def wanted_text(self, unit=""):
        """What is wanted, in words.

        Parameters
        ----------
        unit : str
            Of the limits.

        Returns
        -------
        str
            For example ">= 0.8"; empty where nothing is wanted.
        """
        if self.wanted is None:
            return ""
        if self.wanted == (0, 0):
            return f"0 within {MAX_SIGMA:g} sigma" if self.measure == "drift_balance" else "0"
        low, high = self.wanted
        if high is None:
            text = f"{'>' if low == 0 else '>='} {low:g}"
        elif low is None:
            text = f"{'<' if high == 0 else '<='} {high:g}"
        else:
            text = f"{low:g} to {high:g}"
        return f"{text} {unit}".strip()


# --- the statements ---------------------------------------------------------------------------

# Limits lie on edges of bins, but for -2 K, which becomes -2.5 K.
DEEP, BRIGHT = {"delta_t": (None, -20 * K)}, {"t_unabsorbed": (80 * K, None)}
WIDE, BROAD = {"angular_width": (3 * ARCMIN, None)}, {"velocity_width": (3 * KMS, None)}
EASY = {**DEEP, **BRIGHT, "angular_width": (5 * ARCMIN, None), "velocity_width": (None, 3.5 * KMS)}
NARROW = {**EASY, "delta_t": (None, -10 * K), "velocity_width": (None, 1 * KMS)}
LINE_WINGS = {"delta_t": (-2 * K, None)}
FAINT_SKY, FAINTER_SKY = {"t_unabsorbed": (None, 65 * K)}, {"t_unabsorbed": (None, 60 * K)}
CUT_SKY = {"t_unabsorbed": (None, 70 * K)}
OVER_BEAM, UNDER_BEAM = {"angular_width": (1 * ARCMIN, None)}, {"angular_width": (None, 1 * ARCMIN)}
SMALL, TOO_BROAD = {"angular_width": (None, 2 * ARCMIN)}, {"velocity_width": (8 * KMS, None)}
LINES, UNRESOLVED = {"velocity_width": (1 * KMS, None)}, {**SMALL, "velocity_width": (None, 1 * KMS)}
DIM_SKY = {"t_unabsorbed": (None, 80 * K)}
NOT_SMALL = {"angular_width": (2 * ARCMIN, None), "velocity_width": (None, 1 * KMS)}
VERY_DEEP, SMALL_BUT_DEEP = {"delta_t": (None, -40 * K)}, {**DEEP, "angular_width": (None, 1.5 * ARCMIN)}
# The noise of 6 K lies in the bin between these two.
ABOVE_NOISE = {"delta_t": (None, -7.5 * K), **BRIGHT, "angular_width": (2 * ARCMIN, None)}
BELOW_NOISE = {"delta_t": (-5 * K, None)}
NOISE_LIKE = {
    "delta_t": (-20 * K, None),
    "angular_width": (None, 3 * ARCMIN),
    "velocity_width": (None, 3 * KMS),
}

STATEMENTS = (
    Statement("2.4.3", "most is found in the first pass", "first_pass_share", {}, (0.7, 0.9)),
    Statement("3.4.1", "input: nothing deep is small", "input_share", SMALL_BUT_DEEP, (0, 0)),
    Statement("3.4.1", "accepted: dT peaks near -10 K", "accepted_delta_t_peak", {}, (-12.5, -7.5)),
    Statement("3.4.1", "accepted: about 2 % deeper than 40 K", "accepted_share", VERY_DEEP, (None, 0.04)),
    Statement("3.4.1", "accepted: T_U ends at 70 K", "accepted_share", CUT_SKY, (0, 0)),
    Statement("3.4.3", "deep, wide, narrow-lined, bright sky: found", "throughput", EASY, (0.8, None)),
    Statement("3.4.3", "at its best nearly all is found", "throughput_max", {}, (0.95, None)),
    Statement("3.4.3", "in the noise: lost", "throughput", LINE_WINGS, (None, 0.05)),
    Statement("3.4.3", "faint sky: lost", "throughput", FAINTER_SKY, (None, 0.05)),
    Statement("3.4.3", "below the beam: lost", "throughput", UNDER_BEAM, (None, 0.05)),
    Statement("3.4.3", "very broad lines: lost", "throughput", TOO_BROAD, (None, 0.05)),
    Statement("3.4.3", "lines of one channel: found", "throughput", NARROW, (0.8, None)),
    Statement("3.4.3", "deep and wide: real", "true_fraction", {**DEEP, **WIDE}, (0.97, None)),
    Statement("3.4.3", "deep: real", "true_fraction", DEEP, (0.97, None)),
    Statement("3.4.3", "wide: real", "true_fraction", WIDE, (0.97, None)),
    Statement("3.4.3", "broad lines: real", "true_fraction", BROAD, (0.97, None)),
    Statement("3.4.3", "none of these: a fifth real at worst", "true_fraction", NOISE_LIKE, (0.2, None)),
    Statement("3.4.4", "easily found: |dT| a few K too small", "drift_delta_t", EASY, (0, 5)),
    Statement("3.4.4", "above the noise: |dT| too small", "drift_delta_t", ABOVE_NOISE, (0, None)),
    Statement("3.4.4", "below the noise: |dT| too large", "drift_delta_t", BELOW_NOISE, (None, 0)),
    Statement("3.4.4", "sky below 80 K: |dT| too large", "drift_delta_t", DIM_SKY, (None, 0)),
    Statement("3.4.4", "faint sky: |dT| too large", "drift_delta_t", FAINT_SKY, (None, 0)),
    Statement("3.4.4", "small: |dT| too large", "drift_delta_t", SMALL, (None, 0)),
    Statement("3.4.4", "easily found: T_U drifts as -dT", "drift_balance", EASY, (0, 0)),
    Statement("3.4.4", "everywhere: T_U drifts as -dT", "drift_balance", {}, (0, 0)),
    Statement("3.4.4", "wider than the beam: too small", "drift_angular_width", OVER_BEAM, (None, 0)),
    Statement("3.4.4", "below the beam: too wide", "drift_angular_width", UNDER_BEAM, (0, None)),
    Statement("3.4.4", "lines: too narrow", "drift_velocity_width", LINES, (None, 0)),
    Statement("3.4.4", "narrow lines, not small: too narrow", "drift_velocity_width", NOT_SMALL, (None, 0)),
    Statement("3.4.4", "narrow lines, small: too broad", "drift_velocity_width", UNRESOLVED, (0, None)),
)


def region_table(performance):
    """The numbers of a performance model beside the paper's statements of section 3.4.

    Parameters
    ----------
    performance : `~hisatools.PerformanceModel`

    Returns
    -------
    `~astropy.table.QTable`
        One row for each statement, with the columns ``section``, ``statement``, ``region``,
        ``measure``, ``value``, ``unit``, ``uncertainty``, ``n_voxels``, ``wanted`` and ``met``.
        Regions reach to edges of bins: a limit within a bin is moved outwards.

    Examples
    --------
    >>> from hisatools.performance import Histograms, PerformanceModel
    >>> from hisatools.performance.statements import region_table
    >>> table = region_table(PerformanceModel(Histograms.empty()))
    >>> print(*table["region", "measure", "wanted", "met"][5])
    dT < -20 K, T_U >= 80 K, width >= 5 arcmin, linewidth < 3.5 km / s throughput >= 0.8 no voxels
    """
    rows = [_row(statement, performance) for statement in STATEMENTS]
    table = QTable(rows=rows, names=list(COLUMNS))
    for name, description in COLUMNS.items():
        table[name].info.description = description
    return table


def _row(statement, performance):
    found = statement.value_in(performance)
    unit = getattr(found.value, "unit", u.dimensionless_unscaled).to_string()
    return (
        statement.section,
        statement.text,
        _bounds_text(found.bounds),
        statement.measure,
        _number(found.value),
        unit,
        _number(found.uncertainty),
        found.n_voxels,
        statement.wanted_text(unit),
        statement.verdict(found, performance.correlated_voxels),
    )


def _bounds_text(bounds):
    """Limits as words: bins hold their lower edge and not their upper one."""
    parts = []
    for observable in OBSERVABLES:
        low, high = bounds.get(observable.name, (None, None))
        symbol = SYMBOLS[observable.name]
        if low is not None and high is not None:
            parts.append(f"{low.value:g} <= {symbol} < {high:g}")
        elif low is not None:
            parts.append(f"{symbol} >= {low:g}")
        elif high is not None:
            parts.append(f"{symbol} < {high:g}")
    return ", ".join(parts) or "everywhere"


def _number(value):
    return float(getattr(value, "value", value))


def _yes(fulfilled):
    return "yes" if fulfilled else "no"


# --- measures that are no function of a region alone ------------------------------------------


def _accepted_share(performance, ranges):
    """Share of all accepted voxels that lie in the region."""
    return _share(performance, "accepted_share", "n_out_all", ranges)


def _input_share(performance, ranges):
    """Share of all input voxels that lie in the region."""
    return _share(performance, "input_share", "n_in_all", ranges)


def _share(performance, measure, column, ranges):
    inside, bounds = bins_inside(performance.histograms.bins, ranges)
    counts = performance.histograms.column(column)
    return _binomial(performance, measure, int(counts[inside].sum()), int(counts.sum()), bounds)


def _binomial(performance, measure, some, whole, bounds):
    value = some / whole if whole else np.nan
    spread = binomial_uncertainty(value, np.float64(whole / performance.correlated_voxels))
    return RegionValue(measure, value, float(spread), whole, bounds)


def _first_pass_share(performance, ranges):
    """Share of the accepted voxels that the first pass accepted; NaN where the passes are not known."""
    models = performance.models
    known = "first_found" in models.colnames and np.any(models["first_found"])
    counts = (int(models["first_found"][:, 0].sum()), int(models["n_out_all"].sum())) if known else (0, 0)
    return _binomial(performance, "first_pass_share", *counts, {})


def _peak_accepted_delta_t(performance, ranges):
    """Where most voxels are accepted along dT: centre of the bin, plus or minus half of it."""
    axis = axis_number("delta_t")
    bins, counts = performance.histograms.bins[:, axis], performance.histograms.column("n_out_all")
    if not counts.any():
        return RegionValue("accepted_delta_t_peak", np.nan * K, np.nan * K, 0, {})
    number = np.bincount(bins - bins.min(), weights=counts)
    step = OBSERVABLES[axis].step * K
    centre = (bins.min() + int(number.argmax()) + 0.5) * step
    return RegionValue("accepted_delta_t_peak", centre, step / 2, int(number.max()), {})


def _largest_throughput(performance, ranges):
    """The smoothed throughput where it is highest for certain: value less uncertainty is largest."""
    throughput = performance.throughput
    certain = throughput.value - throughput.uncertainty
    if not np.isfinite(certain).any():
        return RegionValue("throughput_max", np.nan, np.nan, 0, {})
    place = np.unravel_index(np.nanargmax(certain), certain.shape)
    value, spread, counts = (
        float(part[place]) for part in (throughput.value, throughput.uncertainty, throughput.counts)
    )
    bounds = {}
    for axis, (observable, number) in enumerate(zip(OBSERVABLES, place, strict=True)):
        low = (int(throughput.origin[axis]) + int(number)) * observable.step
        bounds[observable.name] = (low * observable.unit, (low + observable.step) * observable.unit)
    return RegionValue("throughput_max", value, spread, round(counts * performance.correlated_voxels), bounds)


def _drift_balance(performance, ranges):
    """Drift of dT plus drift of T_U: the mean noise of the voxels that were found."""
    parts = [performance.region(f"drift_{name}", **ranges) for name in ("delta_t", "t_unabsorbed")]
    spread = np.hypot(*(part.uncertainty for part in parts))
    total = parts[0].value + parts[1].value
    return RegionValue("drift_balance", total, spread, parts[0].n_voxels, parts[0].bounds)


SPECIAL = {
    "accepted_share": _accepted_share,
    "accepted_delta_t_peak": _peak_accepted_delta_t,
    "drift_balance": _drift_balance,
    "first_pass_share": _first_pass_share,
    "input_share": _input_share,
    "throughput_max": _largest_throughput,
}
