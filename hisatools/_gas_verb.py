"""The verb ``gas`` of the ``hisatools`` command."""

from hisatools._messages import gas_lines, written
from hisatools._objects import check_inputs_kept, option, voice_of
from hisatools._parameter_changes import number_with_unit

# Parameters that have a unit, and those of them and of the plain ones that may be columns of the catalogue.
UNITS = {
    "t_spin": "K",
    "p_over_k": "K / cm3",
    "path_length": "pc",
    "distance": "kpc",
    "max_continuum": "K",
    "t_spin_error": "K",
    "t_continuum_error": "K",
    "p_over_k_error": "K / cm3",
    "path_length_error": "pc",
    "distance_error": "kpc",
}
PLAIN = ("p", "fraction", "p_error", "fraction_error", "spin_per", "line")
NUMBERS = ("tau", "tau_error")
ONE_FOR_ALL = ("max_continuum", "t_continuum_error")
# Typed otherwise than they are called.
TYPED = {"t_continuum_error": "--continuum-error"}


def gas(arguments):
    """``hisatools gas``."""
    from hisatools.io.writing import check_output
    from hisatools.physics import measure_gas, read_continuum, write_gas
    from hisatools.results import HISAResult

    parameters = _parameters(arguments)
    folder = check_output(arguments.output, overwrite=arguments.overwrite)
    check_inputs_kept(arguments, folder)
    result = HISAResult.read(arguments.result)
    _check_columns(parameters, result.catalog)
    continuum = _continuum_number(arguments.continuum)
    if continuum is None:
        continuum = read_continuum(arguments.continuum, result)
    found, maps = measure_gas(result, parameters, t_continuum=continuum)
    write_gas(found, maps, folder, cubes=arguments.cubes, overwrite=arguments.overwrite)
    say = voice_of(arguments)
    say(*gas_lines(found), written(folder))


def _parameters(arguments):
    from hisatools.physics import GasParameters

    given = {name: getattr(arguments, name) for name in PLAIN}
    for name in (*UNITS, *NUMBERS):
        text = getattr(arguments, name)
        if text is not None:
            given[name] = _number_or_column(name, text)
    return GasParameters(**{name: value for name, value in given.items() if value is not None})


def _number_or_column(name, text):
    """A number with a unit or without; else, if it could be one, the name of a column."""
    from hisatools.errors import ParameterError

    try:
        return number_with_unit(TYPED.get(name, option(name)), text, UNITS.get(name))
    except ParameterError:
        if name in ONE_FOR_ALL or not text.isidentifier():
            raise
        return text


def _check_columns(parameters, catalog):
    """Say in the words of the command line that there is no such column."""
    from hisatools.errors import ParameterError

    for name in (*UNITS, *NUMBERS):
        value = getattr(parameters, name)
        if isinstance(value, str) and value not in catalog.colnames:
            raise ParameterError(
                f"{option(name)}: {value!r} is neither a number nor a number with a unit, and no column of "
                "the catalogue"
            )


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
