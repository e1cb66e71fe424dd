"""Noise that rises with the brightness, as that of a receiver does."""

import warnings
from dataclasses import dataclass

import astropy.units as u
import numpy as np

from hisatools.errors import HISAWarning, InputError
from hisatools.noise.certainty import warn_if_few
from hisatools.noise.correlation import MAD_TO_SIGMA, MIN_SAMPLES
from hisatools.noise.differences import MAX_VOXELS
from hisatools.noise.fields import brightness, clipped_variance, noise_field, scale_pix, source
from hisatools.noise.protocols import NoiseMeasurement
from hisatools.noise.scales import SkyParameters, keep_quantity

__all__ = ["RadiometerParameters", "RadiometerStrategy"]

# Bins of brightness in which T_sys is measured.
N_BINS = 20
FIT_ROUNDS = 6
FIRST_T_SYS_KELVIN = 100.0


@dataclass(frozen=True, kw_only=True)
class RadiometerParameters(SkyParameters):
    """System temperature, and over what sigma0 is gathered; see `hisatools.noise.scales.SkyParameters`.

    Parameters
    ----------
    t_sys : Quantity, temperature, or None
        Brightness that doubles the noise; 100 K for the CGPS, where 3 K of empty sky become 6 K at
        T_B = 100 K. None: it is measured.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools.noise import RadiometerParameters
    >>> RadiometerParameters(t_sys=100 * u.K).to_dict()["t_sys"]
    '100.0 K'
    """

    _section = "radiometer"

    t_sys: u.Quantity | None = None

    def __post_init__(self):
        super().__post_init__()
        keep_quantity(self, "t_sys", u.K)


class RadiometerStrategy:
    """sigma(l, b, v) = sigma0(l, b) (T_sys + T_B) / T_sys.

    T_B is the mean over five beams and three channels, so that noise does not enter, and at least 0.
    sigma0 and T_sys are measured where they are not given: O - S divided by the second factor has the noise
    sigma0 in every channel, and its scatter in bins of T_B does not change with T_B when T_sys is right. It
    measures the noise of each voxel.

    Parameters
    ----------
    parameters : `RadiometerParameters`, optional
    sigma0 : `~astropy.units.Quantity`, scalar or shape (n_y, n_x), K, optional
        Noise without emission.

    References
    ----------
    Gibson, S. J., et al. 2005, ApJ 626, 214, section 3.2.2.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools.noise import NoiseEstimator, RadiometerParameters
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> model = simulate_cube(ModelParameters(shape=(16, 64, 64), n_pucks=3, n_components=50), seed=101)
    >>> estimator = NoiseEstimator("radiometer", RadiometerParameters(t_sys=100 * u.K), sigma0=3 * u.K)
    >>> bool(estimator.estimate(model.cube).sigma.min() >= 3 * u.K)
    True
    """

    Parameters = RadiometerParameters
    citation = "Gibson et al. 2005, ApJ 626, 214, section 3.2.2"

    def __init__(self, parameters=None, *, sigma0=None):
        self.parameters = RadiometerParameters() if parameters is None else parameters
        self.sigma0 = sigma0

    def estimate(self, cube, mask, workers, progress):
        """Noise of each voxel: shape (n_v, n_y, n_x); see `~hisatools.noise.protocols.NoiseStrategy`."""
        smooth_kelvin = brightness(cube, workers=workers)
        given = self.parameters.t_sys
        field = None
        if given is None or self.sigma0 is None:
            measured = noise_field(cube, mask, workers=workers)
            field = measured.kelvin
        fwhm_pix = scale_pix("smoothing", self.parameters.smoothing, self.parameters.smoothing_beams, cube)
        rise = 1 / given.value if given is not None else measure_rise(field, smooth_kelvin, fwhm_pix)
        factor = 1 + smooth_kelvin * np.float32(rise)
        if self.sigma0 is None:
            warn_if_few(measured.n_values(fwhm_pix), source(cube))
            scaled = field / factor
            sigma0_kelvin = np.sqrt(clipped_variance(scaled, fwhm_pix, self.parameters.clip, workers=workers))
        else:
            sigma0_kelvin = as_kelvin("sigma0", self.sigma0, cube, is_map=True)
        meta = {
            "t_sys_kelvin": round(1 / rise, 2) if rise > 0 else float("inf"),
            "sigma0_kelvin": round(float(np.nanmedian(sigma0_kelvin)), 4),
        }
        return NoiseMeasurement((sigma0_kelvin * factor).astype(np.float32), meta)


