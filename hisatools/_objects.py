"""From the arguments of the ``hisatools`` command to objects of the public API."""

import os
import sys

from hisatools._messages import tell
from hisatools._parameter_changes import number_with_unit, parameter_changes, parameter_sets

# Arguments that name a file to read.
INPUTS = (
    *("cube", "weights", "region", "tracer", "low_resolution", "off_regions", "mask", "noise_file"),
    *("result", "prior", "within", "gas", "error", "continuum", "catalog", "co", "crossmatch"),
)
# Input of strategies: the argument, which is also what their constructors call it.
STRATEGY_INPUTS = ("tracer", "low_resolution", "off_regions")


def check_inputs_kept(arguments, folder):
    """Refuse an output folder that is, or holds, an input: overwriting could replace it."""
    from pathlib import Path

    from hisatools.errors import OutputError

    for name in INPUTS:
        given = getattr(arguments, name, None) or ()
        for path in [given] if isinstance(given, str) else given:
            place = Path(path).expanduser().resolve()
            if folder.resolve() in (place, place.parent):
                raise OutputError(
                    f"{path}: the input lies in the output folder {folder}; choose another --output"
                )


def read_performance(arguments):
    """The performance model that is to be applied; None if none is."""
    from hisatools import PerformanceModel

    return None if arguments.performance is None else PerformanceModel.read(arguments.performance)


def read_cube(arguments, path=None):
    """The cube of a verb, or one of its cubes, read as the arguments say."""
    import astropy.units as u

    from hisatools.cube import HISACube

    given = {"unit": arguments.unit, "region": arguments.region, "weights": arguments.weights}
    if arguments.velocity_range is not None:
        given["velocity_range"] = tuple(arguments.velocity_range * u.km / u.s)
    if arguments.beam is not None:
        given["beam"] = _beam(arguments.beam)
    if arguments.rest_frequency is not None:
        given["rest_frequency"] = number_with_unit("--rest-frequency", arguments.rest_frequency, "MHz")
    return HISACube.read(arguments.cube if path is None else path, **given)


def _beam(text):
    import astropy.units as u
    from radio_beam import Beam

    from hisatools.parameters import check_quantity

    return Beam(check_quantity("--beam", number_with_unit("--beam", text, "arcsec"), u.arcsec))


def extractor_of(arguments):
    """The extractor that the arguments describe."""
    from hisatools import HISAExtractor, SpatialSearcher, SpectralSearcher, UnabsorbedEstimator

    strategy = arguments.unabsorbed
    sets = parameter_sets(arguments.preset, parameter_changes(arguments), unabsorbed=strategy)
    inputs = strategy_inputs(arguments, [strategy])[strategy]
    clean, convolution = arguments.clean, arguments.convolution
    return HISAExtractor(
        spectral=SpectralSearcher(sets["spectral"], clean=clean),
        spatial=SpatialSearcher(sets["spatial"], clean=clean, convolution=convolution),
        unabsorbed=UnabsorbedEstimator(strategy, sets[strategy], **inputs),
        parameters=sets["extraction"],
        n_passes=arguments.passes,
        min_reliability=getattr(arguments, "min_reliability", None),
    )


def workers_of(arguments):
    """Number of threads, by default one a processor."""
    from hisatools.parameters import check_number

    if arguments.workers is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return check_number("workers", arguments.workers, integer=True)


def progress_of(arguments):
    """Whether progress bars are shown."""
    return arguments.progress or (sys.stderr.isatty() and not arguments.quiet)


def voice_of(arguments):
    """What prints lines, or does not where --quiet is given."""
    return (lambda *lines: None) if arguments.quiet else tell


def strategy_inputs(arguments, names):
    """What else strategies for the unabsorbed emission are given.

    Parameters
    ----------
    arguments : argparse.Namespace
    names : sequence of str
        The strategies in use.

    Returns
    -------
    dict
        Name of each strategy to its inputs by keyword.

    Raises
    ------
    ParameterError
        If an argument is given that none of the strategies takes, or is not given that one cannot do without.
    InputError
        If a file cannot be read.
    """
    from inspect import signature

    from hisatools.errors import ParameterError
    from hisatools.strategies import load

    kinds = {name: load("unabsorbed", name) for name in names}
    _check_required(arguments, kinds)
    taken = {name: signature(kind).parameters for name, kind in kinds.items()}
    inputs = {name: {} for name in names}
    for argument in STRATEGY_INPUTS:
        given = getattr(arguments, argument, None)
        if given is None:
            continue
        users = [name for name in names if argument in taken[name]]
        if not users:
            raise ParameterError(
                f"{option(argument)} is for a strategy that takes it, and {', '.join(names)} does not; name "
                "the strategy, or leave the option out"
            )
        value = _read_input(argument, given)
        for name in users:
            inputs[name][argument] = value
    return inputs


def option(argument):
    """An argument as it is typed."""
    return f"--{argument.replace('_', '-')}"


def _check_required(arguments, kinds):
    """Say at once what a strategy would miss when it is called."""
    from hisatools.errors import ParameterError

    for name, kind in kinds.items():
        for argument in getattr(kind, "required_inputs", ()):
            if getattr(arguments, argument, None) is None:
                cure = (
                    f"give {option(argument)}"
                    if hasattr(arguments, argument)
                    else f"this command has no {option(argument)}; name another strategy"
                )
                raise ParameterError(f"the strategy {name} cannot do without {argument}: {cure}")


def _read_input(argument, path):
    """A cube; or the path of a region file that can be read, as the field is not known yet."""
    from pathlib import Path

    from hisatools.cube import HISACube
    from hisatools.errors import InputError
    from hisatools.io.regions import _sky_regions

    try:
        if argument == "off_regions":
            _sky_regions(Path(path), Path(path).name)
            return path
        cube = HISACube.read(path)
    except InputError as error:
        raise InputError(f"{option(argument)}: {error}") from error
    if argument == "low_resolution" and cube.beam is None:
        raise InputError(
            f"--low-resolution: {path}: the beam of the single-dish cube is not known; put BMAJ, BMIN and "
            "BPA into its header"
        )
    return cube


def check_strategy(arguments, strategy, cube):
    """Say before a long search what a strategy would say of its further inputs when it is called.

    Parameters
    ----------
    arguments : argparse.Namespace
    strategy : `~hisatools.unabsorbed.protocols.UnabsorbedStrategy`
        Made with what `strategy_inputs` read.
    cube : `~hisatools.HISACube`

    Raises
    ------
    InputError
        If an input does not fit the cube, for example as it lies elsewhere.
    """
    from pathlib import Path

    from hisatools.errors import InputError
    from hisatools.io.regions import sky_cut

    if given := inputs_of(strategy).get("off_regions"):
        sky_cut(given, cube.wcs.celestial, cube.shape[1:], f"--off-regions: {Path(given).name}")
    try:
        getattr(strategy, "check", lambda cube: None)(cube)
    except InputError as error:
        message = str(error)
        for argument in inputs_of(strategy):
            if message.startswith(argument):
                typed = f"{option(argument)} {getattr(arguments, argument)}"
                raise InputError(typed + message.removeprefix(argument)) from error
        raise


def inputs_of(strategy):
    """What a strategy was given of `strategy_inputs`, by name."""
    found = {argument: getattr(strategy, argument, None) for argument in STRATEGY_INPUTS}
    return {argument: value for argument, value in found.items() if value is not None}
