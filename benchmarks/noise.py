"""How far the noise that each strategy measures is from the truth, on a model sky.

    python -m benchmarks.noise
    python -m benchmarks.noise --shape 72 128 128 --seeds 403 --only mesh thirds

The sky has emission and absorption between line-free channels. Its noise is correlated over the beam and
between channels, and its rms is sigma0 (T_sys + T_B) / T_sys, where T_sys is 100 K and sigma0 rises from 3
to 6 K across the field. A strategy is compared with what it says it measures, see `TRUTHS`.
"""

import argparse
import sys
import time
from dataclasses import dataclass

import astropy.units as u
import numpy as np
from scipy.special import erf

from hisatools import HISACube
from hisatools.noise import NoiseEstimator, automatic_mask
from hisatools.simulate import ModelParameters, correlated_noise, simulate_cube

T_SYS_KELVIN = 100.0
SIGMA0_KELVIN = 3.0, 6.0
CALIBRATION = 0.05
CONTINUUM_KELVIN = 1.0
# The emission is full strength within this share of the band about its middle, and gone outside the other.
FULL, GONE = 0.56, 0.75
SOURCE_KELVIN = 60.0, 300.0
FEATURE_LEVEL_KELVIN = 1.0


@dataclass(frozen=True, eq=False)
class ModelSky:
    """A model cube and the noise that was put into it.

    Parameters
    ----------
    cube : `~hisatools.HISACube`
        With mosaic weights that follow sigma0.
    sigma_kelvin : `~numpy.ndarray`, shape (n_v, n_y, n_x)
    sigma0_kelvin : `~numpy.ndarray`, shape (n_y, n_x)
    brightness_kelvin : `~numpy.ndarray`, shape (n_v, n_y, n_x)
        Emission and absorption without noise and sources.
    line_free : `~numpy.ndarray` of bool, shape (n_v,)
    sources : `~numpy.ndarray` of bool, shape (n_y, n_x)
        Where a compact source adds more than 1 K.
    """

    cube: HISACube
    sigma_kelvin: np.ndarray
    sigma0_kelvin: np.ndarray
    brightness_kelvin: np.ndarray
    line_free: np.ndarray
    sources: np.ndarray


def model_sky(shape=(128, 192, 192), *, seed, source_share=0.0):
    """Make a sky whose noise rises from 3 to 6 K along x and with the brightness.

    Parameters
    ----------
    shape : tuple of int
        (n_v, n_y, n_x).
    seed : int
    source_share : float
        Share of the pixels that bright compact sources cover, in all channels.

    Returns
    -------
    `ModelSky`
    """
    parameters = ModelParameters().scaled(shape, noise=0 * u.K)
    model = simulate_cube(parameters, seed=seed)
    rng = np.random.default_rng([seed, 5])
    envelope = _envelope(shape[0])
    brightness = model.cube.kelvin * envelope[:, None, None]
    sigma0 = np.broadcast_to(np.linspace(*SIGMA0_KELVIN, shape[2]), shape[1:])
    sigma = (sigma0 * (T_SYS_KELVIN + brightness) / T_SYS_KELVIN).astype(np.float32)
    beam_pix = (parameters.beam_fwhm / parameters.pixel_scale).to_value("")
    line_chan = (parameters.noise_linewidth / parameters.channel_width).to_value("")
    sources = _sources(shape[1:], beam_pix, source_share, rng)
    observed = brightness + sources + sigma * correlated_noise(shape, beam_pix, line_chan, rng)
    cube = HISACube(observed * u.K, model.cube.wcs, beam=model.cube.beam, weights=sigma0**-2.0)
    return ModelSky(cube, sigma, sigma0, brightness, envelope == 0, np.abs(sources) > FEATURE_LEVEL_KELVIN)


def _envelope(n_v):
    """1 about the middle of the band, 0 at its ends, a cosine between."""
    offset = np.abs(np.arange(n_v) - (n_v - 1) / 2) / (n_v / 2)
    phase = np.clip((offset - FULL) / (GONE - FULL), 0, 1)
    return np.where(phase < 1, (1 + np.cos(np.pi * phase)) / 2, 0).astype(np.float32)


