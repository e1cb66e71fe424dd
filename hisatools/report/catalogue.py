"""The catalogue of a page: rows of the table, and spectra, outlines and all columns of some features."""

import astropy.units as u
import numpy as np

from hisatools.errors import ParameterError
from hisatools.outlines import pixel_outlines
from hisatools.plotting.catalog import numbers
from hisatools.plotting.chosen import deepest_sight_line
from hisatools.plotting.style import position_text
from hisatools.report.channels import sky_names
from hisatools.report.numbers import plain, text
from hisatools.results import MaskBit, flagged

N_ROWS = 5000
N_SPECTRA = 400
# Column: its heading as HTML, the form of its numbers, and the unit that the heading says. Those that the
# catalogue lacks, or has in another kind of unit, are left out.
SHOWN = {
    "name": ("Name", "", None),
    "lon": ("{lon} (deg)", ".3f", "deg"),
    "lat": ("{lat} (deg)", "+.3f", "deg"),
    "velocity": ("v (km/s)", "+.1f", "km/s"),
    "delta_t_peak": ("ΔT peak (K)", ".1f", "K"),
    "delta_t_peak_error": ("± (K)", ".1f", "K"),
    "t_unabsorbed_mean": ("T<sub>U</sub> (K)", ".1f", "K"),
    "velocity_fwhm": ("FWHM (km/s)", ".2f", "km/s"),
    "solid_angle": ("Area (arcmin²)", ".4g", "arcmin2"),
    "n_voxels": ("Voxels", "d", None),
    "reliability": ("Reliability", ".2f", None),
    "completeness": ("Completeness", ".2f", None),
    "ts_prior": ("TS", ".1f", None),
    "p_global": ("p global", ".2g", None),
    "t_spin": ("T<sub>S</sub> (K)", ".1f", "K"),
    "tau_peak": ("τ peak", ".2f", None),
    "column_density_peak": ("N peak (cm⁻²)", ".2e", "cm-2"),
    "mass_hi": ("M (M☉)", ".3g", "solMass"),
    "first_pass": ("Pass", "d", None),
    "edge": ("Edge", "", None),
}


def table(result, n_rows=N_ROWS):
    """The table of features.

    Parameters
    ----------
    result : `~hisatools.HISAResult`
    n_rows : int
        If there are more features, the first rows in the order of `rank`.

    Returns
    -------
    dict
        ``columns`` with title, description and whether it is text, and ``rows`` with id and cells.
    """
    catalog = result.catalog
    lon, lat = sky_names(result.wcs)
    cells = {name: _cells(catalog, name) for name in SHOWN if name in catalog.colnames}
    names = [name for name, texts in cells.items() if texts is not None]
    columns = [
        {
            "title": SHOWN[name][0].format(lon=lon, lat=lat),
            "about": getattr(catalog[name].info, "description", None) or "",
            "is_text": name in ("name", "edge"),
        }
        for name in names
    ]
    shown = np.sort(rank(catalog)[:n_rows])
    rows = [{"id": int(catalog["id"][k]), "cells": [cells[name][k] for name in names]} for k in shown]
    return {"columns": columns, "rows": rows, "n_all": len(catalog)}


def _cells(catalog, name):
    """A column as texts in the unit of its heading; None if it is in a unit of something else."""
    _, form, unit = SHOWN[name]
    if unit is None:
        return [text(value, form) for value in catalog[name]]
    try:
        return [text(value, form) for value in numbers(catalog, name, unit)]
    except ParameterError:
        return None


def rank(catalog):
    """Rows of a catalogue, the most significant first: by depth over error, by depth if one is unknown."""
    depth = -numbers(catalog, "delta_t_peak", u.K)
    if "delta_t_peak_error" in catalog.colnames:
        error = numbers(catalog, "delta_t_peak_error", u.K)
        if (np.isfinite(error) & (error > 0)).all():
            depth = depth / error
    return np.argsort(-depth, kind="stable")


def features(result, n_rows=N_ROWS, n_spectra=N_SPECTRA):
    """Places, outlines, spectra and columns of features.

    Parameters
    ----------
    result : `~hisatools.HISAResult`
    n_rows, n_spectra : int
        How many features have a place and an outline, and how many of these also a spectrum and all columns.

    Returns
    -------
    list of dict
        That JSON can hold, in the order of the catalogue. Where there is no feature, one with the ``id`` 0
        that has the spectrum of the brightest sight line.
    """
    catalog = result.catalog
    if not len(catalog):
        return [_brightest(result)]
    order = rank(catalog)[:n_rows]
    places = deepest_voxels(result)
    with_spectrum = order[:n_spectra]
    spectra = dict(zip(with_spectrum.tolist(), _spectra(result, places[with_spectrum]), strict=True))
    return [_feature(result, int(k), places[k], spectra.get(int(k))) for k in np.sort(order)]


