"""The spectral search: dips are found at their depth, and nothing but the sky decides where."""

import astropy.units as u
import numpy as np
import pytest
from radio_beam import Beam

from hisatools import HISACube, SpectralParameters, SpectralSearcher
from hisatools.errors import HISAWarning, InputError
from hisatools.results import StopReason
from hisatools.simulate import ModelParameters, model_wcs, simulate_cube

SHAPE = (56, 30, 30)
CENTRE = (28, 15, 15)
NOISE_KELVIN = 2.0


def make_cube(kelvin, *, channel=0.8 * u.km / u.s, pixel=1 * u.arcmin, unit=u.K):
    wcs = model_wcs(ModelParameters(shape=kelvin.shape, channel_width=channel, pixel_scale=pixel))
    return HISACube(np.float32(kelvin) * unit, wcs, beam=Beam(2 * u.arcmin))


def make_hill(shape=SHAPE):
    """Smooth emission of up to 110 K."""
    v, _, x = np.indices(shape)
    return 100 * np.exp(-0.5 * ((v - shape[0] / 2) / 14) ** 2) * (1 + 0.1 * x / shape[2])


def make_dip(shape=SHAPE, centre=CENTRE, depth=30.0, fwhm_chan=3.0, radius=4):
    """A round cloud of one depth, a Gaussian line of 2.4 km/s."""
    v, y, x = np.indices(shape)
    line = np.exp(-4 * np.log(2) * ((v - centre[0]) / fwhm_chan) ** 2)
    return -depth * line * (np.hypot(y - centre[1], x - centre[2]) <= radius)


def make_noise(shape=SHAPE, seed=1):
    """White noise: what is tested here does not hang on its correlation."""
    return NOISE_KELVIN * np.random.default_rng(seed).standard_normal(shape)


def same(found, other):
    """Equal to the bit."""
    np.testing.assert_array_equal(found.mask, other.mask)
    np.testing.assert_array_equal(found.amplitude, other.amplitude)
    np.testing.assert_array_equal(found.n_iterations, other.n_iterations)
    np.testing.assert_array_equal(found.stop_reason, other.stop_reason)


@pytest.fixture(scope="module")
def searcher():
    return SpectralSearcher()


@pytest.fixture(scope="module")
def cube():
    return make_cube(make_hill() + make_dip() + make_noise())


@pytest.fixture(scope="module")
def found(searcher, cube):
    return searcher.search(cube)


def test_dip_is_found_at_its_depth(found):
    core = make_dip() < -15
    assert found.mask[core].mean() > 0.95
    # The fitted base lies below the emission, by what the dip pulls it down.
    inner = make_dip(radius=2) < -29
    assert found.amplitude.value[inner].mean() == pytest.approx(27, abs=4)


def test_elsewhere_nothing_is_found(found):
    far = np.ones(SHAPE, bool)
    far[20:37, 8:23, 8:23] = False
    assert found.mask[far].mean() < 0.003


def test_steep_but_smooth_emission_is_no_dip(searcher):
    quiet = make_hill() + 0.3 * make_noise()
    assert not searcher.search(make_cube(quiet)).mask.any()


def test_a_trough_wider_than_w_char_is_emission(searcher):
    wide = make_hill() + make_dip(fwhm_chan=25) + 0.3 * make_noise()
    assert not searcher.search(make_cube(wide)).mask[CENTRE]


def test_amplitude_is_zero_or_above_the_cull_and_marks_the_mask(found):
    amplitude = found.amplitude.to_value(u.K)
    assert amplitude.dtype == np.float32
    np.testing.assert_array_equal(amplitude > 0, found.mask)
    assert amplitude[found.mask].min() >= 2


def test_loops_and_stops_are_kept_for_each_sight_line(found, cube):
    assert found.n_iterations.shape == found.stop_reason.shape == SHAPE[1:]
    assert (found.n_iterations > 1).all()
    assert set(np.unique(found.stop_reason)) <= {StopReason.FRACTION, StopReason.NOISE}
    assert found.meta["parameters"]["clean_fwhm"] == "8.0 km / s"
    assert (found.meta["search"], found.meta["clean"]) == ("spectral", "numba")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"max_iterations": 2, "stop_fraction": 0}, StopReason.MAX_ITERATIONS),
        ({"stop_fraction": 0.5}, StopReason.FRACTION),
        ({"stop_fraction": 0}, StopReason.NOISE),
    ],
)
def test_each_stop_can_end_the_loop(changes, reason, cube):
    found = SpectralSearcher(SpectralParameters(**changes)).search(cube)
    assert (found.stop_reason == reason).all()
    if reason == StopReason.MAX_ITERATIONS:
        assert (found.n_iterations == 2).all()


def test_millikelvin_are_kelvin(searcher, cube, found):
    other = searcher.search(make_cube(cube.kelvin.astype(float) * 1000, unit=u.mK))
    np.testing.assert_array_equal(other.mask, found.mask)
    np.testing.assert_allclose(other.amplitude.value, found.amplitude.value, atol=1e-3)


