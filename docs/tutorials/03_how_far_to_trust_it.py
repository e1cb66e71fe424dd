"""
How far to trust it
===================

Two questions follow every extraction. What of it is real? And what of the absorption that is there was found? In your own cube nobody knows the truth. There are two ways to the
answers all the same, and this tutorial goes both: the *mirrored cube*, which needs no model at all, and *injection*, which puts known absorption into your cube.

As a model stands for your cube here, the answers can be checked at the end.
"""

import astropy.units as u
import numpy as np

from hisatools import ExtractionParameters, HISAExtractor
from hisatools.simulate import ModelParameters, simulate_cube

parameters = ModelParameters().scaled(
    (48, 256, 256), median_brightness=100 * u.K
)
model = simulate_cube(parameters, seed=32)
cube = model.cube

# %%
# By default a feature must stand 4 standard deviations above the noise as a whole. That leaves next to nothing that is false, but also next to nothing to learn from. So the limit is lowered to 2:

extractor = HISAExtractor(
    parameters=ExtractionParameters(min_significance=2), n_passes=1
)
result = extractor.run(cube, workers=2)
print(f"{len(result.catalog)} features, {result.n_accepted} voxels")

# %%
# The mirrored cube
# -----------------
#
# Turn the cube over about its emission: dips become bumps, and bumps dips. Noise is as likely to go up as down, so that the same search finds as many false
# features in the mirrored cube as in yours. But nothing that it finds there is absorption. Features that are stronger than all that is found in the mirrored cube are real;
# those that look like the bulk of it are probably not.

from hisatools.significance.reliability import ReliabilityModel

reliability = ReliabilityModel.measure(cube, result, extractor, workers=2)
result = reliability.assess(result)
print(f"{len(reliability.false)} features in the mirrored cube")

# %%

# sphinx_gallery_alt = "Peak against sum of the features: those of the cube, coloured by reliability, reach far beyond those of the mirrored cube"
reliability.plot()

# %%
# The column ``reliability`` is now in the catalogue. A line through it at 0.9:

trusted = result.catalog["reliability"] > 0.9
names = ["name", "n_voxels", "delta_t_mean", "reliability"]
shown = result.catalog[names][trusted]
for name in names[2:]:
    shown[name].info.format = ".2f"
shown

# %%
# Does it tell the truth? In the model a feature can be called real if half of its voxels hold absorption that was put in.

share = [
    model.mask[result.labels == number].mean()
    for number in result.catalog["id"]
]
real = np.array(share) > 0.5
print(f"reliability above 0.9: {trusted.sum()} features,", end=" ")
print(f"{np.sum(real & trusted)} of them real")
print(f"the others: {np.sum(~trusted)} features,", end=" ")
print(f"{np.sum(real & ~trusted)} of them real")

# %%
# What it trusts, it trusts rightly. But it trusts little, and the reason is instructive: there are a few more real features among the others, but as many features like them were found in the mirrored cube, so that nothing tells
# them from noise. A reliability of 0 says just that, and not that a feature is false. A cube as small as this one holds too few features for more. In one of a survey, with thousands of them, the numbers
# between 0 and 1 come true, too: :doc:`/reliability` has the test.
#
# To drop all below a limit at once there is ``HISAExtractor(min_reliability=0.9)``, and ``--min-reliability 0.9`` on the command line.
#
# Injection
# ---------
#
# The mirrored cube knows nothing of what was missed. For that, absorption must be put in and searched for. ``PerformanceModel.inject`` replaces what was found in the cube by :math:`T_\mathrm{U}`, draws its noise
# anew, puts in discs of absorption of all widths, linewidths and depths, and extracts again. By default there are as many as in the
# paper's models, 192 in a cube of this size; here three times as many, for better numbers. And two cubes, where ten would be better.

from hisatools import PerformanceModel

performance = PerformanceModel.inject(
    cube, 2, n_pucks=600, extractor=extractor, seed=5, workers=2
)
performance.models[
    "seed", "n_in_all", "n_in_det", "n_out_all", "n_out_true"
]

# %%
# Voxels put in; those of them found; accepted; and those of them real. The *throughput* is the second over the first, the *true fraction* the fourth over the third. Over everything neither means much, because most of what is put in is
# hopeless: wings of lines, and sky below 70 K. Ask for a region of the parameter space instead. How much of the deep absorption is found, in lines narrower and broader than 3.5 km/s?

narrow, broad = (None, 3.5 * u.km / u.s), (3.5 * u.km / u.s, None)
bright = {
    "t_unabsorbed": (80 * u.K, None),
    "angular_width": (2 * u.arcmin, None),
}
for name, width in (("narrow", narrow), ("broad", broad)):
    found = performance.region(
        "throughput",
        delta_t=(None, -20 * u.K),
        velocity_width=width,
        **bright,
    )
    print(f"{name}: {found.value:.2f} +- {found.uncertainty:.2f}")

