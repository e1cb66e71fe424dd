"""``hisatools gas``: what it writes and says, and what it refuses."""

import json

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable
from numpy.testing import assert_allclose

from hisatools import HISACube, HISAExtractor
from hisatools.cli import main
from hisatools.simulate import ModelParameters, simulate_cube


@pytest.fixture(scope="module")
def extracted(tmp_path_factory):
    """A result with a few features, as a folder."""
    parameters = ModelParameters(shape=(32, 96, 96), n_pucks=20, n_components=100)
    with pytest.warns(UserWarning, match="over a third of the axis"):
        result = HISAExtractor(n_passes=1).run(simulate_cube(parameters, seed=3).cube)
    assert len(result.catalog)
    return result.write(tmp_path_factory.mktemp("result") / "out")


def gas(extracted, out, *options):
    return main(["gas", str(extracted), "--output", str(out), *options])


def test_catalogue_and_map_are_written_and_said(extracted, tmp_path, capsys):
    out = tmp_path / "gas"
    options = ["--p-over-k", "4000", "--distance", "2", "--p", "0.9", "--continuum", "5.5"]
    assert gas(extracted, out, *options) == 0
    said = capsys.readouterr().out
    assert "Gas of " in said and "solar masses" in said and "N (cm^-2)" in said
    catalog = QTable.read(out / "catalog.ecsv")
    largest = np.nanmax(catalog["column_density_peak"].value)
    with fits.open(out / "column_density.fits") as hdus:
        assert u.Unit(hdus[0].header["BUNIT"]) == u.cm**-2
        assert_allclose(np.nanmax(hdus[0].data), largest, rtol=1e-3)
    assert json.loads((out / "provenance.json").read_text())["gas"]["distance"] == "2000.0 pc"
    assert (out / "column_density.png").stat().st_size > 1000


def test_voxels_that_do_not_count_are_said(extracted, tmp_path, capsys):
    assert gas(extracted, tmp_path / "warm", "--t-spin", "60", "--p", "0.9") == 0
    said = capsys.readouterr().out
    opaque = int(QTable.read(tmp_path / "warm" / "catalog.ecsv")["n_opaque"].sum())
    assert (f"{opaque} of " in said) == (opaque > 0)
    assert gas(extracted, tmp_path / "bright", "--t-spin", "20", "--continuum", "25") == 0
    assert "voxels left out: too much continuum behind them" in capsys.readouterr().out


def test_units_may_be_given_and_defaults_are_said_in_the_help(extracted, tmp_path):
    for name, options in {
        "one": ["--t-spin", "20", "--distance", "2"],
        "other": ["--t-spin", "20000 mK", "--distance", "2000 pc", "--continuum", "0 mK"],
    }.items():
        assert gas(extracted, tmp_path / name, *options, "--quiet") == 0
    one, other = (QTable.read(tmp_path / name / "catalog.ecsv") for name in ("one", "other"))
    assert_allclose(one["mass_hi"].value, other["mass_hi"].value)


def test_uncertainties_columns_and_cubes(extracted, tmp_path, capsys):
    """Distances that are given, of a column that is named, and of the catalogue's own."""
    from hisatools import HISAResult

    result = HISAResult.read(extracted)
    result.catalog["distance"] = np.full(len(result.catalog), 2.0) * u.kpc
    own = result.write(tmp_path / "result")
    errors = [
        "--t-spin-error",
        "4",
        "--p-error",
        "0.1",
        "--distance-error",
        "200 pc",
        "--continuum-error",
        "1",
    ]
    for name, options in {
        "given": ["--distance", "2"],
        "named": ["--distance", "distance"],
        "own": [],
    }.items():
        assert gas(own, tmp_path / name, "--t-spin", "20", "--cubes", *errors, *options) == 0
        assert ("distance: the catalogue's column distance" in capsys.readouterr().out) == (name != "given")
    one, two, three = (QTable.read(tmp_path / name / "catalog.ecsv") for name in ("given", "named", "own"))
    for name in ("mass_hi", "mass_hi_error", "t_spin_error"):
        assert (one[name].value > 0).all()
        assert_allclose(two[name].value, one[name].value)
        assert_allclose(three[name].value, one[name].value)
    assert fits.getdata(tmp_path / "own" / "tau.fits").shape == result.flags.shape
    assert fits.getheader(tmp_path / "own" / "mass_hi.fits")["BUNIT"] == "solMass"


