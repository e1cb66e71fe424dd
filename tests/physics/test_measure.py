"""Gas of a catalogue: clouds of known temperature and column come back."""

from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from numpy.testing import assert_allclose, assert_array_equal

from hisatools import HISAResult
from hisatools.catalog import build_catalog
from hisatools.errors import HISAWarning, InputError, MendWarning, ParameterError
from hisatools.physics import GasFlag, GasParameters, Pressure, delta_t, measure_gas, read_continuum
from hisatools.results import MaskBit

SHAPE = (24, 20, 22)
CHANNEL = 0.82446 * u.km / u.s
DISTANCE = 2 * u.kpc
# T_S in K, tau at the centre, FWHM in channels, and where.
CLOUDS = [(30.0, 0.8, 3.0, (slice(3, 9), slice(2, 10))), (45.0, 1.5, 4.0, (slice(12, 18), slice(11, 20)))]
COLUMN = 1.823e18
BY_PRESSURE = {"p_over_k": 3000 * u.K / u.cm**3, "path_length": 0.5 * u.pc}


def axes():
    wcs = WCS(naxis=3)
    wcs.wcs.ctype = ["GLON-CAR", "GLAT-CAR", "VRAD"]
    wcs.wcs.cunit = ["deg", "deg", "m/s"]
    wcs.wcs.crval = [139.6, 0, -41e3]
    wcs.wcs.cdelt = [-0.005, 0.005, -824.46]
    wcs.wcs.crpix = [11, 10, 12]
    return wcs


def optical_depth_of(cloud):
    _, tau, fwhm, _ = cloud
    return tau * np.exp(-4 * np.log(2) * ((np.arange(SHAPE[0]) - 12) / fwhm) ** 2)


@pytest.fixture(scope="module")
def continuum():
    return np.linspace(2, 12, SHAPE[1] * SHAPE[2]).reshape(SHAPE[1:]) * u.K


@pytest.fixture(scope="module")
def result(continuum):
    """Two clouds before 100 K and a continuum that varies; all of their voxels deeper than 0.1 K accepted."""
    absorbed = np.zeros(SHAPE)
    labels = np.zeros(SHAPE, np.int32)
    for number, cloud in enumerate(CLOUDS, start=1):
        place = (slice(None), *cloud[3])
        tau = optical_depth_of(cloud)[:, None, None]
        made = delta_t(cloud[0] * u.K, tau, 100 * u.K, p=0.9, t_continuum=continuum[cloud[3]]).value
        absorbed[place] = made
        labels[place][made < -0.1] = number
    absorbed[labels == 0] = 0
    t_on = (100 + absorbed).astype(np.float32)
    unabsorbed = np.full(np.count_nonzero(labels), 100, np.float32)
    flags = np.where(labels > 0, np.uint8(MaskBit.ACCEPTED), 0).astype(np.uint8)
    catalog = build_catalog(t_on, unabsorbed, labels, (labels > 0).astype(np.uint8), axes())
    first = (labels > 0).astype(np.uint8)
    return HISAResult(t_on * u.K, unabsorbed, flags, labels, first, catalog, axes())


def true_column(cloud):
    return COLUMN * cloud[0] * optical_depth_of(cloud).sum() * CHANNEL.value


def test_columns_and_masses_are_those_of_the_clouds(result, continuum):
    """T_S of one cloud is told; that of the other follows from its optical depth."""
    for number, cloud in enumerate(CLOUDS):
        for known in ({"t_spin": cloud[0] * u.K}, {"tau": cloud[1]}):
            found, _ = measure_gas(
                result, GasParameters(p=0.9, **known, distance=DISTANCE), t_continuum=continuum
            )
            row = found.catalog[number]
            assert row["gas_flags"] == 0
            assert_allclose(row["t_spin"].value, cloud[0], rtol=1e-4)
            assert_allclose(row["tau_peak"], cloud[1], rtol=1e-4)
            for name in ("column_density_peak", "column_density_mean"):
                assert_allclose(row[name].value, true_column(cloud), rtol=0.01)
            area = row["solid_angle"].to_value(u.sr) * DISTANCE**2
            hydrogen = (true_column(cloud) / u.cm**2 * area * 1.6735575e-27 * u.kg).to_value(u.solMass)
            assert_allclose(row["mass_hi"].value, hydrogen, rtol=0.01)
            assert_allclose(row["mass_total"].value, row["mass_hi"].value)


