"""Continuum behind the gas: a map of its brightness on the axes of a cube or result."""

import warnings

import astropy.units as u
import numpy as np

from hisatools.errors import HISAWarning, InputError
from hisatools.io.maps import onto_grid, read_map
from hisatools.io.mends import MendLog
from hisatools.io.units import brightness_unit

__all__ = ["read_continuum"]


def read_continuum(path, like, *, unit=None):
    """Read the brightness of the continuum, as of a 1420 MHz mosaic.

    Parameters
    ----------
    path : path-like
        A FITS map of brightness temperature; further axes must have length 1.
    like : `~hisatools.HISACube` or `~hisatools.HISAResult`
        On whose sky axes it is wanted.
    unit : str or `~astropy.units.Unit`, optional
        Wins over BUNIT. "K (Tb)" and the like are understood.

    Returns
    -------
    `~astropy.units.Quantity`, shape (n_y, n_x), K
        NaN beyond the map, and where it is blank or not above 0: the continuum holds that of the cosmic
        background, and some surveys write 0 where they have no data.

    Raises
    ------
    InputError
        If the file cannot be read, is no map of temperature, or lies elsewhere.
    ParameterError
        If it is on another grid, and the package reproject is missing.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.io import fits
    >>> from hisatools.physics import read_continuum
    >>> from hisatools.datasets import example_result
    >>> header = example_result().wcs.celestial.to_header()
    >>> header["BUNIT"] = "K"
    >>> fits.PrimaryHDU(np.full((208, 208), 5.5), header).writeto("continuum.fits")
    >>> read_continuum("continuum.fits", example_result()).mean()
    <Quantity 5.5 K>
    """
    source = read_map(path, unit=lambda text: _kelvin(unit, text, path))
    shape = like.shape[1:] if hasattr(like, "shape") else like.flags.shape[1:]
    values, _ = onto_grid(source, like.wcs.celestial, shape)
    kelvin = np.array(values.to_value(u.K), float)
    n_none = np.count_nonzero(kelvin <= 0)
    if n_none:
        warnings.warn(
            f"{path}: {n_none} pixels are not above 0 K and taken as blank: a continuum holds the cosmic "
            "background",
            HISAWarning,
            stacklevel=2,
        )
        kelvin[kelvin <= 0] = np.nan
    return kelvin * u.K


def _kelvin(unit, text, path):
    found = brightness_unit(unit, text, MendLog(str(path)))
    if not found.is_equivalent(u.K):
        raise InputError(
            f"{path}: the continuum is in {found}, and its brightness temperature is needed; convert it to K"
        )
    return found
