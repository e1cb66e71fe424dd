"""The whole extraction: depth, sign, filters and passes, and what must not change the answer."""

import json
import warnings
from itertools import pairwise

import astropy.units as u
import numpy as np
import pytest
from radio_beam import Beam
from scipy.ndimage import gaussian_filter

from hisatools import (
    ExtractionParameters,
    HISACube,
    HISAExtractor,
    MaskBit,
    SpatialParameters,
    SpatialSearcher,
    SpectralParameters,
    SpectralSearcher,
    UnabsorbedEstimator,
)
from hisatools.backends import default_name
from hisatools.errors import BackendError, HISAWarning, InputError, ParameterError
from hisatools.simulate import ModelParameters, model_wcs, simulate_cube

SHAPE = (56, 72, 72)
CENTRE = (28, 36, 36)
NOISE_KELVIN = 2.0
ARRAYS = ("delta_t", "t_unabsorbed", "flags", "labels", "first_pass")


def make_cube(kelvin, *, unit=u.K, **extras):
    """Pixels of 1 arcmin, so that 20 arcmin fit thrice; channels of 0.8 km/s."""
    parameters = ModelParameters(shape=kelvin.shape, channel_width=0.8 * u.km / u.s, pixel_scale=1 * u.arcmin)
    return HISACube(np.float32(kelvin) * unit, model_wcs(parameters), beam=Beam(2 * u.arcmin), **extras)


def make_hill(shape=SHAPE):
    """Smooth emission of up to 110 K."""
    v, y, x = np.indices(shape)
    line = 100 * np.exp(-0.5 * ((v - shape[0] / 2 + 0.5) / 16) ** 2)
    return line * (1 + 0.1 * np.sin(np.pi * x / shape[2]) + 0.05 * y / shape[1])


def make_dip(shape=SHAPE, centre=CENTRE, depth=30.0, fwhm_chan=3.0, radius=4.0):
    """A round cloud with a line of 2.4 km/s."""
    v, y, x = np.indices(shape)
    line = np.exp(-4 * np.log(2) * ((v - centre[0]) / fwhm_chan) ** 2)
    return -depth * line * (np.hypot(y - centre[1], x - centre[2]) <= radius)


def make_noise(shape=SHAPE, seed=1):
    """Correlated over 1.6 channels and 2 pixels."""
    noise = np.random.default_rng(seed).standard_normal(shape)
    noise = gaussian_filter(noise, np.array([1.6, 2, 2]) / 2.3548, mode="wrap")
    return noise * NOISE_KELVIN / noise.std()


def same(result, other, part=...):
    """Arrays equal to the bit, NaN included."""
    for name in ARRAYS:
        np.testing.assert_array_equal(
            np.asarray(getattr(result, name)), np.asarray(getattr(other, name))[part], err_msg=name
        )


def same_sky(result, other):
    """The same features at the same places on the sky."""
    assert len(result.catalog) == len(other.catalog) > 0
    for name in ("lon", "lat", "velocity", "velocity_peak", "delta_t_peak", "solid_angle", "velocity_fwhm"):
        np.testing.assert_allclose(
            result.catalog[name].value, other.catalog[name].value, rtol=1e-6, atol=1e-7, err_msg=name
        )
    assert list(result.catalog["name"]) == list(other.catalog["name"])


@pytest.fixture(scope="module")
def cube():
    """Two clouds of 30 and 15 K in noise of 2 K."""
    dips = make_dip() + make_dip(centre=(34, 18, 54), depth=15, radius=5)
    return make_cube(make_hill() + dips + make_noise())


@pytest.fixture(scope="module")
def result(cube):
    return HISAExtractor().run(cube)


@pytest.fixture(scope="module")
def one_pass(cube):
    return HISAExtractor(n_passes=1).run(cube)


@pytest.fixture(scope="module")
def little():
    """A cube on which a run takes a moment: one cloud."""
    shape = (36, 64, 64)
    dip = make_dip(shape, (18, 30, 30))
    return make_cube(make_hill(shape) + dip + make_noise(shape, seed=2))


