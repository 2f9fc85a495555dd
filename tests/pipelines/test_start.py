"""Trainings that go on with changes, on real files."""

import json
import math
import re
import shutil
from pathlib import Path

import flax.traverse_util
import pytest

from adatad_jax.config.fields import Config
from adatad_jax.errors import UserError
from adatad_jax.training import choosing
from adatad_jax.training.history import read_history
from adatad_jax.training.parameters import merge
from adatad_jax.weights.changes import read_changes
from adatad_jax.weights.frozen import read_frozen
from adatad_jax.weights.load import load_trained
from adatad_jax.weights.run_folder import read_config
from tests.tiny_run import annotate, epochs_of, make_data, run_config, same, trained
from tests.training.states import write_old

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


@pytest.mark.slow
def test_a_run_goes_on_after_a_loss_that_is_not_finite(data: Path, run: Path) -> None:
    """From inside the second epoch, at step 3: with a rate that is far too high, then with a low one and more videos.

    Epochs 2 and 3 have three steps then, and the part of epoch 2 that was done with four videos is no part of them.
    """
    shutil.rmtree(run / "checkpoints/4")
    wild = {"train__epochs": 3, "train__head_rate": 1e30, "train__checkpoint_steps": 0, "train__checkpoint_every": 9}
    before = (run / "config.json").read_bytes()
    with pytest.raises(UserError, match=rf"{re.escape(FLAG)}(.|\n)*train\.head_rate: .*\b0\.0001\b.*\b1e\+30\b"):
        trained(config_of(data, **wild), run)
    assert (run / "config.json").read_bytes() == before  # a refused start leaves all as it was
    with pytest.raises(UserError, match=r"\bstep [56]\b.*\bnot finite\b"):
        trained(config_of(data, **wild, **LEAVE), run)

    annotate(data, "six.json", range(6), v1=[{"label": "jump", "segment": [0.5, 2.0]}])
    calm = {"train__epochs": 3, "train__head_rate": 1e-5}
    with pytest.raises(UserError) as caught:
        trained(config_of(data, "six.json", **{**wild, "train__checkpoint_every": 1}), run)
    for part in (re.escape(FLAG), r"\b4 so far, now 6\b", r"2 added: v4, v5", r"1 altered .*: v1"):
        assert re.search(part, str(caught.value))
    state, printed = trained(config_of(data, "six.json", **calm, **LEAVE), run)
    assert re.search(r"after step 3 \(epoch 1, anew\)", printed)
    assert re.search(r"\bchanged from step 3\b.*changes\.jsonl", printed)
    assert re.search(r"train\.head_rate: 1e\+30 -> 1e-05", printed)
    assert int(state.step) == 9
    assert epochs_of(run) == [(1, 2), (2, 6), (3, 9)]
    assert all(math.isfinite(record["loss"]) for record in read_history(run))
    first, second = read_changes(run)
    assert (first["step"], first["epoch"], first["videos"]) == (3, 1, {})
    assert first["config"]["train.head_rate"] == [1e-4, 1e30]
    assert (second["step"], second["epoch"]) == (3, 1)
    assert second["config"]["train.head_rate"] == [1e30, 1e-5]
    assert second["videos"] == {"added": ["v4", "v5"], "altered": ["v1"]}
    assert read_config(run)[0]["train.head_rate"] == 1e-5
    assert "epoch 3" in load_trained(run).name

    # Killed at step 7: the same command, without the flag, goes on inside epoch 3 to the same state.
    for step in ("8", "9"):
        shutil.rmtree(run / "checkpoints" / step)
    resumed, printed = trained(config_of(data, "six.json", **calm), run)
    assert re.search(r"after step 7 \(epoch 2\.33333\)", printed)
    assert "changed" not in printed
    same(resumed, state)
    assert epochs_of(run) == [(1, 2), (2, 6), (3, 9)]


def test_a_run_of_version_0_1_ends_as_a_run_of_today(data: Path, base: Path, run: Path, tmp_path: Path) -> None:
    """Killed at step 3 of 4. Its checkpoint held the whole tree, and its folder less than today's."""
    saved = choosing.read_chosen(run, 3)
    frozen = read_frozen(run, saved)
    items = {
        "params": merge(saved.trained, frozen),
        "ema": flax.traverse_util.flatten_dict(saved.average, sep="/"),
        "progress": {"opt_state" if key == "optimizer" else key: value for key, value in saved.progress.items()},
    }
    known = {"epoch", "tally", "steps_per_epoch", "videos", "videos_sha256"}
    for folder in ("checkpoints", "frozen"):
        shutil.rmtree(run / folder)
    write_old(run, 3, items, {key: value for key, value in saved.metadata.items() if key in known})
    content = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({key: content[key] for key in ("config", "classes")}))
    (run / "training_videos.json").unlink()

    resumed, printed = trained(config_of(data), run)
    assert re.search(r"after step 3 \(epoch 1\.5\)", printed)
    whole, _ = trained(config_of(data), Path(shutil.copytree(base, tmp_path / "whole")))  # nothing is left to do
    same(whole, resumed)
    same(read_frozen(run, choosing.read_chosen(run, 4)), frozen)


def test_a_change_is_permitted_once_and_for_all(data: Path, run: Path) -> None:
    """Killed before the first checkpoint after the change, here because no epoch is left."""
    shutil.rmtree(run / "checkpoints/4")
    annotate(data, "five.json", range(5))
    one = config_of(data, "five.json", train__epochs=1)
    assert "(epoch 1, anew)" in trained(config_of(data, "five.json", train__epochs=1, **LEAVE), run)[1]
    found = trained(one, run)[1]
    assert "(epoch 1, anew)" in found
    assert "changed" not in found
    assert [record["step"] for record in read_changes(run)] == [3]


def test_a_run_of_before_fingerprints_goes_on_with_a_note(data: Path, run: Path) -> None:
    (run / "training_videos.json").unlink()
    annotate(data, "five.json", range(5))
    with pytest.raises(UserError, match=rf"\b4 with 2 steps\b.*\b5 with 3\b.*{re.escape(FLAG)}"):
        trained(config_of(data, "five.json"), run)
    assert "no record of its training videos" in trained(config_of(data), run)[1]
    assert list(json.loads((run / "training_videos.json").read_text())) == ["v0", "v1", "v2", "v3"]
    assert "no record" not in trained(config_of(data), run)[1]


def test_a_run_that_was_killed_inside_an_epoch_ends_as_without(
    data: Path, base: Path, run: Path, tmp_path: Path
) -> None:
    """At step 3 of 4, the first of the second epoch."""
    shutil.rmtree(run / "checkpoints/4")
    resumed, printed = trained(config_of(data), run)
    assert re.search(r"after step 3 \(epoch 1\.5\)", printed)
    whole, _ = trained(config_of(data), Path(shutil.copytree(base, tmp_path / "whole")))  # nothing is left to do
    same(whole, resumed)
    one, other = ([{**record, "seconds": 0} for record in read_history(folder)] for folder in (base, run))
    assert one == other
