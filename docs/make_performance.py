"""Put the tables and figures of a performance run into the documentation.

Usage: python docs/make_performance.py PERF, with PERF the folder that `hisatools performance` wrote.
"""

import shutil
import sys
from pathlib import Path

from PIL import Image

DOCS = Path(__file__).resolve().parent
TABLES = ("regions.ecsv", "models.ecsv", "calibration.ecsv")
PAGE_WIDTH = 1200


def make_performance(run, docs=DOCS):
    """Copy the tables, and the figures scaled to the width of a page."""
    run = Path(run)
    (docs / "performance").mkdir(exist_ok=True)
    for name in TABLES:
        shutil.copyfile(run / name, docs / "performance" / name)
    for path in sorted(run.glob("*.png")):
        picture = Image.open(path).convert("RGB")
        width = min(picture.width, PAGE_WIDTH)
        size = width, round(picture.height * width / picture.width)
        picture = picture.resize(size, Image.Resampling.LANCZOS).quantize(256)
        picture.save(docs / "_static" / f"performance_{path.name}", optimize=True)


if __name__ == "__main__":
    make_performance(*sys.argv[1:])
