"""A performance model as one FITS file: images with linear axes, and the table of its models.

Counts and sums go into compressed images without loss, so that what is read is what was written to
the bit. A file that is cut off or damaged is recognised by its checksums.
"""

import json
import warnings
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import QTable
from astropy.utils.exceptions import AstropyWarning
from astropy.wcs import WCS, FITSFixedWarning

from hisatools.errors import InputError
from hisatools.io.writing import writing_file
from hisatools.performance.histograms import COUNTS, DRIFT_SQUARES, DRIFT_SUMS, Histograms
from hisatools.performance.model import PerformanceModel
from hisatools.performance.observables import NAMES, OBSERVABLES, STEPS
from hisatools.performance.sample import IMAGES, Sample
from hisatools.performance.smoothing import SmoothingParameters

FORMAT = "hisatools performance 1"
HISTOGRAMS = (*COUNTS, *DRIFT_SUMS, *DRIFT_SQUARES)


class DamagedFileError(InputError):
    """A file that is cut off, or was changed by something else.

    Examples
    --------
    >>> from pathlib import Path
    >>> from hisatools.performance.files import read_performance
    >>> _ = Path("performance.fits").write_bytes(b"SIMPLE  =                    T")
    >>> read_performance("performance.fits")
    Traceback (most recent call last):
        ...
    hisatools.performance.files.DamagedFileError: performance.fits: damaged or not a ...
    """


def write_performance(performance, path, *, overwrite=False):
    """Write a performance model, completely or not at all.

    The extensions ``N_IN_ALL``, ``N_IN_DET``, ``N_OUT_ALL`` and ``N_OUT_TRUE`` hold voxel counts,
    ``DRIFT_SUM_...`` and ``DRIFT_SQUARE_...`` the sums over the N_IN_DET voxels of output minus input
    and of its square. Axes 4 to 1 are dT, T_U, angular width and velocity width, linear, with units.
    ``MODELS`` is the table of models, ``CHANNEL`` and ``ROW`` are sample slices.

    Parameters
    ----------
    performance : `~hisatools.PerformanceModel`
    path : str or path
        Its folder must exist.
    overwrite : bool
        Whether an existing file may be replaced.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    OutputError
        If the file exists and ``overwrite`` is False, or cannot be written.

    Examples
    --------
    >>> from astropy.io import fits
    >>> from hisatools.datasets import example_model, example_result
    >>> from hisatools.performance import PerformanceModel
    >>> from hisatools.performance.files import write_performance
    >>> performance = PerformanceModel.from_pairs([(example_model(), example_result())])
    >>> path = write_performance(performance, "performance.fits")
    >>> fits.getheader(path, "N_IN_ALL")["CUNIT4"]
    'K'
    """
    hdus = fits.HDUList([_primary(performance), *_histogram_images(performance.histograms)])
    if len(performance.models):
        hdus.append(fits.table_to_hdu(performance.models, name="MODELS"))
    if performance.sample is not None:
        hdus.extend(_sample_images(performance.sample))
    # A file cut off between two of its parts is whole to FITS.
    hdus[0].header["NPARTS"] = (len(hdus), "HDUs of this file")
    with writing_file(path, overwrite=overwrite) as part:
        hdus.writeto(part, checksum=True)
    return Path(path)


def read_performance(path):
    """Read what `write_performance` wrote.

    Parameters
    ----------
    path : str or path
        The file, or a folder that holds ``histograms.fits``.

    Returns
    -------
    `~hisatools.PerformanceModel`

    Raises
    ------
    InputError
        If there is no such file, or it is damaged or of another kind.

    Examples
    --------
    >>> from hisatools.datasets import example_model, example_result
    >>> from hisatools.performance import PerformanceModel
    >>> from hisatools.performance.files import read_performance
    >>> path = PerformanceModel.from_pairs([(example_model(), example_result())]).write("performance.fits")
    >>> read_performance(path).region("true_fraction").n_voxels
    1456
    """
    path = Path(path).expanduser()
    path = path / "histograms.fits" if path.is_dir() else path
    if not path.is_file():
        raise InputError(f"{path}: no such file; write one with `hisatools performance`")
    try:
        with warnings.catch_warnings():
            # A cut-off or damaged file: astropy warns of the checksum, and would go on.
            warnings.simplefilter("error", AstropyWarning)
            warnings.simplefilter("ignore", FITSFixedWarning)
            # Opened here: astropy leaves a file open that it fails to read.
            with path.open("rb") as file, fits.open(file, checksum=True, memmap=False) as hdus:
                return _from_hdus(hdus, path)
    except (InputError, MemoryError, PermissionError):
        raise
    except Exception as error:  # whatever a damaged file makes the reader stumble over
        reason = " ".join(str(error).split())
        raise DamagedFileError(f"{path}: damaged or not a performance model ({reason})") from error


