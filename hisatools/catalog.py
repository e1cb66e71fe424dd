"""The catalogue: one row for each feature of absorption.

Only the labelled voxels are worked on, all features at once, so that ten thousand features in a
survey cube take seconds, and some 50 bytes a labelled voxel instead of copies of the cube. Amplitudes
dT = T_ON - T_U are negative, as in Gibson et al. (2005, "the paper"); what is integrated over them is
given as a positive number.
"""

from dataclasses import dataclass

import astropy.units as u
import numpy as np
from astropy.coordinates import BarycentricMeanEcliptic, Galactic, SkyCoord
from astropy.table import QTable
from astropy.wcs.utils import proj_plane_pixel_area, wcs_to_celestial_frame

from hisatools.features import voxel_angular_widths, voxel_velocity_widths
from hisatools.io.checks import pixel_sides
from hisatools.shapes import SHAPE_COLUMNS, shape_columns

__all__ = ["VoxelErrors", "build_catalog", "feature_names", "sky_frame"]

KMS = u.km / u.s
VOXELS_PER_BLOCK = 1_000_000

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


@dataclass(frozen=True, eq=False)
class VoxelErrors:
    """Uncertainties of the labelled voxels, for `build_catalog`.

    Parameters
    ----------
    noise_kelvin, unabsorbed_kelvin : `~numpy.ndarray`, shape (n,), K
        1-sigma uncertainty of T_ON and of T_U, in the order of the array.
    correlated_voxels : float
        Volume over which the noise is correlated, in voxels.
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
    `~astropy.table.QTable`
        One row a feature in the order of the labels; every column has a unit where it can have one,
        and a description. ``meta`` names the sky frame (``FRAME``), the velocity frame
        (``SPECSYS``) and the beam (``BEAM``).

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
    voxels = _Voxels(t_on_kelvin, unabsorbed_kelvin, labels, wcs)
    columns = {"id": np.arange(1, voxels.n + 1)}
    columns |= _positions(voxels, wcs)
    columns |= _extents(voxels)
    columns |= _sizes(voxels, wcs, columns)
    columns |= _local_widths(voxels, labels, np.mean(pixel_sides(wcs, labels.shape)))
    columns |= shape_columns(voxels, columns["_pixel"], wcs, beam)
    columns |= _brightness(voxels, unabsorbed_kelvin)
    columns |= _integrals(voxels, columns)
    columns |= _uncertainties(voxels, columns, errors)
    columns["first_pass"] = voxels.smallest(first_pass.ravel()[voxels.index])
    columns["edge"] = _touches_edge(voxels, t_on_kelvin.ravel())
    columns["name"] = feature_names(
        SkyCoord(columns["lon"], columns["lat"], unit="deg", frame=sky_frame(wcs)), columns["velocity"] * KMS
    )
    return _table(columns, wcs, beam)


def feature_names(coordinates, velocity):
    """Names from positions, unique within the list.

    Parameters
    ----------
    coordinates : `~astropy.coordinates.SkyCoord`, shape (n,)
        Galactic positions give ``GHISA lll.ll+b.bb+vvv``, as in the paper's section 2.4; any other
        frame gives ``HISA Jhhmmss.s+ddmmss+vvv`` (ICRS, cut off and not rounded, as the IAU asks).
    velocity : `~astropy.units.Quantity`, shape (n,), velocity
        Rounded to km/s.

    Returns
    -------
    list of str
        Where a name comes up again, the second gets ``a``, the third ``b`` and so on.

    Examples
    --------
    >>> import astropy.units as u
    >>> from astropy.coordinates import SkyCoord
    >>> globule = SkyCoord([139.636] * u.deg, [1.186] * u.deg, frame="galactic")
    >>> feature_names(globule, [-41.04] * u.km / u.s)
    ['GHISA 139.64+1.19-041']
    """
    speeds = [_signed(value, 3, 0) for value in np.atleast_1d(velocity.to_value(KMS))]
    if isinstance(coordinates.frame, Galactic):
        places = [
            f"GHISA {round(lon, 2) % 360:06.2f}{_signed(lat, 4, 2)}"
            for lon, lat in zip(coordinates.l.deg.tolist(), coordinates.b.deg.tolist(), strict=True)
        ]
    else:
        icrs = coordinates.icrs
        places = [
            f"HISA J{_sexagesimal(lon / 15, 1)}{'-' if lat < 0 else '+'}{_sexagesimal(abs(lat), 0)}"
            for lon, lat in zip(icrs.ra.deg.tolist(), icrs.dec.deg.tolist(), strict=True)
        ]
    return _unique([place + speed for place, speed in zip(places, speeds, strict=True)])


def sky_frame(wcs):
    """The celestial frame of a cube.

    Parameters
    ----------
    wcs : `~astropy.wcs.WCS`
        With the two sky axes first.

    Returns
    -------
    `~astropy.coordinates.BaseCoordinateFrame`
    """
    if wcs.wcs.ctype[0].startswith("ELON"):  # which astropy does not tell from the WCS
        return BarycentricMeanEcliptic()
    return wcs_to_celestial_frame(wcs.celestial)


class _Voxels:
    """The labelled voxels of a cube in the order of the array, and what features have of them.

    What is kept is small, 4 bytes a voxel but for the place: there may be ten million voxels.
    """

    def __init__(self, t_on_kelvin, unabsorbed_kelvin, labels, wcs):
        self.shape = labels.shape
        self.index = np.flatnonzero(labels)
        if unabsorbed_kelvin.shape != self.index.shape:
            raise ValueError(
                f"unabsorbed_kelvin has the shape {unabsorbed_kelvin.shape}, and {self.index.size} voxels "
                "are labelled; give one value for each, in the order of the array"
            )
        self.feature = labels.ravel()[self.index] - 1
        self.depth = unabsorbed_kelvin - t_on_kelvin.ravel()[self.index]
        self.n = int(self.feature.max(initial=-1)) + 1
        self.count = np.bincount(self.feature, minlength=self.n)
        if self.n and self.count.min() == 0:
            raise ValueError(f"labels must run from 1 to {self.n} without gaps")
        self.weight = np.abs(self.depth)
        if not np.all(self.total(self.weight) > 0):
            raise ValueError("every label needs a voxel with dT other than 0 and none with NaN")
        self.deepest = self._deepest()
        self.channel_width_kms = float(np.abs(np.diff(_velocity(wcs, np.arange(2)))[0]))

    def place(self, axis):
        """Pixel or channel of each voxel along an axis of the cube."""
        following = int(np.prod(self.shape[axis + 1 :], dtype=np.intp))
        return self.index // following % self.shape[axis]

    def total(self, values):
        return np.bincount(self.feature, weights=values, minlength=self.n)

    def mean(self, values):
        return self.total(values) / self.count

    def smallest(self, values):
        return self._extreme(np.minimum, values)

    def largest(self, values):
        return self._extreme(np.maximum, values)

    def _extreme(self, function, values):
        # Any voxel of the feature will do to start from.
        found = np.empty(self.n, values.dtype)
        found[self.feature] = values
        function.at(found, self.feature, values)
        return found

    def _deepest(self):
        """The deepest voxel of each feature; of several as deep, the first in the array."""
        candidates = np.flatnonzero(self.depth == self.largest(self.depth)[self.feature])[::-1]
        deepest = np.empty(self.n, np.intp)
        deepest[self.feature[candidates]] = candidates  # the last one to be written stays
        return deepest


def _positions(voxels, wcs):
    weight = voxels.total(voxels.weight)
    peak, centroid = [], []
    for axis in range(3):
        place = voxels.place(axis)
        peak.append(place[voxels.deepest])
        centroid.append(voxels.total(np.multiply(voxels.weight, place, dtype=np.float64)) / weight)
    names = ("lon", "lat", "velocity")
    # The pixel centroid stays for the pixel area; it is no column.
    found = {"_pixel": centroid[1:]} | dict(zip(names, _world(wcs, *centroid), strict=True))
    return found | {f"{name}_peak": value for name, value in zip(names, _world(wcs, *peak), strict=True)}


def _extents(voxels):
    extents = {}
    for axis, name in enumerate("vyx"):
        place = voxels.place(axis)
        extents[f"{name}_min"] = voxels.smallest(place)
        extents[f"{name}_max"] = voxels.largest(place)
    return extents


def _sizes(voxels, wcs, columns):
    n_sight_lines = _sight_lines(voxels)
    pixel_sr = _pixel_area_sr(wcs, *columns["_pixel"])
    return {
        "_n_sight_lines": n_sight_lines,
        "_pixel_sr": pixel_sr,
        "n_voxels": voxels.count,
        "solid_angle": n_sight_lines * pixel_sr * u.sr.to(u.arcmin**2),
        "velocity_fwhm": _velocity_fwhm(voxels, columns["v_min"], columns["v_max"]),
    }


def _sight_lines(voxels):
    """Number of sight lines of each feature."""
    n_pixels = voxels.shape[1] * voxels.shape[2]
    sight_line = voxels.index % n_pixels
    sight_line += np.multiply(voxels.feature, n_pixels, dtype=np.intp)
    sight_line.sort()
    first = np.ones(sight_line.size, dtype=bool)
    np.not_equal(sight_line[1:], sight_line[:-1], out=first[1:])
    return np.bincount(sight_line[first] // n_pixels, minlength=voxels.n)


def _local_widths(voxels, labels, pixel_arcmin):
    """Widths at every voxel (section 3.3.1), taken together by feature."""
    line = voxel_velocity_widths(voxels.depth, voxels.index, voxels.shape)
    widths = {"velocity_width_mean": voxels.mean(line) * voxels.channel_width_kms}
    if labels[0].size == 1:
        unknown = np.full(voxels.n, np.nan)
        return widths | {"angular_width_max": unknown, "angular_width_mean": unknown}
    angular = voxel_angular_widths(channel > 0 for channel in labels)
    return widths | {
        "angular_width_max": voxels.largest(angular) * pixel_arcmin,
        "angular_width_mean": voxels.mean(angular) * pixel_arcmin,
    }


def _brightness(voxels, t_unabsorbed):
    delta_t_mean = -voxels.mean(voxels.depth)
    t_unabsorbed_mean = voxels.mean(t_unabsorbed)
    return {
        "delta_t_peak": -voxels.depth[voxels.deepest].astype(np.float64),
        "delta_t_mean": delta_t_mean,
        "t_unabsorbed_mean": t_unabsorbed_mean,
        "t_on_mean": t_unabsorbed_mean + delta_t_mean,
    }


def _integrals(voxels, columns):
    total = voxels.total(voxels.weight) * voxels.channel_width_kms
    return {
        "absorption_integral": total / columns["_n_sight_lines"],
        "absorption_sr": total * columns["_pixel_sr"],
    }


def _uncertainties(voxels, columns, errors):
    """Of the deepest voxel and of the integrals.

    The noise of neighbours is alike over its correlation volume. T_U of all voxels of a feature comes
    from much the same T_OFF, and is taken to be off by as many sigma in all of them, the safe side.
    """
    if errors is None:
        unknown = np.full(voxels.n, np.nan)
        return {f"{name}_error": unknown for name in ("delta_t_peak", "absorption_integral", "absorption_sr")}
    alike = np.minimum(voxels.count, errors.correlated_voxels)
    noise = np.sqrt(voxels.total(errors.noise_kelvin.astype(float) ** 2) * alike)
    total = np.hypot(noise, voxels.total(errors.unabsorbed_kelvin)) * voxels.channel_width_kms
    return {
        "delta_t_peak_error": errors.delta_kelvin[voxels.deepest],
        "absorption_integral_error": total / columns["_n_sight_lines"],
        "absorption_sr_error": total * columns["_pixel_sr"],
    }


def _velocity_fwhm(voxels, first, last):
    """FWHM of each feature's summed |dT| spectrum, km/s."""
    # All spectra end to end in one array, each with a channel of 0 on either side: the searches
    # for a half-maximum point end there at the latest.
    length = last - first + 3
    start = np.cumsum(length) - length
    place = voxels.place(0)
    place += (start - first + 1)[voxels.feature]
    spectrum = np.bincount(place, weights=voxels.weight, minlength=int(length.sum()))
    owner = np.repeat(np.arange(voxels.n), length)
    order = np.lexsort((-spectrum, owner))
    peak = order[start]
    half = spectrum[peak] / 2
    low = np.flatnonzero(spectrum <= half[owner])
    after = np.searchsorted(low, peak)
    right, left = low[after], low[after - 1]
    # left and right are at or below the half maximum, their inner neighbours above it.
    upper = right - (half - spectrum[right]) / (spectrum[right - 1] - spectrum[right])
    lower = left + (half - spectrum[left]) / (spectrum[left + 1] - spectrum[left])
    return (upper - lower) * voxels.channel_width_kms


