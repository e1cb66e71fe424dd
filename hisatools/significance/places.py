"""The hottest place of a map or a cube of TS."""

from typing import NamedTuple

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord

from hisatools.catalog import sky_frame
from hisatools.errors import InputError
from hisatools.io.reading import channel_velocity
from hisatools.significance.prior_grid import unmasked

__all__ = ["HotPlace", "hottest"]


class HotPlace(NamedTuple):
    """Where TS is largest.

    Parameters
    ----------
    voxel : tuple of int
        (v, y, x), or (y, x) in a map.
    position : `~astropy.coordinates.SkyCoord`
        In the frame of the axes.
    velocity : `~astropy.units.Quantity` or None
        km/s; None in a map.
    value : float
        TS there.

    Examples
    --------
    >>> from hisatools.significance import Residual, SignificanceScan
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> model = simulate_cube(ModelParameters(shape=(32, 64, 64), n_pucks=8, n_components=60), seed=104)
    >>> scan = SignificanceScan().run(Residual.of(model.cube, model.t_unabsorbed, known=model.mask))
    >>> place = scan.hottest()
    >>> place.voxel, round(place.value, -1), place.velocity.round(1)
    ((23, 5, 10), 190.0, <Quantity -46.2 km / s>)
    >>> place.position.to_string("decimal", precision=3)
    '140.107 -0.133'
    """

    voxel: tuple
    position: SkyCoord
    velocity: u.Quantity
    value: float


def hottest(ts, wcs):
    """The place with the largest TS.

    Parameters
    ----------
    ts : array_like, shape (n_v, n_y, n_x) or (n_y, n_x)
        NaN or masked where blank.
    wcs : `~astropy.wcs.WCS`
        Of the cube, or of its sky for a map.

    Returns
    -------
    HotPlace or None
        Of several as hot, the first in the array; None if nothing is above 0.

    Raises
    ------
    InputError
        If TS has neither of these shapes, or there is no velocity axis for a cube.

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools.significance.places import hottest
    >>> from hisatools.simulate import ModelParameters, model_wcs
    >>> ts = np.zeros((3, 4, 5), np.float32)
    >>> ts[1, 2, 3] = 47
    >>> place = hottest(ts, model_wcs(ModelParameters(shape=ts.shape)))
    >>> place.voxel, place.value, place.velocity
    ((1, 2, 3), 47.0, <Quantity -40. km / s>)
    >>> place.position.to_string("decimal", precision=4)
    '139.9950 0.0025'
    """
    ts = np.asarray(unmasked(ts))
    if ts.ndim not in (2, 3) or wcs.naxis < ts.ndim:
        raise InputError(
            f"TS of shape {ts.shape} does not fit {wcs.naxis} axes; give a cube, or a map of its sky"
        )
    planes = ts if ts.ndim == 3 else ts[None]
    highest = np.array([np.fmax.reduce(plane, axis=None, initial=0) for plane in planes])
    if not np.any(highest > 0):
        return None
    v = int(np.argmax(highest))
    place = int(np.argmax(planes[v] == highest[v]))
    y, x = (int(number) for number in np.unravel_index(place, planes[v].shape))
    lon, lat = wcs.celestial.wcs_pix2world([[x, y]], 0)[0]
    position = SkyCoord(lon, lat, unit="deg", frame=sky_frame(wcs))
    velocity = channel_velocity(wcs, len(planes))[v] if ts.ndim == 3 else None
    return HotPlace((v, y, x)[-ts.ndim :], position, velocity, float(highest[v]))
