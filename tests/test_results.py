"""A result survives its files, and files appear completely or not at all."""

import json
import tracemalloc
from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from numpy.testing import assert_allclose, assert_array_equal
from radio_beam import Beam

from hisatools._messages import extraction_lines
from hisatools.catalog import build_catalog
from hisatools.datasets import example_result
from hisatools.errors import HISAWarning, InputError, OutputError, ParameterError
from hisatools.features import angular_widths, velocity_widths
from hisatools.plotting.chosen import deepest_channel, deepest_sight_line
from hisatools.results import RESULT_FILES, HISAResult, MaskBit


def make_result(*, absorbed=True, beam=True):
    wcs = WCS(naxis=3)
    wcs.wcs.ctype = ["GLON-CAR", "GLAT-CAR", "VRAD"]
    wcs.wcs.cunit = ["deg", "deg", "m/s"]
    wcs.wcs.crval = [139.1234567890123, 0, -41e3]
    wcs.wcs.crpix = [3, -200, 2]
    wcs.wcs.cdelt = [-0.005, 0.005, -824.46]
    wcs.wcs.restfrq, wcs.wcs.specsys = 1420405751.7667, "LSRK"
    wcs.wcs.set()
    shape = (6, 5, 4)
    t_on = np.random.default_rng(1).normal(90, 5, shape).astype(np.float32)
    labels = np.zeros(shape, np.int32)
    if absorbed:
        labels[2:4, 1:3, 2] = 1
        labels[4, 4, 0] = 2
    unabsorbed_kelvin = t_on[labels > 0] + np.float32(20.5)
    t_on[:, 0, 0] = np.nan
    flags = (labels > 0) * np.uint8(7)
    flags[0, 2, 2], flags[0, 3, 3] = MaskBit.SPECTRAL, MaskBit.SPATIAL
    first_pass = (labels > 0).astype(np.uint8)
    meta = {
        "hisatools": "0.1.0",
        "input": {"path": "/somewhere/MA1.fits", "object": "MA1"},
        "passes": [{"pass": 1, "accepted": 5, "new": 5}],
        "remarks": [] if absorbed else ["T_U is below 70 K everywhere"],
    }
    return HISAResult(
        t_on=t_on * u.K,
        unabsorbed_kelvin=unabsorbed_kelvin,
        flags=flags,
        labels=labels,
        first_pass=first_pass,
        catalog=build_catalog(t_on, unabsorbed_kelvin, labels, first_pass, wcs),
        wcs=wcs,
        beam=Beam(58 * u.arcsec, 49 * u.arcsec, 20 * u.deg) if beam else None,
        meta=meta,
    )


