"""What blanks and borders leave of a filter on the sky; arrays only."""

import numpy as np

from hisatools.noise.correlation import correlation_at
from hisatools.significance.filters import PlaneConvolver

__all__ = ["covered_share", "find_patterns", "kept_variances"]

CHANNELS_PER_BLOCK = 64
# Windows whose variance is worked out at a time.
WINDOWS_PER_BLOCK = 256
# Of the transforms: a filter that lies on blanks alone must not see a rest of them.
ROUNDING = 1e-5


def find_patterns(usable):
    """Maps of what is usable that differ, the most frequent first, and the number of each channel's.

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools.significance.coverage import find_patterns
    >>> usable = np.ones((5, 3, 3), bool)
    >>> usable[4, 0] = False  # the last channel has a blank row
    >>> patterns, number = find_patterns(usable)
    >>> patterns.shape, number
    ((2, 3, 3), array([0, 0, 0, 0, 1]))
    """
    if not len(usable):
        return np.zeros((1, *usable.shape[1:]), bool), np.zeros(0, np.intp)
    packed = np.packbits(usable.reshape(len(usable), -1), axis=1)
    _, first, number, count = np.unique(
        packed, axis=0, return_index=True, return_inverse=True, return_counts=True
    )
    order = np.argsort(-count, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(order.size)
    return usable[first[order]], rank[number.reshape(-1)]


def kept_variances(patterns, sky, beam_pix, kept, enough, inner):
    """Share of the filtered noise's variance that borders and blanks leave, for each pattern.

    Worked out for the first, and for the others where they differ from it.

    Examples
    --------
    A filter of 3 x 3 pixels about white noise: at the border of a map 2/3 of its variance are left, and
    in a corner 4/9:

    >>> import numpy as np
    >>> from hisatools.significance.coverage import kept_variances
    >>> from hisatools.significance.filters import SkyFilter
    >>> of_nine = SkyFilter(np.ones((3, 3)), np.ones((3, 3)), noise=3.0, response=9.0)
    >>> everywhere, rough = np.ones((1, 5, 5), bool), np.full((1, 5, 5), 0.9)
    >>> inner = (slice(None), slice(None))
    >>> kept_variances(everywhere, of_nine, 0.0, rough, everywhere, inner)[0, 0].round(2)
    array([0.44, 0.67, 0.67, 0.67, 0.44])
    """
    partly = np.zeros(patterns.shape, bool)
    partly[:, *inner] = (enough & (kept < 1 - ROUNDING))[:, *inner]
    exact = kept.copy()
    exact[0] = _kept_variance(patterns[0], sky, beam_pix, kept[0], partly[0])
    for number in range(1, len(patterns)):
        same = partly[number] & (np.abs(kept[number] - kept[0]) < ROUNDING) & enough[0]
        exact[number] = _kept_variance(patterns[number], sky, beam_pix, kept[number], partly[number] & ~same)
        exact[number][same] = exact[0][same]
    return exact


def _kept_variance(footprint, sky, beam_pix, kept, partly):
    """The share of one pattern, exactly where ``partly`` is True.

    With A the weights that lie on usable pixels and C the correlation along an axis, which is the same
    along both, the variance is the sum of A times C A C.
    """
    reach = sky.reach
    windows = np.lib.stride_tricks.sliding_window_view(
        np.pad(footprint, reach).astype(np.float32), sky.weights.shape
    )
    places = np.arange(2 * reach + 1)
    correlation = correlation_at(np.subtract.outer(places, places), beam_pix).astype(np.float32)
    exact, (rows, columns) = kept.copy(), np.nonzero(partly)
    weights = (sky.weights / sky.noise).astype(np.float32)
    for first in range(0, rows.size, WINDOWS_PER_BLOCK):
        at = rows[first : first + WINDOWS_PER_BLOCK], columns[first : first + WINDOWS_PER_BLOCK]
        on_usable = windows[at] * weights
        filtered = correlation @ on_usable @ correlation
        exact[at] = np.einsum("nij,nij->n", on_usable, filtered)
    return exact


def covered_share(maps, weights):
    """What share of a filter lies on True, channel by channel.

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools.significance.coverage import covered_share
    >>> maps = np.ones((1, 5, 5), bool)
    >>> maps[0, :, 3:] = False
    >>> covered_share(maps, np.full((3, 3), 1 / 9))[0, 2].round(2)
    array([0.67, 1.  , 0.67, 0.33, 0.  ], dtype=float32)
    """
    convolver = PlaneConvolver(maps.shape[1:], [weights])
    found = np.empty(maps.shape, np.float32)
    for first in range(0, len(maps), CHANNELS_PER_BLOCK):
        block = slice(first, first + CHANNELS_PER_BLOCK)
        found[block] = convolver.filtered(convolver.transform(maps[block]), 0)
    found[found < ROUNDING] = 0
    return found
