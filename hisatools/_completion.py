"""The verb ``completion`` of the ``hisatools`` command: scripts for shells, made by shtab."""

from hisatools._config import names_a_file
from hisatools._messages import tell


def completion(arguments):
    """``hisatools completion``."""
    tell(completion_script(arguments.shell))


def completion_script(shell):
    """The script with which a shell completes verbs, options, files, and the names that options take.

    Parameters
    ----------
    shell : {"bash", "zsh", "tcsh"}

    Returns
    -------
    str
        Names of strategies and backends are those that are installed now.
    """
    import shtab

    from hisatools._arguments import build_parser

    parser = build_parser({})
    names = _names()
    for verb in parser.verbs.values():
        for action in verb._actions:
            if names_a_file(action):
                # Folders are files to shtab, too; --output may be either.
                action.complete = shtab.FILE
            elif action.choices is None and action.dest in names:
                action.choices = names[action.dest]
    return shtab.complete(parser, shell=shell)


def _names():
    """Argument to the names that it may have."""
    from hisatools.backends.registry import available as backends
    from hisatools.parameters import preset_names
    from hisatools.strategies import available as strategies

    unabsorbed = list(strategies("unabsorbed"))
    return {
        "preset": preset_names(),
        "unabsorbed": unabsorbed,
        "strategies": unabsorbed,
        "strategy": list(strategies("noise")),
        "clean": list(backends("clean")),
        "convolution": list(backends("convolution")),
    }