def test_pressure_that_the_cloud_has_gives_its_temperature(result, continuum):
    cloud = CLOUDS[0]
    length = 0.5 * u.pc
    squared = Pressure(path_length=length, linewidth=CHANNEL, line="channel").squared_kelvin
    right = 4000 * cloud[0] ** 2 * optical_depth_of(cloud).sum() / squared * u.K / u.cm**3
    parameters = GasParameters(p=0.9, p_over_k=right, path_length=length)
    row = measure_gas(result, parameters, t_continuum=continuum)[0].catalog[0]
    assert_allclose(row["t_spin"].value, cloud[0], rtol=2e-3)
    assert_allclose((row["volume_density"] * row["t_spin"]).value, right.value, rtol=0.01)
    assert np.isnan(row["mass_hi"])


def test_a_path_that_is_not_given_is_the_width_at_the_distance(result):
    parameters = GasParameters(t_spin=20 * u.K, distance=DISTANCE)
    catalog = measure_gas(result, parameters)[0].catalog
    expected = (catalog["minor_fwhm"].to_value(u.rad) * DISTANCE).to_value(u.pc)
    assert_allclose(catalog["path_length"].value, expected)


def test_maps_hold_the_column_of_each_sight_line(result, continuum):
    parameters = GasParameters(p=0.9, t_spin=CLOUDS[0][0] * u.K)
    found, maps = measure_gas(result, parameters, t_continuum=continuum)
    here = maps.column_density[CLOUDS[0][3]]
    assert_allclose(here.value, true_column(CLOUDS[0]), rtol=0.01)
    assert np.isnan(maps.column_density[0, 0])
    assert maps.tau.shape == (found.n_accepted,)
    assert maps.wcs.naxis == 2


def test_all_of_the_emission_behind_is_less_absorbed(result):
    """The more lies behind, the less optical depth is needed."""
    catalogs = [
        measure_gas(result, GasParameters(t_spin=20 * u.K), p=p)[0].catalog
        for p in (0.8, np.full(SHAPE[1:], 0.9), np.ones(SHAPE))
    ]
    peaks = [catalog["tau_peak"][0] for catalog in catalogs]
    assert peaks[0] > peaks[1] > peaks[2]


def test_gas_too_warm_is_nan_with_its_flag(result):
    catalog = measure_gas(result, GasParameters(t_spin=95 * u.K, distance=DISTANCE))[0].catalog
    assert (catalog["gas_flags"] == GasFlag.TOO_WARM).all()
    for name in ("t_spin", "tau_peak", "column_density_peak", "column_density_mean", "mass_hi"):
        assert np.isnan(catalog[name]).all()
    assert (catalog["n_opaque"] == 0).all()


def test_bright_and_unknown_continuum_is_left_out(result, continuum):
    bright = continuum.copy()
    bright[3:6] = 30 * u.K
    bright[12:18] = np.nan
    parameters = GasParameters(p=0.9, t_spin=30 * u.K)
    catalog = measure_gas(result, parameters, t_continuum=bright)[0].catalog
    assert 0 < catalog["n_left_out"][0] < catalog["n_voxels"][0]
    assert_allclose(catalog["column_density_peak"][0].value, true_column(CLOUDS[0]), rtol=0.01)
    assert catalog["n_left_out"][1] == catalog["n_voxels"][1]
    assert catalog["gas_flags"][0] == GasFlag.BRIGHT_CONTINUUM
    assert catalog["gas_flags"][1] == GasFlag.BLANK | GasFlag.UNKNOWN_BEHIND
    assert (catalog["n_bright"] == [catalog["n_left_out"][0], 0]).all()
    assert np.isnan(catalog["column_density_peak"][1])


