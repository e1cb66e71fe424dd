"""The verb ``significance`` of the ``hisatools`` command."""

from pathlib import Path

from hisatools._messages import reading, significance_lines, written
from hisatools._objects import check_inputs_kept, progress_of, read_cube, voice_of, workers_of
from hisatools._parameter_changes import number_with_unit

TRIALS_FOLDER = "trials"


def significance(arguments):
    """``hisatools significance``."""
    from hisatools.significance.outcome import measure_significance
    from hisatools.significance.scan import SignificanceScan

    # What can be known to be wrong is said before the cube is read and scanned.
    parameters, smoothing = _scan_parameters(arguments), _angle(arguments, "smooth")
    _check_numbers(arguments)
    folder = _folder(arguments)
    workers, say = workers_of(arguments), voice_of(arguments)
    noise = _noise(arguments)
    cube = read_cube(arguments)
    say(reading(cube, arguments.cube))
    prior = _prior(arguments, cube, smoothing)
    within = None if arguments.within is None else _within(arguments.within, cube)
    result = _result(arguments, cube)
    if noise is not None:
        noise.check_axes(cube)
    reliability = _reliability(arguments, cube, result, workers)
    found = measure_significance(
        _residual(cube, result, noise, workers),
        result=result,
        scan=SignificanceScan(parameters),
        prior=prior,
        within=within,
        n_trials=arguments.trials,
        background=arguments.background,
        seed=arguments.seed,
        min_ts=arguments.peaks,
        reliability=reliability,
        workers=workers,
        progress=progress_of(arguments),
        folder=_trials_folder(folder, arguments),
        resume=arguments.resume,
        report=say,
    )
    found.write(folder, overwrite=True)
    say(*significance_lines(found), written(folder))


# --- arguments to objects ---------------------------------------------------------------------------


def _check_numbers(arguments):
    from hisatools.errors import ParameterError
    from hisatools.parameters import check_number

    for name in ("trials", "seed"):
        check_number(f"--{name}", getattr(arguments, name), inclusive=True, integer=True)
    check_number("--peaks", arguments.peaks)
    if arguments.reliability and arguments.result is None:
        raise ParameterError("--reliability is for features: give --result, a folder of `hisatools extract`")
    if not arguments.prior:
        for name in ("floor", "smooth", "frame"):
            if getattr(arguments, name) is not None:
                raise ParameterError(f"--{name} is for a prior; give --prior FILE, or leave it out")


def _scan_parameters(arguments):
    import astropy.units as u

    from hisatools.significance import ScanParameters

    given = {}
    for name, unit in (("widths", "arcmin"), ("linewidths", "km/s")):
        texts = getattr(arguments, name)
        if texts is not None:
            given[name] = u.Quantity([number_with_unit(f"--{name}", text, unit) for text in texts])
    return ScanParameters(**given)


def _angle(arguments, name):
    import astropy.units as u

    from hisatools.parameters import check_quantity

    text = getattr(arguments, name)
    if text is None:
        return None
    return check_quantity(f"--{name}", number_with_unit(f"--{name}", text, "arcmin"), u.arcmin)


def _folder(arguments):
    """The output folder; one that holds files is for --resume and --overwrite only."""
    from hisatools.io.writing import check_output

    folder = check_output(arguments.output, overwrite=arguments.overwrite or arguments.resume)
    check_inputs_kept(arguments, folder)
    return folder


def _trials_folder(folder, arguments):
    """Where trials are kept; what an older run left goes, unless it is to be resumed."""
    if not arguments.trials:
        return None
    kept = folder / TRIALS_FOLDER
    if arguments.overwrite and not arguments.resume:
        for path in kept.glob("trials_*.fits"):
            path.unlink()
    return kept


def _noise(arguments):
    from hisatools.noise import NoiseResult

    return None if arguments.noise_file is None else NoiseResult.read(Path(arguments.noise_file).expanduser())


def _prior(arguments, cube, smoothing):
    """The product of all priors; None without one."""
    from hisatools.significance.prior import SpatialPrior
    from hisatools.significance.prior_sources import kind_of_file

    made = []
    for path in arguments.prior or ():
        path = Path(path).expanduser()
        settings = {"smoothing": smoothing}
        if arguments.floor is not None:
            settings["floor"] = arguments.floor
        if arguments.frame is not None and kind_of_file(path) == "healpix":
            settings["frame"] = arguments.frame
        made.append(SpatialPrior.read(path, cube, **settings))
    return SpatialPrior.product(*made) if len(made) > 1 else made[0] if made else None


