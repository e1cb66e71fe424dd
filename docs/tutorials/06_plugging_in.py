r"""
A backend and a strategy of your own
====================================

hisatools keeps two things apart. A **strategy** may change the answer: how the unabsorbed emission :math:`T_\mathrm{U}` is estimated, or the noise. It has parameters and a citation, and
is recorded in the result. A **backend** must not change the answer: it does the same sums in another way, faster on your machine perhaps, and is held to a stated tolerance. Both are found
by name, through entry points of installed packages. This tutorial makes one of each, small enough to fit on a page.

A backend
---------

The spatial search convolves maps with a Gaussian, thousands of times. Here is a convolution by ``scipy.ndimage``, with all that a backend must have:
"""

import numpy as np
from scipy.ndimage import gaussian_filter

from hisatools.backends.protocols import check_shapes

FWHM_PER_SIGMA = np.sqrt(8 * np.log(2))


class NdimageConvolution:
    """Convolution with a circular Gaussian, one axis after the other."""

    package = "scipy"  # what does the work; its version is listed
    tolerance = 2e-6  # largest error, relative to the peak of the reference's result
    cost = 50.0  # time, relative to the backend "scipy"

    def gaussian(self, shape, fwhm_pix):
        """A function that convolves maps of this shape."""

        def convolve(image, out=None):
            out = np.empty(shape, np.float32) if out is None else out
            check_shapes(shape, image, out)
            sigma = fwhm_pix / FWHM_PER_SIGMA
            gaussian_filter(
                image, sigma, output=out, mode="constant", truncate=6
            )
            return out

        return convolve


# %%
# In a package of yours the class stands in a module, and the ``pyproject.toml`` announces it:
#
# .. code-block:: toml
#
#    [project.entry-points."hisatools.convolution"]
#    ndimage = "my_package:NdimageConvolution"
#
# Then ``pip install ./my_package`` makes it known: it leaves a folder behind in which the entry points stand as text. ``plugins/hisatools-example`` in the repository is such a package, ready to
# be copied. A page cannot install itself, and so this one writes the folder, and tells Python of it:

import sys
from importlib.metadata import DistributionFinder, PathDistribution
from pathlib import Path
from tempfile import mkdtemp

announced = Path(mkdtemp()) / "my_package-1.0.dist-info"
announced.mkdir()
(announced / "METADATA").write_text(
    "Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n"
)
(announced / "entry_points.txt").write_text(
    "[hisatools.convolution]\nndimage = __main__:NdimageConvolution\n"
    "[hisatools.unabsorbed]\nbox-mean = __main__:BoxMeanStrategy\n"
)


class Installed(DistributionFinder):
    """As if the folder lay where pip puts such folders."""

    def find_distributions(self, context=None):
        """The one package that this page announces."""
        return [PathDistribution(announced)]


sys.meta_path.append(Installed())

# %%
# From now on it is there, beside the built-in ones, which come through the same door:

from hisatools.backends import available, get_backend

print(list(available("convolution")))

# %%
# Does it keep what it promises? The reference is slow and plain, and every backend is compared with it: here on a map like those that CLEAN makes, mostly 0, and on a full one.

from hisatools.backends.speed import correction_map, measure_speed

reference, ours = (
    get_backend("convolution", "reference"),
    get_backend("convolution", "ndimage"),
)
for name, share in (("sparse", 0.05), ("full", 1.0)):
    image = correction_map((300, 400), share=share)
    expected = reference.gaussian(image.shape, 20)(image)
    error = (
        np.abs(ours.gaussian(image.shape, 20)(image) - expected).max()
        / expected.max()
    )
    print(
        f"{name:6}: largest error {error:.1e} of the peak, allowed {ours.tolerance:.0e}"
    )
    assert error <= ours.tolerance

# %%
# That is the heart of what the tests do. In a checkout of hisatools they put every installed backend through all of it, with borders, odd shapes and kernels larger than the map:
#
# .. code-block:: bash
#
#    HISATOOLS_REQUIRE_BACKENDS="convolution:ndimage" pytest tests/backends
#
# How fast is it, for a map of 1024 x 1024 pixels and a Gaussian of 67 pixels?

for name in ("gridded", "scipy", "ndimage"):
    print(
        f"{name:8} {measure_speed('convolution', get_backend('convolution', name)):7.1f} ms a map"
    )

# %%
# Slower by far: direct sums cannot keep up where the Gaussian is wide. It does no harm, since nothing uses it unless it is named. And does the answer stay the same? Four channel maps, searched with either:

from hisatools import SpatialSearcher
from hisatools.datasets import example_model

model = example_model()
maps = model.cube.cutout((slice(14, 18), slice(None), slice(None)))
masks = {
    name: SpatialSearcher(convolution=name).search(maps).mask
    for name in ("gridded", "ndimage")
}
differing = np.count_nonzero(masks["gridded"] != masks["ndimage"])
print(
    f"{differing} of {np.count_nonzero(masks['gridded'])} flagged pixels differ"
)
assert differing <= 0.001 * masks["gridded"].sum()

