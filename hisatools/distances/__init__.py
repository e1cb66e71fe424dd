"""Kinematic distances: how far what has a velocity must be, if it turns with the Galaxy."""

from hisatools.distances.curves import BrandBlitzCurve, FlatCurve, ReidCurve, RotationCurve, rotation_curve
from hisatools.distances.kinematic import DistanceFlag, KinematicDistances, kinematic_distance

__all__ = [
    "BrandBlitzCurve",
    "DistanceFlag",
    "FlatCurve",
    "KinematicDistances",
    "ReidCurve",
    "RotationCurve",
    "kinematic_distance",
    "rotation_curve",
]
