"""Interchangeable engines, chosen by name; see `hisatools.backends.protocols`."""

from hisatools.backends.registry import available, get_backend

__all__ = ["available", "get_backend"]
