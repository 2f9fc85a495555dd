"""Operations of the backbone's programs, as they are compiled."""

import dataclasses

import jax
import pytest

from adatad_jax.models.backbone import Backbone
from benchmarks.run.operations import count_operations
from tests.models.small_backbone import SMALL, frames, moved_params

pytestmark = pytest.mark.usefixtures("fully_compiled")


def test_a_block_before_which_nothing_is_trained_has_no_backward_pass() -> None:
    """Counted in compiled programs: gradients of one block cost what its adapter does, those of two a block more."""
    counts = []
    for depth in (1, 2):
        config = dataclasses.replace(SMALL, depth=depth, tia_blocks=tuple(range(depth)))
        model, params = Backbone(config), moved_params(config)
        name = f"blocks_0_{depth - 1}"

        def total(tia: dict, params: dict, name: str = name, model: Backbone = model) -> jax.Array:
            blocks = {name: {**params[name], "tia": tia}}
            return (model.apply({"params": {**params, **blocks}}, frames()) ** 2).sum()

        forward, step = (
            count_operations(jax.jit(function).lower(params[name]["tia"], params).compile())
            for function in (total, jax.value_and_grad(total))
        )
        counts.append((forward, step - forward))
    (one_forward, one_gradients), (two_forward, two_gradients) = counts
    block = two_forward - one_forward
    assert one_gradients < 0.2 * block
    assert two_gradients - one_gradients > block