# %%
# A voxel within rounding of a threshold may fall on either side of it. That is all that a backend may do.
#
# A strategy
# ----------
#
# Say you think that :math:`T_\mathrm{U}` is best taken as the mean of the emission in a box around each voxel, in its own channel. That is an opinion about the sky, and so a strategy. It needs
# ``Parameters``, a ``citation``, and ``estimate``, which says what :math:`T_\mathrm{U}` is at some voxels of labelled features, and how well it knows it:

from dataclasses import dataclass

import astropy.units as u
from scipy.ndimage import uniform_filter

from hisatools.unabsorbed.protocols import VoxelEstimate


@dataclass(frozen=True, kw_only=True)
class BoxMeanParameters:
    """Side of the box, and the uncertainty that is claimed."""

    side: u.Quantity = 10 * u.arcmin
    sigma: u.Quantity = 5 * u.K

    def to_dict(self):
        """For the provenance."""
        return {"side": str(self.side), "sigma": str(self.sigma)}


class BoxMeanStrategy:
    """T_U as the mean of what is not masked, in a box of the same channel."""

    Parameters = BoxMeanParameters
    citation = "this tutorial"

    def __init__(self, parameters=None):
        self.parameters = (
            BoxMeanParameters() if parameters is None else parameters
        )

    def estimate(
        self,
        cube,
        labels,
        features,
        index,
        *,
        errors=None,
        workers=1,
        progress=False,
    ):
        """T_U at the voxels ``index`` of the flattened cube; T_ON, and no end of uncertainty, where there is no T_OFF."""
        side = round((self.parameters.side / cube.pixel_scale).to_value(""))
        off = (labels == 0) & np.isfinite(cube.kelvin)
        share = uniform_filter(
            off.astype(np.float32), (0, side, side), mode="constant"
        )
        total = uniform_filter(
            np.where(off, cube.kelvin, 0), (0, side, side), mode="constant"
        )
        n_off = np.rint(share * side**2).astype(np.int64)
        known = n_off.reshape(-1)[index] > 0
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = (total / share).reshape(-1)[index]
        return VoxelEstimate(
            kelvin=np.where(
                known, mean, cube.kelvin.reshape(-1)[index]
            ).astype(np.float32),
            n_off=np.array(
                [n_off[labels == feature].max() for feature in features],
                np.int64,
            ),
            sigma_kelvin=np.where(
                known, self.parameters.sigma.to_value(u.K), np.inf
            ).astype(np.float32),
        )


# %%
# It was announced above, and can be used wherever a strategy is named: in ``UnabsorbedEstimator``, in an extraction, in ``hisatools extract --unabsorbed box-mean``. What its parameters
# were stands in the result.

from hisatools import HISAExtractor, UnabsorbedEstimator

extractor = HISAExtractor(
    unabsorbed=UnabsorbedEstimator("box-mean", side=8 * u.arcmin),
    n_passes=1,
)
result = extractor.run(model.cube, workers=2)
print(result.meta["strategies"], result.meta["parameters"]["box-mean"])

# %%
# Is it any good? In a model the truth is known, and ``compare_unabsorbed`` measures all strategies alike, given one mask of the absorption:

from hisatools import compare_unabsorbed

mask = model.delta_t < -1 * u.K
strategies = ["shell", UnabsorbedEstimator("box-mean", side=8 * u.arcmin)]
comparison = compare_unabsorbed(
    model.cube, mask, strategies, truth=model, workers=2
)
shown = comparison.table[
    "strategy",
    "known",
    "inside_bias",
    "inside_scatter",
    "inside_chi2",
    "inside_within_1_sigma",
]
for name in shown.colnames[1:]:
    shown[name].info.format = ".2f"
shown

# %%

# sphinx_gallery_alt = "Spectrum and cut through the largest feature, with the unabsorbed emission by shell and by the mean of a box"
comparison.plot_feature(comparison.largest_features(1)[0])

# %%
# Not bad for a few lines: its bias and scatter are smaller than those of ``shell``. The reason is the model, whose emission is smooth on the sky over 20' and more, so that a mean over 8' misses little. Real emission is rougher. The rim of the
# features in your own cube tells; :doc:`04_comparing_estimates` shows how. About one voxel in a hundred it knows nothing (``known``), in discs wider than its box. And its 5 K were a guess, too large a one: ``inside_chi2`` would be 1, and
# ``inside_within_1_sigma`` 0.68, if it were right. A strategy that is to be taken seriously works its uncertainty out from ``errors``, as those in ``hisatools/unabsorbed`` do.
#
# What this page announced is taken back:

sys.meta_path.pop()
print("ndimage" in available("convolution"))
