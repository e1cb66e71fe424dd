"""Rotation curves of the Galaxy: how fast it turns at a distance from its centre."""

from dataclasses import dataclass, fields
from typing import ClassVar

import astropy.units as u
import numpy as np

from hisatools.errors import ParameterError
from hisatools.parameters import check_number, check_quantity
from hisatools.physics.units import plain

__all__ = ["CURVES", "BrandBlitzCurve", "FlatCurve", "ReidCurve", "RotationCurve", "rotation_curve"]

KMS = u.km / u.s

# The Sun's motion that telescopes take out of their velocities for the kinematic LSR: 20 km/s towards
# right ascension 18 h, declination +30 deg (1900), as components towards the Galactic centre, the rotation
# and the north pole; km/s.
STANDARD_SOLAR_MOTION = (10.27, 15.32, 7.74)


@dataclass(frozen=True, kw_only=True, eq=False)
class RotationCurve:
    """What all rotation curves have; make one of `FlatCurve`, `BrandBlitzCurve` and `ReidCurve`.

    Parameters
    ----------
    r0 : `~astropy.units.Quantity`, kpc
        Distance of the Sun from the centre.
    solar_motion : `~astropy.units.Quantity`, shape (3,), km/s, or None
        Motion of the Sun against circular rotation towards the centre, along the rotation and towards the
        north pole, that goes with the curve. Velocities in the standard LSR, which is what cubes are in, are
        first changed to this motion; None leaves them as they are.

    Examples
    --------
    A curve of your own needs a name, a source, the radii in kpc where it was measured, and the speed. It has
    to rise more slowly than the radius.

    >>> import astropy.units as u
    >>> from hisatools.distances import RotationCurve, kinematic_distance
    >>> class RisingCurve(RotationCurve):
    ...     name, citation, measured_kpc = "rising", "made up", (2.0, 20.0)
    ...
    ...     def speed_kms(self, radius_kpc):
    ...         return 220 * (radius_kpc / self.r0.value) ** 0.1
    ...
    >>> curve = RisingCurve(r0=8.2 * u.kpc)
    >>> print(curve.speed([4.1, 8.2] * u.kpc).round(1))
    [205.3 220. ] km / s
    >>> print(kinematic_distance(140 * u.deg, 0 * u.deg, -41 * u.km / u.s, curve=curve).near.round(1))
    4.5 kpc
    """

    r0: u.Quantity = 8.5 * u.kpc
    solar_motion: u.Quantity | None = None

    name: ClassVar[str]
    citation: ClassVar[str]
    # In kpc, where the curve was measured.
    measured_kpc: ClassVar[tuple]

    def __post_init__(self):
        object.__setattr__(self, "r0", check_quantity("r0", self.r0, u.kpc))
        for name in ("theta0", "a2", "a3"):
            if hasattr(self, name):
                value = getattr(self, name)
                checked = check_quantity(name, value, KMS) if name == "theta0" else check_number(name, value)
                object.__setattr__(self, name, checked)
        if self.solar_motion is None:
            return
        motion = plain("solar_motion", self.solar_motion, KMS)
        if motion.shape != (3,) or not np.isfinite(motion).all():
            raise ParameterError(
                f"solar_motion must be three velocities (U, V, W), got {self.solar_motion}; write for "
                "example solar_motion=[10.6, 10.7, 7.7] * u.km / u.s"
            )
        object.__setattr__(self, "solar_motion", motion << KMS)

    def speed(self, radius):
        """Speed of circular rotation.

        Parameters
        ----------
        radius : `~astropy.units.Quantity`, length
            Distance from the centre, in the plane; above 0.

        Returns
        -------
        `~astropy.units.Quantity`, km/s
            NaN where the radius is not above 0.

        Examples
        --------
        >>> import astropy.units as u
        >>> from hisatools.distances import ReidCurve
        >>> print(ReidCurve().speed([4, 8.15, 12] * u.kpc).round(1))
        [222.8 236.  229.7] km / s
        """
        radius = plain("radius", radius, u.kpc)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(radius > 0, self.speed_kms(np.where(radius > 0, radius, 1.0)), np.nan) << KMS

    def speed_kms(self, radius_kpc):
        """As `speed`, of plain numbers above 0."""
        raise NotImplementedError

    def shear_kms(self, radius_kpc):
        """R0 (Theta / R - Theta_0 / R0): the LSR velocity over sin l cos b; falls with R, 0 at R0."""
        r0 = self.r0.value
        return r0 / radius_kpc * self.speed_kms(radius_kpc) - self.speed_kms(r0)

    def lsr_change_kms(self, lon_rad, lat_rad):
        """What is added to velocities in the standard LSR to count from the curve's."""
        if self.solar_motion is None:
            return np.zeros(np.broadcast_shapes(np.shape(lon_rad), np.shape(lat_rad)))
        inward, along, north = self.solar_motion.value - np.array(STANDARD_SOLAR_MOTION)
        level = inward * np.cos(lon_rad) + along * np.sin(lon_rad)
        return level * np.cos(lat_rad) + north * np.sin(lat_rad)

    def described(self):
        """Name, parameters and citation in one line."""
        values = ", ".join(
            f"{item.name} {_text(getattr(self, item.name))}"
            for item in fields(self)
            if getattr(self, item.name) is not None
        )
        return f"{self.name} ({self.citation}): {values}"


