"""Seconds that the gas of many voxels takes, by each closure; of a model, and of the features of a result.

python -m benchmarks.gas --voxels 10000000
python -m benchmarks.gas --features 1000
"""

import argparse
import cProfile
import pstats
import time

import astropy.units as u
import numpy as np
from astropy.wcs import WCS

from hisatools import HISAResult
from hisatools.catalog import VoxelErrors, build_catalog
from hisatools.physics import GasModel, GasParameters, Pressure, delta_t, measure_gas
from hisatools.results import MaskBit

PRESSURE = Pressure(path_length=0.65 * u.pc, linewidth=2.5 * u.km / u.s)
MODELS = {
    "t_spin": GasModel(t_spin=40 * u.K),
    "tau": GasModel(tau=1.0),
    "pressure": GasModel(pressure=PRESSURE),
    "t_spin and tau": GasModel(t_spin=20 * u.K, tau=1.0),
    "t_spin and pressure": GasModel(t_spin=2.7 * u.K, pressure=PRESSURE),
}
BY_PRESSURE = {"p_over_k": 4000 * u.K / u.cm**3, "path_length": 1 * u.pc}
OF_FEATURES = {
    "t_spin": {"t_spin": 30 * u.K},
    "tau": {"tau": 0.8},
    "p_over_k": BY_PRESSURE,
    "tau of sight lines": {"tau": 0.8, "spin_per": "sight_line"},
    "p_over_k of sight lines": {**BY_PRESSURE, "spin_per": "sight_line"},
}


def synthetic_result(n_features, rng, side=11, n_channels=17):
    """Square features of one line each, ``side`` pixels wide, in noise of 2 K."""
    n, step = int(np.ceil(np.sqrt(n_features))), side + 1
    tau = 0.8 * np.exp(-4 * np.log(2) * ((np.arange(n_channels) - n_channels // 2) / 8) ** 2)
    tile = np.pad(np.ones((side, side), bool), ((0, 1), (0, 1)))
    labels = np.kron(np.arange(1, n * n + 1).reshape(n, n), tile).astype(np.int32)
    labels = np.broadcast_to(
        np.where(labels <= n_features, labels, 0), (n_channels, n * step, n * step)
    ).copy()
    depth = delta_t(30 * u.K, tau, 100 * u.K).value[:, None, None] + rng.normal(0, 2, labels.shape)
    inside = labels > 0
    t_on = np.where(inside, 100 + depth, 100).astype(np.float32)
    above = np.full(np.count_nonzero(inside), 100, np.float32)
    wcs = WCS(naxis=3)
    wcs.wcs.ctype, wcs.wcs.cunit = ["GLON-CAR", "GLAT-CAR", "VRAD"], ["deg", "deg", "m/s"]
    wcs.wcs.crval, wcs.wcs.cdelt, wcs.wcs.crpix = [140, 0, -41e3], [-0.005, 0.005, -824], [n * step / 2] * 3
    errors = VoxelErrors(np.full(above.shape, 2.0), np.ones(above.shape), 30.0)
    first = inside.astype(np.uint8)
    catalog = build_catalog(t_on, above, labels, first, wcs, errors=errors)
    sigmas = {
        "sigma_unabsorbed_kelvin": np.ones(above.shape, np.float32),
        "sigma_delta_kelvin": np.full(above.shape, 5**0.5, np.float32),
    }
    flags = first * np.uint8(MaskBit.ACCEPTED)
    return HISAResult(t_on * u.K, above, flags, labels, first, catalog, wcs, **sigmas)


def time_features(n_features, rng, repeats, n_profiled):
    """Seconds of `measure_gas`, and where they go."""
    result = synthetic_result(n_features, rng)
    for name, known in OF_FEATURES.items():
        parameters, seconds = GasParameters(**known), []
        for _ in range(repeats):
            start = time.perf_counter()
            measure_gas(result, parameters)
            seconds.append(time.perf_counter() - start)
        print(f"measure_gas, {name}: {np.median(seconds):.2f} s for {result.n_accepted} voxels")
        if n_profiled:
            profile = cProfile.Profile()
            profile.runcall(measure_gas, result, parameters)
            pstats.Stats(profile).sort_stats("tottime").print_stats(n_profiled)


def main():
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--voxels", type=int, default=10_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--features", type=int, default=0, help="measure the gas of so many in place")
    parser.add_argument("--profile", type=int, default=0, help="show the functions that take longest")
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    if arguments.features:
        time_features(arguments.features, rng, arguments.repeats, arguments.profile)
        return
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
