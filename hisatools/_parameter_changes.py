"""What ``--set`` and its like change: from texts to parameter sets."""

import contextlib
import re

from hisatools.errors import ParameterError

# Words that are no texts in a parameter.
WORDS = {"true": True, "false": False, "none": None}
RANGES_EXAMPLE = "'-150 -120 km/s, 60 80 km/s'"
_NUMBER = r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)"
_RANGE = re.compile(rf"{_NUMBER}\s+{_NUMBER}\s*([a-zA-Z][^,;]*)")


def parameter_sets(preset, changes=None, *, unabsorbed="shell"):
    """The four parameter sets of a preset, changed as asked.

    Parameters
    ----------
    preset : str
        Name of the preset.
    changes : dict, optional
        Section to a dictionary of names and values, as from `parameter_changes`.
    unabsorbed : str
        Name of the strategy for the unabsorbed emission.

    Returns
    -------
    dict
        "spectral", "spatial", the name of the strategy, and "extraction" to their parameters.

    Raises
    ------
    ParameterError
        If the preset, the strategy, a section or a name is not known, or a value is impossible.
    """
    from hisatools import parameters
    from hisatools.strategies import load

    kinds = {
        "spectral": parameters.SpectralParameters,
        "spatial": parameters.SpatialParameters,
        unabsorbed: load("unabsorbed", unabsorbed).Parameters,
        "extraction": parameters.ExtractionParameters,
    }
    return _changed(kinds, preset, changes or {})


def strategy_parameters(group, names, preset, changes=None):
    """Parameters of some strategies, changed as asked.

    Parameters
    ----------
    group : {"unabsorbed", "noise"}
    names : sequence of str
    preset : str
        Name of the preset.
    changes : dict, optional
        Name of a strategy to a dictionary of names and values, as from `parameter_changes`.

    Returns
    -------
    dict
        Name to parameters.

    Raises
    ------
    ParameterError
        As `parameter_sets`.
    """
    from hisatools.strategies import load

    return _changed({name: load(group, name).Parameters for name in names}, preset, changes or {})


def _changed(kinds, preset, changes):
    for section, values in changes.items():
        if section not in kinds:
            raise ParameterError(f"unknown section {section!r} in --set; known: {', '.join(kinds)}")
        known = kinds[section].__dataclass_fields__
        for name in values:
            if name not in known:
                raise ParameterError(
                    f"unknown parameter {section}.{name} in --set; known: {', '.join(known)}"
                )
            if isinstance(known[name].default, tuple):
                _check_ranges(f"--set {section}.{name}", values[name])
    return {section: kind.preset(preset, **changes.get(section, {})) for section, kind in kinds.items()}


def parameter_changes(arguments):
    """What --set and --critical-brightness change.

    Parameters
    ----------
    arguments : argparse.Namespace
        Of a verb that has ``--set``.

    Returns
    -------
    dict
        Section to a dictionary of names and values.

    Raises
    ------
    ParameterError
        If a text is not understood.
    """
    changes = {}
    for text in arguments.set:
        place, equals, value = text.partition("=")
        section, dot, name = place.strip().partition(".")
        if not (equals and dot):
            example = getattr(arguments, "set_example", "spatial.clean_fwhm=15 arcmin")
            raise ParameterError(f"--set {text!r} is not SECTION.NAME=VALUE; write {example!r}")
        changes.setdefault(section, {})[name] = _value(value.strip())
    if getattr(arguments, "critical_brightness", None) is not None:
        value = number_with_unit("--critical-brightness", arguments.critical_brightness, "K")
        changes.setdefault("extraction", {})["critical_brightness"] = value
    return changes


def _value(text):
    """A number, a Quantity, pairs of these, what a word such as true stands for, or else the text itself."""
    if text.lower() in WORDS:
        return WORDS[text.lower()]
    # Before a Quantity: '60 80 km/s' is one as well, of 60 times 80 km/s.
    if (ranges := _ranges(text)) is not None:
        return ranges
    with contextlib.suppress(ParameterError):
        return number_with_unit("--set", text)
    return text


def _ranges(text):
    """Pairs such as '-60 -50 km/s, 20 30 km/s' as a tuple of Quantities; None for any other text."""
    import astropy.units as u

    found = [_RANGE.fullmatch(part.strip()) for part in re.split("[,;]", text)]
    if not all(found):
        return None
    with contextlib.suppress(ValueError):
        return tuple([float(one[1]), float(one[2])] * u.Unit(one[3].strip()) for one in found)


def _check_ranges(argument, value):
    import astropy.units as u

    kms = u.km / u.s
    if not (isinstance(value, tuple) and all(pair.unit.is_equivalent(kms) for pair in value)):
        raise ParameterError(
            f"{argument} needs velocity ranges, each two numbers and a unit of km/s, got {value}; "
            f"write {RANGES_EXAMPLE}"
        )


def number_with_unit(argument, text, default_unit=None):
    """What an argument's text stands for.

    Parameters
    ----------
    argument : str
        The argument, for the message.
    text : str
        A number, with a unit or without.
    default_unit : str, optional
        Of a bare number.

    Returns
    -------
    int, float or `~astropy.units.Quantity`

    Raises
    ------
    ParameterError
        If the text is no number.
    """
    import astropy.units as u

    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text) if default_unit is None else kind(text) * u.Unit(default_unit)
    try:
        return u.Quantity(text)
    except (TypeError, ValueError):
        raise ParameterError(f"{argument}: {text!r} is neither a number nor a number with a unit") from None
