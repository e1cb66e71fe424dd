"""The rms of O - S in a mesh of boxes on each channel map, as sigma(l, b, v)."""

import warnings
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from inspect import signature
from threading import Lock

import astropy.units as u
import numpy as np
from scipy import ndimage
from scipy.stats import norm

from hisatools.errors import HISAWarning, ParameterError
from hisatools.noise.box_means import mean_share
from hisatools.noise.certainty import box_values, warn_if_few
from hisatools.noise.correlation import MIN_SAMPLES
from hisatools.noise.fields import box_of, clipped_variance, noise_field, scale_pix, source, wide
from hisatools.noise.protocols import NoiseMeasurement
from hisatools.noise.scales import keep_quantity
from hisatools.parameters import _number, _Parameters, _quantity
from hisatools.search.base import run_blocks

__all__ = ["MeshParameters", "MeshStrategy"]

# photutils silences warnings within, which Python does for all threads at once.
ONE_AT_A_TIME = Lock()


@dataclass(frozen=True, kw_only=True)
class MeshParameters(_Parameters):
    """Boxes, filter and clipping of the mesh.

    Parameters
    ----------
    box_size : Quantity, angle, or None
        Side of the boxes; None takes ``box_beams`` times the beam, at most a third of the field.
        A box of less than 30 pixels tells no noise: the least that holds them is taken, with a warning if
        the size was given. A sky smaller than five beams, or of which a third holds less, is one box.
    box_beams : float
        A box of eight beams holds 56 independent values in a channel (a beam covers 1.13 FWHM squared),
        which tell sigma to 9 %; ``box_velocity`` and the filter bring that to 2 %. Larger boxes follow the
        noise less well, smaller ones hold too few values for clipping.
    box_velocity : Quantity, velocity
        Depth of a box: variances of so many channels about each are averaged, at least that of the channel
        itself. The noise changes with the brightness, and lines are wider.
    filter_size : Quantity, angle, or None
        Side of the median filter over the mesh, in arcmin; None takes three boxes. It removes
        boxes that a source fills. One box or less is no filter.
    clip : float
        Values further than so many sigma from the median of their box are left out.
    per_channel : bool
        Whether to give sigma(l, b, v), or the rms over all channels, sigma(l, b).

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools.noise import MeshParameters
    >>> parameters = MeshParameters(box_size=0.2 * u.deg, per_channel=False)
    >>> parameters.box_size, parameters.box_velocity
    (<Quantity 12. arcmin>, <Quantity 4. km / s>)
    """

    _section = "mesh"

    box_size: u.Quantity | None = None
    box_beams: float = _number(8.0)
    box_velocity: u.Quantity = _quantity(4.0 * u.km / u.s, inclusive=True)
    filter_size: u.Quantity | None = None
    clip: float = _number(3.0, above=2)
    per_channel: bool = True

    def __post_init__(self):
        super().__post_init__()
        keep_quantity(self, "box_size", u.arcmin)
        keep_quantity(self, "filter_size", u.arcmin)
        if not isinstance(self.per_channel, bool):
            raise ParameterError(f"per_channel must be True or False, got {self.per_channel!r}")


