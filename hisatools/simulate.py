"""Model cubes with known absorption (Gibson et al. 2005, section 3.2).

A model is smooth emission plus "hockey pucks" of absorption plus correlated noise. Emission
components and pucks follow the distributions of sections 3.2.1 and 3.2.2; the random numbers
depend on the seed alone.
"""

from dataclasses import dataclass
from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.stats import gaussian_fwhm_to_sigma
from astropy.table import QTable
from astropy.wcs import WCS
from radio_beam import Beam
from scipy.ndimage import gaussian_filter1d, maximum_filter
from scipy.special import chndtr, erf

from hisatools.cube import HISACube
from hisatools.errors import ParameterError
from hisatools.parameters import _number, _Parameters, _quantity, check_number

__all__ = ["ModelCube", "ModelParameters", "simulate_cube"]

TRUTH_LEVEL_KELVIN = 0.005
PUCK_WIDTH_ARCMIN = (0.1, 60.0)
PUCK_LINEWIDTH_KMS = (0.355, 16.0)
PUCK_DEPTH_KELVIN = (1.0, 40.0)
COMPONENT_WIDTH_ARCMIN = (20.0, 120.0)
COMPONENT_LINEWIDTH_KMS = (8.0, 20.0)
COMPONENT_KELVIN = (1.0, 20.0)
MAX_PLACEMENTS = 20_000
# In a real cube a puck of the largest kind may have no room at all.
CROWDED_PLACEMENTS = 200


@dataclass(frozen=True, kw_only=True)
class ModelParameters(_Parameters):
    """A model cube's size and make-up; the defaults are those of section 3.2.

    Parameters
    ----------
    shape : tuple of int
        (n_v, n_y, n_x).
    pixel_scale : Quantity, angle
    channel_width : Quantity, velocity
    n_pucks, n_components : int
        How many absorption features and emission components.
    noise : Quantity, temperature
        Rms of the noise, correlated over the beam and over ``noise_linewidth``.
    beam_fwhm : Quantity, angle
    noise_linewidth : Quantity, velocity
    median_brightness : Quantity, temperature
        The emission is scaled to this median.

    Examples
    --------
    As many pucks and components in each voxel as the paper's cubes have, in a small one:

    >>> import astropy.units as u
    >>> from hisatools.simulate import ModelParameters
    >>> small = ModelParameters().scaled((32, 208, 208), noise=3 * u.K)
    >>> small.n_pucks, small.n_components, small.noise, small.beam_fwhm
    (84, 169, <Quantity 3. K>, <Quantity 1. arcmin>)
    """

    shape: tuple = (128, 512, 512)
    pixel_scale: u.Quantity = _quantity(0.3 * u.arcmin)
    channel_width: u.Quantity = _quantity(0.82446 * u.km / u.s)
    n_pucks: int = _number(2048, inclusive=True, integer=True)
    n_components: int = _number(4096, integer=True)
    noise: u.Quantity = _quantity(6.0 * u.K, inclusive=True)
    beam_fwhm: u.Quantity = _quantity(1.0 * u.arcmin)
    noise_linewidth: u.Quantity = _quantity(1.319 * u.km / u.s)
    median_brightness: u.Quantity = _quantity(70.0 * u.K)

    def __post_init__(self):
        super().__post_init__()
        shape = tuple(self.shape)
        if len(shape) != 3 or any(not isinstance(n, int) or n < 1 for n in shape):
            raise ParameterError(
                f"shape must be three whole numbers (n_v, n_y, n_x), got {self.shape!r}; "
                "write for example shape=(128, 256, 256)"
            )
        object.__setattr__(self, "shape", shape)

    def scaled(self, shape, **changes):
        """Parameters for another shape with as many pucks and components per voxel.

        Examples
        --------
        >>> from hisatools.simulate import ModelParameters
        >>> ModelParameters().scaled((64, 256, 256)).n_pucks
        256
        """
        ratio = np.prod(shape) / np.prod(ModelParameters.shape)
        numbers = {
            "n_pucks": max(int(2048 * ratio), 1),
            "n_components": max(int(4096 * ratio), 64),
        }
        return type(self)(shape=shape, **{**numbers, **changes})


