"""Directives for what must not be typed twice: defaults, catalogue columns, tables of runs, help, news."""

import contextlib
import importlib
import io
import os
from dataclasses import fields
from pathlib import Path
from types import FunctionType

import numpy as np
from astropy.table import QTable
from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList

import hisatools
from hisatools import parameters
from hisatools.catalog import COLUMNS
from hisatools.cli import main

DOCS = Path(__file__).resolve().parents[1]
FRAGMENTS = DOCS.parent / "changes"


def parameter_rows(class_name):
    """Name and default of every field of one parameter class."""
    for item in fields(getattr(parameters, class_name)):
        yield f"``{item.name}``", str(item.default)


def column_rows():
    """Name, unit and description of every column of the catalogue."""
    for name, (_, unit, description) in COLUMNS.items():
        yield f"``{name}``", "" if unit is None else unit.to_string(), description.replace("|dT|", "\\|dT\\|")


class _Generated(Directive):
    """Parse generated reStructuredText in place."""

    def run(self):
        container = nodes.container()
        lines = StringList(list(self.lines()), source=self.name)
        self.state.nested_parse(lines, self.content_offset, container)
        return container.children


class ParameterTable(_Generated):
    """``.. parameter-table:: SpectralParameters``."""

    required_arguments = 1

    def lines(self):
        return _list_table(("Parameter", "Default"), parameter_rows(self.arguments[0]))


class NameTables(_Generated):
    """``.. name-tables::`` with a module a line: its public classes and functions, and their summaries.

    Those that ``hisatools`` itself exports stand in its table alone.
    """

    has_content = True

    def lines(self):
        main = "hisatools" in self.content
        shown = set() if main else {getattr(hisatools, name) for name in hisatools.__all__}
        for name in self.content:
            module = importlib.import_module(name)
            names = [item for item in _public(module) if getattr(module, item) not in shown]
            shown |= {getattr(module, item) for item in names}
            if names:
                yield from (f".. py:currentmodule:: {name}", "", f"In ``{name}``:", "")
                yield from (".. autosummary::", "   :nosignatures:", "")
                yield from (*(f"   {item}" for item in names), "")


def _public(module):
    """Names of the classes and functions that a module offers."""
    of_its_own = [name for name in vars(module) if name[0] != "_" and _home(module, name) == module.__name__]
    names = getattr(module, "__all__", of_its_own)
    return [name for name in names if _home(module, name) is not None]


def _home(module, name):
    """The module in which a class or a function is defined; None for anything else."""
    value = getattr(module, name)
    return value.__module__ if isinstance(value, type | FunctionType) else None


class ColumnTable(_Generated):
    """``.. column-table::``."""

    def lines(self):
        return _list_table(("Column", "Unit", "Content"), column_rows())


class TableFile(_Generated):
    """``.. table-file:: performance/regions.ecsv``: a table that lies beside the documentation.

    The option ``columns`` chooses and orders its columns.
    """

    required_arguments = 1
    option_spec = {"columns": str.split}  # noqa: RUF012

    def lines(self):
        table = QTable.read(DOCS / self.arguments[0])
        names = self.options.get("columns", table.colnames)
        titles = [name.replace("_", " ") + _in_brackets(table[name].unit) for name in names]
        return _list_table(titles, ([_cell(row[name]) for name in names] for row in table))


class CommandHelp(Directive):
    """``.. command-help:: extract``: what ``hisatools extract --help`` prints."""

    optional_arguments = 1

    def run(self):
        printed = io.StringIO()
        os.environ["COLUMNS"] = "72"  # what fits into the page
        with contextlib.redirect_stdout(printed):
            main([*self.arguments, "--help"])
        return [nodes.literal_block(text=printed.getvalue(), language="text")]


class Unreleased(_Generated):
    """``.. unreleased::``: the news fragments as a list."""

    def lines(self):
        lines = []
        for fragment in sorted(FRAGMENTS.glob("*.rst")):
            first, *others = fragment.read_text(encoding="utf-8").splitlines()
            lines += [f"- {first}", *(f"  {line}" for line in others), ""]
        return lines or ["Nothing yet."]


def _in_brackets(unit):
    return f" ({unit})" if unit else ""


def _cell(value):
    """A number with three digits that count, or a text."""
    value = np.asarray(getattr(value, "value", value))
    if value.ndim:
        return ", ".join(_cell(item) for item in value)
    if value.dtype.kind == "f":
        return "" if np.isnan(value) else f"{value:.3g}"
    return str(value).replace("|", "\\|")


def _list_table(titles, rows):
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in (titles, *rows):
        lines += [f"   {'*' if n == 0 else ' '} - {cell}" for n, cell in enumerate(row)]
    return lines


def setup(app):
    """Register the directives."""
    app.add_directive("parameter-table", ParameterTable)
    app.add_directive("name-tables", NameTables)
    app.add_directive("column-table", ColumnTable)
    app.add_directive("table-file", TableFile)
    app.add_directive("command-help", CommandHelp)
    app.add_directive("unreleased", Unreleased)
    return {"version": "1", "parallel_read_safe": True}
