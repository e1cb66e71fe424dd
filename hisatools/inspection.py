"""How a cube was read, and whether the scales of a preset fit it: what ``hisatools inspect`` prints."""

from dataclasses import dataclass, fields

import astropy.units as u
import numpy as np

from hisatools.parameters import ShellParameters, SpatialParameters, SpectralParameters
from hisatools.search.base import LARGE_KERNEL, MIN_STEPS
from hisatools.surveys import SURVEYS, survey_differences

__all__ = ["ScaleFit", "cube_facts", "describe_cube", "describe_scales", "fit_scales"]

SETS = {"spectral": SpectralParameters, "spatial": SpatialParameters, "shell": ShellParameters}
MAX_SAMPLE = 1_000_000


@dataclass(frozen=True)
class ScaleFit:
    """One scale of a preset, in pixels or channels of a cube.

    Parameters
    ----------
    name : str
        Parameter set and field, e.g. "spatial.clean_fwhm".
    scale : `~astropy.units.Quantity`
        Its value.
    n_steps : float
        The same in pixels or channels.
    remark : str
        What is wrong or notable, empty where it fits.
    usable : bool
        False where the search would refuse it.

    Examples
    --------
    >>> from hisatools.datasets import example_model
    >>> from hisatools.inspection import fit_scales
    >>> fit = fit_scales(example_model().cube)[0]
    >>> fit.name, fit.scale, round(float(fit.n_steps), 1), fit.usable
    ('spectral.smoothing_box', <Quantity 2.1 arcmin>, 7.0, True)
    """

    name: str
    scale: u.Quantity
    n_steps: float
    remark: str
    usable: bool


def fit_scales(cube, preset="cgps"):
    """Compare every angle and velocity of a preset with the pixels, channels and size of a cube.

    Parameters
    ----------
    cube : HISACube
        The cube.
    preset : str
        Name of the preset.

    Returns
    -------
    list of ScaleFit
        Of a single spectrum, the velocity scales only.

    Raises
    ------
    ParameterError
        If the preset is not known.

    Examples
    --------
    What does not fit a cut of 40 x 40 pixels:

    >>> from hisatools.datasets import example_model
    >>> from hisatools.inspection import fit_scales
    >>> small = example_model().cube.cutout((slice(0, 32), slice(0, 40), slice(0, 40)))
    >>> for fit in fit_scales(small, "cgps"):
    ...     if not fit.usable:
    ...         print(fit.name, fit.scale, "-", fit.remark)
    ...
    spatial.clean_fwhm 20.0 arcmin - DOES NOT FIT: the cube has 40; reduce it with --set, or use a larger cube
    """
    found = []
    for section, kind in SETS.items():
        values = kind.preset(preset)
        for item in fields(kind):
            scale = getattr(values, item.name)
            if isinstance(scale, u.Quantity) and scale.unit != u.K:
                found.append(_fit_scale(cube, f"{section}.{item.name}", scale))
    return [fit for fit in found if fit is not None]


def describe_scales(cube, preset="cgps"):
    """The lines that say whether a preset fits a cube.

    Parameters
    ----------
    cube : HISACube
        The cube.
    preset : str
        Name of the preset.

    Returns
    -------
    list of str

    Examples
    --------
    >>> from hisatools.datasets import example_model
    >>> from hisatools.inspection import describe_scales
    >>> for line in describe_scales(example_model().cube, "cgps")[:4]:
    ...     print(line)
    ...
    Preset cgps: fits
      spectral.smoothing_box         2.10 arcmin       7.0 pixels
      spectral.clean_fwhm            8.00 km / s       9.7 channels
      spectral.narrow_fwhm           2.00 km / s       2.4 channels
    """
    fits = fit_scales(cube, preset)
    lines = [f"Preset {preset}: {_verdict(fits)}"]
    if differences := survey_differences(cube, preset):
        lines.append(f"  is for the {SURVEYS[preset].title}, and this cube has {'; '.join(differences)}")
    for fit in fits:
        steps = "channels" if fit.scale.unit.is_equivalent(u.km / u.s) else "pixels"
        size = f"{fit.scale.value:6.2f} {fit.scale.unit!s:8} {fit.n_steps:7.1f} {steps:8}"
        lines.append(f"  {fit.name:28} {size}  {fit.remark}".rstrip())
    return lines


def describe_cube(cube):
    """The lines that say what was read and what was mended.

    Parameters
    ----------
    cube : HISACube
        The cube.

    Returns
    -------
    list of str

    Examples
    --------
    >>> from hisatools.datasets import example_model
    >>> from hisatools.inspection import describe_cube
    >>> for line in describe_cube(example_model().cube):
    ...     print(line)
    ...
    File:       none, made in memory
    Object:     hisatools model, seed 2
    Shape:      32 channels x 208 x 208 pixels
    Velocity:   -27.2 to -52.8 km/s, 0.8245 km/s a channel, LSRK
    Sky:        GLON 140.000, GLAT +0.000 deg at the centre, 1.04 x 1.04 deg in pixels of 0.3 arcmin
    Beam:       1 x 1 arcmin
    Weights:    none
    Brightness: 12.55 to 181.6 K, median 99.95 K; blank 0 %
    Mended:     nothing
    """
    mended = "nothing" if not cube.mends else f"{len(cube.mends)} time{'s' * (len(cube.mends) != 1)}"
    rows = cube_facts(cube) | {"Mended": mended}
    return [f"{name + ':':12}{text}" for name, text in rows.items()] + [f"  - {mend}" for mend in cube.mends]


