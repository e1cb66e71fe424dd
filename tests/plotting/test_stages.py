"""The steps of the searches: what is drawn is what the stages hold, each above its own zero."""

from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
from numpy.testing import assert_allclose

from hisatools.errors import ParameterError
from hisatools.plotting import plot_spatial_stages, plot_spectral_stages
from hisatools.positions import sky_position

KMS = u.km / u.s


def zeros_and_curves(ax):
    """Values of the curves above their zero levels, from above."""
    zeros = sorted({line.get_ydata()[0] for line in ax.lines}, reverse=True)
    # Filled ones are segments.
    curves = [patch.get_data().values for patch in ax.patches if not patch.get_fill()]
    return zeros, curves


def test_spectral_steps_are_those_of_the_paper(spectral_stages, words):
    ax = plot_spectral_stages(spectral_stages)
    zeros, curves = zeros_and_curves(ax)
    smoothed, unabsorbed, level, residual, narrow, broad, detected, amplitude = curves
    assert zeros[0] == 0
    assert len(zeros) == 5
    # Velocity falls with the channel, and rises in the figure.
    assert_allclose(smoothed, spectral_stages.smoothed.value[::-1])
    assert_allclose(unabsorbed, spectral_stages.unabsorbed.value[::-1])
    assert_allclose(residual - zeros[1], spectral_stages.residual.value[::-1], atol=1e-4)
    assert_allclose(level - zeros[1], spectral_stages.level.value)
    for curve, zero, name in (
        (narrow, zeros[2], "narrow"),
        (broad, zeros[3], "broad"),
        (detected, zeros[4], "detected"),
        (amplitude, zeros[4], "amplitude"),
    ):
        assert_allclose(zero - curve, getattr(spectral_stages, name).value[::-1], atol=1e-4)
    assert ax.get_xlabel() == "LSR velocity (km s$^{-1}$)"
    assert f"narrow fits (0 at \u2212{-zeros[2]:.4g} K)" in words(ax.figure)


def test_segments_are_filled_and_numbered(spectral_stages, words):
    ax = plot_spectral_stages(spectral_stages)
    (filled,) = (patch for patch in ax.patches if patch.get_fill())
    assert_allclose(filled.get_data().edges, [-44.5, -43.5, -42.5, -41.5])
    assert "\n1\n" in words(ax.figure)


def test_steps_do_not_lie_over_each_other(spectral_stages, spatial_stages):
    for ax in (plot_spectral_stages(spectral_stages), plot_spatial_stages(spatial_stages)):
        zeros, _ = zeros_and_curves(ax)
        low, high = ax.get_ylim()
        assert min(-np.diff(zeros)) > 0.02 * (high - low)
        assert low < min(zeros)


def test_accepted_absorption_of_the_result_stands_below(result, spectral_stages, spatial_stages):
    zeros, curves = zeros_and_curves(result.plot_spectrum(stages=spectral_stages))
    assert_allclose(curves[-1] - zeros[-1], result.delta_t[::-1, 5, 6].value, atol=1e-4)
    zeros, curves = zeros_and_curves(result.plot_slice(stages=spatial_stages, along="longitude"))
    assert_allclose(curves[-1] - zeros[-1], result.delta_t[3, 5].value, atol=1e-4)


def test_spatial_steps_are_those_of_the_paper(spatial_stages):
    ax = plot_spatial_stages(spatial_stages, (4, 6))
    zeros, curves = zeros_and_curves(ax)
    assert len(zeros) == 5
    observed, smoothed, unabsorbed, _, _, _, difference, suspected, _ = curves
    names = "observed", "smoothed", "unabsorbed"
    stages = {name: getattr(spatial_stages, name).value[:, 6] for name in names}
    assert_allclose(observed, stages["observed"])
    assert_allclose(smoothed - zeros[1], stages["smoothed"], atol=1e-4)
    assert_allclose(unabsorbed - zeros[1], stages["unabsorbed"], atol=1e-4)
    assert_allclose(difference - zeros[3], stages["observed"] - stages["unabsorbed"], atol=1e-4)
    assert_allclose(zeros[4] - suspected, spatial_stages.suspected.value[:, 6], atol=1e-4)
    assert "$b$ = +0.020\u00b0" in ax.get_title()


