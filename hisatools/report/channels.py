"""The channel maps of a page: brightness, absorption and flags of all channels, made one after the other."""

import base64

import numpy as np

from hisatools.catalog import sky_frame
from hisatools.plotting.chosen import deepest_channel
from hisatools.report.numbers import plain
from hisatools.report.rasters import Scale, block_factor, block_mean, block_or, color_table, grey_webp
from hisatools.results import MaskBit, flagged

SIDE = 512
# In characters of the page a third more.
MAP_BYTES = 14_000_000
LEVELS = (255, 128, 64)
N_TRIED = 8
N_SAMPLE = 1_000_000
SKY_NODES = 33


def channel_maps(result):
    """What the page's channel browser shows.

    Parameters
    ----------
    result : `~hisatools.HISAResult`

    Returns
    -------
    dict
        That JSON can hold. Maps are averaged over blocks of pixels and rounded until all of them together
        take no more than `MAP_BYTES`; ``factor`` and ``step`` tell by how much.
    """
    shape = result.flags.shape
    maps = _fitting(result)
    channels = [maps.channel(channel) for channel in range(shape[0])]
    return {
        "shape": list(shape),
        "factor": maps.factor,
        "map": [-(-side // maps.factor) for side in shape[1:]],
        "velocity": plain(result.velocity.value, 3),
        "start": deepest_channel(result),
        "t_on": _scale(maps.t_on),
        "delta_t": _scale(maps.delta_t),
        "channels": channels,
        "sky": _sky(result),
    }


class _Maps:
    """Maps of a result at one size and with so many levels."""

    def __init__(self, result, factor, scales):
        self.result, self.factor = result, factor
        self.t_on, self.delta_t = scales

    def pictures(self, channel):
        """Pictures of T_ON, dT and the flags; None where the map is 0 everywhere."""
        result = self.result
        pictures = {
            "t_on": grey_webp(
                self.t_on.encode(block_mean(result.plane_kelvin("t_on", channel), self.factor))
            ),
            "delta_t": None,
            "flags": None,
        }
        flags = block_or(result.flags[channel], self.factor)
        if flags.any():
            pictures["flags"] = grey_webp(flags)
        if flagged(flags, MaskBit.ACCEPTED).any():
            delta_t = block_mean(result.plane_kelvin("delta_t", channel), self.factor)
            pictures["delta_t"] = grey_webp(
                np.where(delta_t < 0, self.delta_t.encode(delta_t), 0).astype("u1")
            )
        return pictures

    def channel(self, channel):
        """Pictures as text, and how many voxels are flagged."""
        flags = self.result.flags[channel]
        counts = {bit.name.lower(): int(np.count_nonzero(flagged(flags, bit))) for bit in MaskBit}
        pictures = self.pictures(channel)
        return counts | {
            name: None if picture is None else base64.b64encode(picture).decode("ascii")
            for name, picture in pictures.items()
        }


def _fitting(result):
    """The largest maps that fit, by the size of some channels."""
    n_v, *shape = result.flags.shape
    tried = np.unique(np.linspace(0, n_v - 1, min(N_TRIED, n_v)).astype(int))
    factor = block_factor(shape, SIDE)
    brightness = _limits(result)
    deepest = min(float(result.voxel_delta_t_kelvin.min(initial=0)), -1.0)
    while True:
        for levels in LEVELS:
            maps = _Maps(result, factor, (Scale(*brightness, levels), Scale(deepest, 0.0)))
            size = sum(len(picture or b"") for k in tried for picture in maps.pictures(int(k)).values())
            if size * n_v / len(tried) <= MAP_BYTES or factor >= max(shape):
                return maps
        factor += 1


def _limits(result):
    """All but the most extreme of 2000 values, from an even sample."""
    kelvin = result.t_on.value.reshape(-1)
    sample = kelvin[:: max(kelvin.size // N_SAMPLE, 1)]
    sample = sample[np.isfinite(sample)]
    if not sample.size:
        return 0.0, 1.0
    low, high = (float(limit) for limit in np.percentile(sample, [0.05, 99.95]))
    return low, high if high > low else low + 1


def _scale(scale):
    numbers = {"low": round(scale.low, 4), "high": round(scale.high, 4), "step": float(f"{scale.step:.2g}")}
    return numbers | {"levels": scale.levels}


def sky_names(wcs):
    """Short names of the sky axes."""
    if sky_frame(wcs).name == "galactic":
        return ["l", "b"]
    return ["λ", "β"] if wcs.wcs.ctype[0].startswith("ELON") else ["RA", "Dec"]


def _sky(result):
    """Positions at an even grid of pixels, between which the page interpolates."""
    _, n_y, n_x = result.flags.shape
    y, x = (np.linspace(-0.5, n - 0.5, SKY_NODES) for n in (n_y, n_x))
    lon, lat = result.wcs.celestial.wcs_pix2world(*np.meshgrid(x, y), 0)
    if not (np.isfinite(lon).all() and np.isfinite(lat).all()):
        return None
    # Without a step from 360 to 0 between nodes.
    lon = np.unwrap(np.unwrap(lon, axis=1, period=360), axis=0, period=360)
    return {"names": sky_names(result.wcs), "lon": plain(lon, 5), "lat": plain(lat, 5)}


def color_tables():
    """Red, green and blue of the levels from 1: grey for brightness, viridis for dT."""
    return {
        "brightness": color_table("gray").ravel().tolist(),
        "delta_t": color_table("viridis").ravel().tolist(),
    }
