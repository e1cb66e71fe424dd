"""``hisatools residual-mask``: what it writes, and one line for each fault."""

import builtins

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits

from hisatools.cli import main
from hisatools.errors import InputError, ParameterError
from hisatools.io.maps import SkyMap, onto_grid, read_map
from hisatools.io.writing import image_header
from hisatools.residual_mask import ResidualMaskResult, WidthLikelihood
from hisatools.residual_mask.simulated import DustModelParameters, map_wcs, simulate_dust

SHAPE = (64, 60)
FAST = ["--growth", "0.1", "--quiet"]


@pytest.fixture(scope="module")
def model():
    parameters = DustModelParameters(shape=SHAPE, noise=0.05)
    return simulate_dust(parameters, seed=6205, velocity_width=12 * u.km / u.s, n_channels=24)


def write(path, values, header, unit=None):
    header = header.copy()
    if unit is not None:
        header["BUNIT"] = unit
    fits.writeto(path, values, header)


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("maps")
    header = image_header(map_wcs(SHAPE))
    maps = {"dust": model.tracer, "gas": model.gas.to(u.cm**-2), "error": model.error}
    for name, values in maps.items():
        write(folder / f"{name}.fits", values.value, header, values.unit.to_string("fits"))
    write(folder / "bare.fits", model.tracer.value, header)
    write(folder / "cube.fits", model.cube.kelvin, model.cube.header, "K")
    return folder


def run(folder, output, *arguments):
    paths = [str(folder / text) if text.endswith(".fits") else text for text in arguments]
    return main(["residual-mask", *paths, "--output", str(output), *FAST])


def test_maps_give_a_result_that_can_be_read(model, folder, tmp_path, capsys):
    arguments = ["--tracer", "dust.fits", "--gas", "gas.fits", "--error", "error.fits"]
    assert run(folder, tmp_path / "out", *arguments) == 0
    found = ResidualMaskResult.read(tmp_path / "out")
    assert abs(found.ratio / model.ratio - 1) < 0.04
    assert capsys.readouterr().err == ""


def test_cube_gives_mask_and_likelihood(model, folder, tmp_path):
    arguments = ["--tracer", "dust.fits", "--cube", "cube.fits", "--velocity-range", "-6", "6"]
    assert run(folder, tmp_path / "out", *arguments, "--likelihood", "6", "20", "0.2") == 0
    likelihood = WidthLikelihood.read(tmp_path / "out" / "likelihood")
    assert abs(likelihood.best["width"].value - 12) < 1.5


def test_a_map_on_another_grid_is_reprojected(model, folder, tmp_path, capsys):
    pytest.importorskip("reproject")
    wcs = map_wcs((130, 122), pixel_deg=0.5 / 60)
    fine = np.kron(model.tracer.value, np.ones((2, 2)))
    values, moved = onto_grid(
        SkyMap(fine[:, :] * u.mag, map_wcs((128, 120), 0.5 / 60), "fine"), wcs, (130, 122)
    )
    assert moved and values.shape == (130, 122)
    write(folder / "fine.fits", fine, image_header(map_wcs((128, 120), 0.5 / 60)), "mag")
    paths = [str(folder / name) for name in ("fine.fits", "gas.fits")]
    arguments = ["residual-mask", "--tracer", paths[0], "--gas", paths[1], "--growth", "0.1"]
    assert main([*arguments, "--output", str(tmp_path / "out")]) == 0
    assert "Reprojected" in capsys.readouterr().out


def test_same_grid_is_left_alone(model):
    source = SkyMap(model.tracer, map_wcs(SHAPE), "dust")
    values, moved = onto_grid(source, map_wcs(SHAPE), SHAPE)
    assert values is model.tracer and not moved
    assert onto_grid(SkyMap(model.tracer, None, "dust"), None, SHAPE)[1] is False


def test_missing_reproject_names_the_extra(model, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "reproject":
            raise ModuleNotFoundError("No module named 'reproject'", name="reproject")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ParameterError, match=r"hisatools\[significance\]"):
        onto_grid(SkyMap(model.tracer, map_wcs(SHAPE), "dust"), map_wcs((9, 9)), (9, 9))


