"""How likely each voxel of a result is real, and each feature's reliability and completeness."""

from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from hisatools.errors import HISAWarning, InputError
from hisatools.performance import PerformanceModel, equivalent_sigma
from hisatools.simulate import simulate_cube

COLUMNS = ["reliability", "completeness", "assessed"]


@pytest.fixture(scope="module")
def result(stub, tiny):
    """A result with features of many sizes."""
    found = stub().run(simulate_cube(tiny, seed=31).cube)
    assert len(found.catalog) > 10
    return found


@pytest.fixture(scope="module")
def trained(stub, tiny):
    """A model of other cubes of the same kind."""
    return PerformanceModel.run(3, seed=32, parameters=tiny, extractor=stub())


@pytest.fixture(scope="module")
def assessed(trained, result):
    with_meta = replace(result, meta={"parameters": trained.meta["extractor"]["parameters"]})
    return trained.assess(with_meta)


def test_reliability_told_by_the_mirrored_cube_is_replaced_with_a_warning(trained, result):
    own = {"parameters": trained.meta["extractor"]["parameters"]}
    catalog = result.catalog.copy()
    catalog["reliability"] = 2.0
    mirrored = replace(result, catalog=catalog, meta=own | {"reliability": {"n_mirrored": 60}})
    with pytest.warns(HISAWarning, match="a column reliability already, told by the mirrored cube"):
        again = trained.assess(mirrored)
    assert "reliability" not in again.meta
    assert_array_equal(
        again.catalog["reliability"], trained.assess(replace(result, meta=own)).catalog["reliability"]
    )


def in_brighter_sky(result, where):
    """The same absorption 500 K up: T_U as no model has it."""
    more = np.where(where, np.float32(500), np.float32(0))
    return replace(
        result,
        t_on=result.t_on + more * u.K,
        unabsorbed_kelvin=result.unabsorbed_kelvin + result.at_voxels(more),
    )


def at_its_voxels(measure, result):
    """The measure at every voxel of a mask, by the observables of the result."""
    mask = result.mask
    return measure.at(
        delta_t=result.delta_t[mask],
        t_unabsorbed=result.t_unabsorbed[mask],
        angular_width=result.angular_width[mask],
        velocity_width=result.velocity_width[mask],
    )


# --- voxels ---------------------------------------------------------------------------------------


def test_true_fraction_is_that_of_the_observables_of_each_voxel(trained, result):
    likely = trained.true_fraction_at(result)
    assert likely.shape == result.mask.shape
    assert likely.dtype == np.float32
    assert np.isnan(likely[~result.mask]).all()
    expected = at_its_voxels(trained.true_fraction, result)
    assert_allclose(likely[result.mask], expected, rtol=1e-4)
    known = expected[np.isfinite(expected)]
    assert known.size > result.mask.sum() / 2
    assert known.min() >= 0
    assert known.max() <= 1
    assert known.std() > 0.02


def test_what_was_all_true_is_certain(known):
    truth = known(2)
    model = PerformanceModel.from_pairs([(truth, truth)])
    likely = model.true_fraction_at(truth)
    assert_array_equal(np.isfinite(likely), truth.mask)
    assert (likely[truth.mask] == 1).all()


def test_voxels_unlike_any_of_the_models_have_no_likelihood(trained, result):
    brighter = in_brighter_sky(result, result.mask)
    assert np.isnan(trained.true_fraction_at(brighter)).all()


def test_nothing_found_has_no_likelihood_anywhere(trained, result):
    nothing = replace(
        result, flags=np.zeros_like(result.flags), unabsorbed_kelvin=result.unabsorbed_kelvin[:0]
    )
    likely = trained.true_fraction_at(nothing)
    assert likely.shape == result.mask.shape
    assert np.isnan(likely).all()


# --- features -------------------------------------------------------------------------------------


def test_features_have_the_means_over_their_voxels(assessed, trained, result):
    labels = result.labels[result.mask]
    true_fraction = at_its_voxels(trained.true_fraction, result)
    throughput = at_its_voxels(trained.throughput, result)
    assert assessed.catalog.colnames == [*result.catalog.colnames, *COLUMNS]
    for row in assessed.catalog:
        own = labels == row["id"]
        known, found = np.isfinite(true_fraction[own]), np.isfinite(throughput[own])
        assert row["assessed"] == pytest.approx(known.mean())
        for name, values, finite in (
            ("reliability", true_fraction, known),
            ("completeness", throughput, found),
        ):
            if finite.any():
                assert row[name] == pytest.approx(values[own][finite].mean(), rel=1e-5)
            else:
                assert np.isnan(row[name])
    assert (assessed.catalog["assessed"] > 0).any()


def test_a_feature_unlike_any_of_the_models_is_not_assessed(trained, result):
    strange = result.labels == 2
    other = in_brighter_sky(result, strange)
    before, after = trained.assess(result).catalog, trained.assess(other).catalog
    assert np.isfinite(before["reliability"][1])
    assert after["assessed"][1] == 0
    assert np.isnan(after["reliability"][1])
    assert np.isnan(after["completeness"][1])
    for name in COLUMNS:
        assert_array_equal(np.delete(after[name], 1), np.delete(before[name], 1))


