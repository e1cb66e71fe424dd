"""The chance of the best of several templates."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import multivariate_normal, norm

from hisatools.noise import NoiseCorrelation
from hisatools.significance.chance import BestOfBank, bank_correlations
from hisatools.significance.matched import make_filters

Z = np.array([-1.0, 0.5, 2.0, 3.3, 5.0])


def test_one_template_has_the_normal_distribution():
    best = BestOfBank.of(np.ones((1, 1)))
    assert_allclose(best.p_value(Z), norm.sf(Z))


def test_the_same_template_twice_counts_once():
    best = BestOfBank.of(np.ones((2, 2)))
    assert_allclose(best.p_value(Z), norm.sf(Z), rtol=1e-9)


def test_independent_templates_count_each():
    best = BestOfBank.of(np.eye(5))
    assert_allclose(best.p_value(Z), 1 - norm.cdf(Z) ** 5, rtol=0.03)


@pytest.mark.parametrize("rho", [0.3, 0.9])
def test_correlated_templates_agree_with_the_integral(rho):
    correlations = np.array([[1, rho, rho**2], [rho, 1, rho], [rho**2, rho, 1]])
    together = multivariate_normal(np.zeros(3), correlations)
    expected = [1 - together.cdf(np.full(3, z), rng=np.random.default_rng(1)) for z in Z[:4]]
    assert_allclose(BestOfBank.of(correlations).p_value(Z[:4]), expected, rtol=0.04)


def test_p_values_fall_without_end_and_stay_below_one():
    p = BestOfBank.of(np.eye(4)).p_value(np.linspace(-7, 36, 300))
    assert (np.diff(p) <= 2e-3 * p[1:]).all() and p.max() <= 1 and p.min() > 0


def test_nan_stays_nan():
    assert np.isnan(BestOfBank.of(np.eye(2)).p_value([np.nan]))[0]


def test_correlations_of_a_bank_are_those_of_its_sums_over_noise():
    noise = NoiseCorrelation(2.0, 1.5)
    sky, lines = make_filters([1.0, 4.0], [2.0, 5.0], 2.0, noise, np.ones(31, bool), 0.1)
    found = bank_correlations(sky, lines, noise)
    assert_allclose(np.diag(found), 1)
    assert_allclose(found, found.T)
    assert (found > 0).all() and (found <= 1 + 1e-12).all()
    # The same width: the lines alone; the same line: the widths alone.
    assert_allclose(found[0, 1], found[2, 3])
    assert_allclose(found[0, 2], found[1, 3])
    assert_allclose(found[0, 3], found[0, 1] * found[0, 2])
