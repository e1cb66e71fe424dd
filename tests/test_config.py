"""Options from TOML files, the record that a run leaves, and its repetition from that."""

import re
import textwrap
import tomllib
from pathlib import Path

import numpy as np
import pytest
import tomli_w
from astropy.io import fits

import hisatools
from hisatools._arguments import build_parser
from hisatools._config import DEPENDANTS, names_a_file, parse_arguments
from hisatools._objects import INPUTS
from hisatools._parameter_changes import parameter_changes, parameter_sets
from hisatools.cli import VERBS, main
from hisatools.datasets import example_result
from hisatools.errors import HISAWarning, InputError, OutputError, ParameterError
from hisatools.io.writing import recording, run_file_beside, writing_file, writing_folder

ROOT = Path(__file__).parents[1]


def parsed(*argv):
    return parse_arguments(lambda: build_parser(VERBS), [str(word) for word in argv])


@pytest.fixture
def config(tmp_path):
    """A function that writes a configuration and returns where it is."""

    def write(name="run.toml", /, **content):
        path = tmp_path / name
        path.write_text(tomli_w.dumps(content))
        return path

    return write


def one_error(capsys):
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("hisatools: error: ")
    return line


# --- reading ------------------------------------------------------------------------------------


def test_a_table_of_the_verb_and_plain_keys_give_the_same(config):
    options = {"min-reliability": 0.9, "velocity_range": [-60, 20.5], "passes": 2, "progress": True}
    in_table = config("a.toml", extract=options | {"cube": "cube.fits"}, noise={"strategy": "mesh"})
    plain = config("b.toml", verb="extract", cube="cube.fits", **options)
    for path in (in_table, plain):
        arguments = parsed("extract", "--config", path, "--output", "out")
        assert (arguments.min_reliability, arguments.velocity_range) == (0.9, [-60.0, 20.5])
        assert (arguments.passes, arguments.progress, arguments.unabsorbed) == (2, True, "shell")


def test_plain_keys_are_for_every_verb_and_a_table_wins_over_them(config):
    path = config(preset="cgps", workers=3, cubes=["a.fits", "b.fits"], noise={"workers": 1})
    assert parsed("noise", "--config", path, "--output", "out").workers == 1


def test_the_command_line_wins_over_the_file(config):
    path = config(cube="cube.fits", passes=2, output="there", set=["shell.a=1"])
    arguments = parsed(
        "extract", "other.fits", "--passes", "3", "--config", path, "--output", "out", "--set", "shell.a=2"
    )
    assert (arguments.cube, arguments.passes, arguments.output) == ("other.fits", 3, "out")
    assert arguments.set == ["shell.a=1", "shell.a=2"]  # the last one counts


def test_a_default_that_is_typed_wins_over_the_file(config):
    assert (
        parsed("extract", "c.fits", "--output", "o", "--passes", "3", "--config", config(passes=2)).passes
        == 3
    )


def test_of_options_that_exclude_each_other_the_one_that_is_typed_stands(config):
    path = config(gas={"result": "out", "t-spin": 40})
    arguments = parsed("gas", "--config", path, "--output", "gas")
    assert (arguments.t_spin, arguments.tau) == ("40", None)
    arguments = parsed("gas", "--config", path, "--output", "gas", "--tau", "1")
    assert (arguments.t_spin, arguments.tau) == (None, "1")


