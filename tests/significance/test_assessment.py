"""Catalogue columns of TS, and all of a run together: tables, files, figure."""

import shutil
from dataclasses import replace
from types import SimpleNamespace

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from numpy.testing import assert_allclose, assert_array_equal

from hisatools import HISAResult, MaskBit
from hisatools.catalog import build_catalog
from hisatools.errors import HISAWarning, InputError, OutputError, ParameterError
from hisatools.features import label_features
from hisatools.significance import Residual, ScanParameters, SignificanceScan
from hisatools.significance import outcome as outcome_module
from hisatools.significance.assessment import DESCRIPTIONS, FITTED, assess_features
from hisatools.significance.global_chance import GlobalChance
from hisatools.significance.outcome import Significance, measure_significance
from hisatools.significance.prior import SpatialPrior
from hisatools.simulate import ModelParameters, simulate_cube

SHAPE = (16, 32, 28)
BANK = ScanParameters(widths=[1, 3] * u.arcmin, linewidths=[2, 4] * u.km / u.s, calibrate=False)
ADDED = ["ts", "ts_prior", "p_local", "p_global", *FITTED]


@pytest.fixture(scope="module")
def model():
    return simulate_cube(ModelParameters(shape=SHAPE, n_pucks=6, n_components=60), seed=104)


@pytest.fixture(scope="module")
def residual(model):
    return Residual.of(model.cube, model.t_unabsorbed, noise=6 * u.K)


@pytest.fixture(scope="module")
def scan(residual):
    return SignificanceScan(BANK).run(residual)


@pytest.fixture(scope="module")
def result(model):
    """What is truly deeper than 8 K and fainter than T_U."""
    t_unabsorbed = model.t_unabsorbed.to_value(u.K)
    mask = (model.delta_t.to_value(u.K) < -8) & (model.cube.kelvin < t_unabsorbed)
    return result_of(mask, model.cube, t_unabsorbed)


def result_of(mask, cube, t_unabsorbed):
    labels, _ = label_features(mask)
    first_pass = mask.astype(np.uint8)
    kelvin = t_unabsorbed[mask].astype(np.float32)
    return HISAResult(
        t_on=cube.kelvin * u.K,
        unabsorbed_kelvin=kelvin,
        flags=mask * np.uint8(MaskBit.SPECTRAL | MaskBit.ACCEPTED),
        labels=labels,
        first_pass=first_pass,
        catalog=build_catalog(cube.kelvin, kelvin, labels, first_pass, cube.wcs),
        wcs=cube.wcs,
    )


@pytest.fixture
def prior(residual):
    probability = np.linspace(0.01, 1, SHAPE[2]) * np.ones(SHAPE[1:])
    return SpatialPrior(probability, residual.wcs)


# --- the columns ----------------------------------------------------------------------------------


def test_columns_are_the_largest_of_each_feature(result, scan, prior):
    chance = GlobalChance(np.linspace(1, 40, 99))
    catalog = assess_features(result, scan, prior=prior, background=chance).catalog
    assert len(catalog) > 3
    with_prior = scan.ts_with(prior)
    for row in catalog:
        inside = result.labels == row["id"]
        assert_allclose(row["ts"], scan.ts[inside].max())
        assert_allclose(row["ts_prior"], with_prior[inside].max())
        assert_allclose(row["p_local"], scan.p_local[inside].min())
        assert_allclose(row["p_global"], (1 + np.sum(chance.ts >= row["ts_prior"])) / 100)
        # The fit's voxel is the hottest of the feature.
        assert np.min(np.abs(scan.amplitude[inside & (scan.ts == row["ts"])] - row["fit_delta_t"])) < 5 * u.K


def test_every_column_has_a_description_and_units(result, scan):
    catalog = assess_features(result, scan).catalog
    assert catalog.colnames == [*result.catalog.colnames, *ADDED]
    assert all(catalog[name].info.description for name in ADDED)
    assert catalog["ts"].info.description == DESCRIPTIONS["ts"]
    assert (catalog["fit_delta_t"].unit, catalog["fit_width"].unit) == (u.K, u.arcmin)
    assert catalog["fit_linewidth"].unit == u.km / u.s


def test_without_prior_and_trials(result, scan):
    assessed = assess_features(result, scan)
    assert_array_equal(assessed.catalog["ts_prior"], assessed.catalog["ts"])
    assert np.isnan(assessed.catalog["p_global"]).all()
    assert assessed.meta["significance"]["prior"] is None
    assert not assessed.meta["significance"]["trials"]
    assert "ts" not in result.catalog.colnames


