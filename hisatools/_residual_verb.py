"""The verb ``residual-mask`` of the ``hisatools`` command."""

from hisatools._messages import written
from hisatools._objects import check_inputs_kept, voice_of, workers_of

LIKELIHOOD_FOLDER = "likelihood"
# Arguments that become fields of the parameters.
FIELDS = ("n_sigma", "start_fraction", "growth", "n_stable", "max_rounds", "pixels_per_beam")


def residual_mask(arguments):
    """``hisatools residual-mask``."""
    import astropy.units as u

    from hisatools.io.maps import onto_grid, read_map
    from hisatools.io.writing import check_output
    from hisatools.residual_mask.files import remove_likelihood
    from hisatools.residual_mask.masker import ResidualMasker

    folder = check_output(arguments.output, overwrite=arguments.overwrite)
    _check_inputs(arguments, folder)
    workers, say = workers_of(arguments), voice_of(arguments)
    masker = ResidualMasker(_parameters(arguments))
    tracer = read_map(arguments.tracer, unit=arguments.tracer_unit)
    source, gas, wcs = _gas(arguments)
    values, moved = onto_grid(tracer, wcs, gas.shape)
    if moved:
        say(f"Reprojected {arguments.tracer} onto the grid of the gas")
    error = None
    if arguments.error is not None:
        unit = arguments.tracer_unit
        error, moved = onto_grid(read_map(arguments.error, unit=unit), wcs, gas.shape)
        if moved:
            say(f"Reprojected {arguments.error} onto the grid of the gas")
    intercept = None if arguments.intercept is None else arguments.intercept * values.unit
    if arguments.likelihood is None:
        settings = {"error": error, "intercept": intercept, "wcs": wcs, "workers": workers}
        found, likelihood = masker.run(values, gas, **settings), None
    else:
        found, likelihood = _fit_width(arguments, masker, source, values, error, wcs, workers)
    # One of an older run must not stand beside the new mask, also if this run ends between both.
    remove_likelihood(folder / LIKELIHOOD_FOLDER)
    found.write(folder, overwrite=arguments.overwrite)
    say(*mask_lines(found))
    if likelihood is not None:
        likelihood.write(folder / LIKELIHOOD_FOLDER, overwrite=arguments.overwrite)
        best, (low, high) = likelihood.best["width"], likelihood.interval("width").to_value(u.km / u.s)
        say(f"Velocity width {best.value:.3g} km/s, {low:.4g} to {high:.4g} km/s with 68 % probability")
    say(written(folder))


def mask_lines(result):
    """What was found, in words."""
    n_used, n_masked = int(result.used.sum()), int(result.mask.sum())
    state = "stable" if result.converged else "not stable"
    yield (
        f"Ratio {result.fit.ratio:.4g} +- {result.fit.sigma_ratio:.2g} {result.ratio.unit}, intercept "
        f"{result.fit.intercept:.4g} +- {result.fit.sigma_intercept:.2g} {result.intercept.unit}, noise "
        f"{result.sigma.value:.3g} {result.sigma.unit}"
    )
    yield (
        f"Masked {n_masked} of {n_used} pixels, {100 * n_masked / n_used:.3g} %; {len(result.history)} "
        "rounds, "
        f"{state}"
    )


def _check_inputs(arguments, folder):
    """Say before any computing what does not go together, and keep the inputs."""
    from hisatools.errors import ParameterError

    check_inputs_kept(arguments, folder)
    sources = [name for name in ("gas", "cube", "result") if getattr(arguments, name) is not None]
    if not sources:
        raise ParameterError(
            "no gas: give --gas GAS.fits, or --cube CUBE.fits or --result OUT with a velocity range"
        )
    if "gas" in sources and len(sources) > 1:
        raise ParameterError(f"--gas cannot be given beside --{sources[1]}; leave one of them out")
    if "gas" in sources and arguments.likelihood is not None:
        raise ParameterError("--likelihood needs the spectra: give --cube or --result in place of --gas")
    if "gas" in sources and arguments.velocity_range is not None:
        raise ParameterError("--velocity-range is for --cube and --result; leave it out")
    if "gas" not in sources and arguments.velocity_range is None:
        raise ParameterError(
            "--velocity-range is needed to make N(HI); write for example --velocity-range -20 15"
        )
    if arguments.likelihood is not None and arguments.intercept is not None:
        raise ParameterError("--intercept cannot be given beside --likelihood, which fits it; leave one out")


def _parameters(arguments):
    from hisatools.residual_mask.masker import ResidualMaskParameters

    given = {name: getattr(arguments, name) for name in FIELDS}
    return ResidualMaskParameters(**{name: value for name, value in given.items() if value is not None})


def _gas(arguments):
    """Cube or result (None for a map), N(HI), and the axes of its map."""
    import astropy.units as u

    from hisatools.cube import HISACube
    from hisatools.io.maps import read_map
    from hisatools.residual_mask.gas import COLUMN_UNIT, gas_column
    from hisatools.results import HISAResult

    if arguments.gas is not None:
        gas = read_map(arguments.gas, unit=arguments.gas_unit)
        values = gas.values
        is_column = values.unit.is_equivalent(COLUMN_UNIT)
        return None, values.to(COLUMN_UNIT) if is_column else values, gas.wcs
    cube = None if arguments.cube is None else HISACube.read(arguments.cube)
    source = cube
    if arguments.result is not None:
        source = HISAResult.read(arguments.result)
        if cube is not None:
            _check_cube(arguments, cube, source)
    return source, gas_column(source, arguments.velocity_range * u.km / u.s), source.wcs.celestial


def _check_cube(arguments, cube, result):
    """Refuse another cube than the one that was searched."""
    from hisatools.errors import InputError
    from hisatools.io.same_axes import SAME_PLACE, sky_offset_pix, velocity_offset_chan

    cure = "give the cube that was searched, or leave --cube out"
    if cube.shape != result.flags.shape:
        raise InputError(
            f"{arguments.cube} has the shape {cube.shape}, the result {result.flags.shape}; {cure}"
        )
    off_pix = sky_offset_pix(result.wcs, cube.wcs, cube.shape)
    off_chan = velocity_offset_chan(result.wcs, cube.wcs, cube.shape[0])
    if not max(off_pix, off_chan) < SAME_PLACE:
        raise InputError(
            f"{arguments.cube} is of another part of the sky or of other velocities than the result; {cure}"
        )


def _fit_width(arguments, masker, source, tracer, error, wcs, workers):
    """Mask and likelihood of the widths that the arguments ask for, about the middle of the range."""
    import astropy.units as u
    import numpy as np

    from hisatools.errors import ParameterError
    from hisatools.residual_mask.width_fit import fit_velocity_width

    low, high, step = arguments.likelihood
    if not (0 < low < high and 0 < step <= high - low):
        raise ParameterError(
            f"--likelihood needs the least width, the largest and a step in km/s, got {low:g} {high:g} "
            f"{step:g}; "
            "write for example --likelihood 5 60 0.5"
        )
    kms = u.km / u.s
    first, last = arguments.velocity_range
    fit = fit_velocity_width(
        source,
        tracer,
        centre=(first + last) / 2 * kms,
        widths=np.arange(low, high + step / 2, step) * kms,
        start_width=abs(last - first) * kms,
        error=error,
        parameters=masker.parameters,
        wcs=wcs,
        workers=workers,
    )
    return fit.mask, fit.likelihood
