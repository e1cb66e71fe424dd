"""Kinematic distances: circular orbits come back, and symmetries hold."""

from dataclasses import dataclass

import astropy.units as u
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from hisatools.distances import DistanceFlag, FlatCurve, RotationCurve, kinematic_distance, rotation_curve
from hisatools.distances.curves import CURVES
from hisatools.errors import ParameterError, ParameterUnitsError

KMS = u.km / u.s


def velocity_of(curve, lon_deg, lat_deg, distance_kpc):
    """LSR velocity of a circular orbit, worked out from vectors: the Sun at (R0, 0), rotation clockwise."""
    lon, lat = np.radians(lon_deg), np.radians(lat_deg)
    sight = np.array([-np.cos(lon) * np.cos(lat), np.sin(lon) * np.cos(lat), np.sin(lat)])
    place = np.array([curve.r0.value, 0, 0]) + distance_kpc * sight
    radius = np.hypot(place[0], place[1])
    turning = np.array([-place[1], place[0], 0]) / radius * curve.speed(radius * u.kpc).to_value(KMS)
    sun = np.array([0, curve.speed(curve.r0).to_value(KMS), 0])
    return (turning - sun) @ sight - curve.lsr_change_kms(lon, lat)


def distance(lon, lat, velocity, **options):
    return kinematic_distance(lon * u.deg, lat * u.deg, velocity * KMS, **options)


@settings(deadline=None, derandomize=True, max_examples=150)
@given(
    name=st.sampled_from(sorted(CURVES)),
    lon=st.floats(2, 358),
    lat=st.floats(-8, 8),
    kpc=st.floats(0.5, 25),
)
def test_a_circular_orbit_comes_back(name, lon, lat, kpc):
    assume(2 < lon % 180 < 178)
    curve = rotation_curve(name)
    found = distance(lon, lat, velocity_of(curve, lon, lat, kpc), curve=curve)
    sides = np.array([found.near.value, found.far.value])
    assert np.abs(sides - kpc).min() < 1e-5 * kpc + 1e-5
    for one in sides[sides > 0]:
        assert_allclose(velocity_of(curve, lon, lat, one), velocity_of(curve, lon, lat, kpc), atol=1e-6)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(lon=st.floats(5, 85), share=st.floats(0.05, 0.95), name=st.sampled_from(sorted(CURVES)))
def test_near_and_far_lie_about_the_tangent_point(lon, share, name):
    curve = rotation_curve(name)
    middle = curve.r0.value * np.cos(np.radians(lon))
    found = distance(lon, 0, velocity_of(curve, lon, 0, share * middle), curve=curve)
    assert_allclose(found.near.value, share * middle, rtol=1e-6)
    assert_allclose(found.tangent.value, middle)
    assert_allclose((found.near + found.far).value / 2, middle)
    assert found.near < found.tangent < found.far
    assert found.has(DistanceFlag.TWO_FOLD) and not found.has(DistanceFlag.OUTER)


@pytest.mark.parametrize("curve", ["brand93", "flat"])
@pytest.mark.parametrize("velocity", [-60.0, -20, 15, 40, 90])
def test_both_sides_of_the_galaxy_are_alike(curve, velocity):
    lon = np.array([20.0, 50, 100, 140, 160])
    one = distance(lon, 1, velocity, curve=curve)
    other = distance(360 - lon, 1, -velocity, curve=curve)
    for name in ("near", "far", "tangent", "near_error", "far_error", "radius"):
        assert_allclose(getattr(other, name).value, getattr(one, name).value, rtol=1e-9, atol=1e-9)
    assert_array_equal(other.flags, one.flags)


@pytest.mark.parametrize("curve", [rotation_curve(name) for name in CURVES])
def test_no_velocity_is_at_the_solar_circle(curve):
    lon = np.array([20.0, 60, 120, 200, 300])
    at_rest = -curve.lsr_change_kms(np.radians(lon), 0.0)
    found = distance(lon, 0, at_rest, curve=curve)
    assert_allclose(found.radius.value, curve.r0.value, rtol=1e-9)
    across = 2 * curve.r0.value * np.maximum(np.cos(np.radians(lon)), 0)
    assert_allclose(found.far.value, across, atol=1e-6)
    assert_allclose(found.near.value, 0, atol=1e-6)
    assert found.has(DistanceFlag.LOCAL).all()


