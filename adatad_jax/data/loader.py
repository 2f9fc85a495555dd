"""Loading of samples in order and ahead of time by Grain's threads, and the training batches made of samples."""

from __future__ import annotations

import collections
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import grain
import jax
import numpy as np

from adatad_jax.augmentation.draws import draw_augmentation
from adatad_jax.config.fields import Config
from adatad_jax.data.batch import Batch
from adatad_jax.data.dataset import Sample, TrainingWindows
from adatad_jax.devices.choice import Sharing
from adatad_jax.devices.placing import place
from adatad_jax.errors import UserError
from adatad_jax.models.sizes import SIZES, TUBELET


def load_ahead(
    items: Sequence[Any], load: Callable[[Any], Any], threads: int, ahead: int
) -> Iterator[tuple[Any, Any | Exception]]:
    """Starts to load, and returns an iterator of `(item, load(item))` in order, with up to `ahead` items in advance.

    An exception that `load` raises is yielded in place of the result, because an exception inside Grain's threads can
    block its reader for ever.

    Args:
      items: arguments of `load`, one per call.
      load: loads one item; it must be safe to call from several threads.
      threads: number of threads that load.
      ahead: number of items loaded in advance.
    """

    def guarded(index: int) -> tuple[Any | Exception]:  # a tuple, because Grain drops elements that are None
        try:
            return (load(items[index]),)
        except Exception as error:  # the caller gets it
            return (error,)

    dataset = grain.MapDataset.range(len(items)).map(guarded)
    options = grain.ReadOptions(num_threads=min(threads, ahead), prefetch_buffer_size=ahead)
    results = iter(dataset.to_iter_dataset(options))
    results.start_prefetch()
    return ((item, result) for item, (result,) in zip(items, results, strict=True))


def unwrap(result: Any | Exception) -> Any:
    """Returns a result of `load_ahead`, or raises it if it is an exception."""
    if isinstance(result, Exception):
        raise result
    return result


class Loaded(NamedTuple):
    """A training batch, and what happened while it was loaded.

    Attributes:
      batch: B windows, or those of this process. Processes that share a window all load it.
      unmatched: number of windows that were drawn 200 times without keeping a segment; they are used as they are. The
        first of the processes that share a window counts it, so that sums over processes are right.
      skipped: why videos of the batch could not be read, one message per video; windows of weight 0 replace them.
        Processes that share a window each say why they could not read it.
      videos: names of the videos of the batch's windows.
      repeated: how many reads had to be repeated.
    """

    batch: Batch
    unmatched: int
    skipped: tuple[str, ...]
    videos: tuple[str, ...] = ()
    repeated: int = 0


class TrainingBatches:
    """The training batches of a run, from any step on.

    The order of the videos and every random draw for a window depend only on (seed, epoch, index). The number of the
    next step is therefore the whole state: `from_step` continues a run, with any number of threads.

    Attributes:
      steps_per_epoch: number of batches per epoch; the last one may be filled up with windows of weight 0.
    """

    def __init__(
        self, windows: TrainingWindows, config: Config, sharing: Sharing | None = None, process: int = 0
    ) -> None:
        """Prepares to load.

        Args:
          windows: the training windows.
          config: the configuration of the run.
          sharing: how devices share a batch; each process loads the windows of its own devices. None: all are loaded.
          process: index of this process.
        """
        size = config.train.batch_size
        self._windows = windows
        self._config = config
        self._rows = range(size) if sharing is None else sharing.rows(size, process)
        self._counted_from = 0 if sharing is None or process == 0 else sharing.rows(size, process - 1).stop
        self._order = functools.lru_cache(maxsize=2)(windows.order)
        self.steps_per_epoch = math.ceil(len(windows.order(0)) / size)

    def from_step(self, first: int, end: int) -> Iterator[Loaded]:
        """Starts to load, and returns an iterator of the batches of steps `first`, ..., `end - 1`.

        Raises:
          UserError: by the iterator: a video cannot be read, and `data.skip_broken` is not set.
        """
        count = len(self._rows)
        places = range(first * count, end * count)
        samples = load_ahead(places, self._load, self._config.data.threads, ahead=2 * count)
        return (self._gather([next(samples)[1] for _ in self._rows]) for _ in range(first, end))

    def _load(self, place: int) -> Sample | None:
        """Returns the sample at a place of the run; None for a place that fills up the last batch of an epoch."""
        step, number = divmod(place, len(self._rows))
        epoch, within = divmod(step, self.steps_per_epoch)
        position = within * self._config.train.batch_size + self._rows[number]
        order = self._order(epoch)
        return self._windows.load(epoch, int(order[position])) if position < len(order) else None

    def _gather(self, found: Sequence[Sample | Exception | None]) -> Loaded:
        """Returns the batch of these samples; raises the first exception that may not be skipped."""
        failures = [one for one in found if isinstance(one, Exception)]
        broken = [one for one in failures if not (self._config.data.skip_broken and isinstance(one, UserError))]
        if broken:
            raise broken[0]
        samples = [one if isinstance(one, Sample) else None for one in found]
        batch = training_batch(samples, self._config, self._windows.segment_rows, self._rows[0])
        unmatched = [
            row
            for row, sample in zip(self._rows, samples, strict=True)
            if sample is not None and not sample.matched and row >= self._counted_from
        ]
        videos = tuple(sample.video for sample in samples if sample is not None)
        repeated = sum(sample.repeated for sample in samples if sample is not None)
        return Loaded(batch, len(unmatched), tuple(str(error) for error in failures), videos, repeated)


