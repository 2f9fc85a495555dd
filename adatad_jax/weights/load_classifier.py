"""Reading of a trained clip classifier from a run's folder, a converted folder, or a VideoMAE checkpoint."""

import dataclasses
from pathlib import Path
from typing import NamedTuple

from adatad_jax.classification.kinetics import kinetics_400
from adatad_jax.config.clip_fields import LabelledClipsConfig
from adatad_jax.conversion.beside import has_decoder, read_head, read_norm
from adatad_jax.data.annotations import read_classes
from adatad_jax.errors import UserError
from adatad_jax.models.classifier import Classifier
from adatad_jax.models.layers import Params
from adatad_jax.training.retention import LATEST, Choice
from adatad_jax.weights.backbone_store import LoadedBackbone
from adatad_jax.weights.class_names import check_number
from adatad_jax.weights.from_detector import WholeDetector, read_trained


class TrainedClassifier(NamedTuple):
    """What the classification of clips needs of a trained classifier.

    Attributes:
      model: the classifier, which computes in float32.
      params: its parameters on the host, float32; averages, if it is of a run.
      classes: the K class names, in the order of the model's outputs.
      crop: side of the model's frames, pixels.
      stride: source frames from one frame of a clip to the next.
      origin: where the parameters, the names and the two numbers come from, as text.
    """

    model: Classifier
    params: Params
    classes: tuple[str, ...]
    crop: int
    stride: int
    origin: str


def load_classifier(path: Path, step: Choice = LATEST, classes: Path | None = None) -> TrainedClassifier:
    """Reads a trained classifier.

    Args:
      path: the folder of a fine-tuning run, a folder that `convert/pth_to_flax.py` has written, or a VideoMAE
        checkpoint of any layout.
      step: which checkpoint of a run, as for `read_chosen`.
      classes: file with the names of the classes, one per line. Without one they are the run's, those that the file
        holds if this package wrote it, those of Kinetics-400 for 400 outputs, or else "class 0", "class 1", ...

    Raises:
      UserError: there is no classifier (the message says what there is), it is not whole, or the list of classes has
        another length.
    """
    found = read_trained(path, step)
    if isinstance(found, WholeDetector):
        raise UserError(f"{path}: a detector; it has no classifier of clips: use it with detect or evaluate")
    head = read_head(found.vit, found.unused, found.beside, path)
    if head is None:
        raise UserError(
            f"{path}: has no classifier: it holds an encoder{_rest(found)}; fine-tune one from it: python -m "
            f"adatad_jax.finetune --config.weights={path}"
        )
    if found.heads is None:
        raise UserError(
            f"{path}: an encoder of width {found.vit.width}, whose attention heads no tensor shows; a config.json of "
            "Hugging Face beside the weights would"
        )
    encoder = dict(found.params)
    if not head.config.mean_pooling:
        norm = read_norm(found.unused)
        if norm is None:
            raise UserError(f"{path}: the classifier is not whole: neither fc_norm nor a norm after the encoder")
        encoder["norm"] = norm
    names, about_names = _names(path, found, head.config.classes, classes)
    beside, defaults = found.beside, LabelledClipsConfig()
    model = Classifier(dataclasses.replace(head.config, encoder=found.vit))
    return TrainedClassifier(
        model,
        {"encoder": encoder, **head.params},
        names,
        beside.crop or found.vit.image_size,
        beside.stride or defaults.stride,
        f"{path}: {found.origin}, {len(names)} classes {about_names}",
    )


def _names(path: Path, found: LoadedBackbone, outputs: int, given: Path | None) -> tuple[tuple[str, ...], str]:
    """Returns the names of the outputs, and where they come from, as text."""
    if given is not None:
        names = read_classes(given)
        check_number(outputs, names, path, str(given))
        return names, f"named by {given}"
    if found.beside.classes is not None:
        check_number(outputs, found.beside.classes, path, "its record")
        return found.beside.classes, "with their names"
    kinetics = kinetics_400()
    if outputs == len(kinetics):
        return kinetics, "taken for those of Kinetics-400, as it holds no names"
    return tuple(f"class {place}" for place in range(outputs)), "without names: give a list of them"


def _rest(found: LoadedBackbone) -> str:
    """Says what weights hold beside an encoder that is no classifier."""
    return " and the decoder of masked pre-training" if has_decoder(found.unused) else " alone"
