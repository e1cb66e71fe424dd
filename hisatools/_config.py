"""Options of the ``hisatools`` command from a TOML file, and the record of a run in the same form.

The command line is parsed by argparse; what a file gives becomes the default of an option, so that
what is typed wins and every check stays where it was.
"""

import argparse
import re
import sys
import warnings
from contextlib import nullcontext
from pathlib import Path

from hisatools._version import __version__
from hisatools.errors import HISAWarning, InputError, OutputError, ParameterError
from hisatools.io.writing import RECORD_START, RUN_FILE, recording, run_file_beside

# Keys of a file that are no options.
VERB, VERSION = "verb", "hisatools"
# Options that say how a run is done, shown or kept, and not what it does.
NOT_RECORDED = (
    *("output", "overwrite", "resume", "workers", "progress", "quiet"),
    *("verbose", "log", "debug", "config", "help"),
)
NOT_IN_A_FILE = ("config", "help")
# Options that say more of one that excludes others.
DEPENDANTS = {
    "rotation_curve": ("side", "dispersion"),
    "t_spin": ("t_spin_error",),
    "tau": ("tau_error",),
    "p_over_k": ("p_over_k_error",),
}


def parse_arguments(build, argv=None):
    """Parse the command line, with the options of ``--config`` and the verb ``run``.

    Parameters
    ----------
    build : callable
        Makes the parser; its ``verbs`` are the parsers of the verbs.
    argv : list of str, optional
        Arguments without the program's name; by default those of the command line.

    Returns
    -------
    argparse.Namespace

    Raises
    ------
    SystemExit
        If the command line is not understood, or help is asked for.
    InputError, ParameterError
        If the file cannot be read, or holds what the verb does not take.
    """
    parser, argv = build(), list(sys.argv[1:] if argv is None else argv)
    path = _config_of(argv)
    verb = parser.verbs.get(argv[0]) if argv and path else None
    of_file = ()
    if verb is not None:
        of_file = _take_defaults(verb, Path(path).expanduser(), argv[0], parser.verbs)
    arguments = parser.parse_args(argv)
    if arguments.verb_name == "run":
        wanted = _verb_of(Path(arguments.file).expanduser(), parser.verbs)
        return parse_arguments(build, [wanted, "--config", arguments.file, *arguments.options])
    if arguments.config != path:
        parser.verbs[arguments.verb_name].error("write --config in full")
    verb = parser.verbs[arguments.verb_name]
    _settle_alternatives(verb, arguments, of_file)
    arguments.record = None
    if getattr(arguments, "output", None) is not None:
        arguments.record = options_to_record(verb, arguments)
    return arguments


def _config_of(argv):
    """The file behind ``--config``: its options must be known before the command line is parsed."""
    finder = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    finder.add_argument("--config", nargs="?")
    return finder.parse_known_args(argv)[0].config


# --- what arguments are -------------------------------------------------------------------------


def option_name(action):
    """What an argument is called in a file: its long option without dashes, or its own name."""
    long = [text for text in action.option_strings if text.startswith("--")]
    return long[0].removeprefix("--") if long else action.dest.replace("_", "-")


def names_a_file(action):
    """Whether an argument is a file or a folder, as what stands for it in the help shows."""
    shown = action.metavar
    if not isinstance(shown, str) or "=" in shown or action.type or action.choices:
        return False
    return bool(re.search(r"FILE|FOLDER|\.|^(OUT|PERF|MASK)$", shown))


def _may_be_a_number(action):
    """Whether an argument is a number, with a unit or without, or a file, as ``T|FILE.fits``."""
    return "|" in action.metavar


def _is_number(text):
    import astropy.units as u

    try:
        u.Quantity(text)
    except (TypeError, ValueError):
        return False
    return True


def _absolute(action, text, folder):
    if _may_be_a_number(action) and _is_number(text):
        return text
    return str((folder / Path(text).expanduser()).absolute())


