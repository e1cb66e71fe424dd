"""Make the figures of the README and of figures.rst by running their own lines, and those of other pages.

Usage: python docs/make_figures.py
"""

import doctest
import os
import re
import tempfile
from pathlib import Path

from PIL import Image

os.environ.setdefault("MPLBACKEND", "Agg")

DOCS = Path(__file__).resolve().parent
PAGE_WIDTH = 1200
FIGURE = re.compile(r"^\.\. figure:: _static/(figure_\w+\.png)$", re.MULTILINE)
PYTHON_BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)


def make_figures(target=DOCS / "_static"):
    """Run the README's Python in an empty folder and put the picture it saves into ``target``.

    It is scaled down to the width of a page: the full size would be the largest file of the project.
    """
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    (code,) = PYTHON_BLOCK.findall(readme)
    start = Path.cwd()
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        try:
            exec(compile(code, "README.md", "exec"), {})
            picture = Image.open("demo.png").convert("RGB")
            size = PAGE_WIDTH, round(picture.height * PAGE_WIDTH / picture.width)
            picture.resize(size, Image.Resampling.LANCZOS).save(target / "demo.png", optimize=True)
        finally:
            os.chdir(start)


def make_page_of_figures(target=DOCS / "_static"):
    """Run the examples of figures.rst, skipped ones too, and save ``ax`` where the page shows a figure."""
    page, names, start = (DOCS / "figures.rst").read_text(encoding="utf-8"), {}, 0
    for shown in FIGURE.finditer(page):
        for example in doctest.DocTestParser().get_examples(page[start : shown.start()]):
            exec(compile(example.source, "figures.rst", "exec"), names)
        path = target / shown.group(1)
        names["ax"].figure.savefig(path, dpi=80)
        # A palette: noise in full colour would take twice the space.
        Image.open(path).convert("RGB").quantize(256).save(path, optimize=True)
        start = shown.end()


def make_line_background(target=DOCS / "_static"):
    """Counts with a line that hides under the mask, the fit, and the ranges of the tutorial."""
    import astropy.units as u

    from hisatools.line_background import LineBackground
    from hisatools.line_background.simulated import LIMITS, START, power_law_and_lines, simulate_counts

    counts = simulate_counts(seed=101, hidden=4000)
    background = LineBackground(counts.counts, counts.edges).with_mask((1790, 1825) * u.keV)
    fit = background.fit(power_law_and_lines, start=START, limits=LIMITS)
    sides = [(1680, 1710), (1735, 1750), (1820, 1875), (1940, 1990)]
    prediction = background.predict(fit, (1805, 1812) * u.keV, [side * u.keV for side in sides])
    background.plot_spectrum(fit, prediction).figure.savefig(target / "line_background.png", dpi=100)


def make_prior(target=DOCS / "_static"):
    """TS of a cloud that is as faint as the noise, a map of CO, and what of TS that leaves."""
    import astropy.units as u
    import numpy as np
    from astropy.coordinates import SkyCoord

    from hisatools.significance import Residual, SignificanceScan
    from hisatools.significance.prior import SpatialPrior
    from hisatools.significance.prior_figures import plot_prior_effect
    from hisatools.simulate import ModelParameters, simulate_cube

    model = simulate_cube(ModelParameters(shape=(48, 128, 160), n_pucks=0, n_components=80), seed=6050)
    cube = model.cube
    v, y, x = np.ogrid[:48, :128, :160]
    off = ((v - 20) / 1.5) ** 2 + ((y - 84) / 4) ** 2 + ((x - 50) / 4) ** 2
    cloud = cube.with_brightness(cube.kelvin - 13 * np.exp(-0.5 * off).astype(np.float32))
    scan = SignificanceScan().run(Residual.of(cloud, model.t_unabsorbed))
    place = SkyCoord(*cube.wcs.celestial.wcs_pix2world(55, 80, 0), unit="deg", frame="galactic")

    def carbon_monoxide(sky):
        return np.exp(-0.5 * (sky.separation(place) / (4 * u.arcmin)) ** 2)

    prior = SpatialPrior.from_function(carbon_monoxide, cube, floor=1e-4, name="CO")
    figure = plot_prior_effect(scan.ts, prior, wcs=cube.wcs)
    figure.savefig(target / "prior_effect.png", dpi=80)


def make_significance(target=DOCS / "_static"):
    """TS of a model cube, with a prior that is right."""
    import astropy.units as u
    import numpy as np

    from hisatools import HISAExtractor
    from hisatools.significance import Residual
    from hisatools.significance.outcome import measure_significance
    from hisatools.significance.prior import SpatialPrior
    from hisatools.simulate import ModelParameters, simulate_cube

    parameters = ModelParameters().scaled((48, 144, 144), median_brightness=100 * u.K)
    model = simulate_cube(parameters, seed=202)
    result = HISAExtractor().run(model.cube)
    column = -np.sum(model.delta_t.to_value(u.K), axis=0)
    prior = SpatialPrior.from_map(
        (column, model.cube.wcs.celestial), model.cube, floor=1e-3, smoothing=3 * u.arcmin, name="true column"
    )
    residual = Residual.from_result(model.cube, result)
    found = measure_significance(residual, result=result, prior=prior, n_trials=200, workers=2)
    found.plot().savefig(target / "significance.png", dpi=80)


