"""Floating-point operations of the encoder in masked pre-training, as XLA counts them in the compiled program.

`python -m benchmarks.masked_encoder`: 224 px, mask ratio 0.90, so that 160 of 1568 tokens are visible. The limit is
their share of the whole encoder's matrix products: linear in the tokens, but for attention, which is quadratic. Layers
are unrolled, because XLA counts the body of a loop once.
"""

import argparse
import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from adatad_jax.models.encoder import XAVIER, Encoder
from adatad_jax.models.sizes import CHUNK_FRAMES, CHUNK_TUBELETS, SIZES, TUBELET, ViTConfig
from adatad_jax.pretraining.masking import masked_positions
from benchmarks.results import add_write_option, report

RATIO = 0.9
ALLOWED = 1.03
DEPTHS = {"S": 12, "B": 4}  # blocks that are counted; more take long to compile


def tokens(config: ViTConfig) -> tuple[int, int]:
    """Returns the number of tokens of a clip, and of visible ones."""
    positions = (config.image_size // config.patch) ** 2
    return CHUNK_TUBELETS * positions, CHUNK_TUBELETS * (positions - masked_positions(RATIO, positions))


def counted(config: ViTConfig) -> float:
    """Returns the operations of the encoder on the visible tokens of a clip, in all."""
    encoder = Encoder(config, True, XAVIER, unroll=True)
    frames = jax.ShapeDtypeStruct((1, CHUNK_FRAMES, config.image_size, config.image_size, 3), jnp.uint8)
    visible = jax.ShapeDtypeStruct((1, tokens(config)[1]), jnp.int32)
    params = jax.eval_shape(encoder.init, jax.random.key(0), frames, visible)
    analysis: Any = jax.jit(encoder.apply).lower(params, frames, visible).compile().cost_analysis()
    return float(analysis["flops"])


def share(config: ViTConfig) -> float:
    """Returns the visible tokens' share of the operations of the whole encoder's matrix products."""
    whole, visible = tokens(config)
    values = TUBELET * config.patch**2 * 3
    linear = 2 * whole * config.width * (values + config.depth * (4 * config.width + 2 * config.mlp_hidden))
    attention = 4 * whole**2 * config.width * config.depth
    return visible / whole * linear + (visible / whole) ** 2 * attention


def main() -> None:
    """Prints the counts and their limits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_write_option(parser)
    report("benchmarks.masked_encoder", lines(), parser.parse_args().write)


def lines() -> Iterator[str]:
    """Yields a line per encoder: its count, and the limit."""
    for name, depth in DEPTHS.items():
        config = dataclasses.replace(SIZES[name], depth=depth)
        found, limit = counted(config), share(config)
        yield (
            f"VideoMAE-{name}, {depth} blocks, {tokens(config)[1]} of {tokens(config)[0]} tokens: {found / 1e9:.2f} "
            f"GFLOP, {found / limit:.4f} of {limit / 1e9:.2f}: {'ok' if found <= ALLOWED * limit else 'TOO MUCH'}"
        )


if __name__ == "__main__":
    main()
