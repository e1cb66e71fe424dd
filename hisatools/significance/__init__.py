"""Could noise do this? Matched filters, priors on the sky, trials and data-driven reliability."""

from importlib import import_module

# Imported on first use: healpix maps and figures need packages that a scan does not.
_HOMES = {
    "HotPlace": "hisatools.significance.places",
    "Residual": "hisatools.significance.residual",
    "ScanParameters": "hisatools.significance.parameters",
    "ScanResult": "hisatools.significance.scan",
    "SignificanceScan": "hisatools.significance.scan",
    "SpatialPrior": "hisatools.significance.prior",
    "hottest": "hisatools.significance.places",
    "plot_prior_effect": "hisatools.significance.prior_figures",
    "plot_ts": "hisatools.significance.prior_figures",
}

__all__ = sorted(_HOMES)


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f"module 'hisatools.significance' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__():
    return __all__
