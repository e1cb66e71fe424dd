"""Fits at maxima of TS: known templates come back, on the grid and between, and hard input does no harm."""

from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
from astropy.stats import gaussian_fwhm_to_sigma
from numpy.testing import assert_allclose

from hisatools.errors import InputError, ParameterError
from hisatools.noise import NoiseCorrelation
from hisatools.significance import Residual, ScanParameters, SignificanceScan
from hisatools.significance.fits import COLUMNS, fit_at, fit_places, local_maximum, n_chosen
from hisatools.significance.peaks import find_peaks
from hisatools.significance.prior import SpatialPrior
from hisatools.simulate import blurred_disc, channel_average

SHAPE, CENTRE = (24, 40, 36), (12, 20, 18)
PIXEL, CHANNEL, BEAM_PIX = 0.3, 0.82446, 3.0
BANK = ScanParameters(widths=[1, 2, 4] * u.arcmin, linewidths=[2, 4] * u.km / u.s, calibrate=False)


def disc_and_line(shape, centre, width, linewidth):
    """A disc in the beam times a line, of depth 1 before both."""
    v, y, x = (np.arange(n) - c for n, c in zip(shape, centre, strict=True))
    line = channel_average(v.astype(float), linewidth / CHANNEL * gaussian_fwhm_to_sigma)
    disc = blurred_disc(np.hypot(y[:, None], x), width / PIXEL / 2, BEAM_PIX * gaussian_fwhm_to_sigma)
    return line[:, None, None] * disc


@pytest.fixture
def still(noise_residual):
    """From features (centre, width, linewidth, depth) to a residual that holds them and no noise."""

    def make(*features, shape=SHAPE):
        kelvin = np.zeros(shape)
        for centre, width, linewidth, depth in features:
            kelvin -= depth * disc_and_line(shape, centre, width, linewidth)
        return replace(noise_residual(shape, 1), kelvin=kelvin.astype(np.float32))

    return make


def scan_of(residual, parameters=BANK, **settings):
    return SignificanceScan(parameters).run(residual, **settings)


def place_of(residual, place):
    """Sky and velocity of (v, y, x) by the residual's own axes."""
    v, y, x = place
    lon, lat, velocity = residual.wcs.wcs_pix2world([[x, y, v]], 0)[0]
    return lon, lat, velocity / 1000


# --- what was put in comes back -------------------------------------------------------------------


@pytest.mark.parametrize(("width", "linewidth"), [(1, 2), (2, 4), (4, 2)])
@pytest.mark.parametrize("with_residual", [False, True])
def test_template_of_the_bank_comes_back(still, width, linewidth, with_residual):
    residual = still((CENTRE, width, linewidth, 40))
    scan = scan_of(residual)
    fit = fit_at(scan, scan.hottest().voxel, residual if with_residual else None)
    assert fit.voxel == CENTRE
    assert_allclose(fit.amplitude.to_value(u.K), -40, rtol=1e-3)
    assert_allclose(fit.place, CENTRE, atol=1e-3)
    assert_allclose([fit.width.value, fit.linewidth.value], [width, linewidth], rtol=1e-3)
    found = fit.lon.to_value(u.deg), fit.lat.to_value(u.deg), fit.velocity.to_value(u.km / u.s)
    assert_allclose(found, place_of(residual, CENTRE), rtol=0, atol=1e-4)


@pytest.mark.parametrize("off", [(0.5, 0, 0), (0, 0.5, 0.5), (0.3, -0.2, 0.4)])
@pytest.mark.parametrize(("width", "linewidth"), [(1, 2), (3, 2.7), (1.4, 3)])
def test_place_and_widths_between_those_of_the_grid_come_back(still, off, width, linewidth):
    centre = tuple(np.add(CENTRE, off))
    residual = still((centre, width, linewidth, 400))
    scan = scan_of(residual)
    fit = fit_at(scan, local_maximum(scan.signal_to_noise, CENTRE, 3), residual)
    assert_allclose(fit.amplitude.to_value(u.K), -400, rtol=1e-3)
    assert_allclose(fit.place, centre, atol=5e-3)
    assert_allclose([fit.width.value, fit.linewidth.value], [width, linewidth], rtol=2e-3)


def test_without_the_residual_the_place_lies_between_voxels_too(still):
    centre = np.add(CENTRE, (0.3, 0.2, -0.4))
    scan = scan_of(still((centre, 2, 4, 40)))
    fit = fit_at(scan, scan.hottest().voxel)
    assert_allclose(fit.place, centre, atol=0.03)
    assert_allclose(fit.amplitude.to_value(u.K), -40, rtol=0.01)


