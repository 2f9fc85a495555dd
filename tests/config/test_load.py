"""Which kind of configuration a file is of."""

from pathlib import Path

import pytest

from adatad_jax.config.build_clips import check_finetuning, check_pretraining
from adatad_jax.config.clip_fields import FinetuningConfig, PretrainingConfig
from adatad_jax.config.fields import Config
from adatad_jax.config.load import load_one_of
from adatad_jax.config.records import Record
from adatad_jax.config.validation import validate
from adatad_jax.errors import UserError

KINDS = {Config: validate, PretrainingConfig: check_pretraining, FinetuningConfig: check_finetuning}


def write(path: Path, kind: type[Record], line: str = "") -> Path:
    path.write_text(
        "from adatad_jax.config.records import defaults_of\n"
        f"from {kind.__module__} import {kind.__name__} as kind\n"
        f"def get_config():\n    config = defaults_of(kind)\n    {line}\n    return config\n"
    )
    return path


@pytest.mark.parametrize("kind", list(KINDS))
def test_the_fields_of_a_file_tell_its_kind(kind: type[Record], tmp_path: Path) -> None:
    config = load_one_of(write(tmp_path / "a.py", kind), ["--config.data.threads=3"], KINDS)
    assert type(config) is kind
    assert config.flat()["data.threads"] == 3


def test_errors_are_those_of_the_kind(tmp_path: Path) -> None:
    path = write(tmp_path / "a.py", PretrainingConfig, "config.model.mask_ratio = 1.5")
    with pytest.raises(UserError, match=r"config\.model\.mask_ratio=1\.5"):
        load_one_of(path, [], KINDS)
    with pytest.raises(UserError, match=r"no such field: .*mask_rato"):
        load_one_of(path, ["--config.model.mask_rato=0.5"], KINDS)
