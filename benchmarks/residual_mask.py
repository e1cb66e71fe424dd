"""How well residual masking finds extra dust whose truth is known, and how fast its likelihood is.

    python -m benchmarks.residual_mask
    python -m benchmarks.residual_mask --seeds 6210 6211 --only cosine faint --no-times

Each sky has ``dust = ratio * N(HI) + intercept + noise``, and extra dust on 20 % of the pixels, in clumps
with smooth edges; `SKIES` says how their peaks are distributed. Counted are pixels whose true extra dust
exceeds three times the noise ("excess"), and all others, which includes those with extra dust below that.
"""

import argparse
import sys
import time

import astropy.units as u
import numpy as np

from hisatools.residual_mask import ResidualMasker, width_likelihood
from hisatools.residual_mask.simulated import DustModelParameters, simulate_dust

SKIES = {
    "cosine": DustModelParameters(),
    "gaussian": DustModelParameters(clumps="gaussian"),
    "plateau": DustModelParameters(clumps="plateau"),
    "field": DustModelParameters(clumps="field"),
    "bright": DustModelParameters(peak_low=10.0),
    "faint": DustModelParameters(peak_high=6.0),
    "faint-gaussian": DustModelParameters(clumps="gaussian", peak_high=6.0),
    "small": DustModelParameters(clump_pix_low=4.0, clump_pix_high=10.0),
    "beam": DustModelParameters(noise_beam_pix=3.0),
    "on-gas": DustModelParameters(follows_gas=True),
    "on-gas-faint": DustModelParameters(follows_gas=True, peak_high=6.0),
    "none": DustModelParameters(extra_share=0.0),
}
EXCESS_SIGMA = 3.0
KMS = u.km / u.s
CLOCKS = time.perf_counter, time.process_time, time.thread_time


def measure(parameters, seed, workers=1):
    """Error of the ratio, its pull, caught and false shares, rounds, and whether it converged."""
    model = simulate_dust(parameters, seed=seed)
    result = ResidualMasker().run(model.tracer, model.gas, error=model.error, workers=workers)
    excess = model.significance > EXCESS_SIGMA
    return (
        float(result.ratio / model.ratio - 1),
        float((result.ratio - model.ratio) / result.sigma_ratio),
        result.mask[excess].mean() if excess.any() else np.nan,
        result.mask[~excess].mean(),
        excess.mean(),
        len(result.history),
        result.converged,
    )


def time_likelihood(shape, n_channels, repeats):
    """Seconds of the likelihood grid with one and with two workers, in turn: wall, all threads, the first."""
    parameters = DustModelParameters(shape=shape, extra_share=0.0, noise=1.0)
    model = simulate_dust(parameters, seed=6200, velocity_width=18 * KMS, n_channels=n_channels)
    widths = np.arange(2, n_channels - 1, 0.25) * KMS
    seconds = {1: [], 2: []}
    for _ in range(repeats + 1):
        for workers, times in seconds.items():
            start = np.array([clock() for clock in CLOCKS])
            width_likelihood(model.cube, model.tracer, centre=0 * KMS, widths=widths, workers=workers)
            times.append([clock() for clock in CLOCKS] - start)
    # The first time compiles.
    return {workers: np.array(times[1:]) for workers, times in seconds.items()}, widths.size


def main(argv=None):
    arguments = parse(argv)
    print(
        "sky             excess  ratio error (mean, worst)      pull   caught (worst)    false (worst)  "
        "rounds"
    )
    for name in arguments.only:
        rows = np.array([measure(SKIES[name], seed, arguments.workers) for seed in arguments.seeds], float)
        error, pull, caught, false, excess, rounds, converged = rows.T
        remark = "" if converged.all() else f"  {int((1 - converged).sum())} not stable"
        print(
            f"{name:15} {excess.mean():6.1%}   {error.mean():+7.2%} {np.abs(error).max():7.2%}          "
            f"{pull.mean():+5.1f}  {caught.mean():7.2%} ({caught.min():6.2%})  {false.mean():6.2%} "
            f"({false.max():5.2%})  {np.median(rounds):5.0f}{remark}",
            flush=True,
        )
    if arguments.times:
        seconds, n_widths = time_likelihood(tuple(arguments.shape), arguments.channels, arguments.repeats)
        print(f"likelihood of {n_widths} widths, {arguments.channels} x {arguments.shape} voxels:")
        for workers, times in seconds.items():
            wall, processors, serial = np.median(times, axis=0)
            print(
                f"  {workers} worker(s): median {wall:.3f} s, least {times[:, 0].min():.3f} s; processors "
                f"{processors:.3f} s, of which {serial:.3f} s are not shared out"
            )
        median, least = (how(seconds[1][:, 0]) / how(seconds[2][:, 0]) for how in (np.median, np.min))
        print(f"  the second worker makes it {median:.2f} x as fast (least times: {least:.2f} x)")
        one, two = (np.median(times, axis=0) for times in seconds.values())
        ideal = one[1] / (two[2] + (two[1] - two[2]) / 2)
        print(f"  on two idle processors, by the processor times: {ideal:.2f} x")
    return 0


def parse(argv):
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.residual_mask",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(6210, 6230)))
    parser.add_argument("--only", nargs="+", choices=tuple(SKIES), default=tuple(SKIES), metavar="NAME")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--shape", type=int, nargs=2, default=(384, 384), metavar="N", help="for the times")
    parser.add_argument("--channels", type=int, default=80, help="for the times")
    parser.add_argument("--repeats", type=int, default=15, help="of the times")
    parser.add_argument("--no-times", dest="times", action="store_false")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
