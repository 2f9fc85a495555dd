"""Where the outputs of each video go: beside each other under one folder, never over files of somebody else."""

import fcntl
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from adatad_jax.errors import UserError
from adatad_jax.files import partial_path
from adatad_jax.video.names import EXTENSIONS

WRITTEN = (".json", ".csv", ".srt", ".vtt", ".png")
ANNOTATED = ".annotated.mp4"
MARK = "detector"  # the field of a JSON file that shows it is ours
IDENTITY = ("video", "bytes", "modified")  # the fields that tell videos apart; one that was moved has another first


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
    for path in given:
        if not os.path.isdir(path):  # unlike Path.is_dir, it takes names that are too long
            jobs.append(Job(path, output / path.name))
            continue
        videos = [
            file
            for file in sorted(path.rglob("*"))
            if file.suffix.lower() in EXTENSIONS
            and not file.is_dir()
            and not file.name.endswith(ANNOTATED)
            and not file.name.startswith(".")
        ]
        if not videos:
            raise UserError(f"{path}: no video in this folder; looked for {' '.join(EXTENSIONS)}")
        jobs += [Job(file, output / file.relative_to(path)) for file in videos]
    unique: dict[tuple[str, Path], Job] = {}
    for job in jobs:  # a file may be given by itself and in its folder
        unique.setdefault((os.path.realpath(job.source), job.base), job)
    jobs = list(unique.values())
    if doubled := [job for job, count in Counter(job.base for job in jobs).items() if count > 1]:
        lines = [str(job.source) for job in jobs if job.base in doubled]
        raise UserError(f"these videos would write to the same files in {output}: {', '.join(lines)}; run them apart")
    stems = Counter(job.base.with_suffix("") for job in jobs)
    return [Job(job.source, job.base.with_suffix("")) if stems[job.base.with_suffix("")] == 1 else job for job in jobs]


@contextmanager
def claimed(job: Job) -> Iterator[bool]:
    """Keeps a job to this process, until the process ends at the latest; gives whether no other one is at it.

    Raises:
      UserError: its folder cannot be written.
    """
    path = partial_path(job.file(ANNOTATED)).with_suffix(".claimed")  # the longest of all names, so it may be too long
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w")
    except OSError as error:
        raise UserError(
            f"{job.source}: its results cannot be written as {job.base} ({error.strerror}); make room, rename the "
            "video, or choose another folder"
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        except OSError:
            pass  # a file system without locks
        try:
            yield True
        finally:
            path.unlink(missing_ok=True)


def is_done(job: Job, header: Mapping[str, Any], suffixes: Sequence[str]) -> bool:
    """Whether an earlier run left all outputs of a job, made with the same header fields.

    Raises:
      UserError: there are files of these names that no such run has written, or one for another video.
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
            f"{job.file('.json')}: holds what was found in another video, {before.get('video')}; remove it or give "
            "another --output"
        )
    return set(suffixes) <= set(there) and all(before.get(key) == value for key, value in header.items())


def clear(job: Job) -> None:
    """Removes the outputs of an earlier run, and what a killed one left half written, but not the JSON file."""
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
