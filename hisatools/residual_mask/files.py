"""Masks and likelihoods on disk: FITS maps, ECSV tables, JSON, figures."""

import json
from dataclasses import asdict, fields
from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.io import fits
from astropy.table import QTable
from astropy.wcs import WCS

from hisatools._version import __version__
from hisatools.errors import InputError, OutputError
from hisatools.io.files import opened
from hisatools.io.writing import image_header, write_image, write_json, writing_folder
from hisatools.residual_mask.fit import LineFitSums
from hisatools.residual_mask.masker import ResidualMaskParameters

__all__ = ["read_likelihood", "read_mask", "remove_likelihood", "write_likelihood", "write_mask"]

MAPS = ("tracer", "gas", "error")
MASK_FILES = (
    "mask.fits",
    "residual.fits",
    *(f"{name}.fits" for name in MAPS),
    "history.ecsv",
    "parameters.json",
    "convergence.png",
    "histogram.png",
    "map.png",
)
LIKELIHOOD_FILES = ("likelihood.fits", "likelihood.json", "intervals.ecsv", "corner.png")
MASKED, EXCLUDED, BLANK, GUARDED = 1, 2, 4, 8
MASK_COMMENTS = (
    "Residual mask, bit flags: 1 exceeds the model, 2 left out from the start, 4 blank,",
    "8 not masked, but left out of the fit.",
    "Model: tracer = RATIO * gas + ICEPT; residuals scatter with SIGMA about MODE.",
)


def write_mask(result, folder, *, overwrite=False):
    """Write a mask with its maps, history and figures, completely or not at all.

    The files are ``mask.fits`` (bits: 1 masked, 2 left out, 4 blank, 8 left out of the fit only),
    ``residual.fits``, the maps that went in (``tracer.fits``, ``gas.fits``, ``error.fits``),
    ``history.ecsv``, ``parameters.json``, ``convergence.png``, ``histogram.png`` and ``map.png``.

    Parameters
    ----------
    result : `~hisatools.residual_mask.ResidualMaskResult`
    folder : path-like
    overwrite : bool
        Whether files of these names may be replaced.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    OutputError
        If the folder holds files and ``overwrite`` is False, or if it cannot be written.

    Examples
    --------
    >>> from hisatools.residual_mask import ResidualMasker
    >>> from hisatools.residual_mask.files import write_mask
    >>> from hisatools.residual_mask.simulated import DustModelParameters, simulate_dust
    >>> model = simulate_dust(DustModelParameters(shape=(64, 64)), seed=6200)
    >>> folder = write_mask(ResidualMasker().run(model.tracer, model.gas), "masked")
    >>> sorted(path.name for path in folder.glob("*.fits"))
    ['gas.fits', 'mask.fits', 'residual.fits', 'tracer.fits']
    """
    with writing_folder(folder, overwrite=overwrite, names=MASK_FILES) as part:
        flags = (
            MASKED * result.mask.astype(np.uint8)
            + EXCLUDED * result.excluded.astype(np.uint8)
            + GUARDED * result.guarded.astype(np.uint8)
            + BLANK * (~result.used & ~result.excluded).astype(np.uint8)
        )
        write_image(part / "mask.fits", flags.astype(np.uint8), _mask_header(result))
        write_image(part / "residual.fits", result.residual, _header(result.wcs))
        for name in MAPS:
            values = getattr(result, name)
            if values is not None:
                write_image(part / f"{name}.fits", np.ascontiguousarray(values), _header(result.wcs))
        result.history.write(part / "history.ecsv", format="ascii.ecsv")
        content = {
            "hisatools": __version__,
            "fit": asdict(result.fit),
            "converged": result.converged,
            "parameters": result.parameters.to_dict(),
            "units": {name: _unit_of(getattr(result, name)) for name in MAPS},
            "meta": result.meta,
        }
        write_json(part / "parameters.json", content)
        result.plot_convergence().savefig(part / "convergence.png", dpi=120)
        result.plot_histogram().figure.savefig(part / "histogram.png", dpi=120)
        result.plot_map().figure.savefig(part / "map.png", dpi=120)
    return Path(folder).expanduser()


