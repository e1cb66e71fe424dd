"""
Your own survey
===============

The preset ``"cgps"`` has the numbers of the paper, chosen for a beam of 1', channels of 0.82 km/s and 6 K of noise. Your survey has others. All of hisatools'
scales are angles, velocities and temperatures, so that nothing breaks on another grid. But whether they *suit* it is yours to decide. This tutorial
shows what to look at, how to set what has to be set, and how to find out if it was worth it.

The survey here is like THOR: a beam of 40", pixels of 10", channels of 1.5 km/s, and 4 K of noise. As no such cube comes with the package, a model stands for it. Put in
the numbers of your own header to make one that is like your data.
"""

import astropy.units as u

from hisatools.simulate import ModelParameters, simulate_cube

kms = u.km / u.s
like_mine = ModelParameters(
    shape=(40, 224, 224),
    pixel_scale=10 * u.arcsec,
    channel_width=1.5 * kms,
    beam_fwhm=40 * u.arcsec,
    noise=4 * u.K,
    noise_linewidth=1.8 * kms,
    median_brightness=90 * u.K,
    n_pucks=120,
    n_components=300,
)
model = simulate_cube(like_mine, seed=1)
cube = model.cube  # for your own: HISACube.read("cube.fits")
cube

# %%
# Do the scales fit?
# ------------------
#
# ``hisatools inspect cube.fits`` compares every scale of a preset with the pixels, the channels and the size of a cube. The same from Python:

from hisatools.inspection import describe_scales

print(*describe_scales(cube, "cgps"), sep="\n")

# %%
# The second line says in what the cube is unlike those of the survey. Below it two scales have remarks. A line of 2 km/s is narrower than two channels, so that the narrow one of the two Gaussians fitted to a dip will be 3 km/s wide, almost the same as the broad one. And the
# kernel of the spatial search takes more than a third of this field of 37': what is as large as that cannot be told from emission.
#
# What the remarks do not say is how the scales relate to the beam. In the paper the box of the spectral search is 2.1 beams wide, and that of the
# spatial search 4.5. Here they would be 3.2 and 6.8 beams: more than is needed against the noise, and absorption smaller than that is diluted.
#
# Set your own
# ------------
#
# Each search has a frozen set of parameters. ``preset`` takes the paper's values, with any of them changed by keyword:

from hisatools import SpectralParameters

changed = SpectralParameters.preset(
    "cgps",
    narrow_fwhm=3 * kms,
    broad_fwhm=5 * kms,
    smoothing_box=1.4 * u.arcmin,
)
changed.narrow_fwhm, changed.clean_fwhm

# %%
# What is meant is checked when it is set. A number without a unit is refused, and so is a scale that the cube cannot carry, before the search begins:

from hisatools import SpectralSearcher
from hisatools.errors import InputError, ParameterError

try:
    SpectralParameters(narrow_fwhm=3)
except ParameterError as error:
    print(error)
try:
    SpectralSearcher(SpectralParameters(clean_fwhm=2.5 * kms)).search(cube)
except InputError as error:
    print(error)

# %%
# Four sets make an extraction. The choice here: smoothing in beams as in the paper; the two lines 3 and 5 km/s; a spatial kernel of 12', a third of the field; and the
# limits of the interpolation moved along with the kernels. The thresholds are in units of the noise and stay. So do the critical brightnesses, which are
# about the sky and not about the telescope: absorption is only believed against 70 K.

MINE = {
    "spectral": {
        "smoothing_box": 1.4 * u.arcmin,
        "clean_fwhm": 9 * kms,
        "narrow_fwhm": 3 * kms,
        "broad_fwhm": 5 * kms,
        "join_fwhm": 1 * u.arcmin,
    },
    "spatial": {
        "smoothing_box": 3 * u.arcmin,
        "noise_scale": 12 * u.arcmin,
        "clean_fwhm": 12 * u.arcmin,
        "join_fwhm": 1 * u.arcmin,
    },
    "shell": {
        "min_fwhm_angle": 0.8 * u.arcmin,
        "max_fwhm_angle": 12 * u.arcmin,
        "max_fwhm_velocity": 9 * kms,
    },
    "extraction": {},
}