@pytest.fixture
def no_picture(monkeypatch):
    """Replace the picture, which takes longer than all other files together."""
    monkeypatch.setattr("hisatools.summary.plot_summary", lambda _, path, **__: path.write_bytes(b"picture"))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Folder of a result that tests only read."""
    return make_result().write(tmp_path_factory.mktemp("results") / "out")


# --- files ------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [{}, {"absorbed": False}, {"beam": False}])
def test_reading_gives_back_what_was_written(case, no_picture, tmp_path):
    result = make_result(**case)
    back = HISAResult.read(result.write(tmp_path / "out"))
    for name in ("delta_t", "t_unabsorbed", "unabsorbed_kelvin", "flags", "labels", "first_pass"):
        assert_array_equal(getattr(back, name), getattr(result, name))
        assert getattr(back, name).dtype == getattr(result, name).dtype
    assert_allclose(back.t_on.value, result.t_on.value, rtol=1e-6)
    assert back.t_on.dtype == np.float32
    assert back.delta_t.unit == back.t_unabsorbed.unit == back.t_on.unit == u.K
    assert back.meta == result.meta
    assert back.beam == result.beam
    assert back.wcs.wcs.compare(result.wcs.wcs)
    assert back.catalog.colnames == result.catalog.colnames
    assert back.catalog.meta == result.catalog.meta
    for name in result.catalog.colnames:
        assert_array_equal(back.catalog[name], result.catalog[name])


def with_sigmas():
    result = make_result()
    sigma = np.linspace(1, 3, result.n_accepted, dtype=np.float32)
    return replace(result, sigma_unabsorbed_kelvin=sigma, sigma_delta_kelvin=2 * sigma)


def test_uncertainties_are_written_and_read_back(no_picture, tmp_path):
    result = with_sigmas()
    back = HISAResult.read(result.write(tmp_path / "out"))
    assert {"sigma_delta_t.fits", "sigma_t_unabsorbed.fits"} <= {
        path.name for path in (tmp_path / "out").iterdir()
    }
    for name in ("sigma_unabsorbed_kelvin", "sigma_delta_kelvin", "sigma_delta_t", "sigma_t_unabsorbed"):
        assert_array_equal(getattr(back, name), getattr(result, name))


def test_an_older_folder_without_uncertainties_can_be_read(written):
    result = HISAResult.read(written)
    assert result.sigma_delta_t is None and result.sigma_t_unabsorbed is None
    with pytest.raises(
        ParameterError, match=r"unknown cube 'sigma_delta_t'; known: delta_t, t_unabsorbed, t_on$"
    ):
        result.plane_kelvin("sigma_delta_t", 0)


def test_uncertainties_of_an_older_result_are_taken_away(no_picture, tmp_path):
    with_sigmas().write(tmp_path / "out")
    make_result().write(tmp_path / "out", overwrite=True)
    assert not list((tmp_path / "out").glob("sigma_*"))


def test_uncertainty_is_zero_outside_absorption_and_nan_where_blank():
    result = with_sigmas()
    cube = result.sigma_delta_t.value
    assert_array_equal(np.isnan(cube), np.isnan(result.t_on.value))
    assert_array_equal(cube[result.mask], result.sigma_delta_kelvin)
    assert (cube[~result.mask & ~np.isnan(cube)] == 0).all()
    assert result.spectral_cube("sigma_t_unabsorbed").unit == u.K


def test_one_uncertainty_for_each_accepted_voxel():
    with pytest.raises(
        InputError, match=r"sigma_delta_kelvin has the shape \(2,\), and flags accept 5 voxels"
    ):
        replace(make_result(), sigma_delta_kelvin=np.ones(2, np.float32))


def test_folder_holds_the_files_of_the_contract(written):
    assert {path.name for path in written.iterdir()} == set(RESULT_FILES)
    assert json.loads((written / "provenance.json").read_text())["input"]["object"] == "MA1"
    assert (written / "summary.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("name", "bitpix", "unit"),
    [
        ("delta_t", -32, "K"),
        ("t_unabsorbed", -32, "K"),
        ("mask", 8, None),
        ("labels", 32, None),
        ("first_pass", 8, None),
    ],
)
def test_images_describe_themselves(name, bitpix, unit, written):
    header = fits.getheader(written / f"{name}.fits")
    assert header["BITPIX"] == bitpix
    assert header.get("BUNIT") == unit
    assert header["OBJECT"] == "MA1"
    assert header["BMAJ"] == pytest.approx(58 / 3600)
    assert header["CTYPE3"] == "VRAD"
    history = " ".join(str(line) for line in header["HISTORY"])
    assert "hisatools 0.1.0: H I self-absorption, 1 passes" in history
    assert "Input: MA1.fits" in history


def test_mask_file_explains_its_bits(written):
    comments = " ".join(str(line) for line in fits.getheader(written / "mask.fits")["COMMENT"])
    assert "1 spectral, 2 spatial, 4 accepted" in comments


@pytest.mark.filterwarnings("ignore:COPY_IF_NEEDED")
def test_an_image_opens_in_spectral_cube(written):
    from spectral_cube import SpectralCube

    cube = SpectralCube.read(written / "delta_t.fits")
    assert cube.unit == u.K
    assert cube.beam.major.to_value(u.arcsec) == pytest.approx(58)
    assert_allclose(cube.spectral_axis.to_value(u.km / u.s)[[0, -1]], [-41 + 0.82446, -41 - 4 * 0.82446])


def test_an_existing_result_is_replaced_only_on_demand(no_picture, tmp_path):
    folder = make_result().write(tmp_path / "out")
    (folder / "notes.txt").write_text("mine")
    empty = make_result(absorbed=False)
    with pytest.raises(OutputError, match="out exists already and is not empty"):
        empty.write(folder)
    assert HISAResult.read(folder).mask.any()
    empty.write(folder, overwrite=True)
    assert not HISAResult.read(folder).mask.any()
    assert (folder / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("step", ["write_planes", "write_json"])
def test_interrupted_writing_leaves_nothing(step, no_picture, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(f"hisatools.result_files.{step}", interrupt)
    with pytest.raises(KeyboardInterrupt):
        make_result().write(tmp_path / "out")
    assert not any(tmp_path.iterdir())


def test_a_full_disk_is_one_line_and_leaves_nothing(no_picture, tmp_path, monkeypatch):
    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hisatools.result_files.write_json", full_disk)
    with pytest.raises(OutputError, match=r"cannot write .*out: No space left on device"):
        make_result().write(tmp_path / "out")
    assert not any(tmp_path.iterdir())


def test_a_picture_that_fails_does_not_cost_the_result(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("no such projection")

    monkeypatch.setattr("hisatools.summary.plot_summary", fail)
    with pytest.warns(
        HISAWarning, match=r"summary.png could not be drawn \(RuntimeError: no such projection\)"
    ):
        folder = make_result().write(tmp_path / "out")
    assert {path.name for path in folder.iterdir()} == set(RESULT_FILES) - {"summary.png"}


def test_a_folder_without_a_result_is_named(tmp_path):
    with pytest.raises(InputError, match=r"delta_t.fits is missing; name a folder that hisatools wrote"):
        HISAResult.read(tmp_path)


@pytest.mark.parametrize("name", ["delta_t.fits", "labels.fits", "catalog.ecsv", "provenance.json"])
def test_a_damaged_file_is_named(name, no_picture, tmp_path):
    folder = make_result().write(tmp_path / "out")
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 3])
    with pytest.raises(InputError, match=f"{name} is damaged"):
        HISAResult.read(folder)


@pytest.mark.parametrize("name", ["delta_t.fits", "t_unabsorbed.fits", "mask.fits"])
def test_an_image_that_ends_early_is_named(name, no_picture, tmp_path):
    folder = make_result().write(tmp_path / "out")
    content = (folder / name).read_bytes()
    # All but the last block, which holds the data.
    (folder / name).write_bytes(content[:-2880] + content[-2880:-2780])
    with pytest.raises(InputError, match=f"{name} is damaged"):
        HISAResult.read(folder)


IMAGES = ["delta_t.fits", "t_unabsorbed.fits", "mask.fits", "labels.fits", "first_pass.fits"]


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("shape", [(), (5, 4), (1, 6, 5, 4), (0, 5, 4)], ids=str)
def test_an_image_without_the_three_axes_is_named(shape, name, no_picture, tmp_path):
    folder = make_result().write(tmp_path / "out")
    image = np.zeros(shape, fits.getdata(folder / name).dtype) if shape else None
    fits.PrimaryHDU(image).writeto(folder / name, overwrite=True)
    with pytest.raises(InputError, match=rf"{name} is damaged \(its image has the shape \("):
        HISAResult.read(folder)


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_of_another_type_is_named(name, no_picture, tmp_path):
    folder = make_result().write(tmp_path / "out")
    image = np.nan_to_num(fits.getdata(folder / name))
    fits.writeto(folder / name, image.astype(np.int16), overwrite=True)
    with pytest.raises(InputError, match=rf"{name} is damaged \(BITPIX is 16, and not "):
        HISAResult.read(folder)


def test_an_image_of_scaled_values_is_named(no_picture, tmp_path):
    folder = make_result().write(tmp_path / "out")
    fits.writeto(folder / "labels.fits", np.zeros((6, 5, 4), np.uint32), overwrite=True)
    with pytest.raises(InputError, match=r"labels.fits is damaged \(its values are scaled"):
        HISAResult.read(folder)


@pytest.mark.parametrize(("card", "value"), [("CUNIT3", "m/$"), ("BMAJ", "broad"), ("CTYPE2", "ELAT-CAR")])
def test_axes_and_a_beam_that_make_no_sense_are_those_of_a_file(card, value, no_picture, tmp_path):
    folder = make_result().write(tmp_path / "out")
    fits.setval(folder / "delta_t.fits", card, value=value)
    with pytest.raises(InputError, match=r"delta_t.fits is damaged"):
        HISAResult.read(folder)


def test_a_header_without_a_card_that_must_be_there_is_named(no_picture, tmp_path):
    path = make_result().write(tmp_path / "out") / "mask.fits"
    path.write_bytes(path.read_bytes().replace(b"NAXIS2  ", b"NAXOS2  ", 1))
    with pytest.raises(InputError, match=r"mask.fits is damaged .*NAXIS2"):
        HISAResult.read(path.parent)


def test_a_long_catalogue_is_written_as_one(no_picture, tmp_path, monkeypatch):
    result = make_result()
    result.catalog.write(tmp_path / "whole.ecsv")
    for rows in (1, 2, 3):
        monkeypatch.setattr("hisatools.result_files.ROWS_PER_BLOCK", rows)
        folder = result.write(tmp_path / f"{rows}")
        assert (folder / "catalog.ecsv").read_text() == (tmp_path / "whole.ecsv").read_text()


def test_files_hold_the_cubes_of_the_result(written):
    result = make_result()
    for name in ("delta_t", "t_unabsorbed"):
        assert_array_equal(fits.getdata(written / f"{name}.fits"), getattr(result, name).value)
    for name, file_name in (("flags", "mask"), ("labels", "labels"), ("first_pass", "first_pass")):
        assert_array_equal(fits.getdata(written / f"{file_name}.fits"), getattr(result, name))


def test_no_whole_cube_is_made_for_the_files(tmp_path):
    result = make_result()
    result.write(tmp_path / "out")
    made = {"delta_t", "t_unabsorbed", "angular_width", "velocity_width"} & vars(result).keys()
    assert not made


def peak_bytes(function):
    """What a call holds at most, above what there was before."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.fixture(scope="module")
