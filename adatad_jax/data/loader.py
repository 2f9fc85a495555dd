"""Loading of samples in order and ahead of time by Grain's threads, and the training batches made of samples."""

from __future__ import annotations

import collections
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import grain
import jax
import numpy as np

from adatad_jax.augmentation.draws import draw_augmentation
from adatad_jax.config.fields import Config
from adatad_jax.config.run_fields import ReadingConfig
from adatad_jax.data.batch import AnyBatch, Batch, stacked
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
      batch: B samples, or those of this process. Processes that share a sample all load it.
      unmatched: number of windows that were drawn 200 times without keeping a segment; they are used as they are. The
        first of the processes that share a window counts it, so that sums over processes are right.
      skipped: why samples could not be read: their rows of the global batch, and messages; samples of weight 0 replace
        them. Processes that share a sample each say why they could not read it.
      videos: names of the videos of the batch's samples.
      repeated: how many reads had to be repeated.
    """

    batch: AnyBatch
    unmatched: int
    skipped: tuple[tuple[int, str], ...]
    videos: tuple[str, ...] = ()
    repeated: int = 0


class AnySample(Protocol):
    """A sample of a batch: where it is from, and what happened while it was loaded (`dataset.Sample`)."""

    @property
    def video(self) -> str:
        """Returns the name of its video."""
        ...

    @property
    def matched(self) -> bool:
        """Returns whether it holds something to learn from."""
        ...

    @property
    def repeated(self) -> int:
        """Returns how many reads had to be repeated."""
        ...


BatchT = TypeVar("BatchT", bound=AnyBatch)
SampleT = TypeVar("SampleT", bound=AnySample)
SampleT_co = TypeVar("SampleT_co", bound=AnySample, covariant=True)


class Samples(Protocol[SampleT_co]):
    """The training samples of a run. A sample depends on (seed, epoch, index) alone."""

    def order(self, epoch: int) -> np.ndarray:
        """Returns the indices of an epoch's samples in their order, int64, as many in every epoch."""
        ...

    def load(self, epoch: int, index: int) -> SampleT_co:
        """Loads a sample; raises `UserError` if its video cannot be read. Threads may call it at once."""
        ...


class Batches(Generic[SampleT]):
    """The training batches of a run, from any step on.

    The order of the samples and every random draw for one depend only on (seed, epoch, index). The number of the
    next step is therefore the whole state: `from_step` continues a run, with any number of threads.

    Attributes:
      steps_per_epoch: number of batches per epoch; the last one may be filled up with samples of weight 0.
    """

    def __init__(
        self,
        samples: Samples[SampleT],
        size: int,
        stack: Callable[[Mapping[int, SampleT | None], range], AnyBatch],
        data: ReadingConfig,
        sharing: Sharing | None = None,
        process: int = 0,
        partner: Callable[[int], int] | None = None,
    ) -> None:
        """Prepares to load.

        Args:
          samples: of the run.
          size: number of rows of a batch, over all processes.
          stack: makes the batch of this process. Its arguments are row -> sample, or None for a row to fill up, and
            the rows of the process; the first also has these rows' partners.
          data: number of threads, and whether broken videos are skipped.
          sharing: how devices share a batch; each process loads the rows of its own devices. None: all are loaded.
          process: index of this process.
          partner: row -> another row of the batch whose sample is needed with it; None: none is.
        """
        self._samples = samples
        self._size = size
        self._stack = stack
        self._data = data
        self._rows = range(size) if sharing is None else sharing.rows(size, process)
        partners = [] if partner is None else [partner(row) for row in self._rows]
        self._loaded = [*self._rows, *sorted(set(partners) - set(self._rows))]
        self._counted_from = 0 if sharing is None or process == 0 else sharing.rows(size, process - 1).stop
        self._order = functools.lru_cache(maxsize=2)(samples.order)
        self.steps_per_epoch = math.ceil(len(samples.order(0)) / size)

    def from_step(self, first: int, end: int) -> Iterator[Loaded]:
        """Starts to load, and returns an iterator of the batches of steps `first`, ..., `end - 1`.

        Raises:
          UserError: by the iterator: a video cannot be read, and `data.skip_broken` is not set.
        """
        count = len(self._loaded)
        places = range(first * count, end * count)
        found = load_ahead(places, self._load, self._data.threads, ahead=2 * count)
        return (self._gather({row: next(found)[1] for row in self._loaded}) for _ in range(first, end))

    def _load(self, place: int) -> SampleT | None:
        """Returns the sample at a place of the run; None for a place that fills up the last batch of an epoch."""
        step, number = divmod(place, len(self._loaded))
        epoch, within = divmod(step, self.steps_per_epoch)
        position = within * self._size + self._loaded[number]
        order = self._order(epoch)
        return self._samples.load(epoch, int(order[position])) if position < len(order) else None

    def _gather(self, found: Mapping[int, SampleT | Exception | None]) -> Loaded:
        """Returns the batch of these samples; raises the first exception that may not be skipped."""
        failures = {row: one for row, one in found.items() if isinstance(one, Exception)}
        broken = [one for one in failures.values() if not (self._data.skip_broken and isinstance(one, UserError))]
        if broken:
            raise broken[0]
        samples = {row: None if isinstance(one, Exception) else one for row, one in found.items()}
        own = {row: sample for row in self._rows if (sample := samples[row]) is not None}
        return Loaded(
            self._stack(samples, self._rows),
            unmatched=sum(not sample.matched for row, sample in own.items() if row >= self._counted_from),
            # A partner that cannot be read is told by the process whose row it is.
            skipped=tuple((row, str(error)) for row, error in failures.items() if row in self._rows),
            videos=tuple(sample.video for sample in own.values()),
            repeated=sum(sample.repeated for sample in samples.values() if sample is not None),
        )


class TrainingBatches(Batches[Sample]):
    """The training batches of a detector."""

    def __init__(
        self, windows: TrainingWindows, config: Config, sharing: Sharing | None = None, process: int = 0
    ) -> None:
        """Prepares to load.

        Args:
          windows: the training windows.
          config: the configuration of the run.
          sharing, process: as for `Batches`.
        """

        def stack(samples: Mapping[int, Sample | None], rows: range) -> Batch:
            return training_batch([samples[row] for row in rows], config, windows.segment_rows, rows[0])

        super().__init__(windows, config.train.batch_size, stack, config.data, sharing, process)


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
        frames=stacked([sample.frames for sample in filled]),
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


def device_parts(batch: BatchT, sharing: Sharing, process: int = 0) -> list[BatchT]:
    """Cuts the samples of a process into what each of its devices has: its group's samples, its share of their frames.

    Args:
      batch: the samples of `sharing.rows`.
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