def _sources(shape, beam_pix, share, rng):
    """Unresolved sources in emission and absorption, as many as cover a share of the map."""
    y, x = np.indices(shape)
    image = np.zeros(shape, np.float32)
    while (np.abs(image) > FEATURE_LEVEL_KELVIN).mean() < share:
        peak = rng.uniform(*SOURCE_KELVIN) * rng.choice([-1, 1], p=[0.25, 0.75])
        distance = np.hypot(y - rng.uniform(0, shape[0]), x - rng.uniform(0, shape[1]))
        image += peak * np.exp(-4 * np.log(2) * (distance / beam_pix) ** 2)
    return image


def rms_of_quietest_third(sky):
    """What ``thirds`` measures."""
    parts = np.array_split(sky.sigma_kelvin, 3)
    return np.min([np.sqrt((part.astype(float) ** 2).mean(axis=0)) for part in parts], axis=0)


def median_deviation(sky):
    """What ``mad-difference`` measures: sigma of a Gaussian with the median deviation of all stretches."""
    parts = [sky.sigma_kelvin[2 * step : len(sky.sigma_kelvin) - 6 + 2 * step] ** 2 for step in range(4)]
    sigma = np.sqrt((parts[0] + 9 * parts[1] + 9 * parts[2] + parts[3]) / 20)
    low, high = sigma.min(axis=0), sigma.max(axis=0)
    level = 0.6744897501960817
    for _ in range(40):
        middle = (low + high) / 2
        inside = erf(level * middle / (sigma * np.sqrt(2))).mean(axis=0)
        low, high = np.where(inside < 0.5, middle, low), np.where(inside < 0.5, high, middle)
    return (low + high) / 2


def all_terms(sky):
    """What ``propagated`` measures: noise, continuum subtraction and calibration together."""
    calibration = CALIBRATION * sky.brightness_kelvin
    return np.sqrt(sky.sigma_kelvin**2 + calibration**2 + CONTINUUM_KELVIN**2)


# What each strategy says it measures.
TRUTHS = {
    "thirds": rms_of_quietest_third,
    "line-free": lambda sky: sky.sigma0_kelvin,
    "mesh": lambda sky: sky.sigma_kelvin,
    "mad-difference": median_deviation,
    "weights": lambda sky: sky.sigma0_kelvin,
    "radiometer": lambda sky: sky.sigma_kelvin,
    "propagated": all_terms,
}


def estimator(name):
    """A strategy with its defaults; ``propagated`` is told of the terms that this sky has."""
    if name != "propagated":
        return NoiseEstimator(name)
    from hisatools.noise.propagated import PropagatedParameters

    return NoiseEstimator(
        name, PropagatedParameters(calibration=CALIBRATION), continuum=CONTINUUM_KELVIN * u.K
    )


def deviation(sky, name, mask=None, workers=1):
    """Median and 95th percentile of abs(measured / truth - 1), its mean without abs, and the seconds."""
    start = time.perf_counter()
    result = estimator(name).estimate(sky.cube, mask=mask, workers=workers)
    seconds = time.perf_counter() - start
    ratio = (result.sigma.value / TRUTHS[name](sky) - 1).ravel()
    return (*np.quantile(np.abs(ratio), [0.5, 0.95]), ratio.mean(), seconds)


def main(argv=None):
    arguments = parse(argv)
    print("seed strategy         sources  mask        median    95 %    mean   time")
    for seed in arguments.seeds:
        for share in (0.0, 0.05):
            sky = model_sky(tuple(arguments.shape), seed=seed, source_share=share)
            masks = {"none": None}
            if share:
                masks["automatic"] = automatic_mask(sky.cube, workers=arguments.workers)
                print(masks["automatic"].report())
            for name in arguments.only:
                for title, mask in masks.items():
                    median, most, mean, seconds = deviation(sky, name, mask, arguments.workers)
                    print(
                        f"{seed:4} {name:16} {sky.sources.mean():7.1%}  {title:10} "
                        f"{median:7.1%} {most:7.1%} {mean:+7.1%} {seconds:5.1f}s",
                        flush=True,
                    )
    return 0


def parse(argv):
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.noise",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--shape", type=int, nargs=3, default=(128, 192, 192), metavar="N")
    parser.add_argument("--seeds", type=int, nargs="+", default=[401, 402])
    parser.add_argument("--only", nargs="+", choices=tuple(TRUTHS), default=tuple(TRUTHS), metavar="NAME")
    parser.add_argument("--workers", type=int, default=2)
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
