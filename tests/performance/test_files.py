"""A performance model survives its file to the bit, and no damaged file passes for one."""

import json
from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from hisatools.errors import InputError, OutputError
from hisatools.performance import Histograms, PerformanceModel, Sample, SmoothingParameters, Voxels
from hisatools.performance.files import HISTOGRAMS
from hisatools.performance.observables import NAMES, STEPS
from hisatools.performance.sample import IMAGES
from hisatools.simulate import simulate_cube

RANDOM = settings(deadline=None, derandomize=True, max_examples=12)
WORDS = {
    "kind": "models",
    "long": "|'\" & " * 40,
    "names": ["Grüße", "银河", "\U0001f52d", "line\nbreak", "  spaces at both ends  "],
    "none": None,
    "numbers": [0.1, 1e-300, 12345678901234567890, -0.0, True],
    "nested": {"a": {"b": []}, "": {}},
}


def assert_same_histograms(one, other):
    for name in ("bins", "counts", "drift_sums", "drift_squares"):
        first, second = getattr(one, name), getattr(other, name)
        assert first.dtype == second.dtype
        assert first.tobytes() == second.tobytes()


@pytest.fixture(scope="module")
def whole(stub, tiny):
    """A model of two cubes with everything that a file can hold."""
    made = PerformanceModel.run(2, seed=5, parameters=tiny, extractor=stub())
    assert made.histograms.column("n_in_det").sum() > 20
    smoothing = SmoothingParameters(fraction=0.37, min_fwhm_delta_t=4.1 * u.K, min_samples=2.5)
    return replace(made, smoothing=smoothing, correlated_voxels=1 / 3, meta=made.meta | {"words": WORDS})


@pytest.fixture(scope="module")
def content(whole, tmp_path_factory):
    """The bytes of its file."""
    return whole.write(tmp_path_factory.mktemp("files") / "whole.fits").read_bytes()


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    """A file for tests that write it again and again."""
    return tmp_path_factory.mktemp("scratch") / "one.fits"


# --- round trip -----------------------------------------------------------------------------------


def test_reading_gives_back_what_was_written_to_the_bit(whole, tmp_path):
    back = PerformanceModel.read(whole.write(tmp_path / "whole.fits"))
    assert_same_histograms(back.histograms, whole.histograms)
    assert back.correlated_voxels == whole.correlated_voxels
    assert back.smoothing == whole.smoothing
    assert back.meta == whole.meta
    assert back.models.colnames == whole.models.colnames
    for name in whole.models.colnames:
        assert_array_equal(back.models[name], whole.models[name])
    assert back.models["seconds"].unit == u.s
    assert_array_equal(back.throughput.value, whole.throughput.value)


def test_the_sample_slices_survive_with_their_wcs(whole, tmp_path):
    back = PerformanceModel.read(whole.write(tmp_path / "whole.fits")).sample
    assert (back.channel_number, back.row_number) == (whole.sample.channel_number, whole.sample.row_number)
    for ours, theirs in ((whole.sample.channel, back.channel), (whole.sample.row, back.row)):
        assert list(theirs) == list(ours) == list(IMAGES)
        for name in IMAGES:
            assert theirs[name].dtype == np.float32
            assert_array_equal(theirs[name], ours[name])
    corner = [1.0, 2.0, 3.0]
    assert_allclose(
        back.wcs.wcs_pix2world([corner], 0), whole.sample.wcs.wcs_pix2world([corner], 0), rtol=1e-10
    )


def test_a_second_round_writes_the_same_file(content, scratch):
    scratch.write_bytes(content)
    again = PerformanceModel.read(scratch).write(scratch.with_name("again.fits"), overwrite=True)
    with fits.open(scratch) as one, fits.open(again) as other:
        assert fits.FITSDiff(one, other, ignore_keywords=["CHECKSUM", "DATASUM"]).identical


@RANDOM
@given(seed=st.integers(0, 9999))
def test_any_histograms_survive(seed, scratch):
    """Also sums that no decimal number of few digits can hold, and bins on both sides of 0."""
    rng = np.random.default_rng(seed)
    bins = np.unique(rng.integers(-4, 5, (rng.integers(1, 40), 4)), axis=0).astype(np.int32)
    counts = rng.integers(1, 2**31, (len(bins), 4))
    sums, squares = (
        rng.normal(size=(len(bins), 4)) * 10.0 ** rng.integers(-9, 9, (len(bins), 4)) for _ in "ab"
    )
    histograms = Histograms(bins, counts, sums, squares**2)
    PerformanceModel(histograms).write(scratch, overwrite=True)
    assert_same_histograms(PerformanceModel.read(scratch).histograms, histograms)


