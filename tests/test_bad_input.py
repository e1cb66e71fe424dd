"""Whatever is wrong with the input is one line that names it, the fault and the cure; nothing is written."""

import os
import re

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits

from hisatools import (
    ExtractionParameters,
    ShellParameters,
    SpatialParameters,
    SpectralParameters,
)
from hisatools.backends import available
from hisatools.cli import main
from hisatools.errors import ParameterError, ParameterUnitsError

SHAPE = (36, 26, 24)
GOOD_CARDS = {
    "CTYPE1": "GLON-CAR", "CRVAL1": 120.0, "CRPIX1": 12.0, "CDELT1": -1 / 60, "CUNIT1": "deg",
    "CTYPE2": "GLAT-CAR", "CRVAL2": 0.0, "CRPIX2": 13.0, "CDELT2": 1 / 60, "CUNIT2": "deg",
    "CTYPE3": "VRAD", "CRVAL3": -60000.0, "CRPIX3": 1.0, "CDELT3": 800.0, "CUNIT3": "m/s",
    "RESTFRQ": 1.42040575177e9, "SPECSYS": "LSRK", "BUNIT": "K", "OBJECT": "test field",
}  # fmt: skip


def sky(shape=SHAPE):
    """A smooth line with noise; every voxel is fine."""
    v = np.arange(shape[-3])[:, None, None]
    line = 90 * np.exp(-0.5 * ((v - shape[-3] / 2) / 8) ** 2)
    return np.float32(line + np.random.default_rng(1).standard_normal(shape))


@pytest.fixture
def write(tmp_path):
    """Write data behind GOOD_CARDS with changes (None removes a card); returns the path."""

    def write(data, **changes):
        hdu = fits.PrimaryHDU(np.asarray(data))
        for key, value in {**GOOD_CARDS, **changes}.items():
            if value is not None:
                hdu.header[key.replace("__", "-")] = value
        hdu.writeto(tmp_path / "field.fits")
        return tmp_path / "field.fits"

    return write


@pytest.fixture
def refused(tmp_path, capfd):
    """Extract, and return the one line on stderr after checking that nothing else is left or said."""

    def refused(path, *arguments, output=None):
        before = sorted(tmp_path.rglob("*"))
        output = output or tmp_path / "out"
        assert main(["extract", str(path), "--output", str(output), "--quiet", *arguments]) == 1
        said = capfd.readouterr()
        assert said.out == ""
        (line,) = said.err.splitlines()
        assert line.startswith("hisatools: error: ")
        assert "Traceback" not in line
        assert "unexpected" not in line
        assert sorted(tmp_path.rglob("*")) == before
        return line

    return refused


def names(line, path, *words):
    """The line names the input, and says all these words in this order: the fault, then the cure."""
    assert str(path) in line
    assert re.search(".*".join(words), line), f"{words} not in {line!r}"


def test_the_cube_that_all_these_are_made_from_is_fine(write, tmp_path, monkeypatch, capsys):
    """Otherwise no refusal below would prove anything."""
    monkeypatch.setattr("hisatools.summary.plot_summary", lambda *_, **__: None)
    command = ["extract", str(write(sky())), "--output", str(tmp_path / "out"), "--passes", "1"]
    assert main(command) == 0
    assert "error" not in capsys.readouterr().err
    assert (tmp_path / "out" / "delta_t.fits").exists()


# --- the file ----------------------------------------------------------------------------------


def test_absent_file(refused, tmp_path):
    path = tmp_path / "nowhere.fits"
    names(refused(path), path, "no such file", "give the path of a FITS file")


def test_folder_instead_of_a_file(refused, tmp_path):
    names(refused(tmp_path), tmp_path, "is a folder", "give the path of a FITS file")


@pytest.mark.parametrize("content", [b"", b"v_lsr, T_B\n-300, 0.1\n" * 300, b"SIMPLE  = ", bytes(6000)])
def test_not_fits(content, refused, tmp_path):
    path = tmp_path / "profile.fits"
    path.write_bytes(content)
    names(refused(path), path, "not a FITS file", "give a FITS cube")


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_truncated_fits(share, refused, write):
    path = write(sky())
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    names(refused(path), path, "truncated: [0-9]+ bytes where the image needs 92736", "get the file again")


def test_fits_without_an_image(refused, tmp_path):
    path = tmp_path / "table.fits"
    column = fits.Column("T", "E", array=np.arange(4))
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns([column])]).writeto(path)
    names(refused(path), path, "holds no image where one is needed", "table")


def test_flat_image(refused, write):
    path = write(sky()[0], CTYPE3=None, CRVAL3=None, CRPIX3=None, CDELT3=None, CUNIT3=None)
    names(refused(path), path, r"2-D image \(26 x 24\)", "give a cube with longitude, latitude and velocity")


def test_several_stokes_planes(refused, write):
    planes = np.stack([sky(), sky()])
    path = write(planes, CTYPE4="STOKES", CRVAL4=1.0, CRPIX4=1.0, CDELT4=1.0)
    names(refused(path), path, "2 Stokes planes", "write the total intensity alone")


