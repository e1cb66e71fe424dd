"""Columns of a catalogue against each other, and its features on the sky."""

import astropy.units as u
import numpy as np

from hisatools.errors import ParameterError
from hisatools.plotting.chosen import check_map
from hisatools.plotting.maps import label_sky
from hisatools.plotting.style import REJECTED, SKY_AXES, SPECTRAL, VELOCITY_FRAMES, dress, new_axes

__all__ = ["plot_catalog"]

NAMES = {
    "lon_peak": "Longitude of the deepest voxel",
    "lat_peak": "Latitude of the deepest voxel",
    "velocity_peak": "Velocity of the deepest voxel",
    "n_voxels": "Number of voxels",
    "velocity_fwhm": "FWHM of the line",
    "angular_width_max": "Largest angular width",
    "angular_width_mean": "Mean angular width",
    "velocity_width_mean": "Mean linewidth",
    "major_fwhm": "Length (FWHM)",
    "minor_fwhm": "Width (FWHM)",
    "major_deconvolved": "Length without the beam",
    "minor_deconvolved": "Width without the beam",
    "delta_t_peak": r"Deepest $\Delta T$",
    "delta_t_mean": r"Mean $\Delta T$",
    "t_unabsorbed_mean": r"Mean $T_\mathrm{U}$",
    "t_on_mean": r"Mean $T_\mathrm{ON}$",
    "absorption_integral": "Absorption integral",
    "absorption_sr": "Absorption integral over the sky",
    "first_pass": "First pass",
    "edge": "At an edge (1) or not (0)",
    "ts": "TS",
    "ts_prior": "TS with the prior",
    "p_local": "Local p",
    "p_global": "Global p",
    "t_spin": r"$T_\mathrm{S}$",
    "mass_hi": "Mass of cold H I",
    "mass_total": "Mass of all hydrogen",
}
FRAMES = {"galactic": "GLON", "barycentricmeanecliptic": "ELON", "icrs": "RA", "fk5": "RA", "fk4": "RA"}
SYMBOLS = {"deg": "deg", "solMass": r"M$_\odot$"}
# Areas of the markers, points squared: of all if no size is asked for, of the smallest and the largest.
AREA, AREAS = 36, (14, 220)
COLOR_MAP = "viridis"


def plot_catalog(catalog, x="velocity", y="delta_t_peak", *, color=None, size=None, ax=None):
    """Draw two columns of a catalogue against each other; a third can be the colour, a fourth the size.

    Parameters
    ----------
    catalog : `~hisatools.HISAResult` or `~astropy.table.Table`
        A result, or a catalogue of one; also one that was filtered or joined to other tables.
    x, y : str
        Columns with numbers. With "lon" and "lat" the features are drawn on the sky, in the field of the
        result if ``catalog`` is one.
    color, size : str, optional
        Columns with numbers. The area of a marker grows linearly with the amount of ``size``.
    ax : `~matplotlib.axes.Axes`, optional
        Where to draw; by default in a new figure. For the sky, a
        `~astropy.visualization.wcsaxes.WCSAxes` with ``result.wcs.celestial`` if ``catalog`` is a result.

    Returns
    -------
    `~matplotlib.axes.Axes`
        Its ``figure`` can be shown and saved. Bars are the 1-sigma uncertainties of columns that have
        them (``delta_t_peak_error``). Rows without a value are left out, and the figure says how many; those
        without a ``color`` are pale.

    Raises
    ------
    ParameterError
        If a column is not there or has no numbers.
    InputError
        If a result of a single spectrum is to be drawn on the sky.

    Examples
    --------
    >>> from hisatools.datasets import example_result
    >>> from hisatools.plotting import plot_catalog
    >>> ax = plot_catalog(example_result().catalog, "velocity", "delta_t_peak", size="solid_angle")
    >>> ax.get_xlabel()
    'LSR velocity (km s$^{-1}$)'
    """
    on_sky = (x, y) == ("lon", "lat")
    table, wcs, shape = _parts(catalog, on_sky)
    columns = {
        role: numbers(table, name, u.deg if on_sky and role in "xy" else None)
        for role, name in _roles(x, y, color, size)
    }
    shown = np.all([np.isfinite(values) for role, values in columns.items() if role != "color"], axis=0)
    columns = {role: values[shown] for role, values in columns.items()}
    if on_sky and wcs is not None:
        ax = new_axes(6.4, 5.4, projection=wcs) if ax is None else ax
        columns["x"], columns["y"] = wcs.wcs_world2pix(columns["x"], columns["y"], 0)
        ax.set(xlim=(-0.5, shape[1] - 0.5), ylim=(-0.5, shape[0] - 0.5), aspect="equal")
        label_sky(ax, wcs)
    else:
        ax = new_axes(6.8, 4.8) if ax is None else ax
        if on_sky:
            columns["x"] = _unwrapped(columns["x"])
        else:
            _draw_errors(ax, table[shown], x, y, columns)
        dress(ax)
        ax.set(xlabel=_label(table, x, on_sky), ylabel=_label(table, y, on_sky))
    _draw_points(ax, table, columns, color, size)
    if on_sky and wcs is None:
        _like_the_sky(ax, columns["y"])
    _say_what_is_missing(ax, shown)
    return ax