def cube_facts(cube):
    """What a cube is: file, object, axes, beam, weights and brightness.

    Parameters
    ----------
    cube : HISACube
        The cube.

    Returns
    -------
    dict
        Name to text, in the order in which they are told.

    Examples
    --------
    >>> from hisatools.datasets import example_model
    >>> from hisatools.inspection import cube_facts
    >>> facts = cube_facts(example_model().cube)
    >>> facts["Shape"], facts["Beam"]
    ('32 channels x 208 x 208 pixels', '1 x 1 arcmin')
    """
    n_v, n_y, n_x = cube.shape
    return {
        "File": cube.meta.get("path", "none, made in memory"),
        "Object": cube.meta.get("object") or "not named",
        "Shape": f"{n_v} channels x {n_y} x {n_x} pixels",
        "Velocity": _velocity(cube),
        "Sky": _sky(cube),
        "Beam": _beam(cube),
        "Weights": "none"
        if cube.weights is None
        else f"{np.nanmin(cube.weights):.3g} to {np.nanmax(cube.weights):.3g}",
        "Brightness": _brightness(cube.kelvin),
    }


def _fit_scale(cube, name, scale):
    on_sky = scale.unit.is_equivalent(u.arcmin)
    if cube.is_spectrum and (on_sky or not name.startswith("spectral")):
        return None
    step = cube.pixel_scale if on_sky else cube.channel_width
    length = min(cube.shape[1:]) if on_sky else cube.shape[0]
    n_steps = (scale / step).to_value(u.one)
    remark, usable = _judge(name, n_steps, length)
    return ScaleFit(name, scale, n_steps, remark, usable)


def _judge(name, n_steps, length):
    """What is notable about a scale, and whether the search takes it."""
    if name.endswith(".clean_fwhm"):
        if n_steps < MIN_STEPS:
            return f"NOT RESOLVED: a CLEAN kernel needs {MIN_STEPS}; enlarge it with --set", False
        if n_steps > length:
            return f"DOES NOT FIT: the cube has {length}; reduce it with --set, or use a larger cube", False
        if n_steps > length * LARGE_KERNEL:
            return f"large for an axis of {length}: larger features are lost", True
    if name in ("spectral.narrow_fwhm", "spectral.broad_fwhm") and n_steps < MIN_STEPS:
        return f"widened to {MIN_STEPS} channels", True
    if name.endswith(("_box", "join_fwhm")) and n_steps < 1:
        return "below a pixel: no smoothing", True
    return "", True


def _verdict(fits):
    unusable = [fit.name for fit in fits if not fit.usable]
    if unusable:
        return f"does not fit this cube ({', '.join(unusable)})"
    return "fits, with remarks" if any(fit.remark for fit in fits) else "fits"


def _velocity(cube):
    speeds = cube.velocity.value
    frame = cube.wcs.wcs.specsys or "frame not known"
    return (
        f"{speeds[0]:+.1f} to {speeds[-1]:+.1f} km/s, {cube.channel_width.value:.4g} km/s a channel, {frame}"
    )


def _sky(cube):
    n_y, n_x = cube.shape[1:]
    lon, lat = cube.wcs.celestial.wcs_pix2world([[(n_x - 1) / 2, (n_y - 1) / 2]], 0)[0]
    names = [kind.split("-")[0] for kind in list(cube.wcs.wcs.ctype)]
    pixel = cube.pixel_scale.to_value(u.arcmin)
    return (
        f"{names[0]} {lon % 360:.3f}, {names[1]} {lat:+.3f} deg at the centre, "
        f"{n_x * pixel / 60:.3g} x {n_y * pixel / 60:.3g} deg in pixels of {pixel:.4g} arcmin"
    )


def _beam(cube):
    if cube.beam is None:
        return "not known"
    major, minor = (axis.to_value(u.arcmin) for axis in (cube.beam.major, cube.beam.minor))
    return f"{major:.3g} x {minor:.3g} arcmin"


def _brightness(kelvin):
    """Range and median; the median of a large cube from an even sample."""
    low = min(float(np.fmin.reduce(plane, axis=None, initial=np.inf)) for plane in kelvin)
    high = max(float(np.fmax.reduce(plane, axis=None, initial=-np.inf)) for plane in kelvin)
    sample = kelvin.ravel()[:: max(kelvin.size // MAX_SAMPLE, 1)]
    n_blank = sum(int(np.count_nonzero(np.isnan(plane))) for plane in kelvin)
    blank = f"blank {100 * n_blank / kelvin.size:.3g} %"
    return f"{low:.4g} to {high:.4g} K, median {np.nanmedian(sample):.4g} K; {blank}"
