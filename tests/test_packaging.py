"""What the installed distribution promises about itself."""

import ast
import re
import runpy
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

import hisatools

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
RUN_TIME_EXTRAS = ("fftw", "dask")
ENTRY_POINTS = {**PROJECT["entry-points"], "console_scripts": PROJECT["scripts"]}


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def imported_modules():
    """Top-level names of everything the package imports, wherever in a file it does so."""
    for path in Path(hisatools.__path__[0]).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from (alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                yield node.module.partition(".")[0]


def test_version_of_the_package_is_that_of_the_distribution():
    assert hisatools.__version__ == metadata.version("hisatools")


@pytest.mark.parametrize(
    ("group", "name"), [(group, name) for group, names in ENTRY_POINTS.items() for name in names]
)
def test_entry_point_leads_to_something_callable(group, name):
    (entry,) = metadata.entry_points(group=group, name=name)
    assert callable(entry.load())


def test_everything_that_is_imported_is_declared():
    extras = [PROJECT["optional-dependencies"][extra] for extra in RUN_TIME_EXTRAS]
    requirements = sum(extras, PROJECT["dependencies"])
    declared = {canonical(re.match(r"[\w.-]+", requirement)[0]) for requirement in requirements}
    providers = metadata.packages_distributions()
    foreign = set(imported_modules()) - set(sys.stdlib_module_names) - {"hisatools"}
    undeclared = {
        module
        for module in foreign
        if not declared & {canonical(name) for name in providers.get(module, [module])}
    }
    assert undeclared == set()


def test_oldest_versions_are_the_lower_bounds_of_all_dependencies():
    pinned = runpy.run_path(str(ROOT / ".ci" / "oldest.py"))["constraints"]()
    assert [pin.partition("==")[0] for pin in pinned] == [
        requirement.partition(">=")[0] for requirement in PROJECT["dependencies"]
    ]
    assert all(re.fullmatch(r"[\w-]+==\d[\d.]*", pin) for pin in pinned)
