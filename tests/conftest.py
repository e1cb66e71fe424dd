"""Fixtures that several test modules share."""

from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data():
    """Folder of the real spectra, cubes and survey headers; skips where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"the real data are not beside the project ({SHARED_DATA.name} folder absent)")
    return SHARED_DATA
