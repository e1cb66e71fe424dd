"""Find backends by name through entry points; nothing is imported until it is asked for."""

from importlib.metadata import entry_points

from hisatools.errors import BackendError, BackendUnavailableError

KINDS = ("clean", "convolution")


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
    found = {}
    for entry in entry_points(group=f"hisatools.{kind}"):
        other = found.setdefault(entry.name, entry)
        if other.value != entry.value:
            raise BackendError(
                f"two packages offer the {kind} backend {entry.name!r}: {other.value} and {entry.value}; "
                "uninstall one of them"
            )
    return dict(sorted(found.items()))


def get_backend(kind, name):
    """The backend of this kind and name.

    Parameters
    ----------
    kind : {"clean", "convolution"}
    name : str
        One of `available`.

    Raises
    ------
    BackendError
        If the name is unknown; the message lists those installed.
    BackendUnavailableError
        If the backend needs a package that is not installed.
    """
    found = available(kind)
    if name not in found:
        raise BackendError(f"unknown {kind} backend {name!r}; installed: {', '.join(found)}")
    try:
        return found[name].load()()
    except ImportError as exc:
        others = ", ".join(other for other in found if other != name)
        raise BackendUnavailableError(
            f"the {kind} backend {name!r} needs the package {exc.name or str(exc)!r}; install it or choose "
            f"one of: {others}"
        ) from exc
