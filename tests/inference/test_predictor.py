"""The way from windows to detections: the order of work of devices and host, and the windows of each video."""

from collections.abc import Iterator, Sequence

import numpy as np

from adatad_jax.data.dataset import Sample
from adatad_jax.data.sampling import Window
from adatad_jax.detection.proposals import Proposals
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
    assert predictor.events == [
        "start 0",
        "start 1",
        "collect 0",
        "post-process a0",
        "post-process a4",
        "start 2",
        "collect 1",
        "post-process a8",
        "post-process b0",
        "collect 2",
        "post-process b4",
    ]
    assert [(video, count) for video, _, count in found] == [("a", 3), ("b", 2)]
    assert sorted(found[0][1].segments[:, 0].tolist()) == [0, 0, 4, 4, 8, 8]  # both classes in each window
