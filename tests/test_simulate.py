"""Model cubes: what section 3.2 of the paper puts in is what is there."""

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable
from scipy.ndimage import label, maximum_filter
from scipy.stats import kstest

from hisatools import HISACube
from hisatools.errors import OutputError, ParameterError, ParameterUnitsError
from hisatools.simulate import ModelParameters, _puck_values, correlated_noise, put_pucks, simulate_cube

FWHM_TO_SIGMA = 1 / np.sqrt(8 * np.log(2))
SMALL = ModelParameters(shape=(32, 48, 40), n_pucks=8, n_components=60)


@pytest.fixture(scope="module")
def small():
    return simulate_cube(SMALL, seed=1)


@pytest.fixture(scope="module")
def crowded():
    """As many pucks as fit in a few seconds; pixels of 1 arcmin make room for them."""
    parameters = ModelParameters(
        shape=(128, 154, 154), pixel_scale=1 * u.arcmin, n_pucks=1000, n_components=20, noise=0 * u.K
    )
    return simulate_cube(parameters, seed=3)


def centre_voxels(model):
    pucks = model.pucks
    return tuple(np.rint(pucks[axis]).astype(int) for axis in ("v_pixel", "y_pixel", "x_pixel"))


def noise_of(model):
    return (model.cube.kelvin - model.t_unabsorbed.value - model.delta_t.value).astype(float)


# --- seeds -------------------------------------------------------------------------------------


def test_one_seed_is_one_cube(small):
    again = simulate_cube(SMALL, seed=1)
    np.testing.assert_array_equal(again.cube.kelvin, small.cube.kelvin)
    np.testing.assert_array_equal(again.delta_t, small.delta_t)
    assert again.seed == 1
    assert again.parameters is SMALL


def test_another_seed_is_another_cube(small):
    other = simulate_cube(SMALL, seed=2)
    for ours, theirs in (
        (small.t_unabsorbed, other.t_unabsorbed),
        (small.pucks["width"], other.pucks["width"]),
        (noise_of(small), noise_of(other)),
    ):
        assert np.isclose(ours, theirs).mean() < 0.01


def test_the_number_of_pucks_changes_neither_sky_nor_noise(small):
    empty = simulate_cube(ModelParameters(shape=SMALL.shape, n_pucks=0, n_components=60), seed=1)
    assert len(empty.pucks) == 0
    assert not empty.mask.any()
    np.testing.assert_array_equal(empty.t_unabsorbed, small.t_unabsorbed)
    np.testing.assert_allclose(noise_of(empty), noise_of(small), atol=1e-4)


# --- emission and noise ------------------------------------------------------------------------


def test_cube_is_emission_absorption_and_noise(small):
    assert small.cube.shape == small.delta_t.shape == small.t_unabsorbed.shape == SMALL.shape
    assert small.cube.kelvin.dtype == np.float32
    assert np.isfinite(small.cube.kelvin).all()
    assert (small.t_unabsorbed > 0 * u.K).all()
    assert small.delta_t.max() == 0 * u.K
    quiet = simulate_cube(
        ModelParameters(shape=SMALL.shape, n_pucks=8, n_components=60, noise=0 * u.K), seed=1
    )
    np.testing.assert_allclose(
        quiet.cube.kelvin, (quiet.t_unabsorbed + quiet.delta_t).value, rtol=1e-6, atol=1e-5
    )


@pytest.mark.parametrize("median", [70.0, 25.0])
def test_median_of_the_emission(median):
    parameters = ModelParameters(
        shape=(20, 30, 30), n_pucks=0, n_components=40, median_brightness=median * u.K
    )
    emission = simulate_cube(parameters, seed=1).t_unabsorbed
    assert np.median(emission.value) == pytest.approx(median, rel=1e-5)


def test_emission_is_smooth_over_a_beam_and_a_channel(small):
    """The steepest slope of a Gaussian is 1.43 of its peak over its FWHM: 20 arcmin or 8 km/s."""
    emission = small.t_unabsorbed.value
    for axis, limit in enumerate((1.43 * 0.82446 / 8, 1.43 * 0.3 / 20, 1.43 * 0.3 / 20)):
        assert np.abs(np.diff(emission, axis=axis)).max() < limit * emission.max()


