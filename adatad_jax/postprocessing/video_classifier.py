"""Video-level class scores of another model, which give class-agnostic detections their labels.

The files are those that ActivityNet results are published with: `{"results": {video: [score, ...]}, "class": [name,
...]}` (the list may also be called "classes"), made once for all videos by CUHK's, InternVideo's or InternVideo2's
classifier.
"""

import json
import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from adatad_jax.errors import UserError, listed, one_line
from adatad_jax.postprocessing.detections import Detections
from adatad_jax.video.names import VIDEO_PREFIX

Array = np.ndarray

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class VideoClassifier:
    """The best classes of each video.

    Attributes:
      classes: [K] class names.
      best: video -> labels [k] int64, indices into `classes`, and scores [k] float32, by falling score.
      sqrt: a detection's new score is the geometric mean, not the product, of its own and the class's.
    """

    classes: tuple[str, ...]
    best: Mapping[str, tuple[Array, Array]]
    sqrt: bool

    def classify(self, video: str, detections: Detections) -> Detections:
        """For each class of the video in turn, all detections as that class (release rule).

        Scores are multiplied in float32, as in the release. Nothing is sorted or left out.

        Args:
          video: a name in `best`.
          detections: N class-agnostic ones.

        Returns:
          k * N detections.
        """
        labels, scores = self.best[video]
        products = scores[:, None] * detections.scores.astype(np.float32)
        return Detections(
            np.tile(detections.segments, (len(labels), 1)),
            (np.sqrt(products) if self.sqrt else products).ravel(),
            np.repeat(labels, len(detections)),
        )


def load_classifier(path: str | Path, videos: Iterable[str], *, topk: int, sqrt: bool) -> VideoClassifier:
    """Reads a file of class scores; the module's text has its form.

    Scores are used as they are: no softmax, whatever they sum to. Of equal ones the class named first comes first.

    Args:
      path: the JSON file.
      videos: names of the annotations, with or without "v_" in front.
      topk: how many classes of each video are used.
      sqrt: see `VideoClassifier`.

    Raises:
      UserError: the file is missing or not of this form; videos are missing in it; scores of a video are not one
        number a class, not finite, or (those used) negative. All such videos are counted, the first listed.
    """
    path = Path(path)
    results, classes = _read(path)
    if not 1 <= topk <= len(classes):
        raise UserError(
            f"config.test.classifier_topk={topk}: expected from 1 to {len(classes)}, the number of classes of {path}"
        )
    best: dict[str, tuple[Array, Array]] = {}
    missing: list[str] = []
    wrong: list[str] = []
    for video in videos:
        # the name as it is first: an id without prefix may itself begin with "v_"
        keys = (video, video.removeprefix(VIDEO_PREFIX), VIDEO_PREFIX + video)
        key = next((key for key in keys if key in results), None)
        if key is None:
            missing.append(video)
            continue
        scores = _scores(results[key])
        if scores is None or scores.shape != (len(classes),):
            wrong.append(f"{key}: {_short(results[key])}, expected {len(classes)} numbers")
            continue
        labels = np.argsort(-scores, kind="stable")[:topk]
        if not np.isfinite(scores).all() or scores[labels[-1]] < 0:
            wrong.append(f"{key}: scores from {scores.min()} to {scores.max()}, expected finite ones, not negative")
            continue
        best[video] = labels, scores[labels].astype(np.float32)
    if missing:
        raise UserError(
            f"{path}: no class scores for {len(missing)} of {len(missing) + len(wrong) + len(best)} videos; use the "
            f"file that belongs to this subset, or leave the videos out of the annotations:{listed(missing)}"
        )
    if wrong:
        raise UserError(f"{path}: wrong class scores of {len(wrong)} videos; write the file anew:{listed(wrong)}")
    return VideoClassifier(classes, best, sqrt)


def check_classes(classifier: VideoClassifier, annotated: Iterable[str], path: str | Path) -> None:
    """Compares the classifier's class names with the labels it is measured against.

    Args:
      classifier: as loaded from `path`.
      annotated: labels of the ground truth.
      path: what to call the classifier in a message.

    Raises:
      UserError: they share none. Labels that the classifier lacks are a warning only: these classes score 0.
    """
    wanted = sorted(set(annotated))
    missing = [label for label in wanted if label not in classifier.classes]
    if len(missing) == len(wanted):
        raise UserError(
            f'{path}: none of its {len(classifier.classes)} classes, such as "{classifier.classes[0]}", is a label of '
            f"the annotations; use the classifier of their data set. The labels are:{listed(wanted)}"
        )
    if missing:
        _logger.warning(
            "%s: %d of %d annotated labels are not among its classes and cannot be found:%s",
            path,
            len(missing),
            len(wanted),
            listed(missing),
        )


def _read(path: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The file's scores by video and its class names."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(
            f"config.test.classifier={path}: cannot be read as JSON ({one_line(error)}); give the file of class scores"
        ) from error
    results = content.get("results") if isinstance(content, dict) else None
    classes = content.get("class", content.get("classes")) if isinstance(content, dict) else None
    if (
        not isinstance(results, dict)
        or not isinstance(classes, list)
        or not classes
        or not all(isinstance(name, str) for name in classes)
    ):
        found = f"an object with keys {sorted(content)[:5]}" if isinstance(content, dict) else type(content).__name__
        raise UserError(
            f'{path}: found {found}, expected {{"results": {{video: [score, ...]}}, "class" or "classes": [name, '
            "...]}: give a file of that form"
        )
    repeated = [name for name, count in Counter(classes).items() if count > 1]
    if repeated:
        raise UserError(f"{path}: {len(repeated)} classes are named more than once; keep each once:{listed(repeated)}")
    return results, tuple(classes)


def _scores(value: Any) -> Array | None:
    """A list of numbers [K] float64, or None."""
    if not isinstance(value, list) or not all(type(score) in (int, float) for score in value):
        return None
    return np.array(value, np.float64)


def _short(value: Any) -> str:
    return f"{len(value)} values" if isinstance(value, list) else f"a {type(value).__name__}"
