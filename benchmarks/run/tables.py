"""The tables of `benchmarks/RESULTS.md`, which the benchmark writes itself between markers."""

import datetime
import importlib.metadata
import platform
from collections.abc import Sequence
from pathlib import Path

import jax

from benchmarks.results import RESULTS, write_between
from benchmarks.run.rows import FORWARD, STEP, Row

PACKAGES = ("jax", "flax", "torch")


def write_tables(part: str, rows: Sequence[Row], about: str, path: Path = RESULTS) -> None:
    """Writes the tables of a part into the results; see `write_between`.

    Args:
      part: its name, with that of the device where it is no CPU.
      rows: of the tables.
      about: what they were measured with.
      path: of the results.
    """
    write_between(f"benchmarks.run: {part}", f"{about}\n\n{render(rows)}", path)


def describe(command: str, device: jax.Device, threads: int) -> str:
    """Returns what the tables were measured with: date, command, machine and versions."""
    versions = [f"Python {platform.python_version()}"]
    for name in PACKAGES:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"no {name}")
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    kind = _processor() if device.platform == "cpu" else device.device_kind
    return f"{date}, `{command}`: {kind}, {threads} threads on either side; {', '.join(versions)}."


def _processor() -> str:
    """Returns the name of the processor."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return " ".join(line.split(":", 1)[1].split())
    return platform.processor() or platform.machine()


def render(rows: Sequence[Row]) -> str:
    """Returns rows as a table in Markdown; columns in which no row has anything are left out."""
    columns = {
        "what": [row.what for row in rows],
        "size": [row.size or "" for row in rows],
        "frames": [str(row.frames or "") for row in rows],
        "batch": [str(row.batch or "") for row in rows],
        "dtype": [row.dtype or "" for row in rows],
        "setting": [row.setting for row in rows],
        "ours": [_number(row.ours) for row in rows],
        "PyTorch": [_number(row.pytorch) for row in rows],
        "unit": ["" if row.unit == "1" else row.unit for row in rows],
        "ratio": [_number(row.ratio) for row in rows],
        "spread": ["" if row.spread is None else f"{100 * row.spread:.0f}%" for row in rows],
        "frames per second": [_number(_rate(row)) for row in rows],
        "remark": [row.remark for row in rows],
    }
    kept = {name: cells for name, cells in columns.items() if any(cells)}
    lines = [list(kept), ["---"] * len(kept), *zip(*kept.values(), strict=True)]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def _rate(row: Row) -> float | None:
    """Returns our frames per second."""
    if row.what not in (FORWARD, STEP) or not row.ours or not row.frames or not row.batch:
        return None
    return row.frames * row.batch / row.ours


def _number(value: float | None) -> str:
    """Formats a number with three digits that count."""
    if value is None:
        return ""
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}"
