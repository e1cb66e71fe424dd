"""Columns that say which CO lies at a feature, and at which velocity."""

import warnings
from dataclasses import dataclass, replace
from enum import IntFlag

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord

from hisatools.catalog.columns import set_column
from hisatools.catalog.places import velocities_needed
from hisatools.errors import HISAWarning, InputError, ParameterError
from hisatools.io.sky import sky_frame
from hisatools.parameters import check_number, check_quantity
from hisatools.tracers.peaks import Line, nearest_line, spectrum_noise
from hisatools.tracers.spectra import mean_spectra, tracer_cube

__all__ = ["CO_COLUMNS", "TracerFlag", "add_co", "catalog_with_co"]

KMS = u.km / u.s
SIGNIFICANCE = 5.0
# Of what a spectrum is the mean.
SIGHT_LINES, CENTROID = "sight lines", "the pixel of the centroid"
# So many places along each side of a pixel at most, where the tracer's are finer.
MOST_PLACES = 8
# More of the sight lines than this are all of them.
ALL = 0.999

# Without the prefix: unit, description, UCD.
CO_COLUMNS = {
    "velocity": (KMS, "Velocity of the CO peak nearest to that of the feature", "spect.dopplerVeloc"),
    "velocity_difference": (KMS, "co_velocity minus velocity", "spect.dopplerVeloc;arith.diff"),
    "brightness": (
        u.K,
        "Brightness of that peak in the mean spectrum of the feature",
        "phot.antennaTemp;stat.max",
    ),
    "linewidth": (KMS, "FWHM of that line; NaN if it is blended with another", "spect.line.width"),
    "noise": (u.K, "1-sigma noise of the mean spectrum", "stat.error;phot.antennaTemp"),
    "coverage": (None, "Share of the feature's sight lines that the CO cube covers", "stat.value"),
    "flags": (None, "Sum of hisatools.tracers.TracerFlag; 0 where nothing is the matter", "meta.code.qual"),
}

# What is another where the spectrum is that of the centroid's pixel.
AT_CENTROID = {
    "brightness": "Brightness of that peak in the spectrum of the CO pixel that the centroid lies in",
    "noise": "1-sigma noise of that spectrum",
    "coverage": "1 if the CO cube covers the centroid, 0 if not",
}


class TracerFlag(IntFlag):
    """What is to be known about the CO of a feature; a sum of these.

    Examples
    --------
    A cube of noise alone, that does not cover the two southern features:

    >>> import astropy.units as u
    >>> import numpy as np
    >>> from hisatools import HISACube
    >>> from hisatools.datasets import example_result
    >>> from hisatools.tracers import TracerFlag
    >>> result = example_result()
    >>> noise = np.random.default_rng(1).normal(0, 0.1, result.flags.shape)
    >>> empty = HISACube(noise * u.K, result.wcs).cutout((slice(None), slice(80, None), slice(None)))
    >>> for flags in result.catalog.with_co(empty)["co_flags"]:
    ...     print([flag.name for flag in TracerFlag if flags & flag])
    ...
    ['OUTSIDE']
    ['NOT_FOUND']
    ['NOT_FOUND']
    ['NOT_FOUND']
    ['OUTSIDE']
    """

    NOT_FOUND = 1  #: No peak is bright enough.
    OUTSIDE = 2  #: The cube covers none of the sight lines.
    PARTIAL = 4  #: It covers some of them only.
    OTHER_VELOCITIES = 8  #: The velocity of the feature is none of the cube's: nearer CO may be missed.
    BLENDED = 16  #: The line is blended with another, or cut off: no linewidth.
    LARGE_BEAM = 32  #: The beam is larger than the feature, so that its surroundings are in the spectrum.
    NO_NOISE = 64  #: Too few channels show noise, or it is masked to 0, and no least brightness was given.


@dataclass(frozen=True)
class _Limits:
    """What counts as a line."""

    significance: float
    kelvin: float
    kms: float

    @classmethod
    def of(cls, min_significance, min_brightness, max_velocity_difference):
        least, reach = 0.0, np.inf
        if min_brightness is not None:
            least = check_quantity("min_brightness", min_brightness, u.K, inclusive=True).value
        if max_velocity_difference is not None:
            reach = check_quantity(
                "max_velocity_difference", max_velocity_difference, KMS, inclusive=True
            ).value
        return cls(check_number("min_significance", min_significance, inclusive=True), least, reach)


