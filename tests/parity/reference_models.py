"""Our models with the weights and inputs of a reference file, read from its sidecar alone."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from adatad_jax.conversion.assembly import assemble
from adatad_jax.conversion.layout import backbone_leaves, detector_leaves
from adatad_jax.models.adatad import ActionFormer
from adatad_jax.models.backbone import Backbone
from adatad_jax.models.sizes import CHUNK_FRAMES, DetectorConfig, ViTConfig
from tests.golden import synth


def flat_shapes(tree: Any) -> dict[tuple[str, ...], tuple[int, ...]]:
    return {tuple(k.key for k in path): leaf.shape for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def synthetic_state(sidecar: dict[str, Any]) -> dict[str, np.ndarray]:
    return synth.synth_state({row["key"]: row["shape"] for row in sidecar["keys"]}, sidecar["seed"])


def to_frames(channels_first: np.ndarray) -> np.ndarray:
    """`[B, 1, 3, T, H, W]` -> `[B, T, H, W, 3]`."""
    return channels_first[:, 0].transpose(0, 2, 3, 4, 1)


def vit_config(upstream: dict[str, Any], state: dict[str, np.ndarray], prefix: str) -> ViTConfig:
    blocks = tuple(upstream.get("adapter_index", ()))
    side = upstream["type"] == "VisionTransformerLadder"
    first = "ladders.adapters.0" if side else f"blocks.{blocks[0]}.adapter" if blocks else ""
    hidden = state[f"{prefix}{first}.down_proj.weight"].shape[0] if blocks else 0
    return ViTConfig(
        width=upstream["embed_dims"],
        depth=upstream["depth"],
        heads=upstream["num_heads"],
        mlp_hidden=int(upstream["embed_dims"] * upstream["mlp_ratio"]),
        patch=upstream["patch_size"],
        image_size=upstream["img_size"],
        tia_blocks=blocks,
        tia_hidden=hidden,
        side=side,
        drop_path=upstream["drop_path_rate"],
    )


def vit_params(config: ViTConfig, state: dict[str, np.ndarray], prefix: str) -> dict[str, Any]:
    """Backbone parameters from the tensors behind `prefix`."""
    frames = jax.ShapeDtypeStruct((1, CHUNK_FRAMES, config.image_size, config.image_size, 3), jnp.uint8)
    shapes = jax.eval_shape(Backbone(config).init, jax.random.key(0), frames)["params"]
    backbone = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    leaves = backbone_leaves(config)
    params, used = assemble(leaves, flat_shapes(shapes), backbone, Path("ref"), ["fc_norm.weight", "fc_norm.bias"])
    assert used == len([key for key in backbone if "fc_norm" not in key])
    return params


def detector_config(upstream: dict[str, Any]) -> DetectorConfig:
    projection, head = upstream["projection"], upstream["rpn_head"]
    embed, stem, branch = projection["arch"]
    window = projection["attn_cfg"]["n_mha_win_size"]
    windows = window if isinstance(window, list) else [window] * (branch + 1)
    config = DetectorConfig(
        classes=head["num_classes"],
        width=projection["out_channels"],
        heads=projection["attn_cfg"]["n_head"],
        embed=embed,
        stem=stem,
        branch=branch,
        windows=tuple(None if w <= 1 else w for w in windows),
        absolute_positions=projection["use_abs_pe"],
        max_length=projection["max_seq_len"],
        head_convs=head["num_convs"],
        regression_ranges=tuple(tuple(r) for r in head["prior_generator"]["regression_range"]),
        drop_path=projection["path_pdrop"],
        dropout=0.0,
        input_dropout=0.0,
    )
    assert config.strides == tuple(head["prior_generator"]["strides"])
    return config


def detector_params(config: DetectorConfig, state: dict[str, np.ndarray], in_channels: int) -> dict[str, Any]:
    features = jax.ShapeDtypeStruct((1, config.max_length, in_channels), jnp.float32)
    mask = jax.ShapeDtypeStruct((1, config.max_length), bool)
    shapes = jax.eval_shape(ActionFormer(config).init, jax.random.key(0), features, mask)["params"]
    detector = {k: v for k, v in state.items() if not k.startswith("backbone.")}
    params, used = assemble(detector_leaves(config), flat_shapes(shapes), detector, Path("reference"))
    assert used == len(detector)
    return params
