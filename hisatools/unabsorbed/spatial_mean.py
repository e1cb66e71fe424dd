"""T_U as the mean brightness about a feature, or in chosen OFF regions, at the same velocity."""

from dataclasses import dataclass
from pathlib import Path

import astropy.units as u
import numpy as np
from regions import PixelRegion, Regions

from hisatools.errors import InputError, ParameterError
from hisatools.io.regions import sky_cut
from hisatools.parameters import _Parameters, _quantity
from hisatools.unabsorbed.surroundings import Part, estimate_parts, ring_parts


@dataclass(frozen=True, kw_only=True)
class SpatialMeanParameters(_Parameters):
    """The "spatial-mean" estimate of T_U; without effect where OFF regions are given.

    Parameters
    ----------
    gap : Quantity, angle
        Between the feature and the annulus: absorption below the level of the mask, blurred by
        the beam, would draw T_U down.
    width : Quantity, angle
        Of the annulus, at least a pixel.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools import UnabsorbedEstimator
    >>> UnabsorbedEstimator("spatial-mean", width=180 * u.arcsec).parameters.width
    <Quantity 3. arcmin>
    """

    _section = "spatial-mean"

    gap: u.Quantity = _quantity(0.6 * u.arcmin, inclusive=True)
    width: u.Quantity = _quantity(2.0 * u.arcmin)


class SpatialMeanStrategy:
    """T_U from the mean of T_OFF next to each feature, channel by channel.

    The emission beside the feature stands for what lies behind it, as in Gibson et al. (2000, "Paper I") and
    Minter et al. (2001). T_OFF are the finite voxels outside all features in an annulus about each part
    of the feature, or in OFF regions that serve all features. Where the cube has mosaic
    weights, the mean is weighted by them.

    Parameters
    ----------
    parameters : `SpatialMeanParameters`, optional
    off_regions : optional
        Where T_OFF is taken from instead of the annulus: a `~regions.SkyRegion`, `~regions.PixelRegion` or
        `~regions.Regions`, the path of a DS9 region file, a box of pixels as two slices (y, x), a
        map of bool of shape (n_y, n_x), or a list of such.

    Notes
    -----
    Blank and flagged voxels are never T_OFF. A channel without T_OFF keeps T_U = T_ON and has an infinite
    uncertainty; so has a cube of one sight line. Parts are as
    ``hisatools.unabsorbed.surroundings`` makes them.

    Raises
    ------
    InputError
        From ``estimate``, if the OFF regions cover no pixel of the cube.

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools import UnabsorbedEstimator
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> model = simulate_cube(ModelParameters(shape=(32, 48, 48), n_pucks=5, n_components=50), seed=101)
    >>> found = UnabsorbedEstimator("spatial-mean").estimate(model.cube, model.mask)
    >>> error = (found.t_unabsorbed - model.t_unabsorbed)[model.mask]
    >>> bool(np.mean(abs(error) < 2 * found.sigma_t_unabsorbed[model.mask]) > 0.9)
    True
    >>> boxes = [np.s_[:10, :], np.s_[-10:, :]]
    >>> found = UnabsorbedEstimator("spatial-mean", off_regions=boxes).estimate(model.cube, model.mask)
    >>> found.n_off.shape == (found.labels.max(),)
    True
    """

    Parameters = SpatialMeanParameters
    citation = "Gibson et al. 2000, ApJ, 540, 851; Minter et al. 2001, ApJ, 555, 868"

    def __init__(self, parameters=None, *, off_regions=None):
        self.parameters = SpatialMeanParameters() if parameters is None else parameters
        self.off_regions = off_regions

    def estimate(self, cube, labels, features, index, *, errors=None, workers=1, progress=False):
        """T_U at some voxels; see `hisatools.unabsorbed.protocols.UnabsorbedStrategy`."""
        gap_pix = (self.parameters.gap / cube.pixel_scale).to_value("")
        width_pix = (self.parameters.width / cube.pixel_scale).to_value("")
        chosen = None if self.off_regions is None else off_map(self.off_regions, cube)

        def parts_of(channel):
            if chosen is None:
                return ring_parts(channel, features, gap_pix, width_pix)
            return _whole_channel(channel, features, chosen)

        return estimate_parts(
            cube,
            labels,
            features,
            index,
            parts_of,
            _mean,
            errors=errors,
            workers=workers,
            progress=progress,
        )


def _mean(part, weights):
    """Coefficients and basis of the weighted mean, for `estimate_parts`."""
    return weights[None] / weights.sum(), np.ones((len(part.body), 1))


def _whole_channel(channel, features, chosen):
    """All features of a channel as one part, with T_OFF in the chosen pixels."""
    body = np.argwhere(np.isin(channel.labels, features))
    if not len(body):
        return []
    labels = np.unique(channel.labels[tuple(body.T)]).tolist()
    return [Part(labels, (0, 0), channel.labels.shape, body, np.argwhere(channel.usable & chosen))]


def off_map(off_regions, cube):
    """Map of the pixels in OFF regions.

    Parameters
    ----------
    off_regions
        As `SpatialMeanStrategy` takes them.
    cube : `~hisatools.HISACube`

    Returns
    -------
    `~numpy.ndarray` of bool, shape (n_y, n_x)

    Raises
    ------
    InputError
        If no pixel is covered, or a map has another shape.
    ParameterError
        If something is no region.
    """
    shape = cube.shape[1:]
    inside = np.zeros(shape, bool)
    for region in _listed(off_regions):
        inside |= _one_map(region, cube, shape)
    if not inside.any():
        raise InputError(
            f"off_regions cover no pixel of the field of {shape[0]} x {shape[1]} pixels; "
            "check their coordinates"
        )
    return inside


def _listed(off_regions):
    if isinstance(off_regions, (list, Regions)):
        return list(off_regions)
    return [off_regions]


def _one_map(region, cube, shape):
    if isinstance(region, np.ndarray) and region.dtype == bool:
        if region.shape != shape:
            raise InputError(
                f"off_regions: a map of shape {region.shape} does not fit the field of {shape}; "
                "make it on the cube's pixels"
            )
        return region
    inside = np.zeros(shape, bool)
    if isinstance(region, tuple) and len(region) == 2 and all(isinstance(one, slice) for one in region):
        inside[region] = True
        return inside
    if isinstance(region, PixelRegion):
        image = region.to_mask(mode="center").to_image(shape)
        return inside if image is None else image > 0
    if isinstance(region, np.ndarray | tuple | int | float):
        raise ParameterError(
            f"off_regions must be regions, DS9 files, boxes of two slices or maps of bool, got {region!r}; "
            "write for example off_regions=np.s_[10:20, 30:60]"
        )
    source = Path(region).name if isinstance(region, str | Path) else "off_regions"
    box, part = sky_cut(region, cube.wcs.celestial, shape, source)
    inside[box] = part
    return inside
