"""Gas of sight lines and voxels: it adds up to that of the catalogue, and is written with its units."""

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from numpy.testing import assert_allclose

from hisatools.datasets import example_result
from hisatools.physics import GasFlag, GasParameters, delta_t, measure_gas, write_gas

KNOWN = {"distance": 2 * u.kpc, "path_length": 0.6 * u.pc, "fraction": 0.1}
PRESSURE = {"p_over_k": 4000 * u.K / u.cm**3}
VELOCITY = np.arange(-4, 5)


def line(t_spin, tau, t_continuum=6 * u.K):
    depths = tau * np.exp(-4 * np.log(2) * (VELOCITY / 3) ** 2)
    return delta_t(t_spin, depths, 100 * u.K, t_continuum=t_continuum).value


@pytest.fixture(
    scope="module", params=[{"t_spin": 20 * u.K}, PRESSURE, {"spin_per": "sight_line", **PRESSURE}]
)
def measured(request):
    return measure_gas(example_result(), GasParameters(**request.param, **KNOWN), t_continuum=5.5 * u.K)


def test_maps_add_up_to_the_masses_of_the_catalogue(measured):
    found, maps = measured
    inside = found.labels.max(axis=0)
    for name in ("mass_hi", "mass_total"):
        for row in found.catalog:
            own = getattr(maps, name)[inside == row["id"]]
            assert_allclose(np.nansum(own).to_value(u.solMass), row[name].to_value(u.solMass), rtol=1e-9)


def test_voxels_add_up_to_the_maps(measured):
    found, maps = measured
    cube = np.zeros(found.flags.shape)
    cube[found.mask] = np.nan_to_num(maps.voxel_column_density.value)
    known = np.isfinite(maps.column_density)
    assert_allclose(cube.sum(axis=0)[known], maps.column_density[known].value)
    cube[found.mask] = np.nan_to_num(maps.voxel_volume_density.value)
    assert_allclose(cube.sum(axis=0)[known], maps.volume_density[known].value)


def test_of_two_features_on_a_sight_line_columns_add_up_and_densities_do_not(gas_result):
    """Each has its own path length: the map's density is the sum of columns over the sum of lengths."""
    absorbed = np.concatenate([line(20 * u.K, 0.5), line(30 * u.K, 0.8)])
    depth = np.broadcast_to(absorbed[:, None, None], (absorbed.size, 4, 4))
    labels = np.repeat([1, 2], VELOCITY.size)[:, None, None] * np.ones((4, 4), int)
    parameters = GasParameters(t_spin=[20, 30] * u.K, path_length=[0.5, 2] * u.pc)
    found, maps = measure_gas(gas_result(depth, labels), parameters, t_continuum=6 * u.K)
    column = maps.voxel_column_density.reshape(labels.shape).sum(axis=0)
    assert_allclose(column.value, maps.column_density.value)
    assert_allclose(maps.volume_density.value, (column / (2.5 * u.pc)).to_value(u.cm**-3))
    density = maps.voxel_volume_density.reshape(labels.shape)
    assert_allclose(density[: VELOCITY.size].sum(axis=0).value, found.catalog["volume_density"][0].value)
    assert (density.sum(axis=0) > maps.volume_density).all()


def test_density_is_the_column_over_the_path_of_the_feature(measured):
    found, maps = measured
    inside = found.labels.max(axis=0)
    for row in found.catalog:
        here = (inside == row["id"]) & np.isfinite(maps.column_density)
        density = (maps.column_density[here] / row["path_length"]).to_value(u.cm**-3)
        assert_allclose(maps.volume_density[here].value, density)


def test_particles_are_counted_as_in_the_paper(measured):
    """Of M in atoms, M (2 - f) / f in all."""
    _, maps = measured
    known = np.isfinite(maps.mass_hi)
    assert_allclose((maps.mass_total[known] / maps.mass_hi[known]).value, 1.9 / 0.1)


# --- sight lines as clouds ------------------------------------------------------------------------


def test_each_sight_line_has_the_temperature_of_its_own_gas(gas_result):
    """One feature, warm on its left and cold on its right: its mean spectrum belongs to neither."""
    delta = np.zeros((VELOCITY.size, 5, 10))
    delta[:, 1:4, 1:5], delta[:, 1:4, 5:9] = (line(t * u.K, 2.0)[:, None, None] for t in (60, 20))
    result = gas_result(delta, delta < 0)
    each, maps = measure_gas(result, GasParameters(tau=2.0, spin_per="sight_line"), t_continuum=6 * u.K)
    assert_allclose(maps.t_spin[2, 1:5].value, 60, rtol=1e-4)
    assert_allclose(maps.t_spin[2, 5:9].value, 20, rtol=1e-4)
    mean = measure_gas(result, GasParameters(tau=2.0), t_continuum=6 * u.K)[0].catalog
    assert each.catalog["n_opaque"][0] == 0 < mean["n_opaque"][0]
    # Weighted by column, which goes with T_S here.
    assert_allclose(each.catalog["t_spin"][0].value, (60 * 60 + 20 * 20) / 80, rtol=1e-4)


