"""The CO of features: the same whatever the grid of the CO cube, and NaN where it says nothing."""

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from numpy.testing import assert_allclose, assert_array_equal
from radio_beam import Beam
from spectral_cube import SpectralCube

from hisatools import HISACatalog, HISACube
from hisatools.datasets import example_result
from hisatools.errors import HISAWarning, InputError, MendWarning, ParameterError, ParameterUnitsError
from hisatools.io.sky import sky_frame
from hisatools.tracers import CO_COLUMNS, TracerFlag, add_co
from hisatools.tracers.spectra import mean_spectra, tracer_cube

KMS = u.km / u.s
CO_FREQUENCY = 115.2712018 * u.GHz


def wcs_of(*, frame="galactic", pixel=1.2, channel=0.4, start=-60.0, n=(100, 64, 64)):
    """A grid about the field of the example, 1 deg wide at 140, 0."""
    names = {"galactic": ("GLON-TAN", "GLAT-TAN"), "icrs": ("RA---TAN", "DEC--TAN")}[frame]
    centre = SkyCoord(
        *example_result().wcs.celestial.wcs_pix2world(104, 104, 0), unit="deg", frame="galactic"
    )
    sky = centre.transform_to(frame).spherical
    wcs = WCS(naxis=3)
    wcs.wcs.ctype = [*names, "VRAD"]
    wcs.wcs.cunit = ["deg", "deg", "m/s"]
    wcs.wcs.crval = [sky.lon.deg, sky.lat.deg, start * 1e3]
    wcs.wcs.crpix = [n[2] / 2 + 0.5, n[1] / 2 + 0.5, 1]
    wcs.wcs.cdelt = [-pixel / 60, pixel / 60, channel * 1e3]
    wcs.wcs.specsys, wcs.wcs.restfrq = "LSRK", CO_FREQUENCY.to_value(u.Hz)
    wcs.wcs.set()
    return wcs


def co_cube(wcs, n=(100, 64, 64), *, noise=0.05, lines=((-36.0, 4.0, 1.2),), slope=0.0):
    """Lines (velocity, brightness, sigma) all over the sky; the first becomes brighter with latitude."""
    velocity = wcs.sub([3]).wcs_pix2world(np.arange(n[0], dtype=float), 0)[0] / 1e3
    y, x = np.indices(n[1:])
    sky = SkyCoord(*wcs.celestial.wcs_pix2world(x, y, 0), unit="deg", frame=sky_frame(wcs)).galactic
    values = np.random.default_rng(2).normal(0, noise, n) if noise else np.zeros(n)
    for number, (at, height, sigma) in enumerate(lines):
        height = height + slope * sky.b.deg * (number == 0)
        values += height * np.exp(-0.5 * ((velocity[:, None, None] - at) / sigma) ** 2)
    return HISACube(values.astype(np.float32) * u.K, wcs)


@pytest.fixture(scope="module")
def cube():
    return co_cube(wcs_of())


def test_the_nearest_line_is_a_column(cube):
    result = example_result()
    found = add_co(result, cube)
    catalog = found.catalog
    assert type(catalog) is HISACatalog
    assert_allclose(catalog["co_velocity"].to_value(KMS), -36, atol=0.1)
    assert_allclose(catalog["co_velocity_difference"].value, -36 - catalog["velocity"].value, atol=0.1)
    assert_allclose(catalog["co_brightness"].to_value(u.K), 4, rtol=0.03)
    assert_allclose(catalog["co_linewidth"].to_value(KMS), 1.2 * 2.3548, rtol=0.05)
    assert (catalog["co_noise"] < 0.05 * u.K).all()
    assert_allclose(catalog["co_coverage"], 1)
    assert not catalog["co_flags"].any()
    assert (
        "co_velocity" not in result.catalog.colnames and found.meta["tracers"]["co"]["min_significance"] == 5
    )


def test_of_several_lines_the_nearest_counts_for_each_feature():
    lines = ((-31.0, 2.0, 0.8), (-46.0, 9.0, 0.8), (-20.0, 30.0, 0.8))
    catalog = add_co(example_result(), co_cube(wcs_of(), lines=lines)).catalog
    expected = [min((-31, -46, -20), key=lambda one: abs(one - v)) for v in catalog["velocity"].value]
    assert set(expected) == {-31, -46}
    assert_allclose(catalog["co_velocity"].value, expected, atol=0.1)


