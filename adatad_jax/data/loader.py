"""Samples in order, decoded ahead by threads, gathered into batches of a fixed shape."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import grain
import numpy as np

from adatad_jax.data.dataset import Sample
from adatad_jax.training.step import Batch


def load_ahead(
    items: Sequence[Any], load: Callable[[Any], Sample], threads: int, ahead: int
) -> Iterator[tuple[Any, Sample]]:
    """Yields `(item, load(item))` in order, with up to `ahead` samples loaded in advance.

    A failing `load` raises here, in the caller's thread: inside the reader's threads an exception can wedge it.
    """

    def guarded(index: int) -> Sample | Exception:
        try:
            return load(items[index])
        except Exception as error:  # handed to the caller below
            return error

    dataset = grain.MapDataset.range(len(items)).map(guarded)
    options = grain.ReadOptions(num_threads=min(threads, ahead), prefetch_buffer_size=ahead)
    for item, sample in zip(items, dataset.to_iter_dataset(options), strict=True):
        if isinstance(sample, Exception):
            raise sample
        yield item, sample


def training_batch(samples: Sequence[Sample], batch_size: int, segment_rows: int) -> Batch:
    """Stacks samples to a batch of fixed shape: rows of label -1 fill up ground truth, windows of weight 0 the batch.

    Raises:
      ValueError: a sample has more segments than rows.
    """
    filled = [*samples, *[samples[0]] * (batch_size - len(samples))]
    segments = np.zeros((batch_size, segment_rows, 2), np.float32)
    labels = np.full((batch_size, segment_rows), -1, np.int32)
    for row, sample in enumerate(filled):
        count = len(sample.labels)
        segments[row, :count], labels[row, :count] = sample.segments, sample.labels
    return Batch(
        frames=np.stack([sample.frames for sample in filled]),
        mask=np.stack([sample.mask for sample in filled]),
        segments=segments,
        labels=labels,
        sample_ids=np.arange(batch_size, dtype=np.int32),
        weight=(np.arange(batch_size) < len(samples)).astype(np.float32),
    )


def grouped(items: Sequence[Any], size: int) -> Iterator[list[Any]]:
    """Consecutive groups of `size`, the last one possibly shorter."""
    for start in range(0, len(items), size):
        yield list(items[start : start + size])
