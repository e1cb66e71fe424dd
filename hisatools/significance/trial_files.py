"""Many fits of trials, in threads, and the files that make them resumable."""

import hashlib
import json
import logging
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import QTable, vstack
from astropy.utils.exceptions import AstropyWarning
from tqdm import tqdm

from hisatools.errors import HISAWarning, InputError, OutputError, ParameterError
from hisatools.io.writing import writing_file
from hisatools.search.base import run_blocks
from hisatools.significance.trial_fits import COLUMNS, fit_table

logger = logging.getLogger(__name__)

FORMAT = "hisatools trials 1"
# Trials of a file; also what is lost at most when a run is ended.
TRIALS_PER_FILE = 16


class DamagedFileError(InputError):
    """A file that is cut off, or was changed by something else."""


def collect(runner, seeds, n, *, workers, progress, folder, resume):
    """The fits of many trials in the order of their seeds; see `TrialRunner.get_many_fits`."""
    store = _Store(runner, n, folder, resume)
    parts = []
    with tqdm(total=len(seeds), desc="trials", unit="trial", disable=not progress) as bar:
        for group in _groups(seeds):
            parts.append(store.fits(group, workers))
            logger.debug("trials %d to %d are done", group.start, group.stop - 1)
            bar.update(len(group))
    table = vstack(parts, metadata_conflicts="silent")
    for name, (_, description) in COLUMNS.items():
        table[name].info.description = description
    table.meta.clear()
    table.meta["settings"] = store.settings
    return table


def _groups(seeds):
    """Seeds that share a file: which do hangs on the seed alone, so that runs can be made longer."""
    first = seeds.start
    while first < seeds.stop:
        stop = min((first // TRIALS_PER_FILE + 1) * TRIALS_PER_FILE, seeds.stop)
        yield range(first, stop)
        first = stop


class _Store:
    """The files of a folder, or none."""

    def __init__(self, runner, n, folder, resume):
        self.runner, self.n = runner, n
        self.settings = settings_of(runner, n)
        self.folder = None if folder is None else Path(folder).expanduser()
        if self.folder is not None:
            self._prepare(resume)

    def _prepare(self, resume):
        if not resume and any(self.folder.glob(f"trials_{self.n}_*.fits")):
            raise OutputError(
                f"{self.folder} holds trials of an earlier run; go on with it (--resume, resume=True) or "
                "choose another folder"
            )
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            # What a run left under a temporary name when it was ended.
            for path in self.folder.glob(f".trials_{self.n}_*.part.fits"):
                path.unlink()
        except OSError as error:
            raise OutputError(f"cannot write {self.folder}: {error.strerror or error}") from error

    def fits(self, seeds, workers):
        """A row for each seed; from the file what is there, the rest made anew."""
        path = None if self.folder is None else trials_path(self.folder, self.n, seeds[0])
        done = None if path is None or not path.exists() else self._read(path)
        known = set() if done is None else set(done["seed"].tolist())
        missing = [seed for seed in seeds if seed not in known]
        if missing:
            rows = run_blocks(lambda seed: self.runner._fit_seed(self.n, seed), missing, workers=workers)
            made = fit_table(rows)
            done = made if done is None else vstack([done, made], metadata_conflicts="silent")
            done.sort("seed")
            if path is not None:
                write_fits(done, self.settings, path)
        return done[np.isin(done["seed"], list(seeds))]

    def _read(self, path):
        try:
            table, settings = read_fits(path)
        except DamagedFileError as error:
            warnings.warn(f"{error}; its trials are made again", HISAWarning, stacklevel=5)
            return None
        differing = sorted(
            name
            for name in settings.keys() | self.settings.keys()
            if settings.get(name) != self.settings.get(name)
        )
        if differing:
            raise ParameterError(
                f"{path} is of trials with other settings ({', '.join(differing)}); choose another folder, "
                "or give the same settings"
            )
        return table


def trials_path(folder, n, seed):
    """The file that holds the trial of a seed."""
    return folder / f"trials_{n}_{seed // TRIALS_PER_FILE * TRIALS_PER_FILE:06d}.fits"


def settings_of(runner, n):
    """All that a fit hangs on, but for the seed: JSON can hold it."""
    residual, parameters = runner.residual, runner.parameters.to_dict()
    return {
        "hisatools": version("hisatools"),
        "n": n,
        "residual": _digest(residual.kelvin, residual.sigma_kelvin, residual.known),
        "correlation": [residual.correlation.beam_pix, residual.correlation.line_chan, residual.beam_pix],
        "wcs": residual.wcs.to_header_string(),
        "scan": runner.scanner.parameters.to_dict(),
        "prior": None if runner.prior is None else _digest(runner.prior.probability),
        "within": None if runner.within is None else _digest(runner.within),
        "parameters": parameters | {"block": list(runner.block)},
        "signal": None if runner.signal is None or n == 0 else runner.signal.to_dict(),
    }


def _digest(*arrays):
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(b"none" if array is None else repr((array.shape, str(array.dtype))).encode())
        if array is not None:
            digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()


def write_fits(table, settings, path):
    """Write fits of trials, whole or not at all; what was there is replaced."""
    primary = fits.PrimaryHDU()
    primary.header["CONTENT"] = FORMAT
    text = json.dumps(settings, sort_keys=True)
    # A line of JSON in pieces, since a card holds 72 characters.
    for start in range(0, len(text), 70):
        primary.header.add_history("|" + text[start : start + 70] + "|")
    with writing_file(path, overwrite=True) as part:
        fits.HDUList([primary, fits.table_to_hdu(table, name="TRIALS")]).writeto(part, checksum=True)


def read_fits(path):
    """What `write_fits` wrote: table and settings.

    Raises
    ------
    DamagedFileError
        If the file is cut off, changed, or of another kind.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", AstropyWarning)
            with path.open("rb") as file, fits.open(file, checksum=True, memmap=False) as hdus:
                if hdus[0].header.get("CONTENT") != FORMAT:
                    raise ValueError("another kind of file")
                settings = json.loads("".join(str(line)[1:-1] for line in hdus[0].header["HISTORY"]))
                table = QTable.read(hdus["TRIALS"], mask_invalid=False)
    except (MemoryError, PermissionError):
        raise
    except Exception as error:  # whatever a damaged file makes the reader stumble over
        reason = " ".join(str(error).split())
        raise DamagedFileError(f"{path}: damaged or no trials ({reason})") from error
    table.meta.clear()
    return table, settings