@dataclass(frozen=True)
class ModelCube:
    """A model and its truth.

    Parameters
    ----------
    cube : `~hisatools.cube.HISACube`
        Emission plus absorption plus noise.
    delta_t : `~astropy.units.Quantity`, shape (n_v, n_y, n_x), K
        The absorption put in, 0 or negative.
    t_unabsorbed : `~astropy.units.Quantity`, same shape, K
        The emission without absorption and noise.
    pucks : `~astropy.table.QTable`
        Position, width, linewidth and depth of each puck.
    seed : int
    parameters : `ModelParameters`

    Examples
    --------
    >>> from hisatools.datasets import example_model
    >>> model = example_model()
    >>> model.cube
    <HISACube 32 channels x 208 x 208 pixels, -27.2 to -52.8 km/s in steps of 0.8245 km/s>
    >>> model.delta_t.min().round(), len(model.pucks), int(model.mask.sum())
    (<Quantity -34. K>, 84, 93620)
    >>> sorted(model.pucks.colnames)
    ['delta_t', 'linewidth', 'v_pixel', 'width', 'x_pixel', 'y_pixel']
    """

    cube: HISACube
    delta_t: u.Quantity
    t_unabsorbed: u.Quantity
    pucks: QTable
    seed: int
    parameters: ModelParameters

    @property
    def pixel_scale(self):
        """Side of a pixel; scalar Quantity, arcmin."""
        return self.cube.pixel_scale

    @property
    def channel_width(self):
        """Width of a channel; scalar Quantity, km/s."""
        return self.cube.channel_width

    @property
    def mask(self):
        """True where the absorption put in is deeper than 0.005 K (section 3.2.1)."""
        return self.delta_t.value < -TRUTH_LEVEL_KELVIN

    def write(self, folder, *, overwrite=False):
        """Write ``cube.fits``, ``truth_delta_t.fits``, ``truth_t_unabsorbed.fits`` and ``pucks.ecsv``.

        Parameters
        ----------
        folder : path-like
        overwrite : bool
            Whether files of these names may be replaced.

        Examples
        --------
        >>> from pathlib import Path
        >>> from hisatools.simulate import ModelParameters, simulate_cube
        >>> model = simulate_cube(ModelParameters(shape=(32, 48, 48), n_pucks=5, n_components=50), seed=1)
        >>> model.write("model")
        >>> sorted(path.name for path in Path("model").iterdir())
        ['cube.fits', 'pucks.ecsv', 'truth_delta_t.fits', 'truth_t_unabsorbed.fits']
        """
        from hisatools.io.writing import write_image, writing_folder

        header = self.cube.header
        with writing_folder(Path(folder), overwrite=overwrite) as partial:
            write_image(partial / "cube.fits", self.cube.data, header)
            write_image(partial / "truth_delta_t.fits", self.delta_t, header)
            write_image(partial / "truth_t_unabsorbed.fits", self.t_unabsorbed, header)
            self.pucks.write(partial / "pucks.ecsv")


