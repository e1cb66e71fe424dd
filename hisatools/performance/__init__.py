"""How complete, how reliable and how biased: measured with absorption that is known (section 3)."""

from hisatools.performance.assessment import equivalent_sigma
from hisatools.performance.histograms import Histograms
from hisatools.performance.measures import Measure, MeasureSlice
from hisatools.performance.model import PerformanceModel
from hisatools.performance.observables import OBSERVABLES, Observable, Voxels
from hisatools.performance.pairs import Truth, compare_pairs
from hisatools.performance.regions import RegionValue
from hisatools.performance.runs import run_injections, run_models
from hisatools.performance.sample import Sample
from hisatools.performance.smoothing import SmoothingParameters

__all__ = [
    "OBSERVABLES",
    "Histograms",
    "Measure",
    "MeasureSlice",
    "Observable",
    "PerformanceModel",
    "RegionValue",
    "Sample",
    "SmoothingParameters",
    "Truth",
    "Voxels",
    "compare_pairs",
    "equivalent_sigma",
    "run_injections",
    "run_models",
]
