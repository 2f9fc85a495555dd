"""Dimensions of VideoMAE (arXiv 2203.12602) and of the ActionFormer detector (arXiv 2202.07925)."""

from dataclasses import dataclass

from adatad_jax.errors import UserError

CHUNK_FRAMES = 16  # frames of one VideoMAE input; attention never crosses chunks
TUBELET = 2  # frames per temporal patch
CHUNK_TUBELETS = CHUNK_FRAMES // TUBELET
IMAGE_SIZE = 224  # side of the frames of every published pre-training, pixels
NORM_EPS = 1e-6  # epsilon of the published backbones' norms


@dataclass(frozen=True)
class ViTConfig:
    """Dimensions of a VideoMAE vision transformer with temporal adapters.

    Attributes:
      width: embedding size C.
      depth: number of transformer blocks.
      heads: attention heads; `width` is a multiple of it.
      mlp_hidden: hidden size of a block's MLP.
      patch: side of a square patch, pixels.
      image_size: side of the pre-training frames, pixels; it determines the position table.
      norm_eps: epsilon of every LayerNorm.
      tia_blocks: ascending indices of the blocks that have a temporal adapter.
      tia_hidden: hidden size of the adapter.
      side: whether adapters are beside the backbone and add to its output (AdaTAD-dagger), instead of ending their
        blocks.
      temporal: whether adapters have their temporal convolution (TIA); without it, they are plain adapters.
      drop_path: stochastic depth rate of the last block (linear from 0 at the first).
    """

    width: int
    depth: int
    heads: int
    mlp_hidden: int
    patch: int = 16
    image_size: int = IMAGE_SIZE
    norm_eps: float = NORM_EPS
    tia_blocks: tuple[int, ...] = ()
    tia_hidden: int = 0
    side: bool = False
    temporal: bool = True
    drop_path: float = 0.0

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise UserError(f"the backbone's width {self.width} is not a multiple of its {self.heads} heads")
        if list(self.tia_blocks) != sorted(set(self.tia_blocks) & set(range(self.depth))):
            raise UserError(
                f"tia_blocks={self.tia_blocks}: expected ascending block indices, each once and below {self.depth}"
            )
        if self.tia_blocks and self.tia_hidden < 1:
            raise UserError(f"tia_hidden={self.tia_hidden}: an adapter needs at least one hidden channel")
        if self.side and not self.tia_blocks:
            raise UserError("adapters beside the backbone need at least one block to read from: tia_blocks is empty")

    def runs(self) -> list[tuple[int, int, bool]]:
        """Returns the runs of consecutive blocks of one kind, each of which is one scan.

        Returns:
          (first block, last block, inclusive, whether the blocks have a temporal adapter) of each run.
        """
        runs: list[tuple[int, int, bool]] = []
        for block in range(self.depth):
            has_tia = block in self.tia_blocks
            if runs and runs[-1][2] == has_tia:
                runs[-1] = (runs[-1][0], block, has_tia)
            else:
                runs.append((block, block, has_tia))
        return runs


# Dimensions of the published checkpoints; `tiny` is for tests and the demo.
SIZES: dict[str, ViTConfig] = {
    "tiny": ViTConfig(width=64, depth=3, heads=2, mlp_hidden=256),
    "S": ViTConfig(width=384, depth=12, heads=6, mlp_hidden=1536),
    "B": ViTConfig(width=768, depth=12, heads=12, mlp_hidden=3072),
    "L": ViTConfig(width=1024, depth=24, heads=16, mlp_hidden=4096),
    "H": ViTConfig(width=1280, depth=32, heads=16, mlp_hidden=5120),
    "g": ViTConfig(width=1408, depth=40, heads=16, mlp_hidden=6144, patch=14),
}

# Dimensions of the decoders of masked pre-training, by the name of the encoder.
DECODERS: dict[str, ViTConfig] = {
    "tiny": ViTConfig(width=32, depth=2, heads=2, mlp_hidden=128),
    "S": ViTConfig(width=192, depth=4, heads=3, mlp_hidden=768),
    "B": ViTConfig(width=384, depth=4, heads=6, mlp_hidden=1536),
    "L": ViTConfig(width=512, depth=12, heads=8, mlp_hidden=2048),
    "H": ViTConfig(width=640, depth=12, heads=8, mlp_hidden=2560),
}


