"""The prior itself: its term, TS with it, draws from it, products, and axes."""

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.utils.masked import Masked
from astropy.wcs import WCS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal

from hisatools import HISACube
from hisatools.errors import HISAWarning, InputError, OutputError, ParameterError
from hisatools.significance.places import hottest
from hisatools.significance.prior import SpatialPrior
from hisatools.significance.prior_axes import check_same_axes
from hisatools.simulate import ModelParameters, model_wcs

N_V, N_Y, N_X = SHAPE = (4, 5, 6)
AXES = model_wcs(ModelParameters(shape=SHAPE))
QUICK = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
PROBABILITIES = st.one_of(st.just(0.0), st.floats(1e-30, 1e30))


def make_prior(values, **fields):
    values = np.asarray(values, float)
    return SpatialPrior(values, model_wcs(ModelParameters(shape=(N_V, *values.shape[-2:]))), **fields)


def random_prior(seed, shape, zeros=0.2):
    rng = np.random.default_rng(seed)
    return make_prior(rng.random(shape) * (rng.random(shape) > zeros))


def reference_with_prior(ts, probability, allowed):
    """TS' voxel by voxel, as the formula is written."""
    probability = np.broadcast_to(probability, ts.shape)
    usable = [place for place in np.ndindex(ts.shape) if allowed[place] and not np.isnan(ts[place])]
    top = max(probability[place] for place in usable)
    found = np.where(np.isnan(ts), np.nan, 0.0)
    for place in usable:
        if probability[place] > 0 and np.isfinite(ts[place]):
            found[place] = max(ts[place] + 2 * (np.log(probability[place]) - np.log(top)), 0)
    return found


# --- the term ---------------------------------------------------------------------------------


@QUICK
@given(arrays(float, (3, 4), elements=PROBABILITIES))
def test_the_term_is_zero_at_the_peak_and_below_it_elsewhere(values):
    prior = make_prior(values)
    if not values.any():
        with pytest.raises(ParameterError, match="0 everywhere in the field"):
            prior.term()
        return
    term = prior.term()
    assert term.dtype == np.float32
    assert term.max() == 0
    assert term.flat[np.argmax(values)] == 0
    assert_array_equal(np.isneginf(term), values == 0)


@QUICK
@given(arrays(float, (3, 4), elements=st.floats(1e-10, 1e10)), st.floats(1e-10, 1e10))
def test_the_normalisation_does_not_matter(values, scale):
    assert_allclose(make_prior(values).term(), make_prior(values * scale).term(), atol=1e-4)


def test_an_order_of_magnitude_costs_4_6():
    assert_allclose(make_prior([[1, 0.1, 0.01]]).term(), [[0, -4.60517, -9.21034]], rtol=1e-6)


def test_the_largest_value_is_that_of_an_allowed_voxel_and_nothing_else_is_allowed():
    prior = make_prior([[8.0, 4.0, 2.0]])
    term = prior.term(np.array([[False, True, True]]))
    assert_allclose(term, [[-np.inf, 0, -2 * np.log(2)]], rtol=1e-6)


def test_a_sight_line_counts_for_a_map_if_any_of_its_channels_is_allowed():
    allowed = np.zeros((3, 1, 2), bool)
    allowed[2, 0, 1] = True
    assert_array_equal(make_prior([[5.0, 1.0]]).term(allowed), [[-np.inf, 0]])


def test_a_map_of_what_is_allowed_goes_with_a_prior_with_channels():
    values = np.array([[[4.0, 1.0]], [[9.0, 2.0]]])
    term = make_prior(values).term(np.array([[False, True]]))
    assert_allclose(term, [[[-np.inf, 2 * np.log(0.5)]], [[-np.inf, 0]]], rtol=1e-6)


@pytest.mark.parametrize("allowed", [np.ones((2, 2), bool), np.ones((3, 3), bool), np.ones((1, 3))])
def test_what_is_allowed_must_fit(allowed):
    with pytest.raises(InputError, match="allowed must be True or False"):
        make_prior([[1, 2, 3]]).term(allowed)


def test_a_prior_that_is_zero_where_something_may_be_is_refused():
    with pytest.raises(
        ParameterError, match="0 everywhere in what is allowed; give one that is not, or a floor"
    ):
        make_prior([[1, 0]]).term(np.array([[False, True]]))


