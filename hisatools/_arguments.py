"""Arguments of the ``hisatools`` command."""

import argparse

from hisatools._argument_groups import (
    FOLDER_NOTE,
    add_catalog_columns,
    add_common,
    add_input,
    add_output,
    add_run,
    add_search,
    add_set,
    add_strategy_inputs,
)
from hisatools._science_arguments import fill_gas, fill_noise, fill_residual_mask, fill_significance
from hisatools._version import __version__


def build_parser(functions):
    """The parser of the command line.

    Parameters
    ----------
    functions : dict
        Name of each verb to the function that does it; parsed arguments hold it as ``verb``.

    Returns
    -------
    argparse.ArgumentParser
        ``verbs`` holds the parser of each verb.
    """
    parser = argparse.ArgumentParser(
        prog="hisatools",
        usage="%(prog)s VERB ...",
        description="Find H I self-absorption in 21 cm cubes, and recover the emission without it.",
        epilog="`hisatools VERB --help` describes a verb.",
        formatter_class=_Form,
    )
    parser.add_argument("--version", action="version", version=f"hisatools {__version__}")
    # The prefix is the program's name in the usage of the verbs, which would else be the usage above.
    group = parser.add_subparsers(title="verbs", metavar="VERB", prog="hisatools", required=True)
    for name, (text, fill) in VERBS.items():
        description = f"{text[0].upper()}{text[1:]}."
        verb = group.add_parser(name, help=text, description=description, formatter_class=_Form)
        verb.set_defaults(verb=functions.get(name), verb_name=name)
        fill(verb)
        if name != "run":  # it hands all that follows to another verb
            add_common(verb)
        verb.usage = f"%(prog)s {_usage(verb)}"
    parser.verbs = group.choices
    return parser


class _Form(argparse.HelpFormatter):
    """Wide enough for most options, and the verbs without a line about the argument that they are."""

    def __init__(self, prog):
        super().__init__(prog, max_help_position=30)

    def _format_action(self, action):
        if isinstance(action, argparse._SubParsersAction):
            return "".join(map(self._format_action, action._get_subactions()))
        return super()._format_action(action)


def _usage(verb):
    """What a verb cannot do without; the rest stands below it in the help."""
    alternatives = [group for group in verb._mutually_exclusive_groups if group.required]
    parts = [_positional(action) for action in verb._get_positional_actions()]
    parts += [_typed(action) for action in verb._actions if action.option_strings and action.required]
    parts += [f"({' | '.join(map(_typed, group._group_actions))})" for group in alternatives]
    return " ".join([*filter(None, parts), "[options]"])


def _typed(action):
    return f"{action.option_strings[0]} {action.metavar}"


def _positional(action):
    name = action.metavar or "|".join(action.choices)
    return {"?": f"[{name}]", "+": f"{name} [...]", argparse.REMAINDER: ""}.get(action.nargs, name)


def _fill_extract(verb):
    add_input(verb)
    add_output(verb, required=True)
    add_run(verb)
    add_search(verb)
    add_strategy_inputs(verb)
    verb.add_argument(
        "--performance",
        metavar="PERF",
        help="what `hisatools performance` wrote for such a cube: adds true_fraction.fits, and reliability "
        "and completeness to the catalogue",
    )
    verb.add_argument(
        "--min-reliability",
        type=float,
        metavar="R",
        help="drop features less likely to be real than this, 0 to 1, as told by the same search on the "
        "mirrored cube, which doubles the time (default: none are dropped)",
    )


def _fill_performance(verb):
    add_input(verb, optional=True)
    verb.add_argument("--output", metavar="FOLDER", help=FOLDER_NOTE, required=True)
    verb.add_argument(
        "--resume", action="store_true", help="go on with, or add to, the run that is in the folder"
    )
    verb.add_argument(
        "--models", type=int, metavar="N", help="cubes to extract (default 8; 4 where a cube is given)"
    )
    verb.add_argument("--seed", type=int, default=1, metavar="N", help="of the first of them (default 1)")
    verb.add_argument(
        "--shape",
        type=int,
        nargs=3,
        metavar=("NV", "NY", "NX"),
        help="of model cubes (default 128 512 512, as in the paper)",
    )
    verb.add_argument(
        "--n-pucks",
        type=int,
        metavar="N",
        help="absorption features put into the cube (default: as dense as in the paper's models)",
    )
    verb.add_argument(
        "--noise",
        choices=("drawn", "own"),
        help="in the cube, below the scale of the box mean: drawn anew each time (default), or its own",
    )
    add_run(verb)
    add_search(verb)
    verb.set_defaults(
        interrupted="interrupted; the models that were finished are kept, the same command with --resume "
        "goes on from them"
    )


def _fill_demo(verb):
    add_output(verb, default="hisa_demo")
    add_run(verb)
    verb.set_defaults(result_in="result")
    # Seed 1 holds no absorption that is deep, wide, narrow and against bright emission; seed 2 does.
    verb.add_argument("--seed", type=int, default=2, metavar="N", help="of the model's random numbers")


