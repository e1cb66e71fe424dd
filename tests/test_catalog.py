"""The catalogue against numbers worked out by hand and against a plain loop."""

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import QTable
from astropy.wcs import WCS
from numpy.testing import assert_allclose, assert_array_equal
from radio_beam import Beam
from scipy import ndimage

from hisatools.catalog import VoxelErrors, build_catalog, feature_names
from hisatools.features import angular_widths, velocity_widths

KMS = u.km / u.s
STEP = 0.82446  # km/s
PIXEL = 0.005  # deg


def make_wcs(*, lon=139.6, lat=0.0, sky=("GLON-CAR", "GLAT-CAR"), step=-STEP):
    wcs = WCS(naxis=3)
    wcs.wcs.ctype = [*sky, "VRAD"]
    wcs.wcs.cunit = ["deg", "deg", "m/s"]
    wcs.wcs.crpix = [1, 1 - lat / PIXEL if sky[0] == "GLON-CAR" else 1, 1]
    wcs.wcs.crval = [lon, 0.0 if sky[0] == "GLON-CAR" else lat, -41e3]
    wcs.wcs.cdelt = [-PIXEL, PIXEL, step * 1e3]
    wcs.wcs.specsys = "LSRK"
    return wcs


def measure(delta_t, *, t_unabsorbed=100.0, labels=None, first_pass=None, wcs=None, **options):
    labels = (delta_t < 0).astype(np.int32) if labels is None else labels
    first_pass = (labels > 0).astype(np.uint8) if first_pass is None else first_pass
    t_unabsorbed = np.full(delta_t.shape, t_unabsorbed, np.float32)
    t_on = t_unabsorbed + delta_t
    return build_catalog(t_on, t_unabsorbed[labels > 0], labels, first_pass, wcs or make_wcs(), **options)


def spectrum_feature(depths):
    """One sight line with these |dT|, and a channel without absorption at either end."""
    delta_t = np.zeros((len(depths) + 2, 3, 3), np.float32)
    delta_t[1:-1, 1, 1] = -np.asarray(depths)
    return delta_t


def several_features():
    rng = np.random.default_rng(3)
    depth = ndimage.gaussian_filter(rng.normal(size=(12, 20, 20)), 1.0)
    labels, _ = ndimage.label(depth > 0.25)
    labels = labels.astype(np.int32)
    # In steps of 1/1024 K, so that T_U + dT and T_ON - T_U are exact.
    delta_t = np.where(labels > 0, np.rint(-40 * 1024 * depth) / 1024, 0).astype(np.float32)
    return delta_t, labels, (labels > 0) * rng.integers(1, 4, labels.shape).astype(np.uint8)


# --- names ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lon", "lat", "velocity", "name"),
    [
        (139.636, 1.186, -41.04, "GHISA 139.64+1.19-041"),
        (79.878, 0.62, 2.3, "GHISA 079.88+0.62+002"),
        (5.0, -12.346, 123.6, "GHISA 005.00-12.35+124"),
        (359.9999, -0.001, -0.2, "GHISA 000.00+0.00+000"),
    ],
)
def test_galactic_name(lon, lat, velocity, name):
    assert feature_names(SkyCoord([lon], [lat], unit="deg", frame="galactic"), [velocity] * KMS) == [name]


@pytest.mark.parametrize(
    ("position", "name"),
    [
        ("12h34m56.78s -01d23m45.9s", "HISA J123456.7-012345-003"),
        ("00h00m00s +00d00m00s", "HISA J000000.0+000000-003"),
        ("12h34m56s +89d59m59.99s", "HISA J123456.0+895959-003"),
    ],
)
def test_other_frames_are_named_by_right_ascension_cut_off(position, name):
    assert feature_names(SkyCoord([position], frame="icrs"), [-3] * KMS) == [name]


def test_equal_names_get_letters():
    place = SkyCoord([10.0] * 29, [0.0] * 29, unit="deg", frame="galactic")
    names = feature_names(place, [7] * 29 * KMS)
    assert names[:3] == ["GHISA 010.00+0.00+007", "GHISA 010.00+0.00+007a", "GHISA 010.00+0.00+007b"]
    assert names[-1].endswith("007ab")
    assert len(set(names)) == 29


# --- measures ---------------------------------------------------------------------------------


