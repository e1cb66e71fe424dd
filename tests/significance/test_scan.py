"""TS of known features, of noise, and of hard input."""

import astropy.units as u
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import kstest

from hisatools.errors import HISAWarning, InputError, ParameterError, ParameterUnitsError
from hisatools.noise.correlation import correlation_at
from hisatools.significance import Residual, ScanParameters, SignificanceScan
from hisatools.significance import prepared as prepared_module
from hisatools.significance.matched import TileBank, make_filters
from hisatools.simulate import ModelParameters, simulate_cube

SHAPE = (24, 40, 36)
CENTRE = (12, 20, 18)
# Pixels of 0.3 arcmin, channels of 0.82446 km/s.
PIXEL, CHANNEL = 0.3, 0.82446
FEW = ScanParameters(widths=[1, 3] * u.arcmin, linewidths=[2, 4] * u.km / u.s, calibrate=False)


def template_cube(shape, centre, width, linewidth, depth=1.0):
    """A disc in the beam times a line, in K, as the models make their pucks."""
    from astropy.stats import gaussian_fwhm_to_sigma

    from hisatools.simulate import blurred_disc, channel_average

    v, y, x = (np.arange(n) - c for n, c in zip(shape, centre, strict=True))
    line = channel_average(v, linewidth / CHANNEL * gaussian_fwhm_to_sigma)
    disc = blurred_disc(np.hypot(y[:, None], x), width / PIXEL / 2, 3 * gaussian_fwhm_to_sigma)
    return depth * line[:, None, None] * disc


def signal_to_noise(bank, standardised):
    """Of each template at each voxel, shape (n_templates, n_v, n_y, n_x)."""
    found = [bank.templates(i, planes) for i, planes in bank.planes(standardised)]
    return np.concatenate(found).reshape(-1, *bank.shape)


def pixel_covariance(shape, fwhm):
    """C of all pixels of a map with all others."""
    y, x = (axis.ravel() for axis in np.indices(shape))
    return correlation_at(np.hypot(np.subtract.outer(y, y), np.subtract.outer(x, x)), fwhm)


def with_template(residual, **template):
    from dataclasses import replace

    shape = residual.shape
    return replace(residual, kelvin=residual.kelvin - template_cube(shape, **template).astype(np.float32))


@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize("linewidth", [2, 4])
@pytest.mark.parametrize("centre", [CENTRE, (0, 20, 18), (23, 20, 0), (12, 39, 35)])
def test_amplitude_of_a_feature_without_noise_is_its_depth(noise_residual, width, linewidth, centre):
    still = noise_residual(SHAPE, 1)
    still.kelvin[:] = 0
    feature = with_template(still, centre=centre, width=width, linewidth=linewidth, depth=30.0)
    scan = SignificanceScan(
        ScanParameters(
            widths=width * u.arcmin, linewidths=linewidth * u.km / u.s, calibrate=False, min_coverage=0.2
        )
    ).run(feature)
    assert_allclose(scan.amplitude[centre].to_value(u.K), -30, rtol=2e-3)


def test_the_template_that_was_put_in_is_the_best(noise_residual):
    still = noise_residual(SHAPE, 1)
    still.kelvin[:] = 0
    for width in (1, 3):
        for linewidth in (2, 4):
            found = SignificanceScan(FEW).run(
                with_template(still, centre=CENTRE, width=width, linewidth=linewidth, depth=30.0)
            )
            assert found.hottest().voxel == CENTRE
            assert found.width[CENTRE] == width * u.arcmin
            assert found.linewidth[CENTRE] == linewidth * u.km / u.s


def test_ts_is_the_square_of_amplitude_over_sigma_and_zero_in_emission(noise_residual):
    scan = SignificanceScan(FEW).run(noise_residual(SHAPE, 2))
    absorbed = scan.amplitude < 0
    expected = (scan.amplitude.value / scan.sigma_kelvin) ** 2
    assert_allclose(scan.ts[absorbed], expected[absorbed], rtol=1e-4)
    assert absorbed.any() and (scan.ts[~absorbed] == 0).all()