def test_reversed_velocities_give_the_reversed_result(searcher, cube, found):
    wcs = cube.wcs.deepcopy()
    wcs.wcs.cdelt[2] *= -1
    reversed_cube = HISACube(cube.data[::-1], wcs, beam=cube.beam)
    other = searcher.search(reversed_cube)
    np.testing.assert_array_equal(other.mask[::-1], found.mask)
    np.testing.assert_allclose(other.amplitude.value[::-1], found.amplitude.value, atol=1e-3)


def test_turned_sky_gives_the_turned_result(searcher, cube, found):
    other = searcher.search(make_cube(cube.kelvin.transpose(0, 2, 1)[:, ::-1]))
    np.testing.assert_array_equal(other.mask, found.mask.transpose(0, 2, 1)[:, ::-1])


@pytest.mark.parametrize("voxels", [1, 7 * SHAPE[0] * SHAPE[2]])
def test_blocks_change_no_bit(voxels, searcher, cube, found, monkeypatch):
    monkeypatch.setattr("hisatools.search.spectral.VOXELS_PER_BLOCK", voxels)
    same(searcher.search(cube), found)


def test_workers_change_no_bit(searcher, cube, found, monkeypatch):
    monkeypatch.setattr("hisatools.search.spectral.VOXELS_PER_BLOCK", 5 * SHAPE[0] * SHAPE[2])
    same(searcher.search(cube, workers=3), found)


def test_noise_can_be_measured_before(searcher, cube, found):
    same(searcher.search(cube, noise=searcher.measure_noise(cube)), found)


def test_noise_is_that_of_the_cube_and_of_its_box_mean(searcher, cube):
    noise = searcher.measure_noise(cube)
    # The least of three thirds, each of 19 channels, lies about 14 % below the truth.
    assert np.median(noise.observed_kelvin) == pytest.approx(0.86 * NOISE_KELVIN, rel=0.08)
    assert np.median(noise.smoothed_kelvin / noise.observed_kelvin) == pytest.approx(1 / 3, rel=0.1)


def test_neighbours_are_seen_across_the_border_of_a_block(searcher, monkeypatch):
    shape = (56, 10, 5)
    cube = make_cube(make_hill(shape) + make_dip(shape, (28, 5, 2)) + make_noise(shape))
    monkeypatch.setattr("hisatools.search.spectral.VOXELS_PER_BLOCK", 5 * shape[0] * shape[2])
    divided = searcher.search(cube)
    monkeypatch.undo()
    same(divided, searcher.search(cube))


# --- blank voxels ------------------------------------------------------------------------------


def test_blank_voxels_are_never_found_and_spoil_no_others(searcher, cube, found):
    kelvin = cube.kelvin.copy()
    kelvin[:, 14:17, 14:17] = np.nan
    kelvin[27, :, 5] = np.nan
    holed = searcher.search(make_cube(kelvin), noise=searcher.measure_noise(cube))
    assert not holed.mask[np.isnan(kelvin)].any()
    assert not np.isnan(holed.amplitude).any()
    far = np.ones(SHAPE[1:], bool)
    far[9:22, 9:22] = False
    far[:, :10] = False
    np.testing.assert_array_equal(holed.amplitude[:, far], found.amplitude[:, far])
    # The cloud about the hole is still there.
    assert holed.mask[28, 12, 15]
    assert holed.mask[28, 15, 18]


def test_blank_sight_lines_are_not_cleaned(searcher, cube):
    kelvin = cube.kelvin.copy()
    kelvin[:, :4] = np.nan
    holed = searcher.search(make_cube(kelvin))
    assert (holed.stop_reason[:4] == StopReason.NOT_CLEANED).all()
    assert (holed.n_iterations[:4] == 0).all()
    assert (holed.stop_reason[4:] != StopReason.NOT_CLEANED).all()


# --- what is rejected --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"critical_brightness": 150 * u.K},
        {"cull_amplitude": 45 * u.K},
        {"threshold": 100.0},
        {"fit_significance": 100.0},
    ],
)
def test_each_limit_can_reject_everything(changes, cube):
    assert not SpectralSearcher(SpectralParameters(**changes)).search(cube).mask.any()


def test_profiles_are_cut_at_a_share_of_their_depth(cube, found):
    cut = SpectralSearcher(SpectralParameters(profile_cut=0.5)).search(cube)
    line, full = cut.mask[:, 15, 15], found.mask[:, 15, 15]
    assert 0 < line.sum() < full.sum()
    assert full[line].all()


def test_continuum_absorption_is_dropped(searcher, cube):
    kelvin = cube.kelvin.copy()
    assert searcher.search(cube).mask[28, 15, 15]
    # Away from the dip, over more than the box and the join beam.
    kelvin[2, 11:20, 11:20] = -30
    assert not searcher.search(make_cube(kelvin)).mask[:, 15, 15].any()