def training_batch(samples: Sequence[Sample | None], config: Config, segment_rows: int, first_row: int = 0) -> Batch:
    """Stacks samples into a batch of fixed shape: rows of label -1 pad the ground truth, windows of weight 0 the batch.

    Args:
      samples: B samples of this process; None for a place to fill up.
      config: the configuration of the run; it sets the shape of the windows that fill up the batch.
      segment_rows: G, the number of rows of ground truth.
      first_row: first row of this process's share in the global batch.

    Raises:
      ValueError: a sample has more segments than rows.
    """
    filled = [filler(config) if sample is None else sample for sample in samples]
    segments = np.zeros((len(filled), segment_rows, 2), np.float32)
    labels = np.full((len(filled), segment_rows), -1, np.int32)
    for row, sample in enumerate(filled):
        count = len(sample.labels)
        segments[row, :count], labels[row, :count] = sample.segments, sample.labels
    return Batch(
        frames=np.stack([sample.frames for sample in filled]),
        mask=np.stack([sample.mask for sample in filled]),
        segments=segments,
        labels=labels,
        sample_ids=np.arange(first_row, first_row + len(filled), dtype=np.int32),
        weight=np.array([sample is not None for sample in samples], np.float32),
        augmentation=jax.tree.map(lambda *draws: np.stack(draws), *[sample.augmentation for sample in filled]),
    )


def filler(config: Config) -> Sample:
    """Returns a black window that only fills up a batch; where features are stored, one whose features are zero."""
    data = config.data
    frames = np.zeros((data.window * data.frames_per_position, data.crop, data.crop, 3), np.uint8)
    if config.train.cache_features:
        frames = np.zeros((len(frames) // TUBELET, SIZES[config.model.size].width), np.float32)
    nothing = np.zeros((0, 2), np.float32), np.zeros(0, np.int32)
    rng = np.random.default_rng(0)
    draws = draw_augmentation(rng, data.crop, data.crop, data.rand_augment, data.color_jitter)
    return Sample(frames, np.ones(data.window, bool), *nothing, draws)


def device_parts(batch: Batch, sharing: Sharing, process: int = 0) -> list[Batch]:
    """Cuts the windows of a process into what each of its devices has: its group's windows, its share of their frames.

    Args:
      batch: the windows of `sharing.rows`.
      sharing: how devices share a batch.
      process: index of the process.

    Returns:
      One batch for each device of the process, in the order of the axis. Their arrays are views.
    """
    numbers = sharing.of_process(process)
    first, last = numbers[0] // sharing.shares, numbers[-1] // sharing.shares
    size, length = len(batch.weight) // (last + 1 - first), batch.frames.shape[1] // sharing.shares
    parts = []
    for number in numbers:
        group, share = divmod(number, sharing.shares)
        start = (group - first) * size
        parts.append(batch.part(slice(start, start + size), slice(share * length, (share + 1) * length)))
    return parts


def placed_ahead(batches: Iterator[Loaded], sharing: Sharing) -> Iterator[Loaded]:
    """Yields the batches placed on devices, with a leading device axis, one batch ahead of the step being computed.

    Args:
      batches: of this process.
      sharing: how the devices of all processes share a batch.

    Raises:
      Exception: as loading, once all batches before have been yielded.
    """
    waiting: collections.deque[Loaded] = collections.deque()
    try:
        for loaded in batches:
            parts = device_parts(loaded.batch, sharing, jax.process_index())
            waiting.append(loaded._replace(batch=place(parts, sharing.devices)))
            if len(waiting) > 1:
                yield waiting.popleft()
    except Exception:
        yield from waiting
        raise
    yield from waiting
