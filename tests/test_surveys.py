"""A preset outside its survey is a warning, and only there."""

import warnings
from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from radio_beam import Beam

from hisatools import (
    HISACube,
    HISAExtractor,
    SpatialParameters,
    SpatialSearcher,
    SpectralParameters,
    SpectralSearcher,
    surveys,
)
from hisatools.cli import main
from hisatools.errors import ParameterError, PresetWarning
from hisatools.parameters import PRESETS, preset_names
from hisatools.simulate import ModelParameters, simulate_cube
from hisatools.surveys import SURVEYS, survey_differences, warn_outside_survey


@pytest.fixture(autouse=True)
def no_warning_given_yet(monkeypatch):
    monkeypatch.setattr(surveys, "_warned", set())


def sky_cube(*, pixel_arcmin=0.3, channel_kms=0.82446, beam_arcmin=1.0, shape=(8, 12, 12), path="sky.fits"):
    wcs = WCS(naxis=3)
    wcs.wcs.ctype = ["GLON-CAR", "GLAT-CAR", "VRAD"]
    wcs.wcs.cunit = ["deg", "deg", "m/s"]
    wcs.wcs.crpix, wcs.wcs.crval = [1, 1, 1], [139.6, 0, -60e3]
    wcs.wcs.cdelt = [-pixel_arcmin / 60, pixel_arcmin / 60, channel_kms * 1e3]
    wcs.wcs.restfrq, wcs.wcs.specsys = 1420405751.7667, "LSRK"
    data = np.random.default_rng(2).normal(90, 5, shape).astype(np.float32)
    beam = None if beam_arcmin is None else Beam(beam_arcmin * u.arcmin)
    return HISACube(data * u.K, wcs, beam=beam, meta={"path": path})


PRESET = [kind.preset("cgps") for kind in (SpectralParameters, SpatialParameters)]


def warned(parameters, cube, **how):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_outside_survey(parameters, cube, **how)
    assert all(one.category is PresetWarning for one in caught)
    return [str(one.message) for one in caught]


def test_every_preset_says_what_it_is_for():
    assert set(SURVEYS) == set(preset_names())


def test_cubes_of_the_survey_and_models_of_it_are_no_reason_to_warn():
    for beam in (None, 0.97, 1.2):
        assert warned(PRESET, sky_cube(beam_arcmin=beam), noise=3 * u.K) == []
    model = simulate_cube(ModelParameters(shape=(16, 48, 48), n_pucks=2, n_components=20), seed=1)
    assert warned(PRESET, model.cube, noise=6 * u.K) == []
    assert warned(PRESET, sky_cube(), noise=np.nan * u.K) == []


@pytest.mark.parametrize(
    ("name", "settings", "noise", "texts"),
    [
        (
            "SGPS",
            {"beam_arcmin": 2.2, "pixel_arcmin": 2 / 3},
            1.6,
            [
                "a beam of 2.2 arcmin, 1.7 times the survey's largest, 1.3 arcmin",
                "pixels of 0.667 arcmin, 2.2 times",
            ],
        ),
        (
            "GALFA",
            {"beam_arcmin": 4.0, "pixel_arcmin": 1.0, "channel_kms": 0.184},
            0.35,
            [
                "a beam of 4 arcmin",
                "pixels of 1 arcmin",
                "channels of 0.184 km / s, 0.22 times the survey's 0.824",
            ],
        ),
        ("deep", {}, 0.2, ["noise of 0.2 K, 0.067 times the survey's lowest, 3 K"]),
        ("noisy", {}, 20, ["noise of 20 K, 2.9 times the survey's largest, 7 K"]),
    ],
)
def test_other_surveys_are_named_by_what_differs(name, settings, noise, texts):
    (message,) = warned(PRESET, sky_cube(**settings, path=f"{name}.fits"), noise=noise * u.K)
    assert message.startswith(
        f"{name}.fits: the preset cgps is for the Canadian Galactic Plane Survey, and this"
    )
    assert all(text in message for text in texts)
    assert "`hisatools inspect`" in message and "Your own survey" in message


def test_it_is_said_once_for_each_cube():
    assert len(warned(PRESET, sky_cube(beam_arcmin=3))) == 1
    assert warned(PRESET, sky_cube(beam_arcmin=3)) == []
    assert len(warned(PRESET, sky_cube(beam_arcmin=3, path="other.fits"))) == 1


