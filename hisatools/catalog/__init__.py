"""The catalogue: one row for each feature of absorption.

Only the labelled voxels are worked on, all features at once, so that ten thousand features in a
survey cube take seconds, and some 50 bytes a labelled voxel instead of copies of the cube. Amplitudes
dT = T_ON - T_U are negative, as in Gibson et al. (2005, "the paper"); what is integrated over them is
given as a positive number.
"""

from hisatools.catalog.building import VoxelErrors, build_catalog
from hisatools.catalog.columns import COLUMNS
from hisatools.catalog.names import feature_names
from hisatools.catalog.table import HISACatalog
from hisatools.io.sky import sky_frame

__all__ = ["COLUMNS", "HISACatalog", "VoxelErrors", "build_catalog", "feature_names", "sky_frame"]
