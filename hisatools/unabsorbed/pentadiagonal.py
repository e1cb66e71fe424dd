"""Asymmetric least squares on many spectra at once, in machine code.

The smoothest curve through a spectrum solves (W + lam D'D) z = W y, where D takes second differences
and W holds the weights: a symmetric matrix with five diagonals. It is factored as L P L' from one end
of the band to the other, for `LANES` spectra side by side: all that belongs to a channel lies together
in one array, so that the compiler sees that the spectra do not overlap and turns the innermost loops
into vector instructions. A spectrum that is done makes place for the next, so none waits for another;
what happens in one lane never touches the others.
"""

import numpy as np
from numba import njit

LANES = 16
# What is kept of each channel, as rows of LANES numbers: weight, right side, 1 / P, first diagonal of L
# before and after division by P, solution of the lower triangle and of the whole, spectrum, and its
# weights above and below the baseline.
N_ROWS = 10
WEIGHT, RIGHT, INVERSE, RAW, SLOPE, LOWER, SOLUTION, SPECTRUM, ABOVE, BELOW = (
    np.uint64(row * LANES) for row in range(N_ROWS)
)
STRIDE, N_LANES = np.uint64(N_ROWS * LANES), np.uint64(LANES)
# Rows of zeros at either end of the band spare the loops a condition.
PAD = 2
BLANK, NOISE, SIGNAL = 0, 1, 2
# The first baseline is not compared, and the second is not with the first.
FIRST_COMPARED = 3


def machine(function):
    """Compile; without a check for division by 0, which would keep loops from being vectors."""
    return njit(cache=True, nogil=True, error_model="numpy")(function)


@machine
def new_lanes(n_channels):
    """What `solve` works in: N_ROWS x LANES numbers for each channel, flat; no lane in use."""
    lanes = np.zeros((n_channels + 2 * PAD) * N_ROWS * LANES)
    for k in range(n_channels):
        here = np.uint64(k + PAD) * STRIDE
        lanes[here + WEIGHT : here + WEIGHT + N_LANES] = 1
        lanes[here + ABOVE : here + ABOVE + N_LANES] = 1
    return lanes


@machine
def penalty_bands(n_channels):
    """Main, first and second diagonal of D'D after `PAD` zeros, shape (3, n_v + 2)."""
    bands = np.zeros((3, n_channels + PAD))
    for k in range(PAD, n_channels):
        bands[0, k] += 1
        bands[0, k + 1] += 4
        bands[0, k + 2] += 1
        bands[1, k] -= 2
        bands[1, k + 1] -= 2
        bands[2, k] += 1
    return bands


@machine
def solve(lanes, lam, bands):
    """Solve (W + lam D'D) z = right side in each lane; ``lam`` is one number a lane."""
    for k in range(PAD, bands.shape[1]):
        main, first, last_second, older_second = bands[0, k], bands[1, k], bands[2, k - 1], bands[2, k - 2]
        here = np.uint64(k) * STRIDE
        last = here - STRIDE
        older = last - STRIDE
        for j in range(N_LANES):
            coupling = lam[j] * older_second
            second, slope = coupling * lanes[older + INVERSE + j], lanes[last + SLOPE + j]
            pivot = lanes[here + WEIGHT + j] + lam[j] * main
            pivot = pivot - slope * lanes[last + RAW + j] - coupling * second
            inverse, raw = 1 / pivot, lam[j] * (first - last_second * slope)
            lanes[here + LOWER + j] = (
                lanes[here + RIGHT + j] - slope * lanes[last + LOWER + j] - second * lanes[older + LOWER + j]
            )
            lanes[here + INVERSE + j], lanes[here + RAW + j], lanes[here + SLOPE + j] = (
                inverse,
                raw,
                raw * inverse,
            )
    for k in range(bands.shape[1] - 1, PAD - 1, -1):
        second = bands[2, k]
        here = np.uint64(k) * STRIDE
        after = here + STRIDE
        last = after + STRIDE
        for j in range(N_LANES):
            rest = lanes[here + LOWER + j] - lam[j] * second * lanes[last + SOLUTION + j]
            lanes[here + SOLUTION + j] = (
                rest * lanes[here + INVERSE + j] - lanes[here + SLOPE + j] * lanes[after + SOLUTION + j]
            )