def test_continuum_veto_is_a_number_of_sigma(cube):
    kelvin = cube.kelvin.copy()
    kelvin[2, 11:20, 11:20] = -30
    lenient = SpectralSearcher(SpectralParameters(continuum_veto=30.0))
    assert lenient.search(make_cube(kelvin)).mask[28, 15, 15]


# --- scales ------------------------------------------------------------------------------------


def test_kernel_that_is_not_resolved_is_refused(searcher):
    coarse = make_cube(make_hill((30, 5, 5)), channel=5 * u.km / u.s)
    with pytest.raises(InputError, match=r"clean_fwhm=8 km / s is 1.6 channels of 5 km / s, .* at least 2"):
        searcher.search(coarse)


def test_kernel_that_does_not_fit_is_refused(searcher):
    short = make_cube(make_hill((8, 5, 5)))
    with pytest.raises(
        InputError,
        match=r"is 10 channels but the axis has only 8 \(6.4 km / s\).*use a larger cube or a small",
    ):
        searcher.search(short)


def test_kernel_above_a_third_of_the_band_is_a_warning(searcher):
    short = make_cube(make_hill((24, 5, 5)) + make_noise((24, 5, 5)))
    with pytest.warns(HISAWarning, match=r"clean_fwhm=8 km / s is over a third of the axis \(19.2 km"):
        searcher.search(short)


def test_lines_below_two_channels_are_widened_with_a_warning(searcher):
    shape = (40, 9, 9)
    coarse = make_cube(make_hill(shape) + make_dip(shape, (20, 4, 4)), channel=1.3 * u.km / u.s)
    with pytest.warns(HISAWarning, match=r"narrow_fwhm=2 km / s is below two channels .* 2.6 km / s is used"):
        assert searcher.search(coarse).mask[20, 4, 4]


def test_join_below_a_pixel_does_nothing_and_says_so(searcher):
    shape = (40, 9, 9)
    coarse = make_cube(make_hill(shape) + make_noise(shape), pixel=2 * u.arcmin)
    with pytest.warns(
        HISAWarning, match=r"join_fwhm=1.5 arcmin is below the pixel of 2 arcmin: it does noth"
    ):
        searcher.search(coarse)


def test_no_join_is_no_warning(cube):
    found = SpectralSearcher(SpectralParameters(join_fwhm=0 * u.arcmin)).search(cube)
    assert found.mask[CENTRE]


# --- one sight line ----------------------------------------------------------------------------


def spectrum(seed=1, depth=30.0):
    """A line in an eighth of the band, with a dip in channel 148."""
    v = np.arange(300)
    line = 100 * np.exp(-0.5 * ((v - 150) / 14) ** 2)
    line -= depth * np.exp(-4 * np.log(2) * ((v - 148) / 3) ** 2)
    line += NOISE_KELVIN * np.random.default_rng(seed).standard_normal(v.size)
    return HISACube.from_spectrum(line * u.K, (v - 150) * 0.8 * u.km / u.s)


def test_one_spectrum_is_searched(searcher):
    found = searcher.search(spectrum())
    assert found.mask.shape == (300, 1, 1)
    assert set(np.flatnonzero(found.mask)) >= {147, 148, 149}
    assert found.mask.sum() <= 12
    # There are no neighbours to join it with, so nothing may take from its amplitude.
    assert found.amplitude.value.max() == pytest.approx(27, abs=4)


def test_noise_of_one_spectrum_is_that_of_its_channels(searcher):
    noises = [searcher.measure_noise(spectrum(seed)).observed_kelvin for seed in range(20)]
    # The slopes of the line add to it.
    assert NOISE_KELVIN * 0.9 < np.mean(noises) < NOISE_KELVIN * 1.4


def test_one_spectrum_of_noise_and_hill_stays_quiet(searcher):
    flagged = [searcher.search(spectrum(seed, depth=0)).mask.mean() for seed in range(20)]
    assert np.mean(flagged) < 0.003


# --- models and backends -----------------------------------------------------------------------


def test_backends_find_the_same(cube):
    part = make_cube(cube.kelvin[:, 10:20, 11:15])
    numba, reference = (SpectralSearcher(clean=name).search(part) for name in ("numba", "reference"))
    assert reference.meta["clean"] == "reference"
    assert reference.mask.any()
    np.testing.assert_array_equal(numba.mask, reference.mask)
    np.testing.assert_array_equal(numba.n_iterations, reference.n_iterations)
    np.testing.assert_allclose(numba.amplitude.value, reference.amplitude.value, atol=1e-2)


def test_survey_noise_alone_is_rarely_a_dip(searcher):
    """Correlated 6 K noise on 70 K emission: each search alone flags a few per cent at most."""
    model = simulate_cube(ModelParameters(shape=(96, 40, 40), n_pucks=0, n_components=200), seed=4)
    assert searcher.search(model.cube).mask.mean() < 0.05
