"""The verb ``gas`` of the ``hisatools`` command."""

from hisatools._messages import gas_lines, written
from hisatools._objects import check_inputs_kept, voice_of
from hisatools._parameter_changes import number_with_unit

UNITS = {
    "t_spin": "K",
    "p_over_k": "K / cm3",
    "path_length": "pc",
    "distance": "kpc",
    "max_continuum": "K",
}
PLAIN = ("p", "tau", "fraction")


def gas(arguments):
    """``hisatools gas``."""
    from hisatools.io.writing import check_output
    from hisatools.physics import measure_gas, read_continuum, write_gas
    from hisatools.results import HISAResult

    parameters = _parameters(arguments)
    folder = check_output(arguments.output, overwrite=arguments.overwrite)
    check_inputs_kept(arguments, folder)
    result = HISAResult.read(arguments.result)
    continuum = _continuum_number(arguments.continuum)
    if continuum is None:
        continuum = read_continuum(arguments.continuum, result)
    found, maps = measure_gas(result, parameters, t_continuum=continuum)
    write_gas(found, maps, folder, overwrite=arguments.overwrite)
    say = voice_of(arguments)
    say(*gas_lines(found), written(folder))


def _parameters(arguments):
    from hisatools.physics import GasParameters

    given = {name: getattr(arguments, name) for name in PLAIN}
    for name, unit in UNITS.items():
        text = getattr(arguments, name)
        given[name] = None if text is None else number_with_unit(f"--{name.replace('_', '-')}", text, unit)
    return GasParameters(**{name: value for name, value in given.items() if value is not None})


def _continuum_number(text):
    """A number with a unit or in K; None if it is the name of a file."""
    import astropy.units as u

    from hisatools.errors import ParameterError
    from hisatools.parameters import check_quantity

    try:
        number = number_with_unit("--continuum", text, "K")
    except ParameterError:
        return None
    return check_quantity("--continuum", number, u.K, inclusive=True)