# --- TS with it -------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("prior_shape", [(N_Y, N_X), SHAPE])
def test_ts_with_the_prior_follows_the_formula(prior_shape, dtype):
    rng = np.random.default_rng(6001)
    prior = random_prior(6002, prior_shape)
    ts = (5 * rng.standard_normal(SHAPE) ** 2).astype(dtype)
    ts[rng.random(SHAPE) < 0.1] = np.nan
    ts[0, 0, 0], ts[1, 1, 1] = np.inf, -3
    allowed = rng.random(SHAPE) < 0.8
    before = ts.copy()
    found = prior.apply(ts, allowed)
    assert found.dtype == dtype
    assert_allclose(found, reference_with_prior(ts, prior.probability, allowed), rtol=1e-5, atol=1e-5)
    assert_array_equal(ts, before)


def test_zero_excludes_whatever_ts_is():
    found = make_prior([[0.0, 1.0, 0.0]]).apply(np.array([[1e30, 1.0, np.inf]]))
    assert_array_equal(found, [[0, 1, 0]])


def test_blank_stays_blank_and_infinite_becomes_zero():
    found = make_prior([[1.0, 1.0, 1.0, 1.0]]).apply(np.array([[np.nan, np.inf, -np.inf, 2.0]]))
    assert_array_equal(found, [[np.nan, 0, 0, 2]])


def test_the_largest_prior_under_a_blank_voxel_does_not_count():
    assert_array_equal(make_prior([[100.0, 1.0]]).apply(np.array([[np.nan, 3.0]])), [[np.nan, 3]])


def test_with_nothing_allowed_all_is_zero_or_blank():
    prior = make_prior([[1.0, 0.0]])
    assert_array_equal(prior.apply(np.full((2, 1, 2), np.nan)), np.full((2, 1, 2), np.nan))
    assert_array_equal(prior.apply([[5, 5]], np.zeros((1, 2), bool)), [[0, 0]])


def test_the_same_prior_everywhere_changes_nothing():
    ts = np.random.default_rng(6003).chisquare(1, SHAPE).astype(np.float32)
    assert_array_equal(make_prior(np.full((N_Y, N_X), 0.3)).apply(ts), ts)


def test_one_voxel_keeps_its_ts():
    assert_array_equal(make_prior([[0.01]]).apply([[[7.0]]]), [[[7.0]]])


@pytest.mark.parametrize("shape", [(3, 3), (N_V, N_Y, N_X + 1), (N_X,), (1, *SHAPE)])
def test_ts_of_another_shape_is_refused(shape):
    with pytest.raises(InputError, match="does not fit the prior"):
        random_prior(1, (N_Y, N_X)).apply(np.zeros(shape))


def test_a_map_of_ts_does_not_go_with_a_prior_with_channels():
    with pytest.raises(InputError, match="does not fit the prior"):
        random_prior(1, SHAPE).apply(np.zeros((N_Y, N_X)))


# --- draws ------------------------------------------------------------------------------------


def chi_square(voxels, probability):
    """Chi-square of counts against a prior, in units of its standard deviation above its mean."""
    counts = np.bincount(np.ravel_multi_index(voxels.T, probability.shape), minlength=probability.size)
    expected = probability.ravel() / probability.sum() * len(voxels)
    used = expected > 0
    assert not counts[~used].any()
    value = np.sum((counts[used] - expected[used]) ** 2 / expected[used])
    return (value - used.sum() + 1) / np.sqrt(2 * (used.sum() - 1))


@pytest.mark.parametrize("shape", [(N_Y, N_X), SHAPE])
def test_draws_follow_the_prior(shape):
    prior = random_prior(6004, shape)
    voxels = prior.draw(60_000, np.random.default_rng(6005), n_channels=N_V)
    assert voxels.shape == (60_000, 3)
    expected = np.broadcast_to(prior.probability, SHAPE)
    assert abs(chi_square(voxels, expected)) < 4


