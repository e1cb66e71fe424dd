"""The ``hisatools`` command: every verb is a few calls of the public API.

Exit codes: 0 done; 1 the input or an argument is at fault, with one line on stderr that names it and
says what to do; 2 usage; 130 interrupted. What a verb needs is imported when it runs, so that
``--help`` answers at once.
"""

import contextlib
import logging
import os
import sys
import warnings
from functools import partial

from hisatools._arguments import build_parser
from hisatools._completion import completion
from hisatools._config import parse_arguments, recorded_run
from hisatools._export_verb import export
from hisatools._gas_verb import gas
from hisatools._logging import log_shown
from hisatools._messages import (
    complain,
    dimensions,
    extraction_lines,
    listing,
    model_line,
    reading,
    region_lines,
    score_lines,
    tell,
    written,
)
from hisatools._objects import (
    check_inputs_kept,
    check_strategy,
    extractor_of,
    progress_of,
    read_cube,
    read_performance,
    voice_of,
    workers_of,
)
from hisatools._parameter_changes import parameter_sets
from hisatools._report_verb import report
from hisatools._residual_verb import residual_mask
from hisatools._significance_verb import significance
from hisatools._strategy_verbs import compare, noise, strategies
from hisatools.errors import HISAError, HISAWarning, MendWarning

__all__ = ["main"]

LOGGER = logging.getLogger(__name__)
DEMO_SHAPE = (64, 256, 256)
# Arguments of `performance` that only a cube gives a meaning.
CUBE_ARGUMENTS = ("velocity_range", "region", "weights", "beam", "unit", "rest_frequency", "n_pucks", "noise")


def main(argv=None):
    """Run the command.

    Parameters
    ----------
    argv : list of str, optional
        Arguments without the program's name; by default those of the command line.

    Returns
    -------
    int
        The exit code.

    Examples
    --------
    >>> from hisatools.cli import main
    >>> main(["inspect", "no_such_file.fits"])
    1
    """
    with warnings.catch_warnings():
        warnings.simplefilter("always", HISAWarning)
        warnings.showwarning = partial(_show_warning, seen=set())
        try:
            arguments = parse_arguments(partial(build_parser, VERBS), argv)
        except SystemExit as stop:  # --help and usage errors
            return int(stop.code or 0)
        except HISAError as error:
            return _fail(str(error))
        return _run(arguments)


def _run(arguments):
    """Run a verb; whatever goes wrong becomes one line, here and in the log, and an exit code."""
    try:
        with log_shown(arguments):
            return _run_logged(arguments)
    except HISAError as error:  # the log cannot be written
        return _fail(str(error))


def _run_logged(arguments):
    try:
        with recorded_run(arguments):
            arguments.verb(arguments)
    except HISAError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        nothing = "interrupted; nothing of the result was written"
        return _fail(getattr(arguments, "interrupted", nothing), code=130)
    except MemoryError:
        return _fail(f"not enough memory for this cube; {_memory_cure(arguments)}")
    except BrokenPipeError:
        # The reader of our output went away, as `head` does. Python would complain once more at exit.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error}; check the path and the disk")
    except Exception as error:
        message = f"unexpected {type(error).__name__}: {error}"
        if arguments.debug:
            LOGGER.error(message, exc_info=True)
            raise
        return _fail(f"{message}; please report it with what --debug prints", traceback=True)
    return 0


def _memory_cure(arguments):
    cubes = getattr(arguments, "cubes", ())
    if not cubes and getattr(arguments, "cube", None) is None:
        return "make it smaller (--shape)"
    fewer = ", or hold fewer cubes at a time (--workers 1)" if len(cubes) > 1 else ""
    return f"cut it with --velocity-range or --region{fewer}"


def _fail(message, code=1, *, traceback=False):
    complain("error", message)
    # On the screen the log shows no errors, which would stand there twice.
    LOGGER.error(" ".join(message.split()), exc_info=traceback)
    return code


def _show_warning(message, category, filename, lineno, file=None, line=None, *, seen):
    """One line for each warning; for those that are not ours, with the kind."""
    kind = "" if issubclass(category, HISAWarning) else f"{category.__name__}: "
    text = kind + " ".join(str(message).split())
    if text not in seen:
        seen.add(text)
        complain("warning", text)
        LOGGER.warning(text)


# --- verbs ------------------------------------------------------------------------------------


def _extract(arguments):
    from hisatools.io.writing import check_output

    # What can be known to be wrong is said before hours of computing, not after.
    folder = check_output(arguments.output, overwrite=arguments.overwrite)
    check_inputs_kept(arguments, folder)
    extractor, workers = extractor_of(arguments), workers_of(arguments)
    performance = read_performance(arguments)
    say = voice_of(arguments)
    cube = read_cube(arguments)
    say(reading(cube, arguments.cube))
    check_strategy(arguments, extractor.unabsorbed.interpolator, cube)
    result = extractor.run(cube, workers=workers, progress=progress_of(arguments))
    if performance is not None:
        result = performance.assess(result)
    result.write(folder, overwrite=arguments.overwrite)
    say(*extraction_lines(result), written(folder))