@pytest.mark.parametrize(("pixel", "channel"), [(0.3, 0.82446), (0.5, 0.4)])
def test_noise_has_its_rms_and_correlation(pixel, channel):
    parameters = ModelParameters(
        shape=(96, 128, 128),
        pixel_scale=pixel * u.arcmin,
        channel_width=channel * u.km / u.s,
        n_pucks=0,
        n_components=10,
    )
    noise = noise_of(simulate_cube(parameters, seed=5))
    assert noise.std() == pytest.approx(6, rel=1e-3)
    assert noise.mean() == pytest.approx(0, abs=0.1)
    fwhm = [correlation_fwhm(noise, axis) * step for axis, step in ((0, channel), (1, pixel), (2, pixel))]
    np.testing.assert_allclose(fwhm, [1.319, 1.0, 1.0], rtol=0.04)


def correlation_fwhm(noise, axis):
    """FWHM in pixels of the Gaussian with which white noise was convolved."""
    shifted = np.roll(noise, 1, axis=axis)
    correlation = np.mean(noise * shifted) / np.mean(noise**2)
    return np.sqrt(-2 * np.log(2) / np.log(correlation))


# --- pucks -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "low", "high", "index"),
    [("width", 0.1, 60, 2), ("linewidth", 0.355, 16, 1), ("delta_t", 1, 40, 0)],
)
def test_pucks_follow_their_power_laws(column, low, high, index, crowded):
    values = np.abs(crowded.pucks[column].value)
    assert values.min() >= low
    assert values.max() <= high

    def cumulative(x):
        if index == 1:
            return np.log(x / low) / np.log(high / low)
        return (x ** (1 - index) - low ** (1 - index)) / (high ** (1 - index) - low ** (1 - index))

    assert kstest(values, cumulative).pvalue > 0.05


def test_puck_sizes_and_depths_are_drawn_apart(crowded):
    drawn = [crowded.pucks[name].value for name in ("width", "linewidth", "delta_t")]
    correlation = np.corrcoef(np.argsort(np.argsort(drawn, axis=1), axis=1))
    np.testing.assert_allclose(correlation, np.eye(3), atol=0.1)


def test_pucks_do_not_touch(crowded):
    labels, n_features = label(crowded.mask, np.ones((3, 3, 3)))
    at_centres = labels[centre_voxels(crowded)]
    visible = at_centres[at_centres > 0]
    assert visible.size > 950
    assert n_features == visible.size == np.unique(visible).size


def test_pucks_lie_anywhere(crowded):
    for size, axis in zip(crowded.cube.shape, ("v_pixel", "y_pixel", "x_pixel"), strict=True):
        assert kstest((crowded.pucks[axis] + 0.5) / size, "uniform").pvalue > 0.01


def test_truth_is_what_is_deeper_than_five_millikelvin(crowded):
    delta_t = crowded.delta_t.value
    np.testing.assert_array_equal(crowded.mask, delta_t < -0.005)
    assert not delta_t[~crowded.mask].any()


def test_wide_pucks_reach_the_depth_they_were_drawn_with(crowded):
    pucks, deepest = crowded.pucks, crowded.delta_t[centre_voxels(crowded)]
    assert (deepest >= pucks["delta_t"] * (1 + 1e-6)).all()
    wide = (pucks["width"] > 2.5 * u.arcmin) & (pucks["linewidth"] > 4 * u.km / u.s)
    assert wide.sum() >= 5
    expected = pucks["delta_t"][wide] * [at_centre(crowded, k) for k in np.flatnonzero(wide)]
    np.testing.assert_allclose(deepest[wide].value, expected.value, rtol=0.06)


def test_unresolved_lines_are_diluted_but_complete(crowded):
    """The sum over the channels is the integral of the line, however narrow it is."""
    pucks = crowded.pucks
    v, y, x = centre_voxels(crowded)
    narrow = (pucks["width"] > 1 * u.arcmin) & (pucks["linewidth"] < 0.82 * u.km / u.s)
    narrow &= (v > 4) & (v < crowded.cube.shape[0] - 5)
    assert narrow.sum() >= 5
    for k in np.flatnonzero(narrow):
        line = crowded.delta_t.value[v[k] - 4 : v[k] + 5, y[k], x[k]]
        area = pucks["delta_t"][k].value * pucks["linewidth"][k].value * 1.064467 * at_centre(crowded, k)
        assert line.sum() * 0.82446 == pytest.approx(area, rel=0.03)
        assert line.min() > 0.9 * pucks["delta_t"][k].value