def large():
    """A cube of 16 MB with one feature."""
    small = make_result()
    t_on = np.random.default_rng(2).normal(90, 5, (100, 200, 200)).astype(np.float32)
    labels = np.zeros(t_on.shape, np.int32)
    labels[40:60, 50:70, 80:100] = 1
    cubes = {"flags": labels.astype(np.uint8) * 7, "labels": labels, "first_pass": labels.astype(np.uint8)}
    unabsorbed_kelvin = t_on[labels > 0] + np.float32(20)
    return replace(small, t_on=t_on * u.K, unabsorbed_kelvin=unabsorbed_kelvin, true_fraction=t_on, **cubes)


def test_the_catalogue_takes_little_memory(large):
    make_result()  # compiles
    arguments = large.t_on.value, large.unabsorbed_kelvin, large.labels, large.first_pass, large.wcs
    assert peak_bytes(lambda: build_catalog(*arguments)) < large.t_on.nbytes / 5


def test_the_files_take_little_memory(large, no_picture, tmp_path):
    make_result().write(tmp_path / "imports")
    assert peak_bytes(lambda: large.write(tmp_path / "out")) < large.t_on.nbytes / 5
    cubes = (large.t_on, large.true_fraction, large.flags, large.labels, large.first_pass)
    made = sum(cube.nbytes for cube in cubes)
    assert peak_bytes(lambda: HISAResult.read(tmp_path / "out")) < made + large.t_on.nbytes / 5