@machine
def weigh(lanes, n_channels, evenly):
    """Weights and right side of all lanes: by the side of the last solution, or all 1 at the start."""
    for k in range(PAD, n_channels + PAD):
        here = np.uint64(k) * STRIDE
        for j in range(N_LANES):
            spectrum, above = lanes[here + SPECTRUM + j], lanes[here + ABOVE + j]
            weight = above if spectrum > lanes[here + SOLUTION + j] else lanes[here + BELOW + j]
            if evenly:
                weight = 1.0 if above > 0 else 0.0
            lanes[here + WEIGHT + j] = weight
            lanes[here + RIGHT + j] = weight * spectrum


@machine
def smooth_asymmetrically(lanes, lam, bands, n_minor):
    """One stage: solve with even weights, then again with those that follow from the solution."""
    for loop in range(n_minor):
        weigh(lanes, bands.shape[1] - PAD, loop == 0)
        solve(lanes, lam, bands)


@machine
def asymmetric_baselines(spectra, kinds, lam, asymmetry, threshold, n_minor, n_major, n_stable, stages):
    """Two-phase baselines of spectra.

    Parameters
    ----------
    spectra : array, shape (n_v, n), K
        Finite; what stands in blank channels does not matter.
    kinds : array of uint8, shape (n_v, n)
        BLANK channels have no weight, NOISE the same on both sides, SIGNAL that of ``asymmetry``.
    lam : pair of float
        Of the first baseline, and of all others.
    asymmetry : float
        Weight of channels above the baseline; one less it of those below.
    threshold : array, shape (n,), K
        A baseline that moves less is stable.
    n_minor, n_major, n_stable : int
        Solves in a stage, the largest number of major loops less one, and after how many stable loops
        the next is the last.
    stages : array of float32, shape (n, n_stages, n_v)
        Written: the weights of each stage's last solve. Not written if it is empty.

    Returns
    -------
    first, last : arrays, shape (n_v, n), K
        Baselines; the spectrum where fewer than two channels have weight.
    n_stages : array of int64, shape (n,)
        0 where there is no baseline.
    is_stable : array of bool, shape (n,)
    """
    n_channels, n = spectra.shape
    first, last = spectra.copy(), spectra.copy()
    n_stages, stable = np.zeros(n, np.int64), np.zeros(n, np.int64)
    bands, lanes = penalty_bands(n_channels), new_lanes(n_channels)
    lane_lam, member = np.full(LANES, lam[0]), np.full(LANES, -1)
    following = 0
    while True:
        for j in range(LANES):
            while member[j] < 0 and following < n:
                if _load(lanes, j, spectra[:, following], kinds[:, following], asymmetry):
                    member[j], lane_lam[j] = following, lam[0]
                following += 1
        if member.max() < 0:
            return first, last, n_stages, stable > n_stable
        smooth_asymmetrically(lanes, lane_lam, bands, n_minor)
        for j in range(LANES):
            i = member[j]
            if i < 0:
                continue
            if stages.size > 0:
                _unload(lanes, j, WEIGHT, stages[i, n_stages[i]])
            n_stages[i] += 1
            moved = _advance(lanes, j, n_channels)
            if n_stages[i] == 1:
                _unload(lanes, j, SOLUTION, first[:, i])
                lane_lam[j] = lam[1]
            elif n_stages[i] >= FIRST_COMPARED:
                stable[i] = stable[i] + 1 if moved < threshold[i] else 0
            if stable[i] > n_stable or n_stages[i] >= n_major + FIRST_COMPARED:
                _unload(lanes, j, SOLUTION, last[:, i])
                member[j] = -1


