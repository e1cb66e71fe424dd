"""Sizes and repeats of the measurements."""

from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is measured on what; shapes are (n_v, n_y, n_x).

    Parameters
    ----------
    spectra : tuple of int
        Cube of the spectral search.
    maps : tuple of int
        Cube of the spatial search.
    model : tuple of int
        Cube of the unabsorbed emission, labels, widths and reading.
    baseline_spectra, baseline_maps : tuple of int
        Parts of the first two that the plain loops are given.
    n_clean_loops : int
        CLEAN loops by which the backends are compared on one map.
    n_channels : int
        Of the cubes that are extracted by whole processes.
    sides : tuple of int
        Pixels along a side of these cubes.
    repeats, extractions : int
        How often each measurement, and each whole extraction, is repeated.
    cube_folder : path, optional
        Where model cubes are kept for later runs; by default they are thrown away.
    """

    spectra: tuple = (272, 256, 256)
    maps: tuple = (6, 1024, 1024)
    model: tuple = (128, 512, 512)
    baseline_spectra: tuple = (272, 24, 24)
    baseline_maps: tuple = (2, 512, 512)
    n_clean_loops: int = 20
    n_channels: int = 272
    sides: tuple = (256, 362, 512, 724, 1024)
    repeats: int = 3
    extractions: int = 1
    cube_folder: Path | None = None


QUICK = Settings(
    spectra=(48, 24, 24),
    maps=(3, 96, 96),
    model=(32, 96, 96),
    baseline_spectra=(48, 6, 6),
    baseline_maps=(2, 96, 96),
    n_clean_loops=3,
    n_channels=32,
    sides=(80, 112),
    repeats=1,
)

# Where pytest's configuration holds the settings of this run.
SETTINGS = pytest.StashKey[Settings]()
