"""The page shows what the result holds, loads nothing, and keeps the text of a header as text."""

import base64
import io
import re
from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
import tomli_w
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import MaskedColumn
from astropy.utils.masked import Masked
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

from hisatools import HISACube, HISAResult
from hisatools.cli import main
from hisatools.errors import BackendUnavailableError, InputError, OutputError, ParameterError
from hisatools.report import catalogue, channels, facts, page, write_report

from .conftest import SHAPE, Page, make_result

pytest.importorskip("jinja2", reason="the extra report is not installed")
pytest.importorskip("itables", reason="the extra report is not installed")
pytest.importorskip("plotly", reason="the extra report is not installed")

ASSETS = page.resources.files("hisatools.report") / "assets"


@pytest.fixture(scope="module")
def parsed(result, tmp_path_factory):
    """The page of the usual result, which tests only read."""
    return Page(write_report(result, tmp_path_factory.mktemp("report") / "report.html"))


def page_of(result, tmp_path, **settings):
    return Page(write_report(result, tmp_path / "report.html", **settings))


def decoded(text):
    """Levels of an embedded map, the first row of the cube first."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("L"))[::-1].astype(int)


# --- the whole page ---------------------------------------------------------------------------


def test_the_page_is_whole_and_its_contents_lead_somewhere(parsed):
    assert parsed.open == []
    ids = parsed.values("id")
    assert len(ids) == len(set(ids))
    links = [link for link in parsed.values("href") if link.startswith("#") and "=" not in link]
    assert len(links) >= 9
    assert {link[1:] for link in links} <= set(ids)
    (html,) = parsed.all("html")
    assert html["lang"] == "en"
    assert len(parsed.all("h1")) == len(parsed.all("main")) == len(parsed.all("nav")) == 1


def test_pictures_and_controls_have_names(parsed):
    assert all("alt" in image for image in parsed.all("img"))
    assert all("aria-label" in picture for picture in parsed.all("svg"))
    labelled = {label["for"] for label in parsed.all("label") if "for" in label}
    assert all(field["id"] in labelled for field in parsed.all("input") if field["type"] == "range")
    headings = [cell for cell in parsed.all("th")]
    assert headings
    assert all(cell["scope"] in ("row", "col") for cell in headings)


def test_nothing_is_loaded_from_anywhere(parsed):
    for source in parsed.values("src"):
        assert source.startswith("data:")
    for address in parsed.values("href"):
        assert address.startswith(("#", "data:"))
    styles = " ".join(parsed.styles)
    assert "@import" not in styles
    assert all(address.startswith("data:") for address in re.findall(r"url\(['\"]?([^)]{0,40})", styles))
    own = " ".join(
        (ASSETS / name).read_text(encoding="utf-8")
        for name in ("report.js", "maps.js", "spectra.js", "table.js")
    )
    assert not re.search(
        r"fetch\(|XMLHttpRequest|WebSocket|sendBeacon|https?:(?!//www\.w3\.org/2000/svg)", own
    )


def test_the_browser_is_told_to_load_nothing_and_to_run_these_scripts_only(parsed):
    (policy,) = [meta["content"] for meta in parsed.all("meta") if meta.get("http-equiv")]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-inline" not in policy.partition("script-src")[2].partition(";")[0]
    assert "http" not in policy
    assert not any(name.startswith("on") for _, attributes in parsed.elements for name in attributes)


def test_the_same_result_gives_the_same_bytes(result, tmp_path):
    pages = [write_report(result, tmp_path / f"{n}.html").read_bytes() for n in range(2)]
    assert pages[0] == pages[1]


def test_text_of_the_input_stays_text(tmp_path):
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
    about = {"object": evil, "path": f"/data/{evil}.fits", "{{ 7 * 7 }}": "{% raw %}"}
    meta = {"input": about, "mends": [evil], "remarks": [evil], "parameters": {evil: {evil: evil}}}
    result = make_result(n_features=2, meta=meta)
    result.catalog["name"] = [evil, '"&\u2028'] + [str(name) for name in result.catalog["name"][2:]]
    parsed = page_of(result, tmp_path)
    usual = {"application/json", "importmap", "module", None}
    assert len(parsed.all("script")) == len(usual)
    assert {script.get("type") for script in parsed.all("script")} == usual
    assert not any("onerror" in attributes for _, attributes in parsed.elements)
    assert evil in parsed.text
    assert "{{ 7 * 7 }}" in parsed.text
    assert parsed.data["features"][0]["name"] == evil


# --- what it shows ----------------------------------------------------------------------------


def test_maps_are_those_of_the_result_but_for_rounding(result, parsed):
    maps = parsed.data["maps"]
    assert maps["factor"] == 1
    for channel, shown in enumerate(maps["channels"]):
        for name in ("t_on", "delta_t"):
            scale = maps[name]
            kelvin = result.plane_kelvin(name, channel)
            if shown[name] is None:
                assert not kelvin.any()
                continue
            level = decoded(shown[name])
            step = (scale["high"] - scale["low"]) / (scale["levels"] - 1)
            value = np.where(level > 0, scale["low"] + (level - 1) * step, 0)
            assert_allclose(value, np.clip(kelvin, scale["low"], scale["high"]), atol=0.51 * step)
        flags = np.zeros(SHAPE[1:], int) if shown["flags"] is None else decoded(shown["flags"])
        assert_array_equal(flags, result.flags[channel])
        assert shown["accepted"] == np.count_nonzero(result.mask[channel])


def test_spectra_are_those_of_the_deepest_voxels(result, parsed):
    features = parsed.data["features"]
    assert [feature["name"] for feature in features] == list(result.catalog["name"])
    for feature, row in zip(features, result.catalog, strict=True):
        channel, y, x = feature["place"]
        assert result.labels[channel, y, x] == row["id"]
        assert result.delta_t[channel, y, x] == row["delta_t_peak"]
        spectrum = feature["spectrum"]
        assert_allclose(spectrum["t_on"], result.t_on[:, y, x].value, atol=0.006)
        assert_array_equal(spectrum["channels"], np.flatnonzero(result.mask[:, y, x]))
        expected = result.t_unabsorbed[spectrum["channels"], y, x].value
        assert_allclose(spectrum["t_unabsorbed"], expected, atol=0.006)
        assert spectrum["sigma"] == [2.0] * len(expected)


@pytest.mark.parametrize("rows", [[4, 0, 2], slice(0, 3), slice(27, 30), slice(None, None, -1)])
def test_features_of_a_cut_or_sorted_catalogue_are_shown_as_themselves(result, rows):
    chosen = replace(result, catalog=result.catalog[rows])
    shown = catalogue.features(chosen)
    assert [feature["id"] for feature in shown] == list(chosen.catalog["id"])
    for feature, row in zip(shown, chosen.catalog, strict=True):
        place = tuple(feature["place"])
        assert result.labels[place] == row["id"]
        assert result.delta_t[place] == row["delta_t_peak"]


def test_outlines_go_about_the_feature(result, parsed):
    feature = parsed.data["features"][0]
    line = np.reshape(feature["outlines"][0], (-1, 2))
    _, _, y0, y1, x0, x1 = feature["box"]
    assert_allclose([line.min(axis=0), line.max(axis=0)], [[x0 - 0.5, y0 - 0.5], [x1 + 0.5, y1 + 0.5]])


def test_positions_do_not_jump_where_longitude_starts_anew(parsed):
    lon = np.array(parsed.data["maps"]["sky"]["lon"])
    assert lon.max() > 0.2 > -0.02 > lon.min()  # the field lies across l = 0
    assert np.abs(np.diff(lon, axis=1)).max() < 0.02


def test_the_table_holds_all_features_with_links(result, parsed):
    links = [link for link in parsed.values("href") if link.startswith("#feature=")]
    assert links == [f"#feature={row['id']}" for row in result.catalog]
    assert "All 30 features of the result are in the table" in parsed.text
    assert all(str(name) in parsed.text for name in result.catalog["name"])


def test_columns_are_in_the_units_of_their_headings(result):
    names = ("lon", "delta_t_peak", "delta_t_peak_error", "velocity", "solid_angle")
    catalog = result.catalog.copy()
    for name, unit in zip(names, ("rad", "mK", "mK", "m/s", "deg2"), strict=True):
        catalog[name] = catalog[name].to(unit)
    catalog["t_unabsorbed_mean"] = catalog["t_unabsorbed_mean"].value * u.km
    shown = catalogue.table(replace(result, catalog=catalog))
    usual = catalogue.table(result)
    titles = [column["title"] for column in usual["columns"]]
    left_out = titles.index("T<sub>U</sub> (K)")
    assert [column["title"] for column in shown["columns"]] == titles[:left_out] + titles[left_out + 1 :]
    for row, other in zip(shown["rows"], usual["rows"], strict=True):
        assert row["cells"] == other["cells"][:left_out] + other["cells"][left_out + 1 :]
    # Errors in another unit than the depths do not change the order.
    catalog["delta_t_peak_error"][::2] *= 3
    in_kelvin = catalog.copy()
    in_kelvin["delta_t_peak_error"] = catalog["delta_t_peak_error"].to(u.K)
    assert_array_equal(catalogue.rank(catalog), catalogue.rank(in_kelvin))


@pytest.mark.parametrize("kind", [MaskedColumn, Masked])
def test_masked_values_are_not_known(tmp_path, kind):
    result = make_result(n_features=5)
    result.catalog["reliability"] = kind([0.95, 0.5, 0.2, 0.99, 0.97], mask=[0, 0, 0, 1, 1])
    error = result.catalog["delta_t_peak_error"]
    result.catalog["delta_t_peak_error"] = Masked(error, mask=[0, 0, 0, 0, 1])
    result.catalog["sky"] = SkyCoord(result.catalog["lon"], result.catalog["lat"], frame="galactic")
    parsed = page_of(result, tmp_path)
    assert "Reliability : known for 3 of 5 features, median 0.50; 1 at 0.9 or above" in parsed.text
    shown = catalogue.table(result)
    titles = [column["title"] for column in shown["columns"]]
    cells = [row["cells"][titles.index("Reliability")] for row in shown["rows"]]
    assert cells == ["0.95", "0.50", "0.20", "", ""]
    assert [row["cells"][titles.index("± (K)")] for row in shown["rows"]] == ["4.5"] * 4 + [""]
    place = result.catalog.colnames.index("reliability")
    columns = [feature["columns"][place] for feature in parsed.data["features"]]
    assert columns == ["0.95", "0.5", "0.2", "", ""]
    # By depth, as one error is not known.
    assert_array_equal(catalogue.rank(result.catalog), range(5))


def test_negative_numbers_of_the_input_have_minus_signs(parsed):
    assert "\N{MINUS SIGN}20.0 to \N{MINUS SIGN}29.1 km/s" in parsed.text
    assert "\N{MINUS SIGN}20.0 km/s \N{MINUS SIGN}29.1 km/s" in parsed.text  # ends of the chart of channels
    assert (
        facts.minus_signs("2020-01-02 -1.5 to -.5, a-1")
        == "2020-01-02 \N{MINUS SIGN}1.5 to \N{MINUS SIGN}.5, a-1"
    )


def test_input_mends_parameters_passes_and_noise_are_told(parsed):
    for text in (
        "Field 1",
        "/data/field.fits",
        "no beam: one was assumed",
        "clean_fwhm 8.0 km / s",
        "Sha256 abc",
    ):
        assert text in parsed.text
    assert "1 900 800 750 950 720 96 % 720" in parsed.text
    assert "the noise that the searches used" in parsed.text
    assert "Median 4 K" in parsed.text
    # not cleaned, fraction, noise, limit
    assert "1 spectral 2239 1120 2239 1 1 2237 1" in parsed.text


def test_reliability_is_told_where_it_is_known(tmp_path):
    result = make_result(n_features=4)
    result.catalog["reliability"] = [1.0, 0.95, 0.2, np.nan]
    result.catalog["completeness"] = [0.5, 0.5, 0.5, np.nan]
    fraction = np.where(result.mask, np.float32(0.75), np.float32(np.nan))
    fraction[result.labels == 4] = np.nan
    meta = result.meta | {"performance": {"n_models": 8}}
    parsed = page_of(replace(result, true_fraction=fraction, meta=meta), tmp_path)
    assert "performance model of 8 cubes" in parsed.text
    assert "Reliability : known for 3 of 4 features, median 0.95; 2 at 0.9 or above" in parsed.text
    assert "known for 72 of 96 accepted voxels; 75 % of these" in parsed.text


# --- what is missing --------------------------------------------------------------------------


def test_what_is_not_known_is_said(tmp_path):
    result = replace(
        make_result(n_features=2, shape=(48, *SHAPE[1:]), recorded=False, meta={"parameters": {}}),
        sigma_unabsorbed_kelvin=None,
        sigma_delta_kelvin=None,
        beam=None,
    )
    for name in ("delta_t_peak_error", "absorption_integral_error"):
        result.catalog[name] = np.nan * result.catalog[name].unit
    del result.meta["input"], result.meta["mends"]
    parsed = page_of(result, tmp_path)
    assert "the result does not record its input" in parsed.text
    assert "Not known. Nothing on this page says how likely" in parsed.text
    assert "Not known. The result has no searches.fits" in parsed.text
    assert "the result does not record its passes" in parsed.text
    assert "measured for this page" in parsed.text
    assert parsed.data["features"][0]["spectrum"]["sigma"] == [None, None]


def test_an_empty_catalogue_has_a_page(tmp_path):
    parsed = page_of(make_result(n_features=0, meta={"remarks": ["too faint everywhere"]}), tmp_path)
    assert "No absorption was accepted." in parsed.text
    assert "Too faint everywhere." in parsed.text
    assert "The catalogue is empty" in parsed.text
    (only,) = parsed.data["features"]
    assert (only["id"], only["spectrum"]["channels"]) == (0, [])


def test_one_sight_line_has_a_page_without_maps(tmp_path):
    random = np.random.default_rng(3)
    cube = HISACube.from_spectrum(random.normal(80, 1, 60) * u.K, np.arange(60) * u.km / u.s)
    flags = np.zeros(cube.shape, np.uint8)
    empty = make_result(n_features=0).catalog
    result = HISAResult(
        cube.data,
        np.zeros(0, "f4"),
        flags,
        flags.astype("i4"),
        flags,
        empty,
        cube.wcs,
        meta={"input": cube.meta},
    )
    parsed = page_of(result, tmp_path)
    assert parsed.data["maps"] is None
    assert "maps" not in parsed.values("id")
    assert len(parsed.data["features"][0]["spectrum"]["t_on"]) == 60
    assert "position not known" in parsed.data["features"][0]["position"]


def test_blank_borders_stay_blank(tmp_path):
    result = make_result(blank=6)
    maps = page_of(result, tmp_path).data["maps"]
    blank = np.isnan(result.t_on[0].value)
    assert blank.any()
    assert_array_equal(decoded(maps["channels"][0]["t_on"]) == 0, blank)


# --- bounds -----------------------------------------------------------------------------------


def test_large_maps_are_averaged_and_the_page_says_so(result, tmp_path, monkeypatch):
    monkeypatch.setattr(channels, "SIDE", 30)
    parsed = page_of(result, tmp_path)
    maps = parsed.data["maps"]
    assert (maps["factor"], maps["map"]) == (2, [20, 28])
    assert "means of 2 \N{MULTIPLICATION SIGN} 2 pixels" in parsed.text
    flags = decoded(maps["channels"][0]["flags"])
    assert flags[-1, -1] == 1  # a block has the marks that any of its pixels has


def test_maps_shrink_until_they_fit(result, tmp_path, monkeypatch):
    monkeypatch.setattr(channels, "MAP_BYTES", 5000)
    maps = page_of(result, tmp_path).data["maps"]
    size = sum(len(shown[name] or "") for shown in maps["channels"] for name in ("t_on", "delta_t", "flags"))
    assert maps["factor"] > 2
    assert size * 3 / 4 < 6000


def test_of_many_features_the_most_significant_are_kept(result, tmp_path, monkeypatch):
    monkeypatch.setattr(catalogue.table, "__defaults__", (10,))
    monkeypatch.setattr(catalogue.features, "__defaults__", (10, 3))
    parsed = page_of(result, tmp_path)
    assert "holds the 10 most significant of 30 features" in parsed.text
    assert "Spectra are kept for the 3 most significant" in parsed.text
    features = parsed.data["features"]
    assert [feature["id"] for feature in features] == list(range(1, 11))
    assert ["spectrum" in feature for feature in features] == [True] * 3 + [False] * 7


# --- files ------------------------------------------------------------------------------------


def test_an_older_page_is_replaced_only_on_demand(result, tmp_path):
    path = tmp_path / "report.html"
    path.write_text("older")
    with pytest.raises(OutputError, match="exists already"):
        write_report(result, path)
    assert path.read_text() == "older"
    result.write_report(path, overwrite=True)
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_a_failure_leaves_nothing_behind(result, tmp_path, monkeypatch):
    monkeypatch.setattr(page.searches, "loops", lambda result: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_report(result, tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_a_page_is_called_one(result, tmp_path):
    with pytest.raises(ParameterError, match=r"ends in \.html"):
        write_report(result, tmp_path / "catalog.ecsv", overwrite=True)


def test_a_missing_package_is_one_clear_error(result, tmp_path, monkeypatch):
    page._assets.cache_clear()
    monkeypatch.setattr(page.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BackendUnavailableError, match=r'pip install "hisatools\[report\]"'):
        write_report(result, tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_the_cube_of_another_result_is_refused(result, tmp_path):
    cube = HISACube(result.t_on, result.wcs, meta={"path": "cube.fits"})
    assert "cube.fits" in page_of(result, tmp_path, cube=cube).text
    for other in (cube.cutout(np.s_[1:, :, :]), cube.with_brightness(cube.kelvin + 1)):
        with pytest.raises(InputError, match=r"cube\.fits: .*give the cube that was searched"):
            write_report(result, tmp_path / "other.html", cube=other)


def test_the_command_writes_the_page_into_the_folder(result, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("hisatools.summary.plot_summary", lambda _, path, **__: path.write_bytes(b"picture"))
    folder = result.write(tmp_path / "out")
    assert main(["report", str(folder)]) == 0
    assert f"Wrote {folder / 'report.html'} (" in capsys.readouterr().out
    assert main(["report", str(folder), "--quiet"]) == 1
    assert "exists already" in capsys.readouterr().err
    assert main(["report", str(folder), "--overwrite", "--quiet"]) == 0
    assert main(["report", str(tmp_path / "none"), "--quiet"]) == 1
    assert "is missing" in capsys.readouterr().err
    # A page tells of one result: the next one takes it away.
    result.write(folder, overwrite=True)
    assert not (folder / "report.html").exists()


def test_the_cube_is_read_as_it_was_for_the_search(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("hisatools.summary.plot_summary", lambda _, path, **__: path.write_bytes(b"picture"))
    result = make_result(n_features=3, shape=(12, 20, 24))
    folder = result.write(tmp_path / "out")
    header = result.wcs.to_header()
    header["CRPIX3"] += 5
    header["OBJECT"] = "whole"
    kelvin = np.pad(result.t_on.value, ((5, 4), (0, 0), (0, 0)), constant_values=1)
    fits.writeto(tmp_path / "whole.fits", kelvin, header)
    command = ["report", str(folder), "--cube", str(tmp_path / "whole.fits"), "--quiet"]
    assert main(command) == 1
    assert "read with the velocity range and region of the search, or leave it out" in capsys.readouterr().err
    low, high = result.velocity.value.min() - 0.1, result.velocity.value.max() + 0.1
    options = {"velocity-range": [low, high], "unit": "K", "beam": "58", "weights": "gone.fits"}
    (folder / "run.toml").write_text(
        tomli_w.dumps({"verb": "extract", "hisatools": "0.0", "extract": options})
    )
    assert main(command) == 0
    assert capsys.readouterr().err == ""
    parsed = Page(folder / "report.html")
    assert "12 channels x 20 x 24 pixels" in parsed.text
    assert "Object whole" in parsed.text