def test_ts_and_p_are_those_of_the_scan(noise_residual):
    scan = scan_of(noise_residual(SHAPE, 6400))
    voxel = scan.hottest().voxel
    fit = fit_at(scan, voxel)
    assert fit.ts == scan.ts[voxel]
    assert_allclose(fit.p_local, scan.p_local[voxel])
    assert fit.signal_to_noise == scan.signal_to_noise[voxel]


@pytest.mark.parametrize("with_residual", [False, True])
def test_millikelvin_are_kelvin(empty_cube, noise_residual, with_residual):
    residual = noise_residual(SHAPE, 6401)
    cube = empty_cube(residual.kelvin)
    fits = []
    for unit in (u.K, u.mK):
        noise = (5 * u.K).to(unit)
        own = Residual.of(cube, (np.ones(SHAPE, np.float32) * u.K).to(unit), noise=noise)
        scan = scan_of(own)
        fits.append(fit_at(scan, scan.hottest().voxel, own if with_residual else None))
    assert fits[0].voxel == fits[1].voxel
    assert_allclose(fits[0].amplitude.to_value(u.K), fits[1].amplitude.to_value(u.K), rtol=1e-5)


@pytest.mark.parametrize("with_residual", [False, True])
def test_reversed_velocity_axis_gives_the_same_place(noise_residual, with_residual):
    residual = noise_residual(SHAPE, 6402)
    other = residual.wcs.deepcopy()
    other.wcs.cdelt[2] *= -1
    other.wcs.crpix[2] = SHAPE[0] + 1 - other.wcs.crpix[2]
    turned = replace(residual, kelvin=residual.kelvin[::-1].copy(), wcs=other)
    one, two = (
        fit_at(scan, scan.hottest().voxel, part if with_residual else None)
        for part in (residual, turned)
        for scan in [scan_of(part)]
    )
    assert one.voxel[0] == SHAPE[0] - 1 - two.voxel[0]
    for name in ("lon", "lat", "velocity", "amplitude", "width", "linewidth"):
        assert_allclose(getattr(one, name).value, getattr(two, name).value, rtol=1e-3)


# --- uncertainty and bias -------------------------------------------------------------------------


def test_depth_is_too_large_by_chance_and_unbiased_when_corrected(noise_residual):
    """5 sigma, one template: the maximum of TS about the place, and its square root less 3."""
    bank = ScanParameters(widths=1 * u.arcmin, linewidths=3 * u.km / u.s, calibrate=False)
    shape, centre = (16, 24, 24), (8, 12, 12)
    rng = np.random.default_rng(6410)
    prepared = SignificanceScan(bank).prepare(noise_residual(shape, 1))
    sigma = SignificanceScan(bank).run(noise_residual(shape, 1), prepared=prepared).sigma_kelvin[centre]
    found = []
    for seed in range(6500, 6560):
        residual = noise_residual(shape, seed)
        place = np.add(centre, rng.random(3) - 0.5)
        feature = 5 * sigma * disc_and_line(shape, place, 1, 3)
        residual = replace(residual, kelvin=residual.kelvin - feature.astype(np.float32))
        scan = scan_of(residual, bank, prepared=prepared)
        fit = fit_at(scan, local_maximum(scan.signal_to_noise, centre, (2, 3, 3)), residual)
        found.append([fit.amplitude.value, fit.amplitude_unbiased.value, *np.subtract(fit.place, place)])
        assert fit.amplitude < fit.amplitude_unbiased < 0 * u.K
    found = np.array(found)
    biased, unbiased = -found[:, :2].mean(axis=0) / (5 * sigma)
    error = found[:, 1].std() / (5 * sigma) / np.sqrt(len(found))
    assert abs(unbiased - 1) < 2.5 * error
    assert biased - unbiased > 0.04
    # Uncertainties that are said are those that are.
    said = fit.position_error.to_value(u.arcmin) / PIXEL
    assert 0.6 < found[:, 3:].std() / said < 1.7


def test_where_choice_alone_explains_it_nothing_is_left(noise_residual):
    scan = scan_of(noise_residual(SHAPE, 6403))
    weak = np.argwhere((scan.signal_to_noise > 0.5) & (scan.signal_to_noise < 1))[0]
    fit = fit_at(scan, tuple(weak))
    assert fit.amplitude_unbiased == 0 * u.K
    assert fit.amplitude < 0 * u.K


def test_axis_of_one_voxel_leaves_no_choice(noise_residual):
    assert n_chosen(scan_of(noise_residual(SHAPE, 1))) == 3
    assert n_chosen(scan_of(one_pixel())) == 1