def test_fewer_voxels_are_opaque_where_sight_lines_have_their_own_temperature():
    """The numbers that the documentation states."""
    found = {}
    for spin_per in ("feature", "sight_line"):
        parameters = GasParameters(**PRESSURE, distance=2 * u.kpc, spin_per=spin_per)
        catalog = measure_gas(example_result(), parameters)[0].catalog
        found[spin_per] = int(catalog["n_opaque"].sum()), int(catalog["n_voxels"].sum())
    assert found["feature"][0] > 0.1 * found["feature"][1]
    assert found["sight_line"][0] == 0


def test_noisy_sight_lines_are_flagged_and_counted(gas_result):
    delta = np.zeros((VELOCITY.size, 5, 10))
    delta[:, 1:4, 1:5], delta[:, 1:4, 5:9] = (line(30 * u.K, tau)[:, None, None] for tau in (1.0, 0.02))
    result = gas_result(delta, delta < 0, noise=2.0)
    found, maps = measure_gas(
        result, GasParameters(**PRESSURE, path_length=1 * u.pc, spin_per="sight_line"), t_continuum=6 * u.K
    )
    noisy = (maps.flags & GasFlag.NOISY) > 0
    assert noisy[1:4, 5:9].all() and not noisy[1:4, 1:5].any()
    assert found.catalog["n_noisy"][0] == 12
    assert found.catalog["gas_flags"][0] == 0


def test_a_line_as_wide_as_it_is_tells_the_same_as_a_gaussian(gas_result, blocks):
    """For a thin Gaussian line: its width is that of the optical depth."""
    result = gas_result(*blocks(line(60 * u.K, 0.05), 3, 1))
    spins = [
        measure_gas(
            result,
            GasParameters(p_over_k=200 * u.K / u.cm**3, path_length=1 * u.pc, line=shape),
            t_continuum=6 * u.K,
        )[0]
        .catalog["t_spin"][0]
        .value
        for shape in ("profile", "gaussian")
    ]
    assert_allclose(spins[1], spins[0], rtol=0.05)


def test_a_reversed_velocity_axis_changes_nothing(gas_result, blocks):
    delta, labels = blocks(line(30 * u.K, 1.0) * (1 + 0.05 * VELOCITY), 4, 2)
    for options in ({}, {"spin_per": "sight_line"}):
        parameters = GasParameters(**PRESSURE, path_length=1 * u.pc, **options)
        there, back = (
            measure_gas(gas_result(one, other, noise=1.0), parameters)[0].catalog
            for one, other in ((delta, labels), (delta[::-1], labels[::-1]))
        )
        for name in ("t_spin", "t_spin_error", "column_density_peak", "volume_density_error"):
            assert_allclose(back[name].value, there[name].value, rtol=1e-6)


def test_emission_in_place_of_absorption_gives_no_gas(gas_result):
    """A feature of which all is brighter than T_U, as of a T_U that is too low."""
    delta = np.zeros((5, 5, 5))
    delta[2, 1:4, 1:4] = 10
    result = gas_result(delta, delta != 0, noise=1.0)
    for known in ({"t_spin": 20 * u.K}, {"tau": 1.0}, PRESSURE):
        found, maps = measure_gas(result, GasParameters(**known, **KNOWN))
        row = found.catalog[0]
        assert row["gas_flags"] & GasFlag.NO_ABSORPTION
        for name in ("t_spin", "tau_peak", "column_density_mean", "mass_hi", "mass_hi_error"):
            assert np.isnan(row[name])
        assert np.isnan(maps.column_density).all()


# --- files ----------------------------------------------------------------------------------------


def test_maps_and_cubes_are_written_with_their_units(measured, tmp_path):
    found, maps = measured
    folder = write_gas(found, maps, tmp_path / "gas", cubes=True)
    units = {
        "column_density": u.cm**-2,
        "volume_density": u.cm**-3,
        "mass_hi": u.solMass,
        "mass_total": u.solMass,
        "t_spin": u.K,
        "voxel_column_density": u.cm**-2,
        "voxel_volume_density": u.cm**-3,
    }
    for name, unit in units.items():
        with fits.open(folder / f"{name}.fits") as (hdu, *_):
            assert u.Unit(hdu.header["BUNIT"]) == unit
            data, values = hdu.data, getattr(maps, name).value
        if name.startswith("voxel"):
            assert np.isnan(data[~found.mask]).all()
            data = data[found.mask]
        assert_allclose(data, values, rtol=1e-6)
    assert_allclose(fits.getdata(folder / "tau.fits")[found.mask], maps.tau, rtol=1e-6)
    assert (fits.getdata(folder / "gas_flags.fits") == maps.flags).all()


def test_what_is_not_known_is_not_written_and_an_older_file_goes(tmp_path):
    result = example_result()
    folder = write_gas(
        *measure_gas(result, GasParameters(t_spin=20 * u.K, **KNOWN)), tmp_path / "gas", cubes=True
    )
    assert (folder / "mass_hi.fits").exists() and (folder / "tau.fits").exists()
    write_gas(*measure_gas(result, GasParameters(t_spin=20 * u.K)), folder, overwrite=True)
    names = {path.name for path in folder.glob("*.fits")}
    assert names == {"column_density.fits", "t_spin.fits", "gas_flags.fits"}