def noisy(result, sigma_kelvin, seed=6400):
    noise = np.random.default_rng(seed).normal(0, sigma_kelvin, SHAPE).astype(np.float32)
    return replace(result, t_on=result.t_on + noise * u.K)


@pytest.mark.parametrize(
    "known", [{"tau": 0.8}, {"p_over_k": 3000 * u.K / u.cm**3, "path_length": 0.5 * u.pc}]
)
def test_noise_makes_gas_no_colder(result, continuum, known):
    """The deepest of many voxels is deep by noise; the mean spectrum is not."""
    parameters = GasParameters(p=0.9, **known)
    still, loud = (
        measure_gas(one, parameters, t_continuum=continuum)[0].catalog[0]
        for one in (result, noisy(result, 3.0))
    )
    assert_allclose(loud["t_spin"].value, still["t_spin"].value, rtol=0.04)
    assert_allclose(loud["column_density_mean"].value, still["column_density_mean"].value, rtol=0.08)


@pytest.mark.parametrize(
    "known",
    [{"t_spin": 30 * u.K}, {"tau": 0.8}, BY_PRESSURE],
)
def test_one_voxel_too_deep_does_not_cost_the_feature(result, continuum, known):
    t_on = result.t_on.copy()
    t_on[12, 5, 5] = 28 * u.K
    parameters = GasParameters(p=0.9, **known)
    row = measure_gas(replace(result, t_on=t_on), parameters, t_continuum=continuum)[0].catalog[0]
    plain = measure_gas(result, parameters, t_continuum=continuum)[0].catalog[0]
    assert (row["gas_flags"], row["n_opaque"]) == (0, 1)
    assert_allclose(row["column_density_mean"].value, plain["column_density_mean"].value, rtol=0.08)


def test_what_is_left_out_is_no_part_of_means_and_not_0(result, continuum):
    bright = continuum.copy()
    bright[3:6] = 30 * u.K
    unknown = np.where(np.arange(SHAPE[1])[:, None] < 6, np.nan, 0.9) * np.ones(SHAPE[1:])
    parameters = GasParameters(p=0.9, t_spin=30 * u.K, distance=DISTANCE)
    whole = measure_gas(result, parameters, t_continuum=continuum)[0].catalog[0]
    for known in ({"t_continuum": bright}, {"t_continuum": continuum, "p": unknown}):
        found, maps = measure_gas(result, parameters, **known)
        row = found.catalog[0]
        assert row["n_left_out"] == row["n_voxels"] / 2
        assert_allclose(row["column_density_mean"].value, whole["column_density_mean"].value, rtol=0.01)
        assert_allclose(row["mass_hi"].value, whole["mass_hi"].value / 2, rtol=0.01)
        assert np.isnan(maps.column_density[4, 4]) and maps.column_density[7, 4] > 0


def test_emission_is_counted_and_is_not_called_blank(gas_result, blocks):
    depth, labels = blocks([-10.0, -20, -10], 4, 2)
    depth[labels == 2] = 8
    depth[1, 0, 0] = 3
    catalog = measure_gas(gas_result(depth, labels, noise=1.0), GasParameters(t_spin=20 * u.K))[0].catalog
    assert_array_equal(catalog["n_left_out"], [1, 48, 0, 0])
    assert_array_equal(catalog["gas_flags"] & GasFlag.NO_ABSORPTION, [0, GasFlag.NO_ABSORPTION, 0, 0])
    assert not (catalog["gas_flags"] & GasFlag.BLANK).any()
    assert_array_equal(np.isnan(catalog["column_density_mean"]), [False, True, False, False])


def test_rows_may_be_in_any_order_but_not_missing(result):
    parameters = GasParameters(tau=0.8)
    there = measure_gas(result, parameters)[0].catalog
    back = measure_gas(replace(result, catalog=result.catalog[::-1]), parameters)[0].catalog
    assert_allclose(back["t_spin"][::-1].value, there["t_spin"].value)
    with pytest.raises(InputError, match="voxels of features that are not in its catalogue"):
        measure_gas(replace(result, catalog=result.catalog[1:]), parameters)


