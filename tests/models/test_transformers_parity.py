"""The backbone against a live PyTorch VideoMAE (transformers) with random weights."""

from pathlib import Path

import jax
import numpy as np
import pytest
import torch
from transformers import VideoMAEConfig, VideoMAEModel

from adatad_jax.conversion.torch_file import TensorFile
from adatad_jax.conversion.videomae import convert_backbone
from adatad_jax.models.backbone import Backbone
from adatad_jax.models.encoder import PIXEL_MEAN, PIXEL_STD
from adatad_jax.models.sizes import ViTConfig

pytestmark = pytest.mark.usefixtures("fully_compiled")


def to_mmaction(model: VideoMAEModel) -> dict[str, np.ndarray]:
    """Returns the live model's weights under mmaction's names."""
    state = {key: value.detach().numpy() for key, value in model.state_dict().items()}
    out = {f"patch_embed.projection.{kind}": state[f"embeddings.patch_embeddings.projection.{kind}"] for kind in KINDS}
    for i in range(model.config.num_hidden_layers):
        theirs, ours = f"encoder.layer.{i}.", f"blocks.{i}."
        qkv = [state[f"{theirs}attention.attention.{name}.weight"] for name in ("query", "key", "value")]
        out[f"{ours}attn.qkv.weight"] = np.concatenate(qkv)
        out[f"{ours}attn.q_bias"] = state[f"{theirs}attention.attention.query.bias"]
        out[f"{ours}attn.v_bias"] = state[f"{theirs}attention.attention.value.bias"]
        for name, source in NAMES.items():
            for kind in KINDS:
                out[f"{ours}{name}.{kind}"] = state[f"{theirs}{source}.{kind}"]
    return out


KINDS = ("weight", "bias")
NAMES = {
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
    "attn.proj": "attention.output.dense",
    "mlp.layers.0.0": "intermediate.dense",
    "mlp.layers.1": "output.dense",
}


def test_vit_with_tia_at_its_start_equals_live_torch_model() -> None:
    config = VideoMAEConfig(
        image_size=48,
        hidden_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=192,
        layer_norm_eps=ViTConfig.norm_eps,
        use_mean_pooling=True,  # no final norm
        initializer_range=0.2,  # activations large enough to tell erf from tanh GELU
        attn_implementation="eager",
    )
    torch.manual_seed(0)
    live = VideoMAEModel(config).eval()
    with torch.no_grad():
        for parameter in live.parameters():
            if parameter.ndim == 1:  # biases and norms start trivial
                parameter.add_(0.1 * torch.randn_like(parameter))
    frames = np.random.default_rng(0).integers(0, 256, (2, 16, 48, 48, 3), dtype=np.uint8)
    pixels = (frames.astype(np.float32) - PIXEL_MEAN) / PIXEL_STD
    with torch.no_grad():
        expected = live(torch.from_numpy(pixels.transpose(0, 1, 4, 2, 3))).last_hidden_state.numpy()
    expected = expected.reshape(2, 8, 9, 64).mean(2)

    backbone = convert_backbone(TensorFile(Path("live model"), to_mmaction(live), {}, {}))
    ours = ViTConfig(width=64, depth=3, heads=4, mlp_hidden=192, image_size=48, tia_blocks=(0, 1, 2), tia_hidden=16)
    fresh = jax.jit(Backbone(ours).init)(jax.random.key(0), frames)["params"]
    blocks = {**backbone.params["blocks_0_2"], "tia": fresh["blocks_0_2"]["tia"]}
    params = {"patch_embed": backbone.params["patch_embed"], "blocks_0_2": blocks}
    features = jax.jit(Backbone(ours).apply)({"params": params}, frames)
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(features, expected, rtol=0, atol=5e-5)
