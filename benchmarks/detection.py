"""How much of the absorption in model cubes is found, and how much of what is found is real.

Prints the statements of the paper's section 3.4 (Gibson et al. 2005) with their numbers, for pixels of
any size, or the share of a sky without absorption that is accepted::

    python -m benchmarks.detection --models 2
    python -m benchmarks.detection --models 2 --pixel-scale 0.2
    python -m benchmarks.detection --models 2 --absorption-free

`hisatools performance` does the same for the CGPS's pixels, with files and figures.
"""

import argparse

import astropy.units as u

from hisatools import HISAExtractor, PerformanceModel
from hisatools.performance.statements import region_table
from hisatools.simulate import ModelParameters, simulate_cube


def accepted_share(parameters, seed, extractor, workers):
    """Share of the voxels that is accepted in a model without its absorption."""
    model = simulate_cube(parameters, seed=seed)
    cube = model.cube.with_brightness(model.cube.kelvin - model.delta_t.value)
    return extractor.run(cube, workers=workers).mask.mean()


def parse(argv):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1, help="of the first model")
    parser.add_argument("--pixel-scale", type=float, default=0.3, help="arcmin")
    parser.add_argument("--shape", type=int, nargs=3, default=(128, 512, 512), metavar=("NV", "NY", "NX"))
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--absorption-free", action="store_true", help="leave the absorption out")
    return parser.parse_args(argv)


def main(argv=None):
    arguments = parse(argv)
    parameters = ModelParameters(shape=tuple(arguments.shape), pixel_scale=arguments.pixel_scale * u.arcmin)
    extractor = HISAExtractor(n_passes=arguments.passes)
    if arguments.absorption_free:
        for seed in range(arguments.seed, arguments.seed + arguments.models):
            share = accepted_share(parameters, seed, extractor, arguments.workers)
            print(f"seed {seed}: {100 * share:.4f} % of the voxels accepted")
        return
    performance = PerformanceModel.run(
        arguments.models,
        seed=arguments.seed,
        parameters=parameters,
        extractor=extractor,
        workers=arguments.workers,
        progress=True,
    )
    performance.models.pprint(max_width=-1)
    region_table(performance).pprint(max_width=-1, max_lines=-1)


if __name__ == "__main__":
    main()