def _takes_several(action):
    return isinstance(action, argparse._AppendAction) or action.nargs not in (None, "?")


# --- reading ------------------------------------------------------------------------------------


def read_config(path):
    """What a TOML file holds.

    Parameters
    ----------
    path : pathlib.Path

    Returns
    -------
    dict

    Raises
    ------
    InputError
        If the file cannot be read as TOML.
    """
    import tomllib

    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; give a TOML file with the options of a verb") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; give a TOML file with the options of a verb") from error
    except ValueError as error:
        raise InputError(f"{path} is no TOML file: {error}; texts stand in quotes") from error
    if content.get(VERSION, __version__) != __version__:
        warnings.warn(
            f"{path} was written by hisatools {content[VERSION]}, and this is {__version__}: the result may "
            "differ",
            HISAWarning,
            stacklevel=2,
        )
    return content


def _verb_of(path, verbs):
    """The verb that a file is for."""
    content = read_config(path)
    tables = [name for name, value in content.items() if isinstance(value, dict) and name in verbs]
    verb = content.get(VERB, tables[0] if len(tables) == 1 else None)
    if verb is None:
        raise ParameterError(f'{path} names no verb; add for example the line verb = "extract" at its top')
    if verb not in verbs or verb == "run":
        known = ", ".join(name for name in verbs if name != "run")
        raise ParameterError(f"{path}: unknown verb {verb!r}; known: {known}")
    return verb


def _options_for(verb, path, verbs):
    """Keys and values of a file for one verb: those of no table, and over them those of its own."""
    content = read_config(path)
    tables = {name: value for name, value in content.items() if isinstance(value, dict) and name in verbs}
    others = {key: value for key, value in content.items() if key not in (VERB, VERSION, *tables)}
    for_others = [name for name in tables if name != verb]
    wanted = content.get(VERB, verb)
    if wanted != verb:
        for_others.append(str(wanted))
    if verb not in tables and (wanted != verb or (for_others and not others)):
        raise ParameterError(
            f"{path} is for {' and '.join(dict.fromkeys(for_others))}, not for {verb}; add a table [{verb}], "
            "or give another file"
        )
    return (others if wanted == verb else {}) | tables.get(verb, {})


def _take_defaults(verb, path, name, verbs):
    """Make the values of a file the defaults of a verb's parser; returns the arguments that it gives."""
    known = {option_name(action): action for action in verb._actions}
    known = {key: action for key, action in known.items() if key not in NOT_IN_A_FILE}
    given = {}
    for key, value in _options_for(name, path, verbs).items():
        action = known.get(key.replace("_", "-"))
        if action is None:
            raise ParameterError(f"{path}: unknown key {key!r} for {name}; known: {', '.join(sorted(known))}")
        if action in given:
            raise ParameterError(f"{path}: {given[action]!r} and {key!r} are one option; leave one out")
        action.default = _checked(action, f"{path}: {key}", value, path.parent)
        action.required = False
        given[action] = key
    for group in verb._mutually_exclusive_groups:
        inside = [given[action] for action in group._group_actions if action in given]
        if len(inside) > 1:
            raise ParameterError(f"{path}: {' and '.join(inside)} exclude each other; leave one out")
        group.required = group.required and not inside
    return list(given)


def _settle_alternatives(verb, arguments, of_file):
    """Of options that exclude each other, the one that was typed stands, not that of the file."""
    for group in verb._mutually_exclusive_groups:
        typed = [one for one in group._group_actions if _is_typed(one, arguments)]
        for action in group._group_actions:
            if typed and action in of_file and action not in typed:
                _leave_out(action, verb, arguments, of_file)


def _is_typed(action, arguments):
    return getattr(arguments, action.dest) is not action.default


def _leave_out(action, verb, arguments, of_file):
    """Take out an option of a file, and with it those of the file that say more of it."""
    with_it = DEPENDANTS.get(action.dest, ())
    for other in verb._actions:
        belongs = other.dest in with_it and other in of_file and not _is_typed(other, arguments)
        if other is action or belongs:
            setattr(arguments, other.dest, None)