def test_p_values_of_noise_are_uniform(noise_residual):
    """In the middle of many cubes, at a border, and in a corner, where the widest template is not known."""
    scan = SignificanceScan(FEW)
    shape = (12, 24, 24)
    prepared = scan.prepare(noise_residual(shape, 0))
    places = [(6, 12, 12), (0, 12, 2), (0, 0, 0)]
    found = []
    for seed in range(6100, 6400):
        z = prepared.largest(noise_residual(shape, seed).standardised())
        found.append([z[place] for place in places])
    middle, border, corner = prepared.chance.p_value(found).T
    assert kstest(middle, "uniform").pvalue > 0.001
    assert kstest(border, "uniform").pvalue > 0.001
    assert kstest(corner, "uniform", alternative="greater").pvalue > 0.001


@pytest.mark.parametrize("blank", ["none", "holes", "channel holes", "plane"])
def test_signal_to_noise_has_unit_scatter_at_borders_and_blanks(noise_residual, blank):
    shape = (12, 20, 20)
    usable = np.ones(shape, bool)
    if blank == "holes":
        usable[:, 8:11, 4:12] = False
    elif blank == "channel holes":
        usable[4:7, 8:11, 4:12] = False
    elif blank == "plane":
        usable[5] = False
    residual = noise_residual(shape, 0)
    filters = make_filters([3, 9], [2, 4], 3.0, residual.correlation, usable.any(axis=(1, 2)), 0.1)
    bank = TileBank(usable, *filters, 0.5, residual.correlation)
    squares = np.zeros((bank.n_templates, *shape))
    n = 200
    for seed in range(n):
        squares += signal_to_noise(bank, noise_residual(shape, seed).standardised()) ** 2 / n
    rms = np.sqrt(squares[:, usable])
    rms = rms[np.isfinite(rms)]
    assert rms.size > 0.8 * bank.n_templates * np.count_nonzero(usable)
    assert abs(np.median(rms) - 1) < 0.03
    # By chance each is off by 5 %.
    assert np.percentile(rms, 0.5) > 0.86 and np.percentile(rms, 99.5) < 1.15


def test_a_quick_scan_is_the_written_out_one(noise_residual):
    residual = noise_residual((6, 9, 8), 5)
    kelvin = residual.kelvin.copy()
    kelvin[:, 2, 3] = np.nan
    from dataclasses import replace

    residual = replace(residual, kelvin=kelvin)
    usable = residual.usable
    sky, lines = make_filters([3.0], [2.0], 3.0, residual.correlation, usable.any(axis=(1, 2)), 0.1)
    bank = TileBank(usable, sky, lines, 0.3, residual.correlation)
    (found,) = signal_to_noise(bank, residual.standardised())
    weights, reach = sky[0].weights, sky[0].reach
    for v, y, x in [(0, 4, 4), (3, 0, 0), (5, 8, 7), (2, 3, 3)]:
        total, on_map = 0.0, np.zeros((9, 8))
        for k, j, i in np.ndindex(residual.shape):
            if usable[k, j, i] and max(abs(j - y), abs(i - x)) <= reach:
                on_map[j, i] = weights[reach + j - y, reach + i - x]
                total += lines[0].weights[v, k] * on_map[j, i] * -kelvin[k, j, i] / 5.0
        expected = total / np.sqrt(on_map.ravel() @ pixel_covariance(on_map.shape, 3.0) @ on_map.ravel())
        assert_allclose(found[v, y, x], expected, rtol=2e-4, atol=2e-5)


