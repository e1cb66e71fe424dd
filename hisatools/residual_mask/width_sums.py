"""Sums over pixels of a straight-line fit, for the N(HI) of many velocity widths in one sweep.

From one width to the next only the channels that come in are added. A block of pixels goes through all widths
while it is in cache, so that threads, which share out the blocks, wait for the processor and not for memory.
(A thread with half of the widths instead would first have to add up all channels of the other half.) The
sums of the blocks are added in the order of the blocks: the number of threads changes no bit.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit

from hisatools.residual_mask.gas import COLUMN_PER_K_KMS, channel_shares
from hisatools.search.base import run_blocks

__all__ = ["ChannelPlan", "plan_channels", "width_sums"]

PIXELS_PER_BLOCK = 1024
BLOCKS_PER_TASK = 4
# Shares this close to 0 and 1 are rounding.
ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class ChannelPlan:
    """Which channels come in with which width.

    Parameters
    ----------
    order : `~numpy.ndarray` of int64, shape (n,)
        Channels that lie in the widest range, as they come in whole.
    n_whole : `~numpy.ndarray` of int64, shape (n_w,)
        How many of ``order`` lie wholly in the range of each width.
    parts : `~numpy.ndarray` of int64, shape (n_w, 2)
        Channels in which the range ends.
    shares : `~numpy.ndarray`, shape (n_w, 2)
        Their part that lies in it; 0 where the range ends between two channels.

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools.residual_mask.width_sums import plan_channels
    >>> plan = plan_channels(np.arange(-5.0, 6.0), 1.0, 0.0, np.array([3.0, 4.0]))
    >>> plan.n_whole, plan.channels
    (array([3, 3]), array([3, 4, 5, 6, 7]))
    """

    order: np.ndarray
    n_whole: np.ndarray
    parts: np.ndarray
    shares: np.ndarray

    @property
    def channels(self):
        """All channels that any width takes something from."""
        return np.union1d(self.order, self.parts[self.shares > 0])


def plan_channels(velocity, channel_width, centre, widths):
    """Plan the sweep; all in km/s, ``widths`` ascending.

    Parameters
    ----------
    velocity : `~numpy.ndarray`, shape (n_v,)
    channel_width, centre : float
    widths : `~numpy.ndarray`, shape (n_w,)

    Returns
    -------
    ChannelPlan

    Examples
    --------
    Channels of 1 km/s; a width of 4 km/s takes half of two more than one of 3 km/s does:

    >>> import numpy as np
    >>> from hisatools.residual_mask.width_sums import plan_channels
    >>> plan = plan_channels(np.arange(-5.0, 6.0), 1.0, 0.0, np.array([3.0, 4.0]))
    >>> plan.parts[1], plan.shares[1]
    (array([3, 7]), array([0.5, 0.5]))
    """
    half = widths[:, None] / 2
    shares = channel_shares(velocity, channel_width, centre - half, centre + half)
    whole = shares > 1 - ROUNDING
    n_whole = whole.sum(axis=1)
    # The width with which a channel is whole for the first time; those of one width by their number.
    first = np.where(whole.any(axis=0), whole.argmax(axis=0), len(widths))
    order = np.argsort(first, kind="stable")[: n_whole[-1]]
    cut = (shares > ROUNDING) & ~whole
    parts = np.stack([cut.argmax(axis=1), cut.shape[1] - 1 - cut[:, ::-1].argmax(axis=1)], axis=1)
    part_shares = np.where(cut, shares, 0)[np.arange(len(widths))[:, None], parts]
    # A range that ends twice in one channel takes it once.
    part_shares[parts[:, 0] == parts[:, 1], 1] = 0
    return ChannelPlan(order.astype(np.int64), n_whole.astype(np.int64), parts, part_shares)


def width_sums(kelvin, channel_width, plan, index, tracer, weights, *, workers=1):
    """Weighted sums of N, N**2 and N * tracer for each width.

    Parameters
    ----------
    kelvin : `~numpy.ndarray` of float32, shape (n_v, n_y, n_x), C-contiguous
    channel_width : float
        km/s.
    plan : `ChannelPlan`
    index : `~numpy.ndarray` of int64, shape (n,)
        Places on the flattened map of the pixels to use; finite in all channels of the plan.
    tracer, weights : `~numpy.ndarray`, shape (n,)
    workers : int

    Returns
    -------
    `~numpy.ndarray`, shape (n_w, 3)
        N in 1e20 cm^-2.

    Examples
    --------
    50 K over 3 km/s is 2.7e20 cm^-2 in each of four pixels:

    >>> import numpy as np
    >>> from hisatools.residual_mask.width_sums import plan_channels, width_sums
    >>> plan = plan_channels(np.arange(-5.0, 6.0), 1.0, 0.0, np.array([3.0, 4.0]))
    >>> kelvin = np.full((11, 2, 2), 50, np.float32)
    >>> width_sums(kelvin, 1.0, plan, np.arange(4), np.ones(4), np.ones(4)).round(2)
    array([[10.94, 29.91, 10.94],
           [14.58, 53.17, 14.58]])
    """
    flat = kelvin.reshape(kelvin.shape[0], -1)
    factor = COLUMN_PER_K_KMS * channel_width
    n_blocks = -(-index.size // PIXELS_PER_BLOCK)
    by_block = np.zeros((n_blocks, plan.n_whole.size, 3))
    channels = plan.channels
    # Where in the list of channels that are read a channel stands.
    row = np.zeros(kelvin.shape[0], np.int64)
    row[channels] = np.arange(channels.size)

    def work(first):
        last = min(first + BLOCKS_PER_TASK, n_blocks)
        _sweep(
            flat,
            channels,
            row[plan.order],
            plan.n_whole,
            row[plan.parts],
            plan.shares,
            index,
            tracer,
            weights,
            factor,
            by_block,
            first,
            last,
        )

    run_blocks(work, range(0, n_blocks, BLOCKS_PER_TASK), workers=workers)
    return by_block.sum(axis=0)


@njit(cache=True, nogil=True)
def _sweep(
    flat, channels, order, n_whole, parts, shares, index, tracer, weights, factor, by_block, first, last
):
    """All widths, for some blocks of pixels."""
    size = PIXELS_PER_BLOCK
    block = np.empty((channels.size, size), np.float32)
    running = np.empty(size)
    for number in range(first, last):
        start = number * size
        n = min(size, index.size - start)
        for row in range(channels.size):
            for pixel in range(n):
                block[row, pixel] = flat[channels[row], index[start + pixel]]
        running[:] = 0
        n_added = 0
        for width in range(n_whole.size):
            while n_added < n_whole[width]:
                _add(running[:n], block[order[n_added], :n])
                n_added += 1
            _sum(
                running[:n],
                block[parts[width, 0], :n],
                shares[width, 0],
                block[parts[width, 1], :n],
                shares[width, 1],
                factor,
                tracer[start : start + n],
                weights[start : start + n],
                by_block[number, width],
            )


@njit(cache=True, nogil=True)
def _add(running, channel):
    for pixel in range(running.size):
        running[pixel] += channel[pixel]


# The compiler may add in another order, the same for every call, and so in vectors.
@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _sum(running, one, share_one, other, share_other, factor, tracer, weights, sums):
    first = second = mixed = 0.0
    for pixel in range(running.size):
        column = factor * (running[pixel] + share_one * one[pixel] + share_other * other[pixel])
        weighted = weights[pixel] * column
        first += weighted
        second += weighted * column
        mixed += weighted * tracer[pixel]
    sums[0], sums[1], sums[2] = first, second, mixed