def test_a_model_of_nothing_survives(tmp_path):
    back = PerformanceModel.read(PerformanceModel(Histograms.empty()).write(tmp_path / "nothing.fits"))
    assert len(back.histograms) == 0
    assert len(back.models) == 0
    assert back.sample is None
    assert back.meta == {}


@RANDOM
@given(
    meta=st.dictionaries(
        st.text(max_size=20),
        st.one_of(st.text(max_size=200), st.floats(allow_nan=False), st.integers(), st.none(), st.booleans()),
        max_size=5,
    )
)
def test_any_meta_survives(meta, scratch):
    PerformanceModel(Histograms.empty(), meta=meta).write(scratch, overwrite=True)
    assert PerformanceModel.read(scratch).meta == meta


def test_a_folder_stands_for_the_file_of_all_models(whole, tmp_path):
    whole.write(tmp_path / "histograms.fits")
    assert_same_histograms(PerformanceModel.read(tmp_path).histograms, whole.histograms)
    assert_same_histograms(PerformanceModel.read(str(tmp_path)).histograms, whole.histograms)


# --- what other programs see ----------------------------------------------------------------------


def test_images_have_linear_axes_with_units(whole, content, scratch):
    scratch.write_bytes(content)
    with fits.open(scratch) as hdus:
        images = {name: (hdus[name.upper()].data, WCS(hdus[name.upper()].header)) for name in HISTOGRAMS}
    bins = whole.histograms.bins
    for name, (image, wcs) in images.items():
        column = whole.histograms.column(name)
        assert image.shape == whole.histograms.shape
        assert np.count_nonzero(image) == np.count_nonzero(column) > 20
        assert list(wcs.wcs.cname) == list(NAMES[::-1])
        for k in np.flatnonzero(column)[::17]:
            centre = ((bins[k] + 0.5) * STEPS)[::-1]
            pixel = np.rint(wcs.world_to_pixel_values(*centre)).astype(int)
            assert image[tuple(pixel[::-1])] == column[k]
            units = [u.km / u.s, u.arcmin, u.K, u.K]
            for value, wanted, unit in zip(wcs.pixel_to_world(*pixel), centre, units, strict=True):
                assert u.isclose(value, wanted * unit)


def test_the_header_says_what_the_file_is(content, scratch):
    scratch.write_bytes(content)
    header = fits.getheader(scratch)
    assert header["CONTENT"] == "hisatools performance 1"
    assert header["NCORR"] == pytest.approx(1 / 3)
    text = "".join(str(line)[1:-1] for line in header["HISTORY"])
    assert json.loads(text)["meta"]["words"] == WORDS


def test_the_table_of_models_opens_by_itself(content, scratch):
    scratch.write_bytes(content)
    table = QTable.read(scratch, hdu="MODELS")
    assert table["seed"].tolist() == [5, 6]
    assert table["first_found"].shape == (2, 2)


# --- damage ---------------------------------------------------------------------------------------


@settings(RANDOM, max_examples=60)
@given(data=st.data())
def test_a_file_that_is_cut_off_is_refused(data, content, scratch):
    scratch.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises(InputError, match=f"{scratch.name}: (damaged|not a perf)"):
        PerformanceModel.read(scratch)


def parts_of(content, scratch):
    """The bytes of each HDU by its name."""
    scratch.write_bytes(content)
    with fits.open(scratch, disable_image_compression=True) as hdus:
        infos = {hdu.name: hdu.fileinfo() for hdu in hdus}
    return {name: content[info["hdrLoc"] : info["datLoc"] + info["datSpan"]] for name, info in infos.items()}


def test_a_file_that_is_cut_off_between_two_parts_is_refused(content, scratch):
    parts = list(parts_of(content, scratch).values())
    assert b"".join(parts) == content
    for n_parts in range(1, len(parts)):
        scratch.write_bytes(b"".join(parts[:n_parts]))
        with pytest.raises(InputError, match="damaged, some of its 16 parts are missing"):
            PerformanceModel.read(scratch)


@pytest.mark.parametrize("name", ["N_IN_DET", "DRIFT_SQUARE_DELTA_T", "MODELS", "ROW"])
def test_a_file_without_one_of_its_parts_is_refused(name, content, scratch):
    parts = parts_of(content, scratch)
    del parts[name]
    scratch.write_bytes(b"".join(parts.values()))
    with pytest.raises(InputError, match="damaged, some of its 16 parts are missing"):
        PerformanceModel.read(scratch)


