"""Training clips of 16 frames as arrays: which frames, crop and augmentation a sample of an epoch has."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from adatad_jax.augmentation.crops import draw_multi_scale_crop
from adatad_jax.augmentation.draws import NO_AUGMENTATION, Augmentation, draw_augmentation
from adatad_jax.config.clip_fields import ClipsConfig, FinetuningConfig, LabelledClipsConfig, PretrainingConfig
from adatad_jax.data.clip_sampling import clip_span, draw_clip, fitting_stride
from adatad_jax.data.clip_videos import UNLABELLED, ClipVideo
from adatad_jax.data.dataset import CLIP_AUGMENT_STREAM, CLIP_ORDER_STREAM, CLIP_STREAM
from adatad_jax.data.frames import FrameSource
from adatad_jax.data.sampling import EveryFrame
from adatad_jax.errors import few
from adatad_jax.models.sizes import CHUNK_FRAMES
from adatad_jax.video import transforms
from adatad_jax.video.transforms import Box

_logger = logging.getLogger(__name__)


class ClipSample(NamedTuple):
    """One clip.

    Attributes:
      frames: `[16, H, W, 3]` uint8 RGB.
      label: class index; `UNLABELLED` without one.
      augmentation: what the accelerator does to the frames.
      video: name of its video.
      repeated: how many reads had to be repeated.
    """

    frames: np.ndarray
    label: int = UNLABELLED
    augmentation: Augmentation = NO_AUGMENTATION
    video: str = ""
    repeated: int = 0

    @property
    def matched(self) -> bool:
        """Returns true: any clip can be learned from."""
        return True


class Drawing(NamedTuple):
    """What is drawn for a clip besides its frames.

    Attributes:
      crop: draws the box of the crop, which is resized to `data.crop`; it takes a source of randomness, and height and
        width of the scaled frames, pixels.
      augmentation: draws what the accelerator does to the crop.
    """

    crop: Callable[[np.random.Generator, int, int], Box]
    augmentation: Callable[[np.random.Generator], Augmentation]


def pretraining_drawing(data: ClipsConfig) -> Drawing:
    """Returns how clips are drawn for pre-training: multi-scale crops, and no augmentation."""
    return Drawing(functools.partial(draw_multi_scale_crop, size=data.crop), lambda rng: NO_AUGMENTATION)


def finetuning_drawing(data: LabelledClipsConfig) -> Drawing:
    """Returns how clips are drawn for fine-tuning: random resized crops or the centre, operations and colour jitter."""

    def augmentation(rng: np.random.Generator) -> Augmentation:
        return draw_augmentation(rng, data.crop, data.crop, data.rand_augment, data.color_jitter)

    def random_crop(rng: np.random.Generator, height: int, width: int) -> Box:
        return transforms.random_resized_crop_box(height, width, rng)

    def centre(rng: np.random.Generator, height: int, width: int) -> Box:
        return transforms.centre_box(height, width, data.crop)

    return Drawing(random_crop if data.random_resized_crop else centre, augmentation)


def filler_clip(crop: int, drawing: Drawing) -> ClipSample:
    """Returns a black clip that only fills up a batch, shaped as a sample; `crop` is the side of its frames, pixels."""
    frames = np.zeros((CHUNK_FRAMES, crop, crop, 3), np.uint8)
    return ClipSample(frames, augmentation=drawing.augmentation(np.random.default_rng(0)))


class TrainingClips:
    """Clips of training videos, `data.clips` per video and epoch. A sample depends on (seed, epoch, index) alone.

    Clip n of video i has the index `i * data.clips + n`.

    Attributes:
      names: of the videos, by index.
      batch_size: clips of a batch, over all processes.
      filler: what fills up a batch.
    """

    def __init__(
        self, videos: Mapping[str, ClipVideo], data: ClipsConfig, drawing: Drawing, seed: int, batch_size: int
    ) -> None:
        """Prepares to load clips. A warning tells how many videos are too short for `data.stride`.

        Args:
          videos: the training videos.
          data: of the configuration.
          drawing: what is drawn for a clip besides its frames.
          seed: of the run.
          batch_size: clips of a batch, over all processes.

        Raises:
          UserError: `data.cache` does not hold the videos.
        """
        self.names = list(videos)
        self._videos = videos
        self._data = data
        self._drawing = drawing
        self._seed = seed
        self.batch_size = batch_size
        self.filler = filler_clip(data.crop, drawing)
        self._frames = frame_source(videos, data, data.short_side)
        warn_of_short(videos, data.stride)

    def __len__(self) -> int:
        return len(self.names) * self._data.clips

    def order(self, epoch: int) -> np.ndarray:
        """Returns the order of the clips in an epoch.

        Returns:
          A permutation of the clips' indices, int64, cut to a multiple of the batch size (the release's rule), unless
          there are fewer.
        """
        order = np.random.default_rng([self._seed, CLIP_ORDER_STREAM, epoch]).permutation(len(self))
        return order[: len(self) // self.batch_size * self.batch_size] if len(self) >= self.batch_size else order

    def load(self, epoch: int, index: int) -> ClipSample:
        """Decodes, crops and flips one clip, and draws its augmentation.

        Args:
          epoch: from 0.
          index: of the clip.

        Raises:
          UserError: the video cannot be read.
        """
        data, name = self._data, self.names[index // self._data.clips]
        repeats = self._frames.repeats[name]
        rng = np.random.default_rng([self._seed, CLIP_STREAM, epoch, index])
        indices = draw_clip(rng, self._videos[name].probe.frames, data.stride)
        box = self._drawing.crop(rng, *self._frames.size(name))
        frames = self._frames.read(name, indices, box, data.crop)
        if rng.random() < data.flip:
            frames = transforms.flip(frames)
        augmentation = self._drawing.augmentation(
            np.random.default_rng([self._seed, CLIP_AUGMENT_STREAM, epoch, index])
        )
        repeats = self._frames.repeats[name] - repeats
        return ClipSample(np.ascontiguousarray(frames), self._videos[name].label, augmentation, name, repeats)


def pretraining_clips(videos: Mapping[str, ClipVideo], config: PretrainingConfig) -> TrainingClips:
    """Returns the clips of a pre-training; errors are those of `TrainingClips`."""
    return TrainingClips(videos, config.data, pretraining_drawing(config.data), config.seed, config.train.batch_size)


def finetuning_clips(videos: Mapping[str, ClipVideo], config: FinetuningConfig) -> TrainingClips:
    """Returns the clips of a fine-tuning; errors are those of `TrainingClips`."""
    return TrainingClips(videos, config.data, finetuning_drawing(config.data), config.seed, config.train.batch_size)


def frame_source(videos: Mapping[str, ClipVideo], data: ClipsConfig, short_side: int) -> FrameSource:
    """Opens the frames from which clips are cut; raises `UserError` if `data.cache` does not hold them.

    Args:
      videos: to read.
      data: of the configuration.
      short_side: of the scaled frames, in pixels.
    """
    files = {name: video.file for name, video in videos.items()}
    return FrameSource(files, data, EveryFrame(), short_side, {name: video.probe for name, video in videos.items()})


def warn_of_short(videos: Mapping[str, ClipVideo], stride: int) -> None:
    """Warns of the videos that are too short for a clip at a stride."""
    short = [name for name, video in videos.items() if fitting_stride(video.probe.frames, stride) < stride]
    if short:
        _logger.warning(
            "%d of %d videos have fewer than %d frames, what a clip of %d takes at config.data.stride=%d; their clips "
            "have the largest stride that fits: %s",
            *(len(short), len(videos), clip_span(stride), CHUNK_FRAMES, stride, few(short)),
        )