@pytest.mark.parametrize(
    "grid",
    [
        {"frame": "icrs"},
        {"pixel": 0.25, "n": (100, 300, 300)},
        {"pixel": 4.0, "n": (100, 20, 20)},
        {"channel": -0.4, "start": -20.4},
        {"channel": 0.1, "n": (400, 64, 64)},
    ],
    ids=["right ascension", "small pixels", "large pixels", "reversed", "narrow channels"],
)
def test_any_grid_gives_the_same(grid):
    expected = add_co(example_result(), co_cube(wcs_of(), noise=0, slope=3.0), min_brightness=1 * u.K)
    n = grid.get("n", (100, 64, 64))
    found = add_co(example_result(), co_cube(wcs_of(**grid), n, noise=0, slope=3.0), min_brightness=1 * u.K)
    for name, atol in (("co_velocity", 0.02), ("co_brightness", 0.06), ("co_linewidth", 0.05)):
        assert_allclose(found.catalog[name].value, expected.catalog[name].value, atol=atol, err_msg=name)


def test_the_spectrum_is_the_mean_over_the_sight_lines():
    """On the grid of the result a slope comes out as its mean over the footprint of each feature."""
    result = example_result()
    n = result.flags.shape
    cube = co_cube(result.wcs, n, noise=0, lines=((-38.0, 6.0, 1.0),), slope=4.0)
    catalog = add_co(result, cube, min_brightness=1 * u.K).catalog
    y, x = np.indices(n[1:])
    lat = result.wcs.celestial.wcs_pix2world(x, y, 0)[1]
    for row in catalog:
        footprint = (result.labels == row["id"]).any(axis=0)
        assert_allclose(row["co_brightness"].value, 6 + 4 * lat[footprint].mean(), rtol=5e-3)


def test_rows_in_another_order_get_the_same(cube):
    from dataclasses import replace

    result = example_result()
    cube = co_cube(wcs_of(), slope=3.0)
    other = replace(result, catalog=result.catalog[::-1])
    found, expected = add_co(other, cube).catalog, add_co(result, cube).catalog
    assert_array_equal(found["co_brightness"][::-1], expected["co_brightness"])


def test_noise_has_no_lines():
    catalog = add_co(example_result(), co_cube(wcs_of(), lines=())).catalog
    assert np.isnan(catalog["co_velocity"]).all() and np.isnan(catalog["co_linewidth"]).all()
    assert_array_equal(catalog["co_flags"], [TracerFlag.NOT_FOUND] * 5)


def test_limits_leave_out_what_is_faint_or_far(cube):
    faint = add_co(example_result(), cube, min_brightness=5 * u.K).catalog
    assert_array_equal(faint["co_flags"], [TracerFlag.NOT_FOUND] * 5)
    near = add_co(example_result(), cube, max_velocity_difference=4 * KMS).catalog
    assert_array_equal(np.isfinite(near["co_velocity"]), np.abs(near["velocity"].value + 36) < 4)
    assert 0 < np.isfinite(near["co_velocity"]).sum() < 5


def test_a_cube_of_part_of_the_field_says_which_features_it_covers(cube):
    values = cube.kelvin.copy()
    values[:, :, :32] = np.nan
    found = add_co(example_result(), HISACube(values * u.K, cube.wcs)).catalog
    east = found["lon"].value > 140.15
    assert_array_equal(found["co_flags"][east], TracerFlag.OUTSIDE)
    assert np.isnan(found["co_velocity"][east]).all()
    assert ((found["co_coverage"] == 0) == (found["co_flags"] & TracerFlag.OUTSIDE > 0)).all()
    assert np.isfinite(found["co_velocity"][found["co_coverage"] > 0]).all()
    assert 0 < len(found[found["co_coverage"] > 0]) < 5


def test_blank_pixels_within_features_are_left_out():
    result = example_result()
    cube = co_cube(result.wcs, result.flags.shape, lines=((-38.0, 6.0, 1.0),))
    values = cube.kelvin.copy()
    values[:, ::2] = np.nan
    catalog = add_co(result, HISACube(values * u.K, result.wcs)).catalog
    assert ((catalog["co_coverage"] > 0.3) & (catalog["co_coverage"] < 0.7)).all()
    assert_array_equal(catalog["co_flags"] & TracerFlag.PARTIAL, [TracerFlag.PARTIAL] * 5)
    assert_allclose(catalog["co_velocity"].value, -38, atol=0.1)


def test_a_cube_of_another_field_is_doubted():
    wcs = wcs_of()
    wcs.wcs.crval = [wcs.wcs.crval[0] + 20, 0, wcs.wcs.crval[2]]
    with pytest.warns(HISAWarning, match="no feature lies in it"):
        catalog = add_co(example_result(), co_cube(wcs)).catalog
    assert_array_equal(catalog["co_flags"], [TracerFlag.OUTSIDE] * 5)


