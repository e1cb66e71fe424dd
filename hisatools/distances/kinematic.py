"""From Galactic longitude, latitude and LSR velocity to distances."""

from dataclasses import dataclass
from enum import IntFlag

import astropy.units as u
import numpy as np

from hisatools.distances.curves import RotationCurve, rotation_curve
from hisatools.errors import ParameterError
from hisatools.parameters import check_quantity
from hisatools.physics.units import plain, same_shape

__all__ = ["DISPERSION", "SIDES", "DistanceFlag", "KinematicDistances", "kinematic_distance"]

KMS = u.km / u.s
DISPERSION = 7 * KMS
SIDES = ("near", "far")
# Nearer than this to the centre and the anticentre, motions are across the sight line.
LEAST_FROM_CENTRE_DEG, LEAST_FROM_ANTICENTRE_DEG = 15, 20
# Between these radii, in units of R0, that of a velocity is looked for.
RADII = (1e-3, 1e3)
# Halvings of a range of six decades: to below 1e-12 of the radius.
N_HALVINGS = 62


class DistanceFlag(IntFlag):
    """What is to be known about a kinematic distance; a sum of these.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools.distances import DistanceFlag, kinematic_distance
    >>> slow = kinematic_distance(10 * u.deg, 0 * u.deg, 5 * u.km / u.s)
    >>> [flag.name for flag in DistanceFlag if slow.flags & flag]
    ['TWO_FOLD', 'LOCAL', 'DIRECTION']
    """

    TWO_FOLD = 1  #: Within the solar circle: near and far distance have the same velocity.
    TANGENT = 2  #: Beyond the terminal velocity, by less than the dispersion: at the tangent point.
    OUTER = 4  #: Outside the solar circle: one distance.
    LOCAL = 8  #: So slow that it may be near the Sun: the near distance is no better than its error.
    DIRECTION = 16  #: Within 15 deg of the centre or 20 deg of the anticentre, where velocity tells little.
    FORBIDDEN = 32  #: No circular orbit has such a velocity: NaN.
    EXTRAPOLATED = 64  #: At a radius where the rotation curve was not measured.
    UNKNOWN = 128  #: Position or velocity is not known: NaN.


@dataclass(frozen=True, eq=False)
class KinematicDistances:
    """Distances of circular orbits that have the velocities; all of the shape that was given, in kpc.

    Parameters
    ----------
    near, far : `~astropy.units.Quantity`, kpc
        The two distances within the solar circle; the same outside it, and at the tangent point. Of slow gas
        towards the inner Galaxy (LOCAL) the nearer one is 0 where it would lie behind the Sun. NaN where
        there is none.
    tangent : `~astropy.units.Quantity`, kpc
        Distance of the tangent point of the sight line; NaN where it has none.
    near_error, far_error : `~astropy.units.Quantity`, kpc
        By how much they change when the velocity, or the possible one that is nearest to it, changes by its
        dispersion, the larger of both ways. Near 90 and 270 deg, where all velocities within the solar circle
        are less than the dispersion, that of the near distance reaches the solution outside it. Infinite
        where a velocity within the dispersion has no distance.
    radius : `~astropy.units.Quantity`, kpc
        Distance from the axis of the Galaxy; NaN where there is none.
    flags : `~numpy.ndarray` of int16
        Sums of `DistanceFlag`.
    curve : `RotationCurve`
    dispersion : `~astropy.units.Quantity`, km/s

    Examples
    --------
    Within the solar circle, outside it, and faster than any circular orbit:

    >>> import astropy.units as u
    >>> from hisatools.distances import DistanceFlag, kinematic_distance
    >>> found = kinematic_distance([30, 140, 75] * u.deg, 0 * u.deg, [60, -41, 140] * u.km / u.s)
    >>> print(found.near.round(1), found.far.round(1))
    [3.5 3.7 nan] kpc [10.7  3.7  nan] kpc
    >>> found.has(DistanceFlag.TWO_FOLD)
    array([ True, False, False])
    >>> distance, error = found.of_side("near")
    >>> print(error.round(1))
    [0.4 0.8 nan] kpc
    """

    near: u.Quantity
    far: u.Quantity
    tangent: u.Quantity
    near_error: u.Quantity
    far_error: u.Quantity
    radius: u.Quantity
    flags: np.ndarray
    curve: RotationCurve
    dispersion: u.Quantity

    def of_side(self, side):
        """Distance and error of one side.

        Parameters
        ----------
        side : {"near", "far"}

        Returns
        -------
        distance, error : `~astropy.units.Quantity`, kpc

        Raises
        ------
        ParameterError
            For any other side.
        """
        if side not in SIDES:
            raise ParameterError(f"side must be 'near' or 'far', got {side!r}")
        return getattr(self, side), getattr(self, f"{side}_error")

    def has(self, flag):
        """Where a flag is set; bool, of the shape of the distances."""
        return (self.flags & flag) != 0


