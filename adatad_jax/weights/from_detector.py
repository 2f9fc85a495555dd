"""A new run from a whole detector: its parameters in another model, whose classes may be others.

Averages of the trained parameters are taken, as these are what is evaluated. What fits no parameter of the new model is
an error, except for the classes: outputs of classes of the same name are taken, those of new classes start anew.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import flax.traverse_util
import jax
import numpy as np

from adatad_jax.config.build import make_vit
from adatad_jax.config.fields import Config
from adatad_jax.conversion.beside import Beside
from adatad_jax.conversion.detector import CLASSIFIER_NORM, STATE, Tensors, convert_detector
from adatad_jax.conversion.detector_backbone import Adapters
from adatad_jax.conversion.dimensions import POSITIONS, Shown, adapters_words, read_dimensions
from adatad_jax.conversion.folders import SUMMARY_FILE
from adatad_jax.conversion.layout import BACKBONE_PREFIX
from adatad_jax.conversion.names import DETECTORS, Layout, recognise
from adatad_jax.conversion.torch_file import TensorFile, read_tensors
from adatad_jax.errors import UserError, few
from adatad_jax.models.adatad import AdaTAD
from adatad_jax.models.layers import Params
from adatad_jax.models.sizes import ViTConfig
from adatad_jax.training.checkpoints import CHECKPOINTS_FOLDER
from adatad_jax.training.retention import BEST, LATEST, Choice
from adatad_jax.weights.backbone_store import (
    ADAPTERS,
    LoadedBackbone,
    adapters_note,
    backbone_of,
    insert_backbone,
    load_backbone,
)
from adatad_jax.weights.clip_run import backbone_of_run, is_clip_run, read_clip_run
from adatad_jax.weights.detector_store import StoredDetector, is_converted, read_unused
from adatad_jax.weights.load import load_trained
from adatad_jax.weights.restore import restore_config
from adatad_jax.weights.run_folder import CONFIG_FILE, FIXED_FIELDS, LOCK_FILE

CLASSIFIER = ("head", "class_tower", "out")  # the last layer, in the detector: its last axis is the classes
# Fields of which the adapters' own check says more.
ADAPTER_FIELDS = ("model.adaptation", "model.tia_blocks", "model.tia_ratio")
# Fields that may differ, but change what the parameters are given.
INPUT_FIELDS = (
    "data.sampling",
    "data.stride",
    "data.frames_per_position",
    "data.crop",
    "data.test_short_side",
    "model.regression_ranges",
)


class WholeDetector(NamedTuple):
    """A whole detector to start from.

    Attributes:
      params: the parameters of an `AdaTAD`; trained ones are averages.
      vit: its backbone.
      fields: the fields of its configuration that are known.
      classes: its class names, in the order of its outputs; None if the file holds none.
      origin: where it comes from, as text.
      unused: unused tensors of its backbone, kept for export, by the names that `LoadedBackbone.unused` has.
    """

    params: Params
    vit: ViTConfig
    fields: Mapping[str, Any]
    classes: tuple[str, ...] | None
    origin: str
    unused: Tensors


def read_weights(path: Path, step: str = LATEST) -> LoadedBackbone | WholeDetector:
    """Reads what a run may start from: a backbone, or a whole detector.

    Runs of pre-training and of clip classification give a backbone.

    Args:
      path: a folder that `convert/pth_to_flax.py` has written, the folder of a run, or a checkpoint file.
      step: which checkpoint of a run: `latest`, `best`, or a number of steps.

    Raises:
      UserError: the path is none of these, is damaged, or holds something that cannot be converted; or there is no such
        step.
    """
    if step not in (LATEST, BEST) and not (step.isascii() and step.isdecimal()):
        raise UserError(f"config.weights_step={step!r}: expected {LATEST}, {BEST} or a number of steps")
    if not _has_run_or_detector(path):
        _refuse_part_of_run(path)
        if step != LATEST:
            raise UserError(
                f"config.weights_step={step!r}: {path} is no run, so there is one set of weights; leave it out"
            )
    return read_trained(path, int(step) if step.isdecimal() else step)


def read_trained(path: Path, step: Choice = LATEST) -> LoadedBackbone | WholeDetector:
    """Reads a backbone, with what is beside it, or a whole detector.

    Args:
      path: as for `read_weights`.
      step: which checkpoint of a run, as for `read_chosen`.

    Raises:
      UserError: as `read_weights`.
    """
    if _has_run_or_detector(path):
        return backbone_of_run(read_clip_run(path, step)) if is_clip_run(path) else _of_folder(path, step)
    if step != LATEST:
        raise UserError(f"{path}: no run, but one set of weights: a step ({step}) can be chosen of a run alone")
    if path.is_dir() and not (path / CONFIG_FILE).is_file():
        return load_backbone(path)
    file = read_tensors(path)
    return _of_file(file) if recognise(file.tensors, path).layout in DETECTORS else backbone_of(file)


def _has_run_or_detector(path: Path) -> bool:
    """Tells whether a path is the folder of a run, or of a converted detector."""
    return (path / CONFIG_FILE).is_file() and any(
        (path / name).exists() for name in (CHECKPOINTS_FOLDER, SUMMARY_FILE, LOCK_FILE)
    )


def _refuse_part_of_run(path: Path) -> None:
    """Raises `UserError` for the folder of a run's checkpoints, or one of them, where the run's folder is meant."""
    for folder in (path, path.parent):
        run, is_part = folder.parent, folder.name == CHECKPOINTS_FOLDER and path.is_dir()
        if is_part and (run / CONFIG_FILE).is_file() and not (path / SUMMARY_FILE).is_file():
            raise UserError(
                f"config.weights={path}: a part of a run; give the run's folder, --config.weights={run}, and choose "
                "its checkpoint by --config.weights_step=N"
            )


def _of_folder(path: Path, step: Choice) -> WholeDetector:
    """Reads a checkpoint of a run, or a converted detector."""
    trained = load_trained(path, step=step)
    unused = read_unused(path)[STATE]
    if is_converted(path):
        unused = _of_backbone(unused)
    fields = trained.config.flat()
    return WholeDetector(
        trained.params, make_vit(trained.config.model), fields, trained.classes, trained.origin, unused
    )


def _of_file(file: TensorFile) -> WholeDetector:
    """Converts a checkpoint of the PyTorch release; names of classes are known if this package wrote it."""
    shown = read_dimensions(file.tensors, file.path)
    converted = convert_detector(file, shown.model())
    stored = StoredDetector(converted.params, converted.ema, {}, file.path.name)
    if file.record:
        config = restore_config(file.record["config"], file.path)
        vit, fields, classes = make_vit(config.model), config.flat(), tuple(file.record["classes"])
    else:
        vit, fields, classes = shown.backbone, _shown_fields(shown), None
    unused = _of_backbone(converted.unused[STATE])
    return WholeDetector(
        stored.averaged(), vit, fields, classes, f"{file.path}: {' and '.join(converted.states)}", unused
    )


def _shown_fields(shown: Shown) -> dict[str, Any]:
    """Returns the fields of a configuration that the tensors of a file show."""
    fields = {f"model.{name}": getattr(shown, name) for name in ("width", "embed", "stem", "branch", "head_convs")}
    if shown.size != "custom":
        fields["model.size"] = shown.size
    if shown.has_positions:
        fields["model.image_size"] = shown.backbone.image_size
    return fields


def _of_backbone(unused: Tensors) -> Tensors:
    """Selects the unused tensors of a detector's backbone, by the names that a backbone's file has for them."""
    return {
        key.removeprefix(BACKBONE_PREFIX): value
        for key, value in unused.items()
        if key == POSITIONS or key.startswith(CLASSIFIER_NORM)
    }


def is_left_open(path: tuple[str, ...], detector: WholeDetector, vit: ViTConfig, classes: tuple[str, ...]) -> bool:
    """Tells whether a model's parameter has to be drawn because a detector may not give all of its numbers.

    Args:
      path: of the parameter in the model's tree.
      detector: to take from.
      vit: backbone of the model.
      classes: of the model.
    """
    if path[0] == "backbone":
        return ADAPTERS in path and not detector.vit.tia_blocks
    if path[1 : 1 + len(CLASSIFIER)] != CLASSIFIER:
        return False
    if detector.classes is None:
        return _outputs(detector) != len(classes)
    return not set(classes) <= set(detector.classes)


def _outputs(detector: WholeDetector) -> int:
    """Returns for how many classes a detector has outputs."""
    found = flax.traverse_util.flatten_dict(detector.params["detector"])
    return int(found[(*CLASSIFIER, "bias")].shape[0])


def take_detector(
    params: Params, detector: WholeDetector, model: AdaTAD, config: Config, classes: tuple[str, ...]
) -> tuple[Params, str]:
    """Replaces a model's parameters by those of a detector.

    Args:
      params: of the model: freshly drawn what `is_left_open`; of all others, shapes are enough.
      detector: to take from.
      model: of the new run.
      config, classes: of the new run.

    Returns:
      The whole tree, and what was taken, as text.

    Raises:
      UserError: the model differs from the detector's in more than its classes and adapters. All fields or arrays that
        differ are listed.
    """
    source, now = Path(config.weights), config.flat()
    problems = [
        f"config.{field}={now[field]!r}: the detector has {detector.fields[field]!r}"
        for field in FIXED_FIELDS
        if field.startswith("model.")
        and field not in ADAPTER_FIELDS
        and detector.fields.get(field, now[field]) != now[field]
    ]
    if problems:
        raise UserError(
            f"{source}: this detector does not fit the configuration's model; set these fields as the detector has "
            "them, or give other weights:\n  " + "\n  ".join(problems)
        )
    backbone, about_adapters = _take_backbone(params, detector, model.vit, source)
    head, about_head = _take_head(params["detector"], detector, classes, source)
    notes = [
        f"{detector.origin}: a whole detector; optimiser and loss normaliser start afresh",
        about_adapters,
        about_head,
        *(
            f"config.{field}={now[field]!r}: the detector was trained with {detector.fields[field]!r}"
            for field in INPUT_FIELDS
            if detector.fields.get(field, now[field]) != now[field]
        ),
    ]
    return {**params, "backbone": backbone, "detector": head}, "\n".join(filter(None, notes))


def _take_backbone(params: Params, detector: WholeDetector, vit: ViTConfig, source: Path) -> tuple[Params, str]:
    """Returns the backbone's part of the tree, and what became of the adapters."""
    same = dataclasses.replace(detector.vit, drop_path=vit.drop_path) == vit
    if same and _shapes(detector.params["backbone"]) == _shapes(params["backbone"]):  # no copy of a large backbone
        return detector.params["backbone"], f"adapters are taken: {adapters_words(vit)}" if vit.tia_blocks else ""
    backbone = _loaded(detector)
    note = adapters_note(backbone, vit) or ("adapters start anew" if vit.tia_blocks else "")
    return insert_backbone(params, backbone, vit, source)["backbone"], note


