"""A `Significance` as a folder of files: images, tables, a figure and where it all came from."""

import json
import warnings
from pathlib import Path

import astropy.units as u
from astropy.table import QTable
from astropy.wcs import WCS

from hisatools.errors import HISAWarning, InputError
from hisatools.io.files import opened
from hisatools.io.writing import image_header, write_image, write_json, writing_folder

# Attribute: file, unit, comment.
IMAGES = {
    "ts": ("ts.fits", None, "(A / sigma_A)^2 of the best matched template; NaN where not scanned"),
    "ts_prior": ("ts_prior.fits", None, "TS with the prior, 2 (ln p - ln p_max) added; 0 where negative"),
    "delta_t_kelvin": ("fitted_delta_t.fits", u.K, "dT of the best matched template, negative in absorption"),
    "template": ("template.fits", None, "Number of the best template, from 0; see TEMPLnnn"),
}
TABLES = ("peaks", "trials", "catalog")
FIGURE, PRIOR_FILE = "significance.png", "prior.fits"


def write_significance(found, folder, *, overwrite=False):
    """See `hisatools.significance.Significance.write`."""
    optional = [IMAGES["ts_prior"][0], PRIOR_FILE, FIGURE, *(f"{name}.ecsv" for name in TABLES)]
    with writing_folder(folder, overwrite=overwrite, names=optional) as part:
        for name, (file_name, unit, comment) in IMAGES.items():
            # Without a prior both are one array.
            if name == "ts_prior" and found.ts_prior is found.ts:
                continue
            header = image_header(found.wcs, unit=unit, comments=[comment])
            header["BTYPE"] = name.removesuffix("_kelvin")
            if name == "template":
                for number, text in enumerate(found.meta.get("templates", ())):
                    header[f"TEMPL{number:03d}"] = (text, "width, linewidth")
            write_image(part / file_name, getattr(found, name), header)
        if found.prior is not None:
            found.prior.write(part / PRIOR_FILE)
        for name in TABLES:
            table = getattr(found, name)
            if table is not None:
                table.write(part / f"{name}.ecsv")
        write_json(part / "provenance.json", found.meta)
        _write_figure(found, part / FIGURE)
    return Path(folder).expanduser()


def _write_figure(found, path):
    """The picture must not cost the user the rest: what it cannot draw is a warning."""
    try:
        found.plot(path)
    except (OSError, MemoryError):
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        warnings.warn(f"{path.name} could not be drawn ({reason})", HISAWarning, stacklevel=4)


def read_significance(folder):
    """See `hisatools.significance.Significance.read`; returns the arguments of the class."""
    folder = Path(folder).expanduser()
    if not (folder / IMAGES["ts"][0]).is_file():
        raise InputError(f"{folder / IMAGES['ts'][0]} is missing; name a folder of `hisatools significance`")
    images, header = {}, None
    for name, (file_name, _, _) in IMAGES.items():
        if name == "ts_prior" and not (folder / file_name).is_file():
            images[name] = images["ts"]
            continue
        images[name], header = _read_image(folder / file_name)
    if len({values.shape for values in images.values()}) > 1:
        raise InputError(f"the images in {folder} have different shapes; scan once more")
    tables = {name: _read_table(folder / f"{name}.ecsv") for name in TABLES}
    if tables["peaks"] is None:
        raise InputError(f"{folder / 'peaks.ecsv'} is missing; scan once more")
    return images | tables | {"wcs": WCS(header), "meta": _read_meta(folder / "provenance.json")}


def _read_image(path):
    with opened(path) as hdus:
        values, header = hdus[0].data, hdus[0].header
        if values is None or values.ndim != 3:
            raise InputError(f"{path} holds no image of three axes; scan once more")
        return values.astype(values.dtype.newbyteorder("=")), header


def _read_table(path):
    """A table; None if there is none."""
    if not path.is_file():
        return None
    try:
        return QTable.read(path)
    except Exception as error:  # whatever a damaged file makes the reader stumble over
        raise InputError(f"{path} is damaged ({' '.join(str(error).split())}); scan once more") from error


def _read_meta(path):
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is missing or damaged ({error}); scan once more") from error
