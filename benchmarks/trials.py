"""Whether global p-values are calibrated, what trials recover, what they cost, and what a prior gains.

    python -m benchmarks.trials --what calibration
    python -m benchmarks.trials --what injection speed prior --workers 2 --output trials

"calibration": cubes of noise, each with its noise measured anew, judged by their global p-values.
"injection": features of 5 sigma; where and how deep they are found.
"speed": 1000 trials of a cube of 64 channels of 128 x 128 pixels, and a HEALPix prior on 512 x 512 pixels.
"prior": the depth at which half of the features are found, without a prior, with the right and a wrong one.
"backgrounds": whether the three backgrounds of noise have maxima alike.
"""

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.table import QTable, vstack
from radio_beam import Beam
from scipy.stats import ks_2samp

from hisatools import HISACube
from hisatools.catalog import sky_frame
from hisatools.noise import NoiseCorrelation
from hisatools.plotting.style import new_figure
from hisatools.search.base import run_blocks
from hisatools.significance import Residual, ScanParameters, SignificanceScan
from hisatools.significance.backgrounds import draw_noise
from hisatools.significance.fits import world
from hisatools.significance.global_chance import GlobalChance
from hisatools.significance.injected import Signal
from hisatools.significance.prior import SpatialPrior
from hisatools.significance.sensitivity import measure_sensitivity
from hisatools.significance.trial_figures import COLORS, plot_detection
from hisatools.significance.trials import TrialParameters, TrialRunner
from hisatools.simulate import ModelParameters, model_wcs

MODEL = ModelParameters()
SIGMA_KELVIN = 6.0
SMALL = (32, 48, 48)
SMALL_BANK = ScanParameters(widths=(1, 2, 4) * u.arcmin, linewidths=(1.5, 3) * u.km / u.s)
PRIOR_FWHM_SHARE = 0.3
# How far from the middle of the field, as a share of its side.
PRIORS = {"none": None, "blob": 0.0, "blob at the border": 0.45}


def noise_cube(shape, seed):
    """A cube of the paper's noise, of section 3.2, and nothing else."""
    beam_pix = (MODEL.beam_fwhm / MODEL.pixel_scale).to_value("")
    line_chan = (MODEL.noise_linewidth / MODEL.channel_width).to_value("")
    noise = draw_noise(shape, NoiseCorrelation(beam_pix, line_chan), np.random.default_rng([seed, 99]))
    wcs = model_wcs(replace(MODEL, shape=shape))
    return HISACube(SIGMA_KELVIN * noise * u.K, wcs, beam=Beam(MODEL.beam_fwhm))


def noise_residual(shape, seed):
    return Residual.of(noise_cube(shape, seed), 0 * u.K)


def gaussian_prior(cube, dx=0.0, floor=1e-4):
    """A blob on the sky, ``dx`` of the side from the middle."""
    wcs, (n_y, n_x) = cube.wcs.celestial, cube.shape[1:]
    side = max(cube.shape[1:]) * cube.pixel_scale
    place = wcs.pixel_to_world(n_x * (0.5 + dx) - 0.5, n_y / 2 - 0.5)
    sigma = PRIOR_FWHM_SHARE * side / 2.355

    def blob(sky):
        return np.exp(-0.5 * (sky.separation(place) / sigma).to_value("") ** 2)

    return SpatialPrior.from_function(blob, cube, floor=floor)


# --- calibration ------------------------------------------------------------------------------------


def calibration(options):
    """Share of cubes of noise with p <= 0.05, each compared with trials of its own."""
    rows = []
    seeds = list(range(options.seed, options.seed + options.n_cubes))
    for background in options.backgrounds:
        p = np.array(
            run_blocks(
                lambda seed, background=background: _p_of_noise(seed, background, options.n_background),
                seeds,
                workers=options.workers,
                progress=options.progress,
            )
        )
        for name, of_prior in zip(PRIORS, p.T, strict=True):
            rows.append(_calibration_row(background, name, of_prior, options.n_background))
            print(_line(rows[-1]), flush=True)
    return QTable(rows)


def _p_of_noise(seed, background, n_background):
    """Global p-values of one cube of noise, with each of the priors; the trials serve all of them."""
    cube = noise_cube(SMALL, seed)
    residual = Residual.of(cube, 0 * u.K)
    parameters = TrialParameters(background=background)
    runner = TrialRunner(residual, scan=SignificanceScan(SMALL_BANK), parameters=parameters)
    priors = [None if dx is None else gaussian_prior(cube, dx) for dx in PRIORS.values()]
    terms = [0 if prior is None else prior.term(runner.allowed) for prior in priors]

    def maxima(one):
        found, _ = runner.prepared.calibrated(one.standardised(), one.known)
        ts = np.where(runner.allowed, np.square(np.maximum(found, 0)), -np.inf)
        return [max(float(np.max(ts + term)), 0.0) for term in terms]

    trials = [
        maxima(runner.get_one_trial(0, 1_000_000 + 1000 * seed + i).residual) for i in range(n_background)
    ]
    data = maxima(residual)
    return [
        float(GlobalChance.of(of_prior).p_value(ts))
        for of_prior, ts in zip(np.transpose(trials), data, strict=True)
    ]