def test_residual_changes_the_fit_and_not_ts(result, scan, residual):
    one, two = (assess_features(result, scan, residual=part).catalog for part in (None, residual))
    for name in ADDED[:4]:
        assert_array_equal(one[name], two[name])
    assert np.isin(one["fit_width"].value, [1, 3]).all()
    assert_allclose(one["fit_lon"].value, two["fit_lon"].value, atol=0.02)
    assert (one["fit_lon"] != two["fit_lon"]).all()


def test_feature_that_was_not_scanned_has_nan(result, residual):
    scan = SignificanceScan(BANK).run(residual, within=result.labels != 2)
    catalog = assess_features(result, scan).catalog
    outside = catalog["id"] == 2
    for name in ADDED:
        assert np.isnan(u.Quantity(catalog[name])[outside]).all()
    assert np.isfinite(catalog["ts"][~outside]).all()


def test_result_without_features(model, scan):
    empty = result_of(np.zeros(SHAPE, bool), model.cube, model.t_unabsorbed.to_value(u.K))
    catalog = assess_features(empty, scan).catalog
    assert len(catalog) == 0
    assert set(ADDED) <= set(catalog.colnames)


def test_reliability_is_asked_for_its_column(result, scan):
    def assess(given):
        catalog = given.catalog.copy()
        catalog["reliability"] = 0.5
        return replace(given, catalog=catalog)

    assessed = assess_features(result, scan, reliability=SimpleNamespace(assess=assess))
    assert set(assessed.catalog["reliability"]) == {0.5}
    assert "ts" in assessed.catalog.colnames


def test_scan_of_another_cube_is_refused(result, scan):
    part = replace(scan, signal_to_noise=scan.signal_to_noise[1:])
    with pytest.raises(InputError, match="has the shape"):
        assess_features(result, part)
    other = scan.wcs.deepcopy()
    other.wcs.crval[2] += 1000
    with pytest.raises(InputError, match="other velocities"):
        assess_features(result, replace(scan, wcs=other))


def test_prior_on_other_axes_is_refused(result, scan, residual, prior):
    other = residual.wcs.celestial.deepcopy()
    other.wcs.crval += 0.1
    wrong = SpatialPrior(prior.probability, other)
    with pytest.raises(InputError, match="another part of the sky"):
        assess_features(result, scan, prior=wrong)
    with pytest.raises(InputError, match="another part of the sky"):
        measure_significance(residual, scan=SignificanceScan(BANK), prior=wrong, n_trials=0)
    with pytest.raises(InputError, match="of shape"):
        assess_features(result, scan, prior=SpatialPrior(prior.probability[1:], residual.wcs))


# --- all together ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def found(residual, result):
    probability = np.linspace(0.01, 1, SHAPE[2]) * np.ones(SHAPE[1:])
    return measure_significance(
        residual,
        result=result,
        scan=SignificanceScan(BANK),
        prior=SpatialPrior(probability, residual.wcs),
        n_trials=12,
        min_ts=16,
        seed=6420,
    )


def test_trials_give_p_of_peaks_and_features(found):
    assert len(found.trials) == 12
    expected = (1 + np.sum(found.trials["ts_prior"] >= found.peaks["ts_prior"][0])) / 13
    assert_allclose(found.peaks["p_global"][0], expected)
    assert np.isfinite(found.catalog["p_global"]).all()
    assert found.catalog["p_global"].min() >= 1 / 13
    assert found.meta["trials"]["seed"] == 6420


def test_peaks_know_their_feature(found, result):
    for row in found.peaks:
        assert row["feature"] == result.labels[row["v"], row["y"], row["x"]]
    assert (found.peaks["feature"] > 0).any()
    assert (found.peaks["ts_prior"] >= 16).all()


def test_workers_change_nothing(residual, found):
    settings = {"scan": SignificanceScan(BANK), "n_trials": 3, "seed": 6420}
    one, two = (measure_significance(residual, workers=workers, **settings) for workers in (1, 2))
    assert_array_equal(one.ts, two.ts)
    assert_array_equal(one.trials["ts"], two.trials["ts"])
    assert_array_equal(one.peaks["delta_t"], two.peaks["delta_t"])


@pytest.fixture(scope="module")
def written(found, tmp_path_factory):
    return found.write(tmp_path_factory.mktemp("written") / "out")


