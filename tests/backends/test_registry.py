"""Backends are found by name, and what goes wrong is said in one line."""

import sys
from importlib.metadata import EntryPoint
from types import ModuleType

import pytest

from hisatools.backends import available, get_backend, registry
from hisatools.errors import BackendError, BackendUnavailableError, HISAError

GOOD = "hisatools.backends.reference:ReferenceClean"
ABSENT = "hisa_absent_package.clean:Clean"


@pytest.fixture
def installed(monkeypatch):
    """Pretend that these (name, value) pairs, and no others, are installed as CLEAN backends."""

    def install(*pairs):
        entries = [EntryPoint(name, value, "hisatools.clean") for name, value in pairs]
        monkeypatch.setattr(
            registry,
            "entry_points",
            lambda group: [entry for entry in entries if entry.group == group],
        )

    return install


@pytest.mark.parametrize(
    ("kind", "names"), [("clean", {"numba", "reference"}), ("convolution", {"reference", "scipy"})]
)
def test_built_in_backends_are_installed(kind, names):
    assert names <= set(available(kind))


@pytest.mark.parametrize(
    ("kind", "methods"), [("clean", ("clean_spectra", "clean_channel")), ("convolution", ("gaussian",))]
)
def test_every_installed_backend_has_the_methods_of_its_kind(kind, methods):
    for name in available(kind):
        backend = get_backend(kind, name)
        assert all(callable(getattr(backend, method)) for method in methods), name


def test_names_are_sorted(installed):
    installed(("zeta", GOOD), ("alpha", GOOD), ("mid", GOOD))
    assert list(available("clean")) == ["alpha", "mid", "zeta"]


def test_backends_of_another_kind_are_not_listed(installed):
    installed(("mine", GOOD))
    assert available("convolution") == {}


def test_listing_imports_nothing(installed):
    installed(("absent", ABSENT))
    assert list(available("clean")) == ["absent"]


@pytest.mark.parametrize("ask", [available, lambda kind: get_backend(kind, "numba")])
def test_unknown_kind_lists_those_known(ask):
    with pytest.raises(
        BackendError, match=r"unknown kind of backend 'fft'; known kinds: clean, convolution$"
    ):
        ask("fft")


def test_unknown_name_lists_those_installed(installed):
    installed(("one", GOOD), ("another", GOOD))
    with pytest.raises(BackendError, match=r"unknown clean backend 'nunba'; installed: another, one$"):
        get_backend("clean", "nunba")


@pytest.mark.parametrize("ask", [available, lambda kind: get_backend(kind, "fast")])
def test_name_claimed_by_two_packages_names_both(installed, ask):
    installed(("fast", "package_a.clean:Clean"), ("fast", "package_b.clean:Clean"))
    with pytest.raises(BackendError, match=r"'fast': package_a\.clean:Clean and package_b\.clean:Clean"):
        ask("clean")


def test_one_package_seen_twice_is_no_clash(installed):
    installed(("fast", GOOD), ("fast", GOOD))
    assert list(available("clean")) == ["fast"]


def test_missing_package_is_named_with_the_backends_that_are_there(installed):
    installed(("absent", ABSENT), ("one", GOOD), ("other", GOOD))
    with pytest.raises(
        BackendUnavailableError, match=r"'absent' needs the package 'hisa_absent_package'; .*"
    ) as e:
        get_backend("clean", "absent")
    assert str(e.value).endswith(": one, other")


def test_missing_package_never_falls_back_and_is_an_import_error_too(installed):
    installed(("absent", ABSENT), ("one", GOOD))
    with pytest.raises(ImportError) as e:
        get_backend("clean", "absent")
    assert isinstance(e.value, HISAError)
    assert isinstance(e.value.__cause__, ModuleNotFoundError)


def test_class_of_another_package_is_made(installed, monkeypatch):
    module = ModuleType("hisa_plugin")
    module.Clean = type("Clean", (), {"tolerance_kelvin": 0.5})
    monkeypatch.setitem(sys.modules, "hisa_plugin", module)
    installed(("plugin", "hisa_plugin:Clean"))
    assert get_backend("clean", "plugin").tolerance_kelvin == 0.5
