"""The ``hisatools`` command: every verb is a few calls of the public API.

Exit codes: 0 done; 1 the input or an argument is at fault, with one line on stderr that names it and
says what to do; 2 usage; 130 interrupted. What a verb needs is imported when it runs, so that
``--help`` answers at once.
"""

import contextlib
import os
import sys
import warnings
from functools import partial

from hisatools._arguments import build_parser, number_with_unit, parameter_changes, parameter_sets
from hisatools.errors import HISAError, HISAWarning, MendWarning

__all__ = ["main"]

DEMO_SHAPE = (64, 256, 256)


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
    try:
        arguments = build_parser(VERBS).parse_args(argv)
    except SystemExit as stop:  # --help and usage errors
        return int(stop.code or 0)
    with warnings.catch_warnings():
        warnings.simplefilter("always", HISAWarning)
        warnings.showwarning = partial(_show_warning, seen=set())
        return _run(arguments)


def _run(arguments):
    """Run a verb; whatever goes wrong becomes one line and an exit code."""
    try:
        arguments.verb(arguments)
    except HISAError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        return _fail("interrupted; nothing of the result was written", code=130)
    except MemoryError:
        return _fail("not enough memory for this cube; cut it with --velocity-range or --region")
    except BrokenPipeError:
        # The reader of our output went away, as `head` does. Python would complain once more at exit.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error}; check the path and the disk")
    except Exception as error:
        if arguments.debug:
            raise
        return _fail(f"unexpected {type(error).__name__}: {error}; please report it with what --debug prints")
    return 0


def _fail(message, code=1):
    print(f"hisatools: error: {' '.join(message.split())}", file=sys.stderr)
    return code


def _show_warning(message, category, filename, lineno, file=None, line=None, *, seen):
    """One line for each warning; for those that are not ours, with the kind."""
    kind = "" if issubclass(category, HISAWarning) else f"{category.__name__}: "
    text = kind + " ".join(str(message).split())
    if text not in seen:
        seen.add(text)
        print(f"hisatools: warning: {text}", file=sys.stderr)


# --- verbs ------------------------------------------------------------------------------------


def _extract(arguments):
    from hisatools.io.writing import check_output

    # What can be known to be wrong is said before hours of computing, not after.
    folder = check_output(arguments.output, overwrite=arguments.overwrite)
    _keep_inputs(arguments, folder)
    extractor, workers = _extractor(arguments), _workers(arguments)
    say = _voice(arguments)
    cube = _read_cube(arguments)
    say(_reading(cube, arguments.cube))
    result = extractor.run(cube, workers=workers, progress=_progress(arguments))
    result.write(folder, overwrite=arguments.overwrite)
    _report(say, result, folder)


def _keep_inputs(arguments, folder):
    """Refuse an output folder that holds an input: overwriting could replace it."""
    from pathlib import Path

    from hisatools.errors import OutputError

    for given in (arguments.cube, arguments.weights, arguments.region):
        if given and Path(given).resolve().parent == folder.resolve():
            raise OutputError(
                f"{given}: the input lies in the output folder {folder}; choose another --output"
            )


def _demo(arguments):
    from hisatools import HISAExtractor
    from hisatools.io.writing import check_output
    from hisatools.simulate import ModelParameters, simulate_cube

    say = _voice(arguments)
    folder = check_output(arguments.output, overwrite=arguments.overwrite)
    workers = _workers(arguments)
    model = simulate_cube(ModelParameters().scaled(DEMO_SHAPE), seed=arguments.seed)
    say(f"Model cube of {_dimensions(model.cube.shape)} with {len(model.pucks)} absorption features made")
    model.write(folder / "model", overwrite=arguments.overwrite)
    result = HISAExtractor.preset("cgps").run(model.cube, workers=workers, progress=_progress(arguments))
    result.write(folder / "result", overwrite=arguments.overwrite)
    _report(say, result, folder / "result")
    say(f"Wrote the model and its truth to {folder / 'model'}")
    for line in _score(model, result):
        say(line)


def _simulate(arguments):
    from hisatools.io.writing import check_output
    from hisatools.simulate import ModelParameters, simulate_cube

    folder = check_output(arguments.output, overwrite=arguments.overwrite)
    model = simulate_cube(ModelParameters().scaled(tuple(arguments.shape)), seed=arguments.seed)
    model.write(folder, overwrite=arguments.overwrite)
    print(
        f"Wrote a model cube of {_dimensions(model.cube.shape)} with {len(model.pucks)} absorption features"
    )
    print(f"and its truth to {folder}: {_listing(folder)}")


def _inspect(arguments):
    from hisatools.inspection import describe_cube, describe_scales

    parameter_sets(arguments.preset)  # an unknown preset is said before the cube is read
    warnings.simplefilter("ignore", MendWarning)  # they are part of the description
    cube = _read_cube(arguments)
    print("\n".join([*describe_cube(cube), *describe_scales(cube, arguments.preset)]))


