"""A trained detector for use in a Python program: `load` it, then call it with a video.

from adatad_jax import load

detector = load("runs/demo")
for detection in detector("video.mp4", threshold=0.3):
    print(f"{detection.start:.1f} to {detection.end:.1f} s: {detection.label} ({detection.score:.2f})")
"""

import difflib
import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict

from adatad_jax.config.build import make_post_processing
from adatad_jax.config.fields import Config
from adatad_jax.config.load import load_config
from adatad_jax.data.cache import Images
from adatad_jax.data.dataset import Sample
from adatad_jax.data.footage import Footage, array_footage, open_footage
from adatad_jax.data.inference_windows import InferenceWindows, windows_ahead
from adatad_jax.data.loader import unwrap
from adatad_jax.data.sampling import Window
from adatad_jax.errors import UserError, one_line
from adatad_jax.inference.fitting import fitted_predictor
from adatad_jax.inference.predictor import detect_windows
from adatad_jax.models.layers import Params
from adatad_jax.postprocessing.detections import Detection, named
from adatad_jax.training.retention import LATEST, Choice
from adatad_jax.video.spelling import normal
from adatad_jax.weights.load import Trained, load_trained
from adatad_jax.weights.object_store import working_copy

_logger = logging.getLogger(__name__)


def load(
    path: str | os.PathLike[str],
    config: Config | ConfigDict | str | os.PathLike[str] | None = None,
    *,
    overrides: Sequence[str] = (),
    batch: int = 1,
    step: Choice = LATEST,
) -> "Detector":
    """Loads a trained detector.

    Args:
      path: the folder of a run, also at an address (`gs://`, `s3://`); a folder that `convert/pth_to_flax.py` has
        written; or a detector checkpoint of the PyTorch release.
      config: configuration of such a checkpoint, or its file; not needed if the checkpoint determines it.
      overrides: `--config.FIELD=VALUE`, for a checkpoint.
      batch: windows computed at once on each device.
      step: which checkpoint of a run: a number of steps, `"best"` by mAP in the run's history, or `"latest"`.

    Raises:
      UserError: there is no trained detector, the configuration does not fit it, or `batch` is below 1.
    """
    if isinstance(config, ConfigDict):
        config = Config.of(config)
    elif config is not None and not isinstance(config, Config):
        config = load_config(Path(config), overrides)
    with working_copy(Path(path), writes=False) as folder:
        trained = load_trained(folder, config, overrides, step)
    return Detector(trained, batch)