def test_provenance_tells_the_continuum_and_the_share(result, continuum):
    found, _ = measure_gas(result, GasParameters(t_spin=20 * u.K), t_continuum=continuum, p=np.ones(SHAPE))
    assert found.meta["gas"]["t_continuum"] == "a map, 2 to 12 K"
    assert found.meta["gas"]["p"] == "a cube, 1 to 1"


def test_gas_warmer_than_its_linewidth_allows_is_flagged(result, continuum):
    """dT is broader than the optical depth, so that the clouds of 30 and 45 K are well below."""
    catalog = measure_gas(result, GasParameters(p=0.9, t_spin=30 * u.K), t_continuum=continuum)[0].catalog
    widths = catalog["linewidth_intrinsic"].to_value(u.km / u.s)
    assert (widths < catalog["velocity_fwhm"].to_value(u.km / u.s)).all()
    assert_allclose(catalog["t_kinetic_max"].value, 21.86 * widths**2, rtol=1e-3)
    assert ((catalog["gas_flags"] & GasFlag.ABOVE_KINETIC) == 0).all()
    narrow = result.catalog.copy()
    narrow["velocity_fwhm"] = [1.25, 0.4] * u.km / u.s
    catalog = measure_gas(replace(result, catalog=narrow), GasParameters(t_spin=30 * u.K))[0].catalog
    assert catalog["gas_flags"][0] & GasFlag.ABOVE_KINETIC
    # No broader than its channel: nothing is said.
    assert np.isnan(catalog["t_kinetic_max"][1]) and not catalog["gas_flags"][1] & GasFlag.ABOVE_KINETIC


def test_the_warmest_gas_is_that_which_is_opaque(result, continuum):
    catalog = measure_gas(result, GasParameters(p=0.9, t_spin=20 * u.K), t_continuum=continuum)[0].catalog
    warmest = catalog["t_spin_max"]
    for name, kelvin, fine in (("below", -1 * u.K, True), ("above", 1 * u.K, False)):
        parameters = GasParameters(p=0.9, t_spin=warmest + kelvin)
        again = measure_gas(result, parameters, t_continuum=continuum)[0].catalog
        assert (np.isfinite(again["tau_peak"]) == fine).all(), name
        assert (((again["gas_flags"] & GasFlag.TOO_WARM) == 0) == fine).all()


def test_few_atoms_among_molecules_weigh_more_in_all(result):
    parameters = GasParameters(t_spin=20 * u.K, distance=DISTANCE, fraction=0.01)
    catalog = measure_gas(result, parameters)[0].catalog
    assert_allclose(catalog["mass_total"] / catalog["mass_hi"], 199)


def test_no_features_give_no_rows(result):
    none = replace(
        result,
        unabsorbed_kelvin=np.zeros(0, np.float32),
        flags=np.zeros(SHAPE, np.uint8),
        labels=np.zeros(SHAPE, np.int32),
        catalog=result.catalog[:0],
    )
    for known in (
        {"t_spin": 20 * u.K},
        {"tau": 1.0, "spin_per": "sight_line"},
        {"p_over_k": 4000 * u.K / u.cm**3},
        {"p_over_k": 4000 * u.K / u.cm**3, "spin_per": "sight_line"},
        {"p_over_k": 4000 * u.K / u.cm**3, "line": "gaussian"},
    ):
        found, maps = measure_gas(none, GasParameters(**known, distance=DISTANCE))
        assert len(found.catalog) == 0 and "mass_hi_error" in found.catalog.colnames
        assert np.isnan(maps.column_density).all()


