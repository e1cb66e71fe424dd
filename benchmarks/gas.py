"""Seconds that the gas of many voxels takes, by each closure.

python -m benchmarks.gas --voxels 10000000
"""

import argparse
import time

import astropy.units as u
import numpy as np

from hisatools.physics import GasModel, Pressure

PRESSURE = Pressure(path_length=0.65 * u.pc, linewidth=2.5 * u.km / u.s)
MODELS = {
    "t_spin": GasModel(t_spin=40 * u.K),
    "tau": GasModel(tau=1.0),
    "pressure": GasModel(pressure=PRESSURE),
    "t_spin and tau": GasModel(t_spin=20 * u.K, tau=1.0),
    "t_spin and pressure": GasModel(t_spin=2.7 * u.K, pressure=PRESSURE),
}


def main():
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--voxels", type=int, default=10_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    delta_t = rng.uniform(-80, 5, arguments.voxels) * u.K
    sky = {"t_unabsorbed": rng.uniform(60, 130, arguments.voxels) * u.K, "t_continuum": 5 * u.K}
    for name, model in MODELS.items():
        # The first call compiles.
        model.solve(delta_t[:10], sky["t_unabsorbed"][:10])
        seconds = []
        for _ in range(arguments.repeats):
            start = time.perf_counter()
            gas = model.solve(delta_t, **sky)
            seconds.append(time.perf_counter() - start)
        share = np.mean(np.isfinite(gas.tau))
        print(
            f"{name}: {np.median(seconds):.2f} s for {arguments.voxels} voxels, {share:.2f} of them possible"
        )


if __name__ == "__main__":
    main()