@pytest.fixture(scope="module")
def little_result(little):
    return HISAExtractor(n_passes=2).run(little)


# --- physics -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("centre", "depth"), [(CENTRE, 30), ((34, 18, 54), 15)])
def test_dip_comes_back_at_its_depth(centre, depth, result):
    core = make_dip(centre=centre, depth=depth, radius=3) < -0.5 * depth
    assert result.mask[core].mean() > 0.9
    found = core & result.mask
    truth = make_dip(centre=centre, depth=depth)[found]
    assert np.mean(result.delta_t.value[found] - truth) == pytest.approx(0, abs=3)
    assert np.mean(result.t_unabsorbed.value[found] - make_hill()[found]) == pytest.approx(0, abs=3)


def test_catalogue_has_one_row_for_each_cloud(result, cube):
    assert len(result.catalog) == 2
    for centre, depth in ((CENTRE, 30), ((34, 18, 54), 15)):
        row = result.catalog[np.argmin(np.abs(result.catalog["delta_t_peak"].value + depth))]
        assert row["velocity"].to_value("km/s") == pytest.approx(cube.velocity.value[centre[0]], abs=0.5)
        lon, lat = cube.wcs.celestial.pixel_to_world_values(centre[2], centre[1])
        assert row["lon"].to_value("deg") == pytest.approx(float(lon), abs=1 / 60)
        assert row["lat"].to_value("deg") == pytest.approx(float(lat), abs=1 / 60)
        assert row["velocity_fwhm"].to_value("km/s") == pytest.approx(2.4, abs=0.7)
        assert not row["edge"]


def test_absorption_is_negative_and_adds_up(result, cube):
    delta_t, t_unabsorbed = result.delta_t.value, result.t_unabsorbed.value
    assert (delta_t[result.mask] < 0).all()
    assert not delta_t[~result.mask].any()
    np.testing.assert_array_equal(t_unabsorbed[~result.mask], cube.kelvin[~result.mask])
    np.testing.assert_array_equal(delta_t, cube.kelvin - t_unabsorbed)
    np.testing.assert_allclose(result.t_on.value, cube.kelvin, rtol=3e-7)


def test_uncertainty_holds_that_of_noise_and_of_t_unabsorbed(result):
    assert np.isfinite(result.sigma_delta_kelvin).all()
    assert (result.sigma_unabsorbed_kelvin > 0).all()
    noise = np.sqrt(result.sigma_delta_kelvin**2 - result.sigma_unabsorbed_kelvin**2)
    # The noise is measured where the absorption is, and comes out on the safe side.
    assert 0.9 * NOISE_KELVIN < np.median(noise) < 1.5 * NOISE_KELVIN
    assert (result.catalog["delta_t_peak_error"].value > 0.8 * NOISE_KELVIN).all()


def test_accepted_is_what_both_searches_found(result):
    needed = MaskBit.SPECTRAL | MaskBit.SPATIAL
    assert (result.flags[result.mask] == needed | MaskBit.ACCEPTED).all()
    np.testing.assert_array_equal(result.union, (result.flags & needed) > 0)
    np.testing.assert_array_equal(result.first_pass > 0, result.mask)
    np.testing.assert_array_equal(result.labels > 0, result.mask)
    np.testing.assert_array_equal(np.bincount(result.labels.ravel())[1:], result.catalog["n_voxels"])


@pytest.mark.parametrize("seed", [11, 12])
def test_noise_alone_stays_quiet(seed):
    quiet = HISAExtractor(n_passes=2).run(make_cube(make_hill() + make_noise(seed=seed)))
    assert quiet.mask.mean() < 0.003
    assert (quiet.delta_t.value <= 0).all()


def test_survey_sky_without_absorption_stays_quiet():
    """Section 3.2 without pucks: 70 K, with noise of 6 K in pixels of 0.5 arcmin."""
    parameters = ModelParameters(
        shape=(64, 128, 128), pixel_scale=0.5 * u.arcmin, n_pucks=0, n_components=300
    )
    model = simulate_cube(parameters, seed=8)
    assert HISAExtractor(n_passes=2).run(model.cube).mask.mean() < 0.003


