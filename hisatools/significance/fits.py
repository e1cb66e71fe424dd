"""What a scan says about one place: position, velocity and depth of the template that fits best there."""

from dataclasses import dataclass

import astropy.units as u
import numpy as np
from astropy.table import QTable

from hisatools.errors import ParameterError
from hisatools.io.checks import check_sky

__all__ = ["PeakFit", "fit_at", "fit_places", "local_maximum"]

KMS = u.km / u.s
# name: (unit, description)
COLUMNS = {
    "ts": (None, "(A / sigma_A)^2 of the best template at the voxel"),
    "signal_to_noise": (None, "A / sigma_A of the best template at the voxel"),
    "p_local": (None, "Probability that noise gives so much at one place, in the best of the templates"),
    "lon": (u.deg, "Longitude (or right ascension) of the maximum between voxels"),
    "lat": (u.deg, "Latitude (or declination) of the maximum between voxels"),
    "velocity": (KMS, "Velocity of the maximum between voxels"),
    "position_error": (u.arcmin, "1-sigma uncertainty of the place along one axis of the sky"),
    "velocity_error": (KMS, "1-sigma uncertainty of the velocity"),
    "delta_t": (u.K, "Fitted dT of the disc before the beam, at the maximum between voxels, negative"),
    "delta_t_unbiased": (u.K, "delta_t without what choosing the maximum adds; 0 where nothing is left"),
    "delta_t_error": (u.K, "1-sigma uncertainty of delta_t at a given place: noise"),
    "width": (u.arcmin, "Diameter of the best template's disc, before the beam"),
    "linewidth": (KMS, "FWHM of the best template's line"),
    "v": (None, "Channel, from 0 in file order"),
    "y": (None, "Pixel in latitude, from 0"),
    "x": (None, "Pixel in longitude, from 0"),
}


@dataclass(frozen=True)
class PeakFit:
    """The template that fits best about one voxel.

    Parameters
    ----------
    voxel : tuple of int
        (v, y, x) of the voxel that was asked for.
    place : tuple of float
        (v, y, x) of the maximum, at most half a voxel from ``voxel`` along each axis, or one and a half
        where the residual was given.
    lon, lat, velocity : `~astropy.units.Quantity`
        Of ``place``; deg and km/s.
    ts, signal_to_noise, p_local : float
        As in the scan, at ``voxel``.
    amplitude, sigma : `~astropy.units.Quantity`, K
        Fitted dT at ``place``, negative in absorption, and its 1-sigma uncertainty from the noise.
    amplitude_unbiased : `~astropy.units.Quantity`, K
        ``amplitude`` without what choosing place and template adds; 0 K where nothing is left. See
        `fit_places`.
    width, linewidth : `~astropy.units.Quantity`
        Of the best template of the bank; arcmin and km/s.
    position_error, velocity_error : `~astropy.units.Quantity`
        1-sigma uncertainties of the place along one axis of the sky, and of the velocity; arcmin and
        km/s. NaN where the maximum could not be followed between voxels.

    Examples
    --------
    >>> from hisatools.significance import Residual, SignificanceScan
    >>> from hisatools.significance.fits import fit_at
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> model = simulate_cube(ModelParameters(shape=(32, 64, 64), n_pucks=8, n_components=60), seed=104)
    >>> scan = SignificanceScan().run(Residual.of(model.cube, model.t_unabsorbed, known=model.mask))
    >>> fit = fit_at(scan, scan.hottest().voxel)
    >>> fit.amplitude.round(), fit.sigma.round(1)
    (<Quantity -19. K>, <Quantity 1.4 K>)
    >>> fit.width, fit.linewidth, fit.position_error.round(1)
    (<Quantity 8. arcmin>, <Quantity 3. km / s>, <Quantity 0.2 arcmin>)
    """

    voxel: tuple
    place: tuple
    lon: u.Quantity
    lat: u.Quantity
    velocity: u.Quantity
    ts: float
    signal_to_noise: float
    p_local: float
    amplitude: u.Quantity
    amplitude_unbiased: u.Quantity
    sigma: u.Quantity
    width: u.Quantity
    linewidth: u.Quantity
    position_error: u.Quantity
    velocity_error: u.Quantity


