"""Losses computed by hand, and their gradients where the formulas would divide by zero."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adatad_jax.detection.losses import diou_loss, focal_loss, loss_sums, update_normalizer
from adatad_jax.detection.points import make_points
from adatad_jax.detection.targets import Targets
from tests import records


def test_focal_loss_at_even_odds() -> None:
    # p = 1/2: alpha * (1/2)^2 * ln 2, alpha 0.25 for a positive and 0.75 for a negative.
    loss = focal_loss(jnp.zeros(2), jnp.array([1.0, 0.0]))
    np.testing.assert_allclose(loss, [0.25 * 0.25 * np.log(2), 0.75 * 0.25 * np.log(2)], rtol=1e-6)


def test_focal_loss_of_a_soft_target() -> None:
    # t = 0.9 at p = 1/2: ce = ln 2, p_t = 1/2, alpha_t = 0.25*0.9 + 0.75*0.1 = 0.3.
    np.testing.assert_allclose(focal_loss(jnp.zeros(()), jnp.float32(0.9)), 0.3 * np.log(2) / 4, rtol=1e-6)


def test_focal_loss_is_finite_for_certain_logits() -> None:
    logits = jnp.array([-100.0, 100.0])
    for target in (0.0, 1.0):
        loss, gradient = jax.value_and_grad(lambda x, t=target: focal_loss(x, jnp.float32(t)).sum())(logits)
        assert np.isfinite(loss)
        assert np.isfinite(gradient).all()
    np.testing.assert_allclose(focal_loss(logits[0], jnp.float32(1)), 25, rtol=1e-6)  # 0.25 * 100


@pytest.mark.parametrize(
    ("predicted", "target", "loss"),
    [
        ((0, 4), (0, 4), 0.0),
        ((0, 4), (2, 6), 1 - 2 / 6 + 2**2 / 6**2),  # inter 2, union 6, centres 2 apart, enclosing 6
        ((0, 1), (3, 4), 1 - 0 + 3**2 / 4**2),
        ((1, 1), (1, 1), 1.0),  # both empty: the clamps give 0 / 1e-7 twice
    ],
)
def test_diou_loss(predicted: tuple[float, float], target: tuple[float, float], loss: float) -> None:
    np.testing.assert_allclose(diou_loss(jnp.array(predicted, float), jnp.array(target, float)), loss, rtol=1e-6)


def test_no_positive_point_gives_zero_regression_loss_and_gradient() -> None:
    points = make_points(records.detector_config(2, max_length=32), 32)
    count = len(points.position)
    targets = Targets(jnp.zeros((1, count, 2)), jnp.full((1, count, 2), jnp.nan), jnp.zeros((1, count), bool))

    def total(distances: jax.Array) -> jax.Array:
        mask = jnp.ones((1, count), bool)
        return loss_sums(points, mask, jnp.zeros((1, count, 2)), distances, targets).regression

    value, gradient = jax.value_and_grad(total)(jnp.zeros((1, count, 2)))
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)


def test_normalizer_counts_positives_per_published_device() -> None:
    # 0.9 * 100 + 0.1 * 30 / 2
    np.testing.assert_allclose(update_normalizer(jnp.float32(100), jnp.float32(30), 2), 91.5)
    np.testing.assert_allclose(update_normalizer(jnp.float32(100), jnp.float32(0), 2), 90.1)  # at least one
