import itertools

import astropy.units as u
import numpy as np
import pytest
from astropy.wcs import WCS
from numpy.testing import assert_allclose, assert_array_equal
from scipy import ndimage
from scipy.optimize import minimize_scalar

from hisatools import HISACube
from hisatools.errors import InputError, ParameterError
from hisatools.unabsorbed import line_depth, second_derivative
from hisatools.unabsorbed.line_depth import recover, smoothest_tau
from hisatools.unabsorbed.second_derivative import (
    SecondDerivativeParameters,
    SecondDerivativeStrategy,
    TracerGuide,
)
from hisatools.unabsorbed.uncertainty import ErrorModel

KMS = u.km / u.s
COLD_KELVIN, CONTINUUM_KELVIN, TAU, FWHM_KMS = 10.0, 2.7, 0.4, 2.0


def make_cube(kelvin, *, channel_kms=0.4, pixel_deg=0.005):
    """Velocities about 0 km/s; the middle of the map is at l = 140, b = 0 deg."""
    n_v, n_y, n_x = kelvin.shape
    wcs = WCS(naxis=3)
    wcs.wcs.ctype = ["GLON-CAR", "GLAT-CAR", "VRAD"]
    wcs.wcs.cunit = ["deg", "deg", "m/s"]
    wcs.wcs.cdelt = [-pixel_deg, pixel_deg, 1e3 * channel_kms]
    wcs.wcs.crval = [140, 0, 0]
    wcs.wcs.crpix = [(n_x + 1) / 2, (n_y + 1) / 2, (n_v + 1) / 2]
    wcs.wcs.specsys, wcs.wcs.restfrq = "LSRK", 1.42040575e9
    return HISACube(np.asarray(kelvin, np.float32) * u.K, wcs)


class Cloud:
    """A cold cloud before broad emission, with another centre in each sight line."""

    def __init__(self, shape=(101, 5, 6), noise=0.5, share_behind=1.0, seed=1):
        rng = np.random.default_rng(seed)
        n_v = shape[0]
        self.v = (np.arange(n_v) - (n_v - 1) / 2)[:, None, None] * 0.4
        self.centre = rng.uniform(-1.5, 1.5, shape[1:])
        self.truth = 60 * np.exp(-0.5 * ((self.v - 2) / 9) ** 2) + 20 * np.exp(-0.5 * ((self.v + 6) / 6) ** 2)
        self.truth = np.broadcast_to(self.truth, shape)
        optical_depth = TAU * np.exp(-4 * np.log(2) * ((self.v - self.centre) / FWHM_KMS) ** 2)
        share = 1 - np.exp(-optical_depth)
        self.delta_t = (COLD_KELVIN - CONTINUUM_KELVIN - share_behind * self.truth) * share
        self.kelvin = self.truth + self.delta_t + rng.normal(0, noise, shape)
        self.labels = (self.delta_t < -0.05).astype(np.int32)
        self.core = self.delta_t < -5
        self.errors = ErrorModel(lambda i: np.full(np.shape(i), noise), (0.0, 0.0), np.zeros((0, 3)))

    @property
    def cube(self):
        return make_cube(self.kelvin)

    def estimate(self, strategy=None, *, errors=True, workers=1, step=1):
        strategy = self.told() if strategy is None else strategy
        index = np.flatnonzero(self.labels)[::step]
        features = np.unique(self.labels[self.labels > 0])
        errors = self.errors if errors else None
        return strategy.estimate(self.cube, self.labels, features, index, errors=errors, workers=workers)

    def told(self, **parameters):
        return SecondDerivativeStrategy(
            SecondDerivativeParameters(**parameters), centre=self.centre * KMS, width=FWHM_KMS * KMS
        )

    def tracer(self, *, channel_kms=0.25, n_v=161, height=4.0, noise=0.05, pixel_deg=0.005):
        """13CO whose width is such that the hydrogen has the cloud's."""
        hydrogen = 8.2545e-3 * COLD_KELVIN  # k T / m_H in km^2/s^2, per K
        sigma = np.sqrt((FWHM_KMS / 2.3548) ** 2 - hydrogen * (1 - 1 / 29))
        v = (np.arange(n_v) - (n_v - 1) / 2)[:, None, None] * channel_kms
        line = height * np.exp(-0.5 * ((v - self.centre) / sigma) ** 2)
        line += np.random.default_rng(9).normal(0, noise, line.shape)
        return make_cube(line, channel_kms=channel_kms, pixel_deg=pixel_deg)