def _backends(arguments):
    from hisatools.backends import available, get_backend

    for kind in ("clean", "convolution"):
        for name in available(kind):
            try:
                get_backend(kind, name)
                state = "works"
            except HISAError as error:
                state = str(error)
            print(f"{kind:12} {name:12} {state}")


# --- from arguments to objects ----------------------------------------------------------------


def _read_cube(arguments):
    import astropy.units as u

    from hisatools.cube import HISACube

    given = {"unit": arguments.unit, "region": arguments.region, "weights": arguments.weights}
    if arguments.velocity_range is not None:
        given["velocity_range"] = tuple(arguments.velocity_range * u.km / u.s)
    if arguments.beam is not None:
        given["beam"] = _beam(arguments.beam)
    if arguments.rest_frequency is not None:
        given["rest_frequency"] = number_with_unit("--rest-frequency", arguments.rest_frequency, "MHz")
    return HISACube.read(arguments.cube, **given)


def _beam(text):
    import astropy.units as u
    from radio_beam import Beam

    from hisatools.parameters import check_quantity

    return Beam(check_quantity("--beam", number_with_unit("--beam", text, "arcsec"), u.arcsec))


def _extractor(arguments):
    from hisatools import HISAExtractor, SpatialSearcher, SpectralSearcher, UnabsorbedEstimator

    sets = parameter_sets(arguments.preset, parameter_changes(arguments))
    clean, convolution = arguments.clean, arguments.convolution
    return HISAExtractor(
        spectral=SpectralSearcher(sets["spectral"], clean=clean),
        spatial=SpatialSearcher(sets["spatial"], clean=clean, convolution=convolution),
        unabsorbed=UnabsorbedEstimator("shell", sets["shell"]),
        parameters=sets["extraction"],
        n_passes=arguments.passes,
    )


def _workers(arguments):
    from hisatools.parameters import check_number

    if arguments.workers is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return check_number("workers", arguments.workers, integer=True)


def _progress(arguments):
    return arguments.progress or (sys.stderr.isatty() and not arguments.quiet)


def _voice(arguments):
    return (lambda line: None) if arguments.quiet else partial(print, flush=True)


# --- what is said -----------------------------------------------------------------------------


def _dimensions(shape):
    return f"{shape[0]} channels x {shape[1]} x {shape[2]} pixels"


def _reading(cube, path):
    speeds = cube.velocity.value
    return f"Read {path}: {_dimensions(cube.shape)}, velocities {speeds[0]:+.1f} to {speeds[-1]:+.1f} km/s"


def _report(say, result, folder):
    """The last lines of an extraction: what was found, remarks, and where it is."""
    import numpy as np

    for counts in result.meta.get("passes", []):
        say(f"Pass {counts['pass']}: {counts['accepted']} voxels accepted, {counts['new']} of them new")
    n_accepted = int(np.count_nonzero(result.mask))
    n_searched = sum(int(np.count_nonzero(np.isfinite(plane))) for plane in result.delta_t.value)
    fraction = 100 * n_accepted / max(n_searched, 1)
    number = f"{len(result.catalog) or 'no'} feature{'s' * (len(result.catalog) != 1)}"
    say(f"Found {number}: {n_accepted} voxels accepted, {fraction:.3g} % of the cube")
    for remark in result.meta.get("remarks", []):
        say(f"Remark: {remark}")
    say(f"Wrote {folder}: {_listing(folder)}")


def _listing(folder):
    return ", ".join(sorted(entry.name for entry in os.scandir(folder) if not entry.name.startswith(".")))


def _score(model, result):
    """Voxel by voxel against the truth, as in the paper's section 3.3."""
    import numpy as np

    from hisatools.features import angular_widths, velocity_widths

    truth, accepted = model.mask, result.mask
    linewidth = velocity_widths(-model.delta_t.value, truth) * model.cube.channel_width.value
    width = angular_widths(truth) * model.cube.pixel_scale.value
    detectable = (model.delta_t.value <= -20) & (model.t_unabsorbed.value >= 80)
    detectable &= (width >= 3) & (linewidth <= 3.5)
    parts = (
        ("of the true absorption (deeper than 0.005 K) was found", truth & accepted, truth),
        (
            "of it where dT <= -20 K, T_U >= 80 K, 3' wide or more, 3.5 km/s or narrower",
            detectable & accepted,
            detectable,
        ),
        ("of what was accepted is true absorption", truth & accepted, accepted),
        (
            "of it where the measured dT <= -20 K",
            truth & (result.delta_t.value <= -20),
            result.delta_t.value <= -20,
        ),
    )
    yield f"Against the known truth, {np.count_nonzero(truth)} voxels in {len(model.pucks)} features:"
    for text, some, every in parts:
        total = np.count_nonzero(every)
        share = f"{100 * np.count_nonzero(some) / total:5.1f} %" if total else "   none"
        yield f"  {share} {text}"


VERBS = {
    "extract": _extract,
    "demo": _demo,
    "simulate": _simulate,
    "inspect": _inspect,
    "backends": _backends,
}
