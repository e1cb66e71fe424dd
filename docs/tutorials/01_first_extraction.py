"""
A first extraction
==================

You have a cube of the 21 cm line, and want to know where cold gas absorbs in it. This tutorial goes the whole way: read a cube, extract, look at
the result, write it, and take it to TOPCAT and DS9. At its end the search is tried on a real spectrum of the Galactic plane.

The cube is a model, so that the answer can be checked. It has the pixels, the beam, the channels and the noise of the Canadian Galactic Plane
Survey (CGPS), and 84 features of absorption against smooth emission.
"""

from pathlib import Path
from tempfile import mkdtemp

from hisatools.datasets import example_model

folder = Path(mkdtemp())
model = example_model()
model.write(folder)
print(sorted(path.name for path in folder.iterdir()))

# %%
# Read the cube
# -------------
#
# From here on ``cube.fits`` is treated as a file that came from somewhere else. What was read, and what had to be assumed because the header did not
# say it, is worth a look before anything else. On the command line this is ``hisatools inspect cube.fits``.

from hisatools import HISACube
from hisatools.inspection import describe_cube

cube = HISACube.read(folder / "cube.fits")
for line in describe_cube(cube)[1:]:
    print(line)

# %%
# Nothing was mended. The velocity falls with the channel number, as in many surveys; hisatools keeps the order of the file. The median is 100 K: bright
# enough, since absorption is only accepted against 70 K or more.
#
# Extract
# -------
#
# The preset ``"cgps"`` holds the parameters of `Gibson et al. (2005) <https://doi.org/10.1086/429871>`__, "the paper" in these pages. ``workers`` is the
# number of threads, and never changes the result.

from hisatools import HISAExtractor

result = HISAExtractor.preset("cgps").run(cube, workers=2)
for counts in result.meta["passes"]:
    print(", ".join(f"{name} {number}" for name, number in counts.items()))

# %%
# Each line is one pass over the cube, with numbers of voxels. The spatial search, which looks at each channel map by itself, suspects one voxel in twelve:
# most of that is noise, beyond a threshold of two standard deviations. The spectral search, which looks at each sight line, suspects one in ninety. What both found, and what stands out from
# the noise as a whole feature, is *accepted*: one in a thousand. Nearly all of it was found in the first pass. The later passes are for features larger than the scales of
# the search.
#
# Look
# ----
#
# The summary shows these steps in the channel with most absorption, and the spectrum through its deepest voxel.

# sphinx_gallery_alt = "Six maps of one channel, from the observed one to the unabsorbed one, and the deepest spectrum below"
result.plot_summary()

# %%
# The catalogue has one row a feature. It is an astropy ``QTable``: every column has a unit and a description. Some of its columns:

catalog = result.catalog
shown = catalog["name", "n_voxels", "delta_t_peak", "velocity_fwhm", "edge"]
for name in ("delta_t_peak", "velocity_fwhm"):
    shown[name].info.format = ".1f"
shown

# %%
# ``delta_t_peak`` is :math:`\Delta T = T_\mathrm{ON} - T_\mathrm{U}` of the deepest voxel: what the gas takes away from the emission that would be seen
# without it, :math:`T_\mathrm{U}`. It is negative. Its uncertainty, ``delta_t_peak_error``, is 7 to 8 K here, most of it the 6 K of noise of a single voxel. And the deepest of many noisy voxels
# is too deep on average. For the depth of a cloud use ``delta_t_mean``, or the integral ``absorption_integral``.
#
# The last feature touches the border of the cube (``edge``), where the emission is known on one side only. Trust it less.
#
# One channel, and the spectrum of one feature:

# sphinx_gallery_alt = "Map of the absorption at -40 km/s: three neighbouring features near the centre, 30 K deep"
import astropy.units as u

result.plot_channel(-40 * u.km / u.s)

# %%

# sphinx_gallery_alt = "Spectrum with a narrow dip 30 K below an emission line of 150 K; the unabsorbed emission bridges the dip"
from astropy.coordinates import SkyCoord

inside = catalog[~catalog["edge"]]
largest = inside[inside["n_voxels"].argmax()]
position = SkyCoord(
    largest["lon_peak"], largest["lat_peak"], frame="galactic"
)
result.plot_spectrum(position)

# %%
# The black line was observed. The purple one is :math:`T_\mathrm{U}` with its uncertainty, interpolated from the voxels around the feature, on the
# sky and in velocity. It bridges a dip much narrower than the emission line: that is how self-absorption differs from a gap between two lines.
#
# Is it true?
# -----------
#
# In a model the truth is known. How many of the accepted voxels hold absorption that was put in?

true = result.mask & model.mask
share = true.sum() / result.n_accepted
print(f"{true.sum()} of {result.n_accepted} voxels are real: {share:.0%}")

# %%
# And are the features as deep as they should be? The mean over the voxels of each, measured and put in:

import numpy as np