def fit_at(scan, voxel, residual=None):
    """The fit at one voxel of a scan, normally a local maximum of TS.

    Parameters
    ----------
    scan : `ScanResult`
    voxel : tuple of int
        (v, y, x), from 0.
    residual : `Residual`, optional
        As for `fit_places`.

    Returns
    -------
    `PeakFit`
        NaN where nothing was scanned.

    Raises
    ------
    ParameterError
        If there is no such voxel.

    Examples
    --------
    >>> from hisatools.significance import Residual, SignificanceScan
    >>> from hisatools.significance.fits import fit_at
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> model = simulate_cube(ModelParameters(shape=(32, 64, 64), n_pucks=8, n_components=60), seed=104)
    >>> scan = SignificanceScan().run(Residual.of(model.cube, model.t_unabsorbed, known=model.mask))
    >>> fit = fit_at(scan, scan.hottest().voxel)
    >>> bool(fit.amplitude < 0), bool(fit.amplitude < fit.amplitude_unbiased)
    (True, True)
    """
    voxels = np.asarray(voxel)
    if voxels.shape != (3,) or voxels.dtype.kind not in "iu" or not _inside(voxels, scan.signal_to_noise):
        raise ParameterError(
            f"voxel must be three whole numbers (v, y, x) in {scan.signal_to_noise.shape}, got {voxel!r}"
        )
    place, found = _fit(scan, voxels[None], residual)
    values = {name: column[0] for name, column in found.items()}
    return PeakFit(
        voxel=tuple(int(i) for i in voxel),
        place=tuple(float(one) for one in place[0]),
        amplitude=values["delta_t"],
        amplitude_unbiased=values["delta_t_unbiased"],
        sigma=values["delta_t_error"],
        **{name: float(values[name]) for name in ("ts", "signal_to_noise", "p_local")},
        **{name: values[name] for name in ("lon", "lat", "velocity", "width", "linewidth")},
        **{name: values[name] for name in ("position_error", "velocity_error")},
    )


def fit_places(scan, voxels, residual=None):
    r"""The fits at several voxels of a scan.

    Without the residual, the maximum between voxels is that of a Gaussian through the voxel and its two
    neighbours along each axis, and widths are those of the bank. With it, place and depth are those that
    are most likely in a box about the voxel. So are width and linewidth, between those beside the best of the
    bank, where TS gains more than 4 by it (Akaike's criterion); else they are the bank's.

    The largest of many noisy values is too large: where k parameters were chosen
    to make A / sigma_A = Z large, Z^2 is larger by k on average, and sqrt(Z^2 - k) without bias
    (Vanderlinde et al. 2010, ApJ 722, 1180, section 4). They are the coordinates of the place. Width and
    linewidth were chosen, too, but from few; see :doc:`significance` for what this makes of the depth.

    Parameters
    ----------
    scan : `ScanResult`
    voxels : array_like of int, shape (n, 3)
        (v, y, x) of each, from 0.
    residual : `Residual`, optional
        What was scanned.

    Returns
    -------
    `~astropy.table.QTable`
        One row a voxel, in the same order; NaN where nothing was scanned. Every column has a description.

    Raises
    ------
    ParameterError
        If a voxel does not lie in the scan.

    Examples
    --------
    >>> from hisatools.significance import Residual, SignificanceScan
    >>> from hisatools.significance.fits import fit_places
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> model = simulate_cube(ModelParameters(shape=(32, 64, 64), n_pucks=8, n_components=60), seed=104)
    >>> residual = Residual.of(model.cube, model.t_unabsorbed, known=model.mask)
    >>> scan = SignificanceScan().run(residual)
    >>> table = fit_places(scan, [scan.hottest().voxel], residual)
    >>> table["delta_t"][0].round(), table["delta_t_error"][0].round()
    (<Quantity -17. K>, <Quantity 1. K>)
    """
    voxels = np.asarray(voxels, int).reshape(-1, 3)
    if not _inside(voxels, scan.signal_to_noise):
        raise ParameterError(f"voxels must be (v, y, x) in {scan.signal_to_noise.shape}, got {voxels}")
    table = QTable(_fit(scan, voxels, residual)[1])
    for name, (_, description) in COLUMNS.items():
        table[name].info.description = description
    return table