@settings(RANDOM, max_examples=25)
@given(data=st.data())
def test_a_changed_byte_is_noticed_or_changes_nothing(data, content, scratch, whole):
    damaged = bytearray(content)
    place = data.draw(st.integers(0, len(content) - 1))
    damaged[place] ^= data.draw(st.integers(1, 255))
    scratch.write_bytes(damaged)
    try:
        back = PerformanceModel.read(scratch)
    except InputError:
        return
    assert_same_histograms(back.histograms, whole.histograms)
    assert back.meta == whole.meta
    assert back.smoothing == whole.smoothing


def test_other_files_are_refused(tmp_path, tiny):
    image, text = tmp_path / "image.fits", tmp_path / "words.txt"
    fits.writeto(image, np.zeros((3, 4)))
    text.write_text("dT, T_U and widths")
    (tmp_path / "empty.fits").touch()
    simulate_cube(tiny, seed=1).write(tmp_path / "model")
    for path in (image, text, tmp_path / "empty.fits", tmp_path / "model" / "cube.fits"):
        with pytest.raises(InputError, match=f"{path.name}: .*not a performance model"):
            PerformanceModel.read(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none.fits: no such file; write one with `hisatools performance`"):
        PerformanceModel.read(tmp_path / "none.fits")
    with pytest.raises(InputError, match=r"histograms.fits: no such file"):
        PerformanceModel.read(tmp_path)


# --- writing --------------------------------------------------------------------------------------


def test_a_file_is_not_replaced_unasked(whole, tmp_path):
    path = whole.write(tmp_path / "one.fits")
    nothing = PerformanceModel(Histograms.empty())
    with pytest.raises(OutputError, match=r"one.fits exists already; .*overwrite=True"):
        nothing.write(path)
    assert len(PerformanceModel.read(path).histograms) > 0
    nothing.write(path, overwrite=True)
    assert len(PerformanceModel.read(path).histograms) == 0


def test_writing_that_fails_leaves_the_old_file_and_nothing_else(whole, tmp_path, monkeypatch):
    path = whole.write(tmp_path / "one.fits")
    before = path.read_bytes()

    def full_disk(self, part, **_):
        part.write_bytes(before[:5000])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fits.HDUList, "writeto", full_disk)
    with pytest.raises(OutputError, match=r"cannot write .*one.fits: No space left on device"):
        whole.write(path, overwrite=True)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_does_not_exist_is_an_output_error(whole, tmp_path):
    with pytest.raises(OutputError, match=r"cannot write .*: No such file"):
        whole.write(tmp_path / "nowhere" / "one.fits")


# --- the sample -----------------------------------------------------------------------------------


def test_the_sample_is_where_most_absorption_was_found_again(stub, tiny):
    model = simulate_cube(tiny, seed=5)
    result = stub().run(model.cube)
    truth, found = Voxels.of(model), Voxels.of(result)
    sample = Sample.take(truth, model.delta_t.value, found, result)
    depth = -model.delta_t.value * (truth.mask & found.mask)
    assert depth.any()
    assert depth[sample.channel_number].sum() == depth.sum(axis=(1, 2)).max()
    assert depth[:, sample.row_number].sum() == depth.sum(axis=(0, 2)).max()
    cubes = {
        "delta_t_in": model.delta_t.value,
        "t_on": model.cube.kelvin,
        "delta_t_out": result.delta_t.value,
        "t_unabsorbed_out": result.t_unabsorbed.value,
        "angular_width_out": result.angular_width.value,
        "velocity_width_out": result.velocity_width.value,
    }
    for name, cube in cubes.items():
        assert_allclose(sample.channel[name], cube[sample.channel_number], rtol=1e-5, atol=1e-4)
        assert_allclose(sample.row[name], cube[:, sample.row_number], rtol=1e-5, atol=1e-4)


def test_accepted_voxels_of_the_sample_are_those_of_its_channel(stub, tiny):
    model = simulate_cube(tiny, seed=5)
    result = stub().run(model.cube)
    found = Voxels.of(result)
    sample = Sample.take(Voxels.of(model), model.delta_t.value, found, result)
    channel = np.zeros_like(found.mask)
    channel[sample.channel_number] = True
    expected, shown = found.only(channel), sample.found_voxels()
    assert_array_equal(shown.mask[0], found.mask[sample.channel_number])
    assert_allclose(shown.values, expected.values, rtol=1e-5)
    assert len(shown) > 0
