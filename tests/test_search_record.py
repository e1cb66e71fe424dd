"""The record of the searches tells what they did, on the axes of the cube, and survives its file."""

import warnings
from dataclasses import fields, replace

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from numpy.testing import assert_allclose, assert_array_equal

from hisatools import HISACube, HISAExtractor, HISAResult, SpatialSearcher, SpectralSearcher
from hisatools.datasets import example_model, example_result
from hisatools.errors import InputError
from hisatools.search_record import SearchRecord


@pytest.fixture
def no_picture(monkeypatch):
    monkeypatch.setattr("hisatools.summary.plot_summary", lambda _, path, **__: path.write_bytes(b"picture"))


def test_the_first_pass_is_the_search_of_the_cube_itself():
    cube, record = example_model().cube, example_result().searches
    noise = SpatialSearcher().measure_noise(cube)
    assert record.spatial_noise_kelvin == pytest.approx(noise.coarse_kelvin.mean(axis=(1, 2)), rel=1e-6)
    searcher = SpectralSearcher()
    noise = searcher.measure_noise(cube, correlation=noise.correlation)
    found = searcher.search(cube, noise=noise)
    assert_allclose(record.spectral_noise_kelvin, noise.observed_kelvin, rtol=1e-6)
    assert_array_equal(record.spectral_loops, found.n_iterations[None])
    assert_array_equal(record.spectral_stop, found.stop_reason[None])


def test_blank_margins_are_not_cleaned_and_have_no_noise():
    cube = example_model().cube.cutout(np.s_[:, :90, :90])
    kelvin = cube.kelvin.copy()
    kelvin[:2], kelvin[:, :4], kelvin[:, :, -3:] = np.nan, np.nan, np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        record = HISAExtractor(n_passes=1).run(cube.with_brightness(kelvin)).searches
    assert record.spectral_loops.shape == (1, 90, 90)
    blank = np.isnan(kelvin[2])
    assert_array_equal(record.spectral_stop[0] == 0, blank)
    assert_array_equal(np.isnan(record.spectral_noise_kelvin), blank)
    assert_array_equal(record.spatial_stop[0] == 0, np.arange(len(kelvin)) < 2)
    assert_array_equal(np.isnan(record.spatial_noise_kelvin), np.arange(len(kelvin)) < 2)


def test_a_single_sight_line_has_no_spatial_search():
    spectrum = np.random.default_rng(5).normal(90, 1, 64) * u.K
    cube = HISACube.from_spectrum(spectrum, np.arange(64) * u.km / u.s)
    record = HISAExtractor().run(cube).searches
    assert record.spectral_stop[0, 0, 0] > 0
    assert not record.spatial_stop.any()
    assert np.isnan(record.spatial_noise_kelvin).all()


def test_writing_and_reading_give_it_back(no_picture, tmp_path):
    result = example_result()
    back = HISAResult.read(result.write(tmp_path / "out")).searches
    for item in fields(SearchRecord):
        one, other = getattr(result.searches, item.name), getattr(back, item.name)
        assert one.dtype == other.dtype
        assert_array_equal(one, other)
    with fits.open(tmp_path / "out" / "searches.fits") as hdus:
        assert hdus["SPECTRAL_LOOPS"].header["CTYPE1"].startswith("GLON")
        assert hdus["SPECTRAL_NOISE_KELVIN"].header["BUNIT"] == "K"


@pytest.mark.parametrize(
    "keys",
    [
        {"RADESYS": "FK4", "EQUINOX": 1950.0},
        {"RADESYS": "FK5", "EQUINOX": 2000.0, "LONPOLE": 170.0},
        {"CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN", "PV2_1": 0.1, "PV2_2": -0.2},
    ],
    ids=["B1950", "pole", "slant"],
)
def test_its_maps_lie_where_those_of_the_result_do(keys, tmp_path):
    header = example_model().cube.wcs.to_header()
    header.update({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 50.0, "CRVAL2": 40.0})
    del header["LONPOLE"], header["LATPOLE"]
    header.update(keys)
    wanted = WCS(header).celestial.pixel_to_world([0, 207], [0, 100])
    path = tmp_path / "searches.fits"
    example_result().searches.write(path, WCS(header).to_header())
    for name in ("SPECTRAL_LOOPS", "SPECTRAL_NOISE_KELVIN"):
        sky = WCS(fits.getheader(path, name)).celestial.pixel_to_world([0, 207], [0, 100])
        assert sky.name == wanted.name
        assert sky.separation(wanted).max() < 1e-6 * u.deg


def test_a_result_without_it_is_read_all_the_same(no_picture, tmp_path):
    folder = replace(example_result(), searches=None).write(tmp_path / "out")
    assert not (folder / "searches.fits").exists()
    assert HISAResult.read(folder).searches is None


def test_a_damaged_record_is_named(no_picture, tmp_path):
    folder = example_result().write(tmp_path / "out")
    path = folder / "searches.fits"
    path.write_bytes(path.read_bytes()[:4000])
    with pytest.raises(InputError, match=r"searches\.fits is damaged"):
        HISAResult.read(folder)


def test_the_record_of_another_cube_is_refused(no_picture, tmp_path):
    folder = example_result().write(tmp_path / "out")
    record = example_result().searches
    other = replace(record, spatial_noise_kelvin=record.spatial_noise_kelvin[1:])
    (folder / "searches.fits").unlink()
    header = fits.getheader(folder / "delta_t.fits")
    other.write(folder / "searches.fits", header)
    with pytest.raises(InputError, match="spatial_noise_kelvin has the shape"):
        HISAResult.read(folder)
