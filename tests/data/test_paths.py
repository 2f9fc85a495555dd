"""Files and folders that a configuration names."""

from pathlib import Path

import pytest

from adatad_jax.config.clip_fields import FinetuningConfig, PretrainingConfig
from adatad_jax.config.fields import Config
from adatad_jax.data.paths import check_finetuning_paths, check_paths, check_pretraining_paths
from adatad_jax.errors import UserError


def test_every_missing_path_of_a_detector_is_named_with_its_source(tmp_path: Path) -> None:
    fields = {"weights_from": "https://weights", "data.come_from": "https://data", "data.classes": "/none.txt"}
    with pytest.raises(UserError) as error:
        check_paths(Config().with_fields({**fields, "data.videos": str(tmp_path)}))
    said = str(error.value)
    for words in (
        "config.weights=(not set)",
        "https://weights",
        "config.data.annotations=",
        "config.data.classes=/none",
    ):
        assert words in said
    assert "data.videos" not in said


def test_pretraining_needs_videos_alone(tmp_path: Path) -> None:
    config = PretrainingConfig().with_fields({"data.videos": str(tmp_path)})
    check_pretraining_paths(config)
    with pytest.raises(UserError, match=r"config\.weights=/none\.pth"):
        check_pretraining_paths(config.with_fields({"weights": "/none.pth"}))
    with pytest.raises(UserError, match=r"config\.data\.videos=\(not set\)"):
        check_pretraining_paths(PretrainingConfig())
    check_pretraining_paths(PretrainingConfig().with_fields({"data.cache": str(tmp_path)}))


def test_finetuning_may_have_a_table_and_a_class_list(tmp_path: Path) -> None:
    config = FinetuningConfig().with_fields({"data.videos": str(tmp_path)})
    check_finetuning_paths(config)
    with pytest.raises(UserError) as error:
        check_finetuning_paths(config.with_fields({"data.labels": "/none.csv", "data.classes": "/none.txt"}))
    assert "config.data.labels=/none.csv" in str(error.value)
    assert "config.data.classes=/none.txt" in str(error.value)
