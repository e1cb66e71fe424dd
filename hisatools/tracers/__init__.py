"""Other lines at the places of features: the CO that is nearest in velocity."""

from hisatools.tracers.columns import CO_COLUMNS, TracerFlag, add_co

__all__ = ["CO_COLUMNS", "TracerFlag", "add_co"]
