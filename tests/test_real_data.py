"""Real survey data: the absorption that is known is found, and where none can be, none is."""

import json
import warnings

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from hisatools import ExtractionParameters, HISACube, HISAExtractor, HISAResult
from hisatools.cli import main
from hisatools.datasets import load_lab_profiles
from hisatools.errors import MendWarning


def check_riegel_crutcher_cloud(catalog):
    """At +7 km/s, at least 35 K deep in emission of at least 80 K."""
    velocity = catalog["velocity"].to_value(u.km / u.s)
    (row,) = catalog[np.abs(velocity - 7) <= 1.5]
    assert row["delta_t_peak"] <= -35 * u.K
    assert row["t_unabsorbed_mean"] >= 80 * u.K


# --- LAB: the Riegel-Crutcher cloud ------------------------------------------------------------


@pytest.mark.parametrize("column", ["t_l5", "t_l10"])
def test_riegel_crutcher_cloud_in_the_table_that_ships(column):
    lab = load_lab_profiles()
    result = HISAExtractor().run(HISACube.from_spectrum(lab[column], lab["velocity"]))
    check_riegel_crutcher_cloud(result.catalog)
    at_seven = np.argmin(np.abs(result.velocity.value - 7))
    assert result.delta_t[at_seven, 0, 0] <= -35 * u.K
    assert result.t_unabsorbed[at_seven, 0, 0] >= 80 * u.K


@pytest.mark.parametrize("column", ["T_l5_K", "T_l10_K"])
def test_riegel_crutcher_cloud_in_the_survey_file(column, shared_data):
    lab = Table.read(shared_data / "spectra" / "lab_b0_profiles.csv", format="ascii.csv", comment="#")
    spectrum = HISACube.from_spectrum(
        np.array(lab[column], float) * u.K, np.array(lab["v_lsr_kms"], float) * u.km / u.s
    )
    check_riegel_crutcher_cloud(HISAExtractor().run(spectrum).catalog)


@pytest.mark.parametrize("column", ["t_l5", "t_l10"])
def test_riegel_crutcher_cloud_in_every_channel_order(column):
    lab = load_lab_profiles()[::-1]
    result = HISAExtractor().run(HISACube.from_spectrum(lab[column], lab["velocity"]))
    check_riegel_crutcher_cloud(result.catalog)


# --- GNOMES: spectra towards Taurus and the anticentre -----------------------------------------


def extract_gnomes(shared_data, source, seed):
    """Extract with survey-like noise of 1 K added, and T_crit' of 30 K: these sky lines are faint."""
    with fits.open(shared_data / "spectra" / "gnomes" / f"{source}.fits", memmap=False) as hdus:
        brightness, velocity = (np.array(hdus[1].data[name], float) for name in ("TB", "vlsr_TB"))
    known = np.isfinite(brightness) & np.isfinite(velocity)
    brightness = brightness[known] + np.random.default_rng(seed).standard_normal(known.sum())
    cube = HISACube.from_spectrum(brightness * u.K, velocity[known] * u.km / u.s)
    parameters = ExtractionParameters(critical_brightness=30 * u.K)
    return HISAExtractor(parameters=parameters).run(cube)


@pytest.mark.parametrize("seed", range(5))
def test_both_dips_towards_4c_23_14_are_found(seed, shared_data):
    catalog = extract_gnomes(shared_data, "4C+23.14", seed).catalog
    for velocity in (3.7, 6.8):
        near = np.abs(catalog["velocity"].to_value(u.km / u.s) - velocity) <= 1
        assert near.sum() == 1
        assert (catalog["delta_t_peak"][near] < -4 * u.K).all()


# --- GHIGLS: high latitude, too faint to absorb ------------------------------------------------


def test_high_latitude_field_ends_well_and_says_why_nothing_is_there(shared_data, tmp_path, capsys):
    path = shared_data / "cubes" / "GHIGLS_DFN_Tb.fits"
    out = tmp_path / "out"
    assert main(["extract", str(path), "--output", str(out)]) == 0
    said = capsys.readouterr()
    assert "velocities +214.7 to -290.1 km/s" in said.out
    assert "Found no features: 0 voxels accepted" in said.out
    assert "T_U is below T_crit = 70 K everywhere" in said.out
    # What was mended is said; nothing else is.
    assert all(line.startswith("hisatools: warning: ") for line in said.err.splitlines())

    result = HISAResult.read(out)
    assert len(result.catalog) == 0
    assert not result.mask.any()
    finite = np.isfinite(result.delta_t.value)
    assert finite.any()
    assert not result.delta_t.value[finite].any()
    provenance = json.loads((out / "provenance.json").read_text())
    assert any("T_crit" in remark for remark in provenance["remarks"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MendWarning)
        cube = HISACube.read(path)
    np.testing.assert_array_equal(result.t_on.value, cube.kelvin)
