"""One spin temperature for a whole line: the ideal gas law summed over channels, without a Gaussian."""

import math

import astropy.units as u
import numpy as np
from numba import njit

from hisatools.errors import ParameterError
from hisatools.physics.gas import BAD, Gas, GasFlag, raise_flag
from hisatools.physics.transfer import NO_CONTINUUM, tau_of
from hisatools.physics.units import plain, plain_fraction, same_shape

__all__ = ["solve_profiles", "solve_spectra"]

TOLERANCE, MAX_STEPS = 1e-12, 200


def solve_profiles(model, delta_t, t_unabsorbed, *, t_continuum=NO_CONTINUUM):
    r"""Spin temperature of each sight line, and the optical depth of its voxels, of clouds in pressure.

    A cloud that fills several channels is one cloud. Its :math:`T_\mathrm{S}` solves

    .. math:: T_\mathrm{S}^2 \sum_k \tau_k(T_\mathrm{S}) = \frac{f_n (P/k) \, \Delta s}{C \, \Delta v}

    whose left side rises from 0 without limit below :math:`\min_k (B_k - d_k)`, so that there is one root.
    Closing each channel by itself would count the cloud once for each.

    Parameters
    ----------
    model : `GasModel`
        With ``p`` and a ``pressure`` whose ``line`` is "channel" and whose ``linewidth`` is a channel's.
    delta_t : `~astropy.units.Quantity`, shape (n_v, ...), K
        Channels run along the first axis. Voxels that are not below 0 K are no part of the cloud.
    t_unabsorbed, t_continuum : `~astropy.units.Quantity`, K
        Of shapes that go with it, as those of ``p`` and of what is in ``pressure``; the latter must not
        differ along the first axis.

    Returns
    -------
    `Gas`
        Of the shape of ``delta_t``; T_S is the same for all voxels of a sight line. Voxels too deep for any
        gas above the floor are flagged, NaN, and no part of the cloud.

    Raises
    ------
    ParameterError
        If ``model`` has no such pressure, or it differs along a sight line.

    Examples
    --------
    >>> import astropy.units as u
    >>> import numpy as np
    >>> from hisatools.physics import GasModel, Pressure, solve_profiles
    >>> channel = 0.82 * u.km / u.s
    >>> pressure = Pressure(path_length=0.6 * u.pc, linewidth=channel, line="channel")
    >>> velocity = np.arange(-4, 5) * channel
    >>> dip = -42 * u.K * np.exp(-4 * np.log(2) * (velocity / (2.8 * u.km / u.s)).value ** 2)
    >>> gas = solve_profiles(GasModel(pressure=pressure), dip, 104 * u.K, t_continuum=5.5 * u.K)
    >>> print(f"{gas.t_spin[0]:.1f}, tau {gas.tau.max():.2f}")
    40.8 K, tau 0.95
    """
    if model.given != ("p", "pressure") or model.pressure.line != "channel":
        raise ParameterError(
            'model must know p and pressure with line="channel"; give for example GasModel(pressure='
            'Pressure(path_length=..., linewidth=cube.channel_width, line="channel"))'
        )
    depth, unabsorbed, continuum, p, squared = same_shape(
        delta_t=-plain("delta_t", delta_t, u.K),
        t_unabsorbed=plain("t_unabsorbed", t_unabsorbed, u.K),
        t_continuum=plain("t_continuum", t_continuum, u.K),
        p=plain_fraction("p", model.p),
        pressure=model.pressure.squared_kelvin,
    )
    if depth.ndim == 0:
        raise ParameterError(
            "delta_t is one number; give channels along the first axis, or use GasModel.solve"
        )
    if not np.array_equal(squared, np.broadcast_to(squared[:1], squared.shape), equal_nan=True):
        raise ParameterError("pressure differs along the first axis, which is that of the channels")
    floor, behind = model.floor.to_value(u.K), p * unabsorbed + continuum
    flags = _flags(depth, behind, squared, floor)
    raise_flag(flags, (flags == 0) & ~((unabsorbed > 0) & (continuum >= 0)), GasFlag.UNPHYSICAL)
    n_v, n = len(depth), math.prod(depth.shape[1:])
    # Spectra end to end.
    ends = [np.ascontiguousarray(part.reshape(n_v, n).T).ravel() for part in (depth, behind, flags)]
    of_spectra = np.array(squared[0]).reshape(-1) if n_v else np.full(n, np.nan)
    spin, *found = solve_spectra(*ends, np.arange(n + 1) * n_v, of_spectra, floor)
    tau, flags = (np.array(part.reshape(n, n_v).T).reshape(depth.shape) for part in found)
    spin = np.broadcast_to(spin.reshape(depth.shape[1:]), depth.shape).copy()
    p = p.copy()
    bad = (flags & int(BAD)) != 0
    for values in (spin, tau, p):
        values[bad] = np.nan
    return Gas(spin * u.K, tau, p, flags)


