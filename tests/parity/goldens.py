"""Finds reference files: those in the folder that ADATAD_GOLDEN names, by default tests/golden."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

GOLDEN = Path(os.environ.get("ADATAD_GOLDEN") or Path(__file__).parents[1] / "golden")


def reference_files(prefix: str) -> list[Path]:
    """JSON sidecars, anywhere below the folder, whose name starts with `prefix`; none makes the test skip by name."""
    return sorted(GOLDEN.rglob(f"{prefix}*.json"))


def load(path: Path) -> tuple[dict[str, Any], Mapping[str, np.ndarray]]:
    """A sidecar and the arrays beside it (none if there is no `.npz`)."""
    arrays = path.with_suffix(".npz")
    return json.loads(path.read_text()), (dict(np.load(arrays)) if arrays.exists() else {})