def _touches_edge(voxels, brightness):
    """Whether a feature has a voxel on the border of the cube or beside a blank one, NaN when flattened."""
    touches = np.zeros(voxels.n, dtype=bool)
    for start in range(0, voxels.index.size, VOXELS_PER_BLOCK):
        block = slice(start, start + VOXELS_PER_BLOCK)
        index, feature = voxels.index[block], voxels.feature[block]
        stride = 1
        for length in reversed(voxels.shape):
            if length > 1:
                place = index // stride % length
                for border, step in ((0, -stride), (length - 1, stride)):
                    outside = place == border
                    touches[feature[outside]] = True
                    blank = np.isnan(brightness[index[~outside] + step])
                    touches[feature[~outside][blank]] = True
            stride *= length
    return touches


def _world(wcs, v, y, x):
    """Longitude and latitude in degrees and velocity in km/s of 0-based pixels."""
    lon, lat = wcs.celestial.wcs_pix2world(np.asarray(x, float), np.asarray(y, float), 0)
    return lon % 360, lat, _velocity(wcs, v)


def _velocity(wcs, v):
    axis = wcs.sub([3])
    (value,) = axis.wcs_pix2world(np.asarray(v, float), 0)
    return value * axis.wcs.cunit[0].to(KMS)


def _pixel_area_sr(wcs, y, x):
    """Solid angle of the pixels around these positions: the area their half-pixel steps span."""
    celestial = wcs.celestial

    def direction(dy, dx):
        lon, lat = np.radians(celestial.wcs_pix2world(x + dx, y + dy, 0))
        return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)

    along_x = direction(0, 0.5) - direction(0, -0.5)
    along_y = direction(0.5, 0) - direction(-0.5, 0)
    area = np.linalg.norm(np.cross(along_x, along_y), axis=-1)
    # A pixel at the rim of an all-sky projection may have a corner off the sky.
    flat = proj_plane_pixel_area(celestial) * u.deg.to(u.rad) ** 2
    return np.where(np.isfinite(area), area, flat)


