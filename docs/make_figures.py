"""Make the figure of the README by running the README's own lines.

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


if __name__ == "__main__":
    make_figures()
