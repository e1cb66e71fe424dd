"""What is known of each feature: columns of the catalogue, arrays, and path lengths from widths."""

from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
from astropy.table import QTable
from astropy.utils.masked import Masked
from numpy.testing import assert_allclose, assert_array_equal
from radio_beam import Beam

from hisatools.errors import InputError, ParameterError, ParameterUnitsError
from hisatools.physics import GasFlag, GasParameters, measure_gas
from hisatools.physics.assumptions import GAS_COLUMNS

LINE = [-10.0, -25, -10]
DISTANCES = [1.0, 2, 3, 4] * u.kpc


@pytest.fixture(scope="module")
def result(gas_result, blocks):
    return gas_result(*blocks(LINE, 5, 2), noise=0.5)


def with_column(result, **columns):
    catalog = result.catalog.copy()
    for name, values in columns.items():
        catalog[name] = values
    return replace(result, catalog=catalog)


def catalog_of(result, **known):
    known = {"t_spin": 20 * u.K} | known if "tau" not in known and "p_over_k" not in known else known
    return measure_gas(result, GasParameters(**known))[0].catalog


def test_distances_of_the_catalogue_are_used_and_said(result):
    own = with_column(result, distance=DISTANCES, distance_error=0.1 * DISTANCES)
    found, _ = measure_gas(own, GasParameters(t_spin=20 * u.K))
    given = catalog_of(result, distance=DISTANCES, distance_error=0.1 * DISTANCES)
    for name in ("mass_hi", "mass_hi_error", "path_length"):
        assert_allclose(found.catalog[name].value, given[name].value)
    assert found.meta["gas"]["distance"] == "the catalogue's column distance, as none was given"
    assert found.meta["gas"]["distance_error"].startswith("the catalogue's column distance_error")
    assert (found.catalog["mass_hi_error"] > 0.2 * found.catalog["mass_hi"]).all()


def test_a_distance_that_is_given_wins(result):
    own = with_column(result, distance=DISTANCES, distance_error=0.1 * DISTANCES)
    found, _ = measure_gas(own, GasParameters(t_spin=20 * u.K, distance=2 * u.kpc))
    assert_allclose(found.catalog["mass_hi"].value, catalog_of(result, distance=2 * u.kpc)["mass_hi"].value)
    assert found.meta["gas"]["distance"] == "2000.0 pc"
    assert found.meta["gas"]["distance_error"] is None


@pytest.mark.parametrize(
    ("name", "values", "column"),
    [
        ("t_spin", [20, 25, 30, 35] * u.K, "t_spin"),
        ("t_spin", [20000, 25000, 30000, 35000] * u.mK, "t_spin"),
        ("tau", [0.5, 0.8, 1, 1.2], "tau_peak"),
        ("path_length", [0.5, 1, 2, 4] * u.pc, "path_length"),
        ("p_over_k", [2000, 3000, 4000, 5000] * u.K / u.cm**3, None),
    ],
)
def test_each_feature_may_have_its_own(name, values, column, result):
    others = {"path_length": 0.5 * u.pc} if name == "p_over_k" else {}
    by_array = catalog_of(result, **{name: values}, **others)
    by_name = catalog_of(with_column(result, mine=values), **{name: "mine"}, **others)
    for row, value in enumerate(values):
        one = catalog_of(result, **{name: value}, **others)
        for catalog in (by_array, by_name):
            assert_allclose(catalog["column_density_mean"][row].value, one["column_density_mean"][row].value)
    if column is not None:
        assert_allclose(
            u.Quantity(by_array[column]).value, u.Quantity(values).to_value(by_array[column].unit or "")
        )


def test_rows_in_any_order_keep_their_own(result):
    there = with_column(result, distance=DISTANCES)
    back = replace(there, catalog=there.catalog[::-1])
    assert_allclose(catalog_of(back)["mass_hi"][::-1].value, catalog_of(there)["mass_hi"].value)


def test_a_distance_that_is_not_known_gives_no_mass_and_an_impossible_one_a_flag(result):
    catalog = catalog_of(with_column(result, distance=[2, np.nan, 0, -1] * u.kpc))
    assert_array_equal(np.isnan(catalog["mass_hi"]), [False, True, True, True])
    assert_array_equal((catalog["gas_flags"] & GasFlag.UNPHYSICAL) > 0, [False, False, True, True])
    assert np.isfinite(catalog["column_density_mean"]).all()


def test_the_catalogues_distance_closes_the_pressure(result):
    pressure = {"p_over_k": 4000 * u.K / u.cm**3}
    catalog = catalog_of(with_column(result, distance=DISTANCES), **pressure)
    assert (np.diff(catalog["t_spin"]) > 0).all()
    with pytest.raises(ParameterError, match="p_over_k needs path_length, or a distance"):
        catalog_of(result, **pressure)


