"""What a preset was made for, and whether a cube is like it."""

import warnings
from dataclasses import dataclass, fields

import astropy.units as u
import numpy as np

from hisatools.errors import ParameterError, PresetWarning
from hisatools.parameters import check_quantity, preset_names

__all__ = ["SURVEYS", "Survey", "survey_differences"]

# Beyond the survey's own range by more than these factors, a cube is not of it.
MAX_STEP = 1.5
MAX_NOISE = 2.0
# Presets and cubes that a warning was given for.
_warned = set()


@dataclass(frozen=True, kw_only=True)
class Survey:
    """Resolution, sampling and noise of a survey, each as the lowest and the highest value.

    Parameters
    ----------
    title : str
    beam : Quantity, angle, shape (2,)
        FWHM, the geometric mean of both axes.
    pixel_scale : Quantity, angle, shape (2,)
    channel_width : Quantity, velocity, shape (2,)
    noise : Quantity, temperature, shape (2,)
        Rms in a channel.

    Examples
    --------
    >>> from hisatools.surveys import SURVEYS
    >>> survey = SURVEYS["cgps"]
    >>> print(survey.title, survey.beam, survey.noise)
    Canadian Galactic Plane Survey [0.97 1.3 ] arcmin [3. 7.] K
    """

    title: str
    beam: u.Quantity
    pixel_scale: u.Quantity
    channel_width: u.Quantity
    noise: u.Quantity


SURVEYS = {
    # The paper, section 2.1: 58" x 58" cosec(dec) at declinations of 34 to 68 deg; 3 K in empty channels at a
    # field's centre; and section 2.4.2: 5-7 K in emission of 70-130 K.
    "cgps": Survey(
        title="Canadian Galactic Plane Survey",
        beam=[0.97, 1.3] * u.arcmin,
        pixel_scale=[0.3, 0.3] * u.arcmin,
        channel_width=[0.82446, 0.82446] * u.km / u.s,
        noise=[3, 7] * u.K,
    ),
}


def survey_differences(cube, preset="cgps", *, noise=None):
    """In what a cube is unlike the survey that a preset was made for.

    Parameters
    ----------
    cube : `~hisatools.HISACube`
        Of a single spectrum the pixel says nothing; a beam that is not known says nothing either.
    preset : str
        Name of the preset. Of one that is no survey's, as one of your own, nothing can be said.
    noise : `~astropy.units.Quantity`, scalar, optional
        Rms in a channel. NaN is not compared.

    Returns
    -------
    list of str
        One for each of beam, pixels, channels and noise that differs by more than a factor of 1.5 (noise: 2).

    Raises
    ------
    ParameterError
        If there is no such preset, or the noise is no temperature.

    Examples
    --------
    >>> from hisatools.datasets import example_model, load_lab_profiles
    >>> from hisatools.surveys import survey_differences
    >>> survey_differences(example_model().cube, "cgps")
    []
    >>> import astropy.units as u
    >>> survey_differences(example_model().cube, "cgps", noise=0.3 * u.K)
    ["noise of 0.3 K, 0.1 times the survey's lowest, 3 K"]
    """
    if preset not in preset_names():
        raise ParameterError(f"unknown preset {preset!r}; known: {', '.join(preset_names())}")
    survey = SURVEYS.get(preset)
    if survey is None:
        return []
    own = {
        "a beam": (None if cube.beam is None else np.sqrt(cube.beam.major * cube.beam.minor), survey.beam),
        "pixels": (None if cube.is_spectrum else cube.pixel_scale, survey.pixel_scale),
        "channels": (cube.channel_width, survey.channel_width),
    }
    found = [_difference(name, value, limits, MAX_STEP) for name, (value, limits) in own.items()]
    found.append(_difference("noise", _checked_noise(noise), survey.noise, MAX_NOISE))
    return [text for text in found if text]


def _checked_noise(noise):
    """The noise in K; None if it is not known."""
    if noise is None or (isinstance(noise, u.Quantity) and noise.isscalar and np.isnan(noise.value)):
        return None
    return check_quantity("noise", noise, u.K, inclusive=True)


def _difference(name, value, limits, factor):
    """What is said of a value that is out of its range by more than a factor; empty if it is not."""
    if value is None or not np.isfinite(value):
        return ""
    value = value.to(limits.unit)
    low, high = limits
    if low / factor <= value <= high * factor:
        return ""
    end, limit = ("lowest, ", low) if value < low else ("largest, ", high)
    if low == high:
        end = ""
    return f"{name} of {value:.3g}, {(value / limit).value:.2g} times the survey's {end}{limit:.3g}"


def warn_outside_survey(parameters, cube, *, noise=None):
    """Warn where a preset is used on a cube that is not like its survey; once for each cube.

    Parameters
    ----------
    parameters : iterable
        All sets of a search. Where a scale of any is not that of the preset, they are somebody's own.
    cube : `~hisatools.HISACube`
    noise : `~astropy.units.Quantity`, scalar, optional
    """
    preset = _preset_of(list(parameters))
    if preset not in SURVEYS:
        return
    # Cubes made in memory have no path: they are told apart by their axes and beam.
    key = (preset, cube.meta.get("path"), cube.shape, *survey_differences(cube, preset))
    if key in _warned:
        return
    if differences := survey_differences(cube, preset, noise=noise):
        _warned.add(key)
        warnings.warn(
            f"{cube.meta.get('path', 'the cube')}: the preset {preset} is for the {SURVEYS[preset].title}, "
            f"and this cube has {'; '.join(differences)}. Look with `hisatools inspect` whether the scales "
            'fit, and see "Your own survey" in the documentation',
            PresetWarning,
            stacklevel=5,
        )


def _preset_of(parameters):
    """The preset that all sets are of, with their scales unchanged; None if there is no such."""
    names = {values.made_from for values in parameters if getattr(values, "made_from", None)}
    if len(names) != 1:
        return None
    (name,) = names
    known = (values for values in parameters if hasattr(values, "preset"))
    unchanged = all(_scales(values) == _scales(type(values).preset(name)) for values in known)
    return name if unchanged else None


def _scales(values):
    """Name and value of every angle and velocity."""
    found = {item.name: getattr(values, item.name) for item in fields(values)}
    return {
        name: value
        for name, value in found.items()
        if isinstance(value, u.Quantity) and value.isscalar and not value.unit.is_equivalent(u.K)
    }
