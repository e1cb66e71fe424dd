"""From how rare features are to how reliable: counts of both populations along their rarity."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.optimize import isotonic_regression
from scipy.special import xlogy

# The rarest share of the mirrored features, and how many at least, tell how many still rarer ones to expect.
TAIL_SHARE, LEAST_TAIL = 0.1, 10
# A heavier tail has no mean.
HEAVIEST = 0.9
# Of the tail's scale, in units of rarity: mirrored features that are all alike say nothing of it.
LEAST_SCALE = 0.1
# Reliability rises from one step to the next only where it is that certain.
STEP_SIGMA = 3.0
# A share or a ratio that stands for nothing at all.
NOTHING = 1e-12


@dataclass(frozen=True)
class Tail:
    """How many false features are rarer than the most: a generalised Pareto distribution.

    It is the limit of all tails (Pickands 1975, Annals of Statistics 3, 119). So the few rarest features that
    happen to be found, or not, do not decide.

    Parameters
    ----------
    start : float
        Rarity from which on it holds.
    n : int
        Number of false features beyond.
    scale, shape : float
        In units of rarity; shape 0 is an exponential.

    Examples
    --------
    >>> from hisatools.significance.reliability_steps import Tail
    >>> tail = Tail(start=3.0, n=40, scale=1.0, shape=0.0)
    >>> tail.n, tail.scale
    (40, 1.0)
    """

    start: float
    n: int
    scale: float
    shape: float

    @classmethod
    def fit(cls, rarity):
        """Fit it to the rarest of some features by probability-weighted moments.

        The formulas are those of Hosking & Wallis (1987, Technometrics 29, 339).

        Parameters
        ----------
        rarity : `~numpy.ndarray`, shape (n,)
            Finite.
        """
        rarity = np.sort(rarity)
        n_wanted = max(round(rarity.size * TAIL_SHARE), LEAST_TAIL)
        if rarity.size <= n_wanted:
            return cls(start=np.inf, n=0, scale=LEAST_SCALE, shape=0.0)
        start = rarity[-n_wanted - 1]
        excess = rarity[rarity > start] - start
        if not excess.size:
            return cls(start=np.inf, n=0, scale=LEAST_SCALE, shape=0.0)
        below = (np.arange(1, excess.size + 1) - 0.35) / excess.size
        mean, weighted = excess.mean(), (excess * (1 - below)).mean()
        # Beyond a lighter tail than an exponential nothing would be possible.
        shape = 2 - mean / max(mean - 2 * weighted, NOTHING)
        shape = float(np.clip(shape, 0, HEAVIEST))
        return cls(float(start), excess.size, max(float(mean) * (1 - shape), LEAST_SCALE), shape)

    def n_above(self, rarity):
        """Expected number of false features beyond; ``rarity`` is at least ``start``."""
        excess = (rarity - self.start) / self.scale
        if self.shape < NOTHING:
            return self.n * np.exp(-excess)
        return self.n * (1 + self.shape * excess) ** (-1 / self.shape)


def rising_steps(of_real, of_false):
    """Reliability as a function of rarity: steps that rise.

    Parameters
    ----------
    of_real, of_false : `~numpy.ndarray`, shape (n,) and (m,)
        Rarity of the features of the cube, and of the mirrored ones; infinite where it is not known.

    Returns
    -------
    first, reliability : `~numpy.ndarray`, shape (n_steps,)
        The rarity where each step begins, and its height (P - N) / P, 0 to 1.

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools.significance.reliability_steps import rising_steps
    >>> rng = np.random.default_rng(1)
    >>> of_false = rng.exponential(1, 200)
    >>> of_real = np.r_[rng.exponential(1, 200), rng.uniform(4, 8, 50)]
    >>> first, reliability = rising_steps(of_real, of_false)
    >>> first.shape == reliability.shape, round(float(reliability[0]), 1), round(float(reliability[-1]), 1)
    (True, 0.0, 0.9)
    """
    tail = Tail.fit(of_false[np.isfinite(of_false)])
    rare = of_real > tail.start
    steps = [(-np.inf, np.count_nonzero(~rare), of_false.size - tail.n)]
    if rare.any():
        steps += _tail_steps(of_real[rare], tail)
    steps = _certain_steps(steps, tail.n)
    first, n_real, n_false = np.array(steps, float).T
    return first, np.maximum(1 - n_false / np.maximum(n_real, NOTHING), 0)


def _tail_steps(of_real, tail):
    """The share of false features in the tail by isotonic regression: a list of (first, n_real, n_false)."""
    levels, n_real = np.unique(of_real, return_counts=True)
    # To each feature those between it and the one before, as a step begins where a feature happens to be; but
    # to one that stands alone only those near it.
    beyond = tail.n_above(np.maximum(levels[:-1], levels[1:] - tail.scale))
    n_false = -np.diff(np.concatenate([[tail.n], beyond, [0]]))
    number = n_real + n_false
    blocks = isotonic_regression(n_real / number, weights=number).blocks[:-1]
    return list(
        zip(levels[blocks], np.add.reduceat(n_real, blocks), np.add.reduceat(n_false, blocks), strict=True)
    )


def _certain_steps(steps, n_tail):
    """Join neighbouring steps that do not rise, or may do so by chance, the least certain first.

    Without it the highest step is too high, as it begins where it is highest. Such is the reduced monotonic
    regression of Schell & Singh (1997, JASA 92, 128).
    """
    while len(steps) > 1:
        certainty = [_certainty(lower[1:], upper[1:], n_tail) for lower, upper in pairwise(steps)]
        least = int(np.argmin(certainty))
        if certainty[least] >= STEP_SIGMA**2:
            break
        (start, *counts), (_, *others) = steps[least : least + 2]
        steps[least : least + 2] = [(start, *np.add(counts, others))]
    return steps


def _certainty(lower, upper, n_tail):
    """Square of the standard deviations by which a step rises from the one below, each (n_real, n_false).

    Twice the log of the likelihood ratio of Poisson counts with ratios of their own and with the same, less
    for the uncertainty of the expected number: of as many as the tail was fitted to, it counts twice.
    """

    def ratio(n_real, n_false):
        return n_real / max(n_false, NOTHING)

    if ratio(*upper) <= ratio(*lower):
        return -np.inf
    together = ratio(*np.add(lower, upper))
    apart = sum(xlogy(counts[0], ratio(*counts) / together) for counts in (lower, upper))
    return 2 * apart / (1 + 2 * upper[1] / n_tail)
