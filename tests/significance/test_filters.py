"""Weights, variances and responses of the filters, against sums written out."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from hisatools.noise.correlation import correlation_at
from hisatools.significance.filters import PlaneConvolver, covariance_with_noise, line_filter, sky_filter

WIDTHS = [0.5, 3.0, 9.0]


def pixel_covariance(side, fwhm):
    """C of all pixels of a square map with all others."""
    y, x = np.divmod(np.arange(side**2), side)
    return correlation_at(np.hypot(np.subtract.outer(y, y), np.subtract.outer(x, x)), fwhm)


@pytest.mark.parametrize("fwhm", [0.0, 2.5])
@pytest.mark.parametrize("width", WIDTHS)
def test_noise_of_a_sky_filter_is_the_full_quadratic_form(width, fwhm):
    sky = sky_filter(width, 3.0, fwhm, 0.1)
    weights = sky.weights.ravel()
    expected = weights @ pixel_covariance(len(sky.weights), fwhm) @ weights
    assert_allclose(sky.noise**2, expected, rtol=1e-10)
    assert_allclose(sky.response, weights @ sky.template.ravel())


@pytest.mark.parametrize("width", WIDTHS)
def test_weights_that_know_the_noise_are_better_than_the_template_itself(width):
    sky = sky_filter(width, 3.0, 3.0, 0.1)
    plain = np.sqrt(covariance_with_noise(sky.template[None], 3.0)[0, 0]) / np.sum(sky.template**2)
    assert sky.sigma < plain


@pytest.mark.parametrize("width", WIDTHS)
def test_weights_come_near_those_of_the_full_covariance(width):
    sky = sky_filter(width, 3.0, 3.0, 0.1)
    template, side = sky.template.ravel(), len(sky.template)
    best = np.linalg.solve(pixel_covariance(side, 3.0) + 1e-3 * np.eye(side**2), template)
    # What a point in the noise of its own beam could gain beyond this hangs on scales without any noise.
    assert sky.sigma < 1.7 / np.sqrt(template @ best)


def test_a_sky_filter_is_symmetric_and_alike_along_both_axes():
    sky = sky_filter(4.0, 3.0, 3.0, 0.1)
    for turned in (sky.weights.T, sky.weights[::-1], sky.weights[:, ::-1]):
        assert_allclose(turned, sky.weights, atol=1e-12)


def test_a_disc_in_its_beam_keeps_its_volume():
    sky = sky_filter(12.0, 3.0, 3.0, 0.1)
    assert_allclose(sky.template.sum(), np.pi * 6**2, rtol=0.01)


@pytest.mark.parametrize("fwhm", [0.0, 1.8])
def test_a_line_filter_solves_the_channels_that_there_are(fwhm):
    usable = np.ones(20, bool)
    usable[[5, 6, 12]] = False
    line = line_filter(3.0, fwhm, usable, 0.1)
    covariance = correlation_at(np.subtract.outer(np.arange(20), np.arange(20)), fwhm)
    weights = line.weights.astype(float)
    noise = np.einsum("ck,kl,cl->c", weights, covariance, weights)
    assert_allclose(noise[usable], 1, rtol=1e-5)
    assert not weights[~usable].any() and not weights[:, ~usable].any()
    assert np.isinf(line.sigma[~usable]).all() and np.isfinite(line.sigma[usable]).all()
    assert_allclose(line.responses.sum(axis=1)[usable], 1 / line.sigma[usable], rtol=1e-5)


def test_a_line_at_the_end_of_the_band_is_less_certain():
    line = line_filter(5.0, 1.6, np.ones(30, bool), 0.1)
    assert line.sigma[0] > 1.1 * line.sigma[15]
    assert_allclose(line.sigma, line.sigma[::-1])


def test_no_usable_channel_gives_no_filter():
    line = line_filter(3.0, 1.6, np.zeros(6, bool), 0.1)
    assert not line.weights.any() and np.isinf(line.sigma).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 3), (30, 41)])
def test_maps_are_filtered_with_nothing_beyond_the_borders(shape):
    rng = np.random.default_rng(1)
    weights = [rng.random((2 * r + 1, 2 * r + 1)) for r in (2, 6)]
    weights = [one + one[::-1] + one[:, ::-1] + one[::-1, ::-1] for one in weights]
    maps = rng.normal(size=(2, *shape)).astype(np.float32)
    convolver = PlaneConvolver(shape, weights)
    transformed = convolver.transform(maps)
    for number, one in enumerate(weights):
        expected = [written_out(plane, one) for plane in maps]
        assert_allclose(convolver.filtered(transformed, number), expected, atol=2e-4 * one.sum())


def written_out(plane, weights):
    reach = len(weights) // 2
    found = np.zeros(plane.shape)
    for y, x in np.ndindex(plane.shape):
        for j, i in np.ndindex(plane.shape):
            if max(abs(j - y), abs(i - x)) <= reach:
                found[y, x] += weights[reach + j - y, reach + i - x] * plane[j, i]
    return found