def test_what_is_said_and_shown_takes_little_memory(large):
    for look in (
        lambda: list(extraction_lines(large)),
        lambda: deepest_sight_line(large, deepest_channel(large)),
    ):
        assert peak_bytes(look) < large.t_on.nbytes / 5


def test_files_of_two_results_are_refused(no_picture, tmp_path):
    folder = make_result().write(tmp_path / "out")
    fits.writeto(folder / "mask.fits", np.zeros((2, 2, 2), np.uint8), overwrite=True)
    with pytest.raises(InputError, match="have different shapes"):
        HISAResult.read(folder)


# --- views ------------------------------------------------------------------------------------


def test_cubes_are_those_of_the_paper():
    result = make_result()
    t_on, mask = result.t_on.value, result.mask
    blank = np.isnan(t_on)
    assert_array_equal(np.isnan(result.delta_t.value), blank)
    assert_array_equal(result.t_unabsorbed.value[~mask], t_on[~mask])
    assert_array_equal(result.t_unabsorbed.value[mask], result.unabsorbed_kelvin)
    assert_allclose(result.delta_t.value[mask], -20.5, rtol=1e-6)
    assert not result.delta_t.value[~mask & ~blank].any()
    assert result.delta_t.dtype == result.t_unabsorbed.dtype == np.float32
    assert result.delta_t is result.delta_t


