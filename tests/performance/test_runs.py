"""Runs over model cubes: reproducible, resumable to the bit, and never mixed up."""

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from numpy.testing import assert_array_equal

from hisatools import HISAExtractor
from hisatools.errors import HISAWarning, InputError, OutputError, ParameterError
from hisatools.performance import Histograms, PerformanceModel, Voxels, run_models
from hisatools.performance.histograms import COUNTS
from hisatools.simulate import ModelParameters, simulate_cube

KMS = u.km / u.s


def assert_same(one, other):
    """The same to the bit, but for the time it took."""
    for name in ("bins", "counts", "drift_sums", "drift_squares"):
        first, second = getattr(one.histograms, name), getattr(other.histograms, name)
        assert first.dtype == second.dtype
        assert first.tobytes() == second.tobytes()
    assert one.models.colnames == other.models.colnames
    for name in set(one.models.colnames) - {"seconds"}:
        assert_array_equal(one.models[name], other.models[name])
    assert one.correlated_voxels == other.correlated_voxels
    assert one.meta == other.meta
    for ours, theirs in ((one.sample.channel, other.sample.channel), (one.sample.row, other.sample.row)):
        for name in ours:
            assert_array_equal(ours[name], theirs[name])


def seeds_of(extractor):
    return [int(cube.meta["object"].rsplit(" ", 1)[1]) for cube in extractor.cubes]


@pytest.fixture
def run(stub, tiny, tmp_path):
    """Function that makes models of two seeds in a folder, and returns them with the extractor."""

    def start(n_models=2, *, folder="models", fail_at=None, n_passes=2, **settings):
        extractor = stub(fail_at=fail_at, n_passes=n_passes)
        settings = {"seed": 31, "parameters": tiny} | settings
        if folder is not None:
            settings["folder"] = tmp_path / folder
        try:
            return run_models(n_models, extractor=extractor, **settings), extractor
        except KeyboardInterrupt:
            return None, extractor

    return start


@pytest.fixture(scope="module")
def whole(stub, tiny):
    """A run that was never interrupted, without files."""
    return run_models(2, seed=31, parameters=tiny, extractor=stub())


# --- a run ----------------------------------------------------------------------------------------


def test_a_run_is_the_sum_of_its_models_compared_with_their_truths(whole, stub, tiny):
    parts = []
    for seed in (31, 32):
        model = simulate_cube(tiny, seed=seed)
        parts.append(Histograms.compare(Voxels.of(model), Voxels.of(stub().run(model.cube))))
    expected = parts[0] + parts[1]
    assert_array_equal(whole.histograms.bins, expected.bins)
    assert_array_equal(whole.histograms.counts, expected.counts)
    assert whole.models["seed"].tolist() == [31, 32]
    for name in COUNTS:
        assert whole.models[name].sum() == whole.histograms.column(name).sum() > 20
    assert_array_equal(whole.models["n_in_det"], whole.models["n_out_true"])


def test_voxels_are_counted_by_the_pass_that_found_them(whole):
    first_found = whole.models["first_found"]
    assert first_found.shape == (2, 2)
    assert_array_equal(first_found.sum(axis=1), whole.models["n_out_all"])
    assert (first_found.sum(axis=0) > 0).all()


def test_the_same_run_gives_the_same_bits(run, whole):
    assert_same(run(folder=None)[0], whole)
    assert_same(run(folder="files")[0], whole)


def test_workers_are_passed_on_and_change_nothing(run, whole):
    assert_same(run(folder=None, workers=2)[0], whole)


def test_noise_volume_is_that_of_the_models(whole):
    """A beam of one pixel, and a line profile of 1.6 channels: 2.27 x 2.41 voxels."""
    assert whole.correlated_voxels == pytest.approx(2.266 * 1.5054 * 1.319 / 0.82446, rel=1e-3)


def test_shape_keeps_the_crowding_of_the_paper(stub):
    run = run_models(1, shape=(16, 64, 64), seed=31, extractor=stub())
    assert run.meta["model"]["shape"] == [16, 64, 64]
    assert run.meta["model"]["n_pucks"] == ModelParameters().scaled((16, 64, 64)).n_pucks
    assert run.meta["model"]["pixel_scale"] == "0.3 arcmin"