class MeshStrategy:
    """Clipped rms in boxes, by photutils' `~photutils.background.Background2D`, and a spline between them.

    The boxes see O - S, from which the emission is gone, and the part of the noise that S takes along is
    put back. It measures the noise of each voxel, averaged over a box and ``box_velocity``. Towards the
    borders the mesh is continued along a line, so that a noise that rises across the field is followed to
    its end.

    Parameters
    ----------
    parameters : `MeshParameters`, optional

    References
    ----------
    Bertin, E. & Arnouts, S. 1996, A&AS 117, 393, section 3.

    Examples
    --------
    >>> from hisatools.noise import NoiseEstimator
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> model = simulate_cube(ModelParameters(shape=(16, 64, 64), n_pucks=3, n_components=50), seed=101)
    >>> NoiseEstimator("mesh").estimate(model.cube).sigma.shape
    (16, 64, 64)
    """

    Parameters = MeshParameters
    citation = "Bertin & Arnouts 1996, A&AS 117, 393, section 3"

    def __init__(self, parameters=None):
        self.parameters = MeshParameters() if parameters is None else parameters

    def estimate(self, cube, mask, workers, progress):
        """Noise of each voxel or sight line; see `~hisatools.noise.protocols.NoiseStrategy`."""
        parameters = self.parameters
        measured = noise_field(cube, mask, workers=workers)
        field = measured.kelvin
        boxes, is_small = self._boxes(cube)
        depth = odd_channels(parameters.box_velocity, cube)
        if is_small:
            # Its values come from more channels.
            boxes, meshes = cube.shape[1:], few_pixel_variance(field, parameters.clip)
            depth = max(depth, 2 * int(MIN_SAMPLES / box_values(boxes, measured.beam_pix)) + 1)
        else:
            lost = mean_share(boxes, box_of(cube), measured.beam_pix)
            meshes = self._meshes(field, boxes, workers, progress) / (1 - lost)
        warn_if_few(self._n_values(measured, boxes, depth), source(cube))
        if not parameters.per_channel:
            meshes, depth = _mean(meshes)[None], 1
        meshes = _fill(_along_velocity(meshes, depth))
        n_filter = self._filter_boxes(cube, boxes)
        maps = run_blocks(
            lambda mesh: expand_mesh(np.sqrt(mesh), boxes, n_filter, field.shape[1:]), meshes, workers=workers
        )
        meta = {
            "box_size": " x ".join(f"{side * cube.pixel_scale:.3g}" for side in boxes),
            "box_channels": depth,
            "filter_boxes": n_filter,
        }
        return NoiseMeasurement(np.array(maps) if parameters.per_channel else maps[0], meta)

    def _meshes(self, field, boxes, workers, progress):
        if find_spec("photutils") is None:
            raise ParameterError(
                "the strategy for the noise 'mesh' needs the package 'photutils'; install it with: "
                "pip install \"hisatools[mesh]\", or choose another, such as 'radiometer'"
            )

        def measure(channel):
            return box_variance(channel, boxes, self.parameters.clip)

        description = "noise mesh"
        return np.array(
            run_blocks(measure, field, workers=workers, progress=progress, description=description)
        )

    def _boxes(self, cube):
        """Sides (y, x) in pixels of boxes that just cover the field; whether the field is but one."""
        wanted, sky = self.parameters.box_size, cube.shape[1:]
        side = scale_pix("box_size", wanted, self.parameters.box_beams, cube)
        largest = max(sky) if wanted is not None else max(sky) / 3
        asked = least = box_sides(sky, min(side, largest))
        while _least_pixels(sky, least) < MIN_SAMPLES and side < largest:
            side = min(side + 0.5, largest)
            least = box_sides(sky, side)
        is_small = not wide(cube) or _least_pixels(sky, least) < MIN_SAMPLES
        taken = sky if is_small else least
        if wanted is not None and taken != asked and (is_small or np.prod(asked) < MIN_SAMPLES):
            self._warn_small(asked, taken, cube)
        return taken, is_small

    def _warn_small(self, asked, taken, cube):
        pixel = cube.pixel_scale.to_value(u.arcmin)
        size = " x ".join(f"{side * pixel:.3g}" for side in taken)
        warnings.warn(
            f"{source(cube)}: boxes of box_size={self.parameters.box_size:g} are of {asked[1]} x {asked[0]} "
            f"pixels; a box needs {MIN_SAMPLES}, and a sky smaller than five beams is one: boxes of {size} "
            f"arcmin are taken; give box_size={np.ceil(10 * max(taken) * pixel) / 10:g} * u.arcmin or more",
            HISAWarning,
            stacklevel=5,
        )

    def _n_values(self, measured, boxes, depth):
        """Independent values in a box, together with those before and behind it in velocity."""
        per_channel = np.median(np.isfinite(measured.kelvin).sum(axis=(1, 2)))
        n_channels = int(np.isfinite(measured.kelvin).any(axis=(1, 2)).sum())
        if self.parameters.per_channel:
            n_channels = min(depth, n_channels)
        on_sky = min(box_values(boxes, measured.beam_pix), max(per_channel, 1))
        return on_sky * max(n_channels / measured.channels_per_value, 1.0)

    def _filter_boxes(self, cube, boxes):
        if self.parameters.filter_size is None:
            return 3
        size = (self.parameters.filter_size / cube.pixel_scale).to_value("") / np.mean(boxes)
        return max(2 * round((size - 1) / 2) + 1, 1)


