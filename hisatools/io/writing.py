"""Files that appear complete or not at all.

Everything is written under a temporary name on the same disk and renamed at the end, so whoever
lists the folder, also after a crash or a full disk, sees the whole result or what was there before.
"""

import contextlib
import json
import math
import os
import secrets
import shutil
from pathlib import Path

import numpy as np

from hisatools.errors import OutputError
from hisatools.io.planes import write_planes

__all__ = [
    "RUN_FILE",
    "check_output",
    "image_header",
    "recording",
    "run_file_beside",
    "write_image",
    "write_json",
    "writing_file",
    "writing_folder",
]

RUN_FILE = "run.toml"
# How every record begins; a file that begins otherwise is somebody's own.
RECORD_START = "# Repeat this run with"
# What is being written, as an absolute path, to the record of the run that goes with it.
_records = {}

CURE = "choose another output, or allow overwriting (--overwrite, overwrite=True)"


def check_output(target, *, overwrite=False):
    """Find out before a long computation whether a result folder could be written.

    Parameters
    ----------
    target : str or path
        The folder that is wanted. An empty folder that exists already may be used.
    overwrite : bool
        Whether result files that it holds may be replaced.

    Returns
    -------
    pathlib.Path
        The folder, as an absolute path.

    Raises
    ------
    OutputError
        If the folder holds files and ``overwrite`` is False, if a file has its name, or if nothing
        can be created there.

    Examples
    --------
    >>> from hisatools.io.writing import check_output
    >>> check_output("new_folder").name
    'new_folder'
    """
    if not str(target):
        raise OutputError("the output folder has no name; give one, for example --output out")
    folder = Path(target).expanduser().absolute()
    _refuse_existing(folder, target, overwrite=overwrite)
    with _writing(target):
        base = next(path for path in (folder, *folder.parents) if path.exists())
        probe = _temporary_name(base / "probe")
        probe.mkdir()
        probe.rmdir()
    return folder


@contextlib.contextmanager
def recording(target, text):
    """Give whatever is written to ``target`` within the block the record of the run.

    It appears together with the result: ``run.toml`` in a folder, ``NAME.run.toml`` beside ``NAME.fits``.

    Parameters
    ----------
    target : str or path
        The folder or the file that the block writes.
    text : str
        The record; it begins with RECORD_START, without which nothing will replace it.
    """
    place = Path(target).expanduser().absolute()
    before = _records.get(place)
    _records[place] = text.encode("utf-8", "replace")
    try:
        yield
    finally:
        _records.pop(place)
        if before is not None:
            _records[place] = before


def run_file_beside(path):
    """Where the record of a run that wrote one file stands.

    Examples
    --------
    >>> from hisatools.io.writing import run_file_beside
    >>> run_file_beside("noise/sigma.fits.gz").name
    'sigma.run.toml'
    """
    path = Path(path)
    stem = path.with_suffix("").stem if path.suffix == ".gz" else path.stem
    return path.with_name(f"{stem}.{RUN_FILE}")


@contextlib.contextmanager
def writing_folder(target, *, overwrite=False, names=()):
    """Fill a temporary folder; what is in it becomes ``target`` if the block ends well.

    Files of other names in an existing ``target`` are never touched, but for the record of an older run
    (``run.toml``), which goes. Should the block or the
    renaming fail, the old state comes back and nothing temporary remains.

    Parameters
    ----------
    target : str or path
        The folder to write.
    overwrite : bool
        Whether older files of the same names may be replaced.
    names : sequence of str
        Names of further files that an older result may have left and that go when it is
        overwritten, so that two results never mix.

    Yields
    ------
    pathlib.Path
        The temporary folder, on the same disk as ``target``.

    Raises
    ------
    OutputError
        As `check_output`, and for every failure of the disk within the block.

    Examples
    --------
    >>> from pathlib import Path
    >>> from hisatools.io.writing import writing_folder
    >>> with writing_folder("out") as part:
    ...     _ = (part / "notes.txt").write_text("All of it, or nothing.")
    ...
    >>> [path.name for path in Path("out").iterdir()]
    ['notes.txt']
    """
    folder = check_output(target, overwrite=overwrite)
    existed = folder.exists()
    own_record = _is_record(folder / RUN_FILE)
    if folder in _records:
        _refuse_foreign_record(folder / RUN_FILE)
    with _writing(target), _made_parents(folder):
        # Within an existing folder, which may be a mount point: a rename never crosses disks.
        part = _temporary_name(folder / "result" if existed else folder)
        part.mkdir()
        try:
            yield part
            if folder in _records:
                (part / RUN_FILE).write_bytes(_records[folder])
            if existed:
                # The record of an older run is not that of this result.
                _replace_files(part, folder, {*names, *([RUN_FILE] if own_record else [])})
            else:
                part.rename(folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)


