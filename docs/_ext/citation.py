"""``.. citation::``: the paper and the software as BibTeX, from CITATION.cff."""

from pathlib import Path

import yaml
from docutils import nodes
from docutils.parsers.rst import Directive

FILE = Path(__file__).resolve().parents[2] / "CITATION.cff"


def bibtex_of_paper(paper):
    """An article of a ``preferred-citation``."""
    pages = f"{paper['start']}--{paper['end']}"
    return _entry(
        f"article{{{paper['authors'][0]['family-names']}{paper['year']}",
        author=_names(paper["authors"]),
        title=f"{{{paper['title']}}}",
        journal=paper["journal"],
        volume=paper["volume"],
        pages=pages,
        year=paper["year"],
        doi=paper["doi"],
    )


def bibtex_of_software(about):
    """The software itself."""
    return _entry(
        f"software{{{about['title']}",
        author=_names(about["authors"]),
        title=f"{{{about['title']}}}",
        version=about["version"],
        license=about["license"],
    )


def _names(authors):
    # In braces a name is not taken apart into given and family names.
    return " and ".join(
        f"{one['family-names']}, {one['given-names']}" if "family-names" in one else f"{{{one['name']}}}"
        for one in authors
    )


def _entry(start, **fields):
    lines = [f"  {name:7} = {{{value}}}," for name, value in fields.items()]
    return "\n".join([f"@{start},", *lines, "}"])


class Citation(Directive):
    """Two blocks of BibTeX, the paper first."""

    def run(self):
        about = yaml.safe_load(FILE.read_text(encoding="utf-8"))
        self.state.document.settings.record_dependencies.add(str(FILE))
        entries = (bibtex_of_paper(about["preferred-citation"]), bibtex_of_software(about))
        return [nodes.literal_block(text=entry, language="bibtex") for entry in entries]


def setup(app):
    """Register the directive."""
    app.add_directive("citation", Citation)
    return {"version": "1", "parallel_read_safe": True}
