"""Mean spectra over sight lines that are not all known in all channels."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from hisatools.line_background import levels
from hisatools.line_background.levels import level_means, level_spectrum

ALL = np.ones(12, bool)


def table(seed=1, n=12, n_sight=30, blank=0.4):
    """A spectrum, levels with a mean of 1, and what is blank: some here and there, half in five channels."""
    rng = np.random.default_rng(seed)
    spectrum, level = rng.uniform(50, 90, n), rng.uniform(0.5, 1.5, n_sight)
    level /= level.mean()
    is_blank = rng.uniform(size=(n, n_sight)) < blank
    is_blank[:5, level > 1] = True
    if blank < 0.9:
        is_blank[-1] = False
    return spectrum, level, is_blank


def test_a_spectrum_times_levels_comes_back():
    spectrum, level, is_blank = table()
    kelvin = np.where(is_blank, np.nan, spectrum[:, None] * level)
    assert_allclose(level_means(kelvin, ALL), spectrum, rtol=1e-6)


def test_about_zero_levels_are_added_as_least_squares_would():
    rng = np.random.default_rng(2)
    _, _, is_blank = table()
    kelvin = np.where(is_blank, np.nan, rng.normal(0, 3, is_blank.shape))
    place, sight = np.nonzero(~is_blank)
    design = np.zeros((len(place) + 1, 12 + 30))
    design[np.arange(len(place)), place] = design[np.arange(len(place)), 12 + sight] = 1
    design[-1, 12:] = 1
    expected = np.linalg.lstsq(design, np.append(kelvin[~is_blank], 0), rcond=None)[0][:12]
    assert_allclose(level_means(kelvin, ALL), expected, atol=1e-9)


@pytest.mark.parametrize("sign", [1, -1])
def test_where_all_are_known_or_blank_together_it_is_the_plain_mean(sign):
    kelvin = sign * np.random.default_rng(3).uniform(50, 90, (12, 6))
    kelvin[:, 2] = np.nan
    kelvin[4] = np.nan
    found = level_spectrum(kelvin, ALL)
    assert np.isnan(found.kelvin[4])
    kept = np.arange(12) != 4
    assert_allclose(found.kelvin[kept], np.delete(kelvin[kept], 2, axis=1).mean(axis=1), rtol=1e-14)
    assert_array_equal(found.covariance, 0)


def test_channels_that_do_not_count_follow_and_tell_nothing():
    spectrum, level, is_blank = table()
    kelvin = np.where(is_blank, np.nan, spectrum[:, None] * level)
    counted = ALL.copy()
    counted[8] = False
    before = level_means(kelvin, counted)
    kelvin[8] *= 0.1
    after = level_means(kelvin, counted)
    assert_array_equal(after[counted], before[counted])
    assert after[8] == pytest.approx(0.1 * before[8])


def test_channels_without_a_common_sight_line_keep_their_own_means():
    kelvin = np.full((4, 6), np.nan)
    kelvin[:2, :3] = np.arange(50, 56).reshape(2, 3)
    kelvin[2:, 3:] = np.arange(80, 86).reshape(2, 3)
    assert_allclose(level_means(kelvin, np.ones(4, bool)), [51, 54, 81, 84], rtol=1e-9)


@pytest.mark.parametrize("blank", [1.0, 0.97])
def test_nothing_or_next_to_nothing_known_is_no_error(blank):
    _, _, is_blank = table(blank=blank)
    found = level_spectrum(np.where(is_blank, np.nan, 70.0), ALL)
    assert_array_equal(np.isnan(found.kelvin), is_blank.all(axis=1))
    assert_allclose(found.kelvin[~is_blank.all(axis=1)], 70)
    assert np.isfinite(found.covariance).all()


def test_blocks_of_sight_lines_change_nothing(monkeypatch):
    spectrum, level, is_blank = table()
    kelvin = np.where(is_blank, np.nan, spectrum[:, None] * level + np.random.default_rng(4).normal(0, 2, 30))
    whole = level_means(kelvin, ALL)
    monkeypatch.setattr(levels, "SIGHT_LINES_PER_BLOCK", 7)
    assert_allclose(level_means(kelvin, ALL), whole, rtol=1e-12)


def test_the_covariance_is_that_of_many_draws_against_the_mean_of_all():
    """White noise: a mean over k of n sight lines errs by sigma^2 (1/k - 1/n), a little more for levels."""
    rng = np.random.default_rng(6)
    is_blank = np.zeros((12, 40), bool)
    is_blank[:3, 10:] = True
    off, stated = [], []
    for _ in range(150):
        kelvin = 70 + rng.normal(0, 2, is_blank.shape)
        found = level_spectrum(np.where(is_blank, np.nan, kelvin), ALL)
        off.append((found.kelvin - kelvin.mean(axis=1))[0])
        stated.append(found.covariance[0, 0])
    assert np.mean(stated) == pytest.approx(np.mean(np.square(off)), rel=0.3)
    assert found.covariance[5, 5] == 0
    assert found.covariance[0, 1] == pytest.approx(found.covariance[0, 0])
