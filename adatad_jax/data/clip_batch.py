"""A batch of clips as arrays, with the clips that they are mixed with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

import jax
import numpy as np

from adatad_jax.augmentation.draws import NO_AUGMENTATION, Augmentation
from adatad_jax.config.run_fields import ReadingConfig
from adatad_jax.data.clips import ClipSample, TrainingClips
from adatad_jax.data.loader import Batches
from adatad_jax.devices.choice import Sharing


class ClipBatch(NamedTuple):
    """B clips, or B clips on each device, where every array has a leading device axis.

    Attributes:
      frames: `[B, 16, H, W, 3]` uint8 RGB.
      labels: `[B]` int32, class indices; -1 without one.
      sample_ids: `[B]` int32, each clip's index in the global batch.
      weight: `[B]` float32, 1 for a clip, 0 for a clip that only fills up the batch.
      augmentation: what the accelerator does to the frames; each array has a leading axis B.
      partners: as `frames`, of the clips that these are mixed with; None where clips are not mixed.
      partner_labels: as `labels`.
      partner_augmentation: as `augmentation`.
    """

    frames: Any
    labels: Any
    sample_ids: Any
    weight: Any
    augmentation: Augmentation = NO_AUGMENTATION
    partners: Any = None
    partner_labels: Any = None
    partner_augmentation: Augmentation = NO_AUGMENTATION

    def part(self, rows: slice, frames: slice) -> Self:
        """Returns some rows, and of their clips some frames."""
        some: Self = jax.tree.map(lambda array: array[rows], self)
        cut = None if some.partners is None else some.partners[:, frames]
        return some._replace(frames=some.frames[:, frames], partners=cut)


def clip_batches(
    clips: TrainingClips,
    data: ReadingConfig,
    sharing: Sharing | None = None,
    process: int = 0,
    mixed: bool = False,
) -> Batches[ClipSample]:
    """Returns the batches (`ClipBatch`) of a run's clips.

    Args:
      clips: of the run.
      data: number of threads, and whether broken videos are skipped.
      sharing, process: as for `Batches`.
      mixed: whether each clip comes with its partner: of the first row the last, of the second the last but one.
    """
    size = clips.batch_size

    def stack(samples: Mapping[int, ClipSample | None], rows: range) -> ClipBatch:
        return stack_clips(samples, rows, clips.filler, size if mixed else 0)

    partner = (lambda row: mirrored(row, size)) if mixed else None
    return Batches(clips, size, stack, data, sharing, process, partner)


def mirrored(row: int, size: int) -> int:
    """Returns the row of a global batch of `size` rows with which a row is mixed."""
    return size - 1 - row


def stack_clips(
    samples: Mapping[int, ClipSample | None], rows: range, filler: ClipSample, mixed_size: int = 0
) -> ClipBatch:
    """Stacks clips into a batch of fixed shape: clips of weight 0 fill it up.

    A clip whose partner only fills up the batch, or was skipped, is its own partner.

    Args:
      samples: row of the global batch -> clip, of `rows` and their partners; None for a row to fill up.
      rows: of this process.
      filler: what fills up.
      mixed_size: rows of the global batch where clips are mixed; 0: they are not.
    """
    own = {row: samples[row] or filler for row in rows}
    batch = ClipBatch(
        frames=np.stack([clip.frames for clip in own.values()]),
        labels=np.array([clip.label for clip in own.values()], np.int32),
        sample_ids=np.arange(rows.start, rows.stop, dtype=np.int32),
        weight=np.array([samples[row] is not None for row in rows], np.float32),
        augmentation=_stacked([clip.augmentation for clip in own.values()]),
    )
    if not mixed_size:
        return batch
    partners = [samples[mirrored(row, mixed_size)] or clip for row, clip in own.items()]
    return batch._replace(
        partners=np.stack([clip.frames for clip in partners]),
        partner_labels=np.array([clip.label for clip in partners], np.int32),
        partner_augmentation=_stacked([clip.augmentation for clip in partners]),
    )


def _stacked(draws: Sequence[Augmentation]) -> Augmentation:
    result: Augmentation = jax.tree.map(lambda *arrays: np.stack(arrays), *draws)
    return result
