"""`write_report`: from a result to one HTML file that needs nothing else."""

import base64
import hashlib
import importlib.util
from functools import cache
from importlib import resources
from pathlib import Path

from hisatools.errors import BackendUnavailableError, ParameterError
from hisatools.io.writing import writing_file
from hisatools.plotting.style import ACCEPTED, REJECTED, SPATIAL, SPECTRAL, UNABSORBED
from hisatools.report import catalogue, facts, searches
from hisatools.report.channels import channel_maps, color_tables
from hisatools.report.numbers import plain, text
from hisatools.report.rasters import BLANK_COLOR

__all__ = ["write_report"]

EXTRA = "report"
# Packages that carry what is put into the page, and the files.
LIBRARIES = {
    "plotly": ("plotly", "package_data/plotly.min.js"),
    "datatables": ("itables", "html/dt_bundle.js"),
    "datatables_css": ("itables", "html/dt_bundle.css"),
}
MODULES = ("maps", "spectra", "table")
COLORS = {
    "spectral": SPECTRAL,
    "spatial": SPATIAL,
    "accepted": ACCEPTED,
    "both": REJECTED,
    "unabsorbed": UNABSORBED,
    "blank": "#{:02x}{:02x}{:02x}".format(*BLANK_COLOR),
}


def write_report(result, path, *, cube=None, overwrite=False):
    """Write an HTML page to look through a result: maps, catalogue, spectra, and how it was made.

    The page is one file. It loads nothing, so it opens from a disk and can be sent by mail; a large cube
    makes one of up to 30 MB. The same result gives the same bytes.

    Parameters
    ----------
    result : `~hisatools.HISAResult`
    path : str or path
        The page; its name ends in ``.html``.
    cube : `~hisatools.HISACube`, optional
        The cube that was searched. Without it the page describes what the result itself has of it.
    overwrite : bool
        Whether an older file may be replaced.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    BackendUnavailableError
        If a package is missing that the extra ``report`` installs.
    InputError
        If the cube is not the one that the result was made of.
    OutputError
        If the file exists and ``overwrite`` is False, or cannot be written.
    ParameterError
        If the name does not end in ``.html``.

    Examples
    --------
    >>> from hisatools.datasets import example_result
    >>> from hisatools.report import write_report
    >>> page = write_report(example_result(), "example.html")
    >>> page.read_text(encoding="utf-8")[:15]
    '<!DOCTYPE html>'
    """
    check_page_name(path)
    check_libraries()
    observed = facts.observed_cube(result) if cube is None else cube
    if cube is not None:
        facts.check_cube(cube, result)
    with writing_file(path, overwrite=overwrite) as part, part.open("w", encoding="utf-8") as file:
        file.writelines(_template().generate(**_content(result, observed), **_assets()))
    return Path(path).expanduser()


def check_page_name(path):
    """Refuse a page that is not called one."""
    if Path(path).suffix.lower() not in (".html", ".htm"):
        raise ParameterError(
            f"the page {str(path)!r} needs a name that ends in .html; write for example report.html"
        )


def check_libraries():
    """Raise BackendUnavailableError if a package is missing that the page needs."""
    _template()
    _assets()
    _check_pictures()


def _content(result, observed):
    is_map = result.flags[0].size > 1
    shown = catalogue.features(result)
    data = {
        "features": shown,
        "columns": catalogue.column_facts(result.catalog),
        "velocity": plain(result.velocity.value, 3),
        "maps": channel_maps(result) if is_map else None,
        "color_tables": color_tables(),
        "colors": COLORS,
    }
    return {
        "data": data,
        "is_map": is_map,
        "result": result,
        "title": facts.title(result),
        "input": facts.input_facts(result, observed),
        "counts": facts.counts(result),
        "passes": facts.passes(result),
        "parameters": facts.parameters(result),
        "software": facts.software(result),
        "reliability": facts.reliability(result),
        "remarks": result.meta.get("remarks", []),
        "table": catalogue.table(result),
        "n_spectra": sum("spectrum" in feature for feature in shown),
        "noise": searches.noise(result, observed),
        "loops": searches.loops(result),
        "stops": [name for name, _ in searches.STOPS.values()],
        "colors": COLORS,
    }


@cache
def _template():
    try:
        import jinja2
    except ImportError as error:
        raise _missing("jinja2") from error
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("hisatools.report", "assets"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    environment.filters["number"] = text
    environment.filters["share"] = lambda part, whole: f"{100 * part / whole:.3g} %" if whole else "-"
    environment.filters["bars"] = bars
    return environment.get_template("page.html.j2")


@cache
def _assets():
    """Scripts and styles, and what the browser is told to accept."""
    own = resources.files("hisatools.report") / "assets"
    library = {name: _library_text(*where) for name, where in LIBRARIES.items()}
    modules = {name: (own / f"{name}.js").read_text(encoding="utf-8") for name in MODULES}
    modules["datatables"] = library["datatables"]
    imports = ",".join(f'"{name}":"{_module_url(source)}"' for name, source in sorted(modules.items()))
    scripts = {
        "plotly": library["plotly"],
        "import_map": f'{{"imports":{{{imports}}}}}',
        "main": (own / "report.js").read_text(encoding="utf-8"),
    }
    styles = {"library": library["datatables_css"], "own": (own / "report.css").read_text(encoding="utf-8")}
    hashes = " ".join(f"'sha256-{_sha256(source)}'" for source in scripts.values())
    policy = (
        f"default-src 'none'; script-src {hashes} data:; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
    return {"scripts": scripts, "styles": styles, "policy": policy}


def _check_pictures():
    try:
        import PIL  # noqa: F401
    except ImportError as error:
        raise _missing("pillow") from error


def _library_text(package, name):
    # Found without importing it: what it imports itself is not needed here.
    found = importlib.util.find_spec(package)
    if found is None:
        raise _missing(package)
    path = Path(found.submodule_search_locations[0]) / name
    if not path.is_file():
        raise _missing(package, f" ({path.name} is not in the installed one)")
    return path.read_text(encoding="utf-8")


def _missing(package, remark=""):
    return BackendUnavailableError(
        f'the page needs the package {package}{remark}; type: pip install "hisatools[{EXTRA}]"'
    )


def _module_url(source):
    return f"data:text/javascript;base64,{base64.b64encode(source.encode()).decode('ascii')}"


def _sha256(source):
    return base64.b64encode(hashlib.sha256(source.encode()).digest()).decode("ascii")


def bars(values, height=60):
    """The path of a bar chart in an SVG picture: one bar a value, a unit wide; none where it is NaN."""
    values = [0.0 if value is None or value != value else float(value) for value in values]
    top = max(values, default=0) or 1.0
    return "".join(
        f"M{k} {height}V{height * (1 - value / top):.4g}h1V{height}z"
        for k, value in enumerate(values)
        if value > 0
    )