class Detector:
    """A detector that finds actions in videos. The model is compiled when the first video is read.

    Attributes:
      classes: names of the classes that the detector finds.
      origin: where the parameters come from, as text.
      config: the detector's configuration.
      fingerprint: hash of the parameters; see `fingerprint`.
    """

    def __init__(self, trained: Trained, batch: int = 1) -> None:
        """Places a trained model on the devices.

        Args:
          trained: from `load_trained`.
          batch: windows computed at once on each device.

        Raises:
          UserError: `batch` is below 1, or needs more memory than the devices have.
        """
        if batch < 1:
            raise UserError(f"batch={batch}: expected at least 1 window at once")
        self.classes = trained.classes
        self.origin = trained.origin
        self.config = trained.config
        self.fingerprint = fingerprint(trained.params)
        self._predictor = fitted_predictor(self.config, trained.params, len(self.classes), batch, _logger.info)
        self._settings = make_post_processing(self.config)

    def __call__(
        self,
        video: str | os.PathLike[str] | Images,
        fps: float | None = None,
        *,
        threshold: float = 0.0,
        top: int | None = None,
        labels: Iterable[str] | None = None,
    ) -> list[Detection]:
        """Finds the actions in a video of any length.

        Args:
          video: a file; or frames `[T, H, W, 3]` uint8 RGB.
          fps: frames per second. Required for frames; for a file, in place of what the file says.
          threshold: lowest score of a detection, in [0, 1].
          top: largest number of detections, which are those of highest score; None keeps all.
          labels: classes of the detections; None keeps all classes.

        Returns:
          The detections by falling score; `start` and `end` are seconds from the first frame.

        Raises:
          UserError: the video cannot be read, memory runs out, or an argument is wrong.
        """
        choose = self.chooser(threshold, top, labels)
        if isinstance(video, str | os.PathLike):
            footage = open_footage(Path(video), self.config, fps)
        elif isinstance(video, np.ndarray) and fps is None:
            raise UserError("fps is not given: frames come without their rate; pass fps=, the frames per second")
        else:
            footage = array_footage(video, fps or 0.0, self.config)
        return choose(self.find(footage))

    def chooser(
        self, threshold: float = 0.0, top: int | None = None, labels: Iterable[str] | None = None
    ) -> Callable[[list[Detection]], list[Detection]]:
        """Returns a function that selects detections.

        Args:
          threshold, top, labels: as for `__call__`.

        Returns:
          Detections by falling score -> the selected ones, in the same order.

        Raises:
          UserError: an argument is wrong.
        """
        if isinstance(labels, str):
            raise UserError(f'labels: found the text "{labels}", expected a list of class names')
        wanted = {normal(str(label)) for label in (self.classes if labels is None else labels)}
        if unknown := sorted(wanted - set(self.classes)):
            near = difflib.get_close_matches(unknown[0], self.classes, n=1)
            hint = f' (did you mean "{near[0]}"?)' if near else ""
            raise UserError(f'"{unknown[0]}" is none of the classes{hint}; they are: {", ".join(self.classes)}')
        if not 0 <= threshold <= 1:
            raise UserError(f"threshold={threshold}: expected a score in [0, 1]")
        if top is not None and (not isinstance(top, int) or top < 1):
            raise UserError(f"top={top!r}: expected a whole number of at least 1")
        return lambda found: [d for d in found if d.score >= threshold and d.label in wanted][:top]

    def find(self, footage: Footage, watch: Callable[[float], None] | None = None) -> list[Detection]:
        """Finds all actions in a video.

        Args:
          footage: the video.
          watch: called after every window with the seconds of video that have been read for the model.

        Returns:
          The detections by falling score.

        Raises:
          UserError: a frame cannot be read, or memory runs out.
        """
        windows = InferenceWindows({footage.video.name: footage.video}, footage.frames, self.config)
        ahead = windows_ahead(self.config, self._predictor.batch_size)

        def samples() -> Iterator[tuple[Window, Sample]]:
            for window, sample in windows.stream(cores(), ahead):
                yield window, unwrap(sample)
                if watch is not None:
                    end = windows.windows[-1].end
                    watch(footage.video.duration * min(window.end / end, 1))

        try:
            ((_, detections, _),) = detect_windows(self._predictor, samples(), windows.seconds, self._settings)
        except (MemoryError, jax.errors.JaxRuntimeError) as error:
            if not isinstance(error, MemoryError) and "RESOURCE_EXHAUSTED" not in str(error):
                raise
            raise UserError(
                f"memory ran out with {self._predictor.batch_size} windows at once ({one_line(error)}); choose a "
                "smaller batch, or a machine with more memory"
            ) from error
        return named(detections, self.classes)


def cores() -> int:
    """Returns how many cores this process may use; nothing else that takes time runs beside a detection."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def fingerprint(params: Params) -> str:
    """Computes a hash that tells trained models apart.

    The backbone, which may have a billion parameters, is left out.

    Args:
      params: the parameters of an `AdaTAD`, on the host.

    Returns:
      The first 16 hexadecimal digits of a SHA-256.
    """
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves({name: tree for name, tree in params.items() if name != "backbone"}):
        digest.update(np.ascontiguousarray(leaf).data)
    return digest.hexdigest()[:16]
