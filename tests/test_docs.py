"""What the documentation shows must be true: every example in it is run."""

import doctest
import importlib
import pkgutil
import re
import warnings
from pathlib import Path

import pytest

import hisatools

ROOT = Path(__file__).resolve().parents[1]
# An example marked so may warn; this is the name that pytest-doctestplus gives it.
IGNORE_WARNINGS = doctest.register_optionflag("IGNORE_WARNINGS")
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def modules_with_examples():
    found = pkgutil.walk_packages(hisatools.__path__, "hisatools.")
    origins = {info.name: Path(info.module_finder.find_spec(info.name, None).origin) for info in found}
    return sorted(name for name, path in origins.items() if has_examples(path))


def pages_with_examples():
    return [page for page in sorted((ROOT / "docs").glob("*.rst")) if has_examples(page)]


def has_examples(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    return any(">>> " in line and "+SKIP" not in line for line in lines)


class Runner(doctest.DocTestRunner):
    """Lets a docstring warn if one of its examples is marked with IGNORE_WARNINGS."""

    def run(self, test, **kwargs):
        with warnings.catch_warnings():
            if any(example.options.get(IGNORE_WARNINGS) for example in test.examples):
                warnings.simplefilter("ignore")
            return super().run(test, **kwargs)


# Examples that need a package of an extra; continuous integration installs all of them.
NEEDED = {
    "hisatools.line_background.background": "iminuit",
    "hisatools.noise.mesh": "photutils",
    "hisatools.noise.result": "photutils",
    "hisatools.report.page": "itables",
    "hisatools.significance.prior_sources": "astropy_healpix",
    "line_background": "iminuit",
    "priors": "astropy_healpix",
    "report": "itables",
}


def skip_without_package(name):
    if name in NEEDED:
        pytest.importorskip(NEEDED[name])


@pytest.mark.parametrize("name", modules_with_examples())
def test_examples_in_docstrings_are_true(name, tmp_path, monkeypatch):
    skip_without_package(name)
    monkeypatch.chdir(tmp_path)
    runner = Runner(optionflags=FLAGS)
    for test in doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(name)):
        runner.run(test)
    assert runner.tries > 0
    assert runner.failures == 0


@pytest.mark.parametrize("page", pages_with_examples(), ids=lambda page: page.stem)
def test_examples_in_pages_are_true(page, tmp_path, monkeypatch):
    skip_without_package(page.stem)
    monkeypatch.chdir(tmp_path)
    result = doctest.testfile(str(page), module_relative=False, optionflags=FLAGS, encoding="utf-8")
    assert result.failed == 0


def test_python_of_the_readme_runs_and_is_that_of_the_quickstart(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    quickstart = (ROOT / "docs" / "quickstart.rst").read_text(encoding="utf-8")
    assert code.strip() in re.sub(r"^   ", "", quickstart, flags=re.MULTILINE)
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    assert len(names["result"].catalog) > 0
    assert (tmp_path / "demo.png").stat().st_size > 10_000
