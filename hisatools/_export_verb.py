"""The verb ``export`` of the ``hisatools`` command."""

from hisatools._messages import written
from hisatools._objects import check_inputs_kept, option, voice_of
from hisatools._parameter_changes import number_with_unit

# Arguments that say how another one is meant.
BELONGING = {
    "side": "rotation_curve",
    "dispersion": "rotation_curve",
    "max_separation": "crossmatch",
    "max_velocity_difference": "crossmatch",
    "columns": "crossmatch",
}


def export(arguments):
    """``hisatools export``."""
    from hisatools.feature_mask import write_feature_mask
    from hisatools.io.writing import check_output, writing_folder
    from hisatools.outlines import write_outlines
    from hisatools.results import HISAResult
    from hisatools.votable import write_votable

    _check_belonging(arguments)
    folder = check_output(arguments.output, overwrite=arguments.overwrite)
    check_inputs_kept(arguments, folder)
    result = HISAResult.read(arguments.result)
    catalog = result.catalog if arguments.catalog is None else _catalog(arguments.catalog, result)
    say = voice_of(arguments)
    catalog = _with_columns(result, catalog, arguments, say)
    with writing_folder(folder, overwrite=arguments.overwrite) as part:
        write_votable(catalog, part / "catalog.vot")
        catalog.write(part / "catalog.ecsv", format="ascii.ecsv")
        write_outlines(result, part / "outlines.reg")
        write_feature_mask(result, part / "feature_mask.fits")
    say(written(folder))


def _check_belonging(arguments):
    """Refuse what would do nothing, and a search for counterparts without a limit."""
    from hisatools.errors import ParameterError

    for name, other in BELONGING.items():
        if getattr(arguments, name) is not None and getattr(arguments, other) is None:
            raise ParameterError(f"{option(name)} goes with {option(other)}; give both, or leave it out")
    if arguments.crossmatch is not None and arguments.max_separation is None:
        raise ParameterError("--crossmatch needs --max-separation, for example --max-separation 5arcmin")


def _with_columns(result, catalog, arguments, say):
    """The catalogue with what the arguments ask for."""
    from dataclasses import replace

    if arguments.distance is not None:
        catalog = catalog.with_distances(_given(arguments, "distance", "kpc"))
    if arguments.rotation_curve is not None:
        catalog = catalog.with_distances(**_kinematic(arguments))
        say(_count(catalog, catalog["distance"], "have a kinematic distance"))
    if arguments.co is not None:
        from hisatools.tracers import add_co

        catalog = add_co(replace(result, catalog=catalog), arguments.co).catalog
        say(_count(catalog, catalog["co_velocity"], f"have CO in {arguments.co}"))
    if arguments.crossmatch is not None:
        catalog = catalog.crossmatch(arguments.crossmatch, **_limits(arguments))
        say(_count(catalog, catalog["match_separation"], f"have a counterpart in {arguments.crossmatch}"))
    return catalog


def _kinematic(arguments):
    chosen = {
        "curve": arguments.rotation_curve,
        "side": arguments.side,
        "dispersion": _given(arguments, "dispersion", "km / s"),
    }
    return {name: value for name, value in chosen.items() if value is not None}


def _limits(arguments):
    columns = arguments.columns or ()
    return {
        "max_separation": _given(arguments, "max_separation", "arcmin"),
        "max_velocity_difference": _given(arguments, "max_velocity_difference", "km / s"),
        "columns": "all" if columns == ["all"] else columns,
    }


def _given(arguments, name, unit):
    text = getattr(arguments, name)
    return None if text is None else number_with_unit(option(name), text, unit)


def _count(catalog, column, what):
    import numpy as np

    return f"{np.isfinite(column.value).sum()} of {len(catalog)} features {what}"


def _catalog(path, result):
    """A catalogue with more columns, as other verbs write it, of the same features."""
    from pathlib import Path

    from hisatools.catalog import HISACatalog
    from hisatools.errors import InputError

    path = Path(path).expanduser()
    path = path / "catalog.ecsv" if path.is_dir() else path
    try:
        catalog = HISACatalog.read(path, format="ascii.ecsv")
    except Exception as error:  # whatever a damaged file makes the reader stumble over
        reason = " ".join(str(error).split())
        raise InputError(f"{path} is no catalogue ({reason}); give catalog.ecsv") from error
    if "name" not in catalog.colnames:
        raise InputError(f"{path}: the catalogue has no column 'name'; give catalog.ecsv of a result")
    if list(catalog["name"]) != list(result.catalog["name"]):
        raise InputError(f"{path}: the catalogue is of other features than the result; give one of its own")
    return catalog
