"""The whole detector of AdaTAD (arXiv 2311.17241): frames -> features -> pyramid -> class logits and distances."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from adatad_jax.devices.window_shares import WindowShares
from adatad_jax.models.backbone import Backbone
from adatad_jax.models.head import Head, Neck
from adatad_jax.models.layers import Dtype, dropout
from adatad_jax.models.policy import MemoryPolicy
from adatad_jax.models.positions import resize_time
from adatad_jax.models.projection import Projection
from adatad_jax.models.pyramid import level_masks, padded_length
from adatad_jax.models.sizes import DetectorConfig, ViTConfig


class Predictions(NamedTuple):
    """Outputs of the detector on B windows: lists with one array for each of the L pyramid levels, finest first.

    Attributes:
      logits: `[B, P_l, K]` float32 class logits of the P_l points of level l.
      distances: `[B, P_l, 2]` float32 distances from each point to start and end, in strides of the level.
      masks: `[B, P_l]` bool, valid points.
    """

    logits: list[jax.Array]
    distances: list[jax.Array]
    masks: list[jax.Array]


class ActionFormer(nn.Module):
    """The detector on features (ActionFormer, arXiv 2202.07925): padding, projection, neck, head.

    Attributes:
      config: dimensions.
      dtype: in which convolutions and attention compute.
    """

    config: DetectorConfig
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, features: jax.Array, mask: jax.Array, sample_ids: jax.Array | None = None) -> Predictions:
        """Detects on window features.

        Args:
          features: `[B, positions, C]` float32. Features past a window's last valid position are not zeroed.
          mask: `[B, positions]` bool, valid grid positions.
          sample_ids: in training, `[B]` int, each window's index in the global batch. None draws no dropout and no
            stochastic depth.

        Raises:
          ValueError: a training window has more than `config.max_length` positions.
        """
        cfg = self.config
        length = features.shape[1]
        if length > cfg.max_length and sample_ids is not None:
            raise ValueError(f"features {features.shape}: training windows have at most {cfg.max_length} positions")
        features = jnp.pad(features, ((0, 0), (0, padded_length(cfg, length) - length), (0, 0)))
        masks = level_masks(cfg, mask)
        if sample_ids is not None and cfg.input_dropout:
            channels = (1, features.shape[2])
            features = dropout(features, cfg.input_dropout, self.make_rng("dropout"), sample_ids, channels)
        levels = Projection(cfg, self.dtype, name="projection")(features, masks, sample_ids)
        levels = Neck(name="neck")(levels)
        logits, distances = Head(cfg.classes, cfg.width, cfg.head_convs, self.dtype, name="head")(levels, masks)
        return Predictions(logits, distances, masks)


class AdaTAD(nn.Module):
    """The whole detector, from frames to predictions per pyramid level.

    Parameters: `backbone` (frozen except for its `tia` leaves) and `detector` (`projection`, `neck`, `head`).

    Attributes:
      vit: dimensions of the backbone.
      detector_config: dimensions of the detector.
      dtype, policy, unroll, shares: as in `Backbone`.
    """

    vit: ViTConfig
    detector_config: DetectorConfig
    dtype: Dtype = jnp.float32
    policy: MemoryPolicy = MemoryPolicy()
    unroll: bool = False
    shares: WindowShares | None = None

    def setup(self) -> None:
        self.backbone = Backbone(self.vit, self.dtype, self.policy, self.unroll, self.shares)
        self.detector = ActionFormer(self.detector_config, self.dtype)

    def features(self, frames: jax.Array, positions: int, sample_ids: jax.Array | None = None) -> jax.Array:
        """Computes one feature per grid position.

        Args:
          frames: as in `Backbone`.
          positions: number of grid positions of a window.
          sample_ids: as in `Backbone`.

        Returns:
          `[B, positions, C]` float32.
        """
        return resize_time(self.backbone(frames, sample_ids), positions)

    def __call__(self, frames: jax.Array, mask: jax.Array, sample_ids: jax.Array | None = None) -> Predictions:
        """Detects in windows.

        Args:
          frames: as in `Backbone`; a window has one or more frames per grid position.
          mask: `[B, positions]` bool, true where the position of the window holds frames of the video.
          sample_ids: in training, `[B]` int, each window's index in the global batch; None outside training.
        """
        return self.detector(self.features(frames, mask.shape[1], sample_ids), mask, sample_ids)


class FromFeatures(AdaTAD):
    """The detector on stored features of its backbone, `[B, T/2, C]` float32, in place of frames.

    Its parameters are those of an `AdaTAD`, of which it reads `detector` alone; so it learns the same, if the backbone
    is frozen and draws nothing. Devices that share windows have T/2/s features of each.
    """

    def features(self, frames: jax.Array, positions: int, sample_ids: jax.Array | None = None) -> jax.Array:
        """Returns one feature per grid position, `[B, positions, C]`."""
        return resize_time(frames if self.shares is None else self.shares.gather(frames), positions)