def test_each_model_is_reported_when_it_is_there(run, whole, tmp_path):
    reported = []
    run(report=reported.append)
    assert [part.models["seed"].tolist() for part in reported] == [[31], [32]]
    assert_same(PerformanceModel.merge(reported), whole)
    again = []
    run(report=again.append, resume=True)
    assert [part.models["seed"].tolist() for part in again] == [[31], [32]]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_models": 0}, "n_models must be finite and above 0, got 0"),
        ({"n_models": 1.5}, "n_models must be a whole number, got 1.5"),
        ({"seed": -1}, "seed must be finite and at least 0, got -1"),
        ({"seed": "1"}, "seed must be a whole number, got '1'"),
        ({"shape": (16, 64, 64)}, r"give shape=\(16, 64, 64\) or parameters, not both"),
    ],
)
def test_impossible_runs_are_refused_before_anything_is_made(settings, message, run, tmp_path):
    with pytest.raises(ParameterError, match=message):
        run(**settings)
    assert not any(tmp_path.iterdir())


# --- files and resuming ---------------------------------------------------------------------------


def test_each_model_is_one_file(run, whole, tmp_path):
    run()
    names = [f"seed_{seed:05d}.fits" for seed in (31, 32)]
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == names
    parts = [PerformanceModel.read(tmp_path / "models" / name) for name in names]
    assert_same(PerformanceModel.merge(parts), whole)


def test_a_finished_run_is_read_and_not_extracted_again(run, whole):
    run()
    again, extractor = run(resume=True)
    assert extractor.cubes == []
    assert_same(again, whole)


@pytest.mark.parametrize("fail_at", [0, 1])
def test_an_interrupted_run_goes_on_where_it_was(fail_at, run, whole, tmp_path):
    stopped, _ = run(fail_at=fail_at)
    assert stopped is None
    assert len(list((tmp_path / "models").iterdir())) == fail_at
    resumed, extractor = run(resume=True)
    assert seeds_of(extractor) == [31, 32][fail_at:]
    assert_same(resumed, whole)


def test_a_lost_file_is_made_again(run, whole, tmp_path):
    run()
    (tmp_path / "models" / "seed_00031.fits").unlink()
    resumed, extractor = run(resume=True)
    assert seeds_of(extractor) == [31]
    assert_same(resumed, whole)


@pytest.mark.parametrize("kept", [0, 40_000, -1])
def test_a_half_written_file_is_made_again(kept, run, whole, tmp_path):
    run()
    path = tmp_path / "models" / "seed_00032.fits"
    content = path.read_bytes()
    path.write_bytes(content[:kept])
    with pytest.warns(HISAWarning, match=r"seed_00032\.fits: damaged.*this cube is extracted again"):
        resumed, extractor = run(resume=True)
    assert seeds_of(extractor) == [32]
    assert_same(resumed, whole)
    assert PerformanceModel.read(path).models["seed"].tolist() == [32]


def test_what_a_killed_run_left_is_cleared_away(run, whole, tmp_path):
    run(1)
    leftover = tmp_path / "models" / ".seed_00032-0a1b2c3d.part.fits"
    leftover.write_bytes(b"SIMPLE  =")
    mine = tmp_path / "models" / "notes.txt"
    mine.write_text("mine")
    resumed, extractor = run(resume=True)
    assert seeds_of(extractor) == [32]
    assert_same(resumed, whole)
    assert not leftover.exists()
    assert mine.read_text() == "mine"


def test_interrupted_writing_leaves_no_model_behind(run, whole, tmp_path, monkeypatch):
    write = fits.HDUList.writeto

    def killed(self, path, **settings):
        write(self, path, **settings)
        path.write_bytes(path.read_bytes()[:5000])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fits.HDUList, "writeto", killed)
        assert run()[0] is None
    assert not any((tmp_path / "models").iterdir())
    assert_same(run(resume=True)[0], whole)


def test_models_can_be_added_later(run, whole):
    run(1)
    added, extractor = run(2, resume=True)
    assert seeds_of(extractor) == [32]
    assert_same(added, whole)