def simulate_cube(parameters=None, *, seed):
    """Make one model cube (section 3.2).

    Parameters
    ----------
    parameters : `ModelParameters`, optional
    seed : int
        The same seed gives the same cube.

    Returns
    -------
    `ModelCube`

    Examples
    --------
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> small = ModelParameters(shape=(32, 48, 48), n_pucks=5, n_components=50)
    >>> model = simulate_cube(small, seed=1)
    >>> model.cube.shape
    (32, 48, 48)
    >>> float(model.delta_t.max().value)
    0.0
    """
    parameters = ModelParameters() if parameters is None else parameters
    check_number("seed", seed, inclusive=True, integer=True)
    streams = np.random.SeedSequence(seed).spawn(3)
    emission_rng, puck_rng, noise_rng = (np.random.default_rng(stream) for stream in streams)
    emission = _emission(parameters, emission_rng)
    absorption, pucks = put_pucks(parameters, puck_rng)
    observed = emission + absorption
    observed += _noise(parameters, noise_rng)
    meta = {"object": f"hisatools model, seed {seed}"}
    beam = Beam(parameters.beam_fwhm)
    return ModelCube(
        cube=HISACube(observed * u.K, model_wcs(parameters), beam=beam, meta=meta),
        delta_t=u.Quantity(absorption, u.K, copy=False),
        t_unabsorbed=u.Quantity(emission, u.K, copy=False),
        pucks=pucks,
        seed=seed,
        parameters=parameters,
    )


def model_wcs(parameters):
    """A plain Galactic grid about l = 140, b = 0 deg, v = -40 km/s, velocity falling as in the CGPS."""
    n_v, n_y, n_x = parameters.shape
    wcs = WCS(naxis=3)
    step = parameters.pixel_scale.to_value(u.deg)
    wcs.wcs.ctype = "GLON-CAR", "GLAT-CAR", "VRAD"
    wcs.wcs.cunit = "deg", "deg", "m/s"
    wcs.wcs.crval = 140.0, 0.0, -40e3
    wcs.wcs.crpix = (n_x + 1) / 2, (n_y + 1) / 2, (n_v + 1) / 2
    wcs.wcs.cdelt = -step, step, -parameters.channel_width.to_value(u.m / u.s)
    wcs.wcs.specsys = "LSRK"
    wcs.wcs.restfrq = 1420405751.77
    wcs.wcs.set()
    return wcs


def _power_law(rng, low, high, index, size):
    """Draw from P(x) proportional to x**-index between ``low`` and ``high`` (arrays allowed)."""
    share = rng.random(size)
    if index == 1:
        return low * (high / low) ** share
    power = 1 - index
    return (low**power + share * (high**power - low**power)) ** (1 / power)


def _steps(parameters):
    return parameters.pixel_scale.to_value(u.arcmin), parameters.channel_width.to_value(u.km / u.s)


def _emission(parameters, rng):
    """Sum of the emission components, scaled to the median (section 3.2.2)."""
    n = parameters.n_components
    pixel, channel = _steps(parameters)
    width = _power_law(rng, *COMPONENT_WIDTH_ARCMIN, 2, n)
    linewidth = _power_law(rng, *COMPONENT_LINEWIDTH_KMS, 1, n)
    volume = width**2 * linewidth / (COMPONENT_WIDTH_ARCMIN[1] ** 2 * COMPONENT_LINEWIDTH_KMS[1])
    low, high = COMPONENT_KELVIN
    # Below a twentieth of the largest volume the stated range is empty: the lower end stands.
    amplitude = _power_law(rng, low, np.maximum(high * volume, low), 1, n)
    centres = [rng.random(n) * size - 0.5 for size in parameters.shape]
    along_v, along_y, along_x = (
        _gaussians(size, centre, fwhm)
        for size, centre, fwhm in zip(
            parameters.shape, centres, (linewidth / channel, width / pixel, width / pixel), strict=True
        )
    )
    along_v *= amplitude.astype(np.float32)[:, None]
    emission = np.empty(parameters.shape, np.float32)
    for row in range(parameters.shape[1]):
        emission[:, row] = (along_v * along_y[:, row, None]).T @ along_x
    emission *= parameters.median_brightness.to_value(u.K) / np.median(emission)
    return emission


def _gaussians(size, centre, fwhm):
    """Gaussians of peak 1 sampled at 0 .. size-1, shape (n, size)."""
    offset = (np.arange(size) - centre[:, None]) / (fwhm[:, None] * gaussian_fwhm_to_sigma)
    return np.exp(-0.5 * offset**2).astype(np.float32)