def _inside(voxels, cube):
    return bool(np.all((voxels >= 0) & (voxels < cube.shape)))


def _fit(scan, voxels, residual):
    """Places between voxels, and columns of the table of fits."""
    signal_to_noise = scan.signal_to_noise[*voxels.T].astype(float)
    sigma = scan.sigma_kelvin[*voxels.T].astype(float)
    fitted = _bank_fits(scan, voxels, signal_to_noise, sigma)
    if residual is not None:
        _follow(fitted, scan, voxels, residual)
    known = np.isfinite(signal_to_noise)
    fitted = {name: np.where(known, values.T, np.nan).T for name, values in fitted.items()}
    peak = fitted["peak"]
    lon, lat, velocity = world(scan.wcs, fitted["place"])
    pixel_scale = check_sky(scan.wcs, scan.signal_to_noise.shape, "the scan")
    channel_width = channel_width_of(scan.wcs)
    columns = {
        # In the precision of the cube of TS, so that both are equal.
        "ts": np.square(np.maximum(scan.signal_to_noise[*voxels.T], 0)).astype(float),
        "signal_to_noise": signal_to_noise,
        "p_local": scan.chance.p_value(signal_to_noise),
        "lon": lon,
        "lat": lat,
        "velocity": velocity,
        "position_error": _rms(fitted["errors"][:, 1:]) * pixel_scale,
        "velocity_error": fitted["errors"][:, 0] * channel_width,
        "delta_t": -peak * fitted["sigma"] * u.K,
        "delta_t_unbiased": -_unbiased(peak, n_chosen(scan)) * fitted["sigma"] * u.K,
        "delta_t_error": fitted["sigma"] * u.K,
        "width": fitted["width_pix"] * pixel_scale,
        "linewidth": fitted["line_chan"] * channel_width,
        **dict(zip("vyx", voxels.T, strict=True)),
    }
    return fitted["place"], columns


def _bank_fits(scan, voxels, signal_to_noise, sigma):
    """Maxima between voxels for the bank's templates."""
    offset, log_gain, curvature = refined(scan.signal_to_noise, voxels)
    peak = signal_to_noise * np.exp(log_gain)
    # Of ln L = Z^2 / 2, whose second derivative at the maximum is Z^2 times that of ln Z.
    with np.errstate(divide="ignore", invalid="ignore"):
        errors = 1 / (np.abs(peak)[:, None] * np.sqrt(-curvature))
    width, line = (numbers[part] for numbers, part in zip(bank_of(scan), chosen(scan, voxels), strict=True))
    return {
        "place": voxels + offset,
        "peak": peak,
        "sigma": sigma,
        "errors": errors,
        "width_pix": width,
        "line_chan": line,
    }


