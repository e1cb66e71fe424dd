r"""
Comparing estimates of the unabsorbed emission
==============================================

The depth of an absorption is a difference, :math:`\Delta T = T_\mathrm{ON} - T_\mathrm{U}`, and only one of its two terms is observed. The emission that would be seen without the cloud,
:math:`T_\mathrm{U}`, must be estimated from what surrounds the feature. hisatools has ten published ways to do so. They do not agree. This tutorial shows by how much, first where the truth is
known, and then with the means that you have when it is not.
"""

import astropy.units as u
import numpy as np

from hisatools.simulate import ModelParameters, simulate_cube

parameters = ModelParameters().scaled(
    (48, 160, 160), median_brightness=100 * u.K
)
model = simulate_cube(parameters, seed=8)
cube = model.cube

# %%
# Against the truth
# -----------------
#
# Five of the ways, one of each kind: ``shell``, that of the paper, weights all voxels around the feature; two look at the sky of each channel alone; two at the spectrum of each sight line alone. All are given the same
# mask, a perfect one, so that it is the estimates which are compared and not the search.

from hisatools import compare_unabsorbed

strategies = [
    "shell",
    "spatial-mean",
    "spatial-polynomial",
    "spectral-linear",
    "asymmetric-least-squares",
]
mask = model.delta_t < -1 * u.K
comparison = compare_unabsorbed(
    cube, mask, strategies, truth=model, workers=2
)


def shown(*names):
    """Some columns of the comparison, to two decimals."""
    table = comparison.table["strategy", *names]
    for name in names:
        table[name].info.format = ".2f"
    return table


shown("inside_bias", "inside_scatter", "sigma", "inside_within_1_sigma")

# %%
# **Bias** is the mean of the estimate minus the truth: by so much a mean :math:`\Delta T` is wrong, however many voxels are averaged. **Scatter** is the standard deviation. **Sigma** is the uncertainty that the
# strategy states, and within one of it should lie 0.68 of the voxels. All five are honest, roughly, about what they do not know. But they know very different amounts: on the sky the
# emission of this model is smooth over the width of a feature, and along a spectrum it is not.
#
# One feature
# -----------

# sphinx_gallery_alt = "Spectrum and cut through the largest feature, with five curves for the unabsorbed emission; in the cut all but the spatial mean follow the slope of the emission"
largest, *_ = comparison.largest_features(1)
comparison.plot_feature(largest)

# %%
# Above, the spectrum of a sight line; below, a cut along longitude. Each curve has a band of one sigma. What is masked is shaded, and the dashed line is the truth. In this narrow line all five bridge the dip within some kelvins. The
# cut tells them apart: the mean of a ring around the feature is one number for the whole of it, and misses the slope of the emission, which the others follow.
#
# What it depends on
# ------------------
#
# How broad the line is counts. Each feature's mean error against its extent in velocity:

# sphinx_gallery_alt = "Mean error of T_U of each feature against its extent in velocity: below 7 K for shell, up to 20 K for the straight line where features span 7 km/s and more"
from matplotlib.figure import Figure

from hisatools.comparison_figures import strategy_styles

extent = {
    label: np.any(comparison.labels == label, axis=(1, 2)).sum()
    * cube.channel_width.value
    for label in np.unique(comparison.features["feature"])
}
axes = Figure((7, 4.2), layout="constrained").add_subplot()
for name in (
    "shell",
    "spatial-mean",
    "spectral-linear",
    "asymmetric-least-squares",
):
    rows = comparison.features[comparison.features["strategy"] == name]
    color = strategy_styles(strategies)[name]["color"]
    axes.plot(
        [extent[label] for label in rows["feature"]],
        rows["inside_bias"],
        "o",
        color=color,
        alpha=0.8,
        label=name,
    )
axes.axhline(0, color="0.6", linewidth=0.8)
axes.set(
    xscale="log",
    xlabel="Extent in velocity (km s$^{-1}$)",
    ylabel=r"Mean error of $T_\mathrm{U}$ (K)",
)
axes.legend(fontsize="small")
axes

# %%
# Features of a few channels come out within 10 K, but for one with the straight line. Features that span 7 km/s and more are as broad as the emission from edge to edge, and there the straight line can be 20 K off: one spectrum alone cannot tell what lies under them.
#
# Without the truth
# -----------------
#
# In your own cube there is no column with the truth. But around each feature the emission is seen. ``compare_unabsorbed`` grows every feature by a rim of two voxels, estimates :math:`T_\mathrm{U}` across the grown
# feature, and compares it with what was observed in the rim. These numbers need no truth:

shown("outside_known", "outside_bias", "outside_scatter", "outside_chi2")

# %%
# The scatter outside holds the noise of the rim itself, 6 K here. Take it away in quadrature, and see whether it ranks the strategies as the truth does:

outside = np.sqrt(
    np.maximum(comparison.table["outside_scatter"].value ** 2 - 6**2, 0)
)
for name, ours, true in zip(
    strategies,
    outside,
    comparison.table["inside_scatter"].value,
    strict=True,
):
    print(f"{name:25} outside {ours:4.1f} K, inside {true:4.1f} K")

# %%
# It ranks those that start from outside the mask. But ``asymmetric-least-squares`` has seen the masked channels, the rim among them, and comes out far too well: nothing was held out for it.
#
# With the mask of a search
# -------------------------
#
# A real mask is not perfect. The search leaves out the faint wings of features, which then serve as emission. The voxels compared are those that were accepted; none of what either search flagged is taken as emission:

from hisatools import HISAExtractor, SpatialParameters, SpatialSearcher

# A third of this field of 48 arcmin.
spatial = SpatialSearcher(SpatialParameters(clean_fwhm=16 * u.arcmin))
result = HISAExtractor(spatial=spatial, n_passes=1).run(cube, workers=2)
comparison = compare_unabsorbed(
    cube,
    result.union,
    strategies,
    within=result.mask,
    truth=model,
    workers=2,
)
shown("inside_bias", "inside_scatter", "outside_bias", "outside_scatter")

# %%
# Now all estimates are above the truth, by 2 to 10 K, and the rim says so, too: ``outside_bias`` is above 0 for all alike. The search flags what is dark; where that is noise, what is left as emission is too bright, and where it leaves out
# the wings of a feature, the rim is too dark. No choice of strategy mends either of them: a common ``outside_bias`` is a statement on the mask. And few features were accepted in so small a cube, so that the order of the strategies
# is not that of above. Rank them on many features.
#
# When to choose which
# --------------------
#
# - ``shell`` if in doubt. It has no enemies but features much larger than 20' and 8 km/s at once.
# - ``spatial-polynomial`` or ``spatial-mean`` for lines as broad as the emission, if the emission around them is smooth on the sky. Real emission is rougher than that of this model: let the rim decide.
# - ``spectral-linear`` or a spline for narrow lines of gas so extended that there is no emission beside it, and for single spectra.
# - ``asymmetric-least-squares`` where there is no mask. Do not judge it by the rim.
#
# Where two that assume different things agree, the choice does not matter. Where they do not, their difference is the honest uncertainty of :math:`\Delta T`. The same comparison of a cube and an extraction from the
# command line is ``hisatools compare cube.fits --mask out --output compared``; :doc:`/unabsorbed` describes all ten.
