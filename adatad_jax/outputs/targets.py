"""The output paths of each video: all under one folder, never overwriting files that this package did not write."""

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from adatad_jax.errors import UserError
from adatad_jax.files import lock_held, partial_path
from adatad_jax.video.names import given_videos
from adatad_jax.video.spelling import normal, shown

WRITTEN = (".json", ".csv", ".srt", ".vtt", ".png")
ANNOTATED = ".annotated.mp4"
MARK = "detector"  # the field that shows that `detect` wrote a JSON file
IDENTITY = ("video", "bytes", "modified")  # fields that tell videos apart; moving a video changes the first alone


class Job(NamedTuple):
    """A video to detect in, and the path of its outputs without their suffixes."""

    source: Path
    base: Path

    def file(self, suffix: str) -> Path:
        """Returns the path of the output with this suffix."""
        return self.base.with_name(self.base.name + suffix)


def plan(given: Sequence[Path], output: Path) -> list[Job]:
    """Makes one job per given file and per video in the given folders, in order.

    The outputs of a given file go to OUTPUT/NAME, those of a video in a given folder to OUTPUT/SUBFOLDERS/NAME. NAME
    has no extension, unless two videos of a folder would then have the same outputs.

    Args:
      given: video files, which need not exist, and folders. Folders are searched at any depth for files that have a
        video's extension and that `detect` did not write.
      output: folder to write into.

    Returns:
      The jobs; a video that is given twice has one job.

    Raises:
      UserError: a folder holds no video, or two videos would write the same files.
    """
    jobs: list[Job] = []
    for path in given:
        for file in given_videos(path, ANNOTATED):
            jobs.append(Job(file, output / (file.name if file == path else file.relative_to(path))))
    unique: dict[tuple[str, Path], Job] = {}
    for job in jobs:  # a file may be given both by itself and in its folder
        unique.setdefault((os.path.realpath(job.source), job.base), job)
    jobs = list(unique.values())
    bases = Counter(normal(str(job.base)) for job in jobs)
    if lines := [shown(str(job.source)) for job in jobs if bases[normal(str(job.base))] > 1]:
        raise UserError(
            f"these videos would write to the same files in {output}: {', '.join(lines)}; rename one of them, or give "
            "each its own --output"
        )
    stems = Counter(normal(str(job.base.with_suffix(""))) for job in jobs)
    return [
        Job(job.source, short) if stems[normal(str(short))] == 1 and normal(str(short)) not in bases else job
        for job in jobs
        for short in [job.base.with_suffix("")]
    ]


@contextmanager
def claimed(job: Job) -> Iterator[bool]:
    """Claims a job for this process, until the process ends at the latest.

    Yields:
      Whether the job is claimed; False if another process holds it.

    Raises:
      UserError: the job's folder cannot be written.
    """
    path = partial_path(job.file(ANNOTATED)).with_suffix(".claimed")  # the longest name: if it fits, all others do
    with ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            ours = stack.enter_context(lock_held(path))
        except OSError as error:
            raise UserError(
                f"{job.source}: its results cannot be written as {job.base} ({error.strerror}); make room, rename the "
                "video, or choose another folder"
            ) from error
        if ours:
            stack.callback(path.unlink, missing_ok=True)
        yield ours


def is_done(job: Job, header: Mapping[str, Any], suffixes: Sequence[str]) -> bool:
    """Checks whether an earlier run left all outputs of a job, made with the same header fields.

    Args:
      job: the job.
      header: the fields that this run would write into the JSON file.
      suffixes: the outputs that this run would write.

    Raises:
      UserError: there are files of these names that `detect` did not write, or that belong to another video.
    """
    there = [suffix for suffix in (*WRITTEN, ANNOTATED) if job.file(suffix).exists()]
    if not there:
        return False
    before = _read_object(job.file(".json"))
    if MARK not in before:
        raise UserError(
            f"{job.file(there[0])}: exists, and was not written by detect; remove it or give another --output"
        )
    is_same = [before.get(key) == header.get(key) for key in IDENTITY]
    if not is_same[0] and not all(is_same[1:]):
        raise UserError(
            f"{job.file('.json')}: holds the detections of another video, {before.get('video')}; remove it or give "
            "another --output"
        )
    return set(suffixes) <= set(there) and all(before.get(key) == value for key, value in header.items())


def clear(job: Job) -> None:
    """Removes an earlier run's outputs, except the JSON file, and the partial files of a killed run."""
    for suffix in (*WRITTEN, ANNOTATED):
        path = job.file(suffix)
        partial_path(path).unlink(missing_ok=True)
        if suffix != ".json":
            path.unlink(missing_ok=True)


def _read_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
