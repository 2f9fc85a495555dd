"""The diagnosis of a data set: what it holds and what is wrong with it. `diagnose` does not stop at a problem."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from adatad_jax.config.build import make_detector
from adatad_jax.config.fields import Config
from adatad_jax.console import warnings_to, watched
from adatad_jax.data.annotations import Video, classes_of, select_subset, without_classes
from adatad_jax.data.propose import resolve
from adatad_jax.data.sampling import Sampling, make_sampling
from adatad_jax.data.subset import load_classes, load_videos
from adatad_jax.data.usable_videos import length_problem, window_problem
from adatad_jax.detection.reach import levels_of_segments
from adatad_jax.diagnosis.costs import Clip, Cost, measure
from adatad_jax.diagnosis.report import (
    FILE_PROBLEMS,
    FIT,
    MISSING,
    NO_WINDOW,
    OTHER_LENGTH,
    UNDECODABLE,
    Costs,
    Report,
    SubsetReport,
)
from adatad_jax.diagnosis.segment_problems import segment_problems
from adatad_jax.diagnosis.similar_labels import similar_labels
from adatad_jax.errors import UserError, all_listed
from adatad_jax.video.limits import map_in_processes
from adatad_jax.video.names import find_files
from adatad_jax.video.probe import Probe, probe_throughout
from adatad_jax.video.readers import DECORD, check_reader, tally

MEASURED = 4  # videos per subset on which decoding is timed
USUAL_FPS = 30  # assumed where neither the file nor the annotations give the number of frames


def diagnose(config: Config, console: Console) -> Report:
    """Checks the annotations, the segments and the files of both subsets of a configuration.

    Args:
      config: the configuration to check.
      console: where progress is shown.

    Returns:
      The report. Every problem of the data is a finding in it.

    Raises:
      UserError: a field of the configuration cannot work, or the reader of videos is not installed.
    """
    check_reader(config.data.reader)
    report = Report()
    origin = f"; get it from: {config.data.come_from}" if config.data.come_from else ""
    skip_broken = config.data.skip_broken
    with all_listed():
        try:
            config, videos = _load_videos(config, report)
            with _warnings_into(Report()):  # those of loading are in the report already
                config = resolve(config, console)
        except UserError as error:
            report.tell(f"{error}{origin}", fatal=True)
            return report
        try:
            with _warnings_into(Report()):
                classes = load_classes(config)
        except UserError as error:
            report.tell(f"{error}{origin} (the labels in the annotations are used instead)", fatal=True)
            classes = tuple(label for label in classes_of(videos) if label not in config.data.ignore_labels)
    config = config.with_fields({"data.skip_broken": skip_broken})
    data = config.data

    report.detector = make_detector(config, len(classes))
    if data.sampling == "windows":
        report.window_limit = data.window / data.trunc_thresh
    for name in dict.fromkeys((data.train_subset, data.test_subset)):
        subset = _diagnose_subset(config, name, videos, classes, report)
        if subset is not None:
            report.subsets.append(subset)
    if data.train_subset == data.test_subset:
        report.tell("config.data.test_subset is the training subset: results say nothing about other videos")
    alike = [f'"{one}" and "{other}"' for one, other in similar_labels(classes_of(videos))]
    report.add("", "labels that look like one label spelt twice: each is a class of its own", alike)
    _diagnose_files(config, report, console)
    return report


def _load_videos(config: Config, report: Report) -> tuple[Config, dict[str, Video]]:
    """Loads all annotations; returns the configuration with which they load, and the videos by name.

    Reading a table opens its videos: broken ones become a finding, and the others are read.

    Raises:
      UserError: the annotations cannot be read.
    """
    try:
        with _warnings_into(report):
            return config, load_videos(config)
    except UserError as error:
        if config.data.skip_broken:
            raise
        lenient = config.with_fields({"data.skip_broken": True})
        with _warnings_into(Report()):
            videos = load_videos(lenient)
        report.tell(str(error), fatal=True)
        return lenient, videos


class _Findings(logging.Handler):
    """A log handler that turns each distinct warning of the package into one finding, and keeps its notes."""

    def __init__(self, report: Report) -> None:
        super().__init__(logging.INFO)
        self._report = report

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            self._report.tell(record.getMessage())
        elif record.getMessage() not in self._report.notes:
            self._report.notes.append(record.getMessage())


def _warnings_into(report: Report) -> contextlib.AbstractContextManager[None]:
    """Hands the package's warnings and notes to a report until the block ends."""
    return warnings_to(_Findings(report))