# %%
# A preset is nothing but this: a name for four such sets, in a dictionary. What is put there is known by its name for as long as the session lasts. To have
# it for good, add it to ``PRESETS`` in ``hisatools/parameters.py`` and send us the change.

from hisatools import preset_names
from hisatools.parameters import PRESETS

PRESETS["mine"] = MINE
print(preset_names())
print(describe_scales(cube, "mine")[0])

# %%
# On the command line the same is said with ``--set "spectral.narrow_fwhm=3 km/s"`` and so on. Without a name for it, an extractor is put together from its parts:

from hisatools import (
    HISAExtractor,
    ShellParameters,
    SpatialParameters,
    SpatialSearcher,
    UnabsorbedEstimator,
)

extractor = HISAExtractor(
    spectral=SpectralSearcher(SpectralParameters(**MINE["spectral"])),
    spatial=SpatialSearcher(SpatialParameters(**MINE["spatial"])),
    unabsorbed=UnabsorbedEstimator(
        "shell", ShellParameters(**MINE["shell"])
    ),
    n_passes=1,
)

# %%
# Is the noise what you think it is?
# ----------------------------------
#
# Both searches stop at the noise that they measure themselves. If a cube has something that is not noise everywhere, such as stripes, or a mosaic's border, they will stop at
# that. Measure it in a way that does not look at neighbours on the sky, and compare with what is known of the survey:

from hisatools.noise import NoiseEstimator

noise = NoiseEstimator("mad-difference").estimate(cube)
sigma = noise.sigma
print(f"{sigma.mean():.2f}, from {sigma.min():.2f} to {sigma.max():.2f}")

# %%
# 4 K were put in. The differences from place to place are those of a measurement from 40 channels. In a real cube look at the map for structure:

# sphinx_gallery_alt = "Map of the noise, 3.8 to 4.4 K, without any structure but random blobs a few arcmin wide"
noise.plot()

# %%
# :doc:`/noise` has six other ways. If two that assume different things agree, all is well.
#
# Was it worth it?
# ----------------
#
# The model knows the truth. So extract with both, and count. The remarks from above are warnings now.

import warnings

depth = model.delta_t.to_value(u.K)
bright = model.t_unabsorbed > 80 * u.K


def score(result):
    """What is found of deep and of faint absorption; what of it is real."""
    deep = result.mask[bright & (depth < -20)].mean()
    faint = result.mask[bright & (depth >= -20) & (depth < -10)].mean()
    real = model.mask[result.mask].mean()
    return f"deep {deep:.0%}, faint {faint:.0%}, real {real:.1%}"


with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    of_cgps = HISAExtractor.preset("cgps", n_passes=1).run(cube, workers=2)
print(*sorted({str(one.message) for one in said}), sep="\n")
of_mine = extractor.run(cube, workers=2)
print("cgps:", score(of_cgps), f"in {len(of_cgps.catalog)} features")
print("mine:", score(of_mine), f"in {len(of_mine.catalog)} features")

# %%
# Nearly the same: the paper's numbers are not so finely tuned that another grid would spoil them. What differs is a feature or two, and the outermost voxels of the large one. Left with the CGPS scales, right with ours:

# sphinx_gallery_alt = "Two maps of the absorption at one velocity, with the CGPS scales and with our own: the same disc of absorption, 20 to 30 K deep, at the left border"
from matplotlib.figure import Figure

from hisatools.plotting import plot_channel

largest = of_mine.catalog[of_mine.catalog["n_voxels"].argmax()]
figure = Figure((10, 4.4), layout="constrained")
for place, result in enumerate((of_cgps, of_mine), start=1):
    axes = figure.add_subplot(1, 2, place, projection=cube.wcs.celestial)
    plot_channel(result, largest["velocity"], ax=axes)
figure

# %%
# One model with a handful of features decides nothing between numbers so close. To choose between sets of parameters in earnest, give both the same twenty models, with
# ``PerformanceModel.run(20, parameters=like_mine, extractor=extractor)``, and compare what they say about the absorption that you are after:
# :doc:`03_how_far_to_trust_it`. And choose with other models than those that you then quote.