@pytest.mark.parametrize(
    ("known", "kind", "message"),
    [
        (
            {"distance": "far"},
            InputError,
            "distance='far': the catalogue has no column 'far'; it has id, name",
        ),
        (
            {"distance": "name"},
            InputError,
            "distance='name': the column 'name' of the catalogue holds no numb",
        ),
        (
            {"distance": "velocity"},
            ParameterUnitsError,
            "of the catalogue needs a unit of pc, and has km / s",
        ),
        ({"distance": "n_voxels"}, ParameterUnitsError, r"no unit; set catalog\['n_voxels'\].unit = 'kpc'$"),
        ({"distance": [1, 2] * u.kpc}, InputError, "distance has 2 values, and the catalogue 4 rows"),
    ],
)
def test_what_a_catalogue_cannot_give_is_refused(known, kind, message, result):
    with pytest.raises(kind, match=message):
        catalog_of(result, **known)


def test_the_columns_of_a_catalogue_are_refused_in_one_line(result):
    bare = with_column(result, distance=DISTANCES.value)
    message = r"^the column 'distance' of the catalogue has no unit; set catalog\['distance'\].unit = 'kpc'$"
    with pytest.raises(ParameterUnitsError, match=message):
        catalog_of(bare)
    wide = with_column(result, distance=np.ones((4, 2)) * u.kpc)
    with pytest.raises(InputError, match=r"^the column 'distance' of the catalogue has the shape \(4, 2\)"):
        catalog_of(wide)


def test_what_is_masked_is_not_known(result, tmp_path):
    """A catalogue that is read back from VOTable has columns that are masked where they are NaN."""
    without = with_column(result, distance=[2, np.nan, 3, 4] * u.kpc, mine=[0.5, 1, np.nan, 2])
    without.catalog["minor_fwhm"][3] = np.nan
    without.catalog["velocity_fwhm"][0] = np.nan
    without.catalog["absorption_integral_error"][1] = np.nan
    masked = QTable(without.catalog, copy=True)
    for name in masked.colnames:
        if masked[name].dtype.kind == "f":
            masked[name] = Masked(masked[name], mask=np.isnan(masked[name]))
    path = tmp_path / "catalog.xml"
    without.catalog.write(path, format="votable")
    for known in ({"t_spin": 20 * u.K}, {"tau": "mine"}):
        expected = catalog_of(without, **known)
        for catalog in (masked, QTable.read(path)):
            found = catalog_of(replace(without, catalog=catalog), **known)
            for name in GAS_COLUMNS:
                assert_allclose(u.Quantity(found[name]).value, u.Quantity(expected[name]).value, rtol=1e-5)


@pytest.mark.parametrize("tau", [80 * u.percent, [80, 80, 80, 80] * u.percent])
def test_an_optical_depth_may_be_in_per_cent(tau, result):
    assert_allclose(catalog_of(result, tau=tau)["tau_peak"], 0.8)


@pytest.mark.parametrize(
    ("known", "kind", "message"),
    [
        ({"distance": [1, -2] * u.kpc}, ParameterError, "distance must be finite and above 0 pc, got -2000"),
        ({"distance": [[1.0]] * u.kpc}, ParameterError, "distance has 2 axes"),
        ({"distance": 2.0}, ParameterUnitsError, "distance needs a unit of pc, got 2.0"),
        ({"path_length": 3 * u.K}, ParameterUnitsError, "path_length needs a unit of pc"),
        ({"path_length": [3] * u.K}, ParameterUnitsError, "path_length needs a unit of pc"),
        (
            {"distance_error": -1 * u.pc, "distance": 1 * u.kpc},
            ParameterError,
            "distance_error must be finite",
        ),
        ({"path_length_error": 1 * u.pc}, ParameterError, "path_length_error is given without path_length"),
        ({"tau_error": 0.1}, ParameterError, "tau_error is given without tau"),
        ({"t_continuum_error": 1 * u.pc}, ParameterUnitsError, "t_continuum_error needs a unit of K"),
        ({"p_error": -0.1}, ParameterError, "p_error must be finite and at least 0"),
        ({"spin_per": "voxel"}, ParameterError, "unknown spin_per 'voxel'; known: 'feature', 'sight_line'"),
        ({"spin_per": "sight_line"}, ParameterError, 'spin_per="sight_line" finds T_S, and t_spin gives it'),
        ({"line": "gaussian"}, ParameterError, 'line="gaussian" is of the pressure of a whole feature'),
    ],
)
def test_parameters_that_cannot_be_are_refused(known, kind, message):
    with pytest.raises(kind, match=message):
        GasParameters(t_spin=20 * u.K, **known)


def test_an_error_of_a_distance_that_nobody_knows_is_refused(result):
    with pytest.raises(ParameterError, match="distance_error is given without distance"):
        catalog_of(result, distance_error=0.1 * u.kpc)


def test_provenance_tells_arrays_in_words(result):
    found, _ = measure_gas(result, GasParameters(t_spin=20 * u.K, distance=DISTANCES))
    assert found.meta["gas"]["distance"] == "one a feature, 1000 to 4000 pc"


