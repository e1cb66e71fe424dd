"""Results compared with truths of the user's own."""

from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from hisatools.errors import InputError, ParameterError, ParameterUnitsError
from hisatools.performance import Histograms, Truth, Voxels, compare_pairs
from hisatools.simulate import simulate_cube

KMS = u.km / u.s


def test_pairs_agree_with_comparing_their_voxels(pairs):
    model = compare_pairs(iter(pairs(2)), correlated_voxels=3.0)
    parts = [Histograms.compare(Voxels.of(truth), Voxels.of(found)) for truth, found in pairs(2)]
    expected = parts[0] + parts[1]
    assert_array_equal(model.histograms.bins, expected.bins)
    assert_array_equal(model.histograms.counts, expected.counts)
    assert model.correlated_voxels == 3.0
    assert model.models["n_out_all"].sum() == expected.counts[:, 2].sum()
    assert model.models["seed"].tolist() == [0, 1]


def test_units_of_pairs_do_not_matter(pairs):
    ((truth, found),) = pairs(1)
    in_mk = Truth(
        truth.delta_t.astype(float).to(u.mK),
        truth.t_unabsorbed.astype(float).to(u.mK),
        truth.pixel_scale.to(u.arcsec),
        truth.channel_width.to(u.m / u.s),
    )
    expected, given = compare_pairs([(truth, found)]), compare_pairs([(in_mk, found)])
    assert_array_equal(given.histograms.bins, expected.histograms.bins)
    assert_array_equal(given.histograms.counts, expected.histograms.counts)
    assert_allclose(given.histograms.drift_sums, expected.histograms.drift_sums, atol=1e-3)


def test_blank_margins_of_pairs_change_nothing(pairs):
    ((truth, found),) = pairs(1)

    def padded(one):
        cubes = [
            np.pad(cube.value, 3, constant_values=np.nan) * u.K for cube in (one.delta_t, one.t_unabsorbed)
        ]
        return Truth(*cubes, one.pixel_scale, one.channel_width)

    expected, given = compare_pairs([(truth, found)]), compare_pairs([(padded(truth), padded(found))])
    assert_array_equal(given.histograms.bins, expected.histograms.bins)
    assert_array_equal(given.histograms.counts, expected.histograms.counts)
    assert_array_equal(given.histograms.drift_sums, expected.histograms.drift_sums)


def test_pairs_of_models_and_results(stub, tiny):
    model = simulate_cube(tiny, seed=5)
    result = stub().run(model.cube)
    made = compare_pairs([(model, result), (model, model)])
    assert made.models["n_in_all"].tolist() == [model.mask.sum()] * 2
    assert made.models["n_out_all"].tolist() == [result.mask.sum(), model.mask.sum()]
    assert made.models["n_in_det"][1] == model.mask.sum()


def test_pairs_of_one_sight_line():
    delta_t = -np.array([0, 0, 10, 30, 10, 0, 0], np.float32)[:, None, None] * u.K
    truth = Truth(delta_t, np.full(delta_t.shape, 90) * u.K, 1 * u.arcmin, 1 * KMS)
    made = compare_pairs([(truth, truth)])
    assert made.histograms.column("n_in_det").sum() == 3
    assert made.throughput.at(
        delta_t=-30 * u.K, t_unabsorbed=90 * u.K, angular_width=2 * u.arcmin, velocity_width=1.5 * KMS
    ) == pytest.approx(1)


def test_pairs_without_absorption_are_no_fault(known):
    nothing = known(1, n_boxes=0)
    made = compare_pairs([(nothing, nothing)])
    assert len(made.histograms) == 0
    assert made.region("throughput").n_voxels == 0


def test_level_decides_what_counts(known):
    truth = known(1)
    deeper = replace(truth, level=10 * u.K)
    assert_array_equal(deeper.mask, truth.delta_t.value < -10)
    assert 0 < deeper.mask.sum() < truth.mask.sum()
    everything = replace(truth, level=0 * u.mK)
    assert_array_equal(everything.mask, truth.delta_t.value < 0)


def test_no_pairs_are_refused():
    with pytest.raises(ParameterError, match=r"pairs must hold at least one \(truth, found\), got none"):
        compare_pairs([])


def test_a_pair_without_its_list_is_refused(pairs):
    with pytest.raises(
        ParameterError, match=r"pairs\[0\] is no pair but a Truth; write \[\(truth, found\), ...\]"
    ):
        compare_pairs(pairs(1)[0])


def test_pairs_on_different_grids_are_refused(known):
    truth = known(1)
    with pytest.raises(InputError, match=r"must be on one grid, got \(24, 30, 32\) and \(24, 30, 31\)"):
        compare_pairs([(truth, known(1, shape=(24, 30, 31)))])
    for name, value in (("pixel_scale", 18.1 * u.arcsec), ("channel_width", 824 * u.m / u.s)):
        compare_pairs([(truth, replace(truth, **{name: getattr(truth, name) * 1.0005}))])
        with pytest.raises(
            InputError, match=rf"pairs\[1\]: {name} is .* in the truth and .* bring both to one"
        ):
            compare_pairs([(truth, truth), (truth, replace(truth, **{name: 1.01 * value}))])


def test_parts_of_a_truth_on_different_grids_are_refused(known):
    truth = known(1)
    odd = replace(truth, t_unabsorbed=truth.t_unabsorbed[:-1])
    with pytest.raises(InputError, match=r"must have one shape, got \(24, 30, 32\) and \(23, 30, 32\)"):
        compare_pairs([(odd, truth)])


def test_absorption_without_t_unabsorbed_is_refused(known):
    truth = known(1)
    with pytest.raises(InputError, match="needs a finite T_U and a dT below 0 K"):
        compare_pairs([(replace(truth, t_unabsorbed=np.nan * truth.t_unabsorbed), truth)])


@pytest.mark.parametrize("value", [0, -1.0, 0.5, np.nan, "1"])
def test_correlated_voxels_of_pairs_are_checked(value, pairs):
    if value == 0.5:
        assert compare_pairs(pairs(1), correlated_voxels=value).correlated_voxels == value
        return
    with pytest.raises(ParameterError, match="correlated_voxels must be"):
        compare_pairs(pairs(1), correlated_voxels=value)


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        (
            "delta_t",
            -np.ones((3, 2, 2)),
            ParameterUnitsError,
            r"delta_t needs a unit of K, got ndarray; write",
        ),
        (
            "t_unabsorbed",
            np.ones((3, 2, 2)) * u.Jy,
            ParameterUnitsError,
            "t_unabsorbed needs a unit of K, got Jy",
        ),
        ("pixel_scale", 0.3, ParameterUnitsError, "pixel_scale needs a unit of arcmin, got 0.3"),
        ("pixel_scale", -0.3 * u.arcmin, ParameterError, "pixel_scale must be finite and above 0 arcmin"),
        (
            "channel_width",
            -824 * u.m / u.s,
            ParameterError,
            "channel_width must be finite and above 0 km / s",
        ),
        (
            "channel_width",
            1 * u.MHz,
            ParameterUnitsError,
            "channel_width needs a unit of km / s, got 1.0 MHz",
        ),
        ("level", 0.005, ParameterUnitsError, "level needs a unit of K, got 0.005"),
        ("level", -1 * u.K, ParameterError, "level must be finite and at least 0 K"),
    ],
)
def test_a_truth_is_checked_when_made(name, value, error, message, known):
    with pytest.raises(error, match=message):
        replace(known(1), **{name: value})
