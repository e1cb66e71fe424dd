"""Where a prior is sampled: the pixels of a cube with a margin for smoothing."""

import warnings
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.stats import gaussian_fwhm_to_sigma
from astropy.wcs import WCS
from scipy.sparse import csr_array

from hisatools.catalog import sky_frame
from hisatools.errors import HISAWarning, InputError, ParameterError
from hisatools.io.regions import _centre
from hisatools.parameters import check_number, check_quantity

__all__ = ["SkyGrid", "finished", "interpolated", "needed", "sky_grid", "unmasked"]

# In standard deviations; beyond, the Gaussian is 0, so that a zero prior stays zero far from what is not.
REACH = 4.0
# The margin is sampled more coarsely, down to a quarter of the Gaussian's sigma, above so many samples.
MAX_SAMPLES = 4_000_000
# What has less of its weight in known pixels is not known.
LEAST_KNOWN = 0.5
# Below this share of entries other than 0 a sparse product is the faster one.
SPARSE = 0.15
INFINITE = "holds infinite values; set them to NaN where they are not known"


@dataclass(frozen=True, eq=False)
class SkyGrid:
    """Samples on the sky along the rows and columns of a cube.

    Parameters
    ----------
    wcs : `~astropy.wcs.WCS`
        Longitude and latitude of the samples.
    shape : tuple of int
        (n_y, n_x) of the samples.
    field : tuple of int
        (n_y, n_x) of the cube.
    start, step : float
        Place of the first sample and distance of the samples along both axes, in pixels of the cube.
    sigma_pix : float
        Standard deviation of the smoothing in pixels of the cube; 0 for none.
    sample_deg : float
        Distance of the samples on the sky.

    Examples
    --------
    >>> from hisatools.datasets import example_model
    >>> from hisatools.significance.prior_grid import SkyGrid
    >>> cube = example_model().cube
    >>> grid = SkyGrid(cube.wcs.celestial, cube.shape[1:], cube.shape[1:])
    >>> grid.sky.shape, grid.in_field(cube.kelvin[16]).shape
    ((208, 208), (208, 208))
    """

    wcs: WCS
    shape: tuple
    field: tuple
    start: float = 0.0
    step: float = 1.0
    sigma_pix: float = 0.0
    sample_deg: float = 0.0

    @property
    def sky(self):
        """Positions of the samples: SkyCoord, shape (n_y, n_x); NaN off the sky."""
        y, x = np.indices(self.shape).reshape(2, -1)
        lon, lat = self.wcs.wcs_pix2world(x, y, 0)
        lon, lat = (values.reshape(self.shape) for values in (lon, lat))
        return SkyCoord(lon, lat, unit="deg", frame=sky_frame(self.wcs))

    def in_field(self, plane):
        """A plane of samples on the pixels of the cube, smoothed; NaN where the sample is not known."""
        if not self.sigma_pix:
            return np.array(plane, float)
        known = ~np.isnan(plane)
        total = self._smoothed(np.where(known, plane, 0.0))
        if known.all():
            return total / np.outer(*(along.sum(axis=1) for along in self._along))
        weight = self._smoothed(known.astype(float))
        nearest = (np.rint((np.arange(n) - self.start) / self.step).astype(int) for n in self.field)
        return np.divide(total, weight, out=np.full(self.field, np.nan), where=known[np.ix_(*nearest)])

    @cached_property
    def _along(self):
        """The Gaussian along rows and along columns."""
        return [self._gaussians(*lengths) for lengths in zip(self.field, self.shape, strict=True)]

    def _smoothed(self, plane):
        along_y, along_x = self._along
        return (along_x @ (along_y @ plane).T).T

    def _gaussians(self, n_pixels, n_samples):
        """Weight of each sample in each pixel along one axis: sparse, shape (n_pixels, n_samples)."""
        samples = self.start + self.step * np.arange(n_samples)
        offset = (np.arange(n_pixels)[:, None] - samples) / self.sigma_pix
        weights = np.where(np.abs(offset) <= REACH, np.exp(-0.5 * offset**2), 0.0)
        # Most of it is 0 unless the Gaussian is as wide as the field.
        return csr_array(weights) if np.count_nonzero(weights) < SPARSE * weights.size else weights


