"""What the benchmark found, as rows: one figure of ours, of PyTorch's, or both with their ratio."""

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from adatad_jax.files import write_text

FORWARD, STEP, TEMPORARIES, ARGUMENTS = "forward", "train step", "compiled temporaries", "arguments"
PEAK, COMPILE, START, FLOPS, WAITING = "peak memory", "compile time", "start-up", "flops", "waiting for data"


class Row(NamedTuple):
    """One comparison.

    Attributes:
      what: one of the nine names above.
      size: of the model, a key of `SIZES`; None where there is none.
      frames: of a window.
      batch: windows.
      dtype: of matrix products.
      setting: how it was computed.
      unit: of `ours` and `pytorch`.
      ours, pytorch: medians; None where there is no figure.
      ratio: ours by PyTorch's, the median over the turns in which both were measured one after the other.
      spread: largest less smallest by the median: of the turns' ratios, or of one side's samples where there are no
        ratios; None for one sample.
      remark: why a figure is missing, what disturbed it, or what it is made of.
    """

    what: str
    size: str | None
    frames: int | None
    batch: int | None
    dtype: str | None
    setting: str
    unit: str
    ours: float | None
    pytorch: float | None = None
    ratio: float | None = None
    spread: float | None = None
    remark: str = ""


def spread(values: Sequence[float]) -> float | None:
    """Returns largest less smallest by the median; None for fewer than two values."""
    return (max(values) - min(values)) / statistics.median(values) if len(values) > 1 else None


def compared(row: Row, ours: Sequence[float], pytorch: Sequence[float]) -> Row:
    """Returns a row with the medians of samples, their ratio and its spread.

    Args:
      row: the rest of it.
      ours, pytorch: samples; where both have any, they are turns, in order.
    """
    ratios = [a / b for a, b in zip(ours, pytorch, strict=False)]
    return row._replace(
        ours=statistics.median(ours) if ours else None,
        pytorch=statistics.median(pytorch) if pytorch else None,
        ratio=statistics.median(ratios) if ratios else None,
        spread=spread(ratios or ours or pytorch),
    )


def read_json(path: Path) -> list[Row]:
    """Reads rows that `write_json` has written."""
    rows = []
    for record in json.loads(path.read_text(encoding="utf-8")):
        setting, _, remark = record.pop("setting").partition("; ")
        rows.append(Row(setting=setting, remark=remark, **record))
    return rows


def write_json(path: Path, rows: Sequence[Row]) -> None:
    """Writes rows as a list of objects. A remark becomes a part of `setting`, behind a semicolon."""
    records = []
    for row in rows:
        record = row._asdict()
        remark = record.pop("remark")
        records.append(record | {"setting": f"{row.setting}; {remark}"} if remark else record)
    write_text(path, json.dumps(records, indent=1) + "\n")