def put_pucks(parameters, rng, occupied=None):
    """Place pucks at random, no two closer than one voxel at 0.005 K (section 3.2.1).

    Parameters
    ----------
    parameters : `ModelParameters`
    rng : `~numpy.random.Generator`
    occupied : `~numpy.ndarray` of bool, shape (n_v, n_y, n_x), optional
        Voxels where no puck may be; changed in place. With it, pucks that find no room are left out;
        without it they are an error.

    Returns
    -------
    absorption_kelvin : `~numpy.ndarray` of float32, shape (n_v, n_y, n_x)
        0 or negative.
    pucks : `~astropy.table.QTable`
        Position, width, linewidth and depth of each puck.

    Raises
    ------
    ParameterError
        If a puck finds no room.
    """
    n = parameters.n_pucks
    drawn = {
        "width": _power_law(rng, *PUCK_WIDTH_ARCMIN, 2, n),
        "linewidth": _power_law(rng, *PUCK_LINEWIDTH_KMS, 1, n),
        "depth": rng.uniform(*PUCK_DEPTH_KELVIN, n),
    }
    # The largest go in first: the other way round they would find no room.
    order = np.argsort(-(drawn["width"] ** 2) * drawn["linewidth"], kind="stable")
    drawn = {name: values[order] for name, values in drawn.items()}
    absorption = np.zeros(parameters.shape, np.float32)
    crowded = occupied is not None
    occupied = np.zeros(parameters.shape, bool) if occupied is None else occupied
    centres = []
    for puck in zip(*drawn.values(), strict=True):
        centre = _place(
            absorption, occupied, rng, puck, parameters, CROWDED_PLACEMENTS if crowded else MAX_PLACEMENTS
        )
        if centre is None and not crowded:
            raise ParameterError(
                f"n_pucks={n} do not fit without overlap: no room for one of {puck[0]:.1f} arcmin and "
                f"{puck[1]:.1f} km/s in shape={parameters.shape}; ask for fewer pucks or a larger shape"
            )
        centres.append(centre)
    placed = np.array([centre is not None for centre in centres], bool)
    pucks = _puck_table(
        [centre for centre in centres if centre is not None],
        {name: values[placed] for name, values in drawn.items()},
    )
    return absorption, pucks


def _puck_table(centres, drawn):
    v, y, x = np.array(centres).reshape(-1, 3).T
    return QTable(
        {
            "v_pixel": v,
            "y_pixel": y,
            "x_pixel": x,
            "width": drawn["width"] * u.arcmin,
            "linewidth": drawn["linewidth"] * u.km / u.s,
            "delta_t": -drawn["depth"] * u.K,
        }
    )


def _place(absorption, occupied, rng, puck, parameters, n_tries):
    """Put one puck where there is room; returns its centre (v, y, x) in pixels, None if there is none."""
    shape = np.array(parameters.shape)
    for _ in range(n_tries):
        centre = rng.random(3) * shape - 0.5
        box, values = _puck_values(centre, puck, parameters)
        body = values > TRUTH_LEVEL_KELVIN
        if not (occupied[box] & body).any():
            absorption[box] -= values
            _occupy(occupied, box, body)
            return centre
    return None


def _puck_values(centre, puck, parameters):
    """Box and depth (positive) of a disc convolved with the beam times a line averaged over channels."""
    width, linewidth, depth = puck
    pixel, channel = _steps(parameters)
    beam_sigma = parameters.beam_fwhm.to_value(u.arcmin) * gaussian_fwhm_to_sigma
    line_sigma = linewidth / channel * gaussian_fwhm_to_sigma
    reach = (width / 2 + 5 * beam_sigma) / pixel
    extent = line_sigma * np.sqrt(2 * np.log(depth / TRUTH_LEVEL_KELVIN)) + 1
    box, (v, y, x) = _box(centre, (extent, reach, reach), parameters.shape)
    line = channel_average(v - centre[0], line_sigma)
    radius = np.hypot(*np.meshgrid(y - centre[1], x - centre[2], indexing="ij")) * pixel
    grid = np.linspace(0, radius.max() + pixel, 400)
    disc = np.interp(radius, grid, blurred_disc(grid, width / 2, beam_sigma))
    values = (depth * line[:, None, None] * disc).astype(np.float32)
    values[values <= TRUTH_LEVEL_KELVIN] = 0
    return box, values