@contextlib.contextmanager
def writing_file(target, *, overwrite=False):
    """Write a temporary file; it becomes ``target`` if the block ends well.

    Parameters
    ----------
    target : str or path
        The file to write; its folder must exist.
    overwrite : bool
        Whether an existing file may be replaced.

    Yields
    ------
    pathlib.Path
        The temporary file, beside ``target`` and with the same suffix.

    Raises
    ------
    OutputError
        If ``target`` exists and ``overwrite`` is False, or if it cannot be written.

    Examples
    --------
    >>> from pathlib import Path
    >>> from hisatools.io.writing import writing_file
    >>> with writing_file("notes.txt") as part:
    ...     _ = part.write_text("All of it, or nothing.")
    ...     print("there before the end:", Path("notes.txt").exists())
    ...
    there before the end: False
    >>> Path("notes.txt").read_text()
    'All of it, or nothing.'
    """
    path = Path(target).expanduser().absolute()
    if path.exists() and (path.is_dir() or not overwrite):
        raise OutputError(f"{target} exists already; {CURE}")
    part = _temporary_name(path)
    with _writing(target), _writing_record(path) as place_record:
        try:
            yield part
            os.replace(part, path)
            place_record()
        finally:
            part.unlink(missing_ok=True)


@contextlib.contextmanager
def _writing_record(path):
    """Write the record of a file before the file is there; yields what then puts it in its place."""
    if path not in _records:
        yield lambda: None
        return
    record = run_file_beside(path)
    if record.is_dir():
        raise OutputError(f"{record} is a folder where a file is to be written; move it away")
    _refuse_foreign_record(record)
    part = _temporary_name(record)
    try:
        part.write_bytes(_records[path])
        yield lambda: os.replace(part, record)
    finally:
        part.unlink(missing_ok=True)


def _is_record(path):
    """Whether a file is the record of a run that wrote it."""
    try:
        with path.open("rb") as file:
            return file.read(len(RECORD_START)) == RECORD_START.encode()
    except OSError:
        return False


def _refuse_foreign_record(path):
    if path.is_file() and not _is_record(path):
        raise OutputError(
            f"{path} is no record of a run, which has that name and would replace it; move it away, or "
            "choose another output"
        )


def image_header(wcs, *, unit=None, beam=None, object_name=None, comments=(), history=()):
    """A FITS header for an image on a WCS, with the axes to full precision.

    Parameters
    ----------
    wcs : `~astropy.wcs.WCS`
        Axes of the image.
    unit : `~astropy.units.Unit`, optional
        For BUNIT.
    beam : `~radio_beam.Beam`, optional
        For BMAJ, BMIN and BPA.
    object_name : str, optional
        For OBJECT.
    comments, history : sequence of str
        COMMENT and HISTORY lines.

    Returns
    -------
    `~astropy.io.fits.Header`

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools.datasets import example_model
    >>> from hisatools.io.writing import image_header
    >>> cube = example_model().cube
    >>> header = image_header(cube.wcs, unit=u.K, beam=cube.beam, history=["made for an example"])
    >>> header["BUNIT"], header["CTYPE3"], round(float(header["BMAJ"]) * 60, 3)
    ('K', 'VRAD', 1.0)
    """
    header = wcs.to_header()
    for card, values in (("CRPIX", wcs.wcs.crpix), ("CDELT", wcs.wcs.cdelt), ("CRVAL", wcs.wcs.crval)):
        # The WCS writes 12 digits and leaves out what is 0 or 1; other programs miss those cards.
        for axis, value in enumerate(values, start=1):
            header[f"{card}{axis}"] = float(value)
    if wcs.wcs.restfrq:
        header["RESTFRQ"] = float(wcs.wcs.restfrq)
    if unit is not None:
        header["BUNIT"] = unit.to_string("fits")
    if beam is not None:
        header.update(beam.to_header_keywords())
    if object_name:
        header["OBJECT"] = _printable(object_name)
    for line in comments:
        header.add_comment(_printable(line))
    for line in history:
        header.add_history(_printable(line))
    return header


