"""Figures of a result, on sky coordinates, and the pieces they are made of.

Figures are made without pyplot, so that nothing here depends on a display or changes a setting of
the user. Matplotlib is imported when something is drawn. Absorption is drawn dark on light and what
has no data grey; all colours remain distinct for colour-blind readers.
"""

from hisatools.plotting.catalog import plot_catalog
from hisatools.plotting.maps import plot_channel, plot_passes
from hisatools.plotting.slices import plot_longitude_velocity, plot_slice
from hisatools.plotting.spectra import plot_spectrum
from hisatools.plotting.stages import plot_spatial_stages, plot_spectral_stages

__all__ = [
    "plot_catalog",
    "plot_channel",
    "plot_longitude_velocity",
    "plot_passes",
    "plot_slice",
    "plot_spatial_stages",
    "plot_spectral_stages",
    "plot_spectrum",
]