def test_emission_without_noise_and_dips_gives_nothing():
    smooth = HISAExtractor(n_passes=1).run(make_cube(make_hill((40, 64, 64))))
    assert not smooth.mask.any()
    assert len(smooth.catalog) == 0


def test_emission_line_is_no_absorption():
    shape = (36, 64, 64)
    bright = make_cube(make_hill(shape) - make_dip(shape, (18, 30, 30)) + make_noise(shape))
    found = HISAExtractor(n_passes=1).run(bright)
    assert not found.mask[16:21, 28:33, 28:33].any()


# --- what must not change the answer -----------------------------------------------------------


def test_millikelvin_are_kelvin(little, little_result):
    other = HISAExtractor(n_passes=2).run(make_cube(little.kelvin.astype(float) * 1000, unit=u.mK))
    np.testing.assert_array_equal(other.mask, little_result.mask)
    np.testing.assert_allclose(other.delta_t.value, little_result.delta_t.value, atol=1e-3)


def test_reversed_velocities_give_the_reversed_result(little, little_result):
    wcs = little.wcs.deepcopy()
    n_v = little.shape[0]
    wcs.wcs.cdelt[2] *= -1
    wcs.wcs.crpix[2] = n_v + 1 - wcs.wcs.crpix[2]
    turned = HISACube(little.data[::-1], wcs, beam=little.beam)
    np.testing.assert_allclose(turned.velocity.value[::-1], little.velocity.value)
    other = HISAExtractor(n_passes=2).run(turned)
    np.testing.assert_array_equal(other.mask[::-1], little_result.mask)
    np.testing.assert_array_equal(other.flags[::-1], little_result.flags)
    np.testing.assert_allclose(other.delta_t.value[::-1], little_result.delta_t.value, atol=1e-3)
    same_sky(other, little_result)


def padded(cube, margins):
    """The cube with blank (before, after) along each axis, and its WCS moved along."""
    wcs = cube.wcs.deepcopy()
    wcs.wcs.crpix = [pixel + before for pixel, (before, _) in zip(wcs.wcs.crpix, margins[::-1], strict=True)]
    kelvin = np.pad(cube.kelvin, margins, constant_values=np.nan)
    return HISACube(kelvin * u.K, wcs, beam=cube.beam)


@pytest.mark.parametrize(
    "margins",
    [((0, 0), (7, 5), (0, 31)), ((3, 4), (0, 0), (0, 0)), ((1, 0), (2, 40), (9, 1))],
)
def test_blank_margin_changes_nothing(margins, little, little_result):
    wide = HISAExtractor(n_passes=2).run(padded(little, margins))
    inside = tuple(slice(before, before + n) for (before, _), n in zip(margins, little.shape, strict=True))
    same(little_result, wide, inside)
    margin = np.ones(wide.flags.shape, bool)
    margin[inside] = False
    assert np.isnan(wide.delta_t.value[margin]).all()
    assert np.isnan(wide.t_unabsorbed.value[margin]).all()
    for name in ("flags", "labels", "first_pass"):
        assert not getattr(wide, name)[margin].any()
    same_sky(wide, little_result)
    (first,), (x_min,) = little_result.catalog["x_min"], wide.catalog["x_min"]
    assert x_min == first + margins[2][0]


@pytest.mark.parametrize("voxels", [1, 11 * 36 * 64])
def test_blocks_and_workers_change_no_bit(voxels, little, little_result, monkeypatch):
    monkeypatch.setattr("hisatools.search.spectral.VOXELS_PER_BLOCK", voxels)
    other = HISAExtractor(n_passes=2).run(little, workers=2)
    same(little_result, other)
    assert other.meta["passes"] == little_result.meta["passes"]