def at_centre(model, k):
    """What the beam leaves of a disc in the pixel nearest to its centre."""
    puck = model.pucks[k]
    offset = [puck[axis] - round(puck[axis]) for axis in ("y_pixel", "x_pixel")]
    pixel = model.cube.pixel_scale.to_value(u.arcmin)
    distance = np.array([np.hypot(*offset) * pixel])
    return blurred_disc(distance, puck["width"].to_value(u.arcmin) / 2, FWHM_TO_SIGMA)[0]


@pytest.mark.parametrize("seed", range(4))
def test_disc_is_convolved_with_the_beam(seed):
    parameters = ModelParameters(shape=(40, 60, 60), n_pucks=1, n_components=4, noise=0 * u.K)
    model = simulate_cube(parameters, seed=seed)
    (puck,) = model.pucks
    channel = model.delta_t.value[centre_voxels(model)[0][0]]
    y, x = np.indices(channel.shape)
    radius = np.hypot(y - puck["y_pixel"], x - puck["x_pixel"]) * 0.3
    expected = blurred_disc(radius, puck["width"].to_value(u.arcmin) / 2, 1.0 * FWHM_TO_SIGMA)
    shape = channel / channel.min() * expected.max()
    inside = channel < 0
    np.testing.assert_allclose(shape[inside], expected[inside], atol=0.004)


def blurred_disc(distance, radius, sigma):
    """A disc convolved with a Gaussian beam, by summing over points of the beam."""
    grid = np.arange(-4.5, 4.5, 0.03) * sigma
    b, a = np.meshgrid(grid, grid, indexing="ij")
    weight = np.exp(-0.5 * (a**2 + b**2) / sigma**2)
    weight /= weight.sum()
    trial = np.linspace(0, min(distance.max(), radius + 4.5 * sigma), 100)
    values = [weight[(a + d) ** 2 + b**2 <= radius**2].sum() for d in trial]
    return np.interp(distance, trial, values, right=0)


@pytest.mark.parametrize("seed", range(3))
def test_line_is_a_gaussian_averaged_over_channels(seed):
    parameters = ModelParameters(shape=(90, 30, 30), n_pucks=1, n_components=4, noise=0 * u.K)
    model = simulate_cube(parameters, seed=seed)
    (puck,) = model.pucks
    _, y, x = centre_voxels(model)
    line = model.delta_t.value[:, y[0], x[0]]
    sub = (np.arange(90 * 50) + 0.5) / 50 - 0.5
    fwhm_chan = puck["linewidth"].value / 0.82446
    fine = np.exp(-4 * np.log(2) * ((sub - puck["v_pixel"]) / fwhm_chan) ** 2)
    expected = fine.reshape(90, 50).mean(axis=1)
    inside = line < 0
    np.testing.assert_allclose((line / line.min() * expected.max())[inside], expected[inside], atol=2e-3)


def test_too_many_pucks_are_a_clear_error(monkeypatch):
    monkeypatch.setattr("hisatools.simulate.MAX_PLACEMENTS", 300)
    parameters = ModelParameters(shape=(4, 8, 8), n_pucks=150, n_components=4)
    with pytest.raises(
        ParameterError,
        match=r"n_pucks=150 do not fit .* in shape=\(4, 8, 8\); ask for fewer pucks or a larger",
    ):
        simulate_cube(parameters, seed=1)


# --- pucks among known absorption --------------------------------------------------------------


CROWD = ModelParameters(shape=(24, 40, 40), n_pucks=60, n_components=4)


def half_occupied(shape=CROWD.shape):
    occupied = np.zeros(shape, bool)
    occupied[:, :, ::8] = occupied[:, :, :16] = True
    return occupied


def test_pucks_keep_off_what_is_occupied():
    occupied = half_occupied()
    absorption, pucks = put_pucks(CROWD, np.random.default_rng(1), occupied.copy())
    assert (absorption < 0).sum() > 100
    assert (absorption <= 0).all()
    assert not absorption[occupied].any()
    assert absorption.dtype == np.float32
    assert (pucks["x_pixel"] > 15).any()


