"""What is known of a run before it starts, even where videos, annotations or weights are not there yet."""

from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from adatad_jax.config.fields import Config
from adatad_jax.config.open_fields import open_fields
from adatad_jax.data.dataset import SEGMENT_ROWS, TrainingWindows
from adatad_jax.data.loader import TrainingBatches
from adatad_jax.data.paths import check_paths
from adatad_jax.data.propose import resolve
from adatad_jax.data.stored_features import FeatureWindows
from adatad_jax.data.subset import annotated_subset, load_classes
from adatad_jax.errors import UserError
from adatad_jax.pipelines.backbone_features import describe
from adatad_jax.pipelines.train_detector import check_inputs
from adatad_jax.weights.run_folder import check_config


class Known(NamedTuple):
    """What is known of a run.

    Attributes:
      config: without open fields.
      classes: number of classes.
      segment_rows: rows of ground truth of a window.
      windows: of an epoch; None if unknown.
      steps_per_epoch: None if unknown.
      test_windows: of an evaluation; None if unknown, or if the run does not evaluate.
      notes: for the user: what is missing, what was assumed for it, which features would be stored.
    """

    config: Config
    classes: int
    segment_rows: int
    windows: int | None = None
    steps_per_epoch: int | None = None
    test_windows: int | None = None
    notes: tuple[str, ...] = ()


def what_is_known(config: Config, workdir: Path, console: Console) -> Known:
    """Checks a run's inputs as a training does; where some are missing, finds out what the others tell.

    Args:
      config: of the run; fields may be open.
      workdir: the run's folder.
      console: where to report.

    Raises:
      UserError: inputs that are there are wrong, or the configuration leaves fields open that the missing ones fill.
    """
    try:
        check_paths(config)
    except UserError as missing:
        return _from_what_is_there(config, workdir, console, missing)
    inputs = check_inputs(config, workdir, console)
    return Known(
        config=inputs.config,
        classes=len(inputs.classes),
        segment_rows=inputs.windows.segment_rows,
        windows=len(inputs.windows.order(0)),
        steps_per_epoch=inputs.batches.steps_per_epoch,
        test_windows=len(inputs.evaluation.windows) if inputs.evaluation is not None else None,
        notes=(describe(inputs.windows, inputs.config),) if isinstance(inputs.windows, FeatureWindows) else (),
    )


def _from_what_is_there(config: Config, workdir: Path, console: Console, missing: UserError) -> Known:
    """Returns what the configuration and, if they are there, class list and annotations tell."""
    data = config.data
    annotated = bool(data.annotations) and Path(data.annotations).exists()
    if open_fields(config) and not annotated:
        raise missing
    config = resolve(config, console)
    notes = [f"this run cannot start yet: {missing}"]
    check_config(workdir, config)
    listed = data.class_agnostic or (bool(data.classes) and Path(data.classes).exists())
    if listed or (annotated and not data.classes):
        classes: tuple[str, ...] = load_classes(config)
        count = len(classes)
    else:
        classes, count = (), data.class_count or 1
        if not data.class_count:
            notes.append("assumed: 1 class, because neither the class list nor the annotations are there")
    if not (annotated and classes):
        notes.append("windows per epoch and hours are unknown without annotations and class list")
        return Known(config, count, SEGMENT_ROWS, notes=tuple(notes))
    uncached = config.with_fields({"data.cache": ""})
    try:
        windows = TrainingWindows(annotated_subset(uncached, data.train_subset, classes, training=True), uncached)
        test = annotated_subset(uncached, data.test_subset, classes, training=False) if config.train.eval_from else None
    except UserError as error:  # such as lengths that the annotations lack, and the missing videos would tell
        notes.append(f"windows per epoch and hours are unknown: {error}")
        return Known(config, count, SEGMENT_ROWS, notes=tuple(notes))
    notes.append("windows were counted from the annotations alone; no video was opened")
    return Known(
        config=config,
        classes=count,
        segment_rows=windows.segment_rows,
        windows=len(windows.order(0)),
        steps_per_epoch=TrainingBatches(windows, config).steps_per_epoch,
        test_windows=sum(len(test.sampling.lay_out(video)) for video in test.videos.values()) if test else None,
        notes=tuple(notes),
    )
