"""Changes of a run between its starts: refused, permitted, and recorded."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from adatad_jax.config.clip_fields import FinetuningConfig, PretrainingConfig
from adatad_jax.config.fields import Config
from adatad_jax.data.fingerprint import compare
from adatad_jax.errors import UserError
from adatad_jax.weights.changes import (
    Changes,
    check_fields,
    check_videos,
    read_changes,
    read_videos,
    record_changes,
    write_videos,
)
from adatad_jax.weights.restore import keep_open_fields
from adatad_jax.weights.run_folder import FIXED_FIELDS, FREE_FIELDS, Difference, read_config, write_config

CLASSES, FLAG = ("jump", "run"), "--config.train.resume_with_changes=True"
VIDEOS = {"a": "1", "b": "2"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_config(tmp_path, Config(), CLASSES)
    write_videos(tmp_path, VIDEOS)
    return tmp_path


def changed(**fields: Any) -> Config:
    return Config().with_fields({name.replace("__", "."): value for name, value in fields.items()})


def test_a_folder_without_a_run_holds_nothing_to_change(tmp_path: Path) -> None:
    assert check_fields(tmp_path / "new", changed(train__tia_rate=1.0), CLASSES) == []
    assert check_videos(tmp_path / "new", VIDEOS, allowed=False) is None


def test_a_change_is_refused_until_it_is_permitted(folder: Path) -> None:
    fields = {"train__tia_rate": 1e-5, "train__batch_size": 4, "data__threads": 3}
    with pytest.raises(UserError) as caught:
        check_fields(folder, changed(**fields), CLASSES)
    message = str(caught.value)
    assert FLAG in message
    assert re.search(r"\btrain\.tia_rate: .*\b0\.0002\b.*\b1e-05\b", message)
    assert re.search(r"\btrain\.batch_size: .*\b2\b.*\b4\b", message)
    assert "threads" not in message
    found = check_fields(folder, changed(**fields, train__resume_with_changes=True), CLASSES)
    assert found == [("data.threads", 8, 3), ("train.batch_size", 2, 4), ("train.tia_rate", 2e-4, 1e-5)]


def test_the_permission_is_not_saved(folder: Path) -> None:
    config = changed(train__tia_rate=1e-5, train__resume_with_changes=True)
    write_config(folder, config, CLASSES)
    assert read_config(folder)[0]["train.resume_with_changes"] is False
    assert check_fields(folder, config, CLASSES) == []
    with pytest.raises(UserError, match=r"train\.tia_rate"):
        check_fields(folder, Config(), CLASSES)


def test_what_makes_the_parameters_never_changes(folder: Path) -> None:
    config = changed(model__width=256, seed=3, train__clip_norm=2.0, train__resume_with_changes=True)
    with pytest.raises(UserError) as caught:
        check_fields(folder, config, CLASSES)
    message = str(caught.value)
    assert re.search(r"\bmodel\.width: .*\b512\b.*\b256\b.*\bstructure\b", message)
    assert re.search(r"\bseed: .*\b0\b.*\b3\b", message)
    assert "clip_norm" not in message
    assert FLAG not in message  # it would not help
    for classes in (CLASSES[::-1], (*CLASSES, "swim")):
        with pytest.raises(UserError, match=rf"\bjump, run\b.*--config\.weights={re.escape(str(folder))}"):
            check_fields(folder, changed(train__resume_with_changes=True), classes)


def test_every_field_with_a_rule_exists() -> None:
    known = {name for kind in (Config, PretrainingConfig, FinetuningConfig) for name in kind().flat()}
    assert known >= FREE_FIELDS
    assert known >= FIXED_FIELDS.keys()
    assert FREE_FIELDS.isdisjoint(FIXED_FIELDS)


def test_changed_annotations_are_named_and_refused_until_permitted(folder: Path) -> None:
    now = {"a": "9", "c": "3"}
    with pytest.raises(UserError) as caught:
        check_videos(folder, now, allowed=False)
    message = str(caught.value)
    for part in (FLAG, "1 added: c", "1 gone: b", r"1 altered .*: a"):
        assert re.search(part, message)
    found = check_videos(folder, now, allowed=True)
    assert found
    assert (found.added, found.gone, found.altered) == (("c",), ("b",), ("a",))
    assert check_videos(folder, VIDEOS, allowed=False) == ((), (), (), False)
    (folder / "training_videos.json").write_text("[1]")
    with pytest.raises(UserError, match=r"training_videos\.json: damaged"):
        check_videos(folder, VIDEOS, allowed=False)


def test_a_fingerprint_is_read_back_in_order(tmp_path: Path) -> None:
    videos = {"b": "2", "ä": "1", "a": "3"}
    write_videos(tmp_path, videos)
    assert list((read_videos(tmp_path) or {}).items()) == list(videos.items())


def test_changes_are_recorded_with_the_step_from_which_they_act(tmp_path: Path) -> None:
    rate = Changes([Difference("train.tia_rate", 2e-4, 1e-4)], compare(VIDEOS, VIDEOS))
    data = Changes([], compare(VIDEOS, {"a": "1", "b": "3", "c": "4"}))
    nothing = Changes([], compare(VIDEOS, VIDEOS))
    record_changes(tmp_path, nothing, 10, 2)
    assert not (tmp_path / "changes.jsonl").exists()
    record_changes(tmp_path, rate, 20, 4)
    record_changes(tmp_path, rate, 20, 4)  # killed before the new configuration was written, and started again
    record_changes(tmp_path, data, 30, 6)
    first = {"step": 20, "epoch": 4, "config": {"train.tia_rate": [2e-4, 1e-4]}, "videos": {}}
    second = {"step": 30, "epoch": 6, "config": {}, "videos": {"added": ["c"], "altered": ["b"]}}
    assert read_changes(tmp_path) == [first, second]
    assert [json.loads(line) for line in (tmp_path / "changes.jsonl").read_text().splitlines()] == [first, second]
    record_changes(tmp_path, nothing, 25, 5)  # from an older checkpoint
    assert read_changes(tmp_path) == [first, {**second, "step": 25, "epoch": 5}]
    (tmp_path / "changes.jsonl").write_text(json.dumps(first) + "\n{}\n")
    with pytest.raises(UserError, match=r"changes\.jsonl, line 2: damaged"):
        read_changes(tmp_path)


def test_fields_that_are_left_open_stay_as_the_run_has_them(folder: Path) -> None:
    open_ones = changed(propose=True, data__stride=0, train__epochs=0, train__batch_size=3)
    kept = keep_open_fields(open_ones, folder)
    assert (kept.data.stride, kept.train.epochs, kept.train.batch_size, kept.propose) == (4, 60, 3, False)
    assert keep_open_fields(open_ones, folder / "new") == open_ones
