"""Training windows as arrays: which frames, segments and augmentation a sample of an epoch has."""

from typing import NamedTuple

import numpy as np

from adatad_jax.augmentation.draws import NO_AUGMENTATION, Augmentation, draw_augmentation
from adatad_jax.config.fields import Config
from adatad_jax.data.frames import FrameSource
from adatad_jax.data.subset import Subset
from adatad_jax.data.windows import RandomWindow
from adatad_jax.errors import UserError
from adatad_jax.video import transforms

SEGMENT_ROWS = 8  # arrays of ground truth are padded to a multiple of this many segments

# One stream of random numbers per use, so that no two uses share draws.
ORDER_STREAM, WINDOW_STREAM, SHUFFLE_STREAM, AUGMENT_STREAM = 0, 1, 2, 3
CLIP_ORDER_STREAM, CLIP_STREAM, CLIP_AUGMENT_STREAM = 4, 5, 6


class Sample(NamedTuple):
    """One window.

    Attributes:
      frames: `[T, H, W, 3]` uint8 RGB.
      mask: `[positions]` bool, valid grid positions.
      segments: `[G, 2]` float32, grid positions from the start of the window.
      labels: `[G]` int32, class indices.
      augmentation: what the accelerator does to the frames.
      matched: whether at least one segment keeps enough of its length in a training window.
      video: name of a training video.
      repeated: how many reads had to be repeated.
    """

    frames: np.ndarray
    mask: np.ndarray
    segments: np.ndarray
    labels: np.ndarray
    augmentation: Augmentation = NO_AUGMENTATION
    matched: bool = True
    video: str = ""
    repeated: int = 0


class TrainingWindows:
    """One window per training video and epoch. A sample depends on (seed, epoch, index) alone.

    Attributes:
      names: of the videos, by index.
      segment_rows: rows of ground truth that hold the segments of any window.
    """

    def __init__(self, subset: Subset, config: Config) -> None:
        """Prepares to load windows.

        Args:
          subset: the training videos.
          config: of the run.

        Raises:
          UserError: there are fewer videos than `train.release_gpus`, or `data.cache` does not hold them.
        """
        self._subset = subset
        self._config = config
        self.names = list(subset.videos)
        self._frames = FrameSource(
            {name: subset.files.get(name) for name in subset.videos},
            config.data,
            subset.sampling,
            config.data.train_short_side,
            subset.probes,
        )
        self._sampling = subset.sampling
        gpus = config.train.release_gpus
        if len(self.names) < gpus:
            raise UserError(
                f"{config.data.annotations}: {len(self.names)} videos of subset {config.data.train_subset!r} have "
                f"segments, fewer than config.train.release_gpus={gpus}; lower it"
            )
        most = max(len(labels) for _, labels in subset.truth.values())
        self.segment_rows = -(-most // SEGMENT_ROWS) * SEGMENT_ROWS

    def __len__(self) -> int:
        return len(self.names)

    def order(self, epoch: int) -> np.ndarray:
        """Returns the order of the videos in an epoch.

        Returns:
          A permutation of the videos' indices, int64, cut to a multiple of the published run's number of devices (the
          release's rule).
        """
        rng = np.random.default_rng([self._config.seed, ORDER_STREAM, epoch])
        gpus = self._config.train.release_gpus
        return rng.permutation(len(self))[: len(self) // gpus * gpus]

    def draw(self, epoch: int, index: int) -> tuple[RandomWindow, np.random.Generator]:
        """Draws the window of a video in an epoch.

        Args:
          epoch: from 0.
          index: of the video in the subset.

        Returns:
          The window, and the generator from which its crop and flip are drawn next.

        Raises:
          UserError: the video cannot be opened, or is too short for one grid position.
        """
        name = self.names[index]
        rng = np.random.default_rng([self._config.seed, WINDOW_STREAM, epoch, index])
        window = self._sampling.draw(
            *self._subset.truth[name],
            self._frames.count(name),
            lambda low, high: int(rng.integers(low, high, endpoint=True)),
        )
        require_valid(name, window.mask)
        return window, rng

    def load(self, epoch: int, index: int) -> Sample:
        """Decodes, crops and flips one window, and draws its augmentation.

        Args:
          epoch: from 0.
          index: of the video in the subset.

        Raises:
          UserError: the video cannot be read, or is too short for one grid position.
        """
        data = self._config.data
        name = self.names[index]
        repeats = self._frames.repeats[name]
        window, rng = self.draw(epoch, index)
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
        repeats = self._frames.repeats[name] - repeats
        return Sample(frames, window.mask, window.segments, window.labels, augmentation, window.found, name, repeats)


def require_valid(video: str, mask: np.ndarray) -> None:
    """Raises `UserError` for a window without a whole grid position: attention needs at least one position.

    Args:
      video: its name, for the message.
      mask: `[positions]` bool, valid grid positions.
    """
    if not mask.any():
        raise UserError(
            f"video {video}: too short for one grid position of a window; remove it from the annotations, or load "
            "fewer frames per position"
        )


def shuffle_within(frames: np.ndarray, group: int, rng: np.random.Generator) -> np.ndarray:
    """Shuffles frames inside every group: a control experiment that destroys their order and keeps their pixels.

    Args:
      frames: `[T, ...]`.
      group: consecutive frames per group; 0 shuffles nothing.
      rng: to draw from.
    """
    if not group:
        return frames
    order = np.concatenate(
        [start + rng.permutation(min(group, len(frames) - start)) for start in range(0, len(frames), group)]
    )
    result: np.ndarray = frames[order]
    return result