def test_uncertainty_of_the_place_falls_with_depth(still):
    errors = []
    for depth in (40, 80):
        residual = still((CENTRE, 2, 4, depth))
        scan = scan_of(residual)
        errors.append([fit_at(scan, CENTRE, r).position_error.value for r in (None, residual)])
    assert_allclose(errors[0], np.multiply(errors[1], 2), rtol=0.02)


# --- hard input -----------------------------------------------------------------------------------


def one_pixel(depth=0.0):
    """A spectrum with noise that is white in velocity."""
    from hisatools.simulate import ModelParameters, model_wcs

    shape = (40, 1, 1)
    kelvin = np.random.default_rng(6404).normal(0, 1, shape)
    kelvin[18:23] -= depth
    wcs = model_wcs(ModelParameters(shape=shape, n_pucks=0, n_components=1))
    return Residual(kelvin.astype(np.float32), np.float32(1), NoiseCorrelation(0.0, 0.0), wcs, 1.0)


@pytest.mark.parametrize("with_residual", [False, True])
def test_one_pixel_has_a_velocity_and_its_own_position(with_residual):
    residual = one_pixel(depth=8)
    scan = scan_of(residual, replace(BANK, widths=1 * u.arcmin, min_coverage=0.1))
    fit = fit_at(scan, scan.hottest().voxel, residual if with_residual else None)
    assert abs(fit.place[0] - 20) < 1
    assert fit.place[1:] == (0, 0)
    assert fit.amplitude < 0 * u.K
    assert np.isfinite(fit.velocity_error.value)
    assert np.isnan(fit.position_error.value)


@pytest.mark.parametrize("with_residual", [False, True])
@pytest.mark.parametrize("n_channels", [1, 2])
def test_few_channels(noise_residual, n_channels, with_residual):
    residual = noise_residual(SHAPE, 6405)
    residual = replace(residual, kelvin=residual.kelvin[:n_channels])
    scan = scan_of(residual)
    fit = fit_at(scan, scan.hottest().voxel, residual if with_residual else None)
    assert fit.amplitude < 0 * u.K
    assert np.isfinite(fit.lon.value)
    assert fit.place[0] == 0 or n_channels > 1


@pytest.mark.parametrize("with_residual", [False, True])
@pytest.mark.parametrize("centre", [(0, 20, 18), (23, 0, 35), (12, 39, 0)])
def test_feature_at_the_border(still, centre, with_residual):
    residual = still((centre, 2, 4, 40))
    scan = scan_of(residual, replace(BANK, min_coverage=0.2))
    fit = fit_at(scan, centre, residual if with_residual else None)
    if with_residual:
        assert_allclose(fit.amplitude.to_value(u.K), -40, rtol=0.02)
        assert_allclose(fit.place, centre, atol=0.02)
    else:
        # In a corner, where a quarter of the disc is seen, another disc of the bank may fit better.
        assert -80 < fit.amplitude.to_value(u.K) < -39
        # No neighbour beyond the border: that axis is not followed.
        followed = [0 < c < n - 1 for c, n in zip(centre, SHAPE, strict=True)]
        assert all(at == c for at, c, free in zip(fit.place, centre, followed, strict=True) if not free)


@pytest.mark.parametrize("with_residual", [False, True])
def test_blanks_beside_the_maximum(still, with_residual):
    residual = still((CENTRE, 2, 4, 40))
    v, y, x = CENTRE
    residual.kelvin[v, y, x + 1] = np.nan
    residual.kelvin[:, y + 2 :, : x - 3] = np.nan
    scan = scan_of(residual)
    fit = fit_at(scan, CENTRE, residual if with_residual else None)
    assert_allclose(fit.amplitude.to_value(u.K), -40, rtol=0.02)
    if not with_residual:
        assert fit.place[2] == x
    assert np.isfinite(fit.position_error.value)


def test_what_was_not_scanned_is_nan(still):
    residual = still((CENTRE, 2, 4, 40))
    residual.kelvin[:, :10] = np.nan
    scan = scan_of(residual)
    table = fit_places(scan, [(3, 2, 5), CENTRE], residual)
    for name in COLUMNS:
        if name not in "vyx":
            assert np.isnan(u.Quantity(table[name][0]).value) or name in ("lon", "lat", "velocity")
            assert np.isfinite(u.Quantity(table[name][1]).value)
    assert np.isnan(table["delta_t"][0])


def test_all_blank_is_refused(still):
    residual = still()
    residual.kelvin[:] = np.nan
    with pytest.raises(InputError, match="nothing is left to scan"):
        scan_of(residual)


@pytest.mark.parametrize("voxel", [(0, 0), (0.0, 1.0, 2.0), (24, 0, 0), (0, -1, 0)])
def test_voxel_must_be_one_of_the_scan(still, voxel):
    with pytest.raises(ParameterError, match="three whole numbers"):
        fit_at(scan_of(still()), voxel)


