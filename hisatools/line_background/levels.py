"""Mean spectra over sight lines that are not all known in all channels.

The plain mean of what is known in each channel jumps where bright sight lines are blank in some channels
only. So each sight line has a level here, the mean spectrum times that level stands for what is not known,
and all are fitted together (the margins of a two-way table: Deming & Stephan 1940, Annals of Mathematical
Statistics 11, 427). About 0 K, where nothing can be scaled, levels are added instead.
"""

from dataclasses import dataclass

import numpy as np
from scipy.sparse.csgraph import connected_components

# Newton steps; the levels of real spectra need about five.
MOST_ROUNDS = 25
TOLERANCE = 1e-9
# Largest change of the logarithm of a mean in one step.
LARGEST_STEP = 1.0
SIGHT_LINES_PER_BLOCK = 1 << 16


@dataclass(frozen=True, eq=False)
class MeanSpectrum:
    """Means of channels over the same sight lines.

    Parameters
    ----------
    kelvin : `~numpy.ndarray`, shape (n,)
        NaN where a channel is blank.
    covariance : `~numpy.ndarray`, shape (n, n)
        K^2; of the error that comes from sight lines not known in all channels, 0 where all are.
    """

    kelvin: np.ndarray
    covariance: np.ndarray


def level_means(kelvin, counted):
    """Mean of each channel over all sight lines that are known in some counted channel.

    Parameters
    ----------
    kelvin : `~numpy.ndarray`, shape (n, n_sight)
        NaN is blank.
    counted : `~numpy.ndarray` of bool, shape (n,)
        Channels that tell the levels of the sight lines; the others only follow.

    Returns
    -------
    means : `~numpy.ndarray`, shape (n,)
        K; NaN where a channel is blank, or knows no sight line that has a level. If every sight line is
        known in all channels, these are the plain means.
    """
    known = np.isfinite(kelvin)
    total = np.where(known, kelvin, 0).sum(axis=1, dtype=float)
    number = known.sum(axis=1)
    plain = np.where(number > 0, total / np.maximum(number, 1), np.nan)
    counted = counted & (number > 0)
    told = known[counted].any(axis=0)
    if not told.any() or np.all(number[number > 0] == np.count_nonzero(told)):
        return plain
    return _fitted(kelvin, counted, plain)


def level_spectrum(kelvin, counted):
    """`level_means` with the error that unknown sight lines add, as `MeanSpectrum`.

    Sight lines that are unknown in one channel are looked up in the others: the mean of their residuals there
    against that of the known ones, which holds noise and structure alike, is what the channel's mean may be
    off by. Channels that miss the same sight lines are taken to be off together.
    """
    counted = counted & np.isfinite(kelvin).any(axis=1)
    used = np.flatnonzero(counted)
    means = level_means(kelvin, counted)
    covariance = np.zeros((len(kelvin), len(kelvin)))
    known = np.isfinite(kelvin[used])
    told = known.any(axis=0)
    if not known[:, told].all():
        part = kelvin[used][:, told]
        covariance[np.ix_(used, used)] = _covariance(part, means[used])
    return MeanSpectrum(means, covariance)


def _fitted(kelvin, counted, plain):
    """Means with a level for each sight line, which multiplies them if all are above 0."""
    blocks = [slice(i, i + SIGHT_LINES_PER_BLOCK) for i in range(0, kelvin.shape[1], SIGHT_LINES_PER_BLOCK)]
    tables = [_table(kelvin[:, block]) for block in blocks]
    scales = _scales([(known[counted], values[counted]) for known, values in tables])
    means = plain[counted]
    for _ in range(MOST_ROUNDS):
        lacking, matrix = _normal_equations(tables, counted, means, scales)
        step = np.linalg.pinv(matrix, rcond=1e-10, hermitian=True) @ lacking
        if not scales:
            means = means + step
            break
        means = means * np.exp(np.clip(step, -LARGEST_STEP, LARGEST_STEP))
        if np.abs(step).max() < TOLERANCE:
            break
    return _from_levels(tables, counted, means, scales, connected_components(matrix != 0)[1])


def _table(kelvin):
    """What is known, as 0 and 1, and its values."""
    known = np.isfinite(kelvin)
    return known.astype(float), np.where(known, kelvin, 0).astype(float)