def test_what_is_written_is_read_again(found, written):
    folder = written
    again = Significance.read(folder)
    for name in ("ts", "ts_prior", "delta_t_kelvin", "template"):
        assert_array_equal(getattr(again, name), getattr(found, name))
    for name in ("peaks", "trials", "catalog"):
        one, two = getattr(again, name), getattr(found, name)
        assert one.colnames == two.colnames
        assert len(one) == len(two)
    assert_allclose(again.peaks["delta_t"].to_value(u.K), found.peaks["delta_t"].to_value(u.K))
    assert again.meta["templates"] == found.meta["templates"]
    header = fits.getheader(folder / "fitted_delta_t.fits")
    assert (header["BUNIT"], header["CTYPE3"]) == ("K", "VRAD")
    assert fits.getheader(folder / "template.fits")["TEMPL001"] == "1 arcmin, 4 km / s"
    assert (folder / "significance.png").stat().st_size > 10_000
    assert (folder / "prior.fits").is_file()
    # Without the prior at hand the figure has two maps.
    assert len(again.plot().subfigs[0].axes) < len(found.plot().subfigs[0].axes)


def test_without_prior_trials_and_result_there_are_fewer_files(residual, tmp_path):
    plain = measure_significance(residual, scan=SignificanceScan(BANK), n_trials=0)
    assert plain.ts_prior is plain.ts
    assert np.isnan(plain.peaks["p_global"]).all()
    folder = plain.write(tmp_path / "out")
    names = {path.name for path in folder.iterdir()}
    assert names == {
        *("ts.fits", "fitted_delta_t.fits", "template.fits", "peaks.ecsv", "provenance.json"),
        "significance.png",
    }
    again = Significance.read(folder)
    assert again.trials is None
    assert again.catalog is None
    assert_array_equal(again.ts_prior, plain.ts)


def test_older_files_go_when_overwritten(written, residual, tmp_path):
    folder = shutil.copytree(written, tmp_path / "out")
    (folder / "note.txt").write_text("mine")
    plain = measure_significance(residual, scan=SignificanceScan(BANK), n_trials=0)
    with pytest.raises(OutputError, match="exists already"):
        plain.write(folder)
    plain.write(folder, overwrite=True)
    assert not (folder / "trials.ecsv").exists()
    assert not (folder / "prior.fits").exists()
    assert (folder / "note.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("ts.fits", None, "ts.fits is missing"),
        ("peaks.ecsv", None, "peaks.ecsv is missing"),
        ("peaks.ecsv", "nothing", "peaks.ecsv is damaged"),
        ("provenance.json", "{", "provenance.json is missing or damaged"),
        ("template.fits", "nothing", "not a FITS file"),
    ],
)
def test_damaged_files_are_named(written, tmp_path, name, content, text):
    folder = shutil.copytree(written, tmp_path / "out")
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_text(content)
    with pytest.raises(InputError, match=text):
        Significance.read(folder)


def test_picture_that_fails_costs_a_warning_only(found, tmp_path, monkeypatch):
    def fail(*_):
        raise ValueError("no fonts")

    monkeypatch.setattr(Significance, "plot", fail)
    with pytest.warns(HISAWarning, match="no fonts"):
        folder = found.write(tmp_path / "out")
    assert (folder / "ts.fits").is_file()
    assert not (folder / "significance.png").exists()


def test_cost_is_told_before_the_trials(residual):
    lines = []
    measure_significance(residual, scan=SignificanceScan(BANK), n_trials=2, report=lines.append)
    assert lines[0].startswith("Scanned in")
    assert "all 2 about" in lines[1]
    assert [outcome_module._text(t) for t in (0.123, 60, 200, 20_000)] == ["0.12 s", "60 s", "3 min", "5.6 h"]


def test_map_smaller_than_every_template_is_refused(residual):
    scan = SignificanceScan(ScanParameters(widths=30 * u.arcmin, linewidths=3 * u.km / u.s))
    with pytest.warns(HISAWarning, match="narrower"), pytest.raises(InputError, match="smaller widths"):
        measure_significance(residual, scan=scan, n_trials=0)


@pytest.mark.parametrize("settings", [{"n_trials": -1}, {"background": "gaussian"}, {"min_ts": -1}])
def test_impossible_arguments_are_refused(residual, settings):
    with pytest.raises(ParameterError):
        measure_significance(residual, scan=SignificanceScan(BANK), **{"n_trials": 0} | settings)
