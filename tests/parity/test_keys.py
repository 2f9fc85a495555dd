"""Every key of the release's THUMOS-14 VideoMAE-S detector has its place in our tree, and its optimiser group."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from adatad_jax.config.build import make_model
from adatad_jax.config.load import load_config
from adatad_jax.conversion.layout import Leaf, backbone_leaves, detector_leaves
from adatad_jax.training.optimizer import decays, label
from tests.parity.goldens import GOLDEN
from tests.parity.reference_models import flat_shapes

PREFIX = "backbone.model.backbone."
UNUSED = {
    f"{PREFIX}fc_norm.weight",  # norm of the classifier
    f"{PREFIX}fc_norm.bias",
    f"{PREFIX}pos_embed",  # recomputed
    "rpn_head.loss_normalizer",  # part of the training state, not of the parameters
}


def reference(name: str) -> dict:
    path = GOLDEN / "keys" / name
    if not path.exists():
        pytest.skip(f"{path} is absent")
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def ours() -> dict[str, tuple[tuple[str, ...], Leaf, tuple[int, ...]]]:
    """Release key -> our path, the leaf, and the shape the release's tensor must have."""
    config = load_config(Path(__file__).parents[2] / "configs/thumos_s.py")
    model = make_model(config, classes=20)
    frames, mask = jnp.zeros((1, 16, 160, 160, 3), jnp.uint8), jnp.ones((1, 16), bool)
    shapes = flat_shapes(jax.eval_shape(model.init, jax.random.key(0), frames, mask)["params"])
    found = {}
    for root, prefix, leaves in (
        ("backbone", PREFIX, backbone_leaves(model.vit)),
        ("detector", "", detector_leaves(model.detector_config)),
    ):
        for leaf in leaves:
            path = (root, *leaf.path)
            shape = leaf.torch_shape(shapes.pop(path))
            found |= {prefix + key: (path, leaf, shape) for key in leaf.keys}
    assert not shapes  # no parameter of ours is without an origin
    return found


def test_every_key_is_accounted_for(ours: dict[str, tuple[tuple[str, ...], Leaf, tuple[int, ...]]]) -> None:
    keys = {row["key"]: tuple(row["shape"]) for row in reference("adatad_videomae_s_thumos.json")["keys"]}
    assert len(keys) == 499
    expected = {key: shape for key, shape in keys.items() if key not in UNUSED}
    assert {key: shape for key, (_, _, shape) in ours.items()} == expected


def test_every_trained_key_is_in_its_group(ours: dict[str, tuple[tuple[str, ...], Leaf, tuple[int, ...]]]) -> None:
    rates = {"tia": 2e-4, "head": 1e-4}
    left = dict(ours)
    for group in reference("adatad_videomae_s_thumos_optim_groups.json")["groups"]:
        for name in group["names"]:
            path, _, _ = left.pop(name)
            assert rates[label(path)] == group["lr"]
            assert (0.05 if decays(path) else 0.0) == group["weight_decay"]
    assert {label(path) for path, _, _ in left.values()} == {"frozen"}