def test_columns_say_what_they_are_and_are_read_back(result, tmp_path):
    found, _ = measure_gas(result, GasParameters(t_spin=20 * u.K, distance=DISTANCE))
    assert all(found.catalog[name].info.description for name in found.catalog.colnames)
    again = HISAResult.read(found.write(tmp_path / "out"))
    assert_allclose(again.catalog["mass_hi"].to_value(u.solMass), found.catalog["mass_hi"].value)
    assert again.meta["gas"]["t_spin"] == "20.0 K"


@pytest.mark.parametrize("known", [{}, {"t_spin": 20 * u.K, "tau": 1.0}])
def test_exactly_one_closure_is_needed(known):
    with pytest.raises(ParameterError, match="one of t_spin, tau and p_over_k must be known, got"):
        GasParameters(**known)


def test_pressure_needs_a_length(result):
    with pytest.raises(ParameterError, match="p_over_k needs path_length, or a distance"):
        measure_gas(result, GasParameters(p_over_k=4000 * u.K / u.cm**3))


def test_a_map_of_another_shape_is_refused(result):
    with pytest.raises(InputError, match=r"t_continuum has the shape \(3, 3\), the result"):
        measure_gas(result, GasParameters(t_spin=20 * u.K), t_continuum=np.ones((3, 3)) * u.K)


# --- reading the continuum ------------------------------------------------------------------------


def write_map(path, values, unit="K (Tb)", degenerate=True):
    header = axes().celestial.to_header()
    header["BUNIT"] = unit
    values = values[None, None] if degenerate else values
    fits.PrimaryHDU(values.astype(np.float32), header).writeto(path)
    return path


def test_a_continuum_map_with_degenerate_axes_is_read_in_kelvin(result, continuum, tmp_path):
    path = write_map(tmp_path / "c.fits", continuum.value)
    with pytest.warns(MendWarning, match=r"BUNIT 'K \(Tb\)' taken as K"):
        assert_allclose(read_continuum(path, result).value, continuum.value, rtol=1e-6)


def test_millikelvin_and_the_callers_unit_are_understood(result, continuum, tmp_path):
    path = write_map(tmp_path / "c.fits", continuum.value * 1000, unit="mK", degenerate=False)
    assert_allclose(read_continuum(path, result).value, continuum.value, rtol=1e-6)
    assert_allclose(read_continuum(path, result, unit="K").value, continuum.value * 1000, rtol=1e-6)


def test_pixels_without_any_continuum_are_blank(result, continuum, tmp_path):
    values = continuum.value.copy()
    values[0, :3] = [0, -1, np.nan]
    path = write_map(tmp_path / "c.fits", values, unit="K")
    with pytest.warns(HISAWarning, match="2 pixels are not above 0 K and taken as blank"):
        found = read_continuum(path, result)
    assert np.isnan(found[0, :3]).all() and np.isfinite(found[0, 3:]).all()


def test_a_continuum_that_is_no_temperature_is_refused(result, continuum, tmp_path):
    path = write_map(tmp_path / "c.fits", continuum.value, unit="Jy/beam")
    with pytest.raises(InputError, match="the continuum is in Jy / beam, and its brightness temperature is"):
        read_continuum(path, result)


def test_the_1420_mhz_mosaics_header_is_read(result, shared_data, tmp_path):
    """Real header, made-up brightness: 5.5 K wherever the result lies in the mosaic."""
    header = fits.Header.fromtextfile(shared_data / "headers" / "CGPS_MC2_1420_MHz_I_image.hdr")
    header["NAXIS1"] = header["NAXIS2"] = 64
    header["CRPIX1"] = header["CRPIX2"] = 33
    header["CRVAL1"], header["CRVAL2"] = 139.6, 0.0
    for key in ("DATAMIN", "DATAMAX"):
        header.remove(key, ignore_missing=True)
    path = tmp_path / "mosaic.fits"
    fits.PrimaryHDU(np.full((1, 1, 64, 64), 5.5, np.float32), header).writeto(path)
    pytest.importorskip("reproject")
    with pytest.warns(MendWarning, match="taken as K"):
        found = read_continuum(path, result)
    assert_allclose(found.value, 5.5, rtol=1e-5)