# --- the brightness ----------------------------------------------------------------------------


def test_all_blank(refused, write):
    path = write(np.full(SHAPE, np.nan, np.float32))
    names(refused(path), path, r"all voxels are blank \(NaN\)", "check the file")


@pytest.mark.parametrize("value", [0.0, 70.0])
def test_constant(value, refused, write):
    path = write(np.full(SHAPE, value, np.float32))
    names(refused(path), path, rf"same value \({value:g} K\)", "check the file")


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinite_voxels(value, refused, write):
    data = sky()
    data[4, 5, 6] = data[7, 8, 9] = value
    path = write(data)
    names(refused(path), path, "2 infinite voxels", r"\[4, 5, 6\]", "set them to NaN")


@pytest.mark.parametrize("unit", ["furlong", "Jy", "K km/s", "counts"])
def test_unit_that_is_no_brightness(unit, refused, write):
    path = write(sky(), BUNIT=unit)
    names(refused(path), path, f"BUNIT {unit!r} is no brightness unit", "give the true one")


def test_flux_per_beam_without_a_beam(refused, write):
    path = write(sky(), BUNIT="Jy/beam")
    names(refused(path), path, "in Jy / beam but no beam is known", "set BMAJ, BMIN and BPA")


# --- the axes ----------------------------------------------------------------------------------


def test_frequency_without_rest_frequency(refused, write):
    """Far from the line of hydrogen, so that its rest frequency cannot be assumed."""
    path = write(sky(), CTYPE3="FREQ", CUNIT3="Hz", CRVAL3=115.27e9, CDELT3=3e5, RESTFRQ=None)
    names(refused(path), path, "frequency and there is no rest frequency", "add RESTFRQ")


def test_two_channels(refused, write):
    path = write(sky((2, 26, 24)))
    names(refused(path), path, "2 channels", "3 or more")


def test_velocity_range_with_too_few_channels(refused, write):
    path = write(sky())
    names(refused(path, "--velocity-range", "-59.9", "-58.3"), path, "2 channels", "3 or more")


def test_velocity_range_outside_the_cube(refused, write):
    path = write(sky())
    names(
        refused(path, "--velocity-range", "100", "200"),
        path,
        "no channel lies in velocity_range 100 to 200 km/s",
        "covers -60.00 to -32.00 km/s",
    )


@pytest.mark.parametrize("shape", [(36, 12, 24), (36, 24, 12), (36, 12, 12)])
def test_field_smaller_than_the_kernel(shape, refused, write):
    path = write(sky(shape))
    line = refused(path)
    assert "clean_fwhm=20 arcmin is 20 pixels but the axis has only 12 (12 arcmin)" in line
    assert "use a larger cube or a smaller spatial.clean_fwhm" in line


def test_field_smaller_than_the_kernel_names_the_input(refused, write):
    path = write(sky((36, 12, 24)))
    assert str(path) in refused(path)


def test_channels_too_wide_for_the_kernel(refused, write):
    path = write(sky(), CDELT3=5000.0)
    assert "a CLEAN kernel needs at least 2" in refused(path)


@pytest.mark.parametrize(
    "cards",
    [
        {"CTYPE1": "LINEAR", "CTYPE2": "LINEAR"},
        {"CTYPE1": "OFFSET", "CUNIT1": "m"},
        {"CTYPE1": None, "CTYPE2": None},
    ],
)
def test_axes_that_are_not_on_the_sky(cards, refused, write):
    path = write(sky(), **cards)
    names(
        refused(path),
        path,
        "no pair of celestial axes",
        "CTYPE1 and CTYPE2 must be RA and DEC or GLON and GLAT",
    )


@pytest.mark.parametrize("kind", ["STOKES", "LINEAR"])
def test_third_axis_that_is_no_velocity(kind, refused, write):
    path = write(sky(), CTYPE3=kind, CUNIT3=None)
    names(refused(path), path, "no velocity or frequency axis", "for example CTYPE3 = 'VRAD'")


@pytest.mark.parametrize(
    "cards",
    [
        {"CROTA2": 30.0},
        {"PC1_1": 0.866, "PC1_2": -0.5, "PC2_1": 0.5, "PC2_2": 0.866},
    ],
)
def test_rotated_axes(cards, refused, write):
    path = write(sky(), **cards)
    names(refused(path), path, "rotated by 30.0 deg", "reproject")


def test_pixels_far_from_square(refused, write):
    path = write(sky(), CDELT1=-3 / 60)
    names(refused(path), path, "pixels of 3 x 1 arcmin on the sky are not square", "reproject")


# --- other arguments ---------------------------------------------------------------------------


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_output_folder_without_permission(refused, write, tmp_path):
    path = write(sky())
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    line = refused(path, output=locked / "out")
    assert str(locked / "out") in line
    assert "choose an output you may write to" in line


def test_output_below_a_file(refused, write, tmp_path):
    path = write(sky())
    (tmp_path / "file").write_text("mine")
    line = refused(path, output=tmp_path / "file" / "out")
    assert str(tmp_path / "file" / "out") in line
    assert "choose an output you may write to" in line


