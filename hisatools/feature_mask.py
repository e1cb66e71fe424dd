"""A mask of the features as a cube that CARTA and spectral-cube open beside the brightness."""

from pathlib import Path

import astropy.units as u
import numpy as np

from hisatools.io.planes import write_planes
from hisatools.io.writing import image_header, writing_file

__all__ = ["write_feature_mask"]

COMMENTS = (
    "1 in the features of the catalogue, 0 elsewhere and where the input is blank",
    "cube.with_mask(mask == 1 * u.one) with spectral-cube; contours at 0.5 in CARTA",
)


def write_feature_mask(result, path, *, overwrite=False):
    """Write a cube that is 1 in features and 0 elsewhere, on the axes of the result.

    ``mask.fits`` of a result holds bits of who suspected a voxel, and ``labels.fits`` the number of its
    feature; this is the plain mask that other programs take as it is.

    Parameters
    ----------
    result : `~hisatools.HISAResult`
    path : str or path
    overwrite : bool
        Whether an older file may be replaced.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    OutputError
        If the file exists and ``overwrite`` is False, or cannot be written.

    Examples
    --------
    >>> import astropy.units as u
    >>> from spectral_cube import SpectralCube
    >>> from hisatools.datasets import example_result
    >>> from hisatools.feature_mask import write_feature_mask
    >>> result = example_result()
    >>> mask = SpectralCube.read(write_feature_mask(result, "feature_mask.fits"))
    >>> absorbed = result.spectral_cube("t_on").with_mask(mask == 1 * u.one)
    >>> int(absorbed.mask.include().sum()) == result.n_accepted
    True
    """
    header = image_header(
        result.wcs,
        unit=u.dimensionless_unscaled,
        beam=result.beam,
        object_name=result.meta.get("input", {}).get("object"),
        comments=COMMENTS,
    )
    planes = ((channel > 0).astype(np.uint8) for channel in result.labels)
    with writing_file(path, overwrite=overwrite) as part:
        write_planes(part, planes, result.labels.shape, np.dtype(np.uint8), header)
    return Path(path).expanduser()