def _diagnose_subset(
    config: Config, name: str, videos: Mapping[str, Video], classes: tuple[str, ...], report: Report
) -> SubsetReport | None:
    """Checks a subset's annotations: labels, segments, levels and windows; returns None if it has no videos."""
    data = config.data
    assert report.detector is not None
    try:
        chosen = select_subset(videos, name, data.annotations)
    except UserError as error:
        report.tell(str(error), name, fatal=True)
        return None

    # ---- Labels.
    if data.class_agnostic:
        chosen = {key: without_classes(video, data.ignore_labels) for key, video in chosen.items()}
    labels = Counter(label for video in chosen.values() for label in video.labels)
    unknown = sorted(set(labels) - set(classes) - set(data.ignore_labels))
    report.add(
        name,
        f"labels that are neither in the class list ({len(classes)} classes) nor ignored (config.data.ignore_labels)",
        [f'"{label}": {labels[label]} segments' for label in unknown],
        fatal=True,
    )
    skipped = {*unknown, *data.ignore_labels}
    data = dataclasses.replace(data, ignore_labels=tuple(skipped))
    sampling = make_sampling(data)
    truth = {key: sampling.ground_truth(video, classes) for key, video in chosen.items()}
    used = chosen
    if name == data.train_subset:
        used = {key: video for key, video in chosen.items() if len(truth[key][1])}
        bare = [key for key in chosen if key not in used]
        report.add(name, "videos without a segment to learn: left out of training", bare, fatal=not used)
    per_class = dict.fromkeys(classes, 0)
    for _, indices in truth.values():
        for index in indices.tolist():
            per_class[classes[index]] += 1
    absent = [label for label, count in per_class.items() if not count]
    why = "cannot be learned" if name == data.train_subset else "are not measured"
    report.add(name, f"classes without a segment: they {why}", absent)

    # ---- Segments. With their own labels: class-agnostic, more of them would count as duplicates.
    _report_odd_segments(name, [videos[key] for key in chosen], skipped, report)
    subset = SubsetReport(
        name=name,
        annotated=len(chosen),
        hours=sum(video.duration for video in chosen.values()) / 3600,
        segments=labels.total(),
        ignored=sum(labels[label] for label in skipped),
        videos=used,
        truth=truth,
        levels=_levels(config, used, truth, report),
        per_class=per_class,
        windows={key: len(sampling.lay_out(video)) for key, video in used.items()},
        files={},
        seconds_per_position=_seconds_per_position(sampling, used.values()),
    )
    if name == data.train_subset:
        _report_unlearnable(subset, sampling, classes, report)
    return subset


def _report_odd_segments(name: str, videos: Iterable[Video], ignored: Collection[str], report: Report) -> None:
    """Adds findings on segments beyond their video, of zero length, and annotated twice."""
    odd: dict[str, list[str]] = {"outside": [], "empty": [], "duplicated": []}
    for video in videos:
        for kind, line in segment_problems(video, ignored):
            odd[kind].append(line)
    report.add(name, "segments beyond the ends of their video", odd["outside"])
    report.add(name, "segments of zero length: never learned or measured", odd["empty"])
    report.add(name, "segments that are annotated twice: they count once", odd["duplicated"])


def _report_unlearnable(subset: SubsetReport, sampling: Sampling, classes: Sequence[str], report: Report) -> None:
    """Adds findings on segments that no window holds, and on segments that no level learns."""
    lines = zip(_segment_lines(subset, sampling, classes), subset.levels, strict=True)
    never = [(line, length) for (line, length), levels in lines if not levels.any()]
    limit = report.window_limit
    held = f"{limit:g} grid positions: no training window holds enough of one (config.data.window, trunc_thresh)"
    report.add(subset.name, f"segments longer than {held}", [line for line, length in never if length > limit])
    what = "segments that no point of a level can learn, wherever the window lies (config.model.regression_ranges)"
    report.add(subset.name, what, [line for line, length in never if length <= limit])


def _levels(
    config: Config,
    videos: Iterable[str],
    truth: Mapping[str, tuple[NDArray[np.float32], NDArray[np.int32]]],
    report: Report,
) -> NDArray[np.bool_]:
    """Returns `[G, L]`: which levels can learn each segment of these videos; none, if no window can hold it."""
    assert report.detector is not None
    data = config.data
    segments = np.concatenate([truth[name][0] for name in videos])
    starts = data.frames_per_position if data.sampling == "windows" else 0
    levels = levels_of_segments(segments, report.detector, length=data.window, starts_per_position=starts)
    return levels & (np.diff(segments) <= report.window_limit)


