"""Parameters as data: frozen dataclasses of Quantities, checked when made.

Every number that Gibson et al. (2005, "the paper") prints in square brackets is a field here, and
the defaults are the paper's values for the Canadian Galactic Plane Survey (preset ``"cgps"``).
"""

from dataclasses import asdict, dataclass, field, fields
from numbers import Integral, Real

import astropy.units as u
import numpy as np

from hisatools.errors import ParameterError, ParameterUnitsError

__all__ = [
    "ExtractionParameters",
    "ShellParameters",
    "SpatialParameters",
    "SpectralParameters",
    "preset_names",
]

PRESETS = {
    "cgps": {"spectral": {}, "spatial": {}, "shell": {}, "extraction": {}},
}


def preset_names():
    """Names of the built-in presets, sorted.

    Examples
    --------
    >>> from hisatools import preset_names
    >>> preset_names()
    ['cgps']
    """
    return sorted(PRESETS)


def _quantity(default, *, above=0.0, inclusive=False):
    """A dataclass field that holds a Quantity of the default's unit."""
    rule = {"unit": default.unit, "above": above, "inclusive": inclusive}
    return field(default=default, metadata=rule)


def _number(default, *, above=0.0, inclusive=False, at_most=None, integer=False):
    """A dataclass field that holds a plain number."""
    rule = {"above": above, "inclusive": inclusive, "at_most": at_most, "integer": integer}
    return field(default=default, metadata=rule)


def check_quantity(name, value, unit, *, above=0.0, inclusive=False):
    """Return ``value`` as a scalar Quantity in ``unit``, or say what to type instead.

    Parameters
    ----------
    name : str
        How the user knows the argument; it stands in the message.
    value : `~astropy.units.Quantity`, scalar
        What was given.
    unit : `~astropy.units.Unit`
        What is needed.
    above : float
        The lower limit, in ``unit``.
    inclusive : bool
        Whether the limit itself is allowed.

    Returns
    -------
    `~astropy.units.Quantity`
        ``value`` in ``unit``.

    Raises
    ------
    ParameterUnitsError
        If ``value`` has no unit or one that cannot be converted.
    ParameterError
        If ``value`` is not a finite scalar within the limit.
    """
    unit = u.Unit(unit)
    problem = (
        f"{name} needs a unit of {unit}, got {{}}; write for example {name}=2 * u.Unit('{unit}'), "
        f"or '2 {unit}' on the command line"
    )
    if not isinstance(value, u.Quantity):
        raise ParameterUnitsError(problem.format(repr(value)))
    try:
        converted = value.to(unit)
    except u.UnitConversionError:
        raise ParameterUnitsError(problem.format(value)) from None
    if not converted.isscalar:
        raise ParameterError(f"{name} must be one value, got an array of shape {converted.shape}")
    _check_limit(name, converted.value, above=above, inclusive=inclusive, unit=f" {unit}")
    return converted


def check_number(name, value, *, above=0.0, inclusive=False, at_most=None, integer=False):
    """Return ``value`` if it is a finite plain number within the limits; see `check_quantity`."""
    kind = Integral if integer else Real
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, kind):
        wanted = "a whole number" if integer else "a plain number"
        raise ParameterError(f"{name} must be {wanted}, got {value!r}")
    _check_limit(name, value, above=above, inclusive=inclusive, unit="")
    if at_most is not None and value > at_most:
        raise ParameterError(f"{name} must be at most {at_most}, got {value}")
    return int(value) if isinstance(value, Integral) else float(value)


def _check_limit(name, value, *, above, inclusive, unit):
    fine = value >= above if inclusive else value > above
    if not fine or value == float("inf"):
        relation = "at least" if inclusive else "above"
        raise ParameterError(f"{name} must be finite and {relation} {above:g}{unit}, got {value:g}{unit}")


class _Parameters:
    """What all parameter sets share: validation, presets, and a form that JSON can hold."""

    _section = ""
    # The preset that the values were asked for by; None where they were not.
    made_from = None

    def __post_init__(self):
        for item in fields(self):
            if not item.metadata:
                continue
            rule = dict(item.metadata)
            check = check_quantity if "unit" in rule else check_number
            object.__setattr__(self, item.name, check(item.name, getattr(self, item.name), **rule))

    @classmethod
    def preset(cls, name, **changes):
        """The values for one survey, with any of them changed by keyword.

        Parameters
        ----------
        name : str
            One of `preset_names`.
        **changes
            Fields to set to other values.

        Raises
        ------
        ParameterError
            If the preset is not known; the message lists those that are.

        Examples
        --------
        >>> import astropy.units as u
        >>> from hisatools import SpatialParameters
        >>> parameters = SpatialParameters.preset("cgps", clean_fwhm=0.5 * u.deg)
        >>> parameters.clean_fwhm, parameters.noise_scale
        (<Quantity 30. arcmin>, <Quantity 20. arcmin>)
        """
        if name not in PRESETS:
            raise ParameterError(f"unknown preset {name!r}; known presets: {', '.join(preset_names())}")
        values = cls(**{**PRESETS[name].get(cls._section, {}), **changes})
        object.__setattr__(values, "made_from", name)
        return values

    def to_dict(self):
        """Field names and values, Quantities as strings, for the provenance.

        Examples
        --------
        >>> from hisatools import ExtractionParameters
        >>> ExtractionParameters().to_dict()
        {'critical_brightness': '70.0 K', 'min_weight': 0.382, 'min_significance': 4.0}
        """
        return {
            name: str(value) if isinstance(value, u.Quantity) else value
            for name, value in asdict(self).items()
        }


