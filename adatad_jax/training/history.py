"""A run's record: sums over the current epoch, and one line in `history.jsonl` per finished epoch."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from adatad_jax.errors import UserError
from adatad_jax.files import write_text
from adatad_jax.training.scores import in_words, rank_of, score_of

HISTORY_FILE = "history.jsonl"
# Recorded as sums; the rest as means.
SUMMED = ("seconds", "windows_without_segment", "windows_skipped", "reads_repeated", "steps_skipped")


class Tally:
    """Sums over an epoch's steps. Checkpoints hold these sums, so that an epoch can be continued in its middle."""

    def __init__(self, saved: Mapping[str, float] | None = None) -> None:
        """Starts from saved sums, or from zero."""
        self._sums: dict[str, float] = dict(saved or {})

    def add(self, metrics: Mapping[str, float], **counts: float) -> None:
        """Adds a step.

        Args:
          metrics: name -> value; the record has the mean over the epoch.
          counts: name in `SUMMED` -> value; the record has the sum over the epoch. `steps` is 0 for a step that does
            not count in the means.
        """
        for name, value in {"steps": 1, **metrics, **counts}.items():
            self._sums[name] = self._sums.get(name, 0) + value

    def saved(self) -> dict[str, float]:
        """Returns the sums in the form that the constructor takes."""
        return dict(self._sums)

    def finish(self) -> dict[str, float]:
        """Returns the means of the metrics and the sums of the counts, and resets all sums to zero."""
        sums, self._sums = self._sums, {}
        steps = sums.pop("steps")
        return {name: value if name in SUMMED else value / steps for name, value in sums.items()}


def read_history(workdir: Path) -> list[dict[str, Any]]:
    """Reads the records of the epochs so far; an unfinished line of a killed run is skipped.

    Raises:
      UserError: a line is damaged.
    """
    path = workdir / HISTORY_FILE
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    records = []
    for number, line in enumerate(lines, 1):
        if line.endswith(b"\n"):
            try:
                records.append(dict(json.loads(line)))
            except (ValueError, TypeError) as error:
                raise UserError(
                    f"{path}, line {number}: damaged: expected JSON, the record of an epoch ({error}); remove it"
                ) from error
    return records


def write_history(workdir: Path, records: Sequence[dict[str, Any]]) -> None:
    """Replaces the run's history."""
    write_text(workdir / HISTORY_FILE, "".join(json.dumps(record) + "\n" for record in records))


def print_epoch(record: dict[str, Any], console: Console) -> None:
    """Prints an epoch's record in one line."""
    score = f"  {words}" if (words := in_words(record)) else ""
    if record["windows_without_segment"]:
        score += f"  ({record['windows_without_segment']} windows kept no segment)"
    console.print(
        f"epoch {record['epoch']:3d}  step {record['step']:6d}  loss {record['loss']:.4f}  "
        f"grad {record['grad_norm']:.3f}  {record['seconds']:.1f} s{score}"
    )


def report_evaluations(workdir: Path, console: Console) -> None:
    """Prints the score of the last and of the best evaluated epoch, if any was."""
    scored = [(rank, record) for record in read_history(workdir) if (rank := rank_of(record)) is not None]
    if scored:
        last, best = scored[-1][1], max(scored, key=lambda pair: pair[0])[1]
        score = score_of(best)
        how = ", chosen on the test subset, as published results are" if score is not None and score.is_share else ""
        console.print(
            f"{in_words(last)} after the last epoch evaluated ({last['epoch']}); {in_words(best)} after the best "
            f"({best['epoch']}{how})"
        )