def test_blank_voxels_stay_blank_and_change_nothing_far_away(noise_residual):
    residual = noise_residual(SHAPE, 3)
    from dataclasses import replace

    holed = residual.kelvin.copy()
    holed[:, :4, :4] = np.nan
    whole, part = (
        SignificanceScan(FEW).run(replace(residual, kelvin=kelvin)) for kelvin in (residual.kelvin, holed)
    )
    assert np.isnan(part.ts[:, :4, :4]).all() and np.isnan(part.p_local[:, :4, :4]).all()
    assert_allclose(part.ts[:, 25:, 25:], whole.ts[:, 25:, 25:], rtol=1e-3, atol=1e-3)


def test_workers_and_tiles_change_nothing(noise_residual, monkeypatch):
    monkeypatch.setattr(prepared_module, "TILE_PIX", 24)
    residual = noise_residual((8, 60, 50), 4)
    one, two = (SignificanceScan(FEW).run(residual, workers=workers) for workers in (1, 2))
    assert_array_equal(one.signal_to_noise, two.signal_to_noise)
    assert_array_equal(one.template, two.template)
    monkeypatch.setattr(prepared_module, "TILE_PIX", 256)
    whole = SignificanceScan(FEW).run(residual)
    assert_allclose(one.signal_to_noise, whole.signal_to_noise, atol=1e-4)


def test_many_tiles_are_made_anew_and_give_the_same(noise_residual, monkeypatch):
    monkeypatch.setattr(prepared_module, "TILE_PIX", 16)
    residual = noise_residual((8, 50, 50), 4)
    prepared = SignificanceScan(FEW).prepare(residual)
    assert len(prepared.tiles) == 16
    largest = prepared.largest(residual.standardised(), workers=2)
    assert_allclose(largest, prepared.best(residual.standardised())[0])
    assert prepared.scatter(residual.standardised()).shape == (4,)


def test_a_reversed_velocity_axis_reverses_the_scan(noise_residual):
    residual = noise_residual(SHAPE, 6)
    from dataclasses import replace

    wcs = residual.wcs.deepcopy()
    wcs.wcs.cdelt[2] *= -1
    wcs.wcs.crpix[2] = SHAPE[0] + 1 - wcs.wcs.crpix[2]
    reversed_ = replace(residual, kelvin=np.ascontiguousarray(residual.kelvin[::-1]), wcs=wcs)
    one, other = (SignificanceScan(FEW).run(each) for each in (residual, reversed_))
    assert_allclose(other.signal_to_noise[::-1], one.signal_to_noise, atol=1e-4)
    assert_allclose(reversed_.velocity[::-1].value, residual.velocity.value)


def test_millikelvin_are_kelvin(empty_cube):
    model = simulate_cube(ModelParameters(shape=(24, 32, 32), n_pucks=4, n_components=50), seed=104)
    from hisatools import HISACube

    milli = HISACube(model.cube.data.to(u.mK), model.cube.wcs, beam=model.cube.beam)
    scans = [
        SignificanceScan(FEW).run(Residual.of(cube, model.t_unabsorbed.to(unit), noise=(6 * u.K).to(unit)))
        for cube, unit in ((model.cube, u.K), (milli, u.mK))
    ]
    assert_allclose(scans[0].signal_to_noise, scans[1].signal_to_noise, atol=1e-3)


def test_noise_that_rises_across_the_field_is_followed(noise_residual):
    from dataclasses import replace

    residual = noise_residual(SHAPE, 7)
    rise = np.linspace(1, 2, SHAPE[2], dtype=np.float32)
    uneven = replace(
        residual, kelvin=residual.kelvin * rise, sigma_kelvin=np.broadcast_to(5 * rise, SHAPE[1:])
    )
    one, other = (SignificanceScan(FEW).run(each) for each in (residual, uneven))
    assert_allclose(other.signal_to_noise, one.signal_to_noise, atol=1e-4)
    assert_allclose(other.sigma_kelvin, one.sigma_kelvin * rise, rtol=1e-4)