def test_the_terminal_velocity_is_at_the_tangent_point():
    """220 (1 - sin l) km/s for a flat curve."""
    lon = np.array([20.0, 40, 70])
    terminal = 220 * (1 - np.sin(np.radians(lon)))
    found = distance(lon, 0, terminal - 1e-9, curve="flat")
    assert_allclose(found.near.value, 8.5 * np.cos(np.radians(lon)), rtol=1e-4)
    assert_allclose(found.far.value, found.near.value, rtol=2e-4)


def test_beyond_it_is_the_tangent_point_within_the_dispersion_and_nothing_farther():
    found = distance(30, 0, np.array([113.0, 117.5]), curve="flat", dispersion=7 * KMS)
    assert_allclose(found.near.value, [8.5 * np.cos(np.pi / 6), np.nan])
    assert_allclose(found.far.value, found.near.value)
    assert_array_equal(found.flags, [DistanceFlag.TANGENT, DistanceFlag.FORBIDDEN])
    assert found.near_error[0] > 0.5 * u.kpc and np.isnan(found.near_error[1])


def test_velocities_of_the_wrong_sign_are_local_or_forbidden_outside():
    found = distance(140, 0, np.array([3.0, 30.0]), curve="flat")
    assert_allclose(found.near.value, [0, np.nan], atol=1e-9)
    assert found.has(DistanceFlag.LOCAL).tolist() == [True, False]
    assert found.has(DistanceFlag.FORBIDDEN).tolist() == [False, True]


def test_slow_gas_towards_the_inner_galaxy_may_be_local():
    found = distance(30, 0, np.array([-2.0, -20.0]), curve="flat")
    assert_allclose(found.near.value[0], 0, atol=1e-9)
    assert found.near_error[0] < 1 * u.kpc
    assert found.far[0] > 14 * u.kpc
    assert_allclose(found.near[1].value, found.far[1].value)


def test_errors_are_what_the_dispersion_does():
    found = distance(140, 0, np.array([-39.0, -40, -41]), curve="flat", dispersion=1 * KMS)
    steps = np.abs(np.diff(found.near.value))
    assert_allclose(found.near_error[1].value, steps.max())
    wider = distance(140, 0, -40, curve="flat", dispersion=10 * KMS)
    assert wider.near_error > 8 * found.near_error[1]


def test_a_cloud_of_the_perseus_arm_comes_out_too_far():
    """At 2 kpc by stars and masers; streaming of some 15 km/s makes the velocity more negative."""
    for curve in CURVES:
        found = distance(139.6, 1.2, -41, curve=curve)
        assert 3 * u.kpc < found.near < 5 * u.kpc
        assert_allclose(found.near.value, found.far.value)
        assert found.flags == DistanceFlag.OUTER


@pytest.mark.parametrize("lon", [0.0, 180.0, 360.0])
def test_where_all_motion_is_across_nothing_is_known(lon):
    found = distance(lon, 0, 5)
    assert np.isnan(found.near) and np.isnan(found.far)
    assert found.has(DistanceFlag.DIRECTION) and found.has(DistanceFlag.UNKNOWN)


@pytest.mark.parametrize(
    ("lon", "expected"), [(10, True), (16, False), (345.5, True), (165, True), (159, False)]
)
def test_directions_of_little_motion_are_flagged(lon, expected):
    assert distance(lon, 0, 20 if lon < 180 else -20).has(DistanceFlag.DIRECTION) == expected


def test_radii_where_the_curve_was_not_measured_are_flagged():
    assert distance(60, 0, -120, curve="brand93").has(DistanceFlag.EXTRAPOLATED)
    assert not distance(60, 0, -50, curve="brand93").has(DistanceFlag.EXTRAPOLATED)


def test_what_is_not_known_stays_so():
    found = distance(np.array([np.nan, 30, 30]), np.array([0, np.nan, 0]), np.array([20, 20, np.nan]))
    assert np.isnan(found.near).all() and np.isnan(found.far_error).all()
    assert_array_equal(found.flags, [DistanceFlag.UNKNOWN] * 3)


def test_velocities_beyond_every_orbit_are_forbidden():
    found = distance(90, 0, np.array([-200.0, -500.0]), curve="flat")
    assert found.has(DistanceFlag.FORBIDDEN).tolist() == [False, True]
    assert np.isnan(found.far[1])


