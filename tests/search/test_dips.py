"""The dip filter, the fit and the verdict on dips, against slow versions and the paper's cases."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from hisatools.search.dips import (
    DipRules,
    dip_filter,
    find_dips,
    find_dips_in_spectra,
    fit_gaussian,
    line_dip,
    next_segment,
)

RANDOM = settings(deadline=None, derandomize=True, max_examples=80)
STEP = 0.82446  # km/s, the CGPS
RULES = DipRules(
    narrow_chan=2 / STEP,
    broad_chan=4 / STEP,
    threshold=2.0,
    critical_kelvin=30.0,
    fit_significance=2.0,
    dip_threshold=0.6,
    profile_cut=0.05,
)
N = 80


def gaussian(k, centre, fwhm):
    return np.exp(-4 * np.log(2) * ((np.asarray(k, float) - centre) / fwhm) ** 2)


def line(centre, depth, fwhm, n=N):
    return depth * gaussian(np.arange(n), centre, fwhm)


def depths(absorption, *, unabsorbed=100.0, sigma_pos=1.0, noise=0.0, rules=RULES):
    """Depths that are found where a spectrum is ``unabsorbed`` less ``absorption``."""
    unabsorbed = np.broadcast_to(unabsorbed, np.shape(absorption)).astype(np.float32)
    observed = (unabsorbed - absorption + noise).astype(np.float32)
    profile = np.zeros(observed.size, np.float32)
    find_dips(observed, observed, unabsorbed, sigma_pos, rules, profile)
    return profile


# The dip filter: bottom of one channel, three channels of shoulder from the second on


def spectrum_about(left, bottom, right, n=21):
    """``bottom`` in the three middle channels, ``left`` and ``right`` beside them."""
    k = np.arange(n) - n // 2
    return np.where(k < -1, left, np.where(k > 1, right, bottom)).astype(float)


def middle_dip(spectrum):
    return dip_filter(np.asarray(spectrum, float), len(spectrum) // 2, 0, 2, 3)


def test_dip_between_equal_peaks_is_one():
    assert middle_dip(spectrum_about(50, 20, 50)) == 1.0


@pytest.mark.parametrize(("left", "right"), [(50, 20), (20, 50)])
def test_drop_to_the_level_of_one_side_is_one_half(left, right):
    assert middle_dip(spectrum_about(left, 20, right)) == 0.5


@pytest.mark.parametrize("slope", [3, -3, 40])
def test_straight_slope_is_zero(slope):
    assert middle_dip(slope * np.arange(21.0)) == 0.0


@pytest.mark.parametrize(("left", "right"), [(20, 20), (20, 50), (45, 20)])
def test_bump_is_zero(left, right):
    assert middle_dip(spectrum_about(left, 50, right)) == 0.0


def test_flat_spectrum_is_zero():
    assert middle_dip(np.full(21, 30.0)) == 0.0


def test_unequal_shoulders_of_40_and_20_kelvin_give_three_quarters():
    assert middle_dip(spectrum_about(60, 20, 40)) == 0.75
    assert middle_dip(spectrum_about(40, 20, 60)) == 0.75


def test_dip_threshold_of_the_paper_asks_a_fifth_of_the_higher_shoulder():
    assert middle_dip(spectrum_about(120, 20, 40.1)) > 0.6
    assert middle_dip(spectrum_about(120, 20, 39.9)) < 0.6


@pytest.mark.parametrize(
    ("k", "expected"), [(0, 0), (1, 0), (2, 0), (3, 1), (16, 1), (17, 0), (18, 0), (19, 0)]
)
def test_shoulder_of_fewer_than_two_channels_is_zero_at_both_ends(k, expected):
    spectrum = np.full(20, 50.0)
    spectrum[k] = 20
    assert dip_filter(spectrum, k, 0, 2, 3) == expected


def test_blanks_are_left_out_until_fewer_than_two_channels_remain():
    spectrum = spectrum_about(50, 20, 50)
    spectrum[8] = np.nan
    assert middle_dip(spectrum) == 1
    spectrum[7] = np.nan
    assert middle_dip(spectrum) == 0
    assert middle_dip(spectrum[::-1]) == 0


def test_blank_bottom_is_zero():
    spectrum = spectrum_about(50, 20, 50)
    spectrum[10] = np.nan
    assert middle_dip(spectrum) == 0


SPECTRA = st.lists(st.one_of(st.integers(-50, 150).map(float), st.just(np.nan)), min_size=1, max_size=24).map(
    np.array
)


@RANDOM
@given(spectrum=SPECTRA, k=st.integers(0, 23), half_core=st.integers(0, 2), offset=st.integers(1, 4))
def test_dip_filter_is_bounded_symmetric_and_has_no_unit(spectrum, k, half_core, offset):
    k %= spectrum.size
    value = dip_filter(spectrum, k, half_core, offset, 3)
    mirrored = dip_filter(spectrum[::-1].copy(), spectrum.size - 1 - k, half_core, offset, 3)
    assert 0 <= value <= 1
    assert mirrored == pytest.approx(value, abs=1e-9)
    assert dip_filter(1000 * spectrum, k, half_core, offset, 3) == pytest.approx(value, abs=1e-9)


def slow_dip(spectrum, k, half_core, offset, n_shoulder):
    def mean(first, last, least):
        values = [spectrum[i] for i in range(first, last + 1) if 0 <= i < len(spectrum)]
        values = [value for value in values if np.isfinite(value)]
        return np.mean(values) if len(values) >= least else np.nan

    bottom = mean(k - half_core, k + half_core, 1)
    a = mean(k - offset - n_shoulder + 1, k - offset, 2) - bottom
    b = mean(k + offset, k + offset + n_shoulder - 1, 2) - bottom
    if not np.isfinite(a + b) or (a <= 0 and b <= 0):
        return 0.0
    return np.clip((a + b) / (2 * max(abs(a), abs(b))), 0, 1)


def slow_line_dip(spectrum, k, fwhm_chan, narrow_chan):
    """Shoulders of a narrow line's width from half of this line's width on."""
    return slow_dip(spectrum, k, int(narrow_chan / 4), int(np.ceil(fwhm_chan / 2)), int(np.ceil(narrow_chan)))


@RANDOM
@given(spectrum=SPECTRA, k=st.integers(0, 23), fwhm_chan=st.floats(2, 9), narrow_chan=st.floats(2, 9))
def test_dip_of_a_line_agrees_with_the_slow_version(spectrum, k, fwhm_chan, narrow_chan):
    k %= spectrum.size
    found = line_dip(spectrum, k, fwhm_chan, narrow_chan)
    assert found == pytest.approx(slow_line_dip(spectrum, k, fwhm_chan, narrow_chan), abs=1e-9)


@pytest.mark.parametrize("fwhm", [2 / STEP, 4 / STEP])
def test_line_of_the_fitted_width_is_a_dip_and_on_a_steep_edge_it_is_none(fwhm):
    k = np.arange(N)
    assert line_dip(100 - line(40, 30, fwhm), 40, fwhm, 2 / STEP) == pytest.approx(1, abs=1e-3)
    assert line_dip(100 - line(40, 30, fwhm) - 20.0 * k, 40, fwhm, 2 / STEP) < 0.6


# The fit


def lstsq_fit(depth, k_centre, fwhm_chan):
    k = np.flatnonzero(np.isfinite(depth))
    design = np.column_stack([gaussian(k, k_centre, fwhm_chan), np.ones(k.size), k])
    solution, *_ = np.linalg.lstsq(design, depth[k], rcond=None)
    left_over = depth[k] - design @ solution
    return solution[0], np.sqrt((left_over**2).sum() / (k.size - 3))


@RANDOM
@given(
    n=st.integers(6, 40),
    position=st.floats(0, 1),
    fwhm_chan=st.floats(1.5, 6),
    blank=st.booleans(),
    seed=st.integers(0, 9999),
)
def test_fit_agrees_with_least_squares(n, position, fwhm_chan, blank, seed):
    rng = np.random.default_rng(seed)
    k_centre = int(position * (n - 1))
    depth = (
        rng.normal(0, 3, n) + 20 * gaussian(np.arange(n), k_centre, fwhm_chan) + rng.normal() * np.arange(n)
    )
    if blank:
        depth[rng.integers(0, n)] = np.nan
    assert_allclose(
        fit_gaussian(depth, k_centre, fwhm_chan), lstsq_fit(depth, k_centre, fwhm_chan), rtol=1e-6
    )


@pytest.mark.parametrize("n", [5, 11, 30])
def test_fit_recovers_a_noiseless_line_on_a_sloping_base(n):
    k = np.arange(n)
    depth = 25 * gaussian(k, n // 2 - 1, 2.4) + 7 - 0.8 * k
    amplitude, sigma_fit = fit_gaussian(depth, n // 2 - 1, 2.4)
    assert amplitude == pytest.approx(25, rel=1e-9)
    assert sigma_fit == pytest.approx(0, abs=1e-5)


def test_fit_of_a_rise_is_negative():
    assert fit_gaussian(-12 * gaussian(np.arange(15), 7, 3), 7, 3)[0] == pytest.approx(-12)


@pytest.mark.parametrize("n_finite", [0, 1, 4])
def test_fit_of_fewer_than_five_channels_is_blank(n_finite):
    depth = np.full(12, np.nan)
    depth[3 : 3 + n_finite] = 1 + np.arange(n_finite) ** 2
    assert_array_equal(fit_gaussian(depth, 4, 2.4), (np.nan, np.nan))


@pytest.mark.parametrize(("k_centre", "fwhm_chan"), [(-60, 3), (10, 1e5)])
def test_fit_of_an_unconstrained_gaussian_is_blank(k_centre, fwhm_chan):
    assert_array_equal(fit_gaussian(np.arange(20.0) ** 2, k_centre, fwhm_chan), (np.nan, np.nan))


# Segments


@pytest.mark.parametrize(
    ("residual", "start", "expected"),
    [
        ([0, -3, -4, 0, -5], 0, (1, 3)),
        ([0, -3, -4, 0, -5], 3, (4, 5)),
        ([0, -3, -4, 0, -5], 2, (2, 3)),
        ([-3, -3, -3], 0, (0, 3)),
        ([-3, np.nan, -3], 0, (0, 1)),
        ([-2, 0, 5], 0, (3, 3)),
        ([np.nan, np.nan], 0, (2, 2)),
        ([], 0, (0, 0)),
    ],
)
def test_segment_is_the_first_run_below_the_level(residual, start, expected):
    assert next_segment(np.array(residual, float), -2.0, start) == expected


# Dips that are found


@pytest.mark.parametrize(("fwhm_kms", "depth"), [(2, 15), (2, 60), (3, 25), (4, 40)])
def test_injected_dip_comes_back_at_its_depth(fwhm_kms, depth):
    found = depths(line(40, depth, fwhm_kms / STEP))
    assert np.argmax(found) == 40
    assert found[40] == pytest.approx(depth, rel=0.25)


@pytest.mark.parametrize("fwhm_kms", [2, 4])
def test_dip_of_a_fitted_width_comes_back_exactly_without_noise(fwhm_kms):
    absorption = line(40, 30, fwhm_kms / STEP)
    kept = np.abs(np.arange(N) - 40) <= fwhm_kms / STEP
    only = RULES._replace(narrow_chan=fwhm_kms / STEP, broad_chan=fwhm_kms / STEP)
    assert_allclose(depths(absorption, rules=only)[kept], absorption[kept], rtol=1e-3)


def test_injected_dips_come_back_at_their_depth_within_the_noise():
    rng = np.random.default_rng(1)
    sigma, depth = 1.5, 20.0
    noise = rng.normal(0, sigma, (200, N))
    observed = (100 - line(40, depth, 2 / STEP) + noise).astype(np.float32)
    unabsorbed = np.full_like(observed, 100)
    found = find_dips_in_spectra(observed, observed, unabsorbed, np.full(200, sigma), RULES)
    peak = found[:, 38:43].max(axis=1)
    assert (peak > 0).mean() > 0.97
    assert np.median(peak) == pytest.approx(depth, abs=sigma)
    assert peak[peak > 0].std() < 2 * sigma


def test_noise_alone_gives_few_dips():
    observed = (100 + np.random.default_rng(2).normal(0, 2, (300, N))).astype(np.float32)
    found = find_dips_in_spectra(observed, observed, np.full_like(observed, 100), np.full(300, 2.0), RULES)
    assert (found > 0).mean() < 0.05


@pytest.mark.parametrize(("unabsorbed", "is_found"), [(29.9, False), (30.0, True)])
def test_dip_against_a_background_below_the_critical_brightness_is_rejected(unabsorbed, is_found):
    assert depths(line(40, 20, 3), unabsorbed=unabsorbed).any() == is_found


@pytest.mark.parametrize(("depth", "is_found"), [(43.9, True), (44.1, False)])
def test_dip_below_twice_the_level_is_noise(depth, is_found):
    assert depths(line(40, depth, 3), unabsorbed=40.0).any() == is_found


@pytest.mark.parametrize(("depth", "is_found"), [(1.9, False), (5.0, True)])
def test_dip_must_reach_the_threshold(depth, is_found):
    assert depths(line(40, depth, 3)).any() == is_found


def test_edge_of_emission_is_rejected_by_the_dip_filter():
    # U is too low on a rise that it cannot follow, and O rises all the way.
    rise = {"absorption": line(40, 20, 5), "unabsorbed": 60 + 12.0 * np.clip(np.arange(N) - 30, 0, 25)}
    assert np.all(np.diff(rise["unabsorbed"] - rise["absorption"]) >= -1)
    assert not depths(**rise).any()
    assert depths(**rise, rules=RULES._replace(dip_threshold=0)).any()


def test_fit_must_stand_out_of_the_residual_noise():
    assert depths(line(40, 20, 3), sigma_pos=4).any()
    assert not depths(line(40, 20, 3), sigma_pos=4, rules=RULES._replace(fit_significance=6)).any()


@pytest.mark.parametrize("first", [36, 38])
def test_two_dips_three_kms_apart_are_both_found(first):
    second = first + round(3 / STEP)
    found = depths(line(first, 30, 1.5 / STEP) + line(second, 24, 1.5 / STEP))
    assert found[first] > found[first + 2] < found[second]
    assert found[first] == pytest.approx(30, rel=0.3)
    assert found[second] == pytest.approx(24, rel=0.3)


def test_two_segments_are_both_found():
    found = depths(line(20, 30, 3) + line(60, 15, 3))
    assert found[20] > 20
    assert found[60] > 10
    assert not found[30:50].any()


@pytest.mark.parametrize("cut", [0.05, 0.3])
def test_profile_is_cut_at_a_fraction_of_its_amplitude(cut):
    rules = RULES._replace(narrow_chan=RULES.broad_chan, profile_cut=cut)
    found = depths(line(40, 40, 4 / STEP), rules=rules)
    assert found[found > 0].min() > 0.99 * cut * found.max()
    reach = 4 / STEP * np.sqrt(-np.log(cut) / (4 * np.log(2)))
    assert_array_equal(np.flatnonzero(found), np.flatnonzero(np.abs(np.arange(N) - 40) < reach))


def test_dips_near_either_end_of_the_band_stay_inside_it():
    for k in (3, 4, 5, 6):
        start, end = depths(line(k, 30, 2 / STEP)), depths(line(N - 1 - k, 30, 2 / STEP))
        assert_allclose(end[::-1], start, rtol=1e-5)
    assert start[6] > 20


@pytest.mark.parametrize("sigma_pos", [np.nan, 0.0])
def test_blank_and_noiseless_spectra_are_quiet(sigma_pos):
    flat = np.full((2, N), 50, np.float32)
    flat[1] = np.nan
    assert not find_dips_in_spectra(flat, flat, flat, np.full(2, sigma_pos), RULES).any()


def test_blank_channels_beside_a_dip_leave_it_where_it_is():
    absorption = line(40, 30, 3)
    absorption[48:52] = np.nan
    found = depths(absorption)
    assert np.argmax(found) == 40
    assert found[40] == pytest.approx(30, rel=0.2)


def test_spectra_are_judged_one_by_one():
    rng = np.random.default_rng(3)
    observed = (100 - line(30, 25, 3) + rng.normal(0, 2, (5, N))).astype(np.float32)
    unabsorbed = np.full_like(observed, 100)
    sigma = np.array([2, 2, np.nan, 2.5, 2])
    together = find_dips_in_spectra(observed, observed, unabsorbed, sigma, RULES)
    assert not together[2].any()
    for i in (0, 1, 3, 4):
        profile = np.zeros(N, np.float32)
        find_dips(observed[i], observed[i], unabsorbed[i], sigma[i], RULES, profile)
        assert_array_equal(together[i], profile)
        assert profile.any()


# The whole verdict, written out


def slow_segments(residual, level):
    below = np.concatenate([[False], residual < level, [False]]).astype(int)
    return list(zip(np.flatnonzero(np.diff(below) == 1), np.flatnonzero(np.diff(below) == -1), strict=True))


def slow_window(residual, level, first, stop, fwhm_chan):
    """The segment and a line width on each side, up to the next segment."""
    margin = max(3, round(fwhm_chan))
    left = next((i for i in range(1, margin + 1) if first - i < 0 or residual[first - i] < level), margin + 1)
    right = next(
        (i for i in range(margin) if stop + i >= residual.size or residual[stop + i] < level), margin
    )
    return first - left + 1, stop + right


def slow_profiles(observed, smoothed, unabsorbed, sigma_pos, rules):
    """The profile of every accepted (channel, width)."""
    residual, level = smoothed - unabsorbed, -rules.threshold * sigma_pos
    for first, stop in slow_segments(residual, level):
        for k in range(first, stop):
            near = [i for i in range(first, stop) if abs(i - k) < max(round(rules.narrow_chan), 1)]
            if residual[k] > min(residual[near]):
                continue
            if smoothed[k] < 2 * level or unabsorbed[k] < rules.critical_kelvin:
                continue
            for fwhm_chan in (rules.narrow_chan, rules.broad_chan):
                low, high = slow_window(residual, level, first, stop, fwhm_chan)
                if high - low < 5:
                    continue
                amplitude, sigma_fit = lstsq_fit(-residual[low:high].astype(float), k - low, fwhm_chan)
                is_dip = slow_line_dip(observed, k, fwhm_chan, rules.narrow_chan) >= rules.dip_threshold
                if is_dip and amplitude >= rules.fit_significance * max(sigma_fit, sigma_pos):
                    shape = gaussian(np.arange(residual.size), k, fwhm_chan)
                    yield np.where(shape > rules.profile_cut, amplitude * shape, 0)


def random_sight_line(seed):
    """O, S and U of a spectrum with several dips of any width on uneven emission."""
    rng = np.random.default_rng(seed)
    unabsorbed = 20 + 80 * gaussian(np.arange(N), rng.uniform(20, 60), 60)
    absorption = sum(line(rng.uniform(0, N), rng.uniform(0, 50), rng.uniform(1.5, 8)) for _ in range(4))
    smoothed = unabsorbed - absorption + rng.normal(0, 1, N)
    observed = smoothed + rng.normal(0, 1, N)
    return tuple(values.astype(np.float32) for values in (observed, smoothed, unabsorbed))


@RANDOM
@given(seed=st.integers(0, 99_999), sigma_pos=st.floats(0.8, 3), narrow_chan=st.floats(2, 6))
def test_profile_is_the_channelwise_maximum_of_all_accepted_gaussians(seed, sigma_pos, narrow_chan):
    sight_line = random_sight_line(seed)
    rules = RULES._replace(narrow_chan=narrow_chan, broad_chan=2 * narrow_chan)
    found = np.zeros(N, np.float32)
    find_dips(*sight_line, sigma_pos, rules, found)
    expected = np.max([np.zeros(N), *slow_profiles(*sight_line, sigma_pos, rules)], axis=0)
    assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_random_sight_lines_hold_dips_of_both_widths():
    counts = [len(list(slow_profiles(*random_sight_line(seed), 1.5, RULES))) for seed in range(40)]
    assert np.mean(counts) > 2
    assert len(set(counts)) > 3


@RANDOM
@given(seed=st.integers(0, 99_999), sigma_pos=st.floats(0.8, 3))
def test_reversed_spectrum_gives_the_reversed_profile(seed, sigma_pos):
    sight_line = random_sight_line(seed)
    forth, back = np.zeros(N, np.float32), np.zeros(N, np.float32)
    find_dips(*sight_line, sigma_pos, RULES, forth)
    find_dips(*(values[::-1].copy() for values in sight_line), sigma_pos, RULES, back)
    assert_allclose(back[::-1], forth, rtol=1e-5, atol=1e-5)


def test_broad_and_narrow_fits_are_combined_by_their_maximum():
    absorption = line(40, 40, 3 / STEP)
    narrow = depths(absorption, rules=RULES._replace(broad_chan=RULES.narrow_chan))
    broad = depths(absorption, rules=RULES._replace(narrow_chan=RULES.narrow_chan, dip_threshold=0.6))
    assert np.all(broad >= narrow)
    assert broad[44] > 0 == narrow[44]
    assert broad[40] == pytest.approx(max(narrow[40], broad[40]))
