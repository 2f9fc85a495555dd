"""Parameters of the two networks on clips before the first step: what weights give, and the rest from the seed."""

import functools
from collections.abc import Iterator
from pathlib import Path

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from adatad_jax.config.clip_fields import FinetuningConfig, PretrainingConfig
from adatad_jax.conversion.beside import ClassifierBeside, DecoderBeside, read_decoder, read_head, read_norm
from adatad_jax.conversion.networks import Network, first_parameters, network_shapes
from adatad_jax.errors import UserError
from adatad_jax.models.autoencoder import MaskedAutoencoder
from adatad_jax.models.classifier import Classifier
from adatad_jax.models.layers import Params
from adatad_jax.models.sizes import AutoencoderConfig
from adatad_jax.weights.backbone_store import LoadedBackbone, fit_backbone, refuse
from adatad_jax.weights.class_names import names_of
from adatad_jax.weights.drawing import draw_parameters
from adatad_jax.weights.from_detector import WholeDetector, about_classes, read_weights
from adatad_jax.weights.initialize import Initial

NORM = "norm"  # in the encoder, after its last block


def initialize_autoencoder(model: MaskedAutoencoder, config: PretrainingConfig) -> Initial:
    """Takes what `config.weights` holds, and draws the other parameters from the seed.

    Of the weights, the encoder is taken, with the norm after it and the decoder if they have them.

    Args:
      model: the autoencoder.
      config: of the run.

    Raises:
      UserError: the weights cannot be read, are of another kind, or do not fit the model; everything that does not fit
        is listed.
    """
    backbone = _read(config)
    if backbone is None:
        return _from_seed(model, config.seed)
    norm = read_norm(backbone.unused)
    decoder = read_decoder(backbone.vit, backbone.unused, backbone.beside, Path(config.weights))
    notes = [
        f"norm after the encoder: {'taken' if norm else 'not in the weights, starts anew'}",
        f"decoder: {'taken' if decoder else f'not in the weights, drawn from seed {config.seed}'}",
    ]
    taken, problems = {"encoder": {NORM: norm}} if norm else {}, []
    if decoder:
        taken |= decoder.params
        problems = _misfits(decoder, model.config)
        notes += _about_eps("norm of the decoder", decoder.config.head_norm_eps, model.config.head_norm_eps)
    return _assembled(model, config, backbone, taken, problems, notes)


def initialize_classifier(model: Classifier, config: FinetuningConfig, classes: tuple[str, ...]) -> Initial:
    """Takes what `config.weights` holds, and draws the other parameters from the seed.

    Of the weights, the encoder is taken. If they have a classifier whose classes are known by name, its outputs for
    classes of the run are taken, and its norm with them.

    Args:
      model: the classifier.
      config, classes: of the run.

    Raises:
      UserError: as `initialize_autoencoder`.
    """
    backbone = _read(config)
    if backbone is None:
        return _from_seed(model, config.seed)
    source = Path(config.weights)
    head = read_head(backbone.vit, backbone.unused, backbone.beside, source)
    if head is None:
        notes = [f"classifier: not in the weights, drawn from seed {config.seed}"]
        return _assembled(model, config, backbone, {}, [], notes)
    if not head.config.mean_pooling:
        notes = ["classifier: starts anew; that of the weights reads the first token, not the mean of all"]
        return _assembled(model, config, backbone, {}, [], notes)
    before = names_of(head.config.classes, backbone.beside, classes, source)
    notes = list(about_classes(before, classes, head.config.classes))
    places = {name: place for place, name in enumerate(before or ())}
    kept = [(new, places[name]) for new, name in enumerate(classes) if name in places]
    if not kept:
        return _assembled(model, config, backbone, {}, [], [*notes, "fc_norm: starts anew with the classifier"])
    notes += _about_eps("fc_norm", head.config.head_norm_eps, model.config.head_norm_eps)
    initial = _assembled(model, config, backbone, {"fc_norm": head.params["fc_norm"]}, [], notes)
    return initial._replace(params={**initial.params, "head": _with_outputs(initial.params["head"], head, kept)})