def _within(text, cube):
    """Sight lines in a region file, or voxels of a FITS mask that are neither 0 nor NaN."""
    import numpy as np
    from astropy.wcs import WCS

    from hisatools._strategy_verbs import _check_place
    from hisatools.errors import InputError
    from hisatools.io.headers import sky_wcs
    from hisatools.noise import SkyMask

    path = Path(text).expanduser()
    if not _is_fits(path):
        inside = SkyMask.of(cube).region(path).inside
        if not inside.any():
            raise InputError(f"{path}: no pixel of the cube lies in the regions; give some of this field")
        return inside
    values, header = _read_mask(path)
    # Axes of length 1 in front, such as one for polarisation, say nothing.
    while values.ndim > 2 and len(values) == 1 and values.shape != cube.shape:
        values = values[0]
    if values.shape not in (cube.shape, cube.shape[1:]):
        raise InputError(
            f"{path}: the mask has the shape {values.shape}, the cube {cube.shape}; give the "
            "--velocity-range and --region that it was made with"
        )
    _check_same_place(sky_wcs(header, str(path)), cube, path)
    if values.ndim == 3:
        _check_place(WCS(header, naxis=3), cube, path)
    inside = np.nan_to_num(values) != 0
    if not inside.any():
        raise InputError(f"{path}: the mask is 0 or blank everywhere; give one with something in it")
    return inside


def _check_same_place(wcs, cube, path):
    """Refuse a mask of another part of the sky, if its header says so."""
    from hisatools.errors import InputError
    from hisatools.io.same_axes import SAME_PLACE, sky_offset_pix

    if wcs is None or not cube.wcs.has_celestial:
        return
    off_pix = sky_offset_pix(wcs, cube.wcs, cube.shape)
    if not off_pix < SAME_PLACE:
        raise InputError(
            f"{path}: the mask is of another part of the sky than the cube, {off_pix:.3g} pixels off; give "
            "one of this field"
        )


def _is_fits(path):
    from hisatools.errors import InputError

    if not path.is_file():
        raise InputError(f"{path}: no such file; give a DS9 region file or a FITS mask")
    with path.open("rb") as file:
        return file.read(6) in (b"SIMPLE",) or path.name.endswith(".gz")


def _read_mask(path):
    from hisatools.errors import InputError
    from hisatools.io.files import opened

    with opened(path) as hdus:
        image = next((hdu for hdu in hdus if hdu.data is not None and hdu.data.ndim >= 2), None)
        if image is None:
            raise InputError(f"{path}: holds no image; give a mask for the cube")
        return image.data, image.header


def _result(arguments, cube):
    """The result whose features are assessed; None without one."""
    from hisatools import HISAResult
    from hisatools.errors import InputError

    if arguments.result is None:
        return None
    result = HISAResult.read(arguments.result)
    if result.flags.shape != cube.shape:
        raise InputError(
            f"{arguments.result}: the result has the shape {result.flags.shape}, the cube {cube.shape}; give "
            "the --velocity-range and --region that it was extracted with"
        )
    return result


def _residual(cube, result, noise, workers):
    """O - T_U; without a result T_U is smooth emission alone."""
    from hisatools.significance import Residual

    if result is not None:
        return Residual.from_result(cube, result, noise=noise, workers=workers)
    return Residual.from_cube(cube, noise=noise, workers=workers)


def _reliability(arguments, cube, result, workers):
    if not arguments.reliability:
        return None
    from hisatools.significance.reliability import ReliabilityModel

    extractor = _extractor_of(result)
    return ReliabilityModel.measure(cube, result, extractor, workers=workers, progress=progress_of(arguments))


def _extractor_of(result):
    """The extractor that made a result, by its provenance."""
    from hisatools import HISAExtractor, SpatialSearcher, SpectralSearcher, UnabsorbedEstimator
    from hisatools.errors import InputError
    from hisatools.parameters import ExtractionParameters, SpatialParameters, SpectralParameters
    from hisatools.strategies import load

    try:
        own, strategy = result.meta["parameters"], result.meta["strategies"]["unabsorbed"]
        kinds = {
            "spectral": SpectralParameters,
            "spatial": SpatialParameters,
            "extraction": ExtractionParameters,
        }
        kinds[strategy] = load("unabsorbed", strategy).Parameters
        made = {
            name: kind(**{key: _value(value) for key, value in own[name].items()})
            for name, kind in kinds.items()
        }
        n_passes = own["n_passes"]
    except (KeyError, TypeError) as error:
        raise InputError(
            f"--reliability needs the parameters of the extraction, which its provenance lacks ({error}); "
            "extract once more"
        ) from error
    return HISAExtractor(
        spectral=SpectralSearcher(made["spectral"]),
        spatial=SpatialSearcher(made["spatial"]),
        unabsorbed=UnabsorbedEstimator(strategy, made[strategy]),
        parameters=made["extraction"],
        n_passes=n_passes,
    )


def _value(written):
    """A parameter as it was before it became JSON."""
    import astropy.units as u

    if not isinstance(written, str):
        return written
    try:
        return u.Quantity(written)
    except TypeError:
        return written
