"""Filling of a frame cache with the frames of a configuration's videos, and the check of its checksums."""

import itertools
import math
import shutil
import time
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from adatad_jax.config.fields import Config
from adatad_jax.config.run_fields import ReadingConfig
from adatad_jax.console import progress_bar, watched
from adatad_jax.data.cache import CacheTask, WriteError, cache_video, checksum, read_entry, record_file
from adatad_jax.data.paths import check_paths
from adatad_jax.data.propose import resolve
from adatad_jax.data.sampling import make_sampling
from adatad_jax.data.subset import load_classes, load_subset
from adatad_jax.errors import UserError
from adatad_jax.files import lock_held
from adatad_jax.video.limits import map_in_processes, within
from adatad_jax.video.readers import DECORD, reason_for_pyav, tally

USUAL_FPS, USUAL_ASPECT = 30, 16 / 9  # assumed when estimating the disk space


SLOWEST = 4  # seconds that decoding one second of video may take


@dataclass(frozen=True)
class Item:
    """A video to decode.

    Attributes:
      task: what to decode and where to write it.
      seconds: annotated length of the video.
    """

    task: CacheTask
    seconds: float


def prepare(config: Config, folder: Path, quality: int | None, workers: int, console: Console) -> bool:
    """Decodes the videos that the cache of a detector lacks, and prints a summary and the videos that failed.

    Args:
      config: whose subsets, sampling and short sides the cache is for.
      folder: of the cache.
      quality: of the JPEG frames, 1 to 100; None stores frames without loss.
      workers: number of processes.
      console: where to report.

    Returns:
      Whether a run can start with the cache: no video failed, or `data.skip_broken` is set.

    Raises:
      UserError: annotations are wrong, or as `fill`.
    """
    config = config.with_fields({"data.cache": ""})  # with a cache, video files would be allowed to be missing
    check_paths(config, weights=False)
    config = resolve(config, console)
    return fill(*find_subset_videos(config, folder, quality), folder, config.data, workers, console)


def fill(
    items: Sequence[Item], missing: Sequence[str], folder: Path, data: ReadingConfig, workers: int, console: Console
) -> bool:
    """Decodes the videos that a cache lacks, and prints a summary and the videos that failed.

    A video counts as hanging after `data.time_limit` plus four times its length, rounded up to a power of two seconds.

    Args:
      items: the videos, also those that are up to date.
      missing: one message per video that is missing.
      folder: of the cache.
      data: time limit, threads, reader, and whether a run may skip videos.
      workers: number of processes.
      console: where to report.

    Returns:
      Whether a run can start with the cache: no video failed, or `data.skip_broken` is set.

    Raises:
      UserError: the cache cannot be written because another prepare is writing into it or the disk is full.
    """
    started, failures = time.monotonic(), list(missing)
    waiting = [item for item in items if item.task.short_sides]
    needed = sum(estimate_bytes(item) for item in waiting)
    total, frames, videos = len(items) + len(failures), 0, 0
    with _alone(folder), _cleared(folder):
        free = shutil.disk_usage(folder).free
        if needed > free:
            raise UserError(
                f"--output={folder}: {len(waiting)} videos need about {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB "
                "are free; make room, choose another folder, or a lower --quality"
            )
        console.print(
            f"{len(waiting)} videos to decode, about {needed / 1e9:.2g} GB; {len(items) - len(waiting)} are up to date"
        )
        if data.reader == DECORD:
            console.print(_tally_readers([item.task.source for item in waiting], data))
        decoded = _decode(waiting, workers, data.time_limit)
        with progress_bar(console) as progress, closing(decoded):
            bar = progress.add_task("decoding", total=sum(item.seconds for item in waiting))
            for done, (item, outcome) in enumerate(decoded, start=1):
                if isinstance(outcome, WriteError):
                    raise outcome
                if isinstance(outcome, UserError):
                    failures.append(str(outcome))
                else:
                    frames, videos = frames + outcome, videos + 1
                progress.update(bar, advance=item.seconds, status=f"{done} of {len(waiting)} videos")
    size = sum(path.stat().st_size for path in folder.glob("*/**/*.array_record"))
    console.print(
        f"decoded {videos} videos, {frames} frames in {time.monotonic() - started:.0f} s; {folder} holds "
        f"{total - len(failures)} of {total} videos, {size / 1e9:.2f} GB"
    )
    if failures:
        console.print(f"{len(failures)} videos are not in it:", *failures, sep="\n  ")
    return not failures or data.skip_broken


def _tally_readers(sources: Sequence[Path], data: ReadingConfig) -> str:
    """Describes which reader reads how many of the videos that can be read at all."""

    def reason(path: Path) -> str | None:
        with suppress(UserError):  # told when the video is decoded
            return within(data.time_limit, str(path), lambda: reason_for_pyav(data.reader, path))
        return None

    with ThreadPoolExecutor(data.threads) as pool:
        return tally(found for found in pool.map(reason, sources) if found is not None)


