"""Detection in video files, and the output files of each video."""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from rich.console import Console

from adatad_jax.console import progress_bar
from adatad_jax.data.footage import Footage, damaged_stretches, open_footage
from adatad_jax.errors import UserError
from adatad_jax.files import write_text
from adatad_jax.inference.detector import Detector
from adatad_jax.outputs.annotated import write_annotated
from adatad_jax.outputs.detection_files import to_csv, to_json
from adatad_jax.outputs.selection import to_show
from adatad_jax.outputs.subtitles import as_played, to_srt, to_vtt
from adatad_jax.outputs.targets import ANNOTATED, WRITTEN, Job, claimed, clear, is_done
from adatad_jax.outputs.text import flat
from adatad_jax.outputs.timeline import Span, draw_timeline, thumbnails
from adatad_jax.postprocessing.detections import Detection
from adatad_jax.video.decode import Filling
from adatad_jax.video.spelling import normal
from adatad_jax.video.steady import check_fps

DRAWN = 40  # largest number of detections in a picture


DONE, DONE_BEFORE, FAILED, LEFT = "done", "done before", "failed", "left to another process"


class DetectionOptions(NamedTuple):
    """Which detections to keep and which files to write.

    Attributes:
      threshold: lowest score; None keeps all detections, and shows those of at least `selection.THRESHOLD`.
      top: largest number of detections, which are those of highest score; None keeps all.
      labels: classes of the detections; None keeps all classes.
      fps: frames per second of the videos, in place of what their files say.
      skip_damaged: the largest share of a video's frames that may be damaged and are then filled; None refuses damage.
      annotate: whether to write an annotated video too.
      again: whether to redo the videos that an earlier run has finished.
    """

    threshold: float | None = None
    top: int | None = None
    labels: tuple[str, ...] | None = None
    fps: float | None = None
    skip_damaged: float | None = None
    annotate: bool = False
    again: bool = False


def detect_files(
    detector: Detector,
    jobs: Sequence[Job],
    options: DetectionOptions,
    console: Console,
    truth: Mapping[str, Sequence[Span]] = {},
) -> list[str]:
    """Detects in each video and writes its files. A video that fails does not stop the others.

    Args:
      detector: the detector.
      jobs: the videos and where their outputs go.
      options: which detections to keep and which files to write.
      console: where to report.
      truth: file stem -> annotated segments to draw into the picture.

    Returns:
      One message per failed video; each is printed too.

    Raises:
      UserError: an option is wrong.
    """
    choose = detector.chooser(options.threshold or 0.0, options.top, options.labels)
    if options.fps is not None:
        check_fps(options.fps)
    if options.skip_damaged is not None and not 0 <= options.skip_damaged <= 1:
        raise UserError(f"skip_damaged={options.skip_damaged}: expected a share of the frames, in [0, 1]")
    console.print(f"{detector.origin}, {len(detector.classes)} classes")
    failures = []
    outcomes = Counter({DONE: 0, DONE_BEFORE: 0, FAILED: 0})
    for job in jobs:
        try:
            outcome = _detect(detector, job, options, choose, console, truth.get(normal(job.source.stem), ()))
        except (UserError, OSError) as error:
            outcome = FAILED
            failures.append(str(error))
            console.print(f"failed: {error}", style="red")
        outcomes[outcome] += 1
    if len(jobs) > 1:
        console.print(f"{len(jobs)} videos: {', '.join(f'{count} {outcome}' for outcome, count in outcomes.items())}")
    return failures


