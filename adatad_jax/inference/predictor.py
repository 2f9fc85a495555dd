"""Prediction with trained parameters: proposals of windows, then the detections of each video."""

import collections
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
import numpy as np

from adatad_jax.data.batch import stacked
from adatad_jax.data.dataset import Sample
from adatad_jax.data.sampling import Window
from adatad_jax.detection.proposals import Proposals, decode
from adatad_jax.devices.mapping import map_over_devices
from adatad_jax.devices.placing import replicate
from adatad_jax.models.adatad import AdaTAD
from adatad_jax.postprocessing.detections import Detections, PostProcessing, merge_windows, window_detections

Params = Any
_WAITING = 2  # videos whose detections are merged while the next one is predicted


class Predictor:
    """A compiled model with its parameters on every local device.

    Attributes:
      batch_size: windows per call, over all devices.
    """

    def __init__(self, model: AdaTAD, params: Params, per_device: int) -> None:
        """Places the parameters on the devices; the model is compiled at the first call.

        Args:
          model: the detector.
          params: its parameters.
          per_device: windows per call and device.
        """
        self._devices = jax.local_devices()
        self.batch_size = per_device * len(self._devices)
        self.load(params)
        self._apply = map_prediction(model, self._devices)

    def load(self, params: Params) -> None:
        """Replaces the parameters without compiling the model again."""
        self._params = replicate(params, self._devices)

    def start(self, samples: Sequence[Sample]) -> Proposals:
        """Starts to compute the proposals of a batch; `collect` waits for the result.

        Args:
          samples: 1 to `batch_size` windows of one shape. Copies of the first one fill up the batch.

        Returns:
          The proposals on the devices; every array has the leading axes device and window.
        """
        filled = [*samples, *[samples[0]] * (self.batch_size - len(samples))]

        def by_device(arrays: Sequence[np.ndarray]) -> np.ndarray:
            return stacked(arrays).reshape(len(self._devices), -1, *arrays[0].shape)

        frames, mask = by_device([one.frames for one in filled]), by_device([one.mask for one in filled])
        result: Proposals = self._apply(self._params, frames, mask)
        return result

    def collect(self, started: Proposals, count: int) -> list[Proposals]:
        """Waits for a started batch.

        Args:
          started: from `start`.
          count: number of windows that are no filling.

        Returns:
          The proposals of the first `count` windows as numpy arrays `[P, ...]`, of valid points only.
        """
        segments, scores, mask = (np.asarray(array).reshape(self.batch_size, *array.shape[2:]) for array in started)
        return [Proposals(segments[i][mask[i]], scores[i][mask[i]], mask[i][mask[i]]) for i in range(count)]


def map_prediction(model: AdaTAD, devices: Sequence[jax.Device]) -> Callable[[Params, Any, Any], Proposals]:
    """Maps the prediction over devices. Nothing is donated: no result has the shape of an argument, to take its memory.

    Args:
      model: the detector.
      devices: that share a batch.

    Returns:
      (parameters, frames `[devices, B, T, H, W, 3]` uint8, mask `[devices, B, positions]` bool) -> proposals, whose
      arrays have the leading axes device and window. The parameters have no device axis.
    """
    return map_over_devices(
        lambda params, frames, mask: decode(
            model.detector_config,
            model.apply({"params": params}, frames, mask),  # type: ignore[arg-type]
        ),
        devices,
        in_axes=(None, 0, 0),
    )


def detect_windows(
    predictor: Predictor,
    windows: Iterable[tuple[Window, Sample]],
    seconds: Callable[[Window, np.ndarray], np.ndarray],
    settings: PostProcessing,
    classify: Callable[[str, Detections], Detections] | None = None,
) -> Iterator[tuple[str, Detections, int]]:
    """Yields the detections of every video, as soon as its last window is predicted.

    A thread converts and merges the proposals, while the devices compute the next windows. Memory holds the candidates
    of at most `_WAITING` videos beside the current one, and two batches.

    Args:
      predictor: the model.
      windows: windows with their samples, video by video.
      seconds: converts segments `[P, 2]` of a window from grid positions to seconds (`InferenceWindows.seconds`).
      settings: of the post-processing.
      classify: assigns the classes of a video to class-agnostic detections (`VideoClassifier.classify`).

    Yields:
      Name, detections and number of windows of a video.
    """

    def of_window(window: Window, proposals: Proposals) -> Detections:
        return window_detections(
            np.asarray(proposals.segments),
            np.asarray(proposals.scores),
            settings,
            functools.partial(seconds, window),
            functools.partial(classify, window.video) if classify is not None else None,
        )

    def of_video(windows: Sequence[Future[Detections]]) -> Detections:
        return merge_windows([window.result() for window in windows], settings)

    # One thread, which works in order: a video's merging begins when its windows are converted.
    pool = ThreadPoolExecutor(1, "post-processing")
    try:
        merging: collections.deque[tuple[str, Future[Detections], int]] = collections.deque()
        for video, found in itertools.groupby(_predict(predictor, windows), lambda pair: pair[0].video):
            parts = [pool.submit(of_window, *pair) for pair in found]
            merging.append((video, pool.submit(of_video, parts), len(parts)))
            while merging and (len(merging) > _WAITING or merging[0][1].done()):
                name, future, count = merging.popleft()
                yield name, future.result(), count
        for name, future, count in merging:
            yield name, future.result(), count
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _predict(predictor: Predictor, windows: Iterable[tuple[Window, Sample]]) -> Iterator[tuple[Window, Proposals]]:
    """Yields proposals window by window; while those of one batch are used, the devices compute the next batch."""
    windows = iter(windows)
    running: tuple[list[Window], Proposals] | None = None
    while pairs := list(itertools.islice(windows, predictor.batch_size)):
        started = [window for window, _ in pairs], predictor.start([sample for _, sample in pairs])
        if running is not None:
            yield from _collect(predictor, *running)
        running = started
    if running is not None:
        yield from _collect(predictor, *running)


def _collect(predictor: Predictor, windows: list[Window], started: Proposals) -> Iterator[tuple[Window, Proposals]]:
    """Waits for a started batch and yields its windows with their proposals."""
    yield from zip(windows, predictor.collect(started, len(windows)), strict=True)
