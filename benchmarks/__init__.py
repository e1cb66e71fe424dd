"""Measurements of hisatools: run as ``python -m benchmarks.NAME`` from the root of the project."""
