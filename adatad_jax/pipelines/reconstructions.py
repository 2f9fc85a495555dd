"""What a masked autoencoder makes of some clips: its error, and pictures of input, mask and reconstruction."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from adatad_jax.data.cache import Images
from adatad_jax.devices.placing import replicate
from adatad_jax.errors import UserError
from adatad_jax.files import whole_file
from adatad_jax.models.autoencoder import MaskedAutoencoder
from adatad_jax.models.layers import Params
from adatad_jax.models.sizes import TUBELET
from adatad_jax.pretraining.masking import draw_tube_masks
from adatad_jax.pretraining.objective import reconstruct, squared_error, targets

CLIPS, DRAWN = 8, 4  # clips that are reconstructed, and those of them that are drawn
FRAMES = slice(0, 16, 2)  # that are drawn of a clip
GAP = 2  # pixels between frames in the picture
GREY = 128  # of pixels that the encoder does not see
PICTURE = "reconstructions.png"
_logger = logging.getLogger(__name__)


class Reconstructions:
    """Reconstructs the same clips with the same masks at every evaluation.

    Attributes:
      pictures: name -> PNG file of the latest evaluation.
    """

    def __init__(
        self,
        model: MaskedAutoencoder,
        masked: int,
        seed: int,
        load: Callable[[], tuple[Images, Sequence[str]]],
        workdir: Path,
        draws: bool,
    ) -> None:
        """Prepares to reconstruct.

        Args:
          model: the autoencoder.
          masked: number of masked patches of a frame.
          seed: of the masks.
          load: returns clips `[N, 16, H, W, 3]` uint8 and the names of their videos; called at the first evaluation.
          workdir: the run's folder, for the picture.
          draws: whether to draw.
        """
        self._load, self._path, self._draws = load, workdir / PICTURE, draws
        self._clips: tuple[Images, Sequence[str]] | None = None
        self.pictures: dict[str, Path] = {}
        self._patch = patch = model.config.encoder.patch

        @jax.jit
        def run(params: Params, frames: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
            positions = (frames.shape[2] // patch) * (frames.shape[3] // patch)
            masks = draw_tube_masks(jax.random.key(seed), jnp.arange(len(frames)), positions, masked)
            predictions: Any = model.apply({"params": params}, frames, masks.visible, masks.masked)
            error = squared_error(predictions, targets(frames, masks.masked, patch)).mean()
            return error, masks.masked, reconstruct(frames, predictions, masks.masked, patch)

        self._run = run

    def measure(self, params: Params) -> dict[str, Any]:
        """Returns the mean error on the clips, for an epoch's record, and draws some of them.

        Args:
          params: the whole tree, on the devices.
        """
        if self._clips is None:
            self._clips = self._load()
        frames, names = self._clips
        error, masked, found = self._run(replicate(params, jax.local_devices()[:1]), frames)
        if self._draws:
            try:
                self._draw(frames[:DRAWN], np.asarray(masked)[:DRAWN], np.asarray(found)[:DRAWN], names)
            except (UserError, OSError) as problem:
                _logger.warning("%s: not drawn (%s)", self._path, problem)
        return {"reconstruction_error": float(error)}

    def _draw(self, frames: Images, masked: np.ndarray, found: Images, names: Sequence[str]) -> None:
        """Draws, for each clip, its frames, what the encoder sees of them, and the reconstruction."""
        from matplotlib.figure import Figure  # the first step need not wait until matplotlib is imported

        whole = frames[:, :, : found.shape[2], : found.shape[3]]
        seen = np.where(hidden_pixels(masked, found.shape, self._patch)[..., None], np.uint8(GREY), whole)
        rows = [
            (f"{name}: {what}" if what == "input" else what, clip[FRAMES])
            for name, *clips in zip(names, whole, seen, found, strict=False)
            for what, clip in zip(("input", "visible", "reconstruction"), clips, strict=True)
        ]
        count = len(rows[0][1])
        figure = Figure(figsize=(1.3 * count, 1.45 * len(rows)), layout="constrained")
        for number, (title, clip) in enumerate(rows):
            panel = figure.add_subplot(len(rows), 1, number + 1)
            apart = np.pad(clip, ((0, 0), (0, 0), (0, GAP), (0, 0)), constant_values=255)
            panel.imshow(np.concatenate(list(apart), axis=1), interpolation="nearest")
            panel.set_title(title, loc="left", fontsize=8)
            panel.set_axis_off()
        with whole_file(self._path) as partial:
            figure.savefig(partial, dpi=100, format="png")
        self.pictures["reconstructions"] = self._path


def hidden_pixels(masked: np.ndarray, shape: Sequence[int], patch: int) -> np.ndarray:
    """Returns which pixels of clips belong to masked tokens, `[N, T, H, W]` bool.

    Args:
      masked: `[N, M]` int, the masked tokens, numbered by t, h, w.
      shape: N, T, H, W, ... of the clips, whose sides are whole patches.
      patch: side of a patch, pixels.
    """
    clips, frames, height, width = shape[:4]
    tokens = np.zeros((clips, frames // TUBELET * (height // patch) * (width // patch)), bool)
    np.put_along_axis(tokens, masked, True, axis=1)
    grid = tokens.reshape(clips, frames // TUBELET, height // patch, width // patch)
    return grid.repeat(TUBELET, 1).repeat(patch, 2).repeat(patch, 3)