@pytest.mark.parametrize("shape", [(N_Y, N_X), SHAPE])
def test_draws_keep_to_what_is_allowed(shape):
    rng = np.random.default_rng(6006)
    prior, allowed = random_prior(6007, shape), rng.random(SHAPE) < 0.5
    voxels = prior.draw(60_000, rng, allowed)
    expected = prior.probability * allowed
    if len(shape) == 2:
        # The sight line by the prior, then its allowed channels alike.
        expected = expected / np.maximum(allowed.sum(axis=0), 1)
    assert abs(chi_square(voxels, expected)) < 4


def test_a_map_of_what_is_allowed_is_enough_if_the_channels_are_known():
    prior, allowed = random_prior(6008, (N_Y, N_X), zeros=0), np.zeros((N_Y, N_X), bool)
    allowed[2, 3] = True
    voxels = prior.draw(200, np.random.default_rng(1), allowed, n_channels=2)
    assert set(map(tuple, voxels)) == {(0, 2, 3), (1, 2, 3)}


@pytest.mark.parametrize("shape", [(N_Y, N_X), SHAPE])
def test_the_same_seed_draws_the_same_places(shape):
    prior = random_prior(6009, shape)
    first, second, other = (
        prior.draw(50, np.random.default_rng(seed), n_channels=N_V) for seed in (6010, 6010, 6011)
    )
    assert_array_equal(first, second)
    assert (first != other).any()


def test_no_draw_and_one_voxel():
    assert random_prior(1, SHAPE).draw(0, np.random.default_rng(1)).shape == (0, 3)
    assert_array_equal(make_prior([[2.0]]).draw(3, np.random.default_rng(1), n_channels=1), np.zeros((3, 3)))


def test_draws_need_a_generator_channels_and_a_prior_above_zero():
    prior, rng = random_prior(1, (N_Y, N_X)), np.random.default_rng(1)
    with pytest.raises(ParameterError, match="rng must be a numpy Generator, got 7"):
        prior.draw(1, 7)
    with pytest.raises(ParameterError, match="n_channels=cube"):
        prior.draw(1, rng)
    with pytest.raises(ParameterError, match="n must be"):
        prior.draw(-1, rng, n_channels=2)
    with pytest.raises(ParameterError, match="0 wherever a place may be drawn"):
        make_prior([[0.0, 1.0]]).draw(1, rng, np.array([[True, False]]), n_channels=2)


# --- products ---------------------------------------------------------------------------------


@pytest.mark.parametrize("shapes", [[(N_Y, N_X)] * 3, [SHAPE, (N_Y, N_X)], [(N_Y, N_X), SHAPE, SHAPE]])
def test_terms_of_a_product_are_the_sum_up_to_a_constant(shapes):
    priors = [random_prior(seed, shape) for seed, shape in enumerate(shapes)]
    with np.errstate(divide="ignore"):
        total = sum(2 * np.log(prior.probability) for prior in priors)
    term = SpatialPrior.product(*priors).term()
    assert term.shape == max(shapes, key=len)
    assert_allclose(term, total - total.max(), rtol=1e-5, atol=1e-5)


def test_a_product_is_written_with_a_star_and_remembers_its_parts():
    dust, gas = (make_prior([[1.0, 2.0]], name=name, meta={"kind": name}) for name in ("dust", "gas"))
    both = dust * gas
    assert both.name == "dust x gas"
    assert both.meta["priors"] == [{"kind": "dust"}, {"kind": "gas"}]
    assert_allclose(both.term(), 2 * dust.term())


def test_a_product_of_huge_values_does_not_overflow():
    huge = make_prior([[1e300, 1e299]])
    assert_allclose((huge * huge).term(), [[0, -4 * np.log(10)]], rtol=1e-6)


def test_a_product_with_a_prior_that_is_zero_everywhere_is_zero():
    with pytest.raises(ParameterError, match="0 everywhere"):
        (make_prior([[1.0, 1.0]]) * make_prior([[0.0, 0.0]])).term()


def test_only_priors_of_one_field_can_be_multiplied():
    prior = random_prior(1, SHAPE)
    elsewhere = AXES.deepcopy()
    elsewhere.wcs.crval = 141, 0, -40e3
    faster = AXES.deepcopy()
    faster.wcs.crval = 140, 0, -39e3
    with pytest.raises(InputError, match="another part of the sky"):
        prior * SpatialPrior(prior.probability, elsewhere)
    with pytest.raises(InputError, match="other velocities"):
        prior * SpatialPrior(prior.probability, faster)
    with pytest.raises(InputError, match="does not fit"):
        prior * random_prior(1, (N_Y, N_X + 1))
    with pytest.raises(ParameterError, match="got SpatialPrior, int; write for example dust \\* co"):
        SpatialPrior.product(prior, 3)
    with pytest.raises(ParameterError, match="got none"):
        SpatialPrior.product()
    with pytest.raises(TypeError):
        prior * 3