# The method


@pytest.mark.parametrize("tau", [0.05, 0.7, 3.0])
@pytest.mark.parametrize("share_behind", [0.6, 1.0])
def test_recover_turns_the_radiative_transfer_round(tau, share_behind):
    profile = np.exp(-(np.linspace(-2, 2, 41) ** 2))
    truth = np.linspace(60, 90, 41)
    share = 1 - np.exp(-tau * profile)
    observed = truth + (7.3 - share_behind * truth) * share
    assert_allclose(recover(observed, tau, profile, np.array([share_behind, 7.3])), truth, rtol=1e-10)


@pytest.mark.parametrize("tau", [0.0, 0.02, 0.3, 1.5])
def test_tau_is_where_a_direct_search_finds_the_least_second_derivatives(tau):
    v = np.linspace(-5, 5, 51)
    profile, transfer = np.exp(-0.5 * v**2), np.array([0.9, 7.3])
    share = 1 - np.exp(-tau * profile)
    truth = 70 + 2 * v - 0.1 * v**2
    observed = truth + (transfer[1] - transfer[0] * truth) * share

    def cost(trial):
        share = 1 - np.exp(-trial * profile)
        recovered = (observed - transfer[1] * share) / (1 - transfer[0] * share)
        return np.sum(np.diff(recovered, 2) ** 2)

    expected = minimize_scalar(cost, bounds=(0, 5), options={"xatol": 1e-9}).x
    kernel, usable = np.array([1.0, -2.0, 1.0]), np.ones(51, bool)
    found = smoothest_tau(observed, profile, usable, transfer, kernel, 0.0, 5.0)
    assert found == pytest.approx(expected, abs=1e-4)
    assert found == pytest.approx(tau, abs=0.01)


@pytest.mark.parametrize("share_behind", [0.8, 1.0])
def test_emission_before_the_cloud_comes_back(share_behind):
    cloud = Cloud(noise=0.3, share_behind=share_behind)
    found = cloud.estimate(cloud.told(background_fraction=share_behind))
    error = (found.kelvin - cloud.truth[cloud.labels > 0])[cloud.core[cloud.labels > 0]]
    depth = np.median(-cloud.delta_t[cloud.core])
    assert abs(np.median(error)) < 0.06 * depth
    assert np.std(error) < 0.15 * depth


def test_nothing_is_taken_for_absorption_where_there_is_none():
    cloud = Cloud(noise=0.5)
    cloud.kelvin = cloud.kelvin - cloud.delta_t
    found = cloud.estimate()
    assert abs(np.median(found.kelvin - cloud.kelvin[cloud.labels > 0])) < 0.5


def test_noise_of_the_derivatives_does_not_pull_tau_down():
    # Without what noise adds taken off, the smallest tau has the smallest second derivatives.
    v = np.linspace(-6, 6, 61)
    profile, transfer = np.exp(-0.5 * v**2), np.array([1.0, 7.3])
    share = 1 - np.exp(-0.5 * profile)
    observed = 80 + (7.3 - 80) * share
    kernel, usable = np.array([1.0, -2.0, 1.0]), np.ones(61, bool)
    rng, found = np.random.default_rng(1), {0.0: [], 6.0: []}
    for _ in range(60):
        noisy = observed + rng.normal(0, 1, 61)
        for variance, values in found.items():
            values.append(smoothest_tau(noisy, profile, usable, transfer, kernel, variance, 5.0))
    assert abs(np.median(found[6.0]) - 0.5) < abs(np.median(found[0.0]) - 0.5)


# What tells of the line


