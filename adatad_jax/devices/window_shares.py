"""What a mapped function must know where several devices share each window: borders, the whole window, sums."""

from dataclasses import dataclass
from typing import TypeVar

import jax
import jax.numpy as jnp

from adatad_jax.devices.mapping import AXIS

T = TypeVar("T")


@dataclass(frozen=True)
class WindowShares:
    """The devices that share windows: each has one of `count` equal stretches of time, in order (`choice.Sharing`).

    The methods are for use inside a function that is mapped over the axis `AXIS`.

    Attributes:
      count: number of devices of a group, which share their windows.
    """

    count: int

    def index(self) -> jax.Array:
        """Returns which stretch this device has, int32, from 0."""
        return jax.lax.axis_index(AXIS) % self.count

    def borders(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Returns what lies before and behind this device's stretch: one position of each neighbour.

        Args:
          x: `[B, t, ...]`, this device's stretch.

        Returns:
          Two arrays `[B, 1, ...]`, zero before the start and behind the end of the window.
        """
        index = self.index()
        before, behind = self._shift(x[:, -1:], 1), self._shift(x[:, :1], -1)
        return jnp.where(index > 0, before, 0), jnp.where(index < self.count - 1, behind, 0)

    def gather(self, x: jax.Array) -> jax.Array:
        """Joins the stretches `[B, t, ...]` of this device's group to whole windows `[B, count*t, ...]`."""
        everyone = jax.lax.all_gather(x, AXIS)
        first = jax.lax.axis_index(AXIS) // self.count * self.count
        group = jax.lax.dynamic_slice_in_dim(everyone, first, self.count)
        return jnp.moveaxis(group, 0, 1).reshape(x.shape[0], self.count * x.shape[1], *x.shape[2:])

    def least(self, x: jax.Array) -> jax.Array:
        """Returns the least of the values that the devices of this device's group have, for each element of `[B]`."""
        return self.gather(x[:, None]).min(1)

    def once(self, tree: T) -> T:
        """Returns the arrays on the first device of each group, and zeros on the others.

        What is computed from whole windows is the same on all devices of a group; so that a sum over all devices counts
        it once, and its gradient too. (To divide by the number of devices would round.)
        """
        first = self.index() == 0
        result: T = jax.tree.map(lambda leaf: jnp.where(first, leaf, 0), tree)
        return result

    def _shift(self, x: jax.Array, by: int) -> jax.Array:
        """Passes an array `by` devices on, around the group.

        Passing nothing around the end would give the zeros at once, but cannot be done under `vmap`, by which a step is
        lowered for devices that are not here.
        """
        devices = jax.lax.axis_size(AXIS)
        pairs = [(d, d // self.count * self.count + (d + by) % self.count) for d in range(devices)]
        passed: jax.Array = jax.lax.ppermute(x, AXIS, pairs)
        return passed