def test_sight_lines_may_have_their_own_temperature(extracted, tmp_path, capsys):
    options = ["--p-over-k", "4000", "--path-length", "1", "--spin-per", "sight_line", "--continuum", "5.5"]
    assert gas(extracted, tmp_path / "gas", *options) == 0
    assert "sight lines with a continuum above 20.0 K are left out" in capsys.readouterr().out
    spins = fits.getdata(tmp_path / "gas" / "t_spin.fits")
    assert np.unique(spins[np.isfinite(spins)]).size > 5


def test_a_continuum_map_is_read(extracted, tmp_path):
    with fits.open(extracted / "t_unabsorbed.fits") as hdus:
        n_y, n_x = hdus[0].data.shape[1:]
    from hisatools import HISAResult

    header = HISAResult.read(extracted).wcs.celestial.to_header()
    header["BUNIT"] = "K"
    fits.PrimaryHDU(np.full((n_y, n_x), 5.5, np.float32), header).writeto(tmp_path / "c.fits")
    for name, continuum in (("map", tmp_path / "c.fits"), ("number", "5.5")):
        options = ["--t-spin", "20", "--continuum", str(continuum), "--quiet"]
        assert gas(extracted, tmp_path / name, *options) == 0
    one, other = (QTable.read(tmp_path / name / "catalog.ecsv") for name in ("map", "number"))
    assert_allclose(one["tau_peak"], other["tau_peak"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--t-spin", "much"], "--t-spin: 'much' is neither a number nor a number with a unit"),
        (["--t-spin", "20 km"], "t_spin needs a unit of K, got 20"),
        (["--t-spin", "-3"], "t_spin must be finite and above 0 K, got -3 K"),
        (["--t-spin", "far"], "'far' is neither a number nor a number with a unit, and no column of the"),
        (["--t-spin", "20", "--max-continuum", "far"], "--max-continuum: 'far' is neither a number nor"),
        (["--t-spin", "20", "--continuum-error", "far"], "error: --continuum-error: 'far' is neither"),
        (["--t-spin", "20", "--spin-per", "sight_line"], "t_spin gives it; leave one of them out"),
        (["--t-spin", "20", "--tau-error", "0.1"], "tau_error is given without tau; give both"),
        (["--t-spin", "20", "--p-error", "-1"], "p_error must be finite and at least 0, got -1"),
        (["--t-spin", "20", "--distance", "velocity"], "the catalogue needs a unit of pc, and has km"),
        (["--tau", "0"], "tau must be finite and above 0, got 0"),
        (["--p-over-k", "4000"], "p_over_k needs path_length, or a distance"),
        (["--t-spin", "20", "--p", "1.2"], "p must be at most 1, got 1.2"),
        (["--t-spin", "20", "--continuum", "none.fits"], "none.fits"),
        (["--t-spin", "20", "--continuum=-5"], "--continuum must be finite and at least 0 K, got -5 K"),
        (["--t-spin", "20", "--continuum", "inf"], "--continuum must be finite"),
    ],
)
def test_bad_argument_is_one_line_and_writes_nothing(options, message, extracted, tmp_path, capsys):
    assert gas(extracted, tmp_path / "gas", *options) == 1
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1
    assert not (tmp_path / "gas").exists()


def test_the_result_is_never_written_over(extracted, capsys):
    assert gas(extracted, extracted, "--t-spin", "20", "--overwrite") == 1
    assert "the input lies in the output folder" in capsys.readouterr().err


def test_gas_of_no_features_is_said(tmp_path, capsys):
    noise = np.random.default_rng(201).normal(0, 1, 128)
    cube = HISACube.from_spectrum(noise * u.K, np.arange(128) * 0.8 * u.km / u.s)
    out = HISAExtractor(n_passes=1).run(cube).write(tmp_path / "out")
    assert gas(out, tmp_path / "gas", "--t-spin", "20") == 0
    assert "The result has no features" in capsys.readouterr().out