def test_what_belongs_to_an_option_of_the_file_goes_with_it(config):
    path = config("gas.toml", **{"result": "out", "t-spin": 40, "t-spin-error": 5, "distance-error": "1 kpc"})
    arguments = parsed("gas", "--config", path, "--output", "gas", "--tau", "1")
    assert (arguments.t_spin, arguments.t_spin_error, arguments.tau) == (None, None, "1")
    assert arguments.distance_error == "1 kpc"
    assert "t-spin-error" not in arguments.record
    assert parsed("gas", "--config", path, "--output", "gas", "--t-spin", "50").t_spin_error == "5"

    path = config(
        "export.toml", **{"result": "out", "rotation-curve": "flat", "side": "far", "dispersion": "9"}
    )
    arguments = parsed("export", "--config", path, "--output", "o", "--distance", "2")
    assert (arguments.rotation_curve, arguments.side, arguments.dispersion) == (None, None, None)
    # What is typed is never dropped: that it does not fit is said.
    assert (
        parsed("export", "--config", path, "--output", "o", "--distance", "2", "--side", "near").side
        == "near"
    )
    assert parsed("export", "--config", path, "--output", "o", "--rotation-curve", "reid19").side == "far"


def test_every_dependant_is_an_option_of_its_verb():
    options = {action.dest for verb in build_parser(VERBS).verbs.values() for action in verb._actions}
    assert set(DEPENDANTS) | {name for names in DEPENDANTS.values() for name in names} <= options


def test_a_number_or_file_is_a_file_of_the_configuration_where_it_is_no_number(config, tmp_path):
    for text, expected in {
        "5.5": "5.5",
        "5.5 K": "5.5 K",
        "5500mK": "5500mK",
        "gone.fits": str(tmp_path / "gone.fits"),
        "maps/5K.fits": str(tmp_path / "maps" / "5K.fits"),
    }.items():
        arguments = parsed("gas", "--config", config(result="out", tau=1, continuum=text), "--output", "g")
        assert arguments.continuum == expected
        assert arguments.record["continuum"] == expected


def test_positional_arguments_of_a_file_leave_room_for_options(config):
    path = config(cubes=["a.fits", "b.fits"], output="noise")
    arguments = parsed("noise", "--config", path, "--workers", "2")
    assert [Path(cube).name for cube in arguments.cubes] == ["a.fits", "b.fits"]
    assert parsed("noise", "--config", path, "--workers", "2", "c.fits").cubes == ["c.fits"]


def test_files_are_relative_to_the_configuration_and_others_are_texts(config, tmp_path, monkeypatch):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    monkeypatch.chdir(folder)
    path = config(result="out", tau=1, continuum="5.5", distance="2 kpc", output="~/gas")
    arguments = parsed("gas", "--config", path)
    assert arguments.result == str(tmp_path / "out")
    assert arguments.output == str(Path("~/gas").expanduser())
    assert (arguments.continuum, arguments.distance) == ("5.5", "2 kpc")
    (tmp_path / "map.fits").touch()
    assert parsed(
        "gas", "--config", config(result="out", tau=1, continuum="map.fits", output="g")
    ).continuum == str(tmp_path / "map.fits")


def test_parameters_may_stand_in_a_table(config):
    changes = {"spatial": {"clean_fwhm": "15 arcmin", "peak_rank": 5}, "line-free": {"x": True}}
    path = config(cube="c.fits", output="o", set=changes)
    assert parsed("extract", "--config", path).set == [
        "spatial.clean_fwhm=15 arcmin",
        "spatial.peak_rank=5",
        "line-free.x=True",
    ]