def test_a_second_run_of_one_extractor_is_the_same(little, little_result):
    extractor = HISAExtractor(n_passes=2)
    extractor.run(make_cube(make_hill((36, 64, 64)) + make_noise((36, 64, 64), seed=9)))
    before = little.kelvin.copy()
    same(little_result, extractor.run(little))
    np.testing.assert_array_equal(little.kelvin, before)


def test_progress_bars_change_nothing(little, little_result, capsys):
    same(little_result, HISAExtractor(n_passes=2).run(little, progress=True))
    shown = capsys.readouterr().err
    assert "spectral search" in shown
    assert "spatial search" in shown


def test_backends_accept_the_same():
    shape = (34, 24, 24)
    tiny = make_cube(make_hill(shape) + make_dip(shape, (17, 12, 12), radius=2.5) + make_noise(shape))
    small_kernel = SpatialParameters(clean_fwhm=7 * u.arcmin, smoothing_box=2.1 * u.arcmin)
    runs = [
        HISAExtractor(
            spectral=SpectralSearcher(clean=clean),
            spatial=SpatialSearcher(small_kernel, clean=clean, convolution=convolution),
            n_passes=1,
        ).run(tiny)
        for clean, convolution in (("numba", "scipy"), ("reference", "reference"))
    ]
    assert runs[0].mask.any()
    np.testing.assert_array_equal(runs[0].mask, runs[1].mask)
    np.testing.assert_allclose(runs[0].delta_t.value, runs[1].delta_t.value, atol=1e-3)
    assert runs[1].meta["backends"] == {
        "clean": "reference",
        "clean (spatial)": "reference",
        "convolution": "reference",
    }


# --- blank voxels and weights ------------------------------------------------------------------


def test_holes_stay_blank_and_spare_the_rest(little):
    kelvin = little.kelvin.copy()
    holes = np.zeros(little.shape, bool)
    holes[:, 30:32, 30:32] = holes[17:19, 27, 30] = holes[5, 50, :20] = True
    kelvin[holes] = np.nan
    holed = HISAExtractor(n_passes=2).run(make_cube(kelvin))
    np.testing.assert_array_equal(np.isnan(holed.delta_t.value), holes)
    np.testing.assert_array_equal(np.isnan(holed.t_unabsorbed.value), holes)
    assert not holed.flags[holes].any()
    assert not holed.labels[holes].any()
    core = (make_dip(little.shape, (18, 30, 30), radius=3) < -15) & ~holes
    assert holed.mask[core].mean() > 0.9
    assert np.mean(holed.delta_t.value[core]) == pytest.approx(-25, abs=3)


def test_blank_channel_inside_is_no_obstacle(little):
    kelvin = little.kelvin.copy()
    kelvin[6] = np.nan
    holed = HISAExtractor(n_passes=1).run(make_cube(kelvin))
    assert holed.mask[18, 30, 30]
    assert np.isnan(holed.delta_t.value[6]).all()


def test_weights_below_the_limit_are_not_accepted(little):
    weights = np.full(little.shape[1:], 0.382)
    weights[:, 30:32] = 0.381
    weights[:, 32:] = np.nan
    weighted = HISAExtractor(n_passes=1).run(make_cube(little.kelvin, weights=weights))
    assert weighted.mask[18, 30, 29]
    assert not weighted.mask[:, :, 30:].any()
    # The searches see the whole sky: a weight is no blank.
    assert weighted.union[18, 30, 30]
    lenient = HISAExtractor(parameters=ExtractionParameters(min_weight=0.3), n_passes=1)
    result = lenient.run(make_cube(little.kelvin, weights=weights))
    assert result.mask[18, 30, 31]
    assert not result.mask[:, :, 32:].any()


# --- filters -----------------------------------------------------------------------------------


def test_critical_brightness_is_the_least_t_unabsorbed(cube, one_pass):
    assert one_pass.t_unabsorbed.value[one_pass.mask].min() >= 70
    parameters = ExtractionParameters(critical_brightness=98 * u.K)
    bright = HISAExtractor(parameters=parameters, n_passes=1).run(cube)
    assert 0 < bright.mask.sum() < one_pass.mask.sum()
    assert bright.t_unabsorbed.value[bright.mask].min() >= 98
    # It decides what is accepted, not what the searches find.
    np.testing.assert_array_equal(bright.union, one_pass.union)