def _scales(tables):
    """Whether all means, and all sight lines, are above 0."""
    by_channel = sum(values.sum(axis=1) for _, values in tables)
    return bool(
        np.all(by_channel > 0)
        and all(np.all(values.sum(axis=0)[known.any(axis=0)] > 0) for known, values in tables)
    )


def _levels(known, values, means, scales):
    """Level of each sight line, NaN without one; 1 or 0 is that of the mean."""
    if scales:
        share = means @ known
        return np.where(share > 0, values.sum(axis=0) / np.where(share > 0, share, 1), np.nan)
    number = known.sum(axis=0)
    rest = values.sum(axis=0) - means @ known
    return np.where(number > 0, rest / np.maximum(number, 1), np.nan)


def _normal_equations(tables, counted, means, scales):
    """What the means of the counted channels lack, with the sight lines' levels worked out, and its slope."""
    n = len(means)
    lacking, matrix = np.zeros(n), np.zeros((n, n))
    for known, values in tables:
        known, values = known[counted], values[counted]
        level = np.nan_to_num(_levels(known, values, means, scales))
        model = known * _model(means, level, scales)
        slope = model if scales else known
        lacking += (values - model).sum(axis=1)
        per_sight_line = slope.sum(axis=0)
        matrix -= (slope / np.where(per_sight_line > 0, per_sight_line, 1)) @ slope.T
        matrix[np.diag_indices(n)] += slope.sum(axis=1)
    return lacking, matrix


def _model(means, level, scales):
    return means[:, None] * level if scales else means[:, None] + level


def _from_levels(tables, counted, means, scales, group):
    """Means of all channels over the sight lines that have a level.

    Channels that no sight line joins to others cannot be compared with them: in each ``group`` of
    channels the mean level is that of the mean.
    """
    levels = [_levels(known[counted], values[counted], means, scales) for known, values in tables]
    # The group of a sight line is that of the first counted channel that knows it.
    groups = [group[np.argmax(known[counted], axis=0)] for known, _ in tables]
    all_levels, all_groups = np.concatenate(levels), np.concatenate(groups)
    some = np.isfinite(all_levels)
    typical = _mean(np.bincount(all_groups[some], all_levels[some]), np.bincount(all_groups[some]))
    total, from_levels, number = np.zeros((3, len(counted)))
    for (known, values), level, place in zip(tables, levels, groups, strict=True):
        has_level = np.isfinite(level)
        level = np.where(has_level, level / typical[place] if scales else level - typical[place], 0)
        total += values @ has_level
        from_levels += known @ level
        number += known @ has_level
    found = _mean(total, from_levels) if scales else _mean(total - from_levels, number)
    return np.where(number > 0, found, np.nan)


def _covariance(kelvin, means):
    """Error covariance of means for want of sight lines; all channels of ``kelvin`` are counted."""
    known, values = _table(kelvin)
    scales = _scales([(known, values)])
    model = _model(means, _levels(known, values, means, scales), scales)
    rest, missing = known * (values - model), 1 - known
    # Of each channel (row) between the sight lines that another (column) misses and knows.
    apart = _mean(rest @ missing.T, known @ missing.T) - _mean(rest @ known.T, known @ known.T)
    some = known @ missing.T > 0
    squared = _mean(np.sum(apart**2 * some, axis=0), some.sum(axis=0))
    # Residuals about levels fitted to m channels are too small by 1 - 1/m, and the levels err by 1/m.
    m = _mean(missing @ known.sum(axis=0), missing.sum(axis=1))
    inflated = squared * (m + 1) / np.maximum(m - 1, 1)
    # One channel cannot have residuals: there the error is as large as the correction.
    correction = _mean(missing @ model.T, missing.sum(axis=1)[:, None]).diagonal()
    correction = correction - _mean(known @ model.T, known.sum(axis=1)[:, None]).diagonal()
    error = missing.mean(axis=1) * np.sqrt(np.where(m >= 2, inflated, correction**2))
    pattern = known - known.mean(axis=1, keepdims=True)
    length = np.sqrt(np.sum(pattern**2, axis=1))
    alike = _mean(pattern @ pattern.T, np.outer(length, length))
    return alike * np.outer(error, error)


def _mean(total, number):
    """Quotient; 0 where there is nothing."""
    return np.where(number > 0, total / np.where(number > 0, number, 1), 0)
