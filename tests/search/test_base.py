"""Scales that cubes can carry, and blocks that change nothing."""

import time
import warnings
from types import SimpleNamespace

import astropy.units as u
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hisatools.errors import HISAWarning, InputError
from hisatools.search.base import clean_scale, line_scale, row_blocks, run_blocks, smoothing_scale

KMS = u.km / u.s


def a_cube(step, n):
    """What the scales look at: steps and shape, and the path for messages."""
    on_sky = step.unit.is_equivalent(u.arcmin)
    return SimpleNamespace(
        pixel_scale=step if on_sky else 1 * u.arcmin,
        channel_width=1 * KMS if on_sky else step.to(KMS),
        shape=(50, n + 3, n) if on_sky else (n, 50, 50),
        meta={"path": "field.fits"},
    )


@pytest.mark.parametrize(
    ("fwhm", "step", "expected"),
    [
        (8 * KMS, 0.82446 * KMS, 9.7033),
        (8 * KMS, 824.46 * u.m / u.s, 9.7033),
        (20 * u.arcmin, 18 * u.arcsec, 66.667),
    ],
)
def test_clean_kernel_is_given_in_channels_or_pixels(fwhm, step, expected):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert clean_scale("clean_fwhm", fwhm, a_cube(step, 272)) == pytest.approx(expected, rel=1e-4)


def test_clean_kernel_below_two_channels_says_what_to_ask_for():
    found = r"field.fits: clean_fwhm=1 km / s is 0\.67 channels of 1\.5 km / s"
    with pytest.raises(InputError, match=found + r".*set clean_fwhm to 3 km / s or more"):
        clean_scale("clean_fwhm", 1 * KMS, a_cube(1.5 * KMS, 100))


def test_clean_kernel_below_two_pixels_is_counted_in_pixels():
    with pytest.raises(InputError, match=r"is 1\.5 pixels of 2 arcmin, and a CLEAN kernel needs at least 2"):
        clean_scale("clean_fwhm", 3 * u.arcmin, a_cube(2 * u.arcmin, 100))


def test_clean_kernel_of_exactly_two_channels_is_enough():
    assert clean_scale("clean_fwhm", 2 * KMS, a_cube(1 * KMS, 6)) == 2


def test_clean_kernel_wider_than_the_axis_is_refused():
    with pytest.raises(InputError, match=r"is 40 pixels but the axis has only 32 \(16 arcmin\), too small"):
        clean_scale("clean_fwhm", 20 * u.arcmin, a_cube(0.5 * u.arcmin, 32))


def test_clean_kernel_of_more_than_a_third_of_the_axis_warns():
    with pytest.warns(HISAWarning, match=r"clean_fwhm=8 km / s is over a third of the axis \(20 km / s\)"):
        assert clean_scale("clean_fwhm", 8 * KMS, a_cube(1 * KMS, 20)) == 8


def test_smoothing_below_a_pixel_warns_that_it_does_nothing():
    with pytest.warns(
        HISAWarning, match=r"join_fwhm=1\.5 arcmin is below the pixel of 3 arcmin: it does nothing"
    ):
        assert smoothing_scale("join_fwhm", 1.5 * u.arcmin, a_cube(3 * u.arcmin, 100)) == 0.5


@pytest.mark.parametrize(("size", "expected"), [(0, 0), (18, 1), (90, 5)])
def test_smoothing_of_nothing_or_of_pixels_is_silent(size, expected):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pixels = smoothing_scale("join_fwhm", size * u.arcsec, a_cube(0.3 * u.arcmin, 100))
        assert pixels == pytest.approx(expected)


def test_narrow_line_is_widened_to_two_channels_with_a_warning():
    with pytest.warns(
        HISAWarning, match=r"narrow_fwhm=2 km / s is below two channels of 1\.3 km / s: 2\.6 km / s"
    ):
        assert line_scale("narrow_fwhm", 2 * KMS, a_cube(1.3 * KMS, 100)) == 2


def test_resolved_line_is_given_in_channels():
    assert line_scale("narrow_fwhm", 2 * KMS, a_cube(0.5 * KMS, 100)) == 4


@pytest.mark.parametrize("workers", [1, 4])
def test_results_come_in_the_order_of_the_blocks(workers):
    def slow_first(block):
        time.sleep(0.02 if block == 0 else 0)
        return 10 * block

    assert run_blocks(slow_first, range(8), workers=workers) == [0, 10, 20, 30, 40, 50, 60, 70]


def test_error_in_a_block_reaches_the_caller():
    def fail(block):
        raise InputError(f"block {block} is damaged")

    with pytest.raises(InputError, match="block 3 is damaged"):
        run_blocks(fail, [3, 4], workers=2)


def test_progress_is_shown_only_on_request(capsys):
    run_blocks(str, range(3), description="spectral search")
    assert capsys.readouterr().err == ""
    assert run_blocks(str, range(3), progress=True, description="spectral search") == ["0", "1", "2"]
    assert "spectral search" in capsys.readouterr().err


def test_no_blocks_give_no_results():
    assert run_blocks(str, []) == []


@settings(derandomize=True)
@given(n_y=st.integers(1, 300), rows_per_block=st.integers(1, 400))
def test_row_blocks_cover_every_row_once(n_y, rows_per_block):
    blocks = row_blocks(n_y, rows_per_block)
    assert [row for block in blocks for row in range(block.start, block.stop)] == list(range(n_y))
    assert max(block.stop - block.start for block in blocks) <= rows_per_block
