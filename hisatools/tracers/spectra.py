"""Mean spectra of a cube over places on the sky, whatever its grid."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array

from hisatools.cube import HISACube
from hisatools.errors import ParameterError
from hisatools.io.sky import sky_frame

__all__ = ["MeanSpectra", "mean_spectra", "tracer_cube"]

# Of a feature's weight; with less a channel is of other places than its neighbours.
LEAST_KNOWN = 0.5


@dataclass(frozen=True, eq=False)
class MeanSpectra:
    """Mean spectra of rows.

    Parameters
    ----------
    kelvin : `~numpy.ndarray`, shape (n_rows, n_v), K
        NaN where less than half of what the cube covers is known.
    velocity_kms : `~numpy.ndarray`, shape (n_v,)
        In the order of the cube.
    coverage : `~numpy.ndarray`, shape (n_rows,)
        Share of the places that lie in the cube, on sight lines that are not blank.
    """

    kelvin: np.ndarray
    velocity_kms: np.ndarray
    coverage: np.ndarray


def tracer_cube(source, *, rest_frequency=None):
    """A cube of a line from whatever holds one.

    Parameters
    ----------
    source : path, `~hisatools.HISACube` or `~spectral_cube.SpectralCube`
    rest_frequency : `~astropy.units.Quantity`, frequency, optional
        Of a file whose axis is frequency; wins over RESTFRQ.

    Returns
    -------
    `~hisatools.HISACube`
        In K, with a radio velocity axis.

    Raises
    ------
    InputError
        If the cube cannot be used.
    ParameterError
        If it is none of these, or a rest frequency is given for what has its velocities.
    """
    if isinstance(source, str | Path):
        return HISACube.read(Path(source).expanduser(), rest_frequency=rest_frequency)
    if rest_frequency is not None:
        raise ParameterError("rest_frequency is for a file; give a cube whose velocities are right already")
    if isinstance(source, HISACube):
        return source
    if hasattr(source, "filled_data"):
        return HISACube.from_spectral_cube(source)
    raise ParameterError(
        f"cube must be a HISACube, a SpectralCube or the path of a FITS cube, got {type(source).__name__}"
    )


def mean_spectra(cube, sky, row, n_rows):
    """Means of the spectra nearest to places.

    Parameters
    ----------
    cube : `~hisatools.HISACube`
    sky : `~astropy.coordinates.SkyCoord`, shape (n,)
        In any frame; NaN is outside.
    row : `~numpy.ndarray` of int, shape (n,)
        Which spectrum each place is part of.
    n_rows : int

    Returns
    -------
    `MeanSpectra`
    """
    n_y, n_x = cube.shape[1:]
    places = sky.transform_to(sky_frame(cube.wcs)).spherical
    x, y = cube.wcs.celestial.wcs_world2pix(places.lon.deg, places.lat.deg, 0)
    with np.errstate(invalid="ignore"):
        inside = (np.abs(x - (n_x - 1) / 2) <= n_x / 2) & (np.abs(y - (n_y - 1) / 2) <= n_y / 2)
    column, line = (np.clip(np.rint(one[inside]), 0, n - 1).astype(int) for one, n in ((x, n_x), (y, n_y)))
    used, number = np.unique(line * n_x + column, return_inverse=True)
    weights = coo_array((np.ones(number.size), (row[inside], number)), shape=(n_rows, used.size)).tocsr()
    values = cube.kelvin.reshape(cube.shape[0], -1)[:, used]
    finite = np.isfinite(values)
    covered = weights @ finite.any(axis=0).astype(float)
    known = weights @ finite.T.astype(float)
    total = weights @ np.where(finite, values, 0).T.astype(float)
    enough = (known > 0) & (known >= LEAST_KNOWN * covered[:, None])
    mean = np.divide(total, known, out=np.full(total.shape, np.nan), where=enough)
    n_places = np.bincount(row, minlength=n_rows)
    return MeanSpectra(mean, cube.velocity.to_value("km/s"), covered / np.maximum(n_places, 1))
