"""Make the figure of the README by running its own lines, and those of the pages on background and noise.

Usage: python docs/make_figures.py
"""

import os
import re
import tempfile
from pathlib import Path

from PIL import Image

os.environ.setdefault("MPLBACKEND", "Agg")

DOCS = Path(__file__).resolve().parent
PAGE_WIDTH = 1200
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


if __name__ == "__main__":
    make_figures()
    make_line_background()
    make_prior()