def test_pucks_among_others_do_not_touch_each_other():
    absorption, pucks = put_pucks(CROWD, np.random.default_rng(2), half_occupied())
    labels, n_features = label(absorption < -0.005, np.ones((3, 3, 3)))
    at_centres = labels[tuple(np.rint(pucks[axis]).astype(int) for axis in ("v_pixel", "y_pixel", "x_pixel"))]
    visible = at_centres[at_centres > 0]
    assert np.unique(visible).size == visible.size == n_features > 5


def test_place_of_a_puck_is_marked_with_one_voxel_about_it():
    before = half_occupied()
    occupied = before.copy()
    absorption, _ = put_pucks(CROWD, np.random.default_rng(3), occupied)
    np.testing.assert_array_equal(occupied, before | maximum_filter(absorption < 0, size=3))


def test_pucks_that_find_no_room_are_left_out_and_not_listed(monkeypatch):
    monkeypatch.setattr("hisatools.simulate.CROWDED_PLACEMENTS", 20)
    nothing, none_placed = put_pucks(CROWD, np.random.default_rng(1), np.ones(CROWD.shape, bool))
    assert not nothing.any()
    assert len(none_placed) == 0
    _, some = put_pucks(CROWD, np.random.default_rng(1), half_occupied())
    _, all_of_them = put_pucks(
        ModelParameters(shape=CROWD.shape, n_pucks=5, n_components=4), np.random.default_rng(1)
    )
    assert 0 < len(some) < 60
    assert len(all_of_them) == 5
    assert some.colnames == none_placed.colnames == all_of_them.colnames
    assert some["width"].unit == u.arcmin


def test_listed_pucks_are_those_that_are_there():
    """Each one alone, put where the table says, is found in the cube."""
    absorption, pucks = put_pucks(CROWD, np.random.default_rng(4), half_occupied())
    total = np.zeros_like(absorption)
    for puck in pucks:
        centre = [puck[axis] for axis in ("v_pixel", "y_pixel", "x_pixel")]
        shape = puck["width"].value, puck["linewidth"].value, -puck["delta_t"].value
        box, values = _puck_values(np.array(centre), shape, CROWD)
        total[box] -= values
    np.testing.assert_allclose(absorption, total, atol=1e-5)


def test_free_sky_gives_the_pucks_of_a_model(small):
    free = np.zeros(SMALL.shape, bool)
    streams = np.random.SeedSequence(1).spawn(3)
    absorption, pucks = put_pucks(SMALL, np.random.default_rng(streams[1]), free)
    np.testing.assert_array_equal(absorption, small.delta_t.value)
    assert (pucks == small.pucks).all()


# --- correlated noise --------------------------------------------------------------------------


@pytest.mark.parametrize(("beam_pix", "line_chan"), [(3.3, 1.6), (2.0, 0), (0, 2.5), (0, 0)])
def test_correlated_noise_has_rms_one_and_its_correlation(beam_pix, line_chan):
    noise = correlated_noise((64, 96, 96), beam_pix, line_chan, np.random.default_rng(1)).astype(float)
    assert noise.std() == pytest.approx(1, rel=1e-4)
    assert noise.mean() == pytest.approx(0, abs=0.03)
    for axis, fwhm in enumerate((line_chan, beam_pix, beam_pix)):
        correlation = np.mean(noise * np.roll(noise, 1, axis=axis))
        expected = np.exp(-2 * np.log(2) / fwhm**2) if fwhm else 0
        assert correlation == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize("shape", [(1, 40, 40), (60, 1, 1), (20, 1, 30)])
def test_correlated_noise_of_flat_cubes(shape):
    noise = correlated_noise(shape, 3.0, 2.0, np.random.default_rng(1))
    assert noise.shape == shape
    assert noise.dtype == np.float32
    assert noise.std() == pytest.approx(1, rel=1e-4)