@dataclass(frozen=True)
class AutoencoderConfig:
    """Dimensions of a masked autoencoder.

    Attributes:
      encoder, decoder: dimensions of the two, which share patch size and image size.
      encoder_norm: whether a LayerNorm ends the encoder.
      head_norm_eps: epsilon of the LayerNorm before the decoder's head.
    """

    encoder: ViTConfig
    decoder: ViTConfig
    encoder_norm: bool = True
    head_norm_eps: float = NORM_EPS

    def __post_init__(self) -> None:
        sides = [(part.patch, part.image_size) for part in (self.encoder, self.decoder)]
        if sides[0] != sides[1]:
            raise UserError(
                f"patch and image size {sides[0]} of the encoder, {sides[1]} of the decoder: expected the same"
            )


@dataclass(frozen=True)
class ClassifierConfig:
    """Dimensions of a clip classifier.

    Attributes:
      encoder: dimensions of the encoder.
      classes: number of classes K.
      mean_pooling: whether the head reads the mean of all tokens, after a LayerNorm (`fc_norm`). If not, it reads the
        first token, after the encoder's own final LayerNorm.
      head_norm_eps: epsilon of `fc_norm`.
    """

    encoder: ViTConfig
    classes: int
    mean_pooling: bool = True
    head_norm_eps: float = NORM_EPS

    def __post_init__(self) -> None:
        if self.classes < 2:
            raise UserError(f"a classifier of {self.classes} classes: expected 2 or more")


@dataclass(frozen=True)
class DetectorConfig:
    """Dimensions of the ActionFormer detector.

    Attributes:
      classes: number of classes K.
      width: channels of pyramid and heads.
      heads: attention heads of the projection.
      embed, stem, branch: numbers of embedding convolutions, stem blocks and downsampling blocks. The pyramid has
        L = branch + 1 levels.
      windows: for each level, the local attention window (odd number of the level's positions), or None for global
        attention.
      absolute_positions: whether to add a sinusoidal position embedding after the embedding convolutions.
      max_length: grid positions of a training window; shorter windows are padded to this length.
      head_convs: number of hidden convolutions of each head.
      regression_ranges: for each level, the closed range of the larger boundary distance that it regresses, in grid
        positions.
      drop_path: rate of stochastic depth of every block.
      dropout: rate of elementwise dropout inside the blocks.
      input_dropout: rate at which whole channels of the features are dropped.
    """

    classes: int
    width: int
    heads: int
    embed: int
    stem: int
    branch: int
    windows: tuple[int | None, ...]
    absolute_positions: bool
    max_length: int
    head_convs: int
    regression_ranges: tuple[tuple[float, float], ...]
    drop_path: float
    dropout: float
    input_dropout: float

    def __post_init__(self) -> None:
        levels = self.branch + 1
        if len(self.windows) != levels or len(self.regression_ranges) != levels:
            raise UserError(
                f"the pyramid has {levels} levels (branch={self.branch}), but there are {len(self.windows)} attention "
                f"windows and {len(self.regression_ranges)} regression ranges: give one of each per level"
            )
        for window in self.windows:
            if window is not None and (window < 3 or window % 2 == 0):
                raise UserError(f"attention window {window}: expected an odd number of at least 3, or None for global")
        if self.width % self.heads:
            raise UserError(f"the detector's width {self.width} is not a multiple of its {self.heads} heads")
        if self.max_length % self.length_factor:
            raise UserError(
                f"a window of {self.max_length} grid positions does not fit the pyramid: {levels} levels, attention "
                f"windows {self.windows} need a multiple of {self.length_factor}"
            )

    @property
    def strides(self) -> tuple[int, ...]:
        """Returns the grid positions between neighbouring points, for each level."""
        return tuple(2**level for level in range(self.branch + 1))

    @property
    def length_factor(self) -> int:
        """Returns the factor of which every padded length must be a multiple.

        The factor is the largest, over the levels, of the stride times twice the reach of local attention.
        """
        return max(
            stride * (1 if window is None else 2 * (window // 2))
            for stride, window in zip(self.strides, self.windows, strict=True)
        )
