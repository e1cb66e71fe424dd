"""The map of mosaic weights that may come with a cube."""

from pathlib import Path

import numpy as np
from astropy.coordinates import angular_separation

from hisatools.errors import InputError
from hisatools.io.checks import check_weights
from hisatools.io.files import choose_image, opened, read_box
from hisatools.io.headers import sky_wcs


def read_weights(weights, shape, celestial, source):
    """One weight for each sight line of a file, from a FITS map or an array.

    Parameters
    ----------
    weights : path or array_like, shape (n_y, n_x)
        A path is a FITS image; its axes of length 1 are dropped.
    shape : tuple of int
        (n_y, n_x) of the file the weights belong to, before any cut.
    celestial : `~astropy.wcs.WCS`
        Of that file; a map that lies elsewhere on the sky is refused.
    source : str
        Name of that file, for messages.

    Returns
    -------
    `~numpy.ndarray` of float64, shape (n_y, n_x)
        NaN where the map is blank.

    Raises
    ------
    InputError
        If the map cannot be read, does not match, or holds negative or infinite values.
    """
    if not isinstance(weights, str | Path):
        return check_weights(weights, shape, source)
    path = Path(weights)
    with opened(path) as hdus:
        image = hdus[choose_image(hdus, None, path, n_axes=2)]
        values = read_box(image, _map_index(image.shape, path), path)
        own = sky_wcs(image.header, str(path))
    checked = check_weights(values, shape, str(path))
    if own is not None:
        _check_same_sky(own, celestial, shape, path, source)
    return checked


def _map_index(shape, path):
    """Index of the map in an image whose other axes have length 1."""
    if any(length > 1 for length in shape[:-2]):
        raise InputError(
            f"{path}: weights of shape {shape} are no map; give one weight a sight line, shape (n_y, n_x)"
        )
    return (0,) * (len(shape) - 2) + (slice(None), slice(None))


def _check_same_sky(own, celestial, shape, path, source):
    """Opposite corners of both maps must agree within a pixel."""
    x, y = np.array([0, shape[1] - 1]), np.array([0, shape[0] - 1])
    first, second = (np.radians(wcs.pixel_to_world_values(x, y)) for wcs in (own, celestial))
    apart = np.degrees(angular_separation(*first, *second)).max()
    if apart > np.abs(celestial.wcs.cdelt).max():
        raise InputError(
            f"{path}: the map of weights lies {apart:.3g} deg from the field of {source}; "
            f"give the weights of this field"
        )
