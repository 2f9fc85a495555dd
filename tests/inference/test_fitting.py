"""The parameters that devices keep for inference."""

import flax.traverse_util
import numpy as np
import pytest

from adatad_jax.inference.fitting import inference_policy, kept_dtype, kept_params
from tests.tiny_detector import tiny_config, tiny_trained


def test_nothing_is_frozen_in_full_fine_tuning() -> None:
    model = tiny_config().with_fields({"model.dtype": "bfloat16", "model.adaptation": "full"}).model
    assert kept_dtype(model) == "float32"
    params = {"backbone": {"blocks_0_2": {"attn": {"qkv": {"kernel": np.zeros(3, np.float32)}}}}}
    assert kept_params(params, model)["backbone"]["blocks_0_2"]["attn"]["qkv"]["kernel"].dtype == "float32"


@pytest.mark.parametrize(
    ("dtype", "frozen_dtype", "kept"),
    [("float32", "float32", "float32"), ("float32", "bfloat16", "bfloat16"), ("bfloat16", "float32", "bfloat16")],
)
def test_frozen_matrices_are_kept_as_products_take_them(dtype: str, frozen_dtype: str, kept: str) -> None:
    """All other parameters, the adapters' and the detector's matrices too, stay in float32."""
    config = tiny_config().with_fields({"model.dtype": dtype, "model.frozen_dtype": frozen_dtype})
    params = tiny_trained(config=config).params
    found = flax.traverse_util.flatten_dict(kept_params(params, config.model))
    for path, leaf in flax.traverse_util.flatten_dict(params).items():
        is_frozen_matrix = path[0] == "backbone" and "tia" not in path and path[-1] == "kernel"
        assert found[path].dtype == (kept if is_frozen_matrix else "float32"), path
        np.testing.assert_array_equal(found[path], leaf.astype(found[path].dtype))


def test_the_estimate_counts_matrices_as_they_are_kept() -> None:
    """Of size L, 24 x 12 x 1024^2 numbers in attention and MLP and 2 x 3 x 16^2 x 1024 in the patch embedding."""
    config = tiny_config().with_fields({"model.size": "L", "model.dtype": "bfloat16"})
    wide = inference_policy(config, 2, 1).estimate.arguments
    narrow = inference_policy(config, 2, 1, kept_dtype(config.model)).estimate.arguments
    assert wide - narrow == 2 * (24 * 12 * 1024**2 + 1536 * 1024)