def box_sides(sky, side):
    """Sides (y, x) of equal boxes of about this side that just cover a sky of (n_y, n_x) pixels."""
    n_boxes = [max(round(n / max(side, 1)), 1) for n in sky]
    return tuple(-(-n // number) for n, number in zip(sky, n_boxes, strict=True))


def _least_pixels(sky, boxes):
    """Pixels in the box at the corner of the sky, the last of each axis, which may be cut off."""
    return np.prod([(n - 1) % side + 1 for n, side in zip(sky, boxes, strict=True)])


def odd_channels(width, cube):
    """The odd number of channels nearest to a width in velocity, at least 1."""
    channels = (width / cube.channel_width).to_value("")
    return 2 * max(round((channels - 1) / 2), 0) + 1


def box_variance(image, boxes, clip):
    """Variance in the boxes of one map, shape (g_y, g_x); NaN where a box is blank."""
    n_mesh = tuple(-(-n // side) for n, side in zip(image.shape, boxes, strict=True))
    blank = ~np.isfinite(image)
    if blank.all():
        return np.full(n_mesh, np.nan)
    from astropy.stats import SigmaClip
    from photutils.background import Background2D, StdBackgroundRMS

    # Its name has an underscore more from photutils 3 on.
    names = signature(Background2D).parameters
    name = next(name for name in ("bkg_rms_estimator", "bkgrms_estimator") if name in names)
    with ONE_AT_A_TIME:
        background = Background2D(
            np.where(blank, 0, image).astype(float),
            boxes,
            mask=blank,
            filter_size=1,
            exclude_percentile=100,
            sigma_clip=SigmaClip(sigma=clip, maxiters=10),
            **{name: StdBackgroundRMS(sigma_clip=None)},
        )
        mesh = np.asarray(background.background_rms_mesh, float)
    known = _box_counts(~blank, boxes) >= MIN_SAMPLES
    return np.where(known & (mesh > 0), (mesh / clipped_share(clip)) ** 2, np.nan)


def _box_counts(used, boxes):
    """Number of used pixels in each box."""
    padded = np.pad(used, [(0, -n % side) for n, side in zip(used.shape, boxes, strict=True)])
    (n_y, n_x), (side_y, side_x) = padded.shape, boxes
    return padded.reshape(n_y // side_y, side_y, n_x // side_x, side_x).sum(axis=(1, 3))


@cache
def clipped_share(clip):
    """What is left of a Gaussian's sigma when it is clipped again and again."""
    share = 1.0
    for _ in range(100):
        k = clip * share
        share = np.sqrt(1 - 2 * k * norm.pdf(k) / (norm.cdf(k) - norm.cdf(-k)))
    return share


def few_pixel_variance(field, clip):
    """Variance of each channel of a sky of few pixels, shape (n_v, 1, 1), without what is far beyond all."""
    total = clipped_variance(field.reshape(-1, 1, 1), 0, clip)
    square = np.square(field.reshape(len(field), -1), dtype=float)
    square[~(square <= (2 * clip) ** 2 * total.item())] = np.nan
    return _mean(square.T)[:, None, None]


def _mean(values):
    """Mean along the first axis, NaN left out; NaN where there is nothing."""
    known = np.isfinite(values)
    number = known.sum(axis=0)
    return np.where(number > 0, np.where(known, values, 0).sum(axis=0) / np.maximum(number, 1), np.nan)


def _along_velocity(meshes, depth):
    """Mean of the variances of ``depth`` channels about each."""
    half = depth // 2
    padded = np.pad(meshes, ((half, half), (0, 0), (0, 0)), constant_values=np.nan)
    return _mean(np.array([padded[shift : shift + len(meshes)] for shift in range(2 * half + 1)]))


def _fill(meshes):
    """Boxes without a value take the median of their channel, or of all channels."""
    known = np.isfinite(meshes)
    if known.all() or not known.any():
        return meshes
    overall = np.median(meshes[known])
    medians = [
        np.median(mesh[one]) if one.any() else overall for mesh, one in zip(meshes, known, strict=True)
    ]
    return np.where(known, meshes, np.array(medians)[:, None, None])


def expand_mesh(mesh, boxes, n_filter, shape):
    """Median filter and cubic spline of a mesh of sigma, continued along a line beyond its borders."""
    pad = n_filter // 2 + 2
    for axis, n in enumerate(mesh.shape):
        width = [(pad, pad) if axis == other else (0, 0) for other in (0, 1)]
        # numpy reflects about the last box; where there is one only, it stands for all.
        mesh = np.pad(mesh, width, "reflect", reflect_type="odd") if n > 1 else np.pad(mesh, width, "edge")
    limits = np.quantile(mesh[mesh > 0], [0, 1]) if (mesh > 0).any() else (0, 0)
    filtered = ndimage.median_filter(np.maximum(mesh, limits[0]), n_filter)
    places = [(np.arange(n) + 0.5) / side - 0.5 + pad for n, side in zip(shape, boxes, strict=True)]
    grid = np.meshgrid(*places, indexing="ij")
    expanded = ndimage.map_coordinates(filtered, grid, order=3, mode="nearest")
    return np.clip(expanded, filtered.min(), filtered.max()).astype(np.float32)
