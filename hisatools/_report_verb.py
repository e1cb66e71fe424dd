"""The verb ``report`` of the ``hisatools`` command."""

from pathlib import Path

from hisatools._objects import voice_of


def report(arguments):
    """``hisatools report``."""
    from hisatools.cube import HISACube
    from hisatools.results import REPORT_FILE, HISAResult

    path = Path(arguments.result) / REPORT_FILE if arguments.output is None else Path(arguments.output)
    _check_page(path, arguments.overwrite)
    result = HISAResult.read(arguments.result)
    cube = None if arguments.cube is None else HISACube.read(arguments.cube)
    page = result.write_report(path, cube=cube, overwrite=arguments.overwrite)
    size_mb = page.stat().st_size / 1e6
    voice_of(arguments)(f"Wrote {page} ({size_mb:.1f} MB): open it in a browser")


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
