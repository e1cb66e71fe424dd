"""Gas and dust with known ratio, intercept and extra dust, for tests, benchmarks and tutorials.

The dust is ``ratio * N(HI) + intercept`` plus noise plus extra dust: dust without H I that is seen, such as
dust of molecular gas. The extra dust lies in clumps with smooth edges on a stated share of the pixels.
"""

from dataclasses import dataclass

import astropy.units as u
import numpy as np
from astropy.wcs import WCS
from scipy.ndimage import gaussian_filter1d

from hisatools.cube import HISACube
from hisatools.errors import ParameterError
from hisatools.parameters import _number, _Parameters, check_number
from hisatools.residual_mask.gas import COLUMN_UNIT, column_of
from hisatools.simulate import correlated_noise

__all__ = ["DustModel", "DustModelParameters", "map_wcs", "simulate_dust"]

# How the extra dust of a clump falls off from its centre; see `DustModelParameters`.
CLUMPS = ("cosine", "gaussian", "plateau", "field")
# A Gaussian never ends: beyond this, in units of the noise, there is no extra dust.
GAUSSIAN_END = 0.3
STRUCTURE_INDEX = 2.8
MAX_CLUMPS = 100_000


@dataclass(frozen=True, kw_only=True)
class DustModelParameters(_Parameters):
    """What is simulated.

    Parameters
    ----------
    shape : tuple of int
        (n_y, n_x).
    ratio : float
        mag per 1e20 cm^-2.
    intercept : float
        mag.
    noise : float
        Standard deviation of the noise of the dust, mag.
    noise_beam_pix : float
        FWHM of the beam over which that noise is correlated, pixels; 0 for white noise.
    mean_column, column_scatter : float
        N(HI), 1e20 cm^-2: its mean, and its standard deviation on all scales.
    extra_share : float
        Share of the pixels that have extra dust.
    peak_low, peak_high : float
        Range of the peaks of the clumps, in units of the noise; as many in each octave.
    clump_pix_low, clump_pix_high : float
        Range of the clumps' diameters, pixels (of the scale of the field, for "field").
    clumps : {"cosine", "gaussian", "plateau", "field"}
        Half a period of a squared cosine, which ends at the edge; a Gaussian, with wide wings; a plateau with
        an edge of three pixels; or what stands out of a random field, with ragged outlines and few peaks.
    follows_gas : bool
        Whether clumps lie where N(HI) is high, as molecular clouds do, and not anywhere.

    Examples
    --------
    >>> from hisatools.residual_mask.simulated import DustModelParameters, simulate_dust
    >>> clouds = DustModelParameters(shape=(64, 64), clumps="gaussian", follows_gas=True, extra_share=0.1)
    >>> model = simulate_dust(clouds, seed=6200)
    >>> round(float((model.extra.value > 0).mean()), 2)
    0.1
    """

    shape: tuple = (160, 160)
    ratio: float = _number(0.05)
    intercept: float = _number(0.1, above=-np.inf)
    noise: float = _number(0.03)
    noise_beam_pix: float = _number(0.0, inclusive=True)
    mean_column: float = _number(8.0)
    column_scatter: float = _number(2.0)
    extra_share: float = _number(0.2, inclusive=True, at_most=0.8)
    peak_low: float = _number(3.0)
    peak_high: float = _number(30.0)
    clump_pix_low: float = _number(8.0)
    clump_pix_high: float = _number(30.0)
    clumps: str = "cosine"
    follows_gas: bool = False

    def __post_init__(self):
        super().__post_init__()
        shape = tuple(self.shape)
        if len(shape) != 2 or any(not isinstance(n, int) or n < 1 for n in shape):
            raise ParameterError(f"shape must be two whole numbers (n_y, n_x), got {self.shape!r}")
        object.__setattr__(self, "shape", shape)
        if self.clumps not in CLUMPS:
            raise ParameterError(f"unknown clumps {self.clumps!r}; known: {', '.join(CLUMPS)}")
        for kind in ("peak", "clump_pix"):
            low, high = getattr(self, f"{kind}_low"), getattr(self, f"{kind}_high")
            if low > high:
                raise ParameterError(f"{kind}_low ({low}) must not exceed {kind}_high ({high})")


