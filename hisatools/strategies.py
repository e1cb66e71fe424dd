"""Ways of doing one thing that may differ in the answer, found by name through entry points.

There are two groups: ``unabsorbed``, estimates of T_U, and ``noise``, measurements of the noise. A
package of your own adds to them with an entry point in ``hisatools.unabsorbed`` or ``hisatools.noise``.
"""

from inspect import signature

from hisatools._entry_points import installed, unavailable
from hisatools.errors import ParameterError

__all__ = ["available", "load", "make"]

GROUPS = {"unabsorbed": "strategy for the unabsorbed emission", "noise": "strategy for the noise"}


def available(group):
    """Installed strategies of one group.

    Parameters
    ----------
    group : {"unabsorbed", "noise"}

    Returns
    -------
    dict
        Name to entry point, sorted by name; loading an entry point imports the strategy.

    Raises
    ------
    ParameterError
        If the group is unknown or two packages claim one name.

    Examples
    --------
    >>> from hisatools.strategies import available
    >>> "shell" in available("unabsorbed")
    True
    """
    if group not in GROUPS:
        raise ParameterError(f"unknown group of strategies {group!r}; known groups: {', '.join(GROUPS)}")
    return installed(f"hisatools.{group}", what=GROUPS[group], error=ParameterError)


def load(group, name):
    """The class of a strategy.

    Parameters
    ----------
    group : {"unabsorbed", "noise"}
    name : str
        One of `available`.

    Returns
    -------
    type

    Raises
    ------
    ParameterError
        If the name is unknown (the message lists those installed), or a package is missing that the
        strategy needs; the message says what to install.

    Examples
    --------
    >>> from hisatools.strategies import load
    >>> load("unabsorbed", "shell").__name__
    'ShellStrategy'
    """
    found = available(group)
    if name not in found:
        raise ParameterError(f"unknown {GROUPS[group]}: {name!r}; known: {', '.join(found)}")
    try:
        return found[name].load()
    except ImportError as exc:
        others = [other for other in found if other != name]
        raise ParameterError(unavailable(found[name], others, exc, what=GROUPS[group])) from exc


def make(group, name, parameters=None, **settings):
    """A strategy, ready for use.

    Parameters
    ----------
    group : {"unabsorbed", "noise"}
    name : str
        One of `available`.
    parameters : optional
        Of the class that the strategy has as ``Parameters``; its defaults if not given.
    **settings
        Fields of the parameters, to be set without making these first, and what else the strategy works
        with, such as a cube of a molecule.

    Returns
    -------
    object

    Raises
    ------
    ParameterError
        If the strategy is unknown or cannot do with what it is given.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools.strategies import make
    >>> make("unabsorbed", "shell", min_fwhm_angle=2 * u.arcmin).parameters.min_fwhm_angle
    <Quantity 2. arcmin>
    """
    kind = load(group, name)
    fields = kind.Parameters.__dataclass_fields__
    chosen = {field: settings.pop(field) for field in list(settings) if field in fields}
    if parameters is None:
        parameters = kind.Parameters(**chosen)
    elif chosen:
        raise ParameterError(f"{', '.join(chosen)} cannot be given beside parameters; put it into them")
    elif not isinstance(parameters, kind.Parameters):
        raise ParameterError(
            f"parameters of {name!r} must be {kind.Parameters.__name__}, got {type(parameters).__name__}"
        )
    unknown = set(settings) - set(signature(kind).parameters)
    if unknown:
        raise ParameterError(
            f"the {GROUPS[group]} {name!r} does not take {', '.join(sorted(unknown))}; it has the parameters "
            f"{', '.join(fields) or 'none'}{_further_inputs(kind)}"
        )
    return kind(parameters, **settings)


def _further_inputs(kind):
    inputs = [name for name in signature(kind).parameters if name != "parameters"]
    return f" and takes {', '.join(inputs)}" if inputs else ""