def _calibration_row(background, name, p, n_background):
    row = {"background": background, "prior": name, "cubes": p.size, "trials_each": n_background}
    for level in (0.05, 0.32):
        share = np.mean(p <= level)
        row[f"share_up_to_{level}"] = share
        row[f"off_{level}_in_sigma"] = (share - level) / np.sqrt(level * (1 - level) / p.size)
    return row


# --- injection --------------------------------------------------------------------------------------


def injection(options):
    """Features of 5 sigma: share within half a beam and one channel, and mean depth over the truth."""
    residual = noise_residual((48, 96, 96), options.seed)
    rows = []
    seeds = range(options.seed, options.seed + options.n_injected)
    for width, linewidth in ((1, 2), (1, 3), (2, 3), (4, 3), (8, 6)):
        signal = Signal(width=width * u.arcmin, linewidth=linewidth * u.km / u.s, n_sigma=5)
        alone = ScanParameters(widths=signal.width, linewidths=signal.linewidth)
        for bank, parameters in (("that alone", alone), ("all 12", ScanParameters())):
            runner = TrialRunner(residual, scan=SignificanceScan(parameters), signal=signal)
            # What all trials share, once.
            runner.get_one_fit(1, options.seed)
            parts = run_blocks(
                lambda seed, runner=runner: _injected(runner, seed),
                seeds,
                workers=options.workers,
                progress=options.progress,
            )
            rows.append({"bank": bank} | _injection_row(width, linewidth, vstack(parts)))
            print(_line(rows[-1]), flush=True)
    return QTable(rows)


def _injected(runner, seed):
    trial = runner.get_one_trial(1, seed)
    fit = runner.fit_features(trial)
    hottest = runner.fit(trial)
    fit["hottest"] = [
        hottest["v"] == fit["v"][0] and hottest["y"] == fit["y"][0] and hottest["x"] == fit["x"][0]
    ]
    return fit


def _injection_row(width, linewidth, fits):
    n = len(fits)
    ratio = {name: (fits[name] / fits["true_delta_t"]).value for name in ("delta_t", "delta_t_unbiased")}
    return {
        "width": f"{width} arcmin",
        "linewidth": f"{linewidth} km/s",
        "trials": n,
        "recovered": np.mean(fits["recovered"]),
        "recovered_error": np.sqrt(np.mean(fits["recovered"]) * (1 - np.mean(fits["recovered"])) / n),
        "hottest_of_the_cube": np.mean(fits["hottest"]),
        "delta_t": np.mean(ratio["delta_t"]),
        "delta_t_unbiased": np.mean(ratio["delta_t_unbiased"]),
        "mean_error": np.std(ratio["delta_t_unbiased"]) / np.sqrt(n),
        "median_unbiased": np.median(ratio["delta_t_unbiased"]),
    }


# --- speed ------------------------------------------------------------------------------------------


def speed(options):
    """Seconds of trials by one and two workers, and of a HEALPix prior on a large field."""
    import astropy_healpix  # noqa: F401

    rows = []
    field = noise_cube((3, 512, 512), options.seed)
    healpix = np.random.default_rng(options.seed).random(12 * 128**2)
    start = time.perf_counter()
    SpatialPrior.from_healpix(healpix, field, smoothing=1 * u.deg, floor=1e-4)
    rows.append(
        {
            "what": "HEALPix prior, nside 128, on 512 x 512",
            "workers": 1,
            "seconds": time.perf_counter() - start,
        }
    )
    print(_line(rows[-1]), flush=True)
    cube = noise_cube((64, 128, 128), options.seed)
    prior = SpatialPrior.from_healpix(healpix, cube, smoothing=1 * u.deg, floor=1e-4)
    tables = []
    for workers in (2, 1):
        start = time.perf_counter()
        runner = TrialRunner(Residual.of(cube, 0 * u.K), prior=prior)
        tables.append(
            runner.get_many_fits(
                options.n_speed, seed=options.seed, workers=workers, progress=options.progress
            )
        )
        row = {"what": f"{options.n_speed} trials of 64 x 128 x 128", "workers": workers}
        rows.append(row | {"seconds": time.perf_counter() - start})
        print(_line(rows[-1]), flush=True)
    same = all(
        np.array_equal(tables[0][name], tables[1][name], equal_nan=True) for name in tables[0].colnames
    )
    print(f"same numbers by 1 and 2 workers: {same}")
    return QTable(rows)


