"""Places at random, as often as a prior says."""

import numpy as np

from hisatools.errors import ParameterError
from hisatools.parameters import check_number

__all__ = ["draw_channels", "draw_voxels", "drawn"]


def drawn(weights, shares):
    """Places in a flattened array, as often as the weights say; never where they are 0.

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools.significance.prior_draws import drawn
    >>> drawn(np.array([1.0, 0.0, 3.0]), np.array([0.1, 0.3, 0.9]))
    array([0, 2, 2])
    """
    total = np.cumsum(weights)
    places = np.searchsorted(total, shares * total[-1], side="right")
    return np.minimum(places, np.flatnonzero(weights)[-1])


def draw_voxels(probability, where, shares):
    """Voxels by a prior with channels: first the channel, then the pixel; one channel is held at a time.

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools.significance.prior_draws import draw_voxels
    >>> probability = np.zeros((3, 4, 5))
    >>> probability[1, 2, 3] = 1
    >>> draw_voxels(probability, np.ones((3, 4, 5), bool), np.array([[0.1, 0.8], [0.5, 0.5]]))
    array([[1, 2, 3],
           [1, 2, 3]])
    """
    sums = np.array([np.sum(plane, where=use) for plane, use in zip(probability, where, strict=True)])
    v = drawn(sums, shares[0])
    pixel = np.empty_like(v)
    for channel in np.unique(v):
        here = v == channel
        pixel[here] = drawn(np.where(where[channel], probability[channel], 0.0), shares[1][here])
    return np.stack([v, *np.unravel_index(pixel, probability.shape[1:])], axis=1)


def draw_channels(allowed, n_channels, y, x, shares):
    """One of the allowed channels of each sight line, all alike.

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools.significance.prior_draws import draw_channels
    >>> allowed = np.zeros((6, 1, 1), bool)
    >>> allowed[2:4] = True
    >>> draw_channels(allowed, None, np.array([0, 0]), np.array([0, 0]), np.array([0.2, 0.7]))
    array([2, 3])
    """
    if np.ndim(allowed) == 3:
        rank = np.cumsum(np.asarray(allowed)[:, y, x], axis=0)
        wanted = 1 + np.minimum((shares * rank[-1]).astype(int), rank[-1] - 1)
        return np.argmax(rank == wanted, axis=0)
    if n_channels is None:
        raise ParameterError(
            "this prior has no channels; say how many the cube has, for example n_channels=cube.shape[0]"
        )
    check_number("n_channels", n_channels, integer=True)
    return np.minimum((shares * n_channels).astype(int), n_channels - 1)
