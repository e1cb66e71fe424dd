"""What installed packages offer under a name; nothing is imported until it is loaded."""

from importlib.metadata import entry_points


def installed(group, *, what, error):
    """Entry points of a group.

    Parameters
    ----------
    group : str
    what : str
        What one of them is called in messages.
    error : type
        Raised if two packages claim one name.

    Returns
    -------
    dict
        Name to entry point, sorted by name.
    """
    found = {}
    for entry in entry_points(group=group):
        other = found.setdefault(entry.name, entry)
        if other.value != entry.value:
            raise error(
                f"two packages offer the {what} {entry.name!r}: {other.value} and {entry.value}; "
                "uninstall one of them"
            )
    return dict(sorted(found.items()))


def unavailable(entry, others, exc, *, what):
    """Why an entry point cannot be imported, and the extra that installs what it needs.

    Parameters
    ----------
    entry : `importlib.metadata.EntryPoint`
    others : iterable of str
        Names that may be chosen instead.
    exc : ImportError
    what : str
        What it is called in messages.

    Returns
    -------
    str
    """
    fault = f"cannot be imported ({exc})"
    if isinstance(exc, ModuleNotFoundError):
        fault = f"needs the package {exc.name!r}"
    extras = ",".join(entry.extras)
    cure = f'install it with: pip install "{entry.dist.name}[{extras}]"' if extras else "install it"
    return f"the {what} {entry.name!r} {fault}; {cure}, or choose one of: {', '.join(others)}"
