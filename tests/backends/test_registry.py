"""Backends are found by name, the default follows from fixed numbers, what goes wrong is said in one line."""

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from hisatools import _entry_points
from hisatools.backends import available, default_name, get_backend, resolve
from hisatools.errors import BackendError, BackendUnavailableError, HISAError

GOOD = "hisatools.backends.reference:ReferenceClean"
ABSENT = "hisa_absent_package.clean:Clean"
BUILT_IN = {
    "clean": {"numba", "reference"},
    "convolution": {"gridded", "pyfftw", "reference", "scipy"},
}


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """Install packages that announce these (name, value) pairs as CLEAN backends, and no others."""

    def install(*pairs, package="hisa-plugin"):
        folder = tmp_path / f"{package.replace('-', '_')}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = [f"{name} = {value}" for name, value in pairs]
        (folder / "entry_points.txt").write_text("\n".join(["[hisatools.clean]", *lines]) + "\n")

    def entry_points(group):
        found = metadata.distributions(path=[str(tmp_path)])
        return [entry for package in found for entry in package.entry_points if entry.group == group]

    monkeypatch.setattr(_entry_points, "entry_points", entry_points)
    default_name.cache_clear()
    yield install
    default_name.cache_clear()


@pytest.fixture
def module(monkeypatch):
    """An importable module ``hisa_plugin`` to put backends into."""
    made = ModuleType("hisa_plugin")
    monkeypatch.setitem(sys.modules, "hisa_plugin", made)
    return made


def clean_class(tolerance_kelvin=0.02, cost=1, **others):
    """A class with all that a CLEAN backend must have, changed as asked; None takes an attribute away."""
    attributes = {"package": "numpy", "tolerance_kelvin": tolerance_kelvin, "cost": cost}
    attributes |= {"clean_spectra": len, "clean_channel": len} | others
    return type("Clean", (), {name: value for name, value in attributes.items() if value is not None})


def fails(_):
    raise RuntimeError("no device")


# What is installed


@pytest.mark.parametrize("kind", BUILT_IN)
def test_built_in_backends_are_installed(kind):
    assert BUILT_IN[kind] <= set(available(kind))


def test_every_clean_backend_is_as_the_protocol_says(clean_backend):
    assert clean_backend.tolerance_kelvin >= 0
    assert clean_backend.cost > 0
    assert metadata.version(clean_backend.package)
    assert callable(clean_backend.clean_spectra) and callable(clean_backend.clean_channel)


def test_every_convolution_backend_is_as_the_protocol_says(convolution_backend):
    assert convolution_backend.tolerance >= 0
    assert convolution_backend.cost > 0
    assert metadata.version(convolution_backend.package)
    assert callable(convolution_backend.gaussian)


def test_names_are_sorted(installed):
    installed(("zeta", GOOD), ("alpha", GOOD), ("mid", GOOD))
    assert list(available("clean")) == ["alpha", "mid", "zeta"]


def test_backends_of_another_kind_are_not_listed(installed):
    installed(("mine", GOOD))
    assert available("convolution") == {}


def test_listing_imports_nothing(installed):
    installed(("absent", ABSENT))
    assert list(available("clean")) == ["absent"]


@pytest.mark.parametrize("ask", [available, default_name, lambda kind: get_backend(kind, "numba")])
def test_unknown_kind_lists_those_known(ask):
    with pytest.raises(
        BackendError, match=r"unknown kind of backend 'fft'; known kinds: clean, convolution$"
    ):
        ask("fft")


def test_unknown_name_lists_those_installed(installed):
    installed(("one", GOOD), ("another", GOOD))
    with pytest.raises(BackendError, match=r"unknown clean backend 'nunba'; installed: another, one$"):
        get_backend("clean", "nunba")


