"""The folder of a result: images written plane by plane, catalogue, provenance and picture."""

import io
import json
import logging
import warnings
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning
from astropy.wcs import WCS
from radio_beam import Beam

from hisatools.catalog import HISACatalog
from hisatools.errors import HISAWarning, InputError
from hisatools.io.planes import write_planes
from hisatools.io.writing import image_header, write_json, writing_folder
from hisatools.results import (
    IMAGE_FILES,
    REPORT_FILE,
    RESULT_FILES,
    SEARCHES_FILE,
    SIGMA_FILES,
    SIGMAS,
    TRUE_FRACTION_FILE,
    MaskBit,
    flagged,
)
from hisatools.search_record import SearchRecord

__all__ = ["read_result", "write_result"]

logger = logging.getLogger(__name__)

ROWS_PER_BLOCK = 10_000

COMMENTS = {
    "delta_t.fits": ("T_ON - T_U: negative in absorption, 0 elsewhere",),
    "t_unabsorbed.fits": ("T_U in absorption, T_ON elsewhere",),
    "mask.fits": (
        "Sum of these bits: " + ", ".join(f"{bit.value} {bit.name.lower()}" for bit in MaskBit),
        "spectral, spatial: suspected by that search, in any pass",
        "accepted: by both, with dT < 0, T_U and weight above their limits",
    ),
    "labels.fits": ("id of the row in catalog.ecsv; 0 outside features",),
    "first_pass.fits": ("Pass in which first accepted, 0 where not accepted",),
    "sigma_delta_t.fits": ("1-sigma uncertainty of delta_t: noise and T_U; 0 outside absorption",),
    "sigma_t_unabsorbed.fits": ("1-sigma uncertainty of T_U; 0 outside absorption",),
    TRUE_FRACTION_FILE: ("Likelihood that an accepted voxel is real; NaN elsewhere and where not known",),
}
# BITPIX of each image; dT and T_U are of the type of T_ON.
FLOATS = (-32, -64)
BITPIX = {"mask.fits": (8,), "labels.fits": (32,), "first_pass.fits": (8,)}
# Attribute of the result: its file.
CUBES = {
    "flags": "mask.fits",
    "labels": "labels.fits",
    "first_pass": "first_pass.fits",
    "true_fraction": TRUE_FRACTION_FILE,
}


def write_result(result, folder, *, overwrite=False):
    """See `hisatools.HISAResult.write`.

    Examples
    --------
    >>> from hisatools import HISACube, HISAExtractor
    >>> from hisatools.datasets import load_lab_profiles
    >>> from hisatools.result_files import write_result
    >>> lab = load_lab_profiles()
    >>> found = HISAExtractor().run(HISACube.from_spectrum(lab["t_l5"], lab["velocity"]))
    >>> folder = write_result(found, "out")
    >>> sorted(path.name for path in folder.iterdir())[:4]
    ['catalog.ecsv', 'delta_t.fits', 'first_pass.fits', 'labels.fits']
    """
    names = (*RESULT_FILES, *SIGMA_FILES, TRUE_FRACTION_FILE, SEARCHES_FILE, REPORT_FILE)
    with writing_folder(folder, names=names, overwrite=overwrite) as part:
        known = [name for name, values in SIGMAS.items() if getattr(result, values) is not None]
        for name in ("delta_t", "t_unabsorbed", *known):
            planes = (result.plane_kelvin(name, channel) for channel in range(result.flags.shape[0]))
            header = _header(result, u.K, COMMENTS[f"{name}.fits"])
            write_planes(part / f"{name}.fits", planes, result.t_on.shape, result.t_on.dtype, header)
        for name, file_name in CUBES.items():
            cube = getattr(result, name)
            if cube is not None:
                header = _header(result, None, COMMENTS[file_name])
                write_planes(part / file_name, cube, cube.shape, cube.dtype, header)
        if result.searches is not None:
            result.searches.write(part / SEARCHES_FILE, _header(result, None, ()))
        _write_catalog(result.catalog, part / "catalog.ecsv")
        write_json(part / "provenance.json", result.meta)
        _write_summary(result, part / "summary.png")
    logger.info("wrote the result to %s", folder)
    return Path(folder).expanduser()


def read_result(folder):
    """See `hisatools.HISAResult.read`; returns the arguments of the class.

    Examples
    --------
    >>> from hisatools import HISACube, HISAExtractor
    >>> from hisatools.datasets import load_lab_profiles
    >>> from hisatools.result_files import read_result
    >>> lab = load_lab_profiles()
    >>> found = HISAExtractor().run(HISACube.from_spectrum(lab["t_l5"], lab["velocity"]))
    >>> parts = read_result(found.write("out"))
    >>> parts["flags"].shape, parts["unabsorbed_kelvin"].size, len(parts["catalog"])
    ((301, 1, 1), 6, 1)
    """
    folder = Path(folder).expanduser()
    header = _check_images(folder)
    cubes = {name: _read_image(folder / file_name) for name, file_name in _present(folder).items()}
    kelvin = _read_image(folder / "t_unabsorbed.fits")
    unabsorbed_kelvin = _absorb(kelvin, cubes["flags"], folder / "delta_t.fits")
    return {
        "t_on": kelvin << u.K,
        "unabsorbed_kelvin": unabsorbed_kelvin,
        **_read_sigmas(folder, cubes["flags"]),
        **cubes,
        "catalog": _read_with(HISACatalog.read, folder / "catalog.ecsv"),
        **_read_axes(header, folder / "delta_t.fits"),
        "searches": _read_searches(folder / SEARCHES_FILE, kelvin.shape),
        "meta": _read_with(
            lambda path: json.loads(path.read_text(encoding="utf-8")), folder / "provenance.json"
        ),
    }