def test_a_feature_of_which_half_is_unlike_has_the_mean_of_the_rest(trained, result):
    (wide,) = np.flatnonzero(result.catalog["n_voxels"] == result.catalog["n_voxels"].max())[:1]
    strange = result.labels == wide + 1
    strange &= np.cumsum(strange).reshape(strange.shape) % 2 == 0
    other = in_brighter_sky(result, strange)
    row = trained.assess(other).catalog[wide]
    likely = trained.true_fraction_at(other)[result.labels == wide + 1]
    assert 0 < row["assessed"] < 0.6
    assert row["assessed"] == pytest.approx(np.isfinite(likely).mean())
    assert row["reliability"] == pytest.approx(np.nanmean(likely), rel=1e-5)


def test_features_like_false_ones_only_are_assessed_without_a_completeness(result, known):
    nothing = known(1, n_boxes=0, shape=result.mask.shape, pixel_scale=result.pixel_scale)
    catalog = PerformanceModel.from_pairs([(nothing, result)]).assess(result).catalog
    assert (catalog["assessed"] == 1).all()
    assert (catalog["reliability"] == 0).all()
    assert np.isnan(catalog["completeness"]).all()


def test_columns_explain_themselves(assessed):
    for name in COLUMNS:
        assert len(assessed.catalog[name].info.description) > 30
        assert assessed.catalog[name].dtype == float


def test_the_rest_of_the_result_stays(assessed, trained, result):
    assert_array_equal(assessed.true_fraction, trained.true_fraction_at(result))
    assert result.true_fraction is None
    assert not set(COLUMNS) & set(result.catalog.colnames)
    assert "performance" not in result.meta
    for name in ("t_on", "unabsorbed_kelvin", "flags", "labels", "first_pass", "wcs"):
        assert getattr(assessed, name) is getattr(result, name)
    for name in result.catalog.colnames:
        assert_array_equal(assessed.catalog[name], result.catalog[name])


def test_provenance_names_the_models(assessed, trained):
    about = assessed.meta["performance"]
    assert (about["kind"], about["n_models"]) == ("models", 3)
    assert about["model"] == trained.meta["model"]


def test_assessing_twice_changes_nothing(assessed, trained):
    again = trained.assess(assessed)
    assert again.catalog.colnames == assessed.catalog.colnames
    for name in COLUMNS:
        assert_array_equal(again.catalog[name], assessed.catalog[name])


def test_an_empty_catalogue_gets_its_columns(trained, stub, tiny):
    cube = simulate_cube(replace(tiny, n_pucks=0, noise=0.1 * u.K), seed=31).cube
    flat = cube.with_brightness(np.broadcast_to(cube.kelvin[:, :1, :1], cube.shape))
    nothing = stub().run(flat)
    assert not nothing.mask.any()
    catalog = trained.assess(nothing).catalog
    assert len(catalog) == 0
    assert catalog.colnames[-3:] == COLUMNS


# --- doubts ---------------------------------------------------------------------------------------


def test_a_result_of_other_parameters_is_doubted(trained, stub, result):
    other = replace(result, meta={"parameters": stub(n_passes=3).settings()["parameters"]})
    with pytest.warns(
        HISAWarning, match=r"of another extraction \(n_passes 2 instead of 3\): make one with the"
    ):
        trained.assess(other)


def test_a_result_on_another_grid_is_doubted(trained, result):
    other = replace(
        trained, meta=trained.meta | {"model": trained.meta["model"] | {"pixel_scale": "5 arcmin"}}
    )
    with pytest.warns(HISAWarning, match="for pixel_scale=5 arcmin, and this result has 1 arcmin"):
        other.assess(result)


def test_a_result_that_is_mostly_unlike_the_models_is_doubted(trained, result):
    brighter = in_brighter_sky(result, result.mask)
    with pytest.warns(
        HISAWarning, match="only 0 % of the accepted voxels are like voxels of the performance"
    ):
        assessed = trained.assess(brighter)
    assert (assessed.catalog["assessed"] == 0).all()


# --- figure 14 ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fraction", "sigma"),
    [(0.682690, 1), (0.954500, 2), (0.997300, 3), (0.999937, 4), (0.999999, 4.90), (0, 0)],
)
def test_equivalent_sigmas_are_those_of_figure_14(fraction, sigma):
    assert equivalent_sigma(fraction) == pytest.approx(sigma, abs=0.01)


def test_equivalent_sigma_of_certainty_and_of_nothing():
    assert_array_equal(equivalent_sigma([1.0, np.nan]), [np.inf, np.nan])
    assert equivalent_sigma(np.float32([[0.5, 0.9]])).shape == (1, 2)


@pytest.mark.parametrize("fraction", [-0.01, 1.0001, [0.5, 2]])
def test_equivalent_sigma_of_no_fraction_is_refused(fraction):
    with pytest.raises(InputError, match="fraction must lie within 0 and 1"):
        equivalent_sigma(fraction)
