"""Verbs of the ``hisatools`` command about strategies: ``compare``, ``noise`` and ``strategies``."""

from pathlib import Path
from threading import Lock

from hisatools._config import record_text
from hisatools._messages import comparison_lines, noise_line, reading, strategy_lines, tell, written
from hisatools._objects import (
    STRATEGY_INPUTS,
    check_inputs_kept,
    check_strategy,
    inputs_of,
    progress_of,
    read_cube,
    strategy_inputs,
    voice_of,
    workers_of,
)
from hisatools._parameter_changes import parameter_changes, strategy_parameters


def compare(arguments):
    """``hisatools compare``."""
    from hisatools.comparison import compare_unabsorbed
    from hisatools.io.writing import check_output
    from hisatools.noise import NoiseResult
    from hisatools.parameters import check_number

    folder = check_output(arguments.output, overwrite=arguments.overwrite)
    check_inputs_kept(arguments, folder)
    check_number("features", arguments.features, inclusive=True, integer=True)
    check_number("rim", arguments.rim, integer=True)
    workers, say = workers_of(arguments), voice_of(arguments)
    estimators = _estimators(arguments)
    noise = None if arguments.noise_file is None else NoiseResult.read(Path(arguments.noise_file))
    cube = read_cube(arguments)
    say(reading(cube, arguments.cube))
    for estimator in estimators:
        # One that cannot be used is left out, but for what the user gave it.
        if inputs_of(estimator.interpolator):
            check_strategy(arguments, estimator.interpolator, cube)
    mask, within = read_mask(arguments.mask, cube)
    comparison = compare_unabsorbed(
        cube,
        mask,
        estimators,
        within=within,
        noise=noise,
        rim=arguments.rim,
        workers=workers,
        progress=progress_of(arguments),
    )
    if Path(arguments.mask).expanduser().is_dir():
        _add_catalog_ids(comparison, Path(arguments.mask).expanduser() / "labels.fits")
    comparison.write(folder, n_features=arguments.features, overwrite=arguments.overwrite)
    say(*comparison_lines(comparison), written(folder))


def _estimators(arguments):
    """Those that are asked for; by default all that have what they need."""
    from hisatools import UnabsorbedEstimator
    from hisatools.comparison import usable_strategies

    given = [name for name in STRATEGY_INPUTS if getattr(arguments, name)]
    names = list(dict.fromkeys(arguments.strategies or usable_strategies(given)))
    parameters = strategy_parameters("unabsorbed", names, arguments.preset, parameter_changes(arguments))
    inputs = strategy_inputs(arguments, names)
    return [UnabsorbedEstimator(name, parameters[name], **inputs[name]) for name in names]


def read_mask(path, cube):
    """What may be absorbed, and in which features T_U is compared.

    Parameters
    ----------
    path : str
        Of a folder that ``hisatools extract`` wrote, or of a FITS cube.
    cube : `~hisatools.HISACube`

    Returns
    -------
    mask : `~numpy.ndarray` of bool, shape of the cube
        Of a result: what either search flagged; of a FITS cube: what is neither 0 nor NaN.
    within : `~numpy.ndarray` of bool or None
        Of a result: what was accepted.

    Raises
    ------
    InputError
        If the file cannot be read, or lies elsewhere than the cube.
    """
    import numpy as np
    from astropy.wcs import WCS

    from hisatools.errors import InputError
    from hisatools.results import MaskBit, flagged

    path = Path(path).expanduser()
    is_result = path.is_dir()
    path = path / "mask.fits" if is_result else path
    values, header = _read_image(path)
    if values.shape != cube.shape:
        raise InputError(
            f"{path}: the mask has the shape {values.shape}, the cube {cube.shape}; give the "
            "--velocity-range and --region that it was made with"
        )
    _check_place(WCS(header), cube, path)
    if not is_result:
        return np.nan_to_num(values) != 0, None
    flags = values.astype(np.uint8)
    return flags > 0, flagged(flags, MaskBit.ACCEPTED)


def _read_image(path):
    """The first image of three axes, without further axes of length 1, and its header."""
    import numpy as np

    from hisatools.errors import InputError
    from hisatools.io.files import opened

    with opened(path) as hdus:
        image = next((hdu for hdu in hdus if hdu.data is not None and hdu.data.ndim >= 3), None)
        if image is None:
            raise InputError(f"{path}: holds no image of three axes; give a mask for the cube")
        values, header = image.data, image.header
    is_cube = values.size == np.prod(values.shape[-3:])
    return (values.reshape(values.shape[-3:]) if is_cube else values), header


