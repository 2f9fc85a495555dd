"""Trainings that go on with changes, and trainings that start from a detector, on real files."""

import json
import math
import re
import shutil
from pathlib import Path

import flax.traverse_util
import numpy as np
import pytest

from adatad_jax.config.fields import Config
from adatad_jax.errors import UserError
from adatad_jax.training import checkpoints
from adatad_jax.training.history import read_history
from adatad_jax.training.parameters import merge
from adatad_jax.weights.changes import read_changes
from adatad_jax.weights.load import load_trained
from adatad_jax.weights.run_folder import read_config
from tests.tiny_run import annotate, epochs_of, make_data, run_config, same, trained

FLAG = "--config.train.resume_with_changes=True"
LEAVE = {"train__resume_with_changes": True}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data(tmp_path_factory.mktemp("data") / "data", 6)


@pytest.fixture(scope="module")
def base(data: Path) -> Path:
    """A run of two epochs of two steps, on four videos, which is saved after each step."""
    config = run_config(data, annotate(data, "four.json", range(4)), train__checkpoint_steps=1)
    trained(config, data / "base")
    assert epochs_of(data / "base") == [(1, 2), (2, 4)]
    return data / "base"


@pytest.fixture
def run(base: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(base, tmp_path / "run"))


def config_of(data: Path, annotations: str = "four.json", **fields: object) -> Config:
    return run_config(data, data / annotations, **{"train__checkpoint_steps": 1, **fields})


def test_after_a_loss_that_is_not_finite_a_run_goes_on_with_a_lower_rate(data: Path, run: Path) -> None:
    longer = {"train__epochs": 3}
    wild = config_of(data, **longer, train__head_rate=1e30)
    with pytest.raises(UserError, match=rf"train\.head_rate: .*\b0\.0001\b.*\b1e\+30\b"):
        trained(wild, run)
    before = (run / "config.json").read_bytes()
    assert (run / "config.json").read_bytes() == before  # a refused start leaves all as it was
    with pytest.raises(UserError, match=r"\bstep 5\b.*\bnot finite\b"):
        trained(config_of(data, **longer, train__head_rate=1e30, train__checkpoint_steps=0, **LEAVE), run)
    calm = config_of(data, **longer, train__head_rate=1e-5)
    with pytest.raises(UserError, match=re.escape(FLAG)):
        trained(calm, run)
    state, printed = trained(config_of(data, **longer, train__head_rate=1e-5, **LEAVE), run)
    assert re.search(r"\bchanged from step 4\b.*changes\.jsonl", printed)
    assert re.search(r"train\.head_rate: 1e\+30 -> 1e-05", printed)
    assert int(state.step) == 6
    assert all(math.isfinite(record["loss"]) for record in read_history(run))
    assert epochs_of(run) == [(1, 2), (2, 4), (3, 6)]
    assert [record["step"] for record in read_changes(run)] == [4, 4]
    assert read_changes(run)[0]["config"]["train.head_rate"] == [1e-4, 1e30]
    assert read_changes(run)[1]["config"]["train.head_rate"] == [1e30, 1e-5]
    assert read_config(run)[0]["train.head_rate"] == 1e-5
    assert "changed" not in trained(calm, run)[1]  # the same command without the flag: nothing left to do
    assert load_trained(run, calm).name == "epoch 3"


def test_changed_annotations_are_refused_or_the_epoch_begins_anew(data: Path, run: Path) -> None:
    """From inside the second epoch, at step 3, with two more videos: epochs 2 and 3 of three steps each."""
    shutil.rmtree(run / "checkpoints/4")
    annotate(data, "six.json", range(6), v1=[{"label": "jump", "segment": [0.5, 2.0]}])
    with pytest.raises(UserError) as caught:
        trained(config_of(data, "six.json"), run)
    for part in (re.escape(FLAG), r"\b4 so far, now 6\b", r"2 added: v4, v5", r"1 altered .*: v1"):
        assert re.search(part, str(caught.value))
    again = Path(shutil.copytree(run, run.parent / "again"))
    state, printed = trained(config_of(data, "six.json", train__epochs=3, **LEAVE), run)
    assert re.search(r"after step 3 \(epoch 1, anew\)", printed)
    assert epochs_of(run) == [(1, 2), (2, 6), (3, 9)]
    assert int(state.step) == 9
    (record,) = read_changes(run)
    assert (record["step"], record["epoch"]) == (3, 1)
    assert record["videos"] == {"added": ["v4", "v5"], "altered": ["v1"]}
    # Killed after the change was permitted, at step 7: the same command without the flag goes on inside epoch 3.
    for step in ("8", "9"):
        shutil.rmtree(run / "checkpoints" / step)
    resumed, printed = trained(config_of(data, "six.json", train__epochs=3), run)
    assert re.search(r"after step 7 \(epoch 2\.33333\)", printed)
    same(resumed, state)
    assert epochs_of(run) == [(1, 2), (2, 6), (3, 9)]
    # Killed before the first checkpoint after the change: the change was permitted once and for all.
    for name in ("config.json", "training_videos.json", "changes.jsonl"):
        shutil.copy(run / name, again / name)
    assert re.search(r"\(epoch 1, anew\)", trained(config_of(data, "six.json", train__epochs=1), again)[1])


def test_a_run_of_before_fingerprints_goes_on_with_a_note(data: Path, run: Path) -> None:
    (run / "training_videos.json").unlink()
    annotate(data, "five.json", range(5))
    with pytest.raises(UserError, match=rf"\b4 with 2 steps\b.*\b5 with 3 steps\b.*{re.escape(FLAG)}"):
        trained(config_of(data, "five.json"), run)
    assert "no record of its training videos" in trained(config_of(data), run)[1]
    assert list(json.loads((run / "training_videos.json").read_text())) == ["v0", "v1", "v2", "v3"]
    assert "no record" not in trained(config_of(data), run)[1]


def test_a_run_starts_from_a_detector_with_one_more_class(data: Path, base: Path, tmp_path: Path) -> None:
    annotate(data, "swim.json", range(4), v1=[{"label": "swim", "segment": [0.5, 2.0]}])
    config = config_of(data, "swim.json", weights=str(base), train__epochs=1, train__checkpoint_steps=0)
    state, printed = trained(config, tmp_path / "new")
    assert re.search(r"base: epoch 2: a whole detector", printed)
    assert re.search(r"\b2 of 3 classes kept, matched by name: dance, jump\b", printed)
    assert re.search(r"\b1 of 3 classes start anew: swim\b", printed)
    before = flax.traverse_util.flatten_dict(load_trained(base).params, sep="/")
    after = flax.traverse_util.flatten_dict(merge(state.trained, state.frozen), sep="/")
    assert before.keys() == after.keys()
    for path, value in before.items():
        # Two steps at rates of at most 2e-4 move a parameter by less than 1e-3; frozen ones stay.
        kept = after[path][..., :2] if "class_tower/out" in path else after[path]
        frozen = path.startswith("backbone") and "/tia/" not in path
        np.testing.assert_allclose(kept, value, rtol=0, atol=0 if frozen else 1e-3, err_msg=path)
    assert int(state.step) == 2
    with checkpoints.open_manager(tmp_path / "new") as manager:
        assert manager.all_steps() == [2]