@dataclass(frozen=True, kw_only=True)
class SpectralParameters(_Parameters):
    """The spectral search (the paper, section 2.2).

    Parameters
    ----------
    smoothing_box : Quantity, angle
        Side of the N x N box over which a spectrum is averaged before CLEAN.
    clean_fwhm : Quantity, velocity
        W_char, FWHM of the Gaussians that build the unabsorbed spectrum.
    clean_gain, clean_clip, stop_fraction : float
        Gain, clip level (of R_max) and the fraction of the peak at which CLEAN stops.
    max_iterations : int
        The largest number of CLEAN loops.
    threshold : float
        F: a segment lies below -F sigma_pos.
    critical_brightness : Quantity, temperature
        T_crit: least unabsorbed brightness at a segment's minimum.
    narrow_fwhm, broad_fwhm : Quantity, velocity
        FWHM of the two Gaussians that are fitted to a segment.
    fit_significance : float
        D: least A / sigma_fit and A / sigma_pos.
    dip_threshold : float
        Least value of the dip filter (1 dip, 0.5 step, 0 slope).
    profile_cut : float
        The fitted profile is kept where it exceeds this fraction of A.
    join_fwhm : Quantity, angle
        FWHM of the beam that joins flecks of absorption.
    cull_amplitude : Quantity, temperature
        Smoothed amplitudes below this are dropped.
    continuum_veto : float
        A sight line with a channel below -continuum_veto sigma_obs is continuum
        absorption and is dropped.

    Examples
    --------
    Units are converted, and anything that cannot be is refused at once:

    >>> import astropy.units as u
    >>> from hisatools import SpectralParameters
    >>> parameters = SpectralParameters(clean_fwhm=6000 * u.m / u.s, threshold=2.5)
    >>> parameters.clean_fwhm, parameters.threshold, parameters.smoothing_box
    (<Quantity 6. km / s>, 2.5, <Quantity 2.1 arcmin>)
    >>> SpectralParameters(clean_fwhm=6)
    Traceback (most recent call last):
        ...
    hisatools.errors.ParameterUnitsError: clean_fwhm needs a unit of km / s, got 6; ...
    """

    _section = "spectral"

    smoothing_box: u.Quantity = _quantity(2.1 * u.arcmin)
    clean_fwhm: u.Quantity = _quantity(8.0 * u.km / u.s)
    clean_gain: float = _number(0.25, at_most=1)
    clean_clip: float = _number(0.8, at_most=1)
    stop_fraction: float = _number(0.03, inclusive=True, at_most=1)
    max_iterations: int = _number(1000, integer=True)
    threshold: float = _number(2.0)
    critical_brightness: u.Quantity = _quantity(30.0 * u.K, inclusive=True)
    narrow_fwhm: u.Quantity = _quantity(2.0 * u.km / u.s)
    broad_fwhm: u.Quantity = _quantity(4.0 * u.km / u.s)
    fit_significance: float = _number(2.0, inclusive=True)
    dip_threshold: float = _number(0.6, inclusive=True, at_most=1)
    profile_cut: float = _number(0.05, at_most=1)
    join_fwhm: u.Quantity = _quantity(1.5 * u.arcmin, inclusive=True)
    cull_amplitude: u.Quantity = _quantity(2.0 * u.K, inclusive=True)
    continuum_veto: float = _number(6.0)

    def __post_init__(self):
        super().__post_init__()
        if self.narrow_fwhm > self.broad_fwhm:
            raise ParameterError(
                f"narrow_fwhm ({self.narrow_fwhm}) must not exceed broad_fwhm ({self.broad_fwhm})"
            )


