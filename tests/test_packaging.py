"""What the installed distribution promises about itself."""

import ast
import configparser
import re
import runpy
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml

import hisatools

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
RUN_TIME_EXTRAS = ("fftw", "fit", "mesh", "significance", "report", "dask")
BACKEND_GROUPS = ("hisatools.clean", "hisatools.convolution")
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
    try:
        assert callable(entry.load())
    except ModuleNotFoundError as missing:
        if not entry.extras:
            raise
        pytest.skip(f"the extra {', '.join(entry.extras)} is not installed: {missing}")


def test_extras_of_entry_points_exist_and_bring_what_the_backend_imports():
    for group in BACKEND_GROUPS:
        for entry in metadata.entry_points(group=group):
            if entry.dist.name == "hisatools" and entry.extras:
                (extra,) = entry.extras
                brought = PROJECT["optional-dependencies"][extra]
                assert [re.match(r"[\w.-]+", item)[0] for item in brought] == [entry.name]


def test_extras_that_strategies_need_exist_and_are_tested():
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    tox = (ROOT / "tox.ini").read_text(encoding="utf-8")
    for group in ("hisatools.unabsorbed", "hisatools.noise"):
        for entry in metadata.entry_points(group=group):
            for extra in entry.extras:
                assert PROJECT["optional-dependencies"][extra]
                assert re.search(rf"\.\[[\w,]*\b{extra}\b", script)
                assert re.search(rf"all: .*\b{extra}\b", tox)


def built_in_backends():
    """ "kind:name" of all that pyproject.toml declares."""
    return {
        f"{group.removeprefix('hisatools.')}:{name}"
        for group in BACKEND_GROUPS
        for name in PROJECT["entry-points"][group]
    }


def required_by_tox():
    """Factor of tox to the backends that must not be missing in it."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "tox.ini", encoding="utf-8")
    required = {}
    for line in parser["testenv"]["set_env"].splitlines():
        factor, _, rest = line.partition(": ")
        for backend in re.findall(r"(?:clean|convolution):\w+", rest):
            required.setdefault(factor.strip(), set()).add(backend)
    return required


def test_tox_has_a_factor_for_each_backend_and_one_for_all():
    required = required_by_tox()
    assert required.pop("all") == built_in_backends()
    assert required.pop("plugin") == {"convolution:example"}
    assert all(len(backends) == 1 for backends in required.values())
    assert set().union(*required.values()) == built_in_backends()
    env_list = (ROOT / "tox.ini").read_text(encoding="utf-8").partition("[testenv]")[0]
    assert all(factor in env_list for factor in (*required, "all", "plugin"))


def test_continuous_integration_requires_all_backends_and_the_example():
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    (value,) = re.findall(r'HISATOOLS_REQUIRE_BACKENDS="([^"]*)"', script)
    assert set(value.split()) == built_in_backends() | {"convolution:example"}


def test_example_plugin_announces_what_its_module_has():
    folder = ROOT / "plugins" / "hisatools-example"
    plugin = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (value,) = plugin["entry-points"]["hisatools.convolution"].values()
    module, _, name = value.partition(":")
    assert name in runpy.run_path(str(folder / f"{module}.py"))


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


def test_citation_names_this_version_and_the_paper_that_the_readme_names():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == hisatools.__version__
    paper = citation["preferred-citation"]
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert f"{paper['year']}, ApJ {paper['volume']}, {paper['start']}" in readme
    assert all(author["family-names"] in readme for author in paper["authors"])
