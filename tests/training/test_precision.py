"""What is computed in bfloat16 and what is not, read from the program of a whole training step."""

from collections.abc import Iterator
from typing import Any

import jax
import pytest

from adatad_jax.config.build import make_loss, make_model
from adatad_jax.config.fields import Config
from adatad_jax.data.loader import training_batch
from adatad_jax.devices.mapping import AXIS
from adatad_jax.training.detection_loss import make_detection_loss
from adatad_jax.training.optimizer import make_optimizer, make_optimizer_config
from adatad_jax.training.parameters import detector_groups, merge, split
from adatad_jax.training.state import create_state
from adatad_jax.training.step import make_train_step
from adatad_jax.weights.initialize import parameter_shapes
from tests.tiny_detector import tiny_config

# The statistics of norms, softmax, sigmoid, focal loss, DIoU and AdamW consist of these.
IN_FLOAT32 = {
    "cumsum",
    "div",
    "exp2",
    "log",
    "log1p",
    "logistic",
    "pow",
    "psum",
    "reduce_max",
    "rsqrt",
    "sqrt",
    "tanh",
}
# In the backward pass alone: of GELU's erf, and of biases, which are spread over the tokens.
FORWARD_IN_FLOAT32 = IN_FLOAT32 | {"exp", "reduce_sum"}


def config(dtype: str, adaptation: str = "tia", windows: tuple[int, ...] = (0,)) -> Config:
    """Every kind of layer, dropout and attention."""
    return tiny_config().with_fields(
        {
            "data.rand_augment": False,
            "data.color_jitter": False,
            "model.dtype": dtype,
            "model.adaptation": adaptation,
            "model.attention_windows": windows,
            "model.absolute_positions": True,
            "model.dropout": 0.1,
            "model.input_dropout": 0.1,
            "model.remat": True,
        }
    )


def programs(config: Config) -> tuple[Any, Any, Any, Any]:
    """Returns the jaxpr of the loss and of the whole step, the state, and what the step returns, as shapes."""
    model, optimizer_config = make_model(config, 2), make_optimizer_config(config, 10)
    optimizer, loss = make_optimizer(optimizer_config), make_detection_loss(model, make_loss(config.train))
    trained, frozen = split(parameter_shapes(model, config), detector_groups(optimizer_config.full))
    state = jax.eval_shape(lambda trained, frozen: create_state(trained, frozen, optimizer, 100.0, 0), trained, frozen)
    batch = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((1, *leaf.shape), leaf.dtype), training_batch([None], config, 8)
    )

    def forward(state: Any, batch: Any) -> Any:
        divisor = loss.normalize(loss.count(batch), state.normalizer).divisor
        return loss.of_rows(merge(state.trained, state.frozen), batch, divisor, jax.random.key(0))

    mapped = [
        jax.make_jaxpr(jax.vmap(function, in_axes=(None, 0), axis_name=AXIS), return_shape=True)(state, batch)
        for function in (forward, make_train_step(loss, optimizer, 0.9))
    ]
    return mapped[0][0].jaxpr, mapped[1][0].jaxpr, state, mapped[1][1]


def equations(jaxpr: Any) -> Iterator[Any]:
    """Yields the primitive operations of a program, inside loops and branches too."""
    for equation in jaxpr.eqns:
        parts = [part for value in equation.params.values() for part in (value if type(value) is tuple else (value,))]
        inner = [getattr(part, "jaxpr", part) for part in parts if hasattr(getattr(part, "jaxpr", part), "eqns")]
        for one in inner:
            yield from equations(one)
        if not inner:
            yield equation


def computed_in(jaxpr: Any, dtype: str) -> set[str]:
    """Returns the names of the operations with an argument or result of a dtype."""
    return {
        equation.primitive.name
        for equation in equations(jaxpr)
        if any(str(getattr(value.aval, "dtype", "")) == dtype for value in (*equation.invars, *equation.outvars))
    }


@pytest.mark.parametrize(("adaptation", "windows"), [("tia", (5, 0, 0)), ("side", (0,))])
def test_bfloat16_is_for_products_and_float32_for_norms_softmax_losses_and_state(
    adaptation: str, windows: tuple[int, ...]
) -> None:
    forward, step, state, after = programs(config("bfloat16", adaptation, windows))
    assert {"dot_general", "conv_general_dilated", "erf"} <= computed_in(forward, "bfloat16")
    assert not computed_in(forward, "bfloat16") & FORWARD_IN_FLOAT32
    assert not computed_in(step, "bfloat16") & IN_FLOAT32
    assert {"exp", "log1p", "logistic", "rsqrt", "reduce_max", "reduce_sum"} <= computed_in(step, "float32")
    kinds = {str(leaf.dtype) for tree in (state, after) for leaf in jax.tree.leaves(tree)}
    assert kinds == {"float32", "int32", "uint32"}  # parameters, averages, moments, metrics; counters; the random key


def test_float32_computes_nothing_in_less() -> None:
    with jax.default_matmul_precision("highest"):  # as `set_precision` sets it
        _, step, _, _ = programs(config("float32"))
    assert not computed_in(step, "bfloat16")
    products = [one for one in equations(step) if one.primitive.name in ("dot_general", "conv_general_dilated")]
    assert len(products) > 20
    highest = (jax.lax.Precision.HIGHEST, jax.lax.Precision.HIGHEST)
    assert {one.params["precision"] for one in products} == {highest}