def test_a_scan_can_be_restricted(noise_residual):
    residual = noise_residual(SHAPE, 8)
    within = np.zeros(SHAPE[1:], bool)
    within[10:20, 10:20] = True
    scan = SignificanceScan(FEW).run(residual, within=within)
    assert_array_equal(np.isfinite(scan.ts), np.broadcast_to(within, SHAPE))
    assert within[scan.hottest().voxel[1:]]
    for wrong in (within[1:], within.astype(int)):
        with pytest.raises(InputError, match="within has the shape"):
            SignificanceScan(FEW).run(residual, within=wrong)
    with pytest.raises(InputError, match="nothing is left to scan"):
        SignificanceScan(FEW).run(residual, within=np.zeros(SHAPE, bool))


def test_structure_that_is_no_noise_is_counted_as_noise(noise_residual):
    """Waves of emission, 10 arcmin long and as strong as the noise, that nobody took away."""
    from dataclasses import replace

    residual = noise_residual((24, 80, 80), 9)
    y, x = np.indices(residual.shape[1:])
    waves = (5 * np.sin(2 * np.pi * y / 33) * np.sin(2 * np.pi * x / 33)).astype(np.float32)
    wavy = replace(residual, kelvin=residual.kelvin + waves)
    trusting, calibrated = (
        SignificanceScan(ScanParameters(widths=3 * u.arcmin, linewidths=4 * u.km / u.s, calibrate=told))
        for told in (False, True)
    )
    assert trusting.run(wavy).factors[0] == 1
    assert calibrated.run(wavy).factors[0] > 1.3
    assert abs(calibrated.run(residual).factors[0] - 1) < 0.1
    assert np.nanmin(calibrated.run(wavy).p_local) > np.nanmin(trusting.run(wavy).p_local)


@pytest.mark.parametrize("shape", [(24, 1, 1), (24, 1, 9), (3, 20, 20)])
def test_thin_cubes_are_scanned(noise_residual, shape):
    scan = SignificanceScan(
        ScanParameters(widths=0.5 * u.arcmin, linewidths=2 * u.km / u.s, min_coverage=0.05)
    ).run(noise_residual(shape, 10))
    assert np.isfinite(scan.ts).any()


def test_what_no_template_covers_is_not_known(noise_residual):
    with pytest.warns(HISAWarning, match="no template has a share of 0.5"):
        scan = SignificanceScan(ScanParameters(widths=60 * u.arcmin)).run(noise_residual((12, 9, 9), 11))
    assert np.isnan(scan.ts).all()
    assert scan.hottest() is None


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"widths": 3.0}, ParameterError, "widths needs"),
        ({"widths": [] * u.arcmin}, ParameterError, "widths needs"),
        ({"widths": 3 * u.km}, ParameterUnitsError, "widths"),
        ({"widths": [1, -1] * u.arcmin}, ParameterError, "widths"),
        ({"linewidths": [2, 2] * u.km / u.s}, ParameterError, "differ"),
        ({"linewidths": np.nan * u.km / u.s}, ParameterError, "finite"),
        ({"noise_floor": 0}, ParameterError, "noise_floor"),
        ({"min_coverage": 1.5}, ParameterError, "min_coverage"),
        ({"calibrate": 1}, ParameterError, "calibrate"),
        ({"widths": np.arange(1, 100) * u.arcmin}, ParameterError, "at most 256"),
    ],
)
def test_bad_parameters_are_refused(settings, error, message):
    with pytest.raises(error, match=message):
        ScanParameters(**settings)


def at(residual, kelvin):
    from dataclasses import replace

    return replace(residual, kelvin=kelvin.astype(np.float32))


def holed(kind):
    """Patterns of blanks that differ between channels."""
    usable = np.ones((12, 22, 20), bool)
    if kind == "one voxel":
        usable[6, 3, 2] = False
    elif kind == "part of a channel":
        usable[5, :, 11:] = False
    elif kind == "many":
        usable[np.random.default_rng(6020).random(usable.shape) < 0.02] = False
    return usable


