"""Estimates of the unabsorbed emission T_U across features."""

from hisatools.unabsorbed.base import UnabsorbedEstimator

__all__ = ["UnabsorbedEstimator"]
