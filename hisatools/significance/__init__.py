"""Could noise do this? Matched filters, priors on the sky, trials and data-driven reliability."""

from importlib import import_module

# Imported on first use: healpix maps and figures need packages that a scan does not.
_HOMES = {
    "DetectionCurve": "hisatools.significance.detection",
    "GlobalChance": "hisatools.significance.global_chance",
    "HotPlace": "hisatools.significance.places",
    "PeakFit": "hisatools.significance.fits",
    "ReliabilityModel": "hisatools.significance.reliability",
    "ReliabilityParameters": "hisatools.significance.reliability",
    "Residual": "hisatools.significance.residual",
    "ScanParameters": "hisatools.significance.parameters",
    "ScanResult": "hisatools.significance.scan",
    "Sensitivity": "hisatools.significance.sensitivity",
    "Signal": "hisatools.significance.injected",
    "Significance": "hisatools.significance.outcome",
    "SignificanceScan": "hisatools.significance.scan",
    "SpatialPrior": "hisatools.significance.prior",
    "Trial": "hisatools.significance.trials",
    "TrialParameters": "hisatools.significance.trials",
    "TrialRunner": "hisatools.significance.trials",
    "assess_features": "hisatools.significance.assessment",
    "column_density_limit": "hisatools.significance.column_limit",
    "find_peaks": "hisatools.significance.peaks",
    "fit_at": "hisatools.significance.fits",
    "fit_places": "hisatools.significance.fits",
    "hottest": "hisatools.significance.places",
    "local_maximum": "hisatools.significance.fits",
    "measure_sensitivity": "hisatools.significance.sensitivity",
    "measure_significance": "hisatools.significance.outcome",
    "mirrored": "hisatools.significance.mirror",
    "plot_prior_effect": "hisatools.significance.prior_figures",
    "plot_ts": "hisatools.significance.prior_figures",
    "post_trial": "hisatools.significance.global_chance",
}

__all__ = sorted(_HOMES)


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f"module 'hisatools.significance' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__():
    return __all__