def add_co(
    result,
    cube,
    *,
    min_significance=SIGNIFICANCE,
    min_brightness=None,
    max_velocity_difference=None,
    rest_frequency=None,
    prefix="co",
):
    """Add to each feature the CO that is nearest in velocity.

    The CO spectrum of a feature is the mean over its sight lines. Of its peaks that of the velocity nearest
    to the feature's is chosen, however bright others are.

    Parameters
    ----------
    result : `~hisatools.HISAResult`
    cube : path, `~hisatools.HISACube` or `~spectral_cube.SpectralCube`
        Of CO, or of any line that emits. Pixels, channels, frame of the sky and directions of the axes may be
        others than those of the result. A file is read as an H I cube is; where its axis is velocity, a rest
        frequency that is missing or assumed does not matter.
    min_significance : float
        Least brightness of a peak in units of the noise of the mean spectrum; it must also rise so far above
        the valley between it and a brighter one.
    min_brightness : `~astropy.units.Quantity`, K, optional
        Least brightness, besides.
    max_velocity_difference : `~astropy.units.Quantity`, velocity, optional
        Farther peaks are none.
    rest_frequency : `~astropy.units.Quantity`, frequency, optional
        Of the line, for a file with a frequency axis and no RESTFRQ.
    prefix : str
        Of the new columns. Those of the same prefix are replaced.

    Returns
    -------
    `~hisatools.HISAResult`
        Its catalogue has the columns ``co_velocity``, ``co_velocity_difference``, ``co_brightness``,
        ``co_linewidth``, ``co_noise``, ``co_coverage`` and ``co_flags`` (see `TracerFlag`): NaN where no CO
        is found, or the cube has no sight line of the feature. ``catalog.meta["TRACERS"]`` and
        ``meta["tracers"]`` say from which cube, by the prefix.

    Raises
    ------
    InputError
        If the cube cannot be read, or its velocities count from elsewhere than those of the result.
    ParameterError
        If an argument is not of the kind that is needed, or a column would be there twice.

    Notes
    -----
    Each sight line takes the spectrum of the CO pixel that it lies in; where those are smaller, it takes the
    mean of all within it. Nothing is smoothed to a common beam: the mean over a feature is over an area that
    is larger than the beam, or the flag LARGE_BEAM is set.

    The noise is that of channels against the mean of one before and one after them, so far off that the noise
    is not correlated over them. In a cube that was masked to 0 outside its lines it is not known (NO_NOISE):
    give a least brightness. Velocities are those of the peaks of parabolas through three channels.

    Examples
    --------
    A cube of CO at the velocity of the gas, with lines of 2 K:

    >>> import astropy.units as u
    >>> import numpy as np
    >>> from hisatools import HISACube
    >>> from hisatools.datasets import example_result
    >>> from hisatools.tracers import add_co
    >>> result = example_result()
    >>> line = 2 * np.exp(-0.5 * ((result.velocity.value + 38) / 1.5) ** 2)
    >>> noise = np.random.default_rng(1).normal(0, 0.1, result.flags.shape)
    >>> co = HISACube((line[:, None, None] + noise) * u.K, result.wcs)
    >>> print(add_co(result, co).catalog["co_velocity"].round(0))
    [-38. -38. -38. -38. -38.] km / s
    """
    cube = tracer_cube(cube, rest_frequency=rest_frequency)
    limits = _Limits.of(min_significance, min_brightness, max_velocity_difference)
    sky, row = _sight_lines(result, cube)
    catalog = _with_lines(result.catalog, cube, sky, row, limits, prefix, SIGHT_LINES)
    tracers = result.meta.get("tracers", {}) | {prefix: _about(cube, limits)}
    return replace(result, catalog=catalog, meta=result.meta | {"tracers": tracers})


def catalog_with_co(
    catalog, cube, *, min_significance, min_brightness, max_velocity_difference, rest_frequency, prefix
):
    """See `hisatools.HISACatalog.with_co`."""
    cube = tracer_cube(cube, rest_frequency=rest_frequency)
    limits = _Limits.of(min_significance, min_brightness, max_velocity_difference)
    return _with_lines(catalog, cube, catalog.coordinates, np.arange(len(catalog)), limits, prefix, CENTROID)


