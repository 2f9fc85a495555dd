"""Evaluation of a classifier inside a training: accuracy on the test videos, and the confusion table."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from adatad_jax.config.clip_fields import FinetuningConfig
from adatad_jax.console import progress_bar
from adatad_jax.data.cache import Images
from adatad_jax.data.clip_views import ClipViews
from adatad_jax.data.loader import unwrap
from adatad_jax.devices.processes import Processes, is_first
from adatad_jax.errors import UserError
from adatad_jax.evaluation.accuracy import Accuracy, accuracy, confusion_csv
from adatad_jax.files import whole_file, write_text
from adatad_jax.inference.clip_classifier import ClipClassifier, classify_videos
from adatad_jax.models.classifier import Classifier
from adatad_jax.models.layers import Params

CONFUSION_TABLE, CONFUSION_PICTURE = "confusion.csv", "confusion.png"
NAMED = 30  # classes whose names a picture of the confusion table has room for
_logger = logging.getLogger(__name__)


class TestedVideos:
    """The test videos of a fine-tuning, which several processes share.

    Attributes:
      pictures: name -> PNG file of the latest evaluation.
    """

    def __init__(
        self,
        views: ClipViews,
        classes: Sequence[str],
        config: FinetuningConfig,
        workdir: Path,
        console: Console,
        processes: Processes,
    ) -> None:
        """Prepares to evaluate.

        Args:
          views: of the videos, which have labels.
          classes: class names.
          config: of the run.
          workdir: the run's folder, for table and picture.
          console: where to report.
          processes: that share the videos.
        """
        self._views, self._classes, self._config, self._folder = views, classes, config, workdir
        self._console, self._processes = console, processes
        self._classifier: ClipClassifier | None = None
        self.pictures: dict[str, Path] = {}

    def measure(self, model: Classifier, params: Params) -> dict[str, Any]:
        """Evaluates parameters; all processes must call this.

        Args:
          model: the classifier.
          params: the whole tree, on the devices.

        Returns:
          What an epoch's record holds: `top1` and `top5`, fractions, and `recall`, class -> fraction.

        Raises:
          UserError: a video cannot be read and may not be skipped, or none can; or another process has failed.
        """
        if self._classifier is None:
            self._classifier = ClipClassifier(model, params, self._config.test.batch_size)
        else:
            self._classifier.load(params)
        own = self._views.names[self._processes.index :: self._processes.count]
        found = {}
        with progress_bar(self._console) as bar:
            task = bar.add_task("classifying, videos", total=len(own))
            for name, probabilities in classify_videos(self._classifier, self._readable(own)):
                found[name] = probabilities.tolist()
                bar.advance(task)
        for part in self._processes.gather("probabilities", json.dumps(found).encode()):
            found |= json.loads(part)
        if not found:
            raise UserError(f"{self._config.data.videos}: no test video can be read; see the list above")
        names = [name for name in self._views.names if name in found]
        labels = np.array([self._views.videos[name].label for name in names])
        measured = accuracy(np.array([found[name] for name in names]), labels)
        if is_first():
            self._write(measured)
        shares = zip(self._classes, measured.recalls.tolist(), strict=True)
        recalls = {name: share for name, share in shares if np.isfinite(share)}
        return {"top1": measured.top1, "top5": measured.top5, "recall": recalls}

    def _readable(self, names: Sequence[str]) -> Iterator[tuple[str, Images]]:
        """Yields the views of videos; with `data.skip_broken`, those that cannot be read are left out and named."""
        for name, views in self._views.stream(names):
            if isinstance(views, UserError) and self._config.data.skip_broken:
                _logger.warning("skipped: %s; it counts neither as right nor as wrong", views)
            else:
                yield name, unwrap(views)

    def _write(self, measured: Accuracy) -> None:
        """Writes the confusion table and its picture; what cannot be written is a warning."""
        try:
            write_text(self._folder / CONFUSION_TABLE, confusion_csv(measured.confusion, self._classes))
            draw_confusion(self._folder / CONFUSION_PICTURE, measured.confusion, self._classes)
            self.pictures["confusion"] = self._folder / CONFUSION_PICTURE
        except (UserError, OSError) as problem:
            _logger.warning("%s: the confusion table is not written (%s)", self._folder, problem)


def draw_confusion(path: Path, confusion: np.ndarray, classes: Sequence[str]) -> None:
    """Draws a confusion table as shares of each label's videos.

    Args:
      path: PNG file to write.
      confusion: `[K, K]` int, videos by label (row) and most probable class (column).
      classes: the K names.
    """
    from matplotlib.figure import Figure  # the first step need not wait until matplotlib is imported

    shares = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    side = 3 + 0.28 * min(len(classes), NAMED)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_ylabel("label")
    axes.set_xlabel("most probable class")
    if len(classes) <= NAMED:
        axes.set_xticks(range(len(classes)), classes, rotation=90, fontsize=8)
        axes.set_yticks(range(len(classes)), classes, fontsize=8)
        for row, column in np.argwhere(confusion):
            colour = "white" if shares[row, column] > 0.6 else "black"
            axes.text(column, row, str(confusion[row, column]), ha="center", va="center", fontsize=7, color=colour)
    with whole_file(path) as partial:
        figure.savefig(partial, dpi=110, format="png")