@pytest.mark.parametrize("kind", ["one voxel", "part of a channel", "many"])
def test_blanks_of_single_channels_leave_variance_and_depth_right(noise_residual, kind):
    """Against the full sum over all voxels, with the noise's full covariance."""
    residual = noise_residual((12, 22, 20), 5)
    usable = holed(kind)
    sky, lines = make_filters([3.0], [3.0], 3.0, residual.correlation, np.ones(12, bool), 0.1)
    bank = TileBank(usable, sky, lines, 0.3, residual.correlation)
    sigma = bank.sigma_of(0)
    deep = template_cube((12, 22, 20), (5, 11, 10), 3 * PIXEL, 3 * CHANNEL, depth=1000)
    (signal,) = signal_to_noise(bank, deep.astype(np.float32))
    places = [(5, 11, 10)] if kind == "part of a channel" else [(5, 11, 10), (4, 11, 10), (6, 11, 10)]
    amplitude = signal[places[0]] * sigma[places[0]]
    assert_allclose(amplitude, 1000, rtol=0.01)
    for place in [*places, (0, 0, 0), (6, 2, 2), (6, 21, 3)]:
        if np.isfinite(sigma[place]):
            weights = written_out_weights(bank, place)
            expected = np.sqrt(full_variance(weights * usable, residual.correlation))
            assert_allclose(expected, 1, rtol=0.03)


def written_out_weights(bank, place):
    """What a voxel's signal to noise takes of each voxel, by putting in one at a time along each axis."""
    v, y, x = place
    sky, line = bank.sky[0], bank.lines[0]
    on_sky = np.zeros(bank.shape[1:])
    for j, i in np.ndindex(on_sky.shape):
        if max(abs(j - y), abs(i - x)) <= sky.reach:
            on_sky[j, i] = sky.weights[sky.reach + j - y, sky.reach + i - x]
    scale = bank.norms[0][0][bank.pattern][:, y, x]
    weights = (line.weights[v] * scale)[:, None, None] * on_sky
    sight_line = np.array([y * bank.shape[2] + x])
    if bank.uneven[0][sight_line]:
        weights = weights / bank._uneven(0, line, sight_line)[0][v, 0]
    return weights


def full_variance(weights, correlation):
    along_v, along_y, along_x = (
        correlation_at(np.subtract.outer(np.arange(n), np.arange(n)), fwhm)
        for n, fwhm in zip(
            weights.shape, (correlation.line_chan, correlation.beam_pix, correlation.beam_pix), strict=True
        )
    )
    filtered = np.einsum("vw,wyx->vyx", along_v, weights)
    filtered = along_y @ filtered @ along_x
    return np.sum(weights * filtered)


def test_tiles_change_nothing_where_a_channel_is_blank_in_part_of_the_field(noise_residual, monkeypatch):
    residual = noise_residual((10, 20, 90), 12)
    kelvin = residual.kelvin.copy()
    kelvin[5, :, 50:] = np.nan
    kelvin[2, 4, 7] = np.nan
    cut = at(residual, kelvin)
    whole = SignificanceScan(FEW).run(cut)
    monkeypatch.setattr(prepared_module, "TILE_PIX", 25)
    tiled = SignificanceScan(FEW).run(cut, workers=2)
    assert_allclose(tiled.signal_to_noise, whole.signal_to_noise, atol=2e-3)
    assert_allclose(tiled.sigma_kelvin, whole.sigma_kelvin, rtol=2e-3)


def test_scatter_is_that_of_the_whole_field(noise_residual, monkeypatch):
    monkeypatch.setattr(prepared_module, "TILE_PIX", 20)
    residual = noise_residual((12, 100, 100), 13)
    kelvin = residual.kelvin.copy()
    kelvin[:, :, 20:] *= 3
    loud = SignificanceScan(ScanParameters(widths=1 * u.arcmin, linewidths=2 * u.km / u.s)).run(
        at(residual, kelvin)
    )
    assert loud.factors[0] > 2


