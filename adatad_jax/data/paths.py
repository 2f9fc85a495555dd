"""A check that the files and folders which a configuration names exist, and the package that reads the videos."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from adatad_jax.config.clip_fields import FinetuningConfig, PretrainingConfig
from adatad_jax.config.fields import Config
from adatad_jax.config.run_fields import ReadingConfig
from adatad_jax.errors import UserError
from adatad_jax.video.readers import check_reader


class Wanted(NamedTuple):
    """A file or folder that a configuration names.

    Attributes:
      field: dotted.
      path: the field's value.
      what: what it is, in words.
      source: where to get it from; empty if that is not known.
    """

    field: str
    path: str
    what: str
    source: str = ""


def check_paths(config: Config, weights: bool = True) -> None:
    """Checks that every file and folder which the configuration of a detector names exists.

    Args:
      config: of the run.
      weights: whether to check the initial weights, which only training reads.

    Raises:
      UserError: one message with every missing path and where to get it; or the reader of videos is not installed.
    """
    data = config.data
    wanted = [Wanted("weights", config.weights, "VideoMAE weights", config.weights_from)] if weights else []
    wanted += [
        _videos(data, data.come_from),
        Wanted("data.annotations", data.annotations, "annotations", data.come_from),
    ]
    if data.classes and not data.class_agnostic:
        wanted.append(Wanted("data.classes", data.classes, "class list", data.come_from))
    if config.test.classifier:
        source = config.test.classifier, "class scores of the test videos", data.come_from
        wanted.append(Wanted("test.classifier", *source))
    _require(wanted, data)


def check_pretraining_paths(config: PretrainingConfig) -> None:
    """Checks paths as `check_paths` does, for pre-training, which needs no weights."""
    _require([*_weights(config), _videos(config.data)], config.data)


def check_finetuning_paths(config: FinetuningConfig) -> None:
    """Checks paths as `check_paths` does, for fine-tuning, which needs no weights, no table and no class list."""
    data = config.data
    labels = [Wanted("data.labels", data.labels, "table of labels")] if data.labels else []
    classes = [Wanted("data.classes", data.classes, "class list")] if data.classes else []
    _require([*_weights(config), _videos(data), *labels, *classes], data)


def _weights(config: PretrainingConfig | FinetuningConfig) -> list[Wanted]:
    return [Wanted("weights", config.weights, "VideoMAE weights", config.weights_from)] if config.weights else []


def _videos(data: ReadingConfig, source: str = "") -> Wanted:
    """Returns the folder of videos, or the cache that stands in for it."""
    if data.cache:
        return Wanted("data.cache", data.cache, "cache of frames", "python -m adatad_jax.prepare --output DIR")
    return Wanted("data.videos", data.videos, "folder of videos", source)


def _require(wanted: Sequence[Wanted], data: ReadingConfig) -> None:
    """Raises `UserError` if a path does not exist, or the reader of the videos is not installed."""
    if not data.cache:
        check_reader(data.reader)
    missing = [
        f"{one.what}: --config.{one.field}={one.path or '(not set)'}"
        + (f"\n    get it from: {one.source}" if one.source else "")
        for one in wanted
        if not one.path or not Path(one.path).exists()
    ]
    if missing:
        raise UserError("not found:\n  " + "\n  ".join(missing))
