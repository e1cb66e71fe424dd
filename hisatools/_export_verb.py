"""The verb ``export`` of the ``hisatools`` command."""

from hisatools._messages import written
from hisatools._objects import check_inputs_kept, voice_of


def export(arguments):
    """``hisatools export``."""
    from hisatools.io.writing import check_output, writing_folder
    from hisatools.outlines import write_outlines
    from hisatools.results import HISAResult
    from hisatools.votable import write_votable

    folder = check_output(arguments.output, overwrite=arguments.overwrite)
    check_inputs_kept(arguments, folder)
    result = HISAResult.read(arguments.result)
    catalog = result.catalog if arguments.catalog is None else _catalog(arguments.catalog, result)
    with writing_folder(folder, overwrite=arguments.overwrite) as part:
        write_votable(catalog, part / "catalog.vot")
        write_outlines(result, part / "outlines.reg")
    voice_of(arguments)(written(folder))


def _catalog(path, result):
    """A catalogue with more columns, as other verbs write it, of the same features."""
    from pathlib import Path

    from astropy.table import QTable

    from hisatools.errors import InputError

    path = Path(path).expanduser()
    path = path / "catalog.ecsv" if path.is_dir() else path
    try:
        catalog = QTable.read(path, format="ascii.ecsv")
    except Exception as error:  # whatever a damaged file makes the reader stumble over
        reason = " ".join(str(error).split())
        raise InputError(f"{path} is no catalogue ({reason}); give catalog.ecsv") from error
    if list(catalog["name"]) != list(result.catalog["name"]):
        raise InputError(f"{path}: the catalogue is of other features than the result; give one of its own")
    return catalog
