"""Sphinx configuration. Nothing is fetched from the network while building."""

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.append(str(HERE / "_ext"))

from hisatools._version import __version__  # noqa: E402

project = "hisatools"
author = copyright = "hisatools developers"
version = release = __version__

extensions = [
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx_gallery.gen_gallery",
    "citation",
    "generated_tables",
]
exclude_patterns = ["_build", "tutorials"]
default_role = "py:obj"
nitpicky = True
extensions += ["sphinx.ext.autosummary", "public_names"]
# Names of other projects lead somewhere on Read the Docs alone, see below. None of hisatools may stand here.
OTHERS = "astropy|matplotlib|numpy|pathlib|photutils|radio_beam|regions|scipy|spectral_cube"
nitpick_ignore_regex = [("py:.*", rf"({OTHERS})(\..*)?")]

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the types of parameters stand in their descriptions
add_module_names = False
numpydoc_show_class_members = False  # the members are listed by autodoc

# The tutorials are run at each build; one that fails, fails it.
sphinx_gallery_conf = {
    "examples_dirs": "tutorials",
    "gallery_dirs": "auto_tutorials",
    "filename_pattern": r"\.py$",
    "within_subsection_order": "FileNameSortKey",
    "image_scrapers": ("tutorial_figures.scrape_figure",),
    "reset_modules": ("matplotlib", "tutorial_figures.strict_warnings"),
    "ignore_repr_types": r"matplotlib|wcsaxes",
    "remove_config_comments": True,
    "write_computation_times": False,
    "download_all_examples": False,
}

# The one place where links to other projects are worth a download.
if os.environ.get("READTHEDOCS") == "True":
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "astropy": ("https://docs.astropy.org/en/stable", None),
    }

# The equations were looked at in this series; the next one draws letters cut off where its fonts are missing.
mathjax_path = "https://cdn.jsdelivr.net/npm/mathjax@3/es5/tex-mml-chtml.js"

html_theme = "pydata_sphinx_theme"
html_title = f"hisatools {version}"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_show_sourcelink = False
html_theme_options = {"show_prev_next": False, "secondary_sidebar_items": ["page-toc"]}