def _printable(text):
    """The text in the printable ASCII that FITS headers take; other characters as their codes."""
    ascii_text = str(text).encode("ascii", "backslashreplace").decode("ascii")
    return "".join(character if character.isprintable() else " " for character in ascii_text)


def write_image(path, data, header):
    """Write one array as the primary image of a new FITS file.

    Parameters
    ----------
    path : path
        The file; it must not exist.
    data : `~numpy.ndarray` or `~astropy.units.Quantity`
        The image, in numpy order; NaN where blank. The unit of a Quantity becomes BUNIT.
    header : `~astropy.io.fits.Header`
        See `image_header`.

    Examples
    --------
    >>> import astropy.units as u, numpy as np
    >>> from astropy.io import fits
    >>> from hisatools.datasets import example_model
    >>> from hisatools.io.writing import image_header, write_image
    >>> cube = example_model().cube
    >>> write_image("mean.fits", cube.data.mean(axis=0), image_header(cube.wcs.celestial))
    >>> fits.getdata("mean.fits").shape, fits.getheader("mean.fits")["BUNIT"]
    ((208, 208), 'K')
    """
    if hasattr(data, "unit"):
        header = header.copy()
        header["BUNIT"] = data.unit.to_string("fits")
        data = data.value
    write_planes(path, data if data.ndim > 1 else [data], data.shape, data.dtype, header)


def write_json(path, content):
    """Write a dictionary as JSON that every program can read.

    Parameters
    ----------
    path : path
        The file.
    content : dict
        Arrays become lists, NaN and infinities become null, anything unknown its text.

    Examples
    --------
    >>> import numpy as np
    >>> from pathlib import Path
    >>> from hisatools.io.writing import write_json
    >>> write_json("found.json", {"depth": np.array([-12.5, np.nan])})
    >>> print(Path("found.json").read_text())
    {
      "depth": [
        -12.5,
        null
      ]
    }
    """
    text = json.dumps(_plain(content), indent=2, allow_nan=False, ensure_ascii=False)
    Path(path).write_text(text + "\n", encoding="utf-8")


def _plain(value):
    """The value in the types that JSON has."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.generic | np.ndarray) and not hasattr(value, "unit"):
        value = value.tolist()
    if isinstance(value, list | tuple | set):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, str | int | type(None)) else str(value)


def _refuse_existing(folder, target, *, overwrite):
    if folder.is_symlink() and not folder.exists():
        raise OutputError(f"output {target} is a link that leads nowhere; remove it or choose another output")
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"output {target} is a file, and a folder is needed; choose another output")
    with _writing(target):
        if folder.exists() and not overwrite and any(folder.iterdir()):
            raise OutputError(f"output folder {target} exists already and is not empty; {CURE}")


@contextlib.contextmanager
def _writing(target):
    """Turn what the disk refuses into an OutputError that names the target."""
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(f"cannot write {target}: {reason}; choose an output you may write to") from error


def _temporary_name(path):
    # Not tempfile: its folders and files are readable by their owner only, and stay so.
    return path.with_name(f".{path.stem}-{secrets.token_hex(4)}.part{path.suffix}")


@contextlib.contextmanager
def _made_parents(folder):
    """Make the folders above; take away again those that were made, if the block fails."""
    missing = [path for path in folder.parents if not path.exists()]
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            for path in missing:
                path.rmdir()
        raise


def _replace_files(part, folder, names):
    """Move the old files out and the new ones in; all of them, or none."""
    new = sorted(path.name for path in part.iterdir())
    names = sorted({*names, *new})
    for name in names:
        if (folder / name).is_dir():
            raise OutputError(f"{folder / name} is a folder where a file is to be written; move it away")
    old = _temporary_name(folder / "previous")
    old.mkdir()
    moved = []
    try:
        for name in names:
            if (folder / name).exists():
                _move(folder / name, old / name, moved)
        for name in new:
            _move(part / name, folder / name, moved)
    except BaseException:
        for source, destination in reversed(moved):
            os.replace(destination, source)
        old.rmdir()
        raise
    shutil.rmtree(old, ignore_errors=True)


def _move(source, destination, moved):
    os.replace(source, destination)
    moved.append((source, destination))
