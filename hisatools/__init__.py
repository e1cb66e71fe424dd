"""H I self-absorption in spectral-line cubes: found, measured, catalogued, and judged."""

from hisatools._version import __version__
from hisatools.cube import HISACube
from hisatools.extraction import HISAExtractor
from hisatools.parameters import (
    ExtractionParameters,
    ShellParameters,
    SpatialParameters,
    SpectralParameters,
    preset_names,
)
from hisatools.results import HISAResult, MaskBit, SearchResult, StopReason, UnabsorbedResult
from hisatools.search.spatial import SpatialSearcher
from hisatools.search.spectral import SpectralSearcher
from hisatools.unabsorbed import UnabsorbedEstimator

__all__ = [
    "ExtractionParameters",
    "HISACube",
    "HISAExtractor",
    "HISAResult",
    "MaskBit",
    "SearchResult",
    "ShellParameters",
    "SpatialParameters",
    "SpatialSearcher",
    "SpectralParameters",
    "SpectralSearcher",
    "StopReason",
    "UnabsorbedEstimator",
    "UnabsorbedResult",
    "__version__",
    "preset_names",
]
