"""Folders of runs on clips with random parameters, and files of live VideoMAEs of the same size."""

from pathlib import Path
from typing import Any

import flax.traverse_util
import jax
import numpy as np

from adatad_jax.config.build_clips import make_autoencoder, make_classifier
from adatad_jax.config.clip_fields import FinetuningConfig, PretrainingConfig
from adatad_jax.conversion.networks import Network, network_shapes
from adatad_jax.training import checkpoints
from adatad_jax.training.state import TrainState
from adatad_jax.weights.frozen import write_frozen
from adatad_jax.weights.run_folder import write_config
from tests.conversion import live_models

CLASSES = ("dance", "jump", "wave")
STEP = 30
FIELDS: dict[str, Any] = {
    "data.crop": 32,
    "data.short_side": 32,
    "data.stride": 2,
    "model.size": "tiny",
    "model.image_size": 32,
    "model.dtype": "float32",
}
# Of size "tiny", as transformers has them.
DIMENSIONS: dict[str, Any] = {
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 256,
    "decoder_hidden_size": 32,
    "decoder_num_hidden_layers": 2,
    "decoder_num_attention_heads": 2,
    "decoder_intermediate_size": 128,
    "image_size": 32,
    "layer_norm_eps": 1e-6,
    "num_labels": 3,
}


def pretraining(**fields: Any) -> PretrainingConfig:
    return PretrainingConfig().with_fields({**FIELDS, **{key.replace("__", "."): one for key, one in fields.items()}})


def finetuning(**fields: Any) -> FinetuningConfig:
    return FinetuningConfig().with_fields({**FIELDS, **{key.replace("__", "."): one for key, one in fields.items()}})


def live(kind: str, **changes: Any) -> Any:
    return live_models.make(kind, **{**DIMENSIONS, "use_mean_pooling": kind != "pre-training", **changes})


def random_params(model: Network, positions: bool = False) -> dict[str, Any]:
    """Draws parameters of a network; with positions, a table of its own is among them."""
    rng = np.random.default_rng(0)
    shapes = dict(network_shapes(model))
    if positions:
        shapes["encoder", "pos_embed"] = (8 * 4, 64)
    leaves = {path: rng.normal(0, 0.2, shape).astype(np.float32) for path, shape in shapes.items()}
    params: dict[str, Any] = flax.traverse_util.unflatten_dict(leaves)
    return params


def make_run(
    folder: Path,
    config: PretrainingConfig | FinetuningConfig,
    classes: tuple[str, ...] = (),
    positions: bool = False,
) -> dict[str, Any]:
    """Writes a run's folder with a checkpoint, and returns the averages that it holds."""
    is_classifier = isinstance(config, FinetuningConfig)
    model = make_classifier(config, len(classes)) if is_classifier else make_autoencoder(config)
    params = random_params(model, positions)
    frozen = {"encoder": {"pos_embed": params["encoder"].pop("pos_embed")}} if positions else {}
    average = jax.tree.map(lambda leaf: 2 * leaf, params)
    state = TrainState(
        step=np.int32(STEP),
        trained=params,
        frozen=frozen,
        average=average,
        optimizer={"moment": np.zeros(2, np.float32)},
        normalizer=np.float32(1),
        key=np.zeros(2, np.uint32),
    )
    folder.mkdir(parents=True)
    write_config(folder, config, classes)
    write_frozen(folder, frozen)
    with checkpoints.open_manager(folder, keep=1) as manager:
        checkpoints.save(manager, STEP, state, {"epoch": 3})
    encoder = {**average["encoder"], **frozen.get("encoder", {})}
    return {**average, "encoder": encoder}


def flat(params: Any) -> dict[str, np.ndarray]:
    leaves: dict[str, np.ndarray] = flax.traverse_util.flatten_dict(params, sep="/")
    return leaves


def same(one: Any, other: Any) -> None:
    """Checks that two trees have the same leaves, bit for bit."""
    first, second = flat(one), flat(other)
    assert first.keys() == second.keys()
    for path, leaf in first.items():
        np.testing.assert_array_equal(leaf, second[path], err_msg=path)