def _add_catalog_ids(comparison, path):
    """Say which features of an extraction's catalogue are in each feature that was compared.

    These are larger: what either search flagged in one piece, of which parts were accepted.
    """
    import numpy as np

    if not path.is_file():
        return
    values, _ = _read_image(path)
    if values.shape != comparison.labels.shape:
        return
    places = np.stack([labels.reshape(-1)[comparison.index] for labels in (comparison.labels, values)])
    (feature, own), size = np.unique(places[:, places[1] > 0], axis=1, return_counts=True)
    order = np.argsort(size, kind="stable")
    largest = dict(zip(feature[order].tolist(), own[order].tolist(), strict=True))
    number = dict(zip(*(values.tolist() for values in np.unique(feature, return_counts=True)), strict=True))
    rows = comparison.features
    if len(rows):
        labels = rows["feature"].tolist()
        rows.add_column([largest.get(label, 0) for label in labels], index=2, name="catalog_id")
        rows.add_column([number.get(label, 0) for label in labels], index=3, name="n_catalog")


def _check_place(wcs, cube, path):
    """Refuse a mask of another part of the sky or of other velocities, if its header says so."""
    import numpy as np

    from hisatools.errors import InputError

    if wcs.naxis != 3 or list(wcs.wcs.ctype) != list(cube.wcs.wcs.ctype):
        return
    corners = np.array([[0, 0, 0], np.array(cube.shape[::-1]) - 1], float)
    offset = cube.wcs.wcs_world2pix(wcs.wcs_pix2world(corners, 0), 0) - corners
    if not np.all(np.abs(offset) < 0.5):
        raise InputError(
            f"{path}: the mask is of another part of the sky or of other velocities than the cube; give the "
            "--velocity-range and --region that it was made with"
        )


def noise(arguments):
    """``hisatools noise``."""
    from hisatools.search.base import run_blocks

    targets = _noise_files(arguments)
    estimator = _noise_estimator(arguments)
    workers, say, progress = workers_of(arguments), voice_of(arguments), progress_of(arguments)
    # One cube has all the threads; of several each has one.
    within = workers if len(targets) == 1 else 1
    speaking = Lock()

    def measure(path):
        cube = read_cube(arguments, path)
        found = estimator.estimate(cube, mask=arguments.mask, workers=within)
        if len(targets) > 1:
            targets[path].parent.mkdir(parents=True, exist_ok=True)
        with _recorded(arguments, path, targets[path]):
            found.write(targets[path], overwrite=arguments.overwrite)
        with speaking:
            say(noise_line(found, path, targets[path]))

    run_blocks(measure, list(targets), workers=workers, progress=progress, description="noise")


def _recorded(arguments, path, target):
    """The record of one cube alone: the files of several appear one by one, and some may fail."""
    from hisatools.io.writing import recording

    return recording(target, record_text(arguments, cubes=[str(Path(path).expanduser().absolute())]))


def _noise_estimator(arguments):
    from hisatools.errors import ParameterError
    from hisatools.noise import NoiseEstimator

    name = arguments.strategy
    parameters = strategy_parameters("noise", [name], arguments.preset, parameter_changes(arguments))
    if name == "weights" and not arguments.weights:
        raise ParameterError("the strategy weights cannot do without a map of weights: give --weights")
    return NoiseEstimator(name, parameters[name])


def _noise_files(arguments):
    """Each cube to the file its noise goes to; what is missing, or must not be replaced, is an error."""
    from hisatools.errors import OutputError
    from hisatools.io.files import opened
    from hisatools.io.writing import CURE, check_output

    cubes = list(dict.fromkeys(arguments.cubes))
    if len(cubes) == 1:
        targets = {cubes[0]: Path(arguments.output).expanduser()}
        if not targets[cubes[0]].parent.is_dir():
            raise OutputError(f"cannot write {arguments.output}: no such folder; make it, or choose another")
    else:
        folder = check_output(arguments.output, overwrite=True)
        targets = {path: folder / f"{_stem(path)}_noise.fits" for path in cubes}
    if len(set(targets.values())) < len(targets):
        raise OutputError(
            f"two cubes have one name, and their noise would go to one file in {arguments.output}"
        )
    inputs = _inputs_of_noise(arguments, cubes)
    for target in targets.values():
        if (what := inputs.get(target.resolve())) is not None:
            raise OutputError(f"{target} is {what}; choose another --output")
        if target.is_dir() or (target.exists() and not arguments.overwrite):
            raise OutputError(f"{target} exists already; {CURE}")
    for path in cubes:
        with opened(Path(path)):
            pass
    return targets


def _inputs_of_noise(arguments, cubes):
    """Each file that is read to what it is."""
    named = {getattr(arguments, name): f"the file of --{name}" for name in ("weights", "region")}
    named |= dict.fromkeys(cubes, "the cube itself" if len(cubes) == 1 else "one of the cubes")
    return {Path(path).resolve(): what for path, what in named.items() if path}


def _stem(path):
    name = Path(path).name
    for ending in (".gz", ".fits", ".fit"):
        name = name.removesuffix(ending)
    return name


def strategies(arguments):
    """``hisatools strategies``."""
    for line in strategy_lines():
        tell(line)
