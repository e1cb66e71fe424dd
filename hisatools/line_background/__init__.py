"""What lies under a line, from the bins beside it: for event histograms and for cubes."""

from hisatools.line_background.background import LineBackground
from hisatools.line_background.fit import LineFit
from hisatools.line_background.prediction import LinePrediction

__all__ = ["LineBackground", "LineFit", "LinePrediction"]
