"""Simulated counts of a power law and six lines, with or without a seventh that hides.

The spectrum has the shape of the cosipy tutorial on line backgrounds about the 1809 keV line of
aluminium-26. The lines are 2 keV wide (sigma), not 0.2 keV as fitted there: of a line far narrower than
the bins of 4 keV the width is not determined, and its place only where it straddles two bins.
"""

from dataclasses import dataclass

import astropy.units as u
import numpy as np

PIVOT_KEV = 1800.0
NAMES = ("a", "b", "a1", "mu1", "a2", "mu2", "a3", "mu3", "a4", "mu4", "a5", "mu5", "a6", "mu6", "sigma")
TRUTH = dict(
    zip(
        NAMES,
        (
            3360.0,
            -2.06,
            11030.0,
            1611.17,
            24820.0,
            1636.12,
            63840.0,
            1666.6,
            12000.0,
            1726.82,
            10320.0,
            1762.71,
            31160.0,
            1777.82,
            2.0,
        ),
        strict=True,
    )
)
START = dict(
    zip(
        NAMES,
        (5000.0, -1.0, 4e4, 1612, 5e4, 1635, 5e4, 1670, 5e4, 1725, 1e4, 1765, 3e4, 1780, 1.0),
        strict=True,
    )
)
LIMITS = {
    "mu1": (1600, 1620),
    "mu2": (1620, 1640),
    "mu3": (1650, 1675),
    "mu4": (1700, 1730),
    "mu5": (1750, 1770),
    "mu6": (1770, 1790),
    **{name: (0, None) for name in ("a2", "a3", "a4", "a5", "a6", "sigma")},
}
HIDDEN_KEV = 1808.6
FINE_KEV, COARSE_KEV, RANGE_KEV = 1, 4, (1600, 2000)


def power_law_and_lines(x, a, b, a1, mu1, a2, mu2, a3, mu3, a4, mu4, a5, mu5, a6, mu6, sigma):
    """Counts per keV: a power law of pivot 1800 keV and six Gaussians, by area, that share one sigma."""
    total = a * (x / PIVOT_KEV) ** b
    for area, mean in ((a1, mu1), (a2, mu2), (a3, mu3), (a4, mu4), (a5, mu5), (a6, mu6)):
        total = total + area / (sigma * np.sqrt(2 * np.pi)) * np.exp(-0.5 * ((x - mean) / sigma) ** 2)
    return total


@dataclass(frozen=True, eq=False)
class SimulatedCounts:
    """Counts in 100 bins of 4 keV, and what they were drawn from.

    Parameters
    ----------
    counts : `~numpy.ndarray` of int, shape (100, n_phi, n_y, n_x)
    edges : Quantity, keV, shape (101,)
    fine : `~numpy.ndarray` of int, shape (400, n_phi, n_y, n_x)
        The same in bins of 1 keV.
    pattern : `~numpy.ndarray`, shape (n_phi, n_y, n_x)
        Share of each cell in the background; the sum is 1.
    pixel_scale : Quantity
    """

    counts: np.ndarray
    edges: u.Quantity
    fine: np.ndarray
    pattern: np.ndarray
    pixel_scale: u.Quantity

    def counts_between(self, low, high):
        """Counts between two whole keV, shape (n_phi, n_y, n_x)."""
        first, stop = (round((u.Quantity(e).to_value(u.keV) - RANGE_KEV[0]) / FINE_KEV) for e in (low, high))
        return self.fine[first:stop].sum(axis=0)


def simulate_counts(seed, *, hidden=0.0, shape=(2, 6, 8)):
    """Draw counts of the power law and six lines.

    Parameters
    ----------
    seed : int
        The same seed gives the same counts.
    hidden : float
        Expected counts of a further background line at 1808.6 keV, which no model knows of.
    shape : tuple of int
        (n_phi, n_y, n_x): bins of the scatter angle, and the sky in pixels of 10 deg.

    Returns
    -------
    `SimulatedCounts`

    Examples
    --------
    >>> simulated = simulate_counts(seed=101)
    >>> simulated.counts.shape
    (100, 2, 6, 8)
    """
    from hisatools.line_background.curves import Curve

    rng = np.random.default_rng(seed)
    edges = np.arange(RANGE_KEV[0], RANGE_KEV[1] + FINE_KEV, FINE_KEV, dtype=float)
    curve = Curve(power_law_and_lines, NAMES, tuple(TRUTH.values()))
    expected = curve.over_bins(edges[:-1], edges[1:], curve.start)
    line = {**dict.fromkeys(NAMES, 0.0), "a1": hidden, "mu1": HIDDEN_KEV, "sigma": TRUTH["sigma"]}
    expected = expected + curve.over_bins(edges[:-1], edges[1:], tuple(line.values()))
    phi, y, x = np.meshgrid(*(np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in shape), indexing="ij")
    pattern = (1 + 0.3 * phi) * np.exp(-0.5 * ((x - 0.3) ** 2 + (y + 0.2) ** 2))
    pattern /= pattern.sum()
    fine = rng.poisson(expected[:, None, None, None] * pattern)
    n = COARSE_KEV // FINE_KEV
    return SimulatedCounts(
        counts=fine.reshape(-1, n, *shape).sum(axis=1),
        edges=edges[::n] * u.keV,
        fine=fine,
        pattern=pattern,
        pixel_scale=10 * u.deg,
    )