for row in catalog:
    voxels = result.labels == row["id"]
    truth = model.delta_t[voxels].mean()
    background = model.t_unabsorbed[voxels].mean()
    print(
        f"{row['name']}:  dT {row['delta_t_mean']:5.1f}, true {truth:5.1f};"
        f"  T_U {row['t_unabsorbed_mean']:.0f}, true {background:.0f}"
    )

# %%
# Right within a few kelvins, for two reasons. :math:`T_\mathrm{U}` is 2 to 7 K off, and :math:`\Delta T` with it. And voxels are found more easily where
# noise makes them darker, so that faint absorption comes out too deep: most of all in the last feature, which is thin and lies at the border. The errors
# in the catalogue hold the first of these, but not the second.
#
# The three features near *l* = 140.1, *b* = 0 have something to tell. They were put in as one: a disc 11' wide, 22 K deep, with a line of 4.4 km/s. Lines as broad
# as that are where the spectral search begins to fail, because its Gaussians, 8 km/s wide, can follow them. It found the disc in three pieces. Neighbours at one
# velocity in a catalogue are often one cloud.

pucks = model.pucks
off = np.hypot(pucks["x_pixel"] - 70, pucks["y_pixel"] - 105)
for name in ("width", "linewidth", "delta_t"):
    print(f"{name}: {pucks[name][off.argmin()]:.1f}")

# %%
# How to measure what is missed, and how much of what is found is false, for a cube whose truth is not known, is the story
# of :doc:`03_how_far_to_trust_it`.
#
# Write, and read back
# --------------------

out = result.write(folder / "out")
for path in sorted(out.iterdir()):
    print(f"{path.name:26} {path.stat().st_size / 1e6:5.1f} MB")

# %%
# The images have the axes of the input and open in DS9, CARTA and ``SpectralCube``; ``provenance.json`` says how they were made. :doc:`/outputs` describes
# every file. Reading gives the same result:

from hisatools import HISAResult

again = HISAResult.read(out)
print((again.mask == result.mask).all(), len(again.catalog))

# %%
# For TOPCAT, the catalogue as a VOTable; for DS9 and CARTA, the outlines of the features as regions.

from hisatools.outlines import write_outlines
from hisatools.votable import write_votable

write_votable(result.catalog, folder / "catalog.vot")
write_outlines(result, folder / "outlines.reg")
print((folder / "outlines.reg").read_text()[:92], "...")

# %%
# In TOPCAT the columns have UCDs, so that it knows which are positions. In DS9: ``ds9 out/delta_t.fits -region outlines.reg``.
#
# A real spectrum
# ---------------
#
# Three profiles of the LAB survey (`Kalberla et al. 2005 <https://doi.org/10.1051/0004-6361:20041864>`__) come with hisatools. The one at *l* = 5 degrees, *b* = 0 looks
# through the Riegel-Crutcher cloud, the nearest large sheet of cold atomic gas, some 125 pc from the Sun.

from hisatools.datasets import load_lab_profiles

lab = load_lab_profiles()
place = SkyCoord(5 * u.deg, 0 * u.deg, frame="galactic")
profile = HISACube.from_spectrum(
    lab["t_l5"], lab["velocity"], position=place
)
# Without a preset: LAB is not the CGPS, and hisatools would warn of that.
riegel_crutcher = HISAExtractor().run(profile)
print(riegel_crutcher.meta["remarks"])

# %%

# sphinx_gallery_alt = "LAB spectrum at l = 5 degrees: a line of 130 K with one narrow dip to 45 K near +7 km/s, bridged at about 110 K"
axes = riegel_crutcher.plot_spectrum()
axes.set_xlim(-60, 60)
axes

# %%

for row in riegel_crutcher.catalog:
    depth, velocity = row["delta_t_peak"], row["velocity_peak"]
    width = row["velocity_fwhm"]
    print(f"dT = {depth:.0f} at {velocity:+.0f}, FWHM {width:.1f}")

# %%
# One feature, at the cloud's velocity, and none of the other dips and shoulders of this spectrum. It takes away more than half of the emission behind it,
# in a beam of 0.6 degrees: the cloud must fill that beam, be cold, and have most of the emission behind it.
#
# For one sight line there is no spatial search, and so nothing that would reject a gap between two emission lines: look at such results before
# you believe them. The same search at *l* = 10 degrees shows why.

place = SkyCoord(10 * u.deg, 0 * u.deg, frame="galactic")
at_10 = HISACube.from_spectrum(
    lab["t_l10"], lab["velocity"], position=place
)
for row in HISAExtractor().run(at_10).catalog:
    depth, error = row["delta_t_peak"], row["delta_t_peak_error"]
    print(f"dT = {depth:.0f} +- {error:.0f} at {row['velocity_peak']:+.0f}")

# %%
# The cloud again, near +7 km/s, and a dip at +17 km/s that is a fifth as deep. That one may be cold gas, or a valley between two clouds of warm gas. One
# spectrum cannot tell.
