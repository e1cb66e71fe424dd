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


if __name__ == "__main__":
    make_figures()
    make_line_background()