def find_subset_videos(config: Config, folder: Path, quality: int | None) -> tuple[list[Item], list[str]]:
    """Finds the videos of both subsets, and the short sides at which the cache lacks each of them.

    Args:
      config: without a cache.
      folder: of the cache.
      quality: as for `prepare`.

    Returns:
      The videos, also those that are up to date (no short sides); and one message per missing video.

    Raises:
      UserError: annotations or labels are wrong, a subset is empty, or files are missing.
    """
    data = config.data
    classes = load_classes(config)
    sides: dict[str, set[int]] = {}
    seconds: dict[str, float] = {}
    files: dict[str, Path] = {}
    missing: dict[str, str] = {}
    for name, training, short_side in (
        (data.train_subset, True, data.train_short_side),
        (data.test_subset, False, data.test_short_side),
    ):
        subset = load_subset(config, name, classes, training)
        missing |= subset.missing
        files |= subset.files
        for video in subset.videos.values():
            sides.setdefault(video.name, set()).add(short_side)
            seconds[video.name] = video.duration
    kept = make_sampling(data)
    tasks = {
        name: CacheTask(folder, name, path, tuple(sides[name]), kept, quality, data.reader)
        for name, path in files.items()
    }
    return [Item(lacking(task), seconds[name]) for name, task in tasks.items()], list(missing.values())


def lacking(task: CacheTask) -> CacheTask:
    """Returns a task without the short sides at which the cache holds the video as it would be written now."""
    sides = (side for side in sorted(task.short_sides) if not _is_done(task, side))
    return replace(task, short_sides=tuple(sides))


def _is_done(task: CacheTask, short_side: int) -> bool:
    entry = read_entry(record_file(task.folder, short_side, task.name))
    return entry is not None and entry.is_of(task.source, task.kept, task.quality)


def estimate_bytes(item: Item) -> float:
    """Estimates the bytes of a video's record files from its length, at 30 frames per second and 16:9.

    Measured on videos of people, a pixel takes 0.22 bytes as JPEG of quality 90, and 1.2 bytes without loss. At
    a quality q the estimate is 0.22 sqrt(10 / (100 - q)) bytes.
    """
    task = item.task
    kept = len(task.kept.loadable(max(1, round(item.seconds * USUAL_FPS))))
    pixels = kept * sum(side * side * USUAL_ASPECT for side in task.short_sides)
    return pixels * (1.2 if task.quality is None else 0.22 * math.sqrt(10 / max(1, 100 - task.quality)))


def _decode(
    items: Sequence[Item], workers: int, time_limit: float
) -> Generator[tuple[Item, int | UserError], None, None]:
    """Yields each item with its number of frames or its error; the longest videos first, one time limit at a time."""

    def octave(item: Item) -> float:
        return 2.0 ** math.ceil(math.log2(max(1.0, item.seconds)))

    for seconds, group in itertools.groupby(sorted(items, key=octave, reverse=True), octave):
        by_name = {item.task.name: item for item in group}
        tasks = [item.task for item in by_name.values()]
        limit = time_limit + SLOWEST * seconds
        for task, outcome in map_in_processes(cache_video, tasks, workers, limit, lambda task: str(task.source)):
            yield by_name[task.name], outcome


def check(folder: Path, threads: int, console: Console) -> bool:
    """Compares every file of a cache with its checksum, and prints the files that differ.

    Args:
      folder: of the cache.
      threads: files read at a time.
      console: where to report.

    Returns:
      Whether all files are intact.

    Raises:
      UserError: there is no cache in the folder.
    """
    files = sorted(path.with_suffix(".array_record") for path in folder.glob("*/**/*.json"))
    if not files:
        raise UserError(f"--output={folder}: this folder holds no cache; leave out --check to make one")

    def problem(path: Path) -> str | None:
        entry = read_entry(path)
        if entry is None:
            return f"{path}: missing, or of another size or version than its entry says"
        return None if checksum(path) == entry.sha256 else f"{path}: its checksum differs from its entry's; damaged"

    with ThreadPoolExecutor(threads) as pool:
        found = watched(pool.map(problem, files), "checking", len(files), console)
        problems = [text for text in found if text]
    if problems:
        what = f"{len(problems)} of {len(files)} files are damaged; delete them and run the command without --check:"
        console.print(what, *problems, sep="\n  ")
    else:
        console.print(f"{len(files)} files are intact")
    return not problems


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Creates the folder and locks it against a second prepare, until the block or the process ends."""
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            ours = stack.enter_context(lock_held(folder / ".lock"))
        except OSError as error:
            raise UserError(
                f"--output={folder}: cannot be written ({error.strerror}); choose another folder"
            ) from error
        if not ours:
            raise UserError(f"--output={folder}: another prepare is writing into it; wait until it is done")
        yield


@contextmanager
def _cleared(folder: Path) -> Iterator[None]:
    """Removes the partial files of killed processes, before the block (earlier runs) and after it (this run)."""
    try:
        _remove_partial(folder)
        yield
    finally:
        _remove_partial(folder)


def _remove_partial(folder: Path) -> None:
    for path in folder.glob("*/**/.*.partial"):
        path.unlink(missing_ok=True)
