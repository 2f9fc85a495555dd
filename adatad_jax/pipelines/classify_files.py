"""Classification of video files: their most probable classes, printed one video after the other."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from adatad_jax.config.clip_fields import ClipsConfig
from adatad_jax.data.clip_views import FileViews, file_views
from adatad_jax.data.loader import load_ahead, unwrap
from adatad_jax.devices.choice import set_precision
from adatad_jax.errors import UserError
from adatad_jax.inference.clip_classifier import ClipClassifier, best
from adatad_jax.video.names import given_videos
from adatad_jax.video.spelling import shown
from adatad_jax.weights.load_classifier import TrainedClassifier

AHEAD = 2  # videos that are read in advance


class Views(NamedTuple):
    """What is looked at of a video.

    Attributes:
      clips: spread evenly over it.
      crops: of a clip, along its long side.
      stride: source frames from one frame of a clip to the next.
      fps: frames per second, in place of what the file says.
    """

    clips: int
    crops: int
    stride: int
    fps: float | None = None


class Classified(NamedTuple):
    """What was found in videos.

    Attributes:
      probabilities: video -> class -> probability, of all classes.
      failures: why other videos could not be read.
    """

    probabilities: dict[str, dict[str, float]]
    failures: list[str]


def classify_files(
    trained: TrainedClassifier, given: Sequence[Path], views: Views, batch: int, top: int, console: Console
) -> Classified:
    """Classifies video files, and prints the most probable classes of each.

    Args:
      trained: the classifier.
      given: video files, and folders of them.
      views: what is looked at of a video.
      batch: views computed at once on each device.
      top: number of classes to print.
      console: where to report.

    Raises:
      UserError: a folder holds no video.
    """
    set_precision("float32")
    console.print(trained.origin, highlight=False)
    data = ClipsConfig(stride=views.stride, crop=trained.crop)
    classifier = ClipClassifier(trained.model, trained.params, batch)
    classified = Classified({}, [])

    def load(path: Path) -> FileViews:
        return file_views(path, data, views.clips, views.crops, views.fps)

    files = [file for path in given for file in given_videos(path)]
    for path, read in load_ahead(files, load, AHEAD, AHEAD):
        try:
            found = unwrap(read)
        except (UserError, OSError) as error:
            classified.failures.append(str(error))
            console.print(f"failed: {error}", style="red")
            continue
        for note in found.notes:
            console.print(f"{shown(str(path))}: {note}", highlight=False)
        probabilities = classifier.probabilities(found.frames).mean(0)
        named = ", ".join(f"{name} {share:.3f}" for name, share in best(probabilities, trained.classes, top))
        console.print(f"{shown(str(path))}: {named}", highlight=False)
        classified.probabilities[str(path)] = dict(zip(trained.classes, probabilities.tolist(), strict=True))
    return classified
