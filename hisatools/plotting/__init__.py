"""Figures of a result, on sky coordinates, and the pieces they are made of.

Figures are made without pyplot, so that nothing here depends on a display or changes a setting of
the user. Matplotlib is imported when something is drawn. Absorption is drawn dark on light and what
has no data grey; all colours remain distinct for colour-blind readers.
"""

from hisatools.plotting.catalog import plot_catalog
from hisatools.plotting.chosen import deepest_channel, deepest_sight_line
from hisatools.plotting.maps import (
    draw_map,
    draw_overlay,
    draw_pale_map,
    label_sky,
    plot_channel,
    plot_passes,
)
from hisatools.plotting.slices import plot_longitude_velocity, plot_slice
from hisatools.plotting.spectra import draw_spectrum, plot_spectrum, velocity_bins
from hisatools.plotting.stages import plot_spatial_stages, plot_spectral_stages
from hisatools.plotting.style import (
    ABSORPTION_MAP,
    ACCEPTED,
    BLANK,
    EMISSION_MAP,
    LABELS,
    REJECTED,
    SKY_AXES,
    SPATIAL,
    SPECTRAL,
    UNABSORBED,
    color_limits,
    new_figure,
    position_text,
    velocity_label,
    velocity_text,
)

__all__ = [
    "ABSORPTION_MAP",
    "ACCEPTED",
    "BLANK",
    "EMISSION_MAP",
    "LABELS",
    "REJECTED",
    "SKY_AXES",
    "SPATIAL",
    "SPECTRAL",
    "UNABSORBED",
    "color_limits",
    "deepest_channel",
    "deepest_sight_line",
    "draw_map",
    "draw_overlay",
    "draw_pale_map",
    "draw_spectrum",
    "label_sky",
    "new_figure",
    "plot_catalog",
    "plot_channel",
    "plot_longitude_velocity",
    "plot_passes",
    "plot_slice",
    "plot_spatial_stages",
    "plot_spectral_stages",
    "plot_spectrum",
    "position_text",
    "velocity_bins",
    "velocity_label",
    "velocity_text",
]
