"""Evaluation of a model's parameters on a test subset: windows, detections, mAP."""

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console

from adatad_jax.config.build import make_post_processing
from adatad_jax.config.fields import Config
from adatad_jax.console import progress_bar
from adatad_jax.data.annotations import ACTION
from adatad_jax.data.dataset import Sample
from adatad_jax.data.inference_windows import InferenceWindows, inference_windows, windows_ahead
from adatad_jax.data.loader import unwrap
from adatad_jax.data.sampling import Window
from adatad_jax.data.subset import load_subset
from adatad_jax.data.usable_videos import usable
from adatad_jax.devices.processes import ALONE, Processes
from adatad_jax.errors import UserError
from adatad_jax.evaluation.ground_truth import GroundTruth, counted, ground_truth_of
from adatad_jax.evaluation.mean_ap import Metrics, mean_average_precision
from adatad_jax.inference.predictor import Predictor, detect_windows
from adatad_jax.inference.shared import joined_detections, share_videos
from adatad_jax.postprocessing.detections import Detections
from adatad_jax.postprocessing.video_classifier import VideoClassifier, check_annotated_classes, load_video_classifier

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evaluation:
    """The configuration's test subset, with everything needed to detect in it and to measure the detections.

    Attributes:
      config: of the run.
      windows: of the subset's videos.
      truth: name -> segments in seconds and labels.
      durations: name -> seconds, of every annotated video, including those that cannot be read.
      classes: the class names that the labels of ground truth and detections index.
      classifier: assigns classes to the detections of a class-agnostic model.
    """

    config: Config
    windows: InferenceWindows
    truth: GroundTruth
    durations: dict[str, float]
    classes: tuple[str, ...]
    classifier: VideoClassifier | None

    def detect(self, predictor: Predictor, console: Console, processes: Processes = ALONE) -> dict[str, Detections]:
        """Detects in every video of the subset, with a progress bar. Several processes share the videos.

        With `data.skip_broken`, a video with a window that cannot be read is left out and named. Its segments count as
        missed, like those of the videos that `usable` has removed.

        Args:
          predictor: the model.
          console: where to report.
          processes: that share the videos; all must call this.

        Returns:
          name -> detections, with times in seconds, of all videos in every process.

        Raises:
          UserError: a video cannot be read, or none can; or another process has failed.
        """
        windows = self.windows
        counts = Counter(window.video for window in windows.windows)
        own = share_videos(counts, processes.count)[processes.index]
        samples = windows.stream(
            self.config.data.threads, windows_ahead(self.config, predictor.batch_size), frozenset(own)
        )
        broken: set[str] = set()

        def readable() -> Iterator[tuple[Window, Sample]]:
            for window, sample in samples:
                if not (isinstance(sample, UserError) and self.config.data.skip_broken):
                    yield window, unwrap(sample)
                elif window.video not in broken:
                    broken.add(window.video)
                    _logger.warning("skipped: %s; its segments count as missed", sample)

        settings = make_post_processing(self.config)
        classify = self.classifier.classify if self.classifier is not None else None
        results = {}
        with progress_bar(console) as bar:
            task = bar.add_task("detecting, windows", total=sum(counts[name] for name in own))
            for video, found, count in detect_windows(predictor, readable(), windows.seconds, settings, classify):
                if video not in broken:
                    results[video] = found
                bar.advance(task, count)
        results = joined_detections(results, list(counts), processes)
        if not results:
            raise UserError(f"{self.config.data.videos}: no video of the test subset can be read; see the list above")
        return results

    def measure(self, results: dict[str, Detections]) -> Metrics:
        """Computes mAP at the thresholds `test.tious`.

        Args:
          results: name -> detections, as `detect` returns them.

        Raises:
          UserError: detections and ground truth do not belong together.
        """
        return mean_average_precision(self.truth, results, self.config.test.tious, self.classes)


def load_evaluation(config: Config, classes: tuple[str, ...]) -> Evaluation:
    """Reads annotations and class scores of the configuration's test subset, then checks all its videos.

    Every label of the subset counts as a class, including the ignored ones (the release's rule).

    Args:
      config: of the run.
      classes: the model's class names.

    Raises:
      UserError: videos or class scores are missing or wrong, there is no segment to measure against, or none of the
        model's classes can be measured.
    """
    subset = load_subset(config, config.data.test_subset, classes, training=False)
    classifier = None
    if config.test.classifier:
        topk, sqrt = config.test.classifier_topk, config.test.classifier_sqrt
        classifier = load_video_classifier(config.test.classifier, subset.videos, topk=topk, sqrt=sqrt)
    truth, names = ground_truth_of(subset.videos, classifier.classes if classifier is not None else classes)
    annotated = {names[label] for label in counted(truth, {}, names).positives}
    others = annotated - {ACTION, *config.data.ignore_labels}
    if classifier is not None:
        check_annotated_classes(classifier, annotated, config.test.classifier)
    elif config.data.class_agnostic and others:
        raise UserError(
            f'the model is class-agnostic: all it finds is called "{ACTION}", but {config.data.annotations} '
            f"has {len(others)} other labels, whose AP would be 0; set --config.test.classifier to a file of "
            "video-level class scores"
        )
    durations = {name: video.duration for name, video in subset.videos.items()}
    return Evaluation(config, inference_windows(usable(subset, config), config), truth, durations, names, classifier)
