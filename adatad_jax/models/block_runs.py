"""Runs of consecutive blocks of a backbone as loops over stacked parameters, cut so that little is kept and recomputed.

A loop's step is not a block with its adapter, but the adapter of one block and the attention and MLP of the next. So
the stream that is kept for the backward pass lies before the adapter. That saves three things: no MLP's last product is
computed again, as its output is at hand; the first block of a run stands by itself, so that block 0 has no backward
pass, as nothing before it is trained; and no adapter's output is kept.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from adatad_jax.models.encoder import Block
from adatad_jax.models.half_precision import layer
from adatad_jax.models.layers import Dtype, Params
from adatad_jax.models.policy import MemoryPolicy
from adatad_jax.models.recompute import recomputed
from adatad_jax.models.tia import TIA, as_windows


@dataclass(frozen=True)
class BlockRun:
    """Consecutive blocks of one kind.

    Attributes:
      block, adapter: the modules.
      params: of the blocks, stacked on a leading layer axis; under `tia` those of the adapters, if there are any.
      chunks: N, the number of chunks per window that this device has.
      factors: `[blocks, B*N, 2]` float32, theirs of `depth_factors`, if there is stochastic depth.
      policy: as in `Backbone`.
    """

    block: Block
    adapter: TIA
    params: Params
    chunks: int
    factors: jax.Array | None
    policy: MemoryPolicy

    def plain(self, x: jax.Array) -> jax.Array:
        """Maps tokens `[B*N, 8*h*w, C]` float32 by blocks without adapters."""
        step = recomputed(self._block, self.policy, in_loop=True)
        x, _ = jax.lax.scan(lambda x, block: (step(x, block), None), x, self._blocks())
        return x

    def adapted(self, x: jax.Array) -> jax.Array:
        """Maps tokens by blocks with adapters at their ends.

        The blocks' parameters are taken out of the stack inside the loop, as a loop over part of them would copy that
        part. So their gradients, if they are wanted, cost more than those of `plain`.
        """
        blocks, adapters = self._blocks(), self.params["tia"]
        first = recomputed(self._block, self.policy, in_loop=False)
        x = first(x, layer(blocks, jnp.int32(0)))

        def adapt_and_map(x: jax.Array, of_step: tuple[Params, Any, jax.Array]) -> jax.Array:
            adapter, stacked, index = of_step
            return self._block(x + self._adapt(x, adapter), layer(stacked, index))

        step = recomputed(adapt_and_map, self.policy, in_loop=True)
        before = jax.tree.map(lambda leaf: leaf[:-1], adapters)
        count = len(jax.tree.leaves(adapters)[0])
        x, _ = jax.lax.scan(
            lambda x, of_step: (step(x, (of_step[0], blocks, of_step[1])), None),
            x,
            (before, jnp.arange(1, count)),
        )
        return x + self._adapt(x, jax.tree.map(lambda leaf: leaf[-1], adapters))

    def beside(self, x: jax.Array, total: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Maps tokens by blocks without a gradient, and adds what their adapters find to `total`."""
        adapt = recomputed(self._adapt, self.policy, in_loop=True)

        def step(carry: tuple[jax.Array, jax.Array], of_step: Any) -> tuple[tuple[jax.Array, jax.Array], None]:
            x, total = carry
            adapter, block = of_step
            x = jax.lax.stop_gradient(self._block(x, block))
            return (x, total + adapt(x, adapter)), None

        (x, total), _ = jax.lax.scan(step, (x, total), (self.params["tia"], self._blocks()))
        return x, total

    def _blocks(self) -> tuple[Params, jax.Array | None]:
        """Returns parameters and factors. What products take is cast to their dtype here, not in the loop."""
        blocks = {name: leaves for name, leaves in self.params.items() if name != "tia"}
        products = {name: narrowed(blocks[name], self.block.dtype) for name in ("attn", "mlp")}
        return {**blocks, **products}, self.factors

    def _block(self, x: jax.Array, of_block: tuple[Params, jax.Array | None]) -> jax.Array:
        """Maps tokens by one block, of `_blocks`."""
        params, factors = of_block
        return jnp.asarray(self.block.apply({"params": params}, x, factors))

    def _adapt(self, x: jax.Array, params: Params) -> jax.Array:
        """Computes an adapter's output for tokens `[B*N, 8*h*w, C]`, over whole windows; keeps the shape."""
        change: Any = self.adapter.apply({"params": params}, as_windows(x, self.chunks))
        return jnp.reshape(change, x.shape)


def narrowed(params: Params, dtype: Dtype) -> Params:
    """Returns the parameters in a dtype, where that takes fewer bytes."""

    def cast(leaf: jax.Array) -> jax.Array:
        return leaf.astype(dtype) if jnp.dtype(dtype).itemsize < leaf.dtype.itemsize else leaf

    result: Params = jax.tree.map(cast, params)
    return result