# --- axes and construction --------------------------------------------------------------------


def make_cube(wcs, shape=SHAPE):
    kelvin = np.random.default_rng(6012).random(shape).astype(np.float32)
    return HISACube(kelvin * u.K, wcs)


def test_a_prior_fits_its_own_cube_only():
    cube = make_cube(AXES)
    prior = random_prior(1, SHAPE)
    prior.check_axes(cube)
    random_prior(1, (N_Y, N_X)).check_axes(cube)
    with pytest.raises(InputError, match="other velocities than the cube, 1 channels off"):
        prior.check_axes(make_cube(model_wcs(ModelParameters(shape=(N_V + 2, N_Y, N_X)))))
    with pytest.raises(InputError, match="1 pixels off"):
        shifted = AXES.deepcopy()
        shifted.wcs.crpix = np.add(AXES.wcs.crpix, [0, 1, 0])
        prior.check_axes(make_cube(shifted))
    with pytest.raises(InputError, match="does not fit the cube"):
        prior.check_axes(cube.cutout((slice(0, 3), slice(None), slice(None))))


@pytest.mark.parametrize("shape", [(N_Y, N_X), SHAPE])
def test_axes_are_compared_with_a_wcs_too_and_the_thing_is_named(shape):
    prior = random_prior(1, shape)
    check_same_axes(prior, AXES, SHAPE, "the scan")
    elsewhere, unknown = AXES.deepcopy(), AXES.deepcopy()
    elsewhere.wcs.crval = 200, 0, -40e3
    unknown.wcs.ctype = "SLON-CAR", "SLAT-CAR", "VRAD"
    with pytest.raises(InputError, match="another part of the sky than the scan"):
        check_same_axes(prior, elsewhere, SHAPE, "the scan")
    with pytest.raises(InputError, match="in a frame that is not understood"):
        check_same_axes(prior, unknown, SHAPE, "the scan")
    with pytest.raises(InputError, match="does not fit the scan of shape"):
        check_same_axes(prior, AXES, (N_V, N_X, N_Y), "the scan")
    with pytest.raises(ParameterError, match="prior must be a SpatialPrior, got list"):
        check_same_axes([prior, prior], AXES, SHAPE, "the scan")


def test_a_prior_with_channels_needs_a_velocity_axis_to_compare_with():
    with pytest.raises(InputError, match="has channels, but the WCS of the scan has 2 axes"):
        check_same_axes(random_prior(1, SHAPE), AXES.celestial, SHAPE, "the scan")


def test_ecliptic_axes_are_not_taken_for_equatorial_ones():
    equatorial, ecliptic = AXES.deepcopy(), AXES.deepcopy()
    equatorial.wcs.ctype, ecliptic.wcs.ctype = (
        ("RA---CAR", "DEC--CAR", "VRAD"),
        ("ELON-CAR", "ELAT-CAR", "VRAD"),
    )
    prior = SpatialPrior(np.ones(SHAPE), ecliptic)
    prior.check_axes(make_cube(ecliptic))
    with pytest.raises(InputError, match="another part of the sky"):
        prior.check_axes(make_cube(equatorial))


def test_what_is_nan_becomes_zero_and_is_said():
    with pytest.warns(HISAWarning, match="50.0% of the prior 'prior' is NaN or masked and taken as 0"):
        prior = make_prior([[np.nan, 2.0]])
    assert_array_equal(prior.probability, [[0, 2]])


def test_what_is_masked_is_not_known_whatever_is_beneath():
    values = np.ma.array([[1e6, 2.0, 1.0]], mask=[[True, False, False]])
    with pytest.warns(HISAWarning, match="33.3% of the prior 'prior' is NaN or masked"):
        prior = SpatialPrior(values, AXES)
    assert_array_equal(prior.probability, [[0, 2, 1]])