def _performance(arguments):
    from hisatools.performance.report import read_parts, write_report

    _check_performance(arguments)
    folder = _performance_folder(arguments)
    check_inputs_kept(arguments, folder)
    settings = {
        "seed": arguments.seed,
        "extractor": extractor_of(arguments),
        "workers": workers_of(arguments),
        "folder": folder / "models",
        "resume": arguments.resume,
        "progress": progress_of(arguments),
    }
    say = voice_of(arguments)
    settings["report"] = lambda part: say(model_line(part.models[0]))
    with _no_empty_folders(folder):
        performance = (_run_models if arguments.cube is None else _run_injections)(arguments, settings, say)
    tables = write_report(
        performance, folder, parts=read_parts(folder / "models", performance.models["seed"])
    )
    say(*region_lines(tables["regions"]), written(folder))


def _run_models(arguments, settings, say):
    from hisatools import PerformanceModel

    given = _given(arguments, n_models="models", shape="shape")
    say("Extracting model cubes, and comparing with their truth")
    return PerformanceModel.run(**given, **settings)


def _run_injections(arguments, settings, say):
    from hisatools import PerformanceModel

    cube = read_cube(arguments)
    say(reading(cube, arguments.cube))
    check_strategy(arguments, settings["extractor"].unabsorbed.interpolator, cube)
    given = _given(arguments, n_models="models", n_pucks="n_pucks", noise="noise")
    say("Extracting it as it is, and then with absorption put in where none was found")
    return PerformanceModel.inject(cube, **given, **settings)


def _demo(arguments):
    from hisatools import HISAExtractor
    from hisatools.io.writing import check_output
    from hisatools.simulate import ModelParameters, simulate_cube

    say = voice_of(arguments)
    folder = check_output(arguments.output, overwrite=arguments.overwrite)
    workers = workers_of(arguments)
    model = simulate_cube(ModelParameters().scaled(DEMO_SHAPE), seed=arguments.seed)
    say(f"Model cube of {dimensions(model.cube.shape)} with {len(model.pucks)} absorption features made")
    model.write(folder / "model", overwrite=arguments.overwrite)
    result = HISAExtractor.preset("cgps").run(model.cube, workers=workers, progress=progress_of(arguments))
    result.write(folder / "result", overwrite=arguments.overwrite)
    say(*extraction_lines(result), written(folder / "result"))
    say(f"Wrote the model and its truth to {folder / 'model'}", *score_lines(model, result))
    say(f"To look through it: hisatools report {folder / 'result'}")


def _simulate(arguments):
    from hisatools.io.writing import check_output
    from hisatools.simulate import ModelParameters, simulate_cube

    folder = check_output(arguments.output, overwrite=arguments.overwrite)
    model = simulate_cube(ModelParameters().scaled(tuple(arguments.shape)), seed=arguments.seed)
    model.write(folder, overwrite=arguments.overwrite)
    voice_of(arguments)(
        f"Wrote a model cube of {dimensions(model.cube.shape)} with {len(model.pucks)} absorption features",
        f"and its truth to {folder}: {listing(folder)}",
    )


def _inspect(arguments):
    from hisatools.inspection import describe_cube, describe_scales

    parameter_sets(arguments.preset)  # an unknown preset is said before the cube is read
    warnings.simplefilter("ignore", MendWarning)  # they are part of the description
    cube = read_cube(arguments)
    tell(*describe_cube(cube), *describe_scales(cube, arguments.preset))


def _backends(arguments):
    from hisatools.backends.speed import backend_lines

    for line in backend_lines():
        tell(line)


# --- performance: before and after ------------------------------------------------------------


def _check_performance(arguments):
    """Say before any computing what would be said late, or not at all."""
    from hisatools.errors import ParameterError
    from hisatools.parameters import check_number

    if arguments.cube is None:
        unfit = [name for name in CUBE_ARGUMENTS if getattr(arguments, name) is not None]
        cure = "is for a cube that absorption is put into; give CUBE.fits, or leave the option out"
    else:
        unfit = ["shape"] if arguments.shape is not None else []
        cure = "is for model cubes, and a cube is given; leave one of them out"
    if unfit:
        raise ParameterError(f"--{unfit[0].replace('_', '-')} {cure}")
    check_number("seed", arguments.seed, inclusive=True, integer=True)
    for name, value in _given(arguments, models="models", n_pucks="n_pucks").items():
        check_number(name, value, integer=True)


def _given(arguments, **names):
    """Those arguments that were given: the others keep the defaults of the function that is called."""
    values = {name: getattr(arguments, argument) for name, argument in names.items()}
    return {name: value for name, value in values.items() if value is not None}


def _performance_folder(arguments):
    """The output folder; one that holds a run is for --resume only."""
    from hisatools.errors import OutputError
    from hisatools.io.writing import check_output
    from hisatools.performance.report import REPORT_FILES

    folder = check_output(arguments.output, overwrite=True)
    of_a_run = [*(folder / "models").glob("seed_*.fits"), *(folder / name for name in REPORT_FILES)]
    if not arguments.resume and any(path.exists() for path in of_a_run):
        raise OutputError(
            f"output folder {arguments.output} holds a run already; go on with it (--resume) or choose "
            "another output"
        )
    return folder


@contextlib.contextmanager
def _no_empty_folders(folder):
    """Leave no empty folders behind where a run ends before its first model is finished."""
    existed = folder.exists()
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # not empty
            (folder / "models").rmdir()
            if not existed:
                folder.rmdir()
        raise


VERBS = {
    "extract": _extract,
    "performance": _performance,
    "demo": _demo,
    "simulate": _simulate,
    "compare": compare,
    "noise": noise,
    "significance": significance,
    "residual-mask": residual_mask,
    "gas": gas,
    "export": export,
    "report": report,
    "inspect": _inspect,
    "strategies": strategies,
    "backends": _backends,
    "completion": completion,
}
