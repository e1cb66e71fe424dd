"""Maps as small pictures: averaged over blocks of pixels, in 8 bits, without loss as WebP or PNG."""

import base64
import io
from dataclasses import dataclass

import numpy as np

BLANK = 0
BLANK_COLOR = (207, 224, 238)


@dataclass(frozen=True)
class Scale:
    """How numbers become 8 bits: 0 is blank, 1 is ``low``, ``levels`` is ``high``.

    Parameters
    ----------
    low, high : float
        What lies beyond is shown as these.
    levels : int
        At most 255.
    """

    low: float
    high: float
    levels: int = 255

    @classmethod
    def of(cls, values, levels=255):
        """From the smallest to the largest finite value."""
        known = values[np.isfinite(values)]
        low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
        return cls(low, high if high > low else low + 1, levels)

    @property
    def step(self):
        """The difference of two neighbouring levels."""
        return (self.high - self.low) / (self.levels - 1)

    def encode(self, values):
        """The levels of numbers: uint8, same shape; `BLANK` where they are not finite."""
        # In float32 the smallest numbers have too few digits to be counted in steps.
        values = np.asarray(values, np.float64)
        finite = np.isfinite(values)
        level = (np.clip(np.where(finite, values, self.low), self.low, self.high) - self.low) / self.step
        return np.where(finite, np.rint(level) + 1, BLANK).astype(np.uint8)


def block_factor(shape, side):
    """Pixels along the side of a block, so that no side of the map is longer than ``side``."""
    return max(-(-max(shape) // side), 1)


def block_mean(plane, factor):
    """Means of the finite values in blocks of pixels; NaN where there is none; float32."""
    if factor == 1:
        return plane
    blocks = _blocks(plane, factor, np.nan)
    finite = np.isfinite(blocks)
    number = finite.sum(axis=(1, 3))
    total = np.where(finite, blocks, 0).sum(axis=(1, 3), dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (total / number).astype(np.float32)


def block_or(flags, factor):
    """Bits that are set anywhere in blocks of pixels; uint8."""
    return flags if factor == 1 else np.bitwise_or.reduce(_blocks(flags, factor, 0), axis=(1, 3))


def block_max(plane, factor):
    """Largest values in blocks of pixels."""
    return plane if factor == 1 else _blocks(plane, factor, 0).max(axis=(1, 3))


def _blocks(plane, factor, fill):
    """(n_y, n_x) to (rows of blocks, pixel, columns of blocks, pixel)."""
    n_y, n_x = plane.shape
    padded = np.pad(plane, ((0, -n_y % factor), (0, -n_x % factor)), constant_values=fill)
    return padded.reshape(padded.shape[0] // factor, factor, padded.shape[1] // factor, factor)


def grey_webp(levels):
    """A lossless WebP of grey levels, with the last row of the map on top; smaller than a PNG by a third."""
    return _saved(_image(levels), format="WEBP", lossless=True, quality=60, method=4)


def color_png(levels, colors):
    """A PNG in colours, with the last row of the map on top.

    Parameters
    ----------
    levels : `~numpy.ndarray` of uint8, shape (n_y, n_x)
    colors : array_like of int, shape (n, 3)
        Red, green and blue, 0 to 255, of the levels from 0.
    """
    image = _image(levels)
    image.putpalette(np.asarray(colors, np.uint8).tobytes())
    return _saved(image, format="PNG", compress_level=9)


def color_table(name, n=255):
    """Colours of a matplotlib map: uint8, shape (n, 3)."""
    from matplotlib import colormaps

    return np.rint(255 * colormaps[name](np.linspace(0, 1, n))[:, :3]).astype(np.uint8)


def data_url(png):
    """A picture as an address that holds it."""
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"


def _image(levels):
    from PIL import Image

    return Image.fromarray(np.ascontiguousarray(levels[::-1]))


def _saved(image, **settings):
    file = io.BytesIO()
    image.save(file, **settings)
    return file.getvalue()