def _primary(performance):
    primary = fits.PrimaryHDU()
    primary.header["CONTENT"] = FORMAT
    primary.header["NCORR"] = (performance.correlated_voxels, "voxels that count as one sample")
    about = {"smoothing": performance.smoothing.to_dict(), "meta": performance.meta}
    # One line of JSON in pieces, since a card holds 72 characters; ASCII only, as FITS asks.
    text = json.dumps(about, sort_keys=True)
    for start in range(0, len(text), 70):
        primary.header.add_history("|" + text[start : start + 70] + "|")
    return primary


def _histogram_images(histograms):
    for name in HISTOGRAMS:
        image = histograms.image(name)
        if name in COUNTS:
            image = image.astype(np.int32)
        yield fits.CompImageHDU(
            image,
            _axes_header(histograms.origin),
            name=name.upper(),
            compression_type="GZIP_2",
            quantize_level=0,
            tile_shape=(1, *image.shape[1:]),
        )


def _axes_header(origin):
    wcs = WCS(naxis=4)
    wcs.wcs.ctype = [name[:8].upper() for name in reversed(NAMES)]
    wcs.wcs.cname = list(reversed(NAMES))
    wcs.wcs.cunit = [observable.unit for observable in reversed(OBSERVABLES)]
    wcs.wcs.crpix = [1.0] * 4
    wcs.wcs.crval = ((origin + 0.5) * STEPS)[::-1]
    wcs.wcs.cdelt = STEPS[::-1]
    header = wcs.to_header()
    for axis, (start, step) in enumerate(zip(wcs.wcs.crval, wcs.wcs.cdelt, strict=True), start=1):
        header[f"CRPIX{axis}"], header[f"CRVAL{axis}"], header[f"CDELT{axis}"] = (
            1.0,
            float(start),
            float(step),
        )
    return header


def _sample_images(sample):
    header = sample.wcs.to_header()
    for kind, images, number in (
        ("CHANNEL", sample.channel, sample.channel_number),
        ("ROW", sample.row, sample.row_number),
    ):
        cards = header.copy()
        cards["NUMBER"] = (number, f"of this {kind.lower()}, from 0")
        for plane, (name, unit) in enumerate(IMAGES.items()):
            cards[f"PLANE{plane}"] = (name, unit)
        planes = np.stack([images[name] for name in IMAGES])
        yield fits.CompImageHDU(planes, cards, name=kind, compression_type="GZIP_2", quantize_level=0)


def _from_hdus(hdus, path):
    if hdus[0].header.get("CONTENT") != FORMAT:
        raise InputError(f"{path}: not a performance model; give a file of `hisatools performance`")
    if len(hdus) != hdus[0].header.get("NPARTS"):
        raise DamagedFileError(
            f"{path}: damaged, some of its {hdus[0].header.get('NPARTS')} parts are missing"
        )
    about = json.loads("".join(str(line)[1:-1] for line in hdus[0].header["HISTORY"]))
    smoothing = {
        name: value if isinstance(value, int | float) else _quantity(value)
        for name, value in about["smoothing"].items()
    }
    first = hdus[COUNTS[0]].header
    starts = np.array([first[f"CRVAL{axis}"] for axis in (4, 3, 2, 1)])
    origin = np.rint(starts / STEPS - 0.5).astype(int)
    images = {name: hdus[name].data for name in HISTOGRAMS}
    return PerformanceModel(
        Histograms.from_images(images, origin),
        correlated_voxels=float(hdus[0].header["NCORR"]),
        smoothing=SmoothingParameters(**smoothing),
        models=_read_models(hdus["MODELS"]) if "MODELS" in hdus else QTable(),
        sample=_read_sample(hdus) if "CHANNEL" in hdus else None,
        meta=about["meta"],
    )


def _quantity(text):
    from astropy.units import Quantity

    return Quantity(text)


def _read_models(hdu):
    models = QTable.read(hdu)
    models.meta.clear()  # cards of this file
    return models


def _read_sample(hdus):
    channel, row = (
        dict(zip(IMAGES, np.asarray(hdus[name].data, np.float32), strict=True)) for name in ("CHANNEL", "ROW")
    )
    numbers = (int(hdus[name].header["NUMBER"]) for name in ("CHANNEL", "ROW"))
    return Sample(channel, row, *numbers, WCS(hdus["CHANNEL"].header))