def test_correlated_noise_depends_on_its_generator_alone():
    one, again, other = (
        correlated_noise((8, 9, 10), 2.0, 1.5, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, again)
    assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.3


# --- shapes, scales and files ------------------------------------------------------------------


def test_model_tells_its_scales(small):
    assert small.pixel_scale.to_value(u.arcmin) == pytest.approx(0.3)
    assert small.channel_width.to_value(u.km / u.s) == pytest.approx(0.82446)


@pytest.mark.parametrize("pixel", [0.2, 1.0, 5.0])
def test_any_pixel_and_channel(pixel):
    parameters = ModelParameters(
        shape=(24, 30, 36),
        pixel_scale=pixel * u.arcmin,
        channel_width=1.5 * u.km / u.s,
        n_pucks=12,
        n_components=20,
    )
    model = simulate_cube(parameters, seed=1)
    assert model.cube.pixel_scale.to_value(u.arcmin) == pytest.approx(pixel)
    assert model.cube.channel_width.to_value(u.km / u.s) == pytest.approx(1.5)
    assert noise_of(model).std() == pytest.approx(6, rel=1e-3)
    assert np.median(model.t_unabsorbed.value) == pytest.approx(70, rel=1e-5)
    assert model.mask.any()


def test_cube_can_be_searched_and_names_its_beam(small):
    assert small.cube.beam.major.to_value(u.arcmin) == pytest.approx(1)
    assert small.cube.meta["object"] == "hisatools model, seed 1"
    assert small.cube.mends == ()
    assert np.median(small.cube.velocity.value) == pytest.approx(-40)


def test_scaled_keeps_the_crowding():
    half = ModelParameters().scaled((64, 512, 512), noise=1 * u.K)
    assert (half.shape, half.n_pucks, half.n_components) == ((64, 512, 512), 1024, 2048)
    assert half.noise == 1 * u.K
    tiny = ModelParameters().scaled((8, 16, 16))
    assert (tiny.n_pucks, tiny.n_components) == (1, 64)


def test_files_hold_the_model(small, tmp_path):
    small.write(tmp_path / "model")
    names = {"cube.fits", "truth_delta_t.fits", "truth_t_unabsorbed.fits", "pucks.ecsv"}
    assert {path.name for path in (tmp_path / "model").iterdir()} == names
    cube = HISACube.read(tmp_path / "model" / "cube.fits")
    assert cube.mends == ()
    np.testing.assert_array_equal(cube.kelvin, small.cube.kelvin)
    np.testing.assert_allclose(cube.velocity.value, small.cube.velocity.value)
    assert cube.beam.major.to_value(u.arcmin) == pytest.approx(1)
    for name in ("delta_t", "t_unabsorbed"):
        with fits.open(tmp_path / "model" / f"truth_{name}.fits") as hdus:
            np.testing.assert_array_equal(hdus[0].data, getattr(small, name).value)
            assert hdus[0].header["BUNIT"] == "K"
    pucks = QTable.read(tmp_path / "model" / "pucks.ecsv")
    assert pucks.colnames == small.pucks.colnames
    assert (pucks["delta_t"] == small.pucks["delta_t"]).all()
    assert pucks["width"].unit == u.arcmin


def test_files_are_not_replaced_unasked(small, tmp_path):
    small.write(tmp_path / "model")
    with pytest.raises(OutputError, match="exists already"):
        small.write(tmp_path / "model")
    small.write(tmp_path / "model", overwrite=True)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"shape": (32, 48)}, ParameterError, r"shape must be three whole numbers .* got \(32, 48\)"),
        ({"shape": (32, 48, 4.0)}, ParameterError, "shape must be three whole numbers"),
        ({"shape": (0, 48, 48)}, ParameterError, "shape must be three whole numbers"),
        ({"n_pucks": -1}, ParameterError, "n_pucks must be finite and at least 0, got -1"),
        ({"n_pucks": 2.5}, ParameterError, "n_pucks must be a whole number, got 2.5"),
        ({"n_components": 0}, ParameterError, "n_components must be finite and above 0, got 0"),
        ({"noise": 6}, ParameterUnitsError, "noise needs a unit of K, got 6; write for example noise=2"),
        ({"noise": -1 * u.K}, ParameterError, "noise must be finite and at least 0 K, got -1 K"),
        ({"pixel_scale": 0 * u.deg}, ParameterError, "pixel_scale must be finite and above 0 arcmin"),
        ({"channel_width": 1 * u.m}, ParameterUnitsError, "channel_width needs a unit of km / s, got 1.0 m"),
    ],
)
def test_impossible_parameters_are_refused(changes, error, message):
    with pytest.raises(error, match=message):
        ModelParameters(**changes)
