"""The noise of a cube: its correlation, and strategies that measure it as sigma(l, b) or sigma(l, b, v)."""

from importlib import import_module

from hisatools.noise.correlation import (
    BoxNoise,
    NoiseCorrelation,
    box_noise,
    coarse_noise,
    difference_rms,
    expand_noise,
    mad_sigma,
    noise_correlation,
    third_rms,
    without_features,
)

# Imported on first use: the searches need no more than the functions above.
_HOMES = {
    "AutomaticMaskParameters": "hisatools.noise.sources",
    "LineFreeParameters": "hisatools.noise.line_free",
    "MadDifferenceParameters": "hisatools.noise.mad_difference",
    "MeshParameters": "hisatools.noise.mesh",
    "NoiseEstimator": "hisatools.noise.estimator",
    "NoiseResult": "hisatools.noise.result",
    "PropagatedParameters": "hisatools.noise.propagated",
    "RadiometerParameters": "hisatools.noise.radiometer",
    "SkyMask": "hisatools.noise.masks",
    "SourceMask": "hisatools.noise.sources",
    "ThirdsParameters": "hisatools.noise.thirds",
    "WeightsParameters": "hisatools.noise.weights",
    "automatic_mask": "hisatools.noise.sources",
    "estimate_many": "hisatools.noise.estimator",
}

__all__ = [
    *_HOMES,
    "BoxNoise",
    "NoiseCorrelation",
    "box_noise",
    "coarse_noise",
    "difference_rms",
    "expand_noise",
    "mad_sigma",
    "noise_correlation",
    "third_rms",
    "without_features",
]


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f"module 'hisatools.noise' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__():
    return sorted(__all__)
