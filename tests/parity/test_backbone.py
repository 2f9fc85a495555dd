"""The backbone against the PyTorch release: patch embedding, positions, every block, features."""

from pathlib import Path

import jax
import numpy as np
import pytest

from adatad_jax.models.backbone import Backbone
from adatad_jax.models.positions import resize_positions, resize_time, sinusoid_table
from adatad_jax.models.sizes import CHUNK_TUBELETS
from tests.golden import synth
from tests.parity.goldens import load, reference_files
from tests.parity.reference_models import synthetic_state, to_frames, vit_config, vit_params

PREFIX = "backbone."
TOLERANCE = 5e-5
REAL_SIZE_TOLERANCE = 1e-3  # values reach 350


def sliced(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Returns the entries of a real-size model that a reference file holds: every k-th of each axis."""
    steps = []
    for size, kept in zip(array.shape, shape, strict=True):
        steps.append(next(step for step in range(1, size + 1) if len(range(0, size, step)) <= kept))
        assert len(range(0, size, steps[-1])) == kept, f"{shape} is no slice of {array.shape}"
    return array[tuple(slice(None, None, step) for step in steps)]


@pytest.mark.parametrize("path", reference_files("backbone_"), ids=lambda p: p.stem)
def test_backbone_matches_release(path: Path) -> None:
    sidecar, arrays = load(path)
    upstream = sidecar["upstream_cfg"]["backbone"]
    state = synthetic_state(sidecar)
    config = vit_config(upstream, state, PREFIX)
    tolerance = REAL_SIZE_TOLERANCE if config.width >= 384 else TOLERANCE
    given = sidecar["inputs"]["frames"]
    frames = to_frames(synth.frames(sidecar["seed"], given["name"], given["shape"]))
    variables = {"params": vit_params(config, state, PREFIX)}

    # Single blocks are seen where none is in a loop; the loops, which are what runs, give the features.
    plain, captured = jax.jit(
        lambda v, x: Backbone(config, unroll=True).apply(v, x, capture_intermediates=True, mutable=["intermediates"])
    )(variables, frames)
    window = arrays["out"].shape[2]
    for features in (plain, jax.jit(Backbone(config).apply)(variables, frames)):
        out = resize_time(features, window).transpose(0, 2, 1)
        np.testing.assert_allclose(out, arrays["out"], rtol=0, atol=tolerance)

    height, width = (side // config.patch for side in frames.shape[2:4])
    grid = config.image_size // config.patch
    if "pos_embed_interp" in arrays:
        table = sinusoid_table(CHUNK_TUBELETS * grid * grid, config.width)
        positions = resize_positions(table, grid, height, width)
        expected = arrays["pos_embed_interp"][0]
        np.testing.assert_allclose(positions[:, : expected.shape[1]], expected, rtol=0, atol=tolerance)

    chunks = frames.shape[1] // 16
    found = captured["intermediates"]
    if "patch_embed" in arrays:
        expected = arrays["patch_embed"]
        got = found["patch_embed"]["__call__"][0][:chunks, :, : expected.shape[2]]
        np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance)
    blocks = np.concatenate([found[f"blocks_{a}_{b}"]["__call__"][-1][0] for a, b, _ in config.runs()])
    named = [name for name in arrays if name.startswith("block")]
    for name in named:
        expected = arrays[name]
        got = sliced(blocks[int(name.removeprefix("block"))][:chunks], expected.shape)
        np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance, err_msg=name)