def _follow(fitted, scan, voxels, residual):
    """Put what is most likely in the residual about each voxel in the place of the bank's."""
    from hisatools.significance.local_fit import LocalLikelihood

    widths, lines = bank_of(scan)
    standardised, usable = residual.standardised(), residual.usable
    noise = np.broadcast_to(residual.sigma_kelvin, residual.shape)
    factor = scan.factors[scan.template[*voxels.T]]
    for i, voxel in enumerate(voxels):
        # Emission, and what was not scanned, has no maximum.
        if not fitted["peak"][i] > 0:
            continue
        limits = [
            _beside(bank, fitted[name][i]) for bank, name in ((widths, "width_pix"), (lines, "line_chan"))
        ]
        likelihood = LocalLikelihood(
            standardised,
            usable,
            voxel,
            residual.beam_pix,
            residual.correlation,
            scan.parameters.noise_floor,
            limits[0][1],
            limits[1][1],
        )
        best = likelihood.best(*limits, (fitted["width_pix"][i], fitted["line_chan"][i]))
        fitted["place"][i], fitted["errors"][i] = best.place, best.errors[:3] * factor[i]
        fitted["width_pix"][i], fitted["line_chan"][i] = best.width_pix, best.linewidth_chan
        fitted["sigma"][i] = best.sigma * noise[*voxel] * factor[i]
        fitted["peak"][i] = best.amplitude / (best.sigma * factor[i])


def bank_of(scan):
    """Widths in pixels and linewidths in channels of a scan's bank."""
    pixel_scale = check_sky(scan.wcs, scan.signal_to_noise.shape, "the scan")
    widths, lines = scan.parameters.widths, scan.parameters.linewidths
    return (widths / pixel_scale).to_value(""), (lines / channel_width_of(scan.wcs)).to_value("")


def chosen(scan, voxels):
    """Numbers of the best width and the best linewidth at some voxels."""
    return np.divmod(scan.template[*voxels.T].astype(int), len(scan.parameters.linewidths))


def _beside(bank, value):
    """The values of the bank below and above one of them; itself at an end."""
    ordered = np.sort(bank)
    place = int(np.argmin(np.abs(ordered - value)))
    return ordered[max(place - 1, 0)], ordered[min(place + 1, len(ordered) - 1)]


def n_chosen(scan):
    """How many coordinates of the place are chosen where TS is largest.

    Parameters
    ----------
    scan : `ScanResult`

    Returns
    -------
    int
        0 to 3: an axis of length 1 leaves no choice.
    """
    return sum(n > 1 for n in scan.signal_to_noise.shape)


def _unbiased(signal_to_noise, n_parameters):
    """NaN stays NaN, which np.maximum sees to."""
    return np.sqrt(np.maximum(np.square(np.maximum(signal_to_noise, 0)) - n_parameters, 0))


def _rms(errors):
    """Of the axes of the sky that were followed; NaN where none was."""
    known = np.isfinite(errors)
    with np.errstate(invalid="ignore"):
        return np.sqrt(np.sum(np.where(known, errors, 0) ** 2, axis=1) / known.sum(axis=1))


def refined(signal_to_noise, voxels):
    """Maxima between voxels, by a Gaussian through the neighbours along each axis.

    Parameters
    ----------
    signal_to_noise : `~numpy.ndarray`, shape (n_v, n_y, n_x)
    voxels : `~numpy.ndarray` of int, shape (n, 3)

    Returns
    -------
    offset : `~numpy.ndarray`, shape (n, 3)
        From the voxel's centre, within half a voxel; 0 along an axis on which a neighbour is missing, not
        above 0, or no maximum lies between the neighbours.
    log_gain : `~numpy.ndarray`, shape (n,)
        Of the maximum over the value at the voxel.
    curvature : `~numpy.ndarray`, shape (n, 3)
        Second derivative of the logarithm at the maximum, negative; NaN where the offset is not known.
    """
    offset, curvature = np.zeros(voxels.shape), np.full(voxels.shape, np.nan)
    log_gain = np.zeros(len(voxels))
    middle = _log(signal_to_noise[*voxels.T])
    for axis, n in enumerate(signal_to_noise.shape):
        before, after = (_log(_neighbours(signal_to_noise, voxels, axis, step, n)) for step in (-1, 1))
        bend = before - 2 * middle + after
        with np.errstate(divide="ignore", invalid="ignore"):
            shift = np.clip((before - after) / (2 * bend), -0.5, 0.5)
        known = bend < 0
        shift = np.where(known, shift, 0)
        slope = np.where(known, (after - before) / 2, 0)
        offset[:, axis] = shift
        log_gain += slope * shift + np.where(known, bend, 0) * shift**2 / 2
        curvature[known, axis] = bend[known]
    return offset, log_gain, curvature