@pytest.mark.parametrize("name", ["delta_t", "t_unabsorbed", "t_on"])
def test_planes_are_those_of_the_cubes(name):
    result = make_result()
    expected = getattr(result, name).value.copy()
    for channel in (0, 2, 3, 4, 5, -1, -2):
        plane = result.plane_kelvin(name, channel)
        assert_array_equal(plane, expected[channel])
        plane[:] = 0  # a copy, even of what was observed
    assert_array_equal(getattr(result, name).value, expected)
    with pytest.raises(IndexError):
        result.plane_kelvin(name, 6)
    with pytest.raises(ParameterError, match="unknown cube 'dt'; known: delta_t"):
        result.plane_kelvin("dt", 0)


@pytest.mark.parametrize("absorbed", [True, False])
def test_values_at_voxels_are_in_the_order_of_the_array(absorbed):
    result = make_result(absorbed=absorbed)
    mask = result.mask
    number = np.arange(mask.size).reshape(mask.shape)
    assert_array_equal(result.at_voxels(number), np.flatnonzero(mask))
    assert_array_equal(result.voxel_delta_t_kelvin, result.delta_t.value[mask])
    assert result.voxel_delta_t_kelvin.dtype == np.float32
    assert result.n_accepted == mask.sum()


@pytest.mark.parametrize("change", [slice(1, None), (slice(None), None)])
def test_each_accepted_voxel_needs_its_brightness(change):
    result = make_result()
    with pytest.raises(InputError, match=r"unabsorbed_kelvin has the shape \(.*, and flags accept 5 voxels"):
        replace(result, unabsorbed_kelvin=result.unabsorbed_kelvin[change])


@pytest.mark.parametrize("dtype", [bool, int, np.float32])
def test_flags_are_single_bytes(dtype):
    result = make_result()
    with pytest.raises(InputError, match=r"flags are of the type .*; give a sum of MaskBit as uint8"):
        replace(result, flags=result.flags.astype(dtype))


def test_masks_follow_the_flags():
    result = make_result()
    assert_array_equal(result.mask, result.labels > 0)
    assert result.union.sum() == result.mask.sum() + 2


def test_velocity_is_in_file_order():
    velocity = make_result().velocity
    assert velocity.unit == u.km / u.s
    assert_allclose(velocity.value, -41 - 0.82446 * (np.arange(6) - 1))


@pytest.mark.parametrize("name", ["delta_t", "t_unabsorbed", "t_on"])
def test_spectral_cube_has_values_axes_and_beam(name):
    result = make_result()
    cube = result.spectral_cube(name)
    assert_array_equal(cube.filled_data[:].value, getattr(result, name).value)
    assert cube.beam == result.beam
    assert cube.unit == u.K
    assert_allclose(cube.spectral_axis.to_value(u.km / u.s), result.velocity.value)


def test_unknown_cube_lists_the_known_ones():
    with pytest.raises(ParameterError, match="unknown cube 'flags'; known: delta_t, t_unabsorbed, t_on"):
        make_result().spectral_cube("flags")


