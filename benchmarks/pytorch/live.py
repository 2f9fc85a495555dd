"""Memory that PyTorch needs, found without computing: the bytes of the tensors that are alive at the same time.

Operations run on fake tensors, which have shapes and no memory. What a kernel takes inside of an operation, and what
the allocator cannot use for fragmentation, comes on top.
"""

import weakref
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Live(TorchDispatchMode):
    """Counts the bytes of storages that operations make, while they are alive.

    Attributes:
      now, peak: bytes.
    """

    def __init__(self, known: Iterable[Tensor]) -> None:
        """Starts at 0.

        Args:
          known: tensors that exist already, which do not count.
        """
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._known = {tensor.untyped_storage()._cdata for tensor in known}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self._see(leaf.untyped_storage())
        return out

    def _see(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key not in self._known:
            self._known.add(key)
            self.now += size
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._drop, key, size)

    def _drop(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size


def peak_of_a_step(make: Callable[[], tuple[Callable[[], Any], Callable[[], Iterable[Tensor]]]]) -> tuple[int, int]:
    """Returns the bytes that a step needs: of what it starts with, and of what it computes in between.

    Args:
      make: builds everything on fake tensors; returns the step, and what lists the tensors that stay between steps.
    """
    with FakeTensorMode(allow_non_fake_inputs=True):
        step, list_kept = make()
        step()  # makes the optimiser's state
        kept = {tensor.untyped_storage()._cdata: tensor.untyped_storage().nbytes() for tensor in list_kept()}
        with Live(list_kept()) as live:
            step()
    return sum(kept.values()), live.peak
