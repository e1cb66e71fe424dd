"""Every installed backend is tested, a plug-in from the day it is installed.

``HISATOOLS_REQUIRE_BACKENDS="kind:name kind:name"`` lists backends whose tests fail where they are
missing or lack a package; others that lack one are skipped, with the reason.
"""

import os

import pytest

from hisatools.backends import available, get_backend
from hisatools.backends.registry import KINDS
from hisatools.errors import BackendUnavailableError

REQUIRED = [tuple(item.split(":")) for item in os.environ.get("HISATOOLS_REQUIRE_BACKENDS", "").split()]
# Name of a fixture: kind of backend, and whether the reference is among them.
FIXTURES = {
    "clean_backend": ("clean", True),
    "compared_clean": ("clean", False),
    "convolution_backend": ("convolution", True),
    "compared_clean_name": ("clean", False),
    "compared_convolution_name": ("convolution", False),
}


def backend_params(kind):
    """Names of all backends of one kind, installed or required."""
    return sorted({*available(kind), *(item[1] for item in REQUIRED if item[0] == kind)})


def pytest_generate_tests(metafunc):
    unknown = {item[0] for item in REQUIRED} - set(KINDS)
    if unknown:
        raise pytest.UsageError(f"HISATOOLS_REQUIRE_BACKENDS: no such kind of backend: {sorted(unknown)}")
    for fixture, (kind, with_reference) in FIXTURES.items():
        if fixture in metafunc.fixturenames:
            names = [name for name in backend_params(kind) if with_reference or name != "reference"]
            metafunc.parametrize(fixture, names, indirect=True, scope="session")


def load(kind, name):
    try:
        return get_backend(kind, name)
    except BackendUnavailableError as error:
        if (kind, name) in REQUIRED:
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def clean_backend(request):
    """Each CLEAN backend."""
    return load("clean", request.param)


@pytest.fixture(scope="session")
def compared_clean(request):
    """Each CLEAN backend but the reference, which it is held to."""
    return load("clean", request.param)


@pytest.fixture(scope="session")
def convolution_backend(request):
    """Each convolution backend."""
    return load("convolution", request.param)


@pytest.fixture(scope="session")
def compared_clean_name(request):
    """Name of each CLEAN backend but the reference, if it can be used."""
    load("clean", request.param)
    return request.param


@pytest.fixture(scope="session")
def compared_convolution_name(request):
    """Name of each convolution backend but the reference, if it can be used."""
    load("convolution", request.param)
    return request.param
