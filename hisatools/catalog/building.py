"""From labelled voxels to the catalogue."""

from dataclasses import dataclass

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord

from hisatools.catalog.columns import COLUMNS
from hisatools.catalog.measuring import measured_columns
from hisatools.catalog.names import feature_names
from hisatools.catalog.table import HISACatalog
from hisatools.catalog.voxels import LabelledVoxels
from hisatools.io.sky import sky_frame

__all__ = ["VoxelErrors", "build_catalog"]

KMS = u.km / u.s


@dataclass(frozen=True, eq=False)
class VoxelErrors:
    """Uncertainties of the labelled voxels, for `build_catalog`.

    Parameters
    ----------
    noise_kelvin, unabsorbed_kelvin : `~numpy.ndarray`, shape (n,), K
        1-sigma uncertainty of T_ON and of T_U, in the order of the array.
    correlated_voxels : float
        Volume over which the noise is correlated, in voxels.

    Examples
    --------
    Two voxels; T_U of the second one is known exactly.

    >>> import numpy as np
    >>> from hisatools.catalog import VoxelErrors
    >>> errors = VoxelErrors(np.array([3.0, 3.0]), np.array([4.0, 0.0]), correlated_voxels=11)
    >>> errors.delta_kelvin
    array([5., 3.])
    """

    noise_kelvin: np.ndarray
    unabsorbed_kelvin: np.ndarray
    correlated_voxels: float = 1.0

    @property
    def delta_kelvin(self):
        """1-sigma uncertainty of dT; K."""
        return np.hypot(self.noise_kelvin, self.unabsorbed_kelvin)


def build_catalog(t_on_kelvin, unabsorbed_kelvin, labels, first_pass, wcs, *, beam=None, errors=None):
    """Measure every feature of a label cube.

    Parameters
    ----------
    t_on_kelvin : `~numpy.ndarray` of float32, shape (n_v, n_y, n_x), K
        Observed brightness; NaN where the input is blank.
    unabsorbed_kelvin : `~numpy.ndarray` of float32, shape (n,), K
        T_U of the labelled voxels, in the order of the array.
    labels : `~numpy.ndarray` of int32, shape (n_v, n_y, n_x)
        0 outside features, and 1 ... n without gaps; no labelled voxel is NaN.
    first_pass : `~numpy.ndarray` of uint8, same shape
        The pass in which a voxel was first accepted, from 1.
    wcs : `~astropy.wcs.WCS`
        Three axes: longitude, latitude, velocity.
    beam : `~radio_beam.Beam`, optional
        Written to the table's ``meta``.
    errors : `VoxelErrors`, optional
        Without them the uncertainties in the table are NaN.

    Returns
    -------
    HISACatalog
        One row a feature in the order of the labels; every column has a unit where it can have one,
        and a description. ``meta`` names the sky frame (``FRAME``, for FK4 and FK5 with
        ``EQUINOX``), the velocity frame (``SPECSYS``) and the beam (``BEAM``).

    Raises
    ------
    ValueError
        If there is not one T_U for each labelled voxel, the labels have gaps, or a feature has no
        absorption at all.

    Notes
    -----
    ``velocity_fwhm`` is measured as in the paper's section 3.3.1, but on the feature's summed
    spectrum: the closest half-maximum points on both sides of its peak, interpolated linearly, with 0
    beyond the feature. The angular widths and ``velocity_width_mean`` are of the local widths of that
    section, see `hisatools.features`, in pixels of the size at the centre of the field; one sight
    line has no angular width (NaN). Pixel areas are those at each centroid, so the change of the
    pixel's area over a wide field is followed. An axis of length 1 has no border for ``edge``.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.wcs import WCS
    >>> wcs = WCS(naxis=3)
    >>> wcs.wcs.ctype = ["GLON-CAR", "GLAT-CAR", "VRAD"]
    >>> wcs.wcs.cunit = ["deg", "deg", "m/s"]
    >>> wcs.wcs.crval = [139.6, 0, -41e3]
    >>> wcs.wcs.cdelt = [-0.005, 0.005, -824.46]
    >>> t_on = np.full((5, 5, 5), 100, dtype="float32")
    >>> t_on[2, 1:3, 1:4] = 60
    >>> labels = (t_on < 100).astype("int32")
    >>> t_unabsorbed = np.full(6, 100, dtype="float32")
    >>> catalog = build_catalog(t_on, t_unabsorbed, labels, labels.astype("uint8"), wcs)
    >>> print(catalog["name"][0], catalog["n_voxels"][0], catalog["delta_t_peak"][0])
    GHISA 139.59+0.01-043 6 -40.0 K
    """
    voxels = LabelledVoxels(t_on_kelvin, unabsorbed_kelvin, labels, wcs)
    columns = measured_columns(
        voxels, t_on_kelvin, unabsorbed_kelvin, labels, first_pass, wcs, beam=beam, errors=errors
    )
    columns["name"] = feature_names(
        SkyCoord(columns["lon"], columns["lat"], unit="deg", frame=sky_frame(wcs)), columns["velocity"] * KMS
    )
    return _table(columns, wcs, beam)


def _table(columns, wcs, beam):
    table = HISACatalog()
    for name, (dtype, unit, description) in COLUMNS.items():
        values = np.asarray(columns[name], dtype=dtype)
        table[name] = values if unit is None else u.Quantity(values, unit, copy=False)
        table[name].info.description = description
    frame = sky_frame(wcs)
    table.meta = {"FRAME": frame.name, "SPECSYS": wcs.wcs.specsys}
    if frame.name in ("fk4", "fk5"):
        year = frame.equinox.byear if frame.name == "fk4" else frame.equinox.jyear
        table.meta["EQUINOX"] = f"{'B' if frame.name == 'fk4' else 'J'}{year:.10g}"
    if beam is not None:
        major, minor = (getattr(beam, axis).to_value(u.arcmin) for axis in ("major", "minor"))
        table.meta["BEAM"] = f"{major:.4g} x {minor:.4g} arcmin, PA {beam.pa.to_value(u.deg):.4g} deg"
    return table
