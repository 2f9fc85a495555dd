"""A data set as a run sees it: annotated videos with their files, training windows and test windows as arrays."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict
from rich.progress import track

from adatad_jax.data import transforms
from adatad_jax.data.annotations import (
    Video,
    check_labels,
    classes_of,
    load_annotations,
    read_classes,
    select_subset,
)
from adatad_jax.data.decode import frames_at, open_video
from adatad_jax.data.ground_truth import ground_truth_on_grid
from adatad_jax.data.windows import grid_length, random_window, sliding_windows, window_frames
from adatad_jax.errors import UserError

EXTENSIONS = (".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v", ".mpg", ".mpeg", ".ts", ".flv", ".wmv")
FRAMES_APART, SECONDS_APART = 30, 1.0  # a container's length may differ so much from the annotated one, or by a tenth
SEGMENT_ROWS = 8  # arrays of ground truth are padded to a multiple of it

# Streams of random numbers, so that no two uses share draws.
ORDER_STREAM, WINDOW_STREAM, SHUFFLE_STREAM = 0, 1, 2


class Sample(NamedTuple):
    """One window.

    Attributes:
      frames: `[T, H, W, 3]` uint8 RGB.
      mask: `[positions]` bool, valid grid positions.
      segments: `[G, 2]` float32, grid positions from the start of the window.
      labels: `[G]` int32.
    """

    frames: np.ndarray
    mask: np.ndarray
    segments: np.ndarray
    labels: np.ndarray


class Window(NamedTuple):
    """A window of a test video: grid positions first..end-1."""

    video: str
    first: int
    end: int


@dataclass(frozen=True)
class Subset:
    """The videos of one subset, their files, and their ground truth on the grid.

    Attributes:
      videos: name -> annotation, in the order of the file.
      files: name -> video file.
      classes: class names.
      truth: name -> segments `[G, 2]` float32 in grid positions of the video, labels `[G]` int32.
    """

    videos: dict[str, Video]
    files: dict[str, Path]
    classes: tuple[str, ...]
    truth: dict[str, tuple[np.ndarray, np.ndarray]]


def load_classes(config: ConfigDict) -> tuple[str, ...]:
    """The class list: the config's file, or the sorted labels of the annotations that are not ignored."""
    if config.data.classes:
        return read_classes(config.data.classes)
    labels = classes_of(load_annotations(config.data.annotations))
    return tuple(label for label in labels if label not in config.data.ignore_labels)


def load_subset(config: ConfigDict, subset: str, classes: Sequence[str], training: bool) -> Subset:
    """Reads the annotations of a subset and finds its video files.

    In training, videos without a segment are left out.

    Raises:
      UserError: annotations or labels are wrong, the subset is empty, or files are missing (all of them listed).
    """
    data = config.data
    videos = select_subset(load_annotations(data.annotations), subset, data.annotations)
    check_labels(videos, classes, data.ignore_labels, data.annotations)
    truth = {
        name: ground_truth_on_grid(video, classes, data.ignore_labels, data.stride, filter_gt=data.filter_gt)
        for name, video in videos.items()
    }
    if training:
        videos = {name: video for name, video in videos.items() if len(truth[name][1])}
        if not videos:
            raise UserError(f"{data.annotations}: no video of subset {subset!r} has a segment of the class list")
    return Subset(videos, find_files(Path(data.videos), list(videos)), tuple(classes), truth)


def find_files(folder: Path, names: Sequence[str]) -> dict[str, Path]:
    """The file of every video: `folder/NAME` with any of the usual extensions.

    Raises:
      UserError: some are missing or found twice; all are listed.
    """
    if not folder.is_dir():
        raise UserError(f"config.data.videos={folder}: no such folder")
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in EXTENSIONS:
            found.setdefault(path.stem, []).append(path)
    missing = [name for name in names if name not in found]
    doubled = [str(path) for name in names for path in found.get(name, []) if len(found[name]) > 1]
    if missing:
        raise UserError(
            f"{folder}: {len(missing)} of {len(names)} annotated videos are missing (NAME + one of "
            f"{' '.join(EXTENSIONS)}):\n  " + "\n  ".join(missing)
        )
    if doubled:
        raise UserError(f"{folder}: several files for one video; keep one of each:\n  " + "\n  ".join(doubled))
    return {name: found[name][0] for name in names}


def check_files(subset: Subset, threads: int) -> None:
    """Opens every video, decodes a frame of it and compares its length with the annotations, in parallel.

    Raises:
      UserError: some cannot be read, or are not the videos that the annotations describe; all are listed.
    """

    def problem(name: str) -> str | None:
        path, video = subset.files[name], subset.videos[name]
        try:
            reader = open_video(path)
            reader.read([0])
        except UserError as error:
            return str(error)
        seconds = reader.frame_count / reader.fps if reader.fps > 0 else video.duration
        if not (
            _about(reader.frame_count, video.frames, FRAMES_APART) and _about(seconds, video.duration, SECONDS_APART)
        ):
            return (
                f"{path}: {reader.frame_count} frames in {seconds:.2f} seconds, but the annotations say {video.frames} "
                f"in {video.duration:.2f}"
            )
        return None

    names = list(subset.videos)
    with ThreadPoolExecutor(threads) as pool:
        found = list(track(pool.map(problem, names), description="checking videos", total=len(names), transient=True))
    problems = [text for text in found if text]
    if problems:
        raise UserError(
            f"{len(problems)} of {len(found)} videos cannot be read or are not the annotated ones:\n  "
            + "\n  ".join(problems)
        )


def _about(found: float, annotated: float, apart: float) -> bool:
    """Whether two lengths are within a tenth of each other, or within `apart`."""
    return abs(found - annotated) <= max(0.1 * annotated, apart)