# --- writing ----------------------------------------------------------------------------------


def _header(result, unit, comments):
    meta = result.meta.get("input", {})
    source = meta.get("path")
    passes = len(result.meta.get("passes", []))
    history = [
        f"hisatools {result.meta.get('hisatools', '')}: H I self-absorption, {passes} passes",
        "Method: Gibson et al. 2005, ApJ 626, 214; parameters: provenance.json",
        *([f"Input: {Path(source).name}"] if source else []),
    ]
    return image_header(
        result.wcs,
        unit=unit,
        beam=result.beam,
        object_name=meta.get("object"),
        comments=comments,
        history=history,
    )


def _write_catalog(catalog, path):
    """Write ECSV some rows at a time: as text, a table takes ten times its memory."""
    with path.open("w", encoding="utf-8") as file:
        for start in range(0, max(len(catalog), 1), ROWS_PER_BLOCK):
            text = io.StringIO()
            catalog[start : start + ROWS_PER_BLOCK].write(text, format="ascii.ecsv")
            text.seek(0)
            if start:  # behind the line with the names of the columns, which ends the header
                next(line for line in text if not line.startswith("#"))
            file.write(text.read())


def _write_summary(result, path):
    """The picture must not cost the user the result: what it cannot draw is a warning."""
    try:
        result.plot_summary(path)
    except (OSError, MemoryError):
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        warnings.warn(f"summary.png could not be drawn ({reason})", HISAWarning, stacklevel=4)


# --- reading ----------------------------------------------------------------------------------


def _present(folder):
    """`CUBES`, without the true fraction where that is not known."""
    known = (folder / TRUE_FRACTION_FILE).exists()
    return {name: file_name for name, file_name in CUBES.items() if known or name != "true_fraction"}


def _check_images(folder):
    """Refuse what is no image of a result, and files of different results; returns the header of dT."""
    sigmas = [name for name in SIGMA_FILES if (folder / name).exists()]
    names = (*IMAGE_FILES[:2], *_present(folder).values(), *sigmas)
    shapes, headers = zip(*(_read_with(_check_image, folder / name) for name in names), strict=True)
    if len(set(shapes)) > 1:
        raise InputError(f"the images in {folder} have different shapes; extract once more")
    return headers[0]


def _check_image(path):
    """Shape and header of an image that has the axes and the type in which it was written."""
    # astropy leaves open a file whose header it cannot make sense of.
    with path.open("rb") as file, fits.open(file, memmap=False) as (hdu, *_):
        shape, header = hdu.shape, hdu.header
    if len(shape) != 3 or 0 in shape:
        raise ValueError(f"its image has the shape {shape}, and that of a result has three axes")
    written = BITPIX.get(path.name, FLOATS)
    if header["BITPIX"] not in written:
        raise ValueError(f"BITPIX is {header['BITPIX']}, and not {' or '.join(map(str, written))}")
    if "BZERO" in header or "BSCALE" in header:
        raise ValueError("its values are scaled by BZERO or BSCALE, which those of a result are not")
    return shape, header


@contextmanager
def _reading(path):
    """Say which file of a result is wrong."""
    try:
        with warnings.catch_warnings():
            # A truncated file: astropy warns, and then fails with its own words.
            # Of axes it tells what it mends.
            warnings.simplefilter("ignore", AstropyWarning)
            yield
    except FileNotFoundError:
        raise InputError(f"{path} is missing; name a folder that hisatools wrote") from None
    except (KeyError, OSError, TypeError, ValueError) as error:
        raise InputError(f"{path} is damaged ({error}); extract once more") from error


def _read_with(read, path):
    with _reading(path):
        return read(path)


def _read_image(path):
    """The array of an image file, in the byte order of this machine."""
    with _reading(path), fits.open(path, memmap=False) as (hdu, *_):
        planes = map(partial(_plane, hdu), range(hdu.shape[0]))
        first = next(planes)
        cube = np.empty(hdu.shape, first.dtype)
        cube[0] = first
        for channel, plane in enumerate(planes, start=1):
            cube[channel] = plane
    return cube


def _plane(hdu, channel):
    plane = np.asarray(hdu.section[channel])
    return plane.astype(plane.dtype.newbyteorder("="), copy=False)


def _absorb(t_unabsorbed, flags, delta_t_path):
    """Turn T_U into T_ON, in place; returns T_U of the accepted voxels."""
    unabsorbed = []
    with _reading(delta_t_path), fits.open(delta_t_path, memmap=False) as (hdu, *_):
        for channel, plane in enumerate(t_unabsorbed):
            accepted = flagged(flags[channel], MaskBit.ACCEPTED)
            unabsorbed.append(plane[accepted])
            plane[accepted] += _plane(hdu, channel)[accepted]
    return np.concatenate(unabsorbed)


def _read_sigmas(folder, flags):
    """Uncertainties of the accepted voxels, where they were written."""
    found = {}
    for name, attribute in SIGMAS.items():
        path = folder / f"{name}.fits"
        if path.exists():
            with _reading(path), fits.open(path, memmap=False) as (hdu, *_):
                accepted = (flagged(plane, MaskBit.ACCEPTED) for plane in flags)
                planes = [_plane(hdu, channel)[inside] for channel, inside in enumerate(accepted)]
            found[attribute] = np.concatenate(planes)
    return found


def _read_searches(path, shape):
    """The record of the searches; None where it was not kept."""
    if not path.exists():
        return None
    with _reading(path):
        record = SearchRecord.read(path)
        record.check_shape(shape)
    return record


def _read_axes(header, path):
    with _reading(path):
        return {"wcs": WCS(header), "beam": Beam.from_fits_header(header) if "BMAJ" in header else None}
