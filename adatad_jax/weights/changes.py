"""Changes between the starts of a run, of its configuration and of its training videos: permitted, listed, recorded.

Beside the configuration, a run folder holds `training_videos.json`, a fingerprint of each training video's annotations,
and `changes.jsonl`: one line per start that changed something, with the step from which on it acts.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from adatad_jax.config.run_fields import RunConfig
from adatad_jax.data.fingerprint import VideoChanges, compare
from adatad_jax.errors import UserError
from adatad_jax.files import write_text
from adatad_jax.weights.run_folder import FIXED_FIELDS, Difference, differences, holds_run, read_config

CHANGES_FILE, VIDEOS_FILE = "changes.jsonl", "training_videos.json"
FLAG = "--config.train.resume_with_changes=True"


class Changes(NamedTuple):
    """What a start changes of the run in its folder.

    Attributes:
      fields: the configuration's fields with other values.
      videos: how the training videos differ; None if the run's are not known.
    """

    fields: list[Difference]
    videos: VideoChanges | None

    def lines(self) -> Iterator[str]:
        """Yields a line per change."""
        for field, before, now in self.fields:
            yield f"{field}: {before!r} -> {now!r}"
        for line in self.videos.lines() if self.videos else ():
            yield f"training videos: {line}"

    def record(self, step: int, epoch: int) -> dict[str, Any]:
        """Returns the changes as JSON values.

        Args:
          step: number of steps taken before.
          epoch: number of whole epochs done before.
        """
        fields = {field: [before, now] for field, before, now in self.fields}
        videos = {name: list(value) for name, value in self._videos() if value}
        record: dict[str, Any] = {"step": step, "epoch": epoch, "config": fields, "videos": videos}
        if self.videos and self.videos.reordered:
            record["videos_reordered"] = True
        return record

    def _videos(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        if self.videos:
            yield from (("added", self.videos.added), ("gone", self.videos.gone), ("altered", self.videos.altered))


def check_fields(workdir: Path, config: RunConfig, classes: tuple[str, ...]) -> list[Difference]:
    """Compares a command's configuration with that of the run which it would continue.

    Args:
      workdir: the folder, which need not exist.
      config: of the command.
      classes: class list of the command.

    Returns:
      The fields that differ, and may.

    Raises:
      UserError: the class list differs; fields that never change in a run differ; or fields differ that change what
        is learned, without `train.resume_with_changes`. All are listed.
    """
    if not holds_run(workdir):
        return []
    fields, names = read_config(workdir, config.task)
    if classes != names:
        raise UserError(
            f"{workdir}: the run was trained on the classes {', '.join(names)}, in this order; the class list is now "
            f"{', '.join(classes)}: give the same list, or start another run from this one's parameters: "
            f"--workdir=NEW --config.weights={workdir}"
        )
    different = differences(fields, config)
    allowed = config.train.resume_with_changes
    refused = [one for one in different if not one.is_free and not (allowed and one.field not in FIXED_FIELDS)]
    if refused:
        permit = f", or permit them with {FLAG}" if any(one.field not in FIXED_FIELDS for one in refused) else ""
        lines = [
            f"{one} (never changes in a run: {FIXED_FIELDS[one.field]})" if one.field in FIXED_FIELDS else str(one)
            for one in refused
        ]
        raise UserError(
            f"{workdir}: this folder holds a run of another configuration; give another --workdir, or the same values"
            f"{permit}:\n  " + "\n  ".join(lines)
        )
    return different


def check_videos(workdir: Path, now: Mapping[str, str], allowed: bool) -> VideoChanges | None:
    """Compares the training videos with those of the run in a folder.

    Args:
      workdir: the folder, which need not exist.
      now: fingerprints of the training videos (`data.fingerprint`).
      allowed: whether they may differ.

    Returns:
      How they differ; None if the folder holds no fingerprints, as before the first start, or from an older version.

    Raises:
      UserError: they differ and may not, or the folder's fingerprints are damaged.
    """
    before = read_videos(workdir)
    if before is None:
        return None
    changed = compare(before, now)
    if changed and not allowed:
        raise UserError(
            f"{workdir}: the training videos are not those of the run, {len(before)} so far, now {len(now)}; give the "
            f"same videos with the same labels, another --workdir, or permit the change with {FLAG}:\n  "
            + "\n  ".join(changed.lines())
        )
    return changed


def read_videos(workdir: Path) -> dict[str, str] | None:
    """Reads the fingerprints of a run's training videos; None if the folder has none.

    Raises:
      UserError: the file is damaged.
    """
    path = workdir / VIDEOS_FILE
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): str(value) for name, value in content.items()}
    except (ValueError, AttributeError) as error:
        raise UserError(
            f"{path}: damaged: expected JSON with a fingerprint per video ({error}); remove it if the annotations are "
            "still those of the run"
        ) from error


def write_videos(workdir: Path, videos: Mapping[str, str]) -> None:
    """Writes the fingerprints of a run's training videos into its folder."""
    write_text(workdir / VIDEOS_FILE, json.dumps(videos, indent=0, ensure_ascii=False) + "\n")


def read_changes(workdir: Path) -> list[dict[str, Any]]:
    """Reads the records of all changes of a run, in order; raises `UserError` if the file is damaged."""
    path = workdir / CHANGES_FILE
    records: list[dict[str, Any]] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines() if path.is_file() else [], 1):
        try:
            record = json.loads(line)
            records.append({**record, "step": int(record["step"]), "epoch": int(record["epoch"])})
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{path}, line {number}: damaged: expected JSON with step and epoch ({error!r}); remove the line"
            ) from error
    return records


def record_changes(workdir: Path, changes: Changes, step: int, epoch: int) -> None:
    """Adds what a start changes to the run's record.

    Earlier changes that were to act from a later step on act from this one, where the run goes on from an older
    checkpoint.

    Args:
      workdir: the run's folder.
      changes: of this start.
      step: number of steps taken before.
      epoch: number of whole epochs done before.
    """
    before = read_changes(workdir)
    records: Sequence[dict[str, Any]] = [
        {**record, "step": min(record["step"], step), "epoch": min(record["epoch"], epoch)} for record in before
    ]
    new = changes.record(step, epoch)
    if any(changes.lines()) and records[-1:] != [new]:  # the same: that start was killed before it wrote the rest
        records = [*records, new]
    if records != before:
        write_text(workdir / CHANGES_FILE, "".join(f"{json.dumps(record)}\n" for record in records))