def blurred_disc(radius, disc_radius, sigma):
    """A disc of height 1 convolved with a Gaussian: a non-central chi-square distribution, exactly.

    Parameters
    ----------
    radius : `~numpy.ndarray`
        Distance from the centre.
    disc_radius, sigma : float
        Of the disc and of the Gaussian, in the unit of ``radius``; both above 0.

    Returns
    -------
    `~numpy.ndarray`
        Of the shape of ``radius``, 0 to 1.
    """
    return chndtr((disc_radius / sigma) ** 2, 2, (radius / sigma) ** 2)


def channel_average(offset_chan, sigma_chan):
    """A Gaussian of peak 1 averaged over each channel, so that unresolved lines are diluted.

    Parameters
    ----------
    offset_chan : `~numpy.ndarray`
        Distance of the channels' centres from that of the line, in channels.
    sigma_chan : float
        Of the Gaussian, in channels; above 0.

    Returns
    -------
    `~numpy.ndarray`
        Of the shape of ``offset_chan``, 0 to 1.
    """
    edge = np.sqrt(2) * sigma_chan
    area = np.sqrt(np.pi / 2) * sigma_chan
    return area * (erf((offset_chan + 0.5) / edge) - erf((offset_chan - 0.5) / edge))


def _box(centre, reach, shape):
    """Slices that hold ``centre`` +- ``reach`` inside ``shape``, and the pixel numbers along each."""
    slices = tuple(
        slice(max(int(np.floor(c - r)), 0), min(int(np.ceil(c + r)) + 1, n))
        for c, r, n in zip(centre, reach, shape, strict=True)
    )
    return slices, [np.arange(s.start, s.stop) for s in slices]


def _occupy(occupied, box, body):
    """Mark a puck and one voxel about it."""
    grown = tuple(
        slice(max(s.start - 1, 0), min(s.stop + 1, n)) for s, n in zip(box, occupied.shape, strict=True)
    )
    padding = [(s.start - g.start, g.stop - s.stop) for s, g in zip(box, grown, strict=True)]
    occupied[grown] |= maximum_filter(np.pad(body, padding), size=3)


def _noise(parameters, rng):
    """Gaussian noise correlated over the beam and in velocity, of the stated rms (section 3.2.2)."""
    pixel, channel = _steps(parameters)
    beam_pix = parameters.beam_fwhm.to_value(u.arcmin) / pixel
    line_chan = parameters.noise_linewidth.to_value(u.km / u.s) / channel
    noise = correlated_noise(parameters.shape, beam_pix, line_chan, rng)
    noise *= parameters.noise.to_value(u.K)
    return noise


def correlated_noise(shape, beam_pix, line_chan, rng):
    """White noise convolved with a beam and a line profile, of rms 1.

    Parameters
    ----------
    shape : tuple of int
        (n_v, n_y, n_x).
    beam_pix, line_chan : float
        FWHM of the two Gaussians, in pixels and channels; 0 for none.
    rng : `~numpy.random.Generator`

    Returns
    -------
    `~numpy.ndarray` of float32, shape ``shape``
    """
    noise = rng.standard_normal(shape, dtype=np.float32)
    for axis, fwhm in enumerate((line_chan, beam_pix, beam_pix)):
        if shape[axis] > 1 and fwhm > 0:
            noise = gaussian_filter1d(noise, fwhm * gaussian_fwhm_to_sigma, axis=axis, mode="wrap")
    noise /= noise.std()
    return noise
