"""Outlines of features on the sky, for DS9 and CARTA."""

from pathlib import Path

import numpy as np
from astropy.coordinates import FK4, FK5, ICRS, Galactic
from contourpy import contour_generator
from regions import PolygonSkyRegion, RegionMeta, Regions
from scipy.ndimage import binary_fill_holes

from hisatools.io.sky import places_of_pixels
from hisatools.io.writing import writing_file

__all__ = ["feature_outlines", "write_outlines"]

# With the equinoxes that region files mean.
DS9_FRAMES = (Galactic, ICRS, FK5, FK4)


def feature_outlines(result):
    """Outlines of all features of a result.

    Parameters
    ----------
    result : `~hisatools.HISAResult`

    Returns
    -------
    `~regions.Regions`
        A polygon for each part of a feature's sight lines that hangs together; holes in it are not outlined.
        Its text is the feature's name. They are in the frame of the cube; in ICRS where that is ecliptic
        or of an equinox other than J2000 (FK5) or B1950 (FK4), which region files cannot name.

    Examples
    --------
    >>> from hisatools import HISAExtractor
    >>> from hisatools.outlines import feature_outlines
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> model = simulate_cube(ModelParameters(shape=(32, 96, 96), n_pucks=20, n_components=100), seed=3)
    >>> result = HISAExtractor(n_passes=1).run(model.cube)  # doctest: +IGNORE_WARNINGS
    >>> outlines = feature_outlines(result)
    >>> outlines[0].meta["text"] == result.catalog["name"][0]
    True
    """
    found = []
    for row in result.catalog:
        for vertices in pixel_outlines(result.labels, row):
            sky = _in_ds9_frame(places_of_pixels(result.wcs, *vertices.T))
            found.append(PolygonSkyRegion(sky, meta=RegionMeta({"text": str(row["name"])})))
    return Regions(found)


def pixel_outlines(labels, row):
    """Outlines of one feature in pixels.

    Parameters
    ----------
    labels : `~numpy.ndarray` of int32, shape (n_v, n_y, n_x)
    row : `~astropy.table.Row`
        Of the catalogue.

    Returns
    -------
    list of `~numpy.ndarray`, shape (n, 2)
        Vertices (x, y) of each part of the feature's sight lines, counted from 0 at the centre of a pixel.
    """
    return _polygons(*_footprint(labels, row))


def write_outlines(result, path, *, overwrite=False):
    """Write the outlines of all features as a DS9 region file.

    Parameters
    ----------
    result : `~hisatools.HISAResult`
    path : str or path
    overwrite : bool
        Whether an older file may be replaced.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    OutputError
        If the file exists and ``overwrite`` is False, or cannot be written.

    Examples
    --------
    >>> from hisatools import HISAExtractor
    >>> from hisatools.outlines import write_outlines
    >>> from hisatools.simulate import ModelParameters, simulate_cube
    >>> model = simulate_cube(ModelParameters(shape=(32, 96, 96), n_pucks=20, n_components=100), seed=3)
    >>> result = HISAExtractor(n_passes=1).run(model.cube)  # doctest: +IGNORE_WARNINGS
    >>> write_outlines(result, "features.reg").read_text().splitlines()[0].startswith("# Region file")
    True
    """
    outlines = feature_outlines(result)
    # The package writes no file for no regions.
    text = outlines.serialize(format="ds9") if len(outlines) else "# Region file format: DS9\n"
    with writing_file(path, overwrite=overwrite) as part:
        part.write_text(text, encoding="utf-8")
    return Path(path).expanduser()


def _in_ds9_frame(sky):
    return sky if any(sky.is_equivalent_frame(frame()) for frame in DS9_FRAMES) else sky.icrs


def _footprint(labels, row):
    """Sight lines of a feature within its box, and the pixel (y, x) that the box begins at."""
    box = tuple(slice(int(row[f"{axis}_min"]), int(row[f"{axis}_max"]) + 1) for axis in "vyx")
    return (labels[box] == row["id"]).any(axis=0), (box[1].start, box[2].start)


def _polygons(footprint, start):
    """Vertices (x, y) in pixels of the parts of a footprint, half way between inside and outside."""
    padded = np.pad(binary_fill_holes(footprint), 1).astype(float)
    # A pixel and its diagonal neighbour do not hang together, as features do not.
    lines = contour_generator(z=padded).lines(0.5)
    offset = np.array(start)[::-1] - 1
    return [line[:-1] + offset for line in lines]
