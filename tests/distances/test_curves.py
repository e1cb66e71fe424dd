"""Rotation curves: values that follow from their formulas, and what every curve must do."""

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from numpy.testing import assert_allclose

from hisatools.distances import BrandBlitzCurve, FlatCurve, ReidCurve, RotationCurve, rotation_curve
from hisatools.distances.curves import CURVES, STANDARD_SOLAR_MOTION
from hisatools.errors import ParameterError, ParameterUnitsError

KMS = u.km / u.s


def test_the_flat_curve_is_flat():
    assert_allclose(FlatCurve().speed([0.1, 5, 30] * u.kpc).to_value(KMS), 220)


def test_brand_and_blitz_at_round_radii():
    curve = BrandBlitzCurve()
    assert_allclose(curve.speed(8.5 * u.kpc).to_value(KMS), 220 * 1.01479)
    assert_allclose(curve.speed(17 * u.kpc).to_value(KMS), 220 * (1.00767 * 2**0.0394 + 0.00712))


def test_reid_turns_at_the_sun_as_published():
    """236 +- 7 km/s at 8.15 kpc."""
    assert_allclose(ReidCurve().speed(8.15 * u.kpc).to_value(KMS), 236, atol=0.5)


def test_reid_is_that_of_persic_at_the_optical_radius():
    """There both of its parts have round numbers, so that it can be worked out by hand."""
    curve, luminosity = ReidCurve(), (1.62 / 1.5) ** 5
    log = np.log10(luminosity)
    norm = 0.80 + 0.49 * log + 0.75 * np.exp(-0.4 * luminosity) / (0.47 + 2.25 * luminosity**0.4)
    expected = 200 * luminosity**0.41 / np.sqrt(norm)
    at_optical = 0.72 + 0.44 * log
    shape = at_optical * 1.97 / 1.61**1.43 + 1.6 * np.exp(-0.4 * luminosity) / (1 + 2.25 * luminosity**0.4)
    found = curve.speed(0.96 * 8.15 * u.kpc).to_value(KMS)
    assert_allclose(found, expected * np.sqrt(shape))


@pytest.mark.parametrize("name", CURVES)
def test_every_curve_turns_slower_farther_out(name):
    curve, radius = rotation_curve(name), np.geomspace(1e-2, 1e3, 500)
    assert (np.diff(curve.shear_kms(radius)) < 0).all()
    assert_allclose(curve.shear_kms(curve.r0.value), 0, atol=1e-9)
    assert np.isnan(curve.speed([0, -1, np.nan] * u.kpc)).all()
    assert curve.name == name and curve.citation in curve.described()


def test_the_standard_solar_motion_is_that_of_the_lsr():
    """20 km/s towards 18 h, +30 deg (1900), in Galactic components."""
    apex = SkyCoord("18h", "30d", frame="fk4", equinox="B1900").galactic
    expected = 20 * apex.cartesian.xyz.value
    assert_allclose(STANDARD_SOLAR_MOTION, expected, atol=0.02)


def test_the_sun_of_a_curve_changes_velocities_along_the_sight_line():
    curve = FlatCurve(solar_motion=np.add(STANDARD_SOLAR_MOTION, [1, -2, 3]) * KMS)
    lon, lat = np.radians([0, 90, 180, 0]), np.radians([0, 0, 0, 90])
    assert_allclose(curve.lsr_change_kms(lon, lat), [1, -2, -1, 3], atol=1e-12)
    assert_allclose(FlatCurve().lsr_change_kms(lon, lat), 0)


def test_curves_are_found_by_name_or_given():
    own = FlatCurve(r0=8 * u.kpc)
    assert rotation_curve(own) is own
    assert isinstance(rotation_curve("reid19"), ReidCurve)
    with pytest.raises(
        ParameterError, match="unknown rotation curve 'clemens'; known: reid19, brand93, flat"
    ):
        rotation_curve("clemens")


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: FlatCurve(r0=8.5), ParameterUnitsError, "r0 needs a unit of kpc"),
        (lambda: FlatCurve(theta0=-220 * KMS), ParameterError, "theta0 must be"),
        (lambda: ReidCurve(a3=0), ParameterError, "a3 must be"),
        (lambda: FlatCurve(solar_motion=[1, 2] * KMS), ParameterError, "must be three velocities"),
        (lambda: rotation_curve(["flat"]), ParameterError, r"unknown rotation curve \['flat'\]; known"),
        (lambda: FlatCurve().speed(8), ParameterUnitsError, "radius needs a unit of kpc"),
    ],
)
def test_bad_parameters_are_named(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_curve_of_ones_own_needs_a_speed():
    with pytest.raises(NotImplementedError):
        RotationCurve().speed(8 * u.kpc)
