"""Whether TS of pure, correlated noise is distributed as it says: p-values are uniform.

Each of many cubes of noise gives one p-value, that of the best template in its middle. The noise is
told, or measured in each cube anew.
"""

import argparse

import astropy.units as u
import numpy as np
from radio_beam import Beam
from scipy.stats import kstest

from hisatools import HISACube
from hisatools.noise import NoiseCorrelation
from hisatools.search.base import run_blocks
from hisatools.significance import Residual, SignificanceScan
from hisatools.significance.backgrounds import draw_noise
from hisatools.simulate import ModelParameters, model_wcs

SIGMA_KELVIN = 6.0


def noise_cube(shape, seed):
    """Noise of the models' beam and line profile, and how it is correlated."""
    parameters = ModelParameters(shape=shape)
    correlation = NoiseCorrelation(
        float((parameters.beam_fwhm / parameters.pixel_scale).to_value("")),
        float((parameters.noise_linewidth / parameters.channel_width).to_value("")),
    )
    noise = draw_noise(shape, correlation, np.random.default_rng(seed))
    cube = HISACube(SIGMA_KELVIN * noise * u.K, model_wcs(parameters), beam=Beam(parameters.beam_fwhm))
    return cube, correlation


def p_values(shape, seeds, *, measured, workers):
    """Chance of what the middle voxel of each cube holds."""
    scan = SignificanceScan()
    middle = tuple(n // 2 for n in shape)
    cube, correlation = noise_cube(shape, seeds[0])
    told = _residual(cube, correlation)
    prepared = scan.prepare(told)

    def one(seed):
        cube, correlation = noise_cube(shape, seed)
        if not measured:
            return prepared.chance.p_value(
                prepared.largest(_residual(cube, correlation).standardised())[middle]
            )
        residual = Residual.of(cube, 0 * u.K)
        own = scan.prepare(residual)
        factors = scan.factors(residual, own)
        return own.chance.p_value(own.largest(residual.standardised(), factors)[middle])

    return np.array(run_blocks(one, seeds, workers=workers, progress=True, description="noise cubes"), float)


def _residual(cube, correlation):
    return Residual(cube.kelvin, np.float32(SIGMA_KELVIN), correlation, cube.wcs, correlation.beam_pix)


def main():
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--shape", type=int, nargs=3, default=(32, 48, 48))
    parser.add_argument("--seed", type=int, default=7001)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    seeds = range(arguments.seed, arguments.seed + arguments.trials)
    for measured in (False, True):
        p = p_values(tuple(arguments.shape), seeds, measured=measured, workers=arguments.workers)
        test = kstest(p, "uniform")
        print(
            f"noise {'measured' if measured else 'told'}: {p.size} trials, KS distance {test.statistic:.4f}, "
            f"p = {test.pvalue:.3f}; p < 0.01: {np.mean(p < 0.01):.4f}, p < 0.05: {np.mean(p < 0.05):.4f}, "
            f"p < 0.5: {np.mean(p < 0.5):.3f}"
        )


if __name__ == "__main__":
    main()
