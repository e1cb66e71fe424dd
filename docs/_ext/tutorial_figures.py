"""Figures of the tutorials: what the last line of a block is goes into the page, with its alternative text.

Figures of hisatools are made without pyplot, which the scraper of sphinx-gallery asks for what is open.
"""

import ast
import warnings
from pathlib import PurePosixPath

from matplotlib.figure import Figure
from sphinx.errors import ExtensionError
from sphinx_gallery.py_source_parser import extract_file_config
from sphinx_gallery.scrapers import figure_rst

from hisatools.errors import HISAWarning

DPI = 100


def scrape_figure(block, block_vars, gallery_conf):
    """Write the figure that a block ends with, and return the reStructuredText that shows it.

    A block ends with a `~matplotlib.figure.Figure` or with axes. It says what there is to see, for readers
    who cannot see it, in a comment that is not shown: ``# sphinx_gallery_alt = "..."``.
    """
    figure = _last_figure(block, block_vars["example_globals"])
    if figure is None:
        return ""
    alt = extract_file_config(block.content).get("alt")
    if not alt:
        raise ExtensionError(
            f"{block_vars['src_file']}, block at line {block.lineno}: the figure has no alternative text; "
            'write # sphinx_gallery_alt = "what there is to see" into the block'
        )
    path = PurePosixPath(next(block_vars["image_path_iterator"]))
    figure.savefig(path, dpi=DPI)
    sharp = path.with_name(f"{path.stem}_2_00x{path.suffix}")
    figure.savefig(sharp, dpi=2 * DPI)
    return figure_rst([path], gallery_conf["src_dir"], alt, srcsetpaths=[{0: path, 2.0: sharp}])


def _last_figure(block, names):
    """The figure that the last line of a block is, or None."""
    statements = ast.parse(block.content).body
    if not statements or not isinstance(statements[-1], ast.Expr):
        return None
    last = names.get("___")
    figure = getattr(last, "figure", last)
    return figure if isinstance(figure, Figure) else None


def strict_warnings(gallery_conf, name):
    """Before each tutorial: a warning of hisatools that the text does not speak of fails the build."""
    warnings.filterwarnings("error", category=HISAWarning)