def test_velocities_beyond_the_cube_are_flagged():
    cube = co_cube(wcs_of(start=-42.0, n=(40, 64, 64)), (40, 64, 64))
    catalog = add_co(example_result(), cube).catalog
    beyond = (catalog["co_flags"] & TracerFlag.OTHER_VELOCITIES) > 0
    assert_array_equal(beyond, (catalog["velocity"].value < -42.2) | (catalog["velocity"].value > -26.2))
    assert 0 < beyond.sum() < 5


def test_a_large_beam_is_flagged(cube):
    wide = HISACube(cube.kelvin * u.K, cube.wcs, beam=Beam(8 * u.arcmin))
    assert (add_co(example_result(), wide).catalog["co_flags"] & TracerFlag.LARGE_BEAM).any()
    narrow = HISACube(cube.kelvin * u.K, cube.wcs, beam=Beam(0.5 * u.arcmin))
    assert not add_co(example_result(), narrow).catalog["co_flags"].any()


def test_few_channels_need_a_least_brightness():
    cube = co_cube(wcs_of(channel=3.0, start=-48, n=(8, 64, 64)), (8, 64, 64), lines=((-39.0, 6.0, 2.0),))
    catalog = add_co(example_result(), cube).catalog
    assert ((catalog["co_flags"] & TracerFlag.NO_NOISE) > 0).all() and np.isnan(catalog["co_velocity"]).all()
    catalog = add_co(example_result(), cube, min_brightness=1 * u.K).catalog
    assert_allclose(catalog["co_velocity"].value, -39, atol=0.2)


def test_files_of_frequency_are_read_with_their_rest_frequency(tmp_path):
    cube = co_cube(wcs_of())
    path = tmp_path / "co.fits"
    header = cube.wcs.to_header()
    per_kms = -CO_FREQUENCY.to_value(u.Hz) / 299792.458
    header["CTYPE3"], header["CUNIT3"], header["BUNIT"] = "FREQ", "Hz", "K"
    header["CRVAL3"], header["CDELT3"] = CO_FREQUENCY.to_value(u.Hz) - 60 * per_kms, 0.4 * per_kms
    header["RESTFRQ"] = CO_FREQUENCY.to_value(u.Hz)
    fits.PrimaryHDU(cube.kelvin, header).writeto(path)
    found = add_co(example_result(), path)
    assert_allclose(found.catalog["co_velocity"].value, -36, atol=0.1)
    assert (
        found.meta["tracers"]["co"]["cube"] == str(path) and len(found.meta["tracers"]["co"]["sha256"]) == 64
    )
    assert found.catalog.meta["TRACERS"]["co"]["cube"] == str(path)


def test_spectral_cubes_are_taken(cube):
    spectral = SpectralCube(cube.kelvin * u.K, cube.wcs).with_spectral_unit(KMS)
    assert_allclose(add_co(example_result(), spectral).catalog["co_velocity"].value, -36, atol=0.1)


def test_a_catalogue_alone_takes_the_spectrum_of_the_centroid(cube):
    catalog = example_result().catalog.with_co(cube)
    assert_allclose(catalog["co_velocity"].value, -36, atol=0.3)
    assert_array_equal(catalog["co_coverage"], 1)
    values = cube.kelvin.copy()
    x, y = cube.wcs.celestial.world_to_pixel(catalog.coordinates[0])
    values[:, round(float(y)), round(float(x))] = np.nan
    again = example_result().catalog.with_co(HISACube(values * u.K, cube.wcs))
    assert_array_equal(again["co_flags"] & TracerFlag.OUTSIDE, [TracerFlag.OUTSIDE, 0, 0, 0, 0])


def test_no_features_have_the_columns(cube):
    catalog = example_result().catalog[:0].with_co(cube)
    assert len(catalog) == 0 and {f"co_{name}" for name in CO_COLUMNS} <= set(catalog.colnames)


def test_another_prefix_keeps_both(cube):
    twice = add_co(add_co(example_result(), cube), cube, prefix="co13").catalog
    assert_array_equal(twice["co13_velocity"], twice["co_velocity"])
    assert "co13_velocity" in twice["co13_velocity_difference"].info.description


def test_other_frames_of_velocity_are_refused(cube):
    wcs = cube.wcs.deepcopy()
    wcs.wcs.specsys = "BARYCENT"
    with pytest.raises(InputError, match="in the frame BARYCENT and those of the features in LSRK"):
        add_co(example_result(), HISACube(cube.kelvin * u.K, wcs))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"cube": np.zeros(3)}, ParameterError, "cube must be a HISACube, a SpectralCube or the path"),
        ({"cube": "none.fits"}, InputError, "none.fits"),
        ({"min_brightness": 3}, ParameterUnitsError, "min_brightness needs a unit of K"),
        ({"min_significance": -1}, ParameterError, "min_significance must be"),
        ({"rest_frequency": 115 * u.GHz}, ParameterError, "rest_frequency is for a file"),
    ],
)
def test_bad_arguments_are_named(cube, options, error, message):
    arguments = {"cube": cube} | options
    with pytest.raises(error, match=message):
        add_co(example_result(), **arguments)


