"""Arguments of the ``hisatools`` command: which there are, and what they mean for the parameters."""

import argparse
import contextlib

from hisatools._version import __version__
from hisatools.errors import ParameterError

FOLDER_NOTE = "a folder; files of other names in it are left alone"


def build_parser(functions):
    """The parser of the command line.

    Parameters
    ----------
    functions : dict
        Name of each verb to the function that does it; parsed arguments hold it as ``verb``.

    Returns
    -------
    argparse.ArgumentParser
    """
    parser = argparse.ArgumentParser(
        prog="hisatools",
        description="Find H I self-absorption in 21 cm cubes, and recover the emission without it.",
    )
    parser.add_argument("--version", action="version", version=f"hisatools {__version__}")
    group = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    for name, (text, fill) in VERBS.items():
        verb = group.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        verb.add_argument("--debug", action="store_true", help="show the traceback of an unexpected error")
        verb.set_defaults(verb=functions[name])
        fill(verb)
    return parser


def _fill_extract(verb):
    _add_input(verb)
    _add_output(verb, required=True)
    _add_run(verb)
    _add_search(verb)
    verb.add_argument(
        "--performance",
        metavar="PERF",
        help="what `hisatools performance` wrote for such a cube: adds true_fraction.fits, and reliability "
        "and completeness to the catalogue",
    )


def _fill_performance(verb):
    _add_input(verb, optional=True)
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
    _add_run(verb)
    _add_search(verb)
    verb.set_defaults(
        interrupted="interrupted; the models that were finished are kept, the same command with --resume "
        "goes on from them"
    )


def _fill_demo(verb):
    _add_output(verb, default="hisa_demo")
    _add_run(verb)
    # Seed 1 holds no absorption that is deep, wide, narrow and against bright emission; seed 2 does.
    verb.add_argument("--seed", type=int, default=2, metavar="N", help="of the model's random numbers")


def _fill_simulate(verb):
    _add_output(verb, required=True)
    verb.add_argument(
        "--shape",
        type=int,
        nargs=3,
        default=(128, 256, 256),
        metavar=("NV", "NY", "NX"),
        help="default 128 256 256",
    )
    verb.add_argument("--seed", type=int, default=1, metavar="N", help="of the random numbers (default 1)")


def _fill_inspect(verb):
    _add_input(verb)


def _add_input(verb, *, optional=False):
    if optional:
        text = "the cube to put absorption into; without one, model cubes are made"
        verb.add_argument("cube", metavar="CUBE.fits", nargs="?", help=text)
    else:
        verb.add_argument("cube", metavar="CUBE.fits", help="the cube to read")
    verb.add_argument(
        "--preset", default="cgps", metavar="NAME", help="parameters to start from (default cgps)"
    )
    verb.add_argument(
        "--velocity-range", type=float, nargs=2, metavar=("LOW", "HIGH"), help="channels to read, km/s"
    )
    verb.add_argument("--region", metavar="FILE.reg", help="sky region to read (DS9 format)")
    verb.add_argument("--weights", metavar="FILE.fits", help="map of mosaic weights")
    verb.add_argument("--beam", metavar="FWHM", help="size of a round beam, arcsec unless a unit is given")
    verb.add_argument("--unit", metavar="UNIT", help="brightness unit, if the header has none or a wrong one")
    verb.add_argument("--rest-frequency", metavar="F", help="of a frequency axis, MHz unless a unit is given")


def _add_output(verb, **settings):
    verb.add_argument("--output", metavar="FOLDER", help=FOLDER_NOTE, **settings)
    verb.add_argument("--overwrite", action="store_true", help="replace the files of an older run")


def _add_run(verb):
    verb.add_argument("--workers", type=int, metavar="N", help="threads (default: one a processor)")
    verb.add_argument(
        "--progress", action="store_true", help="show progress bars also where stderr is no terminal"
    )
    verb.add_argument("--quiet", action="store_true", help="print warnings and errors only")


def _add_search(verb):
    verb.add_argument("--passes", type=int, default=3, metavar="N", help="search passes (default 3)")
    default = "(default: the fastest of the most exact; `hisatools backends` lists them)"
    verb.add_argument("--clean", metavar="NAME", help=f"CLEAN backend {default}")
    verb.add_argument("--convolution", metavar="NAME", help=f"convolution backend {default}")
    verb.add_argument(
        "--critical-brightness",
        metavar="T",
        help="least T_U of accepted absorption, K unless a unit is given (preset cgps: 70)",
    )
    verb.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.NAME=VALUE",
        help="change any parameter, e.g. --set 'spatial.clean_fwhm=15 arcmin'; "
        "sections: spectral, spatial, shell, extraction",
    )


def parameter_sets(preset, changes=None):
    """The four parameter sets of a preset, changed as asked.

    Parameters
    ----------
    preset : str
        Name of the preset.
    changes : dict, optional
        Section to a dictionary of names and values, as from `parameter_changes`.

    Returns
    -------
    dict
        "spectral", "spatial", "shell" and "extraction" to their parameters.

    Raises
    ------
    ParameterError
        If the preset, a section or a name is not known, or a value is impossible.
    """
    from hisatools import parameters

    changes = changes or {}
    kinds = {
        "spectral": parameters.SpectralParameters,
        "spatial": parameters.SpatialParameters,
        "shell": parameters.ShellParameters,
        "extraction": parameters.ExtractionParameters,
    }
    for section, values in changes.items():
        if section not in kinds:
            raise ParameterError(f"unknown section {section!r} in --set; known: {', '.join(kinds)}")
        known = kinds[section].__dataclass_fields__
        for name in values:
            if name not in known:
                raise ParameterError(
                    f"unknown parameter {section}.{name} in --set; known: {', '.join(known)}"
                )
    return {section: kind.preset(preset, **changes.get(section, {})) for section, kind in kinds.items()}


def parameter_changes(arguments):
    """What --set and --critical-brightness change.

    Parameters
    ----------
    arguments : argparse.Namespace
        Of the verbs ``extract`` or ``performance``.

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
            raise ParameterError(
                f"--set {text!r} is not SECTION.NAME=VALUE; write 'spatial.clean_fwhm=15 arcmin'"
            )
        changes.setdefault(section, {})[name] = number_with_unit(text, value)
    if arguments.critical_brightness is not None:
        value = number_with_unit("--critical-brightness", arguments.critical_brightness, "K")
        changes.setdefault("extraction", {})["critical_brightness"] = value
    return changes


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


VERBS = {
    "extract": ("find the absorption in a cube and write it, with a catalogue", _fill_extract),
    "performance": (
        "measure with known absorption what is found, what is real and what drifts",
        _fill_performance,
    ),
    "demo": ("extract the absorption of a small model cube and compare with the truth", _fill_demo),
    "simulate": ("write a model cube with known absorption", _fill_simulate),
    "inspect": ("show how a cube is read, and whether the preset fits it", _fill_inspect),
    "backends": (
        "list the installed backends, with their tolerance and their speed on this machine",
        lambda verb: None,
    ),
}