def test_without_the_significance_filter_more_is_accepted(little):
    noisy = make_cube(little.kelvin + 2.5 * make_noise(little.shape, seed=6))
    default, every = (
        HISAExtractor(parameters=parameters, n_passes=1).run(noisy)
        for parameters in (None, ExtractionParameters(min_significance=0))
    )
    assert default.mask.any()
    # Not all: what is accepted at first guides the second look at the maps.
    assert every.mask[default.mask].mean() > 0.95
    needed = MaskBit.SPECTRAL | MaskBit.SPATIAL
    assert ((every.flags[every.mask] & needed) == needed).all()
    # The filter drops features whole, and small ones.
    dropped = [
        label for label in range(1, every.labels.max() + 1) if not default.mask[every.labels == label].any()
    ]
    assert len(dropped) >= 3
    kept_voxels = default.catalog["n_voxels"].max()
    assert max(np.count_nonzero(every.labels == label) for label in dropped) < kept_voxels / 5


def test_continuum_absorption_is_dropped(little, little_result):
    """Absorption of a continuum source is seen as brightness far below zero in other channels too."""
    assert little_result.mask[:, 30, 30].any()
    kelvin = little.kelvin.copy()
    kelvin[2, 25:36, 25:36] = -50
    vetoed = HISAExtractor(n_passes=1).run(make_cube(kelvin))
    assert not vetoed.mask[:, 29:32, 29:32].any()
    lenient = SpectralSearcher(SpectralParameters(continuum_veto=100.0))
    assert HISAExtractor(spectral=lenient, n_passes=1).run(make_cube(kelvin)).mask[18, 30, 30]


# --- passes ------------------------------------------------------------------------------------


def test_flags_only_grow_from_pass_to_pass(result, one_pass):
    searches = np.uint8(MaskBit.SPECTRAL | MaskBit.SPATIAL)
    np.testing.assert_array_equal(one_pass.flags & searches & ~result.flags, 0)
    passes = result.meta["passes"]
    for earlier, later in pairwise(passes):
        assert all(later[name] >= earlier[name] for name in ("spectral", "spatial", "union"))


def test_first_pass_is_the_first(result, one_pass):
    assert set(np.unique(one_pass.first_pass)) == {0, 1}
    both = one_pass.mask & result.mask
    assert (result.first_pass[both] == 1).all()
    assert (result.first_pass[result.mask & ~one_pass.mask] > 1).all()
    assert result.first_pass.max() <= len(result.meta["passes"])


def test_counts_of_the_passes_are_those_of_the_result(result):
    passes = result.meta["passes"]
    assert [counts["pass"] for counts in passes] == list(range(1, len(passes) + 1))
    last = passes[-1]
    assert last["accepted"] == result.mask.sum()
    assert last["union"] == result.union.sum()
    assert last["spectral"] == ((result.flags & MaskBit.SPECTRAL) > 0).sum()
    assert last["spatial"] == ((result.flags & MaskBit.SPATIAL) > 0).sum()
    assert passes[0]["new"] == passes[0]["accepted"]


def test_passes_end_when_nothing_is_new(little):
    patient = HISAExtractor(n_passes=40).run(little)
    passes = patient.meta["passes"]
    assert len(passes) < 40
    assert passes[-1]["new"] == 0
    assert all(counts["new"] > 0 for counts in passes[:-1])


def test_feature_larger_than_the_clean_kernel_is_found_whole_in_one_pass():
    """A cloud of 24 arcmin: U sinks into it, unless it is fitted to what is known to lie behind."""
    shape = (40, 80, 80)
    dip = make_dip(shape, (20, 40, 40), radius=12, depth=35)
    large = make_cube(make_hill(shape) + dip + 0.5 * make_noise(shape))
    body = dip < -10
    result = HISAExtractor(n_passes=1).run(large)
    assert SpatialSearcher().search(large).mask[body].mean() < 0.8
    assert result.mask[body].mean() > 0.95
    assert abs(np.mean((result.delta_t.value - dip)[body])) < 5