@pytest.mark.parametrize(("n_models", "seed"), [(1, 31), (1, 32), (2, 32)])
def test_no_finished_model_of_the_folder_is_left_out(n_models, seed, run):
    run(2)
    resumed, _ = run(n_models, seed=seed, resume=True)
    assert resumed.models["seed"].tolist() == list(range(31, max(seed + n_models, 33)))


def test_a_file_of_another_kind_in_the_folder_is_not_written_over(run, tmp_path):
    run(1)
    path = tmp_path / "models" / "seed_00032.fits"
    fits.PrimaryHDU(np.zeros((2, 2))).writeto(path)
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"seed_00032\.fits: not a performance model"):
        run(resume=True)
    assert path.read_bytes() == before


def test_a_sample_is_kept_whatever_seed_it_is_of(run):
    run(1, seed=32)
    earlier, extractor = run(2, seed=31, resume=True)
    assert seeds_of(extractor) == [31]
    assert earlier.sample.channel_number == run(1, folder=None)[0].sample.channel_number
    later, _ = run(3, seed=30, resume=True)
    assert later.models["seed"].tolist() == [30, 31, 32]
    assert later.sample is not None


@pytest.mark.parametrize("shape", [32, (32, 64), "cube", None])
def test_shape_is_three_numbers(shape):
    if shape is None:
        shape = (32, 64, 64, 64)
    with pytest.raises(ParameterError, match="shape must be three whole numbers"):
        run_models(1, shape=shape)


def test_without_resume_an_earlier_run_is_not_touched(run, tmp_path):
    run(1)
    before = (tmp_path / "models" / "seed_00031.fits").read_bytes()
    with pytest.raises(
        OutputError, match=r"models holds models of an earlier run; go on with it .*resume=True"
    ):
        run(1)
    assert (tmp_path / "models" / "seed_00031.fits").read_bytes() == before


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"n_passes": 3}, "extractor"),
        ({"parameters": ModelParameters(shape=(24, 22, 20), n_pucks=2, n_components=10)}, "model"),
    ],
)
def test_files_of_other_settings_are_refused(settings, name, run):
    run(1)
    with pytest.raises(ParameterError, match=rf"seed_00031.fits is of a run with other settings \({name}\)"):
        run(1, resume=True, **settings)


def test_files_of_another_version_are_refused(run, monkeypatch):
    run(1)
    monkeypatch.setattr("hisatools.performance.runs.version", lambda _: "99.0")
    with pytest.raises(ParameterError, match=r"other settings \(hisatools\); choose another folder"):
        run(1, resume=True)


def test_a_file_in_the_place_of_the_folder_is_named(run, tmp_path):
    (tmp_path / "models").write_text("mine")
    with pytest.raises(OutputError, match=r"cannot write .*models: "):
        run(1)


def test_settings_of_the_extractor_survive_a_file(run, tmp_path):
    """What was a tuple comes back as a list: nothing in the settings may be one."""
    made, extractor = run(1)
    back = PerformanceModel.read(tmp_path / "models" / "seed_00031.fits")
    assert back.meta == made.meta
    assert back.meta["extractor"] == extractor.settings() == HISAExtractor(n_passes=2).settings()


# --- the whole chain ------------------------------------------------------------------------------


def test_a_real_run_finds_what_can_be_found_and_can_be_resumed(tmp_path):
    parameters = ModelParameters().scaled((32, 202, 202), median_brightness=100 * u.K)
    settings = {"seed": 31, "parameters": parameters, "folder": tmp_path / "models"}
    made = PerformanceModel.run(1, extractor=HISAExtractor(n_passes=1), workers=2, **settings)
    row = made.models[0]
    assert row["n_out_all"] > 100
    assert row["n_out_true"] / row["n_out_all"] > 0.9
    clear = {
        "delta_t": (None, -20 * u.K),
        "t_unabsorbed": (80 * u.K, None),
        "velocity_width": (None, 5 * KMS),
    }
    assert made.region("throughput", **clear).value > 2 * made.region("throughput").value
    assert made.region("true_fraction", delta_t=(None, -20 * u.K)).value > 0.9
    again = PerformanceModel.run(1, extractor=HISAExtractor(n_passes=1), resume=True, **settings)
    assert_same(again, made)
    assert again.models["seconds"][0] == made.models["seconds"][0] > 0
