"""What the documentation shows must be true: every example in it is run."""

import doctest
import importlib.util
import inspect
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
    "hisatools.results.HISAResult.write_report": "itables",
    "hisatools.significance.prior_sources": "astropy_healpix",
    "line_background": "iminuit",
    "priors": "astropy_healpix",
    "report": "itables",
}


def skip_without_package(name):
    if name in NEEDED:
        pytest.importorskip(NEEDED[name])


def has_package(name):
    return name not in NEEDED or importlib.util.find_spec(NEEDED[name]) is not None


@pytest.mark.parametrize("name", modules_with_examples())
def test_examples_in_docstrings_are_true(name, tmp_path, monkeypatch):
    skip_without_package(name)
    runner = Runner(optionflags=FLAGS)
    tests = doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(name))
    for number, test in enumerate(test for test in tests if has_package(test.name)):
        # Each in a folder of its own: the same file may be written in several of them.
        (tmp_path / str(number)).mkdir()
        monkeypatch.chdir(tmp_path / str(number))
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


def shown(thing):
    """Whether the docstring has an example that is run."""
    lines = (inspect.getdoc(thing) or "").splitlines()
    run = [line for line in lines if line.lstrip().startswith(">>> ") and "+SKIP" not in line]
    return "Examples" in lines and len(run) > 0


def public_methods(kind):
    """Methods of a class, with those of the classes of ours that it inherits."""
    for name in dir(kind):
        method = inspect.unwrap(getattr(kind, name))
        if not name.startswith("_") and is_ours(method):
            yield name, method


def is_ours(thing):
    return inspect.isroutine(thing) and str(getattr(thing, "__module__", "")).startswith("hisatools")


def documented_things():
    """Names that the pages document, one by one or as what a module offers; classes and functions only."""
    for page in sorted((ROOT / "docs").rglob("*.rst")):
        directives = r"^\.\. auto(module|class|function):: (\S+)"
        for directive, name in re.findall(directives, page.read_text(encoding="utf-8"), re.MULTILINE):
            if directive == "module":
                module = importlib.import_module(name)
                names = getattr(module, "__all__", None) or defined_in(module)
            else:
                parent, *names = name.rsplit(".", 1)
                module = importlib.import_module(parent)
            for one in names:
                thing = getattr(module, one)
                if inspect.isclass(thing) or inspect.isroutine(thing):
                    yield f"{module.__name__}.{one}", thing


def defined_in(module):
    return [name for name, thing in vars(module).items() if is_of(thing, module) and not name.startswith("_")]


def is_of(thing, module):
    return getattr(thing, "__module__", None) == module.__name__


def test_every_public_name_has_an_example():
    things = dict(documented_things())
    for name in set(hisatools.__all__) - {"__version__"}:
        things[f"hisatools.{name}"] = thing = getattr(hisatools, name)
        if inspect.isclass(thing):
            things |= {f"hisatools.{name}.{method}": found for method, found in public_methods(thing)}
    assert len(things) > 250
    assert sorted(name for name, thing in things.items() if not shown(thing)) == []
