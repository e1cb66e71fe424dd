"""Faint residual masking: what stands out of a model that is linear in the gas, or out of the noise."""

from importlib import import_module

# Imported on first use, so that the command line answers at once.
_HOMES = {
    "COLUMN_UNIT": "hisatools.residual_mask.gas",
    "MissedAbsorptionParameters": "hisatools.residual_mask.missed",
    "ResidualCubeMask": "hisatools.residual_mask.missed",
    "ResidualMaskParameters": "hisatools.residual_mask.masker",
    "ResidualMaskResult": "hisatools.residual_mask.result",
    "ResidualMasker": "hisatools.residual_mask.masker",
    "WidthLikelihood": "hisatools.residual_mask.posterior",
    "fit_velocity_width": "hisatools.residual_mask.width_fit",
    "gas_column": "hisatools.residual_mask.gas",
    "mask_residuals": "hisatools.residual_mask.missed",
    "missed_absorption": "hisatools.residual_mask.missed",
    "width_likelihood": "hisatools.residual_mask.likelihood",
}

__all__ = [*_HOMES]


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f"module 'hisatools.residual_mask' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__():
    return sorted(__all__)