def kinematic_distance(lon, lat, velocity, *, curve="reid19", dispersion=DISPERSION):
    """Distances at which circular rotation of the Galaxy gives a velocity.

    Parameters
    ----------
    lon, lat : `~astropy.units.Quantity`, angle
        Galactic.
    velocity : `~astropy.units.Quantity`, velocity
        In the standard LSR (LSRK). The three may have any shapes that go together. NaN stays NaN.
    curve : {"reid19", "brand93", "flat"} or `RotationCurve`
        If it has a solar motion of its own, as that of Reid et al. has, velocities are first changed to it.
    dispersion : `~astropy.units.Quantity`, velocity
        How far velocities stray from circular rotation, by random motions and by streaming; 1 sigma. In
        spiral arms it can be more: in that of Perseus it is 10 to 20 km/s, all in one direction.

    Returns
    -------
    `KinematicDistances`

    Raises
    ------
    ParameterError
        If the shapes do not go together, the curve is not known, or the dispersion is not above 0.
    ParameterUnitsError
        If an argument has not the unit of what it is.

    Notes
    -----
    At the distance d along l, b, the LSR velocity is ``v = (R0 Theta / R - Theta_0) sin l cos b`` with
    ``R^2 = R0^2 + (d cos b)^2 - 2 R0 d cos b cos l``. As Theta / R falls with R for every curve, v tells R;
    it is found by halving. Within the solar circle two distances have it, on either side of the tangent point
    at ``R0 cos l / cos b``, where v is terminal.

    Velocities that no orbit has are taken for the nearest possible one, if that is no farther than the
    dispersion: that of the tangent point, or of the Sun (distance 0, flag LOCAL). Otherwise the distance is
    NaN, with the flag FORBIDDEN. At l = 0 and 180 deg no velocity tells a distance.

    Examples
    --------
    The globule of Gibson et al. (2000) is in the Perseus arm, 2 kpc away; streaming makes it seem farther.

    >>> import astropy.units as u
    >>> from hisatools.distances import DistanceFlag, kinematic_distance
    >>> found = kinematic_distance(139.64 * u.deg, 1.19 * u.deg, -41 * u.km / u.s)
    >>> print(f"{found.near:.1f} +- {found.near_error:.1f}", DistanceFlag(int(found.flags)).name)
    3.7 kpc +- 0.8 kpc OUTER
    """
    curve = rotation_curve(curve)
    sigma_kms = check_quantity("dispersion", dispersion, KMS).value
    lon, lat, kms = same_shape(
        lon=plain("lon", lon, u.rad), lat=plain("lat", lat, u.rad), velocity=plain("velocity", velocity, KMS)
    )
    shape = lon.shape
    sight = _SightLines(np.ravel(lon), np.ravel(lat), curve)
    kms = np.ravel(kms) + sight.lsr_change_kms
    middle = sight.solved(kms, sigma_kms)
    known = np.isfinite(kms) & np.isfinite(sight.stretch)
    near, far, radius = (
        np.where(known & ~middle.forbidden, one, np.nan) for one in (middle.near, middle.far, middle.radius)
    )
    near_error, far_error = sight.errors(middle, near, far, sigma_kms)
    single = (middle.radius >= sight.r0) & ~middle.local
    near, near_error = np.where(single, (far, far_error), (near, near_error))
    values = (near, far, sight.tangent, near_error, far_error, radius)
    across = np.where(np.isfinite(kms), DistanceFlag.DIRECTION, 0)  # exactly at 0 or 180 deg
    flags = np.where(known, sight.flags(middle), DistanceFlag.UNKNOWN | across).astype(np.int16)
    return KinematicDistances(
        *(one.reshape(shape) << u.kpc for one in values), flags.reshape(shape), curve, sigma_kms * KMS
    )


@dataclass(frozen=True, eq=False)
class _Solved:
    """Distances in kpc of velocities, those of impossible ones taken for the nearest possible."""

    radius: np.ndarray
    near: np.ndarray
    far: np.ndarray
    two_fold: np.ndarray
    at_tangent: np.ndarray
    local: np.ndarray
    forbidden: np.ndarray
    # The nearest possible velocity, and that on the near side of the tangent point.
    possible_kms: np.ndarray
    near_kms: np.ndarray
    # How far off gas on the near side may be: at the outer solution, where both sides are alike.
    near_reach: np.ndarray