def test_configurations_in_the_documentation_are_understood(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pages = [(ROOT / "docs" / f"{name}.rst").read_text(encoding="utf-8") for name in ("command", "reading")]
    blocks = re.findall(r"\.\. code-block:: toml\n\n((?:   .*\n|\n)+)", "".join(pages))
    for block in blocks:
        text = textwrap.dedent(block)
        Path(re.search(r"^# (\w+\.toml)", text)[1]).write_text(text)
    commands = re.findall(r"hisatools (\w+ [^\n,]*--config (?!out)[^\n,]*)", "".join(pages))
    assert len(commands) == 4
    arguments = [parsed(*command.split()) for command in commands]
    assert arguments[1].passes == 5
    assert arguments[0].set == ["spatial.clean_fwhm=30 arcmin", "extraction.min_weight=0.5"]
    for one in arguments:
        if one.verb_name == "extract":
            parameter_sets(one.preset, parameter_changes(one))


def test_run_finds_the_verb(config):
    path = config(extract={"cube": "c.fits", "output": "o"})
    assert parsed("run", path, "--passes", "1").verb is VERBS["extract"]
    path = config(verb="noise", extract={"cube": "c.fits"}, noise={"cubes": ["c.fits"], "output": "o"})
    assert parsed("run", path).verb is VERBS["noise"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("min-reliable = 0.9", "run.toml: unknown key 'min-reliable' for extract; known: beam, clean, "),
        ("config = 'x'", "run.toml: unknown key 'config' for extract"),
        ("passes = 2.5", "run.toml: passes needs a whole number, got 2.5"),
        ("passes = true", "run.toml: passes needs a whole number, got True"),
        ("min_reliability = '0.9'", "run.toml: min_reliability needs a number, got '0.9'"),
        ("progress = 1", "run.toml: progress needs true or false, got 1"),
        ("verbose = true", "run.toml: verbose needs a whole number, got True"),
        ("region = 5", "run.toml: region needs a text in quotes, got 5"),
        ("preset = ['cgps']", "run.toml: preset needs a text in quotes, got ['cgps']"),
        ("velocity-range = [1.0]", "run.toml: velocity-range needs a list of 2 values, got [1.0]"),
        ("velocity-range = ['a', 'b']", "run.toml: velocity-range needs a number, got 'a'"),
        ("set = [3]\nset_x = 1", "run.toml: unknown key 'set_x' for extract"),
        ("set.spatial = 3", "run.toml: set.spatial needs a table of parameters, got 3"),
        ("set.spatial.x = [3]", "run.toml: set.spatial.x needs a number or a text, got [3]"),
        (
            "min-reliability = 1\nmin_reliability = 1",
            "'min-reliability' and 'min_reliability' are one option",
        ),
        (
            "passes = x",
            "run.toml is no TOML file: Invalid value (at line 1, column 10); texts stand in quotes",
        ),
        ("verb = 'noise'\nworkers = 2", "run.toml is for noise, not for extract; add a table [extract]"),
        ("[noise]\nworkers = 2", "run.toml is for noise, not for extract; add a table [extract]"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_line_that_names_it(text, message, tmp_path, capsys):
    (tmp_path / "run.toml").write_text(text)
    command = ["extract", "c.fits", "--output", str(tmp_path / "o"), "--config", str(tmp_path / "run.toml")]
    assert main(command) == 1
    assert message in one_error(capsys)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cube = 'c.fits'", 'run.toml names no verb; add for example the line verb = "extract" at its top'),
        ("[noise]\n[extract]", "run.toml names no verb"),
        ("verb = 'search'", "run.toml: unknown verb 'search'; known: extract, "),
        ("verb = 'run'", "run.toml: unknown verb 'run'"),
        ("verb = 'gas'\nt_spin = 40\ntau = 1", "run.toml: t_spin and tau exclude each other"),
        ("verb = 'performance'\nnoise = 'loud'", "run.toml: noise must be one of drawn, own, got 'loud'"),
    ],
)
def test_what_cannot_be_run_is_one_line(text, message, tmp_path, capsys):
    (tmp_path / "run.toml").write_text(text)
    assert main(["run", str(tmp_path / "run.toml")]) == 1
    assert message in one_error(capsys)
    assert main(["run", str(tmp_path / "none.toml")]) == 1
    assert "none.toml: no such file; give a TOML file" in one_error(capsys)


@pytest.mark.parametrize("arguments", ["--config", "--conf run.toml", "--config run.toml"])
def test_what_is_missing_or_cut_short_is_usage(arguments, config, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    config(passes=1)
    assert main(["extract", "c.fits", *arguments.split()]) == 2


def test_a_file_of_another_version_is_a_warning(config):
    path = config(hisatools="0.0.1", cube="c.fits", output="o")
    with pytest.warns(HISAWarning, match=r"run.toml was written by hisatools 0.0.1, and this is "):
        parsed("extract", "--config", path)


def test_every_input_is_known_as_a_file():
    actions = [action for verb in build_parser(VERBS).verbs.values() for action in verb._actions]
    for name in INPUTS:
        of_name = [action for action in actions if action.dest == name and not action.choices]
        assert of_name and all(map(names_a_file, of_name)), name
    assert not any(names_a_file(action) for action in actions if action.dest in ("set", "preset", "beam"))


# --- the record ---------------------------------------------------------------------------------


@pytest.fixture
def result_written(monkeypatch):
    """Extraction and reading of a cube are left out: `extract` writes the example."""
    found = example_result()
    monkeypatch.setattr("hisatools.cli.read_cube", lambda arguments: found)
    monkeypatch.setattr("hisatools.cli.reading", lambda cube, path: f"Read {path}")
    monkeypatch.setattr("hisatools.HISAExtractor.run", lambda *_, **__: found)
    monkeypatch.setattr("hisatools.summary.plot_summary", lambda _, path, **__: path.write_bytes(b"picture"))


def test_the_record_holds_what_defines_the_run(result_written, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = "extract cube.fits --output out --passes 2 --velocity-range -60 20 --workers 1 --quiet"
    assert main([*command.split(), "--set", "spatial.peak_rank=5"]) == 0
    text = Path("out/run.toml").read_text()
    assert text.startswith("# Repeat this run with: hisatools run FILE --output NEW\n")
    assert tomllib.loads(text) == {
        "verb": "extract",
        "hisatools": hisatools.__version__,
        "extract": {
            "cube": str(tmp_path / "cube.fits"),
            "preset": "cgps",
            "unabsorbed": "shell",
            "passes": 2,
            "velocity-range": [-60.0, 20.0],
            "set": ["spatial.peak_rank=5"],
        },
    }


def test_a_record_is_that_of_the_result_beside_it(result_written, tmp_path):
    out = tmp_path / "out"
    command = ["extract", "cube.fits", "--output", str(out), "--quiet"]
    assert main([*command, "--passes", "1"]) == 0
    assert main([*command, "--passes", "2", "--overwrite"]) == 0
    assert tomllib.loads((out / "run.toml").read_text())["extract"]["passes"] == 2
    example_result().write(out, overwrite=True)  # from Python: by no command
    assert not (out / "run.toml").exists()


def test_a_record_never_replaces_the_configuration(result_written, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["extract", "cube.fits", "--output", str(out), "--quiet"]) == 0
    before = (out / "run.toml").read_text()
    for output in (out, tmp_path / "nowhere" / ".." / "out"):
        assert main(["run", str(out / "run.toml"), "--output", str(output), "--overwrite"]) == 1
        assert "run.toml: the record of this run would replace it; choose another" in one_error(capsys)
    mine = tmp_path / "sigma.run.toml"
    mine.write_text("cubes = ['cube.fits']")
    assert main(["noise", "--config", str(mine), "--output", str(tmp_path / "sigma.fits")]) == 1
    assert "sigma.run.toml: the record of this run would replace it" in one_error(capsys)
    assert (out / "run.toml").read_text() == before


def test_result_and_record_appear_together_or_not_at_all(tmp_path):
    out = tmp_path / "out"
    with pytest.raises(ZeroDivisionError), recording(out, "x = 1"), writing_folder(out) as part:
        (part / "a.txt").write_text("a")
        raise ZeroDivisionError
    assert not any(tmp_path.iterdir())
    with recording(out, "x = 1"), writing_folder(out) as part:
        (part / "a.txt").write_text("a")
    assert {path.name for path in out.iterdir()} == {"a.txt", "run.toml"}
    with writing_folder(tmp_path / "other") as part:
        (part / "a.txt").write_text("a")
    assert {path.name for path in (tmp_path / "other").iterdir()} == {"a.txt"}


def test_file_and_record_appear_together_or_not_at_all(tmp_path):
    path = tmp_path / "sigma.fits"
    with recording(path, "x = 1"):
        with pytest.raises(ZeroDivisionError), writing_file(path) as part:
            part.write_text("a")
            raise ZeroDivisionError
        assert not any(tmp_path.iterdir())
        run_file_beside(path).mkdir()
        with pytest.raises(OutputError, match=r"sigma.run.toml is a folder where a file is to be"):
            writing_file(path).__enter__()
        run_file_beside(path).rmdir()
        with writing_file(path) as part:
            part.write_text("a")
    assert {path.name for path in tmp_path.iterdir()} == {"sigma.fits", "sigma.run.toml"}
    assert (tmp_path / "sigma.run.toml").read_text() == "x = 1"


# --- repeating ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "model"
    assert main(f"simulate --output {folder} --shape 24 72 72 --seed 3 --quiet".split()) == 0
    return folder


def test_a_run_is_repeated_by_one_command(model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(model)
    monkeypatch.setattr("hisatools.summary.plot_summary", lambda _, path, **__: path.write_bytes(b"picture"))
    options = "--passes 1 --critical-brightness 20 --set extraction.min_significance=1 --workers 1 --quiet"
    first, again, config = (tmp_path / name for name in ("first", "again", "config"))
    assert main(["extract", "cube.fits", "--output", str(first), *options.split()]) == 0
    monkeypatch.chdir(tmp_path)
    assert main(["run", "first/run.toml", "--output", "again", "--quiet"]) == 0
    assert main(["extract", "--config", "first/run.toml", "--output", "config", "--quiet"]) == 0
    assert fits.getdata(first / "mask.fits").max() == 7, "nothing was found"
    for other in (again, config):
        for name in ("delta_t.fits", "mask.fits"):
            np.testing.assert_array_equal(fits.getdata(other / name), fits.getdata(first / name))
        for name in ("catalog.ecsv", "run.toml"):
            assert (other / name).read_bytes() == (first / name).read_bytes()


def test_noise_of_each_of_several_cubes_is_repeated_by_its_own_record(model, tmp_path):
    cubes = [tmp_path / "a.fits", tmp_path / "b.fits"]
    for path in cubes:
        path.write_bytes((model / "cube.fits").read_bytes())
    assert main(["noise", *map(str, cubes), "--output", str(tmp_path / "noise"), "--quiet"]) == 0
    record = tmp_path / "noise" / "b_noise.run.toml"
    assert tomllib.loads(record.read_text())["noise"]["cubes"] == [str(cubes[1])]
    assert main(["run", str(record), "--output", str(tmp_path / "b.sigma.fits"), "--quiet"]) == 0
    np.testing.assert_array_equal(
        fits.getdata(tmp_path / "b.sigma.fits"), fits.getdata(tmp_path / "noise" / "b_noise.fits")
    )
    assert (tmp_path / "b.sigma.run.toml").read_text() == record.read_text()


def test_the_demo_records_its_run_with_its_result(tmp_path, monkeypatch):
    monkeypatch.setattr("hisatools.cli.DEMO_SHAPE", (32, 72, 72))
    monkeypatch.setattr("hisatools.summary.plot_summary", lambda _, path, **__: path.write_bytes(b"picture"))
    out = tmp_path / "demo"
    assert main(["demo", "--output", str(out), "--quiet"]) == 0
    assert tomllib.loads((out / "result" / "run.toml").read_text())["demo"] == {"seed": 2}
    assert parsed("run", out / "result" / "run.toml").output == "hisa_demo"


def test_errors_of_a_file_are_of_the_kinds_that_say_what_is_at_fault(config):
    with pytest.raises(InputError, match="no such file"):
        parsed("extract", "--config", "none.toml")
    with pytest.raises(ParameterError, match="unknown key"):
        parsed("extract", "--config", config(nope=1))
