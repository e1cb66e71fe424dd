"""``hisatools significance``: what it writes and says, how it goes on, and what it refuses."""

from types import SimpleNamespace

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable
from numpy.testing import assert_array_equal

from hisatools import HISACube, HISAResult, MaskBit
from hisatools._significance_verb import _extractor_of
from hisatools.catalog import build_catalog
from hisatools.cli import main
from hisatools.errors import InputError
from hisatools.features import label_features
from hisatools.noise import NoiseEstimator
from hisatools.significance.outcome import Significance
from hisatools.simulate import ModelParameters, simulate_cube

SHAPE = (20, 40, 40)
FAST = ["--widths", "1", "3", "--linewidths", "3", "--workers", "1"]


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    """A folder with a cube, its result, a prior, a mask, regions and a noise map."""
    folder = tmp_path_factory.mktemp("field")
    model = simulate_cube(ModelParameters(shape=SHAPE, n_pucks=6, n_components=60), seed=104)
    model.write(folder / "model")
    cube = HISACube.read(folder / "model" / "cube.fits")
    t_unabsorbed = model.t_unabsorbed.to_value(u.K).astype(np.float32)
    mask = (model.delta_t.to_value(u.K) < -8) & (cube.kelvin < t_unabsorbed)
    labels, _ = label_features(mask)
    kelvin, first_pass = t_unabsorbed[mask], mask.astype(np.uint8)
    HISAResult(
        t_on=cube.kelvin * u.K,
        unabsorbed_kelvin=kelvin,
        flags=mask * np.uint8(MaskBit.SPECTRAL | MaskBit.ACCEPTED),
        labels=labels,
        first_pass=first_pass,
        catalog=build_catalog(cube.kelvin, kelvin, labels, first_pass, cube.wcs),
        wcs=cube.wcs,
    ).write(folder / "result")
    sky = cube.wcs.celestial.to_header()
    fits.writeto(folder / "prior.fits", mask.any(axis=0).astype(np.float32), sky)
    half = np.zeros(SHAPE[1:], np.uint8)
    half[:, 20:] = 1
    fits.writeto(folder / "half.fits", half, sky)
    (folder / "half.reg").write_text("image\nbox(30.5,20.5,20,40,0)\n")
    (folder / "none.reg").write_text("galactic\ncircle(10,40,0.01)\n")
    NoiseEstimator("mad-difference").estimate(cube).write(folder / "noise.fits")
    return folder


@pytest.fixture(autouse=True)
def no_figure(request, monkeypatch):
    """The figure takes longer than all else; it is drawn where everything is looked at."""
    if request.node.name != "test_everything_at_once":
        monkeypatch.setattr("hisatools.significance.files._write_figure", lambda *_: None)


def run(field, output, *options):
    cube = str(field / "model" / "cube.fits")
    return main(["significance", cube, "--output", str(output), *FAST, *map(str, options)])


def test_everything_at_once(field, tmp_path, capsys):
    options = [
        "--result",
        field / "result",
        "--prior",
        field / "prior.fits",
        "--floor",
        "0.01",
        "--smooth",
        "1",
    ]
    options += ["--noise", field / "noise.fits", "--trials", "5", "--peaks", "16"]
    assert run(field, tmp_path / "out", *options) == 0
    found = Significance.read(tmp_path / "out")
    assert len(found.trials) == 5
    assert found.meta["prior"]["floor"] == 0.01
    assert {"ts", "ts_prior", "p_local", "p_global"} <= set(found.catalog.colnames)
    assert found.ts.shape == SHAPE
    assert (tmp_path / "out" / "significance.png").stat().st_size > 10_000
    text = capsys.readouterr()
    assert text.err == ""
    lines = text.out.splitlines()
    assert any(line.startswith("Each trial takes about") for line in lines)
    assert any(line.startswith("Hottest place: l = ") and "with the prior" in line for line in lines)
    assert any("trials without absorption a place is as hot: p = " in line for line in lines)
    assert any("features with p_global < 0.05" in line for line in lines)
    (heading,) = (line for line in lines if "p_local" in line)
    assert heading.split()[:3] == ["id", "name", "TS"]
    best = found.catalog[np.argmax(found.catalog["ts_prior"])]
    first = lines[lines.index(heading) + 1].split()
    assert first[0] == str(best["id"])
    assert f"{best['ts']:.1f}" in first


def test_cube_alone(field, tmp_path, capsys):
    assert run(field, tmp_path / "out", "--trials", "0") == 0
    found = Significance.read(tmp_path / "out")
    assert found.catalog is None
    assert found.trials is None
    assert "trial" not in capsys.readouterr().out
    assert not (tmp_path / "out" / "trials").exists()


def test_quiet_says_nothing(field, tmp_path, capsys):
    assert run(field, tmp_path / "out", "--trials", "0", "--quiet") == 0
    assert capsys.readouterr().out == ""


def test_resumed_trials_are_those_of_one_run(field, tmp_path, capsys):
    assert run(field, tmp_path / "one", "--trials", "4", "--seed", "6430") == 0
    assert run(field, tmp_path / "two", "--trials", "2", "--seed", "6430") == 0
    assert run(field, tmp_path / "two", "--trials", "4", "--seed", "6430") == 1
    assert "--overwrite" in capsys.readouterr().err
    assert run(field, tmp_path / "two", "--trials", "4", "--seed", "6430", "--resume") == 0
    one, two = (QTable.read(tmp_path / name / "trials.ecsv") for name in ("one", "two"))
    assert_array_equal(one["ts"], two["ts"])
    # Of other settings they are refused, and overwritten when asked for.
    other = ["--seed", "6430", "--prior", field / "prior.fits"]
    assert run(field, tmp_path / "two", "--trials", "4", "--resume", *other) == 1
    assert run(field, tmp_path / "two", "--trials", "3", "--overwrite", *other) == 0
    assert len(QTable.read(tmp_path / "two" / "trials.ecsv")) == 3


