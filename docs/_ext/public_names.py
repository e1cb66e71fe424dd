"""Links by the names that users type: `hisatools.HISACube` leads to where `hisatools.cube.HISACube` stands.

Classes and functions are documented once, and can be imported from several places; and a docstring names
what stands in its module, or in the packages that hold that, without saying from where. Such a name is
looked up as Python does it. A name that leads to nothing, or to what no page documents, stays unresolved,
which fails the build.
"""

from functools import cache
from importlib import import_module
from types import ModuleType

PACKAGE = "hisatools"


def setup(app):
    app.connect("missing-reference", _resolve)
    return {"parallel_read_safe": True}


def _resolve(app, env, node, contnode):
    """A link to the one place where an object is documented; None if there is none."""
    if node.get("refdomain") != "py":
        return None
    domain = env.get_domain("py")
    documented = _documented(domain.objects)
    for name in _candidates(node):
        found = documented.get(_home(name))
        if found is not None:
            kind = "mod" if domain.objects[found].objtype == "module" else "obj"
            return domain.resolve_xref(env, node["refdoc"], app.builder, kind, found, node, contnode)
    return None


@cache
def _names(names):
    return {home: name for name in names if (home := _home(name)) is not None}


def _documented(objects):
    """Where things are defined: the names under which they are documented."""
    return _names(tuple(name for name, entry in objects.items() if not entry.aliased))


def _candidates(node):
    """What a reference may mean where it stands: a name of its class, module, or the packages about it."""
    target, module, holder = node["reftarget"], node.get("py:module") or PACKAGE, node.get("py:class")
    if target.split(".")[0] == PACKAGE:
        return [target]
    packages = module.split(".")
    around = [".".join(packages[:n]) for n in range(len(packages), 0, -1)]
    return [f"{place}.{target}" for place in ([f"{module}.{holder}"] if holder else []) + around]


def _home(name):
    """Where an object is defined, as "module.name"; None if there is no such thing."""
    found = _imported(name)
    if found is None:
        return None
    value, owner, attribute = found
    if getattr(value, "__qualname__", None) and getattr(value, "__module__", None):
        return f"{value.__module__}.{value.__qualname__}"
    if isinstance(owner, type):  # a property, or an attribute with a default
        return f"{owner.__module__}.{owner.__qualname__}.{attribute}"
    if isinstance(value, ModuleType):
        return value.__name__
    # A table of columns is the same one wherever it was imported.
    return f"object {id(value)}" if isinstance(value, dict | tuple) else name


def _imported(name):
    """The object of a dotted name, what holds it, and its last name."""
    parts = name.split(".")
    for n in range(len(parts), 0, -1):
        try:
            value = import_module(".".join(parts[:n]))
        except ImportError:
            continue
        owner = None
        for part in parts[n:]:
            owner = value
            if not hasattr(owner, part):
                return None
            value = getattr(owner, part)
        return value, owner, parts[-1]
    return None
