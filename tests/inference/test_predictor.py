"""The way from windows to detections: the order of work of devices and host, and the windows of each video."""

from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from adatad_jax.data.dataset import Sample
from adatad_jax.data.sampling import Window
from adatad_jax.detection.proposals import Proposals
from adatad_jax.errors import UserError
from adatad_jax.inference.predictor import detect_windows
from adatad_jax.postprocessing.detections import Detections
from tests import records


class Recorder:
    """A predictor that records when it starts batches and collects them."""

    batch_size = 2

    def __init__(self) -> None:
        self.events: list[str] = []
        self.batches = 0

    def start(self, samples: Sequence[Sample]) -> int:
        self.events.append(f"start {self.batches}")
        self.batches += 1
        return self.batches - 1

    def collect(self, started: int, count: int) -> list[Proposals]:
        self.events.append(f"collect {started}")
        segments, scores = np.array([[0.0, 1.0]], np.float32), np.array([[0.5, 0.2]], np.float32)
        return [Proposals(segments, scores, np.ones(1, bool))] * count  # type: ignore[arg-type]


def test_a_batch_is_used_while_the_next_one_is_computed() -> None:
    """Five windows of two videos in three batches; the second video begins inside the second batch."""
    predictor = Recorder()
    spans = [Window("a", 0, 8), Window("a", 4, 12), Window("a", 8, 16), Window("b", 0, 8), Window("b", 4, 12)]
    sample = Sample(*[np.zeros(1)] * 4)

    def windows() -> Iterator[tuple[Window, Sample]]:
        for span in spans:
            yield span, sample

    def seconds(window: Window, segments: np.ndarray) -> np.ndarray:
        predictor.events.append(f"post-process {window.video}{window.first}")
        return segments + window.first

    def classify(video: str, found: Detections) -> Detections:
        return found

    found = list(detect_windows(predictor, windows(), seconds, records.post_processing(), classify))  # type: ignore[arg-type]
    of_devices = [event for event in predictor.events if not event.startswith("post")]
    assert of_devices == ["start 0", "start 1", "collect 0", "start 2", "collect 1", "collect 2"]
    # Another thread converts the windows, in their order, each once its batch is there.
    converted = [event for event in predictor.events if event.startswith("post")]
    assert converted == [f"post-process {window.video}{window.first}" for window in spans]
    for batch, event in zip([0, 0, 1, 1, 2], converted, strict=True):
        assert predictor.events.index(event) > predictor.events.index(f"collect {batch}")
    assert [(video, count) for video, _, count in found] == [("a", 3), ("b", 2)]
    assert sorted(found[0][1].segments[:, 0].tolist()) == [0, 0, 4, 4, 8, 8]  # both classes in each window


def test_an_error_of_the_thread_reaches_the_caller() -> None:
    def windows() -> Iterator[tuple[Window, Sample]]:
        for start in range(0, 80, 8):
            yield Window(f"v{start}", start, start + 8), Sample(*[np.zeros(1)] * 4)

    def seconds(window: Window, segments: np.ndarray) -> np.ndarray:
        if window.first == 16:
            raise UserError("the model's output")
        return segments

    found = detect_windows(Recorder(), windows(), seconds, records.post_processing())  # type: ignore[arg-type]
    assert [next(found)[0], next(found)[0]] == ["v0", "v8"]
    with pytest.raises(UserError, match="the model's output"):
        next(found)