def measure_rise(field, smooth_kelvin, fwhm_pix):
    """1 / T_sys per K: how the noise rises with the brightness; 0, with a warning, if it does not.

    Parameters
    ----------
    field : `~numpy.ndarray`, shape (n_v, n_y, n_x), K
        Of the variance of the noise; NaN is left out.
    smooth_kelvin : `~numpy.ndarray`, same shape, K
    fwhm_pix : float
        Scale on the sky over which sigma0 is the same.
    """
    step = max(int(np.ceil(np.sqrt(field.size / MAX_VOXELS))), 1)
    field, smooth_kelvin = (values[:, ::step, ::step] for values in (field, smooth_kelvin))
    used = np.isfinite(field) & np.isfinite(smooth_kelvin)
    rise = 1 / FIRST_T_SYS_KELVIN
    bins = _bins(smooth_kelvin[used])
    if bins is not None:
        centres, place = bins
        for _ in range(FIT_ROUNDS):
            sigma0 = np.sqrt(clipped_variance(field / (1 + rise * smooth_kelvin), fwhm_pix / step, 3.0))
            scaled = np.abs(field / sigma0)[used]
            scatter = [MAD_TO_SIGMA * np.median(scaled[place == k]) for k in range(len(centres))]
            slope, base = np.polyfit(centres, scatter, 1)
            rise = max(slope / base, 0.0) if base > 0 else rise
        if rise > 0:
            return float(rise)
    warnings.warn(
        "the noise does not rise with the brightness in this cube, or there is too little of either: "
        "T_sys cannot be measured, and one noise is taken for all channels; give t_sys, such as 100 * u.K",
        HISAWarning,
        stacklevel=4,
    )
    return 0.0


def _bins(values):
    """Centres of bins with equal numbers of voxels, and the bin of each; None if the values do not differ."""
    n_bins = min(N_BINS, values.size // MIN_SAMPLES)
    if n_bins < 3:
        return None
    edges = np.unique(np.quantile(values, np.linspace(0, 1, n_bins + 1)))
    if len(edges) < 4:
        return None
    place = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    counts = np.bincount(place, minlength=len(edges) - 1)
    if (counts == 0).any():
        return None
    return np.bincount(place, values, len(edges) - 1) / counts, place


def as_kelvin(name, value, cube, *, is_map=False):
    """A Quantity or a `NoiseResult` as an array in K that fits a cube, or each of its maps."""
    if hasattr(value, "check_axes"):
        value.check_axes(cube)
    value = getattr(value, "sigma", value)
    if not isinstance(value, u.Quantity) or not value.unit.is_equivalent(u.K):
        raise InputError(f"{name} needs a unit of K, got {value!r}; write for example {name}=3 * u.K")
    kelvin = value.to_value(u.K)
    shapes = [cube.shape[1:]] if is_map else [cube.shape[1:], cube.shape]
    if kelvin.ndim and kelvin.shape not in shapes:
        raise InputError(
            f"{name} of shape {kelvin.shape} does not fit; give one value, or an array of shape "
            f"{' or '.join(map(str, shapes))}"
        )
    if np.any(kelvin < 0):
        raise InputError(f"{name} must be 0 K or above, got {np.nanmin(kelvin):g} K")
    return kelvin
