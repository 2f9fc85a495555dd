"""A data set as a run sees it: annotated videos with their files, and training windows as arrays."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from adatad_jax.augmentation.draws import NO_AUGMENTATION, Augmentation, draw_augmentation
from adatad_jax.data.annotation_table import load_table
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
from adatad_jax.data.frames import FrameSource
from adatad_jax.data.sampling import make_sampling
from adatad_jax.data.usable_videos import find_files
from adatad_jax.errors import UserError, listed
from adatad_jax.video import transforms

SEGMENT_ROWS = 8  # arrays of ground truth are padded to a multiple of it

# Streams of random numbers, so that no two uses share draws.
ORDER_STREAM, WINDOW_STREAM, SHUFFLE_STREAM, AUGMENT_STREAM = 0, 1, 2, 3


class Sample(NamedTuple):
    """One window.

    Attributes:
      frames: `[T, H, W, 3]` uint8 RGB.
      mask: `[positions]` bool, valid grid positions.
      segments: `[G, 2]` float32, grid positions from the start of the window.
      labels: `[G]` int32.
      augmentation: what the accelerator is to do to the frames.
      matched: whether some segment keeps enough of its length in a training window.
    """

    frames: np.ndarray
    mask: np.ndarray
    segments: np.ndarray
    labels: np.ndarray
    augmentation: Augmentation = NO_AUGMENTATION
    matched: bool = True


@dataclass(frozen=True)
class Subset:
    """The videos of one subset, their files, and their ground truth on the grid.

    Attributes:
      videos: name -> annotation, in the order of the file.
      files: name -> video file; with `data.cache` some may be gone.
      classes: the model's class names.
      truth: name -> segments `[G, 2]` float32 in grid positions of the video, labels `[G]` int32 of these classes.
      missing: name -> why it has no file, where `data.skip_broken` allows that; `checks.usable` takes such videos out.
    """

    videos: dict[str, Video]
    files: dict[str, Path]
    classes: tuple[str, ...]
    truth: dict[str, tuple[np.ndarray, np.ndarray]]
    missing: dict[str, str] = field(default_factory=dict)


def load_videos(config: ConfigDict) -> dict[str, Video]:
    """The annotations of all subsets, read as the configuration's data set defines them.

    Raises:
      UserError: no file is set; or as `load_table` for a file that ends in .csv, else as `load_annotations`.
    """
    data = config.data
    if not data.annotations:
        raise UserError("config.data.annotations is not set; expected a file, .json or .csv")
    if Path(data.annotations).suffix.lower() == ".csv":
        return load_table(data)
    return load_annotations(
        data.annotations, fixed_fps=data.fps or None, with_frames=make_sampling(data).needs_frame_counts
    )


def load_classes(config: ConfigDict) -> tuple[str, ...]:
    """The model's classes: the config's file, or the sorted labels of the annotations that are not ignored.

    A class-agnostic model has one, "action", whatever the file and the annotations say.
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


def load_subset(config: ConfigDict, subset: str, classes: Sequence[str], training: bool) -> Subset:
    """Reads the annotations of a subset and finds its video files.

    In training, videos without a segment are left out. `checks.usable` looks into the files.

    Raises:
      UserError: annotations or labels are wrong, the subset is empty, or files are missing.
    """
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
    if data.cache and not Path(data.videos).is_dir():
        return Subset(videos, {}, tuple(classes), truth, {})
    files, missing = find_files(Path(data.videos), list(videos), data.video_prefix)
    if data.cache:
        missing = {}  # the cache stands for files that are not there any more
    if missing and not (data.skip_broken and files):
        raise UserError(
            f"{data.videos}: {len(missing)} of {len(videos)} annotated videos are missing, or there twice:"
            f"{listed(list(missing.values()))}"
        )
    return Subset(videos, files, tuple(classes), truth, missing)


class TrainingWindows:
    """A window of each training video in each epoch; a sample depends on (seed, epoch, index) alone."""

    def __init__(self, subset: Subset, config: ConfigDict) -> None:
        self._subset = subset
        self._config = config
        self._names = list(subset.videos)
        self._frames = FrameSource(subset, config, config.data.train_short_side)
        self._sampling = make_sampling(config.data)
        gpus = config.train.release_gpus
        if len(self._names) < gpus:
            raise UserError(
                f"{config.data.annotations}: {len(self._names)} videos of subset {config.data.train_subset!r} have "
                f"segments, fewer than config.train.release_gpus={gpus}; lower it"
            )
        most = max(len(labels) for _, labels in subset.truth.values())
        self.segment_rows = -(-most // SEGMENT_ROWS) * SEGMENT_ROWS

    def __len__(self) -> int:
        return len(self._names)

    def order(self, epoch: int) -> np.ndarray:
        """The epoch's order: a permutation, cut to a multiple of the published run's devices (release rule)."""
        rng = np.random.default_rng([self._config.seed, ORDER_STREAM, epoch])
        gpus = self._config.train.release_gpus
        return rng.permutation(len(self))[: len(self) // gpus * gpus]

    def load(self, epoch: int, index: int) -> Sample:
        """Decodes, crops and flips one window, and draws what else is to be done to it."""
        data = self._config.data
        name = self._names[index]
        rng = np.random.default_rng([self._config.seed, WINDOW_STREAM, epoch, index])
        window = self._sampling.draw(
            *self._subset.truth[name],
            self._frames.count(name),
            lambda low, high: int(rng.integers(low, high, endpoint=True)),
        )
        require_valid(name, window.mask)
        size = self._frames.size(name)
        if data.random_resized_crop:
            box = transforms.random_resized_crop_box(*size, rng)
        else:
            box = transforms.centre_box(*size, data.crop)
        frames = self._frames.read(name, window.frames, box, data.crop)
        if rng.random() < data.flip:
            frames = transforms.flip(frames)
        frames = shuffle_within(frames, data.shuffle_within, rng)
        rng = np.random.default_rng([self._config.seed, AUGMENT_STREAM, epoch, index])
        augmentation = draw_augmentation(rng, data.crop, data.crop, data.rand_augment, data.color_jitter)
        frames = np.ascontiguousarray(frames)
        return Sample(frames, window.mask, window.segments, window.labels, augmentation, window.found)


def require_valid(video: str, mask: np.ndarray) -> None:
    """Raises `UserError` for a window without a whole grid position: attention over nothing has no meaning."""
    if not mask.any():
        raise UserError(
            f"video {video}: too short for one grid position of a window; remove it from the annotations, or load "
            "fewer frames per position"
        )


def shuffle_within(frames: np.ndarray, group: int, rng: np.random.Generator) -> np.ndarray:
    """Shuffles frames inside every `group`: a control that destroys their order and keeps their pixels. 0: none."""
    if not group:
        return frames
    order = np.concatenate(
        [start + rng.permutation(min(group, len(frames) - start)) for start in range(0, len(frames), group)]
    )
    return frames[order]
