"""Bytes of tensors that are alive at the same time, against a count by hand."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from benchmarks.pytorch.live import peak_of_a_step  # noqa: E402 - needs torch

MIB = 2**20


def test_peak() -> None:
    def make() -> tuple[Callable[[], Any], Callable[[], Iterable[Any]]]:
        kept = torch.zeros(MIB // 4)

        def step() -> None:
            a = kept + 1  # 1 MiB alive
            b = torch.cat([a, a])  # 3
            view = b[: MIB // 4]
            del a, b  # 2: the view holds it
            c = view * 2  # 3
            del view, c
            kept.add_(1)  # nothing new
            d = torch.cat([kept] * 4)  # 4
            del d

        return step, lambda: [kept]

    assert peak_of_a_step(make) == (MIB, 4 * MIB)


def test_recomputing_keeps_less() -> None:
    from torch.utils.checkpoint import checkpoint

    peaks = []
    for recompute in (False, True):

        def make(recompute: bool = recompute) -> tuple[Callable[[], Any], Callable[[], Iterable[Any]]]:
            x = torch.zeros(MIB // 4, requires_grad=True)

            def layer(y: Any) -> Any:
                for _ in range(5):
                    y = torch.sigmoid(y)  # keeps its output for the backward pass
                return y

            def step() -> None:
                y = x
                for _ in range(6):
                    y = checkpoint(layer, y, use_reentrant=False) if recompute else layer(y)
                y.sum().backward()
                x.grad = None

            return step, lambda: [x]

        peaks.append(peak_of_a_step(make)[1] / MIB)
    kept, recomputed = peaks
    assert 30 <= kept <= 33  # all outputs, the gradient before and after a layer
    assert 11 <= recomputed <= 14  # the outputs of 6 layers, those of one layer again, gradients
