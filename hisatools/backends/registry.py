"""Find backends by name through entry points; nothing is imported until it is asked for."""

import contextlib
import math
from functools import cache
from numbers import Real

from hisatools._entry_points import installed, unavailable
from hisatools.errors import BackendError, BackendUnavailableError

KINDS = ("clean", "convolution")
REFERENCE = "reference"
# Largest difference from the reference: what each kind of backend calls it.
TOLERANCE = {"clean": "tolerance_kelvin", "convolution": "tolerance"}
METHODS = {"clean": ("clean_spectra", "clean_channel"), "convolution": ("gaussian",)}


def available(kind):
    """Installed backends of one kind.

    Parameters
    ----------
    kind : {"clean", "convolution"}

    Returns
    -------
    dict
        Name to entry point, sorted by name; loading an entry point imports the backend.

    Raises
    ------
    BackendError
        If the kind is unknown or two packages claim one name.

    Examples
    --------
    >>> from hisatools.backends import available
    >>> "numba" in available("clean")
    True
    """
    if kind not in KINDS:
        raise BackendError(f"unknown kind of backend {kind!r}; known kinds: {', '.join(KINDS)}")
    return installed(f"hisatools.{kind}", what=f"{kind} backend", error=BackendError)


@cache
def default_name(kind):
    """The backend that is used where none is named; decided once a process.

    Of the backends that can be imported, the reference apart, those with the tightest tolerance;
    of these the one with the least ``cost``. Both are fixed numbers, so that no clock decides.

    Parameters
    ----------
    kind : {"clean", "convolution"}

    Returns
    -------
    str

    Raises
    ------
    BackendError
        If the kind is unknown, a backend is broken or there is none but the reference.

    Examples
    --------
    >>> from hisatools.backends import default_name
    >>> default_name("clean") != "reference"
    True
    """
    ranked = []
    for name in available(kind):
        if name == REFERENCE:
            continue
        # One whose package is not installed is no candidate, and may stay so.
        with contextlib.suppress(BackendUnavailableError):
            backend = get_backend(kind, name)
            ranked.append((getattr(backend, TOLERANCE[kind]), backend.cost, name))
    if not ranked:
        raise BackendError(
            f"no {kind} backend but the reference can be used, and that one is slow; `hisatools backends` "
            f"says what to install, or ask for it by name: {kind}={REFERENCE!r}"
        )
    return min(ranked)[-1]


def resolve(kind, name=None):
    """``name``, or the default's name where it is None; whether it is installed is not checked.

    Parameters
    ----------
    kind : {"clean", "convolution"}
    name : str, optional

    Returns
    -------
    str

    Examples
    --------
    >>> from hisatools.backends import resolve
    >>> resolve("clean", "reference")
    'reference'
    """
    return default_name(kind) if name is None else name


def get_backend(kind, name=None):
    """The backend of this kind and name.

    Parameters
    ----------
    kind : {"clean", "convolution"}
    name : str, optional
        One of `available`; by default that of `default_name`.

    Returns
    -------
    `~hisatools.backends.protocols.CleanBackend` or `~hisatools.backends.protocols.ConvolutionBackend`

    Raises
    ------
    BackendError
        If the name is unknown (the message lists those installed), or the backend is broken.
    BackendUnavailableError
        If the backend needs a package that is not installed; the message says what to install.

    Examples
    --------
    >>> from hisatools.backends import get_backend
    >>> get_backend("convolution", "scipy").package
    'scipy'
    """
    found = available(kind)
    name = resolve(kind, name)
    if name not in found:
        raise BackendError(f"unknown {kind} backend {name!r}; installed: {', '.join(found)}")
    try:
        backend = found[name].load()()
        fault = _fault(kind, backend)
    except ImportError as exc:
        others = [other for other in found if other != name]
        fault = unavailable(found[name], others, exc, what=f"{kind} backend")
        raise BackendUnavailableError(fault) from exc
    except Exception as exc:
        raise BackendError(_broken(kind, found[name], f"{type(exc).__name__}: {exc}")) from exc
    if fault:
        raise BackendError(_broken(kind, found[name], fault))
    return backend


def _fault(kind, backend):
    """What is not as the protocol says, or None: a default must not be chosen by a NaN."""
    for name in ("package", "cost", TOLERANCE[kind], *METHODS[kind]):
        if not hasattr(backend, name):
            return f"it has no attribute {name!r}"
        value = getattr(backend, name)
        if name == "package":
            needed, met = "the name of a distribution", isinstance(value, str) and bool(value.strip())
        elif name in METHODS[kind]:
            needed, met = "a method", callable(value)
        else:
            needed, met = "a finite number, 0 or positive", _is_amount(value)
        if not met:
            return f"its {name} is {value!r}, not {needed}"
    return None


def _is_amount(value):
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value) and value >= 0


def _broken(kind, entry, fault):
    return (
        f"the {kind} backend {entry.name!r} of the package {entry.dist.name!r} is broken: {fault}; mend that "
        "package or uninstall it"
    )