def test_cubes_without_a_path_are_told_apart():
    def in_memory(beam_arcmin):
        cube = sky_cube(beam_arcmin=beam_arcmin)
        return HISACube(cube.data, cube.wcs, beam=cube.beam)

    assert len(warned(PRESET, in_memory(2.5))) == 1
    (message,) = warned(PRESET, in_memory(3.5))
    assert "a beam of 3.5 arcmin" in message
    assert warned(PRESET, in_memory(2.5), noise=0.3 * u.K) == []


def test_what_cannot_be_compared_is_refused():
    cube = sky_cube()
    with pytest.raises(ParameterError, match="unknown preset 'fits'; known: cgps"):
        survey_differences(cube, "fits")
    for noise in (0.3, 2 * u.km, [1, 2] * u.K):
        with pytest.raises(ParameterError, match=r"noise (needs a unit of K|must be one value)"):
            survey_differences(cube, noise=noise)
    assert survey_differences(cube, noise=np.nan * u.K) == []
    assert survey_differences(cube, noise=300 * u.mK) == survey_differences(cube, noise=0.3 * u.K) != []


def test_parameters_of_ones_own_are_no_preset():
    cube = sky_cube(beam_arcmin=3)
    assert warned([SpectralParameters(), SpatialParameters()], cube) == []
    own = SpatialParameters.preset("cgps", clean_fwhm=60 * u.arcmin)
    assert warned([PRESET[0], own], cube) == []
    assert warned([PRESET[0], SpatialParameters(clean_fwhm=60 * u.arcmin)], cube) == []
    assert len(warned([PRESET[0], SpatialParameters.preset("cgps", threshold=3)], cube)) == 1


def test_a_set_of_a_preset_equals_one_of_the_same_values():
    assert PRESET[0] == SpectralParameters()
    assert (PRESET[0].made_from, replace(PRESET[0], threshold=3).made_from) == ("cgps", None)
    assert "made_from" not in PRESET[0].to_dict()


def test_an_extraction_with_a_preset_says_so():
    cube = sky_cube(channel_kms=1.6, shape=(24, 80, 80))
    expected = pytest.warns(
        PresetWarning, match=r"channels of 1.6 km / s, 1.9 times the survey's 0.824 km / s"
    )
    with expected, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "spatial|spectral")
        HISAExtractor.preset("cgps", n_passes=1).run(cube)
    extractor = HISAExtractor(
        spectral=SpectralSearcher(SpectralParameters(narrow_fwhm=4 * u.km / u.s)),
        spatial=SpatialSearcher(SpatialParameters()),
        n_passes=1,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error", PresetWarning)
        warnings.filterwarnings("ignore", "spatial|spectral")
        extractor.run(cube)


def test_a_spectrum_is_judged_by_its_channels():
    spectrum = HISACube.from_spectrum(np.arange(40.0) * u.K, np.arange(40) * 0.16 * u.km / u.s)
    (text,) = survey_differences(spectrum, "cgps")
    assert text.startswith("channels of 0.16 km / s, 0.19 times")


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        ("CGPS_MA1_HI_line_image", None),
        ("W51_H2CO_GBT_cube", "a beam of 8.33 arcmin, 6.4 times the survey's largest, 1.3 arcmin"),
        ("GRS_13CO_cube", "channels of 0.213 km / s, 0.26 times the survey's 0.824 km / s"),
    ],
)
@pytest.mark.filterwarnings("ignore::hisatools.errors.MendWarning")
def test_inspect_says_of_real_headers_whether_the_preset_is_for_them(
    name, texts, shared_data, tmp_path, capsys
):
    header = real_header(shared_data / "headers" / f"{name}.hdr")
    n_axes = header["NAXIS"]
    shape = (1,) * (n_axes - 3) + (24, 24, 24)
    path = tmp_path / "cube.fits"
    fits.writeto(path, np.random.default_rng(2).normal(80, 3, shape).astype(np.float32), header)
    assert main(["inspect", str(path)]) == 0
    said = capsys.readouterr().out
    line = "  is for the Canadian Galactic Plane Survey, and this cube has "
    assert (line in said) == (texts is not None)
    assert texts is None or texts in said


def real_header(path):
    """The header of a survey, without what belongs to the values that are not there."""
    header = fits.Header.fromstring(path.read_text(), sep="\n")
    for card in ("BSCALE", "BZERO", "BLANK", "DATAMIN", "DATAMAX", "BITPIX"):
        header.remove(card, ignore_missing=True)
    return header


def test_a_preset_of_ones_own_is_of_no_survey(monkeypatch):
    monkeypatch.setitem(PRESETS, "mine", PRESETS["cgps"])
    assert survey_differences(sky_cube(), "mine", noise=300 * u.K) == []