def _table(columns, wcs, beam):
    table = QTable()
    for name, (dtype, unit, description) in COLUMNS.items():
        values = np.asarray(columns[name], dtype=dtype)
        table[name] = values if unit is None else u.Quantity(values, unit, copy=False)
        table[name].info.description = description
    table.meta = {"FRAME": sky_frame(wcs).name, "SPECSYS": wcs.wcs.specsys}
    if beam is not None:
        major, minor = (getattr(beam, axis).to_value(u.arcmin) for axis in ("major", "minor"))
        table.meta["BEAM"] = f"{major:.4g} x {minor:.4g} arcmin, PA {beam.pa.to_value(u.deg):.4g} deg"
    return table


def _signed(value, width, digits):
    """A number with its sign and leading zeros; what rounds to 0 is positive."""
    return f"{round(float(value), digits) + 0.0:+0{width + 1}.{digits}f}"


def _sexagesimal(value, digits):
    """Hours or degrees as hhmmss(.s), cut off."""
    # The small number keeps 12:34:56 from being cut to 12:34:55.9 by a last binary digit.
    steps = int(value * 3600 * 10**digits + 1e-6)
    seconds, rest = divmod(steps, 10**digits)
    text = f"{seconds // 3600:02d}{seconds // 60 % 60:02d}{seconds % 60:02d}"
    return text + (f".{rest}" if digits else "")


def _unique(names):
    """Append a, b, ... (then aa, ab, ...) to every name that came before."""
    seen = {}
    result = []
    for name in names:
        result.append(name + _letters(seen.get(name, 0)))
        seen[name] = seen.get(name, 0) + 1
    return result


def _letters(number):
    text = ""
    while number:
        number, digit = divmod(number - 1, 26)
        text = chr(ord("a") + digit) + text
    return text
