"""The one style of all figures: colours, colour scales, the names of axes, and words for titles."""

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord

from hisatools.positions import sky_position

# Colours that remain distinct for colour-blind readers (Okabe and Ito).
SPECTRAL, SPATIAL, ACCEPTED, REJECTED = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
UNABSORBED = "#882255"
# Of the first pass, the second, and so on; later ones begin anew.
PASSES = ("#0072B2", "#E69F00", "#882255", "#009E73", "#56B4E9", "#D55E00")
EMISSION_MAP, ABSORPTION_MAP, BLANK = "inferno", "viridis", "0.8"
LABELS = {
    "delta_t": r"$\Delta T$ (K)",
    "t_unabsorbed": r"$T_\mathrm{U}$ (K)",
    "t_on": r"$T_\mathrm{ON}$ (K)",
}
BRIGHTNESS = "Brightness temperature (K)"
SKY_AXES = {
    "GLON": ("Galactic longitude", "Galactic latitude"),
    "RA": ("Right ascension", "Declination"),
    "ELON": ("Ecliptic longitude", "Ecliptic latitude"),
}
VELOCITY_FRAMES = {"LSRK": "LSR velocity", "LSRD": "LSR velocity", "BARYCENT": "Barycentric velocity"}
KMS = "km s$^{-1}$"


# --- words ------------------------------------------------------------------------------------


def sky_kind(wcs):
    """Which of `SKY_AXES` the sky axes are."""
    return wcs.wcs.ctype[0].split("-")[0]


def velocity_text(result, channel):
    """The velocity of a channel, for titles."""
    return speed_text(result.velocity[channel])


def speed_text(velocity):
    """A velocity, for titles."""
    # Adding 0 turns -0.0 into +0.0.
    number = f"{round(float(velocity.to_value(u.km / u.s)), 1) + 0.0:+.1f}".replace("-", "\u2212")
    return f"$v$ = {number} {KMS}"


def velocity_label(result):
    """The label of a velocity axis."""
    frame = VELOCITY_FRAMES.get(result.wcs.wcs.specsys.strip(), "Velocity")
    return f"{frame} ({KMS})"


def position_text(result, y, x):
    """The position of a pixel, for titles; in RA and Dec (ICRS) where not Galactic."""
    return sky_text(sky_position(result.wcs, y, x))


def sky_text(sky):
    """A position, for titles; in RA and Dec (ICRS) where not Galactic."""
    if sky.frame.name == "galactic":
        return f"$l$ = {sky.l.deg:.3f}\u00b0, $b$ = {sky.b.deg:+.3f}\u00b0".replace("-", "\u2212")
    sky = SkyCoord(sky).icrs
    ra, dec = sky.ra.to_string(u.hour, precision=1, pad=True), sky.dec.to_string(precision=0, alwayssign=True)
    return f"RA {ra}, Dec {dec}".replace("-", "\u2212")


# --- figures and scales -----------------------------------------------------------------------


def new_figure(width, height):
    """An empty figure of this size in inches, which keeps its parts from overlapping."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08)
    return figure


def new_axes(width, height, **projection):
    """The only axes of a new figure of this size in inches."""
    return new_figure(width, height).add_subplot(**projection)


def dress(ax):
    """Ticks of plots that are no maps: inward, on all sides."""
    ax.tick_params(which="both", direction="in", top=True, right=True)
    ax.minorticks_on()


def color_limits(what, *planes):
    """Limits of the colour scale: all but the most extreme half per cent, or dT down to its deepest."""
    values = np.concatenate([plane[np.isfinite(plane)] for plane in planes])
    if what == "delta_t":
        return (min(float(values.min(initial=0)), -1.0), 0.0)
    if not values.size:
        return (0.0, 1.0)
    low, high = np.percentile(values, [0.5, 99.5])
    return (float(low), float(high) if high > low else float(low) + 1)
