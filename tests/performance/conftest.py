"""Small truths, a stand-in extractor, and model cubes that take milliseconds."""

import astropy.units as u
import numpy as np
import pytest

from hisatools import HISAExtractor, HISAResult, MaskBit
from hisatools.catalog import build_catalog
from hisatools.features import label_features
from hisatools.performance import Histograms, PerformanceModel, Truth, Voxels
from hisatools.simulate import ModelParameters

PIXEL, CHANNEL = 0.3 * u.arcmin, 0.82446 * u.km / u.s


class StubExtractor(HISAExtractor):
    """Takes what lies ``depth_kelvin`` below the median of its channel for absorption; keeps its cubes.

    ``fail_at`` is the number of the cube, from 0, at which it stops as ctrl-C would stop it.
    """

    def __init__(self, *, n_passes=2, fail_at=None, depth_kelvin=12):
        super().__init__(n_passes=n_passes)
        self.fail_at, self.depth_kelvin = fail_at, depth_kelvin
        self.cubes = []

    def run(self, cube, *, workers=1, progress=False):
        if len(self.cubes) == self.fail_at:
            raise KeyboardInterrupt
        self.cubes.append(cube)
        level = [
            np.median(channel[np.isfinite(channel)] if np.isfinite(channel).any() else 0)
            for channel in cube.kelvin
        ]
        t_unabsorbed = np.broadcast_to(np.float32(level)[:, None, None], cube.shape)
        mask = cube.kelvin < t_unabsorbed - self.depth_kelvin
        return result_of(mask, cube.kelvin, t_unabsorbed[mask], cube.wcs)


def result_of(mask, t_on_kelvin, unabsorbed_kelvin, wcs):
    labels, _ = label_features(mask)
    # Even columns in the first pass, odd ones in the second.
    first_pass = np.where(mask, 1 + np.arange(mask.shape[2]) % 2, 0).astype(np.uint8)
    return HISAResult(
        t_on=t_on_kelvin * u.K,
        unabsorbed_kelvin=unabsorbed_kelvin,
        flags=mask * np.uint8(MaskBit.SPECTRAL | MaskBit.SPATIAL | MaskBit.ACCEPTED),
        labels=labels,
        first_pass=first_pass,
        catalog=build_catalog(t_on_kelvin, unabsorbed_kelvin, labels, first_pass, wcs),
        wcs=wcs,
    )


@pytest.fixture(scope="session")
def stub():
    """The stand-in extractor's class."""
    return StubExtractor


@pytest.fixture(scope="session")
def tiny():
    """Parameters of model cubes that are made in milliseconds."""
    return ModelParameters(
        shape=(24, 22, 20), pixel_scale=1 * u.arcmin, n_pucks=6, n_components=10, noise=3 * u.K
    )


@pytest.fixture(scope="session")
def known():
    """Function of a seed: absorption of many depths and widths, as a `Truth`."""

    def make(seed=1, *, shape=(24, 30, 32), n_boxes=25, depth=(1, 40), **settings):
        rng = np.random.default_rng(seed)
        delta_t = np.zeros(shape, np.float32)
        for _ in range(n_boxes):
            low = [int(rng.integers(n)) for n in shape]
            box = tuple(slice(one, one + int(rng.integers(1, 12))) for one in low)
            delta_t[box] = -rng.uniform(*depth) * rng.uniform(0.5, 1, delta_t[box].shape)
        t_unabsorbed = rng.uniform(40, 120, shape).astype(np.float32)
        settings = {"pixel_scale": PIXEL, "channel_width": CHANNEL} | settings
        return Truth(delta_t * u.K, t_unabsorbed * u.K, **settings)

    return make


@pytest.fixture(scope="session")
def noisy():
    """Function of a truth: what an imperfect search would find of it."""

    def find(truth, seed=1):
        rng = np.random.default_rng(seed)
        delta_t = truth.delta_t.value + rng.normal(0, 4, truth.delta_t.shape).astype(np.float32)
        found = np.where(delta_t < -8, delta_t, 0)
        t_unabsorbed = truth.t_unabsorbed.value + rng.normal(-2, 3, found.shape).astype(np.float32)
        return Truth(found * u.K, t_unabsorbed * u.K, truth.pixel_scale, truth.channel_width)

    return find


@pytest.fixture(scope="session")
def pairs(known, noisy):
    """Function of a number: so many truths, each with what was found."""

    def make(n=1, seed=1):
        truths = [known(seed + number) for number in range(n)]
        return [(truth, noisy(truth, seed + number)) for number, truth in enumerate(truths)]

    return make


@pytest.fixture(scope="session")
def model(pairs):
    """A performance model with support in thousands of bins."""
    return PerformanceModel.from_pairs(pairs(3), correlated_voxels=4.0)


@pytest.fixture(scope="session")
def perfect(known):
    """A performance model whose truth was found as it is."""
    truths = [known(seed) for seed in range(3)]
    return PerformanceModel.from_pairs([(truth, truth) for truth in truths], correlated_voxels=2.0)


@pytest.fixture(scope="session")
def points_model():
    """Function of points: a model of lone voxels, each with its four observables in and out."""

    def make(inside, outside=None, **settings):
        """``inside`` went in and ``outside`` came out; a row of NaN is nothing (missed, or false)."""
        inside = np.array(inside, np.float32).reshape(-1, 4)
        outside = inside if outside is None else np.array(outside, np.float32).reshape(-1, 4)
        masks = [np.isfinite(points).all(axis=1) for points in (inside, outside)]
        truth, result = (
            Voxels(mask[:, None, None], points[mask])
            for mask, points in zip(masks, (inside, outside), strict=True)
        )
        return PerformanceModel(Histograms.compare(truth, result), **settings)

    return make
