"""The verb ``report`` of the ``hisatools`` command."""

import warnings
from argparse import Namespace
from pathlib import Path

from hisatools._objects import read_cube, voice_of
from hisatools.errors import HISAWarning

# Options of `hisatools extract` by which its cube was read.
READING = ("velocity_range", "region", "weights", "beam", "unit", "rest_frequency")


def report(arguments):
    """``hisatools report``."""
    from hisatools.results import REPORT_FILE, HISAResult

    path = Path(arguments.result) / REPORT_FILE if arguments.output is None else Path(arguments.output)
    _check_page(path, arguments.overwrite)
    result = HISAResult.read(arguments.result)
    cube = None if arguments.cube is None else _cube(arguments)
    page = result.write_report(path, cube=cube, overwrite=arguments.overwrite)
    size_mb = page.stat().st_size / 1e6
    voice_of(arguments)(f"Wrote {page} ({size_mb:.1f} MB): open it in a browser")


def _cube(arguments):
    """The cube, read as the record in the folder of the result says that it was for the search."""
    recorded = dict.fromkeys(READING) | _recorded_reading(Path(arguments.result).expanduser())
    return read_cube(Namespace(cube=arguments.cube, **recorded))


def _recorded_reading(folder):
    """Options of the extraction by which its cube was read; none without a record."""
    from hisatools._config import read_config
    from hisatools.io.writing import RUN_FILE

    path = folder / RUN_FILE
    if not path.is_file():
        return {}
    with warnings.catch_warnings():
        # Another version reads a cube no differently.
        warnings.simplefilter("ignore", HISAWarning)
        options = read_config(path).get("extract", {})
    recorded = {name: options.get(name.replace("_", "-")) for name in READING}
    if recorded["weights"] is not None and not Path(recorded["weights"]).is_file():
        del recorded["weights"]  # only told of, and not needed
    return {name: value for name, value in recorded.items() if value is not None}


def _check_page(path, overwrite):
    """Say before the result is read what would be said when the page is written."""
    from hisatools.errors import OutputError
    from hisatools.report.page import check_libraries, check_page_name

    check_page_name(path)
    check_libraries()
    if path.expanduser().exists() and not overwrite:
        raise OutputError(
            f"{path} exists already; choose another --output, or allow overwriting (--overwrite)"
        )
