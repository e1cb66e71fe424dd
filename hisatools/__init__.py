"""H I self-absorption in spectral-line cubes: found, measured, catalogued, and judged."""

import logging
from importlib import import_module

from hisatools._version import __version__

# What the package logs is shown only where a program asks for it.
logging.getLogger(__name__).addHandler(logging.NullHandler())

# Imported on first use, so that the command line answers at once.
_HOMES = {
    "ExtractionParameters": "hisatools.parameters",
    "HISACatalog": "hisatools.catalog",
    "HISACube": "hisatools.cube",
    "HISAExtractor": "hisatools.extraction",
    "HISAResult": "hisatools.results",
    "LineBackground": "hisatools.line_background",
    "MaskBit": "hisatools.results",
    "NoiseEstimator": "hisatools.noise",
    "NoiseResult": "hisatools.noise",
    "PerformanceModel": "hisatools.performance",
    "SearchResult": "hisatools.results",
    "ShellParameters": "hisatools.parameters",
    "SpatialParameters": "hisatools.parameters",
    "SpatialSearcher": "hisatools.search.spatial",
    "SpectralParameters": "hisatools.parameters",
    "SpectralSearcher": "hisatools.search.spectral",
    "StopReason": "hisatools.results",
    "UnabsorbedEstimator": "hisatools.unabsorbed",
    "UnabsorbedResult": "hisatools.results",
    "compare_unabsorbed": "hisatools.comparison",
    "preset_names": "hisatools.parameters",
}

__all__ = [*_HOMES, "__version__"]


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(
            f"module 'hisatools' has no attribute {name!r}; it has {', '.join(sorted(_HOMES))}"
        )
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__():
    return sorted(__all__)