def test_maps_that_do_not_meet_are_refused(model):
    pytest.importorskip("reproject")
    far = map_wcs(SHAPE)
    far.wcs.crval = 20.0, 0.0
    with pytest.raises(InputError, match="does not reach the field"):
        onto_grid(SkyMap(model.tracer, far, "dust"), map_wcs(SHAPE), SHAPE)
    with pytest.raises(InputError, match="without sky axes"):
        onto_grid(SkyMap(model.tracer, None, "dust"), map_wcs((9, 9)), (9, 9))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tracer", "none.fits", "--gas", "gas.fits"], "no such file"),
        (["--tracer", "bare.fits", "--gas", "gas.fits"], "no BUNIT"),
        (["--tracer", "dust.fits", "--gas", "cube.fits"], "is no map"),
        (["--tracer", "dust.fits", "--gas", "gas.fits", "--tracer-unit", "magg"], "not known"),
        (["--tracer", "dust.fits"], "no gas"),
        (["--tracer", "dust.fits", "--cube", "cube.fits"], "--velocity-range is needed"),
        (["--tracer", "dust.fits", "--gas", "gas.fits", "--cube", "cube.fits"], "beside --cube"),
        (["--tracer", "dust.fits", "--gas", "gas.fits", "--velocity-range", "1", "2"], "leave it out"),
        (
            ["--tracer", "dust.fits", "--gas", "gas.fits", "--likelihood", "1", "2", "3"],
            "in place of --gas",
        ),
        (["--tracer", "dust.fits", "--gas", "gas.fits", "--n-sigma", "-1"], "n_sigma"),
        (
            ["--tracer", "dust.fits", "--cube", "cube.fits", "--velocity-range", "90", "99"],
            "outside the band",
        ),
    ],
)
def test_faults_are_one_line(folder, tmp_path, capsys, arguments, message):
    assert run(folder, tmp_path / "out", *arguments) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("widths", [["9", "3", "1"], ["0", "3", "1"], ["3", "9", "30"]])
def test_impossible_widths_are_one_line(folder, tmp_path, capsys, widths):
    arguments = ["--tracer", "dust.fits", "--cube", "cube.fits", "--velocity-range", "-6", "6"]
    assert run(folder, tmp_path / "out", *arguments, "--likelihood", *widths) == 1
    assert "--likelihood needs" in capsys.readouterr().err


def test_inputs_are_never_overwritten(folder, capsys):
    code = run(folder, folder, "--tracer", "dust.fits", "--gas", "gas.fits", "--overwrite")
    assert code == 1
    assert "lies in the output folder" in capsys.readouterr().err


def test_units_of_a_header_can_be_given(folder):
    assert read_map(folder / "bare.fits", unit="mag").values.unit == u.mag


def test_no_likelihood_of_an_older_run_stays(folder, tmp_path, monkeypatch):
    # Figures take longer than all else.
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda _, path, **__: path.touch())
    arguments = ["--tracer", "dust.fits", "--cube", "cube.fits", "--velocity-range", "-6", "6"]
    assert run(folder, tmp_path / "out", *arguments, "--likelihood", "6", "20", "1") == 0
    kept = tmp_path / "out" / "likelihood"
    (kept / "notes.txt").write_text("mine")
    assert (kept / "corner.png").exists()
    assert run(folder, tmp_path / "out", *arguments, "--overwrite") == 0
    assert [path.name for path in kept.iterdir()] == ["notes.txt"]
    (kept / "notes.txt").unlink()
    assert run(folder, tmp_path / "out", *arguments, "--overwrite") == 0
    assert not kept.exists()


def test_another_cube_than_the_result_is_refused(model):
    from types import SimpleNamespace

    from hisatools._residual_verb import _check_cube

    wcs = model.cube.wcs.deepcopy()
    wcs.wcs.crval[2] += 5000
    arguments = SimpleNamespace(cube="cube.fits")
    flags = np.zeros(model.cube.shape, np.uint8)
    _check_cube(arguments, model.cube, SimpleNamespace(flags=flags, wcs=model.cube.wcs))
    with pytest.raises(InputError, match="other velocities"):
        _check_cube(arguments, model.cube, SimpleNamespace(flags=flags, wcs=wcs))
    with pytest.raises(InputError, match="has the shape"):
        _check_cube(arguments, model.cube, SimpleNamespace(flags=flags[1:], wcs=model.cube.wcs))
