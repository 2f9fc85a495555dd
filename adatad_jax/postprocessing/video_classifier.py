"""Video-level class scores of another model, which give class-agnostic detections their labels.

The files are those that published ActivityNet results use. Each was made once for all videos by the classifier of CUHK,
InternVideo or InternVideo2, and has the form

    {"results": {video: [score, ...]}, "class": [name, ...]}

where the list of names may also be called "classes".
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
from adatad_jax.video.spelling import normal_json

Array = np.ndarray

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class VideoClassifier:
    """The best classes of each video.

    Attributes:
      classes: names of the K classes.
      best: video name to labels [k] int64, indices into `classes`, and scores [k] float32, by falling score.
      sqrt: whether a detection's new score is the geometric mean of its own and the class's score; else it is their
        product.
    """

    classes: tuple[str, ...]
    best: Mapping[str, tuple[Array, Array]]
    sqrt: bool

    def classify(self, video: str, detections: Detections) -> Detections:
        """Repeats all detections for each class of the video in turn, with that label (release rule).

        Scores are multiplied in float32, as in the release. Nothing is sorted or left out.

        Args:
          video: a name in `best`.
          detections: N class-agnostic detections.

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


def load_video_classifier(path: str | Path, videos: Iterable[str], *, topk: int, sqrt: bool) -> VideoClassifier:
    """Reads a file of class scores in the form described in the module's docstring.

    Scores are used as they are, without a softmax, whatever they sum to. Of equal scores, the class named first comes
    first.

    Args:
      path: the JSON file.
      videos: names of the annotated videos, with or without "v_" in front.
      topk: number of classes used of each video.
      sqrt: see `VideoClassifier`.

    Raises:
      UserError: the file is missing or malformed; `topk` is not between 1 and its number of classes; videos are missing
        from it; or the scores of a video are not one finite number per class, or those used are negative. All such
        videos are counted, and the first ones listed.
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
        # The unchanged name comes first, as an id without the prefix may itself begin with "v_".
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
            wrong.append(f"{key}: scores from {scores.min()} to {scores.max()}, expected finite and non-negative ones")
            continue
        best[video] = labels, scores[labels].astype(np.float32)
    if missing:
        raise UserError(
            f"{path}: no class scores for {len(missing)} of {len(missing) + len(wrong) + len(best)} videos; use the "
            f"file that belongs to this subset, or leave the videos out of the annotations:{listed(missing)}"
        )
    if wrong:
        raise UserError(f"{path}: wrong class scores for {len(wrong)} videos; write the file anew:{listed(wrong)}")
    return VideoClassifier(classes, best, sqrt)


def check_annotated_classes(classifier: VideoClassifier, annotated: Iterable[str], path: str | Path) -> None:
    """Checks that the annotated labels are among the classifier's classes.

    A label that is not causes only a warning: its class scores 0.

    Args:
      classifier: as loaded from `path`.
      annotated: labels of the ground truth.
      path: file of the classifier, named in messages.

    Raises:
      UserError: none of the labels is among them.
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
    """Reads the file's scores of each video, and its class names."""
    try:
        content, repeated = normal_json(json.loads(path.read_text(encoding="utf-8-sig")), path)
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
    if repeated:
        raise UserError(f"{path}: {len(repeated)} videos are named more than once; keep each once:{listed(repeated)}")
    repeated = [name for name, count in Counter(classes).items() if count > 1]
    if repeated:
        raise UserError(f"{path}: {len(repeated)} classes are named more than once; keep each once:{listed(repeated)}")
    return results, tuple(classes)


def _scores(value: Any) -> Array | None:
    """Returns a list of numbers as [K] float64, or None if it is not one."""
    if not isinstance(value, list) or not all(type(score) in (int, float) for score in value):
        return None
    return np.array(value, np.float64)


def _short(value: Any) -> str:
    return f"{len(value)} values" if isinstance(value, list) else f"a {type(value).__name__}"