@dataclass(frozen=True, eq=False)
class DustModel:
    """Simulated maps and their truth.

    Parameters
    ----------
    tracer, error : `~astropy.units.Quantity`, shape (n_y, n_x), mag
        Dust with noise, and the standard deviation of that noise.
    gas : `~astropy.units.Quantity`, same shape, 1e20 cm^-2
        N(HI).
    extra : `~astropy.units.Quantity`, same shape, mag
        The extra dust, 0 where there is none.
    parameters : `DustModelParameters`
    seed : int
    cube : `~hisatools.HISACube` or None
        H I whose N(HI) over ``velocity_range`` is ``gas``; see `simulate_dust`.
    velocity_range : `~astropy.units.Quantity`, shape (2,), or None

    Examples
    --------
    >>> from hisatools.residual_mask.simulated import DustModelParameters, simulate_dust
    >>> model = simulate_dust(DustModelParameters(shape=(64, 64)), seed=6200)
    >>> model.tracer.shape, model.tracer.mean().round(1), model.gas.mean().round()
    ((64, 64), <Quantity 0.5 mag>, <Quantity 8. 1e+20 / cm2>)
    >>> model.ratio, model.intercept, round(float(model.significance.max()))
    (<Quantity 0.05 1e-20 cm2 mag>, <Quantity 0.1 mag>, 13)
    """

    tracer: u.Quantity
    error: u.Quantity
    gas: u.Quantity
    extra: u.Quantity
    parameters: DustModelParameters
    seed: int
    cube: HISACube | None = None
    velocity_range: u.Quantity | None = None

    @property
    def significance(self):
        """Extra dust in units of the noise; shape (n_y, n_x)."""
        return (self.extra / self.error).to_value("")

    @property
    def ratio(self):
        """The true dust-to-gas ratio."""
        return self.parameters.ratio * (u.mag / COLUMN_UNIT)

    @property
    def intercept(self):
        """The true intercept."""
        return self.parameters.intercept * u.mag


def simulate_dust(parameters=None, *, seed, velocity_width=None, n_channels=60):
    """Make maps of gas and dust, and if a velocity width is given also the cube of the gas.

    Parameters
    ----------
    parameters : `DustModelParameters`, optional
    seed : int
        The same seed gives the same maps.
    velocity_width : `~astropy.units.Quantity`, velocity, optional
        The dust goes with the H I within this width about 0 km/s. The cube has channels of 1 km/s; a line
        about the centre, and gas at other velocities that has no dust.
    n_channels : int
        Of the cube.

    Returns
    -------
    DustModel

    Examples
    --------
    >>> from hisatools.residual_mask.simulated import simulate_dust
    >>> model = simulate_dust(seed=6200)
    >>> round(float((model.extra.value > 0).mean()), 2)
    0.2
    """
    parameters = DustModelParameters() if parameters is None else parameters
    check_number("seed", seed, inclusive=True, integer=True)
    rngs = [np.random.default_rng(stream) for stream in np.random.SeedSequence(seed).spawn(4)]
    gas = _gas(parameters, rngs[0])
    cube, velocity_range = None, None
    if velocity_width is not None:
        cube, velocity_range, gas = _cube(parameters, gas, velocity_width, n_channels, rngs[3])
    extra = parameters.noise * _extra(parameters, gas, rngs[1])
    noise = correlated_noise((1, *parameters.shape), parameters.noise_beam_pix, 0.0, rngs[2])[0]
    dust = parameters.ratio * gas + parameters.intercept + extra + parameters.noise * noise
    return DustModel(
        tracer=dust << u.mag,
        error=np.full(parameters.shape, parameters.noise) << u.mag,
        gas=gas << COLUMN_UNIT,
        extra=extra << u.mag,
        parameters=parameters,
        seed=seed,
        cube=cube,
        velocity_range=velocity_range,
    )


def map_wcs(shape, pixel_deg=1 / 60):
    """A plain Galactic grid about l = 140 deg, b = 0 deg.

    Examples
    --------
    >>> from hisatools.residual_mask.simulated import map_wcs
    >>> map_wcs((21, 21)).pixel_to_world(10, 10).to_string("decimal")
    '140 0'
    """
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.cunit = ("GLON-CAR", "GLAT-CAR"), ("deg", "deg")
    wcs.wcs.crval, wcs.wcs.cdelt = (140.0, 0.0), (-pixel_deg, pixel_deg)
    wcs.wcs.crpix = (shape[1] + 1) / 2, (shape[0] + 1) / 2
    wcs.wcs.set()
    return wcs


def random_field(shape, rng, *, index=STRUCTURE_INDEX, largest_pix=np.inf):
    """A Gaussian field of mean 0 and scatter 1 whose power falls as k**-index.

    Parameters
    ----------
    shape : tuple of int
        (n_y, n_x).
    rng : `~numpy.random.Generator`
    index : float
    largest_pix : float
        Above this scale the power is flat.

    Returns
    -------
    `~numpy.ndarray`, shape (n_y, n_x)
    """
    # Twice the size: the transform is periodic, the sky is not.
    size = tuple(2 * n for n in shape)
    k = np.hypot(np.fft.fftfreq(size[0])[:, None], np.fft.rfftfreq(size[1])[None])
    amplitude = np.maximum(k, max(1 / max(size), 1 / largest_pix)) ** (-index / 2)
    amplitude[0, 0] = 0
    field = np.fft.irfft2(np.fft.rfft2(rng.standard_normal(size)) * amplitude, size)
    field = field[: shape[0], : shape[1]]
    scatter = field.std()
    return (field - field.mean()) / scatter if scatter > 0 else np.zeros(shape)