def read_mask(folder):
    """Read what `write_mask` wrote; returns the arguments of `~hisatools.residual_mask.ResidualMaskResult`.

    Raises
    ------
    InputError
        If a file is missing or damaged.

    Examples
    --------
    >>> from hisatools.residual_mask import ResidualMasker, ResidualMaskResult
    >>> from hisatools.residual_mask.files import read_mask, write_mask
    >>> from hisatools.residual_mask.simulated import DustModelParameters, simulate_dust
    >>> model = simulate_dust(DustModelParameters(shape=(64, 64)), seed=6200)
    >>> folder = write_mask(ResidualMasker().run(model.tracer, model.gas), "masked")
    >>> again = ResidualMaskResult(**read_mask(folder))
    >>> again.mask.shape, again.ratio.round(3)  # 0.05 mag were put in
    ((64, 64), <Quantity 0.05 1e-20 cm2 mag>)
    """
    folder = Path(folder).expanduser()
    content = _read_json(folder / "parameters.json")
    flags, header = _read_image(folder / "mask.fits")
    maps = {name: None for name in MAPS}
    for name, unit in content["units"].items():
        if unit is not None:
            values, _ = _read_image(folder / f"{name}.fits")
            maps[name] = values << u.Unit(unit)
    numbers = {name: np.nan if value is None else value for name, value in content["fit"].items()}
    known = {item.name for item in fields(ResidualMaskParameters)}
    given = {name: value for name, value in content["parameters"].items() if name in known}
    return {
        **maps,
        "mask": flags & MASKED > 0,
        "guarded": flags & GUARDED > 0,
        "excluded": flags & EXCLUDED > 0,
        "fit": LineFitSums(**numbers),
        "history": _read_table(folder / "history.ecsv"),
        "converged": content["converged"],
        "parameters": ResidualMaskParameters(**given),
        "wcs": _wcs_of(header),
        "meta": content["meta"],
    }


def write_likelihood(likelihood, folder, *, overwrite=False):
    """Write ``likelihood.fits``, ``likelihood.json``, ``intervals.ecsv`` and ``corner.png``.

    The FITS cube holds the natural logarithm of the likelihood, 0 at the best point, with the axes intercept,
    ratio and width in FITS order; their values are in the JSON file.

    Parameters
    ----------
    likelihood : `~hisatools.residual_mask.WidthLikelihood`
    folder : path-like
    overwrite : bool

    Returns
    -------
    pathlib.Path

    Raises
    ------
    OutputError
        As `write_mask`.

    Examples
    --------
    >>> import astropy.units as u, numpy as np
    >>> from hisatools.residual_mask import width_likelihood
    >>> from hisatools.residual_mask.files import write_likelihood
    >>> from hisatools.residual_mask.simulated import DustModelParameters, simulate_dust
    >>> small = DustModelParameters(shape=(32, 32), extra_share=0)
    >>> model = simulate_dust(small, seed=6200, velocity_width=18 * u.km / u.s, n_channels=40)
    >>> widths = np.arange(14, 22.1, 0.25) * u.km / u.s
    >>> found = width_likelihood(model.cube, model.tracer, centre=0 * u.km / u.s, widths=widths)
    >>> sorted(path.name for path in write_likelihood(found, "width").iterdir())
    ['corner.png', 'intervals.ecsv', 'likelihood.fits', 'likelihood.json']
    """
    with writing_folder(folder, overwrite=overwrite, names=LIKELIHOOD_FILES) as part:
        header = fits.Header()
        header["BTYPE"] = "log likelihood", "natural logarithm, 0 at the best point"
        header.add_comment("Axes in FITS order: intercept, ratio, width; values in likelihood.json.")
        write_image(part / "likelihood.fits", likelihood.log_likelihood, header)
        axes = {name: getattr(likelihood, name) for name in ("widths", "ratios", "intercepts")}
        scalars = {name: getattr(likelihood, name) for name in ("error", "centre")}
        content = {
            "hisatools": __version__,
            "values": {name: values.value for name, values in {**axes, **scalars}.items()},
            "units": {name: values.unit.to_string() for name, values in {**axes, **scalars}.items()},
            "n_pixels": likelihood.n_pixels,
            "meta": likelihood.meta,
        }
        write_json(part / "likelihood.json", content)
        interval_table(likelihood).write(part / "intervals.ecsv", format="ascii.ecsv")
        likelihood.plot_corner().savefig(part / "corner.png", dpi=120)
    return Path(folder).expanduser()