def network_tree(model: Network) -> Params:
    """Returns the tree of a network's parameters as shapes and dtypes, without positions that weights may bring."""
    leaves = {path: jax.ShapeDtypeStruct(shape, jnp.float32) for path, shape in network_shapes(model).items()}
    tree: Params = flax.traverse_util.unflatten_dict(leaves)
    return tree


def _read(config: PretrainingConfig | FinetuningConfig) -> LoadedBackbone | None:
    """Reads the weights; None if there are none."""
    if not config.weights:
        return None
    backbone = read_weights(Path(config.weights), config.weights_step)
    if isinstance(backbone, WholeDetector):
        raise UserError(
            f"{config.weights}: a whole detector, where a VideoMAE is expected: a .pth, a folder of "
            "convert/pth_to_flax.py, or the folder of a run of pre-training or fine-tuning"
        )
    return backbone


def _from_seed(model: Network, seed: int) -> Initial:
    """Draws all parameters."""
    params = draw_parameters(functools.partial(first_parameters, model), seed, lambda _: True)
    return Initial(params, f"no weights: all parameters are drawn from seed {seed}", {})


def _assembled(
    model: Network,
    config: PretrainingConfig | FinetuningConfig,
    backbone: LoadedBackbone,
    taken: Params,
    problems: list[str],
    notes: list[str],
) -> Initial:
    """Puts the encoder of the weights, and what else is taken of them, in place of a model's parameters.

    Args:
      model: of the run.
      config: of the run.
      backbone: of the weights.
      taken: part of the model's tree.
      problems: what does not fit beside the encoder.
      notes: what was taken, as text.
    """
    found, vit = flax.traverse_util.flatten_dict(taken), model.config.encoder

    def is_missing(path: tuple[str, ...]) -> bool:
        return path not in found and (path[0] != "encoder" or path[1] == NORM)

    params = draw_parameters(functools.partial(first_parameters, model), config.seed, is_missing)
    encoder = {name: leaf for name, leaf in params["encoder"].items() if name != NORM}
    merged, wrong = fit_backbone(encoder, backbone, vit)
    refuse([*wrong, *problems], vit, Path(config.weights))
    leaves = {**flax.traverse_util.flatten_dict({**params, "encoder": {**params["encoder"], **merged}}), **found}
    if backbone.adapters is not None:
        notes = ["adapters of the weights are not used: they belong to detectors", *notes]
    return Initial(flax.traverse_util.unflatten_dict(leaves), "\n".join([backbone.summary, *notes]), {})


def _misfits(decoder: DecoderBeside, model: AutoencoderConfig) -> list[str]:
    """Returns what does not fit of a decoder, one line each."""
    theirs, ours = decoder.config.decoder, model.decoder
    fields = ("width", "depth", "mlp_hidden", *(("heads",) if decoder.heads else ()))
    return [
        f"decoder's {field}: found {getattr(theirs, field)}, that of the model's size has {getattr(ours, field)}"
        for field in fields
        if getattr(theirs, field) != getattr(ours, field)
    ]


def _about_eps(name: str, before: float, now: float) -> Iterator[str]:
    """Yields a note on a norm that was trained with another epsilon."""
    if before != now:
        yield f"{name}: trained with epsilon {before:g}, computed with {now:g}"


def _with_outputs(fresh: Params, head: ClassifierBeside, kept: list[tuple[int, int]]) -> Params:
    """Returns the last layer of a classifier, with outputs of another one in some places.

    Args:
      fresh: `kernel` `[C, K]` and `bias` `[K]`.
      head: the other classifier.
      kept: places of an output, here and there.
    """
    ours, theirs = (list(places) for places in zip(*kept, strict=True))
    layer = {name: np.array(value) for name, value in fresh.items()}
    for name, value in layer.items():
        value[..., ours] = head.params["head"][name][..., theirs]
    return layer
