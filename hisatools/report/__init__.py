"""An HTML page to look through a result: one file, without network, for a browser and for paper."""

from hisatools.report.page import write_report

__all__ = ["write_report"]