# --- widths -----------------------------------------------------------------------------------


def test_scales_are_those_of_the_axes():
    result = make_result()
    assert result.channel_width.to_value(u.km / u.s) == pytest.approx(0.82446)
    assert result.channel_width.unit == u.km / u.s
    # At b = 1 deg pixels are narrower along longitude, by 0.015 %.
    assert result.pixel_scale.to_value(u.arcmin) == pytest.approx(0.3, rel=1e-3)
    assert result.pixel_scale.unit == u.arcmin


@pytest.mark.parametrize(("unit", "step"), [("km/s", -0.82446), ("m/s", 824.46), ("km/s", 0.82446)])
def test_channel_width_is_positive_and_in_km_per_second(unit, step):
    result = make_result()
    wcs = result.wcs.deepcopy()
    wcs.wcs.cunit, wcs.wcs.cdelt = ["deg", "deg", unit], [-0.005, 0.005, step]
    assert replace(result, wcs=wcs).channel_width.to_value(u.km / u.s) == pytest.approx(0.82446)


def test_widths_are_those_of_the_features_in_arcmin_and_km_per_second():
    result = make_result()
    angular, line = result.angular_width, result.velocity_width
    assert angular.unit == u.arcmin
    assert line.unit == u.km / u.s
    assert angular.shape == line.shape == result.mask.shape
    assert angular.dtype == line.dtype == np.float32
    assert not angular.value[~result.mask].any()
    assert not line.value[~result.mask].any()
    # Both features are one pixel wide: 2 pixels from edge to edge. Two channels, and one.
    assert_allclose(angular[result.mask].to_value(u.arcmin), 0.6, rtol=1e-3)
    assert_allclose(line[result.labels == 1].to_value(u.km / u.s), 2 * 0.82446, rtol=1e-5)
    assert_allclose(line[result.labels == 2].to_value(u.km / u.s), 0.82446, rtol=1e-5)


def test_widths_agree_with_the_functions_that_measure_them():
    result = make_result()
    rng = np.random.default_rng(7)
    mask = (rng.uniform(size=result.mask.shape) < 0.6) & np.isfinite(result.t_on.value)
    depth = np.where(mask, rng.uniform(1, 40, mask.shape), 0).astype(np.float32)
    unabsorbed_kelvin = (result.t_on.value + depth)[mask]
    result = replace(result, unabsorbed_kelvin=unabsorbed_kelvin, flags=mask * np.uint8(MaskBit.ACCEPTED))
    expected = angular_widths(mask) * result.pixel_scale.value
    assert_allclose(result.angular_width.value, expected, rtol=1e-6)
    expected = velocity_widths(depth, mask) * 0.82446
    assert_allclose(result.velocity_width.value, expected, rtol=1e-4)


# --- likelihood of each voxel -----------------------------------------------------------------


def test_true_fraction_is_written_read_and_goes_with_its_result(no_picture, tmp_path):
    result = make_result()
    assert result.true_fraction is None
    likely = np.where(result.mask, np.float32(0.75), np.float32(np.nan))
    likely[4, 4, 0] = np.nan
    folder = replace(result, true_fraction=likely).write(tmp_path / "out")
    back = HISAResult.read(folder)
    assert_array_equal(back.true_fraction, likely)
    assert back.true_fraction.dtype == np.float32
    assert "Likelihood" in str(fits.getheader(folder / "true_fraction.fits")["COMMENT"])
    result.write(folder, overwrite=True)
    assert not (folder / "true_fraction.fits").exists()
    assert HISAResult.read(folder).true_fraction is None


def test_true_fraction_of_another_result_is_refused(no_picture, tmp_path):
    folder = make_result().write(tmp_path / "out")
    fits.writeto(folder / "true_fraction.fits", np.zeros((2, 2, 2), np.float32))
    with pytest.raises(InputError, match="have different shapes"):
        HISAResult.read(folder)


def test_a_result_is_told_in_one_line():
    assert repr(example_result()) == (
        "<HISAResult 32 channels x 208 x 208 pixels, 5 features in 1456 accepted voxels>"
    )
