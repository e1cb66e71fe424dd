"""Make the figure of the README by running the README's own lines.

Usage: python docs/make_figures.py
"""

import os
import re
import shutil
import tempfile
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "Agg")

DOCS = Path(__file__).resolve().parent
PYTHON_BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)


def make_figures(target=DOCS / "_static"):
    """Run the README's Python in an empty folder and move the picture it saves to ``target``."""
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    (code,) = PYTHON_BLOCK.findall(readme)
    start = Path.cwd()
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        try:
            exec(compile(code, "README.md", "exec"), {})
            shutil.move("demo.png", target / "demo.png")
        finally:
            os.chdir(start)


if __name__ == "__main__":
    make_figures()