def sky_grid(cube, smoothing=None, *, source_deg=0.0):
    """The samples that a prior on a cube needs.

    Parameters
    ----------
    cube : `~hisatools.HISACube`
    smoothing : Quantity, angle, or None
        FWHM of the Gaussian.
    source_deg : float
        Detail of the source, if known: where it is coarse, and the smoothing wide, samples are too.

    Returns
    -------
    `SkyGrid`
        The field alone without smoothing, and all that the Gaussian reaches with it.

    Raises
    ------
    InputError
        If nobody knows where the cube lies on the sky.

    Examples
    --------
    With smoothing, samples reach beyond the field, and are coarser than its pixels:

    >>> import astropy.units as u
    >>> from hisatools.datasets import example_model
    >>> from hisatools.significance.prior_grid import sky_grid
    >>> cube = example_model().cube
    >>> sky_grid(cube).shape
    (208, 208)
    >>> wide = sky_grid(cube, 10 * u.arcmin, source_deg=0.1)
    >>> wide.shape, wide.step, round(float(wide.sigma_pix), 1)
    ((108, 108), 3.0, 14.2)
    """
    if cube.meta.get("position") == "not known":
        raise InputError(
            "the spectrum has no position, so a prior on the sky says nothing about it; "
            "give one: HISACube.from_spectrum(..., position=SkyCoord(...))"
        )
    celestial, field = cube.wcs.celestial, cube.shape[1:]
    pixel_deg = cube.pixel_scale.to_value(u.deg)
    sigma_pix = _sigma_pix(smoothing, pixel_deg)
    if not sigma_pix:
        return SkyGrid(celestial, field, field, sample_deg=pixel_deg)
    step = _step(field, sigma_pix, source_deg / pixel_deg)
    margin = int(np.ceil(REACH * sigma_pix / step))
    start = -margin * float(step)
    shape = tuple(int(np.ceil((n - 1) / step)) + 1 + 2 * margin for n in field)
    wcs = celestial.deepcopy()
    wcs.wcs.crpix = (celestial.wcs.crpix - 1 - start) / step + 1
    wcs.wcs.cdelt = celestial.wcs.cdelt * step
    wcs.wcs.set()
    return SkyGrid(wcs, shape, field, start, float(step), sigma_pix, pixel_deg * step)


def finished(planes, grid, source, *, floor=0.0, n_channels=None):
    """The prior on the pixels of a cube from planes of samples.

    Parameters
    ----------
    planes : iterable of `~numpy.ndarray`, shape ``grid.shape``
        One for each channel, or one alone; NaN where nothing is known.
    grid : `SkyGrid`
    source : str
        Its name, for messages.
    floor : float
        Least value, as a share of the largest.
    n_channels : int, optional
        For a prior with channels.

    Returns
    -------
    probability : `~numpy.ndarray` of float64, shape (n_y, n_x) or (n_v, n_y, n_x)
    notes : dict
        ``floor``, and the shares of values that were ``unknown`` and ``negative``.

    Raises
    ------
    InputError
        If it is known nowhere, or infinite somewhere.

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools.datasets import example_model
    >>> from hisatools.significance.prior_grid import finished, sky_grid
    >>> grid = sky_grid(example_model().cube)
    >>> plane = np.linspace(0, 5, grid.shape[0] * grid.shape[1]).reshape(grid.shape)
    >>> probability, notes = finished([plane], grid, "dust", floor=0.1)
    >>> float(probability.min()), float(probability.max()), notes["floor"]
    (0.5, 5.0, 0.1)
    """
    floor = checked_floor(floor)
    probability = np.empty((n_channels or 1, *grid.field))
    n_unknown = n_negative = 0
    for channel, plane in zip(probability, planes, strict=True):
        if np.isinf(plane).any():
            raise InputError(f"{source}: {INFINITE}")
        channel[:] = grid.in_field(plane)
        unknown, negative = np.isnan(channel), channel < 0
        n_unknown, n_negative = n_unknown + unknown.sum(), n_negative + negative.sum()
        channel[unknown | negative] = 0
    top = probability.max()
    if n_unknown == probability.size:
        raise InputError(
            f"{source}: says nothing about the field, whose centre is {_centre(*_whole(grid))}; "
            "give a map that covers it, and compare the frames"
        )
    np.maximum(probability, floor * top, out=probability)
    shares = {"unknown": n_unknown / probability.size, "negative": n_negative / probability.size}
    _say(source, shares, floor)
    notes = {"floor": floor} | {name: float(share) for name, share in shares.items()}
    return (probability[0] if n_channels is None else probability), notes