@pytest.mark.parametrize("ask", [available, default_name, lambda kind: get_backend(kind, "fast")])
def test_name_claimed_by_two_packages_names_both(installed, ask):
    installed(("fast", "package_a.clean:Clean"), package="package-a")
    installed(("fast", "package_b.clean:Clean"), package="package-b")
    with pytest.raises(
        BackendError, match=r"'fast': package_[ab]\.clean:Clean and package_[ab]\.clean:Clean"
    ):
        ask("clean")


def test_one_backend_seen_twice_is_no_clash(installed):
    installed(("fast", GOOD), package="package-a")
    installed(("fast", GOOD), package="package-b")
    assert list(available("clean")) == ["fast"]


def test_class_of_another_package_is_made(installed, module):
    module.Clean = clean_class(0.5, 1)
    installed(("plugin", "hisa_plugin:Clean"))
    assert isinstance(get_backend("clean", "plugin"), module.Clean)


# The default


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ({"a": (0.02, 3), "b": (0.02, 1), "c": (0.02, 2)}, "b"),
        ({"a": (0.02, 3), "b": (0.04, 1)}, "a"),
        ({"b": (0.02, 1), "a": (0.02, 1)}, "a"),
        ({"a": (0.02, 3), "reference": (0, 0.1)}, "a"),
    ],
    ids=["least cost", "tolerance before cost", "name where all is equal", "never the reference"],
)
def test_default_is_the_cheapest_of_the_most_exact(installed, module, numbers, expected):
    for name, values in numbers.items():
        setattr(module, name, clean_class(*values))
    installed(*((name, f"hisa_plugin:{name}") for name in numbers))
    assert default_name("clean") == expected
    assert isinstance(get_backend("clean"), getattr(module, expected))


def test_default_is_among_those_that_can_be_imported(installed, module):
    module.Slow = clean_class(0.02, 9)
    installed(("absent", ABSENT), ("slow", "hisa_plugin:Slow"), ("reference", GOOD))
    assert default_name("clean") == "slow"


def test_default_is_decided_once_a_process(installed, module):
    module.Slow, module.Fast = clean_class(0.02, 9), clean_class(0.02, 1)
    installed(("slow", "hisa_plugin:Slow"))
    assert default_name("clean") == "slow"
    installed(("fast", "hisa_plugin:Fast"), package="another")
    assert resolve("clean") == "slow"


@pytest.mark.parametrize("pairs", [[], [("reference", GOOD)], [("reference", GOOD), ("absent", ABSENT)]])
def test_the_reference_is_no_default_and_that_is_said(installed, pairs):
    installed(*pairs)
    with pytest.raises(BackendError, match=r"no clean backend but the reference .*clean='reference'$"):
        default_name("clean")


def test_a_name_resolves_to_itself_and_none_to_the_default():
    assert resolve("convolution", "anything") == "anything"
    assert resolve("convolution") == resolve("convolution", None) == default_name("convolution")


def test_defaults_of_what_is_built_in():
    assert default_name("clean") == "numba"
    assert default_name("convolution") == "gridded"


# What is missing or broken


def test_missing_package_is_named_with_the_backends_that_are_there(installed):
    installed(("absent", ABSENT), ("one", GOOD), ("other", GOOD))
    with pytest.raises(
        BackendUnavailableError, match=r"'absent' needs the package 'hisa_absent_package'; .*"
    ) as e:
        get_backend("clean", "absent")
    assert str(e.value).endswith("; install it, or choose one of: one, other")


def test_missing_package_of_an_extra_names_the_command_of_the_package_that_has_it(installed):
    installed(("absent", f"{ABSENT} [gpu,fast]"), ("one", GOOD), package="star-tools")
    with pytest.raises(BackendUnavailableError) as e:
        get_backend("clean", "absent")
    cure, others = (
        str(e.value)
        .removeprefix("the clean backend 'absent' needs the package 'hisa_absent_package'; install it with: ")
        .split(", or ")
    )
    assert cure.replace("fast,gpu", "gpu,fast") == 'pip install "star-tools[gpu,fast]"'
    assert others == "choose one of: one"


