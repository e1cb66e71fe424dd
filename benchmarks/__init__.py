"""Measurements of hisatools, run from the root of the project.

``python -m benchmarks`` measures speed and memory, ``python -m benchmarks.detection`` what is found.
"""
