"""Pictures of some test windows with their ground truth and what a training's detector finds in them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from adatad_jax.data.cache import Images
from adatad_jax.data.sampling import Window
from adatad_jax.errors import UserError
from adatad_jax.inference.test_set import Evaluation
from adatad_jax.outputs.selection import to_show
from adatad_jax.postprocessing.detections import Detections, named

if TYPE_CHECKING:
    from adatad_jax.outputs.timeline import Span

SAMPLES_FOLDER = "samples"
SAMPLES, FRAMES, DETECTIONS = 3, 8, 30  # windows, frames of each, detections drawn of each
_logger = logging.getLogger(__name__)


class DrawnWindow(NamedTuple):
    """A window that is drawn at every evaluation.

    Attributes:
      window: of a test video.
      start, end: of the window, seconds.
      images: `[8, H, W, 3]` uint8 RGB, evenly spaced in it.
      truth: annotated segments in it, cut at its ends.
    """

    window: Window
    start: float
    end: float
    images: Images
    truth: list[Span]


class SampleWindows:
    """Draws the same windows at every evaluation, with annotated segments in each.

    Attributes:
      pictures: name -> PNG file of the latest evaluation.
    """

    def __init__(self, evaluation: Evaluation, workdir: Path) -> None:
        """Chooses up to three videos, evenly among those with segments, and of each the window with most of them.

        Args:
          evaluation: the test subset.
          workdir: the run's folder; pictures go into its folder `samples`.
        """
        self._evaluation, self._folder = evaluation, workdir / SAMPLES_FOLDER
        self._samples: list[DrawnWindow] | None = None
        self.pictures: dict[str, Path] = {}

    def draw(self, results: Mapping[str, Detections]) -> None:
        """Draws the windows anew. What cannot be read or written is left out, with a warning.

        Args:
          results: name -> detections of an evaluation.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if self._samples is None:
                self._samples = [sample for window in self._chosen() if (sample := self._read(window)) is not None]
            for number, sample in enumerate(self._samples, 1):
                found = results.get(sample.window.video)
                self._draw(number, sample, found)
        except (UserError, OSError) as error:
            _logger.warning("%s: sample windows are not drawn (%s)", self._folder, error)

    def _draw(self, number: int, sample: DrawnWindow, found: Detections | None) -> None:
        from adatad_jax.outputs.timeline import draw_timeline  # matplotlib: the first step need not wait for it

        start, end, classes = sample.start, sample.end, self._evaluation.classes
        inside = []
        if found is not None:
            kept = (found.segments[:, 0] < end) & (found.segments[:, 1] > start)
            cut = Detections(found.segments[kept].clip(start, end), found.scores[kept], found.labels[kept])
            inside = to_show(named(cut, classes), most=DETECTIONS)
        path = self._folder / f"{number}.png"
        draw_timeline(path, inside, end - start, list(sample.images), sample.window.video, sample.truth, start=start)
        self.pictures[f"samples/{number}"] = path

    def _chosen(self) -> list[Window]:
        counts: dict[str, tuple[int, Window]] = {}
        for window in self._evaluation.windows.windows:
            count = len(self._truth(window))
            if count > counts.get(window.video, (0, window))[0]:
                counts[window.video] = count, window
        best = [window for _, window in counts.values()]
        places = np.linspace(0, len(best) - 1, min(SAMPLES, len(best))).round().astype(int).tolist()
        return [best[place] for place in places]

    def _truth(self, window: Window) -> list[Span]:
        """Returns the annotated segments of a window, cut at its ends."""
        start, end = self._evaluation.windows.span(window)
        segments, labels = self._evaluation.truth.get(window.video, (np.zeros((0, 2)), np.zeros(0, np.int64)))
        return [
            (max(first, start), min(last, end), self._evaluation.classes[label])
            for (first, last), label in zip(segments.tolist(), labels.tolist(), strict=True)
            if first < end and last > start
        ]

    def _read(self, window: Window) -> DrawnWindow | None:
        try:
            images = self._evaluation.windows.strip(window, FRAMES)
        except UserError as error:
            _logger.warning("no picture of a window of %s: %s", window.video, error)
            return None
        return DrawnWindow(window, *self._evaluation.windows.span(window), images, self._truth(window))
