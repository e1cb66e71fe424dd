"""How much of the absorption in model cubes is found, and how much of what is found is real.

Model cubes of Gibson et al. (2005), section 3.2, are extracted and scored voxel by voxel as in
section 3.3: an input voxel is one with absorption deeper than 0.005 K, an output voxel one that was
accepted; widths are measured in the same way on the input and the output. For example::

    python -m benchmarks.detection --seeds 1 2
    python -m benchmarks.detection --seeds 1 2 --pixel-scale 0.2
    python -m benchmarks.detection --seeds 1 2 --absorption-free
"""

import argparse
import json
import time
from dataclasses import dataclass

import astropy.units as u
import numpy as np

from hisatools import HISAExtractor
from hisatools.features import angular_widths, velocity_widths
from hisatools.simulate import ModelParameters, simulate_cube


@dataclass(frozen=True)
class Voxels:
    """The four observables of section 3.3.1 on a grid; widths are 0 outside ``mask``."""

    mask: np.ndarray
    delta_t_kelvin: np.ndarray
    t_unabsorbed_kelvin: np.ndarray
    width_arcmin: np.ndarray
    linewidth_kms: np.ndarray

    @classmethod
    def measure(cls, mask, delta_t_kelvin, t_unabsorbed_kelvin, parameters):
        """Measure both widths of every voxel of ``mask``."""
        return cls(
            mask,
            delta_t_kelvin,
            t_unabsorbed_kelvin,
            angular_widths(mask) * parameters.pixel_scale.to_value(u.arcmin),
            velocity_widths(-delta_t_kelvin, mask) * parameters.channel_width.to_value(u.km / u.s),
        )


class Fraction:
    """A share of voxels, summed over models."""

    def __init__(self):
        self.part = self.whole = 0

    def add(self, region, subset):
        """Count the voxels of ``region``, and those of them in ``subset``."""
        self.whole += int(np.count_nonzero(region))
        self.part += int(np.count_nonzero(region & subset))

    @property
    def value(self):
        """The share; NaN where there are no voxels."""
        return self.part / self.whole if self.whole else float("nan")


class Score:
    """Throughput, true fraction and drift in the regions that section 3.4.3 names."""

    def __init__(self):
        names = (
            "throughput deep",
            "throughput faint",
            "true deep",
            "true broad",
            "true all",
            "accepted",
            "first pass",
        )
        self.fractions = {name: Fraction() for name in names}
        self.drift_sum = 0.0

    def add(self, truth, found, first_pass):
        """Add one model; ``truth`` and ``found`` are `Voxels`."""
        well_placed = truth.mask & (truth.t_unabsorbed_kelvin >= 80)
        well_placed &= (truth.width_arcmin >= 5) & (truth.linewidth_kms <= 3.5)
        deep = well_placed & (truth.delta_t_kelvin <= -20)
        faint = well_placed & (truth.delta_t_kelvin > -20) & (truth.delta_t_kelvin <= -10)
        strong = found.mask & (found.delta_t_kelvin <= -20) & (found.width_arcmin >= 3)
        broad = found.mask & (found.linewidth_kms >= 3)
        self.fractions["throughput deep"].add(deep, found.mask)
        self.fractions["throughput faint"].add(faint, found.mask)
        self.fractions["true deep"].add(strong, truth.mask)
        self.fractions["true broad"].add(broad, truth.mask)
        self.fractions["true all"].add(found.mask, truth.mask)
        self.fractions["accepted"].add(np.ones_like(found.mask), found.mask)
        self.fractions["first pass"].add(found.mask, first_pass == 1)
        both = deep & found.mask
        self.drift_sum += float((found.delta_t_kelvin[both] - truth.delta_t_kelvin[both]).sum(dtype=float))

    def rows(self):
        """(measure, value, voxels, least or largest value wanted)."""
        share, deep = self.fractions, self.fractions["throughput deep"]
        return [
            (
                "throughput, dT<=-20 K, T_U>=80 K, width>=5', line<=3.5 km/s",
                deep.value,
                deep.whole,
                ">= 0.85",
            ),
            ("throughput, the same with -20<dT<=-10 K", *self._entry("throughput faint"), ">= 0.70"),
            ("mean drift of dT in the first region, K", self._drift(), deep.part, "|x| <= 2"),
            ("true fraction, dT<=-20 K, width>=3'", *self._entry("true deep"), ">= 0.97"),
            ("true fraction, line>=3 km/s", *self._entry("true broad"), ">= 0.95"),
            ("true fraction, all accepted", *self._entry("true all"), ""),
            ("accepted, share of the cube", share["accepted"].value, share["accepted"].part, ""),
            ("accepted, share first found in pass 1", *self._entry("first pass"), ""),
        ]

    def _entry(self, name):
        return self.fractions[name].value, self.fractions[name].whole

    def _drift(self):
        found = self.fractions["throughput deep"].part
        return self.drift_sum / found if found else float("nan")


def run_model(parameters, seed, arguments, score):
    """Simulate, extract and score one model; returns the seconds the extraction took."""
    model = simulate_cube(parameters, seed=seed)
    cube = model.cube
    if arguments.absorption_free:
        cube = cube.with_brightness(cube.kelvin - model.delta_t.value)
    start = time.perf_counter()
    result = HISAExtractor(n_passes=arguments.passes).run(cube, workers=arguments.workers)
    seconds = time.perf_counter() - start
    no_absorption = np.zeros_like(model.delta_t.value)
    input_delta_t = no_absorption if arguments.absorption_free else model.delta_t.value
    truth = Voxels.measure(
        model.mask & (input_delta_t < 0), input_delta_t, model.t_unabsorbed.value, parameters
    )
    found = Voxels.measure(result.mask, result.delta_t.value, result.t_unabsorbed.value, parameters)
    score.add(truth, found, result.first_pass)
    return seconds


def print_table(title, score):
    """Print one score as a table."""
    print(f"\n{title}\n{'measure':62s} {'value':>8s} {'voxels':>10s}  wanted")
    for name, value, voxels, wanted in score.rows():
        print(f"{name:62s} {value:8.4f} {voxels:10d}  {wanted}")


def parse(argv):
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--pixel-scale", type=float, default=0.3, help="arcmin")
    parser.add_argument("--shape", type=int, nargs=3, default=(128, 512, 512), metavar=("NV", "NY", "NX"))
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--absorption-free", action="store_true", help="leave the absorption out")
    parser.add_argument("--json", help="also write the table to this file")
    return parser.parse_args(argv)


def main(argv=None):
    """Score every seed and all of them together."""
    arguments = parse(argv)
    parameters = ModelParameters(shape=tuple(arguments.shape), pixel_scale=arguments.pixel_scale * u.arcmin)
    together, tables = Score(), {}
    for seed in arguments.seeds:
        score = Score()
        seconds = run_model(parameters, seed, arguments, score)
        print_table(f"seed {seed}, {arguments.pixel_scale}' pixels, extraction {seconds:.0f} s", score)
        tables[f"seed {seed}"] = score.rows()
        for name, fraction in score.fractions.items():
            together.fractions[name].part += fraction.part
            together.fractions[name].whole += fraction.whole
        together.drift_sum += score.drift_sum
    print_table(f"all seeds, {arguments.pixel_scale}' pixels", together)
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(tables | {"all": together.rows()}, file, indent=1)


if __name__ == "__main__":
    main()
