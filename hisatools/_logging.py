"""Where the ``hisatools`` command shows the log: on stderr with ``--verbose``, in a file with ``--log``."""

import contextlib
import logging

LOGGER = logging.getLogger("hisatools")
FILE_FORM = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
SHOWN_FORM = "%(asctime)s %(name)s: %(message)s"


class _BesideBars(logging.StreamHandler):
    """Writes lines between progress bars, and none that the command prints as a warning anyway."""

    def filter(self, record):
        return record.levelno < logging.WARNING and super().filter(record)

    def emit(self, record):
        from tqdm import tqdm

        with tqdm.external_write_mode(file=self.stream):
            super().emit(record)


@contextlib.contextmanager
def log_shown(arguments):
    """Show the log within the block as the arguments ask for.

    Parameters
    ----------
    arguments : argparse.Namespace

    Raises
    ------
    OutputError
        If the file of ``--log`` cannot be written.
    """
    handlers = [*_shown(arguments.verbose), *_kept(arguments.log)]
    level = LOGGER.level
    for handler in handlers:
        LOGGER.addHandler(handler)
    if handlers:
        LOGGER.setLevel(min(handler.level for handler in handlers))
    try:
        yield
    finally:
        LOGGER.setLevel(level)
        for handler in handlers:
            LOGGER.removeHandler(handler)
            handler.close()


def _shown(verbose):
    if verbose:
        handler = _BesideBars()
        handler.setLevel(logging.INFO if verbose == 1 else logging.DEBUG)
        handler.setFormatter(logging.Formatter(SHOWN_FORM, datefmt="%H:%M:%S"))
        yield handler


def _kept(path):
    from pathlib import Path

    from hisatools.errors import OutputError

    if path is None:
        return
    try:
        handler = logging.FileHandler(Path(path).expanduser(), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"--log {path}: {error.strerror}; choose a file you may write to") from error
    handler.setLevel(logging.DEBUG)
    handler.setFormatter(logging.Formatter(FILE_FORM))
    yield handler
