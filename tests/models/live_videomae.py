"""Live VideoMAEs of `transformers` beside ours, with the same weights and gradients under the same names."""

from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import torch

from adatad_jax.conversion.names import Naming, network_naming, recognise
from adatad_jax.models.sizes import AutoencoderConfig, ClassifierConfig, ViTConfig

SOURCE = Path("live model")
SIDE = 48  # nine patches of 16 pixels


def state(live: Any) -> dict[str, np.ndarray]:
    return {key: value.detach().numpy() for key, value in live.state_dict().items()}


def naming(live: Any) -> Naming:
    return network_naming(recognise(live.state_dict(), SOURCE))


def encoder_config(live: Any) -> ViTConfig:
    config = live.config
    return ViTConfig(
        width=config.hidden_size,
        depth=config.num_hidden_layers,
        heads=config.num_attention_heads,
        mlp_hidden=config.intermediate_size,
        image_size=config.image_size,
        norm_eps=config.layer_norm_eps,
    )


def autoencoder_config(live: Any) -> AutoencoderConfig:
    config = live.config
    decoder = ViTConfig(
        width=config.decoder_hidden_size,
        depth=config.decoder_num_hidden_layers,
        heads=config.decoder_num_attention_heads,
        mlp_hidden=config.decoder_intermediate_size,
        image_size=config.image_size,
        norm_eps=config.layer_norm_eps,
    )
    return AutoencoderConfig(encoder_config(live), decoder, not config.use_mean_pooling, live.decoder.norm.eps)


def classifier_config(live: Any) -> ClassifierConfig:
    eps = live.fc_norm.eps if live.config.use_mean_pooling else 1e-5
    return ClassifierConfig(encoder_config(live), live.config.num_labels, live.config.use_mean_pooling, eps)


def assert_same_gradients(ours: dict[str, np.ndarray], live: Any, tolerance: float) -> None:
    """Compares gradients under the live model's names: the relative L2 distance of every tensor."""
    theirs = {name: p.grad.numpy() for name, p in live.named_parameters() if p.grad is not None}
    assert ours.keys() == theirs.keys()
    for name, expected in theirs.items():
        size = np.linalg.norm(expected)
        assert size > 0, name
        assert np.linalg.norm(ours[name] - expected) <= tolerance * size, name


def random_params(module: nn.Module, *arguments: Any) -> dict[str, Any]:
    """Returns parameters of a module's shapes; drawing them by its own initialisers takes seconds to compile."""
    shapes = jax.eval_shape(module.init, jax.random.key(0), *arguments)["params"]
    rng = np.random.default_rng(0)
    params: dict[str, Any] = jax.tree.map(lambda leaf: rng.normal(0, 0.2, leaf.shape).astype(np.float32), shapes)
    return params


def on_host(tree: Any) -> Any:
    return jax.tree.map(np.asarray, tree)


def boolean(masked: np.ndarray, tokens: int) -> torch.Tensor:
    """Returns the mask in the live model's form, `[N, tokens]` bool."""
    out = np.zeros((len(masked), tokens), bool)
    np.put_along_axis(out, masked, True, axis=1)
    return torch.from_numpy(out)
