"""Interchangeable engines, chosen by name; see `hisatools.backends.protocols`."""

from hisatools.backends.registry import available, default_name, get_backend, resolve

__all__ = ["available", "default_name", "get_backend", "resolve"]
