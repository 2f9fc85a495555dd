"""Real public files for tests; they are not part of the repository, so what uses them skips where they are absent."""

import os
from pathlib import Path

import pytest

FOLDER = Path(os.environ.get("ADATAD_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data")


def real_file(relative: str) -> Path:
    """The file, or a skip that says what is missing."""
    path = FOLDER / relative
    if not path.exists():
        pytest.skip(f"{relative} is not in {FOLDER} (set ADATAD_TEST_DATA to a folder that has it)")
    return path