@pytest.mark.parametrize("kind", [np.ma.array, Masked])
def test_masked_ts_is_blank(kind):
    ts = kind(np.array([[1e6, 5.0, 1.0]], np.float32), mask=np.array([[True, False, False]]))
    found = make_prior([[1.0, 1.0, 1.0]]).apply(ts)
    assert type(found) is np.ndarray
    assert found.dtype == np.float32
    assert_array_equal(found, [[np.nan, 5, 1]])
    assert hottest(ts, AXES.celestial).voxel == (0, 1)
    allowed = np.ma.array([[True, True, True]], mask=[[False, True, False]])
    assert_array_equal(make_prior([[1.0, 1.0, 1.0]]).apply(np.ones((1, 3)), allowed), [[1, 0, 1]])


@pytest.mark.parametrize(
    "values", [[[-1.0, 1.0]], [[np.inf, 1.0]], [1.0, 2.0], np.zeros((0, 3)), 3.0, [["a", "b"]]]
)
def test_values_that_are_no_prior_are_refused(values):
    with pytest.raises(ParameterError, match="probability must"):
        SpatialPrior(values, AXES)


@pytest.mark.parametrize("wcs", [None, AXES.celestial, WCS(naxis=3)])
def test_the_wcs_must_have_the_axes_of_the_prior(wcs):
    with pytest.raises(ParameterError, match="wcs must be that of the cube, with 3 axes or more"):
        SpatialPrior(np.ones(SHAPE), wcs)


def test_a_map_takes_the_sky_of_the_cube():
    assert SpatialPrior(np.ones((N_Y, N_X)), AXES).wcs.naxis == 2


@pytest.mark.parametrize("shape", [(N_Y, N_X), SHAPE])
def test_what_is_written_is_read_again(shape, tmp_path):
    prior, cube = random_prior(6013, shape), make_cube(AXES)
    prior.write(tmp_path / "prior.fits")
    again = SpatialPrior.read(tmp_path / "prior.fits", cube)
    assert again.probability.shape == shape
    assert_allclose(again.probability, prior.probability, rtol=1e-6)
    # What is excluded stays excluded, whatever the rounding of the WCS.
    assert (prior.probability == 0).any()
    assert_array_equal(again.probability == 0, prior.probability == 0)
    with pytest.raises(OutputError, match="exists already"):
        prior.write(tmp_path / "prior.fits")


def test_it_says_what_it_is():
    assert repr(random_prior(1, SHAPE)) == "<SpatialPrior 'prior' 4 channels x 5 x 6 pixels>"


# --- the hottest place ------------------------------------------------------------------------


def test_the_hottest_place_is_found_with_its_coordinates():
    ts = np.random.default_rng(6014).chisquare(1, SHAPE)
    ts[0, 0, 0], ts[3, 1, 4] = np.nan, 90
    place = hottest(ts, AXES)
    assert place.voxel == (3, 1, 4)
    assert place.value == 90
    expected = SkyCoord(*AXES.celestial.wcs_pix2world(4, 1, 0), unit="deg", frame="galactic")
    assert place.position.separation(expected) < 1e-9 * u.deg
    (speed,) = AXES.sub([3]).wcs_pix2world(3, 0)
    assert_allclose(place.velocity.to_value(u.m / u.s), speed)


def test_of_places_as_hot_the_first_counts():
    ts = np.zeros(SHAPE)
    ts[2, 4, 0] = ts[2, 1, 5] = ts[3, 0, 0] = 4
    assert hottest(ts, AXES).voxel == (2, 1, 5)


@pytest.mark.parametrize("value", [np.nan, 0.0, -1.0])
def test_nothing_above_zero_is_nowhere(value):
    assert hottest(np.full(SHAPE, value), AXES) is None


def test_a_map_has_no_velocity():
    ts = np.zeros((N_Y, N_X))
    ts[4, 2] = 3
    place = hottest(ts, AXES.celestial)
    assert place.voxel == (4, 2)
    assert place.velocity is None


def test_the_hottest_place_needs_axes_that_fit():
    for values, wcs in ((np.ones(3), AXES), (np.ones(SHAPE), AXES.celestial)):
        with pytest.raises(InputError, match="does not fit"):
            hottest(values, wcs)