def test_places_outside_and_unknown_ones_count_as_not_covered(cube):
    sky = SkyCoord([140, np.nan, 20], [0, 0, 0], unit="deg", frame="galactic")
    found = mean_spectra(tracer_cube(cube), sky, np.zeros(3, int), 2)
    assert_allclose(found.coverage, [1 / 3, 0])
    assert np.isfinite(found.kelvin[0]).all() and np.isnan(found.kelvin[1]).all()


def test_real_13co_of_l1448_is_found_at_its_velocity(shared_data):
    """The cloud is at 4 to 5 km/s; the file has no unit and no rest frequency."""
    with pytest.warns(MendWarning):
        cube = HISACube.read(shared_data / "cubes" / "l1448_13co.fits")
    sky = SkyCoord(*cube.wcs.celestial.wcs_pix2world([20, 50, 80], [30, 50, 70], 0), unit="deg").galactic
    columns = {"lon": sky.l, "lat": sky.b, "velocity": [4.0, 4.0, 4.0] * KMS}
    catalog = HISACatalog(columns, meta={"FRAME": "galactic", "SPECSYS": "LSRK"}).with_co(cube)
    assert ((catalog["co_velocity"] > 3.5 * KMS) & (catalog["co_velocity"] < 5.5 * KMS)).all()
    assert (catalog["co_brightness"] > 5 * catalog["co_noise"]).all()
    assert (catalog["co_linewidth"] > 0.5 * KMS).all() and (catalog["co_linewidth"] < 2 * KMS).all()
    assert not catalog["co_flags"].any()


def test_a_cube_masked_to_zero_needs_a_least_brightness(cube):
    """Its noise is not known, and the least rest of the mask would be a line."""
    values = np.zeros(cube.shape, np.float32)
    values[np.abs(cube.velocity.to_value(KMS) + 30) < 2] = 3
    values[np.argmin(np.abs(cube.velocity.to_value(KMS) + 39))] = 1e-6
    masked = HISACube(values * u.K, cube.wcs)
    found = add_co(example_result(), masked).catalog
    assert np.isnan(found["co_noise"]).all() and np.isnan(found["co_velocity"]).all()
    assert_array_equal(found["co_flags"] & TracerFlag.NO_NOISE, TracerFlag.NO_NOISE)
    found = add_co(example_result(), masked, min_brightness=0.5 * u.K).catalog
    assert_allclose(found["co_velocity"].to_value(KMS), -30, atol=2)


def test_a_prefix_replaces_nothing_but_its_own_columns(cube):
    result = example_result()
    found = add_co(result, cube, prefix="frame")
    assert found.catalog.meta["FRAME"] == "galactic"
    assert set(result.meta) <= set(add_co(result, cube, prefix="input").meta)
    assert add_co(result, cube, prefix="input").meta["input"] == result.meta["input"]
    again = add_co(add_co(found, cube), cube, prefix="frame").catalog
    assert again.colnames.count("frame_velocity") == 1 and set(again.meta["TRACERS"]) == {"frame", "co"}
    taken = result.catalog.copy()
    taken["co_noise"] = 1.0
    with pytest.raises(ParameterError, match="'co_noise' twice; give another prefix than 'co'"):
        taken.with_co(cube)
    with pytest.raises(ParameterError, match="prefix must be a text"):
        taken.with_co(cube, prefix=3)


def test_what_is_of_the_centroid_says_so(cube):
    at_centroid, of_feature = example_result().catalog.with_co(cube), add_co(example_result(), cube).catalog
    for name in ("co_brightness", "co_noise", "co_coverage"):
        assert at_centroid[name].info.description != of_feature[name].info.description
    assert "centroid" in at_centroid["co_coverage"].info.description
    assert "centroid" in at_centroid.meta["TRACERS"]["co"]["mean of"]
    assert of_feature.meta["TRACERS"]["co"]["mean of"] == "sight lines"


def test_a_catalogue_without_velocities_has_no_nearest_line(cube):
    with pytest.raises(InputError, match="the catalogue has no velocities"):
        example_result().catalog["name", "lon", "lat"].with_co(cube)


def test_a_frame_of_velocities_that_the_cube_alone_names_is_doubted(cube):
    wcs = cube.wcs.deepcopy()
    wcs.wcs.specsys = "BARYCENT"
    catalog = example_result().catalog.copy()
    del catalog.meta["SPECSYS"]
    with pytest.warns(HISAWarning, match="in the frame BARYCENT, and the catalogue does not say"):
        catalog.with_co(HISACube(cube.kelvin * u.K, wcs))
