"""Random VideoMAEs from the torch library `transformers`, and their weights under the names of other layouts."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    VideoMAEConfig,
    VideoMAEForPreTraining,
    VideoMAEForVideoClassification,
    VideoMAEModel,
)

from adatad_jax.models.encoder import PIXEL_MEAN, PIXEL_STD

# Small, in the proportions of each published size: heads, depth (a quarter), MLP ratio, patch.
PROPORTIONS: dict[str, dict[str, int]] = {
    "S": {"hidden_size": 24, "num_attention_heads": 6, "num_hidden_layers": 3, "intermediate_size": 96},
    "B": {"hidden_size": 48, "num_attention_heads": 12, "num_hidden_layers": 3, "intermediate_size": 192},
    "L": {"hidden_size": 64, "num_attention_heads": 16, "num_hidden_layers": 6, "intermediate_size": 256},
    "H": {"hidden_size": 80, "num_attention_heads": 16, "num_hidden_layers": 8, "intermediate_size": 320},
    "g": {
        "hidden_size": 176,
        "num_attention_heads": 16,
        "num_hidden_layers": 10,
        "intermediate_size": 768,  # 48/11
        "patch_size": 14,
    },
}
KINDS = {"model": VideoMAEModel, "classifier": VideoMAEForVideoClassification, "pre-training": VideoMAEForPreTraining}


def make(kind: str, size: str = "S", **changes: Any) -> Any:
    """Makes a random model with activations large enough to show small errors, for frames of two patches per side."""
    dims = PROPORTIONS[size]
    small_decoder = {
        "decoder_hidden_size": 12,
        "decoder_num_attention_heads": 2,
        "decoder_num_hidden_layers": 1,
        "decoder_intermediate_size": 24,
    }
    config = VideoMAEConfig(
        **{
            **dims,
            **small_decoder,
            "image_size": 2 * dims.get("patch_size", 16),
            "initializer_range": dims["hidden_size"] ** -0.5,
            "num_labels": 7,
            "attn_implementation": "eager",
            **changes,
        }
    )
    torch.manual_seed(0)
    model = KINDS[kind](config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:  # biases and norms start trivial
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def video(model: Any) -> tuple[np.ndarray, torch.Tensor]:
    """Returns frames `[2, 16, H, W, 3]` uint8, and the same frames as the live model takes them."""
    side = model.config.image_size
    frames = np.random.default_rng(0).integers(0, 256, (2, 16, side, side, 3), dtype=np.uint8)
    pixels = (frames.astype(np.float32) - PIXEL_MEAN) / PIXEL_STD
    return frames, torch.from_numpy(pixels.transpose(0, 1, 4, 2, 3).copy())


def features(model: Any, pixels: torch.Tensor) -> np.ndarray:
    """Returns the live encoder's output after its last block, averaged over space, `[2, 8, C]`."""
    encoder = getattr(model, "videomae", model)
    with torch.no_grad():
        last = encoder(pixels, output_hidden_states=True).hidden_states[-1]
    return last.numpy().reshape(2, 8, -1, last.shape[-1]).mean(2)


def save_bin(model: Any, folder: Path) -> None:
    """Saves a model as earlier versions of the library did: `pytorch_model.bin`, with the old bias names."""
    folder.mkdir()
    state = {
        key.replace("query.bias", "q_bias").replace("value.bias", "v_bias"): value
        for key, value in model.state_dict().items()
    }
    torch.save(state, folder / "pytorch_model.bin")
    model.config.save_pretrained(folder)


def to_original(model: Any, pre_training: bool = False) -> dict[str, torch.Tensor]:
    """Returns the live model's tensors under the names of the authors' PyTorch code."""
    live = model.state_dict()
    encoder = "videomae." if any(key.startswith("videomae.") for key in live) else ""
    front = "encoder." if pre_training else ""
    out = {}
    for kind in ("weight", "bias"):
        out[f"{front}patch_embed.proj.{kind}"] = live[f"{encoder}embeddings.patch_embeddings.projection.{kind}"]
    for i in range(model.config.num_hidden_layers):
        theirs, block = f"{encoder}encoder.layer.{i}.", f"{front}blocks.{i}."
        attention = f"{theirs}attention.attention."
        out[f"{block}attn.qkv.weight"] = torch.cat(
            [live[f"{attention}query.weight"], live[f"{attention}key.weight"], live[f"{attention}value.weight"]]
        )
        out[f"{block}attn.q_bias"] = live[f"{attention}query.bias"]
        out[f"{block}attn.v_bias"] = live[f"{attention}value.bias"]
        for kind in ("weight", "bias"):
            out[f"{block}attn.proj.{kind}"] = live[f"{theirs}attention.output.dense.{kind}"]
            out[f"{block}norm1.{kind}"] = live[f"{theirs}layernorm_before.{kind}"]
            out[f"{block}norm2.{kind}"] = live[f"{theirs}layernorm_after.{kind}"]
            out[f"{block}mlp.fc1.{kind}"] = live[f"{theirs}intermediate.dense.{kind}"]
            out[f"{block}mlp.fc2.{kind}"] = live[f"{theirs}output.dense.{kind}"]
    width = model.config.hidden_size
    for kind, shape in (("weight", (7, width)), ("bias", (7,))):
        if pre_training:
            out[f"encoder.norm.{kind}"] = torch.randn(width)
            out[f"decoder.blocks.0.norm1.{kind}"] = torch.randn(12)
        else:
            out[f"fc_norm.{kind}"] = live.get(f"fc_norm.{kind}", torch.randn(width))
            out[f"head.{kind}"] = live.get(f"classifier.{kind}", torch.randn(shape))
    if pre_training:
        out |= {"encoder_to_decoder.weight": torch.randn(12, width), "mask_token": torch.zeros(1, 1, 12)}
    return out


def to_mmaction(model: Any, prefix: str = "backbone.") -> dict[str, torch.Tensor]:
    """Returns the live model's tensors under mmaction's names."""
    out = {}
    for key, value in to_original(model).items():
        if key.startswith("head."):
            out[key.replace("head.", "cls_head.fc_cls.")] = value
        else:
            renamed = key.replace("patch_embed.proj.", "patch_embed.projection.")
            renamed = renamed.replace("mlp.fc1.", "mlp.layers.0.0.").replace("mlp.fc2.", "mlp.layers.1.")
            out[prefix + renamed] = value
    return out