def test_one_sight_line_knows_lines_but_no_widths(noise_residual):
    residual = noise_residual((40, 1, 1), 14)
    kelvin = np.zeros((40, 1, 1))
    kelvin[:, 0, 0] = -50 * np.exp(-4 * np.log(2) * ((np.arange(40) - 20) * CHANNEL / 3) ** 2)
    scan = SignificanceScan(ScanParameters(calibrate=False)).run(at(residual, kelvin))
    assert scan.hottest().voxel == (20, 0, 0)
    assert scan.linewidth[20, 0, 0] == 3 * u.km / u.s
    assert_allclose(scan.amplitude[20, 0, 0].value, -50, rtol=0.03)


def test_noise_that_is_nowhere_known_is_blank(noise_residual):
    from dataclasses import replace

    sigma = np.full(SHAPE[1:], 5, np.float32)
    sigma[3, 4], sigma[5, 6], sigma[7, 8] = 0, np.nan, np.inf
    scan = SignificanceScan(FEW).run(replace(noise_residual(SHAPE, 15), sigma_kelvin=sigma))
    blank = np.isnan(scan.ts).all(axis=0)
    assert blank[3, 4] and blank[5, 6] and blank[7, 8] and np.count_nonzero(blank) == 3
    assert np.isnan(scan.sigma_kelvin[:, 3, 4]).all()


@pytest.mark.parametrize("factors", [[1, 2], [0, 1, 1, 1], [-1, 1, 1, 1], [np.nan, 1, 1, 1]])
def test_impossible_factors_are_refused(noise_residual, factors):
    with pytest.raises(ParameterError, match="factors must be 4 numbers"):
        SignificanceScan(FEW).run(noise_residual(SHAPE, 16), factors=factors)


def test_what_was_prepared_for_another_cube_is_refused(noise_residual):
    scan = SignificanceScan(FEW)
    prepared = scan.prepare(noise_residual((12, 20, 20), 17))
    with pytest.raises(InputError, match="prepared is for the shape"):
        scan.run(noise_residual(SHAPE, 17), prepared=prepared)
    with pytest.raises(InputError, match="prepared is for the shape"):
        SignificanceScan().run(noise_residual((12, 20, 20), 17), prepared=prepared)


def test_a_prior_of_another_field_is_refused_and_several_are_multiplied(noise_residual):
    from hisatools.significance import SpatialPrior

    residual = noise_residual(SHAPE, 18)
    scan = SignificanceScan(FEW).run(residual)
    uniform = SpatialPrior(np.ones(SHAPE[1:]), residual.wcs.celestial)
    half = np.ones(SHAPE[1:])
    half[:, :18] = 0
    right = SpatialPrior(half, residual.wcs.celestial)
    assert_allclose(scan.ts_with([uniform, right]), scan.ts_with(right))
    assert not scan.ts_with(right)[:, :, :18].any()
    moved = residual.wcs.celestial.deepcopy()
    moved.wcs.crval[0] += 1
    with pytest.raises(InputError, match="another part of the sky"):
        scan.ts_with(SpatialPrior(half, moved))


def test_calibrated_in_one_go_is_calibrated_in_two(noise_residual, monkeypatch):
    residual = noise_residual((10, 40, 40), 19)
    known = np.zeros(residual.shape, bool)
    known[:, :10] = True
    standardised = residual.standardised()
    prepared = SignificanceScan(FEW).prepare(residual)
    found, factors = prepared.calibrated(standardised, known)
    assert_allclose(factors, prepared.scatter(standardised, known), rtol=1e-6)
    assert_allclose(found, prepared.largest(standardised, factors), rtol=1e-5)
    monkeypatch.setattr(prepared_module, "TILE_PIX", 20)
    tiled = SignificanceScan(FEW).prepare(residual)
    again, others = tiled.calibrated(standardised, known)
    assert_allclose(others, factors, rtol=1e-3)
    assert_allclose(again, found, atol=5e-3)