# --- what a prior gains -----------------------------------------------------------------------------


def prior(options):
    """Detection curves without a prior, with the one that features are drawn from, and with a wrong one."""
    rows, curves = [], {}
    cube = noise_cube((48, 96, 96), options.seed)
    residual = Residual.of(cube, 0 * u.K)
    right = gaussian_prior(cube)
    signal = drawn_signal(residual, right, options.n_injected, options.seed)
    judges = {"no prior": None, "right prior": right, "wrong prior": gaussian_prior(cube, dx=0.42)}
    depths = -np.linspace(30, 120, 7) * u.K
    for name, judge in judges.items():
        runner = TrialRunner(residual, prior=judge, signal=signal)
        found = measure_sensitivity(
            runner,
            depths,
            n_trials=options.n_injected,
            n_background=options.n_background * 4,
            seed=options.seed,
            workers=options.workers,
            progress=options.progress,
        )
        threshold = found.background.ts_at(0.01)[0]
        curves[name] = found.curve(threshold)
        rows.append(
            {
                "prior": name,
                "threshold_p_0.01": threshold,
                "half_found": curves[name].delta_t_at(0.5),
                "sensitivity_90": found.sensitivity,
                "discovery_3_sigma": found.discovery(),
            }
        )
        print(_line(rows[-1]), flush=True)
    if options.output is not None:
        figure = new_figure(6.6, 4.6)
        ax = figure.add_subplot()
        for color, (name, curve) in zip(COLORS, curves.items(), strict=False):
            plot_detection(
                curve, ax=ax, label=f"{name}: half at {-curve.delta_t_at(0.5).value:.0f} K", color=color
            )
        ax.set_ylabel("Share of features with a global p below 0.01")
        figure.savefig(options.output / "discovery.png", dpi=130)
    return QTable(rows)


def drawn_signal(residual, prior, n, seed):
    """A feature as small as the beam, at places that a prior expects: the same for all who look for it."""
    rng = np.random.default_rng([seed, 98])
    voxels = prior.draw(n, rng, residual.usable) + rng.uniform(-0.5, 0.5, (n, 3))
    lon, lat, velocity = world(residual.wcs, np.clip(voxels, 0, np.array(residual.shape) - 1))
    places = SkyCoord(lon, lat, frame=sky_frame(residual.wcs))
    return Signal(
        width=1 * u.arcmin, linewidth=2 * u.km / u.s, n_sigma=5, positions=places, velocities=velocity
    )


# --- backgrounds ------------------------------------------------------------------------------------


def backgrounds(options):
    """Maxima of resampled noise against those of drawn noise."""
    residual = noise_residual((48, 96, 96), options.seed)
    rows, first = [], None
    for background in ("noise", "sign-flip", "shuffle"):
        runner = TrialRunner(residual, parameters=TrialParameters(background=background))
        start = time.perf_counter()
        fits = runner.get_many_fits(2 * options.n_background, seed=options.seed, workers=options.workers)
        seconds = (time.perf_counter() - start) / len(fits)
        ts = np.asarray(fits["ts_prior"])
        first = ts if first is None else first
        rms = np.mean([runner.get_one_trial(0, seed).residual.standardised().std() for seed in range(10)])
        test = ks_2samp(ts, first)
        rows.append(
            {
                "background": background,
                "median_ts": np.median(ts),
                "ts_90": np.quantile(ts, 0.9),
                "ks_p": test.pvalue,
                "rms": rms,
                "data_rms": residual.standardised().std(),
                "seconds_each": seconds,
            }
        )
        print(_line(rows[-1]), flush=True)
    return QTable(rows)


def _line(row):
    return "  ".join(
        f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in row.items()
    )


WHAT = {one.__name__: one for one in (calibration, injection, speed, prior, backgrounds)}


def main(argv=None):
    options = parse(argv)
    if options.output is not None:
        options.output.mkdir(parents=True, exist_ok=True)
    for what in options.what:
        print(f"--- {what}")
        table = WHAT[what](options)
        if options.output is not None:
            table.write(options.output / f"{what}.ecsv", overwrite=True)
    return 0


def parse(argv):
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.trials",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--what", nargs="+", choices=tuple(WHAT), default=list(WHAT), metavar="NAME")
    parser.add_argument("--n-cubes", type=int, default=400)
    parser.add_argument("--n-background", type=int, default=199)
    parser.add_argument("--n-injected", type=int, default=300)
    parser.add_argument("--n-speed", type=int, default=1000)
    parser.add_argument("--backgrounds", nargs="+", default=["noise"], metavar="NAME")
    parser.add_argument("--seed", type=int, default=6300)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--progress", action="store_true")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
