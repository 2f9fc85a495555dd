"""Where the outputs of each video go: beside each other under one folder, never over files of somebody else."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from adatad_jax.data.checks import EXTENSIONS
from adatad_jax.errors import UserError

WRITTEN = (".json", ".csv", ".srt", ".vtt", ".png")
ANNOTATED = ".annotated.mp4"
MARK = "detector"  # the field of a JSON file that shows it is ours


class Job(NamedTuple):
    """A video to detect in, and the path of its outputs without their suffixes."""

    source: Path
    base: Path

    def file(self, suffix: str) -> Path:
        """An output."""
        return self.base.with_name(self.base.name + suffix)


def plan(given: Sequence[Path], output: Path) -> list[Job]:
    """A job for every file given, and for every video in the folders given, in order.

    A file goes to OUTPUT/NAME, one of a folder to OUTPUT/SUBFOLDERS/NAME. NAME is without the extension, unless two
    videos of a folder differ in nothing else.

    Args:
      given: video files, which need not exist, and folders, which are searched at any depth for files with a video's
        extension that `detect` did not write.
      output: folder to write into.

    Raises:
      UserError: a folder holds no video, or two videos would write the same files.
    """
    jobs: list[Job] = []
    for path in dict.fromkeys(given):
        if not path.is_dir():
            jobs.append(Job(path, output / path.name))
            continue
        videos = [
            file
            for file in sorted(path.rglob("*"))
            if file.suffix.lower() in EXTENSIONS
            and file.is_file()
            and not file.name.endswith(ANNOTATED)
            and not file.name.startswith(".")
        ]
        if not videos:
            raise UserError(f"{path}: no video in this folder; looked for {' '.join(EXTENSIONS)}")
        jobs += [Job(file, output / file.relative_to(path)) for file in videos]
    if doubled := [job for job, count in Counter(job.base for job in jobs).items() if count > 1]:
        lines = [str(job.source) for job in jobs if job.base in doubled]
        raise UserError(f"these videos would write to the same files in {output}: {', '.join(lines)}; run them apart")
    stems = Counter(job.base.with_suffix("") for job in jobs)
    return [Job(job.source, job.base.with_suffix("")) if stems[job.base.with_suffix("")] == 1 else job for job in jobs]


def is_done(job: Job, header: Mapping[str, Any], suffixes: Sequence[str]) -> bool:
    """Whether an earlier run left all outputs of a job, made with the same header fields.

    Raises:
      UserError: there are files of these names that no such run has written.
    """
    there = [suffix for suffix in suffixes if job.file(suffix).exists()]
    if not there:
        return False
    before = _read_object(job.file(".json"))
    if MARK not in before:
        raise UserError(
            f"{job.file(there[0])}: exists, and was not written by detect; remove it or give another --output"
        )
    return len(there) == len(suffixes) and all(before.get(key) == value for key, value in header.items())


def _read_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