class _SightLines:
    """Directions in a Galaxy that turns; plain arrays of shape (n,)."""

    def __init__(self, lon_rad, lat_rad, curve):
        self.curve, self.r0 = curve, curve.r0.value
        self.lsr_change_kms = curve.lsr_change_kms(lon_rad, lat_rad)
        self.cos_lon, self.sin_lon, self.cos_lat = np.cos(lon_rad), np.sin(lon_rad), np.cos(lat_rad)
        self.lon_deg = np.degrees(lon_rad) % 360
        # Velocity over shear; where it vanishes no velocity tells a distance.
        self.stretch = self.sin_lon * self.cos_lat
        self.stretch = np.where(np.abs(self.stretch) > 1e-9, self.stretch, np.nan)
        self.closest = np.maximum(self.r0 * np.abs(self.sin_lon), RADII[0] * self.r0)
        self.inner = self.cos_lon > 0
        tangent = np.where(self.inner, self.r0 * self.cos_lon / self.cos_lat, np.nan)
        self.tangent = np.where(np.isfinite(self.stretch), tangent, np.nan)

    def solved(self, kms, sigma_kms):
        """Distances of velocities in the LSR of the curve."""
        shear = kms / self.stretch
        radius = self._radius(shear)
        too_far = shear <= self.curve.shear_kms(RADII[1] * self.r0)
        # The smallest radius that the sight line has: where it is nearest to the centre, or at the Sun.
        least = np.where(self.inner, self.closest, self.r0)
        beyond = radius < least
        largest = self.curve.shear_kms(least)
        excess_kms = np.abs((shear - largest) * self.stretch)
        radius = np.where(beyond, least, radius)
        half = np.sqrt(np.maximum(radius**2 - self.closest**2, 0))
        middle = self.r0 * self.cos_lon
        near, far = (np.maximum((middle + sign * half) / self.cos_lat, 0) for sign in (-1, 1))
        # Outside the solar circle the nearer solution lies behind the Sun.
        near = np.where(self.inner, near, far)
        # Near 90 deg no velocity within the solar circle is told from that of the Sun.
        alike = self.inner & (np.abs(largest * self.stretch) <= sigma_kms)
        outside, local = radius >= self.r0, np.abs(kms) <= sigma_kms
        possible_kms = np.where(beyond, largest * self.stretch, kms)
        unknown = np.where(too_far, np.nan, 0)
        return _Solved(
            radius=radius + unknown,
            near=near + unknown,
            far=far + unknown,
            two_fold=(radius < self.r0) & ~beyond,
            at_tangent=beyond & self.inner,
            local=local,
            forbidden=too_far | (beyond & (excess_kms > sigma_kms)),
            possible_kms=possible_kms,
            near_kms=np.where(self.inner & outside & local, 0, possible_kms),
            near_reach=np.where(alike & outside, far, near) + unknown,
        )

    def errors(self, middle, near, far, sigma_kms):
        """By how much the near and the far distances change with the velocity; infinite where without end."""
        slower, faster = (
            self.solved(middle.near_kms + change, sigma_kms) for change in (-sigma_kms, sigma_kms)
        )
        of_near = [np.abs(one.near_reach - near) for one in (slower, middle, faster)]
        slower, faster = (
            self.solved(middle.possible_kms + change, sigma_kms) for change in (-sigma_kms, sigma_kms)
        )
        of_far = [np.abs(one.far - far) for one in (slower, faster)]
        return (
            np.where(np.isfinite(one), np.nan_to_num(np.max(changes, axis=0), nan=np.inf), np.nan)
            for one, changes in ((near, of_near), (far, of_far))
        )

    def flags(self, solved):
        """Sums of `DistanceFlag`."""
        low, high = self.curve.measured_kpc
        from_centre = np.minimum(self.lon_deg, 360 - self.lon_deg)
        across = (from_centre < LEAST_FROM_CENTRE_DEG) | (from_centre > 180 - LEAST_FROM_ANTICENTRE_DEG)
        possible = ~solved.forbidden
        outer = (solved.radius >= self.r0) & possible
        return (
            DistanceFlag.TWO_FOLD * solved.two_fold
            + DistanceFlag.TANGENT * (solved.at_tangent & possible)
            + DistanceFlag.OUTER * outer
            + DistanceFlag.LOCAL * (solved.local & possible)
            + DistanceFlag.DIRECTION * across
            + DistanceFlag.FORBIDDEN * solved.forbidden
            + DistanceFlag.EXTRAPOLATED * (((solved.radius < low) | (solved.radius > high)) & possible)
        )

    def _radius(self, shear):
        """Radius in kpc at which the curve has a shear, by halving."""
        low, high = (np.full(np.shape(shear), np.log(edge * self.r0)) for edge in RADII)
        for _ in range(N_HALVINGS):
            middle = (low + high) / 2
            inside = self.curve.shear_kms(np.exp(middle)) > shear
            low, high = np.where(inside, middle, low), np.where(inside, high, middle)
        return np.exp((low + high) / 2)