def interpolated(values, weights):
    """Weighted means of pixels, over those that are known.

    Parameters
    ----------
    values : `~numpy.ndarray`, shape (4, n)
        Of the nearest four pixels; NaN where not known.
    weights : `~numpy.ndarray`, shape (4, n)
        Each column sums to 1, or to 0 outside the map.

    Returns
    -------
    `~numpy.ndarray` of float64, shape (n,)
        NaN where the known pixels have less than half the weight.

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools.significance.prior_grid import interpolated
    >>> values = np.array([[1.0, 1.0], [2.0, np.nan], [3.0, np.nan], [4.0, np.nan]])
    >>> interpolated(values, np.full((4, 2), 0.25))
    array([2.5, nan])
    """
    known = ~np.isnan(values)
    if not known.all():
        weights, values = np.where(known, weights, 0.0), np.where(known, values, 0.0)
    weight = weights.sum(axis=0)
    total = np.einsum("kn,kn->n", weights, values)
    return np.divide(total, weight, out=np.full(weight.size, np.nan), where=weight >= LEAST_KNOWN)


def unmasked(values):
    """What is masked becomes NaN, as in a blank pixel; anything but a masked array of numbers stays as it is.

    Parameters
    ----------
    values : object
        For example a `~numpy.ma.MaskedArray` or an `~astropy.utils.masked.Masked` array.

    Returns
    -------
    object

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools.significance.prior_grid import unmasked
    >>> unmasked(np.ma.masked_greater([1.0, 2.0, 30.0], 10))
    array([ 1.,  2., nan])
    """
    if not hasattr(values, "filled") or getattr(values, "dtype", np.dtype(object)).kind not in "fiub":
        return values
    return values.astype(np.result_type(values.dtype, np.float32)).filled(np.nan)


def checked_floor(floor):
    """The floor, from 0 to below 1."""
    floor = float(check_number("floor", floor, inclusive=True))
    if floor >= 1:
        raise ParameterError(f"floor is a share of the largest value and must be below 1, got {floor:g}")
    return floor


def needed(package):
    """A package of the extra ``significance``, imported now.

    Parameters
    ----------
    package : str

    Returns
    -------
    module

    Raises
    ------
    ParameterError
        If it is not installed; the message names the extra.

    Examples
    --------
    >>> from hisatools.significance.prior_grid import needed
    >>> needed("reproject").__name__
    'reproject'
    >>> needed("reprojekt")
    Traceback (most recent call last):
        ...
    hisatools.errors.ParameterError: a prior from a map needs the package ...
    """
    try:
        return import_module(package)
    except ImportError as exc:
        raise ParameterError(
            f"a prior from a map needs the package {exc.name or package!r}; install it with: "
            'pip install "hisatools[significance]"'
        ) from exc


def _sigma_pix(smoothing, pixel_deg):
    if smoothing is None:
        return 0.0
    fwhm_pix = check_quantity("smoothing", smoothing, u.deg).value / pixel_deg
    if fwhm_pix < 1:
        warnings.warn(
            f"smoothing={smoothing} is below a pixel of {pixel_deg * 60:.3g} arcmin and does nothing",
            HISAWarning,
            stacklevel=4,
        )
        return 0.0
    return fwhm_pix * gaussian_fwhm_to_sigma


def _step(field, sigma_pix, source_pix):
    """Distance of the samples in whole pixels: as coarse as the source, and coarser if there are too many."""
    coarsest = max(int(sigma_pix / 4), 1)
    step = min(max(int(source_pix), 1), coarsest)
    while step < coarsest and np.prod([(n + 2 * REACH * sigma_pix) / step for n in field]) > MAX_SAMPLES:
        step += 1
    return step


def _whole(grid):
    """WCS and shape of the samples, for the centre."""
    return grid.wcs, grid.shape


def _say(source, shares, floor):
    if shares["unknown"]:
        value = f"{floor:g} of the largest value" if floor else "0, so that nothing is found"
        warnings.warn(
            f"{source}: {shares['unknown']:.1%} of the field is not covered or blank; "
            f"the prior is {value} there",
            HISAWarning,
            stacklevel=4,
        )
    if shares["negative"]:
        warnings.warn(
            f"{source}: {shares['negative']:.1%} of the values are negative and become 0, or the floor; "
            "smoothing averages noise before that",
            HISAWarning,
            stacklevel=4,
        )
