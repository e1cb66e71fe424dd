"""Figures of priors and TS: what is shown, marked and written. How they look is for eyes to judge."""

import numpy as np
import pytest
from matplotlib.colors import LogNorm
from numpy.testing import assert_allclose, assert_array_equal

from hisatools.errors import InputError, ParameterError
from hisatools.plotting.style import new_figure
from hisatools.significance.prior import SpatialPrior
from hisatools.significance.prior_figures import plot_prior_effect, plot_ts
from hisatools.simulate import ModelParameters, model_wcs

SHAPE = (3, 8, 10)
WCS = model_wcs(ModelParameters(shape=SHAPE))


@pytest.fixture
def ts():
    values = np.random.default_rng(6040).chisquare(1, SHAPE).astype(np.float32)
    values[1, 5, 2], values[2, 3, 7] = 40, 30
    values[:, 0, 0] = np.nan
    return values


@pytest.fixture
def prior():
    x = np.arange(10.0)
    return SpatialPrior(np.where(x > 0, 10.0 ** (x - 9), 0) * np.ones((8, 1)), WCS, "dust")


def rings(ax):
    return {(line.get_xdata()[0], line.get_ydata()[0]) for line in ax.lines if line.get_marker() == "o"}


def test_ts_is_shown_at_its_largest_with_the_hottest_place_marked(ts):
    ax = plot_ts(ts, WCS)
    assert_array_equal(ax.images[0].get_array().filled(np.nan), np.fmax.reduce(ts, axis=0))
    assert rings(ax) == {(2, 5)}
    assert ax.get_title() == "hottest: 40.0, $v$ = \u221240.0 km s$^{-1}$"
    assert ax.coords[0].get_axislabel() == "Galactic longitude"
    ax.figure.canvas.draw()


def test_one_channel_can_be_shown_and_the_mark_left_out(ts):
    ax = plot_ts(ts, WCS, channel=2)
    assert rings(ax) == {(7, 3)}
    assert ax.get_title() == "$v$ = \u221240.8 km s$^{-1}$, hottest: 30.0"
    assert not rings(plot_ts(ts, WCS, mark=False))


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_ts_that_holds_nothing_can_be_drawn(value):
    ax = plot_ts(np.full(SHAPE, value), WCS)
    assert not rings(ax)
    assert ax.get_title() == "nothing above 0"
    ax.figure.canvas.draw()


def test_a_map_of_ts_can_be_drawn_where_one_wants(ts):
    own = new_figure(4, 4).add_subplot(projection=WCS.celestial)
    ax = plot_ts(np.nanmax(ts, axis=0, initial=0), WCS.celestial, ax=own, limits=(0, 9))
    assert ax is own
    assert ax.images[0].get_clim() == (0, 9)


def test_a_prior_is_shown_relative_to_its_largest_value_and_grey_where_it_is_zero(prior):
    ax = prior.plot()
    shown = ax.images[0].get_array()
    assert_allclose(shown[:, 1:], prior.probability[:, 1:] / prior.probability.max())
    assert shown.mask[:, 0].all()
    assert isinstance(ax.images[0].norm, LogNorm)
    assert ax.images[0].norm.vmin == 1e-6
    assert prior.plot(log=False).images[0].get_clim() == (0, 1)
    ax.figure.canvas.draw()


def test_a_channel_of_a_prior_can_be_shown():
    values = np.arange(1.0, 4)[:, None, None] * np.ones(SHAPE)
    prior = SpatialPrior(values, WCS, "CO")
    assert_allclose(prior.plot(0).images[0].get_array(), 1 / 3)
    assert_allclose(prior.plot().images[0].get_array(), 1)
    assert prior.plot(1).get_title() == "CO, $v$ = \u221240.0 km s$^{-1}$"


def test_a_prior_of_zeros_can_be_drawn():
    SpatialPrior(np.zeros(SHAPE[1:]), WCS).plot().figure.canvas.draw()


@pytest.mark.parametrize("wcs", [None, WCS])
def test_the_effect_of_a_prior_is_shown_in_three_maps(ts, prior, wcs):
    figure = plot_prior_effect(ts, prior, wcs=wcs)
    before, middle, after = (ax for ax in figure.axes if ax.images and hasattr(ax, "coords"))
    assert rings(before) == {(2, 5)}
    assert rings(after) == {(7, 3)}
    assert_allclose(
        after.images[0].get_array().filled(np.nan), np.fmax.reduce(prior.apply(ts), axis=0), rtol=1e-6
    )
    assert before.images[0].get_clim() == after.images[0].get_clim()
    assert middle.get_title() == "Prior: dust"
    assert before.get_title().startswith("TS before the prior; hottest: 40.0")
    assert ("km s" in after.get_title()) == (wcs is not None)
    if wcs is not None:
        figure.canvas.draw()


def test_the_effect_can_be_shown_in_one_channel(ts, prior):
    for one in (prior, SpatialPrior(np.broadcast_to(prior.probability, SHAPE), WCS)):
        figure = plot_prior_effect(ts, one, channel=1, wcs=WCS)
        before, _, after = (ax for ax in figure.axes if ax.images and hasattr(ax, "coords"))
        assert_array_equal(before.images[0].get_array().filled(np.nan), ts[1])
        assert_allclose(after.images[0].get_array().filled(np.nan), one.apply(ts)[1])
    without = plot_prior_effect(ts, prior, channel=1).axes[0]
    assert_array_equal(without.images[0].get_array().filled(np.nan), ts[1])


def test_what_cannot_be_drawn_is_refused(ts, prior):
    for channel in (3, -1, True, 1.0):
        with pytest.raises(ParameterError, match="channel must be a number from 0 to 2"):
            plot_ts(ts, WCS, channel=channel)
    with pytest.raises(ParameterError, match="channel=0 of a map"):
        prior.plot(0)
    with pytest.raises(InputError, match="cannot be drawn"):
        plot_ts(ts[0, 0], WCS)
    with pytest.raises(InputError, match="does not fit the prior"):
        plot_prior_effect(ts[:, 1:], prior)