def _gas(parameters, rng):
    """N(HI) with a power-law of structure, never negative: log-normal."""
    spread = np.sqrt(np.log1p((parameters.column_scatter / parameters.mean_column) ** 2))
    field = random_field(parameters.shape, rng)
    return parameters.mean_column * np.exp(spread * field - spread**2 / 2)


def _extra(parameters, gas, rng):
    """Extra dust in units of the noise, on a share of the pixels."""
    if parameters.extra_share == 0:
        return np.zeros(parameters.shape)
    if parameters.clumps == "field":
        return _extra_of_field(parameters, gas, rng)
    wanted = parameters.extra_share * gas.size
    chance = gas.ravel() ** 6 if parameters.follows_gas else np.ones(gas.size)
    cumulative = np.cumsum(chance)
    extra = np.zeros(parameters.shape)
    for _ in range(MAX_CLUMPS):
        missing = wanted - np.count_nonzero(extra)
        if missing <= 0:
            break
        place = np.searchsorted(cumulative, rng.random() * cumulative[-1])
        diameter = _log_uniform(rng, parameters.clump_pix_low, parameters.clump_pix_high)
        # The last ones would overshoot the share.
        diameter = min(diameter, max(2 * np.sqrt(missing / np.pi), 3.0))
        peak = _log_uniform(rng, parameters.peak_low, parameters.peak_high)
        centre = np.unravel_index(place, gas.shape)
        np.maximum(extra, _clump(parameters, centre, diameter, peak, rng), out=extra)
    return extra


def _log_uniform(rng, low, high):
    return low * (high / low) ** rng.random()


def _clump(parameters, centre, diameter, peak, rng):
    """One elliptical clump."""
    axis_ratio, angle = rng.uniform(1, 2), rng.uniform(0, np.pi)
    y, x = np.indices(parameters.shape) - np.array(centre)[:, None, None]
    along = (x * np.cos(angle) + y * np.sin(angle)) / np.sqrt(axis_ratio)
    across = (y * np.cos(angle) - x * np.sin(angle)) * np.sqrt(axis_ratio)
    radius = np.hypot(along, across) / (diameter / 2)
    if parameters.clumps == "gaussian":
        # The diameter is where it ends.
        values = peak * np.exp(-np.log(peak / GAUSSIAN_END) * radius**2)
        return np.where(radius < 1, values, 0)
    if parameters.clumps == "plateau":
        edge = min(3 / (diameter / 2), 1)
        return peak * np.clip((1 - radius) / edge, 0, 1)
    return np.where(radius < 1, peak * np.cos(np.pi / 2 * radius) ** 2, 0)


def _extra_of_field(parameters, gas, rng):
    """What stands out of a random field, scaled so that its highest point is ``peak_high``."""
    field = random_field(parameters.shape, rng, index=3.5, largest_pix=parameters.clump_pix_high)
    if parameters.follows_gas:
        field = field + (gas - gas.mean()) / gas.std()
    above = np.maximum(field - np.quantile(field, 1 - parameters.extra_share), 0)
    return parameters.peak_high * above / above.max()


def _cube(parameters, gas, velocity_width, n_channels, rng):
    """Spectra of which the gas within ``velocity_width`` has dust; also the range, and N(HI) within it."""
    n_y, n_x = parameters.shape
    wcs = WCS(naxis=3)
    plain = map_wcs(parameters.shape)
    wcs.wcs.ctype = (*plain.wcs.ctype, "VRAD")
    wcs.wcs.cunit = "deg", "deg", "m/s"
    wcs.wcs.crval = (*plain.wcs.crval, 0.0)
    wcs.wcs.crpix = (*plain.wcs.crpix, (n_channels + 1) / 2)
    wcs.wcs.cdelt = (*plain.wcs.cdelt, 1000.0)
    wcs.wcs.restfrq, wcs.wcs.specsys = 1420405751.7667, "LSRK"
    velocity = np.arange(n_channels) - (n_channels - 1) / 2
    # Every channel has structure of its own, so that widths differ in more than a factor.
    fields = np.stack([random_field((n_y, n_x), rng) for _ in range(n_channels)])
    fields = gaussian_filter1d(fields, 1.5, axis=0)
    line = np.exp(-0.5 * (velocity / (0.35 * n_channels)) ** 2)
    kelvin = 40.0 * line[:, None, None] * np.exp(0.5 * fields) * (gas / gas.mean())
    cube = HISACube(kelvin << u.K, wcs)
    velocity_range = u.Quantity([-velocity_width / 2, velocity_width / 2]).to(u.km / u.s)
    return cube, velocity_range, column_of(cube, velocity_range)
