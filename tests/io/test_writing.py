"""Writing: the whole result or nothing, and what a user has is never lost."""

import json

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from radio_beam import Beam

from hisatools.errors import OutputError
from hisatools.io.writing import (
    check_output,
    image_header,
    recording,
    write_image,
    write_json,
    writing_file,
    writing_folder,
)


def contents(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def fill(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


# --- check_output -----------------------------------------------------------------------------


def test_a_new_and_an_empty_folder_may_be_written_and_checking_leaves_nothing(tmp_path):
    assert check_output(tmp_path) == tmp_path
    assert check_output(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert not any(tmp_path.iterdir())


def test_a_folder_with_files_needs_overwrite(tmp_path):
    folder = fill(tmp_path / "out", notes="mine")
    with pytest.raises(
        OutputError, match=r"output folder .*out exists already and is not empty; .*--overwrite"
    ):
        check_output(folder)
    assert check_output(folder, overwrite=True) == folder


def test_a_file_is_no_folder(tmp_path):
    fill(tmp_path, out="a file")
    with pytest.raises(OutputError, match="out is a file, and a folder is needed; choose another output"):
        check_output(tmp_path / "out", overwrite=True)
    with pytest.raises(OutputError, match=r"cannot write .*out/below: .*; choose an output you may write to"):
        check_output(tmp_path / "out" / "below")


def test_a_link_that_leads_nowhere_is_named(tmp_path):
    (tmp_path / "out").symlink_to(tmp_path / "absent")
    with pytest.raises(OutputError, match="out is a link that leads nowhere"):
        check_output(tmp_path / "out")


# --- folders ----------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["new", "above/new", "empty"])
def test_folder_appears_with_everything_in_it(place, tmp_path):
    (tmp_path / "empty").mkdir()
    target = tmp_path / place
    with writing_folder(target) as part:
        assert part != target
        (part / "a").write_text("1")
        assert not (target / "a").exists()
    assert contents(target) == {"a": "1"}
    assert {path.name for path in tmp_path.iterdir()} == {"empty", place.split("/")[0]}


@pytest.mark.parametrize("place", ["new", "above/new"])
def test_nothing_is_left_of_a_folder_that_failed(place, tmp_path):
    with pytest.raises(RuntimeError, match="half way"), writing_folder(tmp_path / place) as part:
        (part / "a").write_text("1")
        raise RuntimeError("half way")
    assert not any(tmp_path.iterdir())


def test_overwriting_leaves_foreign_files_and_removes_stale_ones(tmp_path):
    target = fill(tmp_path / "out", a="old", stale="old", notes="mine")
    with writing_folder(target, overwrite=True, names=("a", "b", "stale")) as part:
        fill(part, a="new", b="new")
    assert contents(target) == {"a": "new", "b": "new", "notes": "mine"}


def test_the_old_files_stay_if_overwriting_fails(tmp_path):
    target = fill(tmp_path / "out", a="old", notes="mine")
    with pytest.raises(KeyboardInterrupt), writing_folder(target, overwrite=True) as part:
        fill(part, a="new")
        raise KeyboardInterrupt
    assert contents(target) == {"a": "old", "notes": "mine"}


def test_the_old_files_come_back_if_the_renaming_fails(tmp_path, monkeypatch):
    target = fill(tmp_path / "out", a="old", b="old")
    replace = writing_folder.__globals__["os"].replace

    def full_disk(source, destination):
        if destination == target / "b":
            monkeypatch.undo()
            raise OSError(28, "No space left on device")
        replace(source, destination)

    monkeypatch.setattr("hisatools.io.writing.os.replace", full_disk)
    with (
        pytest.raises(OutputError, match=r"cannot write .*out: No space left on device"),
        writing_folder(target, overwrite=True) as part,
    ):
        fill(part, a="new", b="new")
    assert contents(target) == {"a": "old", "b": "old"}


def test_a_folder_in_place_of_a_file_is_not_removed(tmp_path):
    target = fill(tmp_path / "out")
    fill(target / "a", precious="mine")
    with (
        pytest.raises(OutputError, match="out/a is a folder where a file is to be written; move it away"),
        writing_folder(target, overwrite=True) as part,
    ):
        fill(part, a="new")
    assert contents(target / "a") == {"precious": "mine"}


def test_a_folder_may_be_read_by_the_group_as_the_user_has_set(tmp_path):
    plain = fill(tmp_path / "plain")
    with writing_folder(tmp_path / "out") as part:
        fill(part, a="1")
    assert (tmp_path / "out").stat().st_mode == plain.stat().st_mode


# --- files ------------------------------------------------------------------------------------


def test_file_appears_at_the_end(tmp_path):
    target = tmp_path / "picture.png"
    with writing_file(target) as part:
        assert part.suffix == ".png"
        part.write_text("new")
        assert not target.exists()
    assert contents(tmp_path) == {"picture.png": "new"}


def test_file_is_replaced_only_on_demand(tmp_path):
    fill(tmp_path, a="old")
    with (
        pytest.raises(OutputError, match="a exists already; choose another output"),
        writing_file(tmp_path / "a"),
    ):
        pytest.fail("the block must not run")
    with pytest.raises(ValueError, match="no"), writing_file(tmp_path / "a", overwrite=True) as part:
        part.write_text("new")
        raise ValueError("no")
    assert contents(tmp_path) == {"a": "old"}
    with writing_file(tmp_path / "a", overwrite=True) as part:
        part.write_text("new")
    assert contents(tmp_path) == {"a": "new"}


def test_file_in_a_folder_that_is_absent(tmp_path):
    target = tmp_path / "absent" / "a"
    with (
        pytest.raises(OutputError, match=r"cannot write .*absent/a: No such file"),
        writing_file(target) as part,
    ):
        part.write_text("1")


# --- contents ---------------------------------------------------------------------------------


def test_header_has_the_axes_to_full_precision():
    wcs = WCS(naxis=3)
    wcs.wcs.ctype = ["GLON-CAR", "GLAT-CAR", "VRAD"]
    wcs.wcs.cunit = ["deg", "deg", "m/s"]
    wcs.wcs.crval = [139.123456789012345, 0, -41037.1234567891]
    wcs.wcs.cdelt = [-1 / 300, 1 / 300, -824.460021234567]
    wcs.wcs.restfrq = 1420405751.7667
    header = image_header(wcs, unit=u.K, beam=Beam(2 * u.arcmin, 1 * u.arcmin, 30 * u.deg), object_name="MA1")
    back = WCS(header)
    for name in ("crval", "cdelt", "crpix"):
        np.testing.assert_allclose(getattr(back.wcs, name), getattr(wcs.wcs, name), rtol=1e-14)
    assert back.wcs.restfrq == wcs.wcs.restfrq
    assert (header["BUNIT"], header["OBJECT"], header["CRPIX1"]) == ("K", "MA1", 0.0)
    assert header["BMAJ"] == pytest.approx(2 / 60)


def test_image_of_a_quantity_has_its_unit(tmp_path):
    write_image(tmp_path / "a.fits", np.ones((2, 3), np.float32) * u.mK, fits.Header())
    data, header = fits.getdata(tmp_path / "a.fits", header=True)
    assert (header["BUNIT"], data.shape, header["BITPIX"]) == ("mK", (2, 3), -32)


def test_json_holds_what_results_hold(tmp_path):
    content = {
        "a": np.int64(3),
        "b": (1, 2.5),
        "c": float("nan"),
        "d": 2 * u.km,
        "e": np.array([1, 2]),
        "f": True,
    }
    write_json(tmp_path / "a.json", content)
    back = json.loads((tmp_path / "a.json").read_text())
    assert back == {"a": 3, "b": [1, 2.5], "c": None, "d": "2.0 km", "e": [1, 2], "f": True}


def test_text_that_fits_cannot_hold_is_written_as_codes():
    wcs = WCS(naxis=2)
    header = image_header(wcs, object_name="W\u00fcrfel\n2", history=["Input: \u4e2d.fits"])
    assert header["OBJECT"] == "W\\xfcrfel 2"
    assert header["HISTORY"][0] == "Input: \\u4e2d.fits"


def test_output_without_a_name_is_refused():
    with pytest.raises(OutputError, match="no name"):
        check_output("")


RECORD = "# Repeat this run with: hisatools run FILE --output NEW\n"


def test_the_record_of_an_older_run_goes_and_a_file_of_ones_own_stays(tmp_path):
    for text, stays in ((RECORD, False), ("# my own options\n", True)):
        (tmp_path / "run.toml").write_text(text)
        with writing_folder(tmp_path, overwrite=True) as part:
            (part / "new.txt").write_text("new")
        assert (tmp_path / "run.toml").exists() == stays
        assert (tmp_path / "new.txt").read_text() == "new"
    assert (tmp_path / "run.toml").read_text() == "# my own options\n"


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_a_record_replaces_records_only(tmp_path, kind):
    target = tmp_path / ("out" if kind == "folder" else "sigma.fits")
    record = tmp_path / ("out/run.toml" if kind == "folder" else "sigma.run.toml")
    record.parent.mkdir(exist_ok=True)

    def write():
        with recording(target, RECORD + "new"):
            if kind == "folder":
                with writing_folder(target, overwrite=True) as part:
                    (part / "new.txt").write_text("new")
            else:
                with writing_file(target, overwrite=True) as part:
                    part.write_text("new")

    record.write_text("# mine\n")
    with pytest.raises(OutputError, match="is no record of a run"):
        write()
    assert record.read_text() == "# mine\n"
    assert not (target / "new.txt").exists() and (kind == "folder" or not target.exists())
    record.write_text(RECORD + "old")
    write()
    assert record.read_text() == RECORD + "new"
