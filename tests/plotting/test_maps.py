"""Maps of a channel: the one asked for, right axes and words. How they look is for eyes to judge."""

import astropy.units as u
import numpy as np
import pytest
from matplotlib.figure import Figure

from hisatools.errors import InputError, ParameterError
from hisatools.plotting import plot_channel, plot_passes

KMS = u.km / u.s


def test_channel_with_most_absorption_is_the_default(result):
    ax = plot_channel(result)
    assert "\u221243.0 km" in ax.get_title()
    image = ax.images[-1].get_array()
    assert image.min() == -30
    assert np.ma.count(image) == 3


@pytest.mark.parametrize(("what", "label"), [("t_on", "ON"), ("t_unabsorbed", "U"), ("delta_t", "Delta")])
def test_channel_is_the_nearest_one_and_the_colour_bar_has_its_unit(result, what, label):
    ax = plot_channel(result, -45_300 * u.m / u.s, what=what)
    assert "\u221245.0 km" in ax.get_title()
    (bar,) = (other for other in ax.figure.axes if other is not ax)
    assert label in bar.get_ylabel()
    assert bar.get_ylabel().endswith("(K)")


def test_positive_velocities_have_a_plus_sign(make_result):
    ax = plot_channel(make_result(step=30_000.0))
    assert "+50.0 km" in ax.get_title()


def test_axes_are_those_of_the_sky(result, make_result):
    ax = plot_channel(result)
    ax.figure.draw_without_rendering()
    assert [coordinate.get_axislabel() for coordinate in ax.coords] == [
        "Galactic longitude",
        "Galactic latitude",
    ]
    other = plot_channel(make_result(sky=("RA---SIN", "DEC--SIN")))
    assert [coordinate.get_axislabel() for coordinate in other.coords] == ["Right ascension", "Declination"]
    ecliptic = plot_channel(make_result(sky=("ELON-CAR", "ELAT-CAR")))
    ecliptic.figure.draw_without_rendering()
    assert ecliptic.coords[0].get_axislabel() == "Ecliptic longitude"


def test_drawing_into_axes_of_the_user(result):
    ax = Figure().add_subplot(projection=result.wcs.celestial)
    assert result.plot_channel(ax=ax) is ax
    plain = Figure().add_subplot()
    assert result.plot_spectrum(ax=plain) is plain


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"what": "flags"}, "unknown cube 'flags'; known: delta_t, t_unabsorbed, t_on"),
        ({"velocity": -41}, r"velocity needs a unit, got -41; write -41 \* u.km / u.s"),
        (
            {"velocity": 100 * KMS},
            r"velocity 100.0 km / s is not in the cube \(-48.0 km / s to -40.0 km / s\)",
        ),
    ],
)
def test_channels_that_cannot_be_drawn(result, arguments, message):
    with pytest.raises(ParameterError, match=message):
        plot_channel(result, **arguments)


def outline(ax):
    """Ends of the lines drawn on a map, (n, 2)."""
    _, lines = ax.collections
    return np.reshape(lines.get_segments(), (-1, 2))


def test_outlines_go_along_the_edges_of_what_was_accepted_in_the_channel(result):
    ends = outline(plot_channel(result, -42 * KMS, what="t_on", outlines=True))
    corners = [(x, y) for x in (5.5, 6.5) for y in (3.5, 4.5, 5.5, 6.5)]
    # Three pixels above each other have eight sides.
    assert len(ends) == 2 * 8
    assert {tuple(end) for end in ends} == set(corners)
    assert not plot_channel(result, what="t_on").collections


def test_outlines_close_at_the_border_and_leave_the_map_as_it_is(make_result):
    ax = plot_channel(make_result((9, 6, 7)), what="t_on", outlines=True)
    assert tuple(outline(ax).max(axis=0)) == (6.5, 5.5)
    assert ax.get_xlim() == (-0.5, 6.5)
    assert ax.get_ylim() == (-0.5, 5.5)


def test_a_channel_without_absorption_has_no_outlines(result, overhang):
    ax = plot_channel(result, -48 * KMS, what="t_on", outlines=True)
    assert not outline(ax).size
    assert overhang(ax.figure) < 0.02


# --- passes -----------------------------------------------------------------------------------


def painted(ax):
    """How many pixels have the colour of each legend entry."""
    counts = {}
    for handle, text in zip(ax.get_legend().legend_handles, ax.get_legend().get_texts(), strict=True):
        color = np.rint(255 * np.array(handle.get_facecolor())).astype(int)
        images = [image.get_array() for image in ax.images]
        counts[text.get_text()] = sum(
            int((image == color).all(axis=-1).sum()) for image in images if image.ndim == 3
        )
    return counts


def test_each_pass_has_its_colour_and_its_count(make_result, overhang):
    result = make_result()
    result.first_pass[3, 4, 6] = 3
    ax = plot_passes(result)
    assert painted(ax) == {"pass 1 (2 voxels)": 2, "pass 2 (0 voxels)": 0, "pass 3 (1 voxels)": 1}
    assert len({handle.get_facecolor() for handle in ax.get_legend().legend_handles}) == 3
    assert overhang(ax.figure) < 0.02


def test_passes_of_another_channel(result):
    assert painted(plot_passes(result, -48 * KMS)) == {"pass 1 (0 voxels)": 0}


def test_no_absorption_has_no_passes(make_result, words):
    assert "none" in words(plot_passes(make_result(absorbed=False)).figure)


# --- what cannot be drawn, and what can only just ---------------------------------------------


@pytest.mark.parametrize("name", ["plot_channel", "plot_passes", "plot_slice", "plot_longitude_velocity"])
def test_a_spectrum_has_no_map(make_result, name):
    with pytest.raises(InputError, match="a single spectrum, which has no map; use plot_spectrum"):
        getattr(make_result((9, 1, 1)), name)()


@pytest.mark.parametrize("name", ["plot_channel", "plot_passes", "plot_slice", "plot_longitude_velocity"])
@pytest.mark.parametrize("shape", [(9, 12, 14), (1, 12, 14), (9, 1, 14)], ids=str)
def test_blank_voxels_one_channel_and_one_row_can_be_drawn(make_result, overhang, name, shape):
    result = make_result(shape, absorbed=shape == (9, 12, 14), sky=("RA---SIN", "DEC--SIN"))
    result.t_on[:, :, 0] = np.nan * u.K
    assert overhang(getattr(result, name)().figure) < 0.02