@dataclass(frozen=True, kw_only=True)
class SpatialParameters(_Parameters):
    """The spatial search (the paper, section 2.3).

    Parameters
    ----------
    smoothing_box : Quantity, angle
        Side of the N x N box over which a channel map is averaged before CLEAN.
    noise_scale : Quantity, angle
        Scale on which the noise of a channel map is measured.
    clean_fwhm : Quantity, angle
        G_char, FWHM of the Gaussians that build the unabsorbed map.
    clean_gain, clean_clip, stop_fraction : float
        Gain, clip level (of R_max) and the fraction of the peak at which CLEAN stops.
    peak_rank : int
        M: R_max is the M-th highest residual.
    max_iterations : int
        The largest number of CLEAN loops.
    threshold : float
        F: a pixel is flagged below -F sigma_pos, or where O - U < -F sigma_obs.
    min_amplitude : Quantity, temperature
        Unsmoothed amplitudes below this are dropped.
    critical_brightness : Quantity, temperature
        T_crit: least unabsorbed brightness.
    join_fwhm : Quantity, angle
        FWHM of the beam that joins flecks of absorption.
    cull_amplitude : Quantity, temperature
        Smoothed amplitudes below this are dropped.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools import SpatialParameters
    >>> parameters = SpatialParameters(clean_fwhm=0.5 * u.deg, min_amplitude=6 * u.K)
    >>> parameters.clean_fwhm, parameters.min_amplitude, parameters.peak_rank
    (<Quantity 30. arcmin>, <Quantity 6. K>, 10)
    """

    _section = "spatial"

    smoothing_box: u.Quantity = _quantity(4.5 * u.arcmin)
    noise_scale: u.Quantity = _quantity(20.0 * u.arcmin)
    clean_fwhm: u.Quantity = _quantity(20.0 * u.arcmin)
    clean_gain: float = _number(0.25, at_most=1)
    clean_clip: float = _number(0.5, at_most=1)
    stop_fraction: float = _number(0.03, inclusive=True, at_most=1)
    peak_rank: int = _number(10, integer=True)
    max_iterations: int = _number(1000, integer=True)
    threshold: float = _number(2.0)
    min_amplitude: u.Quantity = _quantity(4.0 * u.K, inclusive=True)
    critical_brightness: u.Quantity = _quantity(30.0 * u.K, inclusive=True)
    join_fwhm: u.Quantity = _quantity(1.5 * u.arcmin, inclusive=True)
    cull_amplitude: u.Quantity = _quantity(2.0 * u.K, inclusive=True)


@dataclass(frozen=True, kw_only=True)
class ShellParameters(_Parameters):
    """The "shell" estimate of T_U (the paper, section 2.4.1, equations 1 and 2).

    Parameters
    ----------
    min_fwhm_angle, max_fwhm_angle : Quantity, angle
        Limits of the weighting function's FWHM on the sky.
    min_fwhm_velocity, max_fwhm_velocity : Quantity, velocity
        Limits of its FWHM in velocity.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools import ShellParameters, UnabsorbedEstimator
    >>> parameters = ShellParameters(max_fwhm_angle=10 * u.arcmin)
    >>> UnabsorbedEstimator("shell", parameters).parameters.max_fwhm_angle
    <Quantity 10. arcmin>
    """

    _section = "shell"

    min_fwhm_angle: u.Quantity = _quantity(1.2 * u.arcmin)
    max_fwhm_angle: u.Quantity = _quantity(20.0 * u.arcmin)
    min_fwhm_velocity: u.Quantity = _quantity(3.3 * u.km / u.s)
    max_fwhm_velocity: u.Quantity = _quantity(8.0 * u.km / u.s)

    def __post_init__(self):
        super().__post_init__()
        for kind in ("angle", "velocity"):
            low, high = getattr(self, f"min_fwhm_{kind}"), getattr(self, f"max_fwhm_{kind}")
            if low > high:
                raise ParameterError(f"min_fwhm_{kind} ({low}) must not exceed max_fwhm_{kind} ({high})")


@dataclass(frozen=True, kw_only=True)
class ExtractionParameters(_Parameters):
    """How the two searches are combined (the paper, section 2.4.2).

    Parameters
    ----------
    critical_brightness : Quantity, temperature
        T_crit': least T_U of an accepted voxel.
    min_weight : float
        Least mosaic weight of a sight line, where a weights map is given.
    min_significance : float
        Features whose summed absorption stands less than this many standard deviations above
        noise are dropped. Not in the paper (0 turns it off); see the documentation, "Method".

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools import ExtractionParameters, HISAExtractor
    >>> parameters = ExtractionParameters(critical_brightness=50 * u.K, min_significance=0)
    >>> HISAExtractor(parameters=parameters).parameters.critical_brightness
    <Quantity 50. K>
    """

    _section = "extraction"

    critical_brightness: u.Quantity = _quantity(70.0 * u.K, inclusive=True)
    min_weight: float = _number(0.382, inclusive=True)
    min_significance: float = _number(4.0, inclusive=True)