def test_table_of_no_places_has_all_columns(still):
    table = fit_places(scan_of(still()), np.empty((0, 3), int))
    assert table.colnames == list(COLUMNS)
    assert table["delta_t"].unit == u.K
    assert all(table[name].info.description for name in COLUMNS)


# --- maxima ---------------------------------------------------------------------------------------


def test_local_maximum_looks_no_further_than_asked():
    values = np.zeros((9, 9, 9))
    values[4, 4, 6], values[4, 4, 8], values[8, 8, 8] = 1, 2, 3
    values[4, 4, 4] = np.nan
    assert local_maximum(values, (4, 4, 4), 2) == (4, 4, 6)
    assert local_maximum(values, (4, 4, 4), (0, 0, 4)) == (4, 4, 8)
    assert local_maximum(values, (4, 4, 4), 4.5) == (4, 4, 8)
    assert local_maximum(values, (4, 4, 4), 0) is None
    assert local_maximum(np.full((2, 2, 2), np.nan), (0, 0, 0), 5) is None


def test_peaks_are_the_features_that_were_put_in(still):
    places = [(12, 10, 10), (12, 30, 26), (5, 12, 28)]
    residual = still(*((place, 2, 4, depth) for place, depth in zip(places, (60, 80, 70), strict=True)))
    peaks = find_peaks(scan_of(residual), residual=residual, min_ts=50)
    assert [(row["v"], row["y"], row["x"]) for row in peaks] == [places[i] for i in (1, 2, 0)]
    assert_allclose(peaks["delta_t"].to_value(u.K), [-80, -70, -60], rtol=0.01)
    assert np.all(np.diff(peaks["ts_prior"]) <= 0)
    assert len(find_peaks(scan_of(residual), min_ts=50, n_max=2)) == 2


def test_peaks_in_noise_lie_apart_and_are_local_maxima(noise_residual):
    scan = scan_of(noise_residual(SHAPE, 6406))
    peaks = find_peaks(scan, min_ts=4)
    assert len(peaks) > 5
    for row in peaks:
        around = tuple(slice(max(row[name] - 1, 0), row[name] + 2) for name in "vyx")
        assert row["ts"] == np.nanmax(scan.ts[around])
    places = np.transpose([peaks[name] for name in "vyx"])
    width, line = peaks["width"].value / PIXEL, peaks["linewidth"].value / CHANNEL
    for i in range(len(peaks)):
        away = places - places[i]
        on_sky = np.hypot(away[:, 1], away[:, 2]) / np.maximum(width, width[i])
        apart = np.hypot(on_sky, away[:, 0] / np.maximum(line, line[i]))
        assert np.all(apart[np.arange(len(peaks)) != i] > 1 - 1e-6)


def test_of_equal_neighbours_one_is_a_peak(still):
    scan = scan_of(still((CENTRE, 2, 4, 40)))
    flat = np.minimum(scan.signal_to_noise, 5).astype(np.float32)
    peaks = find_peaks(replace(scan, signal_to_noise=flat), min_ts=25)
    assert len(peaks) >= 1
    assert np.all(peaks["ts"] == 25)


def test_prior_excludes_and_orders(still):
    residual = still(((12, 10, 10), 2, 4, 60), ((12, 30, 26), 2, 4, 80))
    scan = scan_of(residual)
    probability = np.ones(SHAPE[1:])
    probability[20:] = 0
    prior = SpatialPrior(probability, residual.wcs)
    peaks = find_peaks(scan, min_ts=50, prior=prior)
    assert [(row["v"], row["y"], row["x"]) for row in peaks] == [(12, 10, 10)]
    assert peaks["ts"][0] == peaks["ts_prior"][0]


def test_no_peak_gives_an_empty_table(noise_residual):
    peaks = find_peaks(scan_of(noise_residual(SHAPE, 6407)), min_ts=1e4)
    assert len(peaks) == 0
    assert "ts_prior" in peaks.colnames


@pytest.mark.parametrize("settings", [{"min_ts": 0}, {"n_max": 0}, {"n_max": 1.5}])
def test_impossible_numbers_are_refused(still, settings):
    with pytest.raises(ParameterError):
        find_peaks(scan_of(still()), **settings)


@pytest.mark.parametrize("voxel", [(-1, 20, 18), (24, 20, 18)])
def test_places_outside_the_scan_are_refused(still, voxel):
    scan = scan_of(still((CENTRE, 2, 4, 10)))
    with pytest.raises(ParameterError, match="voxels must be"):
        fit_places(scan, [CENTRE, voxel])