def _loaded(detector: WholeDetector) -> LoadedBackbone:
    """Returns the backbone and the adapters of a detector as they are read from a converted backbone."""
    backbone, vit = detector.params["backbone"], detector.vit
    stacks: dict[tuple[str, ...], list[np.ndarray]] = {}
    rest: dict[tuple[str, ...], np.ndarray] = {}
    for path, value in flax.traverse_util.flatten_dict(backbone).items():
        if not path[0].startswith("blocks_"):
            rest[path] = value
    for first, last, _ in vit.runs():
        for path, value in flax.traverse_util.flatten_dict(backbone.get(f"blocks_{first}_{last}", {})).items():
            stacks.setdefault(path, []).append(np.asarray(value))
    whole = {path: np.concatenate(parts) for path, parts in stacks.items()}
    adapters = None
    if vit.tia_blocks:
        own = {path[1:]: value for path, value in whole.items() if path[0] == ADAPTERS}
        leaves = flax.traverse_util.unflatten_dict(own)
        adapters = Adapters(leaves, vit.tia_blocks, vit.side, vit.tia_hidden, vit.temporal)
    name = f"blocks_0_{vit.depth - 1}"
    blocks = {(name, *path): value for path, value in whole.items() if path[0] != ADAPTERS}
    return LoadedBackbone(
        params=flax.traverse_util.unflatten_dict({**rest, **blocks}),
        summary="",
        norm_eps=vit.norm_eps,
        unused=detector.unused,
        beside=Beside.of_layout(Layout.MMACTION),
        heads=vit.heads,
        image_size=vit.image_size if "pos_embed" in backbone else None,
        adapters=adapters,
    )


