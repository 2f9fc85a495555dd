"""One checkpoint of PyTorch's world, backbone or whole detector, to one folder of ours; a `.pth` needs torch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from adatad_jax import cli
from adatad_jax.config.fields import make_model, open_fields
from adatad_jax.conversion.detector import Detector, convert_detector
from adatad_jax.conversion.dimensions import Shown, misfits, read_dimensions
from adatad_jax.conversion.folders import ACCOUNT_FILE, refuse_existing
from adatad_jax.conversion.names import Layout, recognise
from adatad_jax.conversion.torch_file import TensorFile, read_tensors
from adatad_jax.conversion.videomae import convert_backbone
from adatad_jax.data.dataset import load_classes
from adatad_jax.errors import UserError
from adatad_jax.weights.backbone_store import save_backbone
from adatad_jax.weights.detector_store import save_detector
from adatad_jax.weights.load import check_classes, restore_config

LABELS_SHOWN = 20
DETECTORS = (Layout.DETECTOR, Layout.SIDE_DETECTOR)


class Choice(NamedTuple):
    """How a detector file is to be read: what its tensors do not show.

    Attributes:
      config, classes: to evaluate and detect with.
      words: where the configuration comes from.
    """

    config: ConfigDict
    classes: tuple[str, ...]
    words: str


def convert_file(
    source: Path,
    output: Path | None = None,
    config: ConfigDict | None = None,
    published: Sequence[Path] = (),
    overrides: Sequence[str] = (),
) -> str:
    """Converts a checkpoint, whose layout and size are recognised; returns the account in words.

    Args:
      source: `.pth`, `.bin`, `.safetensors` or a Hugging Face directory.
      output: the folder to write; None writes nothing.
      config: of a whole detector; None tries the `published` ones.
      published: configuration files.
      overrides: `--config.FIELD=VALUE`, for the published ones.

    Raises:
      UserError: the file is not what it should be, the configuration does not fit it or cannot be told, or the output
        exists; nothing is left behind.
    """
    if output is not None:
        refuse_existing(output)
    if (source / ACCOUNT_FILE).is_file():
        raise UserError(
            f"{source}: converted already; give a backbone to training (--config.weights={source}), a detector to "
            f"evaluation and detection (--checkpoint={source})"
        )
    file = read_tensors(source)
    layout = recognise(file.tensors, source).layout
    if layout in DETECTORS:
        account = _convert_detector(file, layout, output, config, published, overrides)
    elif config is not None or overrides:
        raise UserError(f"{source}: {layout.value}, a backbone alone: --config is for whole detectors; leave it out")
    else:
        backbone = convert_backbone(file)
        account = backbone.account()
        if output is not None:
            save_backbone(output, backbone)
    return f"{source}\n{account}\n" + (f"wrote    {output}" if output is not None else "dry run: nothing written")


def _convert_detector(
    file: TensorFile,
    layout: Layout,
    output: Path | None,
    config: ConfigDict | None,
    published: Sequence[Path],
    overrides: Sequence[str],
) -> str:
    shown = read_dimensions(file.tensors, file.path)
    choice, undecided = None, ""
    try:
        choice = choose_config(shown, file.path, config, published, overrides, file.record)
    except UserError as error:
        # A dry run still says all that the file shows by itself; a configuration that was given has to fit.
        if output is not None or config is not None:
            raise
        undecided = str(error).removeprefix(f"{file.path}: ")
    model = make_model(choice.config, len(choice.classes)) if choice else shown.model()
    detector = convert_detector(file, model)
    account = "\n".join(
        [
            f"layout   {layout.value}, {shown}",
            f"config   {choice.words if choice else f'not decided: {undecided}'}",
            *([f"classes  {_some(choice.classes)}"] if choice else []),
            detector.account(),
        ]
    )
    if output is not None and choice:
        record = {
            "source": file.path.name,
            "layout": layout.value,
            "size": shown.size,
            "config": choice.words,
            "states": detector.states,
            "read": detector.read,
            "mapped": detector.mapped,
            "groups": detector.groups,
            "kept": detector.kept,
            "account": account,
        }
        save_detector(output, detector, choice.config, choice.classes, record)
    return account


def read_detector(
    source: Path, config: ConfigDict | None, published: Sequence[Path], overrides: Sequence[str] = ()
) -> tuple[Detector, Choice]:
    """Converts a whole detector in memory; arguments and errors as for `convert_file`."""
    file = read_tensors(source)
    layout = recognise(file.tensors, source).layout
    if layout not in DETECTORS:
        raise UserError(
            f"{source}: {layout.value}, a backbone alone: it can detect nothing before it is trained; give it as "
            "--config.weights to python -m adatad_jax.train, or give a whole detector here"
        )
    choice = choose_config(read_dimensions(file.tensors, source), source, config, published, overrides, file.record)
    return convert_detector(file, make_model(choice.config, len(choice.classes))), choice


def choose_config(
    shown: Shown,
    source: Path,
    config: ConfigDict | None,
    published: Sequence[Path],
    overrides: Sequence[str] = (),
    record: Mapping[str, Any] | None = None,
) -> Choice:
    """The configuration given, or the file's own, or the only published one that it fits; with its class list.

    Args:
      shown: what the tensors show.
      source: the file.
      config, published, overrides: as for `convert_file`.
      record: the file's own configuration and classes, where this package wrote it (`TensorFile.record`).

    Raises:
      UserError: the one given does not fit (every field is listed); none of the published ones fits, or several do;
        there is no class list, which no file of the release holds, or it is of another length.
    """
    words = "as given"
    own = tuple(record["classes"]) if record else ()
    if config is None and record:
        if overrides:
            raise UserError(f"{' '.join(overrides)}: to change fields of {source}, give --config too")
        config, words = restore_config(record["config"], source), "its own"
        if problems := misfits(shown, config, len(own)):
            raise UserError(
                f"{source}: its tensors do not fit the configuration that it holds:\n  " + "\n  ".join(problems)
            )
        return Choice(config, own, words)
    if config is None:
        candidates = {path: cli.load_config(path, overrides) for path in sorted(published)}
        candidates = {path: c for path, c in candidates.items() if not c.propose}
        fitting = {path: c for path, c in candidates.items() if not misfits(shown, c, _count_classes(c))}
        if len(fitting) != 1:
            raise UserError(_undecided(shown, source, fitting, len(candidates)))
        ((path, config),) = fitting.items()
        words = f"{path}, the only one that fits of {len(candidates)} in {path.parent}"
    elif missing := open_fields(config):
        raise UserError(
            f"{source}: the configuration leaves open how the checkpoint was trained; set config."
            f"{', config.'.join(missing)}"
        )
    elif problems := misfits(shown, config, len(own) or _count_classes(config)):
        raise UserError(
            f"{source}: the configuration does not fit this checkpoint; set these fields, or give another --config:\n  "
            + "\n  ".join(problems)
        )
    if own:
        check_classes(source, own, config)
        return Choice(config, own, words)
    if not _classes_at_hand(config):
        raise UserError(
            f"{source}: has {shown.classes} classes, but does not hold their names, and the class list of the "
            f"configuration ({words}) is not there: config.data.classes={config.data.classes!r}. Give "
            f"--config.data.classes=FILE: {shown.classes} labels, one a line, in the order of the training"
        )
    return Choice(config, load_classes(config), words)


def _undecided(shown: Shown, source: Path, fitting: dict[Path, ConfigDict], tried: int) -> str:
    """Why no published configuration could be chosen, and what to do."""
    if not fitting:
        return (
            f"{source}: fits none of the {tried} configurations at hand. Give the one it was trained with, "
            f"--config=FILE (and --config.FIELD=VALUE). The file shows\n  {shown}"
        )
    lines = []
    for path, config in fitting.items():
        mean = f"published mAP {config.published:g}" if config.published else "no mAP published"
        absent = "" if _count_classes(config) else f"; {config.data.classes or 'its class list'} is not there to count"
        lines.append(f"{path} ({mean}{absent})")
    return (
        f"{source}: fits {len(fitting)} configurations, and its tensors do not tell which; choose one with "
        "--config=FILE:\n  " + "\n  ".join(lines)
    )


def _some(labels: tuple[str, ...]) -> str:
    """The first labels, and how many there are."""
    return f"{len(labels)}: {', '.join(labels[:LABELS_SHOWN])}{', ...' if len(labels) > LABELS_SHOWN else ''}"


def _count_classes(config: ConfigDict) -> int | None:
    """Number of classes of a configuration; None where nothing says it: no count, no class list, no annotations."""
    data = config.data
    if data.class_count:
        return int(data.class_count)
    return len(load_classes(config)) if _classes_at_hand(config) else None


def _classes_at_hand(config: ConfigDict) -> bool:
    """Whether the class list of a configuration, or the annotations in its place, are there to be read."""
    data = config.data
    return data.class_agnostic or Path(data.classes or data.annotations).is_file()
