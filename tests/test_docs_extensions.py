"""What the documentation is built with: figures have words beside them, citations are of CITATION.cff."""

import runpy
from collections import namedtuple
from pathlib import Path

import pytest
from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[1]
EXTENSIONS = ROOT / "docs" / "_ext"
Block = namedtuple("Block", "type content lineno")
ALT = '# sphinx_gallery_alt = "a line that rises"\n'


def scrape(code, shown, folder):
    pytest.importorskip("sphinx_gallery")
    scraper = runpy.run_path(str(EXTENSIONS / "tutorial_figures.py"))["scrape_figure"]
    names = {
        "example_globals": {"___": shown},
        "image_path_iterator": iter([folder / "figure_001.png"]),
        "src_file": "tutorial.py",
    }
    return scraper(Block("code", code, 1), names, {"src_dir": str(folder)})


@pytest.mark.parametrize("last", ["figure", "axes"])
def test_the_figure_that_a_block_ends_with_is_shown_with_its_words(last, tmp_path):
    figure = Figure()
    shown = {"figure": figure, "axes": figure.add_subplot()}[last]
    text = scrape(f"{ALT}figure", shown, tmp_path)
    assert ":alt: a line that rises" in text
    assert "figure_001_2_00x.png 2.00x" in text
    assert {path.name for path in tmp_path.iterdir()} == {"figure_001.png", "figure_001_2_00x.png"}


def test_a_figure_without_words_is_an_error(tmp_path):
    with pytest.raises(Exception, match="block at line 1: the figure has no alternative text"):
        scrape("figure", Figure(), tmp_path)


@pytest.mark.parametrize(("code", "shown"), [("figure = make()", Figure()), ("result", 7)])
def test_a_block_that_ends_with_no_figure_shows_none(code, shown, tmp_path):
    assert scrape(code, shown, tmp_path) == ""


def test_bibtex_is_that_of_the_citation_file():
    yaml = pytest.importorskip("yaml")
    pytest.importorskip("docutils")
    citation = runpy.run_path(str(EXTENSIONS / "citation.py"))
    about = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    paper = citation["bibtex_of_paper"](about["preferred-citation"])
    assert paper.startswith("@article{Gibson2005,\n")
    assert "author  = {Gibson, S. J. and Taylor, A. R. and" in paper
    assert "pages   = {214--232}," in paper and paper.count("{") == paper.count("}")
    software = citation["bibtex_of_software"](about)
    assert f"version = {{{about['version']}}}," in software
