"""What is measured of the features: places, sizes, widths, brightness, integrals and their uncertainties."""

import astropy.units as u
import numpy as np
from astropy.wcs.utils import proj_plane_pixel_area

from hisatools.catalog.voxels import velocity_kms
from hisatools.features import voxel_angular_widths, voxel_velocity_widths
from hisatools.io.checks import pixel_sides
from hisatools.shapes import shape_columns

__all__ = ["measured_columns"]

VOXELS_PER_BLOCK = 1_000_000


def measured_columns(voxels, t_on_kelvin, unabsorbed_kelvin, labels, first_pass, wcs, *, beam, errors):
    """Columns of the catalogue but for the names; arguments as of `hisatools.catalog.build_catalog`.

    Parameters
    ----------
    voxels : `LabelledVoxels`

    Returns
    -------
    dict
        Name to values, in the units of `hisatools.catalog.COLUMNS`; those that begin with an underscore are
        no columns.
    """
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
    return columns


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
    return lon % 360, lat, velocity_kms(wcs, v)


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