def test_a_box_is_measured_as_by_hand():
    delta_t = np.zeros((8, 9, 10), np.float32)
    delta_t[2:5, 3:5, 6:9] = -20
    delta_t[3, 4, 8] = -40
    (row,) = measure(delta_t)
    bounds = [row[name] for name in ("x_min", "x_max", "y_min", "y_max", "v_min", "v_max")]
    assert bounds == [6, 8, 3, 4, 2, 4]
    assert row["n_voxels"] == 18
    assert_allclose(row["solid_angle"].to_value(u.arcmin**2), 6 * 0.3**2, rtol=1e-6)
    assert_allclose(row["delta_t_peak"].to_value(u.K), -40)
    assert_allclose(row["delta_t_mean"].to_value(u.K), -380 / 18)
    assert_allclose(row["t_unabsorbed_mean"].to_value(u.K), 100)
    assert_allclose(row["t_on_mean"].to_value(u.K), 100 - 380 / 18)
    assert_allclose(row["absorption_integral"].to_value(u.K * KMS), 380 * STEP / 6)
    total = 380 * STEP * np.radians(PIXEL) ** 2
    assert_allclose(row["absorption_sr"].to_value(u.K * KMS * u.sr), total, rtol=1e-6)
    peak = [row[name].value for name in ("lon_peak", "lat_peak", "velocity_peak")]
    assert_allclose(peak, [139.6 - 8 * PIXEL, 4 * PIXEL, -41 - 3 * STEP])
    x, y = (7 * 360 + 8 * 20) / 380, (3.5 * 360 + 4 * 20) / 380
    centroid = [row[name].value for name in ("lon", "lat", "velocity")]
    assert_allclose(centroid, [139.6 - x * PIXEL, y * PIXEL, -41 - 3 * STEP])


def test_features_agree_with_a_plain_loop():
    delta_t, labels, first_pass = several_features()
    catalog = measure(delta_t, labels=labels, first_pass=first_pass)
    assert len(catalog) == labels.max() > 20
    for row in catalog:
        v, y, x = np.nonzero(labels == row["id"])
        depth = -delta_t[v, y, x].astype(float)
        assert row["n_voxels"] == depth.size
        assert row["first_pass"] == first_pass[v, y, x].min()
        assert (row["v_min"], row["y_max"], row["x_min"]) == (v.min(), y.max(), x.min())
        assert_allclose(row["lat"].value, np.average(y, weights=depth) * PIXEL, atol=1e-9)
        assert_allclose(row["velocity_peak"].value, -41 - STEP * v[depth.argmax()])
        n_sight_lines = len(set(zip(y, x, strict=True)))
        assert_allclose(row["absorption_integral"].value, depth.sum() * STEP / n_sight_lines)


@pytest.mark.parametrize(
    ("depths", "channels"),
    [
        ([10], 1.0),
        ([10, 10, 10], 3.0),
        ([5, 10, 5], 2.0),
        ([2, 10, 4], 5 / 8 + 5 / 6),
        ([10, 2, 9], 0.5 + 5 / 8),
        ([9, 2, 10], 0.5 + 5 / 8),
    ],
)
def test_line_width_is_that_of_the_peak_at_half_maximum(depths, channels):
    (row,) = measure(spectrum_feature(depths))
    assert_allclose(row["velocity_fwhm"].to_value(KMS), channels * STEP)


def test_line_width_of_a_gaussian():
    offset = np.arange(-15, 16)
    (row,) = measure(spectrum_feature(30 * np.exp(-0.5 * (offset / 3.0) ** 2)))
    assert_allclose(row["velocity_fwhm"].to_value(KMS), 3 * np.sqrt(8 * np.log(2)) * STEP, rtol=0.005)


def test_reversed_velocity_axis_changes_pixels_only():
    delta_t, labels, first_pass = several_features()
    forward = measure(delta_t, labels=labels, first_pass=first_pass)
    wcs = make_wcs(step=STEP)
    wcs.wcs.crval = [139.6, 0, -41e3 - 11e3 * STEP]
    backward = measure(delta_t[::-1], labels=labels[::-1], first_pass=first_pass[::-1], wcs=wcs)
    for name in ("lon", "velocity", "velocity_peak", "velocity_fwhm", "absorption_integral"):
        assert_allclose(backward[name].value, forward[name].value)
    assert_array_equal(backward["v_min"], 11 - forward["v_max"])


def test_longitude_runs_on_across_zero():
    delta_t = np.zeros((3, 3, 5), np.float32)
    delta_t[1, 1, 1:4] = -10
    (row,) = measure(delta_t, wcs=make_wcs(lon=1.5 * PIXEL))
    assert_allclose(row["lon"].to_value(u.deg), 360 - 0.5 * PIXEL)
    assert row["name"].startswith("GHISA 000.00+0.01")


def test_pixels_of_a_plain_grid_shrink_towards_the_pole():
    (row,) = measure(spectrum_feature([10]), wcs=make_wcs(lat=60.0))
    expected = 0.3**2 * np.cos(np.radians(60 + PIXEL))
    assert_allclose(row["solid_angle"].to_value(u.arcmin**2), expected, rtol=1e-6)