@machine
def _load(lanes, j, spectrum, kind, asymmetry):
    """Put a spectrum into a lane; False if it has too few channels for a baseline."""
    if spectrum.size <= PAD or np.sum(kind != BLANK) < PAD:
        return False
    for k in range(spectrum.size):
        place = np.uint64(k + PAD) * STRIDE + np.uint64(j)
        lanes[place + SPECTRUM] = spectrum[k]
        lanes[place + SOLUTION] = 0
        if kind[k] == BLANK:
            lanes[place + ABOVE], lanes[place + BELOW] = 0, 0
        elif kind[k] == NOISE:
            lanes[place + ABOVE], lanes[place + BELOW] = 0.5, 0.5
        else:
            lanes[place + ABOVE], lanes[place + BELOW] = asymmetry, 1 - asymmetry
    return True


@machine
def _unload(lanes, j, row, values):
    for k in range(values.size):
        values[k] = lanes[np.uint64(k + PAD) * STRIDE + np.uint64(j) + row]


@machine
def _advance(lanes, j, n_channels):
    """Make the baseline the next stage's spectrum; returns by how much it moved where it has weight."""
    moved = 0.0
    for k in range(n_channels):
        place = np.uint64(k + PAD) * STRIDE + np.uint64(j)
        if lanes[place + ABOVE] > 0:
            moved = max(moved, abs(lanes[place + SOLUTION] - lanes[place + SPECTRUM]))
        lanes[place + SPECTRUM] = lanes[place + SOLUTION]
    return moved


@machine
def baseline_weights(stages, n_stages, lam, spectrum_of, of_last, of_first):
    """How much each channel of a spectrum counts in numbers that are taken from its baselines.

    With the weights as they were in the end, each stage is a matrix; a number that is a sum over the last
    and the first baseline goes back through their transposes to a sum over the spectrum.

    Parameters
    ----------
    stages, n_stages, lam
        As in `asymmetric_baselines`.
    spectrum_of : array of int64, shape (m,)
        The spectrum that each number belongs to.
    of_last, of_first : arrays, shape (n_v, m)
        The sums over the baselines.

    Returns
    -------
    array, shape (m, n_v)
    """
    n_channels, m = of_last.shape
    weights = np.zeros((m, n_channels))
    bands, lanes = penalty_bands(n_channels), new_lanes(n_channels)
    lane_lam = np.full(LANES, lam[1])
    for start in range(0, m, LANES):
        some = spectrum_of[start : start + LANES]
        for stage in range(n_stages[some].max() - 1, -1, -1):
            lane_lam[:] = lam[min(stage, 1)]
            for j in range(some.size):
                i, last = some[j], n_stages[some[j]] - 1
                if stage <= last:
                    sums = of_last[:, start + j], of_first[:, start + j]
                    _set_sum(lanes, j, stages[i, stage], sums, stage == last, stage == 0)
            solve(lanes, lane_lam, bands)
            for k in range(PAD, n_channels + PAD):
                here = np.uint64(k) * STRIDE
                for j in range(N_LANES):
                    lanes[here + SPECTRUM + j] = lanes[here + WEIGHT + j] * lanes[here + SOLUTION + j]
        for j in range(some.size):
            _unload(lanes, j, SPECTRUM, weights[start + j])
    return weights


@machine
def _set_sum(lanes, j, weights, sums, begins, ends):
    """Right side of a lane: what is left of the sum, and what is added at either end."""
    of_last, of_first = sums
    for k in range(weights.size):
        place = np.uint64(k + PAD) * STRIDE + np.uint64(j)
        total = of_last[k] if begins else lanes[place + SPECTRUM]
        lanes[place + RIGHT] = total + of_first[k] if ends else total
        lanes[place + WEIGHT] = weights[k]
