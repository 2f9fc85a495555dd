"""The whole detector: frames -> chunks -> features -> pyramid -> class logits and boundary distances."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from adatad_jax.models.backbone import Backbone
from adatad_jax.models.head import Head, Neck
from adatad_jax.models.layers import Dtype, dropout
from adatad_jax.models.positions import resize_time
from adatad_jax.models.projection import Projection
from adatad_jax.models.sizes import DetectorConfig, ViTConfig


class Predictions(NamedTuple):
    """Per pyramid level l, on B windows: logits `[B, T_l, K]`, distances `[B, T_l, 2]` in strides, masks `[B, T_l]`."""

    logits: list[jax.Array]
    distances: list[jax.Array]
    masks: list[jax.Array]


class ActionFormer(nn.Module):
    """The detector on features: padding, projection, neck, head."""

    config: DetectorConfig
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, features: jax.Array, mask: jax.Array, sample_ids: jax.Array | None = None) -> Predictions:
        """Detects on window features.

        Args:
          features: `[B, T, C]` float32. Positions past the window's valid ones keep their features.
          mask: `[B, T]` bool, true = valid.
          sample_ids: `[B]` int in training, each window's index in the global batch; None draws no stochastic depth.
        """
        cfg = self.config
        length = features.shape[1]
        if length > cfg.max_length and sample_ids is not None:
            raise ValueError(f"features {features.shape}: training windows have at most {cfg.max_length} positions")
        padded = cfg.max_length if length <= cfg.max_length else -(-length // cfg.length_factor) * cfg.length_factor
        features = jnp.pad(features, ((0, 0), (0, padded - length), (0, 0)))
        mask = jnp.pad(mask, ((0, 0), (0, padded - length)))
        if sample_ids is not None and cfg.input_dropout:
            channels = (1, features.shape[2])
            features = dropout(features, cfg.input_dropout, self.make_rng("dropout"), sample_ids, channels)
        levels, masks = Projection(
            width=cfg.width,
            heads=cfg.heads,
            embed=cfg.embed,
            stem=cfg.stem,
            branch=cfg.branch,
            windows=cfg.windows,
            absolute_positions=cfg.absolute_positions,
            max_length=cfg.max_length,
            drop_path=cfg.drop_path,
            dropout=cfg.dropout,
            dtype=self.dtype,
            name="projection",
        )(features, mask, sample_ids)
        levels = Neck(name="neck")(levels)
        logits, distances = Head(cfg.classes, cfg.width, cfg.head_convs, self.dtype, name="head")(levels, masks)
        return Predictions(logits, distances, masks)


class AdaTAD(nn.Module):
    """Frames to per-level predictions, end to end.

    Parameters: `backbone` (frozen but for its `tia` leaves) and `detector` (`projection`, `neck`, `head`).
    """

    vit: ViTConfig
    detector_config: DetectorConfig
    dtype: Dtype = jnp.float32
    remat: bool = False
    unroll: bool = False

    def setup(self) -> None:
        self.backbone = Backbone(self.vit, self.dtype, self.remat, self.unroll)
        self.detector = ActionFormer(self.detector_config, self.dtype)

    def features(self, frames: jax.Array, positions: int, sample_ids: jax.Array | None = None) -> jax.Array:
        """uint8 frames `[B, T, H, W, 3]` -> `[B, positions, C]` float32, one feature per grid position."""
        return resize_time(self.backbone(frames, sample_ids), positions)

    def __call__(self, frames: jax.Array, mask: jax.Array, sample_ids: jax.Array | None = None) -> Predictions:
        """Detects in windows.

        Args:
          frames: `[B, T, H, W, 3]` uint8 RGB; T a multiple of 16, one or more frames per grid position.
          mask: `[B, positions]` bool, true where the position holds frames of the video.
          sample_ids: `[B]` int in training, each window's index in the global batch; None outside training.
        """
        return self.detector(self.features(frames, mask.shape[1], sample_ids), mask, sample_ids)