@pytest.mark.parametrize("sky", [("RA---SIN", "DEC--SIN"), ("ELON-CAR", "ELAT-CAR")])
def test_other_frames_are_catalogued(sky):
    catalog = measure(spectrum_feature([10]), wcs=make_wcs(lon=83.6, lat=22.0, sky=sky))
    assert catalog["name"][0].startswith("HISA J05")
    assert catalog.meta["FRAME"] in ("icrs", "barycentricmeanecliptic")


# --- edges ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("voxel", "edge"),
    [
        ((2, 2, 2), False),
        ((0, 2, 2), True),
        ((4, 2, 2), True),
        ((2, 0, 2), True),
        ((2, 4, 2), True),
        ((2, 2, 0), True),
        ((2, 2, 4), True),
    ],
)
def test_edge_is_the_border_of_the_cube(voxel, edge):
    delta_t = np.zeros((5, 5, 5), np.float32)
    delta_t[voxel] = -10
    assert measure(delta_t)["edge"][0] == edge


@pytest.mark.parametrize("voxel", [(1, 2, 2), (2, 3, 2), (2, 2, 3)])
def test_edge_is_a_blank_neighbour(voxel):
    delta_t = np.zeros((5, 5, 5), np.float32)
    delta_t[2, 2, 2] = -10
    assert not measure(delta_t)["edge"][0]
    delta_t[voxel] = np.nan
    assert measure(delta_t)["edge"][0]


def test_edges_do_not_depend_on_blocks(monkeypatch):
    delta_t, labels, _ = several_features()
    delta_t[5, 10, (labels[5, 10] == 0)] = np.nan
    whole = measure(delta_t, labels=labels)["edge"]
    assert 0 < whole.sum() < len(whole)
    for n_voxels in (1, 7, 100):
        monkeypatch.setattr("hisatools.catalog.measuring.VOXELS_PER_BLOCK", n_voxels)
        assert_array_equal(measure(delta_t, labels=labels)["edge"], whole)


def test_a_spectrum_has_no_border_on_the_sky():
    delta_t = spectrum_feature([10, 20])[:, 1:2, 1:2]
    assert not measure(delta_t)["edge"][0]


# --- the table --------------------------------------------------------------------------------


def test_columns_have_units_and_descriptions():
    catalog = measure(spectrum_feature([10]), beam=Beam(1 * u.arcmin))
    without = {"id", "name", "x_min", "x_max", "y_min", "y_max", "v_min", "v_max", "n_voxels"}
    without |= {"first_pass", "edge", "elongation"}
    assert {name for name in catalog.colnames if catalog[name].info.unit is None} == without
    assert all(catalog[name].info.description for name in catalog.colnames)
    assert catalog.meta == {
        "FRAME": "galactic",
        "SPECSYS": "LSRK",
        "BEAM": "1 x 1 arcmin, PA 0 deg",
    }


def test_empty_catalogue_has_the_same_columns():
    full, empty = measure(spectrum_feature([10])), measure(np.zeros((4, 3, 3), np.float32))
    assert len(empty) == 0
    assert full.colnames == empty.colnames
    for name in full.colnames:
        assert empty[name].dtype == full[name].dtype
        assert empty[name].info.unit == full[name].info.unit
        assert empty[name].info.description == full[name].info.description


@pytest.mark.parametrize("n_features", ["some", "none"])
@pytest.mark.parametrize("kind", ["ecsv", "fits", "votable"])
def test_catalogue_survives_a_file(kind, n_features, tmp_path):
    delta_t, labels, first_pass = several_features()
    keep = slice(None) if n_features == "some" else slice(0)
    catalog = measure(delta_t, labels=labels, first_pass=first_pass)[keep]
    path = tmp_path / f"catalog.{kind}"
    format_name = {"ecsv": "ascii.ecsv"}.get(kind, kind)
    catalog.write(path, format=format_name)
    back = QTable.read(path, format=format_name)
    back.convert_bytestring_to_unicode()  # FITS knows bytes only
    assert back.colnames == catalog.colnames
    for name in catalog.colnames:
        assert back[name].info.unit == catalog[name].info.unit
        # VOTable wraps long lines.
        assert back[name].info.description.split() == catalog[name].info.description.split()
        assert_array_equal(np.asarray(back[name]), np.asarray(catalog[name]))


def test_each_labelled_voxel_needs_its_brightness():
    t_on, labels = np.full((4, 3, 3), 60, np.float32), np.zeros((4, 3, 3), np.int32)
    labels[1:3, 1, 1] = 1
    with pytest.raises(ValueError, match=r"has the shape \(3,\), and 2 voxels are labelled; give one value"):
        build_catalog(t_on, np.full(3, 90, np.float32), labels, labels.astype(np.uint8), make_wcs())


