"""How trainings fit their devices: what is chosen, kept for the run, and refused, on real files."""

import json
from pathlib import Path

import flax.traverse_util
import jax
import numpy as np
import pytest

from adatad_jax.config.build import make_model
from adatad_jax.devices.choice import Sharing
from adatad_jax.errors import UserError
from adatad_jax.models.policy import MemoryPolicy
from adatad_jax.pipelines.fitting import evaluated
from adatad_jax.training.choosing import read_chosen
from adatad_jax.weights.frozen import read_frozen
from adatad_jax.weights.run_folder import read_policy
from tests.tiny_run import annotate, make_data, run_config, trained

FIELDS = {"model__remat": "auto", "model__frozen_dtype": "bfloat16"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_data(tmp_path_factory.mktemp("data") / "data", 4)
    annotate(folder, "four.json", range(4))
    return folder


@pytest.mark.slow
def test_a_run_keeps_its_policy_and_its_frozen_weights_in_bfloat16(data: Path, tmp_path: Path) -> None:
    run, annotations = tmp_path / "run", data / "four.json"
    state, printed = trained(run_config(data, annotations, train__epochs=1, **FIELDS), run)
    assert "activations kept" in printed  # a tiny model fits every machine
    policy = read_policy(run)
    assert policy is not None
    assert policy["remat"] is False
    assert json.loads((run / "run.json").read_text())["starts"][-1]["memory"] == policy

    frozen = flax.traverse_util.flatten_dict(state.frozen)
    kept = flax.traverse_util.flatten_dict(read_frozen(run, read_chosen(run, "latest")))
    for path, leaf in frozen.items():
        assert kept[path].dtype == np.float32  # in the run's folder
        assert (leaf.dtype == "bfloat16") == (path[-1] == "kernel")
        np.testing.assert_array_equal(leaf, kept[path].astype(leaf.dtype))
    assert {leaf.dtype for leaf in jax.tree.leaves((state.trained, state.average))} == {np.dtype(np.float32)}

    # Begun on a smaller device, it goes on as it was computed there.
    content = json.loads((run / "config.json").read_text())
    content["memory"]["remat"] = True
    (run / "config.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"(?s)memory.*GiB.*model\.memory=1e-06.*data\.window"):
        trained(run_config(data, annotations, train__epochs=2, model__memory=1e-6, **FIELDS), run)
    _, printed = trained(run_config(data, annotations, train__epochs=2, **FIELDS), run)
    assert "activations recomputed" in printed
    assert json.loads((run / "run.json").read_text())["starts"][-1]["memory"]["remat"] is True
    assert "model.remat" not in printed


def test_a_device_that_trains_on_a_share_evaluates_as_many_chunks_at_once(data: Path) -> None:
    """Two windows of 4 chunks on 4 devices, two of which share a window: 2 chunks each in training, 8 in evaluation."""
    config = run_config(data, data / "four.json", data__window=64, test__batch_size=2)
    whole, shared = Sharing((jax.devices()[0],)), Sharing(tuple(jax.devices()[:4]), groups=2, shares=2)

    def at_once(policy: MemoryPolicy, sharing: Sharing) -> int:
        return evaluated(make_model(config, 2, policy), config, sharing).policy.attention_chunks

    assert at_once(MemoryPolicy(), whole) == 0
    assert at_once(MemoryPolicy(), shared) == 2
    assert at_once(MemoryPolicy(attention_chunks=1), shared) == 1


def test_nothing_is_written_where_a_training_does_not_fit(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"(?s)No setting.*data\.window below 16.*train\.batch_size below 2"):
        trained(run_config(data, data / "four.json", model__memory=1e-6, model__remat="auto"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
