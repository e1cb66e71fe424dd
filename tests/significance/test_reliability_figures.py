"""Figures of the reliability: what is drawn is what was counted."""

import numpy as np
import pytest
from astropy.table import QTable

from hisatools.plotting.style import new_figure
from hisatools.significance.reliability import ReliabilityModel
from hisatools.significance.reliability_figures import plot_diagram


@pytest.fixture
def model():
    rng = np.random.default_rng(6020)
    real, false = rng.normal(1, 0.2, (40, 3)), rng.normal(1, 0.2, (30, 3))
    real[5] = np.nan
    return ReliabilityModel(real, false, None)


def test_both_populations_are_drawn(model):
    ax = model.plot()
    false, real = (points.get_offsets() for points in ax.collections)
    assert (len(false), len(real)) == (30, 40)
    assert set(map(tuple, false)) == set(map(tuple, model.false[:, [1, 0]]))
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["mirrored cube (30)", "cube (40)"]
    assert "sum" in ax.get_xlabel()
    assert "peak" in ax.get_ylabel()
    ax.figure.canvas.draw()


def test_axes_that_are_given_are_used(model):
    ax = new_figure(4, 4).add_subplot()
    assert model.plot(ax) is ax


@pytest.mark.parametrize("n_false", [0, 1])
def test_little_can_be_drawn_too(model, n_false):
    ax = ReliabilityModel(model.real[:n_false], model.false[:n_false], None).plot()
    ax.figure.canvas.draw()


def test_the_diagram_shows_bins_with_their_numbers():
    diagram = QTable(
        {
            "reliability": [0.05, 0.9],
            "true_fraction": [0.07, 0.95],
            "true_fraction_error": [0.01, 0.03],
            "n_features": [900, 60],
        }
    )
    ax = plot_diagram(diagram)
    assert [text.get_text() for text in ax.texts] == ["900", "60"]
    ax.figure.canvas.draw()