@dataclass(frozen=True, kw_only=True, eq=False)
class FlatCurve(RotationCurve):
    """The same speed everywhere; by default with what the IAU recommended in 1985.

    Parameters
    ----------
    r0, solar_motion
        As of `RotationCurve`; 8.5 kpc (Kerr & Lynden-Bell 1986, MNRAS 221, 1023).
    theta0 : `~astropy.units.Quantity`, km/s
        The speed.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools.distances import FlatCurve
    >>> print(FlatCurve(theta0=240 * u.km / u.s).speed(3 * u.kpc))
    240.0 km / s
    """

    theta0: u.Quantity = 220 * KMS

    name: ClassVar[str] = "flat"
    citation: ClassVar[str] = "constants of Kerr & Lynden-Bell 1986, MNRAS 221, 1023"
    measured_kpc: ClassVar[tuple] = (0.0, 25.0)

    def speed_kms(self, radius_kpc):
        """See `RotationCurve.speed`."""
        return np.full(np.shape(radius_kpc), self.theta0.value)


@dataclass(frozen=True, kw_only=True, eq=False)
class BrandBlitzCurve(RotationCurve):
    """Theta = Theta_0 (1.00767 (R / R0)^0.0394 + 0.00712), from H II regions and tangent points.

    Its speed at the Sun is 1.5 % above Theta_0. Here the LSR turns with the curve, so that a velocity of 0
    is at R0.

    Parameters
    ----------
    r0, solar_motion
        As of `RotationCurve`; 8.5 kpc, as in the source.
    theta0 : `~astropy.units.Quantity`, km/s
        Speed that the curve is scaled by.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools.distances import BrandBlitzCurve
    >>> print(BrandBlitzCurve().speed([4, 8.5, 17] * u.kpc).round(1))
    [216.8 223.3 229.4] km / s
    """

    theta0: u.Quantity = 220 * KMS

    name: ClassVar[str] = "brand93"
    citation: ClassVar[str] = "Brand & Blitz 1993, A&A 275, 67"
    measured_kpc: ClassVar[tuple] = (2.0, 17.0)

    def speed_kms(self, radius_kpc):
        """See `RotationCurve.speed`."""
        return self.theta0.value * (1.00767 * (radius_kpc / self.r0.value) ** 0.0394 + 0.00712)


@dataclass(frozen=True, kw_only=True, eq=False)
class ReidCurve(RotationCurve):
    """The universal curve of disc galaxies, with two parameters from parallaxes of masers.

    Speeds are those of an exponential disc and a halo, which a galaxy's luminosity tells; the fit is that of
    Reid et al. (2019, ApJ 885, 131), the form that of Persic, Salucci & Stel (1996, MNRAS 281, 27). It goes
    with the Sun's motion of the same fit.

    Parameters
    ----------
    r0, solar_motion
        As of `RotationCurve`: 8.15 kpc; 10.6, 10.7 and 7.7 km/s.
    a2 : float
        Optical radius over R0.
    a3 : float
        1.5 times the fifth root of the luminosity in units of that of an L* galaxy.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools.distances import ReidCurve
    >>> print(ReidCurve().speed(8.15 * u.kpc).round(1))
    236.0 km / s
    """

    r0: u.Quantity = 8.15 * u.kpc
    solar_motion: u.Quantity | None = (10.6, 10.7, 7.7) * KMS
    a2: float = 0.96
    a3: float = 1.62

    name: ClassVar[str] = "reid19"
    citation: ClassVar[str] = "Reid et al. 2019, ApJ 885, 131"
    measured_kpc: ClassVar[tuple] = (4.0, 15.0)

    def speed_kms(self, radius_kpc):
        """See `RotationCurve.speed`."""
        luminosity = (self.a3 / 1.5) ** 5
        x = radius_kpc / (self.a2 * self.r0.value)
        log = np.log10(luminosity)
        halo_at_optical = 0.75 * np.exp(-0.4 * luminosity) / (0.47 + 2.25 * luminosity**0.4)
        at_optical = 200 * luminosity**0.41 / np.sqrt(0.80 + 0.49 * log + halo_at_optical)
        disc = (0.72 + 0.44 * log) * 1.97 * x**1.22 / (x**2 + 0.61) ** 1.43
        halo = 1.6 * np.exp(-0.4 * luminosity) * x**2 / (x**2 + 2.25 * luminosity**0.4)
        return at_optical * np.sqrt(disc + halo)


CURVES = {kind.name: kind for kind in (ReidCurve, BrandBlitzCurve, FlatCurve)}


def rotation_curve(curve):
    """A rotation curve by its name.

    Parameters
    ----------
    curve : {"reid19", "brand93", "flat"} or `RotationCurve`

    Returns
    -------
    `RotationCurve`

    Raises
    ------
    ParameterError
        For any other name.

    Examples
    --------
    >>> from hisatools.distances import rotation_curve
    >>> rotation_curve("flat").r0
    <Quantity 8.5 kpc>
    """
    if isinstance(curve, RotationCurve):
        return curve
    if not isinstance(curve, str) or curve not in CURVES:
        raise ParameterError(f"unknown rotation curve {curve!r}; known: {', '.join(CURVES)}")
    return CURVES[curve]()


def _text(value):
    if isinstance(value, u.Quantity) and value.ndim:
        return f"({', '.join(f'{one:g}' for one in value.value)}) {value.unit}"
    return f"{value:g}"