def _sight_lines(result, cube):
    """Places on the sight lines of all features, and the catalogue row of each."""
    n_y, n_x = result.flags.shape[1:]
    line = result.voxel_rows * np.int64(n_y * n_x) + np.flatnonzero(result.mask) % (n_y * n_x)
    row, pixel = np.divmod(np.unique(line), n_y * n_x)
    n = int(np.clip(np.ceil((result.pixel_scale / cube.pixel_scale).to_value("") - 1e-6), 1, MOST_PLACES))
    offset = (np.arange(n) + 0.5) / n - 0.5
    x = (pixel % n_x)[:, None, None] + offset
    y = (pixel // n_x)[:, None, None] + offset[:, None]
    x, y = (np.broadcast_to(one, (row.size, n, n)).ravel() for one in (x, y))
    lon, lat = result.wcs.celestial.wcs_pix2world(x, y, 0)
    return SkyCoord(lon, lat, unit="deg", frame=sky_frame(result.wcs)), np.repeat(row, n * n)


def _check_prefix(catalog, prefix):
    """Refuse columns that are there already, unless all are: those of the same prefix are replaced."""
    if not isinstance(prefix, str) or not prefix:
        raise ParameterError(f"prefix must be a text, for example 'co13', got {prefix!r}")
    taken = [name for name in (f"{prefix}_{key}" for key in CO_COLUMNS) if name in catalog.colnames]
    if 0 < len(taken) < len(CO_COLUMNS):
        raise ParameterError(
            f"the catalogue would have the column {taken[0]!r} twice; give another prefix than {prefix!r}"
        )


def _with_lines(catalog, cube, sky, row, limits, prefix, where):
    _check_prefix(catalog, prefix)
    _check_frames(catalog, cube)
    spectra = mean_spectra(cube, sky, row, len(catalog))
    if len(catalog) and not spectra.coverage.any():
        warnings.warn(
            f"{cube.meta.get('path', 'the cube')}: no feature lies in it; is it of another field?",
            HISAWarning,
            stacklevel=4,
        )
    at_kms = velocities_needed(catalog)
    noise = spectrum_noise(spectra.kelvin)
    lines = [
        _line(spectra, n, at, sigma, limits) for n, (at, sigma) in enumerate(zip(at_kms, noise, strict=True))
    ]
    velocity, brightness, linewidth = (
        np.array([getattr(line, name) for line in lines], float)
        for name in ("velocity", "brightness", "linewidth")
    )
    values = {
        "velocity": velocity,
        "velocity_difference": velocity - at_kms,
        "brightness": brightness,
        "linewidth": linewidth,
        "noise": noise,
        "coverage": spectra.coverage,
        "flags": _flags(catalog, cube, spectra, velocity, linewidth, noise, limits),
    }
    found = catalog.copy()
    for name, (unit, description, ucd) in CO_COLUMNS.items():
        column = values[name] if unit is None else values[name] << unit
        if where == CENTROID:
            description = AT_CENTROID.get(name, description)
        set_column(found, f"{prefix}_{name}", column, description.replace("co_", f"{prefix}_"), ucd)
    others = found.meta.get("TRACERS")
    about = {"cube": str(cube.meta.get("path", "a cube")), "mean of": where}
    found.meta["TRACERS"] = (others if isinstance(others, dict) else {}) | {prefix: about}
    return found


def _line(spectra, n, at_kms, sigma, limits):
    """The line of one row, if there is one within the limits."""
    rise = limits.significance * sigma if np.isfinite(sigma) else limits.kelvin
    least = max(limits.kelvin, rise)
    if np.isnan(sigma) and not limits.kelvin > 0:
        return Line()
    line = nearest_line(
        spectra.velocity_kms, spectra.kelvin[n], at_kms, least_kelvin=least, least_rise_kelvin=rise
    )
    return line if abs(line.velocity - at_kms) <= limits.kms else Line()


def _flags(catalog, cube, spectra, velocity, linewidth, noise, limits):
    outside, found = spectra.coverage == 0, np.isfinite(velocity)
    at_kms = velocities_needed(catalog)
    half = cube.channel_width.to_value(KMS) / 2
    low, high = spectra.velocity_kms.min() - half, spectra.velocity_kms.max() + half
    no_noise = ~outside & np.isnan(noise) & ~(limits.kelvin > 0)
    large = np.zeros(len(catalog), bool)
    if cube.beam is not None and "solid_angle" in catalog.colnames:
        large = catalog["solid_angle"] < cube.beam.sr
    return (
        TracerFlag.NOT_FOUND * (~outside & ~found)
        + TracerFlag.OUTSIDE * outside
        + TracerFlag.PARTIAL * (~outside & (spectra.coverage < ALL))
        + TracerFlag.OTHER_VELOCITIES * ~((at_kms >= low) & (at_kms <= high))
        + TracerFlag.BLENDED * (found & np.isnan(linewidth))
        + TracerFlag.LARGE_BEAM * (~outside & large)
        + TracerFlag.NO_NOISE * no_noise
    ).astype(np.int16)


def _check_frames(catalog, cube):
    own, theirs = str(catalog.meta.get("SPECSYS", "") or ""), str(cube.wcs.wcs.specsys or "")
    if own and theirs and own != theirs:
        raise InputError(
            f"cube: its velocities are in the frame {theirs} and those of the features in {own}; resample it "
            "to that frame first"
        )
    if theirs and not own and theirs != "LSRK":
        warnings.warn(
            f"cube: its velocities are in the frame {theirs}, and the catalogue does not say in which its "
            "own are; they are taken as they are",
            HISAWarning,
            stacklevel=5,
        )
    if not theirs:
        warnings.warn(
            "cube: it does not say in which frame its velocities are; that of the features assumed",
            HISAWarning,
            stacklevel=5,
        )


def _about(cube, limits):
    return {
        "cube": str(cube.meta.get("path", "")),
        "sha256": cube.meta.get("sha256"),
        "mean of": SIGHT_LINES,
        "min_significance": limits.significance,
        "min_brightness": f"{limits.kelvin:g} K",
        "max_velocity_difference": f"{limits.kms:g} km / s",
    }