def _diagnose_files(config: Config, report: Report, console: Console) -> None:
    """Finds the files of all subsets, decodes them in processes, compares them with the annotations, times decoding."""
    data, sampling = config.data, make_sampling(config.data)
    files: dict[str, Path] = {}
    problems: dict[str, tuple[str, str]] = {}  # name -> one of FILE_PROBLEMS, and a line that describes it
    videos = {name: video for subset in report.subsets for name, video in subset.videos.items()}
    folder = Path(data.videos)
    if data.videos and folder.is_dir():
        files, missing = find_files(folder, list(videos), data.video_prefix)
        problems |= {name: (MISSING, line) for name, line in missing.items()}
    else:
        origin = f"; get them from: {data.come_from}" if data.come_from else ""
        report.tell(
            f"config.data.videos={data.videos or '(not set)'}: no such folder, all {len(videos)} videos are "
            f"missing{origin}",
            fatal=True,
        )

    names = {path: name for name, path in files.items()}
    workers = min(data.threads, os.cpu_count() or 1)
    look = partial(probe_throughout, reader=data.reader)
    probed = map_in_processes(look, list(names), workers, data.time_limit)
    probes: dict[str, Probe] = {}
    for path, found in watched(probed, "decoding videos", len(names), console):
        name = names[path]
        if isinstance(found, UserError):
            problems[name] = UNDECODABLE, str(found)
        elif line := length_problem(videos[name], path, found):
            problems[name] = OTHER_LENGTH, line
        elif line := window_problem(videos[name], path, found, sampling):
            problems[name] = NO_WINDOW, line
        else:
            probes[name] = found

    if data.reader == DECORD:
        console.print(tally(one.pyav_because for one in probes.values()))
    remedy = "they are skipped" if data.skip_broken else "repair them, or set --config.data.skip_broken=True"
    for subset in report.subsets:
        for kind in FILE_PROBLEMS:
            # In the order of the annotations: processes finish in any order.
            lines = [problems[name][1] for name in subset.videos if problems.get(name, ("",))[0] == kind]
            report.add(subset.name, f"of {len(subset.videos)} videos {kind}; {remedy}", lines, not data.skip_broken)
            subset.files[kind] = len(lines)
        odd = [f"{files[name]}: {note}" for name in subset.videos if name in probes for note in probes[name].notes]
        report.add(subset.name, "notes on how videos are read", odd)
        subset.files[FIT] = fit = sum(name in probes for name in subset.videos)
        if not files:
            subset.files[MISSING] = len(subset.videos)
        elif not fit:
            report.tell("no video is fit", subset.name, fatal=True)
        elif subset.name == data.train_subset and fit < config.train.release_gpus:
            few = f"{fit} videos are fewer than config.train.release_gpus={config.train.release_gpus}; lower it"
            report.tell(few, subset.name, fatal=True)
    for subset in report.subsets:
        report.costs.append(_measure(config, subset, files, probes, workers))


def _measure(
    config: Config, subset: SubsetReport, files: Mapping[str, Path], probes: Mapping[str, Probe], workers: int
) -> Costs:
    """Estimates the costs of a subset from some of the videos that passed all checks (`probes`)."""
    data, sampling = config.data, make_sampling(config.data)
    training = subset.name == data.train_subset
    rng = np.random.default_rng(config.seed)

    def clip(name: str) -> Clip:
        count = probes[name].frames
        if training:
            drawn = sampling.draw(*subset.truth[name], count, lambda low, high: int(rng.integers(low, high + 1)))
            frames, short_side = drawn.frames, data.train_short_side
        else:
            frames, short_side = (
                sampling.frames(sampling.lay_out(subset.videos[name])[0], count)[0],
                data.test_short_side,
            )
        return Clip(files[name], tuple(np.unique(frames).tolist()), short_side, data.reader)

    fit = [name for name in subset.videos if name in probes]
    chosen = [fit[index] for index in np.unique(np.linspace(0, len(fit) - 1, MEASURED).astype(int))] if fit else []
    found = map_in_processes(
        measure, [clip(name) for name in chosen], workers, data.time_limit, lambda clip: str(clip.path)
    )
    costs = [cost for _, cost in found if isinstance(cost, Cost)]
    counts = [
        probes[name].frames if name in probes else video.frames or round(video.duration * USUAL_FPS)
        for name, video in subset.videos.items()
    ]
    return Costs(
        subset=subset.name,
        measured=len(costs),
        frames=sum(len(sampling.loadable(count)) for count in counts),
        frame_bytes=float(np.mean([cost.frame_bytes for cost in costs])) if costs else math.nan,
        windows=len(subset.videos) if training else sum(subset.windows.values()),
        window_seconds=float(np.mean([cost.seconds for cost in costs])) if costs else math.nan,
    )


def _seconds_per_position(sampling: Sampling, videos: Iterable[Video]) -> float:
    """Returns the seconds per grid position, the median over videos."""
    position = np.array([[0, 1]], np.float32)
    spans = [np.diff(sampling.seconds(position, sampling.lay_out(video)[0], video)) for video in videos]
    return float(np.median(spans)) if spans else math.nan


def _segment_lines(subset: SubsetReport, sampling: Sampling, classes: Sequence[str]) -> Iterator[tuple[str, float]]:
    """Yields a line per segment and its length in grid positions, in the order of `SubsetReport.levels`."""
    for name, video in subset.videos.items():
        segments, labels = subset.truth[name]
        seconds = sampling.seconds(segments, sampling.lay_out(video)[0], video)
        for (start, end), label, length in zip(seconds, labels, np.diff(segments)[:, 0], strict=True):
            yield f'{name}: "{classes[label]}", {start:.2f} to {end:.2f} s, {length:.2f} grid positions', float(length)