def numbers(table, name, unit=None):
    """A column as floats without unit, NaN where masked; shape (n_rows,).

    Parameters
    ----------
    table : `~astropy.table.Table`
    name : str
    unit : `~astropy.units.Unit`, optional
        To convert to. A column without a unit is taken to be in it.

    Raises
    ------
    ParameterError
        If there is no such column, it has no numbers, or its unit is of something else.
    """
    known = [known for known in table.colnames if _has_numbers(table[known])]
    if name not in known:
        fault = "has no numbers" if name in table.colnames else "is not in the catalogue"
        raise ParameterError(f"column {name!r} {fault}; columns with numbers: {', '.join(known)}")
    column = table[name]
    mask = getattr(column, "mask", np.zeros(len(table), bool))
    values = getattr(column, "unmasked", column)
    values = values.value if isinstance(values, u.Quantity) else np.ma.getdata(values)
    values = np.where(mask, np.nan, np.asarray(values, float))
    own = getattr(column, "unit", None)
    if unit is None or own is None:
        return values
    try:
        return u.Unit(own).to(unit, values)
    except u.UnitConversionError:
        raise ParameterError(f"column {name!r} is in {own}, which is no {unit}; convert it") from None


def _has_numbers(column):
    """Whether a column is one number a row; others, such as a SkyCoord, have no dtype or several axes."""
    return getattr(column, "dtype", np.dtype(object)).kind in "fiub" and column.ndim == 1


def _parts(catalog, on_sky):
    """The table, and of a result the axes of its maps and their shape."""
    if hasattr(catalog, "colnames"):
        return catalog, None, None
    if hasattr(catalog, "catalog"):
        if on_sky:
            check_map(catalog)
        return catalog.catalog, catalog.wcs.celestial, catalog.flags.shape[1:]
    raise ParameterError(f"catalog must be a HISAResult or a Table, got {type(catalog).__name__}")


def _roles(x, y, color, size):
    roles = {"x": x, "y": y, "color": color, "size": size}
    return [(role, name) for role, name in roles.items() if name is not None]


def _label(table, name, on_sky=False):
    """The name of a column in words, with its unit; positions on the sky are drawn in deg."""
    words = NAMES.get(name, name.replace("_", " ").capitalize())
    if name in ("lon", "lat"):
        kind = FRAMES.get(table.meta.get("FRAME"))
        words = SKY_AXES.get(kind, ("Longitude", "Latitude"))[name == "lat"]
    if name == "velocity":
        words = VELOCITY_FRAMES.get(str(table.meta.get("SPECSYS", "")).strip(), "Velocity")
    unit = u.deg if on_sky else getattr(table[name], "unit", None)
    if unit is None or unit == u.one:
        return words
    return f"{words} ({_unit_text(u.Unit(unit))})"