@pytest.mark.parametrize("name", ["half.fits", "half.reg"])
def test_within_leaves_the_rest_out(field, tmp_path, name):
    assert run(field, tmp_path / "out", "--trials", "0", "--within", field / name) == 0
    ts = Significance.read(tmp_path / "out").ts
    assert np.isnan(ts[:, :, :20]).all()
    assert np.isfinite(ts[:, :, 20:]).any()


def test_several_priors_are_multiplied(field, tmp_path):
    assert (
        run(field, tmp_path / "out", "--trials", "0", "--prior", field / "prior.fits", field / "half.fits")
        == 0
    )
    found = Significance.read(tmp_path / "out")
    assert " x " in found.meta["prior"]["name"]
    assert not found.ts_prior[:, :, :20].any()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--prior", "nowhere.fits"], "nowhere.fits: no such file"),
        (["--result", "nowhere"], "is missing"),
        (["--noise", "nowhere.fits"], "nowhere.fits: no such file"),
        (["--within", "nowhere.reg"], "nowhere.reg: no such file"),
        (["--widths", "0"], "widths must be"),
        (["--linewidths", "wide"], "--linewidths: 'wide' is neither"),
        (["--floor", "0.1"], "--floor is for a prior"),
        (["--smooth", "2"], "--smooth is for a prior"),
        (["--frame", "icrs"], "--frame is for a prior"),
        (["--trials", "-1"], "--trials must be"),
        (["--seed", "-1"], "--seed must be"),
        (["--peaks", "0"], "--peaks must be"),
        (["--reliability"], "--reliability is for features"),
        (["--workers", "0"], "workers must be"),
    ],
)
def test_bad_arguments_are_one_line(field, tmp_path, capsys, monkeypatch, options, text):
    monkeypatch.chdir(tmp_path)
    assert run(field, "out", "--trials", "0", *options) == 1
    error = capsys.readouterr().err
    assert text in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_bad_files_are_one_line(field, tmp_path, capsys):
    fits.writeto(tmp_path / "small.fits", np.ones((5, 5), np.float32))
    fits.PrimaryHDU().writeto(tmp_path / "empty.fits")
    for options, text in (
        (["--within", field / "none.reg"], "no pixel"),
        (["--within", tmp_path / "small.fits"], "the mask has the shape (5, 5)"),
        (["--within", tmp_path / "empty.fits"], "holds no image"),
        (["--prior", field / "prior.fits", "--floor", "3"], "floor"),
        (["--prior", field / "prior.fits", "--smooth", "x"], "--smooth: 'x'"),
    ):
        assert run(field, tmp_path / "out", "--trials", "0", *options) == 1
        assert text in capsys.readouterr().err.splitlines()[-1]


def test_result_of_another_cut_is_refused(field, tmp_path, capsys):
    options = ["--result", field / "result", "--velocity-range", "-50", "-40"]
    assert run(field, tmp_path / "out", "--trials", "0", *options) == 1
    assert "--velocity-range and --region" in capsys.readouterr().err


def test_inputs_are_never_in_the_output_folder(field, tmp_path, capsys):
    assert run(field, field / "result", "--result", field / "result", "--overwrite") == 1
    assert run(field, field, "--prior", field / "prior.fits", "--overwrite") == 1
    assert capsys.readouterr().err.count("the input lies in the output folder") == 2


def test_extractor_is_made_anew_of_the_provenance():
    from hisatools import HISAExtractor, SpectralParameters, SpectralSearcher

    extractor = HISAExtractor(spectral=SpectralSearcher(SpectralParameters(threshold=2.5)), n_passes=2)

    own = {
        "spectral": extractor.spectral.parameters,
        "spatial": extractor.spatial.parameters,
        "extraction": extractor.parameters,
        "shell": extractor.unabsorbed.parameters,
    }
    written = {name: one.to_dict() for name, one in own.items()} | {"n_passes": 2}
    result = SimpleNamespace(meta={"parameters": written, "strategies": {"unabsorbed": "shell"}})
    again = _extractor_of(result)
    assert again.spectral.parameters == extractor.spectral.parameters
    assert again.spatial.parameters == extractor.spatial.parameters
    assert again.unabsorbed.parameters == extractor.unabsorbed.parameters
    assert again.n_passes == 2
    result.meta.clear()
    with pytest.raises(InputError, match="extract once more"):
        _extractor_of(result)


def test_mask_of_another_field_and_empty_mask_are_refused(field, tmp_path, capsys):
    inside, header = fits.getdata(field / "half.fits", header=True)
    header["CRVAL1"] += 1
    fits.writeto(tmp_path / "other.fits", inside, header)
    fits.writeto(tmp_path / "nothing.fits", 0 * inside)
    for name, text in (("other.fits", "another part of the sky"), ("nothing.fits", "0 or blank everywhere")):
        assert run(field, tmp_path / "out", "--trials", "0", "--within", tmp_path / name) == 1
        assert text in capsys.readouterr().err


def test_axes_of_length_1_of_a_mask_say_nothing(field, tmp_path):
    inside = np.zeros((1, *SHAPE), np.uint8)
    inside[0, 5:9] = 1
    fits.writeto(tmp_path / "four.fits", inside)
    assert run(field, tmp_path / "out", "--trials", "0", "--within", tmp_path / "four.fits") == 0
    ts = Significance.read(tmp_path / "out").ts
    assert np.isfinite(ts[5:9]).any() and np.isnan(ts[:5]).all() and np.isnan(ts[9:]).all()