# %%
# And against the depth:

# sphinx_gallery_alt = "Share found against depth: for narrow lines it rises from nothing near -5 K to three quarters and more beyond -20 K, for broader ones it stays below one half"
from itertools import pairwise

from matplotlib.figure import Figure

from hisatools.plotting.style import ACCEPTED, SPATIAL

edges = [-40, -30, -20, -15, -10, -5, 0]
axes = Figure((6.4, 4), layout="constrained").add_subplot()
for name, width, color in (
    ("up to 3.5 km/s", narrow, ACCEPTED),
    ("broader", broad, SPATIAL),
):
    for low, high in pairwise(edges):
        found = performance.region(
            "throughput",
            delta_t=(low * u.K, high * u.K),
            velocity_width=width,
            **bright,
        )
        axes.errorbar(
            (low + high) / 2,
            found.value,
            found.uncertainty,
            (high - low) / 2,
            fmt="o",
            color=color,
            label=name if high == 0 else None,
        )
axes.set(
    xlabel=r"$\Delta T$ put in (K)",
    ylabel="Share found",
    ylim=(-0.05, 1.05),
)
axes.legend(title="Line")
axes

# %%
# This is the *completeness* of your extraction. Deep dips in narrow lines are mostly found, shallow ones nearly never. Of broader lines less than half is found, however deep: they are half as broad as the search's Gaussians, which follow them
# down. If a population that you count changes along these points, so will your counts.
#
# How certain are these numbers?
# ------------------------------
#
# The error bars know that noise is correlated over the beam and the channels. They do not know that voxels come in features: one large disc makes thousands of voxels that are found, or not, together. With two cubes
# there are a handful of discs behind each point. Look at the two cubes apart:

for row in performance.models:
    share = row["n_out_true"] / row["n_out_all"]
    print(f"seed {row['seed']}: true fraction {share:.2f}")
both = performance.region("true_fraction")
print(f"together: {both.value:.2f} +- {both.uncertainty:.2f}")
print(f"in the cube itself: {model.mask[result.mask].mean():.2f}")

# %%
# The two cubes differ by many times the uncertainty that is stated. So quote the spread between cubes, and make more of them: ``hisatools performance cube.fits --output perf --models 10``, which can be interrupted and resumed.
#
# Both are also far above the truth in the cube itself. This is the price of the many discs: a true fraction says how much of what is found is real, and that depends on how much there is to be found. For the completeness put in many;
# for the true fraction as many as the sky may hold. What it depends on comes out all the same: what is false is small.

small = result.angular_width < 3 * u.arcmin
for name, limits, inside in (
    ("below 3 arcmin", (None, 3 * u.arcmin), result.mask & small),
    ("above", (3 * u.arcmin, None), result.mask & ~small),
):
    predicted = performance.region("true_fraction", angular_width=limits)
    print(
        f"{name}: {predicted.value:.2f} +- {predicted.uncertainty:.2f}"
        f" predicted, {model.mask[inside].mean():.2f} in the cube"
    )

# %%
# Voxel by voxel
# --------------
#
# ``true_fraction_at`` gives each accepted voxel the true fraction of voxels like it, in depth, background, angular width and linewidth; ``assess`` does the same for features, with their
# completeness. Where the injections had nothing alike there is no number.

fractions = performance.true_fraction_at(result)[result.mask]
known = np.isfinite(fractions)
truth = model.mask[result.mask]
print(f"{known.mean():.0%} of the voxels are like some that were injected")
for low, high in ((0, 0.5), (0.5, 0.9), (0.9, 1.01)):
    there = known & (fractions >= low) & (fractions < high)
    if there.any():
        predicted = fractions[there].mean()
        print(
            f"true fraction {predicted:.2f} predicted,"
            f" {truth[there].mean():.2f} real ({there.sum()} voxels)"
        )

# %%
# What to take along
# ------------------
#
# - For "is this feature real?" take the mirrored cube. It costs one more extraction, and assumes only that noise has no sign.
# - For "what did I miss?" take injection into your own cube. Quote it for the kind of absorption that you speak of, with the spread between the injected cubes.
# - A true fraction holds for skies with as much absorption as was put in. A high one means "certainly real" on any; one in the middle is to be read with care.
# - With the default ``min_significance`` of 4 most of what is false never enters:

default = HISAExtractor(n_passes=1).run(cube, workers=2)
share = model.mask[default.mask].mean()
print(f"{len(default.catalog)} features, {share:.0%} of their voxels real")

# %%
# :doc:`/performance` and :doc:`/reliability` have the definitions, and what comes out for eight large models; :doc:`/significance` a third way, which gives each place of the cube a probability.