def _checked(action, where, value, folder):
    """A value of a file as argparse would have made it from the command line."""
    if action.nargs == 0:
        return _switch(action, where, value)
    if action.dest == "set" and isinstance(value, dict):
        return [*_changes(value, where)]
    if not _takes_several(action):
        return _one(action, where, value, folder)
    values = value if isinstance(value, list) else [value]
    if isinstance(action.nargs, int) and len(values) != action.nargs:
        raise ParameterError(f"{where} needs a list of {action.nargs} values, got {value!r}")
    return [_one(action, where, item, folder) for item in values]


def _switch(action, where, value):
    """What an option without a value is set to; a number where it counts."""
    kind, wanted = (bool, "true or false") if action.const is True else (int, "a whole number")
    if type(value) is not kind:
        raise ParameterError(f"{where} needs {wanted}, got {value!r}")
    return value


def _one(action, where, value, folder):
    kinds, wanted = {
        int: ((int,), "a whole number"),
        float: ((int, float), "a number"),
    }.get(action.type, ((str,) if names_a_file(action) else (str, int, float), "a text in quotes"))
    if isinstance(value, bool) or not isinstance(value, kinds):
        raise ParameterError(f"{where} needs {wanted}, got {value!r}")
    value = str(value) if action.type is None else action.type(value)
    if action.choices is not None and value not in action.choices:
        raise ParameterError(f"{where} must be one of {', '.join(map(str, action.choices))}, got {value!r}")
    return _absolute(action, value, folder) if names_a_file(action) else value


def _changes(tables, where):
    """``SECTION.NAME=VALUE`` for each parameter in a table of sections."""
    for section, values in tables.items():
        if not isinstance(values, dict):
            raise ParameterError(f"{where}.{section} needs a table of parameters, got {values!r}")
        for name, value in values.items():
            if not isinstance(value, str | int | float):
                raise ParameterError(f"{where}.{section}.{name} needs a number or a text, got {value!r}")
            yield f"{section}.{name}={value}"


# --- writing ------------------------------------------------------------------------------------


def options_to_record(verb, arguments):
    """Key and value of every option that defines a run; files by their absolute path."""
    options = {}
    for action in verb._actions:
        value = getattr(arguments, action.dest, None)
        if action.dest in NOT_RECORDED or value is None or value is False or value == []:
            continue
        options[option_name(action)] = _recorded(action, value)
    return options


def _recorded(action, value):
    if not names_a_file(action):
        return value
    here = Path.cwd()
    return (
        _absolute(action, value, here)
        if isinstance(value, str)
        else [_absolute(action, item, here) for item in value]
    )


def record_text(arguments, **changes):
    """The record of a run as TOML.

    Parameters
    ----------
    arguments : argparse.Namespace
        Of `parse_arguments`.
    **changes
        Options to record in place of those of the command line.

    Returns
    -------
    str
    """
    import tomli_w

    content = {VERB: arguments.verb_name, VERSION: __version__}
    content[arguments.verb_name] = arguments.record | changes
    return f"{RECORD_START}: hisatools run FILE --output NEW\n{tomli_w.dumps(content)}\n"


def recorded_run(arguments):
    """Context in which what the verb writes to its ``--output`` gets the record of the run.

    Raises
    ------
    OutputError
        If the record would replace the file of ``--config``.
    """
    if arguments.record is None:
        return nullcontext()
    target = Path(arguments.output).expanduser() / getattr(arguments, "result_in", "")
    places = [target / RUN_FILE, *([run_file_beside(target)] if target.name else [])]
    config = arguments.config and Path(arguments.config).expanduser().resolve()
    if config in [place.resolve() for place in places]:
        raise OutputError(
            f"{arguments.config}: the record of this run would replace it; choose another --output"
        )
    return recording(target, record_text(arguments))
