"""Shell completion: the scripts are whole, and bash completes with its own."""

import shutil
import subprocess

import pytest

from hisatools._completion import completion_script
from hisatools.cli import VERBS, main
from hisatools.strategies import available

needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")


@pytest.fixture(scope="module")
def bash_script(tmp_path_factory):
    path = tmp_path_factory.mktemp("completion") / "hisatools.bash"
    path.write_text(completion_script("bash"))
    return path


def completed(script, folder, *words):
    """What bash offers for the last word."""
    line = " ".join(words)
    code = f"""
        source {script}
        COMP_WORDS=({" ".join(f"'{word}'" for word in words)}); COMP_CWORD={len(words) - 1}
        COMP_LINE='{line}'; COMP_POINT={len(line)}
        $(complete -p hisatools | sed -E 's/.*-F ([^ ]+).*/\\1/') hisatools '{words[-1]}' '{words[-2]}'
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "--norc", "-c", code], cwd=folder, capture_output=True, text=True, timeout=20, check=True
    )
    return set(done.stdout.split())


@needs_bash
def test_the_script_for_bash_is_valid(bash_script):
    subprocess.run(["bash", "-n", bash_script], check=True, timeout=20)


@needs_bash
def test_bash_completes_verbs_and_options(bash_script, tmp_path):
    assert completed(bash_script, tmp_path, "hisatools", "ex") == {"extract", "export"}
    assert completed(bash_script, tmp_path, "hisatools", "extract", "--min") == {"--min-reliability"}


@needs_bash
def test_bash_completes_names_that_options_take(bash_script, tmp_path):
    spatial = {name for name in available("unabsorbed") if name.startswith("spatial")}
    assert completed(bash_script, tmp_path, "hisatools", "extract", "--unabsorbed", "spatial") == spatial
    assert completed(bash_script, tmp_path, "hisatools", "extract", "--preset", "c") == {"cgps"}
    assert completed(bash_script, tmp_path, "hisatools", "noise", "--strategy", "mad") == {"mad-difference"}
    assert completed(bash_script, tmp_path, "hisatools", "extract", "--clean", "n") == {"numba"}


@needs_bash
def test_bash_completes_files_where_files_are_meant(bash_script, tmp_path):
    (tmp_path / "cube.fits").touch()
    (tmp_path / "cubes").mkdir()
    found = completed(bash_script, tmp_path, "hisatools", "extract", "--region", "cub")
    assert {name.rstrip("/") for name in found} == {"cube.fits", "cubes"}
    assert not completed(bash_script, tmp_path, "hisatools", "extract", "--passes", "cub")


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_every_shell_has_a_script_with_every_verb(shell, capsys):
    assert main(["completion", shell]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert all(verb in said.out for verb in VERBS)


def test_a_shell_that_is_not_known_is_usage(capsys):
    assert main(["completion", "fish"]) == 2
    assert "choose from" in capsys.readouterr().err