def make_discovery(target=DOCS / "_static"):
    """Which share of features is found, with no prior, a right one and a wrong one."""
    import astropy.units as u
    import numpy as np
    from astropy.coordinates import SkyCoord

    from hisatools import HISACube
    from hisatools.noise import NoiseCorrelation
    from hisatools.plotting.style import new_figure
    from hisatools.significance import Residual, ScanParameters, SignificanceScan
    from hisatools.significance.backgrounds import draw_noise
    from hisatools.significance.fits import world
    from hisatools.significance.injected import Signal
    from hisatools.significance.prior import SpatialPrior
    from hisatools.significance.sensitivity import measure_sensitivity
    from hisatools.significance.trials import TrialRunner
    from hisatools.simulate import ModelParameters, model_wcs

    shape, rng = (32, 64, 64), np.random.default_rng(6300)
    noise = 6 * u.K * draw_noise(shape, NoiseCorrelation(3.33, 1.6), rng)
    cube = HISACube(noise, model_wcs(ModelParameters(shape=shape)))
    y, x = np.indices(shape[1:])

    def blob(x0):
        probability = np.exp(-0.5 * ((x - x0) ** 2 + (y - 32) ** 2) / 6**2) + 1e-4
        return SpatialPrior(probability, cube.wcs)

    right, wrong = blob(32), blob(58)
    lon, lat, velocity = world(cube.wcs, right.draw(100, rng, np.ones(shape, bool)))
    places = SkyCoord(lon, lat, frame="galactic")
    signal = Signal(
        width=1 * u.arcmin, linewidth=2 * u.km / u.s, n_sigma=5, positions=places, velocities=velocity
    )
    residual = Residual.of(cube, 0 * u.K)
    scan = SignificanceScan(ScanParameters(widths=[1, 2] * u.arcmin, linewidths=[1.5, 3] * u.km / u.s))
    ax = new_figure(6.6, 4.6).add_subplot()
    for name, prior in (("no prior", None), ("right prior", right), ("wrong prior", wrong)):
        runner = TrialRunner(residual, scan=scan, prior=prior, signal=signal)
        found = measure_sensitivity(
            runner, -np.linspace(35, 125, 7) * u.K, n_trials=100, n_background=300, seed=6300, workers=2
        )
        curve = found.curve(found.background.ts_at(0.01)[0])
        curve.plot(ax=ax, label=f"{name}: half at {-curve.delta_t_at(0.5).value:.0f} K")
    ax.set_ylabel("Share of features with a global p below 0.01")
    ax.figure.savefig(target / "discovery.png", dpi=110)


def make_residual_mask(target=DOCS / "_static"):
    """A sky with extra dust: its mask, residuals and rounds, and the likelihood of the velocity width."""
    import astropy.units as u
    import numpy as np

    from hisatools.residual_mask import fit_velocity_width
    from hisatools.residual_mask.simulated import DustModelParameters, map_wcs, simulate_dust

    kms = u.km / u.s
    parameters = DustModelParameters(shape=(128, 128))
    model = simulate_dust(parameters, seed=6203, velocity_width=18 * kms, n_channels=40)
    fit = fit_velocity_width(
        model.cube,
        model.tracer,
        centre=0 * kms,
        widths=np.arange(16, 20, 0.01) * kms,
        start_width=36 * kms,
        error=model.error,
        wcs=map_wcs(parameters.shape),
    )
    fit.mask.plot_map().figure.savefig(target / "residual_mask_map.png", dpi=90)
    fit.mask.plot_histogram().figure.savefig(target / "residual_mask_histogram.png", dpi=90)
    fit.mask.plot_convergence().savefig(target / "residual_mask_convergence.png", dpi=90)
    fit.likelihood.plot_corner().savefig(target / "residual_mask_corner.png", dpi=90)


def make_gas_grid(target=DOCS / "_static"):
    """What gas could make the absorption of the Perseus globule."""
    import astropy.units as u
    import numpy as np

    from hisatools.physics import gas_grid

    grid = gas_grid(
        -42 * u.K,
        104 * u.K,
        2.5 * u.km / u.s,
        t_spin=np.linspace(3, 80, 200) * u.K,
        p=np.linspace(0.3, 1, 200),
        t_continuum=5.5 * u.K,
    )
    grid.plot().figure.savefig(target / "gas_grid.png", dpi=100)


if __name__ == "__main__":
    make_figures()
    make_page_of_figures()
    make_line_background()
    make_prior()
    make_significance()
    make_discovery()
    make_residual_mask()
    make_gas_grid()
