"""The videos of one subset: annotations, files, classes, and ground truth in grid positions."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from adatad_jax.annotations.recognise import DATABASE, Format, format_of
from adatad_jax.annotations.records import Options
from adatad_jax.annotations.source import sources_kept
from adatad_jax.config.fields import Config
from adatad_jax.data.annotation_table import load_table, options_of
from adatad_jax.data.annotations import (
    ACTION,
    Video,
    check_labels,
    classes_of,
    load_annotations,
    read_classes,
    select_subset,
    without_classes,
)
from adatad_jax.data.database_lengths import lengths_of_lacking
from adatad_jax.data.sampling import Sampling, make_sampling
from adatad_jax.errors import UserError, listed
from adatad_jax.video.names import find_files
from adatad_jax.video.probe import Probe


@dataclass(frozen=True)
class Subset:
    """The videos of one subset, their files, and their ground truth in grid positions.

    Attributes:
      videos: name -> annotation, in the order of the annotation file.
      files: name -> video file. With `data.cache`, some may be missing.
      classes: the model's class names.
      truth: name -> segments `[G, 2]` float32 in grid positions of the video, and labels `[G]` int32, indices into
        `classes`.
      sampling: how the videos become windows.
      missing: name -> why the video has no file, where `data.skip_broken` allows that. `usable` removes such videos.
      probes: name -> what the container holds, for the videos that `usable` has opened.
    """

    videos: dict[str, Video]
    files: dict[str, Path]
    classes: tuple[str, ...]
    truth: dict[str, tuple[np.ndarray, np.ndarray]]
    sampling: Sampling
    missing: dict[str, str] = field(default_factory=dict)
    probes: dict[str, Probe] = field(default_factory=dict)


def load_videos(config: Config) -> dict[str, Video]:
    """Reads the annotations of all subsets of the configuration's data set; as long as they do not change, once.

    Args:
      config: of the run.

    Returns:
      name -> annotation, in the order of the annotation file.

    Raises:
      UserError: no annotation file is set, or one of the errors of `load_annotations` (for ActivityNet-style JSON) or
        of `load_table` (for all other formats).
    """
    data = config.data
    if not data.annotations:
        raise UserError("config.data.annotations is not set; expected an annotation file or a folder of them")
    path = Path(data.annotations)
    status = path.stat() if path.is_file() else None
    changed = (status.st_size, status.st_mtime_ns) if status else (0, 0)
    with sources_kept():
        if path.is_dir() or _format_of(path, options_of(data), changed) is not DATABASE:
            return load_table(data)
        with_frames = make_sampling(data).needs_frame_counts
        lengths = lengths_of_lacking(data, with_frames)
        return load_annotations(path, fixed_fps=data.fps or None, with_frames=with_frames, lengths=lengths)


@lru_cache(maxsize=4)
def _format_of(path: Path, options: Options, changed: tuple[int, int]) -> Format | None:
    """Returns the format of a file; of an unchanged one (size, time of change) it is found once."""
    return format_of(path, options)


def load_classes(config: Config) -> tuple[str, ...]:
    """Reads the model's classes from the class list, or else from the labels of the annotations.

    Labels of the annotations are sorted, without `data.ignore_labels`. A class-agnostic model has one class, "action",
    whatever the list and the annotations say.

    Args:
      config: of the run.

    Returns:
      The K class names, in the order of the model's outputs.

    Raises:
      UserError: a file is missing or wrong, or the number of classes is not `data.class_count`.
    """
    if config.data.class_agnostic:
        return (ACTION,)
    if config.data.classes:
        classes, source = read_classes(config.data.classes), config.data.classes
    else:
        labels, source = classes_of(load_videos(config)), config.data.annotations
        classes = tuple(label for label in labels if label not in config.data.ignore_labels)
    if config.data.class_count not in (0, len(classes)):
        raise UserError(
            f"{source}: {len(classes)} classes, expected {config.data.class_count} (config.data.class_count): give the "
            "list that belongs to the data set"
        )
    return classes


def load_subset(config: Config, subset: str, classes: Sequence[str], training: bool) -> Subset:
    """Reads the annotations of a subset and finds its video files.

    The files are not opened here: `usable_videos.usable` does that.

    Args:
      config: of the run.
      subset: name of the subset, as in the annotations.
      classes: the model's class names.
      training: whether to leave out the videos that have no segment.

    Raises:
      UserError: annotations or labels are wrong, the subset is empty, or files are missing.
    """
    data, found = config.data, annotated_subset(config, subset, classes, training)
    if data.cache and not Path(data.videos).is_dir():
        return found
    files, missing = find_files(Path(data.videos), list(found.videos), data.video_prefix)
    if data.cache:
        missing = {}  # the cache stands in for files that have been deleted
    if missing and not (data.skip_broken and files):
        raise UserError(
            f"{data.videos}: {len(missing)} of {len(found.videos)} annotated videos are missing, or there twice:"
            f"{listed(list(missing.values()))}"
        )
    return replace(found, files=files, missing=missing)


def annotated_subset(config: Config, subset: str, classes: Sequence[str], training: bool) -> Subset:
    """Reads the annotations of a subset, and looks for no file; arguments and errors are those of `load_subset`."""
    data = config.data
    videos = select_subset(load_videos(config), subset, data.annotations)
    learned = videos
    if data.class_agnostic:
        learned = {name: without_classes(video, data.ignore_labels) for name, video in videos.items()}
    check_labels(learned, classes, data.ignore_labels, data.annotations)
    sampling = make_sampling(data)
    truth = {name: sampling.ground_truth(video, classes) for name, video in learned.items()}
    if training:
        videos = {name: video for name, video in videos.items() if len(truth[name][1])}
        if not videos:
            raise UserError(f"{data.annotations}: no video of subset {subset!r} has a segment of the class list")
    return Subset(videos, {}, tuple(classes), truth, sampling)