def _unit_text(unit):
    """A unit as the labels of other figures have it, positive powers first: km s$^{-1}$."""
    if unit.scale != 1:
        return unit.to_string("latex_inline")
    factors = sorted(zip(unit.bases, unit.powers, strict=True), key=lambda factor: factor[1] < 0)
    return " ".join(
        SYMBOLS.get(base.name, base.name) + (f"$^{{{power}}}$" if power != 1 else "")
        for base, power in factors
    )


def _draw_errors(ax, table, x, y, columns):
    """Bars of the columns that have an uncertainty."""
    found = {}
    for role, name in (("xerr", x), ("yerr", y)):
        if f"{name}_error" in table.colnames:
            errors = numbers(table, f"{name}_error", getattr(table[name], "unit", None))
            # An uncertainty that is not known, or cannot be one, has no bar.
            found[role] = np.where(np.isfinite(errors) & (errors > 0), errors, 0)
    if found:
        ax.errorbar(columns["x"], columns["y"], **found, fmt="none", ecolor="0.6", elinewidth=1, zorder=1)


def _draw_points(ax, table, columns, color, size):
    from matplotlib import colormaps

    style = {"s": AREA, "edgecolors": "black", "linewidths": 0.6, "zorder": 2}
    amounts = np.abs(columns["size"]) if size else None
    if size and amounts.size:
        style["s"] = _areas(amounts, amounts.max())
    if not color or not columns["x"].size:
        ax.scatter(columns["x"], columns["y"], c=SPECTRAL, alpha=0.8, **style)
    else:
        style |= {"cmap": colormaps[COLOR_MAP].with_extremes(bad="0.85"), "plotnonfinite": True}
        points = ax.scatter(columns["x"], columns["y"], c=columns["color"], **style)
        ax.figure.colorbar(points, ax=ax, label=_label(table, color))
    if size and amounts.size:
        _add_size_legend(ax, amounts.max(), _label(table, size))


def _areas(amounts, largest):
    least, most = AREAS
    return least + (most - least) * amounts / (largest or 1)


def _add_size_legend(ax, largest, label):
    """Markers of three round amounts."""
    from matplotlib.lines import Line2D
    from matplotlib.ticker import MaxNLocator

    amounts = [amount for amount in MaxNLocator(3).tick_values(0, largest) if 0 < amount <= largest]
    handles = [
        Line2D(
            [],
            [],
            marker="o",
            linestyle="none",
            markersize=np.sqrt(_areas(amount, largest)),
            markerfacecolor="none",
            markeredgecolor="black",
            label=f"{amount:g}",
        )
        for amount in amounts or [largest]
    ]
    # Above the axes: inside, it would hide features.
    place = {"loc": "lower center", "bbox_to_anchor": (0.5, 1), "ncols": len(handles), "frameon": False}
    ax.legend(handles=handles, title=label, fontsize="small", title_fontsize="small", **place)


def _unwrapped(longitudes):
    """Longitudes, deg, without a jump at 360 where the features lie about 0."""
    jump = longitudes.size and np.ptp(longitudes) > 180
    return np.where(longitudes > 180, longitudes - 360, longitudes) if jump else longitudes


def _like_the_sky(ax, latitudes):
    """Longitude grows to the left, and angles are as long as on the sky."""
    ax.invert_xaxis()
    middle = np.radians(latitudes.mean()) if latitudes.size else 0.0
    ax.set_aspect(1 / max(np.cos(middle), 0.01), adjustable="datalim")


def _say_what_is_missing(ax, shown):
    n_missing = np.count_nonzero(~shown)
    if not shown.any():
        ax.text(0.5, 0.5, "none", ha="center", transform=ax.transAxes)
    if n_missing:
        text = f"{n_missing} of {shown.size} features have no value"
        ax.text(0.02, 0.02, text, transform=ax.transAxes, fontsize="small", color=REJECTED)
