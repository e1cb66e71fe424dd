"""Outlines lie where the features are."""

from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from regions import Regions

from hisatools import HISAExtractor
from hisatools.datasets import example_result
from hisatools.errors import OutputError
from hisatools.io.sky import sky_frame
from hisatools.outlines import _polygons, feature_outlines, write_outlines
from hisatools.parameters import ExtractionParameters
from hisatools.simulate import ModelParameters, simulate_cube

# Far more than a survey would take.
MANY = ExtractionParameters(critical_brightness=20 * u.K, min_significance=0)


@pytest.fixture(scope="module")
def result():
    model = simulate_cube(ModelParameters(shape=(40, 128, 128), n_pucks=60, n_components=150), seed=101)
    with pytest.warns(UserWarning, match="over a third of the axis"):
        result = HISAExtractor(n_passes=1, parameters=MANY).run(model.cube)
    assert len(result.catalog) > 3
    return result


def rasterised(regions, wcs, shape):
    inside = np.zeros(shape, bool)
    for region in regions:
        inside |= region.to_pixel(wcs).to_mask("center").to_image(shape) > 0
    return inside


def test_the_file_rasterised_on_the_cube_on_disk_is_the_features(result, tmp_path):
    """Both are read back, so that what is written is tested, and not what is in memory."""
    result.write(tmp_path / "out")
    regions = Regions.read(write_outlines(result, tmp_path / "features.reg"), format="ds9")
    with fits.open(tmp_path / "out" / "labels.fits") as hdus:
        labels, wcs = hdus[0].data, WCS(hdus[0].header).celestial
    for row in result.catalog:
        own = [region for region in regions if region.meta["text"] == row["name"]]
        inside = rasterised(own, wcs, labels.shape[1:])
        footprint = (labels == row["id"]).any(axis=0)
        assert inside[footprint].all()
        from scipy.ndimage import binary_fill_holes

        assert not inside[~binary_fill_holes(footprint)].any()


@pytest.mark.parametrize(
    "footprint",
    [
        [[1]],
        [[1, 1, 1], [1, 0, 1], [1, 1, 1]],
        [[1, 0, 1], [0, 0, 0], [1, 1, 0]],
        [[1, 0], [0, 1]],
    ],
    ids=["pixel", "ring", "parts", "diagonal"],
)
def test_any_footprint_is_enclosed(footprint):
    from matplotlib.path import Path

    footprint = np.array(footprint, bool)
    y, x = np.indices(footprint.shape)
    inside = np.zeros(footprint.shape, bool)
    for vertices in _polygons(footprint, (5, 7)):
        closed = Path(vertices)
        inside |= closed.contains_points(np.stack([x.ravel() + 7, y.ravel() + 5], 1)).reshape(inside.shape)
    assert inside[footprint].all()
    hole = np.zeros_like(footprint)
    if footprint.shape == (3, 3) and footprint.sum() == 8:
        hole[1, 1] = True
    assert not inside[~footprint & ~hole].any()


def test_no_features_are_a_file_without_outlines(result, tmp_path):
    from dataclasses import replace

    none = replace(
        result,
        labels=np.zeros_like(result.labels),
        flags=np.zeros_like(result.flags),
        unabsorbed_kelvin=result.unabsorbed_kelvin[:0],
        sigma_unabsorbed_kelvin=None,
        sigma_delta_kelvin=None,
        catalog=result.catalog[:0],
    )
    assert len(feature_outlines(none)) == 0
    assert len(Regions.read(write_outlines(none, tmp_path / "none.reg"), format="ds9")) == 0


def test_an_older_file_is_replaced_only_on_demand(result, tmp_path):
    path = write_outlines(result, tmp_path / "features.reg")
    with pytest.raises(OutputError, match="exists"):
        write_outlines(result, path)
    write_outlines(result, path, overwrite=True)


def wcs_in(ctype, **cards):
    """A grid of the example's size about 85, 1 deg."""
    wcs = example_result().wcs.deepcopy()
    own = WCS(naxis=3)
    own.wcs.ctype, own.wcs.cunit = [*ctype, "VRAD"], ["deg", "deg", str(wcs.wcs.cunit[2])]
    own.wcs.crval, own.wcs.crpix = [85, 1, wcs.wcs.crval[2]], [104, 104, wcs.wcs.crpix[2]]
    own.wcs.cdelt, own.wcs.specsys = wcs.wcs.cdelt, "LSRK"
    for name, value in cards.items():
        setattr(own.wcs, name, value)
    own.wcs.set()
    return own


@pytest.mark.parametrize(
    ("ctype", "cards", "frame"),
    [
        (("GLON-TAN", "GLAT-TAN"), {}, "galactic"),
        (("ELON-TAN", "ELAT-TAN"), {}, "icrs"),
        (("RA---TAN", "DEC--TAN"), {"equinox": 1950.0}, "fk4"),
        (("RA---TAN", "DEC--TAN"), {"equinox": 2000.0, "radesys": "FK5"}, "fk5"),
        (("RA---TAN", "DEC--TAN"), {"equinox": 1975.0, "radesys": "FK5"}, "icrs"),
    ],
)
def test_outlines_lie_about_the_features_in_any_frame(ctype, cards, frame, tmp_path):
    result = replace(example_result(), wcs=wcs_in(ctype, **cards))
    for region in Regions.read(write_outlines(result, tmp_path / "features.reg"), format="ds9"):
        row = result.catalog[list(result.catalog["name"]).index(region.meta["text"])]
        x, y = (0.5 * (row[f"{axis}_min"] + row[f"{axis}_max"]) for axis in "xy")
        centre = SkyCoord(
            *result.wcs.celestial.wcs_pix2world(x, y, 0), unit="deg", frame=sky_frame(result.wcs)
        )
        assert region.vertices.name == frame
        assert centre.icrs.separation(region.vertices.icrs).min() < 30 * u.arcmin