def test_a_line_in_one_channel_has_no_width_and_is_not_too_warm(gas_result, blocks):
    for profile in ([0, -20.0, 0], [-4.0, -20.0, -4.0]):
        result = gas_result(*blocks(profile, 5, 1), noise=0.5)
        row = catalog_of(result, path_length=0.5 * u.pc, t_spin=30 * u.K)[0]
        assert np.isnan(row["linewidth_intrinsic"]) and np.isnan(row["t_kinetic_max"])
        assert row["gas_flags"] == GasFlag.NARROW_LINE
        pressure = {"p_over_k": 500 * u.K / u.cm**3, "path_length": 0.5 * u.pc}
        row = catalog_of(result, **pressure, line="gaussian")[0]
        assert np.isnan(row["t_spin"]) and row["gas_flags"] & GasFlag.NARROW_LINE
        # The line as it is seen needs no width.
        assert np.isfinite(catalog_of(result, **pressure)[0]["t_spin"])
    assert np.isfinite(catalog_of(gas_result(*blocks(LINE, 5, 1)))["linewidth_intrinsic"]).all()


# --- path lengths -------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [1, 2])
@pytest.mark.parametrize("beam", [None, Beam(36 * u.arcsec)])
def test_the_size_of_a_pixel_is_no_path_length(side, beam, gas_result, blocks):
    catalog = catalog_of(gas_result(*blocks(LINE, side, 2), beam=beam), distance=2 * u.kpc)
    assert np.isnan(catalog["path_length"]).all() and np.isnan(catalog["volume_density"]).all()
    assert (catalog["gas_flags"] == GasFlag.UNRESOLVED).all()
    assert np.isfinite(catalog["mass_hi"]).all()


def test_pressure_of_an_unresolved_feature_tells_nothing(gas_result, blocks):
    catalog = catalog_of(gas_result(*blocks(LINE, 1, 2)), distance=2 * u.kpc, p_over_k=4000 * u.K / u.cm**3)
    assert np.isnan(catalog["t_spin"]).all()
    assert (catalog["gas_flags"] == (GasFlag.UNRESOLVED | GasFlag.BLANK)).all()


def test_what_the_beam_adds_is_no_path_length(gas_result, blocks):
    """Five pixels of 18 arcsec are wider than a beam of 36 arcsec, and narrower than one of 90."""
    depth, labels = blocks(LINE, 5, 2)
    seen = catalog_of(gas_result(depth, labels, beam=Beam(36 * u.arcsec)), distance=2 * u.kpc)
    expected = (seen["minor_deconvolved"].to_value(u.rad) * 2 * u.kpc).to_value(u.pc)
    assert_allclose(seen["path_length"].value, expected)
    assert (seen["minor_deconvolved"] < seen["minor_fwhm"]).all()
    hidden = catalog_of(gas_result(depth, labels, beam=Beam(90 * u.arcsec)), distance=2 * u.kpc)
    assert (hidden["gas_flags"] == GasFlag.UNRESOLVED).all() and np.isnan(hidden["path_length"]).all()


def blob(of_beams, beam_pixels=3.0, size=41):
    """Depth of a Gaussian cloud in a beam, cut where it is less than a quarter as deep, and its labels."""
    y, x = np.mgrid[:size, :size] - size // 2
    fwhm = beam_pixels * np.hypot(of_beams, 1)
    depth = np.array(LINE)[:, None, None] * np.exp(-4 * np.log(2) * (x**2 + y**2) / fwhm**2)
    return np.where(depth < -6.25, depth, 0.0), (depth < -6.25).astype(int)


@pytest.mark.parametrize("of_beams", [0.3, 0.7, 1.0])
def test_a_cloud_of_a_beam_that_a_threshold_has_cut_is_not_resolved(of_beams, gas_result):
    result = gas_result(*blob(of_beams), beam=Beam(3 * 18 * u.arcsec))
    catalog = catalog_of(result, distance=2 * u.kpc)
    assert catalog["gas_flags"][0] & GasFlag.UNRESOLVED and np.isnan(catalog["path_length"][0])


def test_a_width_is_the_same_with_a_beam_and_without(gas_result):
    """A cloud of four beams; what the threshold leaves of its width is what is said of it."""
    depth, labels = blob(4.0)
    lengths = [
        catalog_of(gas_result(depth, labels, beam=beam), distance=2 * u.kpc)["path_length"][0].to_value(u.pc)
        for beam in (Beam(3 * 18 * u.arcsec), None)
    ]
    truth = 12 * np.radians(0.005) * 2000
    assert_allclose(lengths[1] / lengths[0], 1, atol=0.1)
    assert 0.55 < lengths[0] / truth < 0.75


def test_a_length_that_is_given_needs_no_width(gas_result, blocks):
    catalog = catalog_of(gas_result(*blocks(LINE, 1, 2)), path_length=0.5 * u.pc)
    assert (catalog["gas_flags"] == 0).all() and np.isfinite(catalog["volume_density"]).all()