def solve_spectra(depth, behind, flags, start, squared, floor):
    """T_S of spectra that are laid end to end, and the optical depths; those of `solve_profiles`.

    Parameters
    ----------
    depth, behind : `~numpy.ndarray`, shape (n,), K
        d and B.
    flags : `~numpy.ndarray` of int16, shape (n,)
        Where not 0, a channel is no part of its cloud.
    start : `~numpy.ndarray` of int, shape (n_spectra + 1,)
        Of each spectrum in the others; the last is n.
    squared : `~numpy.ndarray`, shape (n_spectra,), K^2
        A of each.
    floor : float, K

    Returns
    -------
    spin : `~numpy.ndarray`, shape (n_spectra,), K
        NaN where no channel is part of the cloud.
    tau : `~numpy.ndarray`, shape (n,)
    flags : `~numpy.ndarray` of int16, shape (n,)
        With `GasFlag.FLOOR` where T_S was set to the floor.

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools.physics.profiles import solve_spectra
    >>> depth, behind, flags = np.array([20.0, 40.0, 30.0]), np.full(3, 100.0), np.zeros(3, np.int16)
    >>> spin, tau, _ = solve_spectra(depth, behind, flags, np.array([0, 2, 3]), np.full(2, 2e3), 2.7)
    >>> print(np.round(spin, 1), np.round(tau * np.repeat(spin, [2, 1]) ** 2))
    [37.6 48.1] [ 548. 1452. 2000.]
    """
    spin, tau = np.full(start.size - 1, np.nan), np.full(depth.size, np.nan)
    _solve_all(depth, behind, flags == 0, start, squared, spin, tau)
    owner = np.repeat(np.arange(spin.size), np.diff(start))
    cold = (flags == 0) & (spin[owner] < floor)
    flags = flags.copy()
    raise_flag(flags, cold, GasFlag.FLOOR)
    tau[cold] = tau_of(depth[cold], behind[cold] - floor)
    spin[spin < floor] = floor
    return spin, tau, flags


def _flags(depth, behind, squared, floor):
    flags = np.zeros(depth.shape, np.int16)
    raise_flag(flags, ~np.isfinite(depth + behind + squared), GasFlag.BLANK)
    raise_flag(flags, (flags == 0) & ~(depth > 0), GasFlag.NO_ABSORPTION)
    raise_flag(flags, (flags == 0) & ~(depth < behind - floor), GasFlag.TOO_DEEP)
    return flags


@njit(cache=True, nogil=True, error_model="numpy")
def _solve_all(depth, behind, use, start, squared, spin, tau):
    for place in range(spin.size):
        own = slice(start[place], start[place + 1])
        spin[place] = _solve(depth[own], behind[own], use[own], squared[place], tau[own])


@njit(cache=True, nogil=True, error_model="numpy")
def _solve(depth, behind, use, squared, tau):
    """Root by Newton's steps in a bracket; NaN where no channel absorbs. Fills in the optical depths.

    The unknown is the logarithm of what T_S lacks to the warmest possible, of which next to nothing is left
    where the cloud is opaque: T_S itself is then known to rounding, and tau is not.
    """
    warmest = np.inf
    for k in range(depth.size):
        if use[k]:
            warmest = min(warmest, behind[k] - depth[k])
    if warmest == np.inf:
        return np.nan
    high, width = np.log(warmest), 1.0
    low = high - width
    while _excess(low, depth, behind, use, squared, warmest, tau)[0] < 0:
        width *= 2
        low, high = low - width, low
    x = 0.5 * (low + high)
    for _ in range(MAX_STEPS):
        excess, slope = _excess(x, depth, behind, use, squared, warmest, tau)
        if excess > 0:
            low = x
        else:
            high = x
        step = x - excess / slope
        if not low <= step <= high:
            step = 0.5 * (low + high)
        done = abs(step - x) <= TOLERANCE * max(abs(x), 1.0)
        x = step
        if done:
            break
    _excess(x, depth, behind, use, squared, warmest, tau)
    return warmest - np.exp(x)


@njit(cache=True, nogil=True, error_model="numpy")
def _excess(x, depth, behind, use, squared, warmest, tau):
    """T_S^2 times the sum of tau, less A, and its slope in x, for T_S that lacks exp(x) to the warmest."""
    lacking = np.exp(x)
    spin, total, slope = warmest - lacking, 0.0, 0.0
    for k in range(depth.size):
        if use[k]:
            # Of B - T_S - d there is what T_S lacks, and what the channel has more than the deepest.
            more = behind[k] - depth[k] - warmest
            left = x if more <= 0 else np.log(lacking + more)
            contrast = behind[k] - spin
            # To rounding in either case: of little depth little is left of a difference of logarithms.
            thin = depth[k] < 0.5 * contrast
            tau[k] = -np.log1p(-depth[k] / contrast) if thin else np.log(contrast) - left
            total += tau[k]
            slope += lacking / contrast - (1.0 if more <= 0 else lacking / (lacking + more))
    return spin * spin * total - squared, spin * (spin * slope - 2 * lacking * total)