def test_cut_goes_through_what_is_deepest_by_default(spatial_stages):
    assert "$b$ = +0.025\u00b0" in plot_spatial_stages(spatial_stages).get_title()


def test_stages_of_something_else_are_refused(result, make_result, spectral_stages, spatial_stages):
    with pytest.raises(ParameterError, match=r"stages are of the pixel \(5, 6\), not \(5, 7\)"):
        result.plot_spectrum((5, 7), stages=spectral_stages)
    with pytest.raises(ParameterError, match="stages have 9 channels, and the result 4"):
        make_result((4, 12, 14)).plot_spectrum(stages=spectral_stages)
    with pytest.raises(ParameterError, match=r"stages are at -43.0 km / s, not -45.0 km / s"):
        result.plot_slice(-45 * KMS, stages=spatial_stages)
    with pytest.raises(ParameterError, match="the result has the shape"):
        make_result((9, 8, 14)).plot_slice(stages=spatial_stages)


def moved(result, *, pixels=0, channels=0, flipped=False):
    """A result on other axes of the same size."""
    wcs = result.wcs.deepcopy()
    wcs.wcs.crpix = wcs.wcs.crpix + np.array([pixels, 0, channels])
    if flipped:
        wcs.wcs.cdelt = wcs.wcs.cdelt * [1, 1, -1]
    return replace(result, wcs=wcs)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"pixels": 2}, "stages lie 2 pixels and 0 channels off the result; make both of one cube"),
        ({"channels": 1}, "stages lie 0 pixels and 1 channels off the result"),
        ({"flipped": True}, "stages lie 0 pixels and 16 channels off the result"),
    ],
)
def test_stages_of_a_cube_on_other_axes_are_refused(result, spectral_stages, spatial_stages, how, message):
    other = moved(result, **how)
    with pytest.raises(ParameterError, match=message):
        other.plot_spectrum(stages=spectral_stages)
    with pytest.raises(ParameterError, match=message):
        other.plot_slice(stages=spatial_stages)


def test_stages_in_any_frame_are_those_of_their_result(make_result, spectral_stages):
    radio = make_result(sky=("RA---TAN", "DEC--TAN"))
    stages = replace(spectral_stages, wcs=radio.wcs, position=sky_position(radio.wcs, 5, 6))
    assert radio.plot_spectrum(stages=stages).lines


def test_position_and_velocity_are_checked_without_a_result(spectral_stages, spatial_stages):
    for position in ((5, 7), sky_position(spectral_stages.wcs, 0, 0)):
        with pytest.raises(ParameterError, match=r"stages are of the pixel \(5, 6\), not \("):
            plot_spectral_stages(spectral_stages, position=position)
    plot_spectral_stages(spectral_stages, position=spectral_stages.position)
    with pytest.raises(ParameterError, match=r"stages are at -43\.0 km / s, not 10\.0 km / s"):
        plot_spatial_stages(spatial_stages, velocity=10 * KMS)
    with pytest.raises(ParameterError, match="velocity needs a unit"):
        plot_spatial_stages(spatial_stages, velocity=-43)
    plot_spatial_stages(spatial_stages, velocity=-43.4 * KMS)


def test_blank_stages_can_be_drawn(spectral_stages, overhang):
    blank = np.full(9, np.nan) * u.K
    stages = replace(
        spectral_stages, observed=blank, smoothed=blank, unabsorbed=blank, level=np.nan * u.K, segments=()
    )
    assert overhang(plot_spectral_stages(stages).figure) < 0.02
