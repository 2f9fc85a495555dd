"""Numbers of parameters, against the trees that the models make."""

import jax
import pytest

from adatad_jax.config.build import make_detector, make_model, make_vit
from adatad_jax.config.fields import Config
from adatad_jax.models.parameter_counts import adapters_count, blocks_count, detector_count
from adatad_jax.weights.initialize import parameter_shapes


@pytest.mark.parametrize(
    "fields",
    [
        {"model.size": "S"},
        {"model.size": "g", "model.tia_blocks": "0,20-39", "model.classes": 3, "model.embed": 3, "model.stem": 0},
        {"model.size": "tiny", "model.adaptation": "frozen", "model.head_convs": 1, "model.absolute_positions": True},
        {"model.size": "tiny", "model.adaptation": "adapter", "model.head_convs": 0},
    ],
    ids=["S", "g with adapters in some blocks", "tiny without adapters", "tiny with plain adapters"],
)
def test_every_parameter_is_counted(fields: dict[str, object]) -> None:
    fields = dict(fields)
    classes = int(str(fields.pop("model.classes", 20)))
    config = Config().with_fields(fields)
    params = parameter_shapes(make_model(config, classes), config)
    leaves = jax.tree_util.tree_leaves_with_path(params)
    found = {"adapters": [0, 0], "blocks": [0, 0], "detector": [0, 0]}
    for path, leaf in leaves:
        names = [key.key for key in path]
        part = "detector" if names[0] == "detector" else "adapters" if "tia" in names else "blocks"
        found[part][names[-1] != "kernel"] += leaf.size
    vit, detector = make_vit(config.model), make_detector(config, classes)
    assert list(blocks_count(vit)) == found["blocks"]
    assert list(adapters_count(vit)) == found["adapters"]
    assert list(detector_count(detector, vit.width)) == found["detector"]


def test_plain_adapters_of_s_by_hand() -> None:
    """TIA has a convolution more, 12 x (3 x 96 + 96 + 96 x 96 + 96): the published 1,006,860 in all."""
    vit = make_vit(Config().with_fields({"model.adaptation": "adapter"}).model)
    assert adapters_count(vit).total == 12 * (2 * 384 * 96 + 96 + 384 + 1)
    assert adapters_count(make_vit(Config().model)).total == 1_006_860