# --- one sight line ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def spectrum():
    v = np.arange(300)
    line = 100 * np.exp(-0.5 * ((v - 150) / 14) ** 2)
    line -= 30 * np.exp(-4 * np.log(2) * ((v - 148) / 3) ** 2)
    line += NOISE_KELVIN * np.random.default_rng(4).standard_normal(v.size)
    return HISACube.from_spectrum(line * u.K, (v - 150) * 0.8 * u.km / u.s)


def test_one_sight_line_needs_the_spectral_search_only(spectrum):
    result = HISAExtractor().run(spectrum)
    assert result.mask[[147, 148, 149], 0, 0].all()
    assert not (result.flags & MaskBit.SPATIAL).any()
    assert "one sight line: spectral search only" in result.meta["remarks"]
    (row,) = result.catalog
    assert row["velocity"].to_value("km/s") == pytest.approx(-1.6, abs=0.5)
    assert row["delta_t_peak"].to_value("K") == pytest.approx(-30, abs=7)


def test_one_sight_line_with_blank_channels(spectrum):
    kelvin = spectrum.kelvin.copy()
    kelvin[:20] = kelvin[200:203] = np.nan
    holed = HISAExtractor().run(spectrum.with_brightness(kelvin))
    np.testing.assert_array_equal(np.isnan(holed.delta_t.value), np.isnan(kelvin))
    assert holed.mask[148, 0, 0]


# --- provenance --------------------------------------------------------------------------------


def test_provenance_says_how_and_json_can_hold_it(result, cube):
    meta = json.loads(json.dumps(result.meta))
    assert meta == result.meta
    assert set(meta["parameters"]) == {"spectral", "spatial", "shell", "extraction", "n_passes"}
    assert meta["parameters"]["n_passes"] == 3
    assert meta["parameters"]["extraction"]["critical_brightness"] == "70.0 K"
    assert meta["strategies"] == {"unabsorbed": "shell"}
    assert meta["backends"]["clean"] == meta["backends"]["clean (spatial)"] == default_name("clean")
    assert meta["backends"]["convolution"] == default_name("convolution")
    assert {"numpy", "scipy", "numba", "astropy"} <= set(meta["versions"])
    assert all(seconds >= 0 for seconds in meta["timings"].values())
    assert {"noise", "spectral search", "spatial search", "unabsorbed emission"} <= set(meta["timings"])
    assert meta["remarks"] == []
    assert result.beam == cube.beam


def test_remark_says_why_nothing_was_found():
    shape = (36, 64, 64)
    faint = 0.2 * make_hill(shape) + 0.1 * make_noise(shape)
    (remark,) = HISAExtractor(n_passes=1).run(make_cube(faint)).meta["remarks"]
    assert "no absorption: the brightest voxel is" in remark
    assert "T_U is below T_crit = 70 K everywhere" in remark


def test_remark_says_that_the_searches_found_nothing_in_common():
    shape = (36, 64, 64)
    quiet = HISAExtractor(n_passes=1).run(make_cube(make_hill(shape) + make_noise(shape)))
    (remark,) = quiet.meta["remarks"]
    assert remark.startswith("no absorption: what the searches found was not found by both")


# --- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize("n_passes", [0, -1, 256, 2.0, "3", None])
def test_impossible_number_of_passes(n_passes):
    with pytest.raises(
        ParameterError, match=f"n_passes must be a whole number from 1 to 255, got {n_passes!r}"
    ):
        HISAExtractor(n_passes=n_passes)