def test_of_voxels_as_deep_the_first_is_the_peak():
    delta_t = np.zeros((5, 4, 4), np.float32)
    delta_t[1:4, 1, 1:3] = -20
    delta_t[[3, 2], 1, [1, 2]] = -30
    (row,) = measure(delta_t)
    assert_allclose(row["velocity_peak"].to_value(KMS), -41 - 2 * STEP)
    assert_allclose(row["lon_peak"].to_value(u.deg), 139.6 - 2 * PIXEL)


def test_labels_with_a_gap_are_refused():
    delta_t = spectrum_feature([10, 0, 10])
    with pytest.raises(ValueError, match="labels must run from 1 to 3 without gaps"):
        measure(delta_t, labels=((delta_t < 0) * np.array([0, 1, 0, 3, 0])[:, None, None]).astype(np.int32))


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_labels_without_absorption_are_refused(value):
    delta_t = spectrum_feature([value])
    labels = np.zeros(delta_t.shape, np.int32)
    labels[1, 1, 1] = 1
    with pytest.raises(ValueError, match="every label needs a voxel with dT other than 0"):
        measure(delta_t, labels=labels)


# --- local widths -----------------------------------------------------------------------------


def test_local_widths_of_a_box_are_as_by_hand():
    delta_t = np.zeros((6, 9, 9), np.float32)
    delta_t[2:4, 2:7, 2:7] = -20  # 5 x 5 pixels, 2 channels
    delta_t[2, 4, 7] = -20  # a pixel at its side, one channel
    (row,) = measure(delta_t)
    # From the centre of the square it is 3 pixels to the nearest one outside.
    mask = delta_t < 0
    widths = angular_widths(mask)[mask] * 60 * PIXEL
    assert_allclose(row["angular_width_max"].to_value(u.arcmin), 6 * 60 * PIXEL, rtol=1e-6)
    assert_allclose(row["angular_width_mean"].to_value(u.arcmin), widths.mean(), rtol=1e-6)
    assert_allclose(row["velocity_width_mean"].to_value(KMS), (50 * 2 + 1) / 51 * STEP, rtol=1e-6)


def test_local_widths_are_those_of_each_features_voxels():
    delta_t, labels, first_pass = several_features()
    delta_t, labels, first_pass = (np.tile(cube, (1, 5, 1)) for cube in (delta_t, labels, first_pass))
    labels, _ = ndimage.label(labels > 0)
    catalog = measure(delta_t, labels=labels.astype(np.int32), first_pass=first_pass)
    angular = angular_widths(labels > 0) * 60 * PIXEL
    velocity = velocity_widths(-delta_t, labels > 0) * STEP
    index = catalog["id"]
    assert_allclose(catalog["angular_width_max"].value, ndimage.maximum(angular, labels, index), rtol=1e-5)
    assert_allclose(catalog["angular_width_mean"].value, ndimage.mean(angular, labels, index), rtol=1e-5)
    assert_allclose(catalog["velocity_width_mean"].value, ndimage.mean(velocity, labels, index), rtol=1e-5)


def test_one_sight_line_has_no_angular_width():
    (row,) = measure(spectrum_feature([10, 20, 10])[:, 1:2, 1:2])
    assert np.isnan(row["angular_width_max"]) and np.isnan(row["angular_width_mean"])
    assert_allclose(row["velocity_width_mean"].to_value(KMS), 2 * STEP)


# --- uncertainties ----------------------------------------------------------------------------


def test_errors_of_peak_and_integral_by_hand():
    delta_t = spectrum_feature([10, 30, 20])
    errors = VoxelErrors(np.array([3.0, 3, 3]), np.array([1.0, 4, 2]), correlated_voxels=2)
    row = measure(delta_t, errors=errors)[0]
    assert row["delta_t_peak_error"].value == pytest.approx(5)
    # Noise: three voxels, alike in pairs; T_U: all off together.
    total = np.sqrt(3 * 9 * 2 + (1 + 4 + 2) ** 2) * STEP
    assert row["absorption_integral_error"].value == pytest.approx(total)
    in_sr, along_line = (
        (row[f"{name}_error"] / row[name]).value for name in ("absorption_sr", "absorption_integral")
    )
    assert in_sr == pytest.approx(along_line)


def test_noise_is_not_alike_over_more_voxels_than_there_are():
    delta_t = spectrum_feature([10, 30, 20])
    errors = VoxelErrors(np.full(3, 2.0), np.zeros(3), correlated_voxels=50)
    assert measure(delta_t, errors=errors)["absorption_integral_error"][0].value == pytest.approx(6 * STEP)


def test_errors_that_are_not_known_are_nan():
    catalog = measure(spectrum_feature([10]))
    assert all(np.isnan(catalog[name][0]) for name in catalog.colnames if name.endswith("_error"))