def test_tracer_gives_the_centre_and_the_width():
    cloud = Cloud()
    guide = TracerGuide(cloud.cube, cloud.tracer(), SecondDerivativeParameters())
    lines = [guide(pixel, np.arange(40, 60)) for pixel in range(cloud.centre.size)]
    assert_allclose([line[0] for line in lines], cloud.centre.reshape(-1), atol=0.05)
    assert_allclose([line[1] for line in lines], FWHM_KMS, rtol=0.08)


def test_tracer_gives_what_centre_and_width_give():
    cloud = Cloud()
    told, found = (
        cloud.estimate(strategy).kelvin
        for strategy in (cloud.told(), SecondDerivativeStrategy(tracer=cloud.tracer()))
    )
    assert_allclose(found, told, atol=3)
    assert np.sqrt(np.mean((found - told) ** 2)) < 0.7


def test_nearest_pixel_of_a_coarser_or_smaller_tracer_is_looked_up():
    cloud = Cloud((101, 6, 6))
    cloud.centre[:] = 0.0
    wide = make_cube(np.arange(161.0 * 9).reshape(161, 3, 3), channel_kms=0.25, pixel_deg=0.01)
    coarse = wide.with_brightness(cloud.tracer().kelvin[:, ::2, ::2])
    guide = TracerGuide(cloud.cube, coarse, SecondDerivativeParameters())
    y, x = np.indices((6, 6)).reshape(2, -1)
    assert_array_equal(guide.nearest, (y // 2) * 3 + x // 2)
    small = cloud.tracer().cutout((slice(None), slice(0, 6), slice(2, 4)))
    guide = TracerGuide(cloud.cube, small, SecondDerivativeParameters())
    assert_array_equal(guide.nearest.reshape(6, 6)[0], [-1, -1, 0, 1, -1, -1])


def test_where_the_tracer_has_no_line_nothing_is_said():
    cloud = Cloud()
    tracer = cloud.tracer(noise=0.1)
    kelvin = tracer.kelvin.copy()
    kelvin[:, 0] = np.random.default_rng(3).normal(0, 0.1, kelvin[:, 0].shape)
    kelvin[:, 1] = np.nan
    found = cloud.estimate(SecondDerivativeStrategy(tracer=tracer.with_brightness(kelvin)))
    row = np.nonzero(cloud.labels)[1]
    observed = cloud.kelvin[cloud.labels > 0].astype(np.float32)
    assert_array_equal(found.kelvin[row < 2], observed[row < 2])
    assert np.isinf(found.sigma_kelvin[row < 2]).all()
    assert np.isfinite(found.sigma_kelvin[row >= 2]).all()


def test_without_a_line_the_message_says_what_to_give():
    cloud = Cloud()
    with pytest.raises(ParameterError, match=r"give tracer=HISACube.read\('13co.fits'\), or centre="):
        cloud.estimate(SecondDerivativeStrategy())
    with pytest.raises(ParameterError, match=r"width needs a unit of km/s, got 2; write for example width=1"):
        cloud.estimate(SecondDerivativeStrategy(centre=0 * KMS, width=2))
    with pytest.raises(InputError, match=r"centre has the shape \(2,\), the cube's sky \(5, 6\)"):
        cloud.estimate(SecondDerivativeStrategy(centre=np.zeros(2) * KMS, width=2 * KMS))
    with pytest.raises(ParameterError, match="background_fraction must be at most 1"):
        SecondDerivativeParameters(background_fraction=1.2)


def moved(cube, **changes):
    wcs = cube.wcs.deepcopy()
    for name, value in changes.items():
        setattr(wcs.wcs, name, value)
    return HISACube(cube.data, wcs)


def bad_tracers():
    tracer = Cloud().tracer()
    spectrum = HISACube.from_spectrum(tracer.data[:, 0, 0], tracer.velocity)
    return {
        "frame": (moved(tracer, specsys="BARYCENT"), "velocities are BARYCENT, those of the cube LSRK"),
        "sky": (moved(tracer, crval=[150, 0, 0]), "is of another part of the sky than the cube"),
        "velocity": (moved(tracer, crval=[140, 0, 9e4]), "covers 70.00 to 110.00 km/s, the cube -20.00"),
        "position": (spectrum, "its position is not known"),
        "short": (tracer.cutout((slice(75, 86), slice(None), slice(None))), "measured on 11 channels"),
    }


@pytest.mark.parametrize("fault", ["frame", "sky", "velocity", "position", "short"])
def test_tracer_that_does_not_fit_is_refused(fault):
    tracer, match = bad_tracers()[fault]
    strategy = SecondDerivativeStrategy(tracer=tracer)
    with pytest.raises(InputError, match=f"tracer: .*{match}"):
        strategy.check(Cloud().cube)
    with pytest.raises(InputError, match=f"tracer: .*{match}"):
        Cloud().estimate(strategy)


def test_without_a_limit_a_short_tracer_will_do():
    tracer, _ = bad_tracers()["short"]
    parameters = SecondDerivativeParameters(tracer_significance=0)
    found = Cloud().estimate(SecondDerivativeStrategy(parameters, tracer=tracer))
    assert np.isfinite(found.sigma_kelvin).any()


def test_tracer_and_line_contradict_each_other():
    for told in ({"centre": 0 * KMS}, {"width": 2 * KMS}):
        with pytest.raises(ParameterError, match="cannot be given beside tracer"):
            SecondDerivativeStrategy(tracer=Cloud().tracer(), **told)
    with pytest.raises(ParameterError, match="tracer must be a HISACube, got 5"):
        SecondDerivativeStrategy(tracer=5)
    with pytest.raises(ParameterError, match="give tracer="):
        SecondDerivativeStrategy().check(Cloud().cube)


def test_unknown_centres_are_passed_over():
    cloud = Cloud()
    cloud.centre[2, 3] = np.nan
    found = cloud.estimate()
    _, y, x = np.nonzero(cloud.labels)
    assert_array_equal(np.isinf(found.sigma_kelvin), (y == 2) & (x == 3))


# Uncertainty


def test_error_is_mostly_within_the_uncertainty():
    cloud = Cloud((101, 8, 8), noise=1.0)
    found = cloud.estimate()
    ratio = np.abs(found.kelvin - cloud.truth[cloud.labels > 0]) / found.sigma_kelvin
    assert 0.55 < np.mean(ratio < 1) < 0.8
    assert 0.88 < np.mean(ratio < 2) < 0.99


@pytest.mark.parametrize("noise", [0.5, 3.0])
def test_uncertainty_is_as_large_as_the_errors(noise):
    cloud = Cloud((101, 8, 8), noise=noise)
    found = cloud.estimate()
    rms = np.sqrt(np.mean((found.kelvin - cloud.truth[cloud.labels > 0]) ** 2))
    assert np.sqrt(np.mean(found.sigma_kelvin**2)) == pytest.approx(rms, rel=0.25)
    assert found.sigma_kelvin.max() < 3 * np.median(found.sigma_kelvin)


def test_a_few_fits_that_saturate_do_not_rule_the_uncertainty(monkeypatch):
    cloud = Cloud((101, 2, 2))
    plain = cloud.estimate().sigma_kelvin
    calls = itertools.count()

    def sometimes_saturated(*arguments):
        return 5.0 if next(calls) % 25 == 24 else smoothest_tau(*arguments)

    monkeypatch.setattr(line_depth, "smoothest_tau", sometimes_saturated)
    assert_allclose(cloud.estimate().sigma_kelvin, plain, rtol=0.5)


def test_nothing_is_said_where_the_line_saturates():
    cloud = Cloud(noise=0.3)
    # Twice the depth of its neighbours is an optical depth of 3 here, of which exp(-3) comes through.
    line = np.exp(-4 * np.log(2) * ((cloud.v - cloud.centre) / FWHM_KMS) ** 2)
    share = (1 - np.exp(-3.0 * line))[:, 1, 2]
    truth = cloud.truth[:, 1, 2]
    cloud.kelvin[:, 1, 2] = truth + (COLD_KELVIN - CONTINUUM_KELVIN - truth) * share
    _, y, x = np.nonzero(cloud.labels)
    saturated = (y == 1) & (x == 2)
    found = cloud.estimate()
    assert_array_equal(np.isinf(found.sigma_kelvin), saturated)
    observed = cloud.kelvin[cloud.labels > 0].astype(np.float32)
    assert_array_equal(found.kelvin[saturated], observed[saturated])
    allowed = cloud.estimate(cloud.told(max_amplification=50))
    assert np.isfinite(allowed.sigma_kelvin).all()
    assert_array_equal(allowed.kelvin[~saturated], found.kelvin[~saturated])
    with pytest.raises(ParameterError, match="max_amplification must be finite and above 1"):
        SecondDerivativeParameters(max_amplification=1)


def test_uncertainty_grows_with_the_structure_of_the_emission():
    cloud = Cloud()
    plain = cloud.estimate().sigma_kelvin
    cloud.errors = ErrorModel(cloud.errors.noise, (0.0, 0.0), np.array([[25.0, 3.0, 10.0]]))
    assert np.median(cloud.estimate().sigma_kelvin) > 1.2 * np.median(plain)


def test_workers_and_uncertainty_change_nothing_to_the_bit(monkeypatch):
    monkeypatch.setattr(second_derivative, "LINES_PER_BLOCK", 4)
    cloud = Cloud()
    alone, together, without = (
        cloud.estimate(),
        cloud.estimate(workers=3),
        cloud.estimate(errors=False),
    )
    assert_array_equal(together.kelvin, alone.kelvin)
    assert_array_equal(together.sigma_kelvin, alone.sigma_kelvin)
    assert_array_equal(without.kelvin, alone.kelvin)
    assert without.sigma_kelvin is None
    other = cloud.estimate(cloud.told(seed=2)).sigma_kelvin
    assert (other != alone.sigma_kelvin).any()
    assert_allclose(other, alone.sigma_kelvin, rtol=1.5)


def test_some_voxels_get_what_all_would_get():
    cloud = Cloud()
    whole, some = cloud.estimate(), cloud.estimate(step=3)
    assert_array_equal(some.kelvin, whole.kelvin[::3])
    assert_array_equal(some.sigma_kelvin, whole.sigma_kelvin[::3])


# Other features, blanks, borders


def test_channels_of_other_features_are_not_looked_at():
    cloud = Cloud()
    other = (cloud.v > 6) & (cloud.v < 8) & np.ones(cloud.kelvin.shape, bool)
    cloud.labels[other] = 2
    found = cloud.estimate()
    cloud.kelvin[other] = 3.0
    again = cloud.estimate()
    own = cloud.labels[cloud.labels > 0] == 1
    assert_array_equal(again.kelvin[own], found.kelvin[own])
    assert found.n_off.shape == (2,)


def test_blanks_and_blank_planes_are_passed_over():
    cloud = Cloud()
    blank = np.random.default_rng(4).uniform(size=cloud.kelvin.shape) < 0.03
    blank[30:32], blank[:, 1, 1], blank[:, 2, 2] = True, True, np.arange(101) % 2 == 0
    cloud.kelvin[blank], cloud.labels[blank] = np.nan, 0
    found = cloud.estimate()
    assert np.isfinite(found.kelvin).all()
    assert not np.isnan(found.sigma_kelvin).any()
    _, y, x = np.nonzero(cloud.labels)
    assert np.isinf(found.sigma_kelvin[(y == 2) & (x == 2)]).all()
    assert 0 < found.n_off[0] < Cloud().estimate(errors=False).n_off[0]


def test_a_feature_at_the_border_of_the_band_has_an_answer():
    cloud = Cloud()
    cut = slice(48, 101)
    cloud.kelvin, cloud.labels = cloud.kelvin[cut], cloud.labels[cut]
    found = SecondDerivativeStrategy(centre=(cloud.centre - 9.6) * KMS, width=FWHM_KMS * KMS).estimate(
        make_cube(cloud.kelvin),
        cloud.labels,
        np.array([1]),
        np.flatnonzero(cloud.labels),
        errors=cloud.errors,
    )
    assert np.isfinite(found.kelvin).all() and not np.isnan(found.sigma_kelvin).any()


def test_a_feature_that_fills_everything_keeps_what_was_observed():
    cloud = Cloud()
    cloud.labels[:] = 1
    found = cloud.estimate()
    assert_array_equal(found.n_off, [0])
    assert_array_equal(found.kelvin, cloud.cube.kelvin.reshape(-1))
    assert np.isinf(found.sigma_kelvin).all()


def test_reversed_velocity_gives_the_reversed_answer():
    cloud = Cloud()
    cloud.labels[:, :, 3:] *= 2
    cloud.errors = ErrorModel(cloud.errors.noise, (0.8, 2.0), np.array([[4.0, 5.0, 10.0]]))
    expected = cloud.estimate()
    forward, sigma = np.full((2, *cloud.kelvin.shape), np.nan)
    forward[cloud.labels > 0], sigma[cloud.labels > 0] = expected.kelvin, expected.sigma_kelvin
    wcs = cloud.cube.wcs.deepcopy()
    wcs.wcs.cdelt[2] *= -1
    cube = HISACube(cloud.kelvin[::-1].astype(np.float32) * u.K, wcs)
    assert_allclose(cube.velocity.value, cloud.v[::-1, 0, 0], atol=1e-6)
    labels = np.ascontiguousarray(cloud.labels[::-1])
    # Features are numbered as they come.
    labels[labels > 0] = 3 - labels[labels > 0]
    found = cloud.told().estimate(cube, labels, np.array([1, 2]), np.flatnonzero(labels), errors=cloud.errors)
    backward, sigma_backward = np.full((2, *cloud.kelvin.shape), np.nan)
    backward[labels > 0], sigma_backward[labels > 0] = found.kelvin, found.sigma_kelvin
    assert_allclose(backward[::-1], forward, rtol=1e-4)
    assert_allclose(sigma_backward[::-1], sigma, rtol=1e-3)


@pytest.mark.parametrize("shape", [(40, 1, 1), (1, 6, 6), (1, 1, 1), (2, 2, 2), (3, 1, 1)])
def test_small_cubes_give_an_answer_or_say_that_there_is_none(shape):
    kelvin = np.random.default_rng(6).uniform(50, 90, (shape[0] + 3, *shape[1:]))
    cube = make_cube(kelvin).cutout((slice(0, shape[0]), slice(None), slice(None)))
    labels = np.zeros(shape, np.int32)
    labels[shape[0] // 2] = 1
    told = {"centre": cube.velocity[shape[0] // 2], "width": 2 * KMS}
    found = SecondDerivativeStrategy(**told).estimate(
        cube, labels, np.array([1]), np.flatnonzero(labels), errors=Cloud().errors
    )
    assert np.isfinite(found.kelvin).all() and not np.isnan(found.sigma_kelvin).any()
    assert np.isfinite(found.sigma_kelvin).all() == (shape[0] == 40)
    assert (found.n_off > 0).all() == (shape[0] == 40)
    parameters = SecondDerivativeParameters(tracer_significance=0)
    with_tracer = SecondDerivativeStrategy(parameters, tracer=cube).estimate(
        cube, labels, np.array([1]), np.flatnonzero(labels)
    )
    assert np.isfinite(with_tracer.kelvin).all()


def test_empty_list_of_features():
    cloud = Cloud()
    cloud.labels[:] = 0
    found = cloud.estimate()
    assert found.kelvin.size == found.sigma_kelvin.size == found.n_off.size == 0


def test_features_are_fitted_each_by_itself():
    cloud = Cloud()
    parts, _ = ndimage.label(np.abs(cloud.v - cloud.centre) < 1.2, structure=np.zeros((3, 3, 3)) + 1)
    cloud.labels = (parts > 0) * (1 + (np.indices(cloud.kelvin.shape)[2] > 2)).astype(np.int32)
    whole = cloud.estimate()
    assert whole.n_off.shape == (2,) and (whole.n_off > 0).all()
    cloud.labels[cloud.labels == 2] = 0
    alone = cloud.estimate()
    assert alone.n_off[0] == whole.n_off[0]
