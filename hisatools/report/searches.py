"""The noise, and the CLEAN loops and stops of both searches, as maps, charts and tables."""

import numpy as np

from hisatools.errors import InputError
from hisatools.noise import NoiseEstimator
from hisatools.report.rasters import (
    BLANK_COLOR,
    Scale,
    block_factor,
    block_max,
    block_mean,
    color_png,
    color_table,
    data_url,
)
from hisatools.results import StopReason

SIDE = 512
STOPS = {
    StopReason.NOT_CLEANED: ("not cleaned (no data)", BLANK_COLOR),
    StopReason.FRACTION: ("fraction of the peak reached", (0, 114, 178)),
    StopReason.NOISE: ("noise reached", (206, 230, 213)),
    StopReason.MAX_ITERATIONS: ("limit of loops reached", (213, 94, 0)),
}
NOISE_MAP, LOOPS_MAP = "viridis", "cividis"


def noise(result, cube, measure=True):
    """The noise of each sight line and channel map.

    Parameters
    ----------
    result : `~hisatools.HISAResult`
    cube : `~hisatools.HISACube`
        What it is measured on where the result has none.
    measure : bool
        Whether it is then measured.

    Returns
    -------
    dict
        ``source`` in words; a map, percentiles and the means of the channels, each None where not known.
    """
    found = {"map": None, "percentiles": None, "channels": None}
    record = result.searches
    if record is not None and np.isfinite(record.spectral_noise_kelvin).any():
        known = np.isfinite(record.spatial_noise_kelvin)
        channels = record.spatial_noise_kelvin if known.any() else None
        found |= {"source": "the noise that the searches used", "channels": channels}
        return found | _noise_map(record.spectral_noise_kelvin)
    if not measure:
        return found | {"source": "not known: the result has no record of the searches"}
    try:
        measured = NoiseEstimator("mad-difference").estimate(cube)
    except InputError as error:
        return found | {"source": f"not known: {error}"}
    source = "measured for this page from channel differences (strategy mad-difference), as the result "
    source += "has no record of the searches"
    return found | {"source": source} | _noise_map(np.asarray(measured.sigma.value))


def _noise_map(sigma_kelvin):
    low, median, high = (float(value) for value in np.nanpercentile(sigma_kelvin, [5, 50, 95]))
    percentiles = {"low": low, "median": median, "high": high}
    if sigma_kelvin.size == 1:
        return {"percentiles": percentiles}
    return {"percentiles": percentiles, "map": picture(sigma_kelvin, NOISE_MAP)}


def picture(values, colors):
    """A map in colours, with its limits; averaged over blocks of pixels where it is large."""
    factor = block_factor(values.shape, SIDE)
    values = block_mean(values.astype(np.float32), factor)
    scale = Scale.of(values)
    table = color_table(colors)
    return {
        "url": data_url(color_png(scale.encode(values), [BLANK_COLOR, *table])),
        "bar": data_url(color_png(np.arange(255, dtype=np.uint8)[None], table)),
        "low": scale.low,
        "high": scale.high,
        "size": values.shape[::-1],
        "factor": factor,
    }


def loops(result):
    """CLEAN loops and stops; None where the result does not have them.

    Returns
    -------
    dict or None
        ``passes``: one row a pass and search. Maps of the last pass (None of a single sight line), and
        loops and stops of the channel maps in it.
    """
    record = result.searches
    if record is None:
        return None
    rows = []
    for number in range(len(record.spectral_loops)):
        for name in ("spectral", "spatial"):
            stops = getattr(record, f"{name}_stop")[number]
            rows.append(_row(number + 1, name, getattr(record, f"{name}_loops")[number], stops))
    last_loops, last_stop = record.spectral_loops[-1], record.spectral_stop[-1]
    is_map = last_stop.size > 1
    cleaned = np.where(last_stop == StopReason.NOT_CLEANED, np.nan, last_loops)
    return {
        "passes": rows,
        "map": picture(cleaned, LOOPS_MAP) if is_map else None,
        "stops": _stop_picture(last_stop) if is_map else None,
        "legend": [(text, "#{:02x}{:02x}{:02x}".format(*color)) for text, color in STOPS.values()],
        "channels": record.spatial_loops[-1] if record.spatial_stop[-1].any() else None,
        "channel_stops": record.spatial_stop[-1],
    }


def _row(number, name, loop_counts, stops):
    cleaned = loop_counts[stops != StopReason.NOT_CLEANED]
    return {
        "pass": number,
        "search": name,
        "n": cleaned.size,
        "median": float(np.median(cleaned)) if cleaned.size else None,
        "largest": int(cleaned.max()) if cleaned.size else None,
        "stops": [int((stops == stop).sum()) for stop in STOPS],
    }


def _stop_picture(stops):
    factor = block_factor(stops.shape, SIDE)
    # The largest of a block: where the limit was reached must not get lost.
    levels = block_max(stops, factor).astype(np.uint8)
    colors = [color for _, color in STOPS.values()]
    return {
        "url": data_url(color_png(levels, colors)),
        "size": levels.shape[::-1],
        "factor": factor,
    }