def _neighbours(cube, voxels, axis, step, n):
    """Values one voxel further along an axis; NaN beyond the cube."""
    moved = voxels.copy()
    moved[:, axis] += step
    beyond = (moved[:, axis] < 0) | (moved[:, axis] >= n)
    moved[:, axis] = np.clip(moved[:, axis], 0, n - 1)
    return np.where(beyond, np.nan, cube[*moved.T].astype(float))


def _log(values):
    """Logarithm; NaN where there is none."""
    values = np.asarray(values, float)
    return np.log(np.where(values > 0, values, np.nan))


def world(wcs, places):
    """Sky position and velocity of places between voxels.

    Parameters
    ----------
    wcs : `~astropy.wcs.WCS`
        Longitude, latitude, velocity.
    places : array_like of float, shape (n, 3)
        (v, y, x), from 0.

    Returns
    -------
    lon, lat, velocity : `~astropy.units.Quantity`, shape (n,)
        deg, deg and km/s.
    """
    v, y, x = np.asarray(places, float).T
    lon, lat = wcs.celestial.wcs_pix2world(x, y, 0)
    (speed,) = wcs.sub([3]).wcs_pix2world(v, 0)
    return lon * u.deg, lat * u.deg, speed * u.Unit(wcs.wcs.cunit[2]).to(KMS) * KMS


def channel_width_of(wcs):
    """Width of a channel; positive scalar Quantity, km/s."""
    return abs(float(wcs.wcs.cdelt[2])) * u.Unit(wcs.wcs.cunit[2]).to(KMS) * KMS


# --- maxima ---------------------------------------------------------------------------------------


def local_maximum(signal_to_noise, voxel, reach):
    """The largest value near a voxel.

    Parameters
    ----------
    signal_to_noise : `~numpy.ndarray`, shape (n_v, n_y, n_x)
        Or anything else that is large where a feature is, such as TS.
    voxel : tuple of int
        (v, y, x).
    reach : float or tuple of float
        How far to look in voxels: along all axes, or (v, y, x). What is looked through is an ellipsoid.

    Returns
    -------
    tuple of int or None
        (v, y, x); the first in the array of several, and None where all is NaN.

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools.significance.fits import local_maximum
    >>> signal_to_noise = np.zeros((5, 20, 20))
    >>> signal_to_noise[2, 11, 9], signal_to_noise[2, 3, 3] = 7, 9
    >>> local_maximum(signal_to_noise, (2, 10, 10), 3)
    (2, 11, 9)
    """
    reach = np.broadcast_to(np.maximum(np.asarray(reach, float), 0), 3)
    first = [max(int(np.ceil(at - far)), 0) for at, far in zip(voxel, reach, strict=True)]
    last = [int(np.floor(at + far)) + 1 for at, far in zip(voxel, reach, strict=True)]
    part = signal_to_noise[tuple(slice(*ends) for ends in zip(first, last, strict=True))]
    grid = np.ogrid[tuple(slice(start, start + n) for start, n in zip(first, part.shape, strict=True))]
    scaled = [(g - at) / max(far, 0.5) for g, at, far in zip(grid, voxel, reach, strict=True)]
    near = sum(one**2 for one in scaled) <= 1
    values = np.where(near & ~np.isnan(part), part, -np.inf)
    if not values.size or values.max() == -np.inf:
        return None
    place = np.unravel_index(np.argmax(values), values.shape)
    return tuple(int(start + i) for start, i in zip(first, place, strict=True))