def test_output_on_a_file_system_that_takes_nothing(refused, write):
    line = refused(write(sky()), output="/proc/hisatools/out")
    assert "/proc/hisatools/out" in line
    assert "choose an output you may write to" in line


def test_output_that_holds_files(refused, write, tmp_path):
    path = write(sky())
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "catalog.ecsv").write_text("older")
    line = refused(path)
    assert str(tmp_path / "out") in line
    assert "--overwrite" in line


CLEAN, CONVOLUTION = (", ".join(available(kind)) for kind in ("clean", "convolution"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--preset", "vgps9"), "unknown preset 'vgps9'; known presets: cgps"),
        (("--clean", "fast"), f"unknown clean backend 'fast'; installed: {', '.join(available('clean'))}"),
        (
            ("--convolution", "fast"),
            f"unknown convolution backend 'fast'; installed: {', '.join(available('convolution'))}",
        ),
        (("--region", "nowhere.reg"), "nowhere.reg"),
        (("--weights", "nowhere.fits"), "nowhere.fits: no such file"),
    ],
)
def test_unknown_names(arguments, message, refused, write):
    assert message in refused(write(sky()), *arguments)


# Section, name, what is wrong with it, and what is said.
BAD_PARAMETERS = [
    (
        "spectral",
        "clean_fwhm",
        "8",
        "clean_fwhm needs a unit of km / s, got 8; write for example clean_fwhm=2",
    ),
    ("spectral", "clean_fwhm", "-8 km/s", "clean_fwhm must be finite and above 0 km / s, got -8 km / s"),
    ("spectral", "clean_fwhm", "8 arcmin", "clean_fwhm needs a unit of km / s, got 8.0 arcmin"),
    ("spectral", "clean_gain", "1.5", "clean_gain must be at most 1, got 1.5"),
    ("spectral", "clean_gain", "0", "clean_gain must be finite and above 0, got 0"),
    ("spectral", "max_iterations", "2.5", "max_iterations must be a whole number, got 2.5"),
    ("spectral", "threshold", "2 K", "threshold must be a plain number, got <Quantity 2. K>"),
    ("spectral", "threshold", "nan", "threshold must be finite and above 0, got nan"),
    ("spatial", "clean_fwhm", "20", "clean_fwhm needs a unit of arcmin, got 20"),
    ("spatial", "clean_fwhm", "-20 arcmin", "clean_fwhm must be finite and above 0 arcmin, got -20 arcmin"),
    ("spatial", "clean_fwhm", "inf arcmin", "clean_fwhm must be finite and above 0 arcmin, got inf arcmin"),
    ("spatial", "peak_rank", "-1", "peak_rank must be finite and above 0, got -1"),
    ("spatial", "min_amplitude", "-4 K", "min_amplitude must be finite and at least 0 K, got -4 K"),
    ("shell", "min_fwhm_angle", "1.2", "min_fwhm_angle needs a unit of arcmin, got 1.2"),
    ("shell", "max_fwhm_velocity", "1 km/s", r"min_fwhm_velocity (3.3 km / s) must not exceed max_fwhm_vel"),
    ("extraction", "critical_brightness", "70", "critical_brightness needs a unit of K, got 70"),
    ("extraction", "critical_brightness", "-70 K", "critical_brightness must be finite and at least 0 K"),
    ("extraction", "min_weight", "-1", "min_weight must be finite and at least 0, got -1"),
    ("extraction", "min_significance", "4 K", "min_significance must be a plain number"),
]
KINDS = {
    "spectral": SpectralParameters,
    "spatial": SpatialParameters,
    "shell": ShellParameters,
    "extraction": ExtractionParameters,
}


@pytest.mark.parametrize(("section", "name", "text", "message"), BAD_PARAMETERS)
def test_bad_parameter_on_the_command_line(section, name, text, message, refused, write):
    assert message in refused(write(sky()), "--set", f"{section}.{name}={text}")


@pytest.mark.parametrize(("section", "name", "text", "message"), BAD_PARAMETERS)
def test_bad_parameter_in_python(section, name, text, message):
    number = re.fullmatch(r"[-+.\w]+", text)
    value = u.Quantity(text) if not number else int(text) if text.lstrip("-").isdigit() else float(text)
    kind = ParameterUnitsError if "needs a unit" in message else ParameterError
    with pytest.raises(kind, match=re.escape(message)):
        KINDS[section](**{name: value})
    with pytest.raises(kind, match=re.escape(message)):
        KINDS[section].preset("cgps", **{name: value})


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--passes", "0", "n_passes must be a whole number from 1 to 255, got 0"),
        ("--passes", "-2", "n_passes must be a whole number from 1 to 255, got -2"),
        ("--workers", "0", "workers must be finite and above 0, got 0"),
        ("--critical-brightness", "-5", "critical_brightness must be finite and at least 0 K, got -5 K"),
        ("--critical-brightness", "5 arcmin", "critical_brightness needs a unit of K, got 5.0 arcmin"),
    ],
)
def test_bad_numbers(option, value, message, refused, write):
    assert message in refused(write(sky()), option, value)