class FrameSource:
    """Decoded frames of a subset's videos at a short side, optionally kept in memory at the grid's rate."""

    def __init__(self, subset: Subset, config: ConfigDict, short_side: int) -> None:
        self._files = subset.files
        self._short_side = short_side
        self._in_memory = config.data.in_memory
        self._step = config.data.stride // config.data.frames_per_position
        self._kept: dict[str, np.ndarray] = {}
        self._locks = {name: Lock() for name in subset.files}
        self._counts: dict[str, int] = {}

    def count(self, video: str) -> int:
        """Frames in the container."""
        if video not in self._counts:
            self._counts[video] = open_video(self._files[video]).frame_count
        return self._counts[video]

    def read(self, video: str, indices: np.ndarray) -> np.ndarray:
        """Frames `[n, h, w, 3]` uint8 at the given source indices, short side as asked."""
        if not self._in_memory:
            return self._decode(video, indices)
        with self._locks[video]:
            if video not in self._kept:
                self._kept[video] = self._decode(video, np.arange(0, self.count(video), self._step))
        return self._kept[video][indices // self._step]

    def _decode(self, video: str, indices: np.ndarray) -> np.ndarray:
        reader = open_video(self._files[video])
        return frames_at(reader, indices, lambda frames: transforms.resize_short_side(frames, self._short_side))


class TrainingWindows:
    """Random windows of the training videos, one a video and epoch; a sample depends on (seed, epoch, index) alone."""

    def __init__(self, subset: Subset, config: ConfigDict) -> None:
        self._subset = subset
        self._config = config
        self._names = list(subset.videos)
        self._frames = FrameSource(subset, config, config.data.train_short_side)
        gpus = config.train.release_gpus
        if len(self._names) < gpus:
            raise UserError(
                f"{config.data.annotations}: {len(self._names)} videos of subset {config.data.train_subset!r} have "
                f"segments, fewer than config.train.release_gpus={gpus}; lower it"
            )
        self._unmatched = 0
        self._unmatched_lock = Lock()
        most = max(len(labels) for _, labels in subset.truth.values())
        self.segment_rows = -(-most // SEGMENT_ROWS) * SEGMENT_ROWS

    def __len__(self) -> int:
        return len(self._names)

    def order(self, epoch: int) -> np.ndarray:
        """The epoch's order: a permutation, cut to a multiple of the published run's devices (release rule)."""
        rng = np.random.default_rng([self._config.seed, ORDER_STREAM, epoch])
        gpus = self._config.train.release_gpus
        return rng.permutation(len(self))[: len(self) // gpus * gpus]

    def take_unmatched(self) -> int:
        """How many windows since the last call were drawn 200 times without keeping a segment; they are used as is."""
        with self._unmatched_lock:
            count, self._unmatched = self._unmatched, 0
        return count

    def load(self, epoch: int, index: int) -> Sample:
        """Decodes and augments one window."""
        data = self._config.data
        name = self._names[index]
        rng = np.random.default_rng([self._config.seed, WINDOW_STREAM, epoch, index])
        window = random_window(
            *self._subset.truth[name],
            total_frames=self._frames.count(name),
            stride=data.stride,
            frames_per_position=data.frames_per_position,
            window=data.window,
            trunc_thresh=data.trunc_thresh,
            crop_ratio=data.crop_ratio,
            randint=lambda low, high: int(rng.integers(low, high, endpoint=True)),
        )
        require_valid(name, window.mask)
        if not window.found:
            with self._unmatched_lock:
                self._unmatched += 1
        frames = self._frames.read(name, window.frames)
        if data.random_resized_crop:
            height, width = frames.shape[1:3]
            box = transforms.random_resized_crop_box(height, width, rng)
            frames = transforms.crop_resize(frames, box, data.crop)
        else:
            frames = transforms.centre_crop(frames, data.crop)
        if rng.random() < data.flip:
            frames = transforms.flip(frames)
        frames = shuffle_within(frames, data.shuffle_within, rng)
        return Sample(np.ascontiguousarray(frames), window.mask, window.segments, window.labels)


class SlidingWindows:
    """Sliding windows over the test videos, video by video."""

    def __init__(self, subset: Subset, config: ConfigDict) -> None:
        self._config = config
        self._frames = FrameSource(subset, config, config.data.test_short_side)
        self.videos = subset.videos
        data = config.data
        self.windows = [
            Window(name, first, end)
            for name, video in subset.videos.items()
            for first, end in sliding_windows(
                grid_length(video.frames, data.stride), data.window, data.overlap, release_windows=data.release_windows
            )
        ]

    def __len__(self) -> int:
        return len(self.windows)

    def load(self, index: int) -> Sample:
        """Decodes one window; it carries no ground truth."""
        window = self.windows[index]
        return load_window(self._frames, window, self._config, np.random.default_rng([SHUFFLE_STREAM, index]))


def load_window(frames: FrameSource, window: Window, config: ConfigDict, rng: np.random.Generator) -> Sample:
    """Decodes one test window: centre crop, no augmentation, no ground truth.

    Raises:
      UserError: the file holds no frame of the window, or cannot be decoded.
    """
    data = config.data
    try:
        indices, mask = window_frames(
            window.first,
            window.end,
            total_frames=frames.count(window.video),
            stride=data.stride,
            frames_per_position=data.frames_per_position,
            window=data.window,
        )
    except UserError as error:
        raise UserError(f"video {window.video}: {error}") from error
    require_valid(window.video, mask)
    pixels = transforms.centre_crop(frames.read(window.video, indices), data.crop)
    pixels = shuffle_within(pixels, data.shuffle_within, rng)
    empty = np.zeros((0, 2), np.float32), np.zeros(0, np.int32)
    return Sample(np.ascontiguousarray(pixels), mask, *empty)


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
