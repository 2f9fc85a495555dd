"""Conversion of one PyTorch checkpoint, backbone or whole detector, to a folder of this package; `.pth` needs torch."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from adatad_jax.config.build import make_model
from adatad_jax.config.fields import Config
from adatad_jax.conversion.detector import ConvertedDetector, convert_detector
from adatad_jax.conversion.detector_backbone import take_backbone
from adatad_jax.conversion.dimensions import read_dimensions
from adatad_jax.conversion.folders import SUMMARY_FILE, refuse_existing
from adatad_jax.conversion.names import DETECTORS, Layout, recognise
from adatad_jax.conversion.torch_file import TensorFile, foreign_note, read_tensors
from adatad_jax.conversion.videomae import convert_backbone
from adatad_jax.errors import UserError
from adatad_jax.weights.backbone_store import save_backbone
from adatad_jax.weights.choose_config import ChosenConfig, choose_config
from adatad_jax.weights.detector_store import save_detector

LABELS_SHOWN = 20


def convert_file(
    source: Path,
    output: Path | None = None,
    config: Config | None = None,
    published: Sequence[Path] = (),
    overrides: Sequence[str] = (),
    backbone_only: bool = False,
) -> str:
    """Converts a checkpoint. Its layout and size are recognised from its tensors.

    Args:
      source: a `.pth`, `.bin` or `.safetensors` file, or a Hugging Face folder.
      output: the folder to write; None writes nothing.
      config: of a whole detector; None tries the `published` ones.
      published: configuration files.
      overrides: `--config.FIELD=VALUE`, for the published ones.
      backbone_only: whether to take the backbone and the adapters alone out of a detector, whatever its head.

    Returns:
      The conversion summary, as text.

    Raises:
      UserError: the checkpoint is damaged or of an unknown layout, the configuration does not fit it or cannot be
        determined, or the output exists. Nothing is written then.
    """
    if output is not None:
        refuse_existing(output)
    if (source / SUMMARY_FILE).is_file():
        raise UserError(
            f"{source}: converted already; give a backbone to training (--config.weights={source}), a detector to "
            f"evaluation and detection (--checkpoint={source})"
        )
    file = read_tensors(source)
    taken = take_backbone(file) if backbone_only else None
    file = taken.file if taken else file
    layout = recognise(file.tensors, source).layout
    if layout in DETECTORS:
        summary = _convert_detector(file, layout, output, config, published, overrides)
    elif config is not None or overrides:
        raise UserError(f"{source}: {layout.value}, a backbone alone: --config is for whole detectors; leave it out")
    else:
        backbone = convert_backbone(file)
        if taken:
            backbone = replace(backbone, adapters=taken.adapters, notes=(taken.note, *backbone.notes))
        summary = backbone.summary()
        if output is not None:
            save_backbone(output, backbone)
    return f"{source}\n{summary}\n" + (f"wrote    {output}" if output is not None else "dry run: nothing written")


def _convert_detector(
    file: TensorFile,
    layout: Layout,
    output: Path | None,
    config: Config | None,
    published: Sequence[Path],
    overrides: Sequence[str],
) -> str:
    """Converts a whole detector and returns the conversion summary."""
    shown = read_dimensions(file.tensors, file.path)
    choice, undecided = None, ""
    try:
        choice = choose_config(shown, file.path, config, published, overrides, file.record)
    except UserError as error:
        # A dry run still reports what the tensors show. A given configuration has to fit even then.
        if output is not None or config is not None:
            raise
        undecided = str(error).removeprefix(f"{file.path}: ")
    model = make_model(choice.config, len(choice.classes)) if choice else shown.model()
    detector = convert_detector(file, model)
    summary = "\n".join(
        [
            f"layout   {layout.value}, {shown}",
            f"config   {choice.words if choice else f'not decided: {undecided}'}",
            *([f"classes  {_some(choice.classes)}"] if choice else []),
            detector.summary(),
            *([f"foreign  {foreign_note(file)}"] if file.foreign else []),
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
            "account": summary,
        }
        save_detector(output, detector, choice.config, choice.classes, record)
    return summary


def read_detector(
    source: Path, config: Config | None, published: Sequence[Path], overrides: Sequence[str] = ()
) -> tuple[ConvertedDetector, ChosenConfig]:
    """Converts a whole detector in memory.

    Args:
      source, config, published, overrides: as for `convert_file`.

    Returns:
      The detector, and the configuration and class list that were chosen for it.

    Raises:
      UserError: as for `convert_file`, or the checkpoint is a backbone.
    """
    file = read_tensors(source)
    layout = recognise(file.tensors, source).layout
    if layout not in DETECTORS:
        raise UserError(
            f"{source}: {layout.value}, a backbone alone: it can detect nothing before it is trained; give it as "
            "--config.weights to python -m adatad_jax.train, or give a whole detector here"
        )
    choice = choose_config(read_dimensions(file.tensors, source), source, config, published, overrides, file.record)
    return convert_detector(file, make_model(choice.config, len(choice.classes))), choice


def _some(labels: tuple[str, ...]) -> str:
    """Returns the number of labels and the first few of them, as text."""
    return f"{len(labels)}: {', '.join(labels[:LABELS_SHOWN])}{', ...' if len(labels) > LABELS_SHOWN else ''}"
