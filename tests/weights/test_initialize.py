"""The shapes that are known before a run starts are those it starts with."""

from pathlib import Path

import jax

from adatad_jax.config.build import make_model
from adatad_jax.weights.initialize import initial_shapes, initialize, parameter_shapes
from tests.tiny_run import CLASSES, make_data, run_config


def test_weights_may_bring_positions_of_their_own(tmp_path: Path) -> None:
    data = make_data(tmp_path, 1)
    config = run_config(data, data / "all.json")
    model = make_model(config, len(CLASSES))
    expected = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), initialize(model, config, CLASSES).params)
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), initial_shapes(model, config)) == expected
    assert "pos_embed" in expected["backbone"]
    missing = config.with_fields({"weights": str(tmp_path / "nothing")})
    assert initial_shapes(model, missing) == parameter_shapes(model, config)