def _fill_simulate(verb):
    add_output(verb, required=True)
    verb.add_argument(
        "--shape",
        type=int,
        nargs=3,
        default=(128, 256, 256),
        metavar=("NV", "NY", "NX"),
        help="default 128 256 256",
    )
    verb.add_argument("--seed", type=int, default=1, metavar="N", help="of the random numbers (default 1)")
    verb.add_argument("--quiet", action="store_true", help="print warnings and errors only")


def _fill_run(verb):
    verb.add_argument(
        "file", metavar="FILE.toml", help="run.toml of an older run, or another file that names its verb"
    )
    verb.add_argument(
        "options", metavar="OPTIONS", nargs=argparse.REMAINDER, help="of that verb; they win over the file"
    )


def _fill_completion(verb):
    verb.add_argument("shell", choices=("bash", "zsh", "tcsh"), help="whose script is printed")


def _fill_export(verb):
    verb.add_argument("result", metavar="FOLDER", help="what `hisatools extract` wrote")
    verb.add_argument(
        "--catalog",
        metavar="FILE",
        help="a catalogue of its features with more columns: catalog.ecsv of another verb, or its folder",
    )
    add_catalog_columns(verb)
    add_output(verb, required=True)
    verb.add_argument("--quiet", action="store_true", help="print warnings and errors only")


def _fill_report(verb):
    verb.add_argument("result", metavar="FOLDER", help="what `hisatools extract` wrote")
    verb.add_argument(
        "--output", metavar="FILE.html", help="the page (default: report.html in the folder of the result)"
    )
    verb.add_argument(
        "--cube",
        metavar="CUBE.fits",
        help="the cube that was searched, to be described by its own header (default: what the result has)",
    )
    verb.add_argument("--overwrite", action="store_true", help="replace an older page")
    verb.add_argument("--quiet", action="store_true", help="print warnings and errors only")


def _fill_inspect(verb):
    add_input(verb)


def _fill_compare(verb):
    add_input(verb)
    verb.add_argument(
        "--mask",
        required=True,
        metavar="MASK",
        help="what may be absorbed: a folder that `hisatools extract` wrote (compared is what was accepted, "
        "and T_OFF was flagged by neither search), or a FITS cube that is not 0 there",
    )
    add_output(verb, required=True)
    verb.add_argument(
        "--strategies",
        nargs="+",
        metavar="NAME",
        help="what to compare (default: all that need nothing but the cube, or what is given here)",
    )
    add_set(verb, "change a parameter of a strategy, e.g. --set '{}'", "spatial-mean.width=4 arcmin")
    add_strategy_inputs(verb)
    verb.add_argument(
        "--noise",
        dest="noise_file",
        metavar="FILE.fits",
        help="what `hisatools noise` wrote for the cube (default: measured)",
    )
    verb.add_argument(
        "--rim",
        type=int,
        default=2,
        metavar="N",
        help="voxels about a feature that are predicted (default 2)",
    )
    verb.add_argument(
        "--features",
        type=int,
        default=8,
        metavar="N",
        help="how many are drawn, the largest first (default 8)",
    )
    add_run(verb)


VERBS = {
    "extract": ("find the absorption in a cube and write it, with a catalogue", _fill_extract),
    "performance": (
        "measure with known absorption what is found, what is real and what drifts",
        _fill_performance,
    ),
    "demo": ("extract the absorption of a small model cube and compare with the truth", _fill_demo),
    "simulate": ("write a model cube with known absorption", _fill_simulate),
    "compare": (
        "estimate the unabsorbed emission in several ways, and compare them in tables and figures",
        _fill_compare,
    ),
    "noise": ("measure the noise of cubes and write it as FITS", fill_noise),
    "significance": (
        "say of features and of all places whether noise could do this: matched filters, priors, trials",
        fill_significance,
    ),
    "residual-mask": (
        "fit dust and gas, and mask the dust in excess of it; find the velocity range that the dust follows",
        fill_residual_mask,
    ),
    "gas": (
        "work out spin temperature, optical depth, column density and mass of what was extracted",
        fill_gas,
    ),
    "export": (
        "write catalogue, outlines and mask for TOPCAT, DS9 and CARTA, with distances, CO and counterparts",
        _fill_export,
    ),
    "run": ("repeat a run as its run.toml says, or do what another such file says", _fill_run),
    "report": (
        "write an HTML page to look through a result: maps, catalogue, spectra, noise, CLEAN loops",
        _fill_report,
    ),
    "inspect": ("show how a cube is read, and whether the preset fits it", _fill_inspect),
    "strategies": (
        "list the ways to estimate the unabsorbed emission and to measure noise, with their citations",
        lambda verb: None,
    ),
    "backends": (
        "list the installed backends, with their tolerance and their speed on this machine",
        lambda verb: None,
    ),
    "completion": ("print what lets the shell complete this command", _fill_completion),
}