def test_unknown_names_list_the_known_ones():
    with pytest.raises(ParameterError, match="unknown preset 'vgps9'; known presets: cgps"):
        HISAExtractor.preset("vgps9")
    with pytest.raises(BackendError, match=r"unknown clean backend 'fast'; installed: .*numba, reference"):
        HISAExtractor.preset("cgps", clean="fast")
    with pytest.raises(BackendError, match=r"unknown convolution backend 'fast'; .*gridded, .*scipy"):
        HISAExtractor.preset("cgps", convolution="fast")
    with pytest.raises(ParameterError, match=r"unknown strategy .*'guess'; known: .*shell"):
        UnabsorbedEstimator("guess")


def test_preset_takes_its_arguments():
    extractor = HISAExtractor.preset("cgps", clean="reference", convolution="reference", n_passes=2)
    assert extractor.n_passes == 2
    assert (extractor.spectral.clean_name, extractor.spatial.clean_name) == ("reference", "reference")
    assert extractor.spatial.convolution_name == "reference"
    assert extractor.parameters == ExtractionParameters()


def test_mask_of_another_shape_is_refused(little):
    with pytest.raises(InputError, match=r"mask.*\(36, 64, 63\).*\(36, 64, 64\)"):
        UnabsorbedEstimator().estimate(little, np.zeros((36, 64, 63), bool))


def test_field_smaller_than_the_kernel_is_refused(little):
    narrow = little.cutout((slice(None), slice(0, 15), slice(None)))
    with pytest.raises(InputError, match=r"clean_fwhm=20 arcmin is 20 pixels but the axis has only 15"):
        HISAExtractor().run(narrow)


def test_fault_of_the_second_search_is_said_before_the_first(little, monkeypatch):
    """The spectral search of a survey cube takes an hour; the field is known to be too small before."""

    def never(*_, **__):
        pytest.fail("the spectral search must not have started")

    monkeypatch.setattr(SpectralSearcher, "search", never)
    with pytest.raises(InputError, match="too small"):
        HISAExtractor().run(little.cutout((slice(None), slice(0, 15), slice(None))))


@pytest.mark.parametrize("pixel", [1.0, 1.5, 3.0, 4.0])
def test_deep_cloud_is_accepted_in_pixels_of_any_size(pixel):
    shape = (60, 45, 45)
    kelvin = (
        make_hill(shape) + make_dip(shape, centre=(30, 22, 22), depth=50, radius=2) + make_noise(shape) / 2
    )
    parameters = ModelParameters(
        shape=shape, channel_width=0.8 * u.km / u.s, pixel_scale=pixel * u.arcmin, noise=1 * u.K
    )
    cube = HISACube(np.float32(kelvin) * u.K, model_wcs(parameters))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", HISAWarning)  # of kernels that are large for a small field
        result = HISAExtractor(n_passes=2).run(cube)
    assert result.mask[30, 22, 22]
    assert result.delta_t[30, 22, 22].value == pytest.approx(-50, abs=6)


@pytest.mark.parametrize("n_v", [12, 20, 32])
def test_deep_dip_is_found_in_few_channels(n_v):
    v = np.arange(n_v)
    emission = 120 * np.exp(-0.5 * ((v - n_v / 2) / 12) ** 2)
    dip = 50 * np.exp(-4 * np.log(2) * ((v - n_v // 2) / 2.4) ** 2)
    noise = 0.5 * np.random.default_rng(3).standard_normal(n_v)
    spectrum = HISACube.from_spectrum((emission - dip + noise) * u.K, v * u.km / u.s)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", HISAWarning)  # of a kernel that is large for the band
        result = HISAExtractor().run(spectrum)
    assert result.mask[n_v // 2, 0, 0]


def test_noise_that_cannot_be_measured_is_said_and_rejects_nothing():
    v = np.arange(11)
    spectrum = (100 - 50 * np.exp(-4 * np.log(2) * ((v - 5) / 2.4) ** 2)) * u.K
    with pytest.warns(HISAWarning) as caught:
        HISAExtractor().run(HISACube.from_spectrum(spectrum, v * u.km / u.s))
    assert any("the noise of the spectra cannot be measured" in str(one.message) for one in caught)