def _shapes(tree: Params) -> dict[tuple[str, ...], tuple[int, ...]]:
    return {path: tuple(leaf.shape) for path, leaf in flax.traverse_util.flatten_dict(tree).items()}


def _take_head(model: Params, detector: WholeDetector, classes: tuple[str, ...], source: Path) -> tuple[Params, str]:
    """Returns the detector's part of the tree, with outputs for other classes, and what became of the classes."""
    wanted = flax.traverse_util.flatten_dict(model)
    found = flax.traverse_util.flatten_dict(detector.params["detector"])
    last = {path for path in wanted if path[: len(CLASSIFIER)] == CLASSIFIER}
    problems = [
        f"detector/{'/'.join(path)}: found {np.shape(found.get(path, ()))}, the model needs {wanted[path].shape}"
        for path in sorted(wanted)
        if path not in found
        or np.shape(found[path])[: -1 if path in last else None] != wanted[path].shape[: -1 if path in last else None]
    ]
    problems += [f"detector/{'/'.join(path)}: the model has no such array" for path in sorted(found.keys() - wanted)]
    if problems:
        raise UserError(f"{source}: this detector does not fit the configuration's model:\n  " + "\n  ".join(problems))
    outputs, before = _outputs(detector), detector.classes
    if before is None and outputs == len(classes):
        return _nested(found), f"classes: {outputs}, taken for those of the class list: the file holds no names"
    places = {name: place for place, name in enumerate(before or ())}
    kept = [(new, places[name]) for new, name in enumerate(classes) if name in places]
    for path in last:
        fresh = wanted[path]
        value = np.empty(fresh.shape, fresh.dtype) if isinstance(fresh, jax.ShapeDtypeStruct) else np.array(fresh)
        for new, old in kept:
            value[..., new] = found[path][..., old]
        found[path] = value
    return _nested(found), "\n".join(about_classes(before, classes, outputs))


def about_classes(before: tuple[str, ...] | None, now: tuple[str, ...], outputs: int) -> Iterator[str]:
    """Yields what becomes of the outputs of the classes."""
    if before is None:
        yield (
            f"classifier's last layer: starts anew, with {len(now)} classes; the file has {outputs} outputs and holds "
            "no names of classes"
        )
        return
    if before == now:
        yield f"classes: the same {len(now)}"
        return
    kept, new = [name for name in now if name in before], [name for name in now if name not in before]
    if kept:
        yield f"classifier's last layer: {len(kept)} of {len(now)} classes kept, matched by name: {few(kept)}"
    if new:
        yield f"classifier's last layer: {len(new)} of {len(now)} classes start anew: {few(new)}"
    if gone := [name for name in before if name not in now]:
        yield f"classes of the weights that are gone: {len(gone)}: {few(gone)}"


def _nested(flat: Mapping[tuple[str, ...], Any]) -> Params:
    nested: Params = flax.traverse_util.unflatten_dict(flat)
    return nested
