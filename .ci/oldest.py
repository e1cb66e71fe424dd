"""Write pip constraints that hold every run-time dependency at its lower bound.

Usage: python .ci/oldest.py CONSTRAINTS.txt
"""

import sys
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"


def constraints(pyproject=PYPROJECT):
    """One ``name==bound`` for each ``name>=bound`` in the metadata; any other form is an error."""
    project = tomllib.loads(pyproject.read_text())["project"]
    pinned = []
    for requirement in project["dependencies"]:
        name, separator, bound = requirement.partition(">=")
        if not separator or "," in bound:
            raise SystemExit(f"{requirement!r} in {pyproject.name} needs the form 'name>=bound'")
        # ==6.1.* would let pip take a later patch; the bound itself is what is promised.
        pinned.append(f"{name}=={bound}")
    return pinned


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    Path(sys.argv[1]).write_text("\n".join(constraints()) + "\n")
