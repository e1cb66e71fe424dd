"""The columns that every catalogue has."""

import astropy.units as u

from hisatools.shapes import SHAPE_COLUMNS

__all__ = ["COLUMNS", "set_column"]

KMS = u.km / u.s

# name: (dtype, unit, description)
COLUMNS = {
    "id": ("int32", None, "Value of the feature's voxels in labels.fits"),
    "name": ("U28", None, "GHISA lll.ll+b.bb+vvv, or HISA Jhhmmss.s+ddmmss+vvv where not Galactic; centroid"),
    "lon": ("float64", u.deg, "Longitude (or right ascension) of the |dT|-weighted centroid"),
    "lat": ("float64", u.deg, "Latitude (or declination) of the |dT|-weighted centroid"),
    "velocity": ("float64", KMS, "Velocity of the |dT|-weighted centroid"),
    "lon_peak": ("float64", u.deg, "Longitude (or right ascension) of the deepest voxel"),
    "lat_peak": ("float64", u.deg, "Latitude (or declination) of the deepest voxel"),
    "velocity_peak": ("float64", KMS, "Velocity of the deepest voxel"),
    "x_min": ("int32", None, "First pixel in longitude, from 0, inclusive"),
    "x_max": ("int32", None, "Last pixel in longitude, from 0, inclusive"),
    "y_min": ("int32", None, "First pixel in latitude, from 0, inclusive"),
    "y_max": ("int32", None, "Last pixel in latitude, from 0, inclusive"),
    "v_min": ("int32", None, "First channel, from 0 in file order, inclusive"),
    "v_max": ("int32", None, "Last channel, from 0 in file order, inclusive"),
    "n_voxels": ("int64", None, "Number of voxels"),
    "solid_angle": ("float64", u.arcmin**2, "Sky covered by the feature's sight lines"),
    "velocity_fwhm": ("float64", KMS, "FWHM of the |dT| spectrum summed over the feature's sight lines"),
    "angular_width_max": (
        "float64",
        u.arcmin,
        "Largest local angular width: diameter of the largest disc that the feature holds in a channel",
    ),
    "angular_width_mean": ("float64", u.arcmin, "Mean local angular width of the voxels"),
    "velocity_width_mean": ("float64", KMS, "Mean over the voxels of the FWHM of the line each belongs to"),
    **SHAPE_COLUMNS,
    "delta_t_peak": ("float64", u.K, "dT = T_ON - T_U of the deepest voxel, negative"),
    "delta_t_peak_error": (
        "float64",
        u.K,
        "1-sigma uncertainty of delta_t_peak: noise and T_U; NaN where not known",
    ),
    "delta_t_mean": ("float64", u.K, "Mean dT of the voxels, negative"),
    "t_unabsorbed_mean": ("float64", u.K, "Mean unabsorbed brightness T_U of the voxels"),
    "t_on_mean": ("float64", u.K, "Mean observed brightness T_ON of the voxels"),
    "absorption_integral": (
        "float64",
        u.K * KMS,
        "Integral of |dT| over velocity, mean of the feature's sight lines, positive",
    ),
    "absorption_integral_error": (
        "float64",
        u.K * KMS,
        "1-sigma uncertainty of absorption_integral: noise, and T_U as if all off by as many sigma",
    ),
    "absorption_sr": (
        "float64",
        u.K * KMS * u.sr,
        "Integral of |dT| over velocity and solid angle, positive",
    ),
    "absorption_sr_error": (
        "float64",
        u.K * KMS * u.sr,
        "1-sigma uncertainty of absorption_sr, likewise",
    ),
    "first_pass": ("uint8", None, "The pass in which the first of its voxels was accepted"),
    "edge": ("bool", None, "True if it touches the border of the cube or a blank voxel"),
}


def set_column(table, name, values, description, ucd=None):
    """Add a column, or put another in its place, with what it means.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Changed in place.
    name : str
    values : array_like or `~astropy.units.Quantity`, shape (n_rows,)
    description : str
    ucd : str, optional
        For the VOTable, where `hisatools.votable` does not know one by the name.
    """
    table[name] = values
    table[name].info.description = description
    if ucd:
        table[name].info.meta = {"ucd": ucd}