def _detect(
    detector: Detector,
    job: Job,
    options: DetectionOptions,
    choose: Callable[[list[Detection]], list[Detection]],
    console: Console,
    truth: Sequence[Span],
) -> str:
    """Detects in one video, writes its files, and returns and prints the outcome."""
    started = time.perf_counter()
    header = _header(job, detector, options)
    suffixes = (*WRITTEN, ANNOTATED) if options.annotate else WRITTEN
    with claimed(job) as ours:
        if not ours:
            console.print(f"{job.source}: {LEFT}, which writes {job.base}")
            return LEFT
        if is_done(job, header, suffixes) and not options.again:
            console.print(f"{job.source}: {DONE_BEFORE} (--again repeats it)")
            return DONE_BEFORE
        filling = None if options.skip_damaged is None else Filling(options.skip_damaged)
        footage = open_footage(job.source, detector.config, options.fps, filling)
        for note in footage.notes:
            console.print(f"{job.source}: {note}", highlight=False)
        with _progress(console, job.source.name, footage.video.duration) as watch:
            found = choose(detector.find(footage, watch))
        if _header(job, detector, options) != header:
            raise UserError(f"{job.source}: the file changed while it was read; run this again when it is complete")
        _write(job, footage, filling, header, found, options, detector.config.data.time_limit, console, truth)
    best = "".join(f", best: {d.label} {d.score:.2f} at {d.start:.1f}-{d.end:.1f} s" for d in found[:1])
    console.print(
        f"{job.source}: {footage.video.duration:.1f} s of video in {time.perf_counter() - started:.1f} s; "
        f"{len(found)} detections{best} -> {job.file('.json')}, {', '.join(suffixes[1:])}"
    )
    return DONE


def _header(job: Job, detector: Detector, options: DetectionOptions) -> dict[str, Any]:
    """Returns what the outputs depend on, as JSON values; raises `UserError` if the file cannot be reached."""
    try:
        status = job.source.stat()
    except OSError as error:
        raise UserError(f"{job.source}: the video file cannot be reached ({error.strerror}); check the path") from error
    return {
        "video": os.path.abspath(job.source),
        "bytes": status.st_size,
        "modified": status.st_mtime,
        "detector": {"origin": detector.origin, "fingerprint": detector.fingerprint},
        "threshold": options.threshold,
        "top": options.top,
        "labels": list(options.labels) if options.labels else None,
        "fps_given": options.fps,
        "skip_damaged": options.skip_damaged,
    }


def _write(
    job: Job,
    footage: Footage,
    filling: Filling | None,
    header: Mapping[str, Any],
    found: list[Detection],
    options: DetectionOptions,
    time_limit: float,
    console: Console,
    truth: Sequence[Span],
) -> None:
    """Writes all outputs. The JSON file is first: if the process is killed, it marks the others as ours."""
    shown = to_show(found, options.threshold)
    played = as_played(shown, job.source, options.fps)
    damaged = None if filling is None else damaged_stretches(job.source, filling, options.fps)
    if damaged:
        total = sum(end - start for start, end in damaged)
        console.print(f"{job.source}: {total:.2f} s in {len(damaged)} stretches are damaged: filled, and marked")
    images = thumbnails(job.source, time_limit, options.fps, filling)
    duration = footage.video.duration
    clear(job)
    facts = {"duration": duration, "fps": footage.fps, "notes": list(footage.notes)}
    if damaged is not None:
        facts["damaged"] = damaged
    write_text(job.file(".json"), to_json({**header, **facts}, found))
    write_text(job.file(".csv"), to_csv(normal(job.source.stem), found, damaged))
    write_text(job.file(".srt"), to_srt(played))
    write_text(job.file(".vtt"), to_vtt(played))
    draw_timeline(job.file(".png"), shown[:DRAWN], duration, images, job.source.name, truth, damaged or ())
    if options.annotate:
        with _progress(console, f"{job.source.name}: drawing", duration) as watch:
            notes = write_annotated(job.source, job.file(ANNOTATED), shown, options.fps, watch, filling)
        for note in notes:
            console.print(f"{job.file(ANNOTATED)}: {note}")


@contextmanager
def _progress(console: Console, name: str, duration: float) -> Iterator[Callable[[float], None]]:
    """Shows a progress bar, and yields a function that sets the seconds of video that are done."""
    started = time.perf_counter()
    with progress_bar(console) as bar:
        task = bar.add_task(flat(name), total=duration, status="starting")

        def watch(seconds: float) -> None:
            speed = seconds / max(time.perf_counter() - started, 1e-9)
            text = f"{seconds:.0f}/{duration:.0f} s, {speed:.{1 if speed < 10 else 0}f} s of video/s"
            bar.update(task, completed=seconds, status=text)

        yield watch