def column_facts(catalog):
    """Name, unit and description of each column."""
    return [
        {
            "name": name,
            "unit": str(getattr(catalog[name], "unit", None) or ""),
            "about": getattr(catalog[name].info, "description", None) or "",
        }
        for name in catalog.colnames
    ]


def deepest_voxels(result):
    """Channel, row and column of the deepest voxel of each row of the catalogue; shape (n, 3).

    Voxels of features that were taken out of the catalogue count for none.
    """
    ids = np.asarray(result.catalog["id"], np.intp)
    row_of = np.full(max(ids.max(initial=0), int(result.labels.max(initial=0))) + 1, -1)
    row_of[ids] = np.arange(ids.size)
    deepest, places = np.zeros(ids.size), np.zeros((ids.size, 3), int)
    for channel, flags in enumerate(result.flags):
        row = np.where(flagged(flags, MaskBit.ACCEPTED), row_of[result.labels[channel]], -1)
        y, x = np.nonzero(row >= 0)
        if not y.size:
            continue
        row = row[y, x]
        delta_t = result.plane_kelvin("delta_t", channel)[y, x].astype(float)
        before = deepest.copy()
        np.minimum.at(deepest, row, delta_t)
        found = np.flatnonzero((delta_t == deepest[row]) & (delta_t < before[row]))[::-1]
        places[row[found]] = np.column_stack([np.full(found.size, channel), y[found], x[found]])
    return places


def _feature(result, k, place, spectrum):
    row = result.catalog[k]
    channel, y, x = (int(pixel) for pixel in place)
    made = {
        "id": int(row["id"]),
        "name": str(row["name"]),
        "place": [channel, y, x],
        "box": [int(row[f"{axis}_{end}"]) for axis in "vyx" for end in ("min", "max")],
        "outlines": [plain(np.ravel(line), 1) for line in pixel_outlines(result.labels, row)],
    }
    if spectrum is not None:
        made["position"] = _position(result, y, x)
        made["spectrum"] = spectrum
        made["columns"] = [text(row[name], ".6g") for name in result.catalog.colnames]
    return made


def _brightest(result):
    y, x = deepest_sight_line(result)
    kelvin = np.nan_to_num(result.t_on.value[:, y, x], nan=-np.inf)
    place = np.array([int(np.argmax(kelvin)), y, x])
    (spectrum,) = _spectra(result, place[None])
    what = "The sight line" if result.flags[0].size == 1 else "The sight line of the brightest voxel"
    return {
        "id": 0,
        "name": what,
        "place": place.tolist(),
        "box": [0, 0, y, y, x, x],
        "outlines": [],
        "position": _position(result, y, x),
        "spectrum": spectrum,
        "columns": [],
    }


def _position(result, y, x):
    """Where a pixel is, in words."""
    if result.meta.get("input", {}).get("position") == "not known":
        return "position not known"
    return f"{position_text(result, y, x).replace('$', '')}; x = {x}, y = {y}"


def _spectra(result, places):
    """T_ON of sight lines, and T_U with its uncertainty in their accepted voxels."""
    y, x = places[:, 1], places[:, 2]
    t_on = result.t_on.value[:, y, x]
    accepted = (result.flags[:, y, x] & np.uint8(MaskBit.ACCEPTED)) > 0
    t_unabsorbed = np.full(t_on.shape, np.nan)
    sigma = np.full(t_on.shape, np.nan)
    for channel in np.flatnonzero(accepted.any(axis=1)):
        t_unabsorbed[channel] = result.plane_kelvin("t_unabsorbed", channel)[y, x]
        if result.sigma_unabsorbed_kelvin is not None:
            sigma[channel] = result.plane_kelvin("sigma_t_unabsorbed", channel)[y, x]
    return [
        {
            "t_on": plain(t_on[:, n], 2),
            "channels": np.flatnonzero(accepted[:, n]).tolist(),
            "t_unabsorbed": plain(t_unabsorbed[accepted[:, n], n], 2),
            "sigma": plain(sigma[accepted[:, n], n], 2),
        }
        for n in range(len(places))
    ]
