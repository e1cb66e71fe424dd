"""How long, how wide and which way features lie on the sky: second moments of their absorption."""

import astropy.units as u
import numpy as np
from astropy.stats import gaussian_sigma_to_fwhm

__all__ = ["SHAPE_COLUMNS", "shape_columns"]

# name: (dtype, unit, description)
SHAPE_COLUMNS = {
    "major_fwhm": (
        "float64",
        u.arcmin,
        "Length: FWHM of the Gaussian with the second moment of |dT| along the long axis",
    ),
    "minor_fwhm": ("float64", u.arcmin, "Width: the same across it"),
    "position_angle": ("float64", u.deg, "Of the long axis, from north towards growing longitude, 0 to 180"),
    "elongation": ("float64", None, "major_fwhm over minor_fwhm"),
    "major_deconvolved": (
        "float64",
        u.arcmin,
        "Length without what the beam adds; NaN if the beam is not known or the feature no larger",
    ),
    "minor_deconvolved": ("float64", u.arcmin, "Width without what the beam adds; NaN likewise"),
}
# Of a pixel, which is a box, in units of its side.
PIXEL_VARIANCE = 1 / 12
# Less of the beam's variance than this is rounding.
ROUNDING = 1e-6


def shape_columns(voxels, pixel, wcs, beam=None):
    """Sizes and position angles of features.

    Parameters
    ----------
    voxels : object
        With ``shape``, ``feature``, ``weight``, ``place(axis)`` and ``total(values)``, as the catalogue has
        them.
    pixel : tuple of `~numpy.ndarray`, shape (n,)
        Centroids (y, x) in pixels.
    wcs : `~astropy.wcs.WCS`
        Longitude, latitude, velocity.
    beam : `~radio_beam.Beam`, optional
        Its position angle counts as the features' does.

    Returns
    -------
    dict
        A column for each of `SHAPE_COLUMNS`. NaN for one sight line, which has no size, and where the
        pixel's place on the sky is not known.

    Notes
    -----
    With the moments M in pixels and J the pixel's sides on the sky, towards east and north at the centroid,
    those on the sky are J M J^T. The absorption ends where it is no longer found, so that a Gaussian feature
    comes out somewhat too small.

    Examples
    --------
    A bar of 9 x 1 pixels of 0.3 arcmin along the longitude, at an angle of 90 deg from north:

    >>> import numpy as np
    >>> from hisatools.catalog.voxels import LabelledVoxels
    >>> from hisatools.datasets import example_model
    >>> from hisatools.shapes import shape_columns
    >>> labels = np.zeros((3, 20, 20), int)
    >>> labels[1, 10, 4:13] = 1
    >>> wcs = example_model().cube.wcs
    >>> voxels = LabelledVoxels(np.where(labels, 60.0, 100.0), np.full(9, 100.0), labels, wcs)
    >>> found = shape_columns(voxels, (np.array([10.0]), np.array([8.0])), wcs)
    >>> for name in ("major_fwhm", "minor_fwhm", "position_angle"):
    ...     print(name, found[name].round(1))
    ...
    major_fwhm [1.8]
    minor_fwhm [0.2]
    position_angle [90.]
    """
    moments = _pixel_moments(voxels, pixel)
    if voxels.shape[1:] == (1, 1):
        moments[:] = np.nan
    sides = _pixel_sides_arcmin(wcs, *pixel)
    moments = sides @ moments @ np.swapaxes(sides, 1, 2)
    major, minor = _axes(moments)
    # Without a beam nothing is known to be taken away.
    of_beam = np.full((2, 2), np.nan) if beam is None else _beam_moments(beam)
    bare_major, bare_minor = _axes(moments - of_beam, ROUNDING * np.abs(of_beam).max())
    east, both, north = moments[:, 0, 0], moments[:, 0, 1], moments[:, 1, 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "major_fwhm": major,
            "minor_fwhm": minor,
            "position_angle": np.degrees(0.5 * np.arctan2(2 * both, north - east)) % 180,
            "elongation": major / minor,
            "major_deconvolved": bare_major,
            "minor_deconvolved": bare_minor,
        }


def _pixel_moments(voxels, pixel):
    """Second moments (x, y) of |dT| over its sum, in pixels; shape (n, 2, 2)."""
    weight = voxels.total(voxels.weight)
    offsets = [
        voxels.place(axis) - centroid[voxels.feature]
        for axis, centroid in zip((2, 1), pixel[::-1], strict=True)
    ]
    moments = np.empty((len(weight), 2, 2))
    for i, one in enumerate(offsets):
        for k, other in enumerate(offsets):
            moments[:, i, k] = voxels.total(voxels.weight * one * other) / weight
    return moments + PIXEL_VARIANCE * np.eye(2)


def _pixel_sides_arcmin(wcs, y, x):
    """How far a step of a pixel along x and y goes to the east and the north; shape (n, 2, 2)."""
    celestial = wcs.celestial
    sides = np.empty((len(x), 2, 2))
    for k, (dx, dy) in enumerate(((0.5, 0.0), (0.0, 0.5))):
        (before, low), (after, high) = (
            celestial.wcs_pix2world(x + sign * dx, y + sign * dy, 0) for sign in (-1, 1)
        )
        east = (after - before + 180) % 360 - 180
        sides[:, 0, k] = 60 * east * np.cos(np.radians((low + high) / 2))
        sides[:, 1, k] = 60 * (high - low)
    return sides


def _beam_moments(beam):
    """Second moments (east, north) of the beam in arcmin^2."""
    angle = beam.pa.to_value(u.rad)
    along = np.array([np.sin(angle), np.cos(angle)])
    across = np.array([np.cos(angle), -np.sin(angle)])
    major, minor = (
        (axis.to_value(u.arcmin) / gaussian_sigma_to_fwhm) ** 2 for axis in (beam.major, beam.minor)
    )
    return major * np.outer(along, along) + minor * np.outer(across, across)


def _axes(moments, least=0.0):
    """FWHM along both axes of moments, the longer first; NaN where a moment is not above the least."""
    known = np.isfinite(moments).all(axis=(1, 2))
    variances = np.full((len(moments), 2), np.nan)
    variances[known] = np.linalg.eigvalsh(moments[known])[:, ::-1]
    with np.errstate(invalid="ignore"):
        return gaussian_sigma_to_fwhm * np.sqrt(np.where(variances > least, variances, np.nan)).T
