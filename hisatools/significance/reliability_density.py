"""Kernel densities of features in (log peak, log sum, log mean), and how much of them lies above a place."""

import numpy as np
from scipy.spatial.distance import cdist
from scipy.special import log_ndtr, logsumexp

# In dex: the least scatter of the false features, should they be few or all alike.
LEAST_SCATTER = 0.01
PAIRS_PER_BLOCK = 2_000_000


def whitening(points, scale):
    """Matrix to axes in which the kernel is round and of size 1; shape (3, 3)."""
    covariance = np.cov(points.T) if len(points) > 1 else np.zeros((3, 3))
    variance, axes = np.linalg.eigh(covariance)
    return axes / (scale * np.sqrt(np.maximum(variance, LEAST_SCATTER**2)))


def log_density(at, points):
    """Log of the sum of round kernels of size 1 about ``points``; (n, 3) and (m, 3): shape (n,)."""
    return _log_sum(lambda rows: -0.5 * cdist(rows, points, "sqeuclidean"), at, len(points))


def log_share_above(at, points, kernel, *, leave_out_itself=False):
    """Log of the share of ``points``, spread by Gaussians, that is above in all columns: shape (n,).

    With ``leave_out_itself`` ``at`` are the points, and each is compared with the others.
    """

    def exponents(rows):
        return sum(
            log_ndtr((points[:, axis] - rows[:, axis, None]) / kernel[axis]) for axis in range(len(kernel))
        )

    n_points = len(points) - leave_out_itself
    if n_points < 1:
        return np.full(len(at), -np.inf)
    return _log_sum(exponents, at, len(points), leave_out_itself) - np.log(n_points)


def _log_sum(exponents, at, n_points, leave_out_itself=False):
    """Log of sums of exponentials, for so many places at a time that their pairs fit into memory."""
    total = np.full(len(at), -np.inf)
    n_rows = max(PAIRS_PER_BLOCK // max(n_points, 1), 1)
    for start in range(0, len(at) if n_points else 0, n_rows):
        of_rows = exponents(at[start : start + n_rows])
        if leave_out_itself:
            own = np.arange(len(of_rows))
            of_rows[own, own + start] = -np.inf
        total[start : start + n_rows] = logsumexp(of_rows, axis=1)
    return total