def test_shapes_are_those_that_were_given():
    assert distance(30, 0, 50).near.shape == ()
    assert distance(np.full((2, 3), 30.0), 0, np.array([10.0, 20, 30])).flags.shape == (2, 3)
    assert distance(np.zeros(0), np.zeros(0), np.zeros(0)).near.shape == (0,)
    found = kinematic_distance(0.5 * u.rad, 60 * u.arcmin, 50000 * u.m / u.s)
    assert_allclose(found.near.value, distance(np.degrees(0.5), 1, 50).near.value)


def test_sides_are_chosen():
    found = distance(30, 0, 50)
    assert found.of_side("near") == (found.near, found.near_error)
    assert found.of_side("far") == (found.far, found.far_error)
    with pytest.raises(ParameterError, match="side must be 'near' or 'far', got 'both'"):
        found.of_side("both")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"velocity": 20}, ParameterUnitsError, "velocity needs a unit of km / s"),
        ({"lon": [1, 2] * u.deg, "lat": [1, 2, 3] * u.deg}, ParameterError, "shapes that do not go together"),
        ({"dispersion": 0 * KMS}, ParameterError, "dispersion must be"),
        ({"curve": "none"}, ParameterError, "unknown rotation curve"),
    ],
)
def test_bad_arguments_are_named(options, error, message):
    arguments = {"lon": 30 * u.deg, "lat": 0 * u.deg, "velocity": 20 * KMS} | options
    with pytest.raises(error, match=message):
        kinematic_distance(**arguments)


def test_a_curve_of_ones_own_can_be_used():
    @dataclass(frozen=True, kw_only=True, eq=False)
    class Slower(RotationCurve):
        name, citation, measured_kpc = "slower", "made up", (0, np.inf)

        def speed_kms(self, radius_kpc):
            return 220 * (radius_kpc / 8.5) ** -0.1

    curve = Slower()
    found = distance(50, 0, velocity_of(curve, 50, 0, 3.0), curve=curve)
    assert_allclose(found.near.value, 3.0, rtol=1e-6)
    assert found.curve.described().startswith("slower (made up): r0 8.5 kpc")
    assert FlatCurve().described().endswith("r0 8.5 kpc, theta0 220 km / s")


@pytest.mark.parametrize("velocity", [-6.5, -1.0, 0.01, 3.0])
def test_distances_and_errors_go_on_across_90_degrees(velocity):
    """Within the solar circle and outside it: there no velocity tells one from the other."""
    found = distance(np.array([89.5, 89.99, 90, 90.01, 90.5]), 0, velocity, curve="flat")
    error = found.near_error.value
    assert (np.abs(np.diff(found.near.value)) <= 1.01 * np.minimum(error[:-1], error[1:])).all()
    # That of the nearer one, at the Sun, reaches as far as gas of one more dispersion lies.
    assert_allclose(error, error[2], rtol=0.32)
    assert_allclose(found.far.value, found.far[2].value, atol=0.2)
    assert (error > 1.4).all()


def test_errors_count_from_the_nearest_possible_velocity():
    """That of the Sun, and that of the tangent point, not from one that no orbit has."""
    beside = distance(np.array([60, 140]), 0, np.array([-6.5, 6.5]), curve="flat")
    at = distance(np.array([60, 140]), 0, np.array([-1e-9, 1e-9]), curve="flat")
    assert_allclose(beside.near_error, at.near_error)
    terminal = 220 * (1 - np.sin(np.radians(40)))
    found = distance(40, 0, terminal + np.array([1e-6, 6]), curve="flat")
    assert_allclose(found.near_error[1].value, found.near_error[0].value)


@settings(deadline=None, derandomize=True, max_examples=200)
@given(
    name=st.sampled_from(sorted(CURVES)),
    lon=st.floats(0.1, 359.9),
    lat=st.floats(-30, 30),
    velocity=st.floats(-250, 250),
)
def test_no_distance_is_below_zero_or_without_error(name, lon, lat, velocity):
    found = distance(lon, lat, velocity, curve=name)
    for side in ("near", "far"):
        value, error = found.of_side(side)
        assert not value < 0
        assert np.isnan(value) == np.isnan(error)


def test_a_flat_curve_is_extrapolated_far_out():
    found = distance(60, 0, np.array([-100.0, -150]), curve="flat")
    assert found.radius[1] > 25 * u.kpc > found.radius[0]
    assert found.has(DistanceFlag.EXTRAPOLATED).tolist() == [False, True]
    assert np.isinf(distance(60, 0, -190, curve="flat").near_error)