def read_likelihood(folder):
    """Read what `write_likelihood` wrote; returns the arguments of `WidthLikelihood`.

    Raises
    ------
    InputError
        If a file is missing or damaged.

    Examples
    --------
    >>> import astropy.units as u, numpy as np
    >>> from hisatools.residual_mask import WidthLikelihood, width_likelihood
    >>> from hisatools.residual_mask.files import read_likelihood, write_likelihood
    >>> from hisatools.residual_mask.simulated import DustModelParameters, simulate_dust
    >>> small = DustModelParameters(shape=(32, 32), extra_share=0)
    >>> model = simulate_dust(small, seed=6200, velocity_width=18 * u.km / u.s, n_channels=40)
    >>> widths = np.arange(14, 22.1, 0.25) * u.km / u.s
    >>> found = width_likelihood(model.cube, model.tracer, centre=0 * u.km / u.s, widths=widths)
    >>> again = WidthLikelihood(**read_likelihood(write_likelihood(found, "width")))
    >>> again.best["width"], again.n_pixels
    (<Quantity 18. km / s>, 1024)
    """
    folder = Path(folder).expanduser()
    content = _read_json(folder / "likelihood.json")
    values = {
        name: np.asarray(value, float) << u.Unit(content["units"][name])
        for name, value in content["values"].items()
    }
    logarithm, _ = _read_image(folder / "likelihood.fits")
    return {
        **values,
        "log_likelihood": logarithm,
        "n_pixels": content["n_pixels"],
        "meta": content["meta"],
    }


def remove_likelihood(folder):
    """Remove what `write_likelihood` wrote, and the folder if nothing else is in it.

    Parameters
    ----------
    folder : path-like
        It need not exist.

    Raises
    ------
    OutputError
        If the files cannot be removed.

    Examples
    --------
    >>> from pathlib import Path
    >>> from hisatools.residual_mask.files import remove_likelihood
    >>> Path("width").mkdir()
    >>> _ = Path("width/likelihood.json").write_text("{}")
    >>> remove_likelihood("width")
    >>> Path("width").exists()
    False
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        return
    try:
        for name in LIKELIHOOD_FILES:
            (folder / name).unlink(missing_ok=True)
        if not any(folder.iterdir()):
            folder.rmdir()
    except OSError as error:
        raise OutputError(f"cannot remove the files in {folder}: {error.strerror or error}") from error


def interval_table(likelihood):
    """Best point, mean and intervals of highest density, 68 and 95 percent, one row a parameter.

    Parameters
    ----------
    likelihood : `~hisatools.residual_mask.WidthLikelihood`

    Returns
    -------
    `~astropy.table.QTable`
        The unit stands in a column, as each row has its own.
    """
    rows = []
    for name, best in likelihood.best.items():
        numbers = [best, likelihood.mean(name)]
        numbers += [end for share in (0.68, 0.95) for end in likelihood.interval(name, share)]
        rows.append((name, *(float(number.to_value(best.unit)) for number in numbers), best.unit.to_string()))
    names = ("parameter", "best", "mean", "low_68", "high_68", "low_95", "high_95", "unit")
    return QTable(rows=rows, names=names)


def _header(wcs):
    return fits.Header() if wcs is None else image_header(wcs)


def _mask_header(result):
    header = _header(result.wcs)
    header["BTYPE"] = "mask", "bit flags, see COMMENT"
    for card, value, unit, text in (
        ("RATIO", result.fit.ratio, result.ratio.unit, "tracer per gas"),
        ("E_RATIO", result.fit.sigma_ratio, result.ratio.unit, "its 1-sigma uncertainty"),
        ("ICEPT", result.fit.intercept, result.tracer.unit, "tracer without gas"),
        ("E_ICEPT", result.fit.sigma_intercept, result.tracer.unit, "its 1-sigma uncertainty"),
        ("MODE", result.mode.value, result.tracer.unit, "mode of the residuals"),
        ("SIGMA", result.sigma.value, result.tracer.unit, "their scatter"),
    ):
        if np.isfinite(value):
            header[card] = float(value), f"[{unit}] {text}"
    header["NSIGMA"] = result.parameters.n_sigma, "threshold in units of SIGMA"
    header["NROUNDS"] = len(result.history), "rounds"
    header["CONVERGD"] = bool(result.converged), "whether the last rounds changed nothing"
    for line in MASK_COMMENTS:
        header.add_comment(line)
    return header


def _unit_of(values):
    return None if values is None else values.unit.to_string()


def _wcs_of(header):
    return WCS(header) if "CTYPE1" in header else None


def _read_image(path):
    with opened(path) as hdus:
        values, header = hdus[0].data, hdus[0].header
    if values is None:
        raise InputError(f"{path}: holds no image; name a folder that hisatools wrote")
    return values.astype(values.dtype.newbyteorder("=")), header


def _read_json(path):
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} is missing; name a folder that hisatools wrote") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is damaged ({error}); run once more") from error


def _read_table(path):
    try:
        return QTable.read(path, format="ascii.ecsv")
    except FileNotFoundError:
        raise InputError(f"{path} is missing; name a folder that hisatools wrote") from None
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path} is damaged ({error}); run once more") from error
