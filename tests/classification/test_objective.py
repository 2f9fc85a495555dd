"""Label smoothing, cross-entropy and accuracy by hand."""

import jax.numpy as jnp
import numpy as np

from adatad_jax.classification.objective import cross_entropy, in_top, smoothed


def test_smoothing_spreads_its_share_over_all_classes() -> None:
    np.testing.assert_allclose(
        smoothed(jnp.array([2, 0]), 4, 0.1), [[0.025] * 2 + [0.925, 0.025], [0.925] + [0.025] * 3]
    )
    np.testing.assert_array_equal(smoothed(jnp.array([1]), 2, 0.0), [[0, 1]])


def test_cross_entropy() -> None:
    logits = jnp.log(jnp.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]))
    targets = jnp.array([[1.0, 0, 0], [0.5, 0, 0.5]])
    expected = [-np.log(0.5), -0.5 * np.log(0.1) - 0.5 * np.log(0.8)]
    np.testing.assert_allclose(cross_entropy(logits, targets), expected, rtol=1e-6)
    np.testing.assert_allclose(cross_entropy(logits + 100, targets), expected, rtol=1e-5)  # logits have no zero


def test_top_k() -> None:
    logits = jnp.array([[0.1, 0.5, 0.3, 0.2], [0.1, 0.5, 0.3, 0.2], [1.0, 1.0, 0.0, 0.0]])
    labels = jnp.array([1, 3, 1])
    assert in_top(logits, labels, 1).tolist() == [True, False, False]
    assert in_top(logits, labels, 2).tolist() == [True, False, True]
    assert in_top(logits, labels, 3).tolist() == [True, True, True]
    assert in_top(logits, labels, 5).all()  # four classes