def test_pyfftw_names_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyfftw", None)
    monkeypatch.delitem(sys.modules, "hisatools.backends.pyfftw_", raising=False)
    with pytest.raises(
        BackendUnavailableError, match=r"'pyfftw' needs the package 'pyfftw'; .*\"hisatools\[fftw\]\", or"
    ):
        get_backend("convolution", "pyfftw")


def test_missing_package_never_falls_back_and_is_an_import_error_too(installed):
    installed(("absent", ABSENT), ("one", GOOD))
    with pytest.raises(ImportError) as e:
        get_backend("clean", "absent")
    assert isinstance(e.value, HISAError)
    assert isinstance(e.value.__cause__, ModuleNotFoundError)


def test_package_that_is_there_but_cannot_be_imported_is_not_called_missing(installed, module):
    def without_library():
        raise ImportError("libfast.so.3: cannot open shared object file")

    module.Clean = without_library
    installed(("fast", "hisa_plugin:Clean [fast]"), ("one", GOOD))
    with pytest.raises(
        BackendUnavailableError, match=r"cannot be imported \(libfast.so.3: .*\); install it with: pip"
    ):
        get_backend("clean", "fast")


@pytest.mark.parametrize("ask", [default_name, lambda kind: get_backend(kind, "mine")])
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (None, "AttributeError: module 'hisa_plugin' has no attribute 'Clean'"),
        (lambda: 1 / 0, "ZeroDivisionError: division by zero"),
        (clean_class(cost=None), "it has no attribute 'cost'"),
        (clean_class(tolerance_kelvin=None), "it has no attribute 'tolerance_kelvin'"),
        (clean_class(clean_channel=None), "it has no attribute 'clean_channel'"),
        (clean_class(clean_spectra=3), "its clean_spectra is 3, not a method"),
        (clean_class(package=7), "its package is 7, not the name of a distribution"),
        (clean_class(package=" "), "its package is ' ', not the name of a distribution"),
        (clean_class("tight"), "its tolerance_kelvin is 'tight', not a finite number, 0 or positive"),
        (clean_class(float("nan")), "its tolerance_kelvin is nan, not a finite number, 0 or positive"),
        (clean_class(-0.1), "its tolerance_kelvin is -0.1, not a finite number, 0 or positive"),
        (clean_class(cost=float("inf")), "its cost is inf, not a finite number, 0 or positive"),
        (clean_class(cost=True), "its cost is True, not a finite number, 0 or positive"),
        (clean_class(cost=1j), "its cost is 1j, not a finite number, 0 or positive"),
        (clean_class(cost=property(fails)), "RuntimeError: no device"),
    ],
)
def test_broken_backend_is_an_error_that_names_its_package(installed, module, fault, said, ask):
    if fault is not None:
        module.Clean = fault
    installed(("mine", "hisa_plugin:Clean"), ("one", GOOD))
    with pytest.raises(BackendError) as e:
        ask("clean")
    assert not isinstance(e.value, BackendUnavailableError)
    assert str(e.value) == (
        f"the clean backend 'mine' of the package 'hisa-plugin' is broken: {said}; mend that package or "
        "uninstall it"
    )


@pytest.mark.parametrize("number", [0, 3, 0.5, np.float32(0.5), np.int64(2)])
def test_numbers_of_any_real_type_are_taken(installed, module, number):
    module.Clean = clean_class(number, number)
    installed(("mine", "hisa_plugin:Clean"))
    assert default_name("clean") == "mine"


def test_tests_fail_where_a_backend_that_is_required_is_missing():
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-k",
        "leaves_the_input and nope",
    ]
    run = subprocess.run(
        [*command, str(Path(__file__).with_name("test_convolution.py"))],
        env={**os.environ, "HISATOOLS_REQUIRE_BACKENDS": "convolution:nope"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1
    assert "unknown convolution backend 'nope'" in run.stdout
